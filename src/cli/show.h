/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <jansson.h>

#include "base/error.h"
#include "base/time.h"
#include "cli/table.h"
#include "model/status.h"

/* Tasks and events as people see them, in more than one command. */

/* A table of tasks from an array of the API's objects, as it looks at @now_wall. */
int show_tasks(const json_t *tasks, usec_t now_wall, struct error *err);

/* A cell; empty for what is null. */
void show_number(struct table *table, enum table_style style, int64_t number);

/* What the server says why @asked is as it is, in lines of at most @width columns (0: no limit). */
void show_why(struct buffer *out, const char *asked, const json_t *why, size_t width);

/* A line per event: time, kind, subject, message. */
int show_event(const json_t *event, struct error *err);
int show_events(const json_t *events, struct error *err);

enum table_style show_job_style(int state);

/* A point in time that a person gave to @option, for the server: in RFC 3339. @ret_wall may be
 * NULL. */
#define SHOW_TIME_HELP "10m (ago), \"2026-11-20 15:04\" or 2026-11-20T15:04:00Z"
int show_parse_time(const char *option, const char *text, char ret[TIME_TEXT_MAX], usec_t *ret_wall,
        struct error *err);

/* "ready, draining" */
void show_node_state(struct buffer *out, const struct node_status *node);
enum table_style show_node_style(const struct node_status *node);
/* "192MiB/15.6GiB", "0.5/8"; all RECORD_NULL: nobody knows, "192MiB" */
void show_bytes(struct buffer *out, int64_t used, int64_t all);
void show_cores(struct buffer *out, int64_t used, int64_t all);
