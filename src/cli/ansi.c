/* SPDX-License-Identifier: BSD-3-Clause */
/* ANSI: the control sequences of terminals, taken out of a text.
 *
 * Known are those that begin with ESC, by their form alone (ECMA-48): ESC [ parameters and a final
 * byte; strings (ESC ] title, ESC P, ESC X, ESC ^, ESC _) up to BEL or ESC \; and ESC with one
 * final byte. Their one-byte forms (0x80 to 0x9F) are parts of characters in UTF-8. */
#include "cli/ansi.h"

#include <string.h>

#define ESC '\033'
#define BEL '\a'

static enum ansi_state after_escape(unsigned char c)
{
        if (c == '[')
                return ANSI_CONTROL;
        if (memchr("]PX^_", c, 5) != NULL)
                return ANSI_STRING;
        return c >= 0x20 && c <= 0x2f ? ANSI_ESCAPE
                                      : ANSI_TEXT; /* an intermediate byte, or final */
}

/* The state after byte @c of a sequence. */
static enum ansi_state next_state(enum ansi_state state, unsigned char c)
{
        switch (state) {
        case ANSI_ESCAPE:
                return after_escape(c);
        case ANSI_CONTROL:
                return c >= 0x40 && c <= 0x7e ? ANSI_TEXT : ANSI_CONTROL;
        case ANSI_STRING:
                return c == BEL ? ANSI_TEXT : c == ESC ? ANSI_STRING_ESCAPE : ANSI_STRING;
        default: /* ANSI_STRING_ESCAPE */
                return c == '\\' ? ANSI_TEXT : ANSI_STRING;
        }
}

void ansi_strip(struct ansi *a, const char *text, size_t len, struct buffer *out)
{
        const char *end = text + len;

        while (text < end) {
                if (a->state == ANSI_TEXT) {
                        const char *escape = memchr(text, ESC, (size_t) (end - text));
                        const char *stop = escape != NULL ? escape : end;

                        buffer_put(out, text, (size_t) (stop - text));
                        text = stop;
                        if (escape != NULL) {
                                a->state = ANSI_ESCAPE;
                                text++;
                        }
                } else if (*text == '\n' || *text == '\r') {
                        a->state = ANSI_TEXT; /* and the byte is shown */
                } else {
                        a->state = next_state(a->state, (unsigned char) *text++);
                }
        }
}
