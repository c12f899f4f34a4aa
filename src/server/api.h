/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "base/buffer.h"
#include "model/token.h"
#include "net/http-server.h"
#include "server/server-internal.h"

/* The HTTP API: one table of routes, from which requests are dispatched and docs/http.md is
 * checked. */

struct route {
        const char *method;
        const char *pattern; /* "/v1/jobs/NAME/stop": a segment in capitals stands for one of any
                                name */
        enum role role;      /* the least that is needed; ROLE_NONE: no token of the API */
        void (*handle)(struct server *server, struct http_request *req, const char *name);
        bool waits;          /* takes ?index= and ?wait= */
        const char *takes;   /* column "body or query" of docs/http.md */
        const char *answers; /* column "answer" */
};

/* Ended by an entry without method. */
extern const struct route api_routes[];

/* The route for a request, and in @ret_name (@size bytes; a longer name matches nothing) what
 * stands for its placeholder. NULL if there is none; @ret_allow then gets the methods that the path
 * does have ("GET, POST"), empty if it has none. */
const struct route *api_match(
        const char *method, const char *path, char *ret_name, size_t size, char ret_allow[64]);

/* For http_server_options.on_request; @data is the server. */
void api_on_request(void *data, struct http_request *req);

/* The table of docs/http.md. */
void api_reference(struct buffer *out);

/* docs/metrics.md. */
void api_metrics_reference(struct buffer *out);

/* Answers. All end the request. */

/* A problem document (RFC 9457). */
void api_reply_error(struct server *server, struct http_request *req, const struct error *err);
/* The same with a status of one's own. */
void api_reply_problem(struct server *server, struct http_request *req, int status,
        const char *title, const char *detail);
/* The same with the member `reason`, a word for programs, unless it is NULL. */
void api_reply_reason(struct server *server, struct http_request *req, int status,
        const char *title, const char *reason, const char *detail);
/* What was read from the state, as soon as it may be told. Takes the bytes of @body. */
void api_reply_json(struct server *server, struct http_request *req, struct buffer *body);

/* The same for an array that api_list_add() has put together; empty is fine. */
void api_list_add(struct buffer *body, const struct record_table *table, const void *record);
void api_reply_list(struct server *server, struct http_request *req, struct buffer *body);

/* What is durable already. */
void api_reply_done(struct server *server, struct http_request *req, struct buffer *body);

/* Submits a command and answers {"index"}, of a CLUSTER_REVERT also {"version"}, when it is
 * durable. */
void api_command(
        struct server *server, struct http_request *req, const struct cluster_event *event);

/* Fills @err with "no job "wbe"; did you mean "web"?", of names that the request may see. Return
 * -1. */
int api_no_job(
        struct server *server, const struct http_request *req, const char *name, struct error *err);
int api_no_task(
        struct server *server, const struct http_request *req, const char *id, struct error *err);

/* The task is one that ?node= and ?state= ask for. */
bool api_task_matches(const struct http_request *req, const struct task_status *task);

int api_no_node(struct server *server, const char *name, struct error *err);

/* Who asks, for an event: "user root", "the owner of token 7". Returns @text. */
#define API_WHO_MAX 128
const char *api_who(
        const struct server *server, const struct http_request *req, char text[API_WHO_MAX]);

/* A path under /v1/jobs names a job: "web.0" there is a mistake, not a task. False: the request has
 * been answered. */
bool api_job_is_there(struct server *server, struct http_request *req, const char *name);

/* An event of the server's own, now; its strings are borrowed. The store is not waited for. */
void api_note(struct server *server, struct event *note);
void api_note_task(struct server *server, enum event_kind kind, const struct task_status *task,
        const char *message);

/* A task that has a process, on a node that is connected. */
int api_running_task(struct server *server, const struct http_request *req, const char *id,
        struct task_status *ret, struct error *err);

/* A query parameter as number: *@ret is left alone if it is missing. */
int api_query_int(struct http_request *req, const char *name, int64_t min, int64_t max,
        int64_t *ret, struct error *err);
/* "true", "1" or "" (given without a value) is true; missing is false. */
int api_query_bool(struct http_request *req, const char *name, bool *ret, struct error *err);

/* A duration: *@ret is left alone if it is missing. */
int api_query_span(struct http_request *req, const char *name, usec_t *ret, struct error *err);

/* A point in time: RFC 3339, or how long ago ("10m"). Missing is 0. */
int api_query_time(struct http_request *req, const char *name, usec_t *ret_wall, struct error *err);

/* The body as an object, the caller's; {} if there is none. NULL: @err. */
json_t *api_body_object(struct http_request *req, struct error *err);
/* Members that may be missing or null, which leaves *@ret alone (text: NULL). Texts are borrowed
 * from @object; numbers are from 1. */
int api_body_text(const json_t *object, const char *name, char **ret, struct error *err);
int api_body_number(const json_t *object, const char *name, int64_t *ret, struct error *err);
int api_body_flag(const json_t *object, const char *name, bool *ret, struct error *err);
int api_body_span(const json_t *object, const char *name, usec_t *ret, struct error *err);

/* The jobs of the body. False: there are none that the request may speak of, and that was answered.
 */
struct job_file;
bool api_jobs_read(struct server *server, struct http_request *req, struct job_file *ret);

/* The handlers, one file per noun. */
void api_version(struct server *server, struct http_request *req, const char *name);
void api_schema_job(struct server *server, struct http_request *req, const char *name);
void api_why(struct server *server, struct http_request *req, const char *name);
void api_down(struct server *server, struct http_request *req, const char *name);
void api_upgrade(struct server *server, struct http_request *req, const char *name);
void api_nodes_list(struct server *server, struct http_request *req, const char *name);
void api_node_get(struct server *server, struct http_request *req, const char *name);
void api_node_cordon(struct server *server, struct http_request *req, const char *name);
void api_node_drain(struct server *server, struct http_request *req, const char *name);
void api_tokens_list(struct server *server, struct http_request *req, const char *name);
void api_token_make(struct server *server, struct http_request *req, const char *name);
void api_token_revoke(struct server *server, struct http_request *req, const char *name);
void api_rebalance_plan(struct server *server, struct http_request *req, const char *name);
void api_rebalance(struct server *server, struct http_request *req, const char *name);
void api_node_forget(struct server *server, struct http_request *req, const char *name);
void api_join(struct server *server, struct http_request *req, const char *name);
void api_events(struct server *server, struct http_request *req, const char *name);
void api_link(struct server *server, struct http_request *req, const char *name);

void api_jobs_list(struct server *server, struct http_request *req, const char *name);
void api_jobs_apply(struct server *server, struct http_request *req, const char *name);
void api_plan(struct server *server, struct http_request *req, const char *name);
void api_job_get(struct server *server, struct http_request *req, const char *name);
void api_job_remove(struct server *server, struct http_request *req, const char *name);
void api_job_scale(struct server *server, struct http_request *req, const char *name);
void api_job_logs(struct server *server, struct http_request *req, const char *name);
void api_job_schedule(struct server *server, struct http_request *req, const char *name);
void api_job_stop(struct server *server, struct http_request *req, const char *name);
void api_job_versions(struct server *server, struct http_request *req, const char *name);
void api_job_promote(struct server *server, struct http_request *req, const char *name);
void api_job_revert(struct server *server, struct http_request *req, const char *name);
void api_job_dispatch(struct server *server, struct http_request *req, const char *name);
void api_job_restart(struct server *server, struct http_request *req, const char *name);

void api_snapshot(struct server *server, struct http_request *req, const char *name);
/* After their requests have ended with the HTTP server. */
void api_plans_end(struct server *server); /* answers none that is being made */
void api_snapshots_end(struct server *server);
void api_vitals_end(struct server *server);
void api_metrics_end(struct server *server);

void api_metrics(struct server *server, struct http_request *req, const char *name);
void api_vitals(struct server *server, struct http_request *req, const char *name);
void api_task_vitals(struct server *server, struct http_request *req, const char *name);
void api_node_vitals(struct server *server, struct http_request *req, const char *name);

void api_tasks_list(struct server *server, struct http_request *req, const char *name);
void api_task_get(struct server *server, struct http_request *req, const char *name);
void api_task_dossiers(struct server *server, struct http_request *req, const char *name);
void api_task_logs(struct server *server, struct http_request *req, const char *name);
void api_task_stop(struct server *server, struct http_request *req, const char *name);
void api_task_restart(struct server *server, struct http_request *req, const char *name);
void api_task_signal(struct server *server, struct http_request *req, const char *name);
void api_task_exec(struct server *server, struct http_request *req, const char *name);
