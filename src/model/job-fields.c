/* SPDX-License-Identifier: BSD-3-Clause */
/* The fields of a job spec: name, place in the struct, limits, default, and the words for people.
 *
 * A field is added here, and to struct job_spec, and nowhere else; a new type of field needs a
 * case in job-read.c, job-write.c and job-schema.c, and the compiler says where it is missing.
 * The sections (`restart`, `stop`, ...) are tables of their own, but their fields lie in struct
 * job_spec; a restart rule and a preference are structs of their own. */
#include "model/job-fields.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define AT(member)   offsetof(struct job_spec, member)
#define RULE(member) offsetof(struct restart_rule, member)
#define PREF(member) offsetof(struct preference, member)
#define SPAN_MAX     (365 * USEC_DAY)

const char *const job_kind_names[] = { "service", "batch", "cron", "system", NULL };
const char *const restart_policy_names[] = { "always", "on-failure", "never", NULL };
const char *const restart_action_names[] = { "restart", "end", NULL };
const char *const logs_when_full_names[] = { "block", "drop", NULL };
const char *const queue_mode_names[] = { "always", "never", "start-only", "restart-only", NULL };
const char *const place_rule_names[] = { "spread", "pack", NULL };
const char *const lost_action_names[] = { "move", "wait", "end", NULL };
const char *const update_order_names[] = { "stop-first", "start-first", NULL };
const char *const schedule_overlap_names[] = { "skip", "wait", "replace", NULL };
const char *const schedule_catch_up_names[] = { "none", "last", NULL };

static const char *const retries_names[] = { "none", NULL };

static const struct job_field rule_fields[] = {
        { .name = "exit",
                .path = "restart.rules.exit",
                .type = FIELD_CODES,
                .offset = RULE(exit_codes),
                .offset2 = RULE(exit_codes_len),
                .without = "no exit code matches",
                .help = "The rule matches a run that ended with this exit code, or one of these.",
                .example = "[64, 78]" },
        { .name = "signal",
                .path = "restart.rules.signal",
                .type = FIELD_SIGNALS,
                .offset = RULE(signals),
                .offset2 = RULE(signals_len),
                .without = "no signal matches",
                .help = "The rule matches a run that was ended by this signal, or one of these.",
                .example = "KILL" },
        { .name = "then",
                .path = "restart.rules.then",
                .type = FIELD_ENUM,
                .required = true,
                .names = restart_action_names,
                .offset = RULE(then),
                .help = "What happens then: `restart`, whatever the policy says, or `end`: no "
                        "further run.",
                .example = "end" },
        { 0 },
};

static const struct job_field restart_fields[] = {
        { .name = "policy",
                .path = "restart.policy",
                .type = FIELD_ENUM,
                .names = restart_policy_names,
                .offset = AT(restart.policy),
                .has_default = true,
                .initial = FIELD_DEFAULT_BY_KIND,
                .without =
                        "`always` for `service` and `system`, `on-failure` for `batch` and `cron`",
                .help = "When a run that ended by itself is followed by another: `always`, "
                        "`on-failure` (it was no success) or `never`.",
                .example = "on-failure" },
        { .name = "delay",
                .path = "restart.delay",
                .type = FIELD_SPAN,
                .offset = AT(restart.delay),
                .has_default = true,
                .initial = USEC_SEC,
                .max = SPAN_MAX,
                .help = "The wait before the first restart. It doubles with every failure in a "
                        "row.",
                .example = "1s" },
        { .name = "max_delay",
                .path = "restart.max_delay",
                .type = FIELD_SPAN,
                .offset = AT(restart.max_delay),
                .has_default = true,
                .initial = USEC_MINUTE,
                .max = SPAN_MAX,
                .without = "`1m`, or `delay` if that is longer",
                .help = "The wait does not grow beyond this. Not less than `delay`.",
                .example = "1m" },
        { .name = "burst",
                .path = "restart.burst",
                .type = FIELD_COUNT,
                .offset = AT(restart.burst),
                .has_default = true,
                .initial = 5,
                .max = 100000,
                .help = "After so many failures within `window` the task is parked: it ends as "
                        "failed and says why. 0: it never is.",
                .example = "5" },
        { .name = "window",
                .path = "restart.window",
                .type = FIELD_SPAN,
                .offset = AT(restart.window),
                .has_default = true,
                .initial = USEC_MINUTE,
                .min = USEC_MSEC,
                .max = SPAN_MAX,
                .help = "The time within which `burst` counts failures.",
                .example = "1m" },
        { .name = "healthy",
                .path = "restart.healthy",
                .type = FIELD_SPAN,
                .offset = AT(restart.healthy),
                .has_default = true,
                .initial = 10 * USEC_SEC,
                .max = SPAN_MAX,
                .help = "A run that lasted this long was healthy: delay and burst start afresh "
                        "after it.",
                .example = "10s" },
        { .name = "rules",
                .path = "restart.rules",
                .type = FIELD_RULES,
                .offset = AT(restart.rules),
                .offset2 = AT(restart.rules_len),
                .fields = rule_fields,
                .without = "none",
                .help = "What particular ways to end mean, before the policy is asked. The first "
                        "rule that matches counts.",
                .example = "[{exit: 78, then: end}]" },
        { 0 },
};

static const struct job_field stop_fields[] = {
        { .name = "signal",
                .path = "stop.signal",
                .type = FIELD_SIGNAL,
                .offset = AT(stop.signal),
                .has_default = true,
                .initial = SIGTERM,
                .help = "The signal that asks a task to end, by name (with or without `SIG`) or "
                        "number.",
                .example = "TERM" },
        { .name = "grace",
                .path = "stop.grace",
                .type = FIELD_SPAN,
                .offset = AT(stop.grace),
                .has_default = true,
                .initial = 10 * USEC_SEC,
                .max = SPAN_MAX,
                .help = "How long it may take before its whole process group is killed.",
                .example = "10s" },
        { 0 },
};

static const struct job_field logs_fields[] = {
        { .name = "size",
                .path = "logs.size",
                .type = FIELD_SIZE,
                .offset = AT(logs.size),
                .has_default = true,
                .initial = 10ull << 20,
                .min = 4096,
                .max = 1ull << 40,
                .help = "The size of a log file at which it is rotated, at the end of a line.",
                .example = "10MiB" },
        { .name = "files",
                .path = "logs.files",
                .type = FIELD_COUNT,
                .offset = AT(logs.files),
                .has_default = true,
                .initial = 5,
                .max = 1000,
                .help = "How many rotated files are kept beside the current one.",
                .example = "5" },
        { .name = "when_full",
                .path = "logs.when_full",
                .type = FIELD_ENUM,
                .names = logs_when_full_names,
                .offset = AT(logs.when_full),
                .has_default = true,
                .initial = LOGS_BLOCK,
                .help = "When the disk is full: `block` the task's writes until there is room, or "
                        "`drop` and count what cannot be kept.",
                .example = "block" },
        { 0 },
};

static const struct job_field update_fields[] = {
        { .name = "parallel",
                .path = "update.parallel",
                .type = FIELD_COUNT,
                .offset = AT(update.parallel),
                .has_default = true,
                .initial = 1,
                .min = 1,
                .max = JOB_COUNT_MAX,
                .help = "How many tasks may be down at once while a new version rolls out.",
                .example = "1" },
        { .name = "order",
                .path = "update.order",
                .type = FIELD_ENUM,
                .names = update_order_names,
                .offset = AT(update.order),
                .has_default = true,
                .initial = UPDATE_STOP_FIRST,
                .help = "`stop-first`: a task is stopped, then its successor is started. "
                        "`start-first`: the successor is started beside it, and must be "
                        "healthy before it is stopped.",
                .example = "start-first" },
        { .name = "healthy",
                .path = "update.healthy",
                .type = FIELD_SPAN,
                .offset = AT(update.healthy),
                .has_default = true,
                .initial = 0,
                .max = SPAN_MAX,
                .help = "How long a new task must be ready before the rollout goes on.",
                .example = "10s" },
        { .name = "pause",
                .path = "update.pause",
                .type = FIELD_SPAN,
                .offset = AT(update.pause),
                .has_default = true,
                .initial = 0,
                .max = SPAN_MAX,
                .help = "The wait between two steps of a rollout.",
                .example = "30s" },
        { .name = "deadline",
                .path = "update.deadline",
                .type = FIELD_SPAN,
                .offset = AT(update.deadline),
                .has_default = true,
                .initial = 10 * USEC_MINUTE,
                .min = USEC_MSEC,
                .max = SPAN_MAX,
                .help = "A new task that is not ready after this time has failed its "
                        "update.",
                .example = "10m" },
        { .name = "revert",
                .path = "update.revert",
                .type = FIELD_BOOL,
                .offset = AT(update.revert),
                .has_default = true,
                .help = "When an update has failed, the version before is rolled out "
                        "again.",
                .example = "true" },
        { .name = "canary",
                .path = "update.canary",
                .type = FIELD_COUNT,
                .offset = AT(update.canary),
                .has_default = true,
                .initial = 0,
                .max = JOB_COUNT_MAX,
                .help = "So many tasks get a new version first; the others follow when "
                        "`reeve promote` says so. Not more than `count`. 0: none do.",
                .example = "1" },
        { 0 },
};

static const struct job_field queue_fields[] = {
        { .name = "mode",
                .path = "queue.mode",
                .type = FIELD_ENUM,
                .names = queue_mode_names,
                .offset = AT(queue.mode),
                .has_default = true,
                .initial = QUEUE_ALWAYS,
                .help = "What happens to a task for which there is no room: `always`: it "
                        "waits until there is; `never`: it is rejected at once; "
                        "`start-only`: it waits before its first run, and is rejected "
                        "when it would have to be placed again; `restart-only`: the "
                        "reverse.",
                .example = "never" },
        { .name = "preempt",
                .path = "queue.preempt",
                .type = FIELD_BOOL,
                .offset = AT(queue.preempt),
                .has_default = true,
                .help = "Tasks of jobs with a lower `priority` may be stopped to make "
                        "room.",
                .example = "true" },
        { 0 },
};

static const struct job_field resources_fields[] = {
        { .name = "cpu",
                .path = "resources.cpu",
                .type = FIELD_MILLI,
                .offset = AT(resources.cpu),
                .has_default = true,
                .max = JOB_CPU_MAX * 1000,
                .help = "Cores that a task needs: `0.5` or `500m`.",
                .example = "0.5" },
        { .name = "memory",
                .path = "resources.memory",
                .type = FIELD_SIZE,
                .offset = AT(resources.memory),
                .has_default = true,
                .max = 1ull << 50,
                .help = "Memory that a task needs.",
                .example = "256MiB" },
        { .name = "disk",
                .path = "resources.disk",
                .type = FIELD_SIZE,
                .offset = AT(resources.disk),
                .has_default = true,
                .max = 1ull << 50,
                .help = "Disk space that a task needs.",
                .example = "1GiB" },
        { .name = "ports",
                .path = "resources.ports",
                .type = FIELD_NAMES,
                .needs_restart = true,
                .offset = AT(resources.ports),
                .max = JOB_PORTS_MAX,
                .without = "none",
                .help = "Names of ports: each task is given a free port of its node for "
                        "each.",
                .example = "[http, admin]" },
        { 0 },
};

static const struct job_field preference_fields[] = {
        { .name = "where",
                .path = "place.prefer.where",
                .type = FIELD_CONSTRAINT,
                .required = true,
                .offset = PREF(where),
                .help = "The condition, written as in `place.where`.",
                .example = "disk_kind = ssd" },
        { .name = "weight",
                .path = "place.prefer.weight",
                .type = FIELD_WEIGHT,
                .required = true,
                .offset = PREF(weight),
                .max = 100,
                .help = "How much nodes for which it holds are preferred; below 0: "
                        "avoided.",
                .example = "50" },
        { 0 },
};

static const struct job_field place_fields[] = {
        { .name = "zone",
                .path = "place.zone",
                .type = FIELD_TEXTS,
                .offset = AT(place.zones),
                .max = 64,
                .without = "any zone",
                .help = "Only on nodes of this zone, or one of these.",
                .example = "[west, east]" },
        { .name = "node",
                .path = "place.node",
                .type = FIELD_NAME,
                .offset = AT(place.node),
                .without = "any node",
                .help = "Only on this node.",
                .example = "node7" },
        { .name = "where",
                .path = "place.where",
                .type = FIELD_CONSTRAINTS,
                .offset = AT(place.constraints),
                .offset2 = AT(place.constraints_len),
                .without = "none",
                .help = "Only on nodes for whose attributes all of these conditions hold.",
                .example = "[\"memory >= 4GiB\", \"gpu exists\"]" },
        { .name = "prefer",
                .path = "place.prefer",
                .type = FIELD_PREFERENCES,
                .offset = AT(place.preferences),
                .offset2 = AT(place.preferences_len),
                .fields = preference_fields,
                .without = "none",
                .help = "Rather on nodes for which these conditions hold.",
                .example = "[{where: \"disk_kind = ssd\", weight: 50}]" },
        { .name = "spread",
                .path = "place.spread",
                .type = FIELD_ATTRIBUTE,
                .offset = AT(place.spread),
                .without = "none",
                .help = "The tasks are spread evenly over the values of this attribute.",
                .example = "zone" },
        { .name = "by",
                .path = "place.by",
                .type = FIELD_ENUM,
                .names = place_rule_names,
                .offset = AT(place.by),
                .has_default = true,
                .initial = PLACE_SPREAD,
                .help = "Among nodes that are equally good: `spread`: the one with the "
                        "most room, `pack`: the one with the least.",
                .example = "pack" },
        { .name = "exclusive",
                .path = "place.exclusive",
                .type = FIELD_NAME,
                .offset = AT(place.exclusive),
                .without = "none",
                .help = "A tag. On one node there is at most one task with it, of "
                        "whatever job.",
                .example = "gpu" },
        { .name = "with",
                .path = "place.with",
                .type = FIELD_NAME,
                .offset = AT(place.with),
                .without = "none",
                .help = "The name of another job. There is one task on every node where "
                        "that job has tasks, and nowhere else, and it is restarted when "
                        "that job is updated. `count` is not given then.",
                .example = "db" },
        { .name = "gang",
                .path = "place.gang",
                .type = FIELD_BOOL,
                .offset = AT(place.gang),
                .has_default = true,
                .help = "All tasks are placed at once, or none.",
                .example = "true" },
        { 0 },
};

static const struct job_field lost_fields[] = {
        { .name = "then",
                .path = "lost.then",
                .type = FIELD_ENUM,
                .names = lost_action_names,
                .offset = AT(lost.then),
                .has_default = true,
                .initial = LOST_MOVE,
                .help = "`move`: the tasks are placed on other nodes; `wait`: they wait "
                        "for the node to come back; `end`: they end.",
                .example = "wait" },
        { .name = "after",
                .path = "lost.after",
                .type = FIELD_SPAN,
                .offset = AT(lost.after),
                .has_default = true,
                .initial = 0,
                .max = SPAN_MAX,
                .help = "How long a node must be lost before that happens.",
                .example = "5m" },
        { 0 },
};

static const struct job_field batch_fields[] = {
        { .name = "retries",
                .path = "batch.retries",
                .type = FIELD_COUNT,
                .names = retries_names,
                .offset = AT(batch.retries),
                .has_default = true,
                .initial = JOB_RETRIES_ANY,
                .max = 100000,
                .help = "How often a task is run again after it failed, if `restart` has "
                        "it run again at all; `restart.burst` does not count then. `none`: no "
                        "limit but those of `restart`.",
                .example = "3" },
        { .name = "parallel",
                .path = "batch.parallel",
                .type = FIELD_COUNT,
                .offset = AT(batch.parallel),
                .has_default = true,
                .initial = 0,
                .max = JOB_COUNT_MAX,
                .help = "How many tasks run at the same time. 0: all.",
                .example = "10" },
        { .name = "deadline",
                .path = "batch.deadline",
                .type = FIELD_SPAN,
                .offset = AT(batch.deadline),
                .has_default = true,
                .initial = 0,
                .max = SPAN_MAX,
                .help = "How long all of it may take. What has not ended then is stopped "
                        "and has failed. 0: as long as it takes.",
                .example = "1h" },
        { .name = "keep",
                .path = "batch.keep",
                .type = FIELD_SPAN,
                .offset = AT(batch.keep),
                .has_default = true,
                .initial = 0,
                .max = SPAN_MAX,
                .help = "How long the job is kept after it ended. 0: until it is removed.",
                .example = "7d" },
        { 0 },
};

static const struct job_field schedule_fields[] = {
        { .name = "cron",
                .path = "schedule.cron",
                .type = FIELD_TEXT,
                .offset = AT(schedule.cron),
                .without = "required if `kind` is `cron`",
                .help = "When the tasks are begun anew: minute, hour, day of the month, "
                        "month, day of the week, as in crontab(5).",
                .example = "\"0 3 * * *\"" },
        { .name = "zone",
                .path = "schedule.zone",
                .type = FIELD_TEXT,
                .offset = AT(schedule.zone),
                .without = "`UTC`",
                .help = "The time zone that `cron` is meant in.",
                .example = "Europe/Paris" },
        { .name = "overlap",
                .path = "schedule.overlap",
                .type = FIELD_ENUM,
                .names = schedule_overlap_names,
                .offset = AT(schedule.overlap),
                .has_default = true,
                .initial = OVERLAP_SKIP,
                .help = "When tasks of the last time still run: `skip`: they run on and "
                        "this time is left out; `wait`: it begins when they have ended; "
                        "`replace`: they are stopped.",
                .example = "wait" },
        { .name = "catch_up",
                .path = "schedule.catch_up",
                .type = FIELD_ENUM,
                .names = schedule_catch_up_names,
                .offset = AT(schedule.catch_up),
                .has_default = true,
                .initial = CATCH_UP_LAST,
                .help = "When the server was away at one or several of these times: "
                        "`last`: they are made up for once; `none`: they are left out.",
                .example = "none" },
        { .name = "jitter",
                .path = "schedule.jitter",
                .type = FIELD_SPAN,
                .offset = AT(schedule.jitter),
                .has_default = true,
                .initial = 0,
                .max = SPAN_MAX,
                .help = "Every time is put off by a part of this, so that not everything "
                        "begins at once.",
                .example = "30s" },
        { 0 },
};

const struct job_field job_fields[] = {
        { .name = "kind",
                .path = "kind",
                .type = FIELD_ENUM,
                .names = job_kind_names,
                .offset = AT(kind),
                .has_default = true,
                .initial = JOB_SERVICE,
                .help = "`service`: kept up. `batch`: runs to its end. `cron`: a batch "
                        "that is begun anew by a timetable. `system`: a service with one "
                        "task on every node.",
                .example = "service" },
        { .name = "template",
                .path = "template",
                .type = FIELD_BOOL,
                .offset = AT(template),
                .has_default = true,
                .help = "The job is not run. Other jobs are made of it with `reeve "
                        "dispatch`.",
                .example = "true" },
        { .name = "count",
                .path = "count",
                .type = FIELD_TASKS,
                .offset = AT(count),
                .has_default = true,
                .initial = 1,
                .max = JOB_COUNT_MAX,
                .help = "How many tasks of the job there are. Not given for `system` and with "
                        "`place.with`.",
                .example = "3" },
        { .name = "command",
                .path = "command",
                .type = FIELD_COMMAND,
                .required = true,
                .needs_restart = true,
                .offset = AT(command),
                .offset2 = AT(command_shell),
                .help = "What to run: a list of the program and its arguments, or one text for "
                        "`sh -c`.",
                .example = "[./server, --port, 8080]" },
        { .name = "user",
                .path = "user",
                .type = FIELD_TEXT,
                .needs_restart = true,
                .offset = AT(user),
                .without = "the user that the agent runs as",
                .help = "The user to run as, by name or number.",
                .example = "www-data" },
        { .name = "group",
                .path = "group",
                .type = FIELD_TEXT,
                .needs_restart = true,
                .offset = AT(group),
                .without = "the user's primary group",
                .help = "The group to run as, by name or number.",
                .example = "www-data" },
        { .name = "directory",
                .path = "directory",
                .type = FIELD_PATH,
                .needs_restart = true,
                .offset = AT(directory),
                .without = "`/`",
                .help = "The working directory, an absolute path.",
                .example = "/srv/web" },
        { .name = "env",
                .path = "env",
                .type = FIELD_ENV,
                .needs_restart = true,
                .offset = AT(env),
                .without = "none",
                .help = "Environment variables. Numbers, `true` and `false` are taken as the text "
                        "they are written as.",
                .example = "{LOG_LEVEL: info}" },
        { .name = "success_codes",
                .path = "success_codes",
                .type = FIELD_CODES,
                .offset = AT(success_codes),
                .offset2 = AT(success_codes_len),
                .has_default = true,
                .initial = 0,
                .help = "The exit codes that are a success.",
                .example = "[0, 3]" },
        { .name = "priority",
                .path = "priority",
                .type = FIELD_COUNT,
                .offset = AT(priority),
                .has_default = true,
                .initial = 50,
                .max = 100,
                .help = "Whose tasks are placed first when there is not room for all: "
                        "those of the higher number.",
                .example = "70" },
        { .name = "owner",
                .path = "owner",
                .type = FIELD_TEXT,
                .offset = AT(owner),
                .without = "none",
                .help = "Whose job it is. Among jobs of the same priority that wait, "
                        "owners get equal shares.",
                .example = "data-team" },
        { .name = "singleton",
                .path = "singleton",
                .type = FIELD_BOOL,
                .offset = AT(singleton),
                .has_default = true,
                .help = "There are never two of it, not even when its node is cut off: it "
                        "gets a number in `REEVE_FENCE` that grows with every placement. "
                        "For a service with a `count` of 1.",
                .example = "true" },
        { .name = "lease",
                .path = "lease",
                .type = FIELD_SPAN,
                .offset = AT(lease),
                .has_default = true,
                .initial = 10 * USEC_SEC,
                .min = USEC_SEC,
                .max = USEC_DAY,
                .help = "A singleton is stopped by its node when the node has not heard "
                        "from the server for so long, and is not placed elsewhere before.",
                .example = "10s" },
        { .name = "resources",
                .path = "resources",
                .type = FIELD_SECTION,
                .fields = resources_fields,
                .help = "What a task needs of its node, and what placement counts with." },
        { .name = "place",
                .path = "place",
                .type = FIELD_SECTION,
                .fields = place_fields,
                .help = "On which nodes its tasks run." },
        { .name = "queue",
                .path = "queue",
                .type = FIELD_SECTION,
                .fields = queue_fields,
                .help = "What happens when there is no room." },
        { .name = "lost",
                .path = "lost",
                .type = FIELD_SECTION,
                .fields = lost_fields,
                .help = "What happens to tasks when their node is not heard from any "
                        "more." },
        { .name = "restart",
                .path = "restart",
                .type = FIELD_SECTION,
                .fields = restart_fields,
                .help = "What happens when a task ends by itself." },
        { .name = "stop",
                .path = "stop",
                .type = FIELD_SECTION,
                .fields = stop_fields,
                .help = "How a task is asked to end." },
        { .name = "logs",
                .path = "logs",
                .type = FIELD_SECTION,
                .fields = logs_fields,
                .help = "What is kept of standard output and standard error, each in files of its "
                        "own." },
        { .name = "update",
                .path = "update",
                .type = FIELD_SECTION,
                .fields = update_fields,
                .help = "How a new version of the job replaces the old one." },
        { .name = "batch",
                .path = "batch",
                .type = FIELD_SECTION,
                .fields = batch_fields,
                .help = "What holds for jobs that run to their end: `batch` and `cron`." },
        { .name = "schedule",
                .path = "schedule",
                .type = FIELD_SECTION,
                .fields = schedule_fields,
                .help = "The timetable of a `cron` job." },
        { 0 },
};

void *job_field_at(const struct job_field *field, void *base)
{
        return (char *) base + field->offset;
}

const void *job_field_get(const struct job_field *field, const void *base)
{
        return (const char *) base + field->offset;
}

size_t job_field_len(const struct job_field *field, const void *base)
{
        size_t len;

        memcpy(&len, (const char *) base + field->offset2, sizeof len);
        return len;
}

const struct job_field *job_field_find(const struct job_field *fields, const char *name)
{
        for (; fields->name != NULL; fields++)
                if (strcmp(fields->name, name) == 0)
                        return fields;
        return NULL;
}

static void init_codes(const struct job_field *field, void *base)
{
        int *codes = mem_alloc(sizeof *codes);
        size_t len = 1;

        codes[0] = (int) field->initial;
        memcpy(job_field_at(field, base), &codes, sizeof codes);
        memcpy((char *) base + field->offset2, &len, sizeof len);
}

static void init_field(const struct job_field *field, void *base)
{
        void *at = job_field_at(field, base);

        switch (field->type) {
        case FIELD_ENUM:
        case FIELD_COUNT:
        case FIELD_TASKS:
        case FIELD_MILLI:
                *(uint32_t *) at = (uint32_t) field->initial;
                break;
        case FIELD_SPAN:
        case FIELD_SIZE:
                *(uint64_t *) at = field->initial;
                break;
        case FIELD_SIGNAL:
                *(int *) at = (int) field->initial;
                break;
        case FIELD_CODES:
                if (field->has_default)
                        init_codes(field, base);
                break;
        case FIELD_SECTION:
                job_fields_init(field->fields, base);
                break;
        case FIELD_RULES:
        case FIELD_PREFERENCES:
        case FIELD_CONSTRAINT:
        case FIELD_CONSTRAINTS:
        case FIELD_BOOL:
        case FIELD_WEIGHT:
        case FIELD_TEXT:
        case FIELD_PATH:
        case FIELD_NAME:
        case FIELD_ATTRIBUTE:
        case FIELD_TEXTS:
        case FIELD_NAMES:
        case FIELD_SIGNALS:
        case FIELD_COMMAND:
        case FIELD_ENV:
                break; /* zero is nothing given */
        }
}

void job_fields_init(const struct job_field *fields, void *base)
{
        for (; fields->name != NULL; fields++)
                init_field(fields, base);
}

static void free_texts(char **texts)
{
        for (char **t = texts; t != NULL && *t != NULL; t++)
                free(*t);
        free(texts);
}

static void free_rules(const struct job_field *field, void *base)
{
        struct restart_rule *rules = *(struct restart_rule **) job_field_at(field, base);

        for (size_t i = 0, len = job_field_len(field, base); i < len; i++)
                job_fields_done(field->fields, &rules[i]);
        free(rules);
}

static void free_preferences(const struct job_field *field, void *base)
{
        struct preference *preferences = *(struct preference **) job_field_at(field, base);

        for (size_t i = 0, len = job_field_len(field, base); i < len; i++)
                job_fields_done(field->fields, &preferences[i]);
        free(preferences);
}

static void free_constraints(struct constraint *constraints, size_t len)
{
        for (size_t i = 0; i < len && constraints != NULL; i++)
                constraint_done(&constraints[i]);
        free(constraints);
}

static void free_field(const struct job_field *field, void *base)
{
        void *at = job_field_at(field, base);

        switch (field->type) {
        case FIELD_SECTION:
                job_fields_done(field->fields, base);
                break;
        case FIELD_RULES:
                free_rules(field, base);
                break;
        case FIELD_PREFERENCES:
                free_preferences(field, base);
                break;
        case FIELD_CONSTRAINT:
                free_constraints(*(struct constraint **) at, 1);
                break;
        case FIELD_CONSTRAINTS:
                free_constraints(*(struct constraint **) at, job_field_len(field, base));
                break;
        case FIELD_TEXT:
        case FIELD_PATH:
        case FIELD_NAME:
        case FIELD_ATTRIBUTE:
                free(*(char **) at);
                break;
        case FIELD_CODES:
        case FIELD_SIGNALS:
                free(*(int **) at);
                break;
        case FIELD_COMMAND:
        case FIELD_ENV:
        case FIELD_TEXTS:
        case FIELD_NAMES:
                free_texts(*(char ***) at);
                break;
        case FIELD_ENUM:
        case FIELD_BOOL:
        case FIELD_COUNT:
        case FIELD_TASKS:
        case FIELD_WEIGHT:
        case FIELD_MILLI:
        case FIELD_SPAN:
        case FIELD_SIZE:
        case FIELD_SIGNAL:
                break;
        }
}

void job_fields_done(const struct job_field *fields, void *base)
{
        for (; fields->name != NULL; fields++)
                free_field(fields, base);
}
