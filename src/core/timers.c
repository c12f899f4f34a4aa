/* SPDX-License-Identifier: BSD-3-Clause */
/* Timers: a binary heap, the earliest on top. Each timer knows its place, so that it is moved or
 * taken out without a search. Equal times come in no particular order, but in the same one whenever
 * the same is done: there is nothing else in it than what was set. */
#include "core/timers.h"

#include <stdlib.h>

#include "base/mem.h"

static void put(struct timers *timers, size_t place, struct timer *timer)
{
        timers->heap[place - 1] = timer;
        timer->place = place;
}

static void sift_up(struct timers *timers, struct timer *timer)
{
        size_t place = timer->place;

        while (place > 1 && timers->heap[place / 2 - 1]->at > timer->at) {
                put(timers, place, timers->heap[place / 2 - 1]);
                place /= 2;
        }
        put(timers, place, timer);
}

static void sift_down(struct timers *timers, struct timer *timer)
{
        size_t place = timer->place;

        for (;;) {
                size_t child = place * 2;

                if (child > timers->len)
                        break;
                if (child < timers->len && timers->heap[child]->at < timers->heap[child - 1]->at)
                        child++;
                if (timers->heap[child - 1]->at >= timer->at)
                        break;
                put(timers, place, timers->heap[child - 1]);
                place = child;
        }
        put(timers, place, timer);
}

static void add(struct timers *timers, struct timer *timer)
{
        if (timers->len == timers->allocated) {
                timers->allocated = MAX(timers->allocated * 2, (size_t) 16);
                timers->heap = mem_resize(timers->heap, timers->allocated, sizeof timers->heap[0]);
        }
        timer->place = ++timers->len;
        sift_up(timers, timer);
}

static void take_out(struct timers *timers, struct timer *timer)
{
        struct timer *last = timers->heap[--timers->len];
        size_t place = timer->place;

        timer->place = 0;
        if (last == timer)
                return;
        put(timers, place, last);
        sift_up(timers, last);
        sift_down(timers, last);
}

void timers_set(struct timers *timers, struct timer *timer, usec_t at)
{
        if (timer->place != 0 && timer->at == at)
                return;
        if (timer->place != 0)
                take_out(timers, timer);
        timer->at = at;
        if (at != USEC_NEVER)
                add(timers, timer);
}

usec_t timer_at(const struct timer *timer)
{
        return timer->place == 0 ? USEC_NEVER : timer->at;
}

struct timer *timers_first(const struct timers *timers)
{
        return timers->len == 0 ? NULL : timers->heap[0];
}

void timers_shift(struct timers *timers, int64_t by)
{
        for (size_t i = 0; i < timers->len; i++)
                timers->heap[i]->at += (usec_t) by;
}

void timers_done(struct timers *timers)
{
        free(timers->heap);
        *timers = (struct timers){ 0 };
}
