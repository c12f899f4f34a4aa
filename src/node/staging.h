/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Memory that outlives the process: where log bytes are between a FIFO and their file. */

#define STAGING_SLOTS    2
#define STAGING_PATH_MAX 3072 /* of a stream, with its NUL */

/* Whose bytes they are, and how they are to be written: all that is needed after a crash. */
struct staging_owner {
        const char *path; /* the log file: "…/tasks/web.0/stdout" */
        uint64_t max_size;
        uint32_t max_files;
        uint32_t run;
        bool drop;
};

struct staging_header;

struct staging_slot {
        struct staging_header *header; /* in the file */
        unsigned char *data;           /* in the file too: capacity bytes */
        size_t capacity;
};

struct staging {
        int fd;
        void *map;
        struct staging_slot slots[STAGING_SLOTS];
};

/* Opens or makes the staging file @path and maps it. ERR_CONFLICT if another process has it. What
 * an earlier process left in the slots is still there: see staging_recover(). */
int staging_open(const char *path, struct staging *ret, struct error *err);
void staging_close(struct staging *staging);

/* Prepares an empty slot for a read of exactly @len bytes (1 to capacity) into its data: from here
 * on a crash can tell whether the read has happened. @peek is what the read will bring, or NULL; it
 * is needed for @len < STAGING_BLIND_MIN, because a few bytes could equal any mark by chance. */
#define STAGING_BLIND_MIN 4096
void staging_intend(struct staging_slot *slot, const struct staging_owner *owner, size_t len,
        const unsigned char *peek);

/* The read brought @len bytes: they are ours now. */
void staging_have(struct staging_slot *slot, size_t len);

/* True while the slot holds bytes. */
bool staging_busy(const struct staging_slot *slot);

/* The bytes that are not in a file yet. */
const unsigned char *staging_rest(const struct staging_slot *slot, size_t *ret_len);

/* Notes that the next @len of them are now written to the file with inode @inode at @offset; and
 * that @written of them are there. */
void staging_segment_begin(struct staging_slot *slot, uint64_t inode, uint64_t offset, size_t len);
void staging_segment_end(struct staging_slot *slot, size_t written);

/* The segment that was being written when the process died; false if there was none. Follow with
 * staging_segment_end(). */
bool staging_segment(const struct staging_slot *slot, uint64_t *ret_inode, uint64_t *ret_offset,
        size_t *ret_len);

/* Empties the slot: all bytes are in files, or the read did not happen. */
void staging_release(struct staging_slot *slot);

/* After staging_open(): decides what an interrupted read has done. Returns true if the slot holds
 * bytes, with their owner (borrowed, until the slot is released). */
bool staging_recover(struct staging_slot *slot, struct staging_owner *ret);

/* The owner as noted. Only while busy. */
struct staging_owner staging_owner(const struct staging_slot *slot);
