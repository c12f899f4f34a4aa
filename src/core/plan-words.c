/* SPDX-License-Identifier: BSD-3-Clause */
/* Why each step of a plan is taken, in words.
 *
 * Where the core gives a reason, in the event that it publishes with a decision, that is the
 * reason; what stands in front of it there (which task, which node) the step has fields for. Where
 * it gives none, the reason follows from the task and its job. Steps of one kind that have the same
 * reason have the same text, so that a reader can put them together. */

#include "core/plan-internal.h"

#include <inttypes.h>
#include <string.h>

#include "core/place.h"

/* ---- What events say */

/* "web.0 leaves node a: it is drained": behind the colon. */
static const char *after_colon(const char *message)
{
        const char *colon = strstr(message, ": ");

        return colon == NULL ? message : colon + 2;
}

static const char *reason_of(struct plan *p, const struct event *e)
{
        const char *room;

        switch ((enum event_kind) e->kind) {
        case EVENT_TASK_PREEMPTED:
                room = strstr(e->message, "to make room");
                return plan_text(p, "has %s", room == NULL ? e->message : room);
        case EVENT_TASK_MOVED:
        case EVENT_TASK_LOST:
        case EVENT_TASK_STOPPING:
        case EVENT_JOB_RESTARTED:
                return plan_text(p, "%s", after_colon(e->message));
        default:
                return NULL;
        }
}

void plan_note_whys(struct plan *p)
{
        for (size_t i = 0; i < p->fx.events_len; i++) {
                const struct event *e = &p->fx.events[i];
                const char *why = e->task == NULL ? NULL : reason_of(p, e);
                struct plan_task *t;

                if (why == NULL)
                        continue;
                HASH_FIND_STR(p->whys, e->task, t);
                if (t == NULL) {
                        t = mem_alloc(sizeof *t);
                        t->id = mem_strdup(e->task);
                        HASH_ADD_KEYPTR(hh, p->whys, t->id, strlen(t->id), t);
                }
                t->why = why;
        }
}

static const char *said_of(struct plan *p, const struct task *task)
{
        struct plan_task *t;

        if (p->whys == NULL)
                return NULL;
        HASH_FIND_STR(p->whys, task_id(task->job, task->index), t);
        return t == NULL ? NULL : t->why;
}

/* ---- Starts */

static bool stands_in(const struct task *task)
{
        return task->pin == NULL && task->job->surge > 0 &&
               task->index >= job_count(task->job) - task->job->surge;
}

const char *plan_why_start(struct plan *p, const struct plan_job *job, const struct task *task)
{
        const struct job_spec *spec = job_current_spec(task->job);

        (void) job;
        if (stands_in(task) && job_holds(task->job))
                return plan_text(p, "is a canary of version %" PRIu32, task->desire.version);
        if (stands_in(task))
                return "stands in while others are replaced";
        if (task->has_run || task->runs > 0)
                return "runs again";
        if (task->born <= p->index)
                return "has waited for a node, and there is room now";
        if (spec->place.with != NULL)
                return plan_text(p, "is new: %s, which it goes with, is there", spec->place.with);
        return task->pin != NULL ? "is new: one on each node" : "is new";
}

/* ---- Ends */

const char *plan_why_stop(struct plan *p, const struct plan_job *job, const struct task *task)
{
        const struct job_spec *spec = job_current_spec(task->job);
        const char *said = said_of(p, task);

        if (said != NULL)
                return said;
        if (task->pin == NULL && task->leaving && task->index >= spec->count &&
                task->index >= job->count_before)
                return "has stood in for the others";
        if (task->pin == NULL && task->leaving && task->index >= spec->count)
                return plan_text(p, "is not wanted any more: count is %" PRIu32, spec->count);
        return "is not wanted any more";
}

/* ---- Moves */

static const struct {
        const char *name;
        void (*put)(struct buffer *b, uint64_t amount);
        size_t offset;
} resources[] = {
        { "cpu", place_put_cpu, offsetof(struct amounts, cpu) },
        { "memory", place_put_size, offsetof(struct amounts, memory) },
        { "disk", place_put_size, offsetof(struct amounts, disk) },
};

static uint64_t amount(const struct amounts *amounts, size_t i)
{
        return *(const uint64_t *) (const void *) ((const char *) amounts + resources[i].offset);
}

/* "version 4 needs memory 2GiB, and there is 1GiB": with what the task holds there itself. Nothing
 * if that is not why. */
static void put_shortage(struct buffer *b, const struct task *task)
{
        const struct job_version *newest = &task->job->versions[task->job->versions_len - 1];
        struct amounts have = task_free_amounts(task);

        for (size_t i = 0; i < ARRAY_SIZE(resources); i++) {
                uint64_t want = amount(&newest->demand->amounts, i);

                if (want <= amount(&have, i))
                        continue;
                if (b->len == 0)
                        buffer_printf(b, "version %" PRIu32 " needs ", newest->number);
                else
                        buffer_puts(b, ", and ");
                buffer_printf(b, "%s ", resources[i].name);
                resources[i].put(b, want);
                buffer_puts(b, " and there is ");
                resources[i].put(b, amount(&have, i));
        }
}

const char *plan_why_moves(struct plan *p, const struct task *task)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        const char *said = said_of(p, task);

        if (said != NULL && strncmp(said, "version ", 8) != 0)
                return said;
        if (task->held != NULL)
                put_shortage(&b, task);
        if (b.len > 0)
                return plan_text(p, "%s", buffer_str(&b));
        return said != NULL ? said : "is placed anew";
}

/* ---- Changes */

/* "needs a new run for: command, env". None of the job's changes may be the cause: a task that an
 * update which halted has not reached is versions behind. */
static const char *cause_of(struct plan *p, const struct plan_job *job, bool new_run)
{
        const char *what = new_run ? "needs a new run for: " : "takes in place: ";
        const char *between = what;
        AUTO(buffer_done) struct buffer b = { 0 };

        for (size_t i = 0; i < job->diff.len; i++)
                if (job->diff.changes[i].needs_restart == new_run) {
                        buffer_printf(&b, "%s%s", between, job->diff.changes[i].field);
                        between = ", ";
                }
        if (b.len == 0)
                buffer_printf(&b, "%sversion %" PRIu32, what, job->version);
        return plan_text(p, "%s", buffer_str(&b));
}

const char *plan_why_changes(
        struct plan *p, struct plan_job *job, const struct task *task, bool new_run)
{
        const char *said = said_of(p, task);
        const char **cause = new_run ? &job->cause : &job->cause_in_place;

        if (new_run && said != NULL)
                return said;
        if (job->version != job_version_number(task->job)) {
                job->version = job_version_number(task->job);
                *cause = NULL;
        }
        if (*cause == NULL)
                *cause = cause_of(p, job, new_run);
        return *cause;
}
