/* SPDX-License-Identifier: BSD-3-Clause */
/* Import: job files made of other supervisors' files.
 *
 * A reader per kind of file (import-supervisord.c, import-systemd.c, import-procfile.c) fills a job
 * file; what it cannot say in a field it says in a comment beside the fields, so that nothing is
 * dropped in silence. The result goes to standard output, after it was read as `reeve apply` would
 * read it. */
#include "cli/import.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/command.h"

#define FILE_MAX ((size_t) 1 << 20)

static const struct {
        const char *name;
        int (*read)(struct import *im, const char *path, char *text, struct error *err);
} kinds[] = {
        { "supervisord", import_supervisord },
        { "systemd", import_systemd },
        { "procfile", import_procfile },
};

static int read_file(struct import *im, const char *kind, const char *path, struct error *err)
{
        AUTO(buffer_done) struct buffer text = { 0 };

        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
                if (strcmp(kinds[i].name, kind) != 0)
                        continue;
                if (file_read(path, FILE_MAX, &text, err) < 0)
                        return -1;
                buffer_putc(&text, '\n');
                if (strlen(text.data) != text.len)
                        return error_set(err, ERR_INVALID, "%s: not a text", path);
                return kinds[i].read(im, path, text.data, err);
        }
        return error_set(err, ERR_INVALID,
                "\"%s\" is none of the kinds that can be imported: supervisord, systemd, procfile",
                kind);
}

static int run(const char *const *operands, struct error *err)
{
        AUTO(import_freep) struct import *im = import_new();
        AUTO(buffer_done) struct buffer out = { 0 };
        const char *kind = operands[0];
        AUTO(mem_freep) char *label = mem_printf("job file of %s", operands[1]);

        import_remark(
                im, "made by `reeve import %s`; what has no equivalent stands in comments", kind);
        for (const char *const *path = operands + 1; *path != NULL; path++)
                if (read_file(im, kind, *path, err) < 0)
                        return -1;
        if (import_print(im, label, &out, err) < 0)
                return -1;
        fwrite(out.data, 1, out.len, stdout);
        return 0;
}

const struct command command_import = {
        .name = "import",
        .operands = "supervisord|systemd|procfile FILE...",
        .summary = "make a job file of another supervisor's files",
        .details = "Prints the job file; what has no equivalent is told in comments beside the "
                   "fields. Nothing is applied: read it, then `reeve plan` and `reeve apply` it. "
                   "supervisord: the main file (its [include] is followed) or files of conf.d. "
                   "systemd: .service files. procfile: a Procfile.",
        .operands_min = 2,
        .operands_max = -1,
        .run = run,
};
