/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/mem.h"
#include "cli/client.h"
#include "cli/command.h"

static int run(const char *const *operands, struct error *err)
{
        AUTO(buffer_done) struct buffer path = { 0 };

        for (; *operands != NULL; operands++) {
                buffer_reset(&path);
                buffer_puts(&path, "/v1/tokens/");
                client_put_encoded(&path, *operands);
                if (client_request("DELETE", buffer_str(&path), NULL, NULL, 0, NULL, err) < 0)
                        return -1;
        }
        return 0;
}

const struct command command_token_revoke = {
        .name = "token revoke",
        .operands = "ID...",
        .summary = "make a token void, and end what it has opened",
        .details = "ID is what `reeve token list` shows. The credential of a node is revoked "
                   "likewise: its link ends, its tasks run on.",
        .operands_min = 1,
        .operands_max = -1,
        .run = run,
};
