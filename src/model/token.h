/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/time.h"
#include "model/record.h"

/* Tokens: who may do what. What is known of one, never the token itself. */

enum token_kind {
        TOKEN_API,  /* a person or a program that uses the API */
        TOKEN_JOIN, /* lets machines become nodes */
        TOKEN_NODE, /* the credential of one node */
};

/* Each may do what those before it may. */
enum role {
        ROLE_NONE,    /* nothing that needs a token */
        ROLE_READ,    /* look at everything */
        ROLE_OPERATE, /* begin, change and end jobs and tasks */
        ROLE_ADMIN,   /* tokens, nodes, the server itself */
};

extern const char *const token_kind_names[], *const role_names[];

/* The role of that name, or -1; "none" is no role to ask for. */
int role_parse(const char *text);

struct token_status {
        char *id;
        int kind; /* enum token_kind */
        int role; /* enum role; -1 but for the API */
        char *jobs;
        char *node;
        int64_t uses;
        usec_t made, expires;
        char *note;
};

extern const struct record_table token_table;

/* True if @jobs, prefixes of names separated by commas (NULL: no limit), has one that @job begins
 * with. */
bool token_jobs_cover(const char *jobs, const char *job);

/* The same for a task ("web.0"), by its job. */
bool token_jobs_cover_task(const char *jobs, const char *task);

/* Checks that each of the prefixes can begin a name. */
int token_jobs_check(const char *jobs, struct error *err);
