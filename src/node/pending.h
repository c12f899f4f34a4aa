/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* Texts that outlive the process until they are dealt with: a few, small ones, in a mapped file. To
 * put one there costs no system call. */
struct pending;

#define PENDING_TEXT_MAX ((size_t) 4096 - 16)

/* Opens or makes the file @path. What an earlier process has put there is still there. */
int pending_open(const char *path, struct pending **ret, struct error *err);
void pending_close(struct pending *p); /* NULL is fine */

/* Keeps a copy of @len bytes. False if there is no room, or they are too long. */
bool pending_put(struct pending *p, const char *text, size_t len);

/* The text that was put there first; NULL if there is none. Borrowed until it is dropped. */
const char *pending_oldest(const struct pending *p, size_t *ret_len);
void pending_drop_oldest(struct pending *p);
