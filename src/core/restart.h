/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/time.h"
#include "model/job.h"

/* Whether a task whose run has ended runs again, and when. Pure: see restart.c for the policy. */

struct restart_history { /* kept by the task between its runs */
        uint32_t failures;
        uint32_t burst_count;
        usec_t burst_began_mono;
};

struct restart_end { /* how the run ended */
        bool known;
        int32_t exit_code; /* -1: by a signal */
        int32_t signal;
        usec_t lasted; /* duration of the run */
};

enum restart_verdict {
        RESTART_VERDICT_AGAIN, /* after `delay` */
        RESTART_VERDICT_END,   /* the task has ended */
        RESTART_VERDICT_PARK,  /* it would run again, but failed too often: it has ended as failed */
};

struct restart_decision {
        enum restart_verdict verdict;
        usec_t delay;
        bool success; /* the run counts as a success */
        char reason[160]; /* "on-failure: exit code 3, failure 2 in a row, delay 2s" */
};

/* @history is brought up to date. @seed makes the jitter: the delay is spread over 75..125 % of its nominal value, except
 * that no delay stays none. */
void restart_decide(const struct job_spec *spec, struct restart_history *history,
        const struct restart_end *end, usec_t now_mono, uint64_t seed, struct restart_decision *ret);
