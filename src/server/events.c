/* SPDX-License-Identifier: BSD-3-Clause */
/* Events: read back from the store for pages, followers and `why`.
 *
 * There may be 100,000, of which one task has three. Most rows are passed over without being
 * parsed: a row of the job "web" contains the text "job":"web", because it was written by
 * record_write(); only the rows that do are parsed and judged. */
#include "server/events.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
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

        if (filter->jobs != NULL &&
                (event->job == NULL || !token_jobs_cover(filter->jobs, event->job)))
                return false;

        return is(filter->job, event->job) && (whole_job || is(filter->task, event->task)) &&
               is(filter->node, event->node);
}

struct reading {
        struct events_query *query;
        struct buffer needle; /* in every row that the filter takes */
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

static bool take_row(struct reading *r, const char *key, const char *value, size_t len)
{
        struct event event = { 0 };
        json_t *json = json_loadb(value, len, 0, NULL);
        struct error err;
        bool on = true;

        if (record_read(&event_table, json, &event, &err) < 0)
                log_warning("row %s of the store cannot be read: %s", key, err.message);
        else if (event.kind >= 0 && event_filter_takes(&r->query->filter, &event))
                on = r->each(r->data, &event, value, len);
        record_done(&event_table, &event);
        json_decref(json);
        return on;
}

static int on_row(void *data, const char *key, const char *value, size_t len, struct error *err)
{
        struct reading *r = data;
        struct events_query *q = r->query;

        (void) err;
        r->rows++;
        q->next = MAX(q->next, strtoull(key + strlen("event/"), NULL, 10) + 1);
        if (memmem(value, len, buffer_str(&r->needle), r->needle.len) != NULL)
                r->stopped = !take_row(r, key, value, len);
        return r->stopped ? 1 : 0;
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
        rc = store_scan_range(store, state_event_key(first, query->first),
                state_event_key(end, query->last + 1), query->newest, query->rows, on_row, &r, err);
        if (rc == 0 && !r.stopped && (query->rows == 0 || r.rows < query->rows))
                query->next = query->last + 1;
        buffer_done(&r.needle);
        return rc < 0 ? error_wrap(err, "read events") : 0;
}
