/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "base/error.h"
#include "base/time.h"

/* Waiting until what was asked for has come about. */

enum await_goal {
        AWAIT_SETTLED, /* a job runs, or has ended */
        AWAIT_ENDED,   /* a job or task has ended; one that is gone has */
        AWAIT_GONE,    /* a job is removed */
};

#define AWAIT_TIMEOUT (60 * USEC_SEC)

/* Waits for each of @names (jobs or tasks; ended by NULL) by blocking reads, through restarts of
 * the server. AWAIT_SETTLED fails for a job that has failed. ERR_TIMEOUT says how it is instead;
 * @timeout USEC_NEVER is none. */
int await_all(const char *const *names, enum await_goal goal, usec_t timeout, struct error *err);
