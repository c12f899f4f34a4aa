/* SPDX-License-Identifier: BSD-3-Clause */
/* What jobs wait for, what becomes of them when that fails, and circles. */

#include "core/test-cluster-kit.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/cluster-internal.h"

#define DB  "{\"command\": [\"db\"], \"ready\": {\"notify\": true}}"
#define APP "{\"command\": [\"app\"], \"count\": 2, \"after\": {\"db\": \"ready\"}}"

static void apply(struct kit *k, const char *name, const char *json)
{
        if (kit_apply(k, name, json) < 0)
                fail_msg("%s", k->err.message);
        kit_settle(k);
}

/* The program of a task says something. */
static void say(struct kit *k, const char *id, struct task_notice notice)
{
        struct kit_task *t = kit_task(k, id);
        struct task_effects fx;

        assert_non_null(t);
        task_handle(&t->machine, t->spec,
                &(struct task_event){ .type = TASK_EV_NOTICE, .notice = notice }, k->now, k->now, 1,
                &fx);
        t->changed |= fx.changed;
        kit_settle(k);
}

static void be_ready(struct kit *k, const char *id)
{
        say(k, id, (struct task_notice){ .ready = true });
}

static void expect_why(struct kit *k, const char *id, const char *text)
{
        struct task_status s = kit_status(k, id);

        if (s.state != TASK_QUEUED)
                fail_msg("%s is %s, expected \"%s\"", id, task_state_names[s.state], text);
        if (s.reason == NULL || strcmp(s.reason, text) != 0)
                fail_msg("%s: \"%s\", expected \"%s\"", id, s.reason, text);
}

static void a_job_waits_until_another_is_ready(void **state)
{
        struct kit *k = kit_with_plain_nodes(2);

        (void) state;
        apply(k, "app", APP);
        expect_why(k, "app.0", "waits for job db, which does not exist");
        apply(k, "db", DB);
        expect_why(k, "app.1", "waits for db to be ready");
        expect_job(k, "app", JOB_STARTING, 0);
        kit_reload(k); /* and the server begins anew */
        for (size_t i = 0; i < 2; i++)
                kit_connect(k, i);
        kit_settle(k);
        expect_why(k, "app.1", "waits for db to be ready");
        be_ready(k, "db.0");
        expect_job(k, "app", JOB_RUNNING, 2);

        /* what runs stays, whatever becomes of the other */
        assert_int_equal(kit_command(k, CLUSTER_STOP, "db"), 0);
        kit_settle(k);
        expect_job(k, "app", JOB_RUNNING, 2);
        assert_int_equal(runs_of(k, "app.0"), 1);

        /* a person who begins it anew has it wait */
        assert_int_equal(kit_command(k, CLUSTER_STOP, "app"), 0);
        kit_settle(k);
        assert_int_equal(kit_command(k, CLUSTER_RESTART, "app"), 0);
        kit_settle(k);
        expect_why(k, "app.0", "waits for db to be ready, which is stopped");
        assert_int_equal(kit_command(k, CLUSTER_RESTART, "db"), 0);
        kit_settle(k);
        be_ready(k, "db.0");
        expect_job(k, "app", JOB_RUNNING, 2);
        kit_free(k);
}

static void every_condition_is_looked_at(void **state)
{
        struct kit *k = kit_with_plain_nodes(1);

        (void) state;
        apply(k, "a",
                "{\"command\": [\"a\"], \"after\": {\"once\": \"succeeded\", \"other\": \"ended\", "
                "\"web.1\": \"started\"}}");
        apply(k, "once", "{\"kind\": \"batch\", \"command\": [\"x\"]}");
        apply(k, "other",
                "{\"kind\": \"batch\", \"command\": [\"x\"], \"restart\": {\"policy\": "
                "\"never\"}}");
        expect_why(k, "a.0",
                "waits for once to succeed and for other to end and for task web.1, which does not "
                "exist");
        kit_exit(k, "other.0", 3);
        kit_settle(k);
        apply(k, "web", "{\"command\": [\"x\"], \"count\": 2}");
        expect_why(k, "a.0", "waits for once to succeed");
        kit_exit(k, "once.0", 0);
        kit_settle(k);
        expect_job(k, "a", JOB_RUNNING, 1);
        kit_free(k);
}

/* A late success starts those that wait; a failure is no success. */
static void a_late_success_is_one(void **state)
{
        struct kit *k = kit_with_plain_nodes(1);

        (void) state;
        apply(k, "once",
                "{\"kind\": \"batch\", \"command\": [\"x\"], \"restart\": {\"policy\": "
                "\"never\"}}");
        apply(k, "a", "{\"command\": [\"a\"], \"after\": {\"once\": \"succeeded\"}}");
        kit_exit(k, "once.0", 1);
        kit_settle(k);
        expect_why(k, "a.0", "waits for once to succeed, which has failed");
        assert_int_equal(kit_status(k, "a.0").runs, 0);
        assert_int_equal(kit_command(k, CLUSTER_RESTART, "once"), 0);
        kit_settle(k);
        kit_exit(k, "once.0", 0);
        kit_settle(k);
        expect_job(k, "a", JOB_RUNNING, 1);
        kit_free(k);
}

static void a_failure_takes_those_with_it_that_say_so(void **state)
{
        struct kit *k = kit_with_plain_nodes(2);

        (void) state;
        apply(k, "db", DB);
        be_ready(k, "db.0");
        apply(k, "nothing", APP);
        apply(k, "with",
                "{\"command\": [\"w\"], \"after\": {\"db\": \"ready\"}, \"after_failure\": "
                "\"restart\"}");
        apply(k, "stop",
                "{\"command\": [\"s\"], \"after\": {\"db\": \"ready\"}, \"after_failure\": "
                "\"stop\"}");
        expect_job(k, "with", JOB_RUNNING, 1);
        kit_exit(k, "db.0", 1);
        kit_settle(k);
        expect_job(k, "nothing", JOB_RUNNING, 2);
        expect_job(k, "stop", JOB_RUNNING, 1);
        expect_why(k, "with.0", "waits for db to be ready");
        kit_pass(k, 2 * USEC_SEC);
        be_ready(k, "db.0");
        expect_job(k, "with", JOB_RUNNING, 1);
        assert_int_equal(kit_status(k, "with.0").runs, 2);
        assert_int_equal(kit_status(k, "with.0").restarts, 0);
        assert_int_equal(runs_of(k, "nothing.0"), 1);

        apply(k, "db",
                "{\"command\": [\"db\"], \"ready\": {\"notify\": true}, \"restart\": "
                "{\"policy\": \"never\"}}");
        kit_exit(k, "db.0", 1);
        kit_settle(k);
        expect_job(k, "stop", JOB_STOPPED, 0);
        expect_job(k, "nothing", JOB_RUNNING, 2);
        kit_free(k);
}

/* Servers and links that come and go are no failures. */
static void what_is_told_again_is_no_failure(void **state)
{
        struct kit *k = kit_with_plain_nodes(1);

        (void) state;
        apply(k, "db", "{\"command\": [\"db\"]}");
        kit_exit(k, "db.0", 1);
        kit_settle(k);
        kit_pass(k, 2 * USEC_SEC);
        apply(k, "with",
                "{\"command\": [\"w\"], \"after\": {\"db\": \"started\"}, \"after_failure\": "
                "\"restart\"}");
        expect_job(k, "with", JOB_RUNNING, 1);
        for (int i = 0; i < 3; i++) {
                kit_reload(k);
                kit_connect(k, 0);
                kit_settle(k);
                kit_disconnect(k, 0);
                kit_pass(k, 10 * USEC_SEC);
                kit_connect(k, 0);
                kit_settle(k);
        }
        expect_job(k, "with", JOB_RUNNING, 1);
        assert_int_equal(runs_of(k, "with.0"), 1);
        kit_free(k);
}

static void circles_are_refused_by_name(void **state)
{
        struct kit *k = kit_with_plain_nodes(1);
        struct job_spec *both[2];

        (void) state;
        apply(k, "a", "{\"command\": [\"a\"], \"after\": {\"b\": \"ready\"}}");
        apply(k, "b", "{\"command\": [\"a\"], \"after\": {\"c.0\": \"ready\"}}");
        assert_int_equal(
                kit_apply(k, "c", "{\"command\": [\"c\"], \"after\": {\"a.1\": \"started\"}}"), -1);
        expect_error(
                k, ERR_INVALID, "jobs.c.after: the jobs wait for each other: c -> a -> b -> c");
        assert_null(job_find(k->c, "c"));
        apply(k, "c", "{\"command\": [\"c\"]}");
        expect_job(k, "a", JOB_RUNNING, 1);

        both[0] = kit_spec("x", "{\"command\": [\"x\"], \"after\": {\"y\": \"ready\"}}");
        both[1] = kit_spec("y", "{\"command\": [\"y\"], \"after\": {\"x\": \"ready\"}}");
        assert_int_equal(cluster_check_order(k->c, both, 1, &k->err), 0);
        assert_int_equal(cluster_check_order(k->c, both, 2, &k->err), -1);
        expect_error(k, ERR_INVALID, "jobs.x.after: the jobs wait for each other: x -> y -> x");
        for (int i = 0; i < 2; i++)
                job_spec_unref(both[i]);
        kit_free(k);
}

/* Every job waits for all those of the step before: the ways are more than can be walked. */
static void many_ways_are_walked_once(void **state)
{
        struct kit *k = kit_with_plain_nodes(1);
        char name[16], json[400];

        (void) state;
        for (int step = 0; step < 40; step++)
                for (int i = 0; i < 3; i++) {
                        snprintf(name, sizeof name, "j%d-%d", step, i);
                        if (step == 0)
                                snprintf(json, sizeof json, "{\"command\": [\"x\"]}");
                        else
                                snprintf(json, sizeof json,
                                        "{\"command\": [\"x\"], \"after\": {\"j%d-0\": \"ready\", "
                                        "\"j%d-1\": \"ready\", \"j%d-2\": \"ready\"}}",
                                        step - 1, step - 1, step - 1);
                        if (kit_apply(k, name, json) < 0)
                                fail_msg("%s", k->err.message);
                }
        kit_settle(k);
        expect_job(k, "j39-2", JOB_RUNNING, 1);
        kit_free(k);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_job_waits_until_another_is_ready),
                cmocka_unit_test(every_condition_is_looked_at),
                cmocka_unit_test(a_late_success_is_one),
                cmocka_unit_test(a_failure_takes_those_with_it_that_say_so),
                cmocka_unit_test(what_is_told_again_is_no_failure),
                cmocka_unit_test(circles_are_refused_by_name),
                cmocka_unit_test(many_ways_are_walked_once),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
