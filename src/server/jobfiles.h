/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "server/server-internal.h"

/* The job files given with --jobs: read, applied, watched. */
struct jobfiles;

/* Reads all of them and has what is in them applied. Files that cannot be used are reported,
 * nothing fails. */
struct jobfiles *jobfiles_new(struct server *server);
void jobfiles_free(struct jobfiles *f); /* NULL is ignored */

/* What was applied may not have been stored: everything is applied again when the store works. */
void jobfiles_reset(struct jobfiles *f);
void jobfiles_recovered(struct jobfiles *f);
