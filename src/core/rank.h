/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "core/cluster-internal.h"

/* Candidates in the order in which they are chosen. Internal to place.c, whose essay has the rules.
 */

struct candidate {
        struct node *node;
        uint32_t group;                  /* the value of `spread` that it has */
        int32_t preference;              /* rule 1 */
        uint32_t job_tasks, load, tasks; /* rules 3 to 5, with what it got in this pass */
        uint32_t taken;                  /* tasks that it got in this pass */
};

struct ranking {
        bool pack;
        bool by_job_tasks;            /* rule 3 is asked */
        struct candidate *candidates; /* in the order of their names: rule 6 */
        uint32_t len;
        struct group *groups;
        uint32_t groups_len, groups_allocated;
        struct rank *ranks; /* a heap for each group, one behind the other */
        uint32_t *heap;     /* of the groups that have candidates left */
        uint32_t heap_len;
};

uint32_t ranking_add_group(struct ranking *r);
void ranking_add_group_task(struct ranking *r, uint32_t group); /* rule 2 */

/* All candidates and groups are there. No more than @wanted will be given a task. */
void ranking_begin(struct ranking *r, size_t wanted);

/* The best candidate, or NULL, and the rule by which it beats the next best. */
struct candidate *ranking_best(const struct ranking *r, enum choice_rule *ret_rule);

/* The best one got a task, which its members tell: it is ranked anew, or is none any more. */
void ranking_settle(struct ranking *r, bool stays);

void ranking_done(struct ranking *r);
