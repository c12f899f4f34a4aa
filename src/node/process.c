/* SPDX-License-Identifier: BSD-3-Clause */
#include "node/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"
#include "base/macros.h"
#include "base/pidfd.h"

#define PIDFD_SIGNAL_GROUP (1u << 2) /* Linux 6.9; Debian 12's headers are older */

static const uint64_t tick_ns = 10000000; /* USER_HZ is 100 on every architecture that we run on */

bool process_matches(const struct table_run *record, uint64_t start_ticks)
{
        return start_ticks >= record->before_ns / tick_ns &&
               start_ticks <= record->after_ns / tick_ns;
}

bool process_began_before(uint64_t start_ticks, const struct table_run *record)
{
        return start_ticks <= record->after_ns / tick_ns;
}

enum process_end process_ended(int pidfd, const struct table_run *record, int *ret_status)
{
        struct process_stat st;

        if (pidfd >= 0 && pidfd_exit_status(pidfd, ret_status))
                return PROCESS_END_KNOWN;
        if (process_read_stat(record->pid, &st) && process_matches(record, st.start_ticks)) {
                if (st.state != 'Z' || st.threads > 1) /* or only its first thread has ended */
                        return PROCESS_END_NOT_YET;
                if (geteuid() != 0)
                        return PROCESS_END_NOT_YET; /* the kernel may show 0 to those who may not
                                                       know */
                *ret_status = st.exit_code;
                return PROCESS_END_KNOWN;
        }
        if (pidfd >= 0 && pidfd_exit_status(pidfd, ret_status)) /* reaped meanwhile */
                return PROCESS_END_KNOWN;
        return PROCESS_END_UNKNOWN;
}

static bool ends_by_default(int signal)
{
        switch (signal) {
        case SIGCHLD:
        case SIGCONT:
        case SIGURG:
        case SIGWINCH:
        case SIGSTOP:
        case SIGTSTP:
        case SIGTTIN:
        case SIGTTOU:
                return false;
        default:
                return true;
        }
}

bool process_would_end(pid_t pid, int signal)
{
        static const char *const lines[] = { "\nSigBlk:", "\nSigIgn:", "\nSigCgt:" };
        AUTO(buffer_done) struct buffer status = { 0 };
        char path[40];
        struct error err;
        unsigned long long seen = 0;

        snprintf(path, sizeof path, "/proc/%d/status", (int) pid);
        if (signal <= 0 || !ends_by_default(signal) ||
                file_read(path, 16 * 1024, &status, &err) < 0)
                return false;
        for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
                const char *at = strstr(buffer_str(&status), lines[i]);

                if (at == NULL)
                        return false;
                seen |= strtoull(at + strlen(lines[i]), NULL, 16);
        }
        return (seen >> (signal - 1) & 1) == 0;
}

void process_signal_group(int pidfd, pid_t pid, int signal)
{
        if (syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, PIDFD_SIGNAL_GROUP) == 0)
                return;
        if (errno == EINVAL) /* an older kernel: the group's number is free for reuse only when the
                                whole group is gone */
                kill(-pid, signal);
}

#define ENVIRONMENT_MAX ((size_t) 1024 * 1024)
#define CHILDREN_MAX    ((size_t) 1024 * 1024)
#define LEFTOVER_ROUNDS 8 /* they may fork while we look */

static bool has_variable(const struct buffer *environment, const char *variable)
{
        const char *p = buffer_str(environment), *end = p + environment->len;

        for (; p < end; p += strlen(p) + 1)
                if (strcmp(p, variable) == 0)
                        return true;
        return false;
}

bool process_is_of_run(pid_t pid, const char *id, uint64_t run)
{
        AUTO(buffer_done) struct buffer environment = { 0 };
        char path[40], task[128], number[40];
        struct error err;

        snprintf(path, sizeof path, "/proc/%d/environ", pid);
        snprintf(task, sizeof task, "REEVE_TASK=%s", id);
        snprintf(number, sizeof number, "REEVE_RUN=%" PRIu64, run);
        return file_read(path, ENVIRONMENT_MAX, &environment, &err) == 0 &&
               has_variable(&environment, task) && has_variable(&environment, number);
}

static bool is_leftover(pid_t pid, pid_t group, const char *id, uint64_t run)
{
        return getpgid(pid) == group && process_is_of_run(pid, id, run);
}

void process_each(void (*each)(void *data, pid_t pid), void *data)
{
        DIR *directory = opendir("/proc");

        if (directory == NULL)
                return;
        for (const struct dirent *e; (e = readdir(directory)) != NULL;) {
                pid_t pid = atoi(e->d_name);

                if (pid > 0)
                        each(data, pid);
        }
        closedir(directory);
}

void process_each_child(pid_t parent, void (*each)(void *data, pid_t pid), void *data)
{
        AUTO(buffer_done) struct buffer text = { 0 };
        char path[64], *p;
        struct error err;

        snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int) parent, (int) parent);
        if (file_read_stream(path, CHILDREN_MAX, &text, &err) < 0)
                return;
        buffer_str(&text);
        for (p = text.data; p != NULL && *p != '\0';) {
                char *end;
                long pid = strtol(p, &end, 10);

                if (end == p)
                        return;
                each(data, (pid_t) pid);
                p = end + strspn(end, " \n");
        }
}

/* True if it was one and is told to end. */
static bool kill_leftover(pid_t pid, pid_t group, const char *id, uint64_t run)
{
        AUTO(fd_closep) int pidfd = -1;

        if (!is_leftover(pid, group, id, run))
                return false;
        pidfd = process_open(pid);
        return pidfd >= 0 && is_leftover(pid, group, id, run) &&
               syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) == 0;
}

void process_kill_group(int pidfd, pid_t group, const char *id, uint64_t run)
{
        if (syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, PIDFD_SIGNAL_GROUP) < 0 &&
                errno == EINVAL)
                process_kill_leftovers(group, id, run);
}

void process_kill_leftovers(pid_t group, const char *id, uint64_t run)
{
        bool found = true;

        for (int round = 0; round < LEFTOVER_ROUNDS && found && kill(-group, 0) == 0; round++) {
                DIR *directory = opendir("/proc");

                found = false;
                if (directory == NULL)
                        return;
                for (const struct dirent *e; (e = readdir(directory)) != NULL;) {
                        pid_t pid = atoi(e->d_name);

                        if (pid > 0 && kill_leftover(pid, group, id, run))
                                found = true;
                }
                closedir(directory);
        }
}
