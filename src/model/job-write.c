/* SPDX-License-Identifier: BSD-3-Clause */
/* A job spec as JSON: every field in the order of the table, defaults written out, spans and sizes
 * as exact text with units. What is written here is read back as the same spec. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/time.h"
#include "model/capability.h"
#include "model/job-fields.h"

static json_t *fields_to_json(const struct job_field *fields, const void *base);

static json_t *text_or_null(const char *text)
{
        return text == NULL ? json_null() : json_string(text);
}

static json_t *rules_to_json(const struct job_field *field, const void *base)
{
        const struct restart_rule *rules =
                *(struct restart_rule *const *) job_field_get(field, base);
        json_t *list = json_array();

        for (size_t i = 0, len = job_field_len(field, base); i < len; i++)
                json_array_append_new(list, fields_to_json(field->fields, &rules[i]));
        return list;
}

static json_t *preferences_to_json(const struct job_field *field, const void *base)
{
        const struct preference *preferences =
                *(struct preference *const *) job_field_get(field, base);
        json_t *list = json_array();

        for (size_t i = 0, len = job_field_len(field, base); i < len; i++)
                json_array_append_new(list, fields_to_json(field->fields, &preferences[i]));
        return list;
}

static json_t *checks_to_json(const struct job_field *field, const void *base)
{
        const struct health_check *checks =
                *(struct health_check *const *) job_field_get(field, base);
        json_t *list = json_array();

        for (size_t i = 0, len = job_field_len(field, base); i < len; i++)
                json_array_append_new(list, fields_to_json(field->fields, &checks[i]));
        return list;
}

static json_t *after_to_json(const struct job_field *field, const void *base)
{
        const struct dependency *after = *(struct dependency *const *) job_field_get(field, base);
        json_t *object = json_object();

        for (size_t i = 0, len = job_field_len(field, base); i < len; i++)
                json_object_set_new(
                        object, after[i].name, json_string(field->names[after[i].condition]));
        return object;
}

static json_t *sockets_to_json(const struct job_field *field, const void *base)
{
        const struct job_socket *sockets = *(struct job_socket *const *) job_field_get(field, base);
        json_t *object = json_object();

        for (size_t i = 0, len = job_field_len(field, base); i < len; i++)
                json_object_set_new(
                        object, sockets[i].name, fields_to_json(field->fields, &sockets[i]));
        return object;
}

static json_t *constraint_to_json(const struct constraint *constraint)
{
        AUTO(buffer_done) struct buffer text = { 0 };

        constraint_format(constraint, &text);
        return json_string(buffer_str(&text));
}

static json_t *constraints_to_json(const struct job_field *field, const void *base)
{
        const struct constraint *constraints =
                *(struct constraint *const *) job_field_get(field, base);
        json_t *list = json_array();

        for (size_t i = 0, len = job_field_len(field, base); i < len; i++)
                json_array_append_new(list, constraint_to_json(&constraints[i]));
        return list;
}

static json_t *texts_to_json(char *const *texts)
{
        json_t *list = json_array();

        for (; texts != NULL && *texts != NULL; texts++)
                json_array_append_new(list, json_string(*texts));
        return list;
}

static json_t *capabilities_to_json(uint64_t kept)
{
        json_t *list;

        if (kept == JOB_CAPABILITIES_ANY)
                return json_null();
        list = json_array();
        for (size_t i = 0; capability_names[i] != NULL; i++)
                if ((kept >> i & 1) != 0)
                        json_array_append_new(list, json_string(capability_names[i]));
        return list;
}

static json_t *count_to_json(const struct job_field *field, uint32_t count)
{
        return count == UINT32_MAX && field->names != NULL ? json_string(field->names[0])
                                                           : json_integer(count);
}

const char *job_format_milli(char text[JOB_MILLI_TEXT_MAX], uint64_t thousandths)
{
        size_t len = (size_t) snprintf(text, JOB_MILLI_TEXT_MAX, "%" PRIu64 ".%03u",
                thousandths / 1000, (unsigned) (thousandths % 1000));

        while (text[len - 1] == '0')
                len--;
        text[text[len - 1] == '.' ? len - 1 : len] = '\0';
        return text;
}

static json_t *ints_to_json(const struct job_field *field, const void *base)
{
        const int *values = *(int *const *) job_field_get(field, base);
        size_t len = job_field_len(field, base);
        json_t *list;

        if (len == 0)
                return NULL;
        list = json_array();
        for (size_t i = 0; i < len; i++)
                json_array_append_new(list, field->type == FIELD_SIGNALS
                                                    ? json_string(text_signal_name(values[i]))
                                                    : json_integer(values[i]));
        return list;
}

static json_t *command_to_json(const struct job_field *field, const void *base)
{
        char *const *command = *(char **const *) job_field_get(field, base);
        bool shell = *(const bool *) ((const char *) base + field->offset2);
        json_t *list;

        if (command == NULL)
                return json_null();
        if (shell)
                return json_string(command[0]);
        list = json_array();
        for (; *command != NULL; command++)
                json_array_append_new(list, json_string(*command));
        return list;
}

static json_t *env_to_json(const struct job_field *field, const void *base)
{
        char *const *env = *(char **const *) job_field_get(field, base);
        json_t *object = json_object();

        for (; env != NULL && *env != NULL; env++) {
                const char *equals = strchr(*env, '=');

                json_object_setn_new(
                        object, *env, (size_t) (equals - *env), json_string(equals + 1));
        }
        return object;
}

static json_t *limit_to_json(const struct job_field *field, uint64_t limit)
{
        char size[TEXT_SIZE_MAX];

        if (limit == JOB_LIMIT_NONE)
                return json_null();
        if (limit == JOB_LIMIT_UNLIMITED)
                return json_string("unlimited");
        return field->type == FIELD_LIMIT ? json_integer((json_int_t) limit)
                                          : json_string(text_format_size(size, limit));
}

json_t *job_field_to_json(const struct job_field *field, const void *base)
{
        const void *at = job_field_get(field, base);
        char span[TIME_TEXT_MAX], size[TEXT_SIZE_MAX], milli[JOB_MILLI_TEXT_MAX];

        switch (field->type) {
        case FIELD_SECTION:
                return fields_to_json(field->fields, base);
        case FIELD_RULES:
                return rules_to_json(field, base);
        case FIELD_PREFERENCES:
                return preferences_to_json(field, base);
        case FIELD_CHECKS:
                return checks_to_json(field, base);
        case FIELD_AFTER:
                return after_to_json(field, base);
        case FIELD_SOCKETS:
                return sockets_to_json(field, base);
        case FIELD_CONSTRAINT:
                return constraint_to_json(*(struct constraint *const *) at);
        case FIELD_CONSTRAINTS:
                return constraints_to_json(field, base);
        case FIELD_BOOL:
                return json_boolean(*(const bool *) at);
        case FIELD_ENUM:
                return json_string(field->names[*(const uint32_t *) at]);
        case FIELD_COUNT:
                return count_to_json(field, *(const uint32_t *) at);
        case FIELD_TASKS:
                return job_spec_per_node(base) ? json_null() : json_integer(*(const uint32_t *) at);
        case FIELD_WEIGHT:
                return json_integer(*(const int32_t *) at);
        case FIELD_MILLI:
                return json_string(job_format_milli(milli, *(const uint32_t *) at));
        case FIELD_INTEGER:
                return *(const int32_t *) at == JOB_NICE_NONE ? json_null()
                                                              : json_integer(*(const int32_t *) at);
        case FIELD_OCTAL:
                return *(const uint32_t *) at == JOB_UMASK_NONE
                               ? json_null()
                               : json_sprintf("%03o", *(const uint32_t *) at);
        case FIELD_LIMIT:
        case FIELD_LIMIT_SIZE:
                return limit_to_json(field, *(const uint64_t *) at);
        case FIELD_CAPABILITIES:
                return capabilities_to_json(*(const uint64_t *) at);
        case FIELD_TEXTS:
        case FIELD_NAMES:
        case FIELD_PATHS:
                return texts_to_json(*(char **const *) at);
        case FIELD_CPUS:
        case FIELD_TEXT:
        case FIELD_PATH:
        case FIELD_NAME:
        case FIELD_ATTRIBUTE:
                return text_or_null(*(char *const *) at);
        case FIELD_SPAN:
                return json_string(time_format_exact(span, *(const usec_t *) at));
        case FIELD_SIZE:
                return json_string(text_format_size(size, *(const uint64_t *) at));
        case FIELD_SIGNAL:
                return json_string(text_signal_name(*(const int *) at));
        case FIELD_CODES:
        case FIELD_SIGNALS:
                return ints_to_json(field, base);
        case FIELD_COMMAND:
                return command_to_json(field, base);
        case FIELD_ENV:
                return env_to_json(field, base);
        }
        abort();
}

static json_t *fields_to_json(const struct job_field *fields, const void *base)
{
        json_t *object = json_object();

        for (; fields->name != NULL; fields++) {
                json_t *value = job_field_to_json(fields, base);

                if (value != NULL)
                        json_object_set_new(object, fields->name, value);
        }
        return object;
}

json_t *job_spec_to_json(const struct job_spec *spec)
{
        return fields_to_json(job_fields, spec);
}
