/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory: the allocator's functions without their failures. */
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void out_of_memory(void)
{
        static const char text[] = "reeve: out of memory\n";
        ssize_t ignored = write(STDERR_FILENO, text, sizeof text - 1);

        (void) ignored;
        abort();
}

void *mem_alloc(size_t size)
{
        void *p = calloc(1, size > 0 ? size : 1);

        if (p == NULL)
                out_of_memory();
        return p;
}

void *mem_alloc_aligned(size_t size, size_t alignment)
{
        size_t whole = (size + alignment - 1) & ~(alignment - 1);
        void *p = aligned_alloc(alignment, whole);

        if (p == NULL)
                out_of_memory();
        return memset(p, 0, whole);
}

void *mem_resize(void *old, size_t count, size_t size)
{
        void *p = reallocarray(old, count > 0 ? count : 1, size);

        if (p == NULL)
                out_of_memory();
        return p;
}

char *mem_strdup(const char *s)
{
        return s == NULL ? NULL : mem_strndup(s, strlen(s));
}

char *mem_strndup(const char *s, size_t n)
{
        char *copy = strndup(s, n);

        if (copy == NULL)
                out_of_memory();
        return copy;
}

char *mem_printf(const char *format, ...)
{
        va_list ap;
        char *s;

        va_start(ap, format);
        s = mem_vprintf(format, ap);
        va_end(ap);
        return s;
}

char *mem_vprintf(const char *format, va_list ap)
{
        char *s;

        if (vasprintf(&s, format, ap) < 0)
                out_of_memory();
        return s;
}

void mem_freep(void *pointer_to_pointer)
{
        void *p;

        memcpy(&p, pointer_to_pointer, sizeof p);
        free(p);
}
