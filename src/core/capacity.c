/* SPDX-License-Identifier: BSD-3-Clause */
/* Capacity: what nodes have, and what their tasks take of it.
 *
 * A task takes from its node from the moment it is placed there until it has ended there, whether
 * its agent is connected or not (MARK_HOLDS; count_marks() is the only caller of node_take() and
 * node_give()). What it takes is its version's *demand*, of which the task keeps a reference while
 * it holds it, so that what is given back is what was taken, whatever became of the spec.
 *
 * Ports are numbers of the node's own range, handed out in turn, so that one that was given back is
 * not given away again at once. Tags are names of which a node has each at most once.
 *
 * A node that was lost may come back with processes whose tasks have other nodes by now
 * (*strangers*). What these hold is not free before the agent there has ended them, and has
 * reported that. It is counted by what the agent says that they hold: here their job may be gone,
 * or have another number for what they are. With the next connect it is told anew. */

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "core/class.h"
#include "core/share.h"

#define PORT_FIRST 20000
#define PORT_LAST  31999

/* ---- Demands */

static struct tag *tag_get(struct cluster *c, const char *name)
{
        struct tag *tag;

        HASH_FIND_STR(c->tags, name, tag);
        if (tag == NULL) {
                tag = mem_alloc(sizeof *tag);
                tag->name = mem_strdup(name);
                HASH_ADD_KEYPTR(hh, c->tags, tag->name, strlen(tag->name), tag);
        }
        tag->refs++;
        return tag;
}

static void tag_unref(struct cluster *c, struct tag *tag)
{
        if (tag == NULL || --tag->refs > 0)
                return;
        HASH_DEL(c->tags, tag);
        free(tag->name);
        free(tag);
}

struct demand *demand_new(struct cluster *c, const struct job_spec *spec)
{
        struct demand *d = mem_alloc(sizeof *d);

        d->refs = 1;
        d->amounts = (struct amounts){ .cpu = spec->resources.cpu,
                .memory = spec->resources.memory,
                .disk = spec->resources.disk };
        while (spec->resources.ports != NULL && spec->resources.ports[d->ports] != NULL)
                d->ports++;
        if (spec->place.exclusive != NULL)
                d->exclusive = tag_get(c, spec->place.exclusive);
        return d;
}

void demand_unref(struct cluster *c, struct demand *d)
{
        if (d == NULL || --d->refs > 0)
                return;
        tag_unref(c, d->exclusive);
        free(d);
}

/* It may be more than the node has: then it can go on with as much. */
static uint64_t left_with(uint64_t capacity, uint64_t used, uint64_t held)
{
        return MAX(amount_left(capacity, used - held), held);
}

struct amounts task_free_amounts(const struct task *task)
{
        const struct node *node = task->node;
        const struct amounts *held = &task->held->amounts;

        return (struct amounts){ .cpu = left_with(node->capacity.cpu, node->used.cpu, held->cpu),
                .memory = left_with(node->capacity.memory, node->used.memory, held->memory),
                .disk = left_with(node->capacity.disk, node->used.disk, held->disk) };
}

/* ---- Ports */

static bool port_taken(const struct node *node, size_t at)
{
        return node->ports_taken != NULL && (node->ports_taken[at / 64] >> (at % 64) & 1) != 0;
}

static void port_mark(struct node *node, uint16_t port, bool taken)
{
        size_t at = (size_t) port - node->ports_first;
        uint64_t bit = UINT64_C(1) << (at % 64);

        if (port < node->ports_first || port > node->ports_last) /* of an earlier range */
                return;
        if (node->ports_taken == NULL)
                node->ports_taken = mem_alloc((node_port_span(node) / 64 + 1) * sizeof(uint64_t));
        if (port_taken(node, at) == taken)
                return;
        node->ports_taken[at / 64] ^= bit;
        node->ports_used += taken ? 1 : (size_t) -1;
}

/* There is a free one: the placer has made sure. */
static uint16_t port_pick(struct node *node)
{
        size_t span = node_port_span(node), at = node->ports_next % span;

        for (size_t i = 0; i < span && port_taken(node, at); i++)
                at = (at + 1) % span;
        node->ports_next = at + 1;
        return (uint16_t) (node->ports_first + at);
}

static void take_ports(struct node *node, struct task *task)
{
        bool known = task->ports_len == task->held->ports; /* as they were stored */

        if (task->held->ports == 0) {
                free(take_ptr(task->ports));
                task->ports_len = 0;
                return;
        }
        if (!known)
                task->ports = mem_resize(task->ports, task->held->ports, sizeof task->ports[0]);
        task->ports_len = task->held->ports;
        for (uint32_t i = 0; i < task->ports_len; i++) {
                if (!known)
                        task->ports[i] = port_pick(node);
                port_mark(node, task->ports[i], true);
        }
}

static void give_ports(struct node *node, struct task *task)
{
        for (uint32_t i = 0; i < task->ports_len; i++)
                port_mark(node, task->ports[i], false);
        free(take_ptr(task->ports));
        task->ports_len = 0;
}

/* "20000-31999" */
static void read_port_range(struct node *node, const char *text)
{
        const char *dash = text == NULL ? NULL : strchr(text, '-');
        AUTO(mem_freep)
        char *first = dash == NULL ? NULL : mem_strndup(text, (size_t) (dash - text));
        int64_t from = PORT_FIRST, to = PORT_LAST;

        if (dash == NULL || !text_parse_int(first, 1, UINT16_MAX, &from) ||
                !text_parse_int(dash + 1, from, UINT16_MAX, &to)) {
                from = PORT_FIRST;
                to = PORT_LAST;
        }
        node->ports_first = (uint16_t) from;
        node->ports_last = (uint16_t) to;
}

static void set_port_range(struct node *node, const char *text)
{
        uint16_t first = node->ports_first, last = node->ports_last;
        struct task *task;

        read_port_range(node, text);
        if (node->ports_first == first && node->ports_last == last)
                return;
        free(take_ptr(node->ports_taken));
        node->ports_used = 0;
        DL_FOREACH2 (node->tasks, task, node_next)
                for (uint32_t i = 0; task->held != NULL && i < task->ports_len; i++)
                        port_mark(node, task->ports[i], true);
}

/* ---- Tags */

bool node_has_tag(const struct node *node, const struct tag *tag)
{
        for (size_t i = 0; tag != NULL && tag->held > 0 && i < node->tags_len; i++)
                if (node->tags[i] == tag)
                        return true;
        return false;
}

static void take_tag(struct node *node, struct tag *tag)
{
        if (tag == NULL)
                return;
        node->tags = mem_resize(node->tags, node->tags_len + 1, sizeof node->tags[0]);
        node->tags[node->tags_len++] = tag;
        tag->held++;
}

static void give_tag(struct node *node, struct tag *tag)
{
        for (size_t i = 0; tag != NULL && i < node->tags_len; i++)
                if (node->tags[i] == tag) {
                        node->tags[i] = node->tags[--node->tags_len];
                        tag->held--;
                        return;
                }
}

/* ---- Taking and giving back */

static const struct job_version *version_of(const struct job *job, uint32_t number)
{
        for (size_t i = job->versions_len; i-- > 0;)
                if (job->versions[i].number == number)
                        return &job->versions[i];
        return &job->versions[job->versions_len - 1];
}

struct demand *task_demand(const struct task *task)
{
        return version_of(task->job, task->desire.version)->demand;
}

void node_take(struct task *task)
{
        struct node *node = task->node;
        struct demand *d = task_demand(task);

        d->refs++;
        task->held = d;
        share_add(task, d, true);
        node->used.cpu += d->amounts.cpu;
        node->used.memory += d->amounts.memory;
        node->used.disk += d->amounts.disk;
        take_tag(node, d->exclusive);
        take_ports(node, task);
}

void node_give(struct task *task)
{
        struct cluster *c = task->job->cluster;
        struct node *node = task->node;
        struct demand *d = task->held;

        node->used.cpu -= d->amounts.cpu;
        node->used.memory -= d->amounts.memory;
        node->used.disk -= d->amounts.disk;
        give_tag(node, d->exclusive);
        give_ports(node, task);
        task->held = NULL;
        share_add(task, d, false);
        demand_unref(c, d);
        node_mark_freed(c, node);
}

void node_retake(struct task *task)
{
        AUTO(mem_freep)
        uint16_t *ports = mem_resize(NULL, task->ports_len + 1, sizeof task->ports[0]);
        uint32_t len = task->ports_len;

        for (uint32_t i = 0; i < len; i++)
                ports[i] = task->ports[i];
        node_give(task);
        task->ports = take_ptr(ports);
        task->ports_len = len;
        node_take(task);
}

/* ---- Strangers */

static void count_stranger(struct node *node, const struct stranger *s, uint64_t sign)
{
        node->used.cpu += sign * s->amounts.cpu;
        node->used.memory += sign * s->amounts.memory;
        node->used.disk += sign * s->amounts.disk;
}

/* "http=20001 admin=20002": those that no task of the node has. */
static void stranger_take_ports(struct node *node, struct stranger *s, const char *text)
{
        for (; text != NULL && (text = strchr(text, '=')) != NULL; text++) {
                unsigned long port = strtoul(text + 1, NULL, 10);
                size_t used = node->ports_used;

                if (port > UINT16_MAX)
                        continue;
                port_mark(node, (uint16_t) port, true);
                if (node->ports_used == used)
                        continue;
                s->ports = mem_resize(s->ports, s->ports_len + 1, sizeof s->ports[0]);
                s->ports[s->ports_len++] = (uint16_t) port;
        }
}

static struct stranger *stranger_find(const struct node *node, const char *id)
{
        struct stranger *s;

        HASH_FIND_STR(node->strangers, id, s);
        return s;
}

void stranger_add(struct cluster *c, struct node *node, const struct cluster_report *r)
{
        struct stranger *s;

        if (stranger_find(node, r->status.id) != NULL)
                return;
        s = mem_alloc(sizeof *s);
        s->id = mem_strdup(r->status.id);
        s->amounts = (struct amounts){ r->holds.cpu, r->holds.memory, r->holds.disk };
        count_stranger(node, s, 1);
        if (r->holds.exclusive != NULL)
                s->exclusive = tag_get(c, r->holds.exclusive);
        take_tag(node, s->exclusive);
        stranger_take_ports(node, s, r->status.ports);
        HASH_ADD_KEYPTR(hh, node->strangers, s->id, strlen(s->id), s);
}

static void stranger_free(struct cluster *c, struct node *node, struct stranger *s)
{
        HASH_DEL(node->strangers, s);
        count_stranger(node, s, UINT64_MAX);
        give_tag(node, s->exclusive);
        tag_unref(c, s->exclusive);
        for (size_t i = 0; i < s->ports_len; i++)
                port_mark(node, s->ports[i], false);
        free(s->ports);
        free(s->id);
        free(s);
        node_mark_freed(c, node);
        c->changes++;
}

bool stranger_drop(struct cluster *c, struct node *node, const char *id)
{
        struct stranger *s = stranger_find(node, id);

        if (s == NULL)
                return false;
        stranger_free(c, node, s);
        return true;
}

void strangers_drop_all(struct cluster *c, struct node *node)
{
        while (node->strangers != NULL)
                stranger_free(c, node, node->strangers);
}

void node_mark_freed(struct cluster *c, struct node *node)
{
        if (node->freed)
                return;
        node->freed = true;
        node->freed_next = c->freed;
        c->freed = node;
}

/* ---- What a node has */

static uint64_t amount_of(int64_t value)
{
        return value == RECORD_NULL || value < 0 ? AMOUNT_UNKNOWN : (uint64_t) value;
}

static uint64_t known(uint64_t amount)
{
        return amount == AMOUNT_UNKNOWN ? 0 : amount;
}

static void count_capacity(struct cluster *c, const struct node *node, uint64_t sign)
{
        c->capacity.cpu += sign * known(node->capacity.cpu);
        c->capacity.memory += sign * known(node->capacity.memory);
        c->capacity.disk += sign * known(node->capacity.disk);
}

void node_measure(struct cluster *c, struct node *node)
{
        struct node_class *before = node->class;

        count_capacity(c, node, UINT64_MAX);
        node->capacity = (struct amounts){ .cpu = amount_of(node->status.cpu),
                .memory = amount_of(node->status.memory),
                .disk = amount_of(node->status.disk) };
        count_capacity(c, node, 1);
        node->class = class_get(c, node);
        class_unref(c, before);
        set_port_range(node, attributes_get(&node->status.attributes, "ports"));
        node_mark_freed(c, node);
}

void node_unmeasure(struct cluster *c, struct node *node)
{
        count_capacity(c, node, UINT64_MAX);
        class_unref(c, node->class);
        free(node->ports_taken);
        free(node->tags);
}
