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

/* ---- Kinds of steps */

/* The steps as "web.0 start a, web.1 move a>b"; a promotion has its job. */
static void expect_where(const json_t *plan, const char *expected)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        const json_t *steps = json_object_get(plan, "steps"), *step;

        for (size_t i = 0; (step = json_array_get(steps, i)) != NULL; i++) {
                const char *task = json_string_value(json_object_get(step, "task"));
                const char *from = json_string_value(json_object_get(step, "from"));
                const char *node = json_string_value(json_object_get(step, "node"));

                buffer_printf(&b, "%s%s %s", i == 0 ? "" : ", ",
                        task != NULL ? task : json_string_value(json_object_get(step, "job")),
                        json_string_value(json_object_get(step, "action")));
                if (node != NULL || from != NULL)
                        buffer_printf(&b, " %s%s%s", from != NULL ? from : "",
                                from != NULL ? ">" : "", node != NULL ? node : "-");
        }
        assert_string_equal(buffer_str(&b), expected);
}

static void expect_reason_of(const json_t *plan, size_t step, const char *pattern)
{
        expect_text(json_array_get(json_object_get(plan, "steps"), step), "reason", pattern);
}

static const json_t *job_of(const json_t *plan, const char *name)
{
        const json_t *jobs = json_object_get(plan, "jobs"), *job;

        for (size_t i = 0; (job = json_array_get(jobs, i)) != NULL; i++)
                if (strcmp(json_string_value(json_object_get(job, "job")), name) == 0)
                        return job;
        fail_msg("no job %s in the plan", name);
        return NULL;
}

static void expect_ready(const json_t *plan, const char *name, int before, int least, int then)
{
        const json_t *job = job_of(plan, name);

        assert_int_equal(json_integer_value(json_object_get(job, "ready")), before);
        assert_int_equal(json_integer_value(json_object_get(job, "least_ready")), least);
        assert_int_equal(json_integer_value(json_object_get(job, "ready_then")), then);
}

#define ASKING(command, count, memory, more)                                                       \
        "{\"command\": [\"" command "\"], \"count\": " #count                                      \
        ", \"resources\": {\"memory\": \"" memory "\"}" more "}"

/* The newest version does not fit where the task is. */
static void test_move(void **state)
{
        struct kit *k =
                kit_with_nodes("{\"memory\": 2147483648}", "{\"memory\": 1073741824}", NULL);
        json_t *p;

        (void) state;
        kit_apply(k, "web", ASKING("1", 1, "512MiB", ", \"place\": {\"node\": \"b\"}"));
        kit_settle(k);
        expect_nodes(k, "web", "b");
        p = kit_plan_one(k, "web", ASKING("2", 1, "2GiB", ""));
        expect_where(p, "web.0 move b>a");
        expect_reason_of(p, 0, "version 2 needs memory 2GiB and there is 1GiB");
        expect_ready(p, "web", 1, 0, 1);
        json_decref(p);
        kit_free(k);
}

static void test_start_first(void **state)
{
        struct kit *k = kit_with_plain_nodes(1);
        json_t *p;

        (void) state;
        kit_apply(k, "web", "{\"command\": [\"1\"], \"count\": 2}");
        kit_settle(k);
        p = kit_plan_one(k, "web",
                "{\"command\": [\"2\"], \"count\": 2, \"update\": {\"order\": \"start-first\"}}");
        expect_where(p, "web.2 start a, web.0 replace a, web.1 replace a, web.2 stop a");
        expect_reason_of(p, 0, "stands in while others are replaced");
        expect_reason_of(p, 3, "has stood in for the others");
        expect_ready(p, "web", 2, 2, 2);
        json_decref(p);
        kit_free(k);
}

static void test_canary_and_times(void **state)
{
        struct kit *k = kit_with_plain_nodes(1);
        json_t *p;

        (void) state;
        kit_apply(k, "web", "{\"command\": [\"1\"], \"count\": 2}");
        kit_settle(k);
        p = kit_plan_one(k, "web",
                "{\"command\": [\"2\"], \"count\": 2, \"update\": {\"canary\": 1, \"healthy\": "
                "\"10s\"}}");
        expect_where(
                p, "web.2 start a, web promote, web.0 replace a, web.1 replace a, web.2 stop a");
        expect_reason_of(p, 0, "is a canary of version 2");
        expect_reason_of(p, 1, "version 2 waits for `reeve promote web`");
        assert_int_equal(json_number_value(json_object_get(p, "takes")), 30);
        json_decref(p);
        kit_free(k);
}

/* Who has to make room is told, and that it waits then. */
static void test_preempt(void **state)
{
        struct kit *k = kit_with_nodes("{\"memory\": 1073741824}", NULL);
        json_t *p;

        (void) state;
        kit_apply(k, "low", ASKING("1", 1, "1GiB", ", \"priority\": 10"));
        kit_settle(k);
        p = kit_plan_one(k, "high",
                ASKING("1", 1, "1GiB", ", \"priority\": 90, \"queue\": {\"preempt\": true}"));
        expect_where(p, "low.0 move a>-, high.0 start a");
        expect_reason_of(p, 0, "has to make room for high (priority 90 before 10)");
        expect_text(job_of(p, "low"), "action", "affected");
        expect_ready(p, "low", 1, 0, 0);
        expect_text(json_array_get(json_object_get(p, "waits"), 0), "job", "low");
        json_decref(p);
        kit_free(k);
}

/* Linked jobs follow; a system job has one on each node. */
static void test_one_per_node(void **state)
{
        struct kit *k = kit_with_plain_nodes(2);
        json_t *p;

        (void) state;
        p = kit_plan_one(k, "sys", "{\"command\": [\"1\"], \"kind\": \"system\"}");
        expect_where(p, "sys.0 start a, sys.1 start b");
        expect_reason_of(p, 0, "is new: one on each node");
        json_decref(p);
        kit_apply(k, "web", "{\"command\": [\"1\"], \"place\": {\"node\": \"a\"}}");
        kit_apply(k, "log", "{\"command\": [\"1\"], \"place\": {\"with\": \"web\"}}");
        kit_settle(k);
        p = kit_plan_one(k, "web", "{\"command\": [\"2\"], \"place\": {\"node\": \"a\"}}");
        expect_where(p, "web.0 replace a, log.0 replace a");
        expect_reason_of(p, 1, "web, which it goes with, has version 2 there");
        json_decref(p);
        p = kit_plan_one(k, "web", "{\"command\": [\"1\"], \"place\": {\"node\": \"b\"}}");
        expect_text(job_of(p, "log"), "action", "affected");
        json_decref(p);
        kit_free(k);
}

static void test_rejected(void **state)
{
        struct kit *k = kit_with_nodes("{\"memory\": 1073741824}", NULL);
        json_t *p;

        (void) state;
        p = kit_plan_one(k, "web", ASKING("1", 1, "2GiB", ", \"queue\": {\"mode\": \"never\"}"));
        expect_where(p, "web.0 reject");
        expect_reason_of(p, 0, "no node fits: *queue.mode is never");
        json_decref(p);
        kit_free(k);
}

/* ---- What would fit: each change that is told is made, and then nothing waits */

static bool has_fit(const json_t *plan, const char *text)
{
        const json_t *wait = json_array_get(json_object_get(plan, "waits"), 0);
        const json_t *fits = json_object_get(wait, "fits"), *fit;

        for (size_t i = 0; (fit = json_array_get(fits, i)) != NULL; i++)
                if (strcmp(json_string_value(fit), text) == 0)
                        return true;
        return false;
}

static void expect_fit(struct kit *k, const char *spec, const char *fit, const char *changed)
{
        json_t *p = kit_plan_one(k, "big", spec), *then = kit_plan_one(k, "big", changed);

        if (!has_fit(p, fit))
                fail_msg("not told: %s, but %s", fit,
                        json_dumps(json_object_get(p, "waits"), JSON_INDENT(1)));
        assert_int_equal(json_array_size(json_object_get(then, "waits")), 0);
        json_decref(p);
        json_decref(then);
}

static void test_fits(void **state)
{
        struct kit *k = kit_with_nodes("{\"memory\": 6442450944, \"zone\": \"east\"}",
                "{\"memory\": 4294967296, \"zone\": \"north\"}", NULL);
        json_t *p;

        (void) state;
        expect_fit(k, ASKING("1", 1, "8GiB", ""), "resources.memory at most 6GiB",
                ASKING("1", 1, "6GiB", ""));
        expect_fit(k, ASKING("1", 2, "6GiB", ""), "resources.memory at most 4GiB",
                ASKING("1", 2, "4GiB", ""));
        expect_fit(k, ASKING("1", 12, "1GiB", ""), "count at most 10", ASKING("1", 10, "1GiB", ""));
        expect_fit(k, ASKING("1", 1, "1GiB", ", \"place\": {\"zone\": [\"west\"]}"),
                "place.zone east or north",
                ASKING("1", 1, "1GiB", ", \"place\": {\"zone\": [\"north\"]}"));
        expect_fit(k, ASKING("1", 1, "1GiB", ", \"place\": {\"where\": [\"gpu exists\"]}"),
                "place.where less \"gpu exists\"", ASKING("1", 1, "1GiB", ""));
        p = kit_plan_one(k, "big", ASKING("1", 12, "1GiB", ""));
        expect_text(json_object_get(p, "more_nodes"), "like", "b");
        assert_int_equal(
                json_integer_value(json_object_get(json_object_get(p, "more_nodes"), "count")), 1);
        json_decref(p);
        p = kit_plan_one(k, "big", ASKING("1", 1, "1GiB", ", \"place\": {\"zone\": [\"west\"]}"));
        expect_text(json_array_get(json_object_get(p, "waits"), 0), "reason",
                "*place.zone: west has no node; zones: east, north");
        json_decref(p);
        kit_free(k);
}

static void test_fits_when_open(void **state)
{
        struct kit *k = kit_with_nodes("{\"memory\": 6442450944}", NULL);
        json_t *p;

        (void) state;
        kit_handle(k, &(struct cluster_event){ .type = CLUSTER_CORDON, .target = "a", .on = true });
        p = kit_plan_one(k, "big", ASKING("1", 1, "1GiB", ""));
        assert_true(has_fit(p, "node a open (`reeve cordon a --off`)"));
        json_decref(p);
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
                cmocka_unit_test(test_move),
                cmocka_unit_test(test_start_first),
                cmocka_unit_test(test_canary_and_times),
                cmocka_unit_test(test_preempt),
                cmocka_unit_test(test_one_per_node),
                cmocka_unit_test(test_rejected),
                cmocka_unit_test(test_fits),
                cmocka_unit_test(test_fits_when_open),
        };

        return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
