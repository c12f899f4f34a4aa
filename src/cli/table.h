/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"

/* Tables for people. Colour only adds to what the words say. */

enum table_style { TABLE_PLAIN, TABLE_GOOD, TABLE_WARN, TABLE_BAD, TABLE_DIM };

#define TABLE_RIGHT    1u /* numbers */
#define TABLE_OPTIONAL 2u /* left out when there is nothing in it */

struct table_column {
        const char *title;
        unsigned flags; /* true: TABLE_RIGHT alone; false: none */
};

struct table;

/* @columns is borrowed until table_free(). */
struct table *table_new(const struct table_column *columns, size_t len);
void table_free(struct table *t); /* NULL is ignored */
void table_freep(struct table **t);

/* The next cell; rows fill from left to right. NULL and "" are shown as "-". */
void table_put(struct table *t, enum table_style style, const char *text);
void table_printf(struct table *t, enum table_style style, const char *format, ...)
        PRINTF_LIKE(3, 4);

/* Appends the titles and all complete rows. @width: columns of the terminal, beyond which a line
 * is cut and ends with "…"; 0: no limit. Columns are as wide as their widest cell, two apart. */
void table_write(const struct table *t, size_t width, bool colour, struct buffer *out);

/* The escape sequence that begins a style; "" for TABLE_PLAIN. TABLE_STYLE_END ends all. */
const char *table_style_begin(enum table_style style);
#define TABLE_STYLE_END "\033[0m"
