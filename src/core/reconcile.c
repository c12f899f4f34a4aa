/* SPDX-License-Identifier: BSD-3-Clause */
/* Reconcile: from what is wanted of a job to what is desired of each of its tasks.
 *
 * A command changes the job and then calls job_retarget(), which goes over all tasks once. What can
 * be told at once is: ends, in-place changes, tasks that do not run anyway. What would take a
 * running task down is left for the rollout (rollout.c): such a task is *outdated* (its desire has
 * an older version or generation than the job).
 *
 * Generations: each is the number of the event that asked for a new run, so that a later wish
 * always has the higher one, whatever was forgotten in between.
 *
 * A task that is too much is told to end, and when its agent says that it has, the agent is told to
 * forget it and so do we; only then may there be a new task of its name. The new one has a higher
 * `born`, by which its reports are told from those of its namesake. */

#include <inttypes.h>
#include <stdlib.h>

#include "core/order.h"
#include "core/preempt.h"

static void say_task(struct turn *turn, enum event_kind kind, const struct job *job, uint32_t index,
        const struct node *node, const char *message)
{
        char text[160];
        struct event event = { .kind = (int) kind,
                .job = job->name,
                .version = job_version_number(job),
                .run = RECORD_NULL,
                .node = node == NULL ? NULL : node->status.name };

        snprintf(text, sizeof text, "%s.%" PRIu32 " %s%s%s", job->name, index, message,
                node == NULL ? "" : " on node ", node == NULL ? "" : node->status.name);
        event.message = text;
        event.task = mem_printf("%s.%" PRIu32, job->name, index);
        turn_publish(turn, &event);
        free(event.task);
}

/* ---- One task */

/* Says what is wanted, if there is somebody who listens and something left to be told. */
static void task_send(struct turn *turn, const struct task *task)
{
        if (task->node == NULL || !task->node->connected || task->node == turn->answering ||
                task->synced || task->state == TASK_ENDED)
                return;
        effects_assign(turn->effects, task);
}

static void task_set_desire(
        struct turn *turn, struct job *job, struct task *task, const struct task_desire *desire)
{
        if (task->node == NULL && task->desire.version != desire->version)
                job->unmet = 0; /* the newer version was not tried on any node */
        if (!task_desire_equal(&task->desire, desire)) {
                task->going |=
                        task->state == TASK_RUNNING && desire_takes_down(desire, &task->desire);
                task->desire = *desire;
                task->synced = task->proven = false;
                task->told_at = turn->now;
                rollout_told(job, task);
                if (task->held != NULL && task->held != task_demand(task))
                        node_retake(task);
                task_touch(turn->c, job, task);
                task_send(turn, task);
        }
        task_recount(job, task);
}

static void task_set_state(struct turn *turn, struct job *job, struct task *task,
        enum task_state state, enum task_result result, const char *reason)
{
        task->state = (uint8_t) state;
        task->result = (int8_t) result;
        task->since = turn->now;
        task->next_run_at = 0;
        task->pid = 0;
        task->ready = task->unhealthy = task->parked = false;
        task->reported = true;
        text_replace(&task->reason, reason);
        text_replace(&task->status, NULL);
        task_touch(turn->c, job, task);
}

static struct task_desire newest_desire(const struct job *job, uint64_t generation)
{
        return (struct task_desire){ .run = true,
                .version = job_version_number(job),
                .restart_version = job->restart_version,
                .generation = generation };
}

bool task_stands_in(const struct task *task)
{
        return task->job->surge > 0 && task->index >= job_count(task->job) - task->job->surge;
}

bool task_is_held(const struct task *task)
{
        return job_holds(task->job) && !task_stands_in(task);
}

/* Its node has no room for the newest version: the rollout finds another one. */
static bool is_too_large(const struct task *task)
{
        return task->held != NULL && task->desire.version != job_version_number(task->job) &&
               place_stays(task->job->cluster, task) != REFUSAL_NONE;
}

/* The newest, but some keep their version. */
static struct task_desire next_desire(const struct task *task, uint64_t generation)
{
        struct task_desire desire = newest_desire(task->job, generation);

        if ((task_is_held(task) || is_too_large(task)) &&
                job_spec_of(task->job, task->desire.version) != NULL) {
                desire.version = task->desire.version;
                desire.restart_version = task->desire.restart_version;
        }
        return desire;
}

/* It has no node any more: its agent, if it listens, forgets it. */
static void task_give_up_node(struct turn *turn, struct task *task)
{
        struct node *node = task->node;

        if (node != NULL && node->connected && node != turn->answering)
                effects_forget(
                        turn->effects, node->status.name, task_id(task->job, task->index), false);
        task_set_node(task, NULL);
        task->runs_before = task->runs;
        task->restarts_before = task->restarts;
        task->signal = task->exit_code = 0;
        task->has_exit_code = false;
        task->started_at = 0;
        task->log_bytes = RECORD_NULL;
        task->version = 0;
        task->answered = task->namesake = task->synced = task->moving = task->overdue = false;
        task->ousted = false;
}

/* It waits for a node, as if it were new: whatever is told of it from now on by the node that it
 * had is of a namesake. */
void task_queue_anew(struct turn *turn, struct task *task)
{
        struct task_desire desire;

        task_give_up_node(turn, task);
        desire = next_desire(task, turn->c->index + 1);
        task_set_state(turn, task->job, task, TASK_QUEUED, RESULT_NONE, NULL);
        task->born = desire.generation;
        task_set_desire(turn, task->job, task, &desire);
}

/* Whether a task that has ended is begun anew where it was: if there is room. */
static bool task_stays(struct turn *turn, const struct task *task)
{
        const struct job_spec *spec = job_current_spec(task->job);

        if (task->node == NULL || (job_spec_is_batch(spec) && spec->batch.parallel > 0) ||
                order_must_wait(task->job))
                return false;
        return task->state != TASK_ENDED ||
               place_refusal(turn->c, task->job, task->node, NULL) == REFUSAL_NONE;
}

void task_begin_anew(struct turn *turn, struct job *job, struct task *task, uint64_t generation)
{
        struct task_desire desire = next_desire(task, generation);
        bool ended = task->state == TASK_ENDED;

        task->restarts_asked = task->restarts;
        if (ended && !task_stays(turn, task)) {
                task_queue_anew(turn, task);
                return;
        }
        if (ended) {
                task_set_state(turn, job, task, TASK_PLACED, RESULT_NONE, NULL);
                task->rule = CHOICE_KEPT;
        }
        task->moving = false;
        task_set_desire(turn, job, task, &desire);
}

void task_end(struct turn *turn, struct job *job, struct task *task)
{
        struct task_desire desire = task->desire;

        if (task->moving) /* it was told to end already */
                task_touch(turn->c, job, task);
        desire.run = task->moving = false;
        if (task->state != TASK_ENDED) {
                if (task->node == NULL)
                        task_set_state(turn, job, task, TASK_ENDED, RESULT_STOPPED,
                                "was asked to stop before it began");
                task_set_desire(turn, job, task, &desire);
        }
        task_recount(job, task);
}

/* It shall not run, and its agent has never heard of it, or not any more. */
void task_settle_gone(struct turn *turn, struct job *job, struct task *task)
{
        if (task->runs == 0)
                task_set_state(turn, job, task, TASK_ENDED, RESULT_STOPPED,
                        "was asked to stop before it began");
        else
                task_set_state(turn, job, task, TASK_ENDED, RESULT_UNKNOWN,
                        "was asked to stop, and its agent has nothing about it any more");
        task_recount(job, task);
}

/* It shall run, and its agent has nothing of it: it will have. */
void task_place_again(struct turn *turn, struct job *job, struct task *task)
{
        task->synced = false;
        if (task->state != TASK_PLACED)
                task_set_state(turn, job, task, TASK_PLACED, RESULT_NONE, NULL);
        task->reported = true;
        task_recount(job, task);
}

void task_desire_newest(struct turn *turn, struct task *task, uint64_t generation)
{
        struct task_desire desire = newest_desire(task->job, generation);

        task->restarts_asked = task->restarts;
        task_set_desire(turn, task->job, task, &desire);
}

void task_put(struct turn *turn, struct task *task, const struct choice *choice)
{
        if (choice->node->strangers != NULL) /* then it is its own predecessor */
                stranger_drop(turn->c, choice->node, task_id(task->job, task->index));
        task_set_node(task, choice->node);
        task->namesake = task->met && choice->node == turn->answering;
        task->met = false;
        task->rule = (uint8_t) choice->rule;
        task->fitting = choice->fitting;
        task->load = choice->load;
        task_set_state(turn, task->job, task, TASK_PLACED, RESULT_NONE, NULL);
        task_recount(task->job, task);
        preempt_put(task);
        task_send(turn, task);
}

static void end_as(
        struct turn *turn, struct task *task, enum task_result result, const char *reason)
{
        struct task_desire desire = task->desire;

        desire.run = task->moving = false;
        task_set_state(turn, task->job, task, TASK_ENDED, result, reason);
        task_set_desire(turn, task->job, task, &desire);
}

void task_fail(struct turn *turn, struct task *task, const char *reason)
{
        end_as(turn, task, RESULT_FAILED, reason);
}

void task_reject(struct turn *turn, struct task *task, const char *reason)
{
        end_as(turn, task, RESULT_REJECTED, reason);
        say_task(turn, EVENT_TASK_REJECTED, task->job, task->index, NULL, reason);
}

/* ---- Leaving a node */

void task_leave(struct turn *turn, struct task *task)
{
        struct task_desire desire = task->desire;

        task->moving = true; /* a node that is away is told when it is back, or lost in its time */
        desire.run = false;
        task_set_desire(turn, task->job, task, &desire);
        task_touch(turn->c, task->job, task);
        task_recount(task->job, task);
}

bool task_follow_leave(struct turn *turn, struct task *task)
{
        bool done = job_spec_is_batch(job_current_spec(task->job)) && task->state == TASK_ENDED &&
                    task->result == RESULT_SUCCEEDED;

        if (!task->moving || task->state != TASK_ENDED)
                return false;
        task->moving = false;
        if (done) { /* just before it was told */
                task_touch(turn->c, task->job, task);
                return false;
        }
        task_queue_anew(turn, task);
        return true;
}

struct task *job_add_task(
        struct turn *turn, struct job *job, uint32_t index, uint64_t generation, bool stopped)
{
        struct task *task = job_make_task(job, index);

        task->desire = newest_desire(job, generation);
        if (task_is_held(task) && job_spec_of(job, job->rolled_version) != NULL)
                task->desire.version = task->desire.restart_version = job->rolled_version;
        task->born = generation;
        task->told_at = turn->now;
        task->stopped = stopped;
        task->since = turn->now;
        task_touch(turn->c, job, task);
        task_recount(job, task);
        if (!task_wanted(job, task))
                task_end(turn, job, task);
        return task;
}

static void say_created(struct turn *turn, struct job *job, uint32_t index)
{
        say_task(turn, EVENT_TASK_CREATED, job, index, NULL, "is new");
}

bool task_let_go(struct turn *turn, struct job *job, struct task *task)
{
        uint32_t index = task->index;
        struct node *node = task->node;
        bool stopped = task->stopped;

        if (!task->leaving || task->state != TASK_ENDED)
                return false;
        /* An agent that is away drops what nobody wants when it comes back; only the wish to have
         * the logs deleted has to wait until it listens. */
        if (node != NULL && job->purge && (!node->connected || node == turn->answering)) {
                turn->c->purge_due |= node->connected;
                return false;
        }
        if (node != NULL && node->connected && node != turn->answering) {
                char *id = mem_strdup(task_id(job, index));

                effects_forget(turn->effects, node->status.name, id, job->purge);
                free(id);
        }
        job_drop_task(turn->c, job, task);
        if (job->removing)
                return true;
        say_task(turn, EVENT_TASK_REMOVED, job, index, node, "is gone");
        if (!job_per_node(job) && job_rolls(job) && index < job_count(job)) {
                job_add_task(turn, job, index, turn->c->index + 1, stopped);
                say_created(turn, job, index);
        }
        return true;
}

void turn_purge(struct turn *turn)
{
        struct task *task;

        turn->c->purge_due = false;
        for (struct job *job = turn->c->jobs; job != NULL; job = job->hh.next) {
                if (!job->purge)
                        continue;
                JOB_FOREACH_TASK (job, task)
                        task_let_go(turn, job, task);
        }
}

/* ---- A job after a command */

/* Whether a process begun with @version can take the newest one without a new run. The answer for
 * the version asked about last is kept: tasks come in rows of the same. */
struct in_place {
        uint32_t version;
        bool possible;
};

static bool can_take_in_place(const struct job *job, uint32_t version, struct in_place *last)
{
        const struct job_spec *from;
        struct job_diff diff;

        if (version == job_version_number(job))
                return true;
        if (version == last->version)
                return last->possible;
        from = job_spec_of(job, version);
        *last = (struct in_place){ .version = version };
        if (from == NULL)
                return false;
        job_spec_diff(from, job_current_spec(job), &diff);
        last->possible = !diff.needs_restart;
        job_diff_done(&diff);
        return last->possible;
}

static void retarget_wanted(struct turn *turn, struct job *job, struct task *task, enum anew anew,
        uint64_t generation, struct in_place *last)
{
        bool ended = task->state == TASK_ENDED, well = ended && task->result == RESULT_SUCCEEDED;
        bool was_stopped = !well && !task->desire.run && task->result != RESULT_REJECTED;
        bool taken_up = ended ? anew == ANEW_ALL || (anew == ANEW_FAILED && !well) || was_stopped
                              : !task->desire.run;
        struct task_desire desire = task->desire;

        if (task->moving) /* with the newest */
                return;
        if (taken_up) {
                task_begin_anew(turn, job, task, generation);
                return;
        }
        if (can_take_in_place(job, task->desire.version, last) && !is_too_large(task)) {
                desire.version = job_version_number(job);
                task_set_desire(turn, job, task, &desire);
        }
}

static void create_missing(struct turn *turn, struct job *job, uint64_t generation)
{
        uint32_t count = job_count(job);

        if (job_is_cron(job) && !job->slot_begins)
                return;
        if (job->removing || job->counts[MARK_EXISTS] - job->counts[MARK_LEAVING] >= count)
                return;
        for (uint32_t i = 0; i < count; i++)
                if (job_task(job, i) == NULL)
                        job_add_task(turn, job, i, generation, false);
}

static bool is_too_many(const struct job *job, const struct task *task, uint32_t count)
{
        return job->removing || (job_per_node(job) ? task->pin == NULL : task->index >= count);
}

void job_retarget(struct turn *turn, struct job *job, enum anew anew, uint64_t generation)
{
        uint32_t count;
        struct in_place last = { 0 };
        struct task *task;

        pins_update(turn->c, job);
        if (!job_runs(job)) /* all of them are down: there is nobody to stand in for */
                job->surge = 0;
        job->slot_count = MIN(job->slot_count, job_current_spec(job)->count);
        count = job_count(job);
        job->roll_next = job->unmet = 0;
        JOB_FOREACH_TASK (job, task) {
                if (!task->leaving && is_too_many(job, task, count)) {
                        task->leaving = true;
                        task->stopped = false; /* from now on: whether the next one shall be */
                        task_touch(turn->c, job, task);
                }
                if (task_wanted(job, task)) {
                        if (job_rolls(job) || job->slot_begins)
                                retarget_wanted(turn, job, task, anew, generation, &last);
                        continue;
                }
                task_end(turn, job, task);
                task_let_go(turn, job, task);
        }
        job_recount(job);
        create_missing(turn, job, generation);
        job_touch_row(turn->c, job);
}

void job_say_created(struct turn *turn, struct job *job, uint64_t generation)
{
        const struct task *task;

        JOB_FOREACH_TASK (job, task)
                if (task->born == generation)
                        say_created(turn, job, task->index);
}

/* ---- What follows by and by */

static void job_advance(struct turn *turn, struct job *job)
{
        kinds_advance(turn, job);
        queue_update(turn->c, job);
        if (!job_runs(job))
                return;
        rollout_scan(turn, job);
        leave_advance(turn, job);
        rollout_advance(turn, job);
}

void job_set_due(struct job *job)
{
        usec_t at = job_runs(job) && job_rolls(job) ? rollout_next(job) : USEC_NEVER;

        timers_set(&job->cluster->timers, &job->due, MIN(at, kinds_next(job)));
}

/* ---- The end of a turn */

static void write_rows(struct turn *turn, struct job *job)
{
        for (size_t chunk = 0; chunk < job->chunks_allocated; chunk++)
                if (job->chunk_dirty[chunk]) {
                        job->chunk_dirty[chunk] = 0;
                        rows_write_chunk(turn->effects, job, chunk);
                }
        if (job->row_dirty)
                rows_write_job(turn->effects, job);
        job->row_dirty = false;
}

/* Whatever ends on a node, or leaves it, has it become freer. */
static void check_drained(struct turn *turn)
{
        for (struct node *node = turn->c->freed; node != NULL; node = node->freed_next)
                leave_check_drained(turn, node);
}

void turn_advance(struct turn *turn)
{
        struct cluster *c = turn->c;

        do {
                while (c->dirty != NULL) {
                        struct job *job = c->dirty;

                        c->dirty = job->dirty_next;
                        job->dirty = false;
                        job_advance(turn, job);
                        job_set_due(job);
                }
                if (c->freed != NULL) {
                        check_drained(turn);
                        leave_retry(turn);
                        rollout_retry(turn);
                }
                pins_run(turn);
                order_run(turn);
                queue_run(turn);
        } while (c->order_due || c->dirty != NULL || c->freed != NULL || c->pins_due != NULL);

        while (c->unstored != NULL) {
                struct job *job = c->unstored;

                c->unstored = job->unstored_next;
                job->unstored = false;
                if (!turn->effects->unstored)
                        write_rows(turn, job);
                if (job->removing && job->counts[MARK_EXISTS] == 0) {
                        turn_say(turn, EVENT_JOB_REMOVED, job, "is gone");
                        rows_delete_job(turn->effects, job);
                        job_free(c, job);
                }
        }
}
