/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/time.h"
#include "base/zone.h"

/* Timetables: five fields as in Vixie cron, and the instants they name in a time zone. Pure. */

/* What the fields allow, a bit per value. Embedded; owns nothing. */
struct cron_expression {
        uint64_t minutes; /* 0..59 */
        uint32_t hours;   /* 0..23 */
        uint32_t days;    /* 1..31 */
        uint16_t months;  /* 1..12 */
        uint8_t weekdays; /* 0..6, 0 is Sunday */
        bool either_day;  /* both days are restricted: one of them suffices */
};

/* Reads "MINUTE HOUR DAY-OF-MONTH MONTH DAY-OF-WEEK" or @hourly, @daily (@midnight), @weekly,
 * @monthly, @yearly (@annually). A field is a list of `*`, `N`, `N-M`, and with a step `* /S` (no
 * space) or `N-M/S`; months and weekdays may be names (jan, mon, in any case); Sunday is 0 or 7. A
 * day must match both the day of month and the day of week, or either of them if neither field
 * begins with `*`. ERR_INVALID names field and place: "minute: 61 is more than 59 (character 1)";
 * days that never come ("30 of feb") are refused. */
int cron_parse(const char *text, struct cron_expression *ret, struct error *err);

/* The next time strictly after @after, in @zone (NULL: UTC). False if there is none in the next 40
 * years, which cron_parse() leaves to the end of the calendar only.
 *
 * When clocks are set: an expression of every hour of the day (`*`) names each instant whose
 * minute fits, so hours follow each other as they pass, also where one is skipped or repeated. Any
 * other names times of the day, each of which comes once: one that is skipped comes at the first
 * instant after the gap (several of them, and one that is due just then, are one), one that is
 * repeated comes the first time only. */
bool cron_next(const struct cron_expression *expression, const struct zone *zone, usec_t after,
        usec_t *ret);
