/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "base/error.h"
#include "keeper/protocol.h"

/* The agent's end of the channel to its keeper (keeper/protocol.h). */

struct keeper_client;

struct keeper_client_handlers {
        /* A deposit from before our time. The descriptors (close-on-exec) belong to the callee. */
        void (*on_deposit)(void *data, const char *name, const int *fds, size_t fds_len);
        void (*on_record)(void *data, const struct keeper_record *record);
        void (*on_ready)(void *data, pid_t keeper);
        void (*on_down)(void *data);
        void (*on_failed)(void *data, const char *what, int sys_errno);
        void (*on_lost)(void *data); /* the keeper is dead; nothing can be sent any more */
};

/* Takes the descriptor that REEVE_KEEPER_FD names and says HELLO. ERR_INVALID if there is none. */
int keeper_client_new(uv_loop_t *loop, const struct keeper_client_handlers *handlers, void *data,
        struct keeper_client **ret, struct error *err);
void keeper_client_free(struct keeper_client *k); /* NULL is fine */

/* Each of these may block for the moment that the keeper needs to read. A dead keeper is no error:
 * on_lost tells. */
void keeper_client_ack(struct keeper_client *k, uint64_t seq);
void keeper_client_put(struct keeper_client *k, const char *name, const int *fds, size_t fds_len);
void keeper_client_drop(struct keeper_client *k, const char *name);
void keeper_client_end(struct keeper_client *k);
void keeper_client_upgrade(
        struct keeper_client *k, const char *path); /* NULL: from the same path */
