/* SPDX-License-Identifier: BSD-3-Clause */
/* The routes of the server itself: version, schema, nodes, events, why, down, upgrade, link. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "core/explain.h"
#include "server/api.h"
#include "server/feeds.h"
#include "server/links.h"

#define EVENTS_DEFAULT 1000
#define EVENTS_MAX     10000
#define WHY_EVENTS     20
#define SCAN_ROWS      20000 /* looked through for the events of one job or task */

static void put_string_or_null(struct buffer *out, const char *text)
{
        if (text == NULL || *text == '\0')
                buffer_puts(out, "null");
        else
                text_put_json_string(out, text);
}

void api_version(struct server *server, struct http_request *req, const char *name)
{
        struct buffer body = { 0 };

        (void) name;
        buffer_printf(
                &body, "{\"version\":\"" REEVE_VERSION "\",\"pid\":%d,\"data\":", (int) getpid());
        put_string_or_null(&body, server->options.data);
        buffer_puts(&body, ",\"listen\":");
        put_string_or_null(&body, server->listen_text);
        buffer_puts(&body, ",\"node\":");
        put_string_or_null(&body, server->options.node);
        buffer_putc(&body, '}');
        api_reply_json(server, req, &body);
}

void api_schema_job(struct server *server, struct http_request *req, const char *name)
{
        json_t *schema = job_schema();
        char *text = json_dumps(schema, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
        struct buffer body = { 0 };

        (void) name;
        buffer_puts(&body, text);
        free(text);
        json_decref(schema);
        api_reply_done(server, req, &body);
}

/* ---- Nodes */

struct list {
        struct buffer body;
        bool any;
};

static void list_node(void *data, const struct node_status *node)
{
        struct list *l = data;

        buffer_putc(&l->body, l->any ? ',' : '[');
        record_write(&node_table, node, &l->body);
        l->any = true;
}

void api_nodes_list(struct server *server, struct http_request *req, const char *name)
{
        struct list l = { 0 };

        (void) name;
        cluster_each_node(state_cluster(server->state), list_node, &l);
        buffer_puts(&l.body, l.any ? "]" : "[]");
        api_reply_json(server, req, &l.body);
}

/* ---- Events. Those who follow are in feeds.c */

struct page {
        const char *job, *task, *node;
        bool job_too; /* with `task`: also what concerns its whole `job` */
        size_t limit, rows;
        struct event *events;
        size_t len;
};

static void page_done(struct page *p)
{
        for (size_t i = 0; i < p->len; i++)
                record_done(&event_table, &p->events[i]);
        free(p->events);
}

static bool page_wants(const struct page *p, const struct event *e)
{
        bool whole_job = p->job_too && e->task == NULL;

        return feeds_concerns(e, p->job, whole_job ? NULL : p->task) &&
               (p->node == NULL || (e->node != NULL && strcmp(e->node, p->node) == 0));
}

static int page_row(void *data, const char *key, const char *value, size_t len, struct error *err)
{
        struct page *p = data;
        json_t *json = json_loadb(value, len, 0, NULL);
        struct event event = { 0 };
        int rc = record_read(&event_table, json, &event, err);

        json_decref(json);
        if (rc < 0)
                return error_wrap(err, "row %s", key);
        if (page_wants(p, &event)) {
                p->events = mem_resize(p->events, p->len + 1, sizeof *p->events);
                p->events[p->len++] = event;
        } else {
                record_done(&event_table, &event);
        }
        return p->len >= p->limit || ++p->rows >= SCAN_ROWS ? 1 : 0;
}

/* Events after number @after, in order; the first ones, or the newest ones. */
static int page_read(
        struct server *server, struct page *p, uint64_t after, bool newest, struct error *err)
{
        char first[STATE_KEY_MAX], last[STATE_KEY_MAX];

        state_event_key(first, after + 1);
        state_event_key(last, state_durable_event(server->state) + 1);
        if (strcmp(first, last) >= 0)
                return 0;
        if (store_scan_range(server->store, first, last, newest, 0, page_row, p, err) < 0)
                return error_wrap(err, "read events");
        for (size_t i = 0; newest && i < p->len / 2; i++) {
                struct event swap = p->events[i];

                p->events[i] = p->events[p->len - 1 - i];
                p->events[p->len - 1 - i] = swap;
        }
        return 0;
}

static void reply_page(struct server *server, struct http_request *req, const struct page *p)
{
        struct buffer body = { 0 };

        buffer_putc(&body, '[');
        for (size_t i = 0; i < p->len; i++) {
                if (i > 0)
                        buffer_putc(&body, ',');
                record_write(&event_table, &p->events[i], &body);
        }
        buffer_putc(&body, ']');
        api_reply_done(server, req, &body);
}

static int follow_after(struct http_request *req, int64_t *ret, struct error *err)
{
        const char *id = http_request_header(req, "Last-Event-ID");

        if (id != NULL && !text_parse_int(id, 0, INT64_MAX, ret))
                return error_set(
                        err, ERR_INVALID, "Last-Event-ID: expected a number, got \"%s\"", id);
        return id != NULL ? 0 : api_query_int(req, "after", 0, INT64_MAX - 1, ret, err);
}

void api_events(struct server *server, struct http_request *req, const char *name)
{
        const char *accept = http_request_header(req, "Accept");
        bool follow = accept != NULL && strstr(accept, "text/event-stream") != NULL, newest;
        AUTO(page_done)
        struct page p = { .job = http_request_query(req, "job"),
                .task = http_request_query(req, "task") };
        int64_t after = follow ? (int64_t) state_durable_event(server->state) : 0;
        int64_t limit = EVENTS_DEFAULT;
        struct error err;
        int rc;

        (void) name;
        if (follow_after(req, &after, &err) < 0 ||
                api_query_int(req, "limit", 1, EVENTS_MAX, &limit, &err) < 0 ||
                api_query_bool(req, "newest", &newest, &err) < 0) {
                api_reply_error(server, req, &err);
                return;
        }
        if (follow) {
                feeds_follow(server->feeds, req, (uint64_t) after, p.job, p.task);
                return;
        }
        p.limit = (size_t) limit;
        rc = page_read(server, &p, (uint64_t) after, newest, &err);
        if (rc < 0)
                api_reply_error(server, req, &err);
        else
                reply_page(server, req, &p);
}

/* ---- Why */

/* Which events tell about the subject: a task's own and its job's, a job's, or a node's. */
static int why_events(struct server *server, const char *subject, char **ret_job, struct page *p,
        struct error *err)
{
        const struct cluster *c = state_cluster(server->state);
        struct task_status task;
        struct job_status job;

        p->limit = WHY_EVENTS;
        if (cluster_get_task(c, subject, &task)) {
                p->task = subject;
                p->job = *ret_job = mem_strdup(task.job);
                p->job_too = true;
        } else if (cluster_get_job(c, subject, &job)) {
                p->job = *ret_job = mem_strdup(job.name);
        } else {
                p->node = subject;
        }
        return page_read(server, p, 0, true, err);
}

void api_why(struct server *server, struct http_request *req, const char *name)
{
        AUTO(page_done) struct page p = { 0 };
        AUTO(mem_freep) char *job = NULL;
        struct buffer body = { 0 };
        struct error err;

        if (why_events(server, name, &job, &p, &err) < 0 ||
                explain_why(state_cluster(server->state), name, p.events, p.len, time_wall(), &body,
                        &err) < 0) {
                buffer_done(&body);
                api_reply_error(server, req, &err);
                return;
        }
        api_reply_json(server, req, &body);
}

/* ---- Down, upgrade, link */

static void send_to_agents(struct server *server, struct http_request *req, const char *message)
{
        struct buffer body = { 0 };

        if (!links_send(server->links, NULL, message)) {
                api_reply_problem(server, req, 503, error_code_name(ERR_UNAVAILABLE),
                        "no agent is connected; try again in a moment");
                return;
        }
        buffer_puts(&body, "{}");
        api_reply_done(server, req, &body);
}

void api_down(struct server *server, struct http_request *req, const char *name)
{
        (void) name;
        send_to_agents(server, req, "{\"type\":\"down\"}");
}

void api_upgrade(struct server *server, struct http_request *req, const char *name)
{
        size_t len;
        const char *body = http_request_body(req, &len);
        json_t *json =
                len == 0 ? json_object() : json_loadb(body, len, JSON_REJECT_DUPLICATES, NULL);
        const json_t *keeper = json_object_get(json, "keeper");
        AUTO(buffer_done) struct buffer message = { 0 };

        (void) name;
        if (!json_is_object(json) ||
                (keeper != NULL && !json_is_string(keeper) && !json_is_null(keeper)) ||
                (json_is_string(keeper) && json_string_value(keeper)[0] != '/')) {
                api_reply_problem(server, req, 400, error_code_name(ERR_INVALID),
                        "keeper: expected an absolute path or null");
        } else {
                buffer_puts(&message, "{\"type\":\"upgrade\",\"keeper\":");
                put_string_or_null(&message, json_string_value(keeper));
                buffer_putc(&message, '}');
                send_to_agents(server, req, buffer_str(&message));
        }
        json_decref(json);
}

void api_link(struct server *server, struct http_request *req, const char *name)
{
        (void) name;
        if (!http_request_is_unix(req))
                api_reply_problem(server, req, 403, error_code_name(ERR_DENIED),
                        "agents connect over the UNIX socket");
        else
                links_accept(server->links, req);
}
