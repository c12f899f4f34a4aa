/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdint.h>

/* What the keeper and the agent say to each other.
 *
 * The channel is one end of a SOCK_SEQPACKET pair which a program finds at the descriptor that the
 * variable REEVE_KEEPER_FD names. Every packet is one struct keeper_message; descriptors travel
 * beside it (SCM_RIGHTS). The keeper never blocks on the channel: what does not fit waits in its
 * ring. The agent may block on it.
 *
 * Every program has such a channel, and its end (a read of 0 bytes) says that the keeper is gone;
 * only the agent's carries messages. A handover channel is one that a program made itself and gave
 * to a new keeper (--handover-fd) when the old one was killed.
 *
 * When the other side dies with packets unread, the first recvmsg(2) or sendmsg(2) may fail with
 * ECONNRESET although there is still something to read: read on until 0.
 *
 * The layout only grows at the end, and a receiver takes what it knows of a longer packet and zeros
 * for what a shorter one lacks: agent and keeper of neighbouring versions meet during every
 * upgrade. */

#define KEEPER_PROTOCOL    1
#define KEEPER_FD_VARIABLE "REEVE_KEEPER_FD"
#define KEEPER_NAME_MAX    96 /* of a deposit, with its NUL */
#define KEEPER_FDS_MAX     4  /* descriptors in one deposit */
#define KEEPER_EXIT_KEPT   4  /* exit status of a keeper that found its directory kept already */

enum keeper_message_type {
        /* agent -> keeper */

        /* value: KEEPER_PROTOCOL. Answered with every deposit, every unacknowledged record, READY.
         */
        KEEPER_HELLO = 1,
        /* Records up to and including seq are on disk: forget them. What was not sent on this
         * channel is not forgotten. */
        KEEPER_ACK,
        /* Hold these descriptors (1 to 4) under name; an older deposit of that name is closed. If
         * it fails the older one stays. */
        KEEPER_PUT,
        /* Close the deposit called name; none is fine. */
        KEEPER_DROP,
        /* All tasks are stopped: end the other programs, then the agent, then yourself with exit
         * status 0. */
        KEEPER_END,
        /* Re-execute yourself (from name if it is not empty: an absolute path, used from then on),
         * then restart the programs. */
        KEEPER_UPGRADE,
        /* Handover only: program called name runs already; its pidfd travels along, its pid is
         * value. */
        KEEPER_ADOPT,
        /* Handover only: everything was handed over; start the programs that were not adopted. The
         * end of the channel says the same. */
        KEEPER_GO,

        /* keeper -> agent */

        /* name and its descriptors, in answer to HELLO. */
        KEEPER_DEPOSIT = 64,
        /* A child ended; see below. Sent again after every HELLO until acknowledged. */
        KEEPER_RECORD,
        /* The answer to HELLO is complete (on a handover channel: the answer to GO); value: the
         * keeper's pid. */
        KEEPER_READY,
        /* Someone asked (SIGINT) to stop all tasks in order and then send END. Sent once per HELLO
         * until there is an END. */
        KEEPER_DOWN,
        /* A PUT, ADOPT or UPGRADE could not be done: status is the errno, name what was meant. */
        KEEPER_FAILED,
};

/* What a process that becomes a task says to the server of its machine before it executes its
 * program: on the SOCK_SEQPACKET socket WITNESS_SOCKET in the state directory, over a connection of
 * the agent's. A pidfd of itself and its two FIFOs travel beside it. From then on not even the
 * death of keeper and agent together loses its exit status or a byte of its log. Nobody waits for
 * it.
 *
 * What the agent itself has deposited with the keeper, and no process has, it gives to the server
 * as well, over the same connection: `task` is then the name of the deposit, which has a "/" in it,
 * and its descriptor travels along; none does when it was dropped. A name that ends in "/" without
 * one: all whose names begin so were dropped. */
#define WITNESS_SOCKET "witness.sock"

enum { WITNESS_PIDFD, WITNESS_STDOUT, WITNESS_STDERR, WITNESS_FDS };

struct witness_message {
        uint64_t run;
        char task[KEEPER_NAME_MAX];
};

/* The end of one child, as waitid(2) told it. Every child of the keeper that is not one of its
 * programs has one: tasks, and orphans that came to it as sub-reaper. */
struct keeper_record {
        uint64_t seq;   /* grows by one per record, from 1, never reused while this keeper or its
                         * re-executed self lives */
        int32_t pid;    /* was free for reuse only after start_ticks was read */
        int32_t code;   /* CLD_EXITED, CLD_KILLED or CLD_DUMPED */
        int32_t status; /* exit status or signal number */
        int32_t unused;
        uint64_t start_ticks; /* field 22 of /proc/PID/stat (proc(5)), 0 if it could not be read */
        uint64_t end_mono;    /* CLOCK_BOOTTIME, microseconds */
        uint64_t end_wall;    /* CLOCK_REALTIME, microseconds */
        uint64_t user_usec; /* CPU time, of the child and the children it waited for (getrusage(2))
                             */
        uint64_t system_usec;
        uint64_t max_rss_kib;
};

struct keeper_message {
        uint32_t type;
        int32_t status;
        uint64_t seq;
        uint64_t value;
        char name[KEEPER_NAME_MAX];
        struct keeper_record record;
};
