/* SPDX-License-Identifier: BSD-3-Clause */
/* docs/job.md: the page about job files, its tables made from the field table and that of the
 * attributes. A unit test compares the page with what is written here. */
#include <stdlib.h>

#include "base/mem.h"
#include "base/text.h"
#include "base/time.h"
#include "model/job-fields.h"
#include "model/syscalls.h"

static const char intro[] =
        "# Job files\n"
        "\n"
        "<!-- Written by `test-job --write-reference docs/job.md`; edit src/model instead. -->\n"
        "\n"
        "A job file says what is to run. It is YAML, or JSON when its name ends in `.json`, and\n"
        "has one key, `jobs`: the specs of jobs by their names.\n"
        "\n"
        "```yaml\n"
        "jobs:\n"
        "  web:\n"
        "    count: 3\n"
        "    command: [./server, --port, 8080]\n"
        "    directory: /srv/web\n"
        "    env: {LOG_LEVEL: info}\n"
        "    restart: {delay: 500ms, rules: [{exit: 78, then: end}]}\n"
        "  report:\n"
        "    kind: batch\n"
        "    command: sort words.txt | uniq -c > /tmp/report\n"
        "```\n"
        "\n"
        "Only `command` is required. A name has 1 to 63 letters, digits, `-` and `_`, and begins\n"
        "with a letter or digit. The tasks of a job are called `web.0`, `web.1` and so on.\n"
        "\n"
        "## How it is read\n"
        "- Unknown fields and duplicate keys are errors. A file with an error is refused as a\n"
        "  whole; the message says file, line and field:\n"
        "  `web.yaml:7: jobs.web.restrat: unknown field; did you mean \"restart\"?`\n"
        "- **YAML**: what is not in quotes is a number, `true`, `false` or `null` exactly when it\n"
        "  would be one in JSON. `no`, `on`, `012` and dates are text. A value that is left out\n"
        "  is `null`. Anchors, aliases, tags and second documents are refused.\n"
        "- **JSON** may have comments (`//` and `/* */`) and trailing commas.\n"
        "- `null` is the same as leaving the field out.\n"
        "- Where text is wanted, numbers, `true` and `false` are taken as they are written:\n"
        "  `VERSION: 1.10` is the text `1.10`.\n"
        "- A **duration** is a number of seconds, or text with units: `us`, `ms`, `s`, `m`, `h`,\n"
        "  `d`, also several: `1m30s`.\n"
        "- A **size** is a number of bytes, or text with a unit: `B`, `KiB`, `MiB`, `GiB`, `TiB`\n"
        "  (or `K`, `M`, `G`, `T`), `kB`, `MB`, `GB`, `TB`.\n"
        "- A file has at most 1 MiB and is nested at most 64 deep.\n"
        "\n"
        "A change of a field marked **new run** is taken up by starting the tasks again, as\n"
        "`update` says; all others take effect without that.\n";

static const char conditions[] =
        "\n## Conditions\n"
        "A condition of `place.where` and `place.prefer` is a text about one attribute of a node:\n"
        "its name, an operator and a value.\n"
        "\n"
        "| condition | holds for a node |\n"
        "|---|---|\n"
        "| `rack = a1`, `rack != a1` | whose attribute is, or is not, this text |\n"
        "| `rack in a1, a2` | whose attribute is one of these |\n"
        "| `memory >= 4GiB`, also `<`, `<=`, `>` | whose attribute is a number, and so large. "
        "Units "
        "are those of sizes, and `m`: a thousandth |\n"
        "| `kernel >= version 6.1`, also `<`, `<=`, `>`, `=`, `!=` | whose attribute is such a "
        "version: its numbers are compared one by one, what follows them (`-18-amd64`) is not |\n"
        "| `name ~ ^web[0-9]+$` | whose attribute matches the extended regular expression, "
        "anywhere "
        "unless `^` and `$` say otherwise |\n"
        "| `gpu exists` | that has the attribute |\n"
        "\n"
        "`=`, `!=` and `in` compare numbers where the value has a unit: `memory = 4GiB`. A node "
        "that "
        "lacks\n"
        "the attribute fulfils `!=` and nothing else. In regular "
        "expressions\n"
        "there are `.`, `[a-z]`, `[^a-z]`, `[[:alpha:]]`, `(...)`, `|`, `*`, `+`, `?`, `{2}`, "
        "`{2,}`, `{2,5}`,\n"
        "`^`, `$`, and `\\` before a character that is to stand for itself.\n"
        "\n"
        "Every node has these attributes, as far as its agent can find them, and those that it was "
        "given\n"
        "with `--attr NAME=VALUE`. A name has 1 to 63 letters, digits, `_`, `.` and `-`, a\n"
        "letter first.\n"
        "\n"
        "| attribute | meaning |\n"
        "|---|---|\n";

static void put_conditions(struct buffer *out)
{
        buffer_puts(out, conditions);
        for (const struct attribute_known *a = attributes_known; a->name != NULL; a++)
                buffer_printf(out, "| `%s` | %s |\n", a->name, a->help);
}

static void put_calls(const struct syscall_group *group, struct buffer *out)
{
        for (size_t i = 0; group->calls[i] != NULL; i++)
                buffer_printf(out, "%s%s", i == 0 ? "" : " ", group->calls[i]);
}

static void put_syscalls(struct buffer *out)
{
        buffer_puts(out, "\n### Groups of system calls\n\n"
                         "For `sandbox.seccomp_deny`; `seccomp: default` denies those that say "
                         "so. They are denied to programs for the machine's other architectures "
                         "(i386 and x32 on x86_64), too.\n\n"
                         "| group | default | what it is for | calls |\n|---|---|---|---|\n");
        for (const struct syscall_group *g = syscall_groups; g->name != NULL; g++) {
                buffer_printf(
                        out, "| `%s` | %s | %s | ", g->name, g->by_default ? "yes" : "", g->help);
                put_calls(g, out);
                buffer_puts(out, " |\n");
        }
}

static void put_range(const struct job_field *field, struct buffer *out)
{
        char a[TIME_TEXT_MAX], b[TIME_TEXT_MAX];

        if (field->type == FIELD_COUNT || field->type == FIELD_TASKS)
                buffer_printf(out, "number, %u to %u%s%s%s", (unsigned) field->min,
                        (unsigned) field->max, field->names != NULL ? ", or `" : "",
                        field->names != NULL ? field->names[0] : "",
                        field->names != NULL ? "`" : "");
        else if (field->type == FIELD_WEIGHT)
                buffer_printf(out, "number, -%u to %u, not 0", (unsigned) field->max,
                        (unsigned) field->max);
        else if (field->type == FIELD_MILLI)
                buffer_printf(out, "number, %s to %s, in thousandths",
                        job_format_milli(a, field->min), job_format_milli(b, field->max));
        else if (field->type == FIELD_SPAN)
                buffer_printf(out, "duration, %s to %s", time_format_exact(a, field->min),
                        time_format_exact(b, field->max));
        else
                buffer_printf(out, "size, %s to %s", text_format_size(a, field->min),
                        text_format_size(b, field->max));
}

static void put_limit(const struct job_field *field, struct buffer *out)
{
        char min[TEXT_SIZE_MAX];

        if (field->type == FIELD_LIMIT)
                buffer_printf(out, "number, %u or more", (unsigned) field->min);
        else
                buffer_printf(out, "size, %s or more", text_format_size(min, field->min));
        buffer_puts(out, ", or `unlimited`");
}

static void put_words(const struct job_field *field, struct buffer *out)
{
        for (size_t i = 0; field->names[i] != NULL; i++)
                buffer_printf(out, "%s`%s`", i == 0 ? "" : ", ", field->names[i]);
}

static void put_type(const struct job_field *field, struct buffer *out)
{
        switch (field->type) {
        case FIELD_SECTION:
                break;
        case FIELD_RULES:
                buffer_puts(out, "list of rules");
                break;
        case FIELD_PREFERENCES:
                buffer_puts(out, "list of preferences");
                break;
        case FIELD_CHECKS:
                buffer_puts(out, "list of checks");
                break;
        case FIELD_AFTER:
                buffer_puts(out, "names and words");
                break;
        case FIELD_SOCKETS:
                buffer_puts(out, "names and sockets");
                break;
        case FIELD_CONSTRAINT:
                buffer_puts(out, "condition");
                break;
        case FIELD_CONSTRAINTS:
                buffer_printf(out, "condition, or a list of at most %d", CONSTRAINT_MAX);
                break;
        case FIELD_BOOL:
                buffer_puts(out, "`true`, `false`");
                break;
        case FIELD_ENUM:
                put_words(field, out);
                break;
        case FIELD_COUNT:
        case FIELD_TASKS:
        case FIELD_WEIGHT:
        case FIELD_MILLI:
        case FIELD_SPAN:
        case FIELD_SIZE:
                put_range(field, out);
                break;
        case FIELD_INTEGER:
                buffer_printf(out, "number, %d to %d", (int) (int64_t) field->min,
                        (int) (int64_t) field->max);
                break;
        case FIELD_OCTAL:
                buffer_printf(out, "octal number, 0 to %o", (unsigned) field->max);
                break;
        case FIELD_LIMIT:
        case FIELD_LIMIT_SIZE:
                put_limit(field, out);
                break;
        case FIELD_CPUS:
                buffer_puts(out, "list of CPUs");
                break;
        case FIELD_TEXT:
                buffer_puts(out, "text");
                break;
        case FIELD_NAME:
                buffer_puts(out, "name");
                break;
        case FIELD_ATTRIBUTE:
                buffer_puts(out, "name of an attribute");
                break;
        case FIELD_TEXTS:
        case FIELD_NAMES:
                buffer_printf(out, "%s, or a list of at most %u",
                        field->type == FIELD_NAMES ? "name" : "text", (unsigned) field->max);
                break;
        case FIELD_PATH:
                buffer_puts(out, "absolute path");
                break;
        case FIELD_PATHS:
                buffer_printf(out, "absolute path, or a list of at most %u", (unsigned) field->max);
                break;
        case FIELD_CAPABILITIES:
                buffer_puts(out, "list of capabilities");
                break;
        case FIELD_SIGNAL:
                buffer_puts(out, "signal");
                break;
        case FIELD_CODES:
                buffer_printf(out, "exit code, 0 to %d, or a list", JOB_EXIT_CODE_MAX);
                break;
        case FIELD_SIGNALS:
                buffer_puts(out, "signal, or a list");
                break;
        case FIELD_COMMAND:
                buffer_puts(out, "list of texts, or one text");
                break;
        case FIELD_ENV:
                buffer_puts(out, "names and texts");
                break;
        }
}

static void put_default(
        const struct job_field *field, const struct job_spec *defaults, struct buffer *out)
{
        if (field->required) {
                buffer_puts(out, "required");
        } else if (field->without != NULL) {
                buffer_puts(out, field->without);
        } else {
                json_t *value = job_field_to_json(field, defaults);
                char *text = json_is_string(value)
                                     ? mem_strdup(json_string_value(value))
                                     : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);

                buffer_printf(out, "`%s`", text);
                free(text);
                json_decref(value);
        }
}

static void put_row(
        const struct job_field *field, const struct job_spec *defaults, struct buffer *out)
{
        buffer_printf(out, "| `%s` | ", field->path);
        put_type(field, out);
        buffer_puts(out, " | ");
        put_default(field, defaults, out);
        buffer_printf(out, " | %s%s", field->help, field->needs_restart ? " **New run.**" : "");
        buffer_printf(out, " | `%s` |\n", field->example);
}

static void put_table(
        const struct job_field *fields, const struct job_spec *defaults, struct buffer *out)
{
        buffer_puts(out, "\n| field | value | default | meaning | example |\n"
                         "|---|---|---|---|---|\n");
        for (const struct job_field *f = fields; f->name != NULL; f++)
                if (f->type != FIELD_SECTION)
                        put_row(f, defaults, out);
        for (const struct job_field *f = fields; f->name != NULL; f++) {
                if (f->type != FIELD_RULES && f->type != FIELD_PREFERENCES &&
                        f->type != FIELD_CHECKS && f->type != FIELD_SOCKETS)
                        continue;
                if (f->type == FIELD_RULES)
                        buffer_printf(
                                out, "\nA rule of `%s` has `exit`, `signal` or both.\n", f->path);
                else if (f->type == FIELD_CHECKS)
                        buffer_printf(out,
                                "\nA check of `%s` has exactly one of `http`, `tcp` and "
                                "`command`:\n",
                                f->path);
                else if (f->type == FIELD_SOCKETS)
                        buffer_printf(out, "\nOne of `%s` has:\n", f->path);
                else
                        buffer_printf(out, "\nA preference of `%s` has both of:\n", f->path);
                put_table(f->fields, defaults, out);
        }
}

void job_reference(struct buffer *out)
{
        struct job_spec defaults = { 0 };

        job_fields_init(job_fields, &defaults);
        buffer_puts(out, intro);
        buffer_puts(out, "\n## Fields of a job\n");
        put_table(job_fields, &defaults, out);
        for (const struct job_field *f = job_fields; f->name != NULL; f++)
                if (f->type == FIELD_SECTION) {
                        buffer_printf(out, "\n## `%s`\n%s\n", f->name, f->help);
                        put_table(f->fields, &defaults, out);
                        if (f->fields == job_sandbox_fields)
                                put_syscalls(out);
                }
        put_conditions(out);
        job_fields_done(job_fields, &defaults);
}
