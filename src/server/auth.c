/* SPDX-License-Identifier: BSD-3-Clause */
/* Auth: the UNIX socket trusts its file mode; TCP wants the token.
 *
 * The token is a file of the state directory, so that who can read it can also do everything else
 * there. It is compared in constant time. Over TCP the Host header has to be one of this machine's
 * own names: a browser that a stranger's page has sent here says the stranger's. There is no TLS in
 * this version, so only loopback addresses are listened on (server.c). */
#include "server/auth.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "server/api.h"

struct auth {
        char token[AUTH_TOKEN_LEN + 1];
};

static int make_token(const char *path, char token[AUTH_TOKEN_LEN + 1], struct error *err)
{
        unsigned char random[AUTH_TOKEN_LEN / 2];
        char line[AUTH_TOKEN_LEN + 2];

        if (RAND_bytes(random, sizeof random) != 1)
                return error_set(err, ERR_SYSTEM, "no random numbers to be had");
        for (size_t i = 0; i < sizeof random; i++)
                snprintf(token + 2 * i, 3, "%02x", random[i]);
        snprintf(line, sizeof line, "%s\n", token);
        return file_replace(path, line, strlen(line), 0600, true, err);
}

static int read_token(const char *path, char token[AUTH_TOKEN_LEN + 1], struct error *err)
{
        AUTO(buffer_done) struct buffer text = { 0 };
        size_t len;

        if (file_read(path, 4096, &text, err) < 0)
                return -1;
        len = strspn(buffer_str(&text), "0123456789abcdef");
        if (len != AUTH_TOKEN_LEN || strspn(text.data + len, "\r\n \t") != text.len - len)
                return error_set(err, ERR_INVALID,
                        "%s: not a token (%d hexadecimal digits); remove it and a new one is made",
                        path, AUTH_TOKEN_LEN);
        memcpy(token, text.data, len);
        return 0;
}

int auth_new(const char *data_dir, struct auth **ret, struct error *err)
{
        AUTO(mem_freep) char *path = mem_printf("%s/token", data_dir);
        struct auth *a = mem_alloc(sizeof *a);

        if (read_token(path, a->token, err) < 0 &&
                (err->code != ERR_NOT_FOUND || make_token(path, a->token, err) < 0)) {
                auth_free(a);
                return error_wrap(err, "the API's token");
        }
        *ret = a;
        return 0;
}

void auth_free(struct auth *a)
{
        if (a != NULL)
                OPENSSL_cleanse(a, sizeof *a);
        free(a);
}

bool auth_token_is_right(const struct auth *a, const char *given)
{
        return given != NULL && strlen(given) == AUTH_TOKEN_LEN &&
               CRYPTO_memcmp(given, a->token, AUTH_TOKEN_LEN) == 0;
}

bool auth_host_is_local(const char *host)
{
        static const char *const names[] = { "127.0.0.1", "localhost", "[::1]" };

        for (size_t i = 0; host != NULL && i < ARRAY_SIZE(names); i++) {
                size_t len = strlen(names[i]);
                int64_t port;

                if (strncasecmp(host, names[i], len) != 0)
                        continue;
                if (host[len] == '\0' ||
                        (host[len] == ':' && text_parse_int(host + len + 1, 1, 65535, &port)))
                        return true;
        }
        return false;
}

static const char *given_token(struct http_request *req)
{
        const char *header = http_request_header(req, "Authorization");

        if (header != NULL && strncasecmp(header, "Bearer ", 7) == 0)
                return header + 7 + strspn(header + 7, " ");
        return http_request_query(req, "token");
}

bool auth_allows(const struct auth *a, struct server *server, struct http_request *req)
{
        if (http_request_is_unix(req))
                return true;
        if (!auth_host_is_local(http_request_header(req, "Host"))) {
                api_reply_problem(server, req, 403, error_code_name(ERR_DENIED),
                        "the Host header has to be localhost, 127.0.0.1 or [::1]");
                return false;
        }
        if (auth_token_is_right(a, given_token(req)))
                return true;
        http_request_set_header(req, "WWW-Authenticate", "Bearer realm=\"reeve\"");
        api_reply_problem(server, req, 401, error_code_name(ERR_DENIED),
                "a token is needed: Authorization: Bearer TOKEN, with the one in the file token of"
                " the state directory");
        return false;
}
