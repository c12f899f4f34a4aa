/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdarg.h>
#include <stddef.h>

#include "base/macros.h"

/* Memory that is there or ends the program. Agent and server recover from a sudden end by design
 * and by test, a half-applied decision they do not; so running out of memory is treated as a crash,
 * never as a branch that nobody has ever taken. What a remote party can make us allocate is bounded
 * by its caller. */

/* Returns @size zeroed bytes; freed with free(). Never NULL. */
void *mem_alloc(size_t size) __attribute__((malloc, alloc_size(1)));

/* The same at a multiple of @alignment, a power of two: whoever walks over thousands of objects has
 * them begin where a line of the cache does. */
#define MEM_LINE 64
void *mem_alloc_aligned(size_t size, size_t alignment) __attribute__((malloc, alloc_size(1)));

/* Like realloc() with @count elements of @size bytes each; overflow ends the program too. */
void *mem_resize(void *old, size_t count, size_t size) __attribute__((alloc_size(2, 3)));

/* Returns a copy of @s (NULL gives NULL). */
char *mem_strdup(const char *s);
char *mem_strndup(const char *s, size_t n);

/* Returns a formatted string. */
char *mem_printf(const char *format, ...) PRINTF_LIKE(1, 2);
char *mem_vprintf(const char *format, va_list ap) PRINTF_LIKE(1, 0);

/* For AUTO(): frees any pointer to heap memory. */
void mem_freep(void *pointer_to_pointer);
