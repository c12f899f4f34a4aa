/* SPDX-License-Identifier: BSD-3-Clause */
/* The simulator's test: many seeds, a scenario each (scenario.c).
 *
 *     sim --seed N [--seeds K] [--nodes N | --max-nodes N] [--time SPAN] [--jobs N] [--same]
 * [--trace] [-v]
 *
 * Seed N, or K seeds from N on, in --jobs processes. A seed that fails prints what was broken,
 * when, and the command that replays it. --same runs each seed twice: both must be the same to the
 * last message. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/text.h"
#include "base/time.h"
#include "scenario.h"

struct options {
        struct scenario_config scenario;
        uint64_t seeds;
        int64_t jobs;
        bool same, verbose;
};

struct total {
        uint64_t failed, steps, runs, messages, faults, commands, moves, lost, second, reverts;
        uint64_t hash;
};

static void print_replay(const struct options *o, const char *program, uint64_t seed)
{
        printf("   replay: %s --seed %" PRIu64, program, seed);
        if (o->scenario.nodes != 0)
                printf(" --nodes %" PRIu32, o->scenario.nodes);
        if (o->scenario.max_nodes != 0)
                printf(" --max-nodes %" PRIu32, o->scenario.max_nodes);
        if (o->scenario.time != 0)
                printf(" --time %" PRIu64 "ms", o->scenario.time / USEC_MSEC);
        printf("%s --trace\n", o->scenario.harder ? " --harder" : "");
}

static void add(struct total *t, const struct scenario_result *r)
{
        t->steps += r->counts.steps;
        t->runs += r->counts.runs;
        t->messages += r->counts.messages;
        t->faults += r->counts.faults;
        t->commands += r->counts.commands;
        t->moves += r->counts.moves;
        t->lost += r->counts.lost_nodes;
        t->second += r->counts.second_processes;
        t->reverts += r->counts.reverts;
        t->hash = t->hash * 31 + r->hash;
}

static void run_seed(
        const struct options *o, const char *program, uint64_t seed, struct total *total)
{
        struct scenario_config config = o->scenario;
        struct scenario_result r, again;
        usec_t begun = time_mono();

        config.seed = seed;
        scenario_run(&config, &r);
        add(total, &r);
        if (o->same) {
                scenario_run(&config, &again);
                if (again.hash != r.hash)
                        snprintf(r.problem, sizeof r.problem, "not the same when run again");
        }
        if (o->verbose)
                printf("seed %" PRIu64 ": %" PRIu32 " nodes, %" PRIu64 " steps, %" PRIu64
                       " runs, rest after %.1f s, %" PRIu64 " ms, hash %016" PRIx64 "\n",
                        seed, r.nodes, r.counts.steps, r.counts.runs,
                        (double) r.rested / (double) USEC_SEC, (time_mono() - begun) / USEC_MSEC,
                        r.hash);
        if (r.problem[0] == '\0')
                return;
        total->failed++;
        printf("seed %" PRIu64 ": FAILED: %s\n", seed, r.problem);
        print_replay(o, program, seed);
        fflush(stdout);
}

static void run_share(const struct options *o, const char *program, int64_t share, struct total *t)
{
        for (uint64_t i = (uint64_t) share; i < o->seeds; i += (uint64_t) o->jobs)
                run_seed(o, program, o->scenario.seed + i, t);
}

static void sum(struct total *to, const struct total *from)
{
        uint64_t *a = (uint64_t *) to;
        const uint64_t *b = (const uint64_t *) from;

        for (size_t i = 0; i < sizeof *to / sizeof *a; i++)
                a[i] += b[i];
}

/* One process per share; each hands its numbers over by a pipe. */
static int run_shares(const struct options *o, const char *program, struct total *total)
{
        int fds[2], failed = 0, status;
        struct total part;

        if (pipe(fds) < 0)
                return -1;
        fflush(stdout);
        for (int64_t share = 0; share < o->jobs; share++) {
                pid_t pid = fork();

                if (pid < 0)
                        return -1;
                if (pid == 0) {
                        part = (struct total){ 0 };
                        run_share(o, program, share, &part);
                        fflush(stdout);
                        _exit(write(fds[1], &part, sizeof part) == sizeof part ? 0 : 1);
                }
        }
        close(fds[1]);
        while (read(fds[0], &part, sizeof part) == sizeof part)
                sum(total, &part);
        close(fds[0]);
        while (wait(&status) > 0)
                failed += !WIFEXITED(status) || WEXITSTATUS(status) != 0;
        return failed > 0 ? -1 : 0;
}

static int usage(void)
{
        fprintf(stderr, "usage: sim --seed N [--seeds K] [--nodes N | --max-nodes N] [--time SPAN] "
                        "[--jobs N] [--harder] [--same] [--trace] [-v]\n");
        return 2;
}

static bool read_option(struct options *o, const char *name, const char *value, int *at)
{
        int64_t number = 0;
        bool is_number = value != NULL && text_parse_int(value, 0, INT64_MAX, &number);

        if (strcmp(name, "--same") == 0)
                return o->same = true;
        if (strcmp(name, "--harder") == 0)
                return o->scenario.harder = true;
        if (strcmp(name, "--trace") == 0)
                return o->scenario.trace = true;
        if (strcmp(name, "-v") == 0)
                return o->verbose = true;
        ++*at;
        if (strcmp(name, "--time") == 0)
                return value != NULL && time_parse_span(value, &o->scenario.time);
        if (strcmp(name, "--seed") == 0)
                o->scenario.seed = (uint64_t) number;
        else if (strcmp(name, "--seeds") == 0)
                o->seeds = (uint64_t) number;
        else if (strcmp(name, "--nodes") == 0)
                o->scenario.nodes = (uint32_t) number;
        else if (strcmp(name, "--max-nodes") == 0)
                o->scenario.max_nodes = (uint32_t) number;
        else if (strcmp(name, "--jobs") == 0 && number > 0)
                o->jobs = number;
        else
                return false;
        return is_number;
}

int main(int argc, char **argv)
{
        struct options o = { .seeds = 1, .jobs = 1 };
        struct total total = { 0 };
        usec_t begun = time_mono();

        for (int i = 1; i < argc; i++)
                if (!read_option(&o, argv[i], argv[i + 1], &i))
                        return usage();
        if (o.jobs == 1)
                run_share(&o, argv[0], 0, &total);
        else if (run_shares(&o, argv[0], &total) < 0) {
                printf("a process of the test ended early\n");
                return 1;
        }
        printf("%" PRIu64 " seeds from %" PRIu64 " in %.1f s: %" PRIu64 " failed; %" PRIu64
               " steps, %" PRIu64 " messages, %" PRIu64 " commands, %" PRIu64 " faults, %" PRIu64
               " runs, %" PRIu64 " moved in rollouts, %" PRIu64 " taken back, %" PRIu64
               " nodes lost, %" PRIu64 " second processes; hash %016" PRIx64 "\n",
                o.seeds, o.scenario.seed, (double) (time_mono() - begun) / (double) USEC_SEC,
                total.failed, total.steps, total.messages, total.commands, total.faults, total.runs,
                total.moves, total.reverts, total.lost, total.second, total.hash);
        return total.failed > 0 ? 1 : 0;
}
