/* SPDX-License-Identifier: BSD-3-Clause */
/* Room: what the server has placed on each node, and what runs there, and whether it fits.
 *
 *   room        what is placed on a node asks for no more cpu, memory and disk than it has
 *   exclusive   no two tasks with the same tag
 *   ports       no two tasks with the same number
 *   place       the node is one that the job names: its zones, its node
 *   closed      nothing is placed anew on a node that is cordoned or drained
 *   running     the first three, of the processes that are there, whatever the server believes
 *
 * Placements are counted from what the server says to agents, task by task. That a task has gone
 * elsewhere or has ended is not always said to anybody; so before a rule counts as broken all that
 * the node is thought to have is asked of the core once more. */

#include <inttypes.h>
#include <string.h>
#include <utlist.h>

#include "sim/rules.h"

static const struct job_spec *spec_of(const struct sim *s, const struct fact *f)
{
        const struct job_spec *spec =
                cluster_get_spec(s->server.cluster, f->wish->job, f->told.version);

        return spec != NULL ? spec : cluster_get_spec(s->server.cluster, f->wish->job, 0);
}

/* Where the core has it now; NULL: nowhere, or it has ended. */
static struct sim_node *find_place(struct sim *s, const struct fact *f)
{
        struct task_status status;

        if (!cluster_get_task(s->server.cluster, f->id, &status) || status.node == NULL ||
                status.state == TASK_ENDED)
                return NULL;
        return sim_node_find(s, status.node);
}

static void set_place(struct fact *f, struct sim_node *n)
{
        if (f->placed_on == n)
                return;
        if (f->placed_on != NULL)
                DL_DELETE2(f->placed_on->placed, f, placed_prev, placed_next);
        f->placed_on = n;
        if (n != NULL)
                DL_APPEND2(n->placed, f, placed_prev, placed_next);
}

static void refresh(struct sim *s, struct sim_node *n)
{
        struct fact *f, *next;

        DL_FOREACH_SAFE2 (n->placed, f, next, placed_next)
                set_place(f, find_place(s, f));
}

/* ---- The rules */

struct room {
        int64_t cpu, memory, disk;
};

static void add_demand(struct room *room, const struct job_spec *spec)
{
        room->cpu += spec->resources.cpu;
        room->memory += (int64_t) spec->resources.memory;
        room->disk += (int64_t) spec->resources.disk;
}

static struct room used_on(
        const struct sim *s, const struct sim_node *n, const struct fact *without)
{
        struct room used = { 0 };
        const struct fact *f;

        DL_FOREACH2 (n->placed, f, placed_next) {
                const struct job_spec *spec = spec_of(s, f);

                if (spec != NULL && f != without)
                        add_demand(&used, spec);
        }
        return used;
}

static bool is_over(const struct sim_node *n, const struct room *used)
{
        return used->cpu > n->status.cpu || used->memory > n->status.memory ||
               used->disk > n->status.disk;
}

static void check_room(struct sim *s, struct sim_node *n, const struct fact *f)
{
        struct room used = used_on(s, n, NULL);

        if (!is_over(n, &used))
                return;
        refresh(s, n);
        used = used_on(s, n, NULL);
        if (is_over(n, &used))
                sim_break_rule(s,
                        "room: with %s what is placed on %s asks for cpu %" PRIi64 " of %" PRIi64
                        ", memory %" PRIi64 " of %" PRIi64 ", disk %" PRIi64 " of %" PRIi64,
                        f->id, n->status.name, used.cpu, n->status.cpu, used.memory,
                        n->status.memory, used.disk, n->status.disk);
}

static bool same_port(const struct fact *a, const struct fact *b)
{
        for (size_t i = 0; i < a->ports_len; i++)
                for (size_t j = 0; j < b->ports_len; j++)
                        if (a->ports[i] == b->ports[j])
                                return true;
        return false;
}

static bool same_tag(const struct job_spec *a, const struct job_spec *b)
{
        return a->place.exclusive != NULL && b->place.exclusive != NULL &&
               strcmp(a->place.exclusive, b->place.exclusive) == 0;
}

static void check_neighbours(struct sim *s, struct sim_node *n, const struct fact *f)
{
        const struct job_spec *spec = spec_of(s, f);
        struct fact *other, *next;

        if (spec->place.exclusive == NULL && f->ports_len == 0)
                return;
        DL_FOREACH_SAFE2 (n->placed, other, next, placed_next) {
                const struct job_spec *its = spec_of(s, other);
                bool tag = its != NULL && same_tag(spec, its);

                if (other == f || (!tag && !same_port(f, other)) || find_place(s, other) != n)
                        continue;
                sim_break_rule(s, "%s: %s and %s are both on %s", tag ? "exclusive" : "ports",
                        f->id, other->id, n->status.name);
        }
}

static bool is_in_zones(char *const *zones, const char *zone)
{
        for (size_t i = 0; zones != NULL && zones[i] != NULL; i++)
                if (zone != NULL && strcmp(zones[i], zone) == 0)
                        return true;
        return zones == NULL;
}

/* Of a task that was not there before. */
static void check_place(struct sim *s, const struct sim_node *n, const struct fact *f)
{
        const struct job_spec *spec = spec_of(s, f);

        if (!is_in_zones(spec->place.zones, n->status.zone) ||
                (spec->place.node != NULL && strcmp(spec->place.node, n->status.name) != 0))
                sim_break_rule(s, "place: %s is placed on %s, which its job does not name", f->id,
                        n->status.name);
        if (n->closed != 0)
                sim_break_rule(
                        s, "closed: %s is placed on %s, which is closed", f->id, n->status.name);
}

void sim_room_told(struct sim *s, struct fact *f, const struct cluster_assign *a)
{
        set_place(f, find_place(s, f));
        if (!a->desire.run)
                return;
        f->ports_len = a->ports_len;
        memcpy(f->ports, a->ports, sizeof f->ports);
}

void sim_room_heard(struct sim *s, struct fact *f)
{
        if (f->placed_on == NULL)
                set_place(f, find_place(s, f));
}

void sim_room_check(struct sim *s, struct fact *f)
{
        struct sim_node *n = f->placed_on;

        if (n == NULL || spec_of(s, f) == NULL)
                return;
        check_room(s, n, f);
        check_neighbours(s, n, f);
        if (f->last_known && f->last_on != n)
                check_place(s, n, f);
        f->last_on = n;
        f->last_known = true;
}

void sim_room_forget(struct sim *s, struct fact *f)
{
        set_place(f, find_place(s, f));
}

/* ---- What runs */

static bool shares_port(const struct sim_task *a, const struct sim_task *b)
{
        for (size_t i = 0; i < JOB_PORTS_MAX && a->machine.grant.ports[i] != 0; i++)
                for (size_t j = 0; j < JOB_PORTS_MAX && b->machine.grant.ports[j] != 0; j++)
                        if (a->machine.grant.ports[i] == b->machine.grant.ports[j])
                                return true;
        return false;
}

static void check_beside(struct sim *s, const struct sim_task *t, const struct sim_task *other)
{
        const char *what = same_tag(t->spec, other->spec) ? "the tag"
                           : shares_port(t, other)        ? "a port"
                                                          : NULL;

        if (what != NULL)
                sim_break_rule(s, "running: %s begins on %s with %s of %s, which runs there", t->id,
                        t->node->status.name, what, other->id);
}

void sim_room_began(struct sim *s, const struct sim_task *t)
{
        const struct sim_node *n = t->node;
        const struct sim_task *other;
        struct room used = { 0 };

        for (other = n->tasks; other != NULL; other = other->hh.next) {
                if (other->process.pid <= 0 || other->process.ended)
                        continue;
                add_demand(&used, other->spec);
                if (other != t)
                        check_beside(s, t, other);
        }
        if (is_over(n, &used))
                sim_break_rule(s,
                        "running: with %s what runs on %s asks for cpu %" PRIi64 " of %" PRIi64
                        ", memory %" PRIi64 " of %" PRIi64 ", disk %" PRIi64 " of %" PRIi64,
                        t->id, n->status.name, used.cpu, n->status.cpu, used.memory,
                        n->status.memory, used.disk, n->status.disk);
}

/* ---- At rest */

/* Whether one more task of the spec would have room on @n, beside all but @without. */
static bool fits(
        struct sim *s, struct sim_node *n, const struct job_spec *spec, const struct fact *without)
{
        bool its = without != NULL && without->placed_on == n; /* it may stay where it is */
        struct room used;
        struct fact *f;

        if (n->for_good || (n->closed != 0 && !its) ||
                !is_in_zones(spec->place.zones, n->status.zone) ||
                (spec->place.node != NULL && strcmp(spec->place.node, n->status.name) != 0))
                return false;
        refresh(s, n);
        used = used_on(s, n, without);
        add_demand(&used, spec);
        if (is_over(n, &used))
                return false;
        DL_FOREACH2 (n->placed, f, placed_next)
                if (f != without && same_tag(spec, spec_of(s, f)))
                        return false;
        return true;
}

const char *sim_room_find_beside(
        struct sim *s, const struct job_spec *spec, const struct fact *without)
{
        for (size_t i = 0; i < s->nodes_len; i++)
                if (fits(s, s->nodes[i], spec, without))
                        return s->nodes[i]->status.name;
        return NULL;
}

const char *sim_room_find(struct sim *s, const struct job_spec *spec)
{
        return sim_room_find_beside(s, spec, NULL);
}
