/* SPDX-License-Identifier: BSD-3-Clause */
/* The routes of vitals: what machines and tasks use now, and in the last hour. The agents are asked
 * (gauges.c): first for what is newest, then, for one task or node, for the samples. */
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/mem.h"
#include "server/api.h"
#include "server/auth.h"
#include "server/gauges.h"
#include "server/links.h"

/* More tasks are not listed in one answer: asked for by node they are. */
#define TASKS_MAX 100000

struct vitals_request {
        struct server *server;
        struct http_request *req;
        struct gauges_look *look;
        struct gauges_query query; /* its node is ours */
        char *task;                /* NULL: of a node, or of all */
        usec_t since;
        struct vitals_request *next, *prev;
};

static void request_free(void *data)
{
        struct vitals_request *r = data;

        DL_DELETE(r->server->vitals_requests, r);
        gauges_cancel(r->look);
        free((char *) (uintptr_t) r->query.node);
        free(r->task);
        free(r);
}

void api_vitals_end(struct server *server)
{
        while (server->vitals_requests != NULL)
                request_free(server->vitals_requests);
}

static void reply(struct vitals_request *r, struct buffer *body)
{
        http_request_on_close(r->req, NULL, NULL);
        api_reply_done(r->server, r->req, body);
        request_free(r);
}

static void fail(struct vitals_request *r, const struct error *err)
{
        http_request_on_close(r->req, NULL, NULL);
        api_reply_error(r->server, r->req, err);
        request_free(r);
}

/* A question of the request's own, with its common parameters; NULL: it was answered. */
static struct vitals_request *request_new(
        struct server *server, struct http_request *req, const char *node, const char *task)
{
        struct vitals_request *r;
        usec_t max_age = VITALS_EVERY, since;
        struct error err;

        if (api_query_span(req, "max_age", &max_age, &err) < 0 ||
                api_query_time(req, "since", &since, &err) < 0) {
                api_reply_error(server, req, &err);
                return NULL;
        }
        r = mem_alloc(sizeof *r);
        r->server = server;
        r->req = req;
        r->query = (struct gauges_query){
                .node = mem_strdup(node), .tasks = true, .max_age = MIN(max_age, USEC_HOUR)
        };
        r->task = mem_strdup(task);
        r->since = since;
        DL_APPEND(server->vitals_requests, r);
        http_request_on_close(req, request_free, r);
        return r;
}

/* ---- one task or node */

static void put_newest(const struct vitals_request *r, struct buffer *out)
{
        const struct gauges *g = r->server->gauges;
        const struct task_vitals *task =
                r->task != NULL ? gauges_task(g, r->query.node, r->task) : NULL;
        const struct node_vitals *node = gauges_node(g, r->query.node);

        buffer_puts(out, "{\"newest\":");
        if (task != NULL)
                record_write(&task_vitals_table, task, out);
        else if (r->task == NULL && node != NULL)
                record_write(&node_vitals_table, node, out);
        else
                buffer_puts(out, "null");
        if (r->task == NULL)
                return;
        buffer_puts(out, ",\"node\":");
        text_put_json_string(out, r->query.node);
}

static void on_samples(void *data, const char *samples, size_t len, const struct error *err)
{
        struct vitals_request *r = data;
        struct buffer body = { 0 };

        r->look = NULL;
        if (err != NULL) {
                fail(r, err);
                return;
        }
        put_newest(r, &body);
        buffer_puts(&body, ",\"samples\":[");
        buffer_put(&body, samples, len);
        buffer_puts(&body, "]}");
        reply(r, &body);
}

static void on_newest(void *data)
{
        struct vitals_request *r = data;

        r->look = gauges_look_samples(
                r->server->gauges, r->query.node, r->task, r->since, on_samples, r);
}

static void look_at_one(
        struct server *server, struct http_request *req, const char *node, const char *task)
{
        struct vitals_request *r;
        struct error err;

        if (!links_is_up(server->links, node)) {
                error_set(&err, ERR_UNAVAILABLE, "node %s is not connected", node);
                api_reply_error(server, req, &err);
                return;
        }
        if (!links_knows(server->links, node, LINK_VITALS)) {
                error_set(&err, ERR_UNAVAILABLE,
                        "the agent of node %s is older than this server and does not know vitals",
                        node);
                api_reply_error(server, req, &err);
                return;
        }
        r = request_new(server, req, node, task);
        if (r == NULL)
                return;
        r->query.tasks = task != NULL;
        r->look = gauges_look(server->gauges, &r->query, on_newest, r);
}

void api_task_vitals(struct server *server, struct http_request *req, const char *name)
{
        struct task_status task;
        struct error err;

        if (!cluster_get_task(state_cluster(server->state), name, &task))
                api_no_task(server, req, name, &err);
        else if (task.node == NULL)
                error_set(&err, ERR_CONFLICT, "task %s is on no node", name);
        else {
                look_at_one(server, req, task.node, name);
                return;
        }
        api_reply_error(server, req, &err);
}

void api_node_vitals(struct server *server, struct http_request *req, const char *name)
{
        struct node_status node;
        struct error err;

        if (cluster_get_node(state_cluster(server->state), name, &node)) {
                look_at_one(server, req, name, NULL);
                return;
        }
        api_no_node(server, name, &err);
        api_reply_error(server, req, &err);
}

/* ---- all */

struct list {
        const struct vitals_request *request;
        const char *jobs;
        struct buffer nodes, tasks, silent;
};

static void list_task(void *data, const struct task_vitals *task)
{
        struct list *list = data;

        if (token_jobs_cover_task(list->jobs, task->task))
                api_list_add(&list->tasks, &task_vitals_table, task);
}

static void list_node(void *data, const struct node_status *node)
{
        struct list *list = data;
        const struct vitals_request *r = list->request;
        const struct node_vitals *vitals = gauges_node(r->server->gauges, node->name);

        if (r->query.node != NULL && strcmp(r->query.node, node->name) != 0)
                return;
        if (vitals == NULL) {
                buffer_putc(&list->silent, list->silent.len == 0 ? '[' : ',');
                text_put_json_string(&list->silent, node->name);
                return;
        }
        api_list_add(&list->nodes, &node_vitals_table, vitals);
        if (r->query.tasks)
                gauges_each_task(r->server->gauges, node->name, list_task, list);
}

static void put_list(struct buffer *body, const char *name, struct buffer *list)
{
        buffer_printf(body, "%s\"%s\":", body->len == 0 ? "{" : ",", name);
        buffer_puts(body, list->len == 0 ? "[" : buffer_str(list));
        buffer_putc(body, ']');
        buffer_done(list);
}

static void on_all(void *data)
{
        struct vitals_request *r = data;
        struct list list = { .request = r, .jobs = auth_grant(r->server, r->req).jobs };
        struct buffer body = { 0 };

        r->look = NULL;
        cluster_each_node(state_cluster(r->server->state), list_node, &list);
        put_list(&body, "nodes", &list.nodes);
        put_list(&body, "tasks", &list.tasks);
        put_list(&body, "silent", &list.silent);
        buffer_putc(&body, '}');
        reply(r, &body);
}

static void count_running(void *data, const struct node_status *node)
{
        *(int64_t *) data += node->running;
}

static int check_all(struct server *server, struct http_request *req, struct gauges_query *query,
        struct error *err)
{
        const struct cluster *c = state_cluster(server->state);
        struct node_status node;
        int64_t running = 0;

        if (http_request_query(req, "tasks") != NULL &&
                api_query_bool(req, "tasks", &query->tasks, err) < 0)
                return -1;
        if (query->node != NULL)
                return cluster_get_node(c, query->node, &node)
                               ? 0
                               : api_no_node(server, query->node, err);
        cluster_each_node(c, count_running, &running);
        if (query->tasks && running > TASKS_MAX)
                return error_set(err, ERR_TOO_LARGE,
                        "more than %d tasks run: ask for those of one node (?node=), or for none "
                        "(?tasks=false)",
                        TASKS_MAX);
        return 0;
}

void api_vitals(struct server *server, struct http_request *req, const char *name)
{
        struct vitals_request *r = request_new(server, req, http_request_query(req, "node"), NULL);
        struct error err;

        (void) name;
        if (r == NULL)
                return;
        if (check_all(server, req, &r->query, &err) < 0)
                fail(r, &err);
        else
                r->look = gauges_look(server->gauges, &r->query, on_all, r);
}
