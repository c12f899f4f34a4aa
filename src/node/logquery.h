/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "node/logread.h"

/* What is asked of a log stream, answered piece by piece in the form that travels over the link
 * (docs/link.md). */
struct logquery;

struct logquery_config {
        const char *directory, *name; /* of the stream, as for logread_open() */
        struct logread_from from;
        const char *grep; /* only lines that this matches; with LOGREAD_LINES that many of these,
                             and only with records. NULL: all bytes */
        bool follow;      /* a last line without line break may go on */
        bool records;     /* pieces are records; else they are bytes */
};

/* In front of each record of a piece; big-endian. */
struct logquery_head {
        uint32_t type; /* enum logquery_type */
        uint32_t run;
        uint64_t byte; /* number of the first byte; of the first one after a gap */
        uint64_t wall; /* when it arrived, microseconds since 1970; 0: not known */
        uint64_t size; /* of the bytes that follow, or how many are missing */
};

enum logquery_type {
        LOGQUERY_BYTES,
        LOGQUERY_ROTATED, /* a gap: removed with an old file */
        LOGQUERY_DROPPED, /* a gap: never stored */
        LOGQUERY_PLACE,   /* nothing that is wanted lies before @byte */
};

/* Pieces must have room for one record and some bytes. */
#define LOGQUERY_PIECE_MIN (sizeof(struct logquery_head) + 1)

/* ERR_INVALID for an expression that is none. */
int logquery_new(const struct logquery_config *config, struct logquery **ret, struct error *err);
void logquery_free(struct logquery *q); /* NULL is fine */

struct logquery_piece {
        uint64_t byte; /* number of its first byte, or where the stream goes on */
        size_t len;
        bool gap; /* without records: bytes are missing before @byte */
};

/* Puts the next piece into @buf. Returns 1 with it; a piece without bytes that is no gap means that
 * work was done and that there is more to do. 0: there is nothing now, or never again if
 * logquery_ended(); -1 on failure. */
int logquery_next(
        struct logquery *q, char *buf, size_t size, struct logquery_piece *ret, struct error *err);

bool logquery_ended(const struct logquery *q);
