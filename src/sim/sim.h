/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/time.h"
#include "core/cluster.h"
#include "model/job.h"
#include "model/status.h"

/* A cluster that exists in memory only: the real decisions (core/cluster) and the real life of
 * tasks (core/task) on machines, links and a disk that are simulated, in virtual time. Everything
 * follows from the seed and from what the caller does: the same again gives the same again. No
 * system call, no clock. */

struct sim;

/* How slow and how unreliable things are. All zero: everything works and takes no time. Chances
 * are out of a million. */
struct sim_faults {
        usec_t latency_min, latency_max; /* of a message */
        uint32_t latency_spike;          /* chance that it takes 30 times as long */
        uint32_t message_twice;          /* chance that a message is delivered a second time */
        uint32_t message_lost;           /* chance that a message is lost, and its link broken */
        usec_t commit_min, commit_max;   /* of a batch of the store */
        uint32_t commit_spike;           /* chance that it takes 50 times as long */
};

/* What becomes of a run. */
struct sim_run {
        usec_t begins_after; /* from the decision to the process */
        const char *refused; /* why it cannot begin; static; NULL: it does */
        usec_t lasts;        /* USEC_NEVER: until it is told to end */
        int exit_code;       /* -1: ends by `signal` */
        int signal;
        usec_t obeys_after; /* from the stop signal to the end; USEC_NEVER: only KILL helps */
};

enum sim_fault_type {
        SIM_LINK_BREAK,      /* both ends hear of it */
        SIM_CUT,             /* nothing gets through to the node and from it; messages wait */
        SIM_CUT_UP,          /* only from the node to the server */
        SIM_CUT_DOWN,        /* only from the server to the node */
        SIM_AGENT_CRASH,     /* its tasks go on */
        SIM_AGENT_CRASH_MID, /* the same, at its next change of a task: between commit and deed */
        SIM_REBOOT,          /* of the machine: no process survives */
        SIM_WIPE,            /* the same, and the agent has forgotten all it knew */
        SIM_NODE_CLOCK,      /* the wall clock of the node jumps */
        SIM_SERVER_CLOCK,    /* that of the server */
        SIM_SERVER_CRASH,    /* what was not committed is gone */
        SIM_DISK_FULL,       /* the server's: commits fail */
        SIM_FAULT_COUNT
};

extern const char *const sim_fault_names[];

struct sim_fault {
        enum sim_fault_type type;
        uint32_t node; /* its number; the SERVER and DISK ones need none */
        usec_t lasts;  /* until it is connected, begun, booted again; USEC_NEVER: for good */
        int64_t jump;  /* CLOCK: microseconds */
};

struct sim_config {
        uint64_t seed;
        usec_t start_wall; /* 0: some day in 2026 */
        struct sim_faults faults;
        usec_t heartbeat; /* of the agents, so that leases run; 0: there are none of both */
        bool rules;       /* check after every event that what was promised holds */

        /* Each may be NULL. */
        void (*run)(void *data, const char *task, const struct job_spec *spec, uint64_t run,
                struct sim_run *ret); /* NULL: services last, batches end well after a second */
        void (*event)(void *data, usec_t at, const struct event *event);       /* was published */
        void (*answer)(void *data, uint64_t command, const struct error *err); /* to a person */
        void (*process)(void *data, const char *task, bool there);             /* begins, ends */
        void (*trace)(void *data, usec_t at, const char *text); /* all that happens */
        void *data;
};

struct sim *sim_new(const struct sim_config *config);
void sim_free(struct sim *s);

/* Rows of a stored state, before the first sim_run(). Keys that are not the core's are left out. */
void sim_load_row(struct sim *s, const char *key, const char *value);

/* Machines as the loaded rows have them, and on each of them the tasks that the server believes to
 * be there, as if they had run all along. A node that is lost stays away. ERR_INVALID: a row cannot
 * be read. */
int sim_adopt(struct sim *s, struct error *err);

/* Adds a machine; copied. It is up, and its agent connects at once. Returns its number, from 0. */
uint32_t sim_add_node(struct sim *s, const struct node_status *node);
uint32_t sim_nodes(const struct sim *s);
bool sim_find_node(const struct sim *s, const char *name, uint32_t *ret);
bool sim_node_is_dead(const struct sim *s, uint32_t node); /* it is down or cut for good */
const char *sim_node_name(const struct sim *s, uint32_t node);

/* How much faster or slower the clock of a node runs, or (node UINT32_MAX) that of the server: in
 * millionths. Before the first sim_run(). */
void sim_set_rate(struct sim *s, uint32_t node, int32_t ppm);

/* A person asks for something: any event that is a command. Returns the number of the command
 * (answered by the callback when it is durable; never, if the server dies first), or 0 with the
 * reason. */
uint64_t sim_command(struct sim *s, const struct cluster_event *event, struct error *err);

void sim_inject(struct sim *s, const struct sim_fault *fault);
/* All faults end now: what is down comes up (except what is down for good), what is cut is
 * connected, clocks are right again, and @faults are in force from now on. */
void sim_calm(struct sim *s, const struct sim_faults *faults);

/* Calls @call at that time, once. */
void sim_at(struct sim *s, usec_t at, void (*call)(struct sim *s, void *data), void *data);

/* Lets everything happen up to and including @until, or to the first breach of a rule (then false).
 * Virtual time begins at 0. */
bool sim_run(struct sim *s, usec_t until);
usec_t sim_now(const struct sim *s);
/* The server's wall clock. */
usec_t sim_wall(const struct sim *s);

bool sim_server_is_up(const struct sim *s);
/* NULL while the server is down. */
const struct cluster *sim_cluster(const struct sim *s);

/* ---- Rules (rules.c); sim_config.rules */

/* The first rule that was broken: "capacity: ..." in one sentence; NULL: none. */
const char *sim_breach(const struct sim *s);

/* Whether everything is as it should be when nothing happens any more: every wanted task that fits
 * runs with the newest version, every other one is gone, and the server's picture is the truth.
 * False: says what is missing. A job with tasks that have failed for good needs a person. */
bool sim_at_rest(struct sim *s, struct error *err);

/* Whether people want the task to run; needs the rules. */
bool sim_is_wanted(const struct sim *s, const struct task_status *task);

/* A number made of everything that happened so far. */
uint64_t sim_hash(const struct sim *s);

struct sim_counts {
        uint64_t steps, messages, runs, ends, commits, commands, faults, reloads, lost_nodes, moves,
                second_processes, reverts;
};
const struct sim_counts *sim_counts(const struct sim *s);

/* Numbers from a seed (splitmix64), for whoever makes scenarios. */
uint64_t sim_random(uint64_t *state);
uint64_t sim_below(uint64_t *state, uint64_t n);
bool sim_chance(uint64_t *state, uint32_t of_a_million);
