/* SPDX-License-Identifier: BSD-3-Clause */
/* Link: the server's end of docs/link.md.
 *
 * A connection lives from the WebSocket's beginning to its end. It is nobody's until its hello,
 * which names the node and tells all its tasks; from then on it is the node's link, and an older
 * connection of that node is closed: an agent that says hello anew has forgotten the old one. When
 * the hello is durable the agent is welcomed in its turn: what the node shall have is asked of the
 * cluster, and when that is durable `welcome`, the specs, and one assign with all of it are sent.
 * Assigns that become durable earlier are contained in it and are dropped. When thousands of agents
 * come at once, as after a restart, only so many are welcomed as take what they are sent: the rest
 * wait, and cost no more than their names.
 *
 * Assigns are gathered per connection while the state publishes and leave in one message
 * (links_flush()), the specs that they name in one before it: each time, since an agent forgets a
 * spec with the last task that uses it.
 *
 * Owned by the server. A connection is counted by its WebSocket and by each commit that will report
 * to it, and freed with the last of them. A peer that breaks the protocol loses its connection,
 * never more. */
#include "server/links.h"

#include <endian.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/scan.h"
#include "server/api.h"
#include "server/dossiers.h"
#include "server/exec.h"
#include "server/gauges.h"
#include "server/link-read.h"
#include "server/logs.h"
#include "server/witness.h"

/* An agent that reads nothing is as good as gone. */
#define QUEUED_MAX       ((size_t) 64 * 1024 * 1024)
#define WELCOMES_AT_ONCE 64
#define WELCOME_QUEUED_MAX                                                                         \
        ((size_t) 16 * 1024 * 1024) /* over all links; beyond it nobody is welcomed */
#define SPEC_TEXTS_MAX  1024
#define HEARTBEAT_MIN   (50 * USEC_MSEC)
#define LEASE_DEFAULT   (10 * USEC_SEC)
#define CLOSE_PROTOCOL  1002
#define CLOSE_GOING     1001
#define CLOSE_RESTARTED 1012
/* Of docs/link.md: trying again at once is of no use. */
#define CLOSE_REVOKED    4401
#define CLOSE_WRONG_NODE 4403
#define CLOSE_TWO_AGENTS 4409
#define CLOSE_VERSION    4426

/* A spec as the agents get it. A thousand tasks of a job go to a thousand agents, each of which
 * needs it: it is written once. */
struct spec_text {
        struct spec_key {
                struct job_spec *spec; /* a reference, so that it stays the one that was written */
                uint64_t version;      /* two versions may share one */
        } key;
        struct buffer text;
        UT_hash_handle hh;
};

struct connection {
        struct links *links;
        struct websocket *ws; /* NULL: closed */
        unsigned refs;
        uint64_t number;                    /* in the order of their beginnings */
        char *node;                         /* NULL: no hello yet */
        char *credential, *credential_node; /* the token's id and node; NULL: UNIX socket */
        uint16_t close_code;                /* for a peer that breaks the protocol */
        int64_t agent_pid;                  /* by its hello */
        bool welcomed;
        unsigned skills;                        /* enum link_skill, by its hello */
        struct cluster_effects all;             /* what the first assign says, until welcomed */
        struct buffer specs_text, assigns_text; /* gathered, until send_gathered() */
        const struct spec_text **specs;         /* what is in specs_text */
        size_t specs_len, specs_allocated;
        bool unknown_type_logged;
        bool gathering; /* in links.gathering: has something to send */
        bool waiting;   /* in links.waiting, with a reference: the hello is durable */
        struct connection *next, *prev;
        struct connection *next_gathering, *prev_gathering;
        struct connection *next_waiting, *prev_waiting;
        UT_hash_handle hh; /* by node, once there was a hello */
};

/* The newest connection over which a node said hello, open or not. */
struct newest {
        char *node;
        uint64_t number;
        UT_hash_handle hh;
};

struct links {
        struct server *server;
        struct newest *newest;
        uint64_t numbers; /* given to connections */
        struct connection *connections;
        struct connection *by_node;
        struct connection *gathering;
        struct connection *waiting; /* to be welcomed, the first to come first */
        unsigned welcoming;         /* of them waits for the store */
        uv_timer_t welcome;
        struct spec_text *spec_texts; /* dropped when nothing is gathered and they are many */
};

/* How often each side says that it lives: often enough that one lost packet does not count. */
static usec_t heartbeat(const struct links *l)
{
        return MAX(l->server->options.lost_after / 4, HEARTBEAT_MIN);
}

/* ---- Connections */

static void forget_gathered(struct connection *c)
{
        free(c->specs);
        c->specs = NULL;
        c->specs_len = c->specs_allocated = 0;
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

        HASH_FIND_STR(l->by_node, node, c);
        return c;
}

/* The WebSocket is gone already. */
static void connection_gone(struct connection *c)
{
        c->ws = NULL;
        DL_DELETE(c->links->connections, c);
        if (c->gathering)
                DL_DELETE2(c->links->gathering, c, prev_gathering, next_gathering);
        c->gathering = false;
        if (c->waiting) {
                DL_DELETE2(c->links->waiting, c, prev_waiting, next_waiting);
                c->waiting = false;
                connection_unref(c);
        }
        if (c->node != NULL)
                HASH_DEL(c->links->by_node, c);
        if (c->welcomed) {
                logs_node_down(c->links->server->logs, c->node);
                dossiers_node_down(c->links->server->dossiers, c->node);
                exec_relays_node_down(c->links->server->exec_relays, c->node);
                gauges_node_down(c->links->server->gauges, c->node);
        }
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

/* Over the UNIX socket the kernel tells when the other side is gone. */
static bool is_remote(const struct connection *c)
{
        return c->credential != NULL;
}

/* When the agent said something last, by the wall clock; 0: just now. */
static usec_t heard_wall(const struct connection *c)
{
        usec_t silence = time_mono() - MIN(websocket_last_heard(c->ws), time_mono());

        return is_remote(c) ? time_wall() - MIN(silence, time_wall() - 1) : 0;
}

static void on_close(void *data, const char *reason)
{
        struct connection *c = data;
        struct links *l = c->links;

        if (c->node != NULL) {
                struct node_status node = { .name = c->node };

                log_info("node %s: link broken: %s", c->node, reason);
                submit(l,
                        &(struct cluster_event){
                                .type = CLUSTER_NODE_DOWN, .node = &node, .heard = heard_wall(c) });
                witness_link_down(l->server->witness, c->node);
        }
        connection_gone(c);
}

/* ---- Sending */

static void send_text(struct connection *c, const struct buffer *text)
{
        websocket_send(c->ws, true, text->data, text->len);
}

static const struct spec_text *get_spec_text(
        struct links *l, const struct job_spec *spec, uint32_t version)
{
        struct spec_key key = { (struct job_spec *) (uintptr_t) spec, version };
        struct spec_text *t;
        json_t *json;
        char *text;

        HASH_FIND(hh, l->spec_texts, &key, sizeof key, t);
        if (t != NULL)
                return t;
        t = mem_alloc(sizeof *t);
        t->key = key;
        job_spec_ref(key.spec);
        HASH_ADD(hh, l->spec_texts, key, sizeof key, t);
        json = job_spec_to_json(spec);
        text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(15));
        buffer_printf(&t->text, "{\"job\":\"%s\",\"version\":%" PRIu32 ",\"spec\":%s}", spec->name,
                version, text);
        free(text);
        json_decref(json);
        return t;
}

static void forget_spec_texts(struct links *l)
{
        struct spec_text *t, *next;

        HASH_ITER (hh, l->spec_texts, t, next) {
                HASH_DEL(l->spec_texts, t);
                job_spec_unref(t->key.spec);
                buffer_done(&t->text);
                free(t);
        }
}

/* Tasks of one job come one after the other: the one that is looked for is mostly the last. */
static bool is_new_spec(struct connection *c, const struct spec_text *t)
{
        for (size_t i = c->specs_len; i-- > 0;)
                if (c->specs[i] == t)
                        return false;
        if (c->specs_len == c->specs_allocated) {
                c->specs_allocated = MAX((size_t) 4, c->specs_allocated * 2);
                c->specs = mem_resize(c->specs, c->specs_allocated, sizeof(void *));
        }
        c->specs[c->specs_len++] = t;
        return true;
}

static void put_spec(struct connection *c, const struct cluster_assign *a)
{
        struct links *l = c->links;
        const struct job_spec *spec =
                cluster_get_spec(state_cluster(l->server->state), a->job, a->desire.version);
        const struct spec_text *t;

        /* Gone again meanwhile: what replaced it is already on its way. */
        if (spec == NULL)
                return;
        t = get_spec_text(l, spec, a->desire.version);
        if (!is_new_spec(c, t))
                return;
        buffer_puts(
                &c->specs_text, c->specs_text.len == 0 ? "{\"type\":\"specs\",\"specs\":[" : ",");
        buffer_put(&c->specs_text, t->text.data, t->text.len);
}

static void put_number(struct buffer *out, const char *before, uint64_t number)
{
        buffer_puts(out, before);
        buffer_put_uint(out, number);
}

static void put_desire(struct buffer *out, const struct cluster_assign *a)
{
        buffer_puts(out, "\",\"job\":\"");
        buffer_puts(out, a->job);
        put_number(out, "\",\"index\":", a->index);
        buffer_puts(
                out, a->desire.run ? ",\"desire\":{\"run\":true" : ",\"desire\":{\"run\":false");
        put_number(out, ",\"version\":", a->desire.version);
        put_number(out, ",\"restart_version\":", a->desire.restart_version);
        put_number(out, ",\"generation\":", a->desire.generation);
        buffer_putc(out, '}');
        for (size_t i = 0; i < a->ports_len; i++)
                put_number(out, i > 0 ? "," : ",\"ports\":[", a->ports[i]);
        if (a->ports_len > 0)
                buffer_putc(out, ']');
        if (a->fence > 0)
                put_number(out, ",\"fence\":", a->fence);
        if (a->retries > 0)
                put_number(out, ",\"retries\":", a->retries);
        buffer_putc(out, '}');
}

static void put_assign(struct connection *c, const struct cluster_assign *a, bool all)
{
        struct buffer *out = &c->assigns_text;

        if (!a->forget)
                put_spec(c, a);
        buffer_puts(out, out->len > 0 ? ","
                         : all        ? "{\"type\":\"assign\",\"all\":true,\"tasks\":["
                                      : "{\"type\":\"assign\",\"tasks\":[");
        buffer_puts(out, "{\"task\":\"");
        buffer_puts(out, a->task);
        if (a->forget)
                buffer_puts(out, a->purge_logs ? "\",\"forget\":true,\"purge_logs\":true}"
                                               : "\",\"forget\":true,\"purge_logs\":false}");
        else
                put_desire(out, a);
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

        if (c == NULL || !c->welcomed)
                return;
        put_assign(c, assign, false);
        if (!c->gathering)
                DL_APPEND2(l->gathering, c, prev_gathering, next_gathering);
        c->gathering = true;
}

void links_flush(struct links *l)
{
        struct connection *c;

        while ((c = l->gathering) != NULL) {
                DL_DELETE2(l->gathering, c, prev_gathering, next_gathering);
                c->gathering = false;
                send_gathered(c);
                if (websocket_queued(c->ws) > QUEUED_MAX) {
                        websocket_close(c->ws, CLOSE_GOING, "nothing is read");
                        on_close(c, "the agent reads nothing");
                }
        }
        if (HASH_COUNT(l->spec_texts) > SPEC_TEXTS_MAX)
                forget_spec_texts(l);
}

static bool send_json(struct connection *c, const char *json)
{
        if (c == NULL || !c->welcomed)
                return false;
        websocket_send(c->ws, true, json, strlen(json));
        return true;
}

bool links_send(struct links *l, const char *node, const char *json)
{
        struct connection *c;
        bool sent = false;

        if (node != NULL)
                return send_json(find(l, node), json);
        DL_FOREACH (l->connections, c)
                sent |= send_json(c, json);
        return sent;
}

void links_send_bytes(struct links *l, const char *node, uint32_t stream, uint64_t offset,
        const void *bytes, size_t len)
{
        struct connection *c = find(l, node);
        AUTO(buffer_done) struct buffer frame = { 0 };
        uint32_t head[3] = { htobe32(stream), htobe32((uint32_t) (offset >> 32)),
                htobe32((uint32_t) offset) };

        if (c == NULL || !c->welcomed)
                return;
        buffer_put(&frame, head, sizeof head);
        buffer_put(&frame, bytes, len);
        websocket_send(c->ws, false, frame.data, frame.len);
}

bool links_is_up(const struct links *l, const char *node)
{
        const struct connection *c = find(l, node);

        return c != NULL && c->welcomed;
}

bool links_knows(const struct links *l, const char *node, enum link_skill skill)
{
        const struct connection *c = find(l, node);

        return c != NULL && c->welcomed && (c->skills & skill) != 0;
}

/* ---- Receiving */

/* The row of the node, or the one of its notes: a number and nothing else. */
static int read_note_seq(
        void *data, const char *key, const char *value, size_t len, struct error *err)
{
        json_t *row = json_loadb(value, len, JSON_DECODE_ANY, NULL);
        const json_t *seq = json_is_object(row) ? json_object_get(row, "note_seq") : row;

        (void) key;
        (void) err;
        *(uint64_t *) data = MAX(*(uint64_t *) data, (uint64_t) json_integer_value(seq));
        json_decref(row);
        return 1;
}

static void scan_note_seq(struct connection *c, const char *rows, uint64_t *seq)
{
        AUTO(mem_freep) char *key = mem_printf("%s/%s", rows, c->node);
        AUTO(mem_freep) char *end = mem_printf("%s\x01", key);
        struct error err;

        if (store_scan_range(
                    c->links->server->store, key, end, false, 1, read_note_seq, seq, &err) < 0)
                log_warning("node %s: number of its newest note: %s", c->node, err.message);
}

/* Number of the newest note of the node that is on disk. Older than the truth is fine: what the
 * agent sends again is ignored. */
static uint64_t durable_note_seq(struct connection *c)
{
        uint64_t seq = 0;

        scan_note_seq(c, "node", &seq);
        scan_note_seq(c, "notes", &seq);
        return seq;
}

/* Says what is wanted of the agent: all that is in @c->all is durable. */
static void welcome(struct connection *c)
{
        AUTO(buffer_done) struct buffer text = { 0 };

        buffer_printf(&text,
                "{\"type\":\"welcome\",\"server\":\"" REEVE_VERSION "\",\"note_seq\":%" PRIu64
                ",\"heartbeat_ms\":%" PRIu64 ",\"lease_ms\":%" PRIu64 ",\"witness\":",
                durable_note_seq(c), is_remote(c) ? heartbeat(c->links) / USEC_MSEC : 0,
                is_remote(c) ? LEASE_DEFAULT / USEC_MSEC : 0);
        witness_tell(c->links->server->witness, c->node, &text);
        buffer_putc(&text, '}');
        send_text(c, &text);
        c->welcomed = true;
        for (size_t i = 0; i < c->all.assigns_len; i++)
                put_assign(c, &c->all.assigns[i], true);
        if (c->assigns_text.len == 0)
                buffer_puts(&c->assigns_text, "{\"type\":\"assign\",\"all\":true,\"tasks\":[");
        send_gathered(c);
        log_info("node %s: connected", c->node);
        logs_node_up(c->links->server->logs, c->node);
}

static void on_all_durable(void *data, const struct error *err)
{
        struct connection *c = data;

        c->links->welcoming--;
        if (c->ws != NULL && err == NULL)
                welcome(c);
        cluster_effects_done(&c->all);
        connection_unref(c);
}

static size_t queued_in_all(const struct links *l)
{
        const struct connection *c;
        size_t queued = 0;

        DL_FOREACH (l->connections, c)
                queued += websocket_queued(c->ws);
        return queued;
}

static void on_welcome_timer(uv_timer_t *timer)
{
        struct links *l = timer->data;
        size_t queued = queued_in_all(l);

        while (l->waiting != NULL && l->welcoming < WELCOMES_AT_ONCE &&
                queued < WELCOME_QUEUED_MAX) {
                struct connection *c = l->waiting;

                DL_DELETE2(l->waiting, c, prev_waiting, next_waiting);
                c->waiting = false;
                c->refs++;
                l->welcoming++;
                cluster_assigns_of(state_cluster(l->server->state), c->node, &c->all);
                state_when_durable(l->server->state, on_all_durable, c);
                queued += c->ws == NULL ? 0 : websocket_queued(c->ws);
                connection_unref(c);
        }
        if (l->waiting != NULL)
                uv_timer_start(&l->welcome, on_welcome_timer, 1, 0);
}

static void on_hello_durable(void *data, const struct error *err)
{
        struct connection *c = data;
        struct links *l = c->links;

        if (c->ws == NULL || err != NULL) {
                connection_unref(c);
                return;
        }
        c->waiting = true;
        DL_APPEND2(l->waiting, c, prev_waiting, next_waiting);
        if (!uv_is_active((uv_handle_t *) &l->welcome))
                uv_timer_start(&l->welcome, on_welcome_timer, 0, 0);
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

/* An agent has one connection at a time. A hello that a later connection's has overtaken is from
 * the past: believed, it would bring back what was so then. */
static int check_order(struct connection *c, const char *node, struct error *err)
{
        struct links *l = c->links;
        struct newest *newest;

        HASH_FIND_STR(l->newest, node, newest);
        if (newest == NULL) {
                newest = mem_alloc(sizeof *newest);
                newest->node = mem_strdup(node);
                HASH_ADD_KEYPTR(hh, l->newest, newest->node, strlen(newest->node), newest);
        }
        if (c->number < newest->number) {
                c->close_code = CLOSE_GOING;
                return error_set(
                        err, ERR_CONFLICT, "node %s has a newer connection than this one", node);
        }
        newest->number = c->number;
        return 0;
}

/* Two machines with one credential would push each other out for ever. An agent that was started
 * again is told from another machine's by the end of its predecessor's connection, which the kernel
 * sends at once; one that lost its connection, by its pid. */
static int check_only_one(struct connection *c, const struct node_status *node, struct error *err)
{
        const struct connection *old = find(c->links, node->name);

        if (!is_remote(c) || old == NULL || old->agent_pid == node->agent_pid ||
                time_mono() - websocket_last_heard(old->ws) > 2 * heartbeat(c->links))
                return 0;
        c->close_code = CLOSE_TWO_AGENTS;
        return error_set(err, ERR_CONFLICT,
                "another agent (process %" PRId64 " on its machine) is connected as node %s: two "
                "machines have one credential; have one of them join under another name",
                old->agent_pid, node->name);
}

static int hello(struct connection *c, struct link_hello *h, struct error *err)
{
        struct node_status *node = &h->node;
        struct link_reports *reports = &h->reports;
        struct cluster_event event = { .type = CLUSTER_NODE_UP,
                .node = node,
                .tells_ends = h->protocol >= 2,
                .knows_notes = h->note_seq >= 0,
                .note_seq = (uint64_t) MAX(h->note_seq, 0),
                .reports = reports->reports,
                .reports_len = reports->len };

        if (node->name == NULL || !text_is_name(node->name))
                return error_set(err, ERR_INVALID, "node.name: expected a name");
        if (check_credential(c, node->name, err) < 0 || check_only_one(c, node, err) < 0 ||
                check_order(c, node->name, err) < 0)
                return -1;
        if (state_submit(c->links->server->state, &event, on_hello_durable, c, NULL, err) < 0)
                return -1;
        c->refs++;
        replace_older(c, node->name);
        c->node = mem_strdup(node->name);
        HASH_ADD_KEYPTR(hh, c->links->by_node, c->node, strlen(c->node), c);
        c->agent_pid = node->agent_pid;
        c->skills = (h->log_query ? LINK_LOG_QUERY : 0u) | (h->vitals ? LINK_VITALS : 0u) |
                    (h->dossiers ? LINK_DOSSIERS : 0u);
        witness_reports(c->links->server->witness, c->node, reports->reports, reports->len, true);
        return 0;
}

/* One of another protocol may be unreadable just for that. */
static int check_hello(struct connection *c, const struct link_hello *h, struct error *err)
{
        const char *reason;

        c->close_code = CLOSE_VERSION;
        if (link_check_protocol(h->protocol_min, h->protocol, NULL, &reason, err) < 0)
                return -1;
        c->close_code = CLOSE_PROTOCOL;
        return 0;
}

static int on_hello(struct connection *c, struct scan *s, struct error *err)
{
        AUTO(link_hello_done) struct link_hello h = { 0 };
        int rc;

        if (c->node != NULL)
                return error_set(err, ERR_INVALID, "a second hello");
        rc = link_read_hello(s, &h, err);
        if (rc < 0 && h.protocol == 0)
                return -1;
        if (check_hello(c, &h, err) < 0 || rc < 0)
                return -1;
        return hello(c, &h, err);
}

static int on_report(struct connection *c, struct scan *s, struct error *err)
{
        AUTO(link_reports_done) struct link_reports reports = { 0 };
        struct node_status node = { .name = c->node };
        struct cluster_event event = { .type = CLUSTER_REPORT, .node = &node };

        if (link_read_report(s, &reports, err) < 0)
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

static int take_note(
        struct connection *c, struct link_note *note, struct note_ack *ack, struct error *err)
{
        struct node_status node = { .name = c->node };
        struct cluster_event event = { .type = CLUSTER_NOTE,
                .node = &node,
                .note = &note->event,
                .note_seq = (uint64_t) note->seq };

        if (note->event.kind < 0) /* what has no kind could not be read, and would come for ever */
                log_warning("node %s: note %" PRId64 " cannot be read", c->node, note->seq);
        if (note->event.kind < 0)
                note->event = (struct event){ .time = time_wall(),
                        .kind = EVENT_TASK_LOGS,
                        .version = RECORD_NULL,
                        .run = RECORD_NULL,
                        .message = mem_strdup("a note of the agent could not be read") };
        return state_submit(c->links->server->state, &event, ack == NULL ? NULL : on_notes_durable,
                ack, NULL, err);
}

static int take_notes(struct connection *c, const struct link_notes *notes, struct error *err)
{
        for (size_t i = 0; i < notes->len; i++) {
                struct note_ack *ack = NULL;

                if (i + 1 == notes->len) { /* one acknowledgement for all */
                        ack = mem_alloc(sizeof *ack);
                        ack->connection = c;
                        ack->seq = (uint64_t) notes->notes[i].seq;
                        c->refs++;
                }
                if (take_note(c, &notes->notes[i], ack, err) < 0) {
                        if (ack != NULL)
                                connection_unref(c);
                        free(ack);
                        return -1;
                }
        }
        return 0;
}

static int on_notes(struct connection *c, struct scan *s, struct error *err)
{
        AUTO(link_notes_done) struct link_notes notes = { 0 };

        if (link_read_notes(s, &notes, err) < 0)
                return -1;
        return take_notes(c, &notes, err);
}

static int on_vitals(struct connection *c, struct scan *s, struct error *err)
{
        return gauges_hear(c->links->server->gauges, c->node, s, err);
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

static int on_exec_message(struct connection *c, const json_t *message, struct error *err)
{
        (void) err;
        exec_relays_message(c->links->server->exec_relays, c->node, message);
        return 0;
}

static int on_dossiers(struct connection *c, const json_t *message, struct error *err)
{
        (void) err;
        dossiers_message(c->links->server->dossiers, c->node, message);
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

/* What comes for every run of every task is read straight from the text, the rest as a tree. */
static const struct {
        const char *type;
        int (*scan)(struct connection *c, struct scan *s, struct error *err);
        int (*handle)(struct connection *c, const json_t *message, struct error *err);
        bool before_hello;
} messages[] = {
        { "hello", on_hello, NULL, true },
        { "report", on_report, NULL, false },
        { "notes", on_notes, NULL, false },
        { "vitals", on_vitals, NULL, false },
        { "log-end", NULL, on_log_end, false },
        { "dossiers", NULL, on_dossiers, false },
        { "exec-more", NULL, on_exec_message, false },
        { "exec-end", NULL, on_exec_message, false },
        { "bye", NULL, on_bye, false },
};

static int handle_tree(
        struct connection *c, size_t which, const char *bytes, size_t len, struct error *err)
{
        json_error_t why;
        json_t *message = json_loadb(bytes, len, JSON_REJECT_DUPLICATES, &why);
        int rc = message != NULL ? messages[which].handle(c, message, err)
                                 : error_set(err, ERR_INVALID, "not a JSON object: %s", why.text);

        json_decref(message);
        return rc;
}

static int dispatch(struct connection *c, const struct scan_text *type, const char *bytes,
        size_t len, struct error *err)
{
        struct scan s;

        for (size_t i = 0; i < ARRAY_SIZE(messages); i++) {
                if (!scan_text_is(type, messages[i].type))
                        continue;
                if (c->node == NULL && !messages[i].before_hello)
                        return error_set(err, ERR_INVALID, "%s before hello", messages[i].type);
                if (messages[i].scan == NULL)
                        return handle_tree(c, i, bytes, len, err);
                scan_init(&s, bytes, len);
                return messages[i].scan(c, &s, err);
        }
        if (!c->unknown_type_logged)
                log_info("node %s: messages of type %.*s are not known here and are ignored",
                        c->node == NULL ? "?" : c->node, (int) MIN(type->len, 40), type->at);
        c->unknown_type_logged = true;
        return 0;
}

static int on_text(struct connection *c, const char *bytes, size_t len, struct error *err)
{
        struct scan_text type;

        if (link_read_type(bytes, len, &type, err) < 0)
                return -1;
        return dispatch(c, &type, bytes, len, err);
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
        struct server *server = c->links->server;
        const char *bytes = (const char *) p + 12;
        uint32_t stream;

        if (c->node == NULL || len < 12)
                return error_set(err, ERR_INVALID, "bytes without a head or before hello");
        stream = (uint32_t) big_endian(p, 4);
        if ((stream & LINK_EXEC_STREAMS) != 0)
                exec_relays_data(server->exec_relays, c->node, stream, big_endian(p + 4, 8), bytes,
                        len - 12);
        else
                logs_data(server->logs, c->node, stream, big_endian(p + 4, 8), bytes, len - 12);
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

void links_accept(struct links *l, struct http_request *req, const struct token_status *credential)
{
        const struct websocket_handlers handlers = { .on_message = on_message,
                .on_close = on_close,
                .max_message = 64 * 1024 * 1024,
                .ping_every = heartbeat(l),
                .dead_after = l->server->options.lost_after };
        struct connection *c = mem_alloc(sizeof *c);
        struct error err;

        c->links = l;
        c->refs = 1;
        c->number = ++l->numbers;
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
        l->welcome.data = l;
        uv_timer_init(server->loop, &l->welcome);
        return l;
}

static void on_timer_closed(uv_handle_t *handle)
{
        free(handle->data);
}

void links_free(struct links *l)
{
        struct connection *c, *next;
        struct newest *newest, *next_newest;

        if (l == NULL)
                return;
        DL_FOREACH_SAFE (l->connections, c, next)
                connection_close(c, CLOSE_GOING, "the server ends");
        HASH_ITER (hh, l->newest, newest, next_newest) {
                HASH_DEL(l->newest, newest);
                free(newest->node);
                free(newest);
        }
        forget_spec_texts(l);
        uv_close((uv_handle_t *) &l->welcome, on_timer_closed);
}
