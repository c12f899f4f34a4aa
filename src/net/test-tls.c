/* SPDX-License-Identifier: BSD-3-Clause */
/* TLS as seen from the protocols above: HTTP calls and bare connections, over loopback, in one
 * loop. The tests of HTTP client and WebSocket run over TLS, too. */
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "net/conn-internal.h"
#include "net/http-client.h"
#include "net/listen.h"
#include "net/test-http-server.h"
#include "net/test-tls.h"

/* Calls */

struct heard {
        struct http_call *call;
        struct buffer body;
        int status;
        bool ended;
        struct error err;
};

static void on_head(void *data, int status)
{
        ((struct heard *) data)->status = status;
}

static void on_data(void *data, const void *bytes, size_t len)
{
        buffer_put(&((struct heard *) data)->body, bytes, len);
}

static void on_end(void *data, const struct error *err)
{
        struct heard *h = data;

        h->ended = true;
        if (err != NULL)
                h->err = *err;
}

static void ask(uv_loop_t *loop, const struct address *address, const char *path, struct heard *h,
        usec_t connect_timeout)
{
        const struct http_call_options options = { .path = path,
                .on_head = on_head,
                .on_data = on_data,
                .on_end = on_end,
                .data = h,
                .connect_timeout = connect_timeout };
        struct error err;

        *h = (struct heard){ 0 };
        if (http_call_start(loop, address, &options, &h->call, &err) < 0)
                fail_msg("%s", err.message);
}

static void check_works(struct app *a, struct tls_context *client)
{
        struct address address = tls_address(a->port, client);
        struct heard h;

        ask(&a->loop, &address, "/size?arg=300000", &h, 0);
        wait_for(&a->loop, h.ended);
        if (h.err.code != ERR_NONE)
                fail_msg("%s", h.err.message);
        assert_int_equal(h.status, 200);
        assert_int_equal(h.body.len, 300000);
        buffer_done(&h.body);
}

static void check_fails(
        struct app *a, const struct address *address, enum error_code code, const char *text)
{
        struct heard h;

        ask(&a->loop, address, "/", &h, 0);
        wait_for(&a->loop, h.ended);
        if (h.err.code != code || strstr(h.err.message, text) == NULL)
                fail_msg("\"%s\" is not in: %s", text, h.err.message);
}

static void check_refused(struct app *a, struct tls_trust trust, const char *text)
{
        struct tls_context *client = pki_client(trust);
        struct address address = tls_address(a->port, client);

        check_fails(a, &address, ERR_DENIED, text);
        tls_context_unref(client);
}

static void start_app(struct app *a, struct pki *p, struct http_server_options options)
{
        app_start_at(a, options, tls_address(0, p->server));
}

static void test_trust(void **state)
{
        char colons[100] = "";
        struct tls_context *client;
        struct pki p;
        struct app a;

        (void) state;
        pki_make_local(&p);
        start_app(&a, &p, NO_OPTIONS);
        for (int i = 0; i < 32; i++)
                snprintf(colons + 3 * i, 4, "%.2s%s", p.fingerprint + 2 * i, i < 31 ? ":" : "");
        for (char *c = colons; *c != '\0'; c++)
                *c = (char) (*c >= 'a' ? *c - 'a' + 'A' : *c);

        check_works(&a, p.client);
        client = pki_client((struct tls_trust){ .ca_pem = p.ca.pem, .name = "localhost" });
        check_works(&a, client);
        tls_context_unref(client);
        client = pki_client((struct tls_trust){ .fingerprint = colons });
        check_works(&a, client);
        tls_context_unref(client);
        p.fingerprint[32] = '\0'; /* as in a join token */
        client = pki_client((struct tls_trust){ .fingerprint = p.fingerprint });
        check_works(&a, client);
        tls_context_unref(client);
        app_stop(&a);
        pki_done(&p);
}

static void test_wrong_trust(void **state)
{
        static const char *const bad[] = { "", "abcd", "0123456789abcdef0123456789abcde",
                "0123456789abcdef0123456789abcdeg",
                "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0" };
        struct tls_context *c;
        struct error err;

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                const struct tls_trust trust = { .fingerprint = bad[i] };

                assert_int_equal(tls_context_new_client(&trust, &c, &err), -1);
                assert_int_equal(err.code, ERR_INVALID);
        }
        assert_int_equal(
                tls_context_new_client(&(struct tls_trust){ .ca_path = "/nowhere" }, &c, &err), -1);
        assert_non_null(strstr(err.message, "/nowhere"));
        assert_int_equal(
                tls_context_new_client(&(struct tls_trust){ .ca_pem = "nonsense" }, &c, &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
}

static void test_unknown_authority(void **state)
{
        struct pki p, other;
        struct address address;
        struct app a;

        (void) state;
        pki_make_local(&p);
        pki_make_local(&other);
        start_app(&a, &p, NO_OPTIONS);
        check_refused(&a, (struct tls_trust){ .ca_path = other.ca_path },
                "signed by \"test CA\", which is no certificate authority that is trusted here");
        check_refused(&a, (struct tls_trust){ .fingerprint = other.fingerprint },
                "none of the certificates that the server shows has the expected fingerprint");
        address = tls_address(a.port, NULL); /* the system's */
        check_fails(&a, &address, ERR_DENIED, "is no certificate authority that is trusted here");
        check_works(&a, p.client); /* nothing of this stays */
        app_stop(&a);
        pki_done(&p);
        pki_done(&other);
}

/* Whoever can show the authority's certificate (it is public) is not yet signed by it. */
static void test_pinned_but_not_signed(void **state)
{
        AUTO(buffer_done) struct buffer mixed = { 0 };
        struct pki p, other;
        struct error err;
        struct app a;

        (void) state;
        pki_make_local(&p);
        pki_make_local(&other);
        assert_int_equal(file_read(other.certificate, 100000, &mixed, &err), 0);
        buffer_puts(&mixed, p.ca.pem);
        assert_int_equal(
                file_replace(other.certificate, mixed.data, mixed.len, 0644, false, &err), 0);
        assert_int_equal(tls_context_reload(other.server, &err), 0);
        start_app(&a, &other, NO_OPTIONS);
        check_refused(&a, (struct tls_trust){ .fingerprint = p.fingerprint }, "is refused: ");
        app_stop(&a);
        pki_done(&p);
        pki_done(&other);
}

static void test_wrong_name(void **state)
{
        static const char *const names[] = { "db.example", "10.9.9.9", NULL };
        struct tls_context *client;
        struct pki p;
        struct app a;

        (void) state;
        pki_make(&p, names, time_wall());
        start_app(&a, &p, NO_OPTIONS);
        check_refused(&a, (struct tls_trust){ .ca_path = p.ca_path },
                "it is for db.example, 10.9.9.9, not for 127.0.0.1");
        check_refused(&a, (struct tls_trust){ .fingerprint = p.fingerprint },
                "it is for db.example, 10.9.9.9, not for 127.0.0.1");
        check_refused(&a, (struct tls_trust){ .ca_path = p.ca_path, .name = "example" },
                "not for example");
        client = pki_client((struct tls_trust){ .ca_path = p.ca_path, .name = "db.example" });
        check_works(&a, client);
        tls_context_unref(client);
        app_stop(&a);
        pki_done(&p);
}

static void check_age(usec_t made_wall, const char *text)
{
        static const char *const names[] = { "127.0.0.1", NULL };
        struct pki p;
        struct app a;

        pki_make(&p, names, made_wall);
        start_app(&a, &p, NO_OPTIONS);
        check_refused(&a, (struct tls_trust){ .ca_path = p.ca_path }, text);
        check_refused(&a, (struct tls_trust){ .ca_path = p.ca_path }, "; the clock here says 2");
        check_refused(&a, (struct tls_trust){ .fingerprint = p.fingerprint }, text);
        app_stop(&a);
        pki_done(&p);
}

static void test_wrong_time(void **state)
{
        (void) state;
        check_age(time_wall() - 400 * USEC_DAY, "\"127.0.0.1\" of the server is refused: it ended");
        check_age(time_wall() + 2 * USEC_HOUR, "is refused: it begins at 2");
}

/* TLS here, none there */

static void test_no_tls_there(void **state)
{
        struct address address;
        struct pki p;
        struct app a;

        (void) state;
        pki_make_local(&p);
        app_start(&a, NO_OPTIONS);
        address = tls_address(a.port, p.client);
        check_fails(&a, &address, ERR_INVALID, "there is no TLS at that address");
        check_fails(&a, &address, ERR_INVALID, "connect to https://127.0.0.1:");
        address.port = 1;
        check_fails(&a, &address, ERR_UNAVAILABLE, "connect to https://127.0.0.1:1");
        assert_int_equal(a.requests, 0);
        app_stop(&a);
        pki_done(&p);
}

static void test_plain_peer(void **state)
{
        AUTO(buffer_done) struct buffer answer = { 0 };
        struct address address;
        struct heard h;
        struct pki p;
        struct app a;

        (void) state;
        pki_make_local(&p);
        start_app(&a, &p, NO_OPTIONS);
        app_ask(&a, "GET / HTTP/1.1\r\n" HOST "\r\n", 27, &answer);
        assert_non_null(strstr(answer.data, "HTTP/1.1 400 "));
        assert_non_null(strstr(answer.data, "this address speaks TLS: ask with https://"));

        address = tcp_address(a.port);
        ask(&a.loop, &address, "/", &h, 0);
        wait_for(&a.loop, h.ended);
        assert_int_equal(h.err.code, ERR_NONE);
        assert_int_equal(h.status, 400);
        buffer_done(&h.body);

        buffer_reset(&answer); /* what is no letter gets no answer but TLS's own */
        app_ask(&a, "\x01\x02\x03\x04\x05\x06\x07\x08", 8, &answer);
        assert_null(memmem(buffer_str(&answer), answer.len, "HTTP", 4));
        assert_int_equal(a.requests, 0);
        wait_for(&a.loop, http_server_connections(a.server) == 0);
        app_stop(&a);
        pki_done(&p);
}

/* Peers that stall */

static void test_stalled_client(void **state)
{
        AUTO(buffer_done) struct buffer answer = { 0 };
        struct pki p;
        struct app a;
        int silent, half;

        (void) state;
        pki_make_local(&p);
        start_app(&a, &p, (struct http_server_options){ .head_timeout = 300 * USEC_MSEC });
        silent = raw_connect(a.port);
        half = raw_connect(a.port);
        raw_send(&a.loop, half, "\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03", 11);
        wait_for(&a.loop, http_server_connections(a.server) == 2);
        check_works(&a, p.client); /* nobody waits for them */
        raw_expect_end(&a.loop, silent, &answer);
        raw_expect_end(&a.loop, half, &answer);
        assert_int_equal(http_server_connections(a.server), 0);
        close(silent);
        close(half);
        app_stop(&a);
        pki_done(&p);
}

/* Once TLS stands it is idle time that counts, not the time for a head. */
static void test_idle_client(void **state);

static void test_stalled_server(void **state)
{
        struct sockaddr_in sin = { .sin_family = AF_INET,
                .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t len = sizeof sin;
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct address address;
        uv_loop_t loop;
        struct heard h;
        struct pki p;

        (void) state;
        assert_int_equal(bind(fd, (struct sockaddr *) &sin, sizeof sin), 0);
        assert_int_equal(listen(fd, 10), 0);
        assert_int_equal(getsockname(fd, (struct sockaddr *) &sin, &len), 0);
        pki_make_local(&p);
        uv_loop_init(&loop);
        address = tls_address(ntohs(sin.sin_port), p.client);
        ask(&loop, &address, "/", &h, 300 * USEC_MSEC);
        wait_for(&loop, h.ended);
        assert_int_equal(h.err.code, ERR_TIMEOUT);
        assert_non_null(strstr(h.err.message, "no TLS handshake in time"));

        ask(&loop, &address, "/", &h, 0); /* given up in the middle */
        for (int i = 0; i < 10; i++)
                turn(&loop);
        http_call_cancel(h.call);
        loop_close(&loop);
        close(fd);
        pki_done(&p);
}

/* A client of OpenSSL's own, where ours would be too polite */

struct raw_tls {
        SSL_CTX *context;
        SSL *ssl;
        int fd;
        unsigned records; /* of any kind but alerts, received */
        struct buffer got;
};

static void on_record(
        int writing, int version, int type, const void *bytes, size_t len, SSL *ssl, void *data)
{
        struct raw_tls *r = data;

        (void) version;
        (void) len;
        (void) ssl;
        if (!writing && type == SSL3_RT_HEADER && ((const unsigned char *) bytes)[0] == 23)
                r->records++;
}

static void raw_tls_open(struct app *a, struct raw_tls *r, int version)
{
        int done;

        memset(r, 0, sizeof *r);
        r->context = SSL_CTX_new(TLS_client_method());
        SSL_CTX_set_max_proto_version(r->context, version);
        r->ssl = SSL_new(r->context);
        r->fd = raw_connect(a->port);
        fcntl(r->fd, F_SETFL, O_NONBLOCK);
        SSL_set_fd(r->ssl, r->fd);
        SSL_set_msg_callback(r->ssl, on_record);
        SSL_set_msg_callback_arg(r->ssl, r);
        wait_for(&a->loop, (ERR_clear_error(), done = SSL_connect(r->ssl)) == 1 ||
                                   SSL_get_error(r->ssl, done) != SSL_ERROR_WANT_READ);
        assert_int_equal(done, 1);
}

static void raw_tls_close(struct raw_tls *r)
{
        SSL_free(r->ssl);
        SSL_CTX_free(r->context);
        close(r->fd);
        buffer_done(&r->got);
}

/* What is there now; the result of SSL_get_error() behind it. */
static int raw_tls_take(struct raw_tls *r)
{
        int n;

        do {
                ERR_clear_error();
                n = SSL_read(r->ssl, buffer_reserve(&r->got, 65536), 65536);
                buffer_commit(&r->got, n > 0 ? (size_t) n : 0);
        } while (n > 0);
        return SSL_get_error(r->ssl, n);
}

static void raw_tls_expect(struct app *a, struct raw_tls *r, const char *text)
{
        wait_for(&a->loop, raw_tls_take(r) != SSL_ERROR_SSL && r->got.len > 0 &&
                                   memmem(r->got.data, r->got.len, text, strlen(text)) != NULL);
}

static void raw_tls_puts(struct raw_tls *r, const char *text)
{
        assert_int_equal(SSL_write(r->ssl, text, (int) strlen(text)), strlen(text));
}

static void test_idle_client(void **state)
{
        struct raw_tls r;
        struct pki p;
        struct app a;
        usec_t until;

        (void) state;
        pki_make_local(&p);
        start_app(&a, &p,
                (struct http_server_options){
                        .head_timeout = 300 * USEC_MSEC, .idle_timeout = 100 * USEC_SEC });
        raw_tls_open(&a, &r, 0);
        until = time_mono() + 700 * USEC_MSEC;
        wait_for(&a.loop, time_mono() > until);
        raw_tls_puts(&r, "GET / HTTP/1.1\r\n" HOST "\r\n");
        raw_tls_expect(&a, &r, "200 OK");
        raw_tls_close(&r);
        app_stop(&a);
        pki_done(&p);
}

/* Many pieces of an answer that are written in one turn are one record. */
static void test_records(void **state)
{
        struct raw_tls r;
        struct pki p;
        struct app a;
        unsigned before;

        (void) state;
        pki_make_local(&p);
        start_app(&a, &p, NO_OPTIONS);
        raw_tls_open(&a, &r, 0);
        raw_tls_puts(&r, "GET /stream HTTP/1.1\r\n" HOST "\r\n");
        raw_tls_expect(&a, &r, "\r\n\r\n");
        before = r.records;
        for (int i = 0; i < 100; i++)
                http_request_write(a.stream, "0123456789012345678901234567890123456789", 40);
        http_request_write(a.stream, "the end", 7);
        raw_tls_expect(&a, &r, "the end");
        assert_int_equal(r.records, before + 1);
        raw_tls_close(&r);
        app_stop(&a);
        pki_done(&p);
}

/* The peer has ended its half, and gets its answer and our end. */
static void test_half_close(void **state)
{
        static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
        struct pki p;
        struct app a;

        (void) state;
        pki_make_local(&p);
        start_app(&a, &p, NO_OPTIONS);
        for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
                struct raw_tls r;

                raw_tls_open(&a, &r, versions[i]);
                raw_tls_puts(&r, "GET /late HTTP/1.1\r\n" HOST "\r\n");
                wait_for(&a.loop, a.kept_count == i + 1);
                SSL_shutdown(r.ssl);
                for (int n = 0; n < 5; n++)
                        turn(&a.loop);
                http_request_reply(a.kept[i], 200, "text/plain", "here it is", 10);
                raw_tls_expect(&a, &r, "here it is");
                wait_for(&a.loop, raw_tls_take(&r) == SSL_ERROR_ZERO_RETURN);
                raw_tls_close(&r);
        }
        wait_for(&a.loop, http_server_connections(a.server) == 0);
        app_stop(&a);
        pki_done(&p);
}

/* A peer that goes in the middle of a long answer ends nothing but its own connection. */
static void test_gone_while_writing(void **state)
{
        static const char question[] = "GET /size?arg=30000000 HTTP/1.1\r\n" HOST "\r\n";
        struct pki p;
        struct app a;

        (void) state;
        signal(SIGPIPE, SIG_DFL);
        pki_make_local(&p);
        start_app(&a, &p, NO_OPTIONS);
        for (int i = 0; i < 2; i++) {
                struct raw_tls r;

                raw_tls_open(&a, &r, 0);
                raw_tls_puts(&r, question);
                raw_tls_expect(&a, &r, "xxxx");
                if (i == 0)
                        raw_reset(dup(r.fd));
                shutdown(r.fd, SHUT_RDWR);
                raw_tls_close(&r);
                wait_for(&a.loop, http_server_connections(a.server) == 0);
        }
        check_works(&a, p.client);
        app_stop(&a);
        pki_done(&p);
}

/* An answer without a length that is cut off is not taken for a whole one. */
static void test_cut_off(void **state)
{
        struct address address;
        struct heard h;
        struct pki p;
        struct app a;

        (void) state;
        pki_make_local(&p);
        start_app(&a, &p, NO_OPTIONS);
        address = tls_address(a.port, p.client);
        ask(&a.loop, &address, "/stream", &h, 0);
        wait_for(&a.loop, a.stream != NULL && h.status == 200);
        http_request_write(a.stream, "abc", 3);
        wait_for(&a.loop, h.body.len == 3);
        http_server_free(take_ptr(a.server));
        wait_for(&a.loop, h.ended);
        assert_int_equal(h.err.code, ERR_UNAVAILABLE);
        buffer_done(&h.body);
        app_stop(&a);
        pki_done(&p);
}

/* New certificates */

static void test_reload(void **state)
{
        static const char *const names[] = { "127.0.0.1", "second.example", NULL };
        struct tls_context *second;
        struct raw_tls r;
        struct error err;
        struct pki p;
        struct app a;

        (void) state;
        pki_make_local(&p);
        second = pki_client((struct tls_trust){ .ca_path = p.ca_path, .name = "second.example" });
        start_app(&a, &p, NO_OPTIONS);
        raw_tls_open(&a, &r, 0);
        check_refused(&a, (struct tls_trust){ .ca_path = p.ca_path, .name = "second.example" },
                "not for second.example");

        pki_issue(&p, names, time_wall());
        assert_int_equal(tls_context_reload(p.server, &err), 0);
        check_works(&a, second);
        raw_tls_puts(&r, "GET / HTTP/1.1\r\n" HOST "\r\n"); /* it goes on with the former one */
        raw_tls_expect(&a, &r, "200 OK");

        assert_int_equal(file_replace(p.certificate, "x", 1, 0644, false, &err), 0);
        assert_int_equal(tls_context_reload(p.server, &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
        assert_non_null(strstr(err.message, p.certificate));
        check_works(&a, second);
        raw_tls_close(&r);
        app_stop(&a);
        tls_context_unref(second);
        pki_done(&p);
}

/* Bare connections */

struct end {
        struct conn *conn;
        bool opened, eof, broken, echo;
        size_t received, sent, to_send;
        unsigned mismatches;
        struct error err;
};

struct pair {
        uv_loop_t loop;
        struct hub *hub;
        struct listen_socket listener;
        struct end there, here;
};

static char byte_at(size_t n)
{
        return (char) ('a' + n % 23 + n / 65536 % 3);
}

/* Sends well below the mark: above it nothing would be read here either. */
static void end_fill(struct end *e)
{
        char piece[5000];

        while (e->sent < e->to_send && conn_queued(e->conn) < 2 * CONN_DRAIN_MARK) {
                size_t len = MIN(sizeof piece, e->to_send - e->sent);

                for (size_t i = 0; i < len; i++)
                        piece[i] = byte_at(e->sent + i);
                conn_send(e->conn, piece, len);
                e->sent += len;
        }
}

static void on_conn_open(void *data)
{
        struct end *e = data;

        assert_false(e->opened);
        e->opened = true;
        end_fill(e);
}

static size_t on_conn_input(void *data, const char *bytes, size_t len)
{
        struct end *e = data;

        if (e->echo)
                conn_send(e->conn, bytes, len);
        for (size_t i = 0; i < len; i++)
                e->mismatches += bytes[i] != byte_at(e->received + i);
        e->received += len;
        return len;
}

static void on_conn_eof(void *data)
{
        struct end *e = data;

        e->eof = true;
        conn_finish(take_ptr(e->conn));
}

static void on_conn_drain(void *data)
{
        end_fill(data);
}

static void on_conn_broken(void *data, const struct error *err)
{
        struct end *e = data;

        e->broken = true;
        e->conn = NULL;
        e->err = *err;
}

static const struct conn_handlers handlers = { .on_open = on_conn_open,
        .on_input = on_conn_input,
        .on_eof = on_conn_eof,
        .on_drain = on_conn_drain,
        .on_broken = on_conn_broken };

static void pair_start(struct pair *t, struct pki *p)
{
        struct address address = tls_address(0, p->server);
        struct error err;

        memset(t, 0, sizeof *t);
        uv_loop_init(&t->loop);
        t->hub = hub_get(&t->loop);
        if (listen_socket_open(&t->listener, &address, 0, &err) < 0)
                fail_msg("%s", err.message);
}

static void pair_open(struct pair *t, struct tls_context *client)
{
        struct address address = tls_address(t->listener.port, client);
        struct error err;
        int fd;

        t->here.conn = conn_new_connecting(t->hub, &address, DEADLINE, &handlers, &t->here);
        wait_for(&t->loop, (fd = accept4(t->listener.fd, NULL, NULL, SOCK_NONBLOCK)) >= 0);
        assert_int_equal(conn_new_accepted(t->hub, fd, false, t->listener.tls, &handlers, &t->there,
                                 &t->there.conn, &err),
                0);
        wait_for(&t->loop, t->here.opened && t->there.opened);
}

static void pair_close(struct pair *t)
{
        conn_close(t->here.conn);
        conn_close(t->there.conn);
        t->here = t->there = (struct end){ 0 };
}

static void pair_stop(struct pair *t)
{
        pair_close(t);
        listen_socket_close(&t->listener);
        hub_unref(t->hub);
        loop_close(&t->loop);
}

/* 20 MB there and back, while one side, then the other, does not read for a while. */
static void test_echo(void **state)
{
        const size_t total = (size_t) 20 * 1000 * 1000;
        struct pair t;
        struct pki p;
        size_t worst = 0, before;

        (void) state;
        pki_make_local(&p);
        pair_start(&t, &p);
        t.here.to_send = total;
        t.there.echo = true;
        pair_open(&t, p.client);
        conn_set_reading(t.here.conn, false);
        do { /* until nothing moves any more */
                before = t.there.received;
                for (int i = 0; i < 30; i++) {
                        turn(&t.loop);
                        worst = MAX(worst, conn_queued(t.there.conn));
                }
        } while (t.there.received != before);
        assert_true(t.here.received == 0);
        assert_true(worst > CONN_READ_MARK && worst <= CONN_READ_MARK + HUB_READ_SIZE);
        conn_set_reading(t.here.conn, true);
        wait_for(&t.loop, t.here.received > total / 3);
        conn_set_reading(t.there.conn, false);
        for (int i = 0; i < 30; i++)
                turn(&t.loop);
        before = t.there.received;
        for (int i = 0; i < 30; i++)
                turn(&t.loop);
        assert_int_equal(t.there.received, before);
        conn_set_reading(t.there.conn, true);
        wait_for(&t.loop, t.here.received == total);
        assert_int_equal(t.here.mismatches + t.there.mismatches, 0);

        conn_send(t.there.conn, "last", 4); /* and the end comes behind what was sent */
        conn_finish(take_ptr(t.there.conn));
        wait_for(&t.loop, t.here.eof);
        assert_int_equal(t.here.received, total + 4);
        assert_false(t.here.broken);
        pair_stop(&t);
        pki_done(&p);
}

/* Input that TLS has taken from the kernel is not forgotten while nobody reads. */
static void test_pending_input(void **state)
{
        struct pair t;
        struct pki p;

        (void) state;
        pki_make_local(&p);
        pair_start(&t, &p);
        t.here.to_send = 150000; /* more than two reads */
        pair_open(&t, p.client);
        for (int i = 0; t.there.received < t.here.to_send; i++) {
                assert_true(i < 2000);
                turn(&t.loop);
                conn_set_reading(t.there.conn, i % 2);
        }
        conn_set_reading(t.there.conn, true);
        conn_finish(take_ptr(t.here.conn));
        wait_for(&t.loop, t.there.eof);
        assert_int_equal(t.there.mismatches, 0);
        pair_stop(&t);
        pki_done(&p);
}

/* The second handshake with a server is a short one; with a reloaded server it is not. */
static void test_resumption(void **state)
{
        struct error err;
        struct pair t;
        struct pki p;

        (void) state;
        pki_make_local(&p);
        pair_start(&t, &p);
        for (int i = 0; i < 4; i++) {
                if (i == 3)
                        assert_int_equal(tls_context_reload(p.server, &err), 0);
                pair_open(&t, p.client);
                conn_send(t.there.conn, "a", 1); /* behind the ticket */
                wait_for(&t.loop, t.here.received == 1);
                assert_int_equal(SSL_session_reused(t.here.conn->tls->ssl), i == 1 || i == 2);
                pair_close(&t);
        }
        pair_stop(&t);
        pki_done(&p);
}

/* Memory: what an idle connection costs a server, in a process of its own. */

#ifdef __SANITIZE_ADDRESS__
#define IDLE_COUNT 50
#define IDLE_LIMIT SIZE_MAX /* of memory the sanitizer needs much more */
#else
#define IDLE_COUNT 1000
#define IDLE_LIMIT ((size_t) 25 * 1024)
#endif

static size_t rss(pid_t pid)
{
        AUTO(buffer_done) struct buffer text = { 0 };
        char path[64], *end;
        struct error err;

        snprintf(path, sizeof path, "/proc/%d/statm", pid);
        assert_int_equal(file_read_stream(path, 4096, &text, &err), 0);
        strtoul(text.data, &end, 10);
        return strtoul(end, NULL, 10) * (size_t) sysconf(_SC_PAGESIZE);
}

static void serve_idle(struct pki *p, int tell)
{
        struct app a;

        prctl(PR_SET_PDEATHSIG, SIGKILL); /* also when the test fails */
        start_app(&a, p, NO_OPTIONS);
        if (write(tell, &a.port, sizeof a.port) == sizeof a.port)
                uv_run(&a.loop, UV_RUN_DEFAULT);
        _exit(1);
}

static void open_many(struct pair *t, struct end *ends, size_t count, struct address *address)
{
        for (size_t i = 0; i < count; i++) {
                ends[i].conn = conn_new_connecting(t->hub, address, DEADLINE, &handlers, &ends[i]);
                if (i % 50 == 49)
                        wait_for(&t->loop, ends[i].opened || ends[i].broken);
        }
        for (size_t i = 0; i < count; i++) {
                wait_for(&t->loop, ends[i].opened || ends[i].broken);
                if (ends[i].broken)
                        fail_msg("%s", ends[i].err.message);
                conn_send(ends[i].conn, "GET / HTTP/1.1\r\n" HOST "\r\n",
                        strlen("GET / HTTP/1.1\r\n" HOST "\r\n"));
        }
        for (size_t i = 0; i < count; i++)
                wait_for(&t->loop, ends[i].received > 0);
}

static void test_memory(void **state)
{
        struct end *ends = mem_alloc((IDLE_COUNT + 50) * sizeof *ends);
        struct address address;
        struct pair t;
        struct pki p;
        uint16_t port;
        size_t before, each;
        int pipe_fds[2];
        pid_t child;

        (void) state;
        pki_make_local(&p);
        assert_int_equal(pipe(pipe_fds), 0);
        child = fork();
        assert_true(child >= 0);
        if (child == 0)
                serve_idle(&p, pipe_fds[1]);
        assert_int_equal(read(pipe_fds[0], &port, sizeof port), sizeof port);
        pair_start(&t, &p);
        address = tls_address(port, p.client);
        open_many(&t, ends, 50, &address); /* what is needed once */
        before = rss(child);
        open_many(&t, ends + 50, IDLE_COUNT, &address);
        each = (rss(child) - before) / IDLE_COUNT;
        if (IDLE_LIMIT != SIZE_MAX)
                print_message("%zu bytes of the server's memory for each idle connection\n", each);
        assert_true(each < IDLE_LIMIT);

        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        for (size_t i = 0; i < IDLE_COUNT + 50; i++)
                conn_close(ends[i].conn);
        close(pipe_fds[0]);
        close(pipe_fds[1]);
        free(ends);
        pair_stop(&t);
        pki_done(&p);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_trust),
                cmocka_unit_test(test_wrong_trust),
                cmocka_unit_test(test_unknown_authority),
                cmocka_unit_test(test_pinned_but_not_signed),
                cmocka_unit_test(test_wrong_name),
                cmocka_unit_test(test_wrong_time),
                cmocka_unit_test(test_no_tls_there),
                cmocka_unit_test(test_plain_peer),
                cmocka_unit_test(test_stalled_client),
                cmocka_unit_test(test_idle_client),
                cmocka_unit_test(test_stalled_server),
                cmocka_unit_test(test_records),
                cmocka_unit_test(test_half_close),
                cmocka_unit_test(test_gone_while_writing),
                cmocka_unit_test(test_cut_off),
                cmocka_unit_test(test_reload),
                cmocka_unit_test(test_echo),
                cmocka_unit_test(test_pending_input),
                cmocka_unit_test(test_resumption),
                cmocka_unit_test(test_memory),
        };

        if (argc > 1)
                cmocka_set_test_filter(argv[1]);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
