/* SPDX-License-Identifier: BSD-3-Clause */
/* Dial: sockets for the programs of bench/cluster, all non-blocking. */
#include "dial.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define BACKLOG 4096

_Noreturn void dial_fail(const char *what)
{
        fprintf(stderr, "%s: %s\n", what, strerror(errno));
        exit(1);
}

static int parse_tcp(const char *text, struct dial *ret)
{
        struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST }, *found;
        char host[64], port[8];

        if (sscanf(text, "http://%63[0-9.]:%7[0-9]", host, port) != 2 ||
                getaddrinfo(host, port, &hints, &found) != 0)
                return -1;
        memcpy(&ret->address, found->ai_addr, found->ai_addrlen);
        ret->len = found->ai_addrlen;
        freeaddrinfo(found);
        return 0;
}

int dial_parse(const char *text, struct dial *ret)
{
        struct sockaddr_un sun = { .sun_family = AF_UNIX };

        if (strncmp(text, "unix:", 5) != 0)
                return parse_tcp(text, ret);
        if (strlen(text + 5) >= sizeof sun.sun_path)
                return -1;
        strcpy(sun.sun_path, text + 5);
        memcpy(&ret->address, &sun, sizeof sun);
        ret->len = sizeof sun;
        return 0;
}

static int make_socket(const struct dial *d)
{
        int one = 1, fd;

        fd = socket(d->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd >= 0 && d->address.ss_family != AF_UNIX)
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        return fd;
}

int dial_connect(const struct dial *d)
{
        int fd = make_socket(d), why;

        if (fd < 0 || connect(fd, (const struct sockaddr *) &d->address, d->len) == 0 ||
                errno == EINPROGRESS)
                return fd;
        why = errno;
        close(fd);
        errno = why;
        return -1;
}

int dial_listen(const struct dial *d)
{
        int fd = make_socket(d);

        if (fd < 0 || bind(fd, (const struct sockaddr *) &d->address, d->len) < 0 ||
                listen(fd, BACKLOG) < 0)
                dial_fail("listen");
        return fd;
}

uint64_t dial_now_ns(void)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t) now.tv_sec * 1000000000 + (uint64_t) now.tv_nsec;
}

void dial_raise_descriptors(void)
{
        struct rlimit limit;

        getrlimit(RLIMIT_NOFILE, &limit);
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
}
