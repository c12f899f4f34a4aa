/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/terminal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define WIDTH_DEFAULT 80

size_t terminal_width(void)
{
        struct winsize size;

        if (!isatty(STDOUT_FILENO))
                return 0;
        if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
                return size.ws_col;
        return WIDTH_DEFAULT;
}

bool terminal_colour(void)
{
        const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

        return isatty(STDOUT_FILENO) && (no == NULL || *no == '\0') &&
               (term == NULL || strcmp(term, "dumb") != 0);
}

void terminal_print(const struct buffer *text)
{
        fwrite(buffer_str(text), 1, text->len, stdout);
}

void terminal_print_table(const struct table *t)
{
        AUTO(buffer_done) struct buffer text = { 0 };

        table_write(t, terminal_width(), terminal_colour(), &text);
        terminal_print(&text);
}

void terminal_print_json(const json_t *json)
{
        json_dumpf(json, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
        putchar('\n');
}
