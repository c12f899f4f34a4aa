/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <uv.h>

#include "base/hash.h"
#include "core/cluster.h"
#include "core/task.h"
#include "keeper/launch.h"
#include "keeper/protocol.h"
#include "node/capture.h"
#include "node/cgroup.h"
#include "node/keeper-client.h"
#include "node/outbox.h"
#include "node/specs.h"
#include "node/table.h"

/* The tasks on this node: carries out what core/task decides. */

enum task_stream { TASK_STDOUT, TASK_STDERR, TASK_STREAMS };

#define TASK_ID_MAX (TEXT_NAME_MAX + 12)

struct tasks;
struct orphan;
struct task_health;
struct task_launch;
struct task_sockets;
struct remains;

struct task {
        struct tasks *owner;
        struct table_slot *slot;
        struct spec *spec;       /* of the desired version; NULL until it is known here */
        int pidfd;               /* >= 0 while a process is there */
        struct orphan *orphan;   /* watches pidfd when the process is not our keeper's child */
        struct remains *remains; /* processes of a run before are being killed: no other begins */
        uint64_t witness;        /* the run of which the keeper holds a pidfd for us; 0: none */
        uv_timer_t timer;        /* deadline of the machine */
        struct capture_stream *streams[TASK_STREAMS];
        struct task_sockets *sockets; /* NULL: nothing is held for it */
        struct task_health *health;   /* NULL: nothing asks how its process is */
        struct task_launch *launch;   /* looks for its process; NULL: nobody does */
        bool clean_cgroup;            /* made by us, and nobody was killed in it (cgroup.h) */
        bool forget;                  /* drop it once it has ended ... */
        bool purge;                   /* ... with its logs */
        bool tell_end;                /* ... and tell that, since it was not told yet */
        bool spawning;                /* in the queue of runs to be started */
        bool spawn_waits;             /* for the end of the remains */
        bool changed;                 /* to be reported */
        bool confirmed; /* a singleton that was assigned over the link that there is now */
        struct task *next_spawn, *next_changed;
        pid_t pid;         /* key of hh_pid; 0: not in it */
        bool deposited;    /* the keeper holds its FIFOs */
        UT_hash_handle hh; /* by id */
        UT_hash_handle hh_pid;
        char id[];
};

struct tasks_config {
        uv_loop_t *loop;
        const char *directory; /* DIR/node */
        const char *node;
        struct table *table;
        struct outbox *outbox;
        struct specs *specs;
        struct cgroups *cgroups;
        struct capture *capture;
        struct logforward *forward;
        struct keeper_client *keeper;
        void (*on_changed)(
                void *data); /* reports or outbox entries wait; called once until they are taken */
        void *data;
};

struct tasks *tasks_new(const struct tasks_config *config);
void tasks_free(struct tasks *ts); /* leaves the tasks running; NULL is fine */

/* Takes the slots of the table over: opens the FIFOs. Deposits of earlier agents are given before;
 * records and judgement follow with tasks_begin(). */
void tasks_load(struct tasks *ts);

/* A deposit from before our time, see tasks.c for the names. Takes the descriptors. */
void tasks_take_deposit(struct tasks *ts, const char *name, const int *fds, size_t len);

/* A child of the keeper ended. Returns false if that could not be written down: give it again
 * later, and do not acknowledge it. */
bool tasks_record(struct tasks *ts, const struct keeper_record *record);

/* Writes what is to be told of the runs that have failed since the last call. */
void tasks_write_dossiers(struct tasks *ts);

/* All that the keeper knew has been told: whatever is still unclear is judged now, and work begins.
 * @keeper: its pid. */
void tasks_begin(struct tasks *ts, pid_t keeper);

/* The connection to the server's witness (keeper/protocol.h) that new processes speak to; -1: there
 * is none. Borrowed. */
void tasks_set_witness(struct tasks *ts, int witness);

/* What the server saw of the end of a run, as wait(2) tells it; ignored unless it was asked. Then
 * that was all: what it did not see, nobody knows. */
void tasks_hear_witness(struct tasks *ts, const char *id, uint64_t run, int status);
void tasks_heard_witness(struct tasks *ts);

/* What the server wants. @err: the task could not be created here; ask again later. */
int tasks_desire(struct tasks *ts, const char *job, uint32_t index,
        const struct task_desire *desire, const struct task_grant *grant, struct error *err);
void tasks_forget(struct tasks *ts, const char *id, bool purge_logs);

/* The last reports of tasks that are gone, appended to @out (NULL: nobody waits for them) as
 * elements of a JSON array; each once. */
void tasks_take_last_reports(struct tasks *ts, struct buffer *out);

/* The last moment (monotonic) at which the server is known to have heard us, for the leases of
 * singletons (core/lease); USEC_NEVER: no lease runs, since the server is on this machine. */
void tasks_set_heard(struct tasks *ts, usec_t heard_mono);

/* The link is gone: what it said of singletons that wait for the server's word is not true any
 * more. */
void tasks_link_gone(struct tasks *ts);

/* Calls @each for all tasks; it may forget them. */
void tasks_each(struct tasks *ts, void (*each)(void *data, struct task *t), void *data);
struct task *tasks_find(struct tasks *ts, const char *id);

/* Takes the tasks whose status has changed since the last call, one at a time; NULL: no more. */
struct task *tasks_next_changed(struct tasks *ts);

/* Ends every run in order and keeps the desires; on_changed tells of the progress. */
void tasks_halt(struct tasks *ts);
bool tasks_any_process(const struct tasks *ts);

/* The keeper was killed, and there is no new one yet: runs are watched by their pidfds. */
void tasks_keeper_gone(struct tasks *ts);

/* What a new keeper shall hold: the FIFOs, and a pidfd of every process; there is room for one
 * more. Returns how many. The descriptors stay ours. */
size_t tasks_hand_over(struct tasks *ts, struct keeper_handover **ret);
void tasks_hand_over_done(struct keeper_handover *items, size_t len);

/* Reads all FIFOs empty, once: before this agent makes room for another. */
void tasks_drain(struct tasks *ts);

/* Log capture of @stream flows, is blocked or drops from now on: told as an event. */
void task_note_flow(struct task *t, const struct capture_stream *stream, enum capture_flow flow,
        const struct error *why);

/* A stream of its has new bytes in its files. */
void task_health_grown(struct task *t);

/* The same, for `logs.forward`. */
void task_forward_grown(const struct task *t, enum task_stream stream);

/* Sends a signal to the process group of a task. ERR_NOT_FOUND: it is not on this node;
 * ERR_CONFLICT: it has no process. */
int tasks_signal(struct tasks *ts, const char *id, int signal, struct error *err);

/* What a program needs to run beside the task's process as the task's process does: its user,
 * directory and environment. @command: what to run, ended by NULL; @user: NULL for the task's.
 * @ret_env: all variables, heap strings in a heap array, ended by NULL. Errors as for
 * tasks_signal(); ERR_INVALID for a user that is not there. */
int tasks_plan_exec(struct tasks *ts, const char *id, char **command, char *user,
        struct spawn_plan *ret, char ***ret_env, struct error *err);

/* Appends the report of a task as docs/link.md has it. */
void task_report(const struct task *t, struct buffer *out);
/* The same, with what the task takes of the node. */
void task_report_all(const struct task *t, struct buffer *out);

/* The directory of its logs. The caller frees it. */
char *task_directory(const struct tasks *ts, const char *id);
