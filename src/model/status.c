/* SPDX-License-Identifier: BSD-3-Clause */
/* The tables of what is seen of tasks, jobs, nodes and events. The order here is the order in
 * JSON; the words are those of the API, the CLI, the log and the documents. Names that are
 * out stay. */
#include "model/status.h"

#include <assert.h>
#include <stddef.h>

#include "base/macros.h"
#include "model/dossier.h"
#include "model/job.h"
#include "model/token.h"
#include "model/vitals.h"

const char *const task_state_names[] = {
        [TASK_QUEUED] = "queued",
        [TASK_PLACED] = "placed",
        [TASK_PREPARING] = "preparing",
        [TASK_STARTING] = "starting",
        [TASK_RUNNING] = "running",
        [TASK_STOPPING] = "stopping",
        [TASK_ENDED] = "ended",
        [TASK_LOST] = "lost",
        [TASK_STATE_COUNT] = NULL,
};

const char *const task_result_names[] = {
        [RESULT_SUCCEEDED] = "succeeded",
        [RESULT_FAILED] = "failed",
        [RESULT_STOPPED] = "stopped",
        [RESULT_REJECTED] = "rejected",
        [RESULT_UNKNOWN] = "unknown",
        NULL,
};

const char *const job_state_names[] = {
        [JOB_STARTING] = "starting",
        [JOB_RUNNING] = "running",
        [JOB_UPDATING] = "updating",
        [JOB_DEGRADED] = "degraded",
        [JOB_STOPPING] = "stopping",
        [JOB_STOPPED] = "stopped",
        [JOB_SUCCEEDED] = "succeeded",
        [JOB_FAILED] = "failed",
        [JOB_SCHEDULED] = "scheduled",
        [JOB_TEMPLATE] = "template",
        NULL,
};

const char *const node_state_names[] = {
        [NODE_READY] = "ready",
        [NODE_LOST] = "lost",
        NULL,
};

const char *const node_scheduling_names[] = {
        [NODE_OPEN] = "open",
        [NODE_CORDONED] = "cordoned",
        [NODE_DRAINING] = "draining",
        [NODE_DRAINED] = "drained",
        NULL,
};

const char *const event_kind_names[] = {
        [EVENT_JOB_APPLIED] = "job-applied",
        [EVENT_JOB_SCALED] = "job-scaled",
        [EVENT_JOB_STOPPED] = "job-stopped",
        [EVENT_JOB_RESTARTED] = "job-restarted",
        [EVENT_JOB_REMOVED] = "job-removed",
        [EVENT_JOB_ROLLED] = "job-rolled",
        [EVENT_JOB_REFUSED] = "job-refused",
        [EVENT_TASK_CREATED] = "task-created",
        [EVENT_TASK_STARTED] = "task-started",
        [EVENT_TASK_ENDED] = "task-ended",
        [EVENT_TASK_WAITING] = "task-waiting",
        [EVENT_TASK_PARKED] = "task-parked",
        [EVENT_TASK_STOPPING] = "task-stopping",
        [EVENT_TASK_STOPPED] = "task-stopped",
        [EVENT_TASK_REMOVED] = "task-removed",
        [EVENT_TASK_LOGS] = "task-logs",
        [EVENT_TASK_SIGNALLED] = "task-signalled",
        [EVENT_TASK_EXEC] = "task-exec",
        [EVENT_NODE_READY] = "node-ready",
        [EVENT_NODE_LOST] = "node-lost",
        [EVENT_STORE] = "store",
        [EVENT_TASK_PLACED] = "task-placed",
        [EVENT_TASK_QUEUED] = "task-queued",
        [EVENT_TASK_LOST] = "task-lost",
        [EVENT_TASK_MOVED] = "task-moved",
        [EVENT_TASK_PREEMPTED] = "task-preempted",
        [EVENT_TASK_REJECTED] = "task-rejected",
        [EVENT_JOB_PROMOTED] = "job-promoted",
        [EVENT_JOB_REVERTED] = "job-reverted",
        [EVENT_JOB_DEADLINE] = "job-deadline",
        [EVENT_JOB_FIRED] = "job-fired",
        [EVENT_JOB_SKIPPED] = "job-skipped",
        [EVENT_NODE_CORDONED] = "node-cordoned",
        [EVENT_NODE_DRAINING] = "node-draining",
        [EVENT_NODE_DRAINED] = "node-drained",
        [EVENT_NODE_FORGOTTEN] = "node-forgotten",
        [EVENT_TOKEN] = "token",
        [EVENT_TASK_READY] = "task-ready",
        [EVENT_TASK_HEALTH] = "task-health",
        [EVENT_ALERT] = "alert",
        [EVENT_KIND_COUNT] = NULL,
};

#define FIELD(noun, member, type, help)                                                            \
        {                                                                                          \
#member, type, offsetof(struct noun, member), NULL, help                           \
        }
#define WORD(noun, member, names, help)                                                            \
        {                                                                                          \
#member, RECORD_ENUM, offsetof(struct noun, member), names, help                   \
        }

static const struct record_field task_fields[] = {
        FIELD(task_status, id, RECORD_STRING, "the job, a dot and the index: `web.0`"),
        FIELD(task_status, job, RECORD_STRING, "the job it is an instance of"),
        FIELD(task_status, index, RECORD_INT, "its number among the tasks of the job, from 0"),
        FIELD(task_status, version, RECORD_INT, "the version of the job that its last run had"),
        FIELD(task_status, node, RECORD_STRING, "the node it is placed on"),
        WORD(task_status, state, task_state_names, "where it is in its life"),
        FIELD(task_status, ready, RECORD_BOOL, "it runs and is ready to do its work"),
        FIELD(task_status, healthy, RECORD_BOOL, "no health check of its job says otherwise"),
        WORD(task_status, result, task_result_names, "how it ended; null as long as it has not"),
        FIELD(task_status, pid, RECORD_INT,
                "process id of its main process; null if there is none"),
        FIELD(task_status, runs, RECORD_INT,
                "runs begun so far; also the number of the current or last run"),
        FIELD(task_status, restarts, RECORD_INT, "runs that the restart policy began"),
        FIELD(task_status, exit_code, RECORD_INT,
                "of the last run that ended; null if it was ended by a signal, or none has ended"),
        FIELD(task_status, signal, RECORD_SIGNAL,
                "the signal that ended that run; null if it exited"),
        FIELD(task_status, reason, RECORD_STRING, "why it is in this state, in one sentence"),
        FIELD(task_status, since, RECORD_TIME, "when it came into this state"),
        FIELD(task_status, next_run_at, RECORD_TIME, "when its next run is due; null if none is"),
        FIELD(task_status, started_at, RECORD_TIME, "when the current or last run began"),
        FIELD(task_status, log_bytes, RECORD_INT, "bytes of its logs; null when unknown"),
        FIELD(task_status, ports, RECORD_STRING,
                "the ports it was given: `http=20001 admin=20002`; null if it has none"),
        FIELD(task_status, fence, RECORD_INT,
                "the number that a singleton has in `REEVE_FENCE`; null for others"),
        FIELD(task_status, status, RECORD_STRING,
                "what its program says of itself (`STATUS=`, sd_notify(3)); null if nothing"),
};

const struct record_table task_table = { "task", task_fields, ARRAY_SIZE(task_fields) };

static const struct record_field job_status_fields[] = {
        FIELD(job_status, name, RECORD_STRING, "its name"),
        WORD(job_status, kind, job_kind_names, "what kind of job it is"),
        FIELD(job_status, version, RECORD_INT,
                "grows by one with every change of the spec, from 1"),
        FIELD(job_status, count, RECORD_INT, "tasks asked for"),
        FIELD(job_status, running, RECORD_INT, "tasks that run"),
        FIELD(job_status, ready, RECORD_INT, "tasks that are ready"),
        WORD(job_status, state, job_state_names, "how it is, over all its tasks"),
        FIELD(job_status, source, RECORD_STRING,
                "where the spec came from: `api`, or `file:` and a path"),
        FIELD(job_status, reason, RECORD_STRING,
                "why, in one sentence; null when there is nothing to say"),
        FIELD(job_status, since, RECORD_TIME, "when this version was accepted"),
        FIELD(job_status, priority, RECORD_INT, "0 to 100; the higher is placed first"),
        FIELD(job_status, owner, RECORD_STRING, "whose fair share it counts against, if anybody's"),
        FIELD(job_status, queued, RECORD_INT, "tasks that wait for a node"),
        FIELD(job_status, lost, RECORD_INT, "tasks whose node is not heard from"),
};

const struct record_table job_table = { "job", job_status_fields, ARRAY_SIZE(job_status_fields) };

static const struct record_field node_fields[] = {
        FIELD(node_status, name, RECORD_STRING, "its name"),
        WORD(node_status, state, node_state_names, "whether it is heard from"),
        WORD(node_status, scheduling, node_scheduling_names,
                "whether tasks are placed there: not on one that is `cordoned`, and what is on one "
                "that is `draining` moves away"),
        FIELD(node_status, zone, RECORD_STRING, "its zone, if it has one"),
        FIELD(node_status, tasks, RECORD_INT, "tasks assigned to it"),
        FIELD(node_status, running, RECORD_INT, "tasks that run there"),
        FIELD(node_status, version, RECORD_STRING, "version of Reeve there"),
        FIELD(node_status, kernel, RECORD_STRING, "release of the kernel there"),
        FIELD(node_status, cores, RECORD_INT, "processors there"),
        FIELD(node_status, cpu, RECORD_INT, "thousandths of a core that its tasks may have"),
        FIELD(node_status, memory, RECORD_INT, "bytes of memory there"),
        FIELD(node_status, disk, RECORD_INT, "bytes of disk space there"),
        FIELD(node_status, cpu_used, RECORD_INT, "thousandths of a core that its tasks ask for"),
        FIELD(node_status, memory_used, RECORD_INT, "bytes of memory that its tasks ask for"),
        FIELD(node_status, disk_used, RECORD_INT, "bytes of disk space that its tasks ask for"),
        FIELD(node_status, attributes, RECORD_MAP, "what else is known of it"),
        FIELD(node_status, agent_pid, RECORD_INT, "process id of the agent"),
        FIELD(node_status, keeper_pid, RECORD_INT, "process id of the keeper"),
        FIELD(node_status, reason, RECORD_STRING, "why it is in this state, in one sentence"),
        FIELD(node_status, since, RECORD_TIME, "when it came into this state"),
        FIELD(node_status, heard, RECORD_TIME, "when it was last heard of"),
};

const struct record_table node_table = { "node", node_fields, ARRAY_SIZE(node_fields) };

static const struct record_field event_fields[] = {
        FIELD(event, index, RECORD_INT, "grows with every event"),
        FIELD(event, time, RECORD_TIME, "when it happened"),
        WORD(event, kind, event_kind_names, "what happened"),
        FIELD(event, job, RECORD_STRING, "the job it concerns, if any"),
        FIELD(event, task, RECORD_STRING, "the id of the task it concerns, if any"),
        FIELD(event, node, RECORD_STRING, "the node it concerns, if any"),
        FIELD(event, version, RECORD_INT, "of the job then; null if it concerns none"),
        FIELD(event, run, RECORD_INT, "the run of the task it tells of, if any"),
        FIELD(event, message, RECORD_STRING, "what happened and why, in one sentence"),
        FIELD(event, failure, RECORD_STRING,
                "`failed`, `oom` (out of memory), `parked` or `unhealthy`: what kind of failure it "
                "tells of, if any"),
};

const struct record_table event_table = { "event", event_fields, ARRAY_SIZE(event_fields) };

static_assert(ARRAY_SIZE(task_state_names) == TASK_STATE_COUNT + 1, "a state without a name");
static_assert(ARRAY_SIZE(event_kind_names) == EVENT_KIND_COUNT + 1, "an event without a name");
static_assert(ARRAY_SIZE(task_result_names) == RESULT_UNKNOWN + 2, "a result without a name");
static_assert(ARRAY_SIZE(node_scheduling_names) == NODE_DRAINED + 2, "a scheduling without a name");
static_assert(ARRAY_SIZE(job_state_names) == JOB_TEMPLATE + 2, "a job state without a name");

void status_reference(struct buffer *out)
{
        static const struct {
                const char *title, *text;
                const struct record_table *table;
        } parts[] = {
                { "Task", "One instance of a job.", &task_table },
                { "Job", "A job over all its tasks. Its spec is in job.md.", &job_table },
                { "Node", "A machine with an agent.", &node_table },
                { "Event", "Something that happened. It never changes.", &event_table },
                { "Dossier", "What is known of a run that has failed, gathered at its end.",
                        &dossier_table },
                { "Token", "What lets somebody in. The token itself is told only to who makes it.",
                        &token_table },
                { "Node vitals", "What a machine uses, with all that runs on it.",
                        &node_vitals_table },
                { "Task vitals", "What the processes of a task use together.", &task_vitals_table },
                { "Sample", "One of those that a node keeps for an hour.", &vitals_sample_table },
        };

        buffer_puts(out,
                "# Objects\n\n"
                "<!-- Written by `test-record --write-reference docs/objects.md`; edit "
                "src/model/status.c instead. -->\n\n"
                "What the HTTP API answers with, and what `--json` prints. Every field is always\n"
                "there; what does not apply is `null`. Programs should ignore fields they do not\n"
                "know: later versions may have more.\n");
        for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
                buffer_printf(out, "\n## %s\n%s\n\n", parts[i].title, parts[i].text);
                record_reference(parts[i].table, out);
        }
}
