/* SPDX-License-Identifier: BSD-3-Clause */
/* Anything at all sent to an HTTP server, in pieces of a size that the first byte says, with an
 * application that answers at once, late, in pieces, as a WebSocket or never. The second byte says
 * how the peer ends. Everything must end with it: no connection, no request and no byte stays. */
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/macros.h"
#include "net/http-request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define KEPT 4

struct app {
        uv_loop_t loop;
        struct http_server *server;
        struct http_request *kept[KEPT];
        struct websocket *ws;
};

static void on_close(void *data)
{
        *(struct http_request **) data = NULL;
}

static void on_message(void *data, bool text, const void *bytes, size_t len)
{
        struct app *a = data;

        websocket_send(a->ws, text, bytes, len);
}

static void on_ws_close(void *data, const char *reason)
{
        ((struct app *) data)->ws = NULL;
        if (strlen(reason) == 0)
                abort();
}

static const struct websocket_handlers handlers = {
        .on_message = on_message,
        .on_close = on_ws_close,
        .max_message = 4096,
};

static bool keep(struct app *a, struct http_request *req)
{
        for (size_t i = 0; i < KEPT; i++)
                if (a->kept[i] == NULL) {
                        a->kept[i] = req;
                        http_request_on_close(req, on_close, &a->kept[i]);
                        return true;
                }
        return false;
}

static void answer(struct http_request *req)
{
        size_t len;
        const char *body = http_request_body(req, &len);
        const char *header = http_request_header(req, "x-echo");

        http_request_set_header(req, "X-Path", http_request_path(req));
        http_request_set_header(req, "X-Echo", header != NULL ? header : "");
        http_request_reply(req, 200, "text/plain", body, len);
}

static void on_request(void *data, struct http_request *req)
{
        struct app *a = data;
        const char *path = http_request_path(req);

        if (path[0] == '/' && path[1] == 'l' && keep(a, req))
                return;
        if (path[0] == '/' && path[1] == 's' && keep(a, req)) {
                http_request_begin(req, 200, "text/plain");
                http_request_write(req, path, strlen(path));
                return;
        }
        if (a->ws == NULL && http_request_wants_websocket(req) &&
                http_request_upgrade(req, &handlers, a, &a->ws, NULL) == 0)
                return;
        answer(req);
}

static void answer_kept(struct app *a)
{
        for (size_t i = 0; i < KEPT; i++) {
                struct http_request *req = a->kept[i];

                a->kept[i] = NULL;
                if (req == NULL)
                        continue;
                if (req->begun)
                        http_request_finish(req);
                else
                        answer(req);
        }
}

static void turn(struct app *a, int fd)
{
        char dropped[65536];

        uv_run(&a->loop, UV_RUN_NOWAIT);
        while (recv(fd, dropped, sizeof dropped, MSG_DONTWAIT) > 0)
                ;
}

static void feed(struct app *a, int fd, const uint8_t *data, size_t size, size_t step)
{
        for (size_t i = 0, turns = 0; i < size && turns < 4096; turns++) {
                ssize_t n = send(fd, data + i, MIN(step, size - i), MSG_DONTWAIT | MSG_NOSIGNAL);

                if (n > 0)
                        i += (size_t) n;
                turn(a, fd);
                if (turns % 4 == 3)
                        answer_kept(a);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct app a = { 0 };
        const struct http_server_options options = {
                .on_request = on_request, .data = &a, .max_body = 4096, .max_head = 4096
        };
        int fds[2];

        if (size < 2 || size > 65536)
                return 0;
        if (uv_loop_init(&a.loop) != 0 ||
                socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
                abort();
        a.server = http_server_new(&a.loop, &options);
        http_server_add_conn(a.server, fds[0], true, NULL);

        feed(&a, fds[1], data + 2, size - 2, (size_t) data[0] * 16 + 1);
        if (data[1] & 1)
                shutdown(fds[1], SHUT_WR);
        for (int i = 0; i < 4; i++) {
                turn(&a, fds[1]);
                answer_kept(&a);
        }
        if (data[1] & 2)
                websocket_close(take_ptr(a.ws), 1000, NULL);
        if (data[1] & 4)
                http_server_free(take_ptr(a.server));
        close(fds[1]);
        for (int i = 0; i < 8; i++) {
                uv_run(&a.loop, UV_RUN_NOWAIT);
                answer_kept(&a);
        }
        if (a.ws != NULL || (a.server != NULL && http_server_connections(a.server) > 0))
                abort();
        http_server_free(a.server);
        while (uv_run(&a.loop, UV_RUN_NOWAIT) != 0)
                ;
        if (uv_loop_close(&a.loop) != 0)
                abort();
        return 0;
}
