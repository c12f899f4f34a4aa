/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "core/test-cluster-kit.h"

/* Makes a plan as the server does: in a process of its own, which has a copy of everything. The
 * kit's cluster stays as it is, and that is checked. 0: @ret has it, NULL-terminated; else the code
 * of the error, and @ret its message. */
int kit_plan(struct kit *k, struct job_spec *const *specs, size_t len, struct buffer *ret);

/* The same of one job, as JSON; it must succeed. */
json_t *kit_plan_one(struct kit *k, const char *name, const char *json);
