/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/time.h"

/* A time zone: when local clocks were and will be set, made from the bytes of a TZif file (RFC
 * 8536, versions 1 to 3). No file is read here, see base/zone-file.h. Immutable once made.
 *
 * Instants are seconds since 1970 in UTC; a local time is what a clock on the wall shows, written
 * as if it were UTC. Wherever a zone is taken, NULL is UTC. */

struct zone;

/* Names such files have: "UTC", "Europe/Paris", "Etc/GMT+3". What this accepts is safe as the end
 * of a path. */
#define ZONE_NAME_MAX 63
bool zone_name_is_valid(const char *name);

/* Reads @len bytes, which are not needed afterwards. ERR_INVALID says what is wrong with them;
 * files that count leap seconds (those below "right/") are refused, since our clocks do not. */
int zone_parse(const void *bytes, size_t len, struct zone **ret, struct error *err);
struct zone *zone_new_utc(void);
void zone_free(struct zone *zone);
void zone_freep(struct zone **zone);

/* A time in which the clocks are not set: @begin <= instant < @end, INT64_MIN and INT64_MAX where
 * there is no such limit. Two that follow each other may have the same offset. */
struct zone_period {
        int64_t begin, end;
        int32_t offset; /* seconds east of UTC: local time is instant + offset */
};

struct zone_period zone_period_at(const struct zone *zone, int64_t instant);

/* The offset at a point in time, in seconds. */
int32_t zone_offset_at(const struct zone *zone, usec_t wall);

/* All instants at which clocks show @local, in order: one as a rule, none if they were set forward
 * over it, two if they were set back over it. Returns their number. */
size_t zone_instants_of(const struct zone *zone, int64_t local, int64_t ret[2]);

/* The first instant, @from or later, at which clocks show @local or more. */
int64_t zone_first_reaching(const struct zone *zone, int64_t local, int64_t from);

/* The least local time that no clock has shown at @instant or before: the second after what it
 * shows, or what it showed when it was last set back. */
int64_t zone_not_shown(const struct zone *zone, int64_t instant);
