/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stddef.h>

/* Many small strings that end together: they stand in blocks, and stay where they are. Embedded by
 * its owner; `{ 0 }` is empty and valid. */
struct arena {
        struct arena_block *blocks; /* the newest first */
};

/* Room for @size bytes, not aligned. */
char *arena_reserve(struct arena *a, size_t size);

/* A copy of the @len bytes at @s with a NUL behind them. */
char *arena_copy(struct arena *a, const char *s, size_t len);

void arena_done(struct arena *a); /* frees all; the arena is empty and valid again */
