/* SPDX-License-Identifier: BSD-3-Clause */
/* What a spec says about limits and what a process is given: read, written, and refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/macros.h"
#include "model/job.h"

static struct job_spec *parse(const char *fields)
{
        AUTO(job_file_done) struct job_file file = { 0 };
        struct error err = ERROR_INIT;
        char text[1000];

        snprintf(text, sizeof text, "jobs:\n  a:\n    command: [x]\n    %s\n", fields);
        if (job_file_parse("f", text, strlen(text), JOB_FORMAT_YAML, &file, &err) < 0)
                fail_msg("%s", err.message);
        return job_spec_ref(file.jobs[0]);
}

static void assert_refused(const char *fields, const char *message)
{
        AUTO(job_file_done) struct job_file file = { 0 };
        struct error err = ERROR_INIT;
        char text[1000];

        snprintf(text, sizeof text, "jobs:\n  a:\n    command: [x]\n    %s\n", fields);
        assert_int_equal(job_file_parse("f", text, strlen(text), JOB_FORMAT_YAML, &file, &err), -1);
        assert_string_equal(err.message, message);
}

static void nothing_given_is_nothing_limited(void **state)
{
        AUTO(job_spec_unrefp) struct job_spec *s = parse("kind: service");

        (void) state;
        assert_null(s->groups);
        assert_true(s->umask == JOB_UMASK_NONE);
        assert_int_equal(s->nice, JOB_NICE_NONE);
        assert_int_equal(s->oom_score, JOB_NICE_NONE);
        assert_null(s->cpus);
        assert_int_equal(s->io.class, IO_CLASS_NONE);
        assert_int_equal(s->max_run_time, 0);
        assert_true(s->limits.memory == JOB_LIMIT_NONE);
        assert_true(s->limits.swap == JOB_LIMIT_NONE);
        assert_true(s->limits.pids == JOB_LIMIT_NONE);
        assert_true(s->limits.files == JOB_LIMIT_NONE);
        assert_int_equal(s->limits.cpu, 0);
        assert_int_equal(s->limits.cpu_weight, 100);
        assert_int_equal(s->limits.io_weight, 100);
        assert_int_equal(s->limits.over, RESTART_ACTION_RESTART);
}

static const char all[] =
        "limits: {memory: 512MiB, swap: 0, cpu: 1.5, cpu_weight: 200, pids: 64, io_weight: 1, "
        "over: end, files: 1024, core: unlimited, stack: 8MiB, file_size: 1GiB, locked_memory: 0, "
        "processes: 5, address_space: 4GiB}\n"
        "    umask: 027\n    nice: -20\n    oom_score: 1000\n    cpus: 0-3,6\n    groups: [adm, "
        "5]\n"
        "    io: {class: best-effort, level: 7}\n    max_run_time: 1h30m";

static void every_limit_is_read(void **state)
{
        AUTO(job_spec_unrefp) struct job_spec *s = parse(all);

        (void) state;
        assert_true(s->limits.memory == 512 << 20);
        assert_true(s->limits.swap == 0);
        assert_int_equal(s->limits.cpu, 1500);
        assert_int_equal(s->limits.cpu_weight, 200);
        assert_true(s->limits.pids == 64);
        assert_int_equal(s->limits.io_weight, 1);
        assert_int_equal(s->limits.over, RESTART_ACTION_END);
        assert_true(s->limits.files == 1024);
        assert_true(s->limits.core == JOB_LIMIT_UNLIMITED);
        assert_true(s->limits.stack == 8 << 20);
        assert_true(s->limits.file_size == 1 << 30);
        assert_true(s->limits.locked_memory == 0);
        assert_true(s->limits.processes == 5);
        assert_true(s->limits.address_space == (uint64_t) 4 << 30);
        assert_int_equal(s->umask, 027);
        assert_int_equal(s->nice, -20);
        assert_int_equal(s->oom_score, 1000);
        assert_string_equal(s->cpus, "0-3,6");
        assert_string_equal(s->groups[1], "5");
        assert_int_equal(s->io.class, IO_CLASS_BEST_EFFORT);
        assert_int_equal(s->io.level, 7);
        assert_true(s->max_run_time == 90 * USEC_MINUTE);
}

static void what_is_written_is_read_back(void **state)
{
        const char *const texts[] = { all, "kind: batch",
                "limits: {memory: unlimited, pids: unlimited, cpu: 0}\n    umask: 0\n    cpus: 7" };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                AUTO(job_spec_unrefp) struct job_spec *s = parse(texts[i]);
                AUTO(job_spec_unrefp) struct job_spec *again = NULL;
                struct error err = ERROR_INIT;
                json_t *json = job_spec_to_json(s);
                struct job_diff diff;

                if (job_spec_from_json("a", json, &again, &err) < 0)
                        fail_msg("%s", err.message);
                job_spec_diff(s, again, &diff);
                assert_int_equal(diff.len, 0);
                job_diff_done(&diff);
                json_decref(json);
        }
}

static void no_limit_needs_a_new_run(void **state)
{
        AUTO(job_spec_unrefp) struct job_spec *a = parse("limits: {memory: 1GiB, files: 100}");
        AUTO(job_spec_unrefp)
        struct job_spec *b = parse("limits: {cpu: 1, pids: 3}\n    max_run_time: 5s");
        AUTO(job_spec_unrefp) struct job_spec *c = parse("nice: 5");
        struct job_diff diff;

        (void) state;
        job_spec_diff(a, b, &diff);
        assert_int_equal(diff.len, 5);
        assert_false(diff.needs_restart);
        job_diff_done(&diff);
        job_spec_diff(a, c, &diff);
        assert_true(diff.needs_restart);
        job_diff_done(&diff);
}

static void what_cannot_be_is_refused(void **state)
{
        static const char *const refused[][2] = {
                { "umask: \"0888\"",
                        "f:4: jobs.a.umask: expected an octal number from 0 to 777, got \"0888\"" },
                { "umask: 1000",
                        "f:4: jobs.a.umask: expected an octal number from 0 to 777, got 1000" },
                { "nice: 20", "f:4: jobs.a.nice: expected a whole number from -20 to 19, got 20" },
                { "nice: low",
                        "f:4: jobs.a.nice: expected a whole number from -20 to 19, got \"low\"" },
                { "cpus: 3-1", "f:4: jobs.a.cpus: expected a list of CPUs such as \"0-3,6\", got "
                               "\"3-1\"" },
                { "cpus: \"1,\"",
                        "f:4: jobs.a.cpus: expected a list of CPUs such as \"0-3,6\", got \"1,\"" },
                { "cpus: 5000",
                        "f:4: jobs.a.cpus: expected a list of CPUs such as \"0-3,6\", got 5000" },
                { "limits: {memory: 1KiB}", "f:4: jobs.a.limits.memory: expected a size from "
                                            "256KiB to 1048576TiB, got \"1KiB\"" },
                { "limits: {pids: 0}", "f:4: jobs.a.limits.pids: expected a number from 1 to "
                                       "4194304, or \"unlimited\", got 0" },
                { "limits: {pids: many}", "f:4: jobs.a.limits.pids: expected a number from 1 to "
                                          "4194304, or \"unlimited\", got \"many\"" },
                { "io: {class: fast}", "f:4: jobs.a.io.class: expected \"none\", \"realtime\", "
                                       "\"best-effort\" or \"idle\", got \"fast\"" },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
                assert_refused(refused[i][0], refused[i][1]);
}

static void add_cpu(void *data, unsigned cpu)
{
        *(uint64_t *) data |= (uint64_t) 1 << cpu;
}

static void cpus_are_lists_of_ranges(void **state)
{
        uint64_t mask = 0;

        (void) state;
        assert_true(job_read_cpus("0-3,6,8-8", add_cpu, &mask));
        assert_true(mask == 0x14f);
        assert_false(job_read_cpus("", NULL, NULL));
        assert_false(job_read_cpus("-1", NULL, NULL));
        assert_false(job_read_cpus("1-", NULL, NULL));
        assert_false(job_read_cpus("1 2", NULL, NULL));
        assert_false(job_read_cpus("0-99999999999999999999", NULL, NULL));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(nothing_given_is_nothing_limited),
                cmocka_unit_test(every_limit_is_read),
                cmocka_unit_test(what_is_written_is_read_back),
                cmocka_unit_test(no_limit_needs_a_new_run),
                cmocka_unit_test(what_cannot_be_is_refused),
                cmocka_unit_test(cpus_are_lists_of_ranges),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
