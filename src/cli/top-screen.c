/* SPDX-License-Identifier: BSD-3-Clause */
/* Top's screen. Each draw puts the whole page together and leaves it to ncurses to send what
 * differs, so that nothing flickers. All that comes from outside passes columns_put(), which counts
 * columns and lets no control character through. Colour only adds to what the words say. */
#include "cli/top-screen.h"

#include <inttypes.h>
#include <locale.h>
#include <ncurses.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/ansi.h"
#include "cli/columns.h"
#include "cli/show.h"
#include "cli/terminal.h"

#define HEAD_ROWS  3 /* machine, tasks, message */
#define BAR_WIDTH  8
#define TASK_MIN   8
#define TASK_MAX   28
#define NODE_MAX   12
#define ESCAPE_MS  25
#define STATE_COLS 9

static bool colours;
static SCREEN *screen;

/* ---- text */

/* Puts text at a place, at most @width columns of it; returns those that it takes. */
static int put(int row, int column, int width, const char *text)
{
        AUTO(buffer_done) struct buffer out = { 0 };
        size_t used;

        if (width <= 0 || row >= LINES)
                return 0;
        used = columns_put(&out, text, (size_t) width);
        mvaddstr(row, column, buffer_str(&out));
        return (int) used;
}

static void put_right(int row, int column, int width, const char *text)
{
        int used = (int) MIN(columns_width(text), (size_t) width);

        put(row, column + width - used, used, text);
}

static void set_style(enum table_style style)
{
        attrset(A_NORMAL);
        if (style == TABLE_BAD)
                attrset(colours ? COLOR_PAIR(1) | A_BOLD : A_BOLD);
        else if (style == TABLE_GOOD && colours)
                attrset(COLOR_PAIR(2));
        else if (style == TABLE_WARN)
                attrset(colours ? COLOR_PAIR(3) : A_BOLD);
        else if (style == TABLE_DIM && colours)
                attrset(A_DIM);
}

/* ---- lines of text */

void top_view_clear(struct top_view *v)
{
        for (size_t i = 0; i < v->lines_len; i++)
                free(v->lines[i]);
        free(v->lines);
        v->lines = NULL;
        v->lines_len = v->first = 0;
}

/* Without sequences that steer a terminal, and with tabs as spaces. */
static char *clean(const char *text, size_t len)
{
        AUTO(buffer_done) struct buffer plain = { 0 };
        struct buffer out = { 0 };
        struct ansi ansi = { 0 };

        ansi_strip(&ansi, text, len, &plain);
        for (size_t i = 0; i < plain.len; i++)
                if (plain.data[i] == '\t')
                        buffer_puts(&out, "        ");
                else if (plain.data[i] != '\r' && plain.data[i] != '\0')
                        buffer_putc(&out, plain.data[i]);
        return buffer_take(&out);
}

void top_view_add_line(struct top_view *v, const char *text, size_t len)
{
        if (v->lines_len == TOP_LINES_MAX) {
                free(v->lines[0]);
                memmove(v->lines, v->lines + 1, --v->lines_len * sizeof *v->lines);
                v->first -= v->first > 0;
        }
        if (v->lines == NULL)
                v->lines = mem_alloc(TOP_LINES_MAX * sizeof *v->lines);
        v->lines[v->lines_len++] = clean(text, len);
}

/* ---- head */

static void put_bar(struct buffer *out, int64_t part, int64_t all)
{
        int filled = 0;

        if (all > 0 && part >= 0)
                filled = (int) ((double) MIN(part, all) * BAR_WIDTH / (double) all + 0.5);
        buffer_putc(out, '[');
        for (int i = 0; i < BAR_WIDTH; i++)
                buffer_putc(out, i < filled ? '|' : ' ');
        buffer_putc(out, ']');
}

static void draw_machine(const struct top_model *m)
{
        AUTO(buffer_done) struct buffer out = { 0 };
        struct node_vitals sum = top_model_sum(m);

        if (m->nodes_len == 1)
                buffer_puts(&out, m->nodes[0].node);
        else
                buffer_printf(&out, "%zu nodes", m->nodes_len);
        buffer_printf(&out, ": %" PRId64 " cores  CPU ", sum.cores);
        put_bar(&out, sum.cpu, sum.cores * 1000);
        if (sum.cpu != RECORD_NULL && sum.cores > 0)
                buffer_printf(&out, " %3" PRId64 "%%", sum.cpu / sum.cores / 10);
        buffer_puts(&out, "  mem ");
        put_bar(&out, sum.memory, sum.memory_total);
        buffer_putc(&out, ' ');
        show_bytes(&out, sum.memory, sum.memory_total);
        if (m->nodes_len == 1 && sum.load != RECORD_NULL)
                buffer_printf(
                        &out, "  load %" PRId64 ".%02" PRId64, sum.load / 100, sum.load % 100);
        put(0, 0, COLS, m->nodes_len == 0 ? "no machine has said yet how it is" : buffer_str(&out));
}

static void draw_tasks(const struct top_model *m)
{
        AUTO(buffer_done) struct buffer out = { 0 };

        buffer_puts(&out, "tasks: ");
        top_put_states(&out, m);
        buffer_printf(&out, "  sorted by %s%s", top_orders[m->sort].name,
                m->backwards ? ", backwards" : "");
        if (m->filter[0] != '\0')
                buffer_printf(&out, "  with \"%s\": %zu", m->filter, m->shown_len);
        put(1, 0, COLS, buffer_str(&out));
}

static void draw_head(const struct top_view *v)
{
        set_style(TABLE_PLAIN);
        draw_machine(v->model);
        draw_tasks(v->model);
        set_style(v->bad ? TABLE_BAD : TABLE_PLAIN);
        put(2, 0, COLS, v->message);
}

/* ---- the table */

struct widths {
        int column[TOP_COLUMNS]; /* 0: left out */
};

static void measure(const struct top_view *v, struct widths *ret)
{
        const struct top_model *m = v->model;
        size_t task = TASK_MIN, node = 4;

        for (size_t i = 0; i < m->shown_len; i++) {
                const struct task_status *s = &m->shown[i]->status;

                task = MAX(task, columns_width(s->id));
                node = MAX(node, s->node != NULL ? columns_width(s->node) : 0);
        }
        *ret = (struct widths){ .column = {
                                        [TOP_COLUMN_TASK] = (int) MIN(task, (size_t) TASK_MAX),
                                        [TOP_COLUMN_STATE] = STATE_COLS,
                                        [TOP_COLUMN_NODE] =
                                                m->nodes_len > 1
                                                        ? (int) MIN(node, (size_t) NODE_MAX)
                                                        : 0,
                                        [TOP_COLUMN_CPU] = 6,
                                        [TOP_COLUMN_MEMORY] = 8,
                                        [TOP_COLUMN_RUNS] = 4,
                                        [TOP_COLUMN_AGE] = 7,
                                        [TOP_COLUMN_REASON] = COLS,
                                } };
}

static void draw_cell(int row, int at, int width, enum top_column column, const char *text)
{
        width = MIN(width, COLS - at);
        if ((top_columns[column].flags & TABLE_RIGHT) != 0)
                put_right(row, at, width, text);
        else
                put(row, at, width, text);
}

static void draw_titles(int row, const struct widths *w)
{
        attrset(A_REVERSE);
        mvhline(row, 0, ' ', COLS);
        for (int i = 0, at = 0; i < TOP_COLUMNS && at < COLS; i++) {
                if (w->column[i] == 0)
                        continue;
                draw_cell(row, at, w->column[i], (enum top_column) i, top_columns[i].title);
                at += w->column[i] + 1;
        }
}

static enum table_style state_style(const struct task_status *s)
{
        if (s->state == TASK_RUNNING)
                return s->ready && s->healthy ? TABLE_GOOD : TABLE_WARN;
        if (s->state == TASK_LOST || (s->state == TASK_ENDED && s->result != RESULT_SUCCEEDED &&
                                             s->result != RESULT_STOPPED))
                return TABLE_BAD;
        return s->state == TASK_ENDED ? TABLE_DIM : TABLE_WARN;
}

static void draw_task(
        int row, const struct widths *w, const struct top_task *t, bool chosen, usec_t now)
{
        for (int i = 0, at = 0; i < TOP_COLUMNS && at < COLS; i++) {
                AUTO(buffer_done) struct buffer cell = { 0 };

                if (w->column[i] == 0)
                        continue;
                set_style(i == TOP_COLUMN_STATE ? state_style(&t->status) : TABLE_PLAIN);
                top_put_cell(&cell, t, (enum top_column) i, now);
                draw_cell(row, at, w->column[i], (enum top_column) i, buffer_str(&cell));
                at += w->column[i] + 1;
        }
        if (chosen)
                mvchgat(row, 0, -1, A_REVERSE, 0, NULL);
}

/* The cursor stays with its task; a task that is gone leaves it to the first one. */
static size_t find_chosen(struct top_view *v)
{
        const struct top_model *m = v->model;
        size_t at = v->chosen[0] != '\0' ? top_model_place(m, v->chosen) : 0;
        size_t rows = top_screen_rows();

        if (at >= m->shown_len)
                at = 0;
        if (at < v->top)
                v->top = at;
        if (at >= v->top + rows)
                v->top = at - rows + 1;
        if (v->top + rows > m->shown_len)
                v->top = m->shown_len - MIN(rows, m->shown_len);
        return at;
}

static void draw_table(struct top_view *v)
{
        const struct top_model *m = v->model;
        size_t chosen = find_chosen(v), rows = top_screen_rows();
        struct widths w;
        usec_t now = time_wall();

        measure(v, &w);
        draw_titles(HEAD_ROWS, &w);
        for (size_t i = v->top; i < m->shown_len && i < v->top + rows; i++)
                draw_task(HEAD_ROWS + 1 + (int) (i - v->top), &w, m->shown[i], i == chosen, now);
}

/* ---- the other pages */

static void draw_text(struct top_view *v)
{
        size_t rows = top_screen_rows(), last = v->lines_len - MIN(rows, v->lines_len);

        if (v->follows)
                v->first = last;
        v->first = MIN(v->first, last);
        attrset(A_REVERSE);
        mvhline(HEAD_ROWS, 0, ' ', COLS);
        put(HEAD_ROWS, 0, COLS, v->title);
        attrset(A_NORMAL);
        for (size_t i = 0; i < rows && v->first + i < v->lines_len; i++)
                put(HEAD_ROWS + 1 + (int) i, 0, COLS, v->lines[v->first + i]);
}

static const char *hint(enum top_page page)
{
        switch (page) {
        case TOP_TABLE:
                return "Enter why  l log  r restart  s stop  / filter  c m n a sort  ? help  q "
                       "quit";
        case TOP_LOGS:
                return "up down page-up page-down scroll, End follows  q back";
        case TOP_WHY:
        case TOP_HELP:
                return "up down scroll  q back";
        }
        return "";
}

void top_screen_draw(struct top_view *v)
{
        erase();
        draw_head(v);
        if (v->page == TOP_TABLE)
                draw_table(v);
        else
                draw_text(v);
        attrset(v->prompt[0] != '\0' ? A_BOLD : A_NORMAL);
        put(LINES - 1, 0, COLS - 1, v->prompt[0] != '\0' ? v->prompt : hint(v->page));
        attrset(A_NORMAL);
        refresh();
}

size_t top_screen_rows(void)
{
        return (size_t) MAX(LINES - HEAD_ROWS - 2, 1);
}

/* ---- the terminal */

int top_screen_begin(struct error *err)
{
        setlocale(LC_CTYPE, "");
        if (MB_CUR_MAX == 1) /* our words are UTF-8 in every locale */
                setlocale(LC_CTYPE, "C.UTF-8");
        screen = newterm(NULL, stdout, stdin);
        if (screen == NULL)
                return error_set(err, ERR_INVALID,
                        "the terminal cannot show a screen (TERM is %s); try --once",
                        getenv("TERM") != NULL ? getenv("TERM") : "not set");
        colours = terminal_colour() && has_colors();
        if (colours) {
                start_color();
                use_default_colors();
                init_pair(1, COLOR_RED, -1);
                init_pair(2, COLOR_GREEN, -1);
                init_pair(3, COLOR_YELLOW, -1);
        }
        cbreak();
        noecho();
        curs_set(0);
        keypad(stdscr, TRUE);
        nodelay(stdscr, TRUE);
        set_escdelay(ESCAPE_MS);
        return 0;
}

void top_screen_end(void)
{
        endwin();
        delscreen(screen);
        screen = NULL;
}

void top_screen_resize(void)
{
        struct winsize size;

        if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0)
                resizeterm(size.ws_row, size.ws_col);
}

int top_screen_key(void)
{
        int key = getch();

        return key == ERR ? -1 : key;
}
