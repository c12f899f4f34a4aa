/* SPDX-License-Identifier: BSD-3-Clause */
/* Files: whole ones, read and replaced in one call.
 *
 * The daemons read what anybody may have put there, on the thread of their loop: file_read() takes
 * regular files only, since opening a FIFO waits for a writer who may never come. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

void fd_closep(int *fd)
{
        if (*fd >= 0)
                close(*fd);
}

static int read_all(int fd, const char *path, size_t max, struct buffer *ret, struct error *err)
{
        size_t total = 0;

        for (;;) {
                size_t chunk = MIN((size_t) 65536, max + 1 - total);
                ssize_t n = read(fd, buffer_reserve(ret, chunk), chunk);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return error_sys(err, errno, "read %s", path);
                if (n == 0)
                        return 0;
                buffer_commit(ret, (size_t) n);
                total += (size_t) n;
                if (total > max)
                        return error_set(
                                err, ERR_TOO_LARGE, "%s: larger than %zu bytes", path, max);
        }
}

int file_read(const char *path, size_t max, struct buffer *ret, struct error *err)
{
        AUTO(fd_closep) int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        struct stat st;

        if (fd < 0)
                return error_sys(err, errno, "open %s", path);
        if (fstat(fd, &st) < 0)
                return error_sys(err, errno, "look at %s", path);
        if (!S_ISREG(st.st_mode))
                return error_set(err, ERR_INVALID, "%s: not a regular file", path);
        return read_all(fd, path, max, ret, err);
}

int file_read_stream(const char *path, size_t max, struct buffer *ret, struct error *err)
{
        AUTO(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);

        if (fd < 0)
                return error_sys(err, errno, "open %s", path);
        return read_all(fd, path, max, ret, err);
}

static int write_all(int fd, const void *data, size_t len, struct error *err)
{
        const char *p = data;

        while (len > 0) {
                ssize_t n = write(fd, p, len);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return error_sys(err, errno, "write");
                p += n;
                len -= (size_t) n;
        }
        return 0;
}

static int sync_directory_of(const char *path, struct error *err)
{
        AUTO(mem_freep) char *directory = mem_strdup(path);
        char *slash = strrchr(directory, '/');
        AUTO(fd_closep) int fd = -1;

        if (slash == NULL)
                strcpy(directory, "."); /* NOLINT: a path is at least one byte long */
        else
                slash[slash == directory ? 1 : 0] = '\0';
        fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 || fsync(fd) < 0)
                return error_sys(err, errno, "sync directory %s", directory);
        return 0;
}

int file_replace(const char *path, const void *data, size_t len, mode_t mode, bool durable,
        struct error *err)
{
        AUTO(mem_freep) char *temporary = mem_printf("%s.new", path);
        AUTO(fd_closep) int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

        if (fd < 0)
                return error_sys(err, errno, "create %s", temporary);
        if (write_all(fd, data, len, err) < 0) {
                unlink(temporary);
                return error_wrap(err, "write %s", temporary);
        }
        if (durable && fsync(fd) < 0) {
                int e = errno;

                unlink(temporary);
                return error_sys(err, e, "sync %s", temporary);
        }
        if (rename(temporary, path) < 0) {
                int e = errno;

                unlink(temporary);
                return error_sys(err, e, "rename %s to %s", temporary, path);
        }
        return durable ? sync_directory_of(path, err) : 0;
}

static int make_directory(const char *path, mode_t mode, struct error *err)
{
        struct stat st;
        int e;

        if (mkdir(path, mode) == 0)
                return 0;
        e = errno;
        if (e == EEXIST && stat(path, &st) == 0)
                e = S_ISDIR(st.st_mode) ? 0 : ENOTDIR;
        return e == 0 ? 0 : error_sys(err, e, "create directory %s", path);
}

int file_mkdirs(const char *path, mode_t mode, struct error *err)
{
        AUTO(mem_freep) char *partial = mem_strdup(path);

        for (char *p = partial; *p != '\0'; p++) {
                if (*p != '/' || p == partial)
                        continue;
                *p = '\0';
                if (make_directory(partial, mode, err) < 0)
                        return -1;
                *p = '/';
        }
        return make_directory(partial, mode, err);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
        (void) st;
        (void) type;
        (void) ftw;
        return remove(path);
}

int file_remove_tree(const char *path, struct error *err)
{
        if (nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS) < 0 && errno != ENOENT)
                return error_sys(err, errno, "remove %s", path);
        return 0;
}
