/* SPDX-License-Identifier: BSD-3-Clause */
/* Documents: what yaml.c and jsonc.c have in common, the values of a text with the line of each.
 *
 * jansson shares one value for every `true`, so lines cannot hang on the values. They are kept in
 * an array beside them instead, in the order of the text; jansson keeps the members of an object
 * in that order too, and duplicate keys are refused, so whoever walks the values can walk the
 * positions in step. Numbers are remembered as they were written, because a number that is used as
 * text (`VERSION: 1.10`) must not lose its last zero. */
#include "model/document.h"

#include <stdlib.h>

#include "base/macros.h"
#include "base/mem.h"

void document_done(struct document *doc)
{
        json_decref(doc->root);
        free(doc->positions);
        buffer_done(&doc->text);
        *doc = (struct document){ 0 };
}

uint32_t document_begin(struct document *doc, size_t line)
{
        if (doc->len == doc->allocated) {
                doc->allocated = MAX(2 * doc->allocated, (size_t) 64);
                doc->positions = mem_resize(doc->positions, doc->allocated, sizeof *doc->positions);
        }
        doc->positions[doc->len] = (struct position){ .line = (uint32_t) line };
        return (uint32_t) doc->len++;
}

void document_end(struct document *doc, uint32_t index)
{
        doc->positions[index].end = (uint32_t) doc->len;
}

int document_check_size(const char *label, size_t len, struct error *err)
{
        if (len <= DOCUMENT_SIZE_MAX)
                return 0;
        return error_set(err, ERR_TOO_LARGE, "%s: %zu bytes; at most 1 MiB is read", label, len);
}
