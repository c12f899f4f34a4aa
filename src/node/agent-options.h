/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/time.h"
#include "node/servers.h"

/* What the agent is told when it starts. */
struct agent_options {
        const char *data;
        char *node;
        char *zone; /* NULL: none */
        struct servers servers;
        char **attributes; /* "name=value" */
        size_t attributes_len;
        uint32_t cpu;          /* millicores; 0: as found, as with the others */
        uint64_t memory, disk; /* bytes */
        uint64_t logs_max;     /* bytes; 0: no limit */
        usec_t vitals_every;   /* between two samples; USEC_NEVER: none; 0: the default */
        const char *syslog_socket, *journal_socket; /* for `logs.forward`; NULL: the usual place */
};

/* Reads the program's arguments. Returns -1, or the exit status of a program that ends now. */
int agent_read_options(struct agent_options *o, int argc, char **argv);

/* One option by its name ("cpu"); for who checks the arguments before they are handed on. */
int agent_take_option(
        struct agent_options *o, const char *name, const char *value, struct error *err);

void agent_options_done(struct agent_options *o);
