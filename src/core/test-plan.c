/* SPDX-License-Identifier: BSD-3-Clause */
/* What applying specs would do: every kind of step, why, the least that is ready on the way, and
 * what would help a job that has no room. That plans come true is tested by test-plan-walk. */

#include "core/test-plan-kit.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static void expect_text(const json_t *object, const char *member, const char *pattern)
{
        const char *text = json_string_value(json_object_get(object, member));

        if (text == NULL || fnmatch(pattern, text, 0) != 0)
                fail_msg("%s: is      \"%s\"\n         expected \"%s\"", member,
                        text != NULL ? text : "(null)", pattern);
}

/* The steps as "web.0 start, web.1 stop". */
static void expect_steps(const json_t *plan, const char *expected)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        const json_t *steps = json_object_get(plan, "steps");

        for (size_t i = 0; i < json_array_size(steps); i++) {
                const json_t *step = json_array_get(steps, i);

                assert_int_equal(json_integer_value(json_object_get(step, "order")), i + 1);
                buffer_printf(&b, "%s%s %s", i == 0 ? "" : ", ",
                        json_string_value(json_object_get(step, "task")),
                        json_string_value(json_object_get(step, "action")));
        }
        assert_string_equal(buffer_str(&b), expected);
}

static void expect_planned(const json_t *plan, const char *action, int version, const char *changes)
{
        const json_t *job = json_array_get(json_object_get(plan, "jobs"), 0);
        const json_t *list = json_object_get(job, "changes");
        AUTO(buffer_done) struct buffer b = { 0 };

        expect_text(job, "action", action);
        assert_int_equal(json_integer_value(json_object_get(job, "version")), version);
        for (size_t i = 0; i < json_array_size(list); i++)
                buffer_printf(&b, "%s%s", i == 0 ? "" : ", ",
                        json_string_value(json_object_get(json_array_get(list, i), "field")));
        assert_string_equal(buffer_str(&b), changes);
}

static json_int_t least(const json_t *plan, const char *job)
{
        return json_integer_value(json_object_get(json_object_get(plan, "least_running"), job));
}

static void test_plan_new(void **state)
{
        struct kit *k = kit_with_node();
        json_t *p = kit_plan_one(k, "web", WEB);

        (void) state;
        expect_planned(p, "create", 1, "");
        expect_steps(p, "web.0 start, web.1 start, web.2 start");
        assert_int_equal(json_object_size(json_object_get(p, "least_running")), 0);
        json_decref(p);
        kit_free(k);
}

static void test_plan_without_node(void **state)
{
        struct kit *k = kit_new();
        json_t *p = kit_plan_one(k, "web", WEB), *wait;

        (void) state;
        expect_steps(p, "");
        wait = json_array_get(json_object_get(p, "waits"), 0);
        expect_text(wait, "job", "web");
        expect_text(wait, "task", "web.0");
        assert_int_equal(json_integer_value(json_object_get(wait, "tasks")), 3);
        expect_text(wait, "reason", "web.0 waits for a node: no node is ready: none has ever*");
        json_decref(p);
        kit_free(k);
}

static void test_plan_changes(void **state)
{
        static const struct {
                const char *spec, *action, *changes, *steps;
                int version;
                json_int_t least;
        } cases[] = {
                { WEB, "unchanged", "", "", 1, 3 },
                { WEB_NEW, "update", "command", "web.0 replace, web.1 replace, web.2 replace", 2,
                        2 },
                { "{\"command\": [\"x\"], \"count\": 3, \"update\": {\"parallel\": 2}}", "update",
                        "command, update.parallel", "web.0 replace, web.1 replace, web.2 replace",
                        2, 1 },
                { "{\"command\": [\"web\"], \"count\": 3, \"restart\": {\"delay\": \"2s\"}}",
                        "update", "restart.delay",
                        "web.0 update-in-place, web.1 update-in-place, web.2 update-in-place", 2,
                        3 },
                { "{\"command\": [\"web\"], \"count\": 1}", "update", "count",
                        "web.0 update-in-place, web.1 stop, web.2 stop", 2, 1 },
                { "{\"command\": [\"web\"], \"count\": 4}", "update", "count",
                        "web.0 update-in-place, web.1 update-in-place, web.2 update-in-place, "
                        "web.3 "
                        "start",
                        2, 3 },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct kit *k = kit_with_node();
                json_t *p;

                kit_apply(k, "web", WEB);
                kit_settle(k);
                p = kit_plan_one(k, "web", cases[i].spec);
                expect_planned(p, cases[i].action, cases[i].version, cases[i].changes);
                expect_steps(p, cases[i].steps);
                assert_int_equal(least(p, "web"), cases[i].least);
                json_decref(p);
                kit_free(k);
        }
}

/* What is on its way has arrived before the plan begins: a rollout of an earlier version is no part
 * of it. */
static void test_plan_amid_rollout(void **state)
{
        struct kit *k = kit_with_node();
        json_t *p;

        (void) state;
        kit_apply(k, "web", WEB);
        kit_settle(k);
        kit_apply(k, "web", WEB_NEW);
        p = kit_plan_one(k, "web", WEB_NEW);
        expect_planned(p, "unchanged", 2, "");
        expect_steps(p, "");
        json_decref(p);
        p = kit_plan_one(k, "web", WEB);
        expect_steps(p, "web.0 replace, web.1 replace, web.2 replace");
        assert_int_equal(least(p, "web"), 2);
        json_decref(p);
        kit_free(k);
}

/* What an update that halted left behind is replaced, though what is new could be taken in place.
 */
static void test_plan_after_halt(void **state)
{
        static const char spec[] = "{\"command\": [\"%s\"], \"count\": 2, "
                                   "\"restart\": {\"burst\": 1, \"delay\": \"%ds\"}}";
        struct kit *k = kit_with_node();
        char json[200];
        json_t *p;

        (void) state;
        snprintf(json, sizeof json, spec, "good", 1);
        kit_apply(k, "web", json);
        kit_settle(k);
        snprintf(json, sizeof json, spec, "bad", 1);
        kit_apply(k, "web", json);
        while (kit_task(k, "web.0")->machine.run_version != 2 ||
                kit_task(k, "web.0")->machine.state != TASK_RUNNING) {
                kit_deliver_to_agent(&k->agents[0]);
                kit_agent_work(&k->agents[0]);
        }
        kit_exit(k, "web.0", 1);
        kit_settle(k);
        expect_job(k, "web", JOB_DEGRADED, 1);
        snprintf(json, sizeof json, spec, "bad", 2);
        p = kit_plan_one(k, "web", json);
        expect_planned(p, "update", 3, "restart.delay");
        expect_steps(p, "web.0 start, web.1 replace");
        expect_text(json_array_get(json_object_get(p, "steps"), 1), "reason",
                "needs a new run for: version 3");
        json_decref(p);
        kit_free(k);
}

/* A batch that has done its work does not do it again, in the plan either. */
static void test_plan_ended_batch(void **state)
{
        struct kit *k = kit_with_node();
        json_t *p;

        (void) state;
        kit_apply(k, "once", "{\"kind\": \"batch\", \"command\": [\"x\"]}");
        kit_settle(k);
        kit_exit(k, "once.0", 0);
        kit_settle(k);
        p = kit_plan_one(k, "once", "{\"kind\": \"batch\", \"command\": [\"x\"]}");
        expect_planned(p, "unchanged", 1, "");
        expect_steps(p, "");
        json_decref(p);
        p = kit_plan_one(k, "once", "{\"kind\": \"batch\", \"command\": [\"y\"]}");
        expect_steps(p, "once.0 start");
        json_decref(p);
        kit_free(k);
}

static void test_plan_conflict(void **state)
{
        struct kit *k = kit_with_node();
        AUTO(job_spec_unrefp) struct job_spec *spec = kit_spec("web", WEB);
        AUTO(buffer_done) struct buffer b = { 0 };

        (void) state;
        kit_apply_from(k, "file:/etc/web.yaml", "web", WEB);
        assert_int_equal(kit_plan(k, &spec, 1, &b), ERR_CONFLICT);
        assert_string_equal(buffer_str(&b), "job web comes from /etc/web.yaml: change it there");
        kit_free(k);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_plan_new),
                cmocka_unit_test(test_plan_without_node),
                cmocka_unit_test(test_plan_changes),
                cmocka_unit_test(test_plan_amid_rollout),
                cmocka_unit_test(test_plan_after_halt),
                cmocka_unit_test(test_plan_ended_batch),
                cmocka_unit_test(test_plan_conflict),
        };

        return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
