/* SPDX-License-Identifier: BSD-3-Clause */

/* Records: how children ended, kept until the agent has them on disk.
 *
 * A child stays a zombie, and its pid its own, until it is reaped. So its start time is read
 * between the look (WNOWAIT) and the reaping: with the pid it is its name for good.
 *
 * The ring is fixed. When it is full, children are simply not reaped: the kernel keeps their
 * statuses, a few hundred bytes each, and no SIGCHLD comes twice; the acknowledgement that makes
 * room is what starts the reaping again. WNOWAIT would show the same first zombie for ever, so the
 * keeper's own programs are looked for by their pids, before and apart from that: they are started
 * again however full the ring is.
 *
 * What is not decided here: which child was which task, what its end means, and what becomes of the
 * rest of its process group, unless it was killed: the group of one that a daemon forked on its way
 * to the background is the daemon's. The agent knows. */
#include "keeper/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "keeper/heapless.h"

/* Children whose exit signal is not SIGCHLD count too: __WALL. */
#define ENDED (WEXITED | WNOHANG | __WALL)

static uint64_t clock_usec(clockid_t clock)
{
        struct timespec ts;
        clock_gettime(clock, &ts);
        return (uint64_t) ts.tv_sec * USEC_PER_SEC + (uint64_t) ts.tv_nsec / 1000;
}

static uint64_t timeval_usec(struct timeval tv)
{
        return (uint64_t) tv.tv_sec * USEC_PER_SEC + (uint64_t) tv.tv_usec;
}

/* Field 22 of /proc/PID/stat. Field 2 is the program's name in brackets and may hold anything, also
 * brackets and spaces: the fields after it are counted from the last one. */
static uint64_t read_start_ticks(pid_t pid)
{
        char path[32], text[1024];
        snprintf(path, sizeof path, "/proc/%d/stat", pid);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return 0;
        ssize_t length = read(fd, text, sizeof text - 1);
        close(fd);
        if (length <= 0)
                return 0;
        text[length] = '\0';

        const char *field = strrchr(text, ')');
        for (int number = 2; field != NULL && number < 22; number++) {
                field = strchr(field, ' ');
                if (field != NULL)
                        field++;
        }
        return field != NULL ? strtoull(field, NULL, 10) : 0;
}

/* Whoever was killed leaves nothing behind on purpose: others of a process group that it led go
 * with it, such as those of a program of the agent's that dies with the agent. As long as it is a
 * zombie its pid, and with it the group's number, cannot be given to anyone else. Our own group is
 * spared: its leader becomes our child when a shell starts us with exec. */
static void kill_group_of_killed(const struct keeper *k, const siginfo_t *si)
{
        if (si->si_code == CLD_KILLED && si->si_status == SIGKILL &&
                getpgid(si->si_pid) == si->si_pid && si->si_pid != k->group)
                kill(-si->si_pid, SIGKILL);
}

static bool ring_full(const struct keeper *k)
{
        return k->next_record - k->first_record >= RECORDS_MAX;
}

/* Puts the end of the zombie @pid into the ring; it stays a zombie. False: it is none. */
static bool note_end(struct keeper *k, pid_t pid)
{
        uint64_t start_ticks = read_start_ticks(pid);

        siginfo_t si = { 0 };
        struct rusage usage = { 0 };
        /* waitid(3) does not hand out the usage, the system call does */
        if (syscall(SYS_waitid, P_PID, pid, &si, ENDED | WNOWAIT, &usage) < 0 || si.si_pid != pid)
                return false;
        kill_group_of_killed(k, &si);

        k->record[k->next_record % RECORDS_MAX] = (struct keeper_record){
                .seq = k->next_record,
                .pid = pid,
                .code = si.si_code,
                .status = si.si_status,
                .start_ticks = start_ticks,
                .end_mono = clock_usec(CLOCK_BOOTTIME),
                .end_wall = clock_usec(CLOCK_REALTIME),
                .user_usec = timeval_usec(usage.ru_utime),
                .system_usec = timeval_usec(usage.ru_stime),
                .max_rss_kib = (uint64_t) usage.ru_maxrss,
        };
        k->next_record++;
        return true;
}

void records_reap(struct keeper *k)
{
        programs_reap(k);
        for (;;) {
                siginfo_t si = { 0 };
                if (waitid(P_ALL, 0, &si, ENDED | WNOWAIT) < 0 || si.si_pid == 0)
                        return;
                if (program_by_pid(k, si.si_pid) != NULL) {
                        programs_reap(k);
                        continue;
                }
                k->ring_was_full = ring_full(k);
                if (k->ring_was_full || !note_end(k, si.si_pid))
                        return;
                /* at once, not at the end of the turn: the agent works on it while we reap */
                if (k->agent != NULL)
                        channel_flush(k, &k->agent->channel);
                waitid(P_PID, (id_t) si.si_pid, &(siginfo_t){ 0 }, ENDED);
        }
}

void records_acknowledge(struct keeper *k, uint64_t seq, uint64_t limit)
{
        if (seq >= limit || seq < k->first_record)
                return;
        k->first_record = seq + 1;
        if (k->ring_was_full) {
                k->ring_was_full = false;
                k->reap_due = true;
        }
}
