/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Microseconds. Deadlines and durations are monotonic (CLOCK_BOOTTIME, so that a laptop's sleep
 * counts); points in time that people see or that outlive a boot are wall clock, since 1970, UTC. A
 * variable says which: `_mono` or `_wall`. */
typedef uint64_t usec_t;

#define USEC_NEVER  UINT64_MAX
#define USEC_MSEC   ((usec_t) 1000)
#define USEC_SEC    ((usec_t) 1000000)
#define USEC_MINUTE (60 * USEC_SEC)
#define USEC_HOUR   (60 * USEC_MINUTE)
#define USEC_DAY    (24 * USEC_HOUR)

usec_t time_mono(void);
usec_t time_wall(void);

/* Room for what any time_format_*() writes, with its NUL. */
#define TIME_TEXT_MAX 48

/* RFC 3339 in UTC with milliseconds: "2026-03-01T12:00:00.250Z". Returns @text. */
const char *time_format_wall(char text[TIME_TEXT_MAX], usec_t wall);

/* The local time of day for people: "12:00:00", with the date in front when it is not @now_wall's
 * day. */
const char *time_format_local(char text[TIME_TEXT_MAX], usec_t wall, usec_t now_wall);

/* A duration for people, at most two units: "250ms", "1.5s", "2m 5s", "3h 10m", "4d 2h". */
const char *time_format_span(char text[TIME_TEXT_MAX], usec_t span);

/* A duration as it stands in a spec, exact and in the largest unit that divides it: "10s",
 * "1500ms", "1m". */
const char *time_format_exact(char text[TIME_TEXT_MAX], usec_t span);

/* Reads a duration: a number (fractions allowed) and a unit us, ms, s, m, h or d, several in a row
 * allowed ("1m30s"); a bare number is seconds; "never" is USEC_NEVER. Returns false if @text is
 * anything else or too large. */
bool time_parse_span(const char *text, usec_t *ret_span);

/* Reads RFC 3339 ("2026-03-01T12:00:00Z", fractions and offsets allowed). Returns false if it is
 * anything else. */
bool time_parse_wall(const char *text, usec_t *ret_wall);

/* Reads a point in time as people give it: RFC 3339, a local time ("2026-11-20 15:04", seconds or
 * the time of day may be left out), or how long ago ("10m", "1h30m ago"). */
bool time_parse_when(const char *text, usec_t now_wall, usec_t *ret_wall);
