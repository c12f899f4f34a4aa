/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "core/cluster.h"

/* Which tasks would better be elsewhere. */

/* A task that would leave a node for one that is less used. Strings are borrowed for the call. */
struct rebalance_move {
        const char *task, *from, *to;
        const char *reason; /* "a is used 80 %, c 20 %; then 60 % and 40 %" */
};

/* Calls @each for up to @budget moves, those that even out most first, each on top of those before
 * it. None if nothing would become better by a tenth of a node or by two tasks. Changes nothing:
 * CLUSTER_MOVE does. */
void cluster_rebalance(const struct cluster *c, uint32_t budget,
        void (*each)(void *data, const struct rebalance_move *), void *data);
