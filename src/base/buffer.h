/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/macros.h"

/* A growing run of bytes. Embedded by its owner; `struct buffer b = { 0 }` is empty and valid. The
 * bytes are always followed by a NUL that is not counted, so text can be used as a string (data is
 * NULL only before the first byte). */
struct buffer {
        char *data;
        size_t len;
        size_t allocated;
};

void buffer_done(struct buffer *b);  /* frees the bytes; the buffer is empty and valid again */
void buffer_reset(struct buffer *b); /* forgets the bytes, keeps the memory */

void buffer_grow(
        struct buffer *b, size_t more); /* what buffer_reserve() does if there is no room */

/* Makes room for @more bytes behind the end and returns where they go; follow with buffer_commit().
 */
static inline char *buffer_reserve(struct buffer *b, size_t more)
{
        if (b->len + more + 1 > b->allocated)
                buffer_grow(b, more);
        return b->data + b->len;
}

static inline void buffer_commit(struct buffer *b, size_t written)
{
        assert(b->len + written < b->allocated);
        b->len += written;
        b->data[b->len] = '\0';
}

/* These are here so that constant text costs a few instructions: rows and messages are made of it.
 */
static inline void buffer_put(struct buffer *b, const void *data, size_t len)
{
        char *to = buffer_reserve(b, len);

        if (len > 0)
                memcpy(to, data, len);
        buffer_commit(b, len);
}

static inline void buffer_puts(struct buffer *b, const char *s)
{
        buffer_put(b, s, strlen(s));
}

static inline void buffer_putc(struct buffer *b, char c)
{
        buffer_put(b, &c, 1);
}

void buffer_put_uint(struct buffer *b, uint64_t value); /* in decimal */
void buffer_put_int(struct buffer *b, int64_t value);
void buffer_printf(struct buffer *b, const char *format, ...) PRINTF_LIKE(2, 3);

/* Drops @n bytes at the front. */
void buffer_consume(struct buffer *b, size_t n);

/* The text so far; "" when empty. Borrowed. */
const char *buffer_str(const struct buffer *b);

/* Hands the heap string over and leaves the buffer empty. Never NULL; freed with free(). */
char *buffer_take(struct buffer *b);
