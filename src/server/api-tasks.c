/* SPDX-License-Identifier: BSD-3-Clause */
/* The routes of tasks: read, stop, restart. Their logs are in logs.c. */
#include <string.h>

#include "server/api.h"
#include "server/auth.h"

struct task_list {
        struct buffer body;
        const char *jobs;
};

static void list_task(void *data, const struct task_status *task)
{
        struct task_list *list = data;

        if (token_jobs_cover(list->jobs, task->job))
                api_list_add(&list->body, &task_table, task);
}

void api_tasks_list(struct server *server, struct http_request *req, const char *name)
{
        const char *job = http_request_query(req, "job");
        struct task_list list = { .jobs = auth_grant(server, req).jobs };
        struct job_status status;
        struct error err;

        (void) name;
        if (job != NULL && !auth_allows_job(server, req, job))
                return;
        if (job != NULL && !cluster_get_job(state_cluster(server->state), job, &status)) {
                api_no_job(server, req, job, &err);
                api_reply_error(server, req, &err);
                return;
        }
        cluster_each_task(state_cluster(server->state), job, list_task, &list);
        api_reply_list(server, req, &list.body);
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
