/* SPDX-License-Identifier: BSD-3-Clause */
/* Cluster: everything the server decides, as a function of state, event and now.
 *
 *   cluster.c          the door: events in, effects out
 *   cluster-command.c  what people and job files ask
 *   cluster-node.c     what agents tell
 *   rebalance.c        which tasks would better be elsewhere
 *   reconcile.c        from what is wanted of a job to what is desired of its tasks
 *   rollout.c          how they come to a new version
 *   pins.c             jobs with one task per node
 *   schedule.c         jobs that begin by a timetable
 *   kinds.c            what batches and templates have beside that
 *   queue.c            jobs with tasks that wait for a node
 *   place.c            which node a task goes to
 *   leave.c            tasks that have to leave their nodes: lost, drained, forgotten
 *   capacity.c         what nodes have, and what tasks take of it
 *   class.c            what a spec asks of the attributes of nodes
 *   rank.c             candidates in the order in which they are chosen
 *   cluster-state.c    the data, its counts, and the state word of a job
 *   cluster-status.c   what readers see
 *   cluster-rows.c     what is stored, and how it comes back
 *   effects.c          the effects, as data
 *
 * One event is one turn. A handler checks, changes the state, appends effects, and marks the jobs
 * it touched; turn_advance() then does what follows for these (place, go on with the rollout,
 * finish a removal) and writes their rows. All writes of a turn belong into one batch: whoever is
 * killed between two turns finds a state in which every decision was taken completely.
 *
 * The caller commits the writes before it sends assignments and publishes events. An assignment
 * that was never sent does no harm: an agent that connects tells what it has, and is told what
 * differs.
 *
 * Time comes in with the event, and is used for texts, `since` and the moment at which a node
 * counts as lost. Loop thread only. */

#include <stdlib.h>

#include "core/cluster-internal.h"

struct cluster *cluster_new(void)
{
        struct cluster *c = mem_alloc(sizeof *c);

        c->lost_after = CLUSTER_LOST_AFTER;
        return c;
}

void cluster_set_lost_after(struct cluster *c, usec_t span)
{
        c->lost_after = span;
}

void cluster_free(struct cluster *c)
{
        if (c == NULL)
                return;
        while (c->jobs != NULL)
                job_free(c, c->jobs);
        free(take_ptr(c->by_name)); /* in order only as long as there are all of them */
        c->freed = NULL;
        for (struct node *node = c->nodes; node != NULL; node = node->hh.next)
                node->freed = false;
        while (c->nodes != NULL)
                node_free(c, c->nodes);
        schedule_done(c);
        free(c->ports_text);
        timers_done(&c->timers);
        free(c);
}

/* Deadlines are points in time of the wall clock: when that is set they move with it. */
static void set_clock(struct cluster *c, int64_t by)
{
        timers_shift(&c->timers, by);
        for (struct node *node = c->nodes; node != NULL; node = node->hh.next) {
                node->heard += (usec_t) by;
                node->leased += (usec_t) by;
                if (node->drain_deadline != USEC_NEVER)
                        node->drain_deadline += (usec_t) by;
        }
        c->returning_until += (usec_t) by;
        for (struct job *job = c->jobs; job != NULL; job = job->hh.next)
                rollout_set_clock(job, by);
        kinds_clock_set(c, by);
        c->clock_was_set = true;
}

/* What is stored has to move with the clock, too; rows of jobs are marked. */
static void write_times(struct turn *turn)
{
        const struct node *node = turn->c->nodes;

        for (; node != NULL && turn->c->clock_was_set; node = node->hh.next)
                if (node->drain_deadline != USEC_NEVER || node->status.state == NODE_LOST)
                        rows_write_node(turn->effects, node);
        turn->c->clock_was_set = false;
}

/* Agents look for a server that was away at longer and longer intervals, and thousands that come at
 * once are not all heard at once: as long as some still come, all others may. */
usec_t node_lost_at(const struct cluster *c, const struct node *node)
{
        return (node->awaited ? MAX(node->heard, c->returning_until) : node->heard) + c->lost_after;
}

void node_set_due(struct cluster *c, struct node *node)
{
        usec_t at = USEC_NEVER;

        if (node->status.state == NODE_LOST)
                at = leave_next(node);
        else if (!node->connected)
                at = node_lost_at(c, node);
        if (node->draining && node->tasks != NULL)
                at = MIN(at, node->drain_deadline);
        timers_set(&c->timers, &node->due, at);
}

static void node_is_due(struct turn *turn, struct node *node)
{
        if (!node->connected && node->status.state != NODE_LOST &&
                node_lost_at(turn->c, node) <= turn->now)
                node_lose(turn, node);
        if (node->status.state == NODE_LOST)
                leave_node_lost(turn, node);
        if (node->draining && node->drain_deadline <= turn->now)
                leave_deadline(turn, node);
        node_set_due(turn->c, node);
}

/* The rest is done at the end of the turn, as for all that are touched. */
static void job_is_due(struct cluster *c, struct job *job)
{
        timers_set(&c->timers, &job->due, USEC_NEVER);
        job_touch(c, job);
}

static void handle_tick(struct turn *turn)
{
        struct timer *timer;

        if (turn->c->purge_due)
                turn_purge(turn);
        while ((timer = timers_first(&turn->c->timers)) != NULL && timer->at <= turn->now)
                if (timer->owner == TIMER_OF_NODE)
                        node_is_due(turn, container_of(timer, struct node, due));
                else
                        job_is_due(turn->c, container_of(timer, struct job, due));
}

static int handle(struct turn *turn, const struct cluster_event *event, struct error *err)
{
        switch (event->type) {
        case CLUSTER_LOAD:
                return rows_load(turn->c, event->key, event->value, err);
        case CLUSTER_LOADED:
                return rows_loaded(turn, err);
        case CLUSTER_APPLY:
                return cluster_command_apply(turn, event, err);
        case CLUSTER_STOP:
                return cluster_command_stop(turn, event, err);
        case CLUSTER_RESTART:
                return cluster_command_restart(turn, event, err);
        case CLUSTER_SCALE:
                return cluster_command_scale(turn, event, err);
        case CLUSTER_REMOVE:
                return cluster_command_remove(turn, event, err);
        case CLUSTER_NODE_UP:
                node_handle_up(turn, event);
                return 0;
        case CLUSTER_NODE_DOWN:
                return node_handle_down(turn, event, err);
        case CLUSTER_REPORT:
                return node_handle_report(turn, event, err);
        case CLUSTER_NOTE:
                return node_handle_note(turn, event, err);
        case CLUSTER_NOTICE:
                turn_publish(turn, event->note);
                return 0;
        case CLUSTER_TICK:
                handle_tick(turn);
                return 0;
        case CLUSTER_CORDON:
                return leave_handle_cordon(turn, event, err);
        case CLUSTER_DRAIN:
                return leave_handle_drain(turn, event, err);
        case CLUSTER_MOVE:
                return leave_handle_move(turn, event, err);
        case CLUSTER_FORGET:
                return leave_handle_forget(turn, event, err);
        case CLUSTER_PROMOTE:
                return cluster_command_promote(turn, event, err);
        case CLUSTER_REVERT:
                return cluster_command_revert(turn, event, err);
        case CLUSTER_DISPATCH:
                return cluster_command_dispatch(turn, event, err);
        case CLUSTER_CLOCK:
                set_clock(turn->c, event->by);
                return 0;
        }
        return error_set(err, ERR_INVALID, "no such event");
}

int cluster_handle(struct cluster *c, const struct cluster_event *event, usec_t now_wall,
        struct cluster_effects *ret, struct error *err)
{
        struct turn turn = {
                .c = c, .now = now_wall, .effects = ret, .loaded = event->type == CLUSTER_LOADED
        };

        /* the clock was set back, and nobody has said so */
        if (now_wall < c->now && event->type != CLUSTER_CLOCK)
                set_clock(c, (int64_t) now_wall - (int64_t) c->now);
        c->now = now_wall;
        if (handle(&turn, event, err) < 0)
                return -1;
        if (event->type == CLUSTER_LOAD) /* nothing follows from a half of the rows */
                return 0;
        write_times(&turn);
        turn_advance(&turn);
        return 0;
}

usec_t cluster_next_deadline(const struct cluster *c)
{
        const struct timer *first = timers_first(&c->timers);

        if (c->purge_due)
                return 0;
        return first == NULL ? USEC_NEVER : first->at;
}

uint64_t cluster_index(const struct cluster *c)
{
        return c->index;
}

uint64_t cluster_changes(const struct cluster *c)
{
        return c->changes;
}

/* What has ended is kept by an agent that has it, and means nothing to one that does not. */
static void assign_of(const struct task *task, struct cluster_effects *ret)
{
        if (task->state == TASK_ENDED && !task->answered)
                return;
        if (task->namesake)
                effects_forget(
                        ret, task->node->status.name, task_id(task->job, task->index), false);
        effects_assign(ret, task);
}

void cluster_assigns_of(const struct cluster *c, const char *name, struct cluster_effects *ret)
{
        const struct node *node = node_find(c, name);

        const struct task *task;

        if (node == NULL)
                return;
        DL_FOREACH2 (node->tasks, task, node_next)
                assign_of(task, ret);
}
