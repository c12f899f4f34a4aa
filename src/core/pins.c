/* SPDX-License-Identifier: BSD-3-Clause */
/* Pins: jobs with one task per node, of kind `system` or `place.with` another job.
 *
 * Nobody says how many tasks such a job has: that follows from the nodes. Each of its tasks is
 * *pinned* to a node: it runs there or waits until it can, and is never placed anywhere else. A
 * node whose tasks, attributes or scheduling change is marked, and pins_run() then compares, at the
 * end of the turn, which of these jobs shall have a task there and which have:
 *
 *   system   on every node that `place` allows and that is not drained; a node that is cordoned
 *            keeps the task that it has, and gets none
 *   with     on the nodes where the other job has a task that is placed and has not ended. The task
 *            is begun anew when those there have all come to a version that took new processes
 *
 * A node that is lost keeps its pins: the task waits for it. A task that is not wanted on its node
 * any more leaves as one that is too many does, and keeps its pin until it is gone, so that the
 * next one for this node cannot come before.
 *
 * A pin is an object of its own, owned by its task, since most tasks have none. */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/place.h"

bool job_per_node(const struct job *job)
{
        const struct job_spec *spec = job_current_spec(job);

        return job_spec_per_node(spec) && !spec->template;
}

/* ---- Pins */

void pin_make(struct task *task, struct node *node)
{
        struct pin *pin = mem_alloc(sizeof *pin);

        pin->task = task;
        pin->node = node;
        DL_APPEND(node->pins, pin);
        task->pin = pin;
}

void pin_free(struct task *task)
{
        struct pin *pin = task->pin;

        if (pin == NULL)
                return;
        task->pin = NULL;
        DL_DELETE(pin->node->pins, pin);
        pins_mark_node(task->job->cluster, pin->node);
        free(pin);
}

static struct task *pinned_task(const struct job *job, const struct node *node)
{
        const struct pin *pin;

        DL_FOREACH (node->pins, pin)
                if (pin->task->job == job)
                        return pin->task;
        return NULL;
}

/* ---- What has to be looked at */

void pins_mark_node(struct cluster *c, struct node *node)
{
        if (c->per_node == NULL || node->pins_due)
                return;
        node->pins_due = true;
        node->pins_due_next = c->pins_due;
        c->pins_due = node;
}

void pins_unmark_node(struct cluster *c, struct node *node)
{
        struct node **at = &c->pins_due;

        if (!node->pins_due)
                return;
        while (*at != node)
                at = &(*at)->pins_due_next;
        *at = node->pins_due_next;
        node->pins_due = false;
}

static void join(struct cluster *c, struct job *job)
{
        if (!job->per_node)
                DL_APPEND2(c->per_node, job, per_node_prev, per_node_next);
        job->per_node = true;
}

void pins_leave(struct cluster *c, struct job *job)
{
        if (job->per_node)
                DL_DELETE2(c->per_node, job, per_node_prev, per_node_next);
        job->per_node = false;
}

/* Some job goes with this one, or this one with another: that one's tasks are watched. */
static void find_followers(struct cluster *c, struct job *job)
{
        const char *with = job_current_spec(job)->place.with;
        struct job *other;

        if (with != NULL && (other = job_find(c, with)) != NULL)
                other->followed = true;
        DL_FOREACH2 (c->per_node, other, per_node_next) {
                with = job_current_spec(other)->place.with;
                if (with != NULL && strcmp(with, job->name) == 0)
                        job->followed = true;
        }
}

/* ---- Which nodes */

/* The task is of a job that another goes with, and is what that one goes with. */
static bool is_there(const struct task *task)
{
        return task->node != NULL && task->state != TASK_ENDED;
}

static bool has_task_of(const struct node *node, const struct job *other)
{
        const struct task *task;

        DL_FOREACH2 (node->tasks, task, node_next)
                if (task->job == other && is_there(task))
                        return true;
        return false;
}

static bool wants_node(struct cluster *c, const struct job *job, struct node *node)
{
        const char *with = job_current_spec(job)->place.with;
        const struct task *task = pinned_task(job, node);
        const struct job *other;

        if (job->removing || !place_allows(c, job, node))
                return false;
        if (with != NULL)
                return (other = job_find(c, with)) != NULL && has_task_of(node, other);
        return !node->draining && (!node->cordoned || (task != NULL && task->node != NULL));
}

static const char *why_leaves(struct cluster *c, const struct job *job, struct node *node)
{
        if (!place_allows(c, job, node))
                return "the job may not use it any more";
        if (job_current_spec(job)->place.with != NULL)
                return "the job it goes with has no task there any more";
        return node->draining ? "it is drained" : "it is closed for new tasks";
}

/* ---- Together with another job */

/* The version that all tasks of @other on @node have been told to take with new processes. */
static uint32_t told_version(const struct node *node, const struct job *other)
{
        const struct task *task;
        uint32_t version = UINT32_MAX;

        DL_FOREACH2 (node->tasks, task, node_next)
                if (task->job == other && is_there(task))
                        version = MIN(version, task->desire.restart_version);
        return version == UINT32_MAX ? 0 : version;
}

/* And all of them run with it. */
static bool have_followed(const struct node *node, const struct job *other)
{
        const struct task *task;

        DL_FOREACH2 (node->tasks, task, node_next)
                if (task->job == other && is_there(task) &&
                        ((task->marks & BIT(MARK_RUNNING)) == 0 || task->going || !task->synced ||
                                task->version < task->desire.restart_version))
                        return false;
        return true;
}

static void note_with(struct task *task)
{
        const char *with = job_current_spec(task->job)->place.with;
        const struct job *other = with == NULL ? NULL : job_find(task->job->cluster, with);

        task->pin->with_version = other == NULL ? 0 : told_version(task->pin->node, other);
}

static void say_of(
        struct turn *turn, enum event_kind kind, const struct task *task, const char *text)
{
        AUTO(mem_freep) char *id = mem_printf("%s.%" PRIu32, task->job->name, task->index);
        AUTO(mem_freep) char *message = mem_printf("%s %s", id, text);

        turn_publish(turn, &(struct event){ .kind = (int) kind,
                                   .job = task->job->name,
                                   .task = id,
                                   .node = task->pin->node->status.name,
                                   .version = job_version_number(task->job),
                                   .run = RECORD_NULL,
                                   .message = message });
}

/* The other job was updated there: so the task begins anew, if it has not ended. */
static void follow_update(struct turn *turn, struct job *job, struct task *task)
{
        const struct job_spec *spec = job_current_spec(job);
        const struct job *other =
                spec->place.with == NULL ? NULL : job_find(turn->c, spec->place.with);
        uint64_t generation = turn->c->index + 1;
        AUTO(mem_freep) char *text = NULL;
        uint32_t version;

        if (other == NULL)
                return;
        version = told_version(task->pin->node, other);
        if (version <= task->pin->with_version || !have_followed(task->pin->node, other))
                return;
        task->pin->with_version = version;
        task_touch(turn->c, job, task);
        if (!task_wanted(job, task) || task->state == TASK_ENDED || spec->kind == JOB_CRON)
                return;
        text = mem_printf("begins anew: %s, which it goes with, has version %" PRIu32 " there",
                other->name, version);
        say_of(turn, EVENT_JOB_RESTARTED, task, text);
        task_begin_anew(turn, job, task, generation);
}

/* ---- Making the tasks those that are wanted */

static uint32_t free_index(const struct job *job, uint32_t from)
{
        while (job_task(job, from) != NULL)
                from++;
        return from;
}

static struct task *add_task(struct turn *turn, struct job *job, struct node *node, uint32_t *index)
{
        struct task *task;

        *index = free_index(job, *index);
        task = job_add_task(turn, job, *index, turn->c->index + 1, false);
        pin_make(task, node);
        note_with(task);
        return task;
}

static void send_away(struct turn *turn, struct job *job, struct task *task)
{
        struct node *node = task->pin->node;
        AUTO(mem_freep)
        char *text =
                mem_printf("leaves node %s: %s", node->status.name, why_leaves(turn->c, job, node));

        if (task->leaving)
                return;
        say_of(turn, EVENT_TASK_STOPPING, task, text);
        task->leaving = true;
        task->stopped = false;
        task_touch(turn->c, job, task);
        task_end(turn, job, task);
        task_let_go(turn, job, task);
}

/* A cron job's tasks are made for a slot, not when a node comes. */
static bool may_add(const struct job *job)
{
        return job_per_node(job) && !job->removing &&
               (job_current_spec(job)->kind != JOB_CRON || job->slot_begins);
}

/* Returns the task if one was made. */
static struct task *look_at(struct turn *turn, struct job *job, struct node *node, uint32_t *index)
{
        struct task *task = pinned_task(job, node);
        bool wanted = job_per_node(job) && wants_node(turn->c, job, node);

        if (task == NULL)
                return wanted && may_add(job) ? add_task(turn, job, node, index) : NULL;
        if (!wanted)
                send_away(turn, job, task);
        else if (!task->leaving)
                follow_update(turn, job, task);
        return NULL;
}

static void say_added(struct turn *turn, struct job *job, const struct task *last, size_t added)
{
        AUTO(mem_freep)
        char *text = last == NULL ? NULL
                                  : mem_printf("is new, for node %s", last->pin->node->status.name);

        if (added == 1)
                say_of(turn, EVENT_TASK_CREATED, last, text);
        else if (added > 1)
                turn_say(turn, EVENT_TASK_CREATED, job, "%zu tasks are new, one per node", added);
}

void pins_look_at_all(struct turn *turn, struct job *job)
{
        const struct task *task, *last = NULL;
        uint32_t index = 0;
        size_t added = 0;

        job->pins_due = false;
        for (size_t i = 0; i < HASH_COUNT(turn->c->nodes); i++)
                if ((task = look_at(turn, job, turn->c->by_name[i], &index)) != NULL) {
                        last = task;
                        added++;
                }
        say_added(turn, job, last, added);
}

static void look_at_node(struct turn *turn, struct node *node)
{
        struct job *job;

        DL_FOREACH2 (turn->c->per_node, job, per_node_next) {
                uint32_t index = 0;
                const struct task *task = look_at(turn, job, node, &index);

                say_added(turn, job, task, task != NULL);
        }
}

void pins_run(struct turn *turn)
{
        struct cluster *c = turn->c;
        struct node *node;
        struct job *job;

        DL_FOREACH2 (c->per_node, job, per_node_next)
                if (job->pins_due)
                        pins_look_at_all(turn, job);
        while ((node = c->pins_due) != NULL) {
                pins_unmark_node(c, node);
                look_at_node(turn, node);
        }
}

/* ---- The job has changed */

/* Tasks of a job that had none pinned stay where they are, one on each node. */
static void adopt(struct cluster *c, struct job *job)
{
        struct task *task;

        JOB_FOREACH_TASK (job, task) {
                if (task->pin != NULL || task->leaving || task->node == NULL ||
                        pinned_task(job, task->node) != NULL || !wants_node(c, job, task->node))
                        continue;
                pin_make(task, task->node);
                note_with(task);
                task_touch(c, job, task);
        }
}

void pins_update(struct cluster *c, struct job *job)
{
        struct task *task;

        find_followers(c, job);
        if (job_per_node(job)) {
                join(c, job);
                adopt(c, job);
                job->pins_due = true;
                return;
        }
        if (!job->per_node)
                return;
        pins_leave(c, job);
        JOB_FOREACH_TASK (job, task)
                if (task->pin != NULL) {
                        pin_free(task);
                        task_touch(c, job, task);
                }
}

void pins_loaded(struct cluster *c)
{
        for (struct job *job = c->jobs; job != NULL; job = job->hh.next)
                if (job_per_node(job)) {
                        join(c, job);
                        job->pins_due = true;
                }
        for (struct job *job = c->jobs; job != NULL; job = job->hh.next)
                find_followers(c, job);
}

void pins_forget_node(struct turn *turn, struct node *node)
{
        struct pin *pin, *next;

        DL_FOREACH_SAFE (node->pins, pin, next) {
                struct task *task = pin->task;

                task->leaving = true;
                task->stopped = false;
                task_touch(turn->c, task->job, task);
                pin_free(task);
                if (task->node == NULL) {
                        task_end(turn, task->job, task);
                        task_let_go(turn, task->job, task);
                } else
                        task_recount(task->job, task);
        }
}

/* ---- Placing */

bool pins_waits_on(const struct job *job, const struct node *node)
{
        const struct task *task = pinned_task(job, node);

        return task != NULL && (task->marks & BIT(MARK_UNPLACED)) != 0;
}

size_t pins_place(struct turn *turn, struct job *job, struct node *const *nodes, size_t len,
        size_t wanted, struct place_refusals *refusals)
{
        size_t placed = 0;

        for (size_t i = 0; i < len && placed < wanted; i++) {
                struct task *task = pinned_task(job, nodes[i]);
                struct choice choice = { .node = nodes[i], .rule = CHOICE_ONLY, .fitting = 1 };
                AUTO(buffer_done) struct buffer why = { 0 };

                if (!pins_waits_on(job, nodes[i]))
                        continue;
                if (place_refuse(turn->c, task, nodes[i], refusals, &why) != REFUSAL_NONE) {
                        text_replace(&task->reason, buffer_str(&why));
                        continue;
                }
                task_put(turn, task, &choice);
                placed++;
        }
        return placed;
}

/* ---- In words */

void pins_put_why_none(struct buffer *b, const struct job *job)
{
        const char *with = job_current_spec(job)->place.with;

        if (with == NULL)
                buffer_puts(b, "there is no node for it");
        else if (job_find(job->cluster, with) == NULL)
                buffer_printf(b, "there is no job %s, which it goes with", with);
        else
                buffer_printf(b, "job %s, which it goes with, has no task on a node for it", with);
}
