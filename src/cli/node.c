/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/time.h"
#include "cli/client.h"
#include "cli/columns.h"
#include "cli/command.h"
#include "cli/show.h"
#include "cli/terminal.h"

#define EVENTS 10

static bool as_json;

static const struct option_row options[] = {
        { "json", 0, OPTION_FLAG, &as_json, NULL, "the server's answer as JSON" },
        { NULL, 0, OPTION_FLAG, NULL, NULL, NULL },
};

static void put_text(struct buffer *out, const char *text)
{
        columns_put(out, text != NULL ? text : "-", 0);
}

static void put_programs(struct buffer *out, const struct node_status *node)
{
        buffer_puts(out, "Reeve:    ");
        put_text(out, node->version);
        if (node->agent_pid != RECORD_NULL)
                buffer_printf(out, ", agent %" PRId64, node->agent_pid);
        if (node->keeper_pid != RECORD_NULL)
                buffer_printf(out, ", keeper %" PRId64, node->keeper_pid);
        buffer_puts(out, "\nKernel:   ");
        put_text(out, node->kernel);
        buffer_putc(out, '\n');
}

static void put_state(struct buffer *out, const struct node_status *node)
{
        enum table_style style = terminal_colour() ? show_node_style(node) : TABLE_PLAIN;
        char time[TIME_TEXT_MAX];

        buffer_puts(out, "Node:     ");
        put_text(out, node->name);
        if (node->zone != NULL) {
                buffer_puts(out, ", zone ");
                put_text(out, node->zone);
        }
        buffer_printf(out, "\nState:    %s", table_style_begin(style));
        show_node_state(out, node);
        buffer_printf(out, "%s, since %s", style != TABLE_PLAIN ? TABLE_STYLE_END : "",
                time_format_local(time, node->since, time_wall()));
        if (node->heard != 0)
                buffer_printf(out, "; last heard of %s",
                        time_format_local(time, node->heard, time_wall()));
        buffer_printf(
                out, "\nTasks:    %" PRId64 " of %" PRId64 " run\n", node->running, node->tasks);
}

static void put_capacity(struct buffer *out, const struct node_status *node)
{
        buffer_puts(out, "CPU:      ");
        show_cores(out, node->cpu_used, node->cpu);
        buffer_puts(out, " cores asked for\nMemory:   ");
        show_bytes(out, node->memory_used, node->memory);
        buffer_puts(out, " asked for\nDisk:     ");
        show_bytes(out, node->disk_used, node->disk);
        buffer_puts(out, " asked for\n");
}

static void put_attributes(struct buffer *out, const struct node_status *node)
{
        if (node->attributes.len == 0)
                return;
        buffer_puts(out, "Attributes:\n");
        for (size_t i = 0; i < node->attributes.len; i++) {
                buffer_puts(out, "  ");
                put_text(out, node->attributes.pairs[i]);
                buffer_putc(out, '\n');
        }
}

static int show_head(const json_t *answer, struct error *err)
{
        AUTO(buffer_done) struct buffer out = { 0 };
        struct node_status node = { 0 };

        if (record_read(&node_table, answer, &node, err) < 0)
                return error_wrap(err, "the server's answer");
        put_state(&out, &node);
        put_capacity(&out, &node);
        put_programs(&out, &node);
        put_attributes(&out, &node);
        record_done(&node_table, &node);
        terminal_print(&out);
        return 0;
}

/* Why each task is there, or what keeps it there. */
static void show_chosen(const json_t *placed)
{
        static const struct table_column columns[] = {
                { "TASK", false },
                { "CHOSEN", TABLE_OPTIONAL },
                { "HAS TO LEAVE", TABLE_OPTIONAL },
        };
        AUTO(table_freep) struct table *table = table_new(columns, ARRAY_SIZE(columns));
        const json_t *task;
        bool any = false;
        size_t i;

        json_array_foreach (placed, i, task) {
                const char *chosen = json_string_value(json_object_get(task, "chosen"));
                const char *leaving = json_string_value(json_object_get(task, "leaving"));

                any = any || chosen != NULL || leaving != NULL;
                table_put(table, TABLE_PLAIN, json_string_value(json_object_get(task, "id")));
                table_put(table, TABLE_PLAIN, chosen);
                table_put(table, TABLE_WARN, leaving);
        }
        if (!any)
                return;
        putchar('\n');
        terminal_print_table(table);
}

static int show_last_events(const char *name, struct error *err)
{
        AUTO(client_json_decref) json_t *events = NULL;
        AUTO(buffer_done) struct buffer path = { 0 };

        buffer_printf(&path, "/v1/events?newest=true&limit=%d&node=", EVENTS);
        client_put_encoded(&path, name);
        if (client_get(buffer_str(&path), &events, err) < 0)
                return -1;
        if (json_array_size(events) == 0)
                return 0;
        puts("\nLast events:");
        return show_events(events, err);
}

static int show(const char *name, const json_t *answer, struct error *err)
{
        const json_t *placed = json_object_get(answer, "placed");

        if (show_head(answer, err) < 0)
                return -1;
        if (json_array_size(placed) > 0) {
                putchar('\n');
                if (show_tasks(placed, time_wall(), err) < 0)
                        return -1;
                show_chosen(placed);
        }
        return show_last_events(name, err);
}

static int run(const char *const *operands, struct error *err)
{
        AUTO(client_json_decref) json_t *answer = NULL;
        AUTO(mem_freep) char *path = client_node_path(*operands, "");

        if (client_get(path, &answer, err) < 0)
                return -1;
        if (!as_json)
                return show(*operands, answer, err);
        terminal_print_json(answer);
        return 0;
}

const struct command command_node = {
        .name = "node",
        .operands = "NODE",
        .summary = "show one node: capacity, attributes, tasks, last events",
        .details = "CHOSEN says why a task is on this node, HAS TO LEAVE what it waits for on one "
                   "that is drained. `reeve why NODE` says more.",
        .options = options,
        .operands_min = 1,
        .operands_max = 1,
        .run = run,
};
