/* SPDX-License-Identifier: BSD-3-Clause */
/* Link: the agent's side of the one connection to its server.
 *
 * Nothing here is state that matters: after any break everything is said anew in `hello`, and the
 * server answers with all it wants. Between the two only differences travel: reports of tasks whose
 * status changed, at most one message per turn of the loop, and outbox entries, of which at most
 * NOTES_IN_FLIGHT are unacknowledged.
 *
 * A task that cannot be created here (a full disk) is not answered at all; the link breaks itself a
 * little later, and the server's next list is the next try. */
#include "node/link.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/websocket.h"
#include "node/dossiers.h"
#include "node/exec.h"
#include "node/logserve.h"
#include "node/vitalserve.h"

#define LINK_PROTOCOL        2
#define LINK_PROTOCOL_MIN    1
#define LINK_PATH            "/v1/link"
#define NOTES_IN_FLIGHT      500
#define ASK_AGAIN_AFTER      USEC_SEC
#define HEARTBEAT_DEFAULT_MS 10000 /* until the server has said how often it wants them */
#define HEARTBEAT_MIN_MS     20
#define HEARTBEAT_MAX_MS     60000
#define SILENCE_MORE         USEC_SEC /* than three heartbeats: the connection is broken */
#define LOG_EVERY            USEC_MINUTE
#define REPORT_BYTES_AT_ONCE (1024 * 1024)

struct link {
        struct link_config config;
        struct websocket *ws;
        struct logserve *logs;
        struct vitalserve *vitals; /* NULL: not connected, or there are none */
        struct execs *execs;
        bool connected; /* the handshake is done and hello was sent */
        bool closed;    /* link_bye() */
        bool unknown_type_logged;
        uv_timer_t reconnect;
        uint64_t random;
        uv_idle_t flush;      /* active when something is to be sent in this turn */
        uv_timer_t heartbeat; /* not on a UNIX socket: its end is seen */
        uint64_t heartbeat_ms;
        usec_t hello_mono; /* when it was sent */
        usec_t ping_mono;  /* of the ping that was not answered yet; 0: none */
        bool leased;       /* the server counts by what it hears of us */
        unsigned handles;
        char *last_reason;  /* of the last break that was logged: a server that stays away is logged
                               once */
        usec_t logged_mono; /* when */
};

static void connect_now(struct link *l);

static void on_reconnect(uv_timer_t *timer)
{
        connect_now(timer->data);
}

static void reconnect_in(struct link *l, usec_t delay)
{
        if (!l->closed)
                uv_timer_start(&l->reconnect, on_reconnect, delay / USEC_MSEC, 0);
}

/* @refused: by a server that will not take us before somebody has changed something. */
static void reconnect_later(struct link *l, bool refused)
{
        l->random = l->random * 6364136223846793005u + 1442695040888963407u; /* Knuth's MMIX */
        reconnect_in(l, servers_failed(l->config.servers, refused, l->random >> 20));
}

static void send_text(struct link *l, const struct buffer *text)
{
        websocket_send(l->ws, true, text->data, text->len);
}

static void end_connection(struct link *l)
{
        l->ws = NULL;
        l->connected = false;
        uv_timer_stop(&l->heartbeat);
        tasks_link_gone(l->config.tasks);
        logserve_free(take_ptr(l->logs));
        vitalserve_free(take_ptr(l->vitals));
        execs_disconnect(l->execs);
}

/* ---- the end of a connection */

/* Answers that will be the same again until a person has done something. */
static const struct {
        unsigned code;
        const char *advice;
} refusals[] = {
        { 401, "; the tasks go on, a new join token makes this machine a node again" },
        { 4401, "; the tasks go on, a new join token makes this machine a node again" },
        { 4403, "" },
        { 4409, "" },
        { 4426, "" },
};

static bool is_refused(unsigned code)
{
        for (size_t i = 0; i < ARRAY_SIZE(refusals); i++)
                if (refusals[i].code == code)
                        return true;
        return false;
}

/* What a person can do about it; "" if nothing is known. */
static const char *find_advice(unsigned code)
{
        for (size_t i = 0; i < ARRAY_SIZE(refusals); i++)
                if (refusals[i].code == code)
                        return refusals[i].advice;
        return "";
}

static void log_break(struct link *l, const char *reason, unsigned code)
{
        char server[ADDRESS_TEXT_MAX];
        AUTO(mem_freep) char *text = NULL;

        if (!servers_is_loud(l->config.servers) && !is_refused(code))
                return;
        text = mem_printf("no connection to the server at %s: %s%s",
                address_format(server, servers_current(l->config.servers)), reason,
                find_advice(code));
        if (l->last_reason != NULL && strcmp(l->last_reason, text) == 0)
                return;
        if (l->last_reason != NULL && !is_refused(code) && time_mono() < l->logged_mono + LOG_EVERY)
                return; /* several servers are away, for different reasons */
        log_warning("%s", text);
        l->logged_mono = time_mono();
        free(l->last_reason);
        l->last_reason = take_ptr(text);
}

/* The WebSocket is gone, or was closed. */
static void break_off(struct link *l, const char *reason, unsigned code)
{
        end_connection(l);
        log_break(l, reason, code);
        reconnect_later(l, is_refused(code));
}

/* ---- to the server */

static void put_comma(struct buffer *out)
{
        if (out->data[out->len - 1] != '[')
                buffer_putc(out, ',');
}

static void put_report(void *data, struct task *t)
{
        put_comma(data);
        task_report_all(t, data);
}

static void send_hello(struct link *l)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        struct node_status node = { 0 };
        struct task *t;

        l->config.describe_node(l->config.data, &node);
        buffer_printf(&b,
                "{\"type\":\"hello\",\"protocol\":%d,\"protocol_min\":%d,\"note_seq\":%" PRIu64
                ",\"log_query\":true,\"dossiers\":true,\"vitals\":%s,\"node\":",
                LINK_PROTOCOL, LINK_PROTOCOL_MIN, outbox_last(l->config.outbox),
                l->vitals != NULL ? "true" : "false");
        record_write(&node_table, &node, &b);
        buffer_puts(&b, ",\"tasks\":[");
        while ((t = tasks_next_changed(l->config.tasks)) != NULL) /* all of them follow */
                continue;
        tasks_take_last_reports(l->config.tasks, NULL); /* these are gone */
        tasks_each(l->config.tasks, put_report, &b);
        buffer_puts(&b, "]}");
        send_text(l, &b);
        outbox_rewind(l->config.outbox);
}

static void send_reports(struct link *l)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        struct task *t;

        buffer_puts(&b, "{\"type\":\"report\",\"tasks\":[");
        tasks_take_last_reports(l->config.tasks, &b);
        while (b.len < REPORT_BYTES_AT_ONCE && (t = tasks_next_changed(l->config.tasks)) != NULL) {
                put_comma(&b);
                task_report(t, &b);
        }
        if (b.data[b.len - 1] == '[')
                return;
        buffer_puts(&b, "]}");
        send_text(l, &b);
}

static void send_notes(struct link *l)
{
        AUTO(buffer_done) struct buffer b = { 0 };

        buffer_puts(&b, "{\"type\":\"notes\",\"notes\":[");
        if (outbox_read(l->config.outbox, NOTES_IN_FLIGHT, &b) == 0)
                return;
        buffer_puts(&b, "]}");
        send_text(l, &b);
}

static void on_flush(uv_idle_t *idle)
{
        struct link *l = idle->data;

        uv_idle_stop(&l->flush);
        if (!l->connected)
                return;
        send_notes(l); /* what happened, before what is */
        send_reports(l);
}

void link_wake(struct link *l)
{
        if (l->connected)
                uv_idle_start(&l->flush, on_flush);
}

/* ---- from the server */

/* A number that is never negative; 0 if it is not there, or is none. */
static uint64_t read_number(const json_t *object, const char *key)
{
        json_int_t number = json_integer_value(json_object_get(object, key));

        return number > 0 ? (uint64_t) number : 0;
}

static void read_desire(const json_t *object, struct task_desire *ret)
{
        const json_t *desire = json_object_get(object, "desire");

        *ret = (struct task_desire){
                .run = json_is_true(json_object_get(desire, "run")),
                .version = (uint32_t) read_number(desire, "version"),
                .restart_version = (uint32_t) read_number(desire, "restart_version"),
                .generation = read_number(desire, "generation"),
        };
}

static void try_again(struct link *l, const struct error *err)
{
        log_error("%s; the server is asked again in a second", err->message);
        websocket_close(l->ws, 1000, "try again");
        end_connection(l);
        reconnect_in(l, ASK_AGAIN_AFTER);
}

struct wanted {              /* the tasks of an assign that names all */
        const json_t *tasks; /* object: id -> anything */
        struct link *link;
};

static void forget_unwanted(void *data, struct task *t)
{
        const struct wanted *wanted = data;

        if (json_object_get(wanted->tasks, t->id) == NULL)
                tasks_forget(wanted->link->config.tasks, t->id, false);
}

/* Numbers that are none are as if they were not given. */
static void read_grant(const json_t *object, struct task_grant *ret)
{
        const json_t *ports = json_object_get(object, "ports");

        *ret = (struct task_grant){ .fence = read_number(object, "fence"),
                .retries = (uint32_t) MIN(read_number(object, "retries"), UINT32_MAX) };
        for (size_t i = 0; i < MIN(json_array_size(ports), (size_t) JOB_PORTS_MAX); i++) {
                json_int_t port = json_integer_value(json_array_get(ports, i));

                ret->ports[i] = port > 0 && port <= UINT16_MAX ? (uint16_t) port : 0;
        }
}

static int assign_one(struct link *l, const json_t *object, struct error *err)
{
        const char *id = json_string_value(json_object_get(object, "task"));
        const char *job = json_string_value(json_object_get(object, "job"));
        struct task_desire desire;
        struct task_grant grant;

        if (id == NULL)
                return error_set(err, ERR_INVALID, "the server assigned a task without a name");
        if (json_is_true(json_object_get(object, "forget"))) {
                tasks_forget(
                        l->config.tasks, id, json_is_true(json_object_get(object, "purge_logs")));
                return 0;
        }
        if (job == NULL || !text_is_name(job))
                return error_set(
                        err, ERR_INVALID, "the server assigned task %s without its job", id);
        read_desire(object, &desire);
        read_grant(object, &grant);
        return tasks_desire(l->config.tasks, job, (uint32_t) read_number(object, "index"), &desire,
                &grant, err);
}

static void on_assign(struct link *l, const json_t *message)
{
        const json_t *tasks = json_object_get(message, "tasks");
        struct error err = ERROR_INIT, why = ERROR_INIT;
        size_t failed = 0, refused = 0, i;
        json_t *object;

        if (!json_is_array(tasks)) /* and not that none is wanted */
                return;
        if (json_is_true(json_object_get(message, "all"))) {
                json_t *ids = json_object();

                json_array_foreach (tasks, i, object)
                        json_object_set_new(ids, json_string_value(json_object_get(object, "task")),
                                json_true());
                tasks_each(l->config.tasks, forget_unwanted, &(struct wanted){ ids, l });
                json_decref(ids);
        }
        json_array_foreach (tasks, i, object)
                if (assign_one(l, object, &why) < 0) {
                        if (why.code == ERR_TOO_LARGE) { /* it will not become less by asking */
                                refused++;
                                continue;
                        }
                        failed++;
                        err = why;
                }
        if (refused > 0)
                log_error("%zu tasks are not taken: a node runs at most %d", refused,
                        TABLE_SLOTS_MAX);
        if (json_is_true(json_object_get(message, "all")))
                specs_sweep(l->config.specs);
        if (failed > 0)
                try_again(l, &err);
}

static void on_specs(struct link *l, const json_t *message)
{
        struct error err = ERROR_INIT;
        json_t *object;
        size_t i;

        json_array_foreach (json_object_get(message, "specs"), i, object) {
                const char *job = json_string_value(json_object_get(object, "job"));

                if (job == NULL || !text_is_name(job))
                        continue;
                if (specs_learn(l->config.specs, job, (uint32_t) read_number(object, "version"),
                            json_object_get(object, "spec"), &err) < 0)
                        log_error("%s", err.message);
        }
}

static void on_note_ack(struct link *l, uint64_t seq)
{
        outbox_ack(l->config.outbox, seq);
        l->config.on_acked(l->config.data);
        if (!l->connected) /* that was the last thing to wait for */
                return;
        link_wake(l); /* there is room for more */
}

static void hear_witness(struct link *l, const json_t *ends)
{
        const json_t *end;
        size_t i;

        json_array_foreach (ends, i, end) {
                const char *task = json_string_value(json_object_get(end, "task"));

                if (task != NULL)
                        tasks_hear_witness(l->config.tasks, task, read_number(end, "run"),
                                (int) json_integer_value(json_object_get(end, "status")));
        }
        tasks_heard_witness(l->config.tasks);
}

/* ---- signs of life */

static void on_heartbeat(uv_timer_t *timer)
{
        struct link *l = timer->data;
        usec_t now = time_mono(), silence = now - MIN(now, websocket_last_heard(l->ws));

        if (silence > 3 * l->heartbeat_ms * USEC_MSEC + SILENCE_MORE) {
                websocket_close(l->ws, 1001, "nothing heard");
                break_off(l, "nothing heard from it", 0);
                return;
        }
        if (l->ping_mono != 0 || websocket_queued(l->ws) > WEBSOCKET_DRAIN_MARK)
                return; /* the answer to the last one tells as much */
        l->ping_mono = now;
        websocket_ping(l->ws);
}

static void on_pong(void *data)
{
        struct link *l = data;

        if (l->leased && l->ping_mono != 0)
                tasks_set_heard(l->config.tasks, l->ping_mono);
        l->ping_mono = 0;
}

static void begin_heartbeats(struct link *l, uint64_t every_ms)
{
        if (servers_current(l->config.servers)->is_unix)
                return;
        l->heartbeat_ms = every_ms;
        uv_timer_start(&l->heartbeat, on_heartbeat, every_ms, every_ms);
}

/* The server has our hello: that is the first sign of life that counts. */
static void agree_on_heartbeats(struct link *l, const json_t *message)
{
        const json_t *lease = json_object_get(message, "lease_ms");
        uint64_t every = read_number(message, "heartbeat_ms");

        l->leased = every > 0 && (lease == NULL || json_integer_value(lease) > 0);
        tasks_set_heard(l->config.tasks, l->leased ? l->hello_mono : USEC_NEVER);
        if (every > 0)
                begin_heartbeats(l,
                        MIN(MAX(every, (uint64_t) HEARTBEAT_MIN_MS), (uint64_t) HEARTBEAT_MAX_MS));
}

static void on_welcome(struct link *l, const json_t *message)
{
        log_info("connected to the server (version %s)",
                json_string_value(json_object_get(message, "server")));
        servers_took(l->config.servers);
        agree_on_heartbeats(l, message);
        free(l->last_reason);
        l->last_reason = NULL;
        on_note_ack(l, read_number(message, "note_seq"));
        hear_witness(l, json_object_get(message, "witness"));
        l->config.on_welcome(l->config.data);
}

static void on_down(struct link *l, const json_t *message)
{
        (void) message;
        l->config.on_down(l->config.data);
}

static void on_upgrade(struct link *l, const json_t *message)
{
        l->config.on_upgrade(l->config.data, json_string_value(json_object_get(message, "keeper")));
}

static void on_note_ack_message(struct link *l, const json_t *message)
{
        on_note_ack(l, read_number(message, "seq"));
}

static void on_log_message(struct link *l, const json_t *message)
{
        logserve_message(l->logs, message);
}

static void on_vitals_message(struct link *l, const json_t *message)
{
        if (l->vitals != NULL)
                vitalserve_message(l->vitals, message);
}

static void on_exec_message(struct link *l, const json_t *message)
{
        execs_message(l->execs, message);
}

/* For the task's process; what could not be done is told to nobody but the log. */
static void on_signal(struct link *l, const json_t *message)
{
        const char *task = json_string_value(json_object_get(message, "task"));
        const char *name = json_string_value(json_object_get(message, "signal"));
        int number = name != NULL ? text_parse_signal(name) : 0;
        struct error err = ERROR_INIT;

        if (task == NULL || number == 0)
                log_warning("the server sent a signal that is none, or to no task");
        else if (tasks_signal(l->config.tasks, task, number, &err) < 0)
                log_warning("signal %s: %s", name, err.message);
        else
                log_info("task %s: signal %s is sent", task, name);
}

/* Its name becomes part of a path. */
static void on_dossiers_get(struct link *l, const json_t *message)
{
        const char *task = json_string_value(json_object_get(message, "task"));
        AUTO(mem_freep) char *directory = NULL;
        AUTO(buffer_done) struct buffer b = { 0 };

        if (task == NULL || task[0] == '.' || strchr(task, '/') != NULL)
                return;
        directory = task_directory(l->config.tasks, task);
        tasks_write_dossiers(l->config.tasks);
        buffer_printf(&b, "{\"type\":\"dossiers\",\"request\":%" PRIu64 ",\"dossiers\":",
                read_number(message, "request"));
        dossiers_read(directory, &b);
        buffer_putc(&b, '}');
        send_text(l, &b);
}

static const struct {
        const char *type;
        void (*handle)(struct link *l, const json_t *message);
} messages[] = {
        { "welcome", on_welcome },
        { "specs", on_specs },
        { "assign", on_assign },
        { "note-ack", on_note_ack_message },
        { "log-open", on_log_message },
        { "log-more", on_log_message },
        { "log-close", on_log_message },
        { "vitals-ask", on_vitals_message },
        { "dossiers-get", on_dossiers_get },
        { "exec-open", on_exec_message },
        { "exec-resize", on_exec_message },
        { "exec-signal", on_exec_message },
        { "exec-more", on_exec_message },
        { "exec-close", on_exec_message },
        { "signal", on_signal },
        { "down", on_down },
        { "upgrade", on_upgrade },
};

static void on_message(void *data, bool text, const void *bytes, size_t len)
{
        struct link *l = data;
        json_error_t json_error;
        json_t *message = text ? json_loadb(bytes, len, 0, &json_error) : NULL;
        const char *type = json_string_value(json_object_get(message, "type"));
        bool known = !text;

        if (!text)
                execs_data(l->execs, bytes, len);
        for (size_t i = 0; type != NULL && i < ARRAY_SIZE(messages) && !known; i++)
                if (strcmp(messages[i].type, type) == 0) {
                        known = true;
                        messages[i].handle(l, message);
                }
        if (!known && !l->unknown_type_logged) {
                log_warning("the server sent a message that this version does not know (%s)",
                        type != NULL ? type : "no type");
                l->unknown_type_logged = true;
        }
        json_decref(message);
}

static void on_drain(void *data)
{
        struct link *l = data;

        logserve_drained(l->logs);
}

/* ---- the connection */

static void on_open(void *data)
{
        struct link *l = data;

        l->connected = true;
        l->leased = false;
        l->ping_mono = 0;
        l->hello_mono = time_mono();
        begin_heartbeats(l, HEARTBEAT_DEFAULT_MS);
        l->logs = logserve_new(l->config.loop, l->ws, l->config.tasks);
        if (l->config.vitals != NULL)
                l->vitals = vitalserve_new(l->ws, l->config.vitals);
        execs_connect(l->execs, l->ws);
        send_hello(l);
        link_wake(l);
}

static void on_close(void *data, const char *reason)
{
        struct link *l = data;

        break_off(l, reason, websocket_close_code(l->ws));
}

static const struct websocket_handlers handlers = {
        .on_open = on_open,
        .on_message = on_message,
        .on_drain = on_drain,
        .on_pong = on_pong,
        .on_close = on_close,
        .ping_every = USEC_NEVER, /* on_heartbeat() has to know which ping was answered */
};

static void connect_now(struct link *l)
{
        struct error err = ERROR_INIT;

        const char *headers[] = { "Authorization", l->config.authorization, NULL };

        if (websocket_connect(l->config.loop, servers_current(l->config.servers), LINK_PATH,
                    l->config.authorization != NULL ? headers : NULL, &handlers, l, &l->ws,
                    &err) < 0) {
                log_error("connect to the server: %s", err.message);
                reconnect_later(l, true);
        }
}

struct link *link_new(const struct link_config *config)
{
        struct link *l = mem_alloc(sizeof *l);

        l->config = *config;
        l->random = time_mono() ^ (uint64_t) getpid() << 32;
        l->execs = execs_new(config->loop, config->tasks);
        uv_timer_init(config->loop, &l->reconnect);
        uv_timer_init(config->loop, &l->heartbeat);
        uv_idle_init(config->loop, &l->flush);
        l->reconnect.data = l->heartbeat.data = l->flush.data = l;
        l->handles = 3;
        return l;
}

void link_start(struct link *l)
{
        connect_now(l);
}

void link_log_grown(struct link *l, const char *task, const char *stream)
{
        if (l->connected)
                logserve_grown(l->logs, task, stream);
}

void link_looked(struct link *l)
{
        if (l->vitals != NULL)
                vitalserve_looked(l->vitals);
}

void link_bye(struct link *l, const char *reason)
{
        AUTO(buffer_done) struct buffer b = { 0 };

        l->closed = true;
        uv_timer_stop(&l->reconnect);
        if (l->connected) {
                on_flush(&l->flush);
                buffer_printf(&b, "{\"type\":\"bye\",\"reason\":\"%s\"}", reason);
                send_text(l, &b);
        }
        websocket_close(l->ws, 1001, reason);
        end_connection(l);
}

static void on_handle_closed(uv_handle_t *handle)
{
        struct link *l = handle->data;

        if (--l->handles > 0)
                return;
        free(l->last_reason);
        free(l);
}

void link_free(struct link *l)
{
        if (l == NULL)
                return;
        l->closed = true;
        if (l->ws != NULL)
                websocket_close(l->ws, 1001, NULL);
        end_connection(l);
        execs_free(take_ptr(l->execs));
        uv_close((uv_handle_t *) &l->reconnect, on_handle_closed);
        uv_close((uv_handle_t *) &l->heartbeat, on_handle_closed);
        uv_close((uv_handle_t *) &l->flush, on_handle_closed);
}
