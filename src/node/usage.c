/* SPDX-License-Identifier: BSD-3-Clause */
/* Usage: one line of /proc/PID/stat says what a process has used and whose it is. The ticks in it
 * are hundredths of a second on every architecture that we run on. What a process has used counts
 * for itself until it was waited for, then for its parent: so the sum over those that are there
 * grows as long as parents wait for their children. */
#include "node/usage.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/process.h"

#define TICK_USEC 10000

bool usage_parse(const char *text, struct usage *ret, pid_t *ret_session)
{
        const char *p = strrchr(text, ')');
        uint64_t user, system, children_user, children_system;
        int64_t pages;
        int session;

        /* fields 6, 14 to 17, 24 */
        if (p == NULL ||
                sscanf(p + 1,
                        " %*c %*d %*d %d %*d %*d %*u %*u %*u %*u %*u %20" SCNu64 " %20" SCNu64
                        " %20" SCNu64 " %20" SCNu64 " %*d %*d %*d %*d %*u %*u %20" SCNd64,
                        &session, &user, &system, &children_user, &children_system, &pages) != 6)
                return false;
        *ret = (struct usage){ .cpu_usec = (user + system + children_user + children_system) *
                                           TICK_USEC,
                .memory = pages > 0 ? (uint64_t) pages * (uint64_t) sysconf(_SC_PAGESIZE) : 0 };
        if (ret_session != NULL)
                *ret_session = session;
        return true;
}

bool usage_read(pid_t pid, struct usage *ret, pid_t *ret_session)
{
        char text[PROCESS_STAT_TEXT_MAX];

        return process_read_stat_text(pid, text, sizeof text) &&
               usage_parse(text, ret, ret_session);
}

void usage_add(void *sum, pid_t pid)
{
        struct usage *all = sum, one;

        if (!usage_read(pid, &one, NULL))
                return;
        all->cpu_usec += one.cpu_usec;
        all->memory += one.memory;
}

struct usage usage_of_session(pid_t session)
{
        DIR *directory = opendir("/proc");
        struct usage sum = { 0 }, one;
        pid_t whose;

        if (directory == NULL)
                return sum;
        for (const struct dirent *e; (e = readdir(directory)) != NULL;) {
                pid_t pid = atoi(e->d_name);

                if (pid > 0 && usage_read(pid, &one, &whose) && whose == session) {
                        sum.cpu_usec += one.cpu_usec;
                        sum.memory += one.memory;
                }
        }
        closedir(directory);
        return sum;
}
