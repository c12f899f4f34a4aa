/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "node/servers.h"

static struct servers make(const char *list)
{
        struct servers s = { 0 };
        struct error err = ERROR_INIT;

        if (servers_add(&s, list, &err) < 0)
                fail_msg("%s", err.message);
        return s;
}

static void a_list_is_read(void **state)
{
        struct servers s = make("http://a:1,b:2");
        struct error err = ERROR_INIT;

        (void) state;
        assert_int_equal(servers_add(&s, "unix:/x", &err), 0);
        assert_int_equal(s.len, 3);
        assert_string_equal(s.items[0].host, "a");
        assert_int_equal(s.items[1].port, 2);
        assert_string_equal(s.items[2].path, "/x");
        assert_int_equal(servers_add(&s, "c:1,/x", &err), -1);
        assert_non_null(strstr(err.message, "unix:/x"));
        servers_done(&s);
}

static void each_failure_leads_to_the_next(void **state)
{
        struct servers s = make("a:1,b:1,c:1");
        static const char *const order[] = { "a", "b", "c", "a" };

        (void) state;
        for (size_t i = 0; i < 4; i++) {
                assert_string_equal(servers_current(&s)->host, order[i]);
                servers_failed(&s, false, 0);
        }
        assert_string_equal(servers_current(&s)->host, "b");
        servers_took(&s);
        servers_failed(&s, false, 0); /* where we were is where we try first */
        assert_string_equal(servers_current(&s)->host, "b");
        servers_failed(&s, false, 0);
        assert_string_equal(servers_current(&s)->host, "c");
        servers_done(&s);
}

/* The longest time that the next failure can cost. */
static usec_t longest(struct servers s)
{
        usec_t most = 0;

        for (uint64_t random = 0; random < 20 * USEC_SEC; random += 997) {
                struct servers copy = s;
                usec_t wait = servers_failed(&copy, false, random);

                most = wait > most ? wait : most;
        }
        return (most + USEC_MSEC) / USEC_MSEC; /* in ms, rounded up */
}

static void the_wait_grows_by_rounds_up_to_its_limit(void **state)
{
        struct servers local = make("127.0.0.1:1"), remote = make("a:1,b:1");

        (void) state;
        assert_in_range(longest(local), 4, 5);
        assert_in_range(longest(remote), 99, 100);
        servers_failed(&local, false, 0);
        servers_failed(&remote, false, 0);
        assert_in_range(longest(local), 9, 10);
        assert_in_range(longest(remote), 99, 100); /* the second of the same round */
        servers_failed(&remote, false, 0);
        assert_in_range(longest(remote), 199, 200);
        for (int i = 0; i < 1000; i++) {
                servers_failed(&local, false, 0);
                servers_failed(&remote, false, 0);
        }
        assert_in_range(longest(local), 1999, 2000);
        assert_in_range(longest(remote), 14999, 15000);
        servers_took(&remote);
        assert_in_range(longest(remote), 99, 100);
        servers_done(&local);
        servers_done(&remote);
}

static void who_is_refused_comes_again_slowly(void **state)
{
        struct servers s = make("a:1");

        (void) state;
        servers_took(&s);
        assert_in_range(servers_failed(&s, true, 0), 5 * USEC_SEC, 15 * USEC_SEC);
        assert_in_range(servers_failed(&s, true, UINT64_MAX), 5 * USEC_SEC, 15 * USEC_SEC);
        servers_done(&s);
}

static void a_server_that_starts_again_is_not_worth_a_word(void **state)
{
        struct servers s = make("a:1,b:1");

        (void) state;
        for (int i = 0; i < 9; i++) {
                servers_failed(&s, false, 0);
                assert_false(servers_is_loud(&s));
        }
        servers_failed(&s, false, 0);
        assert_true(servers_is_loud(&s));
        servers_took(&s);
        assert_false(servers_is_loud(&s));
        servers_done(&s);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_list_is_read),
                cmocka_unit_test(each_failure_leads_to_the_next),
                cmocka_unit_test(the_wait_grows_by_rounds_up_to_its_limit),
                cmocka_unit_test(who_is_refused_comes_again_slowly),
                cmocka_unit_test(a_server_that_starts_again_is_not_worth_a_word),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
