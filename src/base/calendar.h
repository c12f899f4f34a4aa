/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdint.h>

/* The Gregorian calendar as arithmetic, without zones and without the C library's state. Days are
 * counted from 1970-01-01, which is day 0. */

struct calendar_date {
        int64_t year;
        int month; /* 1..12 */
        int day;   /* 1..31 */
};

int64_t calendar_days(int64_t year, int month, int day);
struct calendar_date calendar_date(int64_t days);
int calendar_month_length(int64_t year, int month);

/* 0 is Sunday. */
int calendar_weekday(int64_t days);
