/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"

/* Reading JSON (RFC 8259) front to back, without a tree: for what comes often and is known well,
 * such as the reports on a link. One pointer walks over text that the caller keeps.
 *
 *      struct scan s;
 *      struct scan_text key;
 *
 *      scan_init(&s, text, len);
 *      scan_object(&s);
 *      while (scan_member(&s, &key))
 *              if (scan_text_is(&key, "count"))
 *                      scan_int(&s, &count);
 *              else
 *                      scan_skip(&s, NULL);
 *      if (!scan_end(&s)) ...
 *
 * The first mistake is final: from then on every function returns false and takes nothing, so that
 * one look at the end is enough. Each member and item must be taken by exactly one call. */
struct scan {
        const char *begin, *at, *end;
        const char *problem; /* what was expected; NULL: all is well */
        bool first;          /* of the object or list that was just entered */
        unsigned depth;
};

/* A run of the text itself. */
struct scan_text {
        const char *at;
        size_t len;
};

enum scan_type {
        SCAN_NONE, /* there is no value, or it is none */
        SCAN_OBJECT,
        SCAN_ARRAY,
        SCAN_STRING,
        SCAN_NUMBER,
        SCAN_BOOL,
        SCAN_NULL,
};

#define SCAN_DEPTH_MAX 64

void scan_init(struct scan *s, const char *text, size_t len);

/* What comes next; takes nothing. */
enum scan_type scan_peek(struct scan *s);

/* Enters an object or a list; the loops below leave it. */
bool scan_object(struct scan *s);
bool scan_array(struct scan *s);

/* Goes to the next member or item; false behind the last one. A key is as it is written, without
 * its quotes; ours have no escapes. */
bool scan_member(struct scan *s, struct scan_text *ret_key);
bool scan_item(struct scan *s);

/* Values. A string is decoded; @ret is freed with free(). One with a NUL in it is refused. */
bool scan_string(struct scan *s, char **ret);
bool scan_int(struct scan *s, int64_t *ret);
bool scan_bool(struct scan *s, bool *ret);
bool scan_null(struct scan *s);

/* A string without escapes as it stands in the text; one with escapes is refused. For words. */
bool scan_word(struct scan *s, struct scan_text *ret);

/* Takes a value of any kind, checked; @ret (may be NULL) is its text. */
bool scan_skip(struct scan *s, struct scan_text *ret);

/* True if all was well and nothing but white space is left. */
bool scan_end(struct scan *s);

/* Marks a mistake that the caller has found, unless there is one already. Returns false. */
bool scan_fail(struct scan *s, const char *problem);

/* How far it came, in bytes. */
size_t scan_position(const struct scan *s);

bool scan_text_is(const struct scan_text *text, const char *word);
