/* SPDX-License-Identifier: BSD-3-Clause */
/* What the commands about snapshots share. */
#include "cli/snapshot.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>

static bool is_in(const char *key, const char *folder)
{
        return strncmp(key, folder, strlen(folder)) == 0;
}

static uint64_t count_tasks(const char *value, size_t len)
{
        json_t *chunk = json_loadb(value, len, 0, NULL);
        uint64_t count = json_array_size(chunk);

        json_decref(chunk);
        return count;
}

/* The events of one commit, a line each. */
static uint64_t count_lines(const char *value, size_t len)
{
        uint64_t count = 1;

        for (size_t i = 0; i < len; i++)
                count += value[i] == '\n';
        return count;
}

void snapshot_count(struct snapshot_counts *counts, const char *key, const char *value, size_t len)
{
        if (is_in(key, "job/"))
                counts->jobs++;
        else if (is_in(key, "tasks/"))
                counts->tasks += count_tasks(value, len);
        else if (is_in(key, "node/"))
                counts->nodes++;
        else if (is_in(key, "event/"))
                counts->events += count_lines(value, len);
        else if (is_in(key, "token/"))
                counts->tokens++;
        else if (!is_in(key, "notes/")) /* these are of nodes, which are counted */
                counts->others++;
}

void snapshot_put_counts(const struct snapshot_counts *counts, struct buffer *out)
{
        const struct {
                const char *noun;
                uint64_t count;
                bool always;
        } rows[] = {
                { "job", counts->jobs, true },
                { "task", counts->tasks, true },
                { "node", counts->nodes, true },
                { "event", counts->events, true },
                { "token", counts->tokens, false },
                { "other row", counts->others, false },
        };

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
                if (rows[i].always || rows[i].count > 0)
                        buffer_printf(out, "%s%" PRIu64 " %s%s", i == 0 ? "" : ", ", rows[i].count,
                                rows[i].noun, rows[i].count == 1 ? "" : "s");
}
