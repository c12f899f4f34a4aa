/* SPDX-License-Identifier: BSD-3-Clause */
/* What would happen: the real scheduler on the state of a snapshot, in virtual time.
 *
 * The nodes of the snapshot are there as simulated machines, and what the server believed to run
 * there runs. The world is given WARM_UP to connect; then is the time 0 of what is printed: nodes
 * fail, jobs are applied, and every event that the server publishes is shown with its time. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/time.h"
#include "cli/client.h"
#include "cli/columns.h"
#include "cli/command.h"
#include "cli/inputs.h"
#include "cli/terminal.h"
#include "sim/sim.h"
#include "store/snapshot.h"

#define WARM_UP       USEC_SEC
#define SUBJECT_WIDTH ((size_t) 10)

static const char *snapshot;
static struct option_list fail, apply;
static usec_t span = 10 * USEC_MINUTE, batch = 10 * USEC_SEC;
static int64_t seed = 1;
static bool as_json;

static const struct option_row options[] = {
        { "snapshot", 's', OPTION_TEXT, &snapshot, "FILE", "the state to begin with (needed)" },
        { "fail", 0, OPTION_LIST, &fail, "NODE,...", "these nodes fail at the beginning" },
        { "apply", 0, OPTION_LIST, &apply, "FILE",
                "apply this job file at the beginning, as `reeve apply` would" },
        { "time", 't', OPTION_SPAN, &span, "DURATION", "how far to look (10m)" },
        { "batch", 0, OPTION_SPAN, &batch, "DURATION", "how long a run of a batch takes (10s)" },
        { "seed", 0, OPTION_INT, &seed, "N",
                "of all that is left to chance; the same gives the same (1)" },
        { "json", 0, OPTION_FLAG, &as_json, NULL, "events and the end as one JSON object" },
        { NULL, 0, OPTION_FLAG, NULL, NULL, NULL },
};

/* Processes of a job. */
struct tally {
        char *job;
        int64_t running, least;
        UT_hash_handle hh;
};

struct world {
        struct sim *sim;
        struct sim_config config;
        struct tally *tallies;
        bool begun;     /* the time 0 has come */
        json_t *events; /* NULL: they are printed */
};

/* ---- What happens */

static struct tally *tally_get(struct world *w, const char *job, size_t len)
{
        struct tally *t;

        HASH_FIND(hh, w->tallies, job, len, t);
        if (t != NULL)
                return t;
        t = mem_alloc(sizeof *t);
        t->job = mem_strndup(job, len);
        HASH_ADD_KEYPTR(hh, w->tallies, t->job, len, t);
        return t;
}

static void on_process(void *data, const char *task, bool there)
{
        struct world *w = data;
        struct tally *t = tally_get(w, task, (size_t) (strrchr(task, '.') - task));

        t->running += there ? 1 : -1;
        t->least = w->begun ? MIN(t->least, t->running) : t->running;
}

static void on_run(void *data, const char *task, const struct job_spec *spec, uint64_t run,
        struct sim_run *ret)
{
        (void) data;
        (void) task;
        (void) run;
        if (spec->kind == JOB_BATCH)
                ret->lasts = batch;
}

static json_t *to_json(const struct record_table *table, const void *record)
{
        AUTO(buffer_done) struct buffer text = { 0 };

        record_write(table, record, &text);
        return json_loads(buffer_str(&text), 0, NULL);
}

static void print_event(usec_t at, const struct event *event)
{
        AUTO(buffer_done) struct buffer line = { 0 };
        const char *subject = event->task != NULL   ? event->task
                              : event->job != NULL  ? event->job
                              : event->node != NULL ? event->node
                                                    : "-";
        size_t width;

        buffer_printf(&line, "%9.3fs  %-14s  ", (double) at / (double) USEC_SEC,
                event_kind_names[event->kind]);
        width = columns_put(&line, subject, 0);
        buffer_printf(&line, "%*s", (int) (MAX(width, SUBJECT_WIDTH) - width + 2), "");
        columns_put(&line, event->message != NULL ? event->message : "-", 0);
        buffer_putc(&line, '\n');
        terminal_print(&line);
}

/* That the agents connect, in the time before 0, is ours and nobody's news. */
static void on_event(void *data, usec_t at, const struct event *event)
{
        struct world *w = data;
        json_t *object;

        if (at < WARM_UP && event->kind == EVENT_NODE_READY)
                return;
        at = at > WARM_UP ? at - WARM_UP : 0;
        if (w->events == NULL) {
                print_event(at, event);
                return;
        }
        object = to_json(&event_table, event);
        json_object_set_new(object, "at", json_real((double) at / (double) USEC_SEC));
        json_array_append_new(w->events, object);
}

/* ---- The beginning */

static int on_header(void *data, const struct snapshot_header *header, struct error *err)
{
        struct world *w = data;

        (void) err;
        w->config.start_wall = header->created;
        w->sim = sim_new(&w->config);
        return 0;
}

static int on_row(void *data, const char *key, const char *value, size_t len, struct error *err)
{
        struct world *w = data;
        AUTO(mem_freep) char *text = mem_strndup(value, len);

        (void) err;
        sim_load_row(w->sim, key, text);
        return 0;
}

static int begin(struct world *w, struct error *err)
{
        const struct snapshot_handlers handlers = { on_header, on_row, w };

        w->config = (struct sim_config){ .seed = (uint64_t) seed,
                .faults = { .latency_min = 100,
                        .latency_max = USEC_MSEC,
                        .commit_min = 500,
                        .commit_max = 2 * USEC_MSEC },
                .run = on_run,
                .event = on_event,
                .process = on_process,
                .data = w };
        if (snapshot_read_file(snapshot, &handlers, err) < 0)
                return -1;
        if (sim_adopt(w->sim, err) < 0)
                return error_wrap(err, "%s", snapshot);
        return 0;
}

static int advance(struct world *w, usec_t until, struct error *err)
{
        if (!sim_run(w->sim, until))
                return error_set(err, ERR_SYSTEM, "simulation of %s, seed %" PRId64 ": %s",
                        snapshot, seed, sim_breach(w->sim));
        return 0;
}

struct names {
        const char **items;
        size_t len;
};

static void add_name(void *data, const struct node_status *node)
{
        struct names *names = data;

        names->items = mem_resize(names->items, names->len + 2, sizeof names->items[0]);
        names->items[names->len++] = node->name;
        names->items[names->len] = NULL;
}

/* A node that was lost when the snapshot was made is no machine here: it cannot fail again. */
static int check_is_known(const struct world *w, const char *name, struct error *err)
{
        struct names names = { 0 };
        const char *nearest;
        bool known = false;

        cluster_each_node(sim_cluster(w->sim), add_name, &names);
        for (size_t i = 0; i < names.len; i++)
                known |= strcmp(names.items[i], name) == 0;
        nearest = names.len > 0 ? text_nearest(name, names.items) : NULL;
        free(names.items);
        if (known)
                return 0;
        if (nearest == NULL)
                return error_set(
                        err, ERR_NOT_FOUND, "--fail: no node \"%s\" in %s", name, snapshot);
        return error_set(err, ERR_NOT_FOUND, "--fail: no node \"%s\" in %s; did you mean \"%s\"?",
                name, snapshot, nearest);
}

static int fail_node(struct world *w, const char *name, struct error *err)
{
        struct sim_fault fault = { .type = SIM_REBOOT, .lasts = USEC_NEVER };

        if (!sim_find_node(w->sim, name, &fault.node))
                return check_is_known(w, name, err);
        sim_inject(w->sim, &fault);
        return 0;
}

static int fail_nodes(struct world *w, const char *list, struct error *err)
{
        for (const char *at = list;;) {
                size_t len = strcspn(at, ",");
                AUTO(mem_freep) char *name = mem_strndup(at, len);

                if (fail_node(w, name, err) < 0)
                        return -1;
                if (at[len] == '\0')
                        return 0;
                at += len + 1;
        }
}

static int apply_job(struct world *w, const char *name, const json_t *object, struct error *err)
{
        AUTO(job_spec_unrefp) struct job_spec *spec = NULL;
        AUTO(mem_freep) char *source = NULL;
        struct job_status status;

        if (job_spec_from_json(name, object, &spec, err) < 0)
                return -1;
        /* what a person would do by way of the file that the job comes from is done here, too */
        source = mem_strdup(
                cluster_get_job(sim_cluster(w->sim), name, &status) ? status.source : "api");
        if (sim_command(w->sim,
                    &(struct cluster_event){
                            .type = CLUSTER_APPLY, .spec = spec, .source = source },
                    err) == 0)
                return error_wrap(err, "apply job %s", name);
        return 0;
}

static int apply_files(struct world *w, struct error *err)
{
        AUTO(mem_freep) const char **paths = mem_alloc((apply.len + 1) * sizeof *paths);
        AUTO(buffer_done) struct buffer text = { 0 };
        AUTO(client_json_decref) json_t *file = NULL;
        const char *name;
        json_t *object;

        if (apply.len == 0)
                return 0;
        memcpy(paths, apply.items, apply.len * sizeof *paths);
        if (inputs_read(paths, &text, err) < 0)
                return -1;
        file = json_loads(buffer_str(&text), 0, NULL);
        json_object_foreach (json_object_get(file, "jobs"), name, object)
                if (apply_job(w, name, object, err) < 0)
                        return -1;
        return 0;
}

static int live(struct world *w, struct error *err)
{
        if (begin(w, err) < 0 || advance(w, WARM_UP, err) < 0)
                return -1;
        w->begun = true;
        for (struct tally *t = w->tallies; t != NULL; t = t->hh.next)
                t->least = t->running;
        for (size_t i = 0; i < fail.len; i++)
                if (fail_nodes(w, fail.items[i], err) < 0)
                        return -1;
        if (apply_files(w, err) < 0)
                return -1;
        return advance(w, span >= USEC_NEVER - WARM_UP ? USEC_NEVER : WARM_UP + span, err);
}

/* ---- The end */

static const struct table_column job_columns[] = {
        { "JOB", false },
        { "VERSION", true },
        { "STATE", false },
        { "RUNNING", true },
        { "LEAST", true },
        { "REASON", false },
};

static const struct table_column task_columns[] = {
        { "TASK", false },
        { "STATE", false },
        { "NODE", false },
        { "REASON", false },
};

struct tables {
        struct world *world;
        struct table *jobs, *tasks;
        struct buffer unplaced;
};

static void put_job(void *data, const struct job_status *job)
{
        struct tables *out = data;
        struct tally *tally = tally_get(out->world, job->name, strlen(job->name));

        table_put(out->jobs, TABLE_PLAIN, job->name);
        table_printf(out->jobs, TABLE_PLAIN, "%" PRId64, job->version);
        table_put(out->jobs, TABLE_PLAIN, job_state_names[job->state]);
        table_printf(out->jobs, TABLE_PLAIN, "%" PRId64 "/%" PRId64, job->running, job->count);
        table_printf(out->jobs, TABLE_PLAIN, "%" PRId64, tally->least);
        table_put(out->jobs, TABLE_PLAIN, job->reason);
}

static void put_task(void *data, const struct task_status *task)
{
        struct tables *out = data;

        table_put(out->tasks, TABLE_PLAIN, task->id);
        table_put(out->tasks, TABLE_PLAIN,
                task->state == TASK_ENDED && task->result >= 0 ? task_result_names[task->result]
                                                               : task_state_names[task->state]);
        table_put(out->tasks, TABLE_PLAIN, task->node);
        table_put(out->tasks, TABLE_PLAIN, task->reason);
        if (task->state == TASK_QUEUED && task->node == NULL) {
                buffer_printf(&out->unplaced, "%s: ", task->id);
                columns_put(&out->unplaced, task->reason != NULL ? task->reason : "waits", 0);
                buffer_putc(&out->unplaced, '\n');
        }
}

static void show_end(struct world *w)
{
        AUTO(table_freep)
        struct table *jobs = table_new(job_columns, ARRAY_SIZE(job_columns));
        AUTO(table_freep)
        struct table *tasks = table_new(task_columns, ARRAY_SIZE(task_columns));
        struct tables out = { .world = w, .jobs = jobs, .tasks = tasks };
        char text[TIME_TEXT_MAX];

        cluster_each_job(sim_cluster(w->sim), put_job, &out);
        cluster_each_task(sim_cluster(w->sim), NULL, put_task, &out);
        printf("\nAfter %s (LEAST: processes of the job that ran at every moment):\n\n",
                time_format_exact(text, span));
        terminal_print_table(jobs);
        putchar('\n');
        terminal_print_table(tasks);
        if (out.unplaced.len > 0) {
                puts("\nWithout a node:");
                terminal_print(&out.unplaced);
        }
        buffer_done(&out.unplaced);
}

struct listing {
        struct world *world;
        json_t *jobs, *tasks, *nodes;
};

static void list_job(void *data, const struct job_status *job)
{
        struct listing *out = data;
        json_t *object = to_json(&job_table, job);

        json_object_set_new(object, "least_running",
                json_integer(tally_get(out->world, job->name, strlen(job->name))->least));
        json_array_append_new(out->jobs, object);
}

static void list_task(void *data, const struct task_status *task)
{
        json_array_append_new(((struct listing *) data)->tasks, to_json(&task_table, task));
}

static void list_node(void *data, const struct node_status *node)
{
        json_array_append_new(((struct listing *) data)->nodes, to_json(&node_table, node));
}

static void show_json(struct world *w)
{
        AUTO(client_json_decref) json_t *root = json_object();
        struct listing out = { w, json_array(), json_array(), json_array() };

        cluster_each_job(sim_cluster(w->sim), list_job, &out);
        cluster_each_task(sim_cluster(w->sim), NULL, list_task, &out);
        cluster_each_node(sim_cluster(w->sim), list_node, &out);
        json_object_set(root, "events", w->events);
        json_object_set_new(root, "jobs", out.jobs);
        json_object_set_new(root, "tasks", out.tasks);
        json_object_set_new(root, "nodes", out.nodes);
        terminal_print_json(root);
}

static void end(struct world *w)
{
        struct tally *t, *next;

        sim_free(w->sim);
        HASH_ITER (hh, w->tallies, t, next) {
                HASH_DEL(w->tallies, t);
                free(t->job);
                free(t);
        }
        json_decref(w->events);
}

static int run(const char *const *operands, struct error *err)
{
        struct world w = { .events = as_json ? json_array() : NULL };
        int r;

        (void) operands;
        if (snapshot == NULL)
                return error_set(err, ERR_INVALID,
                        "--snapshot FILE is needed: `reeve snapshot save FILE` makes one");
        r = live(&w, err);
        if (r == 0 && as_json)
                show_json(&w);
        else if (r == 0)
                show_end(&w);
        end(&w);
        return r;
}

const struct command command_sim = {
        .name = "sim",
        .operands = "",
        .summary = "show what would happen when nodes fail or jobs are applied",
        .details =
                "The scheduler's own decisions on the state of a snapshot, with simulated machines "
                "in virtual time; needs no\n"
                "server and changes nothing. What the snapshot says to run runs at the beginning; "
                "services then run on, and\n"
                "batches end well. A node that fails stays away. Prints each event with its time "
                "from the beginning, then\n"
                "how it stands at the end: jobs, tasks and their nodes, and why what waits has "
                "none.",
        .options = options,
        .operands_min = 0,
        .operands_max = 0,
        .run = run,
};
