/* SPDX-License-Identifier: BSD-3-Clause */
/* Import-procfile: lines of "name: command", as foreman and its kin run them: a shell for each, in
 * the directory of the file, with a port in $PORT. */
#include <ctype.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/import.h"

static void import_process(struct import *im, const char *directory, char *name, char *command)
{
        struct import_job *job = import_job(im, name);
        AUTO(mem_freep) char *escaped = import_escape(command);

        import_set_text(job, "command", escaped);
        import_set_text(job, "directory", directory);
        if (strstr(command, "PORT") != NULL) {
                import_set(job, "resources.ports", "[http]");
                import_set_text(job, "env.PORT", "${ports.http}");
        }
}

/* Returns false if the line is none of a process. */
static bool split(char *line, char **ret_name, char **ret_command)
{
        size_t len =
                strspn(line, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");

        if (len == 0 || line[len] != ':')
                return false;
        line[len] = '\0';
        *ret_name = line;
        *ret_command = line + len + 1;
        *ret_command += strspn(*ret_command, " \t");
        return **ret_command != '\0';
}

static char *directory_of(const char *path)
{
        AUTO(mem_freep) char *whole = realpath(path, NULL);
        char *slash = whole == NULL ? NULL : strrchr(whole, '/');

        if (slash == NULL)
                return mem_strdup("/");
        return mem_strndup(whole, slash == whole ? 1 : (size_t) (slash - whole));
}

int import_procfile(struct import *im, const char *path, char *text, struct error *err)
{
        AUTO(mem_freep) char *directory = directory_of(path);
        char *rest = text, *line, *name, *command;
        int number = 0;

        import_remark(im, "the variables of a .env file are not read: add them to `env`");
        while ((line = strsep(&rest, "\n")) != NULL) {
                number++;
                line += strspn(line, " \t");
                line[strcspn(line, "\r")] = '\0';
                if (*line == '\0' || *line == '#')
                        continue;
                if (!split(line, &name, &command))
                        return error_set(err, ERR_INVALID,
                                "%s:%d: expected \"name: command\", got \"%s\"", path, number,
                                line);
                import_process(im, directory, name, command);
        }
        return 0;
}
