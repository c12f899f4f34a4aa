/* SPDX-License-Identifier: BSD-3-Clause */
/* The programs that the keeper starts, as commands. */
#include "cli/command.h"
#include "server/server.h"

const struct command command_server = {
        .name = "server",
        .operands = "",
        .summary = "the server beside an agent (started by `reeve up`)",
        .main = server_main,
        .hidden = true,
};
