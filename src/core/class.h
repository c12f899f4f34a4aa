/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "core/cluster-internal.h"

/* Nodes with the same attributes, and what a spec asks of them. Internal to capacity and place. */

struct node_class *class_get(struct cluster *c, const struct node *node); /* a reference */
void class_unref(struct cluster *c, struct node_class *class);

/* One thing that a pass asks of an attribute of all nodes. */
struct question {
        const struct constraint *constraint; /* or NULL: */
        char *const *zones;                  /* is the zone one of these */
        const struct attribute_name *name;   /* NULL: no node has such an attribute */
        bool of_none;                        /* what holds for a class without the attribute */
        size_t hint; /* where in its class the attribute was the last time */
};

void question_init(struct question *q, const struct cluster *c, const struct constraint *constraint,
        char *const *zones);

/* @pass is of place.c, @number the question's within it. */
bool question_holds(
        struct question *q, uint64_t pass, uint32_t number, const struct node_class *class);

/* The attribute of the class with the name that @q asks about, or NULL. Two classes have the same
 * one exactly if they have the same value. */
struct attribute *question_attribute(struct question *q, const struct node_class *class);
