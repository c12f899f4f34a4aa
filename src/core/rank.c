/* SPDX-License-Identifier: BSD-3-Clause */
/* Rank: candidates in the order in which they are chosen (the rules are in place.c).
 *
 * What rules 1 and 3 to 6 say of a candidate is packed into two numbers, the smaller the better, so
 * that two candidates of one group are compared at once. The candidates of a group stand in a heap
 * of such ranks, and the groups in a heap by their best candidates, where rule 2 comes in between.
 * A choice changes the rank of one candidate, which is the best of the best group, and the number
 * of tasks of that group: so one place in each of the two heaps has to be put right, whatever the
 * number of candidates and groups.
 *
 * A few tasks can only go to the first few candidates: of one group no more are ranked than there
 * are tasks, and one, which is the next best when the last task is given away. */

#include "core/rank.h"

#include <stdlib.h>

#define TASKS_BITS 17 /* up to NODE_TASKS_MAX */
#define LOAD_MAX   1000

struct rank {
        uint64_t first; /* preference, tasks of the job */
        uint64_t then;  /* load, tasks, number of the candidate */
};

struct group {
        struct rank *heap;
        uint32_t len;
        uint32_t tasks; /* of the job, on nodes with this value */
};

/* ---- Ranks */

static struct rank rank_of(const struct ranking *r, uint32_t i)
{
        const struct candidate *at = &r->candidates[i];
        uint32_t preference = (uint32_t) INT32_MAX - (uint32_t) at->preference;
        uint64_t load = r->pack ? LOAD_MAX - at->load : at->load;
        uint64_t tasks = r->pack ? NODE_TASKS_MAX - at->tasks : at->tasks;

        return (struct rank){
                .first = (uint64_t) preference << 32 | (r->by_job_tasks ? at->job_tasks : 0),
                .then = load << (32 + TASKS_BITS) | tasks << 32 | i,
        };
}

static bool rank_before(const struct rank *a, const struct rank *b)
{
        return a->first != b->first ? a->first < b->first : a->then < b->then;
}

static uint32_t preference_of(const struct rank *rank)
{
        return (uint32_t) (rank->first >> 32);
}

static bool group_before(const struct group *a, const struct group *b)
{
        if (a->tasks != b->tasks && preference_of(a->heap) == preference_of(b->heap))
                return a->tasks < b->tasks;
        return rank_before(a->heap, b->heap);
}

/* The first rule by which they differ: @a is the best of @g, @b of the same or another group. */
static enum choice_rule first_difference(
        const struct rank *a, const struct group *g, const struct rank *b, const struct group *of_b)
{
        if (preference_of(a) != preference_of(b))
                return CHOICE_PREFERRED;
        if (g->tasks != of_b->tasks)
                return CHOICE_SPREAD;
        if (a->first != b->first)
                return CHOICE_JOB_TASKS;
        if (a->then >> (32 + TASKS_BITS) != b->then >> (32 + TASKS_BITS))
                return CHOICE_LOAD;
        return a->then >> 32 != b->then >> 32 ? CHOICE_TASKS : CHOICE_NAME;
}

/* ---- The heaps */

static void sift_rank(struct rank *heap, uint32_t len, uint32_t at)
{
        struct rank rank = heap[at];

        for (uint32_t child; (child = at * 2 + 1) < len; at = child) {
                if (child + 1 < len && rank_before(&heap[child + 1], &heap[child]))
                        child++;
                if (!rank_before(&heap[child], &rank))
                        break;
                heap[at] = heap[child];
        }
        heap[at] = rank;
}

static void sift_group(struct ranking *r, uint32_t at)
{
        uint32_t group = r->heap[at];

        for (uint32_t child; (child = at * 2 + 1) < r->heap_len; at = child) {
                if (child + 1 < r->heap_len &&
                        group_before(&r->groups[r->heap[child + 1]], &r->groups[r->heap[child]]))
                        child++;
                if (!group_before(&r->groups[r->heap[child]], &r->groups[group]))
                        break;
                r->heap[at] = r->heap[child];
        }
        r->heap[at] = group;
}

/* The worst on top. */
static void sift_worst(struct rank *heap, uint32_t len, uint32_t at)
{
        struct rank rank = heap[at];

        for (uint32_t child; (child = at * 2 + 1) < len; at = child) {
                if (child + 1 < len && rank_before(&heap[child], &heap[child + 1]))
                        child++;
                if (!rank_before(&rank, &heap[child]))
                        break;
                heap[at] = heap[child];
        }
        heap[at] = rank;
}

/* Of the only group, the @most best candidates. */
static void fill_best(struct ranking *r, uint32_t most)
{
        struct rank *heap = r->ranks = mem_resize(NULL, most, sizeof r->ranks[0]);

        r->groups[0].heap = heap;
        r->groups[0].len = most;
        for (uint32_t i = 0; i < most; i++)
                heap[i] = rank_of(r, i);
        for (uint32_t at = most / 2; at-- > 0;)
                sift_worst(heap, most, at);
        for (uint32_t i = most; i < r->len; i++) {
                struct rank rank = rank_of(r, i);

                if (rank_before(&rank, &heap[0])) {
                        heap[0] = rank;
                        sift_worst(heap, most, 0);
                }
        }
}

/* Ranks side by side, group by group. */
static void fill(struct ranking *r)
{
        struct rank *next;

        r->ranks = next = mem_resize(NULL, r->len, sizeof r->ranks[0]);
        for (uint32_t i = 0; i < r->len; i++)
                r->groups[r->candidates[i].group].len++;
        for (uint32_t i = 0; i < r->groups_len; i++) {
                r->groups[i].heap = next;
                next += r->groups[i].len;
                r->groups[i].len = 0;
        }
        for (uint32_t i = 0; i < r->len; i++) {
                struct group *g = &r->groups[r->candidates[i].group];

                g->heap[g->len++] = rank_of(r, i);
        }
}

void ranking_begin(struct ranking *r, size_t wanted)
{
        if (r->groups_len == 1 && wanted + 1 < r->len / 2)
                fill_best(r, (uint32_t) wanted + 1);
        else
                fill(r);
        r->heap = mem_resize(NULL, r->groups_len, sizeof r->heap[0]);
        for (uint32_t i = 0; i < r->groups_len; i++) {
                struct group *g = &r->groups[i];

                for (uint32_t at = g->len / 2; at-- > 0;)
                        sift_rank(g->heap, g->len, at);
                if (g->len > 0)
                        r->heap[r->heap_len++] = i;
        }
        for (uint32_t at = r->heap_len / 2; at-- > 0;)
                sift_group(r, at);
}

void ranking_done(struct ranking *r)
{
        free(r->candidates);
        free(r->groups);
        free(r->ranks);
        free(r->heap);
}

/* ---- Groups */

uint32_t ranking_add_group(struct ranking *r)
{
        if (r->groups_len == r->groups_allocated) {
                r->groups_allocated = MAX(r->groups_allocated * 2, 4u);
                r->groups = mem_resize(r->groups, r->groups_allocated, sizeof r->groups[0]);
        }
        r->groups[r->groups_len] = (struct group){ 0 };
        return r->groups_len++;
}

void ranking_add_group_task(struct ranking *r, uint32_t group)
{
        r->groups[group].tasks++;
}

/* ---- Choosing */

/* The next best is the second of its group or the best of the second group, and in a heap the
 * second is one of two. The last rule asked is the one by which it is nearest. */
static enum choice_rule deciding_rule(const struct ranking *r)
{
        const struct group *best = &r->groups[r->heap[0]];
        const struct rank *top = &best->heap[0];
        enum choice_rule rule = CHOICE_PREFERRED;

        if (r->heap_len == 1 && best->len == 1)
                return CHOICE_ONLY;
        for (uint32_t i = 1; i < MIN(best->len, 3u); i++)
                rule = MIN(rule, first_difference(top, best, &best->heap[i], best));
        for (uint32_t i = 1; i < MIN(r->heap_len, 3u); i++) {
                const struct group *other = &r->groups[r->heap[i]];

                rule = MIN(rule, first_difference(top, best, &other->heap[0], other));
        }
        return rule;
}

struct candidate *ranking_best(const struct ranking *r, enum choice_rule *ret_rule)
{
        if (r->heap_len == 0)
                return NULL;
        *ret_rule = deciding_rule(r);
        return &r->candidates[(uint32_t) r->groups[r->heap[0]].heap[0].then];
}

void ranking_settle(struct ranking *r, bool stays)
{
        struct group *g = &r->groups[r->heap[0]];

        g->tasks++;
        g->heap[0] = stays ? rank_of(r, (uint32_t) g->heap[0].then) : g->heap[--g->len];
        sift_rank(g->heap, g->len, 0);
        if (g->len == 0)
                r->heap[0] = r->heap[--r->heap_len];
        sift_group(r, 0);
}
