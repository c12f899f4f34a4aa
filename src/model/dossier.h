/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/time.h"
#include "model/record.h"

/* Dossiers: what is known of a run that has failed, gathered at its end. */

struct dossier {
        char *task, *job, *node;
        int64_t run, version;
        usec_t started, ended;
        int64_t lasted; /* microseconds; RECORD_NULL: it could not begin */
        char *how;      /* "exit code 127", "signal SEGV" */
        int64_t exit_code;
        int signal;
        char *meaning;       /* NULL: there is no convention */
        char *detail;        /* "out of memory: ..."; NULL: nothing to add */
        char *next;          /* what was decided: the reason of the task's next state */
        int64_t memory_peak; /* bytes; RECORD_NULL: not known */
        int64_t cpu;         /* microseconds; RECORD_NULL: not known */
        bool core_dumped;
        char *core;         /* its path; NULL: there is none, or nobody knows where */
        char *core_handler; /* what the kernel says of it instead of a path */
        int64_t good_run;   /* the last good one before; RECORD_NULL: none */
        int64_t good_version;
        usec_t good_ended;
        char *changed; /* fields of the job's spec since then, "command, env"; NULL: none, or not
                          known */
        usec_t booted; /* when the machine was started */
        char *out, *errors;            /* last lines */
        int64_t out_from, errors_from; /* number of their first byte; RECORD_NULL: no bytes */
};
extern const struct record_table dossier_table;

/* What a status means where there is a convention: of shells (126, 127, 128 + n), sysexits.h, and
 * of signals that the kernel sends. NULL if there is none; else in @text, or static. @exit_code -1:
 * it ended by @signal. */
#define DOSSIER_MEANING_MAX 120
const char *dossier_meaning(char text[DOSSIER_MEANING_MAX], int exit_code, int signal);

/* Appends the dossier as plain sentences, a line each; the last lines of the streams are indented
 * by two spaces. */
void dossier_tell(const struct dossier *d, struct buffer *out);

/* Cuts @text, the end of a stream, to its last @lines lines. Returns how many bytes are to be left
 * out at the front. A line that is cut at its own front (@cut: @text does not begin at the
 * beginning of one) is left out if there is another. */
size_t dossier_cut(const char *text, size_t len, bool cut, unsigned lines);

/* What is known of a process that dumped core, for dossier_core_pattern(). */
struct dossier_core {
        int32_t pid;
        int signal;
        uint32_t uid;
        uint32_t gid;
        const char *program;  /* its path */
        const char *hostname; /* NULL: not known */
        const char *directory;
        bool uses_pid; /* /proc/sys/kernel/core_uses_pid */
};

/* The path that @pattern, as /proc/sys/kernel/core_pattern has it (core(5)), stands for, as a
 * pattern of glob(7): what is not known matches anything. Returns false if the kernel hands cores
 * to a program; then @ret gets its command as it stands. */
bool dossier_core_pattern(const char *pattern, const struct dossier_core *core, struct buffer *ret);
