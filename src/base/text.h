/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"

/* The name in @names (ended by NULL) that was most likely meant by @word: at most a third of its
 * letters wrong, transpositions counted once. NULL if none is near. Borrowed. */
const char *text_nearest(const char *word, const char *const *names);

/* Reads a size: a number and B, KiB, MiB, GiB, TiB or kB, MB, GB, TB (also K, M, G, T for the
 * binary ones); a bare number is bytes. Returns false if @text is anything else or does not fit. */
bool text_parse_size(const char *text, uint64_t *ret_bytes);

/* The reverse, exact: "256MiB", "1500B". Returns @text. */
#define TEXT_SIZE_MAX 32
const char *text_format_size(char text[TEXT_SIZE_MAX], uint64_t bytes);

/* Reads a decimal integer that is all of @text and within [@min, @max]. */
bool text_parse_int(const char *text, int64_t min, int64_t max, int64_t *ret);

/* Writes @value in decimal, without a NUL; returns the number of digits. */
#define TEXT_UINT_MAX 20
size_t text_format_uint(char *text, uint64_t value);

/* True if @s is a name as jobs, nodes and the like have it: 1 to 63 of a-z, A-Z, 0-9, '-', '_',
 * beginning with a letter or digit. */
#define TEXT_NAME_MAX 63
bool text_is_name(const char *s);

/* Appends @s as a JSON string, quoted; invalid UTF-8 becomes U+FFFD. */
void text_put_json_string(struct buffer *b, const char *s);

/* Signals by name with or without "SIG", or by number; 0 if unknown. And back: "TERM"; "RTMIN+3";
 * the number if nameless. */
int text_parse_signal(const char *text);
const char *text_signal_name(int number);
