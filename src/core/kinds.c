/* SPDX-License-Identifier: BSD-3-Clause */
/* Kinds: what jobs of some kinds have beside their tasks.
 *
 * Batch: a job that runs to its end has begun when the first of its tasks is there or taken up
 * again, and has ended when none is left. All of it may take as long as `batch.deadline` says; then
 * it has *overrun*, which is like being stopped, but counts as failed. So long after its end as
 * `batch.keep` says it is removed, unless a file defines it, which would bring it back.
 *
 * Templates have no tasks. Others are made of them: cluster_command_dispatch() makes a job that is
 * as any other, and whose source is the template. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "core/cluster-internal.h"

bool job_is_template(const struct job *job)
{
        return job_current_spec(job)->template;
}

bool job_rolls(const struct job *job)
{
        return !job_is_template(job) && !job_is_cron(job);
}

/* ---- Batch */

static bool is_batch(const struct job *job)
{
        return job_spec_is_batch(job_current_spec(job)) && !job_is_template(job);
}

static bool is_kept(const struct job *job)
{
        const struct job_spec *spec = job_current_spec(job);

        return spec->kind != JOB_BATCH || spec->batch.keep == 0 || job->ended_at == 0 ||
               job->stopped || job->removing || strncmp(job->source, "file:", 5) == 0;
}

static usec_t deadline_of(const struct job *job)
{
        usec_t span = job_current_spec(job)->batch.deadline;

        return span == 0 || job->begun_at == 0 || !job_runs(job) ? USEC_NEVER
                                                                 : job->begun_at + span;
}

usec_t kinds_next(const struct job *job)
{
        usec_t at = schedule_next(job);

        if (!is_batch(job))
                return at;
        at = MIN(at, deadline_of(job));
        if (!is_kept(job))
                at = MIN(at, job->ended_at + job_current_spec(job)->batch.keep);
        return at;
}

void kinds_begin_anew(struct job *job)
{
        job->overran = false;
        job->begun_at = job->ended_at = 0;
}

void kinds_taken_up(struct job *job, usec_t now)
{
        if (job_runs(job))
                return;
        if (job->stopped || job->removing)
                schedule_reset(job, now);
        if (job->removing)
                job->slot_count = 0;
        kinds_begin_anew(job);
}

static void note_begin_and_end(struct turn *turn, struct job *job)
{
        bool active = job->counts[MARK_ACTIVE] > 0;

        if (active && job->begun_at == 0) {
                job->begun_at = turn->now;
                job->ended_at = 0;
        } else if (!active && job->begun_at != 0) {
                job->begun_at = 0;
                job->ended_at = turn->now;
        } else
                return;
        job_touch_row(turn->c, job);
}

static void overrun(struct turn *turn, struct job *job)
{
        size_t left = job->counts[MARK_ACTIVE];
        char span[TIME_TEXT_MAX];

        turn_say(turn, EVENT_JOB_DEADLINE, job,
                "took longer than %s (batch.deadline) and has failed: %zu task%s to end",
                time_format_exact(span, job_current_spec(job)->batch.deadline), left,
                left == 1 ? "" : "s");
        job->overran = true;
        job_retarget(turn, job, ANEW_NONE, turn->c->index + 1);
}

static void remove_ended(struct turn *turn, struct job *job)
{
        char span[TIME_TEXT_MAX];

        turn_say(turn, EVENT_JOB_REMOVED, job, "is removed: it ended %s ago (batch.keep)",
                time_format_exact(span, job_current_spec(job)->batch.keep));
        job->removing = true;
        job_retarget(turn, job, ANEW_NONE, turn->c->index + 1);
}

void kinds_advance(struct turn *turn, struct job *job)
{
        schedule_advance(turn, job);
        if (!is_batch(job) || job->removing)
                return;
        note_begin_and_end(turn, job);
        if (deadline_of(job) <= turn->now)
                overrun(turn, job);
        else if (!is_kept(job) && job->ended_at + job_current_spec(job)->batch.keep <= turn->now)
                remove_ended(turn, job);
}

uint32_t task_retries(const struct task *task)
{
        const struct job_spec *spec = job_current_spec(task->job);

        if (!job_spec_is_batch(spec) || spec->batch.retries == JOB_RETRIES_ANY ||
                task->restarts_before < task->restarts_asked)
                return 0;
        return task->restarts_before - task->restarts_asked;
}

/* Times of the wall clock move with it, but for a timetable, which is about the clock itself. */
void kinds_clock_set(struct cluster *c, int64_t by)
{
        for (struct job *job = c->jobs; job != NULL; job = job->hh.next) {
                if (job->begun_at + job->ended_at != 0)
                        job_touch_row(c, job);
                if (job->begun_at != 0)
                        job->begun_at += (usec_t) by;
                if (job->ended_at != 0)
                        job->ended_at += (usec_t) by;
                if (job_is_cron(job))
                        job_touch(c, job);
        }
}

/* ---- Templates */

int kinds_check_runs(const struct job *job, struct error *err)
{
        if (!job_is_template(job))
                return 0;
        return error_set(err, ERR_CONFLICT,
                "%s is a template: `reeve dispatch %s` makes jobs of it", job->name, job->name);
}

/* The spec under another name, and no template. */
static int spec_of_name(
        const struct job_spec *spec, const char *name, struct job_spec **ret, struct error *err)
{
        json_t *object = job_spec_to_json(spec);
        int r;

        json_object_set_new(object, "template", json_false());
        r = job_spec_from_json(name, object, ret, err);
        json_decref(object);
        return r;
}

/* "web-3": the next number that is free. Freed by the caller. */
static char *next_name(const struct cluster *c, const struct job *template, uint32_t *number)
{
        for (*number = template->dispatched + 1;; (*number)++) {
                char *name = mem_printf("%s-%" PRIu32, template->name, *number);

                if (job_find(c, name) == NULL)
                        return name;
                free(name);
        }
}

static int find_template(struct turn *turn, const char *target, struct job **ret, struct error *err)
{
        struct task *task;

        if (cluster_find_target(turn->c, target, ret, &task, err) < 0)
                return -1;
        if (task != NULL || !job_is_template(*ret))
                return error_set(
                        err, ERR_CONFLICT, "%s is not a template: it runs itself", (*ret)->name);
        if ((*ret)->removing)
                return error_set(err, ERR_CONFLICT, "job %s is being removed", (*ret)->name);
        return 0;
}

int cluster_command_dispatch(
        struct turn *turn, const struct cluster_event *event, struct error *err)
{
        AUTO(job_spec_unrefp) struct job_spec *spec = NULL;
        AUTO(mem_freep) char *name = NULL, *source = NULL;
        struct job *template;
        uint32_t number = 0;

        if (find_template(turn, event->target, &template, err) < 0)
                return -1;
        name = event->name != NULL ? mem_strdup(event->name)
                                   : next_name(turn->c, template, &number);
        if (job_find(turn->c, name) != NULL)
                return error_set(err, ERR_CONFLICT, "there is a job %s already", name);
        if (spec_of_name(event->spec != NULL ? event->spec : job_current_spec(template), name,
                    &spec, err) < 0)
                return -1;
        if (number > 0) {
                template->dispatched = number;
                job_touch_row(turn->c, template);
        }
        source = mem_printf("%s%s", SOURCE_TEMPLATE, template->name);
        snprintf(turn->effects->dispatched, sizeof turn->effects->dispatched, "%s", name);
        cluster_command_make(turn, spec, source);
        return 0;
}
