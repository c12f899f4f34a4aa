/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "server/server-internal.h"

/* What was so at a time that is past, for the routes that take ?at=. */
enum past_subject { PAST_JOBS, PAST_JOB, PAST_TASKS, PAST_TASK, PAST_NODES };

/* True if the request has ?at=: then it has been answered, or will be. @name: of the job or task;
 * for PAST_TASKS of the job, or NULL. That the token covers it is the caller's to see to. */
bool past_answers(struct server *server, struct http_request *req, enum past_subject subject,
        const char *name);
