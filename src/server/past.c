/* SPDX-License-Identifier: BSD-3-Clause */
/* Past: answers with what was so at a time (?at=), by core/history from all events that are kept.
 *
 * There may be a hundred thousand of them, and while they are read the links want to be heard: so
 * they are read a page per loop turn. What happens meanwhile are events too, and read like the
 * rest: the answer is made when there is none left, in the same turn. A request belongs to its
 * peer, which may go away at any time, and the reading with it. */
#include "server/past.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/history.h"
#include "server/api.h"
#include "server/auth.h"
#include "server/events.h"

#define PAGE_ROWS 1024
#define TURN_MSEC 1 /* with 0 libuv would go on in the same turn */

struct past {
        struct server *server;
        struct http_request *req;
        enum past_subject subject;
        char *name;
        usec_t at;
        uint64_t next_event;
        struct history *history;
        uv_timer_t timer;
};

static void on_timer_closed(uv_handle_t *handle)
{
        struct past *p = handle->data;

        history_free(p->history);
        free(p->name);
        free(p);
}

static void past_free(void *data)
{
        struct past *p = data;

        uv_close((uv_handle_t *) &p->timer, on_timer_closed);
}

/* ---- Answers */

struct list {
        struct buffer body;
        const char *jobs; /* of these, as in a token; NULL: of all */
        struct http_request *req;
};

static void list_job(void *data, const struct job_status *job)
{
        struct list *list = data;

        if (token_jobs_cover(list->jobs, job->name))
                api_list_add(&list->body, &job_table, job);
}

static void list_task(void *data, const struct task_status *task)
{
        struct list *list = data;

        if (token_jobs_cover(list->jobs, task->job) && api_task_matches(list->req, task))
                api_list_add(&list->body, &task_table, task);
}

static void list_node(void *data, const struct node_status *node)
{
        api_list_add(&((struct list *) data)->body, &node_table, node);
}

static int not_there(const struct past *p, const char *noun, struct error *err)
{
        char time[TIME_TEXT_MAX];

        return error_set(err, ERR_NOT_FOUND, "there was no %s \"%s\" at %s", noun, p->name,
                time_format_wall(time, p->at));
}

static int put_job(const struct past *p, struct buffer *body, struct error *err)
{
        const struct job_spec *spec =
                history_get_spec(p->history, state_cluster(p->server->state), p->name);
        struct job_status job;
        json_t *json;
        char *text;

        if (!history_get_job(p->history, p->name, &job))
                return not_there(p, "job", err);
        record_write(&job_table, &job, body);
        body->len--; /* the closing brace */
        json = spec == NULL ? json_null() : job_spec_to_json(spec);
        text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
        buffer_printf(body, ",\"spec\":%s}", text);
        free(text);
        json_decref(json);
        return 0;
}

static int put_task(const struct past *p, struct buffer *body, struct error *err)
{
        struct task_status task;

        if (!history_get_task(p->history, p->name, &task))
                return not_there(p, "task", err);
        record_write(&task_table, &task, body);
        return 0;
}

static int put_tasks(const struct past *p, struct list *list, struct error *err)
{
        struct job_status job;

        if (p->name != NULL && !history_get_job(p->history, p->name, &job))
                return not_there(p, "job", err);
        history_each_task(p->history, p->name, list_task, list);
        return 0;
}

static int put_answer(const struct past *p, struct list *list, struct error *err)
{
        switch (p->subject) {
        case PAST_JOB:
                return put_job(p, &list->body, err);
        case PAST_TASK:
                return put_task(p, &list->body, err);
        case PAST_JOBS:
                history_each_job(p->history, list_job, list);
                break;
        case PAST_TASKS:
                if (put_tasks(p, list, err) < 0)
                        return -1;
                break;
        case PAST_NODES:
                history_each_node(p->history, list_node, list);
                break;
        }
        buffer_puts(&list->body, list->body.len == 0 ? "[]" : "]");
        return 0;
}

/* Of a time before the oldest event nothing is known. */
static int check_begin(const struct past *p, struct error *err)
{
        usec_t begin = history_begin(p->history);
        char time[TIME_TEXT_MAX];

        if (p->at >= begin)
                return 0;
        if (begin == USEC_NEVER)
                return error_set(err, ERR_NOT_FOUND, "at: nothing is known of the past: no events");
        return error_set(err, ERR_NOT_FOUND,
                "at: the past is known from %s on, where the oldest event that is kept is from "
                "(--keep-events, --keep-events-for)",
                time_format_wall(time, begin));
}

static void answer(struct past *p)
{
        struct grant grant = auth_grant(p->server, p->req);
        struct list list = { .jobs = grant.jobs, .req = p->req };
        struct error err;
        int rc;

        if (grant.role == ROLE_NONE)
                rc = error_set(&err, ERR_DENIED, "the token is not good any more");
        else
                rc = check_begin(p, &err);
        if (rc == 0) {
                history_end(p->history, state_cluster(p->server->state));
                rc = put_answer(p, &list, &err);
        }
        if (rc == 0)
                api_reply_done(p->server, p->req, &list.body);
        else
                api_reply_error(p->server, p->req, &err);
        buffer_done(&list.body);
}

/* ---- Reading */

static bool add_event(void *data, struct event *event, const char *json, size_t len)
{
        (void) json;
        (void) len;
        history_add(data, event);
        return true;
}

static void end_reading(struct past *p, const struct error *err)
{
        http_request_on_close(p->req, NULL, NULL);
        if (err == NULL)
                answer(p);
        else
                api_reply_error(p->server, p->req, err);
        past_free(p);
}

static void on_turn(uv_timer_t *timer)
{
        struct past *p = timer->data;
        struct events_query query = { .first = p->next_event, .rows = PAGE_ROWS };
        struct error err;

        if (p->server->state == NULL) /* the server ends, and the request with it */
                return;
        query.last = state_durable_event(p->server->state);
        if (events_read(p->server->store, &query, add_event, p->history, &err) < 0) {
                end_reading(p, &err);
                return;
        }
        p->next_event = query.next;
        if (p->next_event > query.last)
                end_reading(p, NULL);
        else
                uv_timer_start(&p->timer, on_turn, TURN_MSEC, 0);
}

static void begin_reading(struct server *server, struct http_request *req,
        enum past_subject subject, const char *name, usec_t at)
{
        struct past *p = mem_alloc(sizeof *p);
        uint64_t last = state_durable_event(server->state);

        p->server = server;
        p->req = req;
        p->subject = subject;
        p->name = name == NULL ? NULL : mem_strdup(name);
        p->at = at;
        p->next_event = last + 1 - MIN(last, state_events_stored(server->state));
        p->history = history_new(at);
        p->timer.data = p;
        uv_timer_init(server->loop, &p->timer);
        uv_timer_start(&p->timer, on_turn, 0, 0);
        http_request_on_close(req, past_free, p);
}

bool past_answers(struct server *server, struct http_request *req, enum past_subject subject,
        const char *name)
{
        usec_t at, now = time_wall();
        struct error err;

        if (http_request_query(req, "at") == NULL)
                return false;
        if (api_query_time(req, "at", &at, &err) < 0)
                api_reply_error(server, req, &err);
        else if (at > now)
                api_reply_problem(server, req, 400, error_code_name(ERR_INVALID),
                        "at: that time is still to come");
        else
                begin_reading(server, req, subject, name, at);
        return true;
}
