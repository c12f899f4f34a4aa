/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <linux/filter.h>

#include "base/error.h"
#include "model/job.h"

/* The filter of system calls that a spec asks for, as the kernel takes it. */

/* *ret_len instructions on the heap. @spec has `seccomp` or `seccomp_deny`. */
int sandbox_filter_make(
        const struct job_spec *spec, struct sock_filter **ret, size_t *ret_len, struct error *err);
