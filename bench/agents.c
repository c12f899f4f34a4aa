/* SPDX-License-Identifier: BSD-3-Clause */
/* Thousands of agents in one process: bench-agents --server ADDR --agents N [--heartbeat MS]
 * [--delay MS]
 *
 * Each has a socket of its own and speaks the link (docs/link.md) as src/node/link.c does: a hello
 * with all its tasks, then for each task that it is assigned a note in its outbox and a report, in
 * one message each per turn, no more than 500 notes without an acknowledgement, and a ping when it
 * is time. What they do not do is to run anything: a task that is assigned runs at once, or with
 * --delay after that many milliseconds (and is reported as starting meanwhile).
 *
 * They are named node0001 and up, and differ in zone, rack, disk, cores and memory.
 *
 * Commands are read from stdin, one per line; each is answered by one line of JSON on stdout:
 *
 *      status              counts and times
 *      await connected N   answers when N agents have been welcomed
 *      await running N     answers when N tasks run, over all agents
 *      await started N     answers when N runs have begun since `lose` (or the beginning)
 *      lose N close        the first N that are connected break their links
 *      lose N silent       ... or say and hear nothing any more, with their links left open
 *      back                those come back, with the tasks that they had
 *      quit
 *
 * All times are CLOCK_MONOTONIC, in nanoseconds, so that the driver can compare them with its own.
 *
 * One thread, epoll, and frames written by hand: the measured server shares the machine with this
 * program, so that what it takes counts against the server. Frames are masked with zeroes, which
 * costs the server the same work as any mask. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/scan.h"
#include "base/text.h"
#include "base/time.h"
#include "dial.h"
#include "played.h"

#define NOTES_IN_FLIGHT 500
#define READ_SIZE       (256 * 1024)
#define TICK_MSEC       10
#define RETRY_MSEC      20

enum { OP_TEXT = 1, OP_BINARY = 2, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };

struct task {
        const struct job *job;
        uint32_t index, version, restart_version;
        uint64_t generation;
        uint64_t due_msec; /* STARTING: when it runs */
        uint64_t since_wall;
        uint32_t runs;
        uint8_t state; /* of enum state */
        bool run;
        bool changed; /* to be reported */
};

enum state { STARTING, RUNNING, ENDED };

struct note {
        uint64_t seq;
        char *text; /* the event */
};

enum phase { AWAY, CONNECTING, SHAKING_HANDS, HELLO_SAID, WELCOMED, SILENT };

struct agent {
        uint32_t number;
        enum phase phase;
        bool lost; /* on purpose: stays away until `back` */
        int fd;
        uint64_t retry_msec;
        struct buffer in, out;
        size_t sent; /* of out */
        bool wants_write, changed;
        struct task *tasks;
        uint32_t tasks_len, tasks_allocated, starting;
        struct note *notes; /* not acknowledged, oldest first */
        size_t notes_len, notes_allocated, notes_sent;
        uint64_t note_seq;
        struct agent *next_changed;
};

struct await {
        char what[16];
        uint64_t count;
};

static struct {
        struct agent *agents;
        uint32_t agents_len;
        struct dial address;
        uint64_t heartbeat_msec, delay_msec;
        bool heartbeat_given;
        int epoll, timer;
        struct agent *changed;
        struct await await;
        struct buffer input;
        double next_ping; /* number of the agent that pings next */
        uint64_t last_tick_msec;
        uint32_t pids;
        struct {
                uint64_t connected, welcomed, running, started, assigns, reports, notes, note_acks,
                        pings, bytes_in, bytes_out, breaks, last_start_ns, last_welcome_ns;
        } count;
        bool quit;
} b;

static uint64_t now_msec(void)
{
        return dial_now_ns() / 1000000;
}

/* ---- Sockets */

static void watch(struct agent *a, int op, uint32_t events)
{
        struct epoll_event event = { .events = events, .data.ptr = a };

        if (epoll_ctl(b.epoll, op, a->fd, &event) < 0)
                dial_fail("epoll_ctl");
}

static void drop_output(struct agent *a)
{
        buffer_done(&a->out);
        a->sent = 0;
        a->wants_write = false;
}

static void disconnect(struct agent *a)
{
        if (a->fd >= 0)
                close(a->fd);
        a->fd = -1;
        if (a->phase >= HELLO_SAID)
                b.count.connected--;
        if (a->phase >= WELCOMED)
                b.count.welcomed--;
        a->phase = AWAY;
        a->notes_sent = 0;
        a->retry_msec = now_msec() + RETRY_MSEC;
        drop_output(a);
        buffer_done(&a->in);
}

static void broken(struct agent *a, const char *why)
{
        if (b.count.breaks++ < 3)
                fprintf(stderr, "bench-agents: node%04" PRIu32 ": link broken: %s\n", a->number,
                        why);
        disconnect(a);
}

static void flush(struct agent *a)
{
        while (a->sent < a->out.len) {
                ssize_t n = send(a->fd, a->out.data + a->sent, a->out.len - a->sent,
                        MSG_NOSIGNAL | MSG_DONTWAIT);

                if (n < 0 && errno == EAGAIN) {
                        if (!a->wants_write)
                                watch(a, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
                        a->wants_write = true;
                        return;
                }
                if (n < 0) {
                        broken(a, strerror(errno));
                        return;
                }
                a->sent += (size_t) n;
                b.count.bytes_out += (uint64_t) n;
        }
        if (a->wants_write)
                watch(a, EPOLL_CTL_MOD, EPOLLIN);
        drop_output(a);
}

static void put_frame(struct agent *a, int op, const char *bytes, size_t len)
{
        unsigned char head[14] = { (unsigned char) (0x80 | op) };
        size_t head_len = 2, length_bytes = len < 126 ? 0 : len < 65536 ? 2 : 8;

        head[1] = (unsigned char) (0x80 | (length_bytes == 0          ? len
                                                  : length_bytes == 2 ? 126
                                                                      : 127));
        for (size_t i = length_bytes; i-- > 0;)
                head[head_len++] = (unsigned char) (len >> (8 * i));
        head_len += 4; /* the mask */
        buffer_put(&a->out, head, head_len);
        buffer_put(&a->out, bytes, len);
}

static void connect_agent(struct agent *a)
{
        static const char request[] =
                "GET /v1/link HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
                "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";

        a->fd = dial_connect(&b.address);
        if (a->fd < 0) {
                disconnect(a);
                return;
        }
        a->phase = CONNECTING;
        buffer_put(&a->out, request, sizeof request - 1);
        a->wants_write = true;
        watch(a, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
}

/* ---- What an agent says */

static void put_wall(struct buffer *out, uint64_t wall)
{
        char text[TIME_TEXT_MAX];

        buffer_puts(out, time_format_wall(text, wall));
}

static void put_report(struct buffer *out, const struct agent *a, const struct task *t)
{
        static const char *const names[] = { "starting", "running", "ended" };

        if (out->data[out->len - 1] != '[')
                buffer_putc(out, ',');
        buffer_printf(out,
                "{\"id\":\"%s.%" PRIu32 "\",\"job\":\"%s\",\"index\":%" PRIu32
                ",\"version\":%" PRIu32 ",\"state\":\"%s\",\"ready\":%s,",
                t->job->name, t->index, t->job->name, t->index, t->version, names[t->state],
                t->state == RUNNING ? "true" : "false");
        if (t->state == ENDED)
                buffer_puts(out, "\"result\":\"stopped\",");
        if (t->state == RUNNING)
                buffer_printf(out, "\"pid\":%" PRIu32 ",",
                        FIRST_PID + a->number * 1000 + (uint32_t) (t - a->tasks));
        buffer_printf(out, "\"runs\":%" PRIu32 ",\"restarts\":0,\"since\":\"", t->runs);
        put_wall(out, t->since_wall);
        buffer_puts(out, "\",\"started_at\":\"");
        put_wall(out, t->since_wall);
        buffer_printf(out,
                "\",\"desire\":{\"run\":%s,\"version\":%" PRIu32 ",\"restart_version\":%" PRIu32
                ",\"generation\":%" PRIu64 "},\"parked\":false}",
                t->run ? "true" : "false", t->version, t->restart_version, t->generation);
}

static void say_hello(struct agent *a)
{
        AUTO(buffer_done) struct buffer text = { 0 };

        buffer_printf(&text,
                "{\"type\":\"hello\",\"protocol\":1,\"note_seq\":%" PRIu64 ",\"node\":",
                a->note_seq);
        played_put_node(&text, a->number);
        buffer_puts(&text, ",\"tasks\":[");
        for (uint32_t i = 0; i < a->tasks_len; i++) {
                a->tasks[i].changed = false;
                put_report(&text, a, &a->tasks[i]);
        }
        buffer_puts(&text, "]}");
        put_frame(a, OP_TEXT, text.data, text.len);
        a->phase = HELLO_SAID;
        b.count.connected++;
}

static void send_notes(struct agent *a)
{
        AUTO(buffer_done) struct buffer text = { 0 };

        if (a->notes_sent == a->notes_len || a->notes_sent >= NOTES_IN_FLIGHT)
                return;
        buffer_puts(&text, "{\"type\":\"notes\",\"notes\":[");
        for (; a->notes_sent < MIN(a->notes_len, NOTES_IN_FLIGHT); a->notes_sent++) {
                const struct note *note = &a->notes[a->notes_sent];

                buffer_printf(&text, "%s[%" PRIu64 ",%s]",
                        text.data[text.len - 1] == '[' ? "" : ",", note->seq, note->text);
                b.count.notes++;
        }
        buffer_puts(&text, "]}");
        put_frame(a, OP_TEXT, text.data, text.len);
}

static void send_reports(struct agent *a)
{
        AUTO(buffer_done) struct buffer text = { 0 };

        buffer_puts(&text, "{\"type\":\"report\",\"tasks\":[");
        for (uint32_t i = 0; i < a->tasks_len; i++) {
                if (!a->tasks[i].changed)
                        continue;
                a->tasks[i].changed = false;
                put_report(&text, a, &a->tasks[i]);
                b.count.reports++;
        }
        if (text.data[text.len - 1] == '[')
                return;
        buffer_puts(&text, "]}");
        put_frame(a, OP_TEXT, text.data, text.len);
}

/* It has something to say at the end of the turn. */
static void mark_changed(struct agent *a)
{
        if (a->changed)
                return;
        a->changed = true;
        a->next_changed = b.changed;
        b.changed = a;
}

static void flush_changed(void)
{
        while (b.changed != NULL) {
                struct agent *a = b.changed;

                b.changed = a->next_changed;
                a->changed = false;
                if (a->phase != WELCOMED)
                        continue;
                send_notes(a);
                send_reports(a);
                flush(a);
        }
}

/* ---- Tasks */

static void add_note(struct agent *a, const struct task *t, const char *kind, const char *message)
{
        struct buffer text = { 0 };

        buffer_puts(&text, "{\"time\":\"");
        put_wall(&text, t->since_wall);
        buffer_printf(&text,
                "\",\"kind\":\"%s\",\"job\":\"%s\",\"task\":\"%s.%" PRIu32 "\",\"version\":%" PRIu32
                ",\"run\":%" PRIu32 ",\"message\":\"%s\"}",
                kind, t->job->name, t->job->name, t->index, t->version, t->runs, message);
        if (a->notes_len == a->notes_allocated) {
                a->notes_allocated = MAX(16, a->notes_allocated * 2);
                a->notes = mem_resize(a->notes, a->notes_allocated, sizeof a->notes[0]);
        }
        a->notes[a->notes_len++] = (struct note){ ++a->note_seq, buffer_take(&text) };
}

static void acknowledge(struct agent *a, uint64_t seq)
{
        size_t n = 0;

        while (n < a->notes_len && a->notes[n].seq <= seq)
                free(a->notes[n++].text);
        memmove(a->notes, a->notes + n, (a->notes_len - n) * sizeof a->notes[0]);
        a->notes_len -= n;
        a->notes_sent -= MIN(n, a->notes_sent);
        if (a->notes_len == 0) {
                free(a->notes);
                a->notes = NULL;
                a->notes_allocated = 0;
        }
        if (n > 0)
                mark_changed(a);
}

static void set_state(struct task *t, enum state state)
{
        b.count.running += (uint64_t) (state == RUNNING) - (uint64_t) (t->state == RUNNING);
        t->state = (uint8_t) state;
        t->since_wall = time_wall();
        t->changed = true;
}

static void task_run(struct agent *a, struct task *t)
{
        char message[64];

        set_state(t, RUNNING);
        b.count.started++;
        b.count.last_start_ns = dial_now_ns();
        snprintf(message, sizeof message,
                "run %" PRIu32 " started, pid %" PRIu32 ", version %" PRIu32, t->runs,
                FIRST_PID + a->number * 1000 + (uint32_t) (t - a->tasks), t->version);
        add_note(a, t, "task-started", message);
}

static void task_start(struct agent *a, struct task *t)
{
        t->runs++;
        if (b.delay_msec == 0) {
                task_run(a, t);
                return;
        }
        set_state(t, STARTING);
        t->due_msec = now_msec() + b.delay_msec;
        a->starting++;
}

static void task_stop(struct agent *a, struct task *t)
{
        if (t->state == STARTING)
                a->starting--;
        set_state(t, ENDED);
        add_note(a, t, "task-stopped", "was asked to stop");
}

static void run_due(struct agent *a, uint64_t now)
{
        for (uint32_t i = 0; i < a->tasks_len && a->starting > 0; i++) {
                struct task *t = &a->tasks[i];

                if (t->state != STARTING || t->due_msec > now)
                        continue;
                a->starting--;
                task_run(a, t);
                mark_changed(a);
        }
}

static struct task *find_task(struct agent *a, const struct job *job, uint32_t index)
{
        for (uint32_t i = 0; i < a->tasks_len; i++)
                if (a->tasks[i].job == job && a->tasks[i].index == index)
                        return &a->tasks[i];
        return NULL;
}

static struct task *add_task(struct agent *a, const struct job *job, uint32_t index)
{
        if (a->tasks_len == a->tasks_allocated) {
                a->tasks_allocated = MAX(8, a->tasks_allocated + a->tasks_allocated / 2);
                a->tasks = mem_resize(a->tasks, a->tasks_allocated, sizeof a->tasks[0]);
        }
        a->tasks[a->tasks_len] = (struct task){ .job = job, .index = index, .state = ENDED };
        return &a->tasks[a->tasks_len++];
}

static void drop_task(struct agent *a, struct task *t)
{
        if (t->state == STARTING)
                a->starting--;
        if (t->state == RUNNING)
                b.count.running--;
        *t = a->tasks[--a->tasks_len];
}

/* ---- What an agent hears */

static bool is_same(const struct task *t, const struct assign *w)
{
        return t->run == w->run && t->version == (uint32_t) w->version &&
               t->restart_version == (uint32_t) w->restart_version &&
               t->generation == (uint64_t) w->generation;
}

static void carry_out(struct agent *a, const struct assign *w)
{
        struct task *t = find_task(a, w->job, w->index);
        bool new_run;

        b.count.assigns++;
        if (w->forget) {
                if (t != NULL)
                        drop_task(a, t);
                return;
        }
        if (t != NULL && is_same(t, w))
                return;
        new_run = w->run && (t == NULL || !t->run || (uint64_t) w->generation > t->generation ||
                                    (uint32_t) w->restart_version > t->restart_version);
        if (t == NULL)
                t = add_task(a, w->job, w->index);
        t->version = (uint32_t) w->version;
        t->restart_version = (uint32_t) w->restart_version;
        t->generation = (uint64_t) w->generation;
        t->run = w->run;
        t->changed = true;
        if (new_run)
                task_start(a, t);
        else if (!w->run && t->state != ENDED)
                task_stop(a, t);
}

/* Tasks that are not in a first assign are not wanted: they are marked by it, and the rest goes. */
static void drop_others(struct agent *a, const char *tasks, size_t len)
{
        AUTO(mem_freep) bool *wanted = mem_alloc(a->tasks_len + 1);
        struct scan_text key;
        struct scan s;

        scan_init(&s, tasks, len);
        scan_array(&s);
        while (scan_item(&s)) {
                struct assign w = { 0 };
                struct task *t;

                scan_object(&s);
                while (scan_member(&s, &key))
                        if (scan_text_is(&key, "task"))
                                played_read_task(&s, &w);
                        else
                                scan_skip(&s, NULL);
                t = w.job == NULL ? NULL : find_task(a, w.job, w.index);
                if (t != NULL)
                        wanted[t - a->tasks] = true;
        }
        for (uint32_t i = a->tasks_len; i-- > 0;)
                if (!wanted[i])
                        drop_task(a, &a->tasks[i]);
}

static void read_assigns(struct agent *a, struct scan *s)
{
        struct scan_text key;

        scan_array(s);
        while (scan_item(s)) {
                struct assign w = { 0 };

                scan_object(s);
                while (scan_member(s, &key)) {
                        if (scan_text_is(&key, "task"))
                                played_read_task(s, &w);
                        else if (scan_text_is(&key, "desire"))
                                played_read_desire(s, &w);
                        else if (scan_text_is(&key, "forget"))
                                scan_bool(s, &w.forget);
                        else
                                scan_skip(s, NULL);
                }
                if (w.job != NULL)
                        carry_out(a, &w);
        }
        mark_changed(a);
}

struct heard {
        struct scan_text type, tasks;
        int64_t seq, note_seq, stream, heartbeat;
        bool all;
};

static void on_welcome(struct agent *a, const struct heard *h)
{
        a->phase = WELCOMED;
        b.count.welcomed++;
        b.count.last_welcome_ns = dial_now_ns();
        if (!b.heartbeat_given)
                b.heartbeat_msec = (uint64_t) h->heartbeat;
        acknowledge(a, (uint64_t) h->note_seq);
        mark_changed(a);
}

static void on_log_open(struct agent *a, int64_t stream)
{
        AUTO(mem_freep)
        char *text = mem_printf("{\"type\":\"log-end\",\"stream\":%" PRId64
                                ",\"error\":{\"code\":\"not_found\",\"message\":"
                                "\"a task that is only played has no logs\"}}",
                stream);

        put_frame(a, OP_TEXT, text, strlen(text));
        flush(a);
}

static void on_heard(struct agent *a, const struct heard *h)
{
        struct scan s;

        if (scan_text_is(&h->type, "assign") && h->tasks.at != NULL) {
                if (h->all)
                        drop_others(a, h->tasks.at, h->tasks.len);
                scan_init(&s, h->tasks.at, h->tasks.len);
                read_assigns(a, &s);
        } else if (scan_text_is(&h->type, "note-ack")) {
                b.count.note_acks++;
                acknowledge(a, (uint64_t) h->seq);
        } else if (scan_text_is(&h->type, "welcome")) {
                on_welcome(a, h);
        } else if (scan_text_is(&h->type, "log-open")) {
                on_log_open(a, h->stream);
        }
}

static void on_text(struct agent *a, const char *text, size_t len)
{
        struct heard h = { 0 };
        struct scan_text key;
        struct scan s;

        scan_init(&s, text, len);
        scan_object(&s);
        while (scan_member(&s, &key)) {
                if (scan_text_is(&key, "type"))
                        scan_word(&s, &h.type);
                else if (scan_text_is(&key, "tasks"))
                        scan_skip(&s, &h.tasks);
                else if (scan_text_is(&key, "seq"))
                        scan_int(&s, &h.seq);
                else if (scan_text_is(&key, "note_seq"))
                        scan_int(&s, &h.note_seq);
                else if (scan_text_is(&key, "stream"))
                        scan_int(&s, &h.stream);
                else if (scan_text_is(&key, "heartbeat_ms"))
                        scan_int(&s, &h.heartbeat);
                else if (scan_text_is(&key, "all"))
                        scan_bool(&s, &h.all);
                else
                        scan_skip(&s, NULL);
        }
        if (scan_end(&s))
                on_heard(a, &h);
        else
                broken(a, "the server's message is not JSON");
}

static void on_frame(struct agent *a, int op, const char *bytes, size_t len)
{
        if (op == OP_TEXT) {
                on_text(a, bytes, len);
        } else if (op == OP_PING) {
                put_frame(a, OP_PONG, bytes, len);
                flush(a);
        } else if (op == OP_CLOSE) {
                broken(a, "closed by the server");
        }
}

/* Takes one frame from @at; returns its length with its head, or 0 if it is not all there. */
static size_t take_frame(struct agent *a, const char *at, size_t len)
{
        const unsigned char *p = (const unsigned char *) at;
        size_t head = 2, body;

        if (len < 2)
                return 0;
        body = p[1] & 0x7f;
        head += body == 126 ? 2 : body == 127 ? 8 : 0;
        if (len < head)
                return 0;
        if (head > 2) {
                body = 0;
                for (size_t i = 2; i < head; i++)
                        body = body << 8 | p[i];
        }
        if (len - head < body)
                return 0;
        on_frame(a, p[0] & 0x0f, at + head, body);
        return head + body;
}

/* The answer to the handshake. Returns how much of @at it was. */
static size_t take_answer(struct agent *a, const char *at, size_t len)
{
        const char *end = memmem(at, len, "\r\n\r\n", 4);

        if (end == NULL)
                return 0;
        if (len < 12 || memcmp(at, "HTTP/1.1 101", 12) != 0) {
                fprintf(stderr, "bench-agents: %.*s\n", (int) len, at);
                exit(1);
        }
        say_hello(a);
        flush(a);
        return (size_t) (end + 4 - at);
}

static void on_bytes(struct agent *a, const char *bytes, size_t len)
{
        size_t done = 0, taken;
        bool kept = a->in.len > 0;

        if (kept) {
                buffer_put(&a->in, bytes, len);
                bytes = a->in.data;
                len = a->in.len;
        }
        do {
                taken = a->phase < HELLO_SAID ? take_answer(a, bytes + done, len - done)
                                              : take_frame(a, bytes + done, len - done);
                done += taken;
        } while (taken > 0 && a->phase != AWAY && done < len);
        if (a->phase == AWAY)
                return;
        if (kept && done == len)
                buffer_done(&a->in);
        else if (kept)
                buffer_consume(&a->in, done);
        else if (done < len)
                buffer_put(&a->in, bytes + done, len - done);
}

static void on_ready(struct agent *a, uint32_t events)
{
        static char bytes[READ_SIZE];
        ssize_t n;

        if (a->phase == SILENT)
                return;
        if ((events & EPOLLOUT) != 0) {
                a->phase = a->phase == CONNECTING ? SHAKING_HANDS : a->phase;
                flush(a);
        }
        if (a->phase == AWAY || (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0)
                return;
        n = recv(a->fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
                return;
        if (n <= 0) {
                broken(a, n < 0 ? strerror(errno) : "ended by the server");
                return;
        }
        b.count.bytes_in += (uint64_t) n;
        on_bytes(a, bytes, (size_t) n);
}

/* ---- Time */

/* So many of all as the time that has passed is of the interval. */
static void send_pings(uint64_t passed_msec)
{
        double upto;

        if (b.heartbeat_msec == 0)
                return;
        upto = b.next_ping +
               MIN((double) passed_msec / (double) b.heartbeat_msec, 1) * (double) b.agents_len;
        for (; b.next_ping < upto; b.next_ping++) {
                struct agent *a = &b.agents[(uint64_t) b.next_ping % b.agents_len];

                if (a->phase != WELCOMED)
                        continue;
                put_frame(a, OP_PING, "", 0);
                flush(a);
                b.count.pings++;
        }
}

static void on_tick(void)
{
        uint64_t now = now_msec(), expirations;

        if (read(b.timer, &expirations, sizeof expirations) < 0 && errno != EAGAIN)
                dial_fail("timerfd");
        send_pings(now - b.last_tick_msec);
        b.last_tick_msec = now;
        for (uint32_t i = 0; i < b.agents_len; i++) {
                struct agent *a = &b.agents[i];

                if (a->phase == AWAY && !a->lost && a->retry_msec <= now)
                        connect_agent(a);
                if (a->starting > 0)
                        run_due(a, now);
        }
}

/* ---- The driver's commands */

static uint64_t unacknowledged(void)
{
        uint64_t notes = 0;

        for (uint32_t i = 0; i < b.agents_len; i++)
                notes += b.agents[i].notes_len;
        return notes;
}

static void answer_status(void)
{
        printf("{\"agents\": %" PRIu32 ", \"connected\": %" PRIu64 ", \"welcomed\": %" PRIu64
               ", \"running\": %" PRIu64 ", \"started\": %" PRIu64 ", \"assigns\": %" PRIu64
               ", \"reports\": %" PRIu64 ", \"notes\": %" PRIu64 ", \"note_acks\": %" PRIu64
               ", \"pings\": %" PRIu64 ", \"bytes_in\": %" PRIu64 ", \"bytes_out\": %" PRIu64
               ", \"breaks\": %" PRIu64 ", \"last_start_ns\": %" PRIu64
               ", \"last_welcome_ns\": %" PRIu64 ", \"unacknowledged\": %" PRIu64
               ", \"now_ns\": %" PRIu64 "}\n",
                b.agents_len, b.count.connected, b.count.welcomed, b.count.running, b.count.started,
                b.count.assigns, b.count.reports, b.count.notes, b.count.note_acks, b.count.pings,
                b.count.bytes_in, b.count.bytes_out, b.count.breaks, b.count.last_start_ns,
                b.count.last_welcome_ns, unacknowledged(), dial_now_ns());
        fflush(stdout);
}

static void check_await(void)
{
        uint64_t is = strcmp(b.await.what, "connected") == 0 ? b.count.welcomed
                      : strcmp(b.await.what, "running") == 0 ? b.count.running
                                                             : b.count.started;

        if (b.await.what[0] == '\0' || is < b.await.count)
                return;
        b.await.what[0] = '\0';
        answer_status();
}

/* Answers how many tasks they had. */
static void lose(unsigned long count, bool silent)
{
        uint64_t tasks = 0, running = 0, begin = dial_now_ns(), agents = 0;

        for (uint32_t i = 0; i < b.agents_len && agents < count; i++) {
                struct agent *a = &b.agents[i];

                if (a->phase != WELCOMED)
                        continue;
                agents++;
                tasks += a->tasks_len;
                for (uint32_t k = 0; k < a->tasks_len; k++)
                        running += a->tasks[k].state == RUNNING;
                a->lost = true;
                if (silent) {
                        a->phase = SILENT;
                        watch(a, EPOLL_CTL_DEL, 0);
                } else {
                        disconnect(a);
                }
        }
        b.count.running -= running; /* of those that can still be heard */
        b.count.started = 0;
        printf("{\"agents\": %" PRIu64 ", \"tasks\": %" PRIu64 ", \"running\": %" PRIu64
               ", \"now_ns\": %" PRIu64 "}\n",
                agents, tasks, running, begin);
        fflush(stdout);
}

static void come_back(void)
{
        b.await.what[0] = '\0'; /* what is still awaited will not come */
        for (uint32_t i = 0; i < b.agents_len; i++) {
                struct agent *a = &b.agents[i];

                if (!a->lost)
                        continue;
                for (uint32_t k = 0; k < a->tasks_len; k++)
                        b.count.running += a->tasks[k].state == RUNNING;
                a->lost = false;
                if (a->phase != AWAY)
                        disconnect(a);
                a->retry_msec = 0;
        }
        answer_status();
}

static void on_command(const char *line)
{
        char word[16], how[16];
        unsigned long count;

        if (strcmp(line, "status") == 0) {
                answer_status();
        } else if (strcmp(line, "back") == 0) {
                come_back();
        } else if (strcmp(line, "quit") == 0) {
                b.quit = true;
        } else if (sscanf(line, "await %15s %lu", word, &count) == 2) {
                snprintf(b.await.what, sizeof b.await.what, "%s", word);
                b.await.count = count;
        } else if (sscanf(line, "lose %lu %15s", &count, how) == 2) {
                lose(count, strcmp(how, "silent") == 0);
        } else {
                fprintf(stderr, "bench-agents: unknown command: %s\n", line);
        }
}

static void on_input(void)
{
        char bytes[4096], *end;
        ssize_t n = read(STDIN_FILENO, bytes, sizeof bytes);

        if (n <= 0) {
                b.quit = true; /* the driver is gone */
                return;
        }
        buffer_put(&b.input, bytes, (size_t) n);
        while ((end = memchr(b.input.data, '\n', b.input.len)) != NULL) {
                *end = '\0';
                on_command(b.input.data);
                buffer_consume(&b.input, (size_t) (end + 1 - b.input.data));
        }
}

/* ---- The program */

static int parse_options(int argc, char **argv)
{
        static const struct option options[] = {
                { "server", required_argument, NULL, 's' },
                { "agents", required_argument, NULL, 'a' },
                { "heartbeat", required_argument, NULL, 'h' },
                { "delay", required_argument, NULL, 'd' },
                { 0 },
        };
        int c;

        while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
                if (c == 'a') {
                        b.agents_len = (uint32_t) strtoul(optarg, NULL, 10);
                } else if (c == 'h') {
                        b.heartbeat_msec = strtoul(optarg, NULL, 10);
                        b.heartbeat_given = true;
                } else if (c == 'd') {
                        b.delay_msec = strtoul(optarg, NULL, 10);
                } else if (c != 's' || dial_parse(optarg, &b.address) < 0) {
                        return -1;
                }
        }
        return b.agents_len == 0 || b.address.len == 0 || optind < argc ? -1 : 0;
}

static void watch_other(int fd, void *which)
{
        if (epoll_ctl(b.epoll, EPOLL_CTL_ADD, fd,
                    &(struct epoll_event){ .events = EPOLLIN, .data.ptr = which }) < 0)
                dial_fail("epoll_ctl");
}

static void begin(void)
{
        struct itimerspec every = { .it_interval.tv_nsec = TICK_MSEC * 1000000,
                .it_value.tv_nsec = 1 };

        dial_raise_descriptors();
        b.epoll = epoll_create1(EPOLL_CLOEXEC);
        b.timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
        if (b.epoll < 0 || b.timer < 0 || timerfd_settime(b.timer, 0, &every, NULL) < 0)
                dial_fail("epoll");
        watch_other(b.timer, &b.timer);
        watch_other(STDIN_FILENO, &b.input);
        b.last_tick_msec = now_msec();
        b.agents = mem_alloc(b.agents_len * sizeof b.agents[0]);
        for (uint32_t i = 0; i < b.agents_len; i++) {
                b.agents[i].number = i + 1;
                b.agents[i].fd = -1;
        }
}

int main(int argc, char **argv)
{
        struct epoll_event events[512];

        if (parse_options(argc, argv) < 0) {
                fprintf(stderr, "usage: bench-agents --server unix:PATH|http://IP:PORT --agents N "
                                "[--heartbeat MS] [--delay MS]\n");
                return 2;
        }
        begin();
        while (!b.quit) {
                int n = epoll_wait(b.epoll, events, ARRAY_SIZE(events), -1);

                for (int i = 0; i < n; i++) {
                        if (events[i].data.ptr == &b.timer)
                                on_tick();
                        else if (events[i].data.ptr == &b.input)
                                on_input();
                        else
                                on_ready(events[i].data.ptr, events[i].events);
                }
                flush_changed();
                check_await();
        }
        return 0;
}
