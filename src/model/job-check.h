/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "model/job.h"
#include "model/value.h"

/* Completes a spec all of whose fields were read from @value: defaults that depend on other fields
 * are set, and what fields say together is checked. Returns -1 with a message at the field that is
 * to be changed. Internal to src/model. */
int job_check(const struct reader *r, const struct value *value, struct job_spec *spec);

/* The part of it that is about `ready`, `health`, `watchdog` and `after` (job-check-ready.c). */
int job_check_ready(const struct reader *r, const struct value *job, const struct job_spec *spec);

/* The part of it that is about how a run is begun (job-start.c). */
int job_check_start(const struct reader *r, const struct value *job, const struct job_spec *spec);

/* The part about `alerts` (job-alerts.c). */
int job_check_alerts(const struct reader *r, const struct value *job, const struct job_spec *spec);

/* The part of it that is about `sockets`, `start` and `fd_store` (job-sockets.c). */
int job_check_sockets(const struct reader *r, const struct value *job, const struct job_spec *spec);

/* The part that is about `sandbox` and `dynamic_user` (job-check-sandbox.c). */
int job_check_sandbox(const struct reader *r, const struct value *job, const struct job_spec *spec);
