/* SPDX-License-Identifier: BSD-3-Clause */
/* JSON with comments and trailing commas, as people write it.
 *
 * Three passes over a copy of the text. The first overwrites comments and trailing commas with
 * blanks, so that every byte that stays is where it was, and bounds the nesting. jansson then
 * reads strict JSON and says on which line it is broken. The third walks the text, now known to
 * be valid, and notes the line of every value; it needs no error handling. */
#include <stdbool.h>
#include <string.h>

#include "base/macros.h"
#include "model/document.h"

struct blanker {
        char *p, *end;
        size_t line;
        unsigned depth;
        char last;        /* the last byte that means something */
        char *comma;      /* it is a comma, which may turn out to be trailing */
        bool after_value; /* and a value stood before it */
};

/* Skips the string at p; one without an end is left for jansson to complain about. */
static void blanker_skip_string(struct blanker *b)
{
        for (b->p++; b->p < b->end && *b->p != '"' && *b->p != '\n'; b->p++)
                if (*b->p == '\\' && b->p + 1 < b->end && b->p[1] != '\n')
                        b->p++;
        if (b->p < b->end && *b->p == '"')
                b->p++;
}

static void blank_line_comment(struct blanker *b)
{
        while (b->p < b->end && *b->p != '\n')
                *b->p++ = ' ';
}

static int blank_block_comment(struct blanker *b, const char *label, struct error *err)
{
        size_t begin = b->line;

        b->p[0] = b->p[1] = ' ';
        for (b->p += 2; b->p + 1 < b->end; b->p++) {
                if (b->p[0] == '*' && b->p[1] == '/') {
                        b->p[0] = b->p[1] = ' ';
                        b->p += 2;
                        return 0;
                }
                if (*b->p == '\n')
                        b->line++;
                else
                        *b->p = ' ';
        }
        return error_set(err, ERR_INVALID, "%s:%zu: the comment has no end", label, begin);
}

/* Notes a byte that means something, and blanks the comma before a closing bracket. */
static void blanker_token(struct blanker *b, char c)
{
        if (c == ',') {
                b->comma = b->p;
                b->after_value = b->last != '\0' && strchr("[{,:", b->last) == NULL;
        } else if ((c == ']' || c == '}') && b->last == ',' && b->after_value) {
                *b->comma = ' ';
        }
        if (c == '[' || c == '{')
                b->depth++;
        else if ((c == ']' || c == '}') && b->depth > 0)
                b->depth--;
        b->last = c;
}

static int blank_extras(struct buffer *text, const char *label, struct error *err)
{
        struct blanker b = { .p = text->data, .end = text->data + text->len, .line = 1 };

        if (text->len >= 3 && memcmp(b.p, "\xef\xbb\xbf", 3) == 0)
                memset(b.p, ' ', 3);
        while (b.p < b.end) {
                char c = *b.p, next = b.p + 1 < b.end ? b.p[1] : '\0';

                if (c == '/' && next == '/') {
                        blank_line_comment(&b);
                        continue;
                }
                if (c == '/' && next == '*') {
                        if (blank_block_comment(&b, label, err) < 0)
                                return -1;
                        continue;
                }
                if (c == '\n')
                        b.line++;
                else if (c != ' ' && c != '\t' && c != '\r')
                        blanker_token(&b, c);
                if (c == '\0')
                        return error_set(err, ERR_INVALID, "%s:%zu: a NUL character is not allowed",
                                label, b.line);
                if (b.depth > DOCUMENT_DEPTH_MAX)
                        return error_set(
                                err, ERR_INVALID, "%s:%zu: nested too deeply", label, b.line);
                if (c == '"')
                        blanker_skip_string(&b);
                else
                        b.p++;
        }
        return 0;
}

struct scanner {
        const char *p; /* in valid JSON, followed by a NUL */
        size_t line;
        struct document *doc;
};

static void scan_space(struct scanner *s)
{
        for (; *s->p == ' ' || *s->p == '\t' || *s->p == '\r' || *s->p == '\n'; s->p++)
                if (*s->p == '\n')
                        s->line++;
}

/* Takes @c and the blanks around it, if it is next. */
static bool scan_token(struct scanner *s, char c)
{
        scan_space(s);
        if (*s->p != c)
                return false;
        s->p++;
        scan_space(s);
        return true;
}

static void scan_string(struct scanner *s)
{
        for (s->p++; *s->p != '"'; s->p++)
                if (*s->p == '\\')
                        s->p++;
        s->p++;
}

static void scan_value(struct scanner *s, size_t line);

static void scan_object(struct scanner *s)
{
        if (!scan_token(s, '}'))
                do {
                        size_t line;

                        scan_space(s);
                        line = s->line;
                        scan_string(s);
                        scan_token(s, ':');
                        scan_value(s, line);
                } while (scan_token(s, ',') || !scan_token(s, '}'));
}

static void scan_array(struct scanner *s)
{
        if (!scan_token(s, ']'))
                do {
                        scan_space(s);
                        scan_value(s, s->line);
                } while (scan_token(s, ',') || !scan_token(s, ']'));
}

/* Notes the value at p and all that is in it, and moves behind it. */
static void scan_value(struct scanner *s, size_t line)
{
        uint32_t at = document_begin(s->doc, line);

        if (*s->p == '{') {
                s->p++;
                scan_object(s);
        } else if (*s->p == '[') {
                s->p++;
                scan_array(s);
        } else if (*s->p == '"') {
                scan_string(s);
        } else {
                size_t len = strcspn(s->p, " \t\r\n,]}");

                s->doc->positions[at].offset = (uint32_t) (s->p - s->doc->text.data);
                s->doc->positions[at].length = (uint32_t) len;
                s->p += len;
        }
        document_end(s->doc, at);
}

/* One sentence from jansson's; it may quote raw bytes of the text. */
static int load_failed(const char *label, json_error_t *e, struct error *err)
{
        const char *near = strstr(e->text, " near '\"");

        for (char *c = e->text; *c != '\0'; c++)
                if ((unsigned char) *c < ' ' || *c == 0x7f)
                        *c = '?';
        if (json_error_code(e) == json_error_numeric_overflow)
                return error_set(
                        err, ERR_INVALID, "%s:%d: the number is too large", label, e->line);
        if (json_error_code(e) == json_error_null_character)
                return error_set(
                        err, ERR_INVALID, "%s:%d: a NUL character is not allowed", label, e->line);
        if (json_error_code(e) == json_error_duplicate_key && near != NULL)
                return error_set(err, ERR_INVALID, "%s:%d: duplicate key %.*s", label, e->line,
                        (int) strlen(near) - 8, near + 7);
        return error_set(
                err, ERR_INVALID, "%s:%d: not valid JSON: %s", label, MAX(e->line, 1), e->text);
}

static bool is_blank(const struct buffer *text)
{
        return strspn(buffer_str(text), " \t\r\n") == text->len;
}

int document_read_json(
        const char *label, const char *text, size_t len, struct document *ret, struct error *err)
{
        AUTO(document_done) struct document doc = { 0 };
        struct scanner s = { .line = 1, .doc = &doc };
        json_error_t e;

        if (document_check_size(label, len, err) < 0)
                return -1;
        buffer_put(&doc.text, text, len);
        if (blank_extras(&doc.text, label, err) < 0)
                return -1;
        doc.root = is_blank(&doc.text) ? json_null()
                                       : json_loadb(doc.text.data, doc.text.len,
                                                 JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
        if (doc.root == NULL)
                return load_failed(label, &e, err);
        s.p = doc.text.data;
        scan_space(&s);
        scan_value(&s, s.line);
        *ret = doc;
        doc = (struct document){ 0 };
        return 0;
}
