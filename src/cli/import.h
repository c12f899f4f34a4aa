/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"

/* A job file in the making: what readers of other systems' files say, and what is printed of it.
 * Names of fields are paths: "command", "restart.delay", "env.LANG". */
struct import;
struct import_job;

struct import *import_new(void);
void import_free(struct import *im);
void import_freep(struct import **im);

/* A comment above all jobs. */
void import_remark(struct import *im, const char *format, ...) PRINTF_LIKE(2, 3);

/* What is no name in Reeve is made one, and said so in a comment; what is there already gets a
 * number. The job belongs to @im. */
struct import_job *import_job(struct import *im, const char *name);
const char *import_job_name(const struct import_job *job);

/* Sets a field: as YAML, as text that is quoted where YAML needs it, as a list of texts. A field
 * that was set before is replaced. */
void import_set(struct import_job *job, const char *path, const char *format, ...)
        PRINTF_LIKE(3, 4);
void import_set_text(struct import_job *job, const char *path, const char *text);
void import_set_words(struct import_job *job, const char *path, char *const *words);

/* Sets env.NAME for each "NAME=value"; @key, which had them, is for what is none. */
void import_set_environment(struct import_job *job, const char *key, char *const *words);

/* A comment within the job: what has no equivalent, or is different. */
void import_note(struct import_job *job, const char *format, ...) PRINTF_LIKE(2, 3);

/* The job file. It is read as `reeve apply` would: a mistake in what was made is an error. Without
 * a job: ERR_INVALID. */
int import_print(const struct import *im, const char *label, struct buffer *out, struct error *err);

/* ---- for the readers */

/* One line of a file of sections, "key = value"; all are borrowed. @key is NULL at the beginning of
 * a section. */
struct import_line {
        const char *section, *key;
        char *value;
        int number;
};

enum import_style {
        IMPORT_SUPERVISORD, /* "; comment" behind a value; lines that begin with space go on */
        IMPORT_SYSTEMD,     /* a line ending in \ goes on; comments are lines of their own */
};

/* Calls @line for each. ERR_INVALID, with @label and the number, for a line that is none. */
int import_read_sections(const char *label, char *text, enum import_style style,
        int (*line)(void *data, const struct import_line *line, struct error *err), void *data,
        struct error *err);

/* Splits as a shell does without expanding anything: quotes and backslashes. Ended by NULL, freed
 * with import_words_free(). NULL if a quote is not closed. */
char **import_split_words(const char *text);
void import_words_free(char **words);
void import_words_freep(char ***words);

/* @text with each "${" in it that would name a variable of Reeve written as "$${"; a heap string.
 */
char *import_escape(const char *text);

int import_supervisord(struct import *im, const char *path, char *text, struct error *err);
int import_systemd(struct import *im, const char *path, char *text, struct error *err);
int import_procfile(struct import *im, const char *path, char *text, struct error *err);
