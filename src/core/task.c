/* SPDX-License-Identifier: BSD-3-Clause */

/* Task: the life of one task on its node.
 *
 * A machine is a plain struct without a pointer. task_handle() takes it from one state to the next
 * and says what is to be done; the agent owns the machine, carries the effects out and tells what
 * came of them as further events. Nothing here reads a clock, makes a system call or remembers
 * anything outside the machine.
 *
 *                 DESIRE, TIMER          SPAWNED              DESIRE, HALT
 *   (new) ──► QUEUED ─────────► STARTING ─────────► RUNNING ─────────────► STOPPING
 *             ▲ │ ▲               ▲ │                  │                      │
 *             │ │ │    it waits   │ │ SPAWN_FAILED     │ EXITED               │ EXITED
 *             │ │ └───────────────│─┴──────────────────┤                      │
 *             │ │                 │   again at once    │                      │
 *             │ │                 ├────────────────────┤                      │
 *             │ │                 │                    │     still wanted     │
 *             │ │                 ├────────────────────│──────────────────────┤
 *             │ │                 │                    │  the node goes down  │
 *             ├─│─────────────────│────────────────────│──────────────────────┤
 *             │ │ DESIRE:         │ DESIRE:            │ it is over, or       │ not wanted
 *             │ ▼ not wanted      │ wanted again       ▼ parked               ▼
 *             └─────────────────── ENDED ◄────────────────────────────────────┘
 *
 * ENDED comes back to QUEUED only while the node goes down, as a wish for later. SPAWN_FAILED leads
 * wherever EXITED in RUNNING leads or, when a stop was wanted meanwhile, EXITED in STOPPING; so
 * does EXITED in STARTING, of a run whose start was never told. BOOT takes STARTING, RUNNING,
 * STOPPING and QUEUED to STARTING, or to ENDED when the task is not wanted.
 *
 * LEASE acts like a desire that begins nothing (lapsed), and like one that comes again (held).
 * FOUND changes no state: it repeats a KILL that may have been lost, and puts off the deadlines of
 * a run that nobody listened to.
 * UNFIT leads from RUNNING to STOPPING, and so does TIMER when a run was not ready in time or has
 * not given a sign of life: the run is *failing*. Its end then leads where EXITED in RUNNING leads,
 * as a failure, unless it was asked to go meanwhile.
 *
 * What holds whenever task_handle() returns (task_machine_is_valid() checks it):
 *
 * - QUEUED: no process. Exactly one of: nobody has asked for the task yet; it waits, and has a due
 *   time; it waits until somebody wants it (idle); the node goes down (halted) or the lease is over
 *   (lapsed), or both.
 * - STARTING: the effect `spawn` is out and nothing is known of it: there may be a process or not.
 *   No deadline: the answer is certain to come. A desire or HALT that comes now is remembered and
 *   acted upon when the answer is there, so that a stop always knows whom to stop.
 * - RUNNING: a process, pid > 0, and the run is wanted as it is. The deadline is the one for being
 *   ready or for the next sign of life, whichever comes first; none if there are none.
 * - STOPPING: a process, pid > 0, and it was told to end. The deadline is the end of the grace
 *   period (none if that is endless). After the kill it is the moment at which the kill is
 *   repeated, in case the first was lost with the agent; the first time we complain as well.
 * - ENDED: no process, no deadline, a result. Nothing happens by itself.
 *
 * A run begins only where no process can be: the only ways into STARTING are from states without
 * one, by EXITED ("nothing of its group is left"), by SPAWN_FAILED, or by BOOT.
 *
 * Desires are levels, not edges: what to do follows from the desire and the machine alone, the same
 * desire again changes nothing, and a desire that was missed does no harm once the next is there.
 * A run is out of date when a person asked for a restart since (generation), the job has a version
 * that its process cannot take in place (restart_version), or a singleton was placed here anew
 * (fence): between two placements somebody else may have been the one. It is then replaced, which
 * is neither a failure nor a restart of the restart policy; nor is any end in STOPPING. Whether an
 * end that nobody asked for is followed by another run is decided in core/restart. Counters start
 * afresh whenever a person is behind the run: first run, restart, new version, start after a stop.
 * A machine that was booted anew does not reset the row of failures, only the burst window, whose
 * clock is gone.
 *
 * A singleton runs only as long as the server is known to count with this node. Whoever calls says
 * when that ends (core/lease); the group is then killed in time, whatever its grace period. It is
 * begun again when the server says so, over a link on which it has heard us since.
 *
 * A stop follows the spec of the desire, not that of the run: who repairs a wrong stop signal does
 * so in the version that replaces the run.
 *
 * Ready is what a spec without `ready` is as soon as it runs, and any other when somebody says so
 * (NOTICE); it stays so until the run ends or the program says that it is about to. Who asks the
 * program, and how often it may fail to answer, is not decided here (core/health): only what
 * follows from it.
 *
 * A task that is begun on demand goes to QUEUED and idle wherever another would begin without
 * having had a process before; DEMAND begins it, and its success leads there again. That counts as
 * ready: whoever wants something of it gets it. What replaces a run (restart, new version) begins
 * at once, since somebody may be amid what he wanted. A wish that comes right after a run has begun
 * waits for `restart.delay`, so that a program which leaves the connection alone is not begun all
 * the time.
 *
 * Not here: the probes, the exit record, who is in the group, and what a run is made of. */

#include "core/task.h"

#include <assert.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/macros.h"
#include "base/text.h"
#include "core/restart.h"
#include "core/task-internal.h"

/* A group that lives this long after SIGKILL hangs in the kernel; people should hear of it. */
#define STUCK_AFTER (5 * USEC_SEC)

static const struct {
        unsigned next; /* states that may follow; itself: another wait, another run, another
                          deadline */
        bool has_process;
} task_states[TASK_STATE_COUNT] = {
        [TASK_QUEUED] = { .next = BIT(TASK_QUEUED) | BIT(TASK_STARTING) | BIT(TASK_ENDED) },
        [TASK_STARTING] = { .next = BIT(TASK_QUEUED) | BIT(TASK_STARTING) | BIT(TASK_RUNNING) |
                                    BIT(TASK_ENDED) },
        [TASK_RUNNING] = { .next = BIT(TASK_QUEUED) | BIT(TASK_STARTING) | BIT(TASK_STOPPING) |
                                   BIT(TASK_ENDED),
                .has_process = true },
        [TASK_STOPPING] = { .next = BIT(TASK_QUEUED) | BIT(TASK_STARTING) | BIT(TASK_STOPPING) |
                                    BIT(TASK_ENDED),
                .has_process = true },
        [TASK_ENDED] = { .next = BIT(TASK_QUEUED) | BIT(TASK_STARTING) },
};

enum begin_cause {
        BEGIN_ASKED,   /* a person is behind it: counters start afresh */
        BEGIN_POLICY,  /* the restart policy is */
        BEGIN_RESUMED, /* the run before was cut short by the machine */
        BEGIN_WANTED,  /* somebody wants it; it waited for that */
};

/* ---- Saying what happens */

void PRINTF_LIKE(3, 4) task_note_down(struct step *s, enum event_kind kind, const char *format, ...)
{
        struct task_note *n = &s->fx->notes[s->fx->notes_len];
        va_list args;

        assert(s->fx->notes_len < TASK_NOTES_MAX);
        n->kind = kind;
        n->run = s->m->runs;
        n->version = s->m->run_version;
        n->failure = NULL;
        va_start(args, format);
        vsnprintf(n->message, sizeof n->message, format, args);
        va_end(args);
        s->fx->notes_len++;
}

void PRINTF_LIKE(4, 5) task_set_state(
        struct step *s, enum task_state to, usec_t deadline_mono, const char *format, ...)
{
        struct task_machine *m = s->m;
        char reason[TASK_REASON_MAX]; /* the old one may be among the arguments */
        va_list args;

        assert(task_states[m->state].next & BIT(to));
        va_start(args, format);
        vsnprintf(reason, sizeof reason, format, args);
        va_end(args);
        memcpy(m->reason, reason, sizeof reason);

        if (m->state != to) {
                m->since_wall = s->now_wall;
                m->result = RESULT_NONE;
                m->parked = 0;
                m->killed = KILLED_NOT;
                m->ready = m->unhealthy = m->failing = 0;
                m->ready_by_mono = m->alive_by_mono = 0;
                if (!task_states[to].has_process) {
                        m->pid = 0;
                        m->daemon = TASK_DAEMON_NONE;
                        m->daemon_by_mono = m->daemon_ticks = 0;
                }
        }
        m->idle = 0;
        m->state = to;
        m->deadline_mono = deadline_mono;
        m->next_run_wall = to == TASK_QUEUED && deadline_mono != USEC_NEVER
                                   ? task_add_span(s->now_wall, deadline_mono - s->now_mono)
                                   : 0;
}

/* ---- What is wanted */

#define WHY_MAX 80

/* Why the run has to go, or had to. */
static const char *format_why(char text[WHY_MAX], const struct task_machine *m)
{
        if (m->halted)
                snprintf(text, WHY_MAX, "the node goes down");
        else if (!m->desire.run)
                snprintf(text, WHY_MAX, "was asked to stop");
        else if (m->lapsed)
                snprintf(text, WHY_MAX, "its lease ends, the server has not been heard from");
        else if (m->desire.generation > m->run_generation)
                snprintf(text, WHY_MAX, "a restart was asked for");
        else if (m->desire.restart_version > m->run_version && m->run_version == 0)
                snprintf(text, WHY_MAX, "was asked to run");
        else if (m->desire.restart_version > m->run_version)
                snprintf(text, WHY_MAX, "version %" PRIu32 " replaces version %" PRIu32,
                        m->desire.version, m->run_version);
        else if (m->grant.fence > m->run_fence)
                snprintf(text, WHY_MAX, "was placed here anew (fence %" PRIu64 ")", m->grant.fence);
        else
                snprintf(text, WHY_MAX, "was asked to stop, then to run again");
        return text;
}

/* ---- Moves */

static void forget_failures(struct task_machine *m)
{
        m->failures = 0;
        m->burst_count = 0;
        m->burst_began_mono = 0;
}

static void PRINTF_LIKE(3, 4)
        begin_run(struct step *s, enum begin_cause cause, const char *format, ...)
{
        struct task_machine *m = s->m;
        char reason[TASK_REASON_MAX];
        va_list args;

        va_start(args, format);
        vsnprintf(reason, sizeof reason, format, args);
        va_end(args);
        task_set_state(s, TASK_STARTING, USEC_NEVER, "%s", reason);

        if (cause == BEGIN_ASKED || task_is_out_of_date(m))
                forget_failures(m);
        else if (cause == BEGIN_POLICY)
                m->restarts++;
        if (m->runs == 0)
                m->retries = m->grant.retries;
        else if (cause == BEGIN_ASKED || task_is_out_of_date(m))
                m->retries = 0;
        m->runs++;
        m->run_version = m->desire.version;
        m->run_generation = m->desire.generation;
        m->run_fence = m->grant.fence;
        m->started_wall = s->now_wall;
        m->started_mono = s->now_mono;
        m->alive_every = s->spec->watchdog;
        memset(m->status, 0, sizeof m->status);
        s->fx->spawn = true;
}

/* Where it is wanted: "127.0.0.1:80, 127.0.0.1:81". */
static const char *format_sockets(char text[WHY_MAX], const struct job_spec *spec)
{
        size_t len = 0;

        text[0] = '\0';
        for (size_t i = 0; i < spec->sockets_len && len < WHY_MAX; i++)
                len += (size_t) snprintf(text + len, WHY_MAX - len, "%s%s", i > 0 ? ", " : "",
                        spec->sockets[i].listen);
        return text;
}

/* It begins when somebody wants it. */
static void await_demand(struct step *s)
{
        struct task_machine *m = s->m;
        bool waited = m->idle == IDLE_WAITS;
        char where[WHY_MAX];

        if (task_is_out_of_date(m))
                forget_failures(m);
        task_set_state(s, TASK_QUEUED, USEC_NEVER, "waits for a connection to %s",
                format_sockets(where, s->spec));
        m->idle = IDLE_WAITS;
        m->run_version = m->desire.version;
        m->run_generation = m->desire.generation;
        m->run_fence = m->grant.fence;
        if (!waited)
                task_note_down(s, EVENT_TASK_WAITING, "%s", m->reason);
}

/* A person's wish is behind the run. */
static void begin_asked(struct step *s)
{
        char why[WHY_MAX];

        if (s->spec->start == JOB_START_ON_DEMAND && !task_states[s->m->state].has_process)
                await_demand(s);
        else if (s->m->runs == 0)
                begin_run(s, BEGIN_ASKED, "was asked to run");
        else if (task_is_out_of_date(s->m))
                begin_run(s, BEGIN_ASKED, "runs again: %s", format_why(why, s->m));
        else
                begin_run(s, BEGIN_ASKED, "runs again: was asked to");
}

/* The wait that the restart policy laid down is over. Every reason of a wait reads "waits 2s after
 * ...". */
static void begin_after_wait(struct step *s)
{
        const char *after = strstr(s->m->reason, " after ");

        begin_run(s, BEGIN_POLICY, "runs again%s", after != NULL ? after : "");
}

static void end_task(struct step *s, enum task_result result, const char *reason)
{
        task_set_state(s, TASK_ENDED, USEC_NEVER, "%s", reason);
        s->m->result = result;
}

/* Somebody wanted it so: whatever follows one day starts afresh. */
static void end_stopped(struct step *s)
{
        forget_failures(s->m);
        end_task(s, RESULT_STOPPED, "was asked to stop");
        task_note_down(s, EVENT_TASK_STOPPED, "stopped: was asked to stop");
}

/* The spec's, cut by the end of a lease. */
static usec_t grace_of(const struct step *s)
{
        usec_t kill = s->event->kill_mono, left = kill > s->now_mono ? kill - s->now_mono : 0;

        return s->m->lapsed && kill != 0 ? MIN(s->spec->stop.grace, left) : s->spec->stop.grace;
}

static void stop_run(struct step *s, int signal, const char *why)
{
        struct task_machine *m = s->m;
        usec_t span = grace_of(s);
        bool at_once = span == 0 || signal == SIGKILL;
        char grace[TIME_TEXT_MAX];

        task_set_state(s, TASK_STOPPING, task_add_span(s->now_mono, at_once ? STUCK_AFTER : span),
                "%s", why);
        m->killed = at_once ? KILLED : KILLED_NOT;
        s->fx->signal = at_once ? SIGKILL : signal;
        if (at_once)
                task_note_down(s, EVENT_TASK_STOPPING,
                        "stopping run %" PRIu64 " (KILL at once): %s", m->runs, why);
        else
                task_note_down(s, EVENT_TASK_STOPPING,
                        "stopping run %" PRIu64 " (%s, grace period %s): %s", m->runs,
                        text_signal_name(signal),
                        span == s->spec->stop.grace ? time_format_exact(grace, span)
                                                    : time_format_span(grace, span),
                        why);
}

void task_begin_stop(struct step *s)
{
        char why[WHY_MAX];

        stop_run(s, s->spec->stop.signal, format_why(why, s->m));
}

void task_fail_run(struct step *s, int signal, const char *why)
{
        stop_run(s, signal, why);
        s->m->failing = FAILING;
}

/* @what is over, and the group lives. */
static void kill_group(struct step *s, const char *what)
{
        struct task_machine *m = s->m;

        task_note_down(s, EVENT_TASK_STOPPING, "%s is over: killing the group of run %" PRIu64,
                what, m->runs);
        task_set_state(s, TASK_STOPPING, task_add_span(s->now_mono, STUCK_AFTER),
                "%s; %s is over, killed", m->reason, what);
        m->killed = KILLED;
        s->fx->signal = SIGKILL;
}

static void kill_after_grace(struct step *s)
{
        char grace[TIME_TEXT_MAX], what[TIME_TEXT_MAX + 32];

        if (s->m->lapsed) {
                kill_group(s, "the time that it had to end");
                return;
        }
        time_format_exact(grace, s->spec->stop.grace);
        snprintf(what, sizeof what, "the grace period of %s", grace);
        kill_group(s, what);
}

/* It was stopping already when its lease came to an end: the rest of the grace period is cut. */
static void cut_grace(struct step *s)
{
        struct task_machine *m = s->m;
        usec_t kill = task_add_span(s->now_mono, grace_of(s));

        if (m->killed || kill >= m->deadline_mono)
                return;
        if (kill <= s->now_mono)
                kill_group(s, "its lease");
        else
                task_set_state(s, TASK_STOPPING, kill, "%s", m->reason);
}

/* The group outlives SIGKILL. Killing it again does no harm, and helps if the agent died before the
 * first. */
static void kill_again(struct step *s)
{
        struct task_machine *m = s->m;
        usec_t next = task_add_span(s->now_mono, STUCK_AFTER);
        char span[TIME_TEXT_MAX];

        s->fx->signal = SIGKILL;
        if (m->killed == KILLED_STUCK) {
                task_set_state(s, TASK_STOPPING, next, "%s", m->reason);
                return;
        }
        time_format_exact(span, STUCK_AFTER);
        task_note_down(s, EVENT_TASK_STOPPING,
                "run %" PRIu64 " still lives %s after KILL: the kernel does not let it end "
                "(uninterruptible wait)",
                m->runs, span);
        task_set_state(s, TASK_STOPPING, next,
                "still lives %s after KILL: the kernel does not let it end (uninterruptible wait)",
                span);
        m->killed = KILLED_STUCK;
}

/* ---- The end of a run */

#define USAGE_MAX 80

/* What the run has used, as far as it is known; begins with a comma. */
static const char *format_usage(char text[USAGE_MAX], const struct task_event *event)
{
        char span[TIME_TEXT_MAX];
        int len = 0;

        text[0] = '\0';
        if (event->memory_peak != 0)
                len = snprintf(text, USAGE_MAX, ", peak %.1fMiB",
                        (double) event->memory_peak / (1024 * 1024));
        if (event->cpu != 0)
                snprintf(text + len, USAGE_MAX - (size_t) len, ", CPU %s",
                        time_format_span(span, event->cpu));
        return text;
}

static void note_end(struct step *s, const struct restart_end *end)
{
        char how[RESTART_REASON_MAX], lasted[TIME_TEXT_MAX], usage[USAGE_MAX];
        const char *detail = end->detail != NULL ? end->detail : "";
        const char *colon = end->detail != NULL ? ": " : "";
        uint64_t run = s->m->runs;

        time_format_span(lasted, end->lasted);
        restart_format_end(how, end);
        format_usage(usage, s->event);
        if (end->message != NULL)
                task_note_down(
                        s, EVENT_TASK_ENDED, "run %" PRIu64 " could not begin: %s", run, how);
        else if (end->failed != NULL)
                task_note_down(s, EVENT_TASK_ENDED, "run %" PRIu64 " ended after %s%s: %s", run,
                        lasted, usage, how);
        else if (!end->known)
                task_note_down(s, EVENT_TASK_ENDED, "run %" PRIu64 " ended: %s", run, how);
        else if (end->exit_code < 0)
                task_note_down(s, EVENT_TASK_ENDED,
                        "run %" PRIu64 " ended: killed by %s after %s%s%s%s", run,
                        text_signal_name(end->signal), lasted, usage, colon, detail);
        else
                task_note_down(s, EVENT_TASK_ENDED,
                        "run %" PRIu64 " ended: exit code %d after %s%s%s%s", run,
                        (int) end->exit_code, lasted, usage, colon, detail);
}

static void park(struct step *s, const struct restart_decision *d)
{
        struct task_machine *m = s->m;
        const char *id = s->event->id != NULL ? s->event->id : s->spec->name;
        char reason[TASK_REASON_MAX + 100];

        snprintf(reason, sizeof reason, "parked, `reeve restart %s` takes it up again: %s", id,
                d->reason);
        end_task(s, RESULT_FAILED, reason);
        m->parked = 1;
        task_note_down(s, EVENT_TASK_PARKED, "%s", m->reason);
        s->fx->notes[s->fx->notes_len - 1].failure = "parked";
}

static void begin_or_wait(struct step *s, const struct restart_decision *d)
{
        char delay[TIME_TEXT_MAX];

        if (d->delay == 0) {
                begin_run(s, BEGIN_POLICY, "runs again %s", d->reason);
                return;
        }
        task_set_state(s, TASK_QUEUED, task_add_span(s->now_mono, d->delay), "waits %s %s",
                time_format_span(delay, d->delay), d->reason);
        task_note_down(s, EVENT_TASK_WAITING, "%s", s->m->reason);
}

static enum task_result result_of(const struct restart_end *end, const struct restart_decision *d)
{
        if (end->message == NULL && end->failed == NULL && !end->known)
                return RESULT_UNKNOWN;
        return d->success ? RESULT_SUCCEEDED : RESULT_FAILED;
}

/* Nobody asked for the end of the run. */
static void decide_next(struct step *s, const struct restart_end *end, usec_t ended_mono)
{
        struct task_machine *m = s->m;
        struct restart_history history = { m->failures, m->burst_count, m->burst_began_mono,
                m->retries };
        struct restart_decision d;

        restart_decide(s->spec, &history, end, ended_mono, s->seed, &d);
        s->fx->failed = !d.success;
        m->failures = history.failures;
        m->burst_count = history.burst_count;
        m->burst_began_mono = history.burst_began_mono;
        m->retries = history.retries;

        if (d.success && s->spec->start == JOB_START_ON_DEMAND) {
                await_demand(s);
                return;
        }
        switch (d.verdict) {
        case RESTART_VERDICT_AGAIN:
                begin_or_wait(s, &d);
                break;
        case RESTART_VERDICT_END:
                end_task(s, result_of(end, &d), d.reason);
                break;
        case RESTART_VERDICT_PARK:
                park(s, &d);
                break;
        }
}

/* It is wanted, and waits for the boot, or for the server's word. */
static void hold_back(struct step *s)
{
        task_set_state(s, TASK_QUEUED, USEC_NEVER, "%s",
                s->m->halted ? "the node went down"
                : s->spec->after_len > 0 && !s->spec->singleton
                        ? "it waits for the server's word, since its job comes after others"
                        : "its lease is over: it waits until the server wants it here again");
}

/* The run had to go, and has. */
static void follow_stop(struct step *s)
{
        if (!s->m->desire.run)
                end_stopped(s);
        else if (task_is_held_back(s->m))
                hold_back(s);
        else
                begin_asked(s);
}

/* For whoever asks later what has changed since. */
static void remember_good(struct step *s, const struct task_machine *before)
{
        s->m->good_run = before->runs;
        s->m->good_version = before->run_version;
        s->m->good_wall = s->now_wall;
}

static void end_run(struct step *s, const struct restart_end *end, usec_t ended_mono)
{
        struct task_machine *m = s->m, before = *m;
        struct task_note *told = &s->fx->notes[s->fx->notes_len];
        bool stopped = task_must_stop(m) || (m->state == TASK_STOPPING && !m->failing);
        bool lasted = end->lasted >= s->spec->restart.healthy;

        m->exit_code = end->exit_code;
        m->signal = end->signal;
        note_end(s, end);
        if (stopped) {
                follow_stop(s);
        } else if (m->failing == FAILING_FOR_GOOD) {
                s->fx->failed = true;
                end_task(s, RESULT_FAILED, end->failed);
        } else {
                decide_next(s, end, ended_mono);
        }
        if (s->fx->failed)
                told->failure = s->event->out_of_memory ? "oom" : "failed";
        if (end->message == NULL && (lasted || (!s->fx->failed && !before.failing)))
                remember_good(s, &before);
}

/* ---- Events */

/* The desire has changed, or came again: moves that follow from it at once. */
static void reconcile_queued(struct step *s)
{
        struct task_machine *m = s->m;
        bool waits = m->deadline_mono != USEC_NEVER;

        if (!m->desire.run)
                end_stopped(s);
        else if (m->halted)
                return;
        else if (m->lapsed)
                hold_back(s);
        else if (task_is_out_of_date(m) ||
                 (m->idle ? s->spec->start != JOB_START_ON_DEMAND : !waits))
                begin_asked(s);
}

static void reconcile_ended(struct step *s)
{
        struct task_machine *m = s->m;

        if (!m->desire.run || (m->result != RESULT_STOPPED && !task_is_out_of_date(m)))
                return;
        if (m->halted)
                task_set_state(s, TASK_QUEUED, USEC_NEVER, "the node goes down");
        else if (m->lapsed)
                hold_back(s);
        else
                begin_asked(s);
}

/* It is on its way out; only the reason may have become another. */
static void reconcile_stopping(struct step *s)
{
        char why[WHY_MAX];

        if (task_must_stop(s->m))
                s->m->failing = 0; /* it was asked to go as well, and that is what counts */
        if (!s->m->killed && !s->m->failing)
                task_set_state(s, TASK_STOPPING, s->m->deadline_mono, "%s", format_why(why, s->m));
        if (s->m->lapsed)
                cut_grace(s);
}

/* What is wanted and what is held back may have changed: the moves that follow at once. */
static void reconcile(struct step *s)
{
        struct task_machine *m = s->m;

        if (m->state == TASK_QUEUED)
                reconcile_queued(s);
        else if (m->state == TASK_RUNNING && task_must_stop(m))
                task_begin_stop(s);
        else if (m->state == TASK_STOPPING)
                reconcile_stopping(s);
        else if (m->state == TASK_ENDED)
                reconcile_ended(s);
}

/* Who drove the machine before may have died before it sent the KILL that is on record. A stop
 * signal is not sent twice: there are programs that take the second one for "at once". */
static void on_found(struct step *s)
{
        if (s->m->state == TASK_STOPPING && s->m->killed)
                s->fx->signal = SIGKILL;
        else if (s->m->state == TASK_RUNNING)
                task_on_found_running(s);
}

static void on_desire(struct step *s)
{
        struct task_machine *m = s->m;
        uint32_t version = m->desire.version;

        m->desire = s->event->desire;
        m->grant = s->event->grant;
        m->lapsed = s->event->lapsed;
        /* A version that is older than what it must not be older than could be begun for ever. */
        m->desire.restart_version = MIN(m->desire.restart_version, m->desire.version);
        reconcile(s);
        if (m->state == TASK_RUNNING && m->desire.version != version) {
                task_await_ready(s);
                task_set_running_deadline(m);
        }
}

/* A task that nobody has asked for, or that has ended, has nothing to lose by it. */
static void on_lease(struct step *s)
{
        struct task_machine *m = s->m;
        bool before = m->lapsed;

        m->lapsed = s->event->lapsed;
        if (m->state == TASK_QUEUED ? m->desire.run && (before || m->lapsed)
                                    : m->state == TASK_RUNNING || m->state == TASK_STOPPING)
                reconcile(s);
}

static void on_spawned(struct step *s)
{
        struct task_machine *m = s->m;

        if (m->state != TASK_STARTING)
                return;
        assert(s->event->pid > 0);
        task_set_state(s, TASK_RUNNING, USEC_NEVER, "%s", m->reason);
        m->pid = s->event->pid;
        task_note_down(s, EVENT_TASK_STARTED,
                "run %" PRIu64 " started, pid %" PRId32 ", version %" PRIu32, m->runs, m->pid,
                m->run_version);
        if (s->spec->daemon.pid_file != NULL) {
                m->daemon = TASK_DAEMON_BEGUN;
                m->daemon_by_mono = task_add_span(s->now_mono, s->spec->daemon.timeout);
        }
        if (task_must_stop(m)) {
                task_begin_stop(s);
                return;
        }
        task_await_ready(s);
        task_set_running_deadline(m);
}

static void on_spawn_failed(struct step *s)
{
        const char *message = s->event->message;
        struct restart_end end = { .exit_code = -1,
                .unmet = s->event->unmet,
                .message = message != NULL ? message : "could not begin" };

        if (s->m->state == TASK_STARTING)
                end_run(s, &end, s->now_mono);
}

static void on_exited(struct step *s)
{
        const struct task_event *ev = s->event;
        struct task_machine *m = s->m;
        struct restart_end end = {
                .known = ev->known, .exit_code = -1, .detail = ev->known ? ev->detail : NULL
        };
        usec_t ended = ev->ended_mono != 0 ? MIN(ev->ended_mono, s->now_mono) : s->now_mono;
        char why[TASK_REASON_MAX];

        if (!task_states[m->state].has_process && m->state != TASK_STARTING)
                return;
        if (m->state == TASK_STARTING && s->spec->daemon.pid_file != NULL && ev->pid > 0)
                on_spawned(s); /* its command went so fast that its start was never told */
        if (task_is_launched(s))
                return;
        if (ev->known && ev->exit_code >= 0)
                end.exit_code = ev->exit_code;
        else if (ev->known)
                end.signal = ev->signal;
        end.lasted = ended > m->started_mono ? ended - m->started_mono : 0;
        if (m->failing) {
                memcpy(why, m->reason, sizeof why);
                end.failed = why;
        }
        end_run(s, &end, ended);
}

static void on_timer(struct step *s)
{
        struct task_machine *m = s->m;

        if (m->deadline_mono == USEC_NEVER || s->now_mono < m->deadline_mono)
                return;
        if (m->state == TASK_QUEUED)
                begin_after_wait(s);
        else if (m->state == TASK_RUNNING)
                task_on_running_deadline(s);
        else if (!m->killed)
                kill_after_grace(s);
        else
                kill_again(s);
}

static void on_halt(struct step *s)
{
        struct task_machine *m = s->m;

        if (m->halted)
                return;
        m->halted = 1;
        if (m->state == TASK_QUEUED)
                task_set_state(s, TASK_QUEUED, USEC_NEVER, "the node went down");
        else if (m->state == TASK_RUNNING)
                task_begin_stop(s);
        else if (m->state == TASK_STOPPING)
                reconcile_stopping(s);
}

static void on_boot(struct step *s)
{
        struct task_machine *m = s->m;
        const char *what = m->halted ? "the node went down" : "the machine was started anew";
        bool waited = m->state == TASK_QUEUED && m->deadline_mono != USEC_NEVER;

        m->halted = 0;
        m->lapsed = s->event->lapsed;
        m->burst_count = 0;
        m->burst_began_mono = 0;
        if (m->state == TASK_ENDED || (m->state == TASK_QUEUED && !m->desire.run))
                return;
        if (m->state != TASK_QUEUED) {
                m->exit_code = -1;
                m->signal = 0;
                task_note_down(s, EVENT_TASK_ENDED,
                        "run %" PRIu64 " ended: exit status unknown, %s", m->runs, what);
        }
        if (!m->desire.run)
                end_stopped(s);
        else if (m->lapsed)
                hold_back(s);
        else if (waited)
                begin_after_wait(s);
        else if (s->spec->start == JOB_START_ON_DEMAND)
                await_demand(s);
        else if (m->runs == 0)
                begin_asked(s);
        else
                begin_run(s, BEGIN_RESUMED, "runs again: %s", what);
}

static void on_demand(struct step *s)
{
        struct task_machine *m = s->m;
        usec_t pause = MAX(s->spec->restart.delay, RESTART_DELAY_UNSTARTED), since, left;
        char span[TIME_TEXT_MAX];

        if (!m->idle)
                return;
        since = s->now_mono - MIN(m->started_mono, s->now_mono);
        if (m->runs == 0 || since >= pause) {
                begin_run(s, BEGIN_WANTED, "a connection came");
                return;
        }
        left = pause - since;
        task_set_state(s, TASK_QUEUED, task_add_span(s->now_mono, left),
                "waits %s after a connection that came soon after another",
                time_format_span(span, left));
}

static void on_listens(struct step *s)
{
        struct task_machine *m = s->m;
        const char *why = s->event->message;

        if (!m->idle || (why == NULL && m->idle == IDLE_WAITS))
                return;
        if (why == NULL) {
                await_demand(s);
        } else if (m->idle == IDLE_WAITS || strcmp(why, m->reason) != 0) {
                task_set_state(s, TASK_QUEUED, USEC_NEVER, "%s", why);
                m->idle = IDLE_DEAF;
                task_note_down(s, EVENT_TASK_WAITING, "%s", why);
        }
}

/* ---- The whole */

void task_machine_init(struct task_machine *m, usec_t now_wall)
{
        *m = (struct task_machine){
                .state = TASK_QUEUED,
                .result = RESULT_NONE,
                .exit_code = -1,
                .since_wall = now_wall,
                .deadline_mono = USEC_NEVER,
                .reason = "nobody has asked for it yet",
        };
}

void task_handle(struct task_machine *m, const struct job_spec *spec,
        const struct task_event *event, usec_t now_mono, usec_t now_wall, uint64_t seed,
        struct task_effects *ret)
{
        struct task_machine before = *m;
        struct step s = { m, spec, event, now_mono, now_wall, seed, ret };

        *ret = (struct task_effects){ 0 };
        switch (event->type) {
        case TASK_EV_DESIRE:
                on_desire(&s);
                break;
        case TASK_EV_SPAWNED:
                on_spawned(&s);
                break;
        case TASK_EV_SPAWN_FAILED:
                on_spawn_failed(&s);
                break;
        case TASK_EV_EXITED:
                on_exited(&s);
                break;
        case TASK_EV_TIMER:
                on_timer(&s);
                break;
        case TASK_EV_HALT:
                on_halt(&s);
                break;
        case TASK_EV_BOOT:
                on_boot(&s);
                break;
        case TASK_EV_LEASE:
                on_lease(&s);
                break;
        case TASK_EV_FOUND:
                on_found(&s);
                break;
        case TASK_EV_NOTICE:
                task_on_notice(&s);
                break;
        case TASK_EV_HEALTH:
                task_on_health(&s);
                break;
        case TASK_EV_DAEMON:
                task_on_daemon(&s);
                break;
        case TASK_EV_DEMAND:
                on_demand(&s);
                break;
        case TASK_EV_LISTENS:
                on_listens(&s);
                break;
        case TASK_EV_UNFIT:
                task_on_unfit(&s);
                break;
        }
        ret->changed = !task_looks_same(&before, m);
        assert(task_machine_is_valid(m));
}
