/* SPDX-License-Identifier: BSD-3-Clause */
/* What a spec says about how a run is begun: read, and refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/macros.h"
#include "model/job.h"

static int read_job(const char *fields, struct job_file *ret, struct error *err)
{
        char text[1000];

        snprintf(text, sizeof text, "jobs:\n  a:\n    command: [x]\n    %s\n", fields);
        return job_file_parse("f", text, strlen(text), JOB_FORMAT_YAML, ret, err);
}

static struct job_spec *parse(const char *fields)
{
        AUTO(job_file_done) struct job_file file = { 0 };
        struct error err = ERROR_INIT;

        if (read_job(fields, &file, &err) < 0)
                fail_msg("%s", err.message);
        return job_spec_ref(file.jobs[0]);
}

static void assert_refused(const char *fields, const char *message)
{
        AUTO(job_file_done) struct job_file file = { 0 };
        struct error err = ERROR_INIT;

        assert_int_equal(read_job(fields, &file, &err), -1);
        assert_string_equal(err.message, message);
}

static void a_daemon_is_read(void **state)
{
        AUTO(job_spec_unrefp) struct job_spec *plain = parse("kind: service");
        AUTO(job_spec_unrefp)
        struct job_spec *s =
                parse("daemon: {pid_file: \"/run/a.${task.index}\", timeout: 3s, adopt: true}");

        (void) state;
        assert_null(plain->daemon.pid_file);
        assert_null(plain->pid_file);
        assert_int_equal(plain->daemon.timeout, 30 * USEC_SEC);
        assert_false(plain->daemon.adopt);
        assert_string_equal(s->daemon.pid_file, "/run/a.${task.index}");
        assert_int_equal(s->daemon.timeout, 3 * USEC_SEC);
        assert_true(s->daemon.adopt);
}

static void what_cannot_be_is_refused(void **state)
{
        (void) state;
        assert_refused("pid_file: a.pid", "f:4: jobs.a.pid_file: expected an absolute path, got "
                                          "\"a.pid\"");
        assert_refused("daemon: {adopt: true}",
                "f:4: jobs.a.daemon.adopt: needs \"daemon.pid_file\": which file names the "
                "process");
        assert_refused("pid_file: \"/run/${task.name}\"",
                "f:4: jobs.a.pid_file: \"${task.name}\": there is no such variable; did you mean "
                "\"${job.name}\"?");
}

static void each_task_has_a_file_of_its_own(void **state)
{
        AUTO(job_spec_unrefp)
        struct job_spec *s = parse("count: 2\n    pid_file: \"/run/a.${task.index}.pid\"");

        (void) state;
        assert_string_equal(s->pid_file, "/run/a.${task.index}.pid");
        assert_refused("count: 2\n    pid_file: /run/a.pid",
                "f:5: jobs.a.pid_file: each of the 2 tasks needs a file of its own: put "
                "\"${task.index}\" into the name");
        assert_refused("count: 3\n    daemon: {pid_file: /run/a.pid}",
                "f:5: jobs.a.daemon.pid_file: each of the 3 tasks needs a file of its own: put "
                "\"${task.index}\" into the name");
        assert_refused("daemon: {pid_file: /a}\n    pid_file: /b",
                "f:5: jobs.a.pid_file: not possible with \"daemon.pid_file\": the program writes "
                "its own");
}

static void files_of_variables(void **state)
{
        AUTO(job_spec_unrefp)
        struct job_spec *s = parse("env_files: [/etc/a, \"-/etc/${job.name}\"]");

        (void) state;
        assert_string_equal(s->env_files[0], "/etc/a");
        assert_string_equal(s->env_files[1], "-/etc/${job.name}");
        assert_null(s->env_files[2]);
        assert_refused("env_files: [/etc/a, -b]",
                "f:4: jobs.a.env_files: expected absolute paths, perhaps with a \"-\" before them, "
                "got a list");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_daemon_is_read),
                cmocka_unit_test(files_of_variables),
                cmocka_unit_test(what_cannot_be_is_refused),
                cmocka_unit_test(each_task_has_a_file_of_its_own),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
