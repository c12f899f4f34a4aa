/* SPDX-License-Identifier: BSD-3-Clause */

/* What agents tell the cluster, what it keeps over its own death, and what follows from all that.
 */

#include "core/test-cluster-kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "core/cluster-internal.h"

/* ---- Nodes */

/* An hour back does not mean that a lost node is told of an hour later. */
static void test_clock_is_set_back(void **state)
{
        struct kit *k = kit_with_job("web", WEB);

        (void) state;
        kit_disconnect(k, 0);
        k->now -= USEC_HOUR;
        kit_handle(k, &(struct cluster_event){ .type = CLUSTER_TICK });
        assert_int_equal(cluster_next_deadline(k->c), k->now + CLUSTER_LOST_AFTER);
        k->now += CLUSTER_LOST_AFTER;
        kit_handle(k, &(struct cluster_event){ .type = CLUSTER_TICK });
        kit_expect_event(k, EVENT_NODE_LOST, "node a is lost");
        kit_free(k);
}

static void test_node_lost_and_back(void **state)
{
        struct kit *k = kit_with_job("web", WEB);
        uint64_t runs;

        (void) state;
        kit_disconnect(k, 0);
        assert_int_equal(cluster_next_deadline(k->c), k->now + CLUSTER_LOST_AFTER);
        k->now += CLUSTER_LOST_AFTER - 1;
        kit_handle(k, &(struct cluster_event){ .type = CLUSTER_TICK });
        assert_int_equal(k->fx.events_len, 0);
        expect_job(k, "web", JOB_RUNNING, 3);
        kit_connect(k, 0);
        kit_expect_event(k, EVENT_NODE_READY, "node a is connected again, agent pid 77");
        assert_true(cluster_next_deadline(k->c) == USEC_NEVER);
        kit_settle(k);
        expect_job(k, "web", JOB_RUNNING, 3);

        kit_disconnect(k, 0);
        k->now += CLUSTER_LOST_AFTER;
        kit_handle(k, &(struct cluster_event){ .type = CLUSTER_TICK });
        kit_expect_event(k, EVENT_NODE_LOST, "node a is lost");
        expect_job(k, "web", JOB_DEGRADED, 0);
        expect_task(k, "web.0", TASK_LOST, 1);
        assert_int_equal(kit_status(k, "web.0").pid, RECORD_NULL);
        runs = runs_of(k, "web.0");
        kit_connect(k, 0);
        kit_expect_event(k, EVENT_NODE_READY, "node a is back and ready");
        kit_settle(k);
        expect_job(k, "web", JOB_RUNNING, 3);
        assert_int_equal(runs_of(k, "web.0"), runs);
        kit_free(k);
}

static void test_commands_reach_a_node_that_was_away(void **state)
{
        struct kit *k = kit_with_job("web", WEB);

        (void) state;
        kit_disconnect(k, 0);
        kit_command(k, CLUSTER_STOP, "web.0");
        kit_scale(k, "web", 2);
        kit_reload(k);
        kit_connect(k, 0);
        kit_settle(k);
        expect_job(k, "web", JOB_RUNNING, 1);
        expect_task(k, "web.0", TASK_ENDED, 1);
        assert_null(kit_task(k, "web.2"));
        kit_free(k);
}

static void test_spread(void **state)
{
        struct kit *k = kit_new();

        (void) state;
        kit_connect(k, 1);
        kit_connect(k, 0);
        kit_apply(k, "web", WEB);
        kit_expect_event(k, EVENT_JOB_APPLIED, "version 1: 3 tasks");
        kit_apply(k, "web2", WEB);
        kit_settle(k);
        assert_int_equal(k->agents[0].tasks_len, 3);
        assert_int_equal(k->agents[1].tasks_len, 3);
        expect_same_after_reload(k);
        kit_free(k);
}

/* A server without memory and an agent with tasks of old. */
static void test_strangers(void **state)
{
        struct kit *k = kit_with_job("web", WEB);

        (void) state;
        kit_disconnect(k, 0);
        kit_lose_rows(k);
        kit_reload(k);
        kit_connect(k, 0);
        kit_settle(k);
        assert_int_equal(k->agents[0].tasks_len, 0);
        kit_free(k);
}

/* Of an agent that has lost all it knew the numbers are smaller, and the notes new. */
static void test_notes_of_a_wiped_agent(void **state)
{
        struct kit *k = kit_with_job("web", WEB);

        (void) state;
        kit_note(k, 0, "web.1", 1000);
        kit_wipe(k, 0);
        kit_connect(k, 0);
        kit_expect_event(k, EVENT_NODE_READY, "; it has lost what it knew");
        k->agents[0].note_seq = 1; /* its note is on its way, and the server is killed */
        kit_reload(k);
        kit_connect(k, 0);
        assert_null(strstr(k->fx.events[0].message, "lost what"));
        kit_note(k, 0, "web.1", 1);
        assert_int_equal(k->fx.events_len, 1);
        kit_note(k, 0, "web.1", 1);
        assert_int_equal(k->fx.events_len, 0);
        kit_reload(k);
        kit_connect(k, 0);
        assert_int_equal(kit_count_events(k, EVENT_NODE_READY), 1);
        assert_null(strstr(k->fx.events[0].message, "lost what"));
        kit_note(k, 0, "web.1", 1); /* which was stored, whatever it heard of that */
        assert_int_equal(k->fx.events_len, 0);
        kit_note(k, 0, "web.1", 2);
        assert_int_equal(k->fx.events_len, 1);
        kit_free(k);
}

/* One that does not say how many it has. */
static void test_notes_of_an_agent_that_does_not_count(void **state)
{
        struct kit *k = kit_with_job("web", WEB);
        struct node_status node = { .name = (char[]){ "a" } };

        (void) state;
        kit_note(k, 0, "web.1", 1000);
        assert_int_equal(
                kit_handle(k, &(struct cluster_event){ .type = CLUSTER_NODE_UP, .node = &node }),
                0);
        kit_note(k, 0, "web.1", 1000);
        assert_int_equal(k->fx.events_len, 0);
        kit_free(k);
}

static void test_notes(void **state)
{
        struct kit *k = kit_with_job("web", WEB);
        uint64_t index = cluster_index(k->c);

        (void) state;
        kit_note(k, 0, "web.1", 5);
        assert_int_equal(k->fx.events_len, 1);
        assert_int_equal(k->fx.events[0].index, index + 1);
        assert_string_equal(k->fx.events[0].job, "web");
        assert_string_equal(k->fx.events[0].task, "web.1");
        assert_string_equal(k->fx.events[0].node, "a");
        assert_int_equal(k->fx.events[0].version, 1);
        assert_int_equal(k->fx.writes_len, 2);
        kit_note(k, 0, "web.1", 5);
        assert_int_equal(k->fx.events_len + k->fx.writes_len, 0);
        kit_note(k, 0, "web.1", 4);
        assert_int_equal(k->fx.events_len, 0);
        kit_reload(k);
        kit_connect(k, 0);
        kit_note(k, 0, "web.1", 5);
        assert_int_equal(k->fx.events_len, 0);
        kit_note(k, 0, "gone.1", 6);
        assert_int_equal(k->fx.events_len, 1);
        assert_string_equal(k->fx.events[0].job, "gone");
        assert_int_equal(k->fx.events[0].version, RECORD_NULL);
        kit_free(k);
}

static void test_bad_peers(void **state)
{
        struct kit *k = kit_with_job("web", WEB);
        struct node_status nobody = { .name = (char[]){ "zz" } }, a = { .name = (char[]){ "a" } };
        struct cluster_report bad[] = { { .status = { .id = NULL, .state = TASK_RUNNING } },
                { .status = { .id = (char[]){ "web.0" }, .state = TASK_LOST } },
                { .status = { .id = (char[]){ "web.0" }, .state = -1 } },
                { .status = { .id = (char[]){ "web.4294967296" }, .state = TASK_RUNNING } },
                { .status = { .id = (char[]){ "..." }, .state = 99 } } };
        struct cluster_event report = { .type = CLUSTER_REPORT,
                .node = &nobody,
                .reports = bad,
                .reports_len = ARRAY_SIZE(bad) };

        (void) state;
        assert_int_equal(kit_handle(k, &report), -1);
        expect_error(k, ERR_NOT_FOUND, "no node \"zz\"");
        report.node = &a;
        assert_int_equal(kit_handle(k, &report), 0);
        expect_job(k, "web", JOB_RUNNING, 3);
        kit_free(k);
}

static void test_bad_rows(void **state)
{
        static const struct {
                const char *key, *value, *message;
        } cases[] = {
                { "job/x", "{", "load row job/x: " },
                { "job/x", "{}", "load row job/x: it has no source or no version" },
                { "job/x", "{\"source\":\"api\",\"versions\":[{\"version\":1,\"spec\":{}}]}",
                        "load row job/x: version 1: " },
                { "tasks/x", "[]", "load row tasks/x: its name is none of ours" },
                { "tasks/x/0", "[{\"index\":1},{\"index\":1}]",
                        "load row tasks/x/0: index 1 stands there twice" },
                { "tasks/x/0", "[{\"index\":4000000000}]",
                        "load row tasks/x/0: index 4000000000 is too large" },
                { "what/x", "{}", "load row what/x: its name is none of ours" },
                { "event/x", "{}", "load row event/x: no number" },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct kit *k = kit_new();
                struct cluster_event load = {
                        .type = CLUSTER_LOAD, .key = cases[i].key, .value = cases[i].value
                };

                assert_int_equal(kit_handle(k, &load), -1);
                assert_int_equal(k->err.code, ERR_INVALID);
                if (strncmp(k->err.message, cases[i].message, strlen(cases[i].message)) != 0)
                        fail_msg("\"%s\" expected \"%s\"", k->err.message, cases[i].message);
                kit_free(k);
        }
}

/* An end that is told while the wish for another run is on its way is not the end, even if that
 * wish is withdrawn meanwhile: the agent gets all three in their order. */
static void test_end_crosses_wishes(void **state)
{
        struct kit *k = kit_with_job("once", ONCE);

        (void) state;
        kit_exit(k, "once.1", 0);
        kit_agent_report(&k->agents[0]);
        kit_command(k, CLUSTER_RESTART, "once.1");
        kit_scale(k, "once", 1);
        kit_deliver_to_server(&k->agents[0]); /* the end of the first run */
        expect_task(k, "once.1", TASK_STOPPING, 1);
        kit_deliver_to_agent(&k->agents[0]);
        assert_int_equal(kit_task(k, "once.1")->machine.runs, 2);
        kit_settle(k);
        assert_null(kit_task(k, "once.1"));
        expect_job(k, "once", JOB_RUNNING, 1);

        /* the same with a wish that stands */
        kit_exit(k, "once.0", 0);
        kit_agent_report(&k->agents[0]);
        kit_command(k, CLUSTER_RESTART, "once.0");
        kit_deliver_to_server(&k->agents[0]);
        expect_task(k, "once.0", TASK_PLACED, 1);
        expect_job(k, "once", JOB_STARTING, 0);
        kit_reload(k); /* the wish was accepted, but never sent */
        kit_connect(k, 0);
        kit_settle(k);
        expect_task(k, "once.0", TASK_RUNNING, 1);
        kit_free(k);
}

/* What its agent was told before the link broke counts as down, until the node is lost. */
static void test_rollout_waits_for_an_agent_that_is_away(void **state)
{
        struct kit *k = kit_new();

        (void) state;
        kit_connect(k, 0);
        kit_connect(k, 1);
        kit_apply(k, "web", "{\"command\": [\"web\"], \"count\": 2}");
        kit_settle(k);
        kit_apply(k, "web", "{\"command\": [\"web2\"], \"count\": 2}");
        assert_int_equal(k->fx.assigns_len, 1); /* web.0 on a */
        kit_disconnect(k, 0);
        kit_apply(k, "web", "{\"command\": [\"web3\"], \"count\": 2}");
        assert_int_equal(k->fx.assigns_len, 0);
        kit_settle(k);
        expect_task(k, "web.1", TASK_RUNNING, 1);
        k->now += CLUSTER_LOST_AFTER;
        kit_handle(k, &(struct cluster_event){ .type = CLUSTER_TICK });
        kit_settle(k);
        expect_task(k, "web.1", TASK_RUNNING, 3);
        kit_connect(k, 0);
        kit_settle(k);
        expect_job(k, "web", JOB_RUNNING, 2);
        expect_task(k, "web.0", TASK_RUNNING, 3);
        kit_free(k);
}

/* Told to make place for version 2, and not heard of since: version 3 may not take another down. */
static void test_rollout_counts_what_goes_already(void **state)
{
        struct kit *k = kit_with_job("web", WEB);
        struct kit_agent *a = &k->agents[0];

        (void) state;
        kit_apply(k, "web", WEB_NEW);
        while (k->fx.assigns_len == 0 || strcmp(k->fx.assigns[0].task, "web.1") != 0)
                assert_true(kit_deliver_to_agent(a) || kit_agent_work(a) || kit_agent_report(a) ||
                            kit_deliver_to_server(a));
        expect_task(k, "web.1", TASK_RUNNING, 1);
        kit_apply(k, "web", "{\"command\": [\"web3\"], \"count\": 3}");
        assert_int_equal(k->fx.assigns_len, 1);
        assert_string_equal(k->fx.assigns[0].task, "web.1");
        assert_int_equal(settle_and_watch(k, "web"), 2);
        expect_job(k, "web", JOB_RUNNING, 3);
        kit_free(k);
}

static void test_restart_one_of_stopped_and_scaled(void **state)
{
        struct kit *k = kit_with_job("web", WEB);

        (void) state;
        kit_command(k, CLUSTER_STOP, "web");
        kit_scale(k, "web", 2);
        kit_scale(k, "web", 3); /* web.2 has still to end, and a new one to come */
        kit_command(k, CLUSTER_RESTART, "web.0");
        kit_settle(k);
        expect_job(k, "web", JOB_RUNNING, 1);
        expect_task(k, "web.2", TASK_ENDED, 1);
        kit_free(k);
}

/* A job is restarted in turn; one that ends by itself before its turn has come runs again all the
 * same. */
static void test_restart_reaches_what_ended_meanwhile(void **state)
{
        struct kit *k = kit_with_job("once", ONCE);

        (void) state;
        kit_command(k, CLUSTER_RESTART, "once");
        assert_int_equal(k->fx.assigns_len, 1);
        kit_exit(k, "once.1", 0);
        kit_settle(k);
        expect_job(k, "once", JOB_RUNNING, 2);
        assert_int_equal(runs_of(k, "once.1"), 2);
        assert_int_equal(job_find(k->c, "once")->counts[MARK_OUTDATED], 0);
        kit_free(k);
}

/* How a task ended is known to a server that was killed, even if its agent knows nothing any more.
 */
static void test_ends_are_kept(void **state)
{
        struct kit *k = kit_with_job("once", ONCE);
        AUTO(mem_freep) char *reason = NULL;
        struct task_status before, after;

        (void) state;
        kit_apply(k, "bad", CRASHER);
        kit_settle(k);
        kit_exit(k, "once.0", 0);
        kit_exit(k, "bad.0", 7);
        kit_settle(k);
        before = kit_status(k, "bad.0");
        reason = mem_strdup(before.reason);
        kit_reload(k);
        after = kit_status(k, "bad.0");
        assert_int_equal(after.state, TASK_ENDED);
        assert_int_equal(after.result, RESULT_FAILED);
        assert_int_equal(after.exit_code, 7);
        assert_int_equal(after.runs, 1);
        assert_int_equal(after.since, before.since);
        assert_int_equal(after.started_at, before.started_at);
        assert_string_equal(after.reason, reason);
        expect_job(k, "bad", JOB_FAILED, 0);
        kit_wipe(k, 0);
        kit_connect(k, 0);
        kit_settle(k);
        expect_task(k, "once.0", TASK_ENDED, 1);
        expect_task(k, "bad.0", TASK_ENDED, 1);
        expect_task(k, "once.1", TASK_RUNNING, 1);
        kit_free(k);
}

static void report_of(struct kit *k, const char *id, struct kit_task *ret)
{
        *ret = *kit_task(k, id);
        ret->id = mem_strdup(ret->id);
}

static void deliver_again(struct kit *k, const struct kit_task *old)
{
        struct node_status node = { .name = (char[]){ "a" } };
        struct cluster_report r;

        kit_report_of(old, &r);
        kit_handle(k,
                &(struct cluster_event){
                        .type = CLUSTER_REPORT, .node = &node, .reports = &r, .reports_len = 1 });
}

/* Whatever has ended has a result, the same before and after the server began anew. */
static void test_end_without_result(void **state)
{
        struct kit *k = kit_with_job("once", ONCE);
        struct kit_task ended = *kit_task(k, "once.0");

        (void) state;
        ended.machine.state = TASK_ENDED;
        ended.machine.result = RESULT_NONE;
        deliver_again(k, &ended);
        assert_int_equal(kit_status(k, "once.0").result, RESULT_UNKNOWN);
        kit_reload(k);
        assert_int_equal(kit_status(k, "once.0").result, RESULT_UNKNOWN);
        kit_free(k);
}

static void test_late_reports(void **state)
{
        struct kit *k = kit_with_job("once", ONCE);
        struct kit_task running, ended;

        (void) state;
        report_of(k, "once.0", &running);
        kit_exit(k, "once.0", 0);
        kit_settle(k);
        report_of(k, "once.0", &ended);
        deliver_again(k, &running);
        expect_task(k, "once.0", TASK_ENDED, 1);
        kit_command(k, CLUSTER_RESTART, "once.0");
        deliver_again(k, &ended);
        expect_task(k, "once.0", TASK_PLACED, 1);
        kit_settle(k);
        deliver_again(k, &running);
        deliver_again(k, &ended);
        expect_task(k, "once.0", TASK_RUNNING, 1);
        assert_int_equal(kit_status(k, "once.0").runs, 2);
        kit_exit(k, "once.0", 0);
        kit_settle(k);
        ended.machine.runs = 9;
        deliver_again(k, &ended);
        deliver_again(k, &running);
        expect_task(k, "once.0", TASK_ENDED, 1);
        assert_int_equal(kit_status(k, "once.0").runs, 2);
        free(running.id);
        free(ended.id);
        kit_free(k);
}

/* What its agent says of a namesake on the way does not make the news of the task itself old. */
static void test_word_of_a_namesake(void **state)
{
        struct kit *k =
                kit_with_job("web", "{\"command\": [\"web\"], \"restart\": {\"delay\": \"2s\"}}");
        struct kit_agent *a = &k->agents[0];

        (void) state;
        kit_exit(k, "web.0", 1);
        k->now += 3 * USEC_SEC;
        kit_settle(k);
        assert_int_equal(kit_status(k, "web.0").runs, 2);
        kit_disconnect(k, 0);
        assert_int_equal(kit_command(k, CLUSTER_FORGET, "a"), 0);
        kit_connect(k, 0);
        kit_exit(k, "web.0", 1);
        assert_true(kit_agent_report(a));
        assert_true(kit_deliver_to_server(a));
        expect_task(k, "web.0", TASK_QUEUED, 1);
        kit_settle(k);
        expect_task(k, "web.0", TASK_RUNNING, 1);
        assert_int_equal(kit_status(k, "web.0").runs, 3); /* the first where it was placed anew */
        kit_free(k);
}

/* An agent whose memory goes back behind its word: what has ended is not taken up for it. */
static void test_agent_remembers_less_than_it_said(void **state)
{
        struct kit *k = kit_with_job("once", ONCE);
        struct task_machine before = kit_task(k, "once.0")->machine;

        (void) state;
        kit_command(k, CLUSTER_RESTART, "once.0");
        kit_settle(k);
        kit_exit(k, "once.0", 0);
        kit_settle(k);
        kit_disconnect(k, 0);
        kit_task(k, "once.0")->machine = before;
        kit_task(k, "once.0")->process.pid = before.pid;
        kit_connect(k, 0);
        kit_settle(k);
        expect_task(k, "once.0", TASK_ENDED, 1);
        assert_null(kit_task(k, "once.0"));
        kit_free(k);
}

static void test_stop_of_what_its_agent_has_lost(void **state)
{
        struct kit *k = kit_with_job("web", WEB);

        (void) state;
        kit_disconnect(k, 0);
        kit_command(k, CLUSTER_STOP, "web.0");
        kit_wipe(k, 0);
        kit_connect(k, 0);
        kit_settle(k);
        expect_task(k, "web.0", TASK_ENDED, 1);
        assert_int_equal(kit_status(k, "web.0").result, RESULT_UNKNOWN);
        assert_null(kit_task(k, "web.0"));
        expect_job(k, "web", JOB_RUNNING, 2);
        kit_free(k);
}

static void count_purges(struct kit *k, const struct cluster_event *event)
{
        (void) event;
        for (size_t i = 0; i < k->fx.assigns_len; i++)
                *(size_t *) k->data += k->fx.assigns[i].purge_logs;
}

static void test_logs_of_a_job_that_is_kept(void **state)
{
        struct kit *k = kit_with_job("web", WEB);
        size_t purges = 0;

        (void) state;
        k->data = &purges;
        k->on_handled = count_purges;
        kit_handle(k,
                &(struct cluster_event){ .type = CLUSTER_REMOVE, .target = "web", .purge = true });
        kit_apply(k, "web", WEB);
        kit_settle(k);
        expect_job(k, "web", JOB_RUNNING, 3);
        assert_int_equal(purges, 0);
        kit_handle(k,
                &(struct cluster_event){ .type = CLUSTER_REMOVE, .target = "web", .purge = true });
        kit_settle(k);
        assert_int_equal(purges, 3);
        kit_free(k);
}

/* That nobody stops it any more is stored even for tasks that have nothing else to be told. */
static void test_cleared_stops_are_stored(void **state)
{
        struct kit *k = kit_with_job("once", "{\"kind\": \"batch\", \"command\": [\"x\"]}");

        (void) state;
        kit_exit(k, "once.0", 0);
        kit_settle(k);
        kit_command(k, CLUSTER_STOP, "once.0");
        expect_job(k, "once", JOB_STOPPED, 0);
        kit_apply(k, "once", "{\"kind\": \"batch\", \"command\": [\"x\"]}");
        expect_job(k, "once", JOB_SUCCEEDED, 0);
        kit_reload(k);
        expect_job(k, "once", JOB_SUCCEEDED, 0);
        kit_free(k);
}

/* ---- The state word */

static void test_job_state_words(void **state)
{
        static const struct {
                struct job_facts facts;
                enum job_state state;
        } cases[] = {
                { { .wanted = 3 }, JOB_STARTING },
                { { .wanted = 3, .wanted_running = 2, .active = 3 }, JOB_STARTING },
                { { .wanted = 3, .wanted_running = 3, .active = 3 }, JOB_RUNNING },
                { { .wanted = 3, .wanted_running = 2, .ended_well = 1 }, JOB_RUNNING },
                { { .wanted = 3, .wanted_running = 2, .waiting = 1 }, JOB_DEGRADED },
                { { .wanted = 3, .wanted_running = 2, .ended_badly = 1 }, JOB_DEGRADED },
                { { .wanted = 3, .wanted_running = 2, .lost = 1 }, JOB_DEGRADED },
                { { .wanted = 3, .ended_well = 3 }, JOB_SUCCEEDED },
                { { .wanted = 3, .ended_well = 2, .ended_badly = 1 }, JOB_FAILED },
                { { .wanted = 3, .ended_well = 2 }, JOB_STARTING },
                { { .wanted = 3, .wanted_running = 3, .outdated = 1 }, JOB_UPDATING },
                { { .wanted = 3, .wanted_running = 2, .outdated = 1, .waiting = 1 }, JOB_UPDATING },
                { { .wanted = 3, .wanted_running = 2, .outdated = 1, .ended_badly = 1 },
                        JOB_DEGRADED },
                { { .wanted = 3, .wanted_running = 3, .inflight = 1, .rolling = true },
                        JOB_UPDATING },
                { { .wanted = 3, .wanted_running = 2, .inflight = 1 }, JOB_STARTING },
                { { .wanted = 0, .active = 0 }, JOB_STOPPED },
                { { .wanted = 0, .active = 2 }, JOB_STOPPING },
                { { .stopped = true, .active = 2 }, JOB_STOPPING },
                { { .stopped = true }, JOB_STOPPED },
                { { .removing = true }, JOB_STOPPING },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
                if (job_state_derive(&cases[i].facts) != cases[i].state)
                        fail_msg("case %zu: is %s, expected %s", i,
                                job_state_names[job_state_derive(&cases[i].facts)],
                                job_state_names[cases[i].state]);
}

/* ---- Cost */

static double seconds(void)
{
        struct timespec t;

        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
        return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

/* One by one, the way agents of many nodes would: the cost of a report must not depend on how many
 * tasks its job has. Measured against the same work in a smaller job, with a wide margin. */
static double report_all(uint32_t count)
{
        struct kit *k = kit_with_node();
        char json[100], id[32];
        struct node_status node = { .name = (char[]){ "a" } };
        struct cluster_effects fx = { 0 };
        double began;

        snprintf(json, sizeof json, "{\"command\": [\"x\"], \"count\": %u}", count);
        kit_apply(k, "web", json);
        began = seconds();
        for (uint32_t i = 0; i < count; i++) {
                struct cluster_report r = { .desire = k->fx.assigns[0].desire,
                        .status = { .id = id,
                                .state = TASK_RUNNING,
                                .ready = true,
                                .healthy = true,
                                .runs = 1,
                                .version = 1,
                                .result = RESULT_NONE,
                                .exit_code = RECORD_NULL } };

                snprintf(id, sizeof id, "web.%u", i);
                cluster_effects_reset(&fx);
                cluster_handle(k->c,
                        &(struct cluster_event){ .type = CLUSTER_REPORT,
                                .node = &node,
                                .reports = &r,
                                .reports_len = 1 },
                        k->now, &fx, &k->err);
        }
        began = seconds() - began;
        expect_job(k, "web", JOB_RUNNING, (int) count);
        cluster_effects_done(&fx);
        kit_free(k);
        return began;
}

static void load(struct cluster *c, const char *key, const char *value)
{
        struct cluster_effects fx = { 0 };
        struct error err;

        assert_int_equal(
                cluster_handle(c,
                        &(struct cluster_event){ .type = CLUSTER_LOAD, .key = key, .value = value },
                        0, &fx, &err),
                0);
        cluster_effects_done(&fx);
}

/* Whether a note of that number of node a is a new one. */
static bool takes_note(struct cluster *c, uint64_t seq)
{
        struct cluster_effects fx = { 0 };
        struct node_status node = { .name = (char[]){ "a" } };
        struct event note = { .kind = EVENT_TASK_LOGS,
                .version = RECORD_NULL,
                .run = RECORD_NULL,
                .message = (char[]){ "x" } };
        struct error err;
        bool taken;

        assert_int_equal(cluster_handle(c,
                                 &(struct cluster_event){ .type = CLUSTER_NOTE,
                                         .node = &node,
                                         .note = &note,
                                         .note_seq = seq },
                                 1, &fx, &err),
                0);
        taken = fx.events_len == 1;
        if (taken) { /* and the machine is not written again */
                assert_string_equal(fx.writes[0].key, "notes/a");
                assert_int_equal(strtoull(fx.writes[0].value, NULL, 10), seq);
                assert_int_equal(fx.writes_len, 2);
        }
        cluster_effects_done(&fx);
        return taken;
}

/* Older servers kept it in the row of the node alone. */
static void test_number_of_the_newest_note(void **state)
{
        static const char node[] = "{\"note_seq\":7,\"node\":{\"name\":\"a\",\"state\":\"ready\"}}";
        struct cluster *c = cluster_new();

        (void) state;
        load(c, "node/a", node);
        assert_false(takes_note(c, 7));
        assert_true(takes_note(c, 8));
        cluster_free(c);

        c = cluster_new();
        load(c, "notes/a", "9");
        load(c, "node/a", node);
        assert_false(takes_note(c, 9));
        assert_true(takes_note(c, 10));
        cluster_free(c);

        c = cluster_new();
        load(c, "node/a", node);
        load(c, "notes/a", "5"); /* of before the agent connected the last time */
        assert_false(takes_note(c, 7));
        cluster_free(c);
}

static void test_reports_cost_the_same(void **state)
{
        double small = report_all(500), large = report_all(8000);

        (void) state;
        print_message("500 reports: %.2f ms, 8000: %.2f ms\n", small * 1e3, large * 1e3);
        assert_true(large < 16 * small * 4 + 0.05);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_node_lost_and_back),
                cmocka_unit_test(test_clock_is_set_back),
                cmocka_unit_test(test_commands_reach_a_node_that_was_away),
                cmocka_unit_test(test_spread),
                cmocka_unit_test(test_strangers),
                cmocka_unit_test(test_notes),
                cmocka_unit_test(test_notes_of_a_wiped_agent),
                cmocka_unit_test(test_notes_of_an_agent_that_does_not_count),
                cmocka_unit_test(test_bad_peers),
                cmocka_unit_test(test_bad_rows),
                cmocka_unit_test(test_end_crosses_wishes),
                cmocka_unit_test(test_rollout_waits_for_an_agent_that_is_away),
                cmocka_unit_test(test_rollout_counts_what_goes_already),
                cmocka_unit_test(test_restart_one_of_stopped_and_scaled),
                cmocka_unit_test(test_restart_reaches_what_ended_meanwhile),
                cmocka_unit_test(test_ends_are_kept),
                cmocka_unit_test(test_end_without_result),
                cmocka_unit_test(test_late_reports),
                cmocka_unit_test(test_word_of_a_namesake),
                cmocka_unit_test(test_agent_remembers_less_than_it_said),
                cmocka_unit_test(test_stop_of_what_its_agent_has_lost),
                cmocka_unit_test(test_logs_of_a_job_that_is_kept),
                cmocka_unit_test(test_cleared_stops_are_stored),
                cmocka_unit_test(test_job_state_words),
                cmocka_unit_test(test_number_of_the_newest_note),
                cmocka_unit_test(test_reports_cost_the_same),
        };

        return cmocka_run_group_tests_name("cluster-agents", tests, NULL, NULL);
}
