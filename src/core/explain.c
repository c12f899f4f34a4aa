/* SPDX-License-Identifier: BSD-3-Clause */
/* Explain: why something is as it is, and what comes next, as a person would say it.
 *
 * Nothing is remembered for this. The summary and what comes next follow from the state, by which
 * all decisions are taken; how it came to this is told by the events, which the caller has read
 * from the store and which are passed on as the chain. One function per state: what a reader of the
 * state table would ask for has its sentence here; what concerns nodes is in explain-place.c.
 * Spans, not times of day, stand in the sentences: the reader may sit in another time zone. */

#include "core/explain-internal.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

static void answer_done(struct answer *a)
{
        buffer_done(&a->summary);
        buffer_done(&a->next);
}

/* ---- Words */

static const char *ago(char text[TIME_TEXT_MAX], const struct answer *a, usec_t since)
{
        return time_format_span(text, a->now > since ? a->now - since : 0);
}

static const char *until(char text[TIME_TEXT_MAX], const struct answer *a, usec_t at)
{
        return time_format_span(text, at > a->now ? at - a->now : 0);
}

static void put_because(struct answer *a, const char *reason)
{
        if (reason != NULL)
                buffer_printf(&a->summary, ": %s", reason);
}

/* ---- A task */

struct about_task {
        const struct job *job;
        const struct task *task;
        const struct job_spec *spec; /* in force for it */
        struct task_status s;
};

/* "waits 2s after exit code 3 (first failure)": what stands behind "waits 2s". */
static const char *wait_reason(const char *reason)
{
        const char *after = reason == NULL ? NULL : strstr(reason, "after ");

        return after != NULL ? after : reason;
}

static void put_limit(struct answer *a, const struct job_spec *spec)
{
        char window[TIME_TEXT_MAX];

        if (spec->restart.burst > 0)
                buffer_printf(&a->next, "; after %" PRIu32 " failure%s within %s it is parked",
                        spec->restart.burst, spec->restart.burst == 1 ? "" : "s",
                        time_format_exact(window, spec->restart.window));
}

static void why_without_node(struct answer *a, const struct about_task *t)
{
        const struct pin *pin = t->task->pin;

        if (pin == NULL) {
                why_unplaced(a, t->task, t->s.id);
                return;
        }
        buffer_printf(&a->summary, "%s waits for node %s, where it belongs", t->s.id,
                pin->node->status.name);
        put_because(a, t->s.reason);
        buffer_puts(&a->next, "it is placed there as soon as it can be");
}

static void why_queued(struct answer *a, const struct about_task *t)
{
        char span[TIME_TEXT_MAX];
        int64_t run = t->s.runs + 1;

        if (t->s.node == NULL) {
                why_without_node(a, t);
        } else if (t->s.next_run_at == 0) {
                buffer_printf(&a->summary, "%s waits on node %s", t->s.id, t->s.node);
                put_because(a, t->s.reason);
                if (t->s.ready)
                        buffer_puts(&a->next, "it begins when a connection comes");
        } else {
                until(span, a, t->s.next_run_at);
                buffer_printf(
                        &a->summary, "%s waits for run %" PRIi64 ", due in %s", t->s.id, run, span);
                put_because(a, wait_reason(t->s.reason));
                buffer_printf(&a->next, "run %" PRIi64 " begins in %s", run, span);
                put_limit(a, t->spec);
        }
}

/* How its node was chosen, where there was something to choose from. */
static void put_chosen(struct answer *a, const struct task *task)
{
        AUTO(buffer_done) struct buffer choice = { 0 };

        if (HASH_COUNT(a->c->nodes) > 1)
                put_choice(&choice, task);
        if (choice.len > 0)
                buffer_printf(&a->summary, "; it is on node %s, %s", task->node->status.name,
                        buffer_str(&choice));
}

static void why_placed(struct answer *a, const struct about_task *t)
{
        char span[TIME_TEXT_MAX];

        ago(span, a, t->s.since);
        if (!t->task->node->connected) {
                buffer_printf(&a->summary,
                        "%s belongs on node %s, whose agent is not connected: how it is there is "
                        "not "
                        "known",
                        t->s.id, t->s.node);
                buffer_puts(&a->next, "its agent tells when it connects");
        } else {
                buffer_printf(&a->summary,
                        "%s was placed on node %s %s ago; its agent has not begun it yet", t->s.id,
                        t->s.node, span);
                put_chosen(a, t->task);
                buffer_puts(&a->next, "its agent begins it");
        }
}

static void why_starting(struct answer *a, const struct about_task *t)
{
        buffer_printf(&a->summary, "run %" PRIi64 " of %s is being begun", t->s.runs, t->s.id);
        put_because(a, t->s.reason);
        buffer_puts(&a->next, "it runs as soon as its process is there");
}

/* It runs, but not what the job says now. */
static void put_outdated(struct answer *a, const struct about_task *t)
{
        uint32_t version = job_version_number(t->job);
        bool halted = job_halted(t->job);

        if (t->task->desire.version != version)
                buffer_printf(&a->summary, "; it has version %" PRIu32 ", the job version %" PRIu32,
                        t->task->desire.version, version);
        else
                buffer_puts(&a->summary, "; it is still to be restarted");
        if (halted)
                buffer_puts(&a->next, "it stays so: the update of the job has halted");
        else if (t->job->roll_blocked != NULL)
                buffer_printf(
                        &a->next, "it is replaced when there is room: %s", t->job->roll_blocked);
        else
                buffer_puts(&a->next, "it is replaced when its turn comes");
}

static void put_after_end(struct answer *a, const struct job_spec *spec)
{
        char delay[TIME_TEXT_MAX];

        if (spec->restart.policy == RESTART_NEVER) {
                buffer_puts(&a->next, "when it ends it is over (restart policy never)");
                return;
        }
        buffer_puts(&a->next,
                spec->restart.policy == RESTART_ALWAYS ? "when it ends" : "when it fails");
        if (spec->restart.delay == 0)
                buffer_puts(&a->next, " it runs again at once");
        else
                buffer_printf(&a->next, " it runs again after about %s",
                        time_format_exact(delay, spec->restart.delay));
        put_limit(a, spec);
}

/* What its readiness waits for, what its health checks and its program itself say. */
static void put_readiness(struct answer *a, const struct about_task *t)
{
        const struct job_spec *spec = t->spec;
        char span[TIME_TEXT_MAX];

        if (!t->s.ready) {
                buffer_puts(&a->summary, "; ready: waits for ");
                if (spec->ready.log != NULL)
                        buffer_printf(&a->summary, "a line that matches \"%s\"", spec->ready.log);
                else if (spec->ready.http != NULL)
                        buffer_printf(&a->summary, "an answer from %s", spec->ready.http);
                else if (spec->ready.tcp != NULL)
                        buffer_printf(&a->summary, "a connection to %s", spec->ready.tcp);
                else if (spec->ready.command != NULL)
                        buffer_printf(&a->summary, "the command %s", spec->ready.command[0]);
                else
                        buffer_puts(&a->summary, "the program to say so");
                if (spec->ready.deadline > 0)
                        buffer_printf(&a->summary, ", at most %s after its start",
                                time_format_exact(span, spec->ready.deadline));
        }
        if (!t->s.healthy)
                buffer_puts(&a->summary, "; unhealthy, see its events");
        if (t->s.status != NULL)
                buffer_printf(&a->summary, "; it says: %s", t->s.status);
}

static void why_running(struct answer *a, const struct about_task *t)
{
        char span[TIME_TEXT_MAX];

        buffer_printf(&a->summary, "%s runs on node %s for %s (run %" PRIi64, t->s.id, t->s.node,
                ago(span, a, t->s.since), t->s.runs);
        if (t->s.pid != RECORD_NULL)
                buffer_printf(&a->summary, ", pid %" PRIi64, t->s.pid);
        buffer_printf(&a->summary, ", version %" PRIi64 ")%s", t->s.version,
                t->s.ready ? "" : " and is not ready yet");
        put_because(a, t->s.reason);
        put_chosen(a, t->task);
        put_readiness(a, t);
        if (!t->task->desire.run)
                buffer_puts(&a->next, "it was asked to stop; its agent has still to do so");
        else if ((t->task->marks & BIT(MARK_OUTDATED)) != 0)
                put_outdated(a, t);
        else
                put_after_end(a, t->spec);
}

static void why_stopping(struct answer *a, const struct about_task *t)
{
        char span[TIME_TEXT_MAX], grace[TIME_TEXT_MAX];

        buffer_printf(&a->summary, "%s was told to end %s ago", t->s.id, ago(span, a, t->s.since));
        put_because(a, t->s.reason);
        if (t->spec->stop.grace == 0 || t->spec->stop.signal == SIGKILL)
                buffer_puts(&a->next, "it is killed at once");
        else
                buffer_printf(&a->next, "whatever is left of it after %s is killed",
                        time_format_exact(grace, t->spec->stop.grace));
        if (t->task->desire.run)
                buffer_puts(&a->next, "; then it runs again");
}

/* When the job begins anew by itself; false if it does not. */
static bool put_next_slot(struct answer *a, const struct job *job)
{
        usec_t at = schedule_next(job);
        char span[TIME_TEXT_MAX];

        if (at != USEC_NEVER)
                buffer_printf(&a->next, "its next slot begins in %s", until(span, a, at));
        return at != USEC_NEVER;
}

static void put_again(struct answer *a, const struct about_task *t)
{
        if (put_next_slot(a, t->job))
                return;
        buffer_printf(&a->next, "nothing by itself; `reeve restart %s` runs it again", t->s.id);
}

static void why_stopped(struct answer *a, const struct about_task *t)
{
        if (t->job->overran)
                buffer_printf(&a->summary,
                        "%s was stopped: the job %s took longer than "
                        "batch.deadline",
                        t->s.id, t->job->name);
        else if (t->task->stopped)
                buffer_printf(&a->summary, "%s is stopped: a person asked for it", t->s.id);
        else if (t->job->stopped)
                buffer_printf(&a->summary, "%s is stopped: a person stopped the job %s", t->s.id,
                        t->job->name);
        else
                buffer_printf(&a->summary, "%s is stopped: %s", t->s.id,
                        t->s.reason != NULL ? t->s.reason : "was asked to stop");
        put_again(a, t);
}

static void why_ended(struct answer *a, const struct about_task *t)
{
        char span[TIME_TEXT_MAX];

        ago(span, a, t->s.since);
        switch ((enum task_result) t->s.result) {
        case RESULT_SUCCEEDED:
                buffer_printf(&a->summary, "%s ended well %s ago", t->s.id, span);
                put_because(a, t->s.reason);
                put_next_slot(a, t->job);
                return;
        case RESULT_FAILED:
                buffer_printf(&a->summary, "%s %s %s ago", t->s.id,
                        t->task->parked ? "was given up" : "failed", span);
                put_because(a, t->s.reason);
                put_again(a, t);
                return;
        case RESULT_REJECTED:
                buffer_printf(&a->summary, "%s was rejected %s ago", t->s.id, span);
                put_because(a, t->s.reason);
                put_again(a, t);
                return;
        case RESULT_STOPPED:
                why_stopped(a, t);
                return;
        case RESULT_NONE:
        case RESULT_UNKNOWN:
                buffer_printf(&a->summary,
                        "%s ended %s ago, how is not known: nobody was left to see its exit status",
                        t->s.id, span);
                put_because(a, t->s.reason);
                put_again(a, t);
                return;
        }
}

/* What `lost` in its spec says, and whether it can be done. */
static void put_after_loss(struct answer *a, const struct about_task *t)
{
        usec_t at = leave_lost_until(t->task, t->task->node->heard);
        AUTO(buffer_done) struct buffer room = { 0 };
        char span[TIME_TEXT_MAX];

        if (t->task->pin != NULL || t->spec->lost.then == LOST_WAIT)
                buffer_puts(&a->next, "it waits for this node: ");
        put_leaving(&room, a->c, t->task);
        if (room.len > 0)
                buffer_printf(&a->next, "it is placed elsewhere as soon as it can be (%s); ",
                        buffer_str(&room));
        else if (at != USEC_NEVER)
                buffer_printf(&a->next, "%s in %s; ",
                        t->spec->lost.then == LOST_END ? "it counts as failed"
                                                       : "it is placed elsewhere",
                        until(span, a, at));
        buffer_puts(&a->next, room.len > 0 || at != USEC_NEVER
                                      ? "if the agent there connects first, it is taken as found"
                                      : "when the agent there connects again it is taken as found");
}

static void why_lost(struct answer *a, const struct about_task *t)
{
        char span[TIME_TEXT_MAX];

        buffer_printf(&a->summary,
                "%s is lost: node %s, where it belongs, has not been heard from for %s; whether it "
                "runs is not known",
                t->s.id, t->s.node, ago(span, a, t->s.since));
        put_after_loss(a, t);
}

/* That it has to leave its node comes before all else that may happen to it. */
static void put_move(struct answer *a, const struct task *task)
{
        AUTO(buffer_done) struct buffer leaving = { 0 };

        put_leaving(&leaving, a->c, task);
        if (leaving.len == 0)
                return;
        buffer_reset(&a->next);
        buffer_printf(&a->next,
                task->node->draining ? "it has to leave node %s, which is drained: %s"
                                     : "it leaves node %s: %s",
                task->node->status.name, buffer_str(&leaving));
}

static void why_task(struct answer *a, const struct job *job, const struct task *task)
{
        struct about_task t = { .job = job, .task = task };

        a->kind = "task";
        task_fill_status(job, task, &t.s);
        t.spec = job_spec_of(job, task->desire.version);
        if (t.spec == NULL)
                t.spec = job_current_spec(job);

        switch ((enum task_state) t.s.state) {
        case TASK_QUEUED:
                why_queued(a, &t);
                break;
        case TASK_PLACED:
                why_placed(a, &t);
                break;
        case TASK_PREPARING:
        case TASK_STARTING:
                why_starting(a, &t);
                break;
        case TASK_RUNNING:
                why_running(a, &t);
                break;
        case TASK_STOPPING:
                why_stopping(a, &t);
                break;
        case TASK_ENDED:
                why_ended(a, &t);
                break;
        case TASK_LOST:
                why_lost(a, &t);
                break;
        case TASK_STATE_COUNT:
                break;
        }
        if (t.s.state != TASK_LOST)
                put_move(a, task);
        if (task->leaving) {
                buffer_reset(&a->next);
                buffer_puts(
                        &a->next, "it is not wanted any more: when it has ended it is forgotten");
        }
}

/* ---- A job */

/* What a job of this state does next; NULL if nothing. */
static const char *job_next(const struct job *job, enum job_state state)
{
        switch (state) {
        case JOB_STARTING:
                if (job_per_node(job) && job_wanted(job) == 0)
                        return "it has a task as soon as there is a node for it";
                return job->counts[MARK_UNPLACED] > 0
                               ? "tasks that wait are placed as soon as a node can take them"
                               : "it is running when all its tasks run";
        case JOB_UPDATING:
                if (job_holds(job))
                        return "the other tasks follow when a person promotes the version, and it "
                               "is taken back by `reeve revert`";
                return "the next tasks are replaced when those that were are ready";
        case JOB_DEGRADED:
                if (job_halted(job))
                        return "the other tasks are left alone until a new spec is applied or the "
                               "job is restarted";
                if (job->counts[MARK_WAITING] > 0)
                        return "what waits runs again by itself";
                return job->counts[MARK_ENDED_BADLY] > 0 ? "nothing by itself" : NULL;
        case JOB_STOPPING:
                return job->removing ? "when all its tasks have ended it is forgotten" : NULL;
        case JOB_STOPPED:
        case JOB_FAILED:
                return "nothing by itself";
        case JOB_RUNNING:
        case JOB_SUCCEEDED:
        case JOB_SCHEDULED:
        case JOB_TEMPLATE:
                return NULL;
        }
        return NULL;
}

static void why_job(struct answer *a, const struct job *job)
{
        struct job_status s = { 0 };
        char span[TIME_TEXT_MAX];
        const char *next;

        a->kind = "job";
        cluster_get_job(a->c, job->name, &s);
        next = job_next(job, (enum job_state) s.state);
        buffer_printf(&a->summary, "%s %s %s", s.name,
                s.state == JOB_SUCCEEDED || s.state == JOB_FAILED ? "has"
                : s.state == JOB_TEMPLATE                         ? "is a"
                                                                  : "is",
                job_state_names[s.state]);
        if (s.reason != NULL)
                buffer_printf(&a->summary, ": %s", s.reason);
        else if (s.state == JOB_SUCCEEDED)
                buffer_printf(&a->summary, ": %s",
                        s.count == 1 ? "its task ended well" : "all its tasks ended well");
        else
                buffer_printf(&a->summary,
                        ": %" PRIi64 " of %" PRIi64 " tasks run, version %" PRIi64 " since %s",
                        s.running, s.count, s.version, ago(span, a, s.since));
        if (s.state == JOB_SCHEDULED)
                put_next_slot(a, job);
        if (next == NULL)
                return;
        if (s.count == 0 && !job_per_node(job) && s.state == JOB_STOPPED) {
                buffer_puts(&a->next, "nothing until its count is more than 0");
                return;
        }
        buffer_puts(&a->next, next);
        if (s.state == JOB_STOPPED || s.state == JOB_FAILED ||
                (s.state == JOB_DEGRADED && job->counts[MARK_ENDED_BADLY] > 0))
                buffer_printf(&a->next, "; `reeve restart %s` runs it again", s.name);
}

/* ---- The whole */

static int fail_unknown(const struct cluster *c, const char *subject, struct error *err)
{
        struct job *job;
        struct task *task;
        size_t len = 0;
        const char **names = mem_alloc((HASH_COUNT(c->nodes) + 1) * sizeof names[0]);
        const char *nearest;
        struct error near = ERROR_INIT;

        for (const struct node *node = c->nodes; node != NULL; node = node->hh.next)
                names[len++] = node->status.name;
        cluster_find_target(c, subject, &job, &task, &near);
        nearest = text_nearest(subject, names);
        if (nearest != NULL && strstr(near.message, "did you mean") == NULL)
                error_set(&near, ERR_NOT_FOUND,
                        "no job, task or node \"%s\"; did you mean node \"%s\"?", subject, nearest);
        free(names);
        return error_set(err, near.code, "%s", near.message);
}

static void put_member(struct buffer *out, const char *name, const char *value)
{
        if (value == NULL)
                return;
        buffer_printf(out, ",\"%s\":", name);
        text_put_json_string(out, value);
}

static void put_chain(struct buffer *out, const struct event *events, size_t len)
{
        char time[TIME_TEXT_MAX];

        for (size_t i = 0; i < len; i++) {
                buffer_printf(out, "%s{\"time\":\"%s\",\"index\":%" PRIi64, i == 0 ? "" : ",",
                        time_format_wall(time, events[i].time), events[i].index);
                put_member(out, "job", events[i].job);
                put_member(out, "task", events[i].task);
                put_member(out, "node", events[i].node);
                buffer_puts(out, ",\"message\":");
                text_put_json_string(out, events[i].message != NULL ? events[i].message : "");
                buffer_putc(out, '}');
        }
}

static void put_answer(struct buffer *out, const char *subject, const struct answer *a,
        const struct event *events, size_t events_len)
{
        buffer_puts(out, "{\"subject\":");
        text_put_json_string(out, subject);
        buffer_printf(out, ",\"kind\":\"%s\",\"summary\":", a->kind);
        text_put_json_string(out, buffer_str(&a->summary));
        buffer_puts(out, ",\"chain\":[");
        put_chain(out, events, events_len);
        buffer_puts(out, "],\"next\":");
        if (a->next.len > 0)
                text_put_json_string(out, buffer_str(&a->next));
        else
                buffer_puts(out, "null");
        buffer_putc(out, '}');
}

int explain_why(const struct cluster *c, const char *subject, const struct event *events,
        size_t events_len, usec_t now_wall, struct buffer *ret, struct error *err)
{
        AUTO(answer_done) struct answer a = { .c = c, .now = now_wall };
        const struct node *node;
        struct job *job;
        struct task *task;

        if (cluster_look_up(c, subject, &job, &task)) {
                if (task != NULL)
                        why_task(&a, job, task);
                else
                        why_job(&a, job);
        } else {
                node = node_find(c, subject);
                if (node == NULL)
                        return fail_unknown(c, subject, err);
                why_node(&a, node);
        }
        put_answer(ret, subject, &a, events, events_len);
        return 0;
}
