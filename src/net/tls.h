/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "base/error.h"

/* What connections over TLS share: the certificate that a server shows, or whom a client believes.
 * It goes into struct address (address.h): of those that are listened on and of those that are
 * connected to. Counted; connections and listeners hold references of their own. */
struct tls_context;

/* A server's: PEM files of the certificate (behind it those of its authorities, the CA's own
 * included if clients know that by its fingerprint) and of its key. ERR_INVALID names the file. */
int tls_context_new_server(const char *certificate_path, const char *key_path,
        struct tls_context **ret, struct error *err);

/* Reads the files again, for new connections. If that fails, what was there stays in use. */
int tls_context_reload(struct tls_context *tls, struct error *err);

/* Whom a client believes; at most one of the first three, none of them: the system's roots. */
struct tls_trust {
        const char *ca_path; /* PEM file with one or more certificates */
        const char *ca_pem;  /* the same as text */

        /* SHA-256 of the DER form of a CA certificate which the server has to present in its chain:
         * the first 32 or more of its 64 hexadecimal digits; colons between them are ignored. */
        const char *fingerprint;

        const char *name; /* that the certificate has to be for; NULL: the host of the address */
};
int tls_context_new_client(
        const struct tls_trust *trust, struct tls_context **ret, struct error *err);

/* The one with the system's roots, for addresses that have none; made when first asked for.
 * Borrowed. */
int tls_context_system(struct tls_context **ret, struct error *err);

struct tls_context *tls_context_ref(struct tls_context *tls);
void tls_context_unref(struct tls_context *tls); /* NULL is ignored */
void tls_context_unrefp(struct tls_context **tls);
