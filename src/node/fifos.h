/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "base/error.h"

/* Where the FIFOs of tasks are: DIR/node/fifos/TASK.stdout and .stderr. */

/* Makes sure that the folder @node_directory/fifos is there. See fifos.c for what it is. */
int fifos_prepare(const char *node_directory, struct error *err);

/* Removes it with all that is in it: when no task is left that could write. */
void fifos_remove(const char *node_directory);
