/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>

#include "base/macros.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/show.h"
#include "cli/terminal.h"

static bool as_json;
static const char *at;
static char at_text[TIME_TEXT_MAX]; /* the same in RFC 3339 */

static const struct option_row options[] = {
        { "at", 0, OPTION_TEXT, &at, "TIME", "what was so then: " SHOW_TIME_HELP },
        { "json", 0, OPTION_FLAG, &as_json, NULL, "as an array of JSON objects" },
        { NULL, 0, OPTION_FLAG, NULL, NULL, NULL },
};

static const struct table_column columns[] = {
        { "NODE", false },
        { "STATE", false },
        { "ZONE", TABLE_OPTIONAL },
        { "TASKS", true },
        { "CPU", true },
        { "MEMORY", true },
        { "VERSION", false },
};

static void put_node(struct table *table, const struct node_status *node)
{
        AUTO(buffer_done) struct buffer state = { 0 }, cpu = { 0 }, memory = { 0 };

        show_node_state(&state, node);
        if (node->cpu_used != RECORD_NULL)
                show_cores(&cpu, node->cpu_used, node->cpu);
        if (node->memory_used != RECORD_NULL)
                show_bytes(&memory, node->memory_used, node->memory);
        table_put(table, TABLE_PLAIN, node->name);
        table_put(table, show_node_style(node), buffer_str(&state));
        table_put(table, TABLE_PLAIN, node->zone);
        if (node->tasks == RECORD_NULL)
                show_number(table, TABLE_PLAIN, node->running);
        else
                table_printf(
                        table, TABLE_PLAIN, "%" PRId64 "/%" PRId64, node->running, node->tasks);
        table_put(table, TABLE_PLAIN, buffer_str(&cpu));
        table_put(table, TABLE_PLAIN, buffer_str(&memory));
        table_put(table, TABLE_PLAIN, node->version);
}

static int show_nodes(const json_t *nodes, struct error *err)
{
        AUTO(table_freep) struct table *table = table_new(columns, ARRAY_SIZE(columns));
        json_t *object;
        size_t i;

        json_array_foreach (nodes, i, object) {
                struct node_status node = { 0 };

                if (record_read(&node_table, object, &node, err) < 0)
                        return error_wrap(err, "the server's answer");
                put_node(table, &node);
                record_done(&node_table, &node);
        }
        terminal_print_table(table);
        return 0;
}

static int run(const char *const *operands, struct error *err)
{
        AUTO(client_json_decref) json_t *nodes = NULL;
        AUTO(buffer_done) struct buffer path = { 0 };

        (void) operands;
        if (at != NULL && show_parse_time("--at", at, at_text, NULL, err) < 0)
                return -1;
        buffer_puts(&path, "/v1/nodes");
        if (at != NULL)
                buffer_printf(&path, "?at=%s", at_text);
        if (client_get(buffer_str(&path), &nodes, err) < 0)
                return -1;
        if (!as_json)
                return show_nodes(nodes, err);
        terminal_print_json(nodes);
        return 0;
}

const struct command command_nodes = {
        .name = "nodes",
        .operands = "",
        .summary = "list nodes",
        .details = "TASKS is how many run, of how many were placed there; CPU (cores) and MEMORY "
                   "are what these ask for, of what the node has for tasks.",
        .options = options,
        .run = run,
};
