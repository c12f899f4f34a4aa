/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Regular expressions whose cost has a bound: those of the C library take time and memory without
 * one ("a++++++++++"), and these here come from whoever may submit a job.
 *
 * Extended ones without back-references: characters, `.`, `[a-z]`, `[^a-z]`, `[[:alpha:]]`,
 * `(...)`,
 * `|`, `*`, `+`, `?`, `{n}`, `{n,}`, `{n,m}`, `^`, `$`, and `\` before what is no letter or digit.
 * Texts are UTF-8; between brackets there is only ASCII. */

#define PATTERN_SIZE_MAX 2000 /* steps, after repetitions were written out */

struct pattern_step {
        uint8_t op;
        uint8_t arg; /* the byte, or the number of the set */
        int16_t to;  /* relative to this step */
};

struct pattern_set {
        uint32_t bits[8];
};

/* Embedded by its owner. */
struct pattern {
        struct pattern_step *steps;
        size_t len;
        struct pattern_set *sets;
        size_t sets_len;
};

/* Reads an expression into the zeroed @ret. ERR_INVALID says what is wrong with it; nothing is left
 * to free then. */
int pattern_parse(const char *text, struct pattern *ret, struct error *err);

/* Whether it matches anywhere in @text; takes time of at most len x strlen(text). */
bool pattern_matches(const struct pattern *p, const char *text);

void pattern_done(struct pattern *p);
