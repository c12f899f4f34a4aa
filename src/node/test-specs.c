/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "node/specs.h"

static char directory[64];
static struct specs *specs;

static int set_up(void **state)
{
        (void) state;
        strcpy(directory, "/tmp/reeve-test-specs-XXXXXX"); /* NOLINT: it fits */
        if (mkdtemp(directory) == NULL)
                return -1;
        specs = specs_new(directory);
        return 0;
}

static int tear_down(void **state)
{
        (void) state;
        specs_free(specs);
        return file_remove_tree(directory, NULL);
}

/* What the next agent sees. */
static void begin_anew(void)
{
        specs_free(specs);
        specs = specs_new(directory);
}

static int try_learn(const char *job, uint32_t version, const char *text, struct error *err)
{
        json_t *object = json_loads(text, JSON_DECODE_ANY, NULL);
        int r = specs_learn(specs, job, version, object, err);

        json_decref(object);
        return r;
}

static void learn(const char *job, uint32_t version, const char *text)
{
        struct error err = ERROR_INIT;

        if (try_learn(job, version, text, &err) < 0)
                fail_msg("%s", err.message);
}

static struct spec *get(const char *job, uint32_t version)
{
        struct error err = ERROR_INIT;
        struct spec *spec = NULL;

        if (specs_get(specs, job, version, &spec, &err) < 0)
                fail_msg("%s", err.message);
        assert_int_equal(spec->version, version);
        return spec;
}

static void expect_unknown(const char *job, uint32_t version)
{
        struct error err = ERROR_INIT;
        struct spec *spec = NULL;

        assert_int_equal(specs_get(specs, job, version, &spec, &err), -1);
        assert_int_equal(err.code, ERR_NOT_FOUND);
        assert_null(spec);
}

static bool is_file(const char *name)
{
        AUTO(mem_freep) char *path = mem_printf("%s/%s", directory, name);

        return access(path, F_OK) == 0;
}

static void write_file(const char *name, const char *text, size_t len)
{
        AUTO(mem_freep) char *path = mem_printf("%s/%s", directory, name);

        assert_int_equal(file_replace(path, text, len, 0600, false, NULL), 0);
}

#define SPEC(command) "{\"command\":[\"" command "\"]}"

static void a_spec_is_shared_and_goes_with_its_last_user(void **state)
{
        struct spec *a, *b;

        (void) state;
        expect_unknown("web", 1);
        learn("web", 1, SPEC("a"));
        assert_true(is_file("web@1.json"));
        a = get("web", 1);
        b = get("web", 1);
        assert_ptr_equal(a, b);
        assert_string_equal(a->job->command[0], "a");
        assert_string_equal(a->job->name, "web");
        assert_null(specs_put(specs, a));
        assert_true(is_file("web@1.json"));
        assert_string_equal(b->job->command[0], "a");
        assert_null(specs_put(specs, b));
        assert_false(is_file("web@1.json"));
        expect_unknown("web", 1);
        assert_null(specs_put(specs, NULL));
}

static void versions_and_jobs_are_apart(void **state)
{
        struct spec *found[4];

        (void) state;
        learn("web", 1, SPEC("a"));
        learn("web", 2, SPEC("b"));
        learn("web", 12, SPEC("c"));
        learn("web1", 2, SPEC("d"));
        found[0] = get("web", 1);
        found[1] = get("web", 2);
        found[2] = get("web", 12);
        found[3] = get("web1", 2);
        for (int i = 0; i < 4; i++) {
                assert_int_equal(found[i]->job->command[0][0], 'a' + i);
                specs_put(specs, found[i]);
        }
}

static void a_later_agent_knows_what_was_learnt(void **state)
{
        struct spec *spec;

        (void) state;
        learn("web", 3, "{\"command\":[\"a\",\"b c\"],\"stop\":{\"grace\":\"7s\"}}");
        begin_anew();
        spec = get("web", 3);
        assert_string_equal(spec->job->command[1], "b c");
        assert_int_equal(spec->job->stop.grace, 7 * USEC_SEC);
        spec->refs++; /* an agent that is killed gives nothing back */
        begin_anew();
        spec = get("web", 3);
        specs_put(specs, spec);
        assert_false(is_file("web@3.json"));
}

/* A job that was removed and is there again counts its versions from 1. */
static void the_last_word_of_the_server_holds(void **state)
{
        const struct spawn_plan *plan;
        struct spec *spec;

        (void) state;
        learn("web", 1, SPEC("/old"));
        spec = get("web", 1);
        assert_int_equal(spec_plan(spec, &plan, NULL), 0);
        assert_string_equal(plan->program, "/old");
        learn("web", 1, SPEC("/new"));
        assert_ptr_equal(get("web", 1), spec); /* its users see it */
        assert_string_equal(spec->job->command[0], "/new");
        assert_int_equal(spec_plan(spec, &plan, NULL), 0);
        assert_string_equal(plan->program, "/new");
        begin_anew();
        assert_string_equal(get("web", 1)->job->command[0], "/new");
}

static void the_same_spec_again_changes_nothing(void **state)
{
        AUTO(mem_freep) char *path = mem_printf("%s/web@1.json", directory);
        const struct spawn_plan *plan, *again;
        struct stat before, after;
        struct spec *spec;

        (void) state;
        learn("web", 1, SPEC("a"));
        spec = get("web", 1);
        assert_int_equal(spec_plan(spec, &plan, NULL), 0);
        assert_int_equal(stat(path, &before), 0);
        learn("web", 1, "{\"command\": [\"a\"], \"kind\": \"service\"}"); /* in other words */
        assert_int_equal(stat(path, &after), 0);
        assert_int_equal(before.st_ino, after.st_ino);
        assert_true(spec->planned);
        assert_int_equal(spec_plan(spec, &again, NULL), 0);
        assert_ptr_equal(plan, again);
}

static void a_spec_that_cannot_be_read_is_refused(void **state)
{
        static const char *const bad[] = { "{}", "[]", "null", "7", "\"x\"", "{\"command\":{}}",
                "{\"command\":[\"a\"],\"colour\":\"red\"}" };
        struct error err = ERROR_INIT;

        (void) state;
        learn("web", 1, SPEC("good"));
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                if (try_learn("web", 1, bad[i], &err) == 0)
                        fail_msg("learnt: %s", bad[i]);
                assert_int_equal(err.code, ERR_INVALID);
                assert_memory_equal(err.message, "spec of web version 1: ", 23);
        }
        assert_int_equal(specs_learn(specs, "web", 1, NULL, &err), -1); /* it was not there */
        assert_int_equal(err.code, ERR_INVALID);
        assert_string_equal(get("web", 1)->job->command[0], "good");
}

static void what_cannot_be_written_is_not_learnt(void **state)
{
        struct error err = ERROR_INIT;

        (void) state;
        assert_int_equal(file_remove_tree(directory, NULL), 0);
        assert_int_equal(try_learn("web", 1, SPEC("a"), &err), -1);
        assert_int_equal(err.code, ERR_NOT_FOUND);
        assert_int_equal(mkdir(directory, 0700), 0);
        expect_unknown("web", 1);
        learn("web", 1, SPEC("a"));
        specs_put(specs, get("web", 1));
}

static void damaged_files_are_errors(void **state)
{
        static const struct {
                const char *text;
                size_t len;
        } bad[] = { { "", 0 }, { "{", 1 }, { "\0\0\0\0", 4 }, { "{\"command\":[\"a\"]", 16 },
                { "{}", 2 }, { "[]", 2 }, { "7", 1 }, { "\xff\xfe", 2 },
                { "{\"command\":[\"a\"],\"command\":[\"b\"]}", 33 } };
        struct error err = ERROR_INIT;
        struct spec *spec = NULL;

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                write_file("web@1.json", bad[i].text, bad[i].len);
                assert_int_equal(specs_get(specs, "web", 1, &spec, &err), -1);
                assert_null(spec);
                assert_non_null(strstr(err.message, "web@1.json"));
        }
        learn("web", 1, SPEC("a")); /* the server says it again */
        assert_string_equal(get("web", 1)->job->command[0], "a");
}

static void a_plan_that_failed_is_made_again(void **state)
{
        const struct spawn_plan *plan = NULL;
        struct error err = ERROR_INIT;
        struct spec *spec;

        (void) state;
        learn("web", 1, "{\"command\":[\"a\"],\"user\":\"reeve-nobody\"}");
        spec = get("web", 1);
        for (int i = 0; i < 2; i++) {
                assert_int_equal(spec_plan(spec, &plan, &err), -1);
                assert_int_equal(err.code, ERR_INVALID);
                assert_null(plan);
        }
        learn("web", 1, SPEC("a"));
        assert_int_equal(spec_plan(spec, &plan, &err), 0);
        assert_non_null(plan);
}

static void sweeping_keeps_what_is_used(void **state)
{
        struct spec *used;

        (void) state;
        learn("used", 1, SPEC("a"));
        learn("unused", 1, SPEC("b"));
        write_file("left@9.json", "{}", 2);
        write_file("used@1.json.new", "{", 1); /* of an agent that was killed in the middle */
        write_file("used@10.json", "{}", 2);
        used = get("used", 1);
        specs_sweep(specs);
        assert_true(is_file("used@1.json"));
        assert_false(is_file("unused@1.json"));
        assert_false(is_file("left@9.json"));
        assert_false(is_file("used@1.json.new"));
        assert_false(is_file("used@10.json"));
        expect_unknown("unused", 1);
        assert_ptr_equal(get("used", 1), used);
        learn("unused", 1, SPEC("c")); /* may come back */
        assert_string_equal(get("unused", 1)->job->command[0], "c");
}

static void sweeping_without_a_folder_is_no_harm(void **state)
{
        (void) state;
        assert_int_equal(file_remove_tree(directory, NULL), 0);
        specs_sweep(specs);
        assert_int_equal(mkdir(directory, 0700), 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        const struct CMUnitTest tests[] = {
                TEST(a_spec_is_shared_and_goes_with_its_last_user),
                TEST(versions_and_jobs_are_apart),
                TEST(a_later_agent_knows_what_was_learnt),
                TEST(the_last_word_of_the_server_holds),
                TEST(the_same_spec_again_changes_nothing),
                TEST(a_spec_that_cannot_be_read_is_refused),
                TEST(what_cannot_be_written_is_not_learnt),
                TEST(damaged_files_are_errors),
                TEST(a_plan_that_failed_is_made_again),
                TEST(sweeping_keeps_what_is_used),
                TEST(sweeping_without_a_folder_is_no_harm),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
