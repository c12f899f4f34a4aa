/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/buffer.h"
#include "base/error.h"

/* For AUTO(): closes a descriptor that is >= 0. */
void fd_closep(int *fd);

/* Reads a whole regular file of at most @max bytes into @ret (appended). Does not block on what
 * only looks like one: ERR_INVALID for a FIFO, device or directory. ERR_TOO_LARGE for more than
 * @max. */
int file_read(const char *path, size_t max, struct buffer *ret, struct error *err);

/* The same for whatever can be read to its end, such as a pipe (/dev/fd/3); waits for its writer.
 */
int file_read_stream(const char *path, size_t max, struct buffer *ret, struct error *err);

/* Replaces @path in one step (temporary file in the same directory, rename). With @durable the
 * bytes and the name are on disk when it returns. On failure the old file is untouched. */
int file_replace(const char *path, const void *data, size_t len, mode_t mode, bool durable,
        struct error *err);

/* Makes a directory and its missing parents; one that is there already is fine. */
int file_mkdirs(const char *path, mode_t mode, struct error *err);

/* Removes @path and all below it, without following links. A path that is not there is fine. */
int file_remove_tree(const char *path, struct error *err);
