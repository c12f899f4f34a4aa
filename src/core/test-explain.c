/* SPDX-License-Identifier: BSD-3-Clause */

/* Why and plan. Sentences are compared with patterns in which "*" stands for anything: the rest is
 * what a person reads, and a change of it should be seen here. */

#include "core/test-cluster-kit.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/explain.h"

static json_t *why(struct kit *k, const char *subject)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        struct error err = ERROR_INIT;
        struct event event = { .index = 7, .time = k->now, .message = (char[]){ "it \"began\"" } };
        json_t *answer;

        if (explain_why(k->c, subject, &event, 1, k->now, &b, &err) < 0)
                fail_msg("%s", err.message);
        answer = json_loads(buffer_str(&b), JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(answer);
        return answer;
}

static void expect_text(const json_t *object, const char *member, const char *pattern)
{
        const char *text = json_string_value(json_object_get(object, member));

        if (pattern == NULL && text == NULL)
                return;
        if (pattern == NULL || text == NULL || fnmatch(pattern, text, 0) != 0)
                fail_msg("%s: is      \"%s\"\n         expected \"%s\"", member,
                        text != NULL ? text : "(null)", pattern != NULL ? pattern : "(null)");
}

static void expect_why(struct kit *k, const char *subject, const char *summary, const char *next)
{
        json_t *answer = why(k, subject);

        expect_text(answer, "subject", subject);
        expect_text(answer, "summary", summary);
        expect_text(answer, "next", next);
        json_decref(answer);
}

static void test_shape(void **state)
{
        struct kit *k = kit_with_node();
        json_t *answer, *link;

        (void) state;
        kit_apply(k, "web", WEB);
        answer = why(k, "web.1");
        expect_text(answer, "kind", "task");
        link = json_array_get(json_object_get(answer, "chain"), 0);
        assert_int_equal(json_integer_value(json_object_get(link, "index")), 7);
        expect_text(link, "message", "it \"began\"");
        expect_text(link, "time", "2023-11-14T22:13:20.000Z");
        json_decref(answer);
        kit_free(k);
}

static void test_why_without_node(void **state)
{
        struct kit *k = kit_new();

        (void) state;
        kit_apply(k, "web", WEB);
        expect_why(k, "web.0", "web.0 waits for a node: no node is ready: none has ever connected",
                "it is placed as soon as a node is ready");
        expect_why(k, "web",
                "web is starting: 0 of 3 tasks run; web.0 waits (and 2 more): no node is ready",
                "tasks that wait are placed as soon as a node can take them");
        kit_free(k);
}

static void test_why_life(void **state)
{
        struct kit *k = kit_with_node();

        (void) state;
        kit_apply(k, "web", WEB);
        expect_why(k, "web.0", "web.0 was placed on node a 0* ago; its agent has not begun it yet",
                "its agent begins it");
        kit_settle(k);
        k->now += 3 * USEC_SEC;
        expect_why(k, "web.0",
                "web.0 runs on node a for 3s (run 1, pid *, version 1): was asked to run",
                "when it ends it runs again after about 1s; after 5 failures within 1m it is "
                "parked");
        expect_why(k, "web", "web is running: 3 of 3 tasks run, version 1 since 3s", NULL);
        expect_why(k, "a", "node a is ready: connected for 3s, 3 of its 3 tasks run; all of web",
                NULL);

        kit_exit(k, "web.1", 3);
        kit_settle(k);
        expect_why(k, "web.1", "web.1 waits for run 2, due in *: after exit code 3 (first failure)",
                "run 2 begins in *; after 5 failures within 1m it is parked");
        expect_why(k, "web", "web is degraded: web.1 waits * after exit code 3*",
                "what waits runs again by itself");

        kit_command(k, CLUSTER_STOP, "web.2");
        kit_agent_report(&k->agents[0]);
        kit_settle(k);
        expect_why(k, "web.2", "web.2 is stopped: a person asked for it",
                "nothing by itself; `reeve restart web.2` runs it again");
        kit_command(k, CLUSTER_STOP, "web");
        kit_settle(k);
        expect_why(k, "web.0", "web.0 is stopped: a person stopped the job web",
                "nothing by itself; *");
        expect_why(k, "web", "web is stopped: was stopped by a person",
                "nothing by itself; `reeve restart web` runs it again");
        kit_free(k);
}

static void test_why_parked(void **state)
{
        struct kit *k = kit_with_node();

        (void) state;
        kit_apply(k, "bad",
                "{\"command\": [\"bad\"], \"restart\": {\"burst\": 2, \"delay\": \"0s\"}}");
        kit_settle(k);
        kit_exit(k, "bad.0", 9);
        kit_settle(k);
        kit_exit(k, "bad.0", 9);
        kit_settle(k);
        expect_why(k, "bad.0",
                "bad.0 was given up * ago: parked, `reeve restart bad.0` takes it up "
                "again: 2 failures within 1m, the last one: exit code 9",
                "nothing by itself; `reeve restart bad.0` runs it again");
        expect_why(k, "bad", "bad has failed: bad.0 has failed: parked*",
                "nothing by itself; `reeve restart bad` runs it again");
        kit_free(k);
}

static void test_why_batch(void **state)
{
        struct kit *k = kit_with_node();

        (void) state;
        kit_apply(k, "once", "{\"kind\": \"batch\", \"command\": [\"x\"]}");
        kit_settle(k);
        expect_why(k, "once.0", "once.0 runs on node a *",
                "when it fails it runs again after about 1s; after 5 failures within 1m it is "
                "parked");
        kit_exit(k, "once.0", 0);
        kit_settle(k);
        k->now += 2 * USEC_MINUTE;
        expect_why(k, "once.0", "once.0 ended well 2m ago: exit code 0*", NULL);
        expect_why(k, "once", "once has succeeded: its task ended well", NULL);
        kit_free(k);
}

static void test_why_rollout(void **state)
{
        struct kit *k = kit_with_node();

        (void) state;
        kit_apply(k, "web", WEB);
        kit_settle(k);
        kit_apply(k, "web", WEB_NEW);
        expect_why(k, "web",
                "web is updating: 1 of 3 tasks have version 2; waits for web.0 to be ready*",
                "the next tasks are replaced when those that were are ready");
        expect_why(k, "web.2", "web.2 runs on node a *; it has version 1, the job version 2",
                "it is replaced when its turn comes");

        /* the first that was moved fails for good */
        while (kit_task(k, "web.0")->machine.run_version != 2 ||
                kit_task(k, "web.0")->machine.state != TASK_RUNNING) {
                kit_deliver_to_agent(&k->agents[0]);
                kit_agent_work(&k->agents[0]);
        }
        kit_task(k, "web.0")->machine.burst_count = 4;
        kit_task(k, "web.0")->machine.burst_began_mono = k->now;
        kit_exit(k, "web.0", 1);
        kit_settle(k);
        expect_why(k, "web",
                "web is degraded: the update has halted: web.0 has failed: parked*; 1 of 3 tasks "
                "have version 2",
                "the other tasks are left alone until a new spec is applied or the job is "
                "restarted; *");
        expect_why(k, "web.2", "web.2 runs *; it has version 1, the job version 2",
                "it stays so: the update of the job has halted");
        kit_free(k);
}

static void test_why_lost(void **state)
{
        struct kit *k = kit_with_node();

        (void) state;
        kit_apply(k, "web", WEB);
        kit_settle(k);
        kit_disconnect(k, 0);
        expect_why(k, "a", "node a has no connection at the moment",
                "if its agent is not back in 2s, it counts as lost");
        k->now += 3 * USEC_SEC;
        kit_handle(k, &(struct cluster_event){ .type = CLUSTER_TICK });
        k->now += USEC_SEC;
        expect_why(k, "web.0",
                "web.0 is lost: node a, where it belongs, has not been heard from "
                "for 1s; whether it runs is not known",
                "it is placed elsewhere as soon as it can be (no node is ready); if the agent "
                "there connects first, it is taken as found");
        expect_why(k, "web",
                "web is degraded: web.0 is lost (and 2 more): its node is not heard from", NULL);
        expect_why(k, "a", "node a is lost for 1s: *it had 3 tasks*", "when its agent connects*");
        kit_apply(k, "more", WEB);
        expect_why(k, "more.0",
                "more.0 waits for a node: no node is ready: the only one, a, is not connected",
                "*");
        kit_reload(k);
        expect_why(k, "web.0", "web.0 is lost*", "*");
        kit_free(k);
}

static void test_why_per_node(void **state)
{
        struct kit *k = kit_new();

        (void) state;
        kit_apply(k, "car", "{\"command\": [\"c\"], \"place\": {\"with\": \"db\"}}");
        expect_why(k, "car", "car is starting: there is no job db, which it goes with",
                "it has a task as soon as there is a node for it");
        kit_connect(k, 0);
        kit_apply(k, "sys",
                "{\"kind\": \"system\", \"command\": [\"s\"], \"resources\": {\"memory\": "
                "\"1TiB\"}}");
        expect_why(k, "sys.0",
                "sys.0 waits for node a, where it belongs: node a has too little memory free (1TiB "
                "asked, at most 1GiB free)",
                "it is placed there as soon as it can be");
        expect_why(
                k, "sys", "sys is starting: 0 of 1 tasks run; sys.0 waits: node a has too*", "*");
        kit_apply(k, "big", "{\"command\": [\"b\"], \"resources\": {\"memory\": \"1TiB\"}}");
        expect_why(k, "big.0", "big.0 waits for a node: no node fits*too little memory*",
                "it is placed as soon as there is room; no node has so much memory, the largest "
                "has "
                "1GiB; it would fit on node a with memory 1GiB instead of 1TiB");
        kit_free(k);
}

static void test_why_scheduled(void **state)
{
        struct kit *k = kit_with_node();

        (void) state;
        kit_apply(k, "n",
                "{\"kind\": \"cron\", \"command\": [\"n\"], \"schedule\": {\"cron\": "
                "\"@hourly\"}}");
        expect_why(k, "n", "n is scheduled: nothing has run yet; next slot 2023-11-14 23:00 UTC",
                "its next slot begins in 46m 40s");
        kit_pass(k, USEC_HOUR);
        kit_end_all(k, "n", 0);
        expect_why(k, "n.0", "n.0 ended well 0us ago*", "its next slot begins in 46m 40s");
        kit_apply(k, "t", "{\"template\": true, \"command\": [\"t\"]}");
        expect_why(k, "t", "t is a template: `reeve dispatch t` makes jobs of it", NULL);
        kit_apply(k, "b",
                "{\"kind\": \"batch\", \"command\": [\"b\"], \"batch\": {\"deadline\": \"1m\"}}");
        kit_pass(k, USEC_HOUR);
        expect_why(k, "b", "b has failed: took longer than 1m (batch.deadline)",
                "nothing by itself; `reeve restart b` runs it again");
        expect_why(k, "b.0", "b.0 was stopped: the job b took longer than batch.deadline", "*");
        kit_free(k);
}

#define HALF    "{\"command\": [\"x\"], \"count\": %d, \"resources\": {\"memory\": \"512MiB\"}}"
#define TWO_256 "{\"command\": [\"y\"], \"count\": 2, \"resources\": {\"memory\": \"256MiB\"}}"

static void apply_half(struct kit *k, const char *name, int count)
{
        char json[200];

        snprintf(json, sizeof json, HALF, count);
        kit_apply(k, name, json);
        kit_settle(k);
}

static struct kit *nodes_ready(size_t nodes)
{
        struct kit *k = kit_new();

        for (size_t i = 0; i < nodes; i++)
                kit_connect(k, i);
        kit_settle(k);
        return k;
}

static void command_node(struct kit *k, enum cluster_event_type type, const char *node, bool on)
{
        struct cluster_event event = { .type = type, .target = node, .on = on };

        if (kit_handle(k, &event) < 0)
                fail_msg("%s", k->err.message);
}

static void expect_explained(struct kit *k,
        void (*explain)(const struct cluster *c, const char *task, struct buffer *ret),
        const char *task, const char *expected)
{
        AUTO(buffer_done) struct buffer text = { 0 };

        explain(k->c, task, &text);
        assert_string_equal(buffer_str(&text), expected);
}

static void test_why_here(void **state)
{
        struct kit *k = nodes_ready(2);

        (void) state;
        apply_half(k, "web", 2);
        expect_explained(k, explain_choice, "web.0",
                "of 2 nodes that fitted: it is the first by name among equals");
        expect_explained(k, explain_choice, "web.1",
                "of 2 nodes that fitted: the fewest tasks of the job are on it");
        expect_why(k, "web.1",
                "web.1 runs on node b *; it is on node b, of 2 nodes that fitted: the fewest "
                "tasks of the job are on it",
                "*");
        apply_half(k, "more", 1);
        kit_apply(k, "third", TWO_256);
        kit_settle(k);
        expect_explained(k, explain_choice, "third.0", "the only node that fitted");
        expect_explained(k, explain_choice, "nobody.0", "");
        expect_explained(k, explain_leaving, "web.0", "");
        kit_reload(k);
        kit_connect(k, 0);
        kit_connect(k, 1);
        expect_explained(k, explain_choice, "web.1",
                "of 2 nodes that fitted: the fewest tasks of the job are on it");
        kit_free(k);
}

static void test_why_no_room(void **state)
{
        static const char picky[] =
                "{\"command\": [\"x\"], \"place\": {\"where\": [\"gpu exists\"]}}";
        static const char zoned[] = "{\"command\": [\"x\"], \"place\": {\"zone\": [\"west\"]}}";
        static const char gang[] =
                "{\"command\": [\"x\"], \"count\": 4, \"place\": {\"gang\": true},"
                " \"resources\": {\"memory\": \"256MiB\"}}";
        static const char huge[] =
                "{\"command\": [\"x\"], \"resources\": {\"memory\": \"8GiB\", \"ports\": [\"p\"]}}";
        static const char few[] = "{\"kind\": \"batch\", \"command\": [\"x\"], \"count\": 2, "
                                  "\"batch\": {\"parallel\": 1}}";
        struct kit *k = nodes_ready(2);

        (void) state;
        apply_half(k, "web", 2);
        kit_apply(k, "small", "{\"command\": [\"x\"], \"resources\": {\"memory\": \"156MiB\"}}");
        kit_settle(k);
        kit_apply(k, "big", "{\"command\": [\"x\"], \"resources\": {\"memory\": \"600MiB\"}}");
        expect_why(k, "big.0",
                "big.0 waits for a node: no node fits: of 2 nodes 2 have too little memory free "
                "(600MiB asked, at most 512MiB free)",
                "it is placed as soon as there is room; it would fit on node b with memory 512MiB "
                "instead of 600MiB");
        kit_apply(k, "huge", huge);
        expect_why(k, "huge.0", "*",
                "it is placed as soon as there is room; no node has so much memory, the largest "
                "has 1GiB; it would fit on node b with memory 512MiB instead of 8GiB");
        kit_apply(k, "picky", picky);
        expect_why(k, "picky.0",
                "picky.0 waits for a node: no node fits: of 2 nodes 2 do not match \"gpu exists\"",
                "it is placed as soon as there is room; it would fit on node a without the "
                "condition \"gpu exists\"");
        kit_apply(k, "zoned", zoned);
        expect_why(k, "zoned.0", "*: of 2 nodes 2 are in another zone",
                "*; it would fit on node a if place.zone allowed nodes without a zone");
        kit_apply(k, "gang", gang);
        expect_why(k, "gang.0",
                "gang.0 waits for a node: all of its job are placed or none (place.gang), and "
                "there is room for 3 of 4",
                "it is placed as soon as there is room");
        kit_apply(k, "few", few);
        kit_settle(k);
        expect_why(k, "few.1",
                "few.1 waits for a node: as many tasks of few are there as may be at a time "
                "(batch.parallel 1)",
                "it is placed when one of them has ended");
        expect_why(k, "b",
                "node b is ready: *, 2 of its 2 tasks run; its tasks ask for memory 512MiB of "
                "1GiB; most of it for web (1 task), few (1 task)",
                "jobs that wait for a node and may use this one: big (1 task), huge (1 task), gang "
                "(4 tasks) and 1 more");
        expect_why(k, "a",
                "*; its tasks ask for memory 668MiB of 1GiB; most of it for web (1 task), small (1 "
                "task)",
                "*");
        kit_free(k);
}

static void test_why_closed(void **state)
{
        struct kit *k = nodes_ready(1);

        (void) state;
        command_node(k, CLUSTER_CORDON, "a", true);
        apply_half(k, "web", 1);
        expect_why(k, "web.0",
                "web.0 waits for a node: no node fits: the only one is closed for new tasks",
                "it is placed as soon as there is room; it would fit on node a if that were open "
                "(`reeve cordon a --off`)");
        expect_why(k, "a", "node a is ready: *; it gets no new tasks: a person closed it",
                "nothing new comes until `reeve cordon a --off`; jobs that wait for a node and may "
                "use this one: web (1 task)");
        kit_free(k);
}

static void test_why_drain(void **state)
{
        struct kit *k = nodes_ready(2);

        (void) state;
        apply_half(k, "web", 3); /* a has two of them, b one */
        command_node(k, CLUSTER_DRAIN, "a", true);
        expect_explained(k, explain_leaving, "web.0",
                "it is told to end there, and is placed anew when it has");
        expect_explained(k, explain_leaving, "web.2",
                "1 of web's tasks is down already, and no more may be (update.parallel): web.0 is "
                "running, leaves its node");
        expect_why(k, "web.2", "web.2 runs on node a *",
                "it has to leave node a, which is drained: 1 of web's tasks is down*");
        expect_why(k, "a", "node a is ready: *; it is being drained: 2 tasks have to leave",
                "web.0: it is told to end there, and is placed anew when it has");
        kit_settle(k);
        expect_explained(k, explain_leaving, "web.2",
                "no node fits: of 2 nodes 1 is closed for new tasks, 1 has too little memory free "
                "(512MiB asked, at most 0B free)");
        kit_connect(k, 2);
        kit_settle(k);
        expect_explained(k, explain_leaving, "web.2", "");
        expect_why(k, "a", "node a is ready: *; it is drained: nothing runs there any more",
                "it gets no tasks until `reeve drain a --off`");
        kit_free(k);
}

static void test_why_lost_waits(void **state)
{
        struct kit *k = nodes_ready(2);

        (void) state;
        kit_apply(k, "web",
                "{\"command\": [\"x\"], \"lost\": {\"after\": \"1m\"}, \"place\": {\"node\": "
                "\"a\"}}");
        kit_settle(k);
        kit_disconnect(k, 0);
        k->now += 3 * USEC_SEC;
        kit_handle(k, &(struct cluster_event){ .type = CLUSTER_TICK });
        expect_why(k, "web.0", "web.0 is lost: node a*",
                "it is placed elsewhere in 57s; if the agent there connects first, it is taken as "
                "found");
        expect_why(k, "a", "node a is lost for 0*",
                "*; `reeve node forget a` if it does not come back");
        kit_free(k);
}

static void test_why_what_is_left_of_a_loss(void **state)
{
        struct kit *k = nodes_ready(2);

        (void) state;
        kit_apply(k, "web", "{\"command\": [\"x\"], \"count\": 2}");
        kit_settle(k);
        kit_disconnect(k, 0);
        kit_pass(k, CLUSTER_LOST_AFTER + USEC_SEC);
        kit_connect(k, 0);
        expect_why(k, "a", "node a is ready: *; it still ends 1 task that was placed elsewhere *",
                NULL);
        kit_settle(k);
        expect_why(k, "a", "node a is ready: connected for 0*, 0 of its 0 tasks run*", NULL);
        kit_free(k);
}

static void test_why_killed_at_once(void **state)
{
        struct kit *k = kit_with_job("web", "{\"command\": [\"web\"], \"stop\": {\"grace\": 0}}");
        struct kit_agent *a = &k->agents[0];

        (void) state;
        kit_command(k, CLUSTER_STOP, "web");
        while (kit_deliver_to_agent(a) || kit_agent_report(a) || kit_deliver_to_server(a))
                ;
        expect_why(
                k, "web.0", "web.0 was told to end *: was asked to stop", "it is killed at once");
        kit_free(k);
}

static void test_why_none(void **state)
{
        struct kit *k = kit_with_node();

        (void) state;
        kit_apply(k, "web", "{\"command\": [\"web\"], \"count\": 0}");
        expect_why(k, "web", "web is stopped: its count is 0",
                "nothing until its count is more than 0");
        kit_free(k);
}

static void test_why_unknown(void **state)
{
        struct kit *k = kit_with_node();
        struct buffer b = { 0 };
        struct error err = ERROR_INIT;

        (void) state;
        kit_apply(k, "web", WEB);
        assert_int_equal(explain_why(k->c, "wbe", NULL, 0, k->now, &b, &err), -1);
        assert_int_equal(err.code, ERR_NOT_FOUND);
        assert_string_equal(err.message, "no job or task \"wbe\"; did you mean \"web\"?");
        assert_int_equal(b.len, 0);
        kit_connect(k, 2);
        assert_int_equal(explain_why(k->c, "b", NULL, 0, k->now, &b, &err), -1);
        assert_string_equal(err.message, "no job or task \"b\"");
        kit_free(k);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_shape),
                cmocka_unit_test(test_why_without_node),
                cmocka_unit_test(test_why_life),
                cmocka_unit_test(test_why_parked),
                cmocka_unit_test(test_why_batch),
                cmocka_unit_test(test_why_rollout),
                cmocka_unit_test(test_why_lost),
                cmocka_unit_test(test_why_per_node),
                cmocka_unit_test(test_why_scheduled),
                cmocka_unit_test(test_why_here),
                cmocka_unit_test(test_why_no_room),
                cmocka_unit_test(test_why_closed),
                cmocka_unit_test(test_why_drain),
                cmocka_unit_test(test_why_lost_waits),
                cmocka_unit_test(test_why_what_is_left_of_a_loss),
                cmocka_unit_test(test_why_killed_at_once),
                cmocka_unit_test(test_why_none),
                cmocka_unit_test(test_why_unknown),
        };

        return cmocka_run_group_tests_name("explain", tests, NULL, NULL);
}
