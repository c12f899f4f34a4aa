/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/time.h"
#include "model/dossier.h"
#include "model/status.h"

/* Alerts: which failures somebody is told of, and the texts that he gets. */

#define ALERT_KINDS  4
#define ALERT_REPEAT USEC_HOUR

/* Whether somebody who asked for @on (NULL: failed and parked) is told of such a failure
 * (event.failure). "failed" includes "oom". */
bool alert_wants(char *const *on, const char *failure);

/* ERR_INVALID says what is wrong and what was probably meant. */
int alert_check_kinds(char *const *on, struct error *err);
int alert_check_url(const char *url, struct error *err);
int alert_check_mail(const char *address, struct error *err);

/* The document that webhooks and commands get (docs/alerts.md). @dossier: NULL if there is none, or
 * it is not known. */
void alert_write_json(const struct event *event, const struct dossier *dossier, struct buffer *out);

/* The whole message for sendmail(8) -t, with LF line ends. */
void alert_write_mail(const struct event *event, const struct dossier *dossier, const char *to,
        struct buffer *out);
