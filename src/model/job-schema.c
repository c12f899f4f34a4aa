/* SPDX-License-Identifier: BSD-3-Clause */
/* The JSON schema (draft 2020-12) of a job file, made from the field table: what editors need to
 * complete and check while one types.
 *
 * What it accepts, job_file_parse() accepts, but for the limits of durations and sizes written
 * with units, the names of signals, and what two fields say together. It is a little stricter where
 * being lenient would teach bad habits: null as "not given" is only in it where job_spec_to_json()
 * writes it. */
#include <signal.h>
#include <stdlib.h>

#include "base/time.h"
#include "model/capability.h"
#include "model/job-fields.h"

#define SPAN_PATTERN                                                                               \
        "^([0-9]+(\\.[0-9]+)? ?(us|ms|s|m|h|d) ?)*[0-9]+(\\.[0-9]+)? ?(us|ms|s|m|h|d)?$"
#define MILLI_PATTERN "^[0-9]+(\\.[0-9]+)?$|^[0-9]+m$"
#define SIZE_PATTERN  "^[0-9]+(\\.[0-9]+)? ?(B|KiB|MiB|GiB|TiB|K|M|G|T|kB|MB|GB|TB)?$"

static json_t *fields_schema(const struct job_field *fields, const struct job_spec *defaults);

static json_t *reference(const char *definition)
{
        return json_pack("{s:o}", "$ref", json_sprintf("#/$defs/%s", definition));
}

/* What may stand where text is wanted. */
static json_t *scalar_schema(void)
{
        return json_pack("{s:[s,s,s]}", "type", "string", "number", "boolean");
}

static json_t *one_or_list_schema(const char *definition)
{
        return json_pack("{s:[o,{s:s,s:i,s:o}]}", "anyOf", reference(definition), "type", "array",
                "minItems", 1, "items", reference(definition));
}

static json_t *command_schema(const struct job_field *field)
{
        json_t *program = scalar_schema(), *schema;

        json_object_set_new(program, "minLength", json_integer(1));
        schema = json_pack("{s:[{s:s,s:i},{s:s,s:i,s:[o],s:o}]}", "anyOf", "type", "string",
                "minLength", 1, "type", "array", "minItems", 1, "prefixItems", program, "items",
                scalar_schema());
        if (!field->required)
                json_array_append_new(
                        json_object_get(schema, "anyOf"), json_pack("{s:s}", "type", "null"));
        return schema;
}

/* A duration or size; the limits are for bare numbers, in units of @one. */
static json_t *quantity_schema(const char *definition, const struct job_field *field, double one)
{
        return json_pack("{s:o,s:f,s:f}", "$ref", json_sprintf("#/$defs/%s", definition), "minimum",
                (double) field->min / one, "maximum", (double) field->max / one);
}

/* A rule must have something to match. */
static json_t *rule_schema(const struct job_field *field)
{
        json_t *schema = fields_schema(field->fields, NULL);

        json_object_set_new(schema, "anyOf",
                json_pack("[{s:[s]},{s:[s]}]", "required", "exit", "required", "signal"));
        return schema;
}

static json_t *env_schema(void)
{
        return json_pack("{s:s,s:{s:s},s:o}", "type", "object", "propertyNames", "pattern",
                JOB_ENV_NAME_PATTERN, "additionalProperties", scalar_schema());
}

/* An object in a list of them. */
static json_t *list_schema(int most, json_t *item)
{
        return json_pack("{s:s,s:i,s:o}", "type", "array", "maxItems", most, "items", item);
}

static json_t *pattern_schema(const char *pattern)
{
        return json_pack("{s:[s,s],s:s}", "type", "string", "null", "pattern", pattern);
}

static json_t *constraint_schema(void)
{
        return json_pack("{s:s,s:i,s:i}", "type", "string", "minLength", 1, "maxLength",
                CONSTRAINT_TEXT_MAX);
}

/* One of @item, or a list of them. */
static json_t *some_schema(uint64_t most, json_t *item)
{
        return json_pack("{s:[O,{s:s,s:I,s:o}]}", "anyOf", item, "type", "array", "maxItems",
                (json_int_t) most, "items", item);
}

static json_t *text_item_schema(const struct job_field *field)
{
        if (field->type == FIELD_PATHS)
                return json_pack("{s:s,s:s}", "type", "string", "pattern", "^/");
        if (field->type == FIELD_NAMES)
                return json_pack("{s:s,s:s}", "type", "string", "pattern", JOB_NAME_PATTERN);
        return json_pack("{s:[s,s],s:i}", "type", "string", "integer", "minLength", 1);
}

static json_t *capabilities_schema(void)
{
        json_t *names = json_array();

        for (size_t i = 0; capability_names[i] != NULL; i++)
                json_array_append_new(names, json_string(capability_names[i]));
        return json_pack("{s:[s,s],s:{s:o}}", "type", "array", "null", "items", "enum", names);
}

static json_t *count_schema(const struct job_field *field)
{
        json_t *schema = json_pack("{s:[s],s:I,s:I}", "type", "integer", "minimum",
                (json_int_t) field->min, "maximum", (json_int_t) field->max);

        if (field->type == FIELD_TASKS)
                json_array_append_new(json_object_get(schema, "type"), json_string("null"));
        if (field->names == NULL)
                return schema;
        return json_pack("{s:[o,{s:s}]}", "anyOf", schema, "const", field->names[0]);
}

static json_t *integer_schema(const struct job_field *field)
{
        return json_pack("{s:[s,s],s:I,s:I}", "type", "integer", "null", "minimum",
                (json_int_t) field->min, "maximum", (json_int_t) field->max);
}

static json_t *octal_schema(void)
{
        return json_pack("{s:[s,s,s],s:s,s:i,s:i}", "type", "string", "integer", "null", "pattern",
                "^[0-7]{1,4}$", "minimum", 0, "maximum", 777);
}

/* A number, or "unlimited". */
static json_t *limit_schema(const struct job_field *field)
{
        json_t *number =
                field->type == FIELD_LIMIT_SIZE
                        ? quantity_schema("size", field, 1)
                        : json_pack("{s:s,s:I,s:I}", "type", "integer", "minimum",
                                  (json_int_t) field->min, "maximum", (json_int_t) field->max);

        return json_pack(
                "{s:[o,{s:s},{s:s}]}", "anyOf", number, "const", "unlimited", "type", "null");
}

static json_t *milli_schema(const struct job_field *field)
{
        return json_pack("{s:[s,s],s:f,s:f,s:s}", "type", "number", "string", "minimum",
                (double) field->min / 1000, "maximum", (double) field->max / 1000, "pattern",
                MILLI_PATTERN);
}

static json_t *text_schema(const struct job_field *field)
{
        if (field->type == FIELD_PATH)
                return pattern_schema("^/");
        return json_pack("{s:[s,s,s],s:i}", "type", "string", "integer", "null", "minLength", 1);
}

static json_t *enum_schema(const struct job_field *field)
{
        json_t *words = json_array();

        for (size_t i = 0; field->names[i] != NULL; i++)
                json_array_append_new(words, json_string(field->names[i]));
        return json_pack("{s:o}", "enum", words);
}

/* A check asks one thing. */
static json_t *check_schema(const struct job_field *field)
{
        json_t *schema = fields_schema(field->fields, NULL);

        json_object_set_new(schema, "anyOf",
                json_pack("[{s:[s]},{s:[s]},{s:[s]}]", "required", "http", "required", "tcp",
                        "required", "command"));
        return schema;
}

static json_t *type_schema(const struct job_field *field, const struct job_spec *defaults)
{
        switch (field->type) {
        case FIELD_SECTION:
                return fields_schema(field->fields, defaults);
        case FIELD_RULES:
                return list_schema(JOB_RULES_MAX, rule_schema(field));
        case FIELD_PREFERENCES:
                return list_schema(JOB_PREFERENCES_MAX, fields_schema(field->fields, NULL));
        case FIELD_CHECKS:
                return list_schema(JOB_CHECKS_MAX, check_schema(field));
        case FIELD_AFTER:
                return json_pack("{s:s,s:i,s:{s:s},s:o}", "type", "object", "maxProperties",
                        JOB_AFTER_MAX, "propertyNames", "pattern", JOB_TASK_PATTERN,
                        "additionalProperties", enum_schema(field));
        case FIELD_SOCKETS:
                return json_pack("{s:s,s:i,s:{s:s},s:o}", "type", "object", "maxProperties",
                        JOB_SOCKETS_MAX, "propertyNames", "pattern", JOB_NAME_PATTERN,
                        "additionalProperties", fields_schema(field->fields, NULL));
        case FIELD_CONSTRAINT:
                return constraint_schema();
        case FIELD_CONSTRAINTS:
                return some_schema(CONSTRAINT_MAX, constraint_schema());
        case FIELD_BOOL:
                return json_pack("{s:s}", "type", "boolean");
        case FIELD_ENUM:
                return enum_schema(field);
        case FIELD_COUNT:
        case FIELD_TASKS:
                return count_schema(field);
        case FIELD_WEIGHT:
                return json_pack("{s:s,s:I,s:I,s:{s:i}}", "type", "integer", "minimum",
                        -(json_int_t) field->max, "maximum", (json_int_t) field->max, "not",
                        "const", 0);
        case FIELD_MILLI:
                return milli_schema(field);
        case FIELD_INTEGER:
                return integer_schema(field);
        case FIELD_OCTAL:
                return octal_schema();
        case FIELD_LIMIT:
        case FIELD_LIMIT_SIZE:
                return limit_schema(field);
        case FIELD_CAPABILITIES:
                return capabilities_schema();
        case FIELD_CPUS:
                return text_schema(field);
        case FIELD_NAME:
                return pattern_schema(JOB_NAME_PATTERN);
        case FIELD_ATTRIBUTE:
                return pattern_schema(ATTRIBUTE_NAME_PATTERN);
        case FIELD_TEXTS:
        case FIELD_NAMES:
        case FIELD_PATHS:
                return some_schema(field->max, text_item_schema(field));
        case FIELD_TEXT:
        case FIELD_PATH:
                return text_schema(field);
        case FIELD_SPAN:
                return quantity_schema("duration", field, (double) USEC_SEC);
        case FIELD_SIZE:
                return quantity_schema("size", field, 1);
        case FIELD_SIGNAL:
                return reference("signal");
        case FIELD_CODES:
                return one_or_list_schema("exit_code");
        case FIELD_SIGNALS:
                return one_or_list_schema("signal");
        case FIELD_COMMAND:
                return command_schema(field);
        case FIELD_ENV:
                return env_schema();
        }
        abort();
}

/* @defaults: a spec in which nothing was given; NULL in a rule. */
static json_t *field_schema(const struct job_field *field, const struct job_spec *defaults)
{
        json_t *schema = type_schema(field, defaults);

        json_object_set_new(schema, "description", json_string(field->help));
        if (defaults != NULL && field->has_default && field->initial != FIELD_DEFAULT_BY_KIND)
                json_object_set_new(schema, "default", job_field_to_json(field, defaults));
        return schema;
}

static json_t *fields_schema(const struct job_field *fields, const struct job_spec *defaults)
{
        json_t *properties = json_object(), *required = json_array(), *schema;

        for (; fields->name != NULL; fields++) {
                json_object_set_new(properties, fields->name, field_schema(fields, defaults));
                if (fields->required)
                        json_array_append_new(required, json_string(fields->name));
        }
        schema = json_pack("{s:s,s:o,s:b}", "type", "object", "properties", properties,
                "additionalProperties", 0);
        if (json_array_size(required) > 0)
                json_object_set(schema, "required", required);
        json_decref(required);
        return schema;
}

static json_t *definitions(void)
{
        struct job_spec defaults = { 0 };
        json_t *job;

        job_fields_init(job_fields, &defaults);
        job = fields_schema(job_fields, &defaults);
        job_fields_done(job_fields, &defaults);
        return json_pack("{s:o, s:{s:s,s:[s,s],s:s}, s:{s:s,s:[s,s],s:s},"
                         " s:{s:s,s:[s,s],s:i,s:i}, s:{s:s,s:i,s:i}}",
                "job", job, "duration", "description",
                "Seconds, or text with units: us, ms, s, m, h, d", "type", "number", "string",
                "pattern", SPAN_PATTERN, "size", "description",
                "Bytes, or text with a unit: B, KiB, MiB, GiB, TiB, kB, MB, GB, TB", "type",
                "integer", "string", "pattern", SIZE_PATTERN, "signal", "description",
                "A signal by name, with or without SIG, or by number", "type", "string", "integer",
                "minimum", 1, "maximum", SIGRTMAX, "exit_code", "type", "integer", "minimum", 0,
                "maximum", JOB_EXIT_CODE_MAX);
}

json_t *job_schema(void)
{
        json_t *jobs = json_pack("{s:s,s:s,s:i,s:{s:s},s:o}", "description",
                "The jobs of this file by their names", "type", "object", "minProperties", 1,
                "propertyNames", "pattern", JOB_NAME_PATTERN, "additionalProperties",
                reference("job"));

        return json_pack("{s:s,s:s,s:s,s:[s],s:{s:o},s:b,s:o}", "$schema",
                "https://json-schema.org/draft/2020-12/schema", "title", "Reeve job file", "type",
                "object", "required", "jobs", "properties", "jobs", jobs, "additionalProperties", 0,
                "$defs", definitions());
}
