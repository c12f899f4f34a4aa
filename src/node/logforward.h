/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <uv.h>

/* Sends what tasks write to a log daemon of the machine as well: line by line, in order, each at
 * least once. What the daemon does not take waits in the task's log files. */
struct logforward;

enum logforward_to {
        LOGFORWARD_SYSLOG,  /* as syslog(3) does, to /dev/log */
        LOGFORWARD_JOURNAL, /* as sd_journal_send(3) does, to /run/systemd/journal/socket */
        LOGFORWARD_ENDS
};

/* @directory has a folder for each task ("DIR/node/tasks"). @sockets: where the daemons listen;
 * NULL for the usual place. All borrowed. */
struct logforward *logforward_new(
        uv_loop_t *loop, const char *directory, const char *const sockets[LOGFORWARD_ENDS]);

/* The loop must turn once more to let go of it. NULL is fine. */
void logforward_free(struct logforward *lf);

/* Stream @name ("stdout", "stderr") of @task may have lines that @to has not got. @over: nothing
 * writes it now, so what it ends with is a line even without a line end. */
void logforward_look(struct logforward *lf, const char *task, const char *name,
        enum logforward_to to, bool over);
