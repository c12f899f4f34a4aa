/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/time.h"
#include "net/address.h"
#include "net/block.h"
#include "net/hub.h"

/* One stream connection, of a server or a client. Belongs to one owner, who gets the callbacks,
 * until the owner closes or finishes it or has been told on_broken; the owner's pointer is dead
 * from then on, and no callback follows. Every callback may close. */
struct conn;

/* All required but those that say otherwise. */
struct conn_handlers {
        /* Client: the connection stands. Server: TLS is agreed on (optional; plain: not called). */
        void (*on_open)(void *data);

        /* Bytes have come. Returns how many were taken; what is left is shown again, with what came
         * behind it, when input is wanted again: who takes less than all must have switched reading
         * off, have found conn_wants_input() false, or have installed other handlers. */
        size_t (*on_input)(void *data, const char *bytes, size_t len);

        /* The peer has finished sending and all of it was taken. */
        void (*on_eof)(void *data);

        /* While input is not wanted: the peer has finished sending (all bytes before it may not
         * have been read yet), and if @complete, does not take anything either. Optional. */
        void (*on_hangup)(void *data, bool complete);

        /* What is queued fell below CONN_DRAIN_MARK after it was above. Optional. */
        void (*on_drain)(void *data);

        /* The time of conn_set_deadline() has come. Optional. */
        void (*on_deadline)(void *data);

        /* It did not come about, broke, or took nothing for too long. */
        void (*on_broken)(void *data, const struct error *err);
};

#define CONN_READ_MARK  ((size_t) 512 * 1024) /* nothing is read while more is queued */
#define CONN_DRAIN_MARK ((size_t) 64 * 1024)

/* A connection on @fd, which was accepted and is non-blocking; takes it, also on failure. @tls is
 * the server's context, or NULL for a plain one. */
int conn_new_accepted(struct hub *hub, int fd, bool is_unix, struct tls_context *tls,
        const struct conn_handlers *handlers, void *data, struct conn **ret, struct error *err);

/* True if TLS was expected and the peer speaks something else, in letters: it was left as a plain
 * connection, so that the owner can tell the peer. It must do nothing else. */
bool conn_missed_tls(const struct conn *c);

/* A connection that will be made: on_open or on_broken follows, never from within. Names are looked
 * up off the loop, their addresses tried in turn; all of it, TLS included, ends after @timeout. */
struct conn *conn_new_connecting(struct hub *hub, const struct address *address, usec_t timeout,
        const struct conn_handlers *handlers, void *data);

/* Gives the connection to another owner. */
void conn_set_owner(struct conn *c, const struct conn_handlers *handlers, void *data);

/* How long a peer may take nothing of what is queued; USEC_NEVER: without limit. */
void conn_set_stall_timeout(struct conn *c, usec_t timeout);

/* When to call on_deadline, to within 100 ms; USEC_NEVER: not. */
void conn_set_deadline(struct conn *c, usec_t at_mono);

/* Whether the owner wants input; it does at first. */
void conn_set_reading(struct conn *c, bool reading);

/* Reading is on and not more than CONN_READ_MARK is queued. */
bool conn_wants_input(const struct conn *c);

/* Queue output; it leaves at the end of the turn. The block gets a reference of its own, unless it
 * is small: then it is copied. */
void conn_send(struct conn *c, const void *data, size_t len);
void conn_send_block(struct conn *c, struct block *block);

/* Bytes queued and not taken by the kernel. */
size_t conn_queued(const struct conn *c);

/* When the kernel last took something of a queue that had stalled; 0: never. */
usec_t conn_last_progress(const struct conn *c);

bool conn_is_unix(const struct conn *c);

/* The user at the other end of a UNIX socket; false for anything else. */
bool conn_peer_uid(const struct conn *c, uid_t *ret);

/* Ends it at once, dropping what is queued. NULL is ignored. */
void conn_close(struct conn *c);

/* Ends it behind what is queued, and such that the peer can read all of it. NULL is ignored. */
void conn_finish(struct conn *c);
