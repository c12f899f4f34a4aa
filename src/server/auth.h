/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>

#include "server/server-internal.h"

/* Who may use the API over TCP. */
struct auth;

#define AUTH_TOKEN_LEN 64 /* hexadecimal digits */

/* Reads DIR/token, or makes it (mode 0600, random) if it is not there. */
int auth_new(const char *data_dir, struct auth **ret, struct error *err);
void auth_free(struct auth *a);

/* True if the request may be served. Otherwise it has been answered. */
bool auth_allows(const struct auth *a, struct server *server, struct http_request *req);

/* The decisions alone. */
bool auth_token_is_right(const struct auth *a, const char *given); /* NULL: no */
/* @host: value of the Host header; it must name this machine as itself, or a page of a stranger
 * could reach us through a name of his own that he points here (DNS rebinding). */
bool auth_host_is_local(const char *host);
