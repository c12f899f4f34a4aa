/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "base/error.h"
#include "base/time.h"
#include "net/address.h"
#include "net/block.h"
#include "net/websocket.h"

/* An HTTP/1.1 server on any number of addresses. Loop thread only. Every callback may do anything,
 * also free the server that is calling. After http_server_free() the loop has to run until its
 * handles are closed (uv_run() returns 0) before uv_loop_close(). */
struct http_server;

/* One request and the duty to answer it. It is the application's from on_request until exactly one
 * of: http_request_reply(), http_request_finish(), a successful http_request_upgrade(), its
 * on_close callback, http_server_free(). Answers may come much later; the connection's next request
 * waits. A request whose peer has gone and that has no on_close callback stays valid until it is
 * answered; the answer goes nowhere. */
struct http_request;

/* Zeroes are the defaults; a time of USEC_NEVER is no limit. */
struct http_server_options {
        /* Required. Called when head and body are complete. */
        void (*on_request)(void *data, struct http_request *req);
        void *data;

        size_t max_body;          /* 1 MiB per request, then 413 */
        size_t max_body_total;    /* 256 MiB in all requests together, then 503 */
        size_t max_head;          /* 32 KiB, then 431; 16 KiB of it for the target, then 414 */
        unsigned max_connections; /* 16384; more wait in the kernel */

        usec_t head_timeout;  /* 10 s from the first byte, then 408; and for a TLS handshake */
        usec_t body_timeout;  /* 60 s from the end of the head, then 408 */
        usec_t idle_timeout;  /* 120 s without a request, then closed */
        usec_t stall_timeout; /* 60 s in which a peer takes nothing of what is due, then closed */
};

/* @options are copied. */
struct http_server *http_server_new(uv_loop_t *loop, const struct http_server_options *options);

/* Starts to accept; may be called several times. UNIX: @unix_mode is the socket file's; a file that
 * nobody listens on is replaced in one step, one that somebody does is ERR_CONFLICT, as is any
 * other file. TCP: port 0 lets the kernel choose. https: with the address's context. */
int http_server_listen(
        struct http_server *s, const struct address *address, mode_t unix_mode, struct error *err);

/* The port of the first TCP address; 0 if there is none. */
uint16_t http_server_port(const struct http_server *s);

/* Open connections, for tests and metrics. Those that became WebSockets are not counted. */
unsigned http_server_connections(const struct http_server *s);

/* Closes all connections and listening sockets, removes the socket files, ends the life of all
 * requests. No callback follows. WebSockets made by http_request_upgrade() are their owners' and
 * live on. NULL is ignored. */
void http_server_free(struct http_server *s);

/* Ends the connections of all requests with this label that the application has; their on_close
 * callbacks follow. */
void http_server_drop(struct http_server *s, const char *label);

/* How many requests were answered with this status since the start. */
uint64_t http_server_answers(const struct http_server *s, int status);

/* The question. All strings are borrowed for the life of the request. */

const char *http_request_method(const struct http_request *req); /* "GET" */

/* Percent-decoded, begins with '/', or is "*"; never contains an encoded NUL. */
const char *http_request_path(const struct http_request *req);

/* The decoded value of a query parameter ("" if it has none), or NULL. The first if repeated. */
const char *http_request_query(const struct http_request *req, const char *name);

/* The i-th parameter in order; false behind the last. */
bool http_request_query_at(
        const struct http_request *req, size_t i, const char **ret_name, const char **ret_value);

/* The value of a header by its name in any case, or NULL. The first if repeated. */
const char *http_request_header(const struct http_request *req, const char *name);

/* The body, "" if there is none, followed by a NUL that is not counted. @ret_len may be NULL. */
const char *http_request_body(const struct http_request *req, size_t *ret_len);

bool http_request_is_unix(const struct http_request *req);

/* What the application wants to know the request by. Copied; NULL until it is set. */
void http_request_set_label(struct http_request *req, const char *label);
const char *http_request_label(const struct http_request *req);

/* The user who asks, over a UNIX socket; false if that is not known (any more). */
bool http_request_peer_uid(const struct http_request *req, uid_t *ret);

/* The answer at once. */

/* Adds a header to the answer (before reply, begin or upgrade). Line breaks become spaces. Length,
 * transfer encoding, connection, date and content type are set by the functions below. */
void http_request_set_header(struct http_request *req, const char *name, const char *value);

/* Answers and ends @req. @content_type may be NULL if there is no body. For HEAD the body is left
 * out and its length kept. */
void http_request_reply(struct http_request *req, int status, const char *content_type,
        const void *body, size_t len);

/* The answer in pieces. */

/* Sends the head; the body follows in pieces of any number and time (chunked; ended by the end of
 * the connection for HTTP/1.0). */
void http_request_begin(struct http_request *req, int status, const char *content_type);

/* Queues a piece; it leaves at the end of the loop turn. An empty one is ignored. How much may be
 * queued is for the caller to bound, by http_request_queued() and http_request_on_drain(). */
void http_request_write(struct http_request *req, const void *data, size_t len);

/* The same without a copy: a block that goes to many is stored once. Takes a reference of its own.
 */
void http_request_write_block(struct http_request *req, struct block *block);

/* Ends the answer and @req. */
void http_request_finish(struct http_request *req);

/* Bytes of this connection that the kernel has not taken yet. */
size_t http_request_queued(const struct http_request *req);

/* Called once if the peer goes away before the answer is complete: @req is gone when it is called
 * and must not be used. A peer that has only finished sending still gets a plain answer and is not
 * gone; during an answer in pieces it is. Never called from within this function. */
void http_request_on_close(struct http_request *req, void (*on_close)(void *data), void *data);

/* Called whenever http_request_queued() falls below HTTP_DRAIN_MARK after it was above. */
#define HTTP_DRAIN_MARK ((size_t) 64 * 1024)
void http_request_on_drain(struct http_request *req, void (*on_drain)(void *data), void *data);

/* The answer as a WebSocket. */

/* True if the request asks to become a WebSocket. */
bool http_request_wants_websocket(const struct http_request *req);

/* Answers 101 with the headers set so far; @req is gone and @ret is the caller's. ERR_INVALID if
 * the handshake is not one of RFC 6455 version 13: @req lives on and still has to be answered (400,
 * or 426). If the peer has gone meanwhile, on_close follows as for any WebSocket. */
int http_request_upgrade(struct http_request *req, const struct websocket_handlers *handlers,
        void *data, struct websocket **ret, struct error *err);
