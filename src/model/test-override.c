/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/macros.h"
#include "base/mem.h"
#include "model/override.h"

#define TEMPLATE                                                                                   \
        "{\"template\": true, \"kind\": \"batch\", \"command\": [\"work\"], \"count\": 2,"         \
        " \"env\": {\"LEVEL\": \"info\", \"HOME\": \"/x\"}, \"resources\": {\"memory\": "          \
        "\"64MiB\"}}"

static struct job_spec *spec_of(const char *json)
{
        json_t *object = json_loads(json, JSON_REJECT_DUPLICATES, NULL);
        struct job_spec *spec;
        struct error err;

        if (job_spec_from_json("work", object, &spec, &err) < 0)
                fail_msg("%s", err.message);
        json_decref(object);
        return spec;
}

/* What the template becomes; NULL: @err. */
static struct job_spec *made(const char *template, const char *set, struct error *err)
{
        AUTO(job_spec_unrefp) struct job_spec *spec = spec_of(template);
        struct job_spec *result = NULL;
        json_t *object = set == NULL ? NULL : json_loads(set, JSON_REJECT_DUPLICATES, NULL);

        assert_true(set == NULL || object != NULL);
        if (job_override(spec, "work-7", object, &result, err) < 0)
                assert_null(result);
        json_decref(object);
        return result;
}

/* The result differs from @spec in these fields only. */
static void expect_changes(
        const char *template, const struct job_spec *to, const char *const *expected)
{
        AUTO(job_spec_unrefp) struct job_spec *from = spec_of(template);
        struct job_diff diff;

        job_spec_diff(from, to, &diff);
        for (size_t i = 0; i < diff.len; i++) {
                AUTO(mem_freep)
                char *text = mem_printf("%s=%s", diff.changes[i].field, diff.changes[i].to);

                assert_non_null(expected[i]);
                assert_string_equal(text, expected[i]);
        }
        assert_null(expected[diff.len]);
        job_diff_done(&diff);
}

static void fields_are_set(void **state)
{
        static const struct {
                const char *set, *changes[5];
        } rows[] = {
                { NULL, { "template=false" } },
                { "{}", { "template=false" } },
                { "{\"count\": 5}", { "template=false", "count=5" } },
                { "{\"env.LEVEL\": \"debug\", \"env.N\": 3}",
                        { "template=false",
                                "env={\"HOME\":\"/x\",\"LEVEL\":\"debug\",\"N\":\"3\"}" } },
                { "{\"env.LEVEL\": null}", { "template=false", "env={\"HOME\":\"/x\"}" } },
                { "{\"env\": {\"A\": \"b\"}}", { "template=false", "env={\"A\":\"b\"}" } },
                { "{\"count\": null}", { "template=false", "count=1" } },
                { "{\"resources.memory\": \"1GiB\", \"resources.cpu\": 0.5}",
                        { "template=false", "resources.cpu=\"0.5\"",
                                "resources.memory=\"1GiB\"" } },
                { "{\"place.where\": [\"memory >= 1GiB\"]}",
                        { "template=false", "place.where=[\"memory >= 1GiB\"]" } },
                { "{\"command\": \"echo hi\"}", { "template=false", "command=\"echo hi\"" } },
                /* a default that nobody has written gives way */
                { "{\"restart.delay\": \"5m\"}",
                        { "template=false", "restart.delay=\"5m\"", "restart.max_delay=\"5m\"" } },
                { "{\"kind\": \"service\"}",
                        { "kind=\"service\"", "template=false", "restart.policy=\"always\"" } },
                { "{\"kind\": \"cron\", \"schedule.cron\": \"0 3 * * *\"}",
                        { "kind=\"cron\"", "template=false", "schedule.cron=\"0 3 * * *\"" } },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                struct error err = ERROR_INIT;
                AUTO(job_spec_unrefp) struct job_spec *spec = made(TEMPLATE, rows[i].set, &err);

                if (spec == NULL)
                        fail_msg("%s: %s", rows[i].set, err.message);
                assert_string_equal(spec->name, "work-7");
                assert_false(spec->template);
                expect_changes(TEMPLATE, spec, rows[i].changes);
        }
}

static void templates_of_all_kinds(void **state)
{
        static const char cron[] = "{\"command\": [\"x\"], \"kind\": \"cron\", \"template\": true, "
                                   "\"schedule\": {\"cron\": \"0 3 * * *\"}}";
        static const char *const templates[] = {
                "{\"command\": [\"x\"], \"template\": true}",
                "{\"command\": \"x\", \"kind\": \"system\", \"template\": true}",
                cron,
                "{\"command\": [\"x\"], \"place\": {\"with\": \"other\"}, \"template\": true}",
                "{\"command\": [\"x\"], \"singleton\": true, \"template\": true}",
        };
        static const char *const only[] = { "template=false", "priority=7", NULL };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(templates); i++) {
                struct error err = ERROR_INIT;
                AUTO(job_spec_unrefp)
                struct job_spec *spec = made(templates[i], "{\"priority\": 7}", &err);

                if (spec == NULL)
                        fail_msg("%s: %s", templates[i], err.message);
                expect_changes(templates[i], spec, only);
        }
}

static void mistakes_are_told(void **state)
{
        static const struct {
                const char *set, *says;
        } rows[] = {
                { "{\"cuont\": 3}", "set.cuont: unknown field; did you mean \"count\"?" },
                { "{\"restrat.delay\": 3}",
                        "set.restrat.delay: unknown field; did you mean \"restart.delay\"?" },
                { "{\"disk\": 3}", "did you mean \"resources.disk\"?" },
                { "{\"xyzzy\": 3}", "set.xyzzy: unknown field; docs/job.md lists all" },
                { "{\"\": 3}", "set.: unknown field" },
                { "{\"count.x\": 3}", "set.count.x: unknown field; did you mean \"count\"?" },
                { "{\"stop\": {\"grace\": 3}}",
                        "set.stop: has several fields, set each: stop.signal, stop.grace" },
                { "{\"template\": true}", "set.template: what is made of a template is run" },
                { "{\"template\": false}", "set.template: " },
                { "{\"count\": \"many\"}", "jobs.work-7.count: expected" },
                { "{\"command\": null}", "jobs.work-7: \"command\" is missing" },
                { "{\"env.1\": \"x\"}", "jobs.work-7.env.1: " },
                { "{\"kind\": \"cron\"}", "a cron job needs \"schedule.cron\"" },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                struct error err = ERROR_INIT;
                struct job_spec *spec = made(TEMPLATE, rows[i].set, &err);

                assert_null(spec);
                assert_int_equal(err.code, ERR_INVALID);
                if (strstr(err.message, rows[i].says) == NULL)
                        fail_msg("%s: %s", rows[i].set, err.message);
        }
}

static void values_of_people(void **state)
{
        static const struct {
                const char *path, *text, *json;
        } rows[] = {
                { "count", "3", "3" },
                { "singleton", "true", "true" },
                { "resources.memory", "1GiB", "\"1GiB\"" },
                { "command", "[a, \"b c\"]", "[\"a\",\"b c\"]" },
                { "command", "a b", "\"a b\"" },
                { "place.where", "[\"cores >= 2\"]", "[\"cores >= 2\"]" },
                { "env.LEVEL", "1.10", "\"1.10\"" },
                { "env.LEVEL", "", "\"\"" },
                { "env.LEVEL", "a: b", "\"a: b\"" },
                { "env", "{A: b}", "{\"A\":\"b\"}" },
                { "user", "1000", "\"1000\"" },
                { "directory", "/a b", "\"/a b\"" },
                { "priority", "null", "null" },
                { "no.such", "5", "5" },
        };
        json_t *value;
        struct error err = ERROR_INIT;

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                char *json;

                if (job_override_value(rows[i].path, rows[i].text, &value, &err) < 0)
                        fail_msg("%s: %s", rows[i].text, err.message);
                json = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
                assert_string_equal(json, rows[i].json);
                free(json);
                json_decref(value);
        }
        assert_int_equal(job_override_value("command", "[a", &value, &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
        assert_int_equal(job_override_value("env.X", "\xff", &value, &err), -1);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(fields_are_set),
                cmocka_unit_test(templates_of_all_kinds),
                cmocka_unit_test(mistakes_are_told),
                cmocka_unit_test(values_of_people),
        };

        return cmocka_run_group_tests_name("override", tests, NULL, NULL);
}
