/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* The program `reeve server`: accepts jobs, decides which task runs where, answers the API. Started
 * by the keeper in `reeve up`.
 *
 * Flags: --data DIR --socket PATH [--listen ADDR:PORT] [--jobs PATH]... [--node NAME].
 * Returns the exit status: 0 after SIGTERM, 2 for a wrong flag, else that of the error. */
int server_main(int argc, char **argv);
