/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <sys/types.h>
#include <uv.h>

#include "base/error.h"
#include "core/task.h"

/* The socket over which the program of one run says how it is: NOTIFY_SOCKET, sd_notify(3). */
struct notify;

#define NOTIFY_FDS_MAX  16 /* in one message */
#define NOTIFY_NAME_MAX 64 /* of FDNAME, with its NUL */

/* One message. Borrowed for the call, but for descriptors, which the callee may take: it sets them
 * to -1. */
struct notify_message {
        struct task_notice notice;
        pid_t main_pid;   /* MAINPID; 0: not said */
        bool store;       /* FDSTORE=1: keep the descriptors */
        bool unstore;     /* FDSTOREREMOVE=1: drop what is kept under the name */
        const char *name; /* FDNAME; NULL: none was given, or none that can be one */
        int *fds;
        size_t fds_len;
};

/* Makes the socket file @path, which then may be too long for an address: *ret_address is what the
 * program is told (a heap string). Only @owner and root may send to it. Returns the descriptor,
 * which nobody reads from yet. */
int notify_bind(const char *path, uid_t owner, char **ret_address, struct error *err);

/* Reads from @fd, which it owns, until notify_free(). Messages of other users than @owner, root and
 * our own are dropped. @handle may free the notify. */
struct notify *notify_new(uv_loop_t *loop, int fd, uid_t owner,
        void (*handle)(void *data, const struct notify_message *message), void *data);
int notify_get_fd(const struct notify *n); /* borrowed */

/* Handles what is in the socket now; returns true if the notify is still there. */
bool notify_drain(struct notify *n);
void notify_free(struct notify *n); /* closes the descriptor; NULL is fine */

/* Reads the text of a message. @ret: borrows from @text, which is changed. For tests. */
void notify_parse(char *text, struct notify_message *ret);
