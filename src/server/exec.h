/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "server/server-internal.h"

/* Programs beside tasks, and signals to tasks: between clients and the links. */
struct exec_relays;

struct exec_relays *exec_relays_new(struct server *server);
void exec_relays_free(struct exec_relays *x); /* ends all of them; NULL is ignored */

/* What comes from the links. A stream that is not known (any more), or is another node's, is
 * ignored. */
void exec_relays_data(struct exec_relays *x, const char *node, uint32_t stream, uint64_t offset,
        const char *bytes, size_t len);
void exec_relays_message(struct exec_relays *x, const char *node, const json_t *message);
void exec_relays_token_ended(struct exec_relays *x, const char *token);
void exec_relays_node_down(struct exec_relays *x, const char *node);

/* What a program that the CLI runs by exec is told at its connection is in docs/http.md. */
#define EXEC_STDIN  0 /* first byte of a binary message of the client */
#define EXEC_STDOUT 1
#define EXEC_STDERR 2
