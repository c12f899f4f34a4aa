/* SPDX-License-Identifier: BSD-3-Clause */
/* Records: out as JSON, and in again. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/file.h"
#include "base/macros.h"
#include "base/mem.h"
#include "model/status.h"

static char id[] = "web.0", job[] = "web", node[] = "n1", status[] = "well",
            reason[] = "exited with \"3\"\n\xc3\xa9 \xff\x01\\";

static const struct task_status running = {
        .id = id,
        .job = job,
        .index = 0,
        .version = 2,
        .node = node,
        .state = TASK_RUNNING,
        .ready = true,
        .healthy = true,
        .result = RESULT_NONE,
        .pid = 4711,
        .runs = 3,
        .restarts = 2,
        .exit_code = RECORD_NULL,
        .signal = SIGKILL,
        .reason = reason,
        .since = 1772366400250000,
        .next_run_at = 0,
        .started_at = 1772366400000000,
        .log_bytes = INT64_MIN + 1,
        .fence = RECORD_NULL,
        .status = status,
};

static void a_task_is_one_line_of_json(void **state)
{
        AUTO(buffer_done) struct buffer b = { 0 };

        (void) state;
        record_write(&task_table, &running, &b);
        assert_string_equal(buffer_str(&b),
                "{\"id\":\"web.0\",\"job\":\"web\",\"index\":0,\"version\":2,\"node\":\"n1\","
                "\"state\":\"running\",\"ready\":true,\"healthy\":true,\"result\":null,\"pid\":"
                "4711,\"runs\":3,"
                "\"restarts\":2,\"exit_code\":null,\"signal\":\"KILL\",\"reason\":\"exited with "
                "\\\"3\\\"\\n\xc3\xa9 \xef\xbf\xbd\\u0001\\\\\",\"since\":"
                "\"2026-03-01T12:00:00.250Z\",\"next_run_at\":null,\"started_at\":"
                "\"2026-03-01T12:00:00.000Z\",\"log_bytes\":-9223372036854775807,\"ports\":null,"
                "\"fence\":null,\"status\":\"well\"}");
}

static struct node_status make_node(void)
{
        struct node_status n = { .name = node, .heard = 1772366400250000 };

        assert_int_equal(attributes_set(&n.attributes, "rack", "a \"1\" \xc3\xa9 \\", NULL), 0);
        assert_int_equal(attributes_set(&n.attributes, "arch", "x=y", NULL), 0);
        return n;
}

static void attributes_are_an_object(void **state)
{
        static const char expected[] =
                "\"attributes\":{\"arch\":\"x=y\",\"rack\":\"a \\\"1\\\" \xc3\xa9 \\\\\"},";
        AUTO(buffer_done) struct buffer full = { 0 }, brief = { 0 }, none = { 0 };
        struct node_status n = make_node();

        (void) state;
        record_write(&node_table, &n, &full);
        record_write_short(&node_table, &n, &brief);
        assert_non_null(strstr(buffer_str(&full), expected));
        assert_non_null(strstr(buffer_str(&brief), expected));
        attributes_done(&n.attributes);
        record_write_short(&node_table, &n, &none);
        assert_null(strstr(buffer_str(&none), "attributes"));
        record_write(&node_table, &n, &none);
        assert_non_null(strstr(buffer_str(&none), "\"attributes\":{},"));
}

static void attributes_are_read(void **state)
{
        json_t *json = json_pack("{s:s,s:{s:s,s:s,s:n}}", "name", "n1", "attributes", "zone",
                "west", "arch", "arm64", "rack");
        struct node_status n = { 0 };
        struct error err = ERROR_INIT;

        (void) state;
        assert_int_equal(record_read(&node_table, json, &n, &err), 0);
        assert_int_equal(n.attributes.len, 2);
        assert_string_equal(attributes_get(&n.attributes, "zone"), "west");
        assert_int_equal(n.scheduling, -1);
        assert_true(n.cpu == RECORD_NULL);
        record_done(&node_table, &n);
        assert_int_equal(n.attributes.len, 0);
        json_decref(json);
}

static void bad_attributes_are_refused(void **state)
{
        static const char *const rows[] = {
                "{\"name\": \"a\", \"attributes\": []}",
                "{\"name\": \"a\", \"attributes\": {\"a\": 1}}",
                "{\"name\": \"a\", \"attributes\": {\"b\": \"1\", \"a b\": \"1\"}}",
                "{\"name\": \"a\", \"attributes\": {\"b\": \"1\", \"a\": \"\"}}",
                "{\"name\": \"a\", \"attributes\": {\"a\": \"1\\u0000\"}}",
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                json_t *json = json_loads(rows[i], JSON_ALLOW_NUL, NULL);
                struct node_status n = { 0 };
                struct error err = ERROR_INIT;

                assert_non_null(json);
                assert_int_equal(record_read(&node_table, json, &n, &err), -1);
                assert_string_equal(
                        err.message, "node.attributes: expected an object of names and texts");
                assert_null(n.name);
                json_decref(json);
        }
}

static void nothing_is_null(void **state)
{
        const struct event none = {
                .index = RECORD_NULL, .kind = -1, .version = RECORD_NULL, .run = RECORD_NULL
        };
        AUTO(buffer_done) struct buffer b = { 0 };

        (void) state;
        record_write(&event_table, &none, &b);
        assert_string_equal(buffer_str(&b),
                "{\"index\":null,\"time\":null,\"kind\":null,\"job\":null,\"task\":null,\"node\":"
                "null,\"version\":null,\"run\":null,\"message\":null,\"failure\":null}");
}

/* What is written, read, and written again, is the same. */
static void check_roundtrip(const struct record_table *table, const void *record, size_t size)
{
        AUTO(buffer_done) struct buffer first = { 0 }, second = { 0 };
        AUTO(mem_freep) void *again = mem_alloc(size);
        struct error err = ERROR_INIT;
        json_t *json;

        record_write(table, record, &first);
        json = json_loadb(first.data, first.len, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(json);
        assert_int_equal(json_object_size(json), table->len);
        if (record_read(table, json, again, &err) < 0)
                fail_msg("%s", err.message);
        record_write(table, again, &second);
        assert_string_equal(buffer_str(&first), buffer_str(&second));
        record_done(table, again);
        record_done(table, again);
        json_decref(json);
}

static void every_noun_survives_the_way(void **state)
{
        static char text[] = "text";
        const struct job_status js = {
                .name = text, .kind = 1, .state = JOB_DEGRADED, .since = 1000
        };
        const struct node_status ns = { .name = text, .state = NODE_LOST, .memory = INT64_MAX };
        struct node_status with_attributes = make_node();

        (void) state;
        check_roundtrip(&task_table, &running, sizeof running);
        check_roundtrip(&job_table, &js, sizeof js);
        check_roundtrip(&node_table, &ns, sizeof ns);
        check_roundtrip(&node_table, &with_attributes, sizeof with_attributes);
        attributes_done(&with_attributes.attributes);
        for (int i = -1; i < EVENT_KIND_COUNT; i++) {
                const struct event event = { .kind = i, .task = text, .index = i };

                check_roundtrip(&event_table, &event, sizeof event);
        }
        for (int i = 0; i < TASK_STATE_COUNT; i++) {
                const struct task_status task = { .state = i, .result = i % 5 };

                check_roundtrip(&task_table, &task, sizeof task);
        }
}

static void unknown_fields_are_ignored_and_missing_ones_null(void **state)
{
        json_t *json = json_pack("{s:s,s:i,s:n}", "id", "web.1", "from_the_future", 1, "node");
        struct task_status task = { 0 };
        struct error err = ERROR_INIT;

        (void) state;
        assert_int_equal(record_read(&task_table, json, &task, &err), 0);
        assert_string_equal(task.id, "web.1");
        assert_null(task.job);
        assert_null(task.node);
        assert_true(task.pid == RECORD_NULL);
        assert_int_equal(task.result, RESULT_NONE);
        assert_int_equal(task.state, -1);
        record_done(&task_table, &task);
        json_decref(json);
}

static void bad_records_are_refused(void **state)
{
        static const struct {
                const char *json, *message;
        } rows[] = {
                { "[]", "task: expected an object" },
                { "{\"id\": \"a\", \"job\": 1}", "task.job: expected text" },
                { "{\"id\": \"a\", \"reason\": \"a\\u0000b\"}", "task.reason: expected text" },
                { "{\"id\": \"a\", \"ready\": 1}", "task.ready: expected true or false" },
                { "{\"id\": \"a\", \"pid\": 1.0}", "task.pid: expected a whole number" },
                { "{\"id\": \"a\", \"since\": 5}", "task.since: expected a time (RFC 3339)" },
                { "{\"id\": \"a\", \"since\": \"now\"}", "task.since: expected a time (RFC 3339)" },
                { "{\"id\": \"a\", \"signal\": 9}", "task.signal: expected the name of a signal" },
                { "{\"id\": \"a\", \"signal\": \"X\"}",
                        "task.signal: expected the name of a signal" },
                { "{\"id\": \"a\", \"state\": \"x\"}", "task.state: expected a known word" },
                { "{\"id\": \"a\", \"state\": 0}", "task.state: expected a known word" },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                json_t *json = json_loads(rows[i].json, JSON_ALLOW_NUL, NULL);
                struct task_status task = { 0 };
                struct error err = ERROR_INIT;

                assert_non_null(json);
                assert_int_equal(record_read(&task_table, json, &task, &err), -1);
                assert_string_equal(err.message, rows[i].message);
                assert_int_equal(err.code, ERR_INVALID);
                assert_null(task.id);
                json_decref(json);
        }
}

/* Names in JSON that are promised to stay, in their order. */
static void check_names(const struct record_table *table, const char *names)
{
        for (size_t i = 0; i < table->len; i++) {
                AUTO(mem_freep) char *name = mem_printf(" %s ", table->fields[i].name);

                if (i > 0)
                        assert_true(strcmp(table->fields[i].name, table->fields[0].name) != 0);
                if (strstr(names, name) != NULL)
                        names = strstr(names, name) + strlen(name) - 1;
        }
        assert_string_equal(names, " ");
}

static void promised_names_are_there(void **state)
{
        (void) state;
        check_names(&task_table, " id job version node state ready result pid runs restarts "
                                 "exit_code signal reason since next_run_at ");
        check_names(&job_table, " name kind version count running ready state ");
        check_names(&node_table, " name state scheduling zone tasks running cores cpu memory disk "
                                 "attributes reason since heard ");
}

static const char *reference_path;

static void the_reference_page_is_current(void **state)
{
        AUTO(buffer_done) struct buffer page = { 0 }, file = { 0 };
        struct error err = ERROR_INIT;

        (void) state;
        status_reference(&page);
        if (file_read(reference_path, 1 << 20, &file, &err) < 0)
                fail_msg("%s", err.message);
        if (strcmp(buffer_str(&page), buffer_str(&file)) != 0)
                fail_msg("%s is out of date; renew it with: test-record --write-reference %s",
                        reference_path, reference_path);
}

static int write_reference(const char *path)
{
        AUTO(buffer_done) struct buffer page = { 0 };
        struct error err = ERROR_INIT;

        status_reference(&page);
        if (file_replace(path, page.data, page.len, 0644, false, &err) == 0)
                return 0;
        fprintf(stderr, "%s\n", err.message);
        return 1;
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_task_is_one_line_of_json),
                cmocka_unit_test(attributes_are_an_object),
                cmocka_unit_test(attributes_are_read),
                cmocka_unit_test(bad_attributes_are_refused),
                cmocka_unit_test(nothing_is_null),
                cmocka_unit_test(every_noun_survives_the_way),
                cmocka_unit_test(unknown_fields_are_ignored_and_missing_ones_null),
                cmocka_unit_test(bad_records_are_refused),
                cmocka_unit_test(promised_names_are_there),
                cmocka_unit_test(the_reference_page_is_current),
        };

        if (argc == 3 && strcmp(argv[1], "--write-reference") == 0)
                return write_reference(argv[2]);
        if (argc != 2) {
                fprintf(stderr, "usage: test-record docs/objects.md\n");
                return 2;
        }
        reference_path = argv[1];
        return cmocka_run_group_tests(tests, NULL, NULL);
}
