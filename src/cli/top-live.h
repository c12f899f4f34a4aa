/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "base/error.h"
#include "base/time.h"
#include "cli/top-model.h"

/* What is asked for. */
struct top_query {
        const char *job, *node; /* NULL: all */
        usec_t every;           /* how often CPU and memory are new */
};

void top_put_tasks_path(struct buffer *out, const struct top_query *query);
void top_put_vitals_path(struct buffer *out, const struct top_query *query, usec_t max_age);

/* The screen of `reeve top`, until a person ends it. */
int top_live(struct top_model *m, const struct top_query *query, struct error *err);
