/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stddef.h>

#include "base/error.h"

/* Files of NAME=VALUE lines for an environment, by the rules of systemd's EnvironmentFile=
 * (systemd.exec(5)): quotes, escapes, lines that go on, comments with # and ;, lines without "="
 * that say nothing. What systemd passes over with a warning, a name that is none, is a mistake
 * here, and so is a quote that is not closed. */

/* Puts the variables of @text into @env: heap strings "NAME=value" in a heap array ended by NULL;
 * one of the same name is replaced. @label names the file in messages ("FILE:3: ..."). ERR_INVALID;
 * then some may have been put. */
int env_file_parse(const char *label, const char *text, size_t len, char ***env, struct error *err);
