/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "cli/client.h"
#include "cli/command.h"

static int send_to(const char *task, const char *name, struct error *err)
{
        AUTO(mem_freep) char *path = client_subject_path(task, "/signal");
        AUTO(mem_freep) char *body = mem_printf("{\"signal\":\"%s\"}", name);

        if (client_request("POST", path, NULL, body, strlen(body), NULL, err) < 0)
                return -1;
        printf("%s: signal %s\n", task, name);
        return 0;
}

/* All tasks of the job that run; what ends meanwhile is left out. */
static int send_to_job(const char *job, const char *name, struct error *err)
{
        AUTO(client_json_decref) json_t *tasks = NULL;
        AUTO(buffer_done) struct buffer path = { 0 };
        size_t i, sent = 0;
        json_t *task;

        buffer_puts(&path, "/v1/tasks?job=");
        client_put_encoded(&path, job);
        if (client_get(buffer_str(&path), &tasks, err) < 0)
                return -1;
        json_array_foreach (tasks, i, task) {
                if (!json_is_integer(json_object_get(task, "pid")))
                        continue;
                if (send_to(json_string_value(json_object_get(task, "id")), name, err) == 0)
                        sent++;
                else if (err->code != ERR_CONFLICT && err->code != ERR_NOT_FOUND)
                        return -1;
        }
        if (sent == 0)
                return error_set(err, ERR_CONFLICT, "no task of job %s runs", job);
        return 0;
}

static int run(const char *const *operands, struct error *err)
{
        int number = text_parse_signal(operands[1]);

        if (number == 0)
                return error_set(err, ERR_INVALID,
                        "there is no signal \"%s\"; give a name such as HUP, or a number",
                        operands[1]);
        return client_is_task(operands[0])
                       ? send_to(operands[0], text_signal_name(number), err)
                       : send_to_job(operands[0], text_signal_name(number), err);
}

const struct command command_signal = {
        .name = "signal",
        .operands = "JOB|TASK SIGNAL",
        .summary = "send a signal to a task, or to all tasks of a job",
        .details = "To the process group of the task. What the task does then is its affair: one "
                   "that ends is restarted or\n"
                   "not as its spec says. To stop a task, use `reeve stop`.",
        .operands_min = 2,
        .operands_max = 2,
        .run = run,
};
