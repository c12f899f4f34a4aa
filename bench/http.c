/* SPDX-License-Identifier: BSD-3-Clause */
/* What bench/cluster asks the API with, and what it compares the answers with.
 *
 *      bench-http serve ADDR BYTES
 *      bench-http load ADDR CONNECTIONS SECONDS PATH...
 *      bench-http submit ADDR CONNECTIONS SECONDS
 *      bench-http follow ADDR CONNECTIONS
 *
 * `serve` is the bare responder: epoll, one thread, and for whatever ends in an empty line one
 * answer of BYTES made beforehand. It parses nothing: no server answers faster. Until its stdin
 * ends.
 *
 * `load` asks for the paths in turn on connections that are kept, each with one request at a time
 * (SECONDS 0: until stdin ends); `submit` posts jobs of one task, each with a name of its own. Both
 * print one line of JSON at the end.
 *
 * `follow` follows the events on each connection. On stdin, `ready` is answered when the server has
 * answered all of them; when `mark` is read it forgets what it has counted; `await N` answers when
 * N events have reached every follower since then: with the times from an event to the last
 * follower, by the time that stands in the event.
 *
 * One thread and level-triggered epoll, as little as there can be: it shares the machine with what
 * is measured. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/mem.h"
#include "base/time.h"
#include "dial.h"

#define READ_SIZE (256 * 1024)
#define RING      (1 << 20) /* events that are on their way to the followers */

struct client {
        int fd;
        unsigned number, count;
        uint64_t begun_ns;
        struct buffer out, in;
        size_t sent, body_left;
        bool in_body;
};

struct seen {
        uint64_t id;
        uint32_t count;
        usec_t time_wall;
};

static struct {
        int epoll;
        struct dial address;
        struct client *clients;
        unsigned clients_len;
        char **paths;
        int paths_len;
        bool submits, ended;
        char prefix[32];
        uint32_t *times; /* microseconds */
        size_t times_len, times_allocated;
        uint64_t requests, errors, bytes, begun_ns;
        struct seen *seen;
        uint64_t all_seen, deliveries, awaited, last_seen_ns;
        unsigned heard; /* followers to whom the server has answered */
        bool ready_awaited;
} b;

static char read_bytes[READ_SIZE];

static void watch(int op, int fd, uint32_t events, void *data)
{
        struct epoll_event event = { .events = events, .data.ptr = data };

        if (epoll_ctl(b.epoll, op, fd, &event) < 0)
                dial_fail("epoll_ctl");
}

static void add_time(uint64_t usec)
{
        if (b.times_len == b.times_allocated) {
                b.times_allocated = MAX((size_t) 1024, b.times_allocated * 2);
                b.times = mem_resize(b.times, b.times_allocated, sizeof b.times[0]);
        }
        b.times[b.times_len++] = (uint32_t) MIN(usec, UINT32_MAX);
}

static int compare(const void *x, const void *y)
{
        uint32_t one = *(const uint32_t *) x, other = *(const uint32_t *) y;

        return one < other ? -1 : one > other;
}

static double time_at(double share)
{
        if (b.times_len == 0)
                return 0;
        return b.times[MIN(b.times_len - 1, (size_t) ((double) b.times_len * share))] / 1e3;
}

static void report(void)
{
        uint64_t end_ns = b.last_seen_ns > b.begun_ns ? b.last_seen_ns : dial_now_ns();
        double seconds = (double) (end_ns - b.begun_ns) / 1e9;

        if (b.times_len > 0)
                qsort(b.times, b.times_len, sizeof b.times[0], compare);
        printf("{\"requests\": %" PRIu64 ", \"errors\": %" PRIu64
               ", \"seconds\": %.3f, \"per_second\": %.1f, \"events\": %" PRIu64
               ", \"deliveries\": %" PRIu64
               ", \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"most_ms\": %.3f, "
               "\"bytes\": %" PRIu64 "}\n",
                b.requests, b.errors, seconds, (double) b.requests / seconds, b.all_seen,
                b.deliveries, time_at(0.5), time_at(0.99), time_at(1), b.bytes);
        fflush(stdout);
}

/* ---- Asking */

static void client_flush(struct client *c)
{
        while (c->sent < c->out.len) {
                ssize_t n = send(c->fd, c->out.data + c->sent, c->out.len - c->sent,
                        MSG_NOSIGNAL | MSG_DONTWAIT);

                if (n < 0 && errno == EAGAIN) {
                        watch(EPOLL_CTL_MOD, c->fd, EPOLLIN | EPOLLOUT, c);
                        return;
                }
                if (n < 0)
                        dial_fail("send");
                c->sent += (size_t) n;
        }
        watch(EPOLL_CTL_MOD, c->fd, EPOLLIN, c);
}

static void put_submission(struct client *c)
{
        char body[256];
        int len = snprintf(body, sizeof body,
                "{\"jobs\":{\"%s-%u-%u\":{\"kind\":\"service\",\"command\":[\"/bin/true\"]}}}",
                b.prefix, c->number, c->count);

        buffer_printf(&c->out,
                "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                "Content-Length: %d\r\n\r\n%s",
                len, body);
}

static void client_ask(struct client *c)
{
        buffer_reset(&c->out);
        c->sent = 0;
        if (b.submits)
                put_submission(c);
        else
                buffer_printf(&c->out, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n",
                        b.paths[(c->number + c->count) % (unsigned) b.paths_len]);
        c->count++;
        c->begun_ns = dial_now_ns();
        client_flush(c);
}

static void client_answered(struct client *c, bool good)
{
        b.requests++;
        b.errors += !good;
        if (!good && b.errors == 1)
                fprintf(stderr, "bench-http: %.*s\n", (int) MIN(c->in.len, 300), c->in.data);
        add_time((dial_now_ns() - c->begun_ns) / 1000);
        buffer_reset(&c->in);
        client_ask(c);
}

static size_t content_length(const char *head)
{
        const char *at = strcasestr(head, "\r\ncontent-length:");

        return at == NULL ? 0 : strtoull(at + strlen("\r\ncontent-length:"), NULL, 10);
}

/* One answer at a time is due, so that all that comes belongs to it. */
static void client_heard(struct client *c, const char *bytes, size_t len)
{
        const char *end;
        size_t body;

        if (c->in_body) {
                c->body_left -= MIN(len, c->body_left);
        } else {
                buffer_put(&c->in, bytes, len);
                end = strstr(c->in.data, "\r\n\r\n");
                if (end == NULL)
                        return;
                body = content_length(c->in.data);
                len = c->in.len - (size_t) (end + 4 - c->in.data);
                c->body_left = body - MIN(body, len);
                c->in_body = true;
        }
        if (c->body_left > 0)
                return;
        c->in_body = false;
        client_answered(c, memcmp(c->in.data, "HTTP/1.1 2", 10) == 0);
}

/* ---- Following */

static void follow_seen(uint64_t id, const char *text)
{
        struct seen *s = &b.seen[id % RING];
        const char *time;
        char copy[TIME_TEXT_MAX];
        usec_t now;

        if (s->id != id) {
                *s = (struct seen){ .id = id };
                time = strstr(text, "\"time\":\"");
                if (time != NULL) {
                        snprintf(copy, sizeof copy, "%.24s", time + 8);
                        time_parse_wall(copy, &s->time_wall);
                }
        }
        b.deliveries++;
        if (++s->count < b.clients_len)
                return;
        now = time_wall();
        b.last_seen_ns = dial_now_ns();
        b.all_seen++;
        add_time(now > s->time_wall ? now - s->time_wall : 0);
}

/* Events are blocks that end in an empty line; what chunks put in between are lines of their own.
 */
static void follow_heard(struct client *c, const char *bytes, size_t len)
{
        char *at, *end;

        b.heard += c->count++ == 0;
        buffer_put(&c->in, bytes, len);
        at = c->in.data;
        while ((end = strstr(at, "\n\n")) != NULL) {
                char *id;

                *end = '\0';
                id = strstr(at, "id: ");
                if (id != NULL)
                        follow_seen(strtoull(id + 4, NULL, 10), id);
                at = end + 2;
        }
        buffer_consume(&c->in, (size_t) (at - c->in.data));
}

static void follow_ask(struct client *c)
{
        buffer_puts(&c->out, "GET /v1/events?after=9007199254740991 HTTP/1.1\r\nHost: localhost\r\n"
                             "Accept: text/event-stream\r\n\r\n");
        client_flush(c);
}

static void follow_check(void)
{
        bool ready = b.ready_awaited && b.heard == b.clients_len;

        if (!ready && (b.awaited == 0 || b.all_seen < b.awaited))
                return;
        b.ready_awaited = false;
        b.awaited = 0;
        report();
}

static void follow_command(const char *line)
{
        unsigned long count;

        if (sscanf(line, "await %lu", &count) == 1)
                b.awaited = count;
        else if (strncmp(line, "ready", 5) == 0)
                b.ready_awaited = true;
        else if (strncmp(line, "mark", 4) == 0) {
                b.times_len = b.all_seen = b.deliveries = b.bytes = 0;
                b.begun_ns = dial_now_ns();
                report();
        }
}

/* ---- The bare responder */

static int serve(const struct dial *address, size_t bytes)
{
        struct buffer answer = { 0 };
        struct epoll_event events[256];
        int listener = dial_listen(address), stop = STDIN_FILENO;

        buffer_printf(&answer,
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                bytes);
        memset(buffer_reserve(&answer, bytes), ' ', bytes);
        buffer_commit(&answer, bytes);
        watch(EPOLL_CTL_ADD, listener, EPOLLIN, &listener);
        watch(EPOLL_CTL_ADD, STDIN_FILENO, EPOLLIN, &stop);
        for (;;) {
                int n = epoll_wait(b.epoll, events, ARRAY_SIZE(events), -1);

                for (int i = 0; i < n; i++) {
                        int fd = (int) (intptr_t) events[i].data.ptr;
                        ssize_t got;

                        if (events[i].data.ptr == &stop)
                                return 0;
                        if (events[i].data.ptr == &listener) {
                                fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
                                if (fd >= 0)
                                        watch(EPOLL_CTL_ADD, fd, EPOLLIN, (void *) (intptr_t) fd);
                                continue;
                        }
                        got = recv(fd, read_bytes, sizeof read_bytes, 0);
                        if (got <= 0)
                                close(fd);
                        else if (memmem(read_bytes, (size_t) got, "\r\n\r\n", 4) != NULL &&
                                 send(fd, answer.data, answer.len, MSG_NOSIGNAL) < 0)
                                close(fd);
                }
        }
}

/* ---- The program */

static void client_ready(struct client *c, uint32_t events, bool follows)
{
        ssize_t n;

        if ((events & EPOLLOUT) != 0)
                client_flush(c);
        if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0)
                return;
        n = recv(c->fd, read_bytes, sizeof read_bytes - 1, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
                return;
        if (n <= 0) {
                fprintf(stderr, "bench-http: the server has ended a connection\n");
                exit(1);
        }
        b.bytes += (uint64_t) n;
        if (follows)
                follow_heard(c, read_bytes, (size_t) n);
        else
                client_heard(c, read_bytes, (size_t) n);
}

static void on_input(bool follows)
{
        ssize_t n = read(STDIN_FILENO, read_bytes, sizeof read_bytes - 1);

        if (n <= 0) {
                b.ended = true;
                return;
        }
        read_bytes[n] = '\0';
        if (follows)
                follow_command(read_bytes);
}

static void clients_begin(unsigned count, bool follows)
{
        b.clients = mem_alloc(count * sizeof b.clients[0]);
        b.clients_len = count;
        for (unsigned i = 0; i < count; i++) {
                struct client *c = &b.clients[i];

                c->number = i;
                while ((c->fd = dial_connect(&b.address)) < 0) {
                        if (errno != EAGAIN)
                                dial_fail("connect");
                        usleep(1000); /* its backlog is full */
                }
                watch(EPOLL_CTL_ADD, c->fd, EPOLLIN, c);
                if (follows)
                        follow_ask(c);
                else
                        client_ask(c);
        }
        b.begun_ns = dial_now_ns();
}

static void run(uint64_t seconds, bool follows)
{
        struct epoll_event events[256];
        uint64_t end_ns = b.begun_ns + seconds * 1000000000;

        watch(EPOLL_CTL_ADD, STDIN_FILENO, EPOLLIN, &b);
        while (!b.ended && (seconds == 0 || dial_now_ns() < end_ns)) {
                int n = epoll_wait(b.epoll, events, ARRAY_SIZE(events), 100);

                for (int i = 0; i < n; i++)
                        if (events[i].data.ptr == &b)
                                on_input(follows);
                        else
                                client_ready(events[i].data.ptr, events[i].events, follows);
                follow_check();
        }
}

static int usage(void)
{
        fputs("usage: bench-http serve ADDR BYTES\n"
              "       bench-http load ADDR CONNECTIONS SECONDS PATH...\n"
              "       bench-http submit ADDR CONNECTIONS SECONDS\n"
              "       bench-http follow ADDR CONNECTIONS\n",
                stderr);
        return 2;
}

int main(int argc, char **argv)
{
        bool follows;
        unsigned count;

        if (argc < 4 || dial_parse(argv[2], &b.address) < 0)
                return usage();
        dial_raise_descriptors();
        b.epoll = epoll_create1(EPOLL_CLOEXEC);
        count = (unsigned) strtoul(argv[3], NULL, 10);
        if (strcmp(argv[1], "serve") == 0)
                return serve(&b.address, count);
        follows = strcmp(argv[1], "follow") == 0;
        b.submits = strcmp(argv[1], "submit") == 0;
        b.paths = argv + 5;
        b.paths_len = argc - 5;
        snprintf(b.prefix, sizeof b.prefix, "s%x", (unsigned) getpid());
        if (count == 0 || (!follows && argc < 5) ||
                (strcmp(argv[1], "load") == 0 && b.paths_len < 1))
                return usage();
        if (follows)
                b.seen = mem_alloc(RING * sizeof b.seen[0]);
        clients_begin(count, follows);
        run(follows ? 0 : strtoul(argv[4], NULL, 10), follows);
        if (!follows)
                report();
        return 0;
}
