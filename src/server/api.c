/* SPDX-License-Identifier: BSD-3-Clause */
/* API: from a request to its handler, and from an outcome to its answer.
 *
 * A request comes in complete (head and body), is let in by auth, finds its route in routes.c and
 * is handed to the route's handler, which answers now or later. Reading handlers render the state
 * at once and answer through api_reply_json(), which holds the answer back until what was read is
 * durable; commands are answered by the report of their commit.
 *
 * `?index=N` makes a reader wait in feeds until the state is another than N: then its handler is
 * simply called again. */
#include "server/api.h"

#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "server/auth.h"
#include "server/feeds.h"
#include "server/links.h"
#include "server/tokens.h"

#define WAIT_DEFAULT (30 * USEC_SEC)
#define WAIT_MAX     (10 * USEC_MINUTE)

/* ---- Answers */

static void set_index(struct server *server, struct http_request *req)
{
        char text[24];

        snprintf(text, sizeof text, "%" PRIu64, state_index(server->state));
        http_request_set_header(req, "Reeve-Index", text);
}

void api_reply_problem(struct server *server, struct http_request *req, int status,
        const char *title, const char *detail)
{
        api_reply_reason(server, req, status, title, NULL, detail);
}

void api_reply_reason(struct server *server, struct http_request *req, int status,
        const char *title, const char *reason, const char *detail)
{
        AUTO(buffer_done) struct buffer body = { 0 };

        buffer_puts(&body, "{\"type\":\"about:blank\",\"title\":");
        text_put_json_string(&body, title);
        buffer_printf(&body, ",\"status\":%d,\"detail\":", status);
        text_put_json_string(&body, detail);
        if (reason != NULL)
                buffer_printf(&body, ",\"reason\":\"%s\"", reason);
        buffer_puts(&body, "}\n");
        set_index(server, req);
        http_request_reply(req, status, "application/problem+json", body.data, body.len);
}

void api_reply_error(struct server *server, struct http_request *req, const struct error *err)
{
        api_reply_problem(
                server, req, error_code_http(err->code), error_code_name(err->code), err->message);
}

void api_reply_done(struct server *server, struct http_request *req, struct buffer *body)
{
        buffer_putc(body, '\n');
        set_index(server, req);
        http_request_reply(req, 200, "application/json", body->data, body->len);
        buffer_done(body);
}

struct held {
        struct server *server;
        struct http_request *req;
        struct buffer body;
};

static void on_held_durable(void *data, const struct error *err)
{
        struct held *h = data;

        if (err == NULL)
                http_request_reply(h->req, 200, "application/json", h->body.data, h->body.len);
        else
                api_reply_error(h->server, h->req, err);
        buffer_done(&h->body);
        free(h);
}

void api_reply_json(struct server *server, struct http_request *req, struct buffer *body)
{
        struct held *h = mem_alloc(sizeof *h);

        h->server = server;
        h->req = req;
        h->body = *body;
        *body = (struct buffer){ 0 };
        buffer_putc(&h->body, '\n');
        set_index(server, req);
        state_barrier(server->state, on_held_durable, h);
}

void api_list_add(struct buffer *body, const struct record_table *table, const void *record)
{
        buffer_putc(body, body->len == 0 ? '[' : ',');
        record_write(table, record, body);
}

void api_reply_list(struct server *server, struct http_request *req, struct buffer *body)
{
        buffer_puts(body, body->len == 0 ? "[]" : "]");
        api_reply_json(server, req, body);
}

struct command {
        struct server *server;
        struct http_request *req;
        uint64_t index;
        uint32_t version; /* told if it is not 0 */
};

static void on_command_durable(void *data, const struct error *err)
{
        struct command *c = data;
        struct buffer body = { 0 };

        if (err != NULL) {
                api_reply_error(c->server, c->req, err);
        } else {
                buffer_printf(&body, "{\"index\":%" PRIu64, c->index);
                if (c->version != 0)
                        buffer_printf(&body, ",\"version\":%" PRIu32, c->version);
                buffer_putc(&body, '}');
                api_reply_done(c->server, c->req, &body);
        }
        free(c);
}

void api_command(struct server *server, struct http_request *req, const struct cluster_event *event)
{
        struct command *c = mem_alloc(sizeof *c);
        struct state_outcome outcome;
        struct error err;

        c->server = server;
        c->req = req;
        if (state_submit(server->state, event, on_command_durable, c, &outcome, &err) < 0) {
                free(c);
                api_reply_error(server, req, &err);
                return;
        }
        c->index = outcome.index;
        c->version = event->type == CLUSTER_REVERT ? outcome.version : 0;
}

/* ---- Names that are not there */

struct names {
        const char **names;
        size_t len;
        const char *jobs; /* only these; NULL: all */
};

static void names_add(struct names *n, const char *name)
{
        n->names = mem_resize(n->names, n->len + 2, sizeof *n->names);
        n->names[n->len++] = name;
        n->names[n->len] = NULL;
}

static void add_job(void *data, const struct job_status *job)
{
        const struct names *n = data;

        if (token_jobs_cover(n->jobs, job->name))
                names_add(data, job->name);
}

static void add_task(void *data, const struct task_status *task)
{
        const struct names *n = data;

        if (token_jobs_cover(n->jobs, task->job))
                names_add(data, task->id);
}

static int not_found(const char *noun, const char *name, struct names *n, struct error *err)
{
        const char *nearest = n->len == 0 ? NULL : text_nearest(name, n->names);

        if (nearest == NULL)
                error_set(err, ERR_NOT_FOUND, "no %s \"%s\"", noun, name);
        else
                error_set(err, ERR_NOT_FOUND, "no %s \"%s\"; did you mean \"%s\"?", noun, name,
                        nearest);
        free(n->names);
        return -1;
}

int api_no_job(
        struct server *server, const struct http_request *req, const char *name, struct error *err)
{
        struct names n = { .jobs = auth_grant(server, req).jobs };

        cluster_each_job(state_cluster(server->state), add_job, &n);
        return not_found("job", name, &n, err);
}

int api_no_task(
        struct server *server, const struct http_request *req, const char *id, struct error *err)
{
        AUTO(mem_freep) char *job = mem_strdup(id);
        char *dot = strrchr(job, '.');
        struct job_status status;
        struct names n = { .jobs = auth_grant(server, req).jobs };

        if (dot != NULL)
                *dot = '\0';
        /* The likeliest slip is in the number, or in the job's name; of all the tasks in the
         * cluster only these are asked. */
        if (cluster_get_job(state_cluster(server->state), job, &status))
                cluster_each_task(state_cluster(server->state), job, add_task, &n);
        else
                cluster_each_job(state_cluster(server->state), add_job, &n);
        return not_found("task", id, &n, err);
}

static void add_node(void *data, const struct node_status *node)
{
        names_add(data, node->name);
}

int api_no_node(struct server *server, const char *name, struct error *err)
{
        struct names n = { 0 };

        cluster_each_node(state_cluster(server->state), add_node, &n);
        return not_found("node", name, &n, err);
}

/* ---- What people do to tasks */

const char *api_who(
        const struct server *server, const struct http_request *req, char text[API_WHO_MAX])
{
        const char *token = http_request_label(req);
        const struct passwd *user;
        uid_t uid;

        if (!http_request_peer_uid(req, &uid)) {
                if (token != NULL && tokens_get(server->tokens, token) != NULL)
                        snprintf(text, API_WHO_MAX, "the owner of token %s", token);
                else
                        snprintf(text, API_WHO_MAX, "the owner of the server's token");
                return text;
        }
        user = getpwuid(uid);
        if (user != NULL)
                snprintf(text, API_WHO_MAX, "user %s", user->pw_name);
        else
                snprintf(text, API_WHO_MAX, "user %u", uid);
        return text;
}

bool api_job_is_there(struct server *server, struct http_request *req, const char *name)
{
        struct job_status job;
        struct error err;

        if (cluster_get_job(state_cluster(server->state), name, &job))
                return true;
        api_no_job(server, req, name, &err);
        api_reply_error(server, req, &err);
        return false;
}

void api_note(struct server *server, struct event *note)
{
        struct error err;

        note->time = time_wall();
        if (state_submit(server->state,
                    &(struct cluster_event){ .type = CLUSTER_NOTICE, .note = note }, NULL, NULL,
                    NULL, &err) < 0)
                log_warning("%s", err.message);
}

void api_note_task(struct server *server, enum event_kind kind, const struct task_status *task,
        const char *message)
{
        AUTO(mem_freep) char *text = mem_strdup(message);

        log_info("task %s: %s", task->id, message);
        api_note(server, &(struct event){ .kind = (int) kind,
                                 .job = task->job,
                                 .task = task->id,
                                 .node = task->node,
                                 .version = task->version,
                                 .run = task->runs,
                                 .message = text });
}

int api_running_task(struct server *server, const struct http_request *req, const char *id,
        struct task_status *ret, struct error *err)
{
        if (!cluster_get_task(state_cluster(server->state), id, ret))
                return api_no_task(server, req, id, err);
        if (ret->node != NULL && !links_is_up(server->links, ret->node))
                return error_set(err, ERR_UNAVAILABLE,
                        "node %s, which has task %s, is not connected", ret->node, id);
        if (ret->node == NULL || ret->pid <= 0)
                return error_set(err, ERR_CONFLICT, "task %s does not run: it is %s%s%s", id,
                        task_state_names[ret->state], ret->reason != NULL ? ", " : "",
                        ret->reason != NULL ? ret->reason : "");
        return 0;
}

/* ---- Query parameters */

int api_query_int(struct http_request *req, const char *name, int64_t min, int64_t max,
        int64_t *ret, struct error *err)
{
        const char *text = http_request_query(req, name);

        if (text == NULL || text_parse_int(text, min, max, ret))
                return 0;
        return error_set(err, ERR_INVALID,
                "%s: expected a number from %" PRId64 " to %" PRId64 ", got \"%s\"", name, min, max,
                text);
}

int api_query_bool(struct http_request *req, const char *name, bool *ret, struct error *err)
{
        const char *text = http_request_query(req, name);

        *ret = text != NULL &&
               (strcmp(text, "true") == 0 || strcmp(text, "1") == 0 || *text == '\0');
        if (text == NULL || *ret || strcmp(text, "false") == 0 || strcmp(text, "0") == 0)
                return 0;
        return error_set(err, ERR_INVALID, "%s: expected true or false, got \"%s\"", name, text);
}

int api_query_span(struct http_request *req, const char *name, usec_t *ret, struct error *err)
{
        const char *text = http_request_query(req, name);

        if (text == NULL || time_parse_span(text, ret))
                return 0;
        return error_set(
                err, ERR_INVALID, "%s: expected a duration such as 30s, got \"%s\"", name, text);
}

int api_query_time(struct http_request *req, const char *name, usec_t *ret_wall, struct error *err)
{
        const char *text = http_request_query(req, name);

        *ret_wall = 0;
        if (text == NULL || time_parse_when(text, time_wall(), ret_wall))
                return 0;
        return error_set(err, ERR_INVALID,
                "%s: expected a time such as 2026-11-20T15:04:00Z, or how long ago, such as 10m, "
                "got \"%s\"",
                name, text);
}

/* 1 if the request waits for a change: the feeds have it then; 0 if it is to be handled now. */
static int wait_for_change(struct server *server, struct http_request *req,
        const struct route *route, const char *name, struct error *err)
{
        int64_t index = -1;
        usec_t wait = WAIT_DEFAULT;

        if (!route->waits || api_query_int(req, "index", 0, INT64_MAX, &index, err) < 0)
                return route->waits ? -1 : 0;
        if (api_query_span(req, "wait", &wait, err) < 0)
                return -1;
        if (index < 0 || (uint64_t) index != state_index(server->state) || wait == 0)
                return 0;
        feeds_wait(server->feeds, req, (uint64_t) index, MIN(wait, WAIT_MAX), route, name);
        return 1;
}

/* ---- Dispatch */

void api_on_request(void *data, struct http_request *req)
{
        struct server *server = data;
        const char *method = http_request_method(req), *path = http_request_path(req);
        char name[256], allow[64];
        const struct route *route;
        struct error err;
        int rc;

        route = api_match(
                strcmp(method, "HEAD") == 0 ? "GET" : method, path, name, sizeof name, allow);
        if (!auth_allows(server, req, route, name))
                return;
        if (route == NULL && allow[0] != '\0') {
                http_request_set_header(req, "Allow", allow);
                api_reply_problem(server, req, 405, error_code_name(ERR_INVALID),
                        "this path does not have that method");
                return;
        }
        if (route == NULL) {
                api_reply_problem(server, req, 404, error_code_name(ERR_NOT_FOUND),
                        "no such path; see docs/http.md");
                return;
        }
        rc = wait_for_change(server, req, route, name, &err);
        if (rc < 0)
                api_reply_error(server, req, &err);
        else if (rc == 0)
                route->handle(server, req, name);
}
