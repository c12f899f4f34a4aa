/* SPDX-License-Identifier: BSD-3-Clause */
/* State: the cluster, made durable.
 *
 * cluster_handle() decides in memory at once; what it decided must not be seen from outside before
 * it is on disk. So every submitted event leaves an entry (its effects and who waits for it) in the
 * `open` turn. At the end of the loop turn the whole `open` turn becomes one batch of the store and
 * is then `flying`; while it flies the next turn gathers. One commit is under way at a time: were
 * there two, the first could fail and the second succeed, and the store would hold the consequences
 * of something that never happened. When a commit is reported the entries of the turn are published
 * in the order of their making: assigns to the agents, events to the followers, answers to the
 * waiting.
 *
 * Events are most of what is written, and are never changed: those of a turn go into one row, or a
 * few of EVENTS_PER_ROW, under the number of the first one, as lines. Whoever looks for an event
 * begins with the row before it (events.c). Other rows that were written several times in a turn
 * are stored once, as they were written last.
 *
 * Readers see the memory. Their answer is made at once, but held back by state_barrier() until
 * everything that they could have seen is durable: nobody learns of a thing which a crash could
 * undo.
 *
 * When a commit fails (a full disk, mostly) the state is *degraded* until one succeeds:
 * - People's commands are refused at once. The ones in the failed turn, and in the one gathered
 * behind it, are answered with the error; since the cluster in memory has carried them out already,
 * it is thrown away and loaded anew from the store, and the agents are made to say hello again. So
 * a command that was answered with an error never takes effect later.
 * - What agents report is true whether we can write it or not. A failed turn without commands is
 * kept, what comes later is put behind it, and it is tried again after 250 ms, doubling to 2 s.
 * Until then nothing of it is acknowledged to an agent: were we killed now, the agent would say it
 * again. Readers are answered from memory meanwhile.
 * - The event that tells of the failure is itself part of what is tried again: it is the probe for
 * room on the disk.
 *
 * Invariants: `flying` is not NULL exactly while a commit is under way or waits to be tried again;
 * degraded implies flying; a degraded state has no commands in either turn. What is kept in memory
 * while degraded is bounded by what the agents may have unacknowledged. */
#include "server/state.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/zone-file.h"
#include "server/events.h"

#define RETRY_FIRST_MSEC 250
#define RETRY_LAST_MSEC  2000

/* Rows looked at in one go when old events are forgotten. */
#define FORGET_ROWS 10000

#define EVENTS_PER_ROW 64

/* A wall clock that moved by more than that between two submits was set. Less is no matter: a slow
 * correction, or the time between reading the two clocks. */
#define CLOCK_STEP (500 * (int64_t) USEC_MSEC)

struct entry {
        struct cluster_effects effects;
        state_done_cb *done;
        void *data;
        bool barrier; /* only waits */
        struct entry *next, *prev;
};

struct turn {
        struct entry *entries;
        bool commands; /* a person waits for one of the entries */
        bool writes;
        uint64_t forget_before; /* delete the events with smaller numbers */
};

struct state {
        uv_loop_t *loop;
        struct store *store;
        char *store_path;
        struct state_hooks hooks;

        struct cluster *cluster;
        struct turn *open, *flying;
        uint64_t index_base;
        uint64_t index_told; /* state_index() at the last `changed` */
        uint64_t durable_event;
        uint64_t oldest_event; /* none with a smaller number is stored */

        bool degraded, freed;
        usec_t degraded_since_mono;
        struct error degraded_error;
        uint64_t retry_msec;

        uv_prepare_t prepare;
        uv_check_t check;
        uv_timer_t deadline, retry;
        usec_t armed_for;   /* what `deadline` waits for */
        int64_t wall_ahead; /* of the monotonic clock, at the last submit */
        struct state_counters counters;
        usec_t commit_mono; /* when the one under way began */
        unsigned pending;   /* handles that are not closed, commits that are not reported */
};

/* ---- Entries and turns */

static void entry_free(struct entry *e)
{
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

static void turn_add(struct turn *t, struct entry *e)
{
        DL_APPEND(t->entries, e);
        t->writes = t->writes || e->effects.writes_len > 0;
}

static bool turn_is_empty(const struct turn *t)
{
        return t->entries == NULL && t->forget_before == 0;
}

static void turn_concat(struct turn *t, struct turn *tail)
{
        DL_CONCAT(t->entries, tail->entries);
        tail->entries = NULL;
        t->writes = t->writes || tail->writes;
        t->commands = t->commands || tail->commands;
        t->forget_before = MAX(t->forget_before, tail->forget_before);
        turn_free(tail);
}

const char *state_event_key(char key[STATE_KEY_MAX], uint64_t index)
{
        snprintf(key, STATE_KEY_MAX, "event/%020" PRIu64, index);
        return key;
}

static bool is_event(const char *key)
{
        return strncmp(key, "event/", 6) == 0;
}

/* The events of a turn on their way into rows. */
struct event_rows {
        struct store_batch *batch;
        const char *key; /* of the row that is being filled */
        struct buffer lines;
        size_t count;
};

static void event_rows_end(struct event_rows *r)
{
        if (r->count > 0)
                store_batch_put(r->batch, r->key, r->lines.data, r->lines.len);
        buffer_reset(&r->lines);
        r->count = 0;
}

static void event_rows_add(struct event_rows *r, const struct cluster_write *w)
{
        if (r->count == EVENTS_PER_ROW)
                event_rows_end(r);
        if (r->count == 0)
                r->key = w->key;
        else
                buffer_putc(&r->lines, '\n');
        buffer_puts(&r->lines, w->value);
        r->count++;
}

/* The last write of each key that is not an event's: a table of pointers with free places. */
struct last_writes {
        const struct cluster_write **table;
        size_t mask;
};

static size_t hash_key(const char *key)
{
        size_t hash = 14695981039346656037u;

        for (; *key != '\0'; key++)
                hash = (hash ^ (unsigned char) *key) * 1099511628211u;
        return hash ^ hash >> 32;
}

static const struct cluster_write **last_writes_find(const struct last_writes *l, const char *key)
{
        size_t at = hash_key(key) & l->mask;

        while (l->table[at] != NULL && strcmp(l->table[at]->key, key) != 0)
                at = (at + 1) & l->mask;
        return &l->table[at];
}

static size_t count_others(const struct turn *t)
{
        struct entry *e;
        size_t count = 0;

        DL_FOREACH (t->entries, e)
                for (size_t i = 0; i < e->effects.writes_len; i++)
                        count += !is_event(e->effects.writes[i].key);
        return count;
}

static void last_writes_init(struct last_writes *l, const struct turn *t)
{
        size_t count = count_others(t), size = 16;
        struct entry *e;

        while (size < count * 2)
                size *= 2;
        l->mask = size - 1;
        l->table = mem_alloc(size * sizeof(void *));
        DL_FOREACH (t->entries, e)
                for (size_t i = 0; i < e->effects.writes_len; i++)
                        if (!is_event(e->effects.writes[i].key))
                                *last_writes_find(l, e->effects.writes[i].key) =
                                        &e->effects.writes[i];
}

static void put_write(struct store_batch *batch, const struct cluster_write *w)
{
        if (w->value == NULL)
                store_batch_delete(batch, w->key);
        else
                store_batch_put(batch, w->key, w->value, strlen(w->value));
}

static void turn_to_batch(const struct turn *t, struct store_batch *batch)
{
        char first[STATE_KEY_MAX], last[STATE_KEY_MAX];
        struct event_rows rows = { .batch = batch };
        struct last_writes newest;
        struct entry *e;

        last_writes_init(&newest, t);
        if (t->forget_before > 0)
                store_batch_delete_range(
                        batch, state_event_key(first, 0), state_event_key(last, t->forget_before));
        DL_FOREACH (t->entries, e) {
                for (size_t i = 0; i < e->effects.writes_len; i++) {
                        const struct cluster_write *w = &e->effects.writes[i];

                        if (is_event(w->key))
                                event_rows_add(&rows, w);
                        else if (*last_writes_find(&newest, w->key) == w)
                                put_write(batch, w);
                }
        }
        event_rows_end(&rows);
        buffer_done(&rows.lines);
        free(newest.table);
}

/* ---- Loading */

static int load_row(void *data, const char *key, const char *value, size_t len, struct error *err)
{
        struct state *s = data;
        struct cluster_event event = { .type = CLUSTER_LOAD, .key = key, .value = value };
        AUTO(cluster_effects_done) struct cluster_effects effects = { 0 };
        char last[STATE_KEY_MAX];

        if (strlen(value) != len)
                return error_set(err, ERR_INVALID, "row %s of the store is damaged", key);
        if (strncmp(key, "token/", 6) == 0 || strncmp(key, "alert/", 6) == 0)
                return 0;    /* not the cluster's: tokens.c, alerts.c */
        if (is_event(key)) { /* the cluster only wants to know of the newest one */
                struct events_row row = events_row(key, value, len);

                s->oldest_event = s->oldest_event == 0 ? row.first : s->oldest_event;
                s->durable_event = MAX(s->durable_event, row.last);
                event.key = state_event_key(last, row.last);
        }
        return cluster_handle(s->cluster, &event, time_wall(), &effects, err);
}

/* The index begins at the time of day: later than all that an earlier server counted, which had at
 * most one change in a microsecond. What is derived after the load can have effects of its own;
 * they are submitted like any other. */
static int load(struct state *s, struct error *err)
{
        struct cluster_event loaded = { .type = CLUSTER_LOADED };

        s->index_base = MAX(s->cluster == NULL ? 0 : state_index(s) + 1, time_wall());
        cluster_free(s->cluster);
        s->cluster = cluster_new();
        if (s->hooks.lost_after != 0)
                cluster_set_lost_after(s->cluster, s->hooks.lost_after);
        s->oldest_event = 0;
        if (store_scan(s->store, "", load_row, s, err) < 0)
                return error_wrap(err, "load %s", s->store_path);
        return state_submit(s, &loaded, NULL, NULL, NULL, err);
}

/* ---- Publishing */

static void publish_effects(struct state *s, const struct cluster_effects *effects)
{
        for (size_t i = 0; i < effects->assigns_len; i++)
                s->hooks.assign(s->hooks.data, &effects->assigns[i]);
        for (size_t i = 0; i < effects->events_len; i++) {
                s->durable_event = MAX(s->durable_event, (uint64_t) effects->events[i].index);
                s->hooks.event(s->hooks.data, &effects->events[i]);
        }
}

static void publish(struct state *s, struct turn *t)
{
        struct entry *e;

        DL_FOREACH (t->entries, e) {
                publish_effects(s, &e->effects);
                if (e->done != NULL)
                        e->done(e->data, NULL);
        }
        s->hooks.published(s->hooks.data);
        turn_free(t);
}

static void fail_waiting(struct turn *t, const struct error *err)
{
        struct entry *e;

        DL_FOREACH (t->entries, e)
                if (e->done != NULL)
                        e->done(e->data, err);
        turn_free(t);
}

/* ---- Committing */

static void on_commit(void *data, uint64_t revision, const struct error *err);

static void free_if_done(struct state *s)
{
        if (s->pending > 0)
                return;
        turn_free(s->open);
        turn_free(s->flying);
        cluster_free(s->cluster);
        free(s->store_path);
        free(s);
}

static void commit_flying(struct state *s)
{
        AUTO(store_batch_done) struct store_batch batch = { 0 };

        turn_to_batch(s->flying, &batch);
        s->pending++;
        s->commit_mono = time_mono();
        store_commit(s->store, &batch, on_commit, s);
}

/* Hands over what the loop turn has gathered. */
static void flush(struct state *s)
{
        while (s->flying == NULL && !turn_is_empty(s->open)) {
                struct turn *t = s->open;

                s->open = mem_alloc(sizeof *s->open);
                if (t->writes || t->forget_before > 0) {
                        s->flying = t;
                        commit_flying(s);
                } else {
                        publish(s, t);
                }
        }
}

static void notice(struct state *s, const char *message)
{
        struct error err;
        AUTO(mem_freep) char *text = mem_strdup(message);
        struct event note = { .time = time_wall(),
                .kind = EVENT_STORE,
                .version = RECORD_NULL,
                .run = RECORD_NULL,
                .message = text };
        struct cluster_event event = { .type = CLUSTER_NOTICE, .note = &note };

        if (state_submit(s, &event, NULL, NULL, NULL, &err) < 0)
                log_error("event of the store: %s", err.message);
}

static void recover(struct state *s)
{
        char span[TIME_TEXT_MAX], message[256];

        s->degraded = false;
        snprintf(message, sizeof message, "the store can be written again after %s",
                time_format_span(span, time_mono() - s->degraded_since_mono));
        log_info("%s", message);
        notice(s, message);
        s->hooks.recovered(s->hooks.data);
}

/* Undoes what was decided but not stored, by going back to what is stored. */
static void rebuild(struct state *s, const struct error *failed)
{
        struct turn *flying = take_ptr(s->flying), *open = s->open;
        struct error err;

        s->open = mem_alloc(sizeof *s->open);
        s->hooks.reset(s->hooks.data);
        if (load(s, &err) < 0) {
                /* What is in memory is not true any more. The keeper starts us again. */
                log_error("%s", err.message);
                exit(1);
        }
        fail_waiting(flying, failed);
        fail_waiting(open, failed);
}

static void on_retry(uv_timer_t *timer)
{
        struct state *s = timer->data;

        turn_concat(s->flying, s->open);
        s->open = mem_alloc(sizeof *s->open);
        commit_flying(s);
}

/* Readers do not wait for a store that fails. */
static void release_barriers(struct turn *t)
{
        struct entry *e, *next;

        DL_FOREACH_SAFE (t->entries, e, next) {
                if (!e->barrier)
                        continue;
                DL_DELETE(t->entries, e);
                e->done(e->data, NULL);
                entry_free(e);
        }
}

static void degrade(struct state *s, const struct error *err)
{
        char message[sizeof err->message + 128];

        snprintf(message, sizeof message, "the state cannot be stored: %s", err->message);
        log_error("%s; commands are refused until it can", message);
        s->degraded = true;
        s->degraded_since_mono = time_mono();
        s->retry_msec = RETRY_FIRST_MSEC;
        if (s->flying != NULL)
                release_barriers(s->flying);
        release_barriers(s->open);
        notice(s, message);
}

static void on_commit(void *data, uint64_t revision, const struct error *err)
{
        struct state *s = data;

        (void) revision;
        s->pending--;
        s->counters.commits++;
        s->counters.commit_failures += err != NULL;
        s->counters.commit_time += time_mono() - s->commit_mono;
        if (s->freed) {
                free_if_done(s);
                return;
        }
        if (err == NULL) {
                struct turn *t = take_ptr(s->flying);

                publish(s, t);
                if (s->degraded)
                        recover(s);
                return; /* flush() follows at the end of the turn */
        }

        error_set(&s->degraded_error, err->code == ERR_NONE ? ERR_SYSTEM : err->code,
                "the state cannot be stored: %s", err->message);
        if (s->flying->commands || s->open->commands)
                rebuild(s, &s->degraded_error);
        if (!s->degraded)
                degrade(s, err);
        if (s->flying == NULL) { /* rebuilt: what the load and the notice made is tried next */
                s->flying = s->open;
                s->open = mem_alloc(sizeof *s->open);
        }
        uv_timer_start(&s->retry, on_retry, s->retry_msec, 0);
        s->retry_msec = MIN(s->retry_msec * 2, (uint64_t) RETRY_LAST_MSEC);
}

/* ---- Time zones */

/* The core reads no files: the zone that a spec names is there before the spec is. */
int state_know_zone(struct state *s, const struct job_spec *spec, struct error *err)
{
        const char *name = spec == NULL ? NULL : spec->schedule.zone;
        struct error why = ERROR_INIT;
        struct zone *zone;

        if (name == NULL || cluster_knows_zone(s->cluster, name))
                return 0;
        if (zone_file_load(NULL, name, &zone, &why) < 0)
                return error_set(
                        err, ERR_INVALID, "jobs.%s.schedule.zone: %s", spec->name, why.message);
        cluster_add_zone(s->cluster, name, zone);
        return 0;
}

/* Those of specs that were accepted before. */
static void add_missing_zones(struct state *s)
{
        const char *name;

        while ((name = cluster_missing_zone(s->cluster)) != NULL) {
                struct error err = ERROR_INIT;
                struct zone *zone = NULL;

                if (zone_file_load(NULL, name, &zone, &err) < 0)
                        log_error("time zone %s: %s", name, err.message);
                cluster_add_zone(s->cluster, name, zone);
        }
}

/* ---- Submitting */

static bool is_command(const struct cluster_event *event)
{
        switch (event->type) {
        case CLUSTER_APPLY:
        case CLUSTER_STOP:
        case CLUSTER_RESTART:
        case CLUSTER_SCALE:
        case CLUSTER_REMOVE:
        case CLUSTER_CORDON:
        case CLUSTER_DRAIN:
        case CLUSTER_FORGET:
        case CLUSTER_MOVE:
        case CLUSTER_PROMOTE:
        case CLUSTER_REVERT:
        case CLUSTER_DISPATCH:
                return true;
        case CLUSTER_LOAD:
        case CLUSTER_LOADED:
        case CLUSTER_NODE_UP:
        case CLUSTER_NODE_DOWN:
        case CLUSTER_REPORT:
        case CLUSTER_NOTE:
        case CLUSTER_NOTICE:
        case CLUSTER_TICK:
        case CLUSTER_CLOCK:
                return false;
        }
        return false;
}

static bool has_effects(const struct cluster_effects *e)
{
        return e->assigns_len > 0 || e->writes_len > 0 || e->events_len > 0;
}

/* The last entry, if nobody waits for it: what follows can be put behind it. In the list it has a
 * `prev`, as utlist keeps it. */
static struct entry *last_open(struct turn *t)
{
        struct entry *last = t->entries == NULL ? NULL : t->entries->prev;

        return last != NULL && last->done == NULL ? last : NULL;
}

/* The cluster counts by the wall clock: it is told first when that was set. While it is loaded it
 * has no deadlines yet. */
static void note_clock(struct state *s, const struct cluster_event *next)
{
        int64_t ahead = (int64_t) time_wall() - (int64_t) time_mono(), by = ahead - s->wall_ahead;
        struct cluster_event event = { .type = CLUSTER_CLOCK, .by = by };
        struct error err;

        s->wall_ahead = ahead;
        if (next->type == CLUSTER_LOADED || (by <= CLOCK_STEP && by >= -CLOCK_STEP))
                return;
        log_info("the wall clock was set %s by %" PRIi64 " ms", by > 0 ? "forward" : "back",
                (by > 0 ? by : -by) / (int64_t) USEC_MSEC);
        if (state_submit(s, &event, NULL, NULL, NULL, &err) < 0)
                log_error("%s", err.message);
}

int state_submit(struct state *s, const struct cluster_event *event, state_done_cb *done,
        void *data, struct state_outcome *ret, struct error *err)
{
        struct entry *e;

        note_clock(s, event);
        if (s->degraded && is_command(event)) {
                if (err != NULL)
                        *err = s->degraded_error;
                return -1;
        }
        if (state_know_zone(s, event->spec, err) < 0)
                return -1;
        e = last_open(s->open);
        if (e == NULL)
                e = mem_alloc(sizeof *e);
        e->effects.version = 0;
        e->effects.unchanged = false;
        e->effects.dispatched[0] = '\0';
        if (cluster_handle(s->cluster, event, time_wall(), &e->effects, err) < 0) {
                if (e->prev == NULL)
                        entry_free(e);
                return -1;
        }
        s->counters.decisions++;
        if (event->type == CLUSTER_LOADED || event->type == CLUSTER_REVERT)
                add_missing_zones(s);
        if (ret != NULL)
                *ret = (struct state_outcome){ .index = cluster_index(s->cluster),
                        .version = e->effects.version,
                        .unchanged = e->effects.unchanged };
        if (ret != NULL)
                snprintf(ret->dispatched, sizeof ret->dispatched, "%s", e->effects.dispatched);
        e->done = done;
        e->data = data;
        if (e->prev == NULL && done == NULL && !has_effects(&e->effects)) {
                entry_free(e);
                return 0;
        }
        if (e->prev == NULL)
                DL_APPEND(s->open->entries, e);
        s->open->writes = s->open->writes || e->effects.writes_len > 0;
        s->open->commands = s->open->commands || is_command(event);
        return 0;
}

int state_write(struct state *s, const struct state_row *rows, size_t len, state_done_cb *done,
        void *data, struct error *err)
{
        struct entry *e;

        if (s->degraded) {
                if (err != NULL)
                        *err = s->degraded_error;
                return -1;
        }
        e = mem_alloc(sizeof *e);
        e->done = done;
        e->data = data;
        e->effects.writes = mem_resize(NULL, len, sizeof *e->effects.writes);
        e->effects.writes_len = e->effects.writes_allocated = len;
        for (size_t i = 0; i < len; i++)
                e->effects.writes[i] = (struct cluster_write){ .key = mem_strdup(rows[i].key),
                        .value = mem_strdup(rows[i].value) };
        turn_add(s->open, e);
        s->open->commands = true;
        return 0;
}

static void wait_for_all(struct state *s, bool barrier, state_done_cb *done, void *data)
{
        struct entry *e;

        if (s->flying == NULL && !s->open->writes) {
                done(data, NULL);
                return;
        }
        e = mem_alloc(sizeof *e);
        e->barrier = barrier;
        e->done = done;
        e->data = data;
        /* Without open writes all that can be seen is in the turn that flies. */
        turn_add(s->open->writes ? s->open : s->flying, e);
}

void state_barrier(struct state *s, state_done_cb *done, void *data)
{
        if (s->degraded)
                done(data, NULL);
        else
                wait_for_all(s, true, done, data);
}

void state_when_durable(struct state *s, state_done_cb *done, void *data)
{
        wait_for_all(s, false, done, data);
}

/* ---- The loop */

static void on_deadline(uv_timer_t *timer)
{
        struct state *s = timer->data;
        struct cluster_event tick = { .type = CLUSTER_TICK };
        struct error err;

        if (state_submit(s, &tick, NULL, NULL, NULL, &err) < 0)
                log_error("%s", err.message);
}

static void arm_deadline(struct state *s)
{
        usec_t due = cluster_next_deadline(s->cluster), now = time_wall();
        usec_t wait;

        /* Armed anew in every turn, a timer that is due would be put off for ever. */
        if (due == s->armed_for &&
                (due == USEC_NEVER || uv_is_active((uv_handle_t *) &s->deadline)))
                return;
        s->armed_for = due;
        if (due == USEC_NEVER) {
                uv_timer_stop(&s->deadline);
                return;
        }
        /* At most an hour ahead: the wall clock can be set. */
        wait = due <= now ? 1 : MIN((due - now) / USEC_MSEC + 1, USEC_HOUR / USEC_MSEC);
        uv_update_time(s->loop);
        uv_timer_start(&s->deadline, on_deadline, wait, 0);
}

static void turn_end(struct state *s)
{
        uint64_t index;

        flush(s);
        index = state_index(s);
        if (index != s->index_told) {
                s->index_told = index;
                s->hooks.changed(s->hooks.data);
                flush(s);
        }
        arm_deadline(s);
}

static void on_prepare(uv_prepare_t *handle)
{
        turn_end(handle->data);
}

static void on_check(uv_check_t *handle)
{
        turn_end(handle->data);
}

/* ---- Life */

const struct cluster *state_cluster(const struct state *s)
{
        return s->cluster;
}

struct cluster *state_cluster_copy(struct state *s)
{
        return s->cluster;
}

uint64_t state_index(const struct state *s)
{
        return s->index_base + cluster_changes(s->cluster);
}

uint64_t state_durable_event(const struct state *s)
{
        return s->durable_event;
}

bool state_is_idle(const struct state *s)
{
        return s->flying == NULL && turn_is_empty(s->open);
}

struct forget {
        usec_t before;
        uint64_t newest, first_kept;
};

/* A row is as old as the last event in it. */
static int forget_row(void *data, const char *key, const char *value, size_t len, struct error *err)
{
        struct forget *f = data;
        struct events_row row = events_row(key, value, len);
        json_t *object = json_loadb(row.last_line, row.last_len, 0, NULL);
        const char *text = json_string_value(json_object_get(object, "time"));
        usec_t time = 0;
        bool old = text == NULL || !time_parse_wall(text, &time) || time < f->before;

        (void) err;
        json_decref(object);
        old = old && row.last < f->newest;
        f->first_kept = old ? row.last + 1 : row.first;
        return old ? 0 : 1;
}

const struct state_counters *state_get_counters(const struct state *s)
{
        return &s->counters;
}

uint64_t state_events_stored(const struct state *s)
{
        return s->oldest_event == 0 ? s->durable_event : s->durable_event - s->oldest_event + 1;
}

void state_forget_events(struct state *s, uint64_t keep, usec_t max_age)
{
        char first[STATE_KEY_MAX];
        uint64_t before = s->durable_event > keep ? s->durable_event - keep + 1 : 0;
        usec_t now = time_wall(); /* a machine without a clock of its own begins in 1970 */
        struct forget f = { .before = now > max_age ? now - max_age : 0,
                .newest = s->durable_event };
        struct error err;

        if (s->degraded || s->durable_event == 0)
                return;
        before = events_row_of(s->store, before);
        if (store_scan_range(s->store, state_event_key(first, MAX(before, s->oldest_event)),
                    "event/:", false, FORGET_ROWS, forget_row, &f, &err) < 0)
                log_warning("look for old events: %s", err.message);
        before = MAX(before, f.first_kept);
        if (before <= s->oldest_event)
                return;
        s->oldest_event = before;
        s->open->forget_before = before;
}

static void handle_init(struct state *s, void *handle)
{
        uv_handle_t *h = handle;

        h->data = s;
        uv_unref(h);
        s->pending++;
}

int state_new(uv_loop_t *loop, struct store *store, const char *store_path,
        const struct state_hooks *hooks, struct state **ret, struct error *err)
{
        struct state *s = mem_alloc(sizeof *s);

        s->loop = loop;
        s->store = store;
        s->store_path = mem_strdup(store_path);
        s->hooks = *hooks;
        s->open = mem_alloc(sizeof *s->open);
        s->armed_for = USEC_NEVER;
        uv_prepare_init(loop, &s->prepare);
        uv_check_init(loop, &s->check);
        uv_timer_init(loop, &s->deadline);
        uv_timer_init(loop, &s->retry);
        handle_init(s, &s->prepare);
        handle_init(s, &s->check);
        handle_init(s, &s->deadline);
        handle_init(s, &s->retry);
        if (load(s, err) < 0) {
                state_free(s);
                return -1;
        }
        uv_prepare_start(&s->prepare, on_prepare);
        uv_check_start(&s->check, on_check);
        *ret = s;
        return 0;
}

static void on_closed(uv_handle_t *handle)
{
        struct state *s = handle->data;

        s->pending--;
        free_if_done(s);
}

void state_free(struct state *s)
{
        if (s == NULL)
                return;
        s->freed = true;
        uv_close((uv_handle_t *) &s->prepare, on_closed);
        uv_close((uv_handle_t *) &s->check, on_closed);
        uv_close((uv_handle_t *) &s->deadline, on_closed);
        uv_close((uv_handle_t *) &s->retry, on_closed);
}
