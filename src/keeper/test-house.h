/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "keeper/protocol.h"

/* What the keeper's tests need: a directory with a keeper in it, and programs
 * for it to keep.
 *
 * The programs are the test binary itself, called with the name "agent" or
 * "server". Such a program does nothing of its own: it connects to the test,
 * hands it its end of the keeper's channel and then obeys orders. So a test
 * speaks the protocol itself, and can kill the agent at any point. */

#define DEADLINE_MS 20000

enum order_type {
        ORDER_EXIT = 1, /* a task that exits with .value */
        ORDER_EXITS,    /* .count tasks, the i-th exits with (value + i) % 256 within
                           some ms */
        ORDER_SIGNAL,   /* a task that kills itself with signal .value */
        ORDER_SLEEP,    /* a task that waits for a signal */
        ORDER_BURN,     /* a task that uses .value ms of CPU time, then exits with 0 */
        ORDER_GROUP,    /* a task that leads a group, leaves a member in it and exits
                         * with .value; answered with the pid of the task, then of the
                         * member */
};

struct order {
        int type;
        int value;
        int count;
};

struct program_hello {
        pid_t pid;
        pid_t parent;
        int blocked;          /* how many signals it finds blocked */
        uint64_t nofile_soft; /* its limit of descriptors */
        int descriptors;      /* how many it finds open */
};

/* A program that the keeper started, as the test sees it. */
struct visitor {
        struct program_hello hello;
        int control; /* orders go here */
        int channel; /* its end of the keeper's channel */
};

struct house {
        char dir[64];
        int agent_door, server_door; /* listening sockets */
        pid_t keeper;
};

void house_open(struct house *h);
/* Ends the keeper if it runs, reaps everything, removes the directory. */
void house_close(struct house *h);

/* Starts a keeper with an agent and, if @server, a server. @handover: -1 or the descriptor to give.
 */
void house_start(struct house *h, bool server, int handover);
/* Starts a program with these arguments (after argv[0]) as the keeper, with
 * @nofile_hard (0: as it is); its stderr goes to the house's log. Does not
 * touch h->keeper. */
pid_t house_run(struct house *h, char *const *arguments, int keep_fd, uint64_t nofile_hard);
/* Waits for a process that the test is the parent of; returns its status as of
 * waitpid(2). */
int house_wait(pid_t pid);
/* Waits until the log holds @text. */
void house_expect_log(struct house *h, const char *text);
bool house_log_holds(struct house *h, const char *text);

/* Waits for the next program to come to @door. */
void visitor_accept(int door, struct visitor *ret);
void visitor_close(struct visitor *v);
/* Gives an order; returns the first pid of the answer. */
pid_t visitor_order(struct visitor *v, enum order_type type, int value);
pid_t visitor_next_pid(struct visitor *v);
void visitor_order_many(struct visitor *v, int value, int count, pid_t *ret_pids);

/* Any bytes, also such as are no message. */
void packet_send(int fd, const void *data, size_t length, const int *fds, unsigned count);
void message_send(int channel, const struct keeper_message *m, const int *fds, unsigned count);
/* Waits for a message. @ret_fds (8 of them) and @ret_count may be NULL if none are expected. */
void message_receive(int channel, struct keeper_message *ret, int *ret_fds, unsigned *ret_count);
/* Waits until the other side closes; messages are dropped. */
void message_expect_end(int channel);
void message_simple(int channel, enum keeper_message_type type, const char *name, uint64_t value);
void message_ack(int channel, uint64_t seq);
/* Waits for a message that must be of @type. */
void message_expect(int channel, enum keeper_message_type type, struct keeper_message *ret);

/* /proc/PID/stat: the state letter, 0 if there is no such process; its parent;
 * its start time. */
char process_state(pid_t pid, pid_t *ret_parent, uint64_t *ret_start_ticks);
void process_expect_state(pid_t pid, char state);
unsigned process_count_zombies(pid_t parent);
/* Both kinds of context switches that the process has made. */
uint64_t process_switches(pid_t pid);
uint64_t now_ms(void);

/* What the test binary does when it is called as a program of the keeper. */
int program_main(const char *name, const char *dir);
