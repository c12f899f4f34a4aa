/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory: a store that forgets, for the tests of those who use one.
 *
 * A sorted array of rows, searched by halves; inserting moves what is behind, which is fine for the
 * tens of thousands of rows of a test. A commit runs on a worker thread as with any backend, so a
 * mutex stands around everything; it is recursive, because a row callback may call store_get().
 * Commits cannot fail here of themselves; store_memory_set_failure() makes them. */
#include "store/backend.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct row {
        char *key;
        char *value; /* NUL behind it */
        size_t len;
};

struct memory {
        uv_mutex_t mutex;
        enum error_code failure;
        struct row *rows;
        size_t count, allocated;
};

/* The first row whose key is not less than @key (NULL: beyond the last). strcmp() compares unsigned
 * bytes, which is the order promised. */
static size_t lower_bound(const struct memory *m, const char *key)
{
        size_t low = 0, high = m->count;

        if (key == NULL)
                return high;
        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (strcmp(m->rows[middle].key, key) < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

static bool is_at(const struct memory *m, size_t at, const char *key)
{
        return at < m->count && strcmp(m->rows[at].key, key) == 0;
}

static void row_insert(struct memory *m, size_t at, const char *key)
{
        if (m->count == m->allocated) {
                m->allocated = m->allocated == 0 ? 64 : m->allocated * 2;
                m->rows = mem_resize(m->rows, m->allocated, sizeof *m->rows);
        }
        memmove(m->rows + at + 1, m->rows + at, (m->count - at) * sizeof *m->rows);
        m->rows[at] = (struct row){ .key = mem_strdup(key) };
        m->count++;
}

static void rows_remove(struct memory *m, size_t first, size_t last)
{
        if (first >= last)
                return;
        for (size_t i = first; i < last; i++) {
                free(m->rows[i].key);
                free(m->rows[i].value);
        }
        memmove(m->rows + first, m->rows + last, (m->count - last) * sizeof *m->rows);
        m->count -= last - first;
}

static void row_put(struct memory *m, const struct store_op *op)
{
        size_t at = lower_bound(m, op->key);
        struct row *row;

        if (!is_at(m, at, op->key))
                row_insert(m, at, op->key);
        row = &m->rows[at];
        free(row->value);
        row->value = mem_alloc(op->value_len + 1);
        row->len = op->value_len;
        memcpy(row->value, op->value, op->value_len);
}

static void op_apply(struct memory *m, const struct store_op *op)
{
        size_t at = lower_bound(m, op->key);

        switch (op->type) {
        case STORE_PUT:
                row_put(m, op);
                break;
        case STORE_DELETE:
                if (is_at(m, at, op->key))
                        rows_remove(m, at, at + 1);
                break;
        case STORE_DELETE_RANGE:
                rows_remove(m, at, lower_bound(m, op->value));
                break;
        }
}

static int memory_commit(void *self, const struct store_batch *const *batches, size_t count,
        uint64_t revision, struct error *err)
{
        struct memory *m = self;
        enum error_code failure;
        struct store_op op;

        (void) revision; /* nobody asks for it after the end */
        uv_mutex_lock(&m->mutex);
        failure = m->failure;
        for (size_t i = 0; i < count && failure == ERR_NONE; i++)
                for (size_t position = 0; store_batch_next(batches[i], &position, &op);)
                        op_apply(m, &op);
        uv_mutex_unlock(&m->mutex);
        if (failure != ERR_NONE)
                return error_set(err, failure, "commit refused, as the test asked");
        return 0;
}

static int memory_scan(void *self, const char *first, const char *last, bool reverse, size_t limit,
        store_row_cb *row, void *data, struct error *err)
{
        struct memory *m = self;
        size_t low, high, count;
        int rc = 0;

        uv_mutex_lock(&m->mutex);
        low = lower_bound(m, first);
        high = lower_bound(m, last);
        count = high > low ? MIN(high - low, limit) : 0;
        for (size_t i = 0; i < count && rc == 0; i++) {
                const struct row *r = &m->rows[reverse ? high - 1 - i : low + i];

                rc = row(data, r->key, r->value, r->len, err);
        }
        uv_mutex_unlock(&m->mutex);
        return rc < 0 ? -1 : 0;
}

static int memory_get(void *self, const char *key, struct buffer *ret, struct error *err)
{
        struct memory *m = self;
        size_t at;
        bool found;

        uv_mutex_lock(&m->mutex);
        at = lower_bound(m, key);
        found = is_at(m, at, key);
        if (found)
                buffer_put(ret, m->rows[at].value, m->rows[at].len);
        uv_mutex_unlock(&m->mutex);
        return found ? 0 : error_set(err, ERR_NOT_FOUND, "no key \"%s\" in the store", key);
}

/* ---- Views: a copy of it all */

static void *memory_copy(struct memory *m)
{
        struct memory *copy = mem_alloc(sizeof *copy);

        uv_mutex_lock(&m->mutex);
        for (size_t i = 0; i < m->count; i++) {
                const struct row *r = &m->rows[i];
                struct store_op op = { .key = r->key, .value = r->value, .value_len = r->len };

                row_put(copy, &op);
        }
        uv_mutex_unlock(&m->mutex);
        return copy;
}

static int memory_view_open(void *self, void **ret_view, struct error *err)
{
        (void) err;
        *ret_view = memory_copy(self);
        return 0;
}

static int memory_view_next(void *view, store_row_cb *row, void *data, struct error *err)
{
        struct memory *m = view;
        int rc = 0;

        while (rc == 0 && m->count > 0) {
                rc = row(data, m->rows[0].key, m->rows[0].value, m->rows[0].len, err);
                rows_remove(m, 0, 1);
        }
        return rc < 0 ? -1 : m->count > 0;
}

static void memory_view_close(void *view)
{
        struct memory *m = view;

        rows_remove(m, 0, m->count);
        free(m->rows);
        free(m);
}

static void memory_close(void *self)
{
        struct memory *m = self;

        rows_remove(m, 0, m->count);
        free(m->rows);
        uv_mutex_destroy(&m->mutex);
        free(m);
}

static const struct store_backend memory_backend = {
        .commit = memory_commit,
        .scan = memory_scan,
        .get = memory_get,
        .view_open = memory_view_open,
        .view_next = memory_view_next,
        .view_close = memory_view_close,
        .close = memory_close,
};

void store_open_memory(uv_loop_t *loop, struct store **ret)
{
        struct memory *m = mem_alloc(sizeof *m);
        int rc = uv_mutex_init_recursive(&m->mutex);

        assert(rc == 0);
        (void) rc;
        *ret = store_new(loop, &memory_backend, m, 0);
}

void store_memory_set_failure(struct store *store, enum error_code code)
{
        struct memory *m = store_self(store, &memory_backend);

        uv_mutex_lock(&m->mutex);
        m->failure = code;
        uv_mutex_unlock(&m->mutex);
}
