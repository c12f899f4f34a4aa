/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stddef.h>

#include "model/job.h"

/* How much of its machine a job's tasks could get at. */

struct sandbox_item {
        const char *field;   /* what it looks at */
        unsigned most;       /* the points that it can have */
        unsigned points;     /* that it has: 0 is closed */
        const char *finding; /* what is so */
        const char *advice;  /* what to set; NULL: nothing */
};

#define SANDBOX_ITEMS      12
#define SANDBOX_POINTS_MAX 100 /* nothing is closed */

/* Looks at all of it. Returns the sum of the points. A pure function of the spec. */
unsigned sandbox_score(const struct job_spec *spec, struct sandbox_item ret[SANDBOX_ITEMS]);

/* A word for a sum: "tight", "fair", "open" or "wide open". */
const char *sandbox_word(unsigned points);
