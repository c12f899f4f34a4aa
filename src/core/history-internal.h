/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "base/hash.h"
#include "core/history.h"

/* What history.c gathers from the events, and history-tell.c makes statuses of. */

/* The first event after the time that says something of the subject's state. */
struct history_next {
        int kind; /* -1: there is none */
        uint64_t index;
        char *node;
        int64_t version, run;
};

struct history_job;

struct history_task {
        char *id;
        struct history_job *job;
        int64_t index;

        bool known; /* an event before the time tells; then these are as the last one left them: */
        bool there, moving, stopped, waits;
        bool unsettled;    /* a run has ended: whether for good, the next event tells */
        bool maybe_placed; /* some of its job's tasks have got nodes */
        int state, result, signal;
        char *node, *reason;
        int64_t version, exit_code, runs_before, run;
        usec_t since, started;

        struct history_next next;
        uint64_t next_restart; /* of this task, by a person; 0: none */

        /* over all events: an agent counts its own runs from 1 */
        int64_t all_runs_before, all_run;

        bool has_now, was; /* `was`: status is filled, it was there */
        struct task_status now, status;
        UT_hash_handle hh;
        struct history_task *next_of_job, *prev_of_job;
};

struct history_job {
        char *name;
        struct history_task *tasks;

        bool known, there, stopped, removing, rolling;
        bool born;              /* an event tells of its beginning, and so of all its tasks */
        int64_t version, count; /* count: RECORD_NULL if no event told */
        usec_t since, restarted;
        char *waits; /* why tasks have no node */

        bool concerned; /* by an event after the time */
        struct history_next next;
        int64_t next_count;    /* what it was before the first change of it; RECORD_NULL */
        uint64_t next_command; /* the first event by which ended tasks run again; 0: none */
        bool next_stopped;     /* the first command ended a stop */
        bool gone_after;       /* what has the name now is another job, if any */

        bool has_now, was;
        struct job_status now, status;
        UT_hash_handle hh;
};

struct history_node {
        char *name;

        bool known, there;
        int state, scheduling;
        usec_t since;

        int next, next_scheduling; /* kinds of the first events after the time; -1 */
        bool next_is_new;          /* the next one tells of a node that was not there */
        bool ready_after;          /* its agent has said anew since how the machine is */
        bool was_lost, was_closed; /* what the next ones tell of before */

        bool has_now, was;
        struct node_status now, status;
        UT_hash_handle hh;
};

struct history {
        usec_t at, begin;
        struct history_job *jobs;
        struct history_task *tasks;
        struct history_node *nodes;
};

struct history_job *history_job_of(struct history *h, const char *name);
struct history_task *history_task_of(struct history *h, struct history_job *job, const char *id);
struct history_node *history_node_of(struct history *h, const char *name);
