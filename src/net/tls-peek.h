/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "base/error.h"
#include "base/time.h"
#include "net/address.h"

/* The SHA-256 of the last certificate that the server at @address shows, as lower-case hexadecimal
 * digits, believing nothing of it: to be compared by a person with what the server's own console
 * says. Waits for it. */
#define TLS_PEEK_LEN 64
int tls_peek(const struct address *address, usec_t timeout, char fingerprint[TLS_PEEK_LEN + 1],
        struct error *err);
