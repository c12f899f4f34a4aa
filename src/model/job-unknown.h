/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "model/job-fields.h"
#include "model/value.h"

/* Fails for the member @value, which no field of @fields (of the section or rule @section, NULL
 * for the job itself) is called, and says what was probably meant. Returns -1. */
int job_fail_unknown(const struct reader *r, const struct value *value,
        const struct job_field *fields, const struct job_field *section);

/* The same for a member of the whole file that is not `jobs`. */
int job_file_fail_unknown(const struct reader *r, const struct value *value);
