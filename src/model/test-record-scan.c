/* SPDX-License-Identifier: BSD-3-Clause */
/* Records read from text without a tree are the same as those read through one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/record-scan.h"
#include "model/status.h"

static bool scan_record(
        const struct record_table *table, const char *text, void *ret, struct error *err)
{
        struct record_scan record;
        struct scan_text key;
        struct scan s;

        scan_init(&s, text, strlen(text));
        record_scan_begin(&record, table, ret);
        scan_object(&s);
        while (scan_member(&s, &key))
                record_scan_member(&record, &s, &key);
        if (scan_end(&s))
                return true;
        record_scan_fail(&record, &s, err);
        record_done(table, ret);
        return false;
}

static void assert_same(const struct record_table *table, const char *text, void *one, void *other)
{
        AUTO(buffer_done) struct buffer read = { 0 }, scanned = { 0 };
        json_t *json = json_loads(text, 0, NULL);
        struct error err;

        assert_int_equal(record_read(table, json, one, &err), 0);
        assert_true(scan_record(table, text, other, &err));
        record_write(table, one, &read);
        record_write(table, other, &scanned);
        assert_string_equal(buffer_str(&read), buffer_str(&scanned));
        record_done(table, one);
        record_done(table, other);
        json_decref(json);
}

static void both_ways_of_reading_agree(void **state)
{
        static const char whole[] =
                "{\"id\":\"web.0\",\"job\":\"web\",\"index\":0,\"version\":2,\"state\":"
                "\"running\",\"ready\":true,\"pid\":4711,\"signal\":\"KILL\",\"since\":"
                "\"2026-03-01T12:00:00.250Z\",\"log_bytes\":null}";
        static const char mixed[] =
                "{\"log_bytes\":-5, \"unknown\":[1,{\"a\":null}],\"reason\":\"a \\\"b\\\"\\n\", "
                "\"result\":\"failed\",\"id\":\"x.1\"}";
        static const char nulls[] = "{\"id\":\"web.0\",\"reason\":null,\"signal\":null,\"result\":"
                                    "null,\"since\":null}";
        static const char *const tasks[] = { "{}", whole, mixed, nulls };
        static const char *const events[] = {
                "{\"index\":7,\"time\":\"2026-03-01T13:00:00+01:00\",\"kind\":\"task-started\","
                "\"task\":\"web.0\",\"run\":1,\"message\":\"\\u00e9\"}"
        };
        static const char node[] = "{\"name\":\"n1\",\"memory\":1024,\"attributes\":"
                                   "{\"rack\":\"r1\",\"arch\":\"x86_64\"}}";
        static const char *const nodes[] = { node, "{\"attributes\":null}" };
        struct task_status task, other_task;
        struct node_status one_node, other_node;
        struct event event, other_event;

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(tasks); i++)
                assert_same(&task_table, tasks[i], &task, &other_task);
        for (size_t i = 0; i < ARRAY_SIZE(nodes); i++)
                assert_same(&node_table, nodes[i], &one_node, &other_node);
        for (size_t i = 0; i < ARRAY_SIZE(events); i++)
                assert_same(&event_table, events[i], &event, &other_event);
}

static void what_is_wrong_is_named(void **state)
{
        static const struct {
                const char *text, *message;
        } rows[] = {
                { "{\"id\":\"a\",\"index\":\"x\"}", "task.index: expected a whole number" },
                { "{\"id\":\"a\",\"state\":\"flying\"}", "task.state: expected a known word" },
                { "{\"id\":\"a\",\"since\":\"yesterday\"}",
                        "task.since: expected a time (RFC 3339)" },
                { "{\"id\":\"a\",\"signal\":\"NONE\"}",
                        "task.signal: expected the name of a signal" },
                { "{\"id\":\"a\",\"ready\":1}", "task.ready: expected true or false" },
                { "{\"id\":\"a\\u0000\"}", "task.id: expected text" },
                { "{\"id\":\"a\"", "task: expected a comma or the end at byte 9" },
                { "[]", "task: expected an object at byte 0" },
        };
        struct task_status task;
        struct error err;

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                assert_false(scan_record(&task_table, rows[i].text, &task, &err));
                assert_string_equal(err.message, rows[i].message);
        }
}

static void the_last_of_two_counts(void **state)
{
        struct task_status task;
        struct error err;

        (void) state;
        assert_true(scan_record(&task_table,
                "{\"id\":\"a\",\"id\":\"b\",\"node\":\"n\",\"node\":null}", &task, &err));
        assert_string_equal(task.id, "b");
        assert_null(task.node);
        record_done(&task_table, &task);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(both_ways_of_reading_agree),
                cmocka_unit_test(what_is_wrong_is_named),
                cmocka_unit_test(the_last_of_two_counts),
        };

        return cmocka_run_group_tests_name("record-scan", tests, NULL, NULL);
}
