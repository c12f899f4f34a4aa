/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <openssl/x509.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/time.h"
#include "net/certificate.h"

/* Between certificate.c (certificates as text) and tls.c (certificates of a peer). */

/* The reason that OpenSSL gives for its last failure; empties its list. */
const char *certificate_openssl_reason(void);

/* 0 for a time that cannot be one. */
usec_t certificate_time(const ASN1_TIME *t);

void certificate_digest(const X509 *x, char fingerprint[CERTIFICATE_FINGERPRINT_LEN + 1]);

/* "reeve CA": the common name, or all of it where there is none. */
void certificate_put_subject(struct buffer *b, const X509_NAME *name);

/* The names and addresses that it is for: "a.example, 10.0.0.1"; "no name" if there is none. */
void certificate_put_names(struct buffer *b, const X509 *x);

/* True if @text is an IP address, which is looked for elsewhere than names are. */
bool certificate_name_is_ip(const char *text);
