/* SPDX-License-Identifier: BSD-3-Clause */
/* Sandbox: the agent's part. It looks what is asked and what it may give, and puts everything into
 * the form in which the kernel takes it; the child's part is sandbox-child.c.
 *
 * Nothing is ever given in part: what the agent has not the rights for is told before the start,
 * what the kernel refuses ends the start, and both name the field.
 *
 * With root's rights (CAP_SYS_ADMIN) namespaces of files, processes and network belong to the
 * machine's user namespace, and a user namespace, if one is asked for, is the last that the child
 * enters. It may have to have two users, root and the task's, and only somebody outside it may say
 * so: so a process that does nothing else makes it for every run, the agent writes its maps, opens
 * it, and ends the process; the descriptor is what keeps it.
 *
 * Without these rights a user namespace comes first, since all others hang on it: clone(2) makes
 * them together, and the child itself maps its own user, which everybody may. */
#include "node/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "node/sandbox-filter.h"
#include "node/sandbox-internal.h"

/* ---- what is asked */

static bool needs_mounts(const struct job_spec *spec)
{
        return spec->sandbox.chroot != NULL || job_spec_private_tmp(spec) ||
               spec->sandbox.read_only || spec->sandbox.hide != NULL || spec->sandbox.pid_namespace;
}

/* The first field that needs the rights of root, or a user namespace that takes their place. */
static const char *privileged_field(const struct job_spec *spec)
{
        return spec->sandbox.chroot != NULL                         ? "chroot"
               : spec->sandbox.capabilities != JOB_CAPABILITIES_ANY ? "capabilities"
               : spec->sandbox.private_tmp                          ? "private_tmp"
               : spec->sandbox.read_only                            ? "read_only"
               : spec->sandbox.hide != NULL                         ? "hide"
               : spec->sandbox.pid_namespace                        ? "pid_namespace"
               : spec->sandbox.network == SANDBOX_NETWORK_NONE      ? "network"
                                                                    : NULL;
}

static bool may_make_namespaces(void)
{
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[2] = { 0 };

        return syscall(SYS_capget, &header, data) == 0 &&
               (data[0].effective >> CAP_SYS_ADMIN & 1) != 0;
}

static int check_rights(const struct job_spec *spec, bool privileged, struct error *err)
{
        const char *field = privileged_field(spec);

        if (privileged)
                return 0;
        if (spec->dynamic_user)
                return error_set(err, ERR_INVALID,
                        "dynamic_user: it needs root, and Reeve does not run as root here");
        if (field != NULL && !spec->sandbox.user_namespace)
                return error_set(err, ERR_INVALID,
                        "sandbox.%s: without root it needs \"user_namespace: true\" beside it",
                        field);
        return 0;
}

static char **copy_paths(char *const *paths, size_t *ret_len)
{
        size_t n = 0;
        char **copy;

        while (paths != NULL && paths[n] != NULL)
                n++;
        copy = mem_resize(NULL, n + 1, sizeof *copy);
        for (size_t i = 0; i < n; i++)
                copy[i] = mem_strdup(paths[i]);
        copy[n] = NULL;
        *ret_len = n;
        return copy;
}

static unsigned long namespace_flags(const struct job_spec *spec, bool privileged)
{
        return (needs_mounts(spec) ? CLONE_NEWNS : 0ul) |
               (spec->sandbox.pid_namespace ? CLONE_NEWPID : 0ul) |
               (spec->sandbox.network == SANDBOX_NETWORK_NONE ? CLONE_NEWNET : 0ul) |
               (spec->sandbox.user_namespace && !privileged ? CLONE_NEWUSER : 0ul);
}

int sandbox_make(const struct job_spec *spec, struct sandbox **ret, struct error *err)
{
        bool privileged = may_make_namespaces();
        struct sandbox *s;

        if (check_rights(spec, privileged, err) < 0)
                return -1;
        s = mem_alloc(sizeof *s);
        s->refs = 1;
        s->flags = namespace_flags(spec, privileged);
        s->user_namespace = spec->sandbox.user_namespace;
        s->no_new_privs = job_spec_no_new_privs(spec);
        s->private_tmp = job_spec_private_tmp(spec);
        s->read_only = spec->sandbox.read_only;
        s->capabilities = spec->sandbox.capabilities;
        s->chroot = spec->sandbox.chroot != NULL ? mem_strdup(spec->sandbox.chroot) : NULL;
        s->writable = copy_paths(spec->sandbox.writable, &s->writable_len);
        s->hide = copy_paths(spec->sandbox.hide, &s->hide_len);
        snprintf(s->uid_map, sizeof s->uid_map, "%u %u 1\n", geteuid(), geteuid());
        snprintf(s->gid_map, sizeof s->gid_map, "%u %u 1\n", getegid(), getegid());
        if ((spec->sandbox.seccomp != SANDBOX_SECCOMP_NONE || spec->sandbox.seccomp_deny != NULL) &&
                sandbox_filter_make(spec, &s->filter, &s->filter_len, err) < 0) {
                sandbox_unref(s);
                return -1;
        }
        *ret = s;
        return 0;
}

struct sandbox *sandbox_ref(struct sandbox *s)
{
        if (s != NULL)
                s->refs++;
        return s;
}

static void free_paths(char **paths)
{
        for (char **p = paths; p != NULL && *p != NULL; p++)
                free(*p);
        free(paths);
}

void sandbox_unref(struct sandbox *s)
{
        if (s == NULL || --s->refs > 0)
                return;
        free_paths(s->writable);
        free_paths(s->hide);
        free(s->chroot);
        free(s->filter);
        free(s);
}

unsigned long sandbox_clone_flags(const struct sandbox *s)
{
        return s->flags;
}

bool sandbox_has_paths(const struct sandbox *s)
{
        return s->chroot != NULL || s->private_tmp || s->hide_len > 0;
}

bool sandbox_has_processes(const struct sandbox *s)
{
        return (s->flags & CLONE_NEWPID) != 0;
}

int sandbox_clone_failure(const struct sandbox *s, int sys_errno, struct error *err)
{
        const char *field = (s->flags & CLONE_NEWUSER) != 0  ? "user_namespace"
                            : (s->flags & CLONE_NEWPID) != 0 ? "pid_namespace"
                            : (s->flags & CLONE_NEWNET) != 0 ? "network"
                            : s->chroot != NULL              ? "chroot"
                            : s->read_only                   ? "read_only"
                            : s->hide_len > 0                ? "hide"
                                                             : "private_tmp";

        return error_sys(err, sys_errno, "sandbox.%s: the kernel makes no namespace for it", field);
}

/* ---- the socket in a root of its own */

/* What links in the root name is meant inside it. */
static int open_inside(int root, const char *path, int flags)
{
        struct open_how how = { .flags = (unsigned) (flags | O_CLOEXEC),
                .mode = (flags & O_CREAT) != 0 ? 0600 : 0,
                .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };

        return (int) syscall(SYS_openat2, root, path, &how, sizeof how);
}

int sandbox_make_notify(const struct sandbox *s, struct error *err)
{
        AUTO(fd_closep) int root = open(s->chroot, O_PATH | O_DIRECTORY | O_CLOEXEC);
        AUTO(fd_closep) int fd = -1;

        if (root < 0)
                return error_sys(err, errno, "sandbox.chroot: open %s", s->chroot);
        mkdirat(root, "run", 0755); /* or it is there */
        fd = open_inside(root, SANDBOX_NOTIFY, O_PATH);
        if (fd < 0)
                fd = open_inside(root, SANDBOX_NOTIFY, O_WRONLY | O_CREAT | O_NOFOLLOW);
        if (fd < 0)
                return error_sys(err, errno,
                        "sandbox.chroot: make %s" SANDBOX_NOTIFY
                        ", by which the program tells how it is",
                        s->chroot);
        return 0;
}

/* ---- a user namespace with two users */

static _Noreturn void wait_for_end(pid_t agent)
{
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != agent)
                _exit(0);
        for (;;)
                pause();
}

static int write_map(pid_t pid, const char *name, unsigned id, struct error *err)
{
        AUTO(fd_closep) int fd = -1;
        char path[64], map[64];
        int len = id == 0 ? snprintf(map, sizeof map, "0 0 1\n")
                          : snprintf(map, sizeof map, "0 0 1\n%u %u 1\n", id, id);

        snprintf(path, sizeof path, "/proc/%d/%s", (int) pid, name);
        fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd < 0 || write(fd, map, (size_t) len) != len)
                return error_sys(err, errno, "sandbox.user_namespace: write its %s", name);
        return 0;
}

static int map_and_open(pid_t pid, uid_t uid, gid_t gid, int *ret_fd, struct error *err)
{
        char path[64];

        if (write_map(pid, "uid_map", uid, err) < 0 || write_map(pid, "gid_map", gid, err) < 0)
                return -1;
        snprintf(path, sizeof path, "/proc/%d/ns/user", (int) pid);
        *ret_fd = open(path, O_RDONLY | O_CLOEXEC);
        return *ret_fd < 0 ? error_sys(err, errno, "sandbox.user_namespace: open it") : 0;
}

int sandbox_open_user_namespace(
        const struct sandbox *s, uid_t uid, gid_t gid, int *ret_fd, struct error *err)
{
        pid_t agent = getpid(), pid;
        sigset_t all, old;
        int clone_errno, r;

        *ret_fd = -1;
        if (!s->user_namespace || (s->flags & CLONE_NEWUSER) != 0)
                return 0;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old); /* our handlers are not its */
        pid = (pid_t) syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL);
        if (pid == 0)
                wait_for_end(agent);
        clone_errno = errno;
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        if (pid < 0)
                return error_sys(err, clone_errno, "sandbox.user_namespace: make one");
        r = map_and_open(pid, uid, gid, ret_fd, err);
        kill(pid, SIGKILL);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
                continue;
        return r;
}

/* ---- what the child could not do */

int sandbox_failure(const struct sandbox *s, unsigned step, int sys_errno, struct error *err)
{
        if (step >= SANDBOX_STEP_WRITABLE && step - SANDBOX_STEP_WRITABLE < s->writable_len)
                return error_sys(err, sys_errno, "sandbox.writable: %s",
                        s->writable[step - SANDBOX_STEP_WRITABLE]);
        if (step >= SANDBOX_STEP_HIDE && step - SANDBOX_STEP_HIDE < s->hide_len)
                return error_sys(
                        err, sys_errno, "sandbox.hide: %s", s->hide[step - SANDBOX_STEP_HIDE]);
        switch (step) {
        case SANDBOX_STEP_USERS:
                return error_sys(err, sys_errno, "sandbox.user_namespace: say who its users are");
        case SANDBOX_STEP_PRIVATE:
                return error_sys(err, sys_errno, "sandbox: keep its mounts from the machine's");
        case SANDBOX_STEP_NOTIFY:
                return error_sys(err, sys_errno,
                        "sandbox: put the socket, by which the program tells how it is, where the "
                        "program finds it");
        case SANDBOX_STEP_CHROOT:
                return error_sys(err, sys_errno, "sandbox.chroot: enter %s",
                        s->chroot != NULL ? s->chroot : "it");
        case SANDBOX_STEP_READ_ONLY:
                return error_sys(err, sys_errno, "sandbox.read_only: make all files so");
        case SANDBOX_STEP_PROC:
                return error_sys(err, sys_errno, "sandbox.pid_namespace: mount its /proc");
        case SANDBOX_STEP_TMP:
                return error_sys(err, sys_errno, "sandbox.private_tmp: mount its /tmp");
        case SANDBOX_STEP_NETWORK:
                return error_sys(err, sys_errno, "sandbox.network: begin its loopback interface");
        case SANDBOX_STEP_ENTER_USERS:
                return error_sys(err, sys_errno, "sandbox.user_namespace: enter it");
        case SANDBOX_STEP_CAPABILITIES:
                return error_sys(err, sys_errno, "sandbox.capabilities: keep these only");
        case SANDBOX_STEP_NO_NEW_PRIVS:
                return error_sys(err, sys_errno, "sandbox.no_new_privs: set it");
        case SANDBOX_STEP_SECCOMP:
                return error_sys(err, sys_errno, "sandbox.seccomp: take the filter");
        case SANDBOX_STEP_JOIN:
                return error_sys(err, sys_errno, "enter the task's sandbox");
        default:
                return error_sys(err, sys_errno, "sandbox: step %u", step);
        }
}
