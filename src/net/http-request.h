/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <http_parser.h>

#include "base/buffer.h"
#include "net/conn.h"
#include "net/http-head.h"
#include "net/http-server.h"

/* Between http-server.c (sockets, parsing, limits) and http-request.c (questions and answers). */

struct http_listener;

#define HTTP_STATUS_MIN 100
#define HTTP_STATUS_MAX 600

struct http_server {
        struct hub *hub;
        struct http_server_options options;
        struct http_listener *listeners;
        struct http_conn *conns;
        struct http_request *requests; /* with the application, their peers there or not */
        unsigned conn_count;
        size_t body_total;
        uint64_t answers[HTTP_STATUS_MAX - HTTP_STATUS_MIN]; /* by status */
        bool accepting;
        bool accept_failed;        /* and that was logged; until one succeeds */
        struct hub_deadline retry; /* of accepting, after the kernel refused */
};

enum http_conn_state {
        HTTP_CONN_IDLE, /* nothing of the next request has come */
        HTTP_CONN_HEAD,
        HTTP_CONN_BODY,
        HTTP_CONN_ANSWERING, /* the request is with the application; no input is looked at */
};

struct http_conn {
        struct http_conn *prev, *next; /* in server->conns */
        struct http_server *server;    /* NULL: ended, freed at the end of the turn */
        struct hub *hub;
        struct conn *conn; /* NULL: ended or upgraded */
        enum http_conn_state state;
        http_parser parser;
        struct http_request *req; /* except in IDLE */
        struct hub_job job;
        bool peer_finished; /* nothing more comes; it may still read one whole answer */

        int refusal; /* status that the parser's callbacks decided on; 0: none */
        const char *refusal_detail;
};

struct http_request {
        struct http_request *prev, *next; /* in server->requests, once with the application */
        struct http_server *server;
        struct http_conn *hc; /* NULL: the peer has gone */
        struct hub_job job;   /* to tell on_close of that; or, with a peer, to drop it */

        struct http_head head;
        struct buffer body;
        struct buffer decoded; /* path and query parameters, each with a NUL */
        struct http_parameter {
                size_t name, value; /* offsets in decoded */
        } * parameters;
        size_t parameter_count;
        enum http_method method;
        bool is_http_1_0, keep_alive, is_unix;
        char *label;

        bool dispatched; /* the application has it */
        bool begun;      /* the head of an answer in pieces is queued */
        bool chunked, bodyless;
        struct buffer headers; /* of the answer, as lines */
        void (*on_close)(void *data);
        void *on_close_data;
        void (*on_drain)(void *data);
        void *on_drain_data;
};

struct http_request *http_request_new(struct http_conn *hc);
void http_request_free(struct http_request *req); /* NULL is ignored */

/* Splits and decodes the target. False: it cannot be meant. */
bool http_request_parse_target(struct http_request *req);

/* The peer has gone: tells the application if it wants to know, or lets it answer into the void. */
void http_request_lost(struct http_request *req);

/* The answer to hc->req is queued: on to the next request, or to the end. */
void http_conn_answered(struct http_conn *hc, bool keep_alive);

/* Serves a connection that was accepted, or made by a socketpair; takes @fd, which is non-blocking.
 * @tls: NULL for a plain one. */
void http_server_add_conn(struct http_server *s, int fd, bool is_unix, struct tls_context *tls);

/* Closes the connection of a peer that has gone; its request hears of it. */
void http_conn_drop(struct http_conn *hc);

/* Gives the connection away (to a WebSocket) and ends @hc. */
struct conn *http_conn_take(struct http_conn *hc);

/* One RFC 9457 document about a refusal. */
void http_put_problem(struct buffer *b, int status, const char *detail);

/* Status line and date. */
void http_put_status(struct buffer *b, int status);
