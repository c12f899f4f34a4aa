/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"

/* Cuts one stream's bytes into lines, so that several streams can be merged without tearing one.
 * Embedded by its owner. */
struct log_lines {
        const char *task, *stream; /* borrowed */
        bool prefix;               /* "TASK | " in front of each line */
        bool json;                 /* one object per line */
        struct buffer partial;     /* the beginning of a line whose end has not come yet */
        uint64_t partial_offset;
        bool cut; /* the last thing given out was a part of a line */
};

/* A line longer than this is given out in parts. */
#define LOG_LINE_MAX ((size_t) 64 * 1024)

/* Takes bytes of which the first has number @offset, and appends to @out what is complete. */
void log_lines_put(
        struct log_lines *l, uint64_t offset, const char *bytes, size_t len, struct buffer *out);

/* The stream goes on at @offset: what lies between is lost. */
void log_lines_gap(struct log_lines *l, uint64_t offset, struct buffer *out);

/* The end: a last line without line break. Frees. */
void log_lines_finish(struct log_lines *l, struct buffer *out);
