/* SPDX-License-Identifier: BSD-3-Clause */
/* Calendar: days since 1970 and dates, both ways, by integer arithmetic.
 *
 * A year is taken to begin in March, so that the leap day is its last one and the lengths of the
 * months follow one line, (153 * month + 2) / 5; 400 years are always 146,097 days. */
#include "base/calendar.h"

#include <stdbool.h>

enum {
        DAYS_OF_ERA = 146097, /* 400 years */
        DAYS_TO_1970 = 719468 /* from the first of March of the year 0 */
};

static int64_t floor_div(int64_t a, int64_t b)
{
        return a / b - (a % b < 0);
}

int64_t calendar_days(int64_t year, int month, int day)
{
        int64_t shifted = month > 2 ? year : year - 1;
        int64_t era = floor_div(shifted, 400);
        int64_t of_era = shifted - era * 400;
        int64_t of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

        return era * DAYS_OF_ERA + of_era * 365 + of_era / 4 - of_era / 100 + of_year -
               DAYS_TO_1970;
}

struct calendar_date calendar_date(int64_t days)
{
        int64_t era = floor_div(days + DAYS_TO_1970, DAYS_OF_ERA);
        int64_t of_era = days + DAYS_TO_1970 - era * DAYS_OF_ERA;
        int64_t years = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
        int64_t of_year = of_era - (365 * years + years / 4 - years / 100);
        int month = (int) ((5 * of_year + 2) / 153);
        struct calendar_date date = { .day = (int) (of_year - (153 * month + 2) / 5 + 1) };

        date.month = month < 10 ? month + 3 : month - 9;
        date.year = years + era * 400 + (date.month <= 2 ? 1 : 0);
        return date;
}

int calendar_month_length(int64_t year, int month)
{
        bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

        if (month == 2)
                return leap ? 29 : 28;
        return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

int calendar_weekday(int64_t days)
{
        int weekday = (int) ((days + 4) % 7); /* 1970-01-01 was a Thursday */

        return weekday < 0 ? weekday + 7 : weekday;
}
