/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <uv.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/time.h"
#include "node/cgroup.h"
#include "node/table.h"
#include "node/task.h"

/* What the tasks on this node and the machine use: looked at every so often, and kept for an hour.
 */

struct vitals;

struct vitals_config {
        uv_loop_t *loop;
        const char *path; /* of the samples that are kept; not needed after vitals_new() */
        const char *data; /* on the disk that counts */
        const char *node;
        uint32_t cores;
        struct table *table;
        struct tasks *tasks;
        struct cgroups *cgroups;
        usec_t every; /* between two samples; USEC_NEVER: none are taken unless somebody asks */
        void (*on_looked)(void *data); /* a look is done */
        void *data_of_looked;
};

struct vitals *vitals_new(const struct vitals_config *config);
void vitals_free(struct vitals *v); /* NULL is fine */

/* The first look, and from then on one every so often. */
void vitals_begin(struct vitals *v);

/* True if the last look is no older than @max_age; otherwise one begins, and on_looked() follows.
 */
bool vitals_refresh(struct vitals *v, usec_t max_age);

/* Appends what the last look has seen: the machine as an object (model/vitals.h), and the tasks as
 * elements of an array. */
void vitals_put_node(struct vitals *v, struct buffer *out);
void vitals_put_tasks(struct vitals *v, struct buffer *out);

/* Appends the samples after @since that are kept, as elements of an array: of a task, or of the
 * machine (NULL). */
void vitals_put_samples(struct vitals *v, const char *task, usec_t since, struct buffer *out);
