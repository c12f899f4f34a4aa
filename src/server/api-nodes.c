/* SPDX-License-Identifier: BSD-3-Clause */
/* The routes of nodes: read, cordon, drain. To forget one concerns its credential, too, and is in
 * api-tokens.c. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/explain.h"
#include "server/api.h"
#include "server/auth.h"
#include "server/past.h"

/* ---- Reading */

static void list_node(void *data, const struct node_status *node)
{
        api_list_add(data, &node_table, node);
}

void api_nodes_list(struct server *server, struct http_request *req, const char *name)
{
        struct buffer body = { 0 };

        (void) name;
        if (past_answers(server, req, PAST_NODES, NULL))
                return;
        cluster_each_node(state_cluster(server->state), list_node, &body);
        api_reply_list(server, req, &body);
}

struct placed_list {
        const struct cluster *cluster;
        struct buffer body;
        const char *jobs;
};

static void put_text_member(struct buffer *out, const char *name, const struct buffer *text)
{
        buffer_printf(out, ",\"%s\":", name);
        if (text->len > 0)
                text_put_json_string(out, buffer_str(text));
        else
                buffer_puts(out, "null");
}

/* A task, and what is asked of it at its node. */
static void list_placed(void *data, const struct task_status *task)
{
        struct placed_list *list = data;
        AUTO(buffer_done) struct buffer chosen = { 0 }, leaving = { 0 };

        if (!token_jobs_cover(list->jobs, task->job))
                return;
        explain_choice(list->cluster, task->id, &chosen);
        explain_leaving(list->cluster, task->id, &leaving);
        buffer_puts(&list->body, list->body.len == 0 ? "" : ",");
        record_write(&task_table, task, &list->body);
        list->body.len--; /* the closing brace */
        put_text_member(&list->body, "chosen", &chosen);
        put_text_member(&list->body, "leaving", &leaving);
        buffer_putc(&list->body, '}');
}

void api_node_get(struct server *server, struct http_request *req, const char *name)
{
        struct placed_list list = { .cluster = state_cluster(server->state),
                .jobs = auth_grant(server, req).jobs };
        struct buffer body = { 0 };
        struct node_status node;
        struct error err;

        if (!cluster_get_node(list.cluster, name, &node)) {
                api_no_node(server, name, &err);
                api_reply_error(server, req, &err);
                return;
        }
        record_write(&node_table, &node, &body);
        body.len--; /* the closing brace */
        cluster_each_task_on(list.cluster, name, list_placed, &list);
        buffer_printf(&body, ",\"placed\":[%s]}", buffer_str(&list.body));
        buffer_done(&list.body);
        api_reply_json(server, req, &body);
}

/* ---- Commands */

static int read_command(struct http_request *req, bool with_deadline, struct cluster_event *event,
        struct error *err)
{
        json_t *object = api_body_object(req, err);
        int rc = object == NULL ? -1 : api_body_flag(object, "on", &event->on, err);

        if (rc == 0 && with_deadline)
                rc = api_body_span(object, "deadline", &event->deadline, err);
        if (rc == 0 && !event->on && event->deadline > 0)
                rc = error_set(err, ERR_INVALID, "deadline: only with a drain that begins");
        json_decref(object);
        return rc;
}

static void command_node(struct server *server, struct http_request *req,
        enum cluster_event_type type, const char *name)
{
        struct cluster_event event = { .type = type, .target = name, .on = true };
        struct error err;

        if (read_command(req, type == CLUSTER_DRAIN, &event, &err) < 0) {
                api_reply_error(server, req, &err);
                return;
        }
        if (event.deadline == USEC_NEVER)
                event.deadline = 0; /* none */
        api_command(server, req, &event);
}

void api_node_cordon(struct server *server, struct http_request *req, const char *name)
{
        command_node(server, req, CLUSTER_CORDON, name);
}

void api_node_drain(struct server *server, struct http_request *req, const char *name)
{
        command_node(server, req, CLUSTER_DRAIN, name);
}
