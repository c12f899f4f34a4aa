/* SPDX-License-Identifier: BSD-3-Clause */
/* Jobs of all kinds: one task per node, with another job, by a timetable, batches with limits,
 * templates. */

#include "core/test-cluster-kit.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/zone-file.h"
#include "core/cluster-internal.h"

#define SYS     "{\"kind\": \"system\", \"command\": [\"sys\"]}"
#define SYS_NEW "{\"kind\": \"system\", \"command\": [\"sys\", \"new\"]}"

static struct kit *with_nodes(size_t len)
{
        struct kit *k = kit_new();

        for (size_t i = 0; i < len; i++)
                kit_connect(k, i);
        kit_settle(k);
        return k;
}

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

static void expect_reason(struct kit *k, const char *job, const char *text)
{
        const char *reason = kit_job(k, job).reason;

        if (reason == NULL || strstr(reason, text) == NULL)
                fail_msg("%s: \"%s\", expected \"%s\"", job, reason != NULL ? reason : "-", text);
}

/* ---- System */

static void system_has_a_task_on_every_node(void **state)
{
        struct kit *k = with_nodes(2);

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
        struct kit *k = with_nodes(2);

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
        struct kit *k = with_nodes(1);
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
        struct kit *k = with_nodes(2);

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
        struct kit *k = with_nodes(3);
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
        struct kit *k = with_nodes(3);

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
        struct kit *k = with_nodes(2);

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
        struct kit *k = with_nodes(2);

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

/* ---- By a timetable */

/* The kit's time begins at 2023-11-14 22:13:20 UTC. */
#define NIGHTLY                                                                                    \
        "{\"kind\": \"cron\", \"command\": [\"n\"], \"count\": 2, "                                \
        "\"schedule\": {\"cron\": \"0 3 * * *\"}}"
#define TO_THREE (4 * USEC_HOUR + 46 * USEC_MINUTE + 40 * USEC_SEC)

static char *with_schedule(const char *schedule)
{
        return mem_printf(
                "{\"kind\": \"cron\", \"command\": [\"n\"], \"schedule\": {%s}}", schedule);
}

static void apply_cron(struct kit *k, const char *schedule)
{
        AUTO(mem_freep) char *json = with_schedule(schedule);

        apply(k, "n", json);
}

static void end_all(struct kit *k, const char *job, int exit_code)
{
        for (size_t a = 0; a < KIT_AGENTS; a++)
                for (size_t i = 0; i < k->agents[a].tasks_len; i++) {
                        struct kit_task *t = &k->agents[a].tasks[i];

                        if (strcmp(t->job, job) == 0 && t->process.pid > 0)
                                kit_end_process(&k->agents[a], t, exit_code, 0);
                }
        kit_settle(k);
}

/* One tick at the time that is due; its effects are looked at by the caller. */
static void tick(struct kit *k)
{
        usec_t due = cluster_next_deadline(k->c);

        assert_true(due != USEC_NEVER);
        k->now = MAX(k->now, due);
        assert_int_equal(kit_handle(k, &(struct cluster_event){ .type = CLUSTER_TICK }), 0);
}

static void cron_runs_at_its_slots(void **state)
{
        struct kit *k = with_nodes(1);

        (void) state;
        assert_int_equal(kit_apply(k, "n", NIGHTLY), 0);
        kit_expect_event(k, EVENT_JOB_APPLIED, "version 1: 2 tasks at each slot");
        kit_settle(k);
        expect_job(k, "n", JOB_SCHEDULED, 0);
        expect_reason(k, "n", "nothing has run yet; next slot 2023-11-15 03:00 UTC");
        assert_int_equal(cluster_next_deadline(k->c), k->now + TO_THREE);
        expect_same_after_reload(k);

        kit_pass(k, TO_THREE - 1);
        expect_none(k, "n.0");
        tick(k);
        kit_expect_event(k, EVENT_JOB_FIRED, "slot 2023-11-15 03:00 UTC begins with version 1");
        kit_settle(k);
        expect_job(k, "n", JOB_RUNNING, 2);
        expect_same_after_reload(k);
        kit_exit(k, "n.0", 0);
        kit_settle(k);
        expect_job(k, "n", JOB_RUNNING, 1);
        end_all(k, "n", 0);
        expect_job(k, "n", JOB_SCHEDULED, 0);
        expect_reason(k, "n",
                "last slot 2023-11-15 03:00 UTC: succeeded; next slot 2023-11-16 03:00 UTC");
        expect_same_after_reload(k);

        kit_pass(k, USEC_DAY - USEC_SEC);
        assert_int_equal(runs_of(k, "n.0"), 1);
        kit_pass(k, USEC_SEC);
        expect_job(k, "n", JOB_RUNNING, 2);
        assert_int_equal(runs_of(k, "n.0"), 2);
        kit_free(k);
}

static void cron_tells_how_the_last_slot_went(void **state)
{
        struct kit *k = with_nodes(1);

        (void) state;
        apply(k, "n",
                "{\"kind\": \"cron\", \"command\": [\"n\"], \"restart\": {\"policy\": \"never\"}, "
                "\"schedule\": {\"cron\": \"@hourly\"}}");
        kit_pass(k, USEC_HOUR);
        end_all(k, "n", 3);
        expect_job(k, "n", JOB_SCHEDULED, 0);
        expect_reason(k, "n", "last slot 2023-11-14 23:00 UTC: failed, n.0: exit code 3");
        expect_same_after_reload(k);
        kit_free(k);
}

static void cron_takes_changes_at_the_next_slot(void **state)
{
        struct kit *k = with_nodes(1);

        (void) state;
        apply(k, "n", NIGHTLY);
        kit_pass(k, TO_THREE);
        assert_int_equal(
                kit_apply(k, "n",
                        "{\"kind\": \"cron\", \"command\": [\"n\", \"new\"], \"count\": 3, "
                        "\"schedule\": {\"cron\": \"0 3 * * *\"}}"),
                0);
        kit_expect_event(k, EVENT_JOB_APPLIED, "; from its next slot on");
        kit_settle(k);
        expect_job(k, "n", JOB_RUNNING, 2);
        expect_task(k, "n.0", TASK_RUNNING, 1);
        assert_int_equal(runs_of(k, "n.0"), 1);
        end_all(k, "n", 1); /* and again, as its policy says, with what it was begun with */
        kit_pass(k, USEC_MINUTE);
        expect_task(k, "n.0", TASK_RUNNING, 1);
        end_all(k, "n", 0);
        expect_job(k, "n", JOB_SCHEDULED, 0);
        expect_none(k, "n.2");
        assert_int_equal(kit_scale(k, "n", 4), 0);
        kit_settle(k);
        expect_none(k, "n.2");
        expect_same_after_reload(k);
        kit_pass(k, USEC_DAY);
        expect_job(k, "n", JOB_RUNNING, 4);
        expect_task(k, "n.0", TASK_RUNNING, 2);

        /* fewer at once, more only at a slot */
        assert_int_equal(kit_scale(k, "n", 1), 0);
        kit_settle(k);
        expect_job(k, "n", JOB_RUNNING, 1);
        assert_int_equal(kit_scale(k, "n", 2), 0);
        kit_settle(k);
        expect_job(k, "n", JOB_RUNNING, 1);
        kit_free(k);
}

static void cron_skips_what_overlaps(void **state)
{
        struct kit *k = with_nodes(1);

        (void) state;
        apply_cron(k, "\"cron\": \"0 * * * *\"");
        kit_pass(k, USEC_HOUR);
        expect_job(k, "n", JOB_RUNNING, 1);
        tick(k);
        kit_expect_event(k, EVENT_JOB_SKIPPED,
                "slot 2023-11-15 00:00 UTC is skipped: 1 task of the one before has not ended");
        kit_settle(k);
        end_all(k, "n", 0);
        assert_int_equal(runs_of(k, "n.0"), 1);
        expect_reason(k, "n", "last slot 2023-11-14 23:00 UTC: succeeded");
        tick(k);
        kit_expect_event(k, EVENT_JOB_FIRED, "slot 2023-11-15 01:00 UTC begins");
        kit_settle(k);
        assert_int_equal(runs_of(k, "n.0"), 2);
        kit_free(k);
}

static void cron_waits_for_what_overlaps(void **state)
{
        struct kit *k = with_nodes(1);

        (void) state;
        apply_cron(k, "\"cron\": \"0 * * * *\", \"overlap\": \"wait\"");
        kit_pass(k, USEC_HOUR);
        tick(k);
        kit_expect_event(k, EVENT_JOB_SKIPPED,
                "slot 2023-11-15 00:00 UTC waits: 1 task of the one before has not ended");
        tick(k);
        kit_expect_event(
                k, EVENT_JOB_SKIPPED, "slot 2023-11-15 01:00 UTC is skipped: another one waits");
        kit_settle(k);
        expect_same_after_reload(k);
        assert_int_equal(runs_of(k, "n.0"), 1);
        end_all(k, "n", 0);
        expect_job(k, "n", JOB_RUNNING, 1);
        assert_int_equal(runs_of(k, "n.0"), 2);
        end_all(k, "n", 0);
        expect_job(k, "n", JOB_SCHEDULED, 0);
        expect_reason(k, "n", "last slot 2023-11-15 00:00 UTC: succeeded");
        kit_free(k);
}

static void cron_replaces_what_overlaps(void **state)
{
        struct kit *k = with_nodes(1);

        (void) state;
        apply_cron(k, "\"cron\": \"0 * * * *\", \"overlap\": \"replace\"");
        kit_pass(k, USEC_HOUR);
        tick(k);
        kit_expect_event(k, EVENT_JOB_FIRED, "1 task of the one before is replaced");
        kit_settle(k);
        expect_job(k, "n", JOB_RUNNING, 1);
        assert_int_equal(runs_of(k, "n.0"), 2);
        expect_same_after_reload(k);
        kit_free(k);
}

static void cron_makes_up_for_the_last_slot(void **state)
{
        struct kit *k = with_nodes(1);

        (void) state;
        apply_cron(k, "\"cron\": \"0 * * * *\"");
        k->now += 5 * USEC_HOUR; /* nobody was there */
        kit_reload(k);
        kit_expect_event(k, EVENT_JOB_SKIPPED,
                "the slots from 2023-11-14 23:00 UTC on, up to 2023-11-15 03:00 UTC were missed");
        kit_expect_event(k, EVENT_JOB_FIRED, "slot 2023-11-15 03:00 UTC begins, late");
        kit_connect(k, 0);
        kit_settle(k);
        expect_job(k, "n", JOB_RUNNING, 1);
        assert_int_equal(runs_of(k, "n.0"), 1);
        end_all(k, "n", 0);
        kit_reload(k);
        assert_int_equal(kit_count_events(k, EVENT_JOB_FIRED), 0);
        kit_free(k);
}

static void cron_does_not_make_up_if_told_so(void **state)
{
        struct kit *k = with_nodes(1);

        (void) state;
        apply_cron(k, "\"cron\": \"0 * * * *\", \"catch_up\": \"none\"");
        k->now += 90 * USEC_MINUTE;
        kit_reload(k);
        kit_expect_event(k, EVENT_JOB_SKIPPED, "the slot 2023-11-14 23:00 UTC was missed");
        assert_int_equal(kit_count_events(k, EVENT_JOB_FIRED), 0);

        /* a server that was away for a moment is not too late */
        k->now += 16 * USEC_MINUTE + 41 * USEC_SEC;
        kit_reload(k);
        kit_expect_event(k, EVENT_JOB_FIRED, "slot 2023-11-15 00:00 UTC begins with");
        kit_free(k);
}

static void cron_finds_the_last_slot_of_years(void **state)
{
        struct kit *k = with_nodes(1);

        (void) state;
        apply_cron(k, "\"cron\": \"0 0 1 jan *\"");
        k->now += 3 * 366 * USEC_DAY;
        kit_reload(k);
        kit_expect_event(k, EVENT_JOB_FIRED, "slot 2026-01-01 00:00 UTC begins, late");
        kit_free(k);
}

static void cron_is_begun_by_a_person(void **state)
{
        struct kit *k = with_nodes(1);

        (void) state;
        apply(k, "n", NIGHTLY);
        assert_int_equal(kit_command(k, CLUSTER_RESTART, "n"), 0);
        kit_expect_event(k, EVENT_JOB_RESTARTED, "was begun by a person: 2 tasks");
        kit_settle(k);
        expect_job(k, "n", JOB_RUNNING, 2);
        assert_int_equal(kit_command(k, CLUSTER_RESTART, "n"), 0);
        kit_settle(k);
        assert_int_equal(runs_of(k, "n.1"), 2);
        end_all(k, "n", 0);
        expect_job(k, "n", JOB_SCHEDULED, 0);
        assert_int_equal(kit_command(k, CLUSTER_RESTART, "n.1"), 0);
        kit_settle(k);
        expect_job(k, "n", JOB_RUNNING, 1);
        expect_same_after_reload(k);
        kit_free(k);
}

/* Its node is away, and has the task of the run before: that one is another. */
static void cron_is_begun_while_its_node_is_away(void **state)
{
        struct kit *k = with_nodes(1);

        (void) state;
        apply(k, "n", NIGHTLY);
        assert_int_equal(kit_command(k, CLUSTER_RESTART, "n"), 0);
        kit_settle(k);
        end_all(k, "n", 0);
        kit_reload(k);
        assert_int_equal(kit_command(k, CLUSTER_RESTART, "n"), 0);
        kit_connect(k, 0);
        kit_settle(k);
        expect_job(k, "n", JOB_RUNNING, 2);
        assert_int_equal(kit_status(k, "n.0").runs, 2);
        kit_free(k);
}

static void cron_that_is_stopped_sleeps(void **state)
{
        struct kit *k = with_nodes(1);

        (void) state;
        apply(k, "n", NIGHTLY);
        kit_pass(k, TO_THREE);
        assert_int_equal(kit_command(k, CLUSTER_STOP, "n"), 0);
        kit_settle(k);
        expect_job(k, "n", JOB_STOPPED, 0);
        kit_pass(k, 2 * USEC_DAY + USEC_HOUR);
        assert_int_equal(runs_of(k, "n.0"), 1);
        expect_same_after_reload(k);
        apply(k, "n", NIGHTLY); /* wakes, but begins nothing and makes up for nothing */
        expect_job(k, "n", JOB_SCHEDULED, 0);
        kit_pass(k, USEC_HOUR);
        assert_int_equal(runs_of(k, "n.0"), 1);
        kit_pass(k, USEC_DAY);
        expect_job(k, "n", JOB_RUNNING, 2);
        kit_free(k);
}

static void cron_jitter_is_the_same_every_time(void **state)
{
        struct kit *k = with_nodes(1);
        usec_t due;

        (void) state;
        apply_cron(k, "\"cron\": \"0 3 * * *\", \"jitter\": \"30m\"");
        due = cluster_next_deadline(k->c);
        assert_true(due > k->now + TO_THREE && due <= k->now + TO_THREE + 30 * USEC_MINUTE);
        kit_reload(k);
        kit_connect(k, 0);
        kit_settle(k);
        assert_int_equal(cluster_next_deadline(k->c), due);
        kit_pass(k, due - k->now - 1);
        expect_none(k, "n.0");
        tick(k);
        kit_expect_event(k, EVENT_JOB_FIRED, "slot 2023-11-15 03:00 UTC");
        kit_settle(k);
        end_all(k, "n", 0);
        assert_true(cluster_next_deadline(k->c) % USEC_DAY != due % USEC_DAY);
        kit_free(k);
}

static void cron_follows_a_time_zone(void **state)
{
        struct kit *k = with_nodes(1);
        struct error err = ERROR_INIT;
        struct zone *zone;

        (void) state;
        if (zone_file_load(NULL, "Europe/Paris", &zone, &err) < 0)
                skip();
        apply_cron(k, "\"cron\": \"0 3 * * *\", \"zone\": \"Europe/Paris\"");
        assert_string_equal(cluster_missing_zone(k->c), "Europe/Paris");
        expect_job(k, "n", JOB_SCHEDULED, 0);
        expect_reason(k, "n", "its time zone Europe/Paris is not known here");
        assert_int_equal(cluster_next_deadline(k->c), USEC_NEVER);
        cluster_add_zone(k->c, "Europe/Paris", zone);
        assert_null(cluster_missing_zone(k->c));
        assert_int_equal(cluster_next_deadline(k->c), k->now + TO_THREE - USEC_HOUR);
        expect_reason(k, "n", "next slot 2023-11-15 03:00 Europe/Paris");
        tick(k);
        kit_expect_event(k, EVENT_JOB_FIRED, "slot 2023-11-15 03:00 Europe/Paris begins");
        kit_free(k);
}

static void cron_and_a_clock_that_is_set(void **state)
{
        struct kit *k = with_nodes(1);

        (void) state;
        apply_cron(k, "\"cron\": \"0 * * * *\"");
        kit_pass(k, USEC_HOUR);
        end_all(k, "n", 0);
        /* a little back: the slot has been */
        k->now -= USEC_HOUR;
        assert_int_equal(kit_handle(k, &(struct cluster_event){ .type = CLUSTER_TICK }), 0);
        kit_pass(k, USEC_HOUR);
        assert_int_equal(runs_of(k, "n.0"), 1);
        kit_pass(k, USEC_HOUR);
        assert_int_equal(runs_of(k, "n.0"), 2);
        end_all(k, "n", 0);
        /* far back: it was wrong before */
        k->now -= 100 * USEC_DAY;
        assert_int_equal(kit_handle(k, &(struct cluster_event){ .type = CLUSTER_TICK }), 0);
        kit_pass(k, USEC_HOUR);
        assert_int_equal(runs_of(k, "n.0"), 3);
        kit_free(k);
}

static void a_service_becomes_cron_and_back(void **state)
{
        struct kit *k = with_nodes(1);

        (void) state;
        apply(k, "n", "{\"command\": [\"n\"], \"count\": 2}");
        apply(k, "n", NIGHTLY);
        expect_job(k, "n", JOB_SCHEDULED, 0);
        assert_null(kit_task(k, "n.0"));
        kit_pass(k, TO_THREE);
        expect_job(k, "n", JOB_RUNNING, 2);
        apply(k, "n", "{\"command\": [\"n\"], \"count\": 3}");
        expect_job(k, "n", JOB_RUNNING, 3);
        expect_same_after_reload(k);
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
                cmocka_unit_test(cron_runs_at_its_slots),
                cmocka_unit_test(cron_tells_how_the_last_slot_went),
                cmocka_unit_test(cron_takes_changes_at_the_next_slot),
                cmocka_unit_test(cron_skips_what_overlaps),
                cmocka_unit_test(cron_waits_for_what_overlaps),
                cmocka_unit_test(cron_replaces_what_overlaps),
                cmocka_unit_test(cron_makes_up_for_the_last_slot),
                cmocka_unit_test(cron_does_not_make_up_if_told_so),
                cmocka_unit_test(cron_finds_the_last_slot_of_years),
                cmocka_unit_test(cron_is_begun_by_a_person),
                cmocka_unit_test(cron_is_begun_while_its_node_is_away),
                cmocka_unit_test(cron_that_is_stopped_sleeps),
                cmocka_unit_test(cron_jitter_is_the_same_every_time),
                cmocka_unit_test(cron_follows_a_time_zone),
                cmocka_unit_test(cron_and_a_clock_that_is_set),
                cmocka_unit_test(a_service_becomes_cron_and_back),
        };

        return cmocka_run_group_tests_name("kinds", tests, NULL, NULL);
}
