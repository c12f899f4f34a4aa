/* SPDX-License-Identifier: BSD-3-Clause */
/* Pidfd: what Debian 12's headers do not have yet of the kernel's pidfds. */
#include "base/pidfd.h"

#include <stdint.h>
#include <sys/ioctl.h>

/* From linux/pidfd.h of Linux 6.15; the kernel takes any size from 64 bytes on. */
struct pidfd_info_exit {
        uint64_t mask;
        uint64_t cgroupid;
        uint32_t pid, tgid, ppid;
        uint32_t ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
        int32_t exit_code;
};
#define PIDFD_INFO_EXIT_MASK (UINT64_C(1) << 3)
#define PIDFD_GET_INFO_EXIT  _IOWR(0xFF, 11, struct pidfd_info_exit)

bool pidfd_exit_status(int pidfd, int *ret_status)
{
        struct pidfd_info_exit info = { .mask = PIDFD_INFO_EXIT_MASK };

        if (ioctl(pidfd, PIDFD_GET_INFO_EXIT, &info) < 0 || !(info.mask & PIDFD_INFO_EXIT_MASK))
                return false;
        *ret_status = info.exit_code;
        return true;
}
