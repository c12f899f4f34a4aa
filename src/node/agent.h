/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* The program `reeve agent`: runs tasks on this machine as a server tells it. Started by
 * reeve-keeper only. Returns the exit status. */
int agent_main(int argc, char **argv);
