/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/time.h"
#include "core/task.h"
#include "model/job.h"
#include "model/status.h"

/* Everything the server decides: which tasks there shall be, where, with which version. Jobs, tasks
 * and nodes in memory; events in, effects out. No system call, no clock, no random number. The
 * shell (src/server) carries the effects out: it commits `writes`, and only when they are durable
 * does it send `assigns` and publish `events`. */

struct cluster;

struct cluster *cluster_new(void);
void cluster_free(struct cluster *c);

enum cluster_event_type {
        CLUSTER_LOAD, /* key, value: one stored row. All rows come first, before any other event */
        CLUSTER_LOADED,  /* all rows are there: derive what is not stored */
        CLUSTER_APPLY,   /* spec, source: create or update one job. Conflict if the job comes from
                            another kind of source */
        CLUSTER_STOP,    /* target: a job or a task ("web", "web.1") shall stop and stay so */
        CLUSTER_RESTART, /* target: restart, or take up again what was stopped, ended or parked */
        CLUSTER_SCALE,   /* target job, count (its source is kept; a job from a file: conflict, the
                            file says the count) */
        CLUSTER_REMOVE,  /* target job: stop all its tasks, then forget it. From a file: only with
                            source given */
        CLUSTER_NODE_UP, /* node (struct node_status), reports: an agent connected and says all the
                            tasks it has. No assigns to this node follow: it gets
                            cluster_assigns_of() */
        CLUSTER_NODE_DOWN, /* node, heard: its link broke; the node is lost when nothing was heard
                              of it for as long as `lost_after` says */
        CLUSTER_CORDON,    /* target node, on: it gets no new tasks, or does again */
        CLUSTER_DRAIN, /* target node, on, deadline: it gets no new tasks, and those that it has are
                          moved elsewhere, no more of a job at a time than its update.parallel and
                          only to where there is room; after the deadline whatever is left is
                          stopped at once. Off: it is open again */
        CLUSTER_MOVE,  /* target task: it leaves its node to be placed anew, as with a drain: when
                          its  job's update.parallel allows, and only if there is room */
        CLUSTER_FORGET, /* target node, not connected: it is no more; its tasks are placed elsewhere
                         */
        CLUSTER_PROMOTE, /* target job: its canary is good, the other tasks follow */
        CLUSTER_REVERT, /* target job, version: that one's spec is in force again, as a new version;
                           0: of the one that all tasks had before the newest. From a file: conflict
                         */
        CLUSTER_DISPATCH, /* target template, name (NULL: TEMPLATE-1, -2, ...), spec (NULL: the
                             template's own; its name does not matter): a job is made of it, with
                             the source "template:TARGET", which people may scale and remove */
        CLUSTER_CLOCK,    /* by: the wall clock was set; what was to happen in so many seconds still
                             does */
        CLUSTER_REPORT,   /* node, reports: the status of these tasks changed */
        CLUSTER_NOTE,     /* node, note: an event from the agent's outbox, numbered by note_seq; a
                             number that was seen already is ignored, and the number is stored with
                             the event: exactly once */
        CLUSTER_NOTICE,   /* note: an event from the server itself (a bad job file, the store) */
        CLUSTER_TICK,     /* cluster_next_deadline() has come */
};

#define CLUSTER_LOST_AFTER (2 * USEC_SEC) /* the default */
/* So long after a server has begun its agents may wait until they look for it the next time. */
#define CLUSTER_RETURN_SPAN (15 * USEC_SEC)
/* A singleton is placed elsewhere when its lease has ended, and this much later. */
#define CLUSTER_LEASE_MARGIN USEC_SEC

/* How long a node may be silent before it counts as lost. */
void cluster_set_lost_after(struct cluster *c, usec_t span);

/* Time zones that cron jobs are meant in are handed in by who can read files. @zone is taken over;
 * NULL: there is none of this name. Handed in again, it replaces the one before. */
void cluster_add_zone(struct cluster *c, const char *name, struct zone *zone);
/* One that a job names and that was not handed in yet, or NULL. */
const char *cluster_missing_zone(const struct cluster *c);
bool cluster_knows_zone(const struct cluster *c, const char *name);

/* What a task takes of its node, beside ports. */
struct cluster_holds {
        uint64_t cpu; /* thousandths of a core */
        uint64_t memory, disk;
        char *exclusive; /* borrowed for the call; NULL: none */
};

/* A task's status as its agent sees it. */
struct cluster_report {
        struct task_status
                status; /* id, state, result, pid, runs, ... strings borrowed for the call */
        struct task_desire desire; /* the desire that the agent works on */
        bool parked;
        struct cluster_holds holds; /* NODE_UP, if `tells_ends` */
};

struct cluster_event {
        enum cluster_event_type type;
        const char *key, *value; /* LOAD */
        struct job_spec *spec;   /* APPLY: a reference is taken; DISPATCH */
        const char *name;        /* DISPATCH */
        const char *source;      /* APPLY, REMOVE: "api" or "file:PATH" */
        const char *target;  /* STOP, RESTART, SCALE, REMOVE, CORDON, DRAIN, FORGET, MOVE, PROMOTE,
                                REVERT */
        uint32_t version;    /* REVERT */
        bool on;             /* CORDON, DRAIN */
        usec_t deadline;     /* DRAIN: from now; 0: none */
        usec_t heard;        /* NODE_DOWN: when something was heard of it last; 0: now */
        int64_t by;          /* CLOCK: microseconds */
        uint32_t count;      /* SCALE */
        bool purge;          /* REMOVE: the agents shall delete the logs, too */
        uint32_t if_version; /* APPLY: only if the job has this version; 0: whatever it has */
        const struct node_status *node; /* NODE_UP: all; NODE_DOWN, REPORT, NOTE: the name */
        const struct cluster_report *reports;
        size_t reports_len;
        bool tells_ends; /* NODE_UP: the agent reports the end of what it is to forget, too */
        const struct event *note;
        uint64_t note_seq; /* NODE_UP: of the newest that the agent knows, if `knows_notes` */
        bool knows_notes;
};

/* One task as an agent shall have it. The names live as long as the effects. */
struct cluster_assign {
        const char *node;
        const char *task; /* "web.0" */
        const char *job;
        uint32_t index;
        struct task_desire desire;
        uint16_t ports[JOB_PORTS_MAX]; /* in the order of resources.ports */
        size_t ports_len;
        uint64_t fence;   /* of a singleton: grows with every placement; else 0 */
        uint32_t retries; /* of a batch with a limit: used up on other nodes */
        bool forget;      /* it has ended and is not wanted any more: drop it */
        bool purge_logs;  /* with forget */
};

/* For those who keep one longer: it has names of its own. */
void cluster_assign_copy(struct cluster_assign *to, const struct cluster_assign *from);
void cluster_assign_done(struct cluster_assign *copy);

struct cluster_write {
        char *key;
        char *value; /* JSON; NULL deletes */
};

/* Reused by the caller: cluster_effects_reset() between events, _done() at the end. */
struct cluster_effects {
        bool unstored; /* the caller's, kept by _reset(): it stores nothing, and wants no writes */
        struct cluster_assign *assigns;
        size_t assigns_len, assigns_allocated;
        struct arena names; /* of the assigns */
        struct cluster_write
                *writes; /* one atomic batch; a later write of a key replaces an earlier one */
        size_t writes_len, writes_allocated;
        struct event *events; /* published, numbered; each is in `writes` as well (key event/INDEX,
                                 20 digits) */
        size_t events_len, events_allocated;
        uint32_t version;                   /* APPLY: the version the job has now */
        bool unchanged;                     /* APPLY: nothing to do */
        char dispatched[TEXT_NAME_MAX + 1]; /* DISPATCH: the name of the job */
};

void cluster_effects_reset(struct cluster_effects *e);
void cluster_effects_done(struct cluster_effects *e);

/* Decides. Effects are appended to @ret. Returns 0, or -1 with the reason in @err (not found,
 * conflict, invalid): then nothing changed and nothing was appended. */
int cluster_handle(struct cluster *c, const struct cluster_event *event, usec_t now_wall,
        struct cluster_effects *ret, struct error *err);

/* What APPLY would refuse because of `after`, if all of these were applied: ERR_INVALID names jobs
 * that would wait for each other. */
int cluster_check_order(
        const struct cluster *c, struct job_spec *const *specs, size_t len, struct error *err);

/* Wall clock time at which CLUSTER_TICK is due; 0: now; USEC_NEVER: not at all. */
usec_t cluster_next_deadline(const struct cluster *c);

/* Number of the newest event. Blocking reads wait for it to grow: whatever can be seen from outside
 * changes with an event or, for a mere status change, with cluster_changes(). */
uint64_t cluster_index(const struct cluster *c);
/* Grows with every change that a reader could see, at least; never shrinks. */
uint64_t cluster_changes(const struct cluster *c);

/* ---- Reading. Strings are borrowed until the next cluster_handle(). */

/* Calls @each for all jobs by name, tasks by job and index, nodes by name. @job NULL: of all jobs.
 */
void cluster_each_job(
        const struct cluster *c, void (*each)(void *data, const struct job_status *), void *data);
void cluster_each_task(const struct cluster *c, const char *job,
        void (*each)(void *data, const struct task_status *), void *data);
/* The same in pieces: at most @max tasks of the job, from the index @from. Returns the index to go
 * on with; 0: that was all. */
uint32_t cluster_each_task_from(const struct cluster *c, const char *job, uint32_t from,
        uint32_t max, void (*each)(void *data, const struct task_status *), void *data);
void cluster_each_node(
        const struct cluster *c, void (*each)(void *data, const struct node_status *), void *data);

/* The tasks that have this node, by job and index. */
void cluster_each_task_on(const struct cluster *c, const char *node,
        void (*each)(void *data, const struct task_status *), void *data);

/* False if there is none. */
bool cluster_get_node(const struct cluster *c, const char *name, struct node_status *ret);
bool cluster_get_job(const struct cluster *c, const char *name, struct job_status *ret);
bool cluster_get_task(const struct cluster *c, const char *id, struct task_status *ret);

/* The spec of a job's version (0: the current one), or NULL. Old versions are kept while a task
 * uses them, at least the last 10. */
const struct job_spec *cluster_get_spec(const struct cluster *c, const char *job, uint32_t version);

/* The versions that are kept, oldest first. */
void cluster_each_version(const struct cluster *c, const char *job,
        void (*each)(void *data, uint32_t version, const struct job_spec *spec), void *data);

/* All that @node shall have: sent to an agent that has just connected (right after its NODE_UP),
 * which drops what is not named. A task may stand there twice, first to be forgotten, then to be
 * begun: carried out in this order. Appends to ret->assigns. */
void cluster_assigns_of(const struct cluster *c, const char *node, struct cluster_effects *ret);

/* Jobs whose source is @source, by name; the callback may not change the cluster. */
void cluster_each_job_of_source(const struct cluster *c, const char *source,
        void (*each)(void *data, const char *name), void *data);
