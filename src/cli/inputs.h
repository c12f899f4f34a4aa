/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "base/buffer.h"
#include "base/error.h"

/* Reads the job files @paths (ended by NULL) and appends all their specs as one job file in JSON.
 * "-" is standard input; of a directory all *.yaml, *.yml and *.json are read, by name. Errors name
 * file, line and field; a job that is in two of the files is one. */
int inputs_read(const char *const *paths, struct buffer *ret_json, struct error *err);
