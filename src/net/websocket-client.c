/* SPDX-License-Identifier: BSD-3-Clause */
/* The client's half of a WebSocket's beginning: connect, ask, check the answer (RFC 6455
 * section 4.1).
 *
 * A handshake belongs to its websocket and is the owner of the connection's events until the answer
 * is complete. It ends by handing the connection to websocket_open() or by websocket_fail() with a
 * sentence that says how far it came; for a refusal with what the server wrote. */
#include <http_parser.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "base/macros.h"
#include "base/mem.h"
#include "net/http-head.h"
#include "net/websocket-internal.h"

#define HEAD_MAX ((size_t) 16 * 1024)
#define BODY_MAX ((size_t) 4096) /* of a refusal */
#define TEXT_MAX ((size_t) 200)  /* of that in the reason */

struct handshake {
        struct buffer request;
        char accept[WEBSOCKET_ACCEPT_MAX];
        http_parser parser;
        struct http_head head;
        struct buffer text;
        bool complete;
        usec_t end_mono; /* for connection and answer together */
};

void handshake_free(struct handshake *h)
{
        if (h == NULL)
                return;
        buffer_done(&h->request);
        http_head_done(&h->head);
        buffer_done(&h->text);
        free(h);
}

/* Parsing the answer */

static int on_name(http_parser *p, const char *at, size_t len)
{
        return http_head_add_name(&((struct handshake *) p->data)->head, at, len) ? 0 : -1;
}

static int on_value(http_parser *p, const char *at, size_t len)
{
        return http_head_add_value(&((struct handshake *) p->data)->head, at, len) ? 0 : -1;
}

static int on_head_complete(http_parser *p)
{
        http_head_end(&((struct handshake *) p->data)->head);
        return 0;
}

static int on_body(http_parser *p, const char *at, size_t len)
{
        struct handshake *h = p->data;

        buffer_put(&h->text, at, MIN(len, BODY_MAX - h->text.len));
        return 0;
}

static int on_complete(http_parser *p)
{
        ((struct handshake *) p->data)->complete = true;
        http_parser_pause(p, 1);
        return 0;
}

static const http_parser_settings parser_settings = {
        .on_header_field = on_name,
        .on_header_value = on_value,
        .on_headers_complete = on_head_complete,
        .on_body = on_body,
        .on_message_complete = on_complete,
};

/* Judging it */

static void handshake_refused(struct websocket *ws)
{
        struct handshake *h = ws->handshake;
        unsigned status = h->parser.status_code;
        char reason[TEXT_MAX + 96];

        if (ws->handlers.on_refused != NULL)
                ws->handlers.on_refused(ws->data, (int) status, buffer_str(&h->text), h->text.len);
        if (ws->ended)
                return;
        for (size_t i = 0; i < h->text.len; i++)
                if ((unsigned char) h->text.data[i] < ' ')
                        h->text.data[i] = ' ';
        snprintf(reason, sizeof reason, "refused with %u %s%s%.*s", status,
                http_status_phrase((int) status), h->text.len > 0 ? ": " : "", (int) TEXT_MAX,
                buffer_str(&h->text));
        ws->close_code = status;
        websocket_fail(ws, reason);
}

static bool handshake_is_agreed(const struct handshake *h)
{
        const char *upgrade = http_head_get(&h->head, "Upgrade");
        const char *accept = http_head_get(&h->head, "Sec-WebSocket-Accept");

        return upgrade != NULL && strcasecmp(upgrade, "websocket") == 0 &&
               http_head_has_word(&h->head, "Connection", "upgrade") && accept != NULL &&
               strcmp(accept, h->accept) == 0;
}

static void handshake_end(struct websocket *ws)
{
        struct handshake *h = ws->handshake;

        if (h->parser.status_code != 101) {
                handshake_refused(ws);
                return;
        }
        if (!handshake_is_agreed(h)) {
                websocket_fail(ws, "the peer's answer is not that of a WebSocket");
                return;
        }
        handshake_free(take_ptr(ws->handshake));
        websocket_open(ws, ws->conn);
        if (ws->handlers.on_open != NULL)
                ws->handlers.on_open(ws->data);
}

/* The connection's callbacks */

static void on_open(void *data)
{
        struct websocket *ws = data;
        struct handshake *h = ws->handshake;

        conn_set_deadline(ws->conn, h->end_mono);
        conn_send(ws->conn, h->request.data, h->request.len);
        buffer_done(&h->request);
}

static size_t on_input(void *data, const char *bytes, size_t len)
{
        struct websocket *ws = data;
        struct handshake *h = ws->handshake;
        size_t taken = http_parser_execute(&h->parser, &parser_settings, bytes, len);

        if (h->complete)
                handshake_end(ws);
        else if (HTTP_PARSER_ERRNO(&h->parser) != HPE_OK)
                websocket_fail(ws, "the peer's answer is not HTTP");
        return taken;
}

static void on_eof(void *data)
{
        struct websocket *ws = data;
        struct handshake *h = ws->handshake;

        http_parser_execute(&h->parser, &parser_settings, NULL, 0);
        if (h->complete)
                handshake_refused(ws);
        else
                websocket_fail(ws, "the peer ended the connection before it answered");
}

static void on_deadline(void *data)
{
        websocket_fail(data, "no answer in time");
}

static void on_broken(void *data, const struct error *err)
{
        struct websocket *ws = data;

        ws->conn = NULL;
        websocket_fail(ws, err->message);
}

static const struct conn_handlers conn_handlers = {
        .on_open = on_open,
        .on_input = on_input,
        .on_eof = on_eof,
        .on_deadline = on_deadline,
        .on_broken = on_broken,
};

/* The question */

static int handshake_put_request(struct handshake *h, const struct address *address,
        const char *path, const char *const headers[], struct error *err)
{
        unsigned char nonce[16];
        char key[32];

        if (getrandom(nonce, sizeof nonce, 0) != (ssize_t) sizeof nonce)
                return error_set(err, ERR_SYSTEM, "no random numbers");
        EVP_EncodeBlock((unsigned char *) key, nonce, sizeof nonce);
        websocket_accept_key(key, h->accept);

        if (http_put_request_line(&h->request, "GET", path, err) < 0)
                return -1;
        http_put_host(&h->request, address);
        buffer_printf(&h->request,
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: %s\r\n",
                key);
        if (http_put_headers(&h->request, headers, err) < 0)
                return -1;
        buffer_puts(&h->request, "\r\n");
        return 0;
}

static void handshake_freep(struct handshake **h)
{
        handshake_free(*h);
}

int websocket_connect(uv_loop_t *loop, const struct address *address, const char *path,
        const char *const headers[], const struct websocket_handlers *handlers, void *data,
        struct websocket **ret, struct error *err)
{
        AUTO(handshake_freep) struct handshake *h = mem_alloc(sizeof *h);
        struct websocket *ws;
        struct hub *hub;

        if (handshake_put_request(h, address, path, headers, err) < 0)
                return -1;
        http_parser_init(&h->parser, HTTP_RESPONSE);
        h->parser.data = h;
        h->head.max_bytes = HEAD_MAX;

        hub = hub_get(loop);
        ws = websocket_new(hub, true, handlers, data);
        ws->handshake = take_ptr(h);
        ws->conn =
                conn_new_connecting(hub, address, ws->handlers.connect_timeout, &conn_handlers, ws);
        ws->handshake->end_mono = hub_deadline_after(ws->handlers.connect_timeout);
        hub_unref(hub);
        *ret = ws;
        return 0;
}
