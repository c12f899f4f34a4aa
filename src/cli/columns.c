/* SPDX-License-Identifier: BSD-3-Clause */
/* Columns: how wide a text is on a terminal. The C library knows, too, but only in a UTF-8 locale,
 * and the words of Reeve are UTF-8 in every locale. The ranges are the blocks that Unicode's
 * EastAsianWidth.txt calls wide and the combining marks in use; a character outside of them that
 * some terminal draws otherwise costs alignment, nothing else. Pure. */
#include "cli/columns.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/macros.h"

#define REPLACEMENT 0xFFFDu
#define ELLIPSIS    "\xE2\x80\xA6"

struct range {
        uint32_t first, last;
};

static const struct range wide[] = { { 0x1100, 0x115F }, { 0x2E80, 0x303E }, { 0x3041, 0xA4CF },
        { 0xA960, 0xA97F }, { 0xAC00, 0xD7A3 }, { 0xF900, 0xFAFF }, { 0xFE30, 0xFE6F },
        { 0xFF00, 0xFF60 }, { 0xFFE0, 0xFFE6 }, { 0x1F300, 0x1F64F }, { 0x1F680, 0x1F6FF },
        { 0x1F900, 0x1F9FF }, { 0x20000, 0x3FFFD } };

static const struct range narrow_none[] = { { 0x0300, 0x036F }, { 0x0483, 0x0489 },
        { 0x0591, 0x05BD }, { 0x0610, 0x061A }, { 0x064B, 0x065F }, { 0x0E34, 0x0E3A },
        { 0x0E47, 0x0E4E }, { 0x1AB0, 0x1AFF }, { 0x1DC0, 0x1DFF }, { 0x200B, 0x200F },
        { 0x202A, 0x202E }, { 0x2060, 0x2069 }, { 0x20D0, 0x20FF }, { 0xFE00, 0xFE0F },
        { 0xFE20, 0xFE2F } };

static bool is_in(const struct range *ranges, size_t len, uint32_t c)
{
        for (size_t i = 0; i < len; i++)
                if (c >= ranges[i].first && c <= ranges[i].last)
                        return true;
        return false;
}

/* One character of @text; returns its length in bytes. What is no UTF-8 is one byte of U+FFFD. */
static size_t decode(const char *text, uint32_t *ret)
{
        static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
        const unsigned char *p = (const unsigned char *) text;
        size_t n = p[0] < 0x80 ? 1 : p[0] >= 0xF0 ? 4 : p[0] >= 0xE0 ? 3 : p[0] >= 0xC0 ? 2 : 0;
        uint32_t c = n <= 1 ? p[0] : p[0] & (0xFFu >> (n + 1));

        *ret = REPLACEMENT;
        if (n == 0 || p[0] >= 0xF8)
                return 1;
        for (size_t i = 1; i < n; i++) {
                if ((p[i] & 0xC0) != 0x80)
                        return 1;
                c = c << 6 | (p[i] & 0x3F);
        }
        if (c < least[n] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
                return 1;
        *ret = c;
        return n;
}

static bool is_control(uint32_t c)
{
        return c < 0x20 || (c >= 0x7F && c < 0xA0) || (c >= 0x202A && c <= 0x202E) ||
               (c >= 0x2066 && c <= 0x2069);
}

static size_t width_of(uint32_t c)
{
        if (is_control(c))
                return 1; /* it is shown as one other character */
        if (is_in(narrow_none, ARRAY_SIZE(narrow_none), c))
                return 0;
        return is_in(wide, ARRAY_SIZE(wide), c) ? 2 : 1;
}

size_t columns_width(const char *text)
{
        size_t width = 0;
        uint32_t c;

        while (*text != '\0') {
                text += decode(text, &c);
                width += width_of(c);
        }
        return width;
}

static void put_clean(struct buffer *out, const char *text, size_t len, uint32_t c)
{
        if (c == '\n' || c == '\t' || c == '\r')
                buffer_putc(out, ' ');
        else if (is_control(c))
                buffer_putc(out, '?');
        else if (c == REPLACEMENT)
                buffer_puts(out, "\xEF\xBF\xBD");
        else
                buffer_put(out, text, len);
}

size_t columns_put(struct buffer *out, const char *text, size_t max)
{
        bool cut = max > 0 && columns_width(text) > max;
        size_t room = cut ? max - 1 : SIZE_MAX, used = 0;
        uint32_t c;

        while (*text != '\0') {
                size_t len = decode(text, &c);

                if (width_of(c) > room - used)
                        break;
                used += width_of(c);
                put_clean(out, text, len, c);
                text += len;
        }
        if (!cut)
                return used;
        buffer_puts(out, ELLIPSIS);
        return used + 1;
}

void columns_wrap(struct buffer *out, const char *text, size_t indent, size_t width)
{
        size_t room = width > indent + 10 ? width - indent : width > 0 ? 10 : SIZE_MAX;
        size_t used = 0;

        for (text += strspn(text, " \n"); *text != '\0'; text += strspn(text, " \n")) {
                size_t len = strcspn(text, " \n");
                AUTO(buffer_done) struct buffer word = { 0 }, clean = { 0 };
                size_t columns;

                buffer_put(&word, text, len);
                columns = columns_put(&clean, buffer_str(&word), 0);
                if (used > 0 && columns + 1 > room - MIN(used, room)) {
                        buffer_printf(out, "\n%*s", (int) indent, "");
                        used = 0;
                }
                buffer_printf(out, "%s%s", used > 0 ? " " : "", buffer_str(&clean));
                used += columns + (used > 0 ? 1 : 0);
                text += len;
        }
        buffer_putc(out, '\n');
}
