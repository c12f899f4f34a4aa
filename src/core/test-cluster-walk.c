/* SPDX-License-Identifier: BSD-3-Clause */

/* A random walk of the cluster: people who want this and that, three agents with the real task
 * machine, links that are slow, deliver twice and are cut, processes that end as they like, and a
 * server that is killed before or after any commit. What people were promised is kept beside it in
 * a small model (struct wish). After every step:
 *
 *   - the server's counts are what a fresh count gives, and every wish is there, as it was
 * accepted;
 *   - nothing is told to run that nobody wants, and no task has two processes;
 *   - of a job that rolls out, no more than `update.parallel` running tasks were taken down for it;
 *   - a run that ended well is not followed by another of the same generation and version;
 *   - each note of an agent was published exactly once, in order.
 *
 * In the end the faults stop, and everything must come to what was wished. The seed is printed, and
 * can be given as argument: test-cluster-walk SEED. */

#include "core/test-cluster-kit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "core/cluster-internal.h"

#define WALKS      24
#define WALK_STEPS 2500
#define JOBS       5
#define TASKS_MAX  6

struct wish {
        bool exists, stopped, batch;
        bool task_stopped[TASKS_MAX];
        uint32_t count;
        uint32_t parallel;
};

struct done { /* a run that ended well */
        const struct kit_agent *agent;
        bool known; /* to the server */
        char id[16];
        uint64_t generation;
        uint32_t version;
};

struct walk {
        struct kit *k;
        uint64_t random;
        struct wish wishes[JOBS];
        const char *target_task; /* of the command that is being handled */
        bool applying;
        bool moved[JOBS][TASKS_MAX]; /* taken down for a rollout, and not settled since */
        bool ran[JOBS][TASKS_MAX];   /* before this turn, as the server saw it */
        struct done *done;
        size_t done_len;
        uint64_t sent[KIT_AGENTS], published[KIT_AGENTS]; /* notes */
        size_t spawns, reloads, moves, commands;
};

static const char *const job_names[JOBS] = { "web", "db", "api", "once", "load" };

static uint64_t next_random(struct walk *w) /* xorshift64 */
{
        w->random ^= w->random << 13;
        w->random ^= w->random >> 7;
        w->random ^= w->random << 17;
        return w->random;
}

static uint64_t scramble(uint64_t seed) /* splitmix64: neighbours go different ways */
{
        seed += 0x9e3779b97f4a7c15;
        seed = (seed ^ (seed >> 30)) * 0xbf58476d1ce4e5b9;
        seed = (seed ^ (seed >> 27)) * 0x94d049bb133111eb;
        return (seed ^ (seed >> 31)) | 1;
}

static uint32_t below(struct walk *w, uint32_t n)
{
        return (uint32_t) (next_random(w) / 7 % n);
}

static bool one_in(struct walk *w, uint32_t n)
{
        return below(w, n) == 0;
}

static size_t job_number(const char *name)
{
        for (size_t i = 0; i < JOBS; i++)
                if (strcmp(job_names[i], name) == 0)
                        return i;
        fail_msg("no job %s", name);
        return 0;
}

/* ---- What is checked */

static void check_counts(struct walk *w)
{
        for (struct job *job = w->k->c->jobs; job != NULL; job = job->hh.next) {
                size_t counts[MARK_COUNT];

                memcpy(counts, job->counts, sizeof counts);
                job_recount(job);
                assert_memory_equal(counts, job->counts, sizeof counts);
        }
}

static void check_wishes(struct walk *w)
{
        for (size_t i = 0; i < JOBS; i++) {
                const struct wish *wish = &w->wishes[i];
                const struct job *job = job_find(w->k->c, job_names[i]);

                if (!wish->exists) {
                        assert_true(job == NULL || job->removing);
                        continue;
                }
                assert_non_null(job);
                assert_false(job->removing);
                assert_int_equal(job->stopped, wish->stopped);
                assert_int_equal(job_current_spec(job)->count, wish->count);
                for (uint32_t n = 0; n < wish->count; n++) {
                        const struct task *t = job_task(job, n);

                        assert_non_null(t);
                        if (!t->leaving && !wish->stopped)
                                assert_int_equal(t->stopped, wish->task_stopped[n]);
                }
        }
}

/* A process that may go on for a while although its task has another node: its agent was lost, and
 * has not heard of that or is about to end it. */
static bool is_left_over(const struct kit_agent *a, const struct kit_task *t)
{
        return !a->connected || a->inbox_len > 0 || t->forget || !t->machine.desire.run;
}

static void check_two(const struct kit_agent *a, const struct kit_task *t,
        const struct kit_agent *b, const struct kit_task *u)
{
        if (t->process.pid > 0 && u->process.pid > 0 && strcmp(t->id, u->id) == 0)
                assert_true(is_left_over(a, t) || is_left_over(b, u));
}

static void check_processes(struct walk *w)
{
        const struct kit_agent *agents = w->k->agents;

        for (size_t a = 0; a < KIT_AGENTS; a++)
                for (size_t b = a + 1; b < KIT_AGENTS; b++)
                        for (size_t i = 0; i < agents[a].tasks_len; i++)
                                for (size_t j = 0; j < agents[b].tasks_len; j++)
                                        check_two(&agents[a], &agents[a].tasks[i], &agents[b],
                                                &agents[b].tasks[j]);
}

static void check_notes(struct walk *w)
{
        for (size_t i = 0; i < w->k->fx.events_len; i++) {
                const struct event *e = &w->k->fx.events[i];

                if (e->kind != EVENT_TASK_STARTED)
                        continue;
                assert_int_equal(e->run, w->published[e->node[0] - 'a'] + 1);
                w->published[e->node[0] - 'a']++;
        }
}

/* Jobs that nobody commands: one task per node, and by a timetable. */
static bool is_beside(const char *job)
{
        return strcmp(job, "sys") == 0 || strcmp(job, "nightly") == 0;
}

static void check_assign(struct walk *w, const struct cluster_assign *a)
{
        const struct wish *wish;

        if (a->forget || !a->desire.run || is_beside(a->job))
                return;
        wish = &w->wishes[job_number(a->job)];
        if (!wish->exists || wish->stopped || a->index >= wish->count ||
                wish->task_stopped[a->index])
                fail_msg("%s is told to run, and nobody wants that (exists %d stopped %d count %u "
                         "task_stopped %d)",
                        a->task, wish->exists, wish->stopped, wish->count,
                        wish->task_stopped[a->index]);
}

static bool is_settled(const struct task *t)
{
        if (t == NULL || (t->marks & (BIT(MARK_SETTLED) | BIT(MARK_MOVABLE))) != 0)
                return true;
        /* a lost node is not waited for by a rollout that begins later */
        if ((t->marks & BIT(MARK_LOST)) != 0 && (t->marks & BIT(MARK_OUTDATED)) != 0)
                return true;
        return t->state == TASK_ENDED || (t->marks & BIT(MARK_WANTED)) == 0;
}

/* Who ran and was told to make place is counted until it is settled; only what a person asked of
 * one task is not the rollout's doing. */
static void check_rollout(struct walk *w, size_t number)
{
        const struct job *job = job_find(w->k->c, job_names[number]);
        size_t down = 0;
        bool more = false;

        for (uint32_t n = 0; n < TASKS_MAX; n++) {
                const struct task *t = job == NULL ? NULL : job_task(job, n);
                bool moved = t != NULL && w->ran[number][n] && t->going && t->desire.run &&
                             !(w->target_task != NULL && w->target_task[0] != '\0');

                if (moved && !w->moved[number][n]) {
                        w->moved[number][n] = true;
                        w->moves++;
                        more = true;
                }
                if (is_settled(t))
                        w->moved[number][n] = false;
                down += w->moved[number][n];
        }
        if (more && down > w->wishes[number].parallel)
                fail_msg("%zu tasks of %s are down for a rollout, %" PRIu32 " may be", down,
                        job_names[number], w->wishes[number].parallel);
}

static void remember_running(struct walk *w)
{
        for (size_t i = 0; i < JOBS; i++)
                for (uint32_t n = 0; n < TASKS_MAX; n++) {
                        const struct job *job = job_find(w->k->c, job_names[i]);
                        const struct task *t = job == NULL ? NULL : job_task(job, n);

                        w->ran[i][n] = t != NULL && (t->marks & BIT(MARK_WANTED_RUNNING)) != 0 &&
                                       t->desire.run && !t->going;
                }
}

/* What the server knows to be done is never placed anew; what only a lost node knew may be. */
static void note_known(struct walk *w)
{
        for (size_t i = 0; i < w->done_len; i++) {
                struct job *job;
                struct task *t;

                if (!w->done[i].known && cluster_look_up(w->k->c, w->done[i].id, &job, &t) &&
                        t != NULL)
                        w->done[i].known = t->state == TASK_ENDED &&
                                           t->result == RESULT_SUCCEEDED &&
                                           t->desire.generation <= w->done[i].generation;
        }
}

static void on_handled(struct kit *k, const struct cluster_event *event)
{
        struct walk *w = k->data;

        note_known(w);
        (void) event;
        check_notes(w);
        for (size_t i = 0; i < k->fx.assigns_len && !w->applying; i++)
                check_assign(w, &k->fx.assigns[i]);
        for (size_t i = 0; i < JOBS && !w->applying; i++)
                check_rollout(w, i);
        if (!w->applying)
                remember_running(w);
}

static void on_spawn(struct kit_agent *a, struct kit_task *t)
{
        struct walk *w = a->kit->data;
        const struct task_machine *m = &t->machine;

        w->spawns++;
        for (size_t i = 0; i < w->done_len; i++)
                if (strcmp(w->done[i].id, t->id) == 0 && w->done[i].version >= m->run_version &&
                        w->done[i].generation >= MAX(m->run_generation, m->desire.generation) &&
                        (w->done[i].agent == a || (w->done[i].known && !is_left_over(a, t))))
                        fail_msg("%s has done its work and runs again (on %s, generation %" PRIu64
                                 ", done on %s, generation %" PRIu64 ", known %d)",
                                t->id, a->name, m->run_generation, w->done[i].agent->name,
                                w->done[i].generation, w->done[i].known);
}

static void on_exit_code(struct kit_agent *a, struct kit_task *t, int exit_code)
{
        struct walk *w = a->kit->data;
        struct done *d;

        if (exit_code != 0 || t->spec->kind != JOB_BATCH || t->machine.state != TASK_RUNNING)
                return;
        w->done = mem_resize(w->done, w->done_len + 1, sizeof w->done[0]);
        d = &w->done[w->done_len++];
        *d = (struct done){ .agent = a,
                .generation = t->machine.run_generation,
                .version = t->machine.run_version };
        snprintf(d->id, sizeof d->id, "%s", t->id);
}

/* ---- What people do */

static void spec_text(char text[300], const struct wish *wish, uint32_t variant)
{
        snprintf(text, 300,
                "{\"kind\": \"%s\", \"command\": [\"%" PRIu32 "\"], \"count\": %" PRIu32
                ", \"restart\": {\"burst\": %d, \"delay\": \"%s\", \"max_delay\": \"300ms\"}, "
                "\"update\": {\"parallel\": %" PRIu32 "}, \"logs\": {\"files\": %" PRIu32 "}}",
                wish->batch ? "batch" : "service", variant % 3, wish->count,
                variant % 5 == 0 ? 2 : 0, variant % 2 ? "0s" : "100ms", wish->parallel,
                3 + variant % 2);
}

/* The model of a command, once it was accepted. */
typedef void (*accept)(struct wish *wish, uint32_t task);

static void accept_stop(struct wish *wish, uint32_t task)
{
        if (task == UINT32_MAX)
                wish->stopped = true;
        else
                wish->task_stopped[task] = true;
}

static void accept_restart(struct wish *wish, uint32_t task)
{
        bool others = wish->stopped && task != UINT32_MAX;

        for (uint32_t i = 0; i < TASKS_MAX; i++)
                if (task == UINT32_MAX || others)
                        wish->task_stopped[i] = others && i < wish->count;
        if (task != UINT32_MAX)
                wish->task_stopped[task] = false;
        wish->stopped = false;
}

static void accept_remove(struct wish *wish, uint32_t task)
{
        (void) task;
        *wish = (struct wish){ .batch = wish->batch, .parallel = wish->parallel };
}

/* The checks of assigns need the wish as it is after the command, the command may fail: so they run
 * once more when it is known. */
static bool command(struct walk *w, const struct cluster_event *event)
{
        int r;

        w->applying = true;
        r = kit_handle(w->k, event);
        w->applying = false;
        w->commands += r == 0;
        if (r > 0)
                kit_reload(w->k);
        return r == 0;
}

static void check_command(struct walk *w, const char *target)
{
        w->target_task = target != NULL && strchr(target, '.') != NULL ? target : NULL;
        for (size_t i = 0; i < w->k->fx.assigns_len; i++)
                check_assign(w, &w->k->fx.assigns[i]);
        for (size_t i = 0; i < JOBS; i++)
                check_rollout(w, i);
        remember_running(w);
        w->target_task = NULL;
}

static void do_apply(struct walk *w, size_t number)
{
        struct wish wish = w->wishes[number];
        AUTO(job_spec_unrefp) struct job_spec *spec = NULL;
        char text[300];

        if (!wish.exists || one_in(w, 3))
                wish.count = 1 + below(w, TASKS_MAX);
        if (!wish.exists || one_in(w, 3))
                wish.parallel = 1 + below(w, 2);
        wish.exists = true;
        wish.stopped = false;
        memset(wish.task_stopped, 0, sizeof wish.task_stopped);
        spec_text(text, &wish, below(w, 30));
        spec = kit_spec(job_names[number], text);
        if (!command(w, &(struct cluster_event){ .type = CLUSTER_APPLY, .spec = spec }))
                return;
        w->wishes[number] = wish;
        check_command(w, NULL);
}

static void do_scale(struct walk *w, size_t number)
{
        struct wish *wish = &w->wishes[number];
        uint32_t count = below(w, TASKS_MAX + 1);

        if (!command(w,
                    &(struct cluster_event){
                            .type = CLUSTER_SCALE, .target = job_names[number], .count = count }))
                return;
        for (uint32_t i = count; i < TASKS_MAX; i++)
                wish->task_stopped[i] = false;
        wish->count = count;
        check_command(w, NULL);
}

static void do_command(
        struct walk *w, size_t number, enum cluster_event_type type, accept accepted, bool of_task)
{
        struct wish *wish = &w->wishes[number];
        uint32_t task = UINT32_MAX;
        char target[32];

        if (of_task) {
                task = below(w, TASKS_MAX);
                snprintf(target, sizeof target, "%s.%" PRIu32, job_names[number], task);
        } else {
                snprintf(target, sizeof target, "%s", job_names[number]);
        }
        if (!command(w, &(struct cluster_event){
                                .type = type, .target = target, .purge = one_in(w, 2) }))
                return;
        accepted(wish, task);
        check_command(w, target);
}

static void do_something(struct walk *w)
{
        size_t number = below(w, JOBS);

        switch (below(w, 8)) {
        case 0:
        case 1:
        case 2:
                do_apply(w, number);
                break;
        case 3:
                do_scale(w, number);
                break;
        case 4:
                do_command(w, number, CLUSTER_STOP, accept_stop, one_in(w, 2));
                break;
        case 5:
        case 6:
                do_command(w, number, CLUSTER_RESTART, accept_restart, one_in(w, 2));
                break;
        case 7:
                if (one_in(w, 2))
                        do_command(w, number, CLUSTER_REMOVE, accept_remove, false);
                break;
        }
}

/* ---- What happens by itself */

static void end_some_process(struct walk *w, struct kit_agent *a)
{
        struct kit_task *t;

        if (a->tasks_len == 0)
                return;
        t = &a->tasks[below(w, (uint32_t) a->tasks_len)];
        if (t->process.pid > 0 && t->process.signal == 0)
                kit_end_process(a, t, t->spec->kind == JOB_BATCH && !one_in(w, 3) ? 0 : 1, 0);
}

static void deliver_twice(struct walk *w, struct kit_agent *a)
{
        struct kit_report copy;

        if (a->outbox_len == 0)
                return;
        copy = a->outbox[below(w, (uint32_t) a->outbox_len)];
        copy.copy.id = mem_strdup(copy.copy.id);
        copy.copy.job = mem_strdup(copy.copy.job);
        copy.copy.spec = job_spec_ref(copy.copy.spec);
        a->outbox = mem_resize(a->outbox, a->outbox_len + 1, sizeof a->outbox[0]);
        a->outbox[a->outbox_len++] = copy;
}

static void send_note(struct walk *w, size_t agent)
{
        struct kit_agent *a = &w->k->agents[agent];

        if (!a->connected)
                return;
        /* unacknowledged ones come again */
        if (w->sent[agent] == 0 || one_in(w, 2))
                w->sent[agent] = w->published[agent] + 1;
        if (kit_note(w->k, agent, "web.0", w->sent[agent]) > 0)
                kit_reload(w->k);
}

static void toggle_link(struct walk *w, size_t agent)
{
        if (w->k->agents[agent].connected)
                kit_disconnect(w->k, agent);
        else
                kit_connect(w->k, agent);
        if (w->k->crash)
                kit_reload(w->k);
}

static void pass_time(struct walk *w)
{
        w->k->now += below(w, 1000) * USEC_MSEC;
        if (cluster_next_deadline(w->k->c) > w->k->now)
                return;
        if (kit_handle(w->k, &(struct cluster_event){ .type = CLUSTER_TICK }) > 0)
                kit_reload(w->k);
}

static void one_step(struct walk *w)
{
        size_t agent = below(w, KIT_AGENTS);
        struct kit_agent *a = &w->k->agents[agent];

        w->k->crash = one_in(w, 200);
        switch (below(w, 16)) {
        case 0:
                do_something(w);
                break;
        case 1:
                if (one_in(w, 2))
                        end_some_process(w, a);
                break;
        case 2:
                pass_time(w);
                break;
        case 3:
                send_note(w, agent);
                break;
        case 4:
                if (one_in(w, 10) || !a->connected)
                        toggle_link(w, agent);
                break;
        case 5:
                deliver_twice(w, a);
                break;
        case 6:
                if (one_in(w, 10)) {
                        kit_reload(w->k);
                        w->reloads++;
                }
                break;
        case 7:
        case 8:
        case 9:
                kit_deliver_to_agent(a);
                break;
        case 10:
        case 11:
                kit_agent_work(a);
                break;
        case 12:
        case 13:
                kit_agent_report(a);
                break;
        default:
                kit_deliver_to_server(a);
                if (w->k->crash)
                        kit_reload(w->k);
                break;
        }
        w->k->crash = false;
}

/* ---- The end */

static void finish_batches(struct walk *w)
{
        bool any = true;

        while (any) {
                any = false;
                for (size_t a = 0; a < KIT_AGENTS; a++)
                        for (size_t i = 0; i < w->k->agents[a].tasks_len; i++) {
                                struct kit_task *t = &w->k->agents[a].tasks[i];

                                if (t->process.pid == 0 || t->spec->kind != JOB_BATCH)
                                        continue;
                                kit_end_process(&w->k->agents[a], t, 0, 0);
                                any = true;
                                break;
                        }
                w->k->now += USEC_MINUTE;
                kit_settle(w->k);
        }
}

static size_t processes_of(struct walk *w, const char *job)
{
        size_t n = 0;

        for (size_t a = 0; a < KIT_AGENTS; a++)
                for (size_t i = 0; i < w->k->agents[a].tasks_len; i++)
                        n += strcmp(w->k->agents[a].tasks[i].job, job) == 0 &&
                             w->k->agents[a].tasks[i].process.pid > 0;
        return n;
}

static void expect_wish(struct walk *w, size_t number)
{
        const struct wish *wish = &w->wishes[number];
        const struct job *job = job_find(w->k->c, job_names[number]);
        size_t wanted = wish->stopped || wish->batch ? 0 : wish->count;
        enum job_state expected = JOB_STOPPED;

        for (uint32_t i = 0; i < wish->count && wanted > 0; i++)
                wanted -= wish->task_stopped[i];
        if (!wish->exists) {
                assert_null(job);
                assert_int_equal(processes_of(w, job_names[number]), 0);
                return;
        }
        if (job_wanted(job) > 0)
                expected = wish->batch ? JOB_SUCCEEDED : JOB_RUNNING;
        if (job_state_of(job) != expected)
                fail_msg("%s is %s (%s), expected %s", job_names[number],
                        job_state_names[job_state_of(job)], kit_job(w->k, job_names[number]).reason,
                        job_state_names[expected]);
        assert_int_equal(processes_of(w, job_names[number]), wanted);
        assert_int_equal(job->counts[MARK_OUTDATED] + job->counts[MARK_LEAVING], 0);
}

static void come_to_rest(struct walk *w)
{
        for (int round = 0; round < 2; round++) {
                for (size_t a = 0; a < KIT_AGENTS; a++)
                        kit_connect(w->k, a);
                w->k->now += USEC_MINUTE;
                kit_settle(w->k);
                finish_batches(w);
        }
        /* what was given up after too many failures needs a person */
        for (size_t i = 0; i < JOBS; i++) {
                const struct job *job = job_find(w->k->c, job_names[i]);

                if (job == NULL || job->counts[MARK_ENDED_BADLY] == 0)
                        continue;
                if (command(w, &(struct cluster_event){
                                       .type = CLUSTER_RESTART, .target = job_names[i] })) {
                        accept_restart(&w->wishes[i], UINT32_MAX);
                        check_command(w, NULL);
                }
        }
        kit_settle(w->k);
        finish_batches(w);
        for (size_t i = 0; i < JOBS; i++)
                expect_wish(w, i);
        kit_end_all(w->k, "nightly", 0);
        assert_int_equal(processes_of(w, "sys"), KIT_AGENTS);
        assert_int_equal(kit_job(w->k, "sys").state, JOB_RUNNING);
        assert_int_equal(kit_job(w->k, "nightly").state, JOB_SCHEDULED);
}

static void check_reload(struct walk *w)
{
        AUTO(mem_freep) char *before = NULL, *after = NULL;

        for (size_t a = 0; a < KIT_AGENTS; a++)
                kit_connect(w->k, a);
        kit_settle(w->k);
        before = kit_picture(w->k->c);
        kit_reload(w->k);
        for (size_t a = 0; a < KIT_AGENTS; a++)
                kit_connect(w->k, a);
        kit_settle(w->k);
        after = kit_picture(w->k->c);
        assert_string_equal(before, after);
}

static void walk(uint64_t seed, struct walk *total)
{
        struct walk w = { .k = kit_new(), .random = scramble(seed) };

        w.k->data = &w;
        w.k->seed = seed;
        w.k->on_handled = on_handled;
        w.k->on_spawn = on_spawn;
        w.k->on_exit = on_exit_code;
        for (size_t i = 0; i < JOBS; i++)
                w.wishes[i].batch = i >= 3;

        w.applying = true;
        assert_int_equal(kit_apply(w.k, "sys",
                                 "{\"kind\": \"system\", \"command\": [\"s\"], "
                                 "\"restart\": {\"burst\": 0, \"max_delay\": \"1s\"}}"),
                0);
        assert_int_equal(kit_apply(w.k, "nightly",
                                 "{\"kind\": \"cron\", \"command\": [\"n\"], \"count\": 2, "
                                 "\"schedule\": {\"cron\": \"* * * * *\"}}"),
                0);
        w.applying = false;
        for (int step = 0; step < WALK_STEPS; step++) {
                one_step(&w);
                check_counts(&w);
                check_wishes(&w);
                check_processes(&w);
        }
        come_to_rest(&w);
        check_reload(&w);

        total->spawns += w.spawns;
        total->moves += w.moves;
        total->reloads += w.reloads;
        total->commands += w.commands;
        total->done_len += w.done_len;
        for (size_t a = 0; a < KIT_AGENTS; a++)
                total->published[0] += w.published[a];
        free(w.done);
        kit_free(w.k);
}

static uint64_t first_seed;

static void test_walk(void **state)
{
        struct walk total = { 0 };
        uint64_t seed = first_seed;

        (void) state;
        if (seed == 0) {
                seed = (uint64_t) time(NULL) * 2654435761u + 1;
                for (int i = 0; i < WALKS; i++) {
                        print_message("seed %" PRIu64 "\n", seed + (uint64_t) i);
                        walk(seed + (uint64_t) i, &total);
                }
                /* that it went anywhere at all */
                assert_true(total.spawns > WALKS * 20);
                assert_true(total.moves > WALKS);
                assert_true(total.done_len > WALKS);
        } else {
                walk(seed, &total);
        }
        print_message("%zu commands, %zu runs, %zu ended well, %zu moved in rollouts, %zu reloads, "
                      "%" PRIu64 " notes\n",
                total.commands, total.spawns, total.done_len, total.moves, total.reloads,
                total.published[0]);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_walk),
        };

        if (argc > 1)
                first_seed = strtoull(argv[1], NULL, 10);
        return cmocka_run_group_tests_name("cluster-walk", tests, NULL, NULL);
}
