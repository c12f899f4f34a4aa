/* SPDX-License-Identifier: BSD-3-Clause */
/* Leave: tasks that have to leave their nodes.
 *
 * A node that is *lost* cannot be told anything. What its tasks' specs say of that (`lost`) is done
 * when its time has come: they are placed anew elsewhere, or count as failed, or wait for the node.
 * As long as there is no room elsewhere a task stays with its node, where it may well run on, and
 * is taken as found if the node comes back first. Once it has another node, what still runs on the
 * lost one is dropped by the agent there when it is back: it is not named any more. A singleton is
 * placed elsewhere only when its lease has ended, by when its agent has stopped it.
 *
 * A node that is *drained* is told to end its tasks, and each is placed anew when it has ended
 * there. Until the drain's deadline no more tasks of a job are down than its `update.parallel`
 * allows, and a task goes only if there is room for it elsewhere; after the deadline all go.
 *
 * A node that is *forgotten* takes its tasks' placements with it.
 *
 * Tasks that shall go and cannot yet are *displaced*; leave_advance() moves the next ones of a job,
 * and leave_retry() has it look again when something has become free anywhere. */

#include <inttypes.h>
#include <stdlib.h>

#include "core/place.h"

static void say_left(
        struct turn *turn, enum event_kind kind, const struct task *task, const char *why)
{
        AUTO(mem_freep) char *id = mem_printf("%s.%" PRIu32, task->job->name, task->index);
        AUTO(mem_freep) char *text = mem_printf("%s %s", id, why);

        turn_publish(turn, &(struct event){ .kind = (int) kind,
                                   .job = task->job->name,
                                   .task = id,
                                   .node = task->node->status.name,
                                   .version = job_version_number(task->job),
                                   .run = RECORD_NULL,
                                   .message = text });
}

/* ---- Lost */

/* When a singleton has been stopped by its agent, if that is not heard from again; 0: it is none.
 * The agent may know an older version only. */
static usec_t lease_end(const struct task *task)
{
        const struct job *job = task->job;
        usec_t span = 0;

        if (!job_current_spec(job)->singleton)
                return 0;
        for (size_t i = 0; i < job->versions_len; i++)
                if (job->versions[i].spec->singleton)
                        span = MAX(span, job->versions[i].spec->lease);
        return task->node->leased + span + CLUSTER_LEASE_MARGIN;
}

usec_t leave_lost_until(const struct task *task, usec_t heard)
{
        const struct job_spec *spec = job_current_spec(task->job);

        if (task->state == TASK_ENDED || !task_wanted(task->job, task) || task->overdue ||
                spec->lost.then == LOST_WAIT || job_spec_per_node(spec))
                return USEC_NEVER;
        return MAX(heard + spec->lost.after, lease_end(task));
}

usec_t leave_next(const struct node *node)
{
        const struct task *task;
        usec_t next = USEC_NEVER;

        DL_FOREACH2 (node->tasks, task, node_next)
                next = MIN(next, leave_lost_until(task, node->heard));
        return next;
}

static void lose(struct turn *turn, struct task *task)
{
        AUTO(mem_freep)
        char *text = mem_printf(
                "node %s has not been heard from, and lost.then is end", task->node->status.name);

        if (job_current_spec(task->job)->lost.then == LOST_END) {
                say_left(turn, EVENT_TASK_LOST, task, "has failed: its node is lost");
                task_fail(turn, task, text);
                return;
        }
        task->overdue = true;
        task_recount(task->job, task);
        job_touch(turn->c, task->job);
}

void leave_node_lost(struct turn *turn, struct node *node)
{
        struct task *task, *next;

        DL_FOREACH_SAFE2 (node->tasks, task, next, node_next)
                if (leave_lost_until(task, node->heard) <= turn->now)
                        lose(turn, task);
}

/* ---- Cordon and drain */

static int find_node(struct turn *turn, const char *name, struct node **ret, struct error *err)
{
        AUTO(mem_freep)
        const char **names = mem_alloc((HASH_COUNT(turn->c->nodes) + 1) * sizeof *names);
        const char *nearest;

        *ret = node_find(turn->c, name);
        if (*ret != NULL)
                return 0;
        for (size_t i = 0; i < HASH_COUNT(turn->c->nodes); i++)
                names[i] = turn->c->by_name[i]->status.name;
        nearest = text_nearest(name, names);
        if (nearest != NULL)
                return error_set(
                        err, ERR_NOT_FOUND, "no node \"%s\"; did you mean \"%s\"?", name, nearest);
        return error_set(err, ERR_NOT_FOUND, "no node \"%s\"", name);
}

/* What may be placed there has changed, or what has to go. */
static void node_changed(struct turn *turn, struct node *node)
{
        node_mark_freed(turn->c, node);
        pins_mark_node(turn->c, node);
        node_recount(turn->c, node);
        node_set_due(turn->c, node);
        rows_write_node(turn->effects, node);
        turn->c->changes++;
}

int leave_handle_cordon(struct turn *turn, const struct cluster_event *event, struct error *err)
{
        struct node *node;

        if (find_node(turn, event->target, &node, err) < 0)
                return -1;
        if (node->draining && !event->on)
                return error_set(
                        err, ERR_CONFLICT, "node %s is drained: end that first", node->status.name);
        if (node->cordoned == event->on)
                return 0;
        node->cordoned = event->on;
        node_changed(turn, node);
        node_say(turn, EVENT_NODE_CORDONED, node,
                event->on ? "gets no new tasks: a person closed it" : "is open for tasks again");
        return 0;
}

static void begin_drain(struct turn *turn, struct node *node, usec_t deadline)
{
        char span[TIME_TEXT_MAX], text[120];

        node->draining = node->cordoned = true;
        node->drain_deadline = deadline == 0 ? USEC_NEVER : turn->now + deadline;
        node_changed(turn, node);
        if (deadline == 0)
                snprintf(text, sizeof text, "is drained by a person: %" PRIi64 " task%s to leave",
                        node->status.tasks, node->status.tasks == 1 ? "" : "s");
        else
                snprintf(text, sizeof text,
                        "is drained by a person: %" PRIi64 " task%s to leave within %s",
                        node->status.tasks, node->status.tasks == 1 ? "" : "s",
                        time_format_exact(span, deadline));
        node_say(turn, EVENT_NODE_DRAINING, node, text);
        leave_check_drained(turn, node);
}

int leave_handle_drain(struct turn *turn, const struct cluster_event *event, struct error *err)
{
        struct node *node;

        if (find_node(turn, event->target, &node, err) < 0)
                return -1;
        if (event->on) {
                begin_drain(turn, node, event->deadline);
                return 0;
        }
        if (!node->draining)
                return 0;
        node->draining = node->drained = node->cordoned = false;
        node->drain_deadline = USEC_NEVER;
        node_changed(turn, node);
        node_say(turn, EVENT_NODE_CORDONED, node, "is open for tasks again");
        return 0;
}

size_t leave_tasks_left(const struct node *node)
{
        const struct task *task;
        size_t left = HASH_COUNT(node->strangers);

        DL_FOREACH2 (node->tasks, task, node_next)
                left += task->state != TASK_ENDED;
        return left;
}

void leave_check_drained(struct turn *turn, struct node *node)
{
        if (!node->draining || node->drained || leave_tasks_left(node) > 0)
                return;
        node->drained = true;
        node_set_due(turn->c, node);
        rows_write_node(turn->effects, node);
        node_say(turn, EVENT_NODE_DRAINED, node, "is drained: nothing runs there any more");
}

static void leave_drained(struct turn *turn, struct task *task, const char *why)
{
        AUTO(mem_freep)
        char *text = mem_printf("leaves node %s: %s", task->node->status.name, why);

        say_left(turn, EVENT_TASK_MOVED, task, text);
        task_leave(turn, task);
}

/* Those that will take room elsewhere, and have not yet. */
static size_t on_their_way(const struct job *job)
{
        size_t n = job->counts[MARK_UNPLACED];
        const struct task *task;

        JOB_FOREACH_TASK (job, task)
                n += task->moving && task->node != NULL && task->state != TASK_ENDED;
        return n;
}

size_t leave_room(struct turn *turn, const struct job *job, uint32_t version, size_t wanted,
        struct place_refusals *refusals)
{
        size_t taken = on_their_way(job), found;
        AUTO(mem_freep) struct choice *choices = mem_alloc((wanted + taken + 1) * sizeof *choices);

        found = place_choose_version(turn->c, job, version, turn->c->by_name,
                HASH_COUNT(turn->c->nodes), wanted + taken, choices, refusals);
        return found > taken ? found - taken : 0;
}

/* Of those that shall be up; what has failed for good is nobody's to wait for. */
size_t leave_tasks_down(const struct job *job)
{
        return job->counts[MARK_WANTED] - job->counts[MARK_SETTLED] - job->counts[MARK_MOVABLE] -
               job->counts[MARK_ENDED_BADLY];
}

uint32_t leave_next_version(const struct task *task)
{
        return task_is_held(task) ? task->desire.version : job_version_number(task->job);
}

/* Those of lost nodes are down already: as many as find a place. */
static size_t leave_lost(struct turn *turn, struct job *job, uint32_t version, size_t room)
{
        struct task *task;

        JOB_FOREACH_TASK (job, task) {
                AUTO(mem_freep) char *text = NULL;

                if (room == 0)
                        break;
                if (!task->overdue || !task_wanted(job, task) ||
                        leave_next_version(task) != version)
                        continue;
                text = mem_printf(
                        "is placed anew: node %s has not been heard from", task->node->status.name);
                say_left(turn, EVENT_TASK_LOST, task, text);
                task_queue_anew(turn, task);
                room--;
        }
        return room;
}

static void leave_next_drained(struct turn *turn, struct job *job, uint32_t version, size_t room)
{
        uint32_t parallel = job_current_spec(job)->update.parallel;
        struct task *task;

        JOB_FOREACH_TASK (job, task) {
                if (leave_tasks_down(job) >= parallel || room == 0)
                        return;
                if ((task->marks & BIT(MARK_DISPLACED)) == 0 || !task->node->connected ||
                        leave_next_version(task) != version)
                        continue;
                leave_drained(turn, task,
                        task->node->draining ? "it is drained" : "a person evens out the nodes");
                room--;
        }
}

/* The lowest beyond @after that displaced tasks will have; 0: there is none. */
static uint32_t next_displaced(const struct job *job, uint32_t after)
{
        const struct task *task;
        uint32_t next = 0;

        JOB_FOREACH_TASK (job, task) {
                uint32_t version = leave_next_version(task);

                if ((task->marks & BIT(MARK_DISPLACED)) != 0 && version > after &&
                        (next == 0 || version < next))
                        next = version;
        }
        return next;
}

void leave_advance(struct turn *turn, struct job *job)
{
        uint32_t version = 0;
        size_t room;

        while (job->counts[MARK_DISPLACED] > 0 && (version = next_displaced(job, version)) != 0) {
                room = leave_room(turn, job, version, job->counts[MARK_DISPLACED], NULL);
                room = leave_lost(turn, job, version, room);
                leave_next_drained(turn, job, version, room);
        }
}

void leave_retry(struct turn *turn)
{
        struct task *task;

        if (turn->c->displaced == 0)
                return;
        for (struct node *node = turn->c->nodes; node != NULL; node = node->hh.next)
                if (node->draining || node->status.state == NODE_LOST)
                        DL_FOREACH2 (node->tasks, task, node_next)
                                if ((task->marks & BIT(MARK_DISPLACED)) != 0)
                                        job_touch(turn->c, task->job);
}

void leave_deadline(struct turn *turn, struct node *node)
{
        struct task *task, *next;

        node->drain_deadline = USEC_NEVER;
        rows_write_node(turn->effects, node);
        DL_FOREACH_SAFE2 (node->tasks, task, next, node_next)
                if ((task->marks & BIT(MARK_DISPLACED)) != 0)
                        leave_drained(turn, task, "the time for its drain is over");
}

/* ---- Move */

int leave_handle_move(struct turn *turn, const struct cluster_event *event, struct error *err)
{
        struct job *job;
        struct task *task;

        if (cluster_find_target(turn->c, event->target, &job, &task, err) < 0)
                return -1;
        if (task == NULL)
                return error_set(err, ERR_INVALID, "%s is a job; its first task is %s.0",
                        event->target, job->name);
        if (task->node == NULL || task->state == TASK_ENDED || !task_wanted(job, task))
                return error_set(
                        err, ERR_CONFLICT, "task %s runs nowhere, and cannot move", event->target);
        if (job_spec_per_node(job_current_spec(job)))
                return error_set(err, ERR_CONFLICT, "task %s belongs to node %s (kind %s)",
                        event->target, task->node->status.name,
                        job_kind_names[job_current_spec(job)->kind]);
        task->ousted = true;
        task_touch(turn->c, job, task);
        task_recount(job, task);
        return 0;
}

/* ---- Forget */

static void settle_forgotten(struct turn *turn, struct task *task)
{
        struct job *job = task->job;

        if (task->state == TASK_ENDED || !task_wanted(job, task)) {
                if (task->state != TASK_ENDED)
                        task_settle_gone(turn, job, task);
                task_set_node(task, NULL);
                task_touch(turn->c, job, task);
                task_recount(job, task);
                task_let_go(turn, job, task);
                return;
        }
        say_left(turn, EVENT_TASK_LOST, task, "is placed anew: a person had its node forgotten");
        task_queue_anew(turn, task);
}

/* Nobody can say that a machine is off which a person calls gone; a lease can be waited for. */
static int check_leases(const struct turn *turn, const struct node *node, struct error *err)
{
        const struct task *task;
        char span[TIME_TEXT_MAX];

        DL_FOREACH2 (node->tasks, task, node_next)
                if (task->state != TASK_ENDED && lease_end(task) > turn->now)
                        return error_set(err, ERR_CONFLICT,
                                "node %s may still run %s.%" PRIu32
                                ", a singleton, until its lease ends in %s: try again then",
                                node->status.name, task->job->name, task->index,
                                time_format_span(span, lease_end(task) - turn->now));
        return 0;
}

int leave_handle_forget(struct turn *turn, const struct cluster_event *event, struct error *err)
{
        struct node *node;
        struct task *task, *next;

        if (find_node(turn, event->target, &node, err) < 0)
                return -1;
        if (node->connected)
                return error_set(err, ERR_CONFLICT,
                        "node %s is connected: drain it and stop its agent first",
                        node->status.name);
        if (check_leases(turn, node, err) < 0)
                return -1;
        pins_forget_node(turn, node);
        DL_FOREACH_SAFE2 (node->tasks, task, next, node_next)
                settle_forgotten(turn, task);
        node_say(turn, EVENT_NODE_FORGOTTEN, node, "is forgotten: a person asked for it");
        rows_delete_node(turn->effects, node);
        node_free(turn->c, node);
        return 0;
}
