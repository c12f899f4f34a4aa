/* SPDX-License-Identifier: BSD-3-Clause */
/* Cron: reading timetables, and finding their next time.
 *
 * An expression is a set of local minutes. Finding the next one of them is calendar arithmetic that
 * skips months and days that do not fit (next_local()). What is left is what an instant is:
 *
 * - For times of the day, slot L happens when clocks first show L or more. This one sentence says
 *   that a skipped slot comes right after the gap and a repeated one the first time, and it keeps
 *   slots in their order, so that none is lost or doubled by asking for the next one again and
 *   again: the slots still to come are those that no clock has shown yet (zone_not_shown()).
 * - For every hour, slots are looked for within each period between two settings of the clocks. */
#include "model/cron.h"

#include <ctype.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/calendar.h"
#include "base/macros.h"

enum {
        MINUTE = 60,
        DAY = 86400,
        ALL_HOURS = (1 << 24) - 1,
        YEARS_MAX = 40, /* 29 of feb on a given weekday: up to 40 years around 2100 */
};

static const char *const month_names[] = { "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug",
        "sep", "oct", "nov", "dec", NULL };
static const char *const weekday_names[] = { "sun", "mon", "tue", "wed", "thu", "fri", "sat",
        NULL };

static const struct field {
        const char *name;
        int min, max;
        const char *const *names; /* of min, min + 1, ...; NULL if there are none */
} fields[] = {
        { "minute", 0, 59, NULL },
        { "hour", 0, 23, NULL },
        { "day of month", 1, 31, NULL },
        { "month", 1, 12, month_names },
        { "day of week", 0, 7, weekday_names },
};

static const struct shortcut {
        const char *name, *text;
} shortcuts[] = {
        { "@hourly", "0 * * * *" },
        { "@daily", "0 0 * * *" },
        { "@midnight", "0 0 * * *" },
        { "@weekly", "0 0 * * 0" },
        { "@monthly", "0 0 1 * *" },
        { "@yearly", "0 0 1 1 *" },
        { "@annually", "0 0 1 1 *" },
};

/* Where one is in the text, and for messages in which field. */
struct scan {
        const char *text, *at;
        const struct field *field;
        struct error *err;
};

static int fail_at(const struct scan *s, const char *place, const char *format, ...)
        PRINTF_LIKE(3, 4);

static int fail_at(const struct scan *s, const char *place, const char *format, ...)
{
        char what[160];
        va_list ap;

        va_start(ap, format);
        vsnprintf(what, sizeof what, format, ap);
        va_end(ap);
        return error_set(s->err, ERR_INVALID, "%s: %s (character %td)", s->field->name, what,
                place - s->text + 1);
}

static int fail_unexpected(const struct scan *s, const char *place)
{
        int len = (int) strcspn(place, " \t,-/");

        if (*place == '\0' || *place == ' ' || *place == '\t')
                return fail_at(s, place, "a value is missing");
        if (len == 0)
                return fail_at(s, place, "unexpected \"%c\"", *place);
        return fail_at(s, place, "unexpected \"%.*s\"", MIN(len, 40), place);
}

static int read_name(struct scan *s, int *ret)
{
        size_t len = 0;

        while (isalpha((unsigned char) s->at[len]))
                len++;
        for (int i = 0; len == 3 && s->field->names != NULL && s->field->names[i] != NULL; i++)
                if (strncasecmp(s->field->names[i], s->at, 3) == 0) {
                        s->at += len;
                        *ret = s->field->min + i;
                        return 0;
                }
        return fail_unexpected(s, s->at);
}

static int read_digits(struct scan *s, int *ret)
{
        const char *begin = s->at;
        int number = 0;

        if (!isdigit((unsigned char) *begin))
                return fail_unexpected(s, begin);
        for (; isdigit((unsigned char) *s->at); s->at++)
                number = MIN(number * 10 + (*s->at - '0'), 10000);
        if (number >= 10000)
                return fail_at(s, begin, "a number of up to four digits, please");
        *ret = number;
        return 0;
}

static int read_value(struct scan *s, int *ret)
{
        const char *begin = s->at;
        int number;

        if (isalpha((unsigned char) *begin))
                return read_name(s, ret);
        if (read_digits(s, &number) < 0)
                return -1;
        if (number > s->field->max)
                return fail_at(s, begin, "%d is more than %d", number, s->field->max);
        if (number < s->field->min)
                return fail_at(s, begin, "%d is less than %d", number, s->field->min);
        *ret = number;
        return 0;
}

/* `*`, N or N-M. */
static int read_range(struct scan *s, int *ret_low, int *ret_high)
{
        const char *begin = s->at;
        bool is_weekday = s->field->names == weekday_names;

        if (*s->at == '*') {
                s->at++;
                *ret_low = s->field->min;
                *ret_high = is_weekday ? 6 : s->field->max;
                return 0;
        }
        if (read_value(s, ret_low) < 0)
                return -1;
        *ret_high = *ret_low;
        if (*s->at != '-')
                return 0;
        s->at++;
        if (read_value(s, ret_high) < 0)
                return -1;
        if (is_weekday && *ret_high == 0 && *ret_low > 0)
                *ret_high = 7; /* fri-sun */
        if (*ret_low > *ret_high)
                return fail_at(
                        s, begin, "the range %.*s runs backwards", (int) (s->at - begin), begin);
        return 0;
}

static int read_step(struct scan *s, const char *range, int *ret)
{
        const char *begin = ++s->at; /* behind the slash */

        if (read_digits(s, ret) < 0)
                return -1;
        if (*ret == 0)
                return fail_at(s, begin, "a step of 0");
        if (*ret > s->field->max)
                return fail_at(s, begin, "a step of %d is more than %d", *ret, s->field->max);
        if (*range != '*' && memchr(range, '-', (size_t) (begin - range)) == NULL)
                return fail_at(s, range, "a step needs a range: %.*s-%d/%d",
                        (int) (begin - range - 1), range, s->field->max, *ret);
        return 0;
}

static int read_item(struct scan *s, uint64_t *bits)
{
        const char *begin = s->at;
        int low, high, step = 1;

        if (read_range(s, &low, &high) < 0)
                return -1;
        if (*s->at == '/' && read_step(s, begin, &step) < 0)
                return -1;
        for (int i = low; i <= high; i += step)
                *bits |= UINT64_C(1) << i;
        return 0;
}

static int read_field(struct scan *s, uint64_t *ret)
{
        uint64_t bits = 0;

        for (;; s->at++) {
                if (read_item(s, &bits) < 0)
                        return -1;
                if (*s->at != ',')
                        break;
        }
        if (*s->at != '\0' && *s->at != ' ' && *s->at != '\t')
                return fail_unexpected(s, s->at);
        *ret = bits;
        return 0;
}

static void skip_blanks(struct scan *s)
{
        s->at += strspn(s->at, " \t");
}

static int read_fields(const char *text, struct cron_expression *ret, struct error *err)
{
        struct scan s = { .text = text, .at = text, .err = err };
        uint64_t bits[ARRAY_SIZE(fields)];
        bool star[ARRAY_SIZE(fields)];

        skip_blanks(&s);
        for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
                s.field = &fields[i];
                if (*s.at == '\0')
                        return error_set(err, ERR_INVALID,
                                "%s: missing; there are five fields: minute, hour, day of month, "
                                "month, day of week",
                                fields[i].name);
                star[i] = *s.at == '*';
                if (read_field(&s, &bits[i]) < 0)
                        return -1;
                skip_blanks(&s);
        }
        if (*s.at != '\0')
                return error_set(err, ERR_INVALID,
                        "\"%.40s\" (character %td) is one field too many: there are five, of which "
                        "the first is the minute",
                        s.at, s.at - text + 1);
        ret->minutes = bits[0];
        ret->hours = (uint32_t) bits[1];
        ret->days = (uint32_t) bits[2];
        ret->months = (uint16_t) bits[3];
        ret->weekdays = (uint8_t) ((bits[4] | bits[4] >> 7) & 0x7f);
        ret->either_day = !star[2] && !star[4];
        return 0;
}

/* The months may lack the days; with either_day there are the weekdays. */
static int check_days(const struct cron_expression *e, struct error *err)
{
        for (int month = 1; month <= 12; month++)
                for (int day = 1; day <= calendar_month_length(2000, month); day++)
                        if ((e->months & BIT(month)) != 0 && (e->days & BIT(day)) != 0)
                                return 0;
        return e->either_day ? 0
                             : error_set(err, ERR_INVALID,
                                       "day of month: none of the months given has such a day");
}

static int read_shortcut(const char *text, struct cron_expression *ret, struct error *err)
{
        for (size_t i = 0; i < ARRAY_SIZE(shortcuts); i++)
                if (strcasecmp(shortcuts[i].name, text) == 0)
                        return read_fields(shortcuts[i].text, ret, err);
        return error_set(err, ERR_INVALID,
                "unknown \"%.40s\"; there are @hourly, @daily, @weekly, @monthly and @yearly",
                text);
}

int cron_parse(const char *text, struct cron_expression *ret, struct error *err)
{
        struct cron_expression e = { 0 };

        if (*text == '@' ? read_shortcut(text, &e, err) < 0
                         : read_fields(text, &e, err) < 0 || check_days(&e, err) < 0)
                return -1;
        *ret = e;
        return 0;
}

/* Finding the next one. */

static bool day_fits(
        const struct cron_expression *e, int64_t days, const struct calendar_date *date)
{
        bool day = (e->days & BIT(date->day)) != 0;
        bool weekday = (e->weekdays & BIT(calendar_weekday(days))) != 0;

        if ((e->months & BIT(date->month)) == 0)
                return false;
        return e->either_day ? day || weekday : day && weekday;
}

/* The first bit at @from or above; -1 if there is none. */
static int next_bit(uint64_t bits, int from)
{
        bits = from > 63 ? 0 : bits >> from << from;
        return bits == 0 ? -1 : __builtin_ctzll(bits);
}

/* The first minute of a day that fits and is not before @from (of the same day, in minutes). */
static int next_minute(const struct cron_expression *e, int from)
{
        int hour = from / 60, minute = next_bit(e->minutes, from % 60);

        if (minute < 0 || (e->hours & BIT(hour)) == 0) {
                hour = next_bit(e->hours, hour + 1);
                minute = next_bit(e->minutes, 0);
        }
        return hour < 0 ? -1 : hour * 60 + minute;
}

/* The first local minute that fits, @from or later, before @end. */
static bool next_local(const struct cron_expression *e, int64_t from, int64_t end, int64_t *ret)
{
        /* an evening of 1969 is nobody's slot */
        int64_t minutes = from < 0 ? 0 : from / MINUTE + (from % MINUTE > 0);
        int64_t days = minutes / (DAY / MINUTE);
        int of_day = (int) (minutes % (DAY / MINUTE));

        for (; days * DAY < end; of_day = 0) {
                struct calendar_date date = calendar_date(days);
                int minute = day_fits(e, days, &date) ? next_minute(e, of_day) : -1;

                if (minute >= 0) {
                        *ret = days * DAY + minute * MINUTE;
                        return *ret < end;
                }
                if ((e->months & BIT(date.month)) == 0)
                        days += calendar_month_length(date.year, date.month) - date.day;
                days++;
        }
        return false;
}

static bool next_by_clock(const struct cron_expression *e, const struct zone *zone, int64_t after,
        int64_t end, int64_t *ret)
{
        int64_t local;

        if (!next_local(e, zone_not_shown(zone, after), end, &local))
                return false;
        *ret = zone_first_reaching(zone, local, after + 1);
        return true;
}

static bool next_by_hour(const struct cron_expression *e, const struct zone *zone, int64_t after,
        int64_t end, int64_t *ret)
{
        struct zone_period period;

        for (int64_t at = after + 1; at < end; at = period.end) {
                int64_t local;

                period = zone_period_at(zone, at);
                if (next_local(
                            e, at + period.offset, MIN(period.end, end) + period.offset, &local)) {
                        *ret = local - period.offset;
                        return true;
                }
        }
        return false;
}

bool cron_next(const struct cron_expression *expression, const struct zone *zone, usec_t after,
        usec_t *ret)
{
        int64_t from = (int64_t) (after / USEC_SEC), next;
        int64_t end = from + (int64_t) YEARS_MAX * 366 * DAY;
        bool found = expression->hours == ALL_HOURS
                             ? next_by_hour(expression, zone, from, end, &next)
                             : next_by_clock(expression, zone, from, end, &next);

        if (!found || (uint64_t) next > UINT64_MAX / USEC_SEC)
                return false;
        *ret = (usec_t) next * USEC_SEC;
        return true;
}
