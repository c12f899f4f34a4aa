/* SPDX-License-Identifier: BSD-3-Clause */
/* Logserve: log files of tasks, read and sent over the link as the server asks.
 *
 * A stream sends only what it has credit for, so that one slow reader stops itself and nobody else;
 * and nothing is sent while the connection has too much queued. A stream that follows waits for the
 * capture to say that its file has grown, and for nothing else: it costs nothing while nothing is
 * written. */
#include "node/logserve.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "node/logquery.h"

#define FIRST_CREDIT (256 * 1024)
#define CHUNK_MAX    (64 * 1024)
#define QUEUED_MAX   ((size_t) 1024 * 1024)
#define STREAMS_MAX  4096
#define CREDIT_MAX   ((int64_t) 1 << 40)
#define TURN_USEC    (4 * USEC_MSEC) /* then others have their turn: searching takes time */

struct frame_head { /* docs/link.md, binary messages; big-endian */
        uint32_t stream;
        uint64_t byte;
} __attribute__((packed));

struct log_stream {
        struct logserve *owner;
        struct logquery *query;
        uint32_t number;
        char *task, *name;
        bool follow;
        bool dry; /* nothing more to read until it grows */
        int64_t credit, piece_min;
        struct log_stream *next;
};

struct logserve {
        struct websocket *ws;
        struct tasks *tasks;
        struct log_stream *streams;
        size_t streams_len;
        uv_idle_t pump; /* active while some stream may send */
};

static void stream_free(struct log_stream *s)
{
        struct log_stream **at = &s->owner->streams;

        while (*at != s)
                at = &(*at)->next;
        *at = s->next;
        s->owner->streams_len--;
        logquery_free(s->query);
        free(s->task);
        free(s->name);
        free(s);
}

static void send_end(struct logserve *ls, uint32_t number, const struct error *err)
{
        AUTO(buffer_done) struct buffer b = { 0 };

        buffer_printf(&b, "{\"type\":\"log-end\",\"stream\":%u,\"error\":", number);
        if (err == NULL) {
                buffer_puts(&b, "null}");
        } else {
                buffer_printf(&b, "{\"code\":\"%s\",\"message\":", error_code_name(err->code));
                text_put_json_string(&b, err->message);
                buffer_puts(&b, "}}");
        }
        websocket_send(ls->ws, true, b.data, b.len);
}

/* Sends one piece or the end. Returns false if the stream has nothing to do now, or is gone. */
static bool stream_step(struct log_stream *s)
{
        static char frame[sizeof(struct frame_head) + CHUNK_MAX];
        struct logserve *ls = s->owner;
        struct error err = ERROR_INIT;
        struct logquery_piece piece;
        struct frame_head head;
        size_t size = (size_t) MIN(s->credit, (int64_t) CHUNK_MAX);
        int r;

        if (s->dry || s->credit < s->piece_min || websocket_queued(ls->ws) > QUEUED_MAX)
                return false;
        r = logquery_next(s->query, frame + sizeof head, size, &piece, &err);
        if (r <= 0) {
                if (r == 0 && s->follow && !logquery_ended(s->query)) {
                        s->dry = true;
                        return false;
                }
                send_end(ls, s->number, r < 0 ? &err : NULL);
                stream_free(s);
                return false;
        }
        head.stream = htobe32(s->number);
        if (piece.len == 0 && !piece.gap)
                return true;
        head.byte = htobe64(piece.byte);
        memcpy(frame, &head, sizeof head);
        websocket_send(ls->ws, false, frame, sizeof head + piece.len);
        s->credit -= (int64_t) piece.len;
        return true;
}

/* Who was served last goes to the end when time is up, so that nobody waits for ever. */
static void rotate(struct logserve *ls, struct log_stream *last)
{
        struct log_stream **end = &last->next, *first = last->next;

        if (first == NULL)
                return;
        while (*end != NULL)
                end = &(*end)->next;
        *end = ls->streams;
        last->next = NULL;
        ls->streams = first;
}

static void on_pump(uv_idle_t *idle)
{
        struct logserve *ls = idle->data;
        usec_t until = time_mono() + TURN_USEC;

        for (struct log_stream *s = ls->streams, *next; s != NULL; s = next) {
                next = s->next;
                while (stream_step(s))
                        if (time_mono() >= until) {
                                rotate(ls, s);
                                return;
                        }
        }
        uv_idle_stop(&ls->pump);
}

static void wake(struct logserve *ls)
{
        uv_idle_start(&ls->pump, on_pump);
}

struct logserve *logserve_new(uv_loop_t *loop, struct websocket *ws, struct tasks *tasks)
{
        struct logserve *ls = mem_alloc(sizeof *ls);

        ls->ws = ws;
        ls->tasks = tasks;
        uv_idle_init(loop, &ls->pump);
        ls->pump.data = ls;
        return ls;
}

static void on_pump_closed(uv_handle_t *handle)
{
        free(handle->data);
}

void logserve_free(struct logserve *ls)
{
        if (ls == NULL)
                return;
        while (ls->streams != NULL)
                stream_free(ls->streams);
        uv_close((uv_handle_t *) &ls->pump, on_pump_closed);
}

static struct log_stream *find(struct logserve *ls, uint32_t number)
{
        struct log_stream *s = ls->streams;

        while (s != NULL && s->number != number)
                s = s->next;
        return s;
}

static uint64_t read_amount(const json_t *message, const char *name)
{
        return (uint64_t) MAX(json_integer_value(json_object_get(message, name)), 0);
}

static struct logread_from read_from(const json_t *message)
{
        bool by_lines = json_is_integer(json_object_get(message, "last_lines"));

        return (struct logread_from){ .start = by_lines ? LOGREAD_LINES : LOGREAD_BYTE,
                .value = read_amount(message, by_lines ? "last_lines" : "from"),
                .run = (uint32_t) MIN(read_amount(message, "run"), (uint64_t) UINT32_MAX),
                .since = read_amount(message, "since"),
                .until = read_amount(message, "until") };
}

/* Whether a task may be read: it is, or was, on this node. Its name becomes part of a path. */
static int check_name(const char *task, const char *name, struct error *err)
{
        if (task == NULL || name == NULL || task[0] == '.' || strchr(task, '/') != NULL ||
                (strcmp(name, "stdout") != 0 && strcmp(name, "stderr") != 0))
                return error_set(err, ERR_INVALID, "no such log");
        return 0;
}

static int open_stream(
        struct logserve *ls, const json_t *message, uint32_t number, struct error *err)
{
        const char *task = json_string_value(json_object_get(message, "task"));
        const char *name = json_string_value(json_object_get(message, "name"));
        AUTO(mem_freep) char *directory = NULL;
        struct logquery_config config = { .name = name,
                .from = read_from(message),
                .grep = json_string_value(json_object_get(message, "grep")),
                .follow = json_is_true(json_object_get(message, "follow")),
                .records = json_is_true(json_object_get(message, "records")) };
        struct log_stream *s;
        struct logquery *query;

        if (check_name(task, name, err) < 0)
                return -1;
        if (ls->streams_len >= STREAMS_MAX)
                return error_set(
                        err, ERR_TOO_LARGE, "more than %d logs are being read", STREAMS_MAX);
        config.directory = directory = task_directory(ls->tasks, task);
        if (logquery_new(&config, &query, err) < 0)
                return -1;
        s = mem_alloc(sizeof *s);
        *s = (struct log_stream){
                .owner = ls,
                .query = query,
                .number = number,
                .task = mem_strdup(task),
                .name = mem_strdup(name),
                .follow = config.follow,
                .credit = FIRST_CREDIT,
                .piece_min = config.records ? (int64_t) LOGQUERY_PIECE_MIN : 1,
                .next = ls->streams,
        };
        ls->streams = s;
        ls->streams_len++;
        return 0;
}

void logserve_message(struct logserve *ls, const json_t *message)
{
        const char *type = json_string_value(json_object_get(message, "type"));
        uint32_t number = (uint32_t) json_integer_value(json_object_get(message, "stream"));
        struct log_stream *s = find(ls, number);
        struct error err = ERROR_INIT;

        if (strcmp(type, "log-open") == 0) {
                if (s != NULL)
                        stream_free(s);
                if (open_stream(ls, message, number, &err) < 0)
                        send_end(ls, number, &err);
        } else if (s == NULL) {
                return; /* it ended while this was on its way */
        } else if (strcmp(type, "log-close") == 0) {
                stream_free(s);
        } else {
                json_int_t more = json_integer_value(json_object_get(message, "bytes"));

                s->credit = MIN(s->credit + MIN(MAX(more, 0), CREDIT_MAX), CREDIT_MAX);
        }
        wake(ls);
}

void logserve_drained(struct logserve *ls)
{
        if (ls != NULL)
                wake(ls);
}

void logserve_grown(struct logserve *ls, const char *id, const char *stream)
{
        for (struct log_stream *s = ls->streams; s != NULL; s = s->next)
                if (s->dry && strcmp(s->task, id) == 0 && strcmp(s->name, stream) == 0) {
                        s->dry = false;
                        wake(ls);
                }
}
