/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/time.h"

/* Reads a log stream across its files, while it is being written and rotated by whoever captures
 * it. */
struct logread;

enum logread_start {
        LOGREAD_BYTE,  /* value: a byte number; 0 is the oldest there ever was */
        LOGREAD_LINES, /* value: how many lines before the end */
        LOGREAD_SINCE, /* value: wall clock; what arrived then or later, in whole lines */
        LOGREAD_RUN,   /* value: a run number; reads that run only */
};

struct logread_from {
        enum logread_start start;
        uint64_t value;
        uint32_t run; /* only what this run wrote; 0: all. As LOGREAD_RUN, with any start */
        usec_t since; /* only what arrived then or later, as LOGREAD_SINCE; 0: all */
        usec_t until; /* only what arrived before, in whole lines; 0: all */
};

enum logread_gap {
        LOGREAD_GAP_ROTATED, /* removed with an old file before they could be read */
        LOGREAD_GAP_DROPPED, /* never stored: the disk was full. They have no byte numbers */
};

/* Either bytes or a gap. */
struct logread_chunk {
        uint64_t byte;        /* number of the first byte; of the first one after a gap */
        size_t len;           /* bytes in the caller's buffer */
        uint64_t gap;         /* bytes missing before @byte; then len is 0 */
        enum logread_gap why; /* if gap > 0 */
        uint32_t run;         /* who wrote them; one chunk is of one run */
        usec_t wall; /* when they arrived, or up to a tenth of a second before: logfile_mark() */
};

/* Opens stream @name ("stdout") of the task in @directory. A stream that has no files yet is
 * empty. */
int logread_open(const char *directory, const char *name, struct logread_from from,
        struct logread **ret, struct error *err);
void logread_free(struct logread *reader);

/* Puts the next bytes into @buf. Returns 1 with a chunk; 0 if there is nothing now (call again when
 * the stream has grown, or never again if logread_ended()); -1 on failure. */
int logread_next(struct logread *reader, void *buf, size_t size, struct logread_chunk *ret,
        struct error *err);

/* The number of the byte that comes next: where a later LOGREAD_BYTE goes on. */
uint64_t logread_position(const struct logread *reader);

/* True once a run that is read alone was followed by another, or something came after the time
 * until which is read: nothing will come any more. */
bool logread_ended(const struct logread *reader);
