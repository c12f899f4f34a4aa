/* SPDX-License-Identifier: BSD-3-Clause */
/* Import-file: the job file that is being made, and reading files of sections.
 *
 * Fields are kept in the order in which they come; those of a section ("restart.delay") are printed
 * together where the first of them stands. */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "cli/import.h"
#include "model/job.h"
#include "model/variables.h"

struct field {
        char *path;
        char *value; /* YAML */
};

struct import_job {
        char *name;
        struct field *fields;
        size_t fields_len;
        char **notes;
        size_t notes_len;
};

struct import {
        char **remarks;
        size_t remarks_len;
        struct import_job **jobs;
        size_t jobs_len;
};

/* ---- Life */

struct import *import_new(void)
{
        return mem_alloc(sizeof(struct import));
}

static void texts_free(char **texts, size_t len)
{
        for (size_t i = 0; i < len; i++)
                free(texts[i]);
        free(texts);
}

static void job_free(struct import_job *job)
{
        for (size_t i = 0; i < job->fields_len; i++) {
                free(job->fields[i].path);
                free(job->fields[i].value);
        }
        free(job->fields);
        texts_free(job->notes, job->notes_len);
        free(job->name);
        free(job);
}

void import_free(struct import *im)
{
        if (im == NULL)
                return;
        for (size_t i = 0; i < im->jobs_len; i++)
                job_free(im->jobs[i]);
        free(im->jobs);
        texts_free(im->remarks, im->remarks_len);
        free(im);
}

void import_freep(struct import **im)
{
        import_free(*im);
}

/* ---- What readers say */

static void add_text(char ***texts, size_t *len, char *text)
{
        for (char *c = text; *c != '\0'; c++)
                if (iscntrl((unsigned char) *c)) /* a comment is one line */
                        *c = ' ';
        *texts = mem_resize(*texts, *len + 1, sizeof **texts);
        (*texts)[(*len)++] = text;
}

void import_remark(struct import *im, const char *format, ...)
{
        va_list ap;

        va_start(ap, format);
        add_text(&im->remarks, &im->remarks_len, mem_vprintf(format, ap));
        va_end(ap);
}

void import_note(struct import_job *job, const char *format, ...)
{
        va_list ap;

        va_start(ap, format);
        add_text(&job->notes, &job->notes_len, mem_vprintf(format, ap));
        va_end(ap);
}

static bool name_is_taken(const struct import *im, const char *name)
{
        for (size_t i = 0; i < im->jobs_len; i++)
                if (strcmp(im->jobs[i]->name, name) == 0)
                        return true;
        return false;
}

/* Letters, digits, - and _, and the first of them a letter or digit. */
static char *make_name(const struct import *im, const char *wish)
{
        AUTO(mem_freep) char *base = mem_strndup(wish, TEXT_NAME_MAX - 8);
        char *name;

        for (char *c = base; *c != '\0'; c++)
                if (!isalnum((unsigned char) *c) && *c != '_')
                        *c = '-';
        if (!isalnum((unsigned char) base[0])) {
                char *longer = mem_printf("job%s", base);

                free(base);
                base = longer;
        }
        name = mem_strdup(base);
        for (int i = 2; name_is_taken(im, name); i++) {
                free(name);
                name = mem_printf("%s-%d", base, i);
        }
        return name;
}

struct import_job *import_job(struct import *im, const char *name)
{
        struct import_job *job = mem_alloc(sizeof *job);

        job->name = make_name(im, name);
        im->jobs = mem_resize(im->jobs, im->jobs_len + 1, sizeof *im->jobs);
        im->jobs[im->jobs_len++] = job;
        if (strcmp(job->name, name) != 0)
                import_note(job, "its name was \"%s\"", name);
        return job;
}

const char *import_job_name(const struct import_job *job)
{
        return job->name;
}

static void set(struct import_job *job, const char *path, char *value)
{
        for (size_t i = 0; i < job->fields_len; i++)
                if (strcmp(job->fields[i].path, path) == 0) {
                        free(job->fields[i].value);
                        job->fields[i].value = value;
                        return;
                }
        job->fields = mem_resize(job->fields, job->fields_len + 1, sizeof job->fields[0]);
        job->fields[job->fields_len++] = (struct field){ .path = mem_strdup(path), .value = value };
}

void import_set(struct import_job *job, const char *path, const char *format, ...)
{
        va_list ap;

        va_start(ap, format);
        set(job, path, mem_vprintf(format, ap));
        va_end(ap);
}

/* A word that YAML takes for text and for nothing else. */
static bool is_plain(const char *text)
{
        static const char *const words[] = { "true", "false", "null" };

        for (size_t i = 0; i < ARRAY_SIZE(words); i++)
                if (strcmp(text, words[i]) == 0)
                        return false;
        return (isalpha((unsigned char) *text) || *text == '/') &&
               text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 "0123456789/._-")] == '\0';
}

static void put_text(struct buffer *b, const char *text)
{
        if (is_plain(text))
                buffer_puts(b, text);
        else
                text_put_json_string(b, text);
}

void import_set_text(struct import_job *job, const char *path, const char *text)
{
        AUTO(buffer_done) struct buffer b = { 0 };

        put_text(&b, text);
        set(job, path, mem_strdup(buffer_str(&b)));
}

void import_set_words(struct import_job *job, const char *path, char *const *words)
{
        AUTO(buffer_done) struct buffer b = { 0 };

        buffer_putc(&b, '[');
        for (size_t i = 0; words[i] != NULL; i++) {
                if (i > 0)
                        buffer_puts(&b, ", ");
                put_text(&b, words[i]);
        }
        buffer_putc(&b, ']');
        set(job, path, mem_strdup(buffer_str(&b)));
}

void import_set_environment(struct import_job *job, const char *key, char *const *words)
{
        for (; *words != NULL; words++) {
                size_t len = strcspn(*words, "=");
                AUTO(mem_freep) char *path = mem_printf("env.%.*s", (int) len, *words);

                if ((*words)[len] == '=')
                        import_set_text(job, path, *words + len + 1);
                else
                        import_note(job, "%s: \"%s\" sets nothing", key, *words);
        }
}

/* ---- Printing */

static size_t section_len(const char *path)
{
        const char *dot = strchr(path, '.');

        return dot == NULL ? 0 : (size_t) (dot - path);
}

static bool same_section(const char *a, const char *b)
{
        size_t len = section_len(a);

        return len > 0 && len == section_len(b) && strncmp(a, b, len) == 0;
}

static void print_section(struct buffer *out, const struct import_job *job, size_t first)
{
        const char *path = job->fields[first].path;
        bool more = false;

        for (size_t i = 0; i < first; i++)
                if (same_section(job->fields[i].path, path))
                        return; /* was printed there */
        buffer_printf(out, "    %.*s: {", (int) section_len(path), path);
        for (size_t i = first; i < job->fields_len; i++) {
                const struct field *f = &job->fields[i];

                if (!same_section(f->path, path))
                        continue;
                buffer_puts(out, more ? ", " : "");
                put_text(out, f->path + section_len(path) + 1);
                buffer_printf(out, ": %s", f->value);
                more = true;
        }
        buffer_puts(out, "}\n");
}

static void print_job(struct buffer *out, const struct import_job *job)
{
        buffer_printf(out, "  %s:\n", job->name);
        for (size_t i = 0; i < job->fields_len; i++)
                if (section_len(job->fields[i].path) > 0)
                        print_section(out, job, i);
                else
                        buffer_printf(
                                out, "    %s: %s\n", job->fields[i].path, job->fields[i].value);
        for (size_t i = 0; i < job->notes_len; i++)
                buffer_printf(out, "    # %s\n", job->notes[i]);
}

int import_print(const struct import *im, const char *label, struct buffer *out, struct error *err)
{
        struct job_file file = { 0 };

        if (im->jobs_len == 0)
                return error_set(err, ERR_INVALID, "%s: nothing in it is started", label);
        for (size_t i = 0; i < im->remarks_len; i++)
                buffer_printf(out, "# %s\n", im->remarks[i]);
        buffer_puts(out, "jobs:\n");
        for (size_t i = 0; i < im->jobs_len; i++)
                print_job(out, im->jobs[i]);
        if (job_file_parse(label, out->data, out->len, JOB_FORMAT_YAML, &file, err) < 0)
                return error_wrap(err, "what was made of it is refused");
        job_file_done(&file);
        return 0;
}

/* ---- Files of sections */

static char *strip(char *text)
{
        char *end;

        while (isspace((unsigned char) *text))
                text++;
        end = text + strlen(text);
        while (end > text && isspace((unsigned char) end[-1]))
                *--end = '\0';
        return text;
}

static void cut_comment(char *value)
{
        char *at = value;

        while ((at = strchr(at, ';')) != NULL && at > value && !isspace((unsigned char) at[-1]))
                at++;
        if (at != NULL)
                *at = '\0';
}

/* Whether the line that ends at @end goes on in the next one. */
static bool goes_on(const char *line, const char *end, enum import_style style)
{
        if (style == IMPORT_SYSTEMD)
                return end > line && end[-1] == '\\';
        return (end[1] == ' ' || end[1] == '\t') && end[1 + strspn(end + 1, " \t")] != '\n' &&
               line[strspn(line, " \t")] != '\n';
}

/* Takes the line and those that it goes on in; the joint is a space. */
static char *take_line(char **rest, enum import_style style, int *number)
{
        char *line = *rest, *end = strchr(line, '\n');
        char first = line[strspn(line, " \t")];

        while (end != NULL && first != '#' && first != ';' && goes_on(line, end, style)) {
                if (style == IMPORT_SYSTEMD)
                        end[-1] = ' ';
                *end = ' ';
                end = strchr(end, '\n');
                ++*number;
        }
        *rest = end == NULL ? NULL : end + 1;
        if (end != NULL)
                *end = '\0';
        return line;
}

static int take_key(char *line, const char *label, struct import_line *l, enum import_style style,
        struct error *err)
{
        char *equals = strpbrk(line, style == IMPORT_SUPERVISORD ? "=:" : "=");

        if (equals == NULL || equals == line || l->section == NULL)
                return error_set(err, ERR_INVALID, "%s:%d: expected \"key = value\"%s, got \"%s\"",
                        label, l->number, l->section == NULL ? " below a [section]" : "", line);
        *equals = '\0';
        l->key = strip(line);
        l->value = equals + 1;
        if (style == IMPORT_SUPERVISORD)
                cut_comment(l->value);
        l->value = strip(l->value);
        return 0;
}

int import_read_sections(const char *label, char *text, enum import_style style,
        int (*each)(void *data, const struct import_line *line, struct error *err), void *data,
        struct error *err)
{
        struct import_line l = { 0 };
        char *rest = text, *line;
        int next = 1;

        while (rest != NULL) {
                l.number = next++;
                line = strip(take_line(&rest, style, &next));
                if (*line == '\0' || *line == '#' || *line == ';')
                        continue;
                l.key = NULL;
                l.value = NULL;
                if (*line == '[') {
                        line[strcspn(line, "]")] = '\0';
                        l.section = line + 1;
                } else if (take_key(line, label, &l, style, err) < 0) {
                        return -1;
                }
                if (each(data, &l, err) < 0)
                        return -1;
        }
        return 0;
}

/* ---- Words */

/* Reads one word into @word; returns what is behind it, or NULL if a quote is not closed. */
static const char *read_word(const char *at, struct buffer *word)
{
        char quote = '\0';

        for (; *at != '\0' && (quote != '\0' || !isspace((unsigned char) *at)); at++) {
                if (*at == quote)
                        quote = '\0';
                else if (quote == '\0' && (*at == '"' || *at == '\''))
                        quote = *at;
                else if (*at == '\\' && quote != '\'' && at[1] != '\0')
                        buffer_putc(word, *++at);
                else
                        buffer_putc(word, *at);
        }
        return quote == '\0' ? at : NULL;
}

char **import_split_words(const char *text)
{
        char **words = mem_alloc(sizeof *words);
        size_t len = 0;

        for (;;) {
                AUTO(buffer_done) struct buffer word = { 0 };

                text += strspn(text, " \t\n");
                if (*text == '\0')
                        return words;
                text = read_word(text, &word);
                if (text == NULL) {
                        import_words_free(words);
                        return NULL;
                }
                words = mem_resize(words, len + 2, sizeof *words);
                words[len++] = mem_strdup(buffer_str(&word));
                words[len] = NULL;
        }
}

void import_words_free(char **words)
{
        for (size_t i = 0; words != NULL && words[i] != NULL; i++)
                free(words[i]);
        free(words);
}

void import_words_freep(char ***words)
{
        import_words_free(*words);
}

char *import_escape(const char *text)
{
        AUTO(buffer_done) struct buffer b = { 0 };

        if (!variables_any(text))
                return mem_strdup(text);
        for (; *text != '\0'; text++) {
                if (text[0] == '$' && text[1] == '{')
                        buffer_putc(&b, '$');
                buffer_putc(&b, *text);
        }
        return buffer_take(&b);
}
