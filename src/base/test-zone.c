/* SPDX-License-Identifier: BSD-3-Clause */
/* Zones against the C library's own reader of the same files, every hour of 35 years and every
 * setting of the clocks to the second; and files that are damaged at every place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buffer.h"
#include "base/calendar.h"
#include "base/file.h"
#include "base/macros.h"
#include "base/mem.h"
#include "base/zone-file.h"

/* Halves of hours, two hours, negative summers, Ramadan, midnight, a day left out, no setting at
 * all. The files end with lists up to 2037, behind which there is the rule. */
static const char *const names[] = { "Africa/Cairo", "Africa/Casablanca", "America/Caracas",
        "America/Havana", "America/New_York", "America/Nuuk", "America/Santiago",
        "America/St_Johns", "Antarctica/Troll", "Asia/Beirut", "Asia/Gaza", "Asia/Jerusalem",
        "Asia/Kolkata", "Asia/Tehran", "Atlantic/Azores", "Australia/Lord_Howe", "Australia/Sydney",
        "Europe/Dublin", "Europe/London", "Europe/Paris", "Pacific/Apia", "Pacific/Chatham",
        "UTC" };

static struct zone *load(const char *name)
{
        struct error err = ERROR_INIT;
        struct zone *zone = NULL;

        if (zone_file_load(NULL, name, &zone, &err) < 0)
                fail_msg("%s", err.message);
        return zone;
}

static void set_library_zone(const char *name)
{
        assert_int_equal(setenv("TZ", name, 1), 0);
        tzset();
}

static int32_t library_offset(int64_t instant)
{
        time_t sec = (time_t) instant;
        struct tm tm;

        localtime_r(&sec, &tm);
        return (int32_t) tm.tm_gmtoff;
}

/* The second at which the offset becomes another one. */
static int64_t find_setting(int64_t before, int64_t after)
{
        int32_t offset = library_offset(before);

        while (after - before > 1) {
                int64_t middle = before + (after - before) / 2;

                if (library_offset(middle) == offset)
                        before = middle;
                else
                        after = middle;
        }
        return after;
}

static void check_setting(const struct zone *zone, int64_t instant)
{
        int32_t before = library_offset(instant - 1), after = library_offset(instant);
        int64_t local = instant + before, found[2];
        struct zone_period period = zone_period_at(zone, instant);

        assert_int_equal(period.begin, instant);
        assert_int_equal(period.offset, after);
        period = zone_period_at(zone, instant - 1);
        assert_int_equal(period.end, instant);
        assert_int_equal(period.offset, before);

        assert_int_equal(zone_not_shown(zone, instant), MAX(local, instant + after + 1));
        if (after > before) { /* local times from here on, as many as the clocks skip, never come */
                assert_int_equal(zone_instants_of(zone, local, found), 0);
                assert_int_equal(zone_instants_of(zone, local + (after - before) - 1, found), 0);
                assert_int_equal(zone_instants_of(zone, local + (after - before), found), 1);
                assert_int_equal(found[0], instant);
                assert_int_equal(zone_first_reaching(zone, local, instant - 86400), instant);
        } else { /* those before come twice */
                assert_int_equal(zone_instants_of(zone, local, found), 1);
                assert_int_equal(zone_instants_of(zone, local - 1, found), 2);
                assert_int_equal(found[0], instant - 1);
                assert_int_equal(found[1], instant - 1 + (before - after));
                assert_int_equal(
                        zone_first_reaching(zone, local - 1, instant - 86400), instant - 1);
        }
}

static size_t check_zone(const char *name)
{
        AUTO(zone_freep) struct zone *zone = load(name);
        int64_t begin = calendar_days(2006, 1, 1) * 86400, end = calendar_days(2041, 1, 1) * 86400;
        int32_t last;
        size_t settings = 0;

        set_library_zone(name);
        last = library_offset(begin);
        for (int64_t at = begin; at < end; at += 3600) {
                int32_t offset = library_offset(at);

                if (zone_offset_at(zone, (usec_t) at * USEC_SEC) != offset)
                        fail_msg("%s: offset at %lld", name, (long long) at);
                if (offset != last) {
                        check_setting(zone, find_setting(at - 3600, at));
                        settings++;
                }
                last = offset;
        }
        return settings;
}

static void zones_agree_with_the_library(void **state)
{
        size_t settings = 0;

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                settings += check_zone(names[i]);
        assert_true(settings > 700); /* the library reads the same files, not none */
}

static void the_rule_goes_on_for_ever(void **state)
{
        AUTO(zone_freep) struct zone *paris = load("Europe/Paris");
        int64_t summer = calendar_days(2500, 7, 1) * 86400;

        (void) state;
        assert_int_equal(zone_offset_at(paris, (usec_t) summer * USEC_SEC), 7200);
        /* the last Sunday of March 2500 is the 28th */
        assert_int_equal(
                zone_period_at(paris, summer).begin, calendar_days(2500, 3, 28) * 86400 + 3600);
        assert_int_equal(zone_offset_at(paris, 0), 3600);
        assert_int_equal(zone_period_at(paris, -((int64_t) 1 << 55)).begin, INT64_MIN);
}

/* A file of version 3 without a list, with @rule at its end. */
static struct zone *zone_of_rule(const char *rule)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        static const char header[] = "TZif3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
                                     "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\4"
                                     "\0\0\0\0\0\0UTC";
        struct error err = ERROR_INIT;
        struct zone *zone = NULL;

        buffer_put(&b, header, sizeof header);
        buffer_put(&b, header, sizeof header);
        buffer_printf(&b, "\n%s\n", rule);
        if (zone_parse(b.data, b.len, &zone, &err) < 0)
                assert_int_equal(err.code, ERR_INVALID);
        return zone;
}

static void rules_are_read_as_the_library_reads_them(void **state)
{
        static const char *const rules[] = { "CET-1CEST,M3.5.0,M10.5.0/3", "EST5EDT,J60,J300/0",
                "<-03>3<-02>,59/1:30,299/-1", "IST-1GMT0,M10.5.0,M3.5.0/1", "XXX3", "<+0330>-3:30",
                "AAA-10BBB-10:30,M10.1.0,M4.1.0", "<-02>2<-01>,M3.5.0/-1,M10.5.0/0" };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
                AUTO(zone_freep) struct zone *zone = zone_of_rule(rules[i]);

                assert_non_null(zone);
                set_library_zone(rules[i]);
                for (int64_t at = 0; at < calendar_days(2012, 1, 1) * 86400; at += 1800)
                        if (zone_offset_at(zone, (usec_t) at * USEC_SEC) != library_offset(at))
                                fail_msg("%s at %lld", rules[i], (long long) at);
        }
}

static void it_can_always_be_summer(void **state)
{
        AUTO(zone_freep) struct zone *zone = zone_of_rule("EST5EDT,0/0,J365/25");

        (void) state;
        assert_non_null(zone);
        for (int64_t at = 0; at < calendar_days(1980, 1, 1) * 86400; at += 900)
                assert_int_equal(zone_period_at(zone, at).offset, -4 * 3600);
}

static void rules_that_make_no_sense_are_refused(void **state)
{
        static const char *const rules[] = { "CE-1", "CET", "CET-1CEST", "CET-1CEST,M3.5.0",
                "CET-1CEST,M13.5.0,M10.5.0", "CET-1CEST,M3.6.0,M10.5.0", "CET-1CEST,M3.5.7,M10.5.0",
                "CET-1CEST,J0,J3", "CET-1CEST,366,3", "CET-25", "CET-1:60", "<CET-1", "<>1",
                "CET-1CEST,M3.5.0/168,M10.5.0", "CET-1CEST,M3.5.0,M10.5.0/3x", "CET-1CEST,M3.5",
                "CET-1CEST,M3.5.0/,M10.5.0" };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
                if (zone_of_rule(rules[i]) != NULL)
                        fail_msg("accepted: %s", rules[i]);
}

static void read_file(const char *name, struct buffer *ret)
{
        AUTO(mem_freep) char *path = mem_printf("%s/%s", ZONE_FOLDER, name);
        struct error err = ERROR_INIT;

        if (file_read(path, 1 << 20, ret, &err) < 0)
                fail_msg("%s", err.message);
}

static void files_that_are_cut_off_are_refused(void **state)
{
        AUTO(buffer_done) struct buffer file = { 0 };

        (void) state;
        read_file("Europe/Paris", &file);
        for (size_t len = 0; len < file.len; len++) {
                /* no longer than it is, so that reading one byte more is seen */
                char *exact = mem_resize(NULL, MAX(len, (size_t) 1), 1);
                struct error err = ERROR_INIT;
                struct zone *zone = NULL;

                memcpy(exact, file.data, len);
                assert_int_equal(zone_parse(exact, len, &zone, &err), -1);
                assert_int_equal(err.code, ERR_INVALID);
                assert_null(zone);
                free(exact);
        }
}

/* Whatever a byte becomes: refused, or a zone of which questions can be asked. */
static void files_that_are_damaged_do_no_harm(void **state)
{
        AUTO(buffer_done) struct buffer file = { 0 };

        (void) state;
        read_file("America/Nuuk", &file);
        for (size_t i = 0; i < file.len; i++)
                for (int flip = 1; flip < 256; flip <<= 1) {
                        AUTO(zone_freep) struct zone *zone = NULL;

                        file.data[i] = (char) (file.data[i] ^ flip);
                        if (zone_parse(file.data, file.len, &zone, NULL) == 0)
                                for (int64_t at = 0; at < 4000000000; at += 400000000) {
                                        int64_t found[2];

                                        zone_instants_of(zone, at, found);
                                        zone_not_shown(zone, at);
                                        assert_true(zone_first_reaching(zone, at, 0) >= 0);
                                }
                        file.data[i] = (char) (file.data[i] ^ flip);
                }
}

static void names_are_checked(void **state)
{
        static const char *const good[] = { "UTC", "Europe/Paris", "Etc/GMT+3",
                "America/Argentina/Buenos_Aires", "America/Port-au-Prince", "EST5EDT" };
        static const char *const bad[] = { "", "/etc/passwd", "../etc", "Europe/../UTC", "Europe/",
                "Europe//Paris", "Europe/.x", "a b", "+3", "Europe/Paris\n" };
        struct zone *zone = NULL;
        struct error err = ERROR_INIT;

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
                AUTO(zone_freep) struct zone *loaded = load(good[i]);

                assert_non_null(loaded);
                assert_true(zone_name_is_valid(good[i]));
        }
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                assert_false(zone_name_is_valid(bad[i]));
                assert_int_equal(zone_file_load(NULL, bad[i], &zone, &err), -1);
                assert_int_equal(err.code, ERR_INVALID);
        }
}

static void zones_that_are_not_there_are_told(void **state)
{
        struct zone *zone = NULL;
        struct error err = ERROR_INIT;

        (void) state;
        assert_int_equal(zone_file_load(NULL, "Europe/Pariss", &zone, &err), -1);
        assert_int_equal(err.code, ERR_NOT_FOUND);
        assert_string_equal(err.message, "no time zone \"Europe/Pariss\" in /usr/share/zoneinfo");
        assert_int_equal(zone_file_load(NULL, "Europe", &zone, &err), -1);
        assert_int_equal(err.code, ERR_NOT_FOUND);
        assert_int_equal(zone_file_load("/nonexistent", "Europe/Paris", &zone, &err), -1);
        assert_non_null(strstr(err.message, "package tzdata"));
        assert_int_equal(zone_file_load("/nonexistent", "UTC", &zone, &err), 0);
        zone_free(zone);
        assert_int_equal(zone_file_load(NULL, "tzdata.zi", &zone, &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
}

static void dates_and_days_are_one(void **state)
{
        (void) state;
        assert_int_equal(calendar_days(1970, 1, 1), 0);
        assert_int_equal(calendar_weekday(0), 4);
        assert_int_equal(calendar_weekday(-1), 3);
        for (int64_t days = -800000; days < 800000; days++) {
                struct calendar_date date = calendar_date(days);

                if (calendar_days(date.year, date.month, date.day) != days || date.day < 1 ||
                        date.day > calendar_month_length(date.year, date.month))
                        fail_msg("day %lld", (long long) days);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(zones_agree_with_the_library),
                cmocka_unit_test(the_rule_goes_on_for_ever),
                cmocka_unit_test(rules_are_read_as_the_library_reads_them),
                cmocka_unit_test(it_can_always_be_summer),
                cmocka_unit_test(rules_that_make_no_sense_are_refused),
                cmocka_unit_test(files_that_are_cut_off_are_refused),
                cmocka_unit_test(files_that_are_damaged_do_no_harm),
                cmocka_unit_test(names_are_checked),
                cmocka_unit_test(zones_that_are_not_there_are_told),
                cmocka_unit_test(dates_and_days_are_one),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
