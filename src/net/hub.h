/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "base/time.h"

/* What all connections of one loop share: the read buffer, the list of things to do at the end of
 * the turn, the coarse timer. Counted; found by the loop. */
struct hub;

#define HUB_READ_SIZE ((size_t) 64 * 1024)

/* The hub of @loop with one more reference. */
struct hub *hub_get(uv_loop_t *loop);
struct hub *hub_ref(struct hub *h);
void hub_unref(struct hub *h);

uv_loop_t *hub_loop(const struct hub *h);
char *hub_read_buffer(const struct hub *h); /* HUB_READ_SIZE bytes, good until the callback ends */

/* Something to do once, at the end of this turn, with none of our frames on the stack: embedded by
 * an object that holds a reference to the hub. Zeroed: not queued. */
struct hub_job {
        struct hub_job *prev, *next;
        void (*run)(struct hub_job *job);
        bool queued;
};
void hub_defer(struct hub *h, struct hub_job *job, void (*run)(struct hub_job *job)); /* or again */
void hub_job_cancel(struct hub *h, struct hub_job *job); /* not queued: nothing happens */

/* A point in time, kept to within 100 ms (never early). Zeroed: not set. @at_mono USEC_NEVER
 * unsets; setting again replaces. It is unset when @run is called. */
struct hub_deadline {
        struct hub_deadline *prev, *next;
        usec_t at_mono;
        void (*run)(struct hub_deadline *deadline);
        bool set;
};
void hub_set_deadline(struct hub *h, struct hub_deadline *d, usec_t at_mono,
        void (*run)(struct hub_deadline *deadline));

/* When @timeout from now is over; USEC_NEVER stays what it is. */
usec_t hub_deadline_after(usec_t timeout);
