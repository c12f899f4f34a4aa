/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "core/cluster-internal.h"
#include "core/explain.h"

/* What the files of `why` share. */

struct answer {
        const struct cluster *c;
        usec_t now;
        const char *kind;
        struct buffer summary, next;
};

/* explain-place.c */
/* "of 12 nodes that fit: ..."; nothing if there is nothing to tell. */
void put_choice(struct buffer *b, const struct task *task);
/* What a task that shall leave its node waits for; nothing if it need not leave. */
void put_leaving(struct buffer *b, const struct cluster *c, const struct task *task);
/* Why a task without a node has none, and when it will. */
void why_unplaced(struct answer *a, const struct task *task, const char *id);
void why_node(struct answer *a, const struct node *node);
