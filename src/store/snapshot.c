/* SPDX-License-Identifier: BSD-3-Clause */
/* Snapshot: writing and reading the file format (see the header).
 *
 * Neither side holds more than one line. The writer does not parse what it writes: a value that
 * begins and ends like a JSON object or array and has no control characters is put down as it is,
 * for people and their tools; the reader finds it again by its place in the line, not by parsing,
 * so that it comes back byte by byte even if it was not JSON after all. All other rows are base64.
 *
 * The checksum protects against damage, not against somebody: who can write the file can write the
 * checksum. */
#include "store/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"

#define LINE_MAX_BYTES ((size_t) 256 << 20)
#define READ_BYTES     ((size_t) 256 << 10)
#define SUM_TEXT       65 /* SHA-256 in hex, and a NUL */

static const char magic[] = "{\"reeve-snapshot\":";
static const char row_begin[] = "{\"key\":\"", row_middle[] = "\",\"value\":";
static const char lines_middle[] = "\",\"lines\":[", lines_between[] = ",\t";
static const char row64_begin[] = "{\"key64\":\"", row64_middle[] = "\",\"value64\":\"";
static const char end_begin[] = "{\"sha256\":\"", failure_begin[] = "{\"failed\":";

/* ---- Checksum */

static EVP_MD_CTX *sum_new(void)
{
        EVP_MD_CTX *sum = EVP_MD_CTX_new();

        if (sum == NULL || EVP_DigestInit_ex(sum, EVP_sha256(), NULL) != 1)
                abort(); /* out of memory */
        return sum;
}

static void sum_format(EVP_MD_CTX *sum, char text[SUM_TEXT])
{
        unsigned char digest[EVP_MAX_MD_SIZE];

        EVP_DigestFinal_ex(sum, digest, NULL);
        for (size_t i = 0; i < (SUM_TEXT - 1) / 2; i++)
                snprintf(text + 2 * i, 3, "%02x", digest[i]);
}

/* ---- Writing */

struct snapshot_writer {
        EVP_MD_CTX *sum;
        uint64_t rows;
};

struct snapshot_writer *snapshot_writer_new(void)
{
        struct snapshot_writer *w = mem_alloc(sizeof *w);

        w->sum = sum_new();
        return w;
}

void snapshot_writer_free(struct snapshot_writer *w)
{
        if (w == NULL)
                return;
        EVP_MD_CTX_free(w->sum);
        free(w);
}

/* What was appended to @out behind @begin counts. */
static void count_in(struct snapshot_writer *w, const struct buffer *out, size_t begin)
{
        EVP_DigestUpdate(w->sum, out->data + begin, out->len - begin);
}

void snapshot_put_header(
        struct snapshot_writer *w, const struct snapshot_header *header, struct buffer *out)
{
        char created[TIME_TEXT_MAX];
        size_t begin = out->len;

        buffer_printf(out, "%s%d,\"created\":\"%s\",\"reeve\":", magic, SNAPSHOT_VERSION,
                time_format_wall(created, header->created));
        text_put_json_string(out, header->reeve);
        buffer_printf(out, ",\"index\":%" PRIu64 "}\n", header->index);
        count_in(w, out, begin);
}

/* Stands in quotes as it is. */
static bool is_plain_key(const char *key)
{
        for (; *key != '\0'; key++)
                if (*key < ' ' || *key > '~' || *key == '"' || *key == '\\')
                        return false;
        return true;
}

static bool is_plain_line(const char *value, size_t len)
{
        if (len < 2 || !((value[0] == '{' && value[len - 1] == '}') ||
                               (value[0] == '[' && value[len - 1] == ']')))
                return false;
        for (size_t i = 0; i < len; i++)
                if ((unsigned char) value[i] < ' ')
                        return false;
        return true;
}

/* One or several lines, none of them empty. */
static bool is_plain_value(const char *value, size_t len)
{
        const char *end;

        for (; (end = memchr(value, '\n', len)) != NULL; value = end + 1) {
                if (!is_plain_line(value, (size_t) (end - value)))
                        return false;
                len -= (size_t) (end - value) + 1;
        }
        return is_plain_line(value, len);
}

static void put_plain_value(struct buffer *out, const char *value, size_t len)
{
        const char *end = memchr(value, '\n', len);

        buffer_puts(out, end == NULL ? row_middle : lines_middle);
        for (size_t n; end != NULL; end = memchr(value, '\n', len)) {
                n = (size_t) (end - value);
                buffer_put(out, value, n);
                buffer_puts(out, lines_between);
                value += n + 1;
                len -= n + 1;
        }
        buffer_put(out, value, len);
}

static void put_base64(struct buffer *out, const char *bytes, size_t len)
{
        unsigned char *to = (unsigned char *) buffer_reserve(out, len / 3 * 4 + 8);
        int written = EVP_EncodeBlock(to, (const unsigned char *) bytes, (int) len);

        buffer_commit(out, (size_t) written);
}

void snapshot_put_row(struct snapshot_writer *w, const char *key, const char *value, size_t len,
        struct buffer *out)
{
        size_t begin = out->len;

        if (is_plain_key(key) && is_plain_value(value, len)) {
                buffer_printf(out, "%s%s", row_begin, key);
                put_plain_value(out, value, len);
                buffer_puts(out, memchr(value, '\n', len) == NULL ? "}\n" : "]}\n");
        } else {
                buffer_puts(out, row64_begin);
                put_base64(out, key, strlen(key));
                buffer_puts(out, row64_middle);
                put_base64(out, value, len);
                buffer_puts(out, "\"}\n");
        }
        w->rows++;
        count_in(w, out, begin);
}

void snapshot_put_end(struct snapshot_writer *w, struct buffer *out)
{
        char sum[SUM_TEXT];

        sum_format(w->sum, sum);
        buffer_printf(out, "%s%s\",\"rows\":%" PRIu64 "}\n", end_begin, sum, w->rows);
}

void snapshot_put_failure(struct snapshot_writer *w, const struct error *why, struct buffer *out)
{
        (void) w;
        buffer_puts(out, failure_begin);
        text_put_json_string(out, why->message);
        buffer_puts(out, "}\n");
}

/* ---- Reading */

struct snapshot_reader {
        struct snapshot_handlers handlers;
        EVP_MD_CTX *sum;
        struct buffer partial; /* a line that is not complete yet */
        struct buffer key, value;
        uint64_t lines, rows;
        bool ended; /* the last line was there, and right */
};

struct snapshot_reader *snapshot_reader_new(const struct snapshot_handlers *handlers)
{
        struct snapshot_reader *r = mem_alloc(sizeof *r);

        r->handlers = *handlers;
        r->sum = sum_new();
        return r;
}

void snapshot_reader_free(struct snapshot_reader *r)
{
        if (r == NULL)
                return;
        EVP_MD_CTX_free(r->sum);
        buffer_done(&r->partial);
        buffer_done(&r->key);
        buffer_done(&r->value);
        free(r);
}

uint64_t snapshot_reader_rows(const struct snapshot_reader *r)
{
        return r->rows;
}

static bool begins_with(const char *line, size_t len, const char *with)
{
        return len >= strlen(with) && memcmp(line, with, strlen(with)) == 0;
}

static int fail_line(const struct snapshot_reader *r, struct error *err)
{
        return error_set(err, ERR_INVALID, "damaged: line %" PRIu64 " makes no sense", r->lines);
}

static int header_from_json(const json_t *json, struct snapshot_header *ret, struct error *err)
{
        json_int_t version = json_integer_value(json_object_get(json, "reeve-snapshot"));
        const char *created = json_string_value(json_object_get(json, "created"));
        const char *reeve = json_string_value(json_object_get(json, "reeve"));
        json_int_t index = json_integer_value(json_object_get(json, "index"));

        if (version > SNAPSHOT_VERSION)
                return error_set(err, ERR_INVALID,
                        "written by a newer Reeve (snapshot version %" JSON_INTEGER_FORMAT
                        "; this one knows %d)",
                        version, SNAPSHOT_VERSION);
        if (version < 1 || created == NULL || !time_parse_wall(created, &ret->created) ||
                reeve == NULL || index < 0)
                return error_set(err, ERR_INVALID, "damaged: its first line makes no sense");
        snprintf(ret->reeve, sizeof ret->reeve, "%s", reeve);
        ret->index = (uint64_t) index;
        return 0;
}

static int take_header(struct snapshot_reader *r, const char *line, size_t len, struct error *err)
{
        struct snapshot_header header = { 0 };
        json_t *json = json_loadb(line, len, 0, NULL);
        int rc = header_from_json(json, &header, err);

        json_decref(json);
        if (rc == 0 && r->handlers.header != NULL)
                rc = r->handlers.header(r->handlers.data, &header, err);
        return rc;
}

static bool get_base64(struct buffer *ret, const char *text, size_t len)
{
        int got, padding = 0;

        buffer_reset(ret);
        while (padding < 2 && (size_t) padding < len && text[len - 1 - (size_t) padding] == '=')
                padding++;
        if (memchr(text, '=', len - (size_t) padding) != NULL)
                return false;
        got = EVP_DecodeBlock((unsigned char *) buffer_reserve(ret, len / 4 * 3 + 8),
                (const unsigned char *) text, (int) len);
        if (got < padding)
                return false;
        buffer_commit(ret, (size_t) (got - padding));
        return true;
}

static int hand_out(struct snapshot_reader *r, struct error *err)
{
        if (r->key.len == 0 || strlen(r->key.data) != r->key.len)
                return fail_line(r, err);
        buffer_putc(&r->value, '\0'); /* so that there is text, also when it is empty */
        return r->handlers.row(
                       r->handlers.data, r->key.data, r->value.data, r->value.len - 1, err) < 0
                       ? -1
                       : 0;
}

static void put_lines(struct buffer *ret, const char *text, const char *end)
{
        const char *between;

        while ((between = memmem(text, (size_t) (end - text), lines_between,
                        strlen(lines_between))) != NULL) {
                buffer_put(ret, text, (size_t) (between - text));
                buffer_putc(ret, '\n');
                text = between + strlen(lines_between);
        }
        buffer_put(ret, text, (size_t) (end - text));
}

/* {"key":"KEY","value":VALUE} or {"key":"KEY","lines":[LINE,LINE]} */
static int take_plain_row(
        struct snapshot_reader *r, const char *line, size_t len, struct error *err)
{
        const char *key = line + strlen(row_begin), *end = line + len - 1;
        const char *middle = end < key ? NULL : memchr(key, '"', (size_t) (end - key));

        if (middle == NULL || *end != '}')
                return fail_line(r, err);
        buffer_reset(&r->key);
        buffer_put(&r->key, key, (size_t) (middle - key));
        buffer_reset(&r->value);
        if (begins_with(middle, (size_t) (end - middle), row_middle)) {
                middle += strlen(row_middle);
                buffer_put(&r->value, middle, (size_t) (end - middle));
        } else if (begins_with(middle, (size_t) (end - middle), lines_middle) && end[-1] == ']') {
                put_lines(&r->value, middle + strlen(lines_middle), end - 1);
        } else {
                return fail_line(r, err);
        }
        return hand_out(r, err);
}

/* {"key64":"KEY","value64":"VALUE"} */
static int take_base64_row(
        struct snapshot_reader *r, const char *line, size_t len, struct error *err)
{
        const char *key = line + strlen(row64_begin), *end = line + len - 2;
        const char *middle = end < key ? NULL : memchr(key, '"', (size_t) (end - key));

        if (middle == NULL || memcmp(end, "\"}", 2) != 0 ||
                !begins_with(middle, (size_t) (end - middle), row64_middle) ||
                !get_base64(&r->key, key, (size_t) (middle - key)))
                return fail_line(r, err);
        middle += strlen(row64_middle);
        if (!get_base64(&r->value, middle, (size_t) (end - middle)))
                return fail_line(r, err);
        return hand_out(r, err);
}

static int take_row(struct snapshot_reader *r, const char *line, size_t len, struct error *err)
{
        r->rows++;
        if (r->handlers.row == NULL)
                return 0;
        if (begins_with(line, len, row_begin))
                return take_plain_row(r, line, len, err);
        if (begins_with(line, len, row64_begin))
                return take_base64_row(r, line, len, err);
        return fail_line(r, err);
}

static int take_end(struct snapshot_reader *r, const char *line, size_t len, struct error *err)
{
        char sum[SUM_TEXT];
        const char *said = line + strlen(end_begin);

        sum_format(r->sum, sum);
        if (len < strlen(end_begin) + SUM_TEXT - 1 || memcmp(said, sum, SUM_TEXT - 1) != 0)
                return error_set(err, ERR_INVALID,
                        "damaged: what is in it has not the checksum that it names at its end");
        r->ended = true;
        return 0;
}

static int take_failure(const char *line, size_t len, struct error *err)
{
        json_t *json = json_loadb(line, len, 0, NULL);
        const char *why = json_string_value(json_object_get(json, "failed"));

        error_set(err, ERR_INVALID, "cut off: the server could not finish it: %s",
                why == NULL ? "it does not say why" : why);
        json_decref(json);
        return -1;
}

static int take_line(struct snapshot_reader *r, const char *line, size_t len, struct error *err)
{
        r->lines++;
        if (r->ended)
                return error_set(err, ERR_INVALID, "damaged: it goes on behind its end");
        if (r->lines > 1 && begins_with(line, len, end_begin))
                return take_end(r, line, len, err);
        if (r->lines > 1 && begins_with(line, len, failure_begin))
                return take_failure(line, len, err);
        EVP_DigestUpdate(r->sum, line, len);
        EVP_DigestUpdate(r->sum, "\n", 1);
        return r->lines == 1 ? take_header(r, line, len, err) : take_row(r, line, len, err);
}

static int check_magic(const struct snapshot_reader *r, struct error *err)
{
        size_t len = MIN(r->partial.len, strlen(magic));

        if (r->lines > 0 || memcmp(r->partial.data, magic, len) == 0)
                return 0;
        return error_set(err, ERR_INVALID, "this is no snapshot of Reeve");
}

int snapshot_reader_feed(
        struct snapshot_reader *r, const void *bytes, size_t len, struct error *err)
{
        size_t begin = 0, from = r->partial.len;
        const char *end;

        if (len == 0)
                return 0;
        buffer_put(&r->partial, bytes, len);
        if (check_magic(r, err) < 0)
                return -1;
        while ((end = memchr(r->partial.data + from, '\n', r->partial.len - from)) != NULL) {
                const char *line = r->partial.data + begin;

                if (take_line(r, line, (size_t) (end - line), err) < 0)
                        return -1;
                begin = from = (size_t) (end - r->partial.data) + 1;
        }
        buffer_consume(&r->partial, begin);
        return r->partial.len <= LINE_MAX_BYTES ? 0 : fail_line(r, err);
}

int snapshot_reader_end(struct snapshot_reader *r, struct error *err)
{
        if (r->lines == 0 && r->partial.len == 0)
                return error_set(err, ERR_INVALID, "this is no snapshot of Reeve: it is empty");
        if (!r->ended)
                return error_set(err, ERR_INVALID,
                        "cut off after %" PRIu64 " rows: the checksum at its end is missing",
                        r->rows);
        return r->partial.len == 0
                       ? 0
                       : error_set(err, ERR_INVALID, "damaged: it goes on behind its end");
}

/* ---- Files */

static int read_all(int fd, const struct snapshot_handlers *handlers, struct error *err)
{
        struct snapshot_reader *r = snapshot_reader_new(handlers);
        AUTO(mem_freep) char *bytes = mem_alloc(READ_BYTES);
        ssize_t n;
        int rc = 0;

        while (rc == 0 && (n = read(fd, bytes, READ_BYTES)) != 0)
                if (n > 0)
                        rc = snapshot_reader_feed(r, bytes, (size_t) n, err);
                else if (errno != EINTR)
                        rc = error_sys(err, errno, "read");
        if (rc == 0)
                rc = snapshot_reader_end(r, err);
        snapshot_reader_free(r);
        return rc;
}

int snapshot_read_file(
        const char *path, const struct snapshot_handlers *handlers, struct error *err)
{
        const struct snapshot_handlers none = { 0 };
        AUTO(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);

        if (fd < 0)
                return error_sys(err, errno, "open %s", path);
        if (read_all(fd, &none, err) < 0)
                return error_wrap(err, "%s", path);
        if (lseek(fd, 0, SEEK_SET) < 0)
                return error_sys(err, errno, "%s: read it a second time", path);
        if (read_all(fd, handlers, err) < 0)
                return error_wrap(err, "%s", path);
        return 0;
}
