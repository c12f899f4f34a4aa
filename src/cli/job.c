/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/time.h"
#include "cli/client.h"
#include "cli/columns.h"
#include "cli/command.h"
#include "cli/show.h"
#include "cli/terminal.h"
#include "model/job.h"
#include "model/sandbox-score.h"

#define EVENTS 10

static bool as_json, as_spec, as_sandbox, versions;
static int64_t version;
static const char *at;
static char at_text[TIME_TEXT_MAX]; /* the same in RFC 3339 */

static const struct option_row options[] = {
        { "spec", 's', OPTION_FLAG, &as_spec, NULL, "print its spec as a job file" },
        { "version", 'v', OPTION_INT, &version, "N", "an earlier version of the spec" },
        { "versions", 0, OPTION_FLAG, &versions, NULL,
                "list the versions that are kept, and what changed with each" },
        { "sandbox", 0, OPTION_FLAG, &as_sandbox, NULL,
                "how much of the machine is open to its tasks, in points of 100, and what would "
                "close it" },
        { "at", 0, OPTION_TEXT, &at, "TIME", "what was so then: " SHOW_TIME_HELP },
        { "json", 0, OPTION_FLAG, &as_json, NULL, "the server's answer as JSON" },
        { NULL, 0, OPTION_FLAG, NULL, NULL, NULL },
};

/* What is not known of a job that is past is left out. */
static void put_more(const struct job_status *job, struct buffer *out)
{
        if (job->queued > 0)
                buffer_printf(out, ", %" PRId64 " wait%s for a node", job->queued,
                        job->queued == 1 ? "s" : "");
        if (job->lost > 0)
                buffer_printf(out, ", %" PRId64 " lost", job->lost);
        buffer_putc(out, '\n');
        if (job->priority == RECORD_NULL)
                return;
        buffer_printf(out, "Priority: %" PRId64, job->priority);
        if (job->owner != NULL) {
                buffer_puts(out, ", counts against the share of ");
                columns_put(out, job->owner, 0);
        }
        buffer_putc(out, '\n');
}

static void put_state(const struct job_status *job, struct buffer *out)
{
        enum table_style style = terminal_colour() ? show_job_style(job->state) : TABLE_PLAIN;
        char time[TIME_TEXT_MAX];

        buffer_printf(out, "Job:      %s (%s)\n", job->name,
                job->kind >= 0 ? job_kind_names[job->kind] : "-");
        buffer_printf(out, "State:    %s%s%s", table_style_begin(style),
                job->state >= 0 ? job_state_names[job->state] : "-",
                style != TABLE_PLAIN ? TABLE_STYLE_END : "");
        if (job->reason != NULL) {
                buffer_puts(out, ": ");
                columns_wrap(out, job->reason, 10, terminal_width());
        } else {
                buffer_putc(out, '\n');
        }
        if (job->count == RECORD_NULL)
                buffer_printf(out, "Tasks:    %" PRId64 " run, %" PRId64 " ready", job->running,
                        job->ready);
        else
                buffer_printf(out, "Tasks:    %" PRId64 " of %" PRId64 " run, %" PRId64 " ready",
                        job->running, job->count, job->ready);
        put_more(job, out);
        buffer_printf(out, "Version:  %" PRId64 "%s%s\n", job->version,
                job->since != 0 ? ", since " : "",
                job->since != 0 ? time_format_local(time, job->since, time_wall()) : "");
        buffer_puts(out, "Source:   ");
        columns_put(out, job->source != NULL ? job->source : "-", 0);
        buffer_putc(out, '\n');
}

/* What was asked for: the fields that are not as they would be anyway. */
static int put_spec(const char *name, const json_t *json, struct buffer *out, struct error *err)
{
        AUTO(client_json_decref) json_t *plain = json_pack("{s:[s]}", "command", "-");
        AUTO(job_spec_unrefp) struct job_spec *spec = NULL;
        AUTO(job_spec_unrefp) struct job_spec *defaults = NULL;
        struct job_diff diff;

        if (job_spec_from_json(name, json, &spec, err) < 0)
                return error_wrap(err, "the server's answer");
        /* a cron job has the defaults of a batch, and a timetable that is worth showing */
        json_object_set_new(plain, "kind",
                json_string(job_kind_names[spec->kind == JOB_CRON ? JOB_BATCH : spec->kind]));
        if (job_spec_from_json(name, plain, &defaults, err) < 0)
                return error_wrap(err, "the server's answer");
        job_spec_diff(defaults, spec, &diff);
        buffer_puts(out, "Spec:     what is not at its default (all: --spec)\n");
        for (size_t i = 0; i < diff.len; i++) {
                buffer_printf(out, "  %s: ", diff.changes[i].field);
                columns_put(out, diff.changes[i].to, 0);
                buffer_putc(out, '\n');
        }
        job_diff_done(&diff);
        return 0;
}

static int show_head(const json_t *answer, struct error *err)
{
        AUTO(buffer_done) struct buffer out = { 0 };
        struct job_status job = { 0 };
        int r;

        if (record_read(&job_table, answer, &job, err) < 0)
                return error_wrap(err, "the server's answer");
        put_state(&job, &out);
        if (json_is_null(json_object_get(answer, "spec"))) {
                buffer_puts(&out, "Spec:     is not kept any more\n");
                r = 0;
        } else {
                r = put_spec(job.name, json_object_get(answer, "spec"), &out, err);
        }
        record_done(&job_table, &job);
        terminal_print(&out);
        return r;
}

static int show_rest(const char *name, usec_t now, struct error *err)
{
        AUTO(client_json_decref) json_t *tasks = NULL;
        AUTO(client_json_decref) json_t *events = NULL;
        AUTO(buffer_done) struct buffer tasks_path = { 0 }, events_path = { 0 };

        buffer_puts(&tasks_path, "/v1/tasks?job=");
        client_put_encoded(&tasks_path, name);
        buffer_printf(&events_path, "/v1/events?newest=true&limit=%d&job=", EVENTS);
        client_put_encoded(&events_path, name);
        if (at != NULL) {
                buffer_printf(&tasks_path, "&at=%s", at_text);
                buffer_printf(&events_path, "&until=%s", at_text);
        }
        if (client_get(buffer_str(&tasks_path), &tasks, err) < 0 ||
                client_get(buffer_str(&events_path), &events, err) < 0)
                return -1;
        if (json_array_size(tasks) > 0) {
                putchar('\n');
                if (show_tasks(tasks, now, err) < 0)
                        return -1;
        }
        if (json_array_size(events) == 0)
                return 0;
        puts("\nLast events:");
        return show_events(events, err);
}

static int show_spec(const char *name, json_t *answer, struct error *err)
{
        AUTO(client_json_decref) json_t *file = NULL;
        json_t *spec = json_object_get(answer, "spec");

        if (!json_is_object(spec))
                return error_set(err, ERR_SYSTEM, "the server's answer has no spec");
        file = json_pack("{s:{s:O}}", "jobs", name, spec);
        terminal_print_json(file);
        return 0;
}

/* ---- The sandbox */

static json_t *score_to_json(
        const char *name, unsigned points, const struct sandbox_item items[SANDBOX_ITEMS])
{
        json_t *list = json_array();

        for (size_t i = 0; i < SANDBOX_ITEMS; i++)
                json_array_append_new(
                        list, json_pack("{s:s,s:i,s:i,s:s,s:s?}", "field", items[i].field, "points",
                                      (int) items[i].points, "most", (int) items[i].most, "finding",
                                      items[i].finding, "advice", items[i].advice));
        return json_pack("{s:s,s:i,s:i,s:s,s:o}", "job", name, "points", (int) points, "most",
                SANDBOX_POINTS_MAX, "word", sandbox_word(points), "items", list);
}

static void put_item(struct table *table, const struct sandbox_item *item)
{
        table_printf(table, item->points > 0 ? TABLE_PLAIN : TABLE_GOOD, "%u/%u", item->points,
                item->most);
        table_put(table, TABLE_PLAIN, item->field);
        table_put(table, TABLE_PLAIN, item->finding);
}

static void put_advice(const struct sandbox_item items[SANDBOX_ITEMS])
{
        bool any = false;

        for (size_t i = 0; i < SANDBOX_ITEMS; i++) {
                if (items[i].advice == NULL)
                        continue;
                if (!any)
                        puts("\nWhat would close it, as far as the program gets along with it:");
                any = true;
                printf("  %s\n", items[i].advice);
        }
}

static int show_sandbox(const char *name, const json_t *answer, struct error *err)
{
        static const struct table_column columns[] = {
                { "OPEN", true },
                { "WHAT", false },
                { "SO", false },
        };
        AUTO(table_freep) struct table *table = table_new(columns, ARRAY_SIZE(columns));
        AUTO(job_spec_unrefp) struct job_spec *spec = NULL;
        AUTO(client_json_decref) json_t *json = NULL;
        struct sandbox_item items[SANDBOX_ITEMS];
        unsigned points;

        if (job_spec_from_json(name, json_object_get(answer, "spec"), &spec, err) < 0)
                return error_wrap(err, "the server's answer");
        points = sandbox_score(spec, items);
        if (as_json) {
                json = score_to_json(name, points, items);
                terminal_print_json(json);
                return 0;
        }
        for (size_t i = 0; i < SANDBOX_ITEMS; i++)
                put_item(table, &items[i]);
        terminal_print_table(table);
        printf("\n%s is %s: %u of %u points (0: all is closed)\n", name, sandbox_word(points),
                points, SANDBOX_POINTS_MAX);
        put_advice(items);
        return 0;
}

/* ---- Versions */

/* "count 2 -> 3, restart.delay \"1s\" -> \"2s\"" */
static void put_changes(struct buffer *out, const json_t *changes)
{
        const json_t *change;
        size_t i;

        json_array_foreach (changes, i, change) {
                const char *field = json_string_value(json_object_get(change, "field"));
                AUTO(mem_freep)
                char *from =
                        json_dumps(json_object_get(change, "from"), JSON_COMPACT | JSON_ENCODE_ANY);
                AUTO(mem_freep)
                char *to =
                        json_dumps(json_object_get(change, "to"), JSON_COMPACT | JSON_ENCODE_ANY);

                buffer_printf(out, "%s%s %s -> %s", i == 0 ? "" : ", ", field != NULL ? field : "-",
                        from != NULL ? from : "-", to != NULL ? to : "-");
        }
}

static int show_versions(const char *name, struct error *err)
{
        static const struct table_column columns[] = {
                { "VERSION", true },
                { "TASKS", true },
                { "CHANGES", false },
        };
        AUTO(table_freep) struct table *table = table_new(columns, ARRAY_SIZE(columns));
        AUTO(mem_freep) char *path = client_job_path(name, "/versions");
        AUTO(client_json_decref) json_t *answer = NULL;
        const json_t *row;
        size_t i;

        if (client_get(path, &answer, err) < 0)
                return -1;
        if (as_json) {
                terminal_print_json(answer);
                return 0;
        }
        json_array_foreach (answer, i, row) {
                AUTO(buffer_done) struct buffer changes = { 0 };

                put_changes(&changes, json_object_get(row, "changes"));
                table_printf(table, TABLE_PLAIN, "%" JSON_INTEGER_FORMAT,
                        json_integer_value(json_object_get(row, "version")));
                table_printf(table, TABLE_PLAIN, "%" JSON_INTEGER_FORMAT,
                        json_integer_value(json_object_get(row, "tasks")));
                table_put(table, TABLE_PLAIN, buffer_str(&changes));
        }
        terminal_print_table(table);
        return 0;
}

static char *path_of(const char *name)
{
        AUTO(mem_freep)
        char *rest = at != NULL    ? mem_printf("?at=%s", at_text)
                     : version > 0 ? mem_printf("?version=%" PRId64, version)
                                   : mem_strdup("");

        return client_subject_path(name, rest);
}

static int run(const char *const *operands, struct error *err)
{
        AUTO(client_json_decref) json_t *answer = NULL;
        AUTO(mem_freep) char *path = NULL;
        usec_t now = time_wall();

        if (at != NULL && version > 0)
                return error_set(err, ERR_INVALID, "--at and --version: one of the two");
        if (at != NULL && show_parse_time("--at", at, at_text, &now, err) < 0)
                return -1;
        if (client_is_task(*operands))
                return error_set(err, ERR_INVALID,
                        "%s is a task: try `reeve ps %s` or `reeve why %s`", *operands, *operands,
                        *operands);
        if (versions)
                return show_versions(*operands, err);
        path = path_of(*operands);
        if (client_get(path, &answer, err) < 0)
                return -1;
        if (as_sandbox)
                return show_sandbox(*operands, answer, err);
        if (as_json) {
                terminal_print_json(answer);
                return 0;
        }
        if (as_spec)
                return show_spec(*operands, answer, err);
        return show_head(answer, err) < 0 ? -1 : show_rest(*operands, now, err);
}

const struct command command_job = {
        .name = "job",
        .operands = "JOB",
        .summary = "show one job: spec, tasks, last events",
        .details =
                "`reeve job web --spec >web.yaml` gives a file that `reeve apply` takes (JSON is "
                "YAML, too).",
        .options = options,
        .operands_min = 1,
        .operands_max = 1,
        .run = run,
};
