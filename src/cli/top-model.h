/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <jansson.h>

#include "base/buffer.h"
#include "base/error.h"
#include "cli/table.h"
#include "model/status.h"
#include "model/vitals.h"

/* What `reeve top` shows, and in which order. Pure. */

struct top_task {
        struct task_status status;
        int64_t cpu, memory; /* RECORD_NULL: not known */
};

enum top_sort {
        TOP_CPU,
        TOP_MEMORY,
        TOP_NAME,
        TOP_AGE,
        TOP_RUNS,
        TOP_STATE,
        TOP_NODE,
        TOP_SORTS,
};

struct top_order {
        char key; /* on the screen */
        const char *name;
};
extern const struct top_order top_orders[TOP_SORTS];

/* False if there is no order of that name. */
bool top_find_order(const char *name, enum top_sort *ret);

#define TOP_FILTER_MAX 64

struct top_model {
        struct top_task *tasks; /* all, by job and index */
        size_t tasks_len;
        struct top_task **shown; /* those that the filter takes, in order */
        size_t shown_len;
        struct node_vitals *nodes;
        size_t nodes_len;
        struct task_vitals *vitals; /* by id */
        size_t vitals_len;
        enum top_sort sort;
        bool backwards;
        char filter[TOP_FILTER_MAX]; /* part of the id, state, node or reason; "": all */
        size_t by_state[TASK_STATE_COUNT];
};

void top_model_done(struct top_model *m);

/* The answers of GET /v1/tasks and /v1/vitals; on failure nothing has changed. top_model_arrange()
 * is due then, as after a change of sort or filter. */
int top_model_set_tasks(struct top_model *m, const json_t *tasks, struct error *err);
int top_model_set_vitals(struct top_model *m, const json_t *vitals, struct error *err);
void top_model_arrange(struct top_model *m);

/* The place of a task among those shown; shown_len if it is not. */
size_t top_model_place(const struct top_model *m, const char *id);

/* All machines together, but for their names. */
struct node_vitals top_model_sum(const struct top_model *m);

/* "2 running, 1 queued" */
void top_put_states(struct buffer *out, const struct top_model *m);

/* ---- cells */

enum top_column {
        TOP_COLUMN_TASK,
        TOP_COLUMN_STATE,
        TOP_COLUMN_NODE,
        TOP_COLUMN_CPU,
        TOP_COLUMN_MEMORY,
        TOP_COLUMN_RUNS,
        TOP_COLUMN_AGE,
        TOP_COLUMN_REASON,
        TOP_COLUMNS,
};
extern const struct table_column top_columns[TOP_COLUMNS];

/* The text of a cell. */
void top_put_cell(
        struct buffer *out, const struct top_task *t, enum top_column column, usec_t now_wall);

/* "45.2%" of a core */
void top_put_cpu(struct buffer *out, int64_t milli);
