/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "base/error.h"

/* Several jobs or tasks that are to end, in the reverse of the order in which their `after` has
 * them begin: calls @end for groups of them, first those that no other of @names waits for. Each
 * group is ended by NULL and borrowed. */
int waves_each(const char *const *names, int (*end)(const char *const *group, struct error *err),
        struct error *err);
