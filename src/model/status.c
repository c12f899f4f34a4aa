/* SPDX-License-Identifier: BSD-3-Clause */
/* The tables of what is seen of tasks, jobs, nodes and events. The order here is the order in
 * JSON; the words are those of the API, the CLI, the log and the documents. Names that are
 * out stay. */
#include "model/status.h"

#include <assert.h>
#include <stddef.h>

#include "base/macros.h"
#include "model/job.h"

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
        NULL,
};

const char *const node_state_names[] = {
        [NODE_READY] = "ready",
        [NODE_LOST] = "lost",
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
        [EVENT_NODE_READY] = "node-ready",
        [EVENT_NODE_LOST] = "node-lost",
        [EVENT_STORE] = "store",
        [EVENT_KIND_COUNT] = NULL,
};

#define TASK(member, type, help)                                                                   \
        {                                                                                          \
#member, type, offsetof(struct task_status, member), NULL, help                    \
        }
#define TASK_ENUM(member, names, help)                                                             \
        {                                                                                          \
#member, RECORD_ENUM, offsetof(struct task_status, member), names, help            \
        }

static const struct record_field task_fields[] = {
        TASK(id, RECORD_STRING, "the job, a dot and the index: `web.0`"),
        TASK(job, RECORD_STRING, "the job it is an instance of"),
        TASK(index, RECORD_INT, "its number among the tasks of the job, from 0"),
        TASK(version, RECORD_INT, "of the job, that its last run had"),
        TASK(node, RECORD_STRING, "the node it is placed on"),
        TASK_ENUM(state, task_state_names, "where it is in its life"),
        TASK(ready, RECORD_BOOL, "it runs and is ready to do its work"),
        TASK_ENUM(result, task_result_names, "how it ended; null before"),
        TASK(pid, RECORD_INT, "of the main process; null unless there is one"),
        TASK(runs, RECORD_INT, "runs begun so far; also the number of the current or last run"),
        TASK(restarts, RECORD_INT, "runs that the restart policy began"),
        TASK(exit_code, RECORD_INT,
                "of the last run that ended; null if a signal ended it, or none has ended"),
        TASK(signal, RECORD_SIGNAL, "that ended the last run that ended; null if it exited"),
        TASK(reason, RECORD_STRING, "why it is in this state, in one sentence"),
        TASK(since, RECORD_TIME, "it has been in this state"),
        TASK(next_run_at, RECORD_TIME, "when its next run is due; null if none is"),
        TASK(started_at, RECORD_TIME, "start of the current or last run"),
        TASK(log_bytes, RECORD_INT, "bytes of its logs; null when unknown"),
};

const struct record_table task_table = {
        "task",
        task_fields,
        ARRAY_SIZE(task_fields),
        sizeof(struct task_status),
};

#define JOB(member, type, help)                                                                    \
        {                                                                                          \
#member, type, offsetof(struct job_status, member), NULL, help                     \
        }
#define JOB_ENUM(member, names, help)                                                              \
        {                                                                                          \
#member, RECORD_ENUM, offsetof(struct job_status, member), names, help             \
        }

static const struct record_field job_status_fields[] = {
        JOB(name, RECORD_STRING, "its name"),
        JOB_ENUM(kind, job_kind_names, "what sort of job it is"),
        JOB(version, RECORD_INT, "grows by one with every change of the spec, from 1"),
        JOB(count, RECORD_INT, "tasks asked for"),
        JOB(running, RECORD_INT, "tasks that run"),
        JOB(ready, RECORD_INT, "tasks that are ready"),
        JOB_ENUM(state, job_state_names, "how it is, over all its tasks"),
        JOB(source, RECORD_STRING, "where the spec came from: `api`, or `file:` and a path"),
        JOB(reason, RECORD_STRING, "why, in one sentence; null when there is nothing to say"),
        JOB(since, RECORD_TIME, "when this version was accepted"),
};

const struct record_table job_table = {
        "job",
        job_status_fields,
        ARRAY_SIZE(job_status_fields),
        sizeof(struct job_status),
};

#define NODE(member, type, help)                                                                   \
        {                                                                                          \
#member, type, offsetof(struct node_status, member), NULL, help                    \
        }
#define NODE_ENUM(member, names, help)                                                             \
        {                                                                                          \
#member, RECORD_ENUM, offsetof(struct node_status, member), names, help            \
        }

static const struct record_field node_fields[] = {
        NODE(name, RECORD_STRING, "its name"),
        NODE_ENUM(state, node_state_names, "whether it is heard from"),
        NODE(tasks, RECORD_INT, "tasks assigned to it"),
        NODE(running, RECORD_INT, "tasks that run there"),
        NODE(version, RECORD_STRING, "of Reeve there"),
        NODE(kernel, RECORD_STRING, "release of the kernel there"),
        NODE(cores, RECORD_INT, "processors there"),
        NODE(memory, RECORD_INT, "bytes of memory there"),
        NODE(agent_pid, RECORD_INT, "process id of the agent"),
        NODE(keeper_pid, RECORD_INT, "process id of the keeper"),
        NODE(reason, RECORD_STRING, "why it is in this state, in one sentence"),
        NODE(since, RECORD_TIME, "it has been in this state"),
};

const struct record_table node_table = {
        "node",
        node_fields,
        ARRAY_SIZE(node_fields),
        sizeof(struct node_status),
};

#define EVENT(member, type, help)                                                                  \
        {                                                                                          \
#member, type, offsetof(struct event, member), NULL, help                          \
        }
#define EVENT_ENUM(member, names, help)                                                            \
        {                                                                                          \
#member, RECORD_ENUM, offsetof(struct event, member), names, help                  \
        }

static const struct record_field event_fields[] = {
        EVENT(index, RECORD_INT, "grows with every event"),
        EVENT(time, RECORD_TIME, "when it happened"),
        EVENT_ENUM(kind, event_kind_names, "what happened"),
        EVENT(job, RECORD_STRING, "the job it concerns, if any"),
        EVENT(task, RECORD_STRING, "the id of the task it concerns, if any"),
        EVENT(node, RECORD_STRING, "the node it concerns, if any"),
        EVENT(version, RECORD_INT, "of the job"),
        EVENT(run, RECORD_INT, "number of the run of the task"),
        EVENT(message, RECORD_STRING, "what happened and why, in one sentence"),
};

const struct record_table event_table = {
        "event",
        event_fields,
        ARRAY_SIZE(event_fields),
        sizeof(struct event),
};

static_assert(ARRAY_SIZE(task_state_names) == TASK_STATE_COUNT + 1, "a state without a name");
static_assert(ARRAY_SIZE(event_kind_names) == EVENT_KIND_COUNT + 1, "an event without a name");
static_assert(ARRAY_SIZE(task_result_names) == RESULT_UNKNOWN + 2, "a result without a name");
static_assert(ARRAY_SIZE(job_state_names) == JOB_FAILED + 2, "a job state without a name");
