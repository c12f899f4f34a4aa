/* SPDX-License-Identifier: BSD-3-Clause */
/* TLS contexts: what a server shows and whom a client believes.
 *
 * Rules for both: TLS 1.2 and 1.3, no renegotiation, no buffers while a connection is idle, partial
 * writes. A server's context can be loaded anew under the same pointer; connections that stand keep
 * what they began with.
 *
 * Whom a client believes. The check of OpenSSL is run by check_peer(), for two reasons. With a
 * fingerprint, the authority is not known beforehand: it is the certificate of that digest among
 * those presented, which then is the one and only trusted for the usual check (signatures, dates,
 * name). And only there is the certificate at hand that was found wanting, to be told in a sentence
 * with its dates or names in it; a wrong clock is the usual reason for an invalid one.
 *
 * Sessions. A server gives tickets and remembers nothing; their keys end with the context, so that
 * nobody comes in by a certificate that was replaced. A client keeps the last ticket of each
 * context and offers it only to a peer of the same name, since the certificate is not looked at
 * again then. */
#include "net/tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buffer.h"
#include "base/macros.h"
#include "base/mem.h"
#include "base/time.h"
#include "net/certificate-internal.h"
#include "net/tls-session.h"

#define FINGERPRINT_MIN  32
#define SESSION_LIFETIME 3600 /* seconds */

struct tls_context {
        atomic_uint refs;
        bool is_client;
        SSL_CTX *ssl;

        char *certificate_path, *key_path; /* server */

        char *name; /* client: instead of the host; NULL: the host */
        char fingerprint[CERTIFICATE_FINGERPRINT_LEN + 1];

        pthread_mutex_t lock; /* of what follows */
        SSL_SESSION *session;
        char *session_name;
};

/* What went wrong with a certificate, as a sentence */

static void put_clock(struct buffer *b)
{
        char now[TIME_TEXT_MAX];

        buffer_printf(b, "; the clock here says %s", time_format_wall(now, time_wall()));
}

static void put_issuer_unknown(struct buffer *b, const X509 *x)
{
        buffer_puts(b, "it was signed by \"");
        certificate_put_subject(b, X509_get_issuer_name(x));
        buffer_puts(b, "\", which is no certificate authority that is trusted here");
}

static void put_problem(struct buffer *b, const struct tls *t, int problem, const X509 *x)
{
        char at[TIME_TEXT_MAX];

        switch (problem) {
        case X509_V_ERR_CERT_HAS_EXPIRED:
                time_format_wall(at, certificate_time(X509_get0_notAfter(x)));
                buffer_printf(b, "it ended at %s", at);
                put_clock(b);
                break;
        case X509_V_ERR_CERT_NOT_YET_VALID:
                time_format_wall(at, certificate_time(X509_get0_notBefore(x)));
                buffer_printf(b, "it begins at %s", at);
                put_clock(b);
                break;
        case X509_V_ERR_HOSTNAME_MISMATCH:
        case X509_V_ERR_IP_ADDRESS_MISMATCH:
                buffer_puts(b, "it is for ");
                certificate_put_names(b, x);
                buffer_printf(b, ", not for %s", t->name);
                break;
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
        case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        case X509_V_ERR_CERT_UNTRUSTED:
                put_issuer_unknown(b, x);
                break;
        default:
                buffer_puts(b, X509_verify_cert_error_string(problem));
                break;
        }
}

static void fail_certificate(struct tls *t, X509_STORE_CTX *ctx)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        X509 *x = X509_STORE_CTX_get_current_cert(ctx);

        if (x == NULL)
                x = X509_STORE_CTX_get0_cert(ctx);
        buffer_puts(&b, "the certificate \"");
        certificate_put_subject(&b, X509_get_subject_name(x));
        buffer_puts(&b, "\" of the server is refused: ");
        put_problem(&b, t, X509_STORE_CTX_get_error(ctx), x);
        t->failure = mem_alloc(sizeof *t->failure);
        error_set(t->failure, ERR_DENIED, "%s", buffer_str(&b));
}

/* The check */

static X509 *find_pinned(const char *fingerprint, STACK_OF(X509) * chain)
{
        char digest[CERTIFICATE_FINGERPRINT_LEN + 1];

        for (int i = 0; i < sk_X509_num(chain); i++) {
                certificate_digest(sk_X509_value(chain, i), digest);
                if (strncmp(digest, fingerprint, strlen(fingerprint)) == 0)
                        return sk_X509_value(chain, i);
        }
        return NULL;
}

static int check_pinned(struct tls *t, X509_STORE_CTX *ctx)
{
        X509 *pinned = find_pinned(t->context->fingerprint, X509_STORE_CTX_get0_untrusted(ctx));
        STACK_OF(X509) * trusted;
        int ok;

        if (pinned == NULL) {
                X509_STORE_CTX_set_error(ctx, X509_V_ERR_CERT_UNTRUSTED);
                t->failure = mem_alloc(sizeof *t->failure);
                error_set(t->failure, ERR_DENIED,
                        "none of the certificates that the server shows has the expected"
                        " fingerprint (SHA-256 %s)",
                        t->context->fingerprint);
                return 0;
        }
        trusted = sk_X509_new_null();
        if (trusted == NULL || sk_X509_push(trusted, pinned) <= 0)
                abort(); /* out of memory, as in base/mem */
        X509_STORE_CTX_set0_trusted_stack(ctx, trusted);
        ok = X509_verify_cert(ctx);
        if (ok <= 0)
                fail_certificate(t, ctx);
        X509_STORE_CTX_set0_trusted_stack(ctx, NULL);
        sk_X509_free(trusted);
        return ok;
}

/* In place of X509_verify_cert(). */
static int check_peer(X509_STORE_CTX *ctx, void *data)
{
        SSL *ssl = X509_STORE_CTX_get_ex_data(ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
        struct tls *t = SSL_get_app_data(ssl);
        int ok;

        (void) data;
        if (t->context->fingerprint[0] != '\0')
                return check_pinned(t, ctx) > 0;
        ok = X509_verify_cert(ctx);
        if (ok <= 0)
                fail_certificate(t, ctx);
        return ok > 0;
}

/* Sessions */

/* A ticket has come. Returns 1: the reference is ours. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
        const struct tls *t = SSL_get_app_data(ssl);
        struct tls_context *c = t->context;

        pthread_mutex_lock(&c->lock);
        SSL_SESSION_free(c->session);
        free(c->session_name);
        c->session = session;
        c->session_name = mem_strdup(t->name);
        pthread_mutex_unlock(&c->lock);
        return 1;
}

void tls_context_resume(struct tls_context *c, struct tls *t)
{
        pthread_mutex_lock(&c->lock);
        if (c->session != NULL && strcasecmp(c->session_name, t->name) == 0 &&
                SSL_SESSION_is_resumable(c->session))
                SSL_set_session(t->ssl, c->session);
        pthread_mutex_unlock(&c->lock);
}

/* Contexts */

static int no_password(char *to, int size, int writing, void *data)
{
        (void) to;
        (void) size;
        (void) writing;
        (void) data;
        return 0; /* nobody is there to be asked */
}

static SSL_CTX *ssl_new(bool is_client, struct error *err)
{
        SSL_CTX *ssl;

        ERR_clear_error();
        ssl = SSL_CTX_new(is_client ? TLS_client_method() : TLS_server_method());
        if (ssl == NULL || SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION) != 1) {
                error_set(err, ERR_SYSTEM, "begin with TLS: %s", certificate_openssl_reason());
                SSL_CTX_free(ssl);
                return NULL;
        }
        SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
        SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        SSL_CTX_set_read_ahead(ssl, 1);
        SSL_CTX_set_timeout(ssl, SESSION_LIFETIME);
        SSL_CTX_set_default_passwd_cb(ssl, no_password);
        return ssl;
}

static struct tls_context *context_new(SSL_CTX *ssl, bool is_client)
{
        struct tls_context *c = mem_alloc(sizeof *c);

        c->refs = 1;
        c->is_client = is_client;
        c->ssl = ssl;
        pthread_mutex_init(&c->lock, NULL);
        return c;
}

struct tls_context *tls_context_ref(struct tls_context *c)
{
        c->refs++;
        return c;
}

void tls_context_unref(struct tls_context *c)
{
        if (c == NULL || --c->refs > 0)
                return;
        SSL_SESSION_free(c->session);
        free(c->session_name);
        SSL_CTX_free(c->ssl);
        free(c->certificate_path);
        free(c->key_path);
        free(c->name);
        pthread_mutex_destroy(&c->lock);
        free(c);
}

void tls_context_unrefp(struct tls_context **c)
{
        tls_context_unref(*c);
}

bool tls_context_is_client(const struct tls_context *c)
{
        return c->is_client;
}

SSL_CTX *tls_context_ssl(const struct tls_context *c)
{
        return c->ssl;
}

const char *tls_context_name(const struct tls_context *c, const char *host)
{
        if (c->name != NULL)
                return c->name;
        return host[0] == '\0' ? "localhost" : host;
}

/* A server's */

static void ssl_freep(SSL_CTX **ssl)
{
        SSL_CTX_free(*ssl);
}

static int file_error(struct error *err, const char *what, const char *path)
{
        return error_set(err, ERR_INVALID, "%s %s: %s", what, path, certificate_openssl_reason());
}

/* A peer that ends its half without close_notify is taken as one that ends it: requests say
 * themselves where they end. */
static int server_load(
        const char *certificate_path, const char *key_path, SSL_CTX **ret, struct error *err)
{
        AUTO(ssl_freep) SSL_CTX *ssl = ssl_new(false, err);

        if (ssl == NULL)
                return -1;
        SSL_CTX_set_options(ssl, SSL_OP_IGNORE_UNEXPECTED_EOF);
        SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
        SSL_CTX_set_num_tickets(ssl, 1);
        if (SSL_CTX_use_certificate_chain_file(ssl, certificate_path) != 1)
                return file_error(err, "certificate", certificate_path);
        if (SSL_CTX_use_PrivateKey_file(ssl, key_path, SSL_FILETYPE_PEM) != 1)
                return file_error(err, "key", key_path);
        *ret = take_ptr(ssl);
        return 0;
}

int tls_context_new_server(const char *certificate_path, const char *key_path,
        struct tls_context **ret, struct error *err)
{
        struct tls_context *c;
        SSL_CTX *ssl;

        if (server_load(certificate_path, key_path, &ssl, err) < 0)
                return -1;
        c = context_new(ssl, false);
        c->certificate_path = mem_strdup(certificate_path);
        c->key_path = mem_strdup(key_path);
        *ret = c;
        return 0;
}

int tls_context_reload(struct tls_context *c, struct error *err)
{
        SSL_CTX *ssl;

        if (server_load(c->certificate_path, c->key_path, &ssl, err) < 0)
                return -1;
        SSL_CTX_free(c->ssl);
        c->ssl = ssl;
        return 0;
}

/* A client's */

static int trust_pem(SSL_CTX *ssl, const char *pem, struct error *err)
{
        BIO *bio = BIO_new_mem_buf(pem, -1);
        unsigned count = 0;
        X509 *x;

        while ((x = PEM_read_bio_X509(bio, NULL, no_password, NULL)) != NULL) {
                X509_STORE_add_cert(SSL_CTX_get_cert_store(ssl), x);
                X509_free(x);
                count++;
        }
        BIO_free(bio);
        if (count == 0)
                return error_set(err, ERR_INVALID, "certificate of the authority: %s",
                        certificate_openssl_reason());
        ERR_clear_error(); /* the end of the text is one */
        return 0;
}

static int read_fingerprint(const char *text, char fingerprint[], struct error *err)
{
        size_t len = 0;

        for (const char *p = text; *p != '\0' && len <= CERTIFICATE_FINGERPRINT_LEN; p++)
                if (*p != ':')
                        fingerprint[len++] = (char) (*p >= 'A' && *p <= 'F' ? *p - 'A' + 'a' : *p);
        if (len > CERTIFICATE_FINGERPRINT_LEN || len < FINGERPRINT_MIN ||
                strspn(fingerprint, "0123456789abcdef") < len)
                return error_set(err, ERR_INVALID,
                        "\"%s\" is no fingerprint of a certificate: expected the first %d to %d"
                        " hexadecimal digits of its SHA-256",
                        text, FINGERPRINT_MIN, CERTIFICATE_FINGERPRINT_LEN);
        return 0;
}

static int client_trust(struct tls_context *c, const struct tls_trust *trust, struct error *err)
{
        if (trust->fingerprint != NULL) {
                char digits[CERTIFICATE_FINGERPRINT_LEN + 2] = "";

                if (read_fingerprint(trust->fingerprint, digits, err) < 0)
                        return -1;
                memcpy(c->fingerprint, digits, sizeof c->fingerprint);
                return 0;
        }
        if (trust->ca_pem != NULL)
                return trust_pem(c->ssl, trust->ca_pem, err);
        if (trust->ca_path != NULL && SSL_CTX_load_verify_file(c->ssl, trust->ca_path) != 1)
                return file_error(err, "certificate of the authority", trust->ca_path);
        if (trust->ca_path == NULL && SSL_CTX_set_default_verify_paths(c->ssl) != 1)
                return error_set(err, ERR_SYSTEM, "the system's certificate authorities: %s",
                        certificate_openssl_reason());
        return 0;
}

int tls_context_new_client(
        const struct tls_trust *trust, struct tls_context **ret, struct error *err)
{
        AUTO(tls_context_unrefp) struct tls_context *c = NULL;
        SSL_CTX *ssl = ssl_new(true, err);

        if (ssl == NULL)
                return -1;
        c = context_new(ssl, true);
        if (client_trust(c, trust, err) < 0)
                return -1;
        c->name = mem_strdup(trust->name);
        X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ssl), X509_V_FLAG_PARTIAL_CHAIN);
        SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, NULL);
        SSL_CTX_set_cert_verify_callback(ssl, check_peer, NULL);
        SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(ssl, on_session);
        *ret = take_ptr(c);
        return 0;
}

int tls_context_system(struct tls_context **ret, struct error *err)
{
        static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
        static struct tls_context *system; /* for as long as the program runs */
        int r = 0;

        pthread_mutex_lock(&lock);
        if (system == NULL)
                r = tls_context_new_client(&(struct tls_trust){ 0 }, &system, err);
        if (r == 0)
                *ret = system;
        pthread_mutex_unlock(&lock);
        return r;
}
