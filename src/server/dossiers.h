/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <jansson.h>

#include "model/dossier.h"
#include "server/server-internal.h"

/* The dossiers of tasks, fetched from the nodes that have them when somebody asks. */
struct dossiers;
struct dossier_query;

struct dossiers *dossiers_new(struct server *server);
void dossiers_free(struct dossiers *ds); /* answers nobody; NULL is ignored */

/* Asks for those of task @id, the newest first. @on_answer is called once, later, never from
 * within: with a list that is borrowed, or with @err: ERR_UNAVAILABLE if its node is away, does not
 * answer, or has an agent that keeps none. A task that is on no node has none. */
typedef void dossier_answer_fn(
        void *data, const struct dossier *list, size_t len, const struct error *err);
struct dossier_query *dossiers_ask(
        struct dossiers *ds, const char *id, dossier_answer_fn *on_answer, void *data);
void dossier_query_cancel(struct dossier_query *q); /* NULL is ignored */

/* From the links. */
void dossiers_message(struct dossiers *ds, const char *node, const json_t *message);
void dossiers_node_down(struct dossiers *ds, const char *node);
