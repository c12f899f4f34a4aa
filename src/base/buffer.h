/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stddef.h>

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

/* Makes room for @more bytes behind the end and returns where they go; follow with buffer_commit().
 */
char *buffer_reserve(struct buffer *b, size_t more);
void buffer_commit(struct buffer *b, size_t written);

void buffer_put(struct buffer *b, const void *data, size_t len);
void buffer_puts(struct buffer *b, const char *s);
void buffer_putc(struct buffer *b, char c);
void buffer_printf(struct buffer *b, const char *format, ...) PRINTF_LIKE(2, 3);

/* Drops @n bytes at the front. */
void buffer_consume(struct buffer *b, size_t n);

/* The text so far; "" when empty. Borrowed. */
const char *buffer_str(const struct buffer *b);

/* Hands the heap string over and leaves the buffer empty. Never NULL; freed with free(). */
char *buffer_take(struct buffer *b);
