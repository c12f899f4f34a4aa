/* SPDX-License-Identifier: BSD-3-Clause */
/* Blocks: output that is stored once and counted by its users. A broadcast puts one block into many
 * queues; the last connection that has sent it (or died) frees it. The count is not atomic: blocks
 * belong to one loop's thread. */
#include "net/block.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct block *block_new(size_t size)
{
        struct block *b = mem_alloc(sizeof *b + size);

        b->refs = 1;
        b->size = size;
        return b;
}

struct block *block_new_copy(const void *data, size_t len)
{
        struct block *b = block_new(len);

        if (len > 0)
                memcpy(b->data, data, len);
        b->len = len;
        return b;
}

struct block *block_ref(struct block *b)
{
        b->refs++;
        return b;
}

void block_unref(struct block *b)
{
        if (b == NULL)
                return;
        assert(b->refs > 0);
        if (--b->refs == 0)
                free(b);
}
