/* SPDX-License-Identifier: BSD-3-Clause */
/* Constraints: conditions on the attributes of a node.
 *
 * All that can be worked out from the text alone (numbers, the compiled expression) is worked out
 * when it is read, because it is then asked for thousands of nodes. The attribute's side is text
 * until it is compared: the same `memory` can be compared as a number by one job and as text by
 * another.
 */
#include "model/constraint.h"

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/mem.h"
#include "base/text.h"
#include "model/pattern.h"

#define UNIT_MAX 3

struct constraint_value {
        char *text;
        double number;
        bool is_number;
        bool has_unit;
};

struct constraint_regex {
        char *text;
        struct pattern pattern;
};

static const struct {
        const char *text;
        enum constraint_op op;
} operators[] = {
        /* those that begin as another one first */
        { "!=", CONSTRAINT_NOT_EQUAL },
        { "<=", CONSTRAINT_LESS_EQUAL },
        { ">=", CONSTRAINT_GREATER_EQUAL },
        { "=", CONSTRAINT_EQUAL },
        { "<", CONSTRAINT_LESS },
        { ">", CONSTRAINT_GREATER },
        { "~", CONSTRAINT_MATCHES },
        { "in", CONSTRAINT_IN },
        { "exists", CONSTRAINT_EXISTS },
};

static const char *op_text(enum constraint_op op)
{
        for (size_t i = 0; i < ARRAY_SIZE(operators); i++)
                if (operators[i].op == op)
                        return operators[i].text;
        abort();
}

static bool is_order(enum constraint_op op)
{
        return op >= CONSTRAINT_LESS && op <= CONSTRAINT_GREATER_EQUAL;
}

/* ---- Numbers and versions */

static bool parse_unit(const char *unit, double *ret)
{
        char one[UNIT_MAX + 2];
        uint64_t bytes;

        if (strcmp(unit, "m") == 0) {
                *ret = 0.001;
                return true;
        }
        if (strlen(unit) > UNIT_MAX)
                return false;
        snprintf(one, sizeof one, "1%s", unit);
        if (!text_parse_size(one, &bytes))
                return false;
        *ret = (double) bytes;
        return true;
}

static bool parse_number(const char *text, double *ret, bool *ret_has_unit)
{
        const char *digits = text + (*text == '-' ? 1 : 0);
        size_t len = strspn(digits, "0123456789.");
        double number, factor;
        char *end;

        if (len == 0)
                return false;
        number = strtod(text, &end);
        if (end != digits + len)
                return false;
        end += strspn(end, " ");
        if (!parse_unit(end, &factor))
                return false;
        *ret = number * factor;
        *ret_has_unit = *end != '\0';
        return true;
}

/* Behind the "v"; NULL if there is no number. */
static const char *version_begin(const char *s)
{
        s += *s == 'v' || *s == 'V' ? 1 : 0;
        return isdigit((unsigned char) *s) ? s : NULL;
}

/* Takes one number off the front: its digits without leading zeros. None is left: the number 0. */
static const char *version_next(const char **at, size_t *ret_len)
{
        const char *digits = *at + strspn(*at, "0");

        *ret_len = strspn(digits, "0123456789");
        *at = digits + *ret_len;
        if (**at == '.' && isdigit((unsigned char) (*at)[1]))
                (*at)++;
        else
                *at = "";
        return digits;
}

bool constraint_compare_versions(const char *a, const char *b, int *ret)
{
        a = version_begin(a);
        b = version_begin(b);
        if (a == NULL || b == NULL)
                return false;
        *ret = 0;
        while (*ret == 0 && (*a != '\0' || *b != '\0')) {
                size_t x_len, y_len;
                const char *x = version_next(&a, &x_len), *y = version_next(&b, &y_len);

                *ret = x_len != y_len ? (x_len > y_len ? 1 : -1) : memcmp(x, y, x_len);
        }
        return true;
}

/* ---- Reading */

static int parse_regex(const char *text, struct constraint *c, struct error *err)
{
        struct pattern pattern = { 0 };

        if (pattern_parse(text, &pattern, err) < 0)
                return -1;
        c->regex = mem_alloc(sizeof *c->regex);
        *c->regex = (struct constraint_regex){ mem_strdup(text), pattern };
        return 0;
}

/* A copy without spaces at the ends. */
static char *trimmed(const char *text, size_t len)
{
        for (; len > 0 && *text == ' '; text++)
                len--;
        while (len > 0 && text[len - 1] == ' ')
                len--;
        return mem_strndup(text, len);
}

static int add_value(struct constraint *c, char *text, struct error *err)
{
        struct constraint_value *value;
        int order;

        c->values = mem_resize(c->values, c->values_len + 1, sizeof c->values[0]);
        value = &c->values[c->values_len++];
        *value = (struct constraint_value){ .text = text };
        value->is_number = parse_number(text, &value->number, &value->has_unit);
        if (!attribute_is_value(text))
                return error_set(err, ERR_INVALID, "expected a value of 1 to %d bytes after \"%s\"",
                        ATTRIBUTE_VALUE_MAX, op_text(c->op));
        if (c->version && !constraint_compare_versions(text, text, &order))
                return error_set(err, ERR_INVALID,
                        "expected a version such as 6.1 after \"version\", got \"%s\"", text);
        if (is_order(c->op) && !c->version && !value->is_number)
                return error_set(err, ERR_INVALID,
                        "expected a number (such as 4, 4GiB or 500m) or \"version\" and one after "
                        "\"%s\", got \"%s\"",
                        op_text(c->op), text);
        return 0;
}

static int parse_list(const char *text, struct constraint *c, struct error *err)
{
        for (;;) {
                size_t len = strcspn(text, ",");

                if (add_value(c, trimmed(text, len), err) < 0)
                        return -1;
                if (text[len] == '\0')
                        return 0;
                text += len + 1;
        }
}

/* Skips a word and the spaces behind it; NULL if it is not there as a word of its own. */
static const char *skip_word(const char *text, const char *word)
{
        size_t len = strlen(word);

        if (strncmp(text, word, len) != 0 || (text[len] != ' ' && text[len] != '\0'))
                return NULL;
        return text + len + strspn(text + len, " ");
}

/* @text: what follows the operator, without spaces around. */
static int parse_values(const char *text, struct constraint *c, struct error *err)
{
        const char *version = skip_word(text, "version");

        if (c->op == CONSTRAINT_EXISTS && *text != '\0')
                return error_set(err, ERR_INVALID, "nothing may follow \"exists\"");
        if (c->op == CONSTRAINT_EXISTS)
                return 0;
        if (*text == '\0')
                return error_set(err, ERR_INVALID, "expected a value after \"%s\"", op_text(c->op));
        if (c->op == CONSTRAINT_IN)
                return parse_list(text, c, err);
        if (c->op == CONSTRAINT_MATCHES)
                return parse_regex(text, c, err);
        c->version = version != NULL;
        return add_value(c, mem_strdup(c->version ? version : text), err);
}

/* Skips the operator and sets it. NULL if there is none. */
static const char *parse_op(const char *text, struct constraint *c)
{
        for (size_t i = 0; i < ARRAY_SIZE(operators); i++) {
                const char *op = operators[i].text;
                size_t len = strlen(op);

                if (isalpha((unsigned char) *op) ? skip_word(text, op) == NULL
                                                 : strncmp(text, op, len) != 0)
                        continue;
                if (!isalpha((unsigned char) *op) && text[len] != '\0' &&
                        strchr("=<>~!", text[len]) != NULL)
                        return NULL;
                c->op = operators[i].op;
                return text + len + strspn(text + len, " ");
        }
        return NULL;
}

static int parse(const char *text, struct constraint *c, struct error *err)
{
        size_t len = strcspn(text, " =!<>~");
        const char *rest;

        c->attribute = mem_strndup(text, len);
        if (!attribute_is_name(c->attribute))
                return error_set(err, ERR_INVALID,
                        "expected the name of an attribute (%s), an operator and a value",
                        ATTRIBUTE_NAME_HELP);
        rest = text + len + strspn(text + len, " ");
        rest = parse_op(rest, c);
        if (rest == NULL)
                return error_set(err, ERR_INVALID,
                        "expected =, !=, <, <=, >, >=, ~, in or exists after \"%s\"", c->attribute);
        return parse_values(rest, c, err);
}

static bool has_control(const char *text)
{
        for (; *text != '\0'; text++)
                if (iscntrl((unsigned char) *text))
                        return true;
        return false;
}

int constraint_parse(const char *text, struct constraint *ret, struct error *err)
{
        AUTO(mem_freep) char *copy = NULL;
        AUTO(constraint_done) struct constraint c = { 0 };

        if (strlen(text) > CONSTRAINT_TEXT_MAX)
                return error_set(err, ERR_INVALID, "longer than %d bytes", CONSTRAINT_TEXT_MAX);
        if (has_control(text))
                return error_set(err, ERR_INVALID, "control characters are not allowed");
        copy = trimmed(text, strlen(text));
        if (parse(copy, &c, err) < 0)
                return -1;
        *ret = c;
        c = (struct constraint){ 0 };
        return 0;
}

void constraint_done(struct constraint *c)
{
        for (size_t i = 0; i < c->values_len; i++)
                free(c->values[i].text);
        free(c->values);
        free(c->attribute);
        if (c->regex != NULL) {
                pattern_done(&c->regex->pattern);
                free(c->regex->text);
                free(c->regex);
        }
        *c = (struct constraint){ 0 };
}

/* ---- Asking */

/* Orders an attribute and a value. Returns false if they cannot be compared. */
static bool compare(const struct constraint *c, const struct constraint_value *value,
        const char *text, int *ret)
{
        bool has_unit;
        double number;

        if (c->version)
                return constraint_compare_versions(text, value->text, ret);
        if (value->is_number && (is_order(c->op) || value->has_unit) &&
                parse_number(text, &number, &has_unit)) {
                *ret = (number > value->number) - (number < value->number);
                return true;
        }
        *ret = strcmp(text, value->text);
        return !is_order(c->op);
}

static bool equals_any(const struct constraint *c, const char *text)
{
        int order;

        for (size_t i = 0; i < c->values_len; i++)
                if (compare(c, &c->values[i], text, &order) && order == 0)
                        return true;
        return false;
}

bool constraint_holds(const struct constraint *c, const struct attributes *attributes)
{
        const char *text = attributes_get(attributes, c->attribute);
        int order;

        if (text == NULL)
                return c->op == CONSTRAINT_NOT_EQUAL;
        switch (c->op) {
        case CONSTRAINT_EXISTS:
                return true;
        case CONSTRAINT_EQUAL:
        case CONSTRAINT_IN:
                return equals_any(c, text);
        case CONSTRAINT_NOT_EQUAL:
                return !equals_any(c, text);
        case CONSTRAINT_MATCHES:
                return pattern_matches(&c->regex->pattern, text);
        case CONSTRAINT_LESS:
                return compare(c, c->values, text, &order) && order < 0;
        case CONSTRAINT_LESS_EQUAL:
                return compare(c, c->values, text, &order) && order <= 0;
        case CONSTRAINT_GREATER:
                return compare(c, c->values, text, &order) && order > 0;
        case CONSTRAINT_GREATER_EQUAL:
                return compare(c, c->values, text, &order) && order >= 0;
        }
        abort();
}

void constraint_format(const struct constraint *c, struct buffer *out)
{
        buffer_printf(out, "%s %s", c->attribute, op_text(c->op));
        if (c->version)
                buffer_puts(out, " version");
        for (size_t i = 0; i < c->values_len; i++)
                buffer_printf(out, "%s%s", i == 0 ? " " : ", ", c->values[i].text);
        if (c->regex != NULL)
                buffer_printf(out, " %s", c->regex->text);
}
