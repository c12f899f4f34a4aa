/* SPDX-License-Identifier: BSD-3-Clause */
/* Buffers: bytes that grow, twice as large whenever there is no room, with a NUL behind them. */
#include "base/buffer.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void buffer_done(struct buffer *b)
{
        free(b->data);
        *b = (struct buffer){ 0 };
}

void buffer_reset(struct buffer *b)
{
        b->len = 0;
        if (b->data != NULL)
                b->data[0] = '\0';
}

char *buffer_reserve(struct buffer *b, size_t more)
{
        size_t needed = b->len + more + 1;

        if (needed > b->allocated) {
                size_t size = MAX(needed, b->allocated * 2);

                b->data = mem_resize(b->data, MAX(size, (size_t) 64), 1);
                b->allocated = MAX(size, (size_t) 64);
        }
        return b->data + b->len;
}

void buffer_commit(struct buffer *b, size_t written)
{
        assert(b->len + written < b->allocated);
        b->len += written;
        b->data[b->len] = '\0';
}

void buffer_put(struct buffer *b, const void *data, size_t len)
{
        char *to = buffer_reserve(b, len);

        if (len > 0)
                memcpy(to, data, len);
        buffer_commit(b, len);
}

void buffer_puts(struct buffer *b, const char *s)
{
        buffer_put(b, s, strlen(s));
}

void buffer_putc(struct buffer *b, char c)
{
        buffer_put(b, &c, 1);
}

/* Into the room that there is; only what does not fit is formatted twice. */
void buffer_printf(struct buffer *b, const char *format, ...)
{
        size_t room = b->allocated - b->len;
        va_list ap;
        int len;

        va_start(ap, format);
        len = vsnprintf(b->data == NULL ? NULL : b->data + b->len, room, format, ap);
        va_end(ap);
        assert(len >= 0);

        if ((size_t) len >= room) {
                buffer_reserve(b, (size_t) len);
                va_start(ap, format);
                vsnprintf(b->data + b->len, (size_t) len + 1, format, ap);
                va_end(ap);
        }
        b->len += (size_t) len;
}

void buffer_consume(struct buffer *b, size_t n)
{
        assert(n <= b->len);
        if (n == 0)
                return;
        b->len -= n;
        memmove(b->data, b->data + n, b->len + 1);
}

const char *buffer_str(const struct buffer *b)
{
        return b->data == NULL ? "" : b->data;
}

char *buffer_take(struct buffer *b)
{
        char *s;

        buffer_reserve(b, 0);
        b->data[b->len] = '\0';
        s = b->data;
        *b = (struct buffer){ 0 };
        return s;
}
