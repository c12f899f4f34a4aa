/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <uv.h>

#include "base/time.h"
#include "net/http-server.h"
#include "server/server.h"
#include "server/state.h"

/* What the parts of the server share. Everything is owned by server.c and lives from its start to
 * its end. */

struct alerts;
struct auth;
struct dossiers;
struct exec_relays;
struct feeds;
struct gauges;
struct identity;
struct jobfiles;
struct links;
struct logs;
struct plan_making;
struct scrape;
struct snapshot_stream;
struct tokens;
struct vitals_request;
struct witness;

struct server_options {
        const char *data;               /* state directory */
        const char *socket;             /* UNIX socket of the API */
        const char *listen;             /* ADDR:PORT, or NULL */
        const char *node;               /* name of the node on this machine, or NULL: it has none */
        const char *advertise;          /* HOST[:PORT] by which others reach us, or NULL */
        const char *tls_cert, *tls_key; /* files, or NULL: a certificate of our own */
        usec_t lost_after;              /* silence after which a node is taken for gone */
        int64_t keep_events;            /* the newest, at least so many of them */
        usec_t keep_events_for;         /* but none that is older */
        int64_t metrics_tasks; /* with more tasks than that /metrics has no series per task */
        struct server_alerts alerts;
        const char **jobs; /* job files and directories, ended by NULL */
};

struct server {
        uv_loop_t *loop;
        struct server_options options;
        usec_t started_mono;
        char listen_text[ADDRESS_TEXT_MAX]; /* the TCP address with its real port, or empty */
        char url[ADDRESS_TEXT_MAX];         /* how others reach it, or empty */
        struct identity *identity;          /* NULL without TLS */
        const char *ca;       /* PEM that our certificate is to be traced to; NULL without TLS */
        char fingerprint[33]; /* 32 hexadecimal digits of its SHA-256, or empty */
        struct store *store;
        struct state *state;
        struct http_server *http;
        struct auth *auth;
        struct alerts *alerts;
        struct dossiers *dossiers;
        struct exec_relays *exec_relays;
        struct feeds *feeds;
        struct gauges *gauges;
        struct jobfiles *jobfiles;
        struct links *links;
        struct logs *logs;
        struct scrape *scrapes;            /* under way; metrics.c */
        struct plan_making *plans;         /* under way; api-plan.c */
        struct snapshot_stream *snapshots; /* under way; api-snapshot.c */
        struct tokens *tokens;
        struct vitals_request *vitals_requests; /* under way; api-vitals.c */
        struct witness *witness;
};
