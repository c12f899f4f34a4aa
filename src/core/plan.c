/* SPDX-License-Identifier: BSD-3-Clause */
/* Plan: what applying specs would do, found by doing it to a copy.
 *
 *   plan.c         the virtual agents, time, and the steps
 *   plan-words.c   why each step is taken
 *   plan-fit.c     what has no room, and what would help
 *   plan-write.c   the answer
 *
 * The cluster of the plan is a copy that nobody else sees: cluster_handle() decides in it as it
 * does in the real one, so that there is no second opinion here about what the scheduler does, and
 * none about what is in the state. The copy is the caller's, and made of the memory itself: one
 * that is made of the rows lacks what is not stored (who waits for how long, what is kept for whom,
 * what is on its way), and the plan would differ.
 *
 * The agents of the copy obey at once and nothing ever fails. They are no machines with states of
 * their own: all that such an agent could know stands in the copy's tasks already. So what is kept
 * here is only what was told and not reported yet, in order. An assignment takes effect
 * in two halves, so that the plan sees what is down at the same time: what has to end ends when it
 * is told, what has to run runs when the report is handed over. The simulator's agents (src/sim)
 * would be nearer to real ones, and worse here: they take time, fail and race, so that a plan would
 * be one of many possible courses and not the one that follows from the specs alone; core may not
 * include sim either.
 *
 * Before the specs are applied, all that is under way comes to its end: what is on its way
 * somewhere arrives, rollouts and moves go on until nothing more happens. None of that is part of
 * the plan. Nodes that are away stay away, and what belongs there stays as it is.
 *
 * Time goes by only where a rollout waits for it (update.pause, update.healthy). Nothing else that
 * time would bring happens: no timetable, no deadline, no node that gets lost. A canary that waits
 * to be promoted is promoted, after a step that says so. */

#include "core/plan-internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "core/explain-internal.h"

#define HORIZON   (365 * USEC_DAY)
#define STEPS_MAX 1000000u
#define IDLE_MAX  100000u /* reports in a row that bring no step */

static void forget_tasks(struct plan_task **tasks)
{
        struct plan_task *t, *next;

        HASH_ITER (hh, *tasks, t, next) {
                HASH_DEL(*tasks, t);
                free(t->id);
                free(t);
        }
}

static void message_free(struct plan *p, struct plan_message *m)
{
        DL_DELETE(p->messages, m);
        free(m->node);
        free(m);
}

static void plan_done(struct plan *p)
{
        struct plan_job *job, *next;

        while (p->messages != NULL)
                message_free(p, p->messages);
        forget_tasks(&p->told);
        forget_tasks(&p->leaving);
        forget_tasks(&p->whys);
        HASH_ITER (hh, p->jobs, job, next) {
                HASH_DEL(p->jobs, job);
                job_diff_done(&job->diff);
                free(job);
        }
        free(p->steps);
        arena_done(&p->texts);
        cluster_effects_done(&p->fx);
}

const char *plan_text(struct plan *p, const char *format, ...)
{
        AUTO(mem_freep) char *text = NULL;
        va_list args;

        va_start(args, format);
        text = mem_vprintf(format, args);
        va_end(args);
        return arena_copy(&p->texts, text, strlen(text));
}

static struct plan_task *task_of(struct plan_task *const *tasks, const char *id)
{
        struct plan_task *t;

        HASH_FIND_STR(*tasks, id, t);
        return t;
}

static struct plan_task *add_task(struct plan_task **tasks, const char *id)
{
        struct plan_task *t = mem_alloc(sizeof *t);

        t->id = mem_strdup(id);
        HASH_ADD_KEYPTR(hh, *tasks, t->id, strlen(t->id), t);
        return t;
}

static void drop_task(struct plan_task **tasks, struct plan_task *t)
{
        HASH_DEL(*tasks, t);
        free(t->id);
        free(t);
}

static int handle(struct plan *p, const struct cluster_event *event, struct error *err)
{
        return cluster_handle(p->c, event, p->now, &p->fx, err);
}

/* ---- Jobs */

/* What is ready in the copy is what its agents have reported; what they have been told since is
 * counted from then on. */
static struct plan_job *get_job(struct plan *p, const char *name)
{
        const struct job *job = job_find(p->c, name);
        struct plan_job *found;

        HASH_FIND_STR(p->jobs, name, found);
        if (found != NULL)
                return found;
        found = mem_alloc(sizeof *found);
        *found = (struct plan_job){ .name = plan_text(p, "%s", name), .existed = job != NULL };
        if (job != NULL) {
                found->before = (int64_t) job->counts[MARK_READY];
                found->waited = job->counts[MARK_UNPLACED];
                found->count_before = (uint32_t) job->tasks_len;
                found->version = job_version_number(job);
        }
        found->ready = found->least = found->before;
        HASH_ADD_KEYPTR(hh, p->jobs, found->name, strlen(found->name), found);
        return found;
}

static void count_ready(struct plan_job *job, int by)
{
        job->ready += by;
        job->least = MIN(job->least, job->ready);
}

/* ---- Steps */

static struct plan_step *add_step(struct plan *p, struct plan_job *job, const struct task *task,
        enum plan_action action, const char *reason)
{
        struct plan_step *step;

        if (p->steps_len == p->steps_allocated) {
                p->steps_allocated = MAX((size_t) 64, p->steps_allocated * 2);
                p->steps = mem_resize(p->steps, p->steps_allocated, sizeof p->steps[0]);
        }
        step = &p->steps[p->steps_len++];
        *step = (struct plan_step){
                .job = job, .action = action, .reason = reason, .at = p->now - p->begun
        };
        if (task != NULL)
                step->task = plan_text(p, "%s.%" PRIu32, job->name, task->index);
        if (task != NULL && task->node != NULL)
                step->node = plan_text(p, "%s", task->node->status.name);
        return step;
}

static const char *choice_of(struct plan *p, const struct task *task)
{
        AUTO(buffer_done) struct buffer b = { 0 };

        put_choice(&b, task);
        return b.len == 0 ? NULL : plan_text(p, "%s", buffer_str(&b));
}

static void step_start(
        struct plan *p, struct plan_job *job, const struct task *task, const char *id)
{
        struct plan_task *left = task_of(&p->leaving, id);
        const char *why;
        struct plan_step *step;

        if (left != NULL) {
                step = &p->steps[left->step];
                step->node = plan_text(p, "%s", task->node->status.name);
                step->choice = choice_of(p, task);
                drop_task(&p->leaving, left);
                return;
        }
        why = plan_why_start(p, job, task);
        step = add_step(p, job, task, PLAN_START, why);
        step->choice = choice_of(p, task);
}

/* It is told to end, to be placed anew. */
static void step_leave(
        struct plan *p, struct plan_job *job, const struct task *task, const char *id)
{
        struct plan_task *left = task_of(&p->leaving, id);
        struct plan_step *step;

        if (left != NULL)
                return;
        step = add_step(p, job, task, PLAN_MOVE, plan_why_moves(p, task));
        step->from = step->node;
        step->node = NULL;
        add_task(&p->leaving, id)->step = p->steps_len - 1;
}

/* What the agent does when it is told: the half that ends something. The task in the copy is as it
 * was reported last, and `going` if what it was told now ends what runs; if an earlier message has
 * not been reported yet, that will have come true before. */
static void note_step(struct plan *p, const struct cluster_assign *a, const struct task *task,
        struct plan_task *told)
{
        struct plan_job *job = get_job(p, a->job);
        bool runs = told->due > 0 ? told->desire.run : task->state == TASK_RUNNING;
        bool ends = told->due > 0 ? desire_takes_down(&a->desire, &told->desire) : task->going;

        if (task->state == TASK_RUNNING && task->going && !told->down) {
                told->down = true;
                count_ready(job, -1);
        }
        if (!runs && !a->desire.run) /* it never came to that */
                return;
        if (!a->desire.run && task->moving)
                step_leave(p, job, task, a->task);
        else if (!a->desire.run)
                add_step(p, job, task, PLAN_STOP, plan_why_stop(p, job, task));
        else if (!runs)
                step_start(p, job, task, a->task);
        else if (ends)
                add_step(p, job, task, PLAN_REPLACE, plan_why_changes(p, job, task, true));
        else
                add_step(p, job, task, PLAN_IN_PLACE, plan_why_changes(p, job, task, false));
}

static void send(
        struct plan *p, struct plan_task *told, const char *node, const struct task_desire *desire)
{
        struct plan_message *m = mem_alloc(sizeof *m);

        *m = (struct plan_message){ .told = told, .node = mem_strdup(node), .desire = *desire };
        told->desire = *desire;
        told->due++;
        DL_APPEND(p->messages, m);
}

/* Of several desires that one turn has for a task the last counts. */
static void tell(struct plan *p, const struct cluster_assign *a)
{
        struct plan_task *told = task_of(&p->told, a->task);
        struct job *job;
        struct task *task;

        if (a->forget || !cluster_look_up(p->c, a->task, &job, &task) || task == NULL ||
                task->node == NULL || !task_desire_equal(&a->desire, &task->desire) ||
                (told != NULL && task_desire_equal(&told->desire, &a->desire)))
                return;
        if (told == NULL)
                told = add_task(&p->told, a->task);
        if (p->recording)
                note_step(p, a, task, told);
        send(p, told, a->node, &a->desire);
}

static void note_rejections(struct plan *p)
{
        for (size_t i = 0; i < p->fx.events_len; i++) {
                const struct event *e = &p->fx.events[i];
                struct job *job;
                struct task *task;
                const char *why;

                if (e->kind != EVENT_TASK_REJECTED ||
                        !cluster_look_up(p->c, e->task, &job, &task) || task == NULL)
                        continue;
                why = plan_text(p, "%s", task->reason != NULL ? task->reason : e->message);
                add_step(p, get_job(p, job->name), task, PLAN_REJECT, why);
        }
}

/* What a turn has decided goes to the agents. */
static void tell_all(struct plan *p)
{
        if (p->recording)
                plan_note_whys(p);
        for (size_t i = 0; i < p->fx.assigns_len; i++)
                tell(p, &p->fx.assigns[i]);
        if (p->recording)
                note_rejections(p);
        forget_tasks(&p->whys);
        cluster_effects_reset(&p->fx);
}

/* ---- The other half: it is as it was told, and the cluster hears of it */

static void fill_report(struct plan *p, const struct task *task, const struct task_desire *desire,
        struct cluster_report *ret)
{
        bool new_run = desire->run && (task->state != TASK_RUNNING || task->going);
        struct task_status *s = &ret->status;

        *ret = (struct cluster_report){ .desire = *desire };
        task_fill_status(task->job, task, s);
        s->state = desire->run ? TASK_RUNNING : TASK_ENDED;
        s->result = desire->run ? RESULT_NONE : RESULT_STOPPED;
        s->ready = desire->run;
        s->healthy = true;
        s->version = desire->version;
        s->runs = (int64_t) (task->runs - task->runs_before) + new_run;
        s->restarts = (int64_t) (task->restarts - task->restarts_before);
        s->next_run_at = 0;
        s->reason = NULL;
        if (new_run)
                s->since = s->started_at = p->now;
}

/* What was not counted when it was told, since it was not so yet. */
static void count_reported(struct plan *p, const struct task *task, const struct plan_message *m)
{
        struct plan_job *job = get_job(p, task->job->name);
        bool up = task->state == TASK_RUNNING && !m->told->down;

        if (up && task->going) {
                count_ready(job, -1);
                up = false;
        }
        if (m->desire.run && !up) {
                count_ready(job, 1);
                m->told->down = false;
        }
}

/* The message that was sent first. */
static int report(struct plan *p, struct plan_message *m, struct error *err)
{
        struct node_status node = { .name = m->node };
        struct cluster_report r;
        struct cluster_event event = {
                .type = CLUSTER_REPORT, .node = &node, .reports = &r, .reports_len = 1
        };
        struct plan_task *told = m->told;
        struct job *job;
        struct task *task;
        int rc = 0;

        told->due--;
        if (cluster_look_up(p->c, told->id, &job, &task) && task != NULL && task->node != NULL &&
                strcmp(task->node->status.name, m->node) == 0 && task->node->connected) {
                if (p->recording)
                        count_reported(p, task, m);
                fill_report(p, task, &m->desire, &r);
                if (told->due == 0)
                        drop_task(&p->told, told);
                rc = handle(p, &event, err);
        } else if (told->due == 0) {
                drop_task(&p->told, told);
        }
        message_free(p, m);
        tell_all(p);
        return rc;
}

/* ---- Time */

/* A rollout goes on by itself when it is due. That it would halt then is not awaited. */
static bool is_awaited(struct timer *timer)
{
        const struct job *job;

        if (timer->owner != TIMER_OF_JOB)
                return false;
        job = container_of(timer, struct job, due);
        if (!job_runs(job) || !job_rolls(job) || rollout_next(job) > timer->at || job_halted(job))
                return false;
        return job->counts[MARK_PROVING] > 0 ||
               (job->counts[MARK_MOVABLE] > 0 && job->roll_step_at > job->cluster->now &&
                       job->roll_step_at <= timer->at);
}

/* The next moment at which a rollout goes on; what else would be due until then never is.
 * USEC_NEVER: there is none. */
static usec_t next_moment(struct plan *p)
{
        struct timer **found = NULL, *timer;
        size_t len = 0;
        usec_t at = USEC_NEVER, due;
        AUTO(mem_freep) usec_t *times = NULL;

        while ((timer = timers_first(&p->c->timers)) != NULL && timer->at <= at) {
                due = timer->at;
                if (is_awaited(timer)) {
                        found = mem_resize(found, len + 1, sizeof(struct timer *));
                        times = mem_resize(times, len + 1, sizeof *times);
                        found[len] = timer;
                        times[len++] = due;
                        at = due;
                }
                timers_set(&p->c->timers, timer, USEC_NEVER);
        }
        for (size_t i = 0; i < len; i++)
                timers_set(&p->c->timers, found[i], times[i]);
        free(found);
        return at;
}

/* False: nothing is left that time alone would bring. */
static int pass_time(struct plan *p, bool *ret_any, struct error *err)
{
        usec_t at = next_moment(p);

        *ret_any = at != USEC_NEVER && at <= p->begun + HORIZON;
        if (!*ret_any)
                return 0;
        p->now = MAX(p->now, at);
        if (handle(p, &(struct cluster_event){ .type = CLUSTER_TICK }, err) < 0)
                return -1;
        tell_all(p);
        return 0;
}

static bool has_canary(const struct job *job)
{
        return job != NULL && job_runs(job) && job_holds(job) && !job_halted(job) &&
               job->counts[MARK_OUTDATED] > 0 && job->counts[MARK_INFLIGHT] == 0 &&
               (job->surge > 0 ? job->counts[MARK_SETTLED] >= job->surge
                               : job->counts[MARK_SETTLED] > 0);
}

/* One of the jobs that are applied; others wait for their person with or without the plan. */
static int promote(struct plan *p, bool *ret_any, struct error *err)
{
        for (struct plan_job *j = p->jobs; j != NULL; j = j->hh.next) {
                const struct job *job = job_find(p->c, j->name);
                struct cluster_event event = { .type = CLUSTER_PROMOTE, .target = j->name };

                if (j->spec == NULL || !has_canary(job))
                        continue;
                add_step(p, j, NULL, PLAN_PROMOTE,
                        plan_text(p, "version %" PRIu32 " waits for `reeve promote %s`",
                                job_version_number(job), j->name));
                *ret_any = true;
                if (handle(p, &event, err) < 0)
                        return -1;
                tell_all(p);
                break;
        }
        return 0;
}

/* Until all that was told is reported. Tasks may have to leave before they begin, and some that
 * many times in a row, but not for ever. */
static int report_all(struct plan *p, struct error *err)
{
        size_t idle = 0, steps = p->steps_len;

        while (p->messages != NULL) {
                AUTO(mem_freep) char *id = mem_strdup(p->messages->told->id);

                if (report(p, p->messages, err) < 0)
                        return -1;
                idle = p->steps_len == steps ? idle + 1 : 0;
                steps = p->steps_len;
                if (steps > STEPS_MAX)
                        return error_set(
                                err, ERR_TOO_LARGE, "the plan has more than %u steps", STEPS_MAX);
                if (p->recording && idle > IDLE_MAX)
                        return error_set(err, ERR_CONFLICT,
                                "the cluster does not come to rest: %s is placed and has to leave "
                                "again and again",
                                id);
        }
        return 0;
}

/* Until nothing more happens. */
static int settle(struct plan *p, struct error *err)
{
        bool any = true;

        while (any) {
                if (report_all(p, err) < 0)
                        return -1;
                if (pass_time(p, &any, err) < 0)
                        return -1;
                if (!any && p->recording && promote(p, &any, err) < 0)
                        return -1;
        }
        return 0;
}

/* ---- What is under way */

static bool is_settled(const struct task *task)
{
        return task->state == TASK_ENDED || ((task->state == TASK_RUNNING || task_is_idle(task)) &&
                                                    task->ready && task->synced && !task->going);
}

static int arrive(struct plan *p, struct error *err)
{
        const struct task *task;

        for (const struct job *job = p->c->jobs; job != NULL; job = job->hh.next)
                JOB_FOREACH_TASK (job, task) {
                        if (task->node == NULL || !task->node->connected || is_settled(task))
                                continue;
                        send(p, add_task(&p->told, task_id(job, task->index)),
                                task->node->status.name, &task->desire);
                }
        if (settle(p, err) < 0)
                return error_wrap(err, "what is under way");
        return 0;
}

/* ---- Applying */

static int apply(struct plan *p, struct job_spec *spec, const char *source, struct error *err)
{
        struct cluster_event event = { .type = CLUSTER_APPLY, .spec = spec, .source = source };
        const struct job *job = job_find(p->c, spec->name);
        AUTO(mem_freep) char *own_source = mem_strdup(job != NULL ? job->source : "api");
        struct plan_job *planned = get_job(p, spec->name);

        if (source == NULL) /* the file that it comes from would be changed */
                event.source = own_source;
        planned->spec = spec;
        job_diff_done(&planned->diff);
        planned->diff = (struct job_diff){ 0 };
        if (job != NULL)
                job_spec_diff(job_current_spec(job), spec, &planned->diff);
        if (handle(p, &event, err) < 0)
                return -1;
        planned->version = p->fx.version;
        planned->unchanged = p->fx.unchanged;
        tell_all(p);
        return 0;
}

static int run(struct plan *p, struct job_spec *const *specs, size_t specs_len, const char *source,
        struct error *err)
{
        if (arrive(p, err) < 0)
                return -1;
        p->begun = p->now;
        p->index = p->c->index;
        p->recording = true;
        for (size_t i = 0; i < specs_len; i++)
                if (apply(p, specs[i], source, err) < 0)
                        return -1;
        return settle(p, err);
}

int plan_make(struct cluster *copy, struct job_spec *const *specs, size_t specs_len,
        const char *source, usec_t now_wall, struct buffer *ret, struct error *err)
{
        AUTO(plan_done)
        struct plan p = { .c = copy, .now = MAX(now_wall, copy->now), .begun = now_wall };

        p.fx.unstored = true;
        if (run(&p, specs, specs_len, source, err) < 0)
                return -1;
        plan_write(&p, ret);
        return 0;
}
