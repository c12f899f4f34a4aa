/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* What processes use, as /proc tells it (proc(5)). */

struct usage {
        uint64_t cpu_usec; /* with that of children that have ended and were waited for */
        uint64_t memory;   /* bytes, resident; what is shared counts for each */
};

/* Parses the text of /proc/PID/stat; the command in it may contain anything. @ret_session may be
 * NULL. */
bool usage_parse(const char *text, struct usage *ret, pid_t *ret_session);

/* False if there is no such process. */
bool usage_read(pid_t pid, struct usage *ret, pid_t *ret_session);

/* The same, added; for cgroups_each_process(): @sum is a struct usage. */
void usage_add(void *sum, pid_t pid);

/* All processes of a session together. Who left it is not seen. */
struct usage usage_of_session(pid_t session);
