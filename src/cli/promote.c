/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>

#include "base/mem.h"
#include "cli/await.h"
#include "cli/client.h"
#include "cli/command.h"

static bool should_wait;
static usec_t timeout = AWAIT_TIMEOUT;

static const struct option_row options[] = {
        { "wait", 'w', OPTION_FLAG, &should_wait, NULL, "until all tasks have the version" },
        { "timeout", 't', OPTION_SPAN, &timeout, "DURATION",
                "give up waiting after this long (1m)" },
        { NULL, 0, OPTION_FLAG, NULL, NULL, NULL },
};

static int run(const char *const *operands, struct error *err)
{
        for (const char *const *job = operands; *job != NULL; job++) {
                AUTO(mem_freep) char *path = client_job_path(*job, "/promote");

                if (client_request("POST", path, NULL, "{}", 2, NULL, err) < 0)
                        return -1;
                printf("%s: promoted, its other tasks follow\n", *job);
        }
        fflush(stdout);
        return should_wait ? await_all(operands, AWAIT_SETTLED, timeout, err) : 0;
}

const struct command command_promote = {
        .name = "promote",
        .operands = "JOB...",
        .summary = "say that canaries are good: the other tasks follow",
        .details = "A job with `update.canary` gets a new version on so many extra tasks first, "
                   "and then waits for this. `reeve revert` takes the version back instead.",
        .options = options,
        .operands_min = 1,
        .operands_max = -1,
        .run = run,
};
