/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>

#include "base/buffer.h"
#include "base/text.h"
#include "cli/top-model.h"

/* Drawing of `reeve top`, in ncurses. */

enum top_page {
        TOP_TABLE,
        TOP_WHY,
        TOP_LOGS,
        TOP_HELP,
};

struct top_view {
        struct top_model *model;
        enum top_page page;
        char chosen[TEXT_NAME_MAX + 16]; /* id of the task at the cursor; "": the first */
        size_t top;                      /* first task that is seen */

        char title[TEXT_NAME_MAX + 32]; /* of the other pages */
        char **lines;                   /* their text, heap */
        size_t lines_len, first;        /* first: that is seen */
        bool follows;                   /* the end is seen */

        char prompt[160];  /* in the last line: a question, or the filter being typed */
        char message[200]; /* what came of a command, or what is wrong */
        bool bad;
};

/* The lines of the other pages. Ids, logs and sentences come as they are: what could steer the
 * terminal is left out. At most TOP_LINES_MAX, the newest. */
#define TOP_LINES_MAX 5000
void top_view_add_line(struct top_view *v, const char *text, size_t len);
void top_view_clear(struct top_view *v);

/* From here to top_screen_end() the terminal is ours. */
int top_screen_begin(struct error *err);
void top_screen_end(void);

void top_screen_draw(struct top_view *v);

/* Lines of a page that are seen at once. */
size_t top_screen_rows(void);

/* The terminal may have another size. */
void top_screen_resize(void);

/* The next key that was pressed, as ncurses calls it; -1: none. Never waits. */
int top_screen_key(void);
