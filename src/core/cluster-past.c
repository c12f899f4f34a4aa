/* SPDX-License-Identifier: BSD-3-Clause */
/* Past: what to do when our store is older than what an agent knows.
 *
 * What an agent is told is durable here before it is sent. So no agent knows a newer desire than
 * ours, unless our store was replaced by an older one: a snapshot was restored, or a copy of the
 * disk. Then numbers are about to be given a second time: versions of jobs and generations that
 * mean one thing to us and another to the agent. When an agent connects and tells of such a desire,
 *
 * - event numbers, and with them generations, go on behind the greatest it knows, and each job's
 *   version behind the greatest it knows: the newest spec gets a new number;
 * - a service that was changed after the snapshot begins anew as it stands here, whatever it runs:
 *   that may have the same version number and be something else;
 * - a batch that has ended has ended, and one that runs with our version runs on: work that was
 * done is not done twice.
 *
 * What the agent does not know any more, and what we do not, needs no rule of its own: the one is
 * begun, the other stopped, as with any agent that connects. An agent that is away while a job gets
 * a new version can still know that number for another spec; so it is best to let the agents
 * connect before changing jobs. */

#include <stdio.h>

#include "core/cluster-internal.h"

/* What JSON carries exactly: no agent can make us count from where there are no more numbers. */
#define NUMBER_MAX ((uint64_t) 1 << 53)

/* @r is not of a namesake. */
static bool is_ahead(const struct task *task, const struct cluster_report *r)
{
        const struct task_desire *ours = &task->desire, *theirs = &r->desire;

        if (theirs->generation < task->born)
                return false;
        return theirs->generation > ours->generation || theirs->version > ours->version ||
               theirs->restart_version > ours->restart_version ||
               /* each begin after a stop has a generation of its own */
               (theirs->generation == ours->generation && ours->run && !theirs->run);
}

/* All that are ahead are found before anything is changed by which they are told. */
static size_t find_ahead(struct turn *turn, struct node *node, const struct cluster_event *event)
{
        size_t found = 0;

        for (size_t i = 0; i < event->reports_len; i++) {
                const struct cluster_report *r = &event->reports[i];
                struct job *job;
                struct task *task = node_find_reported(turn, node, r->status.id, &job);

                if (r->desire.generation <= NUMBER_MAX)
                        turn->c->index = MAX(turn->c->index, r->desire.generation);
                if (task == NULL || !is_ahead(task, r))
                        continue;
                task->ahead = true;
                found++;
        }
        return found;
}

/* The newest spec once more, under a number that the agent cannot know. */
static void pass_version(struct turn *turn, struct job *job, uint32_t known)
{
        if (known <= job_version_number(job) || known == UINT32_MAX)
                return;
        job_add_version(job, known + 1, job_current_spec(job));
        job_retarget(turn, job, ANEW_NONE, turn->c->index);
}

void past_look(struct turn *turn, struct node *node, const struct cluster_event *event)
{
        size_t found = find_ahead(turn, node, event);
        char text[200];

        if (found == 0)
                return;
        snprintf(text, sizeof text,
                "knows of %zu task%s what the store does not: it is from the past (restored?); "
                "what was changed since is changed back",
                found, found == 1 ? "" : "s");
        node_say(turn, EVENT_STORE, node, text);
        for (size_t i = 0; i < event->reports_len; i++) {
                const struct cluster_report *r = &event->reports[i];
                struct job *job;
                const struct task *task = node_find_reported(turn, node, r->status.id, &job);

                if (task != NULL && task->ahead)
                        pass_version(turn, job, r->desire.version);
        }
}

static bool is_finite(const struct job *job)
{
        enum job_kind kind = job_current_spec(job)->kind;

        return kind == JOB_BATCH || kind == JOB_CRON;
}

/* Whether what the agent tells counts, though it was begun or ended by wishes we know nothing of.
 */
static bool counts(const struct job *job, const struct task *task, const struct cluster_report *r)
{
        if (!is_finite(job))
                return false;
        if (r->status.state == TASK_ENDED)
                return r->status.result != RESULT_STOPPED;
        return task->state == TASK_ENDED ||
               (r->status.version > 0 && job_spec_of(job, (uint32_t) r->status.version) != NULL);
}

void past_settle(
        struct turn *turn, struct job *job, struct task *task, const struct cluster_report *r)
{
        if (!task->ahead)
                return;
        task->ahead = false;
        if (counts(job, task, r)) {
                task->desire.generation = MAX(task->desire.generation, r->desire.generation);
                task_touch(turn->c, job, task);
        } else if (task->desire.run) {
                task_begin_anew(turn, job, task, turn->c->index);
        }
}
