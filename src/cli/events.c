/* SPDX-License-Identifier: BSD-3-Clause */
/* Events: the newest ones, and with -f those to come. Following asks for events after the number
 * of the last one shown, so that none is left out or shown twice when the server comes back. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/macros.h"
#include "base/time.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/show.h"
#include "cli/stream.h"
#include "cli/terminal.h"

static bool follow, as_json;
static int64_t lines = -1;
static const char *job, *task, *node, *kinds, *since, *until;
static char since_text[TIME_TEXT_MAX], until_text[TIME_TEXT_MAX]; /* the same in RFC 3339 */

#define LINES       50
#define LINES_SINCE 10000

static const struct option_row options[] = {
        { "follow", 'f', OPTION_FLAG, &follow, NULL, "go on with those that come from now on" },
        { "lines", 'n', OPTION_INT, &lines, "N", "the newest N (50; with --since 10000)" },
        { "since", 's', OPTION_TEXT, &since, "TIME", "from then on: " SHOW_TIME_HELP },
        { "until", 'u', OPTION_TEXT, &until, "TIME", "up to then" },
        { "job", 'j', OPTION_TEXT, &job, "JOB", "only of this job and its tasks" },
        { "task", 't', OPTION_TEXT, &task, "TASK", "only of this task" },
        { "node", 0, OPTION_TEXT, &node, "NODE", "only of this node" },
        { "kind", 'k', OPTION_TEXT, &kinds, "K,...", "only of these kinds, such as task-ended" },
        { "json", 0, OPTION_FLAG, &as_json, NULL,
                "as an array of JSON objects; with -f one per line" },
        { NULL, 0, OPTION_FLAG, NULL, NULL, NULL },
};

static void put_filter(struct buffer *path)
{
        const struct {
                const char *name, *value;
        } fields[] = {
                { "job", job },
                { "task", task },
                { "node", node },
                { "kind", kinds },
                { "since", since != NULL ? since_text : NULL },
                { "until", until != NULL ? until_text : NULL },
        };

        for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
                if (fields[i].value == NULL)
                        continue;
                buffer_printf(path, "&%s=", fields[i].name);
                client_put_encoded(path, fields[i].value);
        }
}

static int check_options(struct error *err)
{
        if (lines < 0)
                lines = since != NULL ? LINES_SINCE : LINES;
        if (follow && until != NULL)
                return error_set(err, ERR_INVALID, "--until: not with --follow");
        if (since != NULL && show_parse_time("--since", since, since_text, NULL, err) < 0)
                return -1;
        return until != NULL ? show_parse_time("--until", until, until_text, NULL, err) : 0;
}

static int show_one(const json_t *event, struct error *err)
{
        if (!as_json)
                return show_event(event, err);
        json_dumpf(event, stdout, JSON_COMPACT);
        putchar('\n');
        return 0;
}

/* ---- Those to come: server-sent events, of which only the data is needed */

struct feed {
        json_int_t after; /* the last one shown */
        struct buffer line;
};

static bool on_line(void *data, const char *line, size_t len, struct error *err)
{
        struct feed *feed = data;
        AUTO(client_json_decref) json_t *event = NULL;
        json_error_t why;

        if (len < 5 || memcmp(line, "data:", 5) != 0)
                return true;
        event = json_loadb(line + 5, len - 5, 0, &why);
        if (event == NULL) {
                error_set(err, ERR_SYSTEM, "an event of the server is not JSON: %s", why.text);
                return false;
        }
        if (show_one(event, err) < 0)
                return false;
        feed->after = json_integer_value(json_object_get(event, "index"));
        return true;
}

static bool on_data(void *data, const char *bytes, size_t len, struct error *err)
{
        struct feed *feed = data;

        if (!stream_each_line(&feed->line, bytes, len, on_line, feed, err))
                return false;
        if (fflush(stdout) == 0)
                return true;
        error_sys(err, errno, "write to standard output");
        return false;
}

static int follow_once(struct feed *feed, bool *began, struct error *err)
{
        AUTO(buffer_done) struct buffer path = { 0 };
        struct stream_options stream = {
                .accept = "text/event-stream", .on_data = on_data, .data = feed
        };
        struct stream_end end;
        int r;

        buffer_printf(&path, "/v1/events?after=%" JSON_INTEGER_FORMAT, feed->after);
        put_filter(&path);
        stream.path = buffer_str(&path);
        r = stream_run(&stream, &end, err);
        *began = end.began;
        return r < 0 ? -1 : error_set(err, ERR_UNAVAILABLE, "the server has ended the feed");
}

static int follow_all(json_int_t after, struct error *err)
{
        struct feed feed = { .after = after };
        struct stream_retry retry = { 0 };
        bool began, ever = false;

        do {
                buffer_reset(&feed.line);
                follow_once(&feed, &began, err);
                ever = ever || began;
        } while (ever && stream_retry_wait(&retry, began, err));
        buffer_done(&feed.line);
        return -1;
}

/* ---- Those that are there */

static int get_page(int64_t limit, bool filtered, json_t **ret, struct error *err)
{
        AUTO(buffer_done) struct buffer path = { 0 };

        buffer_printf(&path, "/v1/events?newest=true&limit=%" PRId64, limit);
        if (filtered)
                put_filter(&path);
        return client_get(buffer_str(&path), ret, err);
}

static json_int_t last_index(const json_t *events)
{
        const json_t *last = json_array_get(events, json_array_size(events) - 1);

        return json_integer_value(json_object_get(last, "index"));
}

static int run(const char *const *operands, struct error *err)
{
        AUTO(client_json_decref) json_t *events = json_array();
        AUTO(client_json_decref) json_t *newest = NULL;
        json_t *event;
        size_t i;

        (void) operands;
        if (check_options(err) < 0)
                return -1;
        if (follow && get_page(1, false, &newest, err) < 0)
                return -1;
        if (lines > 0) {
                client_json_decref(&events);
                events = NULL;
                if (get_page(lines, true, &events, err) < 0)
                        return -1;
        }
        if (as_json && !follow) {
                terminal_print_json(events);
                return 0;
        }
        json_array_foreach (events, i, event)
                if (show_one(event, err) < 0)
                        return -1;
        fflush(stdout);
        return follow ? follow_all(MAX(last_index(newest), last_index(events)), err) : 0;
}

const struct command command_events = {
        .name = "events",
        .operands = "",
        .summary = "what has happened, and why",
        .details = "One line each: time, kind, subject, what happened. With -f it goes on until "
                   "Ctrl-C.",
        .options = options,
        .run = run,
};
