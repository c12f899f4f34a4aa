/* SPDX-License-Identifier: BSD-3-Clause */
/* Nodes: what agents tell.
 *
 * An agent that connects tells of all the tasks it has. That answer is the truth about what runs
 * there; ours is the truth about what should. node_handle_up() brings the two together on our side,
 * and cluster_assigns_of() on the agent's: what it has and nobody wants is stopped and forgotten,
 * what is wanted and not there is begun, what is wanted otherwise is told again. All other talk on
 * the link is differences, in order, and lost with the link.
 *
 * A task that has ended is never assigned again unless somebody asked for a new run: its agent may
 * have forgotten it, or have lost all it knew, and a batch that has done its work must not do it
 * twice.
 *
 * A report can be about the past in two ways. Its desire is older than ours: then its agent has not
 * taken ours up yet, and an end that it tells of is not the end. Or it is older than the task: then
 * it is about a *namesake* that was removed while its agent could not be told, and has to go first.
 */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/order.h"
#include "core/preempt.h"

static int fail_no_node(const char *name, struct error *err)
{
        return error_set(err, ERR_NOT_FOUND, "no node \"%s\"", name);
}

void node_say(struct turn *turn, enum event_kind kind, const struct node *node, const char *message)
{
        char text[400];
        struct event event = { .kind = (int) kind,
                .node = node->status.name,
                .version = RECORD_NULL,
                .run = RECORD_NULL,
                .message = text };

        snprintf(text, sizeof text, "node %s %s", node->status.name, message);
        turn_publish(turn, &event);
}

/* ---- Reports */

/* Whether the report tells of a time before what we know. After a connect that can only be because
 * the agent's memory goes back behind its own word that the task has ended; later, because the link
 * delivered something twice. */
static bool is_stale(const struct task *task, const struct cluster_report *r, bool all)
{
        bool ended = task->state == TASK_ENDED;
        uint32_t runs = task->runs_before + (uint32_t) MAX(r->status.runs, 0);

        if (ended && r->desire.generation < task->desire.generation)
                return true;
        if (all || !task->answered)
                return false;
        /* The first word of what we have now: a namesake's runs were counted apart. */
        if (!task->synced && task_desire_equal(&r->desire, &task->desire))
                return false;
        if (runs != task->runs)
                return runs < task->runs;
        return ended && r->status.state != TASK_ENDED &&
               r->desire.generation == task->desire.generation;
}

static bool is_agent_state(int state)
{
        switch (state) {
        case TASK_QUEUED:
        case TASK_PREPARING:
        case TASK_STARTING:
        case TASK_RUNNING:
        case TASK_STOPPING:
        case TASK_ENDED:
                return true;
        default: /* a number from outside: PLACED and LOST are ours to say, others are none */
                return false;
        }
}

/* The state that the report means. An end is the end only when its agent has taken up the newest
 * wish for a run: even if we have changed our mind since, that wish may still be on its way to it.
 */
static enum task_state meant_state(const struct task *task, const struct cluster_report *r)
{
        bool past = r->desire.generation < task->desire.generation ||
                    r->desire.restart_version < task->desire.restart_version;

        if (r->status.state != TASK_ENDED || !past)
                return (enum task_state) r->status.state;
        return task->desire.run ? TASK_PLACED : TASK_STOPPING;
}

/* The fields of @task that a report tells, as the report tells them. */
static void copy_report(struct task *task, const struct cluster_report *r)
{
        const struct task_status *s = &r->status;

        task->state = (uint8_t) meant_state(task, r);
        task->result = RESULT_NONE;
        if (task->state == TASK_ENDED)
                task->result = (int8_t) (s->result != RESULT_NONE ? s->result : RESULT_UNKNOWN);
        task->parked = task->state == TASK_ENDED && r->parked;
        task->ready = s->ready;
        task->unhealthy = s->state == TASK_RUNNING && !s->healthy;
        task->pid = s->pid == RECORD_NULL ? 0 : (int32_t) s->pid;
        task->runs = task->runs_before + (uint32_t) MAX(s->runs, 0);
        task->restarts = task->restarts_before + (uint32_t) MAX(s->restarts, 0);
        task->has_run |= task->state == TASK_RUNNING;
        task->has_exit_code = s->exit_code != RECORD_NULL && s->exit_code >= 0;
        task->exit_code = task->has_exit_code ? (int32_t) s->exit_code : 0;
        task->signal = s->signal;
        task->version = (uint32_t) MAX(s->version, 0);
        task->since = s->since;
        task->next_run_at = s->next_run_at;
        task->started_at = s->started_at;
        task->log_bytes = s->log_bytes;
        task->reported = true;
        task->synced = task_desire_equal(&r->desire, &task->desire);
        task->going = task->state == TASK_RUNNING && desire_takes_down(&task->desire, &r->desire);
        text_replace(&task->reason, task->state == (uint8_t) s->state ? s->reason : NULL);
        text_replace(&task->status, s->status);
}

static bool same_text(const char *a, const char *b)
{
        return strcmp(a != NULL ? a : "", b != NULL ? b : "") == 0;
}

/* In all that copy_report() sets. */
static bool told_same(const struct task *a, const struct task *b)
{
        return a->state == b->state && a->result == b->result && a->parked == b->parked &&
               a->ready == b->ready && a->unhealthy == b->unhealthy && a->pid == b->pid &&
               a->runs == b->runs && a->restarts == b->restarts && a->has_run == b->has_run &&
               a->has_exit_code == b->has_exit_code && a->exit_code == b->exit_code &&
               a->signal == b->signal && a->version == b->version && a->since == b->since &&
               a->next_run_at == b->next_run_at && a->started_at == b->started_at &&
               a->log_bytes == b->log_bytes && a->reported == b->reported &&
               a->synced == b->synced && a->going == b->going && same_text(a->reason, b->reason) &&
               same_text(a->status, b->status);
}

/* For the jobs that come after it. What has happened while its agent was away is known only as far
 * as it has ended. */
static void note_failure(
        const struct turn *turn, struct job *job, const struct task *before, struct task *task)
{
        bool ended = task->state == TASK_ENDED && before->state != TASK_ENDED &&
                     (task->result == RESULT_FAILED || task->result == RESULT_UNKNOWN);
        bool again = turn->answering == NULL && task_last_run_failed(job, task) &&
                     before->state != TASK_QUEUED &&
                     (task->restarts > before->restarts ||
                             (task->state == TASK_QUEUED && task->next_run_at != 0));

        if (ended || again)
                order_note_failure(job, task, ended);
}

/* Brings @task up to date. What has to survive the server is that a task has ended, and how. */
static void take_status(
        struct turn *turn, struct job *job, struct task *task, const struct cluster_report *r)
{
        bool had_ended = task->state == TASK_ENDED;
        struct task before = *task;
        AUTO(mem_freep) char *reason = mem_strdup(task->reason);
        AUTO(mem_freep) char *status = mem_strdup(task->status);

        before.reason = reason;
        before.status = status;
        copy_report(task, r);
        if (before.runs != task->runs)
                task->ready_at = turn->now;
        note_failure(turn, job, &before, task);
        if (!told_same(&before, task)) {
                if (had_ended || task->state == TASK_ENDED)
                        task_touch(turn->c, job, task);
                else
                        job_touch(turn->c, job);
        }
        task_recount(job, task);
}

struct task *node_find_reported(
        struct turn *turn, struct node *node, const char *id, struct job **ret_job)
{
        struct task *task;

        if (id == NULL || !cluster_look_up(turn->c, id, ret_job, &task))
                return NULL;
        return task != NULL && task->node == node ? task : NULL;
}

/* The agent has a task that is not on its node. If it is placed there in this very turn, that is
 * another one. */
static void note_met(struct turn *turn, const char *id)
{
        struct job *job;
        struct task *task;

        if (cluster_look_up(turn->c, id, &job, &task) && task != NULL && task->node == NULL)
                task->met = true;
}

/* There is no such task on the node (any more). At the beginning of a link its agent is told that
 * by not being told of it. */
static void handle_stranger(
        struct turn *turn, struct node *node, const struct cluster_report *r, bool all)
{
        bool ended = r->status.state == TASK_ENDED;

        if (ended && !all && stranger_drop(turn->c, node, r->status.id))
                return;
        if (all)
                note_met(turn, r->status.id);
        else
                effects_forget(turn->effects, node->status.name, r->status.id, false);
        if (!ended && all && turn->tells_ends)
                stranger_add(turn->c, node, r);
}

/* What we hold for ended runs there by an older wish: nobody names it, and its agent drops it. */
static void handle_stale(
        struct turn *turn, struct node *node, const struct cluster_report *r, bool all)
{
        if (r->status.state == TASK_ENDED)
                stranger_drop(turn->c, node, r->status.id);
        else if (all && turn->tells_ends)
                stranger_add(turn->c, node, r);
}

/* @all: the agent tells all it has, at the beginning of a link. */
static void handle_report(
        struct turn *turn, struct node *node, const struct cluster_report *r, bool all)
{
        struct job *job;
        struct task *task = node_find_reported(turn, node, r->status.id, &job);

        if (r->status.id == NULL || !is_agent_state(r->status.state))
                return;
        if (task == NULL) {
                handle_stranger(turn, node, r, all);
                return;
        }
        if (r->desire.generation < task->born && r->status.state == TASK_ENDED) {
                task->namesake |= all;
                return;
        }
        past_settle(turn, job, task, r);
        if (is_stale(task, r, all)) {
                handle_stale(turn, node, r, all);
                return;
        }
        stranger_drop(turn->c, node, r->status.id); /* it was taken up again: it counts itself */
        task->answered = true;
        task->namesake = false;
        take_status(turn, job, task, r);
        if (!task_follow_leave(turn, task))
                task_let_go(turn, job, task);
}

int node_handle_report(struct turn *turn, const struct cluster_event *event, struct error *err)
{
        struct node *node = node_find(turn->c, event->node->name);

        if (node == NULL)
                return fail_no_node(event->node->name, err);
        for (size_t i = 0; i < event->reports_len && node->connected; i++)
                handle_report(turn, node, &event->reports[i], false);
        return 0;
}

/* ---- A link begins */

static void copy_identity(struct node *node, const struct node_status *from, usec_t now)
{
        struct node_status *s = &node->status;

        text_replace(&s->version, from->version);
        text_replace(&s->kernel, from->kernel);
        text_replace(&s->reason, NULL);
        text_replace(&s->zone, from->zone);
        attributes_done(&s->attributes);
        attributes_copy(&from->attributes, &s->attributes);
        s->cores = from->cores;
        s->cpu = from->cpu;
        s->memory = from->memory;
        s->disk = from->disk;
        s->agent_pid = from->agent_pid;
        s->keeper_pid = from->keeper_pid;
        s->state = NODE_READY;
        s->since = now;
}

static void say_ready(
        struct turn *turn, const struct node *node, bool is_new, bool was_lost, bool is_wiped)
{
        const char *how = is_new     ? "is new and ready"
                          : was_lost ? "is back and ready"
                                     : "is connected again";
        const char *lost = is_wiped ? "; it has lost what it knew" : "";
        char text[200];

        if (node->status.agent_pid > 0)
                snprintf(text, sizeof text, "%s, agent pid %" PRIi64 "%s", how,
                        node->status.agent_pid, lost);
        else
                snprintf(text, sizeof text, "%s%s", how, lost);
        node_say(turn, EVENT_NODE_READY, node, text);
}

static void begin_answers(struct node *node)
{
        struct task *task;

        DL_FOREACH2 (node->tasks, task, node_next)
                task->answered = task->namesake = task->overdue = false;
}

/* The agent has told all it has, and this is not among it. */
static void settle_absent(struct turn *turn, struct job *job, struct task *task)
{
        if (task->state != TASK_ENDED && task->moving)
                task_queue_anew(turn, task);
        else if (task->state != TASK_ENDED && !task->desire.run)
                task_settle_gone(turn, job, task);
        else if (task->state != TASK_ENDED)
                task_place_again(turn, job, task);
}

/* Its agent was begun anew with its machine, and has not begun it since its job comes after others.
 */
static bool waits_for_word(const struct task *task)
{
        return task->state == TASK_QUEUED && task->next_run_at == 0 && task->desire.run &&
               !task->moving && order_must_wait(task->job);
}

static void end_answers(struct turn *turn, struct node *node)
{
        struct task *task, *next;

        DL_FOREACH_SAFE2 (node->tasks, task, next, node_next) {
                job_touch(turn->c, task->job);
                if (!task->answered)
                        settle_absent(turn, task->job, task);
                else if (waits_for_word(task))
                        task_queue_anew(turn, task);
                task_recount(task->job, task);
                task_let_go(turn, task->job, task);
        }
}

/* The numbers of the agent's notes never go back while it knows anything: it has lost its disk, or
 * is another machine of that name. What it tells from now on is new. Returns whether that is so. */
static bool begin_notes(struct turn *turn, struct node *node, const struct cluster_event *event)
{
        if (!event->knows_notes || event->note_seq >= node->note_seq)
                return false;
        node->note_seq = event->note_seq;
        rows_write_note_seq(turn->effects, node);
        return true;
}

void node_handle_up(struct turn *turn, const struct cluster_event *event)
{
        struct node *node = node_find(turn->c, event->node->name);
        bool is_new = node == NULL;
        bool was_lost = !is_new && node->status.state == NODE_LOST, is_wiped;

        node = node_get(turn->c, event->node->name);
        is_wiped = begin_notes(turn, node, event);
        turn->answering = node;
        copy_identity(node, event->node, turn->now);
        node->connected = true;
        if (node->awaited)
                turn->c->returning_until = MAX(turn->c->returning_until, turn->now);
        node->awaited = false;
        turn->tells_ends = event->tells_ends;
        strangers_drop_all(turn->c, node);
        node_measure(turn->c, node);
        pins_mark_node(turn->c, node);
        node_set_due(turn->c, node);
        rows_write_node(turn->effects, node);
        say_ready(turn, node, is_new, was_lost, is_wiped);

        past_look(turn, node, event);
        begin_answers(node);
        for (size_t i = 0; i < event->reports_len; i++)
                handle_report(turn, node, &event->reports[i], true);
        end_answers(turn, node);
}

/* ---- A link breaks */

/* Rollouts may have to go on without the node's tasks, and who made room there without it. */
void node_recount(struct cluster *c, struct node *node)
{
        struct task *task;

        if (node->kept_for != NULL && (!node->connected || node->cordoned))
                preempt_release(node->kept_for, node);
        DL_FOREACH2 (node->tasks, task, node_next) {
                task_recount(task->job, task);
                if (task->job->counts[MARK_OUTDATED] + task->job->counts[MARK_DISPLACED] > 0)
                        job_touch(c, task->job);
        }
        c->changes++;
}

int node_handle_down(struct turn *turn, const struct cluster_event *event, struct error *err)
{
        struct node *node = node_find(turn->c, event->node->name);

        if (node == NULL)
                return fail_no_node(event->node->name, err);
        if (!node->connected)
                return 0;
        node->connected = false;
        node->heard = event->heard == 0 ? turn->now : MIN(event->heard, turn->now);
        node->leased = node->heard;
        node_set_due(turn->c, node);
        node_recount(turn->c, node);
        return 0;
}

void node_lose(struct turn *turn, struct node *node)
{
        char span[TIME_TEXT_MAX], text[200];

        node->status.state = NODE_LOST;
        node->status.since = turn->now;
        text_replace(&node->status.reason, "its agent is not heard from");
        time_format_span(span, turn->now - node->heard);
        snprintf(text, sizeof text,
                "is lost: its agent has not been heard from for %s; what runs there goes on", span);
        rows_write_node(turn->effects, node);
        node_say(turn, EVENT_NODE_LOST, node, text);
        node_recount(turn->c, node);
}

/* ---- Notes */

/* What the agent cannot know or need not say: the job, and the version of it. */
static void complete_note(const struct cluster *c, struct event *event)
{
        struct job *job = NULL;
        struct task *task = NULL;

        if (event->task == NULL || !cluster_look_up(c, event->task, &job, &task))
                return;
        if (event->version == RECORD_NULL || event->version == 0)
                event->version = task == NULL         ? RECORD_NULL
                                 : task->version != 0 ? task->version
                                                      : task->desire.version;
}

int node_handle_note(struct turn *turn, const struct cluster_event *event, struct error *err)
{
        struct node *node = node_find(turn->c, event->node->name);
        struct event note = *event->note;
        char *job = NULL;
        const char *dot;

        if (node == NULL)
                return fail_no_node(event->node->name, err);
        if (event->note_seq <= node->note_seq)
                return 0;
        node->note_seq = event->note_seq;
        rows_write_note_seq(turn->effects, node);

        note.node = node->status.name;
        dot = note.task != NULL ? strrchr(note.task, '.') : NULL;
        if (note.job == NULL && dot != NULL)
                note.job = job = mem_strndup(note.task, (size_t) (dot - note.task));
        complete_note(turn->c, &note);
        turn_publish(turn, &note);
        free(job);
        return 0;
}
