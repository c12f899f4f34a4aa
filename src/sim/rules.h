/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "sim/sim-internal.h"

/* What the rules remember; rules.c and rest.c share it. */

/* What people were promised about a job. */
struct wish_state {
        bool exists, stopped;
        uint32_t count, version;
        uint32_t surge; /* so many more there may be while a new version comes; of all its specs */
        struct job_spec *spec; /* counted; NULL: none */
        bool *task_stopped;
        size_t task_stopped_len;
};

struct wish {
        char *job;
        struct wish_state live;   /* as the server in memory has accepted it */
        struct wish_state stored; /* as it is committed */
        struct fact **facts;      /* by index; NULL: none */
        size_t facts_len;
        UT_hash_handle hh;
};

/* A wish as it is once the entry is committed: of a command, or of an update that took itself back.
 */
struct wish_change {
        struct wish *wish;
        struct wish_state state;
};

/* What is known of a task. */
struct fact {
        char *id;
        struct wish *wish;
        uint32_t index;
        struct sim_task **live; /* where it has a process; not counted: they tell of their end */
        size_t live_len, live_allocated;

        /* What the server has said, and what it knows. */
        bool told_known;
        struct task_desire told;
        bool up; /* it runs on `up_on`, and was not told otherwise */
        struct sim_node *up_on;
        uint64_t up_step;   /* when that was heard */
        uint64_t hello;     /* step of the newest hello that told of it and of what it was told */
        bool asked;         /* a person asked for a new run of this one task */
        uint64_t preempted; /* step in which it was taken down to make room */
        bool moved;         /* taken down for a rollout, and not settled since */
        struct sim_node *moved_on;
        usec_t moved_at;

        /* Where the server has placed it (room.c). */
        struct sim_node *placed_on, *last_on;
        bool last_known; /* false: the server may have forgotten what it said */
        struct fact *placed_next, *placed_prev;
        uint16_t ports[JOB_PORTS_MAX];
        size_t ports_len;

        /* A batch that ended well. */
        bool done;
        uint64_t done_generation, done_lives;
        uint32_t done_version;
        struct sim_node *done_node;
        usec_t done_stored_at;
        UT_hash_handle hh;
};

struct rules {
        struct sim *sim;
        struct wish *wishes;
        struct fact *facts;
        usec_t stored_until; /* decisions up to it are durable */
};

bool sim_wish_is_stopped(const struct wish_state *w, uint32_t index);
/* room.c: after @f was told something; after its agent told of it; when all of the turn is said;
 * when an agent was told to drop it; a node with room for one more task, or NULL. */
void sim_room_told(struct sim *s, struct fact *f, const struct cluster_assign *a);
void sim_room_heard(struct sim *s, struct fact *f);
void sim_room_check(struct sim *s, struct fact *f);
void sim_room_forget(struct sim *s, struct fact *f);
/* A process is there. */
void sim_room_began(struct sim *s, const struct sim_task *t);
const char *sim_room_find(struct sim *s, const struct job_spec *spec);
/* The same, for one that takes the place of @without. */
const char *sim_room_find_beside(
        struct sim *s, const struct job_spec *spec, const struct fact *without);

bool sim_wish_wants(const struct wish_state *w, uint32_t index);
