/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stddef.h>

/* Bytes on their way out, shared by all connections they go to. Not to be changed once queued. */
struct block {
        unsigned refs;
        size_t len; /* bytes in use */
        size_t size;
        char data[];
};

/* An empty block with room for @size bytes and one reference, the caller's. */
struct block *block_new(size_t size);

/* A block with a copy of @len bytes. */
struct block *block_new_copy(const void *data, size_t len);

struct block *block_ref(struct block *b);
void block_unref(struct block *b); /* NULL is ignored */
