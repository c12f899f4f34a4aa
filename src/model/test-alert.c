/* SPDX-License-Identifier: BSD-3-Clause */
/* Alerts: who wants what, what is no receiver, and the texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/macros.h"
#include "model/alert.h"

static char failed[] = "failed", parked[] = "parked", oom[] = "oom", parkd[] = "parkd";

static void kinds_are_chosen(void **state)
{
        char *const only_oom[] = { oom, NULL }, *const only_failed[] = { failed, NULL };

        (void) state;
        assert_true(alert_wants(NULL, "failed"));
        assert_true(alert_wants(NULL, "oom"));
        assert_true(alert_wants(NULL, "parked"));
        assert_false(alert_wants(NULL, "unhealthy"));
        assert_true(alert_wants(only_oom, "oom"));
        assert_false(alert_wants(only_oom, "failed"));
        assert_true(alert_wants(only_failed, "oom"));
        assert_false(alert_wants(only_failed, "parked"));
}

static void receivers_are_checked(void **state)
{
        static const char *const good[] = { "ops@example.org", "root", "a.b+c_d%e=f@g-h.i" };
        static const char *const bad[] = { "", "@a", "-t", "a@b\nBcc: c", "a@b, c@d", "<a@b>",
                "a b@c" };
        char *const wrong[] = { parked, parkd, NULL };
        struct error err;

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(good); i++)
                assert_int_equal(alert_check_mail(good[i], &err), 0);
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_int_equal(alert_check_mail(bad[i], &err), -1);
        assert_int_equal(alert_check_url("https://example.org/hook?key=1", &err), 0);
        assert_int_equal(alert_check_url("http://[::1]:8080", &err), 0);
        assert_int_equal(alert_check_url("example.org", &err), -1);
        assert_int_equal(alert_check_kinds(wrong, &err), -1);
        assert_string_equal(err.message, "there is no failure \"parkd\"; did you mean \"parked\"?");
}

static struct event example(void)
{
        static char task[] = "web.0", job[] = "web",
                    message[] = "run 1 ended:\nBcc: all\xc3\xa9 exit code 3";

        return (struct event){ .index = 7,
                .time = USEC_SEC,
                .kind = EVENT_TASK_ENDED,
                .job = job,
                .task = task,
                .version = 1,
                .run = 1,
                .message = message,
                .failure = failed };
}

static void a_mail_has_one_head(void **state)
{
        AUTO(buffer_done) struct buffer out = { 0 };
        struct event event = example();

        (void) state;
        alert_write_mail(&event, NULL, "ops@example.org", &out);
        assert_non_null(strstr(buffer_str(&out),
                "To: ops@example.org\nSubject: [reeve] web.0 failed: run 1 ended:?Bcc: all?? exit "
                "code 3\nAuto-Submitted: auto-generated\n"));
        assert_non_null(strstr(buffer_str(&out), "\n\nweb.0 (failed): run 1 ended:"));
}

static void a_document_has_all(void **state)
{
        AUTO(buffer_done) struct buffer out = { 0 };
        struct event event = example();
        struct dossier dossier = { .lasted = RECORD_NULL,
                .memory_peak = RECORD_NULL,
                .cpu = RECORD_NULL,
                .good_run = RECORD_NULL };
        json_t *json;

        (void) state;
        alert_write_json(&event, &dossier, &out);
        json = json_loadb(out.data, out.len, 0, NULL);
        assert_int_equal(
                json_integer_value(json_object_get(json_object_get(json, "event"), "index")), 7);
        assert_true(json_is_object(json_object_get(json, "dossier")));
        assert_non_null(
                strstr(json_string_value(json_object_get(json, "text")), "could not begin"));
        json_decref(json);
}

int main(void)
{
        const struct CMUnitTest tests[] = { cmocka_unit_test(kinds_are_chosen),
                cmocka_unit_test(receivers_are_checked), cmocka_unit_test(a_mail_has_one_head),
                cmocka_unit_test(a_document_has_all) };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
