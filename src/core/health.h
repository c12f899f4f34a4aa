/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Counts answers in a row: when many are bad the thing that was asked turns bad, when many are good
 * it turns good again. Zeroed: nothing was asked yet, and it counts as good. */
struct health_count {
        uint32_t in_a_row; /* answers that speak against what it counts as */
        bool bad;
};

/* Takes an answer. Returns whether it has turned: see `bad`. @failures, @successes: how many in a
 * row it takes, 1 at least. */
bool health_take(struct health_count *h, bool good, uint32_t failures, uint32_t successes);
