/* SPDX-License-Identifier: BSD-3-Clause */
/* What a run is beside being there: ready, alive and well; and, of a program that forks itself
 * away, which process it is.
 *
 * A run of a daemon begins with the command's process (BEGUN). That ends with 0 (LEFT), and some
 * moment before or after it the file is written that names the process which is the run from then
 * on (OWN, FOREIGN). Until it is found the run has no process that could be signalled; a stop goes
 * to all that the command left behind, and if nothing is there any more the run has ended. */

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "core/task-internal.h"

/* Of a deadline that passed while nobody listened, this much is left at least. */
#define FAIR_SPAN (10 * USEC_SEC)

/* RUNNING has the first of its deadlines. */
void task_set_running_deadline(struct task_machine *m)
{
        m->deadline_mono = task_running_deadline(m);
}

static void await_life(struct step *s)
{
        struct task_machine *m = s->m;

        m->alive_by_mono = m->alive_every > 0 ? task_add_span(s->now_mono, m->alive_every) : 0;
}

static void become_ready(struct step *s, bool tell)
{
        struct task_machine *m = s->m;
        char after[TIME_TEXT_MAX];

        m->ready = 1;
        m->ready_by_mono = 0;
        await_life(s);
        if (tell)
                task_note_down(s, EVENT_TASK_READY, "run %" PRIu64 " is ready after %s", m->runs,
                        time_format_span(after, s->now_mono - MIN(m->started_mono, s->now_mono)));
}

/* A run that begins, or goes on with another spec: what its readiness follows from. */
void task_await_ready(struct step *s)
{
        struct task_machine *m = s->m;
        usec_t deadline = s->spec->ready.deadline;

        if (m->ready)
                return;
        if (!job_spec_has_ready(s->spec) && !task_is_launching(m))
                become_ready(s, false);
        else if (job_spec_has_ready(s->spec))
                m->ready_by_mono = deadline > 0 ? task_add_span(m->started_mono, deadline) : 0;
}

static void fail_unready(struct step *s)
{
        char why[TIME_TEXT_MAX + 48], span[TIME_TEXT_MAX];

        snprintf(why, sizeof why, "it was not ready within %s (ready.deadline)",
                time_format_exact(span, s->spec->ready.deadline));
        task_fail_run(s, s->spec->stop.signal, why);
}

static void fail_silent(struct step *s)
{
        char why[TIME_TEXT_MAX + 48], span[TIME_TEXT_MAX];

        snprintf(why, sizeof why, "it gave no sign of life for %s (watchdog)",
                time_format_exact(span, s->m->alive_every));
        task_fail_run(s, SIGABRT, why);
}

static void fail_launch(struct step *s)
{
        char why[TASK_REASON_MAX], span[TIME_TEXT_MAX];

        time_format_exact(span, s->spec->daemon.timeout);
        if (s->m->daemon == TASK_DAEMON_BEGUN)
                snprintf(why, sizeof why,
                        "the command did not fork itself away and end within %s (daemon.timeout)",
                        span);
        else
                snprintf(why, sizeof why, "%s named no process of the run within %s (daemon)",
                        s->spec->daemon.pid_file != NULL ? s->spec->daemon.pid_file : "its file",
                        span);
        task_fail_run(s, s->spec->stop.signal, why);
}

void task_on_running_deadline(struct step *s)
{
        struct task_machine *m = s->m;

        if (m->daemon_by_mono != 0 && s->now_mono >= m->daemon_by_mono)
                fail_launch(s);
        else if (m->ready_by_mono != 0 && s->now_mono >= m->ready_by_mono)
                fail_unready(s);
        else
                fail_silent(s);
}

/* Text for people: one line, as much as there is room for, whole characters. */
static void set_status(struct task_machine *m, const char *text)
{
        size_t len = strnlen(text, sizeof m->status - 1);

        while (len > 0 && text[len] != '\0' && ((unsigned char) text[len] & 0xc0) == 0x80)
                len--;
        memset(m->status, 0, sizeof m->status);
        memcpy(m->status, text, len);
        for (char *p = m->status; *p != '\0'; p++)
                if ((unsigned char) *p < ' ' || *p == 0x7f)
                        *p = ' ';
}

static void extend(struct step *s, usec_t span)
{
        struct task_machine *m = s->m;
        usec_t until = task_add_span(s->now_mono, span);

        if (m->state == TASK_STOPPING && !m->killed && !m->lapsed)
                task_set_state(s, TASK_STOPPING, MAX(m->deadline_mono, until), "%s", m->reason);
        else if (m->state == TASK_RUNNING && m->ready_by_mono != 0)
                m->ready_by_mono = MAX(m->ready_by_mono, until);
}

void task_on_notice(struct step *s)
{
        const struct task_notice *n = &s->event->notice;
        struct task_machine *m = s->m;

        if (m->state != TASK_RUNNING && m->state != TASK_STOPPING)
                return;
        if (n->status != NULL)
                set_status(m, n->status);
        if (n->extend > 0)
                extend(s, n->extend);
        if (m->state != TASK_RUNNING)
                return;
        if (n->watchdog > 0)
                m->alive_every = n->watchdog;
        if (n->stopping) {
                m->ready = 0;
                m->ready_by_mono = 0;
        } else if (n->ready && !m->ready) {
                become_ready(s, true);
        }
        if ((n->alive || n->watchdog > 0) && (m->ready || m->alive_by_mono != 0))
                await_life(s);
        task_set_running_deadline(m);
        if (n->hung)
                task_fail_run(s, SIGABRT, "it asked for its end (WATCHDOG=trigger)");
}

void task_on_health(struct step *s)
{
        struct task_machine *m = s->m;

        if (m->state != TASK_RUNNING || m->unhealthy == !s->event->healthy)
                return;
        m->unhealthy = !s->event->healthy;
        task_note_down(s, EVENT_TASK_HEALTH, "run %" PRIu64 " is %s: %s", m->runs,
                m->unhealthy ? "unhealthy" : "healthy again", s->event->message);
        if (m->unhealthy)
                s->fx->notes[s->fx->notes_len - 1].failure = "unhealthy";
}

void task_on_unfit(struct step *s)
{
        if (s->m->state == TASK_RUNNING)
                task_fail_run(s, s->spec->stop.signal, s->event->message);
        if (s->m->failing && s->event->final)
                s->m->failing = FAILING_FOR_GOOD;
}

/* Nobody listened for a while: what was said meanwhile is still to be heard, and nothing may be
 * held against the run that is. */
void task_on_found_running(struct step *s)
{
        struct task_machine *m = s->m;
        usec_t fair = MIN(s->spec->ready.deadline, FAIR_SPAN);

        if (!m->ready && !job_spec_has_ready(s->spec) && !task_is_launching(m))
                become_ready(s, false); /* begun by a Reeve that did not know */
        if (m->ready_by_mono != 0)
                m->ready_by_mono = MAX(m->ready_by_mono, task_add_span(s->now_mono, fair));
        if (m->alive_by_mono != 0)
                await_life(s);
        if (m->daemon_by_mono != 0)
                m->daemon_by_mono = MAX(m->daemon_by_mono,
                        task_add_span(s->now_mono, MIN(s->spec->daemon.timeout, FAIR_SPAN)));
        task_set_running_deadline(m);
}

/* One that was there before anything was begun. */
static void take_over(struct step *s)
{
        struct task_machine *m = s->m;

        task_set_state(s, TASK_RUNNING, USEC_NEVER, "%s", m->reason);
        task_note_down(s, EVENT_TASK_STARTED,
                "run %" PRIu64 " is process %" PRId32
                ", which was there already and which daemon.pid_file names",
                m->runs, s->event->pid);
}

void task_on_daemon(struct step *s)
{
        struct task_machine *m = s->m;

        if (m->state == TASK_STARTING)
                take_over(s);
        else if (m->daemon == TASK_DAEMON_LEFT)
                task_note_down(s, EVENT_TASK_STARTED,
                        "run %" PRIu64 " is process %" PRId32 ", as daemon.pid_file has it",
                        m->runs, s->event->pid);
        else
                return;
        m->pid = s->event->pid;
        m->daemon = s->event->foreign ? TASK_DAEMON_FOREIGN : TASK_DAEMON_OWN;
        m->daemon_ticks = s->event->ticks;
        m->daemon_by_mono = 0;
        if (m->state == TASK_STOPPING) {
                s->fx->signal = m->killed ? SIGKILL : s->spec->stop.signal;
        } else if (task_must_stop(m)) {
                task_begin_stop(s);
        } else {
                task_await_ready(s);
                task_set_running_deadline(m);
        }
}

/* The command of a daemon has ended as it should; or this was told already. */
bool task_is_launched(struct step *s)
{
        const struct task_event *ev = s->event;
        struct task_machine *m = s->m;

        if (m->daemon == TASK_DAEMON_LEFT)
                return !ev->whole;
        if (m->daemon != TASK_DAEMON_BEGUN || !ev->known || ev->exit_code != 0 || m->killed)
                return false;
        m->daemon = TASK_DAEMON_LEFT;
        return true;
}
