/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "base/error.h"
#include "model/attributes.h"

/* A condition on the attributes of a node, as text:
 *
 *      NAME = VALUE            NAME != VALUE          NAME in VALUE, VALUE, ...
 *      NAME < VALUE            NAME <= VALUE          NAME > VALUE      NAME >= VALUE
 *      NAME ~ REGEX            NAME exists
 *
 * What is compared by size is a number, with a unit if one likes (4GiB, 500m); `version` before a
 * VALUE compares dotted versions instead. REGEX is an extended one (pattern.h) that matches
 * anywhere.
 * `=`, `!=` and `in` compare texts, and numbers if VALUE has a unit. A node without the attribute
 * fulfils `!=` and nothing else. */

enum constraint_op {
        CONSTRAINT_EQUAL,
        CONSTRAINT_NOT_EQUAL,
        CONSTRAINT_LESS,
        CONSTRAINT_LESS_EQUAL,
        CONSTRAINT_GREATER,
        CONSTRAINT_GREATER_EQUAL,
        CONSTRAINT_MATCHES,
        CONSTRAINT_IN,
        CONSTRAINT_EXISTS,
};

#define CONSTRAINT_TEXT_MAX 1024 /* bytes of one */
#define CONSTRAINT_MAX      64   /* in one list */

struct constraint_value;
struct constraint_regex;

/* Embedded by its owner. Only @attribute and @op are for others to read. */
struct constraint {
        char *attribute;
        enum constraint_op op;
        bool version;                    /* values are versions */
        struct constraint_value *values; /* none for exists, several for in */
        size_t values_len;
        struct constraint_regex *regex; /* of ~ */
};

/* Reads a constraint into the zeroed @ret. ERR_INVALID says what is wrong with it; nothing is left
 * to free then. */
int constraint_parse(const char *text, struct constraint *ret, struct error *err);

bool constraint_holds(const struct constraint *c, const struct attributes *attributes);

/* Appends the text of it, which is read back as the same. */
void constraint_format(const struct constraint *c, struct buffer *out);

/* Takes a zeroed one as well. */
void constraint_done(struct constraint *c);

/* Orders two dotted versions by their numbers: "6.1" < "6.1.1" < "6.12", "6.1" is "6.1.0"; a "v" in
 * front and what follows the numbers ("-18-amd64") are not looked at. Returns false if one of them
 * is no version. @ret: < 0, 0, > 0. */
bool constraint_compare_versions(const char *a, const char *b, int *ret);
