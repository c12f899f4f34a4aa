/* SPDX-License-Identifier: BSD-3-Clause */

/* The keeper: parent of the agent, of the server beside it, and of every task on a node.
 *
 * It exists so that the rest may die. Whatever happens to agent and server, their children's exit
 * statuses and the descriptors they deposited are here; and this program is made so that nothing
 * happens to it: no heap, no configuration, no network, no thread, no dependence on anything but
 * the kernel. What it does is in the other files: records.c (reaping), deposits.c (descriptors),
 * programs.c (starting and stopping), channel.c (talking), upgrade.c (replacing itself).
 *
 * Here are the command line and the loop. All signals are blocked and read from a signalfd, so that
 * everything happens in the loop, in a fixed order per turn: events, reaping, starts and kills that
 * are due, re-execution, sending. The loop sleeps without a time limit unless something is due; an
 * idle keeper makes no system call.
 *
 *   TERM  end the programs, then the keeper; tasks are left running
 *   INT   ask the agent to stop all tasks in order; it answers with END
 *   HUP   re-execute, then start the programs anew
 *
 * The programs end before the agent does: as long as the agent lives it is told how tasks end.
 *
 * The whole state is one static struct. The keeper ignores what dies with it (tasks become children
 * of init, or of the next sub-reaper) and does not try to be found: whoever holds DIR/keeper.lock
 * is the keeper of DIR. */
#include "keeper/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

#include "keeper/heapless.h"

#define EXIT_USAGE         2
#define DESCRIPTORS_WISHED 262144
#define MESSAGES_PER_TURN  64
#define LOCK_ATTEMPTS      5   /* others look who holds it by locking it for an instant */
#define LOCK_PATIENCE      100 /* attempts in a handover */
#define LOCK_INTERVAL_USEC 10000

extern char **environ;

static struct keeper the_keeper;

/* What the command line says. */
struct arguments {
        int handover_fd;
        int state_fd; /* set by ourselves when we re-execute; not for people */
        char **first_program;
};

/* ---- what all files use ---- */

void keeper_log(const char *format, ...)
{
        char line[1024] = "reeve-keeper: ";
        size_t used = strlen(line);
        va_list ap;
        va_start(ap, format);
        int more = vsnprintf(line + used, sizeof line - used - 1, format, ap);
        va_end(ap);
        if (more < 0)
                return;
        used += (size_t) more;
        if (used > sizeof line - 2)
                used = sizeof line - 2;
        line[used++] = '\n';

        /* a reader that has stopped must not stop us */
        struct pollfd out = { .fd = STDERR_FILENO, .events = POLLOUT };
        if (poll(&out, 1, 0) == 1 && (out.revents & POLLOUT) != 0 &&
                write(STDERR_FILENO, line, used) < 0)
                return; /* there is nobody else to tell */
}

uint64_t keeper_now(void)
{
        struct timespec ts;
        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t) ts.tv_sec * USEC_PER_SEC + (uint64_t) ts.tv_nsec / 1000;
}

int keeper_watch(struct keeper *k, int fd, uint64_t tag, bool writable, bool add)
{
        struct epoll_event ev = { .events = EPOLLIN, .data.u64 = tag };
        if (writable)
                ev.events |= EPOLLOUT;
        return epoll_ctl(k->epoll_fd, add ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &ev) < 0 ? -errno
                                                                                        : 0;
}

void keeper_stop(struct keeper *k, const char *why)
{
        if (k->phase >= KEEPER_STOP_OTHERS)
                return;
        keeper_log("ending: %s", why);
        k->phase = KEEPER_STOP_OTHERS;
        k->down_pending = false;
        for (unsigned i = 0; i < k->programs; i++)
                if (&k->program[i] != k->agent)
                        program_terminate(&k->program[i]);
}

/* ---- the loop ---- */

static bool others_run(const struct keeper *k)
{
        for (unsigned i = 0; i < k->programs; i++)
                if (&k->program[i] != k->agent && k->program[i].pid != 0)
                        return true;
        return false;
}

/* Goes on with what keeper_stop() began. True: everything has ended. */
static bool stop_advance(struct keeper *k)
{
        if (k->phase == KEEPER_STOP_OTHERS && !others_run(k)) {
                k->phase = KEEPER_STOP_AGENT;
                if (k->agent != NULL)
                        program_terminate(k->agent);
        }
        return k->phase == KEEPER_STOP_AGENT && (k->agent == NULL || k->agent->pid == 0);
}

static void on_interrupt(struct keeper *k)
{
        if (k->agent == NULL)
                keeper_stop(k, "interrupted");
        else if (k->phase < KEEPER_STOP_OTHERS && !k->down_pending) {
                keeper_log("interrupted: asking the agent to stop all tasks");
                k->down_pending = true;
        }
}

static void on_signals(struct keeper *k)
{
        struct signalfd_siginfo si;
        while (read(k->signal_fd, &si, sizeof si) == (ssize_t) sizeof si) {
                switch (si.ssi_signo) {
                case SIGCHLD:
                        k->reap_due = true;
                        break;
                case SIGTERM:
                        keeper_stop(k, "terminated");
                        break;
                case SIGINT:
                        on_interrupt(k);
                        break;
                case SIGHUP:
                        k->upgrade_due = true;
                        k->upgrade_path[0] = '\0';
                        break;
                default:
                        break; /* the others are blocked only so that they do no harm */
                }
        }
}

static void on_channel(struct keeper *k, struct channel *ch, uint32_t events)
{
        if ((events & EPOLLOUT) != 0)
                channel_writable(k, ch);
        channel_receive(k, ch, MESSAGES_PER_TURN);
}

/* An event may be older than what its tag stands for now (a program started anew in this turn):
 * every handler finds out for itself whether there is something to do. */
static void on_event(struct keeper *k, const struct epoll_event *ev)
{
        struct program *p = &k->program[(uint32_t) ev->data.u64];
        switch ((enum watch_kind)(ev->data.u64 >> 32)) {
        case WATCH_SIGNALS:
                on_signals(k);
                break;
        case WATCH_CHANNEL:
                on_channel(k, &p->channel, ev->events);
                break;
        case WATCH_PIDFD:
                program_adopted_ended(k, p);
                break;
        case WATCH_HANDOVER:
                on_channel(k, &k->handover, ev->events);
                break;
        }
}

static void flush_all(struct keeper *k)
{
        if (k->agent != NULL)
                channel_flush(k, &k->agent->channel);
        channel_flush(k, &k->handover);
}

/* Whether a handover is not over: what is on its way must not get lost in between, and somebody
 * waits for READY, which the new image would not know of. */
static bool handover_lasts(struct keeper *k)
{
        if (k->phase == KEEPER_HANDOVER)
                return true;
        channel_flush(k, &k->handover);
        return k->handover.fd >= 0 && k->handover.ready_due && !k->handover.deaf;
}

static void upgrade_if_due(struct keeper *k)
{
        if (!k->upgrade_due || handover_lasts(k))
                return;
        k->upgrade_due = false;
        if (k->phase != KEEPER_RUNNING)
                return;
        const char *path = k->upgrade_path[0] != '\0' ? k->upgrade_path : k->path;
        int status = upgrade_run(k);
        keeper_log("cannot re-execute as %s: %s; carrying on", path, strerror(-status));
        if (k->agent != NULL)
                channel_fail(&k->agent->channel, -status, path);
}

static uint64_t earlier_of(uint64_t a, uint64_t b)
{
        return b != 0 && b < a ? b : a;
}

static int wait_milliseconds(const struct keeper *k)
{
        uint64_t deadline = earlier_of(programs_deadline(k), k->handover.retry_at);
        if (k->agent != NULL)
                deadline = earlier_of(deadline, k->agent->channel.retry_at);
        if (deadline == UINT64_MAX)
                return -1;
        uint64_t now = keeper_now();
        return deadline <= now ? 0 : (int) ((deadline - now) / USEC_PER_MSEC + 1);
}

static void keeper_loop(struct keeper *k)
{
        for (;;) {
                while (k->reap_due) { /* an acknowledgement may make room for more */
                        k->reap_due = false;
                        records_reap(k);
                }
                programs_run_due(k);
                upgrade_if_due(k);
                flush_all(k);
                if (stop_advance(k))
                        return;

                struct epoll_event events[16];
                int count = epoll_wait(k->epoll_fd, events, 16, wait_milliseconds(k));
                for (int i = 0; i < count; i++)
                        on_event(k, &events[i]);
        }
}

/* ---- getting there ---- */

static int fail(const char *what)
{
        keeper_log("%s: %s", what, strerror(errno));
        return -1;
}

/* Our own absolute path, found out while it is still true. The name we were called by is better
 * than what it resolves to: an upgrade may turn a symbolic link. */
static int find_own_path(struct keeper *k, const char *name)
{
        size_t used = 0;
        if (strchr(name, '/') != NULL) {
                if (name[0] != '/') {
                        if (getcwd(k->path, sizeof k->path - 1) == NULL)
                                return fail("getcwd");
                        used = strlen(k->path);
                        k->path[used++] = '/';
                }
                int more = snprintf(k->path + used, sizeof k->path - used, "%s", name);
                if ((size_t) more < sizeof k->path - used && access(k->path, X_OK) == 0)
                        return 0;
        }
        ssize_t length = readlink("/proc/self/exe", k->path, sizeof k->path - 1);
        if (length < 0)
                return fail("readlink /proc/self/exe");
        k->path[length] = '\0';
        return 0;
}

/* Programs get our environment with REEVE_KEEPER_FD set. */
static int make_program_environment(struct keeper *k)
{
        static char variable[] = KEEPER_FD_VARIABLE "=3";
        size_t prefix = strlen(KEEPER_FD_VARIABLE "=");
        unsigned count = 0;
        k->environment = environ;
        for (char **e = environ; *e != NULL; e++) {
                if (strncmp(*e, variable, prefix) == 0)
                        continue;
                if (count == ENVIRONMENT_MAX) {
                        errno = E2BIG;
                        return fail("environment");
                }
                k->program_environment[count++] = *e;
        }
        k->program_environment[count] = variable;
        return 0;
}

/* Descriptors 0 to 2 must be taken, or one of ours would be taken for them. */
static int fill_standard_descriptors(void)
{
        int fd;
        do
                fd = open("/dev/null", O_RDWR | O_CLOEXEC);
        while (fd >= 0 && fd <= STDERR_FILENO && fcntl(fd, F_SETFD, 0) == 0);
        if (fd < 0)
                return fail("open /dev/null");
        close(fd);
        return 0;
}

static void report_holder(const struct keeper *k, int fd)
{
        char text[16] = "";
        ssize_t length = pread(fd, text, sizeof text - 1, 0);
        long pid = length > 0 ? strtol(text, NULL, 10) : 0;
        if (pid > 0)
                keeper_log("%s is kept by process %ld already", k->dir, pid);
        else
                keeper_log("%s is kept by another process already", k->dir);
}

/* A keeper that was killed lets go of its lock only after it has closed its channels, which is what
 * a handover begins with: @attempts. Returns 0, or the exit status. */
static int take_lock(struct keeper *k, int attempts)
{
        char path[4096], text[16];
        if (snprintf(path, sizeof path, "%s/keeper.lock", k->dir) >= (int) sizeof path) {
                keeper_log("%s: %s", k->dir, strerror(ENAMETOOLONG));
                return EXIT_FAILURE;
        }
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return fail(path), EXIT_FAILURE;
        while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
                if (errno != EWOULDBLOCK)
                        return fail(path), EXIT_FAILURE;
                if (--attempts <= 0) {
                        report_holder(k, fd);
                        return KEEPER_EXIT_KEPT;
                }
                usleep(LOCK_INTERVAL_USEC);
        }
        int length = snprintf(text, sizeof text, "%d\n", (int) getpid());
        /* over what is there, and cut only then: a full disk has no block for an emptied file */
        errno = ENOSPC;
        if (pwrite(fd, text, (size_t) length, 0) != length || ftruncate(fd, length) < 0)
                return fail(path), EXIT_FAILURE;
        k->lock_fd = fd;
        return 0;
}

/* Blocks everything that is not a fault of our own, and keeps what programs are to get back. */
static void block_signals(struct keeper *k)
{
        static const int faults[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS };
        sigset_t all;
        sigfillset(&all);
        for (unsigned i = 0; i < sizeof faults / sizeof faults[0]; i++)
                sigdelset(&all, faults[i]);
        sigprocmask(SIG_SETMASK, &all, &k->program_mask);
        /* were it ignored, which is inherited, the kernel would reap for us */
        signal(SIGCHLD, SIG_DFL);
}

static int raise_descriptor_limit(struct keeper *k)
{
        struct rlimit limit;
        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return fail("getrlimit");
        k->program_nofile = limit;
        /* as root beyond the hard limit: each task costs two deposited descriptors */
        struct rlimit wished = { DESCRIPTORS_WISHED, DESCRIPTORS_WISHED };
        limit.rlim_cur = limit.rlim_max;
        if (limit.rlim_max < wished.rlim_max && setrlimit(RLIMIT_NOFILE, &wished) == 0)
                limit = wished;
        else if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
                limit = k->program_nofile; /* what we have is not much, but enough to begin */
        k->nofile = limit.rlim_cur;
        return 0;
}

static int open_loop(struct keeper *k)
{
        k->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (k->epoll_fd < 0)
                return fail("epoll_create");
        sigset_t read;
        sigemptyset(&read);
        sigaddset(&read, SIGCHLD);
        sigaddset(&read, SIGTERM);
        sigaddset(&read, SIGINT);
        sigaddset(&read, SIGHUP);
        k->signal_fd = signalfd(-1, &read, SFD_CLOEXEC | SFD_NONBLOCK);
        if (k->signal_fd < 0)
                return fail("signalfd");
        if (keeper_watch(k, k->signal_fd, WATCH(WATCH_SIGNALS, 0), false, true) < 0)
                return fail("epoll_ctl");
        return 0;
}

static int begin_handover(struct keeper *k, int fd)
{
        int type = 0;
        socklen_t size = sizeof type;
        if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_SEQPACKET ||
                fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
                keeper_log("--handover-fd: descriptor %d is not a SOCK_SEQPACKET socket", fd);
                return EXIT_USAGE;
        }
        int status = take_lock(k, LOCK_PATIENCE);
        if (status != 0)
                return status;
        k->phase = KEEPER_HANDOVER;
        status = channel_open(k, &k->handover, fd);
        errno = -status;
        return status < 0 ? (fail("--handover-fd"), EXIT_FAILURE) : 0;
}

static int begin_anew(struct keeper *k)
{
        int status = take_lock(k, LOCK_ATTEMPTS);
        if (status != 0)
                return status;
        k->phase = KEEPER_RUNNING;
        programs_start_all(k);
        return 0;
}

static int begin_again(struct keeper *k, int state_fd)
{
        int status = upgrade_load(k, state_fd);
        if (status < 0) {
                keeper_log("cannot read the state of the earlier image: %s", strerror(-status));
                return EXIT_FAILURE;
        }
        k->phase = KEEPER_RUNNING;
        k->reap_due = true; /* the SIGCHLD may have been read before */
        keeper_log("re-executed (version %s)", REEVE_VERSION);
        programs_restart(k);
        return 0;
}

static int usage(const char *problem)
{
        if (problem != NULL)
                keeper_log("%s", problem);
        keeper_log("usage: reeve-keeper --dir DIR [--handover-fd N] -- PROGRAM NAME [ARG...] "
                   "[-- PROGRAM NAME [ARG...]]...");
        return EXIT_USAGE;
}

static int parse_descriptor(const char *text)
{
        char *end;
        errno = 0;
        long fd = strtol(text, &end, 10);
        return *text == '\0' || *end != '\0' || errno != 0 || fd < 0 || fd > INT32_MAX ? -1
                                                                                       : (int) fd;
}

/* Returns -1 to go on, or the exit status. */
static int parse_options(struct keeper *k, char **argv, struct arguments *a)
{
        *a = (struct arguments){ .handover_fd = -1, .state_fd = -1 };
        char **arg = argv + 1;
        for (; *arg != NULL && strcmp(*arg, "--") != 0; arg++) {
                if (strcmp(*arg, "--version") == 0) {
                        static const char text[] = "reeve-keeper " REEVE_VERSION "\n";
                        return write(STDOUT_FILENO, text, sizeof text - 1) < 0 ? EXIT_FAILURE
                                                                               : EXIT_SUCCESS;
                }
                if (arg[1] == NULL)
                        return usage("an option is unknown or lacks its value");
                int *descriptor = NULL;
                if (strcmp(*arg, "--dir") == 0)
                        k->dir = arg[1];
                else if (strcmp(*arg, "--handover-fd") == 0)
                        descriptor = &a->handover_fd;
                else if (strcmp(*arg, "--state-fd") == 0)
                        descriptor = &a->state_fd;
                else
                        return usage("unknown option");
                arg++;
                if (descriptor != NULL && (*descriptor = parse_descriptor(*arg)) < 0)
                        return usage("a descriptor is a number");
        }
        a->first_program = arg;
        return -1;
}

/* Cuts "-- PROGRAM NAME ... -- PROGRAM NAME ..." into programs, in place. */
static int parse_programs(struct keeper *k, char **arg)
{
        while (*arg != NULL) {
                *arg++ = NULL; /* the "--": end of what came before */
                if (k->programs == PROGRAMS_MAX)
                        return usage("too many programs");
                if (arg[0] == NULL || arg[0][0] != '/' || arg[1] == NULL ||
                        strcmp(arg[1], "--") == 0)
                        return usage("a program is an absolute path and at least its name");
                if (strlen(arg[1]) >= KEEPER_NAME_MAX || program_by_name(k, arg[1]) != NULL)
                        return usage("a program's name is too long or used twice");
                program_init(&k->program[k->programs], k->programs, arg);
                k->programs++;
                while (*arg != NULL && strcmp(*arg, "--") != 0)
                        arg++;
        }
        k->agent = program_by_name(k, "agent");
        return -1;
}

static int parse_arguments(struct keeper *k, int argc, char **argv, struct arguments *a)
{
        int status = parse_options(k, argv, a);
        if (status >= 0)
                return status;
        if (k->dir == NULL || *k->dir == '\0')
                return usage("--dir is missing");
        if (*a->first_program == NULL)
                return usage("there is no program to keep");
        if (argc > ARGUMENTS_MAX)
                return usage("too many arguments");
        return parse_programs(k, a->first_program);
}

static int begin(struct keeper *k, const struct arguments *a)
{
        block_signals(k);
        if (raise_descriptor_limit(k) < 0 || open_loop(k) < 0)
                return EXIT_FAILURE;
        if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
                return fail("prctl"), EXIT_FAILURE;
        k->group = getpgrp();
        k->first_record = k->next_record = 1;
        if (a->state_fd >= 0)
                return begin_again(k, a->state_fd);
        return a->handover_fd >= 0 ? begin_handover(k, a->handover_fd) : begin_anew(k);
}

int main(int argc, char **argv)
{
        struct keeper *k = &the_keeper;
        struct arguments a;
        channel_init(&k->handover, CHANNEL_HANDOVER, WATCH(WATCH_HANDOVER, 0));
        int status = parse_arguments(k, argc, argv, &a);
        if (status >= 0)
                return status;
        if (fill_standard_descriptors() < 0 || find_own_path(k, argv[0]) < 0 ||
                make_program_environment(k) < 0)
                return EXIT_FAILURE;
        status = begin(k, &a);
        if (status != 0)
                return status;
        keeper_loop(k);
        if (k->next_record != k->first_record)
                keeper_log("%llu exit records were not acknowledged",
                        (unsigned long long) (k->next_record - k->first_record));
        return EXIT_SUCCESS;
}
