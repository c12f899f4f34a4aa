/* SPDX-License-Identifier: BSD-3-Clause */
/* What `reeve top` makes of the server's answers: who is shown, in which order, with which numbers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cli/top-model.h"

static const char tasks_text[] =
        "[{\"id\": \"db.0\", \"job\": \"db\", \"state\": \"running\", \"node\": \"west\", \"pid\": "
        "7, "
        "\"runs\": 3, \"since\": \"2026-11-20T15:00:00Z\", \"reason\": \"was asked to run\"},"
        " {\"id\": \"web.0\", \"job\": \"web\", \"state\": \"queued\", \"runs\": 9, "
        "\"since\": \"2026-11-20T15:02:00Z\", \"reason\": \"no node has so much memory\"},"
        " {\"id\": \"web.1\", \"job\": \"web\", \"state\": \"running\", \"node\": \"east\", "
        "\"pid\": 8, "
        "\"runs\": 1, \"since\": \"2026-11-20T15:01:00Z\"},"
        " {\"id\": \"web.10\", \"job\": \"web\", \"state\": \"running\", \"node\": \"east\", "
        "\"pid\": 9, \"runs\": 2, \"since\": \"2026-11-20T15:03:00Z\"}]";

/* what is told of web.10 is of its first run */
static const char vitals_text[] =
        "{\"nodes\": [{\"node\": \"east\", \"cores\": 4, \"cpu\": 1500, \"memory\": 100, "
        "\"memory_total\": 400}, {\"node\": \"west\", \"cores\": 2, \"memory\": 50, "
        "\"memory_total\": 200, \"load\": 25}],"
        " \"tasks\": [{\"task\": \"web.10\", \"run\": 1, \"cpu\": 900, \"memory\": 9},"
        " {\"task\": \"web.1\", \"run\": 1, \"cpu\": 15, \"memory\": 3145728},"
        " {\"task\": \"db.0\", \"run\": 3, \"cpu\": 1234, \"memory\": 1048576}], \"silent\": []}";

static struct top_model model;

static int set_up(void **state)
{
        json_t *tasks = json_loads(tasks_text, 0, NULL), *vitals = json_loads(vitals_text, 0, NULL);
        struct error err;

        (void) state;
        assert_int_equal(top_model_set_tasks(&model, tasks, &err), 0);
        assert_int_equal(top_model_set_vitals(&model, vitals, &err), 0);
        json_decref(tasks);
        json_decref(vitals);
        top_model_arrange(&model);
        return 0;
}

static int tear_down(void **state)
{
        (void) state;
        top_model_done(&model);
        return 0;
}

static void expect(const char *ids)
{
        AUTO(buffer_done) struct buffer all = { 0 };

        top_model_arrange(&model);
        for (size_t i = 0; i < model.shown_len; i++)
                buffer_printf(&all, "%s%s", i > 0 ? " " : "", model.shown[i]->status.id);
        assert_string_equal(buffer_str(&all), ids);
}

static void test_order(void **state)
{
        static const struct {
                const char *name, *ids, *backwards;
        } cases[] = {
                { "cpu", "db.0 web.1 web.0 web.10", "web.0 web.10 web.1 db.0" },
                { "memory", "web.1 db.0 web.0 web.10", "web.0 web.10 db.0 web.1" },
                { "name", "db.0 web.0 web.1 web.10", "web.10 web.1 web.0 db.0" },
                { "age", "web.10 web.0 web.1 db.0", "db.0 web.1 web.0 web.10" },
                { "runs", "web.0 db.0 web.10 web.1", "web.1 web.10 db.0 web.0" },
                { "state", "web.0 db.0 web.1 web.10", "db.0 web.1 web.10 web.0" },
                { "node", "web.0 web.1 web.10 db.0", "db.0 web.1 web.10 web.0" },
        };

        (void) state;
        assert_int_equal(ARRAY_SIZE(cases), TOP_SORTS);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                assert_true(top_find_order(cases[i].name, &model.sort));
                model.backwards = false;
                expect(cases[i].ids);
                model.backwards = true;
                expect(cases[i].backwards);
        }
        assert_false(top_find_order("colour", &model.sort));
}

static void filter(const char *text)
{
        snprintf(model.filter, sizeof model.filter, "%s", text);
}

static void test_filter(void **state)
{
        (void) state;
        model.sort = TOP_NAME;
        filter("web");
        expect("web.0 web.1 web.10");
        filter("EAST");
        expect("web.1 web.10");
        filter("queued");
        expect("web.0");
        filter("so much");
        expect("web.0");
        assert_int_equal(top_model_place(&model, "web.0"), 0);
        assert_int_equal(top_model_place(&model, "web.1"), 1); /* not there */
        filter("nothing of it");
        expect("");
}

static void expect_cell(const char *id, enum top_column column, const char *text)
{
        AUTO(buffer_done) struct buffer cell = { 0 };
        usec_t now;

        assert_true(time_parse_wall("2026-11-20T15:03:30Z", &now));
        top_put_cell(&cell, model.shown[top_model_place(&model, id)], column, now);
        assert_string_equal(buffer_str(&cell), text);
}

static void test_cells(void **state)
{
        AUTO(buffer_done) struct buffer states = { 0 };

        (void) state;
        expect_cell("db.0", TOP_COLUMN_CPU, "123.4");
        expect_cell("web.1", TOP_COLUMN_CPU, "1.5");
        expect_cell("web.0", TOP_COLUMN_CPU, "-");
        expect_cell("web.10", TOP_COLUMN_CPU, "-");
        expect_cell("web.1", TOP_COLUMN_MEMORY, "3MiB");
        expect_cell("web.10", TOP_COLUMN_MEMORY, "-");
        expect_cell("web.10", TOP_COLUMN_AGE, "30s");
        expect_cell("web.0", TOP_COLUMN_NODE, "-");
        expect_cell("web.0", TOP_COLUMN_RUNS, "9");
        top_put_states(&states, &model);
        assert_string_equal(buffer_str(&states), "3 running, 1 queued");
}

static void test_sum(void **state)
{
        struct node_vitals sum = top_model_sum(&model);

        (void) state;
        assert_int_equal(sum.cores, 6);
        assert_int_equal(sum.cpu, 1500);
        assert_int_equal(sum.memory, 150);
        assert_int_equal(sum.memory_total, 600);
        assert_true(sum.disk == RECORD_NULL);
}

/* What is no answer changes nothing. */
static void test_rubbish(void **state)
{
        static const char *const texts[] = { "[{\"id\": 5}]", "[[]]", "[{\"id\": \"a.0\"}, 7]" };
        static const char *const vitals[] = { "{\"tasks\": [{}]}", "{\"nodes\": [1]}",
                "{\"tasks\": [{\"task\": \"a\", \"cpu\": \"much\"}]}" };
        struct error err;

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                json_t *json = json_loads(texts[i], 0, NULL);

                assert_int_equal(top_model_set_tasks(&model, json, &err), -1);
                json_decref(json);
                json = json_loads(vitals[i], 0, NULL);
                assert_int_equal(top_model_set_vitals(&model, json, &err), -1);
                json_decref(json);
        }
        model.sort = TOP_NAME;
        expect("db.0 web.0 web.1 web.10");
        expect_cell("db.0", TOP_COLUMN_CPU, "123.4");
        assert_int_equal(top_model_set_tasks(&model, NULL, &err), 0); /* an empty answer */
        expect("");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_order, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_filter, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_cells, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_sum, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_rubbish, set_up, tear_down),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
