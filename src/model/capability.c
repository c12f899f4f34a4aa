/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/capability.h"

#include <stddef.h>
#include <strings.h>

const char *const capability_names[] = { "chown", "dac_override", "dac_read_search", "fowner",
        "fsetid", "kill", "setgid", "setuid", "setpcap", "linux_immutable", "net_bind_service",
        "net_broadcast", "net_admin", "net_raw", "ipc_lock", "ipc_owner", "sys_module", "sys_rawio",
        "sys_chroot", "sys_ptrace", "sys_pacct", "sys_admin", "sys_boot", "sys_nice",
        "sys_resource", "sys_time", "sys_tty_config", "mknod", "lease", "audit_write",
        "audit_control", "setfcap", "mac_override", "mac_admin", "syslog", "wake_alarm",
        "block_suspend", "audit_read", "perfmon", "bpf", "checkpoint_restore", NULL };

_Static_assert(sizeof capability_names / sizeof *capability_names == CAPABILITIES_MAX + 1,
        "as many as there are");

int capability_find(const char *name)
{
        if (strncasecmp(name, "cap_", 4) == 0)
                name += 4;
        for (int i = 0; i < CAPABILITIES_MAX; i++)
                if (strcasecmp(name, capability_names[i]) == 0)
                        return i;
        return -1;
}
