/* SPDX-License-Identifier: BSD-3-Clause */
/* Lease: when a singleton has to be gone.
 *
 *     heard            stop                kill        end
 *       ├────────────────┼───────────────────┼──────────┤
 *                        │ grace, at most    │ margin:  │
 *                        │ a third           │ a tenth  │
 *
 * The margin is for what lies between the moment of the kill and the end of the last process: a
 * busy agent, a kernel that has much to free. */
#include "core/lease.h"

#include "base/macros.h"

#define MARGIN_PART 10 /* of the lease */
#define GRACE_PART  3

static usec_t add(usec_t at, usec_t span)
{
        return span >= USEC_NEVER - at ? USEC_NEVER : at + span;
}

void lease_plan(usec_t heard_mono, usec_t span, usec_t grace, struct lease *ret)
{
        usec_t end = add(heard_mono, span);

        *ret = (struct lease){ USEC_NEVER, USEC_NEVER };
        if (heard_mono <= LEASE_LONG_AGO)
                *ret = (struct lease){ LEASE_LONG_AGO, LEASE_LONG_AGO };
        if (heard_mono <= LEASE_LONG_AGO || end == USEC_NEVER)
                return;
        ret->kill_mono = end - span / MARGIN_PART;
        ret->stop_mono = ret->kill_mono - MIN(grace, span / GRACE_PART);
}

bool lease_holds(const struct lease *lease, usec_t now_mono)
{
        return now_mono < lease->stop_mono;
}
