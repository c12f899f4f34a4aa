/* SPDX-License-Identifier: BSD-3-Clause */
/* Peek: which CA a server claims to have, before anybody believes it.
 *
 * For `reeve login` alone: a handshake without verification, after which the connection is closed;
 * nothing is said over it. It waits, and so has no place in a program with a loop. */
#include "net/tls-peek.h"

#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define POLL_MSEC 20

static int read_last(SSL *ssl, char fingerprint[TLS_PEEK_LEN + 1], struct error *err)
{
        STACK_OF(X509) *chain = SSL_get_peer_cert_chain(ssl);
        int len = chain == NULL ? 0 : sk_X509_num(chain);
        unsigned char digest[EVP_MAX_MD_SIZE];
        unsigned int size = 0;

        if (len < 1 || X509_digest(sk_X509_value(chain, len - 1), EVP_sha256(), digest, &size) != 1)
                return error_set(err, ERR_UNAVAILABLE, "it shows no certificate");
        for (unsigned int i = 0; i < size && i < TLS_PEEK_LEN / 2; i++)
                snprintf(fingerprint + (size_t) 2 * i, 3, "%02x", digest[i]);
        return 0;
}

static int look(BIO *bio, const struct address *address, usec_t timeout,
        char fingerprint[TLS_PEEK_LEN + 1], struct error *err)
{
        AUTO(mem_freep)
        char *peer = mem_printf(strchr(address->host, ':') != NULL ? "[%s]:%u" : "%s:%u",
                *address->host == '\0' ? "localhost" : address->host, (unsigned) address->port);
        char host[sizeof address->host]; /* OpenSSL's macro wants it writable */
        SSL *ssl = NULL;

        snprintf(host, sizeof host, "%s", address->host);
        BIO_get_ssl(bio, &ssl);
        SSL_set_tlsext_host_name(ssl, host);
        BIO_set_conn_hostname(bio, peer);
        if (BIO_do_connect_retry(bio, (int) (timeout / USEC_SEC), POLL_MSEC) != 1 ||
                BIO_do_handshake(bio) != 1)
                return error_set(err, ERR_UNAVAILABLE, "nobody there speaks TLS");
        return read_last(ssl, fingerprint, err);
}

int tls_peek(const struct address *address, usec_t timeout, char fingerprint[TLS_PEEK_LEN + 1],
        struct error *err)
{
        SSL_CTX *context = SSL_CTX_new(TLS_client_method());
        BIO *bio = context == NULL ? NULL : BIO_new_ssl_connect(context);
        char text[ADDRESS_TEXT_MAX];
        int rc;

        rc = bio == NULL ? error_set(err, ERR_SYSTEM, "no TLS to be had")
                         : look(bio, address, timeout, fingerprint, err);
        BIO_free_all(bio);
        SSL_CTX_free(context);
        return rc < 0 ? error_wrap(err, "%s", address_format(text, address)) : 0;
}
