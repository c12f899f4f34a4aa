/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "base/time.h"
#include "model/record.h"

/* What people and programs see of tasks, jobs, nodes and events: the API's and the CLI's words, and
 * the link's. */

enum task_state {
        TASK_QUEUED,    /* waits: for a node, or for its next run (next_run_at) */
        TASK_PLACED,    /* has a node; the agent has not taken it up yet */
        TASK_PREPARING, /* kept for the preparation of a run */
        TASK_STARTING,  /* being spawned */
        TASK_RUNNING,
        TASK_STOPPING, /* was asked to end */
        TASK_ENDED,    /* has a result; nothing more happens by itself */
        TASK_LOST,     /* its node is not heard from */
        TASK_STATE_COUNT
};

enum task_result {
        RESULT_NONE = -1,
        RESULT_SUCCEEDED,
        RESULT_FAILED,
        RESULT_STOPPED,
        RESULT_REJECTED,
        RESULT_UNKNOWN, /* nobody was left to see the exit status */
};

extern const char *const task_state_names[]; /* ended by NULL, as all of these */
extern const char *const task_result_names[];

struct task_status {
        char *id; /* "web.0" */
        char *job;
        int64_t index;
        int64_t version; /* of the job, that the last run had */
        char *node;
        int state;
        bool ready;
        bool healthy; /* no health check says otherwise */
        int result;
        int64_t pid;  /* null unless a process is there */
        int64_t runs; /* runs begun so far; also the number of the current or last run, from 1 */
        int64_t restarts;  /* runs that the restart policy began */
        int64_t exit_code; /* of the last run that ended; null if it ended by a signal or none ended
                            */
        int signal;
        char *reason; /* one sentence: why it is in this state */
        usec_t since; /* wall: in this state since */
        usec_t next_run_at;
        usec_t started_at; /* wall: of the current or last run */
        int64_t log_bytes; /* null when unknown */
        char *ports;       /* "http=20001 admin=20002"; null if it has none */
        int64_t fence;     /* of a singleton: grows with every placement; else null */
        char *status;      /* what its program says of itself; null if nothing */
};
extern const struct record_table task_table;

enum job_state {
        JOB_STARTING, /* fewer tasks run than asked for, none has failed for good */
        JOB_RUNNING,  /* all run */
        JOB_UPDATING, /* a new version is being rolled out */
        JOB_DEGRADED, /* some tasks have failed for good or wait after a failure */
        JOB_STOPPING,
        JOB_STOPPED,   /* by a person */
        JOB_SUCCEEDED, /* batch: all tasks ended well */
        JOB_FAILED,    /* all tasks ended, one or more badly */
        JOB_SCHEDULED, /* cron: waits for its next slot */
        JOB_TEMPLATE,  /* is never run */
};
extern const char *const job_state_names[];

struct job_status {
        char *name;
        int kind; /* enum job_kind */
        int64_t version;
        int64_t count;
        int64_t running;
        int64_t ready;
        int state;
        char *source; /* "api" or "file:/path/of/job.yaml" */
        char *reason; /* null when there is nothing to say */
        usec_t since; /* wall: this version was accepted */
        int64_t priority;
        char *owner;
        int64_t queued; /* tasks that wait for a node */
        int64_t lost;   /* tasks whose node is lost */
};
extern const struct record_table job_table;

enum node_state { NODE_READY, NODE_LOST };
extern const char *const node_state_names[];

/* Whether tasks are placed on a node, as people want it. */
enum node_scheduling {
        NODE_OPEN,
        NODE_CORDONED, /* nothing new is placed there */
        NODE_DRAINING, /* and what is there moves away */
        NODE_DRAINED,  /* all of it has */
};
extern const char *const node_scheduling_names[];

struct node_status {
        char *name;
        int state;
        int scheduling; /* enum node_scheduling */
        char *zone;
        int64_t tasks; /* assigned to it */
        int64_t running;
        char *version; /* of Reeve there */
        char *kernel;
        int64_t cores;
        int64_t cpu;                              /* thousandths of a core that tasks may have */
        int64_t memory;                           /* bytes */
        int64_t disk;                             /* bytes */
        int64_t cpu_used, memory_used, disk_used; /* asked for by what is placed there */
        struct attributes attributes;
        int64_t agent_pid;
        int64_t keeper_pid;
        char *reason;
        usec_t since;
        usec_t heard; /* wall: last heard of */
};
extern const struct record_table node_table;

enum event_kind {
        EVENT_JOB_APPLIED,
        EVENT_JOB_SCALED,
        EVENT_JOB_STOPPED,
        EVENT_JOB_RESTARTED,
        EVENT_JOB_REMOVED,
        EVENT_JOB_ROLLED,  /* every task has the new version */
        EVENT_JOB_REFUSED, /* a job file could not be read or used */
        EVENT_TASK_CREATED,
        EVENT_TASK_STARTED,
        EVENT_TASK_ENDED,   /* a run ended; message says how */
        EVENT_TASK_WAITING, /* restarts later; message says when and why */
        EVENT_TASK_PARKED,  /* given up after too many failures */
        EVENT_TASK_STOPPING,
        EVENT_TASK_STOPPED,
        EVENT_TASK_REMOVED,
        EVENT_TASK_LOGS,      /* log capture is blocked, drops or goes on */
        EVENT_TASK_SIGNALLED, /* by a person */
        EVENT_TASK_EXEC,      /* a person runs a program beside it */
        EVENT_NODE_READY,
        EVENT_NODE_LOST,
        EVENT_STORE, /* the store fails or works again */
        EVENT_TASK_PLACED,
        EVENT_TASK_QUEUED,    /* waits for a node; message says why there is none */
        EVENT_TASK_LOST,      /* its node is not heard from */
        EVENT_TASK_MOVED,     /* to another node */
        EVENT_TASK_PREEMPTED, /* stopped to make room for one of a higher priority */
        EVENT_TASK_REJECTED,  /* there is no room and it does not wait */
        EVENT_JOB_PROMOTED,   /* its canary was good: the other tasks follow */
        EVENT_JOB_REVERTED,   /* an update failed: back to the version before */
        EVENT_JOB_DEADLINE,   /* a batch or an update took too long */
        EVENT_JOB_FIRED,      /* a slot of its timetable began */
        EVENT_JOB_SKIPPED,    /* a slot was left out; message says why */
        EVENT_NODE_CORDONED,  /* or opened again */
        EVENT_NODE_DRAINING,
        EVENT_NODE_DRAINED,
        EVENT_NODE_FORGOTTEN,
        EVENT_TOKEN,       /* a token was made, used to join, or revoked */
        EVENT_TASK_READY,  /* a run has become ready */
        EVENT_TASK_HEALTH, /* it is unhealthy, or healthy again */
        EVENT_ALERT,       /* somebody could not be told of a failure */
        EVENT_KIND_COUNT
};
extern const char *const event_kind_names[]; /* "job-applied", ... */

struct event {
        int64_t index; /* revision: grows by one per event */
        usec_t time;
        int kind;
        char *job;  /* null if it concerns none */
        char *task; /* id */
        char *node;
        int64_t version;
        int64_t run;
        char *message; /* one sentence, with the reason */
        char *failure; /* null unless it tells of one: "failed", "oom", "parked", "unhealthy" */
};
extern const struct record_table event_table;

/* The reference page of all of them (Markdown), as it stands in docs/objects.md. */
void status_reference(struct buffer *out);
