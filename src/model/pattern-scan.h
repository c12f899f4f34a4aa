/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* A pattern (model/pattern.h) that looks through many lines: faster than pattern_matches(), in
 * memory of at most about 400 KiB, and any byte may stand in a line. */
struct pattern_scan;

/* ERR_INVALID as pattern_parse(), and for a line break in @text: there is none within a line. */
int pattern_scan_new(const char *text, struct pattern_scan **ret, struct error *err);
void pattern_scan_free(struct pattern_scan *scan); /* NULL is fine */

/* The first line in @bytes that matches: where it begins, and its length with its line break. The
 * last line need not have one. False if there is none. */
bool pattern_scan_next(struct pattern_scan *scan, const char *bytes, size_t len, size_t *ret_line,
        size_t *ret_len);

/* Bytes that are in every line that matches; "" if none are known. Borrowed. */
const char *pattern_scan_literal(const struct pattern_scan *scan, size_t *ret_len);
