/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/process.h"
#include "node/table.h"

/* Looking at processes that are not our children: whether one is the run that a record tells of,
 * and how it ended. */

/* True if a process that started at @start_ticks can be the one that wrote @record, and no other:
 * it began between the record's two instants, and no pid is used twice within that time. */
bool process_matches(const struct table_run *record, uint64_t start_ticks);

/* Whether a process that began at @start_ticks was there when the run of the record began. */
bool process_began_before(uint64_t start_ticks, const struct table_run *record);

enum process_end {
        PROCESS_END_NOT_YET, /* still there, or a zombie that does not tell */
        PROCESS_END_KNOWN,
        PROCESS_END_UNKNOWN, /* gone, and nobody can say how */
};

/* How the process behind @pidfd ended: PIDFD_GET_INFO with PIDFD_INFO_EXIT (Linux 6.15) if it was
 * reaped, else its stat while it is a zombie. @ret_status is as wait(2) tells it. */
enum process_end process_ended(int pidfd, const struct table_run *record, int *ret_status);

/* Whether a process, or the one that it was forked from, was given the environment of that run. */
bool process_is_of_run(pid_t pid, const char *id, uint64_t run);

/* Calls @each for every process that there is. */
void process_each(void (*each)(void *data, pid_t pid), void *data);

/* Calls @each for every child of a process without threads. */
void process_each_child(pid_t parent, void (*each)(void *data, pid_t pid), void *data);

/* Kills what is left of the process group of run @run of task @id, whose leader has ended unseen,
 * we cannot know how long ago: the number may be another group's by now. Only processes that have
 * the run's environment are touched. */
void process_kill_leftovers(pid_t group, const char *id, uint64_t run);

/* The same for a leader that we have a pidfd of: the kernel finds the group by it (Linux 6.9),
 * reaped or not, and no other; on an older one by what is above. */
void process_kill_group(int pidfd, pid_t group, const char *id, uint64_t run);

/* Whether @signal would end the process, were it not the first of a namespace: it neither handles,
 * ignores nor blocks it, and the kernel's own answer to it is the end. */
bool process_would_end(pid_t pid, int signal);

/* Sends a signal to the whole process group that @pidfd leads: by the pidfd where the kernel can
 * (6.9), else by number. */
void process_signal_group(int pidfd, pid_t pid, int signal);
