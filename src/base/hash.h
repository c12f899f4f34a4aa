/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Hash tables: uthash, with memory that is there or ends the program, and with a hash function that
 * compiles without warnings everywhere (clang does not see that the default one falls through its
 * cases on purpose). */

#include <stdlib.h>

#include "base/mem.h"

#define uthash_malloc(size)              mem_alloc(size)
#define uthash_free(ptr, size)           free(ptr)
#define HASH_FUNCTION(key, length, hash) HASH_SAX(key, length, hash)

#include <uthash.h>
