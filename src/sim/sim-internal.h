/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "base/hash.h"
#include "base/mem.h"
#include "sim/sim.h"

/* What the files of the simulator share. Nobody else includes this. */

#define SIM_LOST_AFTER   (2 * USEC_SEC)     /* silence after which the server breaks a link */
#define SIM_AGENT_BREAKS (2500 * USEC_MSEC) /* and the agent */
#define SIM_NOTES_MAX    500                /* in flight */
#define SIM_RETRY_MIN    (5 * USEC_MSEC)    /* until the agent connects again */
#define SIM_RETRY_MAX    (2 * USEC_SEC)

enum sim_event_type {
        SIM_EV_CALL,    /* the caller's */
        SIM_EV_DELIVER, /* the head of a channel */
        SIM_EV_CONNECT, /* an agent tries */
        SIM_EV_FLUSH,   /* an agent tells what is new */
        SIM_EV_PING,    /* an agent gives a sign of life */
        SIM_EV_LEASE,   /* that of a task may be over */
        SIM_EV_TASK_TIMER,
        SIM_EV_TASK_SPAWN,
        SIM_EV_PROCESS_END,
        SIM_EV_AGENT_START,
        SIM_EV_MACHINE_START,
        SIM_EV_HEAL,
        SIM_EV_AGENT_SILENCE, /* nothing was heard from the server for too long */
        SIM_EV_SERVER_SILENCE,
        SIM_EV_SERVER_START,
        SIM_EV_COMMITTED,
        SIM_EV_RETRY_COMMIT,
        SIM_EV_TICK,
        SIM_EV_DISK_FREE,
};

/* Something that is due. `epoch` says which life of its subject it belongs to: a later one ignores
 * it. */
struct sim_event {
        usec_t at;
        uint64_t order; /* of their making, where the time is the same */
        enum sim_event_type type;
        uint64_t epoch;
        struct sim_node *node;
        union {
                struct sim_task *task; /* counted */
                struct link *link;     /* counted */
                void *data;
        };
        void (*call)(struct sim *s, void *data);
};

/* ---- Messages (network.c) */

enum message_type {
        MESSAGE_HELLO,
        MESSAGE_REPORT,
        MESSAGE_NOTES,
        MESSAGE_WELCOME,
        MESSAGE_ASSIGN,
        MESSAGE_ACK,
        MESSAGE_PING,
        MESSAGE_PONG,
        MESSAGE_END, /* the other side has closed */
};

struct report {
        char *id, *job;
        uint32_t index;
        struct task_machine machine;
        struct job_spec *spec; /* counted */
        char *ports;           /* as text; NULL: none */
};

struct note { /* shared by the agent and the messages that carry it */
        unsigned refs;
        enum event_kind kind;
        usec_t time;
        uint32_t version;
        uint64_t run;
        char *task, *job, *message;
};

struct assignment {
        struct cluster_assign assign; /* own strings */
        struct job_spec *spec;
        usec_t decided; /* when */
};

struct message {
        enum message_type type;
        usec_t due;
        struct report *reports;
        size_t reports_len;
        struct note **notes;
        size_t notes_len;
        uint64_t seq; /* NOTES: of the first; HELLO: of the newest that there is; WELCOME, ACK: of
                         the newest that is durable */
        struct assignment *items;
        size_t items_len;
        bool all;
        struct message *next, *prev;
};

struct channel { /* one direction: in order, until the link breaks */
        struct message *messages;
        usec_t last_due;
        bool scheduled;
};

struct link {
        unsigned refs; /* the ends, the events, and commits that will answer it */
        uint64_t number;
        struct sim_node *node;
        struct channel up, down;
        bool agent_open, server_open;
        bool orphaned;              /* its agent vanished with its machine */
        bool hello;                 /* the server has heard it */
        bool welcomed;              /* and has answered */
        struct cluster_effects all; /* of the hello, until it is durable */
        usec_t all_decided;
        struct message *gathered; /* assigns that leave at the end of the publication */
        struct link *next_gathered;
        bool in_gathered;
        usec_t heard; /* when the server last did */
        /* Of the agent, by its clock. */
        usec_t hello_mono, ping_mono; /* ping: 0: it is answered */
};

/* ---- Machines (agent.c) */

struct process {     /* of a task; survives the agent, its exit record too */
        int32_t pid; /* 0: none */
        uint64_t run;
        uint32_t version;
        usec_t began;
        struct sim_run fate;
        int told; /* signal that it was sent */
        bool ended;
        int exit_code, signal;
        usec_t ended_mono;
        uint64_t epoch;
};

struct sim_task {
        unsigned refs; /* the node, and events */
        bool gone;
        struct sim_node *node;
        char *id, *job;
        uint32_t index;
        struct task_machine machine; /* survives the agent */
        struct job_spec *spec;
        struct process process;
        usec_t decided; /* when the server made what it works on */
        /* In the agent's memory only. */
        bool forget, changed, spawning, named;
        bool tell_end;  /* it is to be forgotten, and that it has ended was not told */
        bool confirmed; /* assigned over the link that there is now */
        uint64_t timer_epoch;
        struct sim_task *next_changed;
        UT_hash_handle hh;
};

enum { CLOSED_CORDONED = 1, CLOSED_DRAINING = 2 };

struct sim_node {
        struct sim *sim;
        uint32_t number;
        struct node_status status;
        json_t *json; /* the same */
        bool machine_up, agent_up, for_good /* is it down */;
        bool cut_up, cut_down;
        bool crash_mid;
        usec_t mono_base; /* virtual time at which its monotonic clock began */
        int64_t clock_off;
        int32_t ppm;
        usec_t cut_at, gone_at; /* newest cut; end of the machine */
        usec_t heard_mono;      /* what left here then the server has heard; survives the agent;
                                   USEC_NEVER: no lease runs */
        uint64_t lease_epoch;
        uint64_t agent_epoch, machine_epoch, cut_epoch;
        uint64_t lives; /* of the machine's memory: a wipe begins a new one */
        usec_t retry_delay;

        struct sim_task *tasks;
        struct sim_task *changed_first, **changed_last;
        bool flush_due;
        int32_t last_pid;

        struct note **notes; /* the outbox: those that are not acknowledged, from notes_acked + 1 */
        size_t notes_len, notes_allocated;
        uint64_t notes_acked, notes_sent;

        struct link *agent_link, *server_link;
        uint64_t newest_link; /* whose hello the server has heard */

        /* What the rules remember. */
        bool forgotten; /* once: its notes may be told again */
        uint64_t notes_seen, notes_stored;
        uint64_t hello_step;
        struct fact *placed;
        unsigned closed, closed_stored; /* CLOSED_ bits */
        usec_t down_at, lost_at;        /* last time the server thought so; USEC_NEVER: never */
        UT_hash_handle hh;
};

/* ---- The server (server.c) */

struct entry { /* one event that was handled */
        struct cluster_effects effects;
        usec_t decided;
        struct link *hello; /* counted: waits for its welcome */
        struct link *notes; /* counted: waits for its acknowledgement */
        uint64_t notes_seq; /* of the hello: of the newest that the agent knows */
        struct sim_node *note_node;
        uint64_t command;
        struct wish_change *wishes; /* for the rules */
        size_t wishes_len;
        struct sim_node *closes; /* of a command that closes or opens a node */
        unsigned closed;
        struct fact **well; /* tasks that were told to have ended well */
        size_t well_len;
        struct entry *next, *prev;
};

struct turn {
        struct entry *entries;
        bool commands, writes;
};

struct row {
        char *key, *value;
        UT_hash_handle hh;
};

struct server {
        struct cluster *cluster; /* NULL: it is down */
        uint64_t epoch;
        struct turn *open, *flying;
        bool disk_full, degraded, load_pending;
        usec_t retry_delay;
        int64_t clock_off;
        int32_t ppm;
        struct row *rows;
        char *newest_event; /* key; older ones are not kept */
        usec_t armed_for;
        bool armed;
        uint64_t arm_epoch;
        struct link *gathered; /* links with assigns to send */
};

struct sim {
        struct sim_config config;
        uint64_t random;
        usec_t now;
        struct sim_event *heap;
        size_t heap_len, heap_allocated;
        uint64_t order;
        uint64_t hash;
        struct sim_node **nodes;
        size_t nodes_len, nodes_allocated;
        struct sim_node *nodes_by_name;
        struct server server;
        uint64_t links, commands;
        bool calm;
        struct sim_counts counts;
        struct rules *rules;
        char *breach;
};

/* sim.c */
struct sim_event *sim_schedule(
        struct sim *s, usec_t at, enum sim_event_type type, struct sim_node *node, uint64_t epoch);
void sim_schedule_task(
        struct sim *s, usec_t at, enum sim_event_type type, struct sim_task *t, uint64_t epoch);
void sim_schedule_link(
        struct sim *s, usec_t at, enum sim_event_type type, struct link *l, uint64_t epoch);
/* Mixes it into the hash, and tells it to who wants to know all. */
void sim_trace(struct sim *s, const char *format, ...) PRINTF_LIKE(2, 3);
usec_t sim_between(struct sim *s, usec_t min, usec_t max);
bool sim_maybe(struct sim *s, uint32_t of_a_million);
struct sim_node *sim_node_find(struct sim *s, const char *name);
usec_t sim_machine_mono(const struct sim_node *n);
/* The virtual time at which its monotonic clock shows that. */
usec_t sim_machine_when(const struct sim_node *n, usec_t mono);
usec_t sim_machine_wall(const struct sim_node *n);

/* network.c */
struct message *sim_message_new(enum message_type type);
void sim_message_free(struct message *m);
void sim_note_unref(struct note *n);
struct link *sim_link_new(struct sim_node *n);
struct link *sim_link_ref(struct link *l);
void sim_link_unref(struct link *l);
void sim_link_send_up(struct link *l, struct message *m);   /* takes it */
void sim_link_send_down(struct link *l, struct message *m); /* takes it */
void sim_link_close_agent(struct link *l, bool say);
void sim_link_close_server(struct link *l, bool say);
void sim_link_deliver(struct link *l, bool up);
void sim_link_orphan(struct link *l);
void sim_link_cut(struct sim_node *n, bool up, bool down);
void sim_link_healed(struct sim_node *n);

/* agent.c */
void sim_agent_start(struct sim_node *n, bool boot);
void sim_agent_crash(struct sim_node *n);
void sim_machine_down(struct sim_node *n, bool wipe);
void sim_agent_connect(struct sim_node *n);
void sim_agent_ping(struct link *l);
void sim_agent_check_leases(struct sim_node *n);
void sim_agent_flush(struct sim_node *n);
void sim_agent_take(struct link *l, const struct message *m);
void sim_agent_link_ended(struct link *l);
/* The task runs there since before the simulation began. */
void sim_agent_adopt(struct sim_node *n, const struct cluster_assign *a, struct job_spec *spec);
void sim_agent_task_timer(struct sim_task *t);
void sim_agent_task_spawn(struct sim_task *t);
void sim_process_due(struct sim_task *t);
void sim_task_unref(struct sim_task *t);
void sim_machine_free(struct sim_node *n);
void sim_report_fill(struct cluster_report *ret, const struct report *r);

/* server.c */
void sim_server_init(struct sim *s);
void sim_server_done(struct sim *s);
void sim_server_start(struct sim *s);
void sim_server_crash(struct sim *s);
/* Whether the row is one of the core's. */
bool sim_server_row_is_ours(const char *key);
void sim_server_store_row(struct server *v, const char *key, const char *value);
void sim_server_take(struct link *l, const struct message *m);
void sim_server_link_ended(struct link *l);
uint64_t sim_server_command(struct sim *s, const struct cluster_event *event, struct error *err);
void sim_server_committed(struct sim *s);
void sim_server_retry(struct sim *s);
void sim_server_tick(struct sim *s);
void sim_server_advance(struct sim *s); /* the end of a turn of its loop */
void sim_server_set_clock(struct sim *s, int64_t by);
usec_t sim_server_wall(const struct sim *s);

/* rules.c: all of these do nothing when the rules are not asked for */
void sim_break_rule(struct sim *s, const char *format, ...) PRINTF_LIKE(2, 3);
struct rules *sim_rules_new(struct sim *s);
void sim_rules_free(struct rules *r);
/* After an event was handled. */
void sim_rules_handled(struct sim *s, const struct cluster_event *event, struct entry *e);
void sim_rules_told_all(struct sim *s, struct sim_node *n, const struct cluster_effects *all);
void sim_rules_stored(struct sim *s, struct entry *e);
void sim_rules_reloaded(struct sim *s); /* the server goes back to what is stored */
void sim_rules_began(struct sim *s, struct sim_task *t); /* a process is there */
void sim_rules_ended(struct sim *s, struct sim_task *t); /* it is gone */
void sim_rules_machine(struct sim *s, struct sim_task *t, const struct task_machine *before);
void sim_rules_entry_free(struct entry *e);
