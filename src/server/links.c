/* SPDX-License-Identifier: BSD-3-Clause */
/* Link: the server's end of docs/link.md.
 *
 * A connection lives from the WebSocket's beginning to its end. It is nobody's until its hello,
 * which names the node and tells all its tasks; from then on it is the node's link, and an older
 * connection of that node is closed: an agent that says hello anew has forgotten the old one. What
 * the cluster has to say to the node after the hello is sent when the hello is durable: `welcome`,
 * the specs, and one assign with all that the node shall have, as it was decided when the hello was
 * handled. Assigns that become durable earlier are contained in it and are dropped.
 *
 * Assigns are gathered per connection while the state publishes and leave in one message
 * (links_flush()), the specs that they name in one before it: each time, since an agent forgets a
 * spec with the last task that uses it.
 *
 * Owned by the server. A connection is counted by its WebSocket and by each commit that will report
 * to it, and freed with the last of them. A peer that breaks the protocol loses its connection,
 * never more. */
#include "server/links.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "server/api.h"
#include "server/logs.h"
#include "server/witness.h"

#define PROTOCOL_MIN 1
/* An agent that reads nothing is as good as gone. */
#define QUEUED_MAX      ((size_t) 64 * 1024 * 1024)
#define CLOSE_PROTOCOL  1002
#define CLOSE_GOING     1001
#define CLOSE_RESTARTED 1012
/* Of docs/link.md: trying again at once is of no use. */
#define CLOSE_REVOKED    4401
#define CLOSE_WRONG_NODE 4403
#define CLOSE_TWO_AGENTS 4409
#define CLOSE_VERSION    4426

struct gathered_spec {
        char *key; /* "web 3" */
        UT_hash_handle hh;
};

struct connection {
        struct links *links;
        struct websocket *ws; /* NULL: closed */
        unsigned refs;
        char *node;                         /* NULL: no hello yet */
        char *credential, *credential_node; /* the token's id and node; NULL: UNIX socket */
        uint16_t close_code;                /* for a peer that breaks the protocol */
        bool welcomed;
        struct cluster_effects all;             /* what the first assign says, until welcomed */
        struct buffer specs_text, assigns_text; /* gathered, until send_gathered() */
        struct gathered_spec *specs;            /* what is in specs_text */
        bool unknown_type_logged;
        struct connection *next, *prev;
};

struct links {
        struct server *server;
        struct connection *connections;
};

/* ---- Connections */

static void forget_gathered(struct connection *c)
{
        struct gathered_spec *s, *next;

        HASH_ITER (hh, c->specs, s, next) {
                HASH_DEL(c->specs, s);
                free(s->key);
                free(s);
        }
        buffer_done(&c->specs_text);
        buffer_done(&c->assigns_text);
}

static void connection_unref(struct connection *c)
{
        if (--c->refs > 0)
                return;
        forget_gathered(c);
        cluster_effects_done(&c->all);
        free(c->node);
        free(c->credential);
        free(c->credential_node);
        free(c);
}

static struct connection *find(const struct links *l, const char *node)
{
        struct connection *c;

        DL_FOREACH (l->connections, c)
                if (c->node != NULL && strcmp(c->node, node) == 0)
                        return c;
        return NULL;
}

/* The WebSocket is gone already. */
static void connection_gone(struct connection *c)
{
        c->ws = NULL;
        DL_DELETE(c->links->connections, c);
        if (c->welcomed)
                logs_node_down(c->links->server->logs, c->node);
        connection_unref(c);
}

static void connection_close(struct connection *c, uint16_t code, const char *reason)
{
        websocket_close(c->ws, code, reason);
        connection_gone(c);
}

static void submit(struct links *l, const struct cluster_event *event)
{
        struct error err;

        if (state_submit(l->server->state, event, NULL, NULL, NULL, &err) < 0)
                log_warning("from the link: %s", err.message);
}

static void on_close(void *data, const char *reason)
{
        struct connection *c = data;
        struct links *l = c->links;

        if (c->node != NULL) {
                struct node_status node = { .name = c->node };

                log_info("node %s: link broken: %s", c->node, reason);
                submit(l, &(struct cluster_event){ .type = CLUSTER_NODE_DOWN, .node = &node });
                witness_link_down(l->server->witness, c->node);
        }
        connection_gone(c);
}

/* ---- Sending */

static void send_text(struct connection *c, const struct buffer *text)
{
        websocket_send(c->ws, true, text->data, text->len);
}

static bool is_new_spec(struct connection *c, const char *job, uint32_t version)
{
        AUTO(mem_freep) char *key = mem_printf("%s %" PRIu32, job, version);
        struct gathered_spec *s;

        HASH_FIND_STR(c->specs, key, s);
        if (s != NULL)
                return false;
        s = mem_alloc(sizeof *s);
        s->key = take_ptr(key);
        HASH_ADD_KEYPTR(hh, c->specs, s->key, strlen(s->key), s);
        return true;
}

static void put_spec(struct connection *c, const struct cluster_assign *a)
{
        const struct job_spec *spec =
                cluster_get_spec(state_cluster(c->links->server->state), a->job, a->desire.version);
        json_t *json;
        char *text;

        /* Gone again meanwhile: what replaced it is already on its way. */
        if (spec == NULL || !is_new_spec(c, a->job, a->desire.version))
                return;
        json = job_spec_to_json(spec);
        text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(15));
        buffer_printf(&c->specs_text, "%s{\"job\":\"%s\",\"version\":%" PRIu32 ",\"spec\":%s}",
                c->specs_text.len == 0 ? "{\"type\":\"specs\",\"specs\":[" : ",", a->job,
                a->desire.version, text);
        free(text);
        json_decref(json);
}

static void put_assign(struct connection *c, const struct cluster_assign *a, bool all)
{
        struct buffer *out = &c->assigns_text;

        if (!a->forget)
                put_spec(c, a);
        buffer_puts(out, out->len > 0 ? ","
                         : all        ? "{\"type\":\"assign\",\"all\":true,\"tasks\":["
                                      : "{\"type\":\"assign\",\"tasks\":[");
        if (a->forget)
                buffer_printf(out, "{\"task\":\"%s\",\"forget\":true,\"purge_logs\":%s}", a->task,
                        a->purge_logs ? "true" : "false");
        else
                buffer_printf(out,
                        "{\"task\":\"%s\",\"job\":\"%s\",\"index\":%" PRIu32
                        ",\"desire\":{\"run\":%s,\"version\":%" PRIu32
                        ",\"restart_version\":%" PRIu32 ",\"generation\":%" PRIu64 "}}",
                        a->task, a->job, a->index, a->desire.run ? "true" : "false",
                        a->desire.version, a->desire.restart_version, a->desire.generation);
}

static void send_gathered(struct connection *c)
{
        if (c->specs_text.len > 0) {
                buffer_puts(&c->specs_text, "]}");
                send_text(c, &c->specs_text);
        }
        if (c->assigns_text.len > 0) {
                buffer_puts(&c->assigns_text, "]}");
                send_text(c, &c->assigns_text);
        }
        forget_gathered(c);
}

void links_assign(struct links *l, const struct cluster_assign *assign)
{
        struct connection *c = find(l, assign->node);

        if (c != NULL && c->welcomed)
                put_assign(c, assign, false);
}

void links_flush(struct links *l)
{
        struct connection *c, *next;

        DL_FOREACH_SAFE (l->connections, c, next) {
                if (!c->welcomed)
                        continue;
                send_gathered(c);
                if (websocket_queued(c->ws) > QUEUED_MAX) {
                        websocket_close(c->ws, CLOSE_GOING, "nothing is read");
                        on_close(c, "the agent reads nothing");
                }
        }
}

bool links_send(struct links *l, const char *node, const char *json)
{
        struct connection *c;
        bool sent = false;

        DL_FOREACH (l->connections, c) {
                if (!c->welcomed || (node != NULL && strcmp(c->node, node) != 0))
                        continue;
                websocket_send(c->ws, true, json, strlen(json));
                sent = true;
        }
        return sent;
}

bool links_is_up(const struct links *l, const char *node)
{
        const struct connection *c = find(l, node);

        return c != NULL && c->welcomed;
}

/* ---- Receiving */

struct reports {
        struct cluster_report *reports;
        size_t len;
};

static void reports_done(struct reports *r)
{
        for (size_t i = 0; i < r->len; i++)
                record_done(&task_table, &r->reports[i].status);
        free(r->reports);
}

static void read_desire(const json_t *object, struct task_desire *ret)
{
        const json_t *desire = json_object_get(object, "desire");

        ret->run = json_is_true(json_object_get(desire, "run"));
        ret->version = (uint32_t) json_integer_value(json_object_get(desire, "version"));
        ret->restart_version =
                (uint32_t) json_integer_value(json_object_get(desire, "restart_version"));
        ret->generation = (uint64_t) json_integer_value(json_object_get(desire, "generation"));
}

static int read_reports(const json_t *message, struct reports *ret, struct error *err)
{
        const json_t *tasks = json_object_get(message, "tasks");
        size_t i;
        json_t *task;

        if (!json_is_array(tasks))
                return error_set(err, ERR_INVALID, "tasks: expected an array");
        ret->reports = mem_resize(NULL, json_array_size(tasks) + 1, sizeof *ret->reports);
        json_array_foreach (tasks, i, task) {
                struct cluster_report *r = &ret->reports[i];

                memset(r, 0, sizeof *r);
                if (record_read(&task_table, task, &r->status, err) < 0)
                        return error_wrap(err, "tasks[%zu]", i);
                ret->len++;
                if (r->status.id == NULL)
                        return error_set(err, ERR_INVALID, "tasks[%zu]: id: missing", i);
                read_desire(task, &r->desire);
                r->parked = json_is_true(json_object_get(task, "parked"));
        }
        return 0;
}

static int read_note_seq(
        void *data, const char *key, const char *value, size_t len, struct error *err)
{
        json_t *row = json_loadb(value, len, 0, NULL);

        (void) key;
        (void) err;
        *(uint64_t *) data = (uint64_t) json_integer_value(json_object_get(row, "note_seq"));
        json_decref(row);
        return 1;
}

/* Number of the newest note of the node that is on disk. Older than the truth is fine: what the
 * agent sends again is ignored. */
static uint64_t durable_note_seq(struct connection *c)
{
        AUTO(mem_freep) char *key = mem_printf("node/%s", c->node);
        AUTO(mem_freep) char *end = mem_printf("node/%s\x01", c->node);
        struct error err;
        uint64_t seq = 0;

        if (store_scan_range(
                    c->links->server->store, key, end, false, 1, read_note_seq, &seq, &err) < 0)
                log_warning("node %s: number of its newest note: %s", c->node, err.message);
        return seq;
}

/* The hello is on disk: the agent is told what is wanted of it. */
static void on_hello_durable(void *data, const struct error *err)
{
        struct connection *c = data;
        AUTO(buffer_done) struct buffer welcome = { 0 };

        if (c->ws == NULL || err != NULL) {
                connection_unref(c);
                return;
        }
        buffer_printf(&welcome,
                "{\"type\":\"welcome\",\"server\":\"" REEVE_VERSION "\",\"note_seq\":%" PRIu64
                ",\"witness\":",
                durable_note_seq(c));
        witness_tell(c->links->server->witness, c->node, &welcome);
        buffer_putc(&welcome, '}');
        send_text(c, &welcome);
        c->welcomed = true;
        for (size_t i = 0; i < c->all.assigns_len; i++)
                put_assign(c, &c->all.assigns[i], true);
        if (c->assigns_text.len == 0)
                buffer_puts(&c->assigns_text, "{\"type\":\"assign\",\"all\":true,\"tasks\":[");
        send_gathered(c);
        cluster_effects_done(&c->all);
        log_info("node %s: connected", c->node);
        logs_node_up(c->links->server->logs, c->node);
        connection_unref(c);
}

static void replace_older(struct connection *c, const char *node)
{
        struct connection *old = find(c->links, node);

        if (old != NULL) {
                log_info("node %s: connects anew", node);
                connection_close(old, CLOSE_GOING, "replaced by a newer connection");
        }
}

static int check_credential(struct connection *c, const char *name, struct error *err)
{
        if (c->credential == NULL || strcmp(c->credential_node, name) == 0)
                return 0;
        c->close_code = CLOSE_WRONG_NODE;
        return error_set(err, ERR_DENIED, "the credential is node %s's, and not that of %s",
                c->credential_node, name);
}

static int hello(
        struct connection *c, struct node_status *node, struct reports *reports, struct error *err)
{
        struct cluster_event event = { .type = CLUSTER_NODE_UP,
                .node = node,
                .reports = reports->reports,
                .reports_len = reports->len };

        if (node->name == NULL || !text_is_name(node->name))
                return error_set(err, ERR_INVALID, "node.name: expected a name");
        if (check_credential(c, node->name, err) < 0)
                return -1;
        if (state_submit(c->links->server->state, &event, on_hello_durable, c, NULL, err) < 0)
                return -1;
        c->refs++;
        replace_older(c, node->name);
        c->node = mem_strdup(node->name);
        cluster_assigns_of(state_cluster(c->links->server->state), c->node, &c->all);
        witness_reports(c->links->server->witness, c->node, reports->reports, reports->len, true);
        return 0;
}

static int on_hello(struct connection *c, const json_t *message, struct error *err)
{
        json_int_t protocol = json_integer_value(json_object_get(message, "protocol"));
        const json_t *protocol_min = json_object_get(message, "protocol_min");
        const char *reason;
        AUTO(reports_done) struct reports reports = { 0 };
        struct node_status node = { 0 };
        int rc;

        if (c->node != NULL)
                return error_set(err, ERR_INVALID, "a second hello");
        c->close_code = CLOSE_VERSION;
        if (links_check_protocol(protocol_min == NULL ? protocol : json_integer_value(protocol_min),
                    protocol, NULL, &reason, err) < 0)
                return -1;
        c->close_code = CLOSE_PROTOCOL;
        if (read_reports(message, &reports, err) < 0 ||
                record_read(&node_table, json_object_get(message, "node"), &node, err) < 0)
                return -1;
        rc = hello(c, &node, &reports, err);
        record_done(&node_table, &node);
        return rc;
}

static int on_report(struct connection *c, const json_t *message, struct error *err)
{
        AUTO(reports_done) struct reports reports = { 0 };
        struct node_status node = { .name = c->node };
        struct cluster_event event = { .type = CLUSTER_REPORT, .node = &node };

        if (read_reports(message, &reports, err) < 0)
                return -1;
        event.reports = reports.reports;
        event.reports_len = reports.len;
        witness_reports(c->links->server->witness, c->node, reports.reports, reports.len, false);
        return state_submit(c->links->server->state, &event, NULL, NULL, NULL, err);
}

struct note_ack {
        struct connection *connection;
        uint64_t seq;
};

static void on_notes_durable(void *data, const struct error *err)
{
        struct note_ack *ack = data;
        struct connection *c = ack->connection;
        char text[64];

        if (err == NULL && c->ws != NULL) {
                snprintf(
                        text, sizeof text, "{\"type\":\"note-ack\",\"seq\":%" PRIu64 "}", ack->seq);
                websocket_send(c->ws, true, text, strlen(text));
        }
        connection_unref(c);
        free(ack);
}

/* A note that cannot be read would be sent again forever: it is logged and counts as taken. */
static int take_note(struct connection *c, uint64_t seq, const json_t *object, struct note_ack *ack,
        struct error *err)
{
        struct node_status node = { .name = c->node };
        struct event note = { 0 };
        struct cluster_event event = {
                .type = CLUSTER_NOTE, .node = &node, .note = &note, .note_seq = seq
        };
        int rc;

        if (record_read(&event_table, object, &note, err) < 0 || note.kind < 0) {
                record_done(&event_table, &note);
                log_warning("node %s: note %" PRIu64 " cannot be read", c->node, seq);
                note = (struct event){ .time = time_wall(),
                        .kind = EVENT_TASK_LOGS,
                        .version = RECORD_NULL,
                        .run = RECORD_NULL,
                        .message = mem_strdup("a note of the agent could not be read") };
        }
        rc = state_submit(c->links->server->state, &event, ack == NULL ? NULL : on_notes_durable,
                ack, NULL, err);
        record_done(&event_table, &note);
        return rc;
}

static int on_notes(struct connection *c, const json_t *message, struct error *err)
{
        const json_t *notes = json_object_get(message, "notes");
        size_t i, len = json_array_size(notes);
        json_t *pair;

        json_array_foreach (notes, i, pair) {
                const json_t *number = json_array_get(pair, 0);
                struct note_ack *ack = NULL;

                if (json_integer_value(number) <= 0)
                        return error_set(err, ERR_INVALID, "notes[%zu]: expected [seq, event]", i);
                if (i + 1 == len) { /* one acknowledgement for all */
                        ack = mem_alloc(sizeof *ack);
                        ack->connection = c;
                        ack->seq = (uint64_t) json_integer_value(number);
                        c->refs++;
                }
                if (take_note(c, (uint64_t) json_integer_value(number), json_array_get(pair, 1),
                            ack, err) < 0) {
                        if (ack != NULL)
                                connection_unref(c);
                        free(ack);
                        return -1;
                }
        }
        return 0;
}

static int on_log_end(struct connection *c, const json_t *message, struct error *err)
{
        const json_t *failure = json_object_get(message, "error");
        const char *code = json_string_value(json_object_get(failure, "code"));
        const char *text = json_string_value(json_object_get(failure, "message"));
        struct error why = ERROR_INIT;

        (void) err;
        if (json_is_object(failure))
                error_set(&why, code == NULL ? ERR_SYSTEM : error_code_from_name(code), "%s",
                        text == NULL ? "the agent does not say why" : text);
        logs_end(c->links->server->logs, c->node,
                (uint32_t) json_integer_value(json_object_get(message, "stream")),
                json_is_object(failure) ? &why : NULL);
        return 0;
}

static int on_bye(struct connection *c, const json_t *message, struct error *err)
{
        const char *reason = json_string_value(json_object_get(message, "reason"));

        (void) err;
        log_info("node %s: its agent goes: %s", c->node,
                reason == NULL ? "no reason given" : reason);
        return 0;
}

static const struct {
        const char *type;
        int (*handle)(struct connection *c, const json_t *message, struct error *err);
        bool before_hello;
} messages[] = {
        { "hello", on_hello, true },
        { "report", on_report, false },
        { "notes", on_notes, false },
        { "log-end", on_log_end, false },
        { "bye", on_bye, false },
};

static int dispatch(struct connection *c, const json_t *message, struct error *err)
{
        const char *type = json_string_value(json_object_get(message, "type"));

        if (type == NULL)
                return error_set(err, ERR_INVALID, "a message without type");
        for (size_t i = 0; i < ARRAY_SIZE(messages); i++) {
                if (strcmp(messages[i].type, type) != 0)
                        continue;
                if (c->node == NULL && !messages[i].before_hello)
                        return error_set(err, ERR_INVALID, "%s before hello", type);
                return messages[i].handle(c, message, err);
        }
        if (!c->unknown_type_logged)
                log_info("node %s: messages of type %.40s are not known here and are ignored",
                        c->node == NULL ? "?" : c->node, type);
        c->unknown_type_logged = true;
        return 0;
}

static int on_text(struct connection *c, const char *bytes, size_t len, struct error *err)
{
        json_error_t why;
        json_t *message = json_loadb(bytes, len, JSON_REJECT_DUPLICATES, &why);
        int rc;

        if (!json_is_object(message))
                rc = error_set(err, ERR_INVALID, "not a JSON object: %s", why.text);
        else
                rc = dispatch(c, message, err);
        json_decref(message);
        return rc;
}

static uint64_t big_endian(const unsigned char *p, size_t len)
{
        uint64_t n = 0;

        for (size_t i = 0; i < len; i++)
                n = n << 8 | p[i];
        return n;
}

static int on_binary(struct connection *c, const unsigned char *p, size_t len, struct error *err)
{
        if (c->node == NULL || len < 12)
                return error_set(err, ERR_INVALID, "log bytes without a head or before hello");
        logs_data(c->links->server->logs, c->node, (uint32_t) big_endian(p, 4),
                big_endian(p + 4, 8), (const char *) p + 12, len - 12);
        return 0;
}

static void on_message(void *data, bool text, const void *bytes, size_t len)
{
        struct connection *c = data;
        struct error err;
        int rc;

        c->refs++;
        rc = text ? on_text(c, bytes, len, &err) : on_binary(c, bytes, len, &err);
        if (rc < 0 && c->ws != NULL) {
                log_warning("node %s: breaks the protocol: %s", c->node == NULL ? "?" : c->node,
                        err.message);
                websocket_close(c->ws, c->close_code, err.message);
                on_close(c, "protocol error");
        }
        connection_unref(c);
}

/* ---- Life */

int links_check_protocol(
        int64_t min, int64_t max, const char *version, const char **ret_reason, struct error *err)
{
        if (max < PROTOCOL_MIN) {
                *ret_reason = "too-old";
                return error_set(err, ERR_CONFLICT,
                        "the agent (Reeve %s) speaks protocol %" PRId64 " of the link, this server "
                        "(Reeve " REEVE_VERSION ") %d to %d: upgrade the agent",
                        version == NULL ? "?" : version, max, PROTOCOL_MIN, LINK_PROTOCOL);
        }
        if (min > LINK_PROTOCOL) {
                *ret_reason = "too-new";
                return error_set(err, ERR_CONFLICT,
                        "the agent (Reeve %s) speaks protocol %" PRId64 " of the link, this server "
                        "(Reeve " REEVE_VERSION ") %d to %d: upgrade the server first",
                        version == NULL ? "?" : version, min, PROTOCOL_MIN, LINK_PROTOCOL);
        }
        return 0;
}

void links_accept(struct links *l, struct http_request *req, const struct token_status *credential)
{
        static const struct websocket_handlers handlers = {
                .on_message = on_message, .on_close = on_close, .max_message = 64 * 1024 * 1024
        };
        struct connection *c = mem_alloc(sizeof *c);
        struct error err;

        c->links = l;
        c->refs = 1;
        c->close_code = CLOSE_PROTOCOL;
        if (credential != NULL) {
                c->credential = mem_strdup(credential->id);
                c->credential_node = mem_strdup(credential->node);
        }
        if (http_request_upgrade(req, &handlers, c, &c->ws, &err) < 0) {
                connection_unref(c);
                http_request_set_header(req, "Upgrade", "websocket");
                api_reply_problem(l->server, req, 426, error_code_name(ERR_INVALID), err.message);
                return;
        }
        DL_APPEND(l->connections, c);
}

void links_revoke(struct links *l, const char *id)
{
        struct connection *c, *next;

        DL_FOREACH_SAFE (l->connections, c, next) {
                if (c->credential == NULL || strcmp(c->credential, id) != 0)
                        continue;
                websocket_close(c->ws, CLOSE_REVOKED, "the node's credential is void now");
                on_close(c, "its credential is void");
        }
}

void links_reset(struct links *l)
{
        struct connection *c, *next;

        DL_FOREACH_SAFE (l->connections, c, next) {
                if (c->node != NULL)
                        witness_link_down(l->server->witness, c->node);
                connection_close(c, CLOSE_RESTARTED, "the server goes back to what it has stored");
        }
}

struct links *links_new(struct server *server)
{
        struct links *l = mem_alloc(sizeof *l);

        l->server = server;
        return l;
}

void links_free(struct links *l)
{
        struct connection *c, *next;

        if (l == NULL)
                return;
        DL_FOREACH_SAFE (l->connections, c, next)
                connection_close(c, CLOSE_GOING, "the server ends");
        free(l);
}
