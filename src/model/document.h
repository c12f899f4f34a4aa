/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"

#define DOCUMENT_SIZE_MAX  ((size_t) 1 << 20)
#define DOCUMENT_DEPTH_MAX 64

/* Where one value stood. The positions of a document are listed as one meets the values when
 * reading: a container, then all that is in it, then what follows it. So the first child of the
 * value at index i is at i + 1, and the next sibling at positions[i].end. */
struct position {
        uint32_t line;   /* from 1; of the key for the member of an object */
        uint32_t offset; /* into text: a number or word as it was written */
        uint32_t length; /* 0 for all else */
        uint32_t end;
};

/* A YAML or JSON text as values, and beside them their positions. Embedded by its owner. */
struct document {
        json_t *root;
        struct position *positions;
        size_t len;
        size_t allocated;
        struct buffer text;
};

/* Both read @text of at most DOCUMENT_SIZE_MAX bytes into the zeroed @ret. @label names it in
 * messages: `web.yaml:3: duplicate key "count"`. ERR_INVALID or ERR_TOO_LARGE; on failure nothing
 * is left to free. */
int document_read_yaml(
        const char *label, const char *text, size_t len, struct document *ret, struct error *err);
int document_read_json(
        const char *label, const char *text, size_t len, struct document *ret, struct error *err);

void document_done(struct document *doc);

/* For the two readers: appends a position and returns its index; says that all inside it was seen.
 */
uint32_t document_begin(struct document *doc, size_t line);
void document_end(struct document *doc, uint32_t index);

/* ERR_TOO_LARGE if @len is over the limit. */
int document_check_size(const char *label, size_t len, struct error *err);
