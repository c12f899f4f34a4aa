/* SPDX-License-Identifier: BSD-3-Clause */
/* `reeve plan`: the server's answer for people.
 *
 * Steps of one job that are of one kind, for one reason and at one go are a line. A job's line ends
 * where another step of the same job comes between; what other jobs do meanwhile does not matter.
 */
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/time.h"
#include "cli/client.h"
#include "cli/columns.h"
#include "cli/command.h"
#include "cli/inputs.h"
#include "cli/terminal.h"

static bool as_json;

static const struct option_row options[] = {
        { "json", 0, OPTION_FLAG, &as_json, NULL,
                "the server's answer as JSON: each step by itself, and why its node was chosen" },
        { NULL, 0, OPTION_FLAG, NULL, NULL, NULL },
};

static const char *text_of(const json_t *object, const char *name)
{
        const char *text = json_string_value(json_object_get(object, name));

        return text != NULL ? text : "-";
}

static json_int_t number_of(const json_t *object, const char *name)
{
        return json_integer_value(json_object_get(object, name));
}

static void put_sentence(struct buffer *out, const char *text, size_t indent)
{
        for (size_t i = 0; i < indent; i++)
                buffer_putc(out, ' ');
        columns_wrap(out, text, indent, terminal_width());
}

/* ---- Jobs */

static void put_value(struct buffer *out, const json_t *value)
{
        AUTO(mem_freep) char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);

        columns_put(out, text != NULL ? text : "-", 0);
}

static void put_change(struct buffer *out, const json_t *change)
{
        AUTO(buffer_done) struct buffer line = { 0 };

        buffer_printf(&line, "%s: ", text_of(change, "field"));
        put_value(&line, json_object_get(change, "from"));
        buffer_puts(&line, " -> ");
        put_value(&line, json_object_get(change, "to"));
        if (json_is_true(json_object_get(change, "needs_restart")))
                buffer_puts(&line, " (new run)");
        put_sentence(out, buffer_str(&line), 2);
}

static void put_job(struct buffer *out, const json_t *job)
{
        const char *action = text_of(job, "action");
        const json_t *changes = json_object_get(job, "changes"), *change;
        bool update = strcmp(action, "update") == 0;

        if (strcmp(action, "affected") == 0)
                return;
        buffer_printf(out, "%s: %s", text_of(job, "job"), action);
        if (update && json_array_size(changes) == 0)
                buffer_puts(out, ", started again as it is");
        else if (strcmp(action, "unchanged") != 0)
                buffer_printf(out, ", as version %" JSON_INTEGER_FORMAT "%s",
                        number_of(job, "version"),
                        json_is_true(json_object_get(job, "in_place")) && update
                                ? "; its tasks run on"
                                : "");
        buffer_putc(out, '\n');
        for (size_t i = 0; (change = json_array_get(changes, i)) != NULL; i++)
                put_change(out, change);
        if (json_is_string(json_object_get(job, "next")))
                buffer_printf(out, "  begins at %s by its timetable\n", text_of(job, "next"));
}

/* ---- Steps */

/* Steps that are one line: from the first to the last. */
struct line {
        const json_t *first, *last;
        size_t steps, nodes; /* nodes: of different names in a row */
        struct line *next;
        char *job; /* key */
        UT_hash_handle hh;
};

static bool same(const json_t *a, const json_t *b, const char *member)
{
        return strcmp(text_of(a, member), text_of(b, member)) == 0;
}

/* What the next step of a job is compared with: its newest line. Lines are kept in order. */
struct lines {
        struct line *first, **end;
        struct line *newest; /* by job */
};

static void add_step(struct lines *l, const json_t *step)
{
        const char *job = text_of(step, "job");
        struct line *line;

        HASH_FIND_STR(l->newest, job, line);
        if (line != NULL && same(step, line->last, "action") && same(step, line->last, "reason")) {
                line->nodes += !same(step, line->last, "node") || !same(step, line->last, "from");
                line->last = step;
                line->steps++;
                return;
        }
        if (line != NULL)
                HASH_DEL(l->newest, line);
        line = mem_alloc(sizeof *line);
        *line = (struct line){
                .first = step, .last = step, .steps = 1, .nodes = 1, .job = mem_strdup(job)
        };
        HASH_ADD_KEYPTR(hh, l->newest, line->job, strlen(line->job), line);
        *l->end = line;
        l->end = &line->next;
}

static void lines_done(struct lines *l)
{
        struct line *line, *next;

        HASH_CLEAR(hh, l->newest);
        for (line = l->first; line != NULL; line = next) {
                next = line->next;
                free(line->job);
                free(line);
        }
}

static void put_number_cell(struct table *table, const struct line *line)
{
        if (line->steps == 1)
                table_printf(table, TABLE_PLAIN, "%" JSON_INTEGER_FORMAT,
                        number_of(line->first, "order"));
        else
                table_printf(table, TABLE_PLAIN, "%" JSON_INTEGER_FORMAT "-%" JSON_INTEGER_FORMAT,
                        number_of(line->first, "order"), number_of(line->last, "order"));
}

#define WHEN_MAX (TIME_TEXT_MAX + 1)

static void when_text(char text[WHEN_MAX], const json_t *step)
{
        double after = json_number_value(json_object_get(step, "after"));
        char span[TIME_TEXT_MAX];

        if (after <= 0)
                snprintf(text, WHEN_MAX, "now");
        else
                snprintf(text, WHEN_MAX, "+%s",
                        time_format_span(span, (usec_t) (after * USEC_SEC + 0.5)));
}

static void put_when(struct table *table, const struct line *line)
{
        char first[WHEN_MAX], last[WHEN_MAX];

        when_text(first, line->first);
        when_text(last, line->last);
        if (strcmp(first, last) == 0)
                table_put(table, TABLE_PLAIN, first);
        else
                table_printf(table, TABLE_PLAIN, "%s to %s", first, last);
}

static void put_task(struct table *table, const struct line *line)
{
        if (!json_is_string(json_object_get(line->first, "task")))
                table_put(table, TABLE_PLAIN, line->job);
        else if (line->steps == 1)
                table_put(table, TABLE_PLAIN, text_of(line->first, "task"));
        else
                table_printf(
                        table, TABLE_PLAIN, "%s (%zu)", text_of(line->first, "task"), line->steps);
}

static void put_node(struct table *table, const struct line *line)
{
        const char *node = text_of(line->first, "node"), *from = text_of(line->first, "from");

        if (line->nodes > 1)
                table_printf(table, TABLE_PLAIN, "%s, ...", from[0] != '-' ? from : node);
        else if (from[0] != '-')
                table_printf(table, TABLE_PLAIN, "%s -> %s", from, node);
        else
                table_put(table, TABLE_PLAIN, node);
}

static const struct table_column columns[] = {
        { "STEP", TABLE_RIGHT },
        { "WHEN", 0 },
        { "TASK", 0 },
        { "ACTION", 0 },
        { "NODE", 0 },
        { "REASON", 0 },
};

static const struct table_column columns_at_once[] = {
        { "STEP", TABLE_RIGHT },
        { "TASK", 0 },
        { "ACTION", 0 },
        { "NODE", 0 },
        { "REASON", 0 },
};

/* Nothing waits for time: then there is no column for it. */
static void show_lines(const struct lines *l, bool at_once)
{
        AUTO(table_freep)
        struct table *table = at_once ? table_new(columns_at_once, ARRAY_SIZE(columns_at_once))
                                      : table_new(columns, ARRAY_SIZE(columns));

        for (const struct line *line = l->first; line != NULL; line = line->next) {
                put_number_cell(table, line);
                if (!at_once)
                        put_when(table, line);
                put_task(table, line);
                table_put(table, TABLE_PLAIN, text_of(line->first, "action"));
                put_node(table, line);
                table_put(table, TABLE_PLAIN, text_of(line->first, "reason"));
        }
        putchar('\n');
        terminal_print_table(table);
}

static void show_steps(const json_t *plan)
{
        const json_t *steps = json_object_get(plan, "steps"), *step;
        AUTO(lines_done) struct lines l = { 0 };

        l.end = &l.first;
        for (size_t i = 0; (step = json_array_get(steps, i)) != NULL; i++)
                add_step(&l, step);
        show_lines(&l, json_number_value(json_object_get(plan, "takes")) <= 0);
}

/* ---- What to know besides */

static void put_least(struct buffer *out, const json_t *job)
{
        json_int_t before = number_of(job, "ready"), least = number_of(job, "least_ready");
        json_int_t then = number_of(job, "ready_then");
        AUTO(buffer_done) struct buffer line = { 0 };

        if (before == 0 || strcmp(text_of(job, "action"), "unchanged") == 0)
                return;
        if (least > 0)
                buffer_printf(&line,
                        "%s: %" JSON_INTEGER_FORMAT
                        " of its tasks or more %s ready at every moment",
                        text_of(job, "job"), least, least == 1 ? "is" : "are");
        else
                buffer_printf(
                        &line, "%s: none of its tasks is ready for a moment", text_of(job, "job"));
        buffer_printf(&line, " (%" JSON_INTEGER_FORMAT " now, %" JSON_INTEGER_FORMAT " then).",
                before, then);
        put_sentence(out, buffer_str(&line), 0);
}

static void put_away(struct buffer *out, const json_t *job)
{
        json_int_t away = number_of(job, "away");
        AUTO(buffer_done) struct buffer line = { 0 };

        if (away == 0)
                return;
        buffer_printf(&line,
                "%s: %" JSON_INTEGER_FORMAT " of its tasks %s on nodes that are not connected; "
                "they follow when these are back.",
                text_of(job, "job"), away, away == 1 ? "is" : "are");
        put_sentence(out, buffer_str(&line), 0);
}

static void put_wait(struct buffer *out, const json_t *wait)
{
        const json_t *fits = json_object_get(wait, "fits"), *fit;
        const json_t *conditions = json_object_get(wait, "conditions"), *condition;
        json_int_t tasks = number_of(wait, "tasks");
        AUTO(buffer_done) struct buffer line = { 0 };

        buffer_puts(&line, text_of(wait, "reason"));
        if (tasks > 1)
                buffer_printf(&line, " (so do %" JSON_INTEGER_FORMAT " more)", tasks - 1);
        put_sentence(out, buffer_str(&line), 0);
        for (size_t i = 0; (condition = json_array_get(conditions, i)) != NULL; i++) {
                buffer_reset(&line);
                buffer_printf(&line,
                        "\"%s\" does not hold on %" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT
                        " nodes",
                        text_of(condition, "where"), number_of(condition, "refuses"),
                        number_of(condition, "nodes"));
                put_sentence(out, buffer_str(&line), 2);
        }
        for (size_t i = 0; (fit = json_array_get(fits, i)) != NULL; i++) {
                buffer_reset(&line);
                buffer_printf(&line, "%s%s",
                        i == 0 ? "There is room with: " : "or: ", json_string_value(fit));
                put_sentence(out, buffer_str(&line), 2);
        }
}

static void put_more_nodes(struct buffer *out, const json_t *more)
{
        AUTO(buffer_done) struct buffer line = { 0 };
        json_int_t count = number_of(more, "count");

        if (!json_is_object(more))
                return;
        buffer_printf(&line,
                "All that waits has room with %" JSON_INTEGER_FORMAT " more node%s like %s.", count,
                count == 1 ? "" : "s", text_of(more, "like"));
        put_sentence(out, buffer_str(&line), 0);
}

static void show_end(const json_t *plan)
{
        AUTO(buffer_done) struct buffer out = { 0 };
        const json_t *jobs = json_object_get(plan, "jobs"), *job;
        const json_t *waits = json_object_get(plan, "waits"), *wait;

        for (size_t i = 0; (job = json_array_get(jobs, i)) != NULL; i++) {
                put_least(&out, job);
                put_away(&out, job);
        }
        for (size_t i = 0; (wait = json_array_get(waits, i)) != NULL; i++)
                put_wait(&out, wait);
        put_more_nodes(&out, json_object_get(plan, "more_nodes"));
        if (out.len > 0)
                putchar('\n');
        terminal_print(&out);
}

static void show(const json_t *plan)
{
        AUTO(buffer_done) struct buffer out = { 0 };
        const json_t *jobs = json_object_get(plan, "jobs"), *job;

        for (size_t i = 0; (job = json_array_get(jobs, i)) != NULL; i++)
                put_job(&out, job);
        terminal_print(&out);
        if (json_array_size(json_object_get(plan, "steps")) == 0)
                puts("\nNo task is started, stopped or moved.");
        else
                show_steps(plan);
        show_end(plan);
}

static int run(const char *const *operands, struct error *err)
{
        AUTO(buffer_done) struct buffer body = { 0 };
        AUTO(client_json_decref) json_t *plan = NULL;

        if (inputs_read(operands, &body, err) < 0 ||
                client_request("POST", "/v1/plan", NULL, body.data, body.len, &plan, err) < 0)
                return -1;
        if (as_json)
                terminal_print_json(plan);
        else
                show(plan);
        return 0;
}

const struct command command_plan = {
        .name = "plan",
        .operands = "FILE...",
        .summary = "show what `reeve apply` would do, step by step",
        .details =
                "The scheduler's own decisions on a copy of the state; nothing is changed. FILE "
                "is as in `reeve apply`. Told are the steps in their order, with what waits for "
                "a pause or for `reeve promote`; how many tasks of each job are ready on the way "
                "at least; and what finds no room, with the changes that would give it some. "
                "What is under way comes to its end first and is no part of it; nodes that are "
                "away stay away, and nothing fails.",
        .options = options,
        .operands_min = 1,
        .operands_max = -1,
        .run = run,
};
