/* SPDX-License-Identifier: BSD-3-Clause */
/* One task per node: kind system, and with another job. */

#include "core/test-cluster-kit.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/cluster-internal.h"

#define SYS     "{\"kind\": \"system\", \"command\": [\"sys\"]}"
#define SYS_NEW "{\"kind\": \"system\", \"command\": [\"sys\", \"new\"]}"

static void apply(struct kit *k, const char *name, const char *json)
{
        if (kit_apply(k, name, json) < 0)
                fail_msg("%s", k->err.message);
        kit_settle(k);
}

static int drain(struct kit *k, const char *node, bool on)
{
        int r = kit_handle(
                k, &(struct cluster_event){ .type = CLUSTER_DRAIN, .target = node, .on = on });

        return r;
}

static void expect_node(struct kit *k, const char *id, const char *node)
{
        struct task_status s = kit_status(k, id);

        if (node == NULL)
                assert_null(s.node);
        else
                assert_string_equal(s.node != NULL ? s.node : "-", node);
}

static void expect_none(struct kit *k, const char *id)
{
        struct task_status s;

        if (cluster_get_task(k->c, id, &s))
                fail_msg("there is %s, on node %s", id, s.node != NULL ? s.node : "-");
}

/* ---- System */

static void system_has_a_task_on_every_node(void **state)
{
        struct kit *k = kit_with_plain_nodes(2);

        (void) state;
        assert_int_equal(kit_apply(k, "sys", SYS), 0);
        kit_expect_event(k, EVENT_JOB_APPLIED, "version 1: one task per node");
        kit_settle(k);
        expect_job(k, "sys", JOB_RUNNING, 2);
        assert_int_equal(kit_job(k, "sys").count, 2);
        expect_node(k, "sys.0", "a");
        expect_node(k, "sys.1", "b");
        expect_same_after_reload(k);

        kit_connect(k, 2);
        kit_expect_event(k, EVENT_TASK_CREATED, "sys.2 is new, for node c");
        kit_settle(k);
        expect_job(k, "sys", JOB_RUNNING, 3);
        expect_node(k, "sys.2", "c");
        kit_free(k);
}

static void system_without_nodes_says_so(void **state)
{
        struct kit *k = kit_new();

        (void) state;
        apply(k, "sys", SYS);
        expect_job(k, "sys", JOB_STARTING, 0);
        expect_reason(k, "sys", "there is no node for it");
        kit_connect(k, 0);
        kit_settle(k);
        expect_job(k, "sys", JOB_RUNNING, 1);
        kit_free(k);
}

static void system_is_where_it_may_be(void **state)
{
        struct kit *k = kit_new();

        (void) state;
        kit_describe(k, 1, "{\"zone\": \"west\"}");
        for (size_t i = 0; i < 3; i++)
                kit_connect(k, i);
        apply(k, "sys",
                "{\"kind\": \"system\", \"command\": [\"s\"], \"place\": {\"zone\": [\"west\"]}}");
        expect_job(k, "sys", JOB_RUNNING, 1);
        expect_node(k, "sys.0", "b");

        /* the nodes come back with other attributes, one in and one out */
        kit_describe(k, 2, "{\"zone\": \"west\"}");
        kit_describe(k, 1, "{\"zone\": \"east\"}");
        kit_connect(k, 2);
        kit_settle(k);
        kit_connect(k, 1);
        kit_settle(k);
        expect_job(k, "sys", JOB_RUNNING, 1);
        expect_node(k, "sys.1", "c");
        expect_none(k, "sys.0");
        assert_null(kit_task(k, "sys.0"));

        /* another place, the same processes where both allow it */
        apply(k, "sys", "{\"kind\": \"system\", \"command\": [\"s\"]}");
        expect_job(k, "sys", JOB_RUNNING, 3);
        expect_same_after_reload(k);
        kit_free(k);
}

/* Whether a node that has not connected since the server began is allowed is known, too. */
static void system_is_not_anywhere_after_a_reload(void **state)
{
        struct kit *k = kit_new();

        (void) state;
        kit_describe(k, 1, "{\"zone\": \"west\"}");
        kit_connect(k, 0);
        kit_connect(k, 1);
        apply(k, "sys",
                "{\"kind\": \"system\", \"command\": [\"s\"], \"place\": {\"zone\": [\"west\"]}}");
        kit_reload(k);
        assert_int_equal(kit_count_events(k, EVENT_TASK_CREATED), 0);
        assert_int_equal(kit_job(k, "sys").count, 1);
        kit_free(k);
}

static void system_leaves_a_drained_node(void **state)
{
        struct kit *k = kit_with_plain_nodes(2);

        (void) state;
        apply(k, "sys", SYS);
        assert_int_equal(drain(k, "a", true), 0);
        kit_expect_event(k, EVENT_TASK_STOPPING, "sys.0 leaves node a: it is drained");
        kit_settle(k);
        expect_none(k, "sys.0");
        expect_job(k, "sys", JOB_RUNNING, 1);
        expect_same_after_reload(k);

        assert_int_equal(drain(k, "a", false), 0);
        kit_settle(k);
        expect_job(k, "sys", JOB_RUNNING, 2);
        expect_node(k, "sys.0", "a");

        /* to and fro: the new one waits until the old one is gone */
        assert_int_equal(drain(k, "a", true), 0);
        assert_int_equal(drain(k, "a", false), 0);
        assert_int_equal(kit_job(k, "sys").count, 1);
        kit_settle(k);
        expect_job(k, "sys", JOB_RUNNING, 2);
        kit_free(k);
}

static void system_stays_on_a_cordoned_node(void **state)
{
        struct kit *k = kit_with_plain_nodes(1);
        struct cluster_event cordon = { .type = CLUSTER_CORDON, .target = "b", .on = true };

        (void) state;
        apply(k, "sys", SYS);
        cordon.target = "a";
        assert_int_equal(kit_handle(k, &cordon), 0);
        kit_settle(k);
        expect_job(k, "sys", JOB_RUNNING, 1);
        kit_exit(k, "sys.0", 1);
        kit_pass(k, USEC_MINUTE);
        expect_job(k, "sys", JOB_RUNNING, 1);
        apply(k, "late", SYS);
        expect_job(k, "late", JOB_STARTING, 0);
        cordon.on = false;
        assert_int_equal(kit_handle(k, &cordon), 0);
        kit_settle(k);
        expect_job(k, "late", JOB_RUNNING, 1);
        kit_free(k);
}

static void system_waits_for_a_lost_node(void **state)
{
        struct kit *k = kit_with_plain_nodes(2);

        (void) state;
        apply(k, "sys", SYS);
        kit_disconnect(k, 1);
        kit_pass(k, USEC_HOUR);
        assert_int_equal(kit_status(k, "sys.1").state, TASK_LOST);
        assert_int_equal(kit_job(k, "sys").lost, 1);
        expect_job(k, "sys", JOB_DEGRADED, 1);
        kit_connect(k, 1);
        kit_settle(k);
        expect_job(k, "sys", JOB_RUNNING, 2);
        assert_int_equal(runs_of(k, "sys.1"), 1);

        kit_disconnect(k, 1);
        assert_int_equal(kit_command(k, CLUSTER_FORGET, "b"), 0);
        kit_settle(k);
        expect_none(k, "sys.1");
        expect_job(k, "sys", JOB_RUNNING, 1);
        expect_same_after_reload(k);
        kit_connect(k, 1);
        kit_settle(k);
        expect_job(k, "sys", JOB_RUNNING, 2);
        kit_free(k);
}

static void system_waits_for_room(void **state)
{
        struct kit *k = kit_new();

        (void) state;
        kit_describe(k, 1, "{\"memory\": 4194304}");
        kit_connect(k, 0);
        kit_connect(k, 1);
        apply(k, "sys",
                "{\"kind\": \"system\", \"command\": [\"s\"], \"resources\": {\"memory\": "
                "\"8MiB\"}}");
        expect_job(k, "sys", JOB_STARTING, 1);
        expect_node(k, "sys.0", "a");
        expect_node(k, "sys.1", NULL);
        assert_string_equal(kit_status(k, "sys.1").reason,
                "node b has too little memory free (8MiB asked, at most 4MiB free)");
        assert_int_equal(kit_job(k, "sys").queued, 1);
        kit_reload(k);
        kit_connect(k, 0);
        kit_connect(k, 1);
        kit_settle(k);
        expect_job(k, "sys", JOB_STARTING, 1);

        kit_describe(k, 1, "{\"memory\": 1073741824}");
        kit_connect(k, 1);
        kit_settle(k);
        expect_job(k, "sys", JOB_RUNNING, 2);
        expect_node(k, "sys.1", "b");
        kit_free(k);
}

static void system_is_updated_in_turn(void **state)
{
        struct kit *k = kit_with_plain_nodes(3);
        bool any = true;

        (void) state;
        apply(k, "sys", SYS);
        assert_int_equal(kit_apply(k, "sys", SYS_NEW), 0);
        while (any) {
                any = false;
                for (size_t i = 0; i < 3; i++) {
                        struct kit_agent *a = &k->agents[i];

                        while (kit_deliver_to_agent(a) || kit_agent_work(a) ||
                                kit_agent_report(a) || kit_deliver_to_server(a)) {
                                any = true;
                                assert_true(kit_job(k, "sys").running >= 2);
                        }
                }
        }
        expect_job(k, "sys", JOB_RUNNING, 3);
        for (int i = 0; i < 3; i++)
                expect_task(k, (const char *[]){ "sys.0", "sys.1", "sys.2" }[i], TASK_RUNNING, 2);
        expect_same_after_reload(k);
        kit_free(k);
}

#define SYS_CANARY                                                                                 \
        "{\"kind\": \"system\", \"command\": [\"sys\", \"new\"], \"update\": {\"canary\": 1}}"

static void system_has_a_canary(void **state)
{
        struct kit *k = kit_with_plain_nodes(3);

        (void) state;
        apply(k, "sys", SYS);
        apply(k, "sys", SYS_CANARY);
        expect_job(k, "sys", JOB_UPDATING, 3);
        expect_reason(k, "sys", "1 of 3 tasks have version 2; the canary waits");
        expect_task(k, "sys.0", TASK_RUNNING, 2);
        expect_task(k, "sys.1", TASK_RUNNING, 1);
        expect_same_after_reload(k);
        assert_int_equal(kit_command(k, CLUSTER_PROMOTE, "sys"), 0);
        kit_settle(k);
        expect_job(k, "sys", JOB_RUNNING, 3);
        expect_task(k, "sys.2", TASK_RUNNING, 2);
        kit_free(k);
}

static void system_is_stopped_scaled_and_removed(void **state)
{
        struct kit *k = kit_with_plain_nodes(2);

        (void) state;
        apply(k, "sys", SYS);
        assert_int_equal(kit_scale(k, "sys", 5), -1);
        expect_error(
                k, ERR_CONFLICT, "job sys has one task per node: its count follows from the nodes");
        assert_int_equal(kit_command(k, CLUSTER_STOP, "sys.0"), 0);
        kit_settle(k);
        expect_job(k, "sys", JOB_RUNNING, 1);
        assert_int_equal(kit_command(k, CLUSTER_STOP, "sys"), 0);
        kit_settle(k);
        expect_job(k, "sys", JOB_STOPPED, 0);
        kit_connect(k, 2);
        kit_settle(k);
        expect_job(k, "sys", JOB_STOPPED, 0);
        expect_same_after_reload(k);
        assert_int_equal(kit_command(k, CLUSTER_RESTART, "sys"), 0);
        kit_settle(k);
        expect_job(k, "sys", JOB_RUNNING, 3);
        assert_int_equal(kit_command(k, CLUSTER_REMOVE, "sys"), 0);
        kit_settle(k);
        assert_null(job_find(k->c, "sys"));
        assert_int_equal(k->agents[2].tasks_len, 0);
        kit_free(k);
}

static void a_service_becomes_one_per_node_and_back(void **state)
{
        struct kit *k = kit_with_plain_nodes(2);

        (void) state;
        apply(k, "web", WEB);
        apply(k, "web", "{\"kind\": \"system\", \"command\": [\"web\"]}");
        expect_job(k, "web", JOB_RUNNING, 2);
        assert_int_equal(k->agents[0].tasks_len, 1);
        assert_int_equal(k->agents[1].tasks_len, 1);
        expect_same_after_reload(k);
        apply(k, "web", WEB);
        expect_job(k, "web", JOB_RUNNING, 3);
        expect_same_after_reload(k);
        kit_free(k);
}

/* ---- With another job */

#define DB      "{\"command\": [\"db\"], \"count\": 2}"
#define DB_NEW  "{\"command\": [\"db\", \"new\"], \"count\": 2}"
#define DB_LOGS "{\"command\": [\"db\"], \"count\": 2, \"logs\": {\"files\": 9}}"
#define WITH_DB "{\"command\": [\"sidecar\"], \"place\": {\"with\": \"db\"}}"

static void with_is_where_the_other_is(void **state)
{
        struct kit *k = kit_with_plain_nodes(3);

        (void) state;
        apply(k, "car", WITH_DB);
        expect_job(k, "car", JOB_STARTING, 0);
        expect_reason(k, "car", "there is no job db, which it goes with");
        apply(k, "db", DB);
        expect_nodes(k, "db", "a b");
        expect_job(k, "car", JOB_RUNNING, 2);
        assert_int_equal(k->agents[0].tasks_len, 2);
        assert_int_equal(k->agents[1].tasks_len, 2);
        expect_same_after_reload(k);

        assert_int_equal(kit_scale(k, "db", 3), 0);
        kit_settle(k);
        expect_job(k, "car", JOB_RUNNING, 3);
        assert_int_equal(kit_scale(k, "db", 1), 0);
        kit_settle(k);
        expect_nodes(k, "car", "a");
        assert_int_equal(k->agents[2].tasks_len, 0);

        assert_int_equal(kit_command(k, CLUSTER_STOP, "db"), 0);
        kit_settle(k);
        expect_job(k, "car", JOB_STARTING, 0);
        expect_reason(k, "car", "job db, which it goes with, has no task on a node for it");
        assert_int_equal(kit_command(k, CLUSTER_RESTART, "db"), 0);
        kit_settle(k);
        expect_job(k, "car", JOB_RUNNING, 1);
        assert_int_equal(kit_command(k, CLUSTER_REMOVE, "db"), 0);
        kit_settle(k);
        expect_reason(k, "car", "there is no job db");
        assert_int_equal(k->agents[0].tasks_len, 0);
        expect_same_after_reload(k);
        kit_free(k);
}

static void with_follows_to_another_node(void **state)
{
        struct kit *k = kit_with_plain_nodes(2);

        (void) state;
        apply(k, "db", "{\"command\": [\"db\"]}");
        apply(k, "car", WITH_DB);
        expect_nodes(k, "car", "a");
        kit_connect(k, 1);
        assert_int_equal(drain(k, "a", true), 0);
        kit_pass(k, USEC_MINUTE);
        expect_nodes(k, "db", "b");
        expect_job(k, "car", JOB_RUNNING, 1);
        assert_int_equal(kit_job(k, "car").count, 1);
        assert_int_equal(k->agents[0].tasks_len, 0);
        expect_same_after_reload(k);

        /* its node is lost, and the other goes on elsewhere */
        assert_int_equal(drain(k, "a", false), 0);
        kit_settle(k);
        kit_disconnect(k, 1);
        kit_pass(k, USEC_MINUTE);
        expect_nodes(k, "db", "a");
        assert_int_equal(kit_processes(k, "car.0") + kit_processes(k, "car.1"), 2);
        kit_connect(k, 1);
        kit_settle(k);
        assert_int_equal(k->agents[1].tasks_len, 0);
        expect_job(k, "car", JOB_RUNNING, 1);
        kit_free(k);
}

/* On each node after the other's task there was replaced, and not before. */
static void with_is_restarted_after_an_update(void **state)
{
        struct kit *k = kit_with_plain_nodes(2);

        (void) state;
        apply(k, "db", DB);
        apply(k, "car", WITH_DB);
        assert_int_equal(kit_apply(k, "db", DB_NEW), 0);
        while (kit_deliver_to_agent(&k->agents[0]) || kit_agent_work(&k->agents[0]))
                continue;
        assert_int_equal(runs_of(k, "db.0"), 2);
        assert_int_equal(runs_of(k, "car.0"), 1);
        while (kit_agent_report(&k->agents[0]) || kit_deliver_to_server(&k->agents[0]) ||
                kit_deliver_to_agent(&k->agents[0]) || kit_agent_work(&k->agents[0]))
                continue;
        assert_int_equal(runs_of(k, "car.0"), 2);
        assert_int_equal(runs_of(k, "car.1"), 1);
        kit_settle(k);
        assert_int_equal(runs_of(k, "car.1"), 2);
        expect_same_after_reload(k);
        assert_int_equal(runs_of(k, "car.0"), 2);

        apply(k, "db", DB_LOGS); /* new processes again, for the command is another */
        assert_int_equal(runs_of(k, "car.0"), 3);
        apply(k, "db", DB);
        assert_int_equal(runs_of(k, "db.0"), 3); /* in place */
        assert_int_equal(runs_of(k, "car.0"), 3);
        assert_int_equal(kit_command(k, CLUSTER_RESTART, "db"), 0);
        kit_settle(k);
        assert_int_equal(runs_of(k, "db.0"), 4); /* no update */
        assert_int_equal(runs_of(k, "car.0"), 3);
        kit_free(k);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(system_has_a_task_on_every_node),
                cmocka_unit_test(system_without_nodes_says_so),
                cmocka_unit_test(system_is_where_it_may_be),
                cmocka_unit_test(system_is_not_anywhere_after_a_reload),
                cmocka_unit_test(system_leaves_a_drained_node),
                cmocka_unit_test(system_stays_on_a_cordoned_node),
                cmocka_unit_test(system_waits_for_a_lost_node),
                cmocka_unit_test(system_waits_for_room),
                cmocka_unit_test(system_is_updated_in_turn),
                cmocka_unit_test(system_has_a_canary),
                cmocka_unit_test(system_is_stopped_scaled_and_removed),
                cmocka_unit_test(a_service_becomes_one_per_node_and_back),
                cmocka_unit_test(with_is_where_the_other_is),
                cmocka_unit_test(with_follows_to_another_node),
                cmocka_unit_test(with_is_restarted_after_an_update),
        };

        return cmocka_run_group_tests_name("pins", tests, NULL, NULL);
}
