/* SPDX-License-Identifier: BSD-3-Clause */
/* Machine: what can be said of a task's machine without moving it: whether two look the same from
 * outside, and whether all holds that task.c promises. */

#include <string.h>

#include "core/task-internal.h"

static bool text_is_same(const char *a, const char *b)
{
        return strncmp(a, b, TASK_REASON_MAX) == 0;
}

bool task_desire_equal(const struct task_desire *a, const struct task_desire *b)
{
        return a->run == b->run && a->version == b->version &&
               a->restart_version == b->restart_version && a->generation == b->generation;
}

bool task_looks_same(const struct task_machine *a, const struct task_machine *b)
{
        return a->state == b->state && a->result == b->result && task_pid(a) == task_pid(b) &&
               a->exit_code == b->exit_code && a->signal == b->signal && a->parked == b->parked &&
               a->runs == b->runs && a->restarts == b->restarts && a->since_wall == b->since_wall &&
               a->started_wall == b->started_wall && a->next_run_wall == b->next_run_wall &&
               task_is_ready(a) == task_is_ready(b) && a->unhealthy == b->unhealthy &&
               strncmp(a->status, b->status, sizeof a->status) == 0 &&
               task_desire_equal(&a->desire, &b->desire) && text_is_same(a->reason, b->reason) &&
               memcmp(&a->grant, &b->grant, sizeof a->grant) == 0;
}

int32_t task_pid(const struct task_machine *m)
{
        return m->daemon != TASK_DAEMON_LEFT ? m->pid : 0;
}

bool task_is_ready(const struct task_machine *m)
{
        return (m->state == TASK_RUNNING && m->ready) || m->idle == IDLE_WAITS;
}

uint32_t task_version(const struct task_machine *m)
{
        if (m->run_version == 0 || m->run_version >= m->desire.restart_version)
                return m->desire.version;
        return m->run_version;
}

static bool state_is_valid(const struct task_machine *m)
{
        bool due = m->deadline_mono != USEC_NEVER;

        switch ((enum task_state) m->state) {
        case TASK_QUEUED:
                return m->desire.run ? due != (task_is_held_back(m) || m->idle) : !due;
        case TASK_STARTING:
                return !due && m->runs > 0;
        case TASK_RUNNING:
                return m->deadline_mono == task_running_deadline(m) && m->runs > 0 &&
                       !task_must_stop(m);
        case TASK_STOPPING:
                return m->runs > 0;
        case TASK_ENDED:
                return !due;
        case TASK_PLACED:
        case TASK_PREPARING:
        case TASK_LOST:
        case TASK_STATE_COUNT:
                return false;
        }
        return false;
}

static bool daemon_is_valid(const struct task_machine *m, bool process)
{
        bool there = m->daemon == TASK_DAEMON_OWN || m->daemon == TASK_DAEMON_FOREIGN;

        return m->daemon <= TASK_DAEMON_FOREIGN && m->spare2 == 0 &&
               (process || m->daemon == TASK_DAEMON_NONE) &&
               (m->daemon_by_mono != 0) == task_is_launching(m) && (there || m->daemon_ticks == 0);
}

bool task_machine_is_valid(const struct task_machine *m)
{
        bool process;
        unsigned char run; /* where a file has anything else than a bool, none may be read */

        memcpy(&run, &m->desire.run, sizeof run);
        if (run > 1 || m->desire.generation > INT64_MAX) /* JSON has no larger numbers */
                return false;
        process = m->state == TASK_RUNNING || m->state == TASK_STOPPING;
        return state_is_valid(m) && (m->pid > 0) == process && m->pid >= 0 &&
               daemon_is_valid(m, process) && m->result >= RESULT_NONE &&
               m->result <= RESULT_UNKNOWN &&
               (m->result != RESULT_NONE) == (m->state == TASK_ENDED) &&
               (!m->parked || m->result == RESULT_FAILED) && m->killed <= KILLED_STUCK &&
               (!m->killed || m->state == TASK_STOPPING) && m->lapsed <= 1 && m->grant.spare == 0 &&
               m->grant.fence <= INT64_MAX && m->run_fence <= INT64_MAX &&
               (m->next_run_wall == 0 || m->state == TASK_QUEUED) && m->restarts <= m->runs &&
               m->ready <= 1 && m->unhealthy <= 1 && m->failing <= 2 && m->idle <= IDLE_DEAF &&
               (!m->idle || (m->state == TASK_QUEUED && m->desire.run && !task_is_held_back(m))) &&
               ((!m->ready && !m->unhealthy) || m->state == TASK_RUNNING) &&
               (!m->failing || m->state == TASK_STOPPING) &&
               memchr(m->status, '\0', sizeof m->status) != NULL && m->exit_code >= -1 &&
               memchr(m->reason, '\0', sizeof m->reason) != NULL;
}
