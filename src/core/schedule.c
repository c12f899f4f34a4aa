/* SPDX-License-Identifier: BSD-3-Clause */
/* Schedule: jobs of kind `cron`, whose tasks begin at the slots of a timetable.
 *
 * The tasks are made at the first slot, with the count and the version that the job has then, and
 * begin anew at each slot after it, as if a person had restarted a batch that is over. Between two
 * slots nothing of them is touched: what was changed of the job counts from the next slot on, and
 * no rollout takes a run down (job_rolls()).
 *
 * `slot_seen` goes from slot to slot: all up to it have been begun, skipped, or put off, and none
 * of them comes again, whatever is done to the clock, unless it was set back by so much that it can
 * only have been wrong before. A slot begins up to `schedule.jitter` later; by how much follows
 * from the job's name and the slot, so that it is the same after a restart of the server.
 *
 * A slot that could not be begun within a minute was missed: nobody was there. Of all that were
 * missed in a row the last is made up for, or none (`schedule.catch_up`). One that comes while
 * tasks of an earlier one have not ended is skipped, put off until they have, or replaces them
 * (`schedule.overlap`); no more than one is put off.
 *
 * Zones are data here, handed in by who can read files (cluster_add_zone()). Without its zone a job
 * has no slots. */

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/calendar.h"
#include "core/cluster-internal.h"

#define LATE    USEC_MINUTE
#define SETBACK (3 * USEC_HOUR) /* of the clock: more than that, as in cron(8), is a correction */

bool job_is_cron(const struct job *job)
{
        const struct job_spec *spec = job_current_spec(job);

        return spec->kind == JOB_CRON && !spec->template;
}

static bool is_awake(const struct job *job)
{
        return job_is_cron(job) && !job->stopped && !job->removing;
}

/* ---- Zones */

struct known_zone {
        char *name;
        struct zone *zone; /* NULL: there is none of this name */
        UT_hash_handle hh;
};

static const struct known_zone *zone_find(const struct cluster *c, const char *name)
{
        struct known_zone *known;

        HASH_FIND_STR(c->zones, name, known);
        return known;
}

/* False if the job has to do without. */
static bool zone_of(const struct job *job, const struct zone **ret)
{
        const char *name = job_current_spec(job)->schedule.zone;
        const struct known_zone *known = name == NULL ? NULL : zone_find(job->cluster, name);

        *ret = known == NULL ? NULL : known->zone;
        return name == NULL || *ret != NULL;
}

void cluster_add_zone(struct cluster *c, const char *name, struct zone *zone)
{
        struct known_zone *known;

        HASH_FIND_STR(c->zones, name, known);
        if (known == NULL) {
                known = mem_alloc(sizeof *known);
                known->name = mem_strdup(name);
                HASH_ADD_KEYPTR(hh, c->zones, known->name, strlen(known->name), known);
        }
        zone_free(known->zone);
        known->zone = zone;
        c->changes++;
        for (struct job *job = c->jobs; job != NULL; job = job->hh.next)
                if (job_is_cron(job))
                        job_set_due(job);
}

const char *cluster_missing_zone(const struct cluster *c)
{
        for (const struct job *job = c->jobs; job != NULL; job = job->hh.next) {
                const char *name = job_current_spec(job)->schedule.zone;

                if (name != NULL && job_is_cron(job) && zone_find(c, name) == NULL)
                        return name;
        }
        return NULL;
}

bool cluster_knows_zone(const struct cluster *c, const char *name)
{
        const struct known_zone *known = zone_find(c, name);

        return known != NULL && known->zone != NULL;
}

void schedule_done(struct cluster *c)
{
        struct known_zone *known, *next;

        HASH_ITER (hh, c->zones, known, next) {
                HASH_DEL(c->zones, known);
                zone_free(known->zone);
                free(known->name);
                free(known);
        }
}

/* ---- In words */

/* "2026-03-01 03:00 Europe/Paris" */
static void put_slot(struct buffer *b, const struct job *job, usec_t slot)
{
        const char *name = job_current_spec(job)->schedule.zone;
        const struct zone *zone;
        struct calendar_date date;
        int64_t local;

        zone_of(job, &zone);
        local = (int64_t) (slot / USEC_SEC) + zone_offset_at(zone, slot);
        date = calendar_date(local / 86400);
        buffer_printf(b, "%" PRIi64 "-%02d-%02d %02d:%02d %s", date.year, date.month, date.day,
                (int) (local % 86400 / 3600), (int) (local % 3600 / 60),
                name == NULL || zone == NULL ? "UTC" : name);
}

static void PRINTF_LIKE(5, 6) say_slot(struct turn *turn, struct job *job, usec_t slot,
        enum event_kind kind, const char *format, ...)
{
        AUTO(buffer_done) struct buffer text = { 0 };
        char what[200];
        va_list args;

        va_start(args, format);
        vsnprintf(what, sizeof what, format, args);
        va_end(args);
        buffer_puts(&text, "slot ");
        put_slot(&text, job, slot);
        turn_say(turn, kind, job, "%s %s", buffer_str(&text), what);
}

static void put_outcome(struct buffer *b, const struct job *job)
{
        const struct task *task;

        if (job->counts[MARK_EXISTS] == 0 || job->slot == 0) {
                buffer_puts(b, "nothing has run yet");
                return;
        }
        buffer_puts(b, "last slot ");
        put_slot(b, job, job->slot);
        if (job->overran) {
                buffer_puts(b, ": failed, took longer than batch.deadline");
                return;
        }
        JOB_FOREACH_TASK (job, task)
                if ((task->marks & BIT(MARK_ENDED_BADLY)) != 0) {
                        buffer_printf(b, ": %s, %s%s%s",
                                task->result == RESULT_STOPPED ? "stopped" : "failed",
                                task_id(job, task->index), task->reason != NULL ? ": " : "",
                                task->reason != NULL ? task->reason : "");
                        return;
                }
        buffer_puts(b, ": succeeded");
}

void schedule_put_reason(struct buffer *b, const struct job *job)
{
        const char *name = job_current_spec(job)->schedule.zone;
        const struct zone *zone;
        usec_t next;

        put_outcome(b, job);
        if (!zone_of(job, &zone)) {
                buffer_printf(b, "; its time zone %s is not known here: no slot can be told", name);
                return;
        }
        if (!cron_next(&job_current_spec(job)->schedule.times, zone, job->slot_seen, &next))
                return;
        buffer_puts(b, "; next slot ");
        put_slot(b, job, next);
}

/* ---- Slots */

/* FNV-1a of the name, mixed with the slot. */
static usec_t jitter_of(const struct job *job, usec_t slot)
{
        usec_t span = job_current_spec(job)->schedule.jitter;
        uint64_t hash = 0xcbf29ce484222325u;

        for (const char *at = job->name; *at != '\0'; at++)
                hash = (hash ^ (unsigned char) *at) * 0x100000001b3u;
        hash = (hash ^ slot) * 0x9e3779b97f4a7c15u;
        return span == 0 ? 0 : (hash >> 16) % (span + 1);
}

static bool next_slot(const struct job *job, usec_t after, usec_t *ret)
{
        const struct zone *zone;

        return zone_of(job, &zone) &&
               cron_next(&job_current_spec(job)->schedule.times, zone, after, ret);
}

usec_t schedule_next(const struct job *job)
{
        usec_t slot;

        if (!is_awake(job) || !next_slot(job, job->slot_seen, &slot))
                return USEC_NEVER;
        return slot + jitter_of(job, slot);
}

/* The last slot behind @first that is due, or @first. Looks back as far as it has to, and no
 * further: there may be years of slots. */
static usec_t last_due(const struct job *job, usec_t first, usec_t now)
{
        static const usec_t spans[] = { USEC_HOUR, USEC_DAY, 31 * USEC_DAY, 366 * USEC_DAY,
                (usec_t) 50 * 366 * USEC_DAY };
        usec_t last = first, slot;

        for (size_t i = 0; i < ARRAY_SIZE(spans) && last == first; i++) {
                usec_t from = MAX(first, now > spans[i] ? now - spans[i] : 0);

                for (slot = from; next_slot(job, slot, &slot) && slot <= now;)
                        if (slot + jitter_of(job, slot) <= now)
                                last = slot;
                if (from == first)
                        break;
        }
        return last;
}

/* ---- A slot begins */

void schedule_begin(struct turn *turn, struct job *job)
{
        uint64_t generation = turn->c->index + 1;
        struct task *task;

        job->command = generation;
        job->slot_waits = 0;
        job->slot_count = job_current_spec(job)->count;
        kinds_begin_anew(job);
        job->slot_begins = true;
        job_retarget(turn, job, ANEW_ALL, generation);
        JOB_FOREACH_TASK (job, task) /* those that still run */
                if (task_wanted(job, task) && task->desire.generation < generation && !task->moving)
                        task_begin_anew(turn, job, task, generation);
        if (job_per_node(job))
                pins_look_at_all(turn, job);
        job->slot_begins = false;
}

static size_t tasks_left(const struct job *job)
{
        return job->counts[MARK_WANTED] - job->counts[MARK_ENDED_WELL] -
               job->counts[MARK_ENDED_BADLY];
}

static void begin_slot(struct turn *turn, struct job *job, usec_t slot, const char *how)
{
        size_t left = tasks_left(job);
        uint32_t version = job_version_number(job);

        job->slot = slot;
        schedule_begin(turn, job);
        if (left > 0)
                say_slot(turn, job, slot, EVENT_JOB_FIRED,
                        "begins%s with version %" PRIu32 "; %zu task%s of the one before %s "
                        "replaced (schedule.overlap)",
                        how, version, left, left == 1 ? "" : "s", left == 1 ? "is" : "are");
        else
                say_slot(turn, job, slot, EVENT_JOB_FIRED, "begins%s with version %" PRIu32, how,
                        version);
}

/* The slot `slot_seen` has come. */
static void take_slot(struct turn *turn, struct job *job, const char *how)
{
        size_t left = tasks_left(job);
        enum schedule_overlap overlap = job_current_spec(job)->schedule.overlap;

        if (left == 0 || overlap == OVERLAP_REPLACE) {
                begin_slot(turn, job, job->slot_seen, how);
        } else if (overlap == OVERLAP_WAIT && job->slot_waits == 0) {
                job->slot_waits = job->slot_seen;
                say_slot(turn, job, job->slot_seen, EVENT_JOB_SKIPPED,
                        "waits: %zu task%s of the one before %s not ended", left,
                        left == 1 ? "" : "s", left == 1 ? "has" : "have");
        } else if (overlap == OVERLAP_WAIT) {
                say_slot(turn, job, job->slot_seen, EVENT_JOB_SKIPPED,
                        "is skipped: another one waits already");
        } else {
                say_slot(turn, job, job->slot_seen, EVENT_JOB_SKIPPED,
                        "is skipped: %zu task%s of the one before %s not ended", left,
                        left == 1 ? "" : "s", left == 1 ? "has" : "have");
        }
}

static void say_missed(struct turn *turn, struct job *job, usec_t first, usec_t last, bool made_up)
{
        AUTO(buffer_done) struct buffer text = { 0 };

        buffer_puts(&text, "the slot");
        buffer_puts(&text, first == last ? " " : "s from ");
        put_slot(&text, job, first);
        if (first != last) {
                buffer_puts(&text, made_up ? " on, up to " : " to ");
                put_slot(&text, job, last);
        }
        turn_say(turn, EVENT_JOB_SKIPPED, job, "%s %s missed: nobody was there to begin %s%s",
                buffer_str(&text), first == last ? "was" : "were", first == last ? "it" : "them",
                made_up ? "; the last is made up for" : "");
}

/* @slot is long over. The last that is due may be so only just. */
static void make_up(struct turn *turn, struct job *job, usec_t slot)
{
        usec_t last = last_due(job, slot, turn->now);
        bool late = last + jitter_of(job, last) + LATE < turn->now;
        bool made_up = !late || job_current_spec(job)->schedule.catch_up == CATCH_UP_LAST;

        if (last != slot || !made_up)
                say_missed(turn, job, slot, last, made_up);
        job->slot_seen = last;
        if (made_up)
                take_slot(turn, job, late ? ", late, since nobody was there to begin it," : "");
}

static void take_next(struct turn *turn, struct job *job)
{
        usec_t slot;

        if (!next_slot(job, job->slot_seen, &slot))
                return;
        job_touch_row(turn->c, job);
        if (slot + jitter_of(job, slot) + LATE < turn->now) {
                make_up(turn, job, slot);
                return;
        }
        job->slot_seen = slot;
        take_slot(turn, job, "");
}

void schedule_advance(struct turn *turn, struct job *job)
{
        if (!is_awake(job))
                return;
        if (job->slot_seen > turn->now + SETBACK) {
                job->slot_seen = turn->now;
                job_touch_row(turn->c, job);
        }
        while (schedule_next(job) <= turn->now)
                take_next(turn, job);
        if (job->slot_waits != 0 && tasks_left(job) == 0) {
                begin_slot(turn, job, job->slot_waits,
                        ", late, since the one before has ended only now,");
                job_touch_row(turn->c, job);
        }
}

void schedule_reset(struct job *job, usec_t now)
{
        job->slot_seen = MAX(job->slot_seen, now);
        job->slot_waits = 0;
}

/* ---- The job has changed */

static bool same_text(const char *a, const char *b)
{
        return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

void schedule_changed(struct job *job, const struct job_spec *before, usec_t now)
{
        const struct job_spec *spec = job_current_spec(job);

        if (!job_is_cron(job))
                return;
        if (before == NULL || before->kind != JOB_CRON || before->template)
                job->slot_count = 0;
        else if (same_text(before->schedule.cron, spec->schedule.cron) &&
                 same_text(before->schedule.zone, spec->schedule.zone))
                return;
        job->slot_seen = now;
        job->slot_waits = 0;
}
