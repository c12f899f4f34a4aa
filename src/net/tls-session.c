/* SPDX-License-Identifier: BSD-3-Clause */
/* One connection's TLS: between the bytes of the socket and those of the protocol above.
 *
 * It belongs to a conn, which calls it where it would call recv() and sendmsg(). The socket is read
 * and written here by a BIO of our own: the one of OpenSSL uses write(2), which raises SIGPIPE. It
 * also remembers when the kernel had less than was asked for, so that a message costs one recv()
 * and not a second one that only says EAGAIN; poll is level-triggered, so nothing can be missed.
 *
 * OpenSSL reads ahead (one recv() per record otherwise becomes two), so bytes can be here that
 * the kernel does not know of any more. tls_read() therefore reads until there is nothing left or
 * the buffer is full, and says `more` in the latter case; conn.c then comes back without waiting
 * for poll. With SSL_MODE_RELEASE_BUFFERS an idle connection has no buffers at all.
 *
 * Output is one record of up to 16 KiB per call, gathered from as many pieces as it takes. When the
 * socket is full, OpenSSL keeps the encrypted record and wants the same bytes again. */
#include "net/tls-session.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/macros.h"
#include "base/mem.h"
#include "net/certificate-internal.h"

/* The socket, as OpenSSL sees it */

static int bio_read(BIO *bio, char *to, int len)
{
        struct tls *t = BIO_get_data(bio);
        ssize_t n;

        BIO_clear_retry_flags(bio);
        if (t->drained) {
                BIO_set_retry_read(bio);
                return -1;
        }
        do
                n = recv(t->fd, to, (size_t) len, 0);
        while (n < 0 && errno == EINTR);
        t->drained = n < len;
        t->eof = n == 0;
        if (n < 0 && errno == EAGAIN)
                BIO_set_retry_read(bio);
        return (int) n;
}

static int bio_write(BIO *bio, const char *from, int len)
{
        struct tls *t = BIO_get_data(bio);
        ssize_t n;

        BIO_clear_retry_flags(bio);
        do
                n = send(t->fd, from, (size_t) len, MSG_NOSIGNAL);
        while (n < 0 && errno == EINTR);
        if (n < 0 && (errno == EAGAIN || errno == ENOBUFS))
                BIO_set_retry_write(bio);
        return (int) n;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
        const struct tls *t = BIO_get_data(bio);

        (void) number;
        (void) pointer;
        if (command == BIO_CTRL_EOF)
                return t->eof;
        return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *bio_method;

static void bio_method_make(void)
{
        bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "connection");
        if (bio_method == NULL || BIO_meth_set_read(bio_method, bio_read) != 1 ||
                BIO_meth_set_write(bio_method, bio_write) != 1 ||
                BIO_meth_set_ctrl(bio_method, bio_ctrl) != 1)
                abort(); /* out of memory, as in base/mem */
}

static bool tls_attach_socket(struct tls *t)
{
        static pthread_once_t once = PTHREAD_ONCE_INIT;
        BIO *bio;

        pthread_once(&once, bio_method_make);
        bio = BIO_new(bio_method);
        if (bio == NULL)
                return false;
        BIO_set_data(bio, t);
        BIO_set_init(bio, 1);
        SSL_set_bio(t->ssl, bio, bio);
        return true;
}

/* Beginning and end */

void tls_free(struct tls *t)
{
        if (t == NULL)
                return;
        if (t->ssl != NULL && t->failure == NULL) /* or the session could not be resumed */
                SSL_set_shutdown(t->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
        SSL_free(t->ssl);
        tls_context_unref(t->context);
        free(t->name);
        free(t->failure);
        free(t);
}

static void tls_freep(struct tls **t)
{
        tls_free(*t);
}

/* The interface behind an IPv6 address ("fe80::1%eth0") is nobody else's business. */
static bool tls_expect_name(struct tls *t)
{
        X509_VERIFY_PARAM *param = SSL_get0_param(t->ssl);

        t->name[strcspn(t->name, "%")] = '\0';
        if (certificate_name_is_ip(t->name))
                return X509_VERIFY_PARAM_set1_ip_asc(param, t->name) == 1;
        SSL_set_hostflags(t->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        return SSL_set1_host(t->ssl, t->name) == 1 &&
               SSL_set_tlsext_host_name(t->ssl, t->name) == 1;
}

struct tls *tls_new(struct tls_context *context, int fd, const char *host, struct error *err)
{
        AUTO(tls_freep) struct tls *t = mem_alloc(sizeof *t);

        ERR_clear_error();
        t->context = tls_context_ref(context);
        t->fd = fd;
        t->ssl = SSL_new(tls_context_ssl(context));
        if (t->ssl == NULL || !tls_attach_socket(t) || SSL_set_app_data(t->ssl, t) != 1)
                goto failed;
        if (tls_context_is_client(context)) {
                t->name = mem_strdup(tls_context_name(context, host));
                if (!tls_expect_name(t))
                        goto failed;
                SSL_set_connect_state(t->ssl);
                tls_context_resume(context, t);
        } else {
                SSL_set_accept_state(t->ssl);
        }
        return take_ptr(t);

failed:
        error_set(err, ERR_SYSTEM, "begin with TLS: %s", certificate_openssl_reason());
        return NULL;
}

/* Failures */

static const struct {
        int reason;
        enum error_code code;
        const char *text;
} reasons[] = {
        { SSL_R_WRONG_VERSION_NUMBER, ERR_INVALID,
                "there is no TLS at that address (is http:// meant?)" },
        { SSL_R_HTTP_REQUEST, ERR_INVALID, "the peer does not speak TLS" },
        { SSL_R_UNSUPPORTED_PROTOCOL, ERR_INVALID, "the peer speaks no TLS of version 1.2 or 1.3" },
        { SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, ERR_INVALID,
                "the peer does not speak the versions 1.2 and 1.3 of TLS" },
        { SSL_R_UNEXPECTED_EOF_WHILE_READING, ERR_UNAVAILABLE,
                "the peer ended the connection without saying so" },
};

static void tls_fail_with(struct tls *t, enum error_code code, const char *text)
{
        t->failure = mem_alloc(sizeof *t->failure);
        error_set(t->failure, code, "%s", text);
}

/* OpenSSL does not go on after SSL_ERROR_SSL. What the check of the certificate has said (tls.c)
 * stays. */
static void tls_fail(struct tls *t)
{
        int reason = ERR_GET_REASON(ERR_peek_error());
        char text[160];

        if (t->failure != NULL)
                return;
        for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
                if (reasons[i].reason == reason) {
                        tls_fail_with(t, reasons[i].code, reasons[i].text);
                        return;
                }
        }
        snprintf(text, sizeof text, "TLS: %s", certificate_openssl_reason());
        tls_fail_with(t, ERR_UNAVAILABLE, text);
}

/* What an operation of OpenSSL that did not succeed means, as errno; 0: the end. */
static int tls_result(struct tls *t, int r, int sys_errno)
{
        switch (SSL_get_error(t->ssl, r)) {
        case SSL_ERROR_WANT_READ:
        case SSL_ERROR_WANT_WRITE:
                return EAGAIN;
        case SSL_ERROR_ZERO_RETURN:
                return 0;
        case SSL_ERROR_SYSCALL:
                return sys_errno != 0 ? sys_errno : ECONNRESET;
        default:
                tls_fail(t);
                ERR_clear_error();
                return EPROTO;
        }
}

/* Operations */

static void tls_begin(struct tls *t)
{
        ERR_clear_error();
        t->drained = false;
        errno = 0;
}

int tls_handshake(struct tls *t, struct error *err)
{
        int r, sys_errno;

        tls_begin(t);
        r = SSL_do_handshake(t->ssl);
        if (r == 1) {
                t->more = true; /* the first message may have come with the end of the handshake */
                t->read_wants_write = false;
                return 1;
        }
        t->read_wants_write = SSL_want_write(t->ssl);
        sys_errno = tls_result(t, r, errno);
        if (sys_errno == EAGAIN)
                return 0;
        if (t->failure == NULL)
                return error_sys(err, sys_errno != 0 ? sys_errno : ECONNRESET, "TLS handshake");
        if (err != NULL)
                *err = *t->failure;
        return -1;
}

ssize_t tls_read(struct tls *t, char *to, size_t len)
{
        size_t done = 0, n;
        int r, sys_errno;

        if (t->failure != NULL) {
                errno = EPROTO;
                return -1;
        }
        t->drained = false;
        t->read_wants_write = false;
        do {
                ERR_clear_error();
                errno = 0;
                r = SSL_read_ex(t->ssl, to + done, len - done, &n);
                done += r == 1 ? n : 0;
        } while (r == 1 && done < len);
        t->more = r == 1;
        if (r == 1)
                return (ssize_t) done;

        sys_errno = tls_result(t, r, errno);
        t->read_wants_write = SSL_want_write(t->ssl);
        t->more = done > 0 && sys_errno != EAGAIN; /* the end or the failure is seen next time */
        if (done > 0 || sys_errno == 0)
                return (ssize_t) done;
        errno = sys_errno;
        return -1;
}

/* The next record's worth of @iov in one piece. */
static const char *tls_gather(const struct iovec *iov, size_t count, char *scratch, size_t *ret_len)
{
        size_t len = 0;

        if (count == 1 || iov[0].iov_len >= TLS_RECORD_MAX) {
                *ret_len = MIN(iov[0].iov_len, TLS_RECORD_MAX);
                return iov[0].iov_base;
        }
        for (size_t i = 0; i < count && len < TLS_RECORD_MAX; i++) {
                size_t n = MIN(iov[i].iov_len, TLS_RECORD_MAX - len);

                memcpy(scratch + len, iov[i].iov_base, n);
                len += n;
        }
        *ret_len = len;
        return scratch;
}

ssize_t tls_write(struct tls *t, const struct iovec *iov, size_t count, char *scratch)
{
        size_t len, n;
        const char *from = tls_gather(iov, count, scratch, &len);
        int r;

        tls_begin(t);
        if (t->failure != NULL) {
                errno = EPROTO;
                return -1;
        }
        r = SSL_write_ex(t->ssl, from, len, &n);
        t->write_wants_read = r != 1 && SSL_want_read(t->ssl);
        if (r == 1)
                return (ssize_t) n;
        r = tls_result(t, r, errno);
        errno = r != 0 ? r : EPIPE;
        return -1;
}

int tls_shutdown(struct tls *t)
{
        int r;

        if (t->failure != NULL || !SSL_is_init_finished(t->ssl))
                return 0;
        tls_begin(t);
        r = SSL_shutdown(t->ssl);
        if (r < 0 && SSL_get_error(t->ssl, r) == SSL_ERROR_WANT_WRITE) {
                errno = EAGAIN;
                return -1;
        }
        ERR_clear_error();
        return 0;
}
