/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "base/arena.h"
#include "core/cluster-internal.h"
#include "core/plan.h"

/* What the files of `plan` share. */

enum plan_action {
        PLAN_START,
        PLAN_STOP,
        PLAN_MOVE,
        PLAN_REPLACE,
        PLAN_IN_PLACE,
        PLAN_PROMOTE,
        PLAN_REJECT,
};

/* A job of the plan: one that is applied, or one that is touched by that. */
struct plan_job {
        const char *name;      /* in the arena */
        struct job_spec *spec; /* that is applied; NULL: it is only touched */
        bool existed, unchanged;
        uint32_t version;
        uint32_t count_before; /* tasks with an index from there are new or stand in */
        struct job_diff diff;
        const char *cause, *cause_in_place; /* of new runs, of changes without */
        int64_t before, ready, least;       /* tasks that are ready */
        size_t waited;                      /* for a node, before */
        UT_hash_handle hh;                  /* in the order in which they came in */
};

struct plan_step {
        struct plan_job *job;
        const char *task; /* NULL: the job */
        const char *node, *from;
        const char *reason, *choice;
        enum plan_action action;
        usec_t at;
};

/* By the id of a task: in `told` what its virtual agent was told last and how many reports that and
 * what was told before are due; in `leaving` the step with which it left its node; in `whys` why,
 * as the last turn said. */
struct plan_task {
        char *id;
        struct task_desire desire;
        size_t due;
        bool down; /* it was ready and is not */
        size_t step;
        const char *why;
        UT_hash_handle hh;
};

/* What a virtual agent was told. */
struct plan_message {
        struct plan_task *told;
        char *node;
        struct task_desire desire;
        struct plan_message *prev, *next;
};

struct plan {
        struct cluster *c;
        usec_t now, begun;
        uint64_t index; /* of the last event before the plan */
        struct cluster_effects fx;
        struct plan_message *messages; /* not reported yet, in their order */
        struct plan_task *told, *leaving, *whys;
        struct plan_job *jobs;
        struct plan_step *steps;
        size_t steps_len, steps_allocated;
        bool recording; /* what was under way has come to its end */
        struct arena texts;
};

const char *plan_text(struct plan *p, const char *format, ...) PRINTF_LIKE(2, 3);

/* plan-words.c: why, in words; of the plan's arena. */
/* After a turn: the reasons that its events give. */
void plan_note_whys(struct plan *p);
const char *plan_why_start(struct plan *p, const struct plan_job *job, const struct task *task);
const char *plan_why_stop(struct plan *p, const struct plan_job *job, const struct task *task);
const char *plan_why_moves(struct plan *p, const struct task *task);
const char *plan_why_changes(
        struct plan *p, struct plan_job *job, const struct task *task, bool new_run);

/* plan-write.c */
void plan_write(struct plan *p, struct buffer *out);

/* plan-fit.c: what waits for a node, and what would help it. Uses the copy up. */
void plan_put_waits(struct plan *p, struct buffer *out);
/* {"like", "count"} or null */
void plan_put_more_nodes(struct plan *p, struct buffer *out);
