/* SPDX-License-Identifier: BSD-3-Clause */
/* One table of tests for every backend, then what only the queue can show, with a backend that the
 * test holds by the hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/mem.h"
#include "store/backend.h"
#include "store/store.h"
#include "store/test-helpers.h"

/* --- every backend ------------------------------------------------------------------------- */

static void new_store_is_empty(void **state)
{
        struct fixture *f = *state;

        assert_int_equal(store_revision(f->store), 0);
        assert_scan(f->store, "", "");
        assert_value(f->store, "a", NULL);
}

static void batch_is_applied_in_its_order(void **state)
{
        struct fixture *f = *state;
        struct store_batch batch = { 0 };

        put(&batch, "job/web", "1");
        put(&batch, "job/db", "1");
        store_batch_delete(&batch, "job/web");
        put(&batch, "job/db", "2");
        put(&batch, "job/web", "3");
        put(&batch, "job/gone", "x");
        store_batch_delete(&batch, "job/gone");
        store_batch_delete(&batch, "job/never");
        commit_well(f->store, &batch);
        assert_int_equal(batch.ops.len, 0); /* taken */
        assert_scan(f->store, "", "job/db=2;job/web=3;");
        assert_int_equal(store_revision(f->store), 1);
}

static void values_are_bytes(void **state)
{
        static const char zeros[] = "a\0b\0";
        struct fixture *f = *state;
        struct store_batch batch = { 0 };
        struct buffer b = { 0 };

        store_batch_put(&batch, "zeros", zeros, sizeof zeros);
        store_batch_put(&batch, "empty", NULL, 0);
        commit_well(f->store, &batch);
        assert_int_equal(store_get(f->store, "zeros", &b, NULL), 0);
        assert_int_equal(b.len, sizeof zeros);
        assert_memory_equal(b.data, zeros, sizeof zeros);
        buffer_done(&b);
        assert_value(f->store, "empty", "");
        assert_scan(f->store, "e", "empty=;");
}

static void large_values_come_back(void **state)
{
        struct fixture *f = *state;
        struct store_batch batch = { 0 };
        struct buffer value = { 0 }, back = { 0 };

        for (int i = 0; i < 100000; i++)
                buffer_printf(&value, "%d,", i);
        store_batch_put(&batch, "large", value.data, value.len);
        commit_well(f->store, &batch);
        assert_int_equal(store_get(f->store, "large", &back, NULL), 0);
        assert_int_equal(back.len, value.len);
        assert_memory_equal(back.data, value.data, value.len);
        buffer_done(&value);
        buffer_done(&back);
}

static void empty_batch_counts(void **state)
{
        struct fixture *f = *state;
        struct store_batch batch = { 0 };

        commit_well(f->store, &batch);
        assert_int_equal(store_revision(f->store), 1);
}

static void keys_are_ordered_by_unsigned_bytes(void **state)
{
        struct fixture *f = *state;
        struct store_batch batch = { 0 };

        put(&batch, "b", "");
        put(&batch, "a\xff", "");
        put(&batch, "\xff", "");
        put(&batch, "a\x7f", "");
        put(&batch, "a\x80", "");
        put(&batch, "a", "");
        put(&batch, "B", "");
        put(&batch, "a\x01", "");
        commit_well(f->store, &batch);
        assert_scan(f->store, "", "B=;a=;a\x01=;a\x7f=;a\x80=;a\xff=;b=;\xff=;");
}

static void prefixes_have_sharp_edges(void **state)
{
        static const struct {
                const char *prefix, *expected;
        } cases[] = {
                { "job/", "job/=1;job/a=2;job/\xff=3;job/\xff\xff=4;" },
                { "job", "job=0;job/=1;job/a=2;job/\xff=3;job/\xff\xff=4;job0=5;" },
                { "job/\xff", "job/\xff=3;job/\xff\xff=4;" },
                { "job/\xff\xff", "job/\xff\xff=4;" },
                { "job/\xff\xff\xff", "" },
                { "\xff", "\xff=6;\xff\xff=7;" },
                { "\xff\xff", "\xff\xff=7;" },
                { "a", "" },
                { "z", "" },
        };
        struct fixture *f = *state;
        struct store_batch batch = { 0 };

        put(&batch, "job", "0");
        put(&batch, "job/", "1");
        put(&batch, "job/a", "2");
        put(&batch, "job/\xff", "3");
        put(&batch, "job/\xff\xff", "4");
        put(&batch, "job0", "5");
        put(&batch, "\xff", "6");
        put(&batch, "\xff\xff", "7");
        commit_well(f->store, &batch);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
                assert_scan(f->store, cases[i].prefix, cases[i].expected);
}

static void ranges_are_read_both_ways(void **state)
{
        static const struct {
                const char *first, *last;
                bool reverse;
                size_t limit;
                const char *expected;
        } cases[] = {
                { NULL, NULL, false, 0, "a=1;b=1;c=1;d=1;" },
                { NULL, NULL, true, 0, "d=1;c=1;b=1;a=1;" },
                { "b", "d", false, 0, "b=1;c=1;" },
                { "b", "d", true, 0, "c=1;b=1;" },
                { "b", NULL, false, 2, "b=1;c=1;" },
                { "b", NULL, true, 2, "d=1;c=1;" },
                { NULL, "c", true, 1, "b=1;" },
                { "b", "b", false, 0, "" },
                { "c", "b", false, 0, "" },
                { "c", "b", true, 0, "" },
                { "aa", "cc", true, 9, "c=1;b=1;" },
                { "e", NULL, true, 0, "" },
        };
        struct fixture *f = *state;
        struct store_batch batch = { 0 };

        put(&batch, "a", "1");
        put(&batch, "b", "1");
        put(&batch, "c", "1");
        put(&batch, "d", "1");
        commit_well(f->store, &batch);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct buffer b = { 0 };

                assert_int_equal(store_scan_range(f->store, cases[i].first, cases[i].last,
                                         cases[i].reverse, cases[i].limit, add_row, &b, NULL),
                        0);
                assert_string_equal(buffer_str(&b), cases[i].expected);
                buffer_done(&b);
        }
}

static void ranges_are_deleted(void **state)
{
        struct fixture *f = *state;
        struct store_batch batch = { 0 };

        for (int i = 0; i < 10; i++) {
                char key[] = { 'a', '/', (char) ('0' + i), '\0' };

                put(&batch, key, "1");
        }
        put(&batch, "b/1", "1");
        put(&batch, "c/1", "1");
        commit_well(f->store, &batch);
        store_batch_delete_range(&batch, "a/3", "a/9");
        store_batch_delete_range(&batch, "b/", "b0");
        commit_well(f->store, &batch);
        assert_scan(f->store, "", "a/0=1;a/1=1;a/2=1;a/9=1;c/1=1;");
        store_batch_delete_range(&batch, "a/2", "a/2"); /* empty */
        store_batch_delete_range(&batch, "a/9", "a/1"); /* the wrong way round */
        store_batch_delete_range(&batch, "a/9", NULL);
        commit_well(f->store, &batch);
        assert_scan(f->store, "", "a/0=1;a/1=1;a/2=1;");
        store_batch_delete_range(&batch, NULL, NULL);
        commit_well(f->store, &batch);
        assert_scan(f->store, "", "");
}

static int stop_at_b(void *data, const char *key, const char *value, size_t len, struct error *err)
{
        add_row(data, key, value, len, err);
        return strcmp(key, "b") == 0;
}

static int fail_at_b(void *data, const char *key, const char *value, size_t len, struct error *err)
{
        add_row(data, key, value, len, err);
        return strcmp(key, "b") == 0 ? error_set(err, ERR_INVALID, "b is bad") : 0;
}

static void row_callback_decides(void **state)
{
        struct fixture *f = *state;
        struct store_batch batch = { 0 };
        struct buffer b = { 0 };
        struct error err = ERROR_INIT;

        put(&batch, "a", "1");
        put(&batch, "b", "2");
        put(&batch, "c", "3");
        commit_well(f->store, &batch);
        assert_int_equal(store_scan(f->store, "", stop_at_b, &b, &err), 0);
        assert_string_equal(buffer_str(&b), "a=1;b=2;");
        buffer_reset(&b);
        assert_int_equal(store_scan(f->store, "", fail_at_b, &b, &err), -1);
        assert_string_equal(buffer_str(&b), "a=1;b=2;");
        assert_string_equal(err.message, "b is bad");
        buffer_done(&b);
}

struct nested {
        struct store *store;
        struct buffer text;
};

static int row_with_get(
        void *data, const char *key, const char *value, size_t len, struct error *err)
{
        struct nested *n = data;

        (void) value;
        (void) len;
        buffer_printf(&n->text, "%s:", key);
        return store_get(n->store, "a", &n->text, err);
}

static void row_callback_may_get(void **state)
{
        struct fixture *f = *state;
        struct nested n = { .store = f->store };
        struct store_batch batch = { 0 };

        put(&batch, "a", "x");
        put(&batch, "b", "y");
        commit_well(f->store, &batch);
        assert_int_equal(store_scan(f->store, "", row_with_get, &n, NULL), 0);
        assert_string_equal(buffer_str(&n.text), "a:xb:x");
        buffer_done(&n.text);
}

struct sequence {
        struct store *store;
        uint64_t last;
        int again; /* batches that the callback still hands in itself */
};

static void on_commit_in_order(void *data, uint64_t revision, const struct error *err)
{
        struct sequence *o = data;
        struct store_batch batch = { 0 };

        assert_null(err);
        assert_int_equal(revision, o->last + 1);
        assert_int_equal(store_revision(o->store), revision);
        o->last = revision;
        if (o->again-- > 0)
                store_commit(o->store, &batch, on_commit_in_order, o);
}

static void reports_come_in_order(void **state)
{
        struct fixture *f = *state;
        struct sequence o = { .store = f->store };

        for (int i = 0; i < 500; i++) {
                struct store_batch batch = { 0 };
                char key[16];

                snprintf(key, sizeof key, "%d", i % 7);
                put(&batch, key, key);
                store_commit(f->store, &batch, on_commit_in_order, &o);
                if (i % 50 == 0)
                        uv_run(&test_loop, UV_RUN_NOWAIT);
        }
        uv_run(&test_loop, UV_RUN_DEFAULT);
        assert_int_equal(o.last, 500);
}

static void callbacks_may_commit(void **state)
{
        struct fixture *f = *state;
        struct sequence o = { .store = f->store, .again = 20 };
        struct store_batch batch = { 0 };

        store_commit(f->store, &batch, on_commit_in_order, &o);
        uv_run(&test_loop, UV_RUN_DEFAULT);
        assert_int_equal(o.last, 21);
}

static void close_waits_for_commits(void **state)
{
        struct fixture *f = *state;
        struct outcome o[3] = { 0 };

        for (size_t i = 0; i < ARRAY_SIZE(o); i++) {
                struct store_batch batch = { 0 };

                put(&batch, "a", "1");
                store_commit(f->store, &batch, on_commit, &o[i]);
        }
        close_and_wait(take_ptr(f->store));
        for (size_t i = 0; i < ARRAY_SIZE(o); i++) {
                assert_int_equal(o[i].calls, 1);
                assert_int_equal(o[i].revision, i + 1);
        }
}

static void on_commit_close(void *data, uint64_t revision, const struct error *err)
{
        struct fixture *f = data;

        (void) revision;
        assert_null(err);
        store_close(take_ptr(f->store), NULL, NULL);
}

static void callbacks_may_close(void **state)
{
        struct fixture *f = *state;
        struct store_batch batch = { 0 };
        struct outcome o = { 0 };

        store_commit(f->store, &batch, on_commit_close, f);
        store_commit(f->store, &batch, on_commit, &o);
        uv_run(&test_loop, UV_RUN_DEFAULT);
        assert_null(f->store);
        assert_int_equal(o.revision, 2);
}

struct pair {
        int rows;
        char value[16];
};

static int count_pair(void *data, const char *key, const char *value, size_t len, struct error *err)
{
        struct pair *seen = data;

        (void) key;
        (void) len;
        (void) err;
        if (seen->rows++ > 0)
                assert_string_equal(seen->value, value);
        snprintf(seen->value, sizeof seen->value, "%s", value);
        return 0;
}

/* A batch writes the same value to ten keys: whoever reads sees ten equal ones, at any time. */
static void reads_see_whole_batches(void **state)
{
        struct fixture *f = *state;
        struct outcome o = { 0 };
        int reads = 0;

        for (int n = 0; n < 50; n++) {
                struct store_batch batch = { 0 };

                for (int i = 0; i < 10; i++) {
                        char key[8], value[16];

                        snprintf(key, sizeof key, "k%d", i);
                        snprintf(value, sizeof value, "%d", n);
                        put(&batch, key, value);
                }
                store_commit(f->store, &batch, on_commit, &o);
                while (o.calls <= n) {
                        struct pair seen = { 0 };

                        assert_int_equal(store_scan(f->store, "k", count_pair, &seen, NULL), 0);
                        assert_true(seen.rows == 10 || (seen.rows == 0 && n == 0));
                        reads++;
                        uv_run(&test_loop, UV_RUN_NOWAIT);
                }
        }
        assert_true(reads >= 50);
}

/* --- the queue, with a backend that the test holds by the hand ------------------------------ */

struct fake {
        uv_sem_t go; /* one for each commit that may pass */
        size_t counts[8];
        uint64_t revisions[8];
        int commits, fail, tidied;
        bool wants_tidy, closed;
};

static int fake_commit(void *self, const struct store_batch *const *batches, size_t count,
        uint64_t revision, struct error *err)
{
        struct fake *f = self;
        int n = f->commits++;

        (void) batches;
        uv_sem_wait(&f->go);
        f->counts[n] = count;
        f->revisions[n] = revision;
        return n == f->fail ? error_set(err, ERR_NO_SPACE, "full") : 0;
}

static bool fake_needs_tidy(const void *self)
{
        return ((const struct fake *) self)->wants_tidy;
}

static void fake_tidy(void *self)
{
        struct fake *f = self;

        f->tidied++;
        f->wants_tidy = false;
}

static void fake_close(void *self)
{
        struct fake *f = self;

        f->closed = true;
        uv_sem_destroy(&f->go);
}

static const struct store_backend fake_backend = {
        .commit = fake_commit,
        .needs_tidy = fake_needs_tidy,
        .tidy = fake_tidy,
        .close = fake_close,
};

static void commit_some(struct store *s, size_t count, struct outcome *o)
{
        for (size_t i = 0; i < count; i++) {
                struct store_batch batch = { 0 };

                store_commit(s, &batch, on_commit, &o[i]);
        }
}

static void pass(struct fake *f, int commits)
{
        for (int i = 0; i < commits; i++)
                uv_sem_post(&f->go);
}

static void waiting_batches_share_a_commit(void **state)
{
        struct fake f = { .fail = -1 };
        struct store *s = store_new(&test_loop, &fake_backend, &f, 100);
        struct outcome o[10] = { 0 };

        (void) state;
        uv_sem_init(&f.go, 0);
        commit_some(s, 10, o);
        pass(&f, 2);
        uv_run(&test_loop, UV_RUN_DEFAULT);
        assert_int_equal(f.commits, 2);
        assert_int_equal(f.counts[0], 1);
        assert_int_equal(f.revisions[0], 101);
        assert_int_equal(f.counts[1], 9);
        assert_int_equal(f.revisions[1], 110);
        assert_int_equal(o[9].revision, 110);
        assert_int_equal(store_revision(s), 110);
        close_and_wait(s);
        assert_true(f.closed);
}

static void failure_hits_exactly_its_group(void **state)
{
        struct fake f = { .fail = 1 };
        struct store *s = store_new(&test_loop, &fake_backend, &f, 0);
        struct outcome o[6] = { 0 };

        (void) state;
        uv_sem_init(&f.go, 0);
        commit_some(s, 3, o); /* alone; two together, which fail */
        pass(&f, 1);
        while (o[0].calls == 0)
                uv_run(&test_loop, UV_RUN_ONCE);
        commit_some(s, 3, o + 3); /* behind them */
        pass(&f, 2);
        uv_run(&test_loop, UV_RUN_DEFAULT);
        assert_int_equal(o[0].revision, 1);
        for (int i = 1; i < 3; i++) {
                assert_int_equal(o[i].code, ERR_NO_SPACE);
                assert_string_equal(o[i].message, "full");
                assert_int_equal(o[i].revision, 0);
        }
        for (int i = 3; i < 6; i++)
                assert_int_equal(o[i].revision, i - 1); /* 2, 3, 4 */
        close_and_wait(s);
}

static void tidying_happens_between_commits(void **state)
{
        struct fake f = { .fail = -1, .wants_tidy = true };
        struct store *s = store_new(&test_loop, &fake_backend, &f, 0);
        struct outcome o[3] = { 0 };

        (void) state;
        uv_sem_init(&f.go, 0);
        commit_some(s, 3, o);
        pass(&f, 2);
        uv_run(&test_loop, UV_RUN_DEFAULT);
        assert_int_equal(f.tidied, 1);
        assert_int_equal(f.commits, 2);
        assert_int_equal(o[2].revision, 3);
        close_and_wait(s);
}

static void memory_fails_on_request(void **state)
{
        struct fixture *f = *state;
        struct store_batch batch = { 0 };
        struct outcome o;

        put_one(f->store, "a", "1");
        store_memory_set_failure(f->store, ERR_NO_SPACE);
        put(&batch, "a", "2");
        o = commit(f->store, &batch);
        assert_int_equal(o.code, ERR_NO_SPACE);
        assert_scan(f->store, "", "a=1;");
        store_memory_set_failure(f->store, ERR_NONE);
        put_one(f->store, "a", "3");
        assert_scan(f->store, "", "a=3;");
        assert_int_equal(store_revision(f->store), 2);
}

/* --- views -------------------------------------------------------------------------------- */

struct viewing {
        struct buffer text;
        size_t stop_after, rows; /* a read stops when it has given so many */
        int calls;
        bool end, closed;
        enum error_code code;
};

static int view_row(void *data, const char *key, const char *value, size_t len, struct error *err)
{
        struct viewing *v = data;

        add_row(&v->text, key, value, len, err);
        return ++v->rows % v->stop_after == 0 ? 1 : 0;
}

static void on_viewed(void *data, bool end, const struct error *err)
{
        struct viewing *v = data;

        v->calls++;
        v->end = end;
        v->code = err == NULL ? ERR_NONE : err->code;
}

static void on_view_closed(void *data)
{
        ((struct viewing *) data)->closed = true;
}

static void view_read(struct store_view *view, struct viewing *v)
{
        int before = v->calls;

        store_view_read(view, view_row, v, on_viewed, v);
        while (v->calls == before)
                uv_run(&test_loop, UV_RUN_ONCE);
        assert_int_equal(v->code, ERR_NONE);
}

static void view_is_of_one_instant(void **state)
{
        struct fixture *f = *state;
        struct viewing v = { .stop_after = 2 };
        struct store_view *view;

        put_one(f->store, "a", "1");
        put_one(f->store, "b", "");
        put_one(f->store, "c", "3");
        assert_int_equal(store_view_open(f->store, &view, NULL), 0);
        put_one(f->store, "b", "later");
        put_one(f->store, "d", "later");
        view_read(view, &v);
        assert_string_equal(v.text.data, "a=1;b=;");
        assert_false(v.end);
        put_one(f->store, "c", "later");
        close_and_wait(take_ptr(f->store)); /* it outlives its store */
        view_read(view, &v);
        assert_string_equal(v.text.data, "a=1;b=;c=3;");
        assert_true(v.end);
        store_view_close(view, on_view_closed, &v);
        assert_true(v.closed);
        buffer_done(&v.text);
}

static void view_of_nothing_ends(void **state)
{
        struct fixture *f = *state;
        struct viewing v = { .stop_after = 1 };
        struct store_view *view;

        assert_int_equal(store_view_open(f->store, &view, NULL), 0);
        view_read(view, &v);
        assert_true(v.end);
        assert_int_equal(v.rows, 0);
        store_view_close(view, NULL, NULL);
}

static void view_closes_after_its_read(void **state)
{
        struct fixture *f = *state;
        struct viewing v = { .stop_after = 1 };
        struct store_view *view;

        put_one(f->store, "a", "1");
        assert_int_equal(store_view_open(f->store, &view, NULL), 0);
        store_view_read(view, view_row, &v, on_viewed, &v);
        store_view_close(view, on_view_closed, &v);
        assert_false(v.closed); /* the loop has not run since */
        while (!v.closed)
                uv_run(&test_loop, UV_RUN_ONCE);
        assert_int_equal(v.calls, 0);
        buffer_done(&v.text);
}

/* --- the table ----------------------------------------------------------------------------- */

/* clang-format off */
#define FOR_BACKEND(setup) {                                                                       \
        WITH(setup, new_store_is_empty),                                                           \
        WITH(setup, batch_is_applied_in_its_order),                                                \
        WITH(setup, values_are_bytes),                                                             \
        WITH(setup, large_values_come_back),                                                       \
        WITH(setup, empty_batch_counts),                                                           \
        WITH(setup, keys_are_ordered_by_unsigned_bytes),                                           \
        WITH(setup, prefixes_have_sharp_edges),                                                    \
        WITH(setup, ranges_are_read_both_ways),                                                    \
        WITH(setup, ranges_are_deleted),                                                           \
        WITH(setup, row_callback_decides),                                                         \
        WITH(setup, row_callback_may_get),                                                         \
        WITH(setup, reports_come_in_order),                                                        \
        WITH(setup, callbacks_may_commit),                                                         \
        WITH(setup, close_waits_for_commits),                                                      \
        WITH(setup, callbacks_may_close),                                                          \
        WITH(setup, reads_see_whole_batches),                                                      \
        WITH(setup, view_is_of_one_instant),                                                       \
        WITH(setup, view_of_nothing_ends),                                                         \
        WITH(setup, view_closes_after_its_read),                                                   \
}
/* clang-format on */

static int run_all(void)
{
        const struct CMUnitTest memory[] = FOR_BACKEND(setup_memory);
        const struct CMUnitTest sqlite[] = FOR_BACKEND(setup_sqlite);
        const struct CMUnitTest queue[] = {
                cmocka_unit_test(waiting_batches_share_a_commit),
                cmocka_unit_test(failure_hits_exactly_its_group),
                cmocka_unit_test(tidying_happens_between_commits),
                WITH(setup_memory, memory_fails_on_request),
        };

        return cmocka_run_group_tests_name("memory", memory, NULL, NULL) +
               cmocka_run_group_tests_name("sqlite", sqlite, NULL, NULL) +
               cmocka_run_group_tests_name("queue", queue, NULL, NULL);
}

int main(void)
{
        return test_main(run_all);
}
