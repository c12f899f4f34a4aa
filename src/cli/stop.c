/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>

#include "base/mem.h"
#include "cli/await.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/waves.h"

static bool no_wait;
static usec_t timeout = AWAIT_TIMEOUT;

static const struct option_row options[] = {
        { "no-wait", 'n', OPTION_FLAG, &no_wait, NULL,
                "return when it is decided, not when they have ended" },
        { "timeout", 't', OPTION_SPAN, &timeout, "DURATION",
                "give up waiting after this long (1m)" },
        { NULL, 0, OPTION_FLAG, NULL, NULL, NULL },
};

static int stop(const char *const *names, struct error *err)
{
        for (const char *const *name = names; *name != NULL; name++) {
                AUTO(mem_freep) char *path = client_subject_path(*name, "/stop");

                if (client_request("POST", path, NULL, "{}", 2, NULL, err) < 0)
                        return -1;
        }
        return no_wait ? 0 : await_all(names, AWAIT_ENDED, timeout, err);
}

static int run(const char *const *operands, struct error *err)
{
        if ((no_wait ? stop(operands, err) : waves_each(operands, stop, err)) < 0)
                return -1;
        for (; *operands != NULL; operands++)
                printf("%s: %s\n", *operands, no_wait ? "is being stopped" : "stopped");
        return 0;
}

const struct command command_stop = {
        .name = "stop",
        .operands = "JOB|TASK...",
        .summary = "stop jobs or single tasks",
        .details = "Sends the stop signal of the spec, and kills what is left after its grace "
                   "period. What is stopped stays\n"
                   "stopped, and known, until `reeve restart` or `reeve apply` starts it again. Of "
                   "several jobs those end first\n"
                   "that begin after the others (`after`), unless nobody waits (--no-wait).",
        .options = options,
        .operands_min = 1,
        .operands_max = -1,
        .run = run,
};
