/* SPDX-License-Identifier: BSD-3-Clause */
/* Values: those of a document with the way to each, so that a message can say `web.yaml:7:
 * jobs.web.count`.
 *
 * The way is a chain of structs on the stacks of the functions that read; nothing is copied until
 * something is wrong. What a message quotes is cut and escaped: it may come from anybody. */
#include "model/value.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

#define QUOTE_MAX 40 /* bytes of a value or key that a message shows */

/* jansson's iterators do not change the object but take it as if they might. */
static json_t *unconst(const json_t *json)
{
        return (json_t *) (uintptr_t) json;
}

static bool next_child(const struct value *parent, struct value_walk *walk, struct value *ret)
{
        if (json_is_object(parent->json)) {
                json_t *object = unconst(parent->json);

                walk->iter = walk->begun ? json_object_iter_next(object, walk->iter)
                                         : json_object_iter(object);
                if (walk->iter == NULL)
                        return false;
                ret->key = json_object_iter_key(walk->iter);
                ret->json = json_object_iter_value(walk->iter);
                return true;
        }
        walk->index = walk->begun ? walk->index + 1 : 0;
        ret->index = walk->index;
        ret->json = json_array_get(parent->json, walk->index);
        return ret->json != NULL;
}

bool value_next(const struct reader *r, const struct value *parent, struct value_walk *walk,
        struct value *ret)
{
        struct value next = { .parent = parent };

        if (!next_child(parent, walk, &next))
                return false;
        if (r->doc != NULL) {
                walk->position =
                        walk->begun ? r->doc->positions[walk->position].end : parent->position + 1;
                next.position = walk->position;
        }
        walk->begun = true;
        *ret = next;
        return true;
}

bool value_find(
        const struct reader *r, const struct value *parent, const char *key, struct value *ret)
{
        struct value_walk walk = { 0 };
        struct value next;

        while (json_is_object(parent->json) && value_next(r, parent, &walk, &next))
                if (strcmp(next.key, key) == 0) {
                        *ret = next;
                        return true;
                }
        return false;
}

bool value_is_given(const struct value *parent, const char *key)
{
        const json_t *member = json_object_get(parent->json, key);

        return member != NULL && !json_is_null(member);
}

/* Appends @s as a JSON string, cut to QUOTE_MAX bytes. */
static void put_quoted(struct buffer *b, const char *s)
{
        char cut[QUOTE_MAX + 4];
        size_t len = strlen(s);

        if (len > QUOTE_MAX) {
                len = QUOTE_MAX;
                while (len > 0 && ((unsigned char) s[len] & 0xc0) == 0x80)
                        len--; /* not in the middle of a character */
                snprintf(cut, sizeof cut, "%.*s...", (int) len, s);
                s = cut;
        }
        text_put_json_string(b, s);
}

static bool is_plain_word(const char *s)
{
        size_t len = 0;

        for (; isalnum((unsigned char) s[len]) || s[len] == '-' || s[len] == '_'; len++)
                ;
        return s[len] == '\0' && len > 0 && len <= QUOTE_MAX;
}

static void put_path(struct buffer *b, const struct value *value)
{
        if (value->parent == NULL)
                return;
        put_path(b, value->parent);
        if (value->key == NULL) {
                buffer_printf(b, "[%zu]", value->index);
                return;
        }
        if (b->len > 0)
                buffer_putc(b, '.');
        if (is_plain_word(value->key))
                buffer_puts(b, value->key);
        else
                put_quoted(b, value->key);
}

static int fail(const struct reader *r, const struct value *value, const char *what)
{
        AUTO(buffer_done) struct buffer source = { 0 }, path = { 0 };

        if (r->label != NULL && r->doc != NULL)
                buffer_printf(&source, "%s:%" PRIu32 ": ", r->label,
                        r->doc->positions[value->position].line);
        put_path(&path, value);
        if (path.len > 0)
                buffer_puts(&path, ": ");
        return error_set(
                r->err, ERR_INVALID, "%s%s%s", buffer_str(&source), buffer_str(&path), what);
}

int value_fail(const struct reader *r, const struct value *value, const char *format, ...)
{
        char what[sizeof r->err->message];
        va_list ap;

        va_start(ap, format);
        vsnprintf(what, sizeof what, format, ap);
        va_end(ap);
        return fail(r, value, what);
}

int value_fail_more(const struct reader *r, const char *format, ...)
{
        va_list ap;
        size_t used;

        if (r->err == NULL)
                return -1;
        used = strlen(r->err->message);
        va_start(ap, format);
        vsnprintf(r->err->message + used, sizeof r->err->message - used, format, ap);
        va_end(ap);
        return -1;
}

/* Appends the value in a few letters. */
static void put_value(const struct reader *r, const struct value *value, struct buffer *b)
{
        AUTO(buffer_done) struct buffer text = { 0 };

        if (json_is_string(value->json))
                put_quoted(b, json_string_value(value->json));
        else if (json_is_object(value->json))
                buffer_puts(b, "an object");
        else if (json_is_array(value->json))
                buffer_puts(b, "a list");
        else if (value_get_text(r, value, &text))
                buffer_printf(b, "%.*s", QUOTE_MAX, buffer_str(&text));
        else
                buffer_puts(b, "null");
}

int value_fail_expected(const struct reader *r, const struct value *value, const char *format, ...)
{
        AUTO(buffer_done) struct buffer got = { 0 };
        char what[sizeof r->err->message];
        va_list ap;

        va_start(ap, format);
        vsnprintf(what, sizeof what, format, ap);
        va_end(ap);
        put_value(r, value, &got);
        return value_fail(r, value, "expected %s, got %s", what, buffer_str(&got));
}

bool value_get_text(const struct reader *r, const struct value *value, struct buffer *ret)
{
        const json_t *v = value->json;

        if (json_is_string(v))
                buffer_put(ret, json_string_value(v), json_string_length(v));
        else if (json_is_boolean(v))
                buffer_puts(ret, json_is_true(v) ? "true" : "false");
        else if (json_is_number(v) && r->doc != NULL)
                buffer_put(ret, r->doc->text.data + r->doc->positions[value->position].offset,
                        r->doc->positions[value->position].length);
        else if (json_is_integer(v))
                buffer_printf(ret, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
        else if (json_is_real(v))
                buffer_printf(ret, "%.15g", json_real_value(v));
        else
                return false;
        return true;
}
