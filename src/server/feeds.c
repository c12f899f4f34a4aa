/* SPDX-License-Identifier: BSD-3-Clause */
/* Feeds: who waits for news.
 *
 * A waiting reader is a parked request: the state changes, its handler is called again. While a
 * thousand tasks start the state changes a thousand times; so readers are woken at most every 50
 * ms, at once when it has been quiet.
 *
 * A follower of events is a number: the next event it has not got. All events up to the newest
 * durable one are in the store; a follower that is behind is fed from there, a page per loop turn
 * as it takes them, and one that is up to date gets each new event from memory, as one block shared
 * by all. So a slow follower costs neither memory nor events, however slow; one that takes nothing
 * at all is closed by the HTTP server after its time. Only what retention has deleted meanwhile is
 * missed: the gap shows in the numbers. Should the store not be readable, the follower's connection
 * ends, and it comes back for what it has not got. A comment line every 15 s shows a follower and
 * everything between that both sides are alive.
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
#define PAGE_ROWS        1024
#define PUMP_MSEC        1 /* with 0 libuv would run it again in the same turn */
#define QUEUE_MARK       (256 * 1024)

struct waiter {
        struct feeds *feeds;
        struct http_request *req;
        const struct route *route;
        char *name;
        uint64_t index; /* waits for another */
        uv_timer_t timer;
        struct waiter *next, *prev;
};

struct follower {
        struct feeds *feeds;
        struct http_request *req;
        uint64_t next_event;
        struct event_filter filter; /* its texts are ours */
        struct follower *next, *prev;
};

struct feeds {
        struct server *server;
        struct waiter *waiters;
        struct follower *followers;
        uv_timer_t wake, alive;
        uv_timer_t pump;     /* some follower is behind, and can take more */
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

static void waiter_free(void *data)
{
        struct waiter *w = data;

        DL_DELETE(w->feeds->waiters, w);
        uv_close((uv_handle_t *) &w->timer, on_waiter_timer_closed);
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

void feeds_wait(struct feeds *f, struct http_request *req, uint64_t index, usec_t wait,
        const struct route *route, const char *name)
{
        struct waiter *w = mem_alloc(sizeof *w);

        w->feeds = f;
        w->req = req;
        w->route = route;
        w->name = mem_strdup(name);
        w->index = index;
        w->timer.data = w;
        uv_timer_init(f->server->loop, &w->timer);
        uv_timer_start(&w->timer, on_waiter_time, wait / USEC_MSEC, 0);
        DL_APPEND(f->waiters, w);
        http_request_on_close(req, waiter_free, w);
}

/* Some may have begun to wait after the change for which `wake` was set. */
static void wake_waiters(struct feeds *f)
{
        uint64_t index = state_index(f->server->state);
        struct waiter *w, *next;

        f->woken_msec = uv_now(f->server->loop);
        DL_FOREACH_SAFE (f->waiters, w, next)
                if (w->index != index)
                        waiter_run(w);
}

static void on_wake(uv_timer_t *timer)
{
        wake_waiters(timer->data);
}

void feeds_changed(struct feeds *f)
{
        uint64_t quiet;

        if (f->waiters == NULL || uv_is_active((uv_handle_t *) &f->wake))
                return;
        quiet = uv_now(f->server->loop) - f->woken_msec;
        if (quiet >= WAKE_EVERY_MSEC)
                wake_waiters(f);
        else
                uv_timer_start(&f->wake, on_wake, WAKE_EVERY_MSEC - quiet, 0);
}

/* ---- Followers */

static void follower_free(void *data)
{
        struct follower *w = data;

        DL_DELETE(w->feeds->followers, w);
        free((char *) (uintptr_t) w->filter.job);
        free((char *) (uintptr_t) w->filter.task);
        free((char *) (uintptr_t) w->filter.node);
        free((char *) (uintptr_t) w->filter.jobs);
        free(w);
}

static void put_event(struct buffer *out, const char *json, size_t len, uint64_t index, int kind)
{
        buffer_printf(out, "id: %" PRIu64 "\nevent: %s\ndata: ", index, event_kind_names[kind]);
        buffer_put(out, json, len);
        buffer_puts(out, "\n\n");
}

static bool put_page(void *data, struct event *event, const char *json, size_t len)
{
        put_event(data, json, len, (uint64_t) event->index, event->kind);
        return true;
}

static void on_pump(uv_timer_t *timer);

/* It connects again, and says where it was. */
static void follower_fail(struct follower *w, const struct error *err)
{
        log_warning("a follower of events is sent away: %s", err->message);
        http_request_finish(w->req);
        follower_free(w);
}

/* Feeds a follower that is behind from the store. What it does not want costs it nothing, and so is
 * bounded by rows: on to the others, then to the rest. */
static void follower_pump(struct follower *w)
{
        struct feeds *f = w->feeds;
        AUTO(buffer_done) struct buffer text = { 0 };
        struct events_query query = { .filter = w->filter,
                .first = w->next_event,
                .last = state_durable_event(f->server->state),
                .rows = PAGE_ROWS };
        struct error err;

        if (query.first > query.last || http_request_queued(w->req) >= QUEUE_MARK)
                return;
        if (events_read(f->server->store, &query, put_page, &text, &err) < 0) {
                follower_fail(w, &err);
                return;
        }
        w->next_event = query.next;
        http_request_write(w->req, text.data, text.len);
        if (w->next_event <= query.last && !uv_is_active((uv_handle_t *) &f->pump))
                uv_timer_start(&f->pump, on_pump, PUMP_MSEC, 0);
}

static void on_pump(uv_timer_t *timer)
{
        struct feeds *f = timer->data;
        struct follower *w, *next;

        DL_FOREACH_SAFE (f->followers, w, next)
                follower_pump(w);
}

static void on_follower_drain(void *data)
{
        follower_pump(data);
}

void feeds_follow(struct feeds *f, struct http_request *req, uint64_t after,
        const struct event_filter *filter)
{
        struct follower *w = mem_alloc(sizeof *w);

        w->feeds = f;
        w->req = req;
        /* A number that is still to come is from another life of the store. */
        w->next_event = MIN(after, state_durable_event(f->server->state)) + 1;
        w->filter = *filter;
        w->filter.job = mem_strdup(filter->job);
        w->filter.task = mem_strdup(filter->task);
        w->filter.node = mem_strdup(filter->node);
        w->filter.jobs = mem_strdup(filter->jobs);
        http_request_set_header(req, "Cache-Control", "no-store");
        http_request_begin(req, 200, "text/event-stream");
        http_request_write(
                req, ": events\n\n", 10); /* the head leaves now, not with the first event */
        DL_APPEND(f->followers, w);
        http_request_on_close(req, follower_free, w);
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
                        continue; /* it is behind: follower_pump() sees to it */
                w->next_event++;
                if (!event_filter_takes(&w->filter, event))
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
        f->wake.data = f->alive.data = f->pump.data = f;
        uv_timer_init(server->loop, &f->wake);
        uv_timer_init(server->loop, &f->alive);
        uv_timer_init(server->loop, &f->pump);
        uv_timer_start(&f->alive, on_alive, ALIVE_EVERY_MSEC, ALIVE_EVERY_MSEC);
        f->handles = 3;
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
        if (f == NULL)
                return;
        while (f->waiters != NULL)
                waiter_free(f->waiters);
        while (f->followers != NULL)
                follower_free(f->followers);
        uv_close((uv_handle_t *) &f->wake, on_closed);
        uv_close((uv_handle_t *) &f->alive, on_closed);
        uv_close((uv_handle_t *) &f->pump, on_closed);
}
