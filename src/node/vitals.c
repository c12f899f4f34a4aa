/* SPDX-License-Identifier: BSD-3-Clause */
/* Vitals: what tasks and machine use.
 *
 * A look goes through the slots of the table, a millisecond of work at a time, so that a thousand
 * tasks do not hold the loop. What a run has used of CPU is what its cgroup counts; where there is
 * none that does, what its processes say, who are those in its cgroup, or without any those of its
 * session: then /proc is gone through once per look, for all tasks. Memory is what the cgroup
 * counts where it limits memory (with what the kernel has cached for it), else the resident memory
 * of the processes.
 *
 * How much CPU is used is the difference of two looks. A look at which samples are kept comes every
 * so often; somebody who asks for something newer has one more be made, which is not kept, and the
 * samples that are kept span from one kept look to the next all the same.
 *
 * Nothing here is needed by anything else: what cannot be found out is left out. The samples
 * outlive the agent (vitals-ring.c); the last look does not, so the first one of an agent knows no
 * rates but those of runs that began meanwhile.
 *
 * Loop thread only. Costs a look-up per task that runs and look, and no memory in struct task. */
#include "node/vitals.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "model/vitals.h"
#include "node/usage.h"
#include "node/vitals-machine.h"
#include "node/vitals-ring.h"

#define SLICE_USEC   USEC_MSEC
#define SLICE_GAP_MS 2
#define RATE_MIN     (10 * USEC_MSEC) /* less is no time to tell a rate by */
#define PROC_AT_ONCE 16
#define WARN_EVERY   USEC_HOUR

/* A run at one moment. */
struct point {
        usec_t mono; /* 0: not known */
        uint64_t cpu_usec;
};

struct vital {        /* by the number of its slot */
        uint64_t run; /* 0: nothing is known */
        struct point seen, kept;
        uint64_t memory;
        uint32_t milli;      /* between the last two looks, or VITALS_UNKNOWN */
        uint32_t kept_milli; /* between the last two kept ones */
};

/* A session and what was found of it, while /proc is gone through. */
struct session {
        pid_t pid;
        struct usage sum;
};

struct vitals {
        struct vitals_config config;
        struct vitals_ring *ring; /* NULL: nothing can be kept */
        struct vital *tasks;
        size_t tasks_len;

        bool looking, keeping; /* a look is under way; its samples are kept */
        size_t next;           /* slot */
        DIR *proc;
        struct session *sessions; /* by pid */
        size_t sessions_len;

        struct vitals_machine machine;
        struct point machine_seen, machine_kept;
        uint32_t machine_milli, machine_kept_milli;
        usec_t looked_mono, looked_wall; /* at the end of the last look; 0: none */
        usec_t warned_mono;
        uv_timer_t timer, slice;
        unsigned handles;
};

/* ---- rates */

static uint32_t rate(const struct point *from, const struct point *to)
{
        uint64_t used = to->cpu_usec - MIN(from->cpu_usec, to->cpu_usec);

        if (from->mono == 0 || to->mono < from->mono + RATE_MIN || to->cpu_usec == UINT64_MAX ||
                from->cpu_usec == UINT64_MAX)
                return VITALS_UNKNOWN;
        return (uint32_t) MIN(used * 1000 / (to->mono - from->mono), (uint64_t) INT32_MAX);
}

/* @kept: the time of the sample before, if this one is kept. */
static void note_point(struct point *seen, struct point *kept, uint32_t *milli,
        uint32_t *kept_milli, const struct point *now, bool keep)
{
        if (now->mono < seen->mono + RATE_MIN && seen->mono != 0 && !keep)
                return;
        *milli = rate(seen, now);
        *seen = *now;
        if (!keep)
                return;
        *kept_milli = rate(kept, now);
        *kept = *now;
}

/* ---- a task */

static void name_of(const struct table_slot *slot, char id[TASK_ID_MAX])
{
        snprintf(id, TASK_ID_MAX, "%s.%" PRIu32, table_slot_job(slot), table_slot_index(slot));
}

static int compare_sessions(const void *a, const void *b)
{
        const struct session *x = a, *y = b;

        return (x->pid > y->pid) - (x->pid < y->pid);
}

static struct session *find_session(struct vitals *v, pid_t pid)
{
        return v->sessions_len == 0
                       ? NULL
                       : bsearch(&(struct session){ .pid = pid }, v->sessions, v->sessions_len,
                                 sizeof *v->sessions, compare_sessions);
}

/* What the run's processes use, as far as @ret does not know it already. */
static void add_processes(
        struct vitals *v, const char *id, pid_t pid, uint64_t *cpu_usec, uint64_t *memory)
{
        const struct session *session;
        struct usage sum = { 0 };

        if (!cgroups_each_process(v->config.cgroups, id, usage_add, &sum)) {
                session = find_session(v, pid);
                if (session != NULL)
                        sum = session->sum;
                else if (!usage_read(pid, &sum, NULL))
                        return;
        }
        if (*cpu_usec == CGROUP_UNKNOWN)
                *cpu_usec = sum.cpu_usec;
        if (*memory == CGROUP_UNKNOWN)
                *memory = sum.memory;
}

static void begin_run(struct vital *one, const struct task_machine *m, usec_t last_look)
{
        *one = (struct vital){
                .run = m->runs, .milli = VITALS_UNKNOWN, .kept_milli = VITALS_UNKNOWN
        };
        if (m->started_mono > last_look) /* all that it has used, it has used since */
                one->seen.mono = one->kept.mono = m->started_mono;
}

static void look_at(struct vitals *v, struct vital *one, const struct table_slot *slot)
{
        const struct task_machine *m = table_machine(slot);
        struct point now = { .mono = time_mono() };
        const struct task *t;
        uint64_t memory;
        char id[TASK_ID_MAX];

        if (m->pid <= 0 || (m->state != TASK_RUNNING && m->state != TASK_STOPPING)) {
                one->run = 0;
                return;
        }
        if (one->run != m->runs)
                begin_run(one, m, v->looked_mono);
        name_of(slot, id);
        t = tasks_find(v->config.tasks, id);
        cgroups_vitals(v->config.cgroups, id,
                t != NULL && t->spec != NULL ? cgroup_needs(t->spec->job) : CGROUP_ALL,
                &now.cpu_usec, &memory);
        if (now.cpu_usec == CGROUP_UNKNOWN || memory == CGROUP_UNKNOWN)
                add_processes(v, id, m->pid, &now.cpu_usec, &memory);
        if (memory == CGROUP_UNKNOWN) /* it has just ended */
                return;
        now.cpu_usec = MAX(now.cpu_usec, one->seen.cpu_usec); /* a child was not waited for */
        one->memory = memory;
        note_point(&one->seen, &one->kept, &one->milli, &one->kept_milli, &now, v->keeping);
}

/* ---- the sessions of all tasks, where there are no cgroups */

static void list_sessions(struct vitals *v)
{
        v->sessions = mem_resize(v->sessions, MAX(v->tasks_len, (size_t) 1), sizeof *v->sessions);
        v->sessions_len = 0;
        for (size_t i = 0; i < v->tasks_len; i++) {
                const struct table_slot *slot = table_at(v->config.table, i);

                if (slot != NULL && table_machine(slot)->pid > 0)
                        v->sessions[v->sessions_len++] =
                                (struct session){ .pid = table_machine(slot)->pid };
        }
        qsort(v->sessions, v->sessions_len, sizeof *v->sessions, compare_sessions);
}

/* Some more of them. Returns false at the end. */
static bool read_sessions(struct vitals *v)
{
        for (int i = 0; i < PROC_AT_ONCE; i++) {
                const struct dirent *e = readdir(v->proc);
                struct session *session;
                struct usage usage;
                pid_t whose;

                if (e == NULL)
                        return false;
                if (atoi(e->d_name) <= 0 || !usage_read(atoi(e->d_name), &usage, &whose))
                        continue;
                session = find_session(v, whose);
                if (session == NULL)
                        continue;
                session->sum.cpu_usec += usage.cpu_usec;
                session->sum.memory += usage.memory;
        }
        return true;
}

/* ---- keeping */

static void warn(struct vitals *v, const struct error *err)
{
        usec_t now = time_mono();

        if (v->warned_mono != 0 && now < v->warned_mono + WARN_EVERY)
                return;
        v->warned_mono = now;
        log_warning("samples of CPU and memory are not kept: %s", err->message);
}

static void put_cell(struct vitals *v, size_t i, struct vitals_cell *cell)
{
        const struct table_slot *slot = table_at(v->config.table, i);
        const struct vital *one = &v->tasks[i];
        char id[TASK_ID_MAX];

        if (slot == NULL || one->run == 0 || one->seen.mono == 0)
                return;
        name_of(slot, id);
        *cell = (struct vitals_cell){ .key = vitals_ring_key(id),
                .run = (uint32_t) one->run,
                .cpu = one->kept_milli,
                .memory_kib = (uint32_t) MIN(one->memory / 1024, (uint64_t) UINT32_MAX - 1) };
}

static void keep(struct vitals *v)
{
        struct vitals_row row = { .wall = v->looked_wall,
                .memory = v->machine.memory,
                .disk = v->machine.disk,
                .cpu = v->machine_kept_milli,
                .load = (uint32_t) MIN(v->machine.load, (uint64_t) VITALS_UNKNOWN) };
        AUTO(mem_freep) struct vitals_cell *cells = NULL;
        struct error err = ERROR_INIT;
        size_t used = v->tasks_len;

        while (used > 0 && v->tasks[used - 1].run == 0)
                used--;
        cells = mem_alloc(MAX(used, (size_t) 1) * sizeof *cells);
        for (size_t i = 0; i < used; i++)
                put_cell(v, i, &cells[i]);
        row.cells = (uint32_t) used;
        if (vitals_ring_add(v->ring, &row, cells, &err) < 0)
                warn(v, &err);
}

/* ---- a look */

static void end_look(struct vitals *v)
{
        struct point now;

        vitals_machine_read("", v->config.data, &v->machine);
        v->looked_mono = time_mono();
        v->looked_wall = time_wall();
        now = (struct point){ v->looked_mono, v->machine.cpu_usec };
        note_point(&v->machine_seen, &v->machine_kept, &v->machine_milli, &v->machine_kept_milli,
                &now, v->keeping);
        if (v->keeping && v->ring != NULL)
                keep(v);
        v->looking = v->keeping = false;
        v->config.on_looked(v->config.data_of_looked);
}

/* Returns false when all was looked at. */
static bool look_on(struct vitals *v)
{
        if (v->proc != NULL) {
                if (read_sessions(v))
                        return true;
                closedir(v->proc);
                v->proc = NULL;
        }
        if (v->next >= v->tasks_len)
                return false;
        const struct table_slot *slot = table_at(v->config.table, v->next);
        struct vital *one = &v->tasks[v->next++];

        if (slot == NULL)
                one->run = 0;
        else
                look_at(v, one, slot);
        return true;
}

static void on_slice(uv_timer_t *timer)
{
        struct vitals *v = timer->data;
        usec_t until = time_mono() + SLICE_USEC;

        while (look_on(v))
                if (time_mono() >= until) {
                        uv_timer_start(&v->slice, on_slice, SLICE_GAP_MS, 0);
                        return;
                }
        end_look(v);
}

static void find_last_slot(void *data, struct task *t)
{
        struct vitals *v = data;

        v->next = MAX(v->next, table_slot_number(v->config.table, t->slot) + 1);
}

/* For all slots in use. Those behind the last are not looked at: that would bring the pages that
 * the table has in store for more into memory. */
static void make_room(struct vitals *v)
{
        v->next = 0;
        tasks_each(v->config.tasks, find_last_slot, v);
        if (v->next <= v->tasks_len)
                return;
        v->tasks = mem_resize(v->tasks, v->next, sizeof *v->tasks);
        memset(v->tasks + v->tasks_len, 0, (v->next - v->tasks_len) * sizeof *v->tasks);
        v->tasks_len = v->next;
}

static void begin_look(struct vitals *v, bool keeping)
{
        v->keeping = v->keeping || keeping;
        if (v->looking)
                return;
        v->looking = true;
        make_room(v);
        v->next = 0;
        v->sessions_len = 0;
        if (!cgroups_tracked(v->config.cgroups)) {
                list_sessions(v);
                v->proc = opendir("/proc");
        }
        uv_timer_start(&v->slice, on_slice, 0, 0);
}

static void on_timer(uv_timer_t *timer)
{
        begin_look(timer->data, true);
}

/* ---- telling */

bool vitals_refresh(struct vitals *v, usec_t max_age)
{
        if (v->looked_mono != 0 && time_mono() <= v->looked_mono + max_age)
                return true;
        begin_look(v, false);
        return false;
}

static int64_t number(uint64_t value)
{
        return value <= (uint64_t) INT64_MAX ? (int64_t) value : RECORD_NULL;
}

static int64_t milli(uint32_t value)
{
        return value != VITALS_UNKNOWN ? (int64_t) value : RECORD_NULL;
}

void vitals_put_node(struct vitals *v, struct buffer *out)
{
        const struct vitals_machine *m = &v->machine;
        struct node_vitals node = { .node = (char *) (uintptr_t) v->config.node,
                .time = v->looked_wall,
                .every = v->config.every == USEC_NEVER ? RECORD_NULL
                                                       : (int64_t) (v->config.every / USEC_MSEC),
                .cores = v->config.cores,
                .cpu = milli(v->machine_milli),
                .cpu_usec = number(m->cpu_usec),
                .memory = number(m->memory),
                .memory_total = number(m->memory_total),
                .load = number(m->load),
                .disk = number(m->disk),
                .disk_total = number(m->disk_total) };

        record_write_short(&node_vitals_table, &node, out);
}

static void put_comma(struct buffer *out)
{
        if (out->len > 0 && out->data[out->len - 1] == '}')
                buffer_putc(out, ',');
}

void vitals_put_tasks(struct vitals *v, struct buffer *out)
{
        for (size_t i = 0; i < v->tasks_len; i++) {
                const struct vital *one = &v->tasks[i];
                const struct table_slot *slot = table_at(v->config.table, i);
                struct task_vitals task;
                char id[TASK_ID_MAX];

                if (slot == NULL || one->run == 0 || one->seen.mono == 0 ||
                        one->run != table_machine(slot)->runs || table_machine(slot)->pid <= 0)
                        continue;
                name_of(slot, id);
                task = (struct task_vitals){ .task = id,
                        .run = (int64_t) one->run,
                        .cpu = milli(one->milli),
                        .cpu_usec = number(one->seen.cpu_usec),
                        .memory = number(one->memory) };
                put_comma(out);
                record_write_short(&task_vitals_table, &task, out);
        }
}

struct samples {
        struct buffer *out;
        usec_t since;
};

static void put_sample(void *data, const struct vitals_row *row, const struct vitals_cell *cell)
{
        const struct samples *s = data;
        struct vitals_sample sample = { .time = row->wall,
                .run = RECORD_NULL,
                .cpu = milli(row->cpu),
                .memory = number(row->memory),
                .load = milli(row->load),
                .disk = number(row->disk) };

        /* people and programs know times by the millisecond */
        if (row->wall / USEC_MSEC <= s->since / USEC_MSEC)
                return;
        if (cell != NULL)
                sample = (struct vitals_sample){ .time = row->wall,
                        .run = cell->run,
                        .cpu = milli(cell->cpu),
                        .memory = (int64_t) cell->memory_kib * 1024,
                        .load = RECORD_NULL,
                        .disk = RECORD_NULL };
        put_comma(s->out);
        record_write(&vitals_sample_table, &sample, s->out);
}

void vitals_put_samples(struct vitals *v, const char *task, usec_t since, struct buffer *out)
{
        usec_t now = time_wall();
        struct samples s = { .out = out, .since = MAX(since, now - MIN(now, VITALS_KEPT_FOR)) };
        const struct task *t = task != NULL ? tasks_find(v->config.tasks, task) : NULL;

        if (v->ring == NULL || (task != NULL && t == NULL))
                return;
        if (t != NULL)
                vitals_ring_each(v->ring, table_slot_number(v->config.table, t->slot),
                        vitals_ring_key(task), put_sample, &s);
        else
                vitals_ring_each(v->ring, 0, 0, put_sample, &s);
}

/* ---- life */

struct vitals *vitals_new(const struct vitals_config *config)
{
        struct vitals *v = mem_alloc(sizeof *v);
        struct error err = ERROR_INIT;

        v->config = *config;
        v->machine_milli = v->machine_kept_milli = VITALS_UNKNOWN;
        if (config->every != USEC_NEVER &&
                vitals_ring_open(config->path,
                        (uint32_t) ((VITALS_KEPT_FOR + config->every - 1) / config->every),
                        &v->ring, &err) < 0)
                warn(v, &err);
        uv_timer_init(config->loop, &v->timer);
        uv_timer_init(config->loop, &v->slice);
        v->timer.data = v->slice.data = v;
        v->handles = 2;
        return v;
}

void vitals_begin(struct vitals *v)
{
        uint64_t every = v->config.every / USEC_MSEC;

        if (v->config.every != USEC_NEVER)
                uv_timer_start(&v->timer, on_timer, 0, every);
}

static void on_closed(uv_handle_t *handle)
{
        struct vitals *v = handle->data;

        if (--v->handles > 0)
                return;
        if (v->proc != NULL)
                closedir(v->proc);
        vitals_ring_close(v->ring);
        free(v->sessions);
        free(v->tasks);
        free(v);
}

void vitals_free(struct vitals *v)
{
        if (v == NULL)
                return;
        uv_close((uv_handle_t *) &v->timer, on_closed);
        uv_close((uv_handle_t *) &v->slice, on_closed);
}
