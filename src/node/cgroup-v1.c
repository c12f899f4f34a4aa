/* SPDX-License-Identifier: BSD-3-Clause */
/* Groups of version 1: a tree per controller, as the files below
 * Documentation/admin-guide/cgroup-v1 of the kernel have them.
 *
 * Two things differ from version 2. Swap is limited together with memory (memsw), and may never be
 * less than it, so the order of the two writes depends on the direction. And a limit below what is
 * in use is refused (EBUSY), where version 2 kills. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "node/cgroup-internal.h"

#define SHARES_PER_WEIGHT 10.24 /* 1024 are what a weight of 100 is */

static int write_number(
        const char *path, const char *file, const char *field, int64_t number, struct error *err)
{
        char text[24];

        snprintf(text, sizeof text, "%" PRId64, number);
        if (cgroup_write(path, file, text, err) < 0)
                return error_wrap(err, "limits.%s", field);
        return 0;
}

static int64_t number_of(uint64_t limit)
{
        return cgroup_is_limit(limit) ? (int64_t) limit : -1;
}

static int write_memory(
        const char *path, unsigned what, const struct job_spec *spec, struct error *err)
{
        static const char memory[] = "memory.limit_in_bytes";
        static const char both[] = "memory.memsw.limit_in_bytes";
        int64_t limit = number_of(spec->limits.memory), swap = number_of(spec->limits.swap);
        int64_t sum = limit >= 0 && swap >= 0 ? limit + swap : -1;

        if ((what & CGROUP_SWAP) == 0)
                return write_number(path, memory, "memory", limit, err);
        if (write_number(path, both, "swap", sum, NULL) == 0) /* up: this one first */
                return write_number(path, memory, "memory", limit, err);
        if (write_number(path, memory, "memory", limit, err) < 0)
                return -1;
        return write_number(path, both, "swap", sum, err);
}

static int write_cpu(const char *path, const struct job_spec *spec, struct error *err)
{
        int64_t quota = spec->limits.cpu == 0 ? -1 : (int64_t) cgroup_cpu_quota(spec->limits.cpu);
        double shares = spec->limits.cpu_weight * SHARES_PER_WEIGHT;

        if (write_number(path, "cpu.cfs_period_us", "cpu", CGROUP_CPU_PERIOD, err) < 0 ||
                write_number(path, "cpu.cfs_quota_us", "cpu", quota, err) < 0)
                return -1;
        return write_number(path, "cpu.shares", "cpu_weight", (int64_t) MAX(shares, 2.0), err);
}

static int limit(const char *path, unsigned what, const struct job_spec *spec, struct error *err)
{
        char text[CGROUP_LIMIT_MAX];
        bool bfq;

        if (what & CGROUP_MEMORY && write_memory(path, what, spec, err) < 0)
                return -1;
        if (what & CGROUP_CPU && write_cpu(path, spec, err) < 0)
                return -1;
        if (what & CGROUP_PIDS &&
                cgroup_write(path, "pids.max", cgroup_limit_text(text, spec->limits.pids), err) < 0)
                return error_wrap(err, "limits.pids");
        if ((what & CGROUP_IO) == 0)
                return 0;
        bfq = cgroup_has(path, "blkio.bfq.weight"); /* 1..1000; the other: 10..1000 */
        return write_number(path, bfq ? "blkio.bfq.weight" : "blkio.weight", "io_weight",
                MIN(MAX(spec->limits.io_weight, bfq ? 1u : 10u), 1000u), err);
}

static void usage(const char *path, struct cgroup_usage *ret)
{
        uint64_t kills;

        if (!cgroup_has(path, "memory.usage_in_bytes"))
                return;
        ret->memory = cgroup_number(path, "memory.usage_in_bytes", NULL);
        ret->memory_peak = cgroup_number(path, "memory.max_usage_in_bytes", NULL);
        kills = cgroup_number(path, "memory.oom_control", "oom_kill"); /* since Linux 4.13 */
        if (kills != CGROUP_UNKNOWN)
                ret->oom_kills += kills;
}

/* Where CPU is counted by the controller that limits it: "cpu,cpuacct". */
static void vitals(const char *path, unsigned what, uint64_t *cpu_usec, uint64_t *memory)
{
        uint64_t nsec =
                what & CGROUP_CPU ? cgroup_number(path, "cpuacct.usage", NULL) : CGROUP_UNKNOWN;

        if (nsec != CGROUP_UNKNOWN)
                *cpu_usec = nsec / 1000;
        if (what & CGROUP_MEMORY)
                *memory = cgroup_number(path, "memory.usage_in_bytes", NULL);
}

/* Stopped by the freezer, if this is its tree, so that nobody forks away from under our hands; what
 * is frozen dies when it is thawed. */
static void kill_all(const char *path)
{
        bool freezer = cgroup_write(path, "freezer.state", "FROZEN", NULL) == 0;

        cgroup_kill_each(path);
        if (freezer)
                cgroup_write(path, "freezer.state", "THAWED", NULL);
}

const struct cgroup_version cgroup_v1 = { limit, usage, vitals, kill_all };
