/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cli/client.h"
#include "cli/columns.h"
#include "cli/command.h"
#include "cli/inputs.h"
#include "cli/terminal.h"

static bool as_json;

static const struct option_row options[] = {
        { "json", 0, OPTION_FLAG, &as_json, NULL, "the server's answer as JSON" },
        { NULL, 0, OPTION_FLAG, NULL, NULL, NULL },
};

static const char *text_of(const json_t *object, const char *name)
{
        const char *text = json_string_value(json_object_get(object, name));

        return text != NULL ? text : "-";
}

static void put_value(struct buffer *out, const json_t *value)
{
        AUTO(mem_freep) char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);

        columns_put(out, text != NULL ? text : "-", 0);
}

static void put_change(struct buffer *out, const json_t *change)
{
        buffer_printf(out, "  %s: ", text_of(change, "field"));
        put_value(out, json_object_get(change, "from"));
        buffer_puts(out, " -> ");
        put_value(out, json_object_get(change, "to"));
        if (json_is_true(json_object_get(change, "needs_restart")))
                buffer_puts(out, " (new run)");
        buffer_putc(out, '\n');
}

static void put_job(struct buffer *out, const json_t *job)
{
        const char *action = text_of(job, "action");
        const json_t *changes = json_object_get(job, "changes"), *change;

        buffer_printf(out, "%s: %s", text_of(job, "job"), action);
        if (strcmp(action, "update") == 0 && json_array_size(changes) == 0)
                buffer_puts(out, ", started again as it is");
        else if (strcmp(action, "unchanged") != 0)
                buffer_printf(out, ", as version %" JSON_INTEGER_FORMAT "%s",
                        json_integer_value(json_object_get(job, "version")),
                        json_is_true(json_object_get(job, "in_place")) &&
                                        strcmp(action, "update") == 0
                                ? "; its tasks run on"
                                : "");
        buffer_putc(out, '\n');
        for (size_t i = 0; (change = json_array_get(changes, i)) != NULL; i++)
                put_change(out, change);
}

static const struct table_column columns[] = {
        { "STEP", true },
        { "TASK", false },
        { "ACTION", false },
        { "NODE", false },
        { "REASON", false },
};

static void show_steps(const json_t *steps)
{
        AUTO(table_freep) struct table *table = table_new(columns, ARRAY_SIZE(columns));
        const json_t *step;

        for (size_t i = 0; (step = json_array_get(steps, i)) != NULL; i++) {
                table_printf(table, TABLE_PLAIN, "%" JSON_INTEGER_FORMAT,
                        json_integer_value(json_object_get(step, "order")));
                table_put(table, TABLE_PLAIN, text_of(step, "task"));
                table_put(table, TABLE_PLAIN, text_of(step, "action"));
                table_put(table, TABLE_PLAIN, text_of(step, "node"));
                table_put(table, TABLE_PLAIN, text_of(step, "reason"));
        }
        putchar('\n');
        terminal_print_table(table);
}

static void show(json_t *plan)
{
        AUTO(buffer_done) struct buffer out = { 0 }, end = { 0 };
        const json_t *jobs = json_object_get(plan, "jobs"), *job;
        const json_t *steps = json_object_get(plan, "steps");
        json_t *least;
        const char *name;

        for (size_t i = 0; (job = json_array_get(jobs, i)) != NULL; i++)
                put_job(&out, job);
        terminal_print(&out);
        if (json_array_size(steps) == 0) {
                puts("\nNo task is started, stopped or moved.");
                return;
        }
        show_steps(steps);
        json_object_foreach (json_object_get(plan, "least_running"), name, least)
                if (json_integer_value(least) > 0)
                        buffer_printf(&end,
                                "\n%s: %" JSON_INTEGER_FORMAT
                                " of its tasks or more run at every moment.",
                                name, json_integer_value(least));
        if (end.len > 0)
                buffer_putc(&end, '\n');
        terminal_print(&end);
}

static int run(const char *const *operands, struct error *err)
{
        AUTO(buffer_done) struct buffer body = { 0 };
        AUTO(client_json_decref) json_t *plan = NULL;

        if (inputs_read(operands, &body, err) < 0 ||
                client_request("POST", "/v1/plan", NULL, body.data, body.len, &plan, err) < 0)
                return -1;
        if (as_json)
                terminal_print_json(plan);
        else
                show(plan);
        return 0;
}

const struct command command_plan = {
        .name = "plan",
        .operands = "FILE...",
        .summary = "show what `reeve apply` would do, step by step",
        .details = "The scheduler's own decisions on a copy of the state; nothing is changed. FILE "
                   "is as in `reeve apply`.",
        .options = options,
        .operands_min = 1,
        .operands_max = -1,
        .run = run,
};
