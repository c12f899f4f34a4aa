/* SPDX-License-Identifier: BSD-3-Clause */
/* The fields of a job spec: name, place in the struct, limits, default, and the words for people.
 *
 * A field is added here, and to struct job_spec, and nowhere else; a new type of field needs a
 * case in job-read.c, job-write.c and job-schema.c, and the compiler says where it is missing.
 * The sections (`restart`, `stop`, ...) are tables of their own, but their fields lie in struct
 * job_spec; a restart rule is a struct of its own. */
#include "model/job-fields.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define AT(member)   offsetof(struct job_spec, member)
#define RULE(member) offsetof(struct restart_rule, member)
#define SPAN_MAX     (365 * USEC_DAY)

const char *const job_kind_names[] = { "service", "batch", NULL };
const char *const restart_policy_names[] = { "always", "on-failure", "never", NULL };
const char *const restart_action_names[] = { "restart", "end", NULL };
const char *const logs_when_full_names[] = { "block", "drop", NULL };

static const struct job_field rule_fields[] = {
        { .name = "exit",
                .path = "restart.rules.exit",
                .type = FIELD_CODES,
                .offset = RULE(exit_codes),
                .offset2 = RULE(exit_codes_len),
                .without = "no exit code matches",
                .help = "The rule matches a run that ended with this exit code, or one of these.",
                .example = "[64, 78]" },
        { .name = "signal",
                .path = "restart.rules.signal",
                .type = FIELD_SIGNALS,
                .offset = RULE(signals),
                .offset2 = RULE(signals_len),
                .without = "no signal matches",
                .help = "The rule matches a run that was ended by this signal, or one of these.",
                .example = "KILL" },
        { .name = "then",
                .path = "restart.rules.then",
                .type = FIELD_ENUM,
                .required = true,
                .names = restart_action_names,
                .offset = RULE(then),
                .help = "What happens then: `restart`, whatever the policy says, or `end`: no "
                        "further run.",
                .example = "end" },
        { 0 },
};

static const struct job_field restart_fields[] = {
        { .name = "policy",
                .path = "restart.policy",
                .type = FIELD_ENUM,
                .names = restart_policy_names,
                .offset = AT(restart.policy),
                .has_default = true,
                .initial = FIELD_DEFAULT_BY_KIND,
                .without = "`always` for a service, `on-failure` for a batch",
                .help = "When a run that ended by itself is followed by another: `always`, "
                        "`on-failure` (it was no success) or `never`.",
                .example = "on-failure" },
        { .name = "delay",
                .path = "restart.delay",
                .type = FIELD_SPAN,
                .offset = AT(restart.delay),
                .has_default = true,
                .initial = USEC_SEC,
                .max = SPAN_MAX,
                .help = "The wait before the first restart. It doubles with every failure in a "
                        "row.",
                .example = "1s" },
        { .name = "max_delay",
                .path = "restart.max_delay",
                .type = FIELD_SPAN,
                .offset = AT(restart.max_delay),
                .has_default = true,
                .initial = USEC_MINUTE,
                .max = SPAN_MAX,
                .without = "`1m`, or `delay` if that is longer",
                .help = "The wait does not grow beyond this. Not less than `delay`.",
                .example = "1m" },
        { .name = "burst",
                .path = "restart.burst",
                .type = FIELD_COUNT,
                .offset = AT(restart.burst),
                .has_default = true,
                .initial = 5,
                .max = 100000,
                .help = "After so many failures within `window` the task is parked: it ends as "
                        "failed and says why. 0: it never is.",
                .example = "5" },
        { .name = "window",
                .path = "restart.window",
                .type = FIELD_SPAN,
                .offset = AT(restart.window),
                .has_default = true,
                .initial = USEC_MINUTE,
                .min = USEC_MSEC,
                .max = SPAN_MAX,
                .help = "The time within which `burst` counts failures.",
                .example = "1m" },
        { .name = "healthy",
                .path = "restart.healthy",
                .type = FIELD_SPAN,
                .offset = AT(restart.healthy),
                .has_default = true,
                .initial = 10 * USEC_SEC,
                .max = SPAN_MAX,
                .help = "A run that lasted this long was healthy: delay and burst start afresh "
                        "after it.",
                .example = "10s" },
        { .name = "rules",
                .path = "restart.rules",
                .type = FIELD_RULES,
                .offset = AT(restart.rules),
                .offset2 = AT(restart.rules_len),
                .fields = rule_fields,
                .without = "none",
                .help = "What particular ways to end mean, before the policy is asked. The first "
                        "rule that matches counts.",
                .example = "[{exit: 78, then: end}]" },
        { 0 },
};

static const struct job_field stop_fields[] = {
        { .name = "signal",
                .path = "stop.signal",
                .type = FIELD_SIGNAL,
                .offset = AT(stop.signal),
                .has_default = true,
                .initial = SIGTERM,
                .help = "The signal that asks a task to end, by name (with or without `SIG`) or "
                        "number.",
                .example = "TERM" },
        { .name = "grace",
                .path = "stop.grace",
                .type = FIELD_SPAN,
                .offset = AT(stop.grace),
                .has_default = true,
                .initial = 10 * USEC_SEC,
                .max = SPAN_MAX,
                .help = "How long it may take before its whole process group is killed.",
                .example = "10s" },
        { 0 },
};

static const struct job_field logs_fields[] = {
        { .name = "size",
                .path = "logs.size",
                .type = FIELD_SIZE,
                .offset = AT(logs.size),
                .has_default = true,
                .initial = 10ull << 20,
                .min = 4096,
                .max = 1ull << 40,
                .help = "The size of a log file at which it is rotated, at the end of a line.",
                .example = "10MiB" },
        { .name = "files",
                .path = "logs.files",
                .type = FIELD_COUNT,
                .offset = AT(logs.files),
                .has_default = true,
                .initial = 5,
                .max = 1000,
                .help = "How many rotated files are kept beside the current one.",
                .example = "5" },
        { .name = "when_full",
                .path = "logs.when_full",
                .type = FIELD_ENUM,
                .names = logs_when_full_names,
                .offset = AT(logs.when_full),
                .has_default = true,
                .initial = LOGS_BLOCK,
                .help = "When the disk is full: `block` the task's writes until there is room, or "
                        "`drop` and count what cannot be kept.",
                .example = "block" },
        { 0 },
};

static const struct job_field update_fields[] = {
        { .name = "parallel",
                .path = "update.parallel",
                .type = FIELD_COUNT,
                .offset = AT(update.parallel),
                .has_default = true,
                .initial = 1,
                .min = 1,
                .max = JOB_COUNT_MAX,
                .help = "How many tasks may be down at once while a new version rolls out.",
                .example = "1" },
        { 0 },
};

const struct job_field job_fields[] = {
        { .name = "kind",
                .path = "kind",
                .type = FIELD_ENUM,
                .names = job_kind_names,
                .offset = AT(kind),
                .has_default = true,
                .initial = JOB_SERVICE,
                .help = "`service`: kept up. `batch`: runs to its end.",
                .example = "service" },
        { .name = "count",
                .path = "count",
                .type = FIELD_COUNT,
                .offset = AT(count),
                .has_default = true,
                .initial = 1,
                .max = JOB_COUNT_MAX,
                .help = "How many tasks of the job there are.",
                .example = "3" },
        { .name = "command",
                .path = "command",
                .type = FIELD_COMMAND,
                .required = true,
                .needs_restart = true,
                .offset = AT(command),
                .offset2 = AT(command_shell),
                .help = "What to run: a list of the program and its arguments, or one text for "
                        "`sh -c`.",
                .example = "[./server, --port, 8080]" },
        { .name = "user",
                .path = "user",
                .type = FIELD_TEXT,
                .needs_restart = true,
                .offset = AT(user),
                .without = "the user that the agent runs as",
                .help = "The user to run as, by name or number.",
                .example = "www-data" },
        { .name = "group",
                .path = "group",
                .type = FIELD_TEXT,
                .needs_restart = true,
                .offset = AT(group),
                .without = "the user's primary group",
                .help = "The group to run as, by name or number.",
                .example = "www-data" },
        { .name = "directory",
                .path = "directory",
                .type = FIELD_PATH,
                .needs_restart = true,
                .offset = AT(directory),
                .without = "`/`",
                .help = "The working directory, an absolute path.",
                .example = "/srv/web" },
        { .name = "env",
                .path = "env",
                .type = FIELD_ENV,
                .needs_restart = true,
                .offset = AT(env),
                .without = "none",
                .help = "Environment variables. Numbers, `true` and `false` are taken as the text "
                        "they are written as.",
                .example = "{LOG_LEVEL: info}" },
        { .name = "success_codes",
                .path = "success_codes",
                .type = FIELD_CODES,
                .offset = AT(success_codes),
                .offset2 = AT(success_codes_len),
                .has_default = true,
                .initial = 0,
                .help = "The exit codes that are a success.",
                .example = "[0, 3]" },
        { .name = "restart",
                .path = "restart",
                .type = FIELD_SECTION,
                .fields = restart_fields,
                .help = "What happens when a task ends by itself." },
        { .name = "stop",
                .path = "stop",
                .type = FIELD_SECTION,
                .fields = stop_fields,
                .help = "How a task is asked to end." },
        { .name = "logs",
                .path = "logs",
                .type = FIELD_SECTION,
                .fields = logs_fields,
                .help = "What is kept of standard output and standard error, each in files of its "
                        "own." },
        { .name = "update",
                .path = "update",
                .type = FIELD_SECTION,
                .fields = update_fields,
                .help = "How a new version of the job replaces the old one." },
        { 0 },
};

void *job_field_at(const struct job_field *field, void *base)
{
        return (char *) base + field->offset;
}

const void *job_field_get(const struct job_field *field, const void *base)
{
        return (const char *) base + field->offset;
}

size_t job_field_len(const struct job_field *field, const void *base)
{
        size_t len;

        memcpy(&len, (const char *) base + field->offset2, sizeof len);
        return len;
}

const struct job_field *job_field_find(const struct job_field *fields, const char *name)
{
        for (; fields->name != NULL; fields++)
                if (strcmp(fields->name, name) == 0)
                        return fields;
        return NULL;
}

static void init_codes(const struct job_field *field, void *base)
{
        int *codes = mem_alloc(sizeof *codes);
        size_t len = 1;

        codes[0] = (int) field->initial;
        memcpy(job_field_at(field, base), &codes, sizeof codes);
        memcpy((char *) base + field->offset2, &len, sizeof len);
}

static void init_field(const struct job_field *field, void *base)
{
        void *at = job_field_at(field, base);

        switch (field->type) {
        case FIELD_ENUM:
        case FIELD_COUNT:
                *(uint32_t *) at = (uint32_t) field->initial;
                break;
        case FIELD_SPAN:
        case FIELD_SIZE:
                *(uint64_t *) at = field->initial;
                break;
        case FIELD_SIGNAL:
                *(int *) at = (int) field->initial;
                break;
        case FIELD_CODES:
                if (field->has_default)
                        init_codes(field, base);
                break;
        case FIELD_SECTION:
                job_fields_init(field->fields, base);
                break;
        case FIELD_RULES:
        case FIELD_TEXT:
        case FIELD_PATH:
        case FIELD_SIGNALS:
        case FIELD_COMMAND:
        case FIELD_ENV:
                break; /* zero is nothing given */
        }
}

void job_fields_init(const struct job_field *fields, void *base)
{
        for (; fields->name != NULL; fields++)
                init_field(fields, base);
}

static void free_texts(char **texts)
{
        for (char **t = texts; t != NULL && *t != NULL; t++)
                free(*t);
        free(texts);
}

static void free_rules(const struct job_field *field, void *base)
{
        struct restart_rule *rules = *(struct restart_rule **) job_field_at(field, base);

        for (size_t i = 0, len = job_field_len(field, base); i < len; i++)
                job_fields_done(field->fields, &rules[i]);
        free(rules);
}

static void free_field(const struct job_field *field, void *base)
{
        void *at = job_field_at(field, base);

        switch (field->type) {
        case FIELD_SECTION:
                job_fields_done(field->fields, base);
                break;
        case FIELD_RULES:
                free_rules(field, base);
                break;
        case FIELD_TEXT:
        case FIELD_PATH:
                free(*(char **) at);
                break;
        case FIELD_CODES:
        case FIELD_SIGNALS:
                free(*(int **) at);
                break;
        case FIELD_COMMAND:
        case FIELD_ENV:
                free_texts(*(char ***) at);
                break;
        case FIELD_ENUM:
        case FIELD_COUNT:
        case FIELD_SPAN:
        case FIELD_SIZE:
        case FIELD_SIGNAL:
                break;
        }
}

void job_fields_done(const struct job_field *fields, void *base)
{
        for (; fields->name != NULL; fields++)
                free_field(fields, base);
}
