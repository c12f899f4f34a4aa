/* SPDX-License-Identifier: BSD-3-Clause */
/* Batch: changes on their way to the store, as one run of bytes.
 *
 * Each change is a header, the key with its NUL and the value with a NUL behind it. One block of
 * memory per batch, whatever the number of changes; it is read front to back, once, by a backend on
 * another thread. Headers are copied in and out, since nothing here is aligned. */
#include "store/backend.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct op_header {
        enum store_op_type type;
        bool has_value;
        size_t key_len, value_len;
};

static void batch_add(struct store_batch *batch, enum store_op_type type, const char *key,
        const void *value, size_t value_len)
{
        struct op_header header;

        memset(&header, 0, sizeof header); /* the padding too: these bytes are copied */
        header.type = type;
        header.has_value = value != NULL;
        header.key_len = strlen(key);
        header.value_len = value_len;
        buffer_put(&batch->ops, &header, sizeof header);
        buffer_put(&batch->ops, key, header.key_len + 1);
        if (value_len > 0)
                buffer_put(&batch->ops, value, value_len);
        buffer_putc(&batch->ops, '\0');
}

void store_batch_done(struct store_batch *batch)
{
        buffer_done(&batch->ops);
}

void store_batch_put(struct store_batch *batch, const char *key, const void *value, size_t len)
{
        batch_add(batch, STORE_PUT, key, value == NULL ? "" : value, len);
}

void store_batch_delete(struct store_batch *batch, const char *key)
{
        batch_add(batch, STORE_DELETE, key, NULL, 0);
}

void store_batch_delete_range(struct store_batch *batch, const char *first, const char *last)
{
        batch_add(batch, STORE_DELETE_RANGE, first == NULL ? "" : first, last,
                last == NULL ? 0 : strlen(last));
}

/* The last byte that can grow, grown, and nothing behind it: "job/" gives "job0", "a\xff" gives
 * "b". Where no byte can, every key beyond the prefix begins with it. */
char *store_prefix_end(const char *prefix)
{
        char *end = mem_strdup(prefix);
        size_t len = strlen(end);

        while (len > 0 && (unsigned char) end[len - 1] == 0xff)
                len--;
        if (len == 0) {
                free(end);
                return NULL;
        }
        end[len - 1] = (char) ((unsigned char) end[len - 1] + 1);
        end[len] = '\0';
        return end;
}

bool store_batch_next(const struct store_batch *batch, size_t *position, struct store_op *ret)
{
        struct op_header header;
        const char *at;

        if (*position == batch->ops.len)
                return false;
        assert(batch->ops.len - *position > sizeof header);
        at = batch->ops.data + *position;
        memcpy(&header, at, sizeof header);
        at += sizeof header;
        ret->type = header.type;
        ret->key = at;
        ret->key_len = header.key_len;
        ret->value = header.has_value ? at + header.key_len + 1 : NULL;
        ret->value_len = header.value_len;
        *position += sizeof header + header.key_len + 1 + header.value_len + 1;
        return true;
}
