/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/time.h"
#include "net/address.h"

/* Which server the link tries next, and when. Embedded by its owner; `{ 0 }` is empty. */
struct servers {
        struct address *items;
        size_t len;
        size_t current;    /* the one to try */
        unsigned failures; /* in a row */
        bool taken;        /* by the current one: it is the first to be tried after a break */
};

/* Adds the addresses in @list: one, or several with commas between them. */
int servers_add(struct servers *s, const char *list, struct error *err);
void servers_done(struct servers *s);

const struct address *servers_current(const struct servers *s);

/* The current server has taken us in. */
void servers_took(struct servers *s);

/* It could not be reached, or did not want us, or the connection broke: the next one is tried.
 * Returns after how long: a part, given by @random, of a time that grows with every round (full
 * jitter, so that many agents do not come at once), from 5 ms on this machine and 100 ms elsewhere
 * to 2 s and 15 s. @refused: by a server that will not change its mind soon: the longest time. */
usec_t servers_failed(struct servers *s, bool refused, uint64_t random);

/* Failures are worth a line in the log: not while a server just starts again. */
bool servers_is_loud(const struct servers *s);
