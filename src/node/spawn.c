/* SPDX-License-Identifier: BSD-3-Clause */
/* Spawn: from a spec to a running process, in one clone.
 *
 * The child is made with CLONE_VM | CLONE_VFORK | CLONE_FILES | CLONE_PARENT | CLONE_PIDFD
 * (clone(2)): it borrows the agent's memory, so the cost does not depend on the agent's size; the
 * agent waits until it executes or ends; its parent is the agent's parent, the keeper, so that it
 * survives the agent and its exit status does, too.
 *
 * As long as the child borrows our memory it must not disturb it: all signals are blocked from
 * before the clone, every handler is reset before they are unblocked, and only raw system calls are
 * made (glibc's setuid() would signal the threads of the agent; its wrappers set the agent's
 * errno). Everything that needs a look-up or memory is in the spawn plan.
 *
 * The descriptor table is shared at first, too (CLONE_FILES): copying it, and closing thousands of
 * descriptors again at exec, would cost more than all the rest. The child leaves it by
 * close_range(2) with CLOSE_RANGE_UNSHARE, which copies only what is kept.
 *
 * An agent that is killed while its child is between clone and exec leaves a child that goes on by
 * itself: it still has the memory. The next agent must not look at the run record before that child
 * has executed: both hold the lock on DIR/node/lock (close-on-exec), so waiting for the lock is
 * waiting for the child. */
#include "node/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/close_range.h>
#include <linux/openat2.h>
#include <pwd.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "keeper/launch.h"
#include "keeper/protocol.h"
#include "model/env-file.h"
#include "node/raw.h"

#define CHILD_STACK_SIZE   (64 * 1024)
#define DESCRIPTORS_WISHED 262144 /* three per task, see table.h for how many there may be */
#define GROUPS_LIMIT       65536
#define ENV_FILE_MAX       ((size_t) 1024 * 1024)
#define DEFAULT_PATH       "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static int lock_fd = -1;          /* stays with the child until it executes */
static struct rlimit task_nofile; /* what tasks get: the limit that we were started with */
static int handled[65];           /* signals with a handler here, or ignored, ended by 0 */

void spawn_init(int agent_lock_fd)
{
        struct rlimit own;

        lock_fd = agent_lock_fd;

        getrlimit(RLIMIT_NOFILE, &task_nofile);
        keeper_launch_set_nofile(&task_nofile);
        own.rlim_cur = own.rlim_max = MAX(task_nofile.rlim_max, (rlim_t) DESCRIPTORS_WISHED);
        if (setrlimit(RLIMIT_NOFILE, &own) == 0)
                return;
        own = task_nofile; /* we may not go beyond it */
        own.rlim_cur = own.rlim_max;
        setrlimit(RLIMIT_NOFILE, &own);
}

const struct rlimit *spawn_inherited_nofile(void)
{
        return &task_nofile;
}

void spawn_restore_nofile(void)
{
        if (lock_fd >= 0) /* else it was never raised */
                setrlimit(RLIMIT_NOFILE, &task_nofile);
}

/* ---- the plan */

static const char *find_in_env(char *const *env, const char *name)
{
        size_t len = strlen(name);

        for (; env != NULL && *env != NULL; env++)
                if (strncmp(*env, name, len) == 0 && (*env)[len] == '=')
                        return *env + len + 1;
        return NULL;
}

/* There is a program at @path; within @root what links name is meant inside. */
static bool is_program(const char *root, const char *path)
{
        struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT };
        AUTO(fd_closep) int directory = -1;
        AUTO(fd_closep) int fd = -1;
        struct stat st;

        if (root == NULL)
                return access(path, X_OK) == 0;
        directory = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
        fd = (int) syscall(SYS_openat2, directory, path, &how, sizeof how);
        return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 0111) != 0;
}

/* Where execvp(3) would find @name. A name that is nowhere is returned as it is: exec then says
 * ENOENT. */
static char *find_program(const char *root, const char *name, const char *path)
{
        if (strchr(name, '/') != NULL)
                return mem_strdup(name);
        while (*path != '\0') {
                size_t len = strcspn(path, ":");
                AUTO(mem_freep)
                char *candidate = mem_printf("%.*s/%s", (int) len, len > 0 ? path : ".", name);

                if (is_program(root, candidate))
                        return take_ptr(candidate);
                path += len;
                path += *path == ':';
        }
        return mem_strdup(name);
}

/* A name is tried first, also one of digits only. A number needs no entry in the database; without
 * one, @ret_name is NULL. */
static int find_user(
        const char *text, uid_t *ret_uid, gid_t *ret_gid, const char **ret_name, struct error *err)
{
        const struct passwd *user = getpwnam(text);
        int64_t number;

        if (user == NULL && text_parse_int(text, 0, UINT32_MAX - 1, &number)) {
                *ret_uid = (uid_t) number;
                *ret_gid = (gid_t) number;
                user = getpwuid((uid_t) number);
        } else if (user == NULL) {
                return error_set(
                        err, ERR_INVALID, "user: there is no user \"%s\" on this machine", text);
        }
        *ret_name = user != NULL ? user->pw_name : NULL;
        if (user != NULL) {
                *ret_uid = user->pw_uid;
                *ret_gid = user->pw_gid;
        }
        return 0;
}

static int find_group(const char *field, const char *text, gid_t *ret_gid, struct error *err)
{
        const struct group *group = getgrnam(text);
        int64_t number;

        if (group == NULL && !text_parse_int(text, 0, UINT32_MAX - 1, &number))
                return error_set(err, ERR_INVALID, "%s: there is no group \"%s\" on this machine",
                        field, text);
        *ret_gid = group != NULL ? group->gr_gid : (gid_t) number;
        return 0;
}

/* `groups` of the spec instead of those that the user is in. */
static int plan_groups(const struct job_spec *spec, struct spawn_plan *plan, struct error *err)
{
        while (spec->groups[plan->groups_len] != NULL)
                plan->groups_len++;
        plan->groups = mem_resize(NULL, plan->groups_len, sizeof *plan->groups);
        for (size_t i = 0; i < plan->groups_len; i++)
                if (find_group("groups", spec->groups[i], &plan->groups[i], err) < 0)
                        return -1;
        return 0;
}

static int plan_user(const struct job_spec *spec, struct spawn_plan *plan, struct error *err)
{
        const char *name = NULL;
        int groups_len = 64;

        if (spec->user == NULL && spec->group == NULL && spec->groups == NULL)
                return 0;
        plan->uid = geteuid();
        plan->gid = getegid();
        if (spec->user != NULL && find_user(spec->user, &plan->uid, &plan->gid, &name, err) < 0)
                return -1;
        if (spec->group != NULL && find_group("group", spec->group, &plan->gid, err) < 0)
                return -1;
        if (plan->uid == geteuid() && plan->gid == getegid() && spec->group == NULL &&
                spec->groups == NULL)
                return 0; /* it is us */
        plan->change_user = true;
        if (spec->groups != NULL)
                return plan_groups(spec, plan, err);
        if (name == NULL)
                return 0;
        plan->groups = mem_resize(NULL, (size_t) groups_len, sizeof *plan->groups);
        while (getgrouplist(name, plan->gid, plan->groups, &groups_len) < 0) {
                if (groups_len > GROUPS_LIMIT)
                        return error_set(
                                err, ERR_INVALID, "user: \"%s\" is in too many groups", spec->user);
                plan->groups = mem_resize(plan->groups, (size_t) groups_len, sizeof *plan->groups);
        }
        plan->groups_len = (size_t) groups_len;
        return 0;
}

static void plan_environment(const struct job_spec *spec, struct spawn_plan *plan)
{
        const char *path = getenv("PATH");
        size_t n = 0, k = 0;

        while (spec->env != NULL && spec->env[n] != NULL)
                n++;
        plan->env = mem_alloc((n + 2) * sizeof *plan->env);
        if (find_in_env(spec->env, "PATH") == NULL)
                plan->env[k++] = mem_printf("PATH=%s", path != NULL ? path : DEFAULT_PATH);
        for (size_t i = 0; i < n; i++)
                plan->env[k++] = mem_strdup(spec->env[i]);
}

static void plan_command(const struct job_spec *spec, struct spawn_plan *plan)
{
        size_t n = 0;

        if (spec->command_shell) {
                plan->argv = mem_alloc(4 * sizeof *plan->argv);
                plan->argv[0] = mem_strdup("/bin/sh");
                plan->argv[1] = mem_strdup("-c");
                plan->argv[2] = mem_strdup(spec->command[0]);
        } else {
                while (spec->command[n] != NULL)
                        n++;
                plan->argv = mem_alloc((n + 1) * sizeof *plan->argv);
                for (size_t i = 0; i < n; i++)
                        plan->argv[i] = mem_strdup(spec->command[i]);
        }
        plan->program =
                find_program(spec->sandbox.chroot, plan->argv[0], find_in_env(plan->env, "PATH"));
}

static bool any_variables(char *const *texts)
{
        for (; *texts != NULL; texts++)
                if (variables_any(*texts))
                        return true;
        return false;
}

int spawn_plan_make(const struct job_spec *spec, struct spawn_plan *ret, struct error *err)
{
        struct spawn_plan plan = { 0 };

        if (plan_user(spec, &plan, err) < 0) {
                spawn_plan_done(&plan);
                return -1;
        }
        limits_make(spec, &plan.limits);
        plan_environment(spec, &plan);
        plan_command(spec, &plan);
        plan.has_variables = any_variables(plan.argv) || any_variables(plan.env);
        plan.root = spec->sandbox.chroot != NULL ? mem_strdup(spec->sandbox.chroot) : NULL;
        plan.directory = mem_strdup(spec->directory != NULL ? spec->directory : "/");
        *ret = plan;
        return 0;
}

static void strings_free(char **strings)
{
        for (char **s = strings; s != NULL && *s != NULL; s++)
                free(*s);
        free(strings);
}

void spawn_plan_done(struct spawn_plan *plan)
{
        strings_free(plan->argv);
        strings_free(plan->env);
        free(plan->program);
        free(plan->directory);
        free(plan->root);
        sandbox_unref(plan->sandbox);
        free(plan->groups);
        limits_done(&plan->limits);
        *plan = (struct spawn_plan){ 0 };
}

static char **expand_texts(char *const *texts, const struct variables *values)
{
        size_t n = 0;
        char **expanded;

        while (texts[n] != NULL)
                n++;
        expanded = mem_alloc((n + 1) * sizeof *expanded);
        for (size_t i = 0; i < n; i++)
                expanded[i] = variables_expand(texts[i], values);
        return expanded;
}

void spawn_plan_expand(
        const struct spawn_plan *plan, const struct variables *values, struct spawn_plan *ret)
{
        *ret = *plan;
        ret->argv = expand_texts(plan->argv, values);
        ret->env = expand_texts(plan->env, values);
        ret->program = find_program(plan->root, ret->argv[0], find_in_env(ret->env, "PATH"));
}

static int read_env_file(
        const char *name, const struct variables *values, char ***env, struct error *err)
{
        AUTO(mem_freep) char *path = variables_expand(name + (*name == '-'), values);
        AUTO(buffer_done) struct buffer text = { 0 };
        struct error why = ERROR_INIT;

        if (file_read(path, ENV_FILE_MAX, &text, &why) < 0) {
                if (*name == '-' && access(path, F_OK) < 0 && errno == ENOENT)
                        return 0;
                return error_set(err, why.code, "env_files: %s", why.message);
        }
        if (env_file_parse(path, buffer_str(&text), text.len, env, err) < 0)
                return error_wrap(err, "env_files");
        return 0;
}

int spawn_plan_read_files(struct spawn_plan *expanded, char *const *files,
        const struct variables *values, struct error *err)
{
        for (; *files != NULL; files++)
                if (read_env_file(*files, values, &expanded->env, err) < 0)
                        return -1;
        free(expanded->program);
        expanded->program =
                find_program(expanded->root, expanded->argv[0], find_in_env(expanded->env, "PATH"));
        return 0;
}

void spawn_plan_expanded_done(struct spawn_plan *expanded)
{
        strings_free(expanded->argv);
        strings_free(expanded->env);
        free(expanded->program);
}

/* ---- the child */

struct kernel_sigaction { /* what rt_sigaction(2) takes on x86-64 and arm64 */
        void (*handler)(int);
        unsigned long flags;
        void (*restorer)(void);
        unsigned long mask;
};

struct child {
        const struct spawn_plan *plan;
        const struct spawn_run *run;
        char *const *env;
        struct table_run *record;
        char *const *cgroup_procs; /* to write ourselves into; NULL: none */
        struct msghdr packet;      /* for the witness */
        struct sandbox_run sandbox;
};

static long raw(long number, long a, long b, long c, long d)
{
        return raw_call(number, a, b, c, d, 0);
}

/* exec() resets handlers but keeps what is ignored; and no handler may run in a child that borrows
 * our memory. Looked up once, at the first start: the agent's handlers are set before and never
 * change. */
static void find_handled(void)
{
        size_t n = 0;

        for (int i = 1; i <= 64; i++) { /* glibc's sigaction() hides two of them */
                struct kernel_sigaction action = { 0 };

                if (raw(SYS_rt_sigaction, i, 0, (long) &action, sizeof action.mask) == 0 &&
                        action.handler != SIG_DFL)
                        handled[n++] = i;
        }
        handled[n] = 0;
}

static _Noreturn void child_fail(const struct child *child, unsigned step, long r)
{
        child->record->failed_step = step;
        child->record->failed_errno = (int32_t) -r;
        for (;;)
                raw(SYS_exit_group, 127, 0, 0, 0);
}

static int32_t scan_number(const char **at)
{
        int32_t number = 0;

        while (**at >= '0' && **at <= '9')
                number = number * 10 + (*(*at)++ - '0');
        return number;
}

/* Our numbers as others see them: in a namespace of processes of our own, getpid(2) says 1 and
 * getppid(2) says 0. /proc is the machine's still. */
static void child_read_numbers(const struct child *child)
{
        char text[512], *end = text;
        const char *at = text;
        long fd = raw(SYS_openat, AT_FDCWD, (long) "/proc/self/stat", O_RDONLY | O_CLOEXEC, 0), n;

        if (fd < 0)
                child_fail(child, SPAWN_STEP_PROCESS, fd);
        n = raw(SYS_read, fd, (long) text, sizeof text - 1, 0);
        raw(SYS_close, fd, 0, 0, 0);
        if (n < 0)
                child_fail(child, SPAWN_STEP_PROCESS, n);
        text[n] = '\0';
        child->record->pid = scan_number(&at);
        for (char *p = text; p < text + n; p++) /* the name may have brackets, too */
                if (*p == ')')
                        end = p;
        at = end + 4; /* ") R " */
        child->record->parent = end + 4 < text + n ? scan_number(&at) : 0;
        if (child->record->pid <= 0 || child->record->parent <= 0)
                child_fail(child, SPAWN_STEP_PROCESS, -ESRCH);
}

static void child_write_record(const struct child *child)
{
        struct timespec ts = { 0 };
        struct table_run *record = child->record;

        if (record->first_of_pids != 0) {
                child_read_numbers(child);
        } else {
                record->pid = (int32_t) raw(SYS_getpid, 0, 0, 0, 0);
                record->parent = (int32_t) raw(SYS_getppid, 0, 0, 0, 0);
        }
        raw(SYS_clock_gettime, CLOCK_BOOTTIME, (long) &ts, 0, 0);
        record->after_ns = (uint64_t) ts.tv_sec * 1000000000u + (uint64_t) ts.tv_nsec;
        atomic_signal_fence(memory_order_seq_cst);
        __atomic_store_n(&record->run, child->run->number, __ATOMIC_RELEASE);
}

/* The kernel has put the number of our pidfd into the packet, and the descriptor into the table
 * that we still share with the agent. If the server is slow or away it learns of us from the
 * agent's report. */
static void child_tell_witness(const struct child *child)
{
        if (child->run->witness >= 0)
                raw(SYS_sendmsg, child->run->witness, (long) &child->packet,
                        MSG_DONTWAIT | MSG_NOSIGNAL, 0);
}

/* A whole copy of the table, since what is passed may lie anywhere in it: all else closes on exec.
 * Everything is moved out of the way first, the lock too, so that nothing is overwritten that is
 * still to be moved. */
static void child_pass(struct child *child)
{
        const struct spawn_run *run = child->run;
        long r = raw(SYS_unshare, CLONE_FILES, 0, 0, 0), moved[SPAWN_PASS_MAX];
        int free_from = STDERR_FILENO + 1;

        for (size_t i = 0; i < run->pass_len; i++)
                free_from = MAX(free_from, run->pass[i].to + 1);
        if (r >= 0)
                r = raw(SYS_fcntl, lock_fd, F_DUPFD_CLOEXEC, free_from, 0);
        for (size_t i = 0; i < run->pass_len && r >= 0; i++)
                r = moved[i] = raw(SYS_fcntl, run->pass[i].from, F_DUPFD_CLOEXEC, free_from, 0);
        if (run->plan->sandbox != NULL && run->sandbox.user_namespace >= 0 && r >= 0) {
                r = raw(SYS_fcntl, run->sandbox.user_namespace, F_DUPFD_CLOEXEC, free_from, 0);
                child->sandbox.user_namespace = (int) r;
        }
        for (size_t i = 0; i < run->pass_len && r >= 0; i++)
                r = raw(SYS_dup3, moved[i], run->pass[i].to, 0, 0);
        if (r < 0)
                child_fail(child, SPAWN_STEP_TABLE, r);
}

/* LISTEN_PID of sd_listen_fds(3), as the program itself sees it. Without leading zeros: there are
 * readers that take those for octal.
 */
static void child_write_listen_pid(const struct child *child)
{
        char digits[SPAWN_PID_DIGITS], *at = child->run->listen_pid;
        int pid = child->record->first_of_pids != 0 ? 1 : child->record->pid, n = 0;

        if (at == NULL)
                return;
        do
                digits[n++] = (char) ('0' + pid % 10);
        while ((pid /= 10) > 0);
        while (n > 0)
                *at++ = digits[--n];
        *at = '\0'; /* a pid has at most seven digits */
}

/* A descriptor table of its own: stdin, stdout, stderr and the lock. */
static void child_leave_table(struct child *child)
{
        long r = 0;

        if (child->run->pass_len > 0 ||
                (child->plan->sandbox != NULL && child->sandbox.user_namespace >= 0)) {
                child_pass(child);
                return;
        }
        r = raw(SYS_close_range, lock_fd + 1, UINT_MAX, CLOSE_RANGE_UNSHARE, 0);

        if (r == -ENOSYS) /* before Linux 5.9 */
                r = raw(SYS_unshare, CLONE_FILES, 0, 0, 0);
        else
                raw(SYS_close_range, STDERR_FILENO + 1, lock_fd - 1, 0, 0);
        if (r < 0)
                child_fail(child, SPAWN_STEP_TABLE, r);
}

static void child_open(
        const struct child *child, const char *path, int flags, int to, enum spawn_step step)
{
        long fd = raw(SYS_openat, AT_FDCWD, (long) path, flags | O_CLOEXEC, 0);

        if (fd < 0)
                child_fail(child, step, fd);
        if (fd == to) { /* a descriptor that was closed in the agent: keep it over exec */
                raw(SYS_fcntl, fd, F_SETFD, 0, 0);
                return;
        }
        fd = raw(SYS_dup3, fd, to, 0, 0);
        if (fd < 0)
                child_fail(child, step, fd);
}

/* For a kernel that did not put us there at clone, and for hierarchies of version 1. */
static void child_join_cgroups(const struct child *child)
{
        for (char *const *path = child->cgroup_procs; path != NULL && *path != NULL; path++) {
                long fd = raw(SYS_openat, AT_FDCWD, (long) *path, O_WRONLY | O_CLOEXEC, 0);
                long r = fd < 0 ? fd : raw(SYS_write, fd, (long) "0", 1, 0);

                if (r < 0)
                        child_fail(child, SPAWN_STEP_CGROUP, r);
                raw(SYS_close, fd, 0, 0, 0);
        }
}

static void child_take_limits(const struct child *child)
{
        enum limits_step step;
        long r = limits_give(&child->plan->limits, &step);

        if (r < 0)
                child_fail(child, SPAWN_STEP_LIMITS + (unsigned) step, r);
}

static void child_change_groups(const struct child *child)
{
        const struct spawn_plan *plan = child->plan;
        long r = raw(SYS_setgroups, (long) plan->groups_len, (long) plan->groups, 0, 0);

        if (r < 0)
                child_fail(child, SPAWN_STEP_GROUPS, r);
}

static void child_change_user(const struct child *child)
{
        const struct spawn_plan *plan = child->plan;
        long r;

        r = raw(SYS_setresgid, plan->gid, plan->gid, plan->gid, 0);
        if (r < 0)
                child_fail(child, SPAWN_STEP_GROUP, r);
        r = raw(SYS_setresuid, plan->uid, plan->uid, plan->uid, 0);
        if (r < 0)
                child_fail(child, SPAWN_STEP_USER, r);
}

static void child_check_sandbox(const struct child *child, long r, const unsigned *step)
{
        if (r < 0)
                child_fail(child, SPAWN_STEP_SANDBOX + *step, r);
}

static void child_begin_sandbox(const struct child *child)
{
        unsigned step = 0;

        if (child->plan->sandbox != NULL)
                child_check_sandbox(child, sandbox_begin(child->plan->sandbox, &step), &step);
}

static void child_enter_sandbox(const struct child *child)
{
        unsigned step = 0;

        if (child->plan->sandbox != NULL)
                child_check_sandbox(
                        child, sandbox_enter(child->plan->sandbox, &child->sandbox, &step), &step);
}

static void child_close_sandbox(const struct child *child)
{
        unsigned step = 0;

        if (child->plan->sandbox != NULL)
                child_check_sandbox(child, sandbox_close(child->plan->sandbox, &step), &step);
}

static void child_reset_signals(void)
{
        struct kernel_sigaction action = { 0 }; /* SIG_DFL */
        unsigned long none = 0;

        for (const int *number = handled; *number != 0; number++)
                raw(SYS_rt_sigaction, *number, (long) &action, 0, sizeof none);
        raw(SYS_rt_sigprocmask, SIG_SETMASK, (long) &none, 0, sizeof none);
}

void spawn_reset_signals(void)
{
        find_handled();
        child_reset_signals();
}

static int child_main(void *argument)
{
        struct child *child = argument;
        const struct spawn_plan *plan = child->plan;
        long r;

        child_write_record(child);
        child_tell_witness(child);
        child_write_listen_pid(child);
        child_leave_table(child);
        child_begin_sandbox(child);
        child_join_cgroups(child);
        r = raw(SYS_setsid, 0, 0, 0, 0);
        if (r < 0)
                child_fail(child, SPAWN_STEP_SESSION, r);
        child_open(child, "/dev/null", O_RDONLY, STDIN_FILENO, SPAWN_STEP_STDIN);
        child_open(child, child->run->fifo_paths[0], O_RDWR, STDOUT_FILENO, SPAWN_STEP_STDOUT);
        child_open(child, child->run->fifo_paths[1], O_RDWR, STDERR_FILENO, SPAWN_STEP_STDERR);
        raw(SYS_prlimit64, 0, RLIMIT_NOFILE, (long) &task_nofile, 0);
        child_take_limits(child);
        if (plan->change_user)
                child_change_groups(child);
        child_enter_sandbox(child);
        if (plan->change_user)
                child_change_user(child);
        r = raw(SYS_chdir, (long) plan->directory, 0, 0, 0);
        if (r < 0)
                child_fail(child, SPAWN_STEP_DIRECTORY, r);
        child_close_sandbox(child);
        child_reset_signals();
        r = raw(SYS_execve, (long) plan->program, (long) plan->argv, (long) child->env, 0);
        child_fail(child, SPAWN_STEP_EXECUTE, r);
}

/* ---- the agent's side */

int spawn_failure(const struct spawn_plan *plan, const struct table_run *record, struct error *err)
{
        if (record->failed_step >= SPAWN_STEP_SANDBOX && plan->sandbox != NULL)
                return sandbox_failure(plan->sandbox, record->failed_step - SPAWN_STEP_SANDBOX,
                        record->failed_errno, err);
        if (record->failed_step >= SPAWN_STEP_LIMITS &&
                record->failed_step < SPAWN_STEP_LIMITS + LIMITS_STEPS)
                return limits_failure(&plan->limits, record->failed_step - SPAWN_STEP_LIMITS,
                        record->failed_errno, err);
        switch ((enum spawn_step) record->failed_step) {
        case SPAWN_STEP_CGROUP:
                return error_sys(err, record->failed_errno, "limits: enter the task's cgroup");
        case SPAWN_STEP_LIMITS:
        case SPAWN_STEP_SANDBOX:
                break;
        case SPAWN_STEP_PROCESS:
                return error_sys(err, record->failed_errno, "find its process in /proc");
        case SPAWN_STEP_TABLE:
                return error_sys(err, record->failed_errno, "begin a descriptor table");
        case SPAWN_STEP_SESSION:
                return error_sys(err, record->failed_errno, "begin a session");
        case SPAWN_STEP_STDIN:
                return error_sys(err, record->failed_errno, "open /dev/null");
        case SPAWN_STEP_STDOUT:
                return error_sys(err, record->failed_errno, "open the FIFO for stdout");
        case SPAWN_STEP_STDERR:
                return error_sys(err, record->failed_errno, "open the FIFO for stderr");
        case SPAWN_STEP_GROUPS:
                return error_sys(err, record->failed_errno, "user: set the supplementary groups");
        case SPAWN_STEP_GROUP:
                return error_sys(err, record->failed_errno, "group: become group %u", plan->gid);
        case SPAWN_STEP_USER:
                return error_sys(err, record->failed_errno, "user: become user %u", plan->uid);
        case SPAWN_STEP_DIRECTORY:
                return error_sys(
                        err, record->failed_errno, "directory: cannot enter %s", plan->directory);
        case SPAWN_STEP_EXECUTE:
                return error_sys(
                        err, record->failed_errno, "command: cannot execute %s", plan->program);
        }
        return error_set(err, ERR_SYSTEM, "start failed at step %u", record->failed_step);
}

static size_t count(char *const *strings)
{
        size_t n = 0;

        while (strings[n] != NULL)
                n++;
        return n;
}

/* The plan's variables and then the run's; the strings are borrowed. */
static char **join_env(char *const *plan_env, char *const *run_env)
{
        size_t a = count(plan_env), b = count(run_env);
        char **env = mem_resize(NULL, a + b + 1, sizeof *env);

        memcpy(env, plan_env, a * sizeof *env);
        memcpy(env + a, run_env, (b + 1) * sizeof *env);
        return env;
}

#define CLONE_FLAGS (CLONE_VM | CLONE_VFORK | CLONE_FILES | CLONE_PARENT | CLONE_PIDFD)

/* Into the cgroup at once, where the kernel can (5.7) and we may; what a container's filter or an
 * older kernel refuses is not tried again. Returns -1 with errno. */
static pid_t clone_into_cgroup(
        struct child *child, char *stack, unsigned long namespaces, int cgroup_fd, int *ret_pidfd)
{
        static bool refused;
        struct clone_args args = {
                .flags = CLONE_FLAGS | CLONE_INTO_CGROUP | namespaces,
                .pidfd = (uintptr_t) ret_pidfd,
                .stack = (uintptr_t) stack,
                .stack_size = CHILD_STACK_SIZE,
                .cgroup = (__u64) (unsigned) cgroup_fd,
        }; /* no exit signal: with CLONE_PARENT it is that of the agent */
        long pid;

        if (refused || cgroup_fd < 0) {
                errno = ENOSYS;
                return -1;
        }
        child->cgroup_procs =
                child->run->cgroup_procs != NULL ? child->run->cgroup_procs + 1 : NULL;
        pid = raw_clone3(&args, sizeof args, child_main, child);
        child->cgroup_procs = child->run->cgroup_procs;
        if (pid >= 0)
                return (pid_t) pid;
        /* with namespaces it may be these that are refused */
        refused = namespaces == 0 &&
                  (pid == -ENOSYS || pid == -EINVAL || pid == -E2BIG || pid == -EPERM);
        errno = (int) -pid;
        return -1;
}

/* Somebody killed the child before it had told who it is; its end shall find its run all the same.
 */
static void complete_record(const struct spawn_run *run, pid_t pid)
{
        struct timespec ts;

        clock_gettime(CLOCK_BOOTTIME, &ts);
        run->record->pid = pid;
        run->record->parent = getppid(); /* CLONE_PARENT */
        run->record->after_ns = (uint64_t) ts.tv_sec * 1000000000u + (uint64_t) ts.tv_nsec;
        __atomic_store_n(&run->record->run, run->number, __ATOMIC_RELEASE);
}

int spawn_run(const struct spawn_run *run, pid_t *ret_pid, int *ret_pidfd, struct error *err)
{
        static _Alignas(16) char stack[CHILD_STACK_SIZE]; /* vfork: one child at a time */
        AUTO(mem_freep) char **env = join_env(run->plan->env, run->env);
        struct witness_message message = { .run = run->number };
        struct iovec iov = { &message, sizeof message };
        union {
                struct cmsghdr header;
                char room[CMSG_SPACE(WITNESS_FDS * sizeof(int))];
        } control = { .header = { CMSG_LEN(WITNESS_FDS * sizeof(int)), SOL_SOCKET, SCM_RIGHTS } };
        int *fds = (int *) (void *) CMSG_DATA(&control.header);
        struct child child = {
                .plan = run->plan,
                .run = run,
                .env = env,
                .record = run->record,
                .cgroup_procs = run->cgroup_procs,
                .sandbox = run->sandbox,
                .packet = { .msg_iov = &iov,
                        .msg_iovlen = 1,
                        .msg_control = &control,
                        .msg_controllen = sizeof control },
        };
        unsigned long namespaces =
                run->plan->sandbox != NULL ? sandbox_clone_flags(run->plan->sandbox) : 0;
        struct timespec ts;
        sigset_t all, old;
        int clone_errno;
        pid_t pid;

        snprintf(message.task, sizeof message.task, "%s", run->task);
        fds[WITNESS_STDOUT] = run->fifos[0];
        fds[WITNESS_STDERR] = run->fifos[1];
        if (handled[0] == 0)
                find_handled();
        clock_gettime(CLOCK_BOOTTIME, &ts);
        *run->record = (struct table_run){
                .before_ns = (uint64_t) ts.tv_sec * 1000000000u + (uint64_t) ts.tv_nsec,
                .log_begin = { run->log_begin[0], run->log_begin[1] },
                .dynamic_uid = run->record->dynamic_uid,
                .first_of_pids = (namespaces & CLONE_NEWPID) != 0,
        };
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        pid = clone_into_cgroup(&child, stack, namespaces, run->cgroup_fd, &fds[WITNESS_PIDFD]);
        if (pid < 0)
                pid = clone(child_main, stack + sizeof stack,
                        CLONE_FLAGS | SIGCHLD | (int) namespaces, &child, &fds[WITNESS_PIDFD]);
        clone_errno = errno;
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        if (pid < 0 && namespaces != 0)
                return sandbox_clone_failure(run->plan->sandbox, clone_errno, err);
        if (pid < 0)
                return error_sys(err, clone_errno, "create a process");
        if (run->record->failed_step != 0) {
                close(fds[WITNESS_PIDFD]);
                return spawn_failure(run->plan, run->record, err);
        }
        if (run->record->run != run->number)
                complete_record(run, pid);
        *ret_pid = pid;
        *ret_pidfd = fds[WITNESS_PIDFD];
        return 0;
}
