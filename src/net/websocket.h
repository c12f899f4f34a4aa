/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "base/time.h"
#include "net/address.h"

/* One WebSocket (RFC 6455), the same object on both sides. It begins with http_request_upgrade() on
 * a server and websocket_connect() on a client, and ends with on_close or websocket_close(),
 * whichever comes first; after either the pointer must not be used any more. Every callback may
 * send and close. Loop thread only. */
struct websocket;

/* Copied; only on_message is required. Sizes and times of 0 are the defaults. */
struct websocket_handlers {
        /* Client only: the server has agreed; before it nothing may be sent. */
        void (*on_open)(void *data);

        /* Client only: the server refused with an HTTP status and a body, of which the beginning is
         * given; on_close follows. */
        void (*on_refused)(void *data, int status, const char *body, size_t len);

        /* A whole message, at most max_message bytes; text is valid UTF-8. @bytes are borrowed for
         * the call and followed by a NUL that is not counted. */
        void (*on_message)(void *data, bool text, const void *bytes, size_t len);

        /* The peer has answered a ping: all that was sent before that is with it. */
        void (*on_pong)(void *data);

        /* What is queued has fallen below WEBSOCKET_DRAIN_MARK after it was above. */
        void (*on_drain)(void *data);

        /* The peer closed, broke the protocol, vanished, or never was reached; @reason is a
         * sentence for the log. The WebSocket is gone. Called at most once. */
        void (*on_close)(void *data, const char *reason);

        size_t max_message; /* 16 MiB: a longer one ends the connection (1009) */
        usec_t ping_every;  /* 10 s; USEC_NEVER: none. Never on UNIX sockets: their end is seen */
        usec_t dead_after;  /* 30 s without hearing anything, while pings are sent */
        usec_t connect_timeout; /* client only, 10 s: look-up, connection and handshake together */
};

#define WEBSOCKET_DRAIN_MARK ((size_t) 64 * 1024)

/* Connects to @path at @address. Returns at once: on_open or on_close follows, never from within
 * this call. @headers (name, value, ..., NULL; or NULL) go with the handshake. ERR_INVALID is all
 * that can be returned here: a path or header that cannot be sent. */
int websocket_connect(uv_loop_t *loop, const struct address *address, const char *path,
        const char *const headers[], const struct websocket_handlers *handlers, void *data,
        struct websocket **ret, struct error *err);

/* Queues one message; it leaves at the end of the loop turn. Text must be UTF-8. How much may be
 * queued is for the caller to bound, by websocket_queued() and on_drain. */
void websocket_send(struct websocket *ws, bool text, const void *bytes, size_t len);

/* Queues a ping, from either side; the peer's pong is a sign of life. Nothing happens while more
 * than WEBSOCKET_DRAIN_MARK is queued: what the peer does not take it could not answer either.
 * Pings of the peer are answered by themselves. */
void websocket_ping(struct websocket *ws);

/* When bytes of any kind last came from the peer (at first: when the WebSocket opened), or, while
 * nothing is read because too much is queued to it, when it last took something. Monotonic; 0
 * before it is open. Also within on_close. */
usec_t websocket_last_heard(const struct websocket *ws);

/* Bytes that the kernel has not taken yet. */
size_t websocket_queued(const struct websocket *ws);

/* In on_close: the code with which the peer closed, or the HTTP status with which the server
 * refused the handshake; 0: neither. */
unsigned websocket_close_code(const struct websocket *ws);

/* Says goodbye behind what is queued: @code as in RFC 6455 section 7.4 (1000: done, 1001: going
 * away), @reason at most 123 bytes (cut) or NULL. No callback follows. NULL is ignored. */
void websocket_close(struct websocket *ws, uint16_t code, const char *reason);
