/* SPDX-License-Identifier: BSD-3-Clause */
/* The index of a log stream: which byte number each file begins with, when bytes arrived, which run
 * wrote them, and what was thrown away.
 *
 * One writer (node/logfile), any number of readers. A record is 32 bytes, so it never crosses a
 * page: the kernel copies it in one piece or not at all, and a SIGKILL cannot tear it. A machine
 * that loses power can: a torn record at the end is not counted and written over, and a record of
 * an unknown type (zeros) is skipped.
 *
 * File records are facts, and there may be several for one inode: numbers of deleted files are used
 * again by the file system. Because a file gets its record before it gets its name (node/logfile),
 * the newest record of an inode is always the right one for a file that can be seen. Time and gap
 * records come in the order of their byte numbers; they are hints, but exact ones in every ordinary
 * life. */
#include "node/logindex.h"

#include <errno.h>
#include <unistd.h>

#define BLOCK 128 /* records read at a time: one page */

_Static_assert(sizeof(struct logindex_record) == 32, "records divide a page");

static int read_records(
        int fd, uint64_t at, struct logindex_record *ret, size_t count, struct error *err)
{
        size_t len = count * sizeof *ret;
        ssize_t n;

        do
                n = pread(fd, ret, len, (off_t) at);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return error_sys(err, errno, "read log index");
        if ((size_t) n < len)
                return error_set(err, ERR_SYSTEM, "read log index: it became shorter");
        return 0;
}

static void tail_see(
        struct logindex_tail *tail, const struct logindex_record *r, uint64_t at, uint64_t inode)
{
        if (!logindex_is_sound(r))
                return;
        if (r->byte > tail->end)
                tail->end = r->byte;
        if (r->type == LOGINDEX_TIME && !tail->time_known) {
                tail->time = *r;
                tail->time_known = true;
        }
        if (r->type == LOGINDEX_FILE && r->value == inode && !tail->file_known) {
                tail->file_first = r->byte;
                tail->file_at = at;
                tail->file_known = true;
        }
}

int logindex_tail(
        int fd, uint64_t length, uint64_t inode, struct logindex_tail *ret, struct error *err)
{
        struct logindex_tail tail = { 0 };
        struct logindex_record block[BLOCK];
        uint64_t at = logindex_whole(length);

        while (at > 0 && !((tail.file_known || inode == 0) && tail.time_known)) {
                size_t count = (size_t) MIN(at / LOGINDEX_RECORD_SIZE, (uint64_t) BLOCK);

                at -= count * LOGINDEX_RECORD_SIZE;
                if (read_records(fd, at, block, count, err) < 0)
                        return -1;
                for (size_t i = count; i-- > 0;)
                        tail_see(&tail, &block[i], at + i * LOGINDEX_RECORD_SIZE, inode);
        }
        *ret = tail;
        return 0;
}

int logindex_write(int fd, uint64_t at, const struct logindex_record *record, struct error *err)
{
        ssize_t n;

        do
                n = pwrite(fd, record, sizeof *record, (off_t) at);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return error_sys(err, errno, "write log index");
        if ((size_t) n < sizeof *record)
                return error_sys(err, ENOSPC, "write log index");
        return 0;
}

const struct logindex_record *logindex_file(
        const struct logindex_record *records, size_t count, uint64_t inode)
{
        for (size_t i = count; i-- > 0;)
                if (records[i].type == LOGINDEX_FILE && records[i].value == inode &&
                        logindex_is_sound(&records[i]))
                        return &records[i];
        return NULL;
}

void logindex_keep(
        const struct logindex_record *records, size_t count, uint64_t oldest, struct buffer *ret)
{
        const struct logindex_record *before = NULL;

        for (size_t i = 0; i < count; i++)
                if (records[i].type == LOGINDEX_TIME && records[i].byte < oldest)
                        before = &records[i];
        if (before != NULL)
                buffer_put(ret, before, sizeof *before);
        for (size_t i = 0; i < count; i++)
                if (logindex_is_sound(&records[i]) && records[i].byte >= oldest)
                        buffer_put(ret, &records[i], sizeof records[i]);
}
