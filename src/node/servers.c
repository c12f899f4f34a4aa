/* SPDX-License-Identifier: BSD-3-Clause */
/* Servers: the addresses that an agent was given, tried in turn.
 *
 * One round over all of them is one step of the back-off: with three servers of which one is dead,
 * nobody waits long for the next. */
#include "node/servers.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define LOCAL_FIRST  (5 * USEC_MSEC)
#define LOCAL_MAX    (2 * USEC_SEC)
#define REMOTE_FIRST (100 * USEC_MSEC)
#define REMOTE_MAX   (15 * USEC_SEC)
#define LOUD_FROM    5 /* failures: a server that starts again is not worth a word */

int servers_add(struct servers *s, const char *list, struct error *err)
{
        while (*list != '\0') {
                size_t len = strcspn(list, ",");
                AUTO(mem_freep) char *text = mem_strndup(list, len);
                struct address address;

                if (address_parse(text, &address, err) < 0)
                        return -1;
                s->items = mem_resize(s->items, s->len + 1, sizeof *s->items);
                s->items[s->len++] = address;
                list += len + (list[len] == ',');
        }
        return 0;
}

void servers_done(struct servers *s)
{
        free(s->items);
        *s = (struct servers){ 0 };
}

const struct address *servers_current(const struct servers *s)
{
        return &s->items[s->current];
}

void servers_took(struct servers *s)
{
        s->failures = 0;
        s->taken = true;
}

static usec_t longest_wait(const struct address *address, unsigned rounds)
{
        bool local = address_is_loopback(address);
        usec_t wait = local ? LOCAL_FIRST : REMOTE_FIRST, max = local ? LOCAL_MAX : REMOTE_MAX;

        while (rounds-- > 0 && wait < max)
                wait *= 2;
        return MIN(wait, max);
}

usec_t servers_failed(struct servers *s, bool refused, uint64_t random)
{
        unsigned rounds = refused ? 64 : s->failures / (unsigned) s->len;
        usec_t longest = longest_wait(servers_current(s), rounds);

        if (s->failures < UINT_MAX)
                s->failures++;
        if (!s->taken)
                s->current = (s->current + 1) % s->len;
        s->taken = false;
        return refused ? longest / 2 + random % (longest / 2) : random % longest;
}

bool servers_is_loud(const struct servers *s)
{
        return s->failures >= LOUD_FROM * s->len;
}
