/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "core/cluster.h"
#include "model/token.h"
#include "server/server-internal.h"

/* The server's end of the links to the agents (docs/link.md). */
struct links;

struct links *links_new(struct server *server);
void links_free(struct links *l); /* says goodbye to every agent; NULL is ignored */

/* Makes a link of a request for one; answers it otherwise. @credential: with which it comes; NULL:
 * over the UNIX socket, where none is needed. */
void links_accept(struct links *l, struct http_request *req, const struct token_status *credential);

/* Ends the link that came with this credential, if there is one. */
void links_revoke(struct links *l, const char *id);

/* Gathers an assign for its agent, if it is connected; links_flush() sends what was gathered. */
void links_assign(struct links *l, const struct cluster_assign *assign);
void links_flush(struct links *l);

/* Breaks all links: the agents connect and say hello again. */
void links_reset(struct links *l);

/* Sends one message to @node's agent, or with @node NULL to all. False if none is connected and
 * welcomed. */
bool links_send(struct links *l, const char *node, const char *json);

/* Stream numbers with this bit are exec's, the others are those of logs. */
#define LINK_EXEC_STREAMS 0x80000000u

/* Sends a binary message to @node's agent, if it is connected. */
void links_send_bytes(struct links *l, const char *node, uint32_t stream, uint64_t offset,
        const void *bytes, size_t len);

bool links_is_up(const struct links *l, const char *node);

/* What older agents do not know. Whether @node's agent, which is connected, does. */
enum link_skill {
        LINK_LOG_QUERY = 1, /* all members of log-open (docs/link.md) */
        LINK_VITALS = 2,
        LINK_DOSSIERS = 4,
};
bool links_knows(const struct links *l, const char *node, enum link_skill skill);
