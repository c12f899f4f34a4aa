/* SPDX-License-Identifier: BSD-3-Clause */

/* A task that begins on demand: when it waits, what begins it, and when it waits again. */

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "core/test-life.h"

#define SECONDS(n) ((usec_t) (n) *USEC_SEC)

static char socket_name[] = "web", address[] = "127.0.0.1:80", other[] = "unix:/run/x";
static struct job_socket sockets[] = { { .name = socket_name, .listen = address },
        { .name = socket_name, .listen = other } };

static void feed(struct life *l, struct task_event event)
{
        feed_at(l, &event, l->now + SECONDS(5));
}

static void desire(struct life *l, bool run, uint32_t version, uint64_t generation)
{
        feed(l, (struct task_event){ .type = TASK_EV_DESIRE,
                        .desire = { .run = run,
                                .version = version,
                                .restart_version = version,
                                .generation = generation } });
}

static void tell(struct life *l, enum task_event_type type, const char *message)
{
        feed(l, (struct task_event){ .type = type, .message = message });
}

static void runs(struct life *l)
{
        feed(l, (struct task_event){ .type = TASK_EV_SPAWNED, .pid = 7 });
}

static void exits(struct life *l, int code)
{
        feed(l, (struct task_event){ .type = TASK_EV_EXITED, .known = true, .exit_code = code });
}

static void assert_waits(const struct life *l, uint64_t runs_before)
{
        assert_int_equal(l->m.state, TASK_QUEUED);
        assert_true(task_is_ready(&l->m));
        assert_int_equal(l->m.deadline_mono, USEC_NEVER);
        assert_int_equal(l->m.runs, runs_before);
        assert_string_equal(l->m.reason, "waits for a connection to 127.0.0.1:80, unix:/run/x");
        assert_false(l->fx.spawn);
}

static void asked(struct life *l)
{
        life_init(l, RESTART_ALWAYS);
        l->spec.start = JOB_START_ON_DEMAND;
        l->spec.sockets = sockets;
        l->spec.sockets_len = ARRAY_SIZE(sockets);
        desire(l, true, 1, 0);
        assert_waits(l, 0);
        assert_int_equal(l->fx.notes_len, 1);
}

static void wanted(struct life *l)
{
        asked(l);
        tell(l, TASK_EV_DEMAND, NULL);
        assert_true(l->fx.spawn);
        runs(l);
        assert_int_equal(l->m.state, TASK_RUNNING);
}

static void test_it_waits_runs_and_waits_again(void **state)
{
        struct life l;

        (void) state;
        wanted(&l);
        exits(&l, 0);
        assert_waits(&l, 1);
        tell(&l, TASK_EV_DEMAND, NULL);
        assert_true(l.fx.spawn);
        assert_int_equal(l.m.restarts, 0); /* nobody but who came is behind it */
        tell(&l, TASK_EV_DEMAND, NULL);    /* it is on its way */
        assert_false(l.fx.spawn);
}

static void test_success_waits_whatever_the_policy(void **state)
{
        struct life l;

        (void) state;
        for (int policy = RESTART_ALWAYS; policy <= RESTART_NEVER; policy++) {
                wanted(&l);
                l.spec.restart.policy = (enum restart_policy) policy;
                exits(&l, 0);
                assert_waits(&l, 1);
        }
}

static void test_failure_is_as_ever(void **state)
{
        struct life l;

        (void) state;
        wanted(&l);
        exits(&l, 3);
        assert_int_equal(l.m.state, TASK_QUEUED);
        assert_false(task_is_ready(&l.m));
        feed_at(&l, &(struct task_event){ .type = TASK_EV_TIMER }, l.m.deadline_mono);
        assert_true(l.fx.spawn);
}

static void test_not_all_the_time(void **state)
{
        struct life l;
        usec_t began;

        (void) state;
        wanted(&l);
        l.spec.restart.delay = SECONDS(60);
        exits(&l, 0);
        began = l.m.started_mono;
        tell(&l, TASK_EV_DEMAND, NULL);
        assert_false(l.fx.spawn);
        assert_int_equal(l.m.deadline_mono, began + SECONDS(60));
        feed_at(&l, &(struct task_event){ .type = TASK_EV_TIMER }, l.m.deadline_mono);
        assert_true(l.fx.spawn);
        assert_string_equal(
                l.m.reason, "runs again after a connection that came soon after another");
}

static void test_what_waits_takes_everything_in_place(void **state)
{
        struct life l;

        (void) state;
        asked(&l);
        desire(&l, true, 2, 0);
        assert_waits(&l, 0);
        assert_int_equal(task_version(&l.m), 2);
        desire(&l, true, 2, 1);
        assert_waits(&l, 0);
        desire(&l, false, 2, 1);
        assert_int_equal(l.m.state, TASK_ENDED);
        desire(&l, true, 2, 2);
        assert_waits(&l, 0);
        l.spec.start = JOB_START_NOW;
        desire(&l, true, 3, 2);
        assert_true(l.fx.spawn);
}

static void test_what_runs_is_replaced_at_once(void **state)
{
        struct life l;

        (void) state;
        wanted(&l);
        desire(&l, true, 2, 0);
        assert_int_equal(l.m.state, TASK_STOPPING);
        exits(&l, 0);
        assert_true(l.fx.spawn);
}

static void test_boot_waits(void **state)
{
        struct life l;

        (void) state;
        asked(&l);
        tell(&l, TASK_EV_BOOT, NULL);
        assert_waits(&l, 0);
        assert_int_equal(l.fx.notes_len, 0);
        wanted(&l);
        tell(&l, TASK_EV_BOOT, NULL);
        assert_waits(&l, 1);
        tell(&l, TASK_EV_HALT, NULL);
        assert_false(task_is_ready(&l.m));
        tell(&l, TASK_EV_DEMAND, NULL);
        assert_false(l.fx.spawn);
        tell(&l, TASK_EV_BOOT, NULL);
        assert_waits(&l, 1);
}

static void test_deaf(void **state)
{
        struct life l;

        (void) state;
        asked(&l);
        tell(&l, TASK_EV_LISTENS, "it is taken");
        assert_int_equal(l.m.state, TASK_QUEUED);
        assert_false(task_is_ready(&l.m));
        assert_string_equal(l.m.reason, "it is taken");
        assert_int_equal(l.fx.notes_len, 1);
        tell(&l, TASK_EV_LISTENS, "it is taken");
        assert_false(l.fx.changed);
        assert_int_equal(l.fx.notes_len, 0);
        tell(&l, TASK_EV_LISTENS, NULL);
        assert_waits(&l, 0);
        wanted(&l);
        tell(&l, TASK_EV_LISTENS, "it is taken");
        assert_false(l.fx.changed);
}

static void test_unmet_is_tried_again(void **state)
{
        struct life l;

        (void) state;
        life_init(&l, RESTART_NEVER);
        desire(&l, true, 1, 0);
        feed(&l, (struct task_event){
                         .type = TASK_EV_SPAWN_FAILED, .unmet = true, .message = "it is taken" });
        assert_int_equal(l.m.state, TASK_QUEUED);
        assert_non_null(strstr(l.m.reason, "after the first failure: it is taken"));
        feed_at(&l, &(struct task_event){ .type = TASK_EV_TIMER }, l.m.deadline_mono);
        assert_true(l.fx.spawn);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_it_waits_runs_and_waits_again),
                cmocka_unit_test(test_success_waits_whatever_the_policy),
                cmocka_unit_test(test_failure_is_as_ever),
                cmocka_unit_test(test_not_all_the_time),
                cmocka_unit_test(test_what_waits_takes_everything_in_place),
                cmocka_unit_test(test_what_runs_is_replaced_at_once),
                cmocka_unit_test(test_boot_waits),
                cmocka_unit_test(test_deaf),
                cmocka_unit_test(test_unmet_is_tried_again),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
