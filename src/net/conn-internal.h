/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "base/buffer.h"
#include "net/conn.h"
#include "net/tls-session.h"

/* Between conn.c (a connection that stands) and connect.c (one that is being made). */

enum conn_state {
        CONN_CONNECTING, /* looking up, connecting; no descriptor of its own yet */
        CONN_SECURING,   /* TLS is being agreed on */
        CONN_OPEN,
        CONN_FINISHING, /* no owner; writing what is queued */
        CONN_LINGERING, /* no owner; all written and said so, waiting for the peer to end */
        CONN_CLOSED,    /* memory only, for frames that may still be on the stack */
};

struct conn_piece {
        struct conn_piece *next;
        struct block *block;
        size_t begin, end; /* what of the block is still to be sent */
};

struct conn {
        struct hub *hub;
        enum conn_state state;
        int fd;
        bool is_unix, is_client;
        struct tls *tls; /* NULL: plain */
        bool missed_tls; /* the peer spoke plainly where TLS was expected, and so do we */

        const struct conn_handlers *handlers; /* NULL: no owner any more */
        void *data;

        uv_poll_t poll;
        bool polled;  /* poll is a handle of the loop */
        int interest; /* what poll watches */
        struct hub_job job;

        bool reading;      /* the owner wants input */
        bool eof;          /* the peer has finished, all was read */
        bool hangup_told;  /* the peer's end was reported while not reading */
        bool write_failed; /* client: the peer takes nothing more, but may have spoken */
        struct buffer stash;
        size_t stash_taken;
        size_t discarded;

        struct conn_piece *first, *last;
        size_t queued;
        bool stalled;    /* the kernel takes no more for now */
        bool above_mark; /* on_drain is due when the queue falls */
        usec_t stall_timeout;
        usec_t last_progress_mono;

        struct hub_deadline stall, deadline;
        struct connecting *connecting; /* exactly in CONN_CONNECTING, and in CONN_SECURING of a
                                          client */
};

struct conn *conn_new(struct hub *hub, const struct conn_handlers *handlers, void *data);

/* Takes @fd and goes to CONN_OPEN; to CONN_SECURING if tls is set. */
int conn_attach(struct conn *c, int fd, struct error *err);

/* Closes, then tells the owner why. */
void conn_break(struct conn *c, const struct error *err);

/* Says where it was to be connected to, closes, tells the owner. */
void conn_break_connecting(struct conn *c, struct error *err);

/* Gives up what connect.c has under way; harmless in every state. */
void conn_stop_connecting(struct conn *c);
