/* SPDX-License-Identifier: BSD-3-Clause */
/* The whole server, as a process of its own, from outside: over HTTP, as an agent over the link,
 * and through a directory of job files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "net/http-client.h"
#include "net/websocket.h"
#include "server/server.h"
#include "server/test-loop.h"

struct fixture {
        char dir[64];
        struct address address;
        pid_t pid;
        uv_loop_t loop; /* for what has to go on beside the test */
};

static char *path_in(struct fixture *f, const char *name)
{
        return mem_printf("%s/%s", f->dir, name);
}

static void run_server(struct fixture *f)
{
        char *jobs = path_in(f, "jobs"), *data = path_in(f, "data");
        char *argv[] = { (char[]){ "server" }, (char[]){ "--data" }, data, (char[]){ "--socket" },
                f->address.path, (char[]){ "--node" }, (char[]){ "n1" }, (char[]){ "--jobs" }, jobs,
                NULL };
        int status = server_main((int) ARRAY_SIZE(argv) - 1, argv);

        free(jobs);
        free(data);
        exit(status);
}

static int fetch(struct fixture *f, const char *method, const char *path, const char *body,
        struct buffer *ret)
{
        struct error err;
        int status;

        buffer_reset(ret);
        return http_fetch(&f->address, method, path, NULL, body, body == NULL ? 0 : strlen(body),
                       PATIENCE, &status, ret, &err) < 0
                       ? -1
                       : status;
}

/* What a GET answers; the caller's. */
static json_t *get(struct fixture *f, const char *path)
{
        AUTO(buffer_done) struct buffer body = { 0 };
        json_t *json;

        assert_int_equal(fetch(f, "GET", path, NULL, &body), 200);
        json = json_loadb(body.data, body.len, 0, NULL);
        assert_non_null(json);
        return json;
}

static size_t count(struct fixture *f, const char *path)
{
        json_t *json = get(f, path);
        size_t len = json_array_size(json);

        json_decref(json);
        return len;
}

static bool has_job(struct fixture *f, const char *name)
{
        AUTO(mem_freep) char *path = mem_printf("/v1/jobs/%s", name);
        AUTO(buffer_done) struct buffer body = { 0 };

        return fetch(f, "GET", path, NULL, &body) == 200;
}

#define WAIT_UNTIL(condition)                                                                      \
        do {                                                                                       \
                usec_t end_ = time_mono() + PATIENCE;                                              \
                while (!(condition) && time_mono() < end_)                                         \
                        usleep(10000);                                                             \
                assert_true(condition);                                                            \
        } while (0)

static void write_file(struct fixture *f, const char *name, const char *text)
{
        AUTO(mem_freep) char *path = path_in(f, name);
        struct error err;

        assert_int_equal(file_replace(path, text, strlen(text), 0600, false, &err), 0);
}

static void make_directory(struct fixture *f, const char *name)
{
        AUTO(mem_freep) char *path = path_in(f, name);

        assert_int_equal(mkdir(path, 0700), 0);
}

static int set_up(void **state)
{
        struct fixture *f = mem_alloc(sizeof *f);
        AUTO(buffer_done) struct buffer body = { 0 };

        strcpy(f->dir, "/tmp/reeve-test-server-XXXXXX");
        assert_non_null(mkdtemp(f->dir));
        f->address.is_unix = true;
        snprintf(f->address.path, sizeof f->address.path, "%s/s", f->dir);
        uv_loop_init(&f->loop);
        f->pid = fork();
        if (f->pid == 0)
                run_server(f);
        WAIT_UNTIL(fetch(f, "GET", "/v1/version", NULL, &body) == 200);
        *state = f;
        return 0;
}

/* With sanitizers the exit status tells of leaks, too. */
static int tear_down(void **state)
{
        struct fixture *f = *state;
        struct error err;
        int status;

        kill(f->pid, SIGTERM);
        assert_int_equal(waitpid(f->pid, &status, 0), f->pid);
        assert_int_equal(status, 0);
        uv_run(&f->loop, UV_RUN_DEFAULT);
        assert_int_equal(uv_loop_close(&f->loop), 0);
        assert_int_equal(file_remove_tree(f->dir, &err), 0);
        free(f);
        return 0;
}

/* ---- Job files */

#define JOB(name) "{\"jobs\": {\"" name "\": {\"command\": [\"true\"], \"count\": 0}}}"

/* --jobs names a directory that is made later; what is put into it after that counts, too. */
static void test_late_directory(void **state)
{
        struct fixture *f = *state;
        AUTO(mem_freep) char *path = NULL;

        make_directory(f, "jobs");
        write_file(f, "jobs/a.json", JOB("a"));
        WAIT_UNTIL(has_job(f, "a"));
        write_file(f, "jobs/b.json", JOB("b"));
        WAIT_UNTIL(has_job(f, "b"));
        path = path_in(f, "jobs/a.json");
        unlink(path);
        WAIT_UNTIL(!has_job(f, "a"));
        assert_true(has_job(f, "b"));
}

static size_t refusals(struct fixture *f)
{
        json_t *events = get(f, "/v1/events"), *event;
        size_t i, n = 0;

        json_array_foreach (events, i, event)
                n += strcmp(json_string_value(json_object_get(event, "kind")), "job-refused") == 0;
        json_decref(events);
        return n;
}

/* A job that somebody else has: told once, however often it is looked at, and taken when it is let
 * go. */
static void test_contested_job(void **state)
{
        struct fixture *f = *state;
        AUTO(buffer_done) struct buffer body = { 0 };

        assert_int_equal(fetch(f, "POST", "/v1/jobs", JOB("a"), &body), 200);
        make_directory(f, "jobs");
        write_file(f, "jobs/a.json", JOB("a"));
        WAIT_UNTIL(refusals(f) == 1);
        write_file(f, "jobs/b.json", JOB("b"));
        WAIT_UNTIL(has_job(f, "b"));
        write_file(f, "jobs/c.json", JOB("c"));
        WAIT_UNTIL(has_job(f, "c"));
        assert_int_equal(refusals(f), 1);
        assert_int_equal(fetch(f, "DELETE", "/v1/jobs/a", NULL, &body), 200);
        WAIT_UNTIL(has_job(f, "a"));
        assert_int_equal(refusals(f), 1);
}

/* A FIFO among the job files would be waited for without end. */
static void test_fifo_among_files(void **state)
{
        struct fixture *f = *state;
        AUTO(mem_freep) char *fifo = path_in(f, "jobs/fifo.yaml");

        make_directory(f, "jobs");
        assert_int_equal(mkfifo(fifo, 0600), 0);
        write_file(f, "jobs/a.json", JOB("a"));
        WAIT_UNTIL(has_job(f, "a"));
        assert_int_equal(refusals(f), 1);
}

/* Files that have nothing to do with it change all the time beside the job files. */
static void test_restless_directory(void **state)
{
        struct fixture *f = *state;
        usec_t end = time_mono() + PATIENCE;

        make_directory(f, "jobs");
        write_file(f, "jobs/a.json", JOB("a"));
        WAIT_UNTIL(has_job(f, "a"));
        write_file(f, "jobs/b.json", JOB("b"));
        while (!has_job(f, "b") && time_mono() < end) {
                write_file(f, "jobs/log", "x");
                usleep(10000);
        }
        assert_true(has_job(f, "b"));
}

/* ---- As an agent */

struct agent {
        struct fixture *fixture;
        struct websocket *ws;
        bool open, closed;
        size_t welcomes, specs, assigns;
        uint64_t acked;
        uint64_t stored; /* notes, by the welcome */
        size_t opens;    /* of logs; the last one: */
        uint32_t stream;
        int64_t from;   /* -1: not said */
        int64_t credit; /* given back */
};

static void on_open(void *data)
{
        ((struct agent *) data)->open = true;
}

static void on_message(void *data, bool text, const void *bytes, size_t len)
{
        struct agent *a = data;
        json_t *json = json_loadb(bytes, len, 0, NULL);
        const char *type = json_string_value(json_object_get(json, "type"));

        assert_true(text);
        if (strcmp(type, "welcome") == 0) {
                a->welcomes++;
                a->stored = (uint64_t) json_integer_value(json_object_get(json, "note_seq"));
        }
        if (strcmp(type, "specs") == 0)
                a->specs++;
        if (strcmp(type, "assign") == 0)
                a->assigns++;
        if (strcmp(type, "note-ack") == 0)
                a->acked = (uint64_t) json_integer_value(json_object_get(json, "seq"));
        if (strcmp(type, "log-more") == 0)
                a->credit += json_integer_value(json_object_get(json, "bytes"));
        if (strcmp(type, "log-open") == 0) {
                const json_t *from = json_object_get(json, "from");

                a->opens++;
                a->stream = (uint32_t) json_integer_value(json_object_get(json, "stream"));
                a->from = from == NULL ? -1 : json_integer_value(from);
        }
        json_decref(json);
}

static void on_close(void *data, const char *reason)
{
        (void) reason;
        ((struct agent *) data)->closed = true;
}

static void say(struct agent *a, const char *text)
{
        websocket_send(a->ws, true, text, strlen(text));
}

static void agent_connect(struct fixture *f, struct agent *a)
{
        static const struct websocket_handlers handlers = {
                .on_open = on_open, .on_message = on_message, .on_close = on_close
        };
        struct error err;

        *a = (struct agent){ .fixture = f };
        assert_int_equal(websocket_connect(&f->loop, &f->address, "/v1/link", NULL, &handlers, a,
                                 &a->ws, &err),
                0);
        RUN_UNTIL(f, a->open);
}

/* @notes: so many have been made there. */
static void agent_hello_with(struct agent *a, unsigned notes)
{
        AUTO(mem_freep)
        char *text = mem_printf("{\"type\":\"hello\",\"protocol\":1,\"node\":{\"name\":\"n1\"},"
                                "\"note_seq\":%u,\"tasks\":[]}",
                notes);

        say(a, text);
        RUN_UNTIL(a->fixture, a->welcomes == 1 && a->assigns == 1);
}

static void agent_hello(struct agent *a)
{
        agent_hello_with(a, 0);
}

static void agent_end(struct agent *a)
{
        websocket_close(a->ws, 1000, NULL);
        uv_run(&a->fixture->loop, UV_RUN_NOWAIT);
}

static bool state_is(struct fixture *f, const char *job, const char *state)
{
        AUTO(mem_freep) char *path = mem_printf("/v1/jobs/%s", job);
        json_t *json = get(f, path);
        bool is = strcmp(json_string_value(json_object_get(json, "state")), state) == 0;

        json_decref(json);
        return is;
}

static void scale(struct fixture *f, const char *to)
{
        AUTO(buffer_done) struct buffer body = { 0 };

        assert_int_equal(fetch(f, "POST", "/v1/jobs/web/scale", to, &body), 200);
}

/* The agent forgets a spec with the last task that uses it: the next assign brings it again. */
static void test_spec_comes_again(void **state)
{
        struct fixture *f = *state;
        AUTO(buffer_done) struct buffer body = { 0 };
        struct agent a;
        size_t assigns;

        agent_connect(f, &a);
        agent_hello(&a);
        assert_int_equal(
                fetch(f, "POST", "/v1/jobs",
                        "{\"jobs\": {\"web\": {\"command\": [\"x\"], \"count\": 2}}}", &body),
                200);
        RUN_UNTIL(f, a.assigns == 2);
        assert_int_equal(a.specs, 1); /* one for both tasks */
        scale(f, "{\"count\": 3}");
        RUN_UNTIL(f, a.assigns == 3);
        assert_int_equal(a.specs, 2);
        assigns = a.assigns;
        assert_int_equal(fetch(f, "DELETE", "/v1/jobs/web", NULL, &body), 200);
        RUN_UNTIL(f, a.assigns > assigns);
        agent_end(&a);
}

/* All or none, also when one of the jobs is a file's and just stops. */
static void test_apply_is_all_or_none(void **state)
{
        struct fixture *f = *state;
        AUTO(buffer_done) struct buffer body = { 0 };
        struct agent a;

        agent_connect(f, &a);
        agent_hello(&a);
        make_directory(f, "jobs");
        write_file(f, "jobs/f.json", "{\"jobs\": {\"f\": {\"command\": [\"x\"]}}}");
        RUN_UNTIL(f, a.assigns == 2);
        say(&a, "{\"type\":\"report\",\"tasks\":[{\"id\":\"f.0\",\"state\":\"running\",\"runs\":1,"
                "\"desire\":{\"run\":true,\"version\":1,\"restart_version\":1,\"generation\":0}}]"
                "}");
        RUN_UNTIL(f, state_is(f, "f", "running"));
        assert_int_equal(fetch(f, "POST", "/v1/jobs/f/stop", NULL, &body), 200);
        assert_true(state_is(f, "f", "stopping"));
        assert_int_equal(fetch(f, "POST", "/v1/jobs",
                                 "{\"jobs\": {\"a\": {\"command\": [\"x\"]}, \"f\": {\"command\": "
                                 "[\"x\"]}}}",
                                 &body),
                409);
        assert_false(has_job(f, "a"));
        agent_end(&a);
}

/* What no agent may say costs it the connection, and nobody else anything. */
static void test_broken_agents(void **state)
{
        static const char hello[] = "{\"type\":\"hello\",\"protocol\":1,\"node\":{\"name\":\"n1\"},"
                                    "\"tasks\":[]}";
        static const char *const texts[] = {
                "",
                "{}",
                "[]",
                "{\"type\":1}",
                "{\"type\":\"report\",\"tasks\":[]}",
                "{\"type\":\"hello\"}",
                "{\"type\":\"hello\",\"protocol\":2}",
                "{\"type\":\"hello\",\"protocol\":1,\"tasks\":[{}],\"node\":{\"name\":\"n1\"}}",
                "{\"type\":\"hello\",\"protocol\":1,\"tasks\":[],\"node\":{\"name\":\"../x\"}}",
                "{\"type\":\"hello\",\"protocol\":1,\"tasks\":[],\"node\":7}",
                "{\"type\":\"notes\",\"notes\":[[1,{}]]}",
        };
        static const char *const after[] = {
                "{\"type\":\"report\",\"tasks\":7}",
                "{\"type\":\"report\",\"tasks\":[{\"id\":7}]}",
                "{\"type\":\"notes\",\"notes\":[7]}",
                "{\"type\":\"notes\",\"notes\":[[0,{}]]}",
                "{\"type\":\"notes\",\"notes\":[[-1,{}]]}",
                "{\"type\":\"hello\",\"protocol\":1,\"node\":{\"name\":\"n1\"},\"tasks\":[]}",
        };
        struct fixture *f = *state;
        struct agent a;

        for (size_t i = 0; i < ARRAY_SIZE(texts) + ARRAY_SIZE(after); i++) {
                agent_connect(f, &a);
                if (i >= ARRAY_SIZE(texts))
                        say(&a, hello);
                say(&a, i < ARRAY_SIZE(texts) ? texts[i] : after[i - ARRAY_SIZE(texts)]);
                RUN_UNTIL(f, a.closed);
        }
        agent_connect(f, &a);
        agent_hello(&a);
        agent_end(&a);
}

/* ---- Events */

#define NOTES 25000

/* More events than one looks through at once, of which the first is wanted. */
static void make_events(struct agent *a)
{
        AUTO(buffer_done) struct buffer text = { 0 };

        buffer_puts(&text, "{\"type\":\"notes\",\"notes\":[");
        for (int i = 1; i <= NOTES; i++)
                buffer_printf(&text, "%s[%d,{\"kind\":\"task-logs\",\"task\":\"%s.0\"}]",
                        i == 1 ? "" : ",", i, i == 1 ? "first" : "other");
        buffer_puts(&text, "]}");
        say(a, buffer_str(&text));
        RUN_UNTIL(a->fixture, a->acked == NOTES);
}

/* A request that goes on beside the test. */
struct call {
        struct http_call *call;
        struct buffer text;
        uint64_t index; /* the answer's */
        bool ended;
        int status; /* expected; 0: a success */
};

static void on_head(void *data, int status)
{
        struct call *c = data;
        const char *index = http_call_header(c->call, "Reeve-Index");

        assert_int_equal(status, c->status != 0 ? c->status : 200);
        c->index = index == NULL ? 0 : strtoull(index, NULL, 10);
}

static void on_data(void *data, const void *bytes, size_t len)
{
        buffer_put(&((struct call *) data)->text, bytes, len);
}

static void on_end(void *data, const struct error *err)
{
        assert_null(err);
        ((struct call *) data)->ended = true;
}

static void call_start(
        struct fixture *f, struct call *c, const char *path, const char *const headers[])
{
        const struct http_call_options options = { .path = path,
                .headers = headers,
                .on_head = on_head,
                .on_data = on_data,
                .on_end = on_end,
                .data = c };
        struct error err;

        *c = (struct call){ 0 };
        assert_int_equal(http_call_start(&f->loop, &f->address, &options, &c->call, &err), 0);
}

static void call_end(struct call *c)
{
        if (!c->ended)
                http_call_cancel(c->call);
        buffer_done(&c->text);
}

static void follow(struct fixture *f, struct call *c, const char *path, const char *after)
{
        const char *const headers[] = { "Accept", "text/event-stream", "Last-Event-ID", after,
                NULL };

        call_start(f, c, path, headers);
        RUN_UNTIL(f, c->text.len > 0);
}

static bool has(const struct call *c, const char *text)
{
        return strstr(buffer_str(&c->text), text) != NULL;
}

static void test_rare_events(void **state)
{
        struct fixture *f = *state;
        struct agent a;
        struct call c;

        agent_connect(f, &a);
        agent_hello(&a);
        make_events(&a);
        assert_int_equal(count(f, "/v1/events?task=first.0"), 1);
        assert_int_equal(count(f, "/v1/events?task=first.0&newest=true"), 1);
        assert_int_equal(count(f, "/v1/events?task=first"), 0);
        assert_int_equal(count(f, "/v1/events?task=other.0&limit=7"), 7);
        assert_int_equal(count(f, "/v1/events?task=%22"), 0);

        follow(f, &c, "/v1/events?task=first.0", "0");
        RUN_UNTIL(f, has(&c, "first.0"));
        call_end(&c);
        follow(f, &c, "/v1/events", "0");
        RUN_UNTIL(f, has(&c, "\nid: 25001\n"));
        call_end(&c);
        agent_end(&a);

        /* who comes again is told what need not be told again */
        agent_connect(f, &a);
        agent_hello_with(&a, NOTES + 1);
        assert_int_equal(a.stored, NOTES);
        agent_end(&a);

        /* who has lost what he knew is told to go on from there */
        agent_connect(f, &a);
        agent_hello_with(&a, 7);
        assert_int_equal(a.stored, 7);
        agent_end(&a);
}

/* Who has seen more than there is has seen it in another store; he gets what comes. */
static void test_follower_of_other_store(void **state)
{
        struct fixture *f = *state;
        AUTO(buffer_done) struct buffer body = { 0 };
        struct call c;

        follow(f, &c, "/v1/events", "123456789");
        assert_int_equal(fetch(f, "POST", "/v1/jobs", JOB("a"), &body), 200);
        RUN_UNTIL(f, has(&c, "job-applied"));
        call_end(&c);
}

/* ---- Logs */

static void send_log(struct agent *a, uint64_t offset, size_t len)
{
        AUTO(mem_freep) unsigned char *frame = mem_alloc(12 + len);

        for (int i = 0; i < 4; i++)
                frame[i] = (unsigned char) (a->stream >> (24 - 8 * i));
        for (int i = 0; i < 8; i++)
                frame[4 + i] = (unsigned char) (offset >> (56 - 8 * i));
        memset(frame + 12, 'x', len);
        websocket_send(a->ws, false, frame, 12 + len);
}

static void place_task(struct fixture *f, struct agent *a)
{
        AUTO(buffer_done) struct buffer body = { 0 };

        agent_connect(f, a);
        agent_hello(a);
        assert_int_equal(fetch(f, "POST", "/v1/jobs",
                                 "{\"jobs\": {\"web\": {\"command\": [\"x\"]}}}", &body),
                200);
        RUN_UNTIL(f, a->assigns == 2);
}

/* Who follows sees nothing of it when the agent goes and another comes. */
static void test_logs_go_on(void **state)
{
        struct fixture *f = *state;
        AUTO(mem_freep) char *end = NULL;
        struct agent first, second;
        struct call c;

        place_task(f, &first);
        call_start(f, &c, "/v1/tasks/web.0/logs?stream=stdout&follow=true&lines=5", NULL);
        RUN_UNTIL(f, first.opens == 1);
        assert_int_equal(first.from, -1);
        send_log(&first, 1000, 10);
        RUN_UNTIL(f, c.text.len == 10);
        agent_connect(f, &second);
        agent_hello(&second);
        RUN_UNTIL(f, first.closed && second.opens == 1);
        assert_int_equal(second.from, 1010);
        send_log(&second, 1010, 5);
        end = mem_printf(
                "{\"type\":\"log-end\",\"stream\":%" PRIu32 ",\"error\":null}", second.stream);
        say(&second, end);
        RUN_UNTIL(f, c.ended);
        assert_int_equal(c.text.len, 15);
        call_end(&c);
        agent_end(&second);
}

/* An agent of an older version would leave out what it does not know of the question. */
static void test_logs_of_older_agents(void **state)
{
        static const char *const queries[] = { "grep=x", "since=1h", "until=1m", "run=1",
                "timestamps=true", "grep=x&follow=true" };
        struct fixture *f = *state;
        struct agent a;

        place_task(f, &a);
        for (size_t i = 0; i < ARRAY_SIZE(queries); i++) {
                AUTO(mem_freep)
                char *path = mem_printf("/v1/tasks/web.0/logs?%s", queries[i]);
                struct call c;

                call_start(f, &c, path, NULL);
                c.status = 409;
                RUN_UNTIL(f, c.ended);
                assert_non_null(strstr(buffer_str(&c.text), "node n1 is of an older version"));
                call_end(&c);
        }
        assert_int_equal(a.opens, 0);
        agent_end(&a);
}

/* An agent that heeds no credit would fill the server's memory. */
static void test_logs_beyond_credit(void **state)
{
        struct fixture *f = *state;
        struct agent a;
        struct call c;

        place_task(f, &a);
        call_start(f, &c, "/v1/tasks/web.0/logs?stream=stdout&follow=true", NULL);
        RUN_UNTIL(f, a.opens == 1);
        send_log(&a, 0, 256 * 1024);
        RUN_UNTIL(f, c.text.len == 256 * 1024 && a.credit == 256 * 1024);
        send_log(&a, 256 * 1024, 256 * 1024 + 1);
        RUN_UNTIL(f, c.ended);
        assert_int_equal(c.text.len, 256 * 1024);
        call_end(&c);
        agent_end(&a);
}

/* ---- Waiting for a change */

static void wait_start(struct fixture *f, struct call *c, uint64_t index, const char *wait)
{
        AUTO(mem_freep)
        char *path = mem_printf("/v1/jobs?index=%" PRIu64 "&wait=%s", index, wait);

        call_start(f, c, path, NULL);
}

static uint64_t index_now(struct fixture *f)
{
        struct call c;
        uint64_t index;

        call_start(f, &c, "/v1/jobs", NULL);
        RUN_UNTIL(f, c.ended);
        index = c.index;
        call_end(&c);
        return index;
}

/* A reader is answered when something has changed, also if it has to be put off because the one
 * before was a moment ago; and not for what it has seen. */
static void test_waits(void **state)
{
        struct fixture *f = *state;
        AUTO(buffer_done) struct buffer body = { 0 };
        struct call first, second, third;
        uint64_t index = index_now(f);
        usec_t began;

        wait_start(f, &first, index, "20s");
        uv_run(&f->loop, UV_RUN_NOWAIT);
        assert_int_equal(fetch(f, "POST", "/v1/jobs", JOB("a"), &body), 200);
        RUN_UNTIL(f, first.ended);
        assert_true(first.index > index && has(&first, "\"a\""));

        index = index_now(f);
        wait_start(f, &second, index, "20s");
        assert_int_equal(index_now(f), index); /* it waits now */
        assert_int_equal(fetch(f, "POST", "/v1/jobs", JOB("b"), &body), 200);
        began = time_mono();
        index = index_now(f);
        wait_start(f, &third, index, "400ms");
        RUN_UNTIL(f, second.ended && third.ended);
        assert_true(second.index == index && has(&second, "\"b\""));
        assert_int_equal(third.index, index);
        assert_true(time_mono() - began >= 400 * USEC_MSEC);
        call_end(&first);
        call_end(&second);
        call_end(&third);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_late_directory, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_contested_job, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_fifo_among_files, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_restless_directory, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_spec_comes_again, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_apply_is_all_or_none, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_broken_agents, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_rare_events, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_follower_of_other_store, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_logs_go_on, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_logs_of_older_agents, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_logs_beyond_credit, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_waits, set_up, tear_down),
        };

        return cmocka_run_group_tests_name("program", tests, NULL, NULL);
}
