/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* What readiness and health checks ask: "http://127.0.0.1:8080/health", "127.0.0.1:5432". */

#define PROBE_HOST_MAX 256

struct probe_target {
        char host[PROBE_HOST_MAX]; /* name or number, without brackets */
        uint16_t port;
        const char *path; /* of a URL, with its query; borrowed from the text. "/" at least */
};

/* Both read a text without variables (model/variables.h). ERR_INVALID says what is wrong. A URL
 * without a port has port 80. */
int probe_parse_http(const char *url, struct probe_target *ret, struct error *err);
int probe_parse_tcp(const char *text, struct probe_target *ret, struct error *err);

/* The same for "https://", too (port 443), for those who can. */
int probe_parse_url(const char *url, bool *ret_tls, struct probe_target *ret, struct error *err);
