/* SPDX-License-Identifier: BSD-3-Clause */
/* What the fields of `sandbox` and `dynamic_user` say together, and which groups of system calls
 * there are. */
#include <string.h>

#include "model/job-check.h"
#include "model/syscalls.h"

/* Where the field of the section stands; the job if it does not. */
static const struct value *find(const struct reader *r, const struct value *job, const char *name,
        struct value *section, struct value *ret)
{
        if (!value_find(r, job, "sandbox", section))
                return job;
        return value_find(r, section, name, ret) ? ret : section;
}

static void put_groups(struct buffer *out)
{
        for (const struct syscall_group *g = syscall_groups; g->name != NULL; g++)
                buffer_printf(out, "%s%s",
                        g == syscall_groups ? ""
                        : g[1].name == NULL ? " and "
                                            : ", ",
                        g->name);
}

static int check_groups(
        const struct reader *r, const struct value *job, const struct job_spec *spec)
{
        AUTO(buffer_done) struct buffer groups = { 0 };
        struct value section, at;

        for (char *const *name = spec->sandbox.seccomp_deny; name != NULL && *name != NULL; name++)
                if (syscall_group_find(*name) == NULL) {
                        put_groups(&groups);
                        return value_fail(r, find(r, job, "seccomp_deny", &section, &at),
                                "there is no group \"%s\" of system calls; there are %s", *name,
                                buffer_str(&groups));
                }
        return 0;
}

static int check_dynamic_user(
        const struct reader *r, const struct value *job, const struct job_spec *spec)
{
        struct value at;

        if (!spec->dynamic_user || (spec->user == NULL && spec->group == NULL))
                return 0;
        return value_fail(r,
                value_find(r, job, spec->user != NULL ? "user" : "group", &at) ? &at : job,
                "leave it out: with \"dynamic_user\" every task has a user and a group of its own");
}

/* What is asked over the network, which nobody could answer. */
static bool is_asked(const struct job_spec *spec)
{
        bool asked = spec->ready.http != NULL || spec->ready.tcp != NULL ||
                     spec->resources.ports != NULL;

        for (size_t i = 0; i < spec->health_len; i++)
                asked |= spec->health[i].http != NULL || spec->health[i].tcp != NULL;
        return asked;
}

/* The program would be the first process, and all would end with it; and what was there before has
 * no sandbox. */
static int check_daemon(
        const struct reader *r, const struct value *job, const struct job_spec *spec)
{
        struct value section, at;

        if (spec->daemon.pid_file != NULL && spec->sandbox.pid_namespace)
                return value_fail(r, find(r, job, "pid_namespace", &section, &at),
                        "not possible with \"daemon\": all processes end with the first one");
        if (spec->daemon.adopt && job_spec_has_sandbox(spec))
                return value_fail(r, value_find(r, job, "sandbox", &at) ? &at : job,
                        "not possible with \"daemon.adopt\": what is taken over is outside");
        return 0;
}

/* A path is the root, or would be another for the kernel than for whoever reads it. */
static bool is_odd(const char *path)
{
        size_t len = strlen(path);

        return path[1] == '\0' || strstr(path, "//") != NULL || strstr(path, "/./") != NULL ||
               strstr(path, "/../") != NULL || path[len - 1] == '/' ||
               (len >= 2 && strcmp(path + len - 2, "/.") == 0) ||
               (len >= 3 && strcmp(path + len - 3, "/..") == 0);
}

static int check_paths(
        const struct reader *r, const struct value *job, const char *name, char *const *paths)
{
        struct value section, at;

        for (; paths != NULL && *paths != NULL; paths++)
                if (is_odd(*paths))
                        return value_fail(r, find(r, job, name, &section, &at),
                                "\"%s\": expected a path below the root, without \".\", \"..\" and "
                                "a \"/\" at its end",
                                *paths);
        return 0;
}

int job_check_sandbox(const struct reader *r, const struct value *job, const struct job_spec *spec)
{
        char *chroot[] = { spec->sandbox.chroot, NULL };
        struct value section, at;

        if (check_groups(r, job, spec) < 0 || check_dynamic_user(r, job, spec) < 0 ||
                check_daemon(r, job, spec) < 0 || check_paths(r, job, "chroot", chroot) < 0 ||
                check_paths(r, job, "writable", spec->sandbox.writable) < 0 ||
                check_paths(r, job, "hide", spec->sandbox.hide) < 0)
                return -1;
        if (spec->sandbox.writable != NULL && !spec->sandbox.read_only)
                return value_fail(
                        r, find(r, job, "writable", &section, &at), "it needs \"read_only: true\"");
        if (spec->sandbox.network == SANDBOX_NETWORK_NONE && is_asked(spec))
                return value_fail(r, find(r, job, "network", &section, &at),
                        "with \"none\" nobody reaches the task's ports, and `http` and `tcp` of "
                        "`ready` and `health` ask in vain");
        return 0;
}
