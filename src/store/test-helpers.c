/* SPDX-License-Identifier: BSD-3-Clause */
/* Helpers of the tests of the store; see test-helpers.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/file.h"
#include "base/mem.h"
#include "store/test-helpers.h"

char test_directory[64];
uv_loop_t test_loop;

int test_main(int (*run)(void))
{
        int failures;

        strcpy(test_directory, "/tmp/test-store.XXXXXX"); /* NOLINT: it fits */
        if (mkdtemp(test_directory) == NULL || uv_loop_init(&test_loop) < 0)
                return 1;
        failures = run();
        uv_loop_close(&test_loop);
        file_remove_tree(test_directory, NULL);
        return failures == 0 ? 0 : 1;
}

struct store *open_sqlite(const char *path)
{
        struct error err = ERROR_INIT;
        struct store *s;

        if (store_open_sqlite(&test_loop, path, &s, &err) < 0)
                fail_msg("%s", err.message);
        return s;
}

void make_path(char *path, size_t size)
{
        static int number;

        snprintf(path, size, "%s/%d.db", test_directory, ++number);
}

static void on_closed(void *data)
{
        *(bool *) data = true;
}

void close_and_wait(struct store *s)
{
        bool closed = false;

        store_close(s, on_closed, &closed);
        uv_run(&test_loop, UV_RUN_DEFAULT);
        assert_true(closed);
}

static struct fixture *fixture_new(void)
{
        struct fixture *f = mem_alloc(sizeof *f);

        make_path(f->path, sizeof f->path);
        return f;
}

int setup_memory(void **state)
{
        struct fixture *f = fixture_new();

        store_open_memory(&test_loop, &f->store);
        *state = f;
        return 0;
}

int setup_sqlite(void **state)
{
        struct fixture *f = fixture_new();

        f->store = open_sqlite(f->path);
        *state = f;
        return 0;
}

int teardown(void **state)
{
        struct fixture *f = *state;

        if (f->store != NULL)
                close_and_wait(f->store);
        free(f);
        return 0;
}

void on_commit(void *data, uint64_t revision, const struct error *err)
{
        struct outcome *o = data;

        o->calls++;
        o->revision = revision;
        o->code = err == NULL ? ERR_NONE : err->code;
        snprintf(o->message, sizeof o->message, "%s", err == NULL ? "" : err->message);
}

struct outcome commit(struct store *s, struct store_batch *batch)
{
        struct outcome o = { 0 };

        store_commit(s, batch, on_commit, &o);
        assert_int_equal(o.calls, 0);
        uv_run(&test_loop, UV_RUN_DEFAULT);
        assert_int_equal(o.calls, 1);
        return o;
}

void commit_well(struct store *s, struct store_batch *batch)
{
        struct outcome o = commit(s, batch);

        if (o.code != ERR_NONE)
                fail_msg("%s", o.message);
        assert_int_equal(o.revision, store_revision(s));
}

void put(struct store_batch *batch, const char *key, const char *value)
{
        store_batch_put(batch, key, value, strlen(value));
}

void put_one(struct store *s, const char *key, const char *value)
{
        struct store_batch batch = { 0 };

        put(&batch, key, value);
        commit_well(s, &batch);
}

int add_row(void *data, const char *key, const char *value, size_t len, struct error *err)
{
        struct buffer *b = data;

        (void) err;
        assert_int_equal(value[len], '\0');
        buffer_printf(b, "%s=%s;", key, value);
        return 0;
}

void assert_scan(struct store *s, const char *prefix, const char *expected)
{
        struct buffer b = { 0 };
        struct error err = ERROR_INIT;

        assert_int_equal(store_scan(s, prefix, add_row, &b, &err), 0);
        assert_string_equal(buffer_str(&b), expected);
        buffer_done(&b);
}

void assert_value(struct store *s, const char *key, const char *expected)
{
        struct buffer b = { 0 };
        struct error err = ERROR_INIT;

        if (expected == NULL) {
                assert_int_equal(store_get(s, key, &b, &err), -1);
                assert_int_equal(err.code, ERR_NOT_FOUND);
        } else {
                assert_int_equal(store_get(s, key, &b, &err), 0);
                assert_string_equal(buffer_str(&b), expected);
        }
        buffer_done(&b);
}
