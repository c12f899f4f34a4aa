/* SPDX-License-Identifier: BSD-3-Clause */
/* The server that is restarted under load: answers HTTP on the listening socket that it is given as
 * descriptor 3.
 *
 *      bench-held REPORTS READY
 *
 * Writes a record as bench/child.c does to the FIFO REPORTS, and a line end to the descriptor READY
 * when it can accept. One thread and level-triggered epoll; whatever ends in an empty line gets one
 * answer made beforehand. TERM: it accepts no more, answers the next request of each connection
 * with "Connection: close", and ends with the last: nobody who was answered once is cut off. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LISTENER 3
#define EVENTS   64

static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
static const char last_answer[] =
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

static volatile sig_atomic_t ending;
static int epoll, connections;

static void on_term(int number)
{
        (void) number;
        ending = 1;
}

static void fail(const char *what)
{
        perror(what);
        _exit(1);
}

static void report(const char *path)
{
        struct timespec now;
        long long record[2];
        int fd = open(path, O_WRONLY | O_CLOEXEC);

        clock_gettime(CLOCK_MONOTONIC, &now);
        record[0] = getpid();
        record[1] = now.tv_sec * 1000000000LL + now.tv_nsec;
        if (fd < 0 || write(fd, record, sizeof record) != sizeof record)
                fail(path);
        close(fd);
}

static void watch(int fd)
{
        struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
                fail("epoll_ctl");
}

static void let_go(int fd)
{
        close(fd);
        connections--;
}

/* Others may have taken it: the stand-in shares the socket. */
static void take_one(void)
{
        int fd = accept4(LISTENER, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd < 0)
                return;
        connections++;
        watch(fd);
}

static void serve(int fd)
{
        char text[4096];
        ssize_t n = read(fd, text, sizeof text);
        int last = ending; /* once: the signal may come now */
        const char *what = last ? last_answer : answer;

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n < 4 || memcmp(text + n - 4, "\r\n\r\n", 4) != 0 ||
                write(fd, what, strlen(what)) != (ssize_t) strlen(what) || last)
                let_go(fd);
}

int main(int argc, char **argv)
{
        struct sigaction action = { .sa_handler = on_term };
        struct epoll_event events[EVENTS];
        int accepting = 1;

        if (argc != 3) {
                fprintf(stderr, "usage: bench-held REPORTS READY\n");
                return 2;
        }
        sigaction(SIGTERM, &action, NULL);
        signal(SIGPIPE, SIG_IGN);
        epoll = epoll_create1(EPOLL_CLOEXEC);
        fcntl(LISTENER, F_SETFL, fcntl(LISTENER, F_GETFL) | O_NONBLOCK);
        watch(LISTENER);
        report(argv[1]);
        if (write(atoi(argv[2]), "\n", 1) != 1)
                fail("ready");
        while (accepting || connections > 0) {
                int n = epoll_wait(epoll, events, EVENTS, -1);

                if (ending && accepting) {
                        epoll_ctl(epoll, EPOLL_CTL_DEL, LISTENER, NULL);
                        accepting = 0;
                }
                for (int i = 0; i < n; i++) {
                        if (events[i].data.fd != LISTENER)
                                serve(events[i].data.fd);
                        else if (accepting)
                                take_one();
                }
        }
        return 0;
}
