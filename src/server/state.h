/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "core/cluster.h"
#include "store/store.h"

/* The shell around the cluster: events go in here, their effects come out once they are durable.
 * Loop thread only. */
struct state;

/* All are required and called from the loop, never from within state_submit(). */
struct state_hooks {
        void (*assign)(
                void *data, const struct cluster_assign *assign); /* durable: for the agent */
        void (*event)(void *data, const struct event *event);     /* durable: for followers */
        void (*published)(void *data); /* after some of the two above: send what was gathered */
        void (*changed)(void *data);   /* state_index() has grown; at most once per loop turn */
        void (*reset)(void *data); /* the cluster was rebuilt from the store: every agent must say
                                      hello again */
        void (*recovered)(void *data); /* the store works again after it had failed */
        void *data;
        usec_t lost_after; /* silence after which a node is lost; 0: the cluster's default */
};

/* Loads the cluster from @store, which stays the caller's and must outlive the state. @store_path
 * is for messages. */
int state_new(uv_loop_t *loop, struct store *store, const char *store_path,
        const struct state_hooks *hooks, struct state **ret, struct error *err);

/* Everything submitted must have been reported (state_is_idle()), or is forgotten without a report.
 * NULL is ignored. The memory is gone once the loop has closed the handles. */
void state_free(struct state *s);

/* True if nothing waits for the store. */
bool state_is_idle(const struct state *s);

/* @err NULL: what was decided is on disk. Otherwise it did not happen. */
typedef void state_done_cb(void *data, const struct error *err);

struct state_outcome {
        uint64_t index;                     /* number of the newest event, this one's included */
        uint32_t version;                   /* APPLY */
        bool unchanged;                     /* APPLY */
        char dispatched[TEXT_NAME_MAX + 1]; /* DISPATCH: the name of the job */
};

/* Has the cluster decide. Returns -1 if it refuses, or if this is a person's command and the store
 * cannot be written at present; then nothing has changed. Otherwise @done (may be NULL) is called
 * later, once; all events of one loop turn become durable together or not at all. @ret may be NULL.
 */
int state_submit(struct state *s, const struct cluster_event *event, state_done_cb *done,
        void *data, struct state_outcome *ret, struct error *err);

/* Rows that are the server's own (token/...), which the cluster does not know. They are written in
 * one batch with what else the loop turn decides, and reported like a person's command. */
struct state_row {
        const char *key;
        const char *value; /* NULL deletes */
};

int state_write(struct state *s, const struct state_row *rows, size_t len, state_done_cb *done,
        void *data, struct error *err);

/* Calls @done when all that the cluster shows now may be told to the outside; from within if it may
 * at once. */
void state_barrier(struct state *s, state_done_cb *done, void *data);

/* The same for what must not be told before it is stored, however long the store fails. With an
 * error if it never will be. */
void state_when_durable(struct state *s, state_done_cb *done, void *data);

/* For reading; borrowed, and only until the next event. */
const struct cluster *state_cluster(const struct state *s);

/* The same for a process that has just been forked and has all of it to itself. */
struct cluster *state_cluster_copy(struct state *s);

/* Has the time zone that the spec names read, if it names one. ERR_INVALID: there is none. */
int state_know_zone(struct state *s, const struct job_spec *spec, struct error *err);

/* How new the state is: grows with each visible change, and from one start of the server to the
 * next. Below 2^53. */
uint64_t state_index(const struct state *s);

/* Number of the newest event that is durable. */
uint64_t state_durable_event(const struct state *s);

/* How many events there are, about. */
uint64_t state_events_stored(const struct state *s);

/* What it has done since the start of the server. */
struct state_counters {
        uint64_t decisions; /* events that the cluster has handled */
        uint64_t commits, commit_failures;
        usec_t commit_time; /* of all commits together */
};
const struct state_counters *state_get_counters(const struct state *s);

/* Forgets old events: those before the newest @keep, and those older than @max_age; never the
 * newest. */
void state_forget_events(struct state *s, uint64_t keep, usec_t max_age);

/* The key of an event's row. Returns @key. */
#define STATE_KEY_MAX 32
const char *state_event_key(char key[STATE_KEY_MAX], uint64_t index);
