/* SPDX-License-Identifier: BSD-3-Clause */
/* The answer of a plan, as JSON (plan.h says what stands in it). */

#include "core/plan-internal.h"

#include <inttypes.h>

#include "base/text.h"

static const char *const action_names[] = {
        [PLAN_START] = "start",
        [PLAN_STOP] = "stop",
        [PLAN_MOVE] = "move",
        [PLAN_REPLACE] = "replace",
        [PLAN_IN_PLACE] = "update-in-place",
        [PLAN_PROMOTE] = "promote",
        [PLAN_REJECT] = "reject",
};

static void put_text(struct buffer *out, const char *name, const char *text)
{
        buffer_printf(out, ",\"%s\":", name);
        if (text != NULL)
                text_put_json_string(out, text);
        else
                buffer_puts(out, "null");
}

static void put_seconds(struct buffer *out, const char *name, usec_t span)
{
        buffer_printf(out, ",\"%s\":%.6g", name, (double) span / USEC_SEC);
}

/* ---- Jobs */

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

static const char *action_of(const struct plan_job *job)
{
        if (job->spec == NULL)
                return "affected";
        return !job->existed ? "create" : job->unchanged ? "unchanged" : "update";
}

/* Its tasks on nodes that cannot be told now. */
static size_t count_away(const struct job *job)
{
        const struct task *task;
        size_t n = 0;

        JOB_FOREACH_TASK (job, task)
                n += task->node != NULL && !task->node->connected && task->state != TASK_ENDED;
        return n;
}

static void put_next(struct buffer *out, const struct job *job)
{
        usec_t at = job_is_cron(job) && job_runs(job) ? schedule_next(job) : USEC_NEVER;
        char text[TIME_TEXT_MAX];

        if (at == USEC_NEVER)
                buffer_puts(out, ",\"next\":null");
        else
                buffer_printf(out, ",\"next\":\"%s\"", time_format_wall(text, at));
}

static void put_job(struct plan *p, struct buffer *out, const struct plan_job *j)
{
        const struct job *job = job_find(p->c, j->name);

        buffer_puts(out, "{\"job\":");
        text_put_json_string(out, j->name);
        buffer_printf(out, ",\"action\":\"%s\",\"version\":%" PRIu32 ",\"changes\":[", action_of(j),
                j->version);
        put_changes(out, &j->diff);
        buffer_printf(
                out, "],\"in_place\":%s", j->existed && !j->diff.needs_restart ? "true" : "false");
        buffer_printf(out,
                ",\"ready\":%" PRIi64 ",\"least_ready\":%" PRIi64 ",\"ready_then\":%" PRIi64,
                j->before, j->least, j->ready);
        buffer_printf(out, ",\"away\":%zu", job == NULL ? 0 : count_away(job));
        if (job != NULL)
                put_next(out, job);
        else
                buffer_puts(out, ",\"next\":null");
        buffer_putc(out, '}');
}

/* ---- Steps */

static void put_step(struct buffer *out, const struct plan_step *step, size_t number)
{
        buffer_printf(out, "%s{\"order\":%zu,\"job\":", number == 1 ? "" : ",", number);
        text_put_json_string(out, step->job->name);
        put_text(out, "task", step->task);
        buffer_printf(out, ",\"action\":\"%s\"", action_names[step->action]);
        put_text(out, "node", step->node);
        put_text(out, "from", step->from);
        put_seconds(out, "after", step->at);
        put_text(out, "reason", step->reason);
        put_text(out, "choice", step->choice);
        buffer_putc(out, '}');
}

static void put_least(struct buffer *out, const struct plan *p)
{
        const char *between = "";

        for (const struct plan_job *j = p->jobs; j != NULL; j = j->hh.next) {
                if (!j->existed)
                        continue;
                buffer_puts(out, between);
                text_put_json_string(out, j->name);
                buffer_printf(out, ":%" PRIi64, j->least);
                between = ",";
        }
}

void plan_write(struct plan *p, struct buffer *out)
{
        usec_t takes = p->steps_len == 0 ? 0 : p->steps[p->steps_len - 1].at;

        buffer_puts(out, "{\"jobs\":[");
        for (const struct plan_job *j = p->jobs; j != NULL; j = j->hh.next) {
                buffer_puts(out, j == p->jobs ? "" : ",");
                put_job(p, out, j);
        }
        buffer_puts(out, "],\"steps\":[");
        for (size_t i = 0; i < p->steps_len; i++)
                put_step(out, &p->steps[i], i + 1);
        buffer_puts(out, "],\"least_running\":{");
        put_least(out, p);
        buffer_putc(out, '}');
        put_seconds(out, "takes", takes);
        buffer_puts(out, ",\"waits\":[");
        plan_put_waits(p, out);
        buffer_puts(out, "],\"more_nodes\":");
        plan_put_more_nodes(p, out);
        buffer_putc(out, '}');
}
