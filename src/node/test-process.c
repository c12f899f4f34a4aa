/* SPDX-License-Identifier: BSD-3-Clause */
/* Looking at processes, with processes of our own in every state there is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/macros.h"
#include "base/pidfd.h"
#include "base/time.h"
#include "node/process.h"

#define DEADLINE (20 * USEC_SEC)
#define TICK     10000000u /* nanoseconds */

#define wait_until(condition)                                                                      \
        do {                                                                                       \
                usec_t end_ = time_mono() + DEADLINE;                                              \
                while (!(condition)) {                                                             \
                        assert_true(time_mono() < end_);                                           \
                        usleep(1000);                                                              \
                }                                                                                  \
        } while (0)

/* ---- the text of /proc/PID/stat */

/* What proc(5) has behind the name: field 3, 4 and so on to 52; every number tells its field. */
#define FIELDS_5_TO_19 "105 106 107 -1 4194304 110 111 112 113 114 115 116 117 118 119"
#define FIELDS_23_TO_51                                                                            \
        "123 -124 18446744073709551615 126 127 128 129 130 131 132 133 134 135 136 137 138 139 "   \
        "140 141 142 143 144 145 146 147 148 149 150 151"
#define AFTER_NAME " S 4 " FIELDS_5_TO_19 " 3 0 8765432109 " FIELDS_23_TO_51 " 256\n"

static void expect_parsed(const char *text)
{
        struct process_stat st = { 0 };

        if (!process_parse_stat(text, &st))
                fail_msg("not understood: %s", text);
        assert_int_equal(st.state, 'S');
        assert_int_equal(st.parent, 4);
        assert_int_equal(st.threads, 3);
        assert_int_equal(st.start_ticks, 8765432109u);
        assert_int_equal(st.exit_code, 256);
}

static void a_command_may_be_called_anything(void **state)
{
        (void) state;
        expect_parsed("77 (sleep)" AFTER_NAME);
        expect_parsed("77 ()" AFTER_NAME);
        expect_parsed("77 (a b)" AFTER_NAME);
        expect_parsed("77 () Z 1 ()" AFTER_NAME);
        expect_parsed("77 (x) Z 1 1 1 1 )" AFTER_NAME);
        expect_parsed("77 (\n) R 2\n(\n)" AFTER_NAME);
        expect_parsed("77 (((((()" AFTER_NAME);
        expect_parsed("77 ())))))" AFTER_NAME);
        expect_parsed("77 (%s%n%d)" AFTER_NAME);
        expect_parsed("77 (\xff\xfe\x01)" AFTER_NAME);
}

static void the_newest_and_the_oldest_kernel_are_understood(void **state)
{
        struct process_stat st = { 0 };

        (void) state;
        expect_parsed("77 (x) S 4 " FIELDS_5_TO_19 " 3 0 8765432109 " FIELDS_23_TO_51
                      " 256 257 258 more\n");
        assert_true(process_parse_stat(
                "77 (x) Z 4 " FIELDS_5_TO_19 " 1 0 99 " FIELDS_23_TO_51 "\n", &st));
        assert_int_equal(st.start_ticks, 99);
        assert_int_equal(st.exit_code, 0); /* it was not there */
}

static void what_is_no_stat_is_refused(void **state)
{
        static const char *const texts[] = { "", " ", ")", "77 (x)", "77 (x) ", "77 (x) S",
                "77 (x) S 4", "77 x S 4 " FIELDS_5_TO_19 " 1 0 99",
                "77 (x) S 4 " FIELDS_5_TO_19 " 1 0", "77 (x) S 4 " FIELDS_5_TO_19 " 1 0 x",
                "77 (x) S x " FIELDS_5_TO_19 " 1 0 99", "77 (x S 4 " FIELDS_5_TO_19 " 1 0 99)" };
        struct process_stat st = { .state = '?', .parent = -7, .exit_code = -8 };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
                if (process_parse_stat(texts[i], &st))
                        fail_msg("understood: \"%s\"", texts[i]);
        assert_int_equal(st.state, '?'); /* untouched */
        assert_int_equal(st.parent, -7);
        assert_int_equal(st.exit_code, -8);
}

/* ---- children */

static uint64_t boottime(void)
{
        struct timespec ts;

        clock_gettime(CLOCK_BOOTTIME, &ts);
        return (uint64_t) ts.tv_sec * 1000000000u + (uint64_t) ts.tv_nsec;
}

/* A child that does what @life says; its record as spawn makes it. */
static int start(void (*life)(void), struct table_run *record)
{
        pid_t pid;
        int pidfd;

        *record = (struct table_run){ .run = 1, .before_ns = boottime(), .parent = getpid() };
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                life();
                _exit(0);
        }
        record->pid = pid;
        record->after_ns = boottime();
        pidfd = process_open(pid);
        assert_true(pidfd >= 0);
        return pidfd;
}

static void stay(void)
{
        for (;;)
                pause();
}

static void exit_with_3(void)
{
        _exit(3);
}

static void be_killed(void)
{
        raise(SIGKILL);
}

static void take_a_hostile_name(void)
{
        prctl(PR_SET_NAME, ") Z 1 (\n) 1 1");
        stay();
}

static void await_zombie(pid_t pid)
{
        siginfo_t si;

        assert_int_equal(waitid(P_PID, (id_t) pid, &si, WEXITED | WNOWAIT), 0);
}

static void end(int pidfd, struct table_run *record)
{
        kill(record->pid, SIGKILL);
        waitpid(record->pid, NULL, 0);
        close(pidfd);
}

static bool has_hostile_name(pid_t pid)
{
        char path[64], name[32] = "";
        FILE *f;

        snprintf(path, sizeof path, "/proc/%d/comm", pid);
        f = fopen(path, "re");
        if (f == NULL || fread(name, 1, sizeof name - 1, f) == 0)
                name[0] = '\0';
        if (f != NULL)
                fclose(f);
        return name[0] == ')';
}

static void a_real_process_is_read(void **state)
{
        struct table_run record;
        int pidfd = start(take_a_hostile_name, &record);
        struct process_stat st;

        (void) state;
        wait_until(has_hostile_name(record.pid));
        assert_true(process_read_stat(record.pid, &st));
        assert_true(st.state == 'S' || st.state == 'R');
        assert_int_equal(st.parent, getpid());
        assert_int_equal(st.threads, 1);
        assert_true(process_matches(&record, st.start_ticks));
        end(pidfd, &record);
        assert_false(process_read_stat(record.pid, &st));
        assert_false(process_read_stat(0, &st));
        assert_false(process_read_stat(-1, &st));
}

static void a_record_matches_within_its_two_instants(void **state)
{
        struct table_run r = { .before_ns = 100 * TICK, .after_ns = 102 * TICK };

        (void) state;
        assert_false(process_matches(&r, 99));
        assert_true(process_matches(&r, 100));
        assert_true(process_matches(&r, 101));
        assert_true(process_matches(&r, 102));
        assert_false(process_matches(&r, 103));
        r.before_ns += TICK - 1; /* the kernel, too, rounds down */
        r.after_ns += TICK - 1;
        assert_true(process_matches(&r, 100));
        assert_true(process_matches(&r, 102));
        assert_false(process_matches(&r, 103));
        r.after_ns = r.before_ns;
        assert_true(process_matches(&r, 100));
        assert_false(process_matches(&r, 101));
        r = (struct table_run){ .before_ns = 100 * TICK }; /* the child never wrote it */
        assert_false(process_matches(&r, 0));
        assert_false(process_matches(&r, 100));
        assert_false(process_matches(&r, UINT64_MAX));
}

static void what_runs_has_not_ended(void **state)
{
        struct table_run record;
        int pidfd = start(stay, &record), status = -1;

        (void) state;
        assert_int_equal(process_ended(pidfd, &record, &status), PROCESS_END_NOT_YET);
        assert_int_equal(process_ended(-1, &record, &status), PROCESS_END_NOT_YET);
        kill(record.pid, SIGSTOP);
        assert_int_equal(process_ended(pidfd, &record, &status), PROCESS_END_NOT_YET);
        assert_int_equal(status, -1);
        end(pidfd, &record);
}

/* Whoever may not trace it is told 0 by the kernel, so only root believes a zombie. */
static void a_zombie_tells_root(void **state)
{
        struct table_run record;
        int pidfd = start(exit_with_3, &record), status = -1;

        (void) state;
        await_zombie(record.pid);
        for (int with_pidfd = 0; with_pidfd < 2; with_pidfd++) {
                enum process_end found = process_ended(with_pidfd ? pidfd : -1, &record, &status);

                if (geteuid() != 0) {
                        assert_int_equal(found, PROCESS_END_NOT_YET);
                        continue;
                }
                assert_int_equal(found, PROCESS_END_KNOWN);
                assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
        }
        end(pidfd, &record);

        pidfd = start(be_killed, &record);
        await_zombie(record.pid);
        if (geteuid() == 0) {
                assert_int_equal(process_ended(-1, &record, &status), PROCESS_END_KNOWN);
                assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        }
        end(pidfd, &record);
}

/* Whether this kernel keeps the status of reaped processes (6.15). */
static bool kernel_keeps_status(void)
{
        struct table_run record;
        int pidfd = start(exit_with_3, &record), status;
        bool keeps;

        waitpid(record.pid, NULL, 0);
        keeps = pidfd_exit_status(pidfd, &status);
        close(pidfd);
        return keeps;
}

static void a_reaped_process_is_known_by_its_pidfd(void **state)
{
        struct table_run record;
        int pidfd = start(exit_with_3, &record), status = -1;

        (void) state;
        waitpid(record.pid, NULL, 0);
        assert_int_equal(process_ended(-1, &record, &status), PROCESS_END_UNKNOWN);
        assert_int_equal(status, -1);
        if (kernel_keeps_status()) {
                assert_int_equal(process_ended(pidfd, &record, &status), PROCESS_END_KNOWN);
                assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
        } else {
                assert_int_equal(process_ended(pidfd, &record, &status), PROCESS_END_UNKNOWN);
        }
        close(pidfd);
}

/* The number belongs to somebody else by now, alive or a zombie. */
static void a_pid_that_is_used_again_is_not_believed(void **state)
{
        struct table_run record, earlier;
        int pidfd = start(stay, &record), status = -1;

        (void) state;
        earlier = record;
        earlier.before_ns -= 1000000000u;
        earlier.after_ns = record.before_ns - TICK;
        assert_int_equal(process_ended(-1, &earlier, &status), PROCESS_END_UNKNOWN);
        kill(record.pid, SIGKILL);
        await_zombie(record.pid);
        assert_int_equal(process_ended(-1, &earlier, &status), PROCESS_END_UNKNOWN);
        assert_int_equal(status, -1);
        end(pidfd, &record);
}

/* ---- threads */

static void *end_all_on_signal(void *unused)
{
        sigset_t set;
        int number;

        (void) unused;
        sigemptyset(&set);
        sigaddset(&set, SIGUSR1);
        sigwait(&set, &number);
        _exit(7); /* exit_group(2) */
}

static void leave_another_thread_behind(void)
{
        pthread_t thread;
        sigset_t set;

        sigemptyset(&set);
        sigaddset(&set, SIGUSR1);
        pthread_sigmask(SIG_BLOCK, &set, NULL);
        if (pthread_create(&thread, NULL, end_all_on_signal, NULL) != 0)
                _exit(99);
        pthread_exit(NULL);
}

static char state_of(pid_t pid)
{
        struct process_stat st = { 0 };

        process_read_stat(pid, &st);
        return st.state;
}

static void a_process_without_its_first_thread_lives(void **state)
{
        struct table_run record;
        int pidfd = start(leave_another_thread_behind, &record), status = -1;

        (void) state;
        wait_until(state_of(record.pid) == 'Z');
        assert_int_equal(process_ended(pidfd, &record, &status), PROCESS_END_NOT_YET);
        assert_int_equal(process_ended(-1, &record, &status), PROCESS_END_NOT_YET);
        kill(record.pid, SIGUSR1);
        await_zombie(record.pid);
        if (geteuid() == 0 && kernel_keeps_status()) { /* old kernels tell of the first thread */
                assert_int_equal(process_ended(pidfd, &record, &status), PROCESS_END_KNOWN);
                assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
        }
        end(pidfd, &record);
}

/* ---- signals to groups */

static pid_t member; /* of the child's group */

/* The leader of a group with one more member in it. Each tells that it is ready by one byte. */
static int ready[2];

static void lead_a_group(void)
{
        setsid();
        member = fork();
        if (write(ready[1], &(pid_t){ getpid() }, sizeof(pid_t)) != (ssize_t) sizeof(pid_t))
                _exit(99);
        stay();
}

static int start_group(struct table_run *record)
{
        int pidfd;
        pid_t pid;

        assert_int_equal(pipe(ready), 0);
        pidfd = start(lead_a_group, record);
        for (int i = 0; i < 2; i++) {
                assert_int_equal(read(ready[0], &pid, sizeof pid), sizeof pid);
                if (pid != record->pid)
                        member = pid;
        }
        close(ready[1]);
        return pidfd;
}

/* Every member holds the pipe: its end says that nobody is left. */
static void expect_group_gone(void)
{
        struct pollfd p = { .fd = ready[0], .events = POLLIN };

        assert_int_equal(poll(&p, 1, DEADLINE / USEC_MSEC), 1);
        assert_true((p.revents & POLLHUP) != 0);
        close(ready[0]);
}

static void a_signal_reaches_the_whole_group(void **state)
{
        struct table_run record;
        int pidfd = start_group(&record), status;

        (void) state;
        process_signal_group(pidfd, record.pid, SIGTERM);
        expect_group_gone();
        assert_int_equal(waitpid(record.pid, &status, 0), record.pid);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
        process_signal_group(pidfd, record.pid, SIGTERM); /* nobody left: no harm */
        close(pidfd);
}

static void a_signal_reaches_those_whose_leader_is_gone(void **state)
{
        struct table_run record;
        int pidfd = start_group(&record);

        (void) state;
        kill(record.pid, SIGKILL);
        assert_int_equal(waitpid(record.pid, NULL, 0), record.pid);
        assert_int_equal(kill(member, 0), 0);
        process_signal_group(pidfd, record.pid, SIGKILL);
        expect_group_gone();
        close(pidfd);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_command_may_be_called_anything),
                cmocka_unit_test(the_newest_and_the_oldest_kernel_are_understood),
                cmocka_unit_test(what_is_no_stat_is_refused),
                cmocka_unit_test(a_real_process_is_read),
                cmocka_unit_test(a_record_matches_within_its_two_instants),
                cmocka_unit_test(what_runs_has_not_ended),
                cmocka_unit_test(a_zombie_tells_root),
                cmocka_unit_test(a_reaped_process_is_known_by_its_pidfd),
                cmocka_unit_test(a_pid_that_is_used_again_is_not_believed),
                cmocka_unit_test(a_process_without_its_first_thread_lives),
                cmocka_unit_test(a_signal_reaches_the_whole_group),
                cmocka_unit_test(a_signal_reaches_those_whose_leader_is_gone),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
