/* SPDX-License-Identifier: BSD-3-Clause */
#include "net/test-http-server.h"

#include <sys/resource.h>

static void test_exchange(void **state)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        struct app a;
        int fd;

        (void) state;
        app_start(&a, NO_OPTIONS);
        fd = raw_connect(a.port);
        raw_puts(&a.loop, fd, "GET /a%20b/%c3%a9?x=1&y=a+b%26c&z&=&x=2 HTTP/1.1\r\n" HOST "\r\n");
        raw_expect(&a.loop, fd, &b, "\r\n\r\n");
        assert_non_null(strstr(b.data, "HTTP/1.1 200 OK\r\n"));
        assert_non_null(strstr(b.data, "X-Path: /a b/\xc3\xa9\r\n"));
        assert_non_null(strstr(b.data, "Content-Length: 0\r\n"));
        assert_non_null(strstr(b.data, "\r\nDate: "));
        assert_null(strstr(b.data, "Connection:"));

        buffer_reset(&b);
        raw_puts(&a.loop, fd, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello");
        raw_expect(&a.loop, fd, &b, "\r\n\r\nhello");

        buffer_reset(&b);
        raw_puts(&a.loop, fd,
                "PUT /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
                "3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: x\r\n\r\n");
        raw_expect(&a.loop, fd, &b, "\r\n\r\nabcde");

        buffer_reset(&b);
        raw_puts(&a.loop, fd, "HEAD /size?arg=1234 HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
        raw_expect_end(&a.loop, fd, &b);
        assert_non_null(strstr(b.data, "Content-Length: 1234\r\n"));
        assert_non_null(strstr(b.data, "Connection: close\r\n"));
        assert_string_equal(b.data + b.len - 4, "\r\n\r\n");
        close(fd);
        wait_for(&a.loop, http_server_connections(a.server) == 0);
        app_stop(&a);
}

static void on_query(void *data, struct http_request *req)
{
        const char *name, *value;
        size_t i = 0;

        while (http_request_query_at(req, i, &name, &value))
                i++;
        assert_int_equal(i, 5);
        assert_string_equal(http_request_query(req, "x"), "1");
        assert_string_equal(http_request_query(req, "y"), "a b&c");
        assert_string_equal(http_request_query(req, "z"), "");
        assert_string_equal(http_request_query(req, ""), "");
        assert_null(http_request_query(req, "X"));
        assert_string_equal(http_request_header(req, "hOsT"), "x");
        assert_string_equal(http_request_header(req, "empty"), "");
        assert_null(http_request_header(req, "none"));
        assert_false(http_request_is_unix(req));
        assert_string_equal(http_request_path(req), "/+");
        http_request_set_header(req, "X-Evil", "a\r\nb: c");
        http_request_reply(req, 204, NULL, NULL, 0);
        *(bool *) data = true;
}

static void test_query(void **state)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        struct http_server_options options = { .on_request = on_query };
        struct address address = tcp_address(0);
        struct http_server *server;
        bool called = false;
        uv_loop_t loop;
        int fd;

        (void) state;
        uv_loop_init(&loop);
        options.data = &called;
        server = http_server_new(&loop, &options);
        assert_int_equal(http_server_listen(server, &address, 0, NULL), 0);
        fd = raw_connect(http_server_port(server));
        raw_puts(&loop, fd, "GET /+?x=1&y=a+b%26c&z&=&&x=2 HTTP/1.1\r\nEmpty:\r\n" HOST "\r\n");
        raw_expect(&loop, fd, &b, "\r\n\r\n");
        assert_true(called);
        assert_non_null(strstr(b.data, "HTTP/1.1 204 No Content\r\n"));
        assert_non_null(strstr(b.data, "X-Evil: a  b: c\r\n"));
        assert_null(strstr(b.data, "Content-Length"));
        close(fd);
        http_server_free(server);
        loop_close(&loop);
}

/* Every split of two pipelined requests gives the same answers. */
static void test_fragments(void **state)
{
        static const char text[] = "\r\nPOST /1 HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc"
                                   "POST /2 HTTP/1.1\r\n" HOST
                                   "Transfer-Encoding: chunked\r\n\r\n4\r\ndefg\r\n0\r\n\r\n";
        struct app a;

        (void) state;
        app_start(&a, NO_OPTIONS);
        for (size_t step = 1; step < sizeof text - 1; step += step < 12 ? 1 : 23) {
                AUTO(buffer_done) struct buffer b = { 0 };
                int fd = raw_connect(a.port);

                for (size_t i = 0; i < sizeof text - 1; i += step) {
                        raw_send(&a.loop, fd, text + i, MIN(step, sizeof text - 1 - i));
                        uv_run(&a.loop, UV_RUN_NOWAIT);
                }
                raw_expect(&a.loop, fd, &b, "defg");
                assert_non_null(strstr(b.data, "X-Path: /1\r\n"));
                assert_non_null(strstr(b.data, "abcHTTP/1.1 200"));
                assert_non_null(strstr(b.data, "X-Path: /2\r\n"));
                close(fd);
        }
        app_stop(&a);
}

static void test_pipelined_late(void **state)
{
        AUTO(buffer_done) struct buffer b = { 0 }, all = { 0 };
        const char *p;
        struct app a;
        int fd;

        (void) state;
        app_start(&a, NO_OPTIONS);
        fd = raw_connect(a.port);
        for (int i = 0; i < 200; i++)
                buffer_printf(&all, "GET /late?arg=%d HTTP/1.1\r\n" HOST "\r\n", i);
        assert_true(raw_send(&a.loop, fd, all.data, all.len));

        for (int i = 0; i < 200; i++) {
                wait_for(&a.loop, a.kept_count == 1);
                turn(&a.loop);
                assert_int_equal(a.kept_count, 1); /* one at a time */
                p = http_request_query(a.kept[0], "arg");
                assert_int_equal(atoi(p), i);
                a.kept_count = 0;
                buffer_reset(&all);
                buffer_printf(&all, "<%d>", i);
                http_request_reply(a.kept[0], 200, "text/plain", all.data, all.len);
        }
        raw_expect(&a.loop, fd, &b, "<199>");
        p = b.data;
        for (int i = 0; i < 200; i++) {
                char expected[16];

                snprintf(expected, sizeof expected, "<%d>", i);
                p = strstr(p, expected);
                assert_non_null(p);
        }
        assert_int_equal(count_of(&b, "HTTP/1.1 200"), 200);
        close(fd);
        app_stop(&a);
}

static void test_stream(void **state)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        struct block *block = block_new_copy("world", 5);
        struct app a;
        int fd;

        (void) state;
        app_start(&a, NO_OPTIONS);
        fd = raw_connect(a.port);
        raw_puts(&a.loop, fd,
                "GET /stream HTTP/1.1\r\n" HOST "\r\nGET /after HTTP/1.1\r\n" HOST "\r\n");
        raw_expect(&a.loop, fd, &b, "Transfer-Encoding: chunked\r\n\r\n");
        http_request_write(a.stream, "hello ", 6);
        http_request_write_block(a.stream, block);
        http_request_write(a.stream, "", 0);
        raw_expect(&a.loop, fd, &b, "6\r\nhello \r\n5\r\nworld\r\n");
        assert_int_equal(a.requests, 1);
        http_request_finish(a.stream);
        raw_expect(&a.loop, fd, &b, "\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n");
        raw_expect(&a.loop, fd, &b, "X-Path: /after\r\n");
        assert_int_equal(a.closed, 0);
        assert_int_equal(block->refs, 1);
        block_unref(block);
        close(fd);
        app_stop(&a);
}

/* A follower that does not read must not cost a page for each small event: between two shared
 * blocks stands framing, which then has a block of its own. */
static void test_small_blocks_are_gathered(void **state)
{
        AUTO(buffer_done) struct buffer b = { 0 }, large = { 0 };
        struct block *small = block_new_copy("world", 5), *page;
        struct app a;
        int fd;

        (void) state;
        for (int i = 0; i < 10000; i++)
                buffer_putc(&large, 'x');
        page = block_new_copy(large.data, large.len);
        app_start(&a, NO_OPTIONS);
        fd = raw_connect(a.port);
        raw_puts(&a.loop, fd, "GET /stream HTTP/1.1\r\n" HOST "\r\n");
        raw_expect(&a.loop, fd, &b, "Transfer-Encoding: chunked\r\n\r\n");
        for (int i = 0; i < 3; i++)
                http_request_write_block(a.stream, small);
        assert_int_equal(small->refs, 1);
        http_request_write_block(a.stream, page);
        assert_int_equal(page->refs, 2);
        http_request_finish(a.stream);
        raw_expect(&a.loop, fd, &b, "5\r\nworld\r\n5\r\nworld\r\n5\r\nworld\r\n2710\r\nxxx");
        raw_expect(&a.loop, fd, &b, "xxx\r\n0\r\n\r\n");
        block_unref(small);
        block_unref(page);
        close(fd);
        app_stop(&a);
}

static void test_http_1_0(void **state)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        struct app a;
        int fd;

        (void) state;
        app_start(&a, NO_OPTIONS);
        fd = raw_connect(a.port);
        raw_puts(&a.loop, fd, "GET /1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        raw_expect(&a.loop, fd, &b, "Connection: keep-alive\r\n");
        raw_puts(&a.loop, fd, "GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        raw_expect(&a.loop, fd, &b, "Connection: close\r\n\r\n");
        http_request_write(a.stream, "abc", 3);
        http_request_finish(a.stream);
        raw_expect_end(&a.loop, fd, &b);
        assert_string_equal(b.data + b.len - 7, "\r\n\r\nabc");
        close(fd);
        app_stop(&a);
}

static void test_expect_continue(void **state)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        struct app a;
        int fd;

        (void) state;
        app_start(&a, NO_OPTIONS);
        fd = raw_connect(a.port);
        raw_puts(&a.loop, fd,
                "POST /echo HTTP/1.1\r\n" HOST "Expect: 100-Continue\r\nContent-Length: 3\r\n\r\n");
        raw_expect(&a.loop, fd, &b, "HTTP/1.1 100 Continue\r\n\r\n");
        raw_puts(&a.loop, fd, "xyz");
        raw_expect(&a.loop, fd, &b, "\r\n\r\nxyz");
        close(fd);
        app_stop(&a);
}

/* A peer that has only finished sending gets its answer; one that has gone is reported. */
static void test_half_close(void **state)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        struct app a;
        int fd;

        (void) state;
        app_start(&a, NO_OPTIONS);
        fd = raw_connect(a.port);
        raw_puts(&a.loop, fd,
                "GET /late?arg=watch HTTP/1.1\r\n" HOST "\r\nGET /second HTTP/1.1\r\n" HOST "\r\n");
        shutdown(fd, SHUT_WR);
        wait_for(&a.loop, a.kept_count == 1);
        for (int i = 0; i < 20; i++)
                turn(&a.loop);
        assert_int_equal(a.closed, 0);
        http_request_reply(a.kept[0], 200, "text/plain", "late", 4);
        raw_expect_end(&a.loop, fd, &b);
        assert_non_null(strstr(b.data, "\r\n\r\nlateHTTP/1.1 200"));
        assert_non_null(strstr(b.data, "X-Path: /second"));
        close(fd);

        fd = raw_connect(a.port);
        raw_puts(&a.loop, fd, "GET /stream HTTP/1.1\r\n" HOST "\r\n");
        wait_for(&a.loop, a.stream != NULL);
        shutdown(fd, SHUT_WR);
        wait_for(&a.loop, a.closed == 1);
        close(fd);

        /* nor does it matter which of the two was first */
        fd = raw_connect(a.port);
        raw_puts(&a.loop, fd, "GET /late?arg=watch HTTP/1.1\r\n" HOST "\r\n");
        shutdown(fd, SHUT_WR);
        wait_for(&a.loop, a.kept_count == 2);
        for (int i = 0; i < 20; i++)
                turn(&a.loop);
        http_request_begin(a.kept[1], 200, "text/plain");
        assert_int_equal(a.closed, 1);
        http_request_write(a.kept[1], "into the void", 13);
        wait_for(&a.loop, a.closed == 2);
        assert_int_equal(http_server_connections(a.server), 0);
        close(fd);
        app_stop(&a);
}

static void test_peer_gone(void **state)
{
        struct app a;
        int fd;

        (void) state;
        app_start(&a, NO_OPTIONS);
        fd = raw_connect(a.port);
        raw_puts(&a.loop, fd, "GET /late?arg=watch HTTP/1.1\r\n" HOST "\r\n");
        wait_for(&a.loop, a.kept_count == 1);
        raw_reset(fd);
        wait_for(&a.loop, a.closed == 1);

        /* without on_close the request waits for an answer that goes nowhere */
        fd = raw_connect(a.port);
        raw_puts(&a.loop, fd, "GET /late HTTP/1.1\r\n" HOST "\r\n");
        wait_for(&a.loop, a.kept_count == 2);
        raw_reset(fd);
        wait_for(&a.loop, http_server_connections(a.server) == 0);
        assert_string_equal(http_request_path(a.kept[1]), "/late");
        http_request_reply(a.kept[1], 200, "text/plain", "x", 1);

        /* on_close that is asked for too late still comes, and not from within */
        fd = raw_connect(a.port);
        raw_puts(&a.loop, fd, "GET /late HTTP/1.1\r\n" HOST "\r\n");
        wait_for(&a.loop, a.kept_count == 3);
        raw_reset(fd);
        wait_for(&a.loop, http_server_connections(a.server) == 0);
        http_request_begin(a.kept[2], 200, "text/plain");
        http_request_write(a.kept[2], "x", 1);
        http_request_on_close(a.kept[2], app_on_close, &a);
        assert_int_equal(a.closed, 1);
        wait_for(&a.loop, a.closed == 2);

        /* a request that is never answered is freed with the server */
        fd = raw_connect(a.port);
        raw_puts(&a.loop, fd, "GET /late HTTP/1.1\r\n" HOST "\r\n");
        wait_for(&a.loop, a.kept_count == 4);
        raw_reset(fd);
        wait_for(&a.loop, http_server_connections(a.server) == 0);
        app_stop(&a);
}

/* A stream to a peer that does not read: the queue is the application's to bound, and it is told
 * when there is room. */
static void test_drain(void **state)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        static char piece[65536];
        struct app a;
        int fd;

        (void) state;
        app_start(&a, NO_OPTIONS);
        fd = raw_connect(a.port);
        raw_puts(&a.loop, fd, "GET /stream HTTP/1.1\r\n" HOST "\r\n");
        wait_for(&a.loop, a.stream != NULL);
        wait_for(&a.loop, (http_request_write(a.stream, piece, sizeof piece),
                                  http_request_queued(a.stream) > 4 * HTTP_DRAIN_MARK));
        while (http_request_queued(a.stream) < 8 * 1024 * 1024)
                http_request_write(a.stream, piece, sizeof piece);
        a.drained = 0;
        turn(&a.loop);
        assert_int_equal(a.drained, 0);
        wait_for(&a.loop, (raw_take(fd, &b), buffer_reset(&b), a.drained == 1));
        assert_true(http_request_queued(a.stream) <= HTTP_DRAIN_MARK);
        close(fd);
        wait_for(&a.loop, a.closed == 1);
        app_stop(&a);
}

/* Asks for more than it takes: 2,000 pipelined requests for 64 KB each. */
static void test_slow_reader(void **state)
{
        AUTO(buffer_done) struct buffer b = { 0 }, all = { 0 };
        static const char request[] = "GET /size?arg=65536 HTTP/1.1\r\n" HOST "\r\n";
        size_t got = 0;
        unsigned before;
        struct app a;
        int fd;

        (void) state;
        app_start(&a, NO_OPTIONS);
        fd = raw_connect(a.port);
        for (int i = 0; i < 2000; i++)
                buffer_puts(&all, request);
        assert_true(send(fd, all.data, all.len, MSG_DONTWAIT) == (ssize_t) all.len);
        wait_for(&a.loop, a.requests > 8);
        do {
                before = a.requests;
                for (int i = 0; i < 50; i++)
                        turn(&a.loop);
        } while (a.requests != before);
        /* what the kernel took, and then no more than the mark and one answer */
        assert_true(a.requests < 400);

        while (got < (size_t) 2000 * 65536) {
                buffer_reset(&b);
                if (raw_take(fd, &b) > 0)
                        got += b.len;
                else
                        turn(&a.loop);
        }
        assert_int_equal(a.requests, 2000);
        close(fd);
        app_stop(&a);
}

static void test_thousand(void **state)
{
        struct rlimit limit;
        int fds[1000];
        struct app a;

        (void) state;
        getrlimit(RLIMIT_NOFILE, &limit);
        if (limit.rlim_max < 2100)
                skip();
        limit.rlim_cur = MAX(limit.rlim_cur, (rlim_t) 2100);
        setrlimit(RLIMIT_NOFILE, &limit);

        app_start(&a, NO_OPTIONS);
        for (int i = 0; i < 1000; i++)
                fds[i] = raw_connect(a.port);
        wait_for(&a.loop, http_server_connections(a.server) == 1000);
        for (int i = 0; i < 1000; i++)
                raw_puts(&a.loop, fds[i], "GET /late HTTP/1.1\r\n" HOST "\r\n");
        wait_for(&a.loop, a.kept_count == 1000);
        for (int i = 0; i < 500; i++)
                http_request_reply(a.kept[i], 200, "text/plain", "done", 4);
        for (int i = 0, answered = 0; answered < 500; i = (i + 1) % 1000) {
                AUTO(buffer_done) struct buffer b = { 0 };

                if (raw_take(fds[i], &b) > 0)
                        answered += count_of(&b, "\r\n\r\ndone") == 1;
                else if (i == 0)
                        turn(&a.loop);
        }
        http_server_free(take_ptr(a.server)); /* with 500 requests unanswered */
        for (int i = 0; i < 1000; i++) {
                AUTO(buffer_done) struct buffer b = { 0 };

                raw_expect_end(&a.loop, fds[i], &b);
                close(fds[i]);
        }
        app_stop(&a);
}

static void count_turn(uv_prepare_t *prepare)
{
        ++*(unsigned *) prepare->data;
}

static void stop_loop(uv_timer_t *timer)
{
        uv_stop(timer->loop);
}

/* No descriptors left: no spinning, no connection lost, and on as soon as there are some. */
static void test_no_descriptors(void **state)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        struct rlimit limit, low;
        uv_prepare_t prepare;
        uv_timer_t timer;
        unsigned turns = 0;
        struct app a;
        int fd, probe;

        (void) state;
        app_start(&a, NO_OPTIONS);
        fd = raw_connect(a.port);
        raw_puts(&a.loop, fd, "GET / HTTP/1.1\r\n" HOST "\r\n");
        getrlimit(RLIMIT_NOFILE, &limit);
        probe = dup(fd);
        low = limit;
        low.rlim_cur = (rlim_t) probe;
        close(probe);
        setrlimit(RLIMIT_NOFILE, &low);
        uv_prepare_init(&a.loop, &prepare);
        prepare.data = &turns;
        uv_prepare_start(&prepare, count_turn);
        uv_timer_init(&a.loop, &timer);
        uv_timer_start(&timer, stop_loop, 300, 0);
        uv_run(&a.loop, UV_RUN_DEFAULT);
        uv_close((uv_handle_t *) &prepare, NULL);
        uv_close((uv_handle_t *) &timer, NULL);
        assert_true(turns < 20);
        assert_int_equal(a.requests, 0);
        setrlimit(RLIMIT_NOFILE, &limit);
        raw_expect(&a.loop, fd, &b, "HTTP/1.1 200");
        close(fd);
        app_stop(&a);
}

static void test_max_connections(void **state)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        struct app a;
        int first, second;

        (void) state;
        app_start(&a, (struct http_server_options){ .max_connections = 1 });
        first = raw_connect(a.port);
        wait_for(&a.loop, http_server_connections(a.server) == 1);
        second = raw_connect(a.port);
        raw_puts(&a.loop, second, "GET /2 HTTP/1.1\r\n" HOST "\r\n");
        for (int i = 0; i < 20; i++)
                turn(&a.loop);
        assert_int_equal(a.requests, 0);
        close(first);
        raw_expect(&a.loop, second, &b, "X-Path: /2\r\n");
        close(second);
        app_stop(&a);
}

/* The server is freed from within on_request, with more requests behind. */
static void test_free_in_callback(void **state)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        struct app a;
        int fd, other;

        (void) state;
        app_start(&a, NO_OPTIONS);
        other = raw_connect(a.port);
        raw_puts(&a.loop, other, "GET /late?arg=watch HTTP/1.1\r\n" HOST "\r\n");
        wait_for(&a.loop, a.kept_count == 1);
        fd = raw_connect(a.port);
        raw_puts(&a.loop, fd, "GET /free HTTP/1.1\r\n" HOST "\r\nGET /x HTTP/1.1\r\n" HOST "\r\n");
        raw_expect_end(&a.loop, fd, &b);
        assert_null(a.server);
        assert_int_equal(b.len, 0);
        assert_int_equal(a.requests, 2);
        assert_int_equal(a.closed, 0);
        close(fd);
        close(other);
        app_stop(&a);
}

/* In every state that a connection can be in. */
static void test_free_anytime(void **state)
{
        static const char *const texts[] = { "", "GE", "GET / HTTP/1.1\r\nHo",
                "POST / HTTP/1.1\r\n" HOST "Content-Length: 9\r\n\r\nab",
                "GET /late HTTP/1.1\r\n" HOST "\r\n", "GET /stream HTTP/1.1\r\n" HOST "\r\n",
                "GET /late HTTP/1.1\r\n" HOST "\r\nGET / HTTP/1.1\r\n" HOST "\r\n",
                "GET /size?arg=8000000 HTTP/1.1\r\n" HOST "\r\n", "garbage\r\n\r\n" };

        (void) state;
        for (unsigned turns = 0; turns < 4; turns++) {
                int fds[ARRAY_SIZE(texts)];
                struct app a;

                app_start(&a, NO_OPTIONS);
                for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                        fds[i] = raw_connect(a.port);
                        raw_puts(&a.loop, fds[i], texts[i]);
                }
                for (unsigned i = 0; i < turns; i++)
                        turn(&a.loop);
                app_stop(&a);
                for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
                        close(fds[i]);
        }
}

/* What an application does when it is told something: end the very thing, or everything. */
static void finish_stream(void *data)
{
        struct app *a = data;

        if (a->stream != NULL)
                http_request_finish(take_ptr(a->stream));
}

static void free_server(void *data)
{
        struct app *a = data;

        a->closed++;
        http_server_free(take_ptr(a->server));
}

static void test_end_in_callbacks(void **state)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        static char piece[100000];
        struct app a;
        int fd, other;

        (void) state;
        app_start(&a, NO_OPTIONS);
        fd = raw_connect(a.port);
        raw_puts(&a.loop, fd, "GET /stream HTTP/1.1\r\n" HOST "\r\n");
        wait_for(&a.loop, a.stream != NULL);
        http_request_on_drain(a.stream, finish_stream, &a);
        http_request_write(a.stream, piece, sizeof piece);
        wait_for(&a.loop, (raw_take(fd, &b), a.stream == NULL));
        raw_puts(&a.loop, fd, "GET /next HTTP/1.1\r\n" HOST "\r\n");
        wait_for(&a.loop, a.requests == 2);

        other = raw_connect(a.port);
        raw_puts(&a.loop, other, "GET /late HTTP/1.1\r\n" HOST "\r\n");
        raw_puts(&a.loop, fd, "GET /stream HTTP/1.1\r\n" HOST "\r\n");
        wait_for(&a.loop, a.stream != NULL && a.kept_count == 1);
        http_request_on_close(a.stream, free_server, &a);
        raw_reset(fd);
        wait_for(&a.loop, a.server == NULL);
        buffer_reset(&b);
        raw_expect_end(&a.loop, other, &b);
        close(other);
        app_stop(&a);
        assert_int_equal(a.closed, 1);
}

static void test_upgrade_refused(void **state)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        struct app a;
        int fd;

        (void) state;
        app_start(&a, NO_OPTIONS);
        fd = raw_connect(a.port);
        /* who asks for another protocol and does not get it goes on in this one */
        raw_puts(&a.loop, fd,
                "GET /1 HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
                "GET /2 HTTP/1.1\r\n" HOST "\r\n");
        raw_expect(&a.loop, fd, &b, "X-Path: /2\r\n");
        assert_non_null(strstr(b.data, "X-Path: /1\r\n"));
        close(fd);
        app_stop(&a);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_exchange),
                cmocka_unit_test(test_query),
                cmocka_unit_test(test_fragments),
                cmocka_unit_test(test_pipelined_late),
                cmocka_unit_test(test_small_blocks_are_gathered),
                cmocka_unit_test(test_stream),
                cmocka_unit_test(test_http_1_0),
                cmocka_unit_test(test_expect_continue),
                cmocka_unit_test(test_half_close),
                cmocka_unit_test(test_peer_gone),
                cmocka_unit_test(test_drain),
                cmocka_unit_test(test_slow_reader),
                cmocka_unit_test(test_thousand),
                cmocka_unit_test(test_no_descriptors),
                cmocka_unit_test(test_max_connections),
                cmocka_unit_test(test_free_in_callback),
                cmocka_unit_test(test_free_anytime),
                cmocka_unit_test(test_end_in_callbacks),
                cmocka_unit_test(test_upgrade_refused),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
