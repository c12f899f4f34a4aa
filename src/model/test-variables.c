/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/macros.h"
#include "base/mem.h"
#include "model/variables.h"

static char http[] = "http", admin[] = "admin-2";
static char *const port_names[] = { http, admin, NULL };
static const uint16_t ports[] = { 20001, 20002 };
static const struct variables values = { "web", "web.3", 3, "n1", port_names, ports };

static void values_are_put_in_place(void **state)
{
        static const struct {
                const char *text, *want;
        } rows[] = {
                { "", "" },
                { "plain", "plain" },
                { "${ports.http}", "20001" },
                { "--listen=127.0.0.1:${ports.http},:${ports.admin-2}/x",
                        "--listen=127.0.0.1:20001,:20002/x" },
                { "${task.index}${task.id}${job.name}@${node.name}", "3web.3web@n1" },
                { "$${ports.http}", "${ports.http}" },
                { "$$${ports.http}", "$${ports.http}" }, /* the escape comes first ... */
                { "$${", "${" },
                { "$ ${ports.http}$", "$ 20001$" },
                /* what is the shell's */
                { "${HOME} $HOME $$ ${x:-a.b} ${x%.*} ${.} ${a.} ${.b} ${}",
                        "${HOME} $HOME $$ ${x:-a.b} ${x%.*} ${.} ${a.} ${.b} ${}" },
                { "${ports.http", "${ports.http" },
                { "${${ports.http}}", "${20001}" },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                AUTO(mem_freep) char *got = variables_expand(rows[i].text, &values);
                struct error err = ERROR_INIT;

                assert_string_equal(got, rows[i].want);
                assert_int_equal(variables_any(rows[i].text), strcmp(got, rows[i].text) != 0);
                assert_int_equal(variables_check(rows[i].text, port_names, &err), 0);
        }
}

static void what_there_is_not_is_refused(void **state)
{
        static const struct {
                const char *text, *says;
        } rows[] = {
                { "x ${ports.htpt} y", "\"htpt\" is not among resources.ports" },
                { "${task.indx}", "did you mean \"${task.index}\"?" },
                { "${a.b}", "there are job.name, node.name, task.id, task.index and ports.NAME" },
                { "${task.id}${foo.bar}", "\"${foo.bar}\"" },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                struct error err = ERROR_INIT;

                assert_int_equal(variables_check(rows[i].text, port_names, &err), -1);
                assert_int_equal(err.code, ERR_INVALID);
                if (strstr(err.message, rows[i].says) == NULL)
                        fail_msg("%s: %s", rows[i].text, err.message);
        }
        assert_int_equal(variables_check("${ports.http}", NULL, NULL), -1);
        assert_int_equal(variables_check("$${a.b}", NULL, NULL), 0);
}

static void a_text_of_a_newer_version_stays_as_it_is(void **state)
{
        AUTO(mem_freep) char *got = variables_expand("${task.colour} ${ports.x}", &values);

        (void) state;
        assert_string_equal(got, "${task.colour} ${ports.x}");
}

static void ports_have_names_in_the_environment(void **state)
{
        AUTO(mem_freep) char *name = variables_port_name("admin-2");

        (void) state;
        assert_string_equal(name, "REEVE_PORT_ADMIN_2");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(values_are_put_in_place),
                cmocka_unit_test(what_there_is_not_is_refused),
                cmocka_unit_test(a_text_of_a_newer_version_stays_as_it_is),
                cmocka_unit_test(ports_have_names_in_the_environment),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
