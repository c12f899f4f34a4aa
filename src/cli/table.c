/* SPDX-License-Identifier: BSD-3-Clause */
/* Table: cells are kept until the table is written, because a column is as wide as its widest cell.
 * Pure: width and colour are the caller's (cli/terminal.h). */
#include "cli/table.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "cli/columns.h"

#define GAP 2

struct cell {
        char *text;
        size_t width;
        enum table_style style;
        bool empty;
};

struct table {
        const struct table_column *columns;
        size_t columns_len;
        struct cell *cells;
        size_t len, allocated;
};

struct table *table_new(const struct table_column *columns, size_t len)
{
        struct table *t = mem_alloc(sizeof *t);

        t->columns = columns;
        t->columns_len = len;
        return t;
}

void table_free(struct table *t)
{
        if (t == NULL)
                return;
        for (size_t i = 0; i < t->len; i++)
                free(t->cells[i].text);
        free(t->cells);
        free(t);
}

void table_freep(struct table **t)
{
        table_free(*t);
}

void table_put(struct table *t, enum table_style style, const char *text)
{
        struct cell *cell;

        if (t->len == t->allocated) {
                t->allocated = MAX(2 * t->allocated, (size_t) 64);
                t->cells = mem_resize(t->cells, t->allocated, sizeof *t->cells);
        }
        cell = &t->cells[t->len++];
        cell->empty = text == NULL || *text == '\0';
        cell->text = mem_strdup(cell->empty ? "-" : text);
        cell->width = columns_width(cell->text);
        cell->style = style;
}

void table_printf(struct table *t, enum table_style style, const char *format, ...)
{
        AUTO(mem_freep) char *text = NULL;
        va_list ap;

        va_start(ap, format);
        if (vasprintf(&text, format, ap) < 0)
                abort(); /* out of memory, as in base/mem.c */
        va_end(ap);
        table_put(t, style, text);
}

const char *table_style_begin(enum table_style style)
{
        switch (style) {
        case TABLE_PLAIN:
                return "";
        case TABLE_GOOD:
                return "\033[32m";
        case TABLE_WARN:
                return "\033[33m";
        case TABLE_BAD:
                return "\033[31m";
        case TABLE_DIM:
                return "\033[2m";
        }
        abort();
}

/* What a line has been given so far. */
struct line {
        size_t used, width; /* width 0: no limit */
        bool colour;
        struct buffer *out;
};

static void put_spaces(struct line *line, size_t n)
{
        buffer_printf(line->out, "%*s", (int) n, "");
        line->used += n;
}

static void put_cell(struct line *line, const struct cell *cell)
{
        bool styled = line->colour && cell->style != TABLE_PLAIN;

        if (styled)
                buffer_puts(line->out, table_style_begin(cell->style));
        line->used +=
                columns_put(line->out, cell->text, line->width > 0 ? line->width - line->used : 0);
        if (styled)
                buffer_puts(line->out, TABLE_STYLE_END);
}

/* @widths: 0 for a column that is left out. */
static void write_row(
        const struct table *t, const struct cell *cells, const size_t *widths, struct line *line)
{
        line->used = 0;
        for (size_t i = 0; i < t->columns_len; i++) {
                size_t fill = widths[i] - MIN(cells[i].width, widths[i]), gap = i > 0 ? GAP : 0;

                if (widths[i] == 0)
                        continue;
                gap += (t->columns[i].flags & TABLE_RIGHT) != 0 ? fill : 0;
                if (line->width > 0 && line->used + gap >= line->width)
                        break;
                put_spaces(line, gap);
                put_cell(line, &cells[i]);
                if ((t->columns[i].flags & TABLE_RIGHT) != 0 || i + 1 == t->columns_len)
                        continue;
                if (line->width > 0)
                        fill = MIN(fill, line->width - line->used);
                put_spaces(line, fill);
        }
        while (line->out->len > 0 && line->out->data[line->out->len - 1] == ' ')
                line->out->data[--line->out->len] = '\0';
        buffer_putc(line->out, '\n');
}

static bool is_empty(const struct table *t, size_t column)
{
        for (size_t i = column; i < t->len; i += t->columns_len)
                if (!t->cells[i].empty)
                        return false;
        return true;
}

void table_write(const struct table *t, size_t width, bool colour, struct buffer *out)
{
        AUTO(mem_freep) size_t *widths = mem_alloc(t->columns_len * sizeof *widths);
        AUTO(mem_freep) struct cell *titles = mem_alloc(t->columns_len * sizeof *titles);
        struct line line = { .width = width, .colour = colour, .out = out };

        for (size_t i = 0; i < t->columns_len; i++) {
                titles[i].text = (char *) (uintptr_t) t->columns[i].title;
                titles[i].width = widths[i] = columns_width(titles[i].text);
                titles[i].style = TABLE_DIM;
        }
        for (size_t i = 0; i < t->len; i++)
                widths[i % t->columns_len] = MAX(widths[i % t->columns_len], t->cells[i].width);
        for (size_t i = 0; i < t->columns_len; i++)
                if ((t->columns[i].flags & TABLE_OPTIONAL) != 0 && is_empty(t, i))
                        widths[i] = 0;
        write_row(t, titles, widths, &line);
        for (size_t i = 0; i + t->columns_len <= t->len; i += t->columns_len)
                write_row(t, &t->cells[i], widths, &line);
}
