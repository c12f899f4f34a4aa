/* SPDX-License-Identifier: BSD-3-Clause */
/* Simulator: a whole cluster in virtual time.
 *
 *   sim.c         time, chance, and what is due; the faults
 *   network.c     links: two queues each, which can be slow, cut and broken
 *   adopt.c       machines and tasks as a stored state has them
 *   agent.c       a machine: its processes, and the agent that drives the task machines
 *   server.c      the store, the turns, and the server's end of the links
 *   rules.c       what must hold after every event
 *   room.c        what must hold of nodes and what is placed there
 *   rest.c        what must have come about when nothing happens any more
 *
 * The decisions are the real ones: nothing here knows why a task is placed or begun again. What is
 * simulated follows src/server (links.c, state.c) and src/node (task.c, link.c, outbox.c), in the
 * same order of steps, because it is the order in which things are lost that matters.
 *
 * One heap holds all that is due, by time and then by the order of its making; so the same seed
 * gives the same run. Whoever is subject of an event has an epoch: a crash or a heal begins a new
 * one, and what is still in the heap of the old one falls to the ground. Tasks and links are
 * counted, since the heap may hold them longer than their machine does. */

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/lease.h"
#include "sim/sim-internal.h"

const char *const sim_fault_names[] = {
        [SIM_LINK_BREAK] = "link-break",
        [SIM_CUT] = "cut",
        [SIM_CUT_UP] = "cut-up",
        [SIM_CUT_DOWN] = "cut-down",
        [SIM_AGENT_CRASH] = "agent-crash",
        [SIM_AGENT_CRASH_MID] = "agent-crash-mid",
        [SIM_REBOOT] = "reboot",
        [SIM_WIPE] = "wipe",
        [SIM_NODE_CLOCK] = "node-clock",
        [SIM_SERVER_CLOCK] = "server-clock",
        [SIM_SERVER_CRASH] = "server-crash",
        [SIM_DISK_FULL] = "disk-full",
        [SIM_FAULT_COUNT] = NULL,
};

/* ---- Chance */

uint64_t sim_random(uint64_t *state)
{
        uint64_t z = *state += 0x9e3779b97f4a7c15;

        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return z ^ (z >> 31);
}

uint64_t sim_below(uint64_t *state, uint64_t n)
{
        return n == 0 ? 0 : sim_random(state) % n;
}

bool sim_chance(uint64_t *state, uint32_t of_a_million)
{
        return of_a_million > 0 && sim_below(state, 1000000) < of_a_million;
}

usec_t sim_between(struct sim *s, usec_t min, usec_t max)
{
        return max <= min ? min : min + sim_below(&s->random, max - min + 1);
}

bool sim_maybe(struct sim *s, uint32_t of_a_million)
{
        return sim_chance(&s->random, of_a_million);
}

/* ---- What is told */

static void mix(struct sim *s, uint64_t number)
{
        s->hash = (s->hash ^ number) * 0x100000001b3; /* FNV-1a, by words */
}

/* When it happens, what chance said so far, and how much is due: two runs that agree in these at
 * every step are the same. Texts are made only for those who read them. */
void sim_trace(struct sim *s, const char *format, ...)
{
        char text[600];
        va_list args;

        mix(s, s->now);
        mix(s, s->random);
        mix(s, s->order);
        if (s->config.trace == NULL)
                return;
        va_start(args, format);
        vsnprintf(text, sizeof text, format, args);
        va_end(args);
        s->config.trace(s->config.data, s->now, text);
}

/* ---- What is due */

static bool is_before(const struct sim_event *a, const struct sim_event *b)
{
        return a->at != b->at ? a->at < b->at : a->order < b->order;
}

struct sim_event *sim_schedule(
        struct sim *s, usec_t at, enum sim_event_type type, struct sim_node *node, uint64_t epoch)
{
        struct sim_event event = { .at = MAX(at, s->now),
                .order = s->order++,
                .type = type,
                .node = node,
                .epoch = epoch };
        size_t i;

        if (s->heap_len == s->heap_allocated) {
                s->heap_allocated = MAX((size_t) 64, s->heap_allocated * 2);
                s->heap = mem_resize(s->heap, s->heap_allocated, sizeof s->heap[0]);
        }
        for (i = s->heap_len++; i > 0 && is_before(&event, &s->heap[(i - 1) / 2]); i = (i - 1) / 2)
                s->heap[i] = s->heap[(i - 1) / 2];
        s->heap[i] = event;
        return &s->heap[i];
}

void sim_schedule_task(
        struct sim *s, usec_t at, enum sim_event_type type, struct sim_task *t, uint64_t epoch)
{
        t->refs++;
        sim_schedule(s, at, type, t->node, epoch)->task = t;
}

void sim_schedule_link(
        struct sim *s, usec_t at, enum sim_event_type type, struct link *l, uint64_t epoch)
{
        sim_schedule(s, at, type, l->node, epoch)->link = sim_link_ref(l);
}

static struct sim_event take_first(struct sim *s)
{
        struct sim_event first = s->heap[0], last = s->heap[--s->heap_len];
        size_t i = 0, child;

        while ((child = 2 * i + 1) < s->heap_len) {
                if (child + 1 < s->heap_len && is_before(&s->heap[child + 1], &s->heap[child]))
                        child++;
                if (!is_before(&s->heap[child], &last))
                        break;
                s->heap[i] = s->heap[child];
                i = child;
        }
        s->heap[i] = last;
        return first;
}

static void drop_event(struct sim_event *e)
{
        switch (e->type) {
        case SIM_EV_TASK_TIMER:
        case SIM_EV_TASK_SPAWN:
        case SIM_EV_PROCESS_END:
                sim_task_unref(e->task);
                break;
        case SIM_EV_DELIVER:
        case SIM_EV_PING:
        case SIM_EV_AGENT_SILENCE:
        case SIM_EV_SERVER_SILENCE:
                sim_link_unref(e->link);
                break;
        case SIM_EV_CALL:
        case SIM_EV_CONNECT:
        case SIM_EV_FLUSH:
        case SIM_EV_LEASE:
        case SIM_EV_AGENT_START:
        case SIM_EV_MACHINE_START:
        case SIM_EV_HEAL:
        case SIM_EV_SERVER_START:
        case SIM_EV_COMMITTED:
        case SIM_EV_RETRY_COMMIT:
        case SIM_EV_TICK:
        case SIM_EV_DISK_FREE:
                break;
        }
}

/* ---- Faults */

static void heal(struct sim_node *n)
{
        if (!n->cut_up && !n->cut_down)
                return;
        sim_trace(n->sim, "%s: connected again", n->status.name);
        n->cut_up = n->cut_down = false;
        n->cut_epoch++;
        sim_link_healed(n);
}

static void cut(struct sim_node *n, const struct sim_fault *f)
{
        n->cut_at = n->cut_up ? n->cut_at : n->sim->now;
        n->cut_up = f->type != SIM_CUT_DOWN;
        n->cut_down = f->type != SIM_CUT_UP;
        n->cut_epoch++;
        sim_link_cut(n, n->cut_up, n->cut_down);
        if (f->lasts != USEC_NEVER)
                sim_schedule(n->sim, n->sim->now + f->lasts, SIM_EV_HEAL, n, n->cut_epoch);
        else
                n->for_good = true;
}

static void crash_agent(struct sim_node *n, usec_t lasts)
{
        if (!n->agent_up)
                return;
        sim_agent_crash(n);
        sim_schedule(n->sim, n->sim->now + lasts, SIM_EV_AGENT_START, n, n->agent_epoch);
}

static void reboot(struct sim_node *n, const struct sim_fault *f)
{
        sim_machine_down(n, f->type == SIM_WIPE);
        if (f->lasts == USEC_NEVER)
                n->for_good = true;
        else
                sim_schedule(
                        n->sim, n->sim->now + f->lasts, SIM_EV_MACHINE_START, n, n->machine_epoch);
}

static void crash_server(struct sim *s, usec_t lasts)
{
        if (s->server.cluster == NULL)
                return;
        sim_server_crash(s);
        sim_schedule(s, s->now + lasts, SIM_EV_SERVER_START, NULL, s->server.epoch);
}

static void fill_disk(struct sim *s, usec_t lasts)
{
        s->server.disk_full = true;
        sim_schedule(s, s->now + lasts, SIM_EV_DISK_FREE, NULL, 0);
}

static void inject_into_node(struct sim *s, struct sim_node *n, const struct sim_fault *f)
{
        switch (f->type) {
        case SIM_LINK_BREAK:
                if (n->agent_link != NULL)
                        sim_link_close_agent(n->agent_link, true);
                break;
        case SIM_CUT:
        case SIM_CUT_UP:
        case SIM_CUT_DOWN:
                if (n->machine_up)
                        cut(n, f);
                break;
        case SIM_AGENT_CRASH:
                crash_agent(n, f->lasts);
                break;
        case SIM_AGENT_CRASH_MID:
                n->crash_mid = n->agent_up;
                break;
        case SIM_REBOOT:
        case SIM_WIPE:
                if (n->machine_up)
                        reboot(n, f);
                break;
        case SIM_NODE_CLOCK:
                n->clock_off += f->jump;
                break;
        case SIM_SERVER_CLOCK:
                sim_server_set_clock(s, f->jump);
                break;
        case SIM_SERVER_CRASH:
                crash_server(s, f->lasts);
                break;
        case SIM_DISK_FULL:
                fill_disk(s, f->lasts);
                break;
        case SIM_FAULT_COUNT:
                break;
        }
}

void sim_inject(struct sim *s, const struct sim_fault *f)
{
        struct sim_node *n = f->node < s->nodes_len ? s->nodes[f->node] : NULL;
        bool of_node = f->type < SIM_SERVER_CLOCK;

        if (of_node && (n == NULL || n->for_good))
                return;
        s->counts.faults++;
        sim_trace(s, "fault %s %s %" PRIi64 "ms", sim_fault_names[f->type],
                of_node ? n->status.name : "server",
                f->type == SIM_NODE_CLOCK || f->type == SIM_SERVER_CLOCK
                        ? f->jump / (int64_t) USEC_MSEC
                : f->lasts == USEC_NEVER ? -1
                                         : (int64_t) (f->lasts / USEC_MSEC));
        inject_into_node(s, n, f);
}

static void start_machine(struct sim_node *n)
{
        n->machine_up = true;
        n->machine_epoch++;
        n->mono_base = n->sim->now - USEC_SEC;
        if (n->heard_mono != USEC_NEVER) /* by a clock that began anew */
                n->heard_mono = LEASE_LONG_AGO;
        sim_agent_start(n, true);
}

static void calm_node(struct sim_node *n)
{
        n->clock_off = 0;
        n->crash_mid = false;
        if (n->for_good)
                return;
        heal(n);
        if (!n->machine_up)
                start_machine(n);
        else if (!n->agent_up)
                sim_agent_start(n, false);
}

void sim_calm(struct sim *s, const struct sim_faults *faults)
{
        sim_trace(s, "the faults end");
        s->config.faults = *faults;
        s->calm = true;
        s->server.disk_full = false;
        sim_server_set_clock(s, -s->server.clock_off);
        if (s->server.cluster == NULL)
                sim_server_start(s);
        for (size_t i = 0; i < s->nodes_len; i++)
                calm_node(s->nodes[i]);
}

/* ---- The loop */

static void silent_link(struct link *l, bool agent, uint64_t epoch)
{
        if (l->node->cut_epoch != epoch && !l->orphaned)
                return;
        if (agent && l->agent_open) {
                sim_trace(l->node->sim, "%s: hears nothing from the server", l->node->status.name);
                sim_link_close_agent(l, true);
        }
        if (!agent && l->server_open) {
                sim_trace(l->node->sim, "server: hears nothing from %s", l->node->status.name);
                sim_link_close_server(l, true);
        }
}

static void fire_of_node(struct sim_event *e)
{
        struct sim_node *n = e->node;

        switch (e->type) {
        case SIM_EV_CONNECT:
                if (e->epoch == n->agent_epoch)
                        sim_agent_connect(n);
                break;
        case SIM_EV_FLUSH:
                if (e->epoch == n->agent_epoch)
                        sim_agent_flush(n);
                break;
        case SIM_EV_LEASE:
                if (e->epoch == n->lease_epoch && n->agent_up)
                        sim_agent_check_leases(n);
                break;
        case SIM_EV_AGENT_START:
                if (e->epoch == n->agent_epoch && n->machine_up && !n->agent_up)
                        sim_agent_start(n, false);
                break;
        case SIM_EV_MACHINE_START:
                if (e->epoch == n->machine_epoch && !n->machine_up)
                        start_machine(n);
                break;
        case SIM_EV_HEAL:
                if (e->epoch == n->cut_epoch)
                        heal(n);
                break;
        default:
                break;
        }
}

static void fire_of_server(struct sim *s, struct sim_event *e)
{
        struct server *v = &s->server;

        switch (e->type) {
        case SIM_EV_SERVER_START:
                if (e->epoch == v->epoch && v->cluster == NULL)
                        sim_server_start(s);
                break;
        case SIM_EV_COMMITTED:
                if (e->epoch == v->epoch)
                        sim_server_committed(s);
                break;
        case SIM_EV_RETRY_COMMIT:
                if (e->epoch == v->epoch)
                        sim_server_retry(s);
                break;
        case SIM_EV_TICK:
                if (e->epoch == v->arm_epoch)
                        sim_server_tick(s);
                break;
        case SIM_EV_DISK_FREE:
                v->disk_full = false;
                break;
        default:
                break;
        }
}

static void fire(struct sim *s, struct sim_event *e)
{
        switch (e->type) {
        case SIM_EV_CALL:
                e->call(s, e->data);
                break;
        case SIM_EV_DELIVER:
                sim_link_deliver(e->link, e->epoch != 0);
                break;
        case SIM_EV_TASK_TIMER:
                if (!e->task->gone && e->epoch == e->task->timer_epoch && e->node->agent_up)
                        sim_agent_task_timer(e->task);
                break;
        case SIM_EV_TASK_SPAWN:
                if (!e->task->gone && e->epoch == e->node->agent_epoch)
                        sim_agent_task_spawn(e->task);
                break;
        case SIM_EV_PROCESS_END:
                if (!e->task->gone && e->epoch == e->task->process.epoch)
                        sim_process_due(e->task);
                break;
        case SIM_EV_AGENT_SILENCE:
        case SIM_EV_SERVER_SILENCE:
                silent_link(e->link, e->type == SIM_EV_AGENT_SILENCE, e->epoch);
                break;
        case SIM_EV_PING:
                sim_agent_ping(e->link);
                break;
        case SIM_EV_CONNECT:
        case SIM_EV_FLUSH:
        case SIM_EV_LEASE:
        case SIM_EV_AGENT_START:
        case SIM_EV_MACHINE_START:
        case SIM_EV_HEAL:
                fire_of_node(e);
                break;
        case SIM_EV_SERVER_START:
        case SIM_EV_COMMITTED:
        case SIM_EV_RETRY_COMMIT:
        case SIM_EV_TICK:
        case SIM_EV_DISK_FREE:
                fire_of_server(s, e);
                break;
        }
        drop_event(e);
}

bool sim_run(struct sim *s, usec_t until)
{
        if (s->server.load_pending)
                sim_server_start(s);
        while (s->breach == NULL && s->heap_len > 0 && s->heap[0].at <= until) {
                struct sim_event e = take_first(s);

                s->now = e.at;
                s->counts.steps++;
                fire(s, &e);
                sim_server_advance(s);
        }
        if (s->breach == NULL && s->now < until)
                s->now = until;
        return s->breach == NULL;
}

void sim_at(struct sim *s, usec_t at, void (*call)(struct sim *s, void *data), void *data)
{
        struct sim_event *e = sim_schedule(s, at, SIM_EV_CALL, NULL, 0);

        e->call = call;
        e->data = data;
}

/* ---- Nodes */

#define MILLION 1000000

usec_t sim_machine_mono(const struct sim_node *n)
{
        usec_t span = n->sim->now - n->mono_base;

        return span + (usec_t) ((int64_t) span * n->ppm / MILLION);
}

usec_t sim_machine_when(const struct sim_node *n, usec_t mono)
{
        usec_t rate = (usec_t) (MILLION + n->ppm);

        if (n->ppm == 0)
                return n->mono_base + mono;
        return n->mono_base + mono / rate * MILLION + mono % rate * MILLION / rate + 1;
}

void sim_set_rate(struct sim *s, uint32_t node, int32_t ppm)
{
        if (node == UINT32_MAX)
                s->server.ppm = ppm;
        else
                s->nodes[node]->ppm = ppm;
}

usec_t sim_machine_wall(const struct sim_node *n)
{
        return n->sim->config.start_wall + n->sim->now + (usec_t) n->clock_off;
}

/* By way of JSON: so that fields which are new in the table come along. */
static void copy_status(struct sim_node *n, const struct node_status *status)
{
        AUTO(buffer_done) struct buffer text = { 0 };
        struct error err = ERROR_INIT;

        record_write(&node_table, status, &text);
        n->json = json_loads(buffer_str(&text), 0, NULL);
        if (n->json == NULL || record_read(&node_table, n->json, &n->status, &err) < 0)
                sim_break_rule(n->sim, "input: node %s: %s", status->name, err.message);
}

uint32_t sim_add_node(struct sim *s, const struct node_status *status)
{
        struct sim_node *n = mem_alloc(sizeof *n);

        n->sim = s;
        n->number = (uint32_t) s->nodes_len;
        copy_status(n, status);
        n->machine_up = true;
        n->mono_base = s->now;
        n->changed_last = &n->changed_first;
        n->down_at = n->lost_at = n->heard_mono = USEC_NEVER;
        if (s->nodes_len == s->nodes_allocated) {
                s->nodes_allocated = MAX((size_t) 16, s->nodes_allocated * 2);
                s->nodes = mem_resize(s->nodes, s->nodes_allocated, sizeof(struct sim_node *));
        }
        s->nodes[s->nodes_len++] = n;
        HASH_ADD_KEYPTR(hh, s->nodes_by_name, n->status.name, strlen(n->status.name), n);
        sim_agent_start(n, false);
        return n->number;
}

struct sim_node *sim_node_find(struct sim *s, const char *name)
{
        struct sim_node *n;

        HASH_FIND_STR(s->nodes_by_name, name, n);
        return n;
}

bool sim_find_node(const struct sim *s, const char *name, uint32_t *ret)
{
        const struct sim_node *n = sim_node_find((struct sim *) (uintptr_t) s, name);

        if (n != NULL)
                *ret = n->number;
        return n != NULL;
}

uint32_t sim_nodes(const struct sim *s)
{
        return (uint32_t) s->nodes_len;
}

bool sim_node_is_dead(const struct sim *s, uint32_t node)
{
        return s->nodes[node]->for_good;
}

const char *sim_node_name(const struct sim *s, uint32_t node)
{
        return s->nodes[node]->status.name;
}

/* ---- Life */

#define START_WALL (1767225600 * USEC_SEC) /* 2026-01-01 */

struct sim *sim_new(const struct sim_config *config)
{
        struct sim *s = mem_alloc(sizeof *s);

        s->config = *config;
        if (s->config.start_wall == 0)
                s->config.start_wall = START_WALL;
        s->random = config->seed;
        s->hash = 0xcbf29ce484222325;
        s->rules = config->rules ? sim_rules_new(s) : NULL;
        sim_server_init(s);
        return s;
}

void sim_free(struct sim *s)
{
        if (s == NULL)
                return;
        while (s->heap_len > 0) {
                struct sim_event e = take_first(s);

                drop_event(&e);
        }
        sim_server_done(s);
        HASH_CLEAR(hh, s->nodes_by_name);
        for (size_t i = 0; i < s->nodes_len; i++)
                sim_machine_free(s->nodes[i]);
        sim_rules_free(s->rules);
        free(s->nodes);
        free(s->heap);
        free(s->breach);
        free(s);
}

void sim_load_row(struct sim *s, const char *key, const char *value)
{
        if (sim_server_row_is_ours(key))
                sim_server_store_row(&s->server, key, value);
}

uint64_t sim_command(struct sim *s, const struct cluster_event *event, struct error *err)
{
        uint64_t command = sim_server_command(s, event, err);

        sim_server_advance(s);
        return command;
}

/* ---- Looking */

usec_t sim_now(const struct sim *s)
{
        return s->now;
}

usec_t sim_wall(const struct sim *s)
{
        return sim_server_wall(s);
}

bool sim_server_is_up(const struct sim *s)
{
        return s->server.cluster != NULL;
}

const struct cluster *sim_cluster(const struct sim *s)
{
        return s->server.cluster;
}

const char *sim_breach(const struct sim *s)
{
        return s->breach;
}

uint64_t sim_hash(const struct sim *s)
{
        return s->hash;
}

const struct sim_counts *sim_counts(const struct sim *s)
{
        return &s->counts;
}
