/* SPDX-License-Identifier: BSD-3-Clause */
/* Scenario: what happens to a simulated cluster, drawn from a seed.
 *
 * First the world: how many machines, how good the network and the disk are, how often something
 * breaks and which things do. Then people and misfortune, each at random intervals. Then the faults
 * end, and the cluster has REST_WITHIN of virtual time to come to rest; what has failed for good is
 * restarted, as a person would. When it rests the server and some agents are killed once more: it
 * has to come to rest again, and not one process may be begun for it. */

#include "scenario.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/mem.h"

#define JOBS_MAX    12
#define REST_WITHIN (10 * USEC_MINUTE)
#define REST_STEP   (2 * USEC_SEC)
#define HEARTBEAT   (500 * USEC_MSEC)
#define CLOCK_PPM   10000
#define AGENT_BACK  (500 * USEC_MSEC) /* the keeper begins it again; singletons count on it */
#define SERVER_BACK (300 * USEC_MSEC) /* so that no lease ends meanwhile */
#define RUN_LASTS   (20 * USEC_SEC)   /* at most, of a bad program */

struct scenario {
        const struct scenario_config *config;
        struct scenario_result *ret;
        struct sim *sim;
        uint64_t random;
        uint32_t nodes, jobs, tasks_max;
        usec_t time, command_every, fault_every;
        bool faults[SIM_FAULT_COUNT];
        bool bad_programs, places, drains, deaths, singles, short_leases, surges, queues, reverts,
                calm;
};

static uint64_t below(struct scenario *w, uint64_t n)
{
        return sim_below(&w->random, n);
}

static bool percent(struct scenario *w, uint32_t n)
{
        return below(w, 100) < n;
}

/* Small ones are more likely than large ones. */
static usec_t skewed(struct scenario *w, usec_t min, usec_t max)
{
        return min + below(w, 1 + below(w, 1 + below(w, max - min + 1)));
}

/* ---- The world */

static uint32_t draw_nodes(struct scenario *w)
{
        uint64_t dice = below(w, 1000);
        uint32_t max = w->config->max_nodes != 0 ? w->config->max_nodes : 10000, n;

        if (w->config->nodes != 0)
                return w->config->nodes;
        if (dice < 2)
                n = 10000;
        else if (dice < 20)
                n = (uint32_t) (1000 + below(w, 1000));
        else if (dice < 120)
                n = (uint32_t) (30 + below(w, 170));
        else
                n = (uint32_t) (1 + below(w, 30));
        return MIN(n, max);
}

static void draw_faults(struct scenario *w, struct sim_faults *f)
{
        static const usec_t latencies[] = { 0, 200, 2000, 20000, 100000 };
        static const usec_t commits[] = { 0, 500, 4000, 20000, 200000 };
        usec_t latency = latencies[below(w, ARRAY_SIZE(latencies))];
        usec_t commit = commits[below(w, ARRAY_SIZE(commits))];
        bool bad_network = percent(w, 60);

        *f = (struct sim_faults){ .latency_min = latency / 4,
                .latency_max = latency,
                .latency_spike = bad_network ? 10000 : 0,
                .message_twice = percent(w, 50) ? 30000 : 0,
                .message_lost = bad_network ? (uint32_t) below(w, 5000) : 0,
                .commit_min = commit / 4,
                .commit_max = commit,
                .commit_spike = percent(w, 50) ? 5000 : 0 };
        for (int i = 0; i < SIM_FAULT_COUNT; i++)
                w->faults[i] = percent(w, 60);
        w->fault_every = (usec_t[]){ 100, 500, 2000, 10000 }[below(w, 4)] * USEC_MSEC;
        w->command_every = (usec_t[]){ 50, 300, 1000, 5000 }[below(w, 4)] * USEC_MSEC;
        w->bad_programs = percent(w, 70);
        w->places = percent(w, 70);
        w->drains = percent(w, 50);
        w->deaths = percent(w, 30);
        w->singles = percent(w, 50);
        w->short_leases = percent(w, 30);
        w->surges = percent(w, 40);
        w->queues = percent(w, 30);
        w->reverts = w->config->seed % 3 == 0;
}

static void draw_world(struct scenario *w, struct sim_faults *f)
{
        bool large;

        w->nodes = draw_nodes(w);
        large = w->nodes >= 1000;
        draw_faults(w, f);
        w->time = w->config->time != 0 ? w->config->time
                                       : (large ? 10 : 10 + below(w, 50)) * USEC_SEC;
        w->jobs = 1 + (uint32_t) below(w, large ? 4 : JOBS_MAX);
        w->tasks_max = large ? w->nodes : (uint32_t[]){ 3, 8, 40, 150 }[below(w, 4)];
        if (large) {
                w->fault_every = MAX(w->fault_every, USEC_SEC);
                w->command_every = MAX(w->command_every, USEC_SEC);
                f->message_lost = MIN(f->message_lost, 200);
                w->singles = false; /* so many heartbeats */
        }
        w->ret->nodes = w->nodes;
}

/* Clocks run up to 1 % too fast or too slow. */
static void set_rates(struct scenario *w)
{
        for (uint32_t i = 0; i <= w->nodes && w->singles; i++)
                sim_set_rate(w->sim, i < w->nodes ? i : UINT32_MAX,
                        (int32_t) below(w, 2 * CLOCK_PPM + 1) - CLOCK_PPM);
}

static const char *const zones[] = { "west", "east", "north" };

static void add_nodes(struct scenario *w)
{
        for (uint32_t i = 0; i < w->nodes; i++) {
                char name[32];
                struct node_status node = { .name = name,
                        .version = (char[]){ "1" },
                        .zone = (char *) (uintptr_t) zones[below(w, ARRAY_SIZE(zones))],
                        .cores = 8,
                        .cpu = (int64_t) (1 + below(w, w->queues ? 2 : 8)) * 1000,
                        .memory = (int64_t) (1 + below(w, 16)) << 30,
                        .disk = (int64_t) (1 + below(w, 100)) << 30,
                        .agent_pid = 2,
                        .keeper_pid = 1 };

                snprintf(name, sizeof name, "n%" PRIu32, i);
                sim_add_node(w->sim, &node);
        }
}

/* ---- What programs do */

static void on_run(void *data, const char *task, const struct job_spec *spec, uint64_t run,
        struct sim_run *ret)
{
        struct scenario *w = data;
        bool batch = spec->kind == JOB_BATCH;

        (void) task;
        (void) run;
        if (w->calm || !w->bad_programs) {
                if (batch)
                        ret->lasts = skewed(w, 0, 3 * USEC_SEC);
                return;
        }
        if (batch || percent(w, 30))
                ret->lasts = skewed(w, 0, RUN_LASTS);
        if (percent(w, batch ? 30 : 60))
                ret->exit_code = (int) below(w, 4);
        if (percent(w, 10)) {
                ret->exit_code = -1;
                ret->signal = 11;
        }
        if (percent(w, 5))
                ret->begins_after = skewed(w, 0, 5 * USEC_SEC);
        if (percent(w, 2))
                ret->refused = "no such program";
        ret->obeys_after = percent(w, 5) ? USEC_NEVER : skewed(w, 0, 500 * USEC_MSEC);
}

/* ---- What people do */

static void job_name(struct scenario *w, char name[16], uint32_t *ret_number)
{
        *ret_number = (uint32_t) below(w, w->jobs);
        snprintf(name, 16, "job%" PRIu32, *ret_number);
}

/* What a task takes, and where it may be. */
static void draw_place(struct scenario *w, json_t *spec)
{
        static const char *const amounts[] = { "0", "16MiB", "200MiB", "1GiB" };
        static const char *const thens[] = { "move", "wait", "end" };
        static const char *const afters[] = { "0s", "1s", "10s" };
        json_t *place = json_object();

        json_object_set_new(spec, "resources",
                json_pack("{s:f, s:s, s:s}", "cpu", (double) below(w, 5) / 4.0, "memory",
                        amounts[below(w, 4)], "disk", amounts[below(w, 4)]));
        if (percent(w, 20))
                json_object_set_new(json_object_get(spec, "resources"), "ports",
                        json_pack("[ss]", "http", "admin"));
        json_object_set_new(spec, "lost",
                json_pack("{s:s, s:s}", "then", thens[percent(w, 70) ? 0 : below(w, 3)], "after",
                        afters[below(w, 3)]));
        json_object_set_new(spec, "priority", json_integer((json_int_t) below(w, 101)));
        if (percent(w, 30))
                json_object_set_new(place, "zone", json_pack("[s]", zones[below(w, 3)]));
        if (percent(w, 20))
                json_object_set_new(
                        place, "exclusive", json_string((const char *[]){ "x", "y" }[below(w, 2)]));
        if (percent(w, 30))
                json_object_set_new(place, "by", json_string("pack"));
        if (w->queues && percent(w, 20))
                json_object_set_new(place, "gang", json_true());
        if (w->queues && percent(w, 50))
                json_object_set_new(spec, "queue",
                        json_pack("{s:s, s:b}", "mode",
                                percent(w, 50) ? "always" : queue_mode_names[below(w, 4)],
                                "preempt", percent(w, 40)));
        json_object_set_new(spec, "place", place);
}

/* Every second service has one task, and never two processes. */
static void draw_single(struct scenario *w, json_t *spec, uint32_t number)
{
        static const char *const leases[] = { "1s", "3s", "10s" };

        if (!w->singles || number % 3 != 1)
                return;
        json_object_set_new(spec, "singleton", json_true());
        json_object_set_new(spec, "count", json_integer(1));
        json_object_set_new(
                spec, "lease", json_string(leases[w->short_leases ? 0 : 1 + below(w, 2)]));
}

/* A new version begins beside the old one, or is tried with some tasks first. */
static void draw_update(struct scenario *w, json_t *spec, uint32_t number)
{
        static const char *const spans[] = { "0s", "0s", "300ms", "2s" };
        json_t *update = json_object_get(spec, "update");
        json_int_t count = json_integer_value(json_object_get(spec, "count"));

        if (!w->surges || number % 3 != 0)
                return;
        json_object_set_new(update, "healthy", json_string(spans[below(w, 4)]));
        json_object_set_new(update, "pause", json_string(spans[below(w, 4)]));
        if (percent(w, 60))
                json_object_set_new(update, "order", json_string("start-first"));
        if (w->reverts && percent(w, 50))
                json_object_set_new(update, "revert", json_true());
        if (w->reverts && percent(w, 30))
                json_object_set_new(update, "deadline", json_string("5s"));
        if (percent(w, 30))
                json_object_set_new(update, "canary",
                        json_integer((json_int_t) below(w, (uint64_t) MIN(count, 4) + 1)));
}

/* Every third job is a batch, and stays one. */
static json_t *draw_spec(struct scenario *w, uint32_t number)
{
        bool batch = number % 3 == 2;
        static const char *const delays[] = { "0s", "100ms", "1s" };
        static const char *const graces[] = { "0s", "200ms", "1s" };
        uint32_t count = (uint32_t) skewed(w, 1, w->tasks_max);
        json_t *spec = json_pack(
                "{s:s, s:[s], s:i, s:{s:s, s:i, s:s, s:s}, s:{s:s}, s:{s:i}, s:{s:i}}", "kind",
                batch ? "batch" : "service", "command",
                (const char *[]){ "a", "b", "c" }[below(w, 3)], "count", (int) count, "restart",
                "policy", batch ? "on-failure" : "always", "burst",
                (int) (percent(w, 30) ? 1 + below(w, 4) : 0), "delay",
                delays[below(w, ARRAY_SIZE(delays))], "max_delay", "2s", "stop", "grace",
                graces[below(w, ARRAY_SIZE(graces))], "update", "parallel",
                (int) (1 + below(w, 3) + count / 10), "logs", "files", (int) (1 + below(w, 3)));

        if (w->places) {
                uint64_t random = w->random;

                /* drawn once for each job, unless demands may change */
                if (!w->config->harder)
                        w->random = w->config->seed * 1000 + number;
                draw_place(w, spec);
                if (!w->config->harder)
                        w->random = random;
        }
        draw_single(w, spec, number);
        draw_update(w, spec, number);
        return spec;
}

static void problem(struct scenario *w, const char *what, const char *why)
{
        if (w->ret->problem[0] == '\0')
                snprintf(w->ret->problem, sizeof w->ret->problem, "%s%s", what, why);
}

static void apply(struct scenario *w)
{
        AUTO(job_spec_unrefp) struct job_spec *spec = NULL;
        struct error err = ERROR_INIT;
        uint32_t number;
        char name[16];
        json_t *object;

        job_name(w, name, &number);
        object = draw_spec(w, number);
        if (job_spec_from_json(name, object, &spec, &err) < 0)
                problem(w, "the scenario's own spec: ", err.message);
        else
                sim_command(w->sim, &(struct cluster_event){ .type = CLUSTER_APPLY, .spec = spec },
                        &err);
        json_decref(object);
}

static void command(struct scenario *w, enum cluster_event_type type, bool may_be_task)
{
        struct error err = ERROR_INIT;
        char name[16], target[40];
        uint32_t number;

        job_name(w, name, &number);
        if (may_be_task && percent(w, 50))
                snprintf(target, sizeof target, "%s.%" PRIu64, name,
                        below(w, MIN(w->tasks_max, 20)));
        else
                snprintf(target, sizeof target, "%s", name);
        sim_command(w->sim,
                &(struct cluster_event){ .type = type,
                        .target = target,
                        .count = (uint32_t) below(w, w->tasks_max + 1),
                        .purge = percent(w, 50) },
                &err);
}

static void close_node(struct scenario *w, enum cluster_event_type type, uint32_t node, bool on)
{
        struct error err = ERROR_INIT;

        sim_command(w->sim,
                &(struct cluster_event){ .type = type,
                        .target = sim_node_name(w->sim, node),
                        .on = on,
                        .deadline = (w->config->harder || w->reverts) && percent(w, 50)
                                            ? skewed(w, 0, 20 * USEC_SEC)
                                            : 0 },
                &err);
}

static void do_something(struct scenario *w)
{
        uint64_t dice = below(w, 100);

        if (w->drains && percent(w, 20))
                close_node(w, percent(w, 50) ? CLUSTER_CORDON : CLUSTER_DRAIN,
                        (uint32_t) below(w, w->nodes), percent(w, 50));
        else if (w->surges && percent(w, 10))
                command(w, CLUSTER_PROMOTE, false);
        else if (w->reverts && percent(w, 10))
                command(w, CLUSTER_REVERT, false);
        else if (w->singles && percent(w, 5)) /* is refused if it is connected */
                close_node(w, CLUSTER_FORGET, (uint32_t) below(w, w->nodes), true);
        else if (dice < 40)
                apply(w);
        else if (dice < 55)
                command(w, CLUSTER_SCALE, false);
        else if (dice < 67)
                command(w, CLUSTER_STOP, true);
        else if (dice < 90)
                command(w, CLUSTER_RESTART, true);
        else
                command(w, CLUSTER_REMOVE, false);
}

static void on_command(struct sim *s, void *data)
{
        struct scenario *w = data;

        if (w->calm)
                return;
        do_something(w);
        sim_at(s, sim_now(s) + 1 + below(w, 2 * w->command_every), on_command, w);
}

/* ---- What goes wrong */

static void draw_fault(struct scenario *w, struct sim_fault *f)
{
        *f = (struct sim_fault){ .type = (enum sim_fault_type) below(w, SIM_FAULT_COUNT),
                .node = (uint32_t) below(w, w->nodes),
                .lasts = skewed(w, 0, 20 * USEC_SEC) };
        if (f->type == SIM_AGENT_CRASH && w->singles)
                f->lasts = MIN(f->lasts, AGENT_BACK);
        if (f->type == SIM_SERVER_CRASH)
                f->lasts = skewed(w, 0, 5 * USEC_SEC);
        if (f->type == SIM_DISK_FULL)
                f->lasts = skewed(w, 0, 8 * USEC_SEC);
        /* some never come back */
        if (w->deaths && percent(w, 5) && (f->type == SIM_WIPE || f->type == SIM_CUT))
                f->lasts = USEC_NEVER;
        f->jump = (int64_t) skewed(w, 0, percent(w, 50) ? 5 * USEC_SEC : USEC_HOUR);
        if (percent(w, 50))
                f->jump = -f->jump;
}

static void on_fault(struct sim *s, void *data)
{
        struct scenario *w = data;
        struct sim_fault f;
        uint64_t times = percent(w, 5) ? 1 + below(w, 1 + w->nodes / 3) : 1; /* many at once */

        if (w->calm)
                return;
        draw_fault(w, &f);
        for (uint64_t i = 0; i < times && w->faults[f.type]; i++) {
                sim_inject(s, &f);
                f.node = (uint32_t) below(w, w->nodes);
                if (f.type >= SIM_SERVER_CLOCK)
                        break;
        }
        sim_at(s, sim_now(s) + 1 + below(w, 2 * w->fault_every), on_fault, w);
}

/* ---- The end */

/* Jobs and tasks that have failed for good. */
struct failed {
        const struct sim *sim;
        char (*names)[32];
        size_t len;
        size_t others; /* tasks that have not */
};

static void add_failed(struct failed *f, const char *name)
{
        f->names = mem_resize(f->names, f->len + 1, sizeof f->names[0]);
        snprintf(f->names[f->len++], sizeof f->names[0], "%s", name);
}

static void find_failed_job(void *data, const struct job_status *job)
{
        if (job->state == JOB_DEGRADED || job->state == JOB_FAILED)
                add_failed(data, job->name);
}

static void find_failed_task(void *data, const struct task_status *t)
{
        struct failed *f = data;
        bool failed = t->result != RESULT_SUCCEEDED && t->result != RESULT_STOPPED;

        /* what was called failed with its node, and came back, was stopped */
        if (t->state == TASK_ENDED && (failed || sim_is_wanted(f->sim, t)) &&
                t->result != RESULT_SUCCEEDED)
                add_failed(f, t->id);
        else
                f->others++;
}

static void restart(struct scenario *w, const char *target)
{
        struct error err = ERROR_INIT;

        sim_command(
                w->sim, &(struct cluster_event){ .type = CLUSTER_RESTART, .target = target }, &err);
}

/* What was given up needs a person, who leaves alone what has not failed. */
static void restart_failed(struct scenario *w)
{
        struct failed jobs = { 0 };

        cluster_each_job(sim_cluster(w->sim), find_failed_job, &jobs);
        for (size_t i = 0; i < jobs.len; i++) {
                struct failed tasks = { .sim = w->sim };

                cluster_each_task(sim_cluster(w->sim), jobs.names[i], find_failed_task, &tasks);
                if (tasks.others == 0)
                        restart(w, jobs.names[i]);
                for (size_t j = 0; j < tasks.len && tasks.others > 0; j++)
                        restart(w, tasks.names[j]);
                free(tasks.names);
        }
        free(jobs.names);
}

/* What is tried is found good. */
static void promote_all(struct scenario *w)
{
        struct error err = ERROR_INIT;
        char name[16];

        for (uint32_t i = 0; i < w->jobs && w->surges; i++) {
                snprintf(name, sizeof name, "job%" PRIu32, i);
                sim_command(w->sim,
                        &(struct cluster_event){ .type = CLUSTER_PROMOTE, .target = name }, &err);
        }
}

/* Until it rests; false: it never does. */
static bool come_to_rest(struct scenario *w)
{
        usec_t end = sim_now(w->sim) + REST_WITHIN;
        struct error err = ERROR_INIT;

        while (sim_now(w->sim) < end) {
                for (uint32_t i = 0; i < w->nodes && w->deaths; i++)
                        if (sim_node_is_dead(w->sim, i)) /* not connected, or it is refused */
                                close_node(w, CLUSTER_FORGET, i, true);
                if (!sim_run(w->sim, sim_now(w->sim) + REST_STEP)) {
                        problem(w, "", sim_breach(w->sim));
                        return false;
                }
                promote_all(w);
                err = ERROR_INIT;
                if (sim_at_rest(w->sim, &err))
                        return true;
                if (err.code == ERR_CONFLICT)
                        restart_failed(w);
        }
        problem(w, "no rest 10 minutes after the faults ended: ", err.message);
        return false;
}

static void calm_down(struct scenario *w)
{
        struct sim_faults none = { .latency_min = 100, .latency_max = 1000, .commit_max = 1000 };

        w->calm = true;
        sim_calm(w->sim, &none);
        for (uint32_t i = 0; i < w->nodes; i++)
                if (w->drains && percent(w, 50)) {
                        close_node(w, CLUSTER_DRAIN, i, false);
                        close_node(w, CLUSTER_CORDON, i, false);
                }
}

static void kill_once_more(struct scenario *w)
{
        uint64_t runs;

        /* until the last bad program has ended by itself */
        sim_run(w->sim, sim_now(w->sim) + RUN_LASTS + 5 * USEC_SEC);
        if (!come_to_rest(w))
                return;
        runs = sim_counts(w->sim)->runs;
        sim_inject(w->sim, &(struct sim_fault){ .type = SIM_SERVER_CRASH,
                                   .lasts = w->singles ? SERVER_BACK : USEC_SEC });
        for (uint32_t i = 0; i < w->nodes; i += 1 + (uint32_t) below(w, 5))
                sim_inject(w->sim,
                        &(struct sim_fault){ .type = SIM_AGENT_CRASH,
                                .node = i,
                                .lasts = skewed(w, 0, w->singles ? SERVER_BACK : USEC_SEC) });
        if (!come_to_rest(w))
                return;
        /* the shortest lease is over before anybody is back */
        if (sim_counts(w->sim)->runs != runs && !(w->singles && w->short_leases))
                problem(w, "a process was begun", " because server and agents were killed");
}

static void print_task(void *data, const struct task_status *t)
{
        (void) data;
        printf("%s %s on %s v%" PRIi64 " run %" PRIi64 ": %s\n", t->id, task_state_names[t->state],
                t->node != NULL ? t->node : "-", t->version, t->runs,
                t->reason != NULL ? t->reason : "");
}

static void print_node(void *data, const struct node_status *n)
{
        (void) data;
        printf("%s %s %s zone %s cpu %" PRIi64 "/%" PRIi64 " memory %" PRIi64 "/%" PRIi64
               " disk %" PRIi64 "/%" PRIi64 "\n",
                n->name, node_state_names[n->state], node_scheduling_names[n->scheduling],
                n->zone != NULL ? n->zone : "-", n->cpu_used, n->cpu, n->memory_used, n->memory,
                n->disk_used, n->disk);
}

/* How it stands, for who looks for the reason of a failure. */
static void print_end(struct scenario *w)
{
        if (!w->config->trace || !sim_server_is_up(w->sim))
                return;
        cluster_each_node(sim_cluster(w->sim), print_node, NULL);
        cluster_each_task(sim_cluster(w->sim), NULL, print_task, NULL);
}

static void on_trace(void *data, usec_t at, const char *text)
{
        (void) data;
        printf("%4" PRIu64 ".%06" PRIu64 " %s\n", at / USEC_SEC, at % USEC_SEC, text);
}

static void live(struct scenario *w)
{
        usec_t calm_at;

        sim_at(w->sim, 0, on_command, w);
        sim_at(w->sim, below(w, 5 * USEC_SEC), on_fault, w);
        if (!sim_run(w->sim, w->time)) {
                problem(w, "", sim_breach(w->sim));
                return;
        }
        calm_at = sim_now(w->sim);
        calm_down(w);
        if (!come_to_rest(w))
                return;
        w->ret->rested = sim_now(w->sim) - calm_at;
        kill_once_more(w);
}

void scenario_run(const struct scenario_config *config, struct scenario_result *ret)
{
        struct scenario w = { .config = config, .ret = ret, .random = config->seed * 2 + 1 };
        struct sim_config sim = { .rules = true, .run = on_run, .data = &w };

        *ret = (struct scenario_result){ 0 };
        draw_world(&w, &sim.faults);
        sim.seed = sim_random(&w.random);
        sim.trace = config->trace ? on_trace : NULL;
        sim.heartbeat = w.singles ? HEARTBEAT : 0;
        w.sim = sim_new(&sim);
        add_nodes(&w);
        set_rates(&w);
        live(&w);
        if (ret->problem[0] != '\0') {
                size_t len = strlen(ret->problem);

                print_end(&w);
                snprintf(ret->problem + len, sizeof ret->problem - len, " (at %.3f s)",
                        (double) sim_now(w.sim) / (double) USEC_SEC);
        }
        ret->hash = sim_hash(w.sim);
        ret->counts = *sim_counts(w.sim);
        sim_free(w.sim);
}
