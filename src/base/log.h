/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "base/macros.h"

/* Our own log, on stderr: for people when that is a terminal, one JSON object per line otherwise.
 * Error: someone must act. Warning: degraded but handled. Info: lifecycle. Debug: off unless
 * REEVE_LOG=debug. */
enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

/* Names the program in every line ("agent"). Chooses the format; REEVE_LOG=error|warning|info|debug
 * sets the level and REEVE_LOG_FORMAT=text|json the format. Call once, before the first line. */
void log_init(const char *program);

void log_write(enum log_level level, const char *format, ...) PRINTF_LIKE(2, 3);

/* From now on lines below warning wait for log_flush() (at most 64 KiB of them): for a program
 * whose loop has more urgent things to do than to write them one by one. */
void log_defer(void);
void log_flush(void);

#define log_error(...)   log_write(LOG_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_WARNING, __VA_ARGS__)
#define log_info(...)    log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...)   log_write(LOG_DEBUG, __VA_ARGS__)
