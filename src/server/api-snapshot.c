/* SPDX-License-Identifier: BSD-3-Clause */
/* The route of snapshots: all rows of the store as they are at one instant, streamed.
 *
 * A worker thread reads rows from a view of the store, puts them into lines and counts them into
 * the checksum, CHUNK_BYTES at a time; the loop hands the lines to the peer and asks for more when
 * it has taken them. So however large the store, one chunk is read and one is queued, and the loop
 * does nothing but pass bytes on. A failure in the middle becomes the last line: the status has
 * been sent.
 *
 * A stream is owned by the list in struct server, from its request until its end. When its peer
 * goes away, or the server ends, a read may be under way: the view lets it end first. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/log.h"
#include "base/mem.h"
#include "server/api.h"
#include "store/snapshot.h"

#define CHUNK_BYTES ((size_t) 256 * 1024)
#define STREAMS_MAX 4

struct snapshot_stream {
        struct server *server;
        struct http_request *req;
        struct store_view *view;
        struct snapshot_writer *writer;
        struct buffer lines; /* the worker's while it reads */
        bool reading;
        struct snapshot_stream *next, *prev;
};

static void stream_free(void *data)
{
        struct snapshot_stream *s = data;

        snapshot_writer_free(s->writer);
        buffer_done(&s->lines);
        free(s);
}

/* The request is answered or gone. */
static void stream_end(struct snapshot_stream *s)
{
        DL_DELETE(s->server->snapshots, s);
        store_view_close(s->view, stream_free, s);
}

static void on_peer_gone(void *data)
{
        stream_end(data);
}

/* In a worker thread. */
static int take_row(void *data, const char *key, const char *value, size_t len, struct error *err)
{
        struct snapshot_stream *s = data;

        (void) err;
        snapshot_put_row(s->writer, key, value, len, &s->lines);
        return s->lines.len >= CHUNK_BYTES ? 1 : 0;
}

static void send_lines(struct snapshot_stream *s)
{
        http_request_write(s->req, s->lines.data, s->lines.len);
        buffer_reset(&s->lines);
}

static void finish(struct snapshot_stream *s)
{
        struct http_request *req = s->req;

        send_lines(s);
        stream_end(s);
        http_request_finish(req);
}

static void read_more(struct snapshot_stream *s);

static void on_read(void *data, bool end, const struct error *err)
{
        struct snapshot_stream *s = data;

        s->reading = false;
        if (err != NULL) {
                log_error("snapshot: %s", err->message);
                snapshot_put_failure(s->writer, err, &s->lines);
                finish(s);
        } else if (end) {
                snapshot_put_end(s->writer, &s->lines);
                finish(s);
        } else {
                send_lines(s);
                if (http_request_queued(s->req) < HTTP_DRAIN_MARK)
                        read_more(s);
        }
}

static void read_more(struct snapshot_stream *s)
{
        s->reading = true;
        store_view_read(s->view, take_row, s, on_read, s);
}

static void on_drain(void *data)
{
        struct snapshot_stream *s = data;

        if (!s->reading)
                read_more(s);
}

static int count_streams(const struct server *server)
{
        const struct snapshot_stream *s;
        int count;

        DL_COUNT(server->snapshots, s, count);
        return count;
}

static void stream_begin(struct server *server, struct http_request *req, struct store_view *view)
{
        struct snapshot_stream *s = mem_alloc(sizeof *s);
        struct snapshot_header header = { .created = time_wall(),
                .reeve = REEVE_VERSION,
                .index = state_durable_event(server->state) };

        s->server = server;
        s->req = req;
        s->view = view;
        s->writer = snapshot_writer_new();
        DL_APPEND(server->snapshots, s);
        http_request_begin(req, 200, "application/x-ndjson");
        http_request_on_close(req, on_peer_gone, s);
        http_request_on_drain(req, on_drain, s);
        snapshot_put_header(s->writer, &header, &s->lines);
        read_more(s);
}

void api_snapshot(struct server *server, struct http_request *req, const char *name)
{
        struct store_view *view;
        struct error err;

        (void) name;
        if (count_streams(server) >= STREAMS_MAX)
                api_reply_problem(server, req, 503, error_code_name(ERR_UNAVAILABLE),
                        "other snapshots are being saved; try again when they are done");
        else if (store_view_open(server->store, &view, &err) < 0)
                api_reply_error(server, req, &err);
        else
                stream_begin(server, req, view);
}

void api_snapshots_end(struct server *server)
{
        while (server->snapshots != NULL)
                stream_end(server->snapshots);
}
