/* SPDX-License-Identifier: BSD-3-Clause */
/* Environment files: one pass over the text, an assignment at a time. */
#include "model/env-file.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/macros.h"
#include "base/mem.h"

struct reader {
        const char *label;
        const char *p, *end;
        unsigned line;
        struct error *err;
};

static bool is_blank(char c)
{
        return c == ' ' || c == '\t' || c == '\r';
}

/* The next character, counted; 0 at the end. */
static char next(struct reader *r)
{
        if (r->p == r->end)
                return '\0';
        if (*r->p == '\n')
                r->line++;
        return *r->p++;
}

static void skip_line(struct reader *r)
{
        char c;

        do
                c = next(r);
        while (c != '\0' && c != '\n');
}

/* ---- values */

static int read_single_quoted(struct reader *r, struct buffer *value)
{
        unsigned begin = r->line;

        for (char c; (c = next(r)) != '\'';) {
                if (c == '\0')
                        return error_set(r->err, ERR_INVALID, "%s:%u: a ' that is not closed",
                                r->label, begin);
                buffer_putc(value, c);
        }
        return 0;
}

static int read_double_quoted(struct reader *r, struct buffer *value)
{
        unsigned begin = r->line;

        for (char c; (c = next(r)) != '"';) {
                if (c == '\\' && r->p < r->end) {
                        c = next(r);
                        if (c == '\n')
                                continue;
                        if (strchr("\"\\`$", c) == NULL)
                                buffer_putc(value, '\\');
                }
                if (c == '\0')
                        return error_set(r->err, ERR_INVALID, "%s:%u: a \" that is not closed",
                                r->label, begin);
                buffer_putc(value, c);
        }
        return 0;
}

/* To the end of the line; blanks at its end are none of it, unless escaped. */
static void read_unquoted(struct reader *r, struct buffer *value)
{
        size_t keep = value->len;

        for (char c; (c = next(r)) != '\0' && c != '\n';) {
                bool escaped = c == '\\' && r->p < r->end;

                if (escaped)
                        c = next(r);
                if (escaped && c == '\n')
                        continue;
                buffer_putc(value, c);
                if (escaped || !is_blank(c))
                        keep = value->len;
        }
        value->len = keep;
}

static int read_value(struct reader *r, struct buffer *value)
{
        while (r->p < r->end) {
                if (is_blank(*r->p)) {
                        next(r);
                } else if (*r->p == '\'') {
                        next(r);
                        if (read_single_quoted(r, value) < 0)
                                return -1;
                } else if (*r->p == '"') {
                        next(r);
                        if (read_double_quoted(r, value) < 0)
                                return -1;
                } else {
                        read_unquoted(r, value);
                        return 0;
                }
        }
        return 0;
}

/* ---- names */

static bool is_name(const char *name, size_t len)
{
        if (len == 0 || isdigit((unsigned char) name[0]))
                return false;
        for (size_t i = 0; i < len; i++)
                if (!isalnum((unsigned char) name[i]) && name[i] != '_')
                        return false;
        return true;
}

static void put(char ***env, const char *name, size_t name_len, const struct buffer *value)
{
        char *pair = mem_printf("%.*s=%.*s", (int) name_len, name, (int) value->len,
                value->len > 0 ? value->data : "");
        size_t n = 0;

        for (; *env != NULL && (*env)[n] != NULL; n++)
                if (strncmp((*env)[n], pair, name_len + 1) == 0) {
                        free((*env)[n]);
                        (*env)[n] = pair;
                        return;
                }
        *env = mem_resize(*env, n + 2, sizeof **env);
        (*env)[n] = pair;
        (*env)[n + 1] = NULL;
}

static int read_assignment(struct reader *r, char ***env)
{
        AUTO(buffer_done) struct buffer value = { 0 };
        const char *name = r->p;
        size_t len = 0;
        unsigned line = r->line;

        while (r->p < r->end && *r->p != '=' && *r->p != '\n')
                r->p++;
        if (r->p == r->end || *r->p == '\n') { /* says nothing */
                skip_line(r);
                return 0;
        }
        len = (size_t) (r->p - name);
        while (len > 0 && is_blank(name[len - 1]))
                len--;
        if (!is_name(name, len))
                return error_set(r->err, ERR_INVALID,
                        "%s:%u: \"%.*s\" is no name of a variable; expected NAME=VALUE", r->label,
                        line, (int) MIN(len, (size_t) 60), name);
        r->p++;
        if (read_value(r, &value) < 0)
                return -1;
        put(env, name, len, &value);
        return 0;
}

int env_file_parse(const char *label, const char *text, size_t len, char ***env, struct error *err)
{
        struct reader r = { label, text, text + len, 1, err };

        if (memchr(text, '\0', len) != NULL)
                return error_set(err, ERR_INVALID, "%s: has a NUL character in it", label);
        while (r.p < r.end) {
                if (is_blank(*r.p) || *r.p == '\n')
                        next(&r);
                else if (*r.p == '#' || *r.p == ';')
                        skip_line(&r);
                else if (read_assignment(&r, env) < 0)
                        return -1;
        }
        return 0;
}
