/* SPDX-License-Identifier: BSD-3-Clause */
/* The files of cgroups: each one line, or lines of a key and a number; and the kill that needs no
 * kernel's help. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "node/cgroup-internal.h"

#define FILE_MAX    ((size_t) 4 * 1024 * 1024)
#define KILL_ROUNDS 16 /* they may fork while we look */

static char *join(const char *path, const char *file)
{
        return mem_printf("%s/%s", path, file);
}

int cgroup_write(const char *path, const char *file, const char *text, struct error *err)
{
        AUTO(mem_freep) char *name = join(path, file);
        AUTO(fd_closep) int fd = open(name, O_WRONLY | O_CLOEXEC);

        if (fd < 0 || write(fd, text, strlen(text)) < 0)
                return error_sys(err, errno, "write %s to %s", text, name);
        return 0;
}

bool cgroup_has(const char *path, const char *file)
{
        AUTO(mem_freep) char *name = join(path, file);

        return access(name, F_OK) == 0;
}

const char *cgroup_read(const char *path, const char *file, struct buffer *text)
{
        AUTO(mem_freep) char *name = join(path, file);

        if (file_read(name, FILE_MAX, text, NULL) < 0 || text->len == 0)
                return "";
        return buffer_str(text);
}

/* Read often, and short: one read has it. */
uint64_t cgroup_number(const char *path, const char *file, const char *key)
{
        AUTO(mem_freep) char *name = join(path, file);
        AUTO(fd_closep) int fd = open(name, O_RDONLY | O_CLOEXEC);
        char text[4096];
        ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
        size_t len = key != NULL ? strlen(key) : 0;
        const char *line = text;
        uint64_t number;

        text[MAX(n, 0)] = '\0';
        while (key != NULL && *line != '\0' && (strncmp(line, key, len) != 0 || line[len] != ' ')) {
                line += strcspn(line, "\n");
                line += *line == '\n';
        }
        if (*line == '\0' || sscanf(line + len, "%20" SCNu64, &number) != 1)
                return CGROUP_UNKNOWN;
        return number;
}

static bool kill_round(const char *path)
{
        AUTO(buffer_done) struct buffer text = { 0 };
        const char *line = cgroup_read(path, "cgroup.procs", &text);
        bool any = false;

        for (char *end; *line != '\0'; line = end + (*end == '\n')) {
                long pid = strtol(line, &end, 10);

                if (end == line)
                        break;
                if (pid > 1 && pid != getpid() && kill((pid_t) pid, SIGKILL) == 0)
                        any = true;
        }
        return any;
}

/* A pid that is read here can be given to another process before the signal is sent only if its
 * owner ends and the kernel goes through all numbers in between. */
void cgroup_kill_each(const char *path)
{
        for (int round = 0; round < KILL_ROUNDS && kill_round(path); round++)
                ;
}

const char *cgroup_limit_text(char text[CGROUP_LIMIT_MAX], uint64_t limit)
{
        if (cgroup_is_limit(limit))
                snprintf(text, CGROUP_LIMIT_MAX, "%" PRIu64, limit);
        else
                snprintf(text, CGROUP_LIMIT_MAX, "max");
        return text;
}

/* The kernel takes a millisecond at least. */
uint64_t cgroup_cpu_quota(uint32_t milli)
{
        return MAX((uint64_t) milli * (CGROUP_CPU_PERIOD / 1000), (uint64_t) 1000);
}
