/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "core/cluster.h"

/* What was so at a time that is past, folded from the events. See history.c. */
struct history;

struct history *history_new(usec_t at_wall);
void history_free(struct history *h); /* NULL is ignored */
void history_freep(struct history **h);

/* All events that are kept, in the order of their numbers. */
void history_add(struct history *h, const struct event *event);

/* When the first event was that history_add() got; USEC_NEVER if it got none. */
usec_t history_begin(const struct history *h);

/* Once, behind the last event: what is so now, in @c, tells of what no event tells. */
void history_end(struct history *h, const struct cluster *c);

/* Reading, after history_end(). Strings are borrowed from the history. In the order of names. */
void history_each_job(
        struct history *h, void (*each)(void *data, const struct job_status *), void *data);
void history_each_task(struct history *h, const char *job,
        void (*each)(void *data, const struct task_status *), void *data); /* NULL: of all jobs */
void history_each_node(
        struct history *h, void (*each)(void *data, const struct node_status *), void *data);

/* False if it was not there. */
bool history_get_job(const struct history *h, const char *name, struct job_status *ret);
bool history_get_task(const struct history *h, const char *id, struct task_status *ret);

/* The spec that was in force, if it is kept; else NULL. */
const struct job_spec *history_get_spec(
        const struct history *h, const struct cluster *c, const char *name);
