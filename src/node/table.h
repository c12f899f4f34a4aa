/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "core/task.h"

/* The agent's memory that outlives it: one slot per task in a mapped file. See table.c for how a
 * slot changes in one step. */

#define TABLE_SLOTS_MAX 65536 /* tasks on one node */

/* The run record. The child that becomes the task writes it itself, before it executes the task's
 * program, into the mapping that it shares with the agent: from the first instant at which a
 * process runs, a restarted agent can recognise it. New fields go to the end, in pairs of four
 * bytes or as eight, and are 0 in what an older version wrote. */
struct table_run {
        uint64_t run;       /* number of the run; written last */
        uint64_t before_ns; /* CLOCK_BOOTTIME before the clone, written by the agent */
        uint64_t after_ns;  /* and by the child: the process's start time in /proc lies between the
                               two */
        int32_t pid;
        int32_t failed_errno;   /* the program could not be executed: why ... */
        uint32_t failed_step;   /* ... and at which step (enum spawn_step) */
        int32_t parent;         /* pid of the keeper whose child it is */
        uint64_t log_begin[2];  /* of a run that is ready by its log: the byte numbers in stdout and
                                   stderr at which it began, written by the agent */
        uint32_t dynamic_uid;   /* of the task, from its first run with one on; 0: none yet */
        uint32_t first_of_pids; /* the process is the first of a namespace of processes */
};

struct table_slot; /* in the mapping */

struct table;

/* Opens or creates @path. A table of an older version is converted. ERR_INVALID if it was written
 * by a newer Reeve, or is something else or damaged. An entry that is damaged is dropped. */
int table_open(const char *path, struct table **ret, struct error *err);
void table_close(struct table *t); /* NULL is fine */

/* True if the machine was booted anew since table_note_boot(). */
bool table_booted_anew(const struct table *t);

/* What ran before the boot is dealt with: what runs from now on belongs to this boot. */
void table_note_boot(struct table *t);

/* The node goes down in order. An agent that is killed meanwhile leaves that to the next one, until
 * a boot or a person who starts Reeve anew (table_call_off_down()) calls it off. */
bool table_is_going_down(const struct table *t);
void table_set_going_down(struct table *t);

/* For a table at @path that nobody has open. One that is not there is fine. */
int table_call_off_down(const char *path, struct error *err);

/* The last moment at which the server is known to have heard us, for leases (core/lease);
 * USEC_NEVER: no lease runs, which is so in a new table. Of an earlier boot it is told as long ago.
 */
usec_t table_heard(const struct table *t);
void table_set_heard(struct table *t, usec_t heard_mono);

/* Takes a free slot for a task. ERR_NO_SPACE if the disk is full, ERR_TOO_LARGE beyond
 * TABLE_SLOTS_MAX. */
int table_take(struct table *t, const char *job, uint32_t index, struct table_slot **ret,
        struct error *err);

/* Gives a slot back: the task is forgotten. */
void table_drop(struct table *t, struct table_slot *slot);

/* Calls @each for every slot in use. The callback may drop the slot. */
void table_each(struct table *t, void (*each)(void *data, struct table_slot *slot), void *data);

/* Slots have numbers, which they keep. The slot of a number that was one's; NULL: it is free now.
 */
size_t table_slot_number(const struct table *t, const struct table_slot *slot);
struct table_slot *table_at(struct table *t, size_t number);

const char *table_slot_job(const struct table_slot *slot);
uint32_t table_slot_index(const struct table_slot *slot);

/* The state that holds, borrowed; const: change it by table_commit() only. */
const struct task_machine *table_machine(const struct table_slot *slot);

/* Replaces the state in one step: a SIGKILL at any instant leaves the old or the new one.
 * @note_seq: number of the last outbox entry that belongs to this change (0: none). */
void table_commit(
        struct table *t, struct table_slot *slot, const struct task_machine *m, uint64_t note_seq);

/* The highest note_seq ever committed: outbox entries beyond it belong to a change that never
 * happened. */
uint64_t table_note_seq(const struct table *t);

struct table_run *table_run_record(struct table_slot *slot);
