/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/mem.h"
#include "cli/client.h"
#include "cli/command.h"

static int run(const char *const *operands, struct error *err)
{
        AUTO(buffer_done) struct buffer path = { 0 };

        for (; *operands != NULL; operands++) {
                buffer_reset(&path);
                buffer_puts(&path, "/v1/nodes/");
                client_put_encoded(&path, *operands);
                buffer_puts(&path, "/forget");
                if (client_request("POST", buffer_str(&path), NULL, "", 0, NULL, err) < 0)
                        return -1;
        }
        return 0;
}

const struct command command_node_forget = {
        .name = "node forget",
        .operands = "NAME...",
        .summary = "make a node's credential void, and place its tasks elsewhere",
        .details = "For machines that do not come back, and for those that shall not: the agent "
                   "there is sent away until it joins again. `reeve token list` shows who has "
                   "joined.",
        .operands_min = 1,
        .operands_max = -1,
        .run = run,
};
