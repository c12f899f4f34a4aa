/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "net/address.h"
#include "net/tls.h"

/* A listening socket: non-blocking, close-on-exec. Embedded by its owner. */
struct listen_socket {
        int fd;
        bool is_unix;
        uint16_t port;           /* TCP */
        struct tls_context *tls; /* what connections are to begin with; NULL: they are plain */
        char path[sizeof((struct address){ 0 }.path)];
        dev_t dev; /* of the socket file that is ours */
        ino_t ino;
};

/* UNIX: the file gets @mode before anybody can connect, and takes the place of one that nobody
 * listens on in one step; ERR_CONFLICT if somebody does, or if something else is there. TLS: takes
 * a reference of the address's context; ERR_INVALID if it has none. */
int listen_socket_open(
        struct listen_socket *s, const struct address *address, mode_t mode, struct error *err);

/* Removes the socket file, too, if it is still ours. */
void listen_socket_close(struct listen_socket *s);
