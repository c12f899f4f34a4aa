/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "server/server-internal.h"

/* Log requests: from the agents' files over the links to the clients. */
struct logs;

struct logs *logs_new(struct server *server);
void logs_free(struct logs *l); /* after http_server_free(); NULL is ignored */

/* What comes from the links. A stream number that is not known (any more), or is another node's, is
 * ignored. */
void logs_data(struct logs *l, const char *node, uint32_t stream, uint64_t offset,
        const char *bytes, size_t len); /* no bytes: a gap, it goes on at @offset */
void logs_end(struct logs *l, const char *node, uint32_t stream, const struct error *err_or_null);
void logs_node_up(struct logs *l, const char *node); /* welcomed */
void logs_node_down(struct logs *l, const char *node);

/* The state has changed: those who follow a job look for new tasks. */
void logs_changed(struct logs *l);
