/* SPDX-License-Identifier: BSD-3-Clause */
/* One table of tests for every backend, then what only the queue (with a backend of the test's own)
 * and only SQLite can show: crashes, full disks, foreign files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/time.h"
#include "store/backend.h"
#include "store/store.h"

static char directory[64]; /* of the whole run */
static uv_loop_t loop;

/* --- helpers ------------------------------------------------------------------------------- */

enum backend { MEMORY, SQLITE };

struct fixture {
        enum backend backend;
        char path[128];
        struct store *store;
};

static struct store *open_sqlite(const char *path)
{
        struct error err = ERROR_INIT;
        struct store *s;

        if (store_open_sqlite(&loop, path, &s, &err) < 0)
                fail_msg("%s", err.message);
        return s;
}

static void make_path(char *path, size_t size)
{
        static int number;

        snprintf(path, size, "%s/%d.db", directory, ++number);
}

static void on_closed(void *data)
{
        *(bool *) data = true;
}

static void close_and_wait(struct store *s)
{
        bool closed = false;

        store_close(s, on_closed, &closed);
        uv_run(&loop, UV_RUN_DEFAULT);
        assert_true(closed);
}

static int open_fixture(void **state, enum backend backend)
{
        struct fixture *f = mem_alloc(sizeof *f);

        f->backend = backend;
        make_path(f->path, sizeof f->path);
        if (backend == MEMORY)
                store_open_memory(&loop, &f->store);
        else
                f->store = open_sqlite(f->path);
        *state = f;
        return 0;
}

static int setup_memory(void **state)
{
        return open_fixture(state, MEMORY);
}

static int setup_sqlite(void **state)
{
        return open_fixture(state, SQLITE);
}

static int teardown(void **state)
{
        struct fixture *f = *state;

        if (f->store != NULL)
                close_and_wait(f->store);
        free(f);
        return 0;
}

/* What a commit reported. */
struct outcome {
        int calls;
        uint64_t revision;
        enum error_code code;
        char message[sizeof((struct error *) NULL)->message];
};

static void on_commit(void *data, uint64_t revision, const struct error *err)
{
        struct outcome *o = data;

        o->calls++;
        o->revision = revision;
        o->code = err == NULL ? ERR_NONE : err->code;
        snprintf(o->message, sizeof o->message, "%s", err == NULL ? "" : err->message);
}

static struct outcome commit(struct store *s, struct store_batch *batch)
{
        struct outcome o = { 0 };

        store_commit(s, batch, on_commit, &o);
        assert_int_equal(o.calls, 0);
        uv_run(&loop, UV_RUN_DEFAULT);
        assert_int_equal(o.calls, 1);
        return o;
}

static void commit_well(struct store *s, struct store_batch *batch)
{
        struct outcome o = commit(s, batch);

        if (o.code != ERR_NONE)
                fail_msg("%s", o.message);
        assert_int_equal(o.revision, store_revision(s));
}

static void put(struct store_batch *batch, const char *key, const char *value)
{
        store_batch_put(batch, key, value, strlen(value));
}

static void put_one(struct store *s, const char *key, const char *value)
{
        struct store_batch batch = { 0 };

        put(&batch, key, value);
        commit_well(s, &batch);
}

static int add_row(void *data, const char *key, const char *value, size_t len, struct error *err)
{
        struct buffer *b = data;

        (void) err;
        assert_int_equal(value[len], '\0');
        buffer_printf(b, "%s=%s;", key, value);
        return 0;
}

static void assert_scan(struct store *s, const char *prefix, const char *expected)
{
        struct buffer b = { 0 };
        struct error err = ERROR_INIT;

        assert_int_equal(store_scan(s, prefix, add_row, &b, &err), 0);
        assert_string_equal(buffer_str(&b), expected);
        buffer_done(&b);
}

static void assert_value(struct store *s, const char *key, const char *expected)
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
        assert_false(store_batch_is_empty(&batch));
        commit_well(f->store, &batch);
        assert_true(store_batch_is_empty(&batch));
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
        store_batch_delete_prefix(&batch, "b/");
        commit_well(f->store, &batch);
        assert_scan(f->store, "", "a/0=1;a/1=1;a/2=1;a/9=1;c/1=1;");
        store_batch_delete_range(&batch, "a/2", "a/2"); /* empty */
        store_batch_delete_range(&batch, "a/9", "a/1"); /* the wrong way round */
        store_batch_delete_range(&batch, "a/9", NULL);
        commit_well(f->store, &batch);
        assert_scan(f->store, "", "a/0=1;a/1=1;a/2=1;");
        store_batch_delete_prefix(&batch, "");
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
                        uv_run(&loop, UV_RUN_NOWAIT);
        }
        uv_run(&loop, UV_RUN_DEFAULT);
        assert_int_equal(o.last, 500);
}

static void callbacks_may_commit(void **state)
{
        struct fixture *f = *state;
        struct sequence o = { .store = f->store, .again = 20 };
        struct store_batch batch = { 0 };

        store_commit(f->store, &batch, on_commit_in_order, &o);
        uv_run(&loop, UV_RUN_DEFAULT);
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
        uv_run(&loop, UV_RUN_DEFAULT);
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
                        uv_run(&loop, UV_RUN_NOWAIT);
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
        struct store *s = store_new(&loop, &fake_backend, &f, 100);
        struct outcome o[10] = { 0 };

        (void) state;
        uv_sem_init(&f.go, 0);
        commit_some(s, 10, o);
        pass(&f, 2);
        uv_run(&loop, UV_RUN_DEFAULT);
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
        struct store *s = store_new(&loop, &fake_backend, &f, 0);
        struct outcome o[6] = { 0 };

        (void) state;
        uv_sem_init(&f.go, 0);
        commit_some(s, 3, o); /* alone; two together, which fail */
        pass(&f, 1);
        while (o[0].calls == 0)
                uv_run(&loop, UV_RUN_ONCE);
        commit_some(s, 3, o + 3); /* behind them */
        pass(&f, 2);
        uv_run(&loop, UV_RUN_DEFAULT);
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
        struct store *s = store_new(&loop, &fake_backend, &f, 0);
        struct outcome o[3] = { 0 };

        (void) state;
        uv_sem_init(&f.go, 0);
        commit_some(s, 3, o);
        pass(&f, 2);
        uv_run(&loop, UV_RUN_DEFAULT);
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

/* --- SQLite: files ------------------------------------------------------------------------- */

static void reopened_store_has_everything(void **state)
{
        struct fixture *f = *state;

        put_one(f->store, "a", "1");
        put_one(f->store, "b", "2");
        close_and_wait(f->store);
        f->store = open_sqlite(f->path);
        assert_int_equal(store_revision(f->store), 2);
        assert_scan(f->store, "", "a=1;b=2;");
        put_one(f->store, "c", "3");
        assert_int_equal(store_revision(f->store), 3);
}

static void file_is_private(void **state)
{
        static const char *const suffixes[] = { "", "-wal", "-shm", "-lock" };
        struct fixture *f = *state;

        put_one(f->store, "a", "1");
        for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
                AUTO(mem_freep) char *path = mem_printf("%s%s", f->path, suffixes[i]);
                struct stat st;

                assert_int_equal(stat(path, &st), 0);
                assert_int_equal(st.st_mode & 0777, 0600);
        }
}

static void assert_refused(const char *path, enum error_code code, const char *why)
{
        struct error err = ERROR_INIT;
        struct store *s = NULL;

        assert_int_equal(store_open_sqlite(&loop, path, &s, &err), -1);
        assert_null(s);
        assert_int_equal(err.code, code);
        if (strstr(err.message, why) == NULL)
                fail_msg("\"%s\" does not say \"%s\"", err.message, why);
}

static void second_opener_is_told_who(void **state)
{
        struct fixture *f = *state;
        char who[64];

        snprintf(who, sizeof who, "in use by process %d", (int) getpid());
        assert_refused(f->path, ERR_CONFLICT, who);
        put_one(f->store, "a", "1"); /* the first is none the worse */
        assert_scan(f->store, "", "a=1;");
}

static void file_without_a_folder_is_refused(void **state)
{
        (void) state;
        assert_refused("/nonexistent/store.db", ERR_NOT_FOUND, "/nonexistent/store.db");
}

static void other_file_is_refused_and_left_alone(void **state)
{
        static const char text[] = "This is not a database, but it is dear to somebody. "
                                   "It is longer than the header of an SQLite file, 100 bytes.\n";
        struct buffer after = { 0 };
        char path[128];

        (void) state;
        make_path(path, sizeof path);
        assert_int_equal(file_replace(path, text, sizeof text, 0600, false, NULL), 0);
        assert_refused(path, ERR_INVALID, "not a store of Reeve");
        assert_int_equal(file_read(path, 4096, &after, NULL), 0);
        assert_memory_equal(after.data, text, sizeof text);
        buffer_done(&after);
}

static void run_sql(const char *path, const char *sql)
{
        sqlite3 *db;

        assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
        if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
                fail_msg("%s: %s", sql, sqlite3_errmsg(db));
        sqlite3_close(db);
}

static void other_database_is_refused_and_left_alone(void **state)
{
        struct buffer before = { 0 }, after = { 0 };
        char path[128];

        (void) state;
        make_path(path, sizeof path);
        run_sql(path, "CREATE TABLE songs(title TEXT)");
        assert_int_equal(file_read(path, 1 << 20, &before, NULL), 0);
        assert_refused(path, ERR_INVALID, "another program");
        assert_int_equal(file_read(path, 1 << 20, &after, NULL), 0);
        assert_int_equal(before.len, after.len);
        assert_memory_equal(before.data, after.data, before.len);
        buffer_done(&before);
        buffer_done(&after);
}

static void newer_schema_is_refused(void **state)
{
        struct fixture *f = *state;

        close_and_wait(take_ptr(f->store));
        run_sql(f->path, "PRAGMA user_version = 2");
        assert_refused(f->path, ERR_INVALID, "newer Reeve (store version 2; this one knows 1)");
}

/* Batches of 1 MB over the same key: the log must not keep them all. */
static void log_does_not_grow_for_ever(void **state)
{
        struct fixture *f = *state;
        AUTO(mem_freep) char *log = mem_printf("%s-wal", f->path);
        AUTO(mem_freep) char *value = mem_alloc(1 << 20);
        struct stat st;

        for (int i = 0; i < 40; i++) {
                struct store_batch batch = { 0 };

                store_batch_put(&batch, "large", value, 1 << 20);
                commit_well(f->store, &batch);
        }
        assert_int_equal(stat(log, &st), 0);
        assert_in_range(st.st_size, 1, 10 << 20);
}

/* --- SQLite: full disks -------------------------------------------------------------------- */

/* Puts rows of 1 KB until the disk is full; returns how many are in. */
static int fill(struct store *s)
{
        AUTO(mem_freep) char *value = mem_alloc(1024);

        for (int n = 0; n < 4000; n++) {
                struct store_batch batch = { 0 };
                struct outcome o;
                char key[32];

                snprintf(key, sizeof key, "fill/%05d", n);
                store_batch_put(&batch, key, value, 1024);
                o = commit(s, &batch);
                if (o.code == ERR_NONE)
                        continue;
                if (o.code != ERR_NO_SPACE)
                        fail_msg("%s", o.message);
                return n;
        }
        fail_msg("the disk never became full");
        return 0;
}

static int count_row(void *data, const char *key, const char *value, size_t len, struct error *err)
{
        (void) key;
        (void) value;
        (void) len;
        (void) err;
        ++*(int *) data;
        return 0;
}

static void assert_rows(struct store *s, const char *prefix, int expected)
{
        int rows = 0;

        assert_int_equal(store_scan(s, prefix, count_row, &rows, NULL), 0);
        assert_int_equal(rows, expected);
}

/* A group on a full disk fails as a whole, what was there before stays, and deleting makes room. */
static void live_with_a_full_disk(struct store *s)
{
        AUTO(mem_freep) char *value = mem_alloc(1 << 20);
        struct store_batch large = { 0 };
        int rows = fill(s);
        uint64_t revision = store_revision(s);
        struct outcome o;

        put(&large, "half/1", "1");
        store_batch_put(&large, "half/2", value, 1 << 20);
        o = commit(s, &large);
        assert_int_equal(o.code, ERR_NO_SPACE);
        assert_int_equal(store_revision(s), revision);
        assert_rows(s, "fill/", rows);
        assert_rows(s, "half/", 0);
}

static void recover(struct store *s)
{
        uint64_t revision = store_revision(s);

        put_one(s, "after", "1");
        assert_int_equal(store_revision(s), revision + 1);
        assert_value(s, "after", "1");
}

/* A file system of its own for the store; in the namespace of this process, see main(). */
static void mount_small(const char *mount_point)
{
        if (mkdir(mount_point, 0700) < 0 || mount("small", mount_point, "tmpfs", 0, "size=1m") < 0)
                skip();
}

static void full_file_system_is_survived(void **state)
{
        AUTO(mem_freep) char *mount_point = mem_printf("%s/small", directory);
        AUTO(mem_freep) char *path = mem_printf("%s/store.db", mount_point);
        struct store *s;
        int rows;

        (void) state;
        mount_small(mount_point);
        s = open_sqlite(path);
        live_with_a_full_disk(s);
        assert_int_equal(mount("small", mount_point, "tmpfs", MS_REMOUNT, "size=8m"), 0);
        recover(s);
        rows = fill(s); /* over the old rows and beyond */
        assert_true(rows > 1000);
        close_and_wait(s);
        s = open_sqlite(path);
        assert_rows(s, "fill/", rows);
        assert_value(s, "after", "1");
        close_and_wait(s);
        assert_int_equal(umount(mount_point), 0);
}

static void fill_with_a_file(const char *path)
{
        static const char block[4096];
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

        assert_true(fd >= 0);
        while (write(fd, block, sizeof block) > 0)
                continue;
        assert_int_equal(errno, ENOSPC);
        close(fd);
}

/* Somebody else has filled the disk; what needs no more room than there was still works. */
static void updates_go_on_though_the_disk_is_full(void **state)
{
        AUTO(mem_freep) char *mount_point = mem_printf("%s/shared", directory);
        AUTO(mem_freep) char *path = mem_printf("%s/store.db", mount_point);
        AUTO(mem_freep) char *other = mem_printf("%s/other", mount_point);
        AUTO(mem_freep) char *log = mem_printf("%s/store.db-wal", mount_point);
        struct stat before, after;
        struct store *s;

        (void) state;
        mount_small(mount_point);
        s = open_sqlite(path);
        for (int i = 0; i < 10; i++)
                put_one(s, "a", "1");
        fill_with_a_file(other);
        assert_int_equal(stat(log, &before), 0);
        for (int i = 0; i < 200; i++)
                put_one(s, "a", i % 2 == 0 ? "2" : "3");
        assert_int_equal(stat(log, &after), 0);
        assert_true(after.st_size <= before.st_size + 4096); /* the rest of a page, at most */
        assert_scan(s, "", "a=3;");
        close_and_wait(s);
        assert_int_equal(umount(mount_point), 0);
}

/* The same without being root: no file may grow beyond 256 KB. */
static void limited_file_size_is_survived(void **state)
{
        struct fixture *f = *state;
        struct rlimit old, small;
        void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);

        assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
        small = (struct rlimit){ .rlim_cur = 256 << 10, .rlim_max = old.rlim_max };
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        live_with_a_full_disk(f->store);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        signal(SIGXFSZ, handler);
        recover(f->store);
}

/* --- SQLite: kill -9 ------------------------------------------------------------------------ */

/* What the child process does: commits pairs, several batches on their way at a time, and reports
 * the number of each on stdout as soon as it is durable. Ends only by being killed. */
enum { CHILD_AHEAD = 8 };

struct child {
        struct store *store;
        uint64_t next;
};

static void child_commit(struct child *c);

static void on_child_commit(void *data, uint64_t revision, const struct error *err)
{
        if (err != NULL || write(STDOUT_FILENO, &revision, sizeof revision) != sizeof revision)
                _exit(1);
        child_commit(data);
}

static void child_commit(struct child *c)
{
        struct store_batch batch = { 0 };
        char key[32];

        snprintf(key, sizeof key, "a/%010" PRIu64, ++c->next);
        put(&batch, key, "1");
        key[0] = 'b';
        put(&batch, key, "1");
        store_commit(c->store, &batch, on_child_commit, c);
}

static int child_main(const char *path)
{
        struct child c = { 0 };
        struct error err = ERROR_INIT;

        if (uv_loop_init(&loop) < 0 || store_open_sqlite(&loop, path, &c.store, &err) < 0) {
                fprintf(stderr, "%s\n", err.message);
                return 1;
        }
        c.next = store_revision(c.store);
        for (int i = 0; i < CHILD_AHEAD; i++)
                child_commit(&c);
        return uv_run(&loop, UV_RUN_DEFAULT);
}

static pid_t child_start(const char *path, int *ret_fd)
{
        const char *argv[] = { "test-store", "--child", path, NULL };
        posix_spawn_file_actions_t actions;
        int pipe_fds[2];
        pid_t pid;

        assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, pipe_fds[1], STDOUT_FILENO);
        assert_int_equal(posix_spawn(&pid, "/proc/self/exe", &actions, NULL,
                                 (char *const *) (uintptr_t) argv, environ),
                0);
        posix_spawn_file_actions_destroy(&actions);
        close(pipe_fds[1]);
        *ret_fd = pipe_fds[0];
        return pid;
}

/* Reads numbers until @enough or the end; returns the last one. */
static uint64_t read_acknowledged(int fd, uint64_t last, uint64_t enough)
{
        uint64_t number;

        while (last < enough) {
                ssize_t n = read(fd, &number, sizeof number);

                if (n == 0)
                        break;
                assert_int_equal(n, sizeof number); /* writes this small are whole */
                assert_true(number == last + 1 || last == 0);
                last = number;
        }
        return last;
}

struct sequence_check {
        char letter;
        uint64_t last;
};

static int check_next(void *data, const char *key, const char *value, size_t len, struct error *err)
{
        struct sequence_check *c = data;
        char expected[32];

        (void) err;
        snprintf(expected, sizeof expected, "%c/%010" PRIu64, c->letter, ++c->last);
        assert_string_equal(key, expected);
        assert_int_equal(len, 1);
        assert_string_equal(value, "1");
        return 0;
}

static void check_after_kill(const char *path, uint64_t acknowledged)
{
        struct sequence_check a = { .letter = 'a' }, b = { .letter = 'b' };
        struct store *s = open_sqlite(path);

        assert_int_equal(store_scan(s, "a/", check_next, &a, NULL), 0);
        assert_int_equal(store_scan(s, "b/", check_next, &b, NULL), 0);
        assert_true(a.last >= acknowledged);
        assert_int_equal(a.last, b.last);
        assert_int_equal(a.last, store_revision(s));
        close_and_wait(s);
}

/* Kills at a random instant, not one between two reports. */
static void kill_soon(pid_t pid)
{
        struct timespec ts = { .tv_nsec = random() % 2000000 };
        int status;

        nanosleep(&ts, NULL);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
}

static void acknowledged_batches_survive_kill(void **state)
{
        unsigned seed = (unsigned) time_wall();
        uint64_t last = 0;
        char path[128];

        (void) state;
        print_message("seed %u\n", seed);
        srandom(seed);
        make_path(path, sizeof path);
        for (int round = 0; round < 12; round++) {
                int fd;
                pid_t pid = child_start(path, &fd);
                uint64_t enough = last + 1 + (uint64_t) random() % 700;
                uint64_t first = read_acknowledged(fd, 0, 1);

                assert_true(first > last || last == 0);
                last = read_acknowledged(fd, first, enough);
                assert_true(last >= enough); /* it did not end by itself */
                kill_soon(pid);
                last = read_acknowledged(fd, last, UINT64_MAX);
                close(fd);
                check_after_kill(path, last);
        }
}

/* The child holds the lock until it is killed, and only until then. */
static void lock_goes_with_the_process(void **state)
{
        char path[128], who[64];
        pid_t pid;
        int fd;

        (void) state;
        make_path(path, sizeof path);
        pid = child_start(path, &fd);
        read_acknowledged(fd, 0, 1);
        snprintf(who, sizeof who, "in use by process %d", (int) pid);
        assert_refused(path, ERR_CONFLICT, who);
        kill_soon(pid);
        close(fd);
        close_and_wait(open_sqlite(path));
}

/* --- the table ----------------------------------------------------------------------------- */

#define FOR_BACKEND(setup)                                                                         \
        {                                                                                          \
                WITH(setup, new_store_is_empty), WITH(setup, batch_is_applied_in_its_order),       \
                        WITH(setup, values_are_bytes), WITH(setup, large_values_come_back),        \
                        WITH(setup, empty_batch_counts),                                           \
                        WITH(setup, keys_are_ordered_by_unsigned_bytes),                           \
                        WITH(setup, prefixes_have_sharp_edges),                                    \
                        WITH(setup, ranges_are_read_both_ways), WITH(setup, ranges_are_deleted),   \
                        WITH(setup, row_callback_decides), WITH(setup, row_callback_may_get),      \
                        WITH(setup, reports_come_in_order), WITH(setup, callbacks_may_commit),     \
                        WITH(setup, close_waits_for_commits), WITH(setup, callbacks_may_close),    \
                        WITH(setup, reads_see_whole_batches),                                      \
        }
#define WITH(setup, test) cmocka_unit_test_setup_teardown(test, setup, teardown)

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
        const struct CMUnitTest files[] = {
                WITH(setup_sqlite, reopened_store_has_everything),
                WITH(setup_sqlite, file_is_private),
                WITH(setup_sqlite, second_opener_is_told_who),
                cmocka_unit_test(file_without_a_folder_is_refused),
                cmocka_unit_test(other_file_is_refused_and_left_alone),
                cmocka_unit_test(other_database_is_refused_and_left_alone),
                WITH(setup_sqlite, newer_schema_is_refused),
                WITH(setup_sqlite, log_does_not_grow_for_ever),
                cmocka_unit_test(full_file_system_is_survived),
                cmocka_unit_test(updates_go_on_though_the_disk_is_full),
                WITH(setup_sqlite, limited_file_size_is_survived),
                cmocka_unit_test(acknowledged_batches_survive_kill),
                cmocka_unit_test(lock_goes_with_the_process),
        };

        return cmocka_run_group_tests_name("memory", memory, NULL, NULL) +
               cmocka_run_group_tests_name("sqlite", sqlite, NULL, NULL) +
               cmocka_run_group_tests_name("queue", queue, NULL, NULL) +
               cmocka_run_group_tests_name("files", files, NULL, NULL);
}

/* What a test mounts is seen by nobody else and gone with the process. Before the first thread. */
static void leave_mount_namespace(void)
{
        if (unshare(CLONE_NEWNS) == 0)
                mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

int main(int argc, char **argv)
{
        int failures;

        if (argc == 3 && strcmp(argv[1], "--child") == 0)
                return child_main(argv[2]);
        leave_mount_namespace();
        strcpy(directory, "/tmp/test-store.XXXXXX"); /* NOLINT: it fits */
        if (mkdtemp(directory) == NULL || uv_loop_init(&loop) < 0)
                return 1;
        failures = run_all();
        uv_loop_close(&loop);
        file_remove_tree(directory, NULL);
        return failures == 0 ? 0 : 1;
}
