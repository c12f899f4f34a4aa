/* SPDX-License-Identifier: BSD-3-Clause */
/* The cgroup of a run, from its birth to the last of its processes.
 *
 * When a run has ended its group is removed, which the kernel refuses as long as somebody is in it:
 * then all in it are killed, and these remains are looked after until they are gone. The task goes
 * on meanwhile, but its next run is not begun: two runs never overlap. An agent that is killed
 * leaves the group; the next one finds it by its name (tasks_sweep_cgroups()).
 *
 * Where there are no cgroups, the process group of the run is killed with its leader, and then
 * those who left it and came to the keeper when they lost their parent: they are known by the
 * environment that the run was given. */
#include "node/task-internal.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "node/limits.h"
#include "node/process.h"

#define LOOK_MIN_MS   1
#define LOOK_MAX_MS   100
#define COMPLAIN_SPAN (5 * USEC_SEC)

struct remains {
        struct remains *next;
        struct task *task; /* NULL: nobody waits for it */
        usec_t since;
        uint64_t delay_ms;
        uint64_t run; /* 0: not known */
        bool complained;
        char id[TASK_ID_MAX];
};

static void on_reaper(uv_timer_t *timer);

static void look_again(struct tasks *ts)
{
        uint64_t delay = LOOK_MAX_MS;

        for (const struct remains *r = ts->remains; r != NULL; r = r->next)
                delay = MIN(delay, r->delay_ms);
        if (ts->remains == NULL)
                uv_timer_stop(&ts->reaper);
        else
                uv_timer_start(&ts->reaper, on_reaper, delay, 0);
}

/* ---- without cgroups */

struct orphans {
        struct tasks *tasks;
        const char *id;
        uint64_t run;
        void (*each)(void *data, pid_t pid);
        void *data;
};

static void try_orphan(void *data, pid_t pid)
{
        struct orphans *o = data;
        const struct task *t;

        HASH_FIND(hh_pid, o->tasks->by_pid, &pid, sizeof pid, t);
        if ((t == NULL || t->pidfd < 0) && process_is_of_run(pid, o->id, o->run))
                o->each(o->data, pid);
}

void tasks_each_orphan(struct tasks *ts, const char *id, uint64_t run,
        void (*each)(void *data, pid_t pid), void *data)
{
        struct orphans o = { ts, id, run, each, data };
        const struct task *t = tasks_find(ts, id);
        bool ours = t != NULL && ts->keeper > 0 && table_run_record(t->slot)->run == run &&
                    table_run_record(t->slot)->parent == ts->keeper;

        if (ours)
                process_each_child(ts->keeper, try_orphan, &o);
        else /* they came to whoever gets the children of a keeper that was killed */
                process_each(try_orphan, &o);
}

static void kill_one(void *data, pid_t pid)
{
        ++*(size_t *) data;
        kill(pid, SIGKILL); /* it was there, with the run's environment, a moment ago */
}

/* The keeper gets who has lost its parent: kills those of the run, and when they are gone those who
 * were their children. True if there are none. */
static bool end_orphans(struct tasks *ts, const char *id, uint64_t run)
{
        size_t found = 0;

        if (run != 0 && !cgroups_tracked(ts->config.cgroups))
                tasks_each_orphan(ts, id, run, kill_one, &found);
        return found == 0;
}

static bool end_all(struct tasks *ts, const char *id, uint64_t run)
{
        bool alone = end_orphans(ts, id, run);

        return cgroups_end(ts->config.cgroups, id) && alone;
}

void task_kill_group(struct task *t)
{
        uint64_t run = table_run_record(t->slot)->run;

        if (cgroups_tracked(t->owner->config.cgroups))
                return;
        if (t->pidfd >= 0)
                process_kill_group(t->pidfd, t->pid, t->id, run);
        else
                process_kill_leftovers(t->pid, t->id, run);
}

/* ---- the remains of a run */

static bool are_gone(struct tasks *ts, struct remains *r)
{
        if (end_all(ts, r->id, r->run))
                return true;
        r->delay_ms = MIN(r->delay_ms * 2, (uint64_t) LOOK_MAX_MS);
        if (!r->complained && time_mono() - r->since > COMPLAIN_SPAN) {
                r->complained = true;
                log_warning("task %s: processes of its last run still live after KILL: the kernel "
                            "does not let them end (uninterruptible wait)",
                        r->id);
        }
        return false;
}

static void on_reaper(uv_timer_t *timer)
{
        struct tasks *ts = timer->data;

        for (struct remains **at = &ts->remains; *at != NULL;) {
                struct remains *r = *at;
                struct task *t = r->task;

                if (!are_gone(ts, r)) {
                        at = &r->next;
                        continue;
                }
                *at = r->next;
                free(r);
                if (t == NULL)
                        continue;
                t->remains = NULL;
                if (t->spawn_waits) {
                        t->spawn_waits = false;
                        task_enqueue_spawn(t);
                }
        }
        look_again(ts);
}

static void look_after(struct tasks *ts, struct task *t, const char *id, uint64_t run)
{
        struct remains *r;

        for (r = ts->remains; r != NULL && strcmp(r->id, id) != 0; r = r->next)
                ;
        if (r == NULL) {
                r = mem_alloc(sizeof *r);
                snprintf(r->id, sizeof r->id, "%s", id);
                r->run = run;
                r->since = time_mono();
                r->delay_ms = LOOK_MIN_MS;
                r->next = ts->remains;
                ts->remains = r;
        }
        r->task = t;
        if (t != NULL)
                t->remains = r;
        look_again(ts);
}

void task_leave_remains(struct task *t)
{
        if (t->remains != NULL)
                t->remains->task = NULL;
        t->remains = NULL;
}

int task_begin_cgroup(struct task *t, struct cgroup_birth *ret, struct error *err)
{
        struct tasks *ts = t->owner;
        int r = t->remains != NULL ? 1
                                   : cgroups_begin(ts->config.cgroups, t->id, t->spec->job,
                                             t->clean_cgroup, ret, err);

        t->clean_cgroup = r == 0;
        if (r <= 0)
                return r;
        look_after(ts, t, t->id, 0);
        t->spawn_waits = true;
        return 1;
}

void task_end_cgroup(struct task *t)
{
        uint64_t run = table_run_record(t->slot)->run;
        struct tasks *ts = t->owner;

        if (!end_all(ts, t->id, run))
                look_after(ts, t, t->id, run);
}

void task_pass_on_cgroup(struct task *t)
{
        uint64_t run = table_run_record(t->slot)->run;
        struct tasks *ts = t->owner;

        if (!cgroups_pass_on(ts->config.cgroups, t->id, t->spec->job, t->clean_cgroup) ||
                !end_orphans(ts, t->id, run))
                look_after(ts, t, t->id, run);
}

void task_kill(struct task *t)
{
        t->clean_cgroup = false;
        cgroups_kill(t->owner->config.cgroups, t->id);
        end_orphans(t->owner, t->id, table_run_record(t->slot)->run);
}

static uint64_t known(uint64_t number)
{
        return number != CGROUP_UNKNOWN ? number : 0;
}

void task_look_at_end(struct task *t, struct task_event *event, char detail[TASK_DETAIL_MAX])
{
        const struct job_spec *spec = t->spec->job;
        struct cgroups *cs = t->owner->config.cgroups;
        struct cgroup_victim victim;
        struct cgroup_usage usage;
        char limit[TEXT_SIZE_MAX];

        if ((cgroup_needs(spec) & cgroups_enforced(cs) & CGROUP_MEMORY) == 0)
                return;
        cgroups_usage(cs, t->id, &usage);
        if (known(usage.memory_peak) != 0)
                event->memory_peak = usage.memory_peak;
        event->cpu = MAX(event->cpu, known(usage.cpu_usec));
        if (usage.oom_kills == 0)
                return;
        text_format_size(limit, spec->limits.memory);
        if (cgroups_victim(cs, t->id, &victim))
                snprintf(detail, TASK_DETAIL_MAX,
                        "out of memory: %s (pid %d) was killed at the limit of %s", victim.name,
                        (int) victim.pid, limit);
        else
                snprintf(detail, TASK_DETAIL_MAX,
                        "out of memory: %" PRIu64 " of its processes %s killed at the limit of %s",
                        usage.oom_kills, usage.oom_kills == 1 ? "was" : "were", limit);
        event->detail = detail;
        event->out_of_memory = true;
}

/* ---- while it runs */

struct change {
        const struct job_spec *spec;
        struct error *err;
        bool failed;
};

static void change_one(void *data, pid_t pid)
{
        struct change *c = data;

        c->failed |= limits_give_running(c->spec, pid, c->failed ? NULL : c->err) < 0;
}

void task_change_limits(struct task *t)
{
        struct error err = ERROR_INIT;
        struct change c = { .spec = t->spec->job, .err = &err };

        if (t->pid == 0)
                return;
        if (cgroups_change(t->owner->config.cgroups, t->id, t->spec->job, &err) < 0)
                log_warning("task %s: a limit could not be changed: %s", t->id, err.message);
        if (!cgroups_each_process(t->owner->config.cgroups, t->id, change_one, &c))
                change_one(&c, t->pid);
        if (c.failed)
                log_warning("task %s: a limit could not be changed: %s", t->id, err.message);
}

/* ---- at the start of the agent */

static void sweep_one(void *data, const char *id)
{
        struct tasks *ts = data;
        struct task *t = tasks_find(ts, id);

        if (t != NULL && t->pid != 0)
                return; /* it runs, or its end is not told yet */
        if (!cgroups_end(ts->config.cgroups, id))
                look_after(ts, t, id, 0);
}

void tasks_sweep_cgroups(struct tasks *ts)
{
        cgroups_each(ts->config.cgroups, sweep_one, ts);
}
