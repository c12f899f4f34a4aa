/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <uv.h>

#include "model/status.h"
#include "node/outbox.h"
#include "node/servers.h"
#include "node/specs.h"
#include "node/task.h"
#include "node/vitals.h"

/* The agent's end of the link (docs/link.md): keeps a connection to the server, tells what is,
 * learns what shall be. */

struct link;

struct link_config {
        uv_loop_t *loop;
        struct servers *servers;   /* borrowed; at least one */
        const char *authorization; /* "Bearer reeve-node-..."; NULL: none is needed. Borrowed */
        struct tasks *tasks;
        struct specs *specs;
        struct outbox *outbox;
        struct vitals *vitals; /* NULL: the server is told that there are none */
        void (*describe_node)(
                void *data, struct node_status *ret); /* for hello; strings borrowed */
        void (*on_welcome)(void *data); /* a server is there, perhaps another one than before */
        void (*on_acked)(void *data);   /* the outbox has become shorter */
        void (*on_down)(void *data);
        void (*on_upgrade)(void *data, const char *keeper_path);
        void *data;
};

struct link *link_new(const struct link_config *config);
void link_free(struct link *l); /* NULL is fine */

/* Begins to connect; from then on it never gives up. */
void link_start(struct link *l);

/* Something waits in tasks_next_changed() or the outbox: it is sent at the end of this turn of the
 * loop. */
void link_wake(struct link *l);

/* A captured stream has grown: followers are waiting. */
void link_log_grown(struct link *l, const char *task, const char *stream);

/* A look at the vitals is done: the server may have asked for it. */
void link_looked(struct link *l);

/* Says goodbye: `halt` or `restart` (docs/link.md), and stays closed. */
void link_bye(struct link *l, const char *reason);
