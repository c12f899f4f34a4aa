/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* What the programs of bench/cluster share: an address, and connections to it. */
struct dial {
        struct sockaddr_storage address;
        socklen_t len; /* 0: none */
};

/* "unix:PATH" or "http://IP:PORT". Returns -1 if it is neither. */
int dial_parse(const char *text, struct dial *ret);

/* A socket that is connected or about to be; -1 with errno if it cannot be now. */
int dial_connect(const struct dial *d);

/* A socket that listens there. */
int dial_listen(const struct dial *d);

uint64_t dial_now_ns(void); /* CLOCK_MONOTONIC */
void dial_raise_descriptors(void);

/* Says what failed, with errno, and ends. */
_Noreturn void dial_fail(const char *what);
