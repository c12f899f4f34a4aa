/* SPDX-License-Identifier: BSD-3-Clause */
/* Rules: what must hold after every event.
 *
 * Two books are kept beside the simulation. A *wish* is what people were promised of a job; it
 * changes with each command that is accepted, becomes durable with the commit that holds it, and
 * goes back to what is durable when the server does. A *fact* is what is known of a task: the
 * processes it really has, what the server said last, how a batch ended. Only what an event touches
 * is looked at, so that a cluster of ten thousand costs what one of ten does.
 *
 *   two processes   a task has one process, and none on a second node unless the first was lost
 *   singleton       never has a second process, whatever is lost
 *   forgotten       every job that was accepted and stored is there, with the spec it was given
 *   unwanted        nothing is told to run that nobody wants, nor more stand-ins than an update of
 *                   the job may have
 *   rollout         no more than update.parallel running tasks are down for a rollout
 *   done            a batch that ended well is not begun again, unless somebody asked for it
 *   room and more   what is placed on a node fits there, and what runs there (room.c)
 *   notes           each note of an agent is published once, in order
 *
 * A rule that is broken ends the simulation; the first one counts. Where the books cannot know
 * (after the server's memory was lost, between a loss and the next word of an agent) a rule gives
 * the benefit of the doubt: it may miss a breach, and never invents one. */

#include "sim/rules.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

void sim_break_rule(struct sim *s, const char *format, ...)
{
        va_list args;

        if (s->breach != NULL)
                return;
        va_start(args, format);
        s->breach = mem_vprintf(format, args);
        va_end(args);
        sim_trace(s, "BROKEN %s", s->breach);
}

/* ---- Wishes */

static void state_done(struct wish_state *w)
{
        job_spec_unref(w->spec);
        free(w->task_stopped);
        *w = (struct wish_state){ 0 };
}

static void state_copy(struct wish_state *to, const struct wish_state *from)
{
        state_done(to);
        *to = *from;
        if (from->spec != NULL)
                job_spec_ref(from->spec);
        to->task_stopped = NULL;
        if (from->task_stopped_len > 0) {
                to->task_stopped = mem_alloc(from->task_stopped_len);
                memcpy(to->task_stopped, from->task_stopped, from->task_stopped_len);
        }
}

bool sim_wish_is_stopped(const struct wish_state *w, uint32_t index)
{
        return w->stopped || (index < w->task_stopped_len && w->task_stopped[index]);
}

bool sim_wish_wants(const struct wish_state *w, uint32_t index)
{
        return w->exists && index < w->count && !sim_wish_is_stopped(w, index);
}

bool sim_is_wanted(const struct sim *s, const struct task_status *task)
{
        const struct wish *w;

        HASH_FIND_STR(s->rules->wishes, task->job, w);
        return w != NULL && sim_wish_wants(&w->live, (uint32_t) task->index);
}

static void stop_index(struct wish_state *w, uint32_t index, bool stopped)
{
        if (index >= w->task_stopped_len) {
                size_t len = MAX((size_t) index + 1, w->count);

                w->task_stopped = mem_resize(w->task_stopped, len, sizeof(bool));
                memset(w->task_stopped + w->task_stopped_len, 0, len - w->task_stopped_len);
                w->task_stopped_len = len;
        }
        w->task_stopped[index] = stopped;
}

static void start_all(struct wish_state *w)
{
        w->stopped = false;
        for (size_t i = 0; i < w->task_stopped_len; i++)
                w->task_stopped[i] = false;
}

static struct wish *wish_get(struct rules *r, const char *job)
{
        struct wish *w;

        HASH_FIND_STR(r->wishes, job, w);
        if (w != NULL)
                return w;
        w = mem_alloc(sizeof *w);
        w->job = mem_strdup(job);
        HASH_ADD_KEYPTR(hh, r->wishes, w->job, strlen(w->job), w);
        return w;
}

/* How many tasks a job may have beyond its count while a new version comes. */
static uint32_t surge_of(const struct job_spec *spec)
{
        uint32_t first = spec->update.order == UPDATE_START_FIRST ? spec->update.parallel : 0;

        return MAX(first, spec->update.canary);
}

static void set_spec(struct wish_state *w, const struct job_spec *spec)
{
        struct job_spec *same = (struct job_spec *) (uintptr_t) spec;

        job_spec_ref(same);
        job_spec_unref(w->spec);
        w->spec = same;
        w->count = spec->count;
        w->surge = MAX(w->surge, surge_of(spec));
}

static void accept_restart(struct wish_state *w, bool of_task, uint32_t index)
{
        bool others = of_task && w->stopped;

        if (!of_task || others)
                start_all(w);
        for (uint32_t i = 0; others && i < w->count; i++)
                stop_index(w, i, true);
        if (of_task)
                stop_index(w, index, false);
}

static void accept_scale(struct wish_state *w, const struct job_spec *now, uint32_t count)
{
        set_spec(w, now);
        w->count = count;
        for (size_t i = count; i < w->task_stopped_len; i++)
                w->task_stopped[i] = false;
}

/* "web.3": the index; false if it is a job. */
static bool split_target(const char *target, char job[64 + 1], uint32_t *ret_index)
{
        const char *dot = strrchr(target, '.');
        size_t len = dot != NULL ? (size_t) (dot - target) : strlen(target);

        len = MIN(len, (size_t) 64);
        memcpy(job, target, len);
        job[len] = '\0';
        *ret_index = dot != NULL ? (uint32_t) strtoul(dot + 1, NULL, 10) : 0;
        return dot != NULL;
}

static struct wish *accept_command(
        struct rules *r, const struct cluster_event *event, const struct cluster_effects *fx)
{
        const struct cluster *c = r->sim->server.cluster;
        struct wish *wish;
        struct wish_state *w;
        char job[64 + 1];
        uint32_t index = 0;
        bool of_task = false;

        switch (event->type) {
        case CLUSTER_APPLY:
        case CLUSTER_STOP:
        case CLUSTER_RESTART:
        case CLUSTER_SCALE:
        case CLUSTER_REMOVE:
                break;
        default:
                return NULL;
        }
        if (event->type != CLUSTER_APPLY)
                of_task = split_target(event->target, job, &index);
        wish = wish_get(r, event->type == CLUSTER_APPLY ? event->spec->name : job);
        w = &wish->live;
        switch (event->type) {
        case CLUSTER_APPLY:
                if (!w->exists || !fx->unchanged)
                        start_all(w);
                w->exists = true;
                w->version = fx->version;
                set_spec(w, event->spec);
                break;
        case CLUSTER_STOP:
                if (of_task)
                        stop_index(w, index, true);
                else
                        w->stopped = true;
                break;
        case CLUSTER_RESTART:
                accept_restart(w, of_task, index);
                break;
        case CLUSTER_SCALE:
                accept_scale(w, cluster_get_spec(c, wish->job, 0), event->count);
                break;
        case CLUSTER_REMOVE:
                state_done(w);
                break;
        default:
                break;
        }
        return wish;
}

/* ---- Facts */

static struct fact *fact_get(struct rules *r, const char *id)
{
        struct fact *f;
        char job[64 + 1];

        HASH_FIND_STR(r->facts, id, f);
        if (f != NULL)
                return f;
        f = mem_alloc(sizeof *f);
        f->id = mem_strdup(id);
        split_target(id, job, &f->index);
        f->wish = wish_get(r, job);
        f->done_stored_at = USEC_NEVER;
        f->last_known = true;
        HASH_ADD_KEYPTR(hh, r->facts, f->id, strlen(f->id), f);
        if (f->index >= f->wish->facts_len) {
                size_t len = MAX((size_t) f->index + 1, f->wish->facts_len * 2);

                f->wish->facts = mem_resize(f->wish->facts, len, sizeof(struct fact *));
                memset(f->wish->facts + f->wish->facts_len, 0,
                        (len - f->wish->facts_len) * sizeof(struct fact *));
                f->wish->facts_len = len;
        }
        f->wish->facts[f->index] = f;
        return f;
}

/* ---- Processes */

static bool was_lost(const struct sim_task *t)
{
        return t->node->lost_at != USEC_NEVER && t->node->lost_at >= t->decided;
}

static void check_alone(struct sim *s, struct fact *f, const struct sim_task *t)
{
        for (size_t i = 0; i < f->live_len; i++) {
                const struct sim_task *other = f->live[i];

                s->counts.second_processes++;
                if (other->spec->singleton && t->spec->singleton)
                        sim_break_rule(s,
                                "singleton: %s run %" PRIu64 " begins on %s, and its run %" PRIu64
                                " is still there on %s",
                                f->id, t->process.run, t->node->status.name, other->process.run,
                                other->node->status.name);
                if (!was_lost(other) && !was_lost(t)) /* or it is the lost one that runs again */
                        sim_break_rule(s,
                                "two processes: %s run %" PRIu64
                                " begins on %s, and its run %" PRIu64
                                " is still there on %s, which was never lost",
                                f->id, t->process.run, t->node->status.name, other->process.run,
                                other->node->status.name);
        }
}

static void check_not_done(struct sim *s, struct fact *f, const struct sim_task *t)
{
        const struct task_machine *m = &t->machine;
        bool same = f->done_node == t->node && f->done_lives == t->node->lives;
        bool known = f->done_stored_at != USEC_NEVER && t->decided > f->done_stored_at;

        if (!f->done)
                return;
        if (f->done_generation >= m->run_generation && f->done_version >= m->run_version &&
                (same || known))
                sim_break_rule(s,
                        "done: %s ended well on %s, and run %" PRIu64
                        " begins on %s without being asked for",
                        f->id, f->done_node->status.name, m->runs, t->node->status.name);
        f->done = false;
}

void sim_rules_began(struct sim *s, struct sim_task *t)
{
        struct fact *f;

        if (s->rules == NULL)
                return;
        f = fact_get(s->rules, t->id);
        check_alone(s, f, t);
        check_not_done(s, f, t);
        sim_room_began(s, t);
        if (f->live_len == f->live_allocated) {
                f->live_allocated += 2;
                f->live = mem_resize(f->live, f->live_allocated, sizeof(struct sim_task *));
        }
        f->live[f->live_len++] = t;
}

void sim_rules_ended(struct sim *s, struct sim_task *t)
{
        struct fact *f;

        if (s->rules == NULL)
                return;
        f = fact_get(s->rules, t->id);
        for (size_t i = 0; i < f->live_len; i++)
                if (f->live[i] == t) {
                        f->live[i] = f->live[--f->live_len];
                        return;
                }
}

void sim_rules_machine(struct sim *s, struct sim_task *t, const struct task_machine *before)
{
        const struct task_machine *m = &t->machine;
        struct fact *f;

        if (s->rules == NULL || t->spec->kind != JOB_BATCH || before->state == TASK_ENDED ||
                m->state != TASK_ENDED || m->result != RESULT_SUCCEEDED)
                return;
        f = fact_get(s->rules, t->id);
        f->done = true;
        f->done_generation = m->run_generation;
        f->done_version = m->run_version;
        f->done_node = t->node;
        f->done_lives = t->node->lives;
        f->done_stored_at = USEC_NEVER;
}

/* ---- What the server hears */

static bool takes_down(const struct task_desire *ours, const struct task_desire *theirs)
{
        if (!ours->run)
                return theirs->run;
        return ours->generation > theirs->generation ||
               ours->restart_version > theirs->restart_version;
}

static void note_well(struct entry *e, struct fact *f)
{
        e->well = mem_resize(e->well, e->well_len + 1, sizeof(struct fact *));
        e->well[e->well_len++] = f;
}

static void hear_report(
        struct sim *s, struct entry *e, const struct cluster_report *r, const char *node, bool all)
{
        struct fact *f = fact_get(s->rules, r->status.id);
        struct task_status status;
        bool over = r->status.state == TASK_RUNNING || r->status.state == TASK_ENDED;

        if (f->done && r->status.state == TASK_ENDED && r->status.result == RESULT_SUCCEEDED &&
                r->desire.generation >= f->done_generation &&
                strcmp(node, f->done_node->status.name) == 0)
                note_well(e, f);
        if (!cluster_get_task(s->server.cluster, f->id, &status) || status.node == NULL ||
                strcmp(status.node, node) != 0)
                return;
        if (status.state != TASK_ENDED)
                sim_room_heard(s, f);
        f->hello = all && f->told_known ? s->counts.steps : 0;
        if (!f->told_known) {
                f->told = r->desire;
                f->told_known = true;
        }
        if (over && (all || !takes_down(&f->told, &r->desire)))
                f->moved = false;
        f->up = status.state == TASK_RUNNING && !takes_down(&f->told, &r->desire);
        f->up_on = sim_node_find(s, node);
        f->up_step = s->counts.steps;
}

/* What a node did not tell of in its newest hello is gone. */
static bool is_up(const struct fact *f)
{
        return f->up && f->up_step >= f->up_on->hello_step;
}

/* ---- What the server says */

static bool may_surge(const struct wish_state *w, uint32_t index)
{
        return w->exists && !w->stopped && index >= w->count &&
               index - w->count < surge_of(w->spec);
}

static void check_wanted(struct sim *s, const struct fact *f, const struct cluster_assign *a)
{
        const struct wish_state *w = &f->wish->live;
        struct task_status status;

        if (!a->desire.run || a->forget || sim_wish_wants(w, f->index) || may_surge(w, f->index))
                return;
        /* what has ended keeps the desire it ended with */
        if (cluster_get_task(s->server.cluster, f->id, &status) && status.state == TASK_ENDED)
                return;
        sim_break_rule(s,
                "unwanted: %s is told to run, and nobody wants that (%s, count %" PRIu32 "%s%s)",
                f->id, w->exists ? "its job is there" : "its job was removed", w->count,
                w->stopped ? ", job stopped" : "",
                sim_wish_is_stopped(w, f->index) ? ", task stopped" : "");
}

/* Tasks of the job that are down because of its rollout, and not because of a fault since. */
static size_t count_moved(struct wish *w)
{
        size_t n = 0;

        for (size_t i = 0; i < w->facts_len; i++) {
                struct fact *f = w->facts[i];

                if (f == NULL || !f->moved)
                        continue;
                if (!sim_wish_wants(&w->live, f->index) ||
                        (f->moved_on->down_at != USEC_NEVER && f->moved_on->down_at >= f->moved_at))
                        f->moved = false;
                n += f->moved;
        }
        return n;
}

static void check_rollout(struct sim *s, struct fact *f)
{
        size_t down = count_moved(f->wish);
        uint32_t parallel = f->wish->live.spec != NULL ? f->wish->live.spec->update.parallel : 1;
        AUTO(buffer_done) struct buffer names = { 0 };

        parallel = MAX(parallel, f->wish->live.surge); /* others stand in for so many */
        if (down <= parallel)
                return;
        for (size_t i = 0; i < f->wish->facts_len && names.len < 200; i++)
                if (f->wish->facts[i] != NULL && f->wish->facts[i]->moved)
                        buffer_printf(&names, " %s", f->wish->facts[i]->id);
        sim_break_rule(s,
                "rollout: %s is taken down, and that makes %zu tasks of %s (%s ); %" PRIu32
                " may be",
                f->id, down, f->wish->job, buffer_str(&names), parallel);
}

static void hear_assign(struct sim *s, const struct cluster_assign *a, bool rolls)
{
        struct fact *f = fact_get(s->rules, a->task);
        bool down, asked = f->asked;

        if (a->forget) { /* it has ended there, or is a namesake of one that is elsewhere */
                f->up &= strcmp(f->up_on != NULL ? f->up_on->status.name : "", a->node) != 0;
                sim_room_forget(s, f);
                return;
        }
        check_wanted(s, f, a);
        if (f->up && strcmp(f->up_on->status.name, a->node) != 0)
                f->up = false; /* it was placed anew: its node was lost */
        down = f->told_known && is_up(f) && takes_down(&a->desire, &f->told);
        f->asked &= f->told_known && a->desire.generation <= f->told.generation;
        f->told = a->desire;
        f->told_known = true;
        sim_room_told(s, f, a);
        if (!down)
                return;
        f->up = false;
        if (!a->desire.run || !rolls || asked || f->preempted == s->counts.steps)
                return;
        f->moved = true;
        f->moved_on = sim_node_find(s, a->node);
        f->moved_at = s->now;
        s->counts.moves++;
        check_rollout(s, f);
}

/* When all is said: what is freed and what is taken come in one turn. */
static void check_rooms(struct sim *s, const struct cluster_effects *fx)
{
        for (size_t i = 0; i < fx->assigns_len; i++)
                if (fx->assigns[i].desire.run && !fx->assigns[i].forget)
                        sim_room_check(s, fact_get(s->rules, fx->assigns[i].task));
}

void sim_rules_told_all(struct sim *s, struct sim_node *n, const struct cluster_effects *all)
{
        (void) n;
        for (size_t i = 0; i < all->assigns_len && s->rules != NULL; i++) {
                struct fact *f = fact_get(s->rules, all->assigns[i].task);

                /* What the node has lost was taken down by a fault; and what the server had said
                 * before it lost its memory is not known. */
                hear_assign(s, &all->assigns[i], f->hello == s->counts.steps);
        }
        if (s->rules != NULL)
                check_rooms(s, all);
}

/* ---- Jobs, nodes, notes */

static void check_jobs(struct sim *s)
{
        for (struct wish *w = s->rules->wishes; w != NULL; w = w->hh.next) {
                const struct job_spec *spec;

                if (!w->live.exists)
                        continue;
                spec = cluster_get_spec(s->server.cluster, w->job, 0);
                if (spec == NULL)
                        sim_break_rule(
                                s, "forgotten: job %s was accepted and is not there", w->job);
                else if (spec->count != w->live.count)
                        sim_break_rule(s,
                                "forgotten: job %s has count %" PRIu32 ", accepted was %" PRIu32,
                                w->job, spec->count, w->live.count);
        }
}

static void check_note(struct sim *s, const struct cluster_event *event, const struct entry *e)
{
        struct sim_node *n = sim_node_find(s, event->node->name);

        if (n->forgotten)
                return;
        if (e->effects.events_len == 0 && event->note_seq > n->notes_seen)
                sim_break_rule(s,
                        "notes: note %" PRIu64 " of %s is not published, %" PRIu64
                        " was the newest",
                        event->note_seq, n->status.name, n->notes_seen);
        if (e->effects.events_len == 0)
                return;
        if (event->note_seq != n->notes_seen + 1)
                sim_break_rule(s, "notes: note %" PRIu64 " of %s is published after %" PRIu64,
                        event->note_seq, n->status.name, n->notes_seen);
        n->notes_seen = event->note_seq;
}

static void hear_hello(struct sim *s, const struct cluster_event *event)
{
        struct sim_node *n = sim_node_find(s, event->node->name);

        n->hello_step = s->counts.steps;
        n->notes_seen = MIN(n->notes_seen, event->note_seq); /* it was wiped */
}

static void hear_events(struct sim *s, const struct cluster_effects *fx)
{
        for (size_t i = 0; i < fx->events_len; i++) {
                struct sim_node *n;

                if (fx->events[i].kind == EVENT_TASK_PREEMPTED && fx->events[i].task != NULL)
                        fact_get(s->rules, fx->events[i].task)->preempted = s->counts.steps;
                if (fx->events[i].kind != EVENT_NODE_LOST)
                        continue;
                n = sim_node_find(s, fx->events[i].node);
                n->lost_at = n->down_at = s->now;
                s->counts.lost_nodes++;
        }
}

static void remember_asked(struct rules *r, const struct cluster_event *event)
{
        char job[64 + 1];
        uint32_t index;

        if (event->type == CLUSTER_RESTART && split_target(event->target, job, &index))
                fact_get(r, event->target)->asked = true;
}

/* A command about a node. */
static void hear_node_command(struct sim *s, const struct cluster_event *event, struct entry *e)
{
        struct sim_node *n = event->target != NULL ? sim_node_find(s, event->target) : NULL;

        switch (event->type) {
        case CLUSTER_CORDON:
        case CLUSTER_DRAIN:
        case CLUSTER_FORGET:
                break;
        default:
                return;
        }
        n->forgotten |= event->type == CLUSTER_FORGET;
        if (event->type == CLUSTER_FORGET)
                n->closed = 0;
        else if (event->type == CLUSTER_CORDON)
                n->closed = event->on ? n->closed | CLOSED_CORDONED : 0;
        else if (event->on)
                n->closed = CLOSED_CORDONED | CLOSED_DRAINING;
        else if ((n->closed & CLOSED_DRAINING) != 0)
                n->closed = 0;
        e->closes = n;
        e->closed = n->closed;
        if (event->type == CLUSTER_FORGET)
                n->lost_at = n->down_at = s->now;
}

static void remember_wish(struct entry *e, struct wish *w)
{
        struct wish_change *change;

        e->wishes = mem_resize(e->wishes, e->wishes_len + 1, sizeof e->wishes[0]);
        change = &e->wishes[e->wishes_len++];
        *change = (struct wish_change){ .wish = w };
        state_copy(&change->state, &w->live);
        for (size_t i = 0; i < w->facts_len; i++) { /* who stops is not down for a rollout */
                struct fact *f = w->facts[i];

                if (f != NULL && !sim_wish_wants(&w->live, f->index))
                        f->moved = f->up = f->told.run = false;
        }
}

static void hear_command(struct sim *s, const struct cluster_event *event, struct entry *e)
{
        struct wish *w = accept_command(s->rules, event, &e->effects);

        remember_asked(s->rules, event);
        if (w != NULL)
                remember_wish(e, w);
}

/* By a person, or by itself: people get what they wished before. */
static void hear_reverts(struct sim *s, const struct cluster_event *event, struct entry *e)
{
        for (size_t i = 0; i < e->effects.events_len; i++) {
                const struct event *said = &e->effects.events[i];
                struct job_status status;
                struct wish *w;

                if (said->kind != EVENT_JOB_REVERTED || said->job == NULL)
                        continue;
                w = wish_get(s->rules, said->job);
                if (!cluster_get_job(s->server.cluster, w->job, &status))
                        continue;
                if (event->type == CLUSTER_REVERT)
                        start_all(&w->live);
                accept_scale(&w->live, cluster_get_spec(s->server.cluster, w->job, 0),
                        (uint32_t) status.count);
                w->live.version = (uint32_t) status.version;
                s->counts.reverts++;
                remember_wish(e, w);
        }
}

void sim_rules_handled(struct sim *s, const struct cluster_event *event, struct entry *e)
{
        bool reports = event->type == CLUSTER_NODE_UP || event->type == CLUSTER_REPORT;

        if (s->rules == NULL)
                return;
        hear_events(s, &e->effects);
        if (event->type == CLUSTER_NODE_UP)
                hear_hello(s, event);
        if (event->type == CLUSTER_NODE_DOWN)
                sim_node_find(s, event->node->name)->down_at = s->now;
        if (event->type == CLUSTER_NOTE)
                check_note(s, event, e);
        hear_command(s, event, e);
        hear_reverts(s, event, e);
        hear_node_command(s, event, e);
        for (size_t i = 0; i < event->reports_len && reports; i++)
                hear_report(s, e, &event->reports[i], event->node->name,
                        event->type == CLUSTER_NODE_UP);
        for (size_t i = 0; i < e->effects.assigns_len; i++)
                hear_assign(s, &e->effects.assigns[i], true);
        check_rooms(s, &e->effects);
        check_jobs(s);
}

/* ---- Commit and loss */

void sim_rules_stored(struct sim *s, struct entry *e)
{
        if (s->rules == NULL)
                return;
        s->rules->stored_until = e->decided;
        if (e->closes != NULL)
                e->closes->closed_stored = e->closed;
        for (size_t i = 0; i < e->wishes_len; i++)
                state_copy(&e->wishes[i].wish->stored, &e->wishes[i].state);
        for (size_t i = 0; i < e->well_len; i++)
                if (e->well[i]->done && e->well[i]->done_stored_at == USEC_NEVER)
                        e->well[i]->done_stored_at = s->now;
}

void sim_rules_entry_free(struct entry *e)
{
        for (size_t i = 0; i < e->wishes_len; i++)
                state_done(&e->wishes[i].state);
        free(e->wishes);
        free(e->well);
}

void sim_rules_reloaded(struct sim *s)
{
        struct fact *f, *next;

        if (s->rules == NULL)
                return;
        for (struct wish *w = s->rules->wishes; w != NULL; w = w->hh.next)
                state_copy(&w->live, &w->stored);
        HASH_ITER (hh, s->rules->facts, f, next) {
                f->told_known = f->up = f->last_known = false;
                f->moved &= f->moved_at < s->rules->stored_until;
        }
        for (size_t i = 0; i < s->nodes_len; i++) {
                s->nodes[i]->notes_seen = s->nodes[i]->notes_stored;
                s->nodes[i]->closed = s->nodes[i]->closed_stored;
        }
}

/* ---- Life */

struct rules *sim_rules_new(struct sim *s)
{
        struct rules *r = mem_alloc(sizeof *r);

        r->sim = s;
        return r;
}

void sim_rules_free(struct rules *r)
{
        struct wish *w, *next_wish;
        struct fact *f, *next_fact;

        if (r == NULL)
                return;
        HASH_ITER (hh, r->facts, f, next_fact) {
                HASH_DEL(r->facts, f);
                free(f->id);
                free(f->live);
                free(f);
        }
        HASH_ITER (hh, r->wishes, w, next_wish) {
                HASH_DEL(r->wishes, w);
                state_done(&w->live);
                state_done(&w->stored);
                free(w->job);
                free(w->facts);
                free(w);
        }
        free(r);
}
