/* SPDX-License-Identifier: BSD-3-Clause */
/* Log lines: what a merged reader sees of a stream. Pure. Bytes pass unchanged in text; in JSON
 * they have to be UTF-8, and what is not becomes U+FFFD there. A line's own break is not part of
 * its "text". */
#include "server/log-lines.h"

#include <inttypes.h>
#include <string.h>

#include "base/macros.h"
#include "base/mem.h"
#include "base/text.h"

/* text_put_json_string() ends at a NUL; a log line may have some. */
static void put_json_bytes(struct buffer *out, const char *bytes, size_t len)
{
        AUTO(mem_freep) char *text = mem_alloc(len + 1);
        const char *p = text, *end = text + len;

        memcpy(text, bytes, len);
        buffer_putc(out, '"');
        for (;;) {
                AUTO(buffer_done) struct buffer quoted = { 0 };

                text_put_json_string(&quoted, p);
                buffer_put(out, quoted.data + 1, quoted.len - 2);
                p += strlen(p);
                if (p == end)
                        break;
                buffer_puts(out, "\\u0000");
                p++;
        }
        buffer_putc(out, '"');
}

static void put_json_head(const struct log_lines *l, uint64_t offset, struct buffer *out)
{
        buffer_puts(out, "{\"task\":");
        text_put_json_string(out, l->task);
        buffer_printf(out, ",\"stream\":\"%s\",\"offset\":%" PRIu64, l->stream, offset);
}

static void put_json_line(const struct log_lines *l, uint64_t offset, struct log_origin origin,
        const char *bytes, size_t len, struct buffer *out)
{
        char time[TIME_TEXT_MAX];

        put_json_head(l, offset, out);
        if (origin.wall != 0)
                buffer_printf(out, ",\"time\":\"%s\",\"run\":%" PRIu32,
                        time_format_wall(time, origin.wall), origin.run);
        buffer_puts(out, ",\"text\":");
        put_json_bytes(out, bytes, len);
        buffer_puts(out, "}\n");
}

/* What stands in front of a line of text. */
static void put_text_head(const struct log_lines *l, usec_t wall, struct buffer *out)
{
        char time[TIME_TEXT_MAX];

        if (l->prefix)
                buffer_printf(out, "%s | ", l->task);
        if (l->timestamps)
                buffer_printf(out, "%s ", wall != 0 ? time_format_wall(time, wall) : "-");
}

/* What was appended since @out was @before bytes long is a line of @wall. */
static void mark(struct log_lines *l, usec_t wall, size_t before, const struct buffer *out)
{
        struct log_line_mark m = { .len = out->len - before };

        if (l->marks == NULL || m.len == 0)
                return;
        m.key = l->key = MAX(l->key, wall);
        buffer_put(l->marks, &m, sizeof m);
}

static void put_any_line(const struct log_lines *l, uint64_t offset, struct log_origin origin,
        const char *bytes, size_t len, struct buffer *out)
{
        if (l->json) {
                put_json_line(l, offset, origin, bytes, len, out);
                return;
        }
        put_text_head(l, origin.wall, out);
        buffer_put(out, bytes, len);
        buffer_putc(out, '\n');
}

static void put_line(struct log_lines *l, uint64_t offset, struct log_origin origin,
        const char *bytes, size_t len, struct buffer *out)
{
        size_t before = out->len;

        put_any_line(l, offset, origin, bytes, len, out);
        mark(l, origin.wall, before, out);
}

static void put_partial(struct log_lines *l, struct buffer *out)
{
        if (l->partial.len > 0)
                put_line(l, l->partial_offset, l->partial_origin, l->partial.data, l->partial.len,
                        out);
        buffer_reset(&l->partial);
}

static void keep(struct log_lines *l, uint64_t offset, struct log_origin origin, const char *bytes,
        size_t len)
{
        if (l->partial.len == 0) {
                l->partial_offset = offset;
                l->partial_origin = origin;
        }
        buffer_put(&l->partial, bytes, len);
}

void log_lines_put(struct log_lines *l, uint64_t offset, struct log_origin origin,
        const char *bytes, size_t len, struct buffer *out)
{
        while (len > 0) {
                const char *end = memchr(bytes, '\n', len);
                size_t n = end == NULL ? len : (size_t) (end - bytes);

                if (end == NULL && l->partial.len + n < LOG_LINE_MAX) {
                        keep(l, offset, origin, bytes, n);
                        return;
                }
                if (l->partial.len > 0) {
                        keep(l, offset, origin, bytes, n);
                        put_partial(l, out);
                } else if (n > 0 || !l->cut) { /* no empty line for the break of one that was cut */
                        put_line(l, offset, origin, bytes, n, out);
                }
                l->cut = end == NULL;
                n += end == NULL ? 0 : 1;
                bytes += n;
                offset += n;
                len -= n;
        }
}

static void put_gap(const struct log_lines *l, uint64_t offset, enum log_gap why, uint64_t missing,
        struct buffer *out)
{
        if (!l->json) {
                if (why != LOG_GAP_DROPPED)
                        return;
                put_text_head(l, 0, out);
                buffer_printf(
                        out, "[%" PRIu64 " bytes were dropped: the disk was full]\n", missing);
                return;
        }
        put_json_head(l, offset, out);
        buffer_puts(out, ",\"gap\":true");
        if (why != LOG_GAP_UNKNOWN)
                buffer_printf(out, ",\"bytes\":%" PRIu64 ",\"why\":\"%s\"", missing,
                        why == LOG_GAP_DROPPED ? "dropped" : "rotated");
        buffer_puts(out, "}\n");
}

void log_lines_gap(struct log_lines *l, uint64_t offset, enum log_gap why, uint64_t missing,
        struct buffer *out)
{
        size_t before;

        put_partial(l, out);
        l->cut = false;
        before = out->len;
        put_gap(l, offset, why, missing, out);
        mark(l, 0, before, out);
}

static void put_problem(const struct log_lines *l, const char *why, struct buffer *out)
{
        if (!l->json) {
                put_text_head(l, 0, out);
                buffer_printf(out, "[%s]\n", why);
                return;
        }
        put_json_head(l, 0, out);
        buffer_puts(out, ",\"error\":");
        text_put_json_string(out, why);
        buffer_puts(out, "}\n");
}

void log_lines_problem(struct log_lines *l, const char *why, struct buffer *out)
{
        size_t before;

        put_partial(l, out);
        before = out->len;
        put_problem(l, why, out);
        mark(l, 0, before, out);
}

void log_lines_finish(struct log_lines *l, struct buffer *out)
{
        put_partial(l, out);
        buffer_done(&l->partial);
}
