/* SPDX-License-Identifier: BSD-3-Clause */
/* Records: flat structs in and out of JSON by a table of their fields.
 *
 * Writing goes straight into the buffer, because a listing of a hundred thousand tasks is nothing
 * else; reading takes a jansson object, because what is read arrives one at a time. A record that
 * record_read() filled owns its strings and maps; for writing it does not matter who does. A field
 * that is null in one Reeve and unknown in an older one looks the same to both. */
#include "model/record.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/time.h"

static const void *member(const struct record_field *field, const void *record)
{
        return (const char *) record + field->offset;
}

static void put_literal(struct buffer *out, const char *s)
{
        buffer_put(out, s, strlen(s));
}

/* A word that is known to need no escapes. */
static void put_word(struct buffer *out, const char *word)
{
        size_t len = strlen(word);
        char *p = buffer_reserve(out, len + 2);

        p[0] = '"';
        memcpy(p + 1, word, len);
        p[len + 1] = '"';
        buffer_commit(out, len + 2);
}

static void put_time(struct buffer *out, usec_t wall)
{
        char text[TIME_TEXT_MAX];

        put_word(out, time_format_wall(text, wall));
}

static void put_map(struct buffer *out, const struct attributes *map)
{
        char before = '{';

        for (size_t i = 0; i < map->len; i++) {
                const char *pair = map->pairs[i];
                size_t len = strcspn(pair, "=");

                buffer_putc(out, before);
                before = ',';
                buffer_putc(out, '"');
                buffer_put(out, pair, len); /* the name of an attribute needs no escapes */
                put_literal(out, "\":");
                text_put_json_string(out, pair + len + 1);
        }
        put_literal(out, map->len == 0 ? "{}" : "}");
}

static bool is_null(const struct record_field *field, const void *at)
{
        switch (field->type) {
        case RECORD_STRING:
                return *(const char *const *) at == NULL;
        case RECORD_BOOL:
                return false;
        case RECORD_INT:
                return *(const int64_t *) at == RECORD_NULL;
        case RECORD_TIME:
                return *(const usec_t *) at == 0;
        case RECORD_SIGNAL:
                return *(const int *) at == 0;
        case RECORD_ENUM:
                return *(const int *) at < 0;
        case RECORD_MAP:
                return false;
        }
        abort();
}

static void put_value(const struct record_field *field, const void *at, struct buffer *out)
{
        switch (field->type) {
        case RECORD_STRING:
                text_put_json_string(out, *(const char *const *) at);
                break;
        case RECORD_BOOL:
                put_literal(out, *(const bool *) at ? "true" : "false");
                break;
        case RECORD_INT:
                buffer_put_int(out, *(const int64_t *) at);
                break;
        case RECORD_TIME:
                put_time(out, *(const usec_t *) at);
                break;
        case RECORD_SIGNAL:
                put_word(out, text_signal_name(*(const int *) at));
                break;
        case RECORD_ENUM:
                put_word(out, field->names[*(const int *) at]);
                break;
        case RECORD_MAP:
                put_map(out, at);
                break;
        }
}

static bool is_empty(const struct record_field *field, const void *at)
{
        return field->type == RECORD_MAP && ((const struct attributes *) at)->len == 0;
}

static void write_fields(
        const struct record_table *table, const void *record, bool nulls, struct buffer *out)
{
        char before = '{';

        for (size_t i = 0; i < table->len; i++) {
                const struct record_field *field = &table->fields[i];
                const void *at = member(field, record);
                bool null = is_null(field, at);

                if (!nulls && (null || is_empty(field, at)))
                        continue;
                buffer_putc(out, before);
                before = ',';
                put_word(out, field->name);
                buffer_putc(out, ':');
                if (null)
                        put_literal(out, "null");
                else
                        put_value(field, at, out);
        }
        if (before == '{')
                buffer_putc(out, '{');
        buffer_putc(out, '}');
}

void record_write(const struct record_table *table, const void *record, struct buffer *out)
{
        write_fields(table, record, true, out);
}

void record_write_short(const struct record_table *table, const void *record, struct buffer *out)
{
        write_fields(table, record, false, out);
}

static void set_null(const struct record_field *field, void *at)
{
        switch (field->type) {
        case RECORD_STRING:
                *(char **) at = NULL;
                break;
        case RECORD_BOOL:
                *(bool *) at = false;
                break;
        case RECORD_INT:
                *(int64_t *) at = RECORD_NULL;
                break;
        case RECORD_TIME:
                *(usec_t *) at = 0;
                break;
        case RECORD_SIGNAL:
                *(int *) at = 0;
                break;
        case RECORD_ENUM:
                *(int *) at = -1;
                break;
        case RECORD_MAP:
                *(struct attributes *) at = (struct attributes){ 0 };
                break;
        }
}

static bool get_string(const json_t *value, char **ret)
{
        const char *s = json_string_value(value);

        if (s == NULL || strlen(s) != json_string_length(value))
                return false;
        *ret = mem_strdup(s);
        return true;
}

static bool get_bool(const json_t *value, bool *ret)
{
        *ret = json_is_true(value);
        return json_is_boolean(value);
}

static bool get_int(const json_t *value, int64_t *ret)
{
        *ret = json_integer_value(value);
        return json_is_integer(value);
}

static bool get_time(const json_t *value, usec_t *ret)
{
        return json_is_string(value) && time_parse_wall(json_string_value(value), ret);
}

static bool get_signal(const json_t *value, int *ret)
{
        *ret = json_is_string(value) ? text_parse_signal(json_string_value(value)) : 0;
        return *ret != 0;
}

static bool get_enum(const json_t *value, const char *const *names, int *ret)
{
        const char *word = json_string_value(value);

        for (int i = 0; word != NULL && names[i] != NULL; i++)
                if (strcmp(word, names[i]) == 0) {
                        *ret = i;
                        return true;
                }
        return false;
}

static bool get_value(const struct record_field *field, const json_t *value, void *at)
{
        switch (field->type) {
        case RECORD_STRING:
                return get_string(value, at);
        case RECORD_BOOL:
                return get_bool(value, at);
        case RECORD_INT:
                return get_int(value, at);
        case RECORD_TIME:
                return get_time(value, at);
        case RECORD_SIGNAL:
                return get_signal(value, at);
        case RECORD_ENUM:
                return get_enum(value, field->names, at);
        case RECORD_MAP:
                return attributes_from_json(value, at, NULL) == 0;
        }
        abort();
}

static const char *const type_names[] = {
        [RECORD_STRING] = "text",
        [RECORD_BOOL] = "true or false",
        [RECORD_INT] = "a whole number",
        [RECORD_TIME] = "a time (RFC 3339)",
        [RECORD_SIGNAL] = "the name of a signal",
        [RECORD_ENUM] = "a known word",
        [RECORD_MAP] = "an object of names and texts",
};

const char *record_type_name(enum record_type type)
{
        return type_names[type];
}

int record_read(
        const struct record_table *table, const json_t *object, void *ret, struct error *err)
{
        if (!json_is_object(object))
                return error_set(err, ERR_INVALID, "%s: expected an object", table->noun);
        for (size_t i = 0; i < table->len; i++)
                set_null(&table->fields[i], (char *) ret + table->fields[i].offset);
        for (size_t i = 0; i < table->len; i++) {
                const struct record_field *field = &table->fields[i];
                const json_t *value = json_object_get(object, field->name);

                if (value == NULL || json_is_null(value))
                        continue;
                if (!get_value(field, value, (char *) ret + field->offset)) {
                        record_done(table, ret);
                        return error_set(err, ERR_INVALID, "%s.%s: expected %s", table->noun,
                                field->name, type_names[field->type]);
                }
        }
        return 0;
}

void record_own(const struct record_table *table, void *record)
{
        for (size_t i = 0; i < table->len; i++) {
                const struct record_field *field = &table->fields[i];
                char *at = (char *) record + field->offset;

                if (field->type == RECORD_STRING) {
                        char **text = (char **) (void *) at;

                        *text = *text == NULL ? NULL : mem_strdup(*text);
                } else if (field->type == RECORD_MAP) {
                        struct attributes *map = (struct attributes *) (void *) at;
                        struct attributes shared = *map;

                        *map = (struct attributes){ 0 };
                        attributes_copy(&shared, map);
                }
        }
}

void record_done(const struct record_table *table, void *record)
{
        for (size_t i = 0; i < table->len; i++) {
                void *at = (char *) record + table->fields[i].offset;

                if (table->fields[i].type == RECORD_STRING) {
                        free(*(char **) at);
                        *(char **) at = NULL;
                } else if (table->fields[i].type == RECORD_MAP) {
                        attributes_done(at);
                }
        }
}

void record_reference(const struct record_table *table, struct buffer *out)
{
        buffer_puts(out, "| field | value | meaning |\n|---|---|---|\n");
        for (size_t i = 0; i < table->len; i++) {
                const struct record_field *field = &table->fields[i];

                buffer_printf(out, "| `%s` | ", field->name);
                if (field->type != RECORD_ENUM)
                        buffer_puts(out, type_names[field->type]);
                for (size_t n = 0; field->type == RECORD_ENUM && field->names[n] != NULL; n++)
                        buffer_printf(out, "%s`%s`", n == 0 ? "" : ", ", field->names[n]);
                buffer_printf(out, " | %s |\n", field->help);
        }
}
