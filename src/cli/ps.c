/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/mem.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/show.h"
#include "cli/terminal.h"

static bool as_json;
static const char *at;
static char at_text[TIME_TEXT_MAX]; /* the same in RFC 3339 */

static const struct option_row options[] = {
        { "at", 0, OPTION_TEXT, &at, "TIME", "what was so then: " SHOW_TIME_HELP },
        { "json", 0, OPTION_FLAG, &as_json, NULL, "as an array of JSON objects" },
        { NULL, 0, OPTION_FLAG, NULL, NULL, NULL },
};

/* Appends the task, or all tasks of the job, called @name; all there are for NULL. */
static int add_tasks(json_t *tasks, const char *name, struct error *err)
{
        AUTO(buffer_done) struct buffer path = { 0 };
        AUTO(client_json_decref) json_t *answer = NULL;

        buffer_puts(&path, "/v1/tasks");
        if (name != NULL) {
                buffer_puts(&path, client_is_task(name) ? "/" : "?job=");
                client_put_encoded(&path, name);
        }
        if (at != NULL)
                buffer_printf(&path, "%cat=%s", name == NULL || client_is_task(name) ? '?' : '&',
                        at_text);
        if (client_get(buffer_str(&path), &answer, err) < 0)
                return -1;
        if (json_is_array(answer))
                json_array_extend(tasks, answer);
        else
                json_array_append(tasks, answer);
        return 0;
}

static int run(const char *const *operands, struct error *err)
{
        AUTO(client_json_decref) json_t *tasks = json_array();
        usec_t now = time_wall();

        if (at != NULL && show_parse_time("--at", at, at_text, &now, err) < 0)
                return -1;
        if (*operands == NULL && add_tasks(tasks, NULL, err) < 0)
                return -1;
        for (; *operands != NULL; operands++)
                if (add_tasks(tasks, *operands, err) < 0)
                        return -1;
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
                   "began; SINCE is how long the\n"
                   "task has been in its state. `reeve why TASK` tells more than REASON.",
        .options = options,
        .operands_max = -1,
        .run = run,
};
