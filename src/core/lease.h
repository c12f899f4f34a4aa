/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>

#include "base/time.h"

/* The lease of a singleton, as its node sees it. The server gives a singleton to another node only
 * when it has heard nothing of this one for the lease; so this one ends it before the lease is
 * over, counted from the last moment at which the server is known to have heard us: when something
 * left here of which the server has said since that it came. It reached the server no earlier than
 * that, so the server counts longer than we do, whatever the clocks say and however slow the link
 * is. */

struct lease {
        usec_t stop_mono; /* the group is asked to end */
        usec_t kill_mono; /* and must be killed */
};

/* A moment before the clock began to count as it does now, which nobody can say how long ago it
 * was: the machine was booted since. Whatever the span of a lease, it is over. */
#define LEASE_LONG_AGO 1

/* @heard_mono: that moment; USEC_NEVER: no lease runs (the server is on this machine).
 * @span: of the lease. @grace: the spec's grace period, of which at most a third of the lease is
 * left: a short break of the link shall not cost a run.
 * @ret: both are USEC_NEVER if no lease runs. */
void lease_plan(usec_t heard_mono, usec_t span, usec_t grace, struct lease *ret);

/* Whether something may be begun under it now. */
bool lease_holds(const struct lease *lease, usec_t now_mono);
