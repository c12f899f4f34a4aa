/* SPDX-License-Identifier: BSD-3-Clause */
/* login: a server, and what lets us in there, for all commands from now on.
 *
 * Nothing is kept before it was seen to work, and the token is told to nobody but the server that
 * was meant: one whose certificate the system's roots vouch for, or whose CA has the fingerprint
 * that the person gave or confirmed. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/login-file.h"
#include "net/http-client.h"
#include "net/tls-peek.h"
#include "net/tls.h"

#define WAIT      (20 * USEC_SEC)
#define TOKEN_MAX ((size_t) 512)

static const char *token_file, *fingerprint;

static const struct option_row options[] = {
        { "token-file", 't', OPTION_TEXT, &token_file, "FILE",
                "read the token from there (asked for; - is standard input)" },
        { "fingerprint", 'f', OPTION_TEXT, &fingerprint, "HEX",
                "of the server's CA, as `reeve server` prints it (shown, to be confirmed)" },
        { NULL, 0, OPTION_FLAG, NULL, NULL, NULL },
};

struct login {
        struct address address;
        struct login_file file;
        struct tls_context *context;
};

static void login_done(struct login *l)
{
        login_file_done(&l->file);
        tls_context_unref(l->context);
}

/* ---- Where */

static int find_server(struct login *l, const char *text, struct error *err)
{
        char normal[ADDRESS_TEXT_MAX];

        text = text != NULL ? text : getenv("REEVE_ADDR");
        if (text == NULL || *text == '\0')
                return error_set(err, ERR_INVALID, "say where: reeve login https://HOST:PORT");
        if (address_parse(text, &l->address, err) < 0)
                return -1;
        if (strstr(text, "://") == NULL && !address_is_loopback(&l->address))
                l->address.tls = true;
        if (!l->address.tls && !address_is_loopback(&l->address))
                return error_set(err, ERR_INVALID,
                        "%s: without TLS the token would be readable on the way; use https://",
                        text);
        l->file.address = mem_strdup(address_format(normal, &l->address));
        return 0;
}

/* ---- Whom to believe */

static int fetch(const struct login *l, const char *token, int *ret_status, struct buffer *ret,
        struct error *err)
{
        AUTO(mem_freep) char *bearer = token == NULL ? NULL : mem_printf("Bearer %s", token);
        const char *headers[] = { "Authorization", bearer, NULL };

        return http_fetch(&l->address, "GET", "/v1/version", token == NULL ? NULL : headers, NULL,
                0, WAIT, ret_status, ret, err);
}

static int pin(struct login *l, const char *hex, struct error *err)
{
        const struct tls_trust trust = { .fingerprint = hex };

        if (tls_context_new_client(&trust, &l->context, err) < 0)
                return error_wrap(err, "--fingerprint");
        l->address.context = l->context;
        l->file.fingerprint = mem_strdup(hex);
        return 0;
}

static bool confirm(const char *hex)
{
        char answer[16] = "";

        printf("No authority that this machine knows vouches for the server. The fingerprint of "
               "its "
               "CA begins\n    %.32s\nIs that what `reeve server` printed on its machine? [y/N] ",
                hex);
        fflush(stdout);
        return fgets(answer, sizeof answer, stdin) != NULL &&
               (strcmp(answer, "y\n") == 0 || strcmp(answer, "yes\n") == 0);
}

/* Leaves in the address whom to believe. */
static int find_trust(struct login *l, struct error *err)
{
        char hex[TLS_PEEK_LEN + 1];
        struct error failure;
        int status;

        if (!l->address.tls)
                return 0;
        if (fingerprint != NULL)
                return pin(l, fingerprint, err);
        if (fetch(l, NULL, &status, NULL, &failure) == 0)
                return 0;
        if (tls_peek(&l->address, WAIT, hex, err) < 0)
                return -1;
        if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
                return error_set(err, ERR_DENIED,
                        "%s: no authority that this machine knows vouches for it; if its CA has "
                        "the fingerprint %.32s, say so with --fingerprint",
                        l->file.address, hex);
        if (!confirm(hex))
                return error_set(err, ERR_DENIED, "not confirmed: nothing was sent");
        return pin(l, hex, err);
}

/* ---- The token */

static void cut_line(char *text)
{
        text[strcspn(text, "\r\n")] = '\0';
}

static int ask_for_token(char text[TOKEN_MAX], struct error *err)
{
        struct termios before, quiet;
        bool terminal = tcgetattr(STDIN_FILENO, &before) == 0;
        char *line;

        if (terminal) { /* the echo ends first: what is typed ahead of the prompt is dropped */
                quiet = before;
                quiet.c_lflag &= ~(tcflag_t) ECHO;
                tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
                fputs("Token: ", stdout);
                fflush(stdout);
        }
        line = fgets(text, (int) TOKEN_MAX, stdin);
        if (terminal) {
                tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
                putchar('\n');
        }
        return line != NULL ? 0 : error_set(err, ERR_INVALID, "no token was given");
}

static int read_token(struct login *l, struct error *err)
{
        AUTO(buffer_done) struct buffer file = { 0 };
        char text[TOKEN_MAX] = "";

        if (token_file != NULL && strcmp(token_file, "-") != 0) {
                if (file_read_stream(token_file, TOKEN_MAX - 1, &file, err) < 0)
                        return -1;
                memcpy(text, file.data, file.len);
        } else if (ask_for_token(text, err) < 0) {
                return -1;
        }
        cut_line(text);
        if (*text == '\0' || strpbrk(text, " \t") != NULL)
                return error_set(err, ERR_INVALID, "that is no token");
        l->file.token = mem_strdup(text);
        return 0;
}

/* ---- Together */

static int check(const struct login *l, struct error *err)
{
        AUTO(buffer_done) struct buffer body = { 0 };
        int status;

        if (fetch(l, l->file.token, &status, &body, err) < 0)
                return client_unreachable(&l->address, err);
        return status == 200 ? 0 : client_problem(status, buffer_str(&body), body.len, err);
}

static int run(const char *const *operands, struct error *err)
{
        AUTO(login_done) struct login l = { 0 };
        AUTO(mem_freep) char *path = login_file_path();

        if (find_server(&l, *operands, err) < 0 || find_trust(&l, err) < 0 ||
                read_token(&l, err) < 0 || check(&l, err) < 0 || login_file_write(&l.file, err) < 0)
                return -1;
        printf("logged in to %s; kept in %s\n", l.file.address, path);
        return 0;
}

const struct command command_login = {
        .name = "login",
        .operands = "[ADDR]",
        .summary = "keep a server's address and a token for the commands to use",
        .details = "The commands use them when neither REEVE_ADDR nor REEVE_TOKEN says otherwise; "
                   "`reeve logout` forgets them. ADDR is https://HOST:PORT, and REEVE_ADDR if it "
                   "is not given. The token is of `reeve token create`; it is checked, and kept in "
                   "~/.config/reeve/login, which only you can read.",
        .options = options,
        .operands_max = 1,
        .run = run,
};
