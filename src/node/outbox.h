/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buffer.h"
#include "base/error.h"
#include "model/status.h"

/* Events on their way to the server: a file that keeps each until the server has it on disk. See
 * outbox.c. */

struct outbox;

/* Opens or creates @path. Entries numbered beyond @committed belong to a change that was never
 * committed: they are dropped. */
int outbox_open(const char *path, uint64_t committed, struct outbox **ret, struct error *err);
void outbox_close(struct outbox *o); /* NULL is fine */

/* Appends an event and returns its number (from 1, without gaps). ERR_NO_SPACE: nothing was
 * appended. */
int outbox_append(
        struct outbox *o, const struct event *event, uint64_t *ret_seq, struct error *err);

/* How far the outbox goes; outbox_rollback() takes back what was appended since, in the same turn
 * of the loop, for a change that is not made. */
struct outbox_mark {
        off_t end;
        uint64_t last;
};
struct outbox_mark outbox_mark(const struct outbox *o);
void outbox_rollback(struct outbox *o, struct outbox_mark mark);

/* The newest number, acknowledged or not; 0 if there never was one. */
uint64_t outbox_last(const struct outbox *o);

/* Everything up to @seq is durable elsewhere. */
void outbox_ack(struct outbox *o, uint64_t seq);
bool outbox_empty(const struct outbox *o); /* all is acknowledged */

/* Begins to read anew at the oldest unacknowledged entry (after a reconnect). */
void outbox_rewind(struct outbox *o);

/* Appends the next unread entries to @ret as elements of a JSON array, `[seq, {event}]`, separated
 * by commas; at most @max entries, and none while @max or more are unacknowledged. Returns how
 * many. */
size_t outbox_read(struct outbox *o, size_t max, struct buffer *ret);
