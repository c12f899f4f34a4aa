/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/time.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/table.h"
#include "cli/terminal.h"

static bool as_json;
static int64_t count = 10;

static const struct option_row options[] = {
        { "count", 'n', OPTION_INT, &count, "N", "the next N times (10)" },
        { "json", 0, OPTION_FLAG, &as_json, NULL, "as JSON" },
        { NULL, 0, OPTION_FLAG, NULL, NULL, NULL },
};

static int put_time(struct table *table, const json_t *next, usec_t now, struct error *err)
{
        const char *time = json_string_value(json_object_get(next, "time"));
        const char *local = json_string_value(json_object_get(next, "local"));
        char in[TIME_TEXT_MAX];
        usec_t at;

        if (time == NULL || local == NULL || !time_parse_wall(time, &at))
                return error_set(err, ERR_SYSTEM, "the server's answer has a time that is none");
        table_put(table, TABLE_PLAIN, local);
        table_put(table, TABLE_PLAIN, time);
        table_put(table, TABLE_PLAIN, time_format_span(in, at > now ? at - now : 0));
        return 0;
}

static int show(const json_t *answer, struct error *err)
{
        static const struct table_column columns[] = { { "LOCAL", false }, { "UTC", false },
                { "IN", false } };
        AUTO(table_freep) struct table *table = table_new(columns, ARRAY_SIZE(columns));
        const json_t *times = json_object_get(answer, "next"), *next;
        usec_t now = time_wall();

        for (size_t i = 0; (next = json_array_get(times, i)) != NULL; i++)
                if (put_time(table, next, now, err) < 0)
                        return -1;
        if (json_array_size(times) == 0)
                puts("never");
        else
                terminal_print_table(table);
        return 0;
}

static int run(const char *const *operands, struct error *err)
{
        AUTO(mem_freep) char *rest = mem_printf("/schedule?count=%" PRId64, count);
        AUTO(buffer_done) struct buffer path = { 0 };
        AUTO(client_json_decref) json_t *answer = NULL;

        buffer_puts(&path, "/v1/jobs/");
        client_put_encoded(&path, operands[0]);
        buffer_puts(&path, rest);
        if (client_get(buffer_str(&path), &answer, err) < 0)
                return -1;
        if (!as_json)
                return show(answer, err);
        terminal_print_json(answer);
        return 0;
}

const struct command command_cron = {
        .name = "cron",
        .operands = "JOB",
        .summary = "show when a cron job is due next",
        .details =
                "By its expression, in its time zone. A time of day that is skipped when clocks "
                "are set forward comes right after the gap, one that is repeated comes once; an "
                "expression of every hour follows the hours as they pass. `jitter` is not in it.",
        .options = options,
        .operands_min = 1,
        .operands_max = 1,
        .run = run,
};
