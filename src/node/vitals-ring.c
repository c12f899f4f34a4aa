/* SPDX-License-Identifier: BSD-3-Clause */
/* The file of samples: a head, then as many rows as an hour has samples. A row is one look at the
 * machine and at every task, tasks in the order of their slots; so a sample of a thousand tasks is
 * one write of 16 KB, and the hour of one task is one short read per row. It is written and read by
 * pwrite(2) and pread(2) and not mapped: it is in the page cache and not in the agent's memory, and
 * outlives the agent there.
 *
 * A row's cells are written before its head, whose number says that they are there. What a cell is
 * known by is the task's id together with the row's number: the cells of an hour ago, of another
 * task in the same slot, or of a row that was not finished, are nobody's. Rows have room for so
 * many slots; when that is not enough, a larger file takes the place of this one. */
#include "node/vitals-ring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

#define MAGIC     0x7265657665766931u /* "reevevi1" */
#define HEAD_SIZE 4096
#define CELLS_MIN 256
/* What is larger was not written by us. */
#define CELLS_MAX  (1u << 20)
#define NUMBER_MAX ((uint64_t) 1 << 48)

struct head {
        uint64_t magic;
        uint32_t rows;
        uint32_t room; /* cells in a row */
};

struct vitals_ring {
        char *path;
        int fd;
        struct head head;
        uint64_t last; /* number of the newest row; 0: none */
};

uint32_t vitals_ring_key(const char *id)
{
        uint32_t hash = 2166136261u; /* FNV-1a */

        for (; *id != '\0'; id++)
                hash = (hash ^ (unsigned char) *id) * 16777619u;
        return hash != 0 ? hash : 1;
}

static uint32_t stamp(uint32_t key, uint64_t number)
{
        return key ^ (uint32_t) (number * 0x9E3779B97F4A7C15u >> 32);
}

static off_t row_size(const struct head *h)
{
        return (off_t) (sizeof(struct vitals_row) + h->room * sizeof(struct vitals_cell));
}

static off_t row_at(const struct head *h, uint64_t number)
{
        return HEAD_SIZE + row_size(h) * (off_t) (number % h->rows);
}

static int write_all(int fd, const void *bytes, size_t len, off_t at)
{
        ssize_t n = pwrite(fd, bytes, len, at);

        if (n >= 0 && (size_t) n < len)
                errno = ENOSPC;
        return n == (ssize_t) len ? 0 : -1;
}

/* The row with this number, if it is there still. */
static bool read_row(const struct vitals_ring *r, uint64_t number, struct vitals_row *ret)
{
        return pread(r->fd, ret, sizeof *ret, row_at(&r->head, number)) == (ssize_t) sizeof *ret &&
               ret->number == number && ret->cells <= r->head.room;
}

static void find_last(struct vitals_ring *r)
{
        struct vitals_row row;

        for (uint32_t i = 0; i < r->head.rows; i++)
                if (pread(r->fd, &row, sizeof row, row_at(&r->head, i)) == (ssize_t) sizeof row &&
                        row.number % r->head.rows == i && row.number < NUMBER_MAX)
                        r->last = MAX(r->last, row.number);
}

/* An empty file for rows of @room cells beside ours. */
static int make_file(const char *path, uint32_t rows, uint32_t room, struct error *err)
{
        struct head head = { .magic = MAGIC, .rows = rows, .room = room };
        AUTO(fd_closep) int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        if (fd < 0 || write_all(fd, &head, sizeof head, 0) < 0 || ftruncate(fd, HEAD_SIZE) < 0)
                return error_sys(err, errno, "write %s", path);
        return take_fd(fd);
}

static void copy_row(
        const struct vitals_ring *from, const struct vitals_ring *to, uint64_t number, char *buffer)
{
        struct vitals_row row;
        size_t len;

        if (!read_row(from, number, &row))
                return;
        len = sizeof row + row.cells * sizeof(struct vitals_cell);
        if (pread(from->fd, buffer, len, row_at(&from->head, number)) == (ssize_t) len)
                write_all(to->fd, buffer, len, row_at(&to->head, number));
}

/* A file with room for @cells takes the place of the one that there is. */
static int grow(struct vitals_ring *r, uint32_t cells, struct error *err)
{
        struct vitals_ring larger = { .head = r->head };
        AUTO(mem_freep) char *path = mem_printf("%s.new", r->path);
        AUTO(mem_freep) char *buffer = mem_alloc((size_t) row_size(&r->head));

        while (larger.head.room < cells)
                larger.head.room *= 2;
        larger.fd = make_file(path, larger.head.rows, larger.head.room, err);
        if (larger.fd < 0)
                return -1;
        for (uint64_t n = r->last - MIN(r->last, r->head.rows - 1); n <= r->last; n++)
                copy_row(r, &larger, n, buffer);
        if (rename(path, r->path) < 0) {
                close(larger.fd);
                return error_sys(err, errno, "rename %s", path);
        }
        close(r->fd);
        r->fd = larger.fd;
        r->head = larger.head;
        return 0;
}

int vitals_ring_open(const char *path, uint32_t rows, struct vitals_ring **ret, struct error *err)
{
        struct vitals_ring *r = mem_alloc(sizeof *r);

        r->path = mem_strdup(path);
        r->fd = open(path, O_RDWR | O_CLOEXEC);
        if (r->fd >= 0 && pread(r->fd, &r->head, sizeof r->head, 0) == (ssize_t) sizeof r->head &&
                r->head.magic == MAGIC && r->head.rows == rows && r->head.room >= CELLS_MIN &&
                r->head.room <= CELLS_MAX) {
                find_last(r);
                *ret = r;
                return 0;
        }
        fd_closep(&r->fd);
        r->head = (struct head){ .rows = rows, .room = CELLS_MIN };
        r->fd = make_file(path, rows, CELLS_MIN, err);
        if (r->fd < 0) {
                vitals_ring_close(r);
                return -1;
        }
        *ret = r;
        return 0;
}

void vitals_ring_close(struct vitals_ring *r)
{
        if (r == NULL)
                return;
        fd_closep(&r->fd);
        free(r->path);
        free(r);
}

int vitals_ring_add(
        struct vitals_ring *r, struct vitals_row *row, struct vitals_cell *cells, struct error *err)
{
        off_t at;

        if (row->cells > r->head.room && grow(r, row->cells, err) < 0)
                return -1;
        row->number = r->last + 1;
        for (uint32_t i = 0; i < row->cells; i++)
                if (cells[i].key != 0)
                        cells[i].key = stamp(cells[i].key, row->number);
        at = row_at(&r->head, row->number);
        if (write_all(r->fd, cells, row->cells * sizeof *cells, at + (off_t) sizeof *row) < 0 ||
                write_all(r->fd, row, sizeof *row, at) < 0)
                return error_sys(err, errno, "write %s", r->path);
        r->last = row->number;
        return 0;
}

void vitals_ring_each(struct vitals_ring *r, size_t slot, uint32_t key,
        void (*each)(void *data, const struct vitals_row *row, const struct vitals_cell *cell),
        void *data)
{
        uint64_t first = r->last - MIN(r->last, r->head.rows - 1);

        for (uint64_t n = MAX(first, (uint64_t) 1); n <= r->last; n++) {
                struct vitals_row row;
                struct vitals_cell cell;
                off_t at = row_at(&r->head, n) +
                           (off_t) (sizeof row + slot * sizeof(struct vitals_cell));

                if (!read_row(r, n, &row))
                        continue;
                if (key == 0)
                        each(data, &row, NULL);
                else if (slot < row.cells &&
                         pread(r->fd, &cell, sizeof cell, at) == (ssize_t) sizeof cell &&
                         cell.key == stamp(key, n))
                        each(data, &row, &cell);
        }
}
