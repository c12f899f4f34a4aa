/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/await.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/inputs.h"
#include "cli/terminal.h"

static bool as_json, should_wait;
static int64_t if_version;
static usec_t timeout = AWAIT_TIMEOUT;

static const struct option_row options[] = {
        { "if-version", 0, OPTION_INT, &if_version, "N",
                "only if the job is at this version now; for one job" },
        { "wait", 'w', OPTION_FLAG, &should_wait, NULL, "until the jobs run or have ended" },
        { "timeout", 't', OPTION_SPAN, &timeout, "DURATION",
                "give up waiting after this long (1m)" },
        { "json", 0, OPTION_FLAG, &as_json, NULL, "the server's answer as JSON" },
        { NULL, 0, OPTION_FLAG, NULL, NULL, NULL },
};

static void show(const json_t *jobs)
{
        json_t *job;
        size_t i;

        json_array_foreach (jobs, i, job)
                printf("%s: %s (version %" JSON_INTEGER_FORMAT ")\n",
                        json_string_value(json_object_get(job, "job")) ?: "-",
                        json_string_value(json_object_get(job, "action")) ?: "-",
                        json_integer_value(json_object_get(job, "version")));
}

static int await_jobs(const json_t *jobs, struct error *err)
{
        AUTO(mem_freep) const char **names = mem_alloc((json_array_size(jobs) + 1) * sizeof *names);
        json_t *job;
        size_t i, n = 0;

        json_array_foreach (jobs, i, job) {
                const char *name = json_string_value(json_object_get(job, "job"));

                if (name != NULL)
                        names[n++] = name;
        }
        return await_all(names, AWAIT_SETTLED, timeout, err);
}

static int run(const char *const *operands, struct error *err)
{
        AUTO(buffer_done) struct buffer body = { 0 };
        AUTO(client_json_decref) json_t *answer = NULL;
        AUTO(mem_freep) char *path = NULL;
        const json_t *jobs;

        if (inputs_read(operands, &body, err) < 0)
                return -1;
        path = if_version > 0 ? mem_printf("/v1/jobs?if_version=%" PRId64, if_version)
                              : mem_strdup("/v1/jobs");
        if (client_request("POST", path, NULL, body.data, body.len, &answer, err) < 0)
                return -1;
        jobs = json_object_get(answer, "jobs");
        if (as_json)
                terminal_print_json(answer);
        else
                show(jobs);
        fflush(stdout);
        return should_wait ? await_jobs(jobs, err) : 0;
}

const struct command command_apply = {
        .name = "apply",
        .operands = "FILE...",
        .summary = "create or change the jobs of job files",
        .details = "All of them or none. FILE is YAML, or JSON if it is called *.json; a directory "
                   "stands for all *.yaml,\n"
                   "*.yml and *.json in it, - for standard input. What is applied is kept over "
                   "restarts; a job that came\n"
                   "from `reeve up --jobs` is changed in its file instead. With --wait the status "
                   "is 1 if a job fails.",
        .options = options,
        .operands_min = 1,
        .operands_max = -1,
        .run = run,
};
