/* SPDX-License-Identifier: BSD-3-Clause */
/* Unknown fields: what was probably meant.
 *
 * In this order: a field that exists, but at another level; a field of this level with a typing
 * error; otherwise the list of what may stand here. */
#include "model/job-unknown.h"

#include <string.h>

#include "base/text.h"

#define NAMES_MAX 32

/* Appends the sections of @fields that have a field called @name, as `"restart" or "stop"`. */
static void put_homes(const struct job_field *fields, const char *name, struct buffer *homes)
{
        for (; fields->name != NULL; fields++) {
                if (fields->fields == NULL)
                        continue;
                if (job_field_find(fields->fields, name) != NULL)
                        buffer_printf(
                                homes, "%s\"%s\"", homes->len > 0 ? " or " : "", fields->path);
                put_homes(fields->fields, name, homes);
        }
}

static const char *nearest(const char *word, const struct job_field *fields)
{
        const char *names[NAMES_MAX + 1] = { NULL };

        for (size_t i = 0; fields[i].name != NULL && i < NAMES_MAX; i++)
                names[i] = fields[i].name;
        return text_nearest(word, names);
}

static int fail_with_list(
        const struct reader *r, const struct value *value, const struct job_field *fields)
{
        value_fail(
                r, value, "unknown field; there %s ", fields[1].name == NULL ? "is only" : "are");
        for (; fields->name != NULL; fields++)
                value_fail_more(r, "%s%s", fields->name,
                        fields[1].name == NULL   ? ""
                        : fields[2].name == NULL ? " and "
                                                 : ", ");
        return -1;
}

int job_fail_unknown(const struct reader *r, const struct value *value,
        const struct job_field *fields, const struct job_field *section)
{
        AUTO(buffer_done) struct buffer homes = { 0 };
        const char *near;

        put_homes(job_fields, value->key, &homes);
        if (homes.len > 0)
                return value_fail(r, value, "unknown field; \"%s\" belongs under %s", value->key,
                        buffer_str(&homes));
        if (section != NULL && job_field_find(job_fields, value->key) != NULL)
                return value_fail(r, value,
                        "unknown field; \"%s\" belongs beside \"%.*s\", not under it", value->key,
                        (int) strcspn(section->path, "."), section->path);
        near = nearest(value->key, fields);
        if (near != NULL)
                return value_fail(r, value, "unknown field; did you mean \"%s\"?", near);
        return fail_with_list(r, value, fields);
}

int job_file_fail_unknown(const struct reader *r, const struct value *value)
{
        static const char *const names[] = { "jobs", NULL };

        if (job_field_find(job_fields, value->key) != NULL)
                return value_fail(r, value,
                        "unknown field; the spec of a job stands under its name: "
                        "jobs: {NAME: {%s: ...}}",
                        value->key);
        if (json_object_get(value->json, "command") != NULL)
                return value_fail(r, value, "unknown field; a job stands under \"jobs\"");
        if (text_nearest(value->key, names) != NULL)
                return value_fail(r, value, "unknown field; did you mean \"jobs\"?");
        return value_fail(r, value, "unknown field; a job file has only \"jobs\"");
}
