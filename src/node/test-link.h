/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* What the tests of the link share: an agent's link with its tasks, table, outbox and specs, and a
 * server at the other end that says and hears what the test wants. All in one loop. The keeper is a
 * socket that takes everything and tells nothing, so no process is ever begun. */

#include <inttypes.h>
#include <jansson.h>

#include "base/log.h"
#include "net/http-server.h"
#include "net/test-net.h"
#include "node/link.h"

struct frame { /* a binary message */
        uint32_t stream;
        uint64_t byte;
        size_t len;
        char *bytes;
};

struct world {
        uv_loop_t loop;
        char dir[40];

        /* the server */
        struct address address;
        struct http_server *server;
        bool refuses; /* answers 503 */
        struct websocket *peer;
        unsigned connections, closed;
        json_t *heard; /* text messages nobody has asked for yet, oldest first */
        struct frame *frames;
        size_t frames_len;

        /* the keeper */
        int keeper_fd;
        uv_poll_t keeper_poll;

        /* the agent */
        struct keeper_client *keeper;
        struct table *table;
        struct outbox *outbox;
        struct specs *specs;
        struct tasks *tasks;
        struct servers servers;
        struct link *link;
        unsigned changed, welcomes, acked, downs, upgrades;
        char upgrade_path[64];
};

static void world_on_message(void *data, bool text, const void *bytes, size_t len)
{
        struct world *w = data;
        json_error_t why;
        struct frame *f;
        uint32_t words[3];

        if (text) {
                json_t *message = json_loadb(bytes, len, JSON_REJECT_DUPLICATES, &why);

                if (message == NULL)
                        fail_msg("%s: %s", why.text, (const char *) bytes);
                json_array_append_new(w->heard, message);
                return;
        }
        assert_true(len >= sizeof words);
        memcpy(words, bytes, sizeof words);
        w->frames = mem_resize(w->frames, w->frames_len + 1, sizeof *w->frames);
        f = &w->frames[w->frames_len++];
        *f = (struct frame){ .stream = ntohl(words[0]),
                .byte = (uint64_t) ntohl(words[1]) << 32 | ntohl(words[2]),
                .len = len - sizeof words };
        f->bytes = mem_strndup("", 0);
        f->bytes = mem_resize(f->bytes, f->len + 1, 1);
        memcpy(f->bytes, (const char *) bytes + sizeof words, f->len);
}

static void world_on_close(void *data, const char *reason)
{
        struct world *w = data;

        (void) reason;
        w->closed++;
        w->peer = NULL;
}

static void world_on_request(void *data, struct http_request *req)
{
        static const struct websocket_handlers handlers = { .on_message = world_on_message,
                .on_close = world_on_close };
        struct world *w = data;
        struct error err;

        assert_string_equal(http_request_path(req), "/v1/link");
        if (w->refuses) {
                http_request_reply(req, 503, NULL, NULL, 0);
                return;
        }
        assert_null(w->peer); /* one connection at a time */
        assert_int_equal(http_request_upgrade(req, &handlers, w, &w->peer, &err), 0);
        w->connections++;
}

static inline void server_start(struct world *w)
{
        const struct http_server_options options = { .on_request = world_on_request, .data = w };
        struct error err;

        w->server = http_server_new(&w->loop, &options);
        if (http_server_listen(w->server, &w->address, 0600, &err) < 0)
                fail_msg("%s", err.message);
}

/* The server ends in order; what it had heard is forgotten. */
static inline void server_stop(struct world *w)
{
        websocket_close(take_ptr(w->peer), 1001, NULL);
        http_server_free(take_ptr(w->server));
        json_array_clear(w->heard);
}

/* ---- the agent */

static void world_describe(void *data, struct node_status *ret)
{
        static char name[] = "n1", version[] = "0";

        (void) data;
        *ret = (struct node_status){ .name = name,
                .state = NODE_READY,
                .version = version,
                .tasks = RECORD_NULL,
                .running = RECORD_NULL,
                .cores = 3,
                .memory = RECORD_NULL,
                .agent_pid = getpid(),
                .keeper_pid = RECORD_NULL };
}

static void world_on_changed(void *data)
{
        struct world *w = data;

        w->changed++;
        if (w->link != NULL)
                link_wake(w->link);
}

static void world_on_welcome(void *data)
{
        ((struct world *) data)->welcomes++;
}

static void world_on_acked(void *data)
{
        ((struct world *) data)->acked++;
}

static void world_on_down(void *data)
{
        ((struct world *) data)->downs++;
}

static void world_on_upgrade(void *data, const char *path)
{
        struct world *w = data;

        w->upgrades++;
        snprintf(w->upgrade_path, sizeof w->upgrade_path, "%s", path != NULL ? path : "(none)");
}

static void world_on_keeper_packet(uv_poll_t *poll, int status, int events)
{
        struct world *w = poll->data;
        struct keeper_message m;

        (void) status;
        (void) events;
        while (recv(w->keeper_fd, &m, sizeof m, MSG_DONTWAIT) > 0)
                continue;
}

static inline void keeper_start(struct world *w)
{
        static const struct keeper_client_handlers handlers = { 0 };
        char number[16];
        struct error err;
        int fds[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
        w->keeper_fd = fds[0];
        uv_poll_init(&w->loop, &w->keeper_poll, w->keeper_fd);
        w->keeper_poll.data = w;
        uv_poll_start(&w->keeper_poll, UV_READABLE, world_on_keeper_packet);
        snprintf(number, sizeof number, "%d", fds[1]);
        setenv(KEEPER_FD_VARIABLE, number, 1);
        if (keeper_client_new(&w->loop, &handlers, w, &w->keeper, &err) < 0)
                fail_msg("%s", err.message);
}

static inline void agent_start(struct world *w)
{
        char table[64], outbox[64], jobs[64], logs[64];
        struct error err;
        struct tasks_config tasks = { .loop = &w->loop,
                .directory = w->dir,
                .node = "n1",
                .on_changed = world_on_changed,
                .data = w };
        struct link_config link = { .loop = &w->loop,
                .servers = &w->servers,
                .describe_node = world_describe,
                .on_welcome = world_on_welcome,
                .on_acked = world_on_acked,
                .on_down = world_on_down,
                .on_upgrade = world_on_upgrade,
                .data = w };

        w->servers.items = mem_alloc(sizeof w->address);
        *w->servers.items = w->address;
        w->servers.len = 1;
        snprintf(table, sizeof table, "%s/table", w->dir);
        snprintf(outbox, sizeof outbox, "%s/outbox", w->dir);
        snprintf(jobs, sizeof jobs, "%s/jobs", w->dir);
        snprintf(logs, sizeof logs, "%s/tasks", w->dir);
        keeper_start(w);
        if (file_mkdirs(jobs, 0700, &err) < 0 || file_mkdirs(logs, 0700, &err) < 0 ||
                table_open(table, &w->table, &err) < 0 ||
                outbox_open(outbox, 0, &w->outbox, &err) < 0)
                fail_msg("%s", err.message);
        w->specs = specs_new(jobs);
        tasks.table = w->table;
        tasks.keeper = w->keeper;
        link.outbox = tasks.outbox = w->outbox;
        link.specs = tasks.specs = w->specs;
        link.tasks = w->tasks = tasks_new(&tasks);
        w->link = link_new(&link);
}

static inline void agent_stop(struct world *w)
{
        link_free(take_ptr(w->link));
        tasks_free(take_ptr(w->tasks));
        keeper_client_free(take_ptr(w->keeper));
        specs_free(take_ptr(w->specs));
        outbox_close(take_ptr(w->outbox));
        table_close(take_ptr(w->table));
        servers_done(&w->servers);
        uv_close((uv_handle_t *) &w->keeper_poll, NULL);
        uv_run(&w->loop, UV_RUN_NOWAIT);
        close(w->keeper_fd);
}

/* ---- the two together */

static inline void frames_forget(struct world *w)
{
        for (size_t i = 0; i < w->frames_len; i++)
                free(w->frames[i].bytes);
        free(w->frames);
        w->frames = NULL;
        w->frames_len = 0;
}

static inline int world_new(void **state)
{
        struct world *w = mem_alloc(sizeof *w);

        snprintf(w->dir, sizeof w->dir, "/tmp/reeve-test-link-XXXXXX");
        assert_non_null(mkdtemp(w->dir));
        uv_loop_init(&w->loop);
        w->heard = json_array();
        w->address.is_unix = true;
        snprintf(w->address.path, sizeof w->address.path, "%s/sock", w->dir);
        agent_start(w);
        *state = w;
        return 0;
}

static inline int world_free(void **state)
{
        struct world *w = *state;

        agent_stop(w);
        server_stop(w);
        loop_close(&w->loop);
        json_decref(w->heard);
        frames_forget(w);
        file_remove_tree(w->dir, NULL);
        free(w);
        return 0;
}

static inline void say(struct world *w, const char *format, ...) PRINTF_LIKE(2, 3);
static inline void say(struct world *w, const char *format, ...)
{
        char text[4096];
        va_list args;
        int n;

        va_start(args, format);
        n = vsnprintf(text, sizeof text, format, args);
        va_end(args);
        assert_in_range(n, 0, sizeof text - 1);
        assert_non_null(w->peer);
        websocket_send(w->peer, true, text, (size_t) n);
}

/* The next message, which must be of that type. New reference. */
static inline json_t *hear(struct world *w, const char *type)
{
        json_t *message;

        wait_for(&w->loop, json_array_size(w->heard) > 0);
        message = json_incref(json_array_get(w->heard, 0));
        json_array_remove(w->heard, 0);
        if (strcmp(json_string_value(json_object_get(message, "type")), type) != 0)
                fail_msg("expected %s: %s", type, json_dumps(message, 0));
        return message;
}

static inline json_int_t number_in(const json_t *message, const char *key)
{
        assert_true(json_is_integer(json_object_get(message, key)));
        return json_integer_value(json_object_get(message, key));
}

/* Returns when the agent has done all that follows from what was said: it answers at once to a
 * request for a log that there cannot be; what it does at the end of that turn is before the second
 * answer. */
static inline void settle(struct world *w)
{
        for (json_int_t number = 4000000000; number < 4000000002; number++) {
                bool answered = false;
                usec_t end = time_mono() + DEADLINE;

                say(w, "{\"type\":\"log-open\",\"stream\":%lld,\"task\":\".\",\"name\":\"x\"}",
                        (long long) number);
                while (!answered) {
                        assert_true(time_mono() < end);
                        turn(&w->loop);
                        for (size_t i = json_array_size(w->heard); i-- > 0 && !answered;)
                                if (json_integer_value(json_object_get(
                                            json_array_get(w->heard, i), "stream")) == number) {
                                        json_array_remove(w->heard, i);
                                        answered = true;
                                }
                }
        }
}

static inline void expect_silence(struct world *w)
{
        settle(w);
        if (json_array_size(w->heard) > 0)
                fail_msg("heard %s", json_dumps(json_array_get(w->heard, 0), 0));
}

/* Server and agent meet for the first time. */
static inline void meet(struct world *w)
{
        server_start(w);
        link_start(w->link);
        json_decref(hear(w, "hello"));
        say(w, "{\"type\":\"welcome\",\"server\":\"0\",\"note_seq\":0,\"witness\":[]}");
        expect_silence(w);
        assert_int_equal(w->welcomes, 1);
}
