/* SPDX-License-Identifier: BSD-3-Clause */
/* exiter DIR MAX SEED
 *
 * Runs for up to MAX milliseconds, then ends with an exit code or by a signal, all of it chosen by
 * task, run and SEED. Just before, it notes in DIR/TASK.RUN.end how: "exit code 37" or "killed by
 * SEGV". */
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common.h"

static const struct {
        int number;
        const char *name;
} signals[] = { { SIGKILL, "KILL" }, { SIGSEGV, "SEGV" }, { SIGUSR1, "USR1" }, { SIGHUP, "HUP" } };

static void end_by_signal(uint64_t choice)
{
        sigset_t all;

        note("end", "killed by %s\n", signals[choice % 4].name);
        prctl(PR_SET_DUMPABLE, 0); /* no core file */
        sigfillset(&all);
        sigprocmask(SIG_UNBLOCK, &all, NULL);
        kill(getpid(), signals[choice % 4].number);
}

int main(int argc, char **argv)
{
        uint64_t choice;
        sigset_t term;

        if (argc != 4)
                return 2;
        begin(argv[1]);
        choice = mix(task(), run(), strtoul(argv[3], NULL, 10));
        sleep_usec(choice % (strtoul(argv[2], NULL, 10) * 1000 + 1));
        /* A TERM between the note and the end would make the note wrong. */
        sigemptyset(&term);
        sigaddset(&term, SIGTERM);
        sigprocmask(SIG_BLOCK, &term, NULL);
        choice >>= 32;
        if (choice % 4 == 0)
                end_by_signal(choice / 4);
        note("end", "exit code %d\n", (int) (choice / 4 % 256));
        _exit((int) (choice / 4 % 256));
}
