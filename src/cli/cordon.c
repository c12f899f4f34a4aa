/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cli/client.h"
#include "cli/command.h"

static bool off;

static const struct option_row options[] = {
        { "off", 0, OPTION_FLAG, &off, NULL, "open them for tasks again" },
        { NULL, 0, OPTION_FLAG, NULL, NULL, NULL },
};

static int run(const char *const *operands, struct error *err)
{
        const char *body = off ? "{\"on\":false}" : "{\"on\":true}";

        for (; *operands != NULL; operands++) {
                AUTO(mem_freep) char *path = client_node_path(*operands, "/cordon");

                if (client_request("POST", path, NULL, body, strlen(body), NULL, err) < 0)
                        return -1;
                printf("%s: %s\n", *operands,
                        off ? "is open for tasks" : "gets no new tasks; those that it has stay");
        }
        return 0;
}

const struct command command_cordon = {
        .name = "cordon",
        .operands = "NODE...",
        .summary = "place no new tasks on nodes",
        .details = "Tasks that are there stay, and run again there. `reeve drain` moves them away.",
        .options = options,
        .operands_min = 1,
        .operands_max = -1,
        .run = run,
};
