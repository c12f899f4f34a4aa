/* SPDX-License-Identifier: BSD-3-Clause */
/* Patterns: what matches, what is refused, the same answers as the C library gives, and no evil
 * expression. */
#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/macros.h"
#include "base/time.h"
#include "model/pattern.h"

static bool matches(const char *expression, const char *text)
{
        AUTO(pattern_done) struct pattern p = { 0 };
        struct error err = ERROR_INIT;

        if (pattern_parse(expression, &p, &err) < 0)
                fail_msg("%s: %s", expression, err.message);
        return pattern_matches(&p, text);
}

static void patterns_match_or_not(void **state)
{
        static const struct {
                const char *expression, *yes, *no; /* NULL: nothing to try */
        } rows[] = {
                { "", "", NULL },
                { "", "anything", NULL },
                { "web", "my web 1", "we b" },
                { "^web", "web1", "1web" },
                { "web$", "1web", "web1" },
                { "^$", "", "x" },
                { "^web[0-9]+$", "web17", "web" },
                { "^a*$", "aaa", "ab" },
                { "^a?b$", "b", "aab" },
                { "^(ab|cd|e)+$", "abecd", "abc" },
                { "^(a|)b$", "b", "aa" },
                { "^()*a$", "a", "b" },
                { "^a{3}$", "aaa", "aa" },
                { "^a{2,}$", "aaaa", "a" },
                { "^a{1,3}$", "aaa", "aaaa" },
                { "^a{0,2}b$", "b", "aaab" },
                { "^(ab){2}c$", "ababc", "abc" },
                { "^(a{2}){2,3}$", "aaaaaa", "aaaaa" },
                { "^a{0}b$", "b", "ab" },
                { "^.{2}$", "ab", "abc" },
                { "^.$", "\xc3\xa9", "" },
                { "^.{2}$", "\xf0\x9f\x90\x8c\xc3\xa9", "\xc3\xa9" },
                { "^\xc3\xa9+$", "\xc3\xa9\xc3\xa9", "\xc3\xa9\xa9" },
                { "^[^a]$", "\xc3\xa9", "a" },
                { "^[a-c]+$", "abc", "abd" },
                { "^[]x]$", "]", "y" },
                { "^[^]x]$", "y", "]" },
                { "^[a-]$", "-", "b" },
                { "^[a\\]$", "\\", "b" },
                { "^[[:alpha:][:digit:]_]+$", "a_1", "-" },
                { "^[[]$", "[", "]" },
                { "^\\.\\*\\\\$", ".*\\", "x*\\" },
                { "a|b|c", "c", "d" },
                { "(^a|b$)", "xb", "xa" },
                { "}]", "}]", "}" },
                { "x^", NULL, "x" },
                { "$x", NULL, "x" },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                if (rows[i].yes != NULL && !matches(rows[i].expression, rows[i].yes))
                        fail_msg("%s should match %s", rows[i].expression, rows[i].yes);
                if (rows[i].no != NULL && matches(rows[i].expression, rows[i].no))
                        fail_msg("%s should not match %s", rows[i].expression, rows[i].no);
        }
}

static void bad_patterns_are_refused(void **state)
{
        static const char *const rows[][2] = {
                { "(a", "\")\" is missing" },
                { "((a)", "\")\" is missing" },
                { "a)", "\"(\" is missing" },
                { "[a", "\"]\" is missing" },
                { "[]", "\"]\" is missing" },
                { "[^]", "\"]\" is missing" },
                { "[b-a]", "a range between \"[\" and \"]\" ends before it begins" },
                { "[\xc3\xa9]", "only ASCII may stand between \"[\" and \"]\"" },
                { "[a-\xc3\xa9]", "only ASCII may stand between \"[\" and \"]\"" },
                { "[[:alfa:]]", "no class such as [:alpha:] or [:digit:] behind \"[\"" },
                { "[[.a.]]", "no class such as [:alpha:] or [:digit:] behind \"[\"" },
                { "*a", "there is nothing that could be repeated" },
                { "(+)", "there is nothing that could be repeated" },
                { "a|?", "there is nothing that could be repeated" },
                { "{2}", "there is nothing that could be repeated" },
                { "a{}", "expected {N}, {N,} or {N,M}; as a character it is written \\{" },
                { "a{,2}", "expected {N}, {N,} or {N,M}; as a character it is written \\{" },
                { "a{2", "expected {N}, {N,} or {N,M}; as a character it is written \\{" },
                { "a{3,2}", "expected {N}, {N,} or {N,M}; as a character it is written \\{" },
                { "a{256}", "a repetition of more than 255" },
                { "a{1,99999999999999999999}", "a repetition of more than 255" },
                { "\\d", "\"\\\" before a letter or digit has no meaning; a digit is [0-9]" },
                { "(a)\\1", "\"\\\" before a letter or digit has no meaning; a digit is [0-9]" },
                { "a\\", "nothing follows \"\\\"" },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                struct pattern p = { 0 };
                struct error err = ERROR_INIT;

                if (pattern_parse(rows[i][0], &p, &err) == 0)
                        fail_msg("%s was taken", rows[i][0]);
                assert_string_equal(err.message + strlen("not a regular expression: "), rows[i][1]);
                assert_int_equal(err.code, ERR_INVALID);
                assert_null(p.steps);
        }
}

/* ---- Beside the C library */

static unsigned pick(uint64_t *seed, unsigned n)
{
        *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
        return (unsigned) ((*seed >> 33) % n);
}

static void put_expression(uint64_t *seed, unsigned depth, struct buffer *b);

static void put_atom(uint64_t *seed, unsigned depth, struct buffer *b)
{
        static const char *const atoms[] = { "a", "b", "c", ".", "[ab]", "[^a]", "[b-c]", "\\." };
        static const char *const repeats[] = { "", "", "", "*", "+", "?", "{2}", "{1,3}", "{2,}",
                "{0,1}" };

        if (depth > 0 && pick(seed, 3) == 0) {
                buffer_putc(b, '(');
                put_expression(seed, depth - 1, b);
                buffer_putc(b, ')');
        } else {
                buffer_puts(b, atoms[pick(seed, ARRAY_SIZE(atoms))]);
        }
        buffer_puts(b, repeats[pick(seed, ARRAY_SIZE(repeats))]);
}

/* No anchors in groups: repeated, the C library gets them wrong. */
static void put_expression(uint64_t *seed, unsigned depth, struct buffer *b)
{
        bool top = depth == 2;

        if (top && pick(seed, 6) == 0)
                buffer_putc(b, '^');
        for (unsigned i = 1 + pick(seed, 3); i > 0; i--)
                put_atom(seed, depth, b);
        if (top && pick(seed, 6) == 0)
                buffer_putc(b, '$');
        if (pick(seed, 3) > 0)
                return;
        buffer_putc(b, '|');
        put_expression(seed, depth, b);
}

static void they_match_what_the_c_library_matches(void **state)
{
        uint64_t seed = 7433;
        unsigned yes = 0;

        (void) state;
        for (int i = 0; i < 3000; i++) {
                AUTO(buffer_done) struct buffer b = { 0 };
                regex_t reference;

                put_expression(&seed, 2, &b);
                if (b.len > 120)
                        continue;
                assert_int_equal(regcomp(&reference, b.data, REG_EXTENDED | REG_NOSUB), 0);
                for (int n = 0; n < 8; n++) {
                        char text[8] = "";
                        bool expected;

                        for (unsigned at = 0, len = pick(&seed, sizeof text); at < len; at++)
                                text[at] = "abc."[pick(&seed, 4)];
                        expected = regexec(&reference, text, 0, NULL, 0) == 0;
                        yes += expected;
                        if (matches(b.data, text) != expected)
                                fail_msg("%s on \"%s\": the C library says %d", b.data, text,
                                        expected);
                }
                regfree(&reference);
        }
        assert_in_range(yes, 6000, 18000); /* neither always nor never */
}

static void evil_patterns_are_refused_or_cheap(void **state)
{
        static const char *const rows[] = { "(((a{99}){99}){99}){99}", "((.{20}){20}){20}",
                "(((((){255}){255}){255}){255}){255}b",
                "a++++++++++++++++++++++++++++++++++++++++b", "((((((((((a+)+)+)+)+)+)+)+)+)+)+b",
                "(a|aa|aaa|aaaa)*(a|aa)*(a|aa)*b", "(a*)*(a*)*(a*)*(a*)*(a*)*b",
                "(.*.*.*.*.*.*.*){50}b", "(a?){255}(a){255}b", "(a|b)*a(a|b){200}c" };
        char text[256];
        usec_t began = time_mono();

        (void) state;
        memset(text, 'a', 255);
        text[255] = '\0';
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                AUTO(pattern_done) struct pattern p = { 0 };

                if (pattern_parse(rows[i], &p, NULL) < 0)
                        continue;
                assert_true(p.len <= PATTERN_SIZE_MAX);
                assert_false(pattern_matches(&p, text));
        }
        assert_true(time_mono() - began < 20 * USEC_SEC); /* milliseconds, on a loaded machine */
}

static void long_ones_are_refused(void **state)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        AUTO(pattern_done) struct pattern p = { 0 }, none = { 0 };
        struct error err = ERROR_INIT;

        (void) state;
        while (b.len < 255)
                buffer_putc(&b, b.len < 127 ? '(' : b.len == 127 ? '.' : ')');
        assert_int_equal(pattern_parse(b.data, &p, &err), 0);
        assert_true(pattern_matches(&p, "x"));
        buffer_putc(&b, '.');
        assert_int_equal(pattern_parse(b.data, &none, &err), -1);
        assert_string_equal(err.message, "the regular expression is longer than 255 bytes");
        assert_int_equal(pattern_parse("(a{100}){100}", &none, &err), -1);
        assert_string_equal(err.message, "the regular expression is too large: its repetitions "
                                         "written out, it has more than 2000 parts");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(patterns_match_or_not),
                cmocka_unit_test(bad_patterns_are_refused),
                cmocka_unit_test(they_match_what_the_c_library_matches),
                cmocka_unit_test(evil_patterns_are_refused_or_cheap),
                cmocka_unit_test(long_ones_are_refused),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
