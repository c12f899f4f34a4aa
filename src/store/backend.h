/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "store/store.h"

/* What store.c needs from a place where data lives. The functions take the object that was given to
 * store_new(). commit() and tidy() run on a worker thread, never two at a time and never beside
 * close(); scan() and get() run on the loop, possibly beside commit() or tidy(). */
struct store_backend {
        /* Makes all batches durable in one step, and @revision with them; or none of them. */
        int (*commit)(void *self, const struct store_batch *const *batches, size_t count,
                uint64_t revision, struct error *err);

        /* Housekeeping that need not delay a report; asked for after each commit, on the loop. NULL
         * if there is none. */
        bool (*needs_tidy)(const void *self);
        void (*tidy)(void *self);

        /* @first is never NULL. */
        int (*scan)(void *self, const char *first, const char *last, bool reverse, size_t limit,
                store_row_cb *row, void *data, struct error *err);
        int (*get)(void *self, const char *key, struct buffer *ret, struct error *err);

        /* A view: what is read by view_next() is what was there when view_open() returned. It lives
         * on when @self is closed. view_next() runs on a worker thread, the others on the loop,
         * never two at a time; it returns 1 when @row has stopped it, 0 behind the last row, or
         * -1. */
        int (*view_open)(void *self, void **ret_view, struct error *err);
        int (*view_next)(void *view, store_row_cb *row, void *data, struct error *err);
        void (*view_close)(void *view);

        void (*close)(void *self);
};

/* For view.c: what a store is made of. */
void store_parts(const struct store *store, uv_loop_t **ret_loop,
        const struct store_backend **ret_backend, void **ret_self);

/* Makes a store of a backend; the store closes @self when its end has come. @revision is the last
 * one that @self holds. */
struct store *store_new(
        uv_loop_t *loop, const struct store_backend *backend, void *self, uint64_t revision);

/* The object inside; only for the backend whose store it is. */
void *store_self(const struct store *store, const struct store_backend *backend);

enum store_op_type { STORE_PUT, STORE_DELETE, STORE_DELETE_RANGE };

/* One change of a batch; pointers into the batch. */
struct store_op {
        enum store_op_type type;
        const char *key; /* the first one of a range */
        size_t key_len;
        const char *value; /* STORE_PUT; for a range the key it ends before, or NULL */
        size_t value_len;
};

/* Yields the change at *@position (begin with 0) and moves on; false at the end. */
bool store_batch_next(const struct store_batch *batch, size_t *position, struct store_op *ret);

/* The least key that is greater than all that begin with @prefix; NULL if there is none. Freed with
 * free(). */
char *store_prefix_end(const char *prefix);
