/* SPDX-License-Identifier: BSD-3-Clause */
/* HTTP client: one call, one connection, one answer.
 *
 * The call owns its connection and is the connection's owner of events. The application is called
 * from the parser's callbacks; it may cancel there, which makes the parser stop, and the call is
 * freed at the end of the turn, when no frame names it any more. Interim answers (1xx) are passed
 * over. An answer without a length ends with the connection.
 *
 * http_fetch() is the same on a loop of its own that ends with the call. */
#include "net/http-client.h"

#include <http_parser.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/mem.h"
#include "net/conn.h"
#include "net/http-head.h"

#define HEAD_MAX        ((size_t) 64 * 1024)
#define CONNECT_DEFAULT (10 * USEC_SEC)

struct http_call {
        struct hub *hub;
        struct conn *conn; /* NULL: ended, freed at the end of the turn */
        struct hub_job job;

        struct buffer request;
        bool is_head; /* the answer has no body, whatever it says */
        http_parser parser;
        struct http_head head;
        int status; /* 0 until the head of the final answer is there */
        bool complete;
        const char *refusal; /* why the parser's callbacks stopped it; NULL: they did not */

        void (*on_head)(void *data, int status);
        void (*on_data)(void *data, const void *bytes, size_t len);
        void (*on_end)(void *data, const struct error *err_or_null);
        void *data;
};

/* The end */

static void http_call_free(struct http_call *call)
{
        buffer_done(&call->request);
        http_head_done(&call->head);
        free(call);
}

static void http_call_freep(struct http_call **call)
{
        if (*call != NULL)
                http_call_free(*call);
}

static void on_free_job(struct hub_job *job)
{
        struct http_call *call = container_of(job, struct http_call, job);
        struct hub *hub = call->hub;

        http_call_free(call);
        hub_unref(hub);
}

void http_call_cancel(struct http_call *call)
{
        if (call == NULL || call->conn == NULL)
                return;
        conn_close(take_ptr(call->conn));
        hub_defer(call->hub, &call->job, on_free_job);
}

/* Status and headers are still there during on_end. */
static void http_call_end(struct http_call *call, const struct error *err)
{
        http_call_cancel(call);
        call->on_end(call->data, err);
}

static void http_call_fail(struct http_call *call, enum error_code code, const char *message)
{
        struct error err;

        error_set(&err, code, "%s", message);
        http_call_end(call, &err);
}

/* The parser's callbacks: -1 makes it stop */

static int on_message_begin(http_parser *p)
{
        http_head_done(&((struct http_call *) p->data)->head); /* of an interim answer */
        return 0;
}

static int refuse(struct http_call *call, const char *why)
{
        call->refusal = why;
        return -1;
}

static int on_header_field(http_parser *p, const char *at, size_t len)
{
        struct http_call *call = p->data;

        if (call->status != 0) /* a trailer: nobody asks for them */
                return 0;
        return http_head_add_name(&call->head, at, len) ? 0 : refuse(call, "too many headers");
}

static int on_header_value(http_parser *p, const char *at, size_t len)
{
        struct http_call *call = p->data;

        if (call->status != 0)
                return 0;
        return http_head_add_value(&call->head, at, len) ? 0 : refuse(call, "too long headers");
}

static int on_headers_complete(http_parser *p)
{
        struct http_call *call = p->data;

        http_head_end(&call->head);
        if (p->status_code == 101)
                return refuse(call, "it changes to a protocol that was not asked for");
        if (p->status_code < 200)
                return 0;
        call->status = p->status_code;
        if (call->on_head != NULL)
                call->on_head(call->data, call->status);
        if (call->conn == NULL)
                return -1;
        return call->is_head ? 1 : 0;
}

static int on_body(http_parser *p, const char *at, size_t len)
{
        struct http_call *call = p->data;

        if (call->on_data != NULL)
                call->on_data(call->data, at, len);
        return call->conn == NULL ? -1 : 0;
}

static int on_message_complete(http_parser *p)
{
        struct http_call *call = p->data;

        if (call->status == 0)
                return 0;
        call->complete = true;
        http_parser_pause(p, 1);
        return 0;
}

static const http_parser_settings parser_settings = {
        .on_message_begin = on_message_begin,
        .on_header_field = on_header_field,
        .on_header_value = on_header_value,
        .on_headers_complete = on_headers_complete,
        .on_body = on_body,
        .on_message_complete = on_message_complete,
};

/* The connection's callbacks */

static void on_open(void *data)
{
        struct http_call *call = data;

        conn_send(call->conn, call->request.data, call->request.len);
        buffer_done(&call->request);
}

static void http_call_fail_parsed(struct http_call *call)
{
        struct error err;

        if (call->refusal != NULL)
                error_set(&err, ERR_INVALID, "the answer is refused: %s", call->refusal);
        else
                error_set(&err, ERR_INVALID, "the answer is not HTTP: %s",
                        http_errno_description(HTTP_PARSER_ERRNO(&call->parser)));
        http_call_end(call, &err);
}

static size_t on_input(void *data, const char *bytes, size_t len)
{
        struct http_call *call = data;

        http_parser_execute(&call->parser, &parser_settings, bytes, len);
        if (call->conn == NULL) /* cancelled meanwhile */
                return len;
        if (call->complete)
                http_call_end(call, NULL);
        else if (HTTP_PARSER_ERRNO(&call->parser) != HPE_OK)
                http_call_fail_parsed(call);
        return len;
}

static void on_eof(void *data)
{
        struct http_call *call = data;

        http_parser_execute(&call->parser, &parser_settings, NULL, 0);
        if (call->conn == NULL)
                return;
        if (call->complete)
                http_call_end(call, NULL);
        else if (call->status == 0)
                http_call_fail(call, ERR_UNAVAILABLE, "the connection ended before an answer");
        else
                http_call_fail(call, ERR_UNAVAILABLE, "the connection ended within the answer");
}

static void on_deadline(void *data)
{
        http_call_fail(data, ERR_TIMEOUT, "no complete answer in time");
}

static void on_broken(void *data, const struct error *err)
{
        http_call_end(data, err);
}

static const struct conn_handlers conn_handlers = {
        .on_open = on_open,
        .on_input = on_input,
        .on_eof = on_eof,
        .on_deadline = on_deadline,
        .on_broken = on_broken,
};

/* The question */

static int put_request(struct buffer *b, const struct address *address,
        const struct http_call_options *o, const char *method, struct error *err)
{
        bool bodyless = o->len == 0 && (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0);

        if (http_put_request_line(b, method, o->path, err) < 0)
                return -1;
        http_put_host(b, address);
        if (http_put_headers(b, o->headers, err) < 0)
                return -1;
        if (!bodyless)
                buffer_printf(b, "Content-Length: %zu\r\n", o->len);
        buffer_puts(b, "Connection: close\r\n\r\n");
        buffer_put(b, o->body, o->len);
        return 0;
}

int http_call_start(uv_loop_t *loop, const struct address *address,
        const struct http_call_options *options, struct http_call **ret, struct error *err)
{
        AUTO(http_call_freep) struct http_call *call = mem_alloc(sizeof *call);
        const char *method = options->method != NULL ? options->method : "GET";
        usec_t limit = options->connect_timeout != 0 ? options->connect_timeout : CONNECT_DEFAULT;

        if (put_request(&call->request, address, options, method, err) < 0)
                return -1;
        call->is_head = strcmp(method, "HEAD") == 0;
        call->head.max_bytes = HEAD_MAX;
        call->on_head = options->on_head;
        call->on_data = options->on_data;
        call->on_end = options->on_end;
        call->data = options->data;
        http_parser_init(&call->parser, HTTP_RESPONSE);
        call->parser.data = call;

        call->hub = hub_get(loop);
        call->conn = conn_new_connecting(call->hub, address, limit, &conn_handlers, call);
        if (options->timeout != 0)
                conn_set_deadline(call->conn, hub_deadline_after(options->timeout));
        *ret = take_ptr(call);
        return 0;
}

const char *http_call_header(const struct http_call *call, const char *name)
{
        return call->status == 0 ? NULL : http_head_get(&call->head, name);
}

/* Waiting for it */

struct fetch {
        struct http_call *call;
        int status;
        struct buffer *body;
        size_t received;
        bool failed;
        struct error err;
};

static void on_fetch_head(void *data, int status)
{
        ((struct fetch *) data)->status = status;
}

static void on_fetch_data(void *data, const void *bytes, size_t len)
{
        struct fetch *f = data;

        f->received += len;
        if (f->received > HTTP_FETCH_MAX) {
                f->failed = true;
                error_set(&f->err, ERR_TOO_LARGE, "the answer is larger than %zu bytes",
                        HTTP_FETCH_MAX);
                http_call_cancel(take_ptr(f->call));
        } else if (f->body != NULL) {
                buffer_put(f->body, bytes, len);
        }
}

static void on_fetch_end(void *data, const struct error *err)
{
        struct fetch *f = data;

        f->call = NULL;
        if (err != NULL) {
                f->failed = true;
                f->err = *err;
        }
}

int http_fetch(const struct address *address, const char *method, const char *path,
        const char *const headers[], const void *body, size_t len, usec_t timeout, int *ret_status,
        struct buffer *ret_body, struct error *err)
{
        struct fetch f = { .body = ret_body };
        struct http_call_options options = { .method = method,
                .path = path,
                .headers = headers,
                .body = body,
                .len = len,
                .on_head = on_fetch_head,
                .on_data = on_fetch_data,
                .on_end = on_fetch_end,
                .data = &f,
                .timeout = timeout };
        uv_loop_t loop;
        int r;

        r = uv_loop_init(&loop);
        if (r < 0)
                return error_sys(err, -r, "make an event loop");
        r = http_call_start(&loop, address, &options, &f.call, err);
        uv_run(&loop, UV_RUN_DEFAULT);
        uv_loop_close(&loop);
        if (r < 0)
                return -1;
        if (f.failed) {
                if (err != NULL)
                        *err = f.err;
                return -1;
        }
        *ret_status = f.status;
        return 0;
}
