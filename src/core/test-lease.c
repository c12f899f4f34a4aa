/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/lease.h"

static void the_kill_comes_before_the_end_and_the_stop_before_the_kill(void **state)
{
        struct lease lease;

        (void) state;
        lease_plan(100 * USEC_SEC, 10 * USEC_SEC, USEC_SEC, &lease);
        assert_int_equal(lease.kill_mono, 109 * USEC_SEC);
        assert_int_equal(lease.stop_mono, 108 * USEC_SEC);
        assert_true(lease_holds(&lease, 108 * USEC_SEC - 1));
        assert_false(lease_holds(&lease, 108 * USEC_SEC));
}

static void a_long_grace_period_is_cut_to_a_third_of_the_lease(void **state)
{
        static const usec_t graces[] = { 4 * USEC_SEC, 10 * USEC_MINUTE, USEC_NEVER };
        struct lease lease;

        (void) state;
        for (size_t i = 0; i < 3; i++) {
                lease_plan(100 * USEC_SEC, 9 * USEC_SEC, graces[i], &lease);
                assert_int_equal(lease.kill_mono, 109 * USEC_SEC - 900 * USEC_MSEC);
                assert_int_equal(lease.stop_mono, lease.kill_mono - 3 * USEC_SEC);
        }
}

static void without_grace_it_is_killed_at_once(void **state)
{
        struct lease lease;

        (void) state;
        lease_plan(0, USEC_SEC, 0, &lease); /* never heard, on this boot's clock */
        assert_int_equal(lease.kill_mono, 900 * USEC_MSEC);
        assert_int_equal(lease.stop_mono, lease.kill_mono);
}

static void no_lease_runs_beside_the_server_nor_for_ever(void **state)
{
        struct lease lease;

        (void) state;
        lease_plan(USEC_NEVER, USEC_SEC, USEC_SEC, &lease);
        assert_true(lease_holds(&lease, USEC_NEVER - 1));
        lease_plan(5, USEC_NEVER, USEC_SEC, &lease);
        assert_true(lease_holds(&lease, USEC_NEVER - 1));
        assert_int_equal(lease.kill_mono, USEC_NEVER);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_kill_comes_before_the_end_and_the_stop_before_the_kill),
                cmocka_unit_test(a_long_grace_period_is_cut_to_a_third_of_the_lease),
                cmocka_unit_test(without_grace_it_is_killed_at_once),
                cmocka_unit_test(no_lease_runs_beside_the_server_nor_for_ever),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
