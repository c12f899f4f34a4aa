/* SPDX-License-Identifier: BSD-3-Clause */
/* Job files that are good, and what becomes of them: specs, JSON, differences, schema, page.
 * `test-job --write-reference PATH` writes the reference page instead of testing. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/file.h"
#include "base/macros.h"
#include "base/mem.h"
#include "model/job.h"

static const char *reference_path;

static void parse(const char *text, enum job_format format, struct job_file *ret)
{
        struct error err = ERROR_INIT;

        if (job_file_parse("f", text, strlen(text), format, ret, &err) < 0)
                fail_msg("%s", err.message);
}

/* The spec of the only job in a YAML file. */
static struct job_spec *parse_one(const char *text)
{
        struct job_file file = { 0 };
        struct job_spec *spec;

        parse(text, JOB_FORMAT_YAML, &file);
        assert_int_equal(file.jobs_len, 1);
        spec = job_spec_ref(file.jobs[0]);
        job_file_done(&file);
        return spec;
}

static void assert_texts(char *const *texts, const char *const *expected)
{
        size_t i = 0;

        for (; expected[i] != NULL; i++) {
                assert_non_null(texts[i]);
                assert_string_equal(texts[i], expected[i]);
        }
        assert_null(texts[i]);
}

#define TEXTS(...)                                                                                 \
        (const char *const[])                                                                      \
        {                                                                                          \
                __VA_ARGS__, NULL                                                                  \
        }

/* What is written is read back as the same spec. Returns it. */
static struct job_spec *roundtrip(const struct job_spec *spec)
{
        json_t *json = job_spec_to_json(spec);
        struct error err = ERROR_INIT;
        struct job_spec *again = NULL;
        struct job_diff diff;

        if (job_spec_from_json(spec->name, json, &again, &err) < 0)
                fail_msg("%s", err.message);
        job_spec_diff(spec, again, &diff);
        if (diff.len > 0)
                fail_msg("%s: %s became %s", diff.changes[0].field, diff.changes[0].from,
                        diff.changes[0].to);
        job_diff_done(&diff);
        json_decref(json);
        return again;
}

static void a_spec_has_defaults(void **state)
{
        AUTO(job_spec_unrefp) struct job_spec *s = parse_one("jobs: {web: {command: [run]}}");

        (void) state;
        assert_string_equal(s->name, "web");
        assert_int_equal(s->kind, JOB_SERVICE);
        assert_string_equal(job_kind_names[s->kind], "service");
        assert_int_equal(s->count, 1);
        assert_texts(s->command, TEXTS("run"));
        assert_false(s->command_shell);
        assert_null(s->user);
        assert_null(s->group);
        assert_null(s->directory);
        assert_null(s->env);
        assert_int_equal(s->success_codes_len, 1);
        assert_int_equal(s->success_codes[0], 0);
        assert_int_equal(s->restart.policy, RESTART_ALWAYS);
        assert_int_equal(s->restart.delay, USEC_SEC);
        assert_int_equal(s->restart.max_delay, USEC_MINUTE);
        assert_int_equal(s->restart.burst, 5);
        assert_int_equal(s->restart.window, USEC_MINUTE);
        assert_int_equal(s->restart.healthy, 10 * USEC_SEC);
        assert_int_equal(s->restart.rules_len, 0);
        assert_int_equal(s->stop.signal, SIGTERM);
        assert_int_equal(s->stop.grace, 10 * USEC_SEC);
        assert_int_equal(s->logs.size, 10 << 20);
        assert_int_equal(s->logs.files, 5);
        assert_int_equal(s->logs.when_full, LOGS_BLOCK);
        assert_int_equal(s->update.parallel, 1);
}

static void a_spec_of_before_means_what_it_meant(void **state)
{
        AUTO(job_spec_unrefp) struct job_spec *s = parse_one("jobs: {web: {command: [run]}}");

        (void) state;
        assert_false(s->template);
        assert_int_equal(s->priority, 50);
        assert_null(s->owner);
        assert_int_equal(s->queue.mode, QUEUE_ALWAYS);
        assert_false(s->queue.preempt);
        assert_int_equal(s->resources.cpu, 0);
        assert_int_equal(s->resources.memory, 0);
        assert_int_equal(s->resources.disk, 0);
        assert_null(s->resources.ports);
        assert_null(s->place.zones);
        assert_null(s->place.node);
        assert_null(s->place.spread);
        assert_null(s->place.exclusive);
        assert_null(s->place.with);
        assert_int_equal(s->place.constraints_len, 0);
        assert_int_equal(s->place.preferences_len, 0);
        assert_int_equal(s->place.by, PLACE_SPREAD);
        assert_false(s->place.gang);
        assert_false(s->singleton);
        assert_int_equal(s->lease, 10 * USEC_SEC);
        assert_int_equal(s->lost.then, LOST_MOVE);
        assert_int_equal(s->lost.after, 0);
        assert_int_equal(s->update.order, UPDATE_STOP_FIRST);
        assert_int_equal(s->update.deadline, 10 * USEC_MINUTE);
        assert_false(s->update.revert);
        assert_int_equal(s->update.canary, 0);
        assert_true(s->batch.retries == JOB_RETRIES_ANY);
        assert_int_equal(s->batch.parallel, 0);
        assert_null(s->schedule.cron);
        assert_int_equal(s->schedule.overlap, OVERLAP_SKIP);
        assert_int_equal(s->schedule.catch_up, CATCH_UP_LAST);
}

static void null_is_not_given(void **state)
{
        AUTO(job_spec_unrefp)
        struct job_spec *s = parse_one("jobs:\n  web:\n    command: [run]\n    kind:\n    count: "
                                       "null\n    restart:\n    env:\n    user: null\n    stop:\n  "
                                       "    signal:\n");

        (void) state;
        assert_int_equal(s->count, 1);
        assert_int_equal(s->restart.policy, RESTART_ALWAYS);
        assert_int_equal(s->stop.signal, SIGTERM);
        assert_null(s->env);
        assert_null(s->user);
}

static const char full[] =
        "# every field\n"
        "jobs:\n"
        "  sweep:\n"
        "    command: exec sweep \"$HOME\" | tee log # comment\n"
        "    kind: batch\n"
        "    count: 0\n"
        "    user: 1000\n"
        "    group: www-data\n"
        "    directory: /srv/web\n"
        "    env:\n"
        "      ZONE: no\n"
        "      VERSION: 1.10\n"
        "      BIG: 1E3\n"
        "      A.B: 012\n"
        "      A: true\n"
        "      DAY: 2026-03-01\n"
        "      EMPTY: \"\"\n"
        "      EQUAL: a=b\n"
        "      WORDS: |\n"
        "        one\n"
        "        two\n"
        "    success_codes: [3, 0, 3]\n"
        "    restart:\n"
        "      policy: never\n"
        "      delay: 250ms\n"
        "      max_delay: 1m30s\n"
        "      burst: 0\n"
        "      window: 90\n"
        "      healthy: 0.5\n"
        "      rules:\n"
        "      - exit: 78\n"
        "        then: end\n"
        "      - signal: [SIGKILL, hup, 9]\n"
        "        exit: [2, 1]\n"
        "        then: restart\n"
        "    stop: {signal: INT, grace: 0}\n"
        "    logs: {size: 4096, files: 0, when_full: drop}\n"
        "    update: {parallel: 100000}\n"
        "    priority: 70\n"
        "    owner: data team\n"
        "    resources: {cpu: 0.5, memory: 256MiB, disk: 1000, ports: [http, admin]}\n"
        "    place:\n"
        "      zone: [west, 1]\n"
        "      node: n1\n"
        "      where: [memory >= 4GiB, \"gpu   exists\"]\n"
        "      prefer: [{where: a=b, weight: -100}, {where: \"k >= version 6.1\", weight: 50}]\n"
        "      spread: rack.row\n"
        "      by: pack\n"
        "      exclusive: gpu\n"
        "      gang: true\n"
        "    queue: {mode: start-only, preempt: true}\n"
        "    lost: {then: wait, after: 5m}\n"
        "    lease: 5s\n"
        "    batch: {retries: 3, parallel: 2, deadline: 1h, keep: 7d}\n";

static void every_field_is_read(void **state)
{
        AUTO(job_spec_unrefp) struct job_spec *s = parse_one(full);

        (void) state;
        assert_int_equal(s->kind, JOB_BATCH);
        assert_int_equal(s->count, 0);
        assert_true(s->command_shell);
        assert_texts(s->command, TEXTS("exec sweep \"$HOME\" | tee log"));
        assert_string_equal(s->user, "1000");
        assert_string_equal(s->group, "www-data");
        assert_string_equal(s->directory, "/srv/web");
        assert_texts(s->env, TEXTS("A=true", "A.B=012", "BIG=1E3", "DAY=2026-03-01", "EMPTY=",
                                     "EQUAL=a=b", "VERSION=1.10", "WORDS=one\ntwo\n", "ZONE=no"));
        assert_int_equal(s->success_codes_len, 2);
        assert_int_equal(s->success_codes[0], 0);
        assert_int_equal(s->success_codes[1], 3);
        assert_int_equal(s->restart.policy, RESTART_NEVER);
        assert_int_equal(s->restart.delay, 250 * USEC_MSEC);
        assert_int_equal(s->restart.max_delay, 90 * USEC_SEC);
        assert_int_equal(s->restart.burst, 0);
        assert_int_equal(s->restart.window, 90 * USEC_SEC);
        assert_int_equal(s->restart.healthy, USEC_SEC / 2);
        assert_int_equal(s->stop.signal, SIGINT);
        assert_int_equal(s->stop.grace, 0);
        assert_int_equal(s->logs.size, 4096);
        assert_int_equal(s->logs.files, 0);
        assert_int_equal(s->logs.when_full, LOGS_DROP);
        assert_int_equal(s->update.parallel, 100000);
}

static void every_field_of_the_cluster_is_read(void **state)
{
        AUTO(job_spec_unrefp) struct job_spec *s = parse_one(full);

        (void) state;
        assert_int_equal(s->priority, 70);
        assert_string_equal(s->owner, "data team");
        assert_int_equal(s->resources.cpu, 500);
        assert_int_equal(s->resources.memory, 256 << 20);
        assert_int_equal(s->resources.disk, 1000);
        assert_texts(s->resources.ports, TEXTS("http", "admin"));
        assert_texts(s->place.zones, TEXTS("west", "1"));
        assert_string_equal(s->place.node, "n1");
        assert_int_equal(s->place.constraints_len, 2);
        assert_int_equal(s->place.constraints[0].op, CONSTRAINT_GREATER_EQUAL);
        assert_string_equal(s->place.constraints[1].attribute, "gpu");
        assert_int_equal(s->place.preferences_len, 2);
        assert_int_equal(s->place.preferences[0].weight, -100);
        assert_string_equal(s->place.preferences[1].where->attribute, "k");
        assert_string_equal(s->place.spread, "rack.row");
        assert_int_equal(s->place.by, PLACE_PACK);
        assert_string_equal(s->place.exclusive, "gpu");
        assert_true(s->place.gang);
        assert_int_equal(s->queue.mode, QUEUE_START_ONLY);
        assert_true(s->queue.preempt);
        assert_int_equal(s->lost.then, LOST_WAIT);
        assert_int_equal(s->lost.after, 5 * USEC_MINUTE);
        assert_int_equal(s->lease, 5 * USEC_SEC);
        assert_int_equal(s->batch.retries, 3);
        assert_int_equal(s->batch.parallel, 2);
        assert_int_equal(s->batch.deadline, USEC_HOUR);
        assert_int_equal(s->batch.keep, 7 * USEC_DAY);
}

static void rules_are_read_in_order(void **state)
{
        AUTO(job_spec_unrefp) struct job_spec *s = parse_one(full);
        const struct restart_rule *rule = s->restart.rules;

        (void) state;
        assert_int_equal(s->restart.rules_len, 2);
        assert_int_equal(rule[0].exit_codes_len, 1);
        assert_int_equal(rule[0].exit_codes[0], 78);
        assert_int_equal(rule[0].signals_len, 0);
        assert_int_equal(rule[0].then, RESTART_ACTION_END);
        assert_int_equal(rule[1].exit_codes_len, 2);
        assert_int_equal(rule[1].exit_codes[0], 1);
        assert_int_equal(rule[1].exit_codes[1], 2);
        assert_int_equal(rule[1].signals_len, 2);
        assert_int_equal(rule[1].signals[0], SIGHUP);
        assert_int_equal(rule[1].signals[1], SIGKILL);
        assert_int_equal(rule[1].then, RESTART_ACTION_RESTART);
}

static void defaults_depend_on_each_other(void **state)
{
        AUTO(job_spec_unrefp)
        struct job_spec *batch = parse_one("jobs: {a: {command: x, kind: batch}}"),
                        *slow = parse_one("jobs: {a: {command: x, restart: {delay: 5m}}}"),
                        *last = parse_one("jobs: {a: {restart: {policy: always}, command: x, kind: "
                                          "batch}}");

        (void) state;
        assert_int_equal(batch->restart.policy, RESTART_ON_FAILURE);
        assert_int_equal(slow->restart.max_delay, 5 * USEC_MINUTE);
        assert_int_equal(last->restart.policy, RESTART_ALWAYS);
}

static void a_job_per_node_has_no_count(void **state)
{
        AUTO(job_spec_unrefp)
        struct job_spec *all = parse_one("jobs: {a: {command: x, kind: system, count: null}}"),
                        *linked = parse_one("jobs: {a: {command: x, place: {with: db}}}"),
                        *plain = parse_one("jobs: {a: {command: x}}");
        json_t *json = job_spec_to_json(all);
        struct job_diff diff;

        (void) state;
        assert_true(job_spec_per_node(all));
        assert_true(job_spec_per_node(linked));
        assert_false(job_spec_per_node(plain));
        assert_int_equal(all->count, 0);
        assert_int_equal(linked->count, 0);
        assert_int_equal(all->restart.policy, RESTART_ALWAYS);
        assert_false(job_spec_is_batch(all));
        assert_true(json_is_null(json_object_get(json, "count")));
        job_spec_diff(plain, linked, &diff);
        assert_int_equal(diff.len, 2);
        assert_string_equal(diff.changes[0].field, "count");
        assert_string_equal(diff.changes[0].to, "null");
        assert_string_equal(diff.changes[1].field, "place.with");
        job_diff_done(&diff);
        json_decref(json);
}

static void a_cron_job_has_a_timetable(void **state)
{
        AUTO(job_spec_unrefp)
        struct job_spec *s = parse_one("jobs: {a: {command: x, kind: cron, schedule: {cron: '0 3 * "
                                       "* *', zone: Europe/Paris, overlap: replace}}}"),
                        *again = roundtrip(s);

        (void) state;
        assert_true(job_spec_is_batch(s));
        assert_int_equal(s->restart.policy, RESTART_ON_FAILURE);
        assert_string_equal(again->schedule.cron, "0 3 * * *");
        assert_int_equal(again->schedule.times.hours, 1 << 3);
        assert_int_equal(again->schedule.times.minutes, 1);
        assert_string_equal(again->schedule.zone, "Europe/Paris");
        assert_int_equal(again->schedule.overlap, OVERLAP_REPLACE);
        assert_int_equal(again->schedule.catch_up, CATCH_UP_LAST);
}

static void a_singleton_is_a_service_of_one(void **state)
{
        AUTO(job_spec_unrefp)
        struct job_spec *s = parse_one("jobs: {a: {command: x, singleton: true, lease: 3s}}"),
                        *again = roundtrip(s);

        (void) state;
        assert_true(again->singleton);
        assert_int_equal(again->lease, 3 * USEC_SEC);
}

static void cores_are_counted_in_thousandths(void **state)
{
        static const struct {
                const char *text;
                unsigned milli;
                const char *written;
        } rows[] = {
                { "0.5", 500, "0.5" },
                { "'0.5'", 500, "0.5" },
                { "500m", 500, "0.5" },
                { "2", 2000, "2" },
                { "'2.'", 2000, "2" },
                { "0.001", 1, "0.001" },
                { "1m", 1, "0.001" },
                { "1.10", 1100, "1.1" },
                { "0.1", 100, "0.1" },
                { "0", 0, "0" },
                { "1e1", 10000, "10" },
                { "10000", 10000000, "10000" },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                AUTO(mem_freep)
                char *text =
                        mem_printf("jobs: {a: {command: x, resources: {cpu: %s}}}", rows[i].text);
                AUTO(job_spec_unrefp) struct job_spec *s = parse_one(text), *again = roundtrip(s);
                json_t *json = job_spec_to_json(again);

                assert_int_equal(s->resources.cpu, rows[i].milli);
                assert_string_equal(json_string_value(json_object_get(
                                            json_object_get(json, "resources"), "cpu")),
                        rows[i].written);
                json_decref(json);
        }
}

static void one_text_is_a_list_of_one(void **state)
{
        AUTO(job_spec_unrefp)
        struct job_spec *s = parse_one("jobs: {a: {command: x, resources: {ports: 80}, place: "
                                       "{zone: 1.10, where: 'a  exists'}}}"),
                        *none = parse_one("jobs: {a: {command: x, resources: {ports: []}, place: "
                                          "{zone: [], where: [], prefer: []}}}");

        (void) state;
        assert_texts(s->resources.ports, TEXTS("80"));
        assert_texts(s->place.zones, TEXTS("1.10"));
        assert_int_equal(s->place.constraints_len, 1);
        assert_null(none->resources.ports);
        assert_null(none->place.zones);
        assert_int_equal(none->place.constraints_len, 0);
        assert_int_equal(none->place.preferences_len, 0);
}

static void a_command_takes_what_is_written(void **state)
{
        AUTO(job_spec_unrefp)
        struct job_spec *list = parse_one("jobs: {a: {command: [sleep, 1.0, -5, 0x10, yes, false, "
                                          "~, '', \"\\u00e9\"]}}"),
                        *word = parse_one("jobs: {a: {command: true}}");

        (void) state;
        assert_texts(list->command,
                TEXTS("sleep", "1.0", "-5", "0x10", "yes", "false", "~", "", "\xc3\xa9"));
        assert_true(word->command_shell);
        assert_texts(word->command, TEXTS("true"));
}

static void json_may_have_comments_and_commas(void **state)
{
        static const char text[] =
                "\xef\xbb\xbf// first\n"
                "{ /* all\n jobs \xff */ \"jobs\": {\r\n"
                "  \"b\": {\"command\": [\"http://x/*y*/\", \"a,]\\\\\", \"\\\",}\", 1.0,],},\n"
                "  \"a\": {\"command\": \"x\", \"env\": {\"N\": 1.10,\n\"\\u00e9\\/\" : 1} } , // "
                "e\n"
                "},}\n// last";
        AUTO(job_file_done) struct job_file file = { 0 };
        struct error err = ERROR_INIT;

        (void) state;
        assert_int_equal(job_file_parse("f", text, strlen(text), JOB_FORMAT_JSON, &file, &err), -1);
        assert_string_equal(err.message,
                "f:6: jobs.a.env.\"\xc3\xa9/\": not the name of a variable: letters, digits, "
                "\"_\", \".\" and \"-\", not a digit first");
        parse("{\"jobs\": {\"b\": {\"command\": [\"http://x/*y*/\", \"a,]\\\\\", \"\\\",}\", 1.0,],"
              "},//\n\"a\": {\"command\": \"x\", \"env\": {\"N\": 1.10,}}/**/,},}",
                JOB_FORMAT_JSON, &file);
        assert_int_equal(file.jobs_len, 2);
        assert_string_equal(file.jobs[0]->name, "b");
        assert_texts(file.jobs[0]->command, TEXTS("http://x/*y*/", "a,]\\", "\",}", "1.0"));
        assert_texts(file.jobs[1]->env, TEXTS("N=1.10"));
}

static void jobs_keep_the_order_of_the_file(void **state)
{
        AUTO(job_file_done) struct job_file file = { 0 };

        (void) state;
        parse("\xef\xbb\xbfjobs:\n  z: {command: x}\n  a: {command: x}\n  m: {command: x}\n",
                JOB_FORMAT_YAML, &file);
        assert_int_equal(file.jobs_len, 3);
        assert_string_equal(file.jobs[0]->name, "z");
        assert_string_equal(file.jobs[1]->name, "a");
        assert_string_equal(file.jobs[2]->name, "m");
}

static void formats_go_by_the_ending(void **state)
{
        (void) state;
        assert_int_equal(job_format_from_path("/a/web.json"), JOB_FORMAT_JSON);
        assert_int_equal(job_format_from_path("WEB.JSON"), JOB_FORMAT_JSON);
        assert_int_equal(job_format_from_path("/a.json/web.yaml"), JOB_FORMAT_YAML);
        assert_int_equal(job_format_from_path("web.yml"), JOB_FORMAT_YAML);
        assert_int_equal(job_format_from_path("web"), JOB_FORMAT_YAML);
}

static void a_spec_is_written_in_full(void **state)
{
        AUTO(job_spec_unrefp) struct job_spec *s = parse_one("jobs: {web: {command: [run, 1.0]}}");
        json_t *json = job_spec_to_json(s);
        AUTO(mem_freep) char *text = json_dumps(json, JSON_COMPACT);

        (void) state;
        assert_string_equal(text,
                "{\"kind\":\"service\",\"template\":false,\"count\":1,\"command\":[\"run\",\"1.0\"]"
                ",\"user\":null,"
                "\"group\":null,\"groups\":[],\"dynamic_user\":false,\"umask\":null,\"nice\":null,"
                "\"oom_score\":null,"
                "\"cpus\":null,\"max_run_time\":\"0s\",\"directory\":null,\"env\":{},"
                "\"env_files\":[],\"pid_file\":null,\"daemon\":{\"pid_file\":null,\"timeout\":"
                "\"30s\",\"adopt\":false},\"success_codes\":[0],"
                "\"priority\":50,\"owner\":null,\"singleton\":false,\"lease\":\"10s\","
                "\"resources\":{\"cpu\":\"0\",\"memory\":\"0B\",\"disk\":\"0B\",\"ports\":[]},"
                "\"limits\":{\"memory\":null,\"swap\":null,"
                "\"cpu\":\"0\",\"cpu_weight\":100,\"pids\":null,\"io_weight\":100,"
                "\"over\":\"restart\",\"files\":null,\"core\":null,\"stack\":null,"
                "\"file_size\":null,\"locked_memory\":null,\"processes\":null,"
                "\"address_space\":null},\"io\":{\"class\":\"none\",\"level\":4},"
                "\"sandbox\":{\"chroot\":null,\"no_new_privs\":false,\"capabilities\":null,"
                "\"seccomp\":\"none\",\"seccomp_deny\":[],\"private_tmp\":false,"
                "\"read_only\":false,\"writable\":[],\"hide\":[],\"pid_namespace\":false,"
                "\"user_namespace\":false,\"network\":\"host\"},\"place\":{\"zone\":[],"
                "\"node\":null,\"where\":[],\"prefer\":[],\"spread\":null,\"by\":\"spread\","
                "\"exclusive\":null,\"with\":null,\"gang\":false},\"queue\":{\"mode\":\"always\","
                "\"preempt\":false},\"lost\":{\"then\":\"move\",\"after\":\"0s\"},\"restart\":{"
                "\"policy\":\"always\",\"delay\":\"1s\",\"max_delay\":\"1m\",\"burst\":5,"
                "\"window\":\"1m\",\"healthy\":\"10s\",\"rules\":[]},"
                "\"alerts\":{\"on\":[],\"webhook\":null,\"mail\":null,\"repeat\":\"1h\"},"
                "\"stop\":{\"signal\":"
                "\"TERM\",\"grace\":\"10s\"},\"ready\":{\"notify\":false,\"fd\":\"none\",\"log\":"
                "null,\"http\":null,\"tcp\":null,\"command\":null,\"interval\":\"1s\","
                "\"timeout\":\"5s\",\"successes\":1,\"start_period\":\"0s\",\"deadline\":\"0s\"},"
                "\"health\":[],\"watchdog\":\"0s\",\"sockets\":{},\"start\":\"now\",\"fd_store\":0,"
                "\"after\":{},\"after_failure\":\"nothing\","
                "\"logs\":{\"size\":\"10MiB\",\"files\":5,\"age\":\"0s\",\"keep\":\"1d\","
                "\"when_full\":\"block\",\"forward\":\"none\"},\"update\":{\"parallel\":1,"
                "\"order\":\"stop-first\",\"healthy\":\"0s\",\"pause\":\"0s\","
                "\"deadline\":\"10m\",\"revert\":false,\"canary\":0},\"batch\":{\"retries\":"
                "\"none\",\"parallel\":0,"
                "\"deadline\":\"0s\",\"keep\":\"0s\"},\"schedule\":{\"cron\":null,\"zone\":null,"
                "\"overlap\":\"skip\",\"catch_up\":\"last\",\"jitter\":\"0s\"}}");
        json_decref(json);
}

/* A small generator with a seed of its own, so that every run tests the same specs. */
static unsigned pick(uint64_t *seed, unsigned n)
{
        *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
        return (unsigned) ((*seed >> 33) % n);
}

static json_t *pick_text(uint64_t *seed)
{
        static const char *const texts[] = { "a", "x y", "\"", "\\n\n\t", "$HOME", "1.10", "null",
                "\xc3\xa9\xf0\x9f\x90\x8c", "=", "#", "\x01\x7f" };

        return json_string(texts[pick(seed, ARRAY_SIZE(texts))]);
}

static json_t *pick_span(uint64_t *seed)
{
        switch (pick(seed, 3)) {
        case 0:
                return json_integer(1 + pick(seed, 100000));
        case 1:
                return json_real(0.001 + pick(seed, 1000000) / 1000.0);
        default:
                return json_sprintf("%u%s", 1 + pick(seed, 300),
                        (const char *const[]){ "us", "ms", "s", "m", "h", "d" }[pick(seed, 6)]);
        }
}

static json_t *pick_rules(uint64_t *seed)
{
        json_t *rules = json_array();

        for (unsigned i = pick(seed, 4); i > 0; i--)
                json_array_append_new(rules, json_pack("{s:[i,i],s:i,s:s}", "exit", pick(seed, 256),
                                                     pick(seed, 256), "signal", 1 + pick(seed, 64),
                                                     "then", pick(seed, 2) ? "end" : "restart"));
        return rules;
}

static json_t *pick_command(uint64_t *seed)
{
        json_t *list;

        if (pick(seed, 3) == 0)
                return pick_text(seed);
        list = json_array();
        for (unsigned i = 1 + pick(seed, 5); i > 0; i--)
                json_array_append_new(list, pick_text(seed));
        return list;
}

static json_t *pick_env(uint64_t *seed)
{
        json_t *env = json_object();

        for (unsigned i = pick(seed, 6); i > 0; i--) {
                AUTO(mem_freep) char *name = mem_printf("V%c%u", ".-_A"[pick(seed, 4)], i);

                json_object_set_new(env, name, pick_text(seed));
        }
        return env;
}

static void maybe(uint64_t *seed, json_t *object, const char *key, json_t *value)
{
        if (pick(seed, 3) > 0)
                json_object_set(object, key, value);
        json_decref(value);
}

static json_t *pick_word(uint64_t *seed, const char *const *words, size_t len)
{
        return json_string(words[pick(seed, (unsigned) len)]);
}

#define PICK_WORD(seed, ...)                                                                       \
        pick_word(seed, (const char *const[]){ __VA_ARGS__ },                                      \
                ARRAY_SIZE(((const char *const[]){ __VA_ARGS__ })))

static json_t *pick_condition(uint64_t *seed)
{
        return PICK_WORD(seed, "memory>=4GiB", "a in b,c , d", "kernel < version v6.1", "x exists",
                "name ~ ^w(e|b){1,3}\"\\\\ ", "cores > -1.50m", "a = \xc3\xa9", "a != b = c");
}

static json_t *pick_conditions(uint64_t *seed)
{
        json_t *list;

        if (pick(seed, 3) == 0)
                return pick_condition(seed);
        list = json_array();
        for (unsigned i = pick(seed, 4); i > 0; i--)
                json_array_append_new(list, pick_condition(seed));
        return list;
}

static json_t *pick_preferences(uint64_t *seed)
{
        json_t *list = json_array();

        for (unsigned i = pick(seed, 4); i > 0; i--)
                json_array_append_new(
                        list, json_pack("{s:o,s:i}", "where", pick_condition(seed), "weight",
                                      pick(seed, 2) ? 1 + (int) pick(seed, 100)
                                                    : -1 - (int) pick(seed, 100)));
        return list;
}

static json_t *pick_cpu(uint64_t *seed)
{
        switch (pick(seed, 3)) {
        case 0:
                return json_integer(pick(seed, 10001));
        case 1:
                return json_real(pick(seed, 10000001) / 1000.0);
        default:
                return json_sprintf("%um", pick(seed, 10000001));
        }
}

static json_t *pick_place(uint64_t *seed, bool per_node)
{
        json_t *place = json_object();

        maybe(seed, place, "zone", json_pack("[s,s]", "west", "\xc3\xa9 1"));
        maybe(seed, place, "node", json_string("n1"));
        maybe(seed, place, "where", pick_conditions(seed));
        maybe(seed, place, "prefer", pick_preferences(seed));
        maybe(seed, place, "spread", json_string("rack.row"));
        maybe(seed, place, "by", PICK_WORD(seed, "spread", "pack"));
        maybe(seed, place, "exclusive", json_string("gpu"));
        if (!per_node)
                maybe(seed, place, "gang", json_boolean(pick(seed, 2)));
        return place;
}

/* The fields that a job has for a cluster. */
static void pick_cluster(uint64_t *seed, json_t *spec, bool per_node)
{
        maybe(seed, spec, "template", json_boolean(pick(seed, 2)));
        maybe(seed, spec, "priority", json_integer(pick(seed, 101)));
        maybe(seed, spec, "owner", pick_text(seed));
        maybe(seed, spec, "lease", json_sprintf("%us", 1 + pick(seed, 500)));
        maybe(seed, spec, "resources",
                json_pack("{s:o,s:i,s:[s,i]}", "cpu", pick_cpu(seed), "memory", pick(seed, 1 << 30),
                        "ports", "http", pick(seed, 100)));
        maybe(seed, spec, "place", pick_place(seed, per_node));
        maybe(seed, spec, "queue",
                json_pack("{s:o,s:b}", "mode",
                        PICK_WORD(seed, "always", "never", "start-only", "restart-only"), "preempt",
                        pick(seed, 2)));
        maybe(seed, spec, "lost",
                json_pack("{s:o,s:o}", "then", PICK_WORD(seed, "move", "wait", "end"), "after",
                        pick_span(seed)));
        maybe(seed, spec, "batch",
                json_pack("{s:o,s:i,s:o,s:o}", "retries",
                        pick(seed, 2) ? json_string("none") : json_integer(pick(seed, 9)),
                        "parallel", pick(seed, 9), "deadline", pick_span(seed), "keep",
                        pick_span(seed)));
}

static json_t *pick_spec(uint64_t *seed)
{
        static const char *const policies[] = { "always", "on-failure", "never" };
        json_t *spec = json_pack("{s:o}", "command", pick_command(seed)), *restart = json_object();

        bool per_node = pick(seed, 4) == 0;

        if (per_node)
                json_object_set_new(spec, "kind", json_string("system"));
        else
                maybe(seed, spec, "kind", json_string(pick(seed, 2) ? "batch" : "service"));
        if (!per_node)
                maybe(seed, spec, "count", json_integer(pick(seed, 100001)));
        pick_cluster(seed, spec, per_node);
        maybe(seed, spec, "user", pick_text(seed));
        maybe(seed, spec, "group", json_integer(pick(seed, 70000)));
        maybe(seed, spec, "directory", json_string("/srv/\xc3\xa9 x"));
        maybe(seed, spec, "env", pick_env(seed));
        maybe(seed, spec, "success_codes", json_integer(pick(seed, 256)));
        maybe(seed, restart, "policy", json_string(policies[pick(seed, 3)]));
        maybe(seed, restart, "delay", pick_span(seed));
        maybe(seed, restart, "burst", json_integer(pick(seed, 1000)));
        maybe(seed, restart, "window", json_sprintf("%us", 1 + pick(seed, 500)));
        maybe(seed, restart, "healthy", pick_span(seed));
        maybe(seed, restart, "rules", pick_rules(seed));
        maybe(seed, spec, "restart", restart);
        maybe(seed, spec, "stop",
                json_pack("{s:i,s:o}", "signal", 1 + pick(seed, 64), "grace", pick_span(seed)));
        maybe(seed, spec, "logs",
                json_pack("{s:i,s:i}", "size", 4096 + pick(seed, 1 << 30), "files",
                        pick(seed, 1001)));
        maybe(seed, spec, "update",
                json_pack("{s:i,s:o,s:o,s:b}", "parallel", 1 + pick(seed, 100000), "order",
                        per_node ? json_string("stop-first")
                                 : PICK_WORD(seed, "stop-first", "start-first"),
                        "pause", pick_span(seed), "revert", pick(seed, 2)));
        return spec;
}

static void specs_survive_the_way_through_json(void **state)
{
        uint64_t seed = 7433;

        (void) state;
        for (int i = 0; i < 2000; i++) {
                AUTO(job_spec_unrefp) struct job_spec *spec = NULL, *again = NULL;
                json_t *json = pick_spec(&seed);
                struct error err = ERROR_INIT;

                if (job_spec_from_json("web", json, &spec, &err) < 0)
                        fail_msg("spec %d: %s", i, err.message);
                again = roundtrip(spec);
                json_decref(json);
        }
}

static void a_diff_names_what_changed(void **state)
{
        static const struct {
                const char *from, *to; /* of the job, in YAML */
                const char *field, *from_json, *to_json;
                bool needs_restart;
        } rows[] = {
                { "", ", kind: batch, restart: {policy: always}", "kind", "\"service\"",
                        "\"batch\"", false },
                { "", ", count: 3", "count", "1", "3", false },
                { ", user: a", ", user: b", "user", "\"a\"", "\"b\"", true },
                { "", ", group: a", "group", "null", "\"a\"", true },
                { ", directory: /a", "", "directory", "\"/a\"", "null", true },
                { "", ", env: {A: 1}", "env", "{}", "{\"A\":\"1\"}", true },
                { ", env: {A: 1}", ", env: {A: 2}", "env", "{\"A\":\"1\"}", "{\"A\":\"2\"}", true },
                { "", ", success_codes: [0, 1]", "success_codes", "[0]", "[0,1]", false },
                { "", ", restart: {policy: never}", "restart.policy", "\"always\"", "\"never\"",
                        false },
                { "", ", restart: {delay: 2s}", "restart.delay", "\"1s\"", "\"2s\"", false },
                { "", ", restart: {max_delay: 2s}", "restart.max_delay", "\"1m\"", "\"2s\"",
                        false },
                { "", ", restart: {burst: 0}", "restart.burst", "5", "0", false },
                { "", ", restart: {window: 2s}", "restart.window", "\"1m\"", "\"2s\"", false },
                { "", ", restart: {healthy: 2s}", "restart.healthy", "\"10s\"", "\"2s\"", false },
                { "", ", restart: {rules: [{exit: 1, then: end}]}", "restart.rules", "[]",
                        "[{\"exit\":[1],\"then\":\"end\"}]", false },
                { "", ", stop: {signal: INT}", "stop.signal", "\"TERM\"", "\"INT\"", false },
                { "", ", stop: {grace: 1500ms}", "stop.grace", "\"10s\"", "\"1500ms\"", false },
                { "", ", logs: {size: 1MiB}", "logs.size", "\"10MiB\"", "\"1MiB\"", false },
                { "", ", logs: {files: 1}", "logs.files", "5", "1", false },
                { "", ", logs: {when_full: drop}", "logs.when_full", "\"block\"", "\"drop\"",
                        false },
                { "", ", update: {parallel: 2}", "update.parallel", "1", "2", false },
                { "", ", template: true", "template", "false", "true", false },
                { "", ", priority: 51", "priority", "50", "51", false },
                { "", ", owner: a", "owner", "null", "\"a\"", false },
                { "", ", singleton: true", "singleton", "false", "true", false },
                { "", ", lease: 1m", "lease", "\"10s\"", "\"1m\"", false },
                { "", ", resources: {cpu: 250m}", "resources.cpu", "\"0\"", "\"0.25\"", false },
                { "", ", resources: {memory: 1KiB}", "resources.memory", "\"0B\"", "\"1KiB\"",
                        false },
                { "", ", resources: {disk: 1}", "resources.disk", "\"0B\"", "\"1B\"", false },
                { "", ", resources: {ports: http}", "resources.ports", "[]", "[\"http\"]", true },
                { "", ", place: {zone: west}", "place.zone", "[]", "[\"west\"]", false },
                { "", ", place: {node: n1}", "place.node", "null", "\"n1\"", false },
                { "", ", place: {where: \"a>=1\"}", "place.where", "[]", "[\"a >= 1\"]", false },
                { "", ", place: {prefer: [{where: a=b, weight: -3}]}", "place.prefer", "[]",
                        "[{\"where\":\"a = b\",\"weight\":-3}]", false },
                { "", ", place: {spread: rack}", "place.spread", "null", "\"rack\"", false },
                { "", ", place: {by: pack}", "place.by", "\"spread\"", "\"pack\"", false },
                { "", ", place: {exclusive: x}", "place.exclusive", "null", "\"x\"", false },
                { "", ", place: {gang: true}", "place.gang", "false", "true", false },
                { "", ", queue: {mode: never}", "queue.mode", "\"always\"", "\"never\"", false },
                { "", ", queue: {preempt: true}", "queue.preempt", "false", "true", false },
                { "", ", lost: {then: end}", "lost.then", "\"move\"", "\"end\"", false },
                { "", ", lost: {after: 1}", "lost.after", "\"0s\"", "\"1s\"", false },
                { "", ", update: {order: start-first}", "update.order", "\"stop-first\"",
                        "\"start-first\"", false },
                { "", ", update: {healthy: 1}", "update.healthy", "\"0s\"", "\"1s\"", false },
                { "", ", update: {pause: 1}", "update.pause", "\"0s\"", "\"1s\"", false },
                { "", ", update: {deadline: 1}", "update.deadline", "\"10m\"", "\"1s\"", false },
                { "", ", update: {revert: true}", "update.revert", "false", "true", false },
                { "", ", update: {canary: 1}", "update.canary", "0", "1", false },
                { "", ", batch: {retries: 0}", "batch.retries", "\"none\"", "0", false },
                { "", ", batch: {parallel: 1}", "batch.parallel", "0", "1", false },
                { "", ", batch: {deadline: 1}", "batch.deadline", "\"0s\"", "\"1s\"", false },
                { "", ", batch: {keep: 1}", "batch.keep", "\"0s\"", "\"1s\"", false },
                { "", ", schedule: {zone: Europe/Paris}", "schedule.zone", "null",
                        "\"Europe/Paris\"", false },
                { "", ", schedule: {overlap: wait}", "schedule.overlap", "\"skip\"", "\"wait\"",
                        false },
                { "", ", schedule: {catch_up: none}", "schedule.catch_up", "\"last\"", "\"none\"",
                        false },
                { "", ", schedule: {jitter: 1}", "schedule.jitter", "\"0s\"", "\"1s\"", false },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                AUTO(mem_freep)
                char *a = mem_printf("jobs: {web: {command: x%s}}", rows[i].from),
                     *b = mem_printf("jobs: {web: {command: x%s}}", rows[i].to);
                AUTO(job_spec_unrefp) struct job_spec *from = parse_one(a), *to = parse_one(b);
                struct job_diff diff;

                job_spec_diff(from, to, &diff);
                assert_int_equal(diff.len, 1);
                assert_string_equal(diff.changes[0].field, rows[i].field);
                assert_string_equal(diff.changes[0].from, rows[i].from_json);
                assert_string_equal(diff.changes[0].to, rows[i].to_json);
                assert_int_equal(diff.changes[0].needs_restart, rows[i].needs_restart);
                assert_int_equal(diff.needs_restart, rows[i].needs_restart);
                job_diff_done(&diff);
        }
}

static void a_command_for_the_shell_differs_from_a_list(void **state)
{
        AUTO(job_spec_unrefp)
        struct job_spec *shell = parse_one("jobs: {web: {command: x, count: 2}}"),
                        *list = parse_one("jobs: {web: {command: [x], stop: {grace: 1}}}");
        struct job_diff diff;

        (void) state;
        job_spec_diff(shell, list, &diff);
        assert_int_equal(diff.len, 3);
        assert_string_equal(diff.changes[0].field, "count");
        assert_string_equal(diff.changes[1].field, "command");
        assert_string_equal(diff.changes[1].to, "[\"x\"]");
        assert_string_equal(diff.changes[2].field, "stop.grace");
        assert_true(diff.needs_restart);
        job_diff_done(&diff);
        job_spec_diff(shell, shell, &diff);
        assert_int_equal(diff.len, 0);
        assert_false(diff.needs_restart);
        job_diff_done(&diff);
}

/* The schema of a field by a path such as "restart.delay". Borrowed. */
static json_t *schema_find(json_t *schema, const char *path)
{
        json_t *at = json_object_get(json_object_get(schema, "$defs"), "job");
        AUTO(mem_freep) char *copy = mem_strdup(path);
        char *rest = NULL;

        for (char *word = strtok_r(copy, ".", &rest); word != NULL;
                word = strtok_r(NULL, ".", &rest)) {
                if (json_object_get(at, "items") != NULL)
                        at = json_object_get(at, "items");
                at = json_object_get(json_object_get(at, "properties"), word);
        }
        return at;
}

/* Every object in a schema that lists its properties must refuse others, and every property must
 * be explained. */
static void check_closed(json_t *schema)
{
        json_t *properties = json_object_get(schema, "properties"), *value;
        const char *key;

        if (properties != NULL)
                assert_true(json_is_false(json_object_get(schema, "additionalProperties")));
        json_object_foreach (properties, key, value)
                assert_true(json_string_length(json_object_get(value, "description")) > 10);
        json_object_foreach (schema, key, value)
                if (json_is_object(value))
                        check_closed(value);
}

static void the_schema_has_every_field(void **state)
{
        AUTO(job_spec_unrefp) struct job_spec *s = parse_one(full);
        json_t *schema = job_schema(), *json = job_spec_to_json(s), *value, *inner;
        const char *key, *inner_key;

        (void) state;
        assert_string_equal(json_string_value(json_object_get(schema, "$schema")),
                "https://json-schema.org/draft/2020-12/schema");
        json_object_foreach (json, key, value) {
                assert_non_null(schema_find(schema, key));
                if (json_is_object(value) && strcmp(key, "env") != 0)
                        json_object_foreach (value, inner_key, inner) {
                                AUTO(mem_freep) char *path = mem_printf("%s.%s", key, inner_key);

                                assert_non_null(schema_find(schema, path));
                        }
        }
        assert_null(schema_find(schema, "restart.nonsense"));
        assert_non_null(schema_find(schema, "restart.rules.then"));
        assert_string_equal(
                json_string_value(json_object_get(schema_find(schema, "restart.delay"), "default")),
                "1s");
        assert_null(json_object_get(schema_find(schema, "restart.policy"), "default"));
        assert_int_equal(json_array_size(json_object_get(schema_find(schema, "kind"), "enum")), 4);
        check_closed(schema);
        json_decref(schema);
        json_decref(json);
}

static void the_reference_page_is_current(void **state)
{
        AUTO(buffer_done) struct buffer page = { 0 }, file = { 0 };
        struct error err = ERROR_INIT;

        (void) state;
        job_reference(&page);
        if (file_read(reference_path, 1 << 20, &file, &err) < 0)
                fail_msg("%s", err.message);
        if (strcmp(buffer_str(&page), buffer_str(&file)) != 0)
                fail_msg("%s is out of date; renew it with: test-job --write-reference %s",
                        reference_path, reference_path);
}

static int write_reference(const char *path)
{
        AUTO(buffer_done) struct buffer page = { 0 };
        struct error err = ERROR_INIT;

        job_reference(&page);
        if (file_replace(path, page.data, page.len, 0644, false, &err) == 0)
                return 0;
        fprintf(stderr, "%s\n", err.message);
        return 1;
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_spec_has_defaults),
                cmocka_unit_test(a_spec_of_before_means_what_it_meant),
                cmocka_unit_test(null_is_not_given),
                cmocka_unit_test(every_field_is_read),
                cmocka_unit_test(every_field_of_the_cluster_is_read),
                cmocka_unit_test(rules_are_read_in_order),
                cmocka_unit_test(defaults_depend_on_each_other),
                cmocka_unit_test(a_job_per_node_has_no_count),
                cmocka_unit_test(a_cron_job_has_a_timetable),
                cmocka_unit_test(a_singleton_is_a_service_of_one),
                cmocka_unit_test(cores_are_counted_in_thousandths),
                cmocka_unit_test(one_text_is_a_list_of_one),
                cmocka_unit_test(a_command_takes_what_is_written),
                cmocka_unit_test(json_may_have_comments_and_commas),
                cmocka_unit_test(jobs_keep_the_order_of_the_file),
                cmocka_unit_test(formats_go_by_the_ending),
                cmocka_unit_test(a_spec_is_written_in_full),
                cmocka_unit_test(specs_survive_the_way_through_json),
                cmocka_unit_test(a_diff_names_what_changed),
                cmocka_unit_test(a_command_for_the_shell_differs_from_a_list),
                cmocka_unit_test(the_schema_has_every_field),
                cmocka_unit_test(the_reference_page_is_current),
        };

        if (argc == 3 && strcmp(argv[1], "--write-reference") == 0)
                return write_reference(argv[2]);
        if (argc != 2) {
                fprintf(stderr, "usage: test-job docs/job.md\n");
                return 2;
        }
        reference_path = argv[1];
        return cmocka_run_group_tests(tests, NULL, NULL);
}
