/* SPDX-License-Identifier: BSD-3-Clause */

/* Ready, well and alive: what the task machine makes of what it hears of a run. */

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "core/health.h"
#include "core/test-life.h"

#define SECONDS(n) ((usec_t) (n) *USEC_SEC)

static void feed(struct life *l, struct task_event event)
{
        feed_at(l, &event, l->now + SECONDS(1));
}

static void desire(struct life *l, uint32_t version, uint64_t generation)
{
        feed(l, (struct task_event){ .type = TASK_EV_DESIRE,
                        .desire = { .run = true, .version = version, .generation = generation } });
}

static void notice(struct life *l, struct task_notice n)
{
        feed(l, (struct task_event){ .type = TASK_EV_NOTICE, .notice = n });
}

static void come_to_deadline(struct life *l)
{
        assert_int_not_equal(l->m.deadline_mono, USEC_NEVER);
        feed_at(l, &(struct task_event){ .type = TASK_EV_TIMER }, l->m.deadline_mono);
}

static void exits(struct life *l, int code)
{
        feed(l, (struct task_event){ .type = TASK_EV_EXITED, .known = true, .exit_code = code });
}

static void begin_run(struct life *l)
{
        if (l->m.state == TASK_QUEUED)
                come_to_deadline(l);
        feed(l, (struct task_event){ .type = TASK_EV_SPAWNED, .pid = 7 });
}

/* A task that runs: not ready before something says so, unless @at_once. */
static void begin(struct life *l, bool at_once, usec_t deadline, usec_t watchdog)
{
        life_init(l, RESTART_ALWAYS);
        l->spec.ready.notify = !at_once;
        l->spec.ready.deadline = deadline;
        l->spec.watchdog = watchdog;
        desire(l, 1, 0);
        begin_run(l);
        assert_int_equal(l->m.state, TASK_RUNNING);
        assert_int_equal(task_is_ready(&l->m), at_once);
}

static void test_ready_once_started(void **state)
{
        struct life l;

        (void) state;
        begin(&l, true, 0, 0);
        assert_int_equal(l.m.deadline_mono, USEC_NEVER);
        exits(&l, 0);
        assert_false(task_is_ready(&l.m));
}

static void test_ready_when_said(void **state)
{
        struct life l;

        (void) state;
        begin(&l, false, SECONDS(30), 0);
        assert_int_equal(l.m.deadline_mono, l.m.started_mono + SECONDS(30));
        notice(&l, (struct task_notice){ .ready = true, .status = "two\nlines" });
        assert_true(task_is_ready(&l.m) && l.fx.changed);
        assert_int_equal(l.m.deadline_mono, USEC_NEVER);
        assert_string_equal(l.m.status, "two lines");
        assert_string_equal(l.fx.notes[0].message, "run 1 is ready after 2s");
        notice(&l, (struct task_notice){ .ready = true });
        assert_false(l.fx.changed || l.fx.notes_len > 0);
        notice(&l, (struct task_notice){ .stopping = true });
        assert_false(task_is_ready(&l.m));
        exits(&l, 0);
        begin_run(&l);
        assert_false(task_is_ready(&l.m));
        assert_string_equal(l.m.status, "");
}

static void test_not_ready_in_time(void **state)
{
        struct life l;

        (void) state;
        begin(&l, false, SECONDS(30), 0);
        come_to_deadline(&l);
        assert_int_equal(l.m.state, TASK_STOPPING);
        assert_int_equal(l.fx.signal, SIGTERM);
        exits(&l, 0);
        assert_int_equal(l.m.state, TASK_QUEUED);
        assert_int_equal(l.m.failures, 1);
        assert_non_null(strstr(l.m.reason,
                "after the first failure: it was not ready within 30s (ready.deadline)"));
}

/* A failed run that ends with 0 is a failure for whoever restarts failures only. */
static void test_a_failed_run_is_no_success(void **state)
{
        struct life l;

        (void) state;
        life_init(&l, RESTART_ON_FAILURE);
        desire(&l, 1, 0);
        begin_run(&l);
        feed(&l, (struct task_event){ .type = TASK_EV_UNFIT, .message = "unhealthy: status 500" });
        assert_int_equal(l.m.state, TASK_STOPPING);
        exits(&l, 0);
        assert_int_equal(l.m.state, TASK_QUEUED);
        assert_string_equal(l.fx.notes[0].message, "run 1 ended after 3s: unhealthy: status 500");

        life_init(&l, RESTART_NEVER);
        desire(&l, 1, 0);
        begin_run(&l);
        feed(&l, (struct task_event){ .type = TASK_EV_UNFIT, .message = "unhealthy: status 500" });
        exits(&l, 0);
        assert_int_equal(l.m.state, TASK_ENDED);
        assert_int_equal(l.m.result, RESULT_FAILED);
}

/* What has failed is told as such, and what was good before is remembered. */
static void test_good_and_failed_runs(void **state)
{
        struct life l;

        (void) state;
        begin(&l, true, 0, 0);
        exits(&l, 1); /* too soon to have been good */
        assert_true(l.fx.failed);
        assert_string_equal(l.fx.notes[0].failure, "failed");
        assert_int_equal(l.m.good_run, 0);

        begin_run(&l);
        exits(&l, 0);
        assert_false(l.fx.failed);
        assert_null(l.fx.notes[0].failure);
        assert_int_equal(l.m.good_run, 2);
        assert_int_equal(l.m.good_wall, WALL + l.now);

        begin_run(&l);
        feed_at(&l,
                &(struct task_event){ .type = TASK_EV_EXITED,
                        .known = true,
                        .exit_code = -1,
                        .signal = SIGKILL,
                        .out_of_memory = true },
                l.now + SECONDS(11));
        assert_string_equal(l.fx.notes[0].failure, "oom");
        assert_int_equal(l.m.good_run, 3); /* it had lasted for `healthy` */

        begin_run(&l);
        desire(&l, 2, 1); /* a person wants it otherwise */
        exits(&l, 1);
        assert_false(l.fx.failed);
        assert_int_equal(l.m.good_run, 4);
        assert_int_equal(l.m.good_version, 1);
}

/* A run that is ended because it has failed was not good, and one that is parked says so. */
static void test_failing_runs_are_not_good(void **state)
{
        struct life l;

        (void) state;
        begin(&l, true, 0, 0);
        for (int i = 1; i <= 3; i++) {
                if (i > 1)
                        begin_run(&l);
                feed(&l, (struct task_event){ .type = TASK_EV_UNFIT, .message = "unhealthy" });
                exits(&l, 0);
                assert_true(l.fx.failed);
        }
        assert_int_equal(l.m.state, TASK_ENDED);
        assert_string_equal(l.fx.notes[1].failure, "parked");
        assert_int_equal(l.m.good_run, 0);
}

/* Who is asked to go while it fails has been stopped, and has not failed. */
static void test_a_stop_comes_before_a_failure(void **state)
{
        struct life l;
        struct task_event stop = { .type = TASK_EV_DESIRE, .desire = { .version = 1 } };

        (void) state;
        begin(&l, true, 0, 0);
        feed(&l, (struct task_event){ .type = TASK_EV_UNFIT, .message = "unhealthy" });
        feed(&l, stop);
        assert_string_equal(l.m.reason, "was asked to stop");
        exits(&l, 1);
        assert_int_equal(l.m.result, RESULT_STOPPED);
}

static void test_grace_ends_in_kill(void **state)
{
        struct life l;

        (void) state;
        begin(&l, true, 0, 0);
        feed(&l, (struct task_event){ .type = TASK_EV_UNFIT, .message = "unhealthy" });
        come_to_deadline(&l);
        assert_int_equal(l.fx.signal, SIGKILL);
        feed(&l, (struct task_event){ .type = TASK_EV_EXITED,
                         .known = true,
                         .exit_code = -1,
                         .signal = SIGKILL });
        assert_int_equal(l.m.state, TASK_QUEUED);
        assert_non_null(strstr(l.m.reason, "unhealthy"));
}

static void test_watchdog(void **state)
{
        struct life l;

        (void) state;
        begin(&l, false, 0, SECONDS(5));
        assert_int_equal(l.m.deadline_mono, USEC_NEVER); /* it begins when it is ready */
        notice(&l, (struct task_notice){ .ready = true });
        assert_int_equal(l.m.deadline_mono, l.now + SECONDS(5));
        for (int i = 0; i < 10; i++)
                notice(&l, (struct task_notice){ .alive = true });
        assert_false(l.fx.changed);
        assert_int_equal(l.m.deadline_mono, l.now + SECONDS(5));
        notice(&l, (struct task_notice){ .watchdog = SECONDS(60) });
        assert_int_equal(l.m.deadline_mono, l.now + SECONDS(60));
        come_to_deadline(&l);
        assert_int_equal(l.m.state, TASK_STOPPING);
        assert_int_equal(l.fx.signal, SIGABRT);
        assert_string_equal(l.m.reason, "it gave no sign of life for 1m (watchdog)");
        exits(&l, 0);
        begin_run(&l);
        notice(&l, (struct task_notice){ .ready = true });
        assert_int_equal(l.m.deadline_mono, l.now + SECONDS(5)); /* the spec's again */
        notice(&l, (struct task_notice){ .hung = true });
        assert_int_equal(l.fx.signal, SIGABRT);
}

static void test_more_time(void **state)
{
        struct life l;

        (void) state;
        begin(&l, false, SECONDS(10), 0);
        notice(&l, (struct task_notice){ .extend = SECONDS(60) });
        assert_int_equal(l.m.deadline_mono, l.now + SECONDS(60));
        notice(&l, (struct task_notice){ .extend = SECONDS(1) }); /* never less */
        assert_int_equal(l.m.deadline_mono, l.now + SECONDS(59));
        desire(&l, 1, 1);
        assert_int_equal(l.m.deadline_mono, l.now + SECONDS(10));
        notice(&l, (struct task_notice){ .extend = SECONDS(60) });
        assert_int_equal(l.m.state, TASK_STOPPING);
        assert_int_equal(l.m.deadline_mono, l.now + SECONDS(60));
        assert_string_equal(l.m.reason, "a restart was asked for");
}

static void test_health_that_only_marks(void **state)
{
        struct task_event ill = { .type = TASK_EV_HEALTH, .message = "status 500" };
        struct task_event well = { .type = TASK_EV_HEALTH, .healthy = true, .message = "fine" };
        struct life l;

        (void) state;
        begin(&l, true, 0, 0);
        feed(&l, well);
        assert_false(l.fx.changed);
        feed(&l, ill);
        assert_true(l.m.unhealthy && l.fx.changed && task_is_ready(&l.m));
        assert_string_equal(l.fx.notes[0].message, "run 1 is unhealthy: status 500");
        feed(&l, well);
        assert_false(l.m.unhealthy);
        feed(&l, ill);
        exits(&l, 0);
        assert_false(l.m.unhealthy);
}

/* What was due while nobody listened is put off by a fair span, and nothing is forgotten. */
static void test_found(void **state)
{
        const struct task_event found = { .type = TASK_EV_FOUND };
        struct life l;

        (void) state;
        begin(&l, false, SECONDS(30), SECONDS(5));
        feed_at(&l, &found, l.now + SECONDS(1000));
        assert_int_equal(l.m.deadline_mono, l.now + SECONDS(10));
        notice(&l, (struct task_notice){ .ready = true });
        feed_at(&l, &found, l.now + SECONDS(1000));
        assert_true(task_is_ready(&l.m));
        assert_int_equal(l.m.deadline_mono, l.now + SECONDS(5));

        begin(&l, true, 0, 0);
        l.m.ready = 0; /* as a Reeve has left it that did not know of it */
        feed_at(&l, &found, l.now);
        assert_true(task_is_ready(&l.m) && l.fx.changed);
}

/* Another version that its process can take: what it waits for may be another thing. */
static void test_another_version_in_place(void **state)
{
        struct life l;

        (void) state;
        begin(&l, false, SECONDS(30), 0);
        l.spec.ready.deadline = SECONDS(60);
        desire(&l, 2, 0);
        assert_int_equal(l.m.deadline_mono, l.m.started_mono + SECONDS(60));
        l.spec.ready.notify = false;
        desire(&l, 3, 0);
        assert_true(task_is_ready(&l.m));
        l.spec.ready.notify = true;
        desire(&l, 4, 0);
        assert_true(task_is_ready(&l.m)); /* it was */
}

static void test_answers_in_a_row(void **state)
{
        struct health_count h = { 0 };

        (void) state;
        assert_false(health_take(&h, false, 3, 2));
        assert_false(health_take(&h, false, 3, 2));
        assert_false(health_take(&h, true, 3, 2));
        assert_false(health_take(&h, false, 3, 2));
        assert_false(health_take(&h, false, 3, 2));
        assert_true(health_take(&h, false, 3, 2));
        assert_true(h.bad);
        assert_false(health_take(&h, true, 3, 2));
        assert_false(health_take(&h, false, 3, 2));
        assert_false(health_take(&h, true, 3, 2));
        assert_true(health_take(&h, true, 3, 2));
        assert_false(h.bad);
}

static void begin_daemon(struct life *l)
{
        static char path[] = "/run/mailer.pid";

        life_init(l, RESTART_ALWAYS);
        l->spec.daemon.pid_file = path;
        l->spec.daemon.timeout = SECONDS(30);
        desire(l, 1, 0);
}

static void leave_daemon(struct life *l)
{
        begin_daemon(l);
        begin_run(l);
        assert_false(task_is_ready(&l->m));
        exits(l, 0);
        assert_int_equal(l->m.state, TASK_RUNNING);
        assert_int_equal(task_pid(&l->m), 0);
        assert_int_equal(l->fx.notes_len, 0);
}

static void find_daemon(struct life *l)
{
        feed(l, (struct task_event){ .type = TASK_EV_DAEMON, .pid = 70, .ticks = 5 });
}

static void test_a_daemon_is_what_its_file_names(void **state)
{
        struct life l;

        (void) state;
        leave_daemon(&l);
        exits(&l, 0); /* it is told twice */
        assert_int_equal(l.m.state, TASK_RUNNING);
        find_daemon(&l);
        assert_string_equal(
                l.fx.notes[0].message, "run 1 is process 70, as daemon.pid_file has it");
        assert_int_equal(task_pid(&l.m), 70);
        assert_true(task_is_ready(&l.m));
        assert_int_equal(l.m.deadline_mono, USEC_NEVER);
        find_daemon(&l);
        assert_int_equal(l.fx.notes_len, 0);
        exits(&l, 3);
        assert_int_equal(l.m.state, TASK_QUEUED);
        assert_string_equal(l.fx.notes[0].message, "run 1 ended: exit code 3 after 6s");
}

static void test_a_daemon_whose_start_was_never_told(void **state)
{
        struct life l;

        (void) state;
        begin_daemon(&l);
        feed(&l, (struct task_event){
                         .type = TASK_EV_EXITED, .known = true, .exit_code = 0, .pid = 7 });
        assert_int_equal(l.m.state, TASK_RUNNING);
        assert_int_equal(l.m.daemon, TASK_DAEMON_LEFT);
        find_daemon(&l);
        assert_true(task_is_ready(&l.m));
}

static void test_a_daemon_that_does_not_come_has_failed(void **state)
{
        struct life l;

        (void) state;
        leave_daemon(&l);
        come_to_deadline(&l);
        assert_int_equal(l.m.state, TASK_STOPPING);
        assert_int_equal(l.fx.signal, SIGTERM);
        assert_string_equal(
                l.m.reason, "/run/mailer.pid named no process of the run within 30s (daemon)");
        feed(&l, (struct task_event){
                         .type = TASK_EV_EXITED, .known = true, .exit_code = 0, .whole = true });
        assert_int_equal(l.m.state, TASK_QUEUED);
        assert_int_equal(l.m.failures, 1);

        begin_daemon(&l); /* nor does one whose command stays */
        begin_run(&l);
        come_to_deadline(&l);
        assert_string_equal(l.m.reason,
                "the command did not fork itself away and end within 30s (daemon.timeout)");
        begin_daemon(&l);
        begin_run(&l);
        exits(&l, 1);
        assert_int_equal(l.m.state, TASK_QUEUED);
}

static void test_a_daemon_that_comes_late_is_stopped(void **state)
{
        struct life l;

        (void) state;
        leave_daemon(&l);
        feed(&l, (struct task_event){ .type = TASK_EV_HALT });
        assert_int_equal(l.m.state, TASK_STOPPING);
        find_daemon(&l);
        assert_int_equal(l.fx.signal, SIGTERM);
        exits(&l, 0);
        assert_int_equal(l.m.state, TASK_QUEUED);
        assert_int_equal(l.m.daemon, TASK_DAEMON_NONE);
}

static void test_a_process_that_was_there_is_taken_over(void **state)
{
        struct life l;

        (void) state;
        begin_daemon(&l);
        feed(&l, (struct task_event){
                         .type = TASK_EV_DAEMON, .pid = 70, .ticks = 5, .foreign = true });
        assert_int_equal(l.m.daemon, TASK_DAEMON_FOREIGN);
        assert_true(task_is_ready(&l.m));
        assert_string_equal(l.fx.notes[0].message,
                "run 1 is process 70, which was there already and which daemon.pid_file names");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_ready_once_started),
                cmocka_unit_test(test_ready_when_said),
                cmocka_unit_test(test_not_ready_in_time),
                cmocka_unit_test(test_a_failed_run_is_no_success),
                cmocka_unit_test(test_good_and_failed_runs),
                cmocka_unit_test(test_failing_runs_are_not_good),
                cmocka_unit_test(test_a_stop_comes_before_a_failure),
                cmocka_unit_test(test_grace_ends_in_kill),
                cmocka_unit_test(test_watchdog),
                cmocka_unit_test(test_more_time),
                cmocka_unit_test(test_health_that_only_marks),
                cmocka_unit_test(test_found),
                cmocka_unit_test(test_another_version_in_place),
                cmocka_unit_test(test_answers_in_a_row),
                cmocka_unit_test(test_a_daemon_is_what_its_file_names),
                cmocka_unit_test(test_a_daemon_whose_start_was_never_told),
                cmocka_unit_test(test_a_daemon_that_does_not_come_has_failed),
                cmocka_unit_test(test_a_daemon_that_comes_late_is_stopped),
                cmocka_unit_test(test_a_process_that_was_there_is_taken_over),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
