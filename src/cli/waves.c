/* SPDX-License-Identifier: BSD-3-Clause */
/* Waves: jobs end in the reverse of the order in which they begin.
 *
 * What waits for what stands in the specs, which the server is asked for; one that is not there is
 * nobody's affair here: the request to end it says so. */
#include "cli/waves.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/client.h"

struct member {
        const char *name;
        json_t *answer; /* NULL: unknown */
        bool done;
};

static size_t job_len(const char *name)
{
        return strcspn(name, ".");
}

static bool is_same_job(const char *a, const char *b)
{
        return job_len(a) == job_len(b) && strncmp(a, b, job_len(a)) == 0;
}

/* Whether @member begins after the job of @name. */
static bool waits_for(const struct member *member, const char *name)
{
        json_t *after = json_object_get(json_object_get(member->answer, "spec"), "after"), *value;
        const char *key;

        json_object_foreach (after, key, value)
                if (is_same_job(key, name))
                        return true;
        return false;
}

static bool is_awaited(const struct member *all, size_t len, const char *name)
{
        for (size_t i = 0; i < len; i++)
                if (!all[i].done && !is_same_job(all[i].name, name) && waits_for(&all[i], name))
                        return true;
        return false;
}

/* Those that can end now; all that are left if there is none. */
static size_t next_group(struct member *all, size_t len, const char **ret)
{
        size_t n = 0;

        for (size_t i = 0; i < len; i++)
                if (!all[i].done && !is_awaited(all, len, all[i].name))
                        ret[n++] = all[i].name;
        for (size_t i = 0; i < len && n == 0; i++)
                if (!all[i].done)
                        ret[n++] = all[i].name;
        ret[n] = NULL;
        for (size_t i = 0; i < len; i++)
                for (size_t k = 0; k < n; k++)
                        all[i].done |= strcmp(all[i].name, ret[k]) == 0;
        return n;
}

static void look_up(struct member *member)
{
        AUTO(mem_freep) char *job = mem_strndup(member->name, job_len(member->name));
        AUTO(mem_freep) char *path = client_subject_path(job, "");
        struct error err;

        if (client_get(path, &member->answer, &err) < 0)
                member->answer = NULL;
}

int waves_each(const char *const *names, int (*end)(const char *const *group, struct error *err),
        struct error *err)
{
        AUTO(mem_freep) struct member *all = NULL;
        AUTO(mem_freep) const char **group = NULL;
        size_t len = 0;
        int r = 0;

        while (names[len] != NULL)
                len++;
        if (len == 1)
                return end(names, err);
        all = mem_alloc((len + 1) * sizeof *all);
        group = mem_alloc((len + 1) * sizeof *group);
        for (size_t i = 0; i < len; i++) {
                all[i].name = names[i];
                look_up(&all[i]);
        }
        while (r == 0 && next_group(all, len, group) > 0)
                r = end(group, err);
        for (size_t i = 0; i < len; i++)
                json_decref(all[i].answer);
        return r;
}
