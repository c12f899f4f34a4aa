/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "keeper/protocol.h"

/* The keeper's own header: its whole state is one struct keeper, which main.c owns and lends to the
 * other files. Nothing outside src/keeper includes this; others need only protocol.h. */

#define PROGRAMS_MAX 8
#define RECORDS_MAX  1024
#define FAILURES_MAX 256

/* What of the arguments and the environment a re-execution and a program are given. */
#define ARGUMENTS_MAX   1024
#define ENVIRONMENT_MAX 4096

#define USEC_PER_MSEC   UINT64_C(1000)
#define USEC_PER_SEC    UINT64_C(1000000)
#define STOP_GRACE_USEC (10 * USEC_PER_SEC) /* between TERM and KILL of a program */

enum channel_role {
        CHANNEL_LIFELINE, /* nothing is said; that it is open is the message */
        CHANNEL_AGENT,
        CHANNEL_HANDOVER,
};

struct failure {
        int status;
        char name[KEEPER_NAME_MAX];
};

/* One end of a conversation (protocol.h), with where in the answers to it we are. */
struct channel {
        int fd; /* -1: there is none */
        enum channel_role role;
        uint64_t watch;    /* its tag in the epoll set */
        bool wants_out;    /* the socket is full: EPOLLOUT is asked for */
        bool deaf;         /* the other side is gone: nothing more is sent, only read */
        bool complained;   /* a message that it must not send was logged */
        uint64_t retry_at; /* the kernel was short of something: try to send again then; 0: no */

        bool hello;            /* HELLO was said: records flow */
        bool ready_due;        /* READY is not sent yet */
        bool down_sent;        /* DOWN was sent since the last HELLO */
        uint32_t next_deposit; /* first slot not sent yet */
        uint64_t next_record;  /* first record not sent yet */
        uint64_t ready_before; /* READY comes before the record of this number */

        unsigned first_failure, failures; /* FAILED messages that are due */
        struct failure failure[FAILURES_MAX];
};

struct program {
        const char *name;
        char **argv;       /* lies in the keeper's own, ends with NULL */
        pid_t pid;         /* 0: does not run */
        int pidfd;         /* >= 0: adopted, not our child; else -1 */
        bool restart;      /* was told to end, to be started again at once */
        unsigned failures; /* ends since it last lived long enough */
        uint64_t started;  /* CLOCK_MONOTONIC, microseconds, as all times here */
        uint64_t start_at; /* when it is due; 0: it runs, or must not */
        uint64_t kill_at;  /* it was sent TERM: KILL is due then; 0: no */
        struct channel channel;
};

enum keeper_phase {
        KEEPER_HANDOVER, /* waits for GO: no program is started */
        KEEPER_RUNNING,
        KEEPER_STOP_OTHERS, /* all programs but the agent were sent TERM */
        KEEPER_STOP_AGENT,  /* these are gone, and the agent was sent TERM */
};

struct keeper {
        enum keeper_phase phase;
        char *dir;
        char path[4096];                                /* absolute, of our own program */
        char **environment;                             /* as it was given to us */
        char *program_environment[ENVIRONMENT_MAX + 2]; /* and as programs get it */
        sigset_t program_mask; /* what programs get back of what we changed for ourselves */
        struct rlimit program_nofile;
        rlim_t nofile;
        pid_t group; /* our own process group */

        int lock_fd;
        int epoll_fd;
        int signal_fd;
        struct program program[PROGRAMS_MAX];
        unsigned programs;
        struct program *agent; /* NULL: none of the programs is called so */
        struct channel handover;

        /* records first_record .. next_record - 1 are not acknowledged; number n lies in slot
         * n % RECORDS_MAX */
        struct keeper_record record[RECORDS_MAX];
        uint64_t first_record, next_record;
        bool reap_due;      /* look for ended children in this turn */
        bool ring_was_full; /* there may be zombies which no SIGCHLD will tell of again */

        bool down_pending; /* SIGINT came, END did not yet */
        bool upgrade_due;
        char upgrade_path[KEEPER_NAME_MAX]; /* empty: path */
};

/* Tags of descriptors in the epoll set: what it is, and whose. */
enum watch_kind { WATCH_SIGNALS, WATCH_CHANNEL, WATCH_PIDFD, WATCH_HANDOVER };
#define WATCH(kind, index) ((uint64_t) (kind) << 32 | (index))

/* main.c */

/* One line on stderr, unless stderr takes none at this moment. */
void keeper_log(const char *format, ...) __attribute__((format(printf, 1, 2)));
uint64_t keeper_now(void);
/* Ends the programs, then the keeper. @why: for the log. Safe to repeat. */
void keeper_stop(struct keeper *k, const char *why);
/* Adds a descriptor to the epoll set, or changes what is waited for. Returns 0 or -errno. */
int keeper_watch(struct keeper *k, int fd, uint64_t tag, bool writable, bool add);

/* records.c */

/* Reaps every ended child: programs are started again, the rest becomes records, as far as the
 * ring has room. */
void records_reap(struct keeper *k);
/* Forgets the records up to and including @seq, of which @limit is the first that must stay. */
void records_acknowledge(struct keeper *k, uint64_t seq, uint64_t limit);

/* channel.c */

void channel_init(struct channel *ch, enum channel_role role, uint64_t watch);
/* Takes @fd over and waits for messages on it. On failure @fd is closed. Returns 0 or -errno. */
int channel_open(struct keeper *k, struct channel *ch, int fd);
/* Like channel_open(), for a channel whose conversation goes on after a re-execution. */
int channel_resume(struct keeper *k, struct channel *ch);
void channel_close(struct channel *ch);
/* Reads and obeys at most @limit messages. */
void channel_receive(struct keeper *k, struct channel *ch, unsigned limit);
/* The socket has room again. */
void channel_writable(struct keeper *k, struct channel *ch);
/* Sends what is due, as far as the socket takes it. */
void channel_flush(struct keeper *k, struct channel *ch);
/* Makes a FAILED due. @status: an errno. */
void channel_fail(struct channel *ch, int status, const char *name);

/* programs.c */

void program_init(struct program *p, unsigned index, char **argv);
struct program *program_by_name(struct keeper *k, const char *name);
struct program *program_by_pid(struct keeper *k, pid_t pid);
/* Makes every program that does not run due at once. */
void programs_start_all(struct keeper *k);
/* Reaps those programs that have ended. Does not depend on the ring having room. */
void programs_reap(struct keeper *k);
/* An adopted program's pidfd is readable. */
void program_adopted_ended(struct keeper *k, struct program *p);
/* Takes @pidfd over on success. Returns 0 or -errno. */
int program_adopt(struct keeper *k, struct program *p, pid_t pid, int pidfd);
/* TERM now, KILL when the grace period is over. */
void program_terminate(struct program *p);
/* Tells every program to end, to be started again at once. */
void programs_restart(struct keeper *k);
/* Starts and kills what is due. */
void programs_run_due(struct keeper *k);
/* The earliest time at which programs_run_due() has something to do, or UINT64_MAX. */
uint64_t programs_deadline(const struct keeper *k);

/* upgrade.c */

/* Replaces this process by a new image of the keeper. Returns only if that failed: -errno. */
int upgrade_run(struct keeper *k);
/* Takes over what upgrade_run() of the older image left in @fd, which is closed. Returns 0 or
 * -errno. */
int upgrade_load(struct keeper *k, int fd);
