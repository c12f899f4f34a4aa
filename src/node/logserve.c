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
#include "node/logread.h"

#define FIRST_CREDIT  (256 * 1024)
#define CHUNK_MAX     (64 * 1024)
#define QUEUED_MAX    ((size_t) 1024 * 1024)
#define STREAMS_MAX   4096
#define CREDIT_MAX    ((int64_t) 1 << 40)
#define CHUNKS_A_TURN 16

struct frame_head { /* docs/link.md, binary messages; big-endian */
        uint32_t stream;
        uint64_t byte;
} __attribute__((packed));

struct log_stream {
        struct logserve *owner;
        struct logread *reader;
        uint32_t number;
        char *task, *name;
        bool follow;
        bool dry; /* nothing more to read until it grows */
        int64_t credit;
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
        logread_free(s->reader);
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

/* Sends one chunk or the end. Returns false if the stream has nothing to do now, or is gone. */
static bool stream_step(struct log_stream *s)
{
        static char frame[sizeof(struct frame_head) + CHUNK_MAX];
        struct logserve *ls = s->owner;
        struct error err = ERROR_INIT;
        struct logread_chunk chunk;
        struct frame_head head;
        size_t size = (size_t) MIN(s->credit, (int64_t) CHUNK_MAX);
        int r;

        if (s->dry || s->credit <= 0 || websocket_queued(ls->ws) > QUEUED_MAX)
                return false;
        r = logread_next(s->reader, frame + sizeof head, size, &chunk, &err);
        if (r <= 0) {
                if (r == 0 && s->follow && !logread_ended(s->reader)) {
                        s->dry = true;
                        return false;
                }
                send_end(ls, s->number, r < 0 ? &err : NULL);
                stream_free(s);
                return false;
        }
        head.stream = htobe32(s->number);
        head.byte = htobe64(chunk.byte);
        memcpy(frame, &head, sizeof head);
        websocket_send(ls->ws, false, frame, sizeof head + chunk.len);
        s->credit -= (int64_t) chunk.len;
        return true;
}

static void on_pump(uv_idle_t *idle)
{
        struct logserve *ls = idle->data;
        bool busy = false;

        for (struct log_stream *s = ls->streams, *next; s != NULL; s = next) {
                int n = 0;

                next = s->next;
                while (n < CHUNKS_A_TURN && stream_step(s))
                        n++;
                busy |= n == CHUNKS_A_TURN;
        }
        if (!busy)
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

static struct logread_from read_from(const json_t *message)
{
        const json_t *lines = json_object_get(message, "last_lines");
        bool by_lines = json_is_integer(lines);
        json_int_t value = json_integer_value(by_lines ? lines : json_object_get(message, "from"));

        return (struct logread_from){ by_lines ? LOGREAD_LINES : LOGREAD_BYTE,
                (uint64_t) MAX(value, 0) };
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
        struct log_stream *s;
        struct logread *reader;

        if (check_name(task, name, err) < 0)
                return -1;
        if (ls->streams_len >= STREAMS_MAX)
                return error_set(
                        err, ERR_TOO_LARGE, "more than %d logs are being read", STREAMS_MAX);
        directory = task_directory(ls->tasks, task);
        if (logread_open(directory, name, read_from(message), &reader, err) < 0)
                return -1;
        s = mem_alloc(sizeof *s);
        *s = (struct log_stream){
                .owner = ls,
                .reader = reader,
                .number = number,
                .task = mem_strdup(task),
                .name = mem_strdup(name),
                .follow = json_is_true(json_object_get(message, "follow")),
                .credit = FIRST_CREDIT,
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
