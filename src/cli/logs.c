/* SPDX-License-Identifier: BSD-3-Clause */
/* Logs: what tasks wrote, to standard output.
 *
 * Without -f the server's answer passes through as it comes. With -f it comes as JSON lines, each
 * with the number of its first byte in its stream; so when the connection breaks (the server is
 * killed or upgraded) the command goes on where it was: it asks to follow again from the last line
 * of each stream, leaves out what it has shown, and fetches on its own what was written in between.
 * A task that appears while a job is followed is shown from its first line in the same way.
 *
 * What it knows is one cursor per stream: the number of the last line shown. A cursor is `open`
 * when lines may be missing between that and the next line that comes. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "cli/ansi.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/show.h"
#include "cli/stream.h"
#include "cli/terminal.h"

#define NONE -1

static bool follow, as_json, timestamps, strip;
static int64_t lines = NONE, run_number = NONE;
static const char *which, *after, *before, *expression;
static char after_text[TIME_TEXT_MAX], before_text[TIME_TEXT_MAX];

static const struct option_row options[] = {
        { "follow", 'f', OPTION_FLAG, &follow, NULL, "go on with what is written from now on" },
        { "lines", 'n', OPTION_INT, &lines, "N", "only the last N lines of each stream" },
        { "stream", 's', OPTION_TEXT, &which, "NAME", "only stdout or only stderr" },
        { "since", 0, OPTION_TEXT, &after, "TIME",
                "what was written from then on: " SHOW_TIME_HELP },
        { "until", 0, OPTION_TEXT, &before, "TIME", "what was written before" },
        { "run", 0, OPTION_INT, &run_number, "N", "only what run N of a task wrote" },
        { "grep", 'g', OPTION_TEXT, &expression, "REGEX",
                "only lines that match; with -n the last N of these" },
        { "timestamps", 't', OPTION_FLAG, &timestamps, NULL, "when each line was written" },
        { "strip", 0, OPTION_FLAG, &strip, NULL,
                "without colours and other control sequences of terminals" },
        { "json", 0, OPTION_FLAG, &as_json, NULL,
                "one JSON object per line: task, stream, offset, time, run, text" },
        { NULL, 0, OPTION_FLAG, NULL, NULL, NULL },
};

static bool print(const char *bytes, size_t len, struct error *err)
{
        errno = 0;
        if (fwrite(bytes, 1, len, stdout) == len)
                return true;
        error_sys(err, errno, "write to standard output");
        return false;
}

static bool flush(struct error *err)
{
        errno = 0;
        if (fflush(stdout) == 0)
                return true;
        error_sys(err, errno, "write to standard output");
        return false;
}

/* Which of the lines are wanted, wherever one begins to read. */
static void put_filter(struct buffer *path)
{
        if (before != NULL)
                buffer_printf(path, "&until=%s", before_text);
        if (run_number != NONE)
                buffer_printf(path, "&run=%" PRId64, run_number);
        if (expression != NULL) {
                buffer_puts(path, "&grep=");
                client_put_encoded(path, expression);
        }
        if (after != NULL)
                buffer_printf(path, "&since=%s", after_text);
}

/* "/v1/jobs/web/logs?stream=stdout&lines=10" and what else. @last: NONE for all lines. */
static char *make_path(const char *subject, bool json, bool followed, int64_t last)
{
        struct buffer path = { 0 };
        AUTO(mem_freep) char *begin = client_subject_path(subject, "/logs?stream=");

        buffer_printf(&path, "%s%s", begin, which != NULL ? which : "both");
        if (json)
                buffer_puts(&path, "&format=json");
        if (followed)
                buffer_puts(&path, "&follow=true");
        if (last >= 0)
                buffer_printf(&path, "&lines=%" PRId64, last);
        if (timestamps)
                buffer_puts(&path, "&timestamps=true");
        put_filter(&path);
        return buffer_take(&path);
}

/* What a task wrote, as it is wanted. */
static void put_written(struct buffer *out, struct ansi *ansi, const char *text, size_t len)
{
        if (strip)
                ansi_strip(ansi, text, len, out);
        else
                buffer_put(out, text, len);
}

/* ---- Whose line it is */

#define SEPARATOR " | "

/* On a terminal each task has a colour, by its number: neighbours have different ones. */
static void put_task(struct buffer *out, const char *task, size_t len)
{
        static const char *const colours[] = { "\033[36m", "\033[33m", "\033[35m", "\033[32m",
                "\033[34m" };
        size_t number = 0;

        for (size_t i = len; terminal_colour() && i > 0 && task[i - 1] != '.'; i--)
                number += (size_t) task[i - 1]; /* of its digits */
        if (terminal_colour())
                buffer_puts(out, colours[number % ARRAY_SIZE(colours)]);
        buffer_put(out, task, len);
        if (terminal_colour())
                buffer_puts(out, TABLE_STYLE_END);
        buffer_puts(out, SEPARATOR);
}

/* ---- As it comes */

struct shown {
        const char *job;
        struct buffer line, out;
        struct ansi ansi;
};

static bool on_bytes(void *data, const char *bytes, size_t len, struct error *err)
{
        struct shown *s = data;

        if (!strip || as_json)
                return print(bytes, len, err) && flush(err);
        buffer_reset(&s->out);
        put_written(&s->out, &s->ansi, bytes, len);
        return print(s->out.data, s->out.len, err) && flush(err);
}

/* Length of the task's name if a line begins with one of the job; else 0. */
static size_t task_in_front(const char *job, const char *line, size_t len)
{
        const char *end = memmem(line, len, SEPARATOR, strlen(SEPARATOR));
        size_t n = strlen(job);

        if (end == NULL || (size_t) (end - line) < n + 2 || memcmp(line, job, n) != 0 ||
                line[n] != '.')
                return 0;
        n++;
        return n + strspn(line + n, "0123456789") == (size_t) (end - line) ? (size_t) (end - line)
                                                                           : 0;
}

static void put_line(struct shown *s, const char *line, size_t len)
{
        size_t task = task_in_front(s->job, line, len), front = task + strlen(SEPARATOR);

        s->ansi = (struct ansi){ 0 };
        if (task == 0) {
                put_written(&s->out, &s->ansi, line, len);
                return;
        }
        put_task(&s->out, line, task);
        put_written(&s->out, &s->ansi, line + front, len - front);
}

static bool on_plain_line(void *data, const char *line, size_t len, struct error *err)
{
        struct shown *s = data;

        buffer_reset(&s->out);
        put_line(s, line, len);
        buffer_putc(&s->out, '\n');
        return print(s->out.data, s->out.len, err);
}

static bool on_plain_lines(void *data, const char *bytes, size_t len, struct error *err)
{
        struct shown *s = data;

        return stream_each_line(&s->line, bytes, len, on_plain_line, s, err) && flush(err);
}

/* What is behind the last end of a line. */
static int show_rest(struct shown *s, struct error *err)
{
        buffer_reset(&s->out);
        put_line(s, buffer_str(&s->line), s->line.len);
        return print(buffer_str(&s->out), s->out.len, err) && flush(err) ? 0 : -1;
}

static int show(const char *subject, struct error *err)
{
        AUTO(mem_freep) char *path = make_path(subject, as_json, false, lines);
        bool coloured = terminal_colour() && !as_json && !client_is_task(subject);
        struct shown s = { .job = subject };
        struct stream_options call = {
                .path = path, .on_data = coloured ? on_plain_lines : on_bytes, .data = &s
        };
        int r = stream_run(&call, NULL, err);

        if (r == 0 && s.line.len > 0)
                r = show_rest(&s, err);
        buffer_done(&s.line);
        buffer_done(&s.out);
        return r;
}

/* ---- Following */

struct cursor {
        char *key;    /* "web.0/stdout" */
        int64_t last; /* number of the first byte of the last line shown; NONE */
        bool open;
        UT_hash_handle hh;
};

struct follower {
        const char *subject;
        struct cursor *cursors;
        struct buffer line; /* one that has not come to its end */
        struct buffer out;  /* what is shown of a line */
};

static void follower_done(struct follower *f)
{
        struct cursor *c, *next;

        HASH_ITER (hh, f->cursors, c, next) {
                HASH_DEL(f->cursors, c);
                free(c->key);
                free(c);
        }
        buffer_done(&f->line);
        buffer_done(&f->out);
}

static struct cursor *cursor_add(struct follower *f, const char *key, bool open)
{
        struct cursor *c = mem_alloc(sizeof *c);

        c->key = mem_strdup(key);
        c->last = NONE;
        c->open = open;
        HASH_ADD_KEYPTR(hh, f->cursors, c->key, strlen(c->key), c);
        return c;
}

static struct cursor *cursor_get(struct follower *f, const char *task, const char *stream)
{
        AUTO(mem_freep) char *key = mem_printf("%s/%s", task, stream);
        struct cursor *c;

        HASH_FIND_STR(f->cursors, key, c);
        return c != NULL ? c : cursor_add(f, key, true);
}

/* What a line says to people; false if that is nothing. As the server's text (server/log-lines.c).
 */
static bool put_text(struct buffer *out, const json_t *object)
{
        const json_t *text = json_object_get(object, "text");
        const char *why = json_string_value(json_object_get(object, "why"));
        const char *problem = json_string_value(json_object_get(object, "error"));
        const char *time = json_string_value(json_object_get(object, "time"));

        if (timestamps)
                buffer_printf(out, "%s ", time == NULL ? "-" : time);
        if (text != NULL)
                put_written(out, &(struct ansi){ 0 }, json_string_value(text),
                        json_string_length(text));
        else if (problem != NULL)
                buffer_printf(out, "[%s]", problem);
        else if (why != NULL && strcmp(why, "dropped") == 0)
                buffer_printf(out,
                        "[%" JSON_INTEGER_FORMAT " bytes were dropped: the disk was full]",
                        json_integer_value(json_object_get(object, "bytes")));
        else
                return false;
        return true;
}

/* Shows an object: as it came, or its text with the task's name in front. */
static bool print_line(
        struct follower *f, const json_t *object, const char *raw, size_t len, struct error *err)
{
        const json_t *task = json_object_get(object, "task");

        buffer_reset(&f->out);
        if (as_json) {
                buffer_put(&f->out, raw, len);
        } else {
                if (!client_is_task(f->subject))
                        put_task(&f->out, json_string_value(task), json_string_length(task));
                if (!put_text(&f->out, object))
                        return true;
        }
        buffer_putc(&f->out, '\n');
        return print(f->out.data, f->out.len, err);
}

static json_t *parse_line(const char *line, size_t len, struct error *err)
{
        json_error_t why;
        json_t *object = json_loadb(line, len, JSON_ALLOW_NUL, &why);

        if (!json_is_string(json_object_get(object, "task")) ||
                !json_is_string(json_object_get(object, "stream"))) {
                json_decref(object);
                error_set(err, ERR_SYSTEM, "the server's answer is not a line of a log");
                return NULL;
        }
        return object;
}

/* What lies between two lines of one stream. */
struct missing {
        struct follower *f;
        struct cursor *cursor;
        int64_t until;
        struct buffer partial;
        bool complete;
};

static bool on_missing_line(void *data, const char *line, size_t len, struct error *err)
{
        struct missing *m = data;
        AUTO(client_json_decref) json_t *object = parse_line(line, len, err);
        int64_t offset = json_integer_value(json_object_get(object, "offset"));

        if (object == NULL)
                return false;
        m->complete = offset >= m->until;
        if (m->complete)
                return false;
        if (offset <= m->cursor->last)
                return true;
        m->cursor->last = offset;
        return print_line(m->f, object, line, len, err);
}

static bool on_missing(void *data, const char *bytes, size_t len, struct error *err)
{
        struct missing *m = data;

        return stream_each_line(&m->partial, bytes, len, on_missing_line, m, err);
}

/* Shows what was written after the last line shown and before byte @until. */
static int catch_up(
        struct follower *f, struct cursor *c, const json_t *line, int64_t until, struct error *err)
{
        struct missing m = { .f = f, .cursor = c, .until = until };
        const char *stream = json_string_value(json_object_get(line, "stream"));
        AUTO(mem_freep)
        char *begin = client_subject_path(
                json_string_value(json_object_get(line, "task")), "/logs?format=json&stream=");
        AUTO(buffer_done) struct buffer path = { 0 };
        struct stream_options call = { .on_data = on_missing, .data = &m };
        int r;

        buffer_printf(&path, "%s%s&from=%" PRId64, begin, stream, MAX(c->last, (int64_t) 0));
        put_filter(&path);
        call.path = buffer_str(&path);
        r = stream_run(&call, NULL, err);
        buffer_done(&m.partial);
        /* A task that is gone by now has nothing more to show. */
        return m.complete || err->code == ERR_NOT_FOUND ? 0 : r;
}

static bool on_line(void *data, const char *line, size_t len, struct error *err)
{
        struct follower *f = data;
        AUTO(client_json_decref) json_t *object = parse_line(line, len, err);
        int64_t offset = json_integer_value(json_object_get(object, "offset"));
        struct cursor *c;

        if (object == NULL)
                return false;
        c = cursor_get(f, json_string_value(json_object_get(object, "task")),
                json_string_value(json_object_get(object, "stream")));
        if (c->open && offset <= c->last) {
                c->open = offset < c->last;
                return true;
        }
        if (c->open && offset > 0 && catch_up(f, c, object, offset, err) < 0)
                return false; /* and connect again */
        c->open = false;
        c->last = offset;
        return print_line(f, object, line, len, err);
}

static bool on_lines(void *data, const char *bytes, size_t len, struct error *err)
{
        struct follower *f = data;

        return stream_each_line(&f->line, bytes, len, on_line, f, err) && flush(err);
}

/* The streams that are there at the beginning: with -n not all of them is wanted, and that is no
 * gap. */
static int begin(struct follower *f, struct error *err)
{
        AUTO(buffer_done) struct buffer path = { 0 };
        AUTO(client_json_decref) json_t *tasks = NULL;
        json_t *task;
        size_t i;

        buffer_puts(&path, client_is_task(f->subject) ? "/v1/tasks/" : "/v1/tasks?job=");
        client_put_encoded(&path, f->subject);
        if (client_get(buffer_str(&path), &tasks, err) < 0)
                return -1;
        if (json_is_object(tasks)) {
                task = tasks;
                tasks = json_array();
                json_array_append_new(tasks, task);
        }
        json_array_foreach (tasks, i, task) {
                const char *id = json_string_value(json_object_get(task, "id"));
                AUTO(mem_freep) char *out = mem_printf("%s/stdout", id);
                AUTO(mem_freep) char *errors = mem_printf("%s/stderr", id);

                cursor_add(f, out, false);
                cursor_add(f, errors, false);
        }
        return 0;
}

/* The next connection: its first line of each stream is the last one there is. */
static void begin_again(struct follower *f)
{
        struct cursor *c, *next;

        HASH_ITER (hh, f->cursors, c, next)
                c->open = true;
        buffer_reset(&f->line);
}

static int follow_once(struct follower *f, int64_t last, bool *began, struct error *err)
{
        AUTO(mem_freep) char *path = make_path(f->subject, true, true, last);
        struct stream_end end;
        int r = stream_run(&(struct stream_options){ .path = path, .on_data = on_lines, .data = f },
                &end, err);

        *began = end.began;
        return r;
}

static int follow_all(const char *subject, struct error *err)
{
        AUTO(follower_done) struct follower f = { .subject = subject };
        struct stream_retry retry = { 0 };
        int64_t last = lines;
        bool began, ever = false;

        if (begin(&f, err) < 0)
                return -1;
        for (;;) {
                if (follow_once(&f, last, &began, err) == 0)
                        return 0;
                ever = ever || began;
                if (!ever || !stream_retry_wait(&retry, began, err))
                        return -1;
                begin_again(&f);
                last = 1;
        }
}

static int run(const char *const *operands, struct error *err)
{
        if (which != NULL && strcmp(which, "stdout") != 0 && strcmp(which, "stderr") != 0)
                return error_set(
                        err, ERR_INVALID, "--stream: expected stdout or stderr, got \"%s\"", which);
        if ((after != NULL && show_parse_time("--since", after, after_text, NULL, err) < 0) ||
                (before != NULL && show_parse_time("--until", before, before_text, NULL, err) < 0))
                return -1;
        if (follow && before != NULL)
                return error_set(err, ERR_INVALID, "--until and --follow exclude each other");
        return follow ? follow_all(*operands, err) : show(*operands, err);
}

const struct command command_logs = {
        .name = "logs",
        .operands = "JOB|TASK",
        .summary = "show what tasks wrote",
        .details =
                "Both streams of all tasks in the order of time (of more than 64 tasks one after "
                "the "
                "other; with -f as they come), on standard output; lines of a "
                "job with several tasks\n"
                "begin with the task, in a colour of its own on a terminal. With -f it goes on "
                "until Ctrl-C, also over restarts of "
                "the server: no line is\n"
                "left out or shown twice. In JSON and with -f, bytes that are not UTF-8 are "
                "shown as U+FFFD.\n"
                "What is shown is chosen on the task's node. The time of a line is when it "
                "arrived, or up to 0.1 s before (1 s in a\n"
                "long log of very short lines, now and then); --since leaves out nothing for that. "
                "REGEX is an extended regular\n"
                "expression without back-references.",
        .options = options,
        .operands_min = 1,
        .operands_max = 1,
        .run = run,
};
