/* SPDX-License-Identifier: BSD-3-Clause */
/* Attributes of nodes, and the conditions on them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/macros.h"
#include "base/mem.h"
#include "model/attributes.h"
#include "model/constraint.h"

static void set(struct attributes *a, const char *name, const char *value)
{
        struct error err = ERROR_INIT;

        if (attributes_set(a, name, value, &err) < 0)
                fail_msg("%s", err.message);
}

static void assert_sorted(const struct attributes *a)
{
        for (size_t i = 1; i < a->len; i++) {
                AUTO(mem_freep)
                char *x = mem_strndup(a->pairs[i - 1], strcspn(a->pairs[i - 1], "=")),
                     *y = mem_strndup(a->pairs[i], strcspn(a->pairs[i], "="));

                assert_true(strcmp(x, y) < 0);
        }
}

/* ---- Attributes */

static void attributes_are_set_and_taken_away(void **state)
{
        AUTO(attributes_done) struct attributes a = { 0 };

        (void) state;
        assert_null(attributes_get(&a, "zone"));
        set(&a, "zone", "west");
        set(&a, "arch", "x86_64");
        set(&a, "zone.row", "4");
        set(&a, "zo", "a=b");
        set(&a, "zone-", "1");
        set(&a, "zone", "east");
        assert_int_equal(a.len, 5);
        assert_sorted(&a);
        assert_string_equal(attributes_get(&a, "zone"), "east");
        assert_string_equal(attributes_get(&a, "zone.row"), "4");
        assert_string_equal(attributes_get(&a, "zo"), "a=b");
        assert_null(attributes_get(&a, "z"));
        assert_null(attributes_get(&a, "zones"));
        set(&a, "zone", NULL);
        set(&a, "zone", NULL);
        assert_int_equal(a.len, 4);
        assert_null(attributes_get(&a, "zone"));
        assert_string_equal(attributes_get(&a, "zone-"), "1");
}

/* Sets and removes at random, beside a plain array; every run the same. */
static void many_attributes_stay_in_order(void **state)
{
        AUTO(attributes_done) struct attributes a = { 0 };
        uint64_t seed = 7433;
        bool has[40] = { false };

        (void) state;
        for (int i = 0; i < 3000; i++) {
                unsigned n;
                char name[8];

                seed = seed * 6364136223846793005ull + 1442695040888963407ull;
                n = (unsigned) (seed >> 33) % ARRAY_SIZE(has);
                snprintf(name, sizeof name, "n%u", n);
                has[n] = (seed >> 60) % 2 == 0;
                set(&a, name, has[n] ? name : NULL);
                assert_sorted(&a);
                for (n = 0; n < ARRAY_SIZE(has); n++) {
                        snprintf(name, sizeof name, "n%u", n);
                        assert_int_equal(attributes_get(&a, name) != NULL, has[n]);
                }
        }
}

static void bad_attributes_are_refused(void **state)
{
        static const char *const names[] = { "", "1a", "a b", "a=b", "-a", "\xc3\xa9", "a\n" };
        static const char *const values[] = { "", " a", "a ", "a\nb", "\x7f", "\xff", "\t" };
        AUTO(attributes_done) struct attributes a = { 0 };
        AUTO(buffer_done) struct buffer text = { 0 };
        struct error err = ERROR_INIT;

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                assert_int_equal(attributes_set(&a, names[i], "x", &err), -1);
        assert_string_equal(err.message,
                "\"a\n\" is not the name of an attribute: 1 to 63 letters, "
                "digits, \"_\", \".\" and \"-\", a letter first");
        for (size_t i = 0; i < ARRAY_SIZE(values); i++)
                assert_int_equal(attributes_set(&a, "x", values[i], &err), -1);
        assert_string_equal(err.message, "attribute x: expected 1 to 255 bytes of text, no control "
                                         "characters, no space at either end");
        for (int i = 0; i < ATTRIBUTE_NAME_MAX; i++)
                buffer_putc(&text, 'x');
        set(&a, buffer_str(&text), "1");
        buffer_putc(&text, 'x');
        assert_int_equal(attributes_set(&a, buffer_str(&text), "1", &err), -1);
        while (text.len < ATTRIBUTE_VALUE_MAX)
                buffer_putc(&text, 'x');
        set(&a, "x", buffer_str(&text));
        buffer_putc(&text, 'x');
        assert_int_equal(attributes_set(&a, "x", buffer_str(&text), &err), -1);
        assert_int_equal(a.len, 2);
}

static void there_is_a_limit(void **state)
{
        AUTO(attributes_done) struct attributes a = { 0 };
        struct error err = ERROR_INIT;

        (void) state;
        for (int i = 0; i < ATTRIBUTES_MAX; i++) {
                AUTO(mem_freep) char *name = mem_printf("a%d", i);

                set(&a, name, "1");
        }
        assert_int_equal(attributes_set(&a, "one", "1", &err), -1);
        assert_int_equal(err.code, ERR_TOO_LARGE);
        assert_string_equal(err.message, "attribute one: a node has at most 128");
        set(&a, "a7", "2"); /* what is there can be changed */
        set(&a, "a8", NULL);
        set(&a, "one", "1");
}

static void pairs_are_read(void **state)
{
        AUTO(attributes_done) struct attributes a = { 0 };
        struct error err = ERROR_INIT;

        (void) state;
        assert_int_equal(attributes_set_pair(&a, "rack=a=1", &err), 0);
        assert_string_equal(attributes_get(&a, "rack"), "a=1");
        assert_int_equal(attributes_set_pair(&a, "rack", &err), -1);
        assert_string_equal(err.message, "expected an attribute as NAME=VALUE, got \"rack\"");
        assert_int_equal(attributes_set_pair(&a, "=x", &err), -1);
        assert_int_equal(attributes_set_pair(&a, "x=", &err), -1);
        assert_int_equal(a.len, 1);
}

static void attributes_survive_the_way_through_json(void **state)
{
        AUTO(attributes_done) struct attributes a = { 0 }, b = { 0 }, c = { 0 };
        struct error err = ERROR_INIT;
        json_t *json;

        (void) state;
        assert_true(attributes_equal(&a, &b));
        set(&a, "zone", "west \"1\" \xc3\xa9");
        set(&a, "arch", "a=b");
        assert_false(attributes_equal(&a, &b));
        json = attributes_to_json(&a);
        assert_int_equal(attributes_from_json(json, &b, &err), 0);
        assert_true(attributes_equal(&a, &b));
        attributes_copy(&a, &c);
        assert_true(attributes_equal(&a, &c));
        set(&b, "arch", "c");
        assert_false(attributes_equal(&a, &b));
        json_object_set_new(json, "bad", json_integer(1));
        set(&c, "zone", NULL);
        assert_int_equal(attributes_from_json(json, &c, &err), -1);
        assert_string_equal(err.message, "attribute bad: expected text");
        json_decref(json);
}

/* ---- Versions */

static void versions_are_ordered(void **state)
{
        static const struct {
                const char *a, *b;
                int order;
        } rows[] = {
                { "6.1", "6.1", 0 },
                { "6.1", "6.1.0", 0 },
                { "6.1", "6.1.0.0-18-amd64", 0 },
                { "6.01", "6.1", 0 },
                { "v6", "6", 0 },
                { "6.9", "6.10", -1 },
                { "5.15.999", "6.0", -1 },
                { "6.1.0-18-amd64", "6.1.1", -1 },
                { "6", "6.0.1", -1 },
                { "99999999999999999999998", "99999999999999999999999", -1 },
                { "9", "99999999999999999999999", -1 },
                { "1.", "1", 0 },
                { "1..2", "1", 0 },
        };
        int order;

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                assert_true(constraint_compare_versions(rows[i].a, rows[i].b, &order));
                assert_int_equal((order > 0) - (order < 0), rows[i].order);
                assert_true(constraint_compare_versions(rows[i].b, rows[i].a, &order));
                assert_int_equal((order > 0) - (order < 0), -rows[i].order);
        }
        assert_false(constraint_compare_versions("", "1", &order));
        assert_false(constraint_compare_versions("1", "vv1", &order));
        assert_false(constraint_compare_versions("x1", "1", &order));
}

/* ---- Constraints */

static void parse(const char *text, struct constraint *ret)
{
        struct error err = ERROR_INIT;

        if (constraint_parse(text, ret, &err) < 0)
                fail_msg("%s: %s", text, err.message);
}

static bool holds(const char *text, const struct attributes *a)
{
        AUTO(constraint_done) struct constraint c = { 0 }, again = { 0 };
        AUTO(buffer_done) struct buffer b = { 0 }, second = { 0 };

        parse(text, &c);
        constraint_format(&c, &b); /* what is written is read as the same */
        parse(buffer_str(&b), &again);
        constraint_format(&again, &second);
        assert_string_equal(buffer_str(&b), buffer_str(&second));
        assert_int_equal(constraint_holds(&c, a), constraint_holds(&again, a));
        return constraint_holds(&c, a);
}

static void a_constraint_holds_or_not(void **state)
{
        static const struct {
                const char *text;
                bool holds;
        } rows[] = {
                { "arch = x86_64", true },
                { "arch = X86_64", false },
                { "arch = x86", false },
                { "arch!=x86_64", false },
                { "arch != arm64", true },
                { "arch in arm64,x86_64", true },
                { "arch in arm64, riscv", false },
                { "arch in x86_64", true },
                { "note = two  words", true },
                { "note = \"two  words\"", false },
                { "note in a, two  words , b", true },
                { "gpu exists", true },
                { "  gpu   exists  ", true },
                { "tpu exists", false },
                /* what is missing */
                { "tpu = 1", false },
                { "tpu != 1", true },
                { "tpu != version 1", true },
                { "tpu in 1, 2", false },
                { "tpu < 1", false },
                { "tpu >= 0", false },
                { "tpu ~ .*", false },
                /* numbers */
                { "memory = 4294967296", true },
                { "memory = 4GiB", true },
                { "memory = 4 GiB", true },
                { "memory != 4GiB", false },
                { "memory in 2GiB, 4GiB", true },
                { "memory >= 4GiB", true },
                { "memory>=4GiB", true },
                { "memory > 4GiB", false },
                { "memory > 4GB", true },
                { "memory < 4.5GiB", true },
                { "memory <= 4095MiB", false },
                { "cores > 9", true },
                { "cores > -1", true },
                { "cores = 16.0", false }, /* texts */
                { "cores >= 16.0", true },
                { "cores < 16000m", false },
                { "cores <= 16000m", true },
                { "load < 500m", true },
                { "load = 250m", true },
                { "load > -0.5", true },
                { "below < 0", true },
                { "arch > 1", false }, /* no number */
                { "arch < 1", false },
                { "arch != 1GiB", true },
                { "arch = 1GiB", false },
                /* versions */
                { "kernel >= version 6.1", true },
                { "kernel >= version 6.1.0-99", true },
                { "kernel > version 6.1", false },
                { "kernel = version 6.1", true },
                { "kernel != version 6.1", false },
                { "kernel < version 6.10", true },
                { "kernel >= version v6", true },
                { "arch >= version 1", false },
                { "arch != version 1", true },
                { "kernel = 6.1", false },
                { "kernel in version 6.1", false }, /* a text that begins so */
                /* expressions */
                { "name ~ ^web", true },
                { "name ~ ^web[0-9]+$", true },
                { "name ~ ^we{1,3}b", true },
                { "name~7", true },
                { "name ~ ^(db|eb)", false },
                { "name ~ =", false },
                { "note ~ two  w", true },
        };
        AUTO(attributes_done) struct attributes a = { 0 };

        (void) state;
        set(&a, "arch", "x86_64");
        set(&a, "gpu", "yes");
        set(&a, "note", "two  words");
        set(&a, "memory", "4294967296");
        set(&a, "cores", "16");
        set(&a, "load", "0.25");
        set(&a, "below", "-3");
        set(&a, "kernel", "6.1.0-18-amd64");
        set(&a, "name", "web17");
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
                if (holds(rows[i].text, &a) != rows[i].holds)
                        fail_msg("\"%s\" %s", rows[i].text,
                                rows[i].holds ? "should hold" : "should not hold");
}

static void constraints_are_written_evenly(void **state)
{
        static const char *const rows[][2] = {
                { "memory>=4GiB", "memory >= 4GiB" },
                { " gpu   exists ", "gpu exists" },
                { "rack in a,b ,c", "rack in a, b, c" },
                { "kernel>=version   6.1", "kernel >= version 6.1" },
                { "name~^a b$", "name ~ ^a b$" },
                { "in in in", "in in in" },
                { "exists exists", "exists exists" },
                { "version = version 1", "version = version 1" },
                { "a.b-c_d != x = y", "a.b-c_d != x = y" },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                AUTO(constraint_done) struct constraint c = { 0 };
                AUTO(buffer_done) struct buffer b = { 0 };

                parse(rows[i][0], &c);
                constraint_format(&c, &b);
                assert_string_equal(buffer_str(&b), rows[i][1]);
        }
}

#define NO_NAME                                                                                    \
        "expected the name of an attribute (1 to 63 letters, digits, \"_\", \".\" and \"-\", a "   \
        "letter first), an operator and a value"
#define NO_OPERATOR "expected =, !=, <, <=, >, >=, ~, in or exists after \"a\""

static void bad_constraints_are_refused(void **state)
{
        static const char *const rows[][2] = {
                { "", NO_NAME },
                { "   ", NO_NAME },
                { "= a", NO_NAME },
                { "4 > a", NO_NAME },
                { "a", NO_OPERATOR },
                { "a b", NO_OPERATOR },
                { "a == b", NO_OPERATOR },
                { "a => b", NO_OPERATOR },
                { "a =~ b", NO_OPERATOR },
                { "a <> b", NO_OPERATOR },
                { "a ! b", NO_OPERATOR },
                { "a inside b", NO_OPERATOR },
                { "a IN b", NO_OPERATOR },
                { "a =", "expected a value after \"=\"" },
                { "a in", "expected a value after \"in\"" },
                { "a in b,", "expected a value of 1 to 255 bytes after \"in\"" },
                { "a in ,b", "expected a value of 1 to 255 bytes after \"in\"" },
                { "a exists b", "nothing may follow \"exists\"" },
                { "a = b\n", "control characters are not allowed" },
                { "a >= big", "expected a number (such as 4, 4GiB or 500m) or \"version\" and one "
                              "after \">=\", got \"big\"" },
                { "a < 4 gib", "expected a number (such as 4, 4GiB or 500m) or \"version\" and one "
                               "after \"<\", got \"4 gib\"" },
                { "a < 1.2.3", "expected a number (such as 4, 4GiB or 500m) or \"version\" and one "
                               "after \"<\", got \"1.2.3\"" },
                { "a < .", "expected a number (such as 4, 4GiB or 500m) or \"version\" and one "
                           "after \"<\", got \".\"" },
                { "a < version x", "expected a version such as 6.1 after \"version\", got \"x\"" },
                { "a = version", "expected a value of 1 to 255 bytes after \"=\"" },
                { "a ~ (", "not a regular expression: \")\" is missing" },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                struct constraint c = { 0 };
                struct error err = ERROR_INIT;

                if (constraint_parse(rows[i][0], &c, &err) == 0)
                        fail_msg("\"%s\" was taken", rows[i][0]);
                assert_string_equal(err.message, rows[i][1]);
                assert_int_equal(err.code, ERR_INVALID);
                constraint_done(&c);
        }
}

static void long_constraints_are_refused(void **state)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        struct constraint c = { 0 };
        struct error err = ERROR_INIT;

        (void) state;
        buffer_puts(&b, "a ~ ");
        while (b.len < 4 + ATTRIBUTE_VALUE_MAX + 1)
                buffer_putc(&b, 'x');
        assert_int_equal(constraint_parse(buffer_str(&b), &c, &err), -1);
        assert_string_equal(err.message, "the regular expression is longer than 255 bytes");
        b.data[2] = '=';
        assert_int_equal(constraint_parse(buffer_str(&b), &c, &err), -1);
        assert_string_equal(err.message, "expected a value of 1 to 255 bytes after \"=\"");
        while (b.len < CONSTRAINT_TEXT_MAX + 1)
                buffer_putc(&b, 'x');
        assert_int_equal(constraint_parse(buffer_str(&b), &c, &err), -1);
        assert_string_equal(err.message, "longer than 1024 bytes");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(attributes_are_set_and_taken_away),
                cmocka_unit_test(many_attributes_stay_in_order),
                cmocka_unit_test(bad_attributes_are_refused),
                cmocka_unit_test(there_is_a_limit),
                cmocka_unit_test(pairs_are_read),
                cmocka_unit_test(attributes_survive_the_way_through_json),
                cmocka_unit_test(versions_are_ordered),
                cmocka_unit_test(a_constraint_holds_or_not),
                cmocka_unit_test(constraints_are_written_evenly),
                cmocka_unit_test(bad_constraints_are_refused),
                cmocka_unit_test(long_constraints_are_refused),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
