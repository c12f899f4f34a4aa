/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/terminal.h"

static struct {
        const char *role, *jobs, *ttl, *note;
        bool join, as_json;
        int64_t uses;
} opt = { .uses = -1 };

static const struct option_row options[] = {
        { "role", 'r', OPTION_TEXT, &opt.role, "ROLE",
                "read, operate or admin: each may do what those before it may (read)" },
        { "jobs", 'j', OPTION_TEXT, &opt.jobs, "PREFIX,...",
                "limit it to jobs whose names begin so (no limit)" },
        { "ttl", 't', OPTION_TEXT, &opt.ttl, "DURATION",
                "how long it is good, such as 30d (never ends; 1h with --join)" },
        { "note", 0, OPTION_TEXT, &opt.note, "TEXT", "what it is for; shown in the list" },
        { "join", 0, OPTION_FLAG, &opt.join, NULL,
                "a token with which machines become nodes of the cluster" },
        { "uses", 0, OPTION_INT, &opt.uses, "N", "with --join: good for N nodes (no limit)" },
        { "json", 0, OPTION_FLAG, &opt.as_json, NULL, "as a JSON object" },
        { NULL, 0, OPTION_FLAG, NULL, NULL, NULL },
};

static void set_text(json_t *body, const char *name, const char *text)
{
        if (text != NULL)
                json_object_set_new(body, name, json_string(text));
}

static int run(const char *const *operands, struct error *err)
{
        AUTO(client_json_decref) json_t *body = json_object();
        AUTO(client_json_decref) json_t *token = NULL;
        AUTO(mem_freep) char *text = NULL;

        (void) operands;
        set_text(body, "kind", opt.join ? "join" : "api");
        set_text(body, "role", opt.role);
        set_text(body, "jobs", opt.jobs);
        set_text(body, "ttl", opt.ttl);
        set_text(body, "note", opt.note);
        if (opt.uses >= 0)
                json_object_set_new(body, "uses", json_integer(opt.uses));
        text = json_dumps(body, JSON_COMPACT);
        if (client_request("POST", "/v1/tokens", NULL, text, strlen(text), &token, err) < 0)
                return -1;
        if (opt.as_json)
                terminal_print_json(token);
        else
                puts(json_string_value(json_object_get(token, "token")));
        return 0;
}

const struct command command_token_create = {
        .name = "token create",
        .operands = "",
        .summary = "make a token that lets somebody in, and print it",
        .details = "It is printed once, alone on its line: the server keeps no more than its hash.",
        .options = options,
        .run = run,
};
