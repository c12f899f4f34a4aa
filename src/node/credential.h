/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "base/error.h"

/* What makes this machine a node of a cluster: DIR/node/credential, which nobody but its owner can
 * read. */
struct credential {
        char *node;    /* the name that it is for */
        char *secret;  /* "reeve-node-..." */
        char *ca;      /* PEM: what the server's certificate is checked against; NULL: no TLS */
        char *servers; /* addresses with commas between them */
};

/* @data: DIR. ERR_NOT_FOUND: there is none. ERR_INVALID: damaged. */
int credential_read(const char *data, struct credential *ret, struct error *err);

/* In one step, and durable. */
int credential_write(const char *data, const struct credential *c, struct error *err);

void credential_done(struct credential *c);
