/* SPDX-License-Identifier: BSD-3-Clause */

/* Deposits: descriptors held under a name, so that they outlive the agent.
 *
 * A fixed table in BSS: the kernel gives a page only when it is first written, so an empty table
 * costs nothing and a full one 8 MB. To keep it that way entries lie densely (a hash table open to
 * all 65,536 places would touch a page per entry); the hash chains hang from a bucket array of
 * which only the first `buckets` are used. That number doubles when there are more entries than
 * buckets, and all chains are made anew, as rehashing does elsewhere, only in place.
 *
 * Invariants: a slot below `end` is either in exactly one chain (count > 0) or in the free list
 * (count == 0). A deposit never moves to another slot: the agent's HELLO is answered by walking the
 * slots across many turns of the loop, while deposits come and go. The table owns the descriptors
 * and is the only one to close them. */
#include "keeper/deposits.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "keeper/heapless.h"

#define BUCKETS_MIN 64

static struct deposit slots[DEPOSITS_MAX];
static uint32_t heads[DEPOSITS_MAX]; /* slot + 1 */
static uint32_t buckets = BUCKETS_MIN;
static uint32_t end;
static uint32_t free_slots; /* slot + 1 */
static uint32_t held;
static uint32_t held_descriptors;

/* FNV-1a. Names come from our own agent: nobody chooses them to collide. */
static uint32_t *chain_of(const char *name)
{
        uint32_t hash = 2166136261u;
        for (; *name != '\0'; name++)
                hash = (hash ^ (unsigned char) *name) * 16777619u;
        return &heads[hash & (buckets - 1)];
}

/* The link that leads to @name: a head or a next; *link is 0 when there is none. */
static uint32_t *link_to(const char *name)
{
        uint32_t *link = chain_of(name);
        while (*link != 0 && strcmp(slots[*link - 1].name, name) != 0)
                link = &slots[*link - 1].next;
        return link;
}

static void enter_chain(uint32_t slot)
{
        uint32_t *head = chain_of(slots[slot].name);
        slots[slot].next = *head;
        *head = slot + 1;
}

static void double_buckets(void)
{
        memset(heads, 0, buckets * sizeof heads[0]);
        buckets *= 2;
        for (uint32_t slot = 0; slot < end; slot++)
                if (slots[slot].count > 0)
                        enter_chain(slot);
}

static void set_descriptors(struct deposit *d, const int *fds, unsigned count)
{
        memcpy(d->fds, fds, count * sizeof fds[0]);
        d->count = count;
        held_descriptors += count;
}

static void close_descriptors(struct deposit *d)
{
        for (uint32_t i = 0; i < d->count; i++)
                close(d->fds[i]);
        held_descriptors -= d->count;
        d->count = 0;
}

int deposits_put(const char *name, const int *fds, unsigned count)
{
        uint32_t slot = *link_to(name);
        if (slot != 0) {
                close_descriptors(&slots[slot - 1]);
                set_descriptors(&slots[slot - 1], fds, count);
                return 0;
        }

        if (free_slots != 0) {
                slot = free_slots - 1;
                free_slots = slots[slot].next;
        } else if (end < DEPOSITS_MAX) {
                slot = end++;
        } else {
                return -ENOSPC;
        }
        if (held == buckets)
                double_buckets(); /* the new slot is not in it yet: its count is 0 */

        struct deposit *d = &slots[slot];
        size_t length = strlen(name);
        memcpy(d->name, name, length + 1);
        set_descriptors(d, fds, count);
        enter_chain(slot);
        held++;
        return 0;
}

bool deposits_drop(const char *name)
{
        uint32_t *link = link_to(name);
        if (*link == 0)
                return false;

        uint32_t slot = *link - 1;
        *link = slots[slot].next;
        close_descriptors(&slots[slot]);
        slots[slot].next = free_slots;
        free_slots = slot + 1;
        held--;
        return true;
}

const struct deposit *deposits_find(const char *name)
{
        uint32_t slot = *link_to(name);
        return slot != 0 ? &slots[slot - 1] : NULL;
}

uint32_t deposits_end(void)
{
        return end;
}

const struct deposit *deposits_at(uint32_t slot)
{
        return slots[slot].count > 0 ? &slots[slot] : NULL;
}

uint32_t deposits_count(void)
{
        return held;
}

uint32_t deposits_descriptors(void)
{
        return held_descriptors;
}
