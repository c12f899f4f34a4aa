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
#include "net/http-client.h"

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

int client_address(struct address *ret, struct error *err)
{
        const char *text = getenv("REEVE_ADDR");
        AUTO(mem_freep) char *socket = NULL;
        AUTO(mem_freep) char *unix_address = NULL;

        if (text != NULL && text[0] != '\0')
                return address_parse(text, ret, err) < 0 ? error_wrap(err, "REEVE_ADDR") : 0;
        socket = client_default_socket();
        unix_address = mem_printf("unix:%s", socket);
        return address_parse(unix_address, ret, err);
}

const char *const *client_headers(void)
{
        static const char *headers[3];
        static char value[512];
        const char *token = getenv("REEVE_TOKEN");

        if (token != NULL && token[0] != '\0') {
                snprintf(value, sizeof value, "Bearer %s", token);
                headers[0] = "Authorization";
                headers[1] = value;
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
        const char *headers[6];
        const char *const *common = client_headers();
        struct address address;
        size_t n = 0;
        int status;

        if (client_address(&address, err) < 0)
                return -1;
        for (; common[n] != NULL; n++)
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

char *client_subject_path(const char *name, const char *rest)
{
        struct buffer path = { 0 };

        buffer_puts(&path, client_is_task(name) ? "/v1/tasks/" : "/v1/jobs/");
        client_put_encoded(&path, name);
        buffer_puts(&path, rest);
        return buffer_take(&path);
}

void client_json_decref(json_t **json)
{
        json_decref(*json);
}
