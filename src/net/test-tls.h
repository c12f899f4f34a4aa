/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "net/certificate.h"
#include "net/test-net.h"
#include "net/tls.h"

/* An authority and a server's files in a directory of the test, and contexts made of them. */
struct pki {
        char dir[32], certificate[64], key[64], ca_path[64];
        char fingerprint[CERTIFICATE_FINGERPRINT_LEN + 1];
        struct certificate ca;
        struct tls_context *server, *client; /* the client's believes the authority */
};

static inline void pki_done(struct pki *p)
{
        struct error err;

        tls_context_unref(p->server);
        tls_context_unref(p->client);
        certificate_done(&p->ca);
        assert_int_equal(file_remove_tree(p->dir, &err), 0);
}

/* Issues and writes what the server shows from now on (or after tls_context_reload()). */
static inline void pki_issue(struct pki *p, const char *const names[], usec_t now_wall)
{
        struct certificate c = { 0 };
        struct error err;

        if (certificate_issue(&p->ca, names, now_wall, &c, &err) < 0 ||
                certificate_write(&c, p->certificate, p->key, &err) < 0)
                fail_msg("%s", err.message);
        certificate_done(&c);
}

static inline struct tls_context *pki_client(struct tls_trust trust)
{
        struct tls_context *c;
        struct error err;

        if (tls_context_new_client(&trust, &c, &err) < 0)
                fail_msg("%s", err.message);
        return c;
}

static inline void pki_make(struct pki *p, const char *const names[], usec_t now_wall)
{
        struct error err;

        memset(p, 0, sizeof *p);
        snprintf(p->dir, sizeof p->dir, "/tmp/tls-XXXXXX");
        assert_non_null(mkdtemp(p->dir));
        snprintf(p->certificate, sizeof p->certificate, "%s/server.pem", p->dir);
        snprintf(p->key, sizeof p->key, "%s/server.key", p->dir);
        snprintf(p->ca_path, sizeof p->ca_path, "%s/ca.pem", p->dir);
        if (certificate_make_ca("test CA", now_wall, &p->ca, &err) < 0 ||
                file_replace(p->ca_path, p->ca.pem, strlen(p->ca.pem), 0644, false, &err) < 0 ||
                certificate_fingerprint(p->ca.pem, p->fingerprint, &err) < 0)
                fail_msg("%s", err.message);
        pki_issue(p, names, now_wall);
        if (tls_context_new_server(p->certificate, p->key, &p->server, &err) < 0)
                fail_msg("%s", err.message);
        p->client = pki_client((struct tls_trust){ .ca_path = p->ca_path });
}

/* For this machine. */
static inline void pki_make_local(struct pki *p)
{
        static const char *const names[] = { "localhost", "127.0.0.1", "::1", NULL };

        pki_make(p, names, time_wall());
}

static inline struct address tls_address(uint16_t port, struct tls_context *context)
{
        return (struct address){
                .host = "127.0.0.1", .port = port, .tls = true, .context = context
        };
}
