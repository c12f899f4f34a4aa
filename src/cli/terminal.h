/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "cli/table.h"

/* What commands print, and what it is printed on. */

/* Columns of the terminal on standard output, 80 if it does not say; 0 if that is no terminal: then
 * nothing is cut or broken. */
size_t terminal_width(void);

/* Whether colour is wanted: a terminal, and neither NO_COLOR nor TERM=dumb. */
bool terminal_colour(void);

void terminal_print(const struct buffer *text);
void terminal_print_table(const struct table *t);
void terminal_print_json(const json_t *json); /* indented, with a line break */
