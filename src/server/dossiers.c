/* SPDX-License-Identifier: BSD-3-Clause */
/* Dossiers: asked of the node that has them, as logs are; nothing is kept here.
 *
 * A query is one message to the agent and one back. What has changed in the job's spec between the
 * last good run and the failed one is added here, from the versions that the server keeps. */
#include "server/dossiers.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/log.h"
#include "base/mem.h"
#include "server/api.h"
#include "server/links.h"

#define PATIENCE_MS 5000
#define LIST_MAX    64 /* agents keep fewer */

struct dossier_query {
        struct dossiers *owner;
        uint64_t number;
        char *task, *node; /* node: NULL: it is on none */
        dossier_answer_fn *on_answer;
        void *data;
        uv_timer_t timer; /* patience; or what is known already is told at once */
        struct error why; /* of no answer, told by the timer */
        struct dossier_query *prev, *next;
};

struct dossiers {
        struct server *server;
        struct dossier_query *queries;
        uint64_t last;
};

/* ---- Queries */

static void on_timer_closed(uv_handle_t *handle)
{
        struct dossier_query *q = handle->data;

        free(q->task);
        free(q->node);
        free(q);
}

void dossier_query_cancel(struct dossier_query *q)
{
        if (q == NULL)
                return;
        DL_DELETE(q->owner->queries, q);
        uv_close((uv_handle_t *) &q->timer, on_timer_closed);
}

static void answer(
        struct dossier_query *q, const struct dossier *list, size_t len, const struct error *err)
{
        dossier_answer_fn *on_answer = q->on_answer;
        void *data = q->data;

        dossier_query_cancel(q);
        on_answer(data, list, len, err);
}

static void on_timer(uv_timer_t *timer)
{
        struct dossier_query *q = timer->data;

        answer(q, NULL, 0, q->node != NULL ? &q->why : NULL);
}

static void fail_later(struct dossier_query *q, uint64_t delay_ms, const char *why)
{
        error_set(&q->why, ERR_UNAVAILABLE, "node %s, which has the dossiers of %s, %s", q->node,
                q->task, why);
        uv_timer_start(&q->timer, on_timer, delay_ms, 0);
}

static void send_query(struct dossier_query *q)
{
        struct links *links = q->owner->server->links;
        AUTO(mem_freep)
        char *text =
                mem_printf("{\"type\":\"dossiers-get\",\"request\":%" PRIu64 ",\"task\":\"%s\"}",
                        q->number, q->task);

        if (!links_is_up(links, q->node))
                fail_later(q, 0, "is not connected");
        else if (!links_knows(links, q->node, LINK_DOSSIERS))
                fail_later(q, 0, "has an agent of an older version, which keeps none");
        else if (links_send(links, q->node, text))
                fail_later(q, PATIENCE_MS, "does not answer");
        else
                fail_later(q, 0, "is not connected");
}

struct dossier_query *dossiers_ask(
        struct dossiers *ds, const char *id, dossier_answer_fn *on_answer, void *data)
{
        struct dossier_query *q = mem_alloc(sizeof *q);
        struct task_status task = { 0 };

        q->owner = ds;
        q->number = ++ds->last;
        q->task = mem_strdup(id);
        q->on_answer = on_answer;
        q->data = data;
        uv_timer_init(ds->server->loop, &q->timer);
        q->timer.data = q;
        DL_APPEND(ds->queries, q);
        if (cluster_get_task(state_cluster(ds->server->state), id, &task))
                q->node = mem_strdup(task.node);
        if (q->node != NULL)
                send_query(q);
        else
                uv_timer_start(&q->timer, on_timer, 0, 0);
        return q;
}

/* ---- What has changed */

struct two_specs {
        int64_t before, after;
        const struct job_spec *spec_before, *spec_after;
};

static void take_version(void *data, uint32_t number, const struct job_spec *spec)
{
        struct two_specs *two = data;

        if (number == two->before)
                two->spec_before = spec;
        if (number == two->after)
                two->spec_after = spec;
}

/* The changed fields by name; what they were is nobody's business who is only told of a failure. */
static void add_changes(const struct cluster *c, struct dossier *d)
{
        struct two_specs two = { .before = d->good_version, .after = d->version };
        AUTO(buffer_done) struct buffer names = { 0 };
        struct job_diff diff = { 0 };

        if (d->good_run == RECORD_NULL || d->good_version == d->version || d->job == NULL)
                return;
        cluster_each_version(c, d->job, take_version, &two);
        if (two.spec_before == NULL || two.spec_after == NULL)
                return;
        job_spec_diff(two.spec_before, two.spec_after, &diff);
        for (size_t i = 0; i < diff.len; i++)
                buffer_printf(&names, "%s%s", i == 0 ? "" : ", ", diff.changes[i].field);
        job_diff_done(&diff);
        free(d->changed);
        d->changed = names.len > 0 ? buffer_take(&names) : NULL;
}

/* ---- From the links */

static struct dossier_query *find(struct dossiers *ds, const char *node, uint64_t number)
{
        struct dossier_query *q;

        DL_FOREACH (ds->queries, q)
                if (q->number == number && q->node != NULL && strcmp(q->node, node) == 0)
                        return q;
        return NULL;
}

void dossiers_message(struct dossiers *ds, const char *node, const json_t *message)
{
        json_int_t number = json_integer_value(json_object_get(message, "request"));
        const json_t *array = json_object_get(message, "dossiers"), *object;
        struct dossier_query *q = find(ds, node, number > 0 ? (uint64_t) number : 0);
        struct dossier list[LIST_MAX] = { 0 };
        struct error err = ERROR_INIT;
        size_t len = 0, i;

        if (q == NULL)
                return;
        json_array_foreach (array, i, object) {
                if (len == LIST_MAX)
                        break;
                if (record_read(&dossier_table, object, &list[len], &err) < 0) {
                        log_warning("node %s: a dossier of %s cannot be read: %s", node, q->task,
                                err.message);
                        memset(&list[len], 0, sizeof list[len]);
                        continue;
                }
                add_changes(state_cluster(ds->server->state), &list[len]);
                len++;
        }
        answer(q, list, len, NULL);
        for (i = 0; i < len; i++)
                record_done(&dossier_table, &list[i]);
}

void dossiers_node_down(struct dossiers *ds, const char *node)
{
        struct dossier_query *q;

        DL_FOREACH (ds->queries, q)
                if (q->node != NULL && strcmp(q->node, node) == 0)
                        fail_later(q, 0, "is not connected");
}

/* ---- The route */

struct request {
        struct server *server;
        struct http_request *req;
        struct dossier_query *query;
        int64_t run; /* 0: all */
};

static void on_request_closed(void *data)
{
        struct request *r = data;

        dossier_query_cancel(r->query);
        free(r);
}

static void on_answer(void *data, const struct dossier *list, size_t len, const struct error *err)
{
        struct request *r = data;
        struct buffer body = { 0 };

        for (size_t i = 0; i < len; i++)
                if (r->run == 0 || list[i].run == r->run)
                        api_list_add(&body, &dossier_table, &list[i]);
        http_request_on_close(r->req, NULL, NULL);
        if (err != NULL)
                api_reply_error(r->server, r->req, err);
        else
                api_reply_list(r->server, r->req, &body);
        free(r);
}

void api_task_dossiers(struct server *server, struct http_request *req, const char *name)
{
        struct task_status task;
        struct error err;
        struct request *r;
        int64_t run = 0;

        if (api_query_int(req, "run", 1, INT64_MAX, &run, &err) < 0 ||
                (!cluster_get_task(state_cluster(server->state), name, &task) &&
                        api_no_task(server, req, name, &err) < 0)) {
                api_reply_error(server, req, &err);
                return;
        }
        r = mem_alloc(sizeof *r);
        *r = (struct request){ .server = server, .req = req, .run = run };
        http_request_on_close(req, on_request_closed, r);
        r->query = dossiers_ask(server->dossiers, name, on_answer, r);
}

/* ---- Life */

struct dossiers *dossiers_new(struct server *server)
{
        struct dossiers *ds = mem_alloc(sizeof *ds);

        ds->server = server;
        return ds;
}

void dossiers_free(struct dossiers *ds)
{
        struct dossier_query *q, *next;

        if (ds == NULL)
                return;
        DL_FOREACH_SAFE (ds->queries, q, next)
                dossier_query_cancel(q);
        free(ds);
}
