/* SPDX-License-Identifier: BSD-3-Clause */
/* Network: links as TCP gives them.
 *
 * A link has two ends and a queue in each direction. What is sent arrives in order, later or much
 * later, or the link breaks: a lost message is a broken link, since TCP hides every smaller loss.
 * Each end is closed by its owner, and says so with a last message that can itself be late: until
 * it comes the other side believes in the link. While a node is cut off its queues stand still; an
 * end that hears nothing for too long closes by itself. That no heartbeats came is known from the
 * cut; they are sent one by one only where leases run, which go by them.
 *
 * A message can be delivered a second time, right behind the first: TCP does not do that, a server
 * that answers a hello again, and an agent that repeats itself, do. */

#include <inttypes.h>
#include <string.h>
#include <utlist.h>

#include "sim/sim-internal.h"

/* ---- Messages */

void sim_note_unref(struct note *n)
{
        if (--n->refs > 0)
                return;
        free(n->task);
        free(n->job);
        free(n->message);
        free(n);
}

struct message *sim_message_new(enum message_type type)
{
        struct message *m = mem_alloc(sizeof *m);

        m->type = type;
        return m;
}

void sim_message_free(struct message *m)
{
        if (m == NULL)
                return;
        for (size_t i = 0; i < m->reports_len; i++) {
                free(m->reports[i].id);
                free(m->reports[i].job);
                free(m->reports[i].ports);
                job_spec_unref(m->reports[i].spec);
        }
        for (size_t i = 0; i < m->notes_len; i++)
                sim_note_unref(m->notes[i]);
        for (size_t i = 0; i < m->items_len; i++) {
                cluster_assign_done(&m->items[i].assign);
                job_spec_unref(m->items[i].spec);
        }
        free(m->reports);
        free(m->notes);
        free(m->items);
        free(m);
}

static const char *const message_names[] = { "hello", "report", "notes", "welcome", "assign", "ack",
        "ping", "pong", "end" };

/* ---- Links */

struct link *sim_link_new(struct sim_node *n)
{
        struct link *l = mem_alloc(sizeof *l);

        l->node = n;
        l->number = ++n->sim->links;
        l->agent_open = true;
        l->refs = 1; /* the agent's end */
        return l;
}

struct link *sim_link_ref(struct link *l)
{
        l->refs++;
        return l;
}

static void channel_clear(struct channel *c)
{
        struct message *m, *next;

        DL_FOREACH_SAFE (c->messages, m, next) {
                DL_DELETE(c->messages, m);
                sim_message_free(m);
        }
}

void sim_link_unref(struct link *l)
{
        if (--l->refs > 0)
                return;
        channel_clear(&l->up);
        channel_clear(&l->down);
        sim_message_free(l->gathered);
        cluster_effects_done(&l->all);
        free(l);
}

static usec_t draw_latency(struct sim *s)
{
        const struct sim_faults *f = &s->config.faults;
        usec_t latency = sim_between(s, f->latency_min, f->latency_max);

        return sim_maybe(s, f->latency_spike) ? latency * 30 : latency;
}

static void schedule_channel(struct link *l, bool up)
{
        struct channel *c = up ? &l->up : &l->down;

        if (c->scheduled || c->messages == NULL || (up ? l->node->cut_up : l->node->cut_down))
                return;
        c->scheduled = true;
        sim_schedule_link(l->node->sim, c->messages->due, SIM_EV_DELIVER, l, up);
}

static void send_on(struct link *l, bool up, struct message *m)
{
        struct channel *c = up ? &l->up : &l->down;

        m->due = MAX(c->last_due, l->node->sim->now + draw_latency(l->node->sim));
        c->last_due = m->due;
        DL_APPEND(c->messages, m);
        schedule_channel(l, up);
}

/* The network breaks the link: each side hears of it by itself. */
static void lose(struct link *l)
{
        sim_trace(l->node->sim, "%s: the link breaks", l->node->status.name);
        send_on(l, true, sim_message_new(MESSAGE_END));
        send_on(l, false, sim_message_new(MESSAGE_END));
}

static void send_or_lose(struct link *l, bool up, struct message *m)
{
        struct sim *s = l->node->sim;

        if (m->type != MESSAGE_PING && m->type != MESSAGE_PONG &&
                sim_maybe(s, s->config.faults.message_lost)) {
                sim_message_free(m);
                lose(l);
        } else {
                send_on(l, up, m);
        }
}

void sim_link_send_up(struct link *l, struct message *m)
{
        send_or_lose(l, true, m);
}

void sim_link_send_down(struct link *l, struct message *m)
{
        send_or_lose(l, false, m);
}

/* ---- Ends */

void sim_link_close_agent(struct link *l, bool say)
{
        if (!l->agent_open)
                return;
        l->agent_open = false;
        if (say)
                send_on(l, true, sim_message_new(MESSAGE_END));
        sim_agent_link_ended(l);
        sim_link_unref(l);
}

void sim_link_close_server(struct link *l, bool say)
{
        if (!l->server_open)
                return;
        l->server_open = false;
        if (say)
                send_on(l, false, sim_message_new(MESSAGE_END));
        sim_server_link_ended(l);
        sim_link_unref(l);
}

/* ---- Delivery */

static void trace_message(struct link *l, bool up, const struct message *m)
{
        struct sim *s = l->node->sim;

        sim_trace(s, "%s %s %s #%" PRIu64 " tasks %zu notes %zu seq %" PRIu64 "%s",
                l->node->status.name, up ? "->" : "<-", message_names[m->type], l->number,
                m->reports_len + m->items_len, m->notes_len, m->seq, m->all ? " all" : "");
        if (s->config.trace == NULL)
                return;
        for (size_t i = 0; i < m->reports_len; i++)
                sim_trace(s, "   %s %s run %" PRIu64 " v%u g%" PRIu64 " (%s)", m->reports[i].id,
                        task_state_names[m->reports[i].machine.state], m->reports[i].machine.runs,
                        m->reports[i].machine.desire.version,
                        m->reports[i].machine.desire.generation, m->reports[i].machine.reason);
        for (size_t i = 0; i < m->items_len; i++) {
                const struct cluster_assign *a = &m->items[i].assign;

                sim_trace(s, "   %s %s v%u r%u g%" PRIu64, a->task,
                        a->forget       ? "forget"
                        : a->desire.run ? "run"
                                        : "stop",
                        a->desire.version, a->desire.restart_version, a->desire.generation);
        }
}

static void take(struct link *l, bool up, const struct message *m)
{
        struct sim *s = l->node->sim;

        s->counts.messages++;
        trace_message(l, up, m);
        if (up)
                sim_server_take(l, m);
        else
                sim_agent_take(l, m);
}

/* The other side is not there, or not any more. */
static void refuse(struct link *l, bool up, const struct message *m)
{
        if (m->type != MESSAGE_END && up && l->agent_open)
                send_on(l, false, sim_message_new(MESSAGE_END));
}

/* A hello that was overtaken by one of a later link is not heard: it tells of the past. */
static bool is_heard(const struct link *l, bool up, const struct message *m)
{
        if (!up)
                return l->agent_open;
        if (l->server_open || m->type != MESSAGE_HELLO)
                return l->server_open;
        return l->node->sim->server.cluster != NULL && l->number > l->node->newest_link;
}

static bool may_come_twice(const struct message *m)
{
        return m->type == MESSAGE_REPORT || m->type == MESSAGE_NOTES || m->type == MESSAGE_ASSIGN ||
               m->type == MESSAGE_ACK;
}

void sim_link_deliver(struct link *l, bool up)
{
        struct sim *s = l->node->sim;
        struct channel *c = up ? &l->up : &l->down;
        struct message *m = c->messages;

        c->scheduled = false;
        if (m == NULL || (up ? l->node->cut_up : l->node->cut_down))
                return;
        DL_DELETE(c->messages, m);
        if (up)
                l->heard = s->now;
        if (!is_heard(l, up, m)) {
                refuse(l, up, m);
        } else if (m->type == MESSAGE_END) {
                trace_message(l, up, m);
                if (up)
                        sim_link_close_server(l, false);
                else
                        sim_link_close_agent(l, false);
        } else {
                take(l, up, m);
                if (may_come_twice(m) && sim_maybe(s, s->config.faults.message_twice) &&
                        is_heard(l, up, m))
                        take(l, up, m);
        }
        sim_message_free(m);
        schedule_channel(l, up);
}

/* ---- Cuts */

static usec_t draw_silence(struct sim *s, usec_t silence)
{
        return s->now + sim_between(s, silence - 500 * USEC_MSEC, silence + 100 * USEC_MSEC);
}

void sim_link_cut(struct sim_node *n, bool up, bool down)
{
        struct sim *s = n->sim;

        if (down && n->agent_link != NULL)
                sim_schedule_link(s, draw_silence(s, SIM_AGENT_BREAKS), SIM_EV_AGENT_SILENCE,
                        n->agent_link, n->cut_epoch);
        if (up && n->server_link != NULL)
                sim_schedule_link(s, draw_silence(s, SIM_LOST_AFTER), SIM_EV_SERVER_SILENCE,
                        n->server_link, n->cut_epoch);
}

/* Its agent is gone without a word. */
void sim_link_orphan(struct link *l)
{
        l->orphaned = true;
        l->node->gone_at = l->node->sim->now;
        sim_schedule_link(l->node->sim, draw_silence(l->node->sim, SIM_LOST_AFTER),
                SIM_EV_SERVER_SILENCE, l, 0);
}

void sim_link_healed(struct sim_node *n)
{
        for (int i = 0; i < 2; i++) {
                struct link *l = i == 0 ? n->agent_link : n->server_link;

                if (l == NULL || (i == 1 && l == n->agent_link))
                        continue;
                schedule_channel(l, true);
                schedule_channel(l, false);
        }
}
