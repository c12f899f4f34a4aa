/* SPDX-License-Identifier: BSD-3-Clause */
/* Log file: the writing side of one log stream.
 *
 * Owned by a stream of node/capture, or for a moment by its recovery. Loop thread only. There is
 * one writer per stream in the world; readers (node/logread, people with cat) come and go unseen.
 *
 * Invariants, true at every instant a SIGKILL may choose:
 *  - Every file of the stream that has a name has a file record in the index: it is created as
 *    PATH.new, gets its record, then its name.
 *  - The number of a byte is the first number of its file plus its offset. The size of the newest
 *    file therefore says where the stream goes on; nothing else has to be stored.
 *  - A rename never meets an existing name: room is made from the far end of the chain. A death in
 *    the middle leaves a hole in the numbers, and the next rotation fills that hole and moves
 *    nothing beyond it.
 *
 * What others do to the files (truncate, remove, replace) cannot be kept from happening; it costs
 * the bytes concerned, and the numbers go on.
 *
 * Writing never appends by O_APPEND, which splice(2) refuses, but at the known end. */
#include "node/logfile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "node/logindex.h"

#define FILE_MODE     0640
#define FOLDER_MODE   0755
#define MARK_INTERVAL (100 * USEC_MSEC)
#define MARK_FEW      64u /* bytes that are not worth a record within LOGFILE_MARK_LONGEST */
#define INDEX_SMALL   (64u * 1024) /* behind records in the beginning of an index they are */
#define MARK_BYTES    (256u * 1024)
#define PRUNE_MIN     (16u * 1024)
#define FILE_RECORD_GAP                                                                            \
        (64u * 1024) /* a file record at least this often: loading reads no more                   \
                      */

void logfile_init(struct logfile *lf, const char *path, uint64_t max_size, uint32_t max_files)
{
        *lf = (struct logfile){
                .path = mem_strdup(path),
                .fd = -1,
                .index_fd = -1,
                .max_size = max_size,
                .max_files = max_files,
        };
}

static void close_fd(int *fd)
{
        fd_closep(fd);
        *fd = -1;
}

void logfile_close(struct logfile *lf)
{
        close_fd(&lf->fd);
        close_fd(&lf->index_fd);
}

void logfile_done(struct logfile *lf)
{
        if (lf->path == NULL)
                return;
        logfile_close(lf);
        free(take_ptr(lf->path));
}

uint64_t logfile_next(const struct logfile *lf)
{
        return lf->first + lf->length;
}

/* Names */

bool logfile_name(char *ret, size_t size, const char *path, uint32_t number)
{
        int n = number == 0 ? snprintf(ret, size, "%s", path)
                            : snprintf(ret, size, "%s.%u", path, number);

        return n >= 0 && (size_t) n < size;
}

static int compare_numbers(const void *a, const void *b)
{
        uint32_t x = *(const uint32_t *) a, y = *(const uint32_t *) b;

        return x < y ? -1 : x > y;
}

/* The number of old file @entry of the stream called @name; 0 if it is none. */
static uint32_t number_of(const char *entry, const char *name)
{
        size_t len = strlen(name);
        int64_t number;

        if (strncmp(entry, name, len) != 0 || entry[len] != '.' || entry[len + 1] == '0' ||
                !text_parse_int(entry + len + 1, 1, 999999, &number))
                return 0;
        return (uint32_t) number;
}

uint32_t *logfile_numbers(const char *path, size_t *ret_count)
{
        AUTO(mem_freep) char *copy = mem_strdup(path);
        char *slash = strrchr(copy, '/');
        const char *name = slash == NULL ? copy : slash + 1;
        uint32_t *numbers = NULL;
        size_t count = 0;
        DIR *dir;

        if (slash != NULL)
                *slash = '\0';
        dir = opendir(slash == NULL ? "." : slash == copy ? "/" : copy);
        *ret_count = 0;
        if (dir == NULL)
                return NULL;
        for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
                uint32_t number = number_of(entry->d_name, name);

                if (number == 0)
                        continue;
                numbers = mem_resize(numbers, count + 1, sizeof *numbers);
                numbers[count++] = number;
        }
        closedir(dir);
        if (count > 1)
                qsort(numbers, count, sizeof *numbers, compare_numbers);
        *ret_count = count;
        return numbers;
}

static bool stat_number(const char *path, uint32_t number, struct stat *ret)
{
        char name[PATH_MAX];

        return logfile_name(name, sizeof name, path, number) && stat(name, ret) == 0 &&
               S_ISREG(ret->st_mode);
}

/* Index */

static int index_open(struct logfile *lf, int flags, struct error *err)
{
        AUTO(mem_freep) char *path = mem_printf("%s.index", lf->path);
        AUTO(fd_closep) int fd = open(path, O_RDWR | O_CLOEXEC | flags, FILE_MODE);
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0)
                return error_sys(err, errno, "open %s", path);
        lf->index_length = logindex_whole((uint64_t) st.st_size);
        lf->index_fd = take_fd(fd);
        return 0;
}

static int index_append(struct logfile *lf, const struct logindex_record *record, struct error *err)
{
        if (lf->index_fd < 0 && index_open(lf, O_CREAT, err) < 0)
                return -1;
        if (logindex_write(lf->index_fd, lf->index_length, record, err) < 0)
                return error_wrap(err, "%s", lf->path);
        lf->index_length += sizeof *record;
        return 0;
}

static int index_append_file(struct logfile *lf, uint64_t inode, uint64_t first, struct error *err)
{
        struct logindex_record record = {
                .type = LOGINDEX_FILE, .byte = first, .value = inode, .wall = time_wall()
        };

        if (index_append(lf, &record, err) < 0)
                return -1;
        lf->file_at = lf->index_length - sizeof record;
        return 0;
}

/* Loading */

/* The file that the stream's last bytes are in: PATH, or the newest old one when a rotation was cut
 * short. False if there is none. */
static bool newest_file(const struct logfile *lf, struct stat *ret, bool *ret_current)
{
        AUTO(mem_freep) uint32_t *numbers = NULL;
        size_t count;

        *ret_current = stat_number(lf->path, 0, ret);
        if (*ret_current)
                return true;
        numbers = logfile_numbers(lf->path, &count);
        for (size_t i = 0; i < count; i++)
                if (stat_number(lf->path, numbers[i], ret))
                        return true;
        return false;
}

static void load_marks(struct logfile *lf, const struct logindex_tail *tail)
{
        lf->file_at = tail->file_at;
        if (!tail->time_known)
                return;
        lf->mark_run = tail->time.run;
        lf->mark_byte = tail->time.byte;
        lf->mark_wall = tail->time.wall;
        lf->mark_exact = tail->time.value == MARK_INTERVAL;
}

/* Numbers never go back behind what the index has seen: if the newest file is too short for that,
 * someone has cut it, or the machine has lost power. */
static void load_place(struct logfile *lf, const struct logindex_tail *tail, uint64_t size)
{
        uint64_t next = tail->file_known ? tail->file_first + size : tail->end + size;

        if (next < tail->end)
                next = tail->end;
        if (lf->inode == 0) {
                lf->first = next;
                lf->length = 0;
                return;
        }
        lf->length = size;
        lf->first = next - size;
        lf->index_broken = !tail->file_known || lf->first != tail->file_first;
}

int logfile_load(struct logfile *lf, struct error *err)
{
        struct logindex_tail tail = { 0 };
        struct error opened = ERROR_INIT;
        struct stat st = { 0 };
        bool current = false;

        if (lf->loaded)
                return 0;
        if (!newest_file(lf, &st, &current))
                st = (struct stat){ 0 };
        if (lf->index_fd < 0 && index_open(lf, 0, &opened) < 0 && opened.sys_errno != ENOENT)
                return error_set(err, opened.code, "%s", opened.message);
        if (lf->index_fd >= 0 &&
                logindex_tail(lf->index_fd, lf->index_length, st.st_ino, &tail, err) < 0)
                return error_wrap(err, "%s", lf->path);
        lf->inode = current ? st.st_ino : 0;
        lf->line = LOGFILE_LINE_UNKNOWN;
        load_marks(lf, &tail);
        load_place(lf, &tail, (uint64_t) st.st_size);
        lf->prune_at = PRUNE_MIN;
        lf->loaded = true;
        return 0;
}

/* Opening */

/* The open file is what is known of it, or becomes so: cut shorter, its bytes keep the numbers up
 * to the next one; longer, somebody's bytes were added; another file, its bytes come next. */
static void adopt(struct logfile *lf, const struct stat *st)
{
        uint64_t size = (uint64_t) st->st_size, next = logfile_next(lf);

        if (st->st_ino == lf->inode && size == lf->length)
                return;
        lf->line = LOGFILE_LINE_UNKNOWN;
        if (st->st_ino != lf->inode) {
                lf->first = next;
                lf->index_broken = true;
        } else if (size < lf->length) {
                lf->first = next - size;
                lf->index_broken = true;
        }
        lf->inode = st->st_ino;
        lf->length = size;
}

/* True if PATH is still the open file, as far as its link count tells. */
static bool still_there(struct logfile *lf)
{
        struct stat st;

        if (fstat(lf->fd, &st) < 0 || st.st_nlink == 0) {
                close_fd(&lf->fd);
                return false;
        }
        adopt(lf, &st);
        return true;
}

static void forget_file(struct logfile *lf)
{
        lf->first = logfile_next(lf);
        lf->length = 0;
        lf->inode = 0;
        lf->index_broken = false;
        lf->line = LOGFILE_LINE_BEGIN;
}

static int open_existing(struct logfile *lf, struct error *err)
{
        AUTO(fd_closep) int fd = open(lf->path, O_RDWR | O_CLOEXEC);
        struct stat st;

        if (fd < 0 && errno == ENOENT) {
                forget_file(lf);
                return 0;
        }
        if (fd < 0 || fstat(fd, &st) < 0)
                return error_sys(err, errno, "open %s", lf->path);
        adopt(lf, &st);
        lf->fd = take_fd(fd);
        return 0;
}

/* The task's folder is made with its first file: a silent task costs none. */
static int open_new(const char *path)
{
        int flags = O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, fd = open(path, flags, FILE_MODE);
        AUTO(mem_freep) char *folder = NULL;

        if (fd >= 0 || errno != ENOENT)
                return fd;
        folder = mem_strdup(path);
        *strrchr(folder, '/') = '\0';
        if (mkdir(folder, FOLDER_MODE) < 0 && errno != EEXIST)
                return -1;
        return open(path, flags, FILE_MODE);
}

/* Puts a new, empty file at PATH, with its record in the index first. */
static int create_file(struct logfile *lf, struct error *err)
{
        AUTO(mem_freep) char *new_path = mem_printf("%s.new", lf->path);
        AUTO(fd_closep) int fd = open_new(new_path);
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0)
                return error_sys(err, errno, "create %s", new_path);
        if (index_append_file(lf, st.st_ino, logfile_next(lf), err) < 0) {
                unlink(new_path);
                return -1;
        }
        if (rename(new_path, lf->path) < 0)
                return error_sys(err, errno, "rename %s to %s", new_path, lf->path);
        forget_file(lf);
        lf->inode = st.st_ino;
        lf->fd = take_fd(fd);
        return 0;
}

int logfile_open(struct logfile *lf, struct error *err)
{
        if (logfile_load(lf, err) < 0)
                return -1;
        if (lf->fd < 0 || !still_there(lf)) {
                if (open_existing(lf, err) < 0)
                        return -1;
                if (lf->inode == 0 && create_file(lf, err) < 0)
                        return -1;
        }
        if (!lf->index_broken)
                return 0;
        if (index_append_file(lf, lf->inode, lf->first, err) < 0)
                return -1;
        lf->index_broken = false;
        return 0;
}

/* Where to cut */

static bool at_line_begin(struct logfile *lf)
{
        char last = '\n';

        if (lf->line == LOGFILE_LINE_UNKNOWN) {
                if (lf->length > 0 && pread(lf->fd, &last, 1, (off_t) (lf->length - 1)) != 1)
                        last = '\n';
                lf->line = last == '\n' ? LOGFILE_LINE_BEGIN : LOGFILE_LINE_WITHIN;
        }
        return lf->line == LOGFILE_LINE_BEGIN;
}

/* The file is at its size within a line, or a line is longer than a whole file: to the end of that
 * line, but not beyond twice the size. */
static size_t plan_long_line(const struct logfile *lf, const char *data, size_t len)
{
        uint64_t room = lf->max_size <= UINT64_MAX / 2 ? 2 * lf->max_size : UINT64_MAX;
        const char *end;

        room = room > lf->length ? room - lf->length : 0;
        len = (size_t) MIN((uint64_t) len, room);
        end = memchr(data, '\n', len);
        return end == NULL ? len : (size_t) (end - data) + 1;
}

size_t logfile_plan(struct logfile *lf, const void *data, size_t len)
{
        uint64_t room = lf->max_size > lf->length ? lf->max_size - lf->length : 0;
        const char *end;

        if (lf->max_size == 0 || len <= room)
                return len;
        if (data == NULL)
                return 0;
        end = room == 0 ? NULL : memrchr(data, '\n', (size_t) room);
        if (end != NULL)
                return (size_t) (end - (const char *) data) + 1;
        if (lf->length > 0 && at_line_begin(lf))
                return 0;
        return plan_long_line(lf, data, len);
}

/* Writing */

int logfile_write(
        struct logfile *lf, const void *data, size_t len, size_t *ret_written, struct error *err)
{
        const char *bytes = data;
        size_t done = 0;
        int r = 0;

        while (done < len && r == 0) {
                ssize_t n = pwrite(lf->fd, bytes + done, len - done, (off_t) (lf->length + done));

                if (n > 0)
                        done += (size_t) n;
                else if (n == 0)
                        r = error_sys(err, ENOSPC, "write %s", lf->path);
                else if (errno != EINTR)
                        r = error_sys(err, errno, "write %s", lf->path);
        }
        if (done > 0) {
                lf->line = bytes[done - 1] == '\n' ? LOGFILE_LINE_BEGIN : LOGFILE_LINE_WITHIN;
                lf->length += done;
                lf->gap_length = 0;
        }
        *ret_written = done;
        return r;
}

int logfile_splice(struct logfile *lf, int fifo, size_t len, size_t *ret_moved, struct error *err)
{
        size_t done = 0;
        int r = 0;

        while (done < len && r == 0) {
                off_t at = (off_t) (lf->length + done);
                ssize_t n = splice(fifo, NULL, lf->fd, &at, len - done, SPLICE_F_NONBLOCK);

                if (n > 0)
                        done += (size_t) n;
                else if (n == 0 || errno == EAGAIN)
                        break;
                else if (errno == EINVAL)
                        r = error_set(err, ERR_INVALID, "splice to %s", lf->path);
                else if (errno != EINTR)
                        r = error_sys(err, errno, "write %s", lf->path);
        }
        if (done > 0) {
                lf->line = LOGFILE_LINE_UNKNOWN;
                lf->length += done;
                lf->gap_length = 0;
        }
        *ret_moved = done;
        return r;
}

/* Marks and gaps */

/* Whether a time record is worth its 32 bytes when @more were written since the last one. */
static bool mark_is_due(const struct logfile *lf, uint64_t more, usec_t wall)
{
        usec_t passed = wall - lf->mark_wall;

        if (wall < lf->mark_wall || passed >= LOGFILE_MARK_LONGEST || more >= MARK_BYTES)
                return true;
        return passed >= MARK_INTERVAL && (more >= MARK_FEW || lf->mark_exact);
}

int logfile_mark(struct logfile *lf, uint32_t run, usec_t wall, struct error *err)
{
        uint64_t next = logfile_next(lf);
        struct logindex_record record = {
                .type = LOGINDEX_TIME, .run = run, .byte = next, .wall = wall
        };
        bool exact = lf->index_length < INDEX_SMALL;
        bool new_run = lf->mark_wall == 0 || lf->mark_run != run;

        if (!new_run && !mark_is_due(lf, next - lf->mark_byte, wall))
                return 0;
        if (lf->index_length - lf->file_at > FILE_RECORD_GAP)
                (void) index_append_file(lf, lf->inode, lf->first, NULL);
        record.value = exact ? MARK_INTERVAL : LOGFILE_MARK_LONGEST;
        if (index_append(lf, &record, err) < 0)
                return new_run ? -1 : 0;
        lf->mark_exact = exact;
        lf->mark_run = run;
        lf->mark_byte = next;
        lf->mark_wall = wall;
        return 0;
}

int logfile_gap(struct logfile *lf, uint64_t lost, usec_t wall, struct error *err)
{
        struct logindex_record record = { .type = LOGINDEX_GAP, .wall = wall };

        if (logfile_load(lf, err) < 0)
                return -1;
        record.run = lf->mark_run;
        record.byte = logfile_next(lf);
        record.value = lf->gap_length + lost;
        if (lf->gap_length == 0) {
                if (index_append(lf, &record, err) < 0)
                        return -1;
                lf->gap_at = lf->index_length - sizeof record;
        } else {
                if (lf->index_fd < 0 && index_open(lf, 0, err) < 0)
                        return -1;
                if (logindex_write(lf->index_fd, lf->gap_at, &record, err) < 0)
                        return error_wrap(err, "%s", lf->path);
        }
        lf->gap_length += lost;
        return 0;
}

size_t logfile_written(const struct logfile *lf, uint64_t inode, uint64_t offset, size_t len)
{
        AUTO(mem_freep) uint32_t *numbers = NULL;
        struct stat st;
        size_t count;
        bool found = stat_number(lf->path, 0, &st) && st.st_ino == inode;

        numbers = found ? NULL : logfile_numbers(lf->path, &count);
        for (size_t i = 0; numbers != NULL && i < count && !found; i++)
                found = stat_number(lf->path, numbers[i], &st) && st.st_ino == inode;
        if (!found || (uint64_t) st.st_size <= offset)
                return 0;
        return (size_t) MIN((uint64_t) len, (uint64_t) st.st_size - offset);
}

/* Rotation */

static int remove_number(const struct logfile *lf, uint32_t number, struct error *err)
{
        char name[PATH_MAX];

        if (!logfile_name(name, sizeof name, lf->path, number))
                return error_sys(err, ENAMETOOLONG, "%s", lf->path);
        if (unlink(name) < 0 && errno != ENOENT)
                return error_sys(err, errno, "remove %s", name);
        return 0;
}

static int shift_number(const struct logfile *lf, uint32_t from, struct error *err)
{
        char old_name[PATH_MAX], new_name[PATH_MAX];

        if (!logfile_name(old_name, sizeof old_name, lf->path, from) ||
                !logfile_name(new_name, sizeof new_name, lf->path, from + 1))
                return error_sys(err, ENAMETOOLONG, "%s", lf->path);
        if (rename(old_name, new_name) < 0 && errno != ENOENT)
                return error_sys(err, errno, "rename %s to %s", old_name, new_name);
        return 0;
}

/* Removes what is too old, so that one more fits, and returns the lowest free number. */
static int make_hole(const struct logfile *lf, uint32_t *ret_hole, struct error *err)
{
        size_t count;
        AUTO(mem_freep) uint32_t *numbers = logfile_numbers(lf->path, &count);
        uint32_t hole = 1;

        for (size_t i = 0; i < count && numbers[i] == hole; i++)
                hole++;
        hole = MIN(hole, lf->max_files);
        for (size_t i = count; i-- > 0;)
                if ((numbers[i] == hole || numbers[i] > lf->max_files) &&
                        remove_number(lf, numbers[i], err) < 0)
                        return -1;
        *ret_hole = hole;
        return 0;
}

/* The first byte number of the oldest file that the index knows. */
static uint64_t oldest_byte(
        const struct logfile *lf, const struct logindex_record *records, size_t n)
{
        size_t count;
        AUTO(mem_freep) uint32_t *numbers = logfile_numbers(lf->path, &count);
        uint64_t oldest = logfile_next(lf);

        for (size_t i = 0; i <= count; i++) {
                const struct logindex_record *file = NULL;
                struct stat st;

                if (stat_number(lf->path, i == 0 ? 0 : numbers[i - 1], &st))
                        file = logindex_file(records, n, st.st_ino);
                if (file != NULL && file->byte < oldest)
                        oldest = file->byte;
        }
        return oldest;
}

static int replace_index(struct logfile *lf, const struct buffer *kept, struct error *err)
{
        AUTO(mem_freep) char *path = mem_printf("%s.index", lf->path);

        if (file_replace(path, kept->data, kept->len, FILE_MODE, false, err) < 0)
                return -1;
        close_fd(&lf->index_fd);
        lf->file_at = 0;
        lf->gap_length = 0;
        return index_open(lf, 0, err);
}

/* Drops the records of removed files when they are more than half. */
static int prune_index(struct logfile *lf, struct error *err)
{
        AUTO(mem_freep) char *path = mem_printf("%s.index", lf->path);
        AUTO(buffer_done) struct buffer all = { 0 }, kept = { 0 };
        const struct logindex_record *records;
        size_t count;

        if (file_read(path, SIZE_MAX / 2, &all, err) < 0)
                return -1;
        records = (const void *) all.data;
        count = (size_t) (lf->index_length / LOGINDEX_RECORD_SIZE);
        count = MIN(count, all.len / sizeof *records);
        logindex_keep(records, count, oldest_byte(lf, records, count), &kept);
        lf->prune_at = MAX((uint64_t) PRUNE_MIN, 2 * (uint64_t) kept.len);
        if (2 * kept.len >= all.len)
                return 0;
        return replace_index(lf, &kept, err);
}

/* Without old files the new one takes the place of the old one in one step. */
static int rotate_names(struct logfile *lf, struct error *err)
{
        uint32_t hole;

        if (lf->max_files == 0) {
                if (make_hole(lf, &hole, err) < 0)
                        return -1;
                return create_file(lf, err);
        }
        if (make_hole(lf, &hole, err) < 0)
                return -1;
        while (hole-- > 0)
                if (shift_number(lf, hole, err) < 0)
                        return -1;
        forget_file(lf);
        return 0;
}

int logfile_rotate(struct logfile *lf, struct error *err)
{
        struct error ignored = ERROR_INIT;

        close_fd(&lf->fd);
        if (rotate_names(lf, err) < 0)
                return -1;
        if (lf->index_length >= lf->prune_at && prune_index(lf, &ignored) < 0)
                log_warning("shorten log index: %s", ignored.message);
        return 0;
}

unsigned logfile_remove_older(const char *path, usec_t wall, uint64_t *bytes)
{
        size_t count;
        AUTO(mem_freep) uint32_t *numbers = logfile_numbers(path, &count);
        unsigned removed = 0;

        while (count-- > 0) { /* the oldest first, up to one that is young */
                char name[PATH_MAX];
                struct stat st;

                if (!stat_number(path, numbers[count], &st))
                        continue;
                if ((usec_t) st.st_mtim.tv_sec * USEC_SEC >= wall)
                        break;
                if (!logfile_name(name, sizeof name, path, numbers[count]) || unlink(name) < 0)
                        break;
                *bytes += (uint64_t) st.st_size;
                removed++;
        }
        return removed;
}
