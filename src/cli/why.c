/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/time.h"
#include "cli/ansi.h"
#include "cli/client.h"
#include "cli/columns.h"
#include "cli/command.h"
#include "cli/show.h"
#include "cli/terminal.h"
#include "model/dossier.h"

static bool as_json;
static int64_t run_number;

static const struct option_row options[] = {
        { "run", 0, OPTION_INT, &run_number, "N",
                "of a task: the dossier of that run, which has failed" },
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

void show_why(struct buffer *out, const char *asked, const json_t *why, size_t width)
{
        const json_t *chain = json_object_get(why, "chain"), *link;
        const char *summary = json_string_value(json_object_get(why, "summary"));
        const char *next = json_string_value(json_object_get(why, "next"));

        columns_wrap(out, summary != NULL ? summary : "-", 0, width);
        if (json_array_size(chain) > 0)
                buffer_puts(out, "\nWhat led to it:\n");
        for (size_t i = 0; (link = json_array_get(chain, i)) != NULL; i++)
                put_link(out, link, asked, width);
        if (next != NULL) {
                buffer_puts(out, "\nNext: ");
                columns_wrap(out, next, 6, width);
        }
}

static void print(const char *asked, const json_t *why)
{
        AUTO(buffer_done) struct buffer out = { 0 };

        show_why(&out, asked, why, terminal_width());
        terminal_print(&out);
}

/* ---- dossiers */

/* What the task wrote stands indented by two columns, without what would steer the terminal. */
static void put_dossier_line(struct buffer *out, const char *line, size_t width)
{
        AUTO(buffer_done) struct buffer plain = { 0 };
        struct ansi ansi = { 0 };
        size_t indent = strspn(line, " ") >= 2 ? 2 : 0;

        ansi_strip(&ansi, line + indent, strlen(line + indent), &plain);
        buffer_printf(out, "%*s", (int) indent, "");
        columns_wrap(out, buffer_str(&plain), indent, width);
}

static int show_dossier(const json_t *object, struct error *err)
{
        AUTO(buffer_done) struct buffer text = { 0 }, out = { 0 };
        struct dossier d = { 0 };
        size_t width = terminal_width();

        if (record_read(&dossier_table, object, &d, err) < 0)
                return error_wrap(err, "the server's answer");
        dossier_tell(&d, &text);
        record_done(&dossier_table, &d);
        for (char *line = text.data, *end; line != NULL && *line != '\0'; line = end + 1) {
                end = strchr(line, '\n');
                *end = '\0';
                put_dossier_line(&out, line, width);
        }
        terminal_print(&out);
        return 0;
}

static int get_dossiers(const char *task, json_t **ret, struct error *err)
{
        AUTO(buffer_done) struct buffer rest = { 0 };
        AUTO(mem_freep) char *path = NULL;

        buffer_puts(&rest, "/dossiers");
        if (run_number > 0)
                buffer_printf(&rest, "?run=%" PRId64, run_number);
        path = client_subject_path(task, buffer_str(&rest));
        return client_get(path, ret, err);
}

static int why_run(const char *task, struct error *err)
{
        AUTO(client_json_decref) json_t *list = NULL;

        if (!client_is_task(task))
                return error_set(err, ERR_INVALID, "--run: expected a task (\"%s.0\")", task);
        if (get_dossiers(task, &list, err) < 0)
                return -1;
        if (json_array_size(list) == 0)
                return error_set(err, ERR_NOT_FOUND,
                        "%s has no dossier of run %" PRId64
                        ": it has not failed, or those of later runs have taken its place",
                        task, run_number);
        if (as_json)
                terminal_print_json(json_array_get(list, 0));
        return as_json ? 0 : show_dossier(json_array_get(list, 0), err);
}

static int why(const char *subject, struct error *err)
{
        AUTO(buffer_done) struct buffer path = { 0 }, gap = { 0 };
        AUTO(client_json_decref) json_t *answer = NULL, *list = NULL;
        struct error ignored = ERROR_INIT;
        json_t *newest;

        buffer_puts(&path, "/v1/why/");
        client_put_encoded(&path, subject);
        if (client_get(buffer_str(&path), &answer, err) < 0)
                return -1;
        /* An answer without it is better than none: its node may be away. */
        if (client_is_task(subject))
                get_dossiers(subject, &list, &ignored);
        newest = json_array_get(list, 0);
        if (as_json) {
                json_object_set_new(
                        answer, "dossier", newest != NULL ? json_incref(newest) : json_null());
                terminal_print_json(answer);
                return 0;
        }
        print(subject, answer);
        if (newest == NULL)
                return 0;
        buffer_putc(&gap, '\n');
        terminal_print(&gap);
        return show_dossier(newest, err);
}

static int run(const char *const *operands, struct error *err)
{
        return run_number > 0 ? why_run(*operands, err) : why(*operands, err);
}

const struct command command_why = {
        .name = "why",
        .operands = "JOB|TASK|NODE",
        .summary = "explain why something is as it is, and what comes next",
        .details =
                "Of a task it also tells what is known of its last run that failed: the dossier. "
                "Dossiers of the five newest such runs are kept as long as the task's logs.",
        .options = options,
        .operands_min = 1,
        .operands_max = 1,
        .run = run,
};
