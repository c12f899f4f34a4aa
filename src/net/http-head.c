/* SPDX-License-Identifier: BSD-3-Clause */
/* Heads: what servers and clients alike need to read and write the first part of an HTTP message.
 *
 * http-parser hands strings out in pieces, as they came from the socket; here they are put together
 * in one buffer, target first, each string with its NUL. Offsets are kept instead of pointers
 * because the buffer moves while it grows. Limits are on the bytes of all strings and on the number
 * of headers; what lies between the strings is limited by the parser itself (80 KiB). */
#include "net/http-head.h"

#include <ctype.h>
#include <http_parser.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/macros.h"
#include "base/mem.h"
#include "net/address.h"

void http_head_done(struct http_head *h)
{
        buffer_done(&h->text);
        free(h->fields);
        *h = (struct http_head){ .max_bytes = h->max_bytes };
}

static bool http_head_put(struct http_head *h, const char *at, size_t len)
{
        if (h->text.len + len > h->max_bytes)
                return false;
        buffer_put(&h->text, at, len);
        return true;
}

bool http_head_add_target(struct http_head *h, const char *at, size_t len)
{
        h->target_len += len;
        return http_head_put(h, at, len);
}

static bool http_head_begin_field(struct http_head *h)
{
        if (h->count == HTTP_HEAD_MAX_FIELDS)
                return false;
        if (h->count == h->allocated) {
                h->allocated = MAX((size_t) 16, h->allocated * 2);
                h->fields = mem_resize(h->fields, h->allocated, sizeof *h->fields);
        }
        buffer_putc(&h->text, '\0'); /* ends the target or the former value */
        h->fields[h->count++] = (struct http_field){ .name = (uint32_t) h->text.len };
        h->in_value = false;
        return true;
}

bool http_head_add_name(struct http_head *h, const char *at, size_t len)
{
        if ((h->count == 0 || h->in_value) && !http_head_begin_field(h))
                return false;
        return http_head_put(h, at, len);
}

/* RFC 9110 section 5.6.2 */
bool http_name_is_clean(const char *at, size_t len)
{
        for (size_t i = 0; i < len; i++)
                if (!isalnum((unsigned char) at[i]) &&
                        (at[i] == '\0' || strchr("!#$%&'*+-.^_`|~", at[i]) == NULL))
                        return false;
        return true;
}

bool http_value_is_clean(const char *at, size_t len)
{
        for (size_t i = 0; i < len; i++)
                if (((unsigned char) at[i] < ' ' && at[i] != '\t') || at[i] == 0x7f)
                        return false;
        return true;
}

static void http_head_begin_value(struct http_head *h)
{
        buffer_putc(&h->text, '\0');
        h->fields[h->count - 1].value = (uint32_t) h->text.len;
        h->in_value = true;
}

bool http_head_add_value(struct http_head *h, const char *at, size_t len)
{
        if (!h->in_value)
                http_head_begin_value(h);
        return http_head_put(h, at, len);
}

void http_head_end(struct http_head *h)
{
        if (h->count > 0 && !h->in_value)
                http_head_begin_value(h);
        buffer_putc(&h->text, '\0');
}

const char *http_head_target(const struct http_head *h)
{
        return buffer_str(&h->text);
}

const char *http_head_get(const struct http_head *h, const char *name)
{
        for (size_t i = 0; i < h->count; i++)
                if (strcasecmp(h->text.data + h->fields[i].name, name) == 0)
                        return h->text.data + h->fields[i].value;
        return NULL;
}

size_t http_head_count(const struct http_head *h, const char *name)
{
        size_t n = 0;

        for (size_t i = 0; i < h->count; i++)
                n += strcasecmp(h->text.data + h->fields[i].name, name) == 0;
        return n;
}

static bool list_has_word(const char *list, const char *word)
{
        size_t len = strlen(word);

        for (const char *p = list; *p != '\0'; p += strcspn(p, ",")) {
                p += strspn(p, ", \t");
                if (strncasecmp(p, word, len) == 0 &&
                        strchr(",", p[len + strspn(p + len, " \t")]) != NULL) /* or the end */
                        return true;
        }
        return false;
}

bool http_head_has_word(const struct http_head *h, const char *name, const char *word)
{
        for (size_t i = 0; i < h->count; i++)
                if (strcasecmp(h->text.data + h->fields[i].name, name) == 0 &&
                        list_has_word(h->text.data + h->fields[i].value, word))
                        return true;
        return false;
}

static bool is_target(const char *s)
{
        for (const char *p = s; *p != '\0'; p++)
                if (*p <= ' ' || *p == 0x7f || *p == '#')
                        return false;
        return *s == '/';
}

int http_put_request_line(struct buffer *b, const char *method, const char *path, struct error *err)
{
        if (*method == '\0' || !http_name_is_clean(method, strlen(method)))
                return error_set(err, ERR_INVALID, "\"%s\" is not an HTTP method", method);
        if (!is_target(path))
                return error_set(err, ERR_INVALID,
                        "\"%s\" is not the path of a request: it begins with / and has no blanks",
                        path);
        buffer_printf(b, "%s %s HTTP/1.1\r\n", method, path);
        return 0;
}

int http_put_headers(struct buffer *b, const char *const headers[], struct error *err)
{
        for (size_t i = 0; headers != NULL && headers[i] != NULL; i += 2) {
                if (headers[i][0] == '\0' || headers[i + 1] == NULL ||
                        !http_name_is_clean(headers[i], strlen(headers[i])))
                        return error_set(
                                err, ERR_INVALID, "\"%s\" is not a header's name", headers[i]);
                if (strpbrk(headers[i + 1], "\r\n") != NULL)
                        return error_set(
                                err, ERR_INVALID, "header %s has a line break in it", headers[i]);
                buffer_printf(b, "%s: %s\r\n", headers[i], headers[i + 1]);
        }
        return 0;
}

void http_put_header(struct buffer *b, const char *name, const char *value)
{
        size_t start;

        buffer_printf(b, "%s: ", name);
        start = b->len;
        buffer_puts(b, value);
        for (size_t i = start; i < b->len; i++)
                if (b->data[i] == '\r' || b->data[i] == '\n')
                        b->data[i] = ' ';
        buffer_puts(b, "\r\n");
}

void http_put_host(struct buffer *b, const struct address *address)
{
        if (address->is_unix)
                buffer_puts(b, "Host: localhost\r\n");
        else if (strchr(address->host, ':') != NULL)
                buffer_printf(b, "Host: [%s]:%u\r\n", address->host, (unsigned) address->port);
        else
                buffer_printf(b, "Host: %s:%u\r\n",
                        address->host[0] == '\0' ? "localhost" : address->host,
                        (unsigned) address->port);
}

const char *http_status_phrase(int status)
{
        return http_status_str((enum http_status) status);
}

static int hex_digit(char c)
{
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool http_decode(struct buffer *b, const char *from, size_t len, bool plus)
{
        for (size_t i = 0; i < len; i++) {
                char c = from[i];

                if (c == '%') {
                        int high = i + 2 < len ? hex_digit(from[i + 1]) : -1;
                        int low = high >= 0 ? hex_digit(from[i + 2]) : -1;

                        if (low < 0 || high * 16 + low == 0)
                                return false;
                        c = (char) (high * 16 + low);
                        i += 2;
                } else if (c == '+' && plus) {
                        c = ' ';
                }
                buffer_putc(b, c);
        }
        return true;
}
