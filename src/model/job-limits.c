/* SPDX-License-Identifier: BSD-3-Clause */
/* The fields of a job spec about what a task may use: the sections `limits` and `io`.
 *
 * A change of a limit never needs a new run: the agent applies it to the processes that are there
 * (node/limits.c). */
#include <ctype.h>
#include <stdlib.h>

#include "model/job-fields.h"

#define AT(member) offsetof(struct job_spec, member)
#define WEIGHT_MAX 10000
#define SIZE_MOST  ((uint64_t) 1 << 60) /* no machine has as much */

static const char *const io_class_names[] = { "none", "realtime", "best-effort", "idle", NULL };

const struct job_field job_io_fields[] = {
        { .name = "class",
                .path = "io.class",
                .type = FIELD_ENUM,
                .needs_restart = true,
                .names = io_class_names,
                .offset = AT(io.class),
                .has_default = true,
                .initial = IO_CLASS_NONE,
                .help = "`realtime` before all others (needs root), then `best-effort`, and `idle` "
                        "when nobody else wants the disk. `none`: as `nice` has it.",
                .example = "idle" },
        { .name = "level",
                .path = "io.level",
                .type = FIELD_COUNT,
                .needs_restart = true,
                .offset = AT(io.level),
                .has_default = true,
                .initial = 4,
                .max = 7,
                .help = "Among those of class `realtime` or `best-effort`: 0 goes first.",
                .example = "7" },
        { 0 },
};

const struct job_field job_limits_fields[] = {
        { .name = "memory",
                .path = "limits.memory",
                .type = FIELD_LIMIT_SIZE,
                .offset = AT(limits.memory),
                .min = 256 * 1024,
                .max = SIZE_MOST,
                .without = "no limit",
                .help = "Memory. What goes beyond it makes the kernel kill a process of the task.",
                .example = "512MiB" },
        { .name = "swap",
                .path = "limits.swap",
                .type = FIELD_LIMIT_SIZE,
                .offset = AT(limits.swap),
                .max = SIZE_MOST,
                .without = "no limit",
                .help = "Swap space, beside `memory`. Version 1 cgroups limit both together, so "
                        "there it needs `memory`.",
                .example = "0" },
        { .name = "cpu",
                .path = "limits.cpu",
                .type = FIELD_MILLI,
                .offset = AT(limits.cpu),
                .has_default = true,
                .max = JOB_CPU_MAX * 1000,
                .help = "CPU time, in cores, of every tenth of a second; then it waits for the "
                        "next. 0: no limit. Less than 0.01 is 0.01.",
                .example = "1.5" },
        { .name = "cpu_weight",
                .path = "limits.cpu_weight",
                .type = FIELD_COUNT,
                .offset = AT(limits.cpu_weight),
                .has_default = true,
                .initial = 100,
                .min = 1,
                .max = WEIGHT_MAX,
                .help = "Its share when CPU time is short: one with 200 gets twice as much as one "
                        "with 100.",
                .example = "200" },
        { .name = "pids",
                .path = "limits.pids",
                .type = FIELD_LIMIT,
                .offset = AT(limits.pids),
                .min = 1,
                .max = 4194304,
                .without = "no limit",
                .help = "Processes and threads. With as many as that it cannot fork.",
                .example = "64" },
        { .name = "io_weight",
                .path = "limits.io_weight",
                .type = FIELD_COUNT,
                .offset = AT(limits.io_weight),
                .has_default = true,
                .initial = 100,
                .min = 1,
                .max = WEIGHT_MAX,
                .help = "Its share when a disk is busy.",
                .example = "50" },
        { .name = "over",
                .path = "limits.over",
                .type = FIELD_ENUM,
                .names = restart_action_names,
                .offset = AT(limits.over),
                .has_default = true,
                .initial = RESTART_ACTION_RESTART,
                .help = "Where the kernel does not limit memory for us, the agent looks every "
                        "second; what processes share counts for each. A run that is over the "
                        "limit is stopped; then the restart policy counts a failure (`restart`), "
                        "or there is no further run (`end`).",
                .example = "end" },
        { .name = "files",
                .path = "limits.files",
                .type = FIELD_LIMIT,
                .offset = AT(limits.files),
                .min = 3,
                .max = 1073741816,
                .without = "that with which Reeve was started, as for all that follow",
                .help = "Open files (`RLIMIT_NOFILE`, getrlimit(2)).",
                .example = "65536" },
        { .name = "core",
                .path = "limits.core",
                .type = FIELD_LIMIT_SIZE,
                .offset = AT(limits.core),
                .max = SIZE_MOST,
                .without = "as above",
                .help = "A core file (`RLIMIT_CORE`).",
                .example = "unlimited" },
        { .name = "stack",
                .path = "limits.stack",
                .type = FIELD_LIMIT_SIZE,
                .offset = AT(limits.stack),
                .min = 64 * 1024,
                .max = SIZE_MOST,
                .without = "as above",
                .help = "The stack of a process (`RLIMIT_STACK`).",
                .example = "8MiB" },
        { .name = "file_size",
                .path = "limits.file_size",
                .type = FIELD_LIMIT_SIZE,
                .offset = AT(limits.file_size),
                .max = SIZE_MOST,
                .without = "as above",
                .help = "A file that is written (`RLIMIT_FSIZE`).",
                .example = "1GiB" },
        { .name = "locked_memory",
                .path = "limits.locked_memory",
                .type = FIELD_LIMIT_SIZE,
                .offset = AT(limits.locked_memory),
                .max = SIZE_MOST,
                .without = "as above",
                .help = "Memory that is locked (`RLIMIT_MEMLOCK`).",
                .example = "unlimited" },
        { .name = "processes",
                .path = "limits.processes",
                .type = FIELD_LIMIT,
                .offset = AT(limits.processes),
                .min = 1,
                .max = 4194304,
                .without = "as above",
                .help = "Processes of its user, of whatever task they are (`RLIMIT_NPROC`); `pids` "
                        "is mostly what is meant.",
                .example = "200" },
        { .name = "address_space",
                .path = "limits.address_space",
                .type = FIELD_LIMIT_SIZE,
                .offset = AT(limits.address_space),
                .min = 1024 * 1024,
                .max = SIZE_MOST,
                .without = "as above",
                .help = "The address space of a process (`RLIMIT_AS`).",
                .example = "4GiB" },
        { 0 },
};

bool job_read_cpus(const char *text, void (*each)(void *data, unsigned cpu), void *data)
{
        do {
                unsigned long first, last;
                char *end;

                if (!isdigit((unsigned char) *text))
                        return false;
                first = last = strtoul(text, &end, 10);
                if (*end == '-' && isdigit((unsigned char) end[1]))
                        last = strtoul(end + 1, &end, 10);
                if (first > last || last >= JOB_CPUS_MAX || (*end != '\0' && *end != ','))
                        return false;
                for (; each != NULL && first <= last; first++)
                        each(data, (unsigned) first);
                text = end + 1;
                if (*end == '\0')
                        return true;
        } while (true);
}
