/* SPDX-License-Identifier: BSD-3-Clause */
/* Client: one request after the other, each waited for. Everything a command knows comes from the
 * API; only `reeve up` and `reeve down` look at the state directory, too, because they begin before
 * the server does and end after it. */
#include "cli/client.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/login-file.h"
#include "net/http-client.h"
#include "net/tls.h"

char *client_default_data(void)
{
        const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");

        if (geteuid() == 0)
                return mem_strdup("/var/lib/reeve");
        if (state != NULL && state[0] == '/')
                return mem_printf("%s/reeve", state);
        return mem_printf("%s/.local/state/reeve", home != NULL ? home : "");
}

char *client_default_socket(void)
{
        const char *runtime = getenv("XDG_RUNTIME_DIR");
        AUTO(mem_freep) char *data = NULL;

        if (geteuid() == 0)
                return mem_strdup("/run/reeve/reeve.sock");
        if (runtime != NULL && runtime[0] == '/')
                return mem_printf("%s/reeve/reeve.sock", runtime);
        data = client_default_data();
        return mem_printf("%s/reeve.sock", data);
}

/* ---- The server, found once */

static struct {
        bool found;
        struct address address;
        char bearer[512]; /* value of Authorization, or empty */
} server;

static int trust(const struct tls_trust *whom, struct error *err)
{
        return tls_context_new_client(whom, &server.address.context, err);
}

static bool is_same_server(const struct login_file *login)
{
        struct address other;
        char a[ADDRESS_TEXT_MAX], b[ADDRESS_TEXT_MAX];

        return address_parse(login->address, &other, NULL) == 0 &&
               strcmp(address_format(a, &other), address_format(b, &server.address)) == 0;
}

/* What `reeve login` kept is for that server alone. */
static int use_login(const struct login_file *login, struct error *err)
{
        if (*server.bearer == '\0')
                snprintf(server.bearer, sizeof server.bearer, "Bearer %s", login->token);
        if (!server.address.tls || server.address.context != NULL || login->fingerprint == NULL)
                return 0;
        return trust(&(struct tls_trust){ .fingerprint = login->fingerprint }, err);
}

static int find_without_login(struct error *err)
{
        AUTO(mem_freep) char *socket = client_default_socket();
        AUTO(mem_freep) char *unix_address = mem_printf("unix:%s", socket);

        return address_parse(unix_address, &server.address, err);
}

static int find_address(const char *text, const struct login_file *login, struct error *err)
{
        if (text != NULL && text[0] != '\0')
                return address_parse(text, &server.address, err) < 0 ? error_wrap(err, "REEVE_ADDR")
                                                                     : 0;
        if (login != NULL)
                return address_parse(login->address, &server.address, err);
        return find_without_login(err);
}

static int find_server(const struct login_file *login, struct error *err)
{
        const char *token = getenv("REEVE_TOKEN"), *ca = getenv("REEVE_CA");

        if (find_address(getenv("REEVE_ADDR"), login, err) < 0)
                return -1;
        if (token != NULL && token[0] != '\0')
                snprintf(server.bearer, sizeof server.bearer, "Bearer %s", token);
        if (ca != NULL && ca[0] != '\0' && server.address.tls &&
                trust(&(struct tls_trust){ .ca_path = ca }, err) < 0)
                return error_wrap(err, "REEVE_CA");
        return login != NULL && is_same_server(login) ? use_login(login, err) : 0;
}

int client_address(struct address *ret, struct error *err)
{
        AUTO(login_file_done) struct login_file login = { 0 };
        int rc = 0;

        if (!server.found) {
                rc = login_file_read(&login, err);
                if (rc < 0 && err->code != ERR_NOT_FOUND)
                        return -1;
                rc = find_server(rc == 0 ? &login : NULL, err);
        }
        if (rc < 0)
                return -1;
        server.found = true;
        *ret = server.address;
        return 0;
}

const char *const *client_headers(void)
{
        static const char *headers[3];

        if (*server.bearer != '\0') {
                headers[0] = "Authorization";
                headers[1] = server.bearer;
        }
        return headers;
}

int client_unreachable(const struct address *address, struct error *err)
{
        char text[ADDRESS_TEXT_MAX];

        address_format(text, address);
        if (err->sys_errno == ENOENT || err->sys_errno == ECONNREFUSED)
                return error_set(err, ERR_UNAVAILABLE,
                        "no server at %s: start one with `reeve up`, or say where it is with "
                        "REEVE_ADDR",
                        text);
        if (err->sys_errno == EACCES)
                return error_set(err, ERR_DENIED,
                        "%s belongs to another user: try as root, or set REEVE_ADDR", text);
        return -1;
}

int client_problem(int status, const char *body, size_t len, struct error *err)
{
        json_error_t json_error;
        json_t *problem = json_loadb(body, len, 0, &json_error);
        const char *title = json_string_value(json_object_get(problem, "title"));
        const char *detail = json_string_value(json_object_get(problem, "detail"));

        if (title != NULL && detail != NULL)
                error_set(err, error_code_from_name(title), "%s", detail);
        else
                error_set(err, error_code_from_http(status), "the server answered with status %d",
                        status);
        json_decref(problem);
        return -1;
}

static int request(const char *method, const char *path, const char *type, const char *body,
        size_t len, struct buffer *ret, struct error *err)
{
        const char *headers[6], *const *common;
        struct address address;
        size_t n = 0;
        int status;

        if (client_address(&address, err) < 0)
                return -1;
        for (common = client_headers(); common[n] != NULL; n++)
                headers[n] = common[n];
        if (body != NULL) {
                headers[n++] = "Content-Type";
                headers[n++] = type != NULL ? type : "application/json";
        }
        headers[n] = NULL;
        if (http_fetch(&address, method, path, headers, body, len, CLIENT_WAIT, &status, ret, err) <
                0)
                return client_unreachable(&address, err);
        if (status < 200 || status > 299)
                return client_problem(status, buffer_str(ret), ret->len, err);
        return 0;
}

int client_request(const char *method, const char *path, const char *type, const char *body,
        size_t len, json_t **ret, struct error *err)
{
        AUTO(buffer_done) struct buffer answer = { 0 };
        json_error_t json_error;

        if (request(method, path, type, body, len, &answer, err) < 0)
                return -1;
        if (ret != NULL)
                *ret = json_loadb(buffer_str(&answer), answer.len, 0, &json_error);
        return 0;
}

int client_get(const char *path, json_t **ret, struct error *err)
{
        if (client_request("GET", path, NULL, NULL, 0, ret, err) < 0)
                return -1;
        if (*ret == NULL)
                return error_set(err, ERR_SYSTEM, "the server's answer to %s is not JSON", path);
        return 0;
}

bool client_is_task(const char *name)
{
        return strchr(name, '.') != NULL;
}

void client_put_encoded(struct buffer *out, const char *text)
{
        for (; *text != '\0'; text++) {
                if (isalnum((unsigned char) *text) || strchr("-._~", *text) != NULL)
                        buffer_putc(out, *text);
                else
                        buffer_printf(out, "%%%02X", (unsigned char) *text);
        }
}

static char *make_path(const char *noun, const char *name, const char *rest)
{
        struct buffer path = { 0 };

        buffer_puts(&path, noun);
        client_put_encoded(&path, name);
        buffer_puts(&path, rest);
        return buffer_take(&path);
}

char *client_subject_path(const char *name, const char *rest)
{
        return make_path(client_is_task(name) ? "/v1/tasks/" : "/v1/jobs/", name, rest);
}

char *client_job_path(const char *name, const char *rest)
{
        return make_path("/v1/jobs/", name, rest);
}

char *client_node_path(const char *name, const char *rest)
{
        return make_path("/v1/nodes/", name, rest);
}

void client_json_decref(json_t **json)
{
        json_decref(*json);
}
