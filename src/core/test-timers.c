/* SPDX-License-Identifier: BSD-3-Clause */
/* Timers against a plain list: set, moved, unset and shifted at random. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/timers.h"

#define TIMERS 40

static uint32_t next_random(uint32_t *seed)
{
        *seed = *seed * 1664525u + 1013904223u;
        return *seed >> 8;
}

static usec_t earliest(struct timer *all)
{
        usec_t first = USEC_NEVER;

        for (size_t i = 0; i < TIMERS; i++)
                first = timer_at(&all[i]) < first ? timer_at(&all[i]) : first;
        return first;
}

static void test_first_is_earliest(void **state)
{
        struct timer all[TIMERS] = { 0 };
        struct timers timers = { 0 };
        uint32_t seed = 7;

        (void) state;
        for (int i = 0; i < 5000; i++) {
                struct timer *timer = &all[next_random(&seed) % TIMERS];
                const struct timer *first;

                timers_set(&timers, timer,
                        next_random(&seed) % 4 == 0 ? USEC_NEVER : 1000 + next_random(&seed) % 50);
                first = timers_first(&timers);
                assert_true((first == NULL ? USEC_NEVER : first->at) == earliest(all));
        }
        timers_done(&timers);
}

static void test_shift_moves_all(void **state)
{
        struct timer all[3] = { 0 };
        struct timers timers = { 0 };

        (void) state;
        for (size_t i = 0; i < 3; i++)
                timers_set(&timers, &all[i], 100 + i);
        timers_shift(&timers, -50);
        assert_true(timer_at(&all[0]) == 50);
        timers_shift(&timers, 10);
        assert_true(timer_at(&all[2]) == 62);
        timers_set(&timers, &all[0], USEC_NEVER);
        assert_true(timer_at(&all[0]) == USEC_NEVER);
        assert_ptr_equal(timers_first(&timers), &all[1]);
        timers_done(&timers);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_first_is_earliest),
                cmocka_unit_test(test_shift_moves_all),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
