/* SPDX-License-Identifier: BSD-3-Clause */
/* Preempt: a job makes room for itself by having tasks of lower priority leave.
 *
 * It is the last resort: asked for when the queue has found no room on any node, and only for jobs
 * that say `queue.preempt`. Of the nodes where it would fit without tasks of lower priority, those
 * are taken where the highest priority among the victims is lowest, then those with the fewest
 * victims. On a node the victims of lowest priority go first, the youngest of these first, and no
 * more than needed. They are placed anew like others that leave a node.
 *
 * Until the job has been placed there, what becomes free on the node is kept for it (kept_for)
 * against all of no higher priority; if one of higher priority has taken it, it is tried anew. One
 * task at a time per node: what a job of many tasks still
 * lacks is looked at again when these have their place. A gang has nobody leave unless that is
 * enough for all of it. */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/preempt.h"

struct offer { /* what a node would cost */
        struct node *node;
        uint32_t priority; /* the highest among the victims */
        uint32_t victims;
};

static uint32_t priority_of(const struct task *task)
{
        return job_current_spec(task->job)->priority;
}

/* Without that job's tasks there it would not be wanted there itself. */
static bool goes_with(const struct job *job, const struct job *other)
{
        const char *with = job_current_spec(job)->place.with;

        return with != NULL && strcmp(with, other->name) == 0;
}

static bool is_victim(const struct job *job, const struct task *task)
{
        return !goes_with(job, task->job) && task->held != NULL && task->desire.run &&
               !task->moving && priority_of(task) < job_current_spec(job)->priority &&
               !job_spec_per_node(job_current_spec(task->job));
}

static int compare_victims(const void *a, const void *b)
{
        const struct task *x = *(struct task *const *) a, *y = *(struct task *const *) b;
        uint32_t p = priority_of(x), q = priority_of(y);

        if (p != q)
                return p < q ? -1 : 1;
        if (x->since != y->since)
                return x->since > y->since ? -1 : 1;
        return x->index > y->index ? -1 : x->index < y->index;
}

/* The tasks on @node that the job could have leave, in the order in which they would; freed by the
 * caller. */
static struct task **victims_on(const struct job *job, const struct node *node, size_t *ret_len)
{
        struct task **all, *task;
        size_t len = 0;

        DL_FOREACH2 (node->tasks, task, node_next)
                len += is_victim(job, task);
        all = mem_alloc((len + 1) * sizeof(struct task *));
        *ret_len = len;
        len = 0;
        DL_FOREACH2 (node->tasks, task, node_next)
                if (is_victim(job, task))
                        all[len++] = task;
        qsort(all, len, sizeof(struct task *), compare_victims);
        return all;
}

static uint64_t plus(uint64_t free, uint64_t more)
{
        return free == AMOUNT_UNKNOWN ? free : free + more;
}

struct room {
        struct amounts free;
        size_t ports;
        bool tag_free;
};

static void add_amounts(struct room *room, const struct amounts *of)
{
        room->free.cpu = plus(room->free.cpu, of->cpu);
        room->free.memory = plus(room->free.memory, of->memory);
        room->free.disk = plus(room->free.disk, of->disk);
}

static void add_to_room(struct room *room, const struct demand *of, const struct tag *tag)
{
        add_amounts(room, &of->amounts);
        room->ports += of->ports;
        room->tag_free |= tag != NULL && of->exclusive == tag;
}

/* What there is, with what is leaving anyway. */
static struct room room_on(const struct node *node, const struct demand *d)
{
        struct room room = { .free = node_free_amounts(node),
                .ports = node_free_ports(node),
                .tag_free = !node_has_tag(node, d->exclusive) };
        const struct stranger *stranger;
        const struct task *task;

        DL_FOREACH2 (node->tasks, task, node_next)
                if (task->moving && task->held != NULL)
                        add_to_room(&room, task->held, d->exclusive);
        for (stranger = node->strangers; stranger != NULL; stranger = stranger->hh.next) {
                add_amounts(&room, &stranger->amounts);
                room.ports += stranger->ports_len;
                room.tag_free |= d->exclusive != NULL && stranger->exclusive == d->exclusive;
        }
        return room;
}

static bool fits(const struct room *room, const struct demand *d)
{
        return room->free.cpu >= d->amounts.cpu && room->free.memory >= d->amounts.memory &&
               room->free.disk >= d->amounts.disk && room->ports >= d->ports && room->tag_free;
}

/* How many of @victims, from the front, have to go; SIZE_MAX if it fits without none of them. */
static size_t count_needed(
        const struct node *node, const struct demand *d, struct task *const *victims, size_t len)
{
        struct room room = room_on(node, d);

        for (size_t n = 0; n <= len; n++) {
                if (fits(&room, d))
                        return n;
                if (n < len)
                        add_to_room(&room, victims[n]->held, d->exclusive);
        }
        return SIZE_MAX;
}

static bool is_about_room(enum refusal why)
{
        return why == REFUSAL_CPU || why == REFUSAL_MEMORY || why == REFUSAL_DISK ||
               why == REFUSAL_PORTS || why == REFUSAL_TASKS || why == REFUSAL_EXCLUSIVE;
}

static const struct demand *newest_demand(const struct job *job)
{
        return job->versions[job->versions_len - 1].demand;
}

static bool make_offer(struct cluster *c, struct job *job, struct node *node, struct offer *ret)
{
        AUTO(mem_freep) struct task **victims = NULL;
        size_t len, needed;

        if (job_per_node(job) && !pins_waits_on(job, node))
                return false;
        if (node->kept_for != NULL || !is_about_room(place_refusal(c, job, node, NULL)))
                return false;
        victims = victims_on(job, node, &len);
        needed = count_needed(node, newest_demand(job), victims, len);
        if (needed == SIZE_MAX)
                return false;
        *ret = (struct offer){ .node = node, .victims = (uint32_t) needed };
        for (size_t i = 0; i < needed; i++)
                ret->priority = MAX(ret->priority, priority_of(victims[i]) + 1);
        return true;
}

static int compare_offers(const void *a, const void *b)
{
        const struct offer *x = a, *y = b;

        if (x->priority != y->priority)
                return x->priority < y->priority ? -1 : 1;
        if (x->victims != y->victims)
                return x->victims < y->victims ? -1 : 1;
        return x->node->order < y->node->order ? -1 : 1;
}

static void say_preempted(struct turn *turn, const struct task *task, const struct job *job)
{
        AUTO(mem_freep) char *id = mem_printf("%s.%" PRIu32, task->job->name, task->index);
        AUTO(mem_freep)
        char *text = mem_printf("%s leaves node %s to make room for %s (priority %" PRIu32
                                " before %" PRIu32 ")",
                id, task->node->status.name, job->name, job_current_spec(job)->priority,
                priority_of(task));

        turn_publish(turn, &(struct event){ .kind = EVENT_TASK_PREEMPTED,
                                   .job = task->job->name,
                                   .task = id,
                                   .node = task->node->status.name,
                                   .version = job_version_number(task->job),
                                   .run = RECORD_NULL,
                                   .message = text });
}

static void take(struct turn *turn, struct job *job, const struct offer *offer)
{
        size_t len;
        AUTO(mem_freep) struct task **victims = victims_on(job, offer->node, &len);

        offer->node->kept_for = job;
        job->keeps++;
        for (size_t i = 0; i < offer->victims; i++) {
                say_preempted(turn, victims[i], job);
                task_leave(turn, victims[i]);
        }
}

/* Tasks of a gang that had a place if the others had one, too. */
static size_t fitting(struct cluster *c, const struct job *job)
{
        AUTO(mem_freep) struct choice *choices = NULL;

        if (!job_current_spec(job)->place.gang)
                return 0;
        choices = mem_alloc((job->unmet + 1) * sizeof *choices);
        return place_choose(c, job, c->by_name, HASH_COUNT(c->nodes), job->unmet, choices, NULL);
}

void preempt_for(struct turn *turn, struct job *job)
{
        struct cluster *c = turn->c;
        size_t nodes = HASH_COUNT(c->nodes), len = 0, needed;
        AUTO(mem_freep) struct offer *offers = NULL;

        if (!job_current_spec(job)->queue.preempt || job->unmet <= job->keeps)
                return;
        needed = job->unmet - fitting(c, job);
        if (needed <= job->keeps)
                return;
        offers = mem_alloc((nodes + 1) * sizeof *offers);
        for (size_t i = 0; i < nodes; i++)
                len += make_offer(c, job, c->by_name[i], &offers[len]);
        if (job_current_spec(job)->place.gang && len + job->keeps < needed)
                return;
        qsort(offers, len, sizeof *offers, compare_offers);
        for (size_t i = 0; i < len && job->keeps < needed; i++)
                take(turn, job, &offers[i]);
}

void preempt_release(struct job *job, struct node *node)
{
        if (node->kept_for != job)
                return;
        node->kept_for = NULL;
        job->keeps--;
        node_mark_freed(job->cluster, node);
}

void preempt_put(const struct task *task)
{
        struct node *node = task->node;
        const struct demand *d;
        struct room room;

        preempt_release(task->job, node);
        if (node->kept_for == NULL)
                return;
        d = newest_demand(node->kept_for);
        room = room_on(node, d);
        if (!fits(&room, d))
                preempt_release(node->kept_for, node);
}

void preempt_release_all(struct job *job)
{
        for (struct node *node = job->cluster->nodes; node != NULL && job->keeps > 0;
                node = node->hh.next)
                preempt_release(job, node);
}
