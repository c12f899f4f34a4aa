/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands: what people and job files ask of the cluster.
 *
 * Each checks first and changes then: a command that fails has changed nothing. Each ends with one
 * event that says what was asked and what follows from it; its number is the generation of the runs
 * that the command asks for. A job belongs to the source that applied it, `api` or a file; stop and
 * restart are open to people for any job, since they say nothing about its spec.
 *
 * Apply means "this shall run": by hand it takes a stopped job up again even if nothing changed. A
 * job file that is merely read again (each start of the server does) leaves a stopped job alone. A
 * job that is applied while it is being removed is not removed any more: its old tasks end, and new
 * ones take their places one by one. */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/cluster-internal.h"

#define SOURCE_API  "api"
#define SOURCE_FILE "file:"

static const char *source_of(const struct cluster_event *event)
{
        return event->source != NULL ? event->source : SOURCE_API;
}

static bool is_api(const char *source)
{
        return strcmp(source, SOURCE_API) == 0;
}

/* The path of a file source. */
static const char *source_path(const char *source)
{
        return strncmp(source, SOURCE_FILE, 5) == 0 ? source + 5 : source;
}

/* The template that it names, or NULL. */
static const char *source_template(const char *source)
{
        size_t len = strlen(SOURCE_TEMPLATE);

        return strncmp(source, SOURCE_TEMPLATE, len) == 0 ? source + len : NULL;
}

/* @verb is what the source wants to do with the job: "change it". */
static int check_source(
        const struct job *job, const char *source, const char *verb, struct error *err)
{
        if (strcmp(job->source, source) == 0)
                return 0;
        if (source_template(job->source) != NULL)
                return error_set(err, ERR_CONFLICT,
                        "job %s was made of the template %s: remove it first", job->name,
                        source_template(job->source));
        if (is_api(source))
                return error_set(err, ERR_CONFLICT, "job %s comes from %s: %s there", job->name,
                        source_path(job->source), verb);
        if (is_api(job->source))
                return error_set(err, ERR_CONFLICT,
                        "job %s was applied by hand: remove it first, then %s can define it",
                        job->name, source_path(source));
        return error_set(err, ERR_CONFLICT, "job %s is defined in %s and in %s: only one may",
                job->name, source_path(job->source), source_path(source));
}

/* The same for what people may do, too, with a job that was made of a template. */
static int check_owner(
        const struct job *job, const char *source, const char *verb, struct error *err)
{
        if (is_api(source) && source_template(job->source) != NULL)
                return 0;
        return check_source(job, source, verb, err);
}

static int check_not_removing(const struct job *job, struct error *err)
{
        if (job->removing)
                return error_set(err, ERR_CONFLICT, "job %s is being removed", job->name);
        return 0;
}

/* Every command that asks for new runs calls this first, and publishes its event right after. */
static uint64_t next_generation(const struct turn *turn)
{
        return turn->c->index + 1;
}

/* ---- Apply */

#define VALUE_MAX 60

/* A value as people write it: text without its quotes, cut where it gets long. */
static void put_value(struct buffer *text, const char *json)
{
        size_t len = strlen(json);

        if (len >= 2 && json[0] == '"' && strchr(json, '\\') == NULL) {
                json++;
                len -= 2;
        }
        if (len <= VALUE_MAX) {
                buffer_put(text, json, len);
                return;
        }
        for (len = VALUE_MAX; len > 0 && ((unsigned char) json[len] & 0xc0) == 0x80;)
                len--;
        buffer_put(text, json, len);
        buffer_puts(text, "…");
}

/* "count 2 -> 3, restart.delay 1s -> 2s". Values of the environment are nobody's business. */
static void put_changes(struct buffer *text, const struct job_diff *diff)
{
        for (size_t i = 0; i < diff->len; i++) {
                const struct job_change *change = &diff->changes[i];

                buffer_printf(text, "%s%s", i == 0 ? "" : ", ", change->field);
                if (strcmp(change->field, "env") == 0)
                        continue;
                buffer_putc(text, ' ');
                put_value(text, change->from);
                buffer_puts(text, " -> ");
                put_value(text, change->to);
        }
}

static void put_source(struct buffer *text, const char *source)
{
        if (source_template(source) != NULL)
                buffer_printf(text, " (made of the template %s)", source_template(source));
        else if (!is_api(source))
                buffer_printf(text, " (%s)", source_path(source));
}

static void publish_applied(struct turn *turn, struct job *job, const struct buffer *text)
{
        turn_say(turn, EVENT_JOB_APPLIED, job, "%s", buffer_str(text));
        turn->effects->version = job_version_number(job);
}

/* "3 tasks" */
static void put_tasks(struct buffer *text, const struct job *job)
{
        const struct job_spec *spec = job_current_spec(job);

        if (job_is_template(job))
                buffer_puts(text, "a template, of which others are made");
        else if (job_per_node(job))
                buffer_puts(text, "one task per node");
        else
                buffer_printf(text, "%" PRIu32 " task%s", spec->count, plural(spec->count));
        if (job_is_cron(job))
                buffer_puts(text, " at each slot");
}

void cluster_command_make(struct turn *turn, struct job_spec *spec, const char *source)
{
        AUTO(buffer_done) struct buffer text = { 0 };
        uint64_t generation = next_generation(turn);
        struct job *job = job_new(turn->c, spec->name);

        job->source = mem_strdup(source);
        job->command = generation;
        job->restart_version = job->rolled_version = 1;
        job->since = turn->now;
        job_add_version(job, 1, spec);
        schedule_changed(job, NULL, turn->now);
        job_retarget(turn, job, ANEW_NONE, generation);

        buffer_puts(&text, "version 1: ");
        put_tasks(&text, job);
        put_source(&text, source);
        publish_applied(turn, job, &text);
}

static bool is_count_only(const struct job_diff *diff)
{
        return diff->len == 1 && strcmp(diff->changes[0].field, "count") == 0;
}

/* Which tasks that have ended run anew with what was changed. */
static enum anew anew_by_change(const struct job *job, const struct job_diff *diff)
{
        enum job_state state = job_state_of(job);
        bool over = state == JOB_SUCCEEDED || state == JOB_FAILED;

        if (diff->needs_restart)
                return ANEW_ALL;
        if (diff->len == 0)
                return ANEW_FAILED;
        if (is_count_only(diff))
                return ANEW_NONE;
        return over && job_current_spec(job)->kind == JOB_BATCH ? ANEW_ALL : ANEW_FAILED;
}

/* Asked before the tasks are told: those that there are now will have to be replaced. */
static void put_how(struct buffer *text, const struct job *job, const struct job_diff *diff)
{
        if (job_is_template(job))
                return;
        if (job_is_cron(job))
                buffer_puts(text, "; from its next slot on");
        else if (diff->needs_restart && MIN(job->counts[MARK_EXISTS], job_count(job)) > 1)
                buffer_printf(text, "; new runs, %" PRIu32 " at a time",
                        job_current_spec(job)->update.parallel);
        else if (diff->needs_restart)
                buffer_puts(text, "; a new run");
        else
                buffer_puts(text, "; in place");
}

void job_new_version(struct turn *turn, struct job *job, struct job_spec *spec, bool needs_restart)
{
        uint32_t version = job_version_number(job) + 1;
        struct job_spec *before = job_current_spec(job); /* is kept: among the last */

        job_add_version(job, version, spec);
        schedule_changed(job, before, turn->now);
        job->since = turn->now;
        job->promoted = spec->update.canary == 0 || (!needs_restart && job->promoted);
        job->reverted = job->roll_stepping = false;
        job->surge = 0;
        job->roll_step_at = 0;
        free(take_ptr(job->roll_failed));
        rollout_unblock(job);
        if (needs_restart)
                job->restart_version = version;
}

static void set_stopped(struct turn *turn, struct job *job, struct task *task, bool stopped)
{
        if (task->stopped == stopped)
                return;
        task->stopped = stopped;
        task_touch(turn->c, job, task);
}

/* Nothing that a person or a removal has stopped stays so. */
static void clear_stops(struct turn *turn, struct job *job)
{
        struct task *task;

        kinds_taken_up(job, turn->now);
        job->stopped = job->removing = job->purge = false;
        job_touch_row(turn->c, job);
        JOB_FOREACH_TASK (job, task)
                set_stopped(turn, job, task, false);
}

static void apply_change(struct turn *turn, struct job *job, struct job_spec *spec,
        const char *source, const struct job_diff *diff)
{
        AUTO(buffer_done) struct buffer text = { 0 };
        bool removing = job->removing, stopped = job->stopped || job->counts[MARK_STOPPED] > 0;
        uint64_t generation = next_generation(turn);
        enum anew anew = anew_by_change(job, diff);

        text_replace(&job->source, source);
        job->command = generation;
        clear_stops(turn, job);
        if (diff->len > 0)
                job_new_version(turn, job, spec, diff->needs_restart);

        buffer_printf(&text, "version %" PRIu32 ": ", job_version_number(job));
        if (diff->len > 0) {
                put_changes(&text, diff);
                put_how(&text, job, diff);
        } else
                buffer_puts(&text, "as before");
        if (removing)
                buffer_puts(&text, "; was being removed, is kept");
        else if (stopped)
                buffer_puts(&text, "; was stopped, runs again");
        put_source(&text, source);
        publish_applied(turn, job, &text);
        job_retarget(turn, job, anew, generation);
}

static int check_version(
        const struct cluster_event *event, const struct job *job, struct error *err)
{
        if (event->if_version == 0)
                return 0;
        if (job == NULL)
                return error_set(err, ERR_CONFLICT,
                        "job %s is not there, version %" PRIu32 " was expected", event->spec->name,
                        event->if_version);
        if (job_version_number(job) != event->if_version)
                return error_set(err, ERR_CONFLICT,
                        "job %s has version %" PRIu32 " now, version %" PRIu32 " was expected",
                        job->name, job_version_number(job), event->if_version);
        return 0;
}

int cluster_command_apply(struct turn *turn, const struct cluster_event *event, struct error *err)
{
        struct job *job = job_find(turn->c, event->spec->name);
        const char *source = source_of(event);
        struct job_spec *spec = event->spec;
        struct job_diff diff;
        bool taken_up;

        if (job != NULL && !job->removing && check_source(job, source, "change it", err) < 0)
                return -1;
        if (check_version(event, job, err) < 0 || cluster_check_order(turn->c, &spec, 1, err) < 0)
                return -1;
        if (job == NULL) {
                cluster_command_make(turn, event->spec, source);
                return 0;
        }

        job_spec_diff(job_current_spec(job), event->spec, &diff);
        taken_up = job->removing ||
                   (is_api(source) && (job->stopped || job->counts[MARK_STOPPED] > 0));
        if (diff.len > 0 || taken_up) {
                apply_change(turn, job, event->spec, source, &diff);
        } else {
                turn->effects->unchanged = true;
                turn->effects->version = job_version_number(job);
        }
        job_diff_done(&diff);
        return 0;
}

/* ---- Stop and restart */

static void say_of_task(struct turn *turn, enum event_kind kind, struct job *job,
        const struct task *task, const char *what)
{
        struct event event = { .kind = (int) kind,
                .job = job->name,
                .task = mem_strdup(task_id(job, task->index)),
                .node = task->node == NULL ? NULL : task->node->status.name,
                .version = task->desire.version,
                .run = RECORD_NULL };

        event.message = mem_printf("%s %s by a person", event.task, what);
        turn_publish(turn, &event);
        free(event.message);
        free(event.task);
}

static void stop_task(struct turn *turn, struct job *job, struct task *task)
{
        if (task->stopped)
                return;
        set_stopped(turn, job, task, true);
        task_end(turn, job, task);
        say_of_task(turn, EVENT_JOB_STOPPED, job, task, "was stopped");
}

int cluster_command_stop(struct turn *turn, const struct cluster_event *event, struct error *err)
{
        struct job *job;
        struct task *task;
        size_t active;

        if (cluster_find_target(turn->c, event->target, &job, &task, err) < 0 ||
                check_not_removing(job, err) < 0 || kinds_check_runs(job, err) < 0)
                return -1;
        if (task != NULL && task->leaving)
                return error_set(err, ERR_CONFLICT, "task %s is being removed", event->target);
        if (task != NULL && task_stands_in(task))
                return error_set(err, ERR_CONFLICT,
                        "task %s stands in while job %s is updated, and goes when that is over: "
                        "`reeve revert %s` takes the update back",
                        event->target, job->name, job->name);
        if (task != NULL) {
                stop_task(turn, job, task);
                return 0;
        }
        if (job->stopped)
                return 0;

        active = job->counts[MARK_ACTIVE];
        job->stopped = true;
        job_retarget(turn, job, ANEW_NONE, next_generation(turn));
        turn_say(turn, EVENT_JOB_STOPPED, job, "was stopped by a person: %zu task%s to end", active,
                plural(active));
        return 0;
}

static void restart_task(struct turn *turn, struct job *job, struct task *task)
{
        uint64_t generation = next_generation(turn);
        struct task *other;

        /* Only this one of a stopped job is asked for: the others stay stopped, each by itself. */
        if (!job_runs(job)) {
                JOB_FOREACH_TASK (job, other)
                        if (job_per_node(job) ? !other->leaving : other->index < job_count(job))
                                set_stopped(turn, job, other, true);
                kinds_taken_up(job, turn->now);
                job->stopped = false;
                job_touch_row(turn->c, job);
        }
        set_stopped(turn, job, task, false);
        if (!task->moving) /* else it is begun elsewhere, as soon as it has ended here */
                task_begin_anew(turn, job, task, generation);
        job_recount(job);
        say_of_task(turn, EVENT_JOB_RESTARTED, job, task, "was restarted");
}

static void run_cron_job(struct turn *turn, struct job *job)
{
        clear_stops(turn, job);
        schedule_begin(turn, job);
        turn_say(turn, EVENT_JOB_RESTARTED, job, "was begun by a person: %zu task%s",
                job_wanted(job), plural(job_wanted(job)));
}

static void restart_job(struct turn *turn, struct job *job)
{
        uint64_t generation = next_generation(turn);
        uint32_t parallel = job_current_spec(job)->update.parallel;
        size_t up = job->counts[MARK_RUNNING], wanted;

        clear_stops(turn, job);
        kinds_begin_anew(job);
        job->generation = job->command = generation;
        free(take_ptr(job->roll_failed));
        job_retarget(turn, job, ANEW_ALL, generation);
        wanted = job_wanted(job);
        if (up > parallel)
                turn_say(turn, EVENT_JOB_RESTARTED, job,
                        "was restarted by a person: %zu task%s, %" PRIu32 " at a time", wanted,
                        plural(wanted), parallel);
        else
                turn_say(turn, EVENT_JOB_RESTARTED, job, "was restarted by a person: %zu task%s",
                        wanted, plural(wanted));
}

int cluster_command_restart(struct turn *turn, const struct cluster_event *event, struct error *err)
{
        struct job *job;
        struct task *task;

        if (cluster_find_target(turn->c, event->target, &job, &task, err) < 0 ||
                check_not_removing(job, err) < 0 || kinds_check_runs(job, err) < 0)
                return -1;
        if (task != NULL && task->leaving)
                return error_set(err, ERR_CONFLICT, "task %s is being removed", event->target);
        if (task != NULL)
                restart_task(turn, job, task);
        else if (job_is_cron(job))
                run_cron_job(turn, job);
        else
                restart_job(turn, job);
        return 0;
}

/* ---- Scale and remove */

/* The target of a command that is for whole jobs. */
static int find_job(struct turn *turn, const char *target, struct job **ret, struct error *err)
{
        struct task *task;

        if (cluster_find_target(turn->c, target, ret, &task, err) < 0)
                return -1;
        if (task != NULL)
                return error_set(
                        err, ERR_INVALID, "%s is a task; the job is %s", target, (*ret)->name);
        return 0;
}

/* The spec with another count. Made of its JSON: there is one way to read a spec, and it checks. */
static int spec_with_count(
        const struct job_spec *spec, uint32_t count, struct job_spec **ret, struct error *err)
{
        json_t *object = job_spec_to_json(spec);
        int r;

        json_object_set_new(object, "count", json_integer(count));
        r = job_spec_from_json(spec->name, object, ret, err);
        json_decref(object);
        return r;
}

/* What was stopped as a task of the job may be a stand-in from now on, and these run. */
static void count_out(struct turn *turn, struct job *job, uint32_t count)
{
        struct task *task;

        for (uint32_t i = count; i < job->tasks_len; i++)
                if ((task = job_task(job, i)) != NULL)
                        set_stopped(turn, job, task, false);
}

int cluster_command_scale(struct turn *turn, const struct cluster_event *event, struct error *err)
{
        AUTO(job_spec_unrefp) struct job_spec *spec = NULL;
        struct job_version *newest;
        uint64_t generation = next_generation(turn);
        uint32_t before;
        struct job *job;

        if (find_job(turn, event->target, &job, err) < 0 || check_not_removing(job, err) < 0 ||
                check_owner(job, source_of(event), "change its count", err) < 0 ||
                kinds_check_runs(job, err) < 0)
                return -1;
        if (job_per_node(job))
                return error_set(err, ERR_CONFLICT,
                        "job %s has one task per node: its count follows from the nodes",
                        job->name);
        before = job_current_spec(job)->count;
        turn->effects->version = job_version_number(job);
        if (before == event->count) {
                turn->effects->unchanged = true;
                return 0;
        }
        if (spec_with_count(job_current_spec(job), event->count, &spec, err) < 0)
                return -1;

        /* No process knows of the count, so that it is no new version. */
        newest = &job->versions[job->versions_len - 1];
        job_spec_unref(newest->spec);
        newest->spec = take_ptr(spec);
        if (job_holds(job)) /* another task is the canary */
                job->surge = 0;
        count_out(turn, job, event->count);
        turn_say(turn, EVENT_JOB_SCALED, job, "count %" PRIu32 " -> %" PRIu32 "%s", before,
                event->count, job->stopped ? "; it is stopped, nothing starts" : "");
        job_retarget(turn, job, ANEW_NONE, generation);
        job_say_created(turn, job, generation);
        return 0;
}

int cluster_command_remove(struct turn *turn, const struct cluster_event *event, struct error *err)
{
        struct job *job;
        size_t active;

        if (find_job(turn, event->target, &job, err) < 0 ||
                check_owner(job, source_of(event), "remove it", err) < 0)
                return -1;
        job->purge |= event->purge;
        job_touch_row(turn->c, job);
        if (job->removing)
                return 0;

        active = job->counts[MARK_ACTIVE];
        job->removing = true;
        job_retarget(turn, job, ANEW_NONE, next_generation(turn));
        if (active > 0)
                turn_say(turn, EVENT_JOB_REMOVED, job, "to be removed: %zu task%s to end first",
                        active, plural(active));
        return 0;
}

/* ---- Promote and revert */

int cluster_command_promote(struct turn *turn, const struct cluster_event *event, struct error *err)
{
        struct job *job;

        if (find_job(turn, event->target, &job, err) < 0 || check_not_removing(job, err) < 0)
                return -1;
        if (!job_holds(job))
                return error_set(err, ERR_CONFLICT, "job %s has no canary to promote", job->name);
        if (job_halted(job))
                return error_set(err, ERR_CONFLICT,
                        "the canary of job %s has failed: apply another spec, or `reeve revert %s`",
                        job->name, job->name);
        job->promoted = true;
        job_touch_row(turn->c, job);
        turn_say(turn, EVENT_JOB_PROMOTED, job,
                "version %" PRIu32 " is promoted by a person: the other %zu task%s follow%s",
                job_version_number(job), job->counts[MARK_OUTDATED],
                plural(job->counts[MARK_OUTDATED]), job->counts[MARK_OUTDATED] == 1 ? "s" : "");
        return 0;
}

static uint32_t version_before(const struct job *job)
{
        uint32_t newest = job_version_number(job);

        if (job->rolled_version < newest)
                return job->rolled_version;
        return job->versions_len < 2 ? 0 : job->versions[job->versions_len - 2].number;
}

int cluster_command_revert(struct turn *turn, const struct cluster_event *event, struct error *err)
{
        uint32_t version = event->version;
        struct job *job;

        if (find_job(turn, event->target, &job, err) < 0 || check_not_removing(job, err) < 0 ||
                check_source(job, source_of(event), "change it", err) < 0)
                return -1;
        if (version == 0)
                version = version_before(job);
        if (version == 0)
                return error_set(err, ERR_CONFLICT, "job %s has no version before", job->name);
        if (version == job_version_number(job))
                return error_set(err, ERR_CONFLICT, "version %" PRIu32 " of job %s is in force",
                        version, job->name);
        if (job_spec_of(job, version) == NULL)
                return error_set(err, ERR_NOT_FOUND,
                        "job %s has no version %" PRIu32 "; the oldest kept is %" PRIu32, job->name,
                        version, job->versions[0].number);
        clear_stops(turn, job);
        rollout_to(turn, job, version, "a person asked for it");
        turn->effects->version = job_version_number(job);
        return 0;
}
