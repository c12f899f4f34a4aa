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
#include "node/task.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "keeper/launch.h"
#include "node/process.h"

#define KEEPER_GONE     ((pid_t) -1)
#define SPAWNS_PER_TURN 32 /* then the loop looks after everybody else */

static const char *const stream_names[TASK_STREAMS] = { "stdout", "stderr" };

struct tasks {
        struct tasks_config config;
        struct task *by_id;
        struct task *by_pid; /* a pid may stand here twice: what has ended is not yet told */
        pid_t keeper;        /* 0: not begun; KEEPER_GONE */
        bool halting;
        uint64_t seed;
        uv_idle_t spawner; /* active while the queue is not empty */
        struct task *spawn_first, **spawn_last;
        struct task *changed_first, **changed_last;
        size_t processes;
};

/* Waits for the end of a process that is somebody else's child. */
struct orphan {
        struct task *task; /* NULL: given up, closing */
        uv_poll_t poll;
        uv_timer_t retry;
        uint64_t delay_ms;
        unsigned open_handles;
};

#define ORPHAN_RETRY_MIN_MS 2
#define ORPHAN_RETRY_MAX_MS 250

static bool apply(struct task *t, struct task_event *event);

/* ---- names and paths */

char *task_directory(const struct tasks *ts, const char *id)
{
        return mem_printf("%s/tasks/%s", ts->config.directory, id);
}

static char *fifo_path(const struct task *t, enum task_stream stream)
{
        return mem_printf(
                "%s/fifos/%s.%s", t->owner->config.directory, t->id, stream_names[stream]);
}

static void deposit_name(char name[KEEPER_NAME_MAX], const char *kind, const char *id)
{
        snprintf(name, KEEPER_NAME_MAX, "%s/%s", kind, id);
}

/* ---- queues */

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

static void enqueue_spawn(struct task *t)
{
        struct tasks *ts = t->owner;

        assert(!t->spawning);
        t->spawning = true;
        t->next_spawn = NULL;
        *ts->spawn_last = t;
        ts->spawn_last = &t->next_spawn;
        if (ts->keeper != 0)
                uv_idle_start(&ts->spawner, on_spawner);
}

/* ---- a process that is there */

static uint64_t random_seed(struct tasks *ts)
{
        ts->seed = ts->seed * 6364136223846793005u + 1442695040888963407u; /* Knuth's MMIX */
        return ts->seed;
}

static void attach(struct task *t, pid_t pid, int pidfd)
{
        assert(t->pidfd < 0);
        t->pidfd = pidfd;
        if (t->pid == 0) {
                t->pid = pid;
                HASH_ADD(hh_pid, t->owner->by_pid, pid, sizeof t->pid, t);
                t->owner->processes++;
        }
}

static void on_orphan_closed(uv_handle_t *handle)
{
        struct orphan *o = handle->data;

        if (--o->open_handles == 0)
                free(o);
}

static void orphan_drop(struct task *t)
{
        struct orphan *o = t->orphan;

        if (o == NULL)
                return;
        t->orphan = NULL;
        o->task = NULL;
        uv_close((uv_handle_t *) &o->poll, on_orphan_closed);
        uv_close((uv_handle_t *) &o->retry, on_orphan_closed);
}

static void witness_name(char name[KEEPER_NAME_MAX], const char *id, uint64_t run)
{
        snprintf(name, KEEPER_NAME_MAX, "witness/%s/%" PRIu64, id, run);
}

static void witness_put(struct task *t)
{
        uint64_t run = table_machine(t->slot)->runs;
        char name[KEEPER_NAME_MAX];

        if (t->owner->keeper <= 0 || t->witness == run)
                return;
        witness_name(name, t->id, run);
        keeper_client_put(t->owner->config.keeper, name, &t->pidfd, 1);
        t->witness = run;
}

/* The end of that run is written down. */
static void witness_drop(struct task *t)
{
        char name[KEEPER_NAME_MAX];

        if (t->witness == 0)
                return;
        witness_name(name, t->id, t->witness);
        keeper_client_drop(t->owner->config.keeper, name);
        t->witness = 0;
}

static void detach(struct task *t)
{
        orphan_drop(t);
        if (t->pid != 0) {
                HASH_DELETE(hh_pid, t->owner->by_pid, t);
                t->pid = 0;
                t->owner->processes--;
        }
        if (t->pidfd >= 0)
                close(take_fd(t->pidfd));
}

/* The run ended: first its last log bytes, then the news. */
static bool handle_end(struct task *t, struct task_event *event)
{
        for (int i = 0; i < TASK_STREAMS; i++)
                if (t->streams[i] != NULL)
                        capture_stream_drain(
                                t->streams[i], NULL); /* what a full disk keeps back is tried on */
        event->type = TASK_EV_EXITED;
        return apply(t, event);
}

static bool handle_wait_status(struct task *t, int status)
{
        struct task_event event = { .known = true, .exit_code = -1 };

        if (WIFEXITED(status))
                event.exit_code = WEXITSTATUS(status);
        else
                event.signal = WTERMSIG(status);
        return handle_end(t, &event);
}

static bool handle_unknown_end(struct task *t)
{
        struct task_event event = { .known = false, .exit_code = -1 };

        return handle_end(t, &event);
}

/* Returns false if it is not over, or could not be written down. */
static bool orphan_judge(struct task *t)
{
        const struct table_run *record = table_run_record(t->slot);
        int status;

        switch (process_ended(t->pidfd, record, &status)) {
        case PROCESS_END_NOT_YET:
                return false;
        case PROCESS_END_KNOWN:
                kill(-record->pid, SIGKILL); /* what is left of its group */
                return handle_wait_status(t, status);
        case PROCESS_END_UNKNOWN:
                kill(-record->pid, SIGKILL);
                return handle_unknown_end(t);
        }
        return false;
}

static void on_orphan_retry(uv_timer_t *timer)
{
        struct orphan *o = timer->data;

        if (o->task == NULL || orphan_judge(o->task))
                return;
        o->delay_ms = MIN(o->delay_ms * 2, (uint64_t) ORPHAN_RETRY_MAX_MS);
        uv_timer_start(&o->retry, on_orphan_retry, o->delay_ms, 0);
}

static void on_orphan_poll(uv_poll_t *poll, int status, int events)
{
        struct orphan *o = poll->data;

        (void) status;
        (void) events;
        uv_poll_stop(poll); /* a pidfd stays readable */
        on_orphan_retry(&o->retry);
}

static void orphan_watch(struct task *t)
{
        struct orphan *o = mem_alloc(sizeof *o);
        uv_loop_t *loop = t->owner->config.loop;
        int r;

        o->task = t;
        o->delay_ms = ORPHAN_RETRY_MIN_MS;
        o->poll.data = o->retry.data = o;
        uv_timer_init(loop, &o->retry);
        r = uv_poll_init(loop, &o->poll, t->pidfd);
        assert(r == 0);
        o->open_handles = 2;
        t->orphan = o;
        uv_poll_start(&o->poll, UV_READABLE, on_orphan_poll);
}

bool tasks_record(struct tasks *ts, const struct keeper_record *record)
{
        struct task_event event = { .known = true, .exit_code = -1 };
        struct task *t = NULL;

        for (t = ts->by_pid; t != NULL; t = t->hh_pid.next)
                if (t->pid == record->pid &&
                        (record->start_ticks == 0 ||
                                process_matches(table_run_record(t->slot), record->start_ticks)))
                        break;
        if (t == NULL)
                return true; /* an orphan that the keeper adopted, or a child that could not execute
                                its program */
        if (t->spec == NULL)
                return false; /* what to do next is decided when the server has told the spec again
                               */
        event.ended_mono = record->end_mono;
        if (record->code == CLD_EXITED)
                event.exit_code = record->status;
        else
                event.signal = record->status;
        return handle_end(t, &event);
}

/* ---- effects */

static void on_deadline(uv_timer_t *timer)
{
        apply(timer->data, &(struct task_event){ .type = TASK_EV_TIMER });
}

static void set_timer(struct task *t, const struct task_machine *m)
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
                        .index = RECORD_NULL,
                };

                memcpy(message, effects->notes[i].message, sizeof message);
                snprintf(job, sizeof job, "%s", table_slot_job(t->slot));
                if (outbox_append(ts->config.outbox, &e, ret_seq, &err) == 0)
                        continue;
                log_error("task %s: \"%s\" is not recorded%s: %s", t->id, message,
                        must ? " yet" : "", err.message);
                if (must)
                        return false;
        }
        if (effects->notes_len > 0)
                ts->config.on_changed(ts->config.data);
        return true;
}

static void forget(struct task *t);

/* Handles one event; see the essay above. Returns false if nothing happened, because it could not
 * be written down. May free @t (if it is to be forgotten and has ended). */
static bool apply(struct task *t, struct task_event *event)
{
        struct tasks *ts = t->owner;
        struct task_machine m = *table_machine(t->slot);
        struct task_effects effects = { 0 };
        uint64_t seq = 0;

        event->id = t->id;
        task_handle(&m, t->spec->job, event, time_mono(), time_wall(), random_seed(ts), &effects);
        if (!write_notes(t, &effects, event->type == TASK_EV_EXITED, &seq))
                return false;
        table_commit(ts->config.table, t->slot, &m, seq);
        for (unsigned i = 0; i < effects.notes_len; i++)
                log_info("task %s: %s", t->id, effects.notes[i].message);

        if (event->type == TASK_EV_EXITED) {
                witness_drop(t);
                detach(t);
        }
        if (effects.signal != 0 && t->pidfd >= 0)
                process_signal_group(t->pidfd, m.pid, effects.signal);
        if (effects.spawn)
                enqueue_spawn(t);
        set_timer(t, &m);
        if (effects.changed)
                mark_changed(t);
        if (t->forget && m.state == TASK_ENDED)
                forget(t);
        return true;
}

/* ---- starting */

#define RUN_ENV_LEN 6

static void make_run_env(
        const struct task *t, const struct task_machine *m, char *env[RUN_ENV_LEN + 1])
{
        int n = 0;

        env[n++] = mem_printf("REEVE_JOB=%s", table_slot_job(t->slot));
        env[n++] = mem_printf("REEVE_TASK=%s", t->id);
        env[n++] = mem_printf("REEVE_TASK_INDEX=%u", table_slot_index(t->slot));
        env[n++] = mem_printf("REEVE_RUN=%" PRIu64, m->runs);
        env[n++] = mem_printf("REEVE_VERSION=%u", m->run_version);
        env[n++] = mem_printf("REEVE_NODE=%s", t->owner->config.node);
        env[n] = NULL;
}

static int start_process(struct task *t, const struct task_machine *m, pid_t *ret_pid,
        int *ret_pidfd, struct error *err)
{
        AUTO(mem_freep) char *out = fifo_path(t, TASK_STDOUT);
        AUTO(mem_freep) char *errors = fifo_path(t, TASK_STDERR);
        const char *const fifos[2] = { out, errors };
        char *env[RUN_ENV_LEN + 1];
        const struct spawn_plan *plan;
        int r;

        if (spec_plan(t->spec, &plan, err) < 0)
                return -1;
        for (int i = 0; i < TASK_STREAMS; i++) {
                capture_stream_set_run(t->streams[i], (uint32_t) m->runs);
                if (plan->change_user && chown(fifos[i], plan->uid, plan->gid) < 0)
                        log_warning("task %s: owner of %s: %s", t->id, fifos[i], strerror(errno));
        }
        make_run_env(t, m, env);
        r = spawn_run(
                plan, m->runs, env, fifos, table_run_record(t->slot), ret_pid, ret_pidfd, err);
        for (int i = 0; i < RUN_ENV_LEN; i++)
                free(env[i]);
        return r;
}

/* It was asked to stop while it stood in the queue. */
static void never_began(struct task *t)
{
        apply(t, &(struct task_event){
                         .type = TASK_EV_SPAWN_FAILED,
                         .message = "it was asked to stop before it began",
                 });
}

static void spawn(struct task *t)
{
        const struct task_machine *m = table_machine(t->slot);
        struct error err = ERROR_INIT;
        pid_t pid;
        int pidfd;

        if (!m->desire.run || t->owner->halting) {
                never_began(t);
                return;
        }
        if (start_process(t, m, &pid, &pidfd, &err) < 0) {
                apply(t, &(struct task_event){
                                 .type = TASK_EV_SPAWN_FAILED, .message = err.message });
                return;
        }
        attach(t, pid, pidfd);
        if (t->owner->keeper == KEEPER_GONE)
                orphan_watch(t);
        apply(t, &(struct task_event){ .type = TASK_EV_SPAWNED, .pid = pid });
}

static void on_spawner(uv_idle_t *handle)
{
        struct tasks *ts = handle->data;

        for (int i = 0; i < SPAWNS_PER_TURN && ts->spawn_first != NULL; i++) {
                struct task *t = ts->spawn_first;

                ts->spawn_first = t->next_spawn;
                if (ts->spawn_first == NULL)
                        ts->spawn_last = &ts->spawn_first;
                t->spawning = false;
                spawn(t);
        }
        if (ts->spawn_first == NULL)
                uv_idle_stop(&ts->spawner);
}

/* ---- coming and going */

struct tasks *tasks_new(const struct tasks_config *config)
{
        struct tasks *ts = mem_alloc(sizeof *ts);

        ts->config = *config;
        ts->spawn_last = &ts->spawn_first;
        ts->changed_last = &ts->changed_first;
        ts->seed = time_mono() ^ (uint64_t) getpid() << 32;
        uv_idle_init(config->loop, &ts->spawner);
        ts->spawner.data = ts;
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
        detach(t);
        unlink_changed(t);
        for (int i = 0; i < TASK_STREAMS; i++)
                capture_stream_close(t->streams[i]);
        t->spec = specs_put(ts->config.specs, t->spec);
        HASH_DELETE(hh, ts->by_id, t);
        uv_close((uv_handle_t *) &t->timer, on_timer_closed);
}

static void on_spawner_closed(uv_handle_t *handle)
{
        free(handle->data);
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
        uv_close((uv_handle_t *) &ts->spawner, on_spawner_closed);
}

static void forget(struct task *t)
{
        struct tasks *ts = t->owner;
        AUTO(mem_freep) char *directory = task_directory(ts, t->id);
        char name[KEEPER_NAME_MAX];
        struct error err = ERROR_INIT;

        for (int i = 0; i < TASK_STREAMS; i++) {
                AUTO(mem_freep) char *path = fifo_path(t, (enum task_stream) i);

                unlink(path);
        }
        deposit_name(name, "task", t->id);
        keeper_client_drop(ts->config.keeper, name);
        table_drop(ts->config.table, t->slot);
        if (t->purge && file_remove_tree(directory, &err) < 0)
                log_warning("logs of task %s: %s", t->id, err.message);
        rmdir(directory); /* when it never wrote anything */
        log_debug("task %s: forgotten", t->id);
        discard(t);
}

static int open_fifo(const char *path, struct error *err)
{
        int fd;

        if (mkfifo(path, 0600) < 0 && errno != EEXIST)
                return error_sys(err, errno, "make %s", path);
        /* read-write: there is always a writer, so never an end of file */
        fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
        return fd < 0 ? error_sys(err, errno, "open %s", path) : fd;
}

static enum capture_when_full when_full_of(const struct job_spec *spec)
{
        return spec->logs.when_full == LOGS_DROP ? CAPTURE_FULL_DROP : CAPTURE_FULL_BLOCK;
}

/* Opens the FIFOs, has the keeper hold them, begins to capture. */
static int open_streams(struct task *t, struct error *err)
{
        struct tasks *ts = t->owner;
        AUTO(mem_freep) char *directory = task_directory(ts, t->id);
        char name[KEEPER_NAME_MAX];
        int fds[TASK_STREAMS];

        for (int i = 0; i < TASK_STREAMS; i++) {
                AUTO(mem_freep) char *path = fifo_path(t, (enum task_stream) i);
                struct capture_stream_config config = {
                        .directory = directory,
                        .name = stream_names[i],
                        .run = (uint32_t) table_machine(t->slot)->runs,
                        .owner = t,
                };

                fds[i] = open_fifo(path, err);
                if (fds[i] < 0)
                        return -1;
                config.fifo = fds[i];
                if (t->spec != NULL) {
                        config.size = t->spec->job->logs.size;
                        config.files = t->spec->job->logs.files;
                        config.when_full = when_full_of(t->spec->job);
                }
                if (capture_stream_open(ts->config.capture, &config, &t->streams[i], err) < 0)
                        return -1;
        }
        if (!t->deposited) {
                deposit_name(name, "task", t->id);
                keeper_client_put(ts->config.keeper, name, fds, TASK_STREAMS);
                t->deposited = true;
        }
        return 0;
}

static struct task *add(struct tasks *ts, struct table_slot *slot)
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

/* ---- taking over */

static void load_one(void *data, struct table_slot *slot)
{
        struct tasks *ts = data;
        const struct task_machine *m = table_machine(slot);
        struct error err = ERROR_INIT;
        struct task *t;

        if (!task_machine_is_valid(m)) {
                log_error("task %s.%u: its state is damaged; it is begun anew when the server asks "
                          "for it",
                        table_slot_job(slot), table_slot_index(slot));
                table_drop(ts->config.table, slot);
                return;
        }
        t = add(ts, slot);

        if (specs_get(ts->config.specs, table_slot_job(slot), m->desire.version, &t->spec, &err) <
                0)
                log_warning("task %s: waits for its spec from the server: %s", t->id, err.message);
        if (m->pid > 0)
                attach(t, m->pid, -1);
        else if (m->state == TASK_STARTING && table_run_record(slot)->run == m->runs &&
                 table_run_record(slot)->failed_step == 0)
                attach(t, table_run_record(slot)->pid, -1);
}

void tasks_load(struct tasks *ts)
{
        table_each(ts->config.table, load_one, ts);
}

/* The task and the run that a deposit is for. NULL: there is no such task. */
static struct task *deposit_owner(
        struct tasks *ts, const char *name, const char *kind, uint64_t *ret_run)
{
        char id[KEEPER_NAME_MAX];
        size_t len = strlen(kind);

        if (strncmp(name, kind, len) != 0)
                return NULL;
        snprintf(id, sizeof id, "%s", name + len);
        *ret_run = 0;
        if (strchr(id, '/') != NULL) {
                *ret_run = strtoull(strchr(id, '/') + 1, NULL, 10);
                *strchr(id, '/') = '\0';
        }
        return tasks_find(ts, id);
}

void tasks_take_deposit(struct tasks *ts, const char *name, const int *fds, size_t len)
{
        struct task *t;
        size_t kept = 0;
        uint64_t run;

        if ((t = deposit_owner(ts, name, "task/", &run)) != NULL) {
                t->deposited = true; /* the FIFOs are opened by path: as long as the keeper holds
                                        them, it is the same pipe */
        } else if ((t = deposit_owner(ts, name, "witness/", &run)) != NULL && len > 0 &&
                   t->pid != 0 && t->pidfd < 0 && run == table_machine(t->slot)->runs) {
                t->pidfd = fds[0];
                t->witness = run;
                kept = 1;
        } else {
                keeper_client_drop(ts->config.keeper, name);
        }
        for (size_t i = kept; i < len; i++)
                close(fds[i]);
}

static bool process_is_there(const struct task *t)
{
        struct process_stat st;

        return process_read_stat(t->pid, &st) &&
               process_matches(table_run_record(t->slot), st.start_ticks);
}

/* A pidfd of a process that was begun before our time, if it is there still. */
static void find_process(struct task *t)
{
        if (t->pidfd >= 0 || t->pid == 0 || !process_is_there(t))
                return;
        t->pidfd = process_open(t->pid);
        /* it may have ended and the pid been given away since we looked */
        if (t->pidfd >= 0 && !process_is_there(t))
                close(take_fd(t->pidfd));
}

/* What became of a run that was begun, or meant to be, before our time. */
static void judge(struct task *t)
{
        struct tasks *ts = t->owner;
        const struct task_machine *m = table_machine(t->slot);
        const struct table_run *record = table_run_record(t->slot);

        if (m->state == TASK_STARTING && record->run != m->runs) {
                enqueue_spawn(t); /* it was decided, not done */
                return;
        }
        if (m->state == TASK_STARTING && record->failed_step != 0) {
                const struct spawn_plan *plan;
                struct error err = ERROR_INIT;

                if (spec_plan(t->spec, &plan, &err) == 0)
                        spawn_failure(plan, record, &err);
                apply(t, &(struct task_event){
                                 .type = TASK_EV_SPAWN_FAILED, .message = err.message });
                return;
        }
        if (m->state == TASK_STARTING)
                apply(t, &(struct task_event){ .type = TASK_EV_SPAWNED, .pid = record->pid });
        m = table_machine(t->slot);
        set_timer(t, m);
        if (m->pid <= 0)
                return;
        find_process(t);
        if (record->parent == ts->keeper)
                return; /* its record comes when it ends, or is on its way */
        if (t->pidfd >= 0) {
                witness_put(t);
                orphan_watch(t);
        } else {
                handle_unknown_end(t);
        }
}

static void begin_one(struct task *t)
{
        struct tasks *ts = t->owner;
        struct error err = ERROR_INIT;

        if (open_streams(t, &err) < 0)
                log_error("logs of task %s: %s", t->id, err.message);
        if (t->spec == NULL)
                return;
        if (table_booted_anew(ts->config.table) || table_halted(ts->config.table)) {
                witness_drop(t);
                detach(t);
                apply(t, &(struct task_event){ .type = TASK_EV_BOOT });
        } else {
                judge(t);
        }
}

void tasks_begin(struct tasks *ts, pid_t keeper)
{
        struct task *t, *next;

        ts->keeper = keeper;
        HASH_ITER (hh, ts->by_id, t, next)
                begin_one(t);
        table_set_halted(ts->config.table, false);
        if (ts->spawn_first != NULL)
                uv_idle_start(&ts->spawner, on_spawner);
}

/* ---- without a keeper */

void tasks_keeper_gone(struct tasks *ts)
{
        struct task *t, *next;

        ts->keeper = KEEPER_GONE;
        HASH_ITER (hh, ts->by_id, t, next)
                if (t->pidfd >= 0 && t->orphan == NULL)
                        orphan_watch(t);
}

size_t tasks_hand_over(struct tasks *ts, struct keeper_handover **ret)
{
        size_t n = 0;
        struct keeper_handover *items =
                mem_resize(NULL, 2 * HASH_COUNT(ts->by_id) + 1, sizeof *items);

        for (struct task *t = ts->by_id; t != NULL; t = t->hh.next) {
                int *fds = mem_resize(NULL, TASK_STREAMS, sizeof *fds);
                char name[KEEPER_NAME_MAX];
                size_t len = 0;

                for (int i = 0; i < TASK_STREAMS; i++) {
                        AUTO(mem_freep) char *path = fifo_path(t, (enum task_stream) i);

                        fds[len] = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
                        len += fds[len] >= 0;
                }
                deposit_name(name, "task", t->id);
                items[n++] = (struct keeper_handover){ KEEPER_PUT, mem_strdup(name), fds, len, 0 };
                find_process(t); /* this keeper may have died before it told us its deposits */
                if (t->pidfd < 0)
                        continue;
                witness_name(name, t->id, table_machine(t->slot)->runs);
                items[n++] =
                        (struct keeper_handover){ KEEPER_PUT, mem_strdup(name), &t->pidfd, 1, 0 };
        }
        *ret = items;
        return n;
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
        t = add(ts, slot);
        t->spec = spec;
        task_machine_init(&m, time_wall());
        if (open_streams(t, err) < 0) {
                t->spec = NULL; /* the caller's again */
                table_drop(ts->config.table, slot);
                discard(t);
                return -1;
        }
        table_commit(ts->config.table, slot, &m, 0);
        *ret = t;
        return 0;
}

static void change_spec(struct task *t, struct spec *spec)
{
        specs_put(t->owner->config.specs, t->spec);
        t->spec = spec;
        for (int i = 0; i < TASK_STREAMS; i++)
                if (t->streams[i] != NULL)
                        capture_stream_set_config(t->streams[i], spec->job->logs.size,
                                spec->job->logs.files, when_full_of(spec->job));
}

int tasks_desire(struct tasks *ts, const char *job, uint32_t index,
        const struct task_desire *desire, struct error *err)
{
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
                change_spec(t, spec);
        }
        if (unjudged)
                judge(t);
        t->forget = t->purge = false;
        apply(t, &(struct task_event){ .type = TASK_EV_DESIRE, .desire = *desire });
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
        event.desire = table_machine(t->slot)->desire;
        event.desire.run = false;
        if (t->spec != NULL)
                apply(t, &event);
        else if (table_machine(t->slot)->pid <= 0)
                forget(t);
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

void tasks_halt(struct tasks *ts)
{
        struct task *t, *next;

        if (ts->halting)
                return;
        ts->halting = true;
        table_set_halted(ts->config.table, true);
        HASH_ITER (hh, ts->by_id, t, next)
                if (t->spec != NULL)
                        apply(t, &(struct task_event){ .type = TASK_EV_HALT });
}

bool tasks_any_process(const struct tasks *ts)
{
        return ts->processes > 0 || ts->spawn_first != NULL;
}

void tasks_drain(struct tasks *ts)
{
        struct task *t, *next;

        HASH_ITER (hh, ts->by_id, t, next)
                for (int i = 0; i < TASK_STREAMS; i++)
                        if (t->streams[i] != NULL)
                                capture_stream_drain(t->streams[i], NULL);
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

void task_report(const struct task *t, struct buffer *out)
{
        const struct task_machine *m = table_machine(t->slot);
        char id[TASK_ID_MAX], job[TEXT_NAME_MAX + 1], reason[TASK_REASON_MAX];
        struct task_status status = {
                .id = id,
                .job = job,
                .index = table_slot_index(t->slot),
                .version = task_version(m),
                .state = (int) m->state,
                .ready = m->state == TASK_RUNNING,
                .result = m->result,
                .pid = m->pid > 0 ? m->pid : RECORD_NULL,
                .runs = (int64_t) m->runs,
                .restarts = (int64_t) m->restarts,
                .exit_code = m->exit_code >= 0 ? m->exit_code : RECORD_NULL,
                .signal = m->signal,
                .reason = reason,
                .since = m->since_wall,
                .next_run_at = m->next_run_wall,
                .started_at = m->started_wall,
                .log_bytes = RECORD_NULL,
        };

        snprintf(id, sizeof id, "%s", t->id);
        snprintf(job, sizeof job, "%s", table_slot_job(t->slot));
        snprintf(reason, sizeof reason, "%s", m->reason);
        record_write(&task_table, &status, out);
        assert(out->data[out->len - 1] == '}');
        out->len--; /* the object goes on */
        buffer_printf(out,
                ",\"desire\":{\"run\":%s,\"version\":%u,\"restart_version\":%u,\"generation\":"
                "%" PRIu64 "},\"parked\":%s}",
                m->desire.run ? "true" : "false", m->desire.version, m->desire.restart_version,
                m->desire.generation, m->parked ? "true" : "false");
}
