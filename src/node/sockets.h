/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <uv.h>

#include "base/error.h"
#include "keeper/launch.h"
#include "keeper/protocol.h"
#include "model/job.h"
#include "node/keeper-client.h"

/* The sockets that this node holds for jobs: one per job and address, whatever tasks share it. */

struct sockets;
struct held_socket;

struct sockets_config {
        uv_loop_t *loop;
        struct keeper_client *keeper;
        /* Something waits on a socket that is watched. */
        void (*on_wanted)(void *data, const struct held_socket *socket);
        /* Looks for a socket of @job bound to @address in processes that were begun by an agent
         * before us. Returns a descriptor, or -1. */
        int (*find)(void *data, const char *job, const struct sockaddr_storage *address,
                socklen_t len, int type);
        void *data;
};

struct sockets *sockets_new(const struct sockets_config *config);
void sockets_free(struct sockets *s); /* the keeper holds them still; NULL is fine */

#define SOCKET_DEPOSIT "socket/" /* what the names of its deposits begin with */

/* A deposit from before our time. Takes @fd. */
void sockets_take(struct sockets *s, const char *name, int fd);

/* Closes what was taken and nobody has got. */
void sockets_sweep(struct sockets *s);

/* Who the file of a UNIX socket belongs to. */
struct socket_owner {
        bool change;
        uid_t uid;
        gid_t gid;
};

/* A reference to the socket, which is opened if it is not held yet; its backlog and permissions are
 * made what @want says. The error names the field, and whoever has the address as far as that is
 * known. */
int sockets_get(struct sockets *s, const char *job, const struct job_socket *want,
        const struct socket_owner *owner, struct held_socket **ret, struct error *err);

/* Gives a reference back; the socket is closed with the last one, unless @keep: then it stays with
 * the keeper. */
void sockets_put(struct sockets *s, struct held_socket *h, bool keep);

int held_socket_fd(const struct held_socket *h); /* borrowed */

/* on_wanted() is called from now on when something waits on it. Counted. */
void sockets_watch(struct sockets *s, struct held_socket *h);
void sockets_unwatch(struct sockets *s, struct held_socket *h);

/* The connection to the server's witness, which holds them, too; -1: none. Borrowed. */
void sockets_set_witness(struct sockets *s, int witness);

/* What a new keeper shall hold: as many items as sockets_count(). Name and descriptors are
 * borrowed. */
size_t sockets_count(const struct sockets *s);
size_t sockets_hand_over(const struct sockets *s, struct keeper_handover *items);
