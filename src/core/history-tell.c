/* SPDX-License-Identifier: BSD-3-Clause */
/* What history.c has gathered, as statuses: nodes first, since a task is lost when its node is;
 * then tasks, then jobs, whose state word follows from their tasks by the rule that the present
 * has (job_state_derive()). */
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "core/cluster-internal.h"
#include "core/history-internal.h"

/* ---- What is so now */

struct present {
        struct history *h;
        const struct cluster *c;
};

static void now_job(void *data, const struct job_status *s)
{
        struct history_job *job = history_job_of(((struct present *) data)->h, s->name);

        job->has_now = true;
        job->now = *s;
        record_own(&job_table, &job->now);
}

static void now_task(void *data, const struct task_status *s)
{
        struct history *h = ((struct present *) data)->h;
        struct history_task *task = history_task_of(h, history_job_of(h, s->job), s->id);

        task->has_now = true;
        task->now = *s;
        record_own(&task_table, &task->now);
}

static void now_node(void *data, const struct node_status *s)
{
        struct history_node *node = history_node_of(((struct present *) data)->h, s->name);

        node->has_now = true;
        node->now = *s;
        record_own(&node_table, &node->now);
}

/* ---- Nodes */

static void begin_node(struct history_node *n)
{
        const struct node_status *now = n->has_now && !n->ready_after ? &n->now : NULL;

        if (now != NULL) {
                n->status = *now;
        } else {
                n->status = (struct node_status){ .cores = RECORD_NULL,
                        .cpu = RECORD_NULL,
                        .memory = RECORD_NULL,
                        .disk = RECORD_NULL,
                        .agent_pid = RECORD_NULL,
                        .keeper_pid = RECORD_NULL };
        }
        n->status.name = n->name;
        n->status.reason = NULL;
        n->status.heard = 0;
        n->status.tasks = n->status.running = 0;
        n->status.cpu_used = n->status.memory_used = n->status.disk_used = RECORD_NULL;
}

static int node_state_before(const struct history_node *n)
{
        if (n->next >= 0)
                return n->was_lost ? NODE_LOST : NODE_READY;
        return n->has_now ? n->now.state : NODE_READY;
}

static int scheduling_before(const struct history_node *n)
{
        switch (n->next_scheduling) {
        case -1:
                return n->has_now ? n->now.scheduling : NODE_OPEN;
        case EVENT_NODE_DRAINED:
                return NODE_DRAINING;
        default:
                return n->was_closed ? NODE_CORDONED : NODE_OPEN;
        }
}

static void tell_node(struct history_node *n)
{
        bool untold = n->next < 0 && n->next_scheduling < 0;

        n->was = n->known ? n->there : untold ? n->has_now : !n->next_is_new;
        if (!n->was)
                return;
        begin_node(n);
        if (n->known) {
                n->status.state = n->state;
                n->status.scheduling = n->scheduling;
                n->status.since = n->since;
                return;
        }
        n->status.state = node_state_before(n);
        n->status.scheduling = scheduling_before(n);
        if (n->next >= 0)
                n->status.since = 0;
}

/* ---- Tasks */

static void put_task(struct history_task *t, int state, const char *node, int64_t version)
{
        t->status = (struct task_status){ .id = t->id,
                .job = t->job->name,
                .index = t->index,
                .version = version,
                .node = (char *) (uintptr_t) node,
                .state = state,
                .ready = state == TASK_RUNNING,
                .healthy = true,
                .result = RESULT_NONE,
                .pid = RECORD_NULL,
                .runs = RECORD_NULL,
                .restarts = RECORD_NULL,
                .exit_code = RECORD_NULL,
                .log_bytes = RECORD_NULL,
                .fence = RECORD_NULL };
        t->was = true;
}

/* An agent's count of runs becomes the task's: by what the task has now, if it is the same. */
static int64_t all_runs(
        const struct history *h, const struct history_task *t, int64_t before, int64_t run)
{
        int64_t missed = 0;

        (void) h;
        if (t->has_now && !t->job->gone_after && t->now.runs != RECORD_NULL)
                missed = t->now.runs - t->all_runs_before - t->all_run;
        return MAX(before + run + MAX(missed, 0), 0);
}

/* After a run that ended: it began anew at once, has left its node, or had ended for good. */
static int settle(const struct history_task *t)
{
        const struct history_next *next = &t->next;
        uint64_t command = t->job->next_command;

        if (!t->unsettled)
                return t->state;
        if (t->moving)
                return TASK_QUEUED;
        if (next->kind == EVENT_TASK_STARTED && (command == 0 || command > next->index) &&
                (t->next_restart == 0 || t->next_restart > next->index))
                return TASK_STARTING;
        return TASK_ENDED;
}

static void tell_known_task(const struct history *h, struct history_task *t)
{
        int state = settle(t);
        const char *node = t->moving && state == TASK_QUEUED ? NULL : t->node;

        if (state == TASK_QUEUED && node == NULL && t->maybe_placed && t->next.node != NULL &&
                t->next.kind != EVENT_TASK_PLACED) {
                state = TASK_PLACED;
                node = t->next.node;
        }
        put_task(t, state, node, t->version);
        t->status.result = state == TASK_ENDED ? t->result : RESULT_NONE;
        t->status.reason = state == TASK_STARTING ? NULL : t->reason;
        if (state == TASK_QUEUED && node == NULL && t->job->waits != NULL)
                t->status.reason = t->job->waits;
        t->status.since = t->since;
        t->status.started_at = t->started;
        t->status.exit_code = t->exit_code;
        t->status.signal = t->signal;
        t->status.runs = all_runs(h, t, t->runs_before, t->run);
}

/* Nothing tells of it before the time: what comes next does. */
static void tell_task_before(const struct history *h, struct history_task *t)
{
        const struct history_next *next = &t->next;
        int64_t run = next->run == RECORD_NULL ? 0 : next->run;

        switch (next->kind) {
        case EVENT_TASK_CREATED:
                return;
        case EVENT_TASK_PLACED:
        case EVENT_TASK_REJECTED:
                put_task(t, TASK_QUEUED, NULL, next->version);
                break;
        case EVENT_TASK_STARTED:
                put_task(t, run > 1 ? TASK_QUEUED : TASK_PLACED, next->node, next->version);
                run--;
                break;
        case EVENT_TASK_STOPPED:
                put_task(t, TASK_QUEUED, next->node, next->version);
                break;
        case EVENT_TASK_REMOVED:
                put_task(t, TASK_ENDED, next->node, next->version);
                t->status.result = RESULT_UNKNOWN;
                break;
        default:
                put_task(t, TASK_RUNNING, next->node, next->version);
                break;
        }
        if (next->run != RECORD_NULL)
                t->status.runs = all_runs(h, t, 0, run);
}

static void tell_task_now(struct history_task *t)
{
        bool lost = t->now.state == TASK_LOST;

        put_task(t, lost ? TASK_RUNNING : t->now.state, t->now.node, t->now.version);
        t->status.result = t->now.result;
        t->status.runs = t->now.runs;
}

/* The state is the node's affair, too. */
static void lose_task(struct history *h, struct history_task *t)
{
        struct history_node *node = NULL;

        if (t->status.node != NULL)
                HASH_FIND_STR(h->nodes, t->status.node, node);
        if (node == NULL || !node->was)
                return;
        node->status.tasks++;
        if (node->status.state == NODE_LOST && t->status.state != TASK_ENDED) {
                t->status.state = TASK_LOST;
                t->status.ready = false;
                t->status.reason = (char *) (uintptr_t) "its node is not heard from";
                t->status.since = node->status.since;
        }
        node->status.running += t->status.state == TASK_RUNNING;
}

static void tell_task(struct history *h, struct history_task *t)
{
        bool same = t->has_now && t->next.kind < 0 && !t->job->gone_after;

        if (!t->job->was || (t->known && !t->there))
                return;
        if (same && t->now.since <= h->at) {
                t->status = t->now;
                t->was = true;
        } else if (!t->known && t->job->born) {
                return; /* all that were there at its beginning are known */
        } else if (t->known) {
                tell_known_task(h, t);
        } else if (t->next.kind >= 0) {
                tell_task_before(h, t);
        } else if (same) {
                tell_task_now(t);
        }
        if (t->was)
                lose_task(h, t);
}

/* ---- Jobs */

static bool job_was(const struct history_job *job)
{
        if (job->known)
                return job->there;
        if (!job->concerned)
                return job->has_now;
        return job->next.kind != EVENT_JOB_APPLIED || job->next.version != 1;
}

/* Of one that no event before the time tells of. */
static void complete_job(struct history_job *job)
{
        int next = job->next.kind;

        if (job->known)
                return;
        job->version = next >= 0      ? job->next.version
                       : job->has_now ? job->now.version
                                      : RECORD_NULL;
        if ((next == EVENT_JOB_APPLIED || next == EVENT_JOB_REVERTED) && job->version > 1)
                job->version--;
        job->stopped =
                next >= 0 ? job->next_stopped : job->has_now && job->now.state == JOB_STOPPED;
        job->rolling = next == EVENT_JOB_ROLLED;
}

static const struct job_spec *spec_of(const struct history_job *job, const struct cluster *c)
{
        if (!job->has_now || job->gone_after || job->version <= 0)
                return NULL;
        return cluster_get_spec(c, job->name, (uint32_t) job->version);
}

static void put_job(struct history_job *job, const struct job_spec *spec)
{
        bool same = job->has_now && !job->gone_after;
        int64_t count = job->count;

        if (job->next_count != RECORD_NULL)
                count = job->next_count;
        else if (spec != NULL && (!job->born || spec->kind == JOB_SYSTEM || count == RECORD_NULL))
                count = spec->count;
        job->status = (struct job_status){ .name = job->name,
                .kind = spec != NULL ? (int) spec->kind : -1,
                .version = job->version,
                .count = count,
                .source = same ? job->now.source : NULL,
                .since = job->since,
                .priority = spec != NULL ? spec->priority : RECORD_NULL,
                .owner = spec != NULL ? spec->owner : NULL };
        if (job->since == 0 && same && job->now.version == job->version)
                job->status.since = job->now.since;
}

/* It has not the newest version, or not the run that a person asked for. */
static bool is_outdated(const struct history_job *job, const struct history_task *t)
{
        const struct task_status *s = &t->status;

        if (s->state == TASK_ENDED || s->state == TASK_QUEUED)
                return false;
        return (job->rolling && s->version < job->version) ||
               (job->restarted != 0 && s->state != TASK_PLACED && s->started_at < job->restarted);
}

static void count_task(struct history_job *job, const struct history_task *t, struct job_facts *f)
{
        const struct task_status *s = &t->status;
        bool all = job->status.count == RECORD_NULL || job->status.kind == JOB_SYSTEM;
        bool ended = s->state == TASK_ENDED;
        bool wanted = !t->stopped && (all || t->index < job->status.count);

        job->status.running += s->state == TASK_RUNNING;
        job->status.ready += s->ready;
        job->status.queued += s->state == TASK_QUEUED && s->node == NULL;
        job->status.lost += s->state == TASK_LOST;
        f->active += !ended;
        f->lost += s->state == TASK_LOST;
        f->wanted += wanted;
        if (!wanted)
                return;
        f->wanted_running += s->state == TASK_RUNNING;
        f->outdated += is_outdated(job, t);
        f->inflight += !ended && s->state != TASK_RUNNING && s->node != NULL;
        f->ended_well += ended && s->result == RESULT_SUCCEEDED;
        f->ended_badly += ended && s->result != RESULT_SUCCEEDED && s->result != RESULT_STOPPED;
        f->waiting += s->state == TASK_QUEUED && t->waits;
}

static void tell_job(struct history_job *job, const struct cluster *c)
{
        const struct job_spec *spec = spec_of(job, c);
        struct job_facts facts = {
                .stopped = job->stopped, .removing = job->removing, .rolling = job->rolling
        };
        const struct history_task *t;

        put_job(job, spec);
        DL_FOREACH2 (job->tasks, t, next_of_job)
                if (t->was)
                        count_task(job, t, &facts);
        job->status.state = (int) job_state_derive(&facts);
        if (!job->concerned && job->has_now && job->now.state >= JOB_SCHEDULED)
                job->status.state = job->now.state;
}

/* ---- The whole */

static int compare_jobs(struct history_job *a, struct history_job *b)
{
        return strcmp(a->name, b->name);
}

static int compare_nodes(struct history_node *a, struct history_node *b)
{
        return strcmp(a->name, b->name);
}

static int compare_tasks(struct history_task *a, struct history_task *b)
{
        return (a->index > b->index) - (a->index < b->index);
}

void history_end(struct history *h, const struct cluster *c)
{
        struct present present = { h, c };

        cluster_each_job(c, now_job, &present);
        cluster_each_task(c, NULL, now_task, &present);
        cluster_each_node(c, now_node, &present);
        for (struct history_node *n = h->nodes; n != NULL; n = n->hh.next)
                tell_node(n);
        for (struct history_job *job = h->jobs; job != NULL; job = job->hh.next) {
                job->was = job_was(job);
                if (job->was)
                        complete_job(job);
                DL_SORT2(job->tasks, compare_tasks, prev_of_job, next_of_job);
        }
        for (struct history_task *t = h->tasks; t != NULL; t = t->hh.next)
                tell_task(h, t);
        for (struct history_job *job = h->jobs; job != NULL; job = job->hh.next)
                if (job->was)
                        tell_job(job, c);
        HASH_SORT(h->jobs, compare_jobs);
        HASH_SORT(h->nodes, compare_nodes);
}

void history_each_job(
        struct history *h, void (*each)(void *data, const struct job_status *), void *data)
{
        for (const struct history_job *job = h->jobs; job != NULL; job = job->hh.next)
                if (job->was)
                        each(data, &job->status);
}

void history_each_task(struct history *h, const char *name,
        void (*each)(void *data, const struct task_status *), void *data)
{
        const struct history_task *t;

        for (const struct history_job *job = h->jobs; job != NULL; job = job->hh.next) {
                if (name != NULL && strcmp(name, job->name) != 0)
                        continue;
                DL_FOREACH2 (job->tasks, t, next_of_job)
                        if (t->was)
                                each(data, &t->status);
        }
}

void history_each_node(
        struct history *h, void (*each)(void *data, const struct node_status *), void *data)
{
        for (const struct history_node *n = h->nodes; n != NULL; n = n->hh.next)
                if (n->was)
                        each(data, &n->status);
}

bool history_get_job(const struct history *h, const char *name, struct job_status *ret)
{
        const struct history_job *job;

        HASH_FIND_STR(h->jobs, name, job);
        if (job == NULL || !job->was)
                return false;
        *ret = job->status;
        return true;
}

bool history_get_task(const struct history *h, const char *id, struct task_status *ret)
{
        const struct history_task *t;

        HASH_FIND_STR(h->tasks, id, t);
        if (t == NULL || !t->was)
                return false;
        *ret = t->status;
        return true;
}

const struct job_spec *history_get_spec(
        const struct history *h, const struct cluster *c, const char *name)
{
        const struct history_job *job;

        HASH_FIND_STR(h->jobs, name, job);
        return job == NULL || !job->was ? NULL : spec_of(job, c);
}
