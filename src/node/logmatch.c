/* SPDX-License-Identifier: BSD-3-Clause */
/* Logmatch: a line of a run's log by which it says that it is ready.
 *
 * It reads the files that log capture writes, not the FIFOs: bytes may have gone from the one to
 * the other without passing through us, and an agent that takes over finds the line that was
 * written before its time. Reading begins where the run does, by the number of the byte: that of
 * the run is given again to a task that has left the node and come back. What was rotated away
 * before it could be read is not looked at. A line longer than LINE_MAX_LEN is looked at up to
 * there; a NUL in it counts as a blank. */
#include "node/logmatch.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/log.h"
#include "base/mem.h"
#include "node/logread.h"

#define LINE_MAX_LEN ((size_t) 8192)
#define CHUNK        ((size_t) 64 * 1024)
#define TURN_MAX     ((size_t) 1024 * 1024) /* bytes; then the loop looks after everybody else */

struct logmatch {
        char *directory;
        const char *stream;
        uint64_t begin;
        const struct pattern *pattern;
        struct logread *reader; /* NULL: the stream has no files yet */
        struct buffer line;
};

struct logmatch *logmatch_new(
        const char *directory, const char *stream, uint64_t begin, const struct pattern *pattern)
{
        struct logmatch *m = mem_alloc(sizeof *m);

        *m = (struct logmatch){ .directory = mem_strdup(directory),
                .stream = stream,
                .begin = begin,
                .pattern = pattern };
        return m;
}

void logmatch_free(struct logmatch *m)
{
        if (m == NULL)
                return;
        logread_free(m->reader);
        buffer_done(&m->line);
        free(m->directory);
        free(m);
}

static void put_part(struct buffer *line, const char *bytes, size_t len)
{
        size_t room = LINE_MAX_LEN - MIN(line->len, LINE_MAX_LEN);

        buffer_put(line, bytes, MIN(len, room));
}

static bool line_matches(struct logmatch *m)
{
        bool found;

        for (char *nul; (nul = memchr(m->line.data, '\0', m->line.len)) != NULL;)
                *nul = ' ';
        if (m->line.len > 0 && m->line.data[m->line.len - 1] == '\r')
                m->line.data[--m->line.len] = '\0';
        found = pattern_matches(m->pattern, buffer_str(&m->line));
        buffer_reset(&m->line);
        return found;
}

static bool look_at(struct logmatch *m, const char *bytes, size_t len)
{
        const char *end;

        while ((end = memchr(bytes, '\n', len)) != NULL) {
                size_t part = (size_t) (end - bytes);

                put_part(&m->line, bytes, part);
                if (line_matches(m))
                        return true;
                bytes += part + 1;
                len -= part + 1;
        }
        put_part(&m->line, bytes, len);
        return false;
}

enum logmatch_answer logmatch_look(struct logmatch *m)
{
        static char bytes[CHUNK];
        struct logread_from from = { .start = LOGREAD_BYTE, .value = m->begin };
        struct logread_chunk chunk;
        struct error err = ERROR_INIT;
        size_t looked_at = 0;
        int r = 0;

        if (m->reader == NULL &&
                logread_open(m->directory, m->stream, from, &m->reader, &err) < 0) {
                log_warning("%s/%s: %s", m->directory, m->stream, err.message);
                return LOGMATCH_END;
        }
        while (looked_at < TURN_MAX &&
                (r = logread_next(m->reader, bytes, sizeof bytes, &chunk, &err)) > 0) {
                if (chunk.gap > 0)
                        buffer_reset(&m->line);
                else if (look_at(m, bytes, chunk.len))
                        return LOGMATCH_FOUND;
                looked_at += chunk.len + 1;
        }
        if (r < 0)
                log_warning("%s/%s: %s", m->directory, m->stream, err.message);
        return looked_at >= TURN_MAX ? LOGMATCH_MORE : LOGMATCH_END;
}
