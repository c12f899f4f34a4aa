/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* The variables that a command and its environment may name: "${ports.http}", "${task.index}". They
 * get their values on the node, when a run begins. "$${" stands for "${" itself. */

struct variables {
        const char *job;  /* "web" */
        const char *task; /* "web.0" */
        uint32_t index;
        const char *node;
        char *const *port_names; /* ended by NULL; NULL: none */
        const uint16_t *ports;   /* numbers in their order */
};

/* Whether the text is anything else than itself. */
bool variables_any(const char *text);

/* Whether every variable in it is one, and every port one of @port_names (ended by NULL; NULL:
 * none). ERR_INVALID says which is not, and what was probably meant. */
int variables_check(const char *text, char *const *port_names, struct error *err);

/* The text with the values in place. A heap string. What variables_check() would refuse stays as it
 * is. */
char *variables_expand(const char *text, const struct variables *values);

/* The name of the environment variable for a port: "REEVE_PORT_HTTP". A heap string. */
char *variables_port_name(const char *port);
