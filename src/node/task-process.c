/* SPDX-License-Identifier: BSD-3-Clause */
/* The process of a run: whether it is there, and how it ends.
 *
 * Normally it is the child of our keeper, which reaps it and sends a record. After the keeper was
 * killed its former children belong to whoever reaps orphans; those are watched by pidfd, and the
 * kernel is asked how they ended (process.c). Of one that ended while neither keeper nor agent was
 * there the server may know, which holds pidfds, too (server/witness.c): nothing is decided before
 * it had its say. */
#include "node/task-internal.h"

#include <assert.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "node/process.h"

/* Waits for the end of a process that is somebody else's child, or, when the process has ended
 * unseen and there is no pidfd, for what the server saw of it. */
struct orphan {
        struct task *task; /* NULL: given up, closing */
        bool asks;         /* the server, which may have been witness of the end ... */
        bool told;         /* ... and was: */
        int status;        /* as wait(2) tells it */
        uv_poll_t poll;    /* unless it asks */
        uv_timer_t retry;
        uint64_t delay_ms;
        unsigned open_handles;
};

#define ORPHAN_RETRY_MIN_MS 2
#define ORPHAN_RETRY_MAX_MS 250
#define ASK_PATIENCE_MS     5000 /* for the server to be there */

void task_attach(struct task *t, pid_t pid, int pidfd)
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
        if (!o->asks)
                uv_close((uv_handle_t *) &o->poll, on_orphan_closed);
        uv_close((uv_handle_t *) &o->retry, on_orphan_closed);
}

void task_witness_name(char name[KEEPER_NAME_MAX], const char *id, uint64_t run)
{
        snprintf(name, KEEPER_NAME_MAX, "witness/%s/%" PRIu64, id, run);
}

void task_put_witness(struct task *t)
{
        uint64_t run = table_machine(t->slot)->runs;
        char name[KEEPER_NAME_MAX];

        if (t->owner->keeper <= 0 || t->witness == run)
                return;
        task_witness_name(name, t->id, run);
        keeper_client_put(t->owner->config.keeper, name, &t->pidfd, 1);
        t->witness = run;
}

/* The end of that run is written down. */
void task_drop_witness(struct task *t)
{
        char name[KEEPER_NAME_MAX];

        if (t->witness == 0)
                return;
        task_witness_name(name, t->id, t->witness);
        keeper_client_drop(t->owner->config.keeper, name);
        t->witness = 0;
}

void task_detach(struct task *t)
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
        char detail[TASK_DETAIL_MAX];

        task_look_at_end(t, event, detail);
        task_drain_streams(t);
        task_forward(t, true);
        task_health_drain(t);
        event->type = TASK_EV_EXITED;
        event->pid = t->pid;
        return task_apply(t, event);
}

static bool handle_wait_status(struct task *t, int status)
{
        struct task_event event = { .known = true, .exit_code = -1 };

        if (WIFEXITED(status))
                event.exit_code = WEXITSTATUS(status);
        else
                event.signal = WTERMSIG(status);
        event.core_dumped = !WIFEXITED(status) && WCOREDUMP(status);
        return handle_end(t, &event);
}

static bool end_unknown(struct task *t)
{
        struct task_event event = { .known = false, .exit_code = -1 };

        return handle_end(t, &event);
}

/* Returns false if it is not over, or could not be written down. */
static bool orphan_judge(struct task *t)
{
        const struct table_run record = task_main_record(t);
        int status;

        if (t->orphan->asks)
                return t->orphan->told ? handle_wait_status(t, t->orphan->status) : end_unknown(t);
        switch (process_ended(t->pidfd, &record, &status)) {
        case PROCESS_END_NOT_YET:
                return false;
        case PROCESS_END_KNOWN:
                return handle_wait_status(t, status);
        case PROCESS_END_UNKNOWN:
                return end_unknown(t);
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

static struct orphan *orphan_new(struct task *t)
{
        struct orphan *o = mem_alloc(sizeof *o);

        assert(t->orphan == NULL);
        o->task = t;
        o->delay_ms = ORPHAN_RETRY_MIN_MS;
        o->poll.data = o->retry.data = o;
        uv_timer_init(t->owner->config.loop, &o->retry);
        o->open_handles = 1;
        t->orphan = o;
        return o;
}

void task_watch_orphan(struct task *t)
{
        struct orphan *o = orphan_new(t);
        int r = uv_poll_init(t->owner->config.loop, &o->poll, t->pidfd);

        assert(r == 0);
        o->open_handles++;
        uv_poll_start(&o->poll, UV_READABLE, on_orphan_poll);
}

void task_ask_witness(struct task *t)
{
        struct orphan *o = orphan_new(t);

        o->asks = true;
        uv_timer_start(&o->retry, on_orphan_retry, ASK_PATIENCE_MS, 0);
}

void tasks_hear_witness(struct tasks *ts, const char *id, uint64_t run, int status)
{
        struct task *t = tasks_find(ts, id);

        if (t == NULL || t->orphan == NULL || !t->orphan->asks ||
                table_machine(t->slot)->runs != run ||
                table_machine(t->slot)->daemon_ticks != 0) /* it knows of the command only */
                return;
        t->orphan->told = true;
        t->orphan->status = status;
}

void tasks_heard_witness(struct tasks *ts)
{
        struct task *t, *next;

        HASH_ITER (hh, ts->by_id, t, next)
                if (t->orphan != NULL && t->orphan->asks)
                        on_orphan_retry(&t->orphan->retry);
}

/* A child that borrowed our memory until it executed its program is said to have had as much as we:
 * less than that says nothing of the program. In bytes; 0: unknown. */
static uint64_t own_peak(uint64_t max_rss_kib)
{
        struct rusage ours;

        getrusage(RUSAGE_SELF, &ours);
        return max_rss_kib > (uint64_t) ours.ru_maxrss ? max_rss_kib * 1024 : 0;
}

/* Whether a process of its pid that began then is the run's. */
static bool is_its(const struct task *t, uint64_t start_ticks)
{
        const struct table_run record = task_main_record(t);

        return process_matches(&record, start_ticks);
}

bool tasks_record(struct tasks *ts, const struct keeper_record *record)
{
        struct task_event event = { .known = true, .exit_code = -1 };
        struct task *t = NULL;

        for (t = ts->by_pid; t != NULL; t = t->hh_pid.next)
                if (t->pid == record->pid &&
                        (record->start_ticks == 0 || is_its(t, record->start_ticks)))
                        break;
        if (t == NULL)
                return true; /* an orphan that the keeper adopted, or a child that could not execute
                                its program */
        if (t->spec == NULL)
                return false; /* what to do next is decided when the server has told the spec again
                               */
        event.ended_mono = record->end_mono;
        event.memory_peak = own_peak(record->max_rss_kib);
        event.cpu = record->user_usec + record->system_usec;
        if (record->code == CLD_EXITED)
                event.exit_code = record->status;
        else
                event.signal = record->status;
        event.core_dumped = record->code == CLD_DUMPED;
        return handle_end(t, &event);
}

static bool process_is_there(const struct task *t)
{
        struct process_stat st;

        return process_read_stat(t->pid, &st) && is_its(t, st.start_ticks);
}

/* A pidfd of a process that was begun before our time, if it is there still. */
void task_find_process(struct task *t)
{
        if (t->pidfd >= 0 || t->pid == 0 || !process_is_there(t))
                return;
        t->pidfd = process_open(t->pid);
        /* it may have ended and the pid been given away since we looked */
        if (t->pidfd >= 0 && !process_is_there(t))
                close(take_fd(t->pidfd));
}
