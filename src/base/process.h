/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Looking at processes, whosever children they are. */

struct process_stat { /* of /proc/PID/stat, see proc(5) */
        char state;   /* 'Z': a zombie, if there are no other threads */
        pid_t parent;
        int threads;          /* the first one is counted until the process is reaped */
        uint64_t start_ticks; /* since boot */
        int exit_code;        /* of a zombie, as wait(2) tells it; needs the right to trace it */
};

/* Parses the text of /proc/PID/stat; the command in it may contain anything. */
bool process_parse_stat(const char *text, struct process_stat *ret);

#define PROCESS_STAT_TEXT_MAX 1024
/* Reads /proc/PID/stat, as a string. False if there is no such process. */
bool process_read_stat_text(pid_t pid, char *ret, size_t size);

/* Both. */
bool process_read_stat(pid_t pid, struct process_stat *ret);

/* pidfd_open(2); -1 and errno. */
int process_open(pid_t pid);
