/* SPDX-License-Identifier: BSD-3-Clause */
/* Credential: one file of JSON, so that secret, certificate and addresses are of one join. */
#include "node/credential.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/file.h"
#include "base/mem.h"

#define CREDENTIAL_MAX (256 * 1024)

static char *credential_path(const char *data)
{
        return mem_printf("%s/node/credential", data);
}

static char *get(const json_t *object, const char *name)
{
        return mem_strdup(json_string_value(json_object_get(object, name)));
}

int credential_read(const char *data, struct credential *ret, struct error *err)
{
        AUTO(mem_freep) char *path = credential_path(data);
        AUTO(buffer_done) struct buffer text = { 0 };
        struct credential c;
        json_error_t why;
        json_t *object;

        if (file_read(path, CREDENTIAL_MAX, &text, err) < 0)
                return -1;
        object = json_loads(buffer_str(&text), JSON_REJECT_DUPLICATES, &why);
        c = (struct credential){ get(object, "node"), get(object, "credential"), get(object, "ca"),
                get(object, "servers") };
        json_decref(object);
        if (c.node == NULL || c.secret == NULL || c.servers == NULL) {
                credential_done(&c);
                return error_set(err, ERR_INVALID,
                        "%s: damaged; a new join token makes this machine a node again", path);
        }
        *ret = c;
        return 0;
}

int credential_write(const char *data, const struct credential *c, struct error *err)
{
        AUTO(mem_freep) char *path = credential_path(data);
        AUTO(mem_freep) char *directory = mem_printf("%s/node", data);
        AUTO(mem_freep) char *text = NULL;
        json_t *object = json_pack("{s:s, s:s, s:s?, s:s}", "node", c->node, "credential",
                c->secret, "ca", c->ca, "servers", c->servers);

        text = json_dumps(object, JSON_INDENT(1));
        json_decref(object);
        if (text == NULL)
                return error_set(err, ERR_INVALID, "the server's answer is not UTF-8");
        if (file_mkdirs(directory, 0755, err) < 0)
                return -1;
        return file_replace(path, text, strlen(text), 0600, true, err);
}

void credential_done(struct credential *c)
{
        free(c->node);
        free(c->secret);
        free(c->ca);
        free(c->servers);
        *c = (struct credential){ 0 };
}
