/* SPDX-License-Identifier: BSD-3-Clause */
/* What a server does with input that is too much, too slow, or not HTTP; and its UNIX sockets. */
#include "net/test-http-server.h"

/* The last line of defence: bytes of a kind that is not to be expected, whole and one at a time. */
static void test_garbage(void **state)
{
        static const struct {
                const char *text;
                const char *status;
        } cases[] = {
                { "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "400" }, /* TLS */
                { "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400" },
                { "GET / HTTP/2.0\r\n" HOST "\r\n", "505" },
                { "GET / HTTP/x\r\n\r\n", "505" },
                { "GET /\r\n\r\n", "505" },
                { "GET / HTTP/1.1\r\n\r\n", "400" },
                { "GET / HTTP/1.1\r\n" HOST HOST "\r\n", "400" },
                { "GET /%00 HTTP/1.1\r\n" HOST "\r\n", "400" },
                { "GET /%zz HTTP/1.1\r\n" HOST "\r\n", "400" },
                { "GET /% HTTP/1.1\r\n" HOST "\r\n", "400" },
                { "GET /?a=%0 HTTP/1.1\r\n" HOST "\r\n", "400" },
                { "GET * HTTP/1.1\r\n" HOST "\r\n", "400" },
                { "GET a HTTP/1.1\r\n" HOST "\r\n", "400" },
                { "CONNECT x:1 HTTP/1.1\r\n" HOST "\r\n", "405" },
                { "GET / HTTP/1.1\r\n" HOST "A B: c\r\n\r\n", "400" },
                { "GET / HTTP/1.1\r\n" HOST "A: b\x01\r\n\r\n", "400" },
                { "GET / HTTP/1.1\r\n" HOST "A: bcd\x7f e\r\n\r\n", "400" },
                { "POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
                        "400" },
                { "POST / HTTP/1.1\r\n" HOST
                  "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                        "400" },
                { "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\n", "400" },
                { "POST / HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\n", "400" },
                { "POST / HTTP/1.1\r\n" HOST "Content-Length: 18446744073709551616\r\n\r\n",
                        "400" },
                { "POST / HTTP/1.1\r\n" HOST "Content-Length: 1048577\r\n\r\n", "413" },
                { "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nxyz\r\n", "400" },
                { "POST / HTTP/1.1\r\n" HOST
                  "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n",
                        "400" },
                { "POST / HTTP/1.1\r\n" HOST "Expect: wonders\r\nContent-Length: 1\r\n\r\nx",
                        "417" },
        };
        struct app a;

        (void) state;
        app_start(&a, NO_OPTIONS);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                AUTO(buffer_done) struct buffer whole = { 0 }, slow = { 0 };
                char expected[32];
                int fd;

                print_message("%.60s\n", cases[i].text);
                app_ask(&a, cases[i].text, strlen(cases[i].text), &whole);
                snprintf(expected, sizeof expected, "HTTP/1.1 %s ", cases[i].status);
                if (strncmp(buffer_str(&whole), expected, strlen(expected)) != 0)
                        fail_msg("%s: %s", cases[i].text, buffer_str(&whole));
                assert_non_null(strstr(whole.data, "application/problem+json"));
                assert_non_null(strstr(whole.data, "Connection: close\r\n"));
                assert_non_null(strstr(whole.data, cases[i].status));

                fd = raw_connect(a.port);
                for (const char *p = cases[i].text; *p != '\0'; p++) {
                        raw_send(&a.loop, fd, p, 1);
                        uv_run(&a.loop, UV_RUN_NOWAIT);
                }
                raw_expect_end(&a.loop, fd, &slow);
                if (strncmp(buffer_str(&slow), whole.data, strlen(expected)) != 0)
                        fail_msg("%s, slowly: %s", cases[i].text, buffer_str(&slow));
                close(fd);
        }
        assert_int_equal(a.requests, 0);
        app_stop(&a);
}

/* Sends @head and then @piece again and again, until the answer comes. */
static size_t flood(struct app *a, const char *head, const char *piece, const char *status)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        usec_t end = time_mono() + DEADLINE;
        size_t sent = 0, len = strlen(piece);
        int fd = raw_connect(a->port);

        raw_puts(&a->loop, fd, head);
        while (raw_take(fd, &b) == -1) {
                ssize_t n = send(fd, piece, len, MSG_DONTWAIT | MSG_NOSIGNAL);

                assert_true(time_mono() < end);
                sent += n > 0 ? (size_t) n : 0;
                uv_run(&a->loop, UV_RUN_NOWAIT);
        }
        raw_expect_end(&a->loop, fd, &b);
        if (strstr(b.data, status) == NULL)
                fail_msg("%.30s: %s", head, b.data);
        close(fd);
        return sent;
}

static void test_floods(void **state)
{
        static char spaces[4096], letters[4096], fields[4096];
        struct app a;

        (void) state;
        memset(spaces, ' ', sizeof spaces - 1);
        memset(letters, 'x', sizeof letters - 1);
        for (size_t i = 0; i < sizeof fields - 4; i += 4)
                memcpy(fields + i, "a:\r\n", 4);

        app_start(&a, NO_OPTIONS);
        flood(&a, "GET /", letters, " 414 ");
        flood(&a, "GET / HTTP/1.1\r\n" HOST, fields, " 431 ");
        flood(&a, "GET / HTTP/1.1\r\n" HOST "A: ", letters, " 431 ");
        flood(&a, "GET / HTTP/1.1\r\n" HOST, letters, " 431 ");
        flood(&a, "GET / HTTP/1.1\r\n" HOST "A:", spaces, " 431 ");
        flood(&a, "GET / HTTP/1.1\r\n" HOST "A: b\r\n ", spaces, " 431 ");
        flood(&a, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1;", letters,
                " 431 ");
        flood(&a, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n",
                "3\r\nabc\r\n3\r\nabc\r\n3\r\nabc\r\n3\r\nabc\r\n3\r\nabc\r\n3\r\nabc\r\n"
                "4000\r\n",
                " 413 ");
        flood(&a, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n", fields,
                " 431 ");
        assert_int_equal(a.requests, 0);
        app_stop(&a);
}

/* A refusal arrives even at a peer that does not listen until it has sent everything. */
static void test_refusal_arrives(void **state)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        static char piece[65536];
        struct app a;
        int fd;

        (void) state;
        app_start(&a, NO_OPTIONS);
        fd = raw_connect(a.port);
        raw_puts(&a.loop, fd, "POST / HTTP/1.1\r\n" HOST "Content-Length: 8388608\r\n\r\n");
        for (int i = 0; i < 128; i++)
                assert_true(raw_send(&a.loop, fd, piece, sizeof piece));
        raw_expect(&a.loop, fd, &b, "HTTP/1.1 413 ");
        raw_expect(&a.loop, fd, &b, "the body is too large");
        close(fd);
        app_stop(&a);
}

static void test_body_limits(void **state)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        struct app a;
        int first, second;

        (void) state;
        app_start(&a, (struct http_server_options){ .max_body = 10, .max_body_total = 15 });
        first = raw_connect(a.port);
        raw_puts(&a.loop, first,
                "POST /late HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\n0123456789");
        wait_for(&a.loop, a.kept_count == 1);
        second = raw_connect(a.port);
        raw_puts(&a.loop, second, "POST / HTTP/1.1\r\n" HOST "Content-Length: 6\r\n\r\n012345");
        raw_expect_end(&a.loop, second, &b);
        assert_non_null(strstr(b.data, "HTTP/1.1 503 "));
        close(second);

        http_request_reply(a.kept[0], 200, "text/plain", "x", 1);
        buffer_reset(&b);
        second = raw_connect(a.port);
        raw_puts(&a.loop, second, "POST / HTTP/1.1\r\n" HOST "Content-Length: 6\r\n\r\n012345");
        raw_expect(&a.loop, second, &b, "\r\n\r\n012345");
        close(second);
        close(first);
        app_stop(&a);
}

static void test_timeouts(void **state)
{
        static const struct {
                const char *text;
                const char *answer; /* "": none */
        } cases[] = {
                { "", "" },
                { "\r\n\r\n", "" },
                { "GET / HT", "HTTP/1.1 408 " },
                { "POST / HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nx", "HTTP/1.1 408 " },
                { "GET / HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 200 " },
        };
        struct app a;
        usec_t start;

        (void) state;
        app_start(&a, (struct http_server_options){ .head_timeout = 200 * USEC_MSEC,
                              .body_timeout = 200 * USEC_MSEC,
                              .idle_timeout = 200 * USEC_MSEC });
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                AUTO(buffer_done) struct buffer b = { 0 };

                start = time_mono();
                app_ask(&a, cases[i].text, strlen(cases[i].text), &b);
                assert_true(time_mono() - start >= 190 * USEC_MSEC);
                assert_memory_equal(buffer_str(&b), cases[i].answer, strlen(cases[i].answer));
                assert_true(b.len == 0 || cases[i].answer[0] != '\0');
        }
        app_stop(&a);
}

/* A head that comes drop by drop has the same time as one that does not come at all. */
static void test_drip(void **state)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        struct app a;
        int fd;

        (void) state;
        app_start(&a, (struct http_server_options){ .head_timeout = 300 * USEC_MSEC });
        fd = raw_connect(a.port);
        raw_puts(&a.loop, fd, "GET / HTTP/1.1\r\nA: ");
        wait_for(&a.loop, (send(fd, "x", 1, MSG_NOSIGNAL), raw_take(fd, &b) != -1));
        raw_expect(&a.loop, fd, &b, "HTTP/1.1 408 ");
        close(fd);
        app_stop(&a);
}

/* A peer that takes nothing of an answer, or of a stream. */
static void test_stall(void **state)
{
        static char piece[65536];
        struct app a;
        int fd, other;

        (void) state;
        app_start(&a, (struct http_server_options){ .stall_timeout = 300 * USEC_MSEC });
        fd = raw_connect(a.port);
        raw_puts(&a.loop, fd, "GET /stream HTTP/1.1\r\n" HOST "\r\n");
        other = raw_connect(a.port);
        raw_puts(&a.loop, other, "GET /size?arg=16000000 HTTP/1.1\r\n" HOST "\r\n");
        wait_for(&a.loop, a.stream != NULL);
        while (http_request_queued(a.stream) < 16000000)
                http_request_write(a.stream, piece, sizeof piece);
        wait_for(&a.loop, a.closed == 1);
        wait_for(&a.loop, http_server_connections(a.server) == 0);
        close(fd);
        close(other);
        app_stop(&a);
}

/* UNIX sockets */

struct unix_fixture {
        char dir[32];
        struct address address;
};

static void unix_fixture_init(struct unix_fixture *f)
{
        snprintf(f->dir, sizeof f->dir, "/tmp/net-XXXXXX");
        assert_non_null(mkdtemp(f->dir));
        f->address = (struct address){ .is_unix = true };
        snprintf(f->address.path, sizeof f->address.path, "%s/sock", f->dir);
}

static size_t dir_entries(const char *path)
{
        uv_fs_t req;
        ssize_t n = uv_fs_scandir(NULL, &req, path, 0, NULL);

        uv_fs_req_cleanup(&req);
        return (size_t) n;
}

static void test_unix(void **state)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        struct unix_fixture f;
        struct error err;
        struct stat st;
        struct app a;
        int fd;

        (void) state;
        unix_fixture_init(&f);
        app_start(&a, NO_OPTIONS);
        if (http_server_listen(a.server, &f.address, 0620, &err) < 0)
                fail_msg("%s", err.message);
        assert_int_equal(stat(f.address.path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0620);
        assert_int_equal(dir_entries(f.dir), 1);
        assert_int_equal(http_server_port(a.server), a.port);

        fd = raw_connect_unix(f.address.path);
        raw_puts(&a.loop, fd, "GET /late?arg=watch HTTP/1.1\r\n" HOST "\r\n");
        wait_for(&a.loop, a.kept_count == 1);
        assert_true(http_request_is_unix(a.kept[0]));
        http_request_reply(a.kept[0], 200, "text/plain", "hi", 2);
        raw_expect(&a.loop, fd, &b, "\r\n\r\nhi");

        /* a peer that only finished sending, and one that is gone, can be told apart here */
        raw_puts(&a.loop, fd, "GET /late?arg=watch HTTP/1.1\r\n" HOST "\r\n");
        wait_for(&a.loop, a.kept_count == 2);
        shutdown(fd, SHUT_WR);
        for (int i = 0; i < 20; i++)
                turn(&a.loop);
        assert_int_equal(a.closed, 0);
        http_request_reply(a.kept[1], 200, "text/plain", "ho", 2);
        raw_expect_end(&a.loop, fd, &b);
        assert_non_null(strstr(b.data, "\r\n\r\nho"));
        close(fd);

        fd = raw_connect_unix(f.address.path);
        raw_puts(&a.loop, fd, "GET /late?arg=watch HTTP/1.1\r\n" HOST "\r\nGET / HTTP");
        wait_for(&a.loop, a.kept_count == 3);
        close(fd);
        wait_for(&a.loop, a.closed == 1);

        app_stop(&a);
        assert_int_equal(dir_entries(f.dir), 0);
        rmdir(f.dir);
}

static void test_unix_conflicts(void **state)
{
        struct unix_fixture f;
        struct error err;
        struct app a, b;
        int fd;

        (void) state;
        unix_fixture_init(&f);
        app_start(&a, NO_OPTIONS);
        app_start(&b, NO_OPTIONS);

        assert_int_equal(http_server_listen(a.server, &f.address, 0600, &err), 0);
        assert_int_equal(http_server_listen(b.server, &f.address, 0600, &err), -1);
        assert_int_equal(err.code, ERR_CONFLICT);
        fd = raw_connect_unix(f.address.path);
        close(fd);

        /* a successor's file is not removed */
        assert_int_equal(unlink(f.address.path), 0);
        assert_int_equal(http_server_listen(b.server, &f.address, 0600, &err), 0);
        app_stop(&a);
        fd = raw_connect_unix(f.address.path);
        close(fd);
        app_stop(&b);

        /* a file that is not a socket stays */
        fd = open(f.address.path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        close(fd);
        app_start(&a, NO_OPTIONS);
        assert_int_equal(http_server_listen(a.server, &f.address, 0600, &err), -1);
        assert_int_equal(err.code, ERR_CONFLICT);
        assert_non_null(strstr(err.message, f.address.path));
        assert_int_equal(access(f.address.path, F_OK), 0);
        unlink(f.address.path);

        /* a directory that is not there */
        snprintf(f.address.path, sizeof f.address.path, "%s/no/sock", f.dir);
        assert_int_equal(http_server_listen(a.server, &f.address, 0600, &err), -1);
        assert_int_equal(err.sys_errno, ENOENT);
        app_stop(&a);
        rmdir(f.dir);
}

/* A path without a directory in it is one in the current directory. */
static void test_unix_relative(void **state)
{
        struct unix_fixture f;
        char here[4096];
        struct error err;
        struct app a;
        int fd;

        (void) state;
        unix_fixture_init(&f);
        assert_non_null(getcwd(here, sizeof here));
        assert_int_equal(chdir(f.dir), 0);
        snprintf(f.address.path, sizeof f.address.path, "sock");
        app_start(&a, NO_OPTIONS);
        if (http_server_listen(a.server, &f.address, 0600, &err) < 0)
                fail_msg("%s", err.message);
        fd = raw_connect_unix("sock");
        close(fd);
        app_stop(&a);
        assert_int_equal(chdir(here), 0);
        assert_int_equal(dir_entries(f.dir), 0);
        rmdir(f.dir);
}

/* USEC_NEVER is no limit, and not one that has passed. */
static void test_never(void **state)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        struct app a;
        int fd;

        (void) state;
        app_start(&a, (struct http_server_options){ .head_timeout = USEC_NEVER,
                              .body_timeout = USEC_NEVER,
                              .idle_timeout = USEC_NEVER,
                              .stall_timeout = USEC_NEVER });
        fd = raw_connect(a.port);
        raw_puts(&a.loop, fd, "GET /size?arg=16000000 HTTP/1.1\r\n" HOST "\r\n");
        for (usec_t end = time_mono() + 300 * USEC_MSEC; time_mono() < end;) /* it is stalled */
                turn(&a.loop);
        assert_int_equal(http_server_connections(a.server), 1);
        while (b.len < 16000000) {
                ssize_t n = raw_take(fd, &b);

                assert_true(n != 0 && n != -2);
                turn(&a.loop);
        }
        close(fd);
        app_stop(&a);
}

/* The socket of a process that was killed is in nobody's way. */
static void test_unix_stale(void **state)
{
        struct sockaddr_un sun = { .sun_family = AF_UNIX };
        struct unix_fixture f;
        struct error err;
        struct app a;
        int fd;

        (void) state;
        unix_fixture_init(&f);
        snprintf(sun.sun_path, sizeof sun.sun_path, "%s", f.address.path);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(fd, (struct sockaddr *) &sun, sizeof sun), 0);
        assert_int_equal(listen(fd, 1), 0);
        close(fd);

        app_start(&a, NO_OPTIONS);
        if (http_server_listen(a.server, &f.address, 0600, &err) < 0)
                fail_msg("%s", err.message);
        fd = raw_connect_unix(f.address.path);
        wait_for(&a.loop, http_server_connections(a.server) == 1);
        close(fd);
        app_stop(&a);
        rmdir(f.dir);
}

static void test_tcp_conflict(void **state)
{
        struct address address;
        struct error err;
        struct app a;

        (void) state;
        app_start(&a, NO_OPTIONS);
        address = tcp_address(a.port);
        assert_int_equal(http_server_listen(a.server, &address, 0, &err), -1);
        assert_int_equal(err.code, ERR_CONFLICT);
        assert_non_null(strstr(err.message, "127.0.0.1"));
        address = (struct address){ .port = 0 };
        assert_int_equal(http_server_listen(a.server, &address, 0, &err), 0);
        address = (struct address){ .host = "no.such.host.invalid" };
        assert_int_equal(http_server_listen(a.server, &address, 0, &err), -1);
        app_stop(&a);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_garbage),
                cmocka_unit_test(test_floods),
                cmocka_unit_test(test_refusal_arrives),
                cmocka_unit_test(test_body_limits),
                cmocka_unit_test(test_timeouts),
                cmocka_unit_test(test_drip),
                cmocka_unit_test(test_stall),
                cmocka_unit_test(test_unix),
                cmocka_unit_test(test_unix_conflicts),
                cmocka_unit_test(test_unix_relative),
                cmocka_unit_test(test_unix_stale),
                cmocka_unit_test(test_never),
                cmocka_unit_test(test_tcp_conflict),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
