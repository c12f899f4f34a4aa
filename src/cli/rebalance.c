/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/table.h"
#include "cli/terminal.h"

static bool as_json, plan;
static int64_t budget = 10;

static const struct option_row options[] = {
        { "plan", 0, OPTION_FLAG, &plan, NULL, "only show what would be moved" },
        { "budget", 'b', OPTION_INT, &budget, "N", "at most so many moves (10)" },
        { "json", 0, OPTION_FLAG, &as_json, NULL, "as JSON" },
        { NULL, 0, OPTION_FLAG, NULL, NULL, NULL },
};

static void show(const json_t *moves)
{
        static const struct table_column columns[] = { { "TASK", false }, { "FROM", false },
                { "TO", false }, { "WHY", false } };
        static const char *const members[] = { "task", "from", "to", "reason" };
        AUTO(table_freep) struct table *table = table_new(columns, ARRAY_SIZE(columns));
        const json_t *move;
        size_t i;

        json_array_foreach (moves, i, move)
                for (size_t at = 0; at < ARRAY_SIZE(members); at++) {
                        const char *text = json_string_value(json_object_get(move, members[at]));

                        table_put(table, TABLE_PLAIN, text != NULL ? text : "");
                }
        if (json_array_size(moves) == 0)
                puts("nothing would become better by moving");
        else
                terminal_print_table(table);
}

static int run(const char *const *operands, struct error *err)
{
        AUTO(mem_freep) char *path = mem_printf("/v1/rebalance?budget=%" PRId64, budget);
        AUTO(client_json_decref) json_t *moves = NULL;

        (void) operands;
        if (client_request(plan ? "GET" : "POST", path, NULL, "", 0, &moves, err) < 0)
                return -1;
        if (as_json)
                terminal_print_json(moves);
        else
                show(moves);
        return 0;
}

const struct command command_rebalance = {
        .name = "rebalance",
        .operands = "",
        .summary = "move tasks from nodes that are used much to others",
        .details = "From the most used node to the least used one that takes the task, as long as "
                   "that evens them out by a tenth of a node, or by two tasks where these ask for "
                   "nothing. Tasks move as with a drain: as `update.parallel` of their job allows. "
                   "Jobs with `place.by: pack` and singletons stay where they are.",
        .options = options,
        .operands_max = 0,
        .run = run,
};
