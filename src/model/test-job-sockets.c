/* SPDX-License-Identifier: BSD-3-Clause */
/* What a spec says about held sockets: read, written, compared, and refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/macros.h"
#include "model/job.h"
#include "model/listen.h"

static int parse_into(const char *fields, struct job_file *file, struct error *err)
{
        char text[1000];

        snprintf(text, sizeof text, "jobs:\n  a:\n    command: [x]\n    %s\n", fields);
        return job_file_parse("f", text, strlen(text), JOB_FORMAT_YAML, file, err);
}

static struct job_spec *parse(const char *fields)
{
        AUTO(job_file_done) struct job_file file = { 0 };
        struct error err = ERROR_INIT;

        if (parse_into(fields, &file, &err) < 0)
                fail_msg("%s", err.message);
        return job_spec_ref(file.jobs[0]);
}

static void assert_refused(const char *fields, const char *message)
{
        AUTO(job_file_done) struct job_file file = { 0 };
        struct error err = ERROR_INIT;

        assert_int_equal(parse_into(fields, &file, &err), -1);
        assert_string_equal(err.message, message);
}

static void nothing_is_held_unless_asked_for(void **state)
{
        AUTO(job_spec_unrefp) struct job_spec *s = parse("kind: service");

        (void) state;
        assert_int_equal(s->sockets_len, 0);
        assert_int_equal(s->start, JOB_START_NOW);
        assert_int_equal(s->fd_store, 0);
        assert_false(job_spec_has_notify(s));
}

static const char some[] = "sockets: {web: {listen: \"[::]:80\", backlog: 7}, "
                           "admin: {listen: \"unix:/run/a.sock\", mode: 0660}, "
                           "time: {listen: \"127.0.0.1:123\", type: datagram}}\n"
                           "    start: on-demand\n    fd_store: 3";

static void sockets_are_read_by_name(void **state)
{
        AUTO(job_spec_unrefp) struct job_spec *s = parse(some);

        (void) state;
        assert_int_equal(s->sockets_len, 3);
        assert_string_equal(s->sockets[0].name, "admin");
        assert_string_equal(s->sockets[0].listen, "unix:/run/a.sock");
        assert_int_equal(s->sockets[0].mode, 0660);
        assert_int_equal(s->sockets[0].backlog, 4096);
        assert_string_equal(s->sockets[1].name, "time");
        assert_int_equal(s->sockets[1].type, SOCKET_DATAGRAM);
        assert_string_equal(s->sockets[2].name, "web");
        assert_true(s->sockets[2].mode == JOB_UMASK_NONE);
        assert_int_equal(s->sockets[2].backlog, 7);
        assert_int_equal(s->start, JOB_START_ON_DEMAND);
        assert_int_equal(s->fd_store, 3);
        assert_true(job_spec_has_notify(s));
}

static void what_is_written_is_read_back(void **state)
{
        AUTO(job_spec_unrefp) struct job_spec *s = parse(some), *again = NULL;
        json_t *json = job_spec_to_json(s);
        struct error err = ERROR_INIT;
        struct job_diff diff;

        (void) state;
        assert_int_equal(job_spec_from_json("a", json, &again, &err), 0);
        job_spec_diff(s, again, &diff);
        assert_int_equal(diff.len, 0);
        job_diff_done(&diff);
        json_decref(json);
}

static void another_address_needs_a_new_run(void **state)
{
        AUTO(job_spec_unrefp)
        struct job_spec *a = parse("sockets: {web: {listen: \"127.0.0.1:80\"}}");
        AUTO(job_spec_unrefp)
        struct job_spec *b = parse("sockets: {web: {listen: \"127.0.0.1:81\"}}");
        AUTO(job_spec_unrefp)
        struct job_spec *c = parse("sockets: {web: {listen: \"127.0.0.1:80\"}}\n"
                                   "    start: on-demand");
        struct job_diff diff;

        (void) state;
        job_spec_diff(a, b, &diff);
        assert_int_equal(diff.len, 1);
        assert_string_equal(diff.changes[0].field, "sockets");
        assert_true(diff.needs_restart);
        job_diff_done(&diff);
        job_spec_diff(a, c, &diff);
        assert_int_equal(diff.len, 1);
        assert_false(diff.needs_restart);
        job_diff_done(&diff);
}

static void mistakes_are_named(void **state)
{
        (void) state;
        assert_refused("sockets: [80]",
                "f:4: jobs.a.sockets: expected an object such as {http: {listen: "
                "\"127.0.0.1:8080\"}}, got a list");
        assert_refused("sockets: {web: 80}",
                "f:4: jobs.a.sockets.web: expected an object such as {listen: "
                "\"127.0.0.1:8080\"}, got 80");
        assert_refused(
                "sockets: {web: {mode: 0600}}", "f:4: jobs.a.sockets.web: \"listen\" is missing");
        assert_refused("sockets: {\"a:b\": {listen: \"127.0.0.1:80\"}}",
                "f:4: jobs.a.sockets.\"a:b\": not a name: letters, digits, \"-\", \"_\"");
        assert_refused("sockets: {web: {listen: \"127.0.0.1\"}}",
                "f:4: jobs.a.sockets.web.listen: its port is missing");
        assert_refused("sockets: {web: {listen: \"localhost:80\"}}",
                "f:4: jobs.a.sockets.web.listen: \"localhost\" is no address in numbers, such as "
                "127.0.0.1:80, 0.0.0.0:80, [::]:80 or unix:/run/web.sock");
        assert_refused("sockets: {web: {listen: \"unix:web.sock\"}}",
                "f:4: jobs.a.sockets.web.listen: the path of a UNIX socket begins with \"/\"");
        assert_refused("sockets: {web: {listen: \"127.0.0.1:80\", mode: 0600}}",
                "f:4: jobs.a.sockets.web.mode: only a UNIX socket has permissions, and "
                "127.0.0.1:80 is none");
        assert_refused("sockets: {a: {listen: \"127.0.0.1:80\"}, b: {listen: \"127.0.0.1:80\"}}",
                "f:4: jobs.a.sockets.b.listen: \"a\" listens there, too");
        assert_refused("start: on-demand",
                "f:4: jobs.a.start: \"on-demand\" needs \"sockets\": a connection to one of them "
                "is what it waits for");
        assert_refused("ready: {fd: 5}\n    fd_store: 2\n"
                       "    sockets: {web: {listen: \"127.0.0.1:80\"}}",
                "f:4: jobs.a.ready.fd: expected 6 or more: descriptors 3 to 5 are for sockets and "
                "fd_store");
}

static void addresses_are_numbers(void **state)
{
        static const char *const none[] = { "1.2.3:80", "1.2.3.4.5:80", "1.2.3.256:80",
                "01.2.3.4:80", "1.2.3.:80", ".1.2.3:80", "[fe80::1%eth0]:80", "a:80", ":80",
                "127.0.0.1:0", "127.0.0.1:65536", "unix:", "unix:x" };
        struct listen_target t;
        struct error err = ERROR_INIT;
        char path[200] = "unix:/";

        (void) state;
        assert_int_equal(listen_parse("0.0.0.0:81", &t, &err), 0);
        assert_string_equal(t.address.host, "0.0.0.0");
        assert_int_equal(t.address.port, 81);
        assert_false(t.v6);
        assert_null(t.path);
        assert_int_equal(listen_parse("[::1]:82", &t, &err), 0);
        assert_string_equal(t.address.host, "::1");
        assert_true(t.v6);
        assert_int_equal(listen_parse("unix:/run/x", &t, &err), 0);
        assert_string_equal(t.path, "/run/x");
        memset(path + 6, 'x', LISTEN_PATH_MAX - 1);
        assert_int_equal(listen_parse(path, &t, &err), 0);
        path[6 + LISTEN_PATH_MAX - 1] = 'x';
        assert_int_equal(listen_parse(path, &t, &err), -1);
        for (size_t i = 0; i < ARRAY_SIZE(none); i++)
                assert_int_equal(listen_parse(none[i], &t, &err), -1);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(nothing_is_held_unless_asked_for),
                cmocka_unit_test(sockets_are_read_by_name),
                cmocka_unit_test(what_is_written_is_read_back),
                cmocka_unit_test(another_address_needs_a_new_run),
                cmocka_unit_test(mistakes_are_named),
                cmocka_unit_test(addresses_are_numbers),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
