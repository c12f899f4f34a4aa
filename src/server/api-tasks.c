/* SPDX-License-Identifier: BSD-3-Clause */
/* The routes of tasks: read, stop, restart, signal. Their logs are in logs.c, programs beside them
 * in exec.c. */
#include <string.h>

#include "base/mem.h"
#include "server/api.h"
#include "server/auth.h"
#include "server/links.h"
#include "server/past.h"

struct task_list {
        struct buffer body;
        const char *jobs;
        const char *node; /* NULL: any */
        int state;        /* enum task_state; -1: any */
};

static void list_task(void *data, const struct task_status *task)
{
        struct task_list *list = data;

        if ((list->node == NULL || (task->node != NULL && strcmp(list->node, task->node) == 0)) &&
                (list->state < 0 || list->state == task->state) &&
                token_jobs_cover(list->jobs, task->job))
                api_list_add(&list->body, &task_table, task);
}

static int query_state(struct http_request *req, int *ret, struct error *err)
{
        const char *text = http_request_query(req, "state"), *nearest;

        if (text == NULL)
                return 0;
        for (int i = 0; i < TASK_STATE_COUNT; i++)
                if (strcmp(text, task_state_names[i]) == 0) {
                        *ret = i;
                        return 0;
                }
        nearest = text_nearest(text, task_state_names);
        return error_set(err, ERR_INVALID, "state: no such state, \"%s\"%s%s%s", text,
                nearest != NULL ? "; did you mean \"" : "", nearest != NULL ? nearest : "",
                nearest != NULL ? "\"?" : "");
}

static int query_node(
        struct server *server, struct http_request *req, const char **ret, struct error *err)
{
        struct node_status node;

        *ret = http_request_query(req, "node");
        if (*ret == NULL || cluster_get_node(state_cluster(server->state), *ret, &node))
                return 0;
        return api_no_node(server, *ret, err);
}

/* What is asked for of one node costs what that has, however many tasks there are. */
static void list_tasks(struct server *server, const char *job, struct task_list *list)
{
        const struct cluster *c = state_cluster(server->state);

        if (job == NULL && list->node != NULL)
                cluster_each_task_on(c, list->node, list_task, list);
        else
                cluster_each_task(c, job, list_task, list);
}

void api_tasks_list(struct server *server, struct http_request *req, const char *name)
{
        const char *job = http_request_query(req, "job");
        struct task_list list = { .jobs = auth_grant(server, req).jobs, .state = -1 };
        struct job_status status;
        struct error err;

        (void) name;
        if (job != NULL && !auth_allows_job(server, req, job))
                return;
        if (query_state(req, &list.state, &err) < 0) {
                api_reply_error(server, req, &err);
                return;
        }
        if (past_answers(server, req, PAST_TASKS, job))
                return;
        if (job != NULL && !cluster_get_job(state_cluster(server->state), job, &status)) {
                api_no_job(server, req, job, &err);
                api_reply_error(server, req, &err);
                return;
        }
        if (query_node(server, req, &list.node, &err) < 0) {
                api_reply_error(server, req, &err);
                return;
        }
        list_tasks(server, job, &list);
        api_reply_list(server, req, &list.body);
}

bool api_task_matches(const struct http_request *req, const struct task_status *task)
{
        const char *node = http_request_query(req, "node");
        const char *state = http_request_query(req, "state");

        return (node == NULL || (task->node != NULL && strcmp(node, task->node) == 0)) &&
               (state == NULL ||
                       (task->state >= 0 && strcmp(state, task_state_names[task->state]) == 0));
}

static bool task_is_there(
        struct server *server, struct http_request *req, const char *id, struct task_status *ret)
{
        struct error err;

        if (cluster_get_task(state_cluster(server->state), id, ret))
                return true;
        api_no_task(server, req, id, &err);
        api_reply_error(server, req, &err);
        return false;
}

void api_task_get(struct server *server, struct http_request *req, const char *name)
{
        struct buffer body = { 0 };
        struct task_status task;

        if (past_answers(server, req, PAST_TASK, name))
                return;
        if (!task_is_there(server, req, name, &task))
                return;
        record_write(&task_table, &task, &body);
        api_reply_json(server, req, &body);
}

void api_task_stop(struct server *server, struct http_request *req, const char *name)
{
        struct task_status task;

        if (task_is_there(server, req, name, &task))
                api_command(server, req,
                        &(struct cluster_event){ .type = CLUSTER_STOP, .target = name });
}

void api_task_restart(struct server *server, struct http_request *req, const char *name)
{
        struct task_status task;

        if (task_is_there(server, req, name, &task))
                api_command(server, req,
                        &(struct cluster_event){ .type = CLUSTER_RESTART, .target = name });
}

static int read_signal(struct http_request *req, int *ret, struct error *err)
{
        size_t len;
        const char *body = http_request_body(req, &len), *name;
        json_error_t why;
        json_t *json = json_loadb(body, len, JSON_REJECT_DUPLICATES, &why);
        int rc = 0;

        name = json_string_value(json_object_get(json, "signal"));
        *ret = name == NULL ? 0 : text_parse_signal(name);
        if (json == NULL)
                rc = error_set(err, ERR_INVALID, "request:%d: %s", why.line, why.text);
        else if (name == NULL)
                rc = error_set(err, ERR_INVALID, "signal: expected a name such as \"USR1\"");
        else if (*ret == 0)
                rc = error_set(err, ERR_INVALID, "signal: there is no signal \"%.40s\"", name);
        json_decref(json);
        return rc;
}

void api_task_signal(struct server *server, struct http_request *req, const char *name)
{
        AUTO(mem_freep) char *message = NULL, *text = NULL;
        struct buffer body = { 0 };
        struct task_status task;
        char who[API_WHO_MAX];
        struct error err;
        int number;

        if (read_signal(req, &number, &err) < 0 ||
                api_running_task(server, req, name, &task, &err) < 0) {
                api_reply_error(server, req, &err);
                return;
        }
        message = mem_printf("{\"type\":\"signal\",\"task\":\"%s\",\"signal\":\"%s\"}", task.id,
                text_signal_name(number));
        links_send(server->links, task.node, message);
        text = mem_printf(
                "%s sent it signal %s", api_who(server, req, who), text_signal_name(number));
        api_note_task(server, EVENT_TASK_SIGNALLED, &task, text);
        buffer_puts(&body, "{}");
        api_reply_done(server, req, &body);
}
