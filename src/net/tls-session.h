/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/error.h"
#include "net/tls.h"

/* One connection's TLS, between conn.c, which owns it, and tls.c, which knows whom to believe. */
struct tls {
        SSL *ssl;
        struct tls_context *context;
        int fd;     /* borrowed */
        char *name; /* client: that the peer's certificate has to be for */

        bool drained; /* the kernel had less than was asked for: not worth another call */
        bool eof;     /* the kernel said so */
        bool more;    /* what tls_read() has left is known here and not to the kernel's poll */
        bool read_wants_write, write_wants_read;
        struct error *failure; /* NULL: none that ends it for good */
};

#define TLS_RECORD_MAX ((size_t) 16384)

/* @host: client, of the address. */
struct tls *tls_new(struct tls_context *context, int fd, const char *host, struct error *err);
void tls_free(struct tls *t); /* NULL is ignored */

/* 1: done; 0: waits for the socket (to be writable if read_wants_write); -1: failed. */
int tls_handshake(struct tls *t, struct error *err);

/* As recv() and sendmsg(); a failure with `failure` set is described there, else by errno. Writes
 * at most one record of what @iov has; while it says EAGAIN the next call has to bring the same
 * bytes, and may bring more. @scratch has TLS_RECORD_MAX bytes. */
ssize_t tls_read(struct tls *t, char *to, size_t len);
ssize_t tls_write(struct tls *t, const struct iovec *iov, size_t count, char *scratch);

/* Tells the peer that nothing more comes. -1 with EAGAIN: not yet; all else is success. */
int tls_shutdown(struct tls *t);

/* tls.c's half */

bool tls_context_is_client(const struct tls_context *context);
SSL_CTX *tls_context_ssl(const struct tls_context *context); /* borrowed */

/* The name that a peer at @host has to have. */
const char *tls_context_name(const struct tls_context *context, const char *host);

/* Offers the last session with a peer of that name, for a short handshake. */
void tls_context_resume(struct tls_context *context, struct tls *t);
