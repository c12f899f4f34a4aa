/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/time.h"
#include "model/job.h"

/* Whether a task whose run has ended runs again, and when. Pure: see restart.c for the policy. */

struct restart_history {         /* kept by the task between its runs */
        uint32_t failures;       /* in a row: the exponent of the back-off */
        uint32_t burst_count;    /* failures in the window that began at burst_began_mono */
        usec_t burst_began_mono; /* means nothing while burst_count is 0 */
        uint32_t retries;        /* runs after a failed one, since a person asked for it */
};

struct restart_end { /* how the run ended */
        bool known;
        int32_t exit_code; /* -1: by a signal */
        int32_t signal;
        usec_t lasted;       /* duration of the run */
        const char *message; /* why it could not even begin (a failure); NULL: it began */
        const char *detail;  /* more of why it ended: "out of memory: ..."; NULL: nothing to add */
        bool unmet;          /* something that it needs to begin is not there: neither policy nor
                                limits are asked */
        const char *failed;  /* why it was ended: a failure, however it ended; NULL: it was not */
};

enum restart_verdict {
        RESTART_VERDICT_AGAIN, /* after `delay` */
        RESTART_VERDICT_END,   /* the task has ended */
        RESTART_VERDICT_PARK, /* it would run again, but failed too often: it has ended as failed */
};

#define RESTART_REASON_MAX 200

struct restart_decision {
        enum restart_verdict verdict;
        usec_t delay; /* 0: at once */
        bool success; /* the run counts as a success */

        /* - AGAIN: what stands behind "waits 2s" or "runs again":
         *   "after exit code 3 (failure 2 in a row)"
         * - END: "exit code 3, and policy never does not restart"
         * - PARK: "5 failures within 1m, the last one: exit code 3" */
        char reason[RESTART_REASON_MAX];
};

/* A run that could not begin is not tried again sooner than this, whatever the spec says: it takes
 * no time, and without any delay the agent would do nothing else. */
#define RESTART_DELAY_UNSTARTED (100 * USEC_MSEC)
#define RESTART_DELAY_UNMET     USEC_SEC /* the same when something that it needs is not there */

/* @history is brought up to date. @now_mono: when the run ended. @seed makes the jitter: the delay
 * is spread over 75..125 % of its nominal value, except that no delay stays none. */
void restart_decide(const struct job_spec *spec, struct restart_history *history,
        const struct restart_end *end, usec_t now_mono, uint64_t seed,
        struct restart_decision *ret);

/* How a run ended, in words that fit behind "the last one: ": "exit code 3", "signal KILL", "exit
 * status unknown because agent and keeper were both gone", or its message. Returns @text. */
const char *restart_format_end(char text[RESTART_REASON_MAX], const struct restart_end *end);
