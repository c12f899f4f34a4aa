/* SPDX-License-Identifier: BSD-3-Clause */
/* Plan: what applying specs would do, found by doing it to a copy.
 *
 * The copy is made the way the server makes its state when it starts: all rows are written and
 * loaded again, and the nodes that are connected say what they have. So there is no second opinion
 * here about what the scheduler does, and none about what is in the state.
 *
 * The agents of the copy obey at once and nothing ever fails: what is on its way somewhere in the
 * real cluster has arrived there in the copy before the plan begins. An assignment takes effect in
 * two halves, so that the plan sees what is down at the same time: what has to end ends when it is
 * told, what has to run runs when the report is handed over. Reports are handed over in the order
 * of the assignments. Nodes that are away stay away, and what belongs there stays as it is. */

#include "core/explain.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "core/cluster-internal.h"

/* A task as its virtual agent has it. */
struct virtual_task {
        char *id;
        bool running;
        struct task_desire desire;
        uint32_t run_version;
        UT_hash_handle hh;
};

/* A job of the plan. */
struct planned {
        const char *name;
        bool existed;
        struct job_diff diff;
        uint32_t version;
        bool unchanged;
        int64_t running, least;
};

struct plan {
        struct cluster *copy;
        usec_t now;
        struct cluster_effects fx;
        struct virtual_task *tasks;
        struct cluster_assign *queue; /* told, not reported yet */
        size_t queue_len, queue_done;
        struct planned *jobs;
        size_t jobs_len;
        struct buffer steps;
        size_t steps_len;
};

static void plan_done(struct plan *p)
{
        struct virtual_task *t, *next;

        HASH_ITER (hh, p->tasks, t, next) {
                HASH_DEL(p->tasks, t);
                free(t->id);
                free(t);
        }
        for (size_t i = 0; i < p->queue_len; i++)
                cluster_assign_done(&p->queue[i]);
        for (size_t i = 0; i < p->jobs_len; i++)
                job_diff_done(&p->jobs[i].diff);
        free(p->queue);
        free(p->jobs);
        buffer_done(&p->steps);
        cluster_effects_done(&p->fx);
        cluster_free(p->copy);
}

static struct planned *find_planned(struct plan *p, const char *name)
{
        for (size_t i = 0; i < p->jobs_len; i++)
                if (strcmp(p->jobs[i].name, name) == 0)
                        return &p->jobs[i];
        return NULL;
}

static struct virtual_task *get_task(struct plan *p, const char *id)
{
        struct virtual_task *t;

        HASH_FIND_STR(p->tasks, id, t);
        if (t != NULL)
                return t;
        t = mem_alloc(sizeof *t);
        t->id = mem_strdup(id);
        HASH_ADD_KEYPTR(hh, p->tasks, t->id, strlen(t->id), t);
        return t;
}

/* ---- The copy */

static int load_rows(struct plan *p, const struct cluster *c, struct error *err)
{
        AUTO(cluster_effects_done) struct cluster_effects rows = { 0 };
        struct cluster_event loaded = { .type = CLUSTER_LOADED };

        rows_dump(c, &rows);
        effects_write(&rows, mem_printf("event/%020" PRIu64, c->index), mem_strdup("{}"));
        for (size_t i = 0; i < rows.writes_len; i++) {
                struct cluster_event load = { .type = CLUSTER_LOAD,
                        .key = rows.writes[i].key,
                        .value = rows.writes[i].value };

                if (cluster_handle(p->copy, &load, p->now, &p->fx, err) < 0)
                        return -1;
        }
        return cluster_handle(p->copy, &loaded, p->now, &p->fx, err);
}

/* How the task is when whatever it was told has come true. */
static struct cluster_report arrived(const struct job *job, const struct task *task)
{
        struct cluster_report r = { .desire = task->desire, .parked = task->parked };

        task_fill_status(job, task, &r.status);
        r.status.version = task->desire.version;
        if (task->state == TASK_ENDED)
                return r;
        r.status.state = task->desire.run ? TASK_RUNNING : TASK_ENDED;
        r.status.result = task->desire.run ? RESULT_NONE : RESULT_STOPPED;
        r.status.ready = task->desire.run;
        r.status.runs = MAX(r.status.runs, 1);
        r.status.next_run_at = 0;
        return r;
}

static void add_reports(struct plan *p, const struct job *job, const struct node *node,
        struct cluster_report **reports, size_t *len)
{
        const struct task *task;

        JOB_FOREACH_TASK (job, task) {
                struct virtual_task *t;

                if (task->node != node)
                        continue;
                *reports = mem_resize(*reports, *len + 1, sizeof **reports);
                (*reports)[*len] = arrived(job, task);
                t = get_task(p, (*reports)[*len].status.id);
                t->running = (*reports)[*len].status.state == TASK_RUNNING;
                t->desire = task->desire;
                t->run_version = task->desire.version;
                (*len)++;
        }
}

static int connect_node(struct plan *p, const struct node *node, struct error *err)
{
        struct cluster_event up = { .type = CLUSTER_NODE_UP, .node = &node->status };
        struct cluster_report *reports = NULL;
        int r;

        for (struct job *job = p->copy->jobs; job != NULL; job = job->hh.next)
                add_reports(
                        p, job, node_find(p->copy, node->status.name), &reports, &up.reports_len);
        up.reports = reports;
        r = cluster_handle(p->copy, &up, p->now, &p->fx, err);
        free(reports);
        return r;
}

/* ---- Steps */

static void put_step(
        struct plan *p, const char *task, const char *node, const char *action, const char *reason)
{
        struct buffer *b = &p->steps;

        buffer_printf(
                b, "%s{\"order\":%zu,\"task\":", p->steps_len == 0 ? "" : ",", p->steps_len + 1);
        text_put_json_string(b, task);
        buffer_puts(b, ",\"node\":");
        if (node != NULL)
                text_put_json_string(b, node);
        else
                buffer_puts(b, "null");
        buffer_printf(b, ",\"action\":\"%s\",\"reason\":", action);
        text_put_json_string(b, reason);
        buffer_putc(b, '}');
        p->steps_len++;
}

/* "needs a new run for: command, env". None of the job's changes may be the cause: a task that an
 * update which halted has not reached is versions behind. */
static void put_cause(struct buffer *b, const char *what, const struct planned *job,
        bool needs_restart, const struct cluster_assign *a)
{
        const char *between = what;

        for (size_t i = 0; job != NULL && i < job->diff.len; i++)
                if (job->diff.changes[i].needs_restart == needs_restart) {
                        buffer_printf(b, "%s%s", between, job->diff.changes[i].field);
                        between = ", ";
                }
        if (b->len == 0)
                buffer_printf(b, "%sversion %" PRIu32, what, a->desire.version);
}

static void count_running(struct planned *job, int by)
{
        if (job == NULL)
                return;
        job->running += by;
        job->least = MIN(job->least, job->running);
}

/* What the agent does when it is told @a: the half that ends something. */
static void tell(struct plan *p, const struct cluster_assign *a)
{
        struct virtual_task *t = get_task(p, a->task);
        struct planned *job = find_planned(p, a->job);
        AUTO(buffer_done) struct buffer reason = { 0 };
        bool new_run = a->desire.generation > t->desire.generation ||
                       a->desire.restart_version > t->run_version;

        if (!t->running && a->desire.run) {
                put_step(p, a->task, a->node, "start",
                        t->desire.generation == 0 ? "is new" : "runs again");
        } else if (t->running && !a->desire.run) {
                put_step(p, a->task, a->node, "stop", "is not wanted any more");
                count_running(job, -1);
                t->running = false;
        } else if (t->running && new_run) {
                put_cause(&reason, "needs a new run for: ", job, true, a);
                put_step(p, a->task, a->node, "replace", buffer_str(&reason));
                count_running(job, -1);
                t->running = false;
        } else if (t->running) {
                put_cause(&reason, "takes in place: ", job, false, a);
                put_step(p, a->task, a->node, "update-in-place", buffer_str(&reason));
        }
        t->desire = a->desire;
}

static void tell_all(struct plan *p)
{
        for (size_t i = 0; i < p->fx.assigns_len; i++) {
                const struct cluster_assign *a = &p->fx.assigns[i];

                if (a->forget || task_desire_equal(&get_task(p, a->task)->desire, &a->desire))
                        continue;
                tell(p, a);
                p->queue = mem_resize(p->queue, p->queue_len + 1, sizeof p->queue[0]);
                cluster_assign_copy(&p->queue[p->queue_len++], a);
        }
        cluster_effects_reset(&p->fx);
}

/* The other half: it runs, and the cluster hears of it. */
static int report(struct plan *p, const struct cluster_assign *a, struct error *err)
{
        struct virtual_task *t = get_task(p, a->task);
        struct node_status node = { .name = (char *) (uintptr_t) a->node };
        struct cluster_report r = { .desire = a->desire };
        struct cluster_event event = {
                .type = CLUSTER_REPORT, .node = &node, .reports = &r, .reports_len = 1
        };

        if (!t->running && a->desire.run) {
                count_running(find_planned(p, a->job), 1);
                t->running = true;
                t->run_version = a->desire.version;
        }
        if (!cluster_get_task(p->copy, a->task, &r.status))
                return 0;
        r.status.state = a->desire.run ? TASK_RUNNING : TASK_ENDED;
        r.status.result = a->desire.run ? RESULT_NONE : RESULT_STOPPED;
        r.status.ready = a->desire.run;
        r.status.version = a->desire.version;
        r.status.runs++;
        if (cluster_handle(p->copy, &event, p->now, &p->fx, err) < 0)
                return -1;
        tell_all(p);
        return 0;
}

static int drain(struct plan *p, struct error *err)
{
        while (p->queue_done < p->queue_len) {
                struct cluster_assign a = p->queue[p->queue_done++];

                if (report(p, &a, err) < 0)
                        return -1;
        }
        return 0;
}

/* ---- Applying */

/* Tasks that are new and have no node are told to nobody. */
static void put_unplaced(struct plan *p, const struct job *job, uint64_t index_before)
{
        const struct task *task;

        JOB_FOREACH_TASK (job, task)
                if (task->born > index_before && (task->marks & BIT(MARK_UNPLACED)) != 0)
                        put_step(p, task_id(job, task->index), NULL, "start",
                                "is new, and waits: no node is ready");
}

static int64_t count_running_now(const struct job *job)
{
        const struct task *task;
        int64_t running = 0;

        if (job == NULL)
                return 0;
        JOB_FOREACH_TASK (job, task)
                running += task->state == TASK_RUNNING;
        return running;
}

static int apply(struct plan *p, struct job_spec *spec, const char *source, struct error *err)
{
        struct cluster_event event = { .type = CLUSTER_APPLY, .spec = spec, .source = source };
        const struct job *job = job_find(p->copy, spec->name);
        AUTO(mem_freep) char *own_source = mem_strdup(job != NULL ? job->source : "api");
        struct planned *planned;
        uint64_t index = p->copy->index;

        if (source == NULL) /* the file that it comes from would be changed */
                event.source = own_source;
        p->jobs = mem_resize(p->jobs, p->jobs_len + 1, sizeof p->jobs[0]);
        planned = &p->jobs[p->jobs_len++];
        *planned = (struct planned){ .name = spec->name, .existed = job != NULL };
        planned->running = planned->least = count_running_now(job);
        if (job != NULL)
                job_spec_diff(job_current_spec(job), spec, &planned->diff);
        if (cluster_handle(p->copy, &event, p->now, &p->fx, err) < 0)
                return -1;
        planned->version = p->fx.version;
        planned->unchanged = p->fx.unchanged;
        tell_all(p);
        put_unplaced(p, job_find(p->copy, spec->name), index);
        return 0;
}

/* ---- Writing it down */

static void put_changes(struct buffer *out, const struct job_diff *diff)
{
        for (size_t i = 0; i < diff->len; i++) {
                const struct job_change *change = &diff->changes[i];

                buffer_printf(out,
                        "%s{\"field\":\"%s\",\"from\":%s,\"to\":%s,\"needs_restart\":%s}",
                        i == 0 ? "" : ",", change->field, change->from, change->to,
                        change->needs_restart ? "true" : "false");
        }
}

static void put_job(struct buffer *out, const struct planned *job)
{
        const char *action = !job->existed ? "create" : job->unchanged ? "unchanged" : "update";

        buffer_puts(out, "{\"job\":");
        text_put_json_string(out, job->name);
        buffer_printf(out, ",\"action\":\"%s\",\"version\":%" PRIu32 ",\"changes\":[", action,
                job->version);
        put_changes(out, &job->diff);
        buffer_printf(out, "],\"in_place\":%s}",
                job->existed && !job->diff.needs_restart ? "true" : "false");
}

static void put_plan(struct buffer *out, const struct plan *p)
{
        const char *between = "";

        buffer_puts(out, "{\"jobs\":[");
        for (size_t i = 0; i < p->jobs_len; i++) {
                buffer_puts(out, i == 0 ? "" : ",");
                put_job(out, &p->jobs[i]);
        }
        buffer_printf(out, "],\"steps\":[%s],\"least_running\":{", buffer_str(&p->steps));
        for (size_t i = 0; i < p->jobs_len; i++) {
                if (!p->jobs[i].existed)
                        continue;
                buffer_puts(out, between);
                text_put_json_string(out, p->jobs[i].name);
                buffer_printf(out, ":%" PRIi64, p->jobs[i].least);
                between = ",";
        }
        buffer_puts(out, "}}");
}

static int make_plan(struct plan *p, const struct cluster *c, struct job_spec *const *specs,
        size_t specs_len, const char *source, struct error *err)
{
        if (load_rows(p, c, err) < 0)
                return error_wrap(err, "copy the state");
        for (const struct node *node = c->nodes; node != NULL; node = node->hh.next)
                if (node->connected && connect_node(p, node, err) < 0)
                        return -1;
        for (const struct node *node = c->nodes; node != NULL; node = node->hh.next)
                if (node->connected)
                        cluster_assigns_of(p->copy, node->status.name, &p->fx);
        /* Rollouts that are under way come to their end first, and are no part of the plan. */
        tell_all(p);
        if (drain(p, err) < 0)
                return -1;
        buffer_reset(&p->steps);
        p->steps_len = 0;

        for (size_t i = 0; i < specs_len; i++)
                if (apply(p, specs[i], source, err) < 0)
                        return -1;
        return drain(p, err);
}

int explain_plan(const struct cluster *c, struct job_spec *const *specs, size_t specs_len,
        const char *source, usec_t now_wall, struct buffer *ret, struct error *err)
{
        AUTO(plan_done) struct plan p = { .copy = cluster_new(), .now = now_wall };

        if (make_plan(&p, c, specs, specs_len, source, err) < 0)
                return -1;
        put_plan(ret, &p);
        return 0;
}
