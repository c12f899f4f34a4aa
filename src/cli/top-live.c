/* SPDX-License-Identifier: BSD-3-Clause */
/* Top's live part: one loop in which the keyboard, the server's answers and time are waited for.
 *
 * Tasks come by a long poll: a change of state is seen when it happens, though at most every
 * TASKS_GAP_MS. CPU and memory come every so often. Both go on while a person looks at a log or
 * reads why. A server that is away is asked again until it is back; the screen says so meanwhile.
 *
 * A fetch is one request and what becomes of its answer; there is one per kind of question, and a
 * new one takes the place of the old. */
#include "cli/top-live.h"

#include <inttypes.h>
#include <ncurses.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "base/mem.h"
#include "base/text.h"
#include "cli/client.h"
#include "cli/show.h"
#include "cli/top-screen.h"
#include "cli/watch.h"
#include "net/http-client.h"

#define TASKS_GAP_MS 250
#define RETRY_MS     1000
#define WAIT         (30 * USEC_SEC)
#define WAIT_MORE    (10 * USEC_SEC)
#define BODY_MAX     ((size_t) 256 * 1024 * 1024)
#define LOG_LINES    500
#define ESCAPE       27

struct live;

enum fetch_kind { FETCH_TASKS, FETCH_VITALS, FETCH_WHY, FETCH_LOGS, FETCH_COMMAND, FETCHES };

struct fetch {
        struct live *live;
        struct http_call *call; /* NULL: none is under way */
        int status;
        uint64_t index; /* Reeve-Index */
        struct buffer body;
        uv_timer_t again;
};

struct live {
        struct top_view view;
        const struct top_query *query;
        struct address address;
        uv_loop_t loop;
        struct fetch fetches[FETCHES];
        struct watch keys;
        uv_signal_t resized, ends[3];
        char *done_message;            /* of the command under way */
        char stop[TEXT_NAME_MAX + 16]; /* the task that a person is asked about; "": none */
        bool typing;                   /* the filter */
        char filter_before[TOP_FILTER_MAX];
        bool away; /* the server does not answer */
        bool ended;
};

static void put_parameter(struct buffer *out, const char *name, const char *value)
{
        if (value == NULL)
                return;
        buffer_printf(out, "%c%s=", strchr(buffer_str(out), '?') == NULL ? '?' : '&', name);
        client_put_encoded(out, value);
}

void top_put_tasks_path(struct buffer *out, const struct top_query *query)
{
        buffer_puts(out, "/v1/tasks");
        put_parameter(out, "job", query->job);
        put_parameter(out, "node", query->node);
}

void top_put_vitals_path(struct buffer *out, const struct top_query *query, usec_t max_age)
{
        buffer_printf(out, "/v1/vitals?max_age=%" PRIu64 "ms", max_age / USEC_MSEC);
        put_parameter(out, "node", query->node);
}

static void draw(struct live *l)
{
        if (!l->ended)
                top_screen_draw(&l->view);
}

static void say(struct live *l, bool bad, const char *format, ...) PRINTF_LIKE(3, 4);
static void say(struct live *l, bool bad, const char *format, ...)
{
        va_list ap;

        va_start(ap, format);
        vsnprintf(l->view.message, sizeof l->view.message, format, ap);
        va_end(ap);
        l->view.bad = bad;
}

static void end(struct live *l)
{
        l->ended = true;
        uv_stop(&l->loop);
}

/* ---- questions */

static void answer(struct live *l, enum fetch_kind kind);
static void ask_tasks(uv_timer_t *timer);
static void ask_vitals(uv_timer_t *timer);

static enum fetch_kind kind_of(const struct fetch *f)
{
        return (enum fetch_kind)(f - f->live->fetches);
}

static void on_head(void *data, int status)
{
        struct fetch *f = data;
        const char *index = http_call_header(f->call, "Reeve-Index");
        int64_t number;

        f->status = status;
        if (index != NULL && text_parse_int(index, 0, INT64_MAX, &number))
                f->index = (uint64_t) number;
}

static void take_log(struct live *l, struct fetch *f)
{
        const char *end;
        size_t used = 0;

        while ((end = memchr(f->body.data + used, '\n', f->body.len - used)) != NULL) {
                size_t len = (size_t) (end - f->body.data) - used;

                top_view_add_line(&l->view, f->body.data + used, len);
                used += len + 1;
        }
        buffer_consume(&f->body, used);
        if (used > 0)
                draw(l);
}

static void on_data(void *data, const void *bytes, size_t len)
{
        struct fetch *f = data;

        if (f->body.len + len > BODY_MAX) {
                http_call_cancel(take_ptr(f->call));
                say(f->live, true, "the answer is too large");
                return;
        }
        buffer_put(&f->body, bytes, len);
        if (kind_of(f) == FETCH_LOGS && f->status == 200)
                take_log(f->live, f);
}

static bool is_success(const struct fetch *f)
{
        return f->status >= 200 && f->status <= 299;
}

static void on_end(void *data, const struct error *err)
{
        struct fetch *f = data;
        struct live *l = f->live;
        struct error why = ERROR_INIT;

        f->call = NULL;
        if (err != NULL) {
                why = *err;
                client_unreachable(&l->address, &why);
        } else if (!is_success(f)) {
                client_problem(f->status, buffer_str(&f->body), f->body.len, &why);
        } else {
                answer(l, kind_of(f));
                draw(l);
                return;
        }
        if (kind_of(f) == FETCH_TASKS || kind_of(f) == FETCH_VITALS) {
                l->away = true;
                f->index = 0;
                uv_timer_start(
                        &f->again, kind_of(f) == FETCH_TASKS ? ask_tasks : ask_vitals, RETRY_MS, 0);
        }
        say(l, true, "%s", why.message);
        draw(l);
}

static void cancel(struct live *l, enum fetch_kind kind)
{
        http_call_cancel(take_ptr(l->fetches[kind].call));
}

/* Takes the bytes of @path. */
static void ask(struct live *l, enum fetch_kind kind, const char *method, struct buffer *path,
        usec_t timeout)
{
        const struct http_call_options options = { .method = method,
                .path = buffer_str(path),
                .headers = client_headers(),
                .body = strcmp(method, "POST") == 0 ? "{}" : NULL,
                .len = strcmp(method, "POST") == 0 ? 2 : 0,
                .on_head = on_head,
                .on_data = on_data,
                .on_end = on_end,
                .data = &l->fetches[kind],
                .timeout = timeout };
        struct error err;

        cancel(l, kind);
        buffer_reset(&l->fetches[kind].body);
        l->fetches[kind].status = 0;
        if (http_call_start(&l->loop, &l->address, &options, &l->fetches[kind].call, &err) < 0)
                say(l, true, "%s", err.message);
        buffer_done(path);
}

static void ask_tasks(uv_timer_t *timer)
{
        struct live *l = timer->data;
        uint64_t index = l->fetches[FETCH_TASKS].index;
        struct buffer path = { 0 };

        top_put_tasks_path(&path, l->query);
        if (index > 0)
                buffer_printf(&path, "%cindex=%" PRIu64 "&wait=%" PRIu64 "s",
                        strchr(path.data, '?') == NULL ? '?' : '&', index,
                        (uint64_t) (WAIT / USEC_SEC));
        ask(l, FETCH_TASKS, "GET", &path, WAIT + WAIT_MORE);
}

static void ask_vitals(uv_timer_t *timer)
{
        struct live *l = timer->data;
        struct buffer path = { 0 };

        /* half of it: the agents shall look anew each time */
        top_put_vitals_path(&path, l->query, l->query->every / 2);
        ask(l, FETCH_VITALS, "GET", &path, WAIT_MORE);
}

static void ask_about(struct live *l, enum fetch_kind kind, const char *method, const char *before,
        const char *id, const char *rest)
{
        struct buffer path = { 0 };

        buffer_puts(&path, before);
        client_put_encoded(&path, id);
        buffer_puts(&path, rest);
        ask(l, kind, method, &path, kind == FETCH_LOGS ? 0 : CLIENT_WAIT);
}

/* ---- answers */

static void set_tasks(struct live *l, const json_t *json)
{
        struct fetch *f = &l->fetches[FETCH_TASKS];
        struct error err;

        uv_timer_start(&f->again, ask_tasks, TASKS_GAP_MS, 0);
        if (l->away)
                say(l, false, "%s", "");
        l->away = false;
        if (top_model_set_tasks(l->view.model, json, &err) < 0)
                say(l, true, "%s", err.message);
        top_model_arrange(l->view.model);
}

static void set_vitals(struct live *l, const json_t *json)
{
        struct error err;

        uv_timer_start(&l->fetches[FETCH_VITALS].again, ask_vitals, l->query->every / USEC_MSEC, 0);
        if (top_model_set_vitals(l->view.model, json, &err) < 0)
                say(l, true, "%s", err.message);
        top_model_arrange(l->view.model);
}

static void add_lines(struct live *l, const char *text)
{
        while (*text != '\0') {
                size_t len = strcspn(text, "\n");

                top_view_add_line(&l->view, text, len);
                text += len + (text[len] == '\n');
        }
}

static void set_why(struct live *l, const json_t *json)
{
        AUTO(buffer_done) struct buffer text = { 0 };

        show_why(&text, l->view.chosen, json, (size_t) COLS);
        top_view_clear(&l->view);
        add_lines(l, buffer_str(&text));
}

static void answer(struct live *l, enum fetch_kind kind)
{
        struct fetch *f = &l->fetches[kind];
        AUTO(client_json_decref)
        json_t *json =
                kind == FETCH_LOGS ? NULL : json_loadb(buffer_str(&f->body), f->body.len, 0, NULL);

        switch (kind) {
        case FETCH_TASKS:
                set_tasks(l, json);
                break;
        case FETCH_VITALS:
                set_vitals(l, json);
                break;
        case FETCH_WHY:
                if (l->view.page == TOP_WHY)
                        set_why(l, json);
                break;
        case FETCH_COMMAND:
                say(l, false, "%s", l->done_message);
                break;
        case FETCH_LOGS: /* it has ended: the task is no more */
        case FETCHES:
                break;
        }
        buffer_done(&f->body);
}

/* ---- keys: what a person wants */

static const char *chosen(struct live *l)
{
        const struct top_model *m = l->view.model;
        size_t at = l->view.chosen[0] != '\0' ? top_model_place(m, l->view.chosen) : 0;

        if (m->shown_len == 0)
                return NULL;
        snprintf(l->view.chosen, sizeof l->view.chosen, "%s",
                m->shown[at < m->shown_len ? at : 0]->status.id);
        return l->view.chosen;
}

static void move_cursor(struct live *l, int64_t by)
{
        const struct top_model *m = l->view.model;
        int64_t at;

        if (chosen(l) == NULL)
                return;
        at = (int64_t) top_model_place(m, l->view.chosen) + by;
        at = MIN(MAX(at, (int64_t) 0), (int64_t) m->shown_len - 1);
        snprintf(l->view.chosen, sizeof l->view.chosen, "%s", m->shown[at]->status.id);
}

static void open_page(struct live *l, enum top_page page, const char *title)
{
        top_view_clear(&l->view);
        l->view.page = page;
        l->view.follows = page == TOP_LOGS;
        say(l, false, "%s", "");
        snprintf(l->view.title, sizeof l->view.title, "%s", title);
}

static void close_page(struct live *l)
{
        cancel(l, FETCH_LOGS);
        cancel(l, FETCH_WHY);
        open_page(l, TOP_TABLE, "");
}

static void open_why(struct live *l)
{
        if (chosen(l) == NULL)
                return;
        open_page(l, TOP_WHY, l->view.chosen);
        ask_about(l, FETCH_WHY, "GET", "/v1/why/", l->view.chosen, "");
}

static void open_logs(struct live *l)
{
        char rest[64], title[sizeof l->view.title];

        if (chosen(l) == NULL)
                return;
        snprintf(title, sizeof title, "log of %s", l->view.chosen);
        open_page(l, TOP_LOGS, title);
        snprintf(rest, sizeof rest, "/logs?follow=true&lines=%d", LOG_LINES);
        ask_about(l, FETCH_LOGS, "GET", "/v1/tasks/", l->view.chosen, rest);
}

static void open_help(struct live *l)
{
        open_page(l, TOP_HELP, "keys");
        add_lines(l,
                "up, down, page-up, page-down, home, end: choose a task\n"
                "c  sort by CPU       m  by memory     n  by name      a  by age\n"
                "u  by runs           t  by state      o  by node      the same again: backwards\n"
                "/  filter: part of the name, state, node or reason; empty: all\n"
                "Enter  why it is as it is\n"
                "l  its log, followed\n"
                "r  restart it\n"
                "s  stop it (you are asked)\n"
                "q  back, or end\n"
                "\n"
                "CPU% is of one core, between the last two looks. MEMORY is what its cgroup\n"
                "counts if limits.memory is given, else the resident memory of its processes.\n");
}

static void command(struct live *l, const char *id, const char *verb, const char *done)
{
        free(l->done_message);
        l->done_message = mem_printf("%s: %s", id, done);
        say(l, false, "%s: ...", id);
        ask_about(l, FETCH_COMMAND, "POST", "/v1/tasks/", id, verb);
}

static void ask_to_stop(struct live *l)
{
        if (chosen(l) == NULL)
                return;
        snprintf(l->stop, sizeof l->stop, "%s", l->view.chosen);
        snprintf(l->view.prompt, sizeof l->view.prompt, "stop %s? (y/n)", l->stop);
}

static void on_stop_key(struct live *l, int key)
{
        if (key == 'y' || key == 'Y')
                command(l, l->stop, "/stop", "is being stopped");
        l->stop[0] = l->view.prompt[0] = '\0';
}

static void sort_by(struct live *l, enum top_sort sort)
{
        struct top_model *m = l->view.model;

        m->backwards = m->sort == sort && !m->backwards;
        m->sort = sort;
        top_model_arrange(m);
        l->view.top = 0;
}

static void show_filter(struct live *l)
{
        snprintf(l->view.prompt, sizeof l->view.prompt, "filter: %s_", l->view.model->filter);
        top_model_arrange(l->view.model);
}

static void begin_filter(struct live *l)
{
        memcpy(l->filter_before, l->view.model->filter, sizeof l->filter_before);
        l->view.model->filter[0] = '\0';
        l->typing = true;
        show_filter(l);
}

static void on_filter_key(struct live *l, int key)
{
        char *filter = l->view.model->filter;
        size_t len = strlen(filter);

        if (key == ESCAPE)
                memcpy(filter, l->filter_before, sizeof l->filter_before);
        if (key == ESCAPE || key == '\n' || key == '\r' || key == KEY_ENTER) {
                l->typing = false;
                l->view.prompt[0] = '\0';
                top_model_arrange(l->view.model);
                return;
        }
        if ((key == KEY_BACKSPACE || key == 127 || key == '\b') && len > 0)
                filter[len - 1] = '\0';
        else if (key >= ' ' && key < 256 && key != 127 && len + 1 < TOP_FILTER_MAX) {
                filter[len] = (char) key;
                filter[len + 1] = '\0';
        }
        show_filter(l);
}

static bool on_sort_key(struct live *l, int key)
{
        for (int i = 0; i < TOP_SORTS; i++)
                if (top_orders[i].key == key) {
                        sort_by(l, (enum top_sort) i);
                        return true;
                }
        return false;
}

/* How far a key goes; 0 if it does not. */
static int64_t steps_of(int key)
{
        int64_t page = (int64_t) top_screen_rows();

        switch (key) {
        case KEY_UP:
        case 'k':
                return -1;
        case KEY_DOWN:
        case 'j':
                return 1;
        case KEY_PPAGE:
                return -page;
        case KEY_NPAGE:
        case ' ':
                return page;
        case KEY_HOME:
                return -INT32_MAX;
        case KEY_END:
                return INT32_MAX;
        default:
                return 0;
        }
}

static void on_table_key(struct live *l, int key)
{
        if (steps_of(key) != 0)
                move_cursor(l, steps_of(key));
        else if (key == 'q')
                end(l);
        else if (key == '\n' || key == '\r' || key == KEY_ENTER || key == 'w')
                open_why(l);
        else if (key == 'l')
                open_logs(l);
        else if (key == 'r' && chosen(l) != NULL)
                command(l, l->view.chosen, "/restart", "is being restarted");
        else if (key == 's')
                ask_to_stop(l);
        else if (key == '/')
                begin_filter(l);
        else if (key == '?' || key == 'h')
                open_help(l);
        else
                on_sort_key(l, key);
}

static void on_text_key(struct live *l, int key)
{
        struct top_view *v = &l->view;
        int64_t steps = steps_of(key);

        if (key == 'q' || key == ESCAPE) {
                close_page(l);
                return;
        }
        if (steps == 0)
                return;
        v->first = (size_t) MAX((int64_t) v->first + steps, (int64_t) 0);
        v->follows = v->page == TOP_LOGS && key == KEY_END;
}

static void on_key(struct live *l, int key)
{
        if (key == KEY_RESIZE)
                return;
        if (l->typing)
                on_filter_key(l, key);
        else if (l->stop[0] != '\0')
                on_stop_key(l, key);
        else if (l->view.page == TOP_TABLE)
                on_table_key(l, key);
        else
                on_text_key(l, key);
}

static void on_keys(void *data)
{
        struct live *l = data;
        int key, taken = 0;

        while (!l->ended && (key = top_screen_key()) >= 0) {
                on_key(l, key);
                taken++;
        }
        if (taken == 0) { /* readable, and nothing to read: the terminal is gone */
                end(l);
                return;
        }
        draw(l);
}

/* ---- life */

static void on_resized(uv_signal_t *handle, int number)
{
        (void) number;
        top_screen_resize();
        draw(handle->data);
}

static void on_end_signal(uv_signal_t *handle, int number)
{
        (void) number;
        end(handle->data);
}

static const int end_signals[] = { SIGINT, SIGTERM, SIGHUP };

static void init(struct live *l)
{
        for (int i = 0; i < FETCHES; i++) {
                l->fetches[i].live = l;
                uv_timer_init(&l->loop, &l->fetches[i].again);
                l->fetches[i].again.data = l;
        }
        uv_signal_init(&l->loop, &l->resized);
        l->resized.data = l;
        for (size_t i = 0; i < ARRAY_SIZE(end_signals); i++) {
                uv_signal_init(&l->loop, &l->ends[i]);
                l->ends[i].data = l;
        }
}

static void begin(struct live *l)
{
        uv_signal_start(&l->resized, on_resized, SIGWINCH);
        for (size_t i = 0; i < ARRAY_SIZE(end_signals); i++)
                uv_signal_start(&l->ends[i], on_end_signal, end_signals[i]);
        uv_timer_start(&l->fetches[FETCH_TASKS].again, ask_tasks, 0, 0);
        uv_timer_start(&l->fetches[FETCH_VITALS].again, ask_vitals, 0, 0);
        watch_set(&l->keys, true);
        draw(l);
}

static void close_handles(struct live *l)
{
        for (int i = 0; i < FETCHES; i++)
                uv_close((uv_handle_t *) &l->fetches[i].again, NULL);
        uv_close((uv_handle_t *) &l->resized, NULL);
        for (size_t i = 0; i < ARRAY_SIZE(end_signals); i++)
                uv_close((uv_handle_t *) &l->ends[i], NULL);
        watch_set(&l->keys, false);
        if (l->keys.epoll >= 0) {
                uv_close((uv_handle_t *) &l->keys.poll, NULL);
                uv_run(&l->loop, UV_RUN_NOWAIT);
                close(l->keys.epoll);
        } else {
                uv_close((uv_handle_t *) &l->keys.idle, NULL);
        }
}

static void finish(struct live *l)
{
        for (int i = 0; i < FETCHES; i++)
                cancel(l, (enum fetch_kind) i);
        close_handles(l);
        uv_run(&l->loop, UV_RUN_DEFAULT);
        uv_loop_close(&l->loop);
        for (int i = 0; i < FETCHES; i++)
                buffer_done(&l->fetches[i].body);
        top_view_clear(&l->view);
        free(l->done_message);
}

int top_live(struct top_model *m, const struct top_query *query, struct error *err)
{
        struct live l = { .view = { .model = m }, .query = query };
        AUTO(client_json_decref) json_t *version = NULL;
        int r;

        /* who is not there, or does not let us in, is told of without a screen */
        if (client_get("/v1/version", &version, err) < 0 || client_address(&l.address, err) < 0)
                return -1;
        uv_loop_init(&l.loop);
        if (watch_init(&l.keys, &l.loop, STDIN_FILENO, false, on_keys, &l, err) < 0) {
                uv_loop_close(&l.loop);
                return -1;
        }
        init(&l);
        r = top_screen_begin(err);
        if (r == 0) {
                begin(&l);
                uv_run(&l.loop, UV_RUN_DEFAULT);
                top_screen_end();
        }
        l.ended = true;
        finish(&l);
        return r;
}
