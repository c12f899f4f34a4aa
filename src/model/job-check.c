/* SPDX-License-Identifier: BSD-3-Clause */
/* What fields of a spec say together.
 *
 * Each field alone was checked when it was read. Here stand the rules over several: each names the
 * field that its author most probably wants to change, at the line where it stands. What is written
 * with all its defaults is read back through the same rules, so a rule may ask for what was given
 * only where the writer leaves it out (`count` of a job without one). */
#include "model/job-check.h"

#include <string.h>

#include "base/mem.h"
#include "base/time.h"
#include "model/job-fields.h"
#include "model/variables.h"

/* A field of a section, as the text has it. */
struct place_in_text {
        struct value section, field;
};

/* Where the field at @section and @name (NULL: the section itself is the field) stands: the value
 * of the whole job if it was not given. */
static const struct value *find(const struct reader *r, const struct value *job,
        const char *section, const char *name, struct place_in_text *ret)
{
        if (!value_find(r, job, section, &ret->section))
                return job;
        if (name == NULL)
                return &ret->section;
        return value_find(r, &ret->section, name, &ret->field) ? &ret->field : job;
}

static int check_delay(const struct reader *r, const struct value *job, struct job_spec *spec)
{
        char delay[TIME_TEXT_MAX];
        struct place_in_text at;
        const struct value *max_delay;

        if ((uint32_t) spec->restart.policy == FIELD_DEFAULT_BY_KIND)
                spec->restart.policy =
                        job_spec_is_batch(spec) ? RESTART_ON_FAILURE : RESTART_ALWAYS;
        if (spec->restart.max_delay >= spec->restart.delay)
                return 0;
        max_delay = find(r, job, "restart", "max_delay", &at);
        if (max_delay != job && !json_is_null(max_delay->json))
                return value_fail_expected(r, max_delay, "no less than the delay of %s",
                        time_format_exact(delay, spec->restart.delay));
        spec->restart.max_delay = spec->restart.delay;
        return 0;
}

static int check_per_node(const struct reader *r, const struct value *job, struct job_spec *spec)
{
        struct place_in_text at;

        if (!job_spec_per_node(spec))
                return 0;
        if (value_is_given(job, "count"))
                return value_fail(r, find(r, job, "count", NULL, &at), "leave it out: %s",
                        spec->kind == JOB_SYSTEM
                                ? "a system job has one task on every node"
                                : "with \"place.with\" there is one task on every node of the "
                                  "other job");
        spec->count = 0;
        if (spec->place.gang)
                return value_fail(r, find(r, job, "place", "gang", &at),
                        "not possible for a job with one task on every node");
        if (spec->update.order != UPDATE_STOP_FIRST)
                return value_fail(r, find(r, job, "update", "order", &at),
                        "expected \"stop-first\": with one task on every node none begins beside "
                        "another");
        return 0;
}

static int check_with(const struct reader *r, const struct value *job, const struct job_spec *spec)
{
        struct place_in_text at;

        if (spec->place.with == NULL)
                return 0;
        if (spec->kind == JOB_SYSTEM)
                return value_fail(r, find(r, job, "place", "with", &at),
                        "not possible for a system job: both say on which nodes there is a task");
        if (strcmp(spec->place.with, spec->name) == 0)
                return value_fail(r, find(r, job, "place", "with", &at),
                        "expected another job, not this one");
        return 0;
}

static int check_singleton(
        const struct reader *r, const struct value *job, const struct job_spec *spec)
{
        struct place_in_text at;

        if (!spec->singleton)
                return 0;
        if (spec->kind != JOB_SERVICE)
                return value_fail(r, find(r, job, "kind", NULL, &at),
                        "a singleton is a service, not \"%s\"", job_kind_names[spec->kind]);
        if (spec->place.with != NULL)
                return value_fail(r, find(r, job, "place", "with", &at),
                        "not possible for a singleton: there would be a task on every node");
        if (spec->count != 1)
                return value_fail(r, find(r, job, "count", NULL, &at),
                        "a singleton has a count of 1, not %u", (unsigned) spec->count);
        if (spec->update.order != UPDATE_STOP_FIRST)
                return value_fail(r, find(r, job, "update", "order", &at),
                        "a singleton needs \"stop-first\": with \"%s\" two would run",
                        update_order_names[spec->update.order]);
        if (spec->update.canary > 0)
                return value_fail(r, find(r, job, "update", "canary", &at),
                        "a singleton cannot have one: two would run");
        return 0;
}

static int check_canary(
        const struct reader *r, const struct value *job, const struct job_spec *spec)
{
        struct place_in_text at;

        if (job_spec_per_node(spec) || spec->update.canary <= spec->count)
                return 0;
        return value_fail(r, find(r, job, "update", "canary", &at),
                "expected no more than the count of %u, got %u", (unsigned) spec->count,
                (unsigned) spec->update.canary);
}

static int check_schedule(const struct reader *r, const struct value *job, struct job_spec *spec)
{
        struct place_in_text at;
        struct error why = ERROR_INIT;

        if (spec->kind == JOB_CRON && spec->schedule.cron == NULL)
                return value_fail(r, find(r, job, "kind", NULL, &at),
                        "a cron job needs \"schedule.cron\", such as \"0 3 * * *\"");
        if (spec->kind != JOB_CRON && spec->schedule.cron != NULL)
                return value_fail(r, find(r, job, "schedule", "cron", &at),
                        "only for a job of kind \"cron\"; this one is of kind \"%s\"",
                        job_kind_names[spec->kind]);
        if (spec->schedule.zone != NULL && !zone_name_is_valid(spec->schedule.zone))
                return value_fail_expected(r, find(r, job, "schedule", "zone", &at),
                        "the name of a time zone such as \"Europe/Paris\"");
        if (spec->schedule.cron != NULL &&
                cron_parse(spec->schedule.cron, &spec->schedule.times, &why) < 0)
                return value_fail(r, find(r, job, "schedule", "cron", &at), "%s", why.message);
        return 0;
}

/* Variables in command and environment; the first text with one that there is not is named. */
static int check_variables(
        const struct reader *r, const struct value *job, const struct job_spec *spec)
{
        struct place_in_text at;
        struct error why = ERROR_INIT;

        for (char **text = spec->command; text != NULL && *text != NULL; text++)
                if (variables_check(*text, spec->resources.ports, &why) < 0)
                        return value_fail(r, find(r, job, "command", NULL, &at), "%s", why.message);
        for (char **pair = spec->env; pair != NULL && *pair != NULL; pair++)
                if (variables_check(strchr(*pair, '=') + 1, spec->resources.ports, &why) < 0) {
                        AUTO(mem_freep)
                        char *name = mem_strndup(*pair, strcspn(*pair, "="));

                        return value_fail(r, find(r, job, "env", name, &at), "%s", why.message);
                }
        return 0;
}

int job_check(const struct reader *r, const struct value *value, struct job_spec *spec)
{
        if (check_delay(r, value, spec) < 0 || check_with(r, value, spec) < 0 ||
                check_per_node(r, value, spec) < 0 || check_singleton(r, value, spec) < 0 ||
                check_canary(r, value, spec) < 0 || check_schedule(r, value, spec) < 0 ||
                check_variables(r, value, spec) < 0 || job_check_ready(r, value, spec) < 0 ||
                job_check_start(r, value, spec) < 0 || job_check_alerts(r, value, spec) < 0 ||
                job_check_sockets(r, value, spec) < 0 || job_check_sandbox(r, value, spec) < 0)
                return -1;
        return 0;
}
