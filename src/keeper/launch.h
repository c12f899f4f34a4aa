/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>

#include "keeper/protocol.h"

/* Starting a new keeper after the old one was killed: what an agent or a server, whoever sees it
 * first, does. Needs nothing but libc. */

struct keeper_handover {
        enum keeper_message_type type; /* KEEPER_PUT or KEEPER_ADOPT */
        const char *name;
        const int *fds; /* borrowed */
        size_t fds_len;
        uint64_t value; /* ADOPT: the program's pid */
};

enum keeper_launched {
        KEEPER_LAUNCH_FAILED = -1, /* @text says why */
        KEEPER_LAUNCHED,     /* it has taken everything over and starts the programs that were not
                                adopted; @text is set if something could not be handed over */
        KEEPER_LAUNCH_TAKEN, /* there is another keeper already */
};

/* Where the keeper's arguments are kept, relative to its directory: NUL-terminated strings, the
 * first the absolute path of its program. */
#define KEEPER_ARGUMENTS_FILE "keeper.argv"

/* Writes the arguments (up to NULL) down, durably enough to outlive any process. Returns 0 or a
 * negative errno: -E2BIG if there are more than keeper_launch() can read back. */
int keeper_save_arguments(const char *directory, char *const *arguments);

/* What a keeper is started with, for who has raised its own limits: it hands them on to tasks. */
void keeper_launch_set_nofile(const struct rlimit *nofile);

/* Starts a keeper that is nobody's child, with the saved arguments, and hands @items over. Waits
 * until it has taken them. */
enum keeper_launched keeper_launch(const char *directory, const struct keeper_handover *items,
        size_t len, char *text, size_t size);

/* The pid that holds the lock file DIRECTORY/NAME (a decimal number, locked by flock(2) as long as
 * its writer lives), or 0 if nobody does. */
int64_t keeper_lock_owner(const char *directory, const char *name);

/* Takes that lock and writes our pid. Returns the descriptor (keep it; close-on-exec), or a
 * negative errno: -EWOULDBLOCK if somebody has it. @wait: waits for it instead. */
int keeper_lock_take(const char *directory, const char *name, bool wait);

/* The witness of a machine (WITNESS_SOCKET): the server listens in its state directory, the agent
 * connects. Both return a descriptor, close-on-exec, or a negative errno. Longer paths than a
 * socket address takes are fine. */
int keeper_witness_listen(const char *directory);
int keeper_witness_connect(const char *directory);
