/* SPDX-License-Identifier: BSD-3-Clause */
/* top: one table and an end, or the screen (top-live.c) where there is one. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/show.h"
#include "cli/terminal.h"
#include "cli/top-live.h"
#include "cli/top-model.h"

#define EVERY_MIN (200 * USEC_MSEC)

static bool as_json, once;
static const char *sort = "cpu", *filter;
static struct top_query query = { .every = 2 * USEC_SEC };

static const struct option_row options[] = {
        { "sort", 's', OPTION_TEXT, &sort, "ORDER",
                "cpu, memory, name, age, runs, state or node (cpu)" },
        { "filter", 'f', OPTION_TEXT, &filter, "TEXT",
                "only tasks with this in their name, state, node or reason" },
        { "job", 'j', OPTION_TEXT, &query.job, "JOB", "only tasks of this job" },
        { "node", 'n', OPTION_TEXT, &query.node, "NODE", "only this node, and tasks on it" },
        { "interval", 'i', OPTION_SPAN, &query.every, "TIME",
                "how often CPU and memory are new (2s)" },
        { "once", '1', OPTION_FLAG, &once, NULL, "print one table and end; so without a terminal" },
        { "json", 0, OPTION_FLAG, &as_json, NULL, "as JSON, once" },
        { NULL, 0, OPTION_FLAG, NULL, NULL, NULL },
};

static int fetch(struct top_model *m, struct error *err)
{
        AUTO(client_json_decref) json_t *tasks = NULL, *vitals = NULL;
        AUTO(buffer_done) struct buffer of_tasks = { 0 }, of_vitals = { 0 };

        top_put_tasks_path(&of_tasks, &query);
        top_put_vitals_path(&of_vitals, &query, query.every);
        if (client_get(buffer_str(&of_tasks), &tasks, err) < 0 ||
                client_get(buffer_str(&of_vitals), &vitals, err) < 0 ||
                top_model_set_tasks(m, tasks, err) < 0 || top_model_set_vitals(m, vitals, err) < 0)
                return -1;
        top_model_arrange(m);
        return 0;
}

static void put_nodes(struct buffer *out, const struct top_model *m)
{
        for (size_t i = 0; i < m->nodes_len; i++) {
                const struct node_vitals *n = &m->nodes[i];

                buffer_printf(out, "%s: %" PRId64 " cores, CPU ", n->node, n->cores);
                top_put_cpu(out, n->cpu);
                buffer_puts(out, n->cpu != RECORD_NULL ? "%, memory " : ", memory ");
                show_bytes(out, n->memory, n->memory_total);
                if (n->load != RECORD_NULL)
                        buffer_printf(
                                out, ", load %" PRId64 ".%02" PRId64, n->load / 100, n->load % 100);
                buffer_putc(out, '\n');
        }
        buffer_puts(out, "tasks: ");
        top_put_states(out, m);
        buffer_puts(out, "\n\n");
}

static void print_table(const struct top_model *m)
{
        AUTO(table_freep) struct table *table = table_new(top_columns, TOP_COLUMNS);
        AUTO(buffer_done) struct buffer head = { 0 };
        usec_t now = time_wall();

        put_nodes(&head, m);
        terminal_print(&head);
        for (size_t i = 0; i < m->shown_len; i++)
                for (int column = 0; column < TOP_COLUMNS; column++) {
                        AUTO(buffer_done) struct buffer cell = { 0 };

                        if (column != TOP_COLUMN_NODE || m->nodes_len > 1)
                                top_put_cell(&cell, m->shown[i], (enum top_column) column, now);
                        table_put(table, TABLE_PLAIN, buffer_str(&cell));
                }
        terminal_print_table(table);
}

static json_t *read_back(const struct record_table *table, const void *record)
{
        AUTO(buffer_done) struct buffer text = { 0 };

        record_write(table, record, &text);
        return json_loadb(text.data, text.len, 0, NULL);
}

static json_t *number(int64_t value)
{
        return value == RECORD_NULL ? json_null() : json_integer(value);
}

static void print_json(const struct top_model *m)
{
        AUTO(client_json_decref) json_t *all = json_object();
        json_t *nodes = json_array(), *tasks = json_array();

        for (size_t i = 0; i < m->nodes_len; i++)
                json_array_append_new(nodes, read_back(&node_vitals_table, &m->nodes[i]));
        for (size_t i = 0; i < m->shown_len; i++) {
                json_t *task = read_back(&task_table, &m->shown[i]->status);

                json_object_set_new(task, "cpu", number(m->shown[i]->cpu));
                json_object_set_new(task, "memory", number(m->shown[i]->memory));
                json_array_append_new(tasks, task);
        }
        json_object_set_new(all, "nodes", nodes);
        json_object_set_new(all, "tasks", tasks);
        terminal_print_json(all);
}

static int show(struct top_model *m, struct error *err)
{
        if (!once && !as_json && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO))
                return top_live(m, &query, err);
        if (fetch(m, err) < 0)
                return -1;
        if (as_json)
                print_json(m);
        else
                print_table(m);
        return 0;
}

static int run(const char *const *operands, struct error *err)
{
        struct top_model m = { 0 };
        int r;

        (void) operands;
        if (!top_find_order(sort, &m.sort))
                return error_set(err, ERR_INVALID,
                        "--sort: expected cpu, memory, name, age, runs, state or node, got \"%s\"",
                        sort);
        if (query.every < EVERY_MIN || query.every > USEC_HOUR)
                return error_set(err, ERR_INVALID, "--interval: expected 200ms to 1h");
        if (filter != NULL)
                snprintf(m.filter, sizeof m.filter, "%s", filter);
        r = show(&m, err);
        top_model_done(&m);
        return r;
}

const struct command command_top = {
        .name = "top",
        .operands = "",
        .summary = "watch what tasks and machines use",
        .details = "A live screen: tasks with their CPU (100 is one core) and memory. Keys: up and "
                   "down choose a task; c m n a\n"
                   "u t o sort, the same again backwards; / filters; Enter tells why, l shows the "
                   "log, r restarts, s stops\n"
                   "it; ? shows all keys; q ends.",
        .options = options,
        .run = run,
};
