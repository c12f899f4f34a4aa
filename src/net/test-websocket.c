/* SPDX-License-Identifier: BSD-3-Clause */
#include "net/http-server.h"
#include "net/test-tls.h"
#include "net/websocket-internal.h"

static struct pki *over_tls; /* NULL: plain */

/* A server that upgrades what comes to "/ws" and echoes; a client that remembers. */
struct fixture;

struct end {
        struct fixture *f;
        struct websocket *ws;
        bool opened, closed, echo;
        char reason[400];
        struct buffer last;
        bool last_text;
        unsigned messages, drained;
        const char *action; /* what to do in the next on_message: "close" */
};

struct fixture {
        uv_loop_t loop;
        struct http_server *server;
        struct address address;
        struct end there, here;
        struct websocket_handlers handlers;
        struct http_request *kept;
        char dir[32];
};

static void on_open(void *data)
{
        struct end *e = data;

        e->opened = true;
        if (e->action != NULL && strcmp(e->action, "close-on-open") == 0)
                websocket_close(take_ptr(e->ws), 1000, NULL);
}

static void on_message(void *data, bool text, const void *bytes, size_t len)
{
        struct end *e = data;

        e->messages++;
        e->last_text = text;
        assert_int_equal(((const char *) bytes)[len], 0);
        buffer_reset(&e->last);
        buffer_put(&e->last, bytes, len);
        if (e->echo)
                websocket_send(e->ws, text, bytes, len);
        if (e->action != NULL && strcmp(e->action, "close") == 0)
                websocket_close(take_ptr(e->ws), 1001, "enough");
}

static void on_drain(void *data)
{
        struct end *e = data;

        e->drained++;
        if (e->action != NULL && strcmp(e->action, "close-on-drain") == 0)
                websocket_close(take_ptr(e->ws), 1000, NULL);
}

static void on_close(void *data, const char *reason)
{
        struct end *e = data;

        assert_false(e->closed);
        e->closed = true;
        e->ws = NULL;
        snprintf(e->reason, sizeof e->reason, "%s", reason);
}

static void on_request(void *data, struct http_request *req)
{
        struct fixture *f = data;
        struct error err;

        if (strcmp(http_request_path(req), "/keep") == 0) {
                f->kept = req;
        } else if (strcmp(http_request_path(req), "/no") == 0) {
                http_request_reply(req, 403, "text/plain", "no\nway", 6);
        } else if (strcmp(http_request_path(req), "/plain") == 0) {
                http_request_reply(req, 200, "text/plain", "hi", 2);
        } else if (http_request_upgrade(req, &f->handlers, &f->there, &f->there.ws, &err) < 0) {
                http_request_reply(req, 400, "text/plain", err.message, strlen(err.message));
        }
}

static void setup(struct fixture *f, bool is_unix)
{
        const struct http_server_options options = { .on_request = on_request, .data = f };
        struct error err;

        memset(f, 0, sizeof *f);
        uv_loop_init(&f->loop);
        f->there = (struct end){ .f = f, .echo = true };
        f->here = (struct end){ .f = f };
        f->handlers = (struct websocket_handlers){ .on_open = on_open,
                .on_message = on_message,
                .on_drain = on_drain,
                .on_close = on_close };
        f->address = tcp_address(0);
        if (over_tls != NULL && !is_unix)
                f->address = tls_address(0, over_tls->server);
        if (is_unix) {
                snprintf(f->dir, sizeof f->dir, "/tmp/net-XXXXXX");
                assert_non_null(mkdtemp(f->dir));
                f->address.is_unix = true;
                snprintf(f->address.path, sizeof f->address.path, "%s/sock", f->dir);
        }
        f->server = http_server_new(&f->loop, &options);
        if (http_server_listen(f->server, &f->address, 0600, &err) < 0)
                fail_msg("%s", err.message);
        f->address.port = http_server_port(f->server);
        f->address.context = over_tls != NULL ? over_tls->client : NULL;
}

static void teardown(struct fixture *f)
{
        websocket_close(f->here.ws, 1000, NULL);
        websocket_close(f->there.ws, 1000, NULL);
        http_server_free(f->server);
        loop_close(&f->loop);
        buffer_done(&f->here.last);
        buffer_done(&f->there.last);
        if (f->dir[0] != '\0')
                assert_int_equal(rmdir(f->dir), 0);
}

static void dial(struct fixture *f, const char *path)
{
        static const char *const headers[] = { "X-Node", "n1", NULL };
        struct error err;

        if (websocket_connect(&f->loop, &f->address, path, headers, &f->handlers, &f->here,
                    &f->here.ws, &err) < 0)
                fail_msg("%s", err.message);
        assert_false(f->here.opened || f->here.closed);
}

static void connect_both(struct fixture *f)
{
        dial(f, "/ws");
        wait_for(&f->loop, f->here.opened);
        assert_non_null(f->there.ws);
}

static void test_echo(void **state)
{
        static const size_t sizes[] = { 0, 1, 125, 126, 127, 4096, 65535, 65536, 200000, 5000000 };
        char *bytes = mem_alloc(5000000);

        (void) state;
        for (size_t i = 0; i < 5000000; i++)
                bytes[i] = (char) ('a' + i % 23);
        for (int is_unix = 0; is_unix < 2; is_unix++) {
                struct fixture f;

                setup(&f, is_unix);
                connect_both(&f);
                for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
                        websocket_send(f.here.ws, i % 2, bytes, sizes[i]);
                        wait_for(&f.loop, f.here.messages == i + 1);
                        assert_int_equal(f.here.last.len, sizes[i]);
                        assert_int_equal(f.here.last_text, i % 2);
                        assert_int_equal(f.there.last_text, i % 2);
                        if (sizes[i] > 0)
                                assert_memory_equal(f.here.last.data, bytes, sizes[i]);
                }
                /* many at once */
                for (int i = 0; i < 10000; i++)
                        websocket_send(f.here.ws, true, bytes, 100);
                wait_for(&f.loop, f.here.messages == ARRAY_SIZE(sizes) + 10000);
                assert_true(f.here.drained > 0);
                assert_int_equal(websocket_queued(f.here.ws), 0);
                teardown(&f);
        }
        free(bytes);
}

static void test_close(void **state)
{
        static char large[200000];
        struct fixture f;

        (void) state;
        setup(&f, false); /* by the client */
        connect_both(&f);
        websocket_send(f.here.ws, true, "last", 4);
        websocket_close(take_ptr(f.here.ws), 1000, "bye");
        wait_for(&f.loop, f.there.closed);
        assert_string_equal(f.there.reason, "closed by the peer with 1000: bye");
        assert_int_equal(f.there.messages, 1);
        assert_false(f.here.closed);
        teardown(&f);

        setup(&f, true); /* by the server, in its callback, with more behind */
        connect_both(&f);
        f.there.action = "close";
        websocket_send(f.here.ws, true, "1", 1);
        websocket_send(f.here.ws, true, "2", 1);
        wait_for(&f.loop, f.here.closed);
        assert_string_equal(f.here.reason, "closed by the peer with 1001: enough");
        assert_int_equal(f.there.messages, 1);
        assert_int_equal(f.here.messages, 1);
        assert_false(f.there.closed);
        teardown(&f);

        setup(&f, true); /* by the client, as soon as it is open, and before */
        f.here.action = "close-on-open";
        dial(&f, "/ws");
        wait_for(&f.loop, f.there.closed);
        f.here = (struct end){ .f = &f };
        dial(&f, "/ws");
        websocket_close(take_ptr(f.here.ws), 1000, NULL);
        teardown(&f);

        setup(&f, false); /* when all is sent */
        connect_both(&f);
        f.here.action = "close-on-drain";
        websocket_send(f.here.ws, false, large, sizeof large);
        wait_for(&f.loop, f.there.closed);
        assert_int_equal(f.there.last.len, sizeof large);
        assert_int_equal(f.here.drained, 1);
        teardown(&f);

        setup(&f, true); /* the server is freed: a WebSocket is not its own any more */
        connect_both(&f);
        http_server_free(take_ptr(f.server));
        websocket_send(f.here.ws, true, "x", 1);
        wait_for(&f.loop, f.here.messages == 1);
        teardown(&f);

        setup(&f, true); /* a long reason, cut between letters */
        connect_both(&f);
        websocket_close(take_ptr(f.here.ws), 4000,
                "x\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
                "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
                "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
                "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
                "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
                "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
                "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9");
        wait_for(&f.loop, f.there.closed);
        assert_int_equal(strlen(f.there.reason), strlen("closed by the peer with 4000: ") + 123);
        teardown(&f);
}

static void check_fails(struct fixture *f, const char *path, const char *reason)
{
        f->here = (struct end){ .f = f };
        dial(f, path);
        wait_for(&f->loop, f->here.closed);
        assert_false(f->here.opened);
        if (strstr(f->here.reason, reason) == NULL)
                fail_msg("%s", f->here.reason);
}

static void test_connect_fails(void **state)
{
        struct websocket *ws;
        struct fixture f;
        struct error err;

        (void) state;
        setup(&f, true);
        assert_int_equal(websocket_connect(&f.loop, &f.address, "no-path", NULL, &f.handlers,
                                 &f.here, &ws, &err),
                -1);
        check_fails(&f, "/no", "refused with 403 Forbidden: no way");
        check_fails(&f, "/plain", "refused with 200 OK: hi");
        f.handlers.connect_timeout = 200 * USEC_MSEC;
        check_fails(&f, "/keep", "no answer in time");
        http_request_reply(f.kept, 200, "text/plain", "", 0);
        http_server_free(take_ptr(f.server));
        check_fails(&f, "/ws", "No such file");
        f.address = tcp_address(1);
        check_fails(&f, "/ws", "connect to http://127.0.0.1:1: Connection refused");
        teardown(&f);
}

/* The peer goes while the application makes up its mind. */
static void test_late_upgrade(void **state)
{
        struct fixture f;

        (void) state;
        setup(&f, true);
        dial(&f, "/keep");
        wait_for(&f.loop, f.kept != NULL);
        assert_true(http_request_wants_websocket(f.kept));
        assert_string_equal(http_request_header(f.kept, "x-node"), "n1");
        assert_int_equal(http_request_upgrade(f.kept, &f.handlers, &f.there, &f.there.ws, NULL), 0);
        wait_for(&f.loop, f.here.opened);
        websocket_close(take_ptr(f.here.ws), 1000, NULL);
        wait_for(&f.loop, f.there.closed);

        f.here = f.there = (struct end){ .f = &f };
        f.kept = NULL;
        dial(&f, "/keep");
        wait_for(&f.loop, f.kept != NULL);
        websocket_close(take_ptr(f.here.ws), 1000, NULL);
        wait_for(&f.loop, http_server_connections(f.server) == 0);
        assert_int_equal(http_request_upgrade(f.kept, &f.handlers, &f.there, &f.there.ws, NULL), 0);
        assert_false(f.there.closed);
        websocket_send(f.there.ws, true, "x", 1);
        wait_for(&f.loop, f.there.closed);
        assert_string_equal(f.there.reason, "the peer ended the connection");
        teardown(&f);
}

/* Frames by hand */

static const char handshake[] = "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\n"
                                "Upgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n"
                                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

static void put_frame(struct buffer *b, int first, bool masked, const char *payload, size_t len)
{
        buffer_putc(b, (char) first);
        if (len < 126) {
                buffer_putc(b, (char) ((masked ? 0x80 : 0) | (int) len));
        } else {
                buffer_putc(b, (char) ((masked ? 0x80 : 0) | 126));
                buffer_putc(b, (char) (len >> 8));
                buffer_putc(b, (char) len);
        }
        if (masked)
                buffer_put(b, "\x01\x02\x03\x04", 4);
        for (size_t i = 0; i < len; i++)
                buffer_putc(b, masked ? (char) (payload[i] ^ (char) (i % 4 + 1)) : payload[i]);
}

static int raw_open(struct fixture *f)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        int fd = raw_connect(f->address.port);

        raw_puts(&f->loop, fd, handshake);
        raw_expect(&f->loop, fd, &b, "\r\n\r\n");
        assert_non_null(strstr(b.data, "HTTP/1.1 101 Switching Protocols\r\n"));
        /* the example of RFC 6455 section 1.3 */
        assert_non_null(strstr(b.data, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
        return fd;
}

/* A message in pieces, with a ping between them, byte by byte; and all of it with the handshake. */
static void test_fragments(void **state)
{
        static const char expected[] = "\x8a\x02hi\x81\x05hello";
        AUTO(buffer_done) struct buffer frames = { 0 }, all = { 0 }, got = { 0 };
        struct fixture f;
        int fd;

        (void) state;
        put_frame(&frames, 0x01, true, "h", 1);
        put_frame(&frames, 0x89, true, "hi", 2);
        put_frame(&frames, 0x00, true, "", 0);
        put_frame(&frames, 0x00, true, "ell", 3);
        put_frame(&frames, 0x80, true, "o", 1);

        setup(&f, false);
        fd = raw_open(&f);
        for (size_t i = 0; i < frames.len; i++) {
                raw_send(&f.loop, fd, frames.data + i, 1);
                uv_run(&f.loop, UV_RUN_NOWAIT);
        }
        raw_expect(&f.loop, fd, &got, expected);
        assert_int_equal(got.len, sizeof expected - 1);
        close(fd);
        wait_for(&f.loop, f.there.closed);
        assert_string_equal(f.there.reason, "the peer ended the connection");

        f.there = (struct end){ .f = &f, .echo = true, .last = f.there.last };
        buffer_puts(&all, handshake);
        buffer_put(&all, frames.data, frames.len);
        buffer_reset(&got);
        fd = raw_connect(f.address.port);
        raw_send(&f.loop, fd, all.data, all.len);
        raw_expect(&f.loop, fd, &got, expected);
        close(fd);
        teardown(&f);
}

/* @frame is sent, @code is expected in a close frame (0: wslay gives none), and the end. */
static void check_broken(const char *frame, size_t len, int code)
{
        AUTO(buffer_done) struct buffer got = { 0 };
        char expected[3] = { (char) 0x88, 0, 0 };
        struct fixture f;
        int fd;

        setup(&f, false);
        f.handlers.max_message = 1000;
        fd = raw_open(&f);
        raw_send(&f.loop, fd, frame, len);
        raw_expect_end(&f.loop, fd, &got);
        wait_for(&f.loop, f.there.closed);
        assert_int_equal(f.there.messages, 0);
        if (got.len != (code == 0 ? 2 : 4))
                fail_msg("%02x %02x: %s", (unsigned char) frame[0], (unsigned char) frame[1],
                        f.there.reason);
        assert_int_equal(got.data[0], expected[0]);
        if (code != 0)
                assert_int_equal(
                        (unsigned char) got.data[2] * 256 + (unsigned char) got.data[3], code);
        close(fd);
        teardown(&f);
}

static void test_broken(void **state)
{
        static char large[1200];
        static const struct {
                int first;
                bool masked;
                const char *payload;
                size_t len;
                int code;
        } cases[] = {
                { 0x81, false, "x", 1, 1002 },     /* a client must mask */
                { 0x83, true, "x", 1, 1002 },      /* no such opcode */
                { 0xc1, true, "x", 1, 1002 },      /* reserved bit */
                { 0x80, true, "x", 1, 1002 },      /* continues nothing */
                { 0x09, true, "x", 1, 0 },         /* a ping in pieces */
                { 0x89, true, large, 126, 0 },     /* too long for a ping */
                { 0x81, true, "\xff", 1, 1007 },   /* not UTF-8 */
                { 0x81, true, "\xc3", 1, 1007 },   /* half a letter */
                { 0x82, true, large, 1001, 1009 }, /* too long */
        };
        AUTO(buffer_done) struct buffer frames = { 0 };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                buffer_reset(&frames);
                put_frame(&frames, cases[i].first, cases[i].masked, cases[i].payload, cases[i].len);
                check_broken(frames.data, frames.len, cases[i].code);
        }
        /* too long in sum */
        buffer_reset(&frames);
        put_frame(&frames, 0x02, true, large, 600);
        put_frame(&frames, 0x80, true, large, 401);
        check_broken(frames.data, frames.len, 1009);
        /* a length of 63 bits */
        check_broken("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x01\x02\x03\x04x", 15, 1009);
}

static void check_handshake(const char *text, const char *answer)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        struct fixture f;
        int fd;

        setup(&f, false);
        fd = raw_connect(f.address.port);
        raw_puts(&f.loop, fd, text);
        raw_expect(&f.loop, fd, &b, answer);
        close(fd);
        teardown(&f);
}

static void test_bad_handshakes(void **state)
{
        (void) state;
        check_handshake("GET /ws HTTP/1.1\r\nHost: x\r\n\r\n", "expected the handshake");
        check_handshake(
                "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
                "Sec-WebSocket-Version: 8\r\n\r\n",
                "Version: 13");
        check_handshake(
                "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n\r\n",
                "16 bytes");
        check_handshake("POST /ws HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\n"
                        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                "expected the handshake");
}

/* Pings keep a quiet pair alive; a peer that does not answer them is given up. */
static void test_pings(void **state)
{
        AUTO(buffer_done) struct buffer got = { 0 };
        struct fixture f;
        usec_t until;
        int fd;

        (void) state;
        setup(&f, false);
        f.handlers.ping_every = 100 * USEC_MSEC;
        f.handlers.dead_after = 400 * USEC_MSEC;
        connect_both(&f);
        until = time_mono() + USEC_SEC;
        wait_for(&f.loop, time_mono() > until);
        assert_false(f.here.closed);
        assert_false(f.there.closed);
        websocket_close(take_ptr(f.here.ws), 1000, NULL);
        wait_for(&f.loop, f.there.closed);

        f.there = (struct end){ .f = &f };
        fd = raw_open(&f);
        wait_for(&f.loop, f.there.closed);
        assert_string_equal(f.there.reason, "nothing heard from the peer for 400ms");
        raw_take(fd, &got);
        assert_memory_equal(got.data, "\x89\x00\x89\x00", 4);
        close(fd);
        teardown(&f);
}

/* A ping on demand, where none is sent by itself: the peer answers, and that is heard. */
static void test_ping(void **state)
{
        struct fixture f;

        (void) state;
        for (int is_unix = 0; is_unix < 2; is_unix++) {
                struct end *ends[2];

                setup(&f, is_unix);
                f.handlers.ping_every = USEC_NEVER;
                dial(&f, "/ws");
                assert_int_equal(websocket_last_heard(f.here.ws), 0);
                websocket_ping(f.here.ws); /* too early for anything */
                wait_for(&f.loop, f.here.opened);
                ends[0] = &f.here;
                ends[1] = &f.there;
                for (int i = 0; i < 2; i++) {
                        usec_t here = websocket_last_heard(f.here.ws);
                        usec_t there = websocket_last_heard(f.there.ws);

                        assert_true(here > 0 && there > 0 && here <= time_mono());
                        websocket_ping(ends[i]->ws);
                        wait_for(&f.loop, websocket_last_heard(f.here.ws) > here &&
                                                  websocket_last_heard(f.there.ws) > there);
                }
                assert_int_equal(f.here.messages + f.there.messages, 0);
                teardown(&f);
        }
}

/* An idle pair on a UNIX socket sets no timer: nothing wakes the loop. */
static void test_quiet(void **state)
{
        struct fixture f;

        (void) state;
        setup(&f, true);
        connect_both(&f);
        for (int i = 0; i < 5; i++)
                turn(&f.loop);
        http_server_free(take_ptr(f.server));
        for (int i = 0; i < 5; i++)
                turn(&f.loop);
        assert_int_equal(uv_backend_timeout(&f.loop), -1);
        teardown(&f);
}

/* Sends more than it reads: the echo's queue stays bounded because nothing more is read. */
static void test_slow_reader(void **state)
{
        AUTO(buffer_done) struct buffer frame = { 0 }, got = { 0 };
        static char payload[60000];
        size_t sent = 0, total = 0, before, worst = 0;
        struct fixture f;
        int fd, idle = 0;

        (void) state;
        memset(payload, 'x', sizeof payload);
        put_frame(&frame, 0x81, true, payload, sizeof payload);
        setup(&f, false);
        fd = raw_open(&f);
        while (idle < 50) {
                size_t at = sent % frame.len;
                ssize_t n = send(fd, frame.data + at, frame.len - at, MSG_DONTWAIT | MSG_NOSIGNAL);

                sent += n > 0 ? (size_t) n : 0;
                idle = n > 0 ? 0 : idle + 1;
                turn(&f.loop);
                worst = MAX(worst, websocket_queued(f.there.ws));
        }
        assert_true(worst > 500000);
        assert_true(worst < 512 * 1024 + 3 * 65536);
        assert_false(f.there.closed);
        do { /* all of it arrives */
                before = total;
                for (int i = 0; i < 20; i++) {
                        buffer_reset(&got);
                        total += raw_take(fd, &got) > 0 ? got.len : 0;
                        turn(&f.loop);
                }
        } while (total != before);
        assert_int_equal(total / 60004, sent / frame.len);
        close(fd);
        teardown(&f);
}

/* Over TLS, too: what needs no peer that sends bytes as it likes. */
static int run_over_tls(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_echo),
                cmocka_unit_test(test_close),
                cmocka_unit_test(test_ping),
        };
        struct pki p;
        int r;

        pki_make_local(&p);
        over_tls = &p;
        r = cmocka_run_group_tests_name("over TLS", tests, NULL, NULL);
        pki_done(&p);
        return r;
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_echo),
                cmocka_unit_test(test_close),
                cmocka_unit_test(test_connect_fails),
                cmocka_unit_test(test_late_upgrade),
                cmocka_unit_test(test_fragments),
                cmocka_unit_test(test_broken),
                cmocka_unit_test(test_bad_handshakes),
                cmocka_unit_test(test_pings),
                cmocka_unit_test(test_ping),
                cmocka_unit_test(test_quiet),
                cmocka_unit_test(test_slow_reader),
        };

        return cmocka_run_group_tests(tests, NULL, NULL) + run_over_tls();
}
