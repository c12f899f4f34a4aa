/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/time.h"
#include "model/job.h"
#include "model/status.h"

/* The life of one task on its node as a function: state, event and now in, effects out. No pointer
 * inside, so that the agent can keep the machine in a mapped file, where it survives whoever dies.
 */

#define TASK_REASON_MAX 200
#define TASK_STATUS_MAX 120

/* What the server wants of the task. */
struct task_desire {
        bool run;                 /* false: it shall end and stay ended */
        uint32_t version;         /* of the job's spec that is in force */
        uint32_t restart_version; /* a process begun with an older version cannot take `version` in
                                     place: it is replaced */
        uint64_t generation; /* grows each time a person asks for a restart: a run begun under an
                                older one is replaced, and counters and back-off start afresh; also
                                takes an ended task up again */
};

/* What goes with a placement on this node: fixed for a run, which a later one may have otherwise.
 */
struct task_grant {
        uint64_t fence; /* of a singleton: grows with every placement, so that who is given two
                           knows the newer; 0: none. A run begun with a smaller one is replaced */
        uint16_t ports[JOB_PORTS_MAX]; /* numbers in the order of the spec's resources.ports; 0:
                                           none */
        uint32_t retries;              /* of a batch: that were used up on other nodes */
        uint32_t spare;                /* fills the word; 0 */
};

/* The agent's table keeps it over an upgrade: new fields go to the end (whole words of eight
 * bytes), and are 0 in what an older version wrote; the values of the enums stay what they are. */
struct task_machine {
        uint32_t state; /* enum task_state; QUEUED, STARTING, RUNNING, STOPPING or ENDED */
        int32_t result; /* enum task_result; RESULT_NONE unless ENDED */
        struct task_desire desire;
        uint32_t run_version; /* spec version that the current or last run was begun with; 0: none
                                 yet */
        uint64_t run_generation; /* and its generation */

        int32_t pid;       /* > 0 in RUNNING and STOPPING */
        int32_t exit_code; /* of the last run that ended; -1: by a signal, unknown, or none */
        int32_t signal;    /* 0: none */
        uint32_t parked;   /* ENDED because of the burst limit */
        uint64_t runs;     /* begun so far */
        uint64_t restarts; /* begun by the restart policy */

        uint32_t failures;    /* in a row: the exponent of the back-off */
        uint32_t burst_count; /* failures since burst_began (systemd: src/basic/ratelimit.c) */
        usec_t burst_began_mono;

        usec_t since_wall;   /* in this state */
        usec_t started_wall; /* the current or last run */
        usec_t started_mono;
        usec_t deadline_mono; /* when TASK_EV_TIMER is due; USEC_NEVER: not at all */
        usec_t next_run_wall; /* QUEUED with a due time: when; else 0 */

        uint32_t killed; /* STOPPING: 1: the group was killed; 2: and people know that it still
                            lives */
        uint32_t halted; /* the node goes down: nothing is begun until BOOT; a run that was wanted
                            is begun again then. Stays set in every state, so that a desire that
                            comes late begins nothing either */
        char reason[TASK_REASON_MAX]; /* one sentence: why it is in this state */

        struct task_grant grant; /* of the newest desire */
        uint64_t run_fence;      /* that the current or last run was begun with */
        uint32_t lapsed; /* the lease is over, or its end is near: nothing is begun until the server
                            says again that it wants the task here */
        uint32_t retries; /* runs after a failed one, since a person asked for it */

        uint32_t ready;     /* RUNNING: it is ready to do its work */
        uint32_t unhealthy; /* RUNNING: a health check says so, and the spec has it run on */
        uint32_t failing;   /* STOPPING: nobody asked for it; the run has failed, and its end is
                               a failure whatever its exit status. The reason says why. 2:
                               there is no further run */
        uint32_t idle;      /* QUEUED: it waits until somebody wants it (`start: on-demand`). 2: it
                               cannot be reached; the reason says why */
        usec_t ready_by_mono; /* RUNNING and not ready: it has failed then; 0: no deadline */
        usec_t alive_by_mono; /* RUNNING: no sign of life until then is a failure; 0: none is due */
        usec_t alive_every;   /* of this run: between two signs of life; 0: none are */
        char status[TASK_STATUS_MAX]; /* what the program says of itself; empty: nothing */
        uint64_t good_run;            /* the last that was good: it was a success, it lasted for
                                         `healthy`, or it ran until somebody ended it; 0: none */
        uint64_t good_version;        /* with which it was begun */
        usec_t good_wall;             /* when it ended */

        uint32_t daemon;       /* enum task_daemon; 0 without a process */
        uint32_t spare2;       /* fills the word; 0 */
        usec_t daemon_by_mono; /* BEGUN, LEFT: it has failed then; else 0 */
        uint64_t daemon_ticks; /* OWN, FOREIGN: when the process began, as /proc/PID/stat has it;
                                  else 0 */
};

/* How far a run of a program is that forks itself away. */
enum task_daemon {
        TASK_DAEMON_NONE,
        TASK_DAEMON_BEGUN,   /* pid is the command's */
        TASK_DAEMON_LEFT,    /* that has ended, and it is not known yet what it left behind */
        TASK_DAEMON_OWN,     /* pid is of what it left behind: a child of the keeper */
        TASK_DAEMON_FOREIGN, /* the same, of somebody else's child */
};

enum task_event_type {
        TASK_EV_DESIRE,  /* desire, grant, lapsed: what the server wants now (the first one creates
                            the task) */
        TASK_EV_SPAWNED, /* pid: the effect `spawn` was carried out */
        TASK_EV_SPAWN_FAILED, /* message: it could not be; counts as a failed run */
        TASK_EV_EXITED, /* known, exit_code or signal, ended_mono: the run ended, nothing of its
                           group is left */
        TASK_EV_TIMER,  /* now >= deadline_mono */
        TASK_EV_HALT,   /* the node goes down in order: end the run, keep the desire */
        TASK_EV_BOOT,   /* lapsed: first event after the machine was booted anew or the agent began
                           after HALT: whatever ran is gone */
        TASK_EV_LEASE,  /* lapsed, kill_mono: the lease ends (core/lease), or holds again and the
                           server still wants the task here */
        TASK_EV_FOUND,  /* who drives the machine from now on has found its process alive */
        TASK_EV_NOTICE, /* notice: the program said something, or what was asked of it was answered
                         */
        TASK_EV_HEALTH, /* healthy, message: a check that only marks has turned */
        TASK_EV_DAEMON, /* pid, ticks, foreign: the process that a run of a daemon is from now on is
                           found; in STARTING it was there before and is taken over */
        TASK_EV_DEMAND, /* somebody wants a task that waits for that */
        TASK_EV_LISTENS, /* message: why it cannot be reached while it waits; NULL: it can */
        TASK_EV_UNFIT,   /* message, final: the run has failed although its process lives: it is
                            stopped, and that counts as a failure */
};

/* An event that does not fit the state (the end of a run that was told already, a timer that came
 * early) changes nothing: after a restart the agent may tell what it finds once more. */

/* What becomes known of a run beside its life and death; sd_notify(3). All zero: nothing. */
struct task_notice {
        bool ready;
        bool stopping;      /* it is about to end by itself */
        bool alive;         /* a sign of life */
        bool hung;          /* it says itself that it needs the watchdog */
        usec_t watchdog;    /* signs of life come this often from now on */
        usec_t extend;      /* what is under way (start, stop) may take so much longer from now */
        const char *status; /* a text for people; NULL: none */
};

struct task_event {
        enum task_event_type type;
        struct task_notice notice;
        bool healthy; /* HEALTH */
        struct task_desire desire;
        struct task_grant grant;
        bool lapsed;      /* false for what is no singleton */
        usec_t kill_mono; /* lapsed: when the group must be killed at the latest; 0: as the spec's
                             grace period has it */
        int32_t pid;
        bool known;        /* EXITED: false when nobody was left to see the status: the result is
                              `unknown`, never a guess */
        int32_t exit_code; /* -1 if it ended by a signal */
        int32_t signal;
        bool whole;        /* EXITED in LEFT: nothing that the command left behind is there */
        uint64_t ticks;    /* DAEMON */
        bool foreign;      /* DAEMON */
        usec_t ended_mono; /* EXITED: when, as the keeper saw it; 0: now. Counts for a healthy run
                              and for the burst window */
        const char *message;
        bool unmet; /* SPAWN_FAILED: something that it needs is not there; it tries again for ever
                     */
        bool final; /* UNFIT: there is no further run, whatever the restart policy says */
        const char *detail;   /* EXITED: more of why, in a few words; NULL: nothing to add */
        uint64_t memory_peak; /* EXITED: bytes that the run had at most; 0: unknown */
        usec_t cpu;           /* EXITED: CPU time that it used; 0: unknown */
        bool out_of_memory;   /* EXITED: the kernel killed some of it for that */
        bool core_dumped;     /* EXITED */
        const char *id; /* the task's name for texts ("`reeve restart web.0`"); NULL: the job's name
                           stands there */
};

#define TASK_NOTES_MAX 4

/* What is to be done, in this order: notes, signal, spawn. A zeroed struct asks for nothing. For a
 * caller that may die between the steps: the machine has to be safe before the spawn is carried out
 * (a run begun twice would be the worst of all), and a machine found in STARTING without a trace of
 * its run asks for its spawn still. A signal that was lost is made up for: the grace period ends in
 * KILL, and KILL is repeated, at once when the next caller tells FOUND. */
struct task_effects {
        bool spawn; /* begin run number machine->runs with version machine->run_version */
        int signal; /* send it to the whole process group; SIGKILL when the grace period is over */
        bool changed; /* the task's status looks different from outside */
        bool failed;  /* a run has ended, or could not begin, and that is a failure */
        struct task_note {
                enum event_kind kind;
                /* Of the run it speaks of: the machine may be at the next one already. */
                uint32_t version; /* 0: no run yet */
                uint64_t run;
                const char *failure;                /* event.failure; static, or NULL */
                char message[TASK_REASON_MAX + 56]; /* "run 4 ended: exit code 3 after 1.2s" */
        } notes[TASK_NOTES_MAX];
        unsigned notes_len;
};

/* A task nobody has asked for yet: QUEUED without a due time, and it stays so until the first
 * DESIRE. */
void task_machine_init(struct task_machine *m, usec_t now_wall);

/* The only function that changes a machine. It writes fields one by one: a caller whose machines
 * must survive its own death at any instant works on a copy and puts the copy in place by a step
 * that cannot be seen half done.
 * @spec: of version m->desire.version (for DESIRE: of the new desire); decides restart, stop and so
 * on.
 * @seed: a random number; jitter of the back-off is made from it.
 * @ret: overwritten. */
void task_handle(struct task_machine *m, const struct job_spec *spec,
        const struct task_event *event, usec_t now_mono, usec_t now_wall, uint64_t seed,
        struct task_effects *ret);

/* Whether two desires ask for the same. */
bool task_desire_equal(const struct task_desire *a, const struct task_desire *b);

/* Whether it does its work as soon as it is asked to: it runs and is ready, or is begun then. */
bool task_is_ready(const struct task_machine *m);

/* The number of its process; 0: there is none, or it is not known. */
int32_t task_pid(const struct task_machine *m);

/* The spec version that is in force for the task as people see it. */
uint32_t task_version(const struct task_machine *m);

/* Whether all that task.c promises of a machine's fields holds; false for one that was damaged on
 * its way through a file. */
bool task_machine_is_valid(const struct task_machine *m);
