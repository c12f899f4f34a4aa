/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "base/time.h"

#define PATIENCE (20 * USEC_SEC)

static inline void on_late(uv_timer_t *timer)
{
        *(bool *) timer->data = true;
}

/* Runs (f)->loop until @condition holds; fails when the patience is at its end. */
#define RUN_UNTIL(f, condition)                                                                    \
        do {                                                                                       \
                bool late_ = false;                                                                \
                uv_timer_t timer_ = { .data = &late_ };                                            \
                uv_timer_init(&(f)->loop, &timer_);                                                \
                uv_timer_start(&timer_, on_late, PATIENCE / USEC_MSEC, 0);                         \
                while (!(condition) && !late_)                                                     \
                        uv_run(&(f)->loop, UV_RUN_ONCE);                                           \
                uv_close((uv_handle_t *) &timer_, NULL);                                           \
                uv_run(&(f)->loop, UV_RUN_NOWAIT);                                                 \
                assert_true(condition);                                                            \
        } while (0)
