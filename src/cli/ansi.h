/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stddef.h>

#include "base/buffer.h"

enum ansi_state { ANSI_TEXT, ANSI_ESCAPE, ANSI_CONTROL, ANSI_STRING, ANSI_STRING_ESCAPE };

/* How far into a control sequence a text has come. Zeroed: not in one. */
struct ansi {
        enum ansi_state state;
};

/* Appends the @len bytes of @text to @out without colours, cursor movements, titles and other
 * control sequences that begin with ESC (ECMA-48, 5.3 to 5.6). A text may come in any pieces; the
 * end of a line ends every sequence. */
void ansi_strip(struct ansi *a, const char *text, size_t len, struct buffer *out);
