/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>

#include "server/server-internal.h"

/* What the server shows over TLS: its certificate, and the one that it is to be traced to. */
struct identity;

/* From the options: with tls_cert and tls_key those files; else a certificate of a CA of its own,
 * both in DIR/tls, made when they are not there. @listen: the address that it is for, besides
 * options.advertise and this machine's names. */
int identity_new(struct server *server, const struct address *listen, struct identity **ret,
        struct error *err);
void identity_free(struct identity *id); /* NULL is ignored */

struct tls_context *identity_context(struct identity *id); /* borrowed */

/* The last certificate of the chain, PEM: the CA's. Borrowed. */
const char *identity_ca(const struct identity *id);

/* The first @len hexadecimal digits of its SHA-256. */
#define IDENTITY_FINGERPRINT_LEN 64
void identity_fingerprint(const struct identity *id, char *ret, size_t len);
