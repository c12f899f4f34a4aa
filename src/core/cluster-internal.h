/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <utlist.h>

#include "base/hash.h"
#include "base/mem.h"
#include "core/cluster.h"
#include "core/timers.h"

/* What the files of the cluster share: its state and the verbs on it. Nobody else includes this. */

#define TASKS_PER_CHUNK 64
#define VERSIONS_KEPT   10

/* What a task counts as in its job. The job's counters follow by task_recount(), so that a report
 * costs the same in a job of ten tasks and of a million. */
enum task_mark {
        MARK_EXISTS,  /* every task is one */
        MARK_ACTIVE,  /* not ended */
        MARK_RUNNING, /* its agent says so, and can say so */
        MARK_READY,
        MARK_LEAVING, /* ends and is then forgotten */
        MARK_STOPPED, /* stopped by a person, all by itself */
        MARK_WANTED,  /* shall run, or have run to its end */
        MARK_WANTED_RUNNING,
        MARK_PROVING,   /* in flight: ready, but not for long enough */
        MARK_SETTLED,   /* runs, ready, as it was told last; or ended well */
        MARK_INFLIGHT,  /* was told, and is not settled yet: the rollout waits for it */
        MARK_MOVABLE,   /* has not been told the newest, runs, and its agent listens: the rollout
                           moves it in turn */
        MARK_STRAGGLER, /* has not been told the newest and does not run: can be told at once */
        MARK_OUTDATED,  /* has not been told the newest */
        MARK_ENDED_WELL,
        MARK_ENDED_BADLY, /* and was told the newest */
        MARK_WAITING,     /* for its next run, after a failure */
        MARK_LOST,
        MARK_UNPLACED,
        MARK_DISPLACED, /* shall leave its node, and has not been told so */
        MARK_HOLDS,     /* something of its node's capacity */
        MARK_COUNT
};

#define AMOUNT_UNKNOWN UINT64_MAX /* of a capacity: without limit */
#define NODE_TASKS_MAX 65536      /* as many as an agent takes */

struct amounts {
        uint64_t cpu; /* thousandths of a core */
        uint64_t memory, disk;
};

/* How much of @capacity @used is, in thousandths; 0 of what is without limit. */
static inline uint32_t amount_share(uint64_t capacity, uint64_t used)
{
        if (capacity == AMOUNT_UNKNOWN || capacity == 0 || used == 0)
                return 0;
        return (uint32_t) (MIN(used, capacity) * 1000 / capacity);
}

/* A name of which a node has at most one: `place.exclusive`. */
struct tag {
        char *name;
        unsigned refs;
        size_t held; /* on so many nodes */
        UT_hash_handle hh;
};

/* What a task takes of its node. */
struct demand {
        unsigned refs;
        struct amounts amounts;
        uint32_t ports;
        struct tag *exclusive; /* NULL: none */
};

struct attribute_name {
        char *text;
        unsigned refs;
        UT_hash_handle hh;
};

#define VERDICTS 4

/* "rack=r1", once for all classes of nodes that have it. */
struct attribute {
        char *pair;
        struct attribute_name *name;
        unsigned refs;
        uint32_t group; /* of place.c, in the pass `group_pass` */
        uint64_t group_pass;
        struct verdict {
                uint64_t pass;
                uint32_t number;
                bool holds;
        } verdicts[VERDICTS]; /* class.c */
        UT_hash_handle hh;
};

/* Nodes with the same attributes, their names apart. */
struct node_class {
        uint64_t pass; /* of place.c, which decided these in it: */
        int refusal;   /* enum refusal */
        uint32_t constraint, group;
        int32_t preference;
        struct attributes attributes;
        struct attribute **members; /* the same */
        char *key;
        unsigned refs;
        UT_hash_handle hh;
};

/* The rule by which a task's node was chosen, in the order in which they are asked, the last first.
 * Stored: values stay what they are. */
enum choice_rule {
        CHOICE_ONLY,
        CHOICE_NAME,
        CHOICE_TASKS,
        CHOICE_LOAD,
        CHOICE_JOB_TASKS,
        CHOICE_SPREAD,
        CHOICE_PREFERRED,
        CHOICE_KEPT, /* it had the node before */
};

/* That a task belongs to one node: pins.c. Owned by the task. */
struct pin {
        struct task *task;
        struct node *node;
        uint32_t with_version;   /* place.with: of the other job there, that the task goes with */
        struct pin *prev, *next; /* of the node */
};

struct known_zone;

/* What runs on a node and is no task of it any more: its task has another node, since this one was
 * lost. Its agent ends it; until it says so, it holds what it has. */
struct stranger {
        char *id;
        struct amounts amounts;
        struct tag *exclusive; /* NULL: none */
        uint16_t *ports;
        size_t ports_len;
        UT_hash_handle hh;
};

struct node {
        /* What a placement asks of every node stands together, in two lines of the cache with the
         * beginning of `status`. */
        bool connected;
        bool awaited;  /* has not come back since the cluster was loaded */
        bool cordoned; /* gets no new tasks */
        bool draining; /* and loses those that it has */
        bool drained;  /* and has lost them: that was said */
        bool freed; /* in cluster.freed: something has become free since the queue was looked at */
        struct node_class *class;
        struct amounts capacity, used; /* by tasks and strangers */
        struct job *kept_for;      /* which had tasks stopped there to make room; NULL: nobody */
        struct node_status status; /* own strings; tasks and running are counted here */
        struct tag **tags;         /* held by tasks and strangers */
        size_t tags_len;
        size_t ports_used;
        uint16_t ports_first, ports_last;
        uint32_t pass_tasks; /* of place.c: of the pass's job on it */
        uint64_t pass;

        struct task *tasks; /* that have this node; linked by node_prev, node_next */
        struct stranger *strangers;
        uint64_t note_seq;     /* the newest note that was taken */
        uint32_t order;        /* its place in cluster.by_name */
        usec_t drain_deadline; /* then whatever is left goes at once; USEC_NEVER: never */
        usec_t heard;          /* last, once it is not connected any more */
        usec_t leased;         /* its leases began then at the latest, for all that we know */
        uint64_t *ports_taken; /* bits; NULL: none */
        size_t ports_next;
        struct node *freed_next;
        struct pin *pins; /* of the tasks that belong here */
        bool pins_due;    /* in cluster.pins_due: who belongs here may be others now */
        struct node *pins_due_next;
        struct timer due; /* it is lost, tasks are moved, the drain's deadline has come */
        UT_hash_handle hh;
};

struct task {
        struct job *job;
        struct task_desire desire; /* as the agent shall have it */
        uint64_t born;     /* generation it was made with: older reports are of a namesake */
        struct node *node; /* NULL: waits for one. Changed by task_set_node() only */
        struct task *node_prev, *node_next;
        struct demand *held; /* what it has taken of its node; NULL: nothing */
        uint16_t *ports;     /* of the node, while it holds them */
        struct pin *pin;     /* NULL: it may be on any node */
        char *reason;        /* NULL: none */
        char *status;        /* what its program says of itself; NULL: nothing */
        usec_t since, next_run_at, started_at;
        usec_t told_at;  /* when its desire changed */
        usec_t ready_at; /* when we heard that it is ready */
        int64_t log_bytes;
        uint32_t index;
        uint32_t ports_len;
        uint32_t runs, restarts;               /* on all the nodes it was on */
        uint32_t runs_before, restarts_before; /* of these, on earlier nodes */
        uint32_t restarts_asked;               /* when it was last asked to begin anew */
        uint32_t fitting;                      /* how many nodes its node was chosen from */
        uint16_t load;                         /* of that, thousandths */
        uint8_t rule;                          /* enum choice_rule */
        uint32_t version;                      /* of the last run, as reported; 0: none */
        int32_t pid, exit_code, signal;
        uint32_t marks; /* what it was counted as: bits of enum task_mark */
        uint8_t state;  /* enum task_state, never LOST: that is its node's */
        int8_t result;
        bool moving : 1;   /* is told to end on its node, to be placed anew */
        bool overdue : 1;  /* its node is lost for so long that it is placed anew if it can be */
        bool ousted : 1;   /* a person wants it elsewhere */
        bool proven : 1;   /* ready for long enough since it was told */
        bool has_run : 1;  /* once, on any node */
        bool stopped : 1;  /* a person stopped this one task */
        bool leaving : 1;  /* too many, or the job is removed */
        bool reported : 1; /* the state is known: from the agent or because it has ended */
        bool synced : 1;   /* the agent works on `desire` */
        bool ready : 1;
        bool unhealthy : 1;      /* a health check says so */
        bool broke : 1;          /* a run of it failed in this turn ... */
        bool broke_for_good : 1; /* ... and there will be no other */
        bool going : 1;          /* runs, but was told to end or to be replaced */
        bool parked : 1;
        bool has_exit_code : 1;
        bool namesake : 1; /* the agent has still an older one of this name: that must go first */
        bool met : 1;   /* has no node, and the agent that connects just now has one of this name */
        bool ahead : 1; /* only while its agent is heard: that knows a newer desire than ours */
        bool answered : 1; /* the agent has told of it since it is connected */
};

struct job_version {
        uint32_t number;
        struct job_spec *spec;
        struct demand *demand;
};

struct job {
        struct cluster *cluster;
        struct owner *owner; /* NULL: only while it is loaded */
        char *name;
        char *source;
        struct job_version
                *versions; /* oldest first, the last is in force; empty only while loading */
        size_t versions_len;
        uint32_t restart_version; /* runs begun with an older version are replaced */
        uint32_t rolled_version;  /* the newest one that all tasks had */
        uint64_t
                generation; /* no task shall have an older one: the last restart of the whole job */
        uint64_t command;   /* the event of the last command that tasks may have to be moved for */
        usec_t since;
        bool stopped, removing, purge;
        bool held;      /* order.c: its tasks are not placed ... */
        char *held_why; /* ... since it waits for others */
        bool broke;     /* a run of one of its tasks failed in this turn */

        struct task **tasks; /* by index; NULL where there is none */
        size_t tasks_len, tasks_allocated;
        size_t counts[MARK_COUNT];
        /* rollout.c */
        size_t roll_next;    /* no task below it is movable, but see roll_blocked */
        uint32_t surge;      /* tasks beyond the count that stand in for others */
        bool promoted;       /* no canary that waits for a person */
        bool reverted;       /* the newest version was made by taking one back */
        bool roll_stepping;  /* tasks of the present step are in flight */
        char *roll_failed;   /* why it has halted, if no task that has ended tells that */
        char *roll_blocked;  /* why tasks below roll_next are movable all the same: no room */
        usec_t roll_step_at; /* no further step before that */
        usec_t roll_scan_at; /* something may be due by time alone */
        struct timer due;
        /* pins.c */
        bool per_node; /* in cluster.per_node */
        bool pins_due; /* all nodes are to be looked at for it */
        bool followed; /* another job goes with it */
        struct job *per_node_prev, *per_node_next;
        /* schedule.c */
        usec_t slot_seen;    /* no slot up to then is looked at again */
        usec_t slot;         /* that its tasks began for last; 0: none */
        usec_t slot_waits;   /* that is put off until they have ended; 0: none */
        uint32_t slot_count; /* tasks that the last slot began with */
        bool slot_begins;    /* just now */
        /* kinds.c */
        usec_t begun_at;     /* a batch that runs; 0: it does not */
        usec_t ended_at;     /* one that has ended */
        bool overran;        /* it took longer than batch.deadline, and is stopped */
        uint32_t dispatched; /* the greatest number in a name of a job made of this template */

        bool queued;         /* in cluster.queue: has tasks that wait for a node */
        size_t unmet;        /* so many were tried, and fit nowhere but where something has become
                                free since */
        usec_t queued_since; /* for the order of those of one priority */
        char *waits_for;     /* why none fits, in words */
        uint64_t waits_at;   /* cluster.changes when that was so */
        size_t keeps;        /* on so many nodes others make room for it */
        struct job *queue_prev, *queue_next;

        bool dirty;    /* in cluster.dirty: job_advance() is due */
        bool unstored; /* in cluster.unstored: rows are to be written */
        bool row_dirty;
        uint8_t *chunk_dirty;
        size_t chunks_allocated;
        struct job *dirty_next, *unstored_next;

        char *reason; /* of its status, made when asked for at `reason_changes` */
        uint64_t reason_changes;
        char *ids; /* names of the tasks, `id_stride` bytes each, made when asked for */
        size_t ids_len, id_stride;
        UT_hash_handle hh;
};

struct cluster {
        struct job *jobs;
        struct node *nodes;
        struct node **by_name; /* all nodes */
        struct owner *owners;
        char *ports_text;        /* cluster-status.c's */
        struct amounts capacity; /* of all nodes together, as far as it is known */
        struct timers timers;
        struct job *queue;        /* with tasks that wait for a node */
        struct job *per_node;     /* jobs with pinned tasks */
        struct node *pins_due;    /* see there */
        struct known_zone *zones; /* schedule.c */
        struct node *freed;       /* see there */
        struct tag *tags;
        struct node_class *classes;
        struct attribute *attributes;
        struct attribute_name *attribute_names;
        uint64_t passes;              /* of place.c */
        usec_t now;                   /* of the last turn */
        usec_t lost_after;            /* a node's silence */
        usec_t returning_until;       /* agents come back to a server that has just begun */
        size_t displaced;             /* tasks that count as MARK_DISPLACED */
        size_t blocked;               /* jobs with roll_blocked */
        struct job *dirty, *unstored; /* touched in this turn */
        uint64_t index, changes;
        bool clock_was_set; /* times in the rows of nodes are to be written */
        size_t ordered;     /* jobs with `after` */
        bool order_due;     /* what one of them waits for may have changed */
        bool order_recount; /* `ordered` is to be counted */
        bool purge_due;     /* an agent that just came back is to be told to delete logs */
};

/* One call of cluster_handle(). */
struct turn {
        struct cluster *c;
        usec_t now;
        struct cluster_effects *effects;
        bool loaded;                  /* LOADED: nothing is news */
        const struct node *answering; /* NODE_UP: it is told everything by cluster_assigns_of() */
        bool tells_ends;              /* NODE_UP: see struct cluster_event */
};

/* effects.c */
/* The task's desire, to its node. */
void effects_assign(struct cluster_effects *e, const struct task *task);
void effects_forget(struct cluster_effects *e, const char *node, const char *task, bool purge);
void effects_write(struct cluster_effects *e, char *key, char *value); /* takes both */

/* Numbers the event, publishes and stores it. Texts are copied; job, task, node may be NULL. */
void turn_publish(struct turn *turn, const struct event *event);
void turn_say(struct turn *turn, enum event_kind kind, const struct job *job, const char *format,
        ...) PRINTF_LIKE(4, 5);

/* cluster-state.c: jobs, tasks and nodes as data */
struct job *job_find(const struct cluster *c, const char *name);
struct job *job_new(struct cluster *c, const char *name);
void job_free(struct cluster *c, struct job *job);
struct node *node_find(const struct cluster *c, const char *name);
struct node *node_get(struct cluster *c, const char *name); /* makes it */
void node_free(struct cluster *c, struct node *node);

uint32_t job_version_number(const struct job *job);
struct job_spec *job_current_spec(const struct job *job);
struct job_spec *job_spec_of(const struct job *job, uint32_t version);
void job_add_version(struct job *job, uint32_t number,
        struct job_spec *spec);            /* takes a reference; drops versions nobody needs */
bool job_runs(const struct job *job);      /* neither stopped nor being removed */
uint32_t job_count(const struct job *job); /* how many tasks there shall be; of a job with one per
                                              node: there are */
size_t job_wanted(const struct job *job);  /* tasks that shall run or have run */
bool job_halted(const struct job *job);    /* its rollout */

void job_touch(struct cluster *c, struct job *job); /* job_advance() is due */
void job_touch_row(struct cluster *c, struct job *job);
void task_touch(struct cluster *c, struct job *job,
        const struct task *task); /* its chunk is to be written */

/* What follows "task" in a sentence about @n of them. */
static inline const char *plural(size_t n)
{
        return n == 1 ? "" : "s";
}

const char *task_id(const struct job *job, uint32_t index);
struct task *job_task(const struct job *job, uint32_t index); /* NULL if there is none */
struct task *job_make_task(struct job *job, uint32_t index);  /* there is none yet */
void task_set_node(struct task *task, struct node *node);     /* NULL: none */
/* The first task whose index is at least *@at, or NULL; *@at is then the index behind it. */
struct task *job_next_task(const struct job *job, size_t *at);
#define JOB_FOREACH_TASK(job, task)                                                                \
        for (size_t at_ = 0; ((task) = job_next_task(job, &at_)) != NULL;)
void job_drop_task(struct cluster *c, struct job *job, struct task *task);
bool task_wanted(const struct job *job, const struct task *task);
/* Of those that batch.retries allows: used up on earlier nodes. */
uint32_t task_retries(const struct task *task);
void task_recount(struct job *job, struct task *task);
void job_recount(struct job *job);
bool task_last_run_failed(const struct job *job, const struct task *task);
/* Whether an agent that is told @ours ends what runs by @theirs, to replace it or for good. */
bool desire_takes_down(const struct task_desire *ours, const struct task_desire *theirs);
void text_replace(char **text, const char *with); /* NULL and "" are the same: nothing */

/* "web" or "web.1": the job, and the task or NULL. */
bool cluster_look_up(
        const struct cluster *c, const char *target, struct job **ret_job, struct task **ret_task);
/* The same; ERR_NOT_FOUND names the nearest. */
int cluster_find_target(const struct cluster *c, const char *target, struct job **ret_job,
        struct task **ret_task, struct error *err);

/* The state word of a job, from its counts alone. */
struct job_facts {
        size_t wanted, wanted_running, active, outdated, inflight, ended_well, ended_badly, waiting,
                lost;
        bool stopped, removing, rolling; /* rolling: its newest version is not on all tasks yet */
        bool per_node;                   /* its tasks follow from the nodes, and none is stopped */
};
enum job_state job_state_derive(const struct job_facts *f);
enum job_state job_state_of(const struct job *job);

/* cluster-status.c: what readers see */
void task_fill_status(const struct job *job, const struct task *task, struct task_status *ret);

struct place_refusals;

/* capacity.c: what nodes have, and what tasks take of it */
struct demand *demand_new(struct cluster *c, const struct job_spec *spec);
void demand_unref(struct cluster *c, struct demand *demand);
static inline uint64_t amount_left(uint64_t capacity, uint64_t used)
{
        if (capacity == AMOUNT_UNKNOWN)
                return AMOUNT_UNKNOWN;
        return capacity > used ? capacity - used : 0;
}

static inline struct amounts node_free_amounts(const struct node *node)
{
        return (struct amounts){ .cpu = amount_left(node->capacity.cpu, node->used.cpu),
                .memory = amount_left(node->capacity.memory, node->used.memory),
                .disk = amount_left(node->capacity.disk, node->used.disk) };
}

static inline size_t node_port_span(const struct node *node)
{
        return (size_t) node->ports_last - node->ports_first + 1;
}

static inline size_t node_free_ports(const struct node *node)
{
        return node_port_span(node) - MIN(node->ports_used, node_port_span(node));
}

struct amounts task_free_amounts(const struct task *task); /* with what it holds itself */
bool node_has_tag(const struct node *node, const struct tag *tag);
struct demand *task_demand(const struct task *task); /* of the version it shall have */
void node_take(struct task *task);                   /* what its demand says, of its node */
void node_give(struct task *task);
void node_retake(struct task *task); /* its demand is another one now */
/* A task that the agent there has, and we do not have there. */
void stranger_add(struct cluster *c, struct node *node, const struct cluster_report *r);
bool stranger_drop(struct cluster *c, struct node *node, const char *id); /* false: none */
void strangers_drop_all(struct cluster *c, struct node *node);
void node_mark_freed(struct cluster *c, struct node *node);
void node_measure(struct cluster *c, struct node *node); /* its status has what its agent told */
void node_unmeasure(struct cluster *c, struct node *node);

/* queue.c: jobs with tasks that wait for a node */
void queue_update(struct cluster *c, struct job *job); /* its spec or its tasks have changed */
void queue_leave(struct cluster *c, struct job *job);
void queue_run(struct turn *turn);          /* places what can be placed */
bool queue_will_try(const struct job *job); /* some of its tasks were not tried yet */
const char *queue_reason(struct job *job);  /* why its tasks wait for a node, in words */

/* reconcile.c: from what is wanted to desires */
enum anew { /* which ended tasks a command takes up again */
        ANEW_NONE,
        ANEW_FAILED,
        ANEW_ALL,
};
void job_retarget(struct turn *turn, struct job *job, enum anew anew, uint64_t generation);
/* @stopped: a person wants it not to run, as soon as it is there. */
struct task *job_add_task(
        struct turn *turn, struct job *job, uint32_t index, uint64_t generation, bool stopped);
void task_begin_anew(struct turn *turn, struct job *job, struct task *task, uint64_t generation);
void task_desire_newest(struct turn *turn, struct task *task, uint64_t generation);
struct choice;
void task_put(struct turn *turn, struct task *task, const struct choice *choice); /* on its node */
void task_reject(struct turn *turn, struct task *task, const char *reason);
void task_fail(struct turn *turn, struct task *task, const char *reason);
/* It leaves its node to be placed anew, elsewhere if need be: at once if its agent is away, else
 * when it has ended there. */
void task_leave(struct turn *turn, struct task *task);
void task_queue_anew(struct turn *turn, struct task *task); /* at once */
bool task_stands_in(const struct task *task); /* for others, while they get a new version */
bool task_is_idle(const struct task *task);   /* it waits until somebody wants it, and is ready */
bool task_is_held(const struct task *task);   /* it keeps its version until a canary is promoted */
bool task_follow_leave(
        struct turn *turn, struct task *task); /* it has ended: true if it was that */
void task_end(struct turn *turn, struct job *job, struct task *task);
void task_place_again(struct turn *turn, struct job *job, struct task *task);
void task_settle_gone(struct turn *turn, struct job *job, struct task *task);
bool task_let_go(struct turn *turn, struct job *job, struct task *task); /* true: it is no more */
void turn_purge(struct turn *turn);   /* lets go what waited for its agent to be back */
void turn_advance(struct turn *turn); /* all that follows from what was touched, then the rows */
/* Publishes that the tasks born with @generation are new. */
void job_say_created(struct turn *turn, struct job *job, uint64_t generation);

/* rollout.c: how tasks come to the newest version */
enum timer_owner { TIMER_OF_NODE, TIMER_OF_JOB };
bool job_holds(const struct job *job); /* a canary is there and not promoted */
void rollout_proves(struct job *job, const struct task *task); /* time alone will tell of it */
void rollout_told(struct job *job, const struct task *task); /* and of it, if it does not settle */
void rollout_scan(struct turn *turn, struct job *job); /* what time alone has brought; first */
void rollout_advance(struct turn *turn, struct job *job);
void rollout_set_clock(struct job *job, int64_t by);
usec_t rollout_next(const struct job *job); /* when one of these is due by time alone */
void rollout_put_failure(struct buffer *b, const struct job *job); /* why it has halted */
/* The spec of @version, which is there, is in force again, as a new version. */
void rollout_to(struct turn *turn, struct job *job, uint32_t version, const char *why);
void rollout_unblock(struct job *job); /* there may be room now */
void rollout_retry(struct turn *turn); /* something has become free */
void job_set_due(struct job *job);

/* pins.c: one task per node */
struct place_refusals;
bool job_per_node(const struct job *job);
void pin_make(struct task *task, struct node *node);
void pin_free(struct task *task);
void pins_mark_node(struct cluster *c, struct node *node); /* pins_run() is to look at it */
void pins_unmark_node(struct cluster *c, struct node *node);
void pins_leave(struct cluster *c, struct job *job);
void pins_update(struct cluster *c, struct job *job); /* its spec may have changed */
void pins_loaded(struct cluster *c);
void pins_look_at_all(struct turn *turn, struct job *job); /* at every node, for the job */
void pins_run(struct turn *turn);
void pins_forget_node(struct turn *turn, struct node *node);
/* Puts tasks that wait on their nodes, of @nodes, where there is room; how many. */
size_t pins_place(struct turn *turn, struct job *job, struct node *const *nodes, size_t len,
        size_t wanted, struct place_refusals *refusals);
bool pins_waits_on(const struct job *job, const struct node *node); /* its task there does */
void pins_put_why_none(struct buffer *b, const struct job *job);    /* why it has no tasks */

/* schedule.c: kind cron */
bool job_is_cron(const struct job *job);
usec_t schedule_next(const struct job *job); /* when a slot is due */
void schedule_advance(struct turn *turn, struct job *job);
void schedule_begin(struct turn *turn, struct job *job); /* all tasks, now, anew */
void schedule_reset(struct job *job, usec_t now); /* what was missed up to now is no matter */
/* There is a new spec. @before: NULL if the job is new. */
void schedule_changed(struct job *job, const struct job_spec *before, usec_t now);
void schedule_put_reason(struct buffer *b, const struct job *job);
void schedule_done(struct cluster *c);

/* kinds.c: batch and templates */
#define SOURCE_TEMPLATE "template:"
bool job_is_template(const struct job *job);
bool job_rolls(const struct job *job);    /* its tasks are moved to a new version as it comes */
usec_t kinds_next(const struct job *job); /* when kinds_advance() is due by time alone */
void kinds_advance(struct turn *turn, struct job *job);
void kinds_begin_anew(struct job *job);           /* its time begins afresh */
void kinds_taken_up(struct job *job, usec_t now); /* it is not stopped or removed any more */
void kinds_clock_set(struct cluster *c, int64_t by);
int kinds_check_runs(const struct job *job, struct error *err); /* ERR_CONFLICT: a template */
int cluster_command_dispatch(
        struct turn *turn, const struct cluster_event *event, struct error *err);

/* cluster-command.c */
/* A new job. */
void cluster_command_make(struct turn *turn, struct job_spec *spec, const char *source);
/* A version with @spec, of which a reference is taken. */
void job_new_version(struct turn *turn, struct job *job, struct job_spec *spec, bool needs_restart);
int cluster_command_promote(
        struct turn *turn, const struct cluster_event *event, struct error *err);
int cluster_command_revert(struct turn *turn, const struct cluster_event *event, struct error *err);
int cluster_command_apply(struct turn *turn, const struct cluster_event *event, struct error *err);
int cluster_command_stop(struct turn *turn, const struct cluster_event *event, struct error *err);
int cluster_command_restart(
        struct turn *turn, const struct cluster_event *event, struct error *err);
int cluster_command_scale(struct turn *turn, const struct cluster_event *event, struct error *err);
int cluster_command_remove(struct turn *turn, const struct cluster_event *event, struct error *err);

/* cluster-node.c */
void node_lose(struct turn *turn, struct node *node);
void node_handle_up(struct turn *turn, const struct cluster_event *event);
int node_handle_down(struct turn *turn, const struct cluster_event *event, struct error *err);
int node_handle_report(struct turn *turn, const struct cluster_event *event, struct error *err);
int node_handle_note(struct turn *turn, const struct cluster_event *event, struct error *err);
void node_recount(struct cluster *c, struct node *node); /* its tasks, and who waits for them */
void node_say(
        struct turn *turn, enum event_kind kind, const struct node *node, const char *message);

/* leave.c: tasks that have to leave their nodes */
void leave_node_lost(struct turn *turn, struct node *node); /* those whose time has come */
usec_t leave_next(const struct node *node);                 /* when the next one's is */
void leave_advance(struct turn *turn, struct job *job);     /* the next ones that can go */
void leave_retry(struct turn *turn);                        /* something has become free */
/* For how many more tasks of that version there is room, beside those of the job that have left
 * their nodes or are about to; at most @wanted. */
size_t leave_room(struct turn *turn, const struct job *job, uint32_t version, size_t wanted,
        struct place_refusals *refusals);
int leave_handle_cordon(struct turn *turn, const struct cluster_event *event, struct error *err);
int leave_handle_drain(struct turn *turn, const struct cluster_event *event, struct error *err);
int leave_handle_move(struct turn *turn, const struct cluster_event *event, struct error *err);
int leave_handle_forget(struct turn *turn, const struct cluster_event *event, struct error *err);
/* When a task of a lost node is placed elsewhere, or counts as failed; USEC_NEVER: it waits for the
 * node. */
usec_t leave_lost_until(const struct task *task, usec_t heard);
uint32_t leave_next_version(const struct task *task); /* that it will have where it goes */
size_t leave_tasks_down(const struct job *job);       /* more than update.parallel may not be */
size_t leave_tasks_left(const struct node *node);     /* that have not ended */
void leave_check_drained(struct turn *turn, struct node *node);
void leave_deadline(struct turn *turn, struct node *node); /* of its drain */

/* When a node that is not connected counts as lost. */
usec_t node_lost_at(const struct cluster *c, const struct node *node);
/* Sets when the node is to be looked at again. */
void node_set_due(struct cluster *c, struct node *node);
/* The task of that id if it is on @node, else NULL. */
struct task *node_find_reported(
        struct turn *turn, struct node *node, const char *id, struct job **ret_job);

/* cluster-past.c: an agent that has just connected may know what our store has lost. past_look()
 * comes before all its reports, past_settle() before each is taken. */
void past_look(struct turn *turn, struct node *node, const struct cluster_event *event);
void past_settle(
        struct turn *turn, struct job *job, struct task *task, const struct cluster_report *r);

/* cluster-rows.c: what is stored */
int rows_load(struct cluster *c, const char *key, const char *value, struct error *err);
int rows_loaded(struct turn *turn, struct error *err);
void rows_write_job(struct cluster_effects *e, const struct job *job);
void rows_write_chunk(struct cluster_effects *e, const struct job *job, size_t chunk);
void rows_write_node(struct cluster_effects *e, const struct node *node);
void rows_write_note_seq(struct cluster_effects *e, const struct node *node); /* of its notes */
void rows_delete_node(struct cluster_effects *e, const struct node *node);
void rows_delete_job(struct cluster_effects *e, const struct job *job);
/* All rows but the events, as if just written: to make a copy by loading them. */
void rows_dump(const struct cluster *c, struct cluster_effects *e);
