/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/status.h"
#include "store/store.h"

/* Reading the events that are stored. */

/* A row of the store: the events of one commit, or some of them, in order, a line each. */
struct events_row {
        uint64_t first, last; /* their numbers */
        const char *last_line;
        size_t last_len;
};
struct events_row events_row(const char *key, const char *value, size_t len);

/* The first number in the row that has event @index, if that is stored; else @index. */
uint64_t events_row_of(struct store *store, uint64_t index);

struct event_filter {
        const char *job, *task, *node; /* NULL: any */
        bool job_too;                  /* with job and task: also what concerns the whole job */
        const char *jobs;    /* only of jobs with these beginnings (model/token.h); NULL: all */
        usec_t since, until; /* wall, both included; 0: any */
        uint64_t kinds;      /* a bit (1 << kind) for each that is wanted; 0: any */
};
static_assert(EVENT_KIND_COUNT <= 64, "event_filter.kinds has a bit for each");

/* Reads "task-started,task-ended". ERR_INVALID names what is no kind. */
int event_kinds_parse(const char *text, uint64_t *ret, struct error *err);

bool event_filter_takes(const struct event_filter *filter, const struct event *event);

/* One event that the filter takes, and its row. The callback may take what is in *@event and leave
 * zeroes. Returns whether to go on. */
typedef bool events_each_cb(void *data, struct event *event, const char *json, size_t len);

struct events_query {
        struct event_filter filter;
        uint64_t first, last; /* their numbers, both included */
        bool newest;          /* from the last one down */
        size_t rows;          /* look at no more; 0: at all */
        uint64_t next; /* result: number behind the newest row looked at; behind `last` if all were
                        */
};

/* A row that cannot be read is logged and left out: it would be in the way for ever. */
int events_read(struct store *store, struct events_query *query, events_each_cb *each, void *data,
        struct error *err);

/* A number of which all smaller ones, of @first to @last, are of events before @time: there, or a
 * little after, begin those that are later. Found by bisection, see events.c. */
uint64_t events_seek(struct store *store, uint64_t first, uint64_t last, usec_t time);
