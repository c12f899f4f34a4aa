/* SPDX-License-Identifier: BSD-3-Clause */
/* Routes: the table of the API. It is the only list of them: dispatch walks it, and a test compares
 * docs/http.md with what api_reference() makes of it. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "server/api.h"

#define GET    "GET"
#define POST   "POST"
#define DELETE "DELETE"

const struct route api_routes[] = {
        { GET, "/v1/version", api_version, false, "", "`{version, pid, data, listen, node}`" },
        { GET, "/v1/schema/job", api_schema_job, false, "", "JSON schema of a job file" },
        { GET, "/v1/jobs", api_jobs_list, true, "", "array of jobs" },
        { POST, "/v1/jobs", api_jobs_apply, false,
                "a job file (`{jobs: {...}}`; JSON, or YAML with `Content-Type: application/yaml`);"
                " `?if_version=N` when it has one job",
                "`{index, jobs: [{job, version, action}]}`; all or none" },
        { POST, "/v1/plan", api_jobs_plan, false, "a job file",
                "what applying it would do (core/explain.h)" },
        { GET, "/v1/jobs/NAME", api_job_get, true, "`?version=N`", "the job with its `spec`" },
        { DELETE, "/v1/jobs/NAME", api_job_remove, false, "`?purge=true`: the logs, too",
                "`{index}`" },
        { POST, "/v1/jobs/NAME/stop", api_job_stop, false, "", "`{index}`" },
        { POST, "/v1/jobs/NAME/restart", api_job_restart, false, "", "`{index}`" },
        { POST, "/v1/jobs/NAME/scale", api_job_scale, false, "`{\"count\": N}`", "`{index}`" },
        { GET, "/v1/jobs/NAME/logs", api_job_logs, false, "as for a task; merged", "bytes" },
        { GET, "/v1/tasks", api_tasks_list, true, "`?job=NAME`", "array of tasks" },
        { GET, "/v1/tasks/ID", api_task_get, true, "", "a task" },
        { POST, "/v1/tasks/ID/stop", api_task_stop, false, "", "`{index}`" },
        { POST, "/v1/tasks/ID/restart", api_task_restart, false, "", "`{index}`" },
        { GET, "/v1/tasks/ID/logs", api_task_logs, false,
                "`?stream=stdout\\|stderr\\|both` (both), `?lines=N` (only the last ones), "
                "`?follow=true`, `?from=BYTE` (one stream only)",
                "`text/plain`, streamed. With `?format=json`: one object per line "
                "`{\"task\",\"stream\",\"offset\",\"text\"}`" },
        { GET, "/v1/nodes", api_nodes_list, true, "", "array of nodes" },
        { GET, "/v1/events", api_events, false,
                "`Accept: text/event-stream` follows (`Last-Event-ID` or `?after=`); else a page: "
                "`?after=`, `?limit=` (1000), `?job=`, `?task=`, `?newest=true`",
                "server-sent events, or an array" },
        { GET, "/v1/why/SUBJECT", api_why, false, "a job, task or node",
                "`{subject, kind, summary, chain, next}`" },
        { POST, "/v1/down", api_down, false, "",
                "`{}`, then all tasks are stopped in order and Reeve ends" },
        { POST, "/v1/upgrade", api_upgrade, false, "`{\"keeper\": PATH\\|null}`",
                "`{}`, then keeper, agent and server are replaced; tasks run on" },
        { GET, "/v1/link", api_link, false, "WebSocket, UNIX socket only", "docs/link.md" },
        { 0 },
};

static bool matches(const char *pattern, const char *path, char *ret_name, size_t size)
{
        *ret_name = '\0';
        while (*pattern != '\0') {
                if (isupper((unsigned char) *pattern)) {
                        size_t len = strcspn(path, "/");

                        if (len == 0 || len >= size)
                                return false;
                        memcpy(ret_name, path, len);
                        ret_name[len] = '\0';
                        path += len;
                        pattern += strcspn(pattern, "/");
                } else if (*pattern++ != *path++) {
                        return false;
                }
        }
        return *path == '\0';
}

const struct route *api_match(
        const char *method, const char *path, char *ret_name, size_t size, char ret_allow[64])
{
        ret_allow[0] = '\0';
        for (const struct route *r = api_routes; r->method != NULL; r++) {
                if (!matches(r->pattern, path, ret_name, size))
                        continue;
                if (strcmp(r->method, method) == 0)
                        return r;
                snprintf(ret_allow + strlen(ret_allow), 64 - strlen(ret_allow), "%s%s",
                        ret_allow[0] == '\0' ? "" : ", ", r->method);
        }
        return NULL;
}

void api_reference(struct buffer *out)
{
        buffer_puts(out, "| method and path | body or query | answer |\n|---|---|---|\n");
        for (const struct route *r = api_routes; r->method != NULL; r++)
                buffer_printf(out, "| `%s %s` | %s%s%s |\n", r->method, r->pattern, r->takes,
                        *r->takes == '\0' ? "| " : " | ", r->answers);
}
