/* SPDX-License-Identifier: BSD-3-Clause */
/* YAML: the events of libyaml, turned into jansson values with the line of each.
 *
 * Only the part of YAML that everybody reads the same way is taken. A plain scalar is a number,
 * true, false or null exactly when it would be one in JSON; so `no`, `on`, `012`, `1_000` and
 * dates are the strings they look like. A value that is not there (`restart:` and nothing below
 * it) is null. Anchors, aliases, tags, duplicate keys, keys that are not scalars and second
 * documents are refused: without aliases a small file stays small in memory, and nothing in a job
 * file can mean what one does not see.
 *
 * libyaml checks UTF-8 and control characters and looks ahead by a bounded number of bytes; the
 * nesting is bounded here, so the recursion is too. */
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <yaml.h>

#include "base/macros.h"
#include "base/text.h"
#include "model/document.h"

struct yaml_reader {
        yaml_parser_t parser;
        yaml_event_t event; /* the current one */
        const char *label;
        const char *text;
        size_t len;
        struct document *doc;
        struct error *err;
        unsigned depth;
};

static size_t event_line(const struct yaml_reader *r)
{
        return r->event.start_mark.line + 1;
}

static int refuse(struct yaml_reader *r, const char *what)
{
        return error_set(r->err, ERR_INVALID, "%s:%zu: %s", r->label, event_line(r), what);
}

/* The line of the byte at @offset. */
static size_t line_of_offset(const struct yaml_reader *r, size_t offset)
{
        size_t line = 1;

        for (size_t i = 0; i < offset && i < r->len; i++)
                if (r->text[i] == '\n')
                        line++;
        return line;
}

/* True if the line is indented with a tab, the most common way to get libyaml's least helpful
 * message. */
static bool line_has_tab(const struct yaml_reader *r, size_t line)
{
        const char *p = r->text, *end = r->text + r->len;

        for (size_t i = 1; i < line && p != NULL && p < end; i++) {
                p = memchr(p, '\n', (size_t) (end - p));
                if (p != NULL)
                        p++;
        }
        while (p != NULL && p < end && *p == ' ')
                p++;
        return p != NULL && p < end && *p == '\t';
}

static int parser_failed(struct yaml_reader *r)
{
        const yaml_parser_t *p = &r->parser;
        const char *problem = p->problem == NULL ? "cannot be read" : p->problem;
        size_t line = p->problem_mark.line + 1;

        if (p->error == YAML_READER_ERROR)
                return error_set(r->err, ERR_INVALID, "%s:%zu: not valid YAML: %s", r->label,
                        line_of_offset(r, p->problem_offset), problem);
        if (line_has_tab(r, line))
                return error_set(r->err, ERR_INVALID,
                        "%s:%zu: not valid YAML: indented with a tab; use spaces", r->label, line);
        if (p->context != NULL && p->context_mark.line + 1 != line)
                return error_set(r->err, ERR_INVALID,
                        "%s:%zu: not valid YAML: %s (%s that begins on line %zu)", r->label, line,
                        problem, p->context, p->context_mark.line + 1);
        return error_set(
                r->err, ERR_INVALID, "%s:%zu: not valid YAML: %s", r->label, line, problem);
}

/* Moves on to the next event. */
static int step(struct yaml_reader *r)
{
        yaml_event_delete(&r->event);
        if (!yaml_parser_parse(&r->parser, &r->event))
                return parser_failed(r);
        return 0;
}

static int check_no_anchor_or_tag(
        struct yaml_reader *r, const yaml_char_t *anchor, const yaml_char_t *tag)
{
        if (anchor != NULL)
                return refuse(r, "anchors (&name) are not supported; write the value again");
        if (tag != NULL)
                return refuse(r, "tags (!name) are not supported");
        return 0;
}

static size_t skip_digits(const char *s, size_t i)
{
        while (s[i] >= '0' && s[i] <= '9')
                i++;
        return i;
}

/* The grammar of RFC 8259, section 6. */
static bool is_json_number(const char *s)
{
        size_t i = s[0] == '-' ? 1 : 0, from = i;

        i = skip_digits(s, i);
        if (i == from || (s[from] == '0' && i > from + 1))
                return false;
        if (s[i] == '.') {
                from = ++i;
                i = skip_digits(s, i);
                if (i == from)
                        return false;
        }
        if (s[i] == 'e' || s[i] == 'E') {
                i++;
                if (s[i] == '+' || s[i] == '-')
                        i++;
                from = i;
                i = skip_digits(s, i);
                if (i == from)
                        return false;
        }
        return s[i] == '\0';
}

/* The value of a number; remembers how it was written. */
static int read_number(struct yaml_reader *r, const char *s, size_t len, uint32_t at, json_t **ret)
{
        struct position *position = &r->doc->positions[at];
        json_t *value = json_loadb(s, len, JSON_DECODE_ANY, NULL);

        if (value == NULL)
                return refuse(r, "the number is too large");
        position->offset = (uint32_t) r->doc->text.len;
        position->length = (uint32_t) len;
        buffer_put(&r->doc->text, s, len);
        *ret = value;
        return 0;
}

static int read_scalar(struct yaml_reader *r, uint32_t at, json_t **ret)
{
        const char *s = (const char *) r->event.data.scalar.value;
        size_t len = r->event.data.scalar.length;
        bool plain = r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;

        if (memchr(s, '\0', len) != NULL)
                return refuse(r, "a NUL character is not allowed");
        if (plain && is_json_number(s))
                return read_number(r, s, len, at, ret);
        if (plain && (len == 0 || strcmp(s, "null") == 0))
                *ret = json_null();
        else if (plain && strcmp(s, "true") == 0)
                *ret = json_true();
        else if (plain && strcmp(s, "false") == 0)
                *ret = json_false();
        else if ((*ret = json_stringn(s, len)) == NULL)
                return refuse(r, "not valid UTF-8");
        return 0;
}

static int read_value(struct yaml_reader *r, size_t line, json_t **ret);

static int read_sequence(struct yaml_reader *r, json_t *list)
{
        if (step(r) < 0)
                return -1;
        while (r->event.type != YAML_SEQUENCE_END_EVENT) {
                json_t *item;

                if (read_value(r, event_line(r), &item) < 0)
                        return -1;
                json_array_append_new(list, item);
        }
        return 0;
}

static int refuse_duplicate(struct yaml_reader *r, const char *key)
{
        AUTO(buffer_done) struct buffer quoted = { 0 };

        text_put_json_string(&quoted, key);
        return error_set(r->err, ERR_INVALID, "%s:%zu: duplicate key %s", r->label, event_line(r),
                buffer_str(&quoted));
}

/* Reads the key that is the current event and its value. */
static int read_member(struct yaml_reader *r, json_t *object)
{
        AUTO(buffer_done) struct buffer key = { 0 };
        size_t line = event_line(r);
        json_t *value;

        if (r->event.type == YAML_ALIAS_EVENT)
                return refuse(r, "aliases (*name) are not supported; write the value again");
        if (r->event.type != YAML_SCALAR_EVENT)
                return refuse(r, "a key must be a word, not a list or an object");
        if (check_no_anchor_or_tag(r, r->event.data.scalar.anchor, r->event.data.scalar.tag) < 0)
                return -1;
        buffer_put(&key, r->event.data.scalar.value, r->event.data.scalar.length);
        if (strlen(buffer_str(&key)) != key.len)
                return refuse(r, "a NUL character is not allowed");
        if (json_object_get(object, buffer_str(&key)) != NULL)
                return refuse_duplicate(r, buffer_str(&key));
        if (step(r) < 0 || read_value(r, line, &value) < 0)
                return -1;
        if (json_object_set_new(object, buffer_str(&key), value) < 0)
                return refuse(r, "not valid UTF-8");
        return 0;
}

static int read_mapping(struct yaml_reader *r, json_t *object)
{
        if (step(r) < 0)
                return -1;
        while (r->event.type != YAML_MAPPING_END_EVENT)
                if (read_member(r, object) < 0)
                        return -1;
        return 0;
}

static int read_container(struct yaml_reader *r, json_t **ret)
{
        bool mapping = r->event.type == YAML_MAPPING_START_EVENT;
        json_t *container;

        if (mapping && check_no_anchor_or_tag(r, r->event.data.mapping_start.anchor,
                               r->event.data.mapping_start.tag) < 0)
                return -1;
        if (!mapping && check_no_anchor_or_tag(r, r->event.data.sequence_start.anchor,
                                r->event.data.sequence_start.tag) < 0)
                return -1;
        if (r->depth == DOCUMENT_DEPTH_MAX)
                return refuse(r, "nested too deeply");
        r->depth++;
        container = mapping ? json_object() : json_array();
        if ((mapping ? read_mapping(r, container) : read_sequence(r, container)) < 0) {
                json_decref(container);
                return -1;
        }
        r->depth--;
        *ret = container;
        return 0;
}

/* Reads the value that begins with the current event, and moves past it. @line: of its key, or its
 * own. */
static int read_value(struct yaml_reader *r, size_t line, json_t **ret)
{
        uint32_t at = document_begin(r->doc, line);
        json_t *value;
        int result;

        if (r->event.type == YAML_ALIAS_EVENT)
                return refuse(r, "aliases (*name) are not supported; write the value again");
        if (r->event.type != YAML_SCALAR_EVENT)
                result = read_container(r, &value);
        else if (check_no_anchor_or_tag(r, r->event.data.scalar.anchor, r->event.data.scalar.tag) <
                 0)
                result = -1;
        else
                result = read_scalar(r, at, &value);
        if (result < 0)
                return -1;
        document_end(r->doc, at);
        if (step(r) < 0) {
                json_decref(value);
                return -1;
        }
        *ret = value;
        return 0;
}

/* The stream: one document, or none, which is null. */
static int read_stream(struct yaml_reader *r)
{
        if (step(r) < 0 || step(r) < 0) /* stream start; what follows it */
                return -1;
        if (r->event.type == YAML_STREAM_END_EVENT) {
                document_end(r->doc, document_begin(r->doc, 1));
                r->doc->root = json_null();
                return 0;
        }
        if (step(r) < 0 || read_value(r, event_line(r), &r->doc->root) < 0 || step(r) < 0)
                return -1;
        if (r->event.type != YAML_STREAM_END_EVENT)
                return refuse(r, "a second document begins here; a file has one");
        return 0;
}

int document_read_yaml(
        const char *label, const char *text, size_t len, struct document *ret, struct error *err)
{
        struct document doc = { 0 };
        struct yaml_reader r = {
                .label = label, .text = text, .len = len, .doc = &doc, .err = err
        };
        int result;

        if (document_check_size(label, len, err) < 0)
                return -1;
        if (!yaml_parser_initialize(&r.parser))
                return error_sys(err, ENOMEM, "read %s", label);
        yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
        yaml_parser_set_input_string(&r.parser, (const unsigned char *) text, len);
        result = read_stream(&r);
        yaml_event_delete(&r.event);
        yaml_parser_delete(&r.parser);
        if (result < 0)
                document_done(&doc);
        else
                *ret = doc;
        return result;
}
