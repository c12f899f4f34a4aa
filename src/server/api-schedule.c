/* SPDX-License-Identifier: BSD-3-Clause */
/* The route of timetables: when a cron job is due next, by its own expression and zone. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/calendar.h"
#include "base/zone-file.h"
#include "model/cron.h"
#include "server/api.h"

#define COUNT_DEFAULT 10
#define COUNT_MAX     1000

/* "2026-03-29T03:00:00+02:00": what clocks in the zone show. */
static void put_local(struct buffer *out, usec_t wall, int32_t offset)
{
        int64_t local = (int64_t) (wall / USEC_SEC) + offset;
        struct calendar_date date = calendar_date(local / 86400);
        int of_day = (int) (local % 86400), minutes = abs(offset) / 60;

        buffer_printf(out, "%04" PRId64 "-%02d-%02dT%02d:%02d:%02d%c%02d:%02d", date.year,
                date.month, date.day, of_day / 3600, of_day / 60 % 60, of_day % 60,
                offset < 0 ? '-' : '+', minutes / 60, minutes % 60);
}

static void put_times(
        struct buffer *out, const struct job_spec *spec, const struct zone *zone, int64_t count)
{
        usec_t at = time_wall();

        for (int64_t i = 0; i < count && cron_next(&spec->schedule.times, zone, at, &at); i++) {
                char text[TIME_TEXT_MAX];

                buffer_printf(out, "%s{\"time\":\"%s\",\"local\":\"", i == 0 ? "" : ",",
                        time_format_wall(text, at));
                put_local(out, at, zone_offset_at(zone, at));
                buffer_puts(out, "\"}");
        }
}

static int put_schedule(
        struct buffer *out, const struct job_spec *spec, int64_t count, struct error *err)
{
        const char *name = spec->schedule.zone != NULL ? spec->schedule.zone : "UTC";
        AUTO(zone_freep) struct zone *zone = NULL;

        if (spec->kind != JOB_CRON)
                return error_set(err, ERR_CONFLICT, "job %s has no timetable: it is no cron job",
                        spec->name);
        if (zone_file_load(NULL, name, &zone, err) < 0)
                return -1;
        buffer_puts(out, "{\"job\":");
        text_put_json_string(out, spec->name);
        buffer_puts(out, ",\"cron\":");
        text_put_json_string(out, spec->schedule.cron);
        buffer_puts(out, ",\"zone\":");
        text_put_json_string(out, name);
        buffer_puts(out, ",\"next\":[");
        put_times(out, spec, zone, count);
        buffer_puts(out, "]}");
        return 0;
}

void api_job_schedule(struct server *server, struct http_request *req, const char *name)
{
        const struct job_spec *spec = cluster_get_spec(state_cluster(server->state), name, 0);
        struct buffer body = { 0 };
        int64_t count = COUNT_DEFAULT;
        struct error err;

        if ((spec == NULL && api_no_job(server, req, name, &err) < 0) ||
                api_query_int(req, "count", 1, COUNT_MAX, &count, &err) < 0 ||
                put_schedule(&body, spec, count, &err) < 0)
                api_reply_error(server, req, &err);
        else
                api_reply_json(server, req, &body);
}
