/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "base/error.h"
#include "base/hash.h"
#include "model/job.h"
#include "node/spawn.h"

/* The specs that tasks on this node use, one object per job and version, shared by its tasks; each
 * is also a file (JOB@VERSION.json), so that a restarted agent goes on without the server. */

struct spec {
        unsigned refs; /* tasks that use it; the file goes with the last one */
        uint32_t version;
        struct job_spec *job;
        bool planned;
        struct spawn_plan plan; /* made at the first start */
        char *key;              /* "web@3" */
        UT_hash_handle hh;
};

struct specs;

struct specs *specs_new(const char *directory);
void specs_free(struct specs *s); /* keeps the files; NULL is fine */

/* Learns a spec from the server. ERR_INVALID if this agent cannot read it, ERR_NO_SPACE if it
 * cannot be written down. */
int specs_learn(struct specs *s, const char *job, uint32_t version, const json_t *object,
        struct error *err);

/* A reference to a spec that was learnt now or by an earlier agent. ERR_NOT_FOUND if it is not
 * known here. */
int specs_get(
        struct specs *s, const char *job, uint32_t version, struct spec **ret, struct error *err);
struct spec *specs_put(
        struct specs *s, struct spec *spec); /* gives it back; NULL is fine; returns NULL */

/* The plan for starting processes of it, made now if need be. Made again after a failure: users and
 * programs may appear. */
int spec_plan(struct spec *spec, const struct spawn_plan **ret, struct error *err);

/* Forgets specs that were learnt but are used by no task, and deletes files that nobody refers to.
 */
void specs_sweep(struct specs *s);
