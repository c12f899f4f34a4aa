/* SPDX-License-Identifier: BSD-3-Clause */
/* Buffers: bytes that grow, twice as large whenever there is no room, with a NUL behind them. */
#include "base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/text.h"

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

void buffer_grow(struct buffer *b, size_t more)
{
        size_t needed = b->len + more + 1;
        size_t size = MAX(needed, b->allocated * 2);

        b->allocated = MAX(size, (size_t) 64);
        b->data = mem_resize(b->data, b->allocated, 1);
}

void buffer_put_uint(struct buffer *b, uint64_t value)
{
        char *to = buffer_reserve(b, TEXT_UINT_MAX);

        buffer_commit(b, text_format_uint(to, value));
}

void buffer_put_int(struct buffer *b, int64_t value)
{
        if (value < 0)
                buffer_putc(b, '-');
        buffer_put_uint(b, value < 0 ? 0 - (uint64_t) value : (uint64_t) value);
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
