/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/time.h"

/* The samples that a node keeps: a file of rows, the newest in place of the oldest. Survives
 * SIGKILL. */

#define VITALS_UNKNOWN UINT32_MAX /* of a number of 32 bits */

struct vitals_row {
        uint64_t number; /* grows by one; given by vitals_ring_add() */
        usec_t wall;
        uint64_t memory, disk; /* bytes, of the machine */
        uint32_t cpu;          /* thousandths of a core since the row before; VITALS_UNKNOWN */
        uint32_t load;         /* hundredths */
        uint32_t cells;        /* that follow */
        uint32_t spare;
};

/* One task in a row, in the place of its slot. */
struct vitals_cell {
        uint32_t key; /* vitals_ring_key() of its id; 0: there is none */
        uint32_t run;
        uint32_t cpu; /* as above */
        uint32_t memory_kib;
};

uint32_t vitals_ring_key(const char *id); /* never 0 */

struct vitals_ring;

/* Opens @path, or makes it. What has another number of rows, or is none, is begun anew. */
int vitals_ring_open(const char *path, uint32_t rows, struct vitals_ring **ret, struct error *err);
void vitals_ring_close(struct vitals_ring *r); /* NULL is fine */

/* Adds a row with row->cells @cells, which it changes. */
int vitals_ring_add(struct vitals_ring *r, struct vitals_row *row, struct vitals_cell *cells,
        struct error *err);

/* Calls @each for the rows, oldest first. @slot, @key: with the cell of that task, for those rows
 * alone that have one; @key 0: with NULL, for all. */
void vitals_ring_each(struct vitals_ring *r, size_t slot, uint32_t key,
        void (*each)(void *data, const struct vitals_row *row, const struct vitals_cell *cell),
        void *data);
