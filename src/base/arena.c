/* SPDX-License-Identifier: BSD-3-Clause */
/* Arenas: blocks that are filled from front to back, each twice as large as the one before it up to
 * BLOCK_MAX, so that a single string costs little and a million of them few calls of malloc(). */
#include "base/arena.h"

#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/mem.h"

#define BLOCK_MIN 256
#define BLOCK_MAX 65536

struct arena_block {
        struct arena_block *next;
        size_t used, size;
        char bytes[];
};

static struct arena_block *add_block(struct arena *a, size_t least)
{
        size_t size = a->blocks == NULL ? BLOCK_MIN : MIN(a->blocks->size * 2, (size_t) BLOCK_MAX);
        struct arena_block *block;

        size = MAX(size, least);
        block = mem_resize(NULL, sizeof *block + size, 1);
        *block = (struct arena_block){ .next = a->blocks, .size = size };
        a->blocks = block;
        return block;
}

char *arena_reserve(struct arena *a, size_t size)
{
        struct arena_block *block = a->blocks;

        if (block == NULL || block->size - block->used < size)
                block = add_block(a, size);
        block->used += size;
        return block->bytes + block->used - size;
}

char *arena_copy(struct arena *a, const char *s, size_t len)
{
        char *copy = arena_reserve(a, len + 1);

        memcpy(copy, s, len);
        copy[len] = '\0';
        return copy;
}

void arena_done(struct arena *a)
{
        struct arena_block *block = a->blocks, *next;

        for (; block != NULL; block = next) {
                next = block->next;
                free(block);
        }
        a->blocks = NULL;
}
