/* SPDX-License-Identifier: BSD-3-Clause */
/* WebSockets: messages in both directions over one connection (RFC 6455).
 *
 * wslay knows the frames; it is fed from on_input() and writes straight into the connection's
 * queue, so it holds nothing back itself. Messages are put together here and not in wslay, which
 * would allocate as much as a frame's header promises: memory follows what has really come, up to
 * max_message.
 *
 * Life: made by http-server.c or websocket-client.c, owned by whoever got the pointer. It ends in
 * one of two ways, websocket_close() by the owner or websocket_fail() with on_close to the owner;
 * in both the connection is given up, `ended` is set and the memory goes at the end of the turn,
 * since wslay's frames and ours may be on the stack.
 *
 * Signs of life: every ping_every a ping is sent, and dead_after without any input ends the
 * connection. While we do not read because the peer is behind with reading, its taking something is
 * a sign of life as well. On UNIX sockets the kernel tells when the peer is gone, and an idle pair
 * costs no wake-up at all.
 *
 * No extensions, no subprotocols. */
#define OPENSSL_SUPPRESS_DEPRECATED /* see websocket_accept_key() */
#include "net/websocket.h"

#include <assert.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/macros.h"
#include "base/mem.h"
#include "net/websocket-internal.h"

#define MESSAGE_DEFAULT ((size_t) 16 * 1024 * 1024)
#define MESSAGE_KEEP    ((size_t) 4 * 1024) /* a larger buffer is not kept for the next message */

static_assert(
        WEBSOCKET_DRAIN_MARK == CONN_DRAIN_MARK, "what the header promises is what conn does");

/* SHA-1 is what the protocol asks for. The old functions are meant: the new ones load OpenSSL's
 * providers, a megabyte in every agent, for one hash per connection. */
void websocket_accept_key(const char *key, char accept[WEBSOCKET_ACCEPT_MAX])
{
        static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
        unsigned char digest[SHA_DIGEST_LENGTH];
        SHA_CTX ctx;

        SHA1_Init(&ctx);
        SHA1_Update(&ctx, key, strlen(key));
        SHA1_Update(&ctx, guid, sizeof guid - 1);
        SHA1_Final(digest, &ctx);
        EVP_EncodeBlock((unsigned char *) accept, digest, sizeof digest);
}

/* The end */

static void on_free_job(struct hub_job *job)
{
        struct websocket *ws = container_of(job, struct websocket, job);
        struct hub *hub = ws->hub;

        handshake_free(ws->handshake);
        if (ws->wslay != NULL)
                wslay_event_context_free(ws->wslay);
        buffer_done(&ws->message);
        free(ws);
        hub_unref(hub);
}

static void websocket_end(struct websocket *ws)
{
        ws->ended = true;
        ws->conn = NULL;
        if (ws->wslay != NULL)
                wslay_event_shutdown_read(ws->wslay);
        hub_job_cancel(ws->hub, &ws->job);
        hub_defer(ws->hub, &ws->job, on_free_job);
}

static void websocket_tell_closed(struct websocket *ws, const char *reason)
{
        websocket_end(ws);
        if (ws->handlers.on_close != NULL)
                ws->handlers.on_close(ws->data, reason);
}

void websocket_fail(struct websocket *ws, const char *reason)
{
        conn_close(ws->conn);
        websocket_tell_closed(ws, reason);
}

/* Writes what wslay has queued: our messages, and its own answers to pings and closes. */
static void websocket_pump(struct websocket *ws)
{
        if (wslay_event_want_write(ws->wslay))
                wslay_event_send(ws->wslay);
}

unsigned websocket_close_code(const struct websocket *ws)
{
        return ws->close_code;
}

void websocket_close(struct websocket *ws, uint16_t code, const char *reason)
{
        size_t len = reason == NULL ? 0 : MIN(strlen(reason), WEBSOCKET_REASON_MAX);

        if (ws == NULL || ws->ended)
                return;
        if (ws->wslay == NULL) {
                conn_close(ws->conn);
        } else {
                while (len > 0 && (reason[len] & 0xc0) == 0x80)
                        len--; /* not in the middle of a letter */
                wslay_event_queue_close(ws->wslay, code, (const uint8_t *) reason, len);
                websocket_pump(ws);
                conn_finish(ws->conn);
        }
        websocket_end(ws);
}

/* wslay's callbacks */

static ssize_t on_wslay_recv(
        wslay_event_context_ptr ctx, uint8_t *buf, size_t len, int flags, void *data)
{
        struct websocket *ws = data;
        size_t n = MIN(len, ws->in_len);

        (void) flags;
        if (n == 0 || ws->ended || !conn_wants_input(ws->conn)) {
                wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
                return -1;
        }
        memcpy(buf, ws->in, n);
        ws->in += n;
        ws->in_len -= n;
        return (ssize_t) n;
}

static ssize_t on_wslay_send(
        wslay_event_context_ptr ctx, const uint8_t *bytes, size_t len, int flags, void *data)
{
        struct websocket *ws = data;

        (void) ctx;
        (void) flags;
        if (ws->conn != NULL)
                conn_send(ws->conn, bytes, len);
        return (ssize_t) len;
}

/* Masks must not be guessable by who chooses the payload; they come from the kernel, many at once.
 */
static int on_wslay_genmask(wslay_event_context_ptr ctx, uint8_t *buf, size_t len, void *data)
{
        static _Thread_local uint8_t pool[256];
        static _Thread_local size_t left;

        (void) ctx;
        (void) data;
        if (left < len) {
                if (getrandom(pool, sizeof pool, 0) != (ssize_t) sizeof pool)
                        return -1;
                left = sizeof pool;
        }
        left -= len;
        memcpy(buf, pool + left, len);
        return 0;
}

static void on_wslay_frame_start(wslay_event_context_ptr ctx,
        const struct wslay_event_on_frame_recv_start_arg *arg, void *data)
{
        struct websocket *ws = data;

        (void) ctx;
        ws->in_control = wslay_is_ctrl_frame(arg->opcode);
}

static void on_wslay_frame_chunk(wslay_event_context_ptr ctx,
        const struct wslay_event_on_frame_recv_chunk_arg *arg, void *data)
{
        struct websocket *ws = data;

        if (ws->in_control || ws->ended)
                return;
        if (ws->message.len + arg->data_length > ws->handlers.max_message) {
                ws->too_big = true;
                wslay_event_shutdown_read(ctx);
                return;
        }
        buffer_put(&ws->message, arg->data, arg->data_length);
}

/* Two bytes of code and then the reason, for people. */
static void websocket_note_goodbye(struct websocket *ws, const uint8_t *bytes, size_t len)
{
        size_t n = len > 2 ? MIN(len - 2, (size_t) WEBSOCKET_REASON_MAX) : 0;

        for (size_t i = 0; i < n; i++)
                ws->goodbye[i] = bytes[2 + i] < ' ' ? ' ' : (char) bytes[2 + i];
        ws->goodbye[n] = '\0';
}

static void on_wslay_message(
        wslay_event_context_ptr ctx, const struct wslay_event_on_msg_recv_arg *arg, void *data)
{
        struct websocket *ws = data;

        (void) ctx;
        if (arg->opcode == WSLAY_CONNECTION_CLOSE)
                websocket_note_goodbye(ws, arg->msg, arg->msg_length);
        if (arg->opcode == WSLAY_PONG && !ws->ended && ws->handlers.on_pong != NULL)
                ws->handlers.on_pong(ws->data);
        if (ws->ended || ws->too_big || wslay_is_ctrl_frame(arg->opcode))
                return;
        ws->handlers.on_message(ws->data, arg->opcode == WSLAY_TEXT_FRAME, buffer_str(&ws->message),
                ws->message.len);
        if (ws->message.allocated > MESSAGE_KEEP)
                buffer_done(&ws->message);
        else
                buffer_reset(&ws->message);
}

static const struct wslay_event_callbacks wslay_callbacks = {
        .recv_callback = on_wslay_recv,
        .send_callback = on_wslay_send,
        .genmask_callback = on_wslay_genmask,
        .on_frame_recv_start_callback = on_wslay_frame_start,
        .on_frame_recv_chunk_callback = on_wslay_frame_chunk,
        .on_msg_recv_callback = on_wslay_message,
};

/* The connection's callbacks */

/* The peer said goodbye, or wslay did because of what the peer sent; the frames are queued. */
static void websocket_closed_by_peer(struct websocket *ws)
{
        char reason[96 + WEBSOCKET_REASON_MAX];
        unsigned code;

        code = wslay_event_get_status_code_sent(ws->wslay);
        if (code == WSLAY_CODE_MESSAGE_TOO_BIG) {
                snprintf(reason, sizeof reason, "the peer sent a message of more than %zu bytes",
                        ws->handlers.max_message);
        } else if (wslay_event_get_close_received(ws->wslay)) {
                code = wslay_event_get_status_code_received(ws->wslay);
                ws->close_code = code;
                if (code == WSLAY_CODE_NO_STATUS_RCVD)
                        snprintf(reason, sizeof reason, "closed by the peer");
                else
                        snprintf(reason, sizeof reason, "closed by the peer with %u%s%s", code,
                                ws->goodbye[0] != '\0' ? ": " : "", ws->goodbye);
        } else if (code == WSLAY_CODE_INVALID_FRAME_PAYLOAD_DATA) {
                snprintf(reason, sizeof reason, "the peer sent text that is not UTF-8");
        } else {
                snprintf(reason, sizeof reason, "the peer broke the protocol");
        }
        conn_finish(ws->conn);
        websocket_tell_closed(ws, reason);
}

static size_t on_input(void *data, const char *bytes, size_t len)
{
        struct websocket *ws = data;
        int r;

        ws->heard_mono = time_mono();
        ws->in = bytes;
        ws->in_len = len;
        r = wslay_event_recv(ws->wslay);
        if (ws->ended)
                return len;
        if (ws->too_big)
                wslay_event_queue_close(ws->wslay, WSLAY_CODE_MESSAGE_TOO_BIG, NULL, 0);
        websocket_pump(ws);
        if (r != 0 || !wslay_event_get_read_enabled(ws->wslay))
                websocket_closed_by_peer(ws);
        return len - ws->in_len;
}

static void on_eof(void *data)
{
        websocket_fail(data, "the peer ended the connection");
}

static void on_hangup(void *data, bool complete)
{
        if (complete)
                websocket_fail(data, "the peer ended the connection");
}

static void on_drain(void *data)
{
        struct websocket *ws = data;

        if (ws->handlers.on_drain != NULL)
                ws->handlers.on_drain(ws->data);
}

static void websocket_schedule(struct websocket *ws)
{
        conn_set_deadline(ws->conn, MIN(ws->ping_mono, ws->heard_mono + ws->handlers.dead_after));
}

static void on_deadline(void *data)
{
        struct websocket *ws = data;
        usec_t now = time_mono();
        char reason[96], span[TIME_TEXT_MAX];

        ws->heard_mono = websocket_last_heard(ws);
        if (now >= ws->heard_mono + ws->handlers.dead_after) {
                snprintf(reason, sizeof reason, "nothing heard from the peer for %s",
                        time_format_span(span, ws->handlers.dead_after));
                websocket_fail(ws, reason);
                return;
        }
        if (now >= ws->ping_mono) {
                websocket_ping(ws);
                ws->ping_mono = now + ws->handlers.ping_every;
        }
        websocket_schedule(ws);
}

static void on_broken(void *data, const struct error *err)
{
        struct websocket *ws = data;

        ws->conn = NULL;
        websocket_tell_closed(ws, err->message);
}

static const struct conn_handlers conn_handlers = {
        .on_input = on_input,
        .on_eof = on_eof,
        .on_hangup = on_hangup,
        .on_drain = on_drain,
        .on_deadline = on_deadline,
        .on_broken = on_broken,
};

/* The beginning */

struct websocket *websocket_new(
        struct hub *hub, bool is_client, const struct websocket_handlers *handlers, void *data)
{
        struct websocket *ws = mem_alloc(sizeof *ws);
        struct websocket_handlers *h = &ws->handlers;

        ws->hub = hub_ref(hub);
        ws->is_client = is_client;
        ws->data = data;
        *h = *handlers;
        h->max_message = h->max_message != 0 ? h->max_message : MESSAGE_DEFAULT;
        h->ping_every = h->ping_every != 0 ? h->ping_every : 10 * USEC_SEC;
        h->dead_after = h->dead_after != 0 ? h->dead_after : 30 * USEC_SEC;
        h->connect_timeout = h->connect_timeout != 0 ? h->connect_timeout : 10 * USEC_SEC;
        return ws;
}

static void on_stillborn_job(struct hub_job *job)
{
        websocket_tell_closed(
                container_of(job, struct websocket, job), "the peer ended the connection");
}

static void websocket_init_wslay(struct websocket *ws)
{
        int r = ws->is_client ? wslay_event_context_client_init(&ws->wslay, &wslay_callbacks, ws)
                              : wslay_event_context_server_init(&ws->wslay, &wslay_callbacks, ws);

        if (r != 0)
                abort(); /* out of memory, as in base/mem */
        wslay_event_config_set_no_buffering(ws->wslay, 1);
        wslay_event_config_set_max_recv_msg_length(ws->wslay, ws->handlers.max_message);
}

void websocket_open(struct websocket *ws, struct conn *conn)
{
        websocket_init_wslay(ws);
        ws->conn = conn;
        if (conn == NULL) {
                hub_defer(ws->hub, &ws->job, on_stillborn_job);
                return;
        }
        conn_set_owner(conn, &conn_handlers, ws);
        conn_set_reading(conn, true);
        conn_set_deadline(conn, USEC_NEVER);
        ws->pings = !conn_is_unix(conn) && ws->handlers.ping_every != USEC_NEVER;
        ws->heard_mono = time_mono();
        if (ws->pings) {
                ws->ping_mono = ws->heard_mono + ws->handlers.ping_every;
                websocket_schedule(ws);
        }
}

/* Use */

void websocket_send(struct websocket *ws, bool text, const void *bytes, size_t len)
{
        struct wslay_event_msg msg = { .opcode = text ? WSLAY_TEXT_FRAME : WSLAY_BINARY_FRAME,
                .msg = bytes,
                .msg_length = len };

        if (ws->ended || ws->wslay == NULL || ws->conn == NULL)
                return;
        if (wslay_event_queue_msg(ws->wslay, &msg) == WSLAY_ERR_NOMEM)
                abort(); /* as in base/mem */
        websocket_pump(ws);
}

void websocket_ping(struct websocket *ws)
{
        const struct wslay_event_msg ping = { .opcode = WSLAY_PING };

        if (ws->ended || ws->wslay == NULL || ws->conn == NULL ||
                conn_queued(ws->conn) > WEBSOCKET_DRAIN_MARK)
                return;
        if (wslay_event_queue_msg(ws->wslay, &ping) == WSLAY_ERR_NOMEM)
                abort(); /* as in base/mem */
        websocket_pump(ws);
}

usec_t websocket_last_heard(const struct websocket *ws)
{
        if (ws->conn == NULL || conn_wants_input(ws->conn))
                return ws->heard_mono;
        return MAX(ws->heard_mono, conn_last_progress(ws->conn));
}

size_t websocket_queued(const struct websocket *ws)
{
        return ws->conn == NULL ? 0 : conn_queued(ws->conn);
}
