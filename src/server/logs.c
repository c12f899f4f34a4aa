/* SPDX-License-Identifier: BSD-3-Clause */
/* Logs: what tasks wrote, from the agents' files to a client.
 *
 * A request has one or more streams (a task has two, a job two per task); each stream is opened at
 * the task's agent over the link under a number of ours. One stream alone passes byte for byte.
 * Several are cut into lines. To follow, all streams are open at once and lines come as they come.
 * Otherwise up to MERGED_MAX streams are open at once and merged by time: a line is given out when
 * every other stream has shown one that is not earlier. More than that are read one task after the
 * other, so that their number does not matter.
 *
 * Flow: an agent sends what it has credit for, 256 KiB at first. Credit is given back when the
 * bytes were handed to the HTTP server and little is queued there; so a client that reads slowly
 * slows only its own streams, and what waits here is bounded by the credit of the open streams. An
 * agent that sends more ends the request.
 *
 * The link may go at any time. A stream remembers the number of its next byte and is opened again
 * from there when the node's agent is back: the client sees nothing of it. Only a client that has
 * got nothing yet is told (503) when the agent stays away for 5 s and it did not ask to follow.
 *
 * Owned by the server. A request and its streams live until the answer is complete or the client
 * goes; then streams that are still open are closed at the agent. */
#include "server/logs.h"

#include <endian.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "model/pattern-scan.h"
#include "server/api.h"
#include "server/links.h"
#include "server/log-lines.h"
#include "server/log-merge.h"

#define CREDIT       (256 * 1024) /* docs/link.md */
#define CREDIT_STEP  (64 * 1024)  /* less is not worth a message */
#define QUEUE_MARK   (512 * 1024)
#define AWAY_MSEC    5000
#define FOLLOWED_MAX 4000 /* streams in one request */
#define LINES_MAX    1000000
#define MERGED_MAX   128          /* streams; each has CREDIT bytes waiting at most */
#define MERGE_PIECE  (128 * 1024) /* given out in one go */
#define WAITING_FEW  (64 * 1024)  /* of a stream: more can come */

enum { STDOUT, STDERR, STREAMS };
static const char *const stream_names[STREAMS] = { "stdout", "stderr" };

struct stream {
        struct request *request;
        uint32_t number;
        char *task, *node;
        const char *name;
        bool open;    /* at the agent, as far as we know */
        bool started; /* next_offset is known */
        bool ended;
        bool records; /* that is how it was opened */
        uint64_t next_offset;
        size_t owed; /* credit that was not given back yet */
        struct log_lines lines;
        struct log_source waiting; /* when lines are merged by time */
        struct stream *next, *prev;
        UT_hash_handle hh;
};

struct request {
        struct logs *logs;
        struct http_request *req;
        char *job; /* of a request for a whole job, else NULL */
        bool want[STREAMS];
        bool follow, json, prefix, raw, begun;
        bool merge; /* all streams are open at once, and their lines come in the order of time */
        int64_t last_lines, from; /* -1: not asked for */
        int64_t run;              /* 0: all */
        usec_t since, until;      /* 0: not asked for */
        char *grep;               /* NULL: all lines */
        bool timestamps;
        bool query;  /* something is asked for that older agents do not know */
        char **todo; /* tasks not opened yet: from todo_next on */
        size_t todo_len, todo_next;
        size_t placed; /* tasks on nodes when the job was last looked through */
        struct stream *streams;
        uv_timer_t away;
        struct request *next, *prev;
};

struct logs {
        struct server *server;
        struct request *requests;
        struct stream *by_number;
        uint32_t last_number;
};

/* ---- Streams */

static void stream_close(struct stream *s)
{
        char text[64];

        if (!s->open)
                return;
        s->open = false;
        snprintf(text, sizeof text, "{\"type\":\"log-close\",\"stream\":%" PRIu32 "}", s->number);
        links_send(s->request->logs->server->links, s->node, text);
}

static void stream_free(struct stream *s)
{
        HASH_DEL(s->request->logs->by_number, s);
        DL_DELETE(s->request->streams, s);
        buffer_done(&s->lines.partial);
        log_source_done(&s->waiting);
        free(s->task);
        free(s->node);
        free(s);
}

/* A number of its own for each opening: what is still under way for an earlier one is not taken for
 * it. */
static void stream_renumber(struct stream *s)
{
        struct logs *l = s->request->logs;
        struct stream *other;

        HASH_DEL(l->by_number, s);
        do {
                s->number = ++l->last_number & ~LINK_EXEC_STREAMS;
                HASH_FIND(hh, l->by_number, &s->number, sizeof s->number, other);
        } while (other != NULL);
        HASH_ADD(hh, l->by_number, number, sizeof s->number, s);
}

static void put_query(const struct request *r, struct buffer *text)
{
        buffer_puts(text, ",\"records\":true");
        if (r->run > 0)
                buffer_printf(text, ",\"run\":%" PRId64, r->run);
        if (r->since > 0)
                buffer_printf(text, ",\"since\":%" PRIu64, r->since);
        if (r->until > 0)
                buffer_printf(text, ",\"until\":%" PRIu64, r->until);
        if (r->grep != NULL) {
                buffer_puts(text, ",\"grep\":");
                text_put_json_string(text, r->grep);
        }
}

static int check_agent(const struct request *r, const char *node, struct error *err)
{
        struct links *links = r->logs->server->links;

        if (!r->query || !links_is_up(links, node) || links_knows(links, node, LINK_LOG_QUERY))
                return 0;
        return error_set(err, ERR_CONFLICT,
                "the agent of node %s is of an older version, which does not know since, until, "
                "run, "
                "grep and timestamps: upgrade it, or ask without them",
                node);
}

static void write_out(struct request *r, struct buffer *out);

/* When the answer has begun already. */
static void stream_refuse(struct stream *s, const struct error *err)
{
        struct buffer out = { 0 };

        s->ended = s->waiting.ended = true;
        log_lines_problem(&s->lines, err->message, s->request->merge ? &s->waiting.text : &out);
        write_out(s->request, &out);
}

static void stream_open(struct stream *s)
{
        struct request *r = s->request;
        AUTO(buffer_done) struct buffer text = { 0 };
        struct error err;

        if (s->open || s->ended || !links_is_up(r->logs->server->links, s->node))
                return;
        if (check_agent(r, s->node, &err) < 0) {
                stream_refuse(s, &err);
                return;
        }
        stream_renumber(s);
        buffer_printf(&text,
                "{\"type\":\"log-open\",\"stream\":%" PRIu32 ",\"task\":\"%s\",\"name\":\"%s\"",
                s->number, s->task, s->name);
        if (s->started)
                buffer_printf(&text, ",\"from\":%" PRIu64, s->next_offset);
        else if (r->from >= 0)
                buffer_printf(&text, ",\"from\":%" PRId64, r->from);
        else if (r->last_lines >= 0)
                buffer_printf(&text, ",\"last_lines\":%" PRId64, r->last_lines);
        s->records = links_knows(r->logs->server->links, s->node, LINK_LOG_QUERY);
        if (s->records)
                put_query(r, &text);
        buffer_printf(&text, ",\"follow\":%s}", r->follow ? "true" : "false");
        s->owed = 0;
        s->open = links_send(r->logs->server->links, s->node, buffer_str(&text));
}

static void stream_new(struct request *r, const struct task_status *task, int which)
{
        struct stream *s = mem_alloc(sizeof *s);

        s->request = r;
        s->task = mem_strdup(task->id);
        s->node = mem_strdup(task->node);
        s->name = stream_names[which];
        s->lines = (struct log_lines){ .task = s->task,
                .stream = s->name,
                .prefix = r->prefix,
                .json = r->json,
                .timestamps = r->timestamps,
                .marks = r->merge ? &s->waiting.marks : NULL };
        s->number = ++r->logs->last_number & ~LINK_EXEC_STREAMS;
        DL_APPEND(r->streams, s);
        HASH_ADD(hh, r->logs->by_number, number, sizeof s->number, s);
        stream_open(s);
}

static void give_credit(struct stream *s)
{
        char text[96];

        if (!s->open || s->owed < CREDIT_STEP || log_source_len(&s->waiting) > WAITING_FEW ||
                http_request_queued(s->request->req) > QUEUE_MARK)
                return;
        snprintf(text, sizeof text, "{\"type\":\"log-more\",\"stream\":%" PRIu32 ",\"bytes\":%zu}",
                s->number, s->owed);
        s->owed = 0;
        links_send(s->request->logs->server->links, s->node, text);
}

/* ---- Requests */

static void on_timer_closed(uv_handle_t *handle)
{
        free(handle->data);
}

static void request_free(void *data)
{
        struct request *r = data;
        struct stream *s, *next;

        DL_FOREACH_SAFE (r->streams, s, next) {
                stream_close(s);
                stream_free(s);
        }
        for (size_t i = r->todo_next; i < r->todo_len; i++)
                free(r->todo[i]);
        free(r->todo);
        free(r->job);
        free(r->grep);
        DL_DELETE(r->logs->requests, r);
        uv_close((uv_handle_t *) &r->away, on_timer_closed);
}

static void begin(struct request *r)
{
        if (r->begun)
                return;
        r->begun = true;
        uv_timer_stop(&r->away);
        http_request_set_header(r->req, "Cache-Control", "no-store");
        http_request_begin(
                r->req, 200, r->json ? "application/x-ndjson" : "text/plain; charset=utf-8");
}

static void write_out(struct request *r, struct buffer *out)
{
        if (out->len > 0) {
                begin(r);
                http_request_write(r->req, out->data, out->len);
        }
        buffer_done(out);
}

static void finish(struct request *r)
{
        begin(r);
        http_request_finish(r->req);
        request_free(r);
}

static void fail(struct request *r, const struct error *err)
{
        if (r->begun) {
                finish(r);
                return;
        }
        api_reply_error(r->logs->server, r->req, err);
        request_free(r);
}

static void on_away(uv_timer_t *timer)
{
        struct request *r = timer->data;
        struct error err;

        error_set(&err, ERR_UNAVAILABLE, "node %s, which has the logs of %s, is not connected",
                r->streams->node, r->streams->task);
        fail(r, &err);
}

static void watch_away(struct request *r)
{
        struct stream *s;

        DL_FOREACH (r->streams, s)
                if (!s->open && !s->ended && !r->begun && !r->follow &&
                        !uv_is_active((uv_handle_t *) &r->away))
                        uv_timer_start(&r->away, on_away, AWAY_MSEC, 0);
}

/* A task that is not there, or was never given to a node, has no logs. */
static void open_task(struct request *r, const char *id)
{
        struct task_status task;

        if (!cluster_get_task(state_cluster(r->logs->server->state), id, &task) ||
                task.node == NULL)
                return;
        for (int i = 0; i < STREAMS; i++)
                if (r->want[i])
                        stream_new(r, &task, i);
}

/* What has ended and was given out is not waited for. Of a job that is followed ended ones stay:
 * logs_end(). */
static void drop_ended_streams(struct request *r)
{
        struct stream *s, *next;

        DL_FOREACH_SAFE (r->streams, s, next)
                if (s->ended && log_source_len(&s->waiting) == 0 && !(r->follow && r->job != NULL))
                        stream_free(s);
}

/* Gives out the lines whose turn has come, as long as the client takes them. */
static void give_merged(struct request *r)
{
        struct log_source *sources[MERGED_MAX];
        size_t count = 0;
        struct stream *s;
        bool more = true;

        DL_FOREACH (r->streams, s)
                if (count < MERGED_MAX)
                        sources[count++] = &s->waiting;
        while (more && http_request_queued(r->req) <= QUEUE_MARK) {
                struct buffer out = { 0 };

                more = log_merge(sources, count, MERGE_PIECE, &out);
                write_out(r, &out);
        }
        DL_FOREACH (r->streams, s)
                give_credit(s);
}

/* Opens what comes next; the answer is complete when there is nothing. */
static void advance(struct request *r)
{
        drop_ended_streams(r);
        while (r->todo_next < r->todo_len && (r->follow || r->merge || r->streams == NULL)) {
                AUTO(mem_freep) char *id = r->todo[r->todo_next++];

                open_task(r, id);
                drop_ended_streams(r);
        }
        if (r->todo_next == r->todo_len)
                r->todo_len = r->todo_next = 0;
        if (r->merge) {
                give_merged(r);
                drop_ended_streams(r);
        }
        if (r->streams == NULL && !(r->follow && r->job != NULL))
                finish(r);
        else
                watch_away(r);
}

/* ---- From the link */

static struct stream *stream_of(struct logs *l, const char *node, uint32_t number)
{
        struct stream *s;

        HASH_FIND(hh, l->by_number, &number, sizeof number, s);
        return s != NULL && s->open && strcmp(s->node, node) == 0 ? s : NULL;
}

/* A stream that comes byte for byte has no word for a gap. */
static void take_gap(
        struct stream *s, uint64_t offset, enum log_gap why, uint64_t missing, struct buffer *out)
{
        s->started = true;
        s->next_offset = offset;
        if (!s->request->raw)
                log_lines_gap(&s->lines, offset, why, missing, out);
}

static int take_bytes(struct stream *s, uint64_t offset, struct log_origin origin,
        const char *bytes, size_t len, struct buffer *out)
{
        if (len == 0) {
                take_gap(s, offset, LOG_GAP_UNKNOWN, 0, out);
                return 0;
        }
        s->started = true;
        s->next_offset = offset + len;
        if (s->request->raw)
                buffer_put(out, bytes, len);
        else
                log_lines_put(&s->lines, offset, origin, bytes, len, out);
        return 0;
}

struct record { /* docs/link.md; big-endian */
        uint32_t type, run;
        uint64_t offset, wall, size;
};
enum { RECORD_BYTES, RECORD_ROTATED, RECORD_DROPPED, RECORD_PLACE };

static struct record read_record(const char *bytes)
{
        struct record r;

        memcpy(&r, bytes, sizeof r);
        return (struct record){ be32toh(r.type), be32toh(r.run), be64toh(r.offset), be64toh(r.wall),
                be64toh(r.size) };
}

static int take_records(
        struct stream *s, const char *bytes, size_t len, struct buffer *out, struct error *err)
{
        while (len > 0) {
                struct record r = { .type = UINT32_MAX };

                if (len >= sizeof r)
                        r = read_record(bytes);
                if (r.type > RECORD_PLACE ||
                        (r.type == RECORD_BYTES && (r.size == 0 || r.size > len - sizeof r)))
                        return error_set(err, ERR_INVALID,
                                "node %s sends something else than the logs of %s", s->node,
                                s->task);
                bytes += sizeof r;
                len -= sizeof r;
                if (r.type == RECORD_BYTES) {
                        take_bytes(s, r.offset, (struct log_origin){ r.wall, r.run }, bytes,
                                (size_t) r.size, out);
                        bytes += r.size;
                        len -= (size_t) r.size;
                } else if (r.type == RECORD_PLACE) {
                        s->started = true;
                        s->next_offset = r.offset;
                } else {
                        take_gap(s, r.offset,
                                r.type == RECORD_DROPPED ? LOG_GAP_DROPPED : LOG_GAP_ROTATED,
                                r.size, out);
                }
        }
        return 0;
}

void logs_data(struct logs *l, const char *node, uint32_t stream, uint64_t offset,
        const char *bytes, size_t len)
{
        struct stream *s = stream_of(l, node, stream);
        struct buffer out = { 0 }, *to;
        struct request *r;
        struct error err;

        if (s == NULL)
                return;
        r = s->request;
        if (s->owed + len > CREDIT) {
                error_set(&err, ERR_INVALID,
                        "node %s sends more of the logs of %s than was asked for", node, s->task);
                log_warning("%s", err.message);
                fail(r, &err);
                return;
        }
        s->owed += len;
        to = r->merge ? &s->waiting.text : &out;
        if ((s->records ? take_records(s, bytes, len, to, &err)
                        : take_bytes(s, offset, (struct log_origin){ 0 }, bytes, len, to)) < 0) {
                log_warning("%s", err.message);
                buffer_done(&out);
                fail(r, &err);
                return;
        }
        write_out(r, &out);
        if (r->merge)
                advance(r);
        else
                give_credit(s);
}

static void on_drain(void *data)
{
        struct request *r = data;
        struct stream *s;

        if (r->merge) {
                advance(r);
                return;
        }
        DL_FOREACH (r->streams, s)
                give_credit(s);
}

void logs_end(struct logs *l, const char *node, uint32_t stream, const struct error *err)
{
        struct stream *s = stream_of(l, node, stream);
        struct buffer out = { 0 };
        struct request *r;

        if (s == NULL)
                return;
        r = s->request;
        s->open = false;
        s->ended = s->waiting.ended = true;
        log_lines_finish(&s->lines, r->merge ? &s->waiting.text : &out);
        write_out(r, &out);
        /* A task that has not begun, or whose logs are cleaned up, has written nothing that is
         * there. */
        if (err != NULL && err->code != ERR_NOT_FOUND) {
                fail(r, err);
                return;
        }
        if (r->follow && r->job != NULL)
                return; /* stays, so that it is not opened again while the task is there */
        if (r->merge) {
                advance(r);
                return;
        }
        stream_free(s);
        if (r->follow && r->streams == NULL)
                finish(r);
        else if (!r->follow)
                advance(r);
}

void logs_node_up(struct logs *l, const char *node)
{
        struct request *r, *next;
        struct stream *s;

        DL_FOREACH_SAFE (l->requests, r, next) {
                DL_FOREACH (r->streams, s)
                        if (strcmp(s->node, node) == 0)
                                stream_open(s);
                uv_timer_stop(&r->away);
                advance(r);
        }
}

void logs_node_down(struct logs *l, const char *node)
{
        struct request *r;
        struct stream *s;

        DL_FOREACH (l->requests, r) {
                DL_FOREACH (r->streams, s)
                        if (strcmp(s->node, node) == 0)
                                s->open = false;
                watch_away(r);
        }
}

/* ---- Following a job */

static void list_task(void *data, const struct task_status *task)
{
        struct request *r = data;
        size_t streams = 0;
        struct stream *s;

        if (task->node == NULL)
                return;
        DL_FOREACH (r->streams, s) {
                if (strcmp(s->task, task->id) == 0)
                        return;
                streams++;
        }
        if (r->follow && streams + r->todo_len * STREAMS >= FOLLOWED_MAX)
                return;
        r->todo = mem_resize(r->todo, r->todo_len + 1, sizeof *r->todo);
        r->todo[r->todo_len++] = mem_strdup(task->id);
}

static void drop_ended(struct request *r)
{
        struct stream *s, *next;
        struct task_status task;

        DL_FOREACH_SAFE (r->streams, s, next)
                if (s->ended &&
                        !cluster_get_task(state_cluster(r->logs->server->state), s->task, &task))
                        stream_free(s);
}

static void count_placed(void *data, const struct task_status *task)
{
        *(size_t *) data += task->node != NULL;
}

void logs_changed(struct logs *l)
{
        struct request *r, *next;
        size_t placed;

        DL_FOREACH_SAFE (l->requests, r, next) {
                if (!r->follow || r->job == NULL)
                        continue;
                placed = 0;
                cluster_each_task(state_cluster(l->server->state), r->job, count_placed, &placed);
                if (placed == r->placed)
                        continue;
                r->placed = placed;
                drop_ended(r);
                cluster_each_task(state_cluster(l->server->state), r->job, list_task, r);
                advance(r);
        }
}

/* ---- The routes */

static int read_streams(struct request *r, struct error *err)
{
        const char *which = http_request_query(r->req, "stream");

        if (which == NULL || strcmp(which, "both") == 0)
                r->want[STDOUT] = r->want[STDERR] = true;
        else if (strcmp(which, "stdout") == 0)
                r->want[STDOUT] = true;
        else if (strcmp(which, "stderr") == 0)
                r->want[STDERR] = true;
        else
                return error_set(err, ERR_INVALID,
                        "stream: expected stdout, stderr or both, got \"%s\"", which);
        return 0;
}

static int check_query(const struct request *r, struct error *err)
{
        struct pattern_scan *scan;

        if (r->follow && r->until != 0)
                return error_set(err, ERR_INVALID, "until: what is followed has no end");
        if (r->until != 0 && r->since >= r->until)
                return error_set(err, ERR_INVALID, "until: expected a time after that of since");
        if (r->grep == NULL)
                return 0;
        if (pattern_scan_new(r->grep, &scan, err) < 0)
                return error_wrap(err, "grep");
        pattern_scan_free(scan);
        return 0;
}

/* What older agents do not know. */
static int read_new_query(struct request *r, struct error *err)
{
        r->grep = mem_strdup(http_request_query(r->req, "grep"));
        if (api_query_time(r->req, "since", &r->since, err) < 0 ||
                api_query_time(r->req, "until", &r->until, err) < 0 ||
                api_query_int(r->req, "run", 1, UINT32_MAX, &r->run, err) < 0 ||
                api_query_bool(r->req, "timestamps", &r->timestamps, err) < 0)
                return -1;
        r->query =
                r->grep != NULL || r->since != 0 || r->until != 0 || r->run != 0 || r->timestamps;
        return check_query(r, err);
}

static int read_query(struct request *r, struct error *err)
{
        const char *format = http_request_query(r->req, "format");
        bool one;

        r->last_lines = r->from = -1;
        if (read_streams(r, err) < 0 ||
                api_query_int(r->req, "lines", 0, LINES_MAX, &r->last_lines, err) < 0 ||
                api_query_int(r->req, "from", 0, INT64_MAX, &r->from, err) < 0 ||
                api_query_bool(r->req, "follow", &r->follow, err) < 0 || read_new_query(r, err) < 0)
                return -1;
        if (format != NULL && strcmp(format, "json") != 0 && strcmp(format, "text") != 0)
                return error_set(
                        err, ERR_INVALID, "format: expected text or json, got \"%s\"", format);
        r->json = format != NULL && strcmp(format, "json") == 0;
        one = r->want[STDOUT] != r->want[STDERR] && r->job == NULL;
        if (r->from >= 0 && (!one || r->last_lines >= 0))
                return error_set(err, ERR_INVALID,
                        "from: only for one stream of one task, and without lines");
        r->raw = one && !r->json && !r->timestamps;
        return 0;
}

static struct request *request_new(struct server *server, struct http_request *req, const char *job)
{
        struct request *r = mem_alloc(sizeof *r);

        r->logs = server->logs;
        r->req = req;
        r->job = mem_strdup(job);
        r->away.data = r;
        uv_timer_init(server->loop, &r->away);
        DL_APPEND(server->logs->requests, r);
        return r;
}

/* Before anything is sent. */
static int check_agents(const struct request *r, struct error *err)
{
        struct task_status task;

        for (size_t i = 0; i < r->todo_len; i++)
                if (cluster_get_task(state_cluster(r->logs->server->state), r->todo[i], &task) &&
                        task.node != NULL && check_agent(r, task.node, err) < 0)
                        return -1;
        return 0;
}

static void request_run(struct request *r, size_t tasks)
{
        struct error err;

        if (check_agents(r, &err) < 0) {
                fail(r, &err);
                return;
        }

        r->prefix = tasks > 1 || (r->job != NULL && r->follow);
        r->merge = !r->follow && !r->raw &&
                   r->todo_len * (size_t) (r->want[STDOUT] + r->want[STDERR]) <= MERGED_MAX;
        if (r->follow && tasks * 2 > FOLLOWED_MAX) {
                error_set(&err, ERR_TOO_LARGE,
                        "job %s has %zu tasks: at most %d can be followed at once", r->job, tasks,
                        FOLLOWED_MAX / 2);
                fail(r, &err);
                return;
        }
        http_request_on_close(r->req, request_free, r);
        http_request_on_drain(r->req, on_drain, r);
        if (r->follow)
                begin(r);
        advance(r);
}

void api_task_logs(struct server *server, struct http_request *req, const char *name)
{
        struct request *r = request_new(server, req, NULL);
        struct task_status task;
        struct error err;

        if (read_query(r, &err) < 0 ||
                (!cluster_get_task(state_cluster(server->state), name, &task) &&
                        api_no_task(server, req, name, &err) < 0)) {
                fail(r, &err);
                return;
        }
        if (task.node == NULL && r->follow) {
                error_set(&err, ERR_UNAVAILABLE, "task %s is not on a node yet", name);
                fail(r, &err);
                return;
        }
        r->todo = mem_resize(NULL, 1, sizeof *r->todo);
        r->todo[r->todo_len++] = mem_strdup(name);
        request_run(r, 1);
}

static void count_task(void *data, const struct task_status *task)
{
        (void) task;
        ++*(size_t *) data;
}

void api_job_logs(struct server *server, struct http_request *req, const char *name)
{
        struct request *r = request_new(server, req, name);
        struct job_status job;
        struct error err;
        size_t tasks = 0;

        if (read_query(r, &err) < 0 ||
                (!cluster_get_job(state_cluster(server->state), name, &job) &&
                        api_no_job(server, req, name, &err) < 0)) {
                fail(r, &err);
                return;
        }
        cluster_each_task(state_cluster(server->state), name, count_task, &tasks);
        cluster_each_task(state_cluster(server->state), name, list_task, r);
        request_run(r, tasks);
}

/* ---- Life */

struct logs *logs_new(struct server *server)
{
        struct logs *l = mem_alloc(sizeof *l);

        l->server = server;
        return l;
}

void logs_free(struct logs *l)
{
        struct request *r, *next;

        if (l == NULL)
                return;
        DL_FOREACH_SAFE (l->requests, r, next)
                request_free(r);
        free(l);
}
