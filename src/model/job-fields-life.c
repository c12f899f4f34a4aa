/* SPDX-License-Identifier: BSD-3-Clause */
/* What the field table is good for at run time: finding a field, giving a struct its defaults, and
 * freeing what was read into it. */
#include "model/job-fields.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

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
        case FIELD_TASKS:
        case FIELD_MILLI:
                *(uint32_t *) at = (uint32_t) field->initial;
                break;
        case FIELD_SPAN:
        case FIELD_SIZE:
                *(uint64_t *) at = field->initial;
                break;
        case FIELD_SIGNAL:
                *(int *) at = (int) field->initial;
                break;
        case FIELD_INTEGER:
                *(int32_t *) at = JOB_NICE_NONE;
                break;
        case FIELD_OCTAL:
                *(uint32_t *) at = JOB_UMASK_NONE;
                break;
        case FIELD_CAPABILITIES:
                *(uint64_t *) at = JOB_CAPABILITIES_ANY;
                break;
        case FIELD_LIMIT:
        case FIELD_LIMIT_SIZE:
                *(uint64_t *) at = JOB_LIMIT_NONE;
                break;
        case FIELD_CODES:
                if (field->has_default)
                        init_codes(field, base);
                break;
        case FIELD_SECTION:
                job_fields_init(field->fields, base);
                break;
        case FIELD_RULES:
        case FIELD_PREFERENCES:
        case FIELD_CHECKS:
        case FIELD_AFTER:
        case FIELD_SOCKETS:
        case FIELD_CONSTRAINT:
        case FIELD_CONSTRAINTS:
        case FIELD_BOOL:
        case FIELD_WEIGHT:
        case FIELD_CPUS:
        case FIELD_TEXT:
        case FIELD_PATH:
        case FIELD_NAME:
        case FIELD_ATTRIBUTE:
        case FIELD_TEXTS:
        case FIELD_NAMES:
        case FIELD_PATHS:
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

static void free_preferences(const struct job_field *field, void *base)
{
        struct preference *preferences = *(struct preference **) job_field_at(field, base);

        for (size_t i = 0, len = job_field_len(field, base); i < len; i++)
                job_fields_done(field->fields, &preferences[i]);
        free(preferences);
}

static void free_checks(const struct job_field *field, void *base)
{
        struct health_check *checks = *(struct health_check **) job_field_at(field, base);

        for (size_t i = 0, len = job_field_len(field, base); i < len; i++)
                job_fields_done(field->fields, &checks[i]);
        free(checks);
}

static void free_after(const struct job_field *field, void *base)
{
        struct dependency *after = *(struct dependency **) job_field_at(field, base);

        for (size_t i = 0, len = job_field_len(field, base); i < len; i++)
                free(after[i].name);
        free(after);
}

static void free_sockets(const struct job_field *field, void *base)
{
        struct job_socket *sockets = *(struct job_socket **) job_field_at(field, base);

        for (size_t i = 0, len = job_field_len(field, base); i < len; i++) {
                free(sockets[i].name);
                job_fields_done(field->fields, &sockets[i]);
        }
        free(sockets);
}

static void free_constraints(struct constraint *constraints, size_t len)
{
        for (size_t i = 0; i < len && constraints != NULL; i++)
                constraint_done(&constraints[i]);
        free(constraints);
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
        case FIELD_PREFERENCES:
                free_preferences(field, base);
                break;
        case FIELD_CHECKS:
                free_checks(field, base);
                break;
        case FIELD_AFTER:
                free_after(field, base);
                break;
        case FIELD_SOCKETS:
                free_sockets(field, base);
                break;
        case FIELD_CONSTRAINT:
                free_constraints(*(struct constraint **) at, 1);
                break;
        case FIELD_CONSTRAINTS:
                free_constraints(*(struct constraint **) at, job_field_len(field, base));
                break;
        case FIELD_CPUS:
        case FIELD_TEXT:
        case FIELD_PATH:
        case FIELD_NAME:
        case FIELD_ATTRIBUTE:
                free(*(char **) at);
                break;
        case FIELD_CODES:
        case FIELD_SIGNALS:
                free(*(int **) at);
                break;
        case FIELD_COMMAND:
        case FIELD_ENV:
        case FIELD_TEXTS:
        case FIELD_NAMES:
        case FIELD_PATHS:
                free_texts(*(char ***) at);
                break;
        case FIELD_ENUM:
        case FIELD_BOOL:
        case FIELD_COUNT:
        case FIELD_TASKS:
        case FIELD_WEIGHT:
        case FIELD_MILLI:
        case FIELD_SPAN:
        case FIELD_SIZE:
        case FIELD_SIGNAL:
        case FIELD_INTEGER:
        case FIELD_OCTAL:
        case FIELD_LIMIT:
        case FIELD_LIMIT_SIZE:
        case FIELD_CAPABILITIES:
                break;
        }
}

void job_fields_done(const struct job_field *fields, void *base)
{
        for (; fields->name != NULL; fields++)
                free_field(fields, base);
}
