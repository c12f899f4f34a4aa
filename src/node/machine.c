/* SPDX-License-Identifier: BSD-3-Clause */
/* Machine: attributes and capacity of the node.
 *
 * What counts is what the agent's tasks can have, not what the machine has: the CPUs of our
 * affinity (which a cpuset cuts), the quota and the memory limit of our cgroup and of every one
 * above it.
 *
 * cgroup v2 is mounted on /sys/fs/cgroup; v1 has a directory per controller there; "hybrid" is v1
 * with a v2 hierarchy beside it that has no controllers (systemd: docs/CGROUP_DELEGATION.md). In a
 * container /proc/self/cgroup may name a path that is not there, because the container sees its own
 * group as the root: then the root is ours. */
#include "node/machine.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/macros.h"
#include "base/mem.h"
#include "base/text.h"

#define TEXT_FILE_MAX (64 * 1024)
#define CPUS_MAX      65536
#define V1_NO_LIMIT                                                                                \
        ((uint64_t) INT64_MAX / 2) /* v1 says "none" by the largest page-aligned number */
#define MILLI 1000

/* ---- texts */

/* The text behind @prefix at the beginning of a line; NULL if there is no such line. Borrowed. */
static const char *find_line(const char *text, const char *prefix, size_t prefix_len)
{
        while (text != NULL && *text != '\0') {
                if (strncmp(text, prefix, prefix_len) == 0)
                        return text + prefix_len;
                text = strchr(text, '\n');
                text += text != NULL;
        }
        return NULL;
}

char *machine_os_release(const char *text, const char *name)
{
        AUTO(mem_freep) char *prefix = mem_printf("%s=", name);
        const char *value = find_line(text, prefix, strlen(prefix));
        size_t len;

        if (value == NULL)
                return NULL;
        len = strcspn(value, "\n");
        if (len >= 2 && (value[0] == '"' || value[0] == '\'') && value[len - 1] == value[0]) {
                value++;
                len -= 2;
        }
        return len > 0 ? mem_strndup(value, len) : NULL;
}

/* True if the controllers, with commas between them, have that one. */
static bool has_controller(const char *list, size_t len, const char *controller)
{
        size_t n = strlen(controller);

        for (const char *end = list + len; list < end; list += strcspn(list, ",:") + 1)
                if (strncmp(list, controller, n) == 0 && (list[n] == ',' || list + n == end))
                        return true;
        return false;
}

char *machine_cgroup_path(const char *text, const char *controller)
{
        for (; text != NULL && *text != '\0'; text = strchr(text, '\n'), text += text != NULL) {
                size_t line = strcspn(text, "\n");
                const char *list = memchr(text, ':', line), *path;
                size_t len;

                if (list == NULL)
                        continue;
                list++;
                path = memchr(list, ':', line - (size_t) (list - text));
                if (path == NULL || path[1] != '/')
                        continue;
                len = (size_t) (path - list);
                path++;
                if (controller == NULL ? len == 0 : has_controller(list, len, controller))
                        return mem_strndup(path, line - (size_t) (path - text));
        }
        return NULL;
}

static uint64_t read_mem(const char *text, const char *name)
{
        const char *value = find_line(text, name, strlen(name));
        unsigned long long kib;

        if (value == NULL || sscanf(value, " %20llu kB", &kib) != 1 || kib > UINT64_MAX / 1024)
                return MACHINE_UNKNOWN;
        return (uint64_t) kib * 1024;
}

uint64_t machine_mem_total(const char *text)
{
        return read_mem(text, "MemTotal:");
}

uint64_t machine_mem_available(const char *text)
{
        return read_mem(text, "MemAvailable:");
}

/* ---- files */

/* The text of a file below the root; "" if it cannot be read. */
static const char *read_text(
        const struct machine_config *config, const char *path, struct buffer *text)
{
        AUTO(mem_freep) char *whole = mem_printf("%s%s", config->root, path);

        buffer_reset(text);
        if (file_read(whole, TEXT_FILE_MAX, text, NULL) < 0)
                buffer_reset(text);
        return buffer_str(text);
}

static bool is_there(const struct machine_config *config, const char *path)
{
        AUTO(mem_freep) char *whole = mem_printf("%s%s", config->root, path);

        return access(whole, F_OK) == 0;
}

/* A number that is all of a file; MACHINE_UNKNOWN for "max", or if there is no such file. */
static uint64_t read_number(const struct machine_config *config, const char *path)
{
        AUTO(buffer_done) struct buffer text = { 0 };
        unsigned long long number;

        if (sscanf(read_text(config, path, &text), "%20llu", &number) != 1)
                return MACHINE_UNKNOWN;
        return number;
}

/* ---- cgroups */

static const char *cgroup_version(const struct machine_config *config)
{
        if (is_there(config, "/sys/fs/cgroup/cgroup.controllers"))
                return "2";
        if (is_there(config, "/sys/fs/cgroup/unified/cgroup.procs"))
                return "hybrid";
        return is_there(config, "/sys/fs/cgroup/memory") || is_there(config, "/sys/fs/cgroup/cpu")
                       ? "1"
                       : NULL;
}

/* The smallest that @read finds in the group @path and all above it, below the mount point @at. */
static uint64_t least_of(const struct machine_config *config, const char *at, const char *path,
        uint64_t (*read)(const struct machine_config *config, const char *directory))
{
        AUTO(mem_freep) char *group = mem_strdup(path != NULL ? path : "/");
        uint64_t least = MACHINE_UNKNOWN;

        for (;;) {
                AUTO(mem_freep) char *directory = mem_printf("%s%s", at, group);
                char *slash = strrchr(group, '/');

                least = MIN(least, read(config, directory));
                if (slash == NULL)
                        return least;
                *slash = '\0';
        }
}

static uint64_t read_memory_v2(const struct machine_config *config, const char *directory)
{
        AUTO(mem_freep) char *path = mem_printf("%s/memory.max", directory);

        return read_number(config, path);
}

static uint64_t read_memory_v1(const struct machine_config *config, const char *directory)
{
        AUTO(mem_freep) char *path = mem_printf("%s/memory.limit_in_bytes", directory);
        uint64_t limit = read_number(config, path);

        return limit < V1_NO_LIMIT ? limit : MACHINE_UNKNOWN;
}

static uint64_t quota(uint64_t time, uint64_t period)
{
        if (time == MACHINE_UNKNOWN || period == MACHINE_UNKNOWN || period == 0 ||
                time > UINT32_MAX * period)
                return MACHINE_UNKNOWN;
        return time * MILLI / period;
}

static uint64_t read_cpu_v2(const struct machine_config *config, const char *directory)
{
        AUTO(mem_freep) char *path = mem_printf("%s/cpu.max", directory);
        AUTO(buffer_done) struct buffer text = { 0 };
        unsigned long long time, period;

        if (sscanf(read_text(config, path, &text), "%12llu %12llu", &time, &period) != 2)
                return MACHINE_UNKNOWN; /* "max 100000" */
        return quota(time, period);
}

static uint64_t read_cpu_v1(const struct machine_config *config, const char *directory)
{
        AUTO(mem_freep) char *time = mem_printf("%s/cpu.cfs_quota_us", directory);
        AUTO(mem_freep) char *period = mem_printf("%s/cpu.cfs_period_us", directory);
        uint64_t n = read_number(config, time); /* -1 without one, which is huge unsigned */

        return n < UINT32_MAX ? quota(n, read_number(config, period)) : MACHINE_UNKNOWN;
}

static void find_limits(
        const struct machine_config *config, uint64_t *ret_memory, uint64_t *ret_cpu)
{
        AUTO(buffer_done) struct buffer text = { 0 };
        const char *groups = read_text(config, "/proc/self/cgroup", &text);
        AUTO(mem_freep) char *unified = machine_cgroup_path(groups, NULL);
        AUTO(mem_freep) char *memory = machine_cgroup_path(groups, "memory");
        AUTO(mem_freep) char *cpu = machine_cgroup_path(groups, "cpu");

        if (is_there(config, "/sys/fs/cgroup/cgroup.controllers")) {
                *ret_memory = least_of(config, "/sys/fs/cgroup", unified, read_memory_v2);
                *ret_cpu = least_of(config, "/sys/fs/cgroup", unified, read_cpu_v2);
        } else {
                *ret_memory = least_of(config, "/sys/fs/cgroup/memory", memory, read_memory_v1);
                *ret_cpu = least_of(config, "/sys/fs/cgroup/cpu", cpu, read_cpu_v1);
        }
}

/* ---- capacity */

static uint32_t count_cores(void)
{
        for (int n = 1024; n <= CPUS_MAX; n *= 2) {
                cpu_set_t *set = CPU_ALLOC((size_t) n);
                size_t size = CPU_ALLOC_SIZE((size_t) n);
                int r, cores;

                if (set == NULL)
                        break;
                r = sched_getaffinity(0, size, set);
                cores = r == 0 ? CPU_COUNT_S(size, set) : 0;
                CPU_FREE(set);
                if (cores > 0)
                        return (uint32_t) cores;
                if (errno != EINVAL) /* the kernel's set is larger */
                        break;
        }
        return (uint32_t) MAX(sysconf(_SC_NPROCESSORS_ONLN), 1L);
}

static uint64_t free_disk(const char *data)
{
        struct statvfs st;

        if (statvfs(data, &st) < 0) {
                log_warning("free space of %s: %s", data, strerror(errno));
                return 0;
        }
        return (uint64_t) st.f_bavail * st.f_frsize;
}

static void find_capacity(const struct machine_config *config, struct machine *m)
{
        AUTO(buffer_done) struct buffer text = { 0 };
        uint64_t memory, cpu, total;

        find_limits(config, &memory, &cpu);
        total = machine_mem_total(read_text(config, "/proc/meminfo", &text));
        m->cores = count_cores();
        m->cpu = (uint32_t) MIN((uint64_t) m->cores * MILLI, cpu);
        m->memory = MIN(total, memory);
        if (m->memory == MACHINE_UNKNOWN)
                m->memory = 0;
        m->disk = free_disk(config->data);
        if (config->cpu != 0)
                m->cpu = config->cpu;
        if (config->memory != 0)
                m->memory = config->memory;
        if (config->disk != 0)
                m->disk = config->disk;
}

/* ---- attributes */

/* What the machine says of itself may be no value; that is no reason not to start. */
static void set_found(struct attributes *a, const char *name, const char *value)
{
        struct error err = ERROR_INIT;

        if (value != NULL && attributes_set(a, name, value, &err) < 0)
                log_warning("this machine's attribute %s: %s", name, err.message);
}

static void set_number(struct attributes *a, const char *name, uint64_t number)
{
        char text[24];

        snprintf(text, sizeof text, "%" PRIu64, number);
        set_found(a, name, text);
}

/* "debian 12"; rolling distributions have no version. */
static void set_os(const struct machine_config *config, struct attributes *a)
{
        AUTO(buffer_done) struct buffer text = { 0 };
        const char *release = read_text(config, "/etc/os-release", &text);
        AUTO(mem_freep) char *id = NULL;
        AUTO(mem_freep) char *version = NULL;
        AUTO(mem_freep) char *both = NULL;

        if (*release == '\0')
                release = read_text(config, "/usr/lib/os-release", &text);
        id = machine_os_release(release, "ID");
        version = machine_os_release(release, "VERSION_ID");
        if (id == NULL)
                return;
        both = mem_printf("%s%s%s", id, version != NULL ? " " : "", version != NULL ? version : "");
        set_found(a, ATTRIBUTE_OS, both);
}

static int set_attributes(const struct machine_config *config, struct machine *m, struct error *err)
{
        struct attributes *a = &m->attributes;
        char host[256] = "";
        struct utsname system_name;

        uname(&system_name);
        set_found(a, ATTRIBUTE_ARCH, system_name.machine);
        set_found(a, ATTRIBUTE_KERNEL, system_name.release);
        set_found(a, ATTRIBUTE_CGROUP, cgroup_version(config));
        set_found(a, ATTRIBUTE_VERSION, REEVE_VERSION);
        if (gethostname(host, sizeof host - 1) == 0)
                set_found(a, "hostname", host);
        set_os(config, a);
        set_number(a, ATTRIBUTE_CORES, m->cores);
        set_number(a, ATTRIBUTE_MEMORY, m->memory);
        set_number(a, ATTRIBUTE_DISK, m->disk);
        for (size_t i = 0; i < config->attributes_len; i++)
                if (attributes_set_pair(a, config->attributes[i], err) < 0)
                        return error_wrap(err, "--attr %s", config->attributes[i]);
        if (config->zone != NULL && attributes_set(a, ATTRIBUTE_ZONE, config->zone, err) < 0)
                return error_wrap(err, "--zone %s", config->zone);
        return attributes_set(a, ATTRIBUTE_NAME, config->name, err);
}

int machine_find(const struct machine_config *config, struct machine *ret, struct error *err)
{
        struct machine m = { 0 };

        find_capacity(config, &m);
        if (set_attributes(config, &m, err) < 0) {
                machine_done(&m);
                return -1;
        }
        *ret = m;
        return 0;
}

void machine_done(struct machine *m)
{
        attributes_done(&m->attributes);
}
