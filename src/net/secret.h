/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* Secrets as text: 160 random bits in letters and digits that survive mail, shells and URLs. */
#define SECRET_LEN      32
#define SECRET_HASH_LEN 64

int secret_make(char secret[SECRET_LEN + 1], struct error *err);

/* SHA-256 of @text as lower-case hexadecimal digits: what is stored of a secret. Returns @hash. */
const char *secret_hash(const char *text, char hash[SECRET_HASH_LEN + 1]);

/* In a time that does not tell how much of it was right, only whether the lengths are equal. NULL
 * equals nothing. */
bool secret_equal(const char *a, const char *b);

/* Overwrites what is not needed any more, such that no compiler leaves it out. */
void secret_wipe(void *secret, size_t len);
