/* SPDX-License-Identifier: BSD-3-Clause */
/* Dossiers: what statuses mean, which lines of a stream are shown, where a core may be, and the
 * sentences. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <signal.h>

#include "base/macros.h"
#include "model/dossier.h"

static void statuses_mean_something(void **state)
{
        static const struct {
                int exit_code, signal;
                const char *meaning; /* a part of it; NULL: none */
        } rows[] = {
                { 1, 0, NULL },
                { 3, 0, NULL },
                { 64, 0, "EX_USAGE" },
                { 78, 0, "EX_CONFIG" },
                { 79, 0, NULL },
                { 126, 0, "cannot execute" },
                { 127, 0, "does not find" },
                { 128, 0, NULL },
                { 137, 0, "signal KILL" },
                { 143, 0, "signal TERM" },
                { 255, 0, NULL },
                { -1, SIGSEGV, "memory that it does not have" },
                { -1, SIGTERM, NULL },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                char text[DOSSIER_MEANING_MAX];
                const char *meaning = dossier_meaning(text, rows[i].exit_code, rows[i].signal);

                if (rows[i].meaning == NULL)
                        assert_null(meaning);
                else
                        assert_non_null(strstr(meaning, rows[i].meaning));
        }
}

static void last_lines_are_cut(void **state)
{
        static const struct {
                const char *text;
                bool cut;
                unsigned lines;
                const char *rest;
        } rows[] = {
                { "", false, 2, "" },
                { "a", false, 2, "a" },
                { "a\nb\nc\n", false, 2, "b\nc\n" },
                { "a\nb\nc", false, 2, "b\nc" },
                { "a\nb\n", false, 2, "a\nb\n" },
                { "\n\n\n", false, 2, "\n\n" },
                { "tail of a\nb\nc\n", true, 9, "b\nc\n" },
                { "tail of a\n", true, 9, "tail of a\n" },
                { "no end", true, 9, "no end" },
                { "a\nb", true, 9, "b" },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                size_t from =
                        dossier_cut(rows[i].text, strlen(rows[i].text), rows[i].cut, rows[i].lines);

                assert_string_equal(rows[i].text + from, rows[i].rest);
        }
}

static void cores_are_looked_for(void **state)
{
        static const struct dossier_core core = { .pid = 42,
                .signal = SIGSEGV,
                .uid = 5,
                .gid = 6,
                .program = "/usr/bin/a-program-of-some-length",
                .hostname = "host",
                .directory = "/srv/x*" };
        static const struct {
                const char *pattern, *path;
                bool uses_pid, handler;
        } rows[] = {
                { "core\n", "/srv/x\\*/core", false, false },
                { "core\n", "/srv/x\\*/core.42", true, false },
                { "core.%p\n", "/srv/x\\*/core.42", true, false },
                { "/c/%e.%p.%s.%u.%g.%h.%t.%%", "/c/a-program-of-so.42.11.5.6.host.*.%", false,
                        false },
                { "/c/%f-%E-%i-%P",
                        "/c/a-program-of-some-length-!usr!bin!a-program-of-some-length-*-42", false,
                        false },
                { "/c/[a]%", "/c/\\[a]", false, false },
                { "|/usr/lib/systemd/systemd-coredump %P\n", "/usr/lib/systemd/systemd-coredump %P",
                        false, true },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                struct dossier_core c = core;
                AUTO(buffer_done) struct buffer path = { 0 };

                c.uses_pid = rows[i].uses_pid;
                assert_int_equal(
                        dossier_core_pattern(rows[i].pattern, &c, &path), !rows[i].handler);
                assert_string_equal(buffer_str(&path), rows[i].path);
        }
}

static struct dossier example(void)
{
        static char task[] = "web.0", job[] = "web", node[] = "n1", how[] = "exit code 127",
                    meaning[] = "nothing much", next[] = "waits 2s", changed[] = "command, env",
                    errors[] = "one\ntwo";

        return (struct dossier){ .task = task,
                .job = job,
                .node = node,
                .run = 4,
                .version = 3,
                .started = 1000 * USEC_SEC,
                .ended = 1010 * USEC_SEC,
                .lasted = 10 * (int64_t) USEC_SEC,
                .how = how,
                .exit_code = 127,
                .meaning = meaning,
                .next = next,
                .memory_peak = 3 << 20,
                .cpu = 500000,
                .good_run = 2,
                .good_version = 1,
                .good_ended = 950 * USEC_SEC,
                .changed = changed,
                .booted = 960 * USEC_SEC,
                .errors = errors,
                .out_from = RECORD_NULL };
}

static void it_is_told(void **state)
{
        AUTO(buffer_done) struct buffer text = { 0 };
        struct dossier d = example();

        (void) state;
        dossier_tell(&d, &text);
        assert_string_equal(buffer_str(&text),
                "Run 4 of web.0 (version 3) failed after 10s on node n1 at "
                "1970-01-01T00:16:50.000Z: exit code 127.\n"
                "That means: nothing much.\n"
                "It had at most 3.0MiB of memory and 500ms of CPU time.\n"
                "The last good run was 2, which ended 1m before. Since then version 3 of the job "
                "replaced version 1 (changed: command, env), and the machine was started anew.\n"
                "What followed: waits 2s.\n"
                "Its last lines on stderr:\n"
                "  one\n"
                "  two\n");
}

static void little_is_told_of_little(void **state)
{
        AUTO(buffer_done) struct buffer text = { 0 };
        struct dossier d = { .lasted = RECORD_NULL,
                .memory_peak = RECORD_NULL,
                .cpu = RECORD_NULL,
                .good_run = RECORD_NULL };

        (void) state;
        dossier_tell(&d, &text);
        assert_non_null(strstr(buffer_str(&text), "could not begin"));
        assert_non_null(strstr(buffer_str(&text), "No run of it was good before.\n"));
}

static void it_comes_back_from_json(void **state)
{
        AUTO(buffer_done) struct buffer text = { 0 }, again = { 0 };
        struct dossier d = example(), read = { 0 };
        struct error err;
        json_t *json;

        (void) state;
        record_write(&dossier_table, &d, &text);
        json = json_loadb(text.data, text.len, 0, NULL);
        assert_int_equal(record_read(&dossier_table, json, &read, &err), 0);
        record_write(&dossier_table, &read, &again);
        assert_string_equal(buffer_str(&text), buffer_str(&again));
        record_done(&dossier_table, &read);
        json_decref(json);
}

int main(void)
{
        const struct CMUnitTest tests[] = { cmocka_unit_test(statuses_mean_something),
                cmocka_unit_test(last_lines_are_cut), cmocka_unit_test(cores_are_looked_for),
                cmocka_unit_test(it_is_told), cmocka_unit_test(little_is_told_of_little),
                cmocka_unit_test(it_comes_back_from_json) };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
