/* SPDX-License-Identifier: BSD-3-Clause */
/* Job files from anybody, as YAML and as JSON. Whatever is accepted must survive the way through
 * JSON unchanged; whatever is refused must come with a message. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "model/job.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Says what is wrong and ends the program, so that the fuzzer keeps the input. */
static void broken(const char *what, const char *detail)
{
        fprintf(stderr, "%s: %s\n", what, detail);
        abort();
}

/* Asks it of a node that has all attributes of the corpus, and of one that has none. */
static void check_constraint(const struct constraint *c)
{
        char *pairs[] = { (char[]){ "a=6.1.0-18-amd64" }, (char[]){ "b=-0.5" },
                (char[]){ "c=4294967296" }, (char[]){ "d=web17" }, (char[]){ "in=4 GiB" } };
        const struct attributes some = { pairs, ARRAY_SIZE(pairs) }, none = { 0 };

        constraint_holds(c, &some);
        if (constraint_holds(c, &none) != (c->op == CONSTRAINT_NOT_EQUAL))
                broken("holds for a node of nothing", c->attribute);
}

static void check_spec(const struct job_spec *spec)
{
        json_t *json = job_spec_to_json(spec);
        struct error err = ERROR_INIT;
        struct job_spec *again = NULL;
        struct job_diff diff;

        for (size_t i = 0; i < spec->place.constraints_len; i++)
                check_constraint(&spec->place.constraints[i]);
        for (size_t i = 0; i < spec->place.preferences_len; i++)
                check_constraint(spec->place.preferences[i].where);
        if (job_spec_from_json(spec->name, json, &again, &err) < 0)
                broken("what was written is refused", err.message);
        job_spec_diff(spec, again, &diff);
        if (diff.len > 0)
                broken("changed by writing and reading", diff.changes[0].field);
        job_diff_done(&diff);
        job_spec_unref(again);
        json_decref(json);
}

static void check_text(const char *text, size_t len, enum job_format format)
{
        struct job_file file = { 0 };
        struct error err = ERROR_INIT;

        if (job_file_parse("fuzz", text, len, format, &file, &err) < 0) {
                if (err.code == ERR_NONE || strncmp(err.message, "fuzz:", 5) != 0)
                        broken("refused without a place", err.message);
                return;
        }
        if (file.jobs_len == 0)
                broken("accepted", "a file of no jobs");
        for (size_t i = 0; i < file.jobs_len; i++)
                check_spec(file.jobs[i]);
        job_file_done(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        /* exactly as long as it is, so that reading one byte too far is seen */
        char *text = malloc(size > 0 ? size : 1);

        if (text == NULL)
                abort();
        if (size > 0)
                memcpy(text, data, size);
        check_text(text, size, JOB_FORMAT_YAML);
        check_text(text, size, JOB_FORMAT_JSON);
        free(text);
        return 0;
}
