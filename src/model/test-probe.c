/* SPDX-License-Identifier: BSD-3-Clause */
/* What probes ask: texts that are targets, and texts that are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/macros.h"
#include "model/probe.h"

static const struct row {
        bool http;
        const char *text, *host;
        unsigned port;
        const char *path; /* or what is wrong with it, if there is no host */
} rows[] = {
        { true, "http://127.0.0.1:8080/health?x=1", "127.0.0.1", 8080, "/health?x=1" },
        { true, "http://localhost", "localhost", 80, "/" },
        { true, "http://[::1]:99/", "::1", 99, "/" },
        { true, "http://[::1]/", "::1", 80, "/" },
        { false, "127.0.0.1:5432", "127.0.0.1", 5432, "" },
        { false, "[fe80::1]:1", "fe80::1", 1, "" },
        { true, "https://a/", NULL, 0, "expected a URL such as" },
        { true, "http://", NULL, 0, "there is no host in it" },
        { true, "http://:80/", NULL, 0, "there is no host in it" },
        { true, "http://a:0/", NULL, 0, "expected a port from 1 to 65535" },
        { true, "http://a:65536/", NULL, 0, "expected a port from 1 to 65535" },
        { true, "http://a:123456789/", NULL, 0, "expected a port from 1 to 65535" },
        { true, "http://a:/", NULL, 0, "expected a port from 1 to 65535" },
        { true, "http://a?x", NULL, 0, "a path that begins with" },
        { true, "http://a/b c", NULL, 0, "its path has a character" },
        { true, "http://a/#b", NULL, 0, "its path has a character" },
        { true, "http://u@a/", NULL, 0, "\"u@a\" is no host" },
        { true, "http://[::1/", NULL, 0, "a \"]\" is missing" },
        { true, "http://[::1]80/", NULL, 0, "its port is missing" },
        { false, "::1:80", NULL, 0, "an IPv6 address stands in brackets" },
        { false, "127.0.0.1", NULL, 0, "its port is missing" },
        { false, ":80", NULL, 0, "there is no host in it" },
        { false, "", NULL, 0, "there is no host in it" },
        { false, "a b:80", NULL, 0, "\"a b\" is no host" },
};

static void targets_are_read(void **state)
{
        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                const struct row *row = &rows[i];
                struct error err = ERROR_INIT;
                struct probe_target t;
                int r = (row->http ? probe_parse_http : probe_parse_tcp)(row->text, &t, &err);

                if (row->host == NULL) {
                        assert_int_equal(r, -1);
                        if (strncmp(err.message, row->path, strlen(row->path)) != 0)
                                fail_msg("%s: %s", row->text, err.message);
                        continue;
                }
                if (r < 0)
                        fail_msg("%s: %s", row->text, err.message);
                assert_string_equal(t.host, row->host);
                assert_int_equal(t.port, row->port);
                assert_string_equal(t.path, row->path);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = { cmocka_unit_test(targets_are_read) };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
