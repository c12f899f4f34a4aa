/* SPDX-License-Identifier: BSD-3-Clause */
/* Jobs that begin by a timetable. */

#include "core/test-cluster-kit.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/zone-file.h"
#include "core/cluster-internal.h"

static void apply(struct kit *k, const char *name, const char *json)
{
        if (kit_apply(k, name, json) < 0)
                fail_msg("%s", k->err.message);
        kit_settle(k);
}

static void expect_none(struct kit *k, const char *id)
{
        struct task_status s;

        if (cluster_get_task(k->c, id, &s))
                fail_msg("there is %s, on node %s", id, s.node != NULL ? s.node : "-");
}

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

static void cron_runs_at_its_slots(void **state)
{
        struct kit *k = kit_with_plain_nodes(1);

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
        kit_tick(k);
        kit_expect_event(k, EVENT_JOB_FIRED, "slot 2023-11-15 03:00 UTC begins with version 1");
        kit_settle(k);
        expect_job(k, "n", JOB_RUNNING, 2);
        expect_same_after_reload(k);
        kit_exit(k, "n.0", 0);
        kit_settle(k);
        expect_job(k, "n", JOB_RUNNING, 1);
        kit_end_all(k, "n", 0);
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
        struct kit *k = kit_with_plain_nodes(1);

        (void) state;
        apply(k, "n",
                "{\"kind\": \"cron\", \"command\": [\"n\"], \"restart\": {\"policy\": \"never\"}, "
                "\"schedule\": {\"cron\": \"@hourly\"}}");
        kit_pass(k, USEC_HOUR);
        kit_end_all(k, "n", 3);
        expect_job(k, "n", JOB_SCHEDULED, 0);
        expect_reason(k, "n", "last slot 2023-11-14 23:00 UTC: failed, n.0: exit code 3");
        expect_same_after_reload(k);
        kit_free(k);
}

static void cron_takes_changes_at_the_next_slot(void **state)
{
        struct kit *k = kit_with_plain_nodes(1);

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
        kit_end_all(k, "n", 1); /* and again, as its policy says, with what it was begun with */
        kit_pass(k, USEC_MINUTE);
        expect_task(k, "n.0", TASK_RUNNING, 1);
        kit_end_all(k, "n", 0);
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
        struct kit *k = kit_with_plain_nodes(1);

        (void) state;
        apply_cron(k, "\"cron\": \"0 * * * *\"");
        kit_pass(k, USEC_HOUR);
        expect_job(k, "n", JOB_RUNNING, 1);
        kit_tick(k);
        kit_expect_event(k, EVENT_JOB_SKIPPED,
                "slot 2023-11-15 00:00 UTC is skipped: 1 task of the one before has not ended");
        kit_settle(k);
        kit_end_all(k, "n", 0);
        assert_int_equal(runs_of(k, "n.0"), 1);
        expect_reason(k, "n", "last slot 2023-11-14 23:00 UTC: succeeded");
        kit_tick(k);
        kit_expect_event(k, EVENT_JOB_FIRED, "slot 2023-11-15 01:00 UTC begins");
        kit_settle(k);
        assert_int_equal(runs_of(k, "n.0"), 2);
        kit_free(k);
}

static void cron_waits_for_what_overlaps(void **state)
{
        struct kit *k = kit_with_plain_nodes(1);

        (void) state;
        apply_cron(k, "\"cron\": \"0 * * * *\", \"overlap\": \"wait\"");
        kit_pass(k, USEC_HOUR);
        kit_tick(k);
        kit_expect_event(k, EVENT_JOB_SKIPPED,
                "slot 2023-11-15 00:00 UTC waits: 1 task of the one before has not ended");
        kit_tick(k);
        kit_expect_event(
                k, EVENT_JOB_SKIPPED, "slot 2023-11-15 01:00 UTC is skipped: another one waits");
        kit_settle(k);
        expect_same_after_reload(k);
        assert_int_equal(runs_of(k, "n.0"), 1);
        kit_end_all(k, "n", 0);
        expect_job(k, "n", JOB_RUNNING, 1);
        assert_int_equal(runs_of(k, "n.0"), 2);
        kit_end_all(k, "n", 0);
        expect_job(k, "n", JOB_SCHEDULED, 0);
        expect_reason(k, "n", "last slot 2023-11-15 00:00 UTC: succeeded");
        kit_free(k);
}

static void cron_replaces_what_overlaps(void **state)
{
        struct kit *k = kit_with_plain_nodes(1);

        (void) state;
        apply_cron(k, "\"cron\": \"0 * * * *\", \"overlap\": \"replace\"");
        kit_pass(k, USEC_HOUR);
        kit_tick(k);
        kit_expect_event(k, EVENT_JOB_FIRED, "1 task of the one before is replaced");
        kit_settle(k);
        expect_job(k, "n", JOB_RUNNING, 1);
        assert_int_equal(runs_of(k, "n.0"), 2);
        expect_same_after_reload(k);
        kit_free(k);
}

static void cron_makes_up_for_the_last_slot(void **state)
{
        struct kit *k = kit_with_plain_nodes(1);

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
        kit_end_all(k, "n", 0);
        kit_reload(k);
        assert_int_equal(kit_count_events(k, EVENT_JOB_FIRED), 0);
        kit_free(k);
}

static void cron_does_not_make_up_if_told_so(void **state)
{
        struct kit *k = kit_with_plain_nodes(1);

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
        struct kit *k = kit_with_plain_nodes(1);

        (void) state;
        apply_cron(k, "\"cron\": \"0 0 1 jan *\"");
        k->now += 3 * 366 * USEC_DAY;
        kit_reload(k);
        kit_expect_event(k, EVENT_JOB_FIRED, "slot 2026-01-01 00:00 UTC begins, late");
        kit_free(k);
}

static void cron_is_begun_by_a_person(void **state)
{
        struct kit *k = kit_with_plain_nodes(1);

        (void) state;
        apply(k, "n", NIGHTLY);
        assert_int_equal(kit_command(k, CLUSTER_RESTART, "n"), 0);
        kit_expect_event(k, EVENT_JOB_RESTARTED, "was begun by a person: 2 tasks");
        kit_settle(k);
        expect_job(k, "n", JOB_RUNNING, 2);
        assert_int_equal(kit_command(k, CLUSTER_RESTART, "n"), 0);
        kit_settle(k);
        assert_int_equal(runs_of(k, "n.1"), 2);
        kit_end_all(k, "n", 0);
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
        struct kit *k = kit_with_plain_nodes(1);

        (void) state;
        apply(k, "n", NIGHTLY);
        assert_int_equal(kit_command(k, CLUSTER_RESTART, "n"), 0);
        kit_settle(k);
        kit_end_all(k, "n", 0);
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
        struct kit *k = kit_with_plain_nodes(1);

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
        struct kit *k = kit_with_plain_nodes(1);
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
        kit_tick(k);
        kit_expect_event(k, EVENT_JOB_FIRED, "slot 2023-11-15 03:00 UTC");
        kit_settle(k);
        kit_end_all(k, "n", 0);
        assert_true(cluster_next_deadline(k->c) % USEC_DAY != due % USEC_DAY);
        kit_free(k);
}

static void cron_follows_a_time_zone(void **state)
{
        struct kit *k = kit_with_plain_nodes(1);
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
        kit_tick(k);
        kit_expect_event(k, EVENT_JOB_FIRED, "slot 2023-11-15 03:00 Europe/Paris begins");
        kit_free(k);
}

static void cron_and_a_clock_that_is_set(void **state)
{
        struct kit *k = kit_with_plain_nodes(1);

        (void) state;
        apply_cron(k, "\"cron\": \"0 * * * *\"");
        kit_pass(k, USEC_HOUR);
        kit_end_all(k, "n", 0);
        /* a little back: the slot has been */
        k->now -= USEC_HOUR;
        assert_int_equal(kit_handle(k, &(struct cluster_event){ .type = CLUSTER_TICK }), 0);
        kit_pass(k, USEC_HOUR);
        assert_int_equal(runs_of(k, "n.0"), 1);
        kit_pass(k, USEC_HOUR);
        assert_int_equal(runs_of(k, "n.0"), 2);
        kit_end_all(k, "n", 0);
        /* far back: it was wrong before */
        k->now -= 100 * USEC_DAY;
        assert_int_equal(kit_handle(k, &(struct cluster_event){ .type = CLUSTER_TICK }), 0);
        kit_pass(k, USEC_HOUR);
        assert_int_equal(runs_of(k, "n.0"), 3);
        kit_free(k);
}

static void a_service_becomes_cron_and_back(void **state)
{
        struct kit *k = kit_with_plain_nodes(1);

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

        return cmocka_run_group_tests_name("schedule", tests, NULL, NULL);
}
