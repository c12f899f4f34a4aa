/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "base/error.h"
#include "base/scan.h"
#include "core/cluster.h"

/* Reading what agents say (docs/link.md), straight from the text of a message. What is wrong with
 * it is ERR_INVALID; what was filled until then is freed with _done() all the same. */

/* The newest protocol of docs/link.md that is spoken here, and whether one of those from @min to
 * @max is spoken. @version: of the other side, or NULL. @ret_reason: the word for why not. */
#define LINK_PROTOCOL 2
int link_check_protocol(
        int64_t min, int64_t max, const char *version, const char **ret_reason, struct error *err);

/* The member `type`, which is wherever the agent put it. */
int link_read_type(const char *bytes, size_t len, struct scan_text *ret, struct error *err);

struct link_reports {
        struct cluster_report *reports;
        size_t len, allocated;
};
void link_reports_done(struct link_reports *r);

struct link_hello {
        int64_t protocol_min, protocol;
        int64_t note_seq; /* -1: it does not say */
        bool log_query;   /* knows the newer members of log-open */
        bool vitals;      /* can be asked for them */
        bool dossiers;    /* knows dossiers-get */
        struct node_status node;
        struct link_reports reports;
};
void link_hello_done(struct link_hello *h);

/* After a failure the protocols are what was read of them until then. */
int link_read_hello(struct scan *s, struct link_hello *ret, struct error *err);

int link_read_report(struct scan *s, struct link_reports *ret, struct error *err);

struct link_note {
        int64_t seq;
        struct event event; /* kind -1: it is JSON, but no event that can be read */
};

struct link_notes {
        struct link_note *notes;
        size_t len, allocated;
};
void link_notes_done(struct link_notes *n);

int link_read_notes(struct scan *s, struct link_notes *ret, struct error *err);
