/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdint.h>

/* The names of capabilities, as capabilities(7) has them, in lower case and without "CAP_". The
 * place in the list is the kernel's number. Ended by NULL. */
extern const char *const capability_names[];

#define CAPABILITIES_MAX 41

/* The number of @name, which may be written in capitals and with "CAP_" before it; -1: none. */
int capability_find(const char *name);
