/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/time.h"
#include "cli/client.h"
#include "cli/columns.h"
#include "cli/command.h"
#include "cli/terminal.h"

static bool as_json;

static const struct option_row options[] = {
        { "json", 0, OPTION_FLAG, &as_json, NULL, "the server's answer as JSON" },
        { NULL, 0, OPTION_FLAG, NULL, NULL, NULL },
};

static bool says_itself(const json_t *link, const char *name)
{
        const char *message = json_string_value(json_object_get(link, "message"));
        size_t len = strlen(name);

        return message != NULL && strncmp(message, name, len) == 0 && message[len] == ' ';
}

/* What a link is about, if that is neither what was asked about nor what it begins with: "web.0".
 */
static const char *other_subject(const json_t *link, const char *asked)
{
        static const char *const nouns[] = { "task", "job", "node" };

        for (size_t i = 0; i < ARRAY_SIZE(nouns); i++) {
                const char *name = json_string_value(json_object_get(link, nouns[i]));

                if (name != NULL)
                        return strcmp(name, asked) == 0 || says_itself(link, name) ? NULL : name;
        }
        return NULL;
}

static void put_link(struct buffer *out, const json_t *link, const char *asked, size_t width)
{
        const char *subject = other_subject(link, asked);
        const char *text = json_string_value(json_object_get(link, "time"));
        const char *message = json_string_value(json_object_get(link, "message"));
        char time[TIME_TEXT_MAX] = "-";
        size_t indent;
        usec_t wall;

        if (text != NULL && time_parse_wall(text, &wall))
                time_format_local(time, wall, time_wall());
        buffer_printf(out, "  %s  ", time);
        indent = strlen(time) + 4;
        if (subject != NULL) {
                indent += columns_put(out, subject, 0) + 2;
                buffer_puts(out, ": ");
        }
        columns_wrap(out, message != NULL ? message : "-", indent, width);
}

static void show(const char *asked, const json_t *why)
{
        AUTO(buffer_done) struct buffer out = { 0 };
        const json_t *chain = json_object_get(why, "chain"), *link;
        const char *summary = json_string_value(json_object_get(why, "summary"));
        const char *next = json_string_value(json_object_get(why, "next"));
        size_t width = terminal_width();

        columns_wrap(&out, summary != NULL ? summary : "-", 0, width);
        if (json_array_size(chain) > 0)
                buffer_puts(&out, "\nWhat led to it:\n");
        for (size_t i = 0; (link = json_array_get(chain, i)) != NULL; i++)
                put_link(&out, link, asked, width);
        if (next != NULL) {
                buffer_puts(&out, "\nNext: ");
                columns_wrap(&out, next, 6, width);
        }
        terminal_print(&out);
}

static int run(const char *const *operands, struct error *err)
{
        AUTO(buffer_done) struct buffer path = { 0 };
        AUTO(client_json_decref) json_t *why = NULL;

        buffer_puts(&path, "/v1/why/");
        client_put_encoded(&path, *operands);
        if (client_get(buffer_str(&path), &why, err) < 0)
                return -1;
        if (as_json)
                terminal_print_json(why);
        else
                show(*operands, why);
        return 0;
}

const struct command command_why = {
        .name = "why",
        .operands = "JOB|TASK|NODE",
        .summary = "explain why something is as it is, and what comes next",
        .options = options,
        .operands_min = 1,
        .operands_max = 1,
        .run = run,
};
