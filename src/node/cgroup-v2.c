/* SPDX-License-Identifier: BSD-3-Clause */
/* Groups of version 2, as the kernel's cgroup-v2.rst has them. A limit that was not given is
 * written as "max", so that a limit can be taken off a group that is there. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "node/cgroup-internal.h"

static int write_limit(
        const char *path, const char *file, const char *field, uint64_t limit, struct error *err)
{
        char text[CGROUP_LIMIT_MAX];

        if (cgroup_write(path, file, cgroup_limit_text(text, limit), err) < 0)
                return error_wrap(err, "limits.%s", field);
        return 0;
}

static int write_weight(
        const char *path, const char *file, const char *field, uint32_t weight, struct error *err)
{
        char text[24];

        snprintf(text, sizeof text, "%u", (unsigned) weight);
        if (cgroup_write(path, file, text, err) < 0)
                return error_wrap(err, "limits.%s", field);
        return 0;
}

static int write_cpu(const char *path, const struct job_spec *spec, struct error *err)
{
        char text[48];

        if (spec->limits.cpu == 0)
                snprintf(text, sizeof text, "max %d", CGROUP_CPU_PERIOD);
        else
                snprintf(text, sizeof text, "%" PRIu64 " %d", cgroup_cpu_quota(spec->limits.cpu),
                        CGROUP_CPU_PERIOD);
        if (cgroup_write(path, "cpu.max", text, err) < 0)
                return error_wrap(err, "limits.cpu");
        return write_weight(path, "cpu.weight", "cpu_weight", spec->limits.cpu_weight, err);
}

static int limit(const char *path, unsigned what, const struct job_spec *spec, struct error *err)
{
        bool bfq;

        if (what & CGROUP_MEMORY &&
                write_limit(path, "memory.max", "memory", spec->limits.memory, err) < 0)
                return -1;
        if (what & CGROUP_SWAP &&
                write_limit(path, "memory.swap.max", "swap", spec->limits.swap, err) < 0)
                return -1;
        if (what & CGROUP_PIDS && write_limit(path, "pids.max", "pids", spec->limits.pids, err) < 0)
                return -1;
        if (what & CGROUP_CPU && write_cpu(path, spec, err) < 0)
                return -1;
        if ((what & CGROUP_IO) == 0)
                return 0;
        bfq = !cgroup_has(path, "io.weight"); /* its weights end at 1000 */
        return write_weight(path, bfq ? "io.bfq.weight" : "io.weight", "io_weight",
                bfq ? MIN(spec->limits.io_weight, 1000u) : spec->limits.io_weight, err);
}

static void usage(const char *path, struct cgroup_usage *ret)
{
        uint64_t kills = cgroup_number(path, "memory.events", "oom_kill");

        if (kills != CGROUP_UNKNOWN)
                ret->oom_kills += kills;
        ret->memory = cgroup_number(path, "memory.current", NULL);
        ret->memory_peak = cgroup_number(path, "memory.peak", NULL); /* since Linux 5.19 */
        ret->cpu_usec = cgroup_number(path, "cpu.stat", "usage_usec");
}

/* CPU is counted in every group, memory only where the controller is enabled. */
static void vitals(const char *path, unsigned what, uint64_t *cpu_usec, uint64_t *memory)
{
        uint64_t usec = cgroup_number(path, "cpu.stat", "usage_usec");

        if (usec != CGROUP_UNKNOWN)
                *cpu_usec = usec;
        if (what & CGROUP_MEMORY)
                *memory = cgroup_number(path, "memory.current", NULL);
}

/* cgroup.kill is there since Linux 5.14, and reaches who is just being forked. Before that the
 * group is stopped first, so that nobody forks away from under our hands. */
static void kill_all(const char *path)
{
        if (cgroup_write(path, "cgroup.kill", "1", NULL) == 0)
                return;
        cgroup_write(path, "cgroup.freeze", "1", NULL);
        cgroup_kill_each(path);
        cgroup_write(path, "cgroup.freeze", "0", NULL);
}

const struct cgroup_version cgroup_v2 = { limit, usage, vitals, kill_all };
