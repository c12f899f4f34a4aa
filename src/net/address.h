/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct tls_context;

/* Where a server is: the path of a UNIX socket, or a host (name or number) and a port. An empty
 * host means every interface when listening and this machine when connecting. */
struct address {
        bool is_unix;
        bool tls; /* https */

        /* With tls. To connect: whom to believe, a client's context (net/tls.h); NULL: the system's
         * roots. To listen: what to show, a server's context; required. Borrowed until the call
         * that is given the address has returned. */
        struct tls_context *context;

        char path[108];
        char host[256];
        uint16_t port;
};

#define ADDRESS_DEFAULT_PORT 7433

/* Reads "unix:/path", "https://host:port", "http://host:port", "host:port", "[::1]:port" or
 * ":port"; a missing port is 7433, a missing scheme http. Nothing is looked up; no context is set.
 * ERR_INVALID says what is wrong and what was probably meant. */
int address_parse(const char *text, struct address *ret, struct error *err);

/* The reverse: "unix:/path", "http://host:port", "https://host:port", ":port". address_parse()
 * reads it back. Returns
 * @text. */
#define ADDRESS_TEXT_MAX 288
const char *address_format(char text[ADDRESS_TEXT_MAX], const struct address *address);

/* True if only this machine can be meant: a UNIX socket, 127.0.0.0/8, ::1 or "localhost". */
bool address_is_loopback(const struct address *address);
