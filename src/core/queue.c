/* SPDX-License-Identifier: BSD-3-Clause */
/* Queue: jobs that have tasks without a node, and their turn.
 *
 * The queue holds jobs, not tasks: a million tasks that wait are as many entries as they have jobs.
 * Jobs of higher priority come first. Among those of one priority it is the turn of the owner who
 * has the least share of the cluster (share.c), a portion of tasks at a time; of one owner's jobs
 * those that wait longer come first. A job that does not fit holds up nobody behind it, unless it
 * may have others make room (preempt.c).
 *
 * A job is tried on all nodes once. What is left of it then (`unmet`) can only fit where something
 * has become free since, so that later passes ask those nodes alone (cluster.freed), until it wants
 * more than that or its spec has changed; a gang, which may fit with what several nodes have, is
 * tried on all of them each time. A pass takes place at the end of each turn in which there
 * was something to try or something became free.
 *
 * What a spec says of waiting (`queue.mode`) is asked when a task was tried and there was no room.
 */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/order.h"
#include "core/preempt.h"
#include "core/share.h"

#define PLACES_TOLD 5 /* in one event */

/* How many more of its tasks may be on nodes. */
static size_t job_wants(const struct job *job)
{
        const struct job_spec *spec = job_current_spec(job);
        size_t waiting = job->counts[MARK_UNPLACED], active;

        if (job->held)
                return 0;
        if (!job_spec_is_batch(spec) || spec->batch.parallel == 0)
                return waiting;
        active = job->counts[MARK_ACTIVE] - waiting;
        return active >= spec->batch.parallel ? 0 : MIN(waiting, spec->batch.parallel - active);
}

/* ---- Membership */

void queue_leave(struct cluster *c, struct job *job)
{
        if (!job->queued)
                return;
        DL_DELETE2(c->queue, job, queue_prev, queue_next);
        job->queued = false;
        job->unmet = 0;
        preempt_release_all(job);
        free(take_ptr(job->waits_for));
}

void queue_update(struct cluster *c, struct job *job)
{
        bool waits = job_runs(job) && job->counts[MARK_UNPLACED] > 0;

        if (!waits) {
                queue_leave(c, job);
                return;
        }
        job->unmet = MIN(job->unmet, job_wants(job));
        if (job->keeps > job->unmet)
                preempt_release_all(job);
        if (job->queued)
                return;
        job->queued = true;
        job->queued_since = c->now;
        DL_APPEND2(c->queue, job, queue_prev, queue_next);
}

/* ---- The order */

static int compare_turns(const void *a, const void *b)
{
        const struct job *x = *(struct job *const *) a, *y = *(struct job *const *) b;
        uint32_t p = job_current_spec(x)->priority, q = job_current_spec(y)->priority;

        if (p != q)
                return p > q ? -1 : 1;
        if (x->owner != y->owner)
                return strcmp(x->owner->name, y->owner->name);
        if (x->queued_since != y->queued_since)
                return x->queued_since < y->queued_since ? -1 : 1;
        return strcmp(x->name, y->name);
}

bool queue_will_try(const struct job *job)
{
        return job->queued && job_wants(job) > job->unmet;
}

static bool may_fit(const struct cluster *c, const struct job *job)
{
        size_t wants = job_wants(job);

        return wants > job->unmet || (wants > 0 && c->freed != NULL);
}

/* Jobs that may fit now, in the order of their turns; freed by the caller. */
static struct job **jobs_to_try(const struct cluster *c, size_t *ret_len)
{
        struct job **all, *job;
        size_t len = 0;

        DL_FOREACH2 (c->queue, job, queue_next)
                len += may_fit(c, job);
        all = mem_alloc((len + 1) * sizeof(struct job *));
        *ret_len = len;
        len = 0;
        DL_FOREACH2 (c->queue, job, queue_next)
                if (may_fit(c, job))
                        all[len++] = job;
        qsort(all, len, sizeof(struct job *), compare_turns);
        return all;
}

/* ---- One job */

static bool mode_waits(const struct job_spec *spec, const struct task *task)
{
        switch (spec->queue.mode) {
        case QUEUE_ALWAYS:
                return true;
        case QUEUE_NEVER:
                return false;
        case QUEUE_START_ONLY:
                return !task->has_run;
        case QUEUE_RESTART_ONLY:
                return task->has_run;
        }
        return true;
}

static void reject(struct turn *turn, struct job *job, const char *why)
{
        AUTO(mem_freep)
        char *reason = mem_printf(
                "%s; queue.mode is %s", why, queue_mode_names[job_current_spec(job)->queue.mode]);
        struct task *task;

        JOB_FOREACH_TASK (job, task)
                if ((task->marks & BIT(MARK_UNPLACED)) != 0 &&
                        !mode_waits(job_current_spec(job), task))
                        task_reject(turn, task, reason);
}

/* What the last task that was tried has met. */
struct met {
        uint32_t version;
        size_t wanted, found;
        struct place_refusals refusals;
};

static void put_why(struct buffer *b, const struct job *job, const struct met *met)
{
        struct job_spec *spec = job_spec_of(job, met->version);

        if (spec == NULL)
                spec = job_current_spec(job);
        if (spec->place.gang && met->found > 0)
                buffer_printf(b,
                        "there is room for %zu of %zu tasks, and they are placed all at once "
                        "(place.gang)",
                        met->found, met->wanted);
        else
                place_put_refusals(b, spec, &met->refusals);
}

/* Nothing fits for some of them. @all: every node was asked, so that @met tells the whole. */
static void go_on_waiting(struct turn *turn, struct job *job, const struct met *met, bool all)
{
        AUTO(buffer_done) struct buffer why = { 0 };
        bool begins = job->waits_for == NULL;

        if (job->unmet == 0 || !all)
                return;
        put_why(&why, job, met);
        text_replace(&job->waits_for, buffer_str(&why));
        reject(turn, job, buffer_str(&why));
        if (begins && job->counts[MARK_UNPLACED] > 0)
                turn_say(turn, EVENT_TASK_QUEUED, job, "%zu task%s for a node: %s",
                        job->counts[MARK_UNPLACED],
                        job->counts[MARK_UNPLACED] == 1 ? " waits" : "s wait", buffer_str(&why));
}

/* "3 tasks on node a", "web.0 on node a, web.1 on node b and 7 more" */
static void put_where(
        struct buffer *b, const struct job *job, struct task *const *tasks, size_t len)
{
        size_t same = 0, told = MIN(len, (size_t) PLACES_TOLD);

        while (same < len && tasks[same]->node == tasks[0]->node)
                same++;
        if (same == len && len > 1) {
                buffer_printf(b, "%zu tasks on node %s", len, tasks[0]->node->status.name);
                return;
        }
        for (size_t i = 0; i < told; i++)
                buffer_printf(b, "%s%s.%" PRIu32 " on node %s", i == 0 ? "" : ", ", job->name,
                        tasks[i]->index, tasks[i]->node->status.name);
        if (len > told)
                buffer_printf(b, " and %zu more", len - told);
}

static void say_placed(struct turn *turn, struct job *job, const struct choice *choices,
        struct task *const *tasks, size_t len)
{
        AUTO(buffer_done) struct buffer text = { 0 };
        AUTO(mem_freep) char *id = len == 1 ? mem_strdup(task_id(job, tasks[0]->index)) : NULL;

        put_where(&text, job, tasks, len);
        if (len == 1 && choices[0].fitting > 1)
                buffer_printf(&text, ", of %" PRIu32 " that fit: %s", choices[0].fitting,
                        choice_rule_texts[choices[0].rule]);
        turn_publish(turn, &(struct event){ .kind = EVENT_TASK_PLACED,
                                   .job = job->name,
                                   .task = id,
                                   .node = len == 1 ? choices[0].node->status.name : NULL,
                                   .version = job_version_number(job),
                                   .run = RECORD_NULL,
                                   .message = (char *) (uintptr_t) buffer_str(&text) });
}

/* Puts tasks that shall have @version. */
static void put_tasks(struct turn *turn, struct job *job, uint32_t version,
        const struct choice *choices, size_t len)
{
        AUTO(mem_freep) struct task **placed = mem_alloc((len + 1) * sizeof(struct task *));
        struct task *task;
        size_t n = 0;

        JOB_FOREACH_TASK (job, task) {
                if (n == len)
                        break;
                if ((task->marks & BIT(MARK_UNPLACED)) == 0 || task->desire.version != version)
                        continue;
                task_put(turn, task, &choices[n]);
                placed[n++] = task;
        }
        if (n > 0)
                say_placed(turn, job, choices, placed, n);
}

/* The nodes that a pass asks. */
struct asked {
        struct node *const *nodes;
        size_t len;
        bool all;
};

/* The version that the first of the tasks that wait and have one beyond @after shall have; 0: there
 * is none. All have the newest, unless an update holds or has halted. */
static uint32_t next_version(const struct job *job, uint32_t after, size_t *ret_len)
{
        uint32_t version = 0;
        const struct task *task;

        *ret_len = job->counts[MARK_UNPLACED];
        if (job->counts[MARK_OUTDATED] == 0)
                return after < job_version_number(job) ? job_version_number(job) : 0;
        *ret_len = 0;
        JOB_FOREACH_TASK (job, task) {
                if ((task->marks & BIT(MARK_UNPLACED)) == 0 || task->desire.version <= after)
                        continue;
                if (version == 0 || task->desire.version < version) {
                        version = task->desire.version;
                        *ret_len = 0;
                }
                *ret_len += task->desire.version == version;
        }
        return version;
}

/* Tries to place @wanted tasks; how many were. */
static size_t try_tasks(struct turn *turn, struct job *job, const struct asked *asked,
        size_t wanted, struct met *ret)
{
        AUTO(mem_freep) struct choice *choices = mem_alloc((wanted + 1) * sizeof *choices);
        size_t placed = 0, len;
        uint32_t version = 0;

        while (placed < wanted && (version = next_version(job, version, &len)) != 0) {
                struct met met = { .version = version, .wanted = MIN(len, wanted - placed) };

                met.found = place_choose_version(turn->c, job, version, asked->nodes, asked->len,
                        met.wanted, choices, asked->all ? &met.refusals : NULL);
                if (met.found < met.wanted)
                        *ret = met;
                if (job_current_spec(job)->place.gang && met.found < met.wanted)
                        continue;
                put_tasks(turn, job, version, choices, met.found);
                placed += met.found;
        }
        return placed;
}

/* Tries to place @most tasks of the job. False if that is all that can be done for it. */
static bool try_job(struct turn *turn, struct job *job, const struct asked *asked, size_t most)
{
        size_t wants = job_wants(job), wanted = MIN(wants, most), found;
        struct met met = { 0 };

        if (job_per_node(job))
                found = pins_place(turn, job, asked->nodes, asked->len, wanted, &met.refusals);
        else
                found = try_tasks(turn, job, asked, wanted, &met);
        if (found == wanted && wanted < wants)
                return true;
        job->unmet = wants - found;
        if (job->counts[MARK_UNPLACED] == 0) {
                queue_leave(turn->c, job);
                return false;
        }
        go_on_waiting(turn, job, &met, asked->all);
        job->unmet = MIN(job->unmet, job_wants(job)); /* some may have been rejected */
        if (job->unmet > 0)
                preempt_for(turn, job);
        if (job->counts[MARK_MOVABLE] > 0) /* the rollout has waited for this */
                job_touch(turn->c, job);
        return false;
}

/* The nodes may have changed since the job was tried. */
const char *queue_reason(struct job *job)
{
        struct cluster *c = job->cluster;
        AUTO(buffer_done) struct buffer why = { 0 };
        AUTO(mem_freep) struct choice *choices = NULL;
        struct met met = { .wanted = job_wants(job) };
        size_t len;

        if (job->held)
                return order_reason(job);
        if (met.wanted == 0)
                return "batch.parallel tasks of the job are there already";
        if (job->waits_at != c->changes && !job_per_node(job)) {
                choices = mem_alloc((met.wanted + 1) * sizeof *choices);
                met.version = next_version(job, 0, &len);
                met.found = place_choose_version(c, job, met.version, c->by_name,
                        HASH_COUNT(c->nodes), met.wanted, choices, &met.refusals);
                put_why(&why, job, &met);
                text_replace(&job->waits_for, buffer_str(&why));
                job->waits_at = c->changes;
        }
        return job->waits_for != NULL ? job->waits_for : "waits for a node";
}

/* ---- A pass */

static int compare_names(const void *a, const void *b)
{
        const struct node *x = *(struct node *const *) a, *y = *(struct node *const *) b;

        return x->order < y->order ? -1 : 1;
}

/* The nodes that have become freer, by name; freed by the caller. */
static struct node **take_freed(struct cluster *c, size_t *ret_len)
{
        struct node **nodes, *node;
        size_t len = 0;

        for (node = c->freed; node != NULL; node = node->freed_next)
                len++;
        nodes = mem_alloc((len + 1) * sizeof(struct node *));
        *ret_len = len;
        for (size_t i = 0; c->freed != NULL; i++) {
                node = nodes[i] = c->freed;
                c->freed = node->freed_next;
                node->freed = false;
        }
        qsort(nodes, len, sizeof(struct node *), compare_names);
        return nodes;
}

/* Jobs of one owner and priority. */
struct lane {
        struct job **jobs;
        size_t len, at;
};

#define PORTIONS 32 /* in which a job is placed while other owners wait, too */

static size_t portion_of(const struct job *job, bool alone)
{
        size_t wants = job_wants(job);

        return alone || job_current_spec(job)->place.gang ? wants : wants / PORTIONS + 1;
}

static void step_lane(struct turn *turn, struct lane *lane, const struct asked *freed, bool alone)
{
        struct cluster *c = turn->c;
        struct job *job = lane->jobs[lane->at];
        struct asked every = { .nodes = c->by_name, .len = HASH_COUNT(c->nodes), .all = true };
        bool all =
                job->queued && (job_wants(job) > job->unmet || job_current_spec(job)->place.gang);

        if (!job->queued || !try_job(turn, job, all ? &every : freed, portion_of(job, alone)))
                lane->at++;
}

static struct lane *next_lane(const struct cluster *c, struct lane *lanes, size_t len)
{
        struct lane *next = NULL;

        for (size_t i = 0; i < len; i++)
                if (lanes[i].at < lanes[i].len &&
                        (next == NULL || share_compare(c, lanes[i].jobs[0]->owner,
                                                 next->jobs[0]->owner) < 0))
                        next = &lanes[i];
        return next;
}

/* Jobs of one priority, sorted by their owners. */
static void run_class(struct turn *turn, struct job **jobs, size_t len, const struct asked *freed)
{
        AUTO(mem_freep) struct lane *lanes = mem_alloc((len + 1) * sizeof *lanes);
        size_t lanes_len = 0;
        struct lane *lane;

        for (size_t i = 0; i < len; i++) {
                if (i == 0 || jobs[i]->owner != jobs[i - 1]->owner)
                        lanes[lanes_len++].jobs = &jobs[i];
                lanes[lanes_len - 1].len++;
        }
        while ((lane = next_lane(turn->c, lanes, lanes_len)) != NULL)
                step_lane(turn, lane, freed, lanes_len == 1);
}

void queue_run(struct turn *turn)
{
        size_t len, from = 0;
        AUTO(mem_freep) struct job **jobs = jobs_to_try(turn->c, &len);
        struct asked freed = { 0 };
        AUTO(mem_freep) struct node **nodes = take_freed(turn->c, &freed.len);

        freed.nodes = nodes;
        for (size_t i = 1; i <= len; i++) {
                if (i < len && job_current_spec(jobs[i])->priority ==
                                       job_current_spec(jobs[from])->priority)
                        continue;
                run_class(turn, jobs + from, i - from, &freed);
                from = i;
        }
}
