/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "net/http-server.h"
#include "net/test-net.h"

/* A server that does what the path says, and remembers what happened. */
#define KEPT_MAX 4096

struct app {
        uv_loop_t loop;
        struct http_server *server;
        uint16_t port;
        struct http_request *kept[KEPT_MAX]; /* asked for "/late", not answered yet */
        size_t kept_count;
        unsigned requests, closed, drained;
        struct http_request *stream;
        struct buffer seen; /* "METHOD path?..." per request */
};

static void app_on_close(void *data)
{
        ((struct app *) data)->closed++;
}

static void app_on_stream_close(void *data)
{
        struct app *a = data;

        a->closed++;
        a->stream = NULL;
}

static void app_on_drain(void *data)
{
        ((struct app *) data)->drained++;
}

static inline void app_echo(struct http_request *req)
{
        size_t len;
        const char *body = http_request_body(req, &len);

        http_request_set_header(req, "X-Path", http_request_path(req));
        http_request_reply(req, 200, "text/plain", body, len);
}

static inline void app_reply_bytes(struct http_request *req, size_t len)
{
        char *bytes = mem_alloc(len + 1);

        memset(bytes, 'x', len);
        http_request_reply(req, 200, "text/plain", bytes, len);
        free(bytes);
}

static inline void app_on_request(void *data, struct http_request *req)
{
        struct app *a = data;
        const char *path = http_request_path(req), *arg = http_request_query(req, "arg");

        a->requests++;
        buffer_printf(&a->seen, "%s %s;", http_request_method(req), path);
        if (strcmp(path, "/late") == 0) {
                assert_true(a->kept_count < KEPT_MAX);
                a->kept[a->kept_count++] = req;
                if (arg != NULL && strcmp(arg, "watch") == 0)
                        http_request_on_close(req, app_on_close, a);
        } else if (strcmp(path, "/stream") == 0) {
                a->stream = req;
                http_request_on_close(req, app_on_stream_close, a);
                http_request_on_drain(req, app_on_drain, a);
                http_request_begin(req, 200, "text/plain");
        } else if (strcmp(path, "/size") == 0) {
                app_reply_bytes(req, (size_t) strtoul(arg, NULL, 10));
        } else if (strcmp(path, "/free") == 0) {
                http_server_free(take_ptr(a->server));
        } else {
                app_echo(req);
        }
}

static inline void app_start_at(
        struct app *a, struct http_server_options options, struct address address)
{
        struct error err;

        memset(a, 0, sizeof *a);
        uv_loop_init(&a->loop);
        options.on_request = app_on_request;
        options.data = a;
        a->server = http_server_new(&a->loop, &options);
        if (http_server_listen(a->server, &address, 0, &err) < 0)
                fail_msg("%s", err.message);
        a->port = http_server_port(a->server);
        assert_true(a->port > 0);
}

static inline void app_start(struct app *a, struct http_server_options options)
{
        app_start_at(a, options, tcp_address(0));
}

static inline void app_stop(struct app *a)
{
        http_server_free(a->server);
        loop_close(&a->loop);
        buffer_done(&a->seen);
}

/* One whole exchange on a connection of its own: sends, reads to the end. */
static inline void app_ask(struct app *a, const char *text, size_t len, struct buffer *answer)
{
        int fd = raw_connect(a->port);

        raw_send(&a->loop, fd, text, len);
        raw_expect_end(&a->loop, fd, answer);
        close(fd);
}

#define NO_OPTIONS ((struct http_server_options){ 0 })
#define HOST       "Host: x\r\n"
