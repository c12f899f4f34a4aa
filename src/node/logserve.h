/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <jansson.h>
#include <uv.h>

#include "net/websocket.h"
#include "node/task.h"

/* Sends logs over the link to the server, which asked for them (docs/link.md: log-open, log-more,
 * log-close). Lives as long as one connection. */

struct logserve;

struct logserve *logserve_new(uv_loop_t *loop, struct websocket *ws, struct tasks *tasks);
void logserve_free(struct logserve *ls); /* ends all streams; NULL is fine */

void logserve_message(struct logserve *ls, const json_t *message);

/* The connection takes bytes again. */
void logserve_drained(struct logserve *ls);

/* A captured stream of task @id has grown. */
void logserve_grown(struct logserve *ls, const char *id, const char *stream);
