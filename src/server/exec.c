/* SPDX-License-Identifier: BSD-3-Clause */
/* Exec: programs that people run beside tasks, from a client's WebSocket to the node's link and
 * back. The agent runs them (node/exec.c).
 *
 * A relay stands between two peers and keeps nothing: what comes from one goes to the other in the
 * same turn. What is under way in each direction is bounded by credit that the receiving end gives
 * (docs/link.md, docs/http.md); the relay passes credit on and counts it, so that neither end can
 * make more than a window be queued here, whatever it says.
 *
 * It begins when the client's request was found good; who asked for what becomes an event, but the
 * store is not waited for: a full disk is no reason not to let anybody look. It ends with exec-end
 * of the agent, with the link, or with the client, who goes without a word; then the agent is told,
 * and hangs the program up. There is no way to take up a relay again: who lost it does not know
 * what the program has read.
 *
 * Owned by the server; a relay is there as long as its client's WebSocket. */
#include "server/exec.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "server/api.h"
#include "server/links.h"

#define WINDOW      ((size_t) 256 * 1024) /* docs/link.md */
#define MESSAGE_MAX ((size_t) 512 * 1024) /* of a client: one window and more */
#define RELAYS_MAX  1024
#define ARGS_MAX    1024
#define EXTENT_MAX  10000

#define CLOSE_DONE     1000
#define CLOSE_GOING    1001
#define CLOSE_PROTOCOL 1002

struct relay {
        struct exec_relays *owner;
        struct websocket *ws;
        uint32_t stream; /* at the agent; even */
        char *task, *node;
        char *token; /* id of the token that it was opened with, or what stands for one */
        size_t in_due, out_due; /* passed on, and no credit came back for it yet */
        uint64_t in_byte, out_byte[2];
        bool input_ended;
        UT_hash_handle hh; /* by stream */
};

struct exec_relays {
        struct server *server;
        struct relay *by_stream;
        uint32_t last;
};

/* ---- Life */

static void relay_free(struct relay *r)
{
        HASH_DEL(r->owner->by_stream, r);
        free(r->task);
        free(r->node);
        free(r->token);
        free(r);
}

static void relay_end(struct relay *r, uint16_t code, const char *reason)
{
        websocket_close(r->ws, code, reason);
        relay_free(r);
}

static struct relay *relay_new(struct exec_relays *x, const struct task_status *task)
{
        struct relay *r = mem_alloc(sizeof *r), *other;

        r->owner = x;
        r->task = mem_strdup(task->id);
        r->node = mem_strdup(task->node);
        do {
                x->last += 2;
                r->stream = LINK_EXEC_STREAMS | x->last;
                HASH_FIND(hh, x->by_stream, &r->stream, sizeof r->stream, other);
        } while (other != NULL);
        HASH_ADD(hh, x->by_stream, stream, sizeof r->stream, r);
        return r;
}

static void send_client(struct relay *r, const struct buffer *text)
{
        websocket_send(r->ws, true, text->data, text->len);
}

static bool send_agent(struct relay *r, const char *format, ...) PRINTF_LIKE(2, 3);
static bool send_agent(struct relay *r, const char *format, ...)
{
        AUTO(mem_freep) char *text = NULL;
        va_list ap;

        va_start(ap, format);
        text = mem_vprintf(format, ap);
        va_end(ap);
        return links_send(r->owner->server->links, r->node, text);
}

static void close_at_agent(struct relay *r)
{
        send_agent(r, "{\"type\":\"exec-close\",\"stream\":%" PRIu32 "}", r->stream);
}

/* Tells the client why there is nothing more. */
static void fail(struct relay *r, const struct error *err)
{
        AUTO(buffer_done) struct buffer text = { 0 };

        buffer_printf(&text,
                "{\"type\":\"end\",\"exit_code\":null,\"signal\":null,\"error\":{\"code\":\"%s\","
                "\"message\":",
                error_code_name(err->code));
        text_put_json_string(&text, err->message);
        buffer_puts(&text, "}}");
        send_client(r, &text);
        relay_end(r, CLOSE_DONE, NULL);
}

/* ---- From the client */

/* The client does what it may not. */
static void refuse(struct relay *r, const char *why)
{
        close_at_agent(r);
        relay_end(r, CLOSE_PROTOCOL, why);
}

static void on_client_bytes(struct relay *r, const unsigned char *bytes, size_t len)
{
        if (len == 0 || bytes[0] != EXEC_STDIN) {
                refuse(r, "binary messages begin with a byte 0");
                return;
        }
        if (r->input_ended || r->in_due + len - 1 > WINDOW) {
                refuse(r,
                        r->input_ended ? "input behind its end" : "more than there is credit for");
                return;
        }
        links_send_bytes(
                r->owner->server->links, r->node, r->stream, r->in_byte, bytes + 1, len - 1);
        r->input_ended = len == 1;
        r->in_byte += len - 1;
        r->in_due += len - 1;
}

static bool take_credit(size_t *due, const json_t *message)
{
        json_int_t bytes = json_integer_value(json_object_get(message, "bytes"));

        if (bytes <= 0 || (uint64_t) bytes > *due)
                return false;
        *due -= (size_t) bytes;
        return true;
}

static int read_extent(const json_t *message, const char *key)
{
        json_int_t n = json_integer_value(json_object_get(message, key));

        return n < 0 || n > EXTENT_MAX ? 0 : (int) n;
}

static void on_client_more(struct relay *r, const json_t *message)
{
        if (!take_credit(&r->out_due, message))
                refuse(r, "more: credit for what was not sent");
        else
                send_agent(r,
                        "{\"type\":\"exec-more\",\"stream\":%" PRIu32
                        ",\"bytes\":%" JSON_INTEGER_FORMAT "}",
                        r->stream, json_integer_value(json_object_get(message, "bytes")));
}

static void on_client_resize(struct relay *r, const json_t *message)
{
        send_agent(r, "{\"type\":\"exec-resize\",\"stream\":%" PRIu32 ",\"rows\":%d,\"cols\":%d}",
                r->stream, read_extent(message, "rows"), read_extent(message, "cols"));
}

static void on_client_signal(struct relay *r, const json_t *message)
{
        const char *name = json_string_value(json_object_get(message, "signal"));
        int number = name == NULL ? 0 : text_parse_signal(name);

        if (number == 0)
                refuse(r, "signal: there is no such one");
        else
                send_agent(r, "{\"type\":\"exec-signal\",\"stream\":%" PRIu32 ",\"signal\":\"%s\"}",
                        r->stream, text_signal_name(number));
}

static const struct {
        const char *type;
        void (*handle)(struct relay *r, const json_t *message);
} client_messages[] = {
        { "more", on_client_more },
        { "resize", on_client_resize },
        { "signal", on_client_signal },
};

static void on_client_text(struct relay *r, const char *bytes, size_t len)
{
        json_error_t why;
        json_t *message = json_loadb(bytes, len, JSON_REJECT_DUPLICATES, &why);
        const char *type = json_string_value(json_object_get(message, "type"));
        size_t i = 0;

        while (type != NULL && i < ARRAY_SIZE(client_messages) &&
                strcmp(client_messages[i].type, type) != 0)
                i++;
        if (type == NULL)
                refuse(r, "a text message is an object with a type");
        else if (i < ARRAY_SIZE(client_messages))
                client_messages[i].handle(r, message);
        json_decref(message);
}

static void on_client_message(void *data, bool text, const void *bytes, size_t len)
{
        if (text)
                on_client_text(data, bytes, len);
        else
                on_client_bytes(data, bytes, len);
}

static void on_client_close(void *data, const char *reason)
{
        struct relay *r = data;

        (void) reason;
        close_at_agent(r);
        relay_free(r);
}

/* ---- From the link */

static struct relay *find(struct exec_relays *x, const char *node, uint32_t stream)
{
        struct relay *r;

        HASH_FIND(hh, x->by_stream, &stream, sizeof stream, r);
        return r != NULL && strcmp(r->node, node) == 0 ? r : NULL;
}

/* The agent does what it may not. */
static void break_off(struct relay *r)
{
        struct error err;

        error_set(&err, ERR_SYSTEM, "node %s breaks the protocol of exec", r->node);
        log_warning("%s", err.message);
        close_at_agent(r);
        fail(r, &err);
}

void exec_relays_data(struct exec_relays *x, const char *node, uint32_t stream, uint64_t offset,
        const char *bytes, size_t len)
{
        struct relay *r = find(x, node, stream & ~1u);
        unsigned which = stream & 1u;
        AUTO(buffer_done) struct buffer frame = { 0 };

        if (r == NULL)
                return;
        if (offset != r->out_byte[which] || r->out_due + len > WINDOW) {
                break_off(r);
                return;
        }
        r->out_byte[which] += len;
        r->out_due += len;
        buffer_putc(&frame, which == 0 ? EXEC_STDOUT : EXEC_STDERR);
        buffer_put(&frame, bytes, len);
        websocket_send(r->ws, false, frame.data, frame.len);
}

static void on_agent_more(struct relay *r, const json_t *message)
{
        AUTO(buffer_done) struct buffer text = { 0 };

        if (!take_credit(&r->in_due, message)) {
                break_off(r);
                return;
        }
        buffer_printf(&text, "{\"type\":\"more\",\"bytes\":%" JSON_INTEGER_FORMAT "}",
                json_integer_value(json_object_get(message, "bytes")));
        send_client(r, &text);
}

static void put_member(struct buffer *out, const json_t *message, const char *key)
{
        json_t *value = json_object_get(message, key);
        char *text = value == NULL ? NULL : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);

        buffer_printf(out, ",\"%s\":%s", key, text == NULL ? "null" : text);
        free(text);
}

static void on_agent_end(struct relay *r, const json_t *message)
{
        AUTO(buffer_done) struct buffer text = { 0 };

        buffer_puts(&text, "{\"type\":\"end\"");
        put_member(&text, message, "exit_code");
        put_member(&text, message, "signal");
        put_member(&text, message, "error");
        buffer_putc(&text, '}');
        send_client(r, &text);
        relay_end(r, CLOSE_DONE, NULL);
}

void exec_relays_message(struct exec_relays *x, const char *node, const json_t *message)
{
        json_int_t stream = json_integer_value(json_object_get(message, "stream"));
        const char *type = json_string_value(json_object_get(message, "type"));
        struct relay *r = find(x, node, (uint32_t) stream);

        if (r == NULL)
                return;
        if (strcmp(type, "exec-more") == 0)
                on_agent_more(r, message);
        else
                on_agent_end(r, message);
}

void exec_relays_node_down(struct exec_relays *x, const char *node)
{
        struct relay *r, *next;
        struct error err;

        HASH_ITER (hh, x->by_stream, r, next) {
                if (strcmp(r->node, node) != 0)
                        continue;
                error_set(&err, ERR_UNAVAILABLE,
                        "the connection to node %s broke; what ran there is hung up", node);
                fail(r, &err);
        }
}

void exec_relays_token_ended(struct exec_relays *x, const char *token)
{
        struct relay *r, *next;
        struct error err;

        HASH_ITER (hh, x->by_stream, r, next) {
                if (r->token == NULL || strcmp(r->token, token) != 0)
                        continue;
                error_set(
                        &err, ERR_DENIED, "the token is not good any more; the program is hung up");
                close_at_agent(r);
                fail(r, &err);
        }
}

/* ---- The beginning */

static int read_command(struct http_request *req, struct buffer *out, struct error *err)
{
        const char *name, *value;
        size_t n = 0;

        for (size_t i = 0; http_request_query_at(req, i, &name, &value); i++) {
                if (strcmp(name, "command") != 0)
                        continue;
                if (n == 0 && *value == '\0')
                        return error_set(err, ERR_INVALID, "command: its first word is empty");
                if (n++ == ARGS_MAX)
                        return error_set(
                                err, ERR_TOO_LARGE, "command: more than %d words", ARGS_MAX);
                buffer_puts(out, n == 1 ? ",\"command\":[" : ",");
                text_put_json_string(out, value);
        }
        buffer_putc(out, ']');
        return n > 0 ? 0 : error_set(err, ERR_INVALID, "command: missing");
}

static void put_text(struct buffer *out, struct http_request *req, const char *name)
{
        const char *value = http_request_query(req, name);

        if (value == NULL || *value == '\0')
                return;
        buffer_printf(out, ",\"%s\":", name);
        text_put_json_string(out, value);
}

/* The members of exec-open behind its stream. */
static int read_query(
        struct http_request *req, const char *task, struct buffer *out, struct error *err)
{
        int64_t rows = 0, cols = 0;
        bool tty = false;

        buffer_puts(out, "\"task\":");
        text_put_json_string(out, task);
        if (read_command(req, out, err) < 0 || api_query_bool(req, "tty", &tty, err) < 0 ||
                api_query_int(req, "rows", 0, EXTENT_MAX, &rows, err) < 0 ||
                api_query_int(req, "cols", 0, EXTENT_MAX, &cols, err) < 0)
                return -1;
        put_text(out, req, "user");
        put_text(out, req, "term");
        buffer_printf(out, ",\"tty\":%s,\"rows\":%" PRId64 ",\"cols\":%" PRId64 "}",
                tty ? "true" : "false", rows, cols);
        return 0;
}

static void note(struct server *server, struct http_request *req, const struct task_status *task)
{
        const char *user = http_request_query(req, "user");
        char who[API_WHO_MAX];
        AUTO(mem_freep) char *text = NULL;

        api_who(server, req, who);
        text = mem_printf("%s runs %.100s beside it%s%.32s", who,
                http_request_query(req, "command"),
                user != NULL && *user != '\0' ? " as user " : "", user != NULL ? user : "");
        api_note_task(server, EVENT_TASK_EXEC, task, text);
}

static int check(struct server *server, struct http_request *req, const char *name,
        struct task_status *ret, struct error *err)
{
        if (!http_request_wants_websocket(req))
                return error_set(err, ERR_INVALID, "this is for a WebSocket: Upgrade is missing");
        if (HASH_COUNT(server->exec_relays->by_stream) >= RELAYS_MAX)
                return error_set(
                        err, ERR_TOO_LARGE, "more than %d programs are run by exec", RELAYS_MAX);
        return api_running_task(server, req, name, ret, err);
}

void api_task_exec(struct server *server, struct http_request *req, const char *name)
{
        static const struct websocket_handlers handlers = { .on_message = on_client_message,
                .on_close = on_client_close,
                .max_message = MESSAGE_MAX };
        AUTO(buffer_done) struct buffer open = { 0 };
        struct task_status task;
        struct relay *r;
        struct error err;

        if (check(server, req, name, &task, &err) < 0 || read_query(req, name, &open, &err) < 0) {
                api_reply_error(server, req, &err);
                return;
        }
        r = relay_new(server->exec_relays, &task);
        r->token = mem_strdup(http_request_label(req));
        note(server, req, &task);
        if (http_request_upgrade(req, &handlers, r, &r->ws, &err) < 0) {
                api_reply_error(server, req, &err);
                relay_free(r);
                return;
        }
        send_agent(r, "{\"type\":\"exec-open\",\"stream\":%" PRIu32 ",%s", r->stream,
                buffer_str(&open));
}

/* ---- Life */

struct exec_relays *exec_relays_new(struct server *server)
{
        struct exec_relays *x = mem_alloc(sizeof *x);

        x->server = server;
        return x;
}

void exec_relays_free(struct exec_relays *x)
{
        struct relay *r, *next;

        if (x == NULL)
                return;
        HASH_ITER (hh, x->by_stream, r, next) {
                websocket_close(r->ws, CLOSE_GOING, "the server ends");
                relay_free(r);
        }
        free(x);
}
