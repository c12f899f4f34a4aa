/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "core/cluster.h"

/* `why`: the cluster's decisions in sentences. */

/* Why @subject (a job, a task or a node by name) is as it is: appends a JSON object
 * {"subject", "kind": "task", "summary": "crasher.0 waits for run 5, due in 3.2s: ...", "chain":
 * [{"time", "index", "message"}...], "next": "run 5 begins at ...; after 5 failures within 1m it is
 * parked" | null}.
 * @events: the newest ones that concern it, oldest first. ERR_NOT_FOUND (with the nearest known
 * name) if there is no such thing. */
int explain_why(const struct cluster *c, const char *subject, const struct event *events,
        size_t events_len, usec_t now_wall, struct buffer *ret, struct error *err);

/* Appends why the task @id is on its node ("of 12 nodes that fitted: ..."), and what it waits for
 * to leave it. Nothing if there is nothing to tell. */
void explain_choice(const struct cluster *c, const char *id, struct buffer *ret);
void explain_leaving(const struct cluster *c, const char *id, struct buffer *ret);
