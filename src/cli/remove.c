/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>

#include "base/mem.h"
#include "cli/await.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/waves.h"

static bool purge, no_wait;
static usec_t timeout = AWAIT_TIMEOUT;

static const struct option_row options[] = {
        { "purge", 'p', OPTION_FLAG, &purge, NULL, "delete their logs, too" },
        { "no-wait", 'n', OPTION_FLAG, &no_wait, NULL,
                "return when it is decided, not when they are gone" },
        { "timeout", 't', OPTION_SPAN, &timeout, "DURATION",
                "give up waiting after this long (1m)" },
        { NULL, 0, OPTION_FLAG, NULL, NULL, NULL },
};

static int remove_job(const char *name, struct error *err)
{
        AUTO(mem_freep) char *path = client_subject_path(name, purge ? "?purge=true" : "");

        return client_request("DELETE", path, NULL, NULL, 0, NULL, err);
}

static int remove_all(const char *const *names, struct error *err)
{
        for (const char *const *name = names; *name != NULL; name++)
                if (remove_job(*name, err) < 0)
                        return -1;
        return no_wait ? 0 : await_all(names, AWAIT_GONE, timeout, err);
}

static int run(const char *const *operands, struct error *err)
{
        for (const char *const *name = operands; *name != NULL; name++)
                if (client_is_task(*name))
                        return error_set(err, ERR_INVALID,
                                "%s is a task: `reeve scale` changes how many there are", *name);
        if ((no_wait ? remove_all(operands, err) : waves_each(operands, remove_all, err)) < 0)
                return -1;
        for (; *operands != NULL; operands++)
                printf("%s: %s\n", *operands, no_wait ? "is being removed" : "removed");
        return 0;
}

const struct command command_remove = {
        .name = "remove",
        .operands = "JOB...",
        .summary = "stop jobs and forget them",
        .details = "A job that came from `reeve up --jobs` is removed from its file instead.",
        .options = options,
        .operands_min = 1,
        .operands_max = -1,
        .run = run,
};
