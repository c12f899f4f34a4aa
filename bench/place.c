/* SPDX-License-Identifier: BSD-3-Clause */
/* Placements per second in the core: bench-place [--nodes N] [--mix NAME] [--order jobs|nodes]
 * [--job TASKS] [TASKS]...
 *
 * The core alone, as the server calls it: NODE_UP for N nodes (10,000), then APPLY of jobs of up to
 * 1,000 tasks (or --job) until there are TASKS of them (1,000 to 1,000,000), each size with a new
 * cluster. What is timed is cluster_handle() of the applies and nothing else; effects are made and
 * dropped. Both clocks are told: of the wall, and of what this thread has used of a core, which is
 * the one to look at on a machine that does other things as well. With `--order nodes` the jobs
 * come first and wait, and what is timed is the coming of the nodes. A size is repeated until its
 * sum is a quarter of a second, so that small ones can be compared.
 *
 * Mixes: `plain` (no wishes), `fit` (cores and memory), `where` (constraints), `spread`, `pack`,
 * `prefer`, `exclusive`, `ports`, and `mixed`, which is all of them in turn. Nodes differ in zone,
 * rack, disk, cores and memory. Every task must have got a node, or the number of those that have
 * not is printed: the loads are made to fit. */
#include <getopt.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "core/cluster.h"

#define JOB_TASKS  1000u
#define LEAST_TIME (UINT64_C(1000000000) / 4) /* of CPU */

#define REST "\"command\": [\"/bin/true\"]"

static const struct mix {
        const char *name;
        const char *more; /* members of the spec */
} mixes[] = {
        { "plain", "" },
        { "fit", ", \"resources\": {\"cpu\": 0.1, \"memory\": \"64MiB\"}" },
        { "where", ", \"resources\": {\"cpu\": 0.1, \"memory\": \"64MiB\"}, \"place\": {\"zone\": "
                   "[\"a\", "
                   "\"b\"], \"where\": [\"memory >= 4GiB\", \"kernel >= version 6.1\"]}" },
        { "spread", ", \"resources\": {\"cpu\": 0.1}, \"place\": {\"spread\": \"rack\"}" },
        { "pack", ", \"resources\": {\"cpu\": 0.1, \"memory\": \"64MiB\"}, \"place\": {\"by\": "
                  "\"pack\"}" },
        { "prefer",
                ", \"resources\": {\"memory\": \"64MiB\"}, \"place\": {\"prefer\": [{\"where\": "
                "\"disk_kind = ssd\", \"weight\": 50}]}" },
        { "exclusive", ", \"place\": {\"exclusive\": \"%s\"}" }, /* its own name */
        { "ports", ", \"resources\": {\"cpu\": 0.1, \"ports\": [\"http\"]}" },
};

#define MIX_COUNT ((uint32_t) ARRAY_SIZE(mixes))

struct options {
        uint32_t nodes;
        uint32_t mix; /* MIX_COUNT: all in turn */
        bool nodes_last;
        uint32_t job_tasks;
};

static void fail(const struct error *err)
{
        fprintf(stderr, "bench-place: %s\n", err->message);
        exit(1);
}

/* On two clocks. */
struct took {
        usec_t wall;
        uint64_t cpu; /* nanoseconds of this thread */
};

static uint64_t cpu_now(void)
{
        struct timespec t;

        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
        return (uint64_t) t.tv_sec * 1000000000 + (uint64_t) t.tv_nsec;
}

static struct took clock_begin(void)
{
        return (struct took){ .wall = time_mono(), .cpu = cpu_now() };
}

static void clock_end(struct took *sum, struct took begin)
{
        sum->cpu += cpu_now() - begin.cpu;
        sum->wall += time_mono() - begin.wall;
}

static void handle(
        struct took *took, struct cluster *c, const struct cluster_event *event, size_t *placed)
{
        static const usec_t now = 1800000000 * USEC_SEC;
        struct cluster_effects effects = { 0 };
        struct error err;
        struct took begin = clock_begin();

        if (cluster_handle(c, event, now, &effects, &err) < 0)
                fail(&err);
        clock_end(took, begin);
        *placed += effects.assigns_len;
        cluster_effects_done(&effects);
}

/* ---- Nodes */

static json_t *node_object(uint32_t i)
{
        static const char *const zones[] = { "a", "b", "c" };
        json_error_t why;
        AUTO(mem_freep)
        char *text = mem_printf(
                "{\"name\": \"node%05" PRIu32 "\", \"zone\": \"%s\", \"cores\": %u, \"cpu\": %u, "
                "\"memory\": %" PRIu64 ", \"disk\": 1099511627776, \"kernel\": \"6.%u.0\", "
                "\"attributes\": {\"rack\": \"r%03" PRIu32 "\", \"disk_kind\": \"%s\", \"arch\": "
                "\"x86_64\", \"os\": \"linux\", \"kernel\": \"6.%u.0\", \"zone\": \"%s\", "
                "\"memory\": \"%uGiB\"}}",
                i, zones[i % 3], i % 2 == 0 ? 64 : 32, i % 2 == 0 ? 64000 : 32000,
                (uint64_t) (i % 2 == 0 ? 256 : 128) << 30, i % 12, i / 40,
                i % 4 == 0 ? "ssd" : "disk", i % 12, zones[i % 3], i % 2 == 0 ? 256 : 128);
        json_t *object = json_loads(text, 0, &why);

        if (object == NULL)
                abort(); /* ours is wrong */
        return object;
}

/* A node whose agent has just said hello. What is assigned to it with that is added to @placed. */
static void add_node(struct took *took, struct cluster *c, uint32_t i, size_t *placed)
{
        struct node_status node = { 0 };
        struct cluster_event event = { .type = CLUSTER_NODE_UP, .node = &node };
        struct cluster_effects assigns = { 0 };
        json_t *object = node_object(i);
        struct error err;
        struct took begin;

        if (record_read(&node_table, object, &node, &err) < 0)
                fail(&err);
        json_decref(object);
        handle(took, c, &event, placed);
        begin = clock_begin();
        cluster_assigns_of(c, node.name, &assigns);
        clock_end(took, begin);
        *placed += assigns.assigns_len;
        cluster_effects_done(&assigns);
        record_done(&node_table, &node);
}

/* ---- Jobs */

static struct job_spec *make_spec(const struct options *o, uint32_t number, uint32_t count)
{
        const struct mix *mix = &mixes[o->mix == MIX_COUNT ? number % MIX_COUNT : o->mix];
        AUTO(mem_freep) char *name = mem_printf("job%04" PRIu32, number);
        const char *hole = strstr(mix->more, "%s");
        AUTO(mem_freep)
        char *text = hole == NULL
                             ? mem_printf("{" REST ", \"count\": %" PRIu32 "%s}", count, mix->more)
                             : mem_printf("{" REST ", \"count\": %" PRIu32 "%.*s%s%s}", count,
                                       (int) (hole - mix->more), mix->more, name, hole + 2);
        struct job_spec *spec = NULL;
        json_error_t why;
        json_t *object = json_loads(text, 0, &why);
        struct error err;

        if (object == NULL || job_spec_from_json(name, object, &spec, &err) < 0)
                fail(&err);
        json_decref(object);
        return spec;
}

static void apply(struct took *took, struct cluster *c, const struct options *o, uint32_t number,
        uint32_t count, size_t *placed)
{
        struct job_spec *spec = make_spec(o, number, count);

        handle(took, c,
                &(struct cluster_event){ .type = CLUSTER_APPLY, .spec = spec, .source = "api" },
                placed);
        job_spec_unref(spec);
}

static void apply_all(struct took *took, struct cluster *c, const struct options *o, uint32_t tasks,
        size_t *placed, uint64_t *ret_last)
{
        /* So that a small load is a mixture, too. */
        uint32_t job_tasks = MIN(o->job_tasks, MAX(1, tasks / MIX_COUNT));

        for (uint32_t done = 0, number = 0; done < tasks; number++) {
                uint32_t count = MIN(tasks - done, job_tasks);
                uint64_t before = took->cpu;

                apply(took, c, o, number, count, placed);
                *ret_last = took->cpu - before;
                done += count;
        }
}

static void add_nodes(struct took *took, struct cluster *c, const struct options *o, size_t *placed)
{
        for (uint32_t i = 0; i < o->nodes; i++)
                add_node(took, c, i, placed);
}

/* ---- One size */

static void measure(const struct options *o, uint32_t tasks)
{
        size_t placed = 0, wanted = 0, idle_bytes = 0, full_bytes = 0;
        struct took took = { 0 };
        uint64_t last = 0;

        for (unsigned round = 0; took.cpu < LEAST_TIME && round < 1000; round++) {
                struct cluster *c = cluster_new();
                struct took untimed = { 0 };
                size_t nothing = 0;

                if (!o->nodes_last)
                        add_nodes(&untimed, c, o, &nothing);
                idle_bytes = mallinfo2().uordblks + mallinfo2().hblkhd;
                if (o->nodes_last) {
                        apply_all(&untimed, c, o, tasks, &placed, &last);
                        add_nodes(&took, c, o, &placed);
                } else {
                        apply_all(&took, c, o, tasks, &placed, &last);
                }
                full_bytes = mallinfo2().uordblks + mallinfo2().hblkhd;
                wanted += tasks;
                cluster_free(c);
        }
        printf("| %7" PRIu32 " | %9.3f | %11.0f | %13.0f | %12.2f | %9.0f | %zu |\n", tasks,
                (double) took.wall / 1e6, (double) wanted * 1e6 / (double) took.wall,
                (double) wanted * 1e9 / (double) took.cpu, (double) last / 1e6,
                (double) (full_bytes - idle_bytes) / tasks, wanted - MIN(placed, wanted));
        fflush(stdout);
}

/* ---- The program */

static int usage(void)
{
        fprintf(stderr,
                "usage: bench-place [--nodes N] [--mix NAME] [--order jobs|nodes] [--job TASKS] "
                "[TASKS]...\n"
                "mixes: mixed");
        for (uint32_t i = 0; i < MIX_COUNT; i++)
                fprintf(stderr, ", %s", mixes[i].name);
        fputc('\n', stderr);
        return 2;
}

static bool find_mix(const char *name, uint32_t *ret)
{
        for (*ret = 0; *ret < MIX_COUNT; (*ret)++)
                if (strcmp(mixes[*ret].name, name) == 0)
                        return true;
        return strcmp(name, "mixed") == 0;
}

static int parse_options(int argc, char **argv, struct options *o)
{
        static const struct option options[] = {
                { "nodes", required_argument, NULL, 'n' },
                { "mix", required_argument, NULL, 'm' },
                { "order", required_argument, NULL, 'o' },
                { "job", required_argument, NULL, 'j' },
                { 0 },
        };
        int c;

        while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
                if (c == 'n')
                        o->nodes = (uint32_t) strtoul(optarg, NULL, 10);
                else if (c == 'j')
                        o->job_tasks = (uint32_t) strtoul(optarg, NULL, 10);
                else if (c == 'o')
                        o->nodes_last = strcmp(optarg, "nodes") == 0;
                else if (c != 'm' || !find_mix(optarg, &o->mix))
                        return -1;
        }
        return o->nodes == 0 || o->job_tasks == 0 ? -1 : 0;
}

int main(int argc, char **argv)
{
        static const uint32_t sizes[] = { 1000, 10000, 100000, 1000000 };
        struct options o = { .nodes = 10000, .mix = MIX_COUNT, .job_tasks = JOB_TASKS };

        if (parse_options(argc, argv, &o) < 0)
                return usage();
        printf("%" PRIu32 " nodes, mix %s%s\n\n"
               "|   tasks |   seconds | placed /s   | per CPU s     | last, CPU ms | B / task  | "
               "without a node |\n"
               "| ------- | --------- | ----------- | ------------- | ------------ | --------- | "
               "--- |\n",
                o.nodes, o.mix == MIX_COUNT ? "mixed" : mixes[o.mix].name,
                o.nodes_last ? ", jobs wait for nodes" : "");
        for (int i = optind; i < argc; i++)
                measure(&o, (uint32_t) strtoul(argv[i], NULL, 10));
        for (size_t i = 0; i < ARRAY_SIZE(sizes) && optind == argc; i++)
                measure(&o, sizes[i]);
        return 0;
}
