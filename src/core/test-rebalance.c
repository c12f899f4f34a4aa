/* SPDX-License-Identifier: BSD-3-Clause */
/* Moves that even out nodes, and that they are made. */

#include "core/test-cluster-kit.h"

#include <string.h>

#include "base/mem.h"
#include "core/cluster-internal.h"
#include "core/rebalance.h"

struct seen {
        size_t moves;
        char text[2000];
};

static void see(void *data, const struct rebalance_move *m)
{
        struct seen *seen = data;
        size_t at = strlen(seen->text);

        seen->moves++;
        snprintf(seen->text + at, sizeof seen->text - at, "%s %s->%s: %s\n", m->task, m->from,
                m->to, m->reason);
}

static struct seen moves_of(struct kit *k, uint32_t budget)
{
        struct seen seen = { 0 };

        cluster_rebalance(k->c, budget, see, &seen);
        return seen;
}

static uint32_t tasks_on(struct kit *k, const char *node)
{
        return (uint32_t) node_find(k->c, node)->status.tasks;
}

static void test_new_node_gets_its_part(void **state)
{
        struct kit *k = kit_new();
        struct seen seen;

        (void) state;
        kit_connect(k, 0);
        kit_apply(
                k, "web", "{\"command\": [\"web\"], \"count\": 6, \"update\": {\"parallel\": 2}}");
        kit_settle(k);
        assert_int_equal(moves_of(k, 10).moves, 0); /* there is one node */

        kit_connect(k, 1);
        kit_settle(k);
        seen = moves_of(k, 10);
        assert_int_equal(seen.moves, 3);
        assert_non_null(strstr(seen.text, "a has 6 tasks, b has 0 tasks; then 5 and 1"));
        assert_int_equal(moves_of(k, 2).moves, 2); /* the budget */
        assert_int_equal(tasks_on(k, "a"), 6);     /* nothing was done */
        kit_free(k);
}

static void move_each(void *data, const struct rebalance_move *m)
{
        char(*ids)[32] = data;

        while ((*ids)[0] != '\0')
                ids++;
        snprintf(*ids, sizeof *ids, "%s", m->task);
}

static void test_moves_are_made(void **state)
{
        struct kit *k = kit_new();
        char ids[11][32] = { 0 };

        (void) state;
        kit_connect(k, 0);
        kit_apply(k, "web", "{\"command\": [\"web\"], \"count\": 6}");
        kit_settle(k);
        kit_connect(k, 1);
        cluster_rebalance(k->c, 10, move_each, ids);
        for (size_t i = 0; ids[i][0] != '\0'; i++)
                assert_int_equal(kit_command(k, CLUSTER_MOVE, ids[i]), 0);
        expect_same_after_reload(k);
        kit_connect(k, 0);
        kit_connect(k, 1);
        assert_true(settle_and_watch(k, "web") >= 5); /* update.parallel is 1 */
        kit_settle(k);
        expect_job(k, "web", JOB_RUNNING, 6);
        assert_int_equal(tasks_on(k, "a"), 3);
        assert_int_equal(tasks_on(k, "b"), 3);
        assert_int_equal(moves_of(k, 10).moves, 0);
        kit_free(k);
}

/* A value of `spread` that is new gets its part, and none gets more than another. */
static void test_spread(void **state)
{
        struct kit *k = kit_with_nodes("{\"zone\": \"x\"}", "{\"zone\": \"y\"}", NULL);
        struct seen seen;

        (void) state;
        kit_apply(k, "web",
                "{\"command\": [\"web\"], \"count\": 6, \"place\": {\"spread\": \"zone\"}}");
        kit_settle(k);
        assert_int_equal(moves_of(k, 10).moves, 0);
        kit_describe(k, 2, "{\"zone\": \"z\"}");
        kit_connect(k, 2);
        kit_settle(k);
        seen = moves_of(k, 10);
        assert_int_equal(seen.moves, 2);
        assert_non_null(
                strstr(seen.text, "3 of its tasks where zone = x, 0 of its tasks where zone = z"));
        assert_non_null(strstr(seen.text, " b->c: "));
        /* a second node of a zone that has its part gets some of that */
        kit_describe(k, 3, "{\"zone\": \"x\"}");
        kit_connect(k, 3);
        kit_settle(k);
        seen = moves_of(k, 10);
        assert_int_equal(seen.moves, 3);
        assert_non_null(strstr(seen.text, "->d: "));
        kit_free(k);
}

static void test_what_stays(void **state)
{
        struct kit *k = kit_new();

        (void) state;
        kit_connect(k, 0);
        kit_apply(
                k, "packed", "{\"command\": [\"x\"], \"count\": 4, \"place\": {\"by\": \"pack\"}}");
        kit_apply(k, "one", "{\"command\": [\"x\"], \"singleton\": true}");
        kit_apply(k, "fixed", "{\"command\": [\"x\"], \"count\": 4, \"place\": {\"node\": \"a\"}}");
        kit_settle(k);
        kit_connect(k, 1);
        kit_settle(k);
        assert_int_equal(moves_of(k, 10).moves, 0);
        assert_int_equal(kit_command(k, CLUSTER_MOVE, "packed"), -1);
        expect_error(k, ERR_INVALID, "packed is a job; its first task is packed.0");
        kit_free(k);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_new_node_gets_its_part),
                cmocka_unit_test(test_moves_are_made),
                cmocka_unit_test(test_spread),
                cmocka_unit_test(test_what_stays),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
