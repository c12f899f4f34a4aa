/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/text.h"
#include "base/time.h"

/* The spec of a job: what to run, how many, and what to do when it ends. One field table in
 * job-fields.c declares every field; reading, writing, diff, JSON schema and the reference page all
 * walk it. */

#define JOB_COUNT_MAX      100000 /* tasks of one job */
#define JOB_FILE_TASKS_MAX 200000 /* of all jobs in one file: each costs who reads it memory */

enum job_kind { JOB_SERVICE, JOB_BATCH };
enum restart_policy { RESTART_ALWAYS, RESTART_ON_FAILURE, RESTART_NEVER };
enum restart_action { RESTART_ACTION_RESTART, RESTART_ACTION_END };
enum logs_when_full { LOGS_BLOCK, LOGS_DROP };

/* What a particular way to end means, before the policy is asked. The first rule that matches
 * counts. */
struct restart_rule {
        int *exit_codes; /* 0..255 */
        size_t exit_codes_len;
        int *signals;
        size_t signals_len;
        enum restart_action then;
};

struct job_spec {
        unsigned refs;

        char *name; /* the key under `jobs`, not a field */
        enum job_kind kind;
        uint32_t count;

        char **command; /* argv, NULL-terminated; for the shell form one element: the text given to
                           `sh -c` */
        bool command_shell; /* it was given as a string */
        char *user;         /* NULL: the user that the agent runs as */
        char *group;        /* NULL: the user's primary group */
        char *directory;    /* NULL: the root directory */
        char **env;         /* "NAME=value", sorted by name, NULL-terminated; NULL if none */

        int *success_codes; /* exit codes that are success; default {0} */
        size_t success_codes_len;

        struct {
                enum restart_policy policy; /* default: always (service), on-failure (batch) */
                usec_t delay;     /* before the first restart, doubles with every failure in a row.
                                     Default 1s */
                usec_t max_delay; /* >= delay. Default 1m, or delay if that is longer */
                uint32_t burst;   /* failures within `window` after which the task is parked; 0:
                                     never. Default 5 */
                usec_t window;    /* > 0. Default 1m */
                usec_t healthy;   /* a run this long is healthy: delay and burst start afresh.
                                     Default 10s */
                struct restart_rule *rules;
                size_t rules_len;
        } restart;

        struct {
                int signal;   /* default SIGTERM */
                usec_t grace; /* before the whole process group is killed. Default 10s */
        } stop;

        struct {
                uint64_t size;  /* of one log file before it is rotated. Default 10MiB, minimum 4KiB
                                 */
                uint32_t files; /* rotated files kept beside the current one. Default 5 */
                enum logs_when_full when_full;
        } logs;

        struct {
                uint32_t parallel; /* tasks that may be down at once while a new version rolls out.
                                      Default 1 */
        } update;
};

struct job_spec *job_spec_ref(struct job_spec *spec);
void job_spec_unref(struct job_spec *spec);
void job_spec_unrefp(struct job_spec **spec);

/* A parsed job file: the specs in the order of the file. */
struct job_file {
        struct job_spec **jobs;
        size_t jobs_len;
};

void job_file_done(struct job_file *file);

enum job_format { JOB_FORMAT_YAML, JOB_FORMAT_JSON };

/* The format by the ending of a file name: .json is JSON, all else YAML. */
enum job_format job_format_from_path(const char *path);

/* Reads a job file ({jobs: {NAME: SPEC}}). @label names it in messages ("web.yaml"). On failure the
 * message names file, line and field, and for an unknown field the nearest known one: `web.yaml:7:
 * jobs.web.restrat: unknown field; did you mean "restart"?`. ERR_INVALID or ERR_TOO_LARGE (1 MiB).
 */
int job_file_parse(const char *label, const char *text, size_t len, enum job_format format,
        struct job_file *ret, struct error *err);

/* One spec from its JSON object (the value under the job's name). Messages begin with `jobs.NAME.`.
 */
int job_spec_from_json(
        const char *name, const json_t *object, struct job_spec **ret, struct error *err);

/* The spec as JSON object with every field, defaults written out; durations and sizes as text with
 * units. New reference. */
json_t *job_spec_to_json(const struct job_spec *spec);

/* One field that differs. Texts are JSON of the values ("\"1s\"", "3"). */
struct job_change {
        const char *field; /* "restart.delay"; static */
        char *from, *to;
        bool needs_restart; /* a running process cannot take it: a new run is needed */
};

struct job_diff {
        struct job_change *changes;
        size_t len;
        bool needs_restart; /* any of them */
};

/* All fields in which @to differs from @from; empty when equal. job_diff_done() frees it. */
void job_spec_diff(const struct job_spec *from, const struct job_spec *to, struct job_diff *ret);
void job_diff_done(struct job_diff *diff);

/* JSON schema (2020-12) of a job file, for editors. New reference. */
json_t *job_schema(void);

/* The reference page of all fields (Markdown), as it stands in docs/job.md. */
void job_reference(struct buffer *out);

extern const char *const job_kind_names[]; /* ended by NULL */
