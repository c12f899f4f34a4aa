/* SPDX-License-Identifier: BSD-3-Clause */
/* Identity: the server's certificate, and the CA by which it is known.
 *
 * Who gives no files gets a CA of the server's own: made at the first start, kept in DIR/tls
 * (ca.pem, ca.key), good for ten years. Nodes and people know the server by the fingerprint of that
 * CA's certificate, so it stays the same whatever becomes of the server's certificate. That one
 * (server.pem, server.key; for a year) is made anew when its end is near, when it is for other
 * names than the server is reached by now, and when it is damaged or another CA's, as after a crash
 * between two writes. A damaged CA is never replaced silently: everybody would have to be told.
 *
 * Files that the operator gives are the operator's to renew. They are read again at every look
 * (twice a day), so that what a renewal has put there is used without a restart. The last
 * certificate in the file is what others know the server by. */
#include "server/identity.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/certificate.h"
#include "net/tls.h"

#define LOOK_EVERY_MSEC ((uint64_t) 12 * 3600 * 1000)
#define FILE_MAX        ((size_t) 1 << 20)
#define NAMES_MAX       8
#define CA_NAME         "Reeve CA of "
#define PEM_BEGIN       "-----BEGIN CERTIFICATE-----"

struct identity {
        char *certificate_path, *key_path;
        char *ca_path, *ca_key_path; /* NULL: the operator's files */
        char *names[NAMES_MAX + 1];  /* that the certificate is for; ended by NULL */
        struct tls_context *context;
        char *ca;
        char fingerprint[CERTIFICATE_FINGERPRINT_LEN + 1];
        uv_timer_t timer;
};

/* ---- Names */

/* Each once. */
static void add_name(struct identity *id, const char *name)
{
        size_t n = 0;

        for (; id->names[n] != NULL; n++)
                if (strcmp(id->names[n], name) == 0)
                        return;
        if (n < NAMES_MAX && *name != '\0')
                id->names[n] = mem_strdup(name);
}

static bool is_wildcard(const char *host)
{
        return *host == '\0' || strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
}

static int collect_names(
        struct identity *id, const char *advertise, const struct address *listen, struct error *err)
{
        char host[256] = "";
        struct address address;

        if (advertise != NULL) {
                if (address_parse(advertise, &address, err) < 0)
                        return error_wrap(err, "--advertise");
                add_name(id, address.host);
        }
        if (!is_wildcard(listen->host))
                add_name(id, listen->host);
        if (gethostname(host, sizeof host - 1) == 0)
                add_name(id, host);
        add_name(id, "localhost");
        add_name(id, "127.0.0.1");
        add_name(id, "::1");
        return 0;
}

/* ---- The CA */

static int make_ca(struct identity *id, struct certificate *ret, struct error *err)
{
        AUTO(mem_freep) char *name = mem_printf(CA_NAME "%s", id->names[0]);

        name[MIN(strlen(name), (size_t) 64)] = '\0'; /* as long as a common name may be */
        if (certificate_make_ca(name, time_wall(), ret, err) < 0)
                return -1;
        log_info("%s: a certificate authority of our own was made", id->ca_path);
        return certificate_write(ret, id->ca_path, id->ca_key_path, err);
}

/* Written key first: a key without its certificate is all that a crash can leave. */
static int read_ca(struct identity *id, struct certificate *ret, struct error *err)
{
        bool due;

        if (access(id->ca_path, F_OK) < 0)
                return make_ca(id, ret, err);
        if (certificate_read(id->ca_path, id->ca_key_path, ret, err) < 0)
                return error_wrap(err, "the certificate authority that nodes know this server by");
        if (certificate_is_due(ret->pem, time_wall(), &due, err) < 0)
                return -1;
        if (due)
                log_warning("%s ends soon (or the clock is wrong): move it and its key away, and "
                            "have the nodes join again",
                        id->ca_path);
        return 0;
}

/* ---- The server's certificate */

static bool is_good(const struct identity *id, const struct certificate *ca)
{
        struct certificate c = { 0 };
        struct error err;
        bool due = true, is_for = false, is_from = false, good;

        good = certificate_read(id->certificate_path, id->key_path, &c, &err) == 0 &&
               certificate_is_due(c.pem, time_wall(), &due, &err) == 0 && !due &&
               certificate_is_for(c.pem, (const char *const *) id->names, &is_for, &err) == 0 &&
               is_for && certificate_is_from(c.pem, ca, &is_from, &err) == 0 && is_from;
        certificate_done(&c);
        return good;
}

/* Leaves a good certificate in the files. */
static int renew(struct identity *id, const struct certificate *ca, struct error *err)
{
        struct certificate c = { 0 };
        int rc;

        if (is_good(id, ca))
                return 0;
        rc = certificate_issue(ca, (const char *const *) id->names, time_wall(), &c, err);
        if (rc == 0)
                rc = certificate_write(&c, id->certificate_path, id->key_path, err);
        certificate_done(&c);
        if (rc == 0)
                log_info("%s: a new certificate", id->certificate_path);
        return rc;
}

static int see_to_files(struct identity *id, struct error *err)
{
        struct certificate ca = { 0 };
        int rc;

        if (id->ca_path == NULL)
                return 0;
        rc = read_ca(id, &ca, err);
        if (rc == 0)
                rc = renew(id, &ca, err);
        certificate_done(&ca);
        return rc;
}

static void on_timer(uv_timer_t *timer)
{
        struct identity *id = timer->data;
        struct error err;

        if (see_to_files(id, &err) < 0 || tls_context_reload(id->context, &err) < 0)
                log_error("the server's certificate: %s", err.message);
}

/* ---- Life */

static void set_paths(struct identity *id, const struct server_options *o)
{
        if (o->tls_cert != NULL) {
                id->certificate_path = mem_strdup(o->tls_cert);
                id->key_path = mem_strdup(o->tls_key);
                return;
        }
        id->certificate_path = mem_printf("%s/tls/server.pem", o->data);
        id->key_path = mem_printf("%s/tls/server.key", o->data);
        id->ca_path = mem_printf("%s/tls/ca.pem", o->data);
        id->ca_key_path = mem_printf("%s/tls/ca.key", o->data);
}

static int make_directory(const struct server_options *o, struct error *err)
{
        AUTO(mem_freep) char *path = mem_printf("%s/tls", o->data);

        return file_mkdirs(path, 0700, err);
}

/* What others know us by: the last certificate that we show. */
static int find_ca(struct identity *id, struct error *err)
{
        AUTO(buffer_done) struct buffer text = { 0 };
        const char *last = NULL;

        if (file_read(id->certificate_path, FILE_MAX, &text, err) < 0)
                return -1;
        for (const char *p = buffer_str(&text); (p = strstr(p, PEM_BEGIN)) != NULL; p++)
                last = p;
        if (last == NULL)
                return error_set(
                        err, ERR_INVALID, "%s: no certificate in it", id->certificate_path);
        id->ca = mem_strdup(last);
        return certificate_fingerprint(id->ca, id->fingerprint, err);
}

static int identity_open(struct identity *id, const struct server_options *o,
        const struct address *listen, struct error *err)
{
        if ((o->tls_cert == NULL) != (o->tls_key == NULL))
                return error_set(err, ERR_INVALID, "--tls-cert and --tls-key belong together");
        if (collect_names(id, o->advertise, listen, err) < 0)
                return -1;
        set_paths(id, o);
        if (id->ca_path != NULL && make_directory(o, err) < 0)
                return -1;
        if (see_to_files(id, err) < 0 ||
                tls_context_new_server(id->certificate_path, id->key_path, &id->context, err) < 0)
                return -1;
        return find_ca(id, err);
}

int identity_new(struct server *server, const struct address *listen, struct identity **ret,
        struct error *err)
{
        struct identity *id = mem_alloc(sizeof *id);

        id->timer.data = id;
        uv_timer_init(server->loop, &id->timer);
        uv_timer_start(&id->timer, on_timer, LOOK_EVERY_MSEC, LOOK_EVERY_MSEC);
        uv_unref((uv_handle_t *) &id->timer);
        if (identity_open(id, &server->options, listen, err) < 0) {
                identity_free(id);
                return error_wrap(err, "the server's certificate");
        }
        *ret = id;
        return 0;
}

static void on_closed(uv_handle_t *handle)
{
        free(handle->data);
}

void identity_free(struct identity *id)
{
        if (id == NULL)
                return;
        tls_context_unref(id->context);
        for (size_t i = 0; id->names[i] != NULL; i++)
                free(id->names[i]);
        free(id->certificate_path);
        free(id->key_path);
        free(id->ca_path);
        free(id->ca_key_path);
        free(id->ca);
        uv_close((uv_handle_t *) &id->timer, on_closed);
}

struct tls_context *identity_context(struct identity *id)
{
        return id->context;
}

const char *identity_ca(const struct identity *id)
{
        return id->ca;
}

void identity_fingerprint(const struct identity *id, char *ret, size_t len)
{
        memcpy(ret, id->fingerprint, len);
        ret[len] = '\0';
}
