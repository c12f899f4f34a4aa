/* SPDX-License-Identifier: BSD-3-Clause */
/* Rebalance: which tasks would better be elsewhere.
 *
 * Tasks are placed where it is best at that moment; nodes that come later stay empty until somebody
 * asks. The moves are found one after the other on a copy of what nodes hold: from the node that is
 * used most, to the one that is used least of those that take the task. What is *used* is the
 * largest fraction of cores, memory and disk; where nothing is asked for, the number of tasks. A
 * move must make the two more even by a tenth of a node, or by two tasks, and never worse in what
 * ranks higher (place.c): the job's tasks per node and per value of `spread` are not made more
 * uneven, preferred nodes are not left for others. Where the tasks per value of `spread` differ by
 * two or more, to even them out is enough. Jobs that pack stay as they are, and so do singletons,
 * tasks that have one place only, and those that are on their way already. */

#include "core/rebalance.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/place.h"

#define MARGIN 100 /* thousandths of a node */

struct seat { /* a node, as it would be */
        struct node *node;
        struct amounts used;
        uint32_t tasks;
        uint32_t load; /* thousandths */
        bool done;     /* nothing can leave it for the better */
};

/* How many tasks of one job are on nodes with a value of its `spread`, as it would be. */
struct tally {
        const char *value;
        uint32_t tasks;
        UT_hash_handle hh;
};

struct balance {
        struct cluster *c;
        struct tally *tallies; /* of @tallied; counted anew for another job, or after a move */
        const struct job *tallied;
        struct seat *seats; /* by node.order */
        size_t len;
        struct task **gone;    /* tasks that were moved, */
        struct seat **gone_to; /* and where */
        size_t gone_len;
};

static uint32_t load_of(const struct node *node, const struct amounts *used)
{
        uint32_t cpu = amount_share(node->capacity.cpu, used->cpu);
        uint32_t memory = amount_share(node->capacity.memory, used->memory);

        return MAX(MAX(cpu, memory), amount_share(node->capacity.disk, used->disk));
}

static struct amounts with(const struct amounts *used, const struct amounts *more, bool add)
{
        uint64_t sign = add ? 1 : UINT64_MAX;

        return (struct amounts){ used->cpu + sign * more->cpu, used->memory + sign * more->memory,
                used->disk + sign * more->disk };
}

static bool is_gone(const struct balance *b, const struct task *task)
{
        for (size_t i = 0; i < b->gone_len; i++)
                if (b->gone[i] == task)
                        return true;
        return false;
}

static bool is_movable(const struct balance *b, const struct task *task)
{
        const struct job_spec *spec = job_current_spec(task->job);

        return task->held != NULL && task_wanted(task->job, task) && task->desire.run &&
               !task->moving && !task->ousted && task->state == TASK_RUNNING &&
               spec->place.by == PLACE_SPREAD && !spec->singleton && spec->place.node == NULL &&
               !job_spec_per_node(spec) && !is_gone(b, task);
}

/* Tasks of the job on the seat, as it would be. */
static uint32_t count_on(const struct balance *b, const struct job *job, const struct seat *seat)
{
        const struct task *task;
        uint32_t n = 0;

        DL_FOREACH2 (seat->node->tasks, task, node_next)
                n += task->job == job && task->state != TASK_ENDED && !is_gone(b, task);
        for (size_t i = 0; i < b->gone_len; i++)
                n += b->gone[i]->job == job && b->gone_to[i] == seat;
        return n;
}

/* ---- Spread */

static const char *spread_value(const struct job *job, const struct node *node)
{
        const char *value =
                attributes_get(&node->class->attributes, job_current_spec(job)->place.spread);

        return value == NULL ? "" : value;
}

static struct tally *tally_get(struct balance *b, const struct node *node)
{
        const char *value = spread_value(b->tallied, node);
        struct tally *t;

        HASH_FIND_STR(b->tallies, value, t);
        if (t == NULL) {
                t = mem_alloc(sizeof *t);
                t->value = value;
                HASH_ADD_KEYPTR(hh, b->tallies, value, strlen(value), t);
        }
        return t;
}

static void tallies_clear(struct balance *b)
{
        struct tally *t, *next;

        HASH_ITER (hh, b->tallies, t, next) {
                HASH_DEL(b->tallies, t);
                free(t);
        }
        b->tallied = NULL;
}

static void tallies_count(struct balance *b, const struct job *job)
{
        const struct task *task;

        if (b->tallied == job)
                return;
        tallies_clear(b);
        b->tallied = job;
        JOB_FOREACH_TASK (job, task)
                if (task->node != NULL && task->state != TASK_ENDED && !is_gone(b, task))
                        tally_get(b, task->node)->tasks++;
        for (size_t i = 0; i < b->gone_len; i++)
                if (b->gone[i]->job == job)
                        tally_get(b, b->gone_to[i]->node)->tasks++;
}

/* By how many tasks more the job is where @from is than where @to is; 0 where that is all one. */
static int64_t spread_excess(
        struct balance *b, const struct job *job, const struct seat *from, const struct seat *to)
{
        if (job_current_spec(job)->place.spread == NULL ||
                strcmp(spread_value(job, from->node), spread_value(job, to->node)) == 0)
                return 0;
        tallies_count(b, job);
        return (int64_t) tally_get(b, from->node)->tasks - tally_get(b, to->node)->tasks;
}

/* ---- Where to */

static bool prefers_alike(const struct job *job, const struct seat *from, const struct seat *to)
{
        const struct job_spec *spec = job_current_spec(job);

        for (size_t i = 0; i < spec->place.preferences_len; i++)
                if (constraint_holds(
                            spec->place.preferences[i].where, &from->node->class->attributes) !=
                        constraint_holds(
                                spec->place.preferences[i].where, &to->node->class->attributes))
                        return false;
        return true;
}

static bool fits(const struct balance *b, const struct task *task, const struct seat *to)
{
        struct amounts used = with(&to->used, &task->held->amounts, true);

        for (size_t i = 0; i < b->gone_len; i++)
                if (b->gone_to[i] == to && task->held->exclusive != NULL &&
                        b->gone[i]->held->exclusive == task->held->exclusive)
                        return false;
        return used.cpu <= to->node->capacity.cpu && used.memory <= to->node->capacity.memory &&
               used.disk <= to->node->capacity.disk &&
               place_refusal(b->c, task->job, to->node, NULL) == REFUSAL_NONE;
}

static bool is_better(const struct task *task, const struct seat *from, const struct seat *to)
{
        const struct amounts *d = &task->held->amounts;
        struct amounts left = with(&from->used, d, false), got = with(&to->used, d, true);
        uint32_t after = MAX(load_of(from->node, &left), load_of(to->node, &got));

        if (d->cpu + d->memory + d->disk > 0)
                return after + MARGIN <= from->load;
        return from->tasks >= to->tasks + 2 && after <= from->load;
}

/* To move from one seat to the other makes something better, and nothing that ranks higher worse.
 */
static bool is_for_the_better(struct balance *b, const struct task *task, const struct seat *from,
        const struct seat *to, uint32_t here)
{
        bool evens = is_better(task, from, to);
        int64_t excess;

        if (!evens && job_current_spec(task->job)->place.spread == NULL)
                return false;
        excess = spread_excess(b, task->job, from, to);
        if (excess >= 2)
                return true;
        return evens && excess >= 0 && count_on(b, task->job, to) < here;
}

static struct seat *find_target(struct balance *b, const struct task *task, const struct seat *from)
{
        uint32_t here = count_on(b, task->job, from);
        struct seat *best = NULL;

        for (size_t i = 0; i < b->len; i++) {
                struct seat *to = &b->seats[i];

                if (to == from || !to->node->connected ||
                        (best != NULL &&
                                (to->load > best->load ||
                                        (to->load == best->load && to->tasks >= best->tasks))))
                        continue;
                if (is_for_the_better(b, task, from, to, here) &&
                        prefers_alike(task->job, from, to) && fits(b, task, to))
                        best = to;
        }
        return best;
}

static struct seat *most_used(const struct balance *b)
{
        struct seat *most = NULL;

        for (size_t i = 0; i < b->len; i++) {
                struct seat *s = &b->seats[i];

                if (!s->done && s->node->connected && s->tasks > 0 &&
                        (most == NULL || s->load > most->load ||
                                (s->load == most->load && s->tasks > most->tasks)))
                        most = s;
        }
        return most;
}

static void put_spread(struct buffer *text, struct balance *b, const struct seat *s)
{
        const struct tally *t = tally_get(b, s->node);

        buffer_printf(text, "%" PRIu32 " of its tasks where %s = %s", t->tasks,
                job_current_spec(b->tallied)->place.spread, t->value);
}

static void put_use(struct buffer *text, const struct seat *s, bool by_tasks)
{
        if (by_tasks)
                buffer_printf(text, "%s has %" PRIu32 " task%s", s->node->status.name, s->tasks,
                        s->tasks == 1 ? "" : "s");
        else
                buffer_printf(
                        text, "%s is used %" PRIu32 " %%", s->node->status.name, s->load / 10);
}

static void sit(struct seat *s, const struct task *task, bool comes)
{
        s->used = with(&s->used, &task->held->amounts, comes);
        s->tasks += comes ? 1 : UINT32_MAX;
        s->load = load_of(s->node, &s->used);
}

static void put_use_after(
        struct buffer *text, const struct seat *from, const struct seat *to, bool by_tasks)
{
        if (by_tasks)
                buffer_printf(text, "; then %" PRIu32 " and %" PRIu32, from->tasks, to->tasks);
        else
                buffer_printf(text, "; then %" PRIu32 " %% and %" PRIu32 " %%", from->load / 10,
                        to->load / 10);
}

static void move(struct balance *b, struct task *task, struct seat *from, struct seat *to,
        void (*each)(void *data, const struct rebalance_move *), void *data)
{
        const struct amounts *d = &task->held->amounts;
        AUTO(mem_freep) char *id = mem_printf("%s.%" PRIu32, task->job->name, task->index);
        AUTO(buffer_done) struct buffer why = { 0 };
        bool by_tasks = d->cpu + d->memory + d->disk == 0;
        bool by_spread = spread_excess(b, task->job, from, to) >= 2;

        if (by_spread) {
                put_spread(&why, b, from);
                buffer_puts(&why, ", ");
                put_spread(&why, b, to);
        } else {
                put_use(&why, from, by_tasks);
                buffer_puts(&why, ", ");
                put_use(&why, to, by_tasks);
        }
        sit(from, task, false);
        sit(to, task, true);
        if (!by_spread)
                put_use_after(&why, from, to, by_tasks);
        b->gone[b->gone_len] = task;
        b->gone_to[b->gone_len++] = to;
        tallies_clear(b);
        each(data, &(struct rebalance_move){ .task = id,
                           .from = from->node->status.name,
                           .to = to->node->status.name,
                           .reason = buffer_str(&why) });
}

/* One move from the seat; false if none is for the better. */
static bool relieve(struct balance *b, struct seat *from,
        void (*each)(void *data, const struct rebalance_move *), void *data)
{
        struct task *task;

        DL_FOREACH2 (from->node->tasks, task, node_next) {
                struct seat *to = is_movable(b, task) ? find_target(b, task, from) : NULL;

                if (to == NULL)
                        continue;
                move(b, task, from, to, each, data);
                return true;
        }
        return false;
}

static void balance_done(struct balance *b)
{
        tallies_clear(b);
        free(b->seats);
        free(b->gone);
        free(b->gone_to);
}

void cluster_rebalance(const struct cluster *c, uint32_t budget,
        void (*each)(void *data, const struct rebalance_move *), void *data)
{
        /* place_refusal() uses scratch fields of the cluster */
        AUTO(balance_done)
        struct balance b = { .c = (struct cluster *) (uintptr_t) c, .len = HASH_COUNT(c->nodes) };
        struct seat *from;

        b.seats = mem_alloc((b.len + 1) * sizeof *b.seats);
        b.gone = mem_alloc((budget + 1) * sizeof(struct task *));
        b.gone_to = mem_alloc((budget + 1) * sizeof(struct seat *));
        for (size_t i = 0; i < b.len; i++) {
                struct node *node = c->by_name[i];

                b.seats[i] = (struct seat){ .node = node,
                        .used = node->used,
                        .tasks = (uint32_t) node->status.tasks,
                        .load = load_of(node, &node->used) };
        }
        while (b.gone_len < budget && (from = most_used(&b)) != NULL)
                if (!relieve(&b, from, each, data))
                        from->done = true;
}
