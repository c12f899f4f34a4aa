/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "base/macros.h"
#include "core/task.h"

/* For the tests of the task machine: a task with its job and its clock. */

#define WALL (1800000000 * USEC_SEC)

static char job_name[] = "web";
static int success_codes[] = { 0 };
static int codes_9[] = { 9 };
static struct restart_rule rules[] = {
        { .exit_codes = codes_9, .exit_codes_len = 1, .then = RESTART_ACTION_END },
};

struct life {
        struct task_machine m;
        struct job_spec spec;
        usec_t now;
        struct task_effects fx;
};

/* Nobody has asked for it yet; its job waits 1s, is parked after 3 failures in 1m, has 10s to stop.
 */
static inline void life_init(struct life *l, enum restart_policy policy)
{
        *l = (struct life){ .now = 1000 * USEC_SEC };
        l->spec.name = job_name;
        l->spec.success_codes = success_codes;
        l->spec.success_codes_len = ARRAY_SIZE(success_codes);
        l->spec.restart.policy = policy;
        l->spec.restart.delay = USEC_SEC;
        l->spec.restart.max_delay = USEC_MINUTE;
        l->spec.restart.burst = 3;
        l->spec.restart.window = USEC_MINUTE;
        l->spec.restart.healthy = 10 * USEC_SEC;
        l->spec.restart.rules = rules;
        l->spec.restart.rules_len = ARRAY_SIZE(rules);
        l->spec.stop.signal = SIGTERM;
        l->spec.stop.grace = 10 * USEC_SEC;
        task_machine_init(&l->m, WALL + l->now);
}

/* The event comes at @now. */
static inline void feed_at(struct life *l, const struct task_event *event, usec_t now)
{
        struct task_event named = *event;

        named.id = "web.0";
        l->now = now;
        task_handle(&l->m, &l->spec, &named, l->now, WALL + l->now, l->now, &l->fx);
}
