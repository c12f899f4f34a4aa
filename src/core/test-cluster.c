/* SPDX-License-Identifier: BSD-3-Clause */

/* What people ask of the cluster, one command at a time. What agents tell is in
 * test-cluster-agents.c, and test-cluster-walk.c goes where no table goes. */

#include "core/test-cluster-kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/cluster-internal.h"

/* ---- Apply */

static void test_apply_runs(void **state)
{
        struct kit *k = kit_with_node();

        (void) state;
        assert_int_equal(kit_apply(k, "web", WEB), 0);
        assert_int_equal(k->fx.version, 1);
        assert_false(k->fx.unchanged);
        kit_expect_event(k, EVENT_JOB_APPLIED, "version 1: 3 tasks");
        kit_expect_event(k, EVENT_TASK_PLACED, "3 tasks on node a");
        assert_int_equal(k->fx.events_len, 2);
        assert_int_equal(k->fx.assigns_len, 3);
        expect_job(k, "web", JOB_STARTING, 0);
        expect_task(k, "web.2", TASK_PLACED, 1);
        kit_settle(k);
        expect_job(k, "web", JOB_RUNNING, 3);
        assert_int_equal(kit_job(k, "web").ready, 3);
        assert_null(kit_job(k, "web").reason);
        expect_task(k, "web.2", TASK_RUNNING, 1);
        assert_string_equal(kit_status(k, "web.2").node, "a");
        expect_same_after_reload(k);
        kit_free(k);
}

static void test_apply_without_node(void **state)
{
        struct kit *k = kit_new();

        (void) state;
        kit_apply(k, "web", WEB);
        kit_expect_event(k, EVENT_JOB_APPLIED, "version 1: 3 tasks");
        expect_task(k, "web.0", TASK_QUEUED, 1);
        assert_string_equal(kit_status(k, "web.0").reason, "no node is ready");
        assert_null(kit_status(k, "web.0").node);
        kit_connect(k, 1);
        expect_task(k, "web.0", TASK_PLACED, 1);
        kit_settle(k);
        expect_job(k, "web", JOB_RUNNING, 3);
        kit_free(k);
}

static void test_apply_equal(void **state)
{
        struct kit *k = kit_with_job("web", WEB);
        uint64_t changes = cluster_changes(k->c);

        (void) state;
        assert_int_equal(kit_apply(k, "web", WEB), 0);
        assert_true(k->fx.unchanged);
        assert_int_equal(k->fx.version, 1);
        assert_int_equal(k->fx.events_len + k->fx.writes_len + k->fx.assigns_len, 0);
        assert_int_equal(cluster_changes(k->c), changes);
        kit_free(k);
}

static void test_apply_in_place(void **state)
{
        struct kit *k = kit_with_job("web", WEB);
        int32_t pid = kit_task(k, "web.1")->process.pid;

        (void) state;
        kit_apply(k, "web", WEB_DELAY);
        assert_int_equal(k->fx.version, 2);
        kit_expect_event(k, EVENT_JOB_APPLIED, "version 2: restart.delay 1s -> 2s; in place");
        assert_int_equal(k->fx.assigns_len, 3);
        expect_job(k, "web", JOB_UPDATING, 3);
        kit_settle(k);
        expect_job(k, "web", JOB_RUNNING, 3);
        expect_task(k, "web.1", TASK_RUNNING, 2);
        assert_int_equal(kit_task(k, "web.1")->process.pid, pid);
        assert_int_equal(cluster_get_spec(k->c, "web", 1)->restart.delay, USEC_SEC);
        assert_int_equal(cluster_get_spec(k->c, "web", 0)->restart.delay, 2 * USEC_SEC);
        assert_null(cluster_get_spec(k->c, "web", 3));
        kit_free(k);
}

static void test_env_is_not_told(void **state)
{
        struct kit *k = kit_with_job("web", "{\"command\": [\"x\"], \"env\": {\"KEY\": \"old\"}}");

        (void) state;
        kit_apply(k, "web", "{\"command\": [\"x\"], \"env\": {\"KEY\": \"secret\"}}");
        kit_expect_event(k, EVENT_JOB_APPLIED, "version 2: env; a new run");
        kit_free(k);
}

/* However much has changed, the end of the sentence is there. */
static void test_long_change(void **state)
{
        struct kit *k = kit_with_node();
        char source[1200] = "file:";

        (void) state;
        memset(source + 5, '/', sizeof source - 20);
        strcat(source, "web.yaml");
        kit_apply_from(k, source, "web", WEB);
        kit_apply_from(k, source, "web", WEB_DELAY);
        kit_expect_event(k, EVENT_JOB_APPLIED, "/web.yaml)");
        kit_free(k);
}

static void test_if_version(void **state)
{
        struct kit *k = kit_with_node();
        AUTO(job_spec_unrefp) struct job_spec *spec = kit_spec("web", WEB);
        struct cluster_event event = { .type = CLUSTER_APPLY, .spec = spec, .if_version = 2 };

        (void) state;
        assert_int_equal(kit_handle(k, &event), -1);
        expect_error(k, ERR_CONFLICT, "job web is not there, version 2 was expected");
        kit_apply(k, "web", WEB_NEW);
        assert_int_equal(kit_handle(k, &event), -1);
        expect_error(k, ERR_CONFLICT, "job web has version 1 now, version 2 was expected");
        event.if_version = 1;
        assert_int_equal(kit_handle(k, &event), 0);
        assert_int_equal(k->fx.version, 2);
        kit_free(k);
}

static void test_versions_kept(void **state)
{
        struct kit *k = kit_with_job("web", WEB);
        char json[100];

        (void) state;
        kit_disconnect(k, 0); /* its tasks stay at version 1 */
        for (int i = 0; i < 20; i++) {
                snprintf(json, sizeof json, "{\"command\": [\"web\", \"%d\"], \"count\": 3}", i);
                kit_apply(k, "web", json);
        }
        assert_int_equal(kit_job(k, "web").version, 21);
        assert_non_null(cluster_get_spec(k->c, "web", 1)); /* runs */
        assert_null(cluster_get_spec(k->c, "web", 2));
        assert_null(cluster_get_spec(k->c, "web", 11));
        assert_non_null(cluster_get_spec(k->c, "web", 12));
        kit_reload(k);
        assert_non_null(cluster_get_spec(k->c, "web", 1));
        kit_connect(k, 0);
        kit_settle(k);
        kit_apply(k, "web", WEB);
        kit_settle(k);
        assert_null(cluster_get_spec(k->c, "web", 1));
        kit_free(k);
}

/* ---- Sources */

static int remove_from(struct kit *k, const char *source, const char *job)
{
        return kit_handle(k,
                &(struct cluster_event){ .type = CLUSTER_REMOVE, .source = source, .target = job });
}

static void test_sources(void **state)
{
        struct kit *k = kit_with_node();

        (void) state;
        kit_apply_from(k, "file:/etc/reeve/web.yaml", "web", WEB);
        kit_expect_event(k, EVENT_JOB_APPLIED, "(/etc/reeve/web.yaml)");
        kit_settle(k);

        assert_int_equal(kit_apply(k, "web", WEB_NEW), -1);
        expect_error(k, ERR_CONFLICT, "job web comes from /etc/reeve/web.yaml: change it there");
        assert_int_equal(kit_scale(k, "web", 9), -1);
        expect_error(
                k, ERR_CONFLICT, "job web comes from /etc/reeve/web.yaml: change its count there");
        assert_int_equal(remove_from(k, NULL, "web"), -1);
        expect_error(k, ERR_CONFLICT, "job web comes from /etc/reeve/web.yaml: remove it there");
        assert_int_equal(kit_apply_from(k, "file:/b.yaml", "web", WEB), -1);
        expect_error(k, ERR_CONFLICT,
                "job web is defined in /etc/reeve/web.yaml and in /b.yaml: only one may");
        assert_int_equal(remove_from(k, "file:/b.yaml", "web"), -1);

        kit_apply(k, "hand", WEB);
        assert_int_equal(kit_apply_from(k, "file:/b.yaml", "hand", WEB), -1);
        expect_error(k, ERR_CONFLICT,
                "job hand was applied by hand: remove it first, then /b.yaml can define it");

        /* people may stop and restart what comes from a file; reading the file again changes
         * nothing */
        assert_int_equal(kit_command(k, CLUSTER_STOP, "web"), 0);
        kit_settle(k);
        kit_apply_from(k, "file:/etc/reeve/web.yaml", "web", WEB);
        assert_true(k->fx.unchanged);
        expect_job(k, "web", JOB_STOPPED, 0);
        kit_apply_from(k, "file:/etc/reeve/web.yaml", "web", WEB_DELAY);
        kit_settle(k);
        expect_job(k, "web", JOB_RUNNING, 3);
        assert_int_equal(remove_from(k, "file:/etc/reeve/web.yaml", "web"), 0);
        kit_settle(k);
        assert_false(cluster_get_job(k->c, "web", &(struct job_status){ 0 }));
        kit_free(k);
}

static void add_name(void *data, const char *name)
{
        buffer_printf(data, "%s ", name);
}

static void test_jobs_of_source(void **state)
{
        struct kit *k = kit_with_node();
        AUTO(buffer_done) struct buffer b = { 0 };

        (void) state;
        kit_apply_from(k, "file:/x", "zed", WEB);
        kit_apply_from(k, "file:/x", "abc", WEB);
        kit_apply_from(k, "file:/y", "mid", WEB);
        cluster_each_job_of_source(k->c, "file:/x", add_name, &b);
        assert_string_equal(buffer_str(&b), "abc zed ");
        kit_free(k);
}

/* ---- Rollout */

static void test_rollout(void **state)
{
        static const struct {
                const char *spec;
                int64_t least;
        } cases[] = {
                { "{\"command\": [\"new\"], \"count\": 5}", 4 },
                { "{\"command\": [\"new\"], \"count\": 5, \"update\": {\"parallel\": 2}}", 3 },
                { "{\"command\": [\"new\"], \"count\": 5, \"update\": {\"parallel\": 9}}", 0 },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct kit *k = kit_with_job("web", "{\"command\": [\"old\"], \"count\": 5}");

                kit_apply(k, "web", cases[i].spec);
                expect_job(k, "web", JOB_UPDATING, 5);
                assert_int_equal(settle_and_watch(k, "web"), cases[i].least);
                expect_job(k, "web", JOB_RUNNING, 5);
                expect_task(k, "web.4", TASK_RUNNING, 2);
                assert_int_equal(runs_of(k, "web.4"), 2);
                expect_same_after_reload(k);
                kit_free(k);
        }
}

static void test_rollout_is_told(void **state)
{
        struct kit *k = kit_with_job("web", "{\"command\": [\"old\"]}");

        (void) state;
        kit_apply(k, "web", "{\"command\": [\"new\"]}");
        kit_expect_event(
                k, EVENT_JOB_APPLIED, "version 2: command [\"old\"] -> [\"new\"]; a new run");
        while (kit_count_events(k, EVENT_JOB_ROLLED) == 0)
                assert_true(kit_deliver_to_agent(&k->agents[0]) || kit_agent_work(&k->agents[0]) ||
                            kit_agent_report(&k->agents[0]) ||
                            kit_deliver_to_server(&k->agents[0]));
        kit_expect_event(k, EVENT_JOB_ROLLED, "its task has version 2");
        kit_free(k);
}

static void test_rollout_goes_on_after_reload(void **state)
{
        struct kit *k = kit_with_job("web", WEB);

        (void) state;
        kit_apply(k, "web", WEB_NEW);
        kit_reload(k);
        expect_job(k, "web", JOB_UPDATING, 0);
        kit_connect(k, 0);
        expect_task(k, "web.2", TASK_RUNNING, 1);
        assert_int_equal(settle_and_watch(k, "web"), 2);
        expect_job(k, "web", JOB_RUNNING, 3);
        expect_task(k, "web.2", TASK_RUNNING, 2);
        assert_int_equal(runs_of(k, "web.2"), 2);
        kit_free(k);
}

/* web.0 has the new version and gives up; web.1 and web.2 run the old one. */
static struct kit *kit_with_halted_rollout(void)
{
        struct kit *k = kit_with_job(
                "web", "{\"command\": [\"old\"], \"count\": 3, \"restart\": {\"burst\": 1}}");

        kit_apply(k, "web", "{\"command\": [\"new\"], \"count\": 3, \"restart\": {\"burst\": 1}}");
        while (kit_task(k, "web.0")->machine.run_version != 2 ||
                kit_task(k, "web.0")->process.pid == 0)
                assert_true(kit_deliver_to_agent(&k->agents[0]) || kit_agent_work(&k->agents[0]));
        kit_exit(k, "web.0", 1);
        kit_settle(k);
        expect_job(k, "web", JOB_DEGRADED, 2);
        expect_task(k, "web.0", TASK_ENDED, 2);
        expect_task(k, "web.1", TASK_RUNNING, 1);
        return k;
}

static void test_rollout_halts(void **state)
{
        struct kit *k = kit_with_halted_rollout();

        (void) state;
        assert_non_null(strstr(kit_job(k, "web").reason, "the update has halted: web.0"));
        expect_same_after_reload(k);
        expect_task(k, "web.1", TASK_RUNNING, 1);

        /* a new count is not a new try */
        kit_scale(k, "web", 4);
        kit_settle(k);
        expect_task(k, "web.0", TASK_ENDED, 2);
        expect_task(k, "web.1", TASK_RUNNING, 1);
        expect_task(k, "web.3", TASK_RUNNING, 2);

        kit_apply(k, "web", "{\"command\": [\"newer\"], \"count\": 4}");
        kit_settle(k);
        expect_job(k, "web", JOB_RUNNING, 4);
        expect_task(k, "web.1", TASK_RUNNING, 3);
        kit_free(k);
}

static void test_halted_then_restarted(void **state)
{
        struct kit *k = kit_with_halted_rollout();

        (void) state;
        kit_command(k, CLUSTER_RESTART, "web.0");
        kit_settle(k);
        expect_job(k, "web", JOB_RUNNING, 3);
        expect_task(k, "web.2", TASK_RUNNING, 2);
        kit_free(k);
}

/* Whoever goes back to the old spec does not pay with restarts of what still has it. */
static void test_halted_then_reverted(void **state)
{
        struct kit *k = kit_with_halted_rollout();

        (void) state;
        kit_apply(k, "web", "{\"command\": [\"old\"], \"count\": 3, \"restart\": {\"burst\": 1}}");
        kit_settle(k);
        expect_job(k, "web", JOB_RUNNING, 3);
        expect_task(k, "web.0", TASK_RUNNING, 3);
        expect_task(k, "web.1", TASK_RUNNING, 3);
        assert_int_equal(runs_of(k, "web.1"), 1);
        assert_int_equal(runs_of(k, "web.0"), 3);
        expect_same_after_reload(k);
        kit_free(k);
}

static void test_rollout_takes_those_that_are_down_at_once(void **state)
{
        struct kit *k = kit_with_job("web", WEB);

        (void) state;
        kit_exit(k, "web.1", 1);
        kit_exit(k, "web.2", 1);
        kit_agent_report(&k->agents[0]);
        kit_settle(k);
        expect_job(k, "web", JOB_DEGRADED, 1);
        kit_apply(k, "web", WEB_NEW);
        assert_int_equal(k->fx.assigns_len, 2);
        assert_int_equal(settle_and_watch(k, "web"), 1);
        expect_job(k, "web", JOB_RUNNING, 3);
        kit_free(k);
}

/* ---- Scale */

static void test_scale(void **state)
{
        struct kit *k = kit_with_job("web", WEB);

        (void) state;
        kit_scale(k, "web", 5);
        kit_expect_event(k, EVENT_JOB_SCALED, "count 3 -> 5");
        assert_int_equal(kit_count_events(k, EVENT_TASK_CREATED), 2);
        kit_expect_event(k, EVENT_TASK_CREATED, "web.4 is new");
        assert_int_equal(kit_job(k, "web").version, 1);
        assert_int_equal(cluster_get_spec(k->c, "web", 0)->count, 5);
        kit_settle(k);
        expect_job(k, "web", JOB_RUNNING, 5);

        kit_scale(k, "web", 2);
        assert_int_equal(k->fx.assigns_len, 3);
        kit_settle(k);
        expect_job(k, "web", JOB_RUNNING, 2);
        assert_false(cluster_get_task(k->c, "web.2", &(struct task_status){ 0 }));
        assert_null(kit_task(k, "web.2"));
        expect_same_after_reload(k);

        kit_scale(k, "web", 2);
        assert_true(k->fx.unchanged);
        assert_int_equal(k->fx.events_len, 0);
        /* what was scaled is what a spec is compared with */
        kit_apply(k, "web", WEB);
        kit_expect_event(k, EVENT_JOB_APPLIED, "version 2: count 2 -> 3; in place");
        kit_settle(k);
        expect_job(k, "web", JOB_RUNNING, 3);
        kit_scale(k, "web", 0);
        kit_settle(k);
        expect_job(k, "web", JOB_STOPPED, 0);
        assert_string_equal(kit_job(k, "web").reason, "its count is 0");
        kit_free(k);
}

/* Down and up again before the old one has ended: the new one waits, and is a new one. */
static void test_scale_down_and_up(void **state)
{
        struct kit *k = kit_with_job("web", WEB);
        uint64_t old = kit_task(k, "web.2")->machine.desire.generation;

        (void) state;
        kit_scale(k, "web", 2);
        kit_scale(k, "web", 3);
        assert_int_equal(k->fx.assigns_len, 0);
        kit_settle(k);
        expect_job(k, "web", JOB_RUNNING, 3);
        assert_int_equal(runs_of(k, "web.2"), 1);
        assert_true(kit_task(k, "web.2")->machine.desire.generation > old);
        expect_same_after_reload(k);
        kit_free(k);
}

static void test_cause_before_effect(void **state)
{
        struct kit *k = kit_with_job("web", WEB_4);

        (void) state;
        kit_command(k, CLUSTER_STOP, "web");
        kit_settle(k);
        kit_scale(k, "web", 3);
        assert_int_equal(k->fx.events_len, 2);
        assert_int_equal(k->fx.events[0].kind, EVENT_JOB_SCALED);
        assert_int_equal(k->fx.events[1].kind, EVENT_TASK_REMOVED);
        kit_apply(k, "web", "{\"command\": [\"web\"], \"count\": 2}");
        assert_int_equal(k->fx.events_len, 2);
        assert_int_equal(k->fx.events[0].kind, EVENT_JOB_APPLIED);
        assert_int_equal(k->fx.events[1].kind, EVENT_TASK_REMOVED);
        kit_free(k);
}

static void test_scale_stopped(void **state)
{
        struct kit *k = kit_with_job("web", WEB);

        (void) state;
        kit_command(k, CLUSTER_STOP, "web");
        kit_settle(k);
        kit_scale(k, "web", 5);
        kit_settle(k);
        expect_job(k, "web", JOB_STOPPED, 0);
        expect_task(k, "web.4", TASK_ENDED, 1);
        kit_command(k, CLUSTER_RESTART, "web.4");
        kit_settle(k);
        expect_job(k, "web", JOB_RUNNING, 1);
        kit_command(k, CLUSTER_RESTART, "web");
        kit_settle(k);
        expect_job(k, "web", JOB_RUNNING, 5);
        kit_free(k);
}

static void test_scale_of_thousands(void **state)
{
        struct kit *k = kit_with_job("web", "{\"command\": [\"x\"], \"count\": 200}");

        (void) state;
        expect_job(k, "web", JOB_RUNNING, 200);
        expect_same_after_reload(k);
        kit_scale(k, "web", 70);
        kit_settle(k);
        expect_job(k, "web", JOB_RUNNING, 70);
        for (size_t i = 0; i < k->rows_len; i++)
                assert_string_not_equal(k->rows[i].key, "tasks/web/00000002");
        expect_same_after_reload(k);
        kit_free(k);
}

/* ---- Stop, restart */

static void test_stop_and_restart_job(void **state)
{
        struct kit *k = kit_with_job("web", WEB);

        (void) state;
        kit_command(k, CLUSTER_STOP, "web");
        kit_expect_event(k, EVENT_JOB_STOPPED, "was stopped by a person: 3 tasks to end");
        expect_job(k, "web", JOB_STOPPING, 3);
        kit_command(k, CLUSTER_STOP, "web");
        assert_int_equal(k->fx.events_len, 0);
        kit_settle(k);
        expect_job(k, "web", JOB_STOPPED, 0);
        assert_int_equal(kit_status(k, "web.0").result, RESULT_STOPPED);
        expect_same_after_reload(k);
        expect_job(k, "web", JOB_STOPPED, 0);

        kit_command(k, CLUSTER_RESTART, "web");
        assert_int_equal(k->fx.assigns_len, 3); /* none runs: at once */
        kit_settle(k);
        expect_job(k, "web", JOB_RUNNING, 3);

        kit_command(k, CLUSTER_RESTART, "web");
        kit_expect_event(k, EVENT_JOB_RESTARTED, "was restarted by a person: 3 tasks, 1 at a time");
        assert_int_equal(k->fx.assigns_len, 1);
        assert_int_equal(settle_and_watch(k, "web"), 2);
        expect_job(k, "web", JOB_RUNNING, 3);
        assert_int_equal(runs_of(k, "web.2"), 3);
        kit_free(k);
}

static void test_stop_and_restart_task(void **state)
{
        struct kit *k = kit_with_job("web", WEB);

        (void) state;
        kit_command(k, CLUSTER_STOP, "web.1");
        assert_int_equal(k->fx.assigns_len, 1);
        kit_expect_event(k, EVENT_JOB_STOPPED, "web.1 was stopped by a person");
        assert_string_equal(k->fx.events[0].task, "web.1");
        kit_settle(k);
        expect_job(k, "web", JOB_RUNNING, 2);
        expect_task(k, "web.1", TASK_ENDED, 1);
        expect_same_after_reload(k);
        kit_command(k, CLUSTER_RESTART, "web.0");
        kit_settle(k);
        assert_int_equal(runs_of(k, "web.0"), 2);
        expect_task(k, "web.1", TASK_ENDED, 1);
        kit_command(k, CLUSTER_RESTART, "web.1");
        kit_settle(k);
        expect_job(k, "web", JOB_RUNNING, 3);

        /* one of a stopped job: the others stay stopped */
        kit_command(k, CLUSTER_STOP, "web");
        kit_settle(k);
        kit_command(k, CLUSTER_RESTART, "web.2");
        kit_settle(k);
        expect_job(k, "web", JOB_RUNNING, 1);
        expect_same_after_reload(k);
        kit_free(k);
}

static void test_stop_then_apply(void **state)
{
        struct kit *k = kit_with_job("web", WEB);

        (void) state;
        kit_command(k, CLUSTER_STOP, "web");
        kit_settle(k);
        kit_apply(k, "web", WEB);
        assert_false(k->fx.unchanged);
        kit_expect_event(k, EVENT_JOB_APPLIED, "version 1: as before; was stopped, runs again");
        kit_settle(k);
        expect_job(k, "web", JOB_RUNNING, 3);
        /* before they have ended */
        kit_command(k, CLUSTER_STOP, "web");
        kit_apply(k, "web", WEB_NEW);
        kit_settle(k);
        expect_job(k, "web", JOB_RUNNING, 3);
        expect_task(k, "web.0", TASK_RUNNING, 2);
        kit_free(k);
}

static void test_unknown_targets(void **state)
{
        struct kit *k = kit_with_job("web", WEB);

        (void) state;
        assert_int_equal(kit_command(k, CLUSTER_STOP, "wbe"), -1);
        expect_error(k, ERR_NOT_FOUND, "no job or task \"wbe\"; did you mean \"web\"?");
        assert_int_equal(kit_command(k, CLUSTER_STOP, "wbe.2"), -1);
        expect_error(k, ERR_NOT_FOUND, "no job or task \"wbe.2\"; did you mean \"web.2\"?");
        assert_int_equal(kit_command(k, CLUSTER_STOP, "wbe.3"), -1);
        expect_error(k, ERR_NOT_FOUND, "no job or task \"wbe.3\"; did you mean \"web\"?");
        assert_int_equal(kit_command(k, CLUSTER_RESTART, "web.7"), -1);
        expect_error(k, ERR_NOT_FOUND, "no task \"web.7\"; the last of job web is web.2");
        assert_int_equal(kit_command(k, CLUSTER_STOP, "zzzzzzzz.1"), -1);
        expect_error(k, ERR_NOT_FOUND, "no job or task \"zzzzzzzz.1\"");
        assert_int_equal(kit_scale(k, "web.1", 3), -1);
        expect_error(k, ERR_INVALID, "web.1 is a task; the job is web");
        assert_int_equal(kit_command(k, CLUSTER_REMOVE, "web.1"), -1);
        kit_free(k);
}

static void test_parked_is_taken_up(void **state)
{
        struct kit *k = kit_with_job("bad", CRASHER);

        (void) state;
        kit_exit(k, "bad.0", 1);
        kit_settle(k);
        expect_job(k, "bad", JOB_FAILED, 0);
        assert_int_equal(kit_status(k, "bad.0").result, RESULT_FAILED);
        expect_same_after_reload(k);
        kit_apply(k, "bad", CRASHER);
        assert_true(k->fx.unchanged);
        kit_apply(k, "bad", "{\"command\": [\"bad\"], \"restart\": {\"burst\": 2}}");
        kit_settle(k);
        expect_job(k, "bad", JOB_RUNNING, 1);
        kit_free(k);
}

/* ---- Batch */

static void test_batch(void **state)
{
        struct kit *k = kit_with_job("once", ONCE);

        (void) state;
        kit_exit(k, "once.0", 0);
        kit_settle(k);
        expect_job(k, "once", JOB_RUNNING, 1);
        kit_exit(k, "once.1", 0);
        kit_settle(k);
        expect_job(k, "once", JOB_SUCCEEDED, 0);
        expect_same_after_reload(k);

        kit_apply(k, "once", ONCE);
        assert_true(k->fx.unchanged);
        kit_apply(k, "once", ONCE_3); /* only the new one runs */
        kit_settle(k);
        expect_job(k, "once", JOB_RUNNING, 1);
        kit_exit(k, "once.2", 0);
        kit_settle(k);
        assert_int_equal(runs_of(k, "once.0"), 1);

        /* to stop and apply again is not to do the work again */
        kit_command(k, CLUSTER_STOP, "once");
        kit_settle(k);
        kit_apply(k, "once", ONCE_3);
        kit_settle(k);
        expect_job(k, "once", JOB_SUCCEEDED, 0);
        assert_int_equal(runs_of(k, "once.0"), 1);

        kit_apply(k, "once", ONCE_NEW);
        kit_settle(k);
        expect_job(k, "once", JOB_RUNNING, 2);
        kit_exit(k, "once.0", 0);
        kit_exit(k, "once.1", 0);
        kit_settle(k);
        expect_job(k, "once", JOB_SUCCEEDED, 0);
        kit_command(k, CLUSTER_RESTART, "once");
        kit_settle(k);
        expect_job(k, "once", JOB_RUNNING, 2);
        assert_int_equal(runs_of(k, "once.0"), 3);
        kit_free(k);
}

static void test_batch_in_place(void **state)
{
        struct kit *k = kit_with_job("once", ONCE);

        (void) state;
        kit_exit(k, "once.0", 0);
        kit_settle(k);
        kit_apply(k, "once", ONCE_LOGS); /* it goes on: what is done is done */
        kit_settle(k);
        expect_job(k, "once", JOB_RUNNING, 1);
        assert_int_equal(runs_of(k, "once.0"), 1);
        kit_exit(k, "once.1", 0);
        kit_settle(k);
        kit_apply(k, "once", ONCE); /* it was over: anew */
        kit_settle(k);
        expect_job(k, "once", JOB_RUNNING, 2);
        kit_free(k);
}

static void test_batch_fails(void **state)
{
        struct kit *k = kit_with_job("once", "{\"kind\": \"batch\", \"command\": [\"x\"], "
                                             "\"count\": 2, \"restart\": {\"policy\": "
                                             "\"never\"}}");

        (void) state;
        kit_exit(k, "once.0", 3);
        kit_settle(k);
        expect_job(k, "once", JOB_DEGRADED, 1);
        kit_exit(k, "once.1", 0);
        kit_settle(k);
        expect_job(k, "once", JOB_FAILED, 0);
        assert_int_equal(kit_status(k, "once.0").exit_code, 3);
        assert_non_null(strstr(kit_job(k, "once").reason, "once.0 has failed: exit code 3"));
        kit_free(k);
}

/* The agent's disk was replaced: what has ended does not run again, what should run does. */
static void test_agent_forgets_all(void **state)
{
        struct kit *k = kit_with_job("once", ONCE);

        (void) state;
        kit_apply(k, "web", WEB);
        kit_settle(k);
        kit_exit(k, "once.0", 0);
        kit_settle(k);
        kit_command(k, CLUSTER_RESTART, "web.0");
        kit_settle(k);
        kit_disconnect(k, 0);
        kit_wipe(k, 0);
        kit_connect(k, 0);
        kit_settle(k);
        assert_null(kit_task(k, "once.0"));
        expect_task(k, "once.0", TASK_ENDED, 1);
        expect_task(k, "once.1", TASK_RUNNING, 1);
        expect_job(k, "web", JOB_RUNNING, 3);
        assert_int_equal(kit_status(k, "web.0").runs, 1);
        kit_command(k, CLUSTER_RESTART, "once.0");
        kit_settle(k);
        expect_task(k, "once.0", TASK_RUNNING, 1);
        kit_free(k);
}

/* ---- Remove */

static void test_remove(void **state)
{
        struct kit *k = kit_with_job("web", WEB);

        (void) state;
        kit_command(k, CLUSTER_REMOVE, "web");
        kit_expect_event(k, EVENT_JOB_REMOVED, "to be removed: 3 tasks to end first");
        expect_job(k, "web", JOB_STOPPING, 3);
        assert_int_equal(kit_command(k, CLUSTER_STOP, "web"), -1);
        expect_error(k, ERR_CONFLICT, "job web is being removed");
        assert_int_equal(kit_command(k, CLUSTER_RESTART, "web.1"), -1);
        assert_int_equal(kit_command(k, CLUSTER_REMOVE, "web"), 0);
        expect_same_after_reload(k);
        kit_connect(k, 0);
        kit_settle(k);
        assert_false(cluster_get_job(k->c, "web", &(struct job_status){ 0 }));
        assert_int_equal(k->agents[0].tasks_len, 0);
        assert_int_equal(k->rows_len, 2); /* the node, and the number of the newest event */
        kit_free(k);
}

static void test_remove_then_apply(void **state)
{
        struct kit *k = kit_with_job("web", WEB);

        (void) state;
        kit_command(k, CLUSTER_REMOVE, "web");
        kit_apply_from(k, "file:/x.yaml", "web", WEB_4);
        kit_expect_event(k, EVENT_JOB_APPLIED, "was being removed, is kept");
        assert_int_equal(k->fx.version, 2);
        kit_settle(k);
        expect_job(k, "web", JOB_RUNNING, 4);
        assert_string_equal(kit_job(k, "web").source, "file:/x.yaml");
        assert_int_equal(runs_of(k, "web.0"), 1); /* a new one */
        expect_same_after_reload(k);
        kit_free(k);
}

static void test_remove_while_away(void **state)
{
        struct kit *k = kit_with_job("web", WEB);

        (void) state;
        kit_disconnect(k, 0);
        kit_command(k, CLUSTER_REMOVE, "web");
        expect_job(k, "web", JOB_STOPPING, 3);
        kit_connect(k, 0);
        kit_settle(k);
        assert_false(cluster_get_job(k->c, "web", &(struct job_status){ 0 }));
        assert_int_equal(k->agents[0].tasks_len, 0);
        kit_free(k);
}

/* A task that still has to go was stopped, too, and the next of its name is not. */
static void test_stop_is_lifted_for_good(void **state)
{
        struct kit *k = kit_with_job("web", "{\"command\": [\"web\"]}");

        (void) state;
        kit_command(k, CLUSTER_REMOVE, "web");
        kit_apply(k, "web", "{\"command\": [\"web\"], \"count\": 2}");
        kit_command(k, CLUSTER_STOP, "web");
        kit_command(k, CLUSTER_RESTART, "web.1");
        kit_apply(k, "web", WEB);
        kit_reload(k);
        kit_connect(k, 0);
        kit_settle(k);
        expect_job(k, "web", JOB_RUNNING, 3);
        kit_free(k);
}

static void test_purge_waits_for_its_agent(void **state)
{
        struct kit *k = kit_with_job("web", WEB);
        struct cluster_event remove = { .type = CLUSTER_REMOVE, .target = "web", .purge = true };
        size_t purged = 0;

        (void) state;
        kit_command(k, CLUSTER_STOP, "web");
        kit_settle(k);
        kit_disconnect(k, 0);
        kit_handle(k, &remove);
        expect_job(k, "web", JOB_STOPPING, 0);
        kit_connect(k, 0);
        assert_int_equal(cluster_next_deadline(k->c), 0);
        kit_handle(k, &(struct cluster_event){ .type = CLUSTER_TICK });
        for (size_t i = 0; i < k->fx.assigns_len; i++)
                purged += k->fx.assigns[i].forget && k->fx.assigns[i].purge_logs;
        assert_int_equal(purged, 3);
        assert_false(cluster_get_job(k->c, "web", &(struct job_status){ 0 }));
        assert_true(cluster_next_deadline(k->c) == USEC_NEVER);
        kit_settle(k);
        assert_int_equal(k->agents[0].tasks_len, 0);
        kit_free(k);
}

/* Removed and applied again while the agent could not be told: its old tasks are not the new ones.
 */
static void test_namesake(void **state)
{
        struct kit *k = kit_with_job("once", ONCE);

        (void) state;
        kit_exit(k, "once.0", 0);
        kit_exit(k, "once.1", 0);
        kit_settle(k);
        kit_disconnect(k, 0);
        kit_command(k, CLUSTER_REMOVE, "once");
        assert_false(cluster_get_job(k->c, "once", &(struct job_status){ 0 }));
        kit_connect(k, 1);
        kit_apply(k, "once", ONCE); /* goes to b */
        kit_disconnect(k, 1);
        kit_connect(k, 0);
        kit_settle(k);
        assert_int_equal(k->agents[0].tasks_len, 0);
        kit_free(k);

        k = kit_with_job("once", ONCE);
        kit_exit(k, "once.0", 0);
        kit_exit(k, "once.1", 0);
        kit_settle(k);
        kit_command(k, CLUSTER_REMOVE, "once");
        kit_apply(k, "once", ONCE_NEW); /* goes to a, but nothing of it arrives */
        kit_disconnect(k, 0);
        assert_int_equal(kit_task(k, "once.0")->machine.state, TASK_ENDED);
        kit_reload(k);
        kit_connect(k, 0);
        kit_settle(k);
        expect_job(k, "once", JOB_RUNNING, 2);
        assert_int_equal(runs_of(k, "once.0"), 1);
        kit_free(k);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_apply_runs),
                cmocka_unit_test(test_apply_without_node),
                cmocka_unit_test(test_apply_equal),
                cmocka_unit_test(test_apply_in_place),
                cmocka_unit_test(test_env_is_not_told),
                cmocka_unit_test(test_long_change),
                cmocka_unit_test(test_if_version),
                cmocka_unit_test(test_versions_kept),
                cmocka_unit_test(test_sources),
                cmocka_unit_test(test_jobs_of_source),
                cmocka_unit_test(test_rollout),
                cmocka_unit_test(test_rollout_is_told),
                cmocka_unit_test(test_rollout_goes_on_after_reload),
                cmocka_unit_test(test_rollout_halts),
                cmocka_unit_test(test_halted_then_restarted),
                cmocka_unit_test(test_halted_then_reverted),
                cmocka_unit_test(test_rollout_takes_those_that_are_down_at_once),
                cmocka_unit_test(test_scale),
                cmocka_unit_test(test_scale_down_and_up),
                cmocka_unit_test(test_cause_before_effect),
                cmocka_unit_test(test_scale_stopped),
                cmocka_unit_test(test_scale_of_thousands),
                cmocka_unit_test(test_stop_and_restart_job),
                cmocka_unit_test(test_stop_and_restart_task),
                cmocka_unit_test(test_stop_then_apply),
                cmocka_unit_test(test_unknown_targets),
                cmocka_unit_test(test_parked_is_taken_up),
                cmocka_unit_test(test_batch),
                cmocka_unit_test(test_batch_in_place),
                cmocka_unit_test(test_batch_fails),
                cmocka_unit_test(test_agent_forgets_all),
                cmocka_unit_test(test_remove),
                cmocka_unit_test(test_remove_then_apply),
                cmocka_unit_test(test_remove_while_away),
                cmocka_unit_test(test_stop_is_lifted_for_good),
                cmocka_unit_test(test_purge_waits_for_its_agent),
                cmocka_unit_test(test_namesake),
        };

        return cmocka_run_group_tests_name("cluster", tests, NULL, NULL);
}
