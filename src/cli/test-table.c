/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>
#include <string.h>

#include "base/macros.h"
#include "cli/columns.h"
#include "cli/table.h"

static void assert_cut(const char *text, size_t max, const char *expected, size_t columns)
{
        AUTO(buffer_done) struct buffer out = { 0 };

        assert_int_equal(columns_put(&out, text, max), columns);
        assert_string_equal(buffer_str(&out), expected);
}

static void test_width(void **state)
{
        (void) state;
        assert_int_equal(columns_width(""), 0);
        assert_int_equal(columns_width("web.0"), 5);
        assert_int_equal(columns_width("häuser"), 6);
        assert_int_equal(columns_width("日本"), 4);
        assert_int_equal(columns_width("e\xCC\x81"), 1); /* e and a combining acute */
        assert_int_equal(columns_width("\xFF\xC3"), 2);  /* no UTF-8 */
        assert_int_equal(columns_width("\xC0\x80"), 2);  /* overlong */
}

static void test_cut(void **state)
{
        (void) state;
        assert_cut("running", 0, "running", 7);
        assert_cut("running", 7, "running", 7);
        assert_cut("running", 6, "runni…", 6);
        assert_cut("running", 1, "…", 1);
        assert_cut("日本語", 6, "日本語", 6);
        assert_cut("日本語", 5, "日本…", 5);
        assert_cut("日本語", 4, "日…", 3); /* half a character cannot be shown */
}

static void test_no_text_steers_the_terminal(void **state)
{
        (void) state;
        assert_cut("a\033[2Jb", 0, "a?[2Jb", 6);
        assert_cut("a\nb\tc\x7F", 0, "a b c?", 6);
        assert_cut("\xC2\x9B"
                   "1m",
                0, "?1m", 3); /* CSI in one character */
        assert_cut("\xE2\x80\xAE"
                   "x",
                0, "?x", 2); /* right to left override */
        assert_cut("\xFF", 0, "\xEF\xBF\xBD", 1);
}

static void assert_wrapped(const char *text, size_t indent, size_t width, const char *expected)
{
        AUTO(buffer_done) struct buffer out = { 0 };

        columns_wrap(&out, text, indent, width);
        assert_string_equal(buffer_str(&out), expected);
}

static void test_wrap(void **state)
{
        (void) state;
        assert_wrapped("one two three", 0, 0, "one two three\n");
        assert_wrapped("one two three four", 2, 15, "one two three\n  four\n");
        assert_wrapped("aaaaaaaaaaaaaaaaaaaaaaaa bb", 0, 12, "aaaaaaaaaaaaaaaaaaaaaaaa\nbb\n");
        assert_wrapped("  spaces   \n between ", 0, 40, "spaces between\n");
        assert_wrapped("", 0, 40, "\n");
}

static const struct table_column columns[] = { { "TASK", false }, { "RUNS", true },
        { "REASON", false } };

static struct table *example(void)
{
        struct table *t = table_new(columns, ARRAY_SIZE(columns));

        table_put(t, TABLE_PLAIN, "web.0");
        table_printf(t, TABLE_GOOD, "%d", 1);
        table_put(t, TABLE_PLAIN, "it runs since it was started");
        table_put(t, TABLE_PLAIN, "größer.10");
        table_printf(t, TABLE_BAD, "%d", 12345);
        table_put(t, TABLE_PLAIN, NULL);
        return t;
}

static void assert_table(size_t width, bool colour, const char *expected)
{
        AUTO(table_freep) struct table *t = example();
        AUTO(buffer_done) struct buffer out = { 0 };

        table_write(t, width, colour, &out);
        assert_string_equal(buffer_str(&out), expected);
}

static void test_table(void **state)
{
        (void) state;
        assert_table(0, false,
                "TASK        RUNS  REASON\n"
                "web.0          1  it runs since it was started\n"
                "größer.10  12345  -\n");
}

static void test_table_is_cut(void **state)
{
        (void) state;
        assert_table(30, false,
                "TASK        RUNS  REASON\n"
                "web.0          1  it runs sin…\n"
                "größer.10  12345  -\n");
        assert_table(14, false,
                "TASK        R…\n"
                "web.0\n"
                "größer.10  12…\n");
        assert_table(3, false, "TA…\nwe…\ngr…\n");
        assert_table(1, false, "…\n…\n…\n");
}

static void test_table_in_colour(void **state)
{
        (void) state;
        assert_table(30, true,
                "\033[2mTASK\033[0m        \033[2mRUNS\033[0m  \033[2mREASON\033[0m\n"
                "web.0          \033[32m1\033[0m  it runs sin…\n"
                "größer.10  \033[31m12345\033[0m  -\n");
}

static void test_incomplete_row_is_left_out(void **state)
{
        AUTO(table_freep) struct table *t = table_new(columns, ARRAY_SIZE(columns));
        AUTO(buffer_done) struct buffer out = { 0 };

        (void) state;
        table_put(t, TABLE_PLAIN, "web.0");
        table_write(t, 0, false, &out);
        assert_string_equal(buffer_str(&out), "TASK   RUNS  REASON\n");
}

static void test_optional_column(void **state)
{
        static const struct table_column some[] = {
                { "TASK", 0 },
                { "LOST", TABLE_RIGHT | TABLE_OPTIONAL },
                { "PORTS", TABLE_OPTIONAL },
                { "RUNS", TABLE_RIGHT },
        };

        (void) state;
        for (int filled = 0; filled < 2; filled++) {
                AUTO(table_freep) struct table *t = table_new(some, ARRAY_SIZE(some));
                AUTO(buffer_done) struct buffer out = { 0 };

                for (int row = 0; row < 2; row++) {
                        table_printf(t, TABLE_PLAIN, "web.%d", row);
                        table_put(t, TABLE_PLAIN, filled == 1 && row == 1 ? "3" : NULL);
                        table_put(t, TABLE_PLAIN, "");
                        table_put(t, TABLE_PLAIN, "1");
                }
                table_write(t, 0, false, &out);
                assert_string_equal(buffer_str(&out),
                        filled == 0 ? "TASK   RUNS\nweb.0     1\nweb.1     1\n"
                                    : "TASK   LOST  RUNS\nweb.0     -     1\nweb.1     3     "
                                      "1\n");
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_width),
                cmocka_unit_test(test_cut),
                cmocka_unit_test(test_no_text_steers_the_terminal),
                cmocka_unit_test(test_wrap),
                cmocka_unit_test(test_table),
                cmocka_unit_test(test_table_is_cut),
                cmocka_unit_test(test_table_in_colour),
                cmocka_unit_test(test_incomplete_row_is_left_out),
                cmocka_unit_test(test_optional_column),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
