/* SPDX-License-Identifier: BSD-3-Clause */
#include <jansson.h>
#include <stdio.h>

#include "base/mem.h"
#include "cli/client.h"
#include "cli/command.h"

/* How many tasks run on it, as far as is known; 0 for one that has joined and never connected. */
static json_int_t count_running(const char *node)
{
        AUTO(mem_freep) char *path = client_node_path(node, "");
        struct error ignored;
        json_t *status;
        json_int_t n;

        if (client_get(path, &status, &ignored) < 0)
                return 0;
        n = json_integer_value(json_object_get(status, "running"));
        json_decref(status);
        return n;
}

static int run(const char *const *operands, struct error *err)
{
        for (; *operands != NULL; operands++) {
                AUTO(mem_freep) char *path = client_node_path(*operands, "/forget");
                json_int_t running = count_running(*operands);

                if (client_request("POST", path, NULL, "", 0, NULL, err) < 0)
                        return -1;
                if (running == 0)
                        printf("%s: is forgotten\n", *operands);
                else
                        printf("%s: is forgotten; its %" JSON_INTEGER_FORMAT
                               " task%s run elsewhere now, and there until somebody ends them\n",
                                *operands, running, running == 1 ? "" : "s");
        }
        return 0;
}

const struct command command_node_forget = {
        .name = "node forget",
        .operands = "NAME...",
        .summary = "make a node's credential void, and place its tasks elsewhere",
        .details = "For machines that do not come back, and for those that shall not: the agent "
                   "there is sent away until it joins again, and what runs there is not ended: "
                   "`reeve drain` before that, if the machine is still yours. `reeve token list` "
                   "shows who has joined.",
        .operands_min = 1,
        .operands_max = -1,
        .run = run,
};
