/* SPDX-License-Identifier: BSD-3-Clause */
/* Gauges: the newest vitals.
 *
 * Nothing comes by itself. When somebody looks (the API, `reeve top`, a scrape of /metrics) the
 * agents are asked, and their answers serve everybody who looks soon after; the hour that is past
 * is asked of the one agent that has it. A cluster of a million tasks that nobody looks at costs
 * nothing here, neither memory nor a message, and one that is looked at what is shown.
 *
 * A look is a set of questions, one per node, each with a number. It is over when all were
 * answered, or after LOOK_MSEC: who has not answered then is shown as unknown. What was heard is
 * forgotten after a minute.
 *
 * Owned by the server. A look lives until its call or its cancelling. */
#include "server/gauges.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/text.h"
#include "model/record-scan.h"
#include "server/links.h"

#define LOOK_MSEC  2000
#define KNOWN_FOR  USEC_MINUTE
#define SWEEP_MSEC 30000

struct gauge {
        char *node;
        usec_t heard_mono;
        usec_t tasks_mono; /* when something was heard of its tasks; 0: nothing */
        struct node_vitals vitals;
        struct task_vitals *tasks; /* by id */
        size_t tasks_len;
        UT_hash_handle hh;
};

struct question {
        uint32_t number;
        char *node;
        struct gauges_look *look;
        struct question *next, *prev; /* of the look */
        UT_hash_handle hh;
};

struct gauges_look {
        struct gauges *gauges;
        struct question *questions; /* not answered yet */
        void (*done)(void *data);
        void (*done_samples)(void *data, const char *samples, size_t len, const struct error *err);
        void *data;
        struct buffer samples;
        bool tasks;
        bool answered;
        uv_timer_t timer;
        struct gauges_look *next, *prev;
};

struct gauges {
        struct server *server;
        struct gauge *by_node;
        struct question *by_number;
        struct gauges_look *looks;
        uint32_t last_number;
        uv_timer_t sweep;
};

/* ---- what is known */

static void tasks_done(struct task_vitals *tasks, size_t len)
{
        for (size_t i = 0; i < len; i++)
                record_done(&task_vitals_table, &tasks[i]);
        free(tasks);
}

static void gauge_free(struct gauges *g, struct gauge *gauge)
{
        HASH_DEL(g->by_node, gauge);
        tasks_done(gauge->tasks, gauge->tasks_len);
        record_done(&node_vitals_table, &gauge->vitals);
        free(gauge->node);
        free(gauge);
}

static struct gauge *find(const struct gauges *g, const char *node)
{
        struct gauge *gauge;

        HASH_FIND_STR(g->by_node, node, gauge);
        return gauge;
}

static bool is_known(const struct gauge *gauge, usec_t since_mono, usec_t max_age)
{
        return gauge != NULL && since_mono != 0 && time_mono() <= since_mono + max_age;
}

const struct node_vitals *gauges_node(const struct gauges *g, const char *node)
{
        const struct gauge *gauge = find(g, node);

        return gauge != NULL && is_known(gauge, gauge->heard_mono, KNOWN_FOR) ? &gauge->vitals
                                                                              : NULL;
}

static int compare_tasks(const void *a, const void *b)
{
        const struct task_vitals *x = a, *y = b;

        return strcmp(x->task, y->task);
}

const struct task_vitals *gauges_task(const struct gauges *g, const char *node, const char *task)
{
        const struct gauge *gauge = find(g, node);
        struct task_vitals key = { .task = (char *) (uintptr_t) task };

        if (gauge == NULL || gauge->tasks_len == 0 ||
                !is_known(gauge, gauge->tasks_mono, KNOWN_FOR))
                return NULL;
        return bsearch(&key, gauge->tasks, gauge->tasks_len, sizeof key, compare_tasks);
}

void gauges_each_task(const struct gauges *g, const char *node,
        void (*each)(void *data, const struct task_vitals *task), void *data)
{
        const struct gauge *gauge = find(g, node);

        if (gauge == NULL || !is_known(gauge, gauge->tasks_mono, KNOWN_FOR))
                return;
        for (size_t i = 0; i < gauge->tasks_len; i++)
                each(data, &gauge->tasks[i]);
}

static void on_sweep(uv_timer_t *timer)
{
        struct gauges *g = timer->data;
        struct gauge *gauge, *next;

        HASH_ITER (hh, g->by_node, gauge, next)
                if (!is_known(gauge, gauge->heard_mono, KNOWN_FOR))
                        gauge_free(g, gauge);
        if (g->by_node == NULL)
                uv_timer_stop(&g->sweep);
}

/* ---- looks */

static void question_free(struct question *q)
{
        HASH_DEL(q->look->gauges->by_number, q);
        DL_DELETE(q->look->questions, q);
        free(q->node);
        free(q);
}

static void on_look_closed(uv_handle_t *handle)
{
        free(handle->data);
}

void gauges_cancel(struct gauges_look *look)
{
        if (look == NULL)
                return;
        while (look->questions != NULL)
                question_free(look->questions);
        DL_DELETE(look->gauges->looks, look);
        buffer_done(&look->samples);
        uv_close((uv_handle_t *) &look->timer, on_look_closed);
}

static void end_samples(struct gauges_look *look)
{
        struct error err = ERROR_INIT;

        if (!look->answered)
                error_set(&err, ERR_UNAVAILABLE, "the node's agent does not answer");
        look->done_samples(look->data, buffer_str(&look->samples), look->samples.len,
                look->answered ? NULL : &err);
}

static void on_look_end(uv_timer_t *timer)
{
        struct gauges_look *look = timer->data;

        if (look->done_samples != NULL)
                end_samples(look);
        else
                look->done(look->data);
        gauges_cancel(look);
}

/* Ends it after this turn: callers do not have it yet, or are in the middle of something. */
static void end_soon(struct gauges_look *look)
{
        uv_timer_start(&look->timer, on_look_end, 0, 0);
}

static struct gauges_look *look_new(struct gauges *g, void *data)
{
        struct gauges_look *look = mem_alloc(sizeof *look);

        look->gauges = g;
        look->data = data;
        look->timer.data = look;
        uv_timer_init(g->server->loop, &look->timer);
        uv_timer_start(&look->timer, on_look_end, LOOK_MSEC, 0);
        DL_APPEND(g->looks, look);
        return look;
}

static uint32_t new_number(struct gauges *g)
{
        struct question *taken;

        do {
                g->last_number++;
                HASH_FIND(hh, g->by_number, &g->last_number, sizeof g->last_number, taken);
        } while (taken != NULL);
        return g->last_number;
}

/* @rest: the members behind the number. */
static void ask(struct gauges_look *look, const char *node, const char *rest)
{
        struct gauges *g = look->gauges;
        AUTO(buffer_done) struct buffer text = { 0 };
        struct question *q;

        if (!links_knows(g->server->links, node, LINK_VITALS))
                return;
        q = mem_alloc(sizeof *q);
        q->number = new_number(g);
        q->node = mem_strdup(node);
        q->look = look;
        HASH_ADD(hh, g->by_number, number, sizeof q->number, q);
        DL_APPEND(look->questions, q);
        buffer_printf(&text, "{\"type\":\"vitals-ask\",\"number\":%" PRIu32 "%s}", q->number, rest);
        links_send(g->server->links, node, buffer_str(&text));
}

struct asking {
        struct gauges_look *look;
        const struct gauges_query *query;
        const char *rest;
};

static void ask_node(void *data, const struct node_status *node)
{
        const struct asking *a = data;
        const struct gauge *gauge = find(a->look->gauges, node->name);

        if (a->query->node != NULL && strcmp(a->query->node, node->name) != 0)
                return;
        if (gauge == NULL ||
                !is_known(gauge, a->query->tasks ? gauge->tasks_mono : gauge->heard_mono,
                        a->query->max_age))
                ask(a->look, node->name, a->rest);
}

struct gauges_look *gauges_look(
        struct gauges *g, const struct gauges_query *query, void (*done)(void *data), void *data)
{
        struct gauges_look *look = look_new(g, data);
        AUTO(mem_freep)
        char *rest = mem_printf(",\"max_age_ms\":%" PRIu64 ",\"tasks\":%s",
                query->max_age / USEC_MSEC, query->tasks ? "true" : "false");
        struct asking a = { look, query, rest };
        struct node_status node;

        look->done = done;
        look->tasks = query->tasks;
        if (query->node == NULL)
                cluster_each_node(state_cluster(g->server->state), ask_node, &a);
        else if (cluster_get_node(state_cluster(g->server->state), query->node, &node))
                ask_node(&a, &node);
        if (look->questions == NULL)
                end_soon(look);
        return look;
}

struct gauges_look *gauges_look_samples(struct gauges *g, const char *node, const char *task,
        usec_t since,
        void (*done)(void *data, const char *samples, size_t len, const struct error *err),
        void *data)
{
        struct gauges_look *look = look_new(g, data);
        AUTO(buffer_done) struct buffer rest = { 0 };

        look->done_samples = done;
        buffer_printf(&rest, ",\"samples\":true,\"since\":%" PRIu64, since);
        if (task != NULL)
                buffer_printf(&rest, ",\"task\":\"%s\"", task);
        ask(look, node, buffer_str(&rest));
        if (look->questions == NULL)
                end_soon(look);
        return look;
}

/* ---- answers */

struct answer {
        int64_t number;
        struct node_vitals node;
        struct task_vitals *tasks;
        size_t tasks_len, tasks_allocated;
        struct scan_text samples; /* with its brackets */
};

static void answer_done(struct answer *a)
{
        record_done(&node_vitals_table, &a->node);
        tasks_done(a->tasks, a->tasks_len);
}

static bool read_record(
        struct scan *s, const struct record_table *table, void *record, struct error *err)
{
        struct record_scan r;
        struct scan_text key;

        record_scan_begin(&r, table, record);
        scan_object(s);
        while (scan_member(s, &key))
                record_scan_member(&r, s, &key);
        return s->problem == NULL || record_scan_fail(&r, s, err) == 0;
}

static bool read_tasks(struct scan *s, struct answer *ret, struct error *err)
{
        scan_array(s);
        while (scan_item(s)) {
                struct task_vitals *task;

                if (ret->tasks_len == ret->tasks_allocated) {
                        ret->tasks_allocated = MAX((size_t) 16, ret->tasks_allocated * 2);
                        ret->tasks =
                                mem_resize(ret->tasks, ret->tasks_allocated, sizeof *ret->tasks);
                }
                task = &ret->tasks[ret->tasks_len++];
                *task = (struct task_vitals){ 0 };
                if (!read_record(s, &task_vitals_table, task, err))
                        return false;
                if (task->task == NULL) {
                        error_set(err, ERR_INVALID, "tasks[%zu].task: missing", ret->tasks_len - 1);
                        return false;
                }
        }
        return true;
}

static int read_answer(struct scan *s, struct answer *ret, struct error *err)
{
        struct scan_text key;

        scan_object(s);
        while (scan_member(s, &key)) {
                bool well = true;

                if (scan_text_is(&key, "number"))
                        scan_int(s, &ret->number);
                else if (scan_text_is(&key, "node") && ret->node.node == NULL)
                        well = read_record(s, &node_vitals_table, &ret->node, err);
                else if (scan_text_is(&key, "tasks"))
                        well = read_tasks(s, ret, err);
                else if (scan_text_is(&key, "samples"))
                        scan_skip(s, &ret->samples);
                else
                        scan_skip(s, NULL);
                if (!well)
                        return error_wrap(err, "vitals");
        }
        return scan_end(s) ? 0 : error_set(err, ERR_INVALID, "not a JSON object");
}

static void learn(struct gauges *g, const char *node, struct answer *a, bool tasks)
{
        struct gauge *gauge = find(g, node);

        if (gauge == NULL) {
                gauge = mem_alloc(sizeof *gauge);
                gauge->node = mem_strdup(node);
                HASH_ADD_KEYPTR(hh, g->by_node, gauge->node, strlen(gauge->node), gauge);
                uv_timer_start(&g->sweep, on_sweep, SWEEP_MSEC, SWEEP_MSEC);
        }
        record_done(&node_vitals_table, &gauge->vitals);
        gauge->vitals = a->node;
        a->node = (struct node_vitals){ 0 };
        gauge->heard_mono = time_mono();
        if (!tasks) /* it was not asked of them */
                return;
        gauge->tasks_mono = gauge->heard_mono;
        tasks_done(gauge->tasks, gauge->tasks_len);
        gauge->tasks = take_ptr(a->tasks);
        gauge->tasks_len = a->tasks_len;
        a->tasks_len = 0;
        if (gauge->tasks_len > 0)
                qsort(gauge->tasks, gauge->tasks_len, sizeof *gauge->tasks, compare_tasks);
}

static void take(struct question *q, struct answer *a)
{
        struct gauges_look *look = q->look;

        look->answered = true;
        if (look->done_samples != NULL && a->samples.len >= 2)
                buffer_put(&look->samples, a->samples.at + 1, a->samples.len - 2);
        else if (look->done != NULL && a->node.node != NULL)
                learn(look->gauges, q->node, a, look->tasks);
        question_free(q);
        if (look->questions == NULL)
                end_soon(look);
}

int gauges_hear(struct gauges *g, const char *node, struct scan *s, struct error *err)
{
        AUTO(answer_done) struct answer a = { 0 };
        struct question *q;
        uint32_t number;

        if (read_answer(s, &a, err) < 0)
                return -1;
        number = (uint32_t) a.number;
        HASH_FIND(hh, g->by_number, &number, sizeof number, q);
        if (q != NULL && strcmp(q->node, node) == 0) /* else it came too late */
                take(q, &a);
        return 0;
}

void gauges_node_down(struct gauges *g, const char *node)
{
        struct question *q, *next;

        HASH_ITER (hh, g->by_number, q, next) {
                struct gauges_look *look = q->look;

                if (strcmp(q->node, node) != 0)
                        continue;
                question_free(q);
                if (look->questions == NULL)
                        end_soon(look);
        }
}

/* ---- life */

struct gauges *gauges_new(struct server *server)
{
        struct gauges *g = mem_alloc(sizeof *g);

        g->server = server;
        g->sweep.data = g;
        uv_timer_init(server->loop, &g->sweep);
        return g;
}

static void on_closed(uv_handle_t *handle)
{
        free(handle->data);
}

void gauges_free(struct gauges *g)
{
        struct gauge *gauge, *next;

        if (g == NULL)
                return;
        while (g->looks != NULL)
                gauges_cancel(g->looks);
        HASH_ITER (hh, g->by_node, gauge, next)
                gauge_free(g, gauge);
        uv_close((uv_handle_t *) &g->sweep, on_closed);
}
