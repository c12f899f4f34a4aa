/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "cli/ansi.h"

static const struct {
        const char *text, *plain;
} rows[] = {
        { "plain\n", "plain\n" },
        { "\033[31mred\033[0m and \033[1;38;5;208mmore\033[m\n", "red and more\n" },
        { "\033]0;a title\ashown\n", "shown\n" },
        { "\033]8;;http://x/\033\\link\033]8;;\033\\\n", "link\n" },
        { "\033(Bset\0337saved\033M\n", "setsaved\n" },
        { "\033[?25lhidden\033[2K\rprogress\n", "hidden\rprogress\n" },
        { "\033Pq#0;2\033\\sixel\n", "sixel\n" },
        { "cut \033[31\nnext\n", "cut \nnext\n" },
        { "cut \033]0;no end\nnext\n", "cut \nnext\n" },
        { "at the end \033", "at the end " },
        { "\303\251t\303\251 \342\202\254\n", "\303\251t\303\251 \342\202\254\n" },
        { "tab\tand bell\a\n", "tab\tand bell\a\n" },
        { "", "" },
};

static void test_sequences_are_taken_out(void **state)
{
        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                AUTO(buffer_done) struct buffer out = { 0 };
                struct ansi a = { 0 };

                ansi_strip(&a, rows[i].text, strlen(rows[i].text), &out);
                assert_string_equal(buffer_str(&out), rows[i].plain);
        }
}

static void test_pieces_are_as_the_whole(void **state)
{
        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                AUTO(buffer_done) struct buffer out = { 0 };
                struct ansi a = { 0 };

                for (const char *p = rows[i].text; *p != '\0'; p++)
                        ansi_strip(&a, p, 1, &out);
                assert_string_equal(buffer_str(&out), rows[i].plain);
        }
}

static void test_a_zero_byte_is_no_end(void **state)
{
        AUTO(buffer_done) struct buffer out = { 0 };
        struct ansi a = { 0 };

        (void) state;
        ansi_strip(&a, "a\0\033\0b\n", 6, &out);
        assert_int_equal(out.len, 4);
        assert_memory_equal(out.data, "a\0b\n", 4);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_sequences_are_taken_out),
                cmocka_unit_test(test_pieces_are_as_the_whole),
                cmocka_unit_test(test_a_zero_byte_is_no_end),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
