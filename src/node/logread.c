/* SPDX-License-Identifier: BSD-3-Clause */
/* Log reader: the reading side of a log stream, for `reeve logs`.
 *
 * It shares nothing with the writer but the files: no lock, no message. A place is a byte number;
 * the index says which file it is in. The rules that make this safe while files are renamed
 * underneath:
 *
 *  - A file is opened first and looked up in the index (by inode) second. Its record was written
 *    before it had a name, and while we hold it open no other file can get its inode number.
 *  - Files are looked for from PATH upwards, the way they move: a rename cannot hide one from us.
 *  - An open file is read to its end even after it is removed. At its end, the next file is the
 *    newest one that begins at or before our place; if that is the same file, there is nothing yet.
 *
 * Bytes removed before we came to them are a gap that is said, not a jump. The index is kept in
 * memory as far as it was read, and read again from the start when the writer has shortened it. */
#include "node/logread.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/file.h"
#include "base/mem.h"
#include "node/logfile.h"
#include "node/logindex.h"

#define SCAN_TRIES 8
#define BACK_BLOCK (64u * 1024)
#define LINE_BACK  (64u * 1024) /* how far the beginning of a line is looked for */

/* An open file of the stream. */
struct place {
        int fd;
        uint64_t inode, first, length;
};

struct places {
        struct place *v; /* newest first */
        size_t count;
};

struct logread {
        char *path;
        int index_fd;
        struct buffer index;         /* its records so far */
        size_t cursor;               /* the first record that is of a later byte than `next` */
        struct logindex_record time; /* the newest time record before it */
        struct place file;           /* fd -1: none is open */
        uint64_t next;
        uint64_t gap_byte, gap_told; /* of a gap at gap_byte, gap_told bytes were reported */
        bool only_run, ended;
        bool within_line; /* the last byte given was none that ends a line */
        uint32_t run;
        usec_t until; /* 0: for ever */
};

/* Index */

static const struct logindex_record *records(const struct logread *r, size_t *ret_count)
{
        *ret_count = r->index.len / sizeof(struct logindex_record);
        return (const void *) r->index.data;
}

static void index_forget(struct logread *r)
{
        fd_closep(&r->index_fd);
        r->index_fd = -1;
        buffer_reset(&r->index);
        r->cursor = 0;
}

static int index_reopen(struct logread *r, struct error *err)
{
        AUTO(mem_freep) char *path = mem_printf("%s.index", r->path);

        index_forget(r);
        r->index_fd = open(path, O_RDONLY | O_CLOEXEC);
        if (r->index_fd < 0 && errno != ENOENT)
                return error_sys(err, errno, "open %s", path);
        return 0;
}

/* What came to the index at @from: what does not count is made a record of no type. */
static void skip_unsound(struct logread *r, size_t from)
{
        struct logindex_record *v = (struct logindex_record *) (void *) r->index.data;

        for (size_t i = from / sizeof *v; i < r->index.len / sizeof *v; i++)
                if (!logindex_is_sound(&v[i]))
                        v[i].type = 0;
}

/* Reads what was appended to the index, or all of it if it is another one now. */
static int index_refresh(struct logread *r, struct error *err)
{
        struct stat st;

        if ((r->index_fd < 0 || fstat(r->index_fd, &st) < 0 || st.st_nlink == 0) &&
                index_reopen(r, err) < 0)
                return -1;
        while (r->index_fd >= 0) {
                size_t had = r->index.len, size = 128 * sizeof(struct logindex_record);
                ssize_t n = pread(r->index_fd, buffer_reserve(&r->index, size), size, (off_t) had);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return error_sys(err, errno, "read %s.index", r->path);
                buffer_commit(&r->index, (size_t) logindex_whole((uint64_t) n));
                skip_unsound(r, had);
                if ((size_t) n < size)
                        break;
        }
        return 0;
}

static bool is_mark(const struct logindex_record *record)
{
        return record->type == LOGINDEX_TIME || record->type == LOGINDEX_GAP;
}

/* Moves the cursor behind the records of `next`. */
static void cursor_advance(struct logread *r)
{
        size_t count;
        const struct logindex_record *v = records(r, &count);

        for (; r->cursor < count && (!is_mark(&v[r->cursor]) || v[r->cursor].byte <= r->next);
                r->cursor++)
                if (v[r->cursor].type == LOGINDEX_TIME)
                        r->time = v[r->cursor];
}

/* The bytes from `next` on that have the same time record and no gap between them. */
static uint64_t cursor_room(const struct logread *r)
{
        size_t count;
        const struct logindex_record *v = records(r, &count);

        return r->cursor < count ? v[r->cursor].byte - r->next : UINT64_MAX;
}

/* Files */

static void places_done(struct places *places)
{
        for (size_t i = 0; i < places->count; i++)
                fd_closep(&places->v[i].fd);
        free(take_ptr(places->v));
        places->count = 0;
}

static bool places_have(const struct places *places, uint64_t inode)
{
        for (size_t i = 0; i < places->count; i++)
                if (places->v[i].inode == inode)
                        return true;
        return false;
}

/* Opens file @number and adds it, if it is there and not yet among them. */
static int places_add(
        struct places *places, const struct logread *r, uint32_t number, struct error *err)
{
        AUTO(fd_closep) int fd = -1;
        char name[PATH_MAX];
        struct stat st;

        if (!logfile_name(name, sizeof name, r->path, number))
                return error_sys(err, ENAMETOOLONG, "%s", r->path);
        fd = open(name, O_RDONLY | O_CLOEXEC);
        if (fd < 0 && errno == ENOENT)
                return 0;
        if (fd < 0 || fstat(fd, &st) < 0)
                return error_sys(err, errno, "open %s", name);
        if (!S_ISREG(st.st_mode) || places_have(places, st.st_ino))
                return 0;
        places->v = mem_resize(places->v, places->count + 1, sizeof *places->v);
        places->v[places->count++] = (struct place){ .fd = take_fd(fd), .inode = st.st_ino };
        return 0;
}

/* Looks the open files up in the index and drops those that are not in it. */
static int places_number(struct places *places, struct logread *r, struct error *err)
{
        const struct logindex_record *v;
        size_t count, kept = 0;

        if (index_refresh(r, err) < 0)
                return -1;
        v = records(r, &count);
        for (size_t i = 0; i < places->count; i++) {
                struct place place = places->v[i];
                const struct logindex_record *file = logindex_file(v, count, place.inode);
                struct stat st;

                if (file == NULL || fstat(place.fd, &st) < 0) {
                        close(place.fd);
                        continue;
                }
                place.first = file->byte;
                place.length = (uint64_t) st.st_size;
                places->v[kept++] = place;
        }
        places->count = kept;
        return 0;
}

/* Opens all files of the stream, newest first. */
static int places_open(struct places *ret, struct logread *r, struct error *err)
{
        size_t count;
        AUTO(mem_freep) uint32_t *numbers = logfile_numbers(r->path, &count);
        AUTO(places_done) struct places places = { 0 };

        for (size_t i = 0; i <= count; i++)
                if (places_add(&places, r, i == 0 ? 0 : numbers[i - 1], err) < 0)
                        return -1;
        if (count > 0 && places_add(&places, r, numbers[count - 1] + 1, err) < 0)
                return -1;
        if (count == 0 && places_add(&places, r, 1, err) < 0)
                return -1;
        if (places_number(&places, r, err) < 0)
                return -1;
        *ret = places;
        places = (struct places){ 0 };
        return 0;
}

static uint64_t places_end(const struct places *places)
{
        return places->count == 0 ? 0 : places->v[0].first + places->v[0].length;
}

/* The newest file that begins at or before @byte; NULL if all begin later. */
static struct place *places_find(const struct places *places, uint64_t byte)
{
        for (size_t i = 0; i < places->count; i++)
                if (places->v[i].first <= byte)
                        return &places->v[i];
        return NULL;
}

/* Reading */

static ssize_t place_read(const struct place *place, uint64_t byte, void *buf, size_t size)
{
        ssize_t n;

        if (place->fd < 0 || byte < place->first)
                return 0;
        do
                n = pread(place->fd, buf, size, (off_t) (byte - place->first));
        while (n < 0 && errno == EINTR);
        return n;
}

static void reader_take_place(struct logread *r, struct place *place)
{
        fd_closep(&r->file.fd);
        r->file = *place;
        place->fd = -1;
}

static bool still_current(const struct logread *r)
{
        struct stat st;

        return r->file.fd >= 0 && stat(r->path, &st) == 0 && st.st_ino == r->file.inode &&
               r->next <= r->file.first + (uint64_t) st.st_size;
}

/* Finds the file that our place is in. @ret_oldest is the oldest byte there is if that is after our
 * place, else our place. */
static int reader_locate(struct logread *r, uint64_t *ret_oldest, struct error *err)
{
        uint64_t seen = UINT64_MAX;

        *ret_oldest = r->next;
        for (int i = 0; i < SCAN_TRIES; i++) {
                AUTO(places_done) struct places places = { 0 };
                struct place *found;

                if (places_open(&places, r, err) < 0)
                        return -1;
                found = places_find(&places, r->next);
                if (found != NULL) {
                        reader_take_place(r, found);
                        return 0;
                }
                if (places.count == 0)
                        return 0;
                *ret_oldest = places.v[places.count - 1].first;
                if (*ret_oldest == seen) /* twice the same: it is not a rename in progress */
                        return 0;
                seen = *ret_oldest;
        }
        return 0;
}

/* Reports the bytes thrown away before `next`, unless they were reported. The writer adds to the
 * newest gap record as long as it lasts, so it is read again. */
static bool report_drop(struct logread *r, struct logread_chunk *ret)
{
        size_t count;
        const struct logindex_record *v = records(r, &count);
        uint64_t total = 0, told = r->gap_byte == r->next ? r->gap_told : 0;

        for (size_t i = r->cursor; i-- > 0 && (!is_mark(&v[i]) || v[i].byte == r->next);) {
                struct logindex_record now;

                if (v[i].type == LOGINDEX_GAP &&
                        pread(r->index_fd, &now, sizeof now, (off_t) (i * sizeof now)) ==
                                (ssize_t) sizeof now)
                        total += now.value;
        }
        if (total <= told)
                return false;
        r->gap_byte = r->next;
        r->gap_told = total;
        ret->gap = total - told;
        ret->why = LOGREAD_GAP_DROPPED;
        return true;
}

/* Reads at our place, from the next file if the open one has nothing more. @ret_oldest as in
 * reader_locate(). */
static ssize_t read_bytes(
        struct logread *r, void *buf, size_t size, uint64_t *ret_oldest, struct error *err)
{
        ssize_t n = place_read(&r->file, r->next, buf, size);

        *ret_oldest = r->next;
        if (n == 0 && !still_current(r)) {
                if (reader_locate(r, ret_oldest, err) < 0)
                        return -1;
                n = place_read(&r->file, r->next, buf, size);
        }
        return n < 0 ? error_sys(err, errno, "read %s", r->path) : n;
}

/* The bytes first, the index second: what the index says of bytes is there before they are. Of
 * bytes before a record that is known already nothing more will be said. */
static int read_chunk(
        struct logread *r, void *buf, size_t size, struct logread_chunk *ret, struct error *err)
{
        uint64_t oldest, known;
        ssize_t n;

        cursor_advance(r);
        known = cursor_room(r);
        size = (size_t) MIN((uint64_t) MIN(size, (size_t) SSIZE_MAX), known);
        n = read_bytes(r, buf, size, &oldest, err);
        if (n < 0 || ((n == 0 || known == UINT64_MAX) && index_refresh(r, err) < 0))
                return -1;
        cursor_advance(r);
        *ret = (struct logread_chunk){ .byte = r->next };
        if (report_drop(r, ret)) {
                n = 0;
        } else if (n == 0 && oldest > r->next) {
                ret->gap = oldest - r->next;
                ret->why = LOGREAD_GAP_ROTATED;
                r->next = ret->byte = oldest;
                cursor_advance(r);
        }
        ret->len = (size_t) MIN((uint64_t) n, cursor_room(r));
        ret->run = r->time.run;
        ret->wall = r->time.wall;
        return ret->len > 0 || ret->gap > 0;
}

/* What came after the end of the time asked for is left out, but for the rest of a line. */
static void cut_until(struct logread *r, const char *buf, struct logread_chunk *chunk)
{
        const char *end;

        if (r->until == 0 || chunk->wall < r->until)
                return;
        end = chunk->len > 0 && r->within_line ? memchr(buf, '\n', chunk->len) : NULL;
        if (end == NULL && r->within_line && chunk->len > 0)
                return;
        r->ended = true;
        chunk->gap = 0;
        chunk->len = end == NULL ? 0 : (size_t) (end - buf) + 1;
}

int logread_next(struct logread *reader, void *buf, size_t size, struct logread_chunk *ret,
        struct error *err)
{
        struct logread_chunk chunk;
        int r;

        if (reader->ended)
                return 0;
        r = read_chunk(reader, buf, size, &chunk, err);
        if (r <= 0)
                return r;
        if (reader->only_run && chunk.run != reader->run) {
                reader->ended = true;
                return 0;
        }
        cut_until(reader, buf, &chunk);
        if (chunk.len == 0 && chunk.gap == 0)
                return 0;
        if (chunk.len > 0)
                reader->within_line = ((const char *) buf)[chunk.len - 1] != '\n';
        reader->next += chunk.len;
        *ret = chunk;
        return 1;
}

/* Where to begin */

/* The byte after the @lines-th line end before @end, not going back behind @limit. */
static uint64_t back_lines(
        const struct places *places, uint64_t end, uint64_t lines, uint64_t limit)
{
        AUTO(mem_freep) char *block = mem_alloc(BACK_BLOCK);
        uint64_t at = end;

        while (at > limit) {
                const struct place *place = places_find(places, at - 1);
                uint64_t from;
                ssize_t n;

                if (place == NULL)
                        return at;
                from = MAX(MAX(place->first, limit), at > BACK_BLOCK ? at - BACK_BLOCK : 0);
                n = place_read(place, from, block, (size_t) (at - from));
                if (n < 0 || from + (uint64_t) n < at)
                        return at; /* cut short while we look */
                while (n-- > 0)
                        if (block[n] == '\n' && from + (uint64_t) n + 1 != end && --lines == 0)
                                return from + (uint64_t) n + 1;
                at = from;
        }
        return at;
}

static uint64_t start_of_line(const struct places *places, uint64_t byte)
{
        uint64_t limit = byte > LINE_BACK ? byte - LINE_BACK : 0;
        char before;
        const struct place *place = byte == 0 ? NULL : places_find(places, byte - 1);

        if (place == NULL || place_read(place, byte - 1, &before, 1) != 1 || before == '\n')
                return byte;
        return back_lines(places, byte, 1, limit);
}

/* The last moment at which bytes behind time record @i arrived: the next record was made with later
 * ones. */
static usec_t mark_ends(const struct logindex_record *v, size_t count, size_t i)
{
        usec_t longest = v[i].value == 0 ? LOGFILE_MARK_LONGEST : v[i].value;
        usec_t end = v[i].wall + MIN(longest, LOGFILE_MARK_LONGEST);

        for (size_t k = i + 1; k < count; k++)
                if (v[k].type == LOGINDEX_TIME)
                        return v[k].wall >= v[i].wall ? MIN(end, v[k].wall) : end;
        return end;
}

static uint64_t start_since(const struct logread *r, const struct places *places, usec_t since)
{
        size_t count;
        const struct logindex_record *v = records(r, &count);

        for (size_t i = 0; i < count; i++)
                if (v[i].type == LOGINDEX_TIME && mark_ends(v, count, i) > since)
                        return start_of_line(places, v[i].byte);
        return places_end(places);
}

/* Where the first record behind @from is that is of @until or later; else @end. */
static uint64_t end_until(const struct logread *r, uint64_t from, usec_t until, uint64_t end)
{
        size_t count;
        const struct logindex_record *v = records(r, &count);

        for (size_t i = 0; i < count; i++)
                if (v[i].type == LOGINDEX_TIME && v[i].byte >= from && v[i].wall >= until)
                        return MIN(end, v[i].byte);
        return end;
}

static uint64_t start_run(struct logread *r, const struct places *places, uint32_t run)
{
        size_t count;
        const struct logindex_record *v = records(r, &count);

        r->only_run = true;
        r->run = run;
        for (size_t i = 0; i < count; i++)
                if (v[i].type == LOGINDEX_TIME && v[i].run == run)
                        return v[i].byte;
        for (size_t i = 0; i < count; i++)
                r->ended = r->ended || (v[i].type == LOGINDEX_TIME && v[i].run > run);
        return places_end(places);
}

/* Where the run that is read alone ends, as far as it has written; else @end. */
static uint64_t end_run(const struct logread *r, uint64_t end)
{
        size_t count;
        const struct logindex_record *v = records(r, &count);

        for (size_t i = 0; i < count; i++)
                if (v[i].type == LOGINDEX_TIME && v[i].run > r->run)
                        return MIN(end, v[i].byte);
        return end;
}

static uint64_t start_byte(
        struct logread *r, const struct places *places, const struct logread_from *from)
{
        usec_t since = from->start == LOGREAD_SINCE ? from->value : from->since;
        uint32_t run = from->start == LOGREAD_RUN ? (uint32_t) from->value : from->run;
        uint64_t first = 0, end = places_end(places);

        if (run != 0)
                first = start_run(r, places, run);
        if (since != 0)
                first = MAX(first, start_since(r, places, since));
        if (from->start == LOGREAD_BYTE)
                first = MAX(first, MIN(from->value, (uint64_t) INT64_MAX / 2)); /* is an offset */
        if (from->start != LOGREAD_LINES)
                return first;
        if (run != 0)
                end = end_run(r, end);
        if (from->until != 0)
                end = end_until(r, first, from->until, end);
        return from->value > 0 && end > first ? back_lines(places, end, from->value, first) : end;
}

static int reader_start(struct logread *r, struct logread_from from, struct error *err)
{
        AUTO(places_done) struct places places = { 0 };
        struct place *place;

        if (places_open(&places, r, err) < 0)
                return -1;
        r->until = from.until;
        r->next = start_byte(r, &places, &from);
        place = places_find(&places, r->next);
        if (place != NULL)
                reader_take_place(r, place);
        return 0;
}

int logread_open(const char *directory, const char *name, struct logread_from from,
        struct logread **ret, struct error *err)
{
        struct logread *r = mem_alloc(sizeof *r);

        *r = (struct logread){ .index_fd = -1, .file = { .fd = -1 }, .gap_byte = UINT64_MAX };
        r->path = mem_printf("%s/%s", directory, name);
        if (reader_start(r, from, err) < 0) {
                logread_free(r);
                return -1;
        }
        *ret = r;
        return 0;
}

void logread_free(struct logread *reader)
{
        if (reader == NULL)
                return;
        fd_closep(&reader->file.fd);
        fd_closep(&reader->index_fd);
        buffer_done(&reader->index);
        free(reader->path);
        free(reader);
}

uint64_t logread_position(const struct logread *reader)
{
        return reader->next;
}

bool logread_ended(const struct logread *reader)
{
        return reader->ended;
}
