/* SPDX-License-Identifier: BSD-3-Clause */
/* The file of `reeve login`: a JSON object, mode 0600 since the token is in it. */
#include "cli/login-file.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/client.h"

#define FILE_MAX 65536

void login_file_done(struct login_file *f)
{
        free(f->address);
        free(f->token);
        free(f->fingerprint);
        *f = (struct login_file){ 0 };
}

static char *directory(void)
{
        const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");

        if (config != NULL && config[0] == '/')
                return mem_printf("%s/reeve", config);
        return mem_printf("%s/.config/reeve", home != NULL ? home : "");
}

char *login_file_path(void)
{
        AUTO(mem_freep) char *dir = directory();

        return mem_printf("%s/login", dir);
}

int login_file_read(struct login_file *ret, struct error *err)
{
        AUTO(mem_freep) char *path = login_file_path();
        AUTO(buffer_done) struct buffer text = { 0 };
        AUTO(client_json_decref) json_t *json = NULL;

        if (file_read(path, FILE_MAX, &text, err) < 0)
                return -1;
        json = json_loadb(text.data, text.len, 0, NULL);
        ret->address = mem_strdup(json_string_value(json_object_get(json, "address")));
        ret->token = mem_strdup(json_string_value(json_object_get(json, "token")));
        ret->fingerprint = mem_strdup(json_string_value(json_object_get(json, "fingerprint")));
        if (ret->address != NULL && ret->token != NULL)
                return 0;
        login_file_done(ret);
        return error_set(err, ERR_INVALID, "%s: not what `reeve login` writes; log in again", path);
}

int login_file_write(const struct login_file *f, struct error *err)
{
        AUTO(mem_freep) char *dir = directory();
        AUTO(mem_freep) char *path = login_file_path();
        AUTO(client_json_decref) json_t *json = json_object();
        AUTO(mem_freep) char *text = NULL;

        json_object_set_new(json, "address", json_string(f->address));
        json_object_set_new(json, "token", json_string(f->token));
        json_object_set_new(json, "fingerprint",
                f->fingerprint == NULL ? json_null() : json_string(f->fingerprint));
        text = json_dumps(json, JSON_INDENT(2));
        if (file_mkdirs(dir, 0700, err) < 0)
                return -1;
        return file_replace(path, text, strlen(text), 0600, false, err);
}
