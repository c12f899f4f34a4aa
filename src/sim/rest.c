/* SPDX-License-Identifier: BSD-3-Clause */
/* Rest: what must have come about when the faults are over and everybody had time.
 *
 * The wishes say what people want, the machines say what is, and the core says what it believes;
 * here the three have to be one. ERR_CONFLICT means that a person is needed (a task has failed for
 * good), anything else that it is not over yet, or never will be. */

#include <inttypes.h>
#include <string.h>

#include "sim/rules.h"

static int check_links(const struct sim *s, struct error *err)
{
        if (s->server.cluster == NULL || s->server.degraded || s->server.flying != NULL)
                return error_set(err, ERR_UNAVAILABLE, "the server is busy");
        for (size_t i = 0; i < s->nodes_len; i++) {
                const struct sim_node *n = s->nodes[i];

                if (n->for_good)
                        continue;
                if (n->agent_link == NULL || n->server_link != n->agent_link ||
                        !n->server_link->welcomed)
                        return error_set(
                                err, ERR_UNAVAILABLE, "%s is not connected", n->status.name);
                if (n->notes_len > 0 || n->changed_first != NULL)
                        return error_set(
                                err, ERR_UNAVAILABLE, "%s has something to tell", n->status.name);
        }
        return 0;
}

/* ---- Tasks */

static size_t live_processes(const struct fact *f)
{
        size_t n = 0;

        for (size_t i = 0; f != NULL && i < f->live_len; i++)
                n += !f->live[i]->node->for_good;
        return n;
}

static int check_running(const struct fact *f, const struct task_status *status, struct error *err)
{
        const struct sim_task *t;
        size_t i = 0;

        if (live_processes(f) != 1)
                return error_set(err, ERR_SYSTEM, "%s is called running, and has %zu processes",
                        status->id, live_processes(f));
        for (t = f->live[0]; t->node->for_good;)
                t = f->live[++i];
        if (strcmp(t->node->status.name, status->node) != 0 || t->process.pid != status->pid ||
                (int64_t) t->process.run > status->runs) /* it counts those elsewhere, too */
                return error_set(err, ERR_SYSTEM,
                        "%s is called run %" PRIi64 " on %s, and is run %" PRIu64 " on %s",
                        status->id, status->runs, status->node, t->process.run,
                        t->node->status.name);
        return 0;
}

/* What has ended need not take up a version that its process could have taken in place. */
static bool is_newest(const struct sim *s, const struct wish *w, const struct task_status *status)
{
        const struct job_spec *from;
        struct job_diff diff;
        bool same;

        if (status->version == w->live.version)
                return true;
        from = cluster_get_spec(s->server.cluster, w->job, (uint32_t) status->version);
        if (status->state != TASK_ENDED || from == NULL)
                return status->state == TASK_ENDED;
        job_spec_diff(from, w->live.spec, &diff);
        same = !diff.needs_restart;
        job_diff_done(&diff);
        return same;
}

static int check_wanted(struct sim *s, const struct wish *w, const struct fact *f,
        const struct task_status *status, size_t *waiting, struct error *err)
{
        const char *room = NULL;

        if (status->state != TASK_RUNNING && status->result != RESULT_SUCCEEDED)
                room = sim_room_find(s, w->live.spec);
        if ((status->node == NULL && status->state == TASK_QUEUED && room == NULL) ||
                (status->state == TASK_LOST && w->live.spec->lost.then == LOST_WAIT)) {
                ++*waiting;
                return 0;
        }
        if ((status->result == RESULT_REJECTED && room == NULL) ||
                (status->node == NULL && w->live.spec->place.gang)) {
                ++*waiting;
                return 0;
        }
        if (status->state == TASK_ENDED && status->result != RESULT_SUCCEEDED)
                return error_set(err, ERR_CONFLICT, "%s has failed: %s", status->id,
                        status->reason != NULL ? status->reason : "?");
        if (status->state != TASK_ENDED && status->state != TASK_RUNNING)
                return error_set(err, ERR_TIMEOUT, "%s is %s on %s: %s (room on %s)", status->id,
                        task_state_names[status->state],
                        status->node != NULL ? status->node : "no node",
                        status->reason != NULL ? status->reason : "?",
                        room != NULL ? room : "none");
        if (status->state == TASK_RUNNING && job_spec_is_batch(w->live.spec))
                return error_set(err, ERR_TIMEOUT, "%s has not ended yet", status->id);
        if (status->state == TASK_ENDED && live_processes(f) > 0)
                return error_set(err, ERR_SYSTEM, "%s has ended, and has a process", status->id);
        /* it runs on, and its rollout waits until there is room for what it shall be */
        if (!is_newest(s, w, status) && sim_room_find_beside(s, w->live.spec, f) == NULL) {
                ++*waiting;
                return 0;
        }
        if (!is_newest(s, w, status))
                return error_set(err, ERR_UNAVAILABLE, "%s has version %" PRIi64 " of %" PRIu32,
                        status->id, status->version, w->live.version);
        return status->state == TASK_RUNNING ? check_running(f, status, err) : 0;
}

/* One that was to stand in for others has no room, alone or with its gang, so that its rollout
 * waits or has halted. */
static bool may_stay(
        struct sim *s, const struct wish *w, uint32_t index, const struct task_status *status)
{
        if (!w->live.exists || w->live.stopped || index < w->live.count ||
                index - w->live.count >= w->live.surge)
                return false;
        return ((status->state == TASK_QUEUED && status->node == NULL) ||
                       status->result == RESULT_REJECTED) &&
               (w->live.spec->place.gang || sim_room_find(s, w->live.spec) == NULL);
}

static int check_task(
        struct sim *s, const struct wish *w, uint32_t index, size_t *waiting, struct error *err)
{
        const struct fact *f = index < w->facts_len ? w->facts[index] : NULL;
        struct task_status status = { 0 };
        char id[64 + 16];
        bool there;

        snprintf(id, sizeof id, "%s.%" PRIu32, w->job, index);
        there = cluster_get_task(s->server.cluster, id, &status);
        if (sim_wish_wants(&w->live, index))
                return there ? check_wanted(s, w, f, &status, waiting, err)
                             : error_set(err, ERR_TIMEOUT, "%s is not there", id);
        if (live_processes(f) > 0)
                return error_set(err, ERR_TIMEOUT, "%s has a process, and nobody wants it", id);
        if (there && may_stay(s, w, index, &status)) {
                ++*waiting;
                return 0;
        }
        if (there && w->live.exists && index >= w->live.count && status.state == TASK_ENDED &&
                (status.result == RESULT_FAILED || status.result == RESULT_REJECTED))
                return error_set(err, ERR_CONFLICT, "%s has failed: %s", id, status.reason);
        if (there && (!w->live.exists || index >= w->live.count))
                return error_set(err, ERR_TIMEOUT, "%s is still there", id);
        if (there && status.state != TASK_ENDED)
                return error_set(err, ERR_TIMEOUT, "%s was stopped, and is %s", id,
                        task_state_names[status.state]);
        return 0;
}

/* ---- Jobs */

static int check_state(const struct wish *w, const struct job_status *status, size_t wanted,
        size_t running, struct error *err)
{
        int expected;

        expected = wanted == 0 ? JOB_STOPPED : running == 0 ? JOB_SUCCEEDED : JOB_RUNNING;

        if (status->state != expected || status->running != (int64_t) running)
                return error_set(err, ERR_TIMEOUT,
                        "job %s is %s with %" PRIi64 " running (%s), expected %s with %zu", w->job,
                        job_state_names[status->state], status->running,
                        status->reason != NULL ? status->reason : "no reason",
                        job_state_names[expected], running);
        return 0;
}

static int check_job(struct sim *s, const struct wish *w, struct error *err)
{
        struct job_status status;
        bool there = cluster_get_job(s->server.cluster, w->job, &status);
        size_t wanted = 0, running = 0, waiting = 0;
        struct error first = ERROR_INIT;
        /* a stand-in that was never told anything has no fact */
        size_t len = MAX((size_t) w->live.count + w->live.surge, w->facts_len);

        *err = ERROR_INIT;
        for (uint32_t i = 0; i < len; i++) {
                /* one that needs a person may be why the others are not as they should be */
                if (check_task(s, w, i, &waiting, err) < 0 && err->code == ERR_CONFLICT)
                        return -1;
                if (first.code == ERR_NONE || first.code == ERR_UNAVAILABLE)
                        first = *err;
                wanted += sim_wish_wants(&w->live, i);
                running += live_processes(i < w->facts_len ? w->facts[i] : NULL);
        }
        /* a rollout does not go on while a task that had run waits for room */
        if (waiting > 0 && first.code == ERR_UNAVAILABLE)
                return 0;
        if (first.code != ERR_NONE) {
                *err = first;
                return -1;
        }
        if (there != w->live.exists)
                return error_set(err, ERR_TIMEOUT, "job %s is %s", w->job,
                        there ? "still there" : "not there");
        if (!there)
                return 0;
        /* asked again: the texts are borrowed, and the tasks were looked at in between */
        cluster_get_job(s->server.cluster, w->job, &status);
        if (waiting > 0) /* the state says so in one way or another */
                return 0;
        return check_state(w, &status, wanted, running, err);
}

/* ---- Nodes */

struct node_walk {
        const struct sim *sim;
        struct error *err;
        int rc;
};

static void check_node(void *data, const struct node_status *status)
{
        struct node_walk *walk = data;
        struct sim_node *n;
        int64_t running = 0;

        HASH_FIND_STR(walk->sim->nodes_by_name, status->name, n);
        if (walk->rc < 0 || n == NULL || n->for_good)
                return;
        for (struct sim_task *t = n->tasks; t != NULL; t = t->hh.next) {
                struct task_status task;

                if (!cluster_get_task(walk->sim->server.cluster, t->id, &task) ||
                        task.node == NULL || strcmp(task.node, status->name) != 0)
                        walk->rc = error_set(walk->err, ERR_TIMEOUT,
                                "%s has task %s, and the server has it %s", status->name, t->id,
                                task.node != NULL ? task.node : "nowhere");
                running += t->process.pid > 0;
        }
        if (walk->rc == 0 && (status->state != NODE_READY || status->running != running))
                walk->rc = error_set(walk->err, ERR_TIMEOUT,
                        "%s is %s with %" PRIi64 " running, and it has %" PRIi64, status->name,
                        node_state_names[status->state], status->running, running);
}

bool sim_at_rest(struct sim *s, struct error *err)
{
        struct node_walk walk = { s, err, 0 };

        if (check_links(s, err) < 0)
                return false;
        for (const struct wish *w = s->rules->wishes; w != NULL; w = w->hh.next)
                if (check_job(s, w, err) < 0)
                        return false;
        cluster_each_node(s->server.cluster, check_node, &walk);
        return walk.rc == 0;
}
