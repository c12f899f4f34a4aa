/* SPDX-License-Identifier: BSD-3-Clause */
/* Share: how much of the cluster the jobs of one owner have.
 *
 * An owner's share is its *dominant* one: of cores, memory and disk, the largest fraction of the
 * whole that its tasks hold (Ghodsi et al., "Dominant Resource Fairness", NSDI 2011). Among owners
 * whose tasks ask for nothing, and between equals, the number of tasks decides. Jobs that name no
 * owner are those of one.
 *
 * Tasks count from when they take something of a node until they give it back; node_take() and
 * node_give() are the only callers of share_add(). */

#include <stdlib.h>
#include <string.h>

#include "core/share.h"

static struct owner *owner_get(struct cluster *c, const char *name)
{
        struct owner *owner;

        if (name == NULL)
                name = "";
        HASH_FIND_STR(c->owners, name, owner);
        if (owner == NULL) {
                owner = mem_alloc(sizeof *owner);
                owner->name = mem_strdup(name);
                HASH_ADD_KEYPTR(hh, c->owners, owner->name, strlen(owner->name), owner);
        }
        owner->jobs++;
        return owner;
}

static void owner_unref(struct cluster *c, struct owner *owner)
{
        if (owner == NULL || --owner->jobs > 0)
                return;
        HASH_DEL(c->owners, owner);
        free(owner->name);
        free(owner);
}

static void add(struct owner *owner, const struct demand *d, bool more)
{
        uint64_t sign = more ? 1 : UINT64_MAX;

        owner->held.cpu += sign * d->amounts.cpu;
        owner->held.memory += sign * d->amounts.memory;
        owner->held.disk += sign * d->amounts.disk;
        owner->tasks += sign;
}

void share_add(const struct task *task, const struct demand *d, bool more)
{
        add(task->job->owner, d, more);
}

void share_set_owner(struct job *job, const char *name)
{
        struct owner *before = job->owner, *after = owner_get(job->cluster, name);
        const struct task *task;

        job->owner = after;
        if (before == NULL)
                return;
        JOB_FOREACH_TASK (job, task)
                if (task->held != NULL) {
                        add(before, task->held, false);
                        add(after, task->held, true);
                }
        owner_unref(job->cluster, before);
}

void share_drop_owner(struct job *job)
{
        owner_unref(job->cluster, job->owner);
        job->owner = NULL;
}

static double fraction(uint64_t part, uint64_t whole)
{
        return whole == 0 ? 0 : (double) part / (double) whole;
}

static double dominant(const struct cluster *c, const struct owner *owner)
{
        double cpu = fraction(owner->held.cpu, c->capacity.cpu);
        double memory = fraction(owner->held.memory, c->capacity.memory);
        double disk = fraction(owner->held.disk, c->capacity.disk);

        return MAX(MAX(cpu, memory), disk);
}

int share_compare(const struct cluster *c, const struct owner *a, const struct owner *b)
{
        double x = dominant(c, a), y = dominant(c, b);

        if (x != y)
                return x < y ? -1 : 1;
        if (a->tasks != b->tasks)
                return a->tasks < b->tasks ? -1 : 1;
        return strcmp(a->name, b->name);
}
