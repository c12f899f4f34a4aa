/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests: what was asked, and the ways to answer it.
 *
 * A request is made with its first byte by http-server.c and belongs to its connection until it is
 * complete; then it is the application's until answered. The two may part before that: when the
 * peer goes, `hc` is NULL, and either on_close tells the application (and the request is freed
 * before that), or it stays for an answer that goes nowhere. Every function below accepts such a
 * request.
 *
 * Freed at once when answered: no frame of this module is below the application's call with a
 * pointer to it, because the parser has returned before on_request is called. */
#include "net/http-request.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <utlist.h>

#include "base/macros.h"
#include "base/mem.h"
#include "base/text.h"
#include "net/websocket-internal.h"

#define TARGET_MAX_PARAMETERS 64

struct http_request *http_request_new(struct http_conn *hc)
{
        struct http_request *req = mem_alloc(sizeof *req);

        req->server = hc->server;
        req->hc = hc;
        req->head.max_bytes = hc->server->options.max_head;
        req->is_unix = conn_is_unix(hc->conn);
        return req;
}

void http_request_free(struct http_request *req)
{
        if (req == NULL)
                return;
        if (req->dispatched)
                DL_DELETE(req->server->requests, req);
        hub_job_cancel(req->server->hub, &req->job);
        req->server->body_total -= req->body.len;
        http_head_done(&req->head);
        buffer_done(&req->body);
        buffer_done(&req->decoded);
        buffer_done(&req->headers);
        free(req->parameters);
        free(req->label);
        free(req);
}

/* The target */

static bool request_add_parameter(struct http_request *req, const char *text, size_t len)
{
        const char *equals = memchr(text, '=', len);
        size_t name_len = equals == NULL ? len : (size_t) (equals - text);
        struct http_parameter *p;

        if (req->parameter_count == TARGET_MAX_PARAMETERS)
                return false;
        req->parameters =
                mem_resize(req->parameters, req->parameter_count + 1, sizeof *req->parameters);
        p = &req->parameters[req->parameter_count++];

        p->name = req->decoded.len;
        if (!http_decode(&req->decoded, text, name_len, true))
                return false;
        buffer_putc(&req->decoded, '\0');
        p->value = req->decoded.len;
        if (equals != NULL && !http_decode(&req->decoded, equals + 1, len - name_len - 1, true))
                return false;
        buffer_putc(&req->decoded, '\0');
        return true;
}

static bool request_parse_query(struct http_request *req, const char *query, size_t len)
{
        const char *end = query + len;

        for (const char *p = query; p < end; p++) {
                const char *and = memchr(p, '&', (size_t) (end - p));
                size_t n = (size_t) ((and == NULL ? end : and) - p);

                if (n > 0 && !request_add_parameter(req, p, n))
                        return false;
                p += n;
        }
        return true;
}

bool http_request_parse_target(struct http_request *req)
{
        const char *target = http_head_target(&req->head);
        struct http_parser_url url;
        bool has_path, has_query;

        http_parser_url_init(&url);
        if (strcmp(target, "*") == 0) {
                buffer_put(&req->decoded, "*", 2);
                return req->method == HTTP_OPTIONS;
        }
        if (http_parser_parse_url(target, strlen(target), 0, &url) != 0)
                return false;

        has_path = (url.field_set & BIT(UF_PATH)) != 0;
        has_query = (url.field_set & BIT(UF_QUERY)) != 0;
        if (!has_path)
                buffer_putc(&req->decoded, '/'); /* "GET http://host HTTP/1.1" */
        else if (!http_decode(&req->decoded, target + url.field_data[UF_PATH].off,
                         url.field_data[UF_PATH].len, false))
                return false;
        buffer_putc(&req->decoded, '\0');
        return !has_query || request_parse_query(req, target + url.field_data[UF_QUERY].off,
                                     url.field_data[UF_QUERY].len);
}

/* The question */

const char *http_request_method(const struct http_request *req)
{
        return http_method_str(req->method);
}

const char *http_request_path(const struct http_request *req)
{
        return req->decoded.data;
}

bool http_request_query_at(
        const struct http_request *req, size_t i, const char **ret_name, const char **ret_value)
{
        if (i >= req->parameter_count)
                return false;
        *ret_name = req->decoded.data + req->parameters[i].name;
        *ret_value = req->decoded.data + req->parameters[i].value;
        return true;
}

const char *http_request_query(const struct http_request *req, const char *name)
{
        const char *found, *value;

        for (size_t i = 0; http_request_query_at(req, i, &found, &value); i++)
                if (strcmp(found, name) == 0)
                        return value;
        return NULL;
}

const char *http_request_header(const struct http_request *req, const char *name)
{
        return http_head_get(&req->head, name);
}

const char *http_request_body(const struct http_request *req, size_t *ret_len)
{
        if (ret_len != NULL)
                *ret_len = req->body.len;
        return buffer_str(&req->body);
}

bool http_request_is_unix(const struct http_request *req)
{
        return req->is_unix;
}

void http_request_set_label(struct http_request *req, const char *label)
{
        free(req->label);
        req->label = mem_strdup(label);
}

const char *http_request_label(const struct http_request *req)
{
        return req->label;
}

bool http_request_peer_uid(const struct http_request *req, uid_t *ret)
{
        return req->hc != NULL && conn_peer_uid(req->hc->conn, ret);
}

/* Writing an answer */

static void put_date(struct buffer *b)
{
        static _Thread_local char text[64];
        static _Thread_local time_t made;
        time_t now = time(NULL);
        struct tm tm;

        if (now != made && gmtime_r(&now, &tm) != NULL) {
                strftime(text, sizeof text, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
                made = now;
        }
        buffer_puts(b, text);
}

void http_put_status(struct buffer *b, int status)
{
        buffer_printf(b, "HTTP/1.1 %d %s\r\n", status, http_status_phrase(status));
        put_date(b);
}

void http_put_problem(struct buffer *b, int status, const char *detail)
{
        buffer_puts(b, "{\"type\":\"about:blank\",\"title\":");
        text_put_json_string(b, http_status_phrase(status));
        buffer_printf(b, ",\"status\":%d,\"detail\":", status);
        text_put_json_string(b, detail);
        buffer_puts(b, "}\n");
}

void http_request_set_header(struct http_request *req, const char *name, const char *value)
{
        http_put_header(&req->headers, name, value);
}

static bool status_has_no_body(int status)
{
        return status < 200 || status == 204 || status == 304;
}

static void count_answer(struct http_request *req, int status)
{
        if (req->server != NULL && status >= HTTP_STATUS_MIN && status < HTTP_STATUS_MAX)
                req->server->answers[status - HTTP_STATUS_MIN]++;
}

/* All up to the line that tells where the body ends. */
static void request_put_head(
        struct http_request *req, struct buffer *b, int status, const char *content_type)
{
        count_answer(req, status);
        http_put_status(b, status);
        if (content_type != NULL)
                http_put_header(b, "Content-Type", content_type);
        buffer_put(b, buffer_str(&req->headers), req->headers.len);
        if (!req->keep_alive)
                buffer_puts(b, "Connection: close\r\n");
        else if (req->is_http_1_0)
                buffer_puts(b, "Connection: keep-alive\r\n");
        req->bodyless = req->method == HTTP_HEAD || status_has_no_body(status);
}

/* Ends the duty; the request is gone. */
static void request_answered(struct http_request *req)
{
        struct http_conn *hc = req->hc;
        bool keep_alive = req->keep_alive;

        if (hc != NULL)
                hc->req = NULL;
        http_request_free(req);
        if (hc != NULL)
                http_conn_answered(hc, keep_alive);
}

void http_request_reply(struct http_request *req, int status, const char *content_type,
        const void *body, size_t len)
{
        AUTO(buffer_done) struct buffer b = { 0 };

        assert(!req->begun);
        if (req->hc != NULL) {
                request_put_head(req, &b, status, content_type);
                if (!status_has_no_body(status))
                        buffer_printf(&b, "Content-Length: %zu\r\n", len);
                buffer_puts(&b, "\r\n");
                conn_send(req->hc->conn, b.data, b.len);
                if (!req->bodyless)
                        conn_send(req->hc->conn, body, len);
        }
        request_answered(req);
}

/* The peer had finished sending before the answer in pieces began, and nothing would tell when it
 * is gone altogether. What is not complete at the end of the turn is treated as if the peer
 * finished now. */
static void on_unwatched_job(struct hub_job *job)
{
        struct http_request *req = container_of(job, struct http_request, job);

        http_conn_drop(req->hc);
}

void http_request_begin(struct http_request *req, int status, const char *content_type)
{
        AUTO(buffer_done) struct buffer b = { 0 };

        assert(!req->begun);
        req->begun = true;
        if (req->hc == NULL)
                return;
        req->chunked = !req->is_http_1_0 && !status_has_no_body(status);
        if (req->is_http_1_0)
                req->keep_alive = false;
        request_put_head(req, &b, status, content_type);
        if (req->chunked)
                buffer_puts(&b, "Transfer-Encoding: chunked\r\n");
        buffer_puts(&b, "\r\n");
        conn_send(req->hc->conn, b.data, b.len);
        if (req->hc->peer_finished)
                hub_defer(req->server->hub, &req->job, on_unwatched_job);
}

static void request_begin_piece(struct http_request *req, size_t len)
{
        char line[24];

        if (req->chunked)
                conn_send(
                        req->hc->conn, line, (size_t) snprintf(line, sizeof line, "%zx\r\n", len));
}

static void request_end_piece(struct http_request *req)
{
        if (req->chunked)
                conn_send(req->hc->conn, "\r\n", 2);
}

void http_request_write(struct http_request *req, const void *data, size_t len)
{
        assert(req->begun);
        if (req->hc == NULL || req->bodyless || len == 0)
                return;
        request_begin_piece(req, len);
        conn_send(req->hc->conn, data, len);
        request_end_piece(req);
}

void http_request_write_block(struct http_request *req, struct block *block)
{
        assert(req->begun);
        if (req->hc == NULL || req->bodyless || block->len == 0)
                return;
        request_begin_piece(req, block->len);
        conn_send_block(req->hc->conn, block);
        request_end_piece(req);
}

void http_request_finish(struct http_request *req)
{
        assert(req->begun);
        if (req->hc != NULL && req->chunked && !req->bodyless)
                conn_send(req->hc->conn, "0\r\n\r\n", 5);
        request_answered(req);
}

size_t http_request_queued(const struct http_request *req)
{
        return req->hc == NULL ? 0 : conn_queued(req->hc->conn);
}

void http_request_on_drain(struct http_request *req, void (*on_drain)(void *data), void *data)
{
        req->on_drain = on_drain;
        req->on_drain_data = data;
}

/* A peer that has gone */

static void request_tell_lost(struct http_request *req)
{
        void (*on_close)(void *) = req->on_close;
        void *data = req->on_close_data;

        http_request_free(req);
        on_close(data);
}

static void on_lost_job(struct hub_job *job)
{
        request_tell_lost(container_of(job, struct http_request, job));
}

void http_request_on_close(struct http_request *req, void (*on_close)(void *data), void *data)
{
        req->on_close = on_close;
        req->on_close_data = data;
        if (req->hc != NULL)
                return;
        if (on_close == NULL)
                hub_job_cancel(req->server->hub, &req->job);
        else
                hub_defer(req->server->hub, &req->job, on_lost_job);
}

void http_request_lost(struct http_request *req)
{
        req->hc = NULL;
        hub_job_cancel(req->server->hub, &req->job);
        if (!req->dispatched)
                http_request_free(req);
        else if (req->on_close != NULL)
                request_tell_lost(req);
}

/* WebSockets */

bool http_request_wants_websocket(const struct http_request *req)
{
        return http_head_has_word(&req->head, "Upgrade", "websocket") &&
               http_head_has_word(&req->head, "Connection", "upgrade");
}

/* 16 bytes in base64. */
static bool is_websocket_key(const char *key)
{
        return key != NULL && strlen(key) == 24 && strcmp(key + 22, "==") == 0 &&
               strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") ==
                       22;
}

static int request_check_handshake(const struct http_request *req, struct error *err)
{
        const char *version = http_request_header(req, "Sec-WebSocket-Version");

        if (req->method != HTTP_GET || req->is_http_1_0 || req->body.len > 0 ||
                !http_request_wants_websocket(req))
                return error_set(err, ERR_INVALID, "expected the handshake of a WebSocket");
        if (version == NULL || strcmp(version, "13") != 0)
                return error_set(err, ERR_INVALID, "expected Sec-WebSocket-Version: 13");
        if (!is_websocket_key(http_request_header(req, "Sec-WebSocket-Key")))
                return error_set(
                        err, ERR_INVALID, "expected a Sec-WebSocket-Key of 16 bytes in base64");
        return 0;
}

static void request_send_switch(struct http_request *req)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        char accept[WEBSOCKET_ACCEPT_MAX];

        websocket_accept_key(http_request_header(req, "Sec-WebSocket-Key"), accept);
        count_answer(req, 101);
        http_put_status(&b, 101);
        buffer_put(&b, buffer_str(&req->headers), req->headers.len);
        buffer_printf(&b,
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                accept);
        conn_send(req->hc->conn, b.data, b.len);
}

int http_request_upgrade(struct http_request *req, const struct websocket_handlers *handlers,
        void *data, struct websocket **ret, struct error *err)
{
        struct websocket *ws;
        struct http_conn *hc = req->hc;
        struct conn *conn = NULL;

        assert(!req->begun);
        if (request_check_handshake(req, err) < 0)
                return -1;

        ws = websocket_new(req->server->hub, false, handlers, data);
        if (hc != NULL) {
                request_send_switch(req);
                hc->req = NULL;
                conn = http_conn_take(hc);
        }
        http_request_free(req);
        *ret = ws;
        websocket_open(ws, conn);
        return 0;
}
