/* SPDX-License-Identifier: BSD-3-Clause */
#include "node/specs.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"

#define SPEC_FILE_MAX (4 * 1024 * 1024)

struct specs {
        char *directory;
        struct spec *by_key;
};

struct specs *specs_new(const char *directory)
{
        struct specs *s = mem_alloc(sizeof *s);

        s->directory = mem_strdup(directory);
        return s;
}

static void spec_free(struct specs *s, struct spec *spec)
{
        HASH_DEL(s->by_key, spec);
        job_spec_unref(spec->job);
        spawn_plan_done(&spec->plan);
        free(spec->key);
        free(spec);
}

void specs_free(struct specs *s)
{
        struct spec *spec, *next;

        if (s == NULL)
                return;
        HASH_ITER (hh, s->by_key, spec, next)
                spec_free(s, spec);
        free(s->directory);
        free(s);
}

static char *spec_path(const struct specs *s, const char *key)
{
        return mem_printf("%s/%s.json", s->directory, key);
}

static void specs_add(struct specs *s, char *key, uint32_t version, struct job_spec *job)
{
        struct spec *spec = mem_alloc(sizeof *spec);

        spec->key = key;
        spec->version = version;
        spec->job = job;
        HASH_ADD_KEYPTR(hh, s->by_key, spec->key, strlen(spec->key), spec);
}

static bool spec_equal(const struct job_spec *a, const struct job_spec *b)
{
        struct job_diff diff;
        bool equal;

        job_spec_diff(a, b, &diff);
        equal = diff.len == 0;
        job_diff_done(&diff);
        return equal;
}

/* A job that was removed and is there again counts its versions from 1: the server's word is the
 * truth. */
static void spec_replace(struct spec *spec, struct job_spec *job)
{
        job_spec_unref(spec->job);
        spec->job = job;
        spawn_plan_done(&spec->plan);
        spec->planned = false;
}

int specs_learn(
        struct specs *s, const char *job, uint32_t version, const json_t *object, struct error *err)
{
        AUTO(mem_freep) char *key = mem_printf("%s@%u", job, version);
        AUTO(mem_freep) char *path = spec_path(s, key);
        AUTO(mem_freep) char *text = NULL;
        AUTO(job_spec_unrefp) struct job_spec *parsed = NULL;
        struct spec *known;

        if (job_spec_from_json(job, object, &parsed, err) < 0)
                return error_wrap(err, "spec of %s version %u", job, version);
        HASH_FIND_STR(s->by_key, key, known);
        if (known != NULL && spec_equal(known->job, parsed))
                return 0;
        text = json_dumps(object, JSON_COMPACT);
        if (text == NULL)
                return error_set(err, ERR_INVALID, "spec of %s version %u", job, version);
        if (file_replace(path, text, strlen(text), 0600, false, err) < 0)
                return -1;
        if (known != NULL)
                spec_replace(known, take_ptr(parsed));
        else
                specs_add(s, take_ptr(key), version, take_ptr(parsed));
        return 0;
}

/* What an earlier agent wrote down. */
static int specs_read(
        struct specs *s, const char *job, uint32_t version, char *key, struct error *err)
{
        AUTO(mem_freep) char *path = spec_path(s, key);
        AUTO(buffer_done) struct buffer text = { 0 };
        AUTO(job_spec_unrefp) struct job_spec *parsed = NULL;
        json_error_t json_error;
        json_t *object;
        int r;

        if (file_read(path, SPEC_FILE_MAX, &text, err) < 0)
                return -1;
        object = json_loads(buffer_str(&text), JSON_REJECT_DUPLICATES, &json_error);
        if (object == NULL)
                return error_set(err, ERR_NOT_FOUND, "%s: %s", path, json_error.text);
        r = job_spec_from_json(job, object, &parsed, err);
        json_decref(object);
        if (r < 0)
                return error_wrap(err, "%s", path);
        specs_add(s, mem_strdup(key), version, take_ptr(parsed));
        return 0;
}

int specs_get(
        struct specs *s, const char *job, uint32_t version, struct spec **ret, struct error *err)
{
        AUTO(mem_freep) char *key = mem_printf("%s@%u", job, version);
        struct spec *spec;

        HASH_FIND_STR(s->by_key, key, spec);
        if (spec == NULL) {
                if (specs_read(s, job, version, key, err) < 0)
                        return -1;
                HASH_FIND_STR(s->by_key, key, spec);
        }
        spec->refs++;
        *ret = spec;
        return 0;
}

struct spec *specs_put(struct specs *s, struct spec *spec)
{
        AUTO(mem_freep) char *path = NULL;

        if (spec == NULL || --spec->refs > 0)
                return NULL;
        path = spec_path(s, spec->key);
        unlink(path);
        spec_free(s, spec);
        return NULL;
}

int spec_plan(struct spec *spec, const struct spawn_plan **ret, struct error *err)
{
        struct sandbox *sandbox = NULL;

        if (!spec->planned) {
                if (job_spec_has_sandbox(spec->job) && sandbox_make(spec->job, &sandbox, err) < 0)
                        return -1;
                if (spawn_plan_make(spec->job, &spec->plan, err) < 0) {
                        sandbox_unref(sandbox);
                        return -1;
                }
                spec->plan.sandbox = sandbox;
        }
        spec->planned = true;
        *ret = &spec->plan;
        return 0;
}

void specs_sweep(struct specs *s)
{
        DIR *directory = opendir(s->directory);
        struct spec *spec, *next;

        HASH_ITER (hh, s->by_key, spec, next)
                if (spec->refs == 0)
                        spec_free(s, spec);
        if (directory == NULL)
                return;
        for (const struct dirent *e; (e = readdir(directory)) != NULL;) {
                const char *dot = strrchr(e->d_name, '.');
                size_t len = dot == NULL || e->d_name[0] == '.' ? 0 : (size_t) (dot - e->d_name);

                HASH_FIND(hh, s->by_key, e->d_name, len, spec);
                if (spec == NULL && len > 0)
                        unlinkat(dirfd(directory), e->d_name, 0);
        }
        closedir(directory);
}
