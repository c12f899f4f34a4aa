/* SPDX-License-Identifier: BSD-3-Clause */
/* Inputs: job files for the server. They are read here, so that a message names the file as the
 * user called it and nothing is sent of a set with a mistake in it. */
#include "cli/inputs.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/client.h"
#include "model/document.h"
#include "model/job.h"

struct inputs {
        json_t *jobs;  /* name -> spec */
        json_t *files; /* name -> where it came from */
        size_t files_read;
};

static int add_job(
        struct inputs *in, const char *label, const struct job_spec *job, struct error *err)
{
        const char *other = json_string_value(json_object_get(in->files, job->name));

        if (other != NULL)
                return error_set(
                        err, ERR_INVALID, "%s: job %s is in %s, too", label, job->name, other);
        json_object_set_new(in->jobs, job->name, job_spec_to_json(job));
        json_object_set_new(in->files, job->name, json_string(label));
        return 0;
}

static int add_text(struct inputs *in, const char *label, const struct buffer *text,
        enum job_format format, struct error *err)
{
        struct job_file file = { 0 };
        int r = 0;

        if (job_file_parse(label, buffer_str(text), text->len, format, &file, err) < 0)
                return -1;
        in->files_read++;
        for (size_t i = 0; r == 0 && i < file.jobs_len; i++)
                r = add_job(in, label, file.jobs[i], err);
        job_file_done(&file);
        return r;
}

static int add_stdin(struct inputs *in, struct error *err)
{
        AUTO(buffer_done) struct buffer text = { 0 };
        ssize_t n;

        do {
                n = read(STDIN_FILENO, buffer_reserve(&text, 4096), 4096);
                if (n > 0)
                        buffer_commit(&text, (size_t) n);
        } while ((n > 0 && text.len <= DOCUMENT_SIZE_MAX) || (n < 0 && errno == EINTR));
        if (n < 0)
                return error_sys(err, errno, "read standard input");
        return add_text(in, "standard input", &text, JOB_FORMAT_YAML, err);
}

static int add_file(struct inputs *in, const char *path, struct error *err)
{
        AUTO(buffer_done) struct buffer text = { 0 };

        if (file_read_stream(path, DOCUMENT_SIZE_MAX, &text, err) < 0)
                return -1;
        return add_text(in, path, &text, job_format_from_path(path), err);
}

static int is_job_file(const struct dirent *entry)
{
        const char *ending = strrchr(entry->d_name, '.');

        return entry->d_name[0] != '.' && ending != NULL &&
               (strcmp(ending, ".yaml") == 0 || strcmp(ending, ".yml") == 0 ||
                       strcmp(ending, ".json") == 0);
}

static int add_directory(struct inputs *in, const char *path, struct error *err)
{
        struct dirent **entries;
        int n = scandir(path, &entries, is_job_file, alphasort), r = 0;
        size_t before = in->files_read;

        if (n < 0)
                return error_sys(err, errno, "read directory %s", path);
        for (int i = 0; i < n; i++) {
                AUTO(mem_freep) char *file = mem_printf("%s/%s", path, entries[i]->d_name);

                if (r == 0)
                        r = add_file(in, file, err);
                free(entries[i]);
        }
        free(entries);
        if (r == 0 && in->files_read == before)
                return error_set(
                        err, ERR_NOT_FOUND, "%s: no job file (*.yaml, *.yml, *.json) in it", path);
        return r;
}

static int add_path(struct inputs *in, const char *path, struct error *err)
{
        struct stat st;

        if (strcmp(path, "-") == 0)
                return add_stdin(in, err);
        if (stat(path, &st) < 0)
                return error_sys(err, errno, "%s", path);
        return S_ISDIR(st.st_mode) ? add_directory(in, path, err) : add_file(in, path, err);
}

int inputs_read(const char *const *paths, struct buffer *ret_json, struct error *err)
{
        AUTO(client_json_decref) json_t *root = json_object();
        AUTO(client_json_decref) json_t *files = json_object();
        struct inputs in = { .jobs = json_object(), .files = files };
        AUTO(mem_freep) char *text = NULL;

        json_object_set_new(root, "jobs", in.jobs);
        for (; *paths != NULL; paths++)
                if (add_path(&in, *paths, err) < 0)
                        return -1;
        if (json_object_size(in.jobs) == 0)
                return error_set(err, ERR_INVALID, "there is no job in what was given");
        text = json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(15));
        buffer_puts(ret_json, text);
        return 0;
}
