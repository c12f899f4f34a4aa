/* SPDX-License-Identifier: BSD-3-Clause */
/* Store: the queue in front of a backend.
 *
 * A commit waits for the disk, so it happens on a worker thread of libuv; the pool has other users,
 * so there is never more than one of ours in it. What arrives meanwhile waits in `waiting` and goes
 * into the next transaction as a whole: under load the price of one fsync is shared by all, and
 * without load nobody waits for company.
 *
 * Owned by whoever opened it, until store_close(); then by itself until the last report is made.
 * Loop thread only, but for work_run(), which touches `work_*` and the backend and nothing else.
 * Invariants: `busy` exactly while a request is in the pool; `under_way` is empty unless it is a
 * commit; `revision` is what was last reported, `committed` what the backend holds, and they differ
 * only while callbacks are being called.
 *
 * The next commit is started before the callbacks of the last one are called: the disk works while
 * the loop does. A backend may ask for housekeeping (moving the write-ahead log into the file);
 * that is a request of its own, after the reports, so that no report waits for it. */
#include "store/backend.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/mem.h"

struct entry {
        struct store_batch batch;
        store_commit_cb *done;
        void *data;
        struct entry *next, *prev;
};

struct store {
        uv_loop_t *loop;
        const struct store_backend *backend;
        void *self;
        uint64_t revision, committed;
        struct entry *waiting, *under_way;
        bool busy, reporting, closing;
        store_closed_cb *closed;
        void *closed_data;

        uv_work_t work;
        bool work_is_tidy;
        const struct store_batch **work_batches;
        size_t work_count;
        uint64_t work_revision; /* after this commit */
        int work_result;
        struct error work_error;
};

static void work_done(uv_work_t *work, int status);

struct store *store_new(
        uv_loop_t *loop, const struct store_backend *backend, void *self, uint64_t revision)
{
        struct store *s = mem_alloc(sizeof *s);

        s->loop = loop;
        s->backend = backend;
        s->self = self;
        s->revision = s->committed = revision;
        return s;
}

void *store_self(const struct store *store, const struct store_backend *backend)
{
        assert(store->backend == backend);
        return store->self;
}

void store_parts(const struct store *store, uv_loop_t **ret_loop,
        const struct store_backend **ret_backend, void **ret_self)
{
        *ret_loop = store->loop;
        *ret_backend = store->backend;
        *ret_self = store->self;
}

uint64_t store_revision(const struct store *store)
{
        return store->revision;
}

static void work_run(uv_work_t *work)
{
        struct store *s = work->data;

        if (s->work_is_tidy)
                s->backend->tidy(s->self);
        else
                s->work_result = s->backend->commit(
                        s->self, s->work_batches, s->work_count, s->work_revision, &s->work_error);
}

static void work_start(struct store *s, bool tidy)
{
        int rc;

        assert(!s->busy);
        s->busy = true;
        s->work_is_tidy = tidy;
        s->work.data = s;
        rc = uv_queue_work(s->loop, &s->work, work_run, work_done);
        assert(rc == 0); /* it only refuses a missing function */
        (void) rc;
}

/* All that wait become one transaction. */
static void commit_start(struct store *s)
{
        struct entry *e;
        size_t count;

        assert(s->under_way == NULL && s->waiting != NULL);
        s->under_way = take_ptr(s->waiting);
        DL_COUNT(s->under_way, e, count);
        s->work_batches = mem_resize(s->work_batches, count, sizeof(struct store_batch *));
        s->work_count = 0;
        DL_FOREACH (s->under_way, e)
                s->work_batches[s->work_count++] = &e->batch;
        s->work_revision = s->committed + count;
        s->work_error = ERROR_INIT;
        work_start(s, false);
}

static void store_free(struct store *s)
{
        assert(s->waiting == NULL && s->under_way == NULL);
        s->backend->close(s->self);
        if (s->closed != NULL)
                s->closed(s->closed_data);
        free(s->work_batches);
        free(s);
}

static void continue_or_free(struct store *s)
{
        if (s->busy || s->reporting)
                return;
        if (s->waiting != NULL)
                commit_start(s);
        else if (s->closing)
                store_free(s);
}

static void entry_report(struct entry *e, uint64_t revision, const struct error *err)
{
        if (e->done != NULL)
                e->done(e->data, revision, err);
        store_batch_done(&e->batch);
        free(e);
}

/* Each callback sees store_revision() as its own number: those behind it are not reported yet. */
static void report(struct store *s, struct entry *done, const struct error *err)
{
        struct entry *e, *next;

        s->reporting = true;
        DL_FOREACH_SAFE (done, e, next) {
                if (err == NULL)
                        s->revision++;
                entry_report(e, err == NULL ? s->revision : 0, err);
        }
        s->reporting = false;
}

static void work_done(uv_work_t *work, int status)
{
        struct store *s = work->data;
        struct entry *done = take_ptr(s->under_way);
        struct error err = s->work_error;
        bool failed = s->work_result < 0;

        assert(status == 0); /* never cancelled */
        (void) status;
        s->busy = false;
        if (done != NULL && !failed)
                s->committed = s->work_revision;
        if (done != NULL && s->backend->needs_tidy != NULL && s->backend->needs_tidy(s->self))
                work_start(s, true);
        else if (s->waiting != NULL)
                commit_start(s);
        report(s, done, failed ? &err : NULL);
        continue_or_free(s);
}

void store_commit(struct store *store, struct store_batch *take, store_commit_cb *done, void *data)
{
        struct entry *e = mem_alloc(sizeof *e);

        assert(!store->closing);
        e->batch = *take;
        *take = (struct store_batch){ 0 };
        e->done = done;
        e->data = data;
        DL_APPEND(store->waiting, e);
        continue_or_free(store);
}

void store_close(struct store *store, store_closed_cb *closed, void *data)
{
        if (store == NULL)
                return;
        assert(!store->closing);
        store->closing = true;
        store->closed = closed;
        store->closed_data = data;
        continue_or_free(store);
}

int store_scan(
        struct store *store, const char *prefix, store_row_cb *row, void *data, struct error *err)
{
        AUTO(mem_freep) char *last = store_prefix_end(prefix);

        return store_scan_range(store, prefix, last, false, 0, row, data, err);
}

int store_scan_range(struct store *store, const char *first, const char *last, bool reverse,
        size_t limit, store_row_cb *row, void *data, struct error *err)
{
        return store->backend->scan(store->self, first == NULL ? "" : first, last, reverse,
                limit == 0 ? SIZE_MAX : limit, row, data, err);
}

int store_get(struct store *store, const char *key, struct buffer *ret, struct error *err)
{
        return store->backend->get(store->self, key, ret, err);
}
