/* SPDX-License-Identifier: BSD-3-Clause */
/* How long plans take: bench-plan [JOBS [TASKS [NODES]]], by default 1,000 jobs of 100 tasks on
 * 1,000 nodes, all of them running.
 *
 * Each plan is made as the server makes it: by a forked child that has the state to itself and
 * writes its answer to a pipe. Told are how long fork(2) held the caller, which is what the
 * server's loop feels, how long it took until the whole answer was read, and how large that is. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/time.h"
#include "core/plan.h"

struct size {
        uint32_t jobs, tasks, nodes;
};

static const usec_t now = 1700000000 * USEC_SEC;

static void fail(const char *what, const struct error *err)
{
        fprintf(stderr, "bench-plan: %s: %s\n", what, err->message);
        exit(1);
}

static void handle(struct cluster *c, const struct cluster_event *event, struct cluster_effects *fx)
{
        struct error err = ERROR_INIT;

        fx->unstored = true;
        if (cluster_handle(c, event, now, fx, &err) < 0)
                fail("handle", &err);
}

static struct job_spec *make_spec(uint32_t number, uint32_t tasks, const char *command)
{
        AUTO(mem_freep) char *name = mem_printf("job-%" PRIu32, number);
        json_t *object = json_pack("{s:[s],s:i,s:{s:f,s:i}}", "command", command, "count",
                (int) tasks, "resources", "cpu", 0.01, "memory", 1 << 20);
        struct job_spec *spec = NULL;
        struct error err = ERROR_INIT;

        if (job_spec_from_json(name, object, &spec, &err) < 0)
                fail("spec", &err);
        json_decref(object);
        return spec;
}

static void add_node(struct cluster *c, uint32_t number)
{
        AUTO(mem_freep) char *name = mem_printf("node-%05" PRIu32, number);
        AUTO(cluster_effects_done) struct cluster_effects fx = { 0 };
        struct node_status status = { .name = name,
                .state = NODE_READY,
                .cores = 64,
                .cpu = 64000,
                .memory = INT64_C(256) << 30,
                .disk = RECORD_NULL };

        handle(c, &(struct cluster_event){ .type = CLUSTER_NODE_UP, .node = &status }, &fx);
}

/* All tasks that were assigned run. */
static void report_all(struct cluster *c, const struct cluster_effects *assigned)
{
        for (size_t i = 0; i < assigned->assigns_len; i++) {
                const struct cluster_assign *a = &assigned->assigns[i];
                AUTO(cluster_effects_done) struct cluster_effects fx = { 0 };
                struct node_status node = { .name = (char *) (uintptr_t) a->node };
                struct cluster_report r = { .desire = a->desire };

                if (!cluster_get_task(c, a->task, &r.status))
                        continue;
                r.status.state = TASK_RUNNING;
                r.status.result = RESULT_NONE;
                r.status.ready = true;
                r.status.runs = 1;
                r.status.version = a->desire.version;
                handle(c,
                        &(struct cluster_event){ .type = CLUSTER_REPORT,
                                .node = &node,
                                .reports = &r,
                                .reports_len = 1 },
                        &fx);
        }
}

static struct cluster *make_cluster(const struct size *size)
{
        struct cluster *c = cluster_new();

        for (uint32_t i = 0; i < size->nodes; i++)
                add_node(c, i);
        for (uint32_t i = 0; i < size->jobs; i++) {
                AUTO(cluster_effects_done) struct cluster_effects fx = { 0 };
                AUTO(job_spec_unrefp) struct job_spec *spec = make_spec(i, size->tasks, "first");

                handle(c,
                        &(struct cluster_event){
                                .type = CLUSTER_APPLY, .spec = spec, .source = "api" },
                        &fx);
                report_all(c, &fx);
        }
        return c;
}

static void child(struct cluster *c, struct job_spec *const *specs, size_t len, FILE *answer)
{
        struct buffer out = { 0 };
        struct error err = ERROR_INIT;

        if (plan_make(c, specs, len, "api", now, &out, &err) < 0)
                fail("plan", &err);
        fwrite(out.data, 1, out.len, answer);
        fflush(answer);
        _exit(0);
}

static void measure(const char *what, struct cluster *c, struct job_spec *const *specs, size_t len)
{
        usec_t begun = time_mono(), forked, answered;
        static char part[65536];
        size_t bytes = 0, n;
        FILE *in;
        int fds[2];
        pid_t pid;

        if (pipe(fds) < 0 || (pid = fork()) < 0)
                exit(1);
        if (pid == 0)
                child(c, specs, len, fdopen(fds[1], "w"));
        forked = time_mono();
        close(fds[1]);
        in = fdopen(fds[0], "r");
        while ((n = fread(part, 1, sizeof part, in)) > 0)
                bytes += n;
        fclose(in);
        waitpid(pid, NULL, 0);
        answered = time_mono();
        printf("%-28s fork %7.2f ms   answer after %9.2f ms   %10zu bytes\n", what,
                (double) (forked - begun) / 1000, (double) (answered - begun) / 1000, bytes);
}

int main(int argc, char **argv)
{
        struct size size = { .jobs = argc > 1 ? (uint32_t) atoi(argv[1]) : 1000,
                .tasks = argc > 2 ? (uint32_t) atoi(argv[2]) : 100,
                .nodes = argc > 3 ? (uint32_t) atoi(argv[3]) : 1000 };
        struct cluster *c = make_cluster(&size);
        struct job_spec **changed = mem_alloc(size.jobs * sizeof(struct job_spec *));
        struct job_spec *new_job = make_spec(size.jobs, size.tasks, "new");

        for (uint32_t i = 0; i < size.jobs; i++)
                changed[i] = make_spec(i, size.tasks, "second");
        printf("%" PRIu32 " jobs of %" PRIu32 " tasks on %" PRIu32 " nodes\n", size.jobs,
                size.tasks, size.nodes);
        fflush(stdout);
        measure("one job changed", c, changed, 1);
        measure("one job new", c, &new_job, 1);
        measure("a tenth of the jobs changed", c, changed, size.jobs / 10);
        measure("all jobs changed", c, changed, size.jobs);
        for (uint32_t i = 0; i < size.jobs; i++)
                job_spec_unref(changed[i]);
        job_spec_unref(new_job);
        free(changed);
        cluster_free(c);
        return 0;
}
