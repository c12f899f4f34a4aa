/* SPDX-License-Identifier: BSD-3-Clause */
/* The routes of jobs: apply, plan, read, stop, restart, scale, remove.
 *
 * "All or none" of an apply: its jobs are submitted within one loop turn, so they are one batch of
 * the store; what could make the cluster refuse one of them (it comes from a file, it has another
 * version) is looked at before the first is submitted. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "server/api.h"
#include "server/auth.h"
#include "server/past.h"

/* ---- Reading */

struct job_list {
        struct buffer body;
        const char *jobs;
};

static void list_job(void *data, const struct job_status *job)
{
        struct job_list *list = data;

        if (token_jobs_cover(list->jobs, job->name))
                api_list_add(&list->body, &job_table, job);
}

void api_jobs_list(struct server *server, struct http_request *req, const char *name)
{
        struct job_list list = { .jobs = auth_grant(server, req).jobs };

        (void) name;
        if (past_answers(server, req, PAST_JOBS, NULL))
                return;
        cluster_each_job(state_cluster(server->state), list_job, &list);
        api_reply_list(server, req, &list.body);
}

void api_job_get(struct server *server, struct http_request *req, const char *name)
{
        const struct cluster *c = state_cluster(server->state);
        struct buffer body = { 0 };
        const struct job_spec *spec;
        struct job_status job;
        struct error err;
        int64_t version = 0;
        json_t *json;
        char *text;

        if (past_answers(server, req, PAST_JOB, name))
                return;
        if (api_query_int(req, "version", 1, UINT32_MAX, &version, &err) < 0 ||
                (!cluster_get_job(c, name, &job) && api_no_job(server, req, name, &err) < 0)) {
                api_reply_error(server, req, &err);
                return;
        }
        spec = cluster_get_spec(c, name, (uint32_t) version);
        if (spec == NULL) {
                error_set(&err, ERR_NOT_FOUND,
                        "version %" PRId64 " of job %s is not kept; it is at version %" PRId64,
                        version, name, job.version);
                api_reply_error(server, req, &err);
                return;
        }
        record_write(&job_table, &job, &body);
        body.len--; /* the closing brace */
        json = job_spec_to_json(spec);
        text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(15));
        buffer_printf(&body, ",\"spec\":%s}", text);
        free(text);
        json_decref(json);
        api_reply_json(server, req, &body);
}

/* ---- Apply and plan */

static enum job_format body_format(struct http_request *req)
{
        const char *type = http_request_header(req, "Content-Type");

        return type != NULL && strcasestr(type, "yaml") != NULL ? JOB_FORMAT_YAML : JOB_FORMAT_JSON;
}

static int parse_body(struct http_request *req, struct job_file *ret, struct error *err)
{
        const char *label = http_request_query(req, "name");
        size_t len;
        const char *body = http_request_body(req, &len);

        return job_file_parse(label == NULL || *label == '\0' ? "request" : label, body, len,
                body_format(req), ret, err);
}

struct lookup {
        const char *name;
        bool found;
};

static void look_for(void *data, const char *name)
{
        struct lookup *l = data;

        l->found = l->found || strcmp(l->name, name) == 0;
}

/* False if it is being removed: then anybody may take it over. */
static bool is_held(const struct cluster *c, const struct job_status *job)
{
        struct lookup l = { .name = job->name };

        cluster_each_job_of_source(c, job->source, look_for, &l);
        return l.found;
}

/* What the cluster would refuse, found before any of several jobs is submitted. */
static int check_all(struct server *server, const struct job_file *file, struct error *err)
{
        const struct cluster *c = state_cluster(server->state);

        for (size_t i = 0; i < file->jobs_len; i++) {
                struct job_status job;

                if (cluster_get_job(c, file->jobs[i]->name, &job) &&
                        strcmp(job.source, "api") != 0 && is_held(c, &job))
                        return error_set(err, ERR_CONFLICT, "job %s comes from %s: change it there",
                                job.name,
                                strncmp(job.source, "file:", 5) == 0 ? job.source + 5 : job.source);
        }
        return cluster_check_order(c, file->jobs, file->jobs_len, err);
}

/* False: one of them is not the token's affair, and that was answered. */
static bool may_all(struct server *server, struct http_request *req, const struct job_file *file)
{
        for (size_t i = 0; i < file->jobs_len; i++)
                if (!auth_allows_job(server, req, file->jobs[i]->name))
                        return false;
        return true;
}

struct apply {
        struct server *server;
        struct http_request *req;
        struct buffer body;
};

static void apply_free(struct apply *a)
{
        buffer_done(&a->body);
        free(a);
}

static void on_apply_durable(void *data, const struct error *err)
{
        struct apply *a = data;
        struct buffer *body = &a->body;

        if (err != NULL)
                api_reply_error(a->server, a->req, err);
        else
                api_reply_done(a->server, a->req, body);
        apply_free(a);
}

static int apply_one(struct apply *a, struct job_spec *spec, uint32_t if_version, bool last,
        uint64_t *ret_index, struct error *err)
{
        struct cluster_event event = {
                .type = CLUSTER_APPLY, .spec = spec, .source = "api", .if_version = if_version
        };
        struct state_outcome outcome;
        const char *action;

        if (state_submit(a->server->state, &event, last ? on_apply_durable : NULL, last ? a : NULL,
                    &outcome, err) < 0)
                return -1;
        action = outcome.unchanged ? "unchanged" : outcome.version == 1 ? "created" : "updated";
        buffer_printf(&a->body, "%s{\"job\":\"%s\",\"version\":%" PRIu32 ",\"action\":\"%s\"}",
                a->body.len == 0 ? "" : ",", spec->name, outcome.version, action);
        *ret_index = outcome.index;
        return 0;
}

static int apply_all(struct server *server, struct http_request *req, const struct job_file *file,
        uint32_t if_version, struct error *err)
{
        struct apply *a = mem_alloc(sizeof *a);
        AUTO(buffer_done) struct buffer jobs = { 0 };
        uint64_t index = 0;

        a->server = server;
        a->req = req;
        for (size_t i = 0; i < file->jobs_len; i++) {
                if (apply_one(a, file->jobs[i], if_version, i + 1 == file->jobs_len, &index, err) <
                        0) {
                        apply_free(a);
                        return -1;
                }
        }
        jobs = a->body;
        a->body = (struct buffer){ 0 };
        buffer_printf(&a->body, "{\"index\":%" PRIu64 ",\"jobs\":[%s]}", index, buffer_str(&jobs));
        return 0;
}

void api_jobs_apply(struct server *server, struct http_request *req, const char *name)
{
        struct job_file file = { 0 };
        int64_t if_version = 0;
        struct error err;
        int rc;

        (void) name;
        rc = api_query_int(req, "if_version", 1, UINT32_MAX, &if_version, &err);
        if (rc == 0)
                rc = parse_body(req, &file, &err);
        if (rc == 0 && file.jobs_len == 0)
                rc = error_set(&err, ERR_INVALID, "there is no job in it");
        if (rc == 0 && if_version != 0 && file.jobs_len != 1)
                rc = error_set(&err, ERR_INVALID, "if_version: only when there is one job");
        if (rc == 0 && !may_all(server, req, &file)) {
                job_file_done(&file);
                return;
        }
        if (rc == 0)
                rc = check_all(server, &file, &err);
        if (rc == 0)
                rc = apply_all(server, req, &file, (uint32_t) if_version, &err);
        if (rc < 0)
                api_reply_error(server, req, &err);
        job_file_done(&file);
}

bool api_jobs_read(struct server *server, struct http_request *req, struct job_file *ret)
{
        struct error err;

        if (parse_body(req, ret, &err) < 0) {
                api_reply_error(server, req, &err);
                return false;
        }
        if (may_all(server, req, ret))
                return true;
        job_file_done(ret);
        return false;
}

/* ---- Commands */

void api_job_stop(struct server *server, struct http_request *req, const char *name)
{
        if (api_job_is_there(server, req, name))
                api_command(server, req,
                        &(struct cluster_event){ .type = CLUSTER_STOP, .target = name });
}

void api_job_restart(struct server *server, struct http_request *req, const char *name)
{
        if (api_job_is_there(server, req, name))
                api_command(server, req,
                        &(struct cluster_event){ .type = CLUSTER_RESTART, .target = name });
}

void api_job_remove(struct server *server, struct http_request *req, const char *name)
{
        struct error err;
        bool purge;

        if (api_query_bool(req, "purge", &purge, &err) < 0)
                api_reply_error(server, req, &err);
        else if (api_job_is_there(server, req, name))
                api_command(server, req,
                        &(struct cluster_event){ .type = CLUSTER_REMOVE,
                                .target = name,
                                .source = "api",
                                .purge = purge });
}

static int parse_count(struct http_request *req, uint32_t *ret, struct error *err)
{
        size_t len;
        const char *body = http_request_body(req, &len);
        json_error_t why;
        json_t *json = json_loadb(body, len, JSON_REJECT_DUPLICATES, &why), *count;
        int rc = 0;

        count = json_object_get(json, "count");
        if (json == NULL)
                rc = error_set(err, ERR_INVALID, "request:%d: %s", why.line, why.text);
        else if (!json_is_integer(count) || json_integer_value(count) < 0 ||
                 json_integer_value(count) > UINT32_MAX)
                rc = error_set(err, ERR_INVALID, "count: expected a number of tasks");
        else
                *ret = (uint32_t) json_integer_value(count);
        json_decref(json);
        return rc;
}

void api_job_scale(struct server *server, struct http_request *req, const char *name)
{
        struct cluster_event event = { .type = CLUSTER_SCALE, .target = name };
        struct error err;

        if (parse_count(req, &event.count, &err) < 0)
                api_reply_error(server, req, &err);
        else if (api_job_is_there(server, req, name))
                api_command(server, req, &event);
}
