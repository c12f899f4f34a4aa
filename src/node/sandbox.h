/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "model/job.h"

/* What keeps the processes of a task from the rest of the machine (`sandbox`, `dynamic_user`): made
 * ready once for a spec by the agent, given by the child to itself before it executes the program.
 */
struct sandbox;

/* ERR_INVALID if this agent has not the rights for what is asked; the message names the field. */
int sandbox_make(const struct job_spec *spec, struct sandbox **ret, struct error *err);
struct sandbox *sandbox_ref(struct sandbox *s);
void sandbox_unref(struct sandbox *s); /* NULL is fine */

/* What one run needs beside. Borrowed; zeroed, with -1 in user_namespace, if it needs nothing. */
struct sandbox_run {
        const char *notify;        /* the socket of sd_notify(3) as a file; NULL: none */
        const char *notify_inside; /* where the program finds it */
        int user_namespace;        /* from sandbox_open_user_namespace(); -1: none */
};

/* Where a program with a root of its own finds the socket. */
#define SANDBOX_NOTIFY "/run/reeve-notify"

/* Makes the file that the socket is put over, if the sandbox has a root of its own. */
int sandbox_make_notify(const struct sandbox *s, struct error *err);
bool sandbox_has_paths(const struct sandbox *s); /* what was there may be elsewhere or hidden */

/* A namespace in which only root and the two given exist, each under its own number. Returns a
 * descriptor, or -1 in @ret_fd where the child makes its namespace by itself. */
int sandbox_open_user_namespace(
        const struct sandbox *s, uid_t uid, gid_t gid, int *ret_fd, struct error *err);

/* The flags that clone(2) makes the child's namespaces by. */
unsigned long sandbox_clone_flags(const struct sandbox *s);

/* clone(2) with these flags failed. Returns -1. */
int sandbox_clone_failure(const struct sandbox *s, int sys_errno, struct error *err);

/* ---- In the child, by raw system calls only. Each returns 0, or a negative errno and where. In
 * this order, with the changes of groups and user where they are named. */

/* At once: as a process of its new user namespace it is nobody there before this. */
long sandbox_begin(const struct sandbox *s, unsigned *ret_step);

/* Files, processes, network; then, as root still, after setgroups(2): its user namespace, and what
 * capabilities it can never have. */
long sandbox_enter(const struct sandbox *s, const struct sandbox_run *run, unsigned *ret_step);

/* After setresuid(2), right before it executes: capabilities and the filter. */
long sandbox_close(const struct sandbox *s, unsigned *ret_step);

/* The sentence for a step that failed. Returns -1. */
int sandbox_failure(const struct sandbox *s, unsigned step, int sys_errno, struct error *err);

#define SANDBOX_STEPS 256

/* ---- Beside a task: for a child of fork(2) */

/* Enters the namespaces of the process behind @pidfd but for those of processes and users. */
long sandbox_join(const struct sandbox *s, int pidfd, unsigned *ret_step);

/* After setgroups(2): the user namespace, and then as sandbox_enter() ends. */
long sandbox_join_users(const struct sandbox *s, int pidfd, unsigned *ret_step);

/* Whether the children of whoever calls setns(2) are to be of its processes. */
bool sandbox_has_processes(const struct sandbox *s);
