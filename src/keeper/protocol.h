/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdint.h>

/* What the keeper and the agent say to each other.
 *
 * The channel is one end of a SOCK_SEQPACKET pair which a program finds at the descriptor that the variable
 * REEVE_KEEPER_FD names. Every packet is one struct keeper_message; descriptors travel beside it (SCM_RIGHTS). The keeper
 * never blocks on the channel: what does not fit waits in its ring. The agent may block on it.
 *
 * The layout only grows at the end, and a receiver takes what it knows of a longer packet and zeros for what a shorter
 * one lacks: agent and keeper of neighbouring versions meet during every upgrade. */

#define KEEPER_PROTOCOL    1
#define KEEPER_FD_VARIABLE "REEVE_KEEPER_FD"
#define KEEPER_NAME_MAX    96 /* of a deposit, with its NUL */
#define KEEPER_FDS_MAX     4  /* descriptors in one deposit */

enum keeper_message_type {
        /* agent -> keeper */
        KEEPER_HELLO = 1, /* value: KEEPER_PROTOCOL. Answered with every deposit, every unacknowledged record, then READY */
        KEEPER_ACK,       /* records up to and including seq are on disk: forget them */
        KEEPER_PUT,       /* hold these descriptors under name; an older deposit of that name is closed */
        KEEPER_DROP,      /* close the deposit called name; none is fine */
        KEEPER_END,       /* all tasks are stopped: end the other programs, then yourself, with exit status 0 */
        KEEPER_UPGRADE,   /* re-execute yourself (from name if it is not empty: a path), then restart the programs */
        KEEPER_ADOPT,     /* handover only: program called name runs already; its pidfd travels along, its pid is value */
        KEEPER_GO,        /* handover only: everything was handed over; start the programs that were not adopted */

        /* keeper -> agent */
        KEEPER_DEPOSIT = 64, /* name and its descriptors, in answer to HELLO */
        KEEPER_RECORD,       /* a child ended; see below. Sent again after every HELLO until acknowledged */
        KEEPER_READY,        /* the answer to HELLO is complete (on a handover channel: the answer to GO); value: keeper's pid */
        KEEPER_DOWN,         /* someone asked (SIGINT) to stop all tasks in order and then send END */
        KEEPER_FAILED,       /* a PUT or UPGRADE could not be done: status is the errno, name what was meant */
};

/* The end of one child, as waitid(2) told it. */
struct keeper_record {
        uint64_t seq;         /* grows by one per record, never reused while this keeper or its re-executed self lives */
        int32_t pid;          /* was free for reuse only after start_ticks was read */
        int32_t code;         /* CLD_EXITED, CLD_KILLED or CLD_DUMPED */
        int32_t status;       /* exit status or signal number */
        int32_t unused;
        uint64_t start_ticks; /* field 22 of /proc/PID/stat (proc(5)), 0 if it could not be read */
        uint64_t end_mono;    /* CLOCK_BOOTTIME, microseconds */
        uint64_t end_wall;    /* CLOCK_REALTIME, microseconds */
        uint64_t user_usec;   /* CPU time, of the child and the children it waited for (getrusage(2)) */
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
