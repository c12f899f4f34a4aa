/* SPDX-License-Identifier: BSD-3-Clause */

/* Placement: which nodes are allowed, which of them are taken, and that none ever has more on it
 * than it can take. */

#include "core/test-cluster-kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/cluster-internal.h"
#include "core/place.h"

#define NODE_WEST                                                                                  \
        "{\"zone\": \"west\", \"cpu\": 4000, \"memory\": 4294967296, \"attributes\": {"            \
        "\"arch\": \"x86_64\", \"kernel\": \"6.1.9\", \"rack\": \"r1\", \"memory\": \"4GiB\","     \
        " \"gpu\": \"a100\"}}"
#define NODE_EAST                                                                                  \
        "{\"zone\": \"east\", \"cpu\": 4000, \"memory\": 8589934592, \"attributes\": {"            \
        "\"arch\": \"arm64\", \"kernel\": \"6.10.2\", \"rack\": \"r2\", \"memory\": \"8GiB\"}}"
#define NODE_BARE "{\"cpu\": 4000, \"memory\": 4294967296}"

/* A node with so much of each, and nothing else to tell. */
#define SMALL "{\"cpu\": 2000, \"memory\": 1073741824, \"disk\": 1073741824}"
#define LARGE "{\"cpu\": 8000, \"memory\": 8589934592, \"disk\": 8589934592}"

static void apply(struct kit *k, const char *name, const char *json)
{
        if (kit_apply(k, name, json) < 0)
                fail_msg("%s: %s", name, k->err.message);
        kit_settle(k);
        expect_capacity_kept(k);
}

/* ---- Which nodes are allowed */

static void test_constraints(void **state)
{
        /* one task on a of the west, b of the east, c of which nothing is known */
        static const struct {
                const char *place, *nodes; /* that two tasks of it get */
        } cases[] = {
                { "\"where\": [\"arch = x86_64\"]", "a a" },
                { "\"where\": [\"arch != x86_64\"]", "b c" },
                { "\"where\": [\"rack in r2, r3\"]", "b b" },
                { "\"where\": [\"memory < 5GiB\"]", "a a" },
                { "\"where\": [\"memory >= 5GiB\"]", "b b" },
                { "\"where\": [\"kernel >= version 6.9\"]", "b b" },
                { "\"where\": [\"kernel < version 6.9\"]", "a a" },
                { "\"where\": [\"gpu exists\"]", "a a" },
                { "\"where\": [\"arch ~ ^arm\"]", "b b" },
                { "\"where\": [\"name ~ ^[bc]$\"]", "b c" },
                { "\"where\": [\"name != b\", \"name != c\"]", "a a" },
                { "\"where\": [\"rack = r1\", \"arch = arm64\"]", "- -" },
                { "\"zone\": [\"east\"]", "b b" },
                { "\"zone\": [\"west\", \"east\"]", "a b" },
                { "\"zone\": [\"north\"]", "- -" },
                { "\"where\": [\"zone = west\"]", "a a" },
                { "\"node\": \"c\"", "c c" },
                { "\"node\": \"nobody\"", "- -" },
                { "\"node\": \"c\", \"zone\": [\"west\"]", "- -" },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct kit *k = kit_with_nodes(NODE_WEST, NODE_EAST, NODE_BARE, NULL);
                AUTO(mem_freep)
                char *json = mem_printf(
                        "{\"command\": [\"x\"], \"count\": 2, \"place\": {%s}}", cases[i].place);

                print_message("%s\n", cases[i].place);
                apply(k, "web", json);
                expect_nodes(k, "web", cases[i].nodes);
                expect_same_after_reload(k);
                kit_free(k);
        }
}

/* What a node says of itself may change with its next connect. */
static void test_attributes_change(void **state)
{
        struct kit *k = kit_with_nodes(NODE_BARE, NULL);

        (void) state;
        apply(k, "web", "{\"command\": [\"x\"], \"place\": {\"where\": [\"gpu exists\"]}}");
        expect_nodes(k, "web", "-");
        assert_non_null(strstr(kit_status(k, "web.0").reason, "gpu exists"));
        kit_describe(k, 0, NODE_WEST);
        kit_connect(k, 0);
        kit_settle(k);
        expect_nodes(k, "web", "a");
        kit_free(k);
}

/* ---- Which of them are taken */

static void test_preferences(void **state)
{
        static const struct {
                const char *prefer, *nodes;
        } cases[] = {
                { "{\"where\": \"arch = arm64\", \"weight\": 50}", "b b" },
                { "{\"where\": \"arch = x86_64\", \"weight\": -50}", "b c" },
                { "{\"where\": \"arch = arm64\", \"weight\": 10}, "
                  "{\"where\": \"gpu exists\", \"weight\": 11}",
                        "a a" },
                { "{\"where\": \"arch = arm64\", \"weight\": 10}, "
                  "{\"where\": \"rack = r2\", \"weight\": 2}, "
                  "{\"where\": \"gpu exists\", \"weight\": 11}",
                        "b b" },
                { "{\"where\": \"name = c\", \"weight\": 1}", "c c" },
                { "{\"where\": \"nothing exists\", \"weight\": 1}", "a b" },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct kit *k = kit_with_nodes(NODE_WEST, NODE_EAST, NODE_BARE, NULL);
                AUTO(mem_freep)
                char *json = mem_printf(
                        "{\"command\": [\"x\"], \"count\": 2, \"place\": {\"prefer\": [%s]}}",
                        cases[i].prefer);

                print_message("%s\n", cases[i].prefer);
                apply(k, "web", json);
                expect_nodes(k, "web", cases[i].nodes);
                kit_free(k);
        }
}

/* A preferred node that is full is no obstacle. */
static void test_preferred_is_full(void **state)
{
        struct kit *k = kit_with_nodes(SMALL, LARGE, NULL);

        (void) state;
        apply(k, "web",
                "{\"command\": [\"x\"], \"count\": 3, \"resources\": {\"cpu\": 1},"
                " \"place\": {\"prefer\": [{\"where\": \"name = a\", \"weight\": 9}]}}");
        expect_nodes(k, "web", "a a b");
        kit_free(k);
}

static size_t count_on(struct kit *k, const char *job, const char *nodes)
{
        struct job_status s = kit_job(k, job);
        size_t n = 0;

        for (int64_t i = 0; i < s.count; i++) {
                AUTO(mem_freep) char *id = mem_printf("%s.%d", job, (int) i);
                const char *node = node_of(k, id);

                n += node[0] != '\0' && strchr(nodes, node[0]) != NULL;
        }
        return n;
}

/* Racks have 1, 2 and 3 nodes; each gets a third, and those without a rack count as one. */
static void test_spread(void **state)
{
        struct kit *k = kit_with_nodes("{\"attributes\": {\"rack\": \"1\"}}",
                "{\"attributes\": {\"rack\": \"2\"}}", "{\"attributes\": {\"rack\": \"2\"}}",
                "{\"attributes\": {\"rack\": \"3\"}}", "{\"attributes\": {\"rack\": \"3\"}}",
                "{\"attributes\": {\"rack\": \"3\"}}", "{}", "{}", NULL);

        (void) state;
        apply(k, "web", "{\"command\": [\"x\"], \"count\": 12, \"place\": {\"spread\": \"rack\"}}");
        assert_int_equal(count_on(k, "web", "a"), 3);
        assert_int_equal(count_on(k, "web", "bc"), 3);
        assert_int_equal(count_on(k, "web", "def"), 3);
        assert_int_equal(count_on(k, "web", "gh"), 3);
        assert_int_equal(count_on(k, "web", "d"), 1);
        kit_scale(k, "web", 16);
        kit_settle(k);
        assert_int_equal(count_on(k, "web", "a"), 4);
        assert_int_equal(count_on(k, "web", "def"), 4);
        kit_free(k);
}

/* Within each value the base rule holds; a value that is full leaves the rest to the others. */
static void test_spread_and_pack(void **state)
{
        struct kit *k = kit_with_nodes("{\"cpu\": 2000, \"zone\": \"x\"}",
                "{\"cpu\": 2000, \"zone\": \"x\"}", "{\"cpu\": 2000, \"zone\": \"y\"}", NULL);

        (void) state;
        apply(k, "web",
                "{\"command\": [\"x\"], \"count\": 6, \"resources\": {\"cpu\": 1},"
                " \"place\": {\"spread\": \"zone\", \"by\": \"pack\"}}");
        assert_int_equal(count_on(k, "web", "a"), 2);
        assert_int_equal(count_on(k, "web", "b"), 2);
        assert_int_equal(count_on(k, "web", "c"), 2);
        kit_scale(k, "web", 2);
        kit_settle(k);
        kit_scale(k, "web", 4);
        kit_settle(k);
        assert_int_equal(count_on(k, "web", "c"), 2);
        assert_int_equal(count_on(k, "web", "a"), 2);
        kit_free(k);
}

/* Each node is a value of its own. */
static void test_spread_over_names(void **state)
{
        struct kit *k = kit_with_nodes(SMALL, SMALL, SMALL, NULL);

        (void) state;
        apply(k, "web",
                "{\"command\": [\"x\"], \"count\": 3,"
                " \"place\": {\"spread\": \"name\", \"by\": \"pack\"}}");
        expect_nodes(k, "web", "a b c");
        kit_free(k);
}

static void test_pack(void **state)
{
        struct kit *k = kit_with_nodes(SMALL, LARGE, NULL);

        (void) state;
        apply(k, "one",
                "{\"command\": [\"x\"], \"place\": {\"node\": \"b\"}, "
                "\"resources\": {\"memory\": \"6GiB\"}}");
        /* b is used most, then a */
        apply(k, "web",
                "{\"command\": [\"x\"], \"count\": 6, \"place\": {\"by\": \"pack\"}, "
                "\"resources\": {\"memory\": \"512MiB\"}}");
        assert_int_equal(count_on(k, "web", "b"), 4);
        assert_int_equal(count_on(k, "web", "a"), 2);
        kit_free(k);
}

/* The least used node is that of which the least is used, not that with the fewest tasks. */
static void test_least_used(void **state)
{
        struct kit *k = kit_with_nodes(SMALL, LARGE, NULL);

        (void) state;
        apply(k, "some",
                "{\"command\": [\"x\"], \"count\": 1, \"place\": {\"node\": \"b\"},"
                "\"resources\": {\"cpu\": 1}}");
        apply(k, "web", "{\"command\": [\"x\"], \"resources\": {\"cpu\": 1}}");
        expect_nodes(k, "web", "b"); /* a quarter of it, and not a half of a */
        kit_free(k);
}

/* Tasks of one job stand apart before anything else is asked. */
static void test_tasks_of_a_job_stand_apart(void **state)
{
        struct kit *k = kit_with_nodes(SMALL, LARGE, LARGE, NULL);

        (void) state;
        apply(k, "web", "{\"command\": [\"x\"], \"count\": 3, \"resources\": {\"cpu\": 1}}");
        assert_int_equal(count_on(k, "web", "a"), 1);
        assert_int_equal(count_on(k, "web", "b"), 1);
        assert_int_equal(count_on(k, "web", "c"), 1);
        kit_free(k);
}

/* ---- Room */

static void test_capacity(void **state)
{
        static const struct {
                const char *resources;
                size_t fit; /* tasks on one small node */
        } cases[] = {
                { "\"cpu\": 0.5", 4 },
                { "\"memory\": \"512MiB\"", 2 },
                { "\"memory\": \"1GiB\"", 1 },
                { "\"memory\": \"1025MiB\"", 0 },
                { "\"disk\": \"400MiB\"", 2 },
                { "\"cpu\": 0.1, \"memory\": \"300MiB\"", 3 },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct kit *k = kit_with_nodes(SMALL, NULL);
                AUTO(mem_freep)
                char *json = mem_printf("{\"command\": [\"x\"], \"count\": 9, \"resources\": {%s}}",
                        cases[i].resources);

                apply(k, "web", json);
                assert_int_equal(count_on(k, "web", "a"), cases[i].fit);
                expect_same_after_reload(k);
                expect_capacity_kept(k);
                if (cases[i].fit > 0) { /* what one gives back another gets */
                        kit_command(k, CLUSTER_STOP, "web.0");
                        kit_settle(k);
                        assert_int_equal(count_on(k, "web", "a"), cases[i].fit + 1);
                        expect_capacity_kept(k);
                }
                kit_free(k);
        }
}

/* What the agent does not know has no bound. */
static void test_unknown_capacity(void **state)
{
        struct kit *k = kit_with_nodes("{}", NULL);

        (void) state;
        apply(k, "web",
                "{\"command\": [\"x\"], \"count\": 5, "
                "\"resources\": {\"cpu\": 100, \"memory\": \"1TiB\", \"disk\": \"1TiB\"}}");
        assert_int_equal(count_on(k, "web", "a"), 5);
        kit_free(k);
}

static void test_exclusive(void **state)
{
        struct kit *k = kit_with_nodes(SMALL, SMALL, NULL);

        (void) state;
        apply(k, "web",
                "{\"command\": [\"x\"], \"count\": 3, \"place\": {\"exclusive\": \"gpu\"}}");
        expect_nodes(k, "web", "a b -");
        apply(k, "db", "{\"command\": [\"x\"], \"place\": {\"exclusive\": \"gpu\"}}");
        apply(k, "other", "{\"command\": [\"x\"], \"place\": {\"exclusive\": \"tape\"}}");
        expect_nodes(k, "db", "-");
        expect_nodes(k, "other", "a");
        assert_non_null(strstr(kit_status(k, "db.0").reason, "the tag gpu"));
        expect_same_after_reload(k);
        kit_scale(k, "web", 1);
        kit_settle(k);
        expect_nodes(k, "db", "b");
        expect_capacity_kept(k);
        kit_free(k);
}

/* ---- Ports */

#define THREE_PORTS "{\"attributes\": {\"ports\": \"30000-30002\"}}"

static void test_ports(void **state)
{
        struct kit *k = kit_with_nodes(THREE_PORTS, THREE_PORTS, NULL);
        const struct cluster_assign *a;
        const struct job *job;

        (void) state;
        kit_apply(k, "web",
                "{\"command\": [\"x\"], \"count\": 4, \"resources\": {\"ports\": [\"http\"]}}");
        a = &k->fx.assigns[0];
        assert_int_equal(a->ports_len, 1);
        assert_true(a->ports[0] >= 30000 && a->ports[0] <= 30002);
        kit_settle(k);
        expect_capacity_kept(k);
        apply(k, "two",
                "{\"command\": [\"x\"], \"count\": 2, "
                "\"resources\": {\"ports\": [\"http\", \"admin\"]}}");
        expect_nodes(k, "two", "- -"); /* one is left on each */
        assert_non_null(strstr(kit_status(k, "two.0").reason, "no ports left"));
        expect_same_after_reload(k);
        kit_scale(k, "web", 2);
        kit_settle(k);
        expect_nodes(k, "two", "a b");
        expect_capacity_kept(k);
        job = job_find(k->c, "two");
        assert_int_equal(job_task(job, 0)->ports_len, 2);
        assert_int_not_equal(job_task(job, 0)->ports[0], job_task(job, 0)->ports[1]);
        kit_free(k);
}

static uint16_t port_of(struct kit *k, const char *job, uint32_t index)
{
        const struct task *task = job_task(job_find(k->c, job), index);

        assert_int_equal(task->ports_len, 1);
        return task->ports[0];
}

/* They are the task's for as long as it has its node. */
static void test_ports_are_kept(void **state)
{
        struct kit *k = kit_with_nodes(THREE_PORTS, NULL);
        uint16_t first, second;

        (void) state;
        apply(k, "web",
                "{\"command\": [\"x\"], \"count\": 2, \"resources\": {\"ports\": [\"http\"]}}");
        first = port_of(k, "web", 0);
        second = port_of(k, "web", 1);
        expect_same_after_reload(k);
        assert_int_equal(port_of(k, "web", 0), first);
        assert_int_equal(port_of(k, "web", 1), second);
        apply(k, "web",
                "{\"command\": [\"new\"], \"count\": 2, \"resources\": {\"ports\": [\"http\"]}}");
        assert_int_equal(port_of(k, "web", 0), first);
        assert_int_equal(port_of(k, "web", 1), second);
        /* another range: those that are out stay as they are, others come from the new one */
        kit_describe(k, 0, "{\"attributes\": {\"ports\": \"30001-30004\"}}");
        kit_connect(k, 0);
        kit_settle(k);
        kit_scale(k, "web", 5);
        kit_settle(k);
        expect_capacity_kept(k);
        assert_int_equal(port_of(k, "web", 0), first);
        assert_int_equal(port_of(k, "web", 1), second);
        for (uint32_t i = 2; i < 5; i++)
                assert_true(port_of(k, "web", i) >= 30001 && port_of(k, "web", i) <= 30004);
        /* and back */
        kit_describe(k, 0, THREE_PORTS);
        kit_connect(k, 0);
        kit_settle(k);
        expect_capacity_kept(k);
        expect_same_after_reload(k);
        kit_free(k);
}

/* A port that was given back is not the next one that is given away. */
static void test_ports_in_turn(void **state)
{
        struct kit *k = kit_with_nodes(THREE_PORTS, NULL);
        uint16_t before;

        (void) state;
        apply(k, "web", "{\"command\": [\"x\"], \"resources\": {\"ports\": [\"http\"]}}");
        before = port_of(k, "web", 0);
        kit_command(k, CLUSTER_STOP, "web");
        kit_settle(k);
        kit_command(k, CLUSTER_RESTART, "web");
        kit_settle(k);
        expect_job(k, "web", JOB_RUNNING, 1);
        assert_int_not_equal(port_of(k, "web", 0), before);
        kit_free(k);
}

/* ---- What a task needs changes while it runs */

#define CPU(n, parallel)                                                                           \
        "{\"command\": [\"x\"], \"count\": 2, \"resources\": {\"cpu\": " n                         \
        "}, \"update\": {\"parallel\": " parallel "}}"

static void test_change_in_place(void **state)
{
        struct kit *k = kit_with_nodes(SMALL, SMALL, NULL);

        (void) state;
        apply(k, "web", CPU("1", "1"));
        apply(k, "web", CPU("2", "1"));
        expect_nodes(k, "web", "a b");
        assert_int_equal(runs_of(k, "web.0"), 1);
        assert_int_equal(job_find(k->c, "web")->counts[MARK_OUTDATED], 0);
        apply(k, "db", "{\"command\": [\"x\"], \"resources\": {\"cpu\": 0.1}}");
        expect_nodes(k, "db", "-");
        apply(k, "web", CPU("0.5", "1"));
        expect_nodes(k, "db", "a");
        expect_same_after_reload(k);
        kit_free(k);
}

/* More than its node has: it moves to one that has it, one at a time. */
static void test_change_moves(void **state)
{
        struct kit *k = kit_with_nodes(SMALL, SMALL, LARGE, NULL);

        (void) state;
        apply(k, "big",
                "{\"command\": [\"x\"], \"place\": {\"node\": \"c\"},"
                " \"resources\": {\"cpu\": 8}}");
        apply(k, "web", CPU("1", "1"));
        expect_nodes(k, "web", "a b");
        apply(k, "web", CPU("3", "1"));
        /* there is no room for it yet: it runs on as it is */
        expect_nodes(k, "web", "a b");
        expect_task(k, "web.0", TASK_RUNNING, 1);
        assert_non_null(kit_job(k, "web").reason);
        assert_non_null(strstr(kit_job(k, "web").reason, "too little cpu free"));
        assert_int_equal(runs_of(k, "web.0"), 1);
        expect_same_after_reload(k);
        kit_command(k, CLUSTER_REMOVE, "big");
        assert_true(settle_and_watch(k, "web") >= 1);
        kit_settle(k);
        expect_nodes(k, "web", "c c");
        expect_job(k, "web", JOB_RUNNING, 2);
        expect_capacity_kept(k);
        expect_same_after_reload(k);
        kit_free(k);
}

/* The same with a new run. */
static void test_update_moves(void **state)
{
        struct kit *k = kit_with_nodes(SMALL, SMALL, LARGE, NULL);

        (void) state;
        apply(k, "web",
                "{\"command\": [\"x\"], \"count\": 2, \"resources\": {\"cpu\": 2},"
                " \"place\": {\"where\": [\"name != c\"]}}");
        expect_nodes(k, "web", "a b");
        kit_apply(k, "web", "{\"command\": [\"y\"], \"count\": 2, \"resources\": {\"cpu\": 4}}");
        assert_true(settle_and_watch(k, "web") >= 1);
        expect_nodes(k, "web", "c c");
        expect_job(k, "web", JOB_RUNNING, 2);
        expect_capacity_kept(k);
        kit_free(k);
}

/* A restart by hand of one task is with the newest version, wherever that fits. */
static void test_restart_moves(void **state)
{
        struct kit *k = kit_with_nodes(SMALL, SMALL, NULL);

        (void) state;
        apply(k, "web", "{\"command\": [\"x\"], \"count\": 2, \"resources\": {\"cpu\": 1}}");
        apply(k, "web", "{\"command\": [\"x\"], \"count\": 2, \"resources\": {\"cpu\": 3}}");
        expect_job(k, "web", JOB_UPDATING, 2);
        kit_connect(k, 2); /* has as much as anybody asks for */
        kit_command(k, CLUSTER_RESTART, "web.1");
        kit_settle(k);
        expect_job(k, "web", JOB_RUNNING, 2);
        expect_nodes(k, "web", "c c");
        expect_capacity_kept(k);
        kit_free(k);
}

/* Its node is not allowed any more. */
static void test_place_changes(void **state)
{
        static const char *const places[] = { "\"node\": \"b\"", "\"zone\": [\"east\"]",
                "\"where\": [\"arch = arm64\"]", "\"where\": [\"name = b\"]" };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
                struct kit *k = kit_with_nodes(NODE_WEST, NODE_EAST, NULL);
                AUTO(mem_freep)
                char *json = mem_printf(
                        "{\"command\": [\"x\"], \"count\": 2, \"place\": {%s}}", places[i]);

                apply(k, "web", "{\"command\": [\"x\"], \"count\": 2}");
                expect_nodes(k, "web", "a b");
                kit_apply(k, "web", json);
                assert_int_equal(settle_and_watch(k, "web"), 1);
                expect_nodes(k, "web", "b b");
                expect_job(k, "web", JOB_RUNNING, 2);
                assert_int_equal(runs_of(k, "web.1"), 1); /* it was there already */
                expect_same_after_reload(k);
                kit_free(k);
        }
}

static void test_move_is_told(void **state)
{
        struct kit *k = kit_with_nodes(SMALL, SMALL, NULL);

        (void) state;
        apply(k, "web", "{\"command\": [\"x\"]}");
        kit_apply(k, "web", "{\"command\": [\"x\"], \"place\": {\"node\": \"b\"}}");
        kit_expect_event(k, EVENT_TASK_MOVED, "web.0 leaves node a: version 2 may not be there");
        kit_settle(k);
        expect_nodes(k, "web", "b");
        kit_connect(k, 2);
        kit_apply(k, "web", "{\"command\": [\"x\"], \"resources\": {\"cpu\": 3}}");
        kit_expect_event(k, EVENT_TASK_MOVED,
                "web.0 leaves node b: version 3 needs more than is free there");
        kit_settle(k);
        expect_nodes(k, "web", "c");
        kit_free(k);
}

/* An exclusive tag that comes later. */
static void test_tag_changes(void **state)
{
        struct kit *k = kit_with_nodes(SMALL, NULL);

        (void) state;
        apply(k, "web", "{\"command\": [\"x\"], \"count\": 2}");
        expect_nodes(k, "web", "a a");
        apply(k, "web", "{\"command\": [\"x\"], \"count\": 2, \"place\": {\"exclusive\": \"t\"}}");
        expect_nodes(k, "web", "a a");
        expect_job(k, "web", JOB_UPDATING, 2);
        kit_connect(k, 1);
        kit_settle(k);
        expect_nodes(k, "web", "a b");
        expect_job(k, "web", JOB_RUNNING, 2);
        expect_capacity_kept(k);
        kit_free(k);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_constraints),
                cmocka_unit_test(test_attributes_change),
                cmocka_unit_test(test_preferences),
                cmocka_unit_test(test_preferred_is_full),
                cmocka_unit_test(test_spread),
                cmocka_unit_test(test_spread_and_pack),
                cmocka_unit_test(test_spread_over_names),
                cmocka_unit_test(test_pack),
                cmocka_unit_test(test_least_used),
                cmocka_unit_test(test_tasks_of_a_job_stand_apart),
                cmocka_unit_test(test_capacity),
                cmocka_unit_test(test_unknown_capacity),
                cmocka_unit_test(test_exclusive),
                cmocka_unit_test(test_ports),
                cmocka_unit_test(test_ports_are_kept),
                cmocka_unit_test(test_ports_in_turn),
                cmocka_unit_test(test_change_in_place),
                cmocka_unit_test(test_change_moves),
                cmocka_unit_test(test_update_moves),
                cmocka_unit_test(test_restart_moves),
                cmocka_unit_test(test_place_changes),
                cmocka_unit_test(test_move_is_told),
                cmocka_unit_test(test_tag_changes),
        };

        return cmocka_run_group_tests_name("place", tests, NULL, NULL);
}
