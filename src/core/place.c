/* SPDX-License-Identifier: BSD-3-Clause */
/* Place: which node a task goes to.
 *
 * The connected node with the fewest tasks, by name where several have as few, so that the same
 * state always gives the same answer. A task that has a node keeps it. */

#include <string.h>

#include "core/cluster-internal.h"

static bool is_better(const struct node *a, const struct node *b)
{
        if (b == NULL || a->status.tasks != b->status.tasks)
                return b == NULL || a->status.tasks < b->status.tasks;
        return strcmp(a->status.name, b->status.name) < 0;
}

struct node *place_pick(const struct cluster *c)
{
        struct node *best = NULL;

        for (struct node *node = c->nodes; node != NULL; node = node->hh.next)
                if (node->connected && is_better(node, best))
                        best = node;
        return best;
}
