/* SPDX-License-Identifier: BSD-3-Clause */
/* Variables of a run in commands and environment.
 *
 * A shell has "${...}" too, and many a command is a text for one. The names of ours have a dot
 * between two words, which no shell variable can have: "${HOME}", "${x:-a.b}" and "${x%.*}" are the
 * shell's and stay as they are; "${port.http}" can only be a mistake. */
#include "model/variables.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/mem.h"
#include "base/text.h"

#define PORTS "ports."

static void put_job(const struct variables *v, struct buffer *out)
{
        buffer_puts(out, v->job);
}

static void put_node(const struct variables *v, struct buffer *out)
{
        buffer_puts(out, v->node);
}

static void put_id(const struct variables *v, struct buffer *out)
{
        buffer_puts(out, v->task);
}

static void put_index(const struct variables *v, struct buffer *out)
{
        buffer_printf(out, "%" PRIu32, v->index);
}

static const struct {
        const char *name;
        void (*put)(const struct variables *v, struct buffer *out);
} known[] = {
        { "job.name", put_job },
        { "node.name", put_node },
        { "task.id", put_id },
        { "task.index", put_index },
};

/* ---- finding them */

enum piece { PIECE_TEXT, PIECE_ESCAPE, PIECE_VARIABLE };

static size_t word_len(const char *text)
{
        size_t n = 0;

        while (isalnum((unsigned char) text[n]) || text[n] == '_' || text[n] == '-')
                n++;
        return n;
}

/* The length of the name, if @text, behind "${", is a name of ours and "}"; else 0. */
static size_t name_len(const char *text)
{
        size_t first = word_len(text), second;

        if (first == 0 || text[first] != '.')
                return 0;
        second = word_len(text + first + 1);
        return second > 0 && text[first + 1 + second] == '}' ? first + 1 + second : 0;
}

/* The first piece of @text, which is not empty: its kind and length. */
static enum piece next_piece(const char *text, size_t *ret_len)
{
        size_t n;

        if (strncmp(text, "$${", 3) == 0) {
                *ret_len = 3;
                return PIECE_ESCAPE;
        }
        if (strncmp(text, "${", 2) == 0 && (n = name_len(text + 2)) > 0) {
                *ret_len = n + 3;
                return PIECE_VARIABLE;
        }
        *ret_len = 1 + strcspn(text + 1, "$");
        return PIECE_TEXT;
}

bool variables_any(const char *text)
{
        size_t n;

        for (; *text != '\0'; text += n)
                if (next_piece(text, &n) != PIECE_TEXT)
                        return true;
        return false;
}

/* ---- what they are */

static int find_known(const char *name)
{
        for (size_t i = 0; i < ARRAY_SIZE(known); i++)
                if (strcmp(known[i].name, name) == 0)
                        return (int) i;
        return -1;
}

/* Which port @name is ("ports.http"); -1: none. */
static int find_port(const char *name, char *const *port_names)
{
        if (strncmp(name, PORTS, strlen(PORTS)) != 0)
                return -1;
        for (int i = 0; port_names != NULL && port_names[i] != NULL; i++)
                if (strcmp(port_names[i], name + strlen(PORTS)) == 0)
                        return i;
        return -1;
}

static int refuse(const char *name, struct error *err)
{
        const char *names[ARRAY_SIZE(known) + 1] = { NULL };
        const char *nearest;

        if (strncmp(name, PORTS, strlen(PORTS)) == 0)
                return error_set(err, ERR_INVALID, "\"${%s}\": \"%s\" is not among resources.ports",
                        name, name + strlen(PORTS));
        for (size_t i = 0; i < ARRAY_SIZE(known); i++)
                names[i] = known[i].name;
        nearest = text_nearest(name, names);
        if (nearest != NULL)
                return error_set(err, ERR_INVALID,
                        "\"${%s}\": there is no such variable; did you mean \"${%s}\"?", name,
                        nearest);
        return error_set(err, ERR_INVALID,
                "\"${%s}\": there is no such variable; there are job.name, node.name, task.id, "
                "task.index and ports.NAME (\"$${\" stands for \"${\" itself)",
                name);
}

int variables_check(const char *text, char *const *port_names, struct error *err)
{
        size_t n;

        for (; *text != '\0'; text += n) {
                AUTO(mem_freep) char *name = NULL;

                if (next_piece(text, &n) != PIECE_VARIABLE)
                        continue;
                name = mem_strndup(text + 2, n - 3);
                if (find_known(name) < 0 && find_port(name, port_names) < 0)
                        return refuse(name, err);
        }
        return 0;
}

static void put_variable(
        const char *text, size_t len, const struct variables *values, struct buffer *out)
{
        AUTO(mem_freep) char *name = mem_strndup(text + 2, len - 3);
        int k = find_known(name), port = find_port(name, values->port_names);

        if (k >= 0)
                known[k].put(values, out);
        else if (port >= 0)
                buffer_printf(out, "%u", values->ports[port]);
        else
                buffer_put(out, text, len);
}

char *variables_expand(const char *text, const struct variables *values)
{
        AUTO(buffer_done) struct buffer out = { 0 };
        size_t n;

        for (; *text != '\0'; text += n)
                switch (next_piece(text, &n)) {
                case PIECE_TEXT:
                        buffer_put(&out, text, n);
                        break;
                case PIECE_ESCAPE:
                        buffer_puts(&out, "${");
                        break;
                case PIECE_VARIABLE:
                        put_variable(text, n, values, &out);
                        break;
                }
        return buffer_take(&out);
}

char *variables_port_name(const char *port)
{
        char *name = mem_printf("REEVE_PORT_%s", port);

        for (char *c = name; *c != '\0'; c++)
                *c = *c == '-' ? '_' : (char) toupper((unsigned char) *c);
        return name;
}
