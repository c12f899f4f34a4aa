/* SPDX-License-Identifier: BSD-3-Clause */
/* Server: the shell around the core, as src/server/state.c and links.c are, over a store that takes
 * its time.
 *
 * What the core decided is an entry of the `open` turn; a turn becomes one commit, one commit is
 * under way at a time, and only when it is reported are its assigns sent, its events published and
 * its commands answered. A crash loses the open turn, and tosses a coin for the one that is flying:
 * the disk has all of it or nothing. While the disk is full commands are refused, and a failed turn
 * that holds some takes the server back to what is stored; what agents told is tried again.
 *
 * A link is nobody's until its hello. From then on it is its node's, an older one is closed, and
 * what the core wants of the node is remembered as it was at that moment; when the hello is
 * durable, that goes out. Assigns that become durable earlier are contained in it and dropped. */

#include <inttypes.h>
#include <string.h>
#include <utlist.h>

#include "sim/sim-internal.h"

#define RETRY_FIRST (250 * USEC_MSEC)
#define RETRY_LAST  (2 * USEC_SEC)

usec_t sim_server_wall(const struct sim *s)
{
        int64_t drift = (int64_t) s->now * s->server.ppm / 1000000;

        return s->config.start_wall + s->now + (usec_t) (drift + s->server.clock_off);
}

/* ---- Rows */

bool sim_server_row_is_ours(const char *key)
{
        static const char *const prefixes[] = { "job/", "tasks/", "node/", "notes/", "event/" };

        for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
                if (strncmp(key, prefixes[i], strlen(prefixes[i])) == 0)
                        return true;
        return false;
}

void sim_server_store_row(struct server *v, const char *key, const char *value)
{
        struct row *row;

        if (strncmp(key, "event/", 6) == 0) { /* numbers ascend: only the newest counts */
                if (v->newest_event == NULL || strcmp(key, v->newest_event) > 0) {
                        free(v->newest_event);
                        v->newest_event = mem_strdup(key);
                }
                return;
        }
        HASH_FIND_STR(v->rows, key, row);
        if (row == NULL && value == NULL)
                return;
        if (row == NULL) {
                row = mem_alloc(sizeof *row);
                row->key = mem_strdup(key);
                HASH_ADD_KEYPTR(hh, v->rows, row->key, strlen(row->key), row);
        }
        free(row->value);
        row->value = mem_strdup(value);
        if (value == NULL) {
                HASH_DEL(v->rows, row);
                free(row->key);
                free(row);
        }
}

static void store_turn(struct sim *s, const struct turn *t)
{
        struct entry *e;

        DL_FOREACH (t->entries, e) {
                for (size_t i = 0; i < e->effects.writes_len; i++)
                        sim_server_store_row(
                                &s->server, e->effects.writes[i].key, e->effects.writes[i].value);
                if (e->note_node != NULL && e->hello != NULL) /* of one that was wiped */
                        e->note_node->notes_stored = MIN(e->note_node->notes_stored, e->notes_seq);
                else if (e->note_node != NULL)
                        e->note_node->notes_stored = MAX(e->note_node->notes_stored, e->notes_seq);
                sim_rules_stored(s, e);
        }
        s->counts.commits++;
}

/* ---- Turns */

static void entry_free(struct entry *e)
{
        sim_rules_entry_free(e);
        if (e->hello != NULL)
                sim_link_unref(e->hello);
        if (e->notes != NULL)
                sim_link_unref(e->notes);
        cluster_effects_done(&e->effects);
        free(e);
}

static void turn_free(struct turn *t)
{
        struct entry *e, *next;

        if (t == NULL)
                return;
        DL_FOREACH_SAFE (t->entries, e, next)
                entry_free(e);
        free(t);
}

static bool is_command(enum cluster_event_type type)
{
        switch (type) {
        case CLUSTER_LOAD:
        case CLUSTER_LOADED:
        case CLUSTER_NODE_UP:
        case CLUSTER_NODE_DOWN:
        case CLUSTER_REPORT:
        case CLUSTER_NOTE:
        case CLUSTER_NOTICE:
        case CLUSTER_CLOCK:
        case CLUSTER_TICK:
                return false;
        default:
                return true;
        }
}

static const char *const event_names[] = { [CLUSTER_LOADED] = "loaded",
        [CLUSTER_APPLY] = "apply",
        [CLUSTER_STOP] = "stop",
        [CLUSTER_RESTART] = "restart",
        [CLUSTER_SCALE] = "scale",
        [CLUSTER_REMOVE] = "remove",
        [CLUSTER_NODE_UP] = "node-up",
        [CLUSTER_NODE_DOWN] = "node-down",
        [CLUSTER_REPORT] = "report",
        [CLUSTER_NOTE] = "note",
        [CLUSTER_CORDON] = "cordon",
        [CLUSTER_DRAIN] = "drain",
        [CLUSTER_FORGET] = "forget",
        [CLUSTER_CLOCK] = "clock",
        [CLUSTER_TICK] = "tick" };

static void trace_decision(
        struct sim *s, const struct cluster_event *event, const struct cluster_effects *fx)
{
        const char *name =
                (size_t) event->type < ARRAY_SIZE(event_names) ? event_names[event->type] : NULL;

        sim_trace(s, "server: %s %s: %zu assigns, %zu rows", name != NULL ? name : "command",
                event->spec != NULL     ? event->spec->name
                : event->target != NULL ? event->target
                : event->node != NULL   ? event->node->name
                                        : "",
                fx->assigns_len, fx->writes_len);
        for (size_t i = 0; s->config.trace != NULL && i < fx->assigns_len; i++) {
                const struct cluster_assign *a = &fx->assigns[i];

                sim_trace(s, "   %s on %s shall %s v%u r%u g%" PRIu64, a->task, a->node,
                        a->forget       ? "be forgotten"
                        : a->desire.run ? "run"
                                        : "end",
                        a->desire.version, a->desire.restart_version, a->desire.generation);
        }
}

/* Lets the core decide. NULL with the reason if it refuses. */
static struct entry *submit(struct sim *s, const struct cluster_event *event, struct error *err)
{
        struct server *v = &s->server;
        struct entry *e = mem_alloc(sizeof *e);

        e->decided = s->now;
        if (cluster_handle(v->cluster, event, sim_server_wall(s), &e->effects, err) < 0) {
                if (e->effects.assigns_len + e->effects.writes_len + e->effects.events_len > 0)
                        sim_break_rule(
                                s, "effects: an event that was refused had some: %s", err->message);
                entry_free(e);
                return NULL;
        }
        DL_APPEND(v->open->entries, e);
        v->open->writes |= e->effects.writes_len > 0;
        v->open->commands |= is_command(event->type);
        trace_decision(s, event, &e->effects);
        sim_rules_handled(s, event, e);
        return e;
}

/* From an agent or the server itself: may not be refused. */
static struct entry *submit_own(struct sim *s, const struct cluster_event *event)
{
        struct error err = ERROR_INIT;
        struct entry *e = submit(s, event, &err);

        if (e == NULL)
                sim_break_rule(
                        s, "refused: an event of type %d: %s", (int) event->type, err.message);
        return e;
}

/* ---- Publishing */

static void gather(
        struct server *v, struct link *l, const struct cluster_assign *a, usec_t decided, bool all)
{
        struct message *m = l->gathered;
        struct assignment *item;
        const struct job_spec *spec = NULL;

        if (m == NULL)
                l->gathered = m = sim_message_new(MESSAGE_ASSIGN);
        m->all = all;
        if (!l->in_gathered) {
                l->in_gathered = true;
                l->next_gathered = v->gathered;
                v->gathered = sim_link_ref(l);
        }
        if (a == NULL)
                return;
        if (!a->forget)
                spec = cluster_get_spec(v->cluster, a->job, a->desire.version);
        m->items = mem_resize(m->items, m->items_len + 1, sizeof m->items[0]);
        item = &m->items[m->items_len++];
        *item = (struct assignment){ .decided = decided };
        cluster_assign_copy(&item->assign, a);
        if (spec != NULL)
                item->spec = job_spec_ref((struct job_spec *) (uintptr_t) spec);
}

static void send_gathered(struct server *v)
{
        while (v->gathered != NULL) {
                struct link *l = v->gathered;

                v->gathered = l->next_gathered;
                l->in_gathered = false;
                if (l->server_open && l->gathered != NULL)
                        sim_link_send_down(l, take_ptr(l->gathered));
                sim_message_free(take_ptr(l->gathered));
                sim_link_unref(l);
        }
}

static void welcome(struct sim *s, struct link *l)
{
        struct message *m;

        if (!l->server_open)
                return;
        m = sim_message_new(MESSAGE_WELCOME);
        m->seq = l->node->notes_stored;
        sim_link_send_down(l, m);
        l->welcomed = true;
        gather(&s->server, l, NULL, l->all_decided, true);
        for (size_t i = 0; i < l->all.assigns_len; i++)
                gather(&s->server, l, &l->all.assigns[i], l->all_decided, true);
        sim_link_send_down(
                l, take_ptr(l->gathered)); /* what comes later in this turn goes by itself */
        cluster_effects_done(&l->all);
        l->all = (struct cluster_effects){ 0 };
}

static void publish_entry(struct sim *s, struct entry *e)
{
        for (size_t i = 0; i < e->effects.assigns_len; i++) {
                const struct cluster_assign *a = &e->effects.assigns[i];
                struct sim_node *n = sim_node_find(s, a->node);

                if (n != NULL && n->server_link != NULL && n->server_link->welcomed)
                        gather(&s->server, n->server_link, a, e->decided, false);
        }
        for (size_t i = 0; i < e->effects.events_len; i++) {
                sim_trace(s, "event %" PRIi64 ": %s", e->effects.events[i].index,
                        e->effects.events[i].message);
                if (s->config.event != NULL)
                        s->config.event(s->config.data, s->now, &e->effects.events[i]);
        }
        if (e->hello != NULL)
                welcome(s, e->hello);
        if (e->notes != NULL && e->notes->server_open) {
                struct message *m = sim_message_new(MESSAGE_ACK);

                m->seq = e->notes_seq;
                sim_link_send_down(e->notes, m);
        }
        if (e->command != 0 && s->config.answer != NULL)
                s->config.answer(s->config.data, e->command, NULL);
}

static void publish(struct sim *s, struct turn *t)
{
        struct entry *e;

        DL_FOREACH (t->entries, e)
                publish_entry(s, e);
        send_gathered(&s->server);
        turn_free(t);
}

/* ---- Committing */

static void begin_commit(struct sim *s)
{
        const struct sim_faults *f = &s->config.faults;
        usec_t takes = sim_between(s, f->commit_min, f->commit_max);

        if (sim_maybe(s, f->commit_spike))
                takes *= 50;
        sim_schedule(s, s->now + takes, SIM_EV_COMMITTED, NULL, s->server.epoch);
}

static void arm_tick(struct sim *s)
{
        struct server *v = &s->server;
        usec_t due = cluster_next_deadline(v->cluster), now = sim_server_wall(s);

        if (due == v->armed_for && (due == USEC_NEVER || v->armed))
                return;
        v->armed_for = due;
        v->arm_epoch++;
        v->armed = due != USEC_NEVER;
        if (v->armed)
                sim_schedule(s,
                        s->now + (due <= now ? USEC_MSEC : MIN(due - now + USEC_MSEC, USEC_HOUR)),
                        SIM_EV_TICK, NULL, v->arm_epoch);
}

/* The end of a turn of its loop. */
void sim_server_advance(struct sim *s)
{
        struct server *v = &s->server;

        if (v->cluster == NULL || s->breach != NULL)
                return;
        while (v->flying == NULL && v->open->entries != NULL) {
                struct turn *t = v->open;

                v->open = mem_alloc(sizeof *v->open);
                if (t->writes) {
                        v->flying = t;
                        begin_commit(s);
                } else {
                        publish(s, t);
                }
        }
        arm_tick(s);
}

/* The shell sees that its clock was set, and says by how much. */
void sim_server_set_clock(struct sim *s, int64_t by)
{
        s->server.clock_off += by;
        if (by == 0 || s->server.cluster == NULL)
                return;
        submit_own(s, &(struct cluster_event){ .type = CLUSTER_CLOCK, .by = by });
        sim_server_advance(s);
}

void sim_server_tick(struct sim *s)
{
        s->server.armed = false;
        if (s->server.cluster == NULL)
                return;
        submit_own(s, &(struct cluster_event){ .type = CLUSTER_TICK });
        arm_tick(s);
}

/* ---- Going back to what is stored */

static void close_links(struct sim *s)
{
        for (size_t i = 0; i < s->nodes_len; i++)
                if (s->nodes[i]->server_link != NULL)
                        sim_link_close_server(s->nodes[i]->server_link, true);
}

static void load_row(struct sim *s, const char *key, const char *value)
{
        struct cluster_effects none = { 0 };
        struct error err = ERROR_INIT;

        if (cluster_handle(s->server.cluster,
                    &(struct cluster_event){ .type = CLUSTER_LOAD, .key = key, .value = value },
                    sim_server_wall(s), &none, &err) < 0)
                sim_break_rule(s, "load: row %s: %s", key, err.message);
        cluster_effects_done(&none);
}

static void load(struct sim *s)
{
        struct server *v = &s->server;

        cluster_free(v->cluster);
        v->cluster = cluster_new();
        v->open = mem_alloc(sizeof *v->open);
        v->armed = false;
        v->arm_epoch++;
        v->armed_for = USEC_NEVER;
        if (v->newest_event != NULL)
                load_row(s, v->newest_event, "{}");
        for (struct row *row = v->rows; row != NULL; row = row->hh.next)
                load_row(s, row->key, row->value);
        sim_rules_reloaded(s);
        submit_own(s, &(struct cluster_event){ .type = CLUSTER_LOADED });
        s->counts.reloads++;
}

void sim_server_start(struct sim *s)
{
        sim_trace(s, "server: begins");
        s->server.load_pending = false;
        s->server.epoch++;
        load(s);
        sim_server_advance(s);
}

void sim_server_crash(struct sim *s)
{
        struct server *v = &s->server;

        sim_trace(s, "server: is killed");
        if (v->flying != NULL && !v->disk_full && sim_maybe(s, 500000))
                store_turn(s, v->flying);
        v->epoch++;
        v->arm_epoch++;
        v->degraded = false;
        turn_free(take_ptr(v->flying));
        turn_free(take_ptr(v->open));
        close_links(s);
        cluster_free(take_ptr(v->cluster));
}

static void answer_failed(struct sim *s, struct turn *t)
{
        struct error err = ERROR_INIT;
        struct entry *e;

        error_set(&err, ERR_NO_SPACE, "the state cannot be stored");
        DL_FOREACH (t->entries, e)
                if (e->command != 0 && s->config.answer != NULL)
                        s->config.answer(s->config.data, e->command, &err);
        turn_free(t);
}

static void rebuild(struct sim *s)
{
        struct server *v = &s->server;
        struct turn *flying = take_ptr(v->flying), *open = take_ptr(v->open);

        close_links(s);
        answer_failed(s, flying);
        answer_failed(s, open);
        load(s);
        v->flying = v->open;
        v->open = mem_alloc(sizeof *v->open);
}

static void commit_failed(struct sim *s)
{
        struct server *v = &s->server;

        sim_trace(s, "server: the disk is full");
        if (v->flying->commands || v->open->commands)
                rebuild(s);
        if (!v->degraded)
                v->retry_delay = RETRY_FIRST;
        v->degraded = true;
        sim_schedule(s, s->now + v->retry_delay, SIM_EV_RETRY_COMMIT, NULL, v->epoch);
        v->retry_delay = MIN(v->retry_delay * 2, RETRY_LAST);
}

void sim_server_retry(struct sim *s)
{
        struct server *v = &s->server;

        DL_CONCAT(v->flying->entries, v->open->entries);
        v->flying->writes |= v->open->writes;
        v->open->entries = NULL;
        v->open->writes = v->open->commands = false;
        begin_commit(s);
}

void sim_server_committed(struct sim *s)
{
        struct server *v = &s->server;

        if (v->disk_full) {
                commit_failed(s);
                return;
        }
        v->degraded = false;
        store_turn(s, v->flying);
        publish(s, take_ptr(v->flying));
}

/* ---- Links */

/* For how long nothing has come. Without heartbeats: since what they come through is cut, less up
 * to half a second for the way of the newest. */
static usec_t silence_of(const struct link *l)
{
        const struct sim_node *n = l->node;
        struct sim *s = n->sim;

        if (s->config.heartbeat > 0)
                return s->now - l->heard;
        if (l->orphaned)
                return s->now - n->gone_at;
        return n->cut_up ? s->now - n->cut_at : 0;
}

void sim_server_link_ended(struct link *l)
{
        struct sim_node *n = l->node;
        struct sim *s = n->sim;
        struct node_status node = { .name = n->status.name };

        l->welcomed = false;
        if (n->server_link != l)
                return;
        n->server_link = NULL;
        if (s->server.cluster != NULL && s->server.open != NULL)
                submit_own(s, &(struct cluster_event){ .type = CLUSTER_NODE_DOWN,
                                      .node = &node,
                                      .heard = sim_server_wall(s) - silence_of(l) });
}

static struct cluster_report *make_reports(const struct message *m)
{
        struct cluster_report *reports = mem_alloc((m->reports_len + 1) * sizeof reports[0]);

        for (size_t i = 0; i < m->reports_len; i++)
                sim_report_fill(&reports[i], &m->reports[i]);
        return reports;
}

/* The older one says nothing to the core: this hello says more. */
static void replace_older(struct link *l)
{
        struct link *old = l->node->server_link;

        l->node->server_link = l;
        if (old != NULL)
                sim_link_close_server(old, true);
}

static void take_hello(struct link *l, const struct message *m)
{
        struct sim *s = l->node->sim;
        AUTO(mem_freep) struct cluster_report *reports = make_reports(m);
        struct entry *e = submit_own(s, &(struct cluster_event){ .type = CLUSTER_NODE_UP,
                                                .node = &l->node->status,
                                                .tells_ends = true,
                                                .knows_notes = true,
                                                .note_seq = m->seq,
                                                .reports = reports,
                                                .reports_len = m->reports_len });

        if (e == NULL)
                return;
        l->hello = l->server_open = true;
        l->node->newest_link = l->number;
        sim_link_ref(l);
        e->hello = sim_link_ref(l);
        e->note_node = l->node;
        e->notes_seq = m->seq;
        replace_older(l);
        l->all_decided = s->now;
        cluster_assigns_of(s->server.cluster, l->node->status.name, &l->all);
        for (size_t i = 0; i < e->effects.assigns_len; i++)
                if (strcmp(e->effects.assigns[i].node, l->node->status.name) == 0)
                        sim_break_rule(s, "hello: %s is told apart from the whole of %s",
                                e->effects.assigns[i].task, l->node->status.name);
        sim_rules_told_all(s, l->node, &l->all);
}

static void take_reports(struct link *l, const struct message *m)
{
        AUTO(mem_freep) struct cluster_report *reports = make_reports(m);
        struct node_status node = { .name = l->node->status.name };

        submit_own(l->node->sim, &(struct cluster_event){ .type = CLUSTER_REPORT,
                                         .node = &node,
                                         .reports = reports,
                                         .reports_len = m->reports_len });
}

static void take_notes(struct link *l, const struct message *m)
{
        struct node_status node = { .name = l->node->status.name };
        struct entry *e = NULL;

        for (size_t i = 0; i < m->notes_len; i++) {
                const struct note *n = m->notes[i];
                struct event event = { .time = n->time,
                        .kind = (int) n->kind,
                        .job = n->job,
                        .task = n->task,
                        .version = n->version,
                        .run = (int64_t) n->run,
                        .message = n->message };

                e = submit_own(l->node->sim, &(struct cluster_event){ .type = CLUSTER_NOTE,
                                                     .node = &node,
                                                     .note = &event,
                                                     .note_seq = m->seq + i });
                if (e == NULL)
                        return;
                e->note_node = l->node;
                e->notes_seq = m->seq + i;
        }
        if (e != NULL) /* one acknowledgement for all */
                e->notes = sim_link_ref(l);
}

void sim_server_take(struct link *l, const struct message *m)
{
        if (l->node->sim->server.cluster == NULL)
                return;
        switch (m->type) {
        case MESSAGE_HELLO:
                take_hello(l, m);
                break;
        case MESSAGE_REPORT:
                take_reports(l, m);
                break;
        case MESSAGE_NOTES:
                take_notes(l, m);
                break;
        case MESSAGE_PING:
                sim_link_send_down(l, sim_message_new(MESSAGE_PONG));
                break;
        case MESSAGE_PONG:
        case MESSAGE_WELCOME:
        case MESSAGE_ASSIGN:
        case MESSAGE_ACK:
        case MESSAGE_END:
                break;
        }
}

/* ---- People */

uint64_t sim_server_command(struct sim *s, const struct cluster_event *event, struct error *err)
{
        struct entry *e;

        if (s->server.load_pending)
                sim_server_start(s);
        if (s->server.cluster == NULL) {
                error_set(err, ERR_UNAVAILABLE, "the server is down");
                return 0;
        }
        if (s->server.degraded) {
                error_set(err, ERR_NO_SPACE, "the state cannot be stored");
                return 0;
        }
        e = submit(s, event, err);
        if (e == NULL)
                return 0;
        s->counts.commands++;
        e->command = ++s->commands;
        return e->command;
}

/* ---- Life */

void sim_server_init(struct sim *s)
{
        s->server.load_pending = true;
        s->server.armed_for = USEC_NEVER;
}

void sim_server_done(struct sim *s)
{
        struct server *v = &s->server;
        struct row *row, *next;

        turn_free(v->open);
        turn_free(v->flying);
        cluster_free(v->cluster);
        for (size_t i = 0; i < s->nodes_len; i++)
                if (s->nodes[i]->server_link != NULL)
                        sim_link_unref(s->nodes[i]->server_link);
        HASH_ITER (hh, v->rows, row, next) {
                HASH_DEL(v->rows, row);
                free(row->key);
                free(row->value);
                free(row);
        }
        free(v->newest_event);
}
