/* SPDX-License-Identifier: BSD-3-Clause */
/* Sandbox-score: what of a machine is open to the tasks of a job, in points of 100.
 *
 * Every item looks at one thing and takes from its points what is closed. The weights are a
 * judgement: what lets a broken program become the machine weighs most (its user, capabilities, the
 * network), what only shows it more than it needs weighs little. Findings and advice are short
 * enough for a line each on a narrow terminal. */
#include "model/sandbox-score.h"

#include <string.h>

#include "base/macros.h"
#include "model/syscalls.h"

struct verdict {
        unsigned part; /* of ten: 10 is open */
        const char *finding;
};

static bool is_root(const struct job_spec *spec)
{
        return !spec->dynamic_user && (spec->user == NULL || strcmp(spec->user, "root") == 0 ||
                                              strcmp(spec->user, "0") == 0);
}

static struct verdict judge_user(const struct job_spec *spec)
{
        if (spec->dynamic_user)
                return (struct verdict){ 0, "every task is a user of its own" };
        if (spec->user == NULL)
                return (struct verdict){ 10, "it runs as the agent's user, often root" };
        if (is_root(spec))
                return (struct verdict){ 10, "it runs as root" };
        return (struct verdict){ 2, "it runs as a user, with all that is that user's" };
}

/* Any of these is as good as root, sooner or later. */
static bool keeps_strong(uint64_t kept)
{
        static const uint64_t strong = UINT64_C(1) << 1 | UINT64_C(1) << 2 | UINT64_C(1) << 6 |
                                       UINT64_C(1) << 7 | UINT64_C(1) << 8 | UINT64_C(1) << 16 |
                                       UINT64_C(1) << 17 | UINT64_C(1) << 19 | UINT64_C(1) << 21 |
                                       UINT64_C(1) << 27 | UINT64_C(1) << 31 | UINT64_C(1) << 33 |
                                       UINT64_C(1) << 39;

        return (kept & strong) != 0;
}

static struct verdict judge_capabilities(const struct job_spec *spec)
{
        uint64_t kept = spec->sandbox.capabilities;

        if (kept == JOB_CAPABILITIES_ANY && is_root(spec))
                return (struct verdict){ 10, "root has all of them" };
        if (kept == JOB_CAPABILITIES_ANY)
                return (struct verdict){ 2, "set-user-ID programs can still get them" };
        if (keeps_strong(kept))
                return (struct verdict){ 8, "among those that are kept is one like root" };
        if (kept != 0)
                return (struct verdict){ 2, "some are kept" };
        return (struct verdict){ 0, "none" };
}

static struct verdict judge_privileges(const struct job_spec *spec)
{
        return job_spec_no_new_privs(spec)
                       ? (struct verdict){ 0, "programs give it no more rights" }
                       : (struct verdict){ 10, "set-user-ID programs can give it rights" };
}

static struct verdict judge_filter(const struct job_spec *spec)
{
        if (spec->sandbox.seccomp == SANDBOX_SECCOMP_DEFAULT)
                return (struct verdict){ 0, "the dangerous system calls are denied" };
        if (spec->sandbox.seccomp_deny != NULL)
                return (struct verdict){ 6, "some groups of system calls are denied" };
        return (struct verdict){ 10, "it may make every system call" };
}

static bool denies(const struct job_spec *spec, const char *name)
{
        for (char *const *group = spec->sandbox.seccomp_deny; group != NULL && *group != NULL;
                group++)
                if (strcmp(*group, name) == 0)
                        return true;
        return false;
}

static struct verdict judge_more(const struct job_spec *spec)
{
        unsigned open = !denies(spec, "namespaces") + !denies(spec, "io-uring");

        if (open == 0)
                return (struct verdict){ 0, "it makes no namespaces and no io_uring" };
        return (struct verdict){ open * 5, open == 2 ? "it may make namespaces and io_uring"
                                                     : "it may make namespaces or io_uring" };
}

static struct verdict judge_files(const struct job_spec *spec)
{
        if (spec->sandbox.read_only)
                return (struct verdict){ 0, "it writes only where it is told to" };
        if (spec->sandbox.chroot != NULL)
                return (struct verdict){ 3, "it may write within its own root" };
        return (struct verdict){ 10, "it writes wherever its user may" };
}

static bool hides(const struct job_spec *spec, const char *path)
{
        for (char *const *p = spec->sandbox.hide; p != NULL && *p != NULL; p++)
                if (strcmp(*p, path) == 0)
                        return true;
        return false;
}

static struct verdict judge_view(const struct job_spec *spec)
{
        if (spec->sandbox.chroot != NULL)
                return (struct verdict){ 0, "it sees its own root only" };
        if (hides(spec, "/home") && hides(spec, "/root"))
                return (struct verdict){ 2, "people's files are hidden" };
        return (struct verdict){ 10, "it sees people's files" };
}

static struct verdict judge_tmp(const struct job_spec *spec)
{
        if (job_spec_private_tmp(spec) || spec->sandbox.chroot != NULL)
                return (struct verdict){ 0, "it shares /tmp with nobody" };
        return (struct verdict){ 10, "it shares /tmp with everybody" };
}

static struct verdict judge_processes(const struct job_spec *spec)
{
        return spec->sandbox.pid_namespace
                       ? (struct verdict){ 0, "it sees its own processes only" }
                       : (struct verdict){ 10, "it sees all processes of the machine" };
}

static struct verdict judge_users(const struct job_spec *spec)
{
        return spec->sandbox.user_namespace
                       ? (struct verdict){ 0, "what rights it gets count for nothing outside" }
                       : (struct verdict){ 10, "rights that it gets count on the machine" };
}

static struct verdict judge_network(const struct job_spec *spec)
{
        if (spec->sandbox.network == SANDBOX_NETWORK_NONE)
                return (struct verdict){ 0, "it has no network" };
        if (denies(spec, "network"))
                return (struct verdict){ 1, "it cannot make sockets" };
        return (struct verdict){ 10, "it has the machine's network" };
}

static struct verdict judge_limits(const struct job_spec *spec)
{
        unsigned open = (spec->limits.memory >= JOB_LIMIT_NONE) +
                        (spec->limits.pids >= JOB_LIMIT_NONE ? 1u : 0u);

        if (open == 0)
                return (struct verdict){ 0, "memory and processes are limited" };
        return (struct verdict){ open * 5, open == 2 ? "memory and processes have no limit"
                                                     : "memory or processes have no limit" };
}

static const struct {
        const char *field;
        unsigned most;
        struct verdict (*judge)(const struct job_spec *spec);
        const char *advice;
} items[] = {
        { "user", 20, judge_user, "dynamic_user: true, or user: NAME" },
        { "capabilities", 15, judge_capabilities, "sandbox.capabilities: []" },
        { "network", 12, judge_network, "sandbox.network: none" },
        { "read_only", 10, judge_files, "sandbox.read_only: true, and writable" },
        { "seccomp", 10, judge_filter, "sandbox.seccomp: default" },
        { "no_new_privs", 8, judge_privileges, "sandbox.no_new_privs: true" },
        { "hide", 6, judge_view, "sandbox.hide: [/home, /root]" },
        { "private_tmp", 5, judge_tmp, "sandbox.private_tmp: true" },
        { "pid_namespace", 5, judge_processes, "sandbox.pid_namespace: true" },
        { "user_namespace", 4, judge_users, "sandbox.user_namespace: true" },
        { "limits", 3, judge_limits, "limits: {memory: ..., pids: ...}" },
        { "seccomp_deny", 2, judge_more, "sandbox.seccomp_deny: [namespaces, io-uring]" },
};

_Static_assert(ARRAY_SIZE(items) == SANDBOX_ITEMS, "as many as callers have room for");

unsigned sandbox_score(const struct job_spec *spec, struct sandbox_item ret[SANDBOX_ITEMS])
{
        unsigned sum = 0;

        for (size_t i = 0; i < SANDBOX_ITEMS; i++) {
                struct verdict verdict = items[i].judge(spec);
                unsigned points = (items[i].most * verdict.part + 9) / 10;

                ret[i] = (struct sandbox_item){ items[i].field, items[i].most, points,
                        verdict.finding, points > 0 ? items[i].advice : NULL };
                sum += points;
        }
        return sum;
}

const char *sandbox_word(unsigned points)
{
        return points <= 20 ? "tight" : points <= 50 ? "fair" : points <= 75 ? "open" : "wide open";
}
