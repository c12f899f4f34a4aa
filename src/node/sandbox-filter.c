/* SPDX-License-Identifier: BSD-3-Clause */
/* Sandbox-filter: from groups of system calls (model/syscalls.h) to a program for seccomp(2).
 *
 * libseccomp knows the numbers of the calls on every architecture. The filter holds for all that
 * this kernel may run programs of: a program of 32 bits on x86_64 makes other calls by other
 * numbers, and so does one that sets the bit of x32; without them in the filter it would be the way
 * around it. Calls of an architecture that is not in it kill the process.
 *
 * What is denied returns EPERM, so that programs go on without it; clone3(2) with `namespaces`
 * returns ENOSYS: its flags are in memory, where no filter sees them, and the C library then takes
 * clone(2). */
#include "node/sandbox-filter.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "base/macros.h"
#include "base/mem.h"
#include "model/syscalls.h"

#define FILTER_MAX (BPF_MAXINSNS * sizeof(struct sock_filter))

static const uint32_t more_architectures[] = {
#if defined(__x86_64__)
        SCMP_ARCH_X32,
        SCMP_ARCH_X86,
#elif defined(__aarch64__)
        SCMP_ARCH_ARM,
#endif
};

static const unsigned long clone_namespaces[] = { CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS,
        CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET };

static int deny_clones(scmp_filter_ctx filter)
{
        int r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);

        for (size_t i = 0; i < ARRAY_SIZE(clone_namespaces) && r == 0; i++)
                r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                        SCMP_A0(SCMP_CMP_MASKED_EQ, clone_namespaces[i], clone_namespaces[i]));
        return r;
}

static int deny_group(scmp_filter_ctx filter, const struct syscall_group *group)
{
        int r = group->clones ? deny_clones(filter) : 0;

        for (const char *const *call = group->calls; *call != NULL && r == 0; call++) {
                int number = seccomp_syscall_resolve_name(*call);

                if (number != __NR_SCMP_ERROR)
                        r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), number, 0);
                if (r == -EDOM || r == -EFAULT) /* no architecture of the filter has it */
                        r = 0;
        }
        return r;
}

static int add_architectures(scmp_filter_ctx filter)
{
        for (size_t i = 0; i < ARRAY_SIZE(more_architectures); i++) {
                int r = seccomp_arch_add(filter, more_architectures[i]);

                if (r < 0 && r != -EEXIST)
                        return r;
        }
        return 0;
}

static int deny_groups(scmp_filter_ctx filter, const struct job_spec *spec)
{
        int r = 0;

        for (const struct syscall_group *g = syscall_groups; g->name != NULL && r == 0; g++)
                if (g->by_default && spec->sandbox.seccomp == SANDBOX_SECCOMP_DEFAULT)
                        r = deny_group(filter, g);
        for (char *const *name = spec->sandbox.seccomp_deny;
                name != NULL && *name != NULL && r == 0; name++)
                if (syscall_group_find(*name) != NULL)
                        r = deny_group(filter, syscall_group_find(*name));
        return r;
}

/* libseccomp writes the program into a file. */
static int export_filter(
        scmp_filter_ctx filter, struct sock_filter **ret, size_t *ret_len, struct error *err)
{
        AUTO(fd_closep) int fd = memfd_create("reeve-filter", MFD_CLOEXEC);
        AUTO(mem_freep) char *program = NULL;
        off_t size;
        int r;

        if (fd < 0)
                return error_sys(err, errno, "sandbox.seccomp: make room for the filter");
        r = seccomp_export_bpf(filter, fd);
        size = r < 0 ? 0 : lseek(fd, 0, SEEK_END);
        if (size <= 0 || size > (off_t) FILTER_MAX)
                return error_sys(err, r < 0 ? -r : E2BIG, "sandbox.seccomp: make the filter");
        program = mem_alloc((size_t) size);
        if (pread(fd, program, (size_t) size, 0) != size)
                return error_sys(err, EIO, "sandbox.seccomp: read the filter");
        *ret = (void *) take_ptr(program);
        *ret_len = (size_t) size / sizeof **ret;
        return 0;
}

int sandbox_filter_make(
        const struct job_spec *spec, struct sock_filter **ret, size_t *ret_len, struct error *err)
{
        scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
        int r;

        if (filter == NULL)
                return error_set(err, ERR_SYSTEM, "sandbox.seccomp: begin a filter");
        r = add_architectures(filter);
        if (r == 0)
                r = deny_groups(filter, spec);
        if (r == 0) /* a search tree instead of one comparison after the other */
                r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
        if (r < 0)
                error_sys(err, -r, "sandbox.seccomp: make the filter");
        else
                r = export_filter(filter, ret, ret_len, err);
        seccomp_release(filter);
        return r < 0 ? -1 : 0;
}
