/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "core/cluster.h"

/* `plan`: what applying specs would do, found by running the real scheduler on a copy of the state
 * with agents that do at once what they are told. */

/* Applies @specs in @copy, and appends a JSON object:
 *
 *   "jobs"   of each spec, and of each other job that is touched: {"job", "action":
 *            "create|update|unchanged|affected", "version", "changes": [{"field", "from", "to",
 *            "needs_restart"}], "in_place": bool, "ready": how many tasks are now, "least_ready":
 *            on the way, "ready_then": at the end, "away": tasks on nodes that are not
 *            connected, which follow when these are back, "next": the next slot of a cron job or
 * null} "steps"  in their order: {"order": 1, "job", "task": "web.0", "action":
 *            "start|stop|move|replace|update-in-place|promote|reject", "node", "from": the node
 *            that a task leaves or null, "after": seconds from now by what the specs say of pauses
 *            and health, "reason", "choice": why that node, or null}. `promote` is what a person
 *            has to do before the steps behind it are taken; its "task" is null
 *   "waits"  tasks that are left without a node: {"job", "task": the first, "tasks": how many,
 *            "reason", "next", "conditions": [{"where", "refuses", "nodes"}], "fits": changes of
 *            which each is enough, as sentences}
 *   "more_nodes" {"like": "n4", "count": 2}: as many more nodes like that one and nothing waits; or
 *            null
 *   "takes"  seconds until the last step
 *   "least_running" {"web": 2}: least_ready of the jobs that are there already
 *
 * @copy is used up: all that may be done with it afterwards, also after an error, is to leave it
 * alone or to free it. Nothing here makes a copy; fork(2) makes one of everything.
 * @source: who applies, as in CLUSTER_APPLY; NULL: each job's own source, "api" if it is new. */
int plan_make(struct cluster *copy, struct job_spec *const *specs, size_t specs_len,
        const char *source, usec_t now_wall, struct buffer *ret, struct error *err);
