/* SPDX-License-Identifier: BSD-3-Clause */
/* Time: the two clocks, and times and durations as text, for people and for files.
 *
 * Durations are read as doubles, since people write fractions; what they may be is bounded so that
 * rounding does not show. Nothing here knows of time zones but the offset of RFC 3339 and, for
 * people, local time. */
#include "base/time.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/calendar.h"
#include "base/macros.h"

static const struct unit {
        const char *name;
        usec_t usec;
} units[] = {
        { "d", USEC_DAY },
        { "h", USEC_HOUR },
        { "m", USEC_MINUTE },
        { "s", USEC_SEC },
        { "ms", USEC_MSEC },
        { "us", 1 },
};

static usec_t clock_read(clockid_t id)
{
        struct timespec ts;

        clock_gettime(id, &ts);
        return (usec_t) ts.tv_sec * USEC_SEC + (usec_t) ts.tv_nsec / 1000;
}

usec_t time_mono(void)
{
        return clock_read(CLOCK_BOOTTIME);
}

usec_t time_wall(void)
{
        return clock_read(CLOCK_REALTIME);
}

static char *put_digits(char *to, uint64_t value, int digits)
{
        for (int i = digits; i-- > 0; value /= 10)
                to[i] = (char) ('0' + value % 10);
        return to + digits;
}

/* A listing of a hundred thousand tasks has three times as many of these. */
const char *time_format_wall(char text[TIME_TEXT_MAX], usec_t wall)
{
        usec_t rest = wall % USEC_DAY;
        struct calendar_date date = calendar_date((int64_t) (wall / USEC_DAY));
        char *to = text;

        if (date.year > 9999) { /* a clock gone wild; the text keeps its form */
                date = (struct calendar_date){ 9999, 12, 31 };
                rest = USEC_DAY - 1;
        }
        to = put_digits(to, (uint64_t) date.year, 4);
        *to++ = '-';
        to = put_digits(to, (uint64_t) date.month, 2);
        *to++ = '-';
        to = put_digits(to, (uint64_t) date.day, 2);
        *to++ = 'T';
        to = put_digits(to, rest / USEC_HOUR, 2);
        *to++ = ':';
        to = put_digits(to, rest / USEC_MINUTE % 60, 2);
        *to++ = ':';
        to = put_digits(to, rest / USEC_SEC % 60, 2);
        *to++ = '.';
        to = put_digits(to, rest / USEC_MSEC % 1000, 3);
        *to++ = 'Z';
        *to = '\0';
        return text;
}

const char *time_format_local(char text[TIME_TEXT_MAX], usec_t wall, usec_t now_wall)
{
        time_t sec = (time_t) (wall / USEC_SEC), now_sec = (time_t) (now_wall / USEC_SEC);
        struct tm tm, now;

        localtime_r(&sec, &tm);
        localtime_r(&now_sec, &now);
        if (tm.tm_year == now.tm_year && tm.tm_yday == now.tm_yday)
                strftime(text, TIME_TEXT_MAX, "%H:%M:%S", &tm);
        else
                strftime(text, TIME_TEXT_MAX, "%Y-%m-%d %H:%M:%S", &tm);
        return text;
}

const char *time_format_span(char text[TIME_TEXT_MAX], usec_t span)
{
        if (span == USEC_NEVER)
                snprintf(text, TIME_TEXT_MAX, "never");
        else if (span < USEC_MSEC)
                snprintf(text, TIME_TEXT_MAX, "%" PRIu64 "us", span);
        else if (span < USEC_SEC)
                snprintf(text, TIME_TEXT_MAX, "%" PRIu64 "ms", span / USEC_MSEC);
        else if (span < 10 * USEC_SEC && span % USEC_SEC >= 100 * USEC_MSEC)
                snprintf(text, TIME_TEXT_MAX, "%" PRIu64 ".%" PRIu64 "s", span / USEC_SEC,
                        span % USEC_SEC / (100 * USEC_MSEC));
        else if (span < USEC_MINUTE)
                snprintf(text, TIME_TEXT_MAX, "%" PRIu64 "s", span / USEC_SEC);
        else
                for (size_t i = 0; i < 3; i++) {
                        const struct unit *big = &units[i], *small = &units[i + 1];
                        usec_t rest = span % big->usec / small->usec;

                        if (span < big->usec)
                                continue;
                        if (rest == 0)
                                snprintf(text, TIME_TEXT_MAX, "%" PRIu64 "%s", span / big->usec,
                                        big->name);
                        else
                                snprintf(text, TIME_TEXT_MAX, "%" PRIu64 "%s %" PRIu64 "%s",
                                        span / big->usec, big->name, rest, small->name);
                        break;
                }
        return text;
}

const char *time_format_exact(char text[TIME_TEXT_MAX], usec_t span)
{
        if (span == USEC_NEVER) {
                snprintf(text, TIME_TEXT_MAX, "never");
                return text;
        }
        if (span == 0) {
                snprintf(text, TIME_TEXT_MAX, "0s");
                return text;
        }
        for (size_t i = 0; i < ARRAY_SIZE(units); i++)
                if (span % units[i].usec == 0) {
                        snprintf(text, TIME_TEXT_MAX, "%" PRIu64 "%s", span / units[i].usec,
                                units[i].name);
                        break;
                }
        return text;
}

bool time_parse_span(const char *text, usec_t *ret_span)
{
        double total = 0;

        if (strcmp(text, "never") == 0) {
                *ret_span = USEC_NEVER;
                return true;
        }
        do {
                size_t digits = strspn(text, "0123456789.");
                size_t letters;
                double number, factor = 0;
                char *end;

                if (digits == 0)
                        return false;
                number = strtod(text, &end);
                if (end != text + digits)
                        return false;
                text = end + strspn(end, " ");
                letters = strspn(text, "abcdefghijklmnopqrstuvwxyz");
                if (letters == 0 && *text == '\0')
                        factor = (double) USEC_SEC;
                for (size_t i = 0; i < ARRAY_SIZE(units); i++)
                        if (strlen(units[i].name) == letters &&
                                strncmp(units[i].name, text, letters) == 0)
                                factor = (double) units[i].usec;
                if (factor <= 0)
                        return false;
                total += number * factor;
                text += letters;
                text += strspn(text, " ");
        } while (*text != '\0');

        /* three thousand years; below that a double is exact to a few microseconds */
        if (total > 1e17)
                return false;
        *ret_span = (usec_t) llround(total);
        return true;
}

static bool is_digit(char c)
{
        return c >= '0' && c <= '9';
}

/* "+02:00" in seconds. */
static bool parse_offset(const char *s, long *ret)
{
        long hours, minutes;

        if ((s[0] != '+' && s[0] != '-') || strlen(s) != 6 || !is_digit(s[1]) || !is_digit(s[2]) ||
                s[3] != ':' || !is_digit(s[4]) || !is_digit(s[5]))
                return false;
        hours = (s[1] - '0') * 10 + (s[2] - '0');
        minutes = (s[4] - '0') * 10 + (s[5] - '0');
        if (hours > 23 || minutes > 59)
                return false;
        *ret = (hours * 3600 + minutes * 60) * (s[0] == '+' ? 1 : -1);
        return true;
}

/* So many digits as the letters 'N' in @form, and all else as it stands there: "NNNN-NN". */
static bool parse_form(const char *text, const char *form, int *ret)
{
        for (; *form != '\0'; form++, text++) {
                if (*form == 'N' ? !is_digit(*text) : *text != *form)
                        return false;
                if (*form != 'N')
                        *++ret = 0;
                else
                        *ret = *ret * 10 + (*text - '0');
        }
        return true;
}

static bool is_date_and_time(const int n[6])
{
        return n[1] >= 1 && n[1] <= 12 && n[2] >= 1 && n[2] <= calendar_month_length(n[0], n[1]) &&
               n[3] <= 23 && n[4] <= 59 && n[5] <= 60;
}

bool time_parse_wall(const char *text, usec_t *ret_wall)
{
        static const char form[] = "NNNN-NN-NNTNN:NN:NN";
        const char *rest = text + sizeof form - 1;
        int n[6] = { 0 };
        usec_t fraction = 0;
        long offset = 0;
        int64_t sec;

        if (!parse_form(text, form, n) || !is_date_and_time(n))
                return false;
        if (*rest == '.') {
                usec_t scale = USEC_SEC / 10;

                for (rest++; is_digit(*rest); rest++, scale /= 10)
                        fraction += (usec_t) (*rest - '0') * scale;
                if (!is_digit(rest[-1]))
                        return false;
        }
        if (strcmp(rest, "Z") != 0 && !parse_offset(rest, &offset))
                return false;
        sec = calendar_days(n[0], n[1], n[2]) * 86400 + n[3] * 3600 + n[4] * 60 + n[5] - offset;
        if (sec < 0)
                return false;
        *ret_wall = (usec_t) sec * USEC_SEC + fraction;
        return true;
}

static bool parse_local(const char *text, usec_t *ret_wall)
{
        static const char *const forms[] = { "NNNN-NN-NN", "NNNN-NN-NN NN:NN",
                "NNNN-NN-NN NN:NN:NN" };
        time_t sec = -1;

        for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
                int n[6] = { 0 };
                struct tm tm = { .tm_isdst = -1 };

                if (strlen(text) != strlen(forms[i]) || !parse_form(text, forms[i], n) ||
                        !is_date_and_time(n))
                        continue;
                tm.tm_year = n[0] - 1900;
                tm.tm_mon = n[1] - 1;
                tm.tm_mday = n[2];
                tm.tm_hour = n[3];
                tm.tm_min = n[4];
                tm.tm_sec = n[5];
                sec = mktime(&tm);
        }
        if (sec < 0)
                return false;
        *ret_wall = (usec_t) sec * USEC_SEC;
        return true;
}

bool time_parse_when(const char *text, usec_t now_wall, usec_t *ret_wall)
{
        static const char ago[] = " ago";
        size_t len = strlen(text);
        char span_text[64];
        usec_t span;

        if (time_parse_wall(text, ret_wall) || parse_local(text, ret_wall))
                return true;
        if (len >= sizeof ago && strcmp(text + len - (sizeof ago - 1), ago) == 0)
                len -= sizeof ago - 1;
        if (len >= sizeof span_text)
                return false;
        memcpy(span_text, text, len);
        span_text[len] = '\0';
        if (!time_parse_span(span_text, &span) || span > now_wall)
                return false;
        *ret_wall = now_wall - span;
        return true;
}
