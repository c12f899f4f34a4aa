/* SPDX-License-Identifier: BSD-3-Clause */
/* The fold of events into what was so at a time: by the last event before it, by the first one
 * after it, and by the present. That the events are those of the real cluster, test_past.py sees
 * to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/macros.h"
#include "core/history.h"

struct line {
        unsigned sec;
        int kind;
        const char *job, *task, *node;
        int version, run; /* run 0: null */
        const char *message;
};

static const struct line life[] = {
        { 10, EVENT_NODE_READY, NULL, NULL, "a", 0, 0, "node a is new and ready, agent pid 1" },
        { 11, EVENT_NODE_READY, NULL, NULL, "b", 0, 0, "node b is new and ready, agent pid 2" },
        { 20, EVENT_JOB_APPLIED, "web", NULL, NULL, 1, 0, "version 1: 2 tasks" },
        { 21, EVENT_TASK_PLACED, "web", NULL, NULL, 1, 0, "2 tasks on node a" },
        { 22, EVENT_TASK_STARTED, "web", "web.0", "a", 1, 1, "run 1 started" },
        { 23, EVENT_TASK_STARTED, "web", "web.1", "a", 1, 1, "run 1 started" },
        { 30, EVENT_JOB_APPLIED, "web", NULL, NULL, 2, 0, "version 2: env; new runs" },
        { 31, EVENT_TASK_STOPPING, "web", "web.0", "a", 1, 1, "stopping run 1" },
        { 32, EVENT_TASK_ENDED, "web", "web.0", "a", 1, 1, "run 1 ended: killed by TERM after 9s" },
        { 34, EVENT_TASK_STARTED, "web", "web.0", "a", 2, 2, "run 2 started" },
        { 36, EVENT_JOB_ROLLED, "web", NULL, NULL, 2, 0, "all 2 tasks have version 2" },
        { 40, EVENT_NODE_LOST, NULL, NULL, "a", 0, 0, "node a is lost" },
        { 42, EVENT_TASK_LOST, "web", "web.0", "a", 2, 0, "web.0 is placed anew: node a" },
        { 43, EVENT_TASK_PLACED, "web", "web.0", "b", 2, 0, "web.0 on node b" },
        { 44, EVENT_TASK_STARTED, "web", "web.0", "b", 2, 1, "run 1 started" },
        { 45, EVENT_NODE_READY, NULL, NULL, "a", 0, 0, "node a is back and ready" },
        { 50, EVENT_TASK_ENDED, "web", "web.1", "a", 1, 1, "run 1 ended: exit code 3 after 9s" },
        { 50, EVENT_TASK_WAITING, "web", "web.1", "a", 1, 1, "waits 5s after exit code 3" },
        { 55, EVENT_TASK_STARTED, "web", "web.1", "a", 2, 2, "run 2 started" },
        { 60, EVENT_JOB_SCALED, "web", NULL, NULL, 2, 0, "count 2 -> 1" },
        { 61, EVENT_TASK_STOPPING, "web", "web.1", "a", 2, 2, "stopping run 2" },
        { 62, EVENT_TASK_ENDED, "web", "web.1", "a", 2, 2, "run 2 ended: killed by TERM after 9s" },
        { 62, EVENT_TASK_STOPPED, "web", "web.1", "a", 2, 2, "stopped: was asked to stop" },
        { 63, EVENT_TASK_REMOVED, "web", "web.1", "a", 2, 0, "web.1 is gone on node a" },
        { 70, EVENT_NODE_DRAINING, NULL, NULL, "b", 0, 0, "is drained by a person: 1 task" },
        { 71, EVENT_TASK_MOVED, "web", "web.0", "b", 2, 0, "web.0 leaves node b: it is drained" },
        { 72, EVENT_TASK_STOPPING, "web", "web.0", "b", 2, 1, "stopping run 1" },
        { 73, EVENT_TASK_ENDED, "web", "web.0", "b", 2, 1, "run 1 ended: killed by TERM after 9s" },
        { 73, EVENT_TASK_STOPPED, "web", "web.0", "b", 2, 1, "stopped: was asked to stop" },
        { 74, EVENT_NODE_DRAINED, NULL, NULL, "b", 0, 0, "is drained" },
        { 75, EVENT_TASK_PLACED, "web", "web.0", "a", 2, 0, "web.0 on node a" },
        { 76, EVENT_TASK_STARTED, "web", "web.0", "a", 2, 1, "run 1 started" },
        { 78, EVENT_NODE_LOST, NULL, NULL, "b", 0, 0, "node b is lost" },
        { 80, EVENT_NODE_FORGOTTEN, NULL, NULL, "b", 0, 0, "node b is forgotten" },
        { 85, EVENT_JOB_STOPPED, "web", NULL, NULL, 2, 0, "was stopped by a person" },
        { 86, EVENT_TASK_STOPPING, "web", "web.0", "a", 2, 1, "stopping run 1" },
        { 87, EVENT_TASK_STOPPED, "web", "web.0", "a", 2, 1, "stopped: was asked to stop" },
        { 90, EVENT_JOB_REMOVED, "web", NULL, NULL, 2, 0, "is gone" },
};

/* From the event at index @from on; those before are not kept any more. */
static struct history *fold(unsigned at, size_t from, const struct cluster *c)
{
        struct history *h = history_new(at * USEC_SEC);

        for (size_t i = from; i < ARRAY_SIZE(life); i++) {
                struct event e = { .index = (int64_t) i + 1,
                        .time = life[i].sec * USEC_SEC,
                        .kind = life[i].kind,
                        .job = (char *) (uintptr_t) life[i].job,
                        .task = (char *) (uintptr_t) life[i].task,
                        .node = (char *) (uintptr_t) life[i].node,
                        .version = life[i].version,
                        .run = life[i].run == 0 ? RECORD_NULL : life[i].run,
                        .message = (char *) (uintptr_t) life[i].message };

                history_add(h, &e);
        }
        history_end(h, c);
        return h;
}

static void put_job(void *data, const struct job_status *job)
{
        buffer_printf(data, "%s v%d %s %d/", job->name, (int) job->version,
                job_state_names[job->state], (int) job->running);
        if (job->count == RECORD_NULL)
                buffer_puts(data, "-; ");
        else
                buffer_printf(data, "%d; ", (int) job->count);
}

static void put_task(void *data, const struct task_status *task)
{
        buffer_printf(data, "%s %s %s v%d r%d; ", task->id, task_state_names[task->state],
                task->node == NULL ? "-" : task->node, (int) task->version, (int) task->runs);
}

static void put_node(void *data, const struct node_status *node)
{
        buffer_printf(data, "%s %s %s %d; ", node->name, node_state_names[node->state],
                node_scheduling_names[node->scheduling], (int) node->tasks);
}

static void check(unsigned at, size_t from, const char *expected)
{
        struct cluster *c = cluster_new();
        struct history *h = fold(at, from, c);
        AUTO(buffer_done) struct buffer text = { 0 };

        history_each_job(h, put_job, &text);
        history_each_task(h, NULL, put_task, &text);
        history_each_node(h, put_node, &text);
        if (strcmp(buffer_str(&text), expected) != 0)
                fail_msg("at %u, from event %zu:\n%s\nexpected:\n%s", at, from, buffer_str(&text),
                        expected);
        history_free(h);
        cluster_free(c);
}

#define NODES_OPEN "a ready open 2; b ready open 0; "

static void each_moment_is_told_by_what_was_before(void **state)
{
        (void) state;
        check(10, 0, "a ready open 0; ");
        check(20, 0,
                "web v1 starting 0/2; web.0 queued - v1 r0; web.1 queued - v1 r0; "
                "a ready open 0; b ready open 0; ");
        check(21, 0,
                "web v1 starting 0/2; web.0 placed a v1 r0; web.1 placed a v1 r0; " NODES_OPEN);
        check(25, 0,
                "web v1 running 2/2; web.0 running a v1 r1; web.1 running a v1 r1; " NODES_OPEN);
        check(31, 0,
                "web v2 updating 1/2; web.0 stopping a v1 r1; web.1 running a v1 r1; " NODES_OPEN);
        check(33, 0, /* it ended, and the next event is a start */
                "web v2 updating 1/2; web.0 starting a v1 r1; web.1 running a v1 r1; " NODES_OPEN);
        check(36, 0,
                "web v2 running 2/2; web.0 running a v2 r2; web.1 running a v1 r1; " NODES_OPEN);
        check(41, 0,
                "web v2 degraded 0/2; web.0 lost a v2 r2; web.1 lost a v1 r1; "
                "a lost open 2; b ready open 0; ");
        check(42, 0,
                "web v2 degraded 0/2; web.0 queued - v2 r2; web.1 lost a v1 r1; "
                "a lost open 1; b ready open 0; ");
        check(46, 0, /* run 1 of the other node is its third */
                "web v2 running 2/2; web.0 running b v2 r3; web.1 running a v1 r1; "
                "a ready open 1; b ready open 1; ");
        check(52, 0,
                "web v2 degraded 1/2; web.0 running b v2 r3; web.1 queued a v1 r1; "
                "a ready open 1; b ready open 1; ");
        check(63, 0, "web v2 running 1/1; web.0 running b v2 r3; a ready open 0; b ready open 1; ");
        check(74, 0,
                "web v2 starting 0/1; web.0 queued - v2 r3; a ready open 0; b ready drained 0; ");
        check(82, 0, "web v2 running 1/1; web.0 running a v2 r4; a ready open 1; ");
        check(88, 0, "web v2 stopped 0/1; web.0 ended a v2 r4; a ready open 1; ");
        check(90, 0, "a ready open 0; ");
}

static size_t first_from(unsigned sec)
{
        size_t i = 0;

        while (life[i].sec < sec)
                i++;
        return i;
}

static void what_no_event_tells_follows_from_the_next(void **state)
{
        (void) state;
        /* web.1 has no event before: it ran, since its run ends later */
        check(47, first_from(40),
                "web v2 running 2/2; web.0 running b v2 r1; web.1 running a v1 r1; "
                "a ready open 1; b ready open 1; ");
        /* nor has the job: its count is what it was before it was scaled */
        check(45, first_from(45),
                "web v2 running 2/2; web.0 running b v2 r0; web.1 running a v1 r1; "
                "a ready open 1; b ready open 1; ");
        check(71, first_from(71),
                "web v2 running 1/-; web.0 running b v2 r0; b ready draining 1; ");
}

static void the_present_tells_of_what_has_not_changed(void **state)
{
        json_t *json = json_pack("{s:[s], s:i}", "command", "true", "count", 2);
        struct cluster_event event = { .type = CLUSTER_APPLY, .source = "api" };
        AUTO(cluster_effects_done) struct cluster_effects effects = { 0 };
        struct cluster *c = cluster_new();
        struct history *h;
        struct job_status job;
        struct task_status task;
        struct error err;

        (void) state;
        assert_int_equal(job_spec_from_json("old", json, &event.spec, &err), 0);
        assert_int_equal(cluster_handle(c, &event, 5 * USEC_SEC, &effects, &err), 0);
        h = fold(30, 0, c);
        assert_true(history_get_job(h, "old", &job) && job.count == 2 && job.kind == JOB_SERVICE);
        assert_true(history_get_task(h, "old.1", &task) && task.state == TASK_QUEUED);
        assert_non_null(history_get_spec(h, c, "old"));
        assert_null(history_get_spec(h, c, "web")); /* gone */
        assert_true(history_get_job(h, "web", &job) && job.kind == -1);
        assert_true(history_get_task(h, "web.0", &task) && task.pid == RECORD_NULL);
        assert_false(history_get_task(h, "web.2", &task));
        assert_int_equal(history_begin(h), 10 * USEC_SEC);
        history_free(h);
        cluster_free(c);
        job_spec_unref(event.spec);
        json_decref(json);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(each_moment_is_told_by_what_was_before),
                cmocka_unit_test(what_no_event_tells_follows_from_the_next),
                cmocka_unit_test(the_present_tells_of_what_has_not_changed),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
