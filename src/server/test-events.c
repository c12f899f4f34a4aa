/* SPDX-License-Identifier: BSD-3-Clause */
/* Seeking events by time: what is found by bisection is what a look at all of them finds, though
 * some were told late. The seed is printed; REEVE_TEST_SEED replays it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/mem.h"
#include "server/events.h"
#include "server/state.h"

#define EVENTS 3000
#define BEGIN  (1700000000 * USEC_SEC)

static uint64_t seed;
static usec_t times[EVENTS + 1];

static uint64_t random_below(uint64_t n)
{
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        return (seed >> 33) % n;
}

/* Event @index; a fifth of the agents' are told late, up to 100 s. */
static void make_event(uint64_t index, usec_t now, struct buffer *row)
{
        bool agent = random_below(2) == 0;
        usec_t late = agent && random_below(5) == 0 ? random_below(100000) * USEC_MSEC : 0;
        struct event event = { .index = (int64_t) index,
                .time = now - late,
                .kind = agent ? EVENT_TASK_STARTED : EVENT_TASK_CREATED,
                .version = RECORD_NULL,
                .run = RECORD_NULL };

        times[index] = event.time;
        if (row->len > 0)
                buffer_putc(row, '\n');
        record_write(&event_table, &event, row);
}

static void fill(struct store *store)
{
        AUTO(store_batch_done) struct store_batch batch = { 0 };
        usec_t now = BEGIN;

        for (uint64_t i = 1; i <= EVENTS;) {
                AUTO(buffer_done) struct buffer row = { 0 };
                uint64_t first = i, len = 1 + random_below(random_below(4) == 0 ? 64 : 3);
                char key[STATE_KEY_MAX];

                for (; i <= EVENTS && i < first + len; i++)
                        make_event(i, now, &row);
                store_batch_put(&batch, state_event_key(key, first), row.data, row.len);
                now += random_below(3000) * USEC_MSEC;
        }
        store_commit(store, &batch, NULL, NULL);
}

static bool count_event(void *data, struct event *event, const char *json, size_t len)
{
        (void) event;
        (void) json;
        (void) len;
        ++*(size_t *) data;
        return true;
}

static void check_span(struct store *store, usec_t since, usec_t until)
{
        uint64_t from = events_seek(store, 1, EVENTS, since);
        struct events_query query = {
                .first = from, .last = EVENTS, .filter = { .since = since, .until = until }
        };
        size_t found = 0, expected = 0;
        struct error err;

        for (uint64_t i = 1; i <= EVENTS; i++) {
                bool in = times[i] >= since && times[i] <= until;

                expected += in;
                if (in && i < from)
                        fail_msg("event %lu is passed over: begins with %lu", (unsigned long) i,
                                (unsigned long) from);
        }
        assert_int_equal(events_read(store, &query, count_event, &found, &err), 0);
        assert_int_equal(found, expected);
}

static void a_seek_passes_over_nothing(void **state)
{
        usec_t span;
        uv_loop_t loop;
        struct store *store;

        (void) state;
        uv_loop_init(&loop);
        store_open_memory(&loop, &store);
        fill(store);
        uv_run(&loop, UV_RUN_DEFAULT);
        span = times[EVENTS] - BEGIN;
        for (int i = 0; i < 300; i++) {
                usec_t since = BEGIN + random_below(span / USEC_MSEC) * USEC_MSEC;

                check_span(store, since, since + random_below(span / USEC_MSEC) * USEC_MSEC);
        }
        check_span(store, BEGIN - USEC_HOUR, BEGIN + span);
        assert_int_equal(events_seek(store, 1, EVENTS, BEGIN - USEC_HOUR), 1);
        assert_true(events_seek(store, 1, EVENTS, BEGIN + 2 * span) > EVENTS - 64);
        /* not all is looked at: of a span in the middle, what is far before it is left out */
        assert_true(events_seek(store, 1, EVENTS, BEGIN + span / 2) > EVENTS / 4);
        store_close(store, NULL, NULL);
        uv_run(&loop, UV_RUN_DEFAULT);
        uv_loop_close(&loop);
}

static void kinds_are_read(void **state)
{
        uint64_t kinds;
        struct error err;

        (void) state;
        assert_int_equal(event_kinds_parse("task-ended,node-lost", &kinds, &err), 0);
        assert_int_equal(kinds, (uint64_t) 1 << EVENT_TASK_ENDED | (uint64_t) 1 << EVENT_NODE_LOST);
        assert_int_equal(event_kinds_parse("task-endet", &kinds, &err), -1);
        assert_string_equal(err.message,
                "kind: no event is of kind \"task-endet\"; did you mean \"task-ended\"?");
        assert_int_equal(event_kinds_parse("", &kinds, &err), -1);
}

int main(void)
{
        const char *given = getenv("REEVE_TEST_SEED");
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_seek_passes_over_nothing),
                cmocka_unit_test(kinds_are_read),
        };

        seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t) time(NULL);
        print_message("REEVE_TEST_SEED=%lu\n", (unsigned long) seed);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
