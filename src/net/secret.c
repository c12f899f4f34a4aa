/* SPDX-License-Identifier: BSD-3-Clause */
/* Secrets: made, compared, and turned into what may be stored of them.
 *
 * They are random and long, so a plain hash of one says nothing about it: there is no list of
 * likely ones to try. The letters are those of base 32 (RFC 4648), in lower case. */
#include "net/secret.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

int secret_make(char secret[SECRET_LEN + 1], struct error *err)
{
        static const char letters[] = "abcdefghijklmnopqrstuvwxyz234567";
        unsigned char random[SECRET_LEN];

        if (RAND_bytes(random, sizeof random) != 1)
                return error_set(err, ERR_SYSTEM, "no random numbers to be had");
        for (size_t i = 0; i < sizeof random; i++)
                secret[i] = letters[random[i] % 32];
        secret[SECRET_LEN] = '\0';
        OPENSSL_cleanse(random, sizeof random);
        return 0;
}

const char *secret_hash(const char *text, char hash[SECRET_HASH_LEN + 1])
{
        unsigned char digest[SHA256_DIGEST_LENGTH];

        SHA256((const unsigned char *) text, strlen(text), digest);
        for (size_t i = 0; i < sizeof digest; i++)
                snprintf(hash + 2 * i, 3, "%02x", digest[i]);
        return hash;
}

bool secret_equal(const char *a, const char *b)
{
        size_t len;

        if (a == NULL || b == NULL)
                return false;
        len = strlen(a);
        return strlen(b) == len && CRYPTO_memcmp(a, b, len) == 0;
}

void secret_wipe(void *secret, size_t len)
{
        OPENSSL_cleanse(secret, len);
}
