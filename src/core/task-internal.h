/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "base/macros.h"
#include "core/task.h"

/* What task.c and task-machine.c share: what follows from a machine alone. */

/* task_machine.killed */
enum { KILLED_NOT, KILLED, KILLED_STUCK };

/* task_machine.idle */
enum { IDLE_WAITS = 1, IDLE_DEAF };

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

        usec_t daemon = m->daemon_by_mono != 0 ? m->daemon_by_mono : USEC_NEVER;

        return MIN(daemon, MIN(ready, alive));
}

/* The process that the run will be is not there yet, or not known. */
static inline bool task_is_launching(const struct task_machine *m)
{
        return m->daemon == TASK_DAEMON_BEGUN || m->daemon == TASK_DAEMON_LEFT;
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

/* ---- What the steps of task_handle() share */

/* What one call of task_handle() works with. */
struct step {
        struct task_machine *m;
        const struct job_spec *spec;
        const struct task_event *event;
        usec_t now_mono, now_wall;
        uint64_t seed;
        struct task_effects *fx;
};

static inline usec_t task_add_span(usec_t at, usec_t span)
{
        return span >= USEC_NEVER - at ? USEC_NEVER : at + span;
}

/* ---- task.c */

/* One sentence for people, as an event of the current run. */
void PRINTF_LIKE(3, 4)
        task_note_down(struct step *s, enum event_kind kind, const char *format, ...);

/* The only function that assigns the state. What belongs to one state only is cleared on the way;
 * the caller fills in what the new one has (pid, result, killed). Staying in a state keeps `since`.
 */
void PRINTF_LIKE(4, 5) task_set_state(
        struct step *s, enum task_state to, usec_t deadline_mono, const char *format, ...);

/* The run has to go, for the reason that the machine shows. */
void task_begin_stop(struct step *s);

/* Nobody asked for the end of the run: it has failed while its process lives. */
void task_fail_run(struct step *s, int signal, const char *why);

/* ---- task-ready.c */

/* A run that begins, or goes on with another spec: what its readiness follows from. */
void task_await_ready(struct step *s);

/* RUNNING has the first of its deadlines. */
void task_set_running_deadline(struct task_machine *m);

void task_on_running_deadline(struct step *s);
void task_on_notice(struct step *s);
void task_on_health(struct step *s);
void task_on_unfit(struct step *s);
void task_on_daemon(struct step *s);
void task_on_found_running(struct step *s);

/* EXITED: the command of a daemon has ended as it should, or that was told already: the run goes
 * on. */
bool task_is_launched(struct step *s);
