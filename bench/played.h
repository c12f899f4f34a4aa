/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "base/buffer.h"
#include "base/hash.h"
#include "base/scan.h"

/* What bench/agents.c reads and writes that depends on no agent in particular. */

#define FIRST_PID 4000000 /* of tasks: beyond what the kernel gives out, nobody is meant */

struct job {
        char *name;
        UT_hash_handle hh;
};

struct assign {
        const struct job *job;
        uint32_t index;
        int64_t version, restart_version, generation;
        bool run, forget;
};

/* The member `task`, "web.0", of an assign: its job and index. The job is one object for all tasks.
 */
void played_read_task(struct scan *s, struct assign *ret);

/* The member `desire`. */
void played_read_desire(struct scan *s, struct assign *ret);

/* The node that agent @number says it is. */
void played_put_node(struct buffer *out, uint32_t number);
