/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "cli/await.h"
#include "cli/client.h"
#include "cli/command.h"

#define COUNT_MAX UINT32_MAX

static bool should_wait;
static usec_t timeout = AWAIT_TIMEOUT;

static const struct option_row options[] = {
        { "wait", 'w', OPTION_FLAG, &should_wait, NULL, "until the jobs run or have ended" },
        { "timeout", 't', OPTION_SPAN, &timeout, "DURATION",
                "give up waiting after this long (1m)" },
        { NULL, 0, OPTION_FLAG, NULL, NULL, NULL },
};

struct scale {
        char *job;
        int64_t count;
};

/* All of the command line. */
struct scales {
        struct scale *items;
        size_t len;
};

static void scales_done(struct scales *s)
{
        for (size_t i = 0; i < s->len; i++)
                mem_freep(&s->items[i].job);
        mem_freep(&s->items);
}

static int add(struct scales *s, const char *job, size_t len, const char *count, struct error *err)
{
        struct scale *scale;

        s->items = mem_resize(s->items, s->len + 1, sizeof *s->items);
        scale = &s->items[s->len++];
        scale->job = mem_strndup(job, len);
        if (client_is_task(scale->job))
                return error_set(err, ERR_INVALID,
                        "%s is a task: only the number of tasks of a job can be changed",
                        scale->job);
        if (!text_parse_int(count, 0, COUNT_MAX, &scale->count))
                return error_set(err, ERR_INVALID, "%s: expected a number of tasks, got \"%s\"",
                        scale->job, count);
        return 0;
}

static int parse(const char *const *operands, struct scales *s, struct error *err)
{
        if (operands[1] != NULL && operands[2] == NULL && strchr(operands[0], '=') == NULL)
                return add(s, operands[0], strlen(operands[0]), operands[1], err);
        for (; *operands != NULL; operands++) {
                const char *equals = strchr(*operands, '=');

                if (equals == NULL)
                        return error_set(err, ERR_INVALID,
                                "%s: how many? say JOB=COUNT, or JOB COUNT", *operands);
                if (add(s, *operands, (size_t) (equals - *operands), equals + 1, err) < 0)
                        return -1;
        }
        return 0;
}

static int scale(const struct scales *s, struct error *err)
{
        AUTO(mem_freep) const char **names = mem_alloc((s->len + 1) * sizeof *names);

        for (size_t i = 0; i < s->len; i++) {
                AUTO(mem_freep) char *path = client_subject_path(s->items[i].job, "/scale");
                char body[48];
                int n = snprintf(body, sizeof body, "{\"count\":%" PRId64 "}", s->items[i].count);

                if (client_request("POST", path, NULL, body, (size_t) n, NULL, err) < 0)
                        return -1;
                printf("%s: %" PRId64 " task%s\n", s->items[i].job, s->items[i].count,
                        s->items[i].count == 1 ? "" : "s");
                names[i] = s->items[i].job;
        }
        fflush(stdout);
        return should_wait ? await_all(names, AWAIT_SETTLED, timeout, err) : 0;
}

static int run(const char *const *operands, struct error *err)
{
        AUTO(scales_done) struct scales s = { 0 };

        return parse(operands, &s, err) < 0 ? -1 : scale(&s, err);
}

const struct command command_scale = {
        .name = "scale",
        .operands = "JOB=COUNT...",
        .summary = "change how many tasks jobs have",
        .details = "`reeve scale web=5 worker=2`, or `reeve scale web 5`. The tasks with the "
                   "highest numbers are stopped first.",
        .options = options,
        .operands_min = 1,
        .operands_max = -1,
        .run = run,
};
