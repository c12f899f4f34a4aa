/* SPDX-License-Identifier: BSD-3-Clause */
/* The routes of a job's versions: what is kept and what changed, promote, revert. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "server/api.h"

/* ---- The list */

struct version_row {
        uint32_t number;
        size_t tasks; /* whose last run has it */
        const struct job_spec *spec;
};

struct version_list {
        struct version_row *rows;
        size_t len;
};

static void add_version(void *data, uint32_t number, const struct job_spec *spec)
{
        struct version_list *list = data;

        list->rows = mem_resize(list->rows, list->len + 1, sizeof *list->rows);
        list->rows[list->len++] = (struct version_row){ .number = number, .spec = spec };
}

static void count_task(void *data, const struct task_status *task)
{
        struct version_list *list = data;

        for (size_t i = 0; i < list->len; i++)
                list->rows[i].tasks += list->rows[i].number == task->version;
}

static void put_changes(
        struct buffer *out, const struct job_spec *before, const struct job_spec *spec)
{
        struct job_diff diff = { 0 };

        if (before != NULL)
                job_spec_diff(before, spec, &diff);
        for (size_t i = 0; i < diff.len; i++)
                buffer_printf(out,
                        "%s{\"field\":\"%s\",\"from\":%s,\"to\":%s,\"needs_restart\":%s}",
                        i == 0 ? "" : ",", diff.changes[i].field, diff.changes[i].from,
                        diff.changes[i].to, diff.changes[i].needs_restart ? "true" : "false");
        job_diff_done(&diff);
}

void api_job_versions(struct server *server, struct http_request *req, const char *name)
{
        const struct cluster *c = state_cluster(server->state);
        struct version_list list = { 0 };
        struct buffer body = { 0 };

        if (!api_job_is_there(server, req, name))
                return;
        cluster_each_version(c, name, add_version, &list);
        cluster_each_task(c, name, count_task, &list);
        for (size_t i = 0; i < list.len; i++) {
                buffer_printf(&body, "%c{\"version\":%" PRIu32 ",\"tasks\":%zu,\"changes\":[",
                        i == 0 ? '[' : ',', list.rows[i].number, list.rows[i].tasks);
                put_changes(&body, i == 0 ? NULL : list.rows[i - 1].spec, list.rows[i].spec);
                buffer_puts(&body, "]}");
        }
        free(list.rows);
        api_reply_list(server, req, &body);
}

/* ---- Commands */

void api_job_promote(struct server *server, struct http_request *req, const char *name)
{
        if (api_job_is_there(server, req, name))
                api_command(server, req,
                        &(struct cluster_event){ .type = CLUSTER_PROMOTE, .target = name });
}

void api_job_revert(struct server *server, struct http_request *req, const char *name)
{
        struct cluster_event event = { .type = CLUSTER_REVERT, .target = name };
        struct error err;
        json_t *object = api_body_object(req, &err);
        int64_t version = 0;

        if (object == NULL || api_body_number(object, "version", &version, &err) < 0) {
                api_reply_error(server, req, &err);
        } else if (api_job_is_there(server, req, name)) {
                event.version = (uint32_t) MIN(version, (int64_t) UINT32_MAX);
                api_command(server, req, &event);
        }
        json_decref(object);
}
