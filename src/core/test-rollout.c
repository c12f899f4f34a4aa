/* SPDX-License-Identifier: BSD-3-Clause */

/* Rollouts: how many run on the way, what a canary holds back, what halts a rollout and takes it
 * back, and what commands amid it do. */

#include "core/test-cluster-kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/cluster-internal.h"

/* Services of @n tasks, whose version is in the command. */
#define SPEC(n, version, update)                                                                   \
        "{\"command\": [\"" #version "\"], \"count\": " #n ", \"update\": {" update "}}"
#define START_FIRST "\"order\": \"start-first\""
#define CANARY(n)   "\"canary\": " #n

static void apply(struct kit *k, const char *name, const char *json)
{
        if (kit_apply(k, name, json) < 0)
                fail_msg("%s: %s", name, k->err.message);
}

static struct kit *kit_running(const char *json)
{
        struct kit *k = kit_with_nodes("{}", "{}", "{}", NULL);

        apply(k, "web", json);
        kit_settle(k);
        return k;
}

/* How many tasks have that version, of those that run. */
static size_t with_version(struct kit *k, uint32_t version)
{
        const struct job *job = job_find(k->c, "web");
        const struct task *task;
        size_t n = 0;

        JOB_FOREACH_TASK (job, task)
                n += task->state == TASK_RUNNING && task->version == version;
        return n;
}

static size_t tasks_of(struct kit *k)
{
        return job_find(k->c, "web")->counts[MARK_EXISTS];
}

static void expect_rolled(struct kit *k, uint32_t version, int count)
{
        expect_job(k, "web", JOB_RUNNING, count);
        assert_int_equal(with_version(k, version), count);
        assert_int_equal(tasks_of(k), count);
        assert_int_equal(job_find(k->c, "web")->rolled_version, version);
        assert_int_equal(job_find(k->c, "web")->surge, 0);
}

/* One message or piece of work of any agent. */
static bool step(struct kit *k)
{
        for (size_t i = 0; i < KIT_AGENTS_MAX; i++) {
                struct kit_agent *a = &k->agents[i];

                if (kit_deliver_to_agent(a) || kit_agent_work(a) || kit_agent_report(a) ||
                        kit_deliver_to_server(a))
                        return true;
        }
        return false;
}

/* The server is killed after the first @n steps; all that is connected comes back. */
static void settle_with_reload(struct kit *k, int n)
{
        while (n-- > 0)
                step(k);
        kit_reload(k);
        for (size_t i = 0; i < KIT_AGENTS; i++)
                kit_connect(k, i);
        kit_settle(k);
}

/* The end of task @id, and of each begun after it. */
static void fail_for_good(struct kit *k, const char *id)
{
        kit_exit(k, id, 7);
        kit_settle(k);
        expect_task(k, id, TASK_ENDED, (int) kit_status(k, id).version);
}

/* ---- Start first */

static void test_start_first(void **state)
{
        static const char *const updates[] = { START_FIRST, START_FIRST ", \"parallel\": 2",
                START_FIRST ", \"parallel\": 9", START_FIRST ", \"healthy\": \"5s\"",
                START_FIRST ", \"parallel\": 2, \"pause\": \"5s\"" };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(updates); i++) {
                AUTO(mem_freep)
                char *old = mem_printf(
                        "{\"command\": [\"1\"], \"count\": 3, \"update\": {%s}}", updates[i]);
                AUTO(mem_freep)
                char *new = mem_printf(
                        "{\"command\": [\"2\"], \"count\": 3, \"update\": {%s}}", updates[i]);
                struct kit *k = kit_running(old);

                apply(k, "web", new);
                for (int n = 0; n < 20; n++) {
                        assert_true(settle_and_watch(k, "web") >= 3);
                        k->now += 3 * USEC_SEC;
                }
                expect_rolled(k, 2, 3);
                expect_same_after_reload(k);
                kit_free(k);
        }
}

static void test_start_first_and_a_reload(void **state)
{
        (void) state;
        for (int steps = 0; steps < 40; steps++) {
                struct kit *k = kit_running(SPEC(3, 1, START_FIRST));

                apply(k, "web", SPEC(3, 2, START_FIRST));
                settle_with_reload(k, steps);
                expect_rolled(k, 2, 3);
                assert_int_equal(kit_processes(k, "web.3"), 0);
                kit_free(k);
        }
}

/* A canary that starts first: the others, too, only as many at a time as stand in for them. */
static void test_start_first_after_a_canary(void **state)
{
        struct kit *k = kit_running(SPEC(4, 1, START_FIRST));

        (void) state;
        apply(k, "web", SPEC(4, 2, START_FIRST ", \"parallel\": 4, " CANARY(1)));
        kit_settle(k);
        assert_int_equal(with_version(k, 2), 1);
        assert_int_equal(kit_command(k, CLUSTER_PROMOTE, "web"), 0);
        assert_true(settle_and_watch(k, "web") >= 4);
        expect_rolled(k, 2, 4);
        kit_free(k);
}

/* What a person wants amid it, at each of its steps. */
static void test_commands_amid(void **state)
{
        enum { DOWN, UP, STOP, NEWER, BACK, COMMANDS };

        (void) state;
        for (int what = 0; what < COMMANDS; what++)
                for (int steps = 0; steps < 40; steps++) {
                        struct kit *k = kit_running(SPEC(3, 1, START_FIRST));
                        uint32_t count = what == DOWN ? 2 : what == UP ? 5 : 3, version = 2;
                        int64_t least;

                        apply(k, "web", SPEC(3, 2, START_FIRST));
                        for (int i = 0; i < steps; i++)
                                step(k);
                        if (what == DOWN || what == UP) {
                                assert_int_equal(kit_scale(k, "web", count), 0);
                        } else if (what == STOP) {
                                kit_command(k, CLUSTER_STOP, "web");
                                kit_settle(k);
                                expect_job(k, "web", JOB_STOPPED, 0);
                                kit_command(k, CLUSTER_RESTART, "web");
                        } else if (what == NEWER) {
                                apply(k, "web", SPEC(3, 3, START_FIRST));
                                version = 3;
                        } else {
                                assert_int_equal(kit_command(k, CLUSTER_REVERT, "web"), 0);
                                version = 3;
                        }
                        least = settle_and_watch(k, "web");
                        kit_settle(k);
                        if (what == DOWN) /* a newer version has stand-ins of its own made first */
                                assert_true(least >= MIN(count, 3u));
                        expect_rolled(k, version, (int) count);
                        expect_same_after_reload(k);
                        kit_free(k);
                }
}

/* Without its stand-ins a rollout would wait for ever. */
static void test_stand_in_is_not_stopped(void **state)
{
        struct kit *k = kit_running(SPEC(3, 1, START_FIRST));

        (void) state;
        apply(k, "web", SPEC(3, 2, START_FIRST));
        assert_int_equal(kit_command(k, CLUSTER_STOP, "web.3"), -1);
        expect_error(k, ERR_CONFLICT,
                "task web.3 stands in while job web is updated, and goes when that is over: "
                "`reeve revert web` takes the update back");
        kit_settle(k);
        expect_rolled(k, 2, 3);
        kit_free(k);
}

/* One that was stopped becomes a stand-in when the job is scaled down. */
static void test_stopped_one_stands_in(void **state)
{
        (void) state;
        for (int steps = 0; steps < 40; steps++) {
                struct kit *k = kit_running(SPEC(4, 1, START_FIRST));

                apply(k, "web", SPEC(4, 2, START_FIRST));
                for (int i = 0; i < steps; i++)
                        step(k);
                assert_int_equal(kit_command(k, CLUSTER_STOP, "web.3"), 0);
                assert_int_equal(kit_scale(k, "web", 3), 0);
                kit_settle(k);
                expect_rolled(k, 2, 3);
                kit_free(k);
        }
}

/* All are down: nobody stands in for them, and none is left over. */
static void test_stop_ends_stand_ins(void **state)
{
        (void) state;
        for (int steps = 0; steps < 20; steps++) {
                struct kit *k = kit_running(SPEC(3, 1, START_FIRST));

                apply(k, "web", SPEC(3, 2, START_FIRST));
                for (int i = 0; i < steps; i++)
                        step(k);
                kit_command(k, CLUSTER_STOP, "web");
                kit_settle(k);
                assert_int_equal(tasks_of(k), 3);
                kit_command(k, CLUSTER_RESTART, "web.1");
                kit_settle(k);
                assert_int_equal(tasks_of(k), 3);
                expect_job(k, "web", JOB_RUNNING, 1);
                assert_int_equal(kit_status(k, "web.1").version, 2);
                kit_free(k);
        }
}

/* There is no room for one more: nothing is taken down, and after the deadline it halts. */
static void test_start_first_without_room(void **state)
{
        struct kit *k = kit_with_nodes("{\"cpu\": 2000}", NULL);

        (void) state;
        apply(k, "web",
                "{\"command\": [\"1\"], \"count\": 2, \"resources\": {\"cpu\": 1}, "
                "\"update\": {\"order\": \"start-first\"}}");
        kit_settle(k);
        apply(k, "web",
                "{\"command\": [\"2\"], \"count\": 2, \"resources\": {\"cpu\": 1}, "
                "\"update\": {\"order\": \"start-first\", \"deadline\": \"1m\"}}");
        assert_int_equal(settle_and_watch(k, "web"), 2);
        kit_pass(k, 59 * USEC_SEC);
        expect_job(k, "web", JOB_UPDATING, 2);
        expect_capacity_kept(k);
        kit_pass(k, 2 * USEC_SEC);
        assert_int_equal(with_version(k, 1), 2);
        assert_non_null(job_find(k->c, "web")->roll_failed);
        kit_free(k);
}

/* There is room for one more, and two could be replaced at a time. */
static void test_start_first_with_little_room(void **state)
{
        struct kit *k = kit_with_nodes("{\"cpu\": 5000}", NULL);

        (void) state;
        apply(k, "web",
                "{\"command\": [\"1\"], \"count\": 4, \"resources\": {\"cpu\": 1}, "
                "\"update\": {\"order\": \"start-first\", \"parallel\": 3}}");
        kit_settle(k);
        apply(k, "web",
                "{\"command\": [\"2\"], \"count\": 4, \"resources\": {\"cpu\": 1}, "
                "\"update\": {\"order\": \"start-first\", \"parallel\": 3}}");
        assert_int_equal(settle_and_watch(k, "web"), 4);
        expect_rolled(k, 2, 4);
        expect_capacity_kept(k);
        kit_free(k);
}

/* ---- Canaries */

static struct kit *kit_with_canary(void)
{
        struct kit *k = kit_running(SPEC(3, 1, ""));

        apply(k, "web", SPEC(3, 2, CANARY(1)));
        kit_settle(k);
        assert_int_equal(with_version(k, 1), 3);
        assert_int_equal(with_version(k, 2), 1);
        return k;
}

static void test_canary_is_promoted(void **state)
{
        struct kit *k = kit_with_canary();

        (void) state;
        kit_pass(k, USEC_HOUR);
        assert_int_equal(with_version(k, 1), 3);
        assert_non_null(strstr(kit_job(k, "web").reason, "reeve promote web"));
        expect_same_after_reload(k);
        assert_int_equal(kit_command(k, CLUSTER_PROMOTE, "web"), 0);
        kit_expect_event(k, EVENT_JOB_PROMOTED, "version 2 is promoted by a person");
        assert_int_equal(settle_and_watch(k, "web"), 3); /* the canary stands in */
        expect_rolled(k, 2, 3);
        expect_same_after_reload(k);
        assert_int_equal(kit_command(k, CLUSTER_PROMOTE, "web"), -1);
        expect_error(k, ERR_CONFLICT, "job web has no canary to promote");
        kit_free(k);
}

static void test_blue_green(void **state)
{
        struct kit *k = kit_running(SPEC(3, 1, ""));

        (void) state;
        apply(k, "web", SPEC(3, 2, CANARY(3)));
        kit_settle(k);
        assert_int_equal(with_version(k, 1), 3);
        assert_int_equal(with_version(k, 2), 3);
        kit_command(k, CLUSTER_PROMOTE, "web");
        assert_true(settle_and_watch(k, "web") >= 3);
        expect_rolled(k, 2, 3);
        kit_free(k);
}

static void test_canary_is_reverted(void **state)
{
        struct kit *k = kit_with_canary();

        (void) state;
        assert_int_equal(kit_command(k, CLUSTER_REVERT, "web"), 0);
        assert_int_equal(settle_and_watch(k, "web"), 3);
        expect_job(k, "web", JOB_RUNNING, 3);
        assert_int_equal(tasks_of(k), 3);
        for (int i = 0; i < 3; i++) /* nobody touched them */
                assert_int_equal(runs_of(k, (const char *[]){ "web.0", "web.1", "web.2" }[i]), 1);
        kit_free(k);
}

/* What is placed anew while a canary is tried, or is new, has the old version. */
static void test_canary_holds_what_is_new(void **state)
{
        struct kit *k = kit_with_canary();

        (void) state;
        kit_disconnect(k, 0);
        kit_pass(k, USEC_MINUTE);
        assert_int_equal(with_version(k, 2), 1);
        assert_int_equal(with_version(k, 1), 3);
        kit_command(k, CLUSTER_RESTART, "web.1");
        kit_settle(k);
        assert_int_equal(with_version(k, 1), 3);
        expect_same_after_reload(k);
        kit_free(k);
}

/* Its demand is that of its version, too. */
static void test_canary_that_asks_for_more(void **state)
{
        struct kit *k = kit_with_nodes("{\"cpu\": 1000}", "{\"cpu\": 3000}", NULL);

        (void) state;
        apply(k, "web", "{\"command\": [\"1\"], \"resources\": {\"cpu\": 1}}");
        kit_settle(k);
        expect_nodes(k, "web", "b"); /* the least used */
        apply(k, "web",
                "{\"command\": [\"2\"], \"resources\": {\"cpu\": 2},"
                " \"update\": {\"canary\": 1}}");
        kit_settle(k);
        expect_nodes(k, "web", "b b");
        kit_handle(k, &(struct cluster_event){ .type = CLUSTER_DRAIN, .target = "b", .on = true });
        kit_settle(k);
        kit_disconnect(k, 1);
        kit_pass(k, USEC_MINUTE);
        expect_nodes(k, "web", "a b"); /* that of version 1 fits on a, the canary does not */
        expect_capacity_kept(k);
        expect_task(k, "web.0", TASK_RUNNING, 1);
        kit_free(k);
}

/* What waits has been tried with the older version only. */
static void test_promoted_without_a_node(void **state)
{
        struct kit *k = kit_with_nodes("{\"cpu\": 2000}", NULL);

        (void) state;
        apply(k, "web", "{\"command\": [\"1\"], \"resources\": {\"cpu\": 4}}");
        kit_settle(k);
        apply(k, "web",
                "{\"command\": [\"2\"], \"resources\": {\"cpu\": 1}, "
                "\"update\": {\"canary\": 1}}");
        kit_settle(k);
        expect_nodes(k, "web", "-");
        assert_int_equal(kit_command(k, CLUSTER_PROMOTE, "web"), 0);
        kit_settle(k);
        expect_rolled(k, 2, 1);
        kit_free(k);
}

static void test_canary_and_scale(void **state)
{
        struct kit *k = kit_with_canary();

        (void) state;
        assert_int_equal(kit_scale(k, "web", 2), 0);
        kit_settle(k);
        assert_int_equal(with_version(k, 1), 2);
        assert_int_equal(with_version(k, 2), 1);
        assert_int_equal(tasks_of(k), 3);
        expect_same_after_reload(k);
        assert_int_equal(kit_scale(k, "web", 5), 0);
        kit_settle(k);
        assert_int_equal(tasks_of(k), 6);
        assert_int_equal(job_find(k->c, "web")->surge, 1);
        assert_true(with_version(k, 1) >= 4); /* the old canary may count as one */
        kit_command(k, CLUSTER_PROMOTE, "web");
        assert_true(settle_and_watch(k, "web") >= 5);
        expect_rolled(k, 2, 5);
        kit_free(k);
}

/* A change in place of the canary's spec does not promote it. */
static void test_canary_is_changed_in_place(void **state)
{
        struct kit *k = kit_with_canary();

        (void) state;
        apply(k, "web",
                "{\"command\": [\"2\"], \"count\": 3, \"update\": {\"canary\": 1}, "
                "\"logs\": {\"files\": 9}}");
        kit_settle(k);
        assert_int_equal(with_version(k, 1), 3);
        assert_int_equal(tasks_of(k), 4);
        kit_command(k, CLUSTER_PROMOTE, "web");
        kit_settle(k);
        expect_job(k, "web", JOB_RUNNING, 3);
        assert_int_equal(with_version(k, 1), 0);
        kit_free(k);
}

static void test_canary_fails(void **state)
{
        struct kit *k = kit_running(SPEC(3, 1, ""));

        (void) state;
        apply(k, "web",
                "{\"command\": [\"2\"], \"count\": 3, \"restart\": {\"burst\": 1}, "
                "\"update\": {\"canary\": 1}}");
        kit_settle(k);
        fail_for_good(k, "web.3");
        assert_int_equal(with_version(k, 1), 3);
        assert_int_equal(kit_command(k, CLUSTER_PROMOTE, "web"), -1);
        assert_non_null(strstr(k->err.message, "the canary of job web has failed"));
        assert_int_equal(kit_command(k, CLUSTER_REVERT, "web"), 0);
        kit_settle(k);
        expect_job(k, "web", JOB_RUNNING, 3);
        assert_int_equal(tasks_of(k), 3);
        kit_free(k);
}

/* ---- What halts it, and takes it back */

#define BAD(update)                                                                                \
        "{\"command\": [\"2\"], \"count\": 3, \"restart\": {\"burst\": 1}, \"update\": {" update   \
        "}}"

static void test_halts(void **state)
{
        struct kit *k = kit_running(SPEC(3, 1, ""));

        (void) state;
        apply(k, "web", BAD(""));
        while (kit_task(k, "web.0")->machine.run_version != 2 ||
                kit_task(k, "web.0")->machine.state != TASK_RUNNING)
                assert_true(step(k));
        kit_exit(k, "web.0", 7);
        kit_settle(k);
        expect_job(k, "web", JOB_DEGRADED, 2);
        assert_int_equal(with_version(k, 1), 2);
        assert_non_null(
                strstr(kit_job(k, "web").reason, "the update has halted: web.0 has failed"));
        expect_same_after_reload(k);
        kit_pass(k, USEC_HOUR);
        assert_int_equal(with_version(k, 1), 2);
        kit_free(k);
}

static void revert_of(const char *update)
{
        AUTO(mem_freep)
        char *old = mem_printf("{\"command\": [\"1\"], \"count\": 3, \"restart\": {\"burst\": 1}, "
                               "\"update\": {%s}}",
                update);
        AUTO(mem_freep)
        char *bad = mem_printf("{\"command\": [\"2\"], \"count\": 3, \"restart\": {\"burst\": 1}, "
                               "\"update\": {\"revert\": true%s%s}}",
                update[0] == '\0' ? "" : ", ", update);
        struct kit *k = kit_running(old);
        const char *first = strstr(update, "start-first") != NULL ? "web.3" : "web.0";

        apply(k, "web", bad);
        while (kit_task(k, first) == NULL || kit_task(k, first)->machine.run_version != 2 ||
                kit_task(k, first)->machine.state != TASK_RUNNING)
                assert_true(step(k));
        kit_exit(k, first, 7);
        while (kit_count_events(k, EVENT_JOB_REVERTED) == 0)
                assert_true(step(k));
        kit_expect_event(k, EVENT_JOB_REVERTED, "version 2 was not good: ");
        kit_expect_event(k, EVENT_JOB_REVERTED, "exit code 7");
        kit_settle(k);
        expect_job(k, "web", JOB_RUNNING, 3);
        assert_int_equal(job_version_number(job_find(k->c, "web")), 3);
        assert_int_equal(tasks_of(k), 3);
        assert_int_equal(job_find(k->c, "web")->rolled_version, 3);
        expect_same_after_reload(k);
        kit_free(k);
}

static void test_reverts_itself(void **state)
{
        (void) state;
        revert_of("");
        revert_of(START_FIRST);
        revert_of("\"parallel\": 2");
}

/* If that is no good either, it is not reverted to and fro. */
static void test_no_loop_of_reverts(void **state)
{
        struct kit *k = kit_running("{\"command\": [\"1\"], \"restart\": {\"burst\": 1}, "
                                    "\"update\": {\"revert\": true}}");

        (void) state;
        apply(k, "web",
                "{\"command\": [\"2\"], \"restart\": {\"burst\": 1}, \"update\": {\"revert\": "
                "true}}");
        kit_settle(k);
        /* version 2 has been good, 3 is not, and then 4, which is 2 again, is not either */
        apply(k, "web",
                "{\"command\": [\"3\"], \"restart\": {\"burst\": 1}, \"update\": {\"revert\": true,"
                " \"healthy\": \"1m\"}}");
        kit_settle(k);
        kit_exit(k, "web.0", 1);
        kit_settle(k);
        assert_int_equal(job_version_number(job_find(k->c, "web")), 4);
        kit_exit(k, "web.0", 1);
        kit_settle(k);
        kit_pass(k, USEC_HOUR);
        assert_int_equal(job_version_number(job_find(k->c, "web")), 4);
        kit_free(k);
}

static void test_healthy(void **state)
{
        struct kit *k = kit_running(SPEC(2, 1, ""));

        (void) state;
        apply(k, "web", SPEC(2, 2, "\"healthy\": \"10s\""));
        kit_settle(k);
        assert_int_equal(with_version(k, 2), 1);
        kit_pass(k, 9 * USEC_SEC);
        assert_int_equal(with_version(k, 2), 1);
        /* a new run of it begins the time anew */
        kit_exit(k, "web.0", 1);
        kit_settle(k);
        kit_pass(k, 2 * USEC_SEC);
        expect_task(k, "web.0", TASK_RUNNING, 2);
        kit_pass(k, 7 * USEC_SEC);
        assert_int_equal(with_version(k, 2), 1);
        kit_pass(k, 4 * USEC_SEC);
        assert_int_equal(with_version(k, 2), 2);
        kit_pass(k, 11 * USEC_SEC);
        expect_rolled(k, 2, 2);
        kit_free(k);
}

/* A step is all that may be in flight at a time; the next begins when that long has passed. */
static void test_pause(void **state)
{
        struct kit *k = kit_running(SPEC(4, 1, ""));

        (void) state;
        apply(k, "web", SPEC(4, 2, "\"parallel\": 2, \"pause\": \"30s\""));
        kit_settle(k);
        assert_int_equal(with_version(k, 2), 2);
        kit_pass(k, 29 * USEC_SEC);
        assert_int_equal(with_version(k, 2), 2);
        kit_reload(k);
        for (size_t i = 0; i < KIT_AGENTS; i++)
                kit_connect(k, i);
        kit_settle(k);
        assert_int_equal(with_version(k, 2), 2); /* it is not cut short */
        kit_pass(k, 31 * USEC_SEC);
        expect_rolled(k, 2, 4);
        kit_free(k);
}

static void test_deadline(void **state)
{
        struct kit *k = kit_running(SPEC(2, 1, ""));

        (void) state;
        apply(k, "web", SPEC(2, 2, "\"deadline\": \"20s\", \"healthy\": \"1m\""));
        kit_settle(k);
        kit_pass(k, 19 * USEC_SEC);
        expect_job(k, "web", JOB_UPDATING, 2);
        kit_pass(k, 2 * USEC_SEC);
        assert_string_equal(job_find(k->c, "web")->roll_failed,
                "web.0 is not ready within 20s (update.deadline)");
        kit_pass(k, USEC_HOUR);
        assert_int_equal(with_version(k, 2), 1);
        kit_reload(k);
        assert_non_null(job_find(k->c, "web")->roll_failed);
        for (size_t i = 0; i < KIT_AGENTS; i++)
                kit_connect(k, i);
        kit_settle(k);
        assert_int_equal(kit_command(k, CLUSTER_REVERT, "web"), 0);
        kit_settle(k);
        kit_pass(k, 2 * USEC_MINUTE);
        expect_job(k, "web", JOB_RUNNING, 2);
        kit_free(k);
}

static void test_reverts_after_the_deadline(void **state)
{
        struct kit *k = kit_running(SPEC(2, 1, ""));

        (void) state;
        apply(k, "web", SPEC(2, 2, "\"deadline\": \"20s\", \"healthy\": \"1m\", \"revert\": true"));
        kit_settle(k);
        kit_pass(k, 21 * USEC_SEC);
        assert_int_equal(job_version_number(job_find(k->c, "web")), 3);
        expect_job(k, "web", JOB_RUNNING, 2);
        assert_int_equal(runs_of(k, "web.1"), 1);
        kit_free(k);
}

static void test_revert_by_hand(void **state)
{
        struct kit *k = kit_running(SPEC(2, 1, ""));

        (void) state;
        assert_int_equal(kit_command(k, CLUSTER_REVERT, "web"), -1);
        expect_error(k, ERR_CONFLICT, "job web has no version before");
        apply(k, "web", SPEC(2, 2, ""));
        kit_settle(k);
        apply(k, "web", SPEC(2, 3, ""));
        kit_settle(k);
        assert_int_equal(kit_handle(k,
                                 &(struct cluster_event){
                                         .type = CLUSTER_REVERT, .target = "web", .version = 1 }),
                0);
        kit_expect_event(k, EVENT_JOB_REVERTED,
                "the spec of version 1 is in force again, as version 4: a person asked for it");
        assert_int_equal(settle_and_watch(k, "web"), 1);
        expect_rolled(k, 4, 2);
        assert_string_equal(cluster_get_spec(k->c, "web", 0)->command[0], "1");
        assert_int_equal(kit_handle(k,
                                 &(struct cluster_event){
                                         .type = CLUSTER_REVERT, .target = "web", .version = 9 }),
                -1);
        expect_error(k, ERR_NOT_FOUND, "job web has no version 9; the oldest kept is 1");
        kit_free(k);
}

/* What is new has its place before what runs is taken down, so that no more than update.parallel
 * are down at a time; where there is no room for it, the others are not held up. */
#define ASKING(n, version)                                                                         \
        "{\"command\": [\"" #version "\"], \"count\": " #n                                         \
        ", \"resources\": {\"memory\": \"1GiB\"}}"

static void test_new_tasks_come_first(void **state)
{
        struct kit *k = kit_with_job("web", SPEC(2, 1, ""));

        (void) state;
        apply(k, "web", SPEC(3, 2, ""));
        assert_int_equal(settle_and_watch(k, "web"), 2);
        expect_rolled(k, 2, 3);
        kit_free(k);
        k = kit_with_nodes("{\"memory\": 2147483648}", NULL);
        apply(k, "web", ASKING(2, 1));
        kit_settle(k);
        apply(k, "web", ASKING(3, 2));
        assert_int_equal(settle_and_watch(k, "web"), 1);
        expect_task(k, "web.1", TASK_RUNNING, 2);
        expect_task(k, "web.2", TASK_QUEUED, 2);
        kit_free(k);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_start_first),
                cmocka_unit_test(test_start_first_and_a_reload),
                cmocka_unit_test(test_start_first_after_a_canary),
                cmocka_unit_test(test_commands_amid),
                cmocka_unit_test(test_stand_in_is_not_stopped),
                cmocka_unit_test(test_stopped_one_stands_in),
                cmocka_unit_test(test_stop_ends_stand_ins),
                cmocka_unit_test(test_start_first_without_room),
                cmocka_unit_test(test_start_first_with_little_room),
                cmocka_unit_test(test_canary_is_promoted),
                cmocka_unit_test(test_blue_green),
                cmocka_unit_test(test_canary_is_reverted),
                cmocka_unit_test(test_canary_holds_what_is_new),
                cmocka_unit_test(test_canary_that_asks_for_more),
                cmocka_unit_test(test_promoted_without_a_node),
                cmocka_unit_test(test_canary_and_scale),
                cmocka_unit_test(test_canary_is_changed_in_place),
                cmocka_unit_test(test_canary_fails),
                cmocka_unit_test(test_halts),
                cmocka_unit_test(test_reverts_itself),
                cmocka_unit_test(test_no_loop_of_reverts),
                cmocka_unit_test(test_healthy),
                cmocka_unit_test(test_pause),
                cmocka_unit_test(test_deadline),
                cmocka_unit_test(test_reverts_after_the_deadline),
                cmocka_unit_test(test_revert_by_hand),
                cmocka_unit_test(test_new_tasks_come_first),
        };

        return cmocka_run_group_tests_name("rollout", tests, NULL, NULL);
}
