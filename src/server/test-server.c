/* SPDX-License-Identifier: BSD-3-Clause */
/* The pure parts: the route table and its page, who is let in, how log lines are cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "server/api.h"
#include "server/auth.h"
#include "server/log-lines.h"
#include "server/log-merge.h"

static const char *page_path, *metrics_path;

/* ---- Routes */

static void test_routes_match(void **state)
{
        static const struct {
                const char *method, *path, *pattern, *name, *allow;
        } cases[] = {
                { "GET", "/v1/jobs", "/v1/jobs", "", "" },
                { "GET", "/v1/jobs/web", "/v1/jobs/NAME", "web", "" },
                { "DELETE", "/v1/jobs/web", "/v1/jobs/NAME", "web", "" },
                { "POST", "/v1/jobs/stop/stop", "/v1/jobs/NAME/stop", "stop", "" },
                { "GET", "/v1/tasks/web.0/logs", "/v1/tasks/ID/logs", "web.0", "" },
                { "PUT", "/v1/jobs/web", NULL, "", "GET, DELETE" },
                { "GET", "/v1/jobs/web/stop", NULL, "", "POST" },
                { "GET", "/v1/jobs/", NULL, "", "" },
                { "GET", "/v1/jobs/web/", NULL, "", "" },
                { "GET", "/v1/jobs//logs", NULL, "", "" },
                { "GET", "/v1/job", NULL, "", "" },
                { "GET", "/v1/jobsx", NULL, "", "" },
                { "GET", "/", NULL, "", "" },
                { "GET", "*", NULL, "", "" },
                { "GET", "/v1/jobs/a-name-that-is-longer-than-the-room-for-it", NULL, "", "" },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                char name[32], allow[64];
                const struct route *r =
                        api_match(cases[i].method, cases[i].path, name, sizeof name, allow);

                if (cases[i].pattern == NULL) {
                        assert_null(r);
                        assert_string_equal(allow, cases[i].allow);
                        continue;
                }
                assert_non_null(r);
                assert_string_equal(r->pattern, cases[i].pattern);
                assert_string_equal(r->method, cases[i].method);
                assert_string_equal(name, cases[i].name);
        }
}

static void test_routes_page(void **state)
{
        AUTO(buffer_done) struct buffer page = { 0 }, table = { 0 };
        struct error err;

        (void) state;
        assert_int_equal(file_read(page_path, 1 << 20, &page, &err), 0);
        api_reference(&table);
        if (strstr(buffer_str(&page), buffer_str(&table)) == NULL)
                fail_msg("%s is not what the routes say; `test-server --table` prints it",
                        page_path);
}

static void test_metrics_page(void **state)
{
        AUTO(buffer_done) struct buffer page = { 0 }, table = { 0 };
        struct error err;

        (void) state;
        assert_int_equal(file_read(metrics_path, 1 << 20, &page, &err), 0);
        api_metrics_reference(&table);
        assert_string_equal(buffer_str(&page), buffer_str(&table));
}

/* ---- Auth */

static void test_auth_token(void **state)
{
        char dir[] = "/tmp/reeve-test-auth-XXXXXX", wrong[AUTH_TOKEN_LEN + 1];
        AUTO(buffer_done) struct buffer text = { 0 };
        struct auth *a, *again;
        struct error err;
        struct stat st;

        (void) state;
        assert_non_null(mkdtemp(dir));
        AUTO(mem_freep) char *path = mem_printf("%s/token", dir);
        assert_int_equal(auth_new(dir, &a, &err), 0);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        assert_int_equal(file_read(path, 4096, &text, &err), 0);
        assert_int_equal(text.len, AUTH_TOKEN_LEN + 1);
        text.data[AUTH_TOKEN_LEN] = '\0';

        assert_true(auth_token_is_right(a, text.data));
        assert_false(auth_token_is_right(a, NULL));
        assert_false(auth_token_is_right(a, ""));
        for (size_t i = 0; i < AUTH_TOKEN_LEN; i++) {
                memcpy(wrong, text.data, sizeof wrong);
                wrong[i] = wrong[i] == '0' ? '1' : '0';
                assert_false(auth_token_is_right(a, wrong));
                wrong[i] = '\0';
                assert_false(auth_token_is_right(a, wrong));
        }
        assert_int_equal(auth_new(dir, &again, &err), 0); /* the same one */
        assert_true(auth_token_is_right(again, text.data));
        auth_free(a);
        auth_free(again);

        assert_int_equal(file_replace(path, "short\n", 6, 0600, false, &err), 0);
        assert_int_equal(auth_new(dir, &a, &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
        assert_int_equal(file_remove_tree(dir, &err), 0);
}

static void test_auth_host(void **state)
{
        static const char *const good[] = { "localhost", "LocalHost:7433", "127.0.0.1",
                "127.0.0.1:1", "[::1]", "[::1]:65535" };
        static const char *const bad[] = { "", "localhost.", "localhost.evil.example",
                "127.0.0.1.evil.example", "evil.example", "localhost:", "localhost:x",
                "localhost:0", "localhost:65536", "localhost:7433:1", "10.0.0.1", "::1",
                " localhost" };

        (void) state;
        assert_false(auth_host_is_local(NULL));
        for (size_t i = 0; i < ARRAY_SIZE(good); i++)
                assert_true(auth_host_is_local(good[i]));
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_false(auth_host_is_local(bad[i]));
}

/* ---- Log lines */

static const struct log_origin nowhere;

static void put(struct log_lines *l, uint64_t offset, const char *text, struct buffer *out)
{
        log_lines_put(l, offset, nowhere, text, strlen(text), out);
}

static void test_lines_text(void **state)
{
        struct log_lines l = { .task = "web.0", .stream = "stdout", .prefix = true };
        AUTO(buffer_done) struct buffer out = { 0 };

        (void) state;
        put(&l, 0, "one\ntw", &out);
        assert_string_equal(buffer_str(&out), "web.0 | one\n");
        put(&l, 6, "o", &out);
        put(&l, 7, "\n\nthree", &out);
        assert_string_equal(buffer_str(&out), "web.0 | one\nweb.0 | two\nweb.0 | \n");
        log_lines_finish(&l, &out);
        assert_string_equal(
                buffer_str(&out), "web.0 | one\nweb.0 | two\nweb.0 | \nweb.0 | three\n");
        log_lines_finish(&l, &out);
}

static void test_lines_json(void **state)
{
        struct log_lines l = { .task = "web.0", .stream = "stderr", .json = true };
        AUTO(buffer_done) struct buffer out = { 0 };

        (void) state;
        log_lines_put(&l, 10, nowhere, "a\"\0b\n\nc", 7, &out);
        assert_string_equal(buffer_str(&out),
                "{\"task\":\"web.0\",\"stream\":\"stderr\",\"offset\":10,\"text\":"
                "\"a\\\"\\u0000b\"}\n"
                "{\"task\":\"web.0\",\"stream\":\"stderr\",\"offset\":15,\"text\":\"\"}\n");
        buffer_reset(&out);
        log_lines_gap(&l, 100, LOG_GAP_UNKNOWN, 0, &out);
        put(&l, 100, "d\n", &out);
        assert_string_equal(buffer_str(&out),
                "{\"task\":\"web.0\",\"stream\":\"stderr\",\"offset\":16,\"text\":\"c\"}\n"
                "{\"task\":\"web.0\",\"stream\":\"stderr\",\"offset\":100,\"gap\":true}\n"
                "{\"task\":\"web.0\",\"stream\":\"stderr\",\"offset\":100,\"text\":\"d\"}\n");
        log_lines_finish(&l, &out);
}

static void test_lines_origin(void **state)
{
        const struct log_origin first = { 1000 * USEC_MSEC, 7 }, second = { 2500 * USEC_MSEC, 8 };
        struct log_lines t = {
                .task = "web.0", .stream = "stderr", .prefix = true, .timestamps = true
        };
        struct log_lines j = { .task = "web.0", .stream = "stderr", .json = true };
        AUTO(buffer_done) struct buffer out = { 0 };

        (void) state;
        log_lines_put(&t, 0, first, "on", 2, &out); /* the line is of its first byte */
        log_lines_put(&t, 2, second, "e\ntwo\n", 6, &out);
        log_lines_gap(&t, 10, LOG_GAP_ROTATED, 2, &out);
        log_lines_gap(&t, 10, LOG_GAP_DROPPED, 99, &out);
        log_lines_problem(&t, "why", &out);
        assert_string_equal(buffer_str(&out),
                "web.0 | 1970-01-01T00:00:01.000Z one\n"
                "web.0 | 1970-01-01T00:00:02.500Z two\n"
                "web.0 | - [99 bytes were dropped: the disk was full]\n"
                "web.0 | - [why]\n");
        log_lines_finish(&t, &out);
        buffer_reset(&out);
        log_lines_put(&j, 0, first, "on", 2, &out);
        log_lines_put(&j, 2, second, "e\n", 2, &out);
        log_lines_gap(&j, 10, LOG_GAP_DROPPED, 99, &out);
        log_lines_gap(&j, 12, LOG_GAP_ROTATED, 2, &out);
        log_lines_problem(&j, "\"", &out);
        assert_string_equal(buffer_str(&out),
                "{\"task\":\"web.0\",\"stream\":\"stderr\",\"offset\":0,\"time\":"
                "\"1970-01-01T00:00:01.000Z\",\"run\":7,\"text\":\"one\"}\n"
                "{\"task\":\"web.0\",\"stream\":\"stderr\",\"offset\":10,\"gap\":true,\"bytes\":99,"
                "\"why\":\"dropped\"}\n"
                "{\"task\":\"web.0\",\"stream\":\"stderr\",\"offset\":12,\"gap\":true,\"bytes\":2,"
                "\"why\":\"rotated\"}\n"
                "{\"task\":\"web.0\",\"stream\":\"stderr\",\"offset\":0,\"error\":\"\\\"\"}\n");
        log_lines_finish(&j, &out);
}

/* ---- Merging */

struct merged {
        struct log_source source;
        struct log_lines lines;
};

static void say(struct merged *m, const char *task, usec_t wall, const char *text)
{
        const struct log_origin origin = { wall, 1 };

        m->lines.task = task;
        m->lines.prefix = true;
        m->lines.marks = &m->source.marks;
        log_lines_put(&m->lines, 0, origin, text, strlen(text), &m->source.text);
}

static void test_merge(void **state)
{
        struct merged a = { 0 }, b = { 0 }, c = { 0 };
        struct log_source *const sources[] = { &a.source, &b.source, &c.source };
        AUTO(buffer_done) struct buffer out = { 0 };

        (void) state;
        c.source.ended = true; /* without a line */
        say(&a, "a", 10, "10\n10 again\n");
        say(&b, "b", 10, "10\n");
        say(&b, "b", 5, "the clock was set back\n");
        say(&b, "b", 20, "20\n");
        assert_false(log_merge(sources, 3, 1000, &out)); /* a may have one that is earlier */
        assert_string_equal(buffer_str(&out), "a | 10\na | 10 again\n");
        assert_int_equal(log_source_len(&a.source), 0);
        buffer_reset(&out);
        say(&a, "a", 15, "1");
        assert_false(log_merge(sources, 3, 1000, &out)); /* no whole line */
        assert_int_equal(out.len, 0);
        say(&a, "a", 16, "5\n");
        say(&a, "a", 30, "30\n");
        assert_false(log_merge(sources, 3, 1000, &out));
        assert_string_equal(
                buffer_str(&out), "b | 10\nb | the clock was set back\na | 15\nb | 20\n");
        buffer_reset(&out);
        b.source.ended = true;
        for (int i = 0; i < 3; i++)
                say(&a, "a", 40, "40\n");
        assert_true(log_merge(sources, 3, 8, &out)); /* as many bytes, and the rest of a line */
        assert_string_equal(buffer_str(&out), "a | 30\na | 40\n");
        buffer_reset(&out);
        a.source.ended = true;
        assert_false(log_merge(sources, 3, 1000, &out));
        assert_string_equal(buffer_str(&out), "a | 40\na | 40\n");
        log_lines_finish(&a.lines, &out);
        log_lines_finish(&b.lines, &out);
        for (size_t i = 0; i < ARRAY_SIZE(sources); i++)
                log_source_done(sources[i]);
}

/* However the bytes are cut into messages, the lines are the same. */
static void test_lines_cuts(void **state)
{
        static const char text[] = "first\n\nsecond line\nx\nlast without break";
        AUTO(buffer_done) struct buffer whole = { 0 };
        struct log_lines w = { .task = "t.0", .stream = "stdout" };

        (void) state;
        put(&w, 0, text, &whole);
        log_lines_finish(&w, &whole);
        for (size_t cut = 1; cut < sizeof text; cut++) {
                struct log_lines l = { .task = "t.0", .stream = "stdout" };
                AUTO(buffer_done) struct buffer out = { 0 };

                for (size_t at = 0; at < sizeof text - 1; at += cut)
                        log_lines_put(
                                &l, at, nowhere, text + at, MIN(cut, sizeof text - 1 - at), &out);
                log_lines_finish(&l, &out);
                assert_string_equal(buffer_str(&out), buffer_str(&whole));
        }
}

static void test_lines_long(void **state)
{
        struct log_lines l = { .task = "t.0", .stream = "stdout" };
        AUTO(buffer_done) struct buffer out = { 0 };
        AUTO(mem_freep) char *text = mem_alloc(LOG_LINE_MAX);

        (void) state;
        memset(text, 'x', LOG_LINE_MAX);
        for (int i = 0; i < 4; i++)
                log_lines_put(&l, (uint64_t) i * (LOG_LINE_MAX / 2), nowhere, text,
                        LOG_LINE_MAX / 2, &out);
        assert_true(l.partial.len < LOG_LINE_MAX);
        assert_int_equal(out.len, 2 * (LOG_LINE_MAX + 1));
        log_lines_finish(&l, &out);
}

/* The break of a line that was given out in parts does not make an empty one. */
static void test_lines_cut(void **state)
{
        struct log_lines l = { .task = "t.0", .stream = "stdout" };
        AUTO(buffer_done) struct buffer out = { 0 };
        AUTO(mem_freep) char *text = mem_alloc(LOG_LINE_MAX);

        (void) state;
        memset(text, 'x', LOG_LINE_MAX);
        log_lines_put(&l, 0, nowhere, text, LOG_LINE_MAX, &out);
        put(&l, LOG_LINE_MAX, "\n\ny\n", &out);
        assert_int_equal(out.len, LOG_LINE_MAX + strlen("\n\ny\n"));
        log_lines_finish(&l, &out);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_routes_match),
                cmocka_unit_test(test_routes_page),
                cmocka_unit_test(test_metrics_page),
                cmocka_unit_test(test_auth_token),
                cmocka_unit_test(test_auth_host),
                cmocka_unit_test(test_lines_text),
                cmocka_unit_test(test_lines_json),
                cmocka_unit_test(test_lines_origin),
                cmocka_unit_test(test_merge),
                cmocka_unit_test(test_lines_cuts),
                cmocka_unit_test(test_lines_long),
                cmocka_unit_test(test_lines_cut),
        };

        if (argc > 1 && strcmp(argv[1], "--table") == 0) {
                AUTO(buffer_done) struct buffer table = { 0 };

                api_reference(&table);
                fputs(buffer_str(&table), stdout);
                return 0;
        }
        if (argc > 1 && strcmp(argv[1], "--metrics") == 0) {
                AUTO(buffer_done) struct buffer page = { 0 };

                api_metrics_reference(&page);
                fputs(buffer_str(&page), stdout);
                return 0;
        }
        page_path = argc > 1 ? argv[1] : "docs/http.md";
        metrics_path = argc > 2 ? argv[2] : "docs/metrics.md";
        return cmocka_run_group_tests_name("server", tests, NULL, NULL);
}
