/* SPDX-License-Identifier: BSD-3-Clause */
/* Job specs: their life and their differences.
 *
 * A spec is reference-counted and never changes once it was read: whoever holds one may keep it
 * while a newer version takes its place. Loop thread only. What it can say is declared once, in
 * job-fields.c; it is read in job-read.c, written in job-write.c, and described for editors and
 * people in job-schema.c and job-reference.c. Nothing here decides anything about tasks. */
#include "model/job.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "model/job-fields.h"

struct job_spec *job_spec_ref(struct job_spec *spec)
{
        assert(spec->refs > 0);
        spec->refs++;
        return spec;
}

void job_spec_unref(struct job_spec *spec)
{
        if (spec == NULL)
                return;
        assert(spec->refs > 0);
        if (--spec->refs > 0)
                return;
        job_fields_done(job_fields, spec);
        free(spec->name);
        free(spec);
}

void job_spec_unrefp(struct job_spec **spec)
{
        job_spec_unref(*spec);
}

bool job_spec_per_node(const struct job_spec *spec)
{
        return spec->kind == JOB_SYSTEM || spec->place.with != NULL;
}

bool job_spec_is_batch(const struct job_spec *spec)
{
        return spec->kind == JOB_BATCH || spec->kind == JOB_CRON;
}

bool job_spec_has_ready(const struct job_spec *spec)
{
        return spec->ready.notify || (spec->ready.fd != 0 && spec->ready.fd != JOB_READY_FD_NONE) ||
               spec->ready.log != NULL || spec->ready.http != NULL || spec->ready.tcp != NULL ||
               spec->ready.command != NULL;
}

bool job_spec_has_notify(const struct job_spec *spec)
{
        return spec->ready.notify || spec->watchdog > 0 || spec->fd_store > 0;
}

void job_file_done(struct job_file *file)
{
        for (size_t i = 0; i < file->jobs_len; i++)
                job_spec_unref(file->jobs[i]);
        free(file->jobs);
        *file = (struct job_file){ 0 };
}

enum job_format job_format_from_path(const char *path)
{
        const char *dot = strrchr(path, '.');

        return dot != NULL && strcasecmp(dot, ".json") == 0 ? JOB_FORMAT_JSON : JOB_FORMAT_YAML;
}

static char *json_text(json_t *value)
{
        return value == NULL ? mem_strdup("null")
                             : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
}

static void diff_field(const struct job_field *field, const struct job_spec *from,
        const struct job_spec *to, struct job_diff *diff)
{
        json_t *a = job_field_to_json(field, from), *b = job_field_to_json(field, to);

        if (!json_equal(a, b)) {
                diff->changes = mem_resize(diff->changes, diff->len + 1, sizeof diff->changes[0]);
                diff->changes[diff->len++] = (struct job_change){ .field = field->path,
                        .from = json_text(a),
                        .to = json_text(b),
                        .needs_restart = field->needs_restart };
                diff->needs_restart |= field->needs_restart;
        }
        json_decref(a);
        json_decref(b);
}

static void diff_fields(const struct job_field *fields, const struct job_spec *from,
        const struct job_spec *to, struct job_diff *diff)
{
        for (; fields->name != NULL; fields++)
                if (fields->type == FIELD_SECTION)
                        diff_fields(fields->fields, from, to, diff);
                else
                        diff_field(fields, from, to, diff);
}

void job_spec_diff(const struct job_spec *from, const struct job_spec *to, struct job_diff *ret)
{
        *ret = (struct job_diff){ 0 };
        diff_fields(job_fields, from, to, ret);
}

void job_diff_done(struct job_diff *diff)
{
        for (size_t i = 0; i < diff->len; i++) {
                free(diff->changes[i].from);
                free(diff->changes[i].to);
        }
        free(diff->changes);
        *diff = (struct job_diff){ 0 };
}
