/* SPDX-License-Identifier: BSD-3-Clause */
/* View: the rows of one instant, read in a worker thread bit by bit.
 *
 * Each read is one request to the thread pool of libuv and occupies a thread only as long as its
 * row callback goes on; between two of them, while a slow reader takes what was read, none. Owned
 * by whoever opened it, until store_view_close(); if a read is under way then, by itself until that
 * has ended. Loop thread only, but for work_run(), which touches `row*`, `result`, `error` and the
 * backend's view. */
#include "store/backend.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"

struct store_view {
        uv_loop_t *loop;
        const struct store_backend *backend;
        void *self;
        bool busy, closing;
        store_closed_cb *closed;
        void *closed_data;

        uv_work_t work;
        store_row_cb *row;
        void *row_data;
        store_view_cb *done;
        void *done_data;
        int result;
        struct error error;
};

int store_view_open(struct store *store, struct store_view **ret, struct error *err)
{
        struct store_view *v = mem_alloc(sizeof *v);
        void *of_store;

        store_parts(store, &v->loop, &v->backend, &of_store);
        if (v->backend->view_open(of_store, &v->self, err) < 0) {
                free(v);
                return -1;
        }
        *ret = v;
        return 0;
}

static void view_free(struct store_view *v)
{
        v->backend->view_close(v->self);
        if (v->closed != NULL)
                v->closed(v->closed_data);
        free(v);
}

static void work_run(uv_work_t *work)
{
        struct store_view *v = work->data;

        v->result = v->backend->view_next(v->self, v->row, v->row_data, &v->error);
}

static void work_done(uv_work_t *work, int status)
{
        struct store_view *v = work->data;

        assert(status == 0); /* never cancelled */
        (void) status;
        v->busy = false;
        if (v->closing)
                view_free(v);
        else
                v->done(v->done_data, v->result == 0, v->result < 0 ? &v->error : NULL);
}

void store_view_read(
        struct store_view *view, store_row_cb *row, void *row_data, store_view_cb *done, void *data)
{
        int rc;

        assert(!view->busy && !view->closing);
        view->busy = true;
        view->row = row;
        view->row_data = row_data;
        view->done = done;
        view->done_data = data;
        view->error = ERROR_INIT;
        view->work.data = view;
        rc = uv_queue_work(view->loop, &view->work, work_run, work_done);
        assert(rc == 0); /* it only refuses a missing function */
        (void) rc;
}

void store_view_close(struct store_view *view, store_closed_cb *closed, void *data)
{
        if (view == NULL)
                return;
        assert(!view->closing);
        view->closing = true;
        view->closed = closed;
        view->closed_data = data;
        if (!view->busy)
                view_free(view);
}
