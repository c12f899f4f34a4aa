/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/scan.h"
#include "base/time.h"

static struct scan scan_of(const char *text)
{
        struct scan s;

        scan_init(&s, text, strlen(text));
        return s;
}

static void an_object_is_walked_through(void **state)
{
        struct scan s =
                scan_of(" {\"a\" : 12, \"b\":[true , null,\"x\"] ,\"c\":{\"d\":{}}, \"e\":[]} ");
        struct scan_text key, raw;
        int64_t number;
        bool flag;
        char *text = NULL;

        (void) state;
        assert_int_equal(scan_peek(&s), SCAN_OBJECT);
        assert_true(scan_object(&s));
        assert_true(scan_member(&s, &key) && scan_text_is(&key, "a"));
        assert_true(scan_int(&s, &number) && number == 12);
        assert_true(scan_member(&s, &key) && scan_text_is(&key, "b") && scan_array(&s));
        assert_true(scan_item(&s) && scan_bool(&s, &flag) && flag);
        assert_true(scan_item(&s) && scan_null(&s));
        assert_true(scan_item(&s) && scan_string(&s, &text));
        assert_string_equal(text, "x");
        free(text);
        assert_false(scan_item(&s));
        assert_true(scan_member(&s, &key) && scan_text_is(&key, "c") && scan_skip(&s, &raw));
        assert_true(scan_text_is(&raw, "{\"d\":{}}"));
        assert_true(scan_member(&s, &key) && scan_skip(&s, NULL));
        assert_false(scan_member(&s, &key));
        assert_true(scan_end(&s));
}

static void strings_are_decoded(void **state)
{
        struct scan s = scan_of("[\"a\\n\\\"\\u00e9\\ud83d\\ude00/\", \"plain\"]");
        struct scan_text word;
        char *text = NULL;

        (void) state;
        scan_array(&s);
        assert_true(scan_item(&s) && scan_string(&s, &text));
        assert_string_equal(text, "a\n\"\xc3\xa9\xf0\x9f\x98\x80/");
        free(text);
        assert_true(scan_item(&s) && scan_word(&s, &word) && scan_text_is(&word, "plain"));
        assert_false(scan_text_is(&word, "plainer"));
        assert_false(scan_text_is(&word, "plai"));
        assert_false(scan_item(&s));
        assert_true(scan_end(&s));
}

static void numbers_have_limits(void **state)
{
        static const struct {
                const char *text;
                bool good;
                int64_t value;
        } rows[] = {
                { "0", true, 0 },
                { "-0", true, 0 },
                { "9223372036854775807", true, INT64_MAX },
                { "-9223372036854775808", true, INT64_MIN },
                { "9223372036854775808", false, 0 },
                { "-9223372036854775809", false, 0 },
                { "1.0", false, 0 },
                { "-2.5e+3", false, 0 },
                { "1e3", false, 0 },
                { "01", false, 0 },
                { "-", false, 0 },
                { "\"1\"", false, 0 },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                struct scan s = scan_of(rows[i].text);
                int64_t value = 0;
                bool good = scan_int(&s, &value) && scan_end(&s);

                if (good != rows[i].good || value != rows[i].value)
                        fail_msg("%s: %d, %lld", rows[i].text, good, (long long) value);
        }
}

static void other_numbers_are_passed_over(void **state)
{
        static const char *const good[] = { "-2.5e+3", "0.25", "1E9", "2e-7" };
        static const char *const bad[] = { "1.", ".5", "1e", "1e+", "+1", "1.e1", "00", "-01" };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
                struct scan s = scan_of(good[i]);

                assert_true(scan_skip(&s, NULL) && scan_end(&s));
        }
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                struct scan s = scan_of(bad[i]);

                assert_false(scan_skip(&s, NULL) && scan_end(&s));
        }
}

static void a_mistake_is_final(void **state)
{
        struct scan s = scan_of("{\"a\":tru,\"b\":1}");
        struct scan_text key;
        int64_t number = 7;
        bool flag;

        (void) state;
        assert_true(scan_object(&s) && scan_member(&s, &key));
        assert_false(scan_bool(&s, &flag));
        assert_string_equal(s.problem, "true or false");
        assert_false(scan_member(&s, &key));
        assert_false(scan_int(&s, &number));
        assert_int_equal(number, 7);
        assert_int_equal(scan_peek(&s), SCAN_NONE);
        assert_false(scan_end(&s));
        assert_string_equal(s.problem, "true or false");
}

static void depth_is_bounded(void **state)
{
        char text[2 * SCAN_DEPTH_MAX + 3];
        struct scan s;

        (void) state;
        for (size_t depth = SCAN_DEPTH_MAX; depth <= SCAN_DEPTH_MAX + 1; depth++) {
                memset(text, '[', depth);
                memset(text + depth, ']', depth);
                scan_init(&s, text, 2 * depth);
                assert_int_equal(scan_skip(&s, NULL) && scan_end(&s), depth == SCAN_DEPTH_MAX);
        }
}

/* What jansson takes is taken, and what it refuses is refused: over texts made of pieces that are
 * put together by chance. Keys that stand twice and numbers that are too large are not among them.
 */
static void it_agrees_with_jansson(void **state)
{
        static const char *const pieces[] = { "{", "}", "[", "]", ",", ":", "\"a\"", "\"\\u0041\"",
                "\"\\ud800\"", "\"\\x\"", "\"\t\"", "\"", "\\", "1", "-2.5", "0", "-", ".", "true",
                "fals", "null", " ", "\n", "{\"k\":", "[1," };
        const char *given = getenv("REEVE_TEST_SEED");
        unsigned seed =
                given != NULL ? (unsigned) strtoul(given, NULL, 10) : (unsigned) time_wall();
        unsigned good = 0;

        (void) state;
        print_message("seed %u\n", seed);
        for (int round = 0; round < 200000; round++) {
                char text[128] = "";
                json_t *json;
                struct scan s;
                bool taken;

                for (int n = rand_r(&seed) % 7; n >= 0; n--)
                        strcat(text, pieces[(size_t) rand_r(&seed) % ARRAY_SIZE(pieces)]);
                s = scan_of(text);
                taken = scan_skip(&s, NULL) && scan_end(&s);
                json = json_loads(text, JSON_DECODE_ANY, NULL);
                if (taken != (json != NULL))
                        fail_msg("%s: jansson says %d, scan %d (%s)", text, json != NULL, taken,
                                s.problem == NULL ? "" : s.problem);
                good += taken;
                json_decref(json);
        }
        assert_true(good > 1000);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(an_object_is_walked_through),
                cmocka_unit_test(strings_are_decoded),
                cmocka_unit_test(numbers_have_limits),
                cmocka_unit_test(other_numbers_are_passed_over),
                cmocka_unit_test(a_mistake_is_final),
                cmocka_unit_test(depth_is_bounded),
                cmocka_unit_test(it_agrees_with_jansson),
        };

        return cmocka_run_group_tests_name("scan", tests, NULL, NULL);
}
