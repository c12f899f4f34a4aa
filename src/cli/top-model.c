/* SPDX-License-Identifier: BSD-3-Clause */
/* Top's model: tasks as the API lists them, with what the vitals say of each. Both come by
 * themselves and at different times; top_model_arrange() puts them together. */
#include "cli/top-model.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/show.h"

const struct top_order top_orders[TOP_SORTS] = {
        [TOP_CPU] = { 'c', "cpu" },
        [TOP_MEMORY] = { 'm', "memory" },
        [TOP_NAME] = { 'n', "name" },
        [TOP_AGE] = { 'a', "age" },
        [TOP_RUNS] = { 'u', "runs" },
        [TOP_STATE] = { 't', "state" },
        [TOP_NODE] = { 'o', "node" },
};

bool top_find_order(const char *name, enum top_sort *ret)
{
        for (int i = 0; i < TOP_SORTS; i++)
                if (strcmp(top_orders[i].name, name) == 0) {
                        *ret = (enum top_sort) i;
                        return true;
                }
        return false;
}

/* ---- reading */

static void tasks_done(struct top_task *tasks, size_t len)
{
        for (size_t i = 0; i < len; i++)
                record_done(&task_table, &tasks[i].status);
        free(tasks);
}

static void nodes_done(struct node_vitals *nodes, size_t len)
{
        for (size_t i = 0; i < len; i++)
                record_done(&node_vitals_table, &nodes[i]);
        free(nodes);
}

static void vitals_done(struct task_vitals *vitals, size_t len)
{
        for (size_t i = 0; i < len; i++)
                record_done(&task_vitals_table, &vitals[i]);
        free(vitals);
}

void top_model_done(struct top_model *m)
{
        tasks_done(m->tasks, m->tasks_len);
        nodes_done(m->nodes, m->nodes_len);
        vitals_done(m->vitals, m->vitals_len);
        free(m->shown);
        *m = (struct top_model){ 0 };
}

int top_model_set_tasks(struct top_model *m, const json_t *tasks, struct error *err)
{
        size_t len = json_array_size(tasks);
        struct top_task *all = mem_alloc(MAX(len, (size_t) 1) * sizeof *all);

        for (size_t i = 0; i < len; i++)
                if (record_read(&task_table, json_array_get(tasks, i), &all[i].status, err) < 0) {
                        tasks_done(all, i);
                        return -1;
                }
        tasks_done(m->tasks, m->tasks_len);
        m->tasks = all;
        m->tasks_len = len;
        m->shown_len = 0; /* they were of the ones before */
        return 0;
}

static int compare_vitals(const void *a, const void *b)
{
        const struct task_vitals *x = a, *y = b;

        return strcmp(x->task, y->task);
}

static int read_nodes(const json_t *array, struct node_vitals **ret, struct error *err)
{
        size_t len = json_array_size(array);
        struct node_vitals *all = mem_alloc(MAX(len, (size_t) 1) * sizeof *all);

        for (size_t i = 0; i < len; i++)
                if (record_read(&node_vitals_table, json_array_get(array, i), &all[i], err) < 0) {
                        nodes_done(all, i);
                        return -1;
                }
        *ret = all;
        return 0;
}

static int read_vitals(const json_t *array, struct task_vitals **ret, struct error *err)
{
        size_t len = json_array_size(array);
        struct task_vitals *all = mem_alloc(MAX(len, (size_t) 1) * sizeof *all);

        for (size_t i = 0; i < len; i++) {
                int r = record_read(&task_vitals_table, json_array_get(array, i), &all[i], err);

                if (r == 0 && all[i].task == NULL) {
                        record_done(&task_vitals_table, &all[i]);
                        r = error_set(err, ERR_INVALID, "vitals without a task");
                }
                if (r < 0) {
                        vitals_done(all, i);
                        return -1;
                }
        }
        qsort(all, len, sizeof *all, compare_vitals);
        *ret = all;
        return 0;
}

int top_model_set_vitals(struct top_model *m, const json_t *vitals, struct error *err)
{
        const json_t *nodes = json_object_get(vitals, "nodes"),
                     *tasks = json_object_get(vitals, "tasks");
        struct node_vitals *all_nodes;
        struct task_vitals *all;

        if (read_nodes(nodes, &all_nodes, err) < 0)
                return -1;
        if (read_vitals(tasks, &all, err) < 0) {
                nodes_done(all_nodes, json_array_size(nodes));
                return -1;
        }
        nodes_done(m->nodes, m->nodes_len);
        vitals_done(m->vitals, m->vitals_len);
        m->nodes = all_nodes;
        m->nodes_len = json_array_size(nodes);
        m->vitals = all;
        m->vitals_len = json_array_size(tasks);
        return 0;
}

/* ---- order */

static int compare_texts(const char *a, const char *b)
{
        return strcmp(a != NULL ? a : "", b != NULL ? b : "");
}

static int compare_numbers(int64_t a, int64_t b)
{
        return (a > b) - (a < b);
}

/* Names: as the API lists them, which is how they lie in memory. */
static int compare_names(const struct top_task *a, const struct top_task *b)
{
        return (a > b) - (a < b);
}

static int compare_tasks(const void *x, const void *y, void *data)
{
        const struct top_task *a = *(struct top_task *const *) x,
                              *b = *(struct top_task *const *) y;
        const struct top_model *m = data;
        int r = 0;

        switch (m->sort) {
        case TOP_CPU:
                r = compare_numbers(b->cpu, a->cpu);
                break;
        case TOP_MEMORY:
                r = compare_numbers(b->memory, a->memory);
                break;
        case TOP_AGE: /* the youngest first: something happened */
                r = compare_numbers((int64_t) b->status.since, (int64_t) a->status.since);
                break;
        case TOP_RUNS:
                r = compare_numbers(b->status.runs, a->status.runs);
                break;
        case TOP_STATE:
                r = compare_numbers(a->status.state, b->status.state);
                break;
        case TOP_NODE:
                r = compare_texts(a->status.node, b->status.node);
                break;
        case TOP_NAME:
                r = compare_names(a, b);
                break;
        case TOP_SORTS:
                break;
        }
        if (r == 0)
                return compare_names(a, b);
        return m->backwards ? -r : r;
}

static bool has(const char *text, const char *part)
{
        return text != NULL && strcasestr(text, part) != NULL;
}

static bool is_shown(const struct top_model *m, const struct top_task *t)
{
        const char *part = m->filter;

        return *part == '\0' || has(t->status.id, part) || has(t->status.node, part) ||
               has(t->status.reason, part) ||
               (t->status.state >= 0 && has(task_state_names[t->status.state], part));
}

static void add_vitals(const struct top_model *m, struct top_task *t)
{
        const struct task_vitals key = { .task = t->status.id }, *v = NULL;

        if (m->vitals_len > 0 && t->status.id != NULL)
                v = bsearch(&key, m->vitals, m->vitals_len, sizeof key, compare_vitals);
        if (v != NULL && (v->run != t->status.runs || t->status.pid == RECORD_NULL))
                v = NULL; /* of a run that is over */
        t->cpu = v != NULL ? v->cpu : RECORD_NULL;
        t->memory = v != NULL ? v->memory : RECORD_NULL;
}

void top_model_arrange(struct top_model *m)
{
        m->shown = mem_resize(m->shown, MAX(m->tasks_len, (size_t) 1), sizeof(void *));
        m->shown_len = 0;
        memset(m->by_state, 0, sizeof m->by_state);
        for (size_t i = 0; i < m->tasks_len; i++) {
                struct top_task *t = &m->tasks[i];

                if (t->status.state >= 0)
                        m->by_state[t->status.state]++;
                add_vitals(m, t);
                if (is_shown(m, t))
                        m->shown[m->shown_len++] = t;
        }
        qsort_r(m->shown, m->shown_len, sizeof(void *), compare_tasks, m);
}

size_t top_model_place(const struct top_model *m, const char *id)
{
        size_t i = 0;

        while (i < m->shown_len && strcmp(m->shown[i]->status.id, id) != 0)
                i++;
        return i;
}

/* ---- all together */

static void add(int64_t *sum, int64_t value)
{
        if (value != RECORD_NULL)
                *sum = (*sum == RECORD_NULL ? 0 : *sum) + value;
}

struct node_vitals top_model_sum(const struct top_model *m)
{
        struct node_vitals sum = { .cores = 0,
                .cpu = RECORD_NULL,
                .memory = RECORD_NULL,
                .memory_total = RECORD_NULL,
                .load = RECORD_NULL,
                .disk = RECORD_NULL,
                .disk_total = RECORD_NULL };

        for (size_t i = 0; i < m->nodes_len; i++) {
                const struct node_vitals *n = &m->nodes[i];

                add(&sum.cores, n->cores);
                add(&sum.cpu, n->cpu);
                add(&sum.memory, n->memory);
                add(&sum.memory_total, n->memory_total);
                add(&sum.load, n->load);
                add(&sum.disk, n->disk);
                add(&sum.disk_total, n->disk_total);
        }
        return sum;
}

void top_put_states(struct buffer *out, const struct top_model *m)
{
        static const enum task_state order[] = { TASK_RUNNING, TASK_STARTING, TASK_PREPARING,
                TASK_PLACED, TASK_QUEUED, TASK_STOPPING, TASK_LOST, TASK_ENDED };
        const char *comma = "";

        for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
                if (m->by_state[order[i]] == 0)
                        continue;
                buffer_printf(
                        out, "%s%zu %s", comma, m->by_state[order[i]], task_state_names[order[i]]);
                comma = ", ";
        }
        if (*comma == '\0')
                buffer_puts(out, "no tasks");
}

/* ---- cells */

const struct table_column top_columns[TOP_COLUMNS] = {
        [TOP_COLUMN_TASK] = { "TASK", 0 },
        [TOP_COLUMN_STATE] = { "STATE", 0 },
        [TOP_COLUMN_NODE] = { "NODE", TABLE_OPTIONAL }, /* where there is more than one */
        [TOP_COLUMN_CPU] = { "CPU%", TABLE_RIGHT },
        [TOP_COLUMN_MEMORY] = { "MEMORY", TABLE_RIGHT },
        [TOP_COLUMN_RUNS] = { "RUNS", TABLE_RIGHT },
        [TOP_COLUMN_AGE] = { "AGE", TABLE_RIGHT },
        [TOP_COLUMN_REASON] = { "REASON", 0 },
};

void top_put_cpu(struct buffer *out, int64_t milli)
{
        if (milli == RECORD_NULL)
                buffer_putc(out, '-');
        else
                buffer_printf(out, "%" PRId64 ".%" PRId64, milli / 10, milli % 10);
}

void top_put_cell(
        struct buffer *out, const struct top_task *t, enum top_column column, usec_t now_wall)
{
        const struct task_status *s = &t->status;
        char span[TIME_TEXT_MAX];

        switch (column) {
        case TOP_COLUMN_TASK:
                buffer_puts(out, s->id);
                break;
        case TOP_COLUMN_STATE:
                buffer_puts(out, s->state >= 0 ? task_state_names[s->state] : "-");
                break;
        case TOP_COLUMN_NODE:
                buffer_puts(out, s->node != NULL ? s->node : "-");
                break;
        case TOP_COLUMN_CPU:
                top_put_cpu(out, t->cpu);
                break;
        case TOP_COLUMN_MEMORY:
                if (t->memory == RECORD_NULL)
                        buffer_putc(out, '-');
                else
                        show_bytes(out, t->memory, RECORD_NULL);
                break;
        case TOP_COLUMN_RUNS:
                buffer_printf(out, "%" PRId64, MAX(s->runs, (int64_t) 0));
                break;
        case TOP_COLUMN_AGE:
                buffer_puts(out,
                        s->since == 0 ? "-"
                                      : time_format_span(span, now_wall - MIN(s->since, now_wall)));
                break;
        case TOP_COLUMN_REASON:
                buffer_puts(out, s->reason != NULL ? s->reason : "-");
                break;
        case TOP_COLUMNS:
                break;
        }
}
