/* SPDX-License-Identifier: BSD-3-Clause */
/* Limits: what one process is given, made ready in the agent and set by the child itself.
 *
 * Between clone and exec a child of ours has the agent's memory and may make raw system calls only
 * (spawn.c), so everything is put into the form that the kernel takes beforehand. The child sets
 * these while it still has the agent's rights: raising a limit, lowering a nice value or an
 * out-of-memory score needs them.
 *
 * Resource limits can be changed from outside (prlimit(2)), so a change of them reaches the
 * processes that are there. The others are inherited by threads and children as they come; a change
 * of them begins with the next run. */
#include "node/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/mem.h"
#include "node/raw.h"
#include "node/spawn.h"

#define IOPRIO_WHO_PROCESS 1
#define IOPRIO_CLASS_SHIFT 13

/* A run record tells of a failure by the place in this table: new ones go to the end. */
static const struct {
        const char *name;
        enum __rlimit_resource resource;
        size_t offset;
} resources[LIMITS_RESOURCES] = {
        { "files", RLIMIT_NOFILE, offsetof(struct job_spec, limits.files) },
        { "core", RLIMIT_CORE, offsetof(struct job_spec, limits.core) },
        { "stack", RLIMIT_STACK, offsetof(struct job_spec, limits.stack) },
        { "file_size", RLIMIT_FSIZE, offsetof(struct job_spec, limits.file_size) },
        { "locked_memory", RLIMIT_MEMLOCK, offsetof(struct job_spec, limits.locked_memory) },
        { "processes", RLIMIT_NPROC, offsetof(struct job_spec, limits.processes) },
        { "address_space", RLIMIT_AS, offsetof(struct job_spec, limits.address_space) },
};

static uint64_t limit_of(const struct job_spec *spec, size_t which)
{
        uint64_t limit;

        memcpy(&limit, (const char *) spec + resources[which].offset, sizeof limit);
        return limit;
}

static struct rlimit64 rlimit_of(uint64_t limit)
{
        rlim64_t value = limit == JOB_LIMIT_UNLIMITED ? RLIM64_INFINITY : limit;

        return (struct rlimit64){ value, value };
}

static void add_cpu(void *data, unsigned cpu)
{
        unsigned char *cpus = data;

        cpus[cpu / 8] = (unsigned char) (cpus[cpu / 8] | BIT(cpu % 8));
}

void limits_make(const struct job_spec *spec, struct limits *ret)
{
        *ret = (struct limits){ .nice = spec->nice, .io_priority = -1, .umask = spec->umask };
        for (size_t i = 0; i < LIMITS_RESOURCES; i++)
                if (limit_of(spec, i) != JOB_LIMIT_NONE) {
                        ret->resources[ret->resources_len].which = (int) i;
                        ret->resources[ret->resources_len++].value = rlimit_of(limit_of(spec, i));
                }
        if (spec->oom_score != JOB_NICE_NONE)
                snprintf(ret->oom_score, sizeof ret->oom_score, "%d", (int) spec->oom_score);
        if (spec->io.class != IO_CLASS_NONE)
                ret->io_priority = (int) spec->io.class << IOPRIO_CLASS_SHIFT |
                                   (spec->io.class == IO_CLASS_IDLE ? 0 : (int) spec->io.level);
        if (spec->cpus != NULL) {
                ret->cpus_size = JOB_CPUS_MAX / 8;
                ret->cpus = mem_alloc(ret->cpus_size);
                job_read_cpus(spec->cpus, add_cpu, ret->cpus);
        }
}

void limits_done(struct limits *limits)
{
        free(limits->cpus);
        limits->cpus = NULL;
}

/* ---- in the child */

static long write_oom_score(const char *score)
{
        long fd = raw_call(SYS_openat, AT_FDCWD, (long) "/proc/self/oom_score_adj",
                O_WRONLY | O_CLOEXEC, 0, 0);
        long len = 0, r;

        if (fd < 0)
                return fd;
        while (score[len] != '\0')
                len++;
        r = raw_call(SYS_write, fd, (long) score, len, 0, 0);
        raw_call(SYS_close, fd, 0, 0, 0, 0);
        return r;
}

long limits_give(const struct limits *limits, enum limits_step *ret_step)
{
        long r = 0;

        *ret_step = LIMITS_STEP_OOM_SCORE;
        if (limits->oom_score[0] != '\0' && (r = write_oom_score(limits->oom_score)) < 0)
                return r;
        *ret_step = LIMITS_STEP_NICE;
        if (limits->nice != JOB_NICE_NONE &&
                (r = raw_call(SYS_setpriority, PRIO_PROCESS, 0, limits->nice, 0, 0)) < 0)
                return r;
        *ret_step = LIMITS_STEP_IO;
        if (limits->io_priority >= 0 && (r = raw_call(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0,
                                                 limits->io_priority, 0, 0)) < 0)
                return r;
        *ret_step = LIMITS_STEP_CPUS;
        if (limits->cpus_size > 0 &&
                (r = raw_call(SYS_sched_setaffinity, 0, (long) limits->cpus_size,
                         (long) limits->cpus, 0, 0)) < 0)
                return r;
        if (limits->umask != JOB_UMASK_NONE)
                raw_call(SYS_umask, limits->umask, 0, 0, 0, 0);
        for (size_t i = 0; i < limits->resources_len; i++) {
                int which = limits->resources[i].which;

                *ret_step = LIMITS_STEP_RESOURCE + (unsigned) which;
                r = raw_call(SYS_prlimit64, 0, resources[which].resource,
                        (long) &limits->resources[i].value, 0, 0);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* ---- in the agent */

int limits_failure(const struct limits *limits, unsigned step, int sys_errno, struct error *err)
{
        switch (step) {
        case LIMITS_STEP_OOM_SCORE:
                return error_sys(err, sys_errno, "oom_score: set it to %s", limits->oom_score);
        case LIMITS_STEP_NICE:
                return error_sys(err, sys_errno, "nice: set it to %d", (int) limits->nice);
        case LIMITS_STEP_IO:
                return error_sys(err, sys_errno, "io: set class and level");
        case LIMITS_STEP_CPUS:
                return error_sys(err, sys_errno, "cpus: run on those only");
        default:
                return error_sys(err, sys_errno, "limits.%s: set it",
                        resources[(step - LIMITS_STEP_RESOURCE) % LIMITS_RESOURCES].name);
        }
}

/* What a process has that is given nothing: what this one has, but for open files (spawn.c). */
static struct rlimit64 inherited(enum __rlimit_resource resource)
{
        struct rlimit64 own = { RLIM64_INFINITY, RLIM64_INFINITY };

        if (resource == RLIMIT_NOFILE) {
                const struct rlimit *files = spawn_inherited_nofile();

                return (struct rlimit64){ files->rlim_cur, files->rlim_max };
        }
        getrlimit64(resource, &own);
        return own;
}

int limits_give_running(const struct job_spec *spec, pid_t pid, struct error *err)
{
        for (size_t i = 0; i < LIMITS_RESOURCES; i++) {
                uint64_t limit = limit_of(spec, i);
                struct rlimit64 now, wanted = limit == JOB_LIMIT_NONE
                                                      ? inherited(resources[i].resource)
                                                      : rlimit_of(limit);

                if (prlimit64(pid, resources[i].resource, NULL, &now) == 0 &&
                        now.rlim_cur == wanted.rlim_cur && now.rlim_max == wanted.rlim_max)
                        continue;
                if (prlimit64(pid, resources[i].resource, &wanted, NULL) < 0 && errno != ESRCH)
                        return error_sys(err, errno, "limits.%s: change it for process %d",
                                resources[i].name, (int) pid);
        }
        return 0;
}
