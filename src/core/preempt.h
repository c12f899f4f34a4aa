/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "core/place.h"

/* Making room for a job among tasks of lower priority. Internal to the cluster. */

/* The job has `unmet` tasks that fit nowhere: others leave for them, if its spec wants that. */
void preempt_for(struct turn *turn, struct job *job);

/* The task has got its place: its node is not kept for its job any more, nor for another one for
 * which it has become too full. */
void preempt_put(const struct task *task);

/* What is kept for the job on @node, or anywhere, is not any more. */
void preempt_release(struct job *job, struct node *node);
void preempt_release_all(struct job *job);
