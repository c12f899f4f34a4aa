/* SPDX-License-Identifier: BSD-3-Clause */
/* Health: from answers to a verdict. One answer that agrees with the verdict forgets all those
 * before that did not. Who asks, and what follows, is decided elsewhere. */
#include "core/health.h"

bool health_take(struct health_count *h, bool good, uint32_t failures, uint32_t successes)
{
        if (good != h->bad) {
                h->in_a_row = 0;
                return false;
        }
        if (++h->in_a_row < (h->bad ? successes : failures))
                return false;
        h->bad = !h->bad;
        h->in_a_row = 0;
        return true;
}
