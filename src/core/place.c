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
 * A job's tasks are placed in one go: each node is judged once, and then the best candidate is
 * taken and ranked anew with what the task takes of it (rank.c); the ranks of all others stay what
 * they were, because only rules 1 to 3 look beyond the node, and these are the same for all of one
 * value of `spread` or not changed. What a candidate has got is only counted with it, so that
 * nothing has been changed when less than all find a place.
 *
 * What a spec asks of attributes is asked once per class of nodes, not per node (class.c). */

#include "core/place.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "core/class.h"
#include "core/rank.h"

struct pass {
        const struct job *job;
        const struct job_spec *spec;
        const struct demand *demand;
        bool asks_names; /* a constraint or preference is about the node's name */
        uint64_t number;
        struct question *questions; /* zones; constraints; preferences; spread */
        uint32_t group_of_none;     /* of nodes without the attribute `spread` */
        struct ranking ranking;
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

static bool holds(const struct pass *p, uint32_t question, const struct node_class *class)
{
        return question_holds(&p->questions[question], p->number, question, class);
}

static void judge_class(const struct pass *p, struct node_class *class)
{
        const struct job_spec *spec = p->spec;
        uint32_t question = 1;

        class->pass = p->number;
        class->refusal = REFUSAL_NONE;
        class->preference = 0;
        class->group = UINT32_MAX;
        if (spec->place.zones != NULL && !holds(p, 0, class))
                class->refusal = REFUSAL_ZONE;
        for (uint32_t i = 0; i < spec->place.constraints_len; i++, question++)
                if (class->refusal == REFUSAL_NONE && !about_name(&spec->place.constraints[i]) &&
                        !holds(p, question, class)) {
                        class->refusal = REFUSAL_CONSTRAINT;
                        class->constraint = i;
                }
        for (size_t i = 0; i < spec->place.preferences_len; i++, question++)
                if (!about_name(spec->place.preferences[i].where) && holds(p, question, class))
                        class->preference += spec->place.preferences[i].weight;
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

/* What is free on a node. */
struct room {
        struct amounts free;
        uint64_t ports, tasks;
};

static uint64_t less(uint64_t free, uint64_t taken)
{
        return free == AMOUNT_UNKNOWN ? AMOUNT_UNKNOWN : free - taken;
}

/* When it has got @taken tasks in this pass, for which there was room. */
static inline struct room room_after(const struct pass *p, const struct node *node, uint64_t taken)
{
        const struct demand *d = p->demand;
        struct amounts free = node_free_amounts(node);

        return (struct room){
                .free = { .cpu = less(free.cpu, taken * d->amounts.cpu),
                        .memory = less(free.memory, taken * d->amounts.memory),
                        .disk = less(free.disk, taken * d->amounts.disk) },
                .ports = d->ports == 0 ? 0 : node_free_ports(node) - taken * d->ports,
                .tasks = (uint64_t) node->status.tasks + taken,
        };
}

static inline enum refusal refusal_of_room(const struct pass *p, const struct room *room)
{
        const struct demand *d = p->demand;

        if (d->amounts.cpu > room->free.cpu)
                return REFUSAL_CPU;
        if (d->amounts.memory > room->free.memory)
                return REFUSAL_MEMORY;
        if (d->amounts.disk > room->free.disk)
                return REFUSAL_DISK;
        if (d->ports > room->ports)
                return REFUSAL_PORTS;
        return room->tasks >= NODE_TASKS_MAX ? REFUSAL_TASKS : REFUSAL_NONE;
}

/* For a job that made room there for itself, and this one is no more important. */
static bool is_kept(const struct pass *p, const struct node *node)
{
        return node->kept_for != NULL && node->kept_for != p->job &&
               p->spec->priority <= job_current_spec(node->kept_for)->priority;
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
        return amount_share(capacity, capacity - MIN(free, capacity) + demand);
}

/* In thousandths, with one more task on it: of what is used most. */
static inline uint32_t load_with(
        const struct pass *p, const struct node *node, const struct room *room)
{
        const struct amounts *all = &node->capacity, *d = &p->demand->amounts;
        uint32_t cpu = share(all->cpu, room->free.cpu, d->cpu);
        uint32_t memory = share(all->memory, room->free.memory, d->memory);
        uint32_t disk = share(all->disk, room->free.disk, d->disk);

        return MAX(MAX(cpu, memory), disk);
}

/* @room: of what there is too little; else not looked at. */
static void note_refused(
        const struct pass *p, const struct room *room, enum refusal why, uint32_t constraint)
{
        struct place_refusals *r = p->refusals;

        if (r == NULL || why == REFUSAL_NONE)
                return;
        r->refused[why]++;
        if (why == REFUSAL_CONSTRAINT && r->refused[why] == 1)
                r->constraint = constraint;
        if (why == REFUSAL_CPU)
                r->most_free.cpu = MAX(r->most_free.cpu, room->free.cpu);
        if (why == REFUSAL_MEMORY)
                r->most_free.memory = MAX(r->most_free.memory, room->free.memory);
        if (why == REFUSAL_DISK)
                r->most_free.disk = MAX(r->most_free.disk, room->free.disk);
}

/* Fills @at; REFUSAL_NONE if the node is a candidate. */
static enum refusal judge(const struct pass *p, struct node *node, struct candidate *at)
{
        struct node_class *class = node->class;
        enum refusal why = refusal_of_state(p, node);
        struct room room = { 0 };
        uint32_t constraint;

        if (class->pass != p->number)
                judge_class(p, class);
        *at = (struct candidate){ .node = node, .preference = class->preference };
        constraint = class->constraint;
        if (why == REFUSAL_NONE)
                why = (enum refusal) class->refusal;
        if (why == REFUSAL_NONE && p->asks_names)
                why = judge_name(p, node, &constraint, &at->preference);
        if (why == REFUSAL_NONE && node_has_tag(node, p->demand->exclusive))
                why = REFUSAL_EXCLUSIVE;
        if (why == REFUSAL_NONE && is_kept(p, node))
                why = REFUSAL_KEPT;
        if (why == REFUSAL_NONE) {
                room = room_after(p, node, 0);
                why = refusal_of_room(p, &room);
        }
        if (why == REFUSAL_NONE) {
                at->tasks = (uint32_t) room.tasks;
                at->load = load_with(p, node, &room);
        }
        if (p->refusals != NULL)
                p->refusals->nodes++;
        note_refused(p, &room, why, constraint);
        return why;
}

/* ---- All nodes */

/* Tasks of the job that are up count on their nodes, and for the value of `spread` there. */
static uint32_t tasks_of_job_on(const struct pass *p, const struct node *node)
{
        return node->pass == p->number ? node->pass_tasks : 0;
}

/* Nodes with the same value of `spread`. */
static uint32_t find_group(struct pass *p, const struct node_class *class)
{
        const struct job_spec *spec = p->spec;
        size_t last = 1 + spec->place.constraints_len + spec->place.preferences_len;
        struct attribute *value = question_attribute(&p->questions[last], class);
        uint32_t *group = value == NULL ? &p->group_of_none : &value->group;

        if (value != NULL && value->group_pass != p->number) {
                value->group_pass = p->number;
                value->group = UINT32_MAX;
        }
        if (*group == UINT32_MAX)
                *group = ranking_add_group(&p->ranking);
        return *group;
}

static uint32_t group_of(struct pass *p, struct node_class *class)
{
        if (p->spec->place.spread == NULL)
                return 0;
        if (class->pass != p->number)
                judge_class(p, class);
        if (class->group == UINT32_MAX)
                class->group = find_group(p, class);
        return class->group;
}

static void count_tasks_of_job(struct pass *p)
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
                ranking_add_group_task(&p->ranking, group_of(p, node->class));
        }
}

#define LOOK_AHEAD 8 /* nodes whose memory is asked for before it is their turn */

static void find_candidates(struct pass *p, struct node *const *nodes, size_t len)
{
        struct ranking *r = &p->ranking;

        r->candidates = mem_resize(NULL, len, sizeof r->candidates[0]);
        for (size_t i = 0; i < len; i++) {
                if (i + LOOK_AHEAD < len) {
                        __builtin_prefetch(&nodes[i + LOOK_AHEAD]->status.tasks);
                        __builtin_prefetch(&nodes[i + LOOK_AHEAD]->connected);
                        __builtin_prefetch(&nodes[i + LOOK_AHEAD]->used);
                }
                r->len += judge(p, nodes[i], &r->candidates[r->len]) == REFUSAL_NONE;
        }
}

/* What rules 2 and 3 ask for. Only now, since a pass over few nodes mostly ends without any. */
static void count_tasks(struct pass *p)
{
        struct ranking *r = &p->ranking;

        bool any = p->job->counts[MARK_ACTIVE] > p->job->counts[MARK_UNPLACED]; /* on a node */

        if (p->spec->place.spread == NULL)
                ranking_add_group(r);
        if (any)
                count_tasks_of_job(p);
        else if (p->spec->place.spread == NULL)
                return;
        for (uint32_t i = 0; i < r->len; i++) {
                struct candidate *at = &r->candidates[i];

                at->job_tasks = tasks_of_job_on(p, at->node);
                at->group = group_of(p, at->node->class);
        }
}

/* ---- Choosing */

static void choose(struct pass *p, struct candidate *at, enum choice_rule rule, struct choice *ret)
{
        struct room room = room_after(p, at->node, ++at->taken);
        enum refusal why =
                p->demand->exclusive != NULL ? REFUSAL_EXCLUSIVE : refusal_of_room(p, &room);

        *ret = (struct choice){ .node = at->node,
                .rule = rule,
                .fitting = p->ranking.len,
                .load = (uint16_t) at->load };
        at->job_tasks++;
        at->tasks++;
        if (why == REFUSAL_NONE)
                at->load = load_with(p, at->node, &room);
        note_refused(p, &room, why, 0);
        ranking_settle(&p->ranking, why == REFUSAL_NONE);
}

static void pass_done(struct pass *p)
{
        free(p->questions);
        ranking_done(&p->ranking);
}

static struct question *ask(const struct cluster *c, const struct job_spec *spec)
{
        size_t constraints = spec->place.constraints_len, preferences = spec->place.preferences_len;
        struct question *all = mem_alloc((constraints + preferences + 2) * sizeof *all), *q = all;
        struct constraint spread = { .attribute = spec->place.spread, .op = CONSTRAINT_EXISTS };

        if (spec->place.zones != NULL)
                question_init(q, c, NULL, spec->place.zones);
        q++;
        for (size_t i = 0; i < constraints; i++)
                question_init(q++, c, &spec->place.constraints[i], NULL);
        for (size_t i = 0; i < preferences; i++)
                question_init(q++, c, spec->place.preferences[i].where, NULL);
        if (spec->place.spread != NULL)
                question_init(q, c, &spread, NULL);
        return all;
}

static struct pass pass_begin_version(struct cluster *c, const struct job *job,
        const struct job_version *version, struct place_refusals *refusals)
{
        const struct job_spec *spec = version->spec;
        struct pass p = { .job = job,
                .spec = spec,
                .demand = version->demand,
                .number = ++c->passes,
                .group_of_none = UINT32_MAX,
                .refusals = refusals };

        p.asks_names = asks_names(spec);
        p.questions = ask(c, spec);
        p.ranking.pack = spec->place.by == PLACE_PACK;
        p.ranking.by_job_tasks =
                !p.ranking.pack ||
                (spec->place.spread != NULL && strcmp(spec->place.spread, ATTRIBUTE_NAME) == 0);
        return p;
}

static struct pass pass_begin(
        struct cluster *c, const struct job *job, struct place_refusals *refusals)
{
        return pass_begin_version(c, job, &job->versions[job->versions_len - 1], refusals);
}

/* The newest if there is none of that number. */
static const struct job_version *find_version(const struct job *job, uint32_t number)
{
        for (size_t i = 0; i < job->versions_len; i++)
                if (job->versions[i].number == number)
                        return &job->versions[i];
        return &job->versions[job->versions_len - 1];
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
        AUTO(pass_done)
        struct pass p = pass_begin_version(c, job, find_version(job, version), refusals);
        struct candidate *best;
        enum choice_rule rule;
        size_t chosen = 0;

        find_candidates(&p, nodes, len);
        if (p.ranking.len == 0)
                return 0;
        count_tasks(&p);
        ranking_begin(&p.ranking, wanted);
        while (chosen < wanted && (best = ranking_best(&p.ranking, &rule)) != NULL)
                choose(&p, best, rule, &ret[chosen++]);
        return chosen;
}

enum refusal place_refusal(
        struct cluster *c, const struct job *job, struct node *node, uint32_t *ret_constraint)
{
        AUTO(pass_done) struct pass p = pass_begin(c, job, NULL);
        struct candidate at;
        enum refusal why = judge(&p, node, &at);

        if (ret_constraint != NULL)
                *ret_constraint = node->class->constraint;
        return why;
}

enum refusal place_stays(struct cluster *c, const struct task *task)
{
        AUTO(pass_done) struct pass p = pass_begin(c, task->job, NULL);
        struct node *node = task->node;
        struct room room = { .free = task_free_amounts(task) };
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
        room.ports = node_free_ports(node) + task->ports_len;
        return refusal_of_room(&p, &room);
}

static void ask_attributes(const struct pass *p, const struct node *node, struct place_answer *ret)
{
        const struct job_spec *spec = p->spec;

        if (spec->place.zones != NULL && !holds(p, 0, node->class))
                ret->refusals |= BIT(REFUSAL_ZONE);
        for (uint32_t i = 0; i < spec->place.constraints_len; i++) {
                const struct constraint *c = &spec->place.constraints[i];

                if (about_name(c) ? name_holds(c, node) : holds(p, 1 + i, node->class))
                        continue;
                if (ret->constraints++ == 0)
                        ret->constraint = i;
                ret->refusals |= BIT(REFUSAL_CONSTRAINT);
        }
}

static void ask_room(const struct pass *p, const struct node *node, struct place_answer *ret)
{
        const struct demand *d = p->demand;

        ret->free = node_free_amounts(node);
        if (node_has_tag(node, d->exclusive))
                ret->refusals |= BIT(REFUSAL_EXCLUSIVE);
        if (is_kept(p, node))
                ret->refusals |= BIT(REFUSAL_KEPT);
        if (d->amounts.cpu > ret->free.cpu)
                ret->refusals |= BIT(REFUSAL_CPU);
        if (d->amounts.memory > ret->free.memory)
                ret->refusals |= BIT(REFUSAL_MEMORY);
        if (d->amounts.disk > ret->free.disk)
                ret->refusals |= BIT(REFUSAL_DISK);
        if (d->ports > node_free_ports(node))
                ret->refusals |= BIT(REFUSAL_PORTS);
        if (node->status.tasks >= NODE_TASKS_MAX)
                ret->refusals |= BIT(REFUSAL_TASKS);
}

void place_ask(
        struct cluster *c, const struct job *job, struct node *node, struct place_answer *ret)
{
        AUTO(pass_done) struct pass p = pass_begin(c, job, NULL);
        const char *only = p.spec->place.node;

        *ret = (struct place_answer){ 0 };
        if (only != NULL && strcmp(only, node->status.name) != 0)
                ret->refusals |= BIT(REFUSAL_NODE);
        if (!node->connected)
                ret->refusals |= BIT(REFUSAL_AWAY);
        if (node->cordoned)
                ret->refusals |= BIT(REFUSAL_CORDONED);
        ask_attributes(&p, node, ret);
        ask_room(&p, node, ret);
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

void place_put_cpu(struct buffer *b, uint64_t cpu)
{
        buffer_printf(b, "%.6g", (double) cpu / 1000);
}

void place_put_size(struct buffer *b, uint64_t bytes)
{
        const uint64_t mib = UINT64_C(1) << 20;
        char text[TEXT_SIZE_MAX];

        if (bytes >= 10240 * mib && bytes % (1024 * mib) != 0)
                buffer_printf(b, "%.4gGiB", (double) (bytes / mib) / 1024);
        else
                buffer_puts(b, text_format_size(text, bytes >= mib ? bytes / mib * mib : bytes));
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
        (why == REFUSAL_CPU ? place_put_cpu : place_put_size)(b, want);
        buffer_puts(b, " asked, at most ");
        (why == REFUSAL_CPU ? place_put_cpu : place_put_size)(b, most);
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
        const struct job_version *version = find_version(task->job, task->desire.version);
        AUTO(pass_done) struct pass p = pass_begin_version(c, task->job, version, &own);
        struct candidate at;
        enum refusal refusal = judge(&p, node, &at);

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
        if (r->nodes == 1)
                buffer_puts(b, "no node fits: the only one ");
        else
                buffer_printf(b, "no node fits: of %zu nodes ", r->nodes);
        for (int why = 0; why < REFUSAL_COUNT; why++)
                if (r->refused[why] > 0) {
                        put_separator(b, &any);
                        if (r->nodes > 1)
                                buffer_printf(b, "%zu ", r->refused[why]);
                        put_refusal(b, spec, r, (enum refusal) why);
                }
}
