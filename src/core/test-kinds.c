/* SPDX-License-Identifier: BSD-3-Clause */
/* Templates, and what batches have beside their tasks. */

#include "core/test-cluster-kit.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/cluster-internal.h"

static void apply(struct kit *k, const char *name, const char *json)
{
        if (kit_apply(k, name, json) < 0)
                fail_msg("%s", k->err.message);
        kit_settle(k);
}

/* ---- Templates */

#define TEMPLATE "{\"template\": true, \"command\": [\"t\"], \"count\": 2}"

static int dispatch(struct kit *k, const char *target, const char *name, struct job_spec *spec)
{
        return kit_handle(k,
                &(struct cluster_event){
                        .type = CLUSTER_DISPATCH, .target = target, .name = name, .spec = spec });
}

static void a_template_does_not_run(void **state)
{
        struct kit *k = kit_with_plain_nodes(1);
        const char *refused = "t is a template: `reeve dispatch t` makes jobs of it";

        (void) state;
        assert_int_equal(kit_apply(k, "t", TEMPLATE), 0);
        kit_expect_event(k, EVENT_JOB_APPLIED, "version 1: a template, of which others are made");
        kit_settle(k);
        expect_job(k, "t", JOB_TEMPLATE, 0);
        expect_same_after_reload(k);
        assert_int_equal(kit_command(k, CLUSTER_STOP, "t"), -1);
        expect_error(k, ERR_CONFLICT, refused);
        assert_int_equal(kit_command(k, CLUSTER_RESTART, "t"), -1);
        expect_error(k, ERR_CONFLICT, refused);
        assert_int_equal(kit_scale(k, "t", 3), -1);
        expect_error(k, ERR_CONFLICT, refused);

        /* from a job that runs, and back */
        apply(k, "t", "{\"command\": [\"t\"], \"count\": 2}");
        expect_job(k, "t", JOB_RUNNING, 2);
        apply(k, "t", TEMPLATE);
        expect_job(k, "t", JOB_TEMPLATE, 0);
        assert_int_equal(k->agents[0].tasks_len, 0);
        assert_int_equal(kit_command(k, CLUSTER_REMOVE, "t"), 0);
        assert_null(job_find(k->c, "t"));
        kit_free(k);
}

static void jobs_are_made_of_a_template(void **state)
{
        struct kit *k = kit_with_plain_nodes(1);
        AUTO(job_spec_unrefp) struct job_spec *spec = kit_spec("x", TEMPLATE);

        (void) state;
        spec->priority = 70;
        apply(k, "t", TEMPLATE);
        assert_int_equal(dispatch(k, "t", NULL, NULL), 0);
        assert_string_equal(k->fx.dispatched, "t-1");
        kit_expect_event(k, EVENT_JOB_APPLIED, "version 1: 2 tasks (made of the template t)");
        assert_int_equal(dispatch(k, "t", "mine", spec), 0);
        assert_string_equal(k->fx.dispatched, "mine");
        kit_settle(k);
        expect_job(k, "t-1", JOB_RUNNING, 2);
        expect_job(k, "mine", JOB_RUNNING, 2);
        assert_int_equal(kit_job(k, "mine").priority, 70);
        assert_string_equal(kit_job(k, "mine").source, "template:t");

        assert_int_equal(dispatch(k, "t", "mine", NULL), -1);
        expect_error(k, ERR_CONFLICT, "there is a job mine already");
        assert_int_equal(dispatch(k, "mine", NULL, NULL), -1);
        expect_error(k, ERR_CONFLICT, "mine is not a template: it runs itself");
        assert_int_equal(dispatch(k, "u", NULL, NULL), -1);
        assert_int_equal(k->err.code, ERR_NOT_FOUND);
        assert_int_equal(dispatch(k, "t", "no name", NULL), -1);
        assert_int_equal(k->err.code, ERR_INVALID);

        /* as a job of their own for people, but not of their spec */
        assert_int_equal(kit_apply(k, "mine", WEB), -1);
        expect_error(k, ERR_CONFLICT, "job mine was made of the template t: remove it first");
        assert_int_equal(kit_scale(k, "mine", 1), 0);
        assert_int_equal(kit_command(k, CLUSTER_STOP, "mine"), 0);
        assert_int_equal(kit_command(k, CLUSTER_REMOVE, "t-1"), 0);
        kit_settle(k);
        assert_null(job_find(k->c, "t-1"));
        expect_same_after_reload(k);

        /* numbers are not given twice, nor to what is there */
        apply(k, "t-2", WEB);
        assert_int_equal(dispatch(k, "t", NULL, NULL), 0);
        assert_string_equal(k->fx.dispatched, "t-3");
        assert_int_equal(kit_command(k, CLUSTER_REMOVE, "t"), 0);
        kit_settle(k);
        expect_job(k, "t-3", JOB_RUNNING, 2);
        kit_free(k);
}

/* ---- Batches */

static void a_batch_has_a_deadline(void **state)
{
        struct kit *k = kit_with_plain_nodes(1);

        (void) state;
        apply(k, "b",
                "{\"kind\": \"batch\", \"command\": [\"b\"], \"count\": 3, "
                "\"batch\": {\"deadline\": \"1h\"}}");
        expect_job(k, "b", JOB_RUNNING, 3);
        kit_pass(k, 30 * USEC_MINUTE);
        kit_exit(k, "b.0", 0);
        kit_settle(k);
        expect_same_after_reload(k);
        kit_tick(k);
        kit_expect_event(k, EVENT_JOB_DEADLINE,
                "took longer than 1h (batch.deadline) and has failed: 2 tasks to end");
        expect_job(k, "b", JOB_STOPPING, 2);
        kit_settle(k);
        expect_job(k, "b", JOB_FAILED, 0);
        expect_reason(k, "b", "took longer than 1h (batch.deadline)");
        assert_int_equal(kit_status(k, "b.0").result, RESULT_SUCCEEDED);
        assert_int_equal(kit_status(k, "b.1").result, RESULT_STOPPED);
        expect_same_after_reload(k);
        kit_pass(k, USEC_DAY);
        expect_job(k, "b", JOB_FAILED, 0);
        assert_int_equal(kit_scale(k, "b", 4), 0); /* begins nothing */
        kit_settle(k);
        expect_job(k, "b", JOB_FAILED, 0);

        /* taken up again it has all the time again */
        assert_int_equal(kit_command(k, CLUSTER_RESTART, "b"), 0);
        kit_settle(k);
        expect_job(k, "b", JOB_RUNNING, 4);
        kit_pass(k, 50 * USEC_MINUTE);
        expect_job(k, "b", JOB_RUNNING, 4);
        kit_end_all(k, "b", 0);
        expect_job(k, "b", JOB_SUCCEEDED, 0);
        kit_pass(k, USEC_DAY);
        expect_job(k, "b", JOB_SUCCEEDED, 0);
        kit_free(k);
}

#define RETRIES(n)                                                                                 \
        "{\"kind\": \"batch\", \"command\": [\"b\"], \"batch\": {\"retries\": " #n                 \
        "}, \"restart\": {\"delay\": \"1s\", \"max_delay\": \"1s\"}}"

static void fail_once(struct kit *k, const char *id)
{
        kit_exit(k, id, 3);
        kit_pass(k, 2 * USEC_SEC);
}

static void a_batch_has_so_many_retries(void **state)
{
        struct kit *k = kit_with_plain_nodes(1);

        (void) state;
        apply(k, "b", RETRIES(7)); /* more than restart.burst */
        for (int i = 0; i < 7; i++)
                fail_once(k, "b.0");
        expect_job(k, "b", JOB_RUNNING, 1);
        assert_int_equal(runs_of(k, "b.0"), 8);
        fail_once(k, "b.0");
        expect_job(k, "b", JOB_FAILED, 0);
        expect_reason(k, "b", "b.0 has failed: exit code 3, and 7 retries are used up");
        expect_same_after_reload(k);

        assert_int_equal(kit_command(k, CLUSTER_RESTART, "b"), 0);
        kit_settle(k);
        fail_once(k, "b.0");
        expect_job(k, "b", JOB_RUNNING, 1);
        assert_int_equal(runs_of(k, "b.0"), 10);

        apply(k, "none", RETRIES(0));
        fail_once(k, "none.0");
        expect_reason(k, "none", "exit code 3, and batch.retries is 0");
        kit_free(k);
}

static void retries_count_on_all_nodes(void **state)
{
        struct kit *k = kit_with_plain_nodes(2);

        (void) state;
        apply(k, "b", RETRIES(3));
        expect_nodes(k, "b", "a");
        fail_once(k, "b.0");
        fail_once(k, "b.0");
        kit_disconnect(k, 0);
        kit_pass(k, USEC_MINUTE);
        expect_nodes(k, "b", "b");
        kit_wipe(k, 0);
        kit_reload(k);
        kit_connect(k, 1);
        kit_settle(k);
        fail_once(k, "b.0");
        expect_job(k, "b", JOB_RUNNING, 1);
        fail_once(k, "b.0");
        expect_reason(k, "b", "3 retries are used up");
        assert_int_equal(kit_command(k, CLUSTER_RESTART, "b"), 0);
        kit_settle(k);
        for (int i = 0; i < 3; i++)
                fail_once(k, "b.0");
        expect_job(k, "b", JOB_RUNNING, 1);
        kit_free(k);
}

/* What runs where nobody can be told is ended when it is back, and is not placed elsewhere. */
static void a_deadline_while_a_node_is_lost(void **state)
{
        struct kit *k = kit_with_plain_nodes(2);

        (void) state;
        apply(k, "b",
                "{\"kind\": \"batch\", \"command\": [\"b\"], \"lost\": {\"after\": \"2h\"}, "
                "\"batch\": {\"deadline\": \"1h\"}}");
        expect_nodes(k, "b", "a");
        kit_disconnect(k, 0);
        kit_pass(k, 3 * USEC_HOUR);
        expect_nodes(k, "b", "a");
        expect_job(k, "b", JOB_STOPPING, 0);
        kit_connect(k, 0);
        kit_settle(k);
        expect_job(k, "b", JOB_FAILED, 0);
        assert_int_equal(kit_processes(k, "b.0"), 0);
        kit_free(k);
}

static void a_task_of_an_overrun_batch_is_begun_again(void **state)
{
        struct kit *k = kit_with_plain_nodes(1);

        (void) state;
        apply(k, "b",
                "{\"kind\": \"batch\", \"command\": [\"b\"], \"count\": 2, "
                "\"batch\": {\"deadline\": \"1h\"}}");
        kit_pass(k, USEC_HOUR);
        expect_job(k, "b", JOB_FAILED, 0);
        assert_int_equal(kit_command(k, CLUSTER_RESTART, "b.1"), 0);
        kit_settle(k);
        expect_job(k, "b", JOB_RUNNING, 1);
        kit_exit(k, "b.1", 0);
        kit_settle(k);
        expect_job(k, "b", JOB_SUCCEEDED, 0);
        kit_free(k);
}

static void cron_has_a_deadline_at_each_slot(void **state)
{
        struct kit *k = kit_with_plain_nodes(1);

        (void) state;
        apply(k, "n",
                "{\"kind\": \"cron\", \"command\": [\"n\"], \"batch\": {\"deadline\": \"10m\"}, "
                "\"schedule\": {\"cron\": \"@hourly\"}}");
        kit_pass(k, USEC_HOUR);
        expect_job(k, "n", JOB_SCHEDULED, 0);
        expect_reason(k, "n",
                "last slot 2023-11-14 23:00 UTC: failed, took longer than batch.deadline; next");
        expect_same_after_reload(k);
        kit_pass(k, 50 * USEC_MINUTE);
        expect_job(k, "n", JOB_RUNNING, 1);
        assert_int_equal(runs_of(k, "n.0"), 2);
        kit_free(k);
}

static void an_ended_batch_is_kept_for_so_long(void **state)
{
        struct kit *k = kit_with_plain_nodes(1);
        const char *json = "{\"kind\": \"batch\", \"command\": [\"b\"], "
                           "\"batch\": {\"keep\": \"1d\"}}";

        (void) state;
        apply(k, "b", json);
        assert_int_equal(kit_apply_from(k, "file:/b.yaml", "f", json), 0);
        kit_pass(k, 2 * USEC_DAY);
        kit_end_all(k, "b", 0);
        kit_end_all(k, "f", 0);
        expect_same_after_reload(k);
        kit_pass(k, USEC_DAY - USEC_MINUTE);
        expect_job(k, "b", JOB_SUCCEEDED, 0);
        assert_int_equal(kit_command(k, CLUSTER_RESTART, "b"), 0);
        kit_pass(k, USEC_HOUR);
        kit_end_all(k, "b", 0);
        kit_pass(k, USEC_DAY - USEC_SEC);
        expect_job(k, "b", JOB_SUCCEEDED, 0);
        kit_tick(k);
        kit_expect_event(k, EVENT_JOB_REMOVED, "is removed: it ended 1d ago (batch.keep)");
        kit_settle(k);
        assert_null(job_find(k->c, "b"));
        assert_int_equal(k->agents[0].tasks_len, 1);
        expect_job(k, "f", JOB_SUCCEEDED, 0); /* its file would bring it back, to run again */
        kit_free(k);
}

static void a_stopped_batch_is_not_removed(void **state)
{
        struct kit *k = kit_with_plain_nodes(1);

        (void) state;
        apply(k, "b", "{\"kind\": \"batch\", \"command\": [\"b\"], \"batch\": {\"keep\": \"1m\"}}");
        assert_int_equal(kit_command(k, CLUSTER_STOP, "b"), 0);
        kit_pass(k, USEC_HOUR);
        expect_job(k, "b", JOB_STOPPED, 0);
        kit_free(k);
}

static void a_batch_on_a_lost_node(void **state)
{
        static const struct {
                const char *then;
                enum job_state state;
                int result;
        } cases[] = {
                { "move", JOB_RUNNING, RESULT_NONE },
                { "wait", JOB_DEGRADED, RESULT_NONE },
                { "end", JOB_FAILED, RESULT_FAILED },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct kit *k = kit_with_plain_nodes(2);
                AUTO(mem_freep)
                char *json = mem_printf("{\"kind\": \"batch\", \"command\": [\"b\"], \"lost\": "
                                        "{\"then\": \"%s\", \"after\": \"10m\"}}",
                        cases[i].then);

                apply(k, "b", json);
                kit_disconnect(k, 0);
                kit_pass(k, 9 * USEC_MINUTE);
                expect_nodes(k, "b", "a");
                kit_pass(k, 2 * USEC_MINUTE);
                assert_int_equal(kit_job(k, "b").state, cases[i].state);
                assert_int_equal(kit_status(k, "b.0").result, cases[i].result);
                expect_nodes(k, "b", i == 0 ? "b" : "a");
                kit_connect(k, 0);
                kit_settle(k);
                assert_int_equal(kit_processes(k, "b.0"), i == 2 ? 0 : 1);
                expect_same_after_reload(k);
                kit_free(k);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_template_does_not_run),
                cmocka_unit_test(jobs_are_made_of_a_template),
                cmocka_unit_test(a_batch_has_a_deadline),
                cmocka_unit_test(a_batch_has_so_many_retries),
                cmocka_unit_test(retries_count_on_all_nodes),
                cmocka_unit_test(a_deadline_while_a_node_is_lost),
                cmocka_unit_test(a_task_of_an_overrun_batch_is_begun_again),
                cmocka_unit_test(cron_has_a_deadline_at_each_slot),
                cmocka_unit_test(an_ended_batch_is_kept_for_so_long),
                cmocka_unit_test(a_stopped_batch_is_not_removed),
                cmocka_unit_test(a_batch_on_a_lost_node),
        };

        return cmocka_run_group_tests_name("kinds", tests, NULL, NULL);
}
