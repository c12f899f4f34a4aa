/* SPDX-License-Identifier: BSD-3-Clause */
/* termer DIR SIGNAL MILLISECONDS CODE
 *
 * Notes in DIR/TASK.RUN.told that SIGNAL came, and ends with CODE so much later; -1: never. */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "common.h"

int main(int argc, char **argv)
{
        int number, got;
        sigset_t set;

        if (argc != 5)
                return 2;
        number = atoi(argv[2]);
        sigemptyset(&set);
        sigaddset(&set, number);
        sigprocmask(SIG_BLOCK, &set, NULL);
        begin(argv[1]);
        if (sigwait(&set, &got) != 0)
                fail("sigwait");
        note("told", "%d\n", got);
        if (atoi(argv[3]) < 0)
                for (;;)
                        pause();
        sleep_usec(strtoul(argv[3], NULL, 10) * 1000);
        return atoi(argv[4]);
}
