/* SPDX-License-Identifier: BSD-3-Clause */
/* Syscalls: the one table of what a sandbox can deny, by name. Checks of specs, the filter
 * (node/sandbox-filter.c), the schema and the reference page come from it.
 *
 * The default groups are those that programs which serve or compute have no use for, and which have
 * been the way into kernels: what loads code into it, what looks at other processes, what sets the
 * machine's clock, mounts or disks, and what is kept only for programs of long ago. They need
 * rights that most tasks do not have anyway; the filter holds for those that have them, too. The
 * other groups are for those who know their program. */
#include "model/syscalls.h"

#include <stddef.h>
#include <string.h>

#define CALLS(...)                                                                                 \
        (const char *const[])                                                                      \
        {                                                                                          \
                __VA_ARGS__, NULL                                                                  \
        }

const struct syscall_group syscall_groups[] = {
        { .name = "clock",
                .by_default = true,
                .help = "set the machine's time",
                .calls = CALLS("adjtimex", "clock_adjtime", "clock_adjtime64", "clock_settime",
                        "clock_settime64", "settimeofday", "stime") },
        { .name = "cpu-emulation",
                .by_default = true,
                .help = "change how the processor runs old programs",
                .calls = CALLS("modify_ldt", "subpage_prot", "switch_endian", "vm86", "vm86old") },
        { .name = "debug",
                .by_default = true,
                .help = "look into other processes and into the processor's counters",
                .calls = CALLS("kcmp", "lookup_dcookie", "perf_event_open", "pidfd_getfd",
                        "process_vm_readv", "process_vm_writev", "ptrace", "rtas",
                        "sys_debug_setcontext") },
        { .name = "kernel-code",
                .by_default = true,
                .help = "load programs and modules into the kernel",
                .calls = CALLS(
                        "bpf", "create_module", "delete_module", "finit_module", "init_module") },
        { .name = "kernel-log",
                .by_default = true,
                .help = "read the kernel's messages",
                .calls = CALLS("syslog") },
        { .name = "keyring",
                .by_default = true,
                .help = "the kernel's keys, which namespaces do not divide",
                .calls = CALLS("add_key", "keyctl", "request_key") },
        { .name = "mount",
                .by_default = true,
                .help = "change the tree of files, and open files behind it",
                .calls = CALLS("chroot", "fsconfig", "fsmount", "fsopen", "fspick", "mount",
                        "mount_setattr", "move_mount", "open_by_handle_at", "open_tree",
                        "pivot_root", "umount", "umount2") },
        { .name = "obsolete",
                .by_default = true,
                .help = "calls that no program of today makes",
                .calls = CALLS("_sysctl", "afs_syscall", "bdflush", "break", "epoll_ctl_old",
                        "epoll_wait_old", "ftime", "get_kernel_syms", "getpmsg", "gtty", "idle",
                        "lock", "mpx", "nfsservctl", "prof", "profil", "putpmsg", "query_module",
                        "security", "sgetmask", "ssetmask", "stty", "sysfs", "tuxcall", "ulimit",
                        "uselib", "ustat", "vserver") },
        { .name = "quota",
                .by_default = true,
                .help = "quotas and accounting of file systems and users",
                .calls = CALLS("acct", "quotactl", "quotactl_fd") },
        { .name = "raw-io",
                .by_default = true,
                .help = "speak to devices past the kernel",
                .calls = CALLS("ioperm", "iopl", "pciconfig_iobase", "pciconfig_read",
                        "pciconfig_write", "s390_pci_mmio_read", "s390_pci_mmio_write") },
        { .name = "reboot",
                .by_default = true,
                .help = "end this kernel or begin another",
                .calls = CALLS("kexec_file_load", "kexec_load", "reboot") },
        { .name = "swap",
                .by_default = true,
                .help = "swap space",
                .calls = CALLS("swapoff", "swapon") },
        { .name = "userfaultfd",
                .by_default = true,
                .help = "handle page faults, which makes races in the kernel winnable",
                .calls = CALLS("userfaultfd") },
        { .name = "io-uring",
                .help = "io_uring, which does much that other groups deny",
                .calls = CALLS("io_uring_enter", "io_uring_register", "io_uring_setup") },
        { .name = "ipc",
                .help = "shared memory, semaphores and queues of System V and POSIX",
                .calls = CALLS("ipc", "mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive",
                        "mq_timedreceive_time64", "mq_timedsend", "mq_timedsend_time64",
                        "mq_unlink", "msgctl", "msgget", "msgrcv", "msgsnd", "semctl", "semget",
                        "semop", "semtimedop", "semtimedop_time64", "shmat", "shmctl", "shmdt",
                        "shmget") },
        { .name = "namespaces",
                .clones = true,
                .help = "make namespaces and enter them; clone3(2) is not there",
                .calls = CALLS("setns", "unshare") },
        { .name = "network",
                .help = "make sockets",
                .calls = CALLS("socket", "socketcall", "socketpair") },
        { .name = "owners",
                .help = "give files to others",
                .calls = CALLS("chown", "chown32", "fchown", "fchown32", "fchownat", "lchown",
                        "lchown32") },
        { .name = "resources",
                .help = "change priorities, limits, and where memory and processes are",
                .calls = CALLS("ioprio_set", "mbind", "migrate_pages", "move_pages", "nice",
                        "sched_setaffinity", "sched_setattr", "sched_setparam",
                        "sched_setscheduler", "set_mempolicy", "setpriority", "setrlimit") },
        { .name = "users",
                .help = "become another user or group",
                .calls = CALLS("setfsgid", "setfsgid32", "setfsuid", "setfsuid32", "setgid",
                        "setgid32", "setgroups", "setgroups32", "setregid", "setregid32",
                        "setresgid", "setresgid32", "setresuid", "setresuid32", "setreuid",
                        "setreuid32", "setuid", "setuid32") },
        { 0 },
};

const struct syscall_group *syscall_group_find(const char *name)
{
        for (const struct syscall_group *g = syscall_groups; g->name != NULL; g++)
                if (strcmp(g->name, name) == 0)
                        return g;
        return NULL;
}
