/* SPDX-License-Identifier: BSD-3-Clause */
/* Text: names, sizes, signals and JSON strings, as people write them and as files keep them. What
 * is read here may come from anybody: every function takes any bytes up to the NUL. */
#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/macros.h"

#define NEAREST_MAX 40 /* longer words are not compared */

/* Optimal string alignment distance: insert, delete, replace, swap of neighbours. */
static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
        size_t d[NEAREST_MAX + 1][NEAREST_MAX + 1];

        for (size_t i = 0; i <= a_len; i++)
                d[i][0] = i;
        for (size_t j = 0; j <= b_len; j++)
                d[0][j] = j;
        for (size_t i = 1; i <= a_len; i++)
                for (size_t j = 1; j <= b_len; j++) {
                        size_t cost = a[i - 1] == b[j - 1] ? 0 : 1;
                        size_t best = MIN(d[i - 1][j] + 1, d[i][j - 1] + 1);

                        best = MIN(best, d[i - 1][j - 1] + cost);
                        if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                                best = MIN(best, d[i - 2][j - 2] + 1);
                        d[i][j] = best;
                }
        return d[a_len][b_len];
}

const char *text_nearest(const char *word, const char *const *names)
{
        size_t word_len = strlen(word), best = word_len / 3 + 2;
        const char *nearest = NULL;

        for (; *names != NULL && word_len <= NEAREST_MAX; names++) {
                size_t len = strlen(*names), d;

                if (len > NEAREST_MAX)
                        continue;
                d = distance(word, word_len, *names, len);
                if (d < best && d <= MAX(len, word_len) / 3 + 1 && d < len) {
                        best = d;
                        nearest = *names;
                }
        }
        return nearest;
}

static const struct {
        const char *name;
        uint64_t bytes;
} size_units[] = {
        /* the exact binary names first: text_format_size() picks the first that divides */
        { "TiB", 1ull << 40 },
        { "GiB", 1ull << 30 },
        { "MiB", 1ull << 20 },
        { "KiB", 1ull << 10 },
        { "B", 1 },
        { "T", 1ull << 40 },
        { "G", 1ull << 30 },
        { "M", 1ull << 20 },
        { "K", 1ull << 10 },
        { "TB", 1000000000000ull },
        { "GB", 1000000000ull },
        { "MB", 1000000ull },
        { "kB", 1000ull },
        { "", 1 },
};

bool text_parse_size(const char *text, uint64_t *ret_bytes)
{
        size_t digits = strspn(text, "0123456789.");
        char *end;
        double number;

        if (digits == 0)
                return false;
        number = strtod(text, &end);
        if (end != text + digits)
                return false;
        end += strspn(end, " ");
        for (size_t i = 0; i < ARRAY_SIZE(size_units); i++)
                if (strcmp(end, size_units[i].name) == 0) {
                        double bytes = number * (double) size_units[i].bytes;

                        if (bytes > 9e18)
                                return false;
                        *ret_bytes = (uint64_t) llround(bytes);
                        return true;
                }
        return false;
}

const char *text_format_size(char text[TEXT_SIZE_MAX], uint64_t bytes)
{
        for (size_t i = 0; i < ARRAY_SIZE(size_units); i++)
                if (bytes % size_units[i].bytes == 0 && (bytes > 0 || size_units[i].bytes == 1)) {
                        snprintf(text, TEXT_SIZE_MAX, "%" PRIu64 "%s", bytes / size_units[i].bytes,
                                size_units[i].name);
                        break;
                }
        return text;
}

bool text_parse_int(const char *text, int64_t min, int64_t max, int64_t *ret)
{
        char *end;
        long long value;

        if (!isdigit((unsigned char) text[0]) && text[0] != '-')
                return false;
        errno = 0;
        value = strtoll(text, &end, 10);
        if (errno != 0 || *end != '\0' || end == text || value < min || value > max)
                return false;
        *ret = value;
        return true;
}

size_t text_format_uint(char *text, uint64_t value)
{
        char digits[TEXT_UINT_MAX], *at = digits + sizeof digits;
        size_t len;

        do
                *--at = (char) ('0' + value % 10);
        while ((value /= 10) > 0);
        len = (size_t) (digits + sizeof digits - at);
        memcpy(text, at, len);
        return len;
}

bool text_is_name(const char *s)
{
        size_t len = strlen(s);

        if (len == 0 || len > TEXT_NAME_MAX || !isalnum((unsigned char) s[0]))
                return false;
        for (; *s != '\0'; s++)
                if (!isalnum((unsigned char) *s) && *s != '-' && *s != '_')
                        return false;
        return true;
}

/* Length of the valid UTF-8 sequence at @s (RFC 3629: no overlong forms, no surrogates), 0 if there
 * is none. */
static size_t utf8_length(const unsigned char *s)
{
        if (s[0] < 0x80)
                return 1;
        if (s[0] >= 0xc2 && s[0] <= 0xdf)
                return (s[1] & 0xc0) == 0x80 ? 2 : 0;
        if (s[0] >= 0xe0 && s[0] <= 0xef) {
                if ((s[1] & 0xc0) != 0x80 || (s[2] & 0xc0) != 0x80)
                        return 0;
                if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f))
                        return 0;
                return 3;
        }
        if (s[0] >= 0xf0 && s[0] <= 0xf4) {
                if ((s[1] & 0xc0) != 0x80 || (s[2] & 0xc0) != 0x80 || (s[3] & 0xc0) != 0x80)
                        return 0;
                if ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
                        return 0;
                return 4;
        }
        return 0;
}

static void put_escaped(struct buffer *b, unsigned char c)
{
        if (c == '"' || c == '\\')
                buffer_printf(b, "\\%c", c);
        else if (c == '\n')
                buffer_puts(b, "\\n");
        else if (c == '\t')
                buffer_puts(b, "\\t");
        else
                buffer_printf(b, "\\u%04x", c);
}

static bool is_plain(unsigned char c)
{
        return c >= ' ' && c <= '~' && c != '"' && c != '\\';
}

/* Nearly all strings are plain ASCII and go out in one piece. */
void text_put_json_string(struct buffer *b, const char *s)
{
        const unsigned char *p = (const unsigned char *) s;

        buffer_putc(b, '"');
        for (;;) {
                const unsigned char *begin = p;
                size_t len;

                while (is_plain(*p))
                        p++;
                buffer_put(b, begin, (size_t) (p - begin));
                if (*p == '\0')
                        break;
                len = utf8_length(p);
                if (len > 1)
                        buffer_put(b, p, len);
                else if (len == 0)
                        buffer_puts(b, "\xef\xbf\xbd");
                else
                        put_escaped(b, *p);
                p += MAX(len, (size_t) 1);
        }
        buffer_putc(b, '"');
}

int text_parse_signal(const char *text)
{
        int64_t number;

        if (text_parse_int(text, 1, SIGRTMAX, &number))
                return (int) number;
        if (strncasecmp(text, "SIG", 3) == 0)
                text += 3;
        if (strncasecmp(text, "RTMIN", 5) == 0) {
                if (text[5] == '\0')
                        return SIGRTMIN;
                return text[5] == '+' && text_parse_int(text + 6, 0, SIGRTMAX - SIGRTMIN, &number)
                               ? SIGRTMIN + (int) number
                               : 0;
        }
        for (int i = 1; i < SIGRTMIN; i++) {
                const char *name = sigabbrev_np(i);

                if (name != NULL && strcasecmp(name, text) == 0)
                        return i;
        }
        return 0;
}

const char *text_signal_name(int number)
{
        static _Thread_local char text[16];
        const char *name = sigabbrev_np(number);

        if (name != NULL)
                return name;
        if (number >= SIGRTMIN && number <= SIGRTMAX)
                snprintf(text, sizeof text, "RTMIN+%d", number - SIGRTMIN);
        else
                snprintf(text, sizeof text, "%d", number);
        return text;
}
