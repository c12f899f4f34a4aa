/* SPDX-License-Identifier: BSD-3-Clause */
/* Auth: who asks, and whether that one may.
 *
 * The UNIX socket trusts its file mode: who may open it may do all, and so may who shows the token
 * of the state directory, since who can read that file can also do everything else there. It is
 * compared in constant time. All others show a token of tokens.c, which has a role and may be
 * limited to jobs by the beginnings of their names.
 *
 * A request that was let in is labelled with who asks (the token's id): what it may see is looked
 * up by that label whenever it is served, and a token that ceases to be good has its requests ended
 * by it. The least role is a column of the route table. Which jobs a request concerns is in its
 * path, or its handler asks; a route that concerns no job and changes something needs a token
 * without limits.
 *
 * Without TLS the Host header has to be one of this machine's own names: a browser that a
 * stranger's page has sent here says the stranger's. With TLS the certificate sees to that. */
#include "server/auth.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "server/api.h"
#include "server/tokens.h"

#define LABEL_LOCAL "local" /* no token's id: those are hexadecimal digits */

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

const char *auth_bearer(const struct http_request *req)
{
        const char *header = http_request_header(req, "Authorization");

        return header != NULL && strncasecmp(header, "Bearer ", 7) == 0
                       ? header + 7 + strspn(header + 7, " ")
                       : NULL;
}

/* ---- Who asks */

static void ask_for_token(struct server *server, struct http_request *req, const char *why)
{
        http_request_set_header(req, "WWW-Authenticate", "Bearer realm=\"reeve\"");
        api_reply_problem(server, req, 401, error_code_name(ERR_DENIED), why);
}

/* Labels the request, or answers it. */
static bool identify(struct server *server, struct http_request *req)
{
        const char *given = auth_bearer(req), *reason;
        const struct token_status *token;
        struct error err;

        given = given != NULL ? given : http_request_query(req, "token");
        if (http_request_is_unix(req) || auth_token_is_right(server->auth, given)) {
                http_request_set_label(req, LABEL_LOCAL);
                return true;
        }
        if (given == NULL) {
                ask_for_token(server, req,
                        "a token is needed: Authorization: Bearer TOKEN, with one of `reeve token "
                        "create` or the one in the file token of the server's state directory");
                return false;
        }
        token = tokens_find(server->tokens, given, TOKEN_API, &reason, &err);
        if (token == NULL)
                ask_for_token(server, req, err.message);
        else
                http_request_set_label(req, token->id);
        return token != NULL;
}

struct grant auth_grant(const struct server *server, const struct http_request *req)
{
        const char *label = http_request_label(req);
        const struct token_status *token;

        if (label == NULL)
                return (struct grant){ .role = ROLE_NONE };
        if (strcmp(label, LABEL_LOCAL) == 0)
                return (struct grant){ .role = ROLE_ADMIN };
        token = tokens_get(server->tokens, label);
        if (token == NULL || token->role < 0)
                return (struct grant){ .role = ROLE_NONE, .jobs = "" };
        return (struct grant){ .role = (enum role) token->role, .jobs = token->jobs };
}

/* ---- Whether that one may */

static bool forbid(struct server *server, struct http_request *req, const char *format, ...)
        PRINTF_LIKE(3, 4);
static bool forbid(struct server *server, struct http_request *req, const char *format, ...)
{
        AUTO(mem_freep) char *text = NULL;
        va_list ap;

        va_start(ap, format);
        text = mem_vprintf(format, ap);
        va_end(ap);
        api_reply_problem(server, req, 403, error_code_name(ERR_DENIED), text);
        return false;
}

static bool forbid_job(
        struct server *server, struct http_request *req, const char *jobs, const char *name)
{
        return forbid(server, req,
                "the token is limited to jobs whose names begin with %s: \"%s\" does not", jobs,
                name);
}

bool auth_allows_job(struct server *server, struct http_request *req, const char *job)
{
        struct grant g = auth_grant(server, req);

        return token_jobs_cover(g.jobs, job) || forbid_job(server, req, g.jobs, job);
}

bool auth_allows_all(struct server *server, struct http_request *req)
{
        struct grant g = auth_grant(server, req);

        return g.jobs == NULL ||
               forbid(server, req,
                       "the token is limited to jobs whose names begin with %s, and this concerns "
                       "more",
                       g.jobs);
}

static bool begins(const char *text, const char *with)
{
        return strncmp(text, with, strlen(with)) == 0;
}

/* A limited token and what the route concerns. */
static bool allows_subject(struct server *server, struct http_request *req,
        const struct route *route, const char *name, const char *jobs)
{
        if (begins(route->pattern, "/v1/jobs/"))
                return token_jobs_cover(jobs, name) || forbid_job(server, req, jobs, name);
        if (begins(route->pattern, "/v1/tasks/"))
                return token_jobs_cover_task(jobs, name) || forbid_job(server, req, jobs, name);
        if (route->role <= ROLE_READ || strcmp(route->pattern, "/v1/jobs") == 0)
                return true; /* the handler looks at each job */
        return auth_allows_all(server, req);
}

static bool allows_route(struct server *server, struct http_request *req, const struct route *route,
        const char *name)
{
        struct grant g = auth_grant(server, req);

        if (g.role < route->role)
                return forbid(server, req, "this needs a token with the role %s; yours has %s",
                        role_names[route->role], role_names[g.role]);
        return g.jobs == NULL || allows_subject(server, req, route, name, g.jobs);
}

bool auth_allows(struct server *server, struct http_request *req, const struct route *route,
        const char *name)
{
        if (!http_request_is_unix(req) && server->identity == NULL &&
                !auth_host_is_local(http_request_header(req, "Host")))
                return forbid(
                        server, req, "the Host header has to be localhost, 127.0.0.1 or [::1]");
        if (route != NULL && route->role == ROLE_NONE)
                return true;
        return identify(server, req) && (route == NULL || allows_route(server, req, route, name));
}
