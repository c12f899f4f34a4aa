/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/lease.h"
#include "core/test-life.h"

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
        lease_plan(2 * USEC_SEC, USEC_SEC, 0, &lease);
        assert_int_equal(lease.kill_mono, 2900 * USEC_MSEC);
        assert_int_equal(lease.stop_mono, lease.kill_mono);
}

/* The machine was booted a moment ago, and was away for who knows how long before. */
static void what_was_heard_before_the_boot_is_no_lease(void **state)
{
        struct lease lease;

        (void) state;
        lease_plan(LEASE_LONG_AGO, 24 * USEC_HOUR, USEC_SEC, &lease);
        assert_false(lease_holds(&lease, USEC_SEC));
        assert_true(lease.kill_mono <= USEC_SEC);
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

/* A task that runs. */
static void begin(struct life *l)
{
        const struct task_event run = { .type = TASK_EV_DESIRE,
                .desire = { .run = true, .version = 1 } };
        const struct task_event spawned = { .type = TASK_EV_SPAWNED, .pid = 4711 };

        life_init(l, RESTART_ALWAYS);
        feed_at(l, &run, l->now);
        feed_at(l, &spawned, l->now + USEC_SEC);
}

/* Whatever the grace period: at the end of the lease the group is killed. */
static void the_grace_period_of_a_task_is_cut(void **state)
{
        struct task_event lapsed = { .type = TASK_EV_LEASE, .lapsed = true };
        const struct task_event timer = { .type = TASK_EV_TIMER };
        const struct task_event stop = { .type = TASK_EV_DESIRE, .desire = { .version = 1 } };
        struct life l;

        (void) state;
        begin(&l);
        lapsed.kill_mono = l.now + 3 * USEC_SEC;
        feed_at(&l, &lapsed, l.now + USEC_SEC);
        assert_int_equal(l.fx.signal, SIGTERM);
        assert_int_equal(l.m.deadline_mono, lapsed.kill_mono);
        assert_non_null(strstr(l.fx.notes[0].message, "(TERM, grace period 2s): its lease ends"));
        feed_at(&l, &timer, l.m.deadline_mono);
        assert_int_equal(l.fx.signal, SIGKILL);
        assert_non_null(strstr(l.fx.notes[0].message, "the time that it had to end is over"));

        begin(&l); /* a stop under way is cut short, too */
        feed_at(&l, &stop, l.now);
        lapsed.kill_mono = l.now + 3 * USEC_SEC;
        feed_at(&l, &lapsed, l.now + USEC_SEC);
        assert_int_equal(l.fx.signal, 0);
        assert_int_equal(l.m.deadline_mono, lapsed.kill_mono);
        lapsed.kill_mono = l.now - 1;
        feed_at(&l, &lapsed, l.now + USEC_SEC);
        assert_int_equal(l.fx.signal, SIGKILL);

        begin(&l); /* found too late */
        lapsed.kill_mono = l.now - 1;
        feed_at(&l, &lapsed, l.now);
        assert_int_equal(l.fx.signal, SIGKILL);
        assert_true(l.m.killed);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_kill_comes_before_the_end_and_the_stop_before_the_kill),
                cmocka_unit_test(a_long_grace_period_is_cut_to_a_third_of_the_lease),
                cmocka_unit_test(without_grace_it_is_killed_at_once),
                cmocka_unit_test(what_was_heard_before_the_boot_is_no_lease),
                cmocka_unit_test(the_grace_period_of_a_task_is_cut),
                cmocka_unit_test(no_lease_runs_beside_the_server_nor_for_ever),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
