/* SPDX-License-Identifier: BSD-3-Clause */
/* Agent: the program that runs tasks on a node, put together.
 *
 * A start is always a take-over. In this order: the lock on DIR/node/lock (waiting for it is
 * waiting for the former agent and for any child that it left between clone and exec, see spawn.c);
 * the table of tasks; the log bytes that a former agent had in its hands (capture_new()); then
 * HELLO to the keeper, which tells its deposits, the ends of children that nobody has acknowledged,
 * and READY. Only then is it clear what became of every run: tasks_begin() judges, the kept records
 * are handled, and the link to the server is opened.
 *
 * An end comes in three ways. TERM: the tasks run on and the next agent takes them over. `down`:
 * all runs are ended first, then the keeper is told to end. The keeper's own death: a new one is
 * started, everything is handed to it, and this agent makes room for the one that it starts, as its
 * child, so that new tasks are its children, too. */
#include "node/agent.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <uv.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "keeper/launch.h"
#include "net/tls.h"
#include "node/agent-options.h"
#include "node/capture.h"
#include "node/credential.h"
#include "node/fifos.h"
#include "node/keeper-client.h"
#include "node/link.h"
#include "node/logforward.h"
#include "node/logsweep.h"
#include "node/machine.h"
#include "node/outbox.h"
#include "node/process.h"
#include "node/spawn.h"
#include "node/specs.h"
#include "node/table.h"
#include "node/task.h"
#include "node/vitals.h"

#define SWEEP_EVERY_MS   (10 * 1000) /* for logs that are too old */
#define RETRY_MS         250         /* of a record that could not be written down */
#define RELAUNCH_MS      1000
#define DOWN_PATIENCE_MS 1000 /* for the server to acknowledge the last events */
#define TERM_PATIENCE_MS 500

struct agent {
        uv_loop_t loop;
        char *directory; /* DIR, absolute */
        char *node_directory;
        struct agent_options options;
        struct machine machine;
        struct credential credential; /* zeroed beside a server on this machine */
        char *authorization;
        int lock;

        struct table *table;
        struct outbox *outbox;
        struct specs *specs;
        struct cgroups *cgroups;
        char *tasks_directory; /* a folder for each task, with its logs */
        struct capture *capture;
        struct logforward *forward;
        struct keeper_client *keeper;
        struct tasks *tasks;
        struct vitals *vitals;
        struct link *link;

        int witness; /* connection to the server's witness; -1: none */
        pid_t keeper_pid;
        struct keeper_record
                *records; /* not handled yet: before READY, or they could not be written down */
        size_t records_len;
        uint64_t ack;   /* the newest record that is written down but not acknowledged; 0: none */
        bool down;      /* all runs are being ended, then Reeve ends on this node */
        bool down_said; /* the keeper was told so */
        uv_prepare_t turn_end;
        uv_timer_t retry, sweep, patience, relaunch;
        uint64_t sweep_at; /* so many bytes taken (capture_get_taken()) may be too many */
        uv_signal_t term, ignored[3];
};

/* ---- records of the keeper */

static void on_retry(uv_timer_t *timer);

/* Before the loop sleeps: the runs that follow are begun before the keeper is woken for this. */
static void on_turn_end(uv_prepare_t *handle)
{
        struct agent *a = handle->data;

        if (a->ack != 0)
                keeper_client_ack(a->keeper, a->ack);
        a->ack = 0;
        if (a->tasks != NULL)
                tasks_write_dossiers(a->tasks);
        log_flush();
}

static void handle_records(struct agent *a)
{
        size_t done = 0;
        uint64_t seq = 0;

        while (done < a->records_len && tasks_record(a->tasks, &a->records[done]))
                seq = a->records[done++].seq;
        if (done == 0 && a->records_len == 0)
                return;
        if (done > 0)
                a->ack = seq;
        a->records_len -= done;
        memmove(a->records, a->records + done, a->records_len * sizeof *a->records);
        if (a->records_len > 0)
                uv_timer_start(&a->retry, on_retry, RETRY_MS, 0);
}

static void on_retry(uv_timer_t *timer)
{
        handle_records(timer->data);
}

static void on_record(void *data, const struct keeper_record *record)
{
        struct agent *a = data;

        if (a->keeper_pid != 0 && a->records_len == 0 && tasks_record(a->tasks, record)) {
                a->ack = record->seq;
                return;
        }
        a->records = mem_resize(a->records, a->records_len + 1, sizeof *a->records);
        a->records[a->records_len++] = *record;
        if (a->keeper_pid != 0)
                uv_timer_start(&a->retry, on_retry, RETRY_MS, 0);
}

/* ---- going down */

static void finish_down(struct agent *a)
{
        if (a->down_said)
                return;
        a->down_said = true;
        log_info("all tasks are stopped");
        fifos_remove(a->node_directory);
        cgroups_remove(a->cgroups);
        link_bye(a->link, "halt");
        keeper_client_end(a->keeper); /* it sends us TERM */
}

static void on_patience(uv_timer_t *timer)
{
        struct agent *a = timer->data;

        if (a->down)
                finish_down(a);
        else
                uv_stop(&a->loop);
}

static void check_down(struct agent *a)
{
        if (!a->down || a->down_said || tasks_any_process(a->tasks))
                return;
        if (outbox_empty(a->outbox))
                finish_down(a);
        else if (!uv_is_active((uv_handle_t *) &a->patience))
                uv_timer_start(&a->patience, on_patience, DOWN_PATIENCE_MS, 0);
}

static void begin_down(void *data)
{
        struct agent *a = data;

        if (a->down)
                return;
        log_info("stopping all tasks");
        a->down = true;
        tasks_halt(a->tasks);
        check_down(a);
}

static void on_acked(void *data)
{
        check_down(data);
}

static void on_tasks_changed(void *data)
{
        struct agent *a = data;

        if (a->link != NULL)
                link_wake(a->link);
        check_down(a);
}

/* ---- keeper */

static void on_deposit(void *data, const char *name, const int *fds, size_t len)
{
        struct agent *a = data;

        tasks_take_deposit(a->tasks, name, fds, len);
}

/* For the processes that are begun from now on. A server that is away hears of them when it is
 * back. */
static void connect_witness(void *data)
{
        struct agent *a = data;

        fd_closep(&a->witness);
        a->witness = MAX(keeper_witness_connect(a->directory), -1);
        tasks_set_witness(a->tasks, a->witness);
}

static void on_ready(void *data, pid_t keeper)
{
        struct agent *a = data;

        a->keeper_pid = keeper;
        connect_witness(a);
        tasks_begin(a->tasks, keeper);
        handle_records(a);
        vitals_begin(a->vitals);
        link_start(a->link);
        if (table_is_going_down(a->table)) /* the agent before us did not see the end of it */
                begin_down(a);
}

static void on_failed(void *data, const char *what, int sys_errno)
{
        (void) data;
        log_error("the keeper could not do it (%s): %s", what, strerror(sys_errno));
}

static void on_relaunch(uv_timer_t *timer);

/* Never returns if it succeeds: the agent that the new keeper starts takes over. */
static void relaunch_keeper(struct agent *a)
{
        struct keeper_handover *items;
        char text[256] = "it ended at once";
        size_t len;
        int64_t server;
        int pidfd = -1;
        enum keeper_launched r;

        tasks_drain(a->tasks);
        len = tasks_hand_over(a->tasks, &items);
        server = keeper_lock_owner(a->directory, "server.lock");
        if (server > 0)
                pidfd = process_open((pid_t) server);
        if (pidfd >= 0 && keeper_lock_owner(a->directory, "server.lock") == server)
                items[len++] = (struct keeper_handover){ KEEPER_ADOPT, "server", &pidfd, 1,
                        (uint64_t) server };
        r = keeper_launch(a->directory, items, len, text, sizeof text);
        if (r == KEEPER_LAUNCHED ||
                (r == KEEPER_LAUNCH_TAKEN && keeper_lock_owner(a->directory, "keeper.lock") > 0)) {
                log_info("handed over to a new keeper");
                log_flush();
                _exit(0);
        }
        log_error("there is no keeper: %s; trying again", text);
        tasks_hand_over_done(items, len);
        fd_closep(&pidfd);
        tasks_keeper_gone(a->tasks);
        uv_timer_start(&a->relaunch, on_relaunch, RELAUNCH_MS, 0);
}

static void on_relaunch(uv_timer_t *timer)
{
        relaunch_keeper(timer->data);
}

static void on_lost(void *data)
{
        struct agent *a = data;

        if (a->down_said) { /* it ended as it was told */
                uv_stop(&a->loop);
                return;
        }
        log_warning("the keeper is dead: starting a new one");
        relaunch_keeper(a);
}

static const struct keeper_client_handlers keeper_handlers = {
        .on_deposit = on_deposit,
        .on_record = on_record,
        .on_ready = on_ready,
        .on_down = begin_down,
        .on_failed = on_failed,
        .on_lost = on_lost,
};

/* ---- logs */

static void sweep_logs(struct agent *a)
{
        uint64_t room = logsweep_run(
                         a->tasks_directory, a->tasks, time_wall(), a->options.logs_max),
                 taken = capture_get_taken(a->capture);

        a->sweep_at = room > UINT64_MAX - taken ? UINT64_MAX : taken + room;
}

static void on_sweep(uv_timer_t *timer)
{
        struct agent *a = timer->data;

        sweep_logs(a);
}

static void on_grown(void *data, struct capture_stream *stream)
{
        struct agent *a = data;
        struct task *t = capture_stream_get_owner(stream);
        bool errors = t != NULL && stream == t->streams[TASK_STDERR];

        if (capture_get_taken(a->capture) >= a->sweep_at)
                uv_timer_start(&a->sweep, on_sweep, 0, SWEEP_EVERY_MS);
        if (t == NULL)
                return;
        task_health_grown(t);
        task_forward_grown(t, errors ? TASK_STDERR : TASK_STDOUT);
        if (a->link != NULL)
                link_log_grown(a->link, t->id, errors ? "stderr" : "stdout");
}

static void on_flow(
        void *data, struct capture_stream *stream, enum capture_flow flow, const struct error *why)
{
        struct task *t = capture_stream_get_owner(stream);

        (void) data;
        if (t != NULL)
                task_note_flow(t, stream, flow, why);
}

static void on_looked(void *data)
{
        struct agent *a = data;

        link_looked(a->link);
}

/* ---- what the link asks */

static void describe_node(void *data, struct node_status *ret)
{
        static char version[] = REEVE_VERSION;
        static struct utsname system_name;
        struct agent *a = data;
        const struct machine *m = &a->machine;

        uname(&system_name);
        *ret = (struct node_status){
                .name = a->options.node,
                .state = NODE_READY,
                .zone = a->options.zone,
                .tasks = RECORD_NULL,
                .running = RECORD_NULL,
                .version = version,
                .kernel = system_name.release,
                .cores = m->cores,
                .cpu = m->cpu,
                .memory = (int64_t) m->memory,
                .disk = (int64_t) m->disk,
                .cpu_used = RECORD_NULL,
                .memory_used = RECORD_NULL,
                .disk_used = RECORD_NULL,
                .attributes = m->attributes,
                .agent_pid = getpid(),
                .keeper_pid = a->keeper_pid,
        };
}

static void on_upgrade(void *data, const char *keeper_path)
{
        struct agent *a = data;

        log_info("upgrading");
        keeper_client_upgrade(a->keeper, keeper_path);
}

int agent_call_off_down(const char *data, struct error *err)
{
        AUTO(mem_freep) char *table = mem_printf("%s/node/table", data);

        return table_call_off_down(table, err);
}

/* ---- start and end */

static void on_term(uv_signal_t *handle, int number)
{
        struct agent *a = handle->data;

        (void) number;
        if (!a->down_said)
                link_bye(a->link, "restart");
        uv_timer_start(
                &a->patience, on_patience, 0, 0); /* one more turn, in which the goodbye leaves */
        a->down = false;
}

static void on_ignored(uv_signal_t *handle, int number)
{
        (void) handle;
        (void) number;
}

static void watch_signals(struct agent *a)
{
        static const int ignored[] = { SIGINT, SIGHUP,
                SIGPIPE }; /* the keeper's business, or nobody's */

        uv_signal_init(&a->loop, &a->term);
        a->term.data = a;
        uv_signal_start(&a->term, on_term, SIGTERM);
        for (size_t i = 0; i < ARRAY_SIZE(ignored); i++) {
                uv_signal_init(&a->loop, &a->ignored[i]);
                uv_signal_start(&a->ignored[i], on_ignored, ignored[i]);
        }
}

static void init_timer(struct agent *a, uv_timer_t *timer)
{
        uv_timer_init(&a->loop, timer);
        timer->data = a;
}

static int make_directories(struct agent *a, const char *data, struct error *err)
{
        AUTO(mem_freep) char *jobs = NULL;
        AUTO(mem_freep) char *tasks = NULL;
        char *real = realpath(data, NULL);

        if (real == NULL)
                return error_sys(err, errno, "data directory %s", data);
        a->directory = real;
        a->node_directory = mem_printf("%s/node", real);
        jobs = mem_printf("%s/jobs", a->node_directory);
        tasks = mem_printf("%s/tasks", a->node_directory);
        if (file_mkdirs(jobs, 0755, err) < 0 || file_mkdirs(tasks, 0755, err) < 0)
                return -1;
        a->lock = keeper_lock_take(a->node_directory, "lock", 1);
        return a->lock < 0 ? error_sys(err, -a->lock, "lock %s/lock", a->node_directory) : 0;
}

static int know_machine(struct agent *a, struct error *err)
{
        const struct agent_options *o = &a->options;
        struct machine_config config = { .root = "",
                .data = a->directory,
                .name = o->node,
                .zone = o->zone,
                .attributes = (const char *const *) o->attributes,
                .attributes_len = o->attributes_len,
                .cpu = o->cpu,
                .memory = o->memory,
                .disk = o->disk };

        return machine_find(&config, &a->machine, err);
}

static struct vitals *make_vitals(struct agent *a)
{
        AUTO(mem_freep) char *path = mem_printf("%s/vitals", a->node_directory);
        struct vitals_config config = { .loop = &a->loop,
                .path = path,
                .data = a->directory,
                .node = a->options.node,
                .cores = a->machine.cores,
                .table = a->table,
                .tasks = a->tasks,
                .cgroups = a->cgroups,
                .every = a->options.vitals_every,
                .on_looked = on_looked,
                .data_of_looked = a };

        return vitals_new(&config);
}

/* What can be limited here is an attribute, so that jobs can ask for it. */
static int find_cgroups(struct agent *a, struct error *err)
{
        char words[CGROUP_WORDS_MAX];

        a->cgroups = cgroups_new("", a->node_directory, getppid());
        if (cgroups_lack(a->cgroups) != NULL)
                log_info("%s", cgroups_lack(a->cgroups));
        return attributes_set(&a->machine.attributes, ATTRIBUTE_LIMITS,
                cgroup_words(words, cgroups_enforced(a->cgroups)), err);
}

/* Of a server that is not on this machine's UNIX socket. */
static int take_credential(struct agent *a, struct error *err)
{
        struct servers *servers = &a->options.servers;
        struct tls_trust trust = { 0 };
        struct tls_context *tls = NULL; /* for as long as we live */

        if (servers->items[0].is_unix)
                return 0;
        if (credential_read(a->directory, &a->credential, err) < 0)
                return -1;
        a->authorization = mem_printf("Bearer %s", a->credential.secret);
        trust.ca_pem = a->credential.ca;
        if (a->credential.ca != NULL && tls_context_new_client(&trust, &tls, err) < 0)
                return error_wrap(err, "the certificate in %s/credential", a->node_directory);
        for (size_t i = 0; i < servers->len; i++)
                if (servers->items[i].tls)
                        servers->items[i].context = tls;
        return 0;
}

static int open_state(struct agent *a, struct error *err)
{
        AUTO(mem_freep) char *table = mem_printf("%s/table", a->node_directory);
        AUTO(mem_freep) char *outbox = mem_printf("%s/outbox", a->node_directory);
        AUTO(mem_freep) char *staging = mem_printf("%s/staging", a->node_directory);
        AUTO(mem_freep) char *jobs = mem_printf("%s/jobs", a->node_directory);
        const char *const sockets[LOGFORWARD_ENDS] = {
                [LOGFORWARD_SYSLOG] = a->options.syslog_socket,
                [LOGFORWARD_JOURNAL] = a->options.journal_socket,
        };
        struct capture_events events = { .grown = on_grown, .flow = on_flow, .data = a };

        if (table_open(table, &a->table, err) < 0 || fifos_prepare(a->node_directory, err) < 0 ||
                outbox_open(outbox, table_note_seq(a->table), &a->outbox, err) < 0 ||
                capture_new(&a->loop, staging, &events, &a->capture, err) < 0)
                return -1;
        a->specs = specs_new(jobs);
        a->tasks_directory = mem_printf("%s/tasks", a->node_directory);
        a->forward = logforward_new(&a->loop, a->tasks_directory, sockets);
        return 0;
}

static int assemble(struct agent *a, struct error *err)
{
        struct tasks_config tasks = {
                .loop = &a->loop,
                .directory = a->node_directory,
                .node = a->options.node,
                .table = a->table,
                .outbox = a->outbox,
                .specs = a->specs,
                .cgroups = a->cgroups,
                .capture = a->capture,
                .forward = a->forward,
                .on_changed = on_tasks_changed,
                .data = a,
        };
        struct link_config link = {
                .loop = &a->loop,
                .servers = &a->options.servers,
                .authorization = a->authorization,
                .specs = a->specs,
                .outbox = a->outbox,
                .describe_node = describe_node,
                .on_welcome = connect_witness,
                .on_acked = on_acked,
                .on_down = begin_down,
                .on_upgrade = on_upgrade,
                .data = a,
        };

        if (keeper_client_new(&a->loop, &keeper_handlers, a, &a->keeper, err) < 0)
                return -1;
        tasks.keeper = a->keeper;
        a->tasks = tasks_new(&tasks);
        tasks_load(a->tasks);
        link.tasks = a->tasks;
        link.vitals = a->vitals = make_vitals(a);
        a->link = link_new(&link);
        return 0;
}

static int run(struct agent *a, struct error *err)
{
        uv_loop_init(&a->loop);
        uv_prepare_init(&a->loop, &a->turn_end);
        a->turn_end.data = a;
        uv_prepare_start(&a->turn_end, on_turn_end);
        log_defer();
        init_timer(a, &a->retry);
        init_timer(a, &a->sweep);
        init_timer(a, &a->patience);
        init_timer(a, &a->relaunch);
        watch_signals(a);
        if (make_directories(a, a->options.data, err) < 0)
                return -1;
        spawn_init(a->lock);
        if (know_machine(a, err) < 0 || find_cgroups(a, err) < 0 || take_credential(a, err) < 0)
                return -1;
        if (open_state(a, err) < 0 || assemble(a, err) < 0)
                return -1;
        a->sweep_at = a->options.logs_max > 0 ? 0 : UINT64_MAX;
        uv_timer_start(&a->sweep, on_sweep, SWEEP_EVERY_MS, SWEEP_EVERY_MS);
        uv_run(&a->loop, UV_RUN_DEFAULT);
        return 0;
}

int agent_main(int argc, char **argv)
{
        static struct agent a = { .lock = -1, .witness = -1 };
        struct error err = ERROR_INIT;
        int r;

        log_init("agent");
        r = agent_read_options(&a.options, argc, argv);
        if (r >= 0)
                return r;
        if (run(&a, &err) < 0) {
                log_error("%s", err.message);
                return error_code_exit(err.code);
        }
        log_flush();
        _exit(0); /* what is mapped and open is let go of by the kernel, as after a SIGKILL */
}
