/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "base/error.h"

/* Waits until a standard stream, whatever it is, can be read or written without blocking, and
 * leaves its flags alone: they belong to others, too. */

struct watch {
        int epoll; /* -1: it is always ready, as a file is */
        uv_poll_t poll;
        uv_idle_t idle;
        bool active;
        void (*on_ready)(void *data);
        void *data;
};

/* @write: until it can be written, by at most WATCH_WRITE_MAX bytes. */
#define WATCH_WRITE_MAX ((size_t) 4096)
int watch_init(struct watch *w, uv_loop_t *loop, int fd, bool write, void (*on_ready)(void *data),
        void *data, struct error *err);

/* on_ready is called again and again while it is on and ready. */
void watch_set(struct watch *w, bool on);
