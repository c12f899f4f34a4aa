/* SPDX-License-Identifier: BSD-3-Clause */
#include <strings.h>

#include "net/test-net.h"

static void check(const char *text, const char *expected)
{
        char formatted[ADDRESS_TEXT_MAX];
        struct address a, again;
        struct error err;

        if (address_parse(text, &a, &err) < 0)
                fail_msg("%s: %s", text, err.message);
        assert_string_equal(address_format(formatted, &a), expected);
        assert_int_equal(address_parse(formatted, &again, &err), 0);
        assert_int_equal(again.port, a.port);
        assert_string_equal(again.host, a.host);
        assert_string_equal(again.path, a.path);
        assert_int_equal(again.tls, a.tls);
        assert_int_equal(a.tls, strncasecmp(text, "https", 5) == 0);
        assert_null(a.context);
}

static void test_good(void **state)
{
        (void) state;
        check("unix:/run/reeve/reeve.sock", "unix:/run/reeve/reeve.sock");
        check("UNIX:/x", "unix:/x");
        check("http://example.org:80", "http://example.org:80");
        check("http://example.org:80/", "http://example.org:80");
        check("example.org:80", "http://example.org:80");
        check("localhost", "http://localhost:7433");
        check("http://localhost", "http://localhost:7433");
        check(":8080", ":8080");
        check("127.0.0.1:0", "http://127.0.0.1:0");
        check("[::1]:99", "http://[::1]:99");
        check("http://[::1]", "http://[::1]:7433");
        check("https://example.org:80", "https://example.org:80");
        check("HTTPS://example.org/", "https://example.org:7433");
        check("https://[::1]", "https://[::1]:7433");
        check("https://:8080", "https://:8080");
        check("[fe80::1%eth0.2]:80", "http://[fe80::1%eth0.2]:80");
}

static void test_bad(void **state)
{
        static const char *const bad[] = { "", "unix:", "unix:relative", "/run/x.sock", "http://",
                "https://", "https://x:1/path", "x:", "x:y", "x:65536", "x:-1", "::1", "[::1",
                "[::1]x", "[::1/]:1", "a b:1", "http://x:1/path", "http://u@x:1", "http://x:1?q" };
        struct address a;
        struct error err;
        char long_path[200];

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                err = ERROR_INIT;
                if (address_parse(bad[i], &a, &err) == 0)
                        fail_msg("\"%s\" was accepted", bad[i]);
                assert_int_equal(err.code, ERR_INVALID);
                assert_non_null(strstr(err.message, bad[i]));
        }
        snprintf(long_path, sizeof long_path, "unix:/%0150d", 0);
        assert_int_equal(address_parse(long_path, &a, &err), -1);
        assert_non_null(strstr(err.message, "107"));
}

static void test_loopback(void **state)
{
        static const struct {
                const char *text;
                bool loopback;
        } cases[] = { { "unix:/x", true }, { "localhost:1", true }, { "127.0.0.1:1", true },
                { "127.8.8.8:1", true }, { "[::1]:1", true }, { ":1", false },
                { "0.0.0.0:1", false }, { "10.0.0.1:1", false }, { "example.org:1", false },
                { "[fe80::1]:1", false } };
        struct address a;

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                assert_int_equal(address_parse(cases[i].text, &a, NULL), 0);
                assert_int_equal(address_is_loopback(&a), cases[i].loopback);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_good),
                cmocka_unit_test(test_bad),
                cmocka_unit_test(test_loopback),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
