/* SPDX-License-Identifier: BSD-3-Clause */
/* Exec-spawn: from a plan to a program that talks to us and to nobody else.
 *
 * Unlike a task it is an ordinary child of the agent, made by fork(2): starts are rare, nothing has
 * to survive us, and its exit status is nobody's business but that of the connection. The agent has
 * no handler for SIGCHLD and waits for nobody else, so the child stays a zombie until it is
 * waited for by its number.
 *
 * It dies with the agent: the kernel sends it SIGKILL (PR_SET_PDEATHSIG) when the agent's thread
 * that made it, which is the loop's, is gone. By then it is the keeper's child, and the keeper
 * kills what is left of the group of every child that it reaps. A change of user, and a program
 * with the set-user-ID bit, clear that signal: so it is asked for after the change, and of such a
 * program only the terminal's hang-up is certain.
 *
 * Between fork and exec only system calls are made: other threads of the agent may have held locks.
 * The identity is changed by system calls as well, since the C library would signal threads that
 * are not there any more. What failed comes back through a pipe that closes on exec. */
#include "node/exec-spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/process.h"

#define TTY_MODE   0620
#define FAILURE_FD (STDERR_FILENO + 1)

enum { IN, OUT, ERR, STREAMS };

/* Both sides of what will be the program's three streams. */
struct ends {
        int ours[STREAMS];   /* with a terminal: master, master, -1 */
        int theirs[STREAMS]; /* with a terminal: the slave three times, owned once */
        bool tty;
};

struct failure {
        int step; /* enum step */
        int sys_errno;
};

enum step {
        STEP_SANDBOX,
        STEP_SESSION,
        STEP_STREAMS,
        STEP_TERMINAL,
        STEP_USER,
        STEP_DIRECTORY,
        STEP_EXECUTE
};

static void ends_done(struct ends *e)
{
        for (int i = 0; i < STREAMS; i++) {
                fd_closep(&e->ours[i]);
                if (!e->tty || i == IN)
                        fd_closep(&e->theirs[i]);
        }
}

/* ---- the child */

static _Noreturn void child_fail(enum step step, int sys_errno)
{
        struct failure failure = { .step = (int) step, .sys_errno = sys_errno };
        ssize_t n = write(FAILURE_FD, &failure, sizeof failure);

        (void) n; /* the end of the pipe says that something failed, too */
        _exit(127);
}

static void child_take_streams(const struct ends *e)
{
        for (int i = 0; i < STREAMS; i++)
                if (dup2(e->theirs[i], i) < 0)
                        child_fail(STEP_STREAMS, errno);
        if (e->tty && ioctl(STDIN_FILENO, TIOCSCTTY, 0) < 0)
                child_fail(STEP_TERMINAL, errno);
}

static void child_check_sandbox(long r)
{
        if (r < 0)
                child_fail(STEP_SANDBOX, (int) -r);
}

/* With the rights that a task's process begins its program with, in its namespaces. */
static void child_change_user(const struct spawn_plan *plan)
{
        unsigned step;

        if (plan->sandbox != NULL)
                child_check_sandbox(sandbox_join(plan->sandbox, plan->join, &step));
        if (plan->change_user && syscall(SYS_setgroups, plan->groups_len, plan->groups) < 0)
                child_fail(STEP_USER, errno);
        if (plan->sandbox != NULL)
                child_check_sandbox(sandbox_join_users(plan->sandbox, plan->join, &step));
        if (plan->change_user &&
                (syscall(SYS_setresgid, plan->gid, plan->gid, plan->gid) < 0 ||
                        syscall(SYS_setresuid, plan->uid, plan->uid, plan->uid) < 0))
                child_fail(STEP_USER, errno);
}

/* Nobody would read what failed: the agent is gone. */
static bool agent_is_gone(void)
{
        struct pollfd failure = { .fd = FAILURE_FD, .events = POLLOUT };

        return poll(&failure, 1, 0) > 0 && (failure.revents & POLLERR) != 0;
}

static _Noreturn void child_main(
        const struct exec_start *start, const struct ends *e, int failure_fd, pid_t agent)
{
        const struct spawn_plan *plan = start->plan;
        unsigned step;

        if (failure_fd != FAILURE_FD && dup3(failure_fd, FAILURE_FD, O_CLOEXEC) < 0)
                _exit(127);
        if (setsid() < 0)
                child_fail(STEP_SESSION, errno);
        child_take_streams(e);
        spawn_restore_nofile();
        child_change_user(plan);
        syscall(SYS_close_range, FAILURE_FD + 1, UINT_MAX, 0); /* before Linux 5.9: at exec */
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
                child_fail(STEP_SESSION, errno);
        if (getppid() != agent && (getppid() != 0 || agent_is_gone()))
                _exit(127); /* it died before it could be asked for; 0: it is of other processes */
        if (chdir(plan->directory) < 0)
                child_fail(STEP_DIRECTORY, errno);
        if (plan->sandbox != NULL)
                child_check_sandbox(sandbox_close(plan->sandbox, &step));
        spawn_reset_signals();
        execve(plan->program, plan->argv, start->env);
        child_fail(STEP_EXECUTE, errno);
}

/* ---- the agent's side */

/* Pipes of which both ends are above the standard streams and above the pipe for failures, so that
 * the child can put each in its place. */
static int move_up(int *fd)
{
        int moved;

        if (*fd > FAILURE_FD)
                return 0;
        moved = fcntl(*fd, F_DUPFD_CLOEXEC, FAILURE_FD + 1);
        if (moved < 0)
                return -1;
        close(*fd);
        *fd = moved;
        return 0;
}

static int make_pipe(int *ret_read, int *ret_write, struct error *err)
{
        int fds[2];

        if (pipe2(fds, O_CLOEXEC) < 0)
                return error_sys(err, errno, "make a pipe");
        *ret_read = fds[0];
        *ret_write = fds[1];
        if (move_up(ret_read) < 0 || move_up(ret_write) < 0)
                return error_sys(err, errno, "make a pipe");
        return 0;
}

static int make_pipes(struct ends *e, struct error *err)
{
        if (make_pipe(&e->theirs[IN], &e->ours[IN], err) < 0 ||
                make_pipe(&e->ours[OUT], &e->theirs[OUT], err) < 0 ||
                make_pipe(&e->ours[ERR], &e->theirs[ERR], err) < 0)
                return -1;
        return 0;
}

static int make_terminal(struct ends *e, const struct exec_start *start, struct error *err)
{
        int master = e->ours[IN] = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), slave;

        if (master < 0 || unlockpt(master) < 0 || move_up(&e->ours[IN]) < 0)
                return error_sys(err, errno, "make a terminal");
        master = e->ours[IN];
        e->ours[OUT] = fcntl(master, F_DUPFD_CLOEXEC, FAILURE_FD + 1);
        slave = e->theirs[IN] = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
        if (e->ours[OUT] < 0 || slave < 0 || move_up(&e->theirs[IN]) < 0)
                return error_sys(err, errno, "open a terminal");
        e->theirs[OUT] = e->theirs[ERR] = slave = e->theirs[IN];
        ioctl(slave, TIOCSWINSZ, &start->size);
        if (start->plan->change_user &&
                (fchown(slave, start->plan->uid, (gid_t) -1) < 0 || fchmod(slave, TTY_MODE) < 0))
                return error_sys(err, errno, "give the terminal to user %u", start->plan->uid);
        return 0;
}

static int explain(const struct spawn_plan *plan, const struct failure *failure, struct error *err)
{
        switch ((enum step) failure->step) {
        case STEP_SANDBOX:
                return error_sys(err, failure->sys_errno, "enter the task's sandbox");
        case STEP_SESSION:
                return error_sys(err, failure->sys_errno, "begin a session");
        case STEP_STREAMS:
                return error_sys(err, failure->sys_errno, "connect the program's streams");
        case STEP_TERMINAL:
                return error_sys(err, failure->sys_errno, "make it the controlling terminal");
        case STEP_USER:
                return error_sys(err, failure->sys_errno, "become user %u", plan->uid);
        case STEP_DIRECTORY:
                return error_sys(err, failure->sys_errno, "cannot enter %s", plan->directory);
        case STEP_EXECUTE:
                return error_sys(err, failure->sys_errno, "cannot execute %s", plan->program);
        }
        return error_set(err, ERR_SYSTEM, "start failed at step %d", failure->step);
}

/* Waits until the program is executed or cannot be. */
static int await_exec(int fd, pid_t pid, const struct spawn_plan *plan, struct error *err)
{
        struct failure failure;
        siginfo_t si;
        ssize_t n;

        do
                n = read(fd, &failure, sizeof failure);
        while (n < 0 && errno == EINTR);
        if (n == 0)
                return 0;
        waitid(P_PID, (id_t) pid, &si, WEXITED);
        if (n != (ssize_t) sizeof failure)
                return error_set(err, ERR_SYSTEM, "the program's beginning is not known");
        return explain(plan, &failure, err);
}

#define PROCESSES_AS_THEY_ARE (-2)

/* What this thread forks is of the task's processes, where those are of a namespace (setns(2)).
 * Returns a descriptor of our own namespace, PROCESSES_AS_THEY_ARE, or -1 with errno. */
static int begin_processes(const struct spawn_plan *plan)
{
        int own;

        if (plan->sandbox == NULL || !sandbox_has_processes(plan->sandbox))
                return PROCESSES_AS_THEY_ARE;
        own = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
        if (own >= 0 && setns(plan->join, CLONE_NEWPID) == 0)
                return own;
        fd_closep(&own);
        return -1;
}

static void end_processes(int own)
{
        if (own < 0)
                return;
        if (setns(own, CLONE_NEWPID) < 0) /* it is what this process is in: never refused */
                abort();
        close(own);
}

static pid_t begin(const struct exec_start *start, const struct ends *e, int failure_fd)
{
        pid_t agent = getpid(), pid;
        sigset_t all, old;
        int fork_errno, own;

        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        own = begin_processes(start->plan);
        pid = own == -1 ? -1 : fork();
        if (pid == 0)
                child_main(start, e, failure_fd, agent);
        fork_errno = errno;
        end_processes(own);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        errno = fork_errno;
        return pid;
}

static int start_program(
        const struct exec_start *start, struct ends *e, struct exec_program *ret, struct error *err)
{
        AUTO(fd_closep) int failure_in = -1;
        AUTO(fd_closep) int failure_out = -1;
        int pidfd;
        pid_t pid;

        if (make_pipe(&failure_in, &failure_out, err) < 0)
                return -1;
        pid = begin(start, e, failure_out);
        if (pid < 0)
                return error_sys(err, errno, "create a process");
        close(take_fd(failure_out));
        if (await_exec(failure_in, pid, start->plan, err) < 0)
                return -1;
        pidfd = process_open(pid); /* nobody else reaps it: it is the right one */
        if (pidfd < 0) {
                error_sys(err, errno, "watch the program");
                kill(-pid, SIGKILL);
                waitid(P_PID, (id_t) pid, &(siginfo_t){ 0 }, WEXITED);
                return -1;
        }
        *ret = (struct exec_program){ pid, pidfd, take_fd(e->ours[IN]), take_fd(e->ours[OUT]),
                take_fd(e->ours[ERR]) };
        return 0;
}

int exec_spawn(const struct exec_start *start, struct exec_program *ret, struct error *err)
{
        AUTO(ends_done)
        struct ends e = { .ours = { -1, -1, -1 }, .theirs = { -1, -1, -1 }, .tty = start->tty };

        if ((e.tty ? make_terminal(&e, start, err) : make_pipes(&e, err)) < 0)
                return -1;
        for (int i = 0; i < STREAMS; i++)
                if (e.ours[i] >= 0 && fcntl(e.ours[i], F_SETFL, O_NONBLOCK) < 0)
                        return error_sys(err, errno, "prepare the program's streams");
        return start_program(start, &e, ret, err);
}
