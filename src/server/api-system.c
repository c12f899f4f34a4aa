/* SPDX-License-Identifier: BSD-3-Clause */
/* The routes of the server itself: version, schema, events, why, down, upgrade, link. */
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "core/explain.h"
#include "keeper/launch.h"
#include "server/api.h"
#include "server/auth.h"
#include "server/events.h"
#include "server/feeds.h"
#include "server/links.h"
#include "server/tokens.h"

#define EVENTS_DEFAULT 1000
#define EVENTS_MAX     10000
#define WHY_EVENTS     20

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
        buffer_puts(&body, ",\"url\":");
        put_string_or_null(&body, server->url);
        buffer_puts(&body, ",\"fingerprint\":");
        put_string_or_null(&body, server->fingerprint);
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

/* ---- Events. Those who follow are in feeds.c */

struct page {
        struct event *events;
        size_t len, limit;
};

static void page_done(struct page *p)
{
        for (size_t i = 0; i < p->len; i++)
                record_done(&event_table, &p->events[i]);
        free(p->events);
}

static bool page_add(void *data, struct event *event, const char *json, size_t len)
{
        struct page *p = data;

        (void) json;
        (void) len;
        p->events = mem_resize(p->events, p->len + 1, sizeof *p->events);
        p->events[p->len++] = *event;
        *event = (struct event){ 0 };
        return p->len < p->limit;
}

/* Events after number @after, in order; the first ones, or the newest ones. */
static int page_read(struct server *server, struct page *p, const struct event_filter *filter,
        uint64_t after, bool newest, struct error *err)
{
        struct events_query query = { .filter = *filter,
                .first = after + 1,
                .last = state_durable_event(server->state),
                .newest = newest };

        if (events_read(server->store, &query, page_add, p, err) < 0)
                return -1;
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

static int read_filter(struct server *server, struct http_request *req, struct event_filter *ret,
        struct error *err)
{
        const char *kinds = http_request_query(req, "kind");

        *ret = (struct event_filter){ .job = http_request_query(req, "job"),
                .task = http_request_query(req, "task"),
                .node = http_request_query(req, "node"),
                .jobs = auth_grant(server, req).jobs };
        if (api_query_time(req, "since", &ret->since, err) < 0 ||
                api_query_time(req, "until", &ret->until, err) < 0)
                return -1;
        return kinds == NULL ? 0 : event_kinds_parse(kinds, &ret->kinds, err);
}

/* Followers begin with what is to come, or with what they ask for. */
static int begin_after(struct server *server, struct http_request *req,
        const struct event_filter *filter, bool follow, int64_t *ret, struct error *err)
{
        uint64_t last = state_durable_event(server->state), seek;
        int64_t after = -1;

        if (follow_after(req, &after, err) < 0)
                return -1;
        if (after < 0)
                after = follow && filter->since == 0 ? (int64_t) last : 0;
        if (filter->since != 0 && (uint64_t) after < last) {
                seek = MAX((uint64_t) after + 1,
                        last + 1 - MIN(last, state_events_stored(server->state)));
                after = (int64_t) events_seek(server->store, seek, last, filter->since) - 1;
        }
        *ret = after;
        return 0;
}

static bool wants_feed(struct http_request *req)
{
        const char *accept = http_request_header(req, "Accept");

        return accept != NULL && strstr(accept, "text/event-stream") != NULL;
}

void api_events(struct server *server, struct http_request *req, const char *name)
{
        bool follow, newest;
        struct event_filter filter;
        AUTO(page_done) struct page p = { 0 };
        int64_t after, limit = EVENTS_DEFAULT;
        struct error err;

        (void) name;
        if (api_query_bool(req, "follow", &follow, &err) < 0 ||
                read_filter(server, req, &filter, &err) < 0 ||
                begin_after(server, req, &filter, follow = follow || wants_feed(req), &after,
                        &err) < 0 ||
                api_query_int(req, "limit", 1, EVENTS_MAX, &limit, &err) < 0 ||
                api_query_bool(req, "newest", &newest, &err) < 0) {
                api_reply_error(server, req, &err);
                return;
        }
        if (follow) {
                feeds_follow(server->feeds, req, (uint64_t) after, &filter);
                return;
        }
        p.limit = (size_t) limit;
        if (page_read(server, &p, &filter, (uint64_t) after, newest, &err) < 0)
                api_reply_error(server, req, &err);
        else
                reply_page(server, req, &p);
}

/* ---- Why */

/* Which events tell about @subject: a task's own and its job's, a job's, or a node's. */
static void why_filter(struct server *server, const char *subject, struct event_filter *ret,
        struct task_status *task, struct job_status *job)
{
        const struct cluster *c = state_cluster(server->state);

        if (cluster_get_task(c, subject, task))
                *ret = (struct event_filter){ .job = task->job, .task = subject, .job_too = true };
        else if (cluster_get_job(c, subject, job))
                *ret = (struct event_filter){ .job = subject };
        else
                *ret = (struct event_filter){ .node = subject };
}

void api_why(struct server *server, struct http_request *req, const char *name)
{
        AUTO(page_done) struct page p = { .limit = WHY_EVENTS };
        struct event_filter filter;
        struct task_status task;
        struct job_status job;
        struct buffer body = { 0 };
        struct error err;

        why_filter(server, name, &filter, &task, &job);
        /* What is no job is a node, or nothing; neither is told of to a limited token. */
        if (filter.job != NULL ? !auth_allows_job(server, req, filter.job)
                               : !auth_allows_all(server, req))
                return;
        if (page_read(server, &p, &filter, 0, true, &err) < 0 ||
                explain_why(state_cluster(server->state), name, p.events, p.len, time_wall(), &body,
                        &err) < 0) {
                buffer_done(&body);
                api_reply_error(server, req, &err);
                return;
        }
        api_reply_json(server, req, &body);
}

/* ---- Down, upgrade, link */

static void send_to_agent(struct server *server, struct http_request *req, const char *message)
{
        struct buffer body = { 0 };

        if (!links_send(server->links, server->options.node, message)) {
                api_reply_problem(server, req, 503, error_code_name(ERR_UNAVAILABLE),
                        "the agent is not connected; try again in a moment");
                return;
        }
        buffer_puts(&body, "{}");
        api_reply_done(server, req, &body);
}

/* A server without an agent beside it: what concerns this machine is its keeper's affair. */
static void signal_keeper(struct server *server, struct http_request *req, int number)
{
        int64_t keeper = keeper_lock_owner(server->options.data, "keeper.lock");
        struct buffer body = { 0 };

        if (keeper <= 0 || kill((pid_t) keeper, number) < 0) {
                api_reply_problem(server, req, 409, error_code_name(ERR_CONFLICT),
                        "the server has no keeper");
                return;
        }
        buffer_puts(&body, "{}");
        api_reply_done(server, req, &body);
}

void api_down(struct server *server, struct http_request *req, const char *name)
{
        (void) name;
        if (server->options.node == NULL)
                signal_keeper(server, req, SIGTERM);
        else
                send_to_agent(server, req, "{\"type\":\"down\"}");
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
                        "expected nothing, or a JSON object with keeper: an absolute path or null");
        } else if (server->options.node == NULL && json_is_string(keeper)) {
                api_reply_problem(server, req, 400, error_code_name(ERR_INVALID),
                        "keeper: only where an agent runs beside the server");
        } else if (server->options.node == NULL) {
                signal_keeper(server, req, SIGHUP);
        } else {
                buffer_puts(&message, "{\"type\":\"upgrade\",\"keeper\":");
                put_string_or_null(&message, json_string_value(keeper));
                buffer_putc(&message, '}');
                send_to_agent(server, req, buffer_str(&message));
        }
        json_decref(json);
}

void api_link(struct server *server, struct http_request *req, const char *name)
{
        const char *given = auth_bearer(req), *reason = "wrong-credential";
        const struct token_status *credential = NULL;
        struct error err;

        (void) name;
        if (!http_request_is_unix(req)) {
                error_set(&err, ERR_DENIED,
                        "a node's credential is needed: Authorization: Bearer reeve-node-...");
                if (given != NULL)
                        credential = tokens_find(server->tokens, given, TOKEN_NODE, &reason, &err);
                if (credential == NULL) {
                        api_reply_reason(
                                server, req, 401, error_code_name(err.code), reason, err.message);
                        return;
                }
        }
        links_accept(server->links, req, credential);
}
