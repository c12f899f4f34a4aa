/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>
#include <stdio.h>

#include "base/macros.h"
#include "base/time.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/terminal.h"
#include "model/token.h"

static bool as_json;

static const struct option_row options[] = {
        { "json", 0, OPTION_FLAG, &as_json, NULL, "as an array of JSON objects" },
        { NULL, 0, OPTION_FLAG, NULL, NULL, NULL },
};

static const struct table_column columns[] = {
        { "ID", false },
        { "KIND", false },
        { "ROLE", false },
        { "FOR", false },
        { "USES", true },
        { "AGE", true },
        { "ENDS IN", true },
        { "NOTE", false },
};

static void put_token(struct table *table, const struct token_status *t, usec_t now_wall)
{
        char age[TIME_TEXT_MAX], left[TIME_TEXT_MAX];
        bool over = t->expires != 0 && t->expires <= now_wall;

        table_put(table, TABLE_PLAIN, t->id);
        table_put(table, TABLE_PLAIN, t->kind >= 0 ? token_kind_names[t->kind] : NULL);
        table_put(table, TABLE_PLAIN, t->role >= 0 ? role_names[t->role] : NULL);
        table_put(table, TABLE_PLAIN, t->node != NULL ? t->node : t->jobs);
        if (t->uses == RECORD_NULL)
                table_put(table, TABLE_PLAIN, NULL);
        else
                table_printf(table, TABLE_PLAIN, "%" PRId64, t->uses);
        table_put(table, TABLE_PLAIN,
                time_format_span(age, now_wall > t->made ? now_wall - t->made : 0));
        if (over)
                table_put(table, TABLE_BAD, "expired");
        else
                table_put(table, TABLE_PLAIN,
                        t->expires == 0 ? NULL : time_format_span(left, t->expires - now_wall));
        table_put(table, TABLE_PLAIN, t->note);
}

static int show(const json_t *tokens, struct error *err)
{
        AUTO(table_freep) struct table *table = table_new(columns, ARRAY_SIZE(columns));
        usec_t now = time_wall();
        json_t *object;
        size_t i;

        json_array_foreach (tokens, i, object) {
                struct token_status token = { 0 };

                if (record_read(&token_table, object, &token, err) < 0)
                        return error_wrap(err, "the server's answer");
                put_token(table, &token, now);
                record_done(&token_table, &token);
        }
        terminal_print_table(table);
        return 0;
}

static int run(const char *const *operands, struct error *err)
{
        AUTO(client_json_decref) json_t *tokens = NULL;

        (void) operands;
        if (client_get("/v1/tokens", &tokens, err) < 0)
                return -1;
        if (!as_json)
                return show(tokens, err);
        terminal_print_json(tokens);
        return 0;
}

const struct command command_token_list = {
        .name = "token list",
        .operands = "",
        .summary = "list tokens, those of nodes included",
        .details = "FOR is the node whose credential it is, or the beginnings of the names of the "
                   "jobs that it is limited to; USES is how many nodes can still join with it.",
        .options = options,
        .run = run,
};
