/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "base/zone.h"

#define ZONE_FOLDER "/usr/share/zoneinfo" /* where Debian's package tzdata puts them */

/* Reads the zone @name from @folder (NULL: ZONE_FOLDER). "UTC" needs no file. ERR_INVALID for what
 * is no such name, ERR_NOT_FOUND if there is no such zone, or no zones at all, on this machine. */
int zone_file_load(const char *folder, const char *name, struct zone **ret, struct error *err);
