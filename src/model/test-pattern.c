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
#include "model/pattern-scan.h"
#include "model/pattern.h"

/* A scan finds the line @text among others exactly if it matches alone. */
static void check_scan(
        const struct pattern *p, const char *expression, const char *text, bool expected)
{
        const char *const lines[] = { "", text, "b", text, "no line break" };
        struct pattern_scan *scan;
        size_t begins[ARRAY_SIZE(lines)], at = 0, line, len, literal_len;
        AUTO(buffer_done) struct buffer all = { 0 };
        struct error err = ERROR_INIT;
        const char *literal;

        if (strchr(expression, '\n') != NULL || strchr(text, '\n') != NULL)
                return;
        if (pattern_scan_new(expression, &scan, &err) < 0)
                fail_msg("%s: %s", expression, err.message);
        for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
                begins[i] = all.len;
                buffer_printf(&all, "%s%s", lines[i], i + 1 < ARRAY_SIZE(lines) ? "\n" : "");
        }
        literal = pattern_scan_literal(scan, &literal_len);
        for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
                if (!(i % 2 == 1 ? expected : pattern_matches(p, lines[i])))
                        continue;
                if (!pattern_scan_next(scan, all.data + at, all.len - at, &line, &len) ||
                        at + line != begins[i])
                        fail_msg("%s: a scan does not find line %zu of \"%s\"", expression, i,
                                all.data);
                assert_non_null(memmem(all.data + at + line, len, literal, literal_len));
                at += line + len;
        }
        if (at < all.len && pattern_scan_next(scan, all.data + at, all.len - at, &line, &len))
                fail_msg("%s: a scan finds too much in \"%s\"", expression, all.data);
        pattern_scan_free(scan);
}

static bool matches(const char *expression, const char *text)
{
        AUTO(pattern_done) struct pattern p = { 0 };
        struct error err = ERROR_INIT;

        if (pattern_parse(expression, &p, &err) < 0)
                fail_msg("%s: %s", expression, err.message);
        check_scan(&p, expression, text, pattern_matches(&p, text));
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
                check_scan(&p, rows[i], text, false);
        }
        assert_true(time_mono() - began < 20 * USEC_SEC); /* milliseconds, on a loaded machine */
}

static void a_scan_knows_what_every_match_contains(void **state)
{
        static const struct {
                const char *expression, *literal;
        } rows[] = { { "error", "error" }, { "^error$", "error" }, { "a(b|c)def", "def" },
                { "(error|warning)", "" }, { "x?abc", "abc" }, { "abc?", "ab" }, { "abc*d", "ab" },
                { "ab+c", "ab" }, { "a.bcd", "bcd" }, { "(abc)*", "" }, { "(abc)+", "abc" },
                { "(ab){2}", "abab" }, { "[0-9]+ms", "ms" }, { "GET (/a|/b) 5000", " 5000" },
                { "a|", "" }, { "(a|b)|cd", "" } };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                struct pattern_scan *scan;
                const char *literal;
                size_t len;

                assert_int_equal(pattern_scan_new(rows[i].expression, &scan, NULL), 0);
                literal = pattern_scan_literal(scan, &len);
                if (len != strlen(rows[i].literal) || memcmp(literal, rows[i].literal, len) != 0)
                        fail_msg("%s: %.*s", rows[i].expression, (int) len, literal);
                pattern_scan_free(scan);
        }
}

/* Lines of any bytes, and more states than are kept. */
static void a_scan_takes_any_bytes(void **state)
{
        static const char bytes[] = "a\0b\n\xff\xfe x\n\0\n";
        AUTO(buffer_done) struct buffer b = { 0 };
        struct pattern_scan *scan;
        struct error err = ERROR_INIT;
        size_t line, len;
        uint64_t seed = 1;

        (void) state;
        assert_int_equal(pattern_scan_new("^a.b$", &scan, NULL), 0);
        assert_true(pattern_scan_next(scan, bytes, sizeof bytes - 1, &line, &len));
        assert_int_equal(line, 0);
        assert_int_equal(len, 4);
        pattern_scan_free(scan);
        assert_int_equal(pattern_scan_new("x$", &scan, NULL), 0);
        assert_true(pattern_scan_next(scan, bytes, sizeof bytes - 1, &line, &len));
        assert_int_equal(line, 4);
        pattern_scan_free(scan);
        assert_int_equal(pattern_scan_new("a\nb", &scan, &err), -1);
        assert_non_null(strstr(err.message, "line break"));
        for (int i = 0; i < 100000; i++)
                buffer_putc(&b, "ab"[pick(&seed, 2)]);
        buffer_puts(&b, "\na");
        for (int i = 0; i < 12; i++)
                buffer_putc(&b, 'c');
        assert_int_equal(pattern_scan_new("(a|b)*a(a|b|c){12}$", &scan, NULL), 0);
        assert_true(pattern_scan_next(scan, b.data, b.len, &line, &len));
        assert_true(line == 0 || line == 100001);
        assert_true(pattern_scan_next(scan, b.data + 100001, b.len - 100001, &line, &len));
        assert_int_equal(line, 0);
        assert_int_equal(len, 13);
        pattern_scan_free(scan);
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
                cmocka_unit_test(a_scan_knows_what_every_match_contains),
                cmocka_unit_test(a_scan_takes_any_bytes),
                cmocka_unit_test(long_ones_are_refused),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
