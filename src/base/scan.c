/* SPDX-License-Identifier: BSD-3-Clause */
/* Scan: JSON without a tree.
 *
 * A message with the reports of a few hundred tasks costs a tree of jansson some ten thousand
 * pieces of memory that live for a moment. Here the text is walked over once, and what is wanted
 * goes straight into its struct. The grammar is RFC 8259 in full: what jansson refuses is refused
 * here, too, but for a key that stands twice in an object (whoever reads notices, or takes the last
 * one). That text is UTF-8 is left to who brought it.
 *
 * Numbers: integers of 64 bits are read; anything else that is a number is accepted by scan_skip()
 * alone. */
#include "base/scan.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void scan_init(struct scan *s, const char *text, size_t len)
{
        *s = (struct scan){ .begin = text, .at = text, .end = text + len };
}

bool scan_fail(struct scan *s, const char *problem)
{
        if (s->problem == NULL)
                s->problem = problem;
        return false;
}

size_t scan_position(const struct scan *s)
{
        return (size_t) (s->at - s->begin);
}

bool scan_text_is(const struct scan_text *text, const char *word)
{
        return strncmp(text->at, word, text->len) == 0 && word[text->len] == '\0';
}

static void skip_blanks(struct scan *s)
{
        while (s->at < s->end &&
                (*s->at == ' ' || *s->at == '\n' || *s->at == '\t' || *s->at == '\r'))
                s->at++;
}

/* The next byte that counts; 0 at the end. */
static char peek(struct scan *s)
{
        skip_blanks(s);
        return s->problem == NULL && s->at < s->end ? *s->at : '\0';
}

static bool take(struct scan *s, char c)
{
        if (peek(s) != c)
                return false;
        s->at++;
        return true;
}

enum scan_type scan_peek(struct scan *s)
{
        switch (peek(s)) {
        case '{':
                return SCAN_OBJECT;
        case '[':
                return SCAN_ARRAY;
        case '"':
                return SCAN_STRING;
        case 't':
        case 'f':
                return SCAN_BOOL;
        case 'n':
                return SCAN_NULL;
        case '-':
        case '0' ... '9':
                return SCAN_NUMBER;
        default:
                return SCAN_NONE;
        }
}

/* ---- Objects and lists */

static bool enter(struct scan *s, char open, const char *problem)
{
        if (s->depth == SCAN_DEPTH_MAX)
                return scan_fail(s, "less depth");
        if (!take(s, open))
                return scan_fail(s, problem);
        s->depth++;
        s->first = true;
        return true;
}

bool scan_object(struct scan *s)
{
        return enter(s, '{', "an object");
}

bool scan_array(struct scan *s)
{
        return enter(s, '[', "a list");
}

/* True if there is one more before @close. */
static bool next(struct scan *s, char close)
{
        bool first = s->first;

        s->first = false;
        if (take(s, close)) {
                s->depth--;
                return false;
        }
        return s->problem == NULL && (first || take(s, ',') || scan_fail(s, "a comma or the end"));
}

/* A string as it stands in the text, checked. @ret_plain: it has no escapes. */
static bool take_raw(struct scan *s, struct scan_text *ret, bool *ret_plain)
{
        const char *at;

        if (!take(s, '"'))
                return scan_fail(s, "a string");
        *ret_plain = true;
        for (at = s->at; at < s->end && *at != '"'; at++) {
                if ((unsigned char) *at < 0x20)
                        return scan_fail(s, "a string without control characters");
                if (*at == '\\') {
                        *ret_plain = false;
                        at++;
                }
        }
        if (at >= s->end)
                return scan_fail(s, "the end of a string");
        *ret = (struct scan_text){ s->at, (size_t) (at - s->at) };
        s->at = at + 1;
        return true;
}

bool scan_word(struct scan *s, struct scan_text *ret)
{
        bool plain;

        return take_raw(s, ret, &plain) && (plain || scan_fail(s, "a string without escapes"));
}

bool scan_item(struct scan *s)
{
        return next(s, ']');
}

/* ---- Strings */

static int hex_digit(char c)
{
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The four digits of \uXXXX at @at; -1 if they are none. */
static long hex4(const char *at, const char *end)
{
        long value = 0;

        if (end - at < 4)
                return -1;
        for (int i = 0; i < 4; i++) {
                int digit = hex_digit(at[i]);

                if (digit < 0)
                        return -1;
                value = value << 4 | digit;
        }
        return value;
}

static char *put_utf8(char *to, long code)
{
        if (code < 0x80) {
                *to++ = (char) code;
        } else if (code < 0x800) {
                *to++ = (char) (0xc0 | code >> 6);
                *to++ = (char) (0x80 | (code & 0x3f));
        } else if (code < 0x10000) {
                *to++ = (char) (0xe0 | code >> 12);
                *to++ = (char) (0x80 | (code >> 6 & 0x3f));
                *to++ = (char) (0x80 | (code & 0x3f));
        } else {
                *to++ = (char) (0xf0 | code >> 18);
                *to++ = (char) (0x80 | (code >> 12 & 0x3f));
                *to++ = (char) (0x80 | (code >> 6 & 0x3f));
                *to++ = (char) (0x80 | (code & 0x3f));
        }
        return to;
}

/* \uXXXX, and the other half of a pair. @at is behind the 'u'; NULL if it is no character. */
static const char *decode_unicode(const char *at, const char *end, char **to)
{
        long code = hex4(at, end), low;

        at += 4;
        if (code <= 0 || (code >= 0xdc00 && code <= 0xdfff))
                return NULL;
        if (code >= 0xd800 && code <= 0xdbff) {
                if (end - at < 6 || at[0] != '\\' || at[1] != 'u')
                        return NULL;
                low = hex4(at + 2, end);
                if (low < 0xdc00 || low > 0xdfff)
                        return NULL;
                code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                at += 6;
        }
        *to = put_utf8(*to, code);
        return at;
}

/* One escape; @at is behind the backslash. */
static const char *decode_escape(const char *at, const char *end, char **to)
{
        static const char from[] = "\"\\/bfnrt", with[] = "\"\\/\b\f\n\r\t";
        const char *found;

        if (at == end || *at == '\0')
                return NULL;
        if (*at == 'u')
                return decode_unicode(at + 1, end, to);
        found = strchr(from, *at);
        if (found == NULL)
                return NULL;
        *(*to)++ = with[found - from];
        return at + 1;
}

/* Into @to, which has room for all of @text and a NUL. */
static bool decode(const struct scan_text *text, char *to)
{
        const char *at = text->at, *end = text->at + text->len;

        while (at < end) {
                if (*at != '\\') {
                        *to++ = *at++;
                        continue;
                }
                at = decode_escape(at + 1, end, &to);
                if (at == NULL)
                        return false;
        }
        *to = '\0';
        return true;
}

/* Whether the escapes of a string that is not wanted are what they should be. */
static bool check_escapes(struct scan *s, const struct scan_text *raw)
{
        AUTO(mem_freep) char *text = mem_alloc(raw->len + 1);

        return decode(raw, text) || scan_fail(s, "a string with known escapes");
}

bool scan_member(struct scan *s, struct scan_text *ret_key)
{
        bool plain;

        return next(s, '}') && take_raw(s, ret_key, &plain) &&
               (plain || check_escapes(s, ret_key)) && (take(s, ':') || scan_fail(s, "a colon"));
}

bool scan_string(struct scan *s, char **ret)
{
        struct scan_text raw;
        char *text;
        bool plain;

        if (!take_raw(s, &raw, &plain))
                return false;
        if (plain) {
                *ret = mem_strndup(raw.at, raw.len);
                return true;
        }
        text = mem_alloc(raw.len + 1);
        if (!decode(&raw, text)) {
                free(text);
                return scan_fail(s, "a string with known escapes");
        }
        *ret = text;
        return true;
}

/* ---- Other values */

static bool is_digit(char c)
{
        return c >= '0' && c <= '9';
}

static const char *skip_digits(const char *at, const char *end)
{
        while (at < end && is_digit(*at))
                at++;
        return at;
}

/* Takes any number. */
static bool take_number(struct scan *s, struct scan_text *ret, bool *ret_whole)
{
        const char *at = s->at, *digits;

        if (at < s->end && *at == '-')
                at++;
        digits = at;
        at = skip_digits(at, s->end);
        if (at == digits || (*digits == '0' && at - digits > 1))
                return scan_fail(s, "a number");
        *ret_whole = true;
        if (at < s->end && *at == '.') {
                *ret_whole = false;
                digits = ++at;
                at = skip_digits(at, s->end);
                if (at == digits)
                        return scan_fail(s, "a number");
        }
        if (at < s->end && (*at == 'e' || *at == 'E')) {
                *ret_whole = false;
                at++;
                if (at < s->end && (*at == '+' || *at == '-'))
                        at++;
                digits = at;
                at = skip_digits(at, s->end);
                if (at == digits)
                        return scan_fail(s, "a number");
        }
        *ret = (struct scan_text){ s->at, (size_t) (at - s->at) };
        s->at = at;
        return true;
}

bool scan_int(struct scan *s, int64_t *ret)
{
        struct scan_text text;
        bool whole, negative;
        int64_t value = 0;

        if (scan_peek(s) != SCAN_NUMBER)
                return scan_fail(s, "a whole number");
        if (!take_number(s, &text, &whole))
                return false;
        if (!whole)
                return scan_fail(s, "a whole number");
        negative = text.at[0] == '-';
        for (size_t i = negative; i < text.len; i++) { /* below zero, where there is one more */
                if (__builtin_mul_overflow(value, 10, &value) ||
                        __builtin_sub_overflow(value, text.at[i] - '0', &value))
                        return scan_fail(s, "a smaller number");
        }
        if (!negative && value == INT64_MIN)
                return scan_fail(s, "a smaller number");
        *ret = negative ? value : -value;
        return true;
}

static bool take_literal(struct scan *s, const char *word)
{
        size_t len = strlen(word);

        if ((size_t) (s->end - s->at) < len || memcmp(s->at, word, len) != 0)
                return false;
        s->at += len;
        return true;
}

bool scan_bool(struct scan *s, bool *ret)
{
        bool is_true;

        if (scan_peek(s) != SCAN_BOOL)
                return scan_fail(s, "true or false");
        is_true = take_literal(s, "true");
        if (!is_true && !take_literal(s, "false"))
                return scan_fail(s, "true or false");
        *ret = is_true;
        return true;
}

bool scan_null(struct scan *s)
{
        return (scan_peek(s) == SCAN_NULL && take_literal(s, "null")) || scan_fail(s, "null");
}

static bool skip_string(struct scan *s)
{
        struct scan_text raw;
        bool plain;

        return take_raw(s, &raw, &plain) && (plain || check_escapes(s, &raw));
}

static bool skip_value(struct scan *s);

static bool skip_object(struct scan *s)
{
        struct scan_text key;

        scan_object(s);
        while (scan_member(s, &key))
                skip_value(s);
        return s->problem == NULL;
}

static bool skip_array(struct scan *s)
{
        scan_array(s);
        while (scan_item(s))
                skip_value(s);
        return s->problem == NULL;
}

static bool skip_value(struct scan *s)
{
        struct scan_text text;
        bool flag;

        switch (scan_peek(s)) {
        case SCAN_OBJECT:
                return skip_object(s);
        case SCAN_ARRAY:
                return skip_array(s);
        case SCAN_STRING:
                return skip_string(s);
        case SCAN_NUMBER:
                return take_number(s, &text, &flag);
        case SCAN_BOOL:
                return scan_bool(s, &flag);
        case SCAN_NULL:
                return scan_null(s);
        case SCAN_NONE:
                break;
        }
        return scan_fail(s, "a value");
}

bool scan_skip(struct scan *s, struct scan_text *ret)
{
        const char *begin;

        peek(s);
        begin = s->at;
        if (!skip_value(s))
                return false;
        if (ret != NULL)
                *ret = (struct scan_text){ begin, (size_t) (s->at - begin) };
        return true;
}

bool scan_end(struct scan *s)
{
        skip_blanks(s);
        if (s->problem == NULL && s->at < s->end)
                scan_fail(s, "the end");
        return s->problem == NULL;
}
