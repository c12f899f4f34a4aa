/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "core/cluster-internal.h"

/* `after` and `after_failure`: see order.c. */

#define ORDER_DEPTH_MAX 64 /* jobs that wait one after the other */

/* Whether a condition of the job does not hold now. */
bool order_must_wait(const struct job *job);

/* "waits for db to be ready and for job cache, which does not exist" */
void order_put_why(struct buffer *b, const struct job *job);

/* The same of a job that is held, as it was found last; NULL: it is not held. */
const char *order_reason(struct job *job);

/* A run of the task has failed. @for_good: there will be no other. */
void order_note_failure(struct job *job, struct task *task, bool for_good);

/* A job has come, gone, or has another spec. */
void order_spec_changed(struct cluster *c);

/* What follows for all jobs, if something has changed. */
void order_run(struct turn *turn);
