/* SPDX-License-Identifier: BSD-3-Clause */
/* Tasks: the hands of core/task on this node.
 *
 * Every change goes one way: an event is given to task_handle() on a copy of the machine; its notes
 * are appended to the outbox; the machine is committed to the slot; then the effects are carried
 * out (signal, spawn, timer, report). A SIGKILL between any two of these is harmless: an outbox
 * entry without its commit is dropped by the next agent, which handles the event again (the keeper
 * tells it again); a commit without its effects is seen in the state: STARTING without a run record
 * is spawned, STOPPING gets its timer.
 *
 * A process is normally the child of our keeper, which reaps it and tells us. After the keeper was
 * killed its former children belong to whoever reaps orphans: those we watch by pidfd (struct
 * orphan), and ask the kernel how they ended.
 *
 * The keeper holds for us, by name: `task/ID`, the FIFOs of a task, so that what is in them
 * outlives everybody who could read it; `witness/ID/RUN`, the pidfd of a process that is not its
 * child, so that the end of it can be read whoever of us is dead then. The number of the run is in
 * the name because a pidfd whose process is gone does not tell whose it was. */
#include "node/task-internal.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "model/variables.h"
#include "node/logsweep.h"
#include "node/pending.h"
#include "node/process.h"

#define SPAWNS_PER_TURN 32 /* then the loop looks after everybody else */

/* ---- queues */

char *task_directory(const struct tasks *ts, const char *id)
{
        return mem_printf("%s/tasks/%s", ts->config.directory, id);
}

static void mark_changed(struct task *t)
{
        struct tasks *ts = t->owner;

        if (t->changed)
                return;
        t->changed = true;
        t->next_changed = NULL;
        *ts->changed_last = t;
        ts->changed_last = &t->next_changed;
        ts->config.on_changed(ts->config.data);
}

struct task *tasks_next_changed(struct tasks *ts)
{
        struct task *t = ts->changed_first;

        if (t == NULL)
                return NULL;
        ts->changed_first = t->next_changed;
        if (ts->changed_first == NULL)
                ts->changed_last = &ts->changed_first;
        t->changed = false;
        return t;
}

static void unlink_changed(struct task *t)
{
        struct tasks *ts = t->owner;
        struct task **at = &ts->changed_first;

        if (!t->changed)
                return;
        while (*at != t)
                at = &(*at)->next_changed;
        *at = t->next_changed;
        if (*at == NULL)
                ts->changed_last = at;
}

static void on_spawner(uv_idle_t *handle);

/* What did its work until now goes before what begins or fails all the time: hundreds of those do
 * not keep it waiting. It cannot come often, since its last run has lasted for `restart.healthy`.
 */
static bool is_urgent(const struct task *t)
{
        const struct task_machine *m = table_machine(t->slot);

        return m->failures == 1 && m->good_run + 1 == m->runs;
}

void task_enqueue_spawn(struct task *t)
{
        struct tasks *ts = t->owner;
        struct task ***end = is_urgent(t) ? &ts->spawn_urgent : &ts->spawn_last;

        assert(!t->spawning);
        t->spawning = true;
        t->next_spawn = **end;
        **end = t;
        if (ts->spawn_last == *end)
                ts->spawn_last = &t->next_spawn;
        *end = &t->next_spawn;
        if (ts->keeper != 0)
                uv_idle_start(&ts->spawner, on_spawner);
}

/* ---- effects */

static uint64_t random_seed(struct tasks *ts)
{
        ts->seed = ts->seed * 6364136223846793005u + 1442695040888963407u; /* Knuth's MMIX */
        return ts->seed;
}

static void on_deadline(uv_timer_t *timer)
{
        task_apply(timer->data, &(struct task_event){ .type = TASK_EV_TIMER });
}

void task_set_timer(struct task *t, const struct task_machine *m)
{
        usec_t now = time_mono();

        if (m->deadline_mono == USEC_NEVER) {
                uv_timer_stop(&t->timer);
                return;
        }
        uv_update_time(t->owner->config.loop);
        uv_timer_start(&t->timer, on_deadline,
                m->deadline_mono > now ? (m->deadline_mono - now + USEC_MSEC - 1) / USEC_MSEC : 0,
                0);
}

/* Notes into the outbox. An exit status that cannot be written down must wait; anything else is
 * told by the state as well. */
static bool write_notes(
        struct task *t, const struct task_effects *effects, bool must, uint64_t *ret_seq)
{
        struct tasks *ts = t->owner;
        struct outbox_mark mark = outbox_mark(ts->config.outbox);
        struct error err = ERROR_INIT;

        for (unsigned i = 0; i < effects->notes_len; i++) {
                char message[sizeof effects->notes[i].message], job[TEXT_NAME_MAX + 1];
                struct event e = {
                        .time = time_wall(),
                        .kind = (int) effects->notes[i].kind,
                        .job = job,
                        .task = t->id,
                        .version = effects->notes[i].version,
                        .run = (int64_t) effects->notes[i].run,
                        .message = message,
                        .failure = (char *) (uintptr_t) effects->notes[i].failure, /* read only */
                        .index = RECORD_NULL,
                };

                memcpy(message, effects->notes[i].message, sizeof message);
                snprintf(job, sizeof job, "%s", table_slot_job(t->slot));
                if (outbox_append(ts->config.outbox, &e, ret_seq, &err) == 0)
                        continue;
                log_error("task %s: \"%s\" is not recorded%s: %s", t->id, message,
                        must ? " yet" : "", err.message);
                if (must) {
                        outbox_rollback(ts->config.outbox, mark); /* all of them again, later */
                        return false;
                }
        }
        if (effects->notes_len > 0)
                ts->config.on_changed(ts->config.data);
        return true;
}

static void forget(struct task *t);
static void halt_on(struct tasks *ts);

void task_take_up_again(struct task *t)
{
        const struct task_machine *m = table_machine(t->slot);

        if (m->halted && !t->owner->halting && (m->state == TASK_QUEUED || m->state == TASK_ENDED))
                task_apply(t, &(struct task_event){
                                      .type = TASK_EV_BOOT, .lapsed = task_boot_lapsed(t) });
}

/* Handles one event; see the essay above. Returns false if nothing happened, because it could not
 * be written down. May free @t (if it is to be forgotten and has ended). */
bool task_apply(struct task *t, struct task_event *event)
{
        struct tasks *ts = t->owner;
        struct task_machine m = *table_machine(t->slot), before;
        struct task_effects effects = { 0 };
        uint64_t seq = 0;
        bool halts, over;

        before = m;
        event->id = t->id;
        task_handle(&m, t->spec->job, event, time_mono(), time_wall(), random_seed(ts), &effects);
        if (effects.failed)
                task_dossier_make(t, &m, event);
        if (!write_notes(t, &effects, event->type == TASK_EV_EXITED, &seq))
                return false;
        table_commit(ts->config.table, t->slot, &m, seq);
        for (unsigned i = 0; i < effects.notes_len; i++)
                log_info("task %s: %s", t->id, effects.notes[i].message);

        over = event->type == TASK_EV_EXITED && m.daemon != TASK_DAEMON_LEFT;
        if (event->type == TASK_EV_EXITED && !over) {
                task_drop_witness(t); /* the command of a daemon: the run goes on */
                task_detach(t);
                task_attach(t, m.pid, -1);
        }
        if (over) {
                task_kill_group(t);
                task_remove_pid_file(t, &before, t->pid);
                task_drop_witness(t);
                task_detach(t);
                if (effects.spawn)
                        task_pass_on_cgroup(t);
                else
                        task_end_cgroup(t);
        }
        if (over || event->type == TASK_EV_SPAWN_FAILED)
                task_health_end(t);
        if (effects.signal == SIGKILL)
                task_kill(t);
        if (effects.signal != 0)
                task_signal(t, &m, effects.signal);
        if (effects.spawn)
                task_enqueue_spawn(t);
        task_set_timer(t, &m);
        task_health_follow(t);
        if (before.daemon != m.daemon)
                task_daemon_follow(t);
        task_sockets_follow(t);
        if (effects.changed && !effects.spawn) /* what it starts is told when it has */
                mark_changed(t);
        if (m.state == TASK_ENDED)
                task_close_streams(t);
        halts = ts->halts_in_order && over;
        if (t->forget && m.state == TASK_ENDED)
                forget(t);
        else
                task_take_up_again(t);
        if (halts)
                halt_on(ts);
        return true;
}

/* ---- starting */

void task_make_run_env(
        const struct task *t, const struct task_machine *m, char *env[RUN_ENV_MAX + 1])
{
        char *const *ports = t->spec->job->resources.ports;
        int n = 0;

        env[n++] = mem_printf("REEVE_JOB=%s", table_slot_job(t->slot));
        env[n++] = mem_printf("REEVE_TASK=%s", t->id);
        env[n++] = mem_printf("REEVE_TASK_INDEX=%u", table_slot_index(t->slot));
        env[n++] = mem_printf("REEVE_RUN=%" PRIu64, m->runs);
        env[n++] = mem_printf("REEVE_VERSION=%u", m->run_version);
        env[n++] = mem_printf("REEVE_NODE=%s", t->owner->config.node);
        if (m->run_fence != 0)
                env[n++] = mem_printf("REEVE_FENCE=%" PRIu64, m->run_fence);
        for (int i = 0; ports != NULL && ports[i] != NULL && i < JOB_PORTS_MAX; i++) {
                AUTO(mem_freep) char *name = variables_port_name(ports[i]);

                env[n++] = mem_printf("%s=%u", name, m->grant.ports[i]);
        }
        env[n] = NULL;
}

struct variables task_variables(const struct task *t, const struct task_machine *m)
{
        return (struct variables){ .job = table_slot_job(t->slot),
                .task = t->id,
                .index = table_slot_index(t->slot),
                .node = t->owner->config.node,
                .port_names = t->spec->job->resources.ports,
                .ports = m->grant.ports };
}

/* Returns 1 if it has to wait for the end of what an earlier run has left. */
static int start_process(struct task *t, const struct task_machine *m, pid_t *ret_pid,
        int *ret_pidfd, struct error *err)
{
        AUTO(mem_freep) char *out = task_fifo_path(t, TASK_STDOUT);
        AUTO(mem_freep) char *errors = task_fifo_path(t, TASK_STDERR);
        AUTO(spawn_plan_expanded_done) struct spawn_plan expanded = { 0 };
        AUTO(cgroup_birth_done) struct cgroup_birth birth = { .fd = -1 };
        AUTO(task_extras_done) struct task_extras extras = { 0 };
        AUTO(fd_closep) int user_namespace = -1;
        struct spawn_plan own;
        char *env[RUN_ENV_MAX + TASK_EXTRA_ENV + 1];
        size_t env_len = 0;
        struct spawn_run run = {
                .number = m->runs,
                .task = t->id,
                .env = env,
                .fifo_paths = { out, errors },
                .witness = t->owner->witness,
                .record = table_run_record(t->slot),
        };
        int r;

        if (spec_plan(t->spec, &run.plan, err) < 0)
                return -1;
        if (run.plan->sandbox != NULL) {
                own = *run.plan;
                task_identify(t, t->spec->job, &own);
                run.plan = &own;
        }
        if (task_open_streams(t, err) < 0 || task_check_spare(t, err) < 0) {
                task_close_streams(t); /* others may need the descriptors while it waits */
                return -1;
        }
        r = task_begin_cgroup(t, &birth, err);
        if (r != 0)
                return r;
        run.cgroup_fd = birth.fd;
        run.cgroup_procs = birth.procs;
        for (int i = 0; i < TASK_STREAMS; i++) {
                capture_stream_set_run(t->streams[i], (uint32_t) m->runs);
                run.fifos[i] = capture_stream_get_fifo(t->streams[i]);
                if (t->spec->job->ready.log != NULL &&
                        capture_stream_size(t->streams[i], &run.log_begin[i], err) < 0)
                        return -1;
                if (run.plan->change_user &&
                        chown(run.fifo_paths[i], run.plan->uid, run.plan->gid) < 0)
                        log_warning("task %s: owner of %s: %s", t->id, run.fifo_paths[i],
                                strerror(errno));
        }
        if (task_health_prepare(t, m, &extras, err) < 0)
                return -1;
        task_sockets_prepare(t, &extras);
        if (run.plan->sandbox != NULL) {
                if (task_begin_sandbox(t, run.plan, &extras, &run.sandbox, err) < 0)
                        return -1;
                user_namespace = run.sandbox.user_namespace;
        }
        run.pass = extras.pass;
        run.pass_len = extras.pass_len;
        run.listen_pid = extras.listen_pid;
        if (run.plan->has_variables || t->spec->job->env_files != NULL) {
                struct variables values = task_variables(t, m);

                spawn_plan_expand(run.plan, &values, &expanded);
                run.plan = &expanded;
                if (t->spec->job->env_files != NULL &&
                        spawn_plan_read_files(&expanded, t->spec->job->env_files, &values, err) < 0)
                        return -1;
        }
        task_make_run_env(t, m, env);
        while (env[env_len] != NULL)
                env_len++;
        memcpy(env + env_len, extras.env, extras.env_len * sizeof *env);
        env[env_len + extras.env_len] = NULL;
        r = spawn_run(&run, ret_pid, ret_pidfd, err);
        for (size_t i = 0; i < env_len; i++)
                free(env[i]);
        return r;
}

/* It was asked to stop while it stood in the queue. */
static void never_began(struct task *t)
{
        task_end_cgroup(t); /* one may have been passed on to it */
        task_apply(t, &(struct task_event){
                              .type = TASK_EV_SPAWN_FAILED,
                              .message = "it was asked to stop before it began",
                      });
}

static void spawn(struct task *t)
{
        const struct task_machine *m = table_machine(t->slot);
        struct error err = ERROR_INIT;
        pid_t pid;
        int pidfd, r;

        if (!m->desire.run || m->halted || m->lapsed || t->owner->halting) {
                never_began(t);
                return;
        }
        if (task_take_over(t)) {
                task_end_cgroup(t); /* as above */
                return;
        }
        if (task_sockets_open(t, &err) < 0) {
                task_end_cgroup(t);
                task_apply(t, &(struct task_event){ .type = TASK_EV_SPAWN_FAILED,
                                      .unmet = true,
                                      .message = err.message });
                return;
        }
        r = start_process(t, m, &pid, &pidfd, &err);
        if (r > 0)
                return; /* it comes again */
        if (r < 0) {
                task_end_cgroup(t);
                task_apply(t, &(struct task_event){
                                      .type = TASK_EV_SPAWN_FAILED, .message = err.message });
                return;
        }
        task_attach(t, pid, pidfd);
        if (t->owner->keeper == KEEPER_GONE)
                task_watch_orphan(t);
        task_watch(t);
        task_apply(t, &(struct task_event){ .type = TASK_EV_SPAWNED, .pid = pid });
        task_write_pid_file(t);
}

static void on_spawner(uv_idle_t *handle)
{
        struct tasks *ts = handle->data;
        int n = 0;

        /* the keeper is woken once for all of them; what fails here fails again at the start, which
         * says so */
        for (struct task *t = ts->spawn_first; t != NULL && n < SPAWNS_PER_TURN;
                t = t->next_spawn, n++)
                task_open_streams(t, NULL);
        for (int i = 0; i < n; i++) {
                struct task *t = ts->spawn_first;

                ts->spawn_first = t->next_spawn;
                if (ts->spawn_first == NULL)
                        ts->spawn_last = &ts->spawn_first;
                if (ts->spawn_first == NULL || ts->spawn_urgent == &t->next_spawn)
                        ts->spawn_urgent = &ts->spawn_first;
                t->spawning = false;
                spawn(t);
        }
        if (ts->spawn_first == NULL)
                uv_idle_stop(&ts->spawner);
}

void tasks_set_witness(struct tasks *ts, int witness)
{
        ts->witness = witness;
        sockets_set_witness(ts->sockets, witness);
}

void tasks_start_spawner(struct tasks *ts)
{
        if (ts->spawn_first != NULL)
                uv_idle_start(&ts->spawner, on_spawner);
}

/* ---- coming and going */

static void open_dossiers(struct tasks *ts)
{
        AUTO(mem_freep) char *path = mem_printf("%s/dossiers", ts->config.directory);
        struct error err = ERROR_INIT;

        if (pending_open(path, &ts->dossiers, &err) < 0)
                log_debug("dossiers are written at once: %s", err.message);
}

struct tasks *tasks_new(const struct tasks_config *config)
{
        struct tasks *ts = mem_alloc(sizeof *ts);

        ts->config = *config;
        ts->spawn_last = ts->spawn_urgent = &ts->spawn_first;
        ts->changed_last = &ts->changed_first;
        ts->witness = -1;
        ts->seed = time_mono() ^ (uint64_t) getpid() << 32;
        uv_idle_init(config->loop, &ts->spawner);
        uv_timer_init(config->loop, &ts->lease);
        uv_timer_init(config->loop, &ts->reaper);
        tasks_watch_init(ts);
        open_dossiers(ts);
        tasks_sockets_init(ts);
        ts->spawner.data = ts->lease.data = ts->reaper.data = ts;
        ts->handles = 4;
        return ts;
}

static void on_timer_closed(uv_handle_t *handle)
{
        free(handle->data);
}

/* Takes the task out of everything and frees it; the process, if any, runs on. */
static void discard(struct task *t)
{
        struct tasks *ts = t->owner;

        assert(!t->spawning);
        task_health_free(t);
        task_daemon_free(t);
        task_sockets_free(t);
        task_detach(t);
        task_leave_remains(t);
        unlink_changed(t);
        for (int i = 0; i < TASK_STREAMS; i++)
                capture_stream_close(t->streams[i]);
        t->spec = specs_put(ts->config.specs, t->spec);
        HASH_DELETE(hh, ts->by_id, t);
        uv_close((uv_handle_t *) &t->timer, on_timer_closed);
}

static void on_handle_closed(uv_handle_t *handle)
{
        struct tasks *ts = handle->data;

        if (--ts->handles > 0)
                return;
        buffer_done(&ts->last_reports);
        pending_close(ts->dossiers);
        free(ts);
}

void tasks_free(struct tasks *ts)
{
        struct task *t, *next;

        if (ts == NULL)
                return;
        HASH_ITER (hh, ts->by_id, t, next) {
                if (t->spec != NULL)
                        t->spec->refs++; /* the next agent needs the file */
                t->spawning = false;
                discard(t);
        }
        sockets_free(ts->sockets);
        uv_close((uv_handle_t *) &ts->spawner, on_handle_closed);
        uv_close((uv_handle_t *) &ts->lease, on_handle_closed);
        uv_close((uv_handle_t *) &ts->reaper, on_handle_closed);
        uv_close((uv_handle_t *) &ts->watcher, on_handle_closed);
}

static void put_report(const struct task *t, const struct task_machine *m, struct buffer *out);

static void tell_end(struct task *t)
{
        struct tasks *ts = t->owner;
        struct task_machine m = *table_machine(t->slot);

        m.state = TASK_ENDED; /* one whose spec is lost could not come to that */
        if (ts->last_reports.len > 0)
                buffer_putc(&ts->last_reports, ',');
        put_report(t, &m, &ts->last_reports);
        ts->config.on_changed(ts->config.data);
}

static void forget(struct task *t)
{
        struct tasks *ts = t->owner;
        AUTO(mem_freep) char *directory = task_directory(ts, t->id);
        struct error err = ERROR_INIT;

        if (t->tell_end)
                tell_end(t);
        tasks_write_dossiers(ts); /* none comes behind the folder's end */
        task_close_streams(t);
        task_remove_fifos(t);
        if (t->spec != NULL)
                logsweep_keep(directory, t->spec->job->logs.keep);
        table_drop(ts->config.table, t->slot);
        if (t->purge && file_remove_tree(directory, &err) < 0)
                log_warning("logs of task %s: %s", t->id, err.message);
        rmdir(directory); /* when it never wrote anything */
        log_debug("task %s: forgotten", t->id);
        discard(t);
}

struct task *task_add(struct tasks *ts, struct table_slot *slot)
{
        char id[TASK_ID_MAX];
        struct task *t;

        snprintf(id, sizeof id, "%s.%u", table_slot_job(slot), table_slot_index(slot));
        t = mem_alloc(sizeof *t + strlen(id) + 1);
        strcpy(t->id, id); /* NOLINT: it was measured */
        t->owner = ts;
        t->slot = slot;
        t->pidfd = -1;
        uv_timer_init(ts->config.loop, &t->timer);
        t->timer.data = t;
        HASH_ADD_STR(ts->by_id, id, t);
        return t;
}

/* ---- what the server wants */

static int create(struct tasks *ts, const char *job, uint32_t index, struct spec *spec,
        struct task **ret, struct error *err)
{
        struct task_machine m;
        struct table_slot *slot;
        struct task *t;

        if (table_take(ts->config.table, job, index, &slot, err) < 0)
                return -1;
        t = task_add(ts, slot);
        t->spec = spec;
        task_machine_init(&m, time_wall());
        table_commit(ts->config.table, slot, &m, 0);
        *ret = t;
        return 0;
}

static void change_spec(struct task *t, struct spec *spec, const struct task_desire *desire)
{
        specs_put(t->owner->config.specs, t->spec);
        t->spec = spec;
        task_configure_streams(t);
        if (desire->restart_version <= table_machine(t->slot)->run_version)
                task_change_limits(t);
        task_watch(t);
}

int tasks_desire(struct tasks *ts, const char *job, uint32_t index,
        const struct task_desire *desire, const struct task_grant *grant, struct error *err)
{
        struct task_event event = { .type = TASK_EV_DESIRE, .desire = *desire, .grant = *grant };
        char id[TASK_ID_MAX];
        struct spec *spec;
        struct task *t;
        bool unjudged;

        snprintf(id, sizeof id, "%s.%u", job, index);
        if (specs_get(ts->config.specs, job, desire->version, &spec, err) < 0)
                return -1;
        t = tasks_find(ts, id);
        unjudged = t != NULL && t->spec == NULL; /* loaded without its spec */
        if (t == NULL) {
                if (create(ts, job, index, spec, &t, err) < 0) {
                        specs_put(ts->config.specs, spec);
                        return error_wrap(err, "create task %s", id);
                }
        } else if (t->spec == spec) {
                specs_put(ts->config.specs, spec); /* it holds one already */
        } else {
                change_spec(t, spec, desire);
        }
        if (unjudged)
                task_judge(t);
        if (unjudged && ts->halting)
                task_apply(t, &(struct task_event){ .type = TASK_EV_HALT });
        t->forget = t->purge = t->tell_end = false;
        t->confirmed = desire->run;
        event.lapsed = task_lease_lapsed(t, &event.kill_mono);
        task_apply(t, &event);
        if (spec->job->singleton)
                tasks_watch_leases(ts);
        return 0;
}

void tasks_forget(struct tasks *ts, const char *id, bool purge_logs)
{
        struct task *t = tasks_find(ts, id);
        struct task_event event = { .type = TASK_EV_DESIRE };

        if (t == NULL)
                return;
        t->forget = true;
        t->purge = purge_logs;
        t->tell_end = table_machine(t->slot)->state != TASK_ENDED || t->changed;
        event.desire = table_machine(t->slot)->desire;
        event.desire.run = false;
        event.grant = table_machine(t->slot)->grant;
        if (t->spec != NULL)
                task_apply(t, &event);
        else if (table_machine(t->slot)->pid <= 0)
                forget(t);
}

void tasks_take_last_reports(struct tasks *ts, struct buffer *out)
{
        if (ts->last_reports.len > 0 && out != NULL)
                buffer_put(out, ts->last_reports.data, ts->last_reports.len);
        buffer_reset(&ts->last_reports);
}

void tasks_drain(struct tasks *ts)
{
        struct task *t, *next;

        HASH_ITER (hh, ts->by_id, t, next)
                task_drain_streams(t);
}

void tasks_each(struct tasks *ts, void (*each)(void *data, struct task *t), void *data)
{
        struct task *t, *next;

        HASH_ITER (hh, ts->by_id, t, next)
                each(data, t);
}

struct task *tasks_find(struct tasks *ts, const char *id)
{
        struct task *t;

        HASH_FIND_STR(ts->by_id, id, t);
        return t;
}

/* A name that stands in `after` of a task whose process is there. */
struct awaited {
        const char *name; /* borrowed from the spec */
        UT_hash_handle hh;
};

static void add_awaited(const struct task *t, struct awaited **all)
{
        const struct job_spec *spec = t->spec->job;

        for (size_t i = 0; i < spec->after_len; i++) {
                struct awaited *a;

                HASH_FIND_STR(*all, spec->after[i].name, a);
                if (a != NULL)
                        continue;
                a = mem_alloc(sizeof *a);
                a->name = spec->after[i].name;
                HASH_ADD_KEYPTR(hh, *all, a->name, strlen(a->name), a);
        }
}

static bool is_awaited(const struct task *t, struct awaited *all)
{
        const char *job = table_slot_job(t->slot);
        struct awaited *a;

        HASH_FIND_STR(all, job, a);
        if (a == NULL)
                HASH_FIND_STR(all, t->id, a);
        return a != NULL;
}

static bool is_there(const struct task *t)
{
        return t->pid != 0 || table_machine(t->slot)->state == TASK_STARTING;
}

/* Ends those that nobody who is there comes after. Returns how many are left to be told. */
static size_t halt_some(struct tasks *ts)
{
        struct awaited *all = NULL, *a, *after;
        struct task *t, *next;
        size_t left = 0, going = 0;

        HASH_ITER (hh, ts->by_id, t, next)
                if (t->spec != NULL && is_there(t))
                        add_awaited(t, &all);
        HASH_ITER (hh, ts->by_id, t, next) {
                if (t->spec == NULL || table_machine(t->slot)->halted) {
                        going += is_there(t);
                        continue;
                }
                if (is_there(t) && is_awaited(t, all)) {
                        left++;
                        continue;
                }
                task_apply(t, &(struct task_event){ .type = TASK_EV_HALT });
                going++;
        }
        HASH_ITER (hh, all, a, after) {
                HASH_DEL(all, a);
                free(a);
        }
        return going > 0 ? left : 0;
}

static void halt_rest(struct tasks *ts)
{
        struct task *t, *next;

        HASH_ITER (hh, ts->by_id, t, next)
                if (t->spec != NULL && !table_machine(t->slot)->halted)
                        task_apply(t, &(struct task_event){ .type = TASK_EV_HALT });
}

/* In the reverse of the order in which jobs begin; those that come after each other all the same,
 * by specs of different times, at last all at once. */
static void halt_on(struct tasks *ts)
{
        ts->halts_in_order = false; /* not from within */
        if (halt_some(ts) > 0)
                ts->halts_in_order = true;
        else
                halt_rest(ts);
}

void tasks_halt(struct tasks *ts)
{
        ts->halting = true;
        table_set_going_down(ts->config.table);
        halt_on(ts);
}

bool tasks_any_process(const struct tasks *ts)
{
        return ts->processes > 0 || ts->spawn_first != NULL;
}

void task_note_flow(struct task *t, const struct capture_stream *stream, enum capture_flow flow,
        const struct error *why)
{
        const char *name = stream == t->streams[TASK_STDERR] ? "stderr" : "stdout";
        struct task_effects effects = { .notes_len = 1 };
        struct task_note *note = &effects.notes[0];
        struct task_machine m = *table_machine(t->slot);
        uint64_t seq = 0;

        note->kind = EVENT_TASK_LOGS;
        note->run = m.runs;
        note->version = m.run_version;
        switch (flow) {
        case CAPTURE_FLOWING:
                snprintf(note->message, sizeof note->message, "%s is captured again", name);
                break;
        case CAPTURE_BLOCKED:
                snprintf(note->message, sizeof note->message,
                        "%s waits until its log can be written: %.150s", name, why->message);
                break;
        case CAPTURE_DROPPING:
                snprintf(note->message, sizeof note->message, "%s is thrown away: %.150s", name,
                        why->message);
                break;
        }
        log_warning("task %s: %s", t->id, note->message);
        write_notes(t, &effects, false, &seq);
        table_commit(t->owner->config.table, t->slot, &m, seq);
}

/* "http=20001 admin=20002"; empty if it has none. */
static struct buffer format_ports(const struct task *t, const struct task_machine *m)
{
        char *const *names = t->spec != NULL ? t->spec->job->resources.ports : NULL;
        struct buffer text = { 0 };

        for (int i = 0; names != NULL && names[i] != NULL && i < JOB_PORTS_MAX; i++)
                if (m->grant.ports[i] != 0)
                        buffer_printf(
                                &text, "%s%s=%u", i > 0 ? " " : "", names[i], m->grant.ports[i]);
        return text;
}

static void put_report(const struct task *t, const struct task_machine *m, struct buffer *out)
{
        char id[TASK_ID_MAX], job[TEXT_NAME_MAX + 1], reason[TASK_REASON_MAX];
        char said[TASK_STATUS_MAX];
        AUTO(buffer_done) struct buffer ports = format_ports(t, m);
        struct task_status status = {
                .id = id,
                .job = job,
                .index = table_slot_index(t->slot),
                .version = task_version(m),
                .state = (int) m->state,
                .ready = task_is_ready(m),
                .healthy = !m->unhealthy,
                .result = m->result,
                .pid = task_pid(m) > 0 ? task_pid(m) : RECORD_NULL,
                .runs = (int64_t) m->runs,
                .restarts = (int64_t) m->restarts,
                .exit_code = m->exit_code >= 0 ? m->exit_code : RECORD_NULL,
                .signal = m->signal,
                .reason = reason,
                .since = m->since_wall,
                .next_run_at = m->next_run_wall,
                .started_at = m->started_wall,
                .log_bytes = RECORD_NULL,
                .ports = ports.len > 0 ? ports.data : NULL,
                .fence = m->grant.fence > 0 ? (int64_t) m->grant.fence : RECORD_NULL,
                .status = m->status[0] != '\0' ? said : NULL,
        };

        snprintf(said, sizeof said, "%s", m->status);
        snprintf(id, sizeof id, "%s", t->id);
        snprintf(job, sizeof job, "%s", table_slot_job(t->slot));
        snprintf(reason, sizeof reason, "%s", m->reason);
        record_write_short(&task_table, &status, out);
        assert(out->data[out->len - 1] == '}');
        out->len--; /* the object goes on */
        buffer_printf(out,
                ",\"desire\":{\"run\":%s,\"version\":%u,\"restart_version\":%u,\"generation\":"
                "%" PRIu64 "},\"parked\":%s}",
                m->desire.run ? "true" : "false", m->desire.version, m->desire.restart_version,
                m->desire.generation, m->parked ? "true" : "false");
}

void task_report(const struct task *t, struct buffer *out)
{
        put_report(t, table_machine(t->slot), out);
}

static void put_amount(struct buffer *out, const char *name, uint64_t amount)
{
        if (amount > 0)
                buffer_printf(out, "%s\"%s\":%" PRIu64, out->data[out->len - 1] == '{' ? "" : ",",
                        name, amount);
}

void task_report_all(const struct task *t, struct buffer *out)
{
        const struct job_spec *spec = t->spec != NULL ? t->spec->job : NULL;

        task_report(t, out);
        if (spec == NULL)
                return;
        out->len--;
        buffer_puts(out, ",\"holds\":{");
        put_amount(out, "cpu", spec->resources.cpu);
        put_amount(out, "memory", spec->resources.memory);
        put_amount(out, "disk", spec->resources.disk);
        if (spec->place.exclusive != NULL) /* a name: nothing in it is to be escaped */
                buffer_printf(out, "%s\"exclusive\":\"%s\"",
                        out->data[out->len - 1] == '{' ? "" : ",", spec->place.exclusive);
        buffer_puts(out, "}}");
}
