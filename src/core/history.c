/* SPDX-License-Identifier: BSD-3-Clause */
/* History: what was so at a time that is past, folded from the events.
 *
 * Nothing but the events is kept of the past. For each job, task and node the last event that is
 * not after the time tells how it was left. What has no such event is told of by the first one
 * after it: what ends had run, what is created was not there. What has neither is now as it was
 * then. And what has an event before and none after has not changed since: then the present knows
 * more of it than the event did, as long as its `since` is not after the time.
 *
 * This file gathers, one event at a time; history-tell.c makes statuses of what was gathered. The
 * cluster's events are made for people as well, and some of what is needed stands only in their
 * sentences: how many tasks a new job has, a count before and after, how a run ended. The tests of
 * this module compare with what the cluster really says.
 *
 * An agent that was cut off tells late what happened, with the time when it did: so it is the time
 * that decides what was before, and the number what came first. What no event tells (process ids,
 * ports) is null. */
#include "core/history.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/mem.h"
#include "base/text.h"
#include "core/history-internal.h"

static void set(char **text, const char *with)
{
        char *copy = with == NULL ? NULL : mem_strdup(with);

        free(*text);
        *text = copy;
}

static bool begins(const char *text, const char *with)
{
        return text != NULL && strncmp(text, with, strlen(with)) == 0;
}

static bool contains(const char *text, const char *what)
{
        return text != NULL && strstr(text, what) != NULL;
}

/* ---- Subjects */

struct history_job *history_job_of(struct history *h, const char *name)
{
        struct history_job *job;

        HASH_FIND_STR(h->jobs, name, job);
        if (job != NULL)
                return job;
        job = mem_alloc(sizeof *job);
        job->name = mem_strdup(name);
        job->next.kind = -1;
        job->count = job->next_count = RECORD_NULL;
        HASH_ADD_KEYPTR(hh, h->jobs, job->name, strlen(job->name), job);
        return job;
}

struct history_task *history_task_of(struct history *h, struct history_job *job, const char *id)
{
        struct history_task *task;
        const char *dot = strrchr(id, '.');

        HASH_FIND_STR(h->tasks, id, task);
        if (task != NULL)
                return task;
        task = mem_alloc(sizeof *task);
        task->id = mem_strdup(id);
        task->job = job;
        task->index = dot == NULL ? 0 : (int64_t) strtoull(dot + 1, NULL, 10);
        task->next.kind = task->result = -1;
        task->exit_code = RECORD_NULL;
        HASH_ADD_KEYPTR(hh, h->tasks, task->id, strlen(task->id), task);
        DL_APPEND2(job->tasks, task, prev_of_job, next_of_job);
        return task;
}

struct history_node *history_node_of(struct history *h, const char *name)
{
        struct history_node *node;

        HASH_FIND_STR(h->nodes, name, node);
        if (node != NULL)
                return node;
        node = mem_alloc(sizeof *node);
        node->name = mem_strdup(name);
        node->next = node->next_scheduling = -1;
        HASH_ADD_KEYPTR(hh, h->nodes, node->name, strlen(node->name), node);
        return node;
}

static void next_set(struct history_next *next, const struct event *e)
{
        if (next->kind >= 0)
                return;
        *next = (struct history_next){ .kind = e->kind,
                .index = (uint64_t) e->index,
                .node = e->node == NULL ? NULL : mem_strdup(e->node),
                .version = e->version,
                .run = e->run };
}

/* ---- Tasks */

static bool tells_of_state(int kind)
{
        switch (kind) {
        case EVENT_TASK_LOGS:
        case EVENT_TASK_SIGNALLED:
        case EVENT_TASK_EXEC:
                return false;
        default:
                return true;
        }
}

/* Runs are numbered anew by every agent that gets the task. */
static void count_runs(struct history_task *t, const struct event *e)
{
        if (e->kind == EVENT_TASK_CREATED)
                t->all_runs_before = t->all_run = 0;
        if (e->run == RECORD_NULL || e->run <= 0)
                return;
        if (e->kind == EVENT_TASK_STARTED ? e->run <= t->all_run : e->run < t->all_run)
                t->all_runs_before += t->all_run;
        t->all_run = e->run;
}

static void enter(struct history_task *t, int state, usec_t since)
{
        t->there = true;
        t->state = state;
        t->since = since;
        t->result = RESULT_NONE;
        t->unsettled = t->waits = t->maybe_placed = false;
        set(&t->reason, NULL);
}

static void end(struct history_task *t, int result, const char *reason, usec_t since)
{
        enter(t, TASK_ENDED, since);
        t->result = result;
        set(&t->reason, reason);
}

static void be_new(struct history_task *t, int64_t version, usec_t since)
{
        enter(t, TASK_QUEUED, since);
        set(&t->node, NULL);
        t->known = true;
        t->moving = t->stopped = false;
        t->version = version;
        t->started = 0;
        t->exit_code = RECORD_NULL;
        t->signal = 0;
        t->all_runs_before = t->all_run = t->runs_before = t->run = 0;
}

/* "run 2 ended: exit code 3 after 5ms", "run 2 ended: killed by TERM after 52ms" */
static void end_run(struct history_task *t, const struct event *e)
{
        const char *how = e->message == NULL ? NULL : strstr(e->message, ": ");
        char name[16];
        int code;

        end(t, RESULT_UNKNOWN, how == NULL ? NULL : how + 2, e->time);
        t->unsettled = true;
        t->exit_code = RECORD_NULL;
        t->signal = 0;
        if (how != NULL && sscanf(how, ": exit code %d", &code) == 1) {
                t->exit_code = code;
                t->result = code == 0 ? RESULT_SUCCEEDED : RESULT_FAILED;
        } else if (how != NULL && sscanf(how, ": killed by %15s", name) == 1) {
                t->signal = MAX(text_parse_signal(name), 0);
                t->result = RESULT_FAILED;
        } else if (contains(e->message, "could not begin")) {
                t->result = RESULT_FAILED;
        }
}

static void leave_node(struct history_task *t, usec_t since)
{
        enter(t, TASK_QUEUED, since);
        set(&t->node, NULL);
        t->moving = false;
}

static void apply_command(struct history_task *t, const struct event *e)
{
        bool runs = e->kind == EVENT_JOB_RESTARTED;

        t->stopped = !runs;
        if (!runs && t->state == TASK_QUEUED && t->node == NULL)
                end(t, RESULT_STOPPED, "was asked to stop", e->time);
        else if (runs && t->state == TASK_ENDED)
                enter(t, t->node == NULL ? TASK_QUEUED : TASK_PLACED, e->time);
}

static void apply_end(struct history_task *t, const struct event *e)
{
        switch (e->kind) {
        case EVENT_TASK_ENDED:
                end_run(t, e);
                break;
        case EVENT_TASK_PARKED:
                end(t, RESULT_FAILED, e->message, e->time);
                break;
        case EVENT_TASK_STOPPED:
                if (t->moving)
                        leave_node(t, e->time);
                else
                        end(t, RESULT_STOPPED, "was asked to stop", e->time);
                break;
        case EVENT_TASK_LOST:
                if (contains(e->message, "is placed anew"))
                        leave_node(t, e->time);
                else
                        end(t, RESULT_FAILED, e->message, e->time);
                break;
        case EVENT_TASK_REJECTED:
                end(t, RESULT_REJECTED, e->message, e->time);
                break;
        case EVENT_TASK_REMOVED:
                t->there = false;
                break;
        default:
                break;
        }
}

static void apply_life(struct history_task *t, const struct event *e)
{
        switch (e->kind) {
        case EVENT_TASK_CREATED:
                be_new(t, e->version, e->time);
                break;
        case EVENT_TASK_PLACED:
                enter(t, TASK_PLACED, e->time);
                t->version = e->version;
                set(&t->node, e->node);
                break;
        case EVENT_TASK_STARTED:
                enter(t, TASK_RUNNING, e->time);
                t->version = e->version;
                t->started = e->time;
                t->moving = false;
                set(&t->node, e->node);
                break;
        case EVENT_TASK_WAITING:
                enter(t, TASK_QUEUED, e->time);
                t->waits = true;
                set(&t->node, e->node);
                set(&t->reason, e->message);
                break;
        case EVENT_TASK_STOPPING:
                enter(t, TASK_STOPPING, e->time);
                t->version = e->version;
                set(&t->node, e->node);
                set(&t->reason, e->message);
                break;
        case EVENT_TASK_MOVED:
        case EVENT_TASK_PREEMPTED:
                t->moving = true;
                break;
        case EVENT_JOB_STOPPED:
        case EVENT_JOB_RESTARTED:
                apply_command(t, e);
                break;
        default:
                apply_end(t, e);
                break;
        }
}

/* What an event that is no beginning leaves untold of what was before it. */
static void begin_task(struct history_task *t, const struct event *e)
{
        t->known = t->there = true;
        t->state = TASK_RUNNING;
        t->version = e->version;
        t->since = e->time;
        set(&t->node, e->node);
}

static void add_task(struct history *h, struct history_task *t, const struct event *e)
{
        if (!tells_of_state(e->kind))
                return;
        count_runs(t, e);
        if (e->time > h->at) {
                if (e->kind == EVENT_JOB_RESTARTED && t->next_restart == 0)
                        t->next_restart = (uint64_t) e->index;
                if (e->kind != EVENT_JOB_STOPPED && e->kind != EVENT_JOB_RESTARTED)
                        next_set(&t->next, e);
                return;
        }
        if (!t->known)
                begin_task(t, e);
        apply_life(t, e);
        t->runs_before = t->all_runs_before;
        t->run = t->all_run;
}

/* ---- Jobs */

/* "version 1: 2 tasks": of a job that was not there. */
static bool is_new_job(const struct event *e, unsigned *ret_tasks)
{
        char word[8];

        return e->kind == EVENT_JOB_APPLIED && e->version == 1 && e->message != NULL &&
               sscanf(e->message, "version 1: %u %4s", ret_tasks, word) == 2 &&
               strcmp(word, "task") == 0;
}

/* "count 2 -> 3", "version 4: env, count 2 -> 3; in place" */
static bool is_count(const struct event *e, int64_t *ret_from, int64_t *ret_to)
{
        const char *text = e->message;

        if (text == NULL || (e->kind != EVENT_JOB_SCALED && e->kind != EVENT_JOB_APPLIED))
                return false;
        if (e->kind == EVENT_JOB_APPLIED) {
                text = strstr(e->message, ": count ");
                text = text != NULL ? text : strstr(e->message, ", count ");
                text = text != NULL ? text + 2 : "";
        }
        return sscanf(text, "count %" SCNd64 " -> %" SCNd64, ret_from, ret_to) == 2;
}

static void begin_job(
        struct history *h, struct history_job *job, const struct event *e, unsigned tasks)
{
        char id[TEXT_NAME_MAX + 16];

        job->known = job->there = job->born = true;
        job->stopped = job->removing = job->rolling = false;
        job->version = 1;
        job->count = tasks;
        job->since = e->time;
        job->restarted = 0;
        set(&job->waits, NULL);
        for (unsigned i = 0; i < tasks; i++) {
                snprintf(id, sizeof id, "%s.%u", job->name, i);
                be_new(history_task_of(h, job, id), 1, e->time);
        }
}

static void run_again(struct history_job *job)
{
        struct history_task *t;

        job->stopped = job->removing = false;
        DL_FOREACH2 (job->tasks, t, next_of_job)
                t->stopped = false;
}

static void stop_job(struct history_job *job, const struct event *e)
{
        struct history_task *t;

        job->stopped = true;
        DL_FOREACH2 (job->tasks, t, next_of_job)
                if (t->known && t->there && t->state == TASK_QUEUED && t->node == NULL)
                        end(t, RESULT_STOPPED, "was asked to stop", e->time);
}

static void remove_job(struct history_job *job, const struct event *e)
{
        struct history_task *t;

        job->removing = true;
        if (!begins(e->message, "is gone"))
                return;
        job->there = false;
        DL_FOREACH2 (job->tasks, t, next_of_job)
                t->known = true, t->there = false;
}

static void place_some(struct history_job *job)
{
        struct history_task *t;

        DL_FOREACH2 (job->tasks, t, next_of_job)
                t->maybe_placed = t->state == TASK_QUEUED && t->node == NULL;
        set(&job->waits, NULL);
}

/* "all 2 tasks have version 2", "its task has version 2"; others tell of a beginning. */
static bool is_rolled(const struct event *e)
{
        return e->kind == EVENT_JOB_ROLLED &&
               (begins(e->message, "all ") || begins(e->message, "its task has "));
}

static void change_version(struct history_job *job, const struct event *e)
{
        if (job->version != e->version) {
                job->since = e->time;
                job->rolling = true;
        }
        job->version = e->version;
        run_again(job);
        if (e->kind == EVENT_JOB_REVERTED)
                job->count = RECORD_NULL;
}

static void apply_job(struct history_job *job, const struct event *e)
{
        switch (e->kind) {
        case EVENT_JOB_APPLIED:
        case EVENT_JOB_REVERTED:
                change_version(job, e);
                break;
        case EVENT_JOB_STOPPED:
                stop_job(job, e);
                break;
        case EVENT_JOB_RESTARTED:
                run_again(job);
                job->restarted = e->time;
                break;
        case EVENT_JOB_REMOVED:
                remove_job(job, e);
                break;
        case EVENT_JOB_ROLLED:
                job->rolling = !is_rolled(e);
                break;
        case EVENT_TASK_QUEUED:
                set(&job->waits, e->message);
                break;
        case EVENT_TASK_PLACED:
                place_some(job);
                break;
        default:
                break;
        }
}

static void add_job_after(struct history_job *job, const struct event *e)
{
        int64_t from, to;
        unsigned tasks;
        bool is_new = is_new_job(e, &tasks);

        if (job->next.kind < 0)
                job->next_stopped = contains(e->message, "was stopped, runs again");
        next_set(&job->next, e);
        if (is_count(e, &from, &to) && job->next_count == RECORD_NULL && !job->gone_after)
                job->next_count = from;
        if (job->next_command == 0 &&
                (e->kind == EVENT_JOB_APPLIED || e->kind == EVENT_JOB_REVERTED ||
                        e->kind == EVENT_JOB_RESTARTED || e->kind == EVENT_JOB_FIRED))
                job->next_command = (uint64_t) e->index;
        job->gone_after = job->gone_after || is_new ||
                          (e->kind == EVENT_JOB_REMOVED && begins(e->message, "is gone"));
}

static bool tells_of_job(int kind)
{
        return kind != EVENT_JOB_REFUSED && kind != EVENT_TOKEN && kind != EVENT_STORE;
}

static void add_job(struct history *h, struct history_job *job, const struct event *e)
{
        int64_t from, to;
        unsigned tasks;

        if (e->time > h->at) {
                add_job_after(job, e);
        } else if (is_new_job(e, &tasks)) {
                begin_job(h, job, e, tasks);
        } else {
                if (!job->known)
                        job->version = e->version;
                job->known = job->there = true;
                apply_job(job, e);
                if (is_count(e, &from, &to))
                        job->count = to;
        }
}

/* ---- Nodes */

static void apply_node(struct history_node *n, const struct event *e)
{
        switch (e->kind) {
        case EVENT_NODE_READY:
        case EVENT_NODE_LOST:
                if (!n->known || !n->there || n->state != (e->kind == EVENT_NODE_LOST))
                        n->since = e->time;
                n->state = e->kind == EVENT_NODE_READY ? NODE_READY : NODE_LOST;
                break;
        case EVENT_NODE_CORDONED:
                n->scheduling =
                        contains(e->message, "is open for tasks") ? NODE_OPEN : NODE_CORDONED;
                break;
        case EVENT_NODE_DRAINING:
                n->scheduling = NODE_DRAINING;
                break;
        case EVENT_NODE_DRAINED:
                n->scheduling = NODE_DRAINED;
                break;
        default:
                break;
        }
        n->known = true;
        n->there = e->kind != EVENT_NODE_FORGOTTEN;
        if (!n->there)
                n->scheduling = NODE_OPEN;
}

static bool is_of_scheduling(int kind)
{
        return kind == EVENT_NODE_CORDONED || kind == EVENT_NODE_DRAINING ||
               kind == EVENT_NODE_DRAINED;
}

static void add_node_after(struct history_node *n, const struct event *e)
{
        if (is_of_scheduling(e->kind)) {
                if (n->next_scheduling < 0)
                        n->was_closed = contains(e->message, "is open for tasks");
                n->next_scheduling = n->next_scheduling < 0 ? e->kind : n->next_scheduling;
                return;
        }
        n->ready_after = n->ready_after || e->kind == EVENT_NODE_READY;
        if (n->next >= 0)
                return;
        n->next = e->kind;
        n->next_is_new = e->kind == EVENT_NODE_READY && contains(e->message, "is new and ready");
        n->was_lost = e->kind == EVENT_NODE_FORGOTTEN || contains(e->message, "is back and ready");
}

static void add_node(struct history *h, const struct event *e)
{
        struct history_node *n = history_node_of(h, e->node);

        if (e->time <= h->at)
                apply_node(n, e);
        else
                add_node_after(n, e);
}

static bool is_of_node(int kind)
{
        return kind == EVENT_NODE_READY || kind == EVENT_NODE_LOST ||
               kind == EVENT_NODE_FORGOTTEN || is_of_scheduling(kind);
}

/* ---- The whole */

void history_add(struct history *h, const struct event *event)
{
        struct history_job *job;

        h->begin = MIN(h->begin, event->time);
        if (event->node != NULL && is_of_node(event->kind))
                add_node(h, event);
        if (event->job == NULL || !tells_of_job(event->kind))
                return;
        job = history_job_of(h, event->job);
        job->concerned = job->concerned || event->time > h->at;
        if (event->task == NULL)
                add_job(h, job, event);
        else
                add_task(h, history_task_of(h, job, event->task), event);
}

usec_t history_begin(const struct history *h)
{
        return h->begin;
}

struct history *history_new(usec_t at_wall)
{
        struct history *h = mem_alloc(sizeof *h);

        h->at = at_wall;
        h->begin = USEC_NEVER;
        return h;
}

static void task_free(struct history_task *t)
{
        record_done(&task_table, &t->now);
        free(t->id);
        free(t->node);
        free(t->reason);
        free(t->next.node);
        free(t);
}

static void job_free(struct history_job *job)
{
        record_done(&job_table, &job->now);
        free(job->name);
        free(job->waits);
        free(job->next.node);
        free(job);
}

static void node_free(struct history_node *n)
{
        record_done(&node_table, &n->now);
        free(n->name);
        free(n);
}

void history_free(struct history *h)
{
        struct history_task *task, *next_task;
        struct history_job *job, *next_job;
        struct history_node *node, *next_node;

        if (h == NULL)
                return;
        HASH_ITER (hh, h->tasks, task, next_task) {
                HASH_DEL(h->tasks, task);
                task_free(task);
        }
        HASH_ITER (hh, h->jobs, job, next_job) {
                HASH_DEL(h->jobs, job);
                job_free(job);
        }
        HASH_ITER (hh, h->nodes, node, next_node) {
                HASH_DEL(h->nodes, node);
                node_free(node);
        }
        free(h);
}

void history_freep(struct history **h)
{
        history_free(*h);
}
