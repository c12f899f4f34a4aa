/* SPDX-License-Identifier: BSD-3-Clause */
/* Place: which nodes the tasks of a job go to.
 *
 * Every node is looked at, none is sampled. Those that do not refuse the task are *candidates* and
 * are ranked by rules that are asked in turn, so that every choice can be told in a sentence:
 *
 *   1. the sum of the weights of the preferences that hold, higher first
 *   2. `spread`: the fewest tasks of the job on nodes with the same value of that attribute (those
 *      that do not have it count as if they had one of their own)
 *   3. the fewest tasks of the job on the node           (by: spread, and spread over the names)
 *   4. the least used; by `pack` the most used
 *   5. the fewest tasks; by `pack` the most
 *   6. the name
 *
 * A job's tasks are placed in one go: the candidates of each value of `spread` stand in a heap (one
 * heap without `spread`), the best of the tops is taken, ranked anew with what the task takes of
 * it, and sifted; the ranks of all others stay what they were, because only rules 1 to 3 look
 * beyond the node, and these are the same for a whole heap or not changed. The choice is made on
 * copies of what is free, so that nothing has been changed when less than all find a place.
 *
 * What a spec asks of attributes is asked once per class of nodes, not per node. */

#include "core/place.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

struct candidate {
        struct node *node;
        struct amounts free;
        uint32_t ports; /* free ones */
        uint32_t group;
        int32_t preference;
        uint32_t job_tasks, load, tasks;
};

struct group {
        uint32_t *heap; /* indexes of candidates */
        uint32_t len;
        uint32_t tasks; /* of the job, on nodes with this value */
        const char *value;
};

struct pass {
        const struct job *job;
        const struct job_spec *spec;
        const struct demand *demand;
        bool asks_names;    /* a constraint or preference is about the node's name */
        bool spreads_names; /* each node is a value of its own */
        uint64_t number;
        struct candidate *candidates;
        struct group *groups;
        uint32_t *heaps;
        uint32_t candidates_len, groups_len;
        struct place_refusals *refusals;
};

/* ---- What is asked of attributes */

static bool about_name(const struct constraint *c)
{
        return strcmp(c->attribute, ATTRIBUTE_NAME) == 0;
}

static bool name_holds(const struct constraint *c, const struct node *node)
{
        AUTO(mem_freep) char *pair = mem_printf("name=%s", node->status.name);
        struct attributes attributes = { .pairs = &pair, .len = 1 };

        return constraint_holds(c, &attributes);
}

static bool in_zones(char *const *zones, const char *zone)
{
        for (; *zones != NULL; zones++)
                if (zone != NULL && strcmp(*zones, zone) == 0)
                        return true;
        return false;
}

static void judge_class(const struct pass *p, struct node_class *class)
{
        const struct job_spec *spec = p->spec;

        class->pass = p->number;
        class->refusal = REFUSAL_NONE;
        class->preference = 0;
        class->group = UINT32_MAX;
        if (spec->place.zones != NULL &&
                !in_zones(spec->place.zones, attributes_get(&class->attributes, ATTRIBUTE_ZONE)))
                class->refusal = REFUSAL_ZONE;
        for (uint32_t i = 0; i < spec->place.constraints_len && class->refusal == REFUSAL_NONE;
                i++) {
                const struct constraint *c = &spec->place.constraints[i];

                if (about_name(c) || constraint_holds(c, &class->attributes))
                        continue;
                class->refusal = REFUSAL_CONSTRAINT;
                class->constraint = i;
        }
        for (size_t i = 0; i < spec->place.preferences_len; i++) {
                const struct preference *preference = &spec->place.preferences[i];

                if (!about_name(preference->where) &&
                        constraint_holds(preference->where, &class->attributes))
                        class->preference += preference->weight;
        }
}

static bool asks_names(const struct job_spec *spec)
{
        bool asks = false;

        for (size_t i = 0; i < spec->place.constraints_len; i++)
                asks |= about_name(&spec->place.constraints[i]);
        for (size_t i = 0; i < spec->place.preferences_len; i++)
                asks |= about_name(spec->place.preferences[i].where);
        return asks;
}

static enum refusal judge_name(
        const struct pass *p, const struct node *node, uint32_t *constraint, int32_t *preference)
{
        const struct job_spec *spec = p->spec;

        for (uint32_t i = 0; i < spec->place.constraints_len; i++)
                if (about_name(&spec->place.constraints[i]) &&
                        !name_holds(&spec->place.constraints[i], node)) {
                        *constraint = i;
                        return REFUSAL_CONSTRAINT;
                }
        for (size_t i = 0; i < spec->place.preferences_len; i++)
                if (about_name(spec->place.preferences[i].where) &&
                        name_holds(spec->place.preferences[i].where, node))
                        *preference += spec->place.preferences[i].weight;
        return REFUSAL_NONE;
}

/* ---- One node */

static enum refusal refusal_of_room(const struct pass *p, const struct candidate *at)
{
        const struct demand *d = p->demand;

        if (d->amounts.cpu > at->free.cpu)
                return REFUSAL_CPU;
        if (d->amounts.memory > at->free.memory)
                return REFUSAL_MEMORY;
        if (d->amounts.disk > at->free.disk)
                return REFUSAL_DISK;
        if (d->ports > at->ports)
                return REFUSAL_PORTS;
        return at->tasks >= NODE_TASKS_MAX ? REFUSAL_TASKS : REFUSAL_NONE;
}

static enum refusal refusal_of_state(const struct pass *p, const struct node *node)
{
        const char *only = p->spec->place.node;

        if (only != NULL && strcmp(only, node->status.name) != 0)
                return REFUSAL_NODE;
        if (!node->connected)
                return REFUSAL_AWAY;
        return node->cordoned ? REFUSAL_CORDONED : REFUSAL_NONE;
}

static uint32_t share(uint64_t capacity, uint64_t free, uint64_t demand)
{
        uint64_t used;

        if (capacity == AMOUNT_UNKNOWN || capacity == 0)
                return 0;
        used = capacity - MIN(free, capacity) + demand;
        return (uint32_t) (MIN(used, capacity) * 1000 / capacity);
}

/* In thousandths, with one more task on it: of what is used most. */
static uint32_t load_with(const struct pass *p, const struct candidate *at)
{
        const struct amounts *all = &at->node->capacity, *d = &p->demand->amounts;
        uint32_t cpu = share(all->cpu, at->free.cpu, d->cpu);
        uint32_t memory = share(all->memory, at->free.memory, d->memory);
        uint32_t disk = share(all->disk, at->free.disk, d->disk);

        return MAX(MAX(cpu, memory), disk);
}

static void note_refused(
        const struct pass *p, const struct candidate *at, enum refusal why, uint32_t constraint)
{
        struct place_refusals *r = p->refusals;

        if (r == NULL || why == REFUSAL_NONE)
                return;
        r->refused[why]++;
        if (why == REFUSAL_CONSTRAINT && r->refused[why] == 1)
                r->constraint = constraint;
        r->most_free.cpu = MAX(r->most_free.cpu, why == REFUSAL_CPU ? at->free.cpu : 0);
        r->most_free.memory = MAX(r->most_free.memory, why == REFUSAL_MEMORY ? at->free.memory : 0);
        r->most_free.disk = MAX(r->most_free.disk, why == REFUSAL_DISK ? at->free.disk : 0);
}

/* Fills @at; REFUSAL_NONE if the node is a candidate. */
static enum refusal judge(const struct pass *p, struct node *node, struct candidate *at)
{
        struct node_class *class = node->class;
        enum refusal why = refusal_of_state(p, node);
        uint32_t constraint;

        if (class->pass != p->number)
                judge_class(p, class);
        *at = (struct candidate){ .node = node, .preference = class->preference };
        constraint = class->constraint;
        if (why == REFUSAL_NONE)
                why = class->refusal;
        if (why == REFUSAL_NONE && p->asks_names)
                why = judge_name(p, node, &constraint, &at->preference);
        if (why == REFUSAL_NONE && node_has_tag(node, p->demand->exclusive))
                why = REFUSAL_EXCLUSIVE;
        if (why == REFUSAL_NONE && node->kept_for != NULL && node->kept_for != p->job &&
                p->spec->priority <= job_current_spec(node->kept_for)->priority)
                why = REFUSAL_KEPT;
        if (why == REFUSAL_NONE) {
                at->free = node_free_amounts(node);
                at->ports = (uint32_t) node_free_ports(node);
                at->tasks = (uint32_t) node->status.tasks;
                why = refusal_of_room(p, at);
        }
        if (p->refusals != NULL)
                p->refusals->nodes++;
        note_refused(p, at, why, constraint);
        return why;
}

/* ---- All nodes */

/* Tasks of the job that are up count on their nodes, and for the value of `spread` there. */
static uint32_t tasks_of_job_on(const struct pass *p, const struct node *node)
{
        return node->pass == p->number ? node->pass_tasks : 0;
}

static void count_tasks_of_job(const struct pass *p)
{
        const struct task *task;

        JOB_FOREACH_TASK (p->job, task) {
                struct node *node = task->node;

                if (node == NULL || task->state == TASK_ENDED)
                        continue;
                if (node->pass != p->number)
                        node->pass_tasks = 0;
                node->pass = p->number;
                node->pass_tasks++;
        }
}

static uint32_t group_of(struct pass *p, struct node_class *class)
{
        const char *value;

        if (p->spec->place.spread == NULL)
                return 0;
        if (class->pass != p->number)
                judge_class(p, class);
        if (class->group != UINT32_MAX)
                return class->group;
        value = attributes_get(&class->attributes, p->spec->place.spread);
        for (uint32_t i = 0; i < p->groups_len; i++)
                if (strcmp(p->groups[i].value, value == NULL ? "" : value) == 0)
                        return class->group = i;
        p->groups = mem_resize(p->groups, p->groups_len + 1, sizeof p->groups[0]);
        p->groups[p->groups_len] = (struct group){ .value = value == NULL ? "" : value };
        return class->group = p->groups_len++;
}

static void count_tasks_of_groups(struct pass *p)
{
        const struct task *task;

        JOB_FOREACH_TASK (p->job, task)
                if (task->node != NULL && task->state != TASK_ENDED) {
                        uint32_t group = group_of(p, task->node->class);

                        p->groups[group].tasks++;
                }
}

static void find_candidates(struct pass *p, struct node *const *nodes, size_t len)
{
        p->candidates = mem_resize(NULL, len + 1, sizeof p->candidates[0]);
        for (size_t i = 0; i < len; i++) {
                struct candidate *at = &p->candidates[p->candidates_len];

                if (judge(p, nodes[i], at) != REFUSAL_NONE)
                        continue;
                at->load = load_with(p, at);
                p->candidates_len++;
        }
}

/* What rules 2 and 3 ask for. Only now, since a pass over few nodes mostly ends without any. */
static void count_tasks(struct pass *p)
{
        if (p->candidates_len == 0)
                return;
        count_tasks_of_job(p);
        if (p->spec->place.spread == NULL) {
                p->groups = mem_alloc(sizeof p->groups[0]);
                p->groups[p->groups_len++].value = "";
        } else
                count_tasks_of_groups(p);
        for (uint32_t i = 0; i < p->candidates_len; i++) {
                struct candidate *at = &p->candidates[i];

                at->job_tasks = tasks_of_job_on(p, at->node);
                at->group = group_of(p, at->node->class);
        }
}

/* ---- Ranks */

/* The first rule by which @a is better than @b, or, negative, the other way round. Within a group
 * the groups' counts are the same. */
static int compare(const struct pass *p, const struct candidate *a, const struct candidate *b)
{
        bool pack = p->spec->place.by == PLACE_PACK;
        uint32_t group_a = p->groups[a->group].tasks, group_b = p->groups[b->group].tasks;

        if (a->preference != b->preference)
                return a->preference > b->preference ? CHOICE_PREFERRED : -CHOICE_PREFERRED;
        if (group_a != group_b)
                return group_a < group_b ? CHOICE_SPREAD : -CHOICE_SPREAD;
        if ((!pack || p->spreads_names) && a->job_tasks != b->job_tasks)
                return a->job_tasks < b->job_tasks ? CHOICE_JOB_TASKS : -CHOICE_JOB_TASKS;
        if (a->load != b->load)
                return (a->load < b->load) != pack ? CHOICE_LOAD : -CHOICE_LOAD;
        if (a->tasks != b->tasks)
                return (a->tasks < b->tasks) != pack ? CHOICE_TASKS : -CHOICE_TASKS;
        return a->node->order < b->node->order ? CHOICE_NAME : -CHOICE_NAME;
}

static bool is_better(const struct pass *p, uint32_t a, uint32_t b)
{
        return compare(p, &p->candidates[a], &p->candidates[b]) > 0;
}

static void sift_down(const struct pass *p, struct group *g, uint32_t at)
{
        uint32_t index = g->heap[at];

        for (;;) {
                uint32_t child = at * 2 + 1;

                if (child >= g->len)
                        break;
                if (child + 1 < g->len && is_better(p, g->heap[child + 1], g->heap[child]))
                        child++;
                if (!is_better(p, g->heap[child], index))
                        break;
                g->heap[at] = g->heap[child];
                at = child;
        }
        g->heap[at] = index;
}

static void make_heaps(struct pass *p)
{
        uint32_t *next;

        p->heaps = next = mem_resize(NULL, p->candidates_len + 1, sizeof p->heaps[0]);
        for (uint32_t i = 0; i < p->candidates_len; i++)
                p->groups[p->candidates[i].group].len++;
        for (uint32_t g = 0; g < p->groups_len; g++) {
                p->groups[g].heap = next;
                next += p->groups[g].len;
                p->groups[g].len = 0;
        }
        for (uint32_t i = 0; i < p->candidates_len; i++) {
                struct group *g = &p->groups[p->candidates[i].group];

                g->heap[g->len++] = i;
        }
        for (uint32_t g = 0; g < p->groups_len; g++)
                for (uint32_t at = p->groups[g].len / 2; at-- > 0;)
                        sift_down(p, &p->groups[g], at);
}

static struct group *best_group(const struct pass *p)
{
        struct group *best = NULL;

        for (uint32_t i = 0; i < p->groups_len; i++) {
                struct group *g = &p->groups[i];

                if (g->len > 0 && (best == NULL || is_better(p, g->heap[0], best->heap[0])))
                        best = g;
        }
        return best;
}

/* The rule that decided: the one by which the best beats the next best. */
static enum choice_rule deciding_rule(const struct pass *p, const struct group *best)
{
        const struct candidate *top = &p->candidates[best->heap[0]];
        int rule = 0;

        for (uint32_t i = 1; i < MIN(best->len, 3u); i++)
                rule = MAX(rule, compare(p, top, &p->candidates[best->heap[i]]));
        for (uint32_t i = 0; i < p->groups_len; i++) {
                const struct group *g = &p->groups[i];

                if (g != best && g->len > 0)
                        rule = MAX(rule, compare(p, top, &p->candidates[g->heap[0]]));
        }
        return rule == 0 ? CHOICE_ONLY : (enum choice_rule) rule;
}

static void take_from(struct candidate *at, const struct demand *d)
{
        at->free.cpu -= at->free.cpu == AMOUNT_UNKNOWN ? 0 : d->amounts.cpu;
        at->free.memory -= at->free.memory == AMOUNT_UNKNOWN ? 0 : d->amounts.memory;
        at->free.disk -= at->free.disk == AMOUNT_UNKNOWN ? 0 : d->amounts.disk;
        at->ports -= d->ports;
        at->job_tasks++;
        at->tasks++;
}

static void choose_top(struct pass *p, struct group *g, struct choice *ret)
{
        struct candidate *at = &p->candidates[g->heap[0]];
        enum refusal why;

        *ret = (struct choice){ .node = at->node,
                .rule = deciding_rule(p, g),
                .fitting = p->candidates_len,
                .load = (uint16_t) at->load };
        g->tasks++;
        take_from(at, p->demand);
        why = p->demand->exclusive != NULL ? REFUSAL_EXCLUSIVE : refusal_of_room(p, at);
        if (why != REFUSAL_NONE) {
                g->heap[0] = g->heap[--g->len];
                note_refused(p, at, why, 0);
        } else
                at->load = load_with(p, at);
        if (g->len > 0)
                sift_down(p, g, 0);
}

/* ---- The whole */

static void pass_done(struct pass *p)
{
        free(p->candidates);
        free(p->groups);
        free(p->heaps);
}

static void pass_ask_names(struct pass *p)
{
        p->asks_names = asks_names(p->spec);
        p->spreads_names =
                p->spec->place.spread != NULL && strcmp(p->spec->place.spread, ATTRIBUTE_NAME) == 0;
}

static struct pass pass_begin(
        struct cluster *c, const struct job *job, struct place_refusals *refusals)
{
        struct pass p = { .job = job,
                .spec = job_current_spec(job),
                .demand = job->versions[job->versions_len - 1].demand,
                .number = ++c->passes,
                .refusals = refusals };

        pass_ask_names(&p);
        return p;
}

/* Instead of the newest. */
static void pass_ask_for(struct pass *p, uint32_t version)
{
        const struct job *job = p->job;

        for (size_t i = 0; i < job->versions_len; i++)
                if (job->versions[i].number == version) {
                        p->spec = job->versions[i].spec;
                        p->demand = job->versions[i].demand;
                }
        pass_ask_names(p);
}

size_t place_choose(struct cluster *c, const struct job *job, struct node *const *nodes, size_t len,
        size_t wanted, struct choice *ret, struct place_refusals *refusals)
{
        return place_choose_version(
                c, job, job_version_number(job), nodes, len, wanted, ret, refusals);
}

size_t place_choose_version(struct cluster *c, const struct job *job, uint32_t version,
        struct node *const *nodes, size_t len, size_t wanted, struct choice *ret,
        struct place_refusals *refusals)
{
        AUTO(pass_done) struct pass p = pass_begin(c, job, refusals);
        struct group *best;
        size_t chosen = 0;

        pass_ask_for(&p, version);
        find_candidates(&p, nodes, len);
        count_tasks(&p);
        make_heaps(&p);
        while (chosen < wanted && (best = best_group(&p)) != NULL)
                choose_top(&p, best, &ret[chosen++]);
        return chosen;
}

enum refusal place_refusal(
        struct cluster *c, const struct job *job, struct node *node, uint32_t *ret_constraint)
{
        AUTO(pass_done)
        struct pass p = { .job = job,
                .spec = job_current_spec(job),
                .demand = job->versions[job->versions_len - 1].demand,
                .number = ++c->passes };
        struct candidate at;
        enum refusal why;

        p.asks_names = asks_names(p.spec);
        why = judge(&p, node, &at);
        if (ret_constraint != NULL)
                *ret_constraint = node->class->constraint;
        return why;
}

enum refusal place_stays(struct cluster *c, const struct task *task)
{
        AUTO(pass_done) struct pass p = pass_begin(c, task->job, NULL);
        struct node *node = task->node;
        struct candidate at = { .node = node, .free = task_free_amounts(task) };
        uint32_t constraint;
        int32_t preference = 0;

        if (p.spec->place.node != NULL && strcmp(p.spec->place.node, node->status.name) != 0)
                return REFUSAL_NODE;
        judge_class(&p, node->class);
        if (node->class->refusal != REFUSAL_NONE)
                return (enum refusal) node->class->refusal;
        if (judge_name(&p, node, &constraint, &preference) != REFUSAL_NONE)
                return REFUSAL_CONSTRAINT;
        if (p.demand->exclusive != task->held->exclusive && node_has_tag(node, p.demand->exclusive))
                return REFUSAL_EXCLUSIVE;
        at.ports = (uint32_t) node_free_ports(node) + task->ports_len;
        return refusal_of_room(&p, &at);
}

bool place_allows(struct cluster *c, const struct job *job, struct node *node)
{
        AUTO(pass_done) struct pass p = pass_begin(c, job, NULL);
        const char *only = p.spec->place.node;
        int32_t preference = 0;
        uint32_t constraint;

        if (only != NULL && strcmp(only, node->status.name) != 0)
                return false;
        judge_class(&p, node->class);
        return node->class->refusal == REFUSAL_NONE &&
               (!p.asks_names || judge_name(&p, node, &constraint, &preference) == REFUSAL_NONE);
}

/* ---- In words */

const char *const choice_rule_texts[] = {
        [CHOICE_KEPT] = "it was there before",
        [CHOICE_ONLY] = "it was the only one",
        [CHOICE_PREFERRED] = "it is preferred",
        [CHOICE_SPREAD] = "the fewest tasks of the job are on nodes like it",
        [CHOICE_JOB_TASKS] = "the fewest tasks of the job are on it",
        [CHOICE_LOAD] = "its load is the best",
        [CHOICE_TASKS] = "its number of tasks is the best",
        [CHOICE_NAME] = "it is the first by name among equals",
};

static void put_separator(struct buffer *b, bool *any)
{
        buffer_puts(b, *any ? ", " : "");
        *any = true;
}

static void put_cpu(struct buffer *b, uint64_t cpu)
{
        if (cpu % 1000 == 0)
                buffer_printf(b, "%" PRIu64, cpu / 1000);
        else
                buffer_printf(b, "%.3g", (double) cpu / 1000);
}

static void put_size(struct buffer *b, uint64_t bytes)
{
        char text[TEXT_SIZE_MAX];

        buffer_puts(b, text_format_size(text, bytes));
}

static void put_too_little(struct buffer *b, const struct place_refusals *r, enum refusal why,
        const struct amounts *asked)
{
        uint64_t want = why == REFUSAL_CPU      ? asked->cpu
                        : why == REFUSAL_MEMORY ? asked->memory
                                                : asked->disk;
        uint64_t most = why == REFUSAL_CPU      ? r->most_free.cpu
                        : why == REFUSAL_MEMORY ? r->most_free.memory
                                                : r->most_free.disk;
        const char *what = why == REFUSAL_CPU ? "cpu" : why == REFUSAL_MEMORY ? "memory" : "disk";

        buffer_printf(b, " too little %s free (", what);
        (why == REFUSAL_CPU ? put_cpu : put_size)(b, want);
        buffer_puts(b, " asked, at most ");
        (why == REFUSAL_CPU ? put_cpu : put_size)(b, most);
        buffer_puts(b, " free)");
}

/* "have too little memory free (...)" */
static void put_refusal(struct buffer *b, const struct job_spec *spec,
        const struct place_refusals *r, enum refusal why)
{
        size_t n = r->refused[why];
        const char *be = n == 1 ? "is" : "are", *have = n == 1 ? "has" : "have";

        switch (why) {
        case REFUSAL_AWAY:
                buffer_printf(b, "%s not connected", be);
                break;
        case REFUSAL_CORDONED:
                buffer_printf(b, "%s closed for new tasks", be);
                break;
        case REFUSAL_NODE:
                buffer_printf(b, "%s not %s", be, spec->place.node);
                break;
        case REFUSAL_ZONE:
                buffer_printf(b, "%s in another zone", be);
                break;
        case REFUSAL_CONSTRAINT:
                buffer_printf(b, "%s not match \"", n == 1 ? "does" : "do");
                constraint_format(&spec->place.constraints[r->constraint], b);
                buffer_puts(b, "\"");
                break;
        case REFUSAL_EXCLUSIVE:
                buffer_printf(b, "%s a task with the tag %s already", have, spec->place.exclusive);
                break;
        case REFUSAL_KEPT:
                buffer_printf(b, "%s kept for a job of higher priority", be);
                break;
        case REFUSAL_CPU:
        case REFUSAL_MEMORY:
        case REFUSAL_DISK:
                buffer_puts(b, have);
                put_too_little(b, r, why,
                        &(struct amounts){ spec->resources.cpu, spec->resources.memory,
                                spec->resources.disk });
                break;
        case REFUSAL_PORTS:
                buffer_printf(b, "%s no ports left", have);
                break;
        case REFUSAL_TASKS:
                buffer_printf(b, "%s as many tasks as a node can have", have);
                break;
        case REFUSAL_NONE:
        case REFUSAL_COUNT:
                break;
        }
}

static void add_refusals(struct place_refusals *to, const struct place_refusals *from)
{
        if (to->refused[REFUSAL_CONSTRAINT] == 0)
                to->constraint = from->constraint;
        to->nodes += from->nodes;
        for (int why = 0; why < REFUSAL_COUNT; why++)
                to->refused[why] += from->refused[why];
        to->most_free.cpu = MAX(to->most_free.cpu, from->most_free.cpu);
        to->most_free.memory = MAX(to->most_free.memory, from->most_free.memory);
        to->most_free.disk = MAX(to->most_free.disk, from->most_free.disk);
}

enum refusal place_refuse(struct cluster *c, const struct task *task, struct node *node,
        struct place_refusals *refusals, struct buffer *why)
{
        struct place_refusals own = { 0 };
        AUTO(pass_done) struct pass p = pass_begin(c, task->job, &own);
        struct candidate at;
        enum refusal refusal;

        pass_ask_for(&p, task->desire.version);
        refusal = judge(&p, node, &at);
        add_refusals(refusals, &own);
        if (refusal == REFUSAL_NONE)
                return refusal;
        buffer_printf(why, "node %s ", node->status.name);
        put_refusal(why, p.spec, &own, refusal);
        return refusal;
}

void place_put_refusals(
        struct buffer *b, const struct job_spec *spec, const struct place_refusals *r)
{
        bool any = false;

        if (r->refused[REFUSAL_AWAY] == r->nodes) {
                buffer_puts(b, "no node is ready");
                return;
        }
        buffer_printf(b, "no node fits: of %zu node%s ", r->nodes, r->nodes == 1 ? "" : "s");
        for (int why = 0; why < REFUSAL_COUNT; why++)
                if (r->refused[why] > 0) {
                        put_separator(b, &any);
                        buffer_printf(b, "%zu ", r->refused[why]);
                        put_refusal(b, spec, r, (enum refusal) why);
                }
}
