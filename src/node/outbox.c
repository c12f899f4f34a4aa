/* SPDX-License-Identifier: BSD-3-Clause */
/* Outbox: what happened to the tasks, until the server knows it for good.
 *
 * One line per event, "SEQ {json}\n", in a file whose blocks are allocated ahead: an exit status is
 * still written when the disk is full. The numbers are consecutive, which is all that tells a line
 * from what an earlier use of the same place left behind. When everything is acknowledged writing
 * begins at the front again; when the acknowledged part has grown large, the rest is copied to a
 * new file.
 *
 * An entry counts only when the task's slot says so (table_commit() with its number): the two are
 * made in that order, so after a SIGKILL between them the entry is dropped here, the task's event
 * is handled again and written again: once. */
#include "node/outbox.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"

#define OUTBOX_STEP     (1024 * 1024) /* allocated ahead */
#define OUTBOX_LINE_MAX 4096          /* no event is longer */

struct outbox {
        int fd;
        char *path;
        off_t allocated;
        off_t end;     /* where the next line goes */
        off_t unread;  /* next line for outbox_read() */
        off_t unacked; /* first line that is not acknowledged */
        uint64_t last; /* number of the last line written */
        uint64_t read; /* number of the last line that was read */
        uint64_t acked;
};

static int make_room(struct outbox *o, size_t len, struct error *err)
{
        int r;

        if (o->end + (off_t) len <= o->allocated)
                return 0;
        r = posix_fallocate(o->fd, o->allocated, OUTBOX_STEP);
        if (r != 0)
                return error_sys(err, r, "make room in %s", o->path);
        o->allocated += OUTBOX_STEP;
        return 0;
}

/* The line that @text begins with: its number and its length with the newline; 0 if there is none.
 */
static size_t line_at(const char *text, size_t len, uint64_t *ret_seq)
{
        const char *newline = memchr(text, '\n', MIN(len, (size_t) OUTBOX_LINE_MAX));
        char *end;

        if (newline == NULL || text[0] < '1' || text[0] > '9')
                return 0;
        *ret_seq = strtoull(text, &end, 10);
        return *end == ' ' ? (size_t) (newline - text) + 1 : 0;
}

/* A machine that lost power may leave half a line; in a message to the server it would be half a
 * message. */
static bool line_is_whole(const char *line, size_t len)
{
        const char *json = (const char *) memchr(line, ' ', len) + 1;
        json_t *object = json_loadb(json, (size_t) (line + len - json), 0, NULL);
        bool whole = json_is_object(object);

        json_decref(object);
        return whole;
}

/* Finds the end of the consecutive lines, and drops those beyond @committed. */
static int scan(struct outbox *o, uint64_t committed, struct error *err)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        size_t at = 0, len;
        uint64_t seq;

        if (file_read(o->path, SIZE_MAX / 2, &b, err) < 0)
                return -1;
        while (at < b.len && (len = line_at(b.data + at, b.len - at, &seq)) > 0) {
                if ((o->last != 0 && seq != o->last + 1) || seq > committed ||
                        !line_is_whole(b.data + at, len))
                        break;
                if (o->last == 0)
                        o->acked = seq - 1;
                o->last = seq;
                at += len;
        }
        o->end = (off_t) at;
        if (o->last < committed) { /* all of it was acknowledged and the place used anew, or there
                                      never was any */
                o->last = o->acked = committed;
                o->end = 0;
        }
        o->read = o->acked;
        return 0;
}

static void outbox_closep(struct outbox **o)
{
        outbox_close(*o);
}

int outbox_open(const char *path, uint64_t committed, struct outbox **ret, struct error *err)
{
        AUTO(outbox_closep) struct outbox *o = mem_alloc(sizeof *o);
        struct stat st;

        o->path = mem_strdup(path);
        o->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (o->fd < 0 || fstat(o->fd, &st) < 0)
                return error_sys(err, errno, "open %s", path);
        o->allocated = st.st_size;
        if (make_room(o, 1, err) < 0 || scan(o, committed, err) < 0)
                return -1;
        *ret = take_ptr(o);
        return 0;
}

void outbox_close(struct outbox *o)
{
        if (o == NULL)
                return;
        if (o->fd >= 0)
                close(o->fd);
        free(o->path);
        free(o);
}

int outbox_append(struct outbox *o, const struct event *event, uint64_t *ret_seq, struct error *err)
{
        AUTO(buffer_done) struct buffer line = { 0 };

        buffer_printf(&line, "%" PRIu64 " ", o->last + 1);
        record_write_short(&event_table, event, &line);
        buffer_putc(&line, '\n');
        if (line.len > OUTBOX_LINE_MAX)
                return error_set(err, ERR_TOO_LARGE, "event of %zu bytes", line.len);
        if (make_room(o, line.len, err) < 0)
                return -1;
        if (pwrite(o->fd, line.data, line.len, o->end) != (ssize_t) line.len)
                return error_sys(err, errno, "write %s", o->path);
        o->end += (off_t) line.len;
        *ret_seq = ++o->last;
        return 0;
}

struct outbox_mark outbox_mark(const struct outbox *o)
{
        return (struct outbox_mark){ o->end, o->last };
}

void outbox_rollback(struct outbox *o, struct outbox_mark mark)
{
        o->end = mark.end;
        o->last = mark.last;
}

uint64_t outbox_last(const struct outbox *o)
{
        return o->last;
}

bool outbox_empty(const struct outbox *o)
{
        return o->acked == o->last;
}

/* Copies what is not acknowledged to a new file, if the acknowledged part has become large. A
 * failure only means that the file stays large. */
static void compact(struct outbox *o)
{
        AUTO(buffer_done) struct buffer rest = { 0 };
        struct error err = ERROR_INIT;
        size_t len = (size_t) (o->end - o->unacked);
        int fd;

        if (o->unacked < 4 * OUTBOX_STEP || o->unacked < o->end - o->unacked)
                return;
        if (pread(o->fd, buffer_reserve(&rest, len), len, o->unacked) != (ssize_t) len)
                return;
        buffer_commit(&rest, len);
        if (file_replace(o->path, rest.data, rest.len, 0600, false, &err) < 0 ||
                (fd = open(o->path, O_RDWR | O_CLOEXEC)) < 0) {
                log_warning("outbox stays large: %s", err.message);
                return;
        }
        close(o->fd);
        o->fd = fd;
        o->unread -= o->unacked;
        o->end -= o->unacked;
        o->unacked = 0;
        o->allocated = o->end;
        if (make_room(o, 1, &err) < 0)
                log_warning("%s", err.message);
}

/* Reads lines from @at; fills @ret with one chunk of whole lines. */
static void read_chunk(struct outbox *o, off_t at, struct buffer *ret)
{
        size_t want = (size_t) MIN(o->end - at, (off_t) 65536);
        ssize_t n = want > 0 ? pread(o->fd, buffer_reserve(ret, want), want, at) : 0;

        if (n > 0)
                buffer_commit(ret, (size_t) n);
}

void outbox_ack(struct outbox *o, uint64_t seq)
{
        seq = MIN(seq, o->last);
        while (o->acked < seq) {
                AUTO(buffer_done) struct buffer chunk = { 0 };
                size_t at = 0, len;
                uint64_t number;

                read_chunk(o, o->unacked, &chunk);
                while (o->acked < seq && at < chunk.len &&
                        (len = line_at(chunk.data + at, chunk.len - at, &number)) > 0) {
                        at += len;
                        o->acked = number;
                }
                if (at == 0) {
                        log_error("%s: entry %" PRIu64 " cannot be read", o->path, o->acked + 1);
                        o->acked = seq;
                        return;
                }
                o->unacked += (off_t) at;
        }
        if (o->read < o->acked) {
                o->read = o->acked;
                o->unread = o->unacked;
        }
        if (o->acked == o->last)
                o->end = o->unread = o->unacked = 0;
        else
                compact(o);
}

void outbox_rewind(struct outbox *o)
{
        o->unread = o->unacked;
        o->read = o->acked;
}

size_t outbox_read(struct outbox *o, size_t max, struct buffer *ret)
{
        size_t n = 0;

        while (o->read < o->last && o->read - o->acked < max && n < max) {
                AUTO(buffer_done) struct buffer chunk = { 0 };
                size_t at = 0, len;
                uint64_t seq;

                read_chunk(o, o->unread, &chunk);
                while (n < max && o->read - o->acked < max && at < chunk.len &&
                        (len = line_at(chunk.data + at, chunk.len - at, &seq)) > 0) {
                        const char *json = (const char *) memchr(chunk.data + at, ' ', len) + 1;

                        buffer_printf(ret, "%s[%" PRIu64 ",%.*s]", n > 0 ? "," : "", seq,
                                (int) (chunk.data + at + len - 1 - json), json);
                        at += len;
                        o->read = seq;
                        n++;
                }
                if (at == 0)
                        break;
                o->unread += (off_t) at;
        }
        return n;
}
