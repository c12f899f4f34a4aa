/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "core/cluster.h"
#include "server/api.h"

/* Those who wait for news: readers for the state to change, followers for events. */
struct feeds;

struct feeds *feeds_new(struct server *server);
void feeds_free(struct feeds *f); /* after http_server_free(); NULL is ignored */

/* Has the route handle @req again when the state has changed or @wait is over, whichever comes
 * first. */
void feeds_wait(struct feeds *f, struct http_request *req, usec_t wait, const struct route *route,
        const char *name);

/* Answers with server-sent events, from the first one after number @after; @job and @task (NULL:
 * any) choose among them. */
void feeds_follow(struct feeds *f, struct http_request *req, uint64_t after, const char *job,
        const char *task);

/* True if an event concerns @job and @task (NULL: any). */
bool feeds_concerns(const struct event *event, const char *job, const char *task);

/* News. */
void feeds_event(struct feeds *f, const struct event *event);
void feeds_changed(struct feeds *f);
