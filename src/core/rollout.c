/* SPDX-License-Identifier: BSD-3-Clause */
/* Rollout: how a job's tasks come to its newest version.
 *
 * Tasks that are *outdated* are moved to it in the order of their indexes; those that were told and
 * are not settled yet are *in flight*. Stop-first, no more than `update.parallel` are in flight, so
 * that no more are down. Start-first, as many *surge* tasks are made first: they have the indexes
 * behind the job's count and the newest version, stand in for those that are being replaced, and go
 * when all have been (there is none of a job with one task per node). Where there is room for some
 * of them only, these are all. A canary is a surge that has
 * to be promoted by a person before any other task is touched; as many canaries as tasks are a
 * blue/green deployment.
 *
 * Tasks that are new and wait for a node are placed first, and are in flight then: a rollout that
 * began before would have more down than it may. Those for which there is no room are not waited
 * for.
 *
 * A task is settled when it runs, is ready, and was so for `update.healthy`. Between two steps
 * there is `update.pause`. The rollout halts when a task that was told ends badly or does not
 * settle within `update.deadline`; the former is no flag but follows from the counts, and so ends
 * when the task is taken up again, is stopped by a person, or a new spec is applied. With
 * `update.revert` a rollout that halts is taken back: the spec that all tasks had last is put in
 * force again as a new version. That is done once; it does not revert a revert.
 *
 * A task whose node cannot have the newest version leaves it (a node that is not allowed any more,
 * or too small for what it now asks for); one that runs does so only when there is room elsewhere,
 * and until then the rollout goes on without it.
 *
 * What cannot wait for an event because time alone brings it is looked for when job.roll_scan_at
 * has come; whoever makes something due earlier lowers that. */

#include <inttypes.h>
#include <stdlib.h>

#include "core/place.h"

static bool is_rolling(const struct job *job)
{
        return job->rolled_version < job_version_number(job);
}

bool job_holds(const struct job *job)
{
        return job_rolls(job) && is_rolling(job) && !job->promoted;
}

/* ---- What time brings */

static usec_t proven_at(const struct job *job, const struct task *task)
{
        return task->ready_at + job_current_spec(job)->update.healthy;
}

static usec_t overdue_at(const struct job *job, const struct task *task)
{
        return task->told_at + job_current_spec(job)->update.deadline;
}

void rollout_proves(struct job *job, const struct task *task)
{
        job->roll_scan_at = MIN(job->roll_scan_at, proven_at(job, task));
}

void rollout_told(struct job *job, const struct task *task)
{
        if (is_rolling(job) && job->roll_failed == NULL)
                job->roll_scan_at = MIN(job->roll_scan_at, overdue_at(job, task));
}

/* Ready for long enough? Returns when it will be, or USEC_NEVER. */
static usec_t prove(struct turn *turn, struct job *job, struct task *task)
{
        usec_t at = proven_at(job, task);

        if ((task->marks & BIT(MARK_PROVING)) == 0)
                return USEC_NEVER;
        if (at > turn->now)
                return at;
        task->proven = true;
        task_recount(job, task);
        return USEC_NEVER;
}

/* Told for too long? */
static usec_t watch(struct turn *turn, struct job *job, struct task *task)
{
        usec_t at = overdue_at(job, task);
        char span[TIME_TEXT_MAX];

        if (!is_rolling(job) || job->roll_failed != NULL ||
                task->desire.version != job_version_number(job) ||
                (task->marks & (BIT(MARK_INFLIGHT) | BIT(MARK_UNPLACED))) == 0)
                return USEC_NEVER;
        if (at > turn->now)
                return at;
        time_format_exact(span, job_current_spec(job)->update.deadline);
        job->roll_failed = mem_printf(
                "%s is not ready within %s (update.deadline)", task_id(job, task->index), span);
        job_touch_row(turn->c, job);
        return USEC_NEVER;
}

void rollout_scan(struct turn *turn, struct job *job)
{
        usec_t next = USEC_NEVER;
        struct task *task;

        if (!job_rolls(job) || job->roll_scan_at > turn->now)
                return;
        JOB_FOREACH_TASK (job, task) {
                next = MIN(next, prove(turn, job, task));
                next = MIN(next, watch(turn, job, task));
        }
        job->roll_scan_at = next;
}

usec_t rollout_next(const struct job *job)
{
        usec_t next = job->roll_scan_at;

        if (job->counts[MARK_MOVABLE] > 0 && job->roll_step_at > job->cluster->now)
                next = MIN(next, job->roll_step_at);
        return next;
}

/* The next scan is at once, and finds out what is due when. */
void rollout_set_clock(struct job *job, int64_t by)
{
        struct task *task;

        if (job->roll_step_at != 0)
                job->roll_step_at += (usec_t) by;
        if (job->roll_scan_at != USEC_NEVER)
                job->roll_scan_at = 0;
        JOB_FOREACH_TASK (job, task) {
                if (task->told_at != 0)
                        task->told_at += (usec_t) by;
                if (task->ready_at != 0)
                        task->ready_at += (usec_t) by;
        }
}

/* ---- Surge */

static void make_surge(struct turn *turn, struct job *job, uint32_t surge)
{
        job->surge = surge;
        job_retarget(turn, job, ANEW_NONE, turn->c->index + 1);
        turn_say(turn, EVENT_JOB_ROLLED, job,
                "%" PRIu32 " task%s with version %" PRIu32 " begin%s beside the others%s", surge,
                surge == 1 ? "" : "s", job_version_number(job), surge == 1 ? "s" : "",
                job->promoted ? "" : ", to be promoted by a person");
}

/* Those of the surge that stand in for others; also while they wait for their turn to be moved
 * themselves, because a person has restarted the job amid its rollout, or a newer version came, or
 * another count. */
static uint32_t surge_settled(const struct job *job)
{
        uint32_t count = job_count(job) - job->surge, settled = 0;

        for (uint32_t i = 0; i < job->surge; i++) {
                const struct task *task = job_task(job, count + i);

                settled += task != NULL &&
                           (task->marks & (BIT(MARK_SETTLED) | BIT(MARK_MOVABLE))) != 0;
        }
        return settled;
}

/* How many stand-ins there is no room for, beside others that stand in already: these are enough.
 * One that is dropped may leave its room to one that waits. */
static uint32_t surge_excess(const struct job *job)
{
        uint32_t count = job_count(job) - job->surge, waiting = 0;

        if (job->unmet == 0 || job_holds(job) || surge_settled(job) == 0)
                return 0;
        for (uint32_t i = 0; i < job->surge; i++) {
                const struct task *task = job_task(job, count + i);

                waiting += task != NULL && (task->marks & BIT(MARK_UNPLACED)) != 0;
        }
        return waiting;
}

static void surge_advance(struct turn *turn, struct job *job)
{
        const struct job_spec *spec = job_current_spec(job);
        size_t outdated = job->counts[MARK_MOVABLE];
        uint32_t excess;

        if (job_per_node(job)) /* there is no node for more */
                return;
        if (job->surge == 0 && outdated > 0 && job_holds(job))
                make_surge(turn, job, spec->update.canary);
        else if (job->surge == 0 && outdated > 0 && spec->update.order == UPDATE_START_FIRST)
                make_surge(turn, job, (uint32_t) MIN(outdated, spec->update.parallel));
        else if (job->surge > 0 && job->counts[MARK_OUTDATED] == 0 &&
                 job->counts[MARK_SETTLED] >= job_wanted(job)) {
                job->surge = 0;
                job_retarget(turn, job, ANEW_NONE, turn->c->index + 1);
        } else if (job->surge > 1 && (excess = surge_excess(job)) > 0) {
                job->surge -= excess;
                job_retarget(turn, job, ANEW_NONE, turn->c->index + 1);
        }
}

/* ---- Moving */

/* The newest version does not fit on its node. */
static void leave_for_room(struct turn *turn, struct task *task, enum refusal why)
{
        AUTO(mem_freep) char *id = mem_printf("%s.%" PRIu32, task->job->name, task->index);
        AUTO(mem_freep)
        char *text = mem_printf("%s leaves node %s: version %" PRIu32 " %s", id,
                task->node->status.name, job_version_number(task->job),
                why <= REFUSAL_CONSTRAINT  ? "may not be there"
                : why == REFUSAL_EXCLUSIVE ? "has a tag that another task there has"
                                           : "needs more than is free there");

        turn_publish(turn, &(struct event){ .kind = EVENT_TASK_MOVED,
                                   .job = task->job->name,
                                   .task = id,
                                   .node = task->node->status.name,
                                   .version = job_version_number(task->job),
                                   .run = RECORD_NULL,
                                   .message = text });
        task_leave(turn, task);
}

/* Moves a task to the newest version and generation, and to another node if need be. */
static void task_move(struct turn *turn, struct job *job, struct task *task)
{
        uint64_t generation = MAX(task->desire.generation, job->generation);
        enum refusal why = task->held == NULL ? REFUSAL_NONE : place_stays(turn->c, task);

        if (task->state == TASK_ENDED)
                task_begin_anew(turn, job, task, job->command);
        else if (why != REFUSAL_NONE)
                leave_for_room(turn, task, why);
        else
                task_desire_newest(turn, task, generation);
}

void rollout_unblock(struct job *job)
{
        if (job->roll_blocked == NULL)
                return;
        free(take_ptr(job->roll_blocked));
        job->cluster->blocked--;
        job->roll_next = 0;
}

static void block(struct job *job, const struct task *task, const struct place_refusals *refusals)
{
        struct buffer text = { 0 };

        if (job->roll_blocked != NULL)
                return;
        buffer_printf(&text, "%s cannot stay on node %s with version %" PRIu32 ", and ",
                task_id(job, task->index), task->node->status.name, job_version_number(job));
        place_put_refusals(&text, job_current_spec(job), refusals);
        job->roll_blocked = buffer_take(&text);
        job->cluster->blocked++;
        job->cluster->changes++;
}

void rollout_retry(struct turn *turn)
{
        for (struct job *job = turn->c->jobs; job != NULL && turn->c->blocked > 0;
                job = job->hh.next)
                if (job->roll_blocked != NULL) {
                        rollout_unblock(job);
                        job_touch(turn->c, job);
                }
}

/* Whether the task, which runs, can be moved: it goes on until there is room for it. */
static bool can_move(struct turn *turn, struct job *job, const struct task *task)
{
        struct place_refusals refusals = { 0 };

        if (task->held == NULL || place_stays(turn->c, task) == REFUSAL_NONE)
                return true;
        if (job->roll_blocked != NULL)
                return false;
        if (!job_spec_per_node(job_current_spec(job)) &&
                leave_room(turn, job, job_version_number(job), 1, &refusals) > 0)
                return true;
        block(job, task, &refusals);
        return false;
}

/* Whether one more task may have the newest version. Of a job with one task per node the first that
 * are moved are the canary; else those of the surge are. */
static bool canary_takes(const struct job *job)
{
        size_t told = job->counts[MARK_WANTED] - job->counts[MARK_OUTDATED];

        return !job_holds(job) ||
               (job_per_node(job) && told < job_current_spec(job)->update.canary);
}

/* Those that do not run anyway. */
static void move_stragglers(struct turn *turn, struct job *job)
{
        struct task *task;

        if (job->counts[MARK_STRAGGLER] == 0)
                return;
        JOB_FOREACH_TASK (job, task)
                if ((task->marks & BIT(MARK_STRAGGLER)) != 0 && canary_takes(job))
                        task_move(turn, job, task);
}

/* How many may be in flight now. */
static size_t room_to_move(const struct turn *turn, const struct job *job)
{
        uint32_t settled = surge_settled(job);

        if (settled < job->surge || job->roll_step_at > turn->now || queue_will_try(job))
                return 0;
        if (job_current_spec(job)->update.order == UPDATE_START_FIRST && job->surge > 0)
                return settled;
        return MAX(job_current_spec(job)->update.parallel, settled);
}

static void move_next(struct turn *turn, struct job *job)
{
        size_t room = room_to_move(turn, job);

        if (job->roll_stepping && job_current_spec(job)->update.pause > 0)
                room = 0; /* the whole step is waited for */
        while (job->counts[MARK_MOVABLE] > 0 && job->counts[MARK_INFLIGHT] < room &&
                job->roll_next < job->tasks_len && canary_takes(job)) {
                struct task *task = job->tasks[job->roll_next];

                if (task == NULL || (task->marks & BIT(MARK_MOVABLE)) == 0 ||
                        !can_move(turn, job, task)) {
                        job->roll_next++;
                        continue;
                }
                task_move(turn, job, task);
                job->roll_stepping = true;
        }
        if (job->roll_stepping && job->counts[MARK_INFLIGHT] == 0) {
                job->roll_stepping = false;
                job->roll_step_at = turn->now + job_current_spec(job)->update.pause;
        }
}

static void note_rolled(struct turn *turn, struct job *job)
{
        size_t wanted = job_wanted(job);

        if (!is_rolling(job) || job->surge > 0 || wanted == 0 || job->counts[MARK_SETTLED] < wanted)
                return;
        job->rolled_version = job_version_number(job);
        job->promoted = true;
        job->roll_scan_at = USEC_NEVER; /* nobody is waited for */
        free(take_ptr(job->roll_failed));
        job_touch_row(turn->c, job);
        if (wanted == 1)
                turn_say(turn, EVENT_JOB_ROLLED, job, "its task has version %" PRIu32,
                        job->rolled_version);
        else
                turn_say(turn, EVENT_JOB_ROLLED, job, "all %zu tasks have version %" PRIu32, wanted,
                        job->rolled_version);
}

/* ---- Taking back */

void rollout_put_failure(struct buffer *b, const struct job *job)
{
        const struct task *task;

        if (job->roll_failed != NULL) {
                buffer_puts(b, job->roll_failed);
                return;
        }
        JOB_FOREACH_TASK (job, task)
                if ((task->marks & BIT(MARK_ENDED_BADLY)) != 0) {
                        buffer_printf(b, "%s has failed%s%s", task_id(job, task->index),
                                task->reason != NULL ? ": " : "",
                                task->reason != NULL ? task->reason : "");
                        return;
                }
}

void rollout_to(struct turn *turn, struct job *job, uint32_t version, const char *why)
{
        struct job_spec *spec = job_spec_ref(job_spec_of(job, version));
        uint64_t generation = turn->c->index + 1;
        struct job_diff diff;

        job_spec_diff(job_current_spec(job), spec, &diff);
        job->command = generation;
        job_new_version(turn, job, spec, diff.needs_restart);
        job->promoted = true; /* it was good once */
        job->reverted = true;
        job_diff_done(&diff);
        job_spec_unref(spec);
        turn_say(turn, EVENT_JOB_REVERTED, job,
                "the spec of version %" PRIu32 " is in force again, as version %" PRIu32 ": %s",
                version, job_version_number(job), why);
        job_retarget(turn, job, ANEW_FAILED, generation);
}

static bool take_back(struct turn *turn, struct job *job)
{
        AUTO(buffer_done) struct buffer why = { 0 };
        uint32_t version = job->rolled_version;

        if (!job_current_spec(job)->update.revert || job->reverted || !is_rolling(job) ||
                job_spec_of(job, version) == NULL)
                return false;
        buffer_printf(&why, "version %" PRIu32 " was not good: ", job_version_number(job));
        rollout_put_failure(&why, job);
        rollout_to(turn, job, version, buffer_str(&why));
        return true;
}

void rollout_advance(struct turn *turn, struct job *job)
{
        if (!job_rolls(job)) {
                job->rolled_version = job_version_number(job);
                job->promoted = true;
                return;
        }
        if (job_halted(job) && !take_back(turn, job))
                return;
        surge_advance(turn, job);
        if (canary_takes(job)) {
                move_stragglers(turn, job);
                move_next(turn, job);
        }
        note_rolled(turn, job);
}
