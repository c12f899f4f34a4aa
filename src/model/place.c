/* SPDX-License-Identifier: BSD-3-Clause */
/* Places: values with the way to them, so that a message can say `web.yaml:7: jobs.web.count`.
 *
 * The way is a chain of structs on the stacks of the functions that read; nothing is copied until
 * something is wrong. What a message quotes is cut and escaped: it may come from anybody. */
#include "model/place.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

#define QUOTE_MAX 40 /* bytes of a value or key that a message shows */

/* jansson's iterators do not change the object but take it as if they might. */
static json_t *unconst(const json_t *value)
{
        return (json_t *) (uintptr_t) value;
}

static bool next_child(const struct place *parent, struct place_walk *walk, struct place *ret)
{
        if (json_is_object(parent->value)) {
                json_t *object = unconst(parent->value);

                walk->iter = walk->begun ? json_object_iter_next(object, walk->iter)
                                         : json_object_iter(object);
                if (walk->iter == NULL)
                        return false;
                ret->key = json_object_iter_key(walk->iter);
                ret->value = json_object_iter_value(walk->iter);
                return true;
        }
        walk->index = walk->begun ? walk->index + 1 : 0;
        ret->index = walk->index;
        ret->value = json_array_get(parent->value, walk->index);
        return ret->value != NULL;
}

bool place_next(const struct reader *r, const struct place *parent, struct place_walk *walk,
        struct place *ret)
{
        struct place next = { .parent = parent };

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

bool place_find(
        const struct reader *r, const struct place *parent, const char *key, struct place *ret)
{
        struct place_walk walk = { 0 };
        struct place next;

        while (json_is_object(parent->value) && place_next(r, parent, &walk, &next))
                if (strcmp(next.key, key) == 0) {
                        *ret = next;
                        return true;
                }
        return false;
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

static void put_path(struct buffer *b, const struct place *place)
{
        if (place->parent == NULL)
                return;
        put_path(b, place->parent);
        if (place->key == NULL) {
                buffer_printf(b, "[%zu]", place->index);
                return;
        }
        if (b->len > 0)
                buffer_putc(b, '.');
        if (is_plain_word(place->key))
                buffer_puts(b, place->key);
        else
                put_quoted(b, place->key);
}

static int fail(const struct reader *r, const struct place *place, const char *what)
{
        AUTO(buffer_done) struct buffer source = { 0 }, path = { 0 };

        if (r->label != NULL && r->doc != NULL)
                buffer_printf(&source, "%s:%" PRIu32 ": ", r->label,
                        r->doc->positions[place->position].line);
        put_path(&path, place);
        if (path.len > 0)
                buffer_puts(&path, ": ");
        return error_set(
                r->err, ERR_INVALID, "%s%s%s", buffer_str(&source), buffer_str(&path), what);
}

int place_fail(const struct reader *r, const struct place *place, const char *format, ...)
{
        char what[sizeof r->err->message];
        va_list ap;

        va_start(ap, format);
        vsnprintf(what, sizeof what, format, ap);
        va_end(ap);
        return fail(r, place, what);
}

int place_fail_more(const struct reader *r, const char *format, ...)
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
static void put_value(const struct reader *r, const struct place *place, struct buffer *b)
{
        AUTO(buffer_done) struct buffer text = { 0 };

        if (json_is_string(place->value))
                put_quoted(b, json_string_value(place->value));
        else if (json_is_object(place->value))
                buffer_puts(b, "an object");
        else if (json_is_array(place->value))
                buffer_puts(b, "a list");
        else if (place_get_text(r, place, &text))
                buffer_printf(b, "%.*s", QUOTE_MAX, buffer_str(&text));
        else
                buffer_puts(b, "null");
}

int place_fail_expected(const struct reader *r, const struct place *place, const char *format, ...)
{
        AUTO(buffer_done) struct buffer value = { 0 };
        char what[sizeof r->err->message];
        va_list ap;

        va_start(ap, format);
        vsnprintf(what, sizeof what, format, ap);
        va_end(ap);
        put_value(r, place, &value);
        return place_fail(r, place, "expected %s, got %s", what, buffer_str(&value));
}

bool place_get_text(const struct reader *r, const struct place *place, struct buffer *ret)
{
        const json_t *v = place->value;

        if (json_is_string(v))
                buffer_put(ret, json_string_value(v), json_string_length(v));
        else if (json_is_boolean(v))
                buffer_puts(ret, json_is_true(v) ? "true" : "false");
        else if (json_is_number(v) && r->doc != NULL)
                buffer_put(ret, r->doc->text.data + r->doc->positions[place->position].offset,
                        r->doc->positions[place->position].length);
        else if (json_is_integer(v))
                buffer_printf(ret, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
        else if (json_is_real(v))
                buffer_printf(ret, "%.15g", json_real_value(v));
        else
                return false;
        return true;
}
