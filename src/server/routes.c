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
        { GET, "/v1/version", ROLE_READ, api_version, false, "",
                "`{version, pid, data, listen, node, url, fingerprint}`" },
        { GET, "/v1/schema/job", ROLE_READ, api_schema_job, false, "",
                "JSON schema of a job file" },
        { GET, "/v1/jobs", ROLE_READ, api_jobs_list, true, "`?at=TIME`", "array of jobs" },
        { POST, "/v1/jobs", ROLE_OPERATE, api_jobs_apply, false,
                "a job file (`{jobs: {...}}`; JSON, or YAML with `Content-Type: application/yaml`);"
                " `?if_version=N` when it has one job",
                "`{index, jobs: [{job, version, action}]}`; all or none" },
        { POST, "/v1/plan", ROLE_READ, api_plan, false, "a job file",
                "what applying it would do (core/plan.h)" },
        { GET, "/v1/jobs/NAME", ROLE_READ, api_job_get, true, "`?version=N`, `?at=TIME`",
                "the job with its `spec`" },
        { DELETE, "/v1/jobs/NAME", ROLE_OPERATE, api_job_remove, false,
                "`?purge=true`: the logs, too", "`{index}`" },
        { POST, "/v1/jobs/NAME/stop", ROLE_OPERATE, api_job_stop, false, "", "`{index}`" },
        { POST, "/v1/jobs/NAME/restart", ROLE_OPERATE, api_job_restart, false, "", "`{index}`" },
        { POST, "/v1/jobs/NAME/scale", ROLE_OPERATE, api_job_scale, false, "`{\"count\": N}`",
                "`{index}`" },
        { GET, "/v1/jobs/NAME/versions", ROLE_READ, api_job_versions, true, "",
                "array of `{version, tasks, changes: [{field, from, to, needs_restart}]}`, oldest "
                "first: what is kept, how many tasks have it, and how it differs from the one "
                "before" },
        { POST, "/v1/jobs/NAME/promote", ROLE_OPERATE, api_job_promote, false, "",
                "`{index}`; its canary is good, the other tasks follow" },
        { POST, "/v1/jobs/NAME/revert", ROLE_OPERATE, api_job_revert, false,
                "`{\"version\": N}` (the one before)",
                "`{index, version}`: the number under which that spec is in force again" },
        { POST, "/v1/jobs/NAME/dispatch", ROLE_OPERATE, api_job_dispatch, false,
                "`{name, set: {FIELD: VALUE}}`: all optional",
                "`{index, job}`: the job that was made of the template" },
        { GET, "/v1/jobs/NAME/logs", ROLE_READ, api_job_logs, false, "as for a task; merged",
                "bytes" },
        { GET, "/v1/jobs/NAME/schedule", ROLE_READ, api_job_schedule, false, "`?count=N` (10)",
                "`{job, cron, zone, next: [{time, local}]}` of a cron job: when it is due next" },
        { GET, "/v1/tasks/ID", ROLE_READ, api_task_get, true, "`?at=TIME`", "a task" },
        { GET, "/v1/tasks", ROLE_READ, api_tasks_list, true,
                "`?job=NAME`, `?node=NAME`, `?state=STATE`, `?at=TIME`", "array of tasks" },
        { GET, "/v1/tasks/ID", ROLE_READ, api_task_get, true, "", "a task" },
        { POST, "/v1/tasks/ID/stop", ROLE_OPERATE, api_task_stop, false, "", "`{index}`" },
        { POST, "/v1/tasks/ID/restart", ROLE_OPERATE, api_task_restart, false, "", "`{index}`" },
        { GET, "/v1/tasks/ID/logs", ROLE_READ, api_task_logs, false,
                "`?stream=stdout\\|stderr\\|both` (both), `?lines=N` (only the last ones), "
                "`?follow=true`, `?from=BYTE` (one stream only), `?since=TIME`, `?until=TIME` (not "
                "with follow), `?run=N`, `?grep=REGEX`, `?timestamps=true`",
                "`text/plain`, streamed. With `?format=json`: one object per line "
                "`{\"task\",\"stream\",\"offset\",\"time\",\"run\",\"text\"}`" },
        { GET, "/v1/tasks/ID/vitals", ROLE_READ, api_task_vitals, false,
                "`?since=TIME`, `?max_age=TIME` (10s)",
                "`{newest, node, samples}`: what it uses, or null, and the samples of the last "
                "hour" },
        { GET, "/v1/tasks/ID/dossiers", ROLE_READ, api_task_dossiers, false, "`?run=N`",
                "array of dossiers of runs that have failed, the newest first; `503` while its "
                "node is away" },
        { POST, "/v1/tasks/ID/signal", ROLE_OPERATE, api_task_signal, false, "`{\"signal\": NAME}`",
                "`{}`: it was sent to the process group" },
        { GET, "/v1/tasks/ID/exec", ROLE_OPERATE, api_task_exec, false,
                "WebSocket; `?command=` once per word, `?tty=true`, `?rows=`, `?cols=`, `?term=`, "
                "`?user=`",
                "runs a program beside the task, see below" },
        { GET, "/v1/nodes", ROLE_READ, api_nodes_list, true, "`?at=TIME`", "array of nodes" },
        { GET, "/v1/nodes/NAME", ROLE_READ, api_node_get, true, "",
                "the node, with its tasks as `placed`: each with `chosen`, why it is on this node, "
                "and `leaving`, what it waits for to leave it, or null" },
        { GET, "/v1/nodes/NAME/vitals", ROLE_READ, api_node_vitals, false,
                "`?since=TIME`, `?max_age=TIME` (10s)",
                "`{newest, samples}`: the same of the machine" },
        { GET, "/v1/vitals", ROLE_READ, api_vitals, false,
                "`?node=NAME`, `?tasks=true\\|false` (true), `?max_age=TIME` (10s)",
                "`{nodes, tasks, silent}`: what all machines and tasks use, and the names of nodes "
                "that do not say" },
        { POST, "/v1/nodes/NAME/cordon", ROLE_OPERATE, api_node_cordon, false,
                "`{\"on\": true\\|false}` (true)", "`{index}`; it gets no new tasks" },
        { POST, "/v1/nodes/NAME/drain", ROLE_OPERATE, api_node_drain, false,
                "`{\"on\": true\\|false, \"deadline\": \"10m\"}` (true; no deadline)",
                "`{index}`; its tasks move elsewhere" },
        { GET, "/v1/events", ROLE_READ, api_events, false,
                "`?job=`, `?task=`, `?node=`, `?kind=K,...`, `?since=TIME`, `?until=TIME` (RFC "
                "3339, or "
                "how long ago: `10m`). `Accept: text/event-stream` or `?follow=true` follows "
                "(`Last-Event-ID` or `?after=`); else a page: `?after=`, `?limit=` (1000), "
                "`?newest=true`",
                "server-sent events, or an array" },
        { GET, "/v1/why/SUBJECT", ROLE_READ, api_why, false, "a job, task or node",
                "`{subject, kind, summary, chain, next}`" },
        { GET, "/v1/tokens", ROLE_ADMIN, api_tokens_list, false, "", "array of tokens" },
        { POST, "/v1/tokens", ROLE_ADMIN, api_token_make, false,
                "`{kind: \"api\"\\|\"join\", role, jobs, ttl, uses, note}`: all optional (`read`, "
                "no "
                "limit, never; `join`: `1h`, any number)",
                "the token, with its text as `token`: told only now" },
        { DELETE, "/v1/tokens/ID", ROLE_ADMIN, api_token_revoke, false, "",
                "`{}`; connections that it opened are ended" },
        { POST, "/v1/nodes/NAME/forget", ROLE_ADMIN, api_node_forget, false, "",
                "`{index}`; its credential is void, its link ended, its tasks are placed "
                "elsewhere" },
        { GET, "/v1/rebalance", ROLE_READ, api_rebalance_plan, false, "`?budget=` (10)",
                "moves that would even out the nodes: array of `{task, from, to, reason}`" },
        { POST, "/v1/rebalance", ROLE_ADMIN, api_rebalance, false, "`?budget=` (10)",
                "the same, and they are begun" },
        { POST, "/v1/join", ROLE_NONE, api_join, false, "docs/link.md", "a node's credential" },
        { GET, "/v1/snapshot", ROLE_ADMIN, api_snapshot, false, "",
                "all rows of the store as they are now, a line each (`application/x-ndjson`), and "
                "their checksum: what `reeve snapshot` works with" },
        { POST, "/v1/down", ROLE_ADMIN, api_down, false, "",
                "`{}`, then all tasks of the server's machine are stopped in order and Reeve ends "
                "there" },
        { POST, "/v1/upgrade", ROLE_ADMIN, api_upgrade, false, "`{\"keeper\": PATH\\|null}`",
                "`{}`, then keeper, agent and server of that machine are replaced; tasks run on" },
        { GET, "/metrics", ROLE_READ, api_metrics, false, "",
                "metrics.md; Prometheus text format 0.0.4" },
        { GET, "/v1/link", ROLE_NONE, api_link, false,
                "WebSocket; over TCP with a node's credential", "docs/link.md" },
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
        buffer_puts(
                out, "| method and path | role | body or query | answer |\n|---|---|---|---|\n");
        for (const struct route *r = api_routes; r->method != NULL; r++)
                buffer_printf(out, "| `%s %s` | %s | %s%s%s |\n", r->method, r->pattern,
                        r->role == ROLE_NONE ? "-" : role_names[r->role], r->takes,
                        *r->takes == '\0' ? "| " : " | ", r->answers);
}
