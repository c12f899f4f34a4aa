/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "model/job.h"

/* The one table of what a job spec can say; reading, writing, diff, schema and reference page walk
 * it. Internal to src/model. */

enum field_type {
        FIELD_SECTION,     /* an object whose fields lie in the same struct */
        FIELD_RULES,       /* list of objects: struct restart_rule *, size_t at offset2 */
        FIELD_PREFERENCES, /* list of objects: struct preference *, size_t at offset2 */
        FIELD_CHECKS,      /* list of objects: struct health_check *, size_t at offset2 */
        FIELD_AFTER,       /* names and words: struct dependency *, by name; size_t at offset2 */
        FIELD_SOCKETS,     /* names and objects: struct job_socket *, by name; size_t at offset2 */
        FIELD_CONSTRAINT,  /* struct constraint * */
        FIELD_CONSTRAINTS, /* list of texts: struct constraint *, size_t at offset2 */
        FIELD_BOOL,        /* bool */
        FIELD_ENUM,        /* enum, through names */
        FIELD_COUNT,       /* uint32_t, min..max; with names, the first of them is UINT32_MAX */
        FIELD_TASKS,   /* uint32_t, min..max; null where job_spec_per_node(); of struct job_spec */
        FIELD_WEIGHT,  /* int32_t, -max..max, not 0 */
        FIELD_MILLI,   /* uint32_t of thousandths, min..max */
        FIELD_INTEGER, /* int32_t, from min to max as int64_t; JOB_NICE_NONE when not given */
        FIELD_OCTAL,   /* uint32_t, at most max; JOB_UMASK_NONE when not given */
        FIELD_LIMIT,   /* uint64_t, min..max; JOB_LIMIT_NONE, JOB_LIMIT_UNLIMITED */
        FIELD_LIMIT_SIZE,   /* the same of bytes */
        FIELD_CPUS,         /* char *; job_read_cpus() */
        FIELD_CAPABILITIES, /* uint64_t of bits; JOB_CAPABILITIES_ANY when not given */
        FIELD_TEXT,         /* char *; NULL when not given */
        FIELD_PATH,         /* char *; absolute */
        FIELD_NAME,         /* char *; text_is_name() */
        FIELD_ATTRIBUTE,    /* char *; attribute_is_name() */
        FIELD_TEXTS,        /* char ** ended by NULL; at most max, no two alike; NULL if none */
        FIELD_NAMES,        /* the same of text_is_name() */
        FIELD_PATHS,        /* the same of absolute paths */
        FIELD_SPAN,         /* usec_t, min..max */
        FIELD_SIZE,         /* uint64_t of bytes, min..max */
        FIELD_SIGNAL,       /* int */
        FIELD_CODES,        /* int * of exit codes, sorted; size_t at offset2 */
        FIELD_SIGNALS,      /* int * of signals, sorted; size_t at offset2 */
        FIELD_COMMAND,      /* char ** ended by NULL; bool "for the shell" at offset2 */
        FIELD_ENV,          /* char ** of NAME=value, sorted by name, ended by NULL; NULL if none */
};

#define JOB_RULES_MAX     64
#define JOB_ENV_FILES_MAX 64
#define JOB_EXIT_CODE_MAX 255

#define JOB_PREFERENCES_MAX 64
#define JOB_CPU_MAX         10000 /* cores of one task */

/* The default of restart.policy, until the kind is known. */
#define FIELD_DEFAULT_BY_KIND UINT32_MAX

struct job_field {
        const char *name; /* "delay"; a table ends with a NULL here */
        const char *path; /* "restart.delay" */
        enum field_type type;
        bool required;
        bool needs_restart; /* a running process cannot take a change */
        bool has_default;
        uint64_t initial; /* the default: a number, microseconds, bytes, a signal, an index into
                             names, or the only exit code of a list */
        uint64_t min, max;
        size_t offset, offset2;
        const char *const *names;
        const struct job_field *fields; /* of a section, a rule or a preference */
        const char *without;            /* for people: what holds when nothing is given */
        const char *help;
        const char *example; /* as it stands in YAML */
};

extern const struct job_field job_fields[];
extern const struct job_field job_ready_fields[], job_check_fields[]; /* job-checks.c */
extern const struct job_field job_socket_fields[];                    /* job-sockets.c */
extern const struct job_field job_io_fields[], job_limits_fields[];   /* job-limits.c */
extern const struct job_field job_daemon_fields[];                    /* job-start.c */
extern const struct job_field job_alerts_fields[];                    /* job-alerts.c */

extern const struct job_field job_sandbox_fields[]; /* job-sandbox.c */

extern const char *const restart_policy_names[]; /* ended by NULL, as all of these */
extern const char *const restart_action_names[];
extern const char *const logs_when_full_names[];
extern const char *const logs_forward_names[];
extern const char *const place_rule_names[];
extern const char *const lost_action_names[];
extern const char *const update_order_names[];
extern const char *const schedule_overlap_names[];
extern const char *const schedule_catch_up_names[];
extern const char *const health_action_names[];

/* What an environment variable and a job may be called, for the schema. */
#define JOB_ENV_NAME_PATTERN "^[A-Za-z_][A-Za-z0-9_.-]*$"
#define JOB_NAME_PATTERN     "^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$"

/* What stands in `after`: a job, or one of its tasks. */
#define JOB_TASK_PATTERN "^[A-Za-z0-9][A-Za-z0-9_-]{0,62}(\\.[0-9]{1,6})?$"
bool job_after_is_name(const char *text);

/* Borrows the member of @base (a struct job_spec, restart_rule, preference or health_check) that
 * @field describes. */
void *job_field_at(const struct job_field *field, void *base);
const void *job_field_get(const struct job_field *field, const void *base);
size_t job_field_len(const struct job_field *field, const void *base);

/* The field called @name in a table, or NULL. */
const struct job_field *job_field_find(const struct job_field *fields, const char *name);

/* Sets every field of a table to its default; the struct was zeroed. */
void job_fields_init(const struct job_field *fields, void *base);

/* Frees what the fields of a table own. */
void job_fields_done(const struct job_field *fields, void *base);

/* A FIELD_MILLI as it is written: "0.5", "2". Returns @text. */
#define JOB_MILLI_TEXT_MAX 24
const char *job_format_milli(char text[JOB_MILLI_TEXT_MAX], uint64_t thousandths);

/* The value of a field as JSON; NULL for a list in a rule that is not given. New reference. */
json_t *job_field_to_json(const struct job_field *field, const void *base);
