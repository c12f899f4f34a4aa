/* SPDX-License-Identifier: BSD-3-Clause */
/* daemon DIR FILE DELAY LIFE CHILDREN
 *
 * Forks itself away as daemons do: twice, with a session in between, and the first process ends
 * with 0. After DELAY milliseconds it writes its pid into FILE. It leaves CHILDREN processes in
 * sessions of their own that ignore TERM, with their pids in DIR/TASK.RUN.children. After LIFE
 * milliseconds (0: never) it ends with an exit code of its own, and with 0 on TERM; just before, it
 * notes in DIR/TASK.RUN.end how. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common.h"

static void end(int code)
{
        note("end", "exit code %d\n", code);
        _exit(code);
}

static void on_term(int number)
{
        (void) number;
        end(0);
}

static pid_t leave_child(void)
{
        pid_t pid = fork();

        if (pid != 0)
                return pid;
        signal(SIGTERM, SIG_IGN);
        setsid();
        for (;;)
                pause();
}

static void write_file(const char *path)
{
        FILE *f = fopen(path, "w");

        if (f == NULL || fprintf(f, "%d\n", (int) getpid()) < 0 || fclose(f) != 0)
                fail(path);
}

int main(int argc, char **argv)
{
        char pids[2048] = "";
        uint64_t life;
        sigset_t term;

        if (argc != 6)
                return 2;
        if (fork() > 0)
                return 0;
        setsid();
        if (fork() > 0)
                return 0;
        sigemptyset(&term);
        sigaddset(&term, SIGTERM);
        signal(SIGTERM, on_term);
        sigprocmask(SIG_BLOCK, &term, NULL); /* not in the middle of a note */
        begin(argv[1]);
        for (int i = 0; i < atoi(argv[5]); i++)
                snprintf(pids + strlen(pids), sizeof pids - strlen(pids), "%d\n", leave_child());
        if (pids[0] != '\0')
                note("children", "%s", pids);
        sigprocmask(SIG_UNBLOCK, &term, NULL);
        sleep_usec(strtoul(argv[3], NULL, 10) * 1000);
        write_file(argv[2]);
        printf("daemon %d\n", (int) getpid());
        fflush(stdout);
        life = strtoul(argv[4], NULL, 10);
        if (life == 0)
                for (;;)
                        pause();
        sleep_usec(life * 1000);
        sigprocmask(SIG_BLOCK, &term, NULL);
        end((int) (1 + mix(task(), run(), 5) % 200));
}
