/* SPDX-License-Identifier: BSD-3-Clause */
/* Records from text without a tree; see record.c for what a record is.
 *
 * A writer of records writes their fields in the order of the table, so the field that follows the
 * last one is looked at first, and finding a field costs one comparison. */
#include "model/record-scan.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "base/time.h"
#include "model/attributes.h"

static void set_null(const struct record_field *field, void *at)
{
        switch (field->type) {
        case RECORD_STRING:
                *(char **) at = NULL;
                return;
        case RECORD_BOOL:
                *(bool *) at = false;
                return;
        case RECORD_INT:
                *(int64_t *) at = RECORD_NULL;
                return;
        case RECORD_TIME:
                *(usec_t *) at = 0;
                return;
        case RECORD_SIGNAL:
                *(int *) at = 0;
                return;
        case RECORD_ENUM:
                *(int *) at = -1;
                return;
        case RECORD_MAP:
                *(struct attributes *) at = (struct attributes){ 0 };
                return;
        }
}

/* What stood there twice. */
static void drop(const struct record_field *field, void *at)
{
        if (field->type == RECORD_STRING)
                free(*(char **) at);
        else if (field->type == RECORD_MAP)
                attributes_done(at);
        set_null(field, at);
}

void record_scan_begin(struct record_scan *r, const struct record_table *table, void *record)
{
        *r = (struct record_scan){ .table = table, .record = record };
        for (size_t i = 0; i < table->len; i++)
                set_null(&table->fields[i], (char *) record + table->fields[i].offset);
}

/* ---- Values */

/* Words are short; one that is longer is none of ours. */
#define WORD_MAX 64

static bool take_word(struct scan *s, char ret[WORD_MAX])
{
        struct scan_text text;

        if (!scan_word(s, &text))
                return false;
        if (text.len >= WORD_MAX)
                return scan_fail(s, "a shorter word");
        memcpy(ret, text.at, text.len);
        ret[text.len] = '\0';
        return true;
}

static bool get_time(struct scan *s, usec_t *ret)
{
        char word[WORD_MAX];

        return take_word(s, word) && time_parse_wall(word, ret);
}

static bool get_signal(struct scan *s, int *ret)
{
        char word[WORD_MAX];

        if (!take_word(s, word))
                return false;
        *ret = text_parse_signal(word);
        return *ret != 0;
}

static bool get_enum(struct scan *s, const char *const *names, int *ret)
{
        struct scan_text word;

        if (!scan_word(s, &word))
                return false;
        for (int i = 0; names[i] != NULL; i++)
                if (scan_text_is(&word, names[i])) {
                        *ret = i;
                        return true;
                }
        return false;
}

/* Maps are few and small: as a tree. */
static bool get_map(struct scan *s, struct attributes *ret)
{
        struct scan_text text;
        json_t *json;
        bool good;

        if (!scan_skip(s, &text))
                return false;
        json = json_loadb(text.at, text.len, JSON_REJECT_DUPLICATES, NULL);
        good = attributes_from_json(json, ret, NULL) == 0;
        json_decref(json);
        return good;
}

static bool get_value(const struct record_field *field, struct scan *s, void *at)
{
        switch (field->type) {
        case RECORD_STRING:
                return scan_string(s, at);
        case RECORD_BOOL:
                return scan_bool(s, at);
        case RECORD_INT:
                return scan_int(s, at);
        case RECORD_TIME:
                return get_time(s, at);
        case RECORD_SIGNAL:
                return get_signal(s, at);
        case RECORD_ENUM:
                return get_enum(s, field->names, at);
        case RECORD_MAP:
                return get_map(s, at);
        }
        abort();
}

/* ---- Members */

static const struct record_field *find_field(struct record_scan *r, const struct scan_text *key)
{
        for (size_t i = 0, at = r->next; i < r->table->len; i++, at++) {
                const struct record_field *field;

                at = at >= r->table->len ? 0 : at;
                field = &r->table->fields[at];
                if (scan_text_is(key, field->name)) {
                        r->next = at + 1;
                        return field;
                }
        }
        return NULL;
}

void record_scan_member(struct record_scan *r, struct scan *s, const struct scan_text *key)
{
        const struct record_field *field = find_field(r, key);
        void *at = field == NULL ? NULL : (char *) r->record + field->offset;

        if (field == NULL) {
                scan_skip(s, NULL);
                return;
        }
        drop(field, at);
        if (scan_peek(s) == SCAN_NULL) {
                scan_null(s);
        } else if (!get_value(field, s, at)) {
                scan_fail(s, "another value");
                r->wrong = r->wrong == NULL ? field : r->wrong;
        }
}

int record_scan_fail(const struct record_scan *r, const struct scan *s, struct error *err)
{
        if (r->wrong != NULL)
                return error_set(err, ERR_INVALID, "%s.%s: expected %s", r->table->noun,
                        r->wrong->name, record_type_name(r->wrong->type));
        return error_set(err, ERR_INVALID, "%s: expected %s at byte %zu", r->table->noun,
                s->problem, scan_position(s));
}
