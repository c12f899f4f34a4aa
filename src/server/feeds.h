/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "core/cluster.h"
#include "server/api.h"
#include "server/events.h"

/* Those who wait for news: readers for the state to change, followers for events. */
struct feeds;

struct feeds *feeds_new(struct server *server);
void feeds_free(struct feeds *f); /* after http_server_free(); NULL is ignored */

/* Has the route handle @req when state_index() is another than @index or @wait is over, whichever
 * comes first. */
void feeds_wait(struct feeds *f, struct http_request *req, uint64_t index, usec_t wait,
        const struct route *route, const char *name);

/* Answers with server-sent events: those after number @after that @filter takes. Of the filter job,
 * task and jobs count. */
void feeds_follow(struct feeds *f, struct http_request *req, uint64_t after,
        const struct event_filter *filter);

/* News. */
void feeds_event(struct feeds *f, const struct event *event);
void feeds_changed(struct feeds *f);
