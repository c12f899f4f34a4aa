/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>

/* Groups of system calls that a sandbox denies (`sandbox.seccomp`, `sandbox.seccomp_deny`). */

struct syscall_group {
        const char *name;
        bool by_default;          /* `seccomp: default` denies it */
        bool clones;              /* clone(2) that makes namespaces is denied with it */
        const char *help;         /* what it is good for, one line */
        const char *const *calls; /* by name, ended by NULL; no machine has all of them */
};

extern const struct syscall_group syscall_groups[]; /* ended by an entry without a name */

/* NULL if there is no group of that name. */
const struct syscall_group *syscall_group_find(const char *name);
