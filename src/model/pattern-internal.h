/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "model/pattern.h"

/* The steps of a pattern, for those who run them: pattern.c and pattern-scan.c. */

enum op {
        OP_BYTE,  /* this byte */
        OP_ANY,   /* any byte that begins a character */
        OP_SET,   /* a byte of the set */
        OP_SPLIT, /* go on behind, and also there */
        OP_JUMP,
        OP_BEGIN, /* here the text begins */
        OP_END,
        OP_MATCH,
};

/* Whether a step that waits for a byte takes this one. */
static inline bool pattern_takes(
        const struct pattern *p, const struct pattern_step *s, unsigned char c)
{
        return (s->op == OP_ANY && (c & 0xc0) != 0x80) || (s->op == OP_BYTE && s->arg == c) ||
               (s->op == OP_SET && (p->sets[s->arg].bits[c / 32] >> (c % 32) & 1) != 0);
}
