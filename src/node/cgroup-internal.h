/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "base/buffer.h"
#include "node/cgroup.h"

/* Between cgroup.c and the two versions; nobody else includes this. */

struct cgroup_version {
        /* Writes the limits of @spec for what is in @what into the group @path. */
        int (*limit)(
                const char *path, unsigned what, const struct job_spec *spec, struct error *err);
        /* Adds what the group knows. */
        void (*usage)(const char *path, struct cgroup_usage *ret);
        /* The same for what it has used of CPU and what it has of memory, each left alone if it
         * does not know. @what: the controllers that it has. */
        void (*vitals)(const char *path, unsigned what, uint64_t *cpu_usec, uint64_t *memory);
        /* Kills all that is in it. */
        void (*kill)(const char *path);
};

extern const struct cgroup_version cgroup_v1, cgroup_v2;

/* For files such as cgroups have, made of path and name. */
int cgroup_write(const char *path, const char *file, const char *text, struct error *err);
bool cgroup_has(const char *path, const char *file);
const char *cgroup_read(const char *path, const char *file, struct buffer *text); /* "" if not */

/* The number behind @key ("oom_kill 3"), or the first of the file (@key NULL); CGROUP_UNKNOWN. */
uint64_t cgroup_number(const char *path, const char *file, const char *key);

/* Sends SIGKILL to all in the group at @path until it is empty or they are too many. */
void cgroup_kill_each(const char *path);

/* "max" for no limit, else the number. */
#define CGROUP_LIMIT_MAX 24
const char *cgroup_limit_text(char text[CGROUP_LIMIT_MAX], uint64_t limit);

/* Whether there is a limit. */
static inline bool cgroup_is_limit(uint64_t limit)
{
        return limit != JOB_LIMIT_NONE && limit != JOB_LIMIT_UNLIMITED;
}

#define CGROUP_CPU_PERIOD 100000 /* microseconds */
uint64_t cgroup_cpu_quota(uint32_t milli);
