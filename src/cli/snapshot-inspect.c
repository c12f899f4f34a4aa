/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/snapshot.h"
#include "cli/terminal.h"
#include "store/snapshot.h"

static bool as_json;

static const struct option_row options[] = {
        { "json", 0, OPTION_FLAG, &as_json, NULL, "all rows, as one JSON object" },
        { NULL, 0, OPTION_FLAG, NULL, NULL, NULL },
};

struct inspection {
        struct snapshot_header header;
        struct snapshot_counts counts;
        uint64_t rows;
};

static int on_header(void *data, const struct snapshot_header *header, struct error *err)
{
        char created[TIME_TEXT_MAX];

        (void) err;
        ((struct inspection *) data)->header = *header;
        if (as_json)
                printf("{\"created\":\"%s\",\"reeve\":\"%s\",\"index\":%" PRIu64 ",\"rows\":[",
                        time_format_wall(created, header->created), header->reeve, header->index);
        return 0;
}

/* What is not JSON is shown as text. */
static void put_json(struct buffer *out, const char *text, size_t len)
{
        json_t *json = json_loadb(text, len, JSON_DECODE_ANY, NULL);
        char *compact = json == NULL ? NULL : json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);
        AUTO(mem_freep) char *copy = mem_strndup(text, len);

        if (compact != NULL)
                buffer_puts(out, compact);
        else
                text_put_json_string(out, copy);
        free(compact);
        json_decref(json);
}

static void print_row(const char *key, const char *value, size_t len, bool first)
{
        AUTO(buffer_done) struct buffer out = { 0 };
        const char *end = memchr(value, '\n', len);
        bool lines = end != NULL;

        buffer_puts(&out, first ? "\n{\"key\":" : ",\n{\"key\":");
        text_put_json_string(&out, key);
        buffer_puts(&out, lines ? ",\"lines\":[" : ",\"value\":");
        for (; end != NULL; end = memchr(value, '\n', len)) {
                put_json(&out, value, (size_t) (end - value));
                buffer_putc(&out, ',');
                len -= (size_t) (end - value) + 1;
                value = end + 1;
        }
        put_json(&out, value, len);
        buffer_puts(&out, lines ? "]}" : "}");
        fwrite(out.data, 1, out.len, stdout);
}

static int on_row(void *data, const char *key, const char *value, size_t len, struct error *err)
{
        struct inspection *in = data;

        (void) err;
        snapshot_count(&in->counts, key, value, len);
        if (as_json)
                print_row(key, value, len, in->rows == 0);
        in->rows++;
        return 0;
}

static void print_inspection(const char *file, const struct inspection *in)
{
        AUTO(buffer_done) struct buffer out = { 0 };
        char created[TIME_TEXT_MAX], size[TEXT_SIZE_MAX];
        struct stat st;

        buffer_printf(&out, "Snapshot: %s", file);
        if (stat(file, &st) == 0)
                buffer_printf(&out, ", %s", text_format_size(size, (uint64_t) st.st_size));
        buffer_printf(&out, ", whole\nCreated:  %s by Reeve %s\nIndex:    %" PRIu64 "\nContent:  ",
                time_format_wall(created, in->header.created), in->header.reeve, in->header.index);
        snapshot_put_counts(&in->counts, &out);
        buffer_putc(&out, '\n');
        terminal_print(&out);
}

static int run(const char *const *operands, struct error *err)
{
        const char *file = operands[0];
        struct inspection in = { 0 };
        const struct snapshot_handlers handlers = { on_header, on_row, &in };

        if (snapshot_read_file(file, &handlers, err) < 0)
                return -1;
        if (as_json)
                printf("\n],\"jobs\":%" PRIu64 ",\"tasks\":%" PRIu64 ",\"nodes\":%" PRIu64
                       ",\"events\":%" PRIu64 ",\"tokens\":%" PRIu64 "}\n",
                        in.counts.jobs, in.counts.tasks, in.counts.nodes, in.counts.events,
                        in.counts.tokens);
        else
                print_inspection(file, &in);
        return 0;
}

const struct command command_snapshot_inspect = {
        .name = "snapshot inspect",
        .operands = "FILE",
        .summary = "say what is in a snapshot, and whether it is whole",
        .details = "Needs no server. FILE is lines of JSON, one row of the store each, with their "
                   "SHA-256 in the last one.",
        .options = options,
        .operands_min = 1,
        .operands_max = 1,
        .run = run,
};
