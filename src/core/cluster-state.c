/* SPDX-License-Identifier: BSD-3-Clause */
/* The state of the cluster: jobs, their tasks, and nodes, as data with the invariants that all
 * decisions lean on.
 *
 * A job owns its versions and its tasks, which stay where they are in memory for as long as they
 * exist. A task knows its job and its node, a node its tasks (task_set_node() keeps both in step);
 * a node is forgotten only when it has none.
 *
 * Counting: what a task counts as follows from its fields, its job's flags and its node's
 * connection, and nothing else (marks_of()). Whoever changes one of these calls task_recount() or
 * job_recount(); then `counts` is right, and nobody has to walk over the tasks of a job to know how
 * it is. The state word of a job follows from the counts alone.
 *
 * Nothing is decided here. */

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "core/order.h"
#include "core/preempt.h"
#include "core/share.h"

/* ---- Jobs */

struct job *job_find(const struct cluster *c, const char *name)
{
        struct job *job;

        HASH_FIND_STR(c->jobs, name, job);
        return job;
}

struct job *job_new(struct cluster *c, const char *name)
{
        struct job *job = mem_alloc(sizeof *job);

        job->cluster = c;
        job->promoted = true;
        job->roll_scan_at = USEC_NEVER;
        job->due.owner = TIMER_OF_JOB;
        job->name = mem_strdup(name);
        HASH_ADD_KEYPTR(hh, c->jobs, job->name, strlen(job->name), job);
        return job;
}

void task_set_node(struct task *task, struct node *node)
{
        bool running = (task->marks & BIT(MARK_RUNNING)) != 0;

        if (task->held != NULL) {
                node_give(task);
                task->marks &= ~BIT(MARK_HOLDS);
                task->job->counts[MARK_HOLDS]--;
        }
        if (task->node != NULL) {
                if (task->job->followed)
                        pins_mark_node(task->job->cluster, task->node);
                DL_DELETE2(task->node->tasks, task, node_prev, node_next);
                task->node->status.tasks--;
                task->node->status.running -= running;
        }
        task->node = node;
        if (node != NULL) {
                DL_APPEND2(node->tasks, task, node_prev, node_next);
                node->status.tasks++;
                node->status.running += running;
        }
}

static void count_marks(struct task *task, unsigned marks);

static void task_free(struct task *task)
{
        count_marks(task, 0);
        task_set_node(task, NULL);
        pin_free(task);
        task->job->tasks[task->index] = NULL;
        free(task->ports);
        free(task->reason);
        free(task->status);
        free(task);
}

static void version_done(struct job *job, struct job_version *version)
{
        job_spec_unref(version->spec);
        demand_unref(job->cluster, version->demand);
}

void job_free(struct cluster *c, struct job *job)
{
        struct task *task;

        order_spec_changed(c);
        queue_leave(c, job);
        preempt_release_all(job);
        pins_leave(c, job);
        HASH_DEL(c->jobs, job);
        JOB_FOREACH_TASK (job, task)
                task_free(task);
        for (size_t i = 0; i < job->versions_len; i++)
                version_done(job, &job->versions[i]);
        share_drop_owner(job);
        free(job->versions);
        free(job->tasks);
        free(job->chunk_dirty);
        free(job->name);
        free(job->held_why);
        free(job->source);
        timers_set(&c->timers, &job->due, USEC_NEVER);
        free(job->roll_failed);
        rollout_unblock(job);
        free(job->reason);
        free(job->ids);
        free(job);
}

uint32_t job_version_number(const struct job *job)
{
        return job->versions[job->versions_len - 1].number;
}

struct job_spec *job_current_spec(const struct job *job)
{
        return job->versions[job->versions_len - 1].spec;
}

struct job_spec *job_spec_of(const struct job *job, uint32_t version)
{
        for (size_t i = job->versions_len; i-- > 0;)
                if (job->versions[i].number == version)
                        return job->versions[i].spec;
        return NULL;
}

static bool version_used(const struct job *job, uint32_t number)
{
        const struct task *task;

        JOB_FOREACH_TASK (job, task)
                if (task->desire.version == number || task->version == number)
                        return true;
        return false;
}

void job_add_version(struct job *job, uint32_t number, struct job_spec *spec)
{
        size_t kept = 0, len = job->versions_len + 1;

        share_set_owner(job, spec->owner);
        job->versions = mem_resize(job->versions, len, sizeof job->versions[0]);
        job->versions[len - 1] = (struct job_version){ .number = number,
                .spec = job_spec_ref(spec),
                .demand = demand_new(job->cluster, spec) };
        for (size_t i = 0; i < len; i++) {
                if (i + VERSIONS_KEPT >= len || version_used(job, job->versions[i].number))
                        job->versions[kept++] = job->versions[i];
                else
                        version_done(job, &job->versions[i]);
        }
        job->versions_len = kept;
        order_spec_changed(job->cluster);
}

bool job_runs(const struct job *job)
{
        return !job->stopped && !job->removing && !job->overran;
}

uint32_t job_count(const struct job *job)
{
        const struct job_spec *spec = job_current_spec(job);

        if (spec->template)
                return 0;
        if (job_spec_per_node(spec))
                return (uint32_t) (job->counts[MARK_EXISTS] - job->counts[MARK_LEAVING]);
        return spec->kind == JOB_CRON ? job->slot_count : spec->count + job->surge;
}

size_t job_wanted(const struct job *job)
{
        if (!job_runs(job))
                return 0;
        return job_count(job) - job->counts[MARK_STOPPED];
}

bool job_halted(const struct job *job)
{
        bool rolling = job->rolled_version < job_version_number(job) ||
                       job->counts[MARK_OUTDATED] > 0 || job->surge > 0;

        return job->roll_failed != NULL || (rolling && job->counts[MARK_ENDED_BADLY] > 0);
}

/* ---- What has to be written at the end of the turn */

void job_touch(struct cluster *c, struct job *job)
{
        c->changes++;
        if (!job->unstored) {
                job->unstored = true;
                job->unstored_next = c->unstored;
                c->unstored = job;
        }
        if (job->dirty)
                return;
        job->dirty = true;
        job->dirty_next = c->dirty;
        c->dirty = job;
}

void job_touch_row(struct cluster *c, struct job *job)
{
        job->row_dirty = true;
        job_touch(c, job);
}

void task_touch(struct cluster *c, struct job *job, const struct task *task)
{
        size_t chunk = task->index / TASKS_PER_CHUNK;

        if (chunk >= job->chunks_allocated) {
                size_t allocated = MAX(chunk + 1, job->chunks_allocated * 2);

                job->chunk_dirty = mem_resize(job->chunk_dirty, allocated, 1);
                memset(job->chunk_dirty + job->chunks_allocated, 0,
                        allocated - job->chunks_allocated);
                job->chunks_allocated = allocated;
        }
        job->chunk_dirty[chunk] = 1;
        job_touch(c, job);
}

/* ---- Tasks */

static void format_id(char *id, const char *name, uint32_t index)
{
        size_t len = strlen(name);

        memcpy(id, name, len);
        id[len++] = '.';
        len += text_format_uint(id + len, index);
        id[len] = '\0';
}

/* Names stand in one block, each in as many bytes as the longest may need. */
const char *task_id(const struct job *job, uint32_t index)
{
        struct job *j = (struct job *) (uintptr_t) job; /* the names are a cache */

        if (index >= j->ids_len) {
                j->id_stride = strlen(j->name) + sizeof ".4294967295";
                j->ids = mem_resize(j->ids, j->tasks_len, j->id_stride);
                for (uint32_t i = 0; i < j->tasks_len; i++)
                        format_id(j->ids + i * j->id_stride, j->name, i);
                j->ids_len = j->tasks_len;
        }
        return j->ids + index * j->id_stride;
}

struct task *job_task(const struct job *job, uint32_t index)
{
        return index < job->tasks_len ? job->tasks[index] : NULL;
}

struct task *job_next_task(const struct job *job, size_t *at)
{
        while (*at < job->tasks_len)
                if (job->tasks[(*at)++] != NULL)
                        return job->tasks[*at - 1];
        return NULL;
}

struct task *job_make_task(struct job *job, uint32_t index)
{
        struct task *task;

        if (index >= job->tasks_allocated) {
                size_t allocated = MAX((size_t) index + 1, job->tasks_allocated * 2);

                job->tasks = mem_resize(job->tasks, allocated, sizeof job->tasks[0]);
                job->tasks_allocated = allocated;
        }
        while (job->tasks_len <= index)
                job->tasks[job->tasks_len++] = NULL;

        assert(job->tasks[index] == NULL);
        task = job->tasks[index] = mem_alloc(sizeof *task);
        *task = (struct task){ .job = job,
                .index = index,
                .state = TASK_QUEUED,
                .result = RESULT_NONE,
                .log_bytes = RECORD_NULL };
        return task;
}

void job_drop_task(struct cluster *c, struct job *job, struct task *task)
{
        task_touch(c, job, task);
        task_free(task);
        while (job->tasks_len > 0 && job->tasks[job->tasks_len - 1] == NULL)
                job->tasks_len--;
}

bool task_wanted(const struct job *job, const struct task *task)
{
        return job_runs(job) && !task->stopped && !task->leaving;
}

/* It runs, or might. */
bool task_is_idle(const struct task *task)
{
        return task->state == TASK_QUEUED && task->node != NULL && task->ready;
}

static bool task_is_up(const struct task *task)
{
        if (task->state == TASK_ENDED || task->node == NULL)
                return false;
        return !task->node->connected || (task->state == TASK_RUNNING && !task->going);
}

bool task_last_run_failed(const struct job *job, const struct task *task)
{
        const struct job_spec *spec = job_current_spec(job);

        if (!task->has_exit_code)
                return true;
        for (size_t i = 0; i < spec->success_codes_len; i++)
                if (spec->success_codes[i] == task->exit_code)
                        return false;
        return true;
}

bool desire_takes_down(const struct task_desire *ours, const struct task_desire *theirs)
{
        if (!ours->run)
                return theirs->run;
        return ours->generation > theirs->generation ||
               ours->restart_version > theirs->restart_version;
}

void text_replace(char **text, const char *with)
{
        if (with != NULL && *with == '\0')
                with = NULL;
        if (*text != NULL && with != NULL && strcmp(*text, with) == 0)
                return;
        free(*text);
        *text = mem_strdup(with);
}

/* ---- Counting */

static unsigned marks_of_wanted(const struct job *job, const struct task *t, bool lost)
{
        bool ended = t->state == TASK_ENDED, well = ended && t->result == RESULT_SUCCEEDED;
        bool running = !lost && t->state == TASK_RUNNING;
        bool serves = running || (!lost && task_is_idle(t));
        bool outdated = job_rolls(job) && (t->desire.version != job_version_number(job) ||
                                                  t->desire.generation < job->generation);
        unsigned marks = BIT(MARK_WANTED);

        if (serves)
                marks |= BIT(MARK_WANTED_RUNNING);
        if (well)
                marks |= BIT(MARK_ENDED_WELL);
        if (t->node == NULL && !ended)
                marks |= BIT(MARK_UNPLACED);
        if (t->node != NULL && !ended && t->pin == NULL &&
                (t->overdue || ((t->node->draining || t->ousted) && !t->moving)))
                marks |= BIT(MARK_DISPLACED);
        if (t->state == TASK_QUEUED && t->next_run_at != 0 && task_last_run_failed(job, t))
                marks |= BIT(MARK_WAITING);

        if (t->moving) /* it ends here; what is newest it gets elsewhere */
                return marks | BIT(MARK_INFLIGHT);
        if (outdated && !task_is_up(t))
                return marks | BIT(MARK_OUTDATED) | BIT(MARK_STRAGGLER);
        if (outdated && t->node->connected)
                return marks | BIT(MARK_OUTDATED) | BIT(MARK_MOVABLE);
        /* An agent that is away for a moment may be amid what it was told before. One that is lost
         * is not waited for: this rollout is not what takes its tasks down. */
        if (outdated && !lost && (t->state != TASK_RUNNING || t->going))
                return marks | BIT(MARK_OUTDATED) | BIT(MARK_INFLIGHT);
        if (outdated)
                return marks | BIT(MARK_OUTDATED);
        if (ended)
                return marks | (well ? BIT(MARK_SETTLED) : BIT(MARK_ENDED_BADLY));
        if (serves && t->synced && t->ready && job_current_spec(job)->update.healthy > 0 &&
                !t->proven && job_rolls(job))
                return marks | BIT(MARK_INFLIGHT) | BIT(MARK_PROVING);
        if (serves && t->synced && t->ready)
                return marks | BIT(MARK_SETTLED);
        return marks | (t->node != NULL || t->has_run ? BIT(MARK_INFLIGHT) : 0);
}

static unsigned marks_of(const struct job *job, const struct task *t)
{
        bool lost = t->node != NULL && t->node->status.state == NODE_LOST;
        unsigned marks = BIT(MARK_EXISTS);

        if (t->state != TASK_ENDED)
                marks |= BIT(MARK_ACTIVE) | (lost ? BIT(MARK_LOST) : 0);
        if (t->state != TASK_ENDED && t->node != NULL)
                marks |= BIT(MARK_HOLDS);
        if (!lost && t->state == TASK_RUNNING)
                marks |= BIT(MARK_RUNNING);
        if (!lost && (t->state == TASK_RUNNING || task_is_idle(t)) && t->ready)
                marks |= BIT(MARK_READY);
        if (t->leaving)
                return marks | BIT(MARK_LEAVING);
        if (t->stopped)
                marks |= BIT(MARK_STOPPED);
        if (task_wanted(job, t))
                marks |= marks_of_wanted(job, t, lost);
        return marks;
}

static void count_marks(struct task *task, unsigned marks)
{
        struct job *job = task->job;
        unsigned differ = marks ^ task->marks;

        if ((differ & BIT(MARK_HOLDS)) != 0)
                ((marks & BIT(MARK_HOLDS)) != 0 ? node_take : node_give)(task);
        if ((differ & BIT(MARK_RUNNING)) != 0 && task->node != NULL)
                task->node->status.running += (marks & BIT(MARK_RUNNING)) != 0 ? 1 : -1;
        if ((marks & ~task->marks & BIT(MARK_PROVING)) != 0) {
                task->ready_at = job->cluster->now;
                rollout_proves(job, task);
        }
        if ((marks & ~task->marks & (BIT(MARK_INFLIGHT) | BIT(MARK_UNPLACED))) != 0)
                rollout_told(job, task);
        if (job->followed && task->node != NULL &&
                (differ & (BIT(MARK_HOLDS) | BIT(MARK_RUNNING) | BIT(MARK_SETTLED) |
                                  BIT(MARK_INFLIGHT))) != 0)
                pins_mark_node(job->cluster, task->node);
        if ((differ & BIT(MARK_DISPLACED)) != 0)
                job->cluster->displaced += (marks & BIT(MARK_DISPLACED)) != 0 ? 1 : (size_t) -1;
        for (int mark = 0; mark < MARK_COUNT && differ != 0; mark++) {
                if ((differ & BIT(mark)) != 0)
                        job->counts[mark] += (marks & BIT(mark)) != 0 ? (size_t) 1 : (size_t) -1;
                differ &= ~BIT(mark);
        }
        if (job->cluster->ordered > 0 && marks != task->marks)
                job->cluster->order_due = true;
        if ((marks & ~task->marks & BIT(MARK_MOVABLE)) != 0)
                job->roll_next = MIN(job->roll_next, task->index);
        task->marks = marks;
}

void task_recount(struct job *job, struct task *task)
{
        count_marks(task, marks_of(job, task));
}

void job_recount(struct job *job)
{
        struct task *task;

        JOB_FOREACH_TASK (job, task)
                task_recount(job, task);
}

/* ---- The state word */

enum job_state job_state_derive(const struct job_facts *f)
{
        size_t ended = f->ended_well + f->ended_badly;

        if (f->removing)
                return JOB_STOPPING;
        if (f->per_node && f->wanted == 0 && f->active == 0 && !f->stopped)
                return JOB_STARTING;
        if (f->stopped || f->wanted == 0)
                return f->active > 0 ? JOB_STOPPING : JOB_STOPPED;
        if (f->outdated > 0)
                return f->ended_badly > 0 ? JOB_DEGRADED : JOB_UPDATING;
        if (ended >= f->wanted)
                return f->ended_badly > 0 ? JOB_FAILED : JOB_SUCCEEDED;
        if (f->ended_badly > 0)
                return JOB_DEGRADED;
        if (f->rolling && f->inflight > 0)
                return JOB_UPDATING;
        if (f->waiting + f->lost > 0)
                return JOB_DEGRADED;
        return f->wanted_running + f->ended_well >= f->wanted ? JOB_RUNNING : JOB_STARTING;
}

/* Those that have not ended, or not begun again. */
static bool has_tasks_left(const struct job *job)
{
        const size_t *n = job->counts;

        return job->overran ? n[MARK_ACTIVE] > 0
                            : n[MARK_WANTED] > n[MARK_ENDED_WELL] + n[MARK_ENDED_BADLY];
}

enum job_state job_state_of(const struct job *job)
{
        const size_t *n = job->counts;
        bool awake = !job->stopped && !job->removing;
        struct job_facts facts = {
                .wanted = job_wanted(job),
                .wanted_running = n[MARK_WANTED_RUNNING],
                .active = n[MARK_ACTIVE],
                .outdated = n[MARK_OUTDATED],
                .inflight = n[MARK_INFLIGHT],
                .ended_well = n[MARK_ENDED_WELL],
                .ended_badly = n[MARK_ENDED_BADLY],
                .waiting = n[MARK_WAITING],
                .lost = n[MARK_LOST],
                .stopped = job->stopped,
                .removing = job->removing,
                .rolling = job->rolled_version < job_version_number(job),
                .per_node = job_per_node(job) && n[MARK_STOPPED] == 0,
        };

        if (awake && job_is_template(job) && n[MARK_ACTIVE] == 0)
                return JOB_TEMPLATE;
        if (awake && job_is_cron(job) && !has_tasks_left(job))
                return JOB_SCHEDULED;
        if (awake && job->overran)
                return n[MARK_ACTIVE] > 0 ? JOB_STOPPING : JOB_FAILED;
        return job_state_derive(&facts);
}

/* ---- Nodes */

struct node *node_find(const struct cluster *c, const char *name)
{
        struct node *node;

        HASH_FIND_STR(c->nodes, name, node);
        return node;
}

static void renumber(struct cluster *c, size_t from, size_t len)
{
        for (size_t i = from; i < len; i++)
                c->by_name[i]->order = (uint32_t) i;
}

/* Puts the newest node of the table into by_name. */
static void list_by_name(struct cluster *c, struct node *node)
{
        size_t len = HASH_COUNT(c->nodes), at = len - 1;

        c->by_name = mem_resize(c->by_name, len, sizeof(struct node *));
        for (; at > 0 && strcmp(c->by_name[at - 1]->status.name, node->status.name) > 0; at--)
                c->by_name[at] = c->by_name[at - 1];
        c->by_name[at] = node;
        renumber(c, at, len);
}

static void unlist_by_name(struct cluster *c, const struct node *node)
{
        size_t len = HASH_COUNT(c->nodes) - 1;

        memmove(&c->by_name[node->order], &c->by_name[node->order + 1],
                (len - node->order) * sizeof(struct node *));
        renumber(c, node->order, len);
}

/* It is no longer among those that have become freer. */
static void unlist_freed(struct cluster *c, struct node *node)
{
        struct node **at = &c->freed;

        while (node->freed && *at != node)
                at = &(*at)->freed_next;
        if (node->freed)
                *at = node->freed_next;
}

struct node *node_get(struct cluster *c, const char *name)
{
        struct node *node = node_find(c, name);

        if (node != NULL)
                return node;
        node = mem_alloc_aligned(sizeof *node, MEM_LINE);
        node->status = (struct node_status){ .name = mem_strdup(name),
                .state = NODE_READY,
                .cores = RECORD_NULL,
                .cpu = RECORD_NULL,
                .memory = RECORD_NULL,
                .disk = RECORD_NULL,
                .agent_pid = RECORD_NULL,
                .keeper_pid = RECORD_NULL };
        HASH_ADD_KEYPTR(hh, c->nodes, node->status.name, strlen(node->status.name), node);
        node->drain_deadline = USEC_NEVER;
        list_by_name(c, node);
        node_measure(c, node);
        return node;
}

void node_free(struct cluster *c, struct node *node)
{
        timers_set(&c->timers, &node->due, USEC_NEVER);
        strangers_drop_all(c, node);
        unlist_freed(c, node);
        pins_unmark_node(c, node);
        if (c->by_name != NULL)
                unlist_by_name(c, node);
        HASH_DEL(c->nodes, node);
        node_unmeasure(c, node);
        record_done(&node_table, &node->status);
        free(node);
}

/* ---- Finding what a person names */

/* The job that was most likely meant by @name, or NULL. */
static const struct job *nearest_job(const struct cluster *c, const char *name)
{
        AUTO(mem_freep) const char **names = mem_alloc((HASH_COUNT(c->jobs) + 1) * sizeof *names);
        const char *nearest;
        size_t len = 0;

        for (const struct job *job = c->jobs; job != NULL; job = job->hh.next)
                names[len++] = job->name;
        nearest = text_nearest(name, names);
        return nearest == NULL ? NULL : job_find(c, nearest);
}

static int fail_no_task(const struct job *job, const char *target, struct error *err)
{
        if (job->tasks_len == 0)
                return error_set(
                        err, ERR_NOT_FOUND, "no task \"%s\"; job %s has none", target, job->name);
        return error_set(err, ERR_NOT_FOUND, "no task \"%s\"; the last of job %s is %s.%zu", target,
                job->name, job->name, job->tasks_len - 1);
}

/* Looks at the names of jobs only: there may be a million tasks. */
static int fail_not_found(const struct cluster *c, const char *target, struct error *err)
{
        const char *dot = strrchr(target, '.');
        AUTO(mem_freep)
        char *name =
                dot == NULL ? mem_strdup(target) : mem_strndup(target, (size_t) (dot - target));
        const struct job *job = job_find(c, name);
        int64_t index;

        if (job != NULL)
                return fail_no_task(job, target, err);
        job = nearest_job(c, name);
        if (job == NULL)
                return error_set(err, ERR_NOT_FOUND, "no job or task \"%s\"", target);
        if (dot != NULL && text_parse_int(dot + 1, 0, UINT32_MAX, &index) &&
                job_task(job, (uint32_t) index) != NULL)
                return error_set(err, ERR_NOT_FOUND,
                        "no job or task \"%s\"; did you mean \"%s%s\"?", target, job->name, dot);
        return error_set(err, ERR_NOT_FOUND, "no job or task \"%s\"; did you mean \"%s\"?", target,
                job->name);
}

static struct task *find_task(const struct cluster *c, const char *id, struct job **ret_job)
{
        const char *dot = strrchr(id, '.');
        char name[TEXT_NAME_MAX + 1];
        int64_t index;
        struct job *job;

        if (dot == NULL || (size_t) (dot - id) >= sizeof name ||
                !text_parse_int(dot + 1, 0, UINT32_MAX, &index))
                return NULL;
        memcpy(name, id, (size_t) (dot - id));
        name[dot - id] = '\0';
        job = job_find(c, name);
        if (job == NULL)
                return NULL;
        *ret_job = job;
        return job_task(job, (uint32_t) index);
}

bool cluster_look_up(
        const struct cluster *c, const char *target, struct job **ret_job, struct task **ret_task)
{
        struct job *job = job_find(c, target);
        struct task *task = NULL;

        if (job == NULL)
                task = find_task(c, target, &job);
        if (job == NULL || (task == NULL && strchr(target, '.') != NULL))
                return false;
        *ret_job = job;
        *ret_task = task;
        return true;
}

int cluster_find_target(const struct cluster *c, const char *target, struct job **ret_job,
        struct task **ret_task, struct error *err)
{
        if (cluster_look_up(c, target, ret_job, ret_task))
                return 0;
        return fail_not_found(c, target, err);
}
