/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/macros.h"
#include "model/document.h"

/* Walking the values of a document with their paths and lines, for messages. Internal to
 * src/model. */

struct reader {
        const char *label;          /* NULL when the values are not from a file */
        const struct document *doc; /* NULL then too */
        struct error *err;
};

/* One value: how one got there, and where it stood. Lives on the stack of whoever reads it. */
struct value {
        const struct value *parent;
        const char *key; /* NULL for an item of a list and for the root */
        size_t index;    /* of an item */
        const json_t *json;
        uint32_t position; /* into doc->positions */
};

/* A walk over the members of an object or the items of a list. Zeroed to begin with. */
struct value_walk {
        void *iter;
        size_t index;
        uint32_t position;
        bool begun;
};

/* Moves to the first or next child of @parent. Returns false after the last, and for a value that
 * has none. */
bool value_next(const struct reader *r, const struct value *parent, struct value_walk *walk,
        struct value *ret);

/* The member @key of the object @parent; false if there is none. */
bool value_find(
        const struct reader *r, const struct value *parent, const char *key, struct value *ret);

/* The object @parent has a member @key that is not null. */
bool value_is_given(const struct value *parent, const char *key);

/* Sets ERR_INVALID: `web.yaml:7: jobs.web.count: ` and what is given. Returns -1. */
int value_fail(const struct reader *r, const struct value *value, const char *format, ...)
        PRINTF_LIKE(3, 4);

/* The same, in the form "expected ..., got VALUE". */
int value_fail_expected(const struct reader *r, const struct value *value, const char *format, ...)
        PRINTF_LIKE(3, 4);

/* Adds to the message of the failure just set. Returns -1. */
int value_fail_more(const struct reader *r, const char *format, ...) PRINTF_LIKE(2, 3);

/* A string as it is, or a number or word as it was written. False for all else. */
bool value_get_text(const struct reader *r, const struct value *value, struct buffer *ret);
