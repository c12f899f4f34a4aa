/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <jansson.h>

#include "base/error.h"
#include "cli/table.h"
#include "model/status.h"

/* Tasks and events as people see them, in more than one command. */

/* A table of tasks from an array of the API's objects. */
int show_tasks(const json_t *tasks, struct error *err);

/* A line per event: time, kind, subject, message. */
int show_event(const json_t *event, struct error *err);
int show_events(const json_t *events, struct error *err);

enum table_style show_job_style(int state);
