/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <linux/filter.h>
#include <stdint.h>

#include "node/sandbox.h"

/* What the agent makes ready (sandbox.c) and the child gives itself (sandbox-child.c). */

struct sandbox {
        unsigned refs;
        unsigned long flags; /* of clone(2) */
        bool user_namespace, no_new_privs, private_tmp, read_only;
        uint64_t capabilities; /* JOB_CAPABILITIES_ANY */
        char *chroot;          /* NULL: none */
        char **writable, **hide;
        size_t writable_len, hide_len; /* at most JOB_SANDBOX_PATHS */
        char uid_map[32], gid_map[32]; /* of a child that makes its user namespace itself */
        struct sock_filter *filter;
        size_t filter_len; /* 0: none */
};

/* The numbers are kept in run records: new ones go to the end. */
enum sandbox_step {
        SANDBOX_STEP_USERS,
        SANDBOX_STEP_PRIVATE,
        SANDBOX_STEP_NOTIFY,
        SANDBOX_STEP_CHROOT,
        SANDBOX_STEP_READ_ONLY,
        SANDBOX_STEP_PROC,
        SANDBOX_STEP_TMP,
        SANDBOX_STEP_NETWORK,
        SANDBOX_STEP_ENTER_USERS,
        SANDBOX_STEP_CAPABILITIES,
        SANDBOX_STEP_NO_NEW_PRIVS,
        SANDBOX_STEP_SECCOMP,
        SANDBOX_STEP_JOIN,
        SANDBOX_STEP_WRITABLE = 64, /* the first of them, and so on */
        SANDBOX_STEP_HIDE = 64 + JOB_SANDBOX_PATHS,
};
