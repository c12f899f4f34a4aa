/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>

#include "model/token.h"
#include "server/server-internal.h"

/* Who may use the API, and for what. */
struct auth;
struct route;

#define AUTH_TOKEN_LEN 64 /* hexadecimal digits */

/* Reads DIR/token, or makes it (mode 0600, random) if it is not there. */
int auth_new(const char *data_dir, struct auth **ret, struct error *err);
void auth_free(struct auth *a);

/* True if the request may be served by @route (NULL: there is none), for which @name stands in the
 * path. Otherwise it has been answered. */
bool auth_allows(struct server *server, struct http_request *req, const struct route *route,
        const char *name);

/* What a request that was let in may do; ROLE_NONE if its token has ceased to be good meanwhile. */
struct grant {
        enum role role;
        const char *jobs; /* as in the token: NULL, or prefixes; borrowed for the loop turn */
};

struct grant auth_grant(const struct server *server, const struct http_request *req);

/* For what is not said by the path: true if the token covers @job. Otherwise the request has been
 * answered. */
bool auth_allows_job(struct server *server, struct http_request *req, const char *job);

/* The same for what is of no job, or of all. */
bool auth_allows_all(struct server *server, struct http_request *req);

/* The text behind "Bearer" of the Authorization header, or NULL. */
const char *auth_bearer(const struct http_request *req);

/* The decisions alone. */
bool auth_token_is_right(const struct auth *a, const char *given); /* NULL: no */
/* @host: value of the Host header; it must name this machine as itself, or a page of a stranger
 * could reach us through a name of his own that he points here (DNS rebinding). */
bool auth_host_is_local(const char *host);
