/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/text.h"
#include "cli/await.h"
#include "cli/client.h"
#include "cli/command.h"

static bool should_wait;
static usec_t timeout = AWAIT_TIMEOUT;

static const struct option_row options[] = {
        { "wait", 'w', OPTION_FLAG, &should_wait, NULL, "until the job runs or has ended" },
        { "timeout", 't', OPTION_SPAN, &timeout, "DURATION",
                "give up waiting after this long (1m)" },
        { NULL, 0, OPTION_FLAG, NULL, NULL, NULL },
};

static int make_body(const char *version, struct buffer *ret, struct error *err)
{
        int64_t number;

        if (version == NULL) {
                buffer_puts(ret, "{}");
                return 0;
        }
        if (!text_parse_int(version, 1, UINT32_MAX, &number))
                return error_set(
                        err, ERR_INVALID, "expected the number of a version, got \"%s\"", version);
        buffer_printf(ret, "{\"version\":%" PRId64 "}", number);
        return 0;
}

static int run(const char *const *operands, struct error *err)
{
        const char *const job[] = { operands[0], NULL };
        AUTO(mem_freep) char *path = client_job_path(operands[0], "/revert");
        AUTO(buffer_done) struct buffer body = { 0 };
        AUTO(client_json_decref) json_t *answer = NULL;

        if (make_body(operands[1], &body, err) < 0 ||
                client_request("POST", path, NULL, body.data, body.len, &answer, err) < 0)
                return -1;
        printf("%s: the spec of %s%s is in force again, as version %" JSON_INTEGER_FORMAT "\n",
                operands[0], operands[1] == NULL ? "the version before" : "version ",
                operands[1] == NULL ? "" : operands[1],
                json_integer_value(json_object_get(answer, "version")));
        fflush(stdout);
        return should_wait ? await_all(job, AWAIT_SETTLED, timeout, err) : 0;
}

const struct command command_revert = {
        .name = "revert",
        .operands = "JOB [VERSION]",
        .summary = "put the spec of an earlier version in force again",
        .details = "Without VERSION the one that all tasks had before the newest. It becomes a new "
                   "version and is rolled out as any other. `reeve job JOB --versions` lists them.",
        .options = options,
        .operands_min = 1,
        .operands_max = 2,
        .run = run,
};
