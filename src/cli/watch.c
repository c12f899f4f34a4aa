/* SPDX-License-Identifier: BSD-3-Clause */
/* Watch: standard streams in an event loop.
 *
 * uv_poll_t makes its descriptor non-blocking. Of a standard stream that would reach everybody who
 * has it: the shell finds its terminal changed when we are killed. So the stream is put into an
 * epoll of our own, and that is what the loop polls. The stream stays blocking; a read behind
 * "readable" returns what there is, and a pipe that can be written takes a page at least.
 *
 * Files and the like cannot be polled (EPERM) and are always ready. */
#include "cli/watch.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/macros.h"

static void on_poll(uv_poll_t *poll, int status, int events)
{
        struct watch *w = poll->data;

        (void) status;
        (void) events;
        w->on_ready(w->data);
}

static void on_idle(uv_idle_t *idle)
{
        struct watch *w = idle->data;

        w->on_ready(w->data);
}

static int make_epoll(int fd, bool write, int *ret, struct error *err)
{
        struct epoll_event event = { .events = write ? EPOLLOUT : EPOLLIN };
        int epoll = epoll_create1(EPOLL_CLOEXEC);

        if (epoll < 0)
                return error_sys(err, errno, "make an epoll");
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0) {
                *ret = epoll;
                return 0;
        }
        close(epoll);
        if (errno != EPERM)
                return error_sys(err, errno, "watch descriptor %d", fd);
        *ret = -1;
        return 0;
}

int watch_init(struct watch *w, uv_loop_t *loop, int fd, bool write, void (*on_ready)(void *data),
        void *data, struct error *err)
{
        *w = (struct watch){ .on_ready = on_ready, .data = data };
        if (make_epoll(fd, write, &w->epoll, err) < 0)
                return -1;
        w->poll.data = w->idle.data = w;
        if (w->epoll >= 0)
                uv_poll_init(loop, &w->poll, w->epoll);
        else
                uv_idle_init(loop, &w->idle);
        return 0;
}

void watch_set(struct watch *w, bool on)
{
        if (w->active == on)
                return;
        w->active = on;
        if (w->epoll >= 0 && on)
                uv_poll_start(&w->poll, UV_READABLE, on_poll);
        else if (w->epoll >= 0)
                uv_poll_stop(&w->poll);
        else if (on)
                uv_idle_start(&w->idle, on_idle);
        else
                uv_idle_stop(&w->idle);
}
