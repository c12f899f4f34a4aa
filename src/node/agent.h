/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "base/error.h"

/* The program `reeve agent`: runs tasks on this machine as a server tells it. Started by
 * reeve-keeper only. Returns the exit status. */
int agent_main(int argc, char **argv);

/* A person starts Reeve on DIR anew, where nothing runs: should an earlier agent have been killed
 * while it ended all tasks, the next one does not go on with that. */
int agent_call_off_down(const char *data, struct error *err);
