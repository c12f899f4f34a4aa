/* SPDX-License-Identifier: BSD-3-Clause */
/* Sandbox: the child's part. It runs between clone and exec in memory that it shares with the agent
 * (spawn.c), so it makes raw system calls only, changes nothing but its stack, and everything that
 * it needs was made ready by sandbox.c. Programs beside a task (exec-spawn.c) use it, too.
 *
 * The order follows from what takes which right away:
 * 1. Copies of mounts that are to stay as they are: the socket of sd_notify(3), `writable`.
 * 2. The root. With a mount namespace it is changed by pivot_root(2), not chroot(2): nothing of the
 *    machine's tree is left that one could climb back to. All paths after it are resolved within
 *    it, so links that the task itself has put there lead nowhere else. A root in the kernel's
 *    first file system cannot be pivoted; then the new one is moved over it.
 * 3. Everything read-only at once (mount_setattr(2)), and then the copies put back, which kept
 *    their own flags: what the machine has mounted read-only below `writable` stays so.
 * 4. /proc, /tmp, what is hidden, and the socket over all of it.
 * 5. The loopback interface, the user namespace, the capabilities that cannot come back.
 * 6. (The user changes, in spawn.c.)
 * 7. Capabilities, no_new_privs, and at last the filter, since it may deny what came before. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <linux/seccomp.h>
#include <linux/stat.h>
#include <net/if.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "base/macros.h"
#include "node/raw.h"
#include "node/sandbox-internal.h"

#define MNT_DETACH_FLAG 2 /* of <sys/mount.h>, which does not go with <linux/mount.h> */
#define PATH_ROOM       4096
#define CAPABILITY_LAST 63
#define TMP_FLAGS       (MS_NOSUID | MS_NODEV)

static long raw(long number, long a, long b, long c, long d)
{
        return raw_call(number, a, b, c, d, 0);
}

static long raw_mount(const char *source, const char *target, const char *type, unsigned long flags,
        const char *data)
{
        return raw_call(
                SYS_mount, (long) source, (long) target, (long) type, (long) flags, (long) data);
}

static long raw_prctl(long option, long a, long b)
{
        return raw_call(SYS_prctl, option, a, b, 0, 0);
}

static long text_len(const char *text)
{
        long len = 0;

        while (text[len] != '\0')
                len++;
        return len;
}

static long write_file(const char *path, const char *text)
{
        long fd = raw(SYS_openat, AT_FDCWD, (long) path, O_WRONLY | O_CLOEXEC, 0), r;

        if (fd < 0)
                return fd;
        r = raw(SYS_write, fd, (long) text, text_len(text), 0);
        raw(SYS_close, fd, 0, 0, 0);
        return r;
}

/* ---- a user namespace of its own making */

long sandbox_begin(const struct sandbox *s, unsigned *ret_step)
{
        long r;

        *ret_step = SANDBOX_STEP_USERS;
        if ((s->flags & CLONE_NEWUSER) == 0)
                return 0;
        r = write_file("/proc/self/uid_map", s->uid_map);
        if (r >= 0)
                r = write_file("/proc/self/setgroups", "deny");
        if (r >= 0)
                r = write_file("/proc/self/gid_map", s->gid_map);
        return r < 0 ? r : 0;
}

/* ---- files */

/* A copy of what is mounted at @path, and below, which is mounted nowhere. */
static long copy_mount(const char *path)
{
        return raw(SYS_open_tree, AT_FDCWD, (long) path,
                OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE, 0);
}

/* The copy is at @path now; its descriptor is closed. */
static long put_mount(long fd, const char *path)
{
        long r = raw_call(
                SYS_move_mount, fd, (long) "", AT_FDCWD, (long) path, MOVE_MOUNT_F_EMPTY_PATH);

        if (r >= 0)
                raw(SYS_close, fd, 0, 0, 0);
        return r;
}

static long make_read_only(const char *path, unsigned flags)
{
        struct mount_attr attributes = { .attr_set = MOUNT_ATTR_RDONLY };

        return raw_call(SYS_mount_setattr, AT_FDCWD, (long) path, flags, (long) &attributes,
                sizeof attributes);
}

static bool is_absent(long r)
{
        return r == -ENOENT || r == -ENOTDIR;
}

static long enter_root(const char *root)
{
        long r = raw_mount(root, root, NULL, MS_BIND | MS_REC, NULL);

        if (r >= 0)
                r = raw(SYS_chdir, (long) root, 0, 0, 0);
        if (r < 0)
                return r;
        r = raw(SYS_pivot_root, (long) ".", (long) ".", 0, 0);
        if (r >= 0) {
                r = raw(SYS_umount2, (long) ".", MNT_DETACH_FLAG, 0, 0);
        } else if (r == -EINVAL) { /* the machine's root is the kernel's first file system */
                r = raw_mount(".", "/", NULL, MS_MOVE, NULL);
                if (r >= 0)
                        r = raw(SYS_chroot, (long) ".", 0, 0, 0);
        }
        return r < 0 ? r : raw(SYS_chdir, (long) "/", 0, 0, 0);
}

static long make_all_read_only(const struct sandbox *s, unsigned *ret_step)
{
        static const char *const kept[] = { "/dev", "/proc" };
        long copies[JOB_SANDBOX_PATHS + ARRAY_SIZE(kept)], r = 0;

        for (size_t i = 0; i < s->writable_len; i++) {
                *ret_step = SANDBOX_STEP_WRITABLE + (unsigned) i;
                copies[i] = r = copy_mount(s->writable[i]);
                if (r < 0)
                        return r;
        }
        *ret_step = SANDBOX_STEP_READ_ONLY;
        for (size_t i = 0; i < ARRAY_SIZE(kept); i++) {
                copies[s->writable_len + i] = r = copy_mount(kept[i]);
                if (r < 0 && !is_absent(r))
                        return r;
        }
        r = make_read_only("/", AT_RECURSIVE);
        for (size_t i = 0; i < ARRAY_SIZE(kept) && r >= 0; i++)
                if (copies[s->writable_len + i] >= 0)
                        r = put_mount(copies[s->writable_len + i], kept[i]);
        for (size_t i = 0; i < s->writable_len && r >= 0; i++) {
                *ret_step = SANDBOX_STEP_WRITABLE + (unsigned) i;
                r = put_mount(copies[i], s->writable[i]);
        }
        return r;
}

static long mount_tmp(const struct sandbox *s)
{
        long r = raw_mount("reeve-tmp", "/tmp", "tmpfs", TMP_FLAGS, "mode=1777"), more;

        if (r < 0 && !(s->chroot != NULL && is_absent(r)))
                return r;
        more = raw_mount("reeve-tmp", "/var/tmp", "tmpfs", TMP_FLAGS, "mode=1777");
        return more < 0 && !is_absent(more) ? more : 0;
}

/* @path lies below @folder. */
static bool is_below(const char *path, const char *folder)
{
        long len = text_len(folder);

        for (long i = 0; i < len; i++)
                if (path[i] != folder[i])
                        return false;
        return path[len] == '/';
}

/* Folders are covered by an empty one, all else by /dev/null. */
static long hide(const char *path, const char *notify, long *null_copy)
{
        struct statx st = { 0 };
        long r = raw_call(SYS_statx, AT_FDCWD, (long) path, 0, STATX_TYPE | STATX_MODE, (long) &st);
        const char *mode =
                notify != NULL && is_below(notify, path) ? "mode=0711,size=64k" : "mode=0,size=64k";

        if (r < 0)
                return is_absent(r) ? 0 : r;
        if ((st.stx_mode & S_IFMT) == S_IFDIR)
                return raw_mount("reeve-hidden", path, "tmpfs", TMP_FLAGS | MS_NOEXEC, mode);
        if (*null_copy < 0)
                return *null_copy;
        r = raw_call(SYS_move_mount, *null_copy, (long) "", AT_FDCWD, (long) path,
                MOVE_MOUNT_F_EMPTY_PATH);
        if (r < 0)
                return r;
        raw(SYS_close, *null_copy, 0, 0, 0);
        *null_copy = raw(SYS_open_tree, AT_FDCWD, (long) path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC,
                0); /* for the next one: /dev may not be there any more */
        return 0;
}

static long hide_all(const struct sandbox *s, const char *notify, long null_copy, unsigned *step)
{
        for (size_t i = 0; i < s->hide_len; i++) {
                long r;

                *step = SANDBOX_STEP_HIDE + (unsigned) i;
                r = hide(s->hide[i], notify, &null_copy);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* What covers a folder cannot be written to either, once the socket is in its place. */
static long seal_hidden(const struct sandbox *s, unsigned *step)
{
        for (size_t i = 0; i < s->hide_len; i++) {
                long r;

                *step = SANDBOX_STEP_HIDE + (unsigned) i;
                r = make_read_only(s->hide[i], 0);
                if (r < 0 && !is_absent(r))
                        return r;
        }
        return 0;
}

/* The folders above @path and an empty file there, where its file system was covered. */
static void make_place(const char *path)
{
        char part[PATH_ROOM];
        long len = text_len(path), umask = raw(SYS_umask, 0, 0, 0, 0);

        for (long i = 0; i < len && i < PATH_ROOM - 1; i++) {
                part[i] = '\0';
                if (path[i] == '/' && i > 0)
                        raw(SYS_mkdirat, AT_FDCWD, (long) part, 0711, 0);
                part[i] = path[i];
        }
        raw(SYS_mknodat, AT_FDCWD, (long) path, S_IFREG | 0600, 0);
        raw(SYS_umask, umask, 0, 0, 0);
}

static long put_notify(long copy, const char *path)
{
        long r = put_mount(copy, path);

        if (!is_absent(r))
                return r;
        make_place(path);
        return put_mount(copy, path);
}

static long arrange_files(const struct sandbox *s, const struct sandbox_run *run, unsigned *step)
{
        long notify = -1, null_copy = -1, r;

        *step = SANDBOX_STEP_PRIVATE;
        r = raw_mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL);
        if (r < 0)
                return r;
        if (run->notify != NULL) {
                *step = SANDBOX_STEP_NOTIFY;
                notify = r = copy_mount(run->notify);
                if (r < 0)
                        return r;
        }
        if (s->hide_len > 0)
                null_copy = copy_mount("/dev/null");
        *step = SANDBOX_STEP_CHROOT;
        if (s->chroot != NULL && (r = enter_root(s->chroot)) < 0)
                return r;
        if (s->read_only && (r = make_all_read_only(s, step)) < 0)
                return r;
        *step = SANDBOX_STEP_PROC;
        if ((s->flags & CLONE_NEWPID) != 0) {
                r = raw_mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
                if (r < 0 && !(s->chroot != NULL && is_absent(r)))
                        return r;
        }
        *step = SANDBOX_STEP_TMP;
        if (s->private_tmp && (r = mount_tmp(s)) < 0)
                return r;
        if ((r = hide_all(s, run->notify_inside, null_copy, step)) < 0)
                return r;
        *step = SANDBOX_STEP_NOTIFY;
        if (notify >= 0 && (r = put_notify(notify, run->notify_inside)) < 0)
                return r;
        return seal_hidden(s, step);
}

/* ---- network, users, capabilities */

static long begin_loopback(void)
{
        struct ifreq interface = { .ifr_name = "lo" };
        long fd = raw(SYS_socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0, 0), r;

        if (fd < 0)
                return fd;
        interface.ifr_flags = IFF_UP | IFF_RUNNING;
        r = raw(SYS_ioctl, fd, SIOCSIFFLAGS, (long) &interface, 0);
        raw(SYS_close, fd, 0, 0, 0);
        return r;
}

/* The bounding set, which nothing executed later can go beyond; and what is kept over setresuid(2).
 */
static long bound_capabilities(const struct sandbox *s, unsigned *step)
{
        long r;

        *step = SANDBOX_STEP_CAPABILITIES;
        if (s->capabilities == JOB_CAPABILITIES_ANY)
                return 0;
        for (int i = 0; i <= CAPABILITY_LAST; i++) {
                if ((s->capabilities >> i & 1) != 0)
                        continue;
                r = raw_prctl(PR_CAPBSET_DROP, i, 0);
                if (r == -EINVAL) /* this kernel has no more */
                        break;
                if (r < 0)
                        return r;
        }
        return s->capabilities != 0 ? raw_prctl(PR_SET_KEEPCAPS, 1, 0) : 0;
}

static long enter_users(int fd, unsigned *step)
{
        *step = SANDBOX_STEP_ENTER_USERS;
        return fd < 0 ? 0 : raw(SYS_setns, fd, CLONE_NEWUSER, 0, 0);
}

long sandbox_enter(const struct sandbox *s, const struct sandbox_run *run, unsigned *ret_step)
{
        long r = (s->flags & CLONE_NEWNS) != 0 ? arrange_files(s, run, ret_step) : 0;

        if (r < 0)
                return r;
        *ret_step = SANDBOX_STEP_NETWORK;
        if ((s->flags & CLONE_NEWNET) != 0 && (r = begin_loopback()) < 0)
                return r;
        r = enter_users(run->user_namespace, ret_step);
        return r < 0 ? r : bound_capabilities(s, ret_step);
}

/* Permitted, effective and inheritable; and ambient, so that a program of a user who is not root
 * has them. */
static long set_capabilities(uint64_t kept)
{
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[2];
        long r = raw_call(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);

        for (int i = 0; i < 2; i++)
                data[i].permitted = data[i].effective = data[i].inheritable =
                        (__u32) (kept >> 32 * i);
        if (r >= 0)
                r = raw(SYS_capset, (long) &header, (long) data, 0, 0);
        for (int i = 0; i <= CAPABILITY_LAST && r >= 0; i++)
                if ((kept >> i & 1) != 0)
                        r = raw_call(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, i, 0, 0);
        return r;
}

long sandbox_close(const struct sandbox *s, unsigned *ret_step)
{
        struct sock_fprog program = { (unsigned short) s->filter_len, s->filter };
        long r = 0;

        *ret_step = SANDBOX_STEP_CAPABILITIES;
        if (s->capabilities != JOB_CAPABILITIES_ANY && (r = set_capabilities(s->capabilities)) < 0)
                return r;
        *ret_step = SANDBOX_STEP_NO_NEW_PRIVS;
        if (s->no_new_privs && (r = raw_prctl(PR_SET_NO_NEW_PRIVS, 1, 0)) < 0)
                return r;
        *ret_step = SANDBOX_STEP_SECCOMP;
        return s->filter_len > 0 ? raw_prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, (long) &program)
                                 : 0;
}

/* ---- beside a task */

long sandbox_join(const struct sandbox *s, int pidfd, unsigned *ret_step)
{
        unsigned long flags = s->flags & (CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUSER);

        *ret_step = SANDBOX_STEP_JOIN;
        return flags == 0 ? 0 : raw(SYS_setns, pidfd, (long) flags, 0, 0);
}

long sandbox_join_users(const struct sandbox *s, int pidfd, unsigned *ret_step)
{
        long r = 0;

        *ret_step = SANDBOX_STEP_JOIN;
        if (s->user_namespace && (s->flags & CLONE_NEWUSER) == 0)
                r = raw(SYS_setns, pidfd, CLONE_NEWUSER, 0, 0);
        return r < 0 ? r : bound_capabilities(s, ret_step);
}
