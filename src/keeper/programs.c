/* SPDX-License-Identifier: BSD-3-Clause */

/* Programs: the agent and the server, which the keeper starts and starts again when they end.
 *
 * A program that ends is started again at once; when that happens again and again, after 100 ms,
 * doubling up to 5 s. Having lived for 10 s, it begins anew. A program that cannot be executed at
 * all ends with status 127 and is treated the same.
 *
 * A program is our child, known by its pid: nobody else can have that pid before we reap it. The
 * exception is a program that survived an earlier keeper and was adopted (handover): it is known by
 * its pidfd, signalled through it, and how it ended is not ours to know. What is started in its
 * place is a child again.
 *
 * Invariants: pid != 0 exactly while it runs; pidfd >= 0 only then; start_at != 0 only when it does
 * not run. */
#include "keeper/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "keeper/heapless.h"

#define CHANNEL_FD        3 /* where a program finds its end; REEVE_KEEPER_FD says so too */
#define DELAY_FIRST_USEC  (100 * USEC_PER_MSEC)
#define DELAY_MAX_USEC    (5 * USEC_PER_SEC)
#define LONG_ENOUGH_USEC  (10 * USEC_PER_SEC)
#define EXIT_NOT_EXECUTED 127

void program_init(struct program *p, unsigned index, char **argv)
{
        p->name = argv[1];
        p->argv = argv;
        p->pidfd = -1;
        bool agent = strcmp(p->name, "agent") == 0;
        channel_init(
                &p->channel, agent ? CHANNEL_AGENT : CHANNEL_LIFELINE, WATCH(WATCH_CHANNEL, index));
}

struct program *program_by_name(struct keeper *k, const char *name)
{
        for (unsigned i = 0; i < k->programs; i++)
                if (strcmp(k->program[i].name, name) == 0)
                        return &k->program[i];
        return NULL;
}

struct program *program_by_pid(struct keeper *k, pid_t pid)
{
        for (unsigned i = 0; i < k->programs; i++)
                if (k->program[i].pid == pid && k->program[i].pidfd < 0)
                        return &k->program[i];
        return NULL;
}

void programs_start_all(struct keeper *k)
{
        for (unsigned i = 0; i < k->programs; i++)
                if (k->program[i].pid == 0)
                        k->program[i].start_at = keeper_now();
}

/* ---- the start ---- */

/* Runs in the child of vfork(2): in our memory, but with descriptors, signal mask and limits of its
 * own. System calls only. */
static void become_program(
        const struct keeper *k, const struct program *p, int channel_fd, volatile int *ret_errno)
{
        /* dup2() onto itself would leave close-on-exec set */
        int placed = channel_fd == CHANNEL_FD ? fcntl(channel_fd, F_SETFD, 0)
                                              : dup2(channel_fd, CHANNEL_FD);
        if (placed >= 0) {
                setrlimit(RLIMIT_NOFILE, &k->program_nofile);
                sigprocmask(SIG_SETMASK, &k->program_mask, NULL);
                execve(p->argv[0], p->argv, k->program_environment);
        }
        *ret_errno = errno;
        _exit(EXIT_NOT_EXECUTED);
}

/* Returns the pid, also when the child could not execute the program (*ret_errno != 0), or -1. */
static pid_t spawn(
        const struct keeper *k, const struct program *p, int channel_fd, volatile int *ret_errno)
{
        pid_t pid = vfork();
        if (pid == 0)
                become_program(k, p, channel_fd, ret_errno);
        return pid;
}

/* 0 for the first end, then 100 ms, 200 ms ... 5 s. Counts that end. */
static uint64_t next_delay(struct program *p)
{
        unsigned failures = p->failures++;
        if (failures == 0)
                return 0;
        uint64_t delay = DELAY_MAX_USEC;
        if (failures <= 6)
                delay = DELAY_FIRST_USEC << (failures - 1);
        return delay < DELAY_MAX_USEC ? delay : DELAY_MAX_USEC;
}

static void start_failed(struct program *p, const char *what, int error)
{
        uint64_t delay = next_delay(p);
        p->start_at = keeper_now() + delay;
        keeper_log("cannot start %s: %s: %s; trying again in %llu ms", p->name, what,
                strerror(error), (unsigned long long) (delay / USEC_PER_MSEC));
}

static void program_start(struct keeper *k, struct program *p)
{
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
                start_failed(p, "socketpair", errno);
                return;
        }
        int status = channel_open(k, &p->channel, pair[0]);
        if (status < 0) {
                close(pair[1]);
                start_failed(p, "epoll_ctl", -status);
                return;
        }
        volatile int exec_errno = 0;
        pid_t pid = spawn(k, p, pair[1], &exec_errno);
        int fork_errno = errno;
        close(pair[1]);
        if (pid < 0) {
                channel_close(&p->channel);
                start_failed(p, "vfork", fork_errno);
                return;
        }
        p->pid = pid;
        p->started = keeper_now();
        p->start_at = 0;
        p->kill_at = 0;
        p->restart = false;
        if (exec_errno != 0) /* its end is on the way and decides about the next attempt */
                keeper_log("cannot execute %s: %s", p->argv[0], strerror(exec_errno));
        else
                keeper_log("%s started, pid %d", p->name, (int) pid);
}

/* ---- the end ---- */

static void program_ended(struct keeper *k, struct program *p, const char *how)
{
        pid_t pid = p->pid;
        p->pid = 0;
        p->kill_at = 0;
        if (p->pidfd >= 0)
                close(p->pidfd);
        p->pidfd = -1;

        /* what it still said is in the socket: deposits to hold, records to forget */
        channel_receive(k, &p->channel, UINT_MAX);
        channel_close(&p->channel);

        if (k->phase >= KEEPER_STOP_OTHERS) {
                keeper_log("%s (pid %d) %s", p->name, (int) pid, how);
                return;
        }
        uint64_t now = keeper_now();
        if (p->restart || now - p->started >= LONG_ENOUGH_USEC)
                p->failures = 0;
        uint64_t delay = p->restart ? 0 : next_delay(p);
        p->restart = false;
        p->start_at = now + delay;
        if (delay == 0)
                keeper_log("%s (pid %d) %s; starting it again", p->name, (int) pid, how);
        else
                keeper_log("%s (pid %d) %s; starting it again in %llu ms", p->name, (int) pid, how,
                        (unsigned long long) (delay / USEC_PER_MSEC));
}

void programs_reap(struct keeper *k)
{
        for (unsigned i = 0; i < k->programs; i++) {
                struct program *p = &k->program[i];
                if (p->pid == 0 || p->pidfd >= 0)
                        continue;
                siginfo_t si = { 0 };
                if (waitid(P_PID, (id_t) p->pid, &si, WEXITED | WNOHANG | __WALL) < 0 ||
                        si.si_pid == 0)
                        continue;
                char how[64];
                if (si.si_code == CLD_EXITED)
                        snprintf(how, sizeof how, "exited with status %d", si.si_status);
                else
                        snprintf(how, sizeof how, "was killed by signal %d%s", si.si_status,
                                si.si_code == CLD_DUMPED ? " (core dumped)" : "");
                program_ended(k, p, how);
        }
}

void program_adopted_ended(struct keeper *k, struct program *p)
{
        if (p->pidfd >= 0)
                program_ended(k, p, "ended (it was not our child)");
}

int program_adopt(struct keeper *k, struct program *p, pid_t pid, int pidfd)
{
        unsigned index = (unsigned) (p - k->program);
        int status = keeper_watch(k, pidfd, WATCH(WATCH_PIDFD, index), false, true);
        if (status < 0)
                return status;
        p->pid = pid;
        p->pidfd = pidfd;
        p->started = keeper_now();
        p->start_at = 0;
        return 0;
}

static void program_signal(const struct program *p, int number)
{
        if (p->pidfd >= 0)
                syscall(SYS_pidfd_send_signal, p->pidfd, number, NULL, 0);
        else if (p->pid > 0)
                kill(p->pid, number);
}

void program_terminate(struct program *p)
{
        p->start_at = 0;
        if (p->pid == 0)
                return;
        program_signal(p, SIGTERM);
        program_signal(p, SIGCONT); /* one that is stopped would not hear it */
        p->kill_at = keeper_now() + STOP_GRACE_USEC;
}

void programs_restart(struct keeper *k)
{
        for (unsigned i = 0; i < k->programs; i++) {
                struct program *p = &k->program[i];
                program_terminate(p);
                p->restart = p->pid != 0;
                p->failures = 0;
        }
        programs_start_all(k);
}

/* ---- the clock ---- */

void programs_run_due(struct keeper *k)
{
        uint64_t now = keeper_now();
        for (unsigned i = 0; i < k->programs; i++) {
                struct program *p = &k->program[i];
                if (p->kill_at != 0 && p->kill_at <= now) {
                        keeper_log("%s (pid %d) does not end: killing it", p->name, (int) p->pid);
                        p->kill_at = 0;
                        program_signal(p, SIGKILL);
                }
                if (p->start_at != 0 && p->start_at <= now && k->phase == KEEPER_RUNNING)
                        program_start(k, p);
        }
}

uint64_t programs_deadline(const struct keeper *k)
{
        uint64_t first = UINT64_MAX;
        for (unsigned i = 0; i < k->programs; i++) {
                const struct program *p = &k->program[i];
                if (p->kill_at != 0 && p->kill_at < first)
                        first = p->kill_at;
                if (p->start_at != 0 && p->start_at < first && k->phase == KEEPER_RUNNING)
                        first = p->start_at;
        }
        return first;
}
