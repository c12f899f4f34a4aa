/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/terminal.h"

static bool as_json;

static const struct option_row options[] = {
        { "json", 0, OPTION_FLAG, &as_json, NULL,
                "as JSON, with the server's answer if there is one" },
        { NULL, 0, OPTION_FLAG, NULL, NULL, NULL },
};

static int run(const char *const *operands, struct error *err)
{
        AUTO(client_json_decref) json_t *answer = json_object();
        json_t *server = NULL;
        struct error nobody = ERROR_INIT;

        (void) operands;
        (void) err;
        if (!as_json) {
                printf("reeve %s\n", REEVE_VERSION);
                return 0;
        }
        json_object_set_new(answer, "version", json_string(REEVE_VERSION));
        json_object_set_new(answer, "server",
                client_get("/v1/version", &server, &nobody) < 0 ? json_null() : server);
        terminal_print_json(answer);
        return 0;
}

const struct command command_version = {
        .name = "version",
        .operands = "",
        .summary = "print the version",
        .options = options,
        .run = run,
};
