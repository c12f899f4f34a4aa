/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/buffer.h"
#include "base/error.h"

/* Where state is durable: an ordered map from keys to values.
 *
 * Keys are C strings of any bytes but NUL ("job/web"), ordered bytewise; values are bytes. Changes
 * are made by atomic batches, committed in the background and reported on the loop; reads are
 * synchronous and see what is committed. All functions belong to the thread of the loop. */

struct store;

/* Opens the SQLite file at @path, or makes it (mode 0600). Refuses, and leaves alone, a file that
 * is not a store (ERR_INVALID), one that a newer Reeve has written (ERR_INVALID) and one that
 * another store has open, in this process or another (ERR_CONFLICT). "@path-lock", "@path-wal" and
 * "@path-shm" belong to it. */
int store_open_sqlite(uv_loop_t *loop, const char *path, struct store **ret, struct error *err);

/* A store that forgets everything when it is closed; for tests. Never fails. */
void store_open_memory(uv_loop_t *loop, struct store **ret);

/* For tests of those who use a store: from now on every commit of this store of
 * store_open_memory() fails with @code; ERR_NONE ends it. */
void store_memory_set_failure(struct store *store, enum error_code code);

/* Closes the store once all it was handed is committed and reported, then calls @closed (may be
 * NULL), after which @data is not touched any more. Call it once, not from a row callback; no
 * commit or read may follow. At once if nothing is on its way, else the loop has to run on. NULL
 * store: nothing happens. */
typedef void store_closed_cb(void *data);
void store_close(struct store *store, store_closed_cb *closed, void *data);

/* Changes that are made together or not at all, in their order. Embedded by its owner: `struct
 * store_batch batch = { 0 }` is empty and valid. Keys and values are copied. */
struct store_batch {
        struct buffer ops;
};

void store_batch_done(struct store_batch *batch);
void store_batch_put(struct store_batch *batch, const char *key, const void *value, size_t len);
void store_batch_delete(struct store_batch *batch, const char *key); /* not there: fine */

/* Deletes all keys with @first <= key < @last (NULL: from the beginning, to the end). */
void store_batch_delete_range(struct store_batch *batch, const char *first, const char *last);

/* The outcome of one batch. @err is NULL when the batch is on disk; @revision is then its number.
 * Otherwise nothing of it was stored and @revision is 0: ERR_NO_SPACE on a full disk, ERR_SYSTEM
 * and others as it happens. The store remains usable: the next commit tries anew. */
typedef void store_commit_cb(void *data, uint64_t revision, const struct error *err);

/* Hands a batch over for commit and leaves *@take empty; an empty batch counts like any other.
 * @done (may be NULL) is called later from the loop, never from within this call; callbacks come
 * in the order of the calls. Batches that arrive while a commit is under way share the next one,
 * and succeed or fail together. */
void store_commit(struct store *store, struct store_batch *take, store_commit_cb *done, void *data);

/* The number of the last batch that was reported as durable; kept across restarts. The first batch
 * of a new store is 1, each further one is one more; failed ones do not count. */
uint64_t store_revision(const struct store *store);

/* One row. @key and @value are borrowed until it returns; a NUL follows @value, not counted in
 * @len. Returns 0 to go on, a positive number to end the scan well, -1 with @err filled to end it
 * with that error. It may hand in batches and call store_get(), but not scan. */
typedef int store_row_cb(
        void *data, const char *key, const char *value, size_t len, struct error *err);

/* Calls @row for each key that begins with @prefix ("": all), in order, as they were when the scan
 * began. A batch whose callback is still to come may already be seen. */
int store_scan(
        struct store *store, const char *prefix, store_row_cb *row, void *data, struct error *err);

/* The same for @first <= key < @last (NULL: from the beginning, to the end), at most @limit rows
 * (0: all), from the last one down if @reverse. */
int store_scan_range(struct store *store, const char *first, const char *last, bool reverse,
        size_t limit, store_row_cb *row, void *data, struct error *err);

/* All rows as they were at one instant, read beside the loop: for what takes long, such as copying
 * them all. A view outlives its store; while one is open the write-ahead log keeps growing. */
struct store_view;
int store_view_open(struct store *store, struct store_view **ret, struct error *err);

/* Reads on, in a worker thread: @row is called there for one row after the other, in order, until
 * it returns a positive number, or there are no more. Then @done is called on the loop: @err is
 * NULL unless something failed; @end: that was all. One read at a time. @row may touch nothing but
 * @row_data. */
typedef void store_view_cb(void *data, bool end, const struct error *err);
void store_view_read(struct store_view *view, store_row_cb *row, void *row_data,
        store_view_cb *done, void *data);

/* Ends the view; no @done follows. @closed (may be NULL) is called when @row_data is not in use any
 * more: at once, or after the read that is under way has come to its stop. NULL view: nothing
 * happens. */
void store_view_close(struct store_view *view, store_closed_cb *closed, void *data);

/* Appends the value of @key to @ret. ERR_NOT_FOUND if there is none. */
int store_get(struct store *store, const char *key, struct buffer *ret, struct error *err);
