/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/terminal.h"
#include "model/job.h"

static bool as_markdown;

static const struct option_row options[] = {
        { "markdown", 'm', OPTION_FLAG, &as_markdown, NULL, "the reference page instead" },
        { NULL, 0, OPTION_FLAG, NULL, NULL, NULL },
};

static int run(const char *const *operands, struct error *err)
{
        AUTO(buffer_done) struct buffer page = { 0 };
        AUTO(client_json_decref) json_t *schema = NULL;

        if (strcmp(*operands, "job") != 0)
                return error_set(
                        err, ERR_NOT_FOUND, "no schema \"%s\"; there is one: job", *operands);
        if (as_markdown) {
                job_reference(&page);
                terminal_print(&page);
                return 0;
        }
        schema = job_schema();
        terminal_print_json(schema);
        return 0;
}

const struct command command_schema = {
        .name = "schema",
        .operands = "job",
        .summary = "print the JSON schema of job files",
        .details = "For editors that complete and check: save it, and name it in a comment in the "
                   "first line of a YAML file:\n"
                   "\n"
                   "`# yaml-language-server: $schema=./job.schema.json`",
        .options = options,
        .operands_min = 1,
        .operands_max = 1,
        .run = run,
};
