/* SPDX-License-Identifier: BSD-3-Clause */
/* Import-supervisord: [program:x] sections of supervisord.conf and of the files it includes, as
 * https://supervisord.org/configuration.html describes them (version 4.2). */
#include <glob.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/import.h"

#define FILE_MAX    ((size_t) 1 << 20)
#define SECTION_MAX 100

struct reader {
        struct import *im;
        const char *path;
        bool included; /* by another: what it includes itself does not count there, either */
        struct import_job *job; /* NULL: this section is none of a program */
        char section[SECTION_MAX];
};

static int read_included(
        struct import *im, const char *base, const char *patterns, struct error *err);

/* ---- Values */

static const struct {
        const char *from, *to;
} expansions[] = {
        { "%(program_name)s", "${job.name}" },
        { "%(process_num)d", "${task.index}" },
        { "%(process_num)02d", "${task.index}" },
        { "%(process_num)s", "${task.index}" },
        { "%(host_node_name)s", "${node.name}" },
        { "%%", "%" },
};

/* What Python would put in for "%(...)s". */
static char *expand(struct reader *r, const char *key, const char *value)
{
        AUTO(buffer_done) struct buffer b = { 0 };
        AUTO(mem_freep) char *here = mem_strdup(r->path), *escaped = import_escape(value);
        const char *at = escaped;

        while (*at != '\0') {
                size_t i = 0;

                while (i < ARRAY_SIZE(expansions) &&
                        strncmp(at, expansions[i].from, strlen(expansions[i].from)) != 0)
                        i++;
                if (i < ARRAY_SIZE(expansions)) {
                        buffer_puts(&b, expansions[i].to);
                        at += strlen(expansions[i].from);
                } else if (strncmp(at, "%(here)s", 8) == 0) {
                        buffer_puts(&b, dirname(here));
                        at += 8;
                } else {
                        if (at[0] == '%' && at[1] == '(')
                                import_note(r->job, "%s: %.*s stays as it is: write its value", key,
                                        (int) strcspn(at, ")") + 1, at);
                        buffer_putc(&b, *at++);
                }
        }
        return buffer_take(&b);
}

static bool is_true(const char *value)
{
        static const char *const words[] = { "true", "yes", "on", "1" };

        for (size_t i = 0; i < ARRAY_SIZE(words); i++)
                if (strcasecmp(value, words[i]) == 0)
                        return true;
        return false;
}

/* "50MB", which are 1,024 times as many there. */
static void set_size(struct reader *r, const char *path, const char *value)
{
        char number[32], text[TEXT_SIZE_MAX];
        uint64_t bytes;

        if (strlen(value) < sizeof number - 1) {
                strcpy(number, value);
                if (strpbrk(number, "kKmMgG") != NULL)
                        strcpy(strpbrk(number, "kKmMgG") + 1, "iB");
                if (text_parse_size(number, &bytes) && bytes >= 4096) {
                        import_set(r->job, path, "%s", text_format_size(text, bytes));
                        return;
                }
        }
        import_note(r->job, "the size of a log file was \"%s\": a log has a limit here (logs.size)",
                value);
}

/* ---- Keys */

static void take_command(struct reader *r, const char *key, const char *value)
{
        AUTO(import_words_freep) char **words = import_split_words(value);

        if (words != NULL && words[0] != NULL)
                import_set_words(r->job, key, words);
        else
                import_note(r->job, "command: a quote is not closed: %s", value);
}

static void take_text(struct reader *r, const char *key, const char *value)
{
        import_set_text(r->job, key, value);
}

static void take_count(struct reader *r, const char *key, const char *value)
{
        (void) key;
        if (atoi(value) != 1)
                import_set(r->job, "count", "%d", atoi(value));
}

static void take_autostart(struct reader *r, const char *key, const char *value)
{
        if (!is_true(value))
                import_note(r->job, "%s=%s: apply it, then `reeve stop %s`: it stays stopped", key,
                        value, import_job_name(r->job));
}

static void take_autorestart(struct reader *r, const char *key, const char *value)
{
        (void) key;
        import_set(r->job, "restart.policy", "%s",
                strcasecmp(value, "unexpected") == 0 ? "on-failure"
                : is_true(value)                     ? "always"
                                                     : "never");
}

static void take_startsecs(struct reader *r, const char *key, const char *value)
{
        (void) key;
        if (atoi(value) > 0)
                import_set(r->job, "restart.healthy", "%ds", atoi(value));
}

/* So many tries beside the first; who fails before startsecs has not started. */
static void take_startretries(struct reader *r, const char *key, const char *value)
{
        (void) key;
        import_set(r->job, "restart.burst", "%d", atoi(value) + 1);
}

static void take_codes(struct reader *r, const char *key, const char *value)
{
        (void) key;
        import_set(r->job, "success_codes", "[%s]", value);
}

static void take_signal(struct reader *r, const char *key, const char *value)
{
        (void) key;
        import_set(r->job, "stop.signal", "%s", value);
}

static void take_stopwait(struct reader *r, const char *key, const char *value)
{
        (void) key;
        import_set(r->job, "stop.grace", "%ds", atoi(value));
}

static void take_umask(struct reader *r, const char *key, const char *value)
{
        import_set(r->job, key, "\"%s\"", value);
}

/* KEY="value",KEY2=value2; commas outside quotes part them. */
static void take_environment(struct reader *r, const char *key, const char *value)
{
        AUTO(mem_freep) char *text = mem_strdup(value);
        AUTO(import_words_freep) char **words = NULL;
        char quote = '\0';

        for (char *c = text; *c != '\0'; c++)
                if (quote != '\0' && *c == quote)
                        quote = '\0';
                else if (quote == '\0' && (*c == '"' || *c == '\''))
                        quote = *c;
                else if (quote == '\0' && *c == ',')
                        *c = ' ';
        words = import_split_words(text);
        if (words != NULL)
                import_set_environment(r->job, key, words);
}

static void take_log_size(struct reader *r, const char *key, const char *value)
{
        (void) key;
        set_size(r, "logs.size", value);
}

static void take_log_files(struct reader *r, const char *key, const char *value)
{
        (void) key;
        import_set(r->job, "logs.files", "%d", atoi(value));
}

static void take_log(struct reader *r, const char *key, const char *value)
{
        if (strcasecmp(value, "NONE") != 0 && strcasecmp(value, "AUTO") != 0)
                import_note(r->job, "%s=%s: Reeve keeps both streams: `reeve logs %s`", key, value,
                        import_job_name(r->job));
}

static void take_priority(struct reader *r, const char *key, const char *value)
{
        import_note(r->job, "%s=%s: the order of starts; what has to wait for what says `after`",
                key, value);
}

static void take_nothing(struct reader *r, const char *key, const char *value)
{
        (void) r;
        (void) key;
        (void) value;
}

static const struct {
        const char *key;
        void (*take)(struct reader *r, const char *key, const char *value);
} program_keys[] = {
        { "command", take_command },
        { "directory", take_text },
        { "user", take_text },
        { "numprocs", take_count },
        { "autostart", take_autostart },
        { "autorestart", take_autorestart },
        { "startsecs", take_startsecs },
        { "startretries", take_startretries },
        { "exitcodes", take_codes },
        { "stopsignal", take_signal },
        { "stopwaitsecs", take_stopwait },
        { "umask", take_umask },
        { "environment", take_environment },
        { "stdout_logfile_maxbytes", take_log_size },
        { "stdout_logfile_backups", take_log_files },
        { "stdout_logfile", take_log },
        { "stderr_logfile", take_log },
        { "priority", take_priority },
        /* as it always is here: tasks have numbers, a stop ends the group, the streams are apart */
        { "process_name", take_nothing },
        { "stopasgroup", take_nothing },
        { "killasgroup", take_nothing },
        { "redirect_stderr", take_nothing },
        { "stderr_logfile_maxbytes", take_nothing },
        { "stderr_logfile_backups", take_nothing },
};

static void take_key(struct reader *r, const char *key, const char *value)
{
        AUTO(mem_freep) char *expanded = expand(r, key, value);

        for (size_t i = 0; i < ARRAY_SIZE(program_keys); i++)
                if (strcmp(program_keys[i].key, key) == 0) {
                        program_keys[i].take(r, key, expanded);
                        return;
                }
        import_note(r->job, "%s=%s: no equivalent", key, value);
}

/* ---- Sections */

static void begin_section(struct reader *r, const char *section)
{
        static const char *const kept_out[] = { "eventlistener:", "fcgi-program:", "group:" };

        snprintf(r->section, sizeof r->section, "%s", section);
        r->job = NULL;
        if (strncmp(section, "program:", 8) == 0) {
                r->job = import_job(r->im, section + 8);
                import_set(r->job, "command", "[]"); /* first of all */
                import_set(r->job, "restart.policy", "on-failure");
                import_set(r->job, "restart.healthy", "1s");
                import_set(r->job, "restart.burst", "4");
                return;
        }
        for (size_t i = 0; i < ARRAY_SIZE(kept_out); i++)
                if (strncmp(section, kept_out[i], strlen(kept_out[i])) == 0)
                        import_remark(r->im, "%s: [%s]: no equivalent", r->path, section);
}

static int on_line(void *data, const struct import_line *line, struct error *err)
{
        struct reader *r = data;

        if (line->key == NULL)
                begin_section(r, line->section);
        else if (r->job != NULL)
                take_key(r, line->key, line->value);
        else if (!r->included && strcmp(r->section, "include") == 0 &&
                 strcmp(line->key, "files") == 0)
                return read_included(r->im, r->path, line->value, err);
        return 0;
}

static int read_path(struct import *im, const char *path, struct error *err)
{
        AUTO(buffer_done) struct buffer text = { 0 };
        struct reader r = { .im = im, .path = path, .included = true };

        if (file_read(path, FILE_MAX, &text, err) < 0)
                return -1;
        buffer_putc(&text, '\n');
        return import_read_sections(path, text.data, IMPORT_SUPERVISORD, on_line, &r, err);
}

/* Patterns are relative to the file that names them. */
static int read_included(
        struct import *im, const char *base, const char *patterns, struct error *err)
{
        AUTO(mem_freep) char *copy = mem_strdup(base);
        AUTO(import_words_freep) char **words = import_split_words(patterns);
        const char *directory = dirname(copy);
        int r = 0;

        for (size_t i = 0; r == 0 && words != NULL && words[i] != NULL; i++) {
                AUTO(mem_freep)
                char *pattern = *words[i] == '/' ? mem_strdup(words[i])
                                                 : mem_printf("%s/%s", directory, words[i]);
                glob_t found = { 0 };

                if (glob(pattern, 0, NULL, &found) == 0)
                        for (size_t n = 0; r == 0 && n < found.gl_pathc; n++)
                                if (strcmp(found.gl_pathv[n], base) != 0)
                                        r = read_path(im, found.gl_pathv[n], err);
                globfree(&found);
        }
        return r;
}

int import_supervisord(struct import *im, const char *path, char *text, struct error *err)
{
        struct reader r = { .im = im, .path = path };

        return import_read_sections(path, text, IMPORT_SUPERVISORD, on_line, &r, err);
}
