/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <sys/ioctl.h>
#include <sys/types.h>

#include "base/error.h"
#include "node/spawn.h"

/* Starts a program that is no task: a child of the agent, in a session of its own, that does not
 * outlive the agent. */

struct exec_start {
        const struct spawn_plan *plan; /* user, directory, program, arguments */
        char *const *env;              /* all of it, ended by NULL */
        bool tty;
        struct winsize size; /* with tty */
};

/* What the caller owns from then on. The descriptors are non-blocking. */
struct exec_program {
        pid_t pid;
        int pidfd;
        int in, out; /* with a terminal both are its master */
        int err;     /* -1 with a terminal */
};

/* Returns when the program is being executed, or -1 with a sentence that says what failed; then
 * nothing is left of it. */
int exec_spawn(const struct exec_start *start, struct exec_program *ret, struct error *err);
