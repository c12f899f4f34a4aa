/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "base/macros.h"
#include "core/task.h"

/* What task.c and task-machine.c share: what follows from a machine alone. */

/* task_machine.killed */
enum { KILLED_NOT, KILLED, KILLED_STUCK };

/* task_machine.failing */
enum { FAILING = 1, FAILING_FOR_GOOD };

static inline bool task_is_out_of_date(const struct task_machine *m)
{
        return m->desire.generation > m->run_generation ||
               m->desire.restart_version > m->run_version || m->grant.fence > m->run_fence;
}

/* When a run that nobody stops has failed, if nothing is heard of it before. */
static inline usec_t task_running_deadline(const struct task_machine *m)
{
        usec_t ready = m->ready_by_mono != 0 ? m->ready_by_mono : USEC_NEVER;
        usec_t alive = m->alive_by_mono != 0 ? m->alive_by_mono : USEC_NEVER;

        return MIN(ready, alive);
}

/* Nothing is begun, whatever is wanted. */
static inline bool task_is_held_back(const struct task_machine *m)
{
        return m->halted || m->lapsed;
}

/* Whether a process of the current run has to go. */
static inline bool task_must_stop(const struct task_machine *m)
{
        return task_is_held_back(m) || !m->desire.run || task_is_out_of_date(m);
}

/* Whether the server's picture of the task, its desire included, is still right. */
bool task_looks_same(const struct task_machine *a, const struct task_machine *b);
