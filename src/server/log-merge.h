/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "server/log-lines.h"

/* Lines of several streams in the order of their times. Pure. */

/* The lines of one stream that wait for their turn. Embedded by its owner, zeroed. */
struct log_source {
        struct buffer text;      /* whole lines, as they are shown */
        struct buffer marks;     /* a struct log_line_mark for each */
        size_t text_at, mark_at; /* what was taken */
        bool ended;              /* no more will come */
};

void log_source_done(struct log_source *s);

/* How many bytes wait. */
size_t log_source_len(const struct log_source *s);

/* Appends lines to @out, the earliest first; of the same time those of the earlier source first,
 * and those of one source in their order. It ends when a source that has not ended has no line,
 * because its next one may be earlier, or with @max bytes. Returns true in the latter case. */
bool log_merge(struct log_source *const *sources, size_t count, size_t max, struct buffer *out);
