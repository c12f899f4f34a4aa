/* SPDX-License-Identifier: BSD-3-Clause */

/* A random walk of the task machine against a small model of the world.
 *
 * The world knows whether there is a process, and obeys: it does what the effects say and tells
 * what came of it, late and in any order that is possible. After every event the promises of task.c
 * are checked; from time to time people ask for a run, and it must come. The seed is printed. */

#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/macros.h"
#include "core/task.h"
#include "core/test-life.h"

#define WALK_STEPS 100000

static char pid_file[] = "/run/web.pid";

struct world {
        struct life l;
        uint64_t random;
        bool alive, spawning, dying; /* dying: KILL was sent */
        uint64_t runs;               /* spawned so far, by our count */
        int32_t pid;
        unsigned seen[TASK_STATE_COUNT][TASK_STATE_COUNT]; /* moves */
        unsigned handled[TASK_STATE_COUNT][TASK_EV_UNFIT + 1];
};

static uint64_t next_random(struct world *w) /* xorshift64 */
{
        w->random ^= w->random << 13;
        w->random ^= w->random >> 7;
        w->random ^= w->random << 17;
        return w->random;
}

static uint64_t below(struct world *w, uint64_t n)
{
        return next_random(w) / 7 % n;
}

static bool one_in(struct world *w, uint64_t n)
{
        return below(w, n) == 0;
}

/* What must hold whatever happened. */
static void check_world(const struct world *w)
{
        const struct task_machine *m = &w->l.m;
        bool waits =
                m->state == TASK_QUEUED && m->desire.run && !m->halted && !m->lapsed && !m->idle;
        bool due = m->deadline_mono != USEC_NEVER;

        assert_true(task_machine_is_valid(m));
        assert_int_equal(m->pid > 0, m->state == TASK_RUNNING || m->state == TASK_STOPPING);
        if (m->state == TASK_RUNNING)
                assert_int_equal(due,
                        m->ready_by_mono != 0 || m->alive_by_mono != 0 || m->daemon_by_mono != 0);
        else
                assert_int_equal(due, waits || m->state == TASK_STOPPING);
        if (m->idle)
                assert_true(m->state == TASK_QUEUED && m->run_generation == m->desire.generation);
        if (task_is_ready(m))
                assert_int_equal(m->ready_by_mono, 0);
        assert_int_equal(m->result != RESULT_NONE, m->state == TASK_ENDED);
        assert_int_equal(m->runs, w->runs);
        assert_int_equal(w->alive, m->pid > 0);
        assert_int_equal(w->spawning, m->state == TASK_STARTING);
        if (w->alive)
                assert_int_equal(m->pid, w->pid);
        if (!m->desire.run)
                assert_true(m->state != TASK_RUNNING);
        if (m->desire.run && m->state == TASK_ENDED)
                assert_true(m->result != RESULT_STOPPED);
        if (m->halted || m->lapsed)
                assert_false(m->state == TASK_RUNNING);
        if (m->state == TASK_RUNNING) /* nobody else was the one since it began */
                assert_true(m->run_fence >= m->grant.fence);
}

static void obey(struct world *w)
{
        const struct task_effects *fx = &w->l.fx;

        if (fx->signal != 0) {
                assert_true(w->alive);
                w->dying = fx->signal == SIGKILL;
        }
        if (fx->spawn) {
                assert_false(w->alive); /* never two */
                assert_false(w->spawning);
                assert_false(w->l.m.halted || w->l.m.lapsed);
                assert_int_equal(w->l.m.run_fence, w->l.m.grant.fence);
                assert_true(w->l.m.desire.run);
                w->spawning = true;
                w->runs++;
        }
}

static void tell(struct world *w, struct task_event event)
{
        struct life *l = &w->l;
        struct task_machine before = l->m;

        w->handled[before.state][event.type]++;
        feed_at(l, &event, l->now);
        w->seen[before.state][l->m.state]++;
        if (l->fx.spawn || l->fx.notes_len > 0 || before.state != l->m.state)
                assert_true(l->fx.changed);
        assert_true(l->m.restarts >= before.restarts);
        obey(w);
        check_world(w);

        if (event.lapsed && event.kill_mono != 0 && l->m.state == TASK_STOPPING && !l->m.killed)
                assert_true(l->m.deadline_mono <= event.kill_mono);
        if (event.type == TASK_EV_DESIRE || event.type == TASK_EV_LEASE) { /* again: nothing */
                feed_at(l, &event, l->now);
                assert_false(l->fx.changed || l->fx.spawn || l->fx.signal || l->fx.notes_len);
                check_world(w);
        }
}

static void random_lease(struct world *w, struct task_event *event)
{
        event->lapsed = one_in(w, 3);
        if (event->lapsed && one_in(w, 2))
                event->kill_mono = w->l.now + below(w, 5 * USEC_SEC);
}

static void tell_lease(struct world *w)
{
        struct task_event event = { .type = TASK_EV_LEASE };

        random_lease(w, &event);
        tell(w, event);
}

static void tell_found(struct world *w)
{
        bool killed = w->l.m.state == TASK_STOPPING && w->l.m.killed;
        bool unready = w->l.m.state == TASK_RUNNING && !w->l.m.ready;

        tell(w, (struct task_event){ .type = TASK_EV_FOUND });
        assert_int_equal(w->l.fx.signal, killed ? SIGKILL : 0);
        assert_true(!w->l.fx.changed || unready); /* its spec may have become another */
}

static void tell_desire(struct world *w)
{
        struct task_event event = {
                .type = TASK_EV_DESIRE, .desire = w->l.m.desire, .grant = w->l.m.grant
        };
        struct task_desire *d = &event.desire;

        random_lease(w, &event);
        if (one_in(w, 6))
                event.grant.fence++;

        d->run = d->run ? !one_in(w, 3) : !one_in(w, 4);
        if (d->version == 0 || one_in(w, 3))
                d->version++;
        if (one_in(w, 4))
                d->restart_version = d->version;
        if (one_in(w, 4))
                d->generation++;
        tell(w, event);
}

/* The process that the command of a daemon left behind is found. */
static void tell_daemon(struct world *w)
{
        struct task_event event = { .type = TASK_EV_DAEMON,
                .pid = 2 + (int32_t) below(w, 30000),
                .ticks = 1 + below(w, 1000),
                .foreign = one_in(w, 2) };
        bool fits = w->spawning || w->l.m.daemon == TASK_DAEMON_LEFT;

        w->alive |= w->spawning;
        w->spawning = false;
        w->pid = fits ? event.pid : w->pid;
        tell(w, event);
        assert_int_equal(w->l.fx.changed, fits);
        if (fits && w->l.m.state == TASK_STOPPING && !w->l.m.killed)
                assert_int_equal(w->l.fx.signal, w->l.spec.stop.signal);
}

static void tell_exit(struct world *w)
{
        struct task_event event = { .type = TASK_EV_EXITED, .exit_code = -1 };

        event.whole = w->l.m.daemon == TASK_DAEMON_LEFT;
        w->alive = false;
        w->dying = false;
        event.known = !one_in(w, 8);
        if (event.known && one_in(w, 4))
                event.signal = SIGSEGV;
        else if (event.known)
                event.exit_code = (int32_t) below(w, 3) * 3 / 2; /* 0, 1 or 3 */
        if (one_in(w, 20))
                event.exit_code = event.known ? 9 : -1;
        if (one_in(w, 3))
                event.ended_mono = w->l.now - below(w, USEC_MINUTE);
        w->alive = w->l.m.daemon == TASK_DAEMON_BEGUN && event.known && event.exit_code == 0 &&
                   !w->l.m.killed;
        tell(w, event);
        if (w->alive)
                assert_int_equal(w->l.m.daemon, TASK_DAEMON_LEFT);
}

static void tell_spawn(struct world *w)
{
        w->spawning = false;
        if (one_in(w, 5)) {
                tell(w, (struct task_event){ .type = TASK_EV_SPAWN_FAILED,
                                .unmet = one_in(w, 3),
                                .message = "no" });
                return;
        }
        if (one_in(w, 10)) { /* the agent died; the next one finds only how it ended */
                tell_exit(w);
                return;
        }
        w->alive = true;
        w->pid = 2 + (int32_t) below(w, 30000);
        tell(w, (struct task_event){ .type = TASK_EV_SPAWNED, .pid = w->pid });
}

/* What was told already, or does not fit: must do no harm. */
static void tell_stale(struct world *w)
{
        struct task_machine before = w->l.m;
        struct task_event event =
                (struct task_event){ .type = TASK_EV_EXITED, .known = true, .exit_code = 1 };

        if (one_in(w, 3))
                event = (struct task_event){ .type = TASK_EV_SPAWN_FAILED, .message = "no" };
        else if (w->alive || one_in(w, 2))
                event = (struct task_event){ .type = TASK_EV_SPAWNED, .pid = 7 };
        if (w->spawning)
                return;
        tell(w, event);
        assert_memory_equal(&before, &w->l.m, sizeof before);
        assert_int_equal(w->l.fx.notes_len, 0);
}

/* Something is heard of the run, true or not. */
static void tell_news(struct world *w)
{
        static const usec_t spans[] = { 0, 0, 0, 1, USEC_SEC, USEC_HOUR, 1000 * USEC_HOUR };
        struct task_event event = { .message = "status 500" };
        uint64_t which = below(w, 10);

        if (which == 0)
                event.type = TASK_EV_UNFIT;
        else if (which < 3)
                event.type = TASK_EV_HEALTH;
        else if (which < 5)
                event.type = TASK_EV_DEMAND;
        else if (which < 6)
                event = (struct task_event){ .type = TASK_EV_LISTENS,
                        .message = one_in(w, 2) ? "it is taken" : NULL };
        else
                event.type = TASK_EV_NOTICE;
        event.healthy = one_in(w, 2);
        event.notice = (struct task_notice){ .ready = one_in(w, 2),
                .stopping = one_in(w, 10),
                .alive = one_in(w, 2),
                .hung = one_in(w, 20),
                .watchdog = spans[below(w, ARRAY_SIZE(spans))],
                .extend = spans[below(w, ARRAY_SIZE(spans))],
                .status = one_in(w, 4) ? "all is well" : NULL };
        tell(w, event);
}

static void tell_boot(struct world *w)
{
        w->alive = w->spawning = w->dying = false;
        if (one_in(w, 2))
                w->l.now = 1 + below(w, USEC_SEC); /* the clock begins anew */
        tell(w, (struct task_event){ .type = TASK_EV_BOOT, .lapsed = one_in(w, 4) });
}

static void random_spec(struct world *w)
{
        static const usec_t delays[] = { 0, 1, USEC_SEC, USEC_MINUTE };
        static const usec_t graces[] = { 0, USEC_SEC, USEC_MINUTE };
        struct job_spec *spec = &w->l.spec;

        spec->restart.policy = (enum restart_policy) below(w, 3);
        spec->restart.delay = delays[below(w, ARRAY_SIZE(delays))];
        spec->restart.burst = (uint32_t) below(w, 5);
        spec->restart.healthy = delays[below(w, ARRAY_SIZE(delays))];
        spec->stop.grace = graces[below(w, ARRAY_SIZE(graces))];
        spec->stop.signal = one_in(w, 5) ? SIGKILL : SIGTERM;
        spec->start = one_in(w, 3) ? JOB_START_ON_DEMAND : JOB_START_NOW;
        spec->ready.notify = one_in(w, 2);
        spec->ready.deadline = delays[below(w, ARRAY_SIZE(delays))];
        spec->daemon.pid_file = one_in(w, 3) ? pid_file : NULL;
        spec->daemon.timeout = delays[1 + below(w, ARRAY_SIZE(delays) - 1)];
        spec->watchdog = delays[below(w, ARRAY_SIZE(delays))];
}

static void walk_on(struct world *w)
{
        struct task_machine *m = &w->l.m;

        w->l.now += one_in(w, 3) ? below(w, USEC_MINUTE) : below(w, USEC_SEC);
        switch (below(w, 12)) {
        case 0:
                if (one_in(w, 3))
                        random_spec(w);
                tell_desire(w);
                break;
        case 1:
                if (one_in(w, 8))
                        tell(w, (struct task_event){ .type = TASK_EV_HALT });
                break;
        case 2:
                if (one_in(w, m->halted ? 2 : 20))
                        tell_boot(w);
                break;
        case 3:
                tell_stale(w);
                break;
        case 6:
                tell_lease(w);
                break;
        case 7:
                tell_news(w);
                break;
        case 8:
                tell_found(w);
                break;
        case 4:
        case 5:
                if (m->deadline_mono != USEC_NEVER && one_in(w, 2))
                        w->l.now = MAX(w->l.now, m->deadline_mono);
                tell(w, (struct task_event){ .type = TASK_EV_TIMER }); /* or too early */
                break;
        default:
                if (one_in(w, w->l.m.daemon == TASK_DAEMON_LEFT || w->spawning ? 3 : 10))
                        tell_daemon(w);
                else if (w->spawning)
                        tell_spawn(w);
                else if (w->alive && one_in(w, w->dying ? 2 : 4))
                        tell_exit(w);
        }
}

/* However it came here: when the world behaves and a person asks once more, it runs. */
static void must_run_in_the_end(struct world *w)
{
        struct task_event ask = { .type = TASK_EV_DESIRE, .desire = w->l.m.desire };

        if (w->l.m.halted)
                tell_boot(w);
        ask.grant = w->l.m.grant;
        ask.desire.run = true;
        ask.desire.version++;
        ask.desire.generation++;
        tell(w, ask);
        for (int i = 0; w->l.m.state != TASK_RUNNING; i++) {
                assert_true(i < 6); /* end of the old run, a wish, a pause, spawn; nothing more */
                if (w->l.m.state == TASK_QUEUED && w->l.m.idle) {
                        tell(w, (struct task_event){ .type = TASK_EV_DEMAND });
                } else if (w->l.m.state == TASK_QUEUED) {
                        w->l.now = MAX(w->l.now, w->l.m.deadline_mono);
                        tell(w, (struct task_event){ .type = TASK_EV_TIMER });
                } else if (w->spawning) {
                        w->spawning = false;
                        w->alive = true;
                        w->pid = 5;
                        tell(w, (struct task_event){ .type = TASK_EV_SPAWNED, .pid = 5 });
                } else {
                        w->alive = false;
                        tell(w, (struct task_event){ .type = TASK_EV_EXITED,
                                        .known = true,
                                        .exit_code = 1,
                                        .whole = true });
                }
        }
        assert_int_equal(w->l.m.run_version, ask.desire.version);
}

/* The moves that the diagram in task.c shows, and no others; the walk must have made each. */
static const bool possible[TASK_STATE_COUNT][TASK_STATE_COUNT] = {
        [TASK_QUEUED] = { [TASK_QUEUED] = true, [TASK_STARTING] = true, [TASK_ENDED] = true },
        [TASK_STARTING] = { [TASK_STARTING] = true,
                [TASK_QUEUED] = true,
                [TASK_RUNNING] = true,
                [TASK_STOPPING] = true, /* by way of running */
                [TASK_ENDED] = true },
        [TASK_RUNNING] = { [TASK_RUNNING] = true,
                [TASK_QUEUED] = true,
                [TASK_STARTING] = true,
                [TASK_STOPPING] = true,
                [TASK_ENDED] = true },
        [TASK_STOPPING] = { [TASK_STOPPING] = true,
                [TASK_QUEUED] = true,
                [TASK_STARTING] = true,
                [TASK_ENDED] = true },
        [TASK_ENDED] = { [TASK_ENDED] = true, [TASK_QUEUED] = true, [TASK_STARTING] = true },
};

static void check_coverage(const struct world *w)
{
        for (unsigned from = 0; from < TASK_STATE_COUNT; from++) {
                for (unsigned to = 0; to < TASK_STATE_COUNT; to++)
                        if (possible[from][to] != (w->seen[from][to] > 0))
                                fail_msg("%s -> %s: %u times", task_state_names[from],
                                        task_state_names[to], w->seen[from][to]);
                for (unsigned type = 0; possible[from][from] && type <= TASK_EV_UNFIT; type++)
                        if (w->handled[from][type] == 0)
                                fail_msg("%s: event %u never came", task_state_names[from], type);
        }
}

static void test_random_walk(void **state)
{
        const char *given = getenv("REEVE_TEST_SEED");
        uint64_t seed = given != NULL ? strtoull(given, NULL, 0)
                                      : (uint64_t) time(NULL) * 2654435761u + (uint64_t) clock();
        struct world w = { .random = seed | 1 };

        (void) state;
        print_message("REEVE_TEST_SEED=%" PRIu64 "\n", seed);
        life_init(&w.l, RESTART_ALWAYS);
        w.l.now = USEC_HOUR;
        for (unsigned step = 1; step <= WALK_STEPS; step++) {
                walk_on(&w);
                if (step % 500 == 0)
                        must_run_in_the_end(&w);
                if (step % 1000 == 0) { /* another task; the books of moves go on */
                        life_init(&w.l, RESTART_ALWAYS);
                        w.l.now = USEC_HOUR;
                        random_spec(&w);
                        w.alive = w.spawning = w.dying = false;
                        w.runs = 0;
                }
        }
        check_coverage(&w);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_random_walk),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
