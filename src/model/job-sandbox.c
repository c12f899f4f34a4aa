/* SPDX-License-Identifier: BSD-3-Clause */
/* The fields of the section `sandbox`: what the processes of a task can see and do.
 *
 * All of it is given to the first process before it executes the program and is inherited by the
 * others, so every change needs a new run. What fields say together is checked in
 * job-check-sandbox.c. */
#include "model/job-fields.h"

#define AT(member) offsetof(struct job_spec, member)

static const char *const seccomp_names[] = { "none", "default", NULL };
static const char *const network_names[] = { "host", "none", NULL };

const struct job_field job_sandbox_fields[] = {
        { .name = "chroot",
                .path = "sandbox.chroot",
                .type = FIELD_PATH,
                .needs_restart = true,
                .offset = AT(sandbox.chroot),
                .without = "none",
                .help = "The folder that is the root of all files for the task. The program, "
                        "`directory` and the other paths of this section are meant inside. With "
                        "`ready.notify` or `watchdog` the file `run/reeve-notify` is made in it.",
                .example = "/srv/web" },
        { .name = "no_new_privs",
                .path = "sandbox.no_new_privs",
                .type = FIELD_BOOL,
                .needs_restart = true,
                .offset = AT(sandbox.no_new_privs),
                .has_default = true,
                .help = "No program that it executes gives it more rights: set-user-ID bits and "
                        "file capabilities do nothing.",
                .example = "true" },
        { .name = "capabilities",
                .path = "sandbox.capabilities",
                .type = FIELD_CAPABILITIES,
                .needs_restart = true,
                .offset = AT(sandbox.capabilities),
                .without = "those that its user has",
                .help = "The capabilities(7) that are kept, also by a user who is not root; no "
                        "process of the task can have any other. `[]`: none at all.",
                .example = "[net_bind_service]" },
        { .name = "seccomp",
                .path = "sandbox.seccomp",
                .type = FIELD_ENUM,
                .names = seccomp_names,
                .needs_restart = true,
                .offset = AT(sandbox.seccomp),
                .has_default = true,
                .initial = SANDBOX_SECCOMP_NONE,
                .help = "`default`: system calls of the groups below that say so fail with EPERM. "
                        "Implies `no_new_privs`.",
                .example = "default" },
        { .name = "seccomp_deny",
                .path = "sandbox.seccomp_deny",
                .type = FIELD_TEXTS,
                .needs_restart = true,
                .offset = AT(sandbox.seccomp_deny),
                .max = 32,
                .without = "none",
                .help = "More groups of system calls that fail with EPERM (see below). Implies "
                        "`no_new_privs`.",
                .example = "[namespaces, io-uring]" },
        { .name = "private_tmp",
                .path = "sandbox.private_tmp",
                .type = FIELD_BOOL,
                .needs_restart = true,
                .offset = AT(sandbox.private_tmp),
                .has_default = true,
                .help = "`/tmp` and `/var/tmp` are the run's own: empty when it begins, in memory "
                        "(which counts against `limits.memory`), gone when it ends.",
                .example = "true" },
        { .name = "read_only",
                .path = "sandbox.read_only",
                .type = FIELD_BOOL,
                .needs_restart = true,
                .offset = AT(sandbox.read_only),
                .has_default = true,
                .help = "All files are read-only but those in `writable`, a private `/tmp`, "
                        "`/dev` and `/proc`.",
                .example = "true" },
        { .name = "writable",
                .path = "sandbox.writable",
                .type = FIELD_PATHS,
                .needs_restart = true,
                .offset = AT(sandbox.writable),
                .max = JOB_SANDBOX_PATHS,
                .without = "none",
                .help = "Folders and files that stay as they are with `read_only`. They must be "
                        "there.",
                .example = "[/var/lib/web]" },
        { .name = "hide",
                .path = "sandbox.hide",
                .type = FIELD_PATHS,
                .needs_restart = true,
                .offset = AT(sandbox.hide),
                .max = JOB_SANDBOX_PATHS,
                .without = "none",
                .help = "Folders and files that are empty for it; folders are closed to all but "
                        "root. What is not there is passed over.",
                .example = "[/home, /root, /etc/shadow]" },
        { .name = "pid_namespace",
                .path = "sandbox.pid_namespace",
                .type = FIELD_BOOL,
                .needs_restart = true,
                .offset = AT(sandbox.pid_namespace),
                .has_default = true,
                .help = "It sees and signals no processes but its own. The program is process 1 "
                        "there: it has to reap what is orphaned, and when it ends all others are "
                        "killed.",
                .example = "true" },
        { .name = "user_namespace",
                .path = "sandbox.user_namespace",
                .type = FIELD_BOOL,
                .needs_restart = true,
                .offset = AT(sandbox.user_namespace),
                .has_default = true,
                .help = "Its users are its own user and root; whatever rights it has or gets, they "
                        "count for nothing outside. When Reeve does not run as root, this is what "
                        "makes the other namespaces and paths of this section possible.",
                .example = "true" },
        { .name = "network",
                .path = "sandbox.network",
                .type = FIELD_ENUM,
                .names = network_names,
                .needs_restart = true,
                .offset = AT(sandbox.network),
                .has_default = true,
                .initial = SANDBOX_NETWORK_HOST,
                .help = "`none`: it has a loopback interface of its own and no other. UNIX sockets "
                        "that are files can still be reached.",
                .example = "none" },
        { 0 },
};

bool job_spec_has_sandbox(const struct job_spec *spec)
{
        return spec->dynamic_user || spec->sandbox.chroot != NULL || spec->sandbox.no_new_privs ||
               spec->sandbox.capabilities != JOB_CAPABILITIES_ANY ||
               spec->sandbox.seccomp != SANDBOX_SECCOMP_NONE ||
               spec->sandbox.seccomp_deny != NULL || spec->sandbox.private_tmp ||
               spec->sandbox.read_only || spec->sandbox.hide != NULL ||
               spec->sandbox.pid_namespace || spec->sandbox.user_namespace ||
               spec->sandbox.network != SANDBOX_NETWORK_HOST;
}

bool job_spec_no_new_privs(const struct job_spec *spec)
{
        return spec->sandbox.no_new_privs || spec->dynamic_user ||
               spec->sandbox.seccomp != SANDBOX_SECCOMP_NONE || spec->sandbox.seccomp_deny != NULL;
}

bool job_spec_private_tmp(const struct job_spec *spec)
{
        return spec->sandbox.private_tmp || spec->dynamic_user;
}
