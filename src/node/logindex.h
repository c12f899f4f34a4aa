/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"

/* The index beside a log stream ("stdout.index"): records of one size, appended. */

enum logindex_type {
        LOGINDEX_FILE = 1, /* the file with inode @value begins at byte @byte of the stream */
        LOGINDEX_TIME, /* byte @byte arrived at @wall and was written by run @run; those up to the
                          next record at most @value microseconds later (0: a second) */
        LOGINDEX_GAP,  /* @value bytes were thrown away just before byte @byte */
};

struct logindex_record {
        uint32_t type; /* enum logindex_type; others are skipped */
        uint32_t run;
        uint64_t byte;
        uint64_t value;
        uint64_t wall; /* when the record was made, microseconds since 1970 */
};

/* False for a record that no logfile wrote: of a later version, or left by a broken disk. It is
 * skipped. No stream comes to a byte number that is no offset of a file. */
static inline bool logindex_is_sound(const struct logindex_record *record)
{
        return record->type >= LOGINDEX_FILE && record->type <= LOGINDEX_GAP &&
               record->byte <= INT64_MAX / 2;
}

#define LOGINDEX_RECORD_SIZE ((uint64_t) sizeof(struct logindex_record))

/* The length of the records in an index of @length bytes: without a torn one at the end. */
static inline uint64_t logindex_whole(uint64_t length)
{
        return length - length % LOGINDEX_RECORD_SIZE;
}

/* What the end of an index says. */
struct logindex_tail {
        bool file_known;
        uint64_t file_first; /* the first byte number of the file asked for */
        uint64_t file_at;    /* where its record is */
        bool time_known;
        struct logindex_record time; /* the newest time record */
        uint64_t end;                /* the largest byte number named in what was read */
};

/* Reads the index @fd of @length bytes backwards until it has found the newest record of the file
 * with inode @inode (0: no file is asked for) and the newest time record. */
int logindex_tail(
        int fd, uint64_t length, uint64_t inode, struct logindex_tail *ret, struct error *err);

/* Writes one record at offset @at. All or nothing as far as a kill is concerned. */
int logindex_write(int fd, uint64_t at, const struct logindex_record *record, struct error *err);

/* The newest record for the file with inode @inode among @count records; NULL if there is none. */
const struct logindex_record *logindex_file(
        const struct logindex_record *records, size_t count, uint64_t inode);

/* Appends to @ret those of @count records that still mean something when the oldest byte kept is
 * @oldest: everything from there on, and the last time record before it. */
void logindex_keep(
        const struct logindex_record *records, size_t count, uint64_t oldest, struct buffer *ret);
