/* SPDX-License-Identifier: BSD-3-Clause */
/* A server on the sockets that it is given (LISTEN_FDS, sd_listen_fds(3)): tells every connection
 * its task, its run and the names of its descriptors, and closes it.
 *
 *   listener [ready FD] [once]
 *
 * ready FD: writes a line end there once it can accept; once: ends after the first connection.
 * Accepts what waits before it ends by TERM. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common.h"

#define FIRST_FD 3

static volatile sig_atomic_t asked_to_end;

static void on_term(int number)
{
        (void) number;
        asked_to_end = 1;
}

static int number_of(const char *name)
{
        const char *text = getenv(name);
        char *end;
        long number = text != NULL ? strtol(text, &end, 0) : -1; /* as systemd reads it */

        if (text == NULL || *end != '\0' || number < 0) {
                fprintf(stderr, "%s=%s\n", name, text != NULL ? text : "");
                _exit(98);
        }
        return (int) number;
}

static void serve(int fd)
{
        const char *names = getenv("LISTEN_FDNAMES");
        int connection = accept(fd, NULL, NULL);

        if (connection < 0) {
                if (errno == EINTR)
                        return;
                fail("accept");
        }
        dprintf(connection, "%s %lu %s\n", task(), run(), names != NULL ? names : "-");
        close(connection);
}

static int is_there(struct pollfd *fds, int n, int timeout)
{
        int r = poll(fds, (nfds_t) n, timeout);

        if (r < 0 && errno != EINTR)
                fail("poll");
        return r > 0;
}

int main(int argc, char **argv)
{
        struct sigaction action = { .sa_handler = on_term };
        struct pollfd fds[64];
        int n, ready = -1, once = 0;

        for (int i = 1; i < argc; i++) {
                if (strcmp(argv[i], "ready") == 0)
                        ready = atoi(argv[++i]);
                once |= strcmp(argv[i], "once") == 0;
        }
        sigaction(SIGTERM, &action, NULL);
        if (number_of("LISTEN_PID") != getpid()) {
                fprintf(stderr, "LISTEN_PID=%s, I am %d\n", getenv("LISTEN_PID"), getpid());
                return 98;
        }
        n = number_of("LISTEN_FDS");
        for (int i = 0; i < n && i < 64; i++)
                fds[i] = (struct pollfd){ .fd = FIRST_FD + i, .events = POLLIN };
        if (ready >= 0 && write(ready, "\n", 1) != 1)
                fail("ready");
        while (!asked_to_end) {
                if (!is_there(fds, n, 100))
                        continue;
                for (int i = 0; i < n; i++)
                        if (fds[i].revents & POLLIN)
                                serve(fds[i].fd);
                if (once)
                        return 0;
        }
        return 0;
}
