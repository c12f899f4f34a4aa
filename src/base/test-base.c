/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/time.h"

static void error_reads_as_one_sentence(void **state)
{
        struct error err = ERROR_INIT;

        (void) state;
        assert_int_equal(error_sys(&err, EACCES, "open %s", "/x"), -1);
        assert_int_equal(error_wrap(&err, "start task web.1"), -1);
        assert_string_equal(err.message, "start task web.1: open /x: Permission denied");
        assert_int_equal(err.code, ERR_DENIED);
        assert_int_equal(err.sys_errno, EACCES);
}

static void error_codes_survive_the_wire(void **state)
{
        (void) state;
        for (int i = 1; i < ERR_CODE_COUNT; i++) {
                enum error_code code = (enum error_code) i;

                assert_int_equal(error_code_from_http(error_code_http(code)), code);
                assert_int_equal(error_code_from_name(error_code_name(code)), code);
        }
}

static void spans_are_read(void **state)
{
        static const struct {
                const char *text;
                usec_t usec;
        } good[] = {
                { "10s", 10 * USEC_SEC },
                { "10", 10 * USEC_SEC },
                { "0.5", USEC_SEC / 2 },
                { "1m30s", 90 * USEC_SEC },
                { "1m 30s", 90 * USEC_SEC },
                { "250ms", 250000 },
                { "1.5h", 90 * USEC_MINUTE },
                { "2d", 2 * USEC_DAY },
                { "0", 0 },
                { "never", USEC_NEVER },
        };
        static const char *const bad[] = { "", "s", "10x", "1 0s x", "-1s", "1..5s", "ten",
                "9999999999d" };
        usec_t usec;

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
                assert_true(time_parse_span(good[i].text, &usec));
                assert_int_equal(usec, good[i].usec);
        }
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                if (time_parse_span(bad[i], &usec))
                        fail_msg("\"%s\" was read as a duration", bad[i]);
}

static void spans_are_written(void **state)
{
        static const struct {
                usec_t usec;
                const char *people, *exact;
        } rows[] = {
                { 0, "0us", "0s" },
                { 250000, "250ms", "250ms" },
                { 1500000, "1.5s", "1500ms" },
                { 1000000, "1s", "1s" },
                { 90 * USEC_SEC, "1m 30s", "90s" },
                { 26 * USEC_HOUR, "1d 2h", "26h" },
                { 7 * USEC_DAY, "7d", "7d" },
                { USEC_NEVER, "never", "never" },
        };
        char text[TIME_TEXT_MAX];

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                usec_t back;

                assert_string_equal(time_format_span(text, rows[i].usec), rows[i].people);
                assert_string_equal(time_format_exact(text, rows[i].usec), rows[i].exact);
                assert_true(time_parse_span(text, &back));
                assert_int_equal(back, rows[i].usec);
        }
}

static void wall_time_goes_both_ways(void **state)
{
        static const char *const bad[] = { "yesterday", "2026-03-01T12:00:00",
                "2026-03-01T12:00:00.Z", "2026-03-01T12:00:00Zz", "2026-03-01T12:00:00+-1:-1",
                "2026-03-01T12:00:00+ 2: 0", "2026-03-01T12:00:00+24:00",
                "2026-03-01T12:00:00+02:60", "2026-03-01T12:00:00+02:00x" };
        char text[TIME_TEXT_MAX];
        usec_t wall;

        (void) state;
        assert_true(time_parse_wall("2026-03-01T12:00:00.25Z", &wall));
        assert_string_equal(time_format_wall(text, wall), "2026-03-01T12:00:00.250Z");
        assert_true(time_parse_wall("2026-03-01T14:00:00.25+02:00", &wall));
        assert_string_equal(time_format_wall(text, wall), "2026-03-01T12:00:00.250Z");
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                if (time_parse_wall(bad[i], &wall))
                        fail_msg("\"%s\" was read as a time", bad[i]);
}

static void a_time_is_read_as_people_give_it(void **state)
{
        static const char *const bad[] = { "", "yesterday", "2026-11-20 15", "2026-13-01",
                "2026-11-20 25:00", "15:04", "10 parsecs ago", " ago" };
        usec_t now = 1700000000 * USEC_SEC, wall, other;

        (void) state;
        assert_true(time_parse_when("10m", now, &wall) && wall == now - 10 * USEC_MINUTE);
        assert_true(time_parse_when("1h30m ago", now, &wall) && wall == now - 90 * USEC_MINUTE);
        assert_true(time_parse_when("2026-03-01T12:00:00Z", now, &wall));
        assert_int_equal(wall, 1772366400 * USEC_SEC);
        assert_true(time_parse_when("2026-11-20 15:04", now, &wall));
        assert_true(time_parse_when("2026-11-20 15:04:30", now, &other));
        assert_int_equal(other - wall, 30 * USEC_SEC);
        assert_true(time_parse_when("2026-11-20", now, &other) && other <= wall);
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                if (time_parse_when(bad[i], now, &wall))
                        fail_msg("\"%s\" was read as a time", bad[i]);
}

static void sizes_go_both_ways(void **state)
{
        char text[TEXT_SIZE_MAX];
        uint64_t bytes;

        (void) state;
        assert_true(text_parse_size("256MiB", &bytes));
        assert_int_equal(bytes, 256 << 20);
        assert_string_equal(text_format_size(text, bytes), "256MiB");
        assert_true(text_parse_size("1.5 G", &bytes));
        assert_string_equal(text_format_size(text, bytes), "1536MiB");
        assert_true(text_parse_size("10kB", &bytes));
        assert_int_equal(bytes, 10000);
        assert_string_equal(text_format_size(text, 1500), "1500B");
        assert_string_equal(text_format_size(text, 0), "0B");
        assert_false(text_parse_size("10 apples", &bytes));
        assert_false(text_parse_size("-1", &bytes));
        assert_false(text_parse_size("99999999TiB", &bytes));
}

static void nearest_name_is_suggested(void **state)
{
        static const char *const names[] = { "command", "count", "restart", "env", "user", NULL };

        (void) state;
        assert_string_equal(text_nearest("comand", names), "command");
        assert_string_equal(text_nearest("restrat", names), "restart");
        assert_string_equal(text_nearest("cuont", names), "count");
        assert_null(text_nearest("zebra", names));
        assert_null(text_nearest("x", names));
}

static void names_are_checked(void **state)
{
        (void) state;
        assert_true(text_is_name("web"));
        assert_true(text_is_name("9-lives_x"));
        assert_false(text_is_name(""));
        assert_false(text_is_name("-x"));
        assert_false(text_is_name("a.b"));
        assert_false(text_is_name("../x"));
        assert_false(
                text_is_name("a23456789012345678901234567890123456789012345678901234567890abcd"));
}

static void json_strings_are_valid_utf8(void **state)
{
        AUTO(buffer_done) struct buffer b = { 0 };

        (void) state;
        text_put_json_string(&b, "a\"\\\n\x01"
                                 "\xc3\xa9"
                                 "\xff"
                                 "\xed\xa0\x80"
                                 "z\x7f\t");
        assert_string_equal(buffer_str(&b), "\"a\\\"\\\\\\n\\u0001\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd"
                                            "\xef\xbf\xbd\xef\xbf\xbdz\\u007f\\t\"");
}

static void signals_by_name(void **state)
{
        (void) state;
        assert_int_equal(text_parse_signal("TERM"), SIGTERM);
        assert_int_equal(text_parse_signal("sigusr1"), SIGUSR1);
        assert_int_equal(text_parse_signal("9"), SIGKILL);
        assert_int_equal(text_parse_signal("RTMIN+2"), SIGRTMIN + 2);
        assert_int_equal(text_parse_signal("NOPE"), 0);
        assert_int_equal(text_parse_signal("0"), 0);
        assert_string_equal(text_signal_name(SIGKILL), "KILL");
        assert_string_equal(text_signal_name(SIGRTMIN + 2), "RTMIN+2");
}

static void files_are_replaced_whole(void **state)
{
        char directory[] = "/tmp/reeve-test-base-XXXXXX";
        AUTO(buffer_done) struct buffer b = { 0 };
        AUTO(mem_freep) char *deep = NULL;
        AUTO(mem_freep) char *path = NULL;
        struct error err = ERROR_INIT;

        (void) state;
        assert_non_null(mkdtemp(directory));
        deep = mem_printf("%s/a/b/c", directory);
        path = mem_printf("%s/file", deep);
        assert_int_equal(file_mkdirs(deep, 0755, &err), 0);
        assert_int_equal(file_mkdirs(deep, 0755, &err), 0);
        assert_int_equal(file_replace(path, "one", 3, 0600, true, &err), 0);
        assert_int_equal(file_replace(path, "two!", 4, 0600, false, &err), 0);
        assert_int_equal(file_read(path, 100, &b, &err), 0);
        assert_string_equal(buffer_str(&b), "two!");
        assert_int_equal(file_read(path, 3, &b, &err), -1);
        assert_int_equal(err.code, ERR_TOO_LARGE);
        assert_int_equal(file_remove_tree(directory, &err), 0);
        assert_int_equal(file_remove_tree(directory, &err), 0);
        assert_int_equal(file_read(path, 100, &b, &err), -1);
        assert_int_equal(err.code, ERR_NOT_FOUND);
}

/* Any of these may lie where a file is looked for; none may keep the caller waiting. */
static void only_files_are_read(void **state)
{
        char directory[] = "/tmp/reeve-test-base-XXXXXX";
        AUTO(buffer_done) struct buffer b = { 0 };
        AUTO(mem_freep) char *fifo = NULL;
        struct error err = ERROR_INIT;

        (void) state;
        assert_non_null(mkdtemp(directory));
        fifo = mem_printf("%s/web.yaml", directory);
        assert_int_equal(mkfifo(fifo, 0600), 0);
        assert_int_equal(file_read(fifo, 100, &b, &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
        assert_non_null(strstr(err.message, "/web.yaml: not a regular file"));
        assert_int_equal(file_read(directory, 100, &b, &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
        assert_int_equal(file_read("/dev/zero", 100, &b, &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
        assert_int_equal(file_read_stream("/dev/zero", 100, &b, &err), -1);
        assert_int_equal(err.code, ERR_TOO_LARGE);
        assert_int_equal(file_remove_tree(directory, &err), 0);
}

static void directories_are_not_imagined(void **state)
{
        char directory[] = "/tmp/reeve-test-base-XXXXXX";
        AUTO(mem_freep) char *file = NULL;
        AUTO(mem_freep) char *below = NULL;
        AUTO(mem_freep) char *left = NULL;
        struct error err = ERROR_INIT;

        (void) state;
        assert_non_null(mkdtemp(directory));
        file = mem_printf("%s/file", directory);
        below = mem_printf("%s/below", file);
        left = mem_printf("%s.new", directory);
        assert_int_equal(file_replace(file, "", 0, 0600, false, &err), 0);
        assert_int_equal(file_mkdirs("", 0755, &err), -1);
        assert_int_equal(err.code, ERR_NOT_FOUND);
        assert_int_equal(file_mkdirs(file, 0755, &err), -1);
        assert_non_null(strstr(err.message, "Not a directory"));
        assert_int_equal(file_mkdirs(below, 0755, &err), -1);
        assert_non_null(strstr(err.message, "Not a directory"));
        /* a directory is not replaced by a file, and nothing is left behind */
        assert_int_equal(file_replace(directory, "x", 1, 0600, false, &err), -1);
        assert_int_equal(access(left, F_OK), -1);
        assert_int_equal(file_remove_tree(directory, &err), 0);
}

static void buffers_grow_and_shrink(void **state)
{
        struct buffer b = { 0 };
        char *taken;

        (void) state;
        assert_string_equal(buffer_str(&b), "");
        for (int i = 0; i < 1000; i++)
                buffer_printf(&b, "%d,", i);
        buffer_consume(&b, 4);
        assert_memory_equal(b.data, "2,3,", 4);
        taken = buffer_take(&b);
        assert_int_equal(b.len, 0);
        free(taken);
        taken = buffer_take(&b);
        assert_string_equal(taken, "");
        free(taken);
}

static void numbers_are_written(void **state)
{
        AUTO(buffer_done) struct buffer b = { 0 };

        (void) state;
        buffer_put_uint(&b, 0);
        buffer_putc(&b, ' ');
        buffer_put_uint(&b, UINT64_MAX);
        buffer_putc(&b, ' ');
        buffer_put_int(&b, INT64_MIN);
        buffer_putc(&b, ' ');
        buffer_put_int(&b, -7);
        assert_string_equal(buffer_str(&b), "0 18446744073709551615 -9223372036854775808 -7");
}

static void strings_in_an_arena_stay(void **state)
{
        struct arena a = { 0 };
        const char *strings[2000];
        char text[32], *large;

        (void) state;
        for (int i = 0; i < 2000; i++)
                strings[i] =
                        arena_copy(&a, text, (size_t) snprintf(text, sizeof text, "string %d", i));
        large = arena_reserve(&a, 1000000);
        memset(large, 'x', 1000000);
        assert_string_equal(arena_copy(&a, "abc", 2), "ab");
        for (int i = 0; i < 2000; i++) {
                snprintf(text, sizeof text, "string %d", i);
                assert_string_equal(strings[i], text);
        }
        arena_done(&a);
        assert_string_equal(arena_copy(&a, "", 0), "");
        arena_done(&a);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(error_reads_as_one_sentence),
                cmocka_unit_test(error_codes_survive_the_wire),
                cmocka_unit_test(spans_are_read),
                cmocka_unit_test(spans_are_written),
                cmocka_unit_test(wall_time_goes_both_ways),
                cmocka_unit_test(a_time_is_read_as_people_give_it),
                cmocka_unit_test(sizes_go_both_ways),
                cmocka_unit_test(nearest_name_is_suggested),
                cmocka_unit_test(names_are_checked),
                cmocka_unit_test(json_strings_are_valid_utf8),
                cmocka_unit_test(signals_by_name),
                cmocka_unit_test(files_are_replaced_whole),
                cmocka_unit_test(only_files_are_read),
                cmocka_unit_test(directories_are_not_imagined),
                cmocka_unit_test(buffers_grow_and_shrink),
                cmocka_unit_test(numbers_are_written),
                cmocka_unit_test(strings_in_an_arena_stay),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
