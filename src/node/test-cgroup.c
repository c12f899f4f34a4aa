/* SPDX-License-Identifier: BSD-3-Clause */
/* Cgroups: what needs no rights: which limits a spec asks for, their words, and files that say
 * nothing. (What the kernel makes of it is in test/scenario/test_limits.py.) */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "node/cgroup-internal.h"

static char directory[] = "/tmp/reeve-test-cgroup-XXXXXX";

static int set_up(void **state)
{
        (void) state;
        return mkdtemp(directory) == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
        (void) state;
        return file_remove_tree(directory, NULL);
}

static void put_file(const char *name, const char *text)
{
        AUTO(mem_freep) char *path = mem_printf("%s/%s", directory, name);
        AUTO(mem_freep) char *parent = mem_strndup(path, (size_t) (strrchr(path, '/') - path));

        assert_int_equal(file_mkdirs(parent, 0755, NULL), 0);
        assert_int_equal(file_replace(path, text, strlen(text), 0644, false, NULL), 0);
}

static struct job_spec *make_spec(const char *limits)
{
        json_t *json =
                json_pack("{s:[s],s:o}", "command", "x", "limits", json_loads(limits, 0, NULL));
        struct error err = ERROR_INIT;
        struct job_spec *spec = NULL;

        if (job_spec_from_json("a", json, &spec, &err) < 0)
                fail_msg("%s", err.message);
        json_decref(json);
        return spec;
}

static void a_spec_needs_what_it_limits(void **state)
{
        static const struct {
                const char *limits;
                unsigned needs;
        } rows[] = {
                { "{}", 0 },
                { "{\"memory\": \"1MiB\"}", CGROUP_MEMORY },
                { "{\"memory\": \"unlimited\", \"pids\": \"unlimited\"}", 0 },
                { "{\"swap\": 0}", CGROUP_SWAP },
                { "{\"cpu\": 1, \"cpu_weight\": 100}", CGROUP_CPU },
                { "{\"cpu_weight\": 101}", CGROUP_CPU },
                { "{\"pids\": 3, \"io_weight\": 7}", CGROUP_PIDS | CGROUP_IO },
                { "{\"files\": 3, \"core\": 0}", 0 },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                struct job_spec *spec = make_spec(rows[i].limits);

                assert_int_equal(cgroup_needs(spec), rows[i].needs);
                job_spec_unref(spec);
        }
}

static void limits_have_words(void **state)
{
        char text[CGROUP_WORDS_MAX];

        (void) state;
        assert_string_equal(cgroup_words(text, 0), "none");
        assert_string_equal(cgroup_words(text, CGROUP_PIDS), "pids");
        assert_string_equal(cgroup_words(text, CGROUP_ALL), "memory swap cpu pids io");
}

static void numbers_are_found_by_their_keys(void **state)
{
        (void) state;
        put_file("memory.events", "low 0\noom 5\noom_kill 3\noom_kill_group 9\n");
        put_file("memory.peak", "12345\n");
        put_file("empty", "");
        assert_true(cgroup_number(directory, "memory.events", "oom_kill") == 3);
        assert_true(cgroup_number(directory, "memory.events", "oom") == 5);
        assert_true(cgroup_number(directory, "memory.events", "kill") == CGROUP_UNKNOWN);
        assert_true(cgroup_number(directory, "memory.peak", NULL) == 12345);
        assert_true(cgroup_number(directory, "empty", NULL) == CGROUP_UNKNOWN);
        assert_true(cgroup_number(directory, "no-such-file", NULL) == CGROUP_UNKNOWN);
}

/* A machine without any tree: everything is passed over, nothing fails. */
static void without_cgroups_runs_begin_and_end(void **state)
{
        AUTO(mem_freep) char *node = mem_printf("%s/node", directory);
        struct cgroup_birth birth;
        struct cgroup_usage usage;
        struct job_spec *spec = make_spec("{\"memory\": \"1MiB\"}");
        struct error err = ERROR_INIT;
        struct cgroups *cs;

        (void) state;
        put_file("proc/self/cgroup", "9:name=systemd:/\n0::/\ngarbage\n");
        put_file("proc/self/mountinfo", "1 2 0:3 / /none rw - tmpfs tmpfs rw\n - \nx - cgroup2\n");
        put_file("node/lock", "");
        cs = cgroups_new(directory, node, 0);
        assert_int_equal(cgroups_enforced(cs), 0);
        assert_false(cgroups_tracked(cs));
        assert_non_null(strstr(cgroups_lack(cs), "memory swap cpu pids io (memory is watched"));
        assert_int_equal(cgroups_begin(cs, "a.0", spec, true, &birth, &err), 0);
        assert_int_equal(birth.fd, -1);
        assert_null(birth.procs);
        assert_int_equal(cgroups_change(cs, "a.0", spec, &err), 0);
        cgroups_usage(cs, "a.0", &usage);
        assert_true(usage.oom_kills == 0 && usage.memory_peak == CGROUP_UNKNOWN);
        cgroups_kill(cs, "a.0");
        assert_true(cgroups_end(cs, "a.0"));
        cgroups_free(cs);
        job_spec_unref(spec);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_spec_needs_what_it_limits),
                cmocka_unit_test(limits_have_words),
                cmocka_unit_test(numbers_are_found_by_their_keys),
                cmocka_unit_test(without_cgroups_runs_begin_and_end),
        };

        return cmocka_run_group_tests(tests, set_up, tear_down);
}
