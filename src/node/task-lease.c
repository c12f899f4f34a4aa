/* SPDX-License-Identifier: BSD-3-Clause */
/* Leases of the singletons on this node: who decides is core/lease and core/task; here is the
 * timer.
 *
 * The moment at which the server is known to have heard us is in the table's mapping: a restarted
 * agent goes on with what is left of the leases. It moves forward with every heartbeat, and nothing
 * is done then; the timer fires when the first lease would end if it had not moved, and looks
 * again.
 *
 * What waits because its lease ended is begun again when two things are true: the server has
 * assigned it over the link that there is now, and it is known to have heard us recently. Both in
 * any order: an assign may have waited in a socket while this agent was held up, and the server
 * have given the task away meanwhile. */
#include "node/task-internal.h"

#include "core/lease.h"

static bool is_singleton(const struct task *t)
{
        return t->spec != NULL && t->spec->job->singleton;
}

static void plan(const struct task *t, struct lease *ret)
{
        const struct job_spec *spec = t->spec->job;

        lease_plan(table_heard(t->owner->config.table), spec->lease, spec->stop.grace, ret);
}

bool task_lease_lapsed(const struct task *t, usec_t *ret_kill)
{
        struct lease lease;

        if (!is_singleton(t))
                return false;
        plan(t, &lease);
        if (lease_holds(&lease, time_mono()))
                return false;
        if (ret_kill != NULL)
                *ret_kill = lease.kill_mono;
        return true;
}

/* The order in which jobs begin is the server's to know. */
bool task_boot_lapsed(const struct task *t)
{
        return task_lease_lapsed(t, NULL) || (t->spec != NULL && t->spec->job->after_len > 0);
}

/* Returns when the task's lease may end; USEC_NEVER: not by itself. */
static usec_t check_one(struct task *t)
{
        struct task_event event = { .type = TASK_EV_LEASE };
        bool lapsed = table_machine(t->slot)->lapsed;
        struct lease lease;

        event.lapsed = task_lease_lapsed(t, &event.kill_mono);
        t->owner->any_lapsed |= event.lapsed || lapsed;
        if (event.lapsed || (lapsed && t->confirmed))
                task_apply(t, &event); /* may free it, if it lapsed */
        if (event.lapsed)
                return USEC_NEVER;
        plan(t, &lease);
        return lease.stop_mono;
}

static void on_lease(uv_timer_t *timer)
{
        tasks_check_leases(timer->data);
}

void tasks_check_leases(struct tasks *ts)
{
        usec_t next = USEC_NEVER, now = time_mono();
        struct task *t, *following;

        ts->any_lapsed = false;
        HASH_ITER (hh, ts->by_id, t, following)
                if (is_singleton(t))
                        next = MIN(next, check_one(t));
        uv_update_time(ts->config.loop);
        if (next == USEC_NEVER)
                uv_timer_stop(&ts->lease);
        else
                uv_timer_start(&ts->lease, on_lease,
                        next > now ? (next - now + USEC_MSEC - 1) / USEC_MSEC : 0, 0);
}

void tasks_watch_leases(struct tasks *ts)
{
        uv_timer_start(&ts->lease, on_lease, 0, 0);
}

void tasks_set_heard(struct tasks *ts, usec_t heard_mono)
{
        table_set_heard(ts->config.table, heard_mono);
        if (ts->any_lapsed)
                tasks_check_leases(ts);
}

void tasks_link_gone(struct tasks *ts)
{
        for (struct task *t = ts->by_id; t != NULL; t = t->hh.next)
                t->confirmed = false;
}
