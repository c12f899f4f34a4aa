/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "core/cluster-internal.h"

/* Fair shares between the owners of jobs. Internal to the cluster. */

struct owner {
        char *name; /* "": of jobs that name none */
        size_t jobs;
        struct amounts held; /* by all their tasks */
        uint64_t tasks;
        UT_hash_handle hh;
};

/* The job counts for @name from now on, with what its tasks hold. */
void share_set_owner(struct job *job, const char *name);
void share_drop_owner(struct job *job);

/* The task's owner has @demand more, or less. */
void share_add(const struct task *task, const struct demand *demand, bool more);

/* Negative: @a has less of the whole than @b, so that it is its turn. */
int share_compare(const struct cluster *c, const struct owner *a, const struct owner *b);
