/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/time.h"

/* Where bytes come from. */
struct log_origin {
        usec_t wall;  /* when they arrived; 0: not known */
        uint32_t run; /* that wrote them; of no meaning if wall is 0 */
};

/* Of each line that was given out, in their order. */
struct log_line_mark {
        usec_t key; /* when it arrived; never before the line before it */
        size_t len; /* of what was appended for it */
};

/* Cuts one stream's bytes into lines, so that several streams can be merged without tearing one.
 * Embedded by its owner. */
struct log_lines {
        const char *task, *stream; /* borrowed */
        bool prefix;               /* "TASK | " in front of each line */
        bool json;                 /* one object per line */
        bool timestamps;           /* in text: when it arrived, in front of each line */
        struct buffer partial;     /* the beginning of a line whose end has not come yet */
        uint64_t partial_offset;
        struct log_origin partial_origin;
        struct buffer *marks; /* of struct log_line_mark; NULL: of no interest */
        usec_t key;           /* of the last one */
        bool cut;             /* the last thing given out was a part of a line */
};

/* A line longer than this is given out in parts. */
#define LOG_LINE_MAX ((size_t) 64 * 1024)

/* Takes bytes of which the first has number @offset, and appends to @out what is complete. */
void log_lines_put(struct log_lines *l, uint64_t offset, struct log_origin origin,
        const char *bytes, size_t len, struct buffer *out);

enum log_gap {
        LOG_GAP_UNKNOWN, /* of an agent that does not say */
        LOG_GAP_ROTATED, /* removed with an old file */
        LOG_GAP_DROPPED, /* never stored: the disk was full */
};

/* The stream goes on at @offset: @missing bytes before it are lost (0: not known how many). In text
 * only those that were dropped are spoken of: that files are rotated is no news. */
void log_lines_gap(struct log_lines *l, uint64_t offset, enum log_gap why, uint64_t missing,
        struct buffer *out);

/* The stream cannot be read: says why. */
void log_lines_problem(struct log_lines *l, const char *why, struct buffer *out);

/* The end: a last line without line break. Frees. */
void log_lines_finish(struct log_lines *l, struct buffer *out);
