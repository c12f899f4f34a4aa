/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/time.h"

/* The files of one log stream, for the one who writes them: PATH, PATH.1 (the one before), PATH.2 …
 * and PATH.index. Embedded by its owner; no file is made or opened before it is needed. */
struct logfile {
        char *path;
        int fd;                /* of PATH; -1 when closed */
        int index_fd;          /* -1 when closed */
        uint32_t max_files;    /* old files kept */
        uint32_t mark_run;     /* run of the newest time record */
        uint64_t max_size;     /* of a file; 0: never rotated */
        uint64_t inode;        /* of PATH; 0: there is no such file */
        uint64_t first;        /* number of its first byte */
        uint64_t length;       /* its bytes; first + length is the next byte's number */
        uint64_t index_length; /* whole records in the index */
        uint64_t file_at;      /* where in the index the newest file record is */
        uint64_t prune_at;     /* length of the index at which it is looked through */
        uint64_t mark_byte;    /* of the newest time record */
        usec_t mark_wall;      /* of the newest time record; 0: there is none */
        uint64_t gap_length;   /* of the gap at the end; 0: there is none */
        uint64_t gap_at;       /* where its record is */
        bool loaded;           /* first, length and the marks are known */
        bool mark_exact;       /* the newest time record stands for a tenth of a second only */
        bool index_broken;     /* the file at PATH needs a new file record */
        enum { LOGFILE_LINE_UNKNOWN, LOGFILE_LINE_BEGIN, LOGFILE_LINE_WITHIN } line;
};

void logfile_init(struct logfile *lf, const char *path, uint64_t max_size, uint32_t max_files);
void logfile_done(struct logfile *lf);

/* Closes descriptors; everything else stays known. */
void logfile_close(struct logfile *lf);

/* Learns from files and index where the stream stands. Does nothing the second time. */
int logfile_load(struct logfile *lf, struct error *err);

/* The number of the next byte. Only after logfile_load() or logfile_open(). */
uint64_t logfile_next(const struct logfile *lf);

/* Makes ready to append: loads, opens, creates the file if there is none, and finds its place again
 * if someone else has cut, replaced or removed it. Call before each of the following. */
int logfile_open(struct logfile *lf, struct error *err);

/* How many of these @len bytes belong into the current file, so that it ends with a whole line near
 * its size; 0: none, call logfile_rotate() first. Without @data (not seen yet): @len if they fit
 * whatever they are, otherwise 0. */
size_t logfile_plan(struct logfile *lf, const void *data, size_t len);

/* Appends @len bytes. @ret_written is set on failure too (a full disk may take some). */
int logfile_write(
        struct logfile *lf, const void *data, size_t len, size_t *ret_written, struct error *err);

/* Moves @len bytes that are known to be in @fifo to the file. @ret_moved is set on failure too.
 * ERR_INVALID if this file system cannot do that: then nothing was moved. */
int logfile_splice(struct logfile *lf, int fifo, size_t len, size_t *ret_moved, struct error *err);

/* Renames PATH to PATH.1 and so on, and removes what is too old. Follow with logfile_open(). */
int logfile_rotate(struct logfile *lf, struct error *err);

/* Says that the next byte arrives now, from @run; stored if that is news: it is a tenth of a second
 * since the last time that was stored. In a long stream of less than 64 bytes in that time, whose
 * index would be as large as itself, it is a second. Fails only if the first byte of a run could
 * not be marked. */
#define LOGFILE_MARK_LONGEST USEC_SEC
int logfile_mark(struct logfile *lf, uint32_t run, usec_t wall, struct error *err);

/* Says that @lost bytes were thrown away before the next byte; adds up until a byte is written. */
int logfile_gap(struct logfile *lf, uint64_t lost, usec_t wall, struct error *err);

/* How much of a segment of @len bytes at @offset of the file of this stream with inode @inode was
 * written: its size tells. 0 if there is no such file any more. */
size_t logfile_written(const struct logfile *lf, uint64_t inode, uint64_t offset, size_t len);

/* The numbers of the old files of the stream @path that exist, in order; freed with free(). None is
 * fine: NULL and 0. */
uint32_t *logfile_numbers(const char *path, size_t *ret_count);

/* The name of old file @number, or of the file itself for 0. Returns false if it is too long. */
bool logfile_name(char *ret, size_t size, const char *path, uint32_t number);

/* Removes the old files of the stream @path to which nothing was written since @wall. Anybody may
 * do it at any time: the rest of a chain is what a rotation finds after its own removals. Returns
 * how many, and adds their bytes to @bytes. */
unsigned logfile_remove_older(const char *path, usec_t wall, uint64_t *bytes);
