/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "core/cluster.h"
#include "server/server-internal.h"

/* The server as witness of the tasks on its own machine, for the case that keeper and agent die
 * together. */
struct witness;

struct witness *witness_new(struct server *server);
void witness_free(struct witness *w); /* lets go of everything; NULL is ignored */

/* What @node's agent reports; @all: these are all its tasks. Nodes other than the server's own are
 * ignored. */
void witness_reports(struct witness *w, const char *node, const struct cluster_report *reports,
        size_t len, bool all);

/* Appends what was seen of the ends of @node's runs that its agent takes for running still: a JSON
 * array, see `welcome` in docs/link.md. */
void witness_tell(const struct witness *w, const char *node, struct buffer *out);

void witness_link_down(struct witness *w, const char *node);
