/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "base/error.h"
#include "model/job.h"

/* What one process is given by the kernel: resource limits, nice value, class of its disk accesses,
 * CPUs, out-of-memory score, umask. (What holds for all processes of a task together: cgroup.h.) */

#define LIMITS_RESOURCES 7

struct limits {
        struct {
                int which; /* into the table of limits.c */
                struct rlimit64 value;
        } resources[LIMITS_RESOURCES];
        size_t resources_len;
        char oom_score[12]; /* as it is written; "": it stays */
        int32_t nice;       /* JOB_NICE_NONE: it stays */
        int io_priority;    /* as ioprio_set(2) takes it; -1: it stays */
        uint32_t umask;     /* JOB_UMASK_NONE: it stays */
        unsigned char *cpus;
        size_t cpus_size; /* 0: they stay */
};

/* At which of these a start failed; the numbers are kept in run records. */
enum limits_step {
        LIMITS_STEP_OOM_SCORE,
        LIMITS_STEP_NICE,
        LIMITS_STEP_IO,
        LIMITS_STEP_CPUS,
        LIMITS_STEP_RESOURCE, /* the first resource of the table, and so on */
        LIMITS_STEPS = LIMITS_STEP_RESOURCE + LIMITS_RESOURCES
};

/* limits_done() frees it. */
void limits_make(const struct job_spec *spec, struct limits *ret);
void limits_done(struct limits *limits);

/* In a child that borrows its parent's memory, while it still has the rights of its parent. Returns
 * 0, or a negative errno and the step. */
long limits_give(const struct limits *limits, enum limits_step *ret_step);

/* The sentence for a step that failed. Returns -1. */
int limits_failure(const struct limits *limits, unsigned step, int sys_errno, struct error *err);

/* Gives a running process the resource limits of @spec, and those that it does not name as this
 * process had them at its start. A process that is gone is fine. */
int limits_give_running(const struct job_spec *spec, pid_t pid, struct error *err);
