/* SPDX-License-Identifier: BSD-3-Clause */
/* Environment files, by the rules of systemd.exec(5). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/macros.h"
#include "base/mem.h"
#include "model/env-file.h"

static void free_all(char **env)
{
        for (char **e = env; e != NULL && *e != NULL; e++)
                free(*e);
        free(env);
}

/* @expected: the variables, each with a "|" behind it. */
static void assert_read(const char *text, const char *expected)
{
        struct error err = ERROR_INIT;
        char joined[1000] = "", **env = NULL;
        char *copy = mem_strndup(text, strlen(text)); /* so that a read beyond it is seen */

        if (env_file_parse("f", copy, strlen(text), &env, &err) < 0)
                fail_msg("%s: %s", text, err.message);
        for (char **e = env; e != NULL && *e != NULL; e++) {
                strcat(joined, *e);  /* NOLINT: the texts are short */
                strcat(joined, "|"); /* NOLINT */
        }
        assert_string_equal(joined, expected);
        free_all(env);
        free(copy);
}

static void assert_refused(const char *text, const char *message)
{
        struct error err = ERROR_INIT;
        char **env = NULL;

        assert_int_equal(env_file_parse("f", text, strlen(text), &env, &err), -1);
        assert_string_equal(err.message, message);
        free_all(env);
}

static void plain_lines(void **state)
{
        (void) state;
        assert_read("", "");
        assert_read("A=1", "A=1|");
        assert_read("A=1\nB=two words \t\r\n", "A=1|B=two words|");
        assert_read("  A =  x # no comment\n", "A=x # no comment|");
        assert_read("# a\n ; b\n\nnothing here\nA=\nB=b=c\n", "A=|B=b=c|");
        assert_read("A=it's \"so\"\n", "A=it's \"so\"|");
        assert_read("A=$HOME ${x}\n", "A=$HOME ${x}|");
}

static void the_last_one_counts(void **state)
{
        (void) state;
        assert_read("A=1\nAB=2\nA=3\n", "A=3|AB=2|");
}

static void escapes(void **state)
{
        (void) state;
        assert_read("A=a\\\nb\nB=x\n", "A=ab|B=x|");
        assert_read("A=\\\\ \\n\\ \n", "A=\\ n |");
        assert_read("A=x\\", "A=x\\|");
}

static void quotes(void **state)
{
        (void) state;
        assert_read("A='a b\\n\n\"c'  \nB=x\n", "A=a b\\n\n\"c|B=x|");
        assert_read("A=\"a \\\"b\\\" \\$ \\n \\\nc\n d\"\nB=\"\"\n", "A=a \"b\" $ \\n c\n d|B=|");
        assert_read("A=\"a\"'b' c\n", "A=abc|");
}

static void mistakes_name_their_line(void **state)
{
        (void) state;
        assert_refused("A=1\nexport B=2\n",
                "f:2: \"export B\" is no name of a variable; expected NAME=VALUE");
        assert_refused("A=1\n=2\n", "f:2: \"\" is no name of a variable; expected NAME=VALUE");
        assert_refused("A=\"1\n2\n", "f:1: a \" that is not closed");
        assert_refused("A=\"1\n2\"\nB='", "f:3: a ' that is not closed");
        assert_refused("A=\"1\\", "f:1: a \" that is not closed");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(plain_lines),
                cmocka_unit_test(the_last_one_counts),
                cmocka_unit_test(escapes),
                cmocka_unit_test(quotes),
                cmocka_unit_test(mistakes_name_their_line),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
