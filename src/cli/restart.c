/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>

#include "base/mem.h"
#include "cli/client.h"
#include "cli/command.h"

static int run(const char *const *operands, struct error *err)
{
        for (; *operands != NULL; operands++) {
                AUTO(mem_freep) char *path = client_subject_path(*operands, "/restart");

                if (client_request("POST", path, NULL, "{}", 2, NULL, err) < 0)
                        return -1;
                printf("%s: is being restarted\n", *operands);
        }
        return 0;
}

const struct command command_restart = {
        .name = "restart",
        .operands = "JOB|TASK...",
        .summary = "begin a new run of each task",
        .details = "Tasks of a job are restarted as `update` in its spec says, a few at a time. "
                   "Tasks that have ended, and\n"
                   "jobs that are stopped, start again; what was parked after too many failures "
                   "starts afresh.",
        .operands_min = 1,
        .operands_max = -1,
        .run = run,
};
