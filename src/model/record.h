/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "model/attributes.h"

/* Flat nouns (task, job summary, node, event) as C structs with one field table each. The table
 * gives JSON out, JSON in (on the link and in the CLI), and the reference page. */

enum record_type {
        RECORD_STRING, /* char *; NULL is null. record_read() gives heap strings, record_done()
                          frees them */
        RECORD_BOOL,   /* bool */
        RECORD_INT,    /* int64_t; INT64_MIN (RECORD_NULL) is null */
        RECORD_TIME,   /* usec_t wall clock; RFC 3339 text in JSON, 0 is null */
        RECORD_SIGNAL, /* int; name in JSON ("KILL"), 0 is null */
        RECORD_ENUM,   /* int, through names; -1 is null */
        RECORD_MAP, /* struct attributes; an object of texts, never null. record_done() frees what
                       record_read() gave */
};

#define RECORD_NULL INT64_MIN

struct record_field {
        const char *name;
        enum record_type type;
        size_t offset;
        const char *const *names; /* RECORD_ENUM: the words, ended by NULL */
        const char *help;
};

struct record_table {
        const char *noun; /* "task" */
        const struct record_field *fields;
        size_t len;
};

/* Appends the struct as one JSON object, fields in the order of the table, without line breaks. */
void record_write(const struct record_table *table, const void *record, struct buffer *out);

/* The same without the fields that are null or an empty map: for a reader that knows the table (the
 * link). */
void record_write_short(const struct record_table *table, const void *record, struct buffer *out);

/* Fills the zeroed struct from a JSON object. Fields that the table does not know are ignored (a
 * newer peer), missing ones are null. ERR_INVALID names the field. On failure nothing is left to
 * free. */
int record_read(
        const struct record_table *table, const json_t *object, void *ret, struct error *err);

/* Frees the strings and maps of a struct that record_read() filled. */
void record_done(const struct record_table *table, void *record);

/* Of a struct that is a copy of another by assignment: makes copies of its strings and maps, for
 * record_done() to free. */
void record_own(const struct record_table *table, void *record);

/* What a value of the type is, for messages: "a whole number". */
const char *record_type_name(enum record_type type);

/* The table as rows of Markdown for the reference page. */
void record_reference(const struct record_table *table, struct buffer *out);
