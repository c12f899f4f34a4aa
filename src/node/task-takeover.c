/* SPDX-License-Identifier: BSD-3-Clause */
/* Taking over what an earlier agent left, and handing over to a new keeper.
 *
 * A slot tells what was decided, the run record whether it was done, the keeper's records and /proc
 * what became of it. Nothing is judged before the keeper has told all it knows (tasks_begin()). */
#include "node/task-internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "node/process.h"

/* A slot that a broken disk left as we would never leave it; nothing may be done by its word. */
static bool slot_is_damaged(struct tasks *ts, struct table_slot *slot)
{
        const struct task_machine *m = table_machine(slot);
        const struct table_run *record = table_run_record(slot);
        char id[TASK_ID_MAX];

        snprintf(id, sizeof id, "%s.%u", table_slot_job(slot), table_slot_index(slot));
        return !task_machine_is_valid(m) || tasks_find(ts, id) != NULL ||
               (m->state == TASK_STARTING && record->run == m->runs && record->pid <= 0);
}

static void load_one(void *data, struct table_slot *slot)
{
        struct tasks *ts = data;
        const struct task_machine *m = table_machine(slot);
        struct error err = ERROR_INIT;
        struct task *t;

        if (slot_is_damaged(ts, slot)) {
                log_error("task %s.%u: its state is damaged; it is begun anew when the server asks "
                          "for it",
                        table_slot_job(slot), table_slot_index(slot));
                table_drop(ts->config.table, slot);
                return;
        }
        t = task_add(ts, slot);

        if (specs_get(ts->config.specs, table_slot_job(slot), m->desire.version, &t->spec, &err) <
                0)
                log_warning("task %s: waits for its spec from the server: %s", t->id, err.message);
        if (m->pid > 0)
                task_attach(t, m->pid, -1);
        else if (m->state == TASK_STARTING && table_run_record(slot)->run == m->runs &&
                 table_run_record(slot)->failed_step == 0)
                task_attach(t, table_run_record(slot)->pid, -1);
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
        } else if ((t = deposit_owner(ts, name, "notify/", &run)) != NULL && len > 0 &&
                   task_health_take(t, "notify", run, fds[0])) {
                kept = 1;
        } else if ((t = deposit_owner(ts, name, "ready/", &run)) != NULL && len > 0 &&
                   task_health_take(t, "ready", run, fds[0])) {
                kept = 1;
        } else if ((t = deposit_owner(ts, name, TASK_STORE_DEPOSIT, &run)) != NULL &&
                   task_store_take(t, run, fds, len)) {
                kept = len;
        } else if (strncmp(name, SOCKET_DEPOSIT, sizeof SOCKET_DEPOSIT - 1) == 0 && len == 1) {
                sockets_take(ts->sockets, name, fds[0]);
                kept = 1;
        } else {
                keeper_client_drop(ts->config.keeper, name);
        }
        for (size_t i = kept; i < len; i++)
                close(fds[i]);
}

/* In a container that is started again the keeper may have the pid of the one before: its children
 * began after itself. */
static bool is_child_of(pid_t keeper, const struct table_run *record)
{
        struct process_stat st;

        return record->parent == keeper && process_read_stat(keeper, &st) &&
               process_began_before(st.start_ticks, record);
}

/* What became of a run that was begun, or meant to be, before our time. */
void task_judge(struct task *t)
{
        struct tasks *ts = t->owner;
        const struct task_machine *m = table_machine(t->slot);
        const struct table_run *record = table_run_record(t->slot);
        struct table_run current;

        if (m->state == TASK_STARTING && record->run != m->runs) {
                task_dossier_withdraw(t);
                task_enqueue_spawn(t); /* it was decided, not done */
                return;
        }
        if (m->state == TASK_STARTING && record->failed_step != 0) {
                const struct spawn_plan *plan;
                struct error err = ERROR_INIT;

                if (spec_plan(t->spec, &plan, &err) == 0)
                        spawn_failure(plan, record, &err);
                task_apply(t, &(struct task_event){
                                      .type = TASK_EV_SPAWN_FAILED, .message = err.message });
                return;
        }
        if (m->state == TASK_STARTING)
                task_apply(t, &(struct task_event){ .type = TASK_EV_SPAWNED, .pid = record->pid });
        m = table_machine(t->slot);
        task_set_timer(t, m);
        if (m->pid <= 0)
                return;
        if (m->daemon == TASK_DAEMON_LEFT) {
                task_daemon_follow(t);
                task_apply(t, &(struct task_event){ .type = TASK_EV_FOUND });
                return;
        }
        task_find_process(t);
        task_watch(t);
        if (m->run_version != m->desire.version && m->run_version >= m->desire.restart_version)
                task_change_limits(t); /* the agent before us may not have come to it */
        task_write_pid_file(t);
        task_apply(t, &(struct task_event){ .type = TASK_EV_FOUND });
        current = task_main_record(t);
        if (is_child_of(ts->keeper, &current))
                return; /* its record comes when it ends, or is on its way */
        if (t->pidfd >= 0) {
                task_put_witness(t);
                task_watch_orphan(t);
        } else {
                task_ask_witness(t);
        }
}

static void begin_one(struct task *t)
{
        struct tasks *ts = t->owner;
        struct error err = ERROR_INIT;

        /* the keeper holds FIFOs of a task that has ended as long as nobody has read them empty */
        if ((t->deposited || table_machine(t->slot)->state != TASK_ENDED) &&
                task_open_streams(t, &err) < 0)
                log_error("logs of task %s: %s", t->id, err.message);
        if (table_machine(t->slot)->state == TASK_ENDED)
                task_close_streams(t);
        if (t->spec == NULL)
                return;
        task_forward(t, t->pid == 0); /* the agent before us may not have come to it */
        task_sockets_follow(t);
        if (table_booted_anew(ts->config.table)) {
                task_drop_witness(t);
                task_detach(t);
                task_apply(t, &(struct task_event){
                                      .type = TASK_EV_BOOT, .lapsed = task_boot_lapsed(t) });
        } else {
                task_judge(t);
                if (table_machine(t->slot)->pid <=
                        0) /* the agent before us may not have come to it */
                        task_remove_pid_file(
                                t, table_machine(t->slot), table_run_record(t->slot)->pid);
                task_take_up_again(t);
        }
}

/* A task that waits for its spec may want any of the sockets. */
static bool all_specs_known(const struct tasks *ts)
{
        for (const struct task *t = ts->by_id; t != NULL; t = t->hh.next)
                if (t->spec == NULL)
                        return false;
        return true;
}

void tasks_begin(struct tasks *ts, pid_t keeper)
{
        struct task *t, *next;

        ts->keeper = keeper;
        tasks_write_dossiers(ts); /* of the agent before us */
        ts->halting = table_is_going_down(ts->config.table);
        HASH_ITER (hh, ts->by_id, t, next)
                begin_one(t);
        if (all_specs_known(ts))
                sockets_sweep(ts->sockets);
        tasks_sweep_cgroups(ts); /* not before: a run that had just begun is known only now */
        table_note_boot(ts->config.table);
        tasks_check_leases(ts);
        tasks_start_spawner(ts);
}

/* ---- without a keeper */

void tasks_keeper_gone(struct tasks *ts)
{
        struct task *t, *next;

        ts->keeper = KEEPER_GONE;
        HASH_ITER (hh, ts->by_id, t, next)
                if (t->pidfd >= 0 && t->orphan == NULL)
                        task_watch_orphan(t);
}

/* One deposit of a handover: its name and descriptors are in one piece of memory of its own. */
static struct keeper_handover deposit(const char *name, const int *fds, size_t len)
{
        int *copy = mem_resize(NULL, len, sizeof *copy);

        memcpy(copy, fds, len * sizeof *copy);
        return (struct keeper_handover){ KEEPER_PUT, mem_strdup(name), copy, len, 0 };
}

size_t tasks_hand_over(struct tasks *ts, struct keeper_handover **ret)
{
        size_t n = 0;
        size_t most = 4 * HASH_COUNT(ts->by_id) + sockets_count(ts->sockets) + 1, held;
        struct keeper_handover *items;

        for (const struct task *t = ts->by_id; t != NULL; t = t->hh.next)
                most += task_store_len(t);
        items = mem_resize(NULL, most, sizeof *items);
        /* first, since of them nothing can be found again that way; who is killed amid this has
         * handed over a part */
        held = sockets_hand_over(ts->sockets, items);
        for (; n < held; n++)
                items[n] = deposit(items[n].name, items[n].fds, items[n].fds_len);

        for (struct task *t = ts->by_id; t != NULL; t = t->hh.next) {
                struct task_deposit more[2];
                char name[KEEPER_NAME_MAX];

                if (t->streams[TASK_STDOUT] != NULL && t->streams[TASK_STDERR] != NULL) {
                        int fds[TASK_STREAMS] = { capture_stream_get_fifo(t->streams[TASK_STDOUT]),
                                capture_stream_get_fifo(t->streams[TASK_STDERR]) };

                        task_deposit_name(name, t->id);
                        items[n++] = deposit(name, fds, TASK_STREAMS);
                }
                task_find_process(t); /* this keeper may have died before it told us its deposits */
                if (t->pidfd >= 0) {
                        task_witness_name(name, t->id, table_machine(t->slot)->runs);
                        items[n++] = deposit(name, &t->pidfd, 1);
                }
                for (size_t i = 0, len = task_health_deposits(t, more); i < len; i++)
                        items[n++] = deposit(more[i].name, &more[i].fd, 1);
                for (size_t i = 0; i < task_store_len(t); i++) {
                        const int *fds;
                        size_t len = task_store_deposit(t, i, name, &fds);

                        items[n++] = deposit(name, fds, len);
                }
        }
        *ret = items;
        return n;
}

void tasks_hand_over_done(struct keeper_handover *items, size_t len)
{
        for (size_t i = 0; i < len; i++) {
                if (items[i].type != KEEPER_PUT)
                        continue;
                mem_freep(&items[i].name);
                mem_freep(&items[i].fds);
        }
        free(items);
}
