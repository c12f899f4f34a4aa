/* SPDX-License-Identifier: BSD-3-Clause */
/* Explain, where tasks are: why on this node, why on none, what a task that has to leave waits for,
 * and what a node is to all of them.
 *
 * Nothing is remembered but the rule by which a node was chosen. For what waits the placer is asked
 * again, over all nodes, and changes nothing; its scratch marks on nodes are its own, which is why
 * the cluster that is only read here is not const for it. */

#include "core/explain-internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "core/order.h"
#include "core/place.h"

#define USERS_TOLD   3 /* jobs that use most of a node */
#define WAITERS_TOLD 3 /* jobs that wait for it */

static struct cluster *placer_of(const struct cluster *c)
{
        return (struct cluster *) (uintptr_t) c;
}

/* ---- Amounts */

static const struct {
        enum refusal refusal;
        const char *name;
        void (*put)(struct buffer *b, uint64_t amount);
        size_t offset;
} resources[] = {
        { REFUSAL_CPU, "cpu", place_put_cpu, offsetof(struct amounts, cpu) },
        { REFUSAL_MEMORY, "memory", place_put_size, offsetof(struct amounts, memory) },
        { REFUSAL_DISK, "disk", place_put_size, offsetof(struct amounts, disk) },
};

static uint64_t amount(const struct amounts *amounts, size_t i)
{
        return *(const uint64_t *) (const void *) ((const char *) amounts + resources[i].offset);
}

/* ---- Why on this node */

void put_choice(struct buffer *b, const struct task *task)
{
        if (task->node == NULL || task->fitting == 0)
                return;
        if (task->rule == CHOICE_KEPT)
                buffer_puts(b, choice_rule_texts[CHOICE_KEPT]);
        else if (task->fitting == 1)
                buffer_puts(b, "the only node that fitted");
        else
                buffer_printf(b, "of %" PRIu32 " nodes that fitted: %s", task->fitting,
                        choice_rule_texts[task->rule]);
        if (task->rule == CHOICE_LOAD)
                buffer_printf(b, " (%u%% with the task)", (task->load + 5u) / 10);
}

/* ---- The smallest change by which a task would fit */

/* A node, and what keeps the task from it. */
struct remedy {
        struct node *node; /* NULL: none */
        struct place_answer answer;
        uint32_t cost;
};

#define COST_CORDONED 4000 /* a person wants it closed */
#define COST_SPEC     5000 /* a person wants it elsewhere */

/* How much it takes for the task to fit there; UINT32_MAX: too much. */
static uint32_t cost_of(const struct amounts *asked, const struct place_answer *at)
{
        unsigned left = at->refusals;
        uint32_t cost = 0;

        for (size_t i = 0; i < ARRAY_SIZE(resources); i++) {
                uint64_t want = amount(asked, i), have = amount(&at->free, i);

                if ((left & BIT(resources[i].refusal)) == 0)
                        continue;
                if (have == 0)
                        return UINT32_MAX;
                left &= ~BIT(resources[i].refusal);
                cost += (uint32_t) ((double) (want - have) / (double) want * 1000) + 1;
        }
        if (cost > 0 && left != 0)
                return UINT32_MAX;
        if (left == BIT(REFUSAL_CORDONED))
                return COST_CORDONED;
        if (left == BIT(REFUSAL_ZONE) || (left == BIT(REFUSAL_CONSTRAINT) && at->constraints == 1))
                return COST_SPEC;
        return left == 0 ? cost : UINT32_MAX;
}

static struct remedy find_remedy(const struct cluster *c, const struct job *job)
{
        const struct amounts *asked = &job->versions[job->versions_len - 1].demand->amounts;
        struct remedy best = { .cost = UINT32_MAX };

        for (size_t i = 0; i < HASH_COUNT(c->nodes); i++) {
                struct remedy r = { .node = c->by_name[i] };

                place_ask(placer_of(c), job, r.node, &r.answer);
                r.cost = cost_of(asked, &r.answer);
                if (r.cost < best.cost)
                        best = r;
        }
        return best;
}

static void put_less(
        struct buffer *b, const struct amounts *asked, const struct place_answer *answer)
{
        const char *between = " with ";

        for (size_t i = 0; i < ARRAY_SIZE(resources); i++) {
                if ((answer->refusals & BIT(resources[i].refusal)) == 0)
                        continue;
                buffer_printf(b, "%s%s ", between, resources[i].name);
                resources[i].put(b, amount(&answer->free, i));
                buffer_puts(b, " instead of ");
                resources[i].put(b, amount(asked, i));
                between = " and ";
        }
}

static void put_remedy(struct buffer *b, const struct cluster *c, const struct job *job)
{
        const struct job_spec *spec = job_current_spec(job);
        struct remedy r = find_remedy(c, job);

        if (r.node == NULL || r.cost == 0)
                return;
        buffer_printf(b, "; it would fit on node %s", r.node->status.name);
        if (r.cost < COST_CORDONED) {
                put_less(b, &job->versions[job->versions_len - 1].demand->amounts, &r.answer);
        } else if ((r.answer.refusals & BIT(REFUSAL_CORDONED)) != 0) {
                buffer_printf(b, " if that were open (`reeve %s %s --off`)",
                        r.node->draining ? "drain" : "cordon", r.node->status.name);
        } else if ((r.answer.refusals & BIT(REFUSAL_ZONE)) != 0) {
                buffer_printf(b, " if place.zone allowed %s",
                        r.node->status.zone != NULL ? r.node->status.zone : "nodes without a zone");
        } else {
                buffer_puts(b, " without the condition \"");
                constraint_format(&spec->place.constraints[r.answer.constraint], b);
                buffer_puts(b, "\"");
        }
}

/* What even an empty node does not have. */
static void put_never(struct buffer *b, const struct cluster *c, const struct job *job)
{
        const struct amounts *asked = &job->versions[job->versions_len - 1].demand->amounts;

        for (size_t i = 0; i < ARRAY_SIZE(resources); i++) {
                uint64_t most = 0;

                for (size_t n = 0; n < HASH_COUNT(c->nodes); n++)
                        most = MAX(most, amount(&c->by_name[n]->capacity, i));
                if (amount(asked, i) <= most)
                        continue;
                buffer_printf(b, "; no node has so much %s, the largest has ", resources[i].name);
                resources[i].put(b, most);
        }
}

/* ---- Why on none */

/* "all nodes are lost" and the like. False if some node is connected. */
static bool put_none_ready(struct answer *a)
{
        const struct node *first = a->c->nodes;

        for (const struct node *node = first; node != NULL; node = node->hh.next)
                if (node->connected)
                        return false;
        if (first == NULL)
                buffer_puts(&a->summary, "no node is ready: none has ever connected");
        else if (first->hh.next == NULL)
                buffer_printf(&a->summary, "no node is ready: the only one, %s, is not connected",
                        first->status.name);
        else
                buffer_printf(&a->summary, "no node is ready: none of the %u is connected",
                        HASH_COUNT(a->c->nodes));
        buffer_puts(&a->next, "it is placed as soon as a node is ready");
        return true;
}

static bool is_limited(const struct job *job)
{
        const struct job_spec *spec = job_current_spec(job);

        return job_spec_is_batch(spec) && spec->batch.parallel > 0 &&
               job->counts[MARK_ACTIVE] - job->counts[MARK_UNPLACED] >= spec->batch.parallel;
}

/* For how many of @wanted more tasks there is room; @b gets why not for all. */
static size_t room_for(
        const struct cluster *c, const struct job *job, size_t wanted, struct buffer *b)
{
        AUTO(mem_freep) struct choice *choices = mem_alloc((wanted + 1) * sizeof *choices);
        struct place_refusals refusals = { 0 };
        size_t found = place_choose(
                placer_of(c), job, c->by_name, HASH_COUNT(c->nodes), wanted, choices, &refusals);

        if (found == 0)
                place_put_refusals(b, job_current_spec(job), &refusals);
        return found;
}

void why_unplaced(struct answer *a, const struct task *task, const char *id)
{
        const struct job *job = task->job;
        AUTO(buffer_done) struct buffer refusals = { 0 };
        size_t wanted = MAX(job->counts[MARK_UNPLACED], (size_t) 1), found;

        if (job->held) {
                buffer_printf(&a->summary, "%s ", id);
                order_put_why(&a->summary, job);
                buffer_puts(&a->next, "it is placed as soon as that is so");
                return;
        }
        buffer_printf(&a->summary, "%s waits for a node: ", id);
        if (put_none_ready(a))
                return;
        if (is_limited(job)) {
                buffer_printf(&a->summary,
                        "as many tasks of %s are there as may be at a time (batch.parallel %" PRIu32
                        ")",
                        job->name, job_current_spec(job)->batch.parallel);
                buffer_puts(&a->next, "it is placed when one of them has ended");
                return;
        }
        found = room_for(a->c, job, wanted, &refusals);
        if (found > 0 && found < wanted && job_current_spec(job)->place.gang)
                buffer_printf(&a->summary,
                        "all of its job are placed or none (place.gang), and there is room for %zu "
                        "of %zu",
                        found, wanted);
        else if (found > 0)
                buffer_puts(&a->summary, "there is room, its turn has not come yet");
        else
                buffer_puts(&a->summary, buffer_str(&refusals));
        buffer_puts(&a->next, "it is placed as soon as there is room");
        if (found == 0) {
                put_never(&a->next, a->c, job);
                put_remedy(&a->next, a->c, job);
        }
}

/* ---- What has to leave */

static void put_down(struct buffer *b, const struct job *job, size_t down)
{
        const unsigned up = BIT(MARK_SETTLED) | BIT(MARK_MOVABLE) | BIT(MARK_ENDED_BADLY);
        const struct task *task;

        buffer_printf(b, "%zu of %s's tasks %s down already, and no more may be (update.parallel)",
                down, job->name, down == 1 ? "is" : "are");
        JOB_FOREACH_TASK (job, task)
                if ((task->marks & BIT(MARK_WANTED)) != 0 && (task->marks & up) == 0) {
                        struct task_status s;

                        task_fill_status(job, task, &s);
                        buffer_printf(b, ": %s is %s", s.id, task_state_names[s.state]);
                        if (s.reason != NULL)
                                buffer_printf(b, ", %s", s.reason);
                        return;
                }
}

static size_t refusals_of(const struct place_refusals *r)
{
        size_t n = 0;

        for (int i = 0; i < REFUSAL_COUNT; i++)
                n += r->refused[i];
        return n;
}

void put_leaving(struct buffer *b, const struct cluster *c, const struct task *task)
{
        const struct job *job = task->job;
        size_t down = leave_tasks_down(job);
        struct turn turn = { .c = placer_of(c), .now = c->now };
        struct place_refusals refusals = { 0 };

        if (task->moving && !task->overdue)
                buffer_puts(b, "it is told to end there, and is placed anew when it has");
        else if ((task->marks & BIT(MARK_DISPLACED)) == 0)
                return;
        else if (!task->overdue && !task->node->connected)
                buffer_puts(b, "its node is not connected");
        else if (!task->overdue && down >= job_current_spec(job)->update.parallel)
                put_down(b, job, down);
        else if (leave_room(&turn, job, leave_next_version(task), 1, &refusals) > 0)
                buffer_puts(b, "it is the next to go");
        else if (refusals.nodes > refusals_of(&refusals))
                buffer_puts(b, "what has left already takes the room that there is");
        else
                place_put_refusals(b, job_current_spec(job), &refusals);
}

/* ---- A node */

struct user {
        const struct job *job;
        size_t tasks;
        struct amounts used;
};

static int compare_users(const void *a, const void *b)
{
        const struct user *x = a, *y = b;

        if (x->used.memory != y->used.memory)
                return x->used.memory < y->used.memory ? 1 : -1;
        if (x->used.cpu != y->used.cpu)
                return x->used.cpu < y->used.cpu ? 1 : -1;
        if (x->tasks != y->tasks)
                return x->tasks < y->tasks ? 1 : -1;
        return strcmp(x->job->name, y->job->name);
}

static int compare_jobs_of(const void *a, const void *b)
{
        return strcmp(((const struct user *) a)->job->name, ((const struct user *) b)->job->name);
}

/* The jobs that hold something there, who uses most first; freed by the caller. */
static struct user *users_of(const struct node *node, size_t *ret_len)
{
        struct user *users = mem_alloc(((size_t) node->status.tasks + 1) * sizeof *users);
        const struct task *task;
        size_t len = 0, distinct = 0;

        DL_FOREACH2 (node->tasks, task, node_next)
                if (task->held != NULL)
                        users[len++] = (struct user){ task->job, 1, task->held->amounts };
        qsort(users, len, sizeof *users, compare_jobs_of);
        for (size_t i = 0; i < len; i++) {
                if (distinct == 0 || users[distinct - 1].job != users[i].job) {
                        users[distinct++] = users[i];
                        continue;
                }
                users[distinct - 1].tasks++;
                users[distinct - 1].used.cpu += users[i].used.cpu;
                users[distinct - 1].used.memory += users[i].used.memory;
        }
        qsort(users, distinct, sizeof *users, compare_users);
        *ret_len = distinct;
        return users;
}

static void put_used(struct buffer *b, const struct node *node)
{
        const char *between = "; its tasks ask for ";

        for (size_t i = 0; i < ARRAY_SIZE(resources); i++) {
                uint64_t all = amount(&node->capacity, i), used = amount(&node->used, i);

                if (all == AMOUNT_UNKNOWN || all == 0 || used == 0)
                        continue;
                buffer_printf(b, "%s%s ", between, resources[i].name);
                resources[i].put(b, used);
                buffer_puts(b, " of ");
                resources[i].put(b, all);
                between = ", ";
        }
}

static void put_users(struct buffer *b, const struct node *node)
{
        size_t len, told;
        AUTO(mem_freep) struct user *users = users_of(node, &len);

        if (len == 0)
                return;
        told = MIN(len, (size_t) USERS_TOLD);
        buffer_puts(b, len == 1 ? "; all of " : "; most of it for ");
        for (size_t i = 0; i < told; i++) {
                buffer_printf(b, "%s%s", i == 0 ? "" : ", ", users[i].job->name);
                if (len > 1)
                        buffer_printf(b, " (%zu task%s)", users[i].tasks, plural(users[i].tasks));
        }
        if (len > told)
                buffer_printf(b, " and %zu more", len - told);
}

/* Jobs that would come if there were room, or if it were open. */
static void put_waiters(struct answer *a, struct node *node)
{
        size_t found = 0;
        const struct job *job;

        DL_FOREACH2 (a->c->queue, job, queue_next) {
                if (!place_allows(placer_of(a->c), job, node))
                        continue;
                if (++found > WAITERS_TOLD)
                        continue;
                buffer_printf(&a->next, "%s%s (%zu task%s)",
                        found > 1         ? ", "
                        : a->next.len > 0 ? "; jobs that wait for a node and may use this one: "
                                          : "jobs that wait for a node and may use this one: ",
                        job->name, job->counts[MARK_UNPLACED], plural(job->counts[MARK_UNPLACED]));
        }
        if (found > WAITERS_TOLD)
                buffer_printf(&a->next, " and %zu more", found - WAITERS_TOLD);
}

/* The first that shall leave and cannot, or is about to. */
static void put_drain(struct answer *a, const struct node *node)
{
        char span[TIME_TEXT_MAX];
        size_t left = leave_tasks_left(node);
        const struct task *task;

        if (node->drained || left == 0) {
                buffer_puts(&a->summary, "; it is drained: nothing runs there any more");
                buffer_printf(&a->next, "it gets no tasks until `reeve drain %s --off`",
                        node->status.name);
                return;
        }
        buffer_printf(&a->summary, "; it is being drained: %zu task%s to leave", left,
                left == 1 ? " has" : "s have");
        if (node->drain_deadline != USEC_NEVER)
                buffer_printf(&a->next, "in %s whatever is left is stopped at once",
                        time_format_span(span,
                                node->drain_deadline > a->now ? node->drain_deadline - a->now : 0));
        DL_FOREACH2 (node->tasks, task, node_next) {
                AUTO(buffer_done) struct buffer text = { 0 };

                put_leaving(&text, a->c, task);
                if (text.len == 0)
                        continue;
                buffer_printf(&a->next, "%s%s.%" PRIu32 ": %s", a->next.len > 0 ? "; " : "",
                        task->job->name, task->index, buffer_str(&text));
                return;
        }
}

static void why_lost_node(struct answer *a, const struct node *node)
{
        const struct node_status *s = &node->status;
        char span[TIME_TEXT_MAX];

        buffer_printf(&a->summary,
                "node %s is lost for %s: its agent is not heard from; it ha%s %" PRIi64
                " task%s, and what ran there may run on",
                s->name, time_format_span(span, a->now > s->since ? a->now - s->since : 0),
                s->tasks == 0 ? "s" : "d", s->tasks, plural((size_t) s->tasks));
        buffer_printf(&a->next,
                "when its agent connects again its tasks are taken as found; `reeve node forget "
                "%s` if it does not come back",
                s->name);
}

/* They count until then. */
static void put_strangers(struct buffer *b, const struct node *node)
{
        size_t n = HASH_COUNT(node->strangers);

        if (n > 0)
                buffer_printf(b, "; it still ends %zu task%s that %s placed elsewhere meanwhile", n,
                        plural(n), n == 1 ? "was" : "were");
}

void why_node(struct answer *a, const struct node *node)
{
        const struct node_status *s = &node->status;
        char span[TIME_TEXT_MAX];

        a->kind = "node";
        if (s->state == NODE_LOST) {
                why_lost_node(a, node);
                return;
        }
        if (!node->connected) {
                usec_t at = node_lost_at(a->c, node);

                buffer_printf(&a->summary, "node %s has no connection at the moment", s->name);
                buffer_printf(&a->next, "if its agent is not back in %s, it counts as lost",
                        time_format_span(span, at > a->now ? at - a->now : 0));
                return;
        }
        buffer_printf(&a->summary,
                "node %s is ready: connected for %s, %" PRIi64 " of its %" PRIi64 " task%s run",
                s->name, time_format_span(span, a->now > s->since ? a->now - s->since : 0),
                s->running, s->tasks, plural((size_t) s->tasks));
        put_used(&a->summary, node);
        put_users(&a->summary, node);
        put_strangers(&a->summary, node);
        if (node->draining) {
                put_drain(a, node);
        } else if (node->cordoned) {
                buffer_puts(&a->summary, "; it gets no new tasks: a person closed it");
                buffer_printf(&a->next, "nothing new comes until `reeve cordon %s --off`", s->name);
        }
        put_waiters(a, (struct node *) (uintptr_t) node);
}

/* ---- For others */

static const struct task *find_task(const struct cluster *c, const char *id)
{
        struct job *job;
        struct task *task;

        return cluster_look_up(c, id, &job, &task) ? task : NULL;
}

void explain_choice(const struct cluster *c, const char *id, struct buffer *ret)
{
        const struct task *task = find_task(c, id);

        if (task != NULL)
                put_choice(ret, task);
}

void explain_leaving(const struct cluster *c, const char *id, struct buffer *ret)
{
        const struct task *task = find_task(c, id);

        if (task != NULL)
                put_leaving(ret, c, task);
}
