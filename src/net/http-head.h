/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"

/* The head of a request or an answer while and after it is parsed: the target and the headers, as
 * one run of text with offsets into it. Embedded; zeroed and with max_bytes set it is empty. */
struct http_head {
        struct buffer text;
        size_t max_bytes;
        struct http_field {
                uint32_t name, value; /* offsets of strings in text */
        } * fields;
        size_t count, allocated;
        size_t target_len;
        bool in_value;
};

#define HTTP_HEAD_MAX_FIELDS 128

void http_head_done(struct http_head *h);

/* Pieces as the parser hands them out. False: more than the limits allow. */
bool http_head_add_target(struct http_head *h, const char *at, size_t len);
bool http_head_add_name(struct http_head *h, const char *at, size_t len);
bool http_head_add_value(struct http_head *h, const char *at, size_t len);

/* False if a piece of a header has characters that do not belong there. http-parser is lenient, as
 * Debian builds it: it lets blanks pass in names and control characters in values. */
bool http_name_is_clean(const char *at, size_t len);
bool http_value_is_clean(const char *at, size_t len);

/* Ends the last string; before the accessors. */
void http_head_end(struct http_head *h);

const char *http_head_target(const struct http_head *h);
const char *http_head_get(const struct http_head *h, const char *name); /* first of that name */
size_t http_head_count(const struct http_head *h, const char *name);    /* how many of that name */

/* True if a header that is a list ("Connection: keep-alive, Upgrade") has this word, in any case.
 */
bool http_head_has_word(const struct http_head *h, const char *name, const char *word);

/* The request that a client sends, up to the empty line. Refuses what would not arrive as meant. */
int http_put_request_line(
        struct buffer *b, const char *method, const char *path, struct error *err);
int http_put_headers(struct buffer *b, const char *const headers[], struct error *err);

/* "Name: value\r\n"; line breaks and NULs in the value become spaces. */
void http_put_header(struct buffer *b, const char *name, const char *value);

/* "Host: ...\r\n" for an address. */
struct address;
void http_put_host(struct buffer *b, const struct address *address);

const char *http_status_phrase(int status);

/* Decodes %XX (and '+' if @plus) of @len bytes and appends; false for broken escapes and NUL. */
bool http_decode(struct buffer *b, const char *from, size_t len, bool plus);
