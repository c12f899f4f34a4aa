/* SPDX-License-Identifier: BSD-3-Clause */

/* Restart decisions: one table of ends and verdicts, then the back-off and the burst window over
 * time. */

#include "core/restart.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/macros.h"

static int success_codes[] = { 0, 7 };

static struct job_spec make_spec(enum restart_policy policy)
{
        struct job_spec spec = { .name = (char[]){ "web" },
                .success_codes = success_codes,
                .success_codes_len = ARRAY_SIZE(success_codes) };

        spec.restart.policy = policy;
        spec.restart.delay = USEC_SEC;
        spec.restart.max_delay = USEC_MINUTE;
        spec.restart.burst = 5;
        spec.restart.window = USEC_MINUTE;
        spec.restart.healthy = 10 * USEC_SEC;
        return spec;
}

#define EXIT(code)                                                                                 \
        {                                                                                          \
                .known = true, .exit_code = (code)                                                 \
        }
#define SIGNALED(sig)                                                                              \
        {                                                                                          \
                .known = true, .exit_code = -1, .signal = (sig)                                    \
        }
#define UNKNOWN                                                                                    \
        {                                                                                          \
                .exit_code = -1                                                                    \
        }
#define UNSTARTED(m)                                                                               \
        {                                                                                          \
                .exit_code = -1, .message = (m)                                                    \
        }

static const struct verdict_row {
        enum restart_policy policy;
        struct restart_end end;
        enum restart_verdict verdict;
        bool success;
        uint32_t failures; /* after it, with 1 before */
        const char *reason;
} verdict_rows[] = {
        { RESTART_ALWAYS, EXIT(0), RESTART_VERDICT_AGAIN, true, 0, "after exit code 0" },
        { RESTART_ALWAYS, EXIT(7), RESTART_VERDICT_AGAIN, true, 0, "after exit code 7" },
        { RESTART_ALWAYS, EXIT(3), RESTART_VERDICT_AGAIN, false, 2,
                "after exit code 3 (failure 2 in a row)" },
        { RESTART_ALWAYS, SIGNALED(SIGKILL), RESTART_VERDICT_AGAIN, false, 2,
                "after signal KILL (failure 2 in a row)" },
        { RESTART_ALWAYS, UNKNOWN, RESTART_VERDICT_AGAIN, false, 2,
                "after failure 2 in a row: exit status unknown because agent and keeper were both "
                "gone" },
        { RESTART_ON_FAILURE, EXIT(0), RESTART_VERDICT_END, true, 0,
                "exit code 0 is a success, and policy on-failure restarts only failures" },
        { RESTART_ON_FAILURE, EXIT(1), RESTART_VERDICT_AGAIN, false, 2,
                "after exit code 1 (failure 2 in a row)" },
        { RESTART_ON_FAILURE, SIGNALED(SIGTERM), RESTART_VERDICT_AGAIN, false, 2,
                "after signal TERM (failure 2 in a row)" },
        { RESTART_ON_FAILURE, UNKNOWN, RESTART_VERDICT_AGAIN, false, 2,
                "after failure 2 in a row: exit status unknown because agent and keeper were both "
                "gone" },
        { RESTART_ON_FAILURE, UNSTARTED("cannot execute ./x: No such file or directory"),
                RESTART_VERDICT_AGAIN, false, 2,
                "after failure 2 in a row: cannot execute ./x: No such file or directory" },
        { RESTART_NEVER, EXIT(0), RESTART_VERDICT_END, true, 0,
                "exit code 0, and policy never does not restart" },
        { RESTART_NEVER, EXIT(3), RESTART_VERDICT_END, false, 2,
                "exit code 3, and policy never does not restart" },
        { RESTART_NEVER, SIGNALED(SIGSEGV), RESTART_VERDICT_END, false, 2,
                "signal SEGV, and policy never does not restart" },
        { RESTART_NEVER, UNKNOWN, RESTART_VERDICT_END, false, 2,
                "exit status unknown because agent and keeper were both gone, and policy never "
                "does "
                "not restart" },
        { RESTART_NEVER, UNSTARTED("no such user"), RESTART_VERDICT_END, false, 2,
                "no such user, and policy never does not restart" },
};

static void test_verdicts(void **state)
{
        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(verdict_rows); i++) {
                const struct verdict_row *row = &verdict_rows[i];
                struct job_spec spec = make_spec(row->policy);
                struct restart_history h = { 1, 1, 100, 0 };
                struct restart_decision d;

                restart_decide(&spec, &h, &row->end, 200, 42, &d);
                assert_string_equal(d.reason, row->reason);
                assert_int_equal(d.verdict, row->verdict);
                assert_int_equal(d.success, row->success);
                assert_int_equal(h.failures, row->failures);
                assert_int_equal(h.burst_count, row->success ? 1 : 2);
                assert_int_equal(h.burst_began_mono, 100);
        }
}

static int codes_3[] = { 3 }, codes_0_4[] = { 0, 4 }, codes_3_5[] = { 3, 5 };
static int signals_term[] = { SIGTERM };

static struct restart_rule rules[] = {
        { .exit_codes = codes_3, .exit_codes_len = 1, .then = RESTART_ACTION_END },
        { .exit_codes = codes_0_4,
                .exit_codes_len = 2,
                .signals = signals_term,
                .signals_len = 1,
                .then = RESTART_ACTION_RESTART },
        { .exit_codes = codes_3_5, .exit_codes_len = 2, .then = RESTART_ACTION_RESTART },
};

static const struct rule_row {
        enum restart_policy policy;
        struct restart_end end;
        enum restart_verdict verdict;
        const char *reason;
} rule_rows[] = {
        { RESTART_ALWAYS, EXIT(3), RESTART_VERDICT_END,
                "exit code 3, and a restart rule says to end then" }, /* the first that matches */
        { RESTART_NEVER, EXIT(0), RESTART_VERDICT_AGAIN, "after exit code 0" },
        { RESTART_NEVER, EXIT(4), RESTART_VERDICT_AGAIN, "after exit code 4 (first failure)" },
        { RESTART_NEVER, EXIT(5), RESTART_VERDICT_AGAIN, "after exit code 5 (first failure)" },
        { RESTART_NEVER, SIGNALED(SIGTERM), RESTART_VERDICT_AGAIN,
                "after signal TERM (first failure)" },
        { RESTART_NEVER, SIGNALED(SIGQUIT), RESTART_VERDICT_END, /* 3, but not exit code 3 */
                "signal QUIT, and policy never does not restart" },
        { RESTART_NEVER, EXIT(SIGTERM), RESTART_VERDICT_END, /* 15, but not signal 15 */
                "exit code 15, and policy never does not restart" },
        { RESTART_ALWAYS, UNKNOWN, RESTART_VERDICT_AGAIN, /* matches no rule, whatever it holds */
                "after the first failure: exit status unknown because agent and keeper were both "
                "gone" },
        { RESTART_NEVER, { .exit_code = 0 }, RESTART_VERDICT_END,
                "exit status unknown because agent and keeper were both gone, and policy never "
                "does "
                "not restart" },
};

static void test_rules(void **state)
{
        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(rule_rows); i++) {
                struct job_spec spec = make_spec(rule_rows[i].policy);
                struct restart_history h = { 0 };
                struct restart_decision d;

                spec.restart.rules = rules;
                spec.restart.rules_len = ARRAY_SIZE(rules);
                restart_decide(&spec, &h, &rule_rows[i].end, 200, 42, &d);
                assert_string_equal(d.reason, rule_rows[i].reason);
                assert_int_equal(d.verdict, rule_rows[i].verdict);
        }
}

static void test_forced_restart_still_parks(void **state)
{
        struct job_spec spec = make_spec(RESTART_NEVER);
        struct restart_history h = { 0 };
        struct restart_end end = EXIT(4);
        struct restart_decision d;

        (void) state;
        spec.restart.rules = rules;
        spec.restart.rules_len = ARRAY_SIZE(rules);
        spec.restart.burst = 2;
        restart_decide(&spec, &h, &end, 200, 42, &d);
        assert_int_equal(d.verdict, RESTART_VERDICT_AGAIN);
        restart_decide(&spec, &h, &end, 300, 42, &d);
        assert_int_equal(d.verdict, RESTART_VERDICT_PARK);
        assert_string_equal(d.reason, "2 failures within 1m, the last one: exit code 4");
}

/* The delay after failure @n in a row, with @seed. */
static usec_t delay_of(const struct job_spec *spec, uint32_t n, uint64_t seed)
{
        struct restart_history h = { .failures = n - 1 };
        struct restart_end end = EXIT(1);
        struct restart_decision d;

        restart_decide(spec, &h, &end, 1000, seed, &d);
        assert_int_equal(d.verdict, RESTART_VERDICT_AGAIN);
        assert_int_equal(h.failures, n);
        return d.delay;
}

static void test_delay_doubles_up_to_the_maximum(void **state)
{
        static const uint32_t nominal[] = { 1, 2, 4, 8, 16, 32, 60, 60, 60 };
        struct job_spec spec = make_spec(RESTART_ALWAYS);

        (void) state;
        for (uint32_t n = 1; n <= ARRAY_SIZE(nominal); n++) {
                usec_t want = nominal[n - 1] * USEC_SEC, least = USEC_NEVER, most = 0;

                for (uint64_t seed = 0; seed < 2000; seed++) {
                        usec_t delay = delay_of(&spec, n, seed);

                        least = MIN(least, delay);
                        most = MAX(most, delay);
                }
                /* The whole range is used, and nothing outside of it. */
                assert_in_range(least, want * 75 / 100, want * 77 / 100);
                assert_in_range(most, MIN(want * 123 / 100, USEC_MINUTE),
                        MIN(want * 125 / 100, USEC_MINUTE));
        }
        assert_in_range(delay_of(&spec, UINT32_MAX, 1), 45 * USEC_SEC, USEC_MINUTE);
        assert_int_equal(delay_of(&spec, 3, 1), delay_of(&spec, 3, 1));
}

static void test_delay_extremes(void **state)
{
        struct job_spec spec = make_spec(RESTART_ALWAYS);

        (void) state;
        spec.restart.delay = 0;
        for (uint32_t n = 1; n < 100; n++)
                assert_int_equal(delay_of(&spec, n, n), 0);

        spec.restart.delay = 1; /* a microsecond is not none */
        assert_int_equal(delay_of(&spec, 1, 1), 1);

        spec.restart.delay = 5 * USEC_MINUTE; /* longer than max_delay: somebody asked for it */
        assert_in_range(delay_of(&spec, 1, 1), 225 * USEC_SEC, 5 * USEC_MINUTE);
        assert_in_range(delay_of(&spec, 9, 1), 225 * USEC_SEC, 5 * USEC_MINUTE);

        spec.restart.delay = spec.restart.max_delay = USEC_NEVER;
        assert_in_range(delay_of(&spec, 9, 1), 20000 * USEC_DAY, 36500 * USEC_DAY);
}

static void test_unstarted_is_never_at_once(void **state)
{
        struct job_spec spec = make_spec(RESTART_ALWAYS);
        struct restart_history h = { 0 };
        struct restart_end end = UNSTARTED("no such user");
        struct restart_decision d;

        (void) state;
        spec.restart.delay = 0;
        restart_decide(&spec, &h, &end, 1000, 1, &d);
        assert_int_equal(d.verdict, RESTART_VERDICT_AGAIN);
        assert_int_equal(d.delay, RESTART_DELAY_UNSTARTED);
}

/* What it needs is not there: neither the policy, nor burst, nor retries are asked. */
static void test_unmet_tries_for_ever(void **state)
{
        struct job_spec spec = make_spec(RESTART_NEVER);
        struct restart_history h = { 0 };
        struct restart_end end = UNSTARTED("sockets.web.listen: it is taken");
        struct restart_decision d;

        (void) state;
        end.unmet = true;
        spec.kind = JOB_BATCH;
        spec.batch.retries = 0;
        spec.restart.burst = 1;
        spec.restart.delay = 0;
        for (int i = 0; i < 100; i++) {
                restart_decide(&spec, &h, &end, 1000, 1, &d);
                assert_int_equal(d.verdict, RESTART_VERDICT_AGAIN);
                assert_int_equal(d.delay, RESTART_DELAY_UNMET);
                assert_false(d.success);
        }
        assert_int_equal(h.burst_count, 0);
        assert_int_equal(h.retries, 0);
        assert_string_equal(
                d.reason, "after failure 100 in a row: sockets.web.listen: it is taken");
}

static void test_success_ends_the_row(void **state)
{
        struct job_spec spec = make_spec(RESTART_ALWAYS);
        struct restart_history h = { .failures = 4, .burst_count = 4, .burst_began_mono = 1000 };
        struct restart_end good = EXIT(0), bad = EXIT(1);
        struct restart_decision d;

        (void) state;
        restart_decide(&spec, &h, &good, 2000, 1, &d);
        assert_int_equal(h.failures, 0);
        assert_in_range(d.delay, USEC_SEC * 75 / 100, USEC_SEC * 125 / 100);
        /* ... but what failed within the window has failed: one more is the fifth. */
        restart_decide(&spec, &h, &bad, 3000, 1, &d);
        assert_int_equal(d.verdict, RESTART_VERDICT_PARK);

        /* Successes are never too many, and never too late: not the one that comes when the limit
         * was lowered meanwhile either. */
        h = (struct restart_history){ .failures = 9, .burst_count = 9, .burst_began_mono = 3000 };
        restart_decide(&spec, &h, &good, 3000, 1, &d);
        assert_int_equal(d.verdict, RESTART_VERDICT_AGAIN);
        h = (struct restart_history){ 0 };
        for (usec_t t = 0; t < 100; t++) {
                restart_decide(&spec, &h, &good, 3000 + t, t, &d);
                assert_int_equal(d.verdict, RESTART_VERDICT_AGAIN);
                assert_in_range(d.delay, USEC_SEC * 75 / 100, USEC_SEC * 125 / 100);
        }
}

static void test_healthy_run_starts_afresh(void **state)
{
        struct job_spec spec = make_spec(RESTART_ON_FAILURE);
        struct restart_end end = EXIT(3);
        struct restart_decision d;

        (void) state;
        struct restart_history h = { .failures = 4, .burst_count = 4, .burst_began_mono = 1000 };
        end.lasted = 10 * USEC_SEC;
        restart_decide(&spec, &h, &end, 2000, 1, &d);
        assert_int_equal(d.verdict, RESTART_VERDICT_AGAIN);
        assert_string_equal(d.reason, "after exit code 3 (first failure)");
        assert_in_range(d.delay, USEC_SEC * 75 / 100, USEC_SEC * 125 / 100);
        assert_int_equal(h.burst_count, 1);
        assert_int_equal(h.burst_began_mono, 2000);

        h = (struct restart_history){ .failures = 4, .burst_count = 4, .burst_began_mono = 1000 };
        end.lasted = 10 * USEC_SEC - 1; /* not quite */
        restart_decide(&spec, &h, &end, 2000, 1, &d);
        assert_int_equal(d.verdict, RESTART_VERDICT_PARK);
        assert_string_equal(d.reason, "5 failures within 1m, the last one: exit code 3");
}

static void test_burst_window(void **state)
{
        struct job_spec spec = make_spec(RESTART_ALWAYS);
        struct restart_history h = { 0 };
        struct restart_end end = SIGNALED(SIGABRT);
        struct restart_decision d;
        usec_t began = 7 * USEC_SEC;

        (void) state;
        for (usec_t i = 0; i < 4; i++) {
                restart_decide(&spec, &h, &end, began + i * USEC_SEC, i, &d);
                assert_int_equal(d.verdict, RESTART_VERDICT_AGAIN);
        }
        struct restart_history last_moment = h, too_late = h, other_clock = h;

        restart_decide(&spec, &last_moment, &end, began + USEC_MINUTE - 1, 1, &d);
        assert_int_equal(d.verdict, RESTART_VERDICT_PARK);
        assert_string_equal(d.reason, "5 failures within 1m, the last one: signal ABRT");

        restart_decide(&spec, &too_late, &end, began + USEC_MINUTE, 1, &d);
        assert_int_equal(d.verdict, RESTART_VERDICT_AGAIN);
        assert_int_equal(too_late.burst_count, 1);
        assert_int_equal(too_late.failures, 5); /* the row goes on: only health ends it */

        restart_decide(&spec, &other_clock, &end, began - 1, 1, &d); /* it is before the window */
        assert_int_equal(d.verdict, RESTART_VERDICT_AGAIN);
}

static void test_burst_extremes(void **state)
{
        struct job_spec spec = make_spec(RESTART_ALWAYS);
        struct restart_history h = { 0 };
        struct restart_end end = EXIT(1);
        struct restart_decision d;

        (void) state;
        spec.restart.burst = 0; /* no limit */
        for (usec_t t = 0; t < 1000; t++) {
                restart_decide(&spec, &h, &end, t, t, &d);
                assert_int_equal(d.verdict, RESTART_VERDICT_AGAIN);
        }
        spec.restart.burst = 1;
        h = (struct restart_history){ 0 };
        restart_decide(&spec, &h, &end, 1, 1, &d);
        assert_int_equal(d.verdict, RESTART_VERDICT_PARK);
        assert_string_equal(d.reason, "1 failure is the limit: exit code 1");

        /* Counters do not wrap. */
        spec.restart.burst = 0;
        h = (struct restart_history){ UINT32_MAX, UINT32_MAX, 1, 0 };
        restart_decide(&spec, &h, &end, 2, 1, &d);
        assert_int_equal(h.failures, UINT32_MAX);
        assert_int_equal(h.burst_count, UINT32_MAX);
}

static void test_long_message_is_cut(void **state)
{
        struct job_spec spec = make_spec(RESTART_ALWAYS);
        struct restart_history h = { 0 };
        char message[1000];
        struct restart_end end = UNSTARTED(message);
        struct restart_decision d;

        (void) state;
        memset(message, 'x', sizeof message);
        message[sizeof message - 1] = '\0';
        restart_decide(&spec, &h, &end, 1, 1, &d);
        assert_int_equal(strlen(d.reason), RESTART_REASON_MAX - 1);
        assert_int_equal(strncmp(d.reason, "after the first failure: xxx", 28), 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_verdicts),
                cmocka_unit_test(test_rules),
                cmocka_unit_test(test_forced_restart_still_parks),
                cmocka_unit_test(test_delay_doubles_up_to_the_maximum),
                cmocka_unit_test(test_delay_extremes),
                cmocka_unit_test(test_unstarted_is_never_at_once),
                cmocka_unit_test(test_unmet_tries_for_ever),
                cmocka_unit_test(test_success_ends_the_row),
                cmocka_unit_test(test_healthy_run_starts_afresh),
                cmocka_unit_test(test_burst_window),
                cmocka_unit_test(test_burst_extremes),
                cmocka_unit_test(test_long_message_is_cut),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
