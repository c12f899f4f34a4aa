/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>
#include <stdio.h>

#include "base/macros.h"
#include "base/time.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/show.h"
#include "cli/terminal.h"
#include "model/job.h"

static bool as_json;
static const char *at;

static const struct option_row options[] = {
        { "at", 0, OPTION_TEXT, &at, "TIME", "what was so then: " SHOW_TIME_HELP },
        { "json", 0, OPTION_FLAG, &as_json, NULL, "as an array of JSON objects" },
        { NULL, 0, OPTION_FLAG, NULL, NULL, NULL },
};

static const struct table_column columns[] = {
        { "JOB", false },
        { "KIND", false },
        { "STATE", false },
        { "RUNNING", true },
        { "READY", true },
        { "QUEUED", TABLE_RIGHT | TABLE_OPTIONAL },
        { "LOST", TABLE_RIGHT | TABLE_OPTIONAL },
        { "VERSION", true },
        { "SINCE", true },
        { "REASON", false },
};

static void put_job(struct table *table, const struct job_status *job, usec_t now_wall)
{
        char span[TIME_TEXT_MAX];

        table_put(table, TABLE_PLAIN, job->name);
        table_put(table, TABLE_PLAIN, job->kind >= 0 ? job_kind_names[job->kind] : NULL);
        table_put(table, show_job_style(job->state),
                job->state >= 0 ? job_state_names[job->state] : NULL);
        if (job->count == RECORD_NULL)
                table_printf(table, TABLE_PLAIN, "%" PRId64, job->running);
        else
                table_printf(table, TABLE_PLAIN, "%" PRId64 "/%" PRId64, job->running, job->count);
        table_printf(table, TABLE_PLAIN, "%" PRId64, job->ready);
        show_number(table, TABLE_WARN, job->queued > 0 ? job->queued : RECORD_NULL);
        show_number(table, TABLE_BAD, job->lost > 0 ? job->lost : RECORD_NULL);
        table_printf(table, TABLE_PLAIN, "%" PRId64, job->version);
        table_put(table, TABLE_PLAIN,
                job->since == 0 ? NULL
                                : time_format_span(
                                          span, now_wall > job->since ? now_wall - job->since : 0));
        table_put(table, TABLE_PLAIN, job->reason);
}

static int show_jobs(const json_t *jobs, usec_t now, struct error *err)
{
        AUTO(table_freep) struct table *table = table_new(columns, ARRAY_SIZE(columns));
        json_t *object;
        size_t i;

        json_array_foreach (jobs, i, object) {
                struct job_status job = { 0 };

                if (record_read(&job_table, object, &job, err) < 0)
                        return error_wrap(err, "the server's answer");
                put_job(table, &job, now);
                record_done(&job_table, &job);
        }
        terminal_print_table(table);
        return 0;
}

static int run(const char *const *operands, struct error *err)
{
        AUTO(client_json_decref) json_t *jobs = NULL;
        char path[TIME_TEXT_MAX + 16] = "/v1/jobs", time[TIME_TEXT_MAX];
        usec_t now = time_wall();

        (void) operands;
        if (at != NULL && show_parse_time("--at", at, time, &now, err) < 0)
                return -1;
        if (at != NULL)
                snprintf(path, sizeof path, "/v1/jobs?at=%s", time);
        if (client_get(path, &jobs, err) < 0)
                return -1;
        if (!as_json)
                return show_jobs(jobs, now, err);
        terminal_print_json(jobs);
        return 0;
}

const struct command command_jobs = {
        .name = "jobs",
        .operands = "",
        .summary = "list jobs",
        .details = "RUNNING is how many tasks run, of how many were asked for; SINCE is the age of "
                   "the version. QUEUED, the tasks that wait for a node, and LOST, those whose "
                   "node is not heard from, are there when there are such tasks.",
        .options = options,
        .run = run,
};
