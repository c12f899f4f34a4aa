/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/text.h"
#include "base/time.h"
#include "model/constraint.h"
#include "model/cron.h"

/* The spec of a job: what to run, how many, and what to do when it ends. One field table in
 * job-fields.c declares every field; reading, writing, diff, JSON schema and the reference page all
 * walk it. */

#define JOB_COUNT_MAX      100000 /* tasks of one job */
#define JOB_FILE_TASKS_MAX 200000 /* of all jobs in one file: each costs who reads it memory */

#define JOB_PORTS_MAX 8 /* of one task */

enum job_kind {
        JOB_SERVICE, /* kept up */
        JOB_BATCH,   /* runs to its end */
        JOB_CRON,    /* a batch that is begun anew at every slot of its timetable */
        JOB_SYSTEM,  /* a service with one task on every node that its `place` allows */
};
enum restart_policy { RESTART_ALWAYS, RESTART_ON_FAILURE, RESTART_NEVER };
enum restart_action { RESTART_ACTION_RESTART, RESTART_ACTION_END };
enum logs_when_full { LOGS_BLOCK, LOGS_DROP };
enum logs_forward { LOGS_FORWARD_NONE, LOGS_FORWARD_SYSLOG, LOGS_FORWARD_JOURNAL };
enum queue_mode {
        QUEUE_ALWAYS,       /* a task without a place waits for one */
        QUEUE_NEVER,        /* it is rejected at once */
        QUEUE_START_ONLY,   /* waits before its first run, is rejected later */
        QUEUE_RESTART_ONLY, /* is rejected before its first run, waits later */
};
enum place_rule { PLACE_SPREAD, PLACE_PACK };
enum lost_action { LOST_MOVE, LOST_WAIT, LOST_END };
enum update_order { UPDATE_STOP_FIRST, UPDATE_START_FIRST };
enum schedule_overlap { OVERLAP_SKIP, OVERLAP_WAIT, OVERLAP_REPLACE };
enum schedule_catch_up { CATCH_UP_NONE, CATCH_UP_LAST };

#define JOB_RETRIES_ANY UINT32_MAX /* batch.retries: no limit but those of `restart` */

enum health_action { HEALTH_RESTART, HEALTH_MARK };
enum after_condition { AFTER_STARTED, AFTER_READY, AFTER_SUCCEEDED, AFTER_ENDED };
enum after_failure { AFTER_FAILURE_NOTHING, AFTER_FAILURE_STOP, AFTER_FAILURE_RESTART };

#define JOB_READY_FD_NONE UINT32_MAX
#define JOB_CHECKS_MAX    16 /* `health` */
#define JOB_AFTER_MAX     64
#define JOB_FD_STORE_MAX  64
#define JOB_SOCKETS_MAX   15 /* `sockets` */

enum socket_type { SOCKET_STREAM, SOCKET_DATAGRAM };
enum job_start { JOB_START_NOW, JOB_START_ON_DEMAND };

/* One of `sockets`. */
struct job_socket {
        char *name;            /* the key, not a field */
        char *listen;          /* model/listen.h */
        enum socket_type type; /* default: stream */
        uint32_t mode;         /* of a UNIX socket's file; JOB_UMASK_NONE */
        uint32_t backlog;      /* default 4096 */
};

/* One of `health`. Exactly one of http, tcp and command is given; they may name variables. */
struct health_check {
        char *http; /* a URL */
        char *tcp;  /* "HOST:PORT" */
        char **command;
        bool command_shell;
        usec_t interval;     /* default 10s */
        usec_t timeout;      /* default 5s */
        uint32_t failures;   /* in a row: unhealthy. Default 3 */
        uint32_t successes;  /* in a row: healthy again. Default 1 */
        usec_t start_period; /* failures do not count for so long after the run began. Default 0 */
        enum health_action then; /* default: restart */
};

/* One of `after`. */
struct dependency {
        char *name; /* "db" or "db.0" */
        enum after_condition condition;
};

/* A field of `limits` that was not given, and one that says "unlimited". */
#define JOB_LIMIT_NONE      (UINT64_MAX - 1)
#define JOB_LIMIT_UNLIMITED UINT64_MAX

/* `sandbox.capabilities`, by their numbers, when nothing is given. */
#define JOB_CAPABILITIES_ANY UINT64_MAX
#define JOB_SANDBOX_PATHS    64 /* in one list */

enum sandbox_seccomp { SANDBOX_SECCOMP_NONE, SANDBOX_SECCOMP_DEFAULT };
enum sandbox_network { SANDBOX_NETWORK_HOST, SANDBOX_NETWORK_NONE };

#define JOB_NICE_NONE  INT32_MIN
#define JOB_UMASK_NONE UINT32_MAX
#define JOB_GROUPS_MAX 64

enum io_class { IO_CLASS_NONE, IO_CLASS_REALTIME, IO_CLASS_BEST_EFFORT, IO_CLASS_IDLE };

/* What a particular way to end means, before the policy is asked. The first rule that matches
 * counts. */
struct restart_rule {
        int *exit_codes; /* 0..255 */
        size_t exit_codes_len;
        int *signals;
        size_t signals_len;
        enum restart_action then;
};

/* Where tasks are rather placed, or rather not. */
struct preference {
        struct constraint *where;
        int32_t weight; /* -100..100, not 0 */
};

/* Lists of texts are ended by NULL; NULL if nothing was given. Texts are NULL if not given. */
struct job_spec {
        unsigned refs;

        char *name; /* the key under `jobs`, not a field */
        enum job_kind kind;
        bool template;  /* stored, never run; other jobs are made of it */
        uint32_t count; /* 0 if job_spec_per_node() */

        char **command; /* argv, NULL-terminated; for the shell form one element: the text given to
                           `sh -c` */
        bool command_shell; /* it was given as a string */
        char *user;         /* NULL: the user that the agent runs as */
        char *group;        /* NULL: the user's primary group */
        char **groups;      /* supplementary ones; NULL: the user's own */
        bool dynamic_user;  /* a uid of its own, which its node chooses */
        char *directory;    /* NULL: the root directory */
        char **env;         /* "NAME=value", sorted by name, NULL-terminated; NULL if none */

        char **env_files; /* read at each start, after env; "-/path": it may be missing; NULL if
                             none */

        char *pid_file; /* that Reeve writes; NULL: none */
        struct {
                char *pid_file; /* that the program writes, which forks itself away; NULL: it does
                                   not */
                usec_t timeout; /* for that. Default 30s */
                bool adopt;     /* a process that the file names already is taken over */
        } daemon;

        int *success_codes; /* exit codes that are success; default {0} */
        size_t success_codes_len;

        uint32_t priority; /* 0..100, default 50 */
        char *owner;       /* whose fair share it counts against; NULL: nobody's */

        struct {
                enum queue_mode mode;
                bool preempt; /* tasks of lower priority may be stopped to make room */
        } queue;

        struct {
                uint32_t cpu;    /* thousandths of a core. Default 0 */
                uint64_t memory; /* bytes. Default 0 */
                uint64_t disk;   /* bytes. Default 0 */
                char **ports;    /* names, at most JOB_PORTS_MAX, no two alike */
        } resources;

        uint32_t umask;    /* JOB_UMASK_NONE: the agent's, as for the following */
        int32_t nice;      /* JOB_NICE_NONE */
        int32_t oom_score; /* JOB_NICE_NONE; what oom_score_adj is set to */
        char *cpus;        /* NULL; "0-3,6": job_read_cpus() */
        struct {
                enum io_class class; /* the values are the kernel's. Default: none */
                uint32_t level;      /* 0..7, default 4 */
        } io;
        usec_t max_run_time; /* of one run; 0: as long as it likes */

        /* What the kernel enforces for all processes of a task together, and (from `files` on) for
         * each of them. JOB_LIMIT_NONE: not given, JOB_LIMIT_UNLIMITED. */
        struct {
                uint64_t memory;                /* bytes */
                uint64_t swap;                  /* bytes, beside memory */
                uint32_t cpu;                   /* thousandths of a core; 0: no limit */
                uint32_t cpu_weight, io_weight; /* 1..10000, default 100 */
                uint64_t pids;
                uint64_t files, core, stack, file_size, locked_memory, processes, address_space;
                enum restart_action over; /* when memory is only watched and was over its limit.
                                             Default: restart */
        } limits;

        /* Who is told of failures, beside whom the server tells of all (model/alert.h). */
        struct {
                char **on;            /* kinds of failures; NULL: failed and parked */
                char *webhook, *mail; /* NULL: none */
                usec_t repeat;        /* default 1h */
        } alerts;

        struct {              /* what its processes can reach; see job-sandbox.c */
                char *chroot; /* NULL: none */
                bool no_new_privs;
                uint64_t capabilities; /* those that are kept; JOB_CAPABILITIES_ANY */
                enum sandbox_seccomp seccomp;
                char **seccomp_deny; /* names of groups (model/syscalls.h) */
                bool private_tmp;
                bool read_only;
                char **writable, **hide; /* absolute paths */
                bool pid_namespace, user_namespace;
                enum sandbox_network network;
        } sandbox;

        struct {
                char **zones;                   /* any of them; NULL: wherever */
                char *node;                     /* exactly this one; NULL: any */
                struct constraint *constraints; /* `where`: all must hold */
                size_t constraints_len;
                struct preference *preferences; /* `prefer` */
                size_t preferences_len;
                char *spread; /* the attribute over whose values tasks are spread; NULL: none */
                enum place_rule by; /* default: spread */
                char *exclusive;    /* at most one task with this tag on a node; NULL: no tag */
                char *with;         /* the job whose nodes it follows; NULL: none */
                bool gang;          /* all tasks are placed or none */
        } place;

        bool singleton; /* never two at once; given a fencing token */
        usec_t lease;   /* of a singleton: a node that heard nothing of the server for so long stops
                           it. Default 10s */

        struct {
                enum lost_action then; /* default: move */
                usec_t after;          /* the node was not heard from for so long. Default 0 */
        } lost;

        struct {
                enum restart_policy policy; /* default: always (service, system), on-failure (batch,
                                               cron) */
                usec_t delay;     /* before the first restart, doubles with every failure in a row.
                                     Default 1s */
                usec_t max_delay; /* >= delay. Default 1m, or delay if that is longer */
                uint32_t burst;   /* failures within `window` after which the task is parked; 0:
                                     never. Default 5 */
                usec_t window;    /* > 0. Default 1m */
                usec_t healthy;   /* a run this long is healthy: delay and burst start afresh.
                                     Default 10s */
                struct restart_rule *rules;
                size_t rules_len;
        } restart;

        struct {
                int signal;   /* default SIGTERM */
                usec_t grace; /* before the whole process group is killed. Default 10s */
        } stop;

        struct {             /* at most one of the first six is given; none: ready once started */
                bool notify; /* sd_notify(3) */
                uint32_t fd; /* s6's; JOB_READY_FD_NONE */
                char *log;   /* a pattern (model/pattern.h) */
                char *http, *tcp;
                char **command;
                bool command_shell;
                usec_t interval;     /* default 1s */
                usec_t timeout;      /* default 5s */
                uint32_t successes;  /* default 1 */
                usec_t start_period; /* default 0 */
                usec_t deadline;     /* 0: none */
        } ready;

        struct health_check *health;
        size_t health_len;
        usec_t watchdog;   /* the longest time between two signs of life by sd_notify; 0: none */
        uint32_t fd_store; /* descriptors kept for the next run. Default 0 */

        struct job_socket *sockets; /* sorted by name */
        size_t sockets_len;
        enum job_start start; /* default: now */

        struct dependency *after; /* sorted by name */
        size_t after_len;
        enum after_failure after_failure; /* default: nothing */

        struct {
                uint64_t size;  /* of one log file before it is rotated. Default 10MiB, minimum 4KiB
                                 */
                uint32_t files; /* rotated files kept beside the current one. Default 5 */
                usec_t age;     /* of rotated files; 0: any */
                usec_t keep;    /* after the task is gone. Default 1d */
                enum logs_when_full when_full;
                enum logs_forward forward;
        } logs;

        struct {
                uint32_t parallel; /* tasks that may be down at once while a new version rolls out.
                                      Default 1 */
                enum update_order order; /* default: stop-first */
                usec_t healthy;          /* a new task must have been ready this long. Default 0 */
                usec_t pause;            /* between two steps. Default 0 */
                usec_t deadline;         /* a new task must be ready within. Default 10m */
                bool revert;             /* when it is not: back to the version before */
                uint32_t canary;         /* <= count; tasks that get the new version and then wait
                                            for a word. Default 0: none */
        } update;

        struct {
                uint32_t retries;  /* runs after a failed first one; JOB_RETRIES_ANY (default) */
                uint32_t parallel; /* tasks that run at the same time; 0: all. Default 0 */
                usec_t deadline;   /* for all of its tasks together; 0: none. Default 0 */
                usec_t keep;       /* its results after it ended; 0: until removed. Default 0 */
        } batch;

        struct {
                char *cron;                      /* set exactly if the kind is JOB_CRON */
                struct cron_expression times;    /* what it says; not a field */
                char *zone;                      /* of time; NULL: UTC */
                enum schedule_overlap overlap;   /* the last slot's tasks still run. Default skip */
                enum schedule_catch_up catch_up; /* slots that were missed. Default last */
                usec_t jitter; /* every slot begins up to so much later. Default 0 */
        } schedule;
};

/* There is no count: each node that the job may use has one task of it (kind system, or `with`). */
bool job_spec_per_node(const struct job_spec *spec);

/* Its tasks run to their end (batch, cron), they are not kept up (service, system). */
bool job_spec_is_batch(const struct job_spec *spec);

/* Whether its tasks are ready only when something says so, not as soon as they are started. */
bool job_spec_has_ready(const struct job_spec *spec);

/* Whether anything in `sandbox` is not at its default, or the user is dynamic. */
bool job_spec_has_sandbox(const struct job_spec *spec);

/* What is on though it may not stand there: a filter of system calls and a dynamic user bring
 * `no_new_privs`, a dynamic user brings `private_tmp`. */
bool job_spec_no_new_privs(const struct job_spec *spec);
bool job_spec_private_tmp(const struct job_spec *spec);

/* Whether its tasks are given a socket for sd_notify(3). */
bool job_spec_has_notify(const struct job_spec *spec);

struct job_spec *job_spec_ref(struct job_spec *spec);
void job_spec_unref(struct job_spec *spec);
void job_spec_unrefp(struct job_spec **spec);

/* Reads a list of CPUs such as "0-3,6" and calls @each (unless NULL) for every CPU in it. Returns
 * false if it is none; CPUs are numbered below JOB_CPUS_MAX. */
#define JOB_CPUS_MAX 4096
bool job_read_cpus(const char *text, void (*each)(void *data, unsigned cpu), void *data);

/* A parsed job file: the specs in the order of the file. */
struct job_file {
        struct job_spec **jobs;
        size_t jobs_len;
};

void job_file_done(struct job_file *file);

enum job_format { JOB_FORMAT_YAML, JOB_FORMAT_JSON };

/* The format by the ending of a file name: .json is JSON, all else YAML. */
enum job_format job_format_from_path(const char *path);

/* Reads a job file ({jobs: {NAME: SPEC}}). @label names it in messages ("web.yaml"). On failure the
 * message names file, line and field, and for an unknown field the nearest known one: `web.yaml:7:
 * jobs.web.restrat: unknown field; did you mean "restart"?`. ERR_INVALID or ERR_TOO_LARGE (1 MiB).
 */
int job_file_parse(const char *label, const char *text, size_t len, enum job_format format,
        struct job_file *ret, struct error *err);

/* One spec from its JSON object (the value under the job's name). Messages begin with `jobs.NAME.`.
 */
int job_spec_from_json(
        const char *name, const json_t *object, struct job_spec **ret, struct error *err);

/* The spec as JSON object with every field, defaults written out; durations and sizes as text with
 * units. New reference. */
json_t *job_spec_to_json(const struct job_spec *spec);

/* One field that differs. Texts are JSON of the values ("\"1s\"", "3"). */
struct job_change {
        const char *field; /* "restart.delay"; static */
        char *from, *to;
        bool needs_restart; /* a running process cannot take it: a new run is needed */
};

struct job_diff {
        struct job_change *changes;
        size_t len;
        bool needs_restart; /* any of them */
};

/* All fields in which @to differs from @from; empty when equal. job_diff_done() frees it. */
void job_spec_diff(const struct job_spec *from, const struct job_spec *to, struct job_diff *ret);
void job_diff_done(struct job_diff *diff);

/* JSON schema (2020-12) of a job file, for editors. New reference. */
json_t *job_schema(void);

/* The reference page of all fields (Markdown), as it stands in docs/job.md. */
void job_reference(struct buffer *out);

extern const char *const job_kind_names[]; /* ended by NULL, as the next */
extern const char *const queue_mode_names[];
extern const char *const job_start_names[];
extern const char *const after_condition_names[];
extern const char *const after_failure_names[];
