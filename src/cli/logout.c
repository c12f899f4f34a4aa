/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/command.h"
#include "cli/login-file.h"

static int run(const char *const *operands, struct error *err)
{
        AUTO(mem_freep) char *path = login_file_path();

        (void) operands;
        if (unlink(path) == 0)
                return 0;
        if (errno != ENOENT)
                return error_sys(err, errno, "remove %s", path);
        puts("not logged in");
        return 0;
}

const struct command command_logout = {
        .name = "logout",
        .operands = "",
        .summary = "forget the server and the token of `reeve login`",
        .details = "The token stays good: `reeve token revoke` ends that.",
        .run = run,
};
