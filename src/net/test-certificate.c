/* SPDX-License-Identifier: BSD-3-Clause */
#include "net/secret.h"
#include "net/test-tls.h"

#define NOW ((usec_t) 1800000000 * USEC_SEC)

static const char *const names[] = { "a.example", "10.0.0.1", "fe80::1", NULL };

static void test_authority(void **state)
{
        struct certificate ca = { 0 }, other = { 0 }, c = { 0 };
        char a[CERTIFICATE_FINGERPRINT_LEN + 1], b[CERTIFICATE_FINGERPRINT_LEN + 1];
        bool from;
        usec_t ends;
        struct error err;

        (void) state;
        assert_int_equal(certificate_make_ca("one", NOW, &ca, &err), 0);
        assert_int_equal(certificate_make_ca("one", NOW, &other, &err), 0);
        assert_int_equal(certificate_ends(ca.pem, &ends, &err), 0);
        assert_int_equal(ends, NOW + 3653 * USEC_DAY);
        assert_int_equal(certificate_fingerprint(ca.pem, a, &err), 0);
        assert_int_equal(certificate_fingerprint(other.pem, b, &err), 0);
        assert_int_equal(strlen(a), CERTIFICATE_FINGERPRINT_LEN);
        assert_string_not_equal(a, b);

        assert_int_equal(certificate_issue(&ca, names, NOW, &c, &err), 0);
        assert_non_null(strstr(c.pem, ca.pem)); /* behind its own */
        assert_int_equal(certificate_is_from(c.pem, &ca, &from, &err), 0);
        assert_true(from);
        assert_int_equal(certificate_is_from(c.pem, &other, &from, &err), 0);
        assert_false(from);
        certificate_done(&ca);
        certificate_done(&other);
        certificate_done(&c);
}

static void test_due(void **state)
{
        struct certificate ca = { 0 }, c = { 0 };
        static const struct {
                usec_t at;
                bool due;
        } cases[] = { { NOW - 2 * USEC_HOUR, true }, { NOW - USEC_HOUR, false }, { NOW, false },
                { NOW + 334 * USEC_DAY, false }, { NOW + 336 * USEC_DAY, true },
                { NOW + 400 * USEC_DAY, true } };
        struct error err;

        (void) state;
        assert_int_equal(certificate_make_ca("one", NOW, &ca, &err), 0);
        assert_int_equal(certificate_issue(&ca, names, NOW, &c, &err), 0);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                bool due;

                assert_int_equal(certificate_is_due(c.pem, cases[i].at, &due, &err), 0);
                assert_int_equal(due, cases[i].due);
        }
        certificate_done(&ca);
        certificate_done(&c);
}

static void check_is_for(const char *pem, const char *name, bool expected)
{
        const char *const list[] = { "a.example", name, NULL };
        struct error err;
        bool is_for;

        assert_int_equal(certificate_is_for(pem, list, &is_for, &err), 0);
        assert_int_equal(is_for, expected);
}

static void test_names(void **state)
{
        static const char *const none[] = { NULL };
        static const char *const bad[] = { "", "a b", "a,DNS:b", "a\nb", "10.0.0.1/8", "\xc3\xa4" };
        char long_name[255];
        struct certificate ca = { 0 }, c = { 0 };
        struct error err;

        (void) state;
        assert_int_equal(certificate_make_ca("one", NOW, &ca, &err), 0);
        assert_int_equal(certificate_issue(&ca, names, NOW, &c, &err), 0);
        check_is_for(c.pem, "10.0.0.1", true);
        check_is_for(c.pem, "fe80:0::1", true);
        check_is_for(c.pem, "A.EXAMPLE", true);
        check_is_for(c.pem, "b.example", false);
        check_is_for(c.pem, "10.0.0.2", false);
        certificate_done(&c);

        assert_int_equal(certificate_issue(&ca, none, NOW, &c, &err), -1);
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                const char *const list[] = { "x", bad[i], NULL };

                assert_int_equal(certificate_issue(&ca, list, NOW, &c, &err), -1);
                assert_int_equal(err.code, ERR_INVALID);
        }
        /* the subject, which has room for less than a name, is cut; the name is not */
        snprintf(long_name, sizeof long_name, "%0100d.example", 0);
        assert_int_equal(
                certificate_issue(&ca, (const char *const[]){ long_name, NULL }, NOW, &c, &err), 0);
        certificate_done(&c);
        certificate_done(&ca);
}

static void check_read_fails(struct pki *p, enum error_code code, const char *text)
{
        struct certificate c = { 0 };
        struct error err;

        assert_int_equal(certificate_read(p->certificate, p->key, &c, &err), -1);
        assert_int_equal(err.code, code);
        if (strstr(err.message, text) == NULL)
                fail_msg("\"%s\" is not in: %s", text, err.message);
        assert_null(c.pem);
}

static void test_files(void **state)
{
        struct certificate c = { 0 };
        struct error err;
        struct stat st;
        struct pki p;

        (void) state;
        pki_make(&p, names, NOW);
        assert_int_equal(stat(p.key, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
        assert_int_equal(stat(p.certificate, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0644);
        assert_int_equal(certificate_read(p.certificate, p.key, &c, &err), 0);
        certificate_done(&c);

        assert_int_equal(file_replace(p.key, p.ca.key, strlen(p.ca.key), 0600, false, &err), 0);
        check_read_fails(&p, ERR_INVALID, "server.key is not the key of");
        assert_int_equal(tls_context_new_server(p.certificate, p.key, &p.server, &err), -1);
        assert_int_equal(file_replace(p.key, "x", 1, 0600, false, &err), 0);
        check_read_fails(&p, ERR_INVALID, "server.key: not a key");
        assert_int_equal(file_replace(p.certificate, "x", 1, 0600, false, &err), 0);
        check_read_fails(&p, ERR_INVALID, "server.pem: not a certificate");
        unlink(p.key);
        check_read_fails(&p, ERR_NOT_FOUND, "server.key");
        pki_done(&p);
}

static void test_secrets(void **state)
{
        char a[SECRET_LEN + 1], b[SECRET_LEN + 1], hash[SECRET_HASH_LEN + 1];
        struct error err;

        (void) state;
        assert_int_equal(secret_make(a, &err), 0);
        assert_int_equal(secret_make(b, &err), 0);
        assert_int_equal(strlen(a), SECRET_LEN);
        assert_int_equal(strspn(a, "abcdefghijklmnopqrstuvwxyz234567"), SECRET_LEN);
        assert_false(secret_equal(a, b));
        assert_true(secret_equal(a, a));
        assert_false(secret_equal(a, NULL));
        assert_false(secret_equal(NULL, NULL));
        assert_false(secret_equal("abc", "ab"));
        assert_string_equal(secret_hash("abc", hash),
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        secret_wipe(a, sizeof a);
        assert_int_equal(a[0], 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_authority),
                cmocka_unit_test(test_due),
                cmocka_unit_test(test_names),
                cmocka_unit_test(test_files),
                cmocka_unit_test(test_secrets),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
