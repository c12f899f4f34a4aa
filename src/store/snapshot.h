/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/time.h"
#include "store/store.h"

/* Snapshots: the rows of a store as one file of lines, each a JSON object.
 *
 *   {"reeve-snapshot":1,"created":"2026-03-01T12:00:00.000Z","reeve":"0.1.0","index":4711}
 *   {"key":"job/web","value":{...}}        a row whose value is the text of a JSON object or array
 *   {"key":"event/1","lines":[{...},{...}]}  the same with a value of several lines; a tab follows
 *                                          each comma between two of them
 *   {"key64":"...","value64":"..."}        any other row, in base64
 *   {"sha256":"<64 hex digits>","rows":2}  of all bytes before this line
 *
 * Rows come back byte by byte as they were. A file without the last line is cut off. */

#define SNAPSHOT_VERSION 1

struct snapshot_header {
        usec_t created; /* wall */
        char reeve[32]; /* version of the program that made it */
        uint64_t index; /* the events up to this one are in it */
};

/* Writing: each function appends to @out, which the caller empties as it likes. */
struct snapshot_writer;
struct snapshot_writer *snapshot_writer_new(void);
void snapshot_writer_free(struct snapshot_writer *w); /* NULL is ignored */

void snapshot_put_header(
        struct snapshot_writer *w, const struct snapshot_header *header, struct buffer *out);
void snapshot_put_row(struct snapshot_writer *w, const char *key, const char *value, size_t len,
        struct buffer *out);
void snapshot_put_end(struct snapshot_writer *w, struct buffer *out);

/* Instead of the end: tells the reader why there is none. */
void snapshot_put_failure(struct snapshot_writer *w, const struct error *why, struct buffer *out);

/* Both may be NULL. They return 0, or -1 with @err filled to end the reading with that error. */
struct snapshot_handlers {
        int (*header)(void *data, const struct snapshot_header *header, struct error *err);
        store_row_cb *row;
        void *data;
};

/* Reading bytes as they come. What the handlers are given is not known to be undamaged before
 * snapshot_reader_end() has returned 0. After an error the reader can only be freed. ERR_INVALID:
 * this is no snapshot, it is damaged, cut off, or of a newer Reeve. */
struct snapshot_reader;
struct snapshot_reader *snapshot_reader_new(const struct snapshot_handlers *handlers);
void snapshot_reader_free(struct snapshot_reader *r); /* NULL is ignored */
int snapshot_reader_feed(
        struct snapshot_reader *r, const void *bytes, size_t len, struct error *err);
int snapshot_reader_end(struct snapshot_reader *r, struct error *err);

/* Rows so far. */
uint64_t snapshot_reader_rows(const struct snapshot_reader *r);

/* Reads the file twice: first to see that it is whole, then for the handlers. */
int snapshot_read_file(
        const char *path, const struct snapshot_handlers *handlers, struct error *err);
