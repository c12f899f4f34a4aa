/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdint.h>

/* What the task programs of the scenarios share: notes that a test believes more than anything
 * Reeve says. Each is a file of its own, made with O_EXCL, so that nothing can be told twice
 * unnoticed; SIGKILL cannot undo it. Included by one file per program. */

/* Notes that this run began: DIR/TASK.RUN.start with the pid. If that run had begun before, the
 * note is TASK.RUN.double.PID instead; if another process of this task still lives,
 * TASK.RUN.overlap.PID comes on top. */
void begin(const char *dir);

/* Writes the note DIR/TASK.RUN.NAME. Returns 0, or -1 if it is there already. */
int note(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The path of the note NAME; overwritten by the next call. */
const char *note_path(const char *name);

const char *task(void);
unsigned long run(void);

/* A number that follows from task, run and @salt alone, evenly spread. */
uint64_t mix(const char *name, unsigned long number, uint64_t salt);

void fail(const char *what) __attribute__((noreturn));
void sleep_usec(uint64_t usec);
