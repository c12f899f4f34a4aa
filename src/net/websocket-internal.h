/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <wslay/wslay.h>

#include "base/buffer.h"
#include "net/conn.h"
#include "net/websocket.h"

/* Between websocket.c (one that is open), websocket-client.c (one that is being made) and
 * http-server.c (which makes the others). */

#define WEBSOCKET_REASON_MAX 123 /* RFC 6455 section 5.5 */

struct websocket {
        struct hub *hub;
        struct conn *conn; /* NULL once it has ended */
        struct websocket_handlers handlers;
        void *data;
        bool is_client;
        bool ended; /* no callback any more; freed at the end of the turn */
        unsigned close_code;
        struct hub_job job;

        wslay_event_context_ptr wslay; /* NULL until open */
        const char *in;                /* what on_input() was shown and wslay has not taken yet */
        size_t in_len;
        struct buffer message; /* as far as it has come */
        bool in_control;       /* the frame that is being received is a ping, pong or close */
        bool too_big;
        char goodbye[WEBSOCKET_REASON_MAX + 1]; /* the peer's, if it gave a reason */

        bool pings;
        usec_t heard_mono, ping_mono; /* last sign of life, next ping */

        struct handshake *handshake; /* client, until open */
};

#define WEBSOCKET_ACCEPT_MAX 32

/* RFC 6455 section 4.2.2: the value of Sec-WebSocket-Accept for a Sec-WebSocket-Key. */
void websocket_accept_key(const char *key, char accept[WEBSOCKET_ACCEPT_MAX]);

struct websocket *websocket_new(
        struct hub *hub, bool is_client, const struct websocket_handlers *handlers, void *data);

/* Frames from now on; takes @conn. NULL: the peer has gone, on_close follows at the end of the
 * turn. */
void websocket_open(struct websocket *ws, struct conn *conn);

/* Ends it at once and tells the owner. */
void websocket_fail(struct websocket *ws, const char *reason);

void handshake_free(struct handshake *h); /* NULL is ignored */
