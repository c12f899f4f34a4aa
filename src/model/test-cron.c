/* SPDX-License-Identifier: BSD-3-Clause */
/* Timetables: what is read and what is refused; the calendar against looking at every minute; and
 * around every setting of the clocks of 22 zones in 20 years, minute by minute, against the C
 * library's local time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buffer.h"
#include "base/calendar.h"
#include "base/macros.h"
#include "base/mem.h"
#include "base/zone-file.h"
#include "model/cron.h"

static struct cron_expression parse(const char *text)
{
        struct cron_expression e;
        struct error err = ERROR_INIT;

        if (cron_parse(text, &e, &err) < 0)
                fail_msg("%s: %s", text, err.message);
        return e;
}

static void check_same(const char *text, const char *plain)
{
        struct cron_expression a = parse(text), b = parse(plain);

        if (a.minutes != b.minutes || a.hours != b.hours || a.days != b.days ||
                a.months != b.months || a.weekdays != b.weekdays || a.either_day != b.either_day)
                fail_msg("\"%s\" is not \"%s\"", text, plain);
}

static void expressions_are_read(void **state)
{
        static const char *const same[][2] = {
                { "@hourly", "0 * * * *" },
                { "@daily", "0 0 * * *" },
                { "@midnight", "0 0 * * *" },
                { "@weekly", "0 0 * * sun" },
                { "@monthly", "0 0 1 * *" },
                { "@Yearly", "0 0 1 jan *" },
                { "*/20 * * * *", "0,20,40 * * * *" },
                { "10-30/10 0-23 * * *", "10,20,30 * * * *" },
                { "  5\t4  * * 7 ", "5 4 * * 0" },
                { "0 0 * JAN-mar Mon-Fri", "0 0 * 1,2,3 1,2,3,4,5" },
                { "0 0 * * fri-sun", "0 0 * * 5,6,0" },
                { "0 0 * * 5-7", "0 0 * * 0,5,6" },
                { "0 0 * * 0-7", "0 0 * * 0-6" },
                { "0 0 */10 * *", "0 0 */10 * *" },
                { "007 00 01 * *", "7 0 1 * *" },
        };
        struct cron_expression e = parse("1,59 0,23 1,31 1,12 0,6");

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(same); i++)
                check_same(same[i][0], same[i][1]);
        assert_int_equal(e.minutes, UINT64_C(1) << 1 | UINT64_C(1) << 59);
        assert_int_equal(e.hours, BIT(0) | BIT(23));
        assert_int_equal(e.days, BIT(1) | BIT(31));
        assert_int_equal(e.months, BIT(1) | BIT(12));
        assert_int_equal(e.weekdays, BIT(0) | BIT(6));
        assert_true(e.either_day);
        assert_false(parse("0 0 13 * */2").either_day);
}

static void mistakes_are_told_with_their_place(void **state)
{
        static const char *const bad[][2] = {
                { "61 * * * *", "minute: 61 is more than 59 (character 1)" },
                { "0 24 * * *", "hour: 24 is more than 23 (character 3)" },
                { "0 0 0 * *", "day of month: 0 is less than 1 (character 5)" },
                { "0 0 1 13 *", "month: 13 is more than 12 (character 7)" },
                { "0 0 1 1 8", "day of week: 8 is more than 7 (character 9)" },
                { "0 0 1 foo *", "month: unexpected \"foo\" (character 7)" },
                { "0 mon 1 1 *", "hour: unexpected \"mon\" (character 3)" },
                { "0 0 1 janu *", "month: unexpected \"janu\" (character 7)" },
                { "5,, * * * *", "minute: unexpected \",\" (character 3)" },
                { "5, * * * *", "minute: a value is missing (character 3)" },
                { "30-10 * * * *", "minute: the range 30-10 runs backwards (character 1)" },
                { "*/0 * * * *", "minute: a step of 0 (character 3)" },
                { "*/90 * * * *", "minute: a step of 90 is more than 59 (character 3)" },
                { "5/15 * * * *", "minute: a step needs a range: 5-59/15 (character 1)" },
                { "99999 * * * *", "minute: a number of up to four digits, please (character 1)" },
                { "0 0 ? * *", "day of month: unexpected \"?\" (character 5)" },
                { "0 0 L * *", "day of month: unexpected \"L\" (character 5)" },
                { "-5 * * * *", "minute: unexpected \"-\" (character 1)" },
                { "*5 * * * *", "minute: unexpected \"5\" (character 2)" },
                { "", "minute: missing; there are five fields: minute, hour, day of month, month, "
                      "day of week" },
                { "* * * *", "day of week: missing; there are five fields: minute, hour, day of "
                             "month, month, day of week" },
                { "0 0 0 1 1 *", "day of month: 0 is less than 1 (character 5)" },
                { "0 0 1 1 * 2026", "\"2026\" (character 11) is one field too many: there are "
                                    "five, of which the first is the minute" },
                { "0 0 31 2,4 *", "day of month: none of the months given has such a day" },
                { "@reboot", "unknown \"@reboot\"; there are @hourly, @daily, @weekly, @monthly "
                             "and @yearly" },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                struct cron_expression e;
                struct error err = ERROR_INIT;

                assert_int_equal(cron_parse(bad[i][0], &e, &err), -1);
                assert_int_equal(err.code, ERR_INVALID);
                assert_string_equal(err.message, bad[i][1]);
        }
}

static usec_t wall(const char *text)
{
        usec_t at;

        assert_true(time_parse_wall(text, &at));
        return at;
}

static void check_next(const char *text, const char *after, const char *expected)
{
        struct cron_expression e = parse(text);
        char found[TIME_TEXT_MAX];
        usec_t next;

        assert_true(cron_next(&e, NULL, wall(after), &next));
        assert_string_equal(time_format_wall(found, next), expected);
}

static void next_is_strictly_after(void **state)
{
        (void) state;
        check_next("0 3 * * *", "2026-03-01T03:00:00Z", "2026-03-02T03:00:00.000Z");
        check_next("0 3 * * *", "2026-03-01T02:59:59.999Z", "2026-03-01T03:00:00.000Z");
        check_next("0 3 * * *", "2026-03-01T03:00:00.001Z", "2026-03-02T03:00:00.000Z");
        check_next("0 * * * *", "2026-03-01T03:00:00Z", "2026-03-01T04:00:00.000Z");
        check_next("59 23 31 12 *", "2026-12-31T23:59:00Z", "2027-12-31T23:59:00.000Z");
        check_next("0 0 29 2 *", "2096-02-29T00:00:00Z", "2104-02-29T00:00:00.000Z");
        check_next("0 0 29 2 */6", "2072-03-01T00:00:00Z", "2076-02-29T00:00:00.000Z");
        check_next("0 0 31 * *", "2026-01-31T00:00:00Z", "2026-03-31T00:00:00.000Z");
        check_next("30 4 1,15 * fri", "2026-03-01T04:30:00Z", "2026-03-06T04:30:00.000Z");
        check_next("30 4 1,15 * fri", "2026-03-13T04:30:00Z", "2026-03-15T04:30:00.000Z");
        check_next("0 0 1 1 *", "1970-01-01T00:00:00Z", "1971-01-01T00:00:00.000Z");
}

static void the_end_of_time_is_never(void **state)
{
        struct cron_expression e = parse("0 0 1 1 *");
        usec_t next;

        (void) state;
        assert_false(cron_next(&e, NULL, USEC_NEVER, &next));
        e.days = BIT(31);
        e.months = BIT(2); /* cron_parse() refuses it */
        assert_false(cron_next(&e, NULL, wall("2026-01-01T00:00:00Z"), &next));
}

/* The calendar, against looking at every minute. */

enum { CALENDAR_DAYS = 70 };

static unsigned next_random(unsigned *seed)
{
        *seed = *seed * 1103515245 + 12345;
        return *seed >> 16 & 0x7fff;
}

/* A list of values or a star; @ret_allowed says for each value whether it is in it. */
static bool put_random_field(
        struct buffer *text, unsigned *seed, int min, int max, unsigned stars, bool ret_allowed[64])
{
        bool star = next_random(seed) % 100 < stars;

        for (int i = 0; i < 64; i++)
                ret_allowed[i] = star;
        if (text->len > 0)
                buffer_putc(text, ' ');
        if (star)
                buffer_putc(text, '*');
        for (int i = (int) (next_random(seed) % 4); !star && i >= 0; i--) {
                int value = min + (int) (next_random(seed) % (unsigned) (max - min + 1));

                ret_allowed[value] = true;
                buffer_printf(text, i > 0 ? "%d," : "%d", value);
        }
        return star;
}

static void check_random(unsigned seed, usec_t begin)
{
        AUTO(buffer_done) struct buffer text = { 0 };
        bool minute[64], hour[64], day[64], month[64], weekday[64], star_day, star_weekday;
        struct cron_expression e;
        usec_t next = 0, at = begin;

        put_random_field(&text, &seed, 0, 59, 30, minute);
        put_random_field(&text, &seed, 0, 23, 30, hour);
        star_day = put_random_field(&text, &seed, 1, 28, 50, day);
        put_random_field(&text, &seed, 1, 12, 60, month);
        star_weekday = put_random_field(&text, &seed, 0, 6, 50, weekday);
        e = parse(text.data);
        assert_true(cron_next(&e, NULL, at, &next));
        while ((at += USEC_MINUTE) < begin + CALENDAR_DAYS * USEC_DAY) {
                time_t sec = (time_t) (at / USEC_SEC);
                struct tm tm;
                bool days, fits;

                gmtime_r(&sec, &tm);
                days = star_day || star_weekday ? day[tm.tm_mday] && weekday[tm.tm_wday]
                                                : day[tm.tm_mday] || weekday[tm.tm_wday];
                fits = minute[tm.tm_min] && hour[tm.tm_hour] && month[tm.tm_mon + 1] && days;
                if (fits != (next == at))
                        fail_msg("\"%s\" at %llu", text.data, (unsigned long long) sec);
                if (fits)
                        assert_true(cron_next(&e, NULL, at, &next));
        }
        assert_true(next >= at);
}

static void the_calendar_is_kept(void **state)
{
        const char *given = getenv("REEVE_TEST_SEED");
        unsigned seed = given != NULL ? (unsigned) atoi(given) : (unsigned) time(NULL);

        (void) state;
        print_message("REEVE_TEST_SEED=%u\n", seed);
        for (unsigned i = 0; i < 60; i++) /* 70 days from the end of each of 60 months on */
                check_random(seed + i * 7919,
                        (usec_t) calendar_days(2023 + i / 12, (int) (i % 12) + 1, 27) * USEC_DAY);
}

/* Setting the clocks, against looking at every minute. */

enum { HOURS_AROUND = 40, MINUTES = 2 * HOURS_AROUND * 60, LOCAL_MINUTES = MINUTES + 2 * 1440 };

static const char *const zones[] = { "Africa/Cairo", "Africa/Casablanca", "America/Caracas",
        "America/Havana", "America/New_York", "America/Nuuk", "America/Santiago",
        "America/St_Johns", "Antarctica/Troll", "Asia/Beirut", "Asia/Gaza", "Asia/Jerusalem",
        "Asia/Kolkata", "Asia/Tehran", "Atlantic/Azores", "Australia/Lord_Howe", "Australia/Sydney",
        "Europe/Dublin", "Europe/London", "Europe/Paris", "Pacific/Apia", "Pacific/Chatham" };

static bool fits_half_past_two(const struct tm *tm)
{
        return tm->tm_hour == 2 && tm->tm_min == 30;
}

static bool fits_midnight(const struct tm *tm)
{
        return tm->tm_hour == 0 && tm->tm_min == 0;
}

static bool fits_last_minute(const struct tm *tm)
{
        return tm->tm_hour == 23 && tm->tm_min == 59;
}

static bool fits_every_second_hour(const struct tm *tm)
{
        return tm->tm_hour % 2 == 0 && tm->tm_min == 0;
}

static bool fits_night(const struct tm *tm)
{
        return tm->tm_hour <= 3 && tm->tm_min % 10 == 5;
}

static bool fits_sunday(const struct tm *tm)
{
        return tm->tm_hour >= 1 && tm->tm_wday == 0;
}

static bool fits_quarter(const struct tm *tm)
{
        return tm->tm_min % 15 == 0;
}

static bool fits_hour_of_friday(const struct tm *tm)
{
        return tm->tm_min == 40 && tm->tm_wday == 5;
}

static bool fits_always(const struct tm *tm)
{
        (void) tm;
        return true;
}

static const struct timetable {
        const char *text;
        bool (*fits)(const struct tm *tm);
        bool every_hour;
} timetables[] = {
        { "30 2 * * *", fits_half_past_two, false },
        { "0 0 * * *", fits_midnight, false },
        { "59 23 * * *", fits_last_minute, false },
        { "0 */2 * * *", fits_every_second_hour, false },
        { "5-55/10 0-3 * * *", fits_night, false },
        { "* 1-23 * * sun", fits_sunday, false },
        { "*/15 * * * *", fits_quarter, true },
        { "40 * * * fri", fits_hour_of_friday, true },
        { "* * * * *", fits_always, true },
};

/* What clocks show around one setting, minute by minute. */
struct view {
        int64_t begin;          /* of the first minute */
        int64_t local[MINUTES]; /* in minutes */
        int64_t local_begin;    /* that of the first minute */
        int at[LOCAL_MINUTES];  /* when local_begin + i is shown first; -1: never */
        struct tm tm[LOCAL_MINUTES];
        int local_count;
};

static int64_t local_of(int64_t instant)
{
        time_t sec = (time_t) instant;
        struct tm tm;

        localtime_r(&sec, &tm);
        assert_int_equal(tm.tm_sec, 0);
        return timegm(&tm) / 60;
}

static void view_make(struct view *v, int64_t setting)
{
        v->begin = setting / 60 * 60 - HOURS_AROUND * 3600;
        memset(v->at, -1, sizeof v->at);
        for (int i = 0; i < MINUTES; i++)
                v->local[i] = local_of(v->begin + i * 60);
        v->local_begin = v->local[0];
        v->local_count = (int) (v->local[MINUTES - 1] - v->local_begin) + 1;
        assert_in_range(v->local_count, 1, LOCAL_MINUTES);
        for (int i = MINUTES - 1; i >= 0; i--)
                v->at[v->local[i] - v->local_begin] = i;
        for (int i = 0; i < v->local_count; i++) {
                time_t sec = (time_t) (v->local_begin + i) * 60;

                gmtime_r(&sec, &v->tm[i]);
        }
}

/* Marks the minutes in which the timetable is due. */
static void expect_slots(const struct view *v, const struct timetable *t, bool due[MINUTES])
{
        memset(due, 0, MINUTES * sizeof *due);
        for (int i = 0; i < MINUTES && t->every_hour; i++)
                due[i] = t->fits(&v->tm[v->local[i] - v->local_begin]);
        for (int i = 0; i < v->local_count && !t->every_hour; i++) {
                int shown = i;

                if (!t->fits(&v->tm[i]))
                        continue;
                while (v->at[shown] < 0) /* skipped: what is shown after the gap */
                        shown++;
                due[v->at[shown]] = true;
        }
}

static usec_t minute_of(const struct view *v, int i)
{
        return (usec_t) (v->begin + i * 60) * USEC_SEC;
}

/* From one slot to the next, as a server does that is always there. */
static void check_chain(const struct view *v, const struct zone *zone, const char *name,
        const struct timetable *t, const bool due[MINUTES])
{
        struct cron_expression e = parse(t->text);
        usec_t next = minute_of(v, 0);

        for (int i = 1; i < MINUTES; i++) {
                usec_t at = minute_of(v, i);

                if (next < at)
                        assert_true(cron_next(&e, zone, next, &next));
                if (due[i] != (next == at))
                        fail_msg("%s: \"%s\" at %llu: %s", name, t->text,
                                (unsigned long long) (at / USEC_SEC),
                                due[i] ? "did not come" : "came");
        }
}

/* From any time between, as one that was started then. */
static void check_from_between(const struct view *v, const struct zone *zone, const char *name,
        const struct timetable *t, const bool due[MINUTES])
{
        struct cron_expression e = parse(t->text);
        int expected = -1;

        for (int i = MINUTES - 1; i >= 0; i--) {
                usec_t next;

                if (expected >= 0 && i % 11 == 0) {
                        assert_true(cron_next(&e, zone, minute_of(v, i), &next));
                        if (next != minute_of(v, expected))
                                fail_msg("%s: \"%s\" after %llu: %llu", name, t->text,
                                        (unsigned long long) (minute_of(v, i) / USEC_SEC),
                                        (unsigned long long) (next / USEC_SEC));
                }
                if (due[i])
                        expected = i;
        }
}

static void check_timetable(
        const struct view *v, const struct zone *zone, const char *name, const struct timetable *t)
{
        bool due[MINUTES];

        expect_slots(v, t, due);
        check_chain(v, zone, name, t, due);
        check_from_between(v, zone, name, t, due);
}

static size_t check_zone(const char *name)
{
        static struct view view;
        AUTO(zone_freep) struct zone *zone = NULL;
        struct error err = ERROR_INIT;
        int64_t end = calendar_days(2030, 1, 1) * 86400;
        size_t settings = 0;

        if (zone_file_load(NULL, name, &zone, &err) < 0)
                fail_msg("%s", err.message);
        assert_int_equal(setenv("TZ", name, 1), 0);
        tzset();
        /* where the clocks are set is what test-zone checks */
        for (int64_t at = calendar_days(2010, 1, 1) * 86400; at < end; settings++) {
                at = zone_period_at(zone, at).end;
                if (at >= end)
                        break;
                view_make(&view, at);
                for (size_t i = 0; i < ARRAY_SIZE(timetables); i++)
                        check_timetable(&view, zone, name, &timetables[i]);
        }
        return settings;
}

static void each_slot_comes_once(void **state)
{
        size_t settings = 0;

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(zones); i++)
                settings += check_zone(zones[i]);
        assert_true(settings > 400);
}

/* Spelled out, for those who read. */
static void paris_is_as_documented(void **state)
{
        static const struct {
                const char *text, *after, *expected;
        } cases[] = {
                /* 02:30 is skipped: at 03:00 +02:00 */
                { "30 2 * * *", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00.000Z" },
                { "30 2 * * *", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00.000Z" },
                /* 02:30 comes twice: the first one, +02:00 */
                { "30 2 * * *", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00.000Z" },
                { "30 2 * * *", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00.000Z" },
                { "30 * * * *", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00.000Z" },
                { "30 * * * *", "2026-03-29T00:30:00Z", "2026-03-29T01:30:00.000Z" },
        };
        AUTO(zone_freep) struct zone *paris = NULL;
        struct error err = ERROR_INIT;

        (void) state;
        assert_int_equal(zone_file_load(NULL, "Europe/Paris", &paris, &err), 0);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct cron_expression e = parse(cases[i].text);
                char found[TIME_TEXT_MAX];
                usec_t next;

                assert_true(cron_next(&e, paris, wall(cases[i].after), &next));
                assert_string_equal(time_format_wall(found, next), cases[i].expected);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(expressions_are_read),
                cmocka_unit_test(mistakes_are_told_with_their_place),
                cmocka_unit_test(next_is_strictly_after),
                cmocka_unit_test(the_end_of_time_is_never),
                cmocka_unit_test(the_calendar_is_kept),
                cmocka_unit_test(each_slot_comes_once),
                cmocka_unit_test(paris_is_as_documented),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
