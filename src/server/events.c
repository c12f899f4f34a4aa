/* SPDX-License-Identifier: BSD-3-Clause */
/* Events: read back from the store for pages, followers and `why`.
 *
 * There may be 100,000, of which one task has three. Most are passed over without being parsed: an
 * event of the job "web" contains the text "job":"web", because it was written by record_write();
 * only the lines that do are parsed and judged.
 *
 * A row has the events of one commit, up to some number, as lines in their order, under the number
 * of its first one (state.c). So an event is in the last row that does not begin behind it. Each
 * line begins with the event's number and its time, as record_write() puts them.
 *
 * Events are numbered as the server learns of them; each has the time when it happened. The two go
 * together, but for one thing: a node that was cut off tells late what happened there. So the end
 * of a span of time is no number, and all that follow are looked at; the compare of their times is
 * cheap, since as texts they have the order that they have as times. The beginning is found by
 * bisection, which must not be led astray by what came late: a later time decides at once (what
 * follows was learnt later still), an earlier one only if the server gave it itself. */
#include "server/events.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/macros.h"
#include "base/mem.h"
#include "base/text.h"
#include "model/token.h"
#include "server/state.h"

static bool is(const char *wanted, const char *name)
{
        return wanted == NULL || (name != NULL && strcmp(name, wanted) == 0);
}

bool event_filter_takes(const struct event_filter *filter, const struct event *event)
{
        bool whole_job = filter->job_too && event->task == NULL;

        if (event->time < filter->since || (filter->until != 0 && event->time > filter->until) ||
                (filter->kinds != 0 && (filter->kinds & ((uint64_t) 1 << event->kind)) == 0))
                return false;

        if (filter->jobs != NULL &&
                (event->job == NULL || !token_jobs_cover(filter->jobs, event->job)))
                return false;

        return is(filter->job, event->job) && (whole_job || is(filter->task, event->task)) &&
               is(filter->node, event->node);
}

int event_kinds_parse(const char *text, uint64_t *ret, struct error *err)
{
        AUTO(mem_freep) char *copy = mem_strdup(text);
        char *rest = copy, *word;
        uint64_t kinds = 0;

        while ((word = strsep(&rest, ",")) != NULL) {
                int kind = 0;
                const char *nearest;

                while (event_kind_names[kind] != NULL && strcmp(event_kind_names[kind], word) != 0)
                        kind++;
                if (event_kind_names[kind] == NULL) {
                        nearest = text_nearest(word, event_kind_names);
                        return error_set(err, ERR_INVALID, "kind: no event is of kind \"%s\"%s%s%s",
                                word, nearest != NULL ? "; did you mean \"" : "",
                                nearest != NULL ? nearest : "", nearest != NULL ? "\"?" : "");
                }
                kinds |= (uint64_t) 1 << kind;
        }
        *ret = kinds;
        return 0;
}

struct reading {
        struct events_query *query;
        struct buffer needle; /* in every row that the filter takes */
        char since[TIME_TEXT_MAX], until[TIME_TEXT_MAX];
        events_each_cb *each;
        void *data;
        size_t rows;
        bool stopped;
};

static void put_needle(struct buffer *out, const struct event_filter *f)
{
        const char *name = f->job != NULL ? f->job : f->task != NULL ? f->task : f->node;

        if (f->task != NULL && !f->job_too)
                name = f->task;
        if (name == NULL)
                return;
        buffer_puts(out, name == f->task ? "\"task\":" : name == f->job ? "\"job\":" : "\"node\":");
        text_put_json_string(out, name);
}

/* ---- Rows */

static uint64_t line_index(const char *line, size_t len, uint64_t otherwise)
{
        static const char begin[] = "{\"index\":";

        if (len < sizeof begin || memcmp(line, begin, sizeof begin - 1) != 0)
                return otherwise;
        return strtoull(line + sizeof begin - 1, NULL, 10);
}

static uint64_t key_index(const char *key)
{
        return strtoull(key + strlen("event/"), NULL, 10);
}

struct events_row events_row(const char *key, const char *value, size_t len)
{
        const char *before = memrchr(value, '\n', len);
        struct events_row row = { .first = key_index(key) };

        row.last_line = before == NULL ? value : before + 1;
        row.last_len = (size_t) (value + len - row.last_line);
        row.last = line_index(row.last_line, row.last_len, row.first);
        return row;
}

struct row_search {
        uint64_t index, found;
};

static int on_found(void *data, const char *key, const char *value, size_t len, struct error *err)
{
        struct row_search *search = data;
        struct events_row row = events_row(key, value, len);

        (void) err;
        if (row.last >= search->index)
                search->found = row.first;
        return 1;
}

uint64_t events_row_of(struct store *store, uint64_t index)
{
        struct row_search search = { index, index };
        char first[STATE_KEY_MAX], end[STATE_KEY_MAX];
        struct error err;

        if (store_scan_range(store, state_event_key(first, 0), state_event_key(end, index + 1),
                    true, 1, on_found, &search, &err) < 0)
                log_warning("look for event %" PRIu64 ": %s", index, err.message);
        return search.found;
}

/* ---- Times */

#define TIME_TEXT_LEN 24 /* of time_format_wall() */

/* The text of the event's time; NULL if it is not where it should be. */
static const char *line_time(const char *line, size_t len)
{
        static const char before[] = ",\"time\":\"";
        const char *comma = memchr(line, ',', len);

        if (comma == NULL || (size_t) (line + len - comma) < sizeof before + TIME_TEXT_LEN ||
                memcmp(comma, before, sizeof before - 1) != 0)
                return NULL;
        return comma + sizeof before - 1;
}

/* Agents tell of these, with the time when it happened. */
static bool is_told_late(const char *line, size_t len)
{
        static const enum event_kind kinds[] = { EVENT_TASK_STARTED, EVENT_TASK_ENDED,
                EVENT_TASK_WAITING, EVENT_TASK_PARKED, EVENT_TASK_STOPPING, EVENT_TASK_STOPPED,
                EVENT_TASK_LOGS };

        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
                char text[64];
                int n = snprintf(text, sizeof text, "\"kind\":\"%s\"", event_kind_names[kinds[i]]);

                if (memmem(line, len, text, (size_t) n) != NULL)
                        return true;
        }
        return false;
}

#define PROBE_ROWS 256 /* so many in sequence are not all late */

struct probe {
        char time[TIME_TEXT_MAX];
        bool later; /* result: what is wanted begins here, or before */
};

static int on_probe(void *data, const char *key, const char *value, size_t len, struct error *err)
{
        struct probe *p = data;
        const char *end = value + len;
        bool decided = false;

        (void) key;
        (void) err;
        for (const char *line = value, *stop; line < end; line = stop + 1) {
                const char *time;

                stop = memchr(line, '\n', (size_t) (end - line));
                stop = stop == NULL ? end : stop;
                time = line_time(line, (size_t) (stop - line));
                if (time == NULL)
                        continue;
                p->later = p->later || memcmp(time, p->time, TIME_TEXT_LEN) >= 0;
                decided = decided || !is_told_late(line, (size_t) (stop - line));
        }
        return p->later || decided ? 1 : 0;
}

/* Whether an event of the row that begins with @index, or of the first behind it that decides, is
 * of @time or later. */
static bool is_later(struct store *store, uint64_t index, uint64_t last, usec_t time)
{
        struct probe probe = { .later = false };
        char first[STATE_KEY_MAX], end[STATE_KEY_MAX];
        struct error err;

        time_format_wall(probe.time, time);
        if (store_scan_range(store, state_event_key(first, index), state_event_key(end, last + 1),
                    false, PROBE_ROWS, on_probe, &probe, &err) < 0) {
                log_warning("look for events of a time: %s", err.message);
                return true;
        }
        return probe.later;
}

uint64_t events_seek(struct store *store, uint64_t first, uint64_t last, usec_t time)
{
        uint64_t low = first, high = last + 1;

        while (low < high) {
                uint64_t middle = low + (high - low) / 2;
                uint64_t row = events_row_of(store, middle);

                if (is_later(store, row, last, time))
                        high = MAX(row, low);
                else
                        low = middle + 1;
        }
        return low;
}

/* Whether its time, as a text, lets the line be of the span. */
static bool is_in_span(const struct reading *r, const char *line, size_t len)
{
        const struct event_filter *f = &r->query->filter;
        const char *time = f->since != 0 || f->until != 0 ? line_time(line, len) : NULL;

        return time == NULL ||
               ((f->since == 0 || memcmp(time, r->since, TIME_TEXT_LEN) >= 0) &&
                       (f->until == 0 || memcmp(time, r->until, TIME_TEXT_LEN) <= 0));
}

/* ---- Reading */

static bool take_line(struct reading *r, uint64_t index, const char *line, size_t len)
{
        struct event event = { 0 };
        json_t *json = json_loadb(line, len, 0, NULL);
        struct error err;
        bool on = true;

        if (record_read(&event_table, json, &event, &err) < 0)
                log_warning(
                        "event %" PRIu64 " of the store cannot be read: %s", index, err.message);
        else if (event.kind >= 0 && event_filter_takes(&r->query->filter, &event))
                on = r->each(r->data, &event, line, len);
        record_done(&event_table, &event);
        json_decref(json);
        return on;
}

/* Returns whether to go on. */
static bool on_line(struct reading *r, uint64_t otherwise, const char *line, size_t len)
{
        struct events_query *q = r->query;
        uint64_t index = line_index(line, len, otherwise);

        if (index < q->first || index > q->last)
                return true;
        r->rows++;
        q->next = MAX(q->next, index + 1);
        if (is_in_span(r, line, len) &&
                memmem(line, len, buffer_str(&r->needle), r->needle.len) != NULL)
                r->stopped = !take_line(r, index, line, len);
        return !r->stopped && (q->rows == 0 || r->rows < q->rows);
}

static bool lines_up(struct reading *r, uint64_t first, const char *at, const char *end)
{
        bool on = true;

        while (on && at < end) {
                const char *newline = memchr(at, '\n', (size_t) (end - at));
                const char *stop = newline == NULL ? end : newline;

                on = on_line(r, first, at, (size_t) (stop - at));
                at = stop + 1;
        }
        return on;
}

static bool lines_down(struct reading *r, uint64_t first, const char *begin, const char *end)
{
        bool on = true;

        while (on && end > begin) {
                const char *newline = memrchr(begin, '\n', (size_t) (end - begin));
                const char *at = newline == NULL ? begin : newline + 1;

                on = on_line(r, first, at, (size_t) (end - at));
                end = newline == NULL ? begin : newline;
        }
        return on;
}

static int on_row(void *data, const char *key, const char *value, size_t len, struct error *err)
{
        struct reading *r = data;
        bool on = r->query->newest ? lines_down(r, key_index(key), value, value + len)
                                   : lines_up(r, key_index(key), value, value + len);

        (void) err;
        return on ? 0 : 1;
}

int events_read(struct store *store, struct events_query *query, events_each_cb *each, void *data,
        struct error *err)
{
        struct reading r = { .query = query, .each = each, .data = data };
        char first[STATE_KEY_MAX], end[STATE_KEY_MAX];
        int rc;

        query->next = query->first;
        if (query->first > query->last)
                return 0;
        put_needle(&r.needle, &query->filter);
        time_format_wall(r.since, query->filter.since);
        time_format_wall(r.until, query->filter.until);
        rc = store_scan_range(store, state_event_key(first, events_row_of(store, query->first)),
                state_event_key(end, query->last + 1), query->newest, 0, on_row, &r, err);
        if (rc == 0 && !r.stopped && (query->rows == 0 || r.rows < query->rows))
                query->next = query->last + 1;
        buffer_done(&r.needle);
        return rc < 0 ? error_wrap(err, "read events") : 0;
}
