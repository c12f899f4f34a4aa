/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <jansson.h>
#include <stdint.h>
#include <uv.h>

#include "net/websocket.h"
#include "node/task.h"

/* Runs programs beside tasks as the server asks, and carries their bytes (docs/link.md: exec-...).
 * Lives as long as the agent; a program ends with the connection it was asked for on. */

struct execs;

struct execs *execs_new(uv_loop_t *loop, struct tasks *tasks);
void execs_free(struct execs *e); /* kills what runs; NULL is fine */

/* A connection to the server is there, and gone. */
void execs_connect(struct execs *e, struct websocket *ws);
void execs_disconnect(struct execs *e);

void execs_message(struct execs *e, const json_t *message);

/* A binary message: bytes for a program's standard input; none: its end. */
void execs_data(struct execs *e, const void *message, size_t len);
