/* SPDX-License-Identifier: BSD-3-Clause */
/* Process: what /proc and the kernel tell of a process by its number. A number may be given away at
 * any time: who needs to know that it is still the same process compares start times, before and
 * after. */
#include "base/process.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

bool process_parse_stat(const char *text, struct process_stat *ret)
{
        const char *p = strrchr(text, ')');
        struct process_stat st = { 0 };
        int parent;

        if (p == NULL)
                return false;
        /* fields 3, 4, skip 5 to 19, 20, skip 21, 22; then 23 to 51, 52 */
        if (sscanf(p + 1,
                    " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %d %*d "
                    "%" SCNu64 " %*u %*d %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*d "
                    "%*d %*u %*u %*u "
                    "%*u %*d %*u %*u %*u %*u %*u %*u %*u %d",
                    &st.state, &parent, &st.threads, &st.start_ticks, &st.exit_code) < 4)
                return false;
        st.parent = parent;
        *ret = st;
        return true;
}

bool process_read_stat_text(pid_t pid, char *ret, size_t size)
{
        char path[32];
        ssize_t n;
        int fd;

        snprintf(path, sizeof path, "/proc/%d/stat", pid);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return false;
        n = read(fd, ret, size - 1);
        close(fd);
        if (n <= 0)
                return false;
        ret[n] = '\0';
        return true;
}

bool process_read_stat(pid_t pid, struct process_stat *ret)
{
        char text[PROCESS_STAT_TEXT_MAX];

        return process_read_stat_text(pid, text, sizeof text) && process_parse_stat(text, ret);
}

int process_open(pid_t pid)
{
        return (int) syscall(SYS_pidfd_open, pid, 0); /* close-on-exec always */
}
