/* SPDX-License-Identifier: BSD-3-Clause */

/* The queue: who comes first when there is not room for all, who waits and who is rejected, and who
 * makes room for others. */

#include "core/test-cluster-kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/cluster-internal.h"

#define NODE(cpu) "{\"cpu\": " #cpu "000}"

/* A service of tasks that take one core each. */
#define TASKS(n, more)                                                                             \
        "{\"command\": [\"x\"], \"count\": " #n ", \"resources\": {\"cpu\": 1}" more "}"
#define BATCH(n, more)                                                                             \
        "{\"kind\": \"batch\", \"command\": [\"x\"], \"count\": " #n                               \
        ", \"resources\": {\"cpu\": 1}" more "}"
#define PRIORITY(p) ", \"priority\": " #p
#define OWNER(o)    ", \"owner\": \"" o "\""
#define MODE(m)     ", \"queue\": {\"mode\": \"" m "\"}"
#define PREEMPT     ", \"queue\": {\"preempt\": true}"
#define GANG        ", \"place\": {\"gang\": true}"

static void apply(struct kit *k, const char *name, const char *json)
{
        if (kit_apply(k, name, json) < 0)
                fail_msg("%s: %s", name, k->err.message);
        kit_settle(k);
        expect_capacity_kept(k);
}

static size_t placed(struct kit *k, const char *job)
{
        const struct job *j = job_find(k->c, job);

        return j->counts[MARK_WANTED] - j->counts[MARK_UNPLACED] - j->counts[MARK_ENDED_BADLY] -
               j->counts[MARK_ENDED_WELL];
}

static int drain(struct kit *k, const char *node, bool on)
{
        return kit_handle(
                k, &(struct cluster_event){ .type = CLUSTER_DRAIN, .target = node, .on = on });
}

static int cordon(struct kit *k, const char *node, bool on)
{
        return kit_handle(
                k, &(struct cluster_event){ .type = CLUSTER_CORDON, .target = node, .on = on });
}

/* ---- Order */

static void test_priority(void **state)
{
        struct kit *k = kit_with_nodes(NODE(2), NULL);

        (void) state;
        apply(k, "first", TASKS(2, PRIORITY(10)));
        apply(k, "low", TASKS(1, PRIORITY(20)));
        apply(k, "high", TASKS(1, PRIORITY(60)));
        apply(k, "mid", TASKS(1, PRIORITY(50)));
        expect_nodes(k, "high", "-");
        kit_scale(k, "first", 1);
        kit_settle(k);
        expect_nodes(k, "high", "a");
        expect_nodes(k, "mid", "-");
        expect_same_after_reload(k);
        kit_scale(k, "first", 0);
        kit_settle(k);
        expect_nodes(k, "mid", "a");
        expect_nodes(k, "low", "-");
        kit_command(k, CLUSTER_REMOVE, "high");
        kit_settle(k);
        expect_nodes(k, "low", "a");
        kit_free(k);
}

/* Of one priority and owner: who waits for longer. */
static void test_first_come(void **state)
{
        struct kit *k = kit_with_nodes(NODE(1), NULL);

        (void) state;
        apply(k, "first", TASKS(1, ""));
        k->now += USEC_SEC;
        apply(k, "zoe", TASKS(1, ""));
        k->now += USEC_SEC;
        apply(k, "abe", TASKS(1, ""));
        kit_command(k, CLUSTER_REMOVE, "first");
        kit_settle(k);
        expect_nodes(k, "zoe", "a");
        expect_nodes(k, "abe", "-");
        kit_free(k);
}

/* One that does not fit holds up nobody. */
static void test_too_large_holds_up_nobody(void **state)
{
        struct kit *k = kit_with_nodes(NODE(2), NULL);

        (void) state;
        apply(k, "large", "{\"command\": [\"x\"], \"priority\": 99, \"resources\": {\"cpu\": 3}}");
        apply(k, "small", TASKS(2, ""));
        expect_nodes(k, "large", "-");
        expect_nodes(k, "small", "a a");
        kit_free(k);
}

/* What is tried again is what something has become free for, and no more of the nodes. */
static void test_what_waits_is_told(void **state)
{
        struct kit *k = kit_with_nodes(NODE(1), NULL);

        (void) state;
        apply(k, "first", TASKS(1, ""));
        kit_apply(k, "web", TASKS(2, ""));
        kit_expect_event(k, EVENT_TASK_QUEUED,
                "2 tasks wait for a node: no node fits: the only one has too little cpu free");
        assert_non_null(
                strstr(kit_status(k, "web.0").reason, "the only one has too little cpu free"));
        kit_describe(k, 1, "{\"cpu\": 500}");
        kit_connect(k, 1);
        kit_settle(k);
        assert_non_null(
                strstr(kit_status(k, "web.0").reason, "of 2 nodes 2 have too little cpu free"));
        kit_disconnect(k, 1);
        kit_disconnect(k, 0);
        kit_pass(k, USEC_MINUTE);
        kit_free(k);
}

/* ---- Fair share */

static void test_fair_share(void **state)
{
        struct kit *k = kit_with_nodes(NODE(8), NODE(8), NULL);

        (void) state;
        apply(k, "first", TASKS(16, PRIORITY(99)));
        apply(k, "ann1", TASKS(8, OWNER("ann")));
        apply(k, "ann2", TASKS(8, OWNER("ann")));
        apply(k, "bob", TASKS(8, OWNER("bob")));
        kit_scale(k, "first", 8);
        kit_settle(k);
        assert_int_equal(placed(k, "ann1") + placed(k, "ann2"), 4);
        assert_int_equal(placed(k, "bob"), 4);
        /* and what is given back goes to who has less */
        expect_same_after_reload(k);
        kit_scale(k, "bob", 2);
        kit_settle(k);
        kit_scale(k, "bob", 4);
        kit_settle(k);
        kit_scale(k, "first", 4);
        kit_settle(k);
        assert_int_equal(placed(k, "bob"), 4);
        assert_int_equal(placed(k, "ann1") + placed(k, "ann2"), 8);
        kit_free(k);
}

/* The larger part of the whole counts: ann's tasks take memory, bob's cores. */
static void test_dominant_share(void **state)
{
        struct kit *k =
                kit_with_nodes("{\"cpu\": 9000, \"memory\": 19327352832}", NULL); /* 18 GiB */

        (void) state;
        apply(k, "first",
                "{\"command\": [\"x\"], \"resources\": {\"cpu\": 9, \"memory\": \"18GiB\"}}");
        apply(k, "ann",
                "{\"command\": [\"x\"], \"count\": 18, \"owner\": \"ann\","
                " \"resources\": {\"cpu\": 1, \"memory\": \"4GiB\"}}");
        apply(k, "bob",
                "{\"command\": [\"x\"], \"count\": 18, \"owner\": \"bob\","
                " \"resources\": {\"cpu\": 3, \"memory\": \"1GiB\"}}");
        kit_command(k, CLUSTER_REMOVE, "first");
        kit_settle(k);
        assert_int_equal(placed(k, "ann"), 3); /* 12 of 18 GiB */
        assert_int_equal(placed(k, "bob"), 2); /* 6 of 9 cores */
        expect_capacity_kept(k);
        kit_free(k);
}

/* ---- Modes */

static void expect_rejected(struct kit *k, const char *id)
{
        struct task_status s = kit_status(k, id);

        assert_int_equal(s.state, TASK_ENDED);
        assert_int_equal(s.result, RESULT_REJECTED);
        assert_non_null(strstr(s.reason, "queue.mode is"));
}

static void test_mode_never(void **state)
{
        struct kit *k = kit_with_nodes(NODE(2), NULL);

        (void) state;
        apply(k, "web", TASKS(3, MODE("never")));
        assert_int_equal(placed(k, "web"), 2);
        expect_rejected(k, "web.2");
        expect_same_after_reload(k);
        /* room does not bring it back, a person does */
        kit_connect(k, 1);
        kit_settle(k);
        expect_rejected(k, "web.2");
        kit_scale(k, "web", 4);
        kit_settle(k);
        expect_rejected(k, "web.2");
        expect_task(k, "web.3", TASK_RUNNING, 1);
        kit_command(k, CLUSTER_RESTART, "web.2");
        kit_settle(k);
        expect_task(k, "web.2", TASK_RUNNING, 1);
        kit_free(k);
}

/* Runs web.0 on a, has it queued anew while there is no room. */
static struct kit *kit_with_run_task(const char *json)
{
        struct kit *k = kit_with_nodes(NODE(1), NULL);

        apply(k, "web", json);
        expect_task(k, "web.0", TASK_RUNNING, 1);
        kit_disconnect(k, 0);
        assert_int_equal(kit_command(k, CLUSTER_FORGET, "a"), 0);
        kit_settle(k);
        return k;
}

static void test_mode_start_only(void **state)
{
        struct kit *k = kit_with_run_task(TASKS(2, MODE("start-only")));

        (void) state;
        expect_rejected(k, "web.0");
        assert_int_equal(kit_status(k, "web.1").state, TASK_QUEUED); /* it has never run */
        expect_same_after_reload(k);
        kit_free(k);
}

static void test_mode_restart_only(void **state)
{
        struct kit *k = kit_with_run_task(TASKS(2, MODE("restart-only")));

        (void) state;
        expect_rejected(k, "web.1"); /* it found no room at its first begin */
        assert_int_equal(kit_status(k, "web.0").state, TASK_QUEUED);
        kit_wipe(k, 0);
        kit_connect(k, 0);
        kit_settle(k);
        expect_task(k, "web.0", TASK_RUNNING, 1);
        kit_free(k);
}

static void test_mode_always(void **state)
{
        struct kit *k = kit_with_run_task(TASKS(2, MODE("always")));

        (void) state;
        assert_int_equal(kit_status(k, "web.0").state, TASK_QUEUED);
        assert_int_equal(kit_status(k, "web.1").state, TASK_QUEUED);
        kit_wipe(k, 0);
        kit_connect(k, 0);
        kit_settle(k);
        assert_int_equal(placed(k, "web"), 1);
        kit_free(k);
}

/* After one that was rejected another one is, too, though no more wait than before. */
static void test_rejected_one_after_the_other(void **state)
{
        struct kit *k = kit_with_nodes(NODE(1), NODE(1), NULL);

        (void) state;
        apply(k, "web", TASKS(3, MODE("start-only")));
        expect_nodes(k, "web", "a b -");
        for (size_t i = 0; i < 2; i++) {
                kit_disconnect(k, i);
                kit_command(k, CLUSTER_FORGET, i == 0 ? "a" : "b");
                kit_settle(k);
                expect_rejected(k, i == 0 ? "web.0" : "web.1");
        }
        assert_int_equal(kit_status(k, "web.2").state, TASK_QUEUED);
        kit_free(k);
}

/* ---- Gangs and batches */

/* Room comes node by node, in turns that free one each. */
static void test_gang(void **state)
{
        struct kit *k = kit_with_nodes(NODE(1), NODE(1), NODE(1), NULL);

        (void) state;
        apply(k, "first", TASKS(3, ""));
        apply(k, "gang", TASKS(3, GANG));
        expect_nodes(k, "gang", "- - -");
        kit_scale(k, "first", 2);
        kit_settle(k);
        expect_nodes(k, "gang", "- - -");
        assert_string_equal(kit_status(k, "gang.0").reason,
                "there is room for 1 of 3 tasks, and they are placed all at once (place.gang)");
        expect_same_after_reload(k);
        kit_scale(k, "first", 1);
        kit_settle(k);
        expect_nodes(k, "gang", "- - -");
        kit_scale(k, "first", 0);
        kit_settle(k);
        assert_int_equal(placed(k, "gang"), 3);
        expect_capacity_kept(k);
        kit_free(k);
}

static void test_gang_lets_others_pass(void **state)
{
        struct kit *k = kit_with_nodes(NODE(2), NULL);

        (void) state;
        apply(k, "gang", TASKS(3, GANG PRIORITY(90)));
        apply(k, "web", TASKS(2, ""));
        expect_nodes(k, "gang", "- - -");
        expect_nodes(k, "web", "a a");
        kit_free(k);
}

static void test_batch_parallel(void **state)
{
        struct kit *k = kit_with_nodes(NODE(4), NULL);

        (void) state;
        apply(k, "work", BATCH(5, ", \"batch\": {\"parallel\": 2}"));
        assert_int_equal(placed(k, "work"), 2);
        assert_non_null(strstr(kit_status(k, "work.4").reason, "batch.parallel"));
        expect_same_after_reload(k);
        for (uint32_t i = 0; i < 5; i++) {
                AUTO(mem_freep) char *id = mem_printf("work.%u", i);

                assert_true(placed(k, "work") <= 2);
                assert_int_equal(placed(k, "work"), i < 4 ? 2 : 1);
                kit_exit(k, id, 0);
                kit_settle(k);
        }
        expect_job(k, "work", JOB_SUCCEEDED, 0);
        kit_command(k, CLUSTER_RESTART, "work");
        kit_settle(k);
        assert_int_equal(placed(k, "work"), 2);
        kit_free(k);
}

/* ---- Preemption */

static void test_preempts_the_cheapest(void **state)
{
        struct kit *k = kit_with_nodes(NODE(2), NODE(2), NODE(2), NULL);

        (void) state;
        apply(k, "low", TASKS(2, PRIORITY(10) ", \"place\": {\"node\": \"c\"}"));
        apply(k, "mid", TASKS(4, PRIORITY(20) ", \"place\": {\"where\": [\"name != c\"]}"));
        apply(k, "same", TASKS(1, PRIORITY(50)));
        expect_nodes(k, "same", "-");
        kit_apply(k, "high", TASKS(1, PRIORITY(50) PREEMPT));
        /* the youngest of the lowest */
        kit_expect_event(k, EVENT_TASK_PREEMPTED,
                "low.1 leaves node c to make room for high (priority 50 before 10)");
        assert_int_equal(kit_count_events(k, EVENT_TASK_PREEMPTED), 1);
        kit_settle(k);
        expect_nodes(k, "high", "c"); /* and not `same`, which has waited for longer */
        expect_nodes(k, "same", "-");
        expect_nodes(k, "low", "c -");
        assert_int_equal(placed(k, "mid"), 4);
        expect_capacity_kept(k);
        expect_same_after_reload(k);
        kit_free(k);
}

static void test_preempts_nobody_else(void **state)
{
        struct kit *k = kit_with_nodes(NODE(2), NULL);

        (void) state;
        apply(k, "web", TASKS(2, PRIORITY(50)));
        apply(k, "same", TASKS(1, PRIORITY(50) PREEMPT));
        apply(k, "less", TASKS(1, PRIORITY(40) PREEMPT));
        apply(k, "meek", TASKS(1, PRIORITY(60))); /* does not say so */
        expect_nodes(k, "web", "a a");
        apply(k, "huge",
                "{\"command\": [\"x\"], \"priority\": 90, \"queue\": {\"preempt\": true}, "
                "\"resources\": {\"cpu\": 3}}"); /* would not fit anyway */
        expect_nodes(k, "web", "a a");
        assert_int_equal(runs_of(k, "web.0"), 1);
        kit_free(k);
}

/* As few as possible, of the priority that is lowest at its highest. */
static void test_preempts_few(void **state)
{
        struct kit *k = kit_with_nodes(NODE(4), NODE(4), NULL);

        (void) state;
        apply(k, "small", TASKS(4, PRIORITY(10) ", \"place\": {\"node\": \"a\"}"));
        apply(k, "large",
                "{\"command\": [\"x\"], \"priority\": 10, \"place\": {\"node\": \"b\"},"
                " \"resources\": {\"cpu\": 3}}");
        apply(k, "high",
                "{\"command\": [\"x\"], \"priority\": 80, \"queue\": {\"preempt\": true},"
                " \"resources\": {\"cpu\": 3}}");
        expect_nodes(k, "high", "b"); /* one task, not two of small beside the free core */
        assert_int_equal(placed(k, "small"), 4);
        kit_free(k);
}

/* Who had to leave has others leave in turn. */
static void test_cascade(void **state)
{
        struct kit *k = kit_with_nodes(NODE(1), NODE(1), NULL);

        (void) state;
        apply(k, "low", TASKS(1, PRIORITY(10) ", \"place\": {\"node\": \"b\"}"));
        apply(k, "mid", TASKS(1, PRIORITY(50) PREEMPT));
        expect_nodes(k, "mid", "a");
        apply(k, "high", TASKS(1, PRIORITY(90) PREEMPT ", \"place\": {\"node\": \"a\"}"));
        expect_nodes(k, "high", "a");
        expect_nodes(k, "mid", "b");
        expect_nodes(k, "low", "-");
        expect_capacity_kept(k);
        kit_free(k);
}

/* An exclusive tag and ports are room, too. */
static void test_preempts_a_tag(void **state)
{
        struct kit *k = kit_with_nodes(NODE(4), NULL);

        (void) state;
        apply(k, "low", TASKS(1, PRIORITY(10) ", \"place\": {\"exclusive\": \"gpu\"}"));
        apply(k, "high", TASKS(1, PRIORITY(90) PREEMPT ", \"place\": {\"exclusive\": \"gpu\"}"));
        expect_nodes(k, "high", "a");
        expect_nodes(k, "low", "-");
        kit_free(k);
}

static const struct node *node_a(struct kit *k)
{
        return node_find(k->c, "a");
}

/* `high` has had `low` told to leave; its agent has not obeyed yet. */
static struct kit *kit_amid_preemption(void)
{
        struct kit *k = kit_with_nodes(NODE(1), NULL);

        apply(k, "low", TASKS(1, PRIORITY(10)));
        kit_apply(k, "high", TASKS(1, PRIORITY(90) PREEMPT));
        assert_non_null(node_a(k)->kept_for);
        return k;
}

/* Who has taken it leaves nothing that could be kept from others. */
static void test_kept_for_and_taken(void **state)
{
        struct kit *k = kit_amid_preemption();

        (void) state;
        apply(k, "higher", TASKS(1, PRIORITY(95)));
        kit_settle(k);
        expect_nodes(k, "higher", "a");
        expect_nodes(k, "high", "-");
        assert_null(node_a(k)->kept_for);
        assert_int_equal(kit_command(k, CLUSTER_STOP, "higher"), 0);
        kit_settle(k);
        expect_nodes(k, "high", "a");
        assert_null(node_a(k)->kept_for);
        kit_free(k);
}

static void test_kept_for(void **state)
{
        struct kit *k = kit_amid_preemption();

        (void) state;
        kit_apply(k, "other", TASKS(1, PRIORITY(90)));
        kit_settle(k);
        expect_nodes(k, "high", "a");
        expect_nodes(k, "other", "-");
        assert_null(node_a(k)->kept_for);
        assert_int_equal(job_find(k->c, "high")->keeps, 0);
        kit_free(k);
}

/* Who made room does not need it any more. */
static void test_kept_is_released(void **state)
{
        (void) state;
        for (int i = 0; i < 3; i++) {
                struct kit *k = kit_amid_preemption();

                if (i == 0)
                        kit_command(k, CLUSTER_REMOVE, "high");
                else if (i == 1)
                        kit_command(k, CLUSTER_STOP, "high");
                else
                        kit_scale(k, "high", 0);
                assert_null(node_a(k)->kept_for);
                kit_settle(k);
                expect_nodes(k, "low", "a");
                expect_job(k, "low", JOB_RUNNING, 1);
                kit_free(k);
        }
}

/* The node is gone before the room is there. */
static void test_kept_node_is_gone(void **state)
{
        (void) state;
        for (int i = 0; i < 4; i++) {
                struct kit *k = kit_amid_preemption();

                kit_describe(k, 1, NODE(1));
                if (i == 0) {
                        kit_disconnect(k, 0);
                        kit_command(k, CLUSTER_FORGET, "a");
                } else if (i == 1) {
                        kit_disconnect(k, 0);
                        kit_pass(k, USEC_MINUTE);
                } else if (i == 2) {
                        assert_int_equal(cordon(k, "a", true), 0);
                } else {
                        assert_int_equal(drain(k, "a", true), 0);
                }
                assert_int_equal(job_find(k->c, "high")->keeps, 0);
                kit_connect(k, 1);
                kit_settle(k);
                expect_nodes(k, "high", "b");
                kit_free(k);
        }
}

/* The server is killed amid: nobody else is made to leave. */
static void test_preemption_and_reload(void **state)
{
        struct kit *k = kit_with_nodes(NODE(1), NODE(1), NULL);

        (void) state;
        apply(k, "low", TASKS(2, PRIORITY(10)));
        kit_apply(k, "high", TASKS(1, PRIORITY(90) PREEMPT));
        kit_reload(k);
        kit_connect(k, 0);
        kit_connect(k, 1);
        kit_settle(k);
        assert_int_equal(placed(k, "high"), 1);
        assert_int_equal(placed(k, "low"), 1);
        expect_capacity_kept(k);
        kit_free(k);
}

/* Who is told to leave cannot stay because a person restarts it. */
static void test_victim_is_restarted(void **state)
{
        struct kit *k = kit_amid_preemption();

        (void) state;
        kit_command(k, CLUSTER_RESTART, "low.0");
        kit_settle(k);
        expect_nodes(k, "high", "a");
        expect_nodes(k, "low", "-");
        kit_free(k);
}

/* More is kept than is still needed. */
static void test_scaled_down_amid(void **state)
{
        struct kit *k = kit_with_nodes(NODE(1), NODE(1), NODE(1), NULL);

        (void) state;
        apply(k, "low", TASKS(3, PRIORITY(10)));
        kit_apply(k, "high", TASKS(3, PRIORITY(90) PREEMPT));
        kit_scale(k, "high", 1);
        kit_settle(k);
        assert_int_equal(placed(k, "high"), 1);
        assert_int_equal(placed(k, "low"), 2);
        kit_free(k);
}

static void test_gang_preempts(void **state)
{
        struct kit *k = kit_with_nodes(NODE(1), NODE(1), NULL);

        (void) state;
        apply(k, "low", TASKS(2, PRIORITY(10)));
        apply(k, "gang",
                "{\"command\": [\"x\"], \"count\": 2, \"priority\": 90, \"resources\": {\"cpu\": "
                "1},"
                " \"queue\": {\"preempt\": true}, \"place\": {\"gang\": true}}");
        assert_int_equal(placed(k, "gang"), 2);
        assert_int_equal(placed(k, "low"), 0);
        kit_free(k);
}

/* A gang for which there is not room, whoever leaves, has nobody leave. */
static void test_gang_preempts_for_nothing(void **state)
{
        struct kit *k = kit_with_nodes(NODE(1), NODE(1), NULL);

        (void) state;
        apply(k, "low", TASKS(2, PRIORITY(10)));
        apply(k, "gang",
                "{\"command\": [\"x\"], \"count\": 3, \"priority\": 90, \"resources\": {\"cpu\": "
                "1},"
                " \"queue\": {\"preempt\": true}, \"place\": {\"gang\": true}}");
        assert_int_equal(placed(k, "gang"), 0);
        assert_int_equal(placed(k, "low"), 2);
        assert_int_equal(runs_of(k, "low.0"), 1);
        kit_free(k);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_priority),
                cmocka_unit_test(test_first_come),
                cmocka_unit_test(test_too_large_holds_up_nobody),
                cmocka_unit_test(test_what_waits_is_told),
                cmocka_unit_test(test_fair_share),
                cmocka_unit_test(test_dominant_share),
                cmocka_unit_test(test_mode_never),
                cmocka_unit_test(test_mode_start_only),
                cmocka_unit_test(test_mode_restart_only),
                cmocka_unit_test(test_mode_always),
                cmocka_unit_test(test_rejected_one_after_the_other),
                cmocka_unit_test(test_gang),
                cmocka_unit_test(test_gang_lets_others_pass),
                cmocka_unit_test(test_batch_parallel),
                cmocka_unit_test(test_preempts_the_cheapest),
                cmocka_unit_test(test_preempts_nobody_else),
                cmocka_unit_test(test_preempts_few),
                cmocka_unit_test(test_cascade),
                cmocka_unit_test(test_preempts_a_tag),
                cmocka_unit_test(test_kept_for),
                cmocka_unit_test(test_kept_for_and_taken),
                cmocka_unit_test(test_kept_is_released),
                cmocka_unit_test(test_kept_node_is_gone),
                cmocka_unit_test(test_preemption_and_reload),
                cmocka_unit_test(test_victim_is_restarted),
                cmocka_unit_test(test_scaled_down_amid),
                cmocka_unit_test(test_gang_preempts),
                cmocka_unit_test(test_gang_preempts_for_nothing),
        };

        return cmocka_run_group_tests_name("queue", tests, NULL, NULL);
}
