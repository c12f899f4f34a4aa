/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "model/pattern.h"

/* Looks for a line in what one run has written to one of its streams. */
struct logmatch;

/* @directory: of the task's logs. @begin: the byte number at which the run began. @pattern:
 * borrowed until logmatch_free(). */
struct logmatch *logmatch_new(
        const char *directory, const char *stream, uint64_t begin, const struct pattern *pattern);
void logmatch_free(struct logmatch *m); /* NULL is fine */

enum logmatch_answer {
        LOGMATCH_FOUND,
        LOGMATCH_MORE, /* there is more to be looked at: ask again in the next turn */
        LOGMATCH_END,  /* all that is there was looked at: ask again when there are new bytes */
};

/* Looks at the next bytes in the log files, and only at whole lines. */
enum logmatch_answer logmatch_look(struct logmatch *m);
