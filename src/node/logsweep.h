/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "base/time.h"
#include "node/task.h"

/* Old logs go: rotated files by the job's `logs.age`, all of a task that was forgotten by its
 * `logs.keep`, and the oldest of all when the node's logs are more than they may be. */

/* Looks through @directory, which has a folder for each task ("DIR/node/tasks"). While all logs
 * together are more than @max bytes (0: no limit), the oldest files that nobody writes to any more
 * are removed. Returns how many bytes may be written before it has to look again; UINT64_MAX
 * without a limit. */
uint64_t logsweep_run(const char *directory, struct tasks *tasks, usec_t now_wall, uint64_t max);

/* The task whose logs are in @folder is being forgotten: they stay for @keep from now on. Nothing
 * if it has no folder. */
void logsweep_keep(const char *folder, usec_t keep);
