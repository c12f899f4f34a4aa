/* SPDX-License-Identifier: BSD-3-Clause */
/* Feeds: who waits for news.
 *
 * A waiting reader is a parked request: the state changes, its handler is called again. While a
 * thousand tasks start the state changes a thousand times; so readers are woken at most every 50
 * ms, at once when it has been quiet.
 *
 * A follower of events is a number: the next event it has not got. All events up to the newest
 * durable one are in the store; a follower that is behind is fed from there, page by page, as fast
 * as it takes them, and one that is up to date gets each new event from memory, as one block shared
 * by all. So a slow follower costs neither memory nor events, however slow; one that takes nothing
 * at all is closed by the HTTP server after its time. Only what retention has deleted meanwhile is
 * missed: the gap shows in the numbers. A comment line every 15 s shows a follower and everything
 * between that both sides are alive.
 *
 * Owned by the server. Requests leave their lists when they are answered or their peer goes away.
 */
#include "server/feeds.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/log.h"
#include "base/mem.h"

#define WAKE_EVERY_MSEC  50
#define ALIVE_EVERY_MSEC 15000
#define PAGE_ROWS        256
#define QUEUE_MARK       (256 * 1024)

struct waiter {
        struct feeds *feeds;
        struct http_request *req;
        const struct route *route;
        char *name;
        uv_timer_t timer;
        struct waiter *next, *prev;
};

struct follower {
        struct feeds *feeds;
        struct http_request *req;
        uint64_t next_event;
        char *job, *task;
        struct follower *next, *prev;
};

struct feeds {
        struct server *server;
        struct waiter *waiters;
        struct follower *followers;
        uv_timer_t wake, alive;
        uint64_t woken_msec; /* uv_now() of the last wake-up */
        unsigned handles;
};

/* ---- Readers */

static void on_waiter_timer_closed(uv_handle_t *handle)
{
        struct waiter *w = handle->data;

        free(w->name);
        free(w);
}

static void waiter_free(struct waiter *w)
{
        DL_DELETE(w->feeds->waiters, w);
        uv_close((uv_handle_t *) &w->timer, on_waiter_timer_closed);
}

static void on_waiter_gone(void *data)
{
        waiter_free(data);
}

static void waiter_run(struct waiter *w)
{
        struct server *server = w->feeds->server;
        struct http_request *req = w->req;

        http_request_on_close(req, NULL, NULL);
        w->route->handle(server, req, w->name);
        waiter_free(w);
}

static void on_waiter_time(uv_timer_t *timer)
{
        waiter_run(timer->data);
}

void feeds_wait(struct feeds *f, struct http_request *req, usec_t wait, const struct route *route,
        const char *name)
{
        struct waiter *w = mem_alloc(sizeof *w);

        w->feeds = f;
        w->req = req;
        w->route = route;
        w->name = mem_strdup(name);
        w->timer.data = w;
        uv_timer_init(f->server->loop, &w->timer);
        uv_timer_start(&w->timer, on_waiter_time, wait / USEC_MSEC, 0);
        DL_APPEND(f->waiters, w);
        http_request_on_close(req, on_waiter_gone, w);
}

static void wake_all(struct feeds *f)
{
        struct waiter *w, *next;

        f->woken_msec = uv_now(f->server->loop);
        DL_FOREACH_SAFE (f->waiters, w, next)
                waiter_run(w);
}

static void on_wake(uv_timer_t *timer)
{
        wake_all(timer->data);
}

void feeds_changed(struct feeds *f)
{
        uint64_t quiet;

        if (f->waiters == NULL || uv_is_active((uv_handle_t *) &f->wake))
                return;
        quiet = uv_now(f->server->loop) - f->woken_msec;
        if (quiet >= WAKE_EVERY_MSEC)
                wake_all(f);
        else
                uv_timer_start(&f->wake, on_wake, WAKE_EVERY_MSEC - quiet, 0);
}

/* ---- Followers */

static void follower_free(struct follower *w)
{
        DL_DELETE(w->feeds->followers, w);
        free(w->job);
        free(w->task);
        free(w);
}

static void on_follower_gone(void *data)
{
        follower_free(data);
}

bool feeds_concerns(const struct event *event, const char *job, const char *task)
{
        return (job == NULL || (event->job != NULL && strcmp(event->job, job) == 0)) &&
               (task == NULL || (event->task != NULL && strcmp(event->task, task) == 0));
}

static void put_event(struct buffer *out, const char *json, size_t len, uint64_t index, int kind)
{
        buffer_printf(out, "id: %" PRIu64 "\nevent: %s\ndata: ", index, event_kind_names[kind]);
        buffer_put(out, json, len);
        buffer_puts(out, "\n\n");
}

struct page {
        struct follower *follower;
        struct buffer text;
        size_t rows;
};

/* A row that cannot be read is left out: it would be left out forever, and the followers would
 * stand still. */
static int page_row(void *data, const char *key, const char *value, size_t len, struct error *err)
{
        struct page *p = data;
        struct follower *w = p->follower;
        json_t *json = json_loadb(value, len, 0, NULL);
        struct event event = { 0 };

        (void) key;
        p->rows++;
        if (record_read(&event_table, json, &event, err) == 0) {
                if (event.kind >= 0 && feeds_concerns(&event, w->job, w->task))
                        put_event(&p->text, value, len, (uint64_t) event.index, event.kind);
                record_done(&event_table, &event);
        } else {
                log_warning("event %s: %s", key, err->message);
        }
        json_decref(json);
        w->next_event = strtoull(key + 6, NULL, 10) + 1;
        return 0;
}

/* Feeds a follower that is behind from the store. */
static void follower_pump(struct follower *w)
{
        struct state *state = w->feeds->server->state;
        uint64_t newest = state_durable_event(state);
        char first[STATE_KEY_MAX], last[STATE_KEY_MAX];
        struct error err;

        while (w->next_event <= newest && http_request_queued(w->req) < QUEUE_MARK) {
                struct page p = { .follower = w };

                if (store_scan_range(w->feeds->server->store, state_event_key(first, w->next_event),
                            state_event_key(last, newest + 1), false, PAGE_ROWS, page_row, &p,
                            &err) < 0) {
                        log_warning("events for a follower: %s", err.message);
                        w->next_event = newest + 1;
                }
                if (p.rows < PAGE_ROWS)
                        w->next_event = newest + 1;
                http_request_write(w->req, p.text.data, p.text.len);
                buffer_done(&p.text);
        }
}

static void on_follower_drain(void *data)
{
        follower_pump(data);
}

void feeds_follow(struct feeds *f, struct http_request *req, uint64_t after, const char *job,
        const char *task)
{
        struct follower *w = mem_alloc(sizeof *w);

        w->feeds = f;
        w->req = req;
        w->next_event = after + 1;
        w->job = mem_strdup(job);
        w->task = mem_strdup(task);
        http_request_set_header(req, "Cache-Control", "no-store");
        http_request_begin(req, 200, "text/event-stream");
        http_request_write(
                req, ": events\n\n", 10); /* the head leaves now, not with the first event */
        DL_APPEND(f->followers, w);
        http_request_on_close(req, on_follower_gone, w);
        http_request_on_drain(req, on_follower_drain, w);
        follower_pump(w);
}

static struct block *block_from_event(const struct event *event)
{
        AUTO(buffer_done) struct buffer json = { 0 }, text = { 0 };

        record_write(&event_table, event, &json);
        put_event(&text, json.data, json.len, (uint64_t) event->index, event->kind);
        return block_new_copy(text.data, text.len);
}

void feeds_event(struct feeds *f, const struct event *event)
{
        uint64_t index = (uint64_t) event->index;
        struct block *block = NULL;
        struct follower *w;

        DL_FOREACH (f->followers, w) {
                if (w->next_event != index || http_request_queued(w->req) >= QUEUE_MARK)
                        continue; /* on_drain sees to it */
                w->next_event++;
                if (!feeds_concerns(event, w->job, w->task))
                        continue;
                block = block == NULL ? block_from_event(event) : block;
                http_request_write_block(w->req, block);
        }
        block_unref(block);
}

static void on_alive(uv_timer_t *timer)
{
        struct feeds *f = timer->data;
        struct follower *w;

        DL_FOREACH (f->followers, w)
                if (http_request_queued(w->req) == 0)
                        http_request_write(w->req, ":\n\n", 3);
}

/* ---- Life */

struct feeds *feeds_new(struct server *server)
{
        struct feeds *f = mem_alloc(sizeof *f);

        f->server = server;
        f->wake.data = f->alive.data = f;
        uv_timer_init(server->loop, &f->wake);
        uv_timer_init(server->loop, &f->alive);
        uv_timer_start(&f->alive, on_alive, ALIVE_EVERY_MSEC, ALIVE_EVERY_MSEC);
        f->handles = 2;
        return f;
}

static void on_closed(uv_handle_t *handle)
{
        struct feeds *f = handle->data;

        if (--f->handles == 0)
                free(f);
}

void feeds_free(struct feeds *f)
{
        struct waiter *w, *next;
        struct follower *o, *next_follower;

        if (f == NULL)
                return;
        DL_FOREACH_SAFE (f->waiters, w, next)
                waiter_free(w);
        DL_FOREACH_SAFE (f->followers, o, next_follower)
                follower_free(o);
        uv_close((uv_handle_t *) &f->wake, on_closed);
        uv_close((uv_handle_t *) &f->alive, on_closed);
}
