/* SPDX-License-Identifier: BSD-3-Clause */
/* A store from the past: rows are kept, things change, the rows come back, and the agents know more
 * than the server. */

#include "core/test-cluster-kit.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct snapshot {
        struct kit_row *rows;
        size_t len;
};

static struct snapshot save(const struct kit *k)
{
        struct snapshot s = { .rows = mem_resize(NULL, k->rows_len, sizeof *s.rows),
                .len = k->rows_len };

        for (size_t i = 0; i < s.len; i++)
                s.rows[i] = (struct kit_row){ mem_strdup(k->rows[i].key),
                        mem_strdup(k->rows[i].value) };
        return s;
}

/* The rows become the kit's. The agents know what they know. */
static void restore(struct kit *k, struct snapshot *s)
{
        for (size_t i = 0; i < k->rows_len; i++) {
                free(k->rows[i].key);
                free(k->rows[i].value);
        }
        free(k->rows);
        k->rows = take_ptr(s->rows);
        k->rows_len = s->len;
        kit_reload(k);
        kit_connect(k, 0);
}

static const char *program_of(struct kit *k, const char *id)
{
        const struct kit_task *t = kit_task(k, id);
        char *const *last;

        assert_non_null(t);
        for (last = t->spec->command; last[1] != NULL; last++)
                ;
        return *last;
}

static void expect_past(const struct kit *k, size_t events)
{
        assert_int_equal(kit_count_events(k, EVENT_STORE), events);
        if (events > 0)
                kit_expect_event(k, EVENT_STORE, "it is from the past");
}

static void test_nothing_changed(void **state)
{
        struct kit *k = kit_with_job("web", WEB);
        struct snapshot s;

        (void) state;
        kit_apply(k, "once", ONCE);
        kit_settle(k);
        s = save(k);
        kit_exit(k, "once.0", 0); /* goes on by itself: nobody wished it */
        kit_exit(k, "web.0", 1);
        kit_settle(k);
        restore(k, &s);
        expect_past(k, 0);
        kit_settle(k);
        expect_task(k, "once.0", TASK_ENDED, 1);
        assert_int_equal(runs_of(k, "once.0"), 1);
        assert_int_equal(runs_of(k, "web.1"), 1);
        assert_int_equal(kit_job(k, "web").version, 1);
        kit_free(k);
}

static void test_newer_version(void **state)
{
        struct kit *k = kit_with_job("web", WEB);
        struct snapshot s = save(k);

        (void) state;
        kit_apply(k, "web", WEB_NEW);
        kit_settle(k);
        assert_string_equal(program_of(k, "web.2"), "new");
        restore(k, &s);
        expect_past(k, 1);
        kit_settle(k);
        expect_job(k, "web", JOB_RUNNING, 3);
        for (int i = 0; i < 3; i++) {
                const char *const ids[] = { "web.0", "web.1", "web.2" };

                expect_task(k, ids[i], TASK_RUNNING, 3);
                assert_string_equal(program_of(k, ids[i]), "web");
                assert_int_equal(runs_of(k, ids[i]), 3);
        }
        expect_same_after_reload(k);

        /* what was version 2 is now another one */
        kit_apply(k, "web", WEB_NEW);
        kit_settle(k);
        expect_task(k, "web.0", TASK_RUNNING, 4);
        assert_string_equal(program_of(k, "web.0"), "new");
        kit_free(k);
}

static void test_in_place_change(void **state)
{
        struct kit *k = kit_with_job("web", WEB);
        struct snapshot s = save(k);

        (void) state;
        kit_apply(k, "web", WEB_DELAY);
        kit_settle(k);
        restore(k, &s);
        kit_settle(k);
        expect_job(k, "web", JOB_RUNNING, 3);
        assert_int_equal(kit_task(k, "web.1")->spec->restart.delay, USEC_SEC);
        kit_free(k);
}

/* Generations are not given twice: a wish after the restore is a new one. */
static void test_restarted_since(void **state)
{
        struct kit *k = kit_with_job("web", WEB);
        struct snapshot s = save(k);
        uint64_t runs;

        (void) state;
        for (int i = 0; i < 5; i++) {
                kit_command(k, CLUSTER_RESTART, "web");
                kit_settle(k);
        }
        restore(k, &s);
        kit_settle(k);
        runs = runs_of(k, "web.0");
        kit_command(k, CLUSTER_RESTART, "web.0");
        kit_settle(k);
        assert_int_equal(runs_of(k, "web.0"), runs + 1);
        expect_job(k, "web", JOB_RUNNING, 3);
        kit_free(k);
}

static void test_stopped_since(void **state)
{
        struct kit *k = kit_with_job("web", WEB);
        struct snapshot s = save(k);

        (void) state;
        kit_command(k, CLUSTER_STOP, "web");
        kit_settle(k);
        expect_job(k, "web", JOB_STOPPED, 0);
        restore(k, &s);
        kit_settle(k);
        expect_job(k, "web", JOB_RUNNING, 3);
        kit_free(k);
}

static void test_started_since(void **state)
{
        struct kit *k = kit_with_job("web", WEB);
        struct snapshot s;

        (void) state;
        kit_command(k, CLUSTER_STOP, "web");
        kit_settle(k);
        s = save(k);
        kit_command(k, CLUSTER_RESTART, "web");
        kit_settle(k);
        expect_job(k, "web", JOB_RUNNING, 3);
        restore(k, &s);
        kit_settle(k);
        expect_job(k, "web", JOB_STOPPED, 0);
        assert_int_equal(kit_task(k, "web.0")->process.pid, 0);
        kit_command(k, CLUSTER_RESTART, "web");
        kit_settle(k);
        expect_job(k, "web", JOB_RUNNING, 3);
        kit_free(k);
}

/* Another job of the same name: its version 1 is not ours. */
static void test_namesake(void **state)
{
        struct kit *k = kit_with_job("web", WEB);
        struct snapshot s = save(k);

        (void) state;
        kit_command(k, CLUSTER_REMOVE, "web");
        kit_settle(k);
        kit_apply(k, "web", WEB_NEW);
        kit_settle(k);
        expect_task(k, "web.0", TASK_RUNNING, 1);
        restore(k, &s);
        kit_settle(k);
        expect_job(k, "web", JOB_RUNNING, 3);
        assert_string_equal(program_of(k, "web.0"), "web");
        assert_int_equal(runs_of(k, "web.0"), 2);
        kit_free(k);
}

static void test_made_and_removed_since(void **state)
{
        struct kit *k = kit_with_job("web", WEB);
        struct snapshot s = save(k);

        (void) state;
        kit_command(k, CLUSTER_REMOVE, "web");
        kit_apply(k, "other", WEB);
        kit_settle(k);
        assert_null(kit_task(k, "web.0"));
        restore(k, &s);
        expect_past(k, 0);
        kit_settle(k);
        expect_job(k, "web", JOB_RUNNING, 3);
        assert_null(kit_task(k, "other.0"));
        kit_free(k);
}

static void test_batch_done_since(void **state)
{
        struct kit *k = kit_with_job("once", ONCE);
        struct snapshot s = save(k);

        (void) state;
        kit_exit(k, "once.0", 0);
        kit_settle(k);
        kit_command(k, CLUSTER_RESTART, "once.0"); /* and a second time */
        kit_settle(k);
        kit_exit(k, "once.0", 0);
        kit_settle(k);
        restore(k, &s);
        kit_settle(k);
        expect_task(k, "once.0", TASK_ENDED, 1);
        assert_int_equal(runs_of(k, "once.0"), 2);
        kit_command(k, CLUSTER_RESTART, "once.0"); /* a third time, because somebody says so */
        kit_settle(k);
        expect_task(k, "once.0", TASK_RUNNING, 1);
        assert_int_equal(runs_of(k, "once.0"), 3);
        kit_free(k);
}

static void test_batch_runs_since(void **state)
{
        struct kit *k = kit_with_job("once", ONCE);
        struct snapshot s;

        (void) state;
        kit_exit(k, "once.0", 0);
        kit_settle(k);
        s = save(k);
        kit_command(k, CLUSTER_RESTART, "once");
        kit_settle(k);
        restore(k, &s);
        kit_settle(k);
        expect_task(k, "once.0", TASK_RUNNING, 1);
        expect_task(k, "once.1", TASK_RUNNING, 1);
        assert_int_equal(runs_of(k, "once.0"), 2);
        assert_int_equal(runs_of(k, "once.1"), 2);
        kit_exit(k, "once.0", 0);
        kit_settle(k);
        expect_task(k, "once.0", TASK_ENDED, 1);
        kit_free(k);
}

static void test_batch_stopped_since(void **state)
{
        struct kit *k = kit_with_job("once", ONCE);
        struct snapshot s = save(k);

        (void) state;
        kit_command(k, CLUSTER_STOP, "once");
        kit_settle(k);
        restore(k, &s);
        kit_settle(k);
        expect_task(k, "once.0", TASK_RUNNING, 1);
        kit_free(k);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_nothing_changed),
                cmocka_unit_test(test_newer_version),
                cmocka_unit_test(test_in_place_change),
                cmocka_unit_test(test_restarted_since),
                cmocka_unit_test(test_stopped_since),
                cmocka_unit_test(test_started_since),
                cmocka_unit_test(test_namesake),
                cmocka_unit_test(test_made_and_removed_since),
                cmocka_unit_test(test_batch_done_since),
                cmocka_unit_test(test_batch_runs_since),
                cmocka_unit_test(test_batch_stopped_since),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
