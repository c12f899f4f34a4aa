/* SPDX-License-Identifier: BSD-3-Clause */
/* Metrics: the text that Prometheus scrapes (format 0.0.4), made from one table.
 *
 * A scrape asks the agents what machines and tasks use (gauges.c), counts the tasks by their
 * states, and then writes one metric after the other. All of it goes a piece per turn of the loop,
 * so that a million tasks hold nobody: SLICE_USEC of work, then the others have their turn; and as
 * the client takes it. Tasks come and go between the pieces: each metric is of its own moment.
 *
 * A series per task is what costs, here and in whatever stores it: when there are more tasks than
 * --metrics-tasks, those are left out, and reeve_metrics_tasks_shown says so. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <utlist.h>

#include "base/file.h"
#include "base/mem.h"
#include "server/api.h"
#include "server/auth.h"
#include "server/gauges.h"

#define SLICE_USEC  (2 * USEC_MSEC)
#define PIECE_TASKS 500
#define QUEUE_MARK  ((size_t) 512 * 1024)

struct scrape {
        struct server *server;
        struct http_request *req;
        struct gauges_look *look;
        uv_timer_t turn;
        struct buffer out;
        bool tasks_shown;
        bool counted;                        /* all tasks, in by_state */
        uint64_t by_state[TASK_STATE_COUNT]; /* enum task_state */
        size_t next;                         /* row of the table */
        const struct metric *metric;         /* the one that is written */
        char **jobs;                         /* by name, ended by NULL */
        size_t job;                          /* the walk over all tasks: where it is */
        uint32_t task;
        struct scrape *next_scrape, *prev_scrape;
};

enum metric_type { COUNTER, GAUGE };
static const char *const type_names[] = { "counter", "gauge" };

struct metric {
        const char *name;
        enum metric_type type;
        const char *labels; /* for the reference page */
        const char *help;
        /* One of these. */
        void (*put)(struct scrape *s);
        void (*put_node)(struct scrape *s, const struct node_status *node,
                const struct node_vitals *vitals); /* vitals: NULL if they are not known */
        void (*put_task)(
                struct scrape *s, const struct task_status *task, const struct task_vitals *vitals);
};

/* ---- values */

/* A label's value, as the format wants it. */
static void put_label(struct scrape *s, const char *name, const char *value)
{
        struct buffer *out = &s->out;

        if (out->data[out->len - 1] != '{')
                buffer_putc(out, ',');
        buffer_printf(out, "%s=\"", name);
        for (; *value != '\0'; value++) {
                if (*value == '\\' || *value == '"')
                        buffer_putc(out, '\\');
                if (*value == '\n')
                        buffer_puts(out, "\\n");
                else
                        buffer_putc(out, *value);
        }
        buffer_putc(out, '"');
}

static void begin(struct scrape *s)
{
        buffer_puts(&s->out, s->metric->name);
}

static void end_uint(struct scrape *s, uint64_t value)
{
        buffer_putc(&s->out, ' ');
        buffer_put_uint(&s->out, value);
        buffer_putc(&s->out, '\n');
}

static void end_seconds(struct scrape *s, uint64_t usec)
{
        buffer_printf(&s->out, " %" PRIu64 ".%06" PRIu64 "\n", usec / USEC_SEC, usec % USEC_SEC);
}

static void put_uint(struct scrape *s, uint64_t value)
{
        begin(s);
        end_uint(s, value);
}

static void put_seconds(struct scrape *s, uint64_t usec)
{
        begin(s);
        end_seconds(s, usec);
}

static void put_word(struct scrape *s, const char *label, const char *word, uint64_t value)
{
        begin(s);
        buffer_putc(&s->out, '{');
        put_label(s, label, word);
        buffer_putc(&s->out, '}');
        end_uint(s, value);
}

/* ---- the server */

static void put_info(struct scrape *s)
{
        put_word(s, "version", REEVE_VERSION, 1);
}

static void put_uptime(struct scrape *s)
{
        put_seconds(s, time_mono() - s->server->started_mono);
}

static void count_job(void *data, const struct job_status *job)
{
        ((uint64_t *) data)[job->state]++;
}

static void put_jobs(struct scrape *s)
{
        uint64_t counts[JOB_TEMPLATE + 1] = { 0 };

        cluster_each_job(state_cluster(s->server->state), count_job, counts);
        for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
                put_word(s, "state", job_state_names[i], counts[i]);
}

static void put_tasks(struct scrape *s)
{
        for (size_t i = 0; i < TASK_STATE_COUNT; i++)
                put_word(s, "state", task_state_names[i], s->by_state[i]);
}

static void add_queued(void *data, const struct job_status *job)
{
        *(uint64_t *) data += (uint64_t) MAX(job->queued, 0);
}

static void put_queue(struct scrape *s)
{
        uint64_t queued = 0;

        cluster_each_job(state_cluster(s->server->state), add_queued, &queued);
        put_uint(s, queued);
}

static void count_node(void *data, const struct node_status *node)
{
        ((uint64_t *) data)[node->state]++;
}

static void put_nodes(struct scrape *s)
{
        uint64_t counts[NODE_LOST + 1] = { 0 };

        cluster_each_node(state_cluster(s->server->state), count_node, counts);
        for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
                put_word(s, "state", node_state_names[i], counts[i]);
}

static void put_events(struct scrape *s)
{
        put_uint(s, state_durable_event(s->server->state));
}

static void put_events_kept(struct scrape *s)
{
        put_uint(s, state_events_stored(s->server->state));
}

static void put_decisions(struct scrape *s)
{
        put_uint(s, state_get_counters(s->server->state)->decisions);
}

static void put_commits(struct scrape *s)
{
        put_uint(s, state_get_counters(s->server->state)->commits);
}

static void put_commit_failures(struct scrape *s)
{
        put_uint(s, state_get_counters(s->server->state)->commit_failures);
}

static void put_commit_seconds(struct scrape *s)
{
        put_seconds(s, state_get_counters(s->server->state)->commit_time);
}

static void put_requests(struct scrape *s)
{
        for (int status = 100; status < 600; status++) {
                uint64_t n = http_server_answers(s->server->http, status);
                char text[16];

                snprintf(text, sizeof text, "%d", status);
                if (n > 0)
                        put_word(s, "code", text, n);
        }
}

static void put_loop(struct scrape *s)
{
        usec_t idle = uv_metrics_idle_time(s->server->loop) / 1000;
        usec_t all = time_mono() - s->server->started_mono;

        put_seconds(s, all - MIN(idle, all));
}

static void put_shown(struct scrape *s)
{
        put_uint(s, s->tasks_shown);
}

static void put_cpu(struct scrape *s)
{
        struct rusage usage;

        if (getrusage(RUSAGE_SELF, &usage) == 0)
                put_seconds(
                        s, (uint64_t) (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * USEC_SEC +
                                   (uint64_t) (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec));
}

static void put_memory(struct scrape *s)
{
        AUTO(buffer_done) struct buffer text = { 0 };
        unsigned long long pages;

        if (file_read("/proc/self/statm", 4096, &text, NULL) == 0 &&
                sscanf(buffer_str(&text), "%*u %20llu", &pages) == 1)
                put_uint(s, pages * (uint64_t) sysconf(_SC_PAGESIZE));
}

/* ---- nodes */

static void begin_node(struct scrape *s, const struct node_status *node)
{
        begin(s);
        buffer_putc(&s->out, '{');
        put_label(s, "node", node->name);
        buffer_putc(&s->out, '}');
}

/* Leaves out what is not known. */
static void put_node_number(struct scrape *s, const struct node_status *node, int64_t value)
{
        if (value < 0)
                return;
        begin_node(s, node);
        end_uint(s, (uint64_t) value);
}

static void put_node_up(
        struct scrape *s, const struct node_status *node, const struct node_vitals *vitals)
{
        (void) vitals;
        put_node_number(s, node, node->state == NODE_READY);
}

static void put_node_running(
        struct scrape *s, const struct node_status *node, const struct node_vitals *vitals)
{
        (void) vitals;
        put_node_number(s, node, node->running);
}

static void put_node_cpu(
        struct scrape *s, const struct node_status *node, const struct node_vitals *vitals)
{
        if (vitals == NULL || vitals->cpu_usec < 0)
                return;
        begin_node(s, node);
        end_seconds(s, (uint64_t) vitals->cpu_usec);
}

static void put_node_load(
        struct scrape *s, const struct node_status *node, const struct node_vitals *vitals)
{
        if (vitals == NULL || vitals->load < 0)
                return;
        begin_node(s, node);
        buffer_printf(
                &s->out, " %" PRId64 ".%02" PRId64 "\n", vitals->load / 100, vitals->load % 100);
}

#define PUT_NODE(member)                                                                           \
        static void put_node_##member(struct scrape *s, const struct node_status *node,            \
                const struct node_vitals *vitals)                                                  \
        {                                                                                          \
                put_node_number(s, node, vitals != NULL ? vitals->member : -1);                    \
        }
PUT_NODE(cores)
PUT_NODE(memory)
PUT_NODE(memory_total)
PUT_NODE(disk)
PUT_NODE(disk_total)

/* ---- tasks */

static void begin_task(struct scrape *s, const struct task_status *task)
{
        begin(s);
        buffer_putc(&s->out, '{');
        put_label(s, "task", task->id);
        put_label(s, "job", task->job);
}

static void put_task_number(struct scrape *s, const struct task_status *task, int64_t value)
{
        begin_task(s, task);
        buffer_putc(&s->out, '}');
        end_uint(s, (uint64_t) MAX(value, 0));
}

static void put_task_state(
        struct scrape *s, const struct task_status *task, const struct task_vitals *vitals)
{
        (void) vitals;
        begin_task(s, task);
        if (task->node != NULL)
                put_label(s, "node", task->node);
        put_label(s, "state", task_state_names[task->state]);
        buffer_putc(&s->out, '}');
        end_uint(s, 1);
}

static void put_task_ready(
        struct scrape *s, const struct task_status *task, const struct task_vitals *vitals)
{
        (void) vitals;
        put_task_number(s, task, task->ready);
}

static void put_task_runs(
        struct scrape *s, const struct task_status *task, const struct task_vitals *vitals)
{
        (void) vitals;
        put_task_number(s, task, task->runs);
}

static void put_task_restarts(
        struct scrape *s, const struct task_status *task, const struct task_vitals *vitals)
{
        (void) vitals;
        put_task_number(s, task, task->restarts);
}

static void put_task_cpu(
        struct scrape *s, const struct task_status *task, const struct task_vitals *vitals)
{
        if (vitals == NULL || vitals->cpu_usec < 0)
                return;
        begin_task(s, task);
        buffer_putc(&s->out, '}');
        end_seconds(s, (uint64_t) vitals->cpu_usec);
}

static void put_task_memory(
        struct scrape *s, const struct task_status *task, const struct task_vitals *vitals)
{
        if (vitals != NULL && vitals->memory >= 0)
                put_task_number(s, task, vitals->memory);
}

/* ---- the table */

static const struct metric metrics[] = {
        { "reeve_info", GAUGE, "version", "Always 1.", put_info, NULL, NULL },
        { "reeve_uptime_seconds", GAUGE, "", "How long the server runs.", put_uptime, NULL, NULL },
        { "reeve_jobs", GAUGE, "state", "Jobs.", put_jobs, NULL, NULL },
        { "reeve_tasks", GAUGE, "state", "Tasks.", put_tasks, NULL, NULL },
        { "reeve_queue_tasks", GAUGE, "", "Tasks that wait for a node.", put_queue, NULL, NULL },
        { "reeve_nodes", GAUGE, "state", "Nodes.", put_nodes, NULL, NULL },
        { "reeve_events_total", COUNTER, "", "Events so far, over all starts of the server.",
                put_events, NULL, NULL },
        { "reeve_events_kept", GAUGE, "", "Events that are kept.", put_events_kept, NULL, NULL },
        { "reeve_decisions_total", COUNTER, "",
                "What people, agents and time had the server decide since its start.",
                put_decisions, NULL, NULL },
        { "reeve_store_commits_total", COUNTER, "", "Commits of the store.", put_commits, NULL,
                NULL },
        { "reeve_store_commit_failures_total", COUNTER, "", "Commits that failed.",
                put_commit_failures, NULL, NULL },
        { "reeve_store_commit_seconds_total", COUNTER, "", "Time that the commits took together.",
                put_commit_seconds, NULL, NULL },
        { "reeve_http_requests_total", COUNTER, "code", "Requests answered, by HTTP status.",
                put_requests, NULL, NULL },
        { "reeve_loop_busy_seconds_total", COUNTER, "",
                "Time that the server's event loop has not waited.", put_loop, NULL, NULL },
        { "reeve_metrics_tasks_shown", GAUGE, "",
                "1: there are series per task; 0: there are more tasks than --metrics-tasks.",
                put_shown, NULL, NULL },
        { "process_cpu_seconds_total", COUNTER, "", "CPU time that the server has used.", put_cpu,
                NULL, NULL },
        { "process_resident_memory_bytes", GAUGE, "", "Memory of the server.", put_memory, NULL,
                NULL },
        { "reeve_node_up", GAUGE, "node", "1: it is heard from.", NULL, put_node_up, NULL },
        { "reeve_node_tasks_running", GAUGE, "node", "Tasks that run there.", NULL,
                put_node_running, NULL },
        { "reeve_node_cores", GAUGE, "node", "Processors there.", NULL, put_node_cores, NULL },
        { "reeve_node_cpu_seconds_total", COUNTER, "node",
                "CPU time of all its cores that was used since it was booted.", NULL, put_node_cpu,
                NULL },
        { "reeve_node_load1", GAUGE, "node", "Load average of a minute.", NULL, put_node_load,
                NULL },
        { "reeve_node_memory_used_bytes", GAUGE, "node",
                "Memory in use: all but what programs could still get.", NULL, put_node_memory,
                NULL },
        { "reeve_node_memory_bytes", GAUGE, "node", "Memory there.", NULL, put_node_memory_total,
                NULL },
        { "reeve_node_disk_used_bytes", GAUGE, "node",
                "In use on the file system of the state directory.", NULL, put_node_disk, NULL },
        { "reeve_node_disk_bytes", GAUGE, "node", "Size of that file system.", NULL,
                put_node_disk_total, NULL },
        { "reeve_task_state", GAUGE, "task, job, node, state",
                "Always 1; the state and the node, if it has one, are labels.", NULL, NULL,
                put_task_state },
        { "reeve_task_ready", GAUGE, "task, job", "1: it runs and is ready.", NULL, NULL,
                put_task_ready },
        { "reeve_task_runs_total", COUNTER, "task, job", "Runs begun.", NULL, NULL, put_task_runs },
        { "reeve_task_restarts_total", COUNTER, "task, job", "Runs that the restart policy began.",
                NULL, NULL, put_task_restarts },
        { "reeve_task_cpu_seconds_total", COUNTER, "task, job",
                "CPU time that its run has used; from 0 with every run.", NULL, NULL,
                put_task_cpu },
        { "reeve_task_memory_bytes", GAUGE, "task, job", "Memory of all its processes.", NULL, NULL,
                put_task_memory },
};

void api_metrics_reference(struct buffer *out)
{
        buffer_puts(out,
                "# Metrics\n\n"
                "<!-- Written by `test-server --metrics > docs/metrics.md`; edit "
                "src/server/metrics.c instead. -->\n\n"
                "`GET /metrics` answers in the text format of Prometheus (0.0.4). It takes a token "
                "with the role\n"
                "`read` that is not limited to some jobs, as `Authorization: Bearer TOKEN`:\n\n"
                "```yaml\n"
                "scrape_configs:\n"
                "  - job_name: reeve\n"
                "    scheme: https\n"
                "    authorization: {credentials_file: /etc/prometheus/reeve-token}\n"
                "    tls_config: {ca_file: /etc/prometheus/reeve-ca.pem}  # DIR/tls of the server\n"
                "    static_configs: [{targets: [\"server.example:7433\"]}]\n"
                "```\n\n"
                "What machines and tasks use is asked of their agents at each scrape; who does not "
                "answer within 2 s, or\n"
                "does not know, has no such series. With more than `--metrics-tasks` tasks (10000) "
                "there are none per task.\n\n"
                "| name | type | labels | meaning |\n|---|---|---|---|\n");
        for (size_t i = 0; i < ARRAY_SIZE(metrics); i++)
                buffer_printf(out, "| `%s` | %s | %s | %s |\n", metrics[i].name,
                        type_names[metrics[i].type], metrics[i].labels, metrics[i].help);
}

/* ---- the walk over all tasks */

static void add_job_name(void *data, const struct job_status *job)
{
        struct scrape *s = data;

        s->jobs = mem_resize(s->jobs, s->job + 2, sizeof *s->jobs);
        s->jobs[s->job++] = mem_strdup(job->name);
        s->jobs[s->job] = NULL;
}

static void list_jobs(struct scrape *s)
{
        s->jobs = mem_alloc(sizeof *s->jobs);
        cluster_each_job(state_cluster(s->server->state), add_job_name, s);
        s->job = 0;
}

/* A piece of it. Returns false at the end, and is at the beginning again. */
static bool walk_on(struct scrape *s, void (*each)(void *data, const struct task_status *task))
{
        if (s->jobs[s->job] == NULL) {
                s->job = 0;
                return false;
        }
        s->task = cluster_each_task_from(
                state_cluster(s->server->state), s->jobs[s->job], s->task, PIECE_TASKS, each, s);
        s->job += s->task == 0;
        return true;
}

static void count_task(void *data, const struct task_status *task)
{
        ((struct scrape *) data)->by_state[task->state]++;
}

static void put_task(void *data, const struct task_status *task)
{
        struct scrape *s = data;

        s->metric->put_task(s, task,
                task->node != NULL ? gauges_task(s->server->gauges, task->node, task->id) : NULL);
}

/* ---- writing */

static void put_node(void *data, const struct node_status *node)
{
        struct scrape *s = data;

        s->metric->put_node(s, node, gauges_node(s->server->gauges, node->name));
}

static void put_head(struct scrape *s)
{
        buffer_printf(&s->out, "# HELP %s %s\n# TYPE %s %s\n", s->metric->name, s->metric->help,
                s->metric->name, type_names[s->metric->type]);
}

static void begin_metric(struct scrape *s)
{
        s->metric = &metrics[s->next++];
        if (s->metric->put_task != NULL && !s->tasks_shown)
                s->metric = NULL;
        else
                put_head(s);
}

/* A piece of work. Returns false when all is done. */
static bool step(struct scrape *s)
{
        if (!s->counted) {
                s->counted = !walk_on(s, count_task);
                return true;
        }
        if (s->metric == NULL && s->next == ARRAY_SIZE(metrics))
                return false;
        if (s->metric == NULL)
                begin_metric(s);
        if (s->metric == NULL)
                return true;
        if (s->metric->put_task != NULL && walk_on(s, put_task))
                return true;
        if (s->metric->put_node != NULL)
                cluster_each_node(state_cluster(s->server->state), put_node, s);
        else if (s->metric->put != NULL)
                s->metric->put(s);
        s->metric = NULL;
        return true;
}

static void on_turn_closed(uv_handle_t *handle)
{
        free(handle->data);
}

static void scrape_free(void *data)
{
        struct scrape *s = data;

        DL_DELETE2(s->server->scrapes, s, prev_scrape, next_scrape);
        gauges_cancel(s->look);
        for (char **job = s->jobs; job != NULL && *job != NULL; job++)
                free(*job);
        free(s->jobs);
        buffer_done(&s->out);
        uv_close((uv_handle_t *) &s->turn, on_turn_closed);
}

static void on_turn(uv_timer_t *timer)
{
        struct scrape *s = timer->data;
        usec_t until = time_mono() + SLICE_USEC;
        bool more = true;

        while (more && time_mono() < until && s->out.len < QUEUE_MARK)
                more = step(s);
        http_request_write(s->req, s->out.data, s->out.len);
        buffer_reset(&s->out);
        if (!more) {
                http_request_on_close(s->req, NULL, NULL);
                http_request_on_drain(s->req, NULL, NULL);
                http_request_finish(s->req);
                scrape_free(s);
        } else if (http_request_queued(s->req) < QUEUE_MARK) {
                uv_timer_start(&s->turn, on_turn, 1, 0);
        }
}

static void on_drain(void *data)
{
        struct scrape *s = data;

        if (s->look == NULL)
                uv_timer_start(&s->turn, on_turn, 1, 0);
}

static void on_looked(void *data)
{
        struct scrape *s = data;

        s->look = NULL;
        list_jobs(s);
        http_request_begin(s->req, 200, "text/plain; version=0.0.4; charset=utf-8");
        http_request_on_drain(s->req, on_drain, s);
        uv_timer_start(&s->turn, on_turn, 0, 0);
}

static void add_tasks(void *data, const struct job_status *job)
{
        *(int64_t *) data += MAX(job->count, job->running) + job->lost;
}

void api_metrics_end(struct server *server)
{
        while (server->scrapes != NULL)
                scrape_free(server->scrapes);
}

void api_metrics(struct server *server, struct http_request *req, const char *name)
{
        struct gauges_query query = { .max_age = VITALS_EVERY };
        struct scrape *s;
        int64_t tasks = 0;

        (void) name;
        if (!auth_allows_all(server, req))
                return;
        s = mem_alloc(sizeof *s);
        s->server = server;
        s->req = req;
        s->turn.data = s;
        uv_timer_init(server->loop, &s->turn);
        DL_APPEND2(server->scrapes, s, prev_scrape, next_scrape);
        http_request_on_close(req, scrape_free, s);
        cluster_each_job(state_cluster(server->state), add_tasks, &tasks);
        query.tasks = s->tasks_shown = tasks <= server->options.metrics_tasks;
        s->look = gauges_look(server->gauges, &query, on_looked, s);
}
