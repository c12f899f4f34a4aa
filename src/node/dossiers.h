/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "base/buffer.h"

/* Appends the dossiers (model/dossier.h) of the task whose logs are in @directory, the newest
 * first, as a JSON array; it has none: an empty one. They are made by node/task-dossier.c. */
void dossiers_read(const char *directory, struct buffer *out);
