/* SPDX-License-Identifier: BSD-3-Clause */
/* Connecting: from an address to a connection that stands.
 *
 * It begins at the end of the turn, so that no failure is reported from within the call that asked.
 * A host is looked up off the loop unless it is a number; its addresses are tried one after the
 * other, each with its share of the time that is left. A UNIX socket whose listener is behind with
 * accepting says EAGAIN: that is tried again until the time is over. With TLS the agreement on it
 * is part of connecting: it has what is left of the time, and its failure names the address.
 *
 * An attempt is an object of its own because a poll handle stays bound to its descriptor until the
 * loop has closed it. A look-up cannot always be cancelled; if its connection is closed meanwhile
 * it finds that out when it comes back. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/macros.h"
#include "base/mem.h"
#include "net/conn-internal.h"

#define RETRY (100 * USEC_MSEC)

struct attempt {
        uv_poll_t poll;
        struct conn *conn;
        int fd;
};

struct lookup {
        uv_getaddrinfo_t req;
        struct conn *conn; /* NULL: nobody waits any more */
};

struct connecting {
        struct conn *conn;
        struct address address;
        struct tls_context *context; /* with https */
        usec_t end_mono;
        struct hub_deadline deadline; /* of an attempt, or until the next one */
        struct hub_job start;
        struct lookup *lookup;
        struct addrinfo *found, *next;
        struct attempt *attempt;
        int last_errno;
};

static void connecting_try(struct conn *c);

static void on_attempt_closed(uv_handle_t *handle)
{
        free(container_of(handle, struct attempt, poll));
}

static void attempt_end(struct attempt *a)
{
        if (a->fd >= 0)
                uv_poll_stop(&a->poll);
        uv_close((uv_handle_t *) &a->poll, on_attempt_closed);
        if (a->fd >= 0)
                close(take_fd(a->fd));
}

void conn_stop_connecting(struct conn *c)
{
        struct connecting *g = c->connecting;

        if (g == NULL)
                return;
        c->connecting = NULL;
        hub_job_cancel(c->hub, &g->start);
        hub_set_deadline(c->hub, &g->deadline, USEC_NEVER, NULL);
        if (g->attempt != NULL)
                attempt_end(g->attempt);
        if (g->lookup != NULL) {
                g->lookup->conn = NULL;
                uv_cancel((uv_req_t *) &g->lookup->req);
        }
        uv_freeaddrinfo(g->found);
        tls_context_unref(g->context);
        free(g);
}

/* Nobody there is one kind of failure, however the kernel puts it. */
static void connecting_fail(struct conn *c, int sys_errno)
{
        char text[ADDRESS_TEXT_MAX];
        struct error err;

        error_sys(&err, sys_errno, "connect to %s", address_format(text, &c->connecting->address));
        if (err.code != ERR_DENIED && sys_errno != EMFILE && sys_errno != ENFILE)
                err.code = sys_errno == ETIMEDOUT ? ERR_TIMEOUT : ERR_UNAVAILABLE;
        conn_break(c, &err);
}

void conn_break_connecting(struct conn *c, struct error *err)
{
        char text[ADDRESS_TEXT_MAX];

        if (c->connecting != NULL)
                error_wrap(err, "connect to %s", address_format(text, &c->connecting->address));
        conn_break(c, err);
}

static void on_secure_deadline(struct hub_deadline *d)
{
        struct connecting *g = container_of(d, struct connecting, deadline);
        struct error err;

        error_set(&err, ERR_TIMEOUT, "no TLS handshake in time");
        conn_break_connecting(g->conn, &err);
}

/* Goes on with TLS, in conn.c; the time for all of it runs on. */
static void connecting_secure(struct conn *c, int fd)
{
        struct connecting *g = c->connecting;
        struct error err;

        c->tls = tls_new(g->context, fd, g->address.host, &err);
        if (c->tls == NULL) {
                close(fd);
                conn_break_connecting(c, &err);
                return;
        }
        hub_set_deadline(c->hub, &g->deadline, g->end_mono, on_secure_deadline);
        if (conn_attach(c, fd, &err) < 0)
                conn_break_connecting(c, &err);
}

static void connecting_done(struct conn *c, int fd)
{
        struct error err;

        if (c->connecting->attempt != NULL)
                attempt_end(take_ptr(c->connecting->attempt));
        if (c->connecting->address.tls) {
                connecting_secure(c, fd);
                return;
        }
        conn_stop_connecting(c);
        if (conn_attach(c, fd, &err) < 0)
                conn_break(c, &err);
        else
                c->handlers->on_open(c->data);
}

static void on_attempt_ready(uv_poll_t *poll, int status, int events)
{
        struct attempt *a = container_of(poll, struct attempt, poll);
        struct conn *c = a->conn;
        int sys_errno = 0;
        socklen_t len = sizeof sys_errno;

        (void) status;
        (void) events;
        getsockopt(a->fd, SOL_SOCKET, SO_ERROR, &sys_errno, &len);
        if (sys_errno == 0) {
                int fd = take_fd(a->fd);

                uv_poll_stop(&a->poll);
                connecting_done(c, fd);
                return;
        }
        c->connecting->last_errno = sys_errno;
        attempt_end(take_ptr(c->connecting->attempt));
        connecting_try(c);
}

static void on_attempt_deadline(struct hub_deadline *d)
{
        struct connecting *g = container_of(d, struct connecting, deadline);

        g->last_errno = ETIMEDOUT;
        attempt_end(take_ptr(g->attempt));
        connecting_try(g->conn);
}

/* Waits for @fd, which is being connected; takes it. Returns false with last_errno set. */
static bool attempt_begin(struct conn *c, int fd, usec_t until_mono)
{
        struct connecting *g = c->connecting;
        struct attempt *a = mem_alloc(sizeof *a);
        int r = uv_poll_init_socket(hub_loop(c->hub), &a->poll, fd);

        if (r < 0) {
                g->last_errno = -r;
                close(fd);
                free(a);
                return false;
        }
        a->conn = c;
        a->fd = fd;
        g->attempt = a;
        uv_poll_start(&a->poll, UV_WRITABLE, on_attempt_ready);
        hub_set_deadline(c->hub, &g->deadline, until_mono, on_attempt_deadline);
        return true;
}

/* When the next address is due: those that are left share the time that is left. */
static usec_t connecting_share(const struct connecting *g)
{
        usec_t now = time_mono();
        usec_t left = g->end_mono > now ? g->end_mono - now : 0;
        unsigned count = 1;

        for (const struct addrinfo *ai = g->next; ai != NULL; ai = ai->ai_next)
                count++;
        return now + left / count;
}

/* Tries one address. Returns true if it is under way or done. */
static bool connecting_try_one(struct conn *c, const struct addrinfo *ai)
{
        struct connecting *g = c->connecting;
        int one = 1, fd;

        fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0) {
                g->last_errno = errno;
                return false;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (connect(fd, ai->ai_addr, ai->ai_addrlen) == 0) {
                connecting_done(c, fd);
                return true;
        }
        if (errno == EINPROGRESS)
                return attempt_begin(c, fd, connecting_share(g));
        g->last_errno = errno;
        close(fd);
        return false;
}

/* Goes on with the next address, or gives up. */
static void connecting_try(struct conn *c)
{
        struct connecting *g = c->connecting;

        while (g->next != NULL) {
                struct addrinfo *ai = g->next;

                g->next = ai->ai_next;
                if (connecting_try_one(c, ai))
                        return;
        }
        connecting_fail(c, g->last_errno);
}

static void on_lookup(uv_getaddrinfo_t *req, int status, struct addrinfo *found)
{
        struct lookup *l = container_of(req, struct lookup, req);
        struct conn *c = l->conn;
        struct error err;

        free(l);
        if (c == NULL) {
                uv_freeaddrinfo(found);
                return;
        }
        c->connecting->lookup = NULL;
        if (status < 0) {
                error_set(&err, ERR_UNAVAILABLE, "look up %s: %s", c->connecting->address.host,
                        uv_strerror(status));
                conn_break(c, &err);
                return;
        }
        c->connecting->found = c->connecting->next = found;
        connecting_try(c);
}

static void on_lookup_deadline(struct hub_deadline *d)
{
        struct connecting *g = container_of(d, struct connecting, deadline);
        struct error err;

        error_set(&err, ERR_TIMEOUT, "look up %s: no answer in time", g->address.host);
        conn_break(g->conn, &err);
}

/* Numbers are "looked up" too, but need no other thread: getaddrinfo() does not wait for them. */
static bool connecting_is_number(const char *host)
{
        struct in6_addr any;

        return host[0] == '\0' || inet_pton(AF_INET, host, &any) == 1 ||
               inet_pton(AF_INET6, host, &any) == 1;
}

static void connecting_start_tcp(struct conn *c)
{
        struct connecting *g = c->connecting;
        const char *host = g->address.host[0] == '\0' ? "127.0.0.1" : g->address.host;
        struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
        char port[8];

        snprintf(port, sizeof port, "%u", (unsigned) g->address.port);
        if (connecting_is_number(g->address.host)) {
                hints.ai_flags |= AI_NUMERICHOST;
                if (getaddrinfo(host, port, &hints, &g->found) != 0)
                        g->last_errno = EADDRNOTAVAIL;
                g->next = g->found;
                connecting_try(c);
                return;
        }
        g->lookup = mem_alloc(sizeof *g->lookup);
        g->lookup->conn = c;
        hub_set_deadline(c->hub, &g->deadline, g->end_mono, on_lookup_deadline);
        if (uv_getaddrinfo(hub_loop(c->hub), &g->lookup->req, on_lookup, host, port, &hints) < 0) {
                free(take_ptr(g->lookup));
                connecting_fail(c, EADDRNOTAVAIL);
        }
}

static void on_retry(struct hub_deadline *d);

static void connecting_start_unix(struct conn *c)
{
        struct connecting *g = c->connecting;
        struct sockaddr_un sun = { .sun_family = AF_UNIX };
        int fd, sys_errno;

        memcpy(sun.sun_path, g->address.path, sizeof sun.sun_path);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0) {
                connecting_fail(c, errno);
                return;
        }
        if (connect(fd, (struct sockaddr *) &sun, sizeof sun) == 0) {
                connecting_done(c, fd);
                return;
        }
        sys_errno = errno;
        close(fd);
        if (sys_errno == EAGAIN && time_mono() + RETRY < g->end_mono)
                hub_set_deadline(c->hub, &g->deadline, time_mono() + RETRY, on_retry);
        else
                connecting_fail(c, sys_errno == EAGAIN ? ETIMEDOUT : sys_errno);
}

static void on_retry(struct hub_deadline *d)
{
        connecting_start_unix(container_of(d, struct connecting, deadline)->conn);
}

static void connecting_start(struct hub_job *job)
{
        struct connecting *g = container_of(job, struct connecting, start);
        struct error err;

        if (g->address.tls && g->context == NULL) {
                if (tls_context_system(&g->context, &err) < 0) {
                        conn_break_connecting(g->conn, &err);
                        return;
                }
                tls_context_ref(g->context);
        }
        if (g->address.is_unix)
                connecting_start_unix(g->conn);
        else
                connecting_start_tcp(g->conn);
}

struct conn *conn_new_connecting(struct hub *hub, const struct address *address, usec_t timeout,
        const struct conn_handlers *handlers, void *data)
{
        struct conn *c = conn_new(hub, handlers, data);
        struct connecting *g = mem_alloc(sizeof *g);

        c->is_client = true;
        c->is_unix = address->is_unix;
        c->connecting = g;
        g->conn = c;
        g->address = *address;
        g->address.context = NULL;
        if (address->tls && address->context != NULL)
                g->context = tls_context_ref(address->context);
        g->end_mono = hub_deadline_after(timeout);
        hub_defer(hub, &g->start, connecting_start);
        return c;
}
