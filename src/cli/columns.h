/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stddef.h>

#include "base/buffer.h"

/* Text in columns of a terminal: UTF-8, wide and combining characters counted as terminals do.
 * What comes from tasks and files passes here before a terminal sees it: control characters
 * become '?', so that no text can steer the terminal. */

/* Columns that @text takes. */
size_t columns_width(const char *text);

/* Appends @text, cut to at most @max columns, the last one then "…"; 0 is no limit. Returns the
 * columns that it takes. */
size_t columns_put(struct buffer *out, const char *text, size_t max);

/* Appends @text broken at spaces into lines of at most @width columns (0: one line), each after
 * @indent spaces but the first, which begins where the caller stands; ends with a line break. */
void columns_wrap(struct buffer *out, const char *text, size_t indent, size_t width);
