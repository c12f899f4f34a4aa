/* SPDX-License-Identifier: BSD-3-Clause */
/* Order: what a job waits for before its tasks are placed, and what becomes of it when that fails.
 *
 * A job with `after` is held as long as one of its conditions does not hold: then none of its tasks
 * that wait for a node is placed (queue.c asks job->held). That is all: a task that is on a node
 * stays there, and is begun again there by its agent whatever becomes of those it waited for,
 * unless `after_failure` says otherwise. A node that was booted anew begins tasks of such jobs only
 * when it is told to, so that the order holds then, too.
 *
 * Whatever changes what a condition is made of sets cluster.order_due; order_run() then looks at
 * all jobs that have conditions, once per turn at most. A job that is held is not lost to anything
 * else: its place in the queue, its updates and its stops are what they are.
 *
 * When a run of a task fails its task is marked (`broke`), and the jobs after it are dealt with in
 * the same pass: with `restart` their tasks leave their nodes, to be placed again when the
 * conditions hold; with `stop`, and when it has failed for good, they are stopped as by a person.
 *
 * Names need not be there: who waits for one that is not waits until it comes. */

#include "core/order.h"

#include <stdlib.h>
#include <string.h>

/* ---- Conditions */

static bool is_met_by(const struct task *task, enum after_condition condition)
{
        bool ended = task->state == TASK_ENDED;
        bool well = ended && task->result == RESULT_SUCCEEDED;
        bool runs = (task->marks & (BIT(MARK_RUNNING) | BIT(MARK_READY))) != 0;

        switch (condition) {
        case AFTER_STARTED:
                return runs || well || (ended && task->runs > 0 && task->result == RESULT_FAILED);
        case AFTER_READY:
                return (runs && task->ready) || well;
        case AFTER_SUCCEEDED:
                return well;
        case AFTER_ENDED:
                return ended;
        }
        return false;
}

/* What a condition is about; both NULL: it is not there. */
static void look_up(const struct cluster *c, const struct dependency *d, struct job **ret_job,
        struct task **ret_task)
{
        *ret_job = NULL;
        *ret_task = NULL;
        cluster_look_up(c, d->name, ret_job, ret_task);
        if (strchr(d->name, '.') != NULL && *ret_task == NULL)
                *ret_job = NULL;
}

static bool is_met(const struct cluster *c, const struct dependency *d)
{
        struct job *job;
        struct task *task;
        size_t tasks = 0;

        look_up(c, d, &job, &task);
        if (job == NULL || task != NULL)
                return task != NULL && is_met_by(task, d->condition);
        JOB_FOREACH_TASK (job, task) {
                if (task->leaving)
                        continue;
                if (!is_met_by(task, d->condition))
                        return false;
                tasks++;
        }
        return tasks > 0;
}

bool order_must_wait(const struct job *job)
{
        const struct job_spec *spec = job_current_spec(job);

        for (size_t i = 0; i < spec->after_len; i++)
                if (!is_met(job->cluster, &spec->after[i]))
                        return true;
        return false;
}

static void put_dependency(struct buffer *b, const struct cluster *c, const struct dependency *d)
{
        static const char *const verbs[] = { [AFTER_STARTED] = "to be started",
                [AFTER_READY] = "to be ready",
                [AFTER_SUCCEEDED] = "to succeed",
                [AFTER_ENDED] = "to end" };
        struct job *job;
        struct task *task;

        look_up(c, d, &job, &task);
        if (job == NULL) {
                buffer_printf(b, "for %s %s, which does not exist",
                        strchr(d->name, '.') != NULL ? "task" : "job", d->name);
                return;
        }
        buffer_printf(b, "for %s %s", d->name, verbs[d->condition]);
        if (task == NULL && job->counts[MARK_EXISTS] == 0)
                buffer_puts(b, ", which has no tasks");
        else if (task == NULL && (job->stopped || job->removing))
                buffer_puts(b, ", which is stopped");
        else if (task == NULL && job->counts[MARK_ACTIVE] == 0 && job->counts[MARK_ENDED_BADLY] > 0)
                buffer_puts(b, ", which has failed");
}

void order_put_why(struct buffer *b, const struct job *job)
{
        const struct job_spec *spec = job_current_spec(job);
        size_t len = b->len;

        for (size_t i = 0; i < spec->after_len; i++) {
                if (is_met(job->cluster, &spec->after[i]))
                        continue;
                buffer_puts(b, b->len == len ? "waits " : " and ");
                put_dependency(b, job->cluster, &spec->after[i]);
        }
}

/* ---- Holding */

static void hold(struct turn *turn, struct job *job)
{
        AUTO(buffer_done) struct buffer why = { 0 };
        size_t waiting = job->counts[MARK_UNPLACED];
        bool holds = order_must_wait(job);

        if (holds)
                order_put_why(&why, job);
        text_replace(&job->held_why, holds ? buffer_str(&why) : NULL);
        if (holds == job->held)
                return;
        job->held = holds;
        job->unmet = 0;
        job_touch(turn->c, job);
        if (holds && waiting > 0 && job_runs(job) && !turn->loaded)
                turn_say(turn, EVENT_TASK_QUEUED, job, "%zu task%s: the job %s", waiting,
                        waiting == 1 ? " waits" : "s wait", buffer_str(&why));
}

const char *order_reason(struct job *job)
{
        return job->held_why;
}

/* ---- Failures */

void order_note_failure(struct job *job, struct task *task, bool for_good)
{
        task->broke = true;
        task->broke_for_good |= for_good;
        job->broke = true;
        job->cluster->order_due = true;
}

/* The first task that broke of those that @job waits for. */
static const struct task *find_broken(const struct job *job, bool for_good)
{
        const struct job_spec *spec = job_current_spec(job);

        for (size_t i = 0; i < spec->after_len; i++) {
                struct job *other;
                struct task *task;

                look_up(job->cluster, &spec->after[i], &other, &task);
                if (other == NULL || !other->broke)
                        continue;
                if (task != NULL && (for_good ? task->broke_for_good : task->broke))
                        return task;
                if (task != NULL)
                        continue;
                JOB_FOREACH_TASK (other, task)
                        if (for_good ? task->broke_for_good : task->broke)
                                return task;
        }
        return NULL;
}

static void restart_with(struct turn *turn, struct job *job, const struct task *broken)
{
        struct task *task;
        size_t leaving = 0;

        JOB_FOREACH_TASK (job, task) {
                if (task->node == NULL || task->state == TASK_ENDED || task->moving ||
                        task->leaving || !task->desire.run)
                        continue;
                task_leave(turn, task);
                leaving++;
        }
        if (leaving > 0)
                turn_say(turn, EVENT_JOB_RESTARTED, job,
                        "is restarted with %s, whose run has failed (after_failure)",
                        task_id(broken->job, broken->index));
}

static void stop_with(struct turn *turn, struct job *job, const struct task *broken)
{
        AUTO(mem_freep) char *id = mem_strdup(task_id(broken->job, broken->index));

        if (job->stopped)
                return;
        job->stopped = true;
        job_retarget(turn, job, ANEW_NONE, turn->c->index + 1);
        turn_say(turn, EVENT_JOB_STOPPED, job, "was stopped: %s has failed (after_failure)", id);
}

static void follow_failure(struct turn *turn, struct job *job)
{
        enum after_failure then = job_current_spec(job)->after_failure;
        const struct task *broken;

        if (then == AFTER_FAILURE_NOTHING || !job_runs(job))
                return;
        broken = find_broken(job, then == AFTER_FAILURE_STOP);
        if (broken != NULL && then == AFTER_FAILURE_STOP)
                stop_with(turn, job, broken);
        else if (broken != NULL)
                restart_with(turn, job, broken);
}

static void forget_failures(struct job *job)
{
        struct task *task;

        if (!job->broke)
                return;
        JOB_FOREACH_TASK (job, task)
                task->broke = task->broke_for_good = false;
        job->broke = false;
}

/* ---- The pass */

void order_spec_changed(struct cluster *c)
{
        c->order_due = c->order_recount = true;
}

static void count_ordered(struct cluster *c)
{
        c->order_recount = false;
        c->ordered = 0;
        for (const struct job *job = c->jobs; job != NULL; job = job->hh.next)
                if (job->versions_len > 0)
                        c->ordered += job->held || job_current_spec(job)->after_len > 0;
}

void order_run(struct turn *turn)
{
        struct cluster *c = turn->c;

        if (!c->order_due)
                return;
        c->order_due = false;
        if (c->order_recount)
                count_ordered(c);
        if (c->ordered == 0)
                return;
        for (struct job *job = c->jobs; job != NULL; job = job->hh.next) {
                if (!job->held && job_current_spec(job)->after_len == 0)
                        continue;
                follow_failure(turn, job);
                hold(turn, job);
        }
        for (struct job *job = c->jobs; job != NULL; job = job->hh.next)
                forget_failures(job);
}

/* ---- Circles */

struct seen { /* all that it leads to was looked at */
        const char *name;
        UT_hash_handle hh;
};

struct walk {
        const struct cluster *c;
        struct job_spec *const *specs; /* as they would be, before those that are there */
        size_t specs_len;
        const struct job_spec *path[ORDER_DEPTH_MAX];
        size_t len;
        struct seen *seen;
        struct error *err;
};

/* @text: "db" or "db.0". NULL: there is no such job. */
static const struct job_spec *spec_named(const struct walk *w, const char *text)
{
        AUTO(mem_freep) char *name = mem_strndup(text, strcspn(text, "."));
        const struct job *job;

        for (size_t i = 0; i < w->specs_len; i++)
                if (strcmp(name, w->specs[i]->name) == 0)
                        return w->specs[i];
        job = job_find(w->c, name);
        return job != NULL ? job_current_spec(job) : NULL;
}

static int fail_circle(struct walk *w, size_t from)
{
        AUTO(buffer_done) struct buffer circle = { 0 };

        for (size_t i = from; i < w->len; i++)
                buffer_printf(&circle, "%s -> ", w->path[i]->name);
        return error_set(w->err, ERR_INVALID, "jobs.%s.after: the jobs wait for each other: %s%s",
                w->path[0]->name, buffer_str(&circle), w->path[from]->name);
}

static void note_seen(struct walk *w, const char *name)
{
        struct seen *seen = mem_alloc(sizeof *seen);

        seen->name = name;
        HASH_ADD_KEYPTR(hh, w->seen, seen->name, strlen(seen->name), seen);
}

/* All that @spec waits for, directly or not. */
static int walk_from(struct walk *w, const struct job_spec *spec)
{
        struct seen *seen;

        for (size_t i = 0; i < w->len; i++)
                if (w->path[i] == spec)
                        return fail_circle(w, i);
        HASH_FIND_STR(w->seen, spec->name, seen);
        if (seen != NULL)
                return 0;
        if (w->len == ORDER_DEPTH_MAX)
                return error_set(w->err, ERR_INVALID,
                        "jobs.%s.after: more than %d jobs wait one after the other",
                        w->path[0]->name, ORDER_DEPTH_MAX);
        w->path[w->len++] = spec;
        for (size_t i = 0; i < spec->after_len; i++) {
                const struct job_spec *next = spec_named(w, spec->after[i].name);

                if (next != NULL && walk_from(w, next) < 0)
                        return -1;
        }
        w->len--;
        note_seen(w, spec->name);
        return 0;
}

int cluster_check_order(
        const struct cluster *c, struct job_spec *const *specs, size_t len, struct error *err)
{
        struct walk w = { .c = c, .specs = specs, .specs_len = len, .err = err };
        struct seen *seen, *next;
        int r = 0;

        for (size_t i = 0; i < len && r == 0; i++)
                if (specs[i]->after_len > 0)
                        r = walk_from(&w, specs[i]);
        HASH_ITER (hh, w.seen, seen, next) {
                HASH_DEL(w.seen, seen);
                free(seen);
        }
        return r;
}
