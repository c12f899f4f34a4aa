/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <jansson.h>

#include "net/websocket.h"
#include "node/vitals.h"

/* Answers what the server asks about vitals over the link (docs/link.md: vitals-ask). Lives as long
 * as one connection. */

struct vitalserve;

struct vitalserve *vitalserve_new(struct websocket *ws, struct vitals *vitals);
void vitalserve_free(struct vitalserve *vs); /* NULL is fine */

void vitalserve_message(struct vitalserve *vs, const json_t *message);

/* A look is done: who waited for it is answered. */
void vitalserve_looked(struct vitalserve *vs);
