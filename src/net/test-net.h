/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* What the tests of this folder share: a loop with a deadline, a raw peer that can send bytes of
 * any kind at any time, and a server that does what the path says. Everything happens in one
 * thread, so that a test decides what has come and what has not; waiting is always for a condition.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/file.h"
#include "base/macros.h"
#include "base/mem.h"
#include "base/time.h"
#include "net/address.h"

#define DEADLINE (20 * USEC_SEC)

/* One turn that waits for a millisecond at most. */
static inline void turn(uv_loop_t *loop)
{
        struct pollfd p = { .fd = uv_backend_fd(loop), .events = POLLIN };

        if (uv_run(loop, UV_RUN_NOWAIT) != 0)
                poll(&p, 1, 1);
        else
                poll(NULL, 0, 1);
}

#define wait_for(loop, condition)                                                                  \
        do {                                                                                       \
                usec_t wait_end_ = time_mono() + DEADLINE;                                         \
                while (!(condition)) {                                                             \
                        assert_true(time_mono() < wait_end_);                                      \
                        turn(loop);                                                                \
                }                                                                                  \
        } while (0)

static inline void loop_close(uv_loop_t *loop)
{
        usec_t end = time_mono() + DEADLINE;

        while (uv_run(loop, UV_RUN_NOWAIT) != 0)
                assert_true(time_mono() < end);
        assert_int_equal(uv_loop_close(loop), 0);
}

/* The raw peer */

static inline int raw_connect(uint16_t port)
{
        struct sockaddr_in sin = { .sin_family = AF_INET,
                .sin_port = htons(port),
                .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        assert_true(fd >= 0);
        assert_int_equal(connect(fd, (struct sockaddr *) &sin, sizeof sin), 0);
        return fd;
}

static inline int raw_connect_unix(const char *path)
{
        struct sockaddr_un sun = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        assert_true(fd >= 0);
        snprintf(sun.sun_path, sizeof sun.sun_path, "%s", path);
        assert_int_equal(connect(fd, (struct sockaddr *) &sun, sizeof sun), 0);
        return fd;
}

/* Sends what the peer takes in time; false if it is gone. */
static inline bool raw_send(uv_loop_t *loop, int fd, const void *data, size_t len)
{
        usec_t end = time_mono() + DEADLINE;
        size_t sent = 0;

        while (sent < len) {
                ssize_t n = send(
                        fd, (const char *) data + sent, len - sent, MSG_DONTWAIT | MSG_NOSIGNAL);

                assert_true(time_mono() < end);
                if (n > 0)
                        sent += (size_t) n;
                else if (errno != EAGAIN)
                        return false;
                else
                        turn(loop);
        }
        return true;
}

static inline void raw_puts(uv_loop_t *loop, int fd, const char *text)
{
        assert_true(raw_send(loop, fd, text, strlen(text)));
}

/* Takes what is there now. 0: the end; -1: nothing yet; -2: reset. */
static inline ssize_t raw_take(int fd, struct buffer *b)
{
        char *to = buffer_reserve(b, 65536);
        ssize_t n = recv(fd, to, 65536, MSG_DONTWAIT);

        buffer_commit(b, n < 0 ? 0 : (size_t) n);
        return n >= 0 ? n : errno == EAGAIN ? -1 : -2;
}

/* Reads until @b contains @text. */
static inline void raw_expect(uv_loop_t *loop, int fd, struct buffer *b, const char *text)
{
        usec_t end = time_mono() + DEADLINE;

        while (b->len == 0 || memmem(b->data, b->len, text, strlen(text)) == NULL) {
                ssize_t n = raw_take(fd, b);

                if (n == 0 || n == -2 || time_mono() > end)
                        fail_msg("expected \"%s\" and got \"%s\"", text, buffer_str(b));
                if (n < 0)
                        turn(loop);
        }
}

/* Reads until the peer ends. */
static inline void raw_expect_end(uv_loop_t *loop, int fd, struct buffer *b)
{
        usec_t end = time_mono() + DEADLINE;
        ssize_t n;

        while ((n = raw_take(fd, b)) != 0 && n != -2) {
                if (time_mono() > end)
                        fail_msg("expected the end and got %zu bytes: \"%s\"", b->len,
                                buffer_str(b));
                if (n < 0)
                        turn(loop);
        }
}

static inline size_t count_of(const struct buffer *b, const char *text)
{
        size_t n = 0;

        for (const char *p = buffer_str(b); (p = strstr(p, text)) != NULL; p += strlen(text))
                n++;
        return n;
}

/* Ends the connection with a reset. */
static inline void raw_reset(int fd)
{
        struct linger linger = { .l_onoff = 1 };

        setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
        close(fd);
}

static inline struct address tcp_address(uint16_t port)
{
        return (struct address){ .host = "127.0.0.1", .port = port };
}
