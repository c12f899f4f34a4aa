/* SPDX-License-Identifier: BSD-3-Clause */
/* Whether a run is ready and well: everything that asks it, and listens to it.
 *
 * What follows from the answers is decided in core/task and core/health; here they are got. A task
 * whose spec asks for nothing has no struct task_health at all. Otherwise there is one from before
 * its process is begun until the end of the run is written down:
 *
 * - the socket for sd_notify(3), or the pipe of s6, from before the process until its end. The
 *   keeper holds the descriptor (deposits `notify/ID/RUN` and `ready/ID/RUN`), so that what the
 *   program says while there is no agent is heard by the next one. A socket that was lost with a
 *   keeper is made anew under the same name;
 * - while the run is not ready: what its spec waits for, a line of its log or a probe;
 * - while it is ready: its health checks. They begin at different moments of their interval, so
 *   that the checks of many tasks do not come all at once.
 *
 * task_health_follow() is called whenever the machine has changed, and brings all that in line with
 * it; so nothing here has a state that a restarted agent would miss. Counts of answers in a row
 * begin afresh with a new agent, which is to the run's advantage. */
#include "node/task-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "core/health.h"
#include "node/logmatch.h"
#include "node/notify.h"
#include "node/probe.h"

/* One of `health`. */
struct check {
        struct task *task;
        const struct health_check *spec;
        struct probe *probe;
        struct health_count count;
};

/* Something the loop watches; it goes when the loop has let go of it. */
struct listener {
        struct task *task;
        int fd; /* of the poll */
        union {
                uv_poll_t poll;
                uv_timer_t timer;
        } u;
};

struct task_health {
        uint64_t run;            /* whose descriptors these are; 0: there are none */
        const struct spec *spec; /* that is asked by; only compared */
        int notify_fd;           /* not listened to yet; -1: none */
        int ready_fd;
        struct notify *notify;
        struct listener *ready_pipe;

        bool asks_ready;
        struct probe *ready_probe;
        struct health_count ready_count; /* begins as bad */
        struct pattern pattern;
        struct logmatch *match[TASK_STREAMS];
        struct listener *more; /* there is more of a log to be looked at */

        struct check *checks;
        size_t checks_len;
};

static const char *const kinds[] = { "notify", "ready" }; /* of deposits */

static bool wants_any(const struct job_spec *spec)
{
        return job_spec_has_ready(spec) || job_spec_has_notify(spec) || spec->health_len > 0;
}

static struct task_health *get(struct task *t)
{
        if (t->health == NULL) {
                t->health = mem_alloc(sizeof *t->health);
                t->health->notify_fd = t->health->ready_fd = -1;
        }
        return t->health;
}

static void tell(struct task *t, const struct task_notice *notice)
{
        task_apply(t, &(struct task_event){ .type = TASK_EV_NOTICE, .notice = *notice });
}

static void tell_ready(struct task *t)
{
        tell(t, &(struct task_notice){ .ready = true });
}

/* ---- What the program says */

static void on_message(void *data, const struct notify_message *message)
{
        struct task *t = data;
        const struct task_notice *n = &message->notice;

        if (message->main_pid != 0 && message->main_pid != t->pid)
                log_warning("task %s: MAINPID=%d is refused: its main process is %d", t->id,
                        message->main_pid, t->pid);
        if (message->unstore)
                task_store_remove(t, message->name != NULL ? message->name : "stored");
        if (message->store)
                task_store_add(t, message->name != NULL ? message->name : "stored", message->fds,
                        message->fds_len);
        if (n->ready || n->stopping || n->alive || n->hung || n->watchdog > 0 || n->extend > 0 ||
                n->status != NULL)
                tell(t, n);
}

static void listener_closed(uv_handle_t *handle)
{
        free(handle->data);
}

static void listener_free(struct listener *l)
{
        if (l == NULL)
                return;
        uv_close((uv_handle_t *) &l->u.poll, listener_closed);
        fd_closep(&l->fd);
}

/* A line end, as s6 has it; what came before it is not looked at. */
static void on_ready_pipe(uv_poll_t *poll, int status, int events)
{
        struct listener *l = poll->data;
        struct task *t = l->task;
        char bytes[256];
        ssize_t n = read(l->fd, bytes, sizeof bytes);

        (void) status;
        (void) events;
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n > 0 && memchr(bytes, '\n', (size_t) n) == NULL)
                return;
        listener_free(take_ptr(t->health->ready_pipe));
        if (n > 0)
                tell_ready(t);
}

static uid_t owner_of(struct task *t)
{
        const struct spawn_plan *plan;
        struct error err;

        if (t->spec == NULL || spec_plan(t->spec, &plan, &err) < 0 ||
                (!plan->change_user && !t->spec->job->dynamic_user))
                return geteuid();
        return t->spec->job->dynamic_user ? table_run_record(t->slot)->dynamic_uid : plan->uid;
}

static char *socket_path(const struct task *t, uint64_t run)
{
        return mem_printf("%s/notify/%s.%" PRIu64, t->owner->config.directory, t->id, run);
}

static void deposit_name(char name[KEEPER_NAME_MAX], const char *kind, const char *id, uint64_t run)
{
        snprintf(name, KEEPER_NAME_MAX, "%s/%s/%" PRIu64, kind, id, run);
}

static void put_deposit(struct task *t, const char *kind, uint64_t run, int fd)
{
        char name[KEEPER_NAME_MAX];

        deposit_name(name, kind, t->id, run);
        keeper_client_put(t->owner->config.keeper, name, &fd, 1);
}

static int make_socket(struct task *t, uint64_t run, char **ret_address, struct error *err)
{
        AUTO(mem_freep) char *path = socket_path(t, run);
        AUTO(mem_freep) char *folder = mem_printf("%s/notify", t->owner->config.directory);
        struct task_health *h = get(t);
        int fd;

        if (file_mkdirs(folder, 0755, err) < 0)
                return -1;
        fd = notify_bind(path, owner_of(t), ret_address, err);
        if (fd < 0)
                return -1;
        fd_closep(&h->notify_fd);
        h->notify_fd = fd;
        h->run = run;
        put_deposit(t, "notify", run, fd);
        return 0;
}

static int make_pipe(
        struct task *t, const struct task_machine *m, struct task_extras *x, struct error *err)
{
        struct task_health *h = get(t);
        int fds[2];

        if (pipe2(fds, O_CLOEXEC) < 0)
                return error_sys(err, errno, "make a pipe for ready.fd");
        fcntl(fds[0], F_SETFL, O_NONBLOCK);
        fd_closep(&h->ready_fd);
        h->ready_fd = fds[0];
        h->run = m->runs;
        x->ready_fd = fds[1];
        put_deposit(t, "ready", m->runs, fds[0]);
        x->pass[x->pass_len++] = (struct spawn_pass){ fds[1], (int) t->spec->job->ready.fd };
        return 0;
}

int task_health_prepare(
        struct task *t, const struct task_machine *m, struct task_extras *x, struct error *err)
{
        const struct job_spec *spec = t->spec->job;
        AUTO(mem_freep) char *address = NULL;

        task_health_end(t); /* of a start that was not finished */
        if (job_spec_has_notify(spec)) {
                if (make_socket(t, m->runs, &address, err) < 0)
                        return -1;
                if (address[0] == '@' && spec->sandbox.network == SANDBOX_NETWORK_NONE)
                        return error_set(err, ERR_INVALID,
                                "sandbox.network: with \"none\" the program could not tell how it "
                                "is, since the path of Reeve's data is too long for a socket");
                x->env[x->env_len++] = mem_printf("NOTIFY_SOCKET=%s",
                        spec->sandbox.chroot != NULL && address[0] != '@' ? SANDBOX_NOTIFY
                                                                          : address);
                if (address[0] != '@')
                        x->notify = mem_strdup(address);
                if (spec->watchdog > 0)
                        x->env[x->env_len++] = mem_printf("WATCHDOG_USEC=%" PRIu64, spec->watchdog);
        }
        if (spec->ready.fd != JOB_READY_FD_NONE && spec->ready.fd > 0 &&
                make_pipe(t, m, x, err) < 0)
                return -1;
        return 0;
}

void task_extras_done(struct task_extras *x)
{
        for (size_t i = 0; i < x->env_len; i++)
                free(x->env[i]);
        free(x->notify);
        if (x->ready_fd > 0)
                close(x->ready_fd);
}

static void listen_to_pipe(struct task *t)
{
        struct task_health *h = t->health;
        struct listener *l = mem_alloc(sizeof *l);

        *l = (struct listener){ .task = t, .fd = take_fd(h->ready_fd) };
        uv_poll_init(t->owner->config.loop, &l->u.poll, l->fd);
        l->u.poll.data = l;
        uv_poll_start(&l->u.poll, UV_READABLE, on_ready_pipe);
        h->ready_pipe = l;
}

static void listen_to_program(struct task *t, uint64_t run)
{
        struct task_health *h = t->health;
        AUTO(mem_freep) char *address = NULL;
        struct error err = ERROR_INIT;

        if (h->notify == NULL && h->notify_fd < 0 && job_spec_has_notify(t->spec->job) &&
                make_socket(t, run, &address, &err) < 0)
                log_error("task %s: %s", t->id, err.message);
        if (h->notify == NULL && h->notify_fd >= 0)
                h->notify = notify_new(
                        t->owner->config.loop, take_fd(h->notify_fd), owner_of(t), on_message, t);
        if (h->ready_pipe == NULL && h->ready_fd >= 0)
                listen_to_pipe(t);
}

/* ---- Probes */

/* The command of @check beside the task's process, with its user, directory and variables. */
static int plan_command(struct task *t, char *const *command, bool shell, struct spawn_plan *ret,
        char ***ret_env, struct error *err)
{
        struct variables values = task_variables(t, table_machine(t->slot));
        char *shell_command[] = { (char *) (uintptr_t) "/bin/sh", (char *) (uintptr_t) "-c",
                shell ? command[0] : NULL, NULL };
        char *const *from = shell ? shell_command : command;
        char **argv;
        size_t n = 0;
        int r;

        while (from[n] != NULL)
                n++;
        argv = mem_alloc((n + 1) * sizeof *argv);
        for (size_t i = 0; i < n; i++)
                argv[i] = variables_expand(from[i], &values);
        r = tasks_plan_exec(t->owner, t->id, argv, NULL, ret, ret_env, err);
        for (size_t i = 0; i < n; i++)
                free(argv[i]);
        free(argv);
        return r;
}

static int plan_ready(void *data, struct spawn_plan *ret, char ***ret_env, struct error *err)
{
        struct task *t = data;
        const struct job_spec *spec = t->spec->job;

        return plan_command(t, spec->ready.command, spec->ready.command_shell, ret, ret_env, err);
}

static int plan_check(void *data, struct spawn_plan *ret, char ***ret_env, struct error *err)
{
        struct check *c = data;

        return plan_command(c->task, c->spec->command, c->spec->command_shell, ret, ret_env, err);
}

/* @http and @tcp may name variables. NULL if there can be no such probe. */
static struct probe *start_probe(struct task *t, struct probe_config *config)
{
        struct variables values = task_variables(t, table_machine(t->slot));
        AUTO(mem_freep)
        char *http = config->http != NULL ? variables_expand(config->http, &values) : NULL;
        AUTO(mem_freep)
        char *tcp = config->tcp != NULL ? variables_expand(config->tcp, &values) : NULL;
        struct error err = ERROR_INIT;
        struct probe *p;

        config->http = http;
        config->tcp = tcp;
        if (probe_new(t->owner->config.loop, config, &p, &err) == 0)
                return p;
        log_error("task %s: %s: %s", t->id, http != NULL ? http : tcp, err.message);
        return NULL;
}

static void on_ready_answer(void *data, bool good, const char *answer)
{
        struct task *t = data;
        struct task_health *h = t->health;

        log_debug("task %s: ready: %s", t->id, answer);
        if (health_take(&h->ready_count, good, 1, t->spec->job->ready.successes) &&
                !h->ready_count.bad)
                tell_ready(t);
}

static usec_t since_start(const struct task *t)
{
        const struct task_machine *m = table_machine(t->slot);
        usec_t now = time_mono();

        return now > m->started_mono ? now - m->started_mono : 0;
}

static const char *target_of(const struct health_check *spec)
{
        return spec->http != NULL ? spec->http : spec->tcp != NULL ? spec->tcp : spec->command[0];
}

static void on_check_answer(void *data, bool good, const char *answer)
{
        struct check *c = data;
        struct task *t = c->task;
        const struct health_check *spec = c->spec;
        char message[TASK_REASON_MAX], times[40] = "";
        struct task_event event = { .message = message };

        if (!good && since_start(t) < spec->start_period)
                return;
        if (!health_take(&c->count, good, spec->failures, spec->successes))
                return;
        if (c->count.bad && spec->failures > 1)
                snprintf(times, sizeof times, ", %u times in a row", (unsigned) spec->failures);
        snprintf(message, sizeof message, "%s%.60s: %.80s%s",
                spec->then == HEALTH_RESTART ? "unhealthy: " : "", target_of(spec), answer, times);
        if (spec->then == HEALTH_RESTART && !c->count.bad)
                return;
        event.type = spec->then == HEALTH_RESTART ? TASK_EV_UNFIT : TASK_EV_HEALTH;
        for (size_t i = 0; i < t->health->checks_len; i++)
                event.healthy |= t->health->checks[i].spec->then == HEALTH_MARK &&
                                 t->health->checks[i].count.bad;
        event.healthy = !event.healthy;
        task_apply(t, &event);
}

/* ---- Lines of the log */

static void look_at_logs(struct task *t);

static void on_more(uv_timer_t *timer)
{
        struct task *t = ((struct listener *) timer->data)->task;

        listener_free(take_ptr(t->health->more));
        look_at_logs(t);
}

static void look_later(struct task *t)
{
        struct listener *l;

        if (t->health->more != NULL)
                return;
        l = mem_alloc(sizeof *l);
        *l = (struct listener){ .task = t, .fd = -1 };
        uv_timer_init(t->owner->config.loop, &l->u.timer);
        l->u.timer.data = l;
        uv_timer_start(&l->u.timer, on_more, 1, 0);
        t->health->more = l;
}

static void look_at_logs(struct task *t)
{
        for (int i = 0; i < TASK_STREAMS && t->health->match[i] != NULL; i++)
                switch (logmatch_look(t->health->match[i])) {
                case LOGMATCH_FOUND:
                        tell_ready(t); /* frees them */
                        return;
                case LOGMATCH_MORE:
                        look_later(t);
                        break;
                case LOGMATCH_END:
                        break;
                }
}

void task_health_grown(struct task *t)
{
        if (t->health != NULL && t->health->match[0] != NULL && t->health->more == NULL)
                look_later(t); /* not from within the capture */
}

/* ---- Asking */

static void ask_ready(struct task *t)
{
        struct task_health *h = t->health;
        const struct job_spec *spec = t->spec->job;
        AUTO(mem_freep) char *directory = task_directory(t->owner, t->id);
        usec_t age = since_start(t);
        struct probe_config config = {
                .http = spec->ready.http,
                .tcp = spec->ready.tcp,
                .command = spec->ready.command != NULL,
                .plan = plan_ready,
                .first = spec->ready.start_period > age ? spec->ready.start_period - age : 0,
                .interval = spec->ready.interval,
                .timeout = spec->ready.timeout,
                .on_answer = on_ready_answer,
                .data = t,
        };

        h->asks_ready = true;
        h->ready_count = (struct health_count){ .bad = true };
        if (config.http != NULL || config.tcp != NULL || config.command)
                h->ready_probe = start_probe(t, &config);
        if (spec->ready.log == NULL || pattern_parse(spec->ready.log, &h->pattern, NULL) < 0)
                return;
        for (int i = 0; i < TASK_STREAMS; i++)
                h->match[i] = logmatch_new(directory, i == TASK_STDOUT ? "stdout" : "stderr",
                        table_run_record(t->slot)->log_begin[i], &h->pattern);
        look_later(t);
}

static void stop_asking_ready(struct task_health *h)
{
        h->asks_ready = false;
        probe_free(take_ptr(h->ready_probe));
        listener_free(take_ptr(h->more));
        for (int i = 0; i < TASK_STREAMS; i++)
                logmatch_free(take_ptr(h->match[i]));
        pattern_done(&h->pattern);
        h->pattern = (struct pattern){ 0 };
}

/* A moment of the interval that is the task's own. */
static usec_t spread(const char *id, usec_t interval)
{
        uint64_t hash = 1469598103934665603u; /* FNV-1a */

        for (; *id != '\0'; id++)
                hash = (hash ^ (unsigned char) *id) * 1099511628211u;
        return (hash >> 16) % interval;
}

static void ask_health(struct task *t)
{
        struct task_health *h = t->health;
        const struct job_spec *spec = t->spec->job;

        h->checks_len = spec->health_len;
        h->checks = mem_alloc((h->checks_len + 1) * sizeof *h->checks);
        for (size_t i = 0; i < h->checks_len; i++) {
                const struct health_check *check = &spec->health[i];
                struct check *c = &h->checks[i];
                struct probe_config config = { .http = check->http,
                        .tcp = check->tcp,
                        .command = check->command != NULL,
                        .plan = plan_check,
                        .first = spread(t->id, check->interval),
                        .interval = check->interval,
                        .timeout = check->timeout,
                        .on_answer = on_check_answer,
                        .data = c };

                *c = (struct check){ .task = t, .spec = check };
                c->probe = start_probe(t, &config);
        }
}

static void stop_asking_health(struct task_health *h)
{
        for (size_t i = 0; i < h->checks_len; i++)
                probe_free(h->checks[i].probe);
        free(take_ptr(h->checks));
        h->checks_len = 0;
}

/* ---- In line with the machine */

static void follow_process(struct task *t, const struct task_machine *m)
{
        struct task_health *h = get(t);
        bool runs = m->state == TASK_RUNNING;

        listen_to_program(t, m->runs);
        if (h->spec != t->spec) { /* another version, in place */
                stop_asking_ready(h);
                stop_asking_health(h);
                h->spec = t->spec;
        }
        if (!runs || m->ready)
                stop_asking_ready(h);
        else if (!h->asks_ready)
                ask_ready(t);
        if (!runs || !m->ready)
                stop_asking_health(h);
        else if (h->checks == NULL && t->spec->job->health_len > 0)
                ask_health(t);
}

void task_health_follow(struct task *t)
{
        const struct task_machine *m = table_machine(t->slot);

        if (t->spec == NULL || (t->health == NULL && !wants_any(t->spec->job)))
                return;
        if (m->pid > 0)
                follow_process(t, m);
        else if (m->state != TASK_STARTING)
                task_health_end(t);
}

void task_health_drain(struct task *t)
{
        if (t->health != NULL && t->health->notify != NULL)
                notify_drain(t->health->notify);
}

void task_health_free(struct task *t)
{
        struct task_health *h = take_ptr(t->health);

        if (h == NULL)
                return;
        stop_asking_ready(h);
        stop_asking_health(h);
        notify_free(h->notify);
        listener_free(h->ready_pipe);
        fd_closep(&h->notify_fd);
        fd_closep(&h->ready_fd);
        free(h);
}

void task_health_end(struct task *t)
{
        AUTO(mem_freep) char *path = NULL;
        char name[KEEPER_NAME_MAX];

        if (t->health == NULL)
                return;
        for (size_t i = 0; i < ARRAY_SIZE(kinds) && t->health->run != 0; i++) {
                deposit_name(name, kinds[i], t->id, t->health->run);
                keeper_client_drop(t->owner->config.keeper, name);
        }
        path = socket_path(t, t->health->run);
        if (t->health->run != 0)
                unlink(path);
        task_health_free(t);
}

/* ---- What the keeper holds */

bool task_health_take(struct task *t, const char *kind, uint64_t run, int fd)
{
        const struct task_machine *m = table_machine(t->slot);
        struct task_health *h;

        if (run != m->runs || (m->pid <= 0 && m->state != TASK_STARTING))
                return false;
        h = get(t);
        h->run = run;
        *(strcmp(kind, kinds[0]) == 0 ? &h->notify_fd : &h->ready_fd) = fd;
        return true;
}

size_t task_health_deposits(const struct task *t, struct task_deposit ret[2])
{
        const struct task_health *h = t->health;
        size_t n = 0;

        if (h == NULL || h->run == 0)
                return 0;
        ret[0].fd = h->notify != NULL ? notify_get_fd(h->notify) : h->notify_fd;
        ret[1].fd = h->ready_pipe != NULL ? h->ready_pipe->fd : h->ready_fd;
        for (size_t i = 0; i < 2; i++)
                if (ret[i].fd >= 0) {
                        ret[n].fd = ret[i].fd;
                        deposit_name(ret[n++].name, kinds[i], t->id, h->run);
                }
        return n;
}
