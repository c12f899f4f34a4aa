/* SPDX-License-Identifier: BSD-3-Clause */

/* The life of a task: a table of lives with the outcome of their last event, and checks that need
 * more than one line. test-task-walk.c goes where no table goes. */

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/macros.h"
#include "core/task.h"
#include "core/test-life.h"

#define PAUSE (1200 * USEC_MSEC) /* between two events of a life */

/* PAUSE later; a timer when it is due. */
static void feed(struct life *l, struct task_event event)
{
        if (event.type == TASK_EV_TIMER && l->m.deadline_mono != USEC_NEVER)
                feed_at(l, &event, l->m.deadline_mono);
        else
                feed_at(l, &event, l->now + PAUSE);
}

#define DESIRE(run_, version_, restart_version_, generation_)                                      \
        {                                                                                          \
                .type = TASK_EV_DESIRE, .desire = {                                                \
                        .run = (run_),                                                             \
                        .version = (version_),                                                     \
                        .restart_version = (restart_version_),                                     \
                        .generation = (generation_)                                                \
                }                                                                                  \
        }
#define RUN      DESIRE(true, 1, 1, 0)
#define DONT     DESIRE(false, 1, 1, 0)
#define IN_PLACE DESIRE(true, 2, 1, 0)
#define REPLACE  DESIRE(true, 3, 3, 0)
#define RERUN    DESIRE(true, 1, 1, 1)
#define SPAWNED                                                                                    \
        {                                                                                          \
                .type = TASK_EV_SPAWNED, .pid = 4711                                               \
        }
#define EXIT(code)                                                                                 \
        {                                                                                          \
                .type = TASK_EV_EXITED, .known = true, .exit_code = (code)                         \
        }
#define SIGNALED(sig)                                                                              \
        {                                                                                          \
                .type = TASK_EV_EXITED, .known = true, .exit_code = -1, .signal = (sig)            \
        }
#define UNSEEN                                                                                     \
        {                                                                                          \
                .type = TASK_EV_EXITED, .exit_code = -1                                            \
        }
#define UNSTARTED                                                                                  \
        {                                                                                          \
                .type = TASK_EV_SPAWN_FAILED,                                                      \
                .message = "cannot execute ./server: No such file or directory"                    \
        }
#define TIMER                                                                                      \
        {                                                                                          \
                .type = TASK_EV_TIMER                                                              \
        }
#define HALT                                                                                       \
        {                                                                                          \
                .type = TASK_EV_HALT                                                               \
        }
#define BOOT                                                                                       \
        {                                                                                          \
                .type = TASK_EV_BOOT                                                               \
        }
#define LAPSED                                                                                     \
        {                                                                                          \
                .type = TASK_EV_LEASE, .lapsed = true                                              \
        }
#define HELD                                                                                       \
        {                                                                                          \
                .type = TASK_EV_LEASE                                                              \
        }
#define FENCED(run_, fence_)                                                                       \
        {                                                                                          \
                .type = TASK_EV_DESIRE, .desire = { .run = (run_), .version = 1 }, .grant = {      \
                        .fence = (fence_)                                                          \
                }                                                                                  \
        }
#define FOUND                                                                                      \
        {                                                                                          \
                .type = TASK_EV_FOUND                                                              \
        }
#define EV(e) ((struct task_event) e)

/* ---- The table. Texts: `*` stands for one word (a delay that has jitter in it). */

#define STARTED_1    "task-started: run 1 started, pid 4711, version 1\n"
#define STOPPING_1   "task-stopping: stopping run 1 (TERM, grace period 10s): "
#define ENDED_1      "task-ended: run 1 ended: "
#define STOPPED      "task-stopped: stopped: was asked to stop\n"
#define BOTH_GONE    "exit status unknown because agent and keeper were both gone"
#define CANNOT       "cannot execute ./server: No such file or directory"
#define HANGS        "still lives 5s after KILL: the kernel does not let it end (uninterruptible wait)"
#define MAX_EVENTS   12
#define FAIL_TWICE   RUN, SPAWNED, EXIT(3), TIMER, SPAWNED, EXIT(3)
#define FAIL_3_TIMES FAIL_TWICE, TIMER, SPAWNED, EXIT(3)

#define LEASE_ENDS "its lease ends, the server has not been heard from"
#define LEASE_OVER "its lease is over: it waits until the server wants it here again"

enum tweak { AS_IT_IS, NO_DELAY, NO_GRACE, STOP_BY_KILL, ENDLESS_GRACE };

static const struct row {
        const char *name;
        enum restart_policy policy;
        enum tweak tweak;
        struct task_event events[MAX_EVENTS]; /* ended by a zeroed one */

        /* after the last event */
        enum task_state state;
        const char *reason;
        enum task_result result; /* in ENDED */
        bool spawn;
        int signal;
        usec_t due; /* from now, within 25 % in QUEUED, exact in STOPPING; 0: never */
        const char *notes;
        bool unchanged; /* seen from outside */
} rows[] = {
        /* Leases */
        { "lapsed while it runs", RESTART_ALWAYS, AS_IT_IS, { RUN, SPAWNED, LAPSED }, TASK_STOPPING,
                LEASE_ENDS, .signal = SIGTERM, .due = 10 * USEC_SEC,
                .notes = STOPPING_1 LEASE_ENDS "\n" },
        { "lapsed twice", RESTART_ALWAYS, AS_IT_IS, { RUN, SPAWNED, LAPSED, LAPSED }, TASK_STOPPING,
                LEASE_ENDS, .due = 10 * USEC_SEC - PAUSE, .unchanged = true },
        { "lapsed, then gone", RESTART_ALWAYS, AS_IT_IS, { RUN, SPAWNED, LAPSED, EXIT(0) },
                TASK_QUEUED, LEASE_OVER, .notes = ENDED_1 "exit code 0 after 3.6s\n" },
        { "lapsed, then held again", RESTART_ALWAYS, AS_IT_IS,
                { RUN, SPAWNED, LAPSED, EXIT(0), HELD }, TASK_STARTING, "runs again: was asked to",
                .spawn = true },
        { "lapsed, then wanted again", RESTART_ALWAYS, AS_IT_IS,
                { RUN, SPAWNED, LAPSED, EXIT(0), RUN }, TASK_STARTING, "runs again: was asked to",
                .spawn = true },
        { "lapsed, then placed anew", RESTART_ALWAYS, AS_IT_IS,
                { RUN, SPAWNED, LAPSED, EXIT(0), FENCED(true, 9) }, TASK_STARTING,
                "runs again: was placed here anew (fence 9)", .spawn = true },
        { "lapsed, then not wanted", RESTART_ALWAYS, AS_IT_IS,
                { RUN, SPAWNED, LAPSED, EXIT(0), DONT }, TASK_ENDED, "was asked to stop",
                .result = RESULT_STOPPED, .notes = STOPPED },
        { "held again before it was gone", RESTART_ALWAYS, AS_IT_IS,
                { RUN, SPAWNED, LAPSED, HELD, EXIT(0) }, TASK_STARTING, "runs again: was asked to",
                .spawn = true, .notes = ENDED_1 "exit code 0 after 4.8s\n" },
        { "held, as ever", RESTART_ALWAYS, AS_IT_IS, { RUN, SPAWNED, HELD }, TASK_RUNNING,
                "was asked to run", .unchanged = true },
        { "lapsed while it waits", RESTART_ALWAYS, AS_IT_IS, { RUN, SPAWNED, EXIT(3), LAPSED },
                TASK_QUEUED, .reason = LEASE_OVER },
        { "lapsed while it is spawned: remembered", RESTART_ALWAYS, AS_IT_IS,
                { RUN, LAPSED, UNSTARTED }, TASK_QUEUED, LEASE_OVER,
                .notes = "task-ended: run 1 could not begin: " CANNOT "\n" },
        { "lapsed, nobody has asked for it", RESTART_ALWAYS, AS_IT_IS, { LAPSED }, TASK_QUEUED,
                "nobody has asked for it yet", .unchanged = true },
        { "lapsed when it has ended", RESTART_ON_FAILURE, AS_IT_IS,
                { RUN, SPAWNED, EXIT(0), LAPSED }, TASK_ENDED,
                "exit code 0 is a success, and policy on-failure restarts only failures",
                .result = RESULT_SUCCEEDED, .unchanged = true },
        { "lapsed, then the node goes down", RESTART_ALWAYS, AS_IT_IS,
                { RUN, SPAWNED, LAPSED, HALT, HELD, EXIT(0) }, TASK_QUEUED, "the node went down",
                .notes = ENDED_1 "exit code 0 after 6s\n" },
        { "a boot without the server", RESTART_ALWAYS, AS_IT_IS,
                { RUN, SPAWNED, { .type = TASK_EV_BOOT, .lapsed = true } }, TASK_QUEUED, LEASE_OVER,
                .notes = ENDED_1 "exit status unknown, the machine was started anew\n" },
        { "placed here anew while it runs", RESTART_ALWAYS, AS_IT_IS,
                { FENCED(true, 3), SPAWNED, FENCED(true, 4) }, TASK_STOPPING,
                "was placed here anew (fence 4)", .signal = SIGTERM, .due = 10 * USEC_SEC,
                .notes = STOPPING_1 "was placed here anew (fence 4)\n" },
        { "the same fence again", RESTART_ALWAYS, AS_IT_IS,
                { FENCED(true, 3), SPAWNED, FENCED(true, 3) }, TASK_RUNNING, "was asked to run",
                .unchanged = true },
        /* Desires */
        { "never wanted", RESTART_ALWAYS, AS_IT_IS, { DONT }, TASK_ENDED, "was asked to stop",
                .result = RESULT_STOPPED, .notes = STOPPED },
        { "wanted", RESTART_ALWAYS, AS_IT_IS, { RUN }, TASK_STARTING, "was asked to run",
                .spawn = true },
        { "wanted twice", RESTART_ALWAYS, AS_IT_IS, { RUN, RUN }, TASK_STARTING, "was asked to run",
                .unchanged = true },
        { "spawned", RESTART_ALWAYS, AS_IT_IS, { RUN, SPAWNED }, TASK_RUNNING, "was asked to run",
                .notes = STARTED_1 },
        { "spawned twice", RESTART_ALWAYS, AS_IT_IS, { RUN, SPAWNED, SPAWNED }, TASK_RUNNING,
                "was asked to run", .unchanged = true },
        { "same desire while it runs", RESTART_ALWAYS, AS_IT_IS, { RUN, SPAWNED, RUN },
                TASK_RUNNING, "was asked to run", .unchanged = true },
        { "version taken in place", RESTART_ALWAYS, AS_IT_IS, { RUN, SPAWNED, IN_PLACE },
                TASK_RUNNING, .reason = "was asked to run" },
        { "stop", RESTART_ALWAYS, AS_IT_IS, { RUN, SPAWNED, DONT }, TASK_STOPPING,
                "was asked to stop", .signal = SIGTERM, .due = 10 * USEC_SEC,
                .notes = STOPPING_1 "was asked to stop\n" },
        { "stop asked twice", RESTART_ALWAYS, AS_IT_IS, { RUN, SPAWNED, DONT, DONT }, TASK_STOPPING,
                "was asked to stop", .due = 10 * USEC_SEC - PAUSE, .unchanged = true },
        { "stop without grace", RESTART_ALWAYS, NO_GRACE, { RUN, SPAWNED, DONT }, TASK_STOPPING,
                "was asked to stop", .signal = SIGKILL, .due = 5 * USEC_SEC,
                .notes = "task-stopping: stopping run 1 (KILL at once): was asked to stop\n" },
        { "stop by KILL", RESTART_ALWAYS, STOP_BY_KILL, { RUN, SPAWNED, DONT }, TASK_STOPPING,
                "was asked to stop", .signal = SIGKILL, .due = 5 * USEC_SEC,
                .notes = "task-stopping: stopping run 1 (KILL at once): was asked to stop\n" },
        { "stop that waits for ever", RESTART_ALWAYS, ENDLESS_GRACE, { RUN, SPAWNED, DONT },
                TASK_STOPPING, "was asked to stop", .signal = SIGTERM,
                .notes = "task-stopping: stopping run 1 (TERM, grace period never): was asked to "
                         "stop\n" },
        { "stop while it is spawned: remembered", RESTART_ALWAYS, AS_IT_IS, { RUN, DONT },
                TASK_STARTING, .reason = "was asked to run" },
        { "stop while it was spawned", RESTART_ALWAYS, AS_IT_IS, { RUN, DONT, SPAWNED },
                TASK_STOPPING, "was asked to stop", .signal = SIGTERM, .due = 10 * USEC_SEC,
                .notes = STARTED_1 STOPPING_1 "was asked to stop\n" },
        { "stop while it could not be spawned", RESTART_ALWAYS, AS_IT_IS, { RUN, DONT, UNSTARTED },
                TASK_ENDED, "was asked to stop", .result = RESULT_STOPPED,
                .notes = "task-ended: run 1 could not begin: " CANNOT "\n" STOPPED },
        { "stop and run again while it is spawned", RESTART_ALWAYS, AS_IT_IS,
                { RUN, DONT, RUN, SPAWNED }, TASK_RUNNING, "was asked to run", .notes = STARTED_1 },
        { "restart", RESTART_ALWAYS, AS_IT_IS, { RUN, SPAWNED, RERUN }, TASK_STOPPING,
                "a restart was asked for", .signal = SIGTERM, .due = 10 * USEC_SEC,
                .notes = STOPPING_1 "a restart was asked for\n" },
        { "restart, its end", RESTART_NEVER, AS_IT_IS, { RUN, SPAWNED, RERUN, EXIT(3) },
                TASK_STARTING, "runs again: a restart was asked for", .spawn = true,
                .notes = ENDED_1 "exit code 3 after 3.6s\n" },
        { "restart, then stop", RESTART_ALWAYS, AS_IT_IS,
                { RUN, SPAWNED, RERUN, DESIRE(false, 1, 1, 1) }, TASK_STOPPING, "was asked to stop",
                .due = 10 * USEC_SEC - PAUSE },
        { "restart while it is spawned", RESTART_ALWAYS, AS_IT_IS, { RUN, RERUN, SPAWNED },
                TASK_STOPPING, "a restart was asked for", .signal = SIGTERM, .due = 10 * USEC_SEC,
                .notes = STARTED_1 STOPPING_1 "a restart was asked for\n" },
        { "restart while it could not be spawned", RESTART_ALWAYS, AS_IT_IS,
                { RUN, RERUN, UNSTARTED }, TASK_STARTING, "runs again: a restart was asked for",
                .spawn = true, .notes = "task-ended: run 1 could not begin: " CANNOT "\n" },
        { "an older generation comes late", RESTART_ALWAYS, AS_IT_IS, { RERUN, SPAWNED, RUN },
                TASK_RUNNING, .reason = "was asked to run" },
        { "version that replaces", RESTART_ALWAYS, AS_IT_IS, { RUN, SPAWNED, REPLACE },
                TASK_STOPPING, "version 3 replaces version 1", .signal = SIGTERM,
                .due = 10 * USEC_SEC, .notes = STOPPING_1 "version 3 replaces version 1\n" },
        { "version that replaces, its end", RESTART_ALWAYS, AS_IT_IS,
                { RUN, SPAWNED, REPLACE, SIGNALED(SIGTERM) }, TASK_STARTING,
                "runs again: version 3 replaces version 1", .spawn = true,
                .notes = ENDED_1 "killed by TERM after 3.6s\n" },
        { "run again while it stops", RESTART_ALWAYS, AS_IT_IS, { RUN, SPAWNED, DONT, RUN },
                TASK_STOPPING, "was asked to stop, then to run again",
                .due = 10 * USEC_SEC - PAUSE },
        { "run again while it stops, its end", RESTART_ALWAYS, AS_IT_IS,
                { RUN, SPAWNED, DONT, RUN, EXIT(0) }, TASK_STARTING, "runs again: was asked to",
                .spawn = true, .notes = ENDED_1 "exit code 0 after 4.8s\n" },
        { "stopped", RESTART_ALWAYS, AS_IT_IS, { RUN, SPAWNED, DONT, SIGNALED(SIGTERM) },
                TASK_ENDED, "was asked to stop", .result = RESULT_STOPPED,
                .notes = ENDED_1 "killed by TERM after 3.6s\n" STOPPED },
        { "stopped, nobody saw how", RESTART_ALWAYS, AS_IT_IS, { RUN, SPAWNED, DONT, UNSEEN },
                TASK_ENDED, "was asked to stop", .result = RESULT_STOPPED,
                .notes = ENDED_1 BOTH_GONE "\n" STOPPED },
        { "stopped, told again", RESTART_ALWAYS, AS_IT_IS, { RUN, SPAWNED, DONT, EXIT(0), EXIT(0) },
                TASK_ENDED, "was asked to stop", .result = RESULT_STOPPED, .unchanged = true },
        { "stopped and wanted again", RESTART_ALWAYS, AS_IT_IS,
                { RUN, SPAWNED, DONT, EXIT(0), RUN }, TASK_STARTING, "runs again: was asked to",
                .spawn = true },
        { "never ran, and wanted now", RESTART_ALWAYS, AS_IT_IS, { DONT, RUN }, TASK_STARTING,
                "was asked to run", .spawn = true },
        { "stopped, its version changes", RESTART_ALWAYS, AS_IT_IS,
                { RUN, SPAWNED, DONT, EXIT(0), DESIRE(false, 3, 3, 0) }, TASK_ENDED,
                "was asked to stop", .result = RESULT_STOPPED },

        /* The end of the grace period */
        { "grace period not over", RESTART_ALWAYS, ENDLESS_GRACE, { RUN, SPAWNED, DONT, TIMER },
                TASK_STOPPING, "was asked to stop", .unchanged = true },
        { "grace period over", RESTART_ALWAYS, AS_IT_IS, { RUN, SPAWNED, DONT, TIMER },
                TASK_STOPPING, "was asked to stop; the grace period of 10s is over, killed",
                .signal = SIGKILL, .due = 5 * USEC_SEC,
                .notes = "task-stopping: the grace period of 10s is over: killing the group of run "
                         "1\n" },
        { "killed, its end", RESTART_ALWAYS, AS_IT_IS,
                { RUN, SPAWNED, DONT, TIMER, SIGNALED(SIGKILL) }, TASK_ENDED, "was asked to stop",
                .result = RESULT_STOPPED, .notes = ENDED_1 "killed by KILL after 13s\n" STOPPED },
        { "killed for a restart, its end", RESTART_ALWAYS, AS_IT_IS,
                { RUN, SPAWNED, RERUN, TIMER, SIGNALED(SIGKILL) }, TASK_STARTING,
                "runs again: a restart was asked for", .spawn = true,
                .notes = ENDED_1 "killed by KILL after 13s\n" },
        { "KILL does not help", RESTART_ALWAYS, AS_IT_IS, { RUN, SPAWNED, DONT, TIMER, TIMER },
                TASK_STOPPING, HANGS, .signal = SIGKILL, .due = 5 * USEC_SEC,
                .notes = "task-stopping: run 1 " HANGS "\n" },

        /* The agent was killed, and the next one finds the process */
        { "found while it runs", RESTART_ALWAYS, AS_IT_IS, { RUN, SPAWNED, FOUND }, TASK_RUNNING,
                "was asked to run", .unchanged = true },
        { "found while it stops", RESTART_ALWAYS, AS_IT_IS, { RUN, SPAWNED, DONT, FOUND },
                TASK_STOPPING, "was asked to stop", .due = 10 * USEC_SEC - PAUSE,
                .unchanged = true },
        { "found, and KILL may be lost", RESTART_ALWAYS, NO_GRACE, { RUN, SPAWNED, LAPSED, FOUND },
                TASK_STOPPING, LEASE_ENDS, .signal = SIGKILL, .due = 5 * USEC_SEC - PAUSE,
                .unchanged = true },

        /* Ends that nobody asked for */
        { "service fails", RESTART_ALWAYS, AS_IT_IS, { RUN, SPAWNED, EXIT(3) }, TASK_QUEUED,
                "waits * after exit code 3 (first failure)", .due = USEC_SEC,
                .notes = ENDED_1 "exit code 3 after 2.4s\ntask-waiting: waits * after exit code 3 "
                                 "(first failure)\n" },
        { "service ends well", RESTART_ALWAYS, AS_IT_IS, { RUN, SPAWNED, EXIT(0) }, TASK_QUEUED,
                "waits * after exit code 0", .due = USEC_SEC,
                .notes = ENDED_1
                "exit code 0 after 2.4s\ntask-waiting: waits * after exit code 0\n" },
        { "service is killed", RESTART_ALWAYS, AS_IT_IS, { RUN, SPAWNED, SIGNALED(SIGKILL) },
                TASK_QUEUED, "waits * after signal KILL (first failure)", .due = USEC_SEC,
                .notes = ENDED_1 "killed by KILL after 2.4s\ntask-waiting: waits * after signal "
                                 "KILL (first failure)\n" },
        { "service ends unseen", RESTART_ALWAYS, AS_IT_IS, { RUN, SPAWNED, UNSEEN }, TASK_QUEUED,
                "waits * after the first failure: " BOTH_GONE, .due = USEC_SEC,
                .notes = ENDED_1 BOTH_GONE
                "\ntask-waiting: waits * after the first failure: " BOTH_GONE "\n" },
        { "spawn fails", RESTART_ALWAYS, AS_IT_IS, { RUN, UNSTARTED }, TASK_QUEUED,
                "waits * after the first failure: " CANNOT, .due = USEC_SEC,
                .notes = "task-ended: run 1 could not begin: " CANNOT
                         "\ntask-waiting: waits * after the first failure: " CANNOT "\n" },
        { "spawn fails, batch that is not tried again", RESTART_NEVER, AS_IT_IS, { RUN, UNSTARTED },
                TASK_ENDED, CANNOT ", and policy never does not restart", .result = RESULT_FAILED,
                .notes = "task-ended: run 1 could not begin: " CANNOT "\n" },
        { "end of a run whose start was not told", RESTART_ALWAYS, AS_IT_IS, { RUN, EXIT(3) },
                TASK_QUEUED, "waits * after exit code 3 (first failure)", .due = USEC_SEC,
                .notes = ENDED_1 "exit code 3 after 1.2s\ntask-waiting: waits * after exit code 3 "
                                 "(first failure)\n" },
        { "end of a run whose start was not told, stop wanted", RESTART_ALWAYS, AS_IT_IS,
                { RUN, DONT, EXIT(3) }, TASK_ENDED, "was asked to stop", .result = RESULT_STOPPED,
                .notes = ENDED_1 "exit code 3 after 2.4s\n" STOPPED },
        { "at once", RESTART_ALWAYS, NO_DELAY, { RUN, SPAWNED, SIGNALED(SIGKILL) }, TASK_STARTING,
                "runs again after signal KILL (first failure)", .spawn = true,
                .notes = ENDED_1 "killed by KILL after 2.4s\n" },
        { "at once, second time", RESTART_ALWAYS, NO_DELAY,
                { RUN, SPAWNED, EXIT(3), SPAWNED, EXIT(3) }, TASK_STARTING,
                "runs again after exit code 3 (failure 2 in a row)", .spawn = true,
                .notes = "task-ended: run 2 ended: exit code 3 after 2.4s\n" },
        { "spawn fails, no delay", RESTART_ALWAYS, NO_DELAY, { RUN, UNSTARTED }, TASK_QUEUED,
                "waits 100ms after the first failure: " CANNOT, .due = 100 * USEC_MSEC,
                .notes = "task-ended: run 1 could not begin: " CANNOT
                         "\ntask-waiting: waits 100ms after the first failure: " CANNOT "\n" },
        { "batch succeeds", RESTART_ON_FAILURE, AS_IT_IS, { RUN, SPAWNED, EXIT(0) }, TASK_ENDED,
                "exit code 0 is a success, and policy on-failure restarts only failures",
                .result = RESULT_SUCCEEDED, .notes = ENDED_1 "exit code 0 after 2.4s\n" },
        { "batch fails once", RESTART_NEVER, AS_IT_IS, { RUN, SPAWNED, EXIT(3) }, TASK_ENDED,
                "exit code 3, and policy never does not restart", .result = RESULT_FAILED,
                .notes = ENDED_1 "exit code 3 after 2.4s\n" },
        { "batch ends unseen", RESTART_NEVER, AS_IT_IS, { RUN, SPAWNED, UNSEEN }, TASK_ENDED,
                BOTH_GONE ", and policy never does not restart", .result = RESULT_UNKNOWN,
                .notes = ENDED_1 BOTH_GONE "\n" },
        { "a rule ends it", RESTART_ALWAYS, AS_IT_IS, { RUN, SPAWNED, EXIT(9) }, TASK_ENDED,
                "exit code 9, and a restart rule says to end then", .result = RESULT_FAILED,
                .notes = ENDED_1 "exit code 9 after 2.4s\n" },

        /* Waiting */
        { "the wait is over", RESTART_ALWAYS, AS_IT_IS, { RUN, SPAWNED, EXIT(3), TIMER },
                TASK_STARTING, "runs again after exit code 3 (first failure)", .spawn = true },
        { "second failure", RESTART_ALWAYS, AS_IT_IS, { FAIL_TWICE }, TASK_QUEUED,
                "waits * after exit code 3 (failure 2 in a row)", .due = 2 * USEC_SEC,
                .notes = "task-ended: run 2 ended: exit code 3 after 2.4s\ntask-waiting: waits * "
                         "after exit code 3 (failure 2 in a row)\n" },
        { "parked", RESTART_ALWAYS, AS_IT_IS, { FAIL_3_TIMES }, TASK_ENDED,
                "parked, `reeve restart web.0` takes it up again: 3 failures within 1m, the last "
                "one: exit code 3",
                .result = RESULT_FAILED,
                .notes = "task-ended: run 3 ended: exit code 3 after 2.4s\ntask-parked: parked, "
                         "`reeve restart web.0` takes it up again: 3 failures within 1m, the last "
                         "one: exit code 3\n" },
        { "parked by spawns that fail", RESTART_ALWAYS, AS_IT_IS,
                { RUN, UNSTARTED, TIMER, UNSTARTED, TIMER, UNSTARTED }, TASK_ENDED,
                "parked, `reeve restart web.0` takes it up again: 3 failures within 1m, the last "
                "one: " CANNOT,
                .result = RESULT_FAILED,
                .notes = "task-ended: run 3 could not begin: " CANNOT
                         "\ntask-parked: parked, `reeve restart web.0` takes it up again: 3 "
                         "failures within 1m, the last one: " CANNOT "\n" },
        { "restart while it waits", RESTART_ALWAYS, AS_IT_IS, { RUN, SPAWNED, EXIT(3), RERUN },
                TASK_STARTING, "runs again: a restart was asked for", .spawn = true },
        { "new version while it waits", RESTART_ALWAYS, AS_IT_IS,
                { RUN, SPAWNED, EXIT(3), REPLACE }, TASK_STARTING,
                "runs again: version 3 replaces version 1", .spawn = true },
        { "stop while it waits", RESTART_ALWAYS, AS_IT_IS, { RUN, SPAWNED, EXIT(3), DONT },
                TASK_ENDED, "was asked to stop", .result = RESULT_STOPPED, .notes = STOPPED },

        /* After the end */
        { "succeeded, same desire", RESTART_ON_FAILURE, AS_IT_IS, { RUN, SPAWNED, EXIT(0), RUN },
                TASK_ENDED,
                "exit code 0 is a success, and policy on-failure restarts only failures",
                .result = RESULT_SUCCEEDED, .unchanged = true },
        { "succeeded, stopped, wanted", RESTART_ON_FAILURE, AS_IT_IS,
                { RUN, SPAWNED, EXIT(0), DONT, RUN }, TASK_ENDED,
                "exit code 0 is a success, and policy on-failure restarts only failures",
                .result = RESULT_SUCCEEDED },
        { "succeeded, version in place", RESTART_ON_FAILURE, AS_IT_IS,
                { RUN, SPAWNED, EXIT(0), IN_PLACE }, TASK_ENDED,
                "exit code 0 is a success, and policy on-failure restarts only failures",
                .result = RESULT_SUCCEEDED },
        { "succeeded, new version", RESTART_ON_FAILURE, AS_IT_IS,
                { RUN, SPAWNED, EXIT(0), REPLACE }, TASK_STARTING,
                "runs again: version 3 replaces version 1", .spawn = true },
        { "succeeded, restart", RESTART_ON_FAILURE, AS_IT_IS, { RUN, SPAWNED, EXIT(0), RERUN },
                TASK_STARTING, "runs again: a restart was asked for", .spawn = true },
        { "parked, same desire", RESTART_ALWAYS, AS_IT_IS, { FAIL_3_TIMES, RUN }, TASK_ENDED,
                "parked, `reeve restart web.0` takes it up again: 3 failures within 1m, the last "
                "one: exit code 3",
                .result = RESULT_FAILED, .unchanged = true },
        { "parked, restart", RESTART_ALWAYS, AS_IT_IS, { FAIL_3_TIMES, RERUN }, TASK_STARTING,
                "runs again: a restart was asked for", .spawn = true },
        { "ended, timer", RESTART_NEVER, AS_IT_IS, { RUN, SPAWNED, EXIT(0), TIMER }, TASK_ENDED,
                "exit code 0, and policy never does not restart", .result = RESULT_SUCCEEDED,
                .unchanged = true },

        /* The node goes down, and is back */
        { "halt", RESTART_ALWAYS, AS_IT_IS, { RUN, SPAWNED, HALT }, TASK_STOPPING,
                "the node goes down", .signal = SIGTERM, .due = 10 * USEC_SEC,
                .notes = STOPPING_1 "the node goes down\n" },
        { "halt twice", RESTART_ALWAYS, AS_IT_IS, { RUN, SPAWNED, HALT, HALT }, TASK_STOPPING,
                "the node goes down", .due = 10 * USEC_SEC - PAUSE, .unchanged = true },
        { "halt, its end", RESTART_ALWAYS, AS_IT_IS, { RUN, SPAWNED, HALT, SIGNALED(SIGTERM) },
                TASK_QUEUED, "the node went down", .notes = ENDED_1 "killed by TERM after 3.6s\n" },
        { "halt while it is spawned", RESTART_ALWAYS, AS_IT_IS, { RUN, HALT, SPAWNED },
                TASK_STOPPING, "the node goes down", .signal = SIGTERM, .due = 10 * USEC_SEC,
                .notes = STARTED_1 STOPPING_1 "the node goes down\n" },
        { "halt while it could not be spawned", RESTART_ALWAYS, AS_IT_IS, { RUN, HALT, UNSTARTED },
                TASK_QUEUED, "the node went down",
                .notes = "task-ended: run 1 could not begin: " CANNOT "\n" },
        { "halt while it waits", RESTART_ALWAYS, AS_IT_IS, { RUN, SPAWNED, EXIT(3), HALT },
                TASK_QUEUED, .reason = "the node went down" },
        { "halt, and its wait does not end", RESTART_ALWAYS, AS_IT_IS,
                { RUN, SPAWNED, EXIT(3), HALT, TIMER }, TASK_QUEUED, "the node went down",
                .unchanged = true },
        { "halt while it stops for a restart", RESTART_ALWAYS, AS_IT_IS,
                { RUN, SPAWNED, RERUN, HALT }, TASK_STOPPING, "the node goes down",
                .due = 10 * USEC_SEC - PAUSE },
        { "halt while it stops for good", RESTART_ALWAYS, AS_IT_IS,
                { RUN, SPAWNED, DONT, HALT, EXIT(0) }, TASK_ENDED, "was asked to stop",
                .result = RESULT_STOPPED, .notes = ENDED_1 "exit code 0 after 4.8s\n" STOPPED },
        { "halt after the end", RESTART_NEVER, AS_IT_IS, { RUN, SPAWNED, EXIT(0), HALT },
                TASK_ENDED, "exit code 0, and policy never does not restart",
                .result = RESULT_SUCCEEDED, .unchanged = true },
        { "halt, then wanted again", RESTART_NEVER, AS_IT_IS,
                { RUN, SPAWNED, EXIT(0), HALT, RERUN }, TASK_QUEUED,
                .reason = "the node goes down" },
        { "halt, then not wanted", RESTART_ALWAYS, AS_IT_IS, { RUN, SPAWNED, HALT, EXIT(0), DONT },
                TASK_ENDED, "was asked to stop", .result = RESULT_STOPPED, .notes = STOPPED },
        { "halt before it is wanted", RESTART_ALWAYS, AS_IT_IS, { HALT, RUN }, TASK_QUEUED,
                .reason = "the node went down" },
        { "halt before it is wanted, back", RESTART_ALWAYS, AS_IT_IS, { HALT, RUN, BOOT },
                TASK_STARTING, "was asked to run", .spawn = true },
        { "halt, restart, new version", RESTART_ALWAYS, AS_IT_IS,
                { RUN, SPAWNED, HALT, EXIT(0), REPLACE }, TASK_QUEUED,
                .reason = "the node went down" },
        { "back", RESTART_ALWAYS, AS_IT_IS, { RUN, SPAWNED, HALT, EXIT(0), BOOT }, TASK_STARTING,
                "runs again: the node went down", .spawn = true },
        { "back, it was a batch", RESTART_NEVER, AS_IT_IS, { RUN, SPAWNED, HALT, EXIT(0), BOOT },
                TASK_STARTING, "runs again: the node went down", .spawn = true },
        { "back, it was waiting", RESTART_ALWAYS, AS_IT_IS, { RUN, SPAWNED, EXIT(3), HALT, BOOT },
                TASK_STARTING, "runs again: the node went down", .spawn = true },
        { "back, its end was not seen", RESTART_ALWAYS, AS_IT_IS, { RUN, SPAWNED, HALT, BOOT },
                TASK_STARTING, "runs again: the node went down", .spawn = true,
                .notes = ENDED_1 "exit status unknown, the node went down\n" },
        { "back after the end", RESTART_NEVER, AS_IT_IS, { RUN, SPAWNED, EXIT(0), HALT, BOOT },
                TASK_ENDED, "exit code 0, and policy never does not restart",
                .result = RESULT_SUCCEEDED, .unchanged = true },
        { "boot", RESTART_NEVER, AS_IT_IS, { RUN, SPAWNED, BOOT }, TASK_STARTING,
                "runs again: the machine was started anew", .spawn = true,
                .notes = ENDED_1 "exit status unknown, the machine was started anew\n" },
        { "boot while it is spawned", RESTART_ALWAYS, AS_IT_IS, { RUN, BOOT }, TASK_STARTING,
                "runs again: the machine was started anew", .spawn = true,
                .notes = ENDED_1 "exit status unknown, the machine was started anew\n" },
        { "boot while it stops", RESTART_ALWAYS, AS_IT_IS, { RUN, SPAWNED, DONT, BOOT }, TASK_ENDED,
                "was asked to stop", .result = RESULT_STOPPED,
                .notes = ENDED_1 "exit status unknown, the machine was started anew\n" STOPPED },
        { "boot while it waits", RESTART_ALWAYS, AS_IT_IS, { RUN, SPAWNED, EXIT(3), BOOT },
                TASK_STARTING, "runs again after exit code 3 (first failure)", .spawn = true },
        { "boot after the end", RESTART_NEVER, AS_IT_IS, { RUN, SPAWNED, EXIT(3), BOOT },
                TASK_ENDED, "exit code 3, and policy never does not restart",
                .result = RESULT_FAILED, .unchanged = true },
        { "boot before anybody asked", RESTART_ALWAYS, AS_IT_IS, { BOOT }, TASK_QUEUED,
                "nobody has asked for it yet", .unchanged = true },
};

/* True if @text is @pattern with a word for each `*`. */
static bool matches(const char *pattern, const char *text)
{
        for (; *pattern != '\0'; pattern++) {
                if (*pattern != '*') {
                        if (*text++ != *pattern)
                                return false;
                        continue;
                }
                if (*text == ' ' || *text == '\0')
                        return false;
                while (*text != ' ' && *text != '\0')
                        text++;
        }
        return *text == '\0';
}

static void check_text(const char *name, const char *want, const char *got)
{
        if (!matches(want, got))
                fail_msg("%s:\nexpected: %s\n     got: %s", name, want, got);
}

static void notes_text(const struct task_effects *fx, char *text, size_t size)
{
        size_t len = 0;

        text[0] = '\0';
        for (unsigned i = 0; i < fx->notes_len; i++)
                len += (size_t) snprintf(text + len, size - len, "%s: %s\n",
                        event_kind_names[fx->notes[i].kind], fx->notes[i].message);
}

static void check_due(const struct row *row, const struct life *l)
{
        usec_t due = l->m.deadline_mono == USEC_NEVER ? 0 : l->m.deadline_mono - l->now;

        if (row->state == TASK_QUEUED && row->due != 0) {
                assert_in_range(due, row->due * 75 / 100, row->due * 125 / 100);
                assert_int_equal(l->m.next_run_wall, WALL + l->now + due);
                return;
        }
        assert_int_equal(due, row->due);
        assert_int_equal(l->m.next_run_wall, 0);
}

static void check_row(const struct row *row, const struct life *l)
{
        char notes[TASK_NOTES_MAX * sizeof l->fx.notes[0]];

        notes_text(&l->fx, notes, sizeof notes);
        if (l->m.state != row->state)
                fail_msg("%s: state is %s (%s)", row->name, task_state_names[l->m.state],
                        l->m.reason);
        check_text(row->name, row->reason, l->m.reason);
        check_text(row->name, row->notes != NULL ? row->notes : "", notes);
        if (l->fx.spawn != row->spawn || l->fx.signal != row->signal ||
                l->fx.changed == row->unchanged)
                fail_msg("%s: spawn %d, signal %d, changed %d", row->name, l->fx.spawn,
                        l->fx.signal, l->fx.changed);
        check_due(row, l);
        assert_int_equal(l->m.result, row->state == TASK_ENDED ? row->result : RESULT_NONE);
        assert_int_equal(
                l->m.pid, row->state == TASK_RUNNING || row->state == TASK_STOPPING ? 4711 : 0);
}

static void tweak_spec(struct job_spec *spec, enum tweak tweak)
{
        if (tweak == NO_DELAY)
                spec->restart.delay = 0;
        else if (tweak == NO_GRACE)
                spec->stop.grace = 0;
        else if (tweak == STOP_BY_KILL)
                spec->stop.signal = SIGKILL;
        else if (tweak == ENDLESS_GRACE)
                spec->stop.grace = USEC_NEVER;
}

static bool is_event(const struct task_event *event)
{
        return event->type != TASK_EV_DESIRE || event->desire.version != 0;
}

static void test_table(void **state)
{
        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                struct life l;

                life_init(&l, rows[i].policy);
                tweak_spec(&l.spec, rows[i].tweak);
                for (const struct task_event *e = rows[i].events; is_event(e); e++)
                        feed(&l, *e);
                check_row(&rows[i], &l);
        }
}

/* ---- Counters and what is kept */

static void test_history_of_runs(void **state)
{
        struct life l;

        (void) state;
        life_init(&l, RESTART_ON_FAILURE);
        assert_int_equal(l.m.exit_code, -1);
        feed(&l, EV(RUN));
        assert_int_equal(l.m.runs, 1);
        assert_int_equal(l.m.run_version, 1);
        assert_int_equal(l.m.started_wall, WALL + l.now);
        feed(&l, EV(SPAWNED));
        feed(&l, EV(EXIT(3)));
        assert_int_equal(l.m.exit_code, 3);
        assert_int_equal(l.m.restarts, 0); /* not before it begins */
        feed(&l, EV(TIMER));
        feed(&l, EV(SPAWNED));
        assert_int_equal(l.m.exit_code, 3); /* of the last run that ended */
        assert_int_equal(l.m.runs, 2);
        assert_int_equal(l.m.restarts, 1);
        feed(&l, EV(SIGNALED(SIGKILL)));
        assert_int_equal(l.m.exit_code, -1);
        assert_int_equal(l.m.signal, SIGKILL);
        assert_int_equal(l.m.failures, 2);
        feed(&l, EV(RERUN)); /* while it waits */
        feed(&l, EV(SPAWNED));
        assert_int_equal(l.m.runs, 3);
        assert_int_equal(l.m.restarts, 1); /* a person's, not the policy's */
        assert_int_equal(l.m.failures, 0);
        assert_int_equal(l.m.signal, SIGKILL);
        feed(&l, EV(EXIT(0)));
        assert_int_equal(l.m.exit_code, 0);
        assert_int_equal(l.m.signal, 0);
        assert_int_equal(l.m.result, RESULT_SUCCEEDED);
}

static void test_since(void **state)
{
        struct life l;
        usec_t since;

        (void) state;
        life_init(&l, RESTART_ALWAYS);
        feed(&l, EV(RUN));
        feed(&l, EV(SPAWNED));
        since = l.m.since_wall;
        assert_int_equal(since, WALL + l.now);
        feed(&l, EV(IN_PLACE));
        assert_int_equal(l.m.since_wall, since);
        feed(&l, EV(DONT));
        since = l.m.since_wall;
        assert_int_equal(since, WALL + l.now);
        feed(&l, EV(TIMER)); /* killed, still stopping */
        assert_int_equal(l.m.since_wall, since);
}

static void test_replacement_forgets_failures(void **state)
{
        static const struct task_event replacing[] = { RERUN, REPLACE };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(replacing); i++) {
                struct life l;

                life_init(&l, RESTART_ALWAYS);
                feed(&l, EV(RUN));
                feed(&l, EV(SPAWNED));
                feed(&l, EV(EXIT(3)));
                feed(&l, EV(TIMER));
                feed(&l, EV(SPAWNED));
                assert_int_equal(l.m.failures, 1);
                feed(&l, replacing[i]);
                feed(&l, EV(EXIT(3)));
                assert_int_equal(l.m.state, TASK_STARTING);
                assert_int_equal(l.m.failures, 0);
                assert_int_equal(l.m.burst_count, 0);
                assert_int_equal(l.m.restarts, 1);
                assert_int_equal(l.m.runs, 3);
                assert_int_equal(l.m.run_version, replacing[i].desire.version);
                assert_int_equal(l.m.run_generation, replacing[i].desire.generation);
        }
}

static void test_parked_starts_afresh(void **state)
{
        static const struct task_event events[] = { FAIL_3_TIMES };
        struct life l;

        (void) state;
        life_init(&l, RESTART_ALWAYS);
        for (size_t i = 0; i < ARRAY_SIZE(events); i++)
                feed(&l, events[i]);
        assert_true(l.m.parked);
        assert_int_equal(l.m.failures, 3);
        feed(&l, EV(RERUN));
        assert_false(l.m.parked);
        feed(&l, EV(SPAWNED));
        feed(&l, EV(EXIT(3)));
        assert_int_equal(l.m.state, TASK_QUEUED);
        assert_int_equal(l.m.failures, 1);
        assert_int_equal(l.m.burst_count, 1);
}

/* Feeds the events behind a run that failed once and runs again; fails again at the end: how often
 * in a row is that? */
static uint32_t failures_after(const struct task_event *events, size_t len)
{
        struct life l;

        life_init(&l, RESTART_ALWAYS);
        l.spec.restart.burst = 0;
        feed(&l, EV(RUN));
        feed(&l, EV(SPAWNED));
        feed(&l, EV(EXIT(3)));
        feed(&l, EV(TIMER));
        feed(&l, EV(SPAWNED));
        for (size_t i = 0; i < len; i++)
                feed(&l, events[i]);
        feed(&l, EV(SPAWNED));
        feed(&l, EV(EXIT(3)));
        assert_int_equal(l.m.state, TASK_QUEUED);
        return l.m.failures;
}

static void test_what_ends_a_row_of_failures(void **state)
{
        static const struct task_event failed[] = { EXIT(3), TIMER };
        static const struct task_event succeeded[] = { EXIT(0), TIMER };
        static const struct task_event booted[] = { BOOT };
        static const struct task_event halted[] = { HALT, EXIT(3), BOOT };
        static const struct task_event stopped[] = { DONT, EXIT(3), RUN };
        static const struct task_event stop_undone[] = { DONT, RUN, EXIT(3) };
        static const struct task_event stopped_halted[] = { DONT, EXIT(3), HALT, RUN, BOOT };

        (void) state;
        assert_int_equal(failures_after(failed, ARRAY_SIZE(failed)), 3);
        assert_int_equal(failures_after(succeeded, ARRAY_SIZE(succeeded)), 1);
        assert_int_equal(failures_after(booted, ARRAY_SIZE(booted)), 2);
        assert_int_equal(failures_after(halted, ARRAY_SIZE(halted)), 2);
        assert_int_equal(failures_after(stopped, ARRAY_SIZE(stopped)), 1);
        assert_int_equal(failures_after(stop_undone, ARRAY_SIZE(stop_undone)), 1);
        assert_int_equal(failures_after(stopped_halted, ARRAY_SIZE(stopped_halted)), 1);
}

/* A note speaks of its own run, also when the next has begun in the same call. */
static void test_notes_name_their_run(void **state)
{
        struct life l;

        (void) state;
        life_init(&l, RESTART_ALWAYS);
        feed(&l, EV(RUN));
        feed(&l, EV(SPAWNED));
        feed(&l, EV(REPLACE));
        feed(&l, EV(EXIT(0)));
        assert_int_equal(l.m.runs, 2);
        assert_int_equal(l.m.run_version, 3);
        assert_int_equal(l.fx.notes[0].kind, EVENT_TASK_ENDED);
        assert_int_equal(l.fx.notes[0].run, 1);
        assert_int_equal(l.fx.notes[0].version, 1);
        feed(&l, EV(SPAWNED));
        assert_int_equal(l.fx.notes[0].run, 2);
        assert_int_equal(l.fx.notes[0].version, 3);
}

static void test_healthy_run_and_late_news(void **state)
{
        struct life l;

        (void) state;
        life_init(&l, RESTART_ALWAYS);
        feed(&l, EV(RUN));
        feed(&l, EV(SPAWNED));
        feed(&l, EV(EXIT(3)));
        feed(&l, EV(TIMER));
        feed(&l, EV(SPAWNED));
        /* It ended after 2 s, but nobody was there to see it for an hour: no healthy run. */
        usec_t ended = l.m.started_mono + 2 * USEC_SEC;
        struct task_event late = EXIT(3);

        late.ended_mono = ended;
        feed_at(&l, &late, l.now + USEC_HOUR);
        assert_int_equal(l.m.failures, 2);
        assert_string_equal(l.fx.notes[0].message, "run 2 ended: exit code 3 after 2s");
        assert_true(l.m.deadline_mono > l.now);

        feed(&l, EV(TIMER));
        feed(&l, EV(SPAWNED));
        feed_at(&l, &EV(EXIT(3)), l.m.started_mono + 10 * USEC_SEC); /* healthy */
        assert_int_equal(l.m.failures, 1);
        assert_int_equal(l.m.burst_count, 1);

        feed(&l, EV(TIMER));
        feed(&l, EV(SPAWNED));
        late.ended_mono = USEC_NEVER - 1; /* from the future: now */
        feed(&l, late);
        assert_string_equal(l.fx.notes[0].message, "run 4 ended: exit code 3 after 2.4s");
        feed(&l, EV(TIMER));
        late.ended_mono = 1; /* before it began: no time at all */
        feed(&l, late);
        assert_string_equal(l.fx.notes[0].message, "run 5 ended: exit code 3 after 0us");
}

static void test_boot_and_the_new_clock(void **state)
{
        struct life l;

        (void) state;
        life_init(&l, RESTART_ALWAYS);
        feed(&l, EV(RUN));
        feed(&l, EV(SPAWNED));
        feed(&l, EV(EXIT(3)));
        feed(&l, EV(TIMER));
        feed(&l, EV(SPAWNED));
        feed_at(&l, &EV(BOOT), USEC_SEC); /* the monotonic clock began anew */
        assert_int_equal(l.m.state, TASK_STARTING);
        assert_int_equal(l.m.runs, 3);
        assert_int_equal(l.m.restarts, 1);
        assert_int_equal(l.m.failures, 1); /* the row goes on */
        assert_int_equal(l.m.burst_count, 0);
        assert_int_equal(l.m.started_mono, USEC_SEC);
        feed(&l, EV(SPAWNED));
        feed(&l, EV(EXIT(3)));
        assert_string_equal(l.fx.notes[0].message, "run 3 ended: exit code 3 after 2.4s");
        assert_int_equal(l.m.failures, 2);
        assert_int_equal(l.m.burst_count, 1);

        usec_t before = l.m.restarts;

        feed_at(&l, &EV(BOOT), USEC_SEC); /* it waits: that the machine was away ends the wait */
        assert_int_equal(l.m.state, TASK_STARTING);
        assert_int_equal(l.m.restarts, before + 1);
}

static void test_halt_is_neither_failure_nor_restart(void **state)
{
        struct life l;

        (void) state;
        life_init(&l, RESTART_ALWAYS);
        feed(&l, EV(RUN));
        feed(&l, EV(SPAWNED));
        feed(&l, EV(HALT));
        feed(&l, EV(EXIT(3)));
        assert_int_equal(l.m.state, TASK_QUEUED);
        assert_true(l.m.halted);
        assert_int_equal(l.m.exit_code, 3);
        feed(&l, EV(BOOT));
        assert_false(l.m.halted);
        assert_int_equal(l.m.state, TASK_STARTING);
        assert_int_equal(l.m.runs, 2);
        assert_int_equal(l.m.restarts, 0);
        assert_int_equal(l.m.failures, 0);
}

static void test_stuck_is_said_once(void **state)
{
        struct life l;

        (void) state;
        life_init(&l, RESTART_ALWAYS);
        feed(&l, EV(RUN));
        feed(&l, EV(SPAWNED));
        feed(&l, EV(DONT));
        feed(&l, EV(TIMER));
        assert_int_equal(l.fx.signal, SIGKILL);
        for (int i = 0; i < 5; i++) {
                feed(&l, EV(TIMER));
                assert_int_equal(l.fx.notes_len, i == 0 ? 1 : 0);
                assert_int_equal(l.fx.signal, SIGKILL);
                assert_int_equal(l.fx.changed, i == 0);
                assert_int_equal(l.m.deadline_mono, l.now + 5 * USEC_SEC);
        }
        feed(&l, EV(SIGNALED(SIGKILL)));
        assert_int_equal(l.m.state, TASK_ENDED);
}

static void test_version(void **state)
{
        struct life l;

        (void) state;
        life_init(&l, RESTART_ALWAYS);
        feed(&l, EV(DESIRE(true, 4, 2, 0)));
        assert_int_equal(task_version(&l.m), 4);
        feed(&l, EV(SPAWNED));
        feed(&l, EV(DESIRE(true, 5, 2, 0))); /* taken in place */
        assert_true(l.fx.changed);
        assert_int_equal(l.m.run_version, 4);
        assert_int_equal(task_version(&l.m), 5);
        feed(&l, EV(DESIRE(true, 6, 6, 0))); /* not before the new run */
        assert_int_equal(task_version(&l.m), 4);
        feed(&l, EV(EXIT(0)));
        assert_int_equal(task_version(&l.m), 6);
}

/* A peer that contradicts itself must not make us replace a run again and again. */
static void test_restart_version_beyond_version(void **state)
{
        struct life l;

        (void) state;
        life_init(&l, RESTART_ALWAYS);
        feed(&l, EV(DESIRE(true, 1, 9, 0)));
        feed(&l, EV(SPAWNED));
        assert_int_equal(l.m.state, TASK_RUNNING);
        feed(&l, EV(DESIRE(true, 1, 9, 0)));
        assert_int_equal(l.m.state, TASK_RUNNING);
        assert_false(l.fx.changed);
}

static void test_name_in_the_hint(void **state)
{
        struct life l;

        (void) state;
        life_init(&l, RESTART_ALWAYS);
        l.spec.restart.burst = 1;
        feed(&l, EV(RUN));
        feed(&l, EV(SPAWNED));
        task_handle(&l.m, &l.spec, &EV(EXIT(3)), l.now, WALL + l.now, 1, &l.fx);
        check_text("without an id",
                "parked, `reeve restart web` takes it up again: 1 failure is the "
                "limit: exit code 3",
                l.m.reason);
}

static void test_long_message(void **state)
{
        struct task_event event = UNSTARTED;
        char message[2000];
        struct life l;

        (void) state;
        memset(message, '%', sizeof message);
        message[sizeof message - 1] = '\0';
        event.message = message;
        life_init(&l, RESTART_ALWAYS);
        for (int i = 0; i < 3; i++) {
                feed(&l, i == 0 ? EV(RUN) : EV(TIMER));
                feed(&l, event);
                assert_true(strlen(l.m.reason) < TASK_REASON_MAX);
                assert_true(strlen(l.fx.notes[0].message) < sizeof l.fx.notes[0].message);
        }
        assert_true(l.m.parked);

        life_init(&l, RESTART_NEVER);
        event.message = NULL;
        feed(&l, EV(RUN));
        feed(&l, event);
        assert_string_equal(l.m.reason, "could not begin, and policy never does not restart");
}

static void test_damage_is_seen(void **state)
{
        struct life good, bad;

        (void) state;
        life_init(&good, RESTART_ALWAYS);
        feed(&good, EV(RUN));
        feed(&good, EV(SPAWNED));
        assert_true(task_machine_is_valid(&good.m));
#define DAMAGE(field, value)                                                                       \
        do {                                                                                       \
                bad = good;                                                                        \
                bad.m.field = (value);                                                             \
                assert_false(task_machine_is_valid(&bad.m));                                       \
        } while (0)
        DAMAGE(state, 77);
        DAMAGE(state, TASK_PLACED);
        DAMAGE(state, TASK_LOST);
        DAMAGE(state, TASK_STARTING); /* with a pid */
        DAMAGE(state, TASK_ENDED);
        DAMAGE(pid, 0);
        DAMAGE(pid, -5);
        DAMAGE(result, RESULT_FAILED);
        DAMAGE(result, 77);
        DAMAGE(deadline_mono, 5);
        DAMAGE(next_run_wall, 5);
        DAMAGE(parked, 1);
        DAMAGE(killed, 1);
        DAMAGE(halted, 1);
        DAMAGE(desire.run, false);
        DAMAGE(desire.generation, 1);
        DAMAGE(restarts, 2);
        DAMAGE(runs, 0);
        DAMAGE(exit_code, -2);
#undef DAMAGE
        bad = good;
        memset(bad.m.reason, 'x', sizeof bad.m.reason);
        assert_false(task_machine_is_valid(&bad.m));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_table),
                cmocka_unit_test(test_history_of_runs),
                cmocka_unit_test(test_since),
                cmocka_unit_test(test_replacement_forgets_failures),
                cmocka_unit_test(test_parked_starts_afresh),
                cmocka_unit_test(test_what_ends_a_row_of_failures),
                cmocka_unit_test(test_notes_name_their_run),
                cmocka_unit_test(test_healthy_run_and_late_news),
                cmocka_unit_test(test_boot_and_the_new_clock),
                cmocka_unit_test(test_halt_is_neither_failure_nor_restart),
                cmocka_unit_test(test_stuck_is_said_once),
                cmocka_unit_test(test_version),
                cmocka_unit_test(test_restart_version_beyond_version),
                cmocka_unit_test(test_name_in_the_hint),
                cmocka_unit_test(test_long_message),
                cmocka_unit_test(test_damage_is_seen),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
