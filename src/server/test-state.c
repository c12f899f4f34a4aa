/* SPDX-License-Identifier: BSD-3-Clause */
/* The state over a store that can be made to fail: what is told when, what a failed commit undoes,
 * what it must not forget. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "server/events.h"
#include "server/state.h"
#include "server/test-loop.h"

struct fixture {
        uv_loop_t loop;
        struct store *store;
        struct state *state;
        size_t assigns, events, published, changed, resets, recoveries;
        char *last_event;
};

static int64_t clock_set_by;

/* In front of base/time.h's, by the linker. */
usec_t __real_time_wall(void); /* NOLINT */
usec_t __wrap_time_wall(void); /* NOLINT */

usec_t __wrap_time_wall(void) /* NOLINT */
{
        return __real_time_wall() + (usec_t) clock_set_by;
}

struct answer { /* of one submit or barrier */
        unsigned calls;
        enum error_code code;
        size_t events_before; /* published when it came */
        struct fixture *fixture;
};

static void on_assign(void *data, const struct cluster_assign *assign)
{
        (void) assign;
        ((struct fixture *) data)->assigns++;
}

static void on_event(void *data, const struct event *event)
{
        struct fixture *f = data;

        assert_int_equal(event->index, (int64_t) state_durable_event(f->state));
        f->events++;
        free(f->last_event);
        f->last_event = mem_strdup(event->message);
}

static void on_published(void *data)
{
        ((struct fixture *) data)->published++;
}

static void on_changed(void *data)
{
        ((struct fixture *) data)->changed++;
}

static void on_reset(void *data)
{
        ((struct fixture *) data)->resets++;
}

static void on_recovered(void *data)
{
        ((struct fixture *) data)->recoveries++;
}

static void open_state(struct fixture *f)
{
        const struct state_hooks hooks = { on_assign, on_event, on_published, on_changed, on_reset,
                on_recovered, f, 0 };
        struct error err;

        assert_int_equal(state_new(&f->loop, f->store, "memory", &hooks, &f->state, &err), 0);
}

static int set_up(void **state)
{
        struct fixture *f = mem_alloc(sizeof *f);

        uv_loop_init(&f->loop);
        store_open_memory(&f->loop, &f->store);
        open_state(f);
        *state = f;
        return 0;
}

static int tear_down(void **state)
{
        struct fixture *f = *state;

        state_free(f->state);
        store_close(f->store, NULL, NULL);
        uv_run(&f->loop, UV_RUN_DEFAULT);
        assert_int_equal(uv_loop_close(&f->loop), 0);
        free(f->last_event);
        free(f);
        return 0;
}

static void on_answer(void *data, const struct error *err)
{
        struct answer *a = data;

        a->calls++;
        a->code = err == NULL ? ERR_NONE : err->code;
        a->events_before = a->fixture->events;
}

static int apply(struct fixture *f, const char *name, struct answer *a, struct error *err)
{
        /* without tasks, an apply is one event */
        json_t *json = json_pack("{s:[s], s:i}", "command", "true", "count", 0);
        struct cluster_event event = { .type = CLUSTER_APPLY, .source = "api" };
        int rc;

        a->fixture = f;
        assert_int_equal(job_spec_from_json(name, json, &event.spec, err), 0);
        json_decref(json);
        rc = state_submit(f->state, &event, on_answer, a, NULL, err);
        job_spec_unref(event.spec);
        return rc;
}

static int node_up(struct fixture *f, struct answer *a)
{
        char name[] = "n1";
        struct node_status node = { .name = name };
        struct cluster_event event = { .type = CLUSTER_NODE_UP, .node = &node };
        struct error err;

        a->fixture = f;
        return state_submit(f->state, &event, on_answer, a, NULL, &err);
}

static int note(struct fixture *f, uint64_t seq, struct answer *a)
{
        char name[] = "n1", message[] = "a note";
        struct node_status node = { .name = name };
        struct event text = { .time = time_wall(),
                .kind = EVENT_TASK_LOGS,
                .version = RECORD_NULL,
                .run = RECORD_NULL,
                .message = message };
        struct cluster_event event = {
                .type = CLUSTER_NOTE, .node = &node, .note = &text, .note_seq = seq
        };
        struct error err;

        a->fixture = f;
        return state_submit(f->state, &event, on_answer, a, NULL, &err);
}

static void on_node(void *data, const struct node_status *s)
{
        *(int *) data = s->state;
}

/* Of the only one. */
static int node_state(struct fixture *f)
{
        int found = -1;

        cluster_each_node(state_cluster(f->state), on_node, &found);
        return found;
}

/* What was to happen in two seconds still does, however the clock is set. */
static void test_clock_is_set(void **state)
{
        struct fixture *f = *state;
        struct node_status node = { .name = (char[]){ "n1" } };
        struct cluster_event down = { .type = CLUSTER_NODE_DOWN, .node = &node };
        const struct cluster_event tick = { .type = CLUSTER_TICK };
        struct answer up = { 0 };
        struct error err;
        usec_t now;

        assert_int_equal(node_up(f, &up), 0);
        RUN_UNTIL(f, up.calls == 1);
        assert_int_equal(state_submit(f->state, &down, NULL, NULL, NULL, &err), 0);
        for (int i = 0; i < 3; i++) {
                clock_set_by += i == 1 ? -2 * (int64_t) USEC_HOUR : (int64_t) USEC_HOUR;
                assert_int_equal(state_submit(f->state, &tick, NULL, NULL, NULL, &err), 0);
                assert_int_equal(node_state(f), NODE_READY);
                now = time_wall();
                assert_true(cluster_next_deadline(state_cluster(f->state)) <
                            now + CLUSTER_LOST_AFTER + USEC_SEC);
                assert_true(
                        cluster_next_deadline(state_cluster(f->state)) + CLUSTER_LOST_AFTER > now);
        }
        assert_int_equal(clock_set_by, 0);
}

static bool has_job(struct fixture *f, const char *name)
{
        struct job_status job;

        return cluster_get_job(state_cluster(f->state), name, &job);
}

/* ---- */

static void test_answers_are_durable(void **state)
{
        struct fixture *f = *state;
        struct answer one = { 0 }, two = { 0 }, reader = { .fixture = f };
        uint64_t revision = store_revision(f->store), index = state_index(f->state);
        struct error err;

        assert_int_equal(apply(f, "one", &one, &err), 0);
        assert_int_equal(apply(f, "two", &two, &err), 0);
        state_barrier(f->state, on_answer, &reader);
        assert_true(has_job(f, "two")); /* the memory is ahead */
        assert_int_equal(one.calls + two.calls + reader.calls, 0);
        assert_int_equal(f->events, 0);
        assert_false(state_is_idle(f->state));

        RUN_UNTIL(f, reader.calls == 1);
        assert_int_equal(one.calls, 1);
        assert_int_equal(two.calls, 1);
        assert_int_equal(one.code + two.code + reader.code, ERR_NONE);
        assert_int_equal(one.events_before, 1); /* in the order of their making */
        assert_int_equal(two.events_before, 2);
        assert_int_equal(store_revision(f->store), revision + 1); /* one batch */
        assert_true(state_index(f->state) > index);
        assert_true(f->changed > 0);
        RUN_UNTIL(f, state_is_idle(f->state));

        reader = (struct answer){ .fixture = f };
        state_barrier(f->state, on_answer, &reader); /* nothing to wait for */
        assert_int_equal(reader.calls, 1);
}

static void test_refused(void **state)
{
        struct fixture *f = *state;
        struct cluster_event stop = { .type = CLUSTER_STOP, .target = "nobody" };
        struct answer a = { .fixture = f };
        struct error err;

        assert_int_equal(state_submit(f->state, &stop, on_answer, &a, NULL, &err), -1);
        assert_int_equal(err.code, ERR_NOT_FOUND);
        RUN_UNTIL(f, state_is_idle(f->state));
        assert_int_equal(a.calls, 0);
}

static void test_failed_command_is_undone(void **state)
{
        struct fixture *f = *state;
        struct answer kept = { 0 }, lost = { 0 }, behind = { 0 }, reader = { .fixture = f },
                      after = { 0 };
        struct error err;
        uint64_t index;

        assert_int_equal(apply(f, "kept", &kept, &err), 0);
        RUN_UNTIL(f, kept.calls == 1);

        store_memory_set_failure(f->store, ERR_NO_SPACE);
        assert_int_equal(apply(f, "lost", &lost, &err), 0);
        state_barrier(f->state, on_answer, &reader);
        uv_run(&f->loop, UV_RUN_NOWAIT); /* it flies */
        index = state_index(f->state);
        if (lost.calls == 0)
                assert_int_equal(apply(f, "behind", &behind, &err), 0);
        else
                behind.calls = 1, behind.code = ERR_NO_SPACE;
        RUN_UNTIL(f, lost.calls == 1 && behind.calls == 1);
        assert_int_equal(lost.code, ERR_NO_SPACE);
        assert_int_equal(behind.code, ERR_NO_SPACE);
        assert_int_equal(reader.calls, 1);
        assert_int_equal(reader.code, ERR_NO_SPACE);
        assert_int_equal(f->resets, 1);
        assert_true(has_job(f, "kept"));
        assert_false(has_job(f, "lost"));
        assert_false(has_job(f, "behind"));
        assert_true(state_index(f->state) != index); /* readers that wait are woken */

        assert_int_equal(apply(f, "after", &after, &err), -1); /* refused at once */
        assert_int_equal(err.code, ERR_NO_SPACE);
        reader = (struct answer){ .fixture = f };
        state_barrier(f->state, on_answer, &reader); /* readers do not wait for the disk */
        assert_int_equal(reader.calls, 1);

        store_memory_set_failure(f->store, ERR_NONE);
        RUN_UNTIL(f, f->recoveries == 1);
        assert_int_equal(apply(f, "after", &after, &err), 0);
        RUN_UNTIL(f, after.calls == 1 && state_is_idle(f->state));
        assert_int_equal(after.code, ERR_NONE);
        assert_false(has_job(f, "lost"));
        assert_int_equal(lost.calls, 1);
}

static void test_reports_survive_failure(void **state)
{
        struct fixture *f = *state;
        struct answer up = { 0 }, first = { 0 }, second = { 0 }, again = { 0 };
        struct cluster *before;
        size_t events;

        assert_int_equal(node_up(f, &up), 0);
        RUN_UNTIL(f, up.calls == 1);
        events = f->events;
        before = (struct cluster *) (uintptr_t) state_cluster(f->state);

        store_memory_set_failure(f->store, ERR_NO_SPACE);
        assert_int_equal(note(f, 1, &first), 0);
        /* The event about the failure is in memory once it was seen. */
        RUN_UNTIL(f, cluster_index(state_cluster(f->state)) > state_durable_event(f->state) + 1);
        assert_int_equal(note(f, 2, &second), 0);
        uv_run(&f->loop, UV_RUN_NOWAIT);
        assert_int_equal(first.calls + second.calls, 0); /* not acknowledged */
        assert_int_equal(f->events, events);
        assert_int_equal(f->resets, 0);
        assert_ptr_equal(state_cluster(f->state), before);

        store_memory_set_failure(f->store, ERR_NONE);
        RUN_UNTIL(f, first.calls == 1 && second.calls == 1);
        assert_int_equal(first.code + second.code, ERR_NONE);
        assert_true(first.events_before < second.events_before);
        RUN_UNTIL(f, state_is_idle(f->state));
        events = f->events;
        assert_int_equal(note(f, 2, &again), 0); /* sent again: taken once */
        RUN_UNTIL(f, again.calls == 1);
        assert_int_equal(f->events, events);
}

/* The cluster's own deadlines come, also while the loop is busy with other things. */
static void test_deadline_comes(void **state)
{
        struct fixture *f = *state;
        struct answer up = { 0 };
        char name[] = "n1";
        struct node_status node = { .name = name };
        struct cluster_event down = { .type = CLUSTER_NODE_DOWN, .node = &node };
        struct error err;
        size_t events;

        assert_int_equal(node_up(f, &up), 0);
        RUN_UNTIL(f, up.calls == 1 && state_is_idle(f->state));
        events = f->events;
        assert_int_equal(state_submit(f->state, &down, NULL, NULL, NULL, &err), 0);
        RUN_UNTIL(f, f->events > events);
        assert_non_null(strstr(f->last_event, "lost"));
}

static int count_row(void *data, const char *key, const char *value, size_t len, struct error *err)
{
        (void) key;
        (void) value;
        (void) len;
        (void) err;
        ++*(size_t *) data;
        return 0;
}

static size_t stored_events(struct fixture *f)
{
        struct error err;
        size_t n = 0;

        assert_int_equal(store_scan(f->store, "event/", count_row, &n, &err), 0);
        return n;
}

static void test_loads_and_forgets(void **state)
{
        struct fixture *f = *state;
        struct answer a = { 0 };
        uint64_t index;
        struct error err;

        for (int i = 0; i < 10; i++) {
                char name[8] = { 'j', (char) ('0' + i) };

                a.calls = 0;
                assert_int_equal(apply(f, name, &a, &err), 0);
                RUN_UNTIL(f, a.calls == 1);
        }
        index = state_index(f->state);
        state_free(f->state);
        open_state(f);
        assert_true(has_job(f, "j9"));
        assert_true(state_index(f->state) > index);
        assert_int_equal(state_durable_event(f->state), 10);
        assert_int_equal(state_events_stored(f->state), 10);

        state_forget_events(f->state, 4, USEC_DAY);
        RUN_UNTIL(f, state_is_idle(f->state));
        assert_int_equal(stored_events(f), 4);
        assert_int_equal(state_events_stored(f->state), 4);
        state_forget_events(f->state, 100, USEC_DAY); /* nothing more */
        RUN_UNTIL(f, state_is_idle(f->state));
        assert_int_equal(stored_events(f), 4);
        state_forget_events(f->state, 100, time_wall() + USEC_DAY); /* nor from before 1970 */
        RUN_UNTIL(f, state_is_idle(f->state));
        assert_int_equal(stored_events(f), 4);
        state_forget_events(
                f->state, 100, 0); /* by age; the newest is kept, so that the numbers go on */
        RUN_UNTIL(f, state_is_idle(f->state));
        assert_int_equal(stored_events(f), 1);
}

struct seen {
        uint64_t first, last;
        size_t count, limit;
        bool down;
};

static bool see_event(void *data, struct event *event, const char *json, size_t len)
{
        struct seen *seen = data;
        uint64_t index = (uint64_t) event->index;

        assert_true(len > 2 && json[0] == '{' && json[len - 1] == '}');
        if (seen->count == 0)
                seen->first = index;
        else
                assert_int_equal(index, seen->down ? seen->last - 1 : seen->last + 1);
        seen->last = index;
        return ++seen->count < seen->limit;
}

static struct seen see(struct fixture *f, struct events_query *query, size_t limit)
{
        struct seen seen = { .limit = limit, .down = query->newest };
        struct error err;

        assert_int_equal(events_read(f->store, query, see_event, &seen, &err), 0);
        return seen;
}

static void apply_many(struct fixture *f, int from, int upto)
{
        struct answer a = { 0 };
        struct error err;

        for (int i = from; i < upto; i++) {
                AUTO(mem_freep) char *name = mem_printf("j%d", i);

                assert_int_equal(apply(f, name, &a, &err), 0);
        }
        RUN_UNTIL(f, a.calls == (unsigned) (upto - from));
}

/* The events of a turn share rows, and are found one by one all the same. */
static void test_events_share_rows(void **state)
{
        struct fixture *f = *state;
        struct events_query all = { .first = 1, .last = 150 },
                            down = { .first = 40, .last = 100, .newest = true };
        struct events_query some = { .first = 70, .last = 150, .rows = 30 };
        struct events_query one = { .first = 1, .last = 150, .filter = { .job = "j99" } };
        struct seen seen;

        apply_many(f, 0, 150);
        assert_int_equal(state_durable_event(f->state), 150);
        assert_true(stored_events(f) < 10);

        seen = see(f, &all, 1000);
        assert_true(seen.first == 1 && seen.last == 150 && seen.count == 150 && all.next == 151);
        seen = see(f, &down, 1000);
        assert_true(seen.first == 100 && seen.last == 40 && seen.count == 61);
        seen = see(f, &some, 1000);
        assert_true(seen.first == 70 && seen.last == 99 && seen.count == 30 && some.next == 100);
        some.first = some.next;
        some.rows = 0;
        seen = see(f, &some, 3);
        assert_true(seen.first == 100 && seen.count == 3 && some.next == 103);
        seen = see(f, &one, 1000);
        assert_true(seen.first == 100 && seen.count == 1 && one.next == 151);
}

/* A row is forgotten as a whole, when none of its events is to be kept. */
static void test_shared_rows_are_forgotten(void **state)
{
        struct fixture *f = *state;
        struct events_query all = { .first = 1, .last = 151 };
        struct seen seen;

        apply_many(f, 0, 150);
        state_forget_events(f->state, 20, USEC_DAY);
        RUN_UNTIL(f, state_is_idle(f->state));
        seen = see(f, &all, 1000);
        assert_true(seen.count >= 20 && seen.count < 100 && seen.last == 150);
        assert_int_equal(state_events_stored(f->state), seen.count);

        state_forget_events(f->state, 1000, 0); /* by age: the newest stays */
        RUN_UNTIL(f, state_is_idle(f->state));
        state_free(f->state);
        open_state(f);
        assert_int_equal(state_durable_event(f->state), 150);
        apply_many(f, 150, 151);
        seen = see(f, &all, 1000);
        assert_int_equal(seen.last, 151);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_answers_are_durable, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_refused, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_failed_command_is_undone, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_reports_survive_failure, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_deadline_comes, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_clock_is_set, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_loads_and_forgets, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_events_share_rows, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_shared_rows_are_forgotten, set_up, tear_down),
        };

        return cmocka_run_group_tests_name("state", tests, NULL, NULL);
}
