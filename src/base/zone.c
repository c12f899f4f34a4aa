/* SPDX-License-Identifier: BSD-3-Clause */
/* Zone: local time by the rules of a TZif file.
 *
 * A file is a list of instants at which clocks are set, each with the offset that holds from there
 * on, and behind it the rule by which they are set ever after: a text in the notation of POSIX's TZ
 * ("CET-1CEST,M3.5.0,M10.5.0/3"), which version 3 widens (hours of -167..167). A file of version 2
 * or later holds two lists; the first one, of 32-bit times, is skipped.
 *
 * All questions are answered by walking periods, the times between two settings, with
 * zone_period_at(). That makes three facts, and nothing else, of zones: an instant belongs to
 * exactly one period; local time within one is instant + offset; two offsets differ by less than
 * LOOK_AROUND. The bytes may be anything: what is not well-formed is refused, never trusted. */
#include "base/zone.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/calendar.h"
#include "base/mem.h"

enum {
        DAY = 86400,
        HEADER_LEN = 44,
        OFFSET_MAX = 26 * 3600 - 1, /* RFC 8536, 3.2 */
        LOOK_AROUND = 3 * DAY,
        RULE_HOURS_MAX = 167,
};

/* Times beyond are of no use to anybody and would overflow when an offset is added. */
#define INSTANT_MIN (INT64_MIN / 4)
#define INSTANT_MAX (INT64_MAX / 4)

enum rule_kind {
        RULE_JULIAN, /* Jn: 1..365, without counting the leap day */
        RULE_DAY,    /* n: 0..365 */
        RULE_WEEK,   /* Mm.w.d: weekday d of week w (5: the last one) of month m */
};

/* When in a year clocks are set, in the local time that holds until then. */
struct rule {
        enum rule_kind kind;
        int month, week, day;
        int32_t time; /* seconds from midnight */
};

struct zone {
        int64_t *instants;
        int32_t *offsets; /* offsets[i] holds from instants[i] on */
        size_t len;
        int32_t first_offset; /* before instants[0] */

        bool has_rule; /* behind the list there is the footer */
        bool has_summer;
        int32_t standard, summer;
        struct rule summer_begins, summer_ends;
};

bool zone_name_is_valid(const char *name)
{
        bool begins = true; /* a component does */
        size_t len = strlen(name);

        if (len == 0 || len > ZONE_NAME_MAX || name[len - 1] == '/')
                return false;
        for (const char *c = name; *c != '\0'; c++) {
                if (begins ? !isalpha((unsigned char) *c)
                           : !isalnum((unsigned char) *c) && strchr("+-_/", *c) == NULL)
                        return false;
                begins = *c == '/';
        }
        return true;
}

/* The footer: POSIX TZ. */

/* A name of three or more letters, or of letters, digits and signs in angle brackets. */
static bool skip_name(const char **text)
{
        const char *s = *text;
        size_t len;

        if (*s != '<') {
                len = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
                *text = s + len;
                return len >= 3;
        }
        len = strcspn(s, ">");
        *text = s + len + 1;
        return s[len] == '>' && len > 1;
}

static bool read_number(const char **text, int max, int *ret)
{
        int number = 0;

        if (!isdigit((unsigned char) **text))
                return false;
        for (; isdigit((unsigned char) **text); (*text)++) {
                number = number * 10 + (**text - '0');
                if (number > max)
                        return false;
        }
        *ret = number;
        return true;
}

/* [+-]hh[:mm[:ss]] */
static bool read_time(const char **text, int max_hours, int32_t *ret)
{
        int parts[3] = { 0 };
        int sign = **text == '-' ? -1 : 1;

        if (**text == '-' || **text == '+')
                (*text)++;
        for (int i = 0; i < 3; i++) {
                if (i > 0 && **text != ':')
                        break;
                if (i > 0)
                        (*text)++;
                if (!read_number(text, i == 0 ? max_hours : 59, &parts[i]))
                        return false;
        }
        *ret = sign * (parts[0] * 3600 + parts[1] * 60 + parts[2]);
        return true;
}

static bool read_date(const char **text, struct rule *ret)
{
        if (**text == 'J') {
                (*text)++;
                ret->kind = RULE_JULIAN;
                return read_number(text, 365, &ret->day) && ret->day >= 1;
        }
        if (**text != 'M') {
                ret->kind = RULE_DAY;
                return read_number(text, 365, &ret->day);
        }
        (*text)++;
        ret->kind = RULE_WEEK;
        return read_number(text, 12, &ret->month) && ret->month >= 1 && *(*text)++ == '.' &&
               read_number(text, 5, &ret->week) && ret->week >= 1 && *(*text)++ == '.' &&
               read_number(text, 6, &ret->day);
}

static bool read_rule(const char **text, struct rule *ret)
{
        ret->time = 2 * 3600;
        if (*(*text)++ != ',' || !read_date(text, ret))
                return false;
        if (**text != '/')
                return true;
        (*text)++;
        return read_time(text, RULE_HOURS_MAX, &ret->time);
}

static bool footer_parse(const char *text, struct zone *zone)
{
        if (!skip_name(&text) || !read_time(&text, 24, &zone->standard))
                return false;
        zone->standard = -zone->standard; /* POSIX counts to the west */
        zone->has_rule = true;
        if (*text == '\0')
                return true;
        zone->has_summer = true;
        if (!skip_name(&text))
                return false;
        zone->summer = zone->standard + 3600;
        if (*text != ',' && *text != '\0') {
                if (!read_time(&text, 24, &zone->summer))
                        return false;
                zone->summer = -zone->summer;
        }
        return read_rule(&text, &zone->summer_begins) && read_rule(&text, &zone->summer_ends) &&
               *text == '\0';
}

static int64_t rule_days(const struct rule *rule, int64_t year)
{
        int64_t first;
        int day;

        switch (rule->kind) {
        case RULE_JULIAN:
                return calendar_days(year, 1, 1) + rule->day - 1 +
                       (rule->day >= 60 && calendar_month_length(year, 2) == 29);
        case RULE_DAY:
                return calendar_days(year, 1, 1) + rule->day;
        case RULE_WEEK:
                break;
        }
        first = calendar_days(year, rule->month, 1);
        day = (rule->day - calendar_weekday(first) + 7) % 7 + 7 * (rule->week - 1);
        while (day >= calendar_month_length(year, rule->month))
                day -= 7;
        return first + day;
}

/* The period by the rule alone. A year's settings may lie a week outside of it, so its neighbours
 * are looked at, too. In a zone where it is always summer one ends when the next begins: the
 * beginning counts. */
static struct zone_period rule_period_at(const struct zone *zone, int64_t instant)
{
        struct zone_period period = { INT64_MIN, INT64_MAX, zone->standard };
        int64_t year = calendar_date(instant / DAY).year;

        if (!zone->has_summer)
                return period;
        for (int64_t y = year - 2; y <= year + 2; y++) {
                int64_t begin = rule_days(&zone->summer_begins, y) * DAY +
                                zone->summer_begins.time - zone->standard;
                int64_t end = rule_days(&zone->summer_ends, y) * DAY + zone->summer_ends.time -
                              zone->summer;
                bool summer_wins = begin >= period.begin;

                if (begin <= instant && summer_wins) {
                        period.begin = begin;
                        period.offset = zone->summer;
                }
                if (end <= instant && end > period.begin) {
                        period.begin = end;
                        period.offset = zone->standard;
                }
                if (begin > instant)
                        period.end = MIN(period.end, begin);
                if (end > instant)
                        period.end = MIN(period.end, end);
        }
        return period;
}

/* The lists. */

struct cursor {
        const unsigned char *data;
        size_t left;
};

static const unsigned char *take_bytes(struct cursor *c, uint64_t len)
{
        const unsigned char *data = c->data;

        if (len > c->left)
                return NULL;
        c->data += len;
        c->left -= (size_t) len;
        return data;
}

static uint64_t read_bytes(const unsigned char *data, size_t len)
{
        uint64_t number = 0;

        for (size_t i = 0; i < len; i++)
                number = number << 8 | data[i];
        return number;
}

static int64_t read_signed(const unsigned char *data, size_t len)
{
        return len == 4 ? (int32_t) (uint32_t) read_bytes(data, 4) : (int64_t) read_bytes(data, 8);
}

struct header {
        unsigned char version;
        uint64_t is_utc, is_standard, leaps, times, types, chars; /* how many of each */
};

static int header_read(struct cursor *c, struct header *ret, struct error *err)
{
        const unsigned char *data = take_bytes(c, HEADER_LEN);
        uint64_t *counts[] = { &ret->is_utc, &ret->is_standard, &ret->leaps, &ret->times,
                &ret->types, &ret->chars };

        if (data == NULL || memcmp(data, "TZif", 4) != 0)
                return error_set(err, ERR_INVALID, "this is no TZif file");
        ret->version = data[4];
        for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
                *counts[i] = read_bytes(data + 20 + 4 * i, 4);
        return 0;
}

/* What follows a header whose times have @width bytes. */
static uint64_t body_len(const struct header *h, size_t width)
{
        return h->times * (width + 1) + h->types * 6 + h->chars + h->leaps * (width + 4) +
               h->is_standard + h->is_utc;
}

static int refuse(struct error *err, const char *what)
{
        return error_set(err, ERR_INVALID, "damaged TZif file: %s", what);
}

static int types_read(
        const unsigned char *data, uint64_t count, int32_t ret[256], struct error *err)
{
        if (count < 1 || count > 256)
                return refuse(err, "it needs 1 to 256 kinds of local time");
        for (uint64_t i = 0; i < count; i++) {
                int64_t offset = read_signed(data + 6 * i, 4);

                if (offset < -OFFSET_MAX || offset > OFFSET_MAX)
                        return refuse(err, "an offset is more than 26 hours");
                ret[i] = (int32_t) offset;
        }
        return 0;
}

static int body_read(const unsigned char *data, const struct header *h, size_t width,
        struct zone *zone, struct error *err)
{
        const unsigned char *indexes = data + h->times * width;
        int32_t types[256];

        if (h->leaps > 0)
                return error_set(err, ERR_INVALID,
                        "this zone counts leap seconds; use the one of the same name without");
        if (types_read(indexes + h->times, h->types, types, err) < 0)
                return -1;
        zone->first_offset = types[0];
        zone->len = (size_t) h->times;
        zone->instants = mem_resize(NULL, zone->len + 1, sizeof *zone->instants);
        zone->offsets = mem_resize(NULL, zone->len + 1, sizeof *zone->offsets);
        for (size_t i = 0; i < zone->len; i++) {
                int64_t instant = read_signed(data + width * i, width);

                if (indexes[i] >= h->types)
                        return refuse(err, "a kind of local time is missing");
                zone->instants[i] = MIN(MAX(instant, INSTANT_MIN), INSTANT_MAX);
                zone->offsets[i] = types[indexes[i]];
                if (i > 0 && zone->instants[i] <= zone->instants[i - 1])
                        return refuse(err, "its times are not in order");
        }
        return 0;
}

static int footer_read(struct cursor *c, struct zone *zone, struct error *err)
{
        AUTO(mem_freep) char *text = NULL;
        const unsigned char *end;

        if (c->left < 2 || *c->data != '\n')
                return refuse(err, "the rule at its end is missing");
        end = memchr(c->data + 1, '\n', c->left - 1);
        if (end == NULL)
                return refuse(err, "the rule at its end is cut off");
        text = mem_strndup((const char *) c->data + 1, (size_t) (end - c->data) - 1);
        if (*text != '\0' && !footer_parse(text, zone))
                return error_set(err, ERR_INVALID,
                        "damaged TZif file: the rule at its end makes no sense: %.60s", text);
        return 0;
}

static int file_parse(struct cursor *c, struct zone *zone, struct error *err)
{
        struct header h;
        const unsigned char *body;
        size_t width = 4;

        if (header_read(c, &h, err) < 0)
                return -1;
        body = take_bytes(c, body_len(&h, 4));
        if (body != NULL && h.version >= '2') {
                width = 8;
                if (header_read(c, &h, err) < 0)
                        return -1;
                body = take_bytes(c, body_len(&h, 8));
        }
        if (body == NULL)
                return refuse(err, "it is cut off");
        if (body_read(body, &h, width, zone, err) < 0)
                return -1;
        return width == 8 ? footer_read(c, zone, err) : 0;
}

int zone_parse(const void *bytes, size_t len, struct zone **ret, struct error *err)
{
        AUTO(zone_freep) struct zone *zone = mem_alloc(sizeof *zone);
        struct cursor c = { bytes, len };

        if (file_parse(&c, zone, err) < 0)
                return -1;
        *ret = take_ptr(zone);
        return 0;
}

struct zone *zone_new_utc(void)
{
        return mem_alloc(sizeof(struct zone)); /* clocks are never set, and show offset 0 */
}

void zone_free(struct zone *zone)
{
        if (zone == NULL)
                return;
        free(zone->instants);
        free(zone->offsets);
        free(zone);
}

void zone_freep(struct zone **zone)
{
        zone_free(*zone);
}

/* How many settings of the list are not after @instant. */
static size_t settings_until(const struct zone *zone, int64_t instant)
{
        size_t low = 0, high = zone->len;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (zone->instants[middle] <= instant)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

struct zone_period zone_period_at(const struct zone *zone, int64_t instant)
{
        struct zone_period period = { INT64_MIN, INT64_MAX, 0 };
        size_t count;

        if (zone == NULL)
                return period;
        count = settings_until(zone, instant);
        if (count == zone->len && zone->has_rule)
                period = rule_period_at(zone, instant);
        else
                period.offset = count > 0 ? zone->offsets[count - 1] : zone->first_offset;
        if (count > 0)
                period.begin = MAX(period.begin, zone->instants[count - 1]);
        if (count < zone->len)
                period.end = zone->instants[count];
        return period;
}

int32_t zone_offset_at(const struct zone *zone, usec_t wall)
{
        return zone_period_at(zone, (int64_t) (wall / USEC_SEC)).offset;
}

size_t zone_instants_of(const struct zone *zone, int64_t local, int64_t ret[2])
{
        size_t count = 0;
        struct zone_period period;

        for (int64_t at = local - LOOK_AROUND; at < local + LOOK_AROUND; at = period.end) {
                int64_t instant;

                period = zone_period_at(zone, at);
                instant = local - period.offset;
                if (instant >= period.begin && instant < period.end && count < 2)
                        ret[count++] = instant;
        }
        return count;
}

int64_t zone_first_reaching(const struct zone *zone, int64_t local, int64_t from)
{
        /* before that no clock of any zone shows it */
        int64_t at = MAX(from, local - LOOK_AROUND);

        for (;;) {
                struct zone_period period = zone_period_at(zone, at);
                int64_t instant = local - period.offset;

                if (instant < period.end)
                        return MAX(instant, at);
                at = period.end;
        }
}

int64_t zone_not_shown(const struct zone *zone, int64_t instant)
{
        struct zone_period period = zone_period_at(zone, instant);
        int64_t local = instant + period.offset + 1;

        while (period.begin > instant - LOOK_AROUND) {
                int64_t set = period.begin;

                period = zone_period_at(zone, set - 1);
                local = MAX(local, set + period.offset);
        }
        return local;
}
