/* SPDX-License-Identifier: BSD-3-Clause */
/* Alerts: who is to be told of which failure, and that he is told, whoever is killed meanwhile.
 *
 * Events that tell of a failure say so (event.failure). There are two rules: the operator's, of the
 * server's options, and that of the task's job. For each channel of a rule that wants the event
 * there is one delivery: a row `alert/due/EVENT/RULE/CHANNEL` of the store, which is deleted when
 * the receiver has taken it, or given up. `alert/cursor` is the number of the first event that was
 * not looked at, and is written in one batch with the rows that come of the events before it; so
 * each delivery is made at least once, over any SIGKILL of the server, and mostly once.
 * `alert/last/RULE/TASK/FAILURE` is when one may be told of the same again.
 *
 * Events are read from the store, some at a time, not taken from the hook, which only says that
 * there are some: one path for those of now and those of before the server began.
 *
 * A receiver that does not take a delivery gets it again, after a time that doubles up to ten
 * minutes; after a day it is given up, which is an event. At most SENDING_MAX are under way and
 * DELIVERIES_MAX wait: what comes beyond that is not told, and that is an event, too.
 *
 * With a delivery goes the dossier of the run, fetched when it is sent. A node that is away does
 * not hold it up: then it goes without.
 *
 * URLs may have secrets in them: no log line and no event has more of one than its host. */
#include "server/alerts.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "model/alert.h"
#include "model/probe.h"
#include "server/alert-send.h"
#include "server/api.h"
#include "server/dossiers.h"
#include "server/events.h"

#define PREFIX         "alert/"
#define CURSOR_KEY     PREFIX "cursor"
#define DUE_PREFIX     PREFIX "due/"
#define LAST_PREFIX    PREFIX "last/"
#define DELIVERIES_MAX 1000
#define LASTS_MAX      100000
#define SENDING_MAX    8
#define LOOK_ROWS      500
#define LOOK_MS        20
#define RELOAD_MS      5000
#define SWEEP_MS       (10 * 60 * 1000)
#define RETRY_MIN      USEC_SEC
#define RETRY_MAX      (10 * USEC_MINUTE)
#define GIVE_UP_AFTER  USEC_DAY

enum channel { WEBHOOK, MAIL, COMMAND, CHANNELS };
static const char *const channel_names[] = { "webhook", "mail", "command" };

enum rule { BY_SERVER, BY_JOB, RULES };
static const char *const rule_names[] = { "server", "job" };

struct delivery {
        struct alerts *owner;
        char *key; /* of its row */
        enum rule rule;
        enum channel channel;
        char *target; /* of BY_JOB; else the option's, which may be another by now */
        struct event event;
        usec_t since, due; /* wall; monotonic */
        usec_t delay;      /* before the next attempt */
        struct dossier_query *query;
        struct alert_send *send; /* or query: it is under way */
        struct delivery *prev, *next;
};

/* Nothing is told of the same before `until`. */
struct last {
        char *key;
        usec_t until;
        UT_hash_handle hh;
};

struct alerts {
        struct server *server;
        uint64_t next;   /* the first event that was not looked at */
        uint64_t stored; /* what the row says */
        struct delivery *deliveries;
        size_t len, sending;
        struct last *lasts;
        char **on; /* the operator's kinds; NULL: the usual */
        uv_timer_t look, send, sweep, reload;
        unsigned handles;
        bool freed;
};

/* ---- Rules */

struct wish { /* borrowed */
        char *const *on;
        const char *target[CHANNELS];
        usec_t repeat;
};

static struct wish wish_of(const struct alerts *a, enum rule rule, const struct event *event)
{
        const struct server_alerts *o = &a->server->options.alerts;
        const struct job_spec *spec = NULL;
        struct wish w = { 0 };

        if (rule == BY_SERVER)
                return (struct wish){ a->on, { o->webhook, o->mail, o->command }, o->repeat };
        if (event->job != NULL)
                spec = cluster_get_spec(state_cluster(a->server->state), event->job, 0);
        if (spec != NULL)
                w = (struct wish){ spec->alerts.on, { spec->alerts.webhook, spec->alerts.mail },
                        spec->alerts.repeat };
        return w;
}

static bool wants(const struct wish *w, const struct event *event)
{
        for (int i = 0; i < CHANNELS; i++)
                if (w->target[i] != NULL)
                        return alert_wants(w->on, event->failure);
        return false;
}

static bool anybody_wants(const struct alerts *a, const struct event *event)
{
        for (int rule = 0; rule < RULES; rule++) {
                struct wish w = wish_of(a, (enum rule) rule, event);

                if (wants(&w, event))
                        return true;
        }
        return false;
}

/* ---- Rows that are to be written together */

struct rows {
        struct state_row *items;
        size_t len;
};

static void rows_add(struct rows *r, const char *key, const char *value)
{
        r->items = mem_resize(r->items, r->len + 1, sizeof *r->items);
        r->items[r->len++] =
                (struct state_row){ mem_strdup(key), value != NULL ? mem_strdup(value) : NULL };
}

static void rows_done(struct rows *r)
{
        for (size_t i = 0; i < r->len; i++) {
                free((char *) (uintptr_t) r->items[i].key);
                free((char *) (uintptr_t) r->items[i].value);
        }
        free(r->items);
}

/* What is in memory is not what is stored: all is read again. */
static void on_reload(uv_timer_t *timer);

static void on_stored(void *data, const struct error *err)
{
        struct alerts *a = data;

        if (err == NULL || a->freed)
                return;
        log_warning("alerts wait: %s", err->message);
        uv_timer_stop(&a->look);
        uv_timer_stop(&a->send);
        uv_timer_start(&a->reload, on_reload, RELOAD_MS, 0);
}

static void rows_write(struct alerts *a, const struct rows *r)
{
        struct error err = ERROR_INIT;

        if (r->len > 0 && state_write(a->server->state, r->items, r->len, on_stored, a, &err) < 0)
                on_stored(a, &err);
}

/* ---- Deliveries */

static void delivery_stop(struct delivery *d)
{
        d->owner->sending -= d->query != NULL || d->send != NULL;
        dossier_query_cancel(take_ptr(d->query));
        alert_send_cancel(take_ptr(d->send));
}

static void delivery_free(struct delivery *d)
{
        delivery_stop(d);
        DL_DELETE(d->owner->deliveries, d);
        d->owner->len--;
        record_done(&event_table, &d->event);
        free(d->key);
        free(d->target);
        free(d);
}

static const char *target_of(const struct delivery *d)
{
        struct wish w = wish_of(d->owner, BY_SERVER, &d->event);

        return d->rule == BY_JOB ? d->target : w.target[d->channel];
}

static struct delivery *delivery_new(struct alerts *a, enum rule rule, enum channel channel,
        const char *target, const struct event *event)
{
        struct delivery *d = mem_alloc(sizeof *d);

        d->owner = a;
        d->rule = rule;
        d->channel = channel;
        d->target = rule == BY_JOB ? mem_strdup(target) : NULL;
        d->event = *event;
        record_own(&event_table, &d->event);
        d->key = mem_printf(DUE_PREFIX "%020" PRId64 "/%s/%s", event->index, rule_names[rule],
                channel_names[channel]);
        d->since = time_wall();
        d->delay = RETRY_MIN;
        DL_APPEND(a->deliveries, d);
        a->len++;
        return d;
}

static char *delivery_row(const struct delivery *d)
{
        struct buffer out = { 0 };

        buffer_printf(&out,
                "{\"rule\":%d,\"channel\":%d,\"since\":%" PRIu64 ",\"target\":", (int) d->rule,
                (int) d->channel, d->since);
        text_put_json_string(&out, d->target != NULL ? d->target : "");
        buffer_puts(&out, ",\"event\":");
        record_write(&event_table, &d->event, &out);
        buffer_putc(&out, '}');
        return buffer_take(&out);
}

/* ---- Sending */

static void on_send(uv_timer_t *timer);

/* When the next is due, unless as many as may be are under way. */
static void arm(struct alerts *a)
{
        usec_t now = time_mono(), due = USEC_NEVER;
        const struct delivery *d;

        DL_FOREACH (a->deliveries, d)
                if (d->query == NULL && d->send == NULL)
                        due = MIN(due, d->due);
        if (due == USEC_NEVER || a->sending >= SENDING_MAX)
                uv_timer_stop(&a->send);
        else
                uv_timer_start(&a->send, on_send, due > now ? (due - now) / USEC_MSEC + 1 : 0, 0);
}

static void over(struct delivery *d)
{
        struct alerts *a = d->owner;
        struct rows rows = { 0 };

        rows_add(&rows, d->key, NULL);
        delivery_free(d);
        rows_write(a, &rows);
        rows_done(&rows);
}

/* No more of it than anybody may know. */
static char *name_target(const struct delivery *d)
{
        const char *target = target_of(d);
        struct probe_target url;
        struct error ignored = ERROR_INIT;
        bool tls;

        if (target == NULL)
                return mem_strdup(channel_names[d->channel]);
        if (d->channel != WEBHOOK)
                return mem_printf("%s %s", channel_names[d->channel], target);
        if (probe_parse_url(target, &tls, &url, &ignored) < 0)
                return mem_strdup("webhook");
        return mem_printf("webhook at %s:%u", url.host, url.port);
}

static void say(struct alerts *a, const struct event *about, char *message)
{
        struct event note = {
                .kind = EVENT_ALERT, .version = RECORD_NULL, .run = RECORD_NULL, .message = message
        };

        if (about != NULL) {
                note.job = about->job;
                note.task = about->task;
                note.node = about->node;
                note.version = about->version;
                note.run = about->run;
        }
        log_warning("%s", message);
        api_note(a->server, &note);
}

static void give_up(struct delivery *d, const struct error *err)
{
        AUTO(mem_freep) char *target = name_target(d);
        AUTO(mem_freep)
        char *message = mem_printf("nobody was told of event %" PRId64
                                   " of %s by %s, for a day: %s",
                d->event.index, d->event.task != NULL ? d->event.task : "-", target, err->message);

        say(d->owner, &d->event, message);
        over(d);
}

static void on_sent(void *data, const struct error *err)
{
        struct delivery *d = data;
        struct alerts *a = d->owner;
        AUTO(mem_freep) char *target = NULL;

        d->send = NULL;
        a->sending--;
        if (err == NULL) {
                over(d);
        } else if (time_wall() > d->since && time_wall() - d->since > GIVE_UP_AFTER) {
                give_up(d, err);
        } else {
                if (d->delay == RETRY_MIN) {
                        target = name_target(d);
                        log_warning("event %" PRId64 " cannot be told by %s yet: %s",
                                d->event.index, target, err->message);
                }
                d->due = time_mono() + d->delay;
                d->delay = MIN(d->delay * 2, RETRY_MAX);
        }
        arm(a);
}

#define ENV_MAX 8

static void make_env(const struct event *e, char *env[ENV_MAX + 1])
{
        const struct {
                const char *name, *value;
        } rows[] = { { "REEVE_FAILURE", e->failure }, { "REEVE_JOB", e->job },
                { "REEVE_TASK", e->task }, { "REEVE_NODE", e->node },
                { "REEVE_MESSAGE", e->message } };
        size_t n = 0;

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
                env[n++] = mem_printf(
                        "%s=%s", rows[i].name, rows[i].value != NULL ? rows[i].value : "");
        env[n++] = mem_printf("REEVE_EVENT=%" PRId64, e->index);
        env[n++] = mem_printf("REEVE_RUN=%" PRId64, e->run > 0 ? e->run : 0);
        env[n] = NULL;
}

static void send_program(struct delivery *d, char *const *arguments, const struct buffer *input)
{
        char *env[ENV_MAX + 1];

        make_env(&d->event, env);
        d->send = alert_send_run(
                d->owner->server->loop, arguments, env, buffer_str(input), input->len, on_sent, d);
        for (char **e = env; *e != NULL; e++)
                free(*e);
}

static void send_now(struct delivery *d, const struct dossier *dossier)
{
        AUTO(buffer_done) struct buffer text = { 0 };
        AUTO(mem_freep) char *target = mem_strdup(target_of(d));
        AUTO(mem_freep) char *sendmail = mem_strdup(d->owner->server->options.alerts.sendmail);
        char headers_say[] = "-t", dots_are_text[] = "-i";

        switch (d->channel) {
        case WEBHOOK:
                alert_write_json(&d->event, dossier, &text);
                d->send = alert_send_post(
                        d->owner->server->loop, target, buffer_str(&text), text.len, on_sent, d);
                break;
        case MAIL:
                alert_write_mail(&d->event, dossier, target, &text);
                send_program(d, (char *[]){ sendmail, headers_say, dots_are_text, NULL }, &text);
                break;
        case COMMAND:
                alert_write_json(&d->event, dossier, &text);
                send_program(d, (char *[]){ target, NULL }, &text);
                break;
        case CHANNELS:
                break;
        }
}

static void on_dossiers(void *data, const struct dossier *list, size_t len, const struct error *err)
{
        struct delivery *d = data;
        const struct dossier *found = NULL;

        (void) err;
        d->query = NULL;
        for (size_t i = 0; i < len && found == NULL; i++)
                if (list[i].run == d->event.run)
                        found = &list[i];
        send_now(d, found);
}

static void begin(struct delivery *d)
{
        struct alerts *a = d->owner;

        if (target_of(d) == NULL) { /* the operator does not want it any more */
                over(d);
                return;
        }
        a->sending++;
        if (d->event.task != NULL)
                d->query = dossiers_ask(a->server->dossiers, d->event.task, on_dossiers, d);
        else
                send_now(d, NULL);
}

static void on_send(uv_timer_t *timer)
{
        struct alerts *a = timer->data;
        usec_t now = time_mono();
        struct delivery *d, *next;

        DL_FOREACH_SAFE (a->deliveries, d, next)
                if (a->sending < SENDING_MAX && d->query == NULL && d->send == NULL &&
                        d->due <= now)
                        begin(d);
        arm(a);
}

/* ---- Looking at events */

static struct last *find_last(struct alerts *a, const char *key)
{
        struct last *l;

        HASH_FIND_STR(a->lasts, key, l);
        return l;
}

static void set_last(struct alerts *a, const char *key, usec_t until)
{
        struct last *l = find_last(a, key);

        if (l == NULL) {
                l = mem_alloc(sizeof *l);
                l->key = mem_strdup(key);
                HASH_ADD_KEYPTR(hh, a->lasts, l->key, strlen(l->key), l);
        }
        l->until = until;
}

static void drop_last(struct alerts *a, struct last *l)
{
        HASH_DEL(a->lasts, l);
        free(l->key);
        free(l);
}

/* Whether it is too soon to tell of the same again; else it is from now on. */
static bool is_repeated(struct alerts *a, enum rule rule, const struct event *event, usec_t repeat,
        struct rows *rows)
{
        AUTO(mem_freep)
        char *key = mem_printf(LAST_PREFIX "%s/%s/%s", rule_names[rule],
                event->task != NULL ? event->task : "-", event->failure);
        const struct last *l = find_last(a, key);
        AUTO(mem_freep) char *until = NULL;

        if (l != NULL && event->time < l->until)
                return true;
        if (repeat == 0 || HASH_COUNT(a->lasts) >= LASTS_MAX)
                return false;
        set_last(a, key, event->time + repeat);
        until = mem_printf("%" PRIu64, event->time + repeat);
        rows_add(rows, key, until);
        return false;
}

struct looking {
        struct alerts *alerts;
        struct rows rows;
        uint64_t lost;
};

static void take(struct looking *l, enum rule rule, const struct event *event)
{
        struct alerts *a = l->alerts;
        struct wish w = wish_of(a, rule, event);

        if (!wants(&w, event) || is_repeated(a, rule, event, w.repeat, &l->rows))
                return;
        for (int i = 0; i < CHANNELS; i++) {
                AUTO(mem_freep) char *row = NULL;
                struct delivery *d;

                if (w.target[i] == NULL)
                        continue;
                if (a->len >= DELIVERIES_MAX) {
                        l->lost++;
                        continue;
                }
                d = delivery_new(a, rule, (enum channel) i, w.target[i], event);
                row = delivery_row(d);
                rows_add(&l->rows, d->key, row);
        }
}

static bool on_event(void *data, struct event *event, const char *json, size_t len)
{
        (void) json;
        (void) len;
        for (int rule = 0; event->failure != NULL && rule < RULES; rule++)
                take(data, (enum rule) rule, event);
        return true;
}

static void store_cursor(struct alerts *a, struct rows *rows)
{
        AUTO(mem_freep) char *value = mem_printf("%" PRIu64, a->next);

        rows_add(rows, CURSOR_KEY, value);
        a->stored = a->next;
}

static void on_look(uv_timer_t *timer)
{
        struct alerts *a = timer->data;
        struct looking l = { .alerts = a };
        struct events_query query = {
                .first = a->next, .last = state_durable_event(a->server->state), .rows = LOOK_ROWS
        };
        struct error err = ERROR_INIT;

        if (events_read(a->server->store, &query, on_event, &l, &err) < 0) {
                on_stored(a, &err);
                rows_done(&l.rows);
                return;
        }
        a->next = MAX(a->next, query.next);
        if (l.rows.len > 0)
                store_cursor(a, &l.rows);
        rows_write(a, &l.rows);
        rows_done(&l.rows);
        if (l.lost > 0) {
                AUTO(mem_freep)
                char *message = mem_printf(
                        "%" PRIu64 " alerts are not told: %d wait already", l.lost, DELIVERIES_MAX);

                say(a, NULL, message);
        }
        if (a->next <= state_durable_event(a->server->state))
                uv_timer_start(&a->look, on_look, LOOK_MS, 0);
        arm(a);
}

void alerts_event(struct alerts *a, const struct event *event)
{
        if (a == NULL || (uint64_t) event->index < a->next)
                return;
        if (uv_is_active((uv_handle_t *) &a->look) || uv_is_active((uv_handle_t *) &a->reload))
                return; /* it is read then */
        if (event->failure == NULL || !anybody_wants(a, event))
                a->next = (uint64_t) event->index + 1;
        else
                uv_timer_start(&a->look, on_look, LOOK_MS, 0);
}

/* ---- Life */

static int load_due(struct alerts *a, const char *key, const char *value, struct error *err)
{
        json_t *json = json_loads(value, 0, NULL);
        json_int_t rule = json_integer_value(json_object_get(json, "rule"));
        json_int_t channel = json_integer_value(json_object_get(json, "channel"));
        struct event event = { 0 };
        struct delivery *d;

        if (rule < 0 || rule >= RULES || channel < 0 || channel >= CHANNELS ||
                record_read(&event_table, json_object_get(json, "event"), &event, err) < 0) {
                json_decref(json);
                log_warning("row %s of the store cannot be read", key);
                return 0;
        }
        d = delivery_new(a, (enum rule) rule, (enum channel) channel,
                json_string_value(json_object_get(json, "target")), &event);
        d->since = (usec_t) json_integer_value(json_object_get(json, "since"));
        record_done(&event_table, &event);
        json_decref(json);
        return 0;
}

static int load_row(void *data, const char *key, const char *value, size_t len, struct error *err)
{
        struct alerts *a = data;

        (void) len;
        if (strcmp(key, CURSOR_KEY) == 0)
                a->stored = strtoull(value, NULL, 10);
        else if (strncmp(key, DUE_PREFIX, strlen(DUE_PREFIX)) == 0)
                return load_due(a, key, value, err);
        else if (strncmp(key, LAST_PREFIX, strlen(LAST_PREFIX)) == 0)
                set_last(a, key, strtoull(value, NULL, 10));
        return 0;
}

static void forget_all(struct alerts *a)
{
        struct delivery *d, *next;
        struct last *l, *after;

        DL_FOREACH_SAFE (a->deliveries, d, next)
                delivery_free(d);
        HASH_ITER (hh, a->lasts, l, after)
                drop_last(a, l);
}

/* From a store that has never had alerts nothing is told of what was before. */
static int load(struct alerts *a, struct error *err)
{
        struct rows rows = { 0 };

        forget_all(a);
        a->stored = 0;
        if (store_scan(a->server->store, PREFIX, load_row, a, err) < 0)
                return error_wrap(err, "read alerts");
        a->next = a->stored != 0 ? a->stored : state_durable_event(a->server->state) + 1;
        if (a->stored == 0) {
                store_cursor(a, &rows);
                rows_write(a, &rows);
        }
        rows_done(&rows);
        uv_timer_start(&a->look, on_look, 0, 0);
        return 0;
}

static void on_reload(uv_timer_t *timer)
{
        struct alerts *a = timer->data;
        struct error err = ERROR_INIT;

        if (load(a, &err) < 0)
                uv_timer_start(&a->reload, on_reload, RELOAD_MS, 0);
}

/* So that a server that begins has little to look at, and what may be told again needs no row. */
static void on_sweep(uv_timer_t *timer)
{
        struct alerts *a = timer->data;
        struct rows rows = { 0 };
        struct last *l, *next;
        usec_t now = time_wall();

        HASH_ITER (hh, a->lasts, l, next)
                if (l->until <= now) {
                        rows_add(&rows, l->key, NULL);
                        drop_last(a, l);
                }
        if (a->next != a->stored)
                store_cursor(a, &rows);
        rows_write(a, &rows);
        rows_done(&rows);
}

/* "failed,parked" as words, ended by NULL. */
static char **split(const char *text)
{
        char **words = NULL;
        size_t len = 0;

        while (text != NULL && *text != '\0') {
                size_t word = strcspn(text, ",");

                words = mem_resize(words, len + 2, sizeof *words);
                words[len++] = mem_strndup(text, word);
                words[len] = NULL;
                text += word + (text[word] == ',');
        }
        return words;
}

static void free_words(char **words)
{
        for (char **w = words; w != NULL && *w != NULL; w++)
                free(*w);
        free(words);
}

int server_check_alerts(const struct server_alerts *o, struct error *err)
{
        char **on = split(o->on);
        int rc = alert_check_kinds(on, err);

        free_words(on);
        if (rc < 0)
                return error_wrap(err, "--alert-on");
        if (o->webhook != NULL && alert_check_url(o->webhook, err) < 0)
                return error_wrap(err, "--alert-webhook");
        if (o->mail != NULL && alert_check_mail(o->mail, err) < 0)
                return error_wrap(err, "--alert-mail");
        if (o->command != NULL && (o->command[0] != '/' || access(o->command, X_OK) < 0))
                return error_set(err, ERR_INVALID,
                        "--alert-command %s: expected the absolute path of a program", o->command);
        return 0;
}

int alerts_new(struct server *server, struct alerts **ret, struct error *err)
{
        struct alerts *a = mem_alloc(sizeof *a);
        uv_timer_t *const timers[] = { &a->look, &a->send, &a->sweep, &a->reload };

        a->server = server;
        a->on = split(server->options.alerts.on);
        for (size_t i = 0; i < ARRAY_SIZE(timers); i++) {
                uv_timer_init(server->loop, timers[i]);
                timers[i]->data = a;
                a->handles++;
        }
        uv_timer_start(&a->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
        *ret = a; /* the server frees it */
        return load(a, err);
}

static void on_closed(uv_handle_t *handle)
{
        struct alerts *a = handle->data;

        if (--a->handles > 0)
                return;
        free_words(a->on);
        free(a);
}

void alerts_free(struct alerts *a)
{
        if (a == NULL)
                return;
        a->freed = true;
        forget_all(a);
        uv_close((uv_handle_t *) &a->look, on_closed);
        uv_close((uv_handle_t *) &a->send, on_closed);
        uv_close((uv_handle_t *) &a->sweep, on_closed);
        uv_close((uv_handle_t *) &a->reload, on_closed);
}
