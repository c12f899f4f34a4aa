/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "base/mem.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/show.h"
#include "cli/terminal.h"

static bool as_json;
static const char *job, *node, *state, *at;
static char at_text[TIME_TEXT_MAX]; /* the same in RFC 3339 */

static const struct option_row options[] = {
        { "job", 'j', OPTION_TEXT, &job, "JOB", "only of this job" },
        { "node", 'n', OPTION_TEXT, &node, "NODE", "only those on this node" },
        { "state", 's', OPTION_TEXT, &state, "STATE",
                "only those in this state: queued, placed, preparing, starting, running, stopping, "
                "ended or lost" },
        { "at", 0, OPTION_TEXT, &at, "TIME", "what was so then: " SHOW_TIME_HELP },
        { "json", 0, OPTION_FLAG, &as_json, NULL, "as an array of JSON objects" },
        { NULL, 0, OPTION_FLAG, NULL, NULL, NULL },
};

static void put_query(struct buffer *path, const char *name, const char *value)
{
        if (value == NULL)
                return;
        buffer_printf(path, "%c%s=", strchr(path->data, '?') == NULL ? '?' : '&', name);
        client_put_encoded(path, value);
}

static bool has(const json_t *task, const char *member, const char *value)
{
        const char *text = json_string_value(json_object_get(task, member));

        return value == NULL || (text != NULL && strcmp(text, value) == 0);
}

static int add_task(json_t *tasks, const char *id, struct error *err)
{
        AUTO(mem_freep) char *subject = client_subject_path(id, "");
        AUTO(buffer_done) struct buffer path = { 0 };
        AUTO(client_json_decref) json_t *task = NULL;

        buffer_puts(&path, subject);
        put_query(&path, "at", at != NULL ? at_text : NULL);
        if (client_get(buffer_str(&path), &task, err) < 0)
                return -1;
        if (has(task, "job", job) && has(task, "node", node) && has(task, "state", state))
                json_array_append(tasks, task);
        return 0;
}

/* Appends all tasks of the job called @name; all there are for NULL. */
static int add_tasks(json_t *tasks, const char *name, struct error *err)
{
        AUTO(buffer_done) struct buffer path = { 0 };
        AUTO(client_json_decref) json_t *answer = NULL;

        buffer_puts(&path, "/v1/tasks");
        put_query(&path, "job", name);
        put_query(&path, "node", node);
        put_query(&path, "state", state);
        put_query(&path, "at", at != NULL ? at_text : NULL);
        if (client_get(buffer_str(&path), &answer, err) < 0)
                return -1;
        json_array_extend(tasks, answer);
        return 0;
}

static int run(const char *const *operands, struct error *err)
{
        AUTO(client_json_decref) json_t *tasks = json_array();
        usec_t now = time_wall();

        if (at != NULL && show_parse_time("--at", at, at_text, &now, err) < 0)
                return -1;
        if (*operands == NULL && add_tasks(tasks, job, err) < 0)
                return -1;
        for (; *operands != NULL; operands++) {
                if (!client_is_task(*operands) && job != NULL && strcmp(job, *operands) != 0)
                        continue;
                if ((client_is_task(*operands) ? add_task : add_tasks)(tasks, *operands, err) < 0)
                        return -1;
        }
        if (!as_json)
                return show_tasks(tasks, now, err);
        terminal_print_json(tasks);
        return 0;
}

const struct command command_ps = {
        .name = "ps",
        .operands = "[JOB|TASK...]",
        .summary = "list tasks",
        .details = "RUNS counts the runs begun so far, RESTARTS those that the restart policy "
                   "began, if there are any; SINCE is how long the\n"
                   "task has been in its state; NODE is shown when they are on several. `reeve why "
                   "TASK` tells more than REASON.",
        .options = options,
        .operands_max = -1,
        .run = run,
};
