/* SPDX-License-Identifier: BSD-3-Clause */
/* forker DIR CHILDREN
 *
 * Leaves CHILDREN processes in its group that ignore TERM, with their pids in
 * DIR/TASK.RUN.children; runs until it is ended, which TERM does. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common.h"

static pid_t leave_child(void)
{
        pid_t pid = fork();

        if (pid < 0)
                fail("fork");
        if (pid > 0)
                return pid;
        for (;;)
                pause();
}

int main(int argc, char **argv)
{
        char pids[2048] = "";

        if (argc != 3)
                return 2;
        begin(argv[1]);
        signal(SIGTERM, SIG_IGN); /* inherited */
        for (int i = 0; i < atoi(argv[2]); i++)
                snprintf(pids + strlen(pids), sizeof pids - strlen(pids), "%d\n", leave_child());
        signal(SIGTERM, SIG_DFL);
        note("children", "%s", pids);
        for (;;)
                pause();
}
