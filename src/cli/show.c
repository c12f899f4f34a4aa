/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/show.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "base/time.h"
#include "cli/columns.h"
#include "cli/terminal.h"

/* ---- Tasks */

static const struct table_column task_columns[] = {
        { "TASK", false },
        { "STATE", false },
        { "NODE", TABLE_OPTIONAL }, /* where there is more than one */
        { "READY", false },
        { "PID", true },
        { "RUNS", true },
        { "RESTARTS", TABLE_RIGHT | TABLE_OPTIONAL },
        { "SINCE", true },
        { "PORTS", TABLE_OPTIONAL },
        { "REASON", false },
};

static enum table_style result_style(int result)
{
        switch ((enum task_result) result) {
        case RESULT_SUCCEEDED:
                return TABLE_GOOD;
        case RESULT_NONE:
        case RESULT_STOPPED:
                return TABLE_DIM;
        case RESULT_FAILED:
        case RESULT_REJECTED:
        case RESULT_UNKNOWN:
                return TABLE_BAD;
        }
        return TABLE_PLAIN;
}

static enum table_style task_style(const struct task_status *t)
{
        switch ((enum task_state) t->state) {
        case TASK_RUNNING:
                return t->ready && t->healthy ? TABLE_GOOD : TABLE_WARN;
        case TASK_ENDED:
                return result_style(t->result);
        case TASK_LOST:
                return TABLE_BAD;
        case TASK_QUEUED:
        case TASK_PLACED:
        case TASK_PREPARING:
        case TASK_STARTING:
        case TASK_STOPPING:
                return TABLE_WARN;
        case TASK_STATE_COUNT:
                break;
        }
        return TABLE_PLAIN;
}

/* "failed (exit 3)", "failed (KILL)", "succeeded". */
static void put_result(struct buffer *b, const struct task_status *t)
{
        buffer_puts(
                b, t->result >= 0 ? task_result_names[t->result] : task_state_names[TASK_ENDED]);
        if (t->result == RESULT_SUCCEEDED && t->exit_code == 0)
                return;
        if (t->signal > 0)
                buffer_printf(b, " (%s)", text_signal_name(t->signal));
        else if (t->exit_code != RECORD_NULL)
                buffer_printf(b, " (exit %" PRId64 ")", t->exit_code);
}

static void put_state(struct buffer *b, const struct task_status *t, usec_t now_wall)
{
        char span[TIME_TEXT_MAX];

        if (t->state == TASK_ENDED) {
                put_result(b, t);
                return;
        }
        buffer_puts(b, t->state >= 0 ? task_state_names[t->state] : "-");
        if (t->next_run_at > now_wall)
                buffer_printf(b, ", in %s", time_format_span(span, t->next_run_at - now_wall));
        else if (t->next_run_at != 0)
                buffer_puts(b, ", due now");
}

void show_number(struct table *table, enum table_style style, int64_t number)
{
        if (number == RECORD_NULL)
                table_put(table, TABLE_PLAIN, NULL);
        else
                table_printf(table, style, "%" PRId64, number);
}

/* A task that only its health check complains of is ready all the same; that is what one looks for.
 */
static const char *ready_word(const struct task_status *t)
{
        if (t->state != TASK_RUNNING)
                return NULL;
        return !t->healthy ? "unhealthy" : t->ready ? "yes" : "no";
}

static void put_task(
        struct table *table, const struct task_status *t, bool with_node, usec_t now_wall)
{
        AUTO(buffer_done) struct buffer state = { 0 };
        char span[TIME_TEXT_MAX];

        put_state(&state, t, now_wall);
        table_put(table, TABLE_PLAIN, t->id);
        table_put(table, task_style(t), buffer_str(&state));
        table_put(table, TABLE_PLAIN, with_node ? t->node : NULL);
        table_put(table, TABLE_PLAIN, ready_word(t));
        if (t->pid > 0)
                table_printf(table, TABLE_PLAIN, "%" PRId64, t->pid);
        else
                table_put(table, TABLE_PLAIN, NULL);
        show_number(table, TABLE_PLAIN, t->runs);
        show_number(table, TABLE_WARN, t->restarts > 0 ? t->restarts : RECORD_NULL);
        table_put(table, TABLE_PLAIN,
                t->since == 0
                        ? NULL
                        : time_format_span(span, now_wall > t->since ? now_wall - t->since : 0));
        table_put(table, TABLE_PLAIN, t->ports);
        table_put(table, TABLE_PLAIN, t->reason);
}

static bool on_several_nodes(const json_t *tasks)
{
        const char *first = NULL;
        const json_t *task;
        size_t i;

        json_array_foreach (tasks, i, task) {
                const char *node = json_string_value(json_object_get(task, "node"));

                if (node != NULL && first != NULL && strcmp(node, first) != 0)
                        return true;
                first = node != NULL ? node : first;
        }
        return false;
}

int show_tasks(const json_t *tasks, usec_t now, struct error *err)
{
        AUTO(table_freep) struct table *table = table_new(task_columns, ARRAY_SIZE(task_columns));
        bool with_node = on_several_nodes(tasks);
        json_t *object;
        size_t i;

        json_array_foreach (tasks, i, object) {
                struct task_status task = { 0 };

                if (record_read(&task_table, object, &task, err) < 0)
                        return error_wrap(err, "the server's answer");
                put_task(table, &task, with_node, now);
                record_done(&task_table, &task);
        }
        terminal_print_table(table);
        return 0;
}

/* ---- Nodes */

void show_node_state(struct buffer *out, const struct node_status *node)
{
        buffer_puts(out, node->state >= 0 ? node_state_names[node->state] : "-");
        if (node->scheduling > NODE_OPEN)
                buffer_printf(out, ", %s", node_scheduling_names[node->scheduling]);
}

enum table_style show_node_style(const struct node_status *node)
{
        if (node->state == NODE_LOST)
                return TABLE_BAD;
        return node->scheduling == NODE_OPEN ? TABLE_GOOD : TABLE_WARN;
}

static void put_bytes(struct buffer *out, int64_t bytes)
{
        static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
        double value = (double) bytes;
        size_t unit = 0;

        for (; unit + 1 < ARRAY_SIZE(units) && value >= 1000; unit++)
                value /= 1024;
        buffer_printf(out, "%.3g%s", value, value == 0 ? "" : units[unit]);
}

void show_bytes(struct buffer *out, int64_t used, int64_t all)
{
        put_bytes(out, used);
        if (all == RECORD_NULL)
                return;
        buffer_putc(out, '/');
        put_bytes(out, all);
}

void show_cores(struct buffer *out, int64_t used, int64_t all)
{
        buffer_printf(out, "%.4g", (double) used / 1000);
        if (all != RECORD_NULL)
                buffer_printf(out, "/%.4g", (double) all / 1000);
}

/* ---- Jobs */

enum table_style show_job_style(int state)
{
        switch ((enum job_state) state) {
        case JOB_RUNNING:
        case JOB_SUCCEEDED:
                return TABLE_GOOD;
        case JOB_STARTING:
        case JOB_UPDATING:
        case JOB_STOPPING:
                return TABLE_WARN;
        case JOB_DEGRADED:
        case JOB_FAILED:
                return TABLE_BAD;
        case JOB_STOPPED:
        case JOB_SCHEDULED:
        case JOB_TEMPLATE:
                return TABLE_DIM;
        }
        return TABLE_PLAIN;
}

/* ---- Events */

#define SUBJECT_WIDTH ((size_t) 10) /* of most; the next line is not known yet */

static enum table_style event_style(int kind)
{
        switch (kind) {
        case EVENT_JOB_REFUSED:
        case EVENT_TASK_PARKED:
        case EVENT_NODE_LOST:
        case EVENT_TASK_LOST:
        case EVENT_TASK_REJECTED:
        case EVENT_JOB_REVERTED:
        case EVENT_JOB_DEADLINE:
                return TABLE_BAD;
        case EVENT_TASK_WAITING:
        case EVENT_TASK_LOGS:
        case EVENT_TASK_QUEUED:
        case EVENT_TASK_PREEMPTED:
        case EVENT_JOB_SKIPPED:
        case EVENT_STORE:
                return TABLE_WARN;
        default:
                return TABLE_PLAIN;
        }
}

static const char *event_subject(const struct event *e)
{
        return e->task != NULL   ? e->task
               : e->job != NULL  ? e->job
               : e->node != NULL ? e->node
                                 : "-";
}

static void put_event(struct buffer *line, const struct event *e)
{
        size_t width = terminal_width(), used, subject, fill;
        const char *style = terminal_colour() ? table_style_begin(event_style(e->kind)) : "";
        char time[TIME_TEXT_MAX];

        time_format_local(time, e->time, time_wall());
        buffer_printf(line, "%s  %s%-14s%s  ", time, style,
                e->kind >= 0 ? event_kind_names[e->kind] : "-",
                *style != '\0' ? TABLE_STYLE_END : "");
        used = strlen(time) + 18;
        subject = columns_put(line, event_subject(e), 0);
        fill = MAX(subject, SUBJECT_WIDTH) - subject + 2;
        buffer_printf(line, "%*s", (int) fill, "");
        used += subject + fill;
        if (e->message != NULL && (width == 0 || width > used))
                columns_put(line, e->message, width > 0 ? width - used : 0);
        buffer_putc(line, '\n');
}

int show_event(const json_t *object, struct error *err)
{
        AUTO(buffer_done) struct buffer line = { 0 };
        struct event event = { 0 };

        if (record_read(&event_table, object, &event, err) < 0)
                return error_wrap(err, "the server's answer");
        put_event(&line, &event);
        record_done(&event_table, &event);
        terminal_print(&line);
        return 0;
}

int show_events(const json_t *events, struct error *err)
{
        json_t *event;
        size_t i;

        json_array_foreach (events, i, event)
                if (show_event(event, err) < 0)
                        return -1;
        return 0;
}

int show_parse_time(const char *option, const char *text, char ret[TIME_TEXT_MAX], usec_t *ret_wall,
        struct error *err)
{
        usec_t wall;

        if (!time_parse_when(text, time_wall(), &wall))
                return error_set(err, ERR_INVALID,
                        "%s: expected a time such as " SHOW_TIME_HELP ", got \"%s\"", option, text);
        time_format_wall(ret, wall);
        if (ret_wall != NULL)
                *ret_wall = wall;
        return 0;
}
