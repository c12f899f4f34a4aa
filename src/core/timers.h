/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stddef.h>

#include "base/time.h"

/* Times at which something is due: a binary heap whose elements lie in the structs that they
 * belong to. A zeroed struct timer is not set; a zeroed struct timers has none. */

struct timer {
        usec_t at;
        uint32_t owner; /* whatever tells what it belongs to */
        size_t place;   /* in the heap, from 1; 0: not set */
};

struct timers {
        struct timer **heap;
        size_t len, allocated;
};

/* Sets, moves or (USEC_NEVER) unsets. */
void timers_set(struct timers *timers, struct timer *timer, usec_t at);

/* When the timer is due; USEC_NEVER if it is not set. */
usec_t timer_at(const struct timer *timer);

/* The timer that is due first, or NULL. */
struct timer *timers_first(const struct timers *timers);

/* The clock was set: all that is due becomes due @by later (or, negative, earlier). */
void timers_shift(struct timers *timers, int64_t by);

/* Frees what the heap holds itself; the timers belong to others. */
void timers_done(struct timers *timers);
