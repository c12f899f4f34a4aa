/* SPDX-License-Identifier: BSD-3-Clause */
/* eater BYTES [child]
 *
 * Takes so much memory and touches all of it, itself or in a child, and says "full"; then waits to
 * be ended. When a child was killed it exits with 7. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void eat(size_t bytes)
{
        char *memory = malloc(bytes);

        if (memory == NULL)
                exit(9);
        for (size_t i = 0; i < bytes; i += 4096)
                memory[i] = (char) (i / 4096 + 1);
        puts("full");
        fflush(stdout);
        for (;;)
                pause();
}

int main(int argc, char **argv)
{
        int status;

        if (argc < 2)
                return 2;
        if (argc > 2 && strcmp(argv[2], "child") == 0 && fork() > 0) {
                if (wait(&status) > 0 && WIFSIGNALED(status))
                        return 7;
                return 1;
        }
        eat(strtoul(argv[1], NULL, 10));
}
