/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "keeper/protocol.h"

/* The descriptors that the keeper holds for the agent, by name. One table per process. */

#define DEPOSITS_MAX 65536

struct deposit {
        char name[KEEPER_NAME_MAX];
        int fds[KEEPER_FDS_MAX];
        uint32_t count; /* descriptors; 0: the slot is free */
        uint32_t next;  /* slot + 1 of the next in its hash chain or in the free list; 0: none */
};

/* Holds @count (1 to KEEPER_FDS_MAX) descriptors under @name (1 to KEEPER_NAME_MAX - 1 bytes) and
 * closes what was held under it before. On success the table owns them. Returns 0, or -ENOSPC when
 * the table is full: then nothing has changed. */
int deposits_put(const char *name, const int *fds, unsigned count);

/* Closes what is held under @name. Returns whether there was anything. */
bool deposits_drop(const char *name);

/* What is held under @name, or NULL. Belongs to the table. */
const struct deposit *deposits_find(const char *name);

/* Slots are numbered from 0 to deposits_end() - 1; a deposit keeps its slot. NULL: a free slot. */
uint32_t deposits_end(void);
const struct deposit *deposits_at(uint32_t slot);

/* How many deposits and how many descriptors are held. */
uint32_t deposits_count(void);
uint32_t deposits_descriptors(void);
