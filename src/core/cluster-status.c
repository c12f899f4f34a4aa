/* SPDX-License-Identifier: BSD-3-Clause */
/* Status: jobs, tasks and nodes as readers see them.
 *
 * Filled in from the state when asked for. What is only a view is made here and stored nowhere:
 * that a task is lost (its node is), why a task has no node, why a job is as it is. The texts made
 * for it are kept with the job until the next change, because readers borrow them. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cluster-internal.h"

/* ---- Tasks */

static const char *reason_of(const struct task *task)
{
        if (task->state == TASK_ENDED)
                return task->reason;
        if (task->node == NULL && task->pin != NULL && task->reason != NULL)
                return task->reason;
        if (task->node == NULL)
                return queue_reason(task->job);
        if (task->moving)
                return "leaves its node";
        if (task->node->status.state == NODE_LOST)
                return "its node is not heard from";
        if (!task->reported)
                return "its agent has not said yet how it is";
        return task->reason;
}

/* "http=20001 admin=20002"; kept until the ports of the next task are asked for. */
static const char *ports_text(const struct task *task, const struct job_spec *spec)
{
        struct cluster *c = task->job->cluster;
        char *const *names = spec->resources.ports;
        struct buffer b = { 0 };

        for (uint32_t i = 0; i < task->ports_len && names != NULL && names[i] != NULL; i++)
                buffer_printf(&b, "%s%s=%" PRIu16, i == 0 ? "" : " ", names[i], task->ports[i]);
        free(c->ports_text);
        c->ports_text = b.len == 0 ? NULL : buffer_take(&b);
        return c->ports_text;
}

void task_fill_status(const struct job *job, const struct task *task, struct task_status *ret)
{
        bool lost = task->state != TASK_ENDED && task->node != NULL &&
                    task->node->status.state == NODE_LOST;
        const struct job_spec *spec = job_spec_of(job, task->desire.version);

        if (spec == NULL)
                spec = job_current_spec(job);
        *ret = (struct task_status){ .id = (char *) (uintptr_t) task_id(job, task->index),
                .job = job->name,
                .index = task->index,
                .version = task->version != 0 ? task->version : task->desire.version,
                .node = task->node == NULL ? NULL : task->node->status.name,
                .state = lost ? TASK_LOST : task->state,
                .ready = task->ready && !lost,
                .healthy = !task->unhealthy || lost,
                .result = task->result,
                .pid = task->pid > 0 && !lost ? task->pid : RECORD_NULL,
                .runs = task->runs,
                .restarts = task->restarts,
                .exit_code = task->has_exit_code ? task->exit_code : RECORD_NULL,
                .signal = task->signal,
                .reason = (char *) (uintptr_t) reason_of(task),
                .since = lost ? task->node->status.since : task->since,
                .next_run_at = lost ? 0 : task->next_run_at,
                .started_at = task->started_at,
                .ports = task->ports_len > 0 ? (char *) (uintptr_t) ports_text(task, spec) : NULL,
                .log_bytes = task->log_bytes,
                .fence = spec->singleton && task->node != NULL ? (int64_t) task->desire.generation
                                                               : RECORD_NULL,
                .status = lost ? NULL : task->status };
}

bool cluster_get_task(const struct cluster *c, const char *id, struct task_status *ret)
{
        struct job *job;
        struct task *task;

        if (!cluster_look_up(c, id, &job, &task) || task == NULL)
                return false;
        task_fill_status(job, task, ret);
        return true;
}

/* ---- Jobs */

/* The first task that counts as @mark; NULL if none does. */
static const struct task *first_marked(const struct job *job, enum task_mark mark)
{
        const struct task *task;

        if (job->counts[mark] == 0)
                return NULL;
        JOB_FOREACH_TASK (job, task)
                if ((task->marks & BIT(mark)) != 0)
                        return task;
        return NULL;
}

/* "web.1: killed by KILL, ..."; how many more there are like it. */
static void put_task(struct buffer *b, const struct job *job, enum task_mark mark, const char *what)
{
        const struct task *task = first_marked(job, mark);
        struct task_status s;
        size_t others = job->counts[mark] - 1;
        char more[40] = "";

        task_fill_status(job, task, &s);
        if (others > 0)
                snprintf(more, sizeof more, " (and %zu more)", others);
        /* "web.1 waits: no node is ready", but "web.1 waits 2s after exit code 3" */
        if (s.reason != NULL && strncmp(s.reason, what, strlen(what)) == 0)
                buffer_printf(b, "%s%s %s", s.id, more, s.reason);
        else
                buffer_printf(b, "%s %s%s%s%s", s.id, what, more, s.reason != NULL ? ": " : "",
                        s.reason != NULL ? s.reason : "");
}

static void put_rollout(struct buffer *b, const struct job *job)
{
        size_t todo = job->counts[MARK_OUTDATED], wanted = job_wanted(job);

        if (job->generation == job->command)
                buffer_printf(b, "%zu of %zu tasks are restarted", wanted - todo, wanted);
        else
                buffer_printf(b, "%zu of %zu tasks have version %" PRIu32, wanted - todo, wanted,
                        job_version_number(job));
}

static void put_overran(struct buffer *b, const struct job *job)
{
        char span[TIME_TEXT_MAX];

        buffer_printf(b, "took longer than %s (batch.deadline)",
                time_format_exact(span, job_current_spec(job)->batch.deadline));
}

static void put_stopping(struct buffer *b, const struct job *job)
{
        size_t active = job->counts[MARK_ACTIVE];

        if (job->removing)
                buffer_puts(b, "is being removed; ");
        else if (job->overran) {
                put_overran(b, job);
                buffer_puts(b, "; ");
        }
        if (job->counts[MARK_LOST] > 0)
                put_task(b, job, MARK_LOST, "cannot be told to end");
        else if (active > 0)
                buffer_printf(b, "%zu task%s still to end", active, active == 1 ? "" : "s");
        else
                buffer_puts(b, "the agent has still to delete logs");
}

static void put_updating(struct buffer *b, const struct job *job)
{
        put_rollout(b, job);
        if (job_holds(job) && job->counts[MARK_INFLIGHT] == 0) {
                buffer_printf(b, "; the canary waits for `reeve promote %s`", job->name);
        } else if (job->counts[MARK_INFLIGHT] > 0) {
                buffer_puts(b, "; waits for ");
                put_task(b, job, MARK_INFLIGHT, "to be ready");
        } else if (job->roll_blocked != NULL) {
                buffer_printf(b, "; %s", job->roll_blocked);
        } else if (job->counts[MARK_LOST] > 0) {
                buffer_puts(b, "; ");
                put_task(b, job, MARK_LOST, "cannot be told");
        }
}

static void put_degraded(struct buffer *b, const struct job *job)
{
        if (job_halted(job)) {
                buffer_puts(b, "the update has halted: ");
                rollout_put_failure(b, job);
                buffer_puts(b, "; ");
                put_rollout(b, job);
        } else if (job->counts[MARK_ENDED_BADLY] > 0) {
                put_task(b, job, MARK_ENDED_BADLY, "has failed");
        } else if (job->counts[MARK_LOST] > 0) {
                put_task(b, job, MARK_LOST, "is lost");
        } else {
                put_task(b, job, MARK_WAITING, "waits");
        }
}

static void put_starting(struct buffer *b, const struct job *job)
{
        if (job_per_node(job) && job_wanted(job) == 0) {
                pins_put_why_none(b, job);
                return;
        }
        buffer_printf(b, "%zu of %zu tasks run", job->counts[MARK_WANTED_RUNNING], job_wanted(job));
        if (job->counts[MARK_UNPLACED] > 0) {
                buffer_puts(b, "; ");
                put_task(b, job, MARK_UNPLACED, "waits");
        }
}

static void put_reason(struct buffer *b, const struct job *job, enum job_state state)
{
        switch (state) {
        case JOB_STARTING:
                put_starting(b, job);
                break;
        case JOB_UPDATING:
                put_updating(b, job);
                break;
        case JOB_DEGRADED:
                put_degraded(b, job);
                break;
        case JOB_STOPPING:
                put_stopping(b, job);
                break;
        case JOB_STOPPED:
                buffer_puts(b, job->stopped || job->counts[MARK_STOPPED] > 0
                                       ? "was stopped by a person"
                                       : "its count is 0");
                break;
        case JOB_FAILED:
                if (job->overran)
                        put_overran(b, job);
                else
                        put_task(b, job, MARK_ENDED_BADLY, "has failed");
                break;
        case JOB_SCHEDULED:
                schedule_put_reason(b, job);
                break;
        case JOB_TEMPLATE:
                buffer_printf(b, "`reeve dispatch %s` makes jobs of it", job->name);
                break;
        case JOB_RUNNING:
        case JOB_SUCCEEDED:
                break;
        }
}

static char *job_reason(const struct cluster *c, const struct job *job, enum job_state state)
{
        struct job *j = (struct job *) (uintptr_t) job; /* the text is a cache */
        struct buffer b = { 0 };

        if (j->reason_changes != c->changes + 1) {
                put_reason(&b, job, state);
                free(j->reason);
                j->reason = b.len > 0 ? buffer_take(&b) : NULL;
                j->reason_changes = c->changes + 1;
                buffer_done(&b);
        }
        return j->reason;
}

static void fill_job(const struct cluster *c, const struct job *job, struct job_status *ret)
{
        const struct job_spec *spec = job_current_spec(job);
        enum job_state state = job_state_of(job);

        *ret = (struct job_status){ .name = job->name,
                .kind = (int) spec->kind,
                .version = job_version_number(job),
                .count = job_spec_per_node(spec) ? job_count(job) : spec->count,
                .running = (int64_t) job->counts[MARK_RUNNING],
                .ready = (int64_t) job->counts[MARK_READY],
                .state = (int) state,
                .source = job->source,
                .reason = job_reason(c, job, state),
                .since = job->since,
                .priority = spec->priority,
                .owner = spec->owner,
                .queued = (int64_t) job->counts[MARK_UNPLACED],
                .lost = (int64_t) job->counts[MARK_LOST] };
}

bool cluster_get_job(const struct cluster *c, const char *name, struct job_status *ret)
{
        const struct job *job = job_find(c, name);

        if (job != NULL)
                fill_job(c, job, ret);
        return job != NULL;
}

const struct job_spec *cluster_get_spec(const struct cluster *c, const char *name, uint32_t version)
{
        const struct job *job = job_find(c, name);

        if (job == NULL)
                return NULL;
        return version == 0 ? job_current_spec(job) : job_spec_of(job, version);
}

/* ---- Nodes */

static enum node_scheduling scheduling_of(const struct node *node)
{
        if (node->draining)
                return node->drained ? NODE_DRAINED : NODE_DRAINING;
        return node->cordoned ? NODE_CORDONED : NODE_OPEN;
}

static void fill_node(const struct node *node, struct node_status *ret)
{
        *ret = node->status;
        ret->cpu_used = (int64_t) node->used.cpu;
        ret->memory_used = (int64_t) node->used.memory;
        ret->disk_used = (int64_t) node->used.disk;
        ret->scheduling = (int) scheduling_of(node);
        ret->heard = ret->state == NODE_LOST ? node->heard : 0;
}

/* ---- Walks, in the order of names */

static int compare_jobs(const void *a, const void *b)
{
        const struct job *const *x = a, *const *y = b;

        return strcmp((*x)->name, (*y)->name);
}

/* All jobs by name, ended by NULL; freed by the caller. */
static struct job **sorted_jobs(const struct cluster *c)
{
        size_t len = HASH_COUNT(c->jobs), i = 0;
        struct job **all = mem_alloc((len + 1) * sizeof(struct job *));

        for (struct job *job = c->jobs; job != NULL; job = job->hh.next)
                all[i++] = job;
        qsort(all, len, sizeof(struct job *), compare_jobs);
        return all;
}

void cluster_each_job(
        const struct cluster *c, void (*each)(void *data, const struct job_status *), void *data)
{
        AUTO(mem_freep) struct job **all = sorted_jobs(c);

        for (struct job **job = all; *job != NULL; job++) {
                struct job_status status;

                fill_job(c, *job, &status);
                each(data, &status);
        }
}

static void each_task_of(
        const struct job *job, void (*each)(void *data, const struct task_status *), void *data)
{
        const struct task *task;

        JOB_FOREACH_TASK (job, task) {
                struct task_status status;

                task_fill_status(job, task, &status);
                each(data, &status);
        }
}

void cluster_each_task(const struct cluster *c, const char *name,
        void (*each)(void *data, const struct task_status *), void *data)
{
        AUTO(mem_freep) struct job **all = NULL;
        const struct job *job;

        if (name != NULL) {
                job = job_find(c, name);
                if (job != NULL)
                        each_task_of(job, each, data);
                return;
        }
        all = sorted_jobs(c);
        for (struct job **at = all; *at != NULL; at++)
                each_task_of(*at, each, data);
}

uint32_t cluster_each_task_from(const struct cluster *c, const char *name, uint32_t from,
        uint32_t max, void (*each)(void *data, const struct task_status *), void *data)
{
        const struct job *job = job_find(c, name);
        size_t at = from;

        for (; job != NULL && max > 0; max--) {
                const struct task *task = job_next_task(job, &at);
                struct task_status status;

                if (task == NULL)
                        return 0;
                task_fill_status(job, task, &status);
                each(data, &status);
        }
        return job != NULL ? (uint32_t) at : 0;
}

void cluster_each_node(
        const struct cluster *c, void (*each)(void *data, const struct node_status *), void *data)
{
        for (size_t i = 0; i < HASH_COUNT(c->nodes); i++) {
                struct node_status status;

                fill_node(c->by_name[i], &status);
                each(data, &status);
        }
}

bool cluster_get_node(const struct cluster *c, const char *name, struct node_status *ret)
{
        const struct node *node = node_find(c, name);

        if (node != NULL)
                fill_node(node, ret);
        return node != NULL;
}

static int compare_places(const void *a, const void *b)
{
        const struct task *x = *(struct task *const *) a, *y = *(struct task *const *) b;
        int by_job = strcmp(x->job->name, y->job->name);

        return by_job != 0 ? by_job : x->index < y->index ? -1 : x->index > y->index;
}

void cluster_each_task_on(const struct cluster *c, const char *name,
        void (*each)(void *data, const struct task_status *), void *data)
{
        const struct node *node = node_find(c, name);
        AUTO(mem_freep) struct task **tasks = NULL;
        struct task *task;
        size_t len = 0;

        if (node == NULL)
                return;
        tasks = mem_alloc(((size_t) node->status.tasks + 1) * sizeof(struct task *));
        DL_FOREACH2 (node->tasks, task, node_next)
                tasks[len++] = task;
        qsort(tasks, len, sizeof(struct task *), compare_places);
        for (size_t i = 0; i < len; i++) {
                struct task_status status;

                task_fill_status(tasks[i]->job, tasks[i], &status);
                each(data, &status);
        }
}

void cluster_each_version(const struct cluster *c, const char *name,
        void (*each)(void *data, uint32_t version, const struct job_spec *spec), void *data)
{
        const struct job *job = job_find(c, name);

        for (size_t i = 0; job != NULL && i < job->versions_len; i++)
                each(data, job->versions[i].number, job->versions[i].spec);
}

void cluster_each_job_of_source(const struct cluster *c, const char *source,
        void (*each)(void *data, const char *name), void *data)
{
        AUTO(mem_freep) struct job **all = sorted_jobs(c);

        for (struct job **job = all; *job != NULL; job++)
                if (strcmp((*job)->source, source) == 0 && !(*job)->removing)
                        each(data, (*job)->name);
}
