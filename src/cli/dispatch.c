/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/await.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/terminal.h"
#include "model/override.h"

static struct option_list sets;
static const char *name;
static bool as_json, should_wait;
static usec_t timeout = AWAIT_TIMEOUT;

static const struct option_row options[] = {
        { "set", 's', OPTION_LIST, &sets, "FIELD=VALUE",
                "of the spec: `count=3`, `env.LEVEL=debug`, `command=[a, b]`; may be given several "
                "times" },
        { "name", 'n', OPTION_TEXT, &name, "NAME", "of the job (TEMPLATE and a number)" },
        { "wait", 'w', OPTION_FLAG, &should_wait, NULL, "until the job runs or has ended" },
        { "timeout", 't', OPTION_SPAN, &timeout, "DURATION",
                "give up waiting after this long (1m)" },
        { "json", 0, OPTION_FLAG, &as_json, NULL, "the server's answer as JSON" },
        { NULL, 0, OPTION_FLAG, NULL, NULL, NULL },
};

static int add_set(json_t *object, const char *text, struct error *err)
{
        const char *equals = strchr(text, '=');
        AUTO(mem_freep) char *field = NULL;
        json_t *value;

        if (equals == NULL || equals == text)
                return error_set(
                        err, ERR_INVALID, "--set %s: expected FIELD=VALUE, as in count=3", text);
        field = mem_strndup(text, (size_t) (equals - text));
        if (job_override_value(field, equals + 1, &value, err) < 0)
                return error_wrap(err, "--set");
        json_object_set_new(object, field, value);
        return 0;
}

static int make_body(struct buffer *ret, struct error *err)
{
        AUTO(client_json_decref) json_t *body = json_object();
        json_t *set = json_object();
        char *text;

        json_object_set_new(body, "set", set);
        if (name != NULL)
                json_object_set_new(body, "name", json_string(name));
        for (size_t i = 0; i < sets.len; i++)
                if (add_set(set, sets.items[i], err) < 0)
                        return -1;
        text = json_dumps(body, JSON_COMPACT | JSON_REAL_PRECISION(15));
        buffer_puts(ret, text);
        free(text);
        return 0;
}

static int run(const char *const *operands, struct error *err)
{
        AUTO(mem_freep) char *path = client_job_path(operands[0], "/dispatch");
        AUTO(client_json_decref) json_t *answer = NULL;
        AUTO(buffer_done) struct buffer body = { 0 };
        const char *made[] = { NULL, NULL };
        int r = make_body(&body, err);

        free(sets.items);
        sets = (struct option_list){ 0 };
        if (r < 0 || client_request("POST", path, NULL, body.data, body.len, &answer, err) < 0)
                return -1;
        made[0] = json_string_value(json_object_get(answer, "job"));
        if (made[0] == NULL)
                return error_set(err, ERR_SYSTEM, "the server's answer names no job");
        if (as_json)
                terminal_print_json(answer);
        else
                printf("%s: made of template %s\n", made[0], operands[0]);
        fflush(stdout);
        return should_wait ? await_all(made, AWAIT_SETTLED, timeout, err) : 0;
}

const struct command command_dispatch = {
        .name = "dispatch",
        .operands = "TEMPLATE",
        .summary = "make a job of a template, with some fields set anew",
        .details = "A template is a job with `template: true`: it is kept and never run. FIELD is "
                   "the path of a field as in docs/job.md, VALUE is as it stands in YAML; `null` "
                   "is its default.",
        .options = options,
        .operands_min = 1,
        .operands_max = 1,
        .run = run,
};
