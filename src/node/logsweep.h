/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "base/time.h"
#include "node/task.h"

/* Old logs go: rotated files by the job's `logs.age`, and all of a task that was forgotten by its
 * `logs.keep`. */

/* Looks through @directory, which has a folder for each task ("DIR/node/tasks"). */
void logsweep_run(const char *directory, struct tasks *tasks, usec_t now_wall);

/* The task whose logs are in @folder is being forgotten: they stay for @keep from now on. Nothing
 * if it has no folder. */
void logsweep_keep(const char *folder, usec_t keep);
