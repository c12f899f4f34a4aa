/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/error.h"

/* A command of the CLI, declared once: its parser, its help, the list in `reeve help`, the shell
 * completion and the reference pages are made from this. */

enum option_type {
        OPTION_FLAG, /* bool */
        OPTION_TEXT, /* const char *; the last one given counts */
        OPTION_LIST, /* struct option_list; may be given several times */
        OPTION_INT,  /* int64_t, at least 0 */
        OPTION_SPAN, /* usec_t; "30s", "5m", a bare number of seconds, "never" */
};

struct option_list {
        const char **items;
        size_t len;
};

/* Ends with a row whose name is NULL. */
struct option_row {
        const char *name; /* "data", without dashes */
        char letter;      /* 0: none */
        enum option_type type;
        void *value;
        const char *argument; /* "DIR"; NULL for a flag. Also tells the completion what to offer:
                                 FILE, DIR, JOB, TASK, NODE */
        const char *help;
};

struct command {
        const char *name;     /* "jobs"; or of two words: "token create". Those with the same first
                                 word stand together in the table */
        const char *operands; /* "FILE...", "JOB|TASK"; "" for none */
        const char *summary;  /* one line */
        const char *details;  /* paragraphs for --help; NULL */
        const struct option_row *options; /* NULL: only --help */
        int operands_min, operands_max;   /* max -1: any number */
        bool empty_operands;              /* one may be empty text */
        /* @operands: NULL-terminated. Returns 0, or -1 with the reason, of which the exit status is
         * made. */
        int (*run)(const char *const *operands, struct error *err);
        /* What the keeper starts under this name: gets the arguments unparsed and returns the exit
         * status. With run as well, run is for people: who is started by a keeper has
         * REEVE_KEEPER_FD in its environment. */
        int (*main)(int argc, char **argv);
        bool hidden; /* not in the list: not for people */
};

/* Each in a file of its own name. */
extern const struct command command_agent, command_apply, command_completion, command_cordon,
        command_cron, command_dispatch, command_down, command_drain, command_events, command_exec,
        command_import, command_job, command_jobs, command_login, command_logout, command_logs,
        command_node, command_node_forget, command_nodes, command_plan, command_promote, command_ps,
        command_rebalance, command_reference, command_remove, command_restart, command_revert,
        command_scale, command_schema, command_server, command_signal, command_sim,
        command_snapshot_inspect, command_snapshot_restore, command_snapshot_save, command_stop,
        command_token_create, command_token_list, command_token_revoke, command_top, command_up,
        command_upgrade, command_version, command_why;

/* All of them, in the order of `reeve help`; ends with NULL. */
extern const struct command *const commands[];

/* Length of the first word of the name. */
static inline size_t command_word_len(const struct command *c)
{
        return strcspn(c->name, " ");
}

/* True if @word is that first word. */
static inline bool command_begins(const struct command *c, const char *word)
{
        size_t len = command_word_len(c);

        return strncmp(c->name, word, len) == 0 && word[len] == '\0';
}
