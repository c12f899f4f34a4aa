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
struct place {
        const struct place *parent;
        const char *key; /* NULL for an item of a list and for the root */
        size_t index;    /* of an item */
        const json_t *value;
        uint32_t position; /* into doc->positions */
};

/* A walk over the members of an object or the items of a list. Zeroed to begin with. */
struct place_walk {
        void *iter;
        size_t index;
        uint32_t position;
        bool begun;
};

/* Moves to the first or next child of @parent. Returns false after the last, and for a value that
 * has none. */
bool place_next(const struct reader *r, const struct place *parent, struct place_walk *walk,
        struct place *ret);

/* The member @key of the object @parent; false if there is none. */
bool place_find(
        const struct reader *r, const struct place *parent, const char *key, struct place *ret);

/* Sets ERR_INVALID: `web.yaml:7: jobs.web.count: ` and what is given. Returns -1. */
int place_fail(const struct reader *r, const struct place *place, const char *format, ...)
        PRINTF_LIKE(3, 4);

/* The same, in the form "expected ..., got VALUE". */
int place_fail_expected(const struct reader *r, const struct place *place, const char *format, ...)
        PRINTF_LIKE(3, 4);

/* Adds to the message of the failure just set. Returns -1. */
int place_fail_more(const struct reader *r, const char *format, ...) PRINTF_LIKE(2, 3);

/* A string as it is, or a number or word as it was written. False for all else. */
bool place_get_text(const struct reader *r, const struct place *place, struct buffer *ret);
