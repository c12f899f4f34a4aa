/* SPDX-License-Identifier: BSD-3-Clause */
/* Limits that no kernel enforces: how long a run may last, and memory where we may not make cgroups
 * that limit it.
 *
 * One timer looks at all tasks, at the latest every second, and only while a run has such a limit.
 * Nothing is remembered: an agent that takes runs over looks at them as the one before did. What is
 * over its limit is told to core/task, which stops the run as one that has failed.
 *
 * Memory is the resident memory of all processes of the task, added up from /proc: what they share
 * counts for each. Which processes those are the cgroup tells, else the session: who left it is not
 * seen then. Between two looks a task can have as much as it gets. */
#include "node/task-internal.h"

#include <stdio.h>

#include "base/text.h"
#include "node/usage.h"

#define LOOK_EVERY_MS 1000

static bool is_memory_watched(const struct task *t)
{
        return (cgroup_needs(t->spec->job) & ~cgroups_enforced(t->owner->config.cgroups) &
                       CGROUP_MEMORY) != 0;
}

static bool is_watched(const struct task *t)
{
        return t->pid != 0 && t->spec != NULL &&
               (t->spec->job->max_run_time != 0 || is_memory_watched(t));
}

/* ---- memory */

static void check_memory(struct task *t)
{
        uint64_t limit = t->spec->job->limits.memory;
        struct usage sum = { 0 };
        char message[TASK_REASON_MAX], text[TEXT_SIZE_MAX];

        if (!cgroups_each_process(t->owner->config.cgroups, t->id, usage_add, &sum))
                sum = usage_of_session(t->pid);
        if (sum.memory <= limit)
                return;
        snprintf(message, sizeof message, "has %.1fMiB of memory, the limit is %s (watched)",
                (double) sum.memory / (1024 * 1024), text_format_size(text, limit));
        task_apply(t, &(struct task_event){ .type = TASK_EV_UNFIT,
                              .message = message,
                              .final = t->spec->job->limits.over == RESTART_ACTION_END });
}

/* ---- time */

/* When its run has lasted as long as it may. */
static usec_t time_is_up(const struct task *t)
{
        return table_machine(t->slot)->started_mono + t->spec->job->max_run_time;
}

static void check_time(struct task *t, usec_t now)
{
        char message[TASK_REASON_MAX], span[TIME_TEXT_MAX];

        if (now < time_is_up(t))
                return;
        snprintf(message, sizeof message, "lasted longer than max_run_time of %s",
                time_format_exact(span, t->spec->job->max_run_time));
        task_apply(t, &(struct task_event){ .type = TASK_EV_UNFIT, .message = message });
}

/* ---- the timer */

static void on_watcher(uv_timer_t *timer)
{
        struct tasks *ts = timer->data;
        struct task *t, *next;

        HASH_ITER (hh, ts->by_id, t, next) {
                if (!is_watched(t) || table_machine(t->slot)->state != TASK_RUNNING)
                        continue;
                if (t->spec->job->max_run_time != 0)
                        check_time(t, time_mono());
                if (is_memory_watched(t) && table_machine(t->slot)->state == TASK_RUNNING)
                        check_memory(t);
        }
        for (t = ts->by_id; t != NULL; t = t->hh.next)
                task_watch(t);
}

void task_watch(struct task *t)
{
        uv_timer_t *timer = &t->owner->watcher;
        usec_t now = time_mono(), until = USEC_NEVER;
        uint64_t delay = LOOK_EVERY_MS;

        if (!is_watched(t))
                return;
        if (t->spec->job->max_run_time != 0)
                until = time_is_up(t);
        if (until <= now)
                delay = table_machine(t->slot)->state == TASK_RUNNING ? 1 : LOOK_EVERY_MS;
        else
                delay = MIN(delay, (until - now) / USEC_MSEC + 1);
        if (uv_is_active((uv_handle_t *) timer) && uv_timer_get_due_in(timer) <= delay)
                return;
        uv_update_time(t->owner->config.loop);
        uv_timer_start(timer, on_watcher, delay, 0);
}

void tasks_watch_init(struct tasks *ts)
{
        uv_timer_init(ts->config.loop, &ts->watcher);
        ts->watcher.data = ts;
}
