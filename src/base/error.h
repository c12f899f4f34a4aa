/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "base/macros.h"

/* Codes travel unchanged from where a thing failed to the API and the exit status of the CLI;
 * error.c has the one table of what they mean there. */
enum error_code {
        ERR_NONE = 0,
        ERR_INVALID,     /* what was asked makes no sense: bad field, bad flag, bad file */
        ERR_NOT_FOUND,   /* no such job, task, node, file */
        ERR_CONFLICT,    /* true, but not in this state: already there, already running, changed
                            meanwhile */
        ERR_DENIED,      /* no token, wrong token, no permission */
        ERR_UNAVAILABLE, /* nobody answers: no server, no agent, connection broken */
        ERR_TIMEOUT,     /* a deadline passed */
        ERR_TOO_LARGE,   /* a limit on size or number */
        ERR_NO_SPACE,    /* a full disk */
        ERR_SYSTEM,      /* a system call failed in a way nobody expected; sys_errno says how */
        ERR_CODE_COUNT
};

/* One failure, as one sentence. Lives on the caller's stack; owns nothing. */
struct error {
        enum error_code code;
        int sys_errno;     /* 0 when no system call is to blame */
        char message[480]; /* cut at the end if longer */
};

#define ERROR_INIT ((struct error){ 0 })

/* All of these fill @err (which may be NULL) and return -1, so that a caller writes `return
 * error_set(...)`. */
int error_set(struct error *err, enum error_code code, const char *format, ...) PRINTF_LIKE(3, 4);

/* For a failed system call: appends ": " and the text of @sys_errno; the code follows from it
 * (ENOENT: not found, EACCES: denied, ENOSPC: no space, ...). */
int error_sys(struct error *err, int sys_errno, const char *format, ...) PRINTF_LIKE(3, 4);

/* Puts what the caller was trying to do in front: "start task web.1: open cgroup ...". Keeps the
 * code. */
int error_wrap(struct error *err, const char *format, ...) PRINTF_LIKE(2, 3);

/* The word of a code in JSON and logs ("not-found"), the HTTP status, and the exit status of the
 * CLI. */
const char *error_code_name(enum error_code code);
int error_code_http(enum error_code code);
int error_code_exit(enum error_code code);

/* The code for an HTTP status or the word of a problem document; ERR_SYSTEM if unknown. */
enum error_code error_code_from_http(int status);
enum error_code error_code_from_name(const char *name);
