/* SPDX-License-Identifier: BSD-3-Clause */
#include "net/hub.h"
#include "net/test-net.h"

struct alarm {
        struct hub *hub;
        struct hub_deadline deadline;
        unsigned rung;
};

static void on_alarm(struct hub_deadline *d)
{
        container_of(d, struct alarm, deadline)->rung++;
}

/* A deadline nearer than the timer's grain that is set again and again does not put off others. */
static void test_busy_deadlines(void **state)
{
        struct alarm patient = { 0 }, busy = { 0 };
        struct hub *hub;
        uv_loop_t loop;
        usec_t due;

        (void) state;
        uv_loop_init(&loop);
        hub = hub_get(&loop);
        due = time_mono() + 200 * USEC_MSEC;
        hub_set_deadline(hub, &patient.deadline, due, on_alarm);
        while (patient.rung == 0) {
                assert_true(time_mono() < due + 5 * USEC_SEC);
                hub_set_deadline(hub, &busy.deadline, time_mono() + 5 * USEC_MSEC, on_alarm);
                turn(&loop);
        }
        assert_true(time_mono() >= due);
        hub_set_deadline(hub, &busy.deadline, USEC_NEVER, on_alarm);
        hub_unref(hub);
        loop_close(&loop);
}

/* Of deadlines that are due together each may unset the others. */
static struct alarm pair[2];

static void on_first_of_pair(struct hub_deadline *d)
{
        struct alarm *a = container_of(d, struct alarm, deadline);

        a->rung++;
        hub_set_deadline(a->hub, &pair[a == &pair[0]].deadline, USEC_NEVER, on_first_of_pair);
}

static void test_due_together(void **state)
{
        struct hub *hub;
        uv_loop_t loop;

        (void) state;
        uv_loop_init(&loop);
        hub = hub_get(&loop);
        for (size_t i = 0; i < 2; i++) {
                pair[i] = (struct alarm){ .hub = hub };
                hub_set_deadline(hub, &pair[i].deadline, time_mono(), on_first_of_pair);
        }
        wait_for(&loop, pair[0].rung + pair[1].rung > 0);
        assert_int_equal(pair[0].rung + pair[1].rung, 1);
        assert_false(pair[0].deadline.set);
        assert_false(pair[1].deadline.set);
        hub_unref(hub);
        loop_close(&loop);
}

static void test_deadline_after(void **state)
{
        usec_t now = time_mono();

        (void) state;
        assert_true(hub_deadline_after(USEC_SEC) >= now + USEC_SEC);
        assert_true(hub_deadline_after(USEC_NEVER) == USEC_NEVER);
        assert_true(hub_deadline_after(USEC_NEVER - 1) == USEC_NEVER);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_busy_deadlines),
                cmocka_unit_test(test_due_together),
                cmocka_unit_test(test_deadline_after),
        };

        return cmocka_run_group_tests_name("net-hub", tests, NULL, NULL);
}
