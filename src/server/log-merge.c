/* SPDX-License-Identifier: BSD-3-Clause */
/* Log merge: the earliest line of all streams, again and again.
 *
 * Times are those of node/logfile: right to a tenth of a second, and lines of one stream have never
 * falling keys (server/log-lines.c), so a clock that was set back does not change their order. As
 * long as one stream has the earliest lines they are taken in one go, up to the time of the second
 * one's. */
#include "server/log-merge.h"

#include <stdint.h>

#include "base/macros.h"

#define KEEP_TAKEN ((size_t) 64 * 1024) /* what was taken is given back when it is more */

void log_source_done(struct log_source *s)
{
        buffer_done(&s->text);
        buffer_done(&s->marks);
        s->text_at = s->mark_at = 0;
}

size_t log_source_len(const struct log_source *s)
{
        return s->text.len - s->text_at;
}

static const struct log_line_mark *first_mark(const struct log_source *s)
{
        if (s->mark_at == s->marks.len)
                return NULL;
        return (const void *) (s->marks.data + s->mark_at);
}

/* Takes lines whose key is at most @key, or less than it if @before. */
static void take(struct log_source *s, usec_t key, bool before, size_t max, struct buffer *out)
{
        const struct log_line_mark *mark;
        size_t len = 0;

        while ((mark = first_mark(s)) != NULL &&
                (mark->key < key || (mark->key == key && !before)) && len < max) {
                len += mark->len;
                s->mark_at += sizeof *mark;
        }
        buffer_put(out, s->text.data + s->text_at, len);
        s->text_at += len;
        if (s->text_at < KEEP_TAKEN && s->text_at < s->text.len)
                return;
        buffer_consume(&s->text, s->text_at);
        buffer_consume(&s->marks, s->mark_at);
        s->text_at = s->mark_at = 0;
}

bool log_merge(struct log_source *const *sources, size_t count, size_t max, struct buffer *out)
{
        size_t end = out->len + max;

        while (out->len < end) {
                size_t first = SIZE_MAX, second = SIZE_MAX;
                usec_t first_key = 0, second_key = USEC_NEVER;

                for (size_t i = 0; i < count; i++) {
                        const struct log_line_mark *mark = first_mark(sources[i]);

                        if (mark == NULL && !sources[i]->ended)
                                return false;
                        if (mark == NULL)
                                continue;
                        if (first == SIZE_MAX || mark->key < first_key) {
                                second = first;
                                second_key = first == SIZE_MAX ? USEC_NEVER : first_key;
                                first = i;
                                first_key = mark->key;
                        } else if (mark->key < second_key) {
                                second = i;
                                second_key = mark->key;
                        }
                }
                if (first == SIZE_MAX)
                        return false;
                take(sources[first], second_key, second < first, end - out->len, out);
        }
        return true;
}
