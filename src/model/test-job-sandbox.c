/* SPDX-License-Identifier: BSD-3-Clause */
/* What a spec says about its sandbox: read, written, refused; groups of system calls; the score. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/macros.h"
#include "model/capability.h"
#include "model/job.h"
#include "model/sandbox-score.h"
#include "model/syscalls.h"

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
        if (strstr(err.message, message) == NULL)
                fail_msg("%s", err.message);
}

static const char tight[] =
        "dynamic_user: true\n    limits: {memory: 64MiB, pids: 9}\n    sandbox: {no_new_privs: "
        "true, "
        "capabilities: [], seccomp: default, seccomp_deny: [namespaces, io-uring], private_tmp: "
        "true, read_only: true, writable: [/srv/a], hide: [/home, /root], pid_namespace: true, "
        "user_namespace: true, network: none}";

static void nothing_given_is_nothing_closed(void **state)
{
        AUTO(job_spec_unrefp) struct job_spec *s = parse("kind: service");
        struct sandbox_item items[SANDBOX_ITEMS];

        (void) state;
        assert_false(job_spec_has_sandbox(s));
        assert_true(s->sandbox.capabilities == JOB_CAPABILITIES_ANY);
        assert_int_equal(sandbox_score(s, items), SANDBOX_POINTS_MAX);
        for (size_t i = 0; i < SANDBOX_ITEMS; i++) {
                assert_int_equal(items[i].points, items[i].most);
                assert_non_null(items[i].advice);
        }
        assert_string_equal(sandbox_word(SANDBOX_POINTS_MAX), "wide open");
}

static void everything_given_is_tight(void **state)
{
        AUTO(job_spec_unrefp) struct job_spec *s = parse(tight);
        struct sandbox_item items[SANDBOX_ITEMS];

        (void) state;
        assert_true(job_spec_has_sandbox(s));
        assert_true(s->sandbox.capabilities == 0);
        assert_string_equal(s->sandbox.writable[0], "/srv/a");
        assert_true(sandbox_score(s, items) <= 5);
        assert_string_equal(sandbox_word(sandbox_score(s, items)), "tight");
}

/* What is asked for is never better than more of it. */
static void every_field_lowers_the_score(void **state)
{
        static const char *const fields[] = { "dynamic_user: true", "user: nobody",
                "sandbox: {chroot: /srv/x}", "sandbox: {no_new_privs: true}",
                "sandbox: {capabilities: []}", "sandbox: {seccomp: default}",
                "sandbox: {seccomp_deny: [namespaces]}", "sandbox: {private_tmp: true}",
                "sandbox: {read_only: true}", "sandbox: {hide: [/home, /root]}",
                "sandbox: {pid_namespace: true}", "sandbox: {user_namespace: true}",
                "sandbox: {network: none}", "limits: {pids: 9}" };
        struct sandbox_item items[SANDBOX_ITEMS];

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
                AUTO(job_spec_unrefp) struct job_spec *s = parse(fields[i]);

                assert_true(sandbox_score(s, items) < SANDBOX_POINTS_MAX);
        }
}

/* The lines of `reeve job --sandbox` are made of them. */
static void the_score_fits_its_lines(void **state)
{
        static const char *const fields[] = { "kind: service", "user: nobody", tight,
                "sandbox: {capabilities: [sys_admin], seccomp_deny: [io-uring]}",
                "sandbox: {chroot: /srv/x, capabilities: [kill]}" };
        struct sandbox_item items[SANDBOX_ITEMS];

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
                AUTO(job_spec_unrefp) struct job_spec *s = parse(fields[i]);

                sandbox_score(s, items);
                for (size_t k = 0; k < SANDBOX_ITEMS; k++) {
                        assert_true(strlen(items[k].finding) <= 48);
                        assert_true(items[k].advice == NULL || strlen(items[k].advice) <= 48);
                        assert_true((items[k].advice == NULL) == (items[k].points == 0));
                }
        }
}

static void what_is_written_is_read_back(void **state)
{
        AUTO(job_spec_unrefp) struct job_spec *s = parse(tight);
        AUTO(job_spec_unrefp) struct job_spec *again = NULL;
        json_t *json = job_spec_to_json(s);
        struct error err = ERROR_INIT;
        struct job_diff diff;

        (void) state;
        assert_int_equal(
                json_array_size(json_object_get(json_object_get(json, "sandbox"), "capabilities")),
                0);
        if (job_spec_from_json("a", json, &again, &err) < 0)
                fail_msg("%s", err.message);
        job_spec_diff(s, again, &diff);
        assert_int_equal(diff.len, 0);
        job_diff_done(&diff);
        json_decref(json);
}

static void a_change_needs_a_new_run(void **state)
{
        AUTO(job_spec_unrefp) struct job_spec *s = parse("kind: service");
        AUTO(job_spec_unrefp) struct job_spec *none = parse("sandbox: {capabilities: []}");
        struct job_diff diff;

        (void) state;
        job_spec_diff(s, none, &diff);
        assert_int_equal(diff.len, 1);
        assert_string_equal(diff.changes[0].field, "sandbox.capabilities");
        assert_string_equal(diff.changes[0].from, "null");
        assert_string_equal(diff.changes[0].to, "[]");
        assert_true(diff.needs_restart);
        job_diff_done(&diff);
}

static void capabilities_have_their_numbers(void **state)
{
        AUTO(job_spec_unrefp)
        struct job_spec *s =
                parse("sandbox: {capabilities: [CAP_NET_BIND_SERVICE, checkpoint_restore]}");

        (void) state;
        assert_true(s->sandbox.capabilities == (UINT64_C(1) << 10 | UINT64_C(1) << 40));
        assert_int_equal(capability_find("sys_admin"), 21);
        assert_int_equal(capability_find("nonsense"), -1);
}

static void what_cannot_be_is_refused(void **state)
{
        (void) state;
        assert_refused("sandbox: {capabilities: [root]}",
                "f:4: jobs.a.sandbox.capabilities[0]: expected a capability such as "
                "net_bind_service, got \"root\"");
        assert_refused("sandbox: {capabilities: net_raw}", "expected a list such as");
        assert_refused("sandbox: {seccomp_deny: [moun]}",
                "f:4: jobs.a.sandbox.seccomp_deny: there is no group \"moun\" of system calls; "
                "there are clock, ");
        assert_refused("sandbox: {hide: home}", "f:4: jobs.a.sandbox.hide: expected an absolute");
        assert_refused("sandbox: {hide: [/home/../etc]}", "expected a path below the root");
        assert_refused("sandbox: {hide: [/]}", "expected a path below the root");
        assert_refused("sandbox: {writable: [/srv]}",
                "f:4: jobs.a.sandbox.writable: it needs \"read_only: true\"");
        assert_refused("sandbox: {network: none}\n    health: [{tcp: \"127.0.0.1:1\"}]",
                "f:4: jobs.a.sandbox.network: with \"none\" nobody reaches the task's ports");
        assert_refused("daemon: {pid_file: /run/x}\n    sandbox: {pid_namespace: true}",
                "jobs.a.sandbox.pid_namespace: not possible with \"daemon\"");
        assert_refused("daemon: {pid_file: /run/x, adopt: true}\n    sandbox: {read_only: true}",
                "jobs.a.sandbox: not possible with \"daemon.adopt\"");
        assert_refused("dynamic_user: true\n    user: nobody", "f:5: jobs.a.user: leave it out");
}

static void groups_have_names_of_their_own(void **state)
{
        (void) state;
        for (const struct syscall_group *g = syscall_groups; g->name != NULL; g++) {
                assert_ptr_equal(syscall_group_find(g->name), g);
                assert_true(strlen(g->help) > 0 && g->calls[0] != NULL);
                for (size_t i = 1; g->calls[i] != NULL; i++)
                        assert_true(strcmp(g->calls[i - 1], g->calls[i]) < 0);
        }
        assert_null(syscall_group_find("nonsense"));
        assert_true(syscall_group_find("mount")->by_default);
        assert_false(syscall_group_find("network")->by_default);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(nothing_given_is_nothing_closed),
                cmocka_unit_test(everything_given_is_tight),
                cmocka_unit_test(every_field_lowers_the_score),
                cmocka_unit_test(the_score_fits_its_lines),
                cmocka_unit_test(what_is_written_is_read_back),
                cmocka_unit_test(a_change_needs_a_new_run),
                cmocka_unit_test(capabilities_have_their_numbers),
                cmocka_unit_test(what_cannot_be_is_refused),
                cmocka_unit_test(groups_have_names_of_their_own),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
