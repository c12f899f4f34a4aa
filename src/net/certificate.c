/* SPDX-License-Identifier: BSD-3-Clause */
/* Certificates: an authority of one's own and what it signs, made, stored and looked at.
 *
 * Callers see PEM text only; OpenSSL's objects live as long as a call. No clock is read: what time
 * it is comes in, so that a test can make certificates of any age.
 *
 * A server's file holds its own certificate and the authority's behind it. Clients that know the
 * authority by its fingerprint only (a join token) need it to be presented. Names are alternative
 * names, as RFC 6125 wants them; the subject repeats the first one for people.
 *
 * Key and certificate are two files and cannot be replaced in one step. The key goes first; a crash
 * between the two leaves a pair that does not fit, which certificate_read() refuses, and the owner
 * makes a new one. */
#include "net/certificate.h"

#include <arpa/inet.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "base/mem.h"
#include "net/certificate-internal.h"
#include "net/secret.h"

#define SKEW      USEC_HOUR
#define CA_DAYS   3653
#define DAYS      365
#define DUE_DAYS  30
#define FILE_MAX  ((size_t) 1024 * 1024)
#define NAME_MAX_ 64 /* of a common name: RFC 5280, appendix A.1 */

static void x509_freep(X509 **x)
{
        X509_free(*x);
}

static void pkey_freep(EVP_PKEY **key)
{
        EVP_PKEY_free(*key);
}

static void bio_freep(BIO **bio)
{
        BIO_free_all(*bio);
}

void certificate_done(struct certificate *c)
{
        free(c->pem);
        if (c->key != NULL)
                secret_wipe(c->key, strlen(c->key));
        free(c->key);
        *c = (struct certificate){ 0 };
}

/* What went wrong */

const char *certificate_openssl_reason(void)
{
        unsigned long code = ERR_peek_error();
        const char *reason = code == 0 ? NULL : ERR_reason_error_string(code);

        ERR_clear_error();
        return reason != NULL ? reason : "unknown reason";
}

static int openssl_error(struct error *err, const char *what)
{
        return error_set(err, ERR_SYSTEM, "%s: %s", what, certificate_openssl_reason());
}

/* Reading text */

static int no_password(char *to, int size, int writing, void *data)
{
        (void) to;
        (void) size;
        (void) writing;
        (void) data;
        return 0; /* nobody is there to be asked */
}

static int parse_certificate(const char *pem, X509 **ret, struct error *err)
{
        AUTO(bio_freep) BIO *bio = BIO_new_mem_buf(pem, -1);

        ERR_clear_error();
        *ret = PEM_read_bio_X509(bio, NULL, no_password, NULL);
        if (*ret == NULL)
                return error_set(err, ERR_INVALID, "not a certificate in PEM form: %s",
                        certificate_openssl_reason());
        return 0;
}

static int parse_key(const char *pem, EVP_PKEY **ret, struct error *err)
{
        AUTO(bio_freep) BIO *bio = BIO_new_mem_buf(pem, -1);

        ERR_clear_error();
        *ret = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
        if (*ret == NULL)
                return error_set(err, ERR_INVALID, "not a key in PEM form without a password: %s",
                        certificate_openssl_reason());
        return 0;
}

/* Looking at one */

bool certificate_name_is_ip(const char *text)
{
        struct in6_addr any;

        return inet_pton(AF_INET, text, &any) == 1 || inet_pton(AF_INET6, text, &any) == 1;
}

usec_t certificate_time(const ASN1_TIME *t)
{
        struct tm tm;
        time_t seconds;

        if (ASN1_TIME_to_tm(t, &tm) != 1)
                return 0;
        seconds = timegm(&tm);
        return seconds < 0 ? 0 : (usec_t) seconds * USEC_SEC;
}

void certificate_digest(const X509 *x, char fingerprint[CERTIFICATE_FINGERPRINT_LEN + 1])
{
        unsigned char digest[EVP_MAX_MD_SIZE];
        unsigned len = 0;

        if (X509_digest(x, EVP_sha256(), digest, &len) != 1)
                abort(); /* out of memory, as in base/mem */
        for (unsigned i = 0; i < len; i++)
                snprintf(fingerprint + 2 * i, 3, "%02x", digest[i]);
}

void certificate_put_subject(struct buffer *b, const X509_NAME *name)
{
        int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
        unsigned char *utf8 = NULL;
        char line[256];

        if (at >= 0 && ASN1_STRING_to_UTF8(&utf8,
                               X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at))) >= 0) {
                buffer_puts(b, (const char *) utf8);
                OPENSSL_free(utf8);
                return;
        }
        buffer_puts(b, X509_NAME_oneline(name, line, sizeof line));
}

static void put_general_name(struct buffer *b, const GENERAL_NAME *name)
{
        char text[INET6_ADDRSTRLEN];
        const unsigned char *data;
        int len;

        if (name->type == GEN_DNS) {
                buffer_put(b, ASN1_STRING_get0_data(name->d.dNSName),
                        (size_t) ASN1_STRING_length(name->d.dNSName));
        } else if (name->type == GEN_IPADD) {
                data = ASN1_STRING_get0_data(name->d.iPAddress);
                len = ASN1_STRING_length(name->d.iPAddress);
                if (inet_ntop(len == 4 ? AF_INET : AF_INET6, data, text, sizeof text) != NULL)
                        buffer_puts(b, text);
        } else {
                buffer_puts(b, "something else");
        }
}

void certificate_put_names(struct buffer *b, const X509 *x)
{
        GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
        int count = names == NULL ? 0 : sk_GENERAL_NAME_num(names);

        for (int i = 0; i < count && i < 8; i++) {
                buffer_puts(b, i == 0 ? "" : ", ");
                put_general_name(b, sk_GENERAL_NAME_value(names, i));
        }
        if (count == 0)
                buffer_puts(b, "no name");
        else if (count > 8)
                buffer_printf(b, " and %d more", count - 8);
        GENERAL_NAMES_free(names);
}

int certificate_fingerprint(
        const char *pem, char fingerprint[CERTIFICATE_FINGERPRINT_LEN + 1], struct error *err)
{
        AUTO(x509_freep) X509 *x = NULL;

        if (parse_certificate(pem, &x, err) < 0)
                return -1;
        certificate_digest(x, fingerprint);
        return 0;
}

int certificate_ends(const char *pem, usec_t *ret_wall, struct error *err)
{
        AUTO(x509_freep) X509 *x = NULL;

        if (parse_certificate(pem, &x, err) < 0)
                return -1;
        *ret_wall = certificate_time(X509_get0_notAfter(x));
        return 0;
}

int certificate_is_due(const char *pem, usec_t now_wall, bool *ret_due, struct error *err)
{
        AUTO(x509_freep) X509 *x = NULL;

        if (parse_certificate(pem, &x, err) < 0)
                return -1;
        *ret_due = certificate_time(X509_get0_notAfter(x)) < now_wall + DUE_DAYS * USEC_DAY ||
                   certificate_time(X509_get0_notBefore(x)) > now_wall;
        return 0;
}

int certificate_is_for(
        const char *pem, const char *const names[], bool *ret_is_for, struct error *err)
{
        AUTO(x509_freep) X509 *x = NULL;
        bool all = true;

        if (parse_certificate(pem, &x, err) < 0)
                return -1;
        for (size_t i = 0; names[i] != NULL; i++)
                if (certificate_name_is_ip(names[i]))
                        all = all && X509_check_ip_asc(x, names[i], 0) == 1;
                else
                        all = all && X509_check_host(x, names[i], 0, 0, NULL) == 1;
        *ret_is_for = all;
        return 0;
}

int certificate_is_from(
        const char *pem, const struct certificate *ca, bool *ret_is_from, struct error *err)
{
        AUTO(x509_freep) X509 *x = NULL;
        AUTO(x509_freep) X509 *issuer = NULL;

        if (parse_certificate(pem, &x, err) < 0 || parse_certificate(ca->pem, &issuer, err) < 0)
                return -1;
        *ret_is_from = X509_check_issued(issuer, x) == X509_V_OK &&
                       X509_verify(x, X509_get0_pubkey(issuer)) == 1;
        ERR_clear_error();
        return 0;
}

/* Making one */

/* RFC 5280 section 4.1.2.2: positive, at most 20 bytes; random, so that none comes twice. */
static bool set_serial(X509 *x)
{
        BIGNUM *n = BN_new();
        bool ok = n != NULL && BN_rand(n, 159, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1 &&
                  BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x)) != NULL;

        BN_free(n);
        return ok;
}

static bool set_span(X509 *x, usec_t now_wall, int days)
{
        usec_t begin = now_wall > SKEW ? now_wall - SKEW : 0;
        usec_t end = now_wall + (usec_t) days * USEC_DAY;

        return ASN1_TIME_set(X509_getm_notBefore(x), (time_t) (begin / USEC_SEC)) != NULL &&
               ASN1_TIME_set(X509_getm_notAfter(x), (time_t) (end / USEC_SEC)) != NULL;
}

static bool set_subject(X509 *x, const char *name)
{
        return X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8,
                       (const unsigned char *) name, (int) strnlen(name, NAME_MAX_), -1, 0) == 1;
}

static bool add_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
        X509_EXTENSION *e;
        X509V3_CTX ctx;
        bool ok;

        X509V3_set_ctx_nodb(&ctx);
        X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
        e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
        ok = e != NULL && X509_add_ext(x, e, -1) == 1;
        X509_EXTENSION_free(e);
        return ok;
}

/* An unsigned certificate with a new key. */
static int make_unsigned(const char *name, usec_t now_wall, int days, X509 **ret_x,
        EVP_PKEY **ret_key, struct error *err)
{
        AUTO(x509_freep) X509 *x = X509_new();
        AUTO(pkey_freep) EVP_PKEY *key = EVP_EC_gen("P-256");

        ERR_clear_error();
        if (x == NULL || key == NULL || X509_set_version(x, X509_VERSION_3) != 1 ||
                !set_serial(x) || !set_span(x, now_wall, days) || !set_subject(x, name) ||
                X509_set_pubkey(x, key) != 1)
                return openssl_error(err, "make a certificate");
        *ret_x = take_ptr(x);
        *ret_key = take_ptr(key);
        return 0;
}

static char *take_text(BIO *bio)
{
        char *data;
        long len = BIO_get_mem_data(bio, &data);

        return mem_strndup(data, (size_t) len);
}

static int to_text(
        X509 *x, EVP_PKEY *key, const char *behind, struct certificate *ret, struct error *err)
{
        AUTO(bio_freep) BIO *pem = BIO_new(BIO_s_mem());
        AUTO(bio_freep) BIO *secret = BIO_new(BIO_s_secmem());

        if (pem == NULL || secret == NULL || PEM_write_bio_X509(pem, x) != 1 ||
                BIO_puts(pem, behind) < 0 ||
                PEM_write_bio_PKCS8PrivateKey(secret, key, NULL, NULL, 0, NULL, NULL) != 1)
                return openssl_error(err, "write a certificate");
        ret->pem = take_text(pem);
        ret->key = take_text(secret);
        return 0;
}

int certificate_make_ca(
        const char *name, usec_t now_wall, struct certificate *ret, struct error *err)
{
        AUTO(x509_freep) X509 *x = NULL;
        AUTO(pkey_freep) EVP_PKEY *key = NULL;

        if (make_unsigned(name, now_wall, CA_DAYS, &x, &key, err) < 0)
                return -1;
        if (X509_set_issuer_name(x, X509_get_subject_name(x)) != 1 ||
                !add_extension(x, x, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
                !add_extension(x, x, NID_key_usage, "critical,keyCertSign,cRLSign") ||
                !add_extension(x, x, NID_subject_key_identifier, "hash") ||
                X509_sign(x, key, EVP_sha256()) == 0)
                return openssl_error(err, "make a certificate authority");
        return to_text(x, key, "", ret, err);
}

static bool add_name(GENERAL_NAMES *names, const char *text)
{
        GENERAL_NAME *name = GENERAL_NAME_new();

        if (name == NULL)
                return false;
        if (certificate_name_is_ip(text)) {
                name->type = GEN_IPADD;
                name->d.iPAddress = a2i_IPADDRESS(text);
        } else {
                name->type = GEN_DNS;
                name->d.dNSName = ASN1_IA5STRING_new();
                if (ASN1_STRING_set(name->d.dNSName, text, -1) != 1)
                        ASN1_STRING_free(take_ptr(name->d.dNSName));
        }
        if (name->d.ptr == NULL || sk_GENERAL_NAME_push(names, name) <= 0) {
                GENERAL_NAME_free(name);
                return false;
        }
        return true;
}

/* Put together as an object: in OpenSSL's textual form a comma in a name would begin another. */
static bool add_names(X509 *x, const char *const names[])
{
        GENERAL_NAMES *list = sk_GENERAL_NAME_new_null();
        bool ok = list != NULL;

        for (size_t i = 0; ok && names[i] != NULL; i++)
                ok = add_name(list, names[i]);
        ok = ok && X509_add1_ext_i2d(x, NID_subject_alt_name, list, 0, 0) == 1;
        GENERAL_NAMES_free(list);
        return ok;
}

static bool name_is_sane(const char *name)
{
        if (certificate_name_is_ip(name))
                return true;
        return *name != '\0' && strlen(name) <= 253 &&
               strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                            ".-_*") == strlen(name);
}

static int check_names(const char *const names[], struct error *err)
{
        if (names[0] == NULL)
                return error_set(err, ERR_INVALID, "a certificate needs a name at least");
        for (size_t i = 0; names[i] != NULL; i++)
                if (!name_is_sane(names[i]))
                        return error_set(err, ERR_INVALID,
                                "\"%s\" is neither a DNS name nor an IP address", names[i]);
        return 0;
}

int certificate_issue(const struct certificate *ca, const char *const names[], usec_t now_wall,
        struct certificate *ret, struct error *err)
{
        AUTO(x509_freep) X509 *issuer = NULL;
        AUTO(pkey_freep) EVP_PKEY *issuer_key = NULL;
        AUTO(x509_freep) X509 *x = NULL;
        AUTO(pkey_freep) EVP_PKEY *key = NULL;

        if (check_names(names, err) < 0)
                return -1;
        if (parse_certificate(ca->pem, &issuer, err) < 0 ||
                parse_key(ca->key, &issuer_key, err) < 0)
                return error_wrap(err, "the certificate authority");
        if (make_unsigned(names[0], now_wall, DAYS, &x, &key, err) < 0)
                return -1;
        if (X509_set_issuer_name(x, X509_get_subject_name(issuer)) != 1 ||
                !add_extension(x, issuer, NID_basic_constraints, "critical,CA:FALSE") ||
                !add_extension(x, issuer, NID_key_usage, "critical,digitalSignature") ||
                !add_extension(x, issuer, NID_ext_key_usage, "serverAuth") ||
                !add_extension(x, issuer, NID_subject_key_identifier, "hash") ||
                !add_extension(x, issuer, NID_authority_key_identifier, "keyid:always") ||
                !add_names(x, names) || X509_sign(x, issuer_key, EVP_sha256()) == 0)
                return openssl_error(err, "issue a certificate");
        return to_text(x, key, ca->pem, ret, err);
}

/* Files */

int certificate_write(const struct certificate *c, const char *certificate_path,
        const char *key_path, struct error *err)
{
        if (file_replace(key_path, c->key, strlen(c->key), 0600, true, err) < 0)
                return -1;
        return file_replace(certificate_path, c->pem, strlen(c->pem), 0644, true, err);
}

static int check_pair(const struct certificate *c, const char *certificate_path,
        const char *key_path, struct error *err)
{
        AUTO(x509_freep) X509 *x = NULL;
        AUTO(pkey_freep) EVP_PKEY *key = NULL;

        if (parse_certificate(c->pem, &x, err) < 0)
                return error_wrap(err, "%s", certificate_path);
        if (parse_key(c->key, &key, err) < 0)
                return error_wrap(err, "%s", key_path);
        if (X509_check_private_key(x, key) != 1) {
                ERR_clear_error();
                return error_set(
                        err, ERR_INVALID, "%s is not the key of %s", key_path, certificate_path);
        }
        return 0;
}

static void certificate_donep(struct certificate *c)
{
        certificate_done(c);
}

int certificate_read(const char *certificate_path, const char *key_path, struct certificate *ret,
        struct error *err)
{
        AUTO(certificate_donep) struct certificate c = { 0 };
        struct buffer pem = { 0 }, key = { 0 };
        int r = file_read(certificate_path, FILE_MAX, &pem, err);

        if (r == 0)
                r = file_read(key_path, FILE_MAX, &key, err);
        c.pem = buffer_take(&pem);
        c.key = buffer_take(&key);
        if (r < 0 || check_pair(&c, certificate_path, key_path, err) < 0)
                return -1;
        *ret = c;
        c = (struct certificate){ 0 };
        return 0;
}
