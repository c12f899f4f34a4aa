/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* What the machine uses, from /proc/stat, /proc/meminfo and /proc/loadavg (proc(5)) and statvfs(3).
 * What is not to be found out is UINT64_MAX. */
struct vitals_machine {
        uint64_t cpu_usec; /* of all cores, since boot */
        uint64_t memory, memory_total;
        uint64_t disk, disk_total;
        uint64_t load; /* hundredths */
};

/* @root: "" but in tests: where /proc is. @data: on the disk that counts. */
void vitals_machine_read(const char *root, const char *data, struct vitals_machine *ret);

/* The parts that read texts. */
uint64_t vitals_parse_cpu(const char *stat);
uint64_t vitals_parse_load(const char *loadavg);
