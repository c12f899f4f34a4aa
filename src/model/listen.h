/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "model/probe.h"

/* Where a socket listens that is held for a job: `sockets.NAME.listen`. */

#define LISTEN_PATH_MAX 107 /* bytes of the path of a UNIX socket, unix(7) */

struct listen_target {
        const char *path; /* of a UNIX socket, borrowed from the text; NULL: an address */
        bool v6;
        struct probe_target address; /* host in numbers, port */
};

/* Reads "127.0.0.1:8080", "[::]:80" or "unix:/path". Nothing is looked up: a host is a number.
 * ERR_INVALID with what was expected. */
int listen_parse(const char *text, struct listen_target *ret, struct error *err);
