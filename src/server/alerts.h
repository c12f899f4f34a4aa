/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "model/status.h"
#include "server/server-internal.h"

/* Tells people and programs of failures: webhooks, mail, a command (docs/alerts.md). */
struct alerts;

/* Takes up what is still to be told. */
int alerts_new(struct server *server, struct alerts **ret, struct error *err);
void alerts_free(struct alerts *a); /* the next server tells the rest; NULL is ignored */

/* A durable event. */
void alerts_event(struct alerts *a, const struct event *event);
