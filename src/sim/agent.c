/* SPDX-License-Identifier: BSD-3-Clause */
/* Agent: a machine with its processes, and the program that drives the task machines on it.
 *
 * What survives whom, as in ARCHITECTURE.md: processes, their exit records and the outbox survive
 * the agent; the task machines survive it, too, since they stand in a mapped file; the machine's
 * end takes the processes and leaves the file; a wipe takes all. What the agent had in mind (who is
 * to be forgotten, what is still to be told or spawned) is lost with it, and found again from the
 * machines or said again by the server.
 *
 * A change of a task goes in the order of src/node/task.c: the event is handled, the notes are
 * written, the machine is committed, then the deeds are done. A crash `mid` falls between the last
 * two, or between a process and the word that it is there. */

#include <inttypes.h>
#include <signal.h>
#include <string.h>

#include "core/lease.h"
#include "sim/sim-internal.h"

#define SPAWN_TAKES  (2 * USEC_MSEC)
#define KILL_TAKES   USEC_MSEC
#define FLUSH_WITHIN USEC_MSEC
#define TRY_AGAIN    USEC_SEC /* when an assignment could not be carried out */

/* ---- Tasks */

void sim_task_unref(struct sim_task *t)
{
        if (--t->refs > 0)
                return;
        free(t->id);
        free(t->job);
        job_spec_unref(t->spec);
        free(t);
}

static struct sim_task *find_task(struct sim_node *n, const char *id)
{
        struct sim_task *t;

        HASH_FIND_STR(n->tasks, id, t);
        return t;
}

static void process_there(struct sim_task *t)
{
        struct sim *s = t->node->sim;

        if (s->config.process != NULL)
                s->config.process(s->config.data, t->id, true);
        sim_rules_began(s, t);
}

static void process_gone(struct sim_task *t)
{
        struct sim *s = t->node->sim;

        if (s->config.process != NULL)
                s->config.process(s->config.data, t->id, false);
        sim_rules_ended(s, t);
}

static void unlink_changed(struct sim_task *t)
{
        struct sim_node *n = t->node;
        struct sim_task **at = &n->changed_first;

        if (!t->changed)
                return;
        while (*at != t)
                at = &(*at)->next_changed;
        *at = t->next_changed;
        if (*at == NULL)
                n->changed_last = at;
        t->changed = false;
}

static void drop_task(struct sim_task *t)
{
        if (t->process.pid > 0 && !t->process.ended)
                process_gone(t);
        unlink_changed(t);
        HASH_DEL(t->node->tasks, t);
        t->gone = true;
        sim_task_unref(t);
}

static void flush_soon(struct sim_node *n)
{
        if (n->flush_due || n->agent_link == NULL)
                return;
        n->flush_due = true;
        sim_schedule(n->sim, n->sim->now + sim_between(n->sim, 0, FLUSH_WITHIN), SIM_EV_FLUSH, n,
                n->agent_epoch);
}

static void mark_changed(struct sim_task *t)
{
        struct sim_node *n = t->node;

        if (!t->changed) {
                t->changed = true;
                t->next_changed = NULL;
                *n->changed_last = t;
                n->changed_last = &t->next_changed;
        }
        flush_soon(n);
}

static void add_notes(struct sim_task *t, const struct task_effects *fx)
{
        struct sim_node *n = t->node;

        for (unsigned i = 0; i < fx->notes_len; i++) {
                struct note *note = mem_alloc(sizeof *note);

                *note = (struct note){ .refs = 1,
                        .kind = fx->notes[i].kind,
                        .time = sim_machine_wall(n),
                        .version = fx->notes[i].version,
                        .run = fx->notes[i].run,
                        .task = mem_strdup(t->id),
                        .job = mem_strdup(t->job),
                        .message = mem_strdup(fx->notes[i].message) };
                if (n->notes_len == n->notes_allocated) {
                        n->notes_allocated = MAX((size_t) 8, n->notes_allocated * 2);
                        n->notes = mem_resize(n->notes, n->notes_allocated, sizeof(struct note *));
                }
                n->notes[n->notes_len++] = note;
        }
        if (fx->notes_len > 0)
                flush_soon(n);
}

static void draw_run(struct sim_task *t)
{
        struct sim *s = t->node->sim;
        struct sim_run *run = &t->process.fate;
        bool batch = t->spec->kind == JOB_BATCH;

        *run = (struct sim_run){ .begins_after = SPAWN_TAKES,
                .lasts = batch ? USEC_SEC : USEC_NEVER,
                .obeys_after = 10 * USEC_MSEC };
        if (s->config.run != NULL)
                s->config.run(s->config.data, t->id, t->spec, t->machine.runs, run);
}

static void enqueue_spawn(struct sim_task *t)
{
        if (t->process.pid > 0) {
                sim_break_rule(t->node->sim,
                        "two processes: %s on %s is begun while pid %" PRId32 " of run %" PRIu64
                        " is there",
                        t->id, t->node->status.name, t->process.pid, t->process.run);
                return;
        }
        t->spawning = true;
        draw_run(t);
        sim_schedule_task(t->node->sim, t->node->sim->now + t->process.fate.begins_after,
                SIM_EV_TASK_SPAWN, t, t->node->agent_epoch);
}

static void arm_timer(struct sim_task *t)
{
        t->timer_epoch++;
        if (t->machine.deadline_mono != USEC_NEVER)
                sim_schedule_task(t->node->sim, sim_machine_when(t->node, t->machine.deadline_mono),
                        SIM_EV_TASK_TIMER, t, t->timer_epoch);
}

static void schedule_end(struct sim_task *t, usec_t at)
{
        t->process.epoch++;
        if (at != USEC_NEVER)
                sim_schedule_task(t->node->sim, at, SIM_EV_PROCESS_END, t, t->process.epoch);
}

static void send_signal(struct sim_task *t, int number)
{
        struct process *p = &t->process;
        usec_t now = t->node->sim->now, after = p->fate.obeys_after;

        if (p->pid <= 0 || p->ended || p->told == SIGKILL)
                return;
        if (number != SIGKILL && after == USEC_NEVER)
                return;
        p->told = number;
        schedule_end(t, now + (number == SIGKILL ? KILL_TAKES : after));
}

static void crash_mid(struct sim_node *n)
{
        n->crash_mid = false;
        sim_agent_crash(n);
        sim_schedule(n->sim, n->sim->now + sim_between(n->sim, USEC_MSEC, 300 * USEC_MSEC),
                SIM_EV_AGENT_START, n, n->agent_epoch);
}

/* "http=20001 admin=20002"; NULL: it has none. */
static char *format_ports(const struct sim_task *t)
{
        char *const *names = t->spec->resources.ports;
        struct buffer text = { 0 };

        for (size_t i = 0; names != NULL && names[i] != NULL; i++)
                buffer_printf(
                        &text, "%s%s=%u", i > 0 ? " " : "", names[i], t->machine.grant.ports[i]);
        if (text.len > 0)
                buffer_putc(&text, '\0');
        return text.data;
}

static void copy_report(struct report *to, const struct sim_task *t)
{
        *to = (struct report){ .id = mem_strdup(t->id),
                .job = mem_strdup(t->job),
                .index = t->index,
                .machine = t->machine,
                .spec = job_spec_ref(t->spec),
                .ports = format_ports(t) };
}

/* It is about to be no more. */
static void send_last_report(const struct sim_task *t)
{
        struct message *m;

        if (t->node->agent_link == NULL)
                return;
        m = sim_message_new(MESSAGE_REPORT);
        m->reports = mem_alloc(sizeof m->reports[0]);
        copy_report(&m->reports[m->reports_len++], t);
        sim_link_send_up(t->node->agent_link, m);
}

/* May drop the task, and may kill the agent. */
static void apply(struct sim_task *t, struct task_event *event)
{
        struct sim_node *n = t->node;
        struct task_machine before = t->machine;
        struct task_effects fx;

        event->id = t->id;
        task_handle(&t->machine, t->spec, event, sim_machine_mono(n), sim_machine_wall(n),
                sim_random(&n->sim->random), &fx);
        add_notes(t, &fx);
        sim_rules_machine(n->sim, t, &before);
        if (n->crash_mid && (fx.spawn || fx.signal != 0 || fx.changed)) {
                crash_mid(n);
                return;
        }
        if (event->type == TASK_EV_EXITED || event->type == TASK_EV_SPAWN_FAILED)
                t->process = (struct process){ .epoch = t->process.epoch + 1 };
        if (fx.signal != 0)
                send_signal(t, fx.signal);
        if (fx.spawn)
                enqueue_spawn(t);
        arm_timer(t);
        if (fx.changed && !fx.spawn)
                mark_changed(t);
        if (t->forget && t->machine.state == TASK_ENDED) {
                if (t->tell_end)
                        send_last_report(t);
                drop_task(t);
        }
}

void sim_agent_task_timer(struct sim_task *t)
{
        apply(t, &(struct task_event){ .type = TASK_EV_TIMER });
}

void sim_agent_task_spawn(struct sim_task *t)
{
        struct sim_node *n = t->node;
        const struct task_machine *m = &t->machine;
        struct process *p = &t->process;
        const char *refused = p->fate.refused;

        t->spawning = false;
        if (!m->desire.run || m->halted || m->lapsed)
                refused = "it was asked to stop before it began";
        if (refused != NULL) {
                apply(t, &(struct task_event){ .type = TASK_EV_SPAWN_FAILED, .message = refused });
                return;
        }
        p->pid = ++n->last_pid;
        p->run = m->runs;
        p->version = m->run_version;
        p->began = n->sim->now;
        p->told = 0;
        p->ended = false;
        n->sim->counts.runs++;
        sim_trace(n->sim, "%s: %s run %" PRIu64 " begins, pid %" PRId32, n->status.name, t->id,
                p->run, p->pid);
        schedule_end(t, p->fate.lasts == USEC_NEVER ? USEC_NEVER : n->sim->now + p->fate.lasts);
        process_there(t);
        if (n->crash_mid && sim_maybe(n->sim, 500000))
                crash_mid(n);
        else
                apply(t, &(struct task_event){ .type = TASK_EV_SPAWNED, .pid = p->pid });
}

static void tell_exit(struct sim_task *t)
{
        const struct process *p = &t->process;

        apply(t, &(struct task_event){ .type = TASK_EV_EXITED,
                         .known = true,
                         .exit_code = p->exit_code,
                         .signal = p->signal,
                         .ended_mono = p->ended_mono });
}

/* Its end has come: its own, or that of the signal it was sent. */
void sim_process_due(struct sim_task *t)
{
        struct process *p = &t->process;
        struct sim *s = t->node->sim;

        if (p->pid <= 0 || p->ended)
                return;
        p->ended = true;
        p->exit_code = p->told != 0 ? -1 : p->fate.exit_code;
        p->signal = p->told != 0 ? p->told : p->fate.signal;
        p->ended_mono = sim_machine_mono(t->node);
        s->counts.ends++;
        sim_trace(s, "%s: %s run %" PRIu64 " ends, code %d signal %d", t->node->status.name, t->id,
                p->run, p->exit_code, p->signal);
        process_gone(t);
        if (t->node->agent_up)
                tell_exit(t);
}

/* ---- Leases, as src/node/task-lease.c and link.c keep them */

static void plan_lease(const struct sim_task *t, struct lease *ret)
{
        lease_plan(t->node->heard_mono, t->spec->lease, t->spec->stop.grace, ret);
}

static bool lease_lapsed(const struct sim_task *t, usec_t *ret_kill)
{
        struct lease lease;

        if (!t->spec->singleton)
                return false;
        plan_lease(t, &lease);
        if (lease_holds(&lease, sim_machine_mono(t->node)))
                return false;
        if (ret_kill != NULL)
                *ret_kill = lease.kill_mono;
        return true;
}

/* When it may end; USEC_NEVER: not by itself. */
static usec_t check_lease(struct sim_task *t)
{
        struct task_event event = { .type = TASK_EV_LEASE };
        bool lapsed = t->machine.lapsed;
        struct lease lease;

        event.lapsed = lease_lapsed(t, &event.kill_mono);
        plan_lease(t, &lease);
        if (event.lapsed || (lapsed && t->confirmed))
                apply(t, &event);
        return event.lapsed ? USEC_NEVER : lease.stop_mono;
}

void sim_agent_check_leases(struct sim_node *n)
{
        struct sim_task *t, *next;
        usec_t first = USEC_NEVER;

        HASH_ITER (hh, n->tasks, t, next)
                if (n->agent_up && t->spec->singleton)
                        first = MIN(first, check_lease(t));
        n->lease_epoch++;
        if (first != USEC_NEVER && n->agent_up)
                sim_schedule(n->sim, sim_machine_when(n, first), SIM_EV_LEASE, n, n->lease_epoch);
}

static void set_heard(struct sim_node *n, usec_t heard_mono)
{
        struct sim_task *t;

        n->heard_mono = heard_mono;
        for (t = n->tasks; t != NULL; t = t->hh.next)
                if (t->machine.lapsed) {
                        sim_agent_check_leases(n);
                        return;
                }
}

void sim_agent_ping(struct link *l)
{
        struct sim_node *n = l->node;

        if (!l->agent_open || n->agent_link != l)
                return;
        if (l->ping_mono == 0) {
                l->ping_mono = sim_machine_mono(n);
                sim_link_send_up(l, sim_message_new(MESSAGE_PING));
        }
        sim_schedule_link(n->sim, n->sim->now + n->sim->config.heartbeat, SIM_EV_PING, l, 0);
}

static void begin_heartbeats(struct link *l)
{
        struct sim *s = l->node->sim;

        if (s->config.heartbeat == 0)
                return;
        set_heard(l->node, l->hello_mono);
        sim_schedule_link(s, s->now + s->config.heartbeat, SIM_EV_PING, l, 0);
}

/* ---- Begin and end of the agent */

/* What an agent that begins finds of a task. */
static void judge(struct sim_task *t)
{
        const struct process *p = &t->process;
        bool mine = p->pid > 0 && p->run == t->machine.runs;

        if (!mine)
                t->process = (struct process){ .epoch = t->process.epoch + 1 };
        arm_timer(t);
        if (mine && p->ended)
                tell_exit(t);
        else if (mine && t->machine.state == TASK_STARTING)
                apply(t, &(struct task_event){ .type = TASK_EV_SPAWNED, .pid = p->pid });
        else if (mine)
                apply(t, &(struct task_event){ .type = TASK_EV_FOUND });
        else if (t->machine.state == TASK_STARTING)
                enqueue_spawn(t);
}

void sim_agent_start(struct sim_node *n, bool boot)
{
        struct sim_task *t, *next;

        sim_trace(n->sim, "%s: the agent begins%s", n->status.name, boot ? " after a boot" : "");
        n->agent_up = true;
        n->agent_epoch++;
        n->retry_delay = SIM_RETRY_MIN;
        HASH_ITER (hh, n->tasks, t, next) {
                t->forget = t->spawning = t->confirmed = false;
                unlink_changed(t);
        }
        HASH_ITER (hh, n->tasks, t, next) {
                if (!n->agent_up)
                        return;
                if (boot)
                        apply(t, &(struct task_event){
                                         .type = TASK_EV_BOOT, .lapsed = lease_lapsed(t, NULL) });
                else
                        judge(t);
        }
        sim_agent_check_leases(n);
        if (n->agent_up)
                sim_schedule(n->sim, n->sim->now + sim_between(n->sim, 0, 20 * USEC_MSEC),
                        SIM_EV_CONNECT, n, n->agent_epoch);
}

static void agent_end(struct sim_node *n, bool say)
{
        n->agent_up = n->crash_mid = n->flush_due = false;
        n->agent_epoch++;
        if (n->agent_link != NULL)
                sim_link_close_agent(n->agent_link, say);
}

void sim_agent_crash(struct sim_node *n)
{
        sim_trace(n->sim, "%s: the agent is killed", n->status.name);
        agent_end(n, true);
}

static void forget_all(struct sim_node *n)
{
        struct sim_task *t, *next;

        HASH_ITER (hh, n->tasks, t, next)
                drop_task(t);
        for (size_t i = 0; i < n->notes_len; i++)
                sim_note_unref(n->notes[i]);
        n->notes_len = 0;
        n->notes_acked = n->notes_sent = 0;
        n->heard_mono = USEC_NEVER;
        n->lives++;
}

void sim_machine_down(struct sim_node *n, bool wipe)
{
        struct sim_task *t, *next;

        if (n->agent_link != NULL)
                sim_link_orphan(n->agent_link);
        agent_end(n, false);
        n->machine_up = false;
        n->machine_epoch++;
        HASH_ITER (hh, n->tasks, t, next) {
                if (t->process.pid > 0 && !t->process.ended)
                        process_gone(t);
                t->process = (struct process){ .epoch = t->process.epoch + 1 };
        }
        if (wipe)
                forget_all(n);
}

void sim_machine_free(struct sim_node *n)
{
        struct sim_task *t, *next;

        HASH_ITER (hh, n->tasks, t, next) {
                HASH_DEL(n->tasks, t);
                sim_task_unref(t);
        }
        for (size_t i = 0; i < n->notes_len; i++)
                sim_note_unref(n->notes[i]);
        if (n->agent_link != NULL)
                sim_link_unref(n->agent_link);
        free(n->notes);
        record_done(&node_table, &n->status);
        json_decref(n->json);
        free(n);
}

/* ---- To the server */

void sim_report_fill(struct cluster_report *ret, const struct report *r)
{
        const struct task_machine *m = &r->machine;

        *ret = (struct cluster_report){ .desire = m->desire, .parked = m->parked != 0 };
        ret->status = (struct task_status){ .id = r->id,
                .job = r->job,
                .index = r->index,
                .version = task_version(m),
                .state = (int) m->state,
                .ready = task_is_ready(m),
                .healthy = !m->unhealthy,
                .result = m->result,
                .pid = m->pid > 0 ? m->pid : RECORD_NULL,
                .runs = (int64_t) m->runs,
                .restarts = (int64_t) m->restarts,
                .exit_code = m->exit_code >= 0 ? m->exit_code : RECORD_NULL,
                .signal = m->signal,
                .reason = (char *) (uintptr_t) m->reason,
                .since = m->since_wall,
                .next_run_at = m->next_run_wall,
                .started_at = m->started_wall,
                .log_bytes = RECORD_NULL,
                .ports = r->ports };
        ret->holds = (struct cluster_holds){ r->spec->resources.cpu, r->spec->resources.memory,
                r->spec->resources.disk, r->spec->place.exclusive };
}

void sim_agent_connect(struct sim_node *n)
{
        struct message *hello;
        struct sim_task *t, *next;

        if (!n->agent_up || n->agent_link != NULL)
                return;
        n->agent_link = sim_link_new(n);
        if (n->cut_up || n->cut_down)
                sim_schedule_link(n->sim, n->sim->now + SIM_AGENT_BREAKS, SIM_EV_AGENT_SILENCE,
                        n->agent_link, n->cut_epoch);
        n->agent_link->hello_mono = sim_machine_mono(n);
        hello = sim_message_new(MESSAGE_HELLO);
        hello->reports = mem_resize(NULL, HASH_COUNT(n->tasks) + 1, sizeof hello->reports[0]);
        HASH_ITER (hh, n->tasks, t, next) {
                unlink_changed(t);
                copy_report(&hello->reports[hello->reports_len++], t);
        }
        n->notes_sent = n->notes_acked;
        hello->seq = n->notes_acked + n->notes_len;
        sim_link_send_up(n->agent_link, hello);
        if (n->notes_len > 0)
                flush_soon(n);
}

static void reconnect_after(struct sim_node *n, usec_t delay)
{
        if (n->agent_up)
                sim_schedule(n->sim, n->sim->now + delay, SIM_EV_CONNECT, n, n->agent_epoch);
}

/* Its end of the link has closed. */
void sim_agent_link_ended(struct link *l)
{
        struct sim_node *n = l->node;

        if (n->agent_link != l)
                return;
        n->agent_link = NULL;
        for (struct sim_task *t = n->tasks; t != NULL; t = t->hh.next)
                t->confirmed = false;
        reconnect_after(n, sim_between(n->sim, n->retry_delay / 2, n->retry_delay));
        n->retry_delay = MIN(n->retry_delay * 2, SIM_RETRY_MAX);
}

static void send_notes(struct sim_node *n)
{
        size_t from = (size_t) (n->notes_sent - n->notes_acked);
        size_t to = MIN(n->notes_len, (size_t) SIM_NOTES_MAX);
        struct message *m;

        if (from >= to)
                return;
        m = sim_message_new(MESSAGE_NOTES);
        m->notes = mem_alloc((to - from) * sizeof(struct note *));
        m->seq = n->notes_sent + 1;
        for (size_t i = from; i < to; i++) {
                n->notes[i]->refs++;
                m->notes[m->notes_len++] = n->notes[i];
        }
        n->notes_sent = n->notes_acked + to;
        sim_link_send_up(n->agent_link, m);
}

static void send_reports(struct sim_node *n)
{
        struct message *m;
        size_t len = 0;

        for (struct sim_task *t = n->changed_first; t != NULL; t = t->next_changed)
                len++;
        if (len == 0)
                return;
        m = sim_message_new(MESSAGE_REPORT);
        m->reports = mem_alloc(len * sizeof m->reports[0]);
        while (n->changed_first != NULL) {
                copy_report(&m->reports[m->reports_len++], n->changed_first);
                unlink_changed(n->changed_first);
        }
        sim_link_send_up(n->agent_link, m);
}

void sim_agent_flush(struct sim_node *n)
{
        n->flush_due = false;
        if (n->agent_link == NULL)
                return;
        send_notes(n);
        if (n->agent_link != NULL)
                send_reports(n);
}

/* ---- From the server */

static void take_ack(struct sim_node *n, uint64_t seq)
{
        size_t drop;

        seq = MIN(seq, n->notes_acked + n->notes_len);
        if (seq <= n->notes_acked)
                return;
        drop = (size_t) (seq - n->notes_acked);
        for (size_t i = 0; i < drop; i++)
                sim_note_unref(n->notes[i]);
        n->notes_len -= drop;
        memmove(n->notes, n->notes + drop, n->notes_len * sizeof(struct note *));
        n->notes_acked = seq;
        n->notes_sent = MAX(n->notes_sent, seq);
        if (n->notes_len > 0)
                flush_soon(n);
}

static void forget(struct sim_task *t)
{
        struct task_event event = {
                .type = TASK_EV_DESIRE, .desire = t->machine.desire, .grant = t->machine.grant
        };

        t->forget = true;
        t->tell_end = t->machine.state != TASK_ENDED || t->changed;
        event.desire.run = false;
        apply(t, &event);
}

/* The spec of another task of the same job and version, if it was not sent along. */
static struct job_spec *find_spec(struct sim_node *n, const struct cluster_assign *a)
{
        struct sim_task *t, *next;

        HASH_ITER (hh, n->tasks, t, next)
                if (strcmp(t->job, a->job) == 0 && t->machine.desire.version == a->desire.version)
                        return t->spec;
        return NULL;
}

static struct task_grant grant_of(const struct cluster_assign *a)
{
        struct task_grant grant = { .fence = a->fence, .retries = a->retries };

        memcpy(grant.ports, a->ports, sizeof grant.ports);
        return grant;
}

static struct sim_task *make_task(struct sim_node *n, const struct cluster_assign *a)
{
        struct sim_task *t = mem_alloc(sizeof *t);

        t->refs = 1;
        t->node = n;
        t->id = mem_strdup(a->task);
        t->job = mem_strdup(a->job);
        t->index = a->index;
        task_machine_init(&t->machine, sim_machine_wall(n));
        HASH_ADD_KEYPTR(hh, n->tasks, t->id, strlen(t->id), t);
        return t;
}

/* False if it cannot be carried out. */
static bool take_assign(struct sim_node *n, const struct assignment *item)
{
        const struct cluster_assign *a = &item->assign;
        struct sim_task *t = find_task(n, a->task);
        struct job_spec *spec = item->spec != NULL ? item->spec : find_spec(n, a);
        struct task_event event = {
                .type = TASK_EV_DESIRE, .desire = a->desire, .grant = grant_of(a)
        };
        bool singleton;

        if (a->forget) {
                if (t != NULL)
                        forget(t);
                return true;
        }
        if (spec == NULL)
                return false;
        if (t == NULL)
                t = make_task(n, a);
        spec = job_spec_ref(spec);
        job_spec_unref(t->spec);
        t->spec = spec;
        t->forget = t->tell_end = false;
        t->decided = item->decided;
        t->confirmed = a->desire.run;
        event.lapsed = lease_lapsed(t, &event.kill_mono);
        singleton = spec->singleton;
        apply(t, &event);
        if (singleton && n->agent_up)
                sim_agent_check_leases(n);
        return true;
}

void sim_agent_adopt(struct sim_node *n, const struct cluster_assign *a, struct job_spec *spec)
{
        struct sim_task *t = make_task(n, a);
        struct sim *s = n->sim;
        struct task_event events[] = { { .type = TASK_EV_DESIRE, .desire = a->desire },
                { .type = TASK_EV_SPAWNED, .pid = ++n->last_pid },
                { .type = TASK_EV_DESIRE, .desire = a->desire, .grant = grant_of(a) } };
        struct task_effects fx;

        t->spec = job_spec_ref(spec);
        events[0].desire.run = true;
        events[0].grant = events[2].grant;
        for (size_t i = 0; i < 2; i++)
                task_handle(&t->machine, spec, &events[i], sim_machine_mono(n), sim_machine_wall(n),
                        sim_random(&s->random), &fx);
        draw_run(t);
        t->process.pid = t->machine.pid;
        t->process.run = t->machine.runs;
        t->process.version = t->machine.run_version;
        t->process.began = s->now;
        if (t->process.fate.lasts != USEC_NEVER)
                schedule_end(t, s->now + t->process.fate.lasts);
        process_there(t);
        apply(t, &events[2]); /* which may ask it to end */
}

static void forget_unnamed(struct sim_node *n, const struct message *m)
{
        struct sim_task *t, *next;

        HASH_ITER (hh, n->tasks, t, next)
                t->named = false;
        for (size_t i = 0; i < m->items_len; i++)
                if ((t = find_task(n, m->items[i].assign.task)) != NULL)
                        t->named = true;
        HASH_ITER (hh, n->tasks, t, next)
                if (!t->named && n->agent_up)
                        forget(t);
}

static void take_assigns(struct link *l, const struct message *m)
{
        struct sim_node *n = l->node;
        bool failed = false;

        if (m->all)
                forget_unnamed(n, m);
        for (size_t i = 0; i < m->items_len && n->agent_up; i++)
                failed |= !take_assign(n, &m->items[i]);
        if (failed && l->agent_open) {
                sim_trace(n->sim, "%s: a spec is missing, asks again", n->status.name);
                n->retry_delay = TRY_AGAIN;
                sim_link_close_agent(l, true);
        }
}

void sim_agent_take(struct link *l, const struct message *m)
{
        struct sim_node *n = l->node;

        switch (m->type) {
        case MESSAGE_WELCOME:
                n->retry_delay = SIM_RETRY_MIN;
                begin_heartbeats(l);
                take_ack(n, m->seq);
                break;
        case MESSAGE_ACK:
                take_ack(n, m->seq);
                break;
        case MESSAGE_ASSIGN:
                take_assigns(l, m);
                break;
        case MESSAGE_PONG:
                set_heard(n, l->ping_mono);
                l->ping_mono = 0;
                break;
        case MESSAGE_HELLO:
        case MESSAGE_REPORT:
        case MESSAGE_NOTES:
        case MESSAGE_PING:
        case MESSAGE_END:
                break;
        }
}
