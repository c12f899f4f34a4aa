/* SPDX-License-Identifier: BSD-3-Clause */
#include "net/http-client.h"
#include "net/test-http-server.h"
#include "net/test-tls.h"

static struct pki *over_tls; /* NULL: plain */

static void start_app(struct app *a)
{
        app_start_at(a, NO_OPTIONS,
                over_tls != NULL ? tls_address(0, over_tls->server) : tcp_address(0));
}

static struct address app_address(const struct app *a)
{
        return over_tls != NULL ? tls_address(a->port, over_tls->client) : tcp_address(a->port);
}

/* What a call told. */
struct heard {
        struct http_call *call;
        struct buffer body;
        int status;
        bool ended, cancel_on_head, cancel_on_data;
        struct error err;
};

static void on_head(void *data, int status)
{
        struct heard *h = data;

        assert_int_equal(h->status, 0);
        h->status = status;
        if (h->cancel_on_head)
                http_call_cancel(h->call);
}

static void on_data(void *data, const void *bytes, size_t len)
{
        struct heard *h = data;

        buffer_put(&h->body, bytes, len);
        if (h->cancel_on_data)
                http_call_cancel(h->call);
}

static void on_end(void *data, const struct error *err)
{
        struct heard *h = data;

        assert_false(h->ended);
        h->ended = true;
        if (err != NULL)
                h->err = *err;
}

static void start(uv_loop_t *loop, const struct address *address, struct heard *h,
        struct http_call_options options)
{
        struct error err;

        options.on_head = on_head;
        options.on_data = on_data;
        options.on_end = on_end;
        options.data = h;
        if (options.path == NULL)
                options.path = "/";
        if (http_call_start(loop, address, &options, &h->call, &err) < 0)
                fail_msg("%s", err.message);
        assert_false(h->ended);
}

static void test_calls(void **state)
{
        static const char *const headers[] = { "X-One", "1", "Authorization", "Bearer x", NULL };
        struct heard h[5] = { 0 };
        struct address address;
        struct app a;

        (void) state;
        start_app(&a);
        address = app_address(&a);
        start(&a.loop, &address, &h[0],
                (struct http_call_options){ .path = "/a%20b?x=1", .headers = headers });
        start(&a.loop, &address, &h[1],
                (struct http_call_options){ .method = "POST", .body = "hello", .len = 5 });
        start(&a.loop, &address, &h[2],
                (struct http_call_options){ .method = "HEAD", .path = "/size?arg=77" });
        start(&a.loop, &address, &h[3], (struct http_call_options){ .path = "/size?arg=3000000" });
        start(&a.loop, &address, &h[4], (struct http_call_options){ .path = "/stream" });
        for (int i = 0; i < 4; i++) {
                wait_for(&a.loop, h[i].ended);
                assert_int_equal(h[i].err.code, ERR_NONE);
                assert_int_equal(h[i].status, 200);
        }
        assert_string_equal(buffer_str(&h[1].body), "hello");
        assert_int_equal(h[2].body.len, 0);
        assert_int_equal(h[3].body.len, 3000000);

        /* a stream is handed on as it comes */
        wait_for(&a.loop, h[4].status == 200);
        assert_string_equal(http_call_header(h[4].call, "content-type"), "text/plain");
        assert_null(http_call_header(h[4].call, "x"));
        http_request_write(a.stream, "one", 3);
        wait_for(&a.loop, h[4].body.len == 3);
        assert_false(h[4].ended);
        http_request_write(a.stream, "two", 3);
        http_request_finish(a.stream);
        wait_for(&a.loop, h[4].ended);
        assert_string_equal(buffer_str(&h[4].body), "onetwo");
        for (int i = 0; i < 5; i++)
                buffer_done(&h[i].body);
        app_stop(&a);
}

static void test_cancel(void **state)
{
        struct heard h[4] = { { 0 }, { 0 }, { .cancel_on_head = true },
                { .cancel_on_data = true } };
        struct address address;
        struct app a;

        (void) state;
        start_app(&a);
        address = app_address(&a);
        start(&a.loop, &address, &h[0], (struct http_call_options){ 0 });
        http_call_cancel(h[0].call); /* before anything */
        http_call_cancel(NULL);

        start(&a.loop, &address, &h[1], (struct http_call_options){ .path = "/late?arg=watch" });
        wait_for(&a.loop, a.kept_count == 1);
        http_call_cancel(h[1].call);
        for (int i = 0; i < 5; i++)
                turn(&a.loop);
        if (a.closed == 0) /* TLS: what it had not read (a ticket) made its end a reset */
                http_request_reply(a.kept[0], 200, "text/plain", "x", 1);

        for (int i = 2; i < 4; i++)
                start(&a.loop, &address, &h[i],
                        (struct http_call_options){ .path = "/size?arg=9" });
        wait_for(&a.loop, h[2].status == 200 && h[3].body.len > 0);
        wait_for(&a.loop, http_server_connections(a.server) == 0);
        for (int i = 0; i < 4; i++) {
                assert_false(h[i].ended);
                buffer_done(&h[i].body);
        }
        assert_int_equal(h[2].body.len, 0);
        app_stop(&a);
}

static void check_fails(const struct address *address, struct http_call_options options,
        enum error_code code, int sys_errno)
{
        struct heard h = { 0 };
        uv_loop_t loop;

        uv_loop_init(&loop);
        start(&loop, address, &h, options);
        wait_for(&loop, h.ended);
        if (h.err.code != code || h.err.sys_errno != sys_errno)
                fail_msg("%s (%d, %d)", h.err.message, h.err.code, h.err.sys_errno);
        buffer_done(&h.body);
        loop_close(&loop);
}

static void test_nobody_there(void **state)
{
        struct http_call_options plain = { 0 }, fast = { .connect_timeout = 200 * USEC_MSEC };
        struct address address = { .is_unix = true };
        char dir[] = "/tmp/net-XXXXXX";
        struct sockaddr_un sun = { .sun_family = AF_UNIX };
        int fd, queued;

        (void) state;
        assert_non_null(mkdtemp(dir));
        snprintf(address.path, sizeof address.path, "%s/sock", dir);
        check_fails(&address, plain, ERR_UNAVAILABLE, ENOENT);

        snprintf(sun.sun_path, sizeof sun.sun_path, "%s", address.path);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(fd, (struct sockaddr *) &sun, sizeof sun), 0);
        check_fails(&address, plain, ERR_UNAVAILABLE, ECONNREFUSED);

        /* a listener that does not get round to accepting */
        assert_int_equal(listen(fd, 0), 0);
        queued = raw_connect_unix(address.path);
        check_fails(&address, fast, ERR_TIMEOUT, ETIMEDOUT);
        close(queued);
        close(fd);
        unlink(address.path);
        rmdir(dir);

        address = tcp_address(1);
        check_fails(&address, plain, ERR_UNAVAILABLE, ECONNREFUSED);
        address = (struct address){ .host = "localhost", .port = 1 };
        check_fails(&address, plain, ERR_UNAVAILABLE, ECONNREFUSED);
        address = (struct address){ .host = "no.such.host.invalid", .port = 1 };
        check_fails(&address, (struct http_call_options){ .connect_timeout = 30 * USEC_SEC },
                ERR_UNAVAILABLE, 0);
}

static int listen_anywhere(struct address *address)
{
        struct sockaddr_in sin = { .sin_family = AF_INET,
                .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t len = sizeof sin;
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        assert_int_equal(bind(fd, (struct sockaddr *) &sin, sizeof sin), 0);
        assert_int_equal(listen(fd, 10), 0);
        assert_int_equal(getsockname(fd, (struct sockaddr *) &sin, &len), 0);
        *address = tcp_address(ntohs(sin.sin_port));
        return fd;
}

/* A server that answers what it likes, whole and in single bytes. */
static void answer(const char *text, bool reset, enum error_code code, const char *body)
{
        struct address address;
        int listener = listen_anywhere(&address);
        uv_loop_t loop;

        uv_loop_init(&loop);
        for (size_t step = 1; step <= 4096; step *= 4096) {
                AUTO(buffer_done) struct buffer asked = { 0 };
                struct heard h = { 0 };
                int fd;

                start(&loop, &address, &h, (struct http_call_options){ 0 });
                wait_for(&loop, (fd = accept(listener, NULL, NULL)) >= 0);
                raw_expect(&loop, fd, &asked, "\r\n\r\n");
                for (size_t i = 0; i < strlen(text); i += step) {
                        send(fd, text + i, MIN(step, strlen(text) - i), MSG_NOSIGNAL);
                        uv_run(&loop, UV_RUN_NOWAIT);
                }
                if (reset)
                        raw_reset(fd);
                else
                        close(fd);
                wait_for(&loop, h.ended);
                if (h.err.code != code)
                        fail_msg("%s: %s", text, h.err.message);
                assert_string_equal(buffer_str(&h.body), body);
                buffer_done(&h.body);
        }
        close(listener);
        loop_close(&loop);
}

static void test_answers(void **state)
{
        (void) state;
        answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", false, ERR_NONE, "ab");
        answer("HTTP/1.1 200 OK\r\n\r\nab", false, ERR_NONE, "ab");
        answer("HTTP/1.0 404\r\n\r\n", false, ERR_NONE, "");
        answer("HTTP/1.1 204 No Content\r\n\r\n", false, ERR_NONE, "");
        answer("HTTP/1.1 100 Continue\r\nA: b\r\n\r\nHTTP/1.1 103 x\r\n\r\n"
               "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nT: x\r\n\r\n",
                false, ERR_NONE, "ab");
        answer("", false, ERR_UNAVAILABLE, "");
        answer("HTTP/1.1 200", false, ERR_UNAVAILABLE, "");
        answer("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", false, ERR_UNAVAILABLE, "ab");
        answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", false,
                ERR_UNAVAILABLE, "ab");
        answer("", true, ERR_UNAVAILABLE, "");
        answer("SSH-2.0-OpenSSH\r\n", false, ERR_INVALID, "");
        answer("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nzz",
                false, ERR_INVALID, "");
}

/* An answer that comes before the question was complete, from a server that then closes. */
static void test_early_answer(void **state)
{
        struct heard h = { 0 };
        char *body = mem_alloc(20000000);
        struct address address;
        struct app a;

        (void) state;
        start_app(&a);
        address = app_address(&a);
        start(&a.loop, &address, &h,
                (struct http_call_options){ .method = "POST", .body = body, .len = 20000000 });
        wait_for(&a.loop, h.ended);
        assert_int_equal(h.status, 413);
        assert_int_equal(h.err.code, ERR_NONE);
        buffer_done(&h.body);
        free(body);
        app_stop(&a);
}

static void test_timeout(void **state)
{
        struct address address;
        struct app a;

        (void) state;
        start_app(&a);
        address = app_address(&a);
        for (int i = 0; i < 2; i++) {
                struct heard h = { 0 };

                start(&a.loop, &address, &h,
                        (struct http_call_options){
                                .path = i == 0 ? "/late" : "/stream", .timeout = 200 * USEC_MSEC });
                wait_for(&a.loop, h.ended);
                assert_int_equal(h.err.code, ERR_TIMEOUT);
        }
        app_stop(&a);
}

static void start_refused(const char *text, const char *expected)
{
        AUTO(buffer_done) struct buffer asked = { 0 };
        struct address address;
        int listener = listen_anywhere(&address), fd;
        struct heard h = { 0 };
        uv_loop_t loop;

        uv_loop_init(&loop);
        start(&loop, &address, &h, (struct http_call_options){ 0 });
        wait_for(&loop, (fd = accept(listener, NULL, NULL)) >= 0);
        raw_expect(&loop, fd, &asked, "\r\n\r\n");
        raw_send(&loop, fd, text, strlen(text));
        wait_for(&loop, h.ended);
        assert_int_equal(h.err.code, ERR_INVALID);
        assert_string_equal(h.err.message, expected);
        close(fd);
        close(listener);
        loop_close(&loop);
}

/* An operator learns what was wrong with an answer, not which function of the parser said so. */
static void test_refused_answers(void **state)
{
        AUTO(buffer_done) struct buffer b = { 0 };

        (void) state;
        start_refused("HTTP/1.1 101 Switching Protocols\r\n\r\n",
                "the answer is refused: it changes to a protocol that was not asked for");
        buffer_puts(&b, "HTTP/1.1 200 OK\r\n");
        for (int i = 0; i < 200; i++)
                buffer_printf(&b, "h%d: x\r\n", i);
        start_refused(b.data, "the answer is refused: too many headers");
}

/* Trailers are not headers: they come when on_head is over, and anybody may append them. */
static void on_end_with_trailer(void *data, const struct error *err)
{
        struct heard *h = data;

        assert_null(err);
        assert_null(http_call_header(h->call, "Reeve-Index"));
        assert_string_equal(http_call_header(h->call, "A"), "b");
        h->ended = true;
}

static void test_trailers(void **state)
{
        static const char text[] = "HTTP/1.1 200 OK\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n"
                                   "0\r\nReeve-Index: 7\r\n\r\n";
        AUTO(buffer_done) struct buffer asked = { 0 };
        struct heard h = { 0 };
        struct http_call_options options = {
                .path = "/", .on_end = on_end_with_trailer, .data = &h
        };
        struct address address;
        int listener = listen_anywhere(&address), fd;
        uv_loop_t loop;

        (void) state;
        uv_loop_init(&loop);
        assert_int_equal(http_call_start(&loop, &address, &options, &h.call, NULL), 0);
        wait_for(&loop, (fd = accept(listener, NULL, NULL)) >= 0);
        raw_expect(&loop, fd, &asked, "\r\n\r\n");
        raw_puts(&loop, fd, text);
        wait_for(&loop, h.ended);
        close(fd);
        close(listener);
        loop_close(&loop);
}

static void test_refused_input(void **state)
{
        static const char *const bad_name[] = { "a b", "c", NULL };
        static const char *const bad_value[] = { "a", "b\r\nc: d", NULL };
        const struct http_call_options cases[] = {
                { .path = "x" },
                { .path = "/a b" },
                { .path = "/a\r\nb" },
                { .path = "/", .method = "G T" },
                { .path = "/", .method = "" },
                { .path = "/", .headers = bad_name },
                { .path = "/", .headers = bad_value },
        };
        struct address address = tcp_address(1);
        uv_loop_t loop;

        (void) state;
        uv_loop_init(&loop);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct http_call *call;
                struct error err = ERROR_INIT;

                assert_int_equal(http_call_start(&loop, &address, &cases[i], &call, &err), -1);
                assert_int_equal(err.code, ERR_INVALID);
        }
        loop_close(&loop);
}

/* Waiting for it: the server in a thread and on a loop of its own. */

struct served {
        uv_async_t stop;
        struct app app;
};

static void on_stop(uv_async_t *stop)
{
        struct served *s = container_of(stop, struct served, stop);

        http_server_free(take_ptr(s->app.server));
        uv_close((uv_handle_t *) stop, NULL);
}

static void serve(void *data)
{
        uv_run(&((struct served *) data)->app.loop, UV_RUN_DEFAULT);
}

static void test_fetch(void **state)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        struct served s;
        struct address address;
        uv_thread_t thread;
        struct error err;
        int status = 0;

        (void) state;
        start_app(&s.app);
        uv_async_init(&s.app.loop, &s.stop, on_stop);
        address = app_address(&s.app);
        uv_thread_create(&thread, serve, &s);

        if (http_fetch(&address, "POST", "/echo", NULL, "abc", 3, DEADLINE, &status, &b, &err) < 0)
                fail_msg("%s", err.message);
        assert_int_equal(status, 200);
        assert_string_equal(buffer_str(&b), "abc");
        assert_int_equal(http_fetch(&address, "GET", "/late", NULL, NULL, 0, 200 * USEC_MSEC,
                                 &status, NULL, &err),
                -1);
        assert_int_equal(err.code, ERR_TIMEOUT);
        assert_int_equal(
                http_fetch(&address, "GET", "x", NULL, NULL, 0, 0, &status, NULL, &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
        assert_int_equal(http_fetch(&address, "GET", "/size?arg=5000000", NULL, NULL, 0, 0, &status,
                                 NULL, NULL),
                0);

        uv_async_send(&s.stop);
        uv_thread_join(&thread);
        assert_int_equal(
                http_fetch(&address, "GET", "/", NULL, NULL, 0, 0, &status, NULL, &err), -1);
        assert_int_equal(err.code, ERR_UNAVAILABLE);
        assert_int_equal(err.sys_errno, ECONNREFUSED);
        app_stop(&s.app);
}

/* Over TLS, too: what has our server on the other side. */
static int run_over_tls(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_calls),
                cmocka_unit_test(test_cancel),
                cmocka_unit_test(test_early_answer),
                cmocka_unit_test(test_timeout),
                cmocka_unit_test(test_fetch),
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
                cmocka_unit_test(test_calls),
                cmocka_unit_test(test_cancel),
                cmocka_unit_test(test_nobody_there),
                cmocka_unit_test(test_answers),
                cmocka_unit_test(test_early_answer),
                cmocka_unit_test(test_timeout),
                cmocka_unit_test(test_refused_answers),
                cmocka_unit_test(test_trailers),
                cmocka_unit_test(test_refused_input),
                cmocka_unit_test(test_fetch),
        };

        return cmocka_run_group_tests(tests, NULL, NULL) + run_over_tls();
}
