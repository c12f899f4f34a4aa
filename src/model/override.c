/* SPDX-License-Identifier: BSD-3-Clause */
/* Override: the spec of a template with some fields set anew.
 *
 * It works on the template's JSON, of which what is at its default is left out first: otherwise
 * what nobody has written would stand against what is set (the longest delay against a longer
 * delay, the policy of a service against a batch). The result is read as any spec is, so that all
 * its checks hold for it. */
#include "model/override.h"

#include <string.h>

#include "base/mem.h"
#include "model/document.h"
#include "model/job-fields.h"

static void decref(json_t **json)
{
        json_decref(*json);
}

/* ---- Fields by path */

/* The field that @path leads to, and in @ret_rest what of the path is behind it ("" or a variable
 * of `env`); NULL if it is none. */
static const struct job_field *find_field(const char *path, const char **ret_rest)
{
        const struct job_field *fields = job_fields;

        for (;;) {
                size_t len = strcspn(path, ".");
                AUTO(mem_freep) char *name = mem_strndup(path, len);
                const struct job_field *field = job_field_find(fields, name);

                path += len + (path[len] == '.');
                if (field == NULL || field->type != FIELD_SECTION || *path == '\0') {
                        *ret_rest = path;
                        return field;
                }
                fields = field->fields;
        }
}

struct paths {
        const char **paths;
        size_t len;
};

static void add_paths(struct paths *all, const struct job_field *fields)
{
        for (; fields->name != NULL; fields++) {
                if (fields->type == FIELD_SECTION) {
                        add_paths(all, fields->fields);
                        continue;
                }
                all->paths = mem_resize(all->paths, all->len + 2, sizeof *all->paths);
                all->paths[all->len++] = fields->path;
                all->paths[all->len] = NULL;
        }
}

/* The path of the only field that is called like the last part of @path; NULL: none, or several. */
static const char *same_name(const struct paths *all, const char *path)
{
        const char *dot = strrchr(path, '.'), *found = NULL;
        const char *name = dot == NULL ? path : dot + 1;

        for (size_t i = 0; i < all->len; i++) {
                const char *last = strrchr(all->paths[i], '.');

                if (strcmp(last == NULL ? all->paths[i] : last + 1, name) != 0)
                        continue;
                if (found != NULL)
                        return NULL;
                found = all->paths[i];
        }
        return found;
}

static int fail_unknown(const char *path, struct error *err)
{
        struct paths all = { 0 };
        const char *near;

        add_paths(&all, job_fields);
        near = text_nearest(path, all.paths);
        if (near == NULL)
                near = same_name(&all, path);
        mem_freep(&all.paths);
        if (near != NULL)
                return error_set(err, ERR_INVALID, "set.%s: unknown field; did you mean \"%s\"?",
                        path, near);
        return error_set(
                err, ERR_INVALID, "set.%s: unknown field; docs/job.md lists all of them", path);
}

static int fail_section(const char *path, const struct job_field *section, struct error *err)
{
        AUTO(buffer_done) struct buffer names = { 0 };

        for (const struct job_field *f = section->fields; f->name != NULL; f++)
                buffer_printf(&names, "%s%s", names.len == 0 ? "" : ", ", f->path);
        return error_set(err, ERR_INVALID, "set.%s: has several fields, set each: %s", path,
                buffer_str(&names));
}

/* ---- What is at its default */

static void drop_defaults(json_t *spec, json_t *defaults)
{
        const char *key;
        json_t *value;
        void *next;

        json_object_foreach_safe (spec, next, key, value) {
                json_t *initial = json_object_get(defaults, key);

                if (json_is_object(value) && json_is_object(initial))
                        drop_defaults(value, initial);
                else if (initial != NULL && json_equal(value, initial))
                        json_object_del(spec, key);
        }
}

/* What a spec of this kind has that says nothing else. New reference. */
static json_t *defaults_of(const struct job_spec *spec)
{
        AUTO(decref)
        json_t *least = json_pack("{s:[s], s:s}", "command", "-", "kind",
                job_kind_names[spec->kind == JOB_CRON ? JOB_BATCH : spec->kind]);
        AUTO(job_spec_unrefp) struct job_spec *plain = NULL;
        struct error err;
        json_t *json;

        if (job_spec_from_json(spec->name, least, &plain, &err) < 0)
                return json_object();
        json = job_spec_to_json(plain);
        json_object_del(json, "kind"); /* stays, whatever the default is */
        json_object_del(json, "command");
        return json;
}

/* ---- Setting */

static void set_member(json_t *object, const char *name, json_t *value)
{
        if (json_is_null(value))
                json_object_del(object, name);
        else
                json_object_set(object, name, value);
}

/* The object at @path below @spec, without its last part, made where it is not there. */
static json_t *home_of(json_t *spec, const char *path, const char **ret_name)
{
        const char *dot;

        while ((dot = strchr(path, '.')) != NULL) {
                AUTO(mem_freep) char *name = mem_strndup(path, (size_t) (dot - path));
                json_t *below = json_object_get(spec, name);

                if (!json_is_object(below)) {
                        below = json_object();
                        json_object_set_new(spec, name, below);
                }
                spec = below;
                path = dot + 1;
        }
        *ret_name = path;
        return spec;
}

static void set_variable(json_t *spec, const char *name, json_t *value)
{
        json_t *env = json_object_get(spec, "env");

        if (!json_is_object(env)) {
                env = json_object();
                json_object_set_new(spec, "env", env);
        }
        set_member(env, name, value);
}

static int set_field(json_t *spec, const char *path, json_t *value, struct error *err)
{
        const char *rest, *name;
        const struct job_field *field = find_field(path, &rest);
        json_t *home;

        if (field == NULL || (*rest != '\0' && field->type != FIELD_ENV))
                return fail_unknown(path, err);
        if (field->type == FIELD_SECTION)
                return fail_section(path, field, err);
        if (strcmp(field->path, "template") == 0)
                return error_set(err, ERR_INVALID,
                        "set.template: what is made of a template is run, and is no template");
        if (*rest != '\0') {
                set_variable(spec, rest, value);
                return 0;
        }
        home = home_of(spec, path, &name);
        set_member(home, name, value);
        return 0;
}

int job_override(const struct job_spec *template, const char *name, const json_t *set,
        struct job_spec **ret, struct error *err)
{
        AUTO(decref) json_t *spec = job_spec_to_json(template);
        AUTO(decref) json_t *defaults = defaults_of(template);
        const char *path;
        json_t *value;

        drop_defaults(spec, defaults);
        json_object_del(spec, "template");
        /* jansson has no walk over what is const */
        json_object_foreach ((json_t *) (uintptr_t) set, path, value)
                if (set_field(spec, path, value, err) < 0)
                        return -1;
        return job_spec_from_json(name, spec, ret, err);
}

/* ---- Values of people */

static bool is_text(const struct job_field *field, const char *rest)
{
        switch (field->type) {
        case FIELD_TEXT:
        case FIELD_PATH:
        case FIELD_NAME:
        case FIELD_ATTRIBUTE:
                return true;
        case FIELD_ENV:
                return *rest != '\0';
        default: /* YAML says what it is */
                return false;
        }
}

int job_override_value(const char *path, const char *text, json_t **ret, struct error *err)
{
        AUTO(document_done) struct document doc = { 0 };
        const char *rest;
        const struct job_field *field = find_field(path, &rest);

        if (field != NULL && is_text(field, rest)) {
                *ret = json_string(text);
                return *ret != NULL ? 0 : error_set(err, ERR_INVALID, "%s: expected UTF-8", path);
        }
        if (document_read_yaml(path, text, strlen(text), &doc, err) < 0)
                return -1;
        *ret = json_incref(doc.root);
        return 0;
}
