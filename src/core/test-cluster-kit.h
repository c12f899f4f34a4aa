/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* cmocka wants these four in front of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/cluster.h"

/* A cluster, its stored rows, and agents that drive the real task machine over links that carry
 * messages in order until they are cut. Time is a number. */

#define KIT_AGENTS     3 /* that most tests use; the others are there when they are connected */
#define KIT_AGENTS_MAX 8

struct kit_row {
        char *key, *value;
};

struct kit_process { /* of a task on an agent's node */
        int32_t pid; /* 0: none */
        int signal;  /* that it was sent and has not obeyed yet */
};

struct kit_task {
        char *id, *job;
        uint32_t index;
        struct task_machine machine;
        struct job_spec *spec;
        struct kit_process process;
        bool forget, changed;
        bool tell_end; /* it is to be forgotten, and that it has ended was not told */
        bool spawn;    /* the effect has still to be carried out */
};

struct kit_message { /* to an agent */
        struct cluster_assign assign;
        struct job_spec *spec;
        bool all; /* not an assign: what was not named since the last connect is dropped */
};

struct kit_report { /* to the server */
        struct kit_task copy;
};

struct kit_agent {
        struct kit *kit;
        char name[8];
        char *about; /* its node object; NULL: any machine */
        bool connected;
        struct kit_task *tasks;
        size_t tasks_len;
        struct kit_message *inbox;
        size_t inbox_len;
        struct kit_report *outbox;
        size_t outbox_len;
        uint64_t note_seq; /* of its newest note */
};

struct kit {
        struct cluster *c;
        struct cluster_effects fx; /* of the last event */
        struct error err;
        usec_t now;
        struct kit_row *rows;
        size_t rows_len;
        size_t handled; /* events */
        struct kit_agent agents[KIT_AGENTS_MAX];
        int32_t last_pid;
        uint64_t seed;
        bool crash; /* the server is killed before it can commit: kit_handle() gives 1, then
                       kit_reload() */
        void (*on_handled)(struct kit *k, const struct cluster_event *event); /* after the commit */
        void (*on_spawn)(struct kit_agent *a, struct kit_task *t);
        void (*on_exit)(struct kit_agent *a, struct kit_task *t, int exit_code);
        void *data;
};

struct kit *kit_new(void);
void kit_free(struct kit *k);

/* Hands the event over, stores the rows, which then must be what the cluster knows, and sends the
 * assigns. What it returned. */
int kit_handle(struct kit *k, const struct cluster_event *event);

struct job_spec *kit_spec(const char *name, const char *json);
int kit_apply_from(struct kit *k, const char *source, const char *name, const char *json);
int kit_apply(struct kit *k, const char *name, const char *json);
int kit_command(struct kit *k, enum cluster_event_type type, const char *target);
int kit_scale(struct kit *k, const char *target, uint32_t count);

/* What the agent says of its node when it connects: members of a node object, as JSON. */
void kit_describe(struct kit *k, size_t agent, const char *json);
void kit_connect(struct kit *k, size_t agent);
void kit_disconnect(struct kit *k, size_t agent);
void kit_wipe(struct kit *k, size_t agent); /* the agent forgets all it knew; no process is left */
int kit_note(struct kit *k, size_t agent, const char *task, uint64_t seq);

/* One thing at a time; false if there was none. */
bool kit_deliver_to_agent(struct kit_agent *a);
bool kit_deliver_to_server(struct kit_agent *a);
void kit_report_of(const struct kit_task *t, struct cluster_report *ret);
bool kit_agent_report(struct kit_agent *a); /* puts what changed on the link */
bool kit_agent_work(
        struct kit_agent *a);   /* one spawn, one obeyed signal or one timer that is due */
void kit_settle(struct kit *k); /* all of it, until nothing is left */

/* Time goes by to the next thing that is due, and to the one after it, and all is settled each
 * time, until @span has passed. */
void kit_pass(struct kit *k, usec_t span);

struct kit_task *kit_task(struct kit *k, const char *id); /* on any agent, or NULL */
void kit_exit(struct kit *k, const char *id, int exit_code);
void kit_end_process(struct kit_agent *a, struct kit_task *t, int exit_code, int signal);

/* The server is killed and begins anew from its rows; all links are cut. */
void kit_reload(struct kit *k);
void kit_lose_rows(struct kit *k);
void kit_store_rows(struct kit *k); /* of the last event */

struct task_status kit_status(struct kit *k, const char *id);
struct job_status kit_job(struct kit *k, const char *name);
/* All that can be seen of jobs, tasks and nodes, as text; freed by the caller. */
char *kit_picture(const struct cluster *c);
/* The newest event of the last turn has this text in it. */
void kit_expect_event(const struct kit *k, enum event_kind kind, const char *text);
size_t kit_count_events(const struct kit *k, enum event_kind kind);

/* A node of each description, "a" first; the last is followed by NULL. */
struct kit *kit_with_nodes(const char *about, ...);
const char *node_of(struct kit *k, const char *id); /* "" if it waits for one */
/* "a a b": the nodes of the job's tasks, in the order of their indexes; "-": none. */
void expect_nodes(struct kit *k, const char *job, const char *nodes);
/* No node has more on it than it can take: amounts, tags, ports. */
void expect_capacity_kept(struct kit *k);
size_t kit_processes(struct kit *k, const char *id); /* of that task, on all agents */

struct kit *kit_with_plain_nodes(size_t len);                         /* of any machines */
void expect_reason(struct kit *k, const char *job, const char *text); /* it has this in it */
void kit_end_all(struct kit *k, const char *job, int exit_code);      /* all processes of the job */
void kit_tick(struct kit *k); /* one, at the time that is due; its effects are left to look at */

struct kit *kit_with_node(void);
struct kit *kit_with_job(const char *name, const char *json); /* and it runs */
void expect_error(const struct kit *k, enum error_code code, const char *message);
void expect_job(struct kit *k, const char *name, enum job_state state, int running);
void expect_task(struct kit *k, const char *id, enum task_state state, int version);
uint64_t runs_of(struct kit *k, const char *id);
/* Whatever is loaded from what was written is the same, once the agents have told what they have.
 */
void expect_same_after_reload(struct kit *k);
/* Settles all agents, one report after the other; the least number of tasks that ran. */
int64_t settle_and_watch(struct kit *k, const char *job);

#define WEB       "{\"command\": [\"web\"], \"count\": 3}"
#define WEB_NEW   "{\"command\": [\"web\", \"new\"], \"count\": 3}"
#define WEB_DELAY "{\"command\": [\"web\"], \"count\": 3, \"restart\": {\"delay\": \"2s\"}}"
#define WEB_4     "{\"command\": [\"web\"], \"count\": 4}"
#define ONCE      "{\"kind\": \"batch\", \"command\": [\"once\"], \"count\": 2}"
#define ONCE_NEW  "{\"kind\": \"batch\", \"command\": [\"once\", \"new\"], \"count\": 2}"
#define ONCE_LOGS                                                                                  \
        "{\"kind\": \"batch\", \"command\": [\"once\"], \"count\": 2, \"logs\": {\"files\": 9}}"
#define ONCE_3  "{\"kind\": \"batch\", \"command\": [\"once\"], \"count\": 3}"
#define CRASHER "{\"command\": [\"bad\"], \"restart\": {\"burst\": 1}}"
