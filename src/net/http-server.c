/* SPDX-License-Identifier: BSD-3-Clause */
/* HTTP server: from bytes to complete requests, one at a time per connection.
 *
 * A connection is in one of four states (http-request.h):
 *
 *   IDLE -> HEAD -> BODY -> ANSWERING -> IDLE ...
 *
 * In ANSWERING the request is with the application, reading is off and the parser is not fed:
 * that is how pipelined requests get their answers in order and how a peer that asks faster than it
 * listens is held. Each state has its time limit, which is the connection's one deadline; a peer
 * that takes nothing is net/conn's to notice. Where TLS is spoken, the agreement on it has the time
 * of a head.
 *
 * Input that is not a request is refused here with a problem document, after which the connection
 * ends. The parser's callbacks only decide (`refusal`), the answer is written when the parser has
 * returned: no code but ours ever runs on its stack.
 *
 * Ends. A connection that ends is unlinked from the server at once and freed at the end of the
 * turn. The server itself has no such frames to fear: what runs after a callback looks at the
 * connection first, and finds no server there. Its listeners are freed by the loop.
 *
 * Descriptors can run out. Then accepting is suspended, not retried in a circle: until a connection
 * ends, or half a second later. */
#include "net/http-server.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#include "base/file.h"
#include "base/log.h"
#include "base/macros.h"
#include "base/mem.h"
#include "net/http-request.h"
#include "net/listen.h"

#define TARGET_MAX   ((size_t) 16 * 1024)
#define ACCEPT_BATCH 64
#define ACCEPT_PAUSE (500 * USEC_MSEC)

struct http_listener {
        struct http_listener *next;
        struct http_server *server;
        struct listen_socket socket;
        uv_poll_t poll;
};

static_assert(HTTP_DRAIN_MARK == CONN_DRAIN_MARK, "what the header promises is what conn does");

static void server_update_accepting(struct http_server *s);
static const struct conn_handlers conn_handlers;

/* A connection's end */

static void on_free_job(struct hub_job *job)
{
        struct http_conn *hc = container_of(job, struct http_conn, job);
        struct hub *hub = hc->hub;

        free(hc);
        hub_unref(hub);
}

/* Unlinks it from the server; the caller has seen to its conn and its request. */
static void http_conn_end(struct http_conn *hc)
{
        struct http_server *s = hc->server;

        hc->conn = NULL;
        hc->req = NULL;
        hc->server = NULL;
        DL_DELETE(s->conns, hc);
        s->conn_count--;
        hub_defer(hc->hub, &hc->job, on_free_job);
        server_update_accepting(s);
}

struct conn *http_conn_take(struct http_conn *hc)
{
        struct conn *conn = hc->conn;

        http_conn_end(hc);
        return conn;
}

/* The peer has gone; conn is closed or about to be. */
static void http_conn_lost(struct http_conn *hc)
{
        struct http_request *req = hc->req;

        http_conn_end(hc);
        if (req != NULL)
                http_request_lost(req);
}

void http_conn_drop(struct http_conn *hc)
{
        conn_close(hc->conn);
        http_conn_lost(hc);
}

/* The next request */

static void http_conn_set_limit(struct http_conn *hc, usec_t limit)
{
        conn_set_deadline(hc->conn, hub_deadline_after(limit));
}

static void http_conn_await(struct http_conn *hc)
{
        hc->state = HTTP_CONN_IDLE;
        http_parser_init(&hc->parser, HTTP_REQUEST);
        hc->parser.data = hc;
        http_conn_set_limit(hc, hc->server->options.idle_timeout);
        conn_set_reading(hc->conn, true);
}

void http_conn_answered(struct http_conn *hc, bool keep_alive)
{
        if (keep_alive)
                http_conn_await(hc);
        else
                conn_finish(http_conn_take(hc));
}

/* Says why and ends the connection. */
static void http_conn_refuse(struct http_conn *hc, int status, const char *detail)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        AUTO(buffer_done) struct buffer problem = { 0 };
        struct http_request *req = hc->req;
        bool is_head = req != NULL && req->method == HTTP_HEAD;

        http_put_problem(&problem, status, detail);
        http_put_status(&b, status);
        buffer_printf(&b,
                "Content-Type: application/problem+json\r\nContent-Length: %zu\r\n"
                "Connection: close\r\n\r\n",
                problem.len);
        if (!is_head)
                buffer_put(&b, problem.data, problem.len);
        conn_send(hc->conn, b.data, b.len);
        http_request_free(req);
        conn_finish(http_conn_take(hc));
}

/* The parser's callbacks */

static int refuse_later(struct http_conn *hc, int status, const char *detail)
{
        hc->refusal = status;
        hc->refusal_detail = detail;
        return -1;
}

static int on_message_begin(http_parser *p)
{
        struct http_conn *hc = p->data;

        if (conn_missed_tls(hc->conn))
                return refuse_later(hc, 400, "this address speaks TLS: ask with https://");
        hc->req = http_request_new(hc);
        hc->state = HTTP_CONN_HEAD;
        http_conn_set_limit(hc, hc->server->options.head_timeout);
        return 0;
}

static int on_url(http_parser *p, const char *at, size_t len)
{
        struct http_conn *hc = p->data;

        if (hc->req->head.target_len + len > TARGET_MAX ||
                !http_head_add_target(&hc->req->head, at, len))
                return refuse_later(hc, 414, "the request's target is too long");
        return 0;
}

static int on_header_field(http_parser *p, const char *at, size_t len)
{
        struct http_conn *hc = p->data;

        if (hc->state == HTTP_CONN_BODY) /* a trailer: nobody asks for them */
                return 0;
        if (!http_name_is_clean(at, len))
                return refuse_later(hc, 400, "not a header's name");
        if (!http_head_add_name(&hc->req->head, at, len))
                return refuse_later(hc, 431, "too many headers");
        return 0;
}

static int on_header_value(http_parser *p, const char *at, size_t len)
{
        struct http_conn *hc = p->data;

        if (hc->state == HTTP_CONN_BODY)
                return 0;
        if (!http_value_is_clean(at, len))
                return refuse_later(hc, 400, "control character in a header");
        if (!http_head_add_value(&hc->req->head, at, len))
                return refuse_later(hc, 431, "too many bytes of headers");
        return 0;
}

/* "Expect: 100-continue": the peer holds the body back until we have looked at the head. */
static int head_check_expect(struct http_conn *hc)
{
        const char *expect = http_head_get(&hc->req->head, "Expect");

        if (expect == NULL || hc->req->is_http_1_0)
                return 0;
        if (strcasecmp(expect, "100-continue") != 0)
                return refuse_later(hc, 417, "only 100-continue can be expected");
        if ((hc->parser.flags & F_CHUNKED) || hc->parser.content_length > 0)
                conn_send(hc->conn, "HTTP/1.1 100 Continue\r\n\r\n", 25);
        return 0;
}

static int head_check(struct http_conn *hc)
{
        const http_parser *p = &hc->parser;
        struct http_request *req = hc->req;

        if (p->http_major != 1)
                return refuse_later(hc, 505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
        if (http_head_count(&req->head, "Host") > 1 ||
                (!req->is_http_1_0 && http_head_get(&req->head, "Host") == NULL))
                return refuse_later(hc, 400, "expected one Host header");
        if (req->method == HTTP_CONNECT)
                return refuse_later(hc, 405, "this is not a proxy");
        if (!http_request_parse_target(req))
                return refuse_later(hc, 400, "the request's target makes no sense");
        if ((p->flags & F_CONTENTLENGTH) && p->content_length > hc->server->options.max_body)
                return refuse_later(hc, 413, "the body is too large");
        return head_check_expect(hc);
}

static int on_headers_complete(http_parser *p)
{
        struct http_conn *hc = p->data;
        struct http_request *req = hc->req;

        http_head_end(&req->head);
        req->method = (enum http_method) p->method;
        req->is_http_1_0 = p->http_major == 1 && p->http_minor == 0;
        req->keep_alive = http_should_keep_alive(p) != 0;
        if (head_check(hc) < 0)
                return -1;
        hc->state = HTTP_CONN_BODY;
        http_conn_set_limit(hc, hc->server->options.body_timeout);
        return 0;
}

static int on_body(http_parser *p, const char *at, size_t len)
{
        struct http_conn *hc = p->data;
        struct http_server *s = hc->server;

        if (hc->req->body.len + len > s->options.max_body)
                return refuse_later(hc, 413, "the body is too large");
        if (s->body_total + len > s->options.max_body_total)
                return refuse_later(hc, 503, "too many large requests at once");
        s->body_total += len;
        buffer_put(&hc->req->body, at, len);
        return 0;
}

/* Pausing makes the parser return, with all of this request taken and nothing of the next. */
static int on_message_complete(http_parser *p)
{
        struct http_conn *hc = p->data;

        hc->state = HTTP_CONN_ANSWERING;
        http_parser_pause(p, 1);
        return 0;
}

static const http_parser_settings parser_settings = {
        .on_message_begin = on_message_begin,
        .on_url = on_url,
        .on_header_field = on_header_field,
        .on_header_value = on_header_value,
        .on_headers_complete = on_headers_complete,
        .on_body = on_body,
        .on_message_complete = on_message_complete,
};

/* The connection's callbacks */

static void http_conn_dispatch(struct http_conn *hc)
{
        struct http_server *s = hc->server;
        struct http_request *req = hc->req;

        conn_set_deadline(hc->conn, USEC_NEVER);
        conn_set_reading(hc->conn, false);
        req->dispatched = true;
        DL_APPEND(s->requests, req);
        s->options.on_request(s->options.data, req);
}

static void http_conn_refuse_parsed(struct http_conn *hc)
{
        enum http_errno error = HTTP_PARSER_ERRNO(&hc->parser);

        if (hc->refusal != 0)
                http_conn_refuse(hc, hc->refusal, hc->refusal_detail);
        else if (error == HPE_HEADER_OVERFLOW)
                http_conn_refuse(hc, 431, "too many bytes of headers");
        else if (error == HPE_INVALID_VERSION)
                http_conn_refuse(hc, 505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
        else
                http_conn_refuse(hc, 400, http_errno_description(error));
}

/* TLS stands; until here it was the head's time that ran. */
static void on_open(void *data)
{
        struct http_conn *hc = data;

        http_conn_set_limit(hc, hc->server->options.idle_timeout);
}

static size_t on_input(void *data, const char *bytes, size_t len)
{
        struct http_conn *hc = data;
        size_t taken = 0;

        while (taken < len && hc->conn != NULL && hc->state != HTTP_CONN_ANSWERING &&
                conn_wants_input(hc->conn)) {
                taken += http_parser_execute(
                        &hc->parser, &parser_settings, bytes + taken, len - taken);
                if (hc->state == HTTP_CONN_ANSWERING)
                        http_conn_dispatch(hc);
                else if (HTTP_PARSER_ERRNO(&hc->parser) != HPE_OK)
                        http_conn_refuse_parsed(hc);
        }
        return taken;
}

/* All before it is answered; what was begun and not completed never will be. */
static void on_eof(void *data)
{
        struct http_conn *hc = data;

        http_request_free(hc->req);
        conn_finish(http_conn_take(hc));
}

static void on_hangup(void *data, bool complete)
{
        struct http_conn *hc = data;

        hc->peer_finished = true;
        if (!complete && (hc->req == NULL || !hc->req->begun))
                return;
        http_conn_drop(hc);
}

static void on_drain(void *data)
{
        struct http_conn *hc = data;

        if (hc->req != NULL && hc->req->on_drain != NULL)
                hc->req->on_drain(hc->req->on_drain_data);
}

static void on_deadline(void *data)
{
        struct http_conn *hc = data;

        switch (hc->state) {
        case HTTP_CONN_IDLE:
                conn_finish(http_conn_take(hc));
                break;
        case HTTP_CONN_HEAD:
                http_conn_refuse(hc, 408, "the head of the request did not come in time");
                break;
        case HTTP_CONN_BODY:
                http_conn_refuse(hc, 408, "the body of the request did not come in time");
                break;
        case HTTP_CONN_ANSWERING:
                break;
        }
}

static void on_broken(void *data, const struct error *err)
{
        struct http_conn *hc = data;

        (void) err; /* peers go as they please */
        http_conn_lost(hc);
}

static const struct conn_handlers conn_handlers = {
        .on_open = on_open,
        .on_input = on_input,
        .on_eof = on_eof,
        .on_hangup = on_hangup,
        .on_drain = on_drain,
        .on_deadline = on_deadline,
        .on_broken = on_broken,
};

/* Accepting */

void http_server_add_conn(struct http_server *s, int fd, bool is_unix, struct tls_context *tls)
{
        struct http_conn *hc = mem_alloc(sizeof *hc);
        struct error err;

        if (conn_new_accepted(s->hub, fd, is_unix, tls, &conn_handlers, hc, &hc->conn, &err) < 0) {
                log_warning("http: drop a connection: %s", err.message);
                free(hc);
                return;
        }
        hc->hub = hub_ref(s->hub);
        hc->server = s;
        DL_APPEND(s->conns, hc);
        s->conn_count++;
        conn_set_stall_timeout(hc->conn, s->options.stall_timeout);
        http_conn_await(hc);
        if (tls != NULL)
                http_conn_set_limit(hc, s->options.head_timeout);
}

static void on_retry(struct hub_deadline *d)
{
        server_update_accepting(container_of(d, struct http_server, retry));
}

static void server_pause_accepting(struct http_server *s)
{
        s->accepting = false;
        for (struct http_listener *l = s->listeners; l != NULL; l = l->next)
                uv_poll_stop(&l->poll);
}

/* The kernel's reasons for refusing that will pass; errors of a connection that died in the queue
 * are no reason at all. */
static void server_accept_failed(struct http_server *s, int sys_errno)
{
        if (sys_errno != EMFILE && sys_errno != ENFILE && sys_errno != ENOBUFS &&
                sys_errno != ENOMEM)
                return;
        if (!s->accept_failed)
                log_warning("http: accept: %s; new connections wait", strerror(sys_errno));
        s->accept_failed = true;
        server_pause_accepting(s);
        hub_set_deadline(s->hub, &s->retry, hub_deadline_after(ACCEPT_PAUSE), on_retry);
}

static void on_listener(uv_poll_t *poll, int status, int events)
{
        struct http_listener *l = container_of(poll, struct http_listener, poll);
        struct http_server *s = l->server;

        (void) status;
        (void) events;
        for (int i = 0; i < ACCEPT_BATCH && s->conn_count < s->options.max_connections; i++) {
                int fd = accept4(l->socket.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

                if (fd < 0 && errno == EAGAIN)
                        return;
                if (fd >= 0) {
                        s->accept_failed = false;
                        http_server_add_conn(s, fd, l->socket.is_unix, l->socket.tls);
                        continue;
                }
                server_accept_failed(s, errno);
                if (!s->accepting)
                        return;
        }
        if (s->conn_count >= s->options.max_connections)
                server_pause_accepting(s);
}

static void server_update_accepting(struct http_server *s)
{
        if (s->accepting || s->conn_count >= s->options.max_connections)
                return;
        s->accepting = true;
        hub_set_deadline(s->hub, &s->retry, USEC_NEVER, on_retry);
        for (struct http_listener *l = s->listeners; l != NULL; l = l->next)
                uv_poll_start(&l->poll, UV_READABLE, on_listener);
}

static void on_listener_closed(uv_handle_t *handle)
{
        free(container_of(handle, struct http_listener, poll));
}

int http_server_listen(
        struct http_server *s, const struct address *address, mode_t unix_mode, struct error *err)
{
        struct http_listener *l = mem_alloc(sizeof *l);
        int r;

        if (listen_socket_open(&l->socket, address, unix_mode, err) < 0) {
                free(l);
                return -1;
        }
        r = uv_poll_init_socket(hub_loop(s->hub), &l->poll, l->socket.fd);
        if (r < 0) {
                listen_socket_close(&l->socket);
                free(l);
                return error_sys(err, -r, "watch a listening socket");
        }
        l->server = s;
        LL_APPEND(s->listeners, l);
        if (s->accepting)
                uv_poll_start(&l->poll, UV_READABLE, on_listener);
        return 0;
}

uint16_t http_server_port(const struct http_server *s)
{
        for (const struct http_listener *l = s->listeners; l != NULL; l = l->next)
                if (!l->socket.is_unix)
                        return l->socket.port;
        return 0;
}

unsigned http_server_connections(const struct http_server *s)
{
        return s->conn_count;
}

/* The server */

static usec_t usec_or(usec_t value, usec_t otherwise)
{
        return value != 0 ? value : otherwise;
}

static size_t size_or(size_t value, size_t otherwise)
{
        return value != 0 ? value : otherwise;
}

struct http_server *http_server_new(uv_loop_t *loop, const struct http_server_options *options)
{
        struct http_server *s = mem_alloc(sizeof *s);
        struct http_server_options *o = &s->options;

        assert(options->on_request != NULL);
        s->hub = hub_get(loop);
        s->accepting = true;
        *o = *options;
        o->max_body = size_or(o->max_body, (size_t) 1024 * 1024);
        o->max_body_total = size_or(o->max_body_total, (size_t) 256 * 1024 * 1024);
        o->max_head = size_or(o->max_head, (size_t) 32 * 1024);
        o->max_connections = o->max_connections != 0 ? o->max_connections : 16384;
        o->head_timeout = usec_or(o->head_timeout, 10 * USEC_SEC);
        o->body_timeout = usec_or(o->body_timeout, 60 * USEC_SEC);
        o->idle_timeout = usec_or(o->idle_timeout, 120 * USEC_SEC);
        o->stall_timeout = usec_or(o->stall_timeout, 60 * USEC_SEC);
        return s;
}

static void server_free_listeners(struct http_server *s)
{
        struct http_listener *l, *next;

        LL_FOREACH_SAFE(s->listeners, l, next)
        {
                uv_close((uv_handle_t *) &l->poll, on_listener_closed);
                listen_socket_close(&l->socket);
        }
        s->listeners = NULL;
}

/* An on_close may answer or drop anything: after each one it begins anew. */
static struct http_request *find_label(struct http_server *s, const char *label)
{
        struct http_request *req;

        DL_FOREACH (s->requests, req)
                if (req->hc != NULL && req->label != NULL && strcmp(req->label, label) == 0)
                        return req;
        return NULL;
}

void http_server_drop(struct http_server *s, const char *label)
{
        struct http_request *req;

        while ((req = find_label(s, label)) != NULL)
                http_conn_drop(req->hc);
}

void http_server_free(struct http_server *s)
{
        if (s == NULL)
                return;
        s->accepting = true; /* ends of connections start nothing */
        server_free_listeners(s);
        hub_set_deadline(s->hub, &s->retry, USEC_NEVER, on_retry);
        while (s->requests != NULL) {
                if (s->requests->hc != NULL)
                        s->requests->hc->req = NULL;
                http_request_free(s->requests);
        }
        while (s->conns != NULL) {
                http_request_free(s->conns->req);
                conn_close(http_conn_take(s->conns));
        }
        hub_unref(s->hub);
        free(s);
}

uint64_t http_server_answers(const struct http_server *s, int status)
{
        return status >= HTTP_STATUS_MIN && status < HTTP_STATUS_MAX
                       ? s->answers[status - HTTP_STATUS_MIN]
                       : 0;
}
