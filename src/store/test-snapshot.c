/* SPDX-License-Identifier: BSD-3-Clause */
/* The file format of snapshots: rows come back byte by byte, and whatever happens to the file is
 * noticed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "store/snapshot.h"
#include "store/test-helpers.h"

static const struct {
        const char *key, *value;
        size_t len;
} rows[] = {
        { "event/1", "{\"message\":\"a \\\"b\\\" \xc3\xa4\"}", 24 },
        { "event/2", "{\"a\":[1,2]}\n{\"b\":\",\"}\n[]", 24 },
        { "job/web", "{\"versions\":[{}]}", 17 },
        { "odd \"key\"", "{}", 2 },
        { "odd/\xff", "{}", 2 },
        { "tasks/web/0", "[1,2,3]", 7 },
        { "x/bytes", "a\0b\n", 4 },
        { "x/empty", "", 0 },
        { "x/lines", "{\n}", 3 },
        { "x/more-lines", "{}\n", 3 },
        { "x/many-lines", "{}\n\n{}", 6 },
        { "x/nearly", "{\"value\":\"}", 11 },
        { "x/no-json", "{]}", 3 },
        { "x/text", "hello", 5 },
};

static const char last_line[] = "{\"sha256\":\"";

static void make_snapshot(struct buffer *out)
{
        const struct snapshot_header header = {
                .created = 1772366400250000, .reeve = "0.1.0", .index = 4711
        };
        struct snapshot_writer *w = snapshot_writer_new();

        snapshot_put_header(w, &header, out);
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
                snapshot_put_row(w, rows[i].key, rows[i].value, rows[i].len, out);
        snapshot_put_end(w, out);
        snapshot_writer_free(w);
}

struct found {
        size_t rows, headers;
        bool refuse; /* the second row */
};

static int on_header(void *data, const struct snapshot_header *header, struct error *err)
{
        (void) err;
        ((struct found *) data)->headers++;
        assert_int_equal(header->created, 1772366400250000);
        assert_string_equal(header->reeve, "0.1.0");
        assert_int_equal(header->index, 4711);
        return 0;
}

static int on_row(void *data, const char *key, const char *value, size_t len, struct error *err)
{
        struct found *f = data;

        assert_true(f->rows < ARRAY_SIZE(rows));
        assert_string_equal(key, rows[f->rows].key);
        assert_int_equal(len, rows[f->rows].len);
        assert_memory_equal(value, rows[f->rows].value, len);
        assert_int_equal(value[len], '\0');
        return ++f->rows == 2 && f->refuse ? error_set(err, ERR_NO_SPACE, "no more") : 0;
}

/* Feeds @step bytes at a time. */
static int read_bytes(const char *data, size_t len, size_t step, struct found *f, struct error *err)
{
        const struct snapshot_handlers handlers = { on_header, on_row, f };
        struct snapshot_reader *r = snapshot_reader_new(&handlers);
        int rc = 0;

        for (size_t at = 0; rc == 0 && at < len; at += step) {
                /* exactly as long as it is, so that reading one byte too far is seen */
                size_t n = MIN(step, len - at);
                char *piece = mem_resize(NULL, n, 1);

                memcpy(piece, data + at, n);
                rc = snapshot_reader_feed(r, piece, n, err);
                free(piece);
        }
        if (rc == 0)
                rc = snapshot_reader_end(r, err);
        snapshot_reader_free(r);
        return rc;
}

static void rows_come_back_as_they_were(void **state)
{
        AUTO(buffer_done) struct buffer b = { 0 };

        (void) state;
        make_snapshot(&b);
        for (size_t step = 1; step <= b.len; step += step < 20 ? 1 : 97) {
                struct found f = { 0 };
                struct error err = ERROR_INIT;

                if (read_bytes(b.data, b.len, step, &f, &err) < 0)
                        fail_msg("%zu bytes at a time: %s", step, err.message);
                assert_int_equal(f.rows, ARRAY_SIZE(rows));
                assert_int_equal(f.headers, 1);
        }
}

/* The rows of the server are JSON: then each line is, and its tools can read it. */
static void lines_are_json(void **state)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        size_t lines = 0, bad = 0;

        (void) state;
        make_snapshot(&b);
        for (char *line = strtok(b.data, "\n"); line != NULL; line = strtok(NULL, "\n")) {
                json_t *json = json_loads(line, JSON_REJECT_DUPLICATES, NULL);

                lines++;
                if (json == NULL) { /* those that look like JSON to a writer that does not parse */
                        bad++;
                        assert_true(strstr(line, "x/n") != NULL);
                }
                json_decref(json);
        }
        assert_int_equal(lines, ARRAY_SIZE(rows) + 2);
        assert_int_equal(bad, 2);
}

static void what_is_cut_off_is_refused(void **state)
{
        AUTO(buffer_done) struct buffer b = { 0 };

        (void) state;
        make_snapshot(&b);
        for (size_t len = 0; len < b.len; len++) {
                struct found f = { 0 };
                struct error err = ERROR_INIT;

                assert_int_equal(read_bytes(b.data, len, b.len, &f, &err), -1);
                assert_int_equal(err.code, ERR_INVALID);
                if (strstr(err.message, "cut off after") == NULL &&
                        strstr(err.message, "is empty") == NULL)
                        fail_msg("%zu bytes: %s", len, err.message);
        }
}

static void every_changed_bit_is_noticed(void **state)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        size_t end;

        (void) state;
        make_snapshot(&b);
        end = (size_t) (strstr(memmem(b.data, b.len, last_line, strlen(last_line)), "\",") -
                        b.data);
        for (size_t i = 0; i < end; i++)
                for (int bit = 1; bit < 256; bit <<= 1) {
                        const struct snapshot_handlers none = { 0 };
                        struct snapshot_reader *r = snapshot_reader_new(&none);
                        struct error err = ERROR_INIT;

                        b.data[i] = (char) (b.data[i] ^ bit);
                        if (snapshot_reader_feed(r, b.data, b.len, &err) == 0 &&
                                snapshot_reader_end(r, &err) == 0)
                                fail_msg("byte %zu, bit %d", i, bit);
                        assert_int_equal(err.code, ERR_INVALID);
                        snapshot_reader_free(r);
                        b.data[i] = (char) (b.data[i] ^ bit);
                }
}

static void expect_refused(const char *text, const char *message)
{
        const struct snapshot_handlers none = { 0 };
        struct snapshot_reader *r = snapshot_reader_new(&none);
        struct error err = ERROR_INIT;

        if (snapshot_reader_feed(r, text, strlen(text), &err) == 0)
                assert_int_equal(snapshot_reader_end(r, &err), -1);
        snapshot_reader_free(r);
        if (strstr(err.message, message) == NULL)
                fail_msg("%s: %s", text, err.message);
}

static void what_is_wrong_is_told(void **state)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        struct snapshot_writer *w = snapshot_writer_new();
        struct error why = ERROR_INIT;

        (void) state;
        expect_refused("", "this is no snapshot of Reeve: it is empty");
        expect_refused("SQLite format 3", "this is no snapshot of Reeve");
        expect_refused("{\"jobs\":{}}\n", "this is no snapshot of Reeve");
        expect_refused("{\"reeve-snapshot\":2,\"more\":1}\n", "written by a newer Reeve (snapshot "
                                                              "version 2; this one knows 1)");
        expect_refused("{\"reeve-snapshot\":1}\n", "damaged: its first line makes no sense");
        make_snapshot(&b);
        buffer_puts(&b, "\n");
        expect_refused(b.data, "damaged: it goes on behind its end");
        buffer_reset(&b);
        snapshot_put_header(w, &(struct snapshot_header){ .reeve = "x" }, &b);
        error_set(&why, ERR_SYSTEM, "read store: disk on fire");
        snapshot_put_failure(w, &why, &b);
        snapshot_writer_free(w);
        expect_refused(b.data, "cut off: the server could not finish it: read store: disk on fire");
}

/* Lines that a checksum would refuse, but that a reader meets before. */
static void rows_without_sense_do_no_harm(void **state)
{
        static const char *const lines[] = { "{\"key\":\"", "{\"key\":\"a", "{\"key\":\"a\"}",
                "{\"key\":\"a\",\"value\":", "{\"key\":\"a\",\"lines\":[}",
                "{\"key\":\"a\",\"lines\":]}", "{\"key\":\"a\",\"lines\":[",
                "{\"key\":\"\",\"value\":1}", "{\"key64\":\"", "{\"key64\":\"\"}",
                "{\"key64\":\"YQ==\",\"value64\":\"\"", "{\"key64\":\"Y\",\"value64\":\"\"}",
                "{\"key64\":\"YQ==\",\"value64\":\"====\"}",
                "{\"key64\":\"AAAA\",\"value64\":\"\"}", "", "{}", "x" };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
                AUTO(buffer_done) struct buffer b = { 0 };
                struct snapshot_writer *w = snapshot_writer_new();
                struct found f = { 0 };
                struct error err = ERROR_INIT;

                snapshot_put_header(w,
                        &(struct snapshot_header){
                                .created = 1772366400250000, .reeve = "0.1.0", .index = 4711 },
                        &b);
                snapshot_writer_free(w);
                buffer_printf(&b, "%s\n", lines[i]);
                assert_int_equal(read_bytes(b.data, b.len, b.len, &f, &err), -1);
                assert_string_equal(err.message, "damaged: line 2 makes no sense");
                assert_int_equal(f.rows, 0);
        }
}

static void files_are_checked_before_they_are_used(void **state)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        struct found f = { .refuse = true };
        const struct snapshot_handlers handlers = { on_header, on_row, &f };
        struct error err = ERROR_INIT;
        char path[128];

        (void) state;
        make_path(path, sizeof path);
        assert_int_equal(snapshot_read_file(path, &handlers, &err), -1);
        assert_int_equal(err.code, ERR_NOT_FOUND);

        make_snapshot(&b);
        assert_int_equal(file_replace(path, b.data, b.len, 0600, false, &err), 0);
        assert_int_equal(snapshot_read_file(path, &handlers, &err), -1);
        assert_int_equal(err.code, ERR_NO_SPACE); /* what a handler says */
        f = (struct found){ 0 };
        assert_int_equal(snapshot_read_file(path, &handlers, &err), 0);
        assert_int_equal(f.rows, ARRAY_SIZE(rows));

        f = (struct found){ 0 };
        b.data[b.len / 2] ^= 1;
        assert_int_equal(file_replace(path, b.data, b.len, 0600, false, &err), 0);
        assert_int_equal(snapshot_read_file(path, &handlers, &err), -1);
        assert_non_null(strstr(err.message, path));
        assert_int_equal(f.headers + f.rows, 0);
}

static int run_all(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(rows_come_back_as_they_were),
                cmocka_unit_test(lines_are_json),
                cmocka_unit_test(what_is_cut_off_is_refused),
                cmocka_unit_test(every_changed_bit_is_noticed),
                cmocka_unit_test(what_is_wrong_is_told),
                cmocka_unit_test(rows_without_sense_do_no_harm),
                cmocka_unit_test(files_are_checked_before_they_are_used),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
        return test_main(run_all);
}
