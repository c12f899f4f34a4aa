/* SPDX-License-Identifier: BSD-3-Clause */
/* Logforward: from the log files on to syslog or the journal.
 *
 * The files are the queue. How far a stream was sent stands beside it, in `stdout.sent`: the number
 * of the byte that comes next, written after the lines are with the daemon. So no line is lost by a
 * SIGKILL of this process, at most those of one turn are sent twice; and a daemon that is away or
 * slow holds up no task: its lines wait, until their file is the oldest and goes.
 *
 * A stream is known here only while it has lines to send. Streams that have grown are looked at
 * together, a moment later. */
#include "node/logforward.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/time.h"
#include "node/logread.h"

#define GATHER_MSEC ((uint64_t) 50) /* after a stream has grown */
#define RETRY_MSEC  ((uint64_t) 500)
#define TURN_USEC   (4 * USEC_MSEC) /* then others have their turn */
#define PIECE_BYTES ((size_t) 64 * 1024)
#define LINE_MOST   ((size_t) 8 * 1024) /* longer ones come in pieces, as daemons cut them */
#define SENT_BYTES  24

#define FACILITY_DAEMON  (3 << 3)
#define SEVERITY_ERROR   3
#define SEVERITY_WARNING 4
#define SEVERITY_INFO    6

/* Lives until the loop has let go of its handle. */
struct connection {
        struct logforward *owner;
        uv_poll_t poll; /* active while the daemon's queue is full */
        int fd;
};

struct end {
        const char *path;
        struct connection *connection; /* NULL: there is none */
        bool full;                     /* the daemon takes no more now */
        bool broken;                   /* there is no daemon, and that was said */
};

/* A stream that has lines to send. */
struct stream {
        char *key; /* "web.0/stdout" */
        char *task, *name;
        enum logforward_to to;
        bool over;
        struct logread *reader;
        struct buffer held; /* read and not sent */
        uint64_t next;      /* number of the first byte held, or of the next one to read */
        uint64_t noted;     /* what stands in the file */
        uint32_t run;       /* of what is held */
        usec_t wall;        /* of the first line held */
        usec_t wall_rest;   /* of the others */
        UT_hash_handle hh;
};

struct logforward {
        const char *directory;
        struct end ends[LOGFORWARD_ENDS];
        struct stream *streams; /* who was served last is the last */
        struct buffer packet;
        uv_timer_t timer;
};

static void on_timer(uv_timer_t *timer);

static char *sent_path(const struct logforward *lf, const struct stream *s)
{
        return mem_printf("%s/%s/%s.sent", lf->directory, s->task, s->name);
}

/* ---- the daemons */

static void on_connection_closed(uv_handle_t *handle)
{
        struct connection *c = handle->data;

        close(c->fd);
        free(c);
}

static void disconnect(struct end *end)
{
        if (end->connection != NULL)
                uv_close((uv_handle_t *) &take_ptr(end->connection)->poll, on_connection_closed);
        end->full = false;
}

static bool say_broken(struct end *end, int number)
{
        if (!end->broken)
                log_warning("logs are not forwarded: %s: %s; they wait until it answers", end->path,
                        strerror(number));
        end->broken = true;
        disconnect(end);
        return false;
}

static bool connect_end(struct logforward *lf, struct end *end)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        AUTO(fd_closep) int fd = -1;

        if (end->connection != NULL)
                return true;
        if (strlen(end->path) >= sizeof address.sun_path)
                return say_broken(end, ENAMETOOLONG);
        strcpy(address.sun_path, end->path);
        fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *) &address, sizeof address) < 0)
                return say_broken(end, errno);
        end->connection = mem_alloc(sizeof *end->connection);
        end->connection->owner = lf;
        end->connection->poll.data = end->connection;
        uv_poll_init(lf->timer.loop, &end->connection->poll, fd);
        end->connection->fd = take_fd(fd);
        return true;
}

static void on_room(uv_poll_t *poll, int status, int events)
{
        struct connection *c = poll->data;
        struct logforward *lf = c->owner;

        (void) status;
        (void) events;
        uv_poll_stop(poll);
        for (size_t i = 0; i < LOGFORWARD_ENDS; i++)
                if (lf->ends[i].connection == c)
                        lf->ends[i].full = false;
        uv_timer_start(&lf->timer, on_timer, 0, 0);
}

/* Returns false if the daemon does not take it now. */
static bool send_packet(struct logforward *lf, struct end *end, const struct buffer *packet)
{
        ssize_t n;

        if (end->full || !connect_end(lf, end))
                return false;
        do
                n = send(end->connection->fd, packet->data, packet->len, MSG_NOSIGNAL);
        while (n < 0 && errno == EINTR);
        if (n < 0 && errno == EAGAIN) {
                end->full = true;
                uv_poll_start(&end->connection->poll, UV_WRITABLE, on_room);
                return false;
        }
        if (n < 0 && errno != EMSGSIZE) /* one that is too large would be so for ever */
                return say_broken(end, errno);
        if (end->broken)
                log_info("logs are forwarded again: %s", end->path);
        end->broken = false;
        return true;
}

/* RFC 3164, without the host name, as local programs write it. */
static void put_syslog(struct buffer *out, const struct stream *s, int severity, usec_t wall,
        const char *text, size_t len)
{
        time_t seconds = (time_t) (wall / USEC_SEC);
        char when[32] = "";
        struct tm tm;

        if (localtime_r(&seconds, &tm) != NULL)
                strftime(when, sizeof when, "%b %e %H:%M:%S", &tm);
        buffer_printf(out, "<%d>%s %s: ", FACILITY_DAEMON | severity, when, s->task);
        buffer_put(out, text, len);
}

/* The journal's own protocol: FIELD=value lines, and the message with its length since it may have
 * any bytes (systemd.io/JOURNAL_NATIVE_PROTOCOL). */
static void put_journal(struct buffer *out, const struct stream *s, int severity, usec_t wall,
        const char *text, size_t len)
{
        uint64_t length = htole64(len);
        size_t job = (size_t) (strrchr(s->task, '.') - s->task);

        buffer_printf(out,
                "PRIORITY=%d\nSYSLOG_FACILITY=3\nSYSLOG_IDENTIFIER=%s\nREEVE_JOB=%.*s\n"
                "REEVE_TASK=%s\nREEVE_RUN=%" PRIu32 "\nREEVE_STREAM=%s\n"
                "SYSLOG_TIMESTAMP=%" PRIu64 "\nMESSAGE\n",
                severity, s->task, (int) job, s->task, s->task, s->run, s->name, wall);
        buffer_put(out, &length, sizeof length);
        buffer_put(out, text, len);
        buffer_putc(out, '\n');
}

static bool send_line(
        struct logforward *lf, const struct stream *s, int severity, const char *text, size_t len)
{
        buffer_reset(&lf->packet);
        if (s->to == LOGFORWARD_SYSLOG)
                put_syslog(&lf->packet, s, severity, s->wall, text, len);
        else
                put_journal(&lf->packet, s, severity, s->wall, text, len);
        return send_packet(lf, &lf->ends[s->to], &lf->packet);
}

/* ---- a stream */

static int severity_of(const struct stream *s)
{
        return strcmp(s->name, "stderr") == 0 ? SEVERITY_ERROR : SEVERITY_INFO;
}

/* The length of the line that is held from @at on, with its end if it has one; 0: it is not
 * whole. */
static size_t line_held(const struct stream *s, size_t at, bool whole)
{
        size_t most = MIN(s->held.len - at, LINE_MOST);
        const char *end = most > 0 ? memchr(s->held.data + at, '\n', most) : NULL;

        if (end != NULL)
                return (size_t) (end - s->held.data) - at + 1;
        return most == LINE_MOST || whole ? most : 0;
}

/* Sends the lines that are held; with @whole also one without an end. Returns false if the daemon
 * takes no more. */
static bool send_held(struct logforward *lf, struct stream *s, bool whole)
{
        size_t done = 0, len;

        while ((len = line_held(s, done, whole)) > 0) {
                const char *line = s->held.data + done;
                size_t text = len - (line[len - 1] == '\n' ? 1 : 0);

                if (!send_line(lf, s, severity_of(s), line, text))
                        break;
                done += len;
                s->wall = s->wall_rest;
        }
        buffer_consume(&s->held, done);
        s->next += done;
        return len == 0;
}

static bool send_gap(struct logforward *lf, struct stream *s, const struct logread_chunk *gap)
{
        char text[96];
        int len = snprintf(text, sizeof text, "[%" PRIu64 " bytes were %s]", gap->gap,
                gap->why == LOGREAD_GAP_DROPPED ? "dropped: the disk was full"
                                                : "removed before they could be forwarded");

        s->wall = time_wall();
        return send_line(lf, s, SEVERITY_WARNING, text, (size_t) len);
}

static int open_reader(struct logforward *lf, struct stream *s, struct error *err)
{
        AUTO(mem_freep) char *directory = mem_printf("%s/%s", lf->directory, s->task);
        struct logread_from from = { .start = LOGREAD_BYTE, .value = s->next };

        return logread_open(directory, s->name, from, &s->reader, err);
}

/* Takes the next bytes of the log. Returns 1, 0 if there are none, -1 if there is no reading on. */
static int read_more(struct logforward *lf, struct stream *s, struct error *err)
{
        static char piece[PIECE_BYTES];
        struct logread_chunk chunk;
        int r;

        if (s->reader == NULL && open_reader(lf, s, err) < 0)
                return -1;
        r = logread_next(s->reader, piece, sizeof piece, &chunk, err);
        if (r <= 0)
                return r;
        if (s->held.len > 0 && (chunk.gap > 0 || chunk.run != s->run) && !send_held(lf, s, true))
                return -1;
        if (chunk.gap > 0 && !send_gap(lf, s, &chunk))
                return -1;
        if (s->held.len == 0)
                s->wall = chunk.wall;
        s->wall_rest = chunk.wall;
        s->run = chunk.run;
        s->next = chunk.byte - s->held.len;
        buffer_put(&s->held, piece, chunk.len);
        return 1;
}

/* What was read and not sent is read again. */
static void rewind_stream(struct stream *s)
{
        logread_free(s->reader);
        s->reader = NULL;
        buffer_reset(&s->held);
}

static void note_sent(struct logforward *lf, struct stream *s)
{
        AUTO(mem_freep) char *path = sent_path(lf, s);
        struct error err = ERROR_INIT;
        char text[SENT_BYTES];
        int len = snprintf(text, sizeof text, "%" PRIu64 "\n", s->next);

        if (s->noted == s->next)
                return;
        if (file_replace(path, text, (size_t) len, 0640, false, &err) < 0)
                log_debug("%s", err.message);
        else
                s->noted = s->next;
}

static void learn_sent(struct logforward *lf, struct stream *s)
{
        AUTO(mem_freep) char *path = sent_path(lf, s);
        AUTO(buffer_done) struct buffer text = { 0 };
        struct error ignored = ERROR_INIT;
        int64_t number;

        if (file_read(path, SENT_BYTES, &text, &ignored) < 0 || text.len == 0)
                return;
        text.data[text.len - 1] = '\0';
        if (text_parse_int(text.data, 0, INT64_MAX, &number))
                s->next = s->noted = (uint64_t) number;
}

enum outcome { DONE, MORE, WAIT };

/* Sends for a while. */
static enum outcome send_some(struct logforward *lf, struct stream *s, usec_t until)
{
        struct error err = ERROR_INIT;
        enum outcome outcome = MORE;

        while (outcome == MORE && time_mono() < until) {
                int r = 1;

                if (!send_held(lf, s, false)) {
                        outcome = WAIT;
                } else if ((r = read_more(lf, s, &err)) < 0) {
                        rewind_stream(s);
                        outcome = WAIT;
                } else if (r == 0) {
                        outcome = send_held(lf, s, s->over) ? DONE : WAIT;
                }
        }
        note_sent(lf, s);
        return outcome;
}

static void stream_free(struct logforward *lf, struct stream *s)
{
        HASH_DEL(lf->streams, s);
        logread_free(s->reader);
        buffer_done(&s->held);
        free(s->key);
        free(s->task);
        free(s->name);
        free(s);
}

/* ---- all of them */

static void arm(struct logforward *lf, uint64_t msec)
{
        uv_timer_start(&lf->timer, on_timer, msec, 0);
}

static void on_timer(uv_timer_t *timer)
{
        struct logforward *lf = timer->data;
        usec_t until = time_mono() + TURN_USEC;
        bool wait = false;
        size_t left = HASH_COUNT(lf->streams);

        while (left-- > 0 && time_mono() < until) {
                struct stream *s = lf->streams;
                enum outcome outcome = send_some(lf, s, until);

                wait |= outcome == WAIT;
                if (outcome == DONE) {
                        stream_free(lf, s);
                        continue;
                }
                HASH_DEL(lf->streams, s);
                HASH_ADD_KEYPTR(hh, lf->streams, s->key, strlen(s->key), s);
        }
        if (lf->streams != NULL)
                arm(lf, wait ? RETRY_MSEC : 0);
}

static struct stream *stream_get(struct logforward *lf, const char *task, const char *name)
{
        AUTO(mem_freep) char *key = mem_printf("%s/%s", task, name);
        struct stream *s;

        HASH_FIND_STR(lf->streams, key, s);
        if (s != NULL)
                return s;
        s = mem_alloc(sizeof *s);
        s->key = take_ptr(key);
        s->task = mem_strdup(task);
        s->name = mem_strdup(name);
        learn_sent(lf, s);
        HASH_ADD_KEYPTR(hh, lf->streams, s->key, strlen(s->key), s);
        return s;
}

void logforward_look(
        struct logforward *lf, const char *task, const char *name, enum logforward_to to, bool over)
{
        struct stream *s = stream_get(lf, task, name);

        s->to = to;
        s->over = over;
        if (!uv_is_active((uv_handle_t *) &lf->timer))
                arm(lf, GATHER_MSEC);
}

struct logforward *logforward_new(
        uv_loop_t *loop, const char *directory, const char *const sockets[LOGFORWARD_ENDS])
{
        static const char *const usual[LOGFORWARD_ENDS] = { "/dev/log",
                "/run/systemd/journal/socket" };
        struct logforward *lf = mem_alloc(sizeof *lf);

        lf->directory = directory;
        for (size_t i = 0; i < LOGFORWARD_ENDS; i++)
                lf->ends[i].path = sockets[i] != NULL ? sockets[i] : usual[i];
        lf->timer.data = lf;
        uv_timer_init(loop, &lf->timer);
        return lf;
}

static void on_closed(uv_handle_t *handle)
{
        free(handle->data);
}

void logforward_free(struct logforward *lf)
{
        if (lf == NULL)
                return;
        while (lf->streams != NULL)
                stream_free(lf, lf->streams);
        for (size_t i = 0; i < LOGFORWARD_ENDS; i++)
                disconnect(&lf->ends[i]);
        buffer_done(&lf->packet);
        uv_close((uv_handle_t *) &lf->timer, on_closed);
}
