/* SPDX-License-Identifier: BSD-3-Clause */
#include "node/vitals-machine.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/file.h"
#include "base/mem.h"
#include "node/machine.h"

#define TICK_USEC     10000
#define TEXT_FILE_MAX ((size_t) 4 * 1024 * 1024)

/* user nice system idle iowait irq softirq steal; guests are in user already. What was stolen was
 * not used. */
uint64_t vitals_parse_cpu(const char *stat)
{
        uint64_t user, nice, system, irq, softirq;

        if (sscanf(stat,
                    "cpu %20" SCNu64 " %20" SCNu64 " %20" SCNu64 " %*u %*u %20" SCNu64
                    " %20" SCNu64,
                    &user, &nice, &system, &irq, &softirq) != 5)
                return UINT64_MAX;
        return (user + nice + system + irq + softirq) * TICK_USEC;
}

uint64_t vitals_parse_load(const char *loadavg)
{
        unsigned whole, hundredths;

        if (sscanf(loadavg, "%8u.%2u ", &whole, &hundredths) != 2)
                return UINT64_MAX;
        return (uint64_t) whole * 100 + hundredths;
}

static const char *read_text(const char *root, const char *path, struct buffer *text)
{
        AUTO(mem_freep) char *whole = mem_printf("%s%s", root, path);

        buffer_reset(text);
        if (file_read(whole, TEXT_FILE_MAX, text, NULL) < 0)
                buffer_reset(text);
        return buffer_str(text);
}

/* As df(1) has it: what only root could still use is no part of it. */
static void read_disk(const char *data, struct vitals_machine *ret)
{
        struct statvfs st;

        if (statvfs(data, &st) < 0 || st.f_bfree > st.f_blocks)
                return;
        ret->disk = (uint64_t) (st.f_blocks - st.f_bfree) * st.f_frsize;
        ret->disk_total = ret->disk + (uint64_t) st.f_bavail * st.f_frsize;
}

void vitals_machine_read(const char *root, const char *data, struct vitals_machine *ret)
{
        AUTO(buffer_done) struct buffer text = { 0 };
        uint64_t available;

        *ret = (struct vitals_machine){ .disk = UINT64_MAX, .disk_total = UINT64_MAX };
        ret->cpu_usec = vitals_parse_cpu(read_text(root, "/proc/stat", &text));
        ret->load = vitals_parse_load(read_text(root, "/proc/loadavg", &text));
        ret->memory_total = machine_mem_total(read_text(root, "/proc/meminfo", &text));
        available = machine_mem_available(buffer_str(&text));
        ret->memory = ret->memory_total == MACHINE_UNKNOWN || available == MACHINE_UNKNOWN
                              ? UINT64_MAX
                              : ret->memory_total - MIN(available, ret->memory_total);
        read_disk(data, ret);
}
