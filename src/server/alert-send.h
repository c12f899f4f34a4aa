/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <uv.h>

#include "base/error.h"

/* One attempt to tell somebody of a failure: a POST, or a program that is given a text. Never
 * blocks, and is over within 30 s. */
struct alert_send;

/* @err: NULL if it was taken: status 2xx, exit code 0. The attempt is gone when it returns. */
typedef void alert_sent_fn(void *data, const struct error *err);

/* @url, @body: copied as far as needed. @done is called later, never from within. */
struct alert_send *alert_send_post(uv_loop_t *loop, const char *url, const char *body, size_t len,
        alert_sent_fn *done, void *data);

/* Runs @arguments[0] (a path, or found along PATH) with @input on its standard input. @env: beside
 * the server's own; ended by NULL. */
struct alert_send *alert_send_run(uv_loop_t *loop, char *const *arguments, char *const *env,
        const char *input, size_t len, alert_sent_fn *done, void *data);

/* Ends the attempt, and the program; no callback follows. NULL is ignored. */
void alert_send_cancel(struct alert_send *s);
