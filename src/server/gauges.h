/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "base/scan.h"
#include "model/vitals.h"
#include "server/server-internal.h"

/* What machines and tasks use: asked of the agents when somebody looks, and known for a while. */

struct gauges;

struct gauges *gauges_new(struct server *server);
void gauges_free(struct gauges *g); /* ends all looks without a call; NULL is ignored */

struct gauges_query {
        const char *node; /* NULL: all that are connected */
        bool tasks;       /* of the tasks, too */
        usec_t max_age;   /* what is known and no older is not asked for */
};

/* Asks. @done is called once, never from within: when all have answered, or some have not in time;
 * the look is gone when it returns. */
struct gauges_look;
struct gauges_look *gauges_look(
        struct gauges *g, const struct gauges_query *query, void (*done)(void *data), void *data);

/* The samples that @node keeps after @since: of a task, or of the machine (NULL). @done as above,
 * with the elements of a JSON array, or the reason why there are none. */
struct gauges_look *gauges_look_samples(struct gauges *g, const char *node, const char *task,
        usec_t since,
        void (*done)(void *data, const char *samples, size_t len, const struct error *err),
        void *data);

/* No call follows. NULL is ignored. */
void gauges_cancel(struct gauges_look *look);

/* What is known and not older than a minute, or NULL. Borrowed until the next turn of the loop. */
const struct node_vitals *gauges_node(const struct gauges *g, const char *node);
const struct task_vitals *gauges_task(const struct gauges *g, const char *node, const char *task);
void gauges_each_task(const struct gauges *g, const char *node,
        void (*each)(void *data, const struct task_vitals *task), void *data);

/* From the link: an answer, and the end of it. */
int gauges_hear(struct gauges *g, const char *node, struct scan *s, struct error *err);
void gauges_node_down(struct gauges *g, const char *node);
