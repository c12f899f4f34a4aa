/* SPDX-License-Identifier: BSD-3-Clause */
/* Tasks that leave their nodes, and what must not get in between; each found by test/sim. */

#include "core/cluster-internal.h"
#include "core/test-cluster-kit.h"

#include <string.h>

#define WEB_1     "{\"command\": [\"web\"], \"count\": 1}"
#define WEB_2     "{\"command\": [\"web\"], \"count\": 2}"
#define WEB_1_NEW "{\"command\": [\"web\", \"new\"], \"count\": 1}"

static int drain(struct kit *k, const char *node, usec_t deadline)
{
        return kit_handle(k,
                &(struct cluster_event){
                        .type = CLUSTER_DRAIN, .target = node, .on = true, .deadline = deadline });
}

static void tick(struct kit *k, usec_t later)
{
        k->now += later;
        assert_int_equal(kit_handle(k, &(struct cluster_event){ .type = CLUSTER_TICK }), 0);
}

/* Told to end on a, it is not told to run there again: not even with the newest version. */
static void test_update_while_it_leaves(void **state)
{
        struct kit *k = kit_with_job("web", WEB_1);

        (void) state;
        kit_connect(k, 1);
        kit_settle(k);
        assert_int_equal(drain(k, "a", 0), 0);
        while (kit_deliver_to_agent(&k->agents[0]) || kit_agent_work(&k->agents[0]) ||
                kit_agent_report(&k->agents[0])) /* it ends; the server does not hear it yet */
                continue;
        assert_int_equal(kit_apply(k, "web", WEB_1_NEW), 0);
        for (size_t i = 0; i < k->fx.assigns_len; i++)
                assert_false(k->fx.assigns[i].desire.run);
        kit_settle(k);
        expect_task(k, "web.0", TASK_RUNNING, 2);
        assert_string_equal(kit_status(k, "web.0").node, "b");
        kit_free(k);
}

/* What runs on a node that is away for a moment may run on: only its loss has it placed anew. */
static void test_deadline_while_the_node_is_away(void **state)
{
        struct kit *k = kit_with_job("web", WEB_1);

        (void) state;
        kit_connect(k, 1);
        kit_settle(k);
        kit_disconnect(k, 0);
        assert_int_equal(drain(k, "a", 100 * USEC_MSEC), 0);
        tick(k, 200 * USEC_MSEC);
        assert_string_equal(kit_status(k, "web.0").node, "a");
        tick(k, CLUSTER_LOST_AFTER);
        kit_settle(k);
        expect_task(k, "web.0", TASK_RUNNING, 1);
        assert_string_equal(kit_status(k, "web.0").node, "b");
        kit_free(k);
}

/* Agents that looked for the server in vain look less and less often, and many that come at once
 * are not heard all at once. */
static void test_a_server_that_begins_waits_for_its_agents(void **state)
{
        struct kit *k = kit_with_job("web", WEB_1);

        (void) state;
        kit_connect(k, 1);
        kit_connect(k, 2);
        kit_settle(k);
        kit_reload(k);
        tick(k, CLUSTER_RETURN_SPAN);
        kit_connect(k, 1);
        kit_settle(k);
        tick(k, CLUSTER_LOST_AFTER - 100 * USEC_MSEC);
        kit_connect(k, 2); /* there are still some that come */
        kit_settle(k);
        tick(k, CLUSTER_LOST_AFTER - 100 * USEC_MSEC);
        assert_int_equal(kit_count_events(k, EVENT_NODE_LOST), 0);
        kit_disconnect(k, 1); /* who was back is not waited for any longer than others */
        tick(k, 100 * USEC_MSEC);
        assert_int_equal(kit_count_events(k, EVENT_NODE_LOST), 1);
        assert_string_equal(kit_status(k, "web.0").node, "c");
        tick(k, CLUSTER_LOST_AFTER);
        assert_int_equal(kit_count_events(k, EVENT_NODE_LOST), 1);
        kit_free(k);
}

/* Who says that the clock was set back is believed once. */
static void test_clock_set_back_and_forth(void **state)
{
        struct kit *k = kit_with_job("web", WEB);

        (void) state;
        assert_int_equal(kit_apply(k, "web", WEB_NEW), 0); /* one is told, and does not answer */
        for (int i = -1; i <= 1; i += 2) {
                k->now = i < 0 ? k->now - USEC_HOUR : k->now + USEC_HOUR;
                assert_int_equal(kit_handle(k, &(struct cluster_event){ .type = CLUSTER_CLOCK,
                                                       .by = i * (int64_t) USEC_HOUR }),
                        0);
        }
        tick(k, USEC_SEC);
        kit_settle(k);
        expect_job(k, "web", JOB_RUNNING, 3); /* and not halted: it had no ten minutes */
        kit_free(k);
}

/* A clock that is set back does not make a rollout wait for the old time to come again. */
static void test_rollout_over_a_clock_set_back(void **state)
{
        struct kit *k = kit_with_job("web", WEB);

        (void) state;
        assert_int_equal(kit_apply(k, "web", WEB_NEW), 0);
        kit_settle(k);
        k->now -= USEC_HOUR;
        assert_int_equal(kit_handle(k, &(struct cluster_event){ .type = CLUSTER_CLOCK,
                                               .by = -(int64_t) USEC_HOUR }),
                0);
        assert_int_equal(kit_command(k, CLUSTER_RESTART, "web"), 0);
        kit_settle(k);
        expect_job(k, "web", JOB_RUNNING, 3);
        kit_free(k);
}

/* Its node was lost, there was no room elsewhere, and then a person stopped it: it is not placed
 * anew in the stead of one that is wanted. */
static void test_stopped_while_its_node_is_lost(void **state)
{
        struct kit *k = kit_with_job("web", WEB_2);

        (void) state;
        kit_disconnect(k, 0);
        tick(k, CLUSTER_LOST_AFTER + USEC_SEC);
        assert_int_equal(kit_command(k, CLUSTER_STOP, "web.0"), 0);
        kit_connect(k, 1);
        kit_settle(k);
        assert_string_equal(kit_status(k, "web.0").node, "a");
        assert_string_equal(kit_status(k, "web.1").node, "b");
        kit_connect(k, 0);
        kit_settle(k);
        expect_task(k, "web.0", TASK_ENDED, 1);
        expect_task(k, "web.1", TASK_RUNNING, 1);
        kit_free(k);
}

/* It was on its way elsewhere when a person stopped it, and a server that begins anew knows that.
 */
static void test_stopped_while_it_leaves(void **state)
{
        struct kit *k = kit_with_job("web", WEB_1);

        (void) state;
        kit_connect(k, 1);
        kit_settle(k);
        assert_int_equal(drain(k, "a", 0), 0);
        assert_int_equal(kit_command(k, CLUSTER_STOP, "web"), 0);
        kit_reload(k);
        kit_connect(k, 0);
        kit_connect(k, 1);
        kit_settle(k);
        expect_task(k, "web.0", TASK_ENDED, 1);
        assert_string_equal(kit_status(k, "web.0").node, "a");
        kit_free(k);
}

/* What has to be ready for a while is not waited for until the old time comes again. */
static void test_clock_set_back_while_it_proves_itself(void **state)
{
        struct kit *k = kit_with_job("web", WEB_1);

        (void) state;
        assert_int_equal(kit_apply(k, "web",
                                 "{\"command\": [\"web\", \"new\"], \"count\": 1, "
                                 "\"update\": {\"healthy\": \"2s\"}}"),
                0);
        kit_settle(k);
        k->now -= USEC_HOUR;
        assert_int_equal(kit_handle(k, &(struct cluster_event){ .type = CLUSTER_CLOCK,
                                               .by = -(int64_t) USEC_HOUR }),
                0);
        expect_job(k, "web", JOB_UPDATING, 1);
        tick(k, 3 * USEC_SEC);
        expect_job(k, "web", JOB_RUNNING, 1);
        kit_free(k);
}

/* The next one leaves when the one before has proved itself elsewhere: time alone says so. */
static void test_drain_of_tasks_that_prove_themselves(void **state)
{
        struct kit *k = kit_with_job(
                "web", "{\"command\": [\"web\"], \"count\": 2, \"update\": {\"healthy\": \"2s\"}}");

        (void) state;
        kit_settle(k);
        tick(k, 3 * USEC_SEC);
        kit_connect(k, 1);
        assert_int_equal(drain(k, "a", 0), 0);
        kit_settle(k);
        assert_string_equal(kit_status(k, "web.0").node, "b");
        assert_string_equal(kit_status(k, "web.1").node, "a");
        assert_true(cluster_next_deadline(k->c) <= k->now + 2 * USEC_SEC);
        tick(k, 2 * USEC_SEC);
        kit_settle(k);
        assert_string_equal(kit_status(k, "web.1").node, "b");
        kit_free(k);
}

/* The row of a node is loaded before those of its tasks. */
static void test_restart_amid_a_drain(void **state)
{
        struct kit *k = kit_with_job("web", WEB_2);

        (void) state;
        kit_settle(k);
        assert_int_equal(drain(k, "a", 0), 0);
        kit_reload(k);
        assert_false(node_find(k->c, "a")->drained);
        kit_connect(k, 0);
        kit_connect(k, 1);
        kit_settle(k);
        assert_true(node_find(k->c, "a")->drained);
        assert_string_equal(kit_status(k, "web.1").node, "b");
        kit_free(k);
}

/* Whoever is to be on one node with another is not: no room but on a free node. */
#define ALONE "{\"command\": [\"web\"], \"count\": 2, \"place\": {\"exclusive\": \"one\"}}"

/* Until its deadline a drain waits for room; then all go, and wait without a node. */
static void test_deadline_of_a_drain(void **state)
{
        struct kit *k = kit_with_nodes("{}", "{}", NULL);
        usec_t begun;

        (void) state;
        assert_int_equal(kit_apply(k, "web", ALONE), 0);
        kit_settle(k);
        expect_nodes(k, "web", "a b");
        begun = k->now;
        assert_int_equal(drain(k, "a", 10 * USEC_SEC), 0);
        kit_expect_event(k, EVENT_NODE_DRAINING, "1 task to leave within 10s");
        kit_pass(k, 9 * USEC_SEC);
        expect_nodes(k, "web", "a b");
        assert_int_equal(runs_of(k, "web.0"), 1);
        assert_int_equal(cluster_next_deadline(k->c), begun + 10 * USEC_SEC);
        tick(k, USEC_SEC);
        kit_expect_event(k, EVENT_TASK_MOVED, "the time for its drain is over");
        kit_settle(k);
        expect_nodes(k, "web", "- b");
        assert_int_equal(kit_processes(k, "web.0"), 0);
        assert_true(node_find(k->c, "a")->drained);
        kit_connect(k, 2);
        kit_settle(k);
        expect_nodes(k, "web", "c b");
        kit_free(k);
}

/* It is kept over a restart of the server, and over the clock that is set. */
static void test_deadline_of_a_drain_is_kept(void **state)
{
        struct kit *k = kit_with_nodes("{}", "{}", NULL);

        (void) state;
        assert_int_equal(kit_apply(k, "web", ALONE), 0);
        kit_settle(k);
        assert_int_equal(drain(k, "a", 10 * USEC_SEC), 0);
        kit_reload(k);
        kit_connect(k, 0);
        kit_connect(k, 1);
        k->now += USEC_HOUR;
        assert_int_equal(kit_handle(k, &(struct cluster_event){ .type = CLUSTER_CLOCK,
                                               .by = (int64_t) USEC_HOUR }),
                0);
        kit_pass(k, 9 * USEC_SEC);
        expect_nodes(k, "web", "a b");
        kit_pass(k, USEC_SEC);
        expect_nodes(k, "web", "- b");
        kit_free(k);
}

/* Called off: who has left has left, who was told to leave does so, the others stay, and the
 * deadline is over, too. */
static void test_drain_is_called_off(void **state)
{
        struct kit *k = kit_with_job("web", WEB);
        struct cluster_event off = { .type = CLUSTER_DRAIN, .target = "a" };

        (void) state;
        kit_connect(k, 1);
        kit_settle(k);
        assert_int_equal(drain(k, "a", 10 * USEC_SEC), 0);
        while (kit_deliver_to_agent(&k->agents[0])) /* one is told, by update.parallel */
                continue;
        assert_int_equal(kit_handle(k, &off), 0);
        kit_expect_event(k, EVENT_NODE_CORDONED, "is open for tasks again");
        kit_settle(k);
        expect_job(k, "web", JOB_RUNNING, 3);
        assert_int_equal(kit_status(k, "web.0").runs, 2);
        assert_string_equal(node_of(k, "web.1"), "a");
        assert_string_equal(node_of(k, "web.2"), "a");
        assert_int_equal(runs_of(k, "web.1") + runs_of(k, "web.2"), 2);
        kit_pass(k, USEC_MINUTE);
        assert_int_equal(runs_of(k, "web.1") + runs_of(k, "web.2"), 2);
        assert_false(node_find(k->c, "a")->drained);
        assert_int_equal(kit_handle(k, &off), 0); /* nothing to do */
        assert_int_equal(k->fx.events_len + k->fx.writes_len, 0);
        kit_free(k);
}

/* ---- What a job says of lost nodes */

/* One task on "a", whose agent is not heard from any more; there is room on "b". */
static struct kit *kit_with_lost(const char *lost)
{
        AUTO(mem_freep)
        char *json = mem_printf("{\"command\": [\"web\"], \"lost\": %s}", lost);
        struct kit *k = kit_with_job("web", json);

        kit_connect(k, 1);
        kit_settle(k);
        assert_string_equal(node_of(k, "web.0"), "a");
        kit_disconnect(k, 0);
        return k;
}

static void test_lost_waits(void **state)
{
        struct kit *k = kit_with_lost("{\"then\": \"wait\", \"after\": \"5s\"}");

        (void) state;
        kit_pass(k, USEC_HOUR);
        expect_task(k, "web.0", TASK_LOST, 1);
        assert_string_equal(node_of(k, "web.0"), "a");
        kit_connect(k, 0);
        kit_settle(k);
        expect_task(k, "web.0", TASK_RUNNING, 1);
        assert_int_equal(runs_of(k, "web.0"), 1);
        assert_int_equal(kit_processes(k, "web.0"), 1);
        kit_free(k);
}

static void test_lost_ends(void **state)
{
        struct kit *k = kit_with_lost("{\"then\": \"end\", \"after\": \"30s\"}");

        (void) state;
        kit_pass(k, 29 * USEC_SEC);
        expect_task(k, "web.0", TASK_LOST, 1);
        kit_pass(k, 2 * USEC_SEC);
        expect_task(k, "web.0", TASK_ENDED, 1);
        assert_int_equal(kit_status(k, "web.0").result, RESULT_FAILED);
        assert_string_equal(kit_status(k, "web.0").reason,
                "node a has not been heard from, and lost.then is end");
        expect_job(k, "web", JOB_FAILED, 0);
        /* what runs there is ended when it can be told */
        kit_connect(k, 0);
        kit_settle(k);
        expect_task(k, "web.0", TASK_ENDED, 1);
        assert_int_equal(kit_processes(k, "web.0"), 0);
        assert_int_equal(kit_command(k, CLUSTER_RESTART, "web"), 0);
        kit_settle(k);
        expect_job(k, "web", JOB_RUNNING, 1);
        kit_free(k);
}

static void test_lost_for_a_while(void **state)
{
        struct kit *k = kit_with_lost("{\"after\": \"30s\"}");

        (void) state;
        kit_pass(k, 29 * USEC_SEC);
        expect_task(k, "web.0", TASK_LOST, 1);
        kit_connect(k, 0); /* in time: and from now on it counts anew */
        kit_settle(k);
        expect_task(k, "web.0", TASK_RUNNING, 1);
        kit_disconnect(k, 0);
        kit_pass(k, 29 * USEC_SEC);
        assert_string_equal(node_of(k, "web.0"), "a");
        kit_pass(k, USEC_SEC);
        assert_string_equal(node_of(k, "web.0"), "b");
        expect_task(k, "web.0", TASK_RUNNING, 1);
        kit_free(k);
}

/* The time counts from when the server begins, if it does so later. */
static void test_lost_for_a_while_over_a_restart(void **state)
{
        struct kit *k = kit_with_lost("{\"after\": \"30s\"}");

        (void) state;
        kit_pass(k, 10 * USEC_SEC);
        kit_reload(k);
        kit_connect(k, 1);
        kit_pass(k, 19 * USEC_SEC);
        assert_string_equal(node_of(k, "web.0"), "a");
        kit_pass(k, 11 * USEC_SEC);
        assert_string_equal(node_of(k, "web.0"), "b");
        kit_free(k);
}

/* The canary has to be begun anew, too, and nobody waits for that. */
static void test_restart_beside_a_canary(void **state)
{
        struct kit *k = kit_with_job("web", "{\"command\": [\"web\"], \"count\": 2}");

        (void) state;
        assert_int_equal(kit_apply(k, "web",
                                 "{\"command\": [\"web\", \"new\"], \"count\": 2, "
                                 "\"update\": {\"canary\": 1}}"),
                0);
        kit_settle(k);
        expect_task(k, "web.2", TASK_RUNNING, 2);
        assert_int_equal(kit_command(k, CLUSTER_RESTART, "web"), 0);
        kit_settle(k);
        assert_int_equal(kit_command(k, CLUSTER_PROMOTE, "web"), 0);
        kit_settle(k);
        expect_task(k, "web.0", TASK_RUNNING, 2);
        expect_task(k, "web.1", TASK_RUNNING, 2);
        expect_job(k, "web", JOB_RUNNING, 2);
        kit_free(k);
}

#define SINGLE(lease) "{\"command\": [\"web\"], \"singleton\": true, \"lease\": \"" lease "\"}"

static struct kit *kit_with_lost_single(const char *json)
{
        struct kit *k = kit_with_job("web", json);

        kit_connect(k, 1);
        kit_settle(k);
        kit_disconnect(k, 0);
        return k;
}

/* Its agent, which cannot be told, goes by the lease of the version that it has. */
static void test_a_longer_lease_of_an_older_version_counts(void **state)
{
        struct kit *k = kit_with_lost_single(SINGLE("10s"));

        (void) state;
        assert_int_equal(kit_apply(k, "web", SINGLE("1s")), 0);
        tick(k, 10 * USEC_SEC);
        assert_string_equal(node_of(k, "web.0"), "a");
        tick(k, CLUSTER_LEASE_MARGIN);
        assert_string_equal(node_of(k, "web.0"), "b");
        kit_free(k);
}

/* Its clock may have been set while it was away. */
static void test_a_server_that_begins_counts_leases_from_then(void **state)
{
        struct kit *k = kit_with_lost_single(SINGLE("10s"));

        (void) state;
        tick(k, 3 * USEC_SEC);
        assert_int_equal(kit_count_events(k, EVENT_NODE_LOST), 1);
        k->now += USEC_HOUR;
        kit_reload(k);
        kit_connect(k, 1);
        tick(k, 10 * USEC_SEC);
        assert_string_equal(node_of(k, "web.0"), "a");
        tick(k, CLUSTER_LEASE_MARGIN);
        assert_string_equal(node_of(k, "web.0"), "b");
        kit_free(k);
}

static void test_a_node_with_a_lease_is_not_forgotten(void **state)
{
        struct kit *k = kit_with_lost_single(SINGLE("10s"));

        (void) state;
        tick(k, 3 * USEC_SEC);
        assert_int_equal(kit_command(k, CLUSTER_FORGET, "a"), -1);
        expect_error(k, ERR_CONFLICT,
                "node a may still run web.0, a singleton, until its lease ends in 8s: try again "
                "then");
        k->now += 8 * USEC_SEC;
        assert_int_equal(kit_command(k, CLUSTER_FORGET, "a"), 0);
        assert_string_equal(node_of(k, "web.0"), "b");
        kit_free(k);
}

/* ---- Strangers */

#define ONE_CORE "{\"cpu\": 1000, \"attributes\": {\"ports\": \"30000-30001\"}}"

/* What was moved away from a lost node runs on there until its agent has ended it. */
static void test_room_of_strangers(void **state)
{
        struct kit *k = kit_with_nodes(ONE_CORE, NULL);
        struct kit_agent *a = &k->agents[0];

        (void) state;
        assert_int_equal(kit_apply(k, "web",
                                 "{\"command\": [\"web\"], \"resources\": {\"cpu\": 1},"
                                 " \"place\": {\"exclusive\": \"gpu\"}}"),
                0);
        kit_settle(k);
        kit_disconnect(k, 0);
        kit_describe(k, 1, ONE_CORE);
        kit_connect(k, 1);
        kit_pass(k, CLUSTER_LOST_AFTER + USEC_SEC);
        expect_nodes(k, "web", "b");
        assert_int_equal(kit_processes(k, "web.0"), 2);
        kit_apply(k, "db", "{\"command\": [\"db\"], \"resources\": {\"cpu\": 1}}");
        kit_apply(k, "gpu", "{\"command\": [\"x\"], \"place\": {\"exclusive\": \"gpu\"}}");
        kit_connect(k, 0);
        while (kit_deliver_to_agent(a)) /* it is told, and sends a signal */
                continue;
        expect_nodes(k, "db", "-");
        expect_nodes(k, "gpu", "-");
        while (kit_agent_work(a))
                continue;
        assert_int_equal(kit_processes(k, "web.0"), 1);
        assert_true(kit_deliver_to_server(a));
        expect_nodes(k, "db", "a");
        expect_nodes(k, "gpu", "a");
        kit_settle(k);
        expect_capacity_kept(k);
        expect_same_after_reload(k);
        kit_free(k);
}

/* What has failed with its node, and was restarted before, still runs there by the older wish when
 * that is back: it takes what it takes until it has ended. */
static void test_room_of_what_is_called_ended(void **state)
{
        struct kit *k = kit_with_nodes(ONE_CORE, NULL);
        struct kit_agent *a = &k->agents[0];

        (void) state;
        kit_apply(k, "web",
                "{\"command\": [\"web\"], \"resources\": {\"cpu\": 1},"
                " \"lost\": {\"then\": \"end\"}}");
        kit_settle(k);
        kit_disconnect(k, 0);
        assert_int_equal(kit_command(k, CLUSTER_RESTART, "web.0"), 0);
        kit_pass(k, CLUSTER_LOST_AFTER + USEC_SEC);
        expect_task(k, "web.0", TASK_ENDED, 1);
        kit_apply(k, "db", "{\"command\": [\"db\"], \"resources\": {\"cpu\": 1}}");
        kit_connect(k, 0);
        while (kit_deliver_to_agent(a))
                continue;
        expect_nodes(k, "db", "-");
        kit_settle(k);
        expect_nodes(k, "db", "a");
        expect_task(k, "db.0", TASK_RUNNING, 1);
        expect_task(k, "web.0", TASK_ENDED, 1);
        kit_free(k);
}

/* The link breaks before it has said so: the next connect tells what is still there. */
static void test_stranger_ends_while_away(void **state)
{
        struct kit *k = kit_with_nodes(ONE_CORE, ONE_CORE, NULL);

        (void) state;
        kit_apply(k, "web", "{\"command\": [\"web\"], \"resources\": {\"cpu\": 1}}");
        kit_settle(k);
        expect_nodes(k, "web", "a");
        kit_disconnect(k, 0);
        kit_pass(k, CLUSTER_LOST_AFTER + USEC_SEC);
        expect_nodes(k, "web", "b");
        kit_connect(k, 0);
        kit_apply(k, "db", "{\"command\": [\"db\"], \"resources\": {\"cpu\": 1}}");
        expect_nodes(k, "db", "-");
        kit_disconnect(k, 0);
        kit_wipe(k, 0);
        kit_connect(k, 0);
        expect_nodes(k, "db", "a");
        /* and its own task may come back while it is there */
        kit_disconnect(k, 1);
        kit_command(k, CLUSTER_REMOVE, "db");
        kit_settle(k);
        kit_pass(k, CLUSTER_LOST_AFTER + USEC_SEC);
        expect_nodes(k, "web", "a");
        expect_capacity_kept(k);
        kit_free(k);
}

static void tell(struct kit *k, enum cluster_event_type type, bool tells_ends, int task_state)
{
        struct node_status node = { .name = (char[]){ "a" },
                .cpu = RECORD_NULL,
                .memory = RECORD_NULL,
                .disk = RECORD_NULL };
        struct cluster_report r = { .desire = { .run = true, .version = 1, .generation = 1 },
                .status = { .id = (char[]){ "web.7" },
                        .version = 1,
                        .state = task_state,
                        .result = task_state == TASK_ENDED ? RESULT_STOPPED : RESULT_NONE,
                        .ports = (char[]){ "http=30001" } } };

        attributes_set(&node.attributes, "ports", "30000-30001", &k->err);
        assert_int_equal(kit_handle(k, &(struct cluster_event){ .type = type,
                                               .node = &node,
                                               .reports = &r,
                                               .tells_ends = tells_ends,
                                               .reports_len = 1 }),
                0);
        attributes_done(&node.attributes);
}

/* The ports of a stranger are not given away; an agent that would not say that it has ended is not
 * waited for. */
static void test_ports_of_strangers(void **state)
{
        (void) state;
        for (int knows = 0; knows < 2; knows++) {
                struct kit *k = kit_with_nodes(ONE_CORE, NULL);

                kit_apply(k, "web", "{\"command\": [\"web\"], \"count\": 0}");
                k->agents[0].connected = true;
                tell(k, CLUSTER_NODE_UP, knows, TASK_RUNNING);
                kit_apply(k, "two",
                        "{\"command\": [\"x\"], \"resources\": "
                        "{\"ports\": [\"http\", \"admin\"]}}");
                expect_nodes(k, "two", knows ? "-" : "a");
                tell(k, CLUSTER_REPORT, false, TASK_ENDED);
                expect_nodes(k, "two", "a");
                expect_capacity_kept(k);
                kit_free(k);
        }
}

#define BIG_BATCH                                                                                  \
        "{\"kind\": \"batch\", \"command\": [\"x\"], \"resources\": {\"cpu\": 1},"                 \
        " \"place\": {\"exclusive\": \"gpu\"}}"

/* The job runs on "a", and on "b" since that was lost; "a" is connected again and not told yet. */
static struct kit *kit_with_stranger(void)
{
        struct kit *k = kit_with_nodes(ONE_CORE, NULL);

        assert_int_equal(kit_apply(k, "big", BIG_BATCH), 0);
        kit_settle(k);
        kit_disconnect(k, 0);
        kit_describe(k, 1, ONE_CORE);
        kit_connect(k, 1);
        kit_pass(k, CLUSTER_LOST_AFTER + USEC_SEC);
        assert_string_equal(node_of(k, "big.0"), "b");
        return k;
}

/* The agent says what it holds: nobody else could. */
static void test_stranger_of_a_job_that_is_gone(void **state)
{
        struct kit *k = kit_with_stranger();

        (void) state;
        kit_command(k, CLUSTER_REMOVE, "big");
        kit_settle(k);
        kit_disconnect(k, 1);
        kit_connect(k, 0);
        kit_apply(k, "gpu", "{\"command\": [\"x\"], \"place\": {\"exclusive\": \"gpu\"}}");
        expect_nodes(k, "gpu", "-");
        expect_reason(k, "gpu", "a task with the tag gpu already");
        kit_settle(k);
        expect_nodes(k, "gpu", "a");
        expect_capacity_kept(k);
        kit_free(k);
}

/* It ends just before its agent hears that it is to be forgotten: that is told all the same. */
static void test_stranger_that_has_just_ended(void **state)
{
        struct kit *k = kit_with_stranger();
        struct kit_agent *a = &k->agents[0];

        (void) state;
        kit_connect(k, 0);
        kit_apply(k, "db", "{\"command\": [\"db\"], \"resources\": {\"cpu\": 1}}");
        expect_nodes(k, "db", "-");
        kit_end_process(a, &a->tasks[0], 0, 0);
        while (kit_deliver_to_agent(a))
                continue;
        assert_int_equal(a->tasks_len, 0);
        assert_true(kit_deliver_to_server(a));
        expect_nodes(k, "db", "a");
        kit_free(k);
}

static void test_drain_waits_for_strangers(void **state)
{
        struct kit *k = kit_with_stranger();

        (void) state;
        kit_connect(k, 0);
        assert_int_equal(kit_handle(k,
                                 &(struct cluster_event){
                                         .type = CLUSTER_DRAIN, .target = "a", .on = true }),
                0);
        kit_expect_event(k, EVENT_NODE_DRAINING, "is drained by a person");
        assert_int_equal(kit_count_events(k, EVENT_NODE_DRAINED), 0);
        assert_int_equal(leave_tasks_left(node_find(k->c, "a")), 1);
        kit_settle(k);
        assert_int_equal(leave_tasks_left(node_find(k->c, "a")), 0);
        assert_true(node_find(k->c, "a")->drained);
        kit_free(k);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_update_while_it_leaves),
                cmocka_unit_test(test_deadline_while_the_node_is_away),
                cmocka_unit_test(test_clock_set_back_and_forth),
                cmocka_unit_test(test_rollout_over_a_clock_set_back),
                cmocka_unit_test(test_a_server_that_begins_waits_for_its_agents),
                cmocka_unit_test(test_stopped_while_its_node_is_lost),
                cmocka_unit_test(test_stopped_while_it_leaves),
                cmocka_unit_test(test_clock_set_back_while_it_proves_itself),
                cmocka_unit_test(test_restart_beside_a_canary),
                cmocka_unit_test(test_deadline_of_a_drain),
                cmocka_unit_test(test_deadline_of_a_drain_is_kept),
                cmocka_unit_test(test_drain_is_called_off),
                cmocka_unit_test(test_lost_waits),
                cmocka_unit_test(test_lost_ends),
                cmocka_unit_test(test_room_of_what_is_called_ended),
                cmocka_unit_test(test_lost_for_a_while),
                cmocka_unit_test(test_lost_for_a_while_over_a_restart),
                cmocka_unit_test(test_a_longer_lease_of_an_older_version_counts),
                cmocka_unit_test(test_a_server_that_begins_counts_leases_from_then),
                cmocka_unit_test(test_a_node_with_a_lease_is_not_forgotten),
                cmocka_unit_test(test_room_of_strangers),
                cmocka_unit_test(test_stranger_ends_while_away),
                cmocka_unit_test(test_ports_of_strangers),
                cmocka_unit_test(test_stranger_of_a_job_that_is_gone),
                cmocka_unit_test(test_stranger_that_has_just_ended),
                cmocka_unit_test(test_drain_waits_for_strangers),
                cmocka_unit_test(test_drain_of_tasks_that_prove_themselves),
                cmocka_unit_test(test_restart_amid_a_drain),
        };

        return cmocka_run_group_tests_name("leave", tests, NULL, NULL);
}
