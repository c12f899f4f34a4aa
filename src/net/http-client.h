/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/time.h"
#include "net/address.h"

/* One request to an HTTP/1.1 server, on a connection of its own. From http_call_start() until
 * on_end has returned or http_call_cancel(). Redirects are not followed. Every callback may cancel
 * and may start other calls. Loop thread only. */
struct http_call;

/* Copied as far as needed: nothing has to outlive http_call_start(). */
struct http_call_options {
        const char *method;         /* NULL: "GET" */
        const char *path;           /* with query, percent-encoded; begins with '/' */
        const char *const *headers; /* name, value, ..., NULL; or NULL. Host and lengths are set */
        const void *body;
        size_t len;

        /* The head of the final answer is there: status, http_call_header(). May be NULL. */
        void (*on_head)(void *data, int status);

        /* A piece of the body, as it comes. May be NULL. */
        void (*on_data)(void *data, const void *bytes, size_t len);

        /* The end, once: NULL if the answer is complete (whatever its status), else why not:
         * ERR_UNAVAILABLE (nobody there, connection broken; sys_errno tells), ERR_DENIED (socket
         * file), ERR_TIMEOUT, ERR_INVALID (not HTTP). The call is gone when it returns. */
        void (*on_end)(void *data, const struct error *err_or_null);
        void *data;

        usec_t connect_timeout; /* 0: 10 s, for look-up and connection */
        usec_t timeout;         /* 0: none; for everything */
};

/* Returns at once; nothing is called from within. ERR_INVALID is all that can be returned here: a
 * method, path or header that cannot be sent. All else comes by on_end. */
int http_call_start(uv_loop_t *loop, const struct address *address,
        const struct http_call_options *options, struct http_call **ret, struct error *err);

/* A header of the answer, from on_head to the end of on_end; NULL before, or if there is none. */
const char *http_call_header(const struct http_call *call, const char *name);

/* Ends the call; no callback follows. NULL is ignored. */
void http_call_cancel(struct http_call *call);

/* A whole exchange, waiting for it: for programs without a loop, such as the commands of the CLI.
 * @method, @path, @headers, @body, @len as above; @timeout 0 is none. The body is appended to
 * @ret_body (may be NULL); beyond HTTP_FETCH_MAX bytes it is ERR_TOO_LARGE. Any status is a success
 * here. A name look-up that hangs can outlast @timeout: it cannot be interrupted. */
#define HTTP_FETCH_MAX ((size_t) 256 * 1024 * 1024)
int http_fetch(const struct address *address, const char *method, const char *path,
        const char *const headers[], const void *body, size_t len, usec_t timeout, int *ret_status,
        struct buffer *ret_body, struct error *err);
