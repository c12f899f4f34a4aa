/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/time.h"

/* A certificate and its key, as PEM text. Zeroed: none. */
struct certificate {
        char *pem; /* the certificate, and behind it those of its authorities */
        char *key;
};
void certificate_done(struct certificate *c);

/* All begin an hour before @now_wall, since clocks differ. Names have to be text that can stand in
 * a certificate; keys are EC P-256. */

/* A certificate authority of its own, for ten years. */
int certificate_make_ca(
        const char *name, usec_t now_wall, struct certificate *ret, struct error *err);

/* A server's certificate for DNS names and IP addresses (a list ended by NULL, at least one), for a
 * year, with the CA's certificate behind it. */
int certificate_issue(const struct certificate *ca, const char *const names[], usec_t now_wall,
        struct certificate *ret, struct error *err);

/* Replaces both files, each in one step and durable: the key first (mode 0600), then the
 * certificate (0644). */
int certificate_write(const struct certificate *c, const char *certificate_path,
        const char *key_path, struct error *err);

/* ERR_NOT_FOUND: one of them is not there. ERR_INVALID: they are no PEM files, or the key is not
 * that of the certificate (as after a crash between the two writes). */
int certificate_read(const char *certificate_path, const char *key_path, struct certificate *ret,
        struct error *err);

/* SHA-256 over the DER form of the first certificate in @pem, as lower-case hexadecimal digits. */
#define CERTIFICATE_FINGERPRINT_LEN 64
int certificate_fingerprint(
        const char *pem, char fingerprint[CERTIFICATE_FINGERPRINT_LEN + 1], struct error *err);

/* When the first certificate in @pem ends. */
int certificate_ends(const char *pem, usec_t *ret_wall, struct error *err);

/* Whether it ends within 30 days, or has ended, or begins later than @now_wall: time for the next.
 */
int certificate_is_due(const char *pem, usec_t now_wall, bool *ret_due, struct error *err);

/* Whether the first certificate in @pem is for all of @names (ended by NULL). */
int certificate_is_for(
        const char *pem, const char *const names[], bool *ret_is_for, struct error *err);

/* Whether the first certificate in @pem was signed with @ca's key. */
int certificate_is_from(
        const char *pem, const struct certificate *ca, bool *ret_is_from, struct error *err);
