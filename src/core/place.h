/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "core/cluster-internal.h"

/* Which nodes the tasks of a job go to. Internal to the cluster. */

/* Why a node does not take a task, in the order in which it is asked. */
enum refusal {
        REFUSAL_NONE,
        REFUSAL_NODE, /* the spec names another one */
        REFUSAL_AWAY,
        REFUSAL_CORDONED,
        REFUSAL_ZONE,
        REFUSAL_CONSTRAINT,
        REFUSAL_EXCLUSIVE,
        REFUSAL_KEPT, /* for a job that made room there for itself */
        REFUSAL_CPU,
        REFUSAL_MEMORY,
        REFUSAL_DISK,
        REFUSAL_PORTS,
        REFUSAL_TASKS,
        REFUSAL_COUNT
};

/* Why so many nodes do not take a task. */
struct place_refusals {
        size_t nodes; /* that were asked */
        size_t refused[REFUSAL_COUNT];
        uint32_t constraint;      /* of the first that refused by one */
        struct amounts most_free; /* among those that have too little of it */
};

struct choice {
        struct node *node;
        enum choice_rule rule;
        uint32_t fitting; /* how many nodes there were to choose from */
        uint16_t load;    /* thousandths, with the task */
};

/* Chooses nodes for @wanted more tasks of the job's newest version, of @nodes, which are in the
 * order of cluster.by_name, best first. Returns for how many there was one; so many elements of
 * @ret are filled. Changes nothing. @refusals: NULL, or zeroed: why others were not chosen. */
size_t place_choose(struct cluster *c, const struct job *job, struct node *const *nodes, size_t len,
        size_t wanted, struct choice *ret, struct place_refusals *refusals);

/* The same for tasks of @version. */
size_t place_choose_version(struct cluster *c, const struct job *job, uint32_t version,
        struct node *const *nodes, size_t len, size_t wanted, struct choice *ret,
        struct place_refusals *refusals);

/* Why the task, which is on a node, cannot stay there with the job's newest version; REFUSAL_NONE
 * if it can. */
enum refusal place_stays(struct cluster *c, const struct task *task);

/* Why @node does not take one more task of the job; REFUSAL_NONE if it does. */
enum refusal place_refusal(
        struct cluster *c, const struct job *job, struct node *node, uint32_t *ret_constraint);

/* Why @node does not take this task, with the version that it shall have: also as a sentence, "node
 * a has too little memory free (...)", appended to @why, and counted in @refusals. */
enum refusal place_refuse(struct cluster *c, const struct task *task, struct node *node,
        struct place_refusals *refusals, struct buffer *why);

/* All that is against it, not only the first. */
struct place_answer {
        unsigned refusals;    /* bits of enum refusal */
        uint32_t constraint;  /* the first that does not hold */
        uint32_t constraints; /* how many do not */
        struct amounts free;
};
void place_ask(
        struct cluster *c, const struct job *job, struct node *node, struct place_answer *ret);

/* Whether the job's spec allows the node, be it full or away. */
bool place_allows(struct cluster *c, const struct job *job, struct node *node);

extern const char *const choice_rule_texts[]; /* by enum choice_rule */

/* "0.5"; "1.5GiB", rounded down to what people write */
void place_put_cpu(struct buffer *b, uint64_t cpu);
void place_put_size(struct buffer *b, uint64_t bytes);

/* "no node fits: of 40 nodes 3 are not connected, 30 have too little memory free (...)" */
void place_put_refusals(
        struct buffer *b, const struct job_spec *spec, const struct place_refusals *r);
