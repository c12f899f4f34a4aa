/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <signal.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "base/error.h"
#include "model/job.h"
#include "model/variables.h"
#include "node/limits.h"
#include "node/sandbox.h"
#include "node/table.h"

/* Starts the process of a run as a child of the keeper. */

/* The steps at which a start can fail, as the child notes them in its run record. */
enum spawn_step {
        SPAWN_STEP_TABLE = 1,
        SPAWN_STEP_SESSION,
        SPAWN_STEP_STDIN,
        SPAWN_STEP_STDOUT,
        SPAWN_STEP_STDERR,
        SPAWN_STEP_GROUPS,
        SPAWN_STEP_GROUP,
        SPAWN_STEP_USER,
        SPAWN_STEP_DIRECTORY,
        SPAWN_STEP_EXECUTE,
        SPAWN_STEP_CGROUP,
        SPAWN_STEP_PROCESS,
        SPAWN_STEP_LIMITS = 64,   /* and enum limits_step */
        SPAWN_STEP_SANDBOX = 256, /* and enum sandbox_step */
};

/* What all tasks of a job version share: looked up and put together once, because between clone and
 * exec the child may only make raw system calls. */
struct spawn_plan {
        char *program; /* path to execute, found along PATH */
        char **argv;
        char **env; /* from the spec and the agent's PATH; the run's own variables are added at each
                       start */
        char *directory;
        char *root; /* in which the program is looked for; NULL: the machine's */
        bool change_user;
        uid_t uid;
        gid_t gid;
        gid_t *groups;
        size_t groups_len;
        struct limits limits;
        struct sandbox *sandbox; /* a reference; NULL: none */
        int join; /* with a sandbox, of what runs beside a task: pidfd of the task's process */
        bool has_variables; /* argv or env name some (model/variables.h) */
};

/* Looks up user, group, groups and program; the sandbox is left to the caller. A name that does not
 * exist is an error of the spec (ERR_INVALID). A program that is not there is none yet: it is tried
 * at every start. */
int spawn_plan_make(const struct job_spec *spec, struct spawn_plan *ret, struct error *err);
void spawn_plan_done(struct spawn_plan *plan);

/* The plan with the values of a run in place of its variables. Borrows from @plan all that has
 * none. */
void spawn_plan_expand(
        const struct spawn_plan *plan, const struct variables *values, struct spawn_plan *ret);

/* Puts what the spec's env_files say into the environment of an expanded plan, and looks for the
 * program once more. The error names the file, and the line if one is wrong. */
int spawn_plan_read_files(struct spawn_plan *expanded, char *const *files,
        const struct variables *values, struct error *err);
void spawn_plan_expanded_done(struct spawn_plan *expanded);

/* Reads RLIMIT_NOFILE and remembers it for the tasks, then raises our own soft limit to the hard
 * one. @agent_lock_fd: the descriptor of the lock that the agent holds; a child keeps it until it
 * executes. Call once at start, early: a low number is cheap. */
void spawn_init(int agent_lock_fd);

/* The limit of open files that a task has which is given none. */
const struct rlimit *spawn_inherited_nofile(void);

/* Gives the calling process, a child that was forked, the limit of the tasks again. */
void spawn_restore_nofile(void);

/* Gives the calling process, a child that was forked, all signals as the kernel has them: none
 * blocked, ignored or handled, those neither that the C library keeps to itself. */
void spawn_reset_signals(void);

/* A descriptor that the program finds under a number of its own. */
struct spawn_pass {
        int from; /* ours */
        int to;   /* 3 at least */
};

#define SPAWN_PASS_MAX   80
#define SPAWN_PID_DIGITS 10

/* One run that is to be started. Everything is borrowed. */
struct spawn_run {
        const struct spawn_plan *plan;
        uint64_t number;
        const char *task;          /* "web.0" */
        char *const *env;          /* "NAME=value" of this run, ended by NULL */
        const char *fifo_paths[2]; /* for stdout and stderr; the child opens them itself */
        int fifos[2];              /* our descriptors of them: for the witness */
        int witness; /* connection to the server's witness (keeper/protocol.h); -1: none */
        const struct spawn_pass *pass; /* at most SPAWN_PASS_MAX, no two to the same number */
        size_t pass_len;
        char *listen_pid; /* in one of env: SPAWN_PID_DIGITS bytes in which the child writes its
                             pid, ended by NUL; NULL: none */
        struct sandbox_run sandbox; /* with plan->sandbox */
        int cgroup_fd;              /* a directory of version 2 to be born in; -1: none */
        char *const *cgroup_procs;  /* files to write the child into, ended by NULL, that of
                                       cgroup_fd first; NULL: none */
        uint64_t log_begin[2];      /* for the record */
        struct table_run *record;   /* in a shared mapping; the child fills it before exec */
};

/* Starts it. Returns pid and a pidfd (the caller owns it).
 * If the program could not be executed, returns -1 with a sentence that names the step; the child
 * has been reaped by the keeper or will be. */
int spawn_run(const struct spawn_run *run, pid_t *ret_pid, int *ret_pidfd, struct error *err);

/* The sentence for a failed start that a run record tells of. Returns -1. */
int spawn_failure(const struct spawn_plan *plan, const struct table_run *record, struct error *err);
