/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "base/error.h"
#include "base/time.h"
#include "node/spawn.h"

/* Asks a program again and again how it is: by an HTTP request, a connection, or a command. */
struct probe;

#define PROBE_ANSWER_MAX 120

struct probe_config {
        /* Exactly one of the three; copied. Without variables. */
        const char *http;
        const char *tcp;
        bool command;

        /* With command: what is to be run, made for each time; the caller of it frees both with
         * spawn_plan_done() and as an array of heap strings. */
        int (*plan)(void *data, struct spawn_plan *ret, char ***ret_env, struct error *err);

        usec_t first;    /* from now */
        usec_t interval; /* between the beginnings of two, but never two at once */
        usec_t timeout;

        /* One answer. May free the probe. @answer: in words, "status 503" */
        void (*on_answer)(void *data, bool good, const char *answer);
        void *data;
};

/* ERR_INVALID for a target that can be none. */
int probe_new(
        uv_loop_t *loop, const struct probe_config *config, struct probe **ret, struct error *err);

/* Nothing comes from it any more; a command that still runs is killed. NULL is fine. */
void probe_free(struct probe *p);
