/* SPDX-License-Identifier: BSD-3-Clause */
/* Job files: what --jobs names is what shall run.
 *
 * A path is a file, or a directory of which every *.yaml, *.yml and *.json counts (hidden ones do
 * not: editors' temporary files). Each file is the source "file:PATH" of its jobs. On any change
 * near the paths all of them are looked at again, 50 ms after the last sign of it, a second after
 * the first at the latest; only files whose bytes are other than before are parsed and applied, and
 * the cluster leaves alone what is equal in them. A job that is not in its file any more, or whose
 * file is gone, is removed.
 *
 * A file that cannot be read or used is reported once per content, in the log and as an event, and
 * changes nothing: its jobs stay as its last good version had them, also over a restart of the
 * server, since they are in the store. A job that was applied by hand, or is in another file, is
 * tried again every two seconds.
 *
 * Watched are directories (of a path that is not one, its parent), never files: editors replace
 * files by renaming. If that is not there it is looked for every two seconds. inotify(7) is used
 * directly, because libuv also asks for every single write: a log beside the job files would keep
 * the server busy. Loop thread only; files are at most 1 MiB and few, so they are read on it. */
#include "server/jobfiles.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utlist.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"

#define FILE_MAX      ((size_t) 1024 * 1024)
#define DEBOUNCE_MSEC 50
#define LATEST_MSEC   1000
#define AGAIN_MSEC    2000 /* a directory that is not there, a job that is somebody else's */
#define WATCHED                                                                                    \
        (IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVE | IN_DELETE_SELF | IN_MOVE_SELF |        \
                IN_ONLYDIR)

struct jobfile {
        char *source; /* "file:PATH" */
        bool seen;    /* in the scan that runs */
        bool known;   /* `content` is what was last taken */
        struct buffer content;
        struct buffer told;     /* why it was refused: what need not be said again */
        struct job_file parsed; /* of a file that has changed, until it is applied */
        bool changed;
        struct jobfile *next, *prev;
};

struct given { /* with --jobs */
        char *path;
        bool told; /* that it cannot be used */
};

struct jobfiles {
        struct server *server;
        struct given *given;
        size_t len;
        struct jobfile *files;
        bool unreadable; /* a directory could not be listed: nothing is taken for gone */
        bool dirty;      /* to be looked at again when the store works */
        int inotify;     /* -1: it cannot be had; then the directories are looked at now and then */
        uv_poll_t poll;
        uv_timer_t timer;
        uint64_t sign_msec; /* uv_now() of the first sign since the last look; 0: none */
        unsigned handles;
};

static const char *path_of(const struct jobfile *f)
{
        return f->source + strlen("file:");
}

/* ---- Telling */

static void tell(struct jobfiles *f, const char *message)
{
        AUTO(mem_freep) char *text = mem_strdup(message);
        struct event note = { .time = time_wall(),
                .kind = EVENT_JOB_REFUSED,
                .version = RECORD_NULL,
                .run = RECORD_NULL,
                .message = text };
        struct cluster_event event = { .type = CLUSTER_NOTICE, .note = &note };
        struct error err;

        log_error("%s", message);
        if (state_submit(f->server->state, &event, NULL, NULL, NULL, &err) < 0)
                log_error("%s", err.message);
}

static void refuse(struct jobfiles *f, struct jobfile *file, const char *message)
{
        if (strstr(buffer_str(&file->told), message) != NULL)
                return;
        buffer_printf(&file->told, "%s\n", message);
        tell(f, message);
}

/* ---- Removing */

struct names {
        char **names;
        size_t len;
};

static void names_add(void *data, const char *name)
{
        struct names *n = data;

        n->names = mem_resize(n->names, n->len + 1, sizeof *n->names);
        n->names[n->len++] = mem_strdup(name);
}

static void names_done(struct names *n)
{
        for (size_t i = 0; i < n->len; i++)
                free(n->names[i]);
        free(n->names);
}

static void remove_job(struct jobfiles *f, const char *source, const char *name)
{
        struct cluster_event event = { .type = CLUSTER_REMOVE, .target = name, .source = source };
        struct job_status job;
        struct error err;

        if (!cluster_get_job(state_cluster(f->server->state), name, &job))
                return;
        if (state_submit(f->server->state, &event, NULL, NULL, NULL, &err) == 0)
                log_info("%s: job %s is not there any more: removed", source + 5, name);
        else
                f->dirty = true;
}

static bool file_has(const struct job_file *file, const char *name)
{
        for (size_t i = 0; file != NULL && i < file->jobs_len; i++)
                if (strcmp(file->jobs[i]->name, name) == 0)
                        return true;
        return false;
}

/* Removes the jobs of @source that are not in @file (NULL: all). */
static void remove_missing(struct jobfiles *f, const char *source, const struct job_file *file)
{
        AUTO(names_done) struct names n = { 0 };

        cluster_each_job_of_source(state_cluster(f->server->state), source, names_add, &n);
        for (size_t i = 0; i < n.len; i++)
                if (!file_has(file, n.names[i]))
                        remove_job(f, source, n.names[i]);
}

/* ---- Applying */

static void apply(struct jobfiles *f, struct jobfile *file, struct job_spec *spec)
{
        struct cluster_event event = {
                .type = CLUSTER_APPLY, .spec = spec, .source = file->source
        };
        struct state_outcome outcome;
        struct error err;

        if (state_submit(f->server->state, &event, NULL, NULL, &outcome, &err) == 0) {
                if (!outcome.unchanged)
                        log_info("%s: job %s is at version %u", path_of(file), spec->name,
                                outcome.version);
                return;
        }
        if (err.code != ERR_CONFLICT && err.code != ERR_INVALID) {
                f->dirty = true; /* the store; it says so itself */
                return;
        }
        file->known = false; /* when the other one lets go of the job, a later look takes it */
        error_wrap(&err, "%s: jobs.%s", path_of(file), spec->name);
        refuse(f, file, err.message);
}

static void parse_content(struct jobfiles *f, struct jobfile *file)
{
        struct error err;

        if (job_file_parse(path_of(file), buffer_str(&file->content), file->content.len,
                    job_format_from_path(path_of(file)), &file->parsed, &err) < 0)
                refuse(f, file, err.message);
        else
                file->changed = true;
}

/* In two passes, what is gone before what is new: a job may have moved from one file to another. */
static void apply_changed(struct jobfiles *f)
{
        struct jobfile *file;

        DL_FOREACH (f->files, file)
                if (file->changed)
                        remove_missing(f, file->source, &file->parsed);
        DL_FOREACH (f->files, file) {
                for (size_t i = 0; i < file->parsed.jobs_len; i++)
                        apply(f, file, file->parsed.jobs[i]);
                job_file_done(&file->parsed);
                file->parsed = (struct job_file){ 0 };
                file->changed = false;
        }
}

static bool same(const struct buffer *a, const struct buffer *b)
{
        return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

/* ---- Scanning */

static struct jobfile *file_find(struct jobfiles *f, const char *path)
{
        struct jobfile *file;

        DL_FOREACH (f->files, file)
                if (strcmp(path_of(file), path) == 0)
                        return file;
        file = mem_alloc(sizeof *file);
        file->source = mem_printf("file:%s", path);
        DL_APPEND(f->files, file);
        return file;
}

static void file_free(struct jobfiles *f, struct jobfile *file)
{
        DL_DELETE(f->files, file);
        buffer_done(&file->content);
        job_file_done(&file->parsed);
        buffer_done(&file->told);
        free(file->source);
        free(file);
}

static void scan_file(struct jobfiles *f, const char *path)
{
        AUTO(buffer_done) struct buffer content = { 0 };
        struct jobfile *file;
        struct error err;
        bool failed = file_read(path, FILE_MAX, &content, &err) < 0;

        if (failed && err.code == ERR_NOT_FOUND)
                return;
        file = file_find(f, path);
        file->seen = true;
        if (failed) { /* remembered like a content, so that it is told once */
                buffer_reset(&content);
                buffer_puts(&content, err.message);
        }
        if (same(&content, &file->content)) {
                if (file->known)
                        return;
        } else {
                buffer_done(&file->told);
        }
        buffer_done(&file->content);
        file->content = content;
        content = (struct buffer){ 0 };
        file->known = true;
        if (failed)
                refuse(f, file, err.message);
        else
                parse_content(f, file);
}

static int is_job_file(const struct dirent *entry)
{
        static const char *const endings[] = { ".yaml", ".yml", ".json" };
        const char *dot = strrchr(entry->d_name, '.');

        if (entry->d_name[0] == '.' || dot == NULL)
                return 0;
        for (size_t i = 0; i < ARRAY_SIZE(endings); i++)
                if (strcmp(dot, endings[i]) == 0)
                        return 1;
        return 0;
}

static void scan_directory(struct jobfiles *f, const char *path)
{
        struct dirent **entries;
        int n = scandir(path, &entries, is_job_file, alphasort);

        if (n < 0) {
                f->unreadable = f->unreadable || errno != ENOENT;
                return;
        }
        for (int i = 0; i < n; i++) {
                AUTO(mem_freep) char *file = mem_printf("%s/%s", path, entries[i]->d_name);

                scan_file(f, file);
                free(entries[i]);
        }
        free(entries);
}

static void list_source(void *data, const struct job_status *job)
{
        if (job->source != NULL && strncmp(job->source, "file:", 5) == 0)
                names_add(data, job->source);
}

static bool source_is_here(const struct jobfiles *f, const char *source)
{
        const struct jobfile *file;

        DL_FOREACH (f->files, file)
                if (strcmp(file->source, source) == 0)
                        return true;
        return false;
}

/* Removes the jobs of files that are gone, or that an earlier server was given and we are not. */
static void remove_strangers(struct jobfiles *f)
{
        AUTO(names_done) struct names sources = { 0 };

        cluster_each_job(state_cluster(f->server->state), list_source, &sources);
        for (size_t i = 0; i < sources.len; i++)
                if (!source_is_here(f, sources.names[i]))
                        remove_missing(f, sources.names[i], NULL);
}

static void drop_gone(struct jobfiles *f)
{
        struct jobfile *file, *next;

        DL_FOREACH_SAFE (f->files, file, next)
                if (!file->seen && !f->unreadable)
                        file_free(f, file);
}

static void scan_given(struct jobfiles *f, struct given *g)
{
        const char *path = g->path;
        struct stat st;
        int rc = stat(path, &st), why = errno;
        bool usable = rc == 0 && (!S_ISDIR(st.st_mode) || access(path, R_OK | X_OK) == 0);

        why = rc == 0 ? EACCES : why; /* a directory that may not be listed */
        if (!usable && !g->told)
                log_warning("--jobs %s: %s", path, strerror(why));
        g->told = !usable;
        f->unreadable = f->unreadable || (rc < 0 && why != ENOENT);
        if (rc == 0 && S_ISDIR(st.st_mode))
                scan_directory(f, path);
        else
                scan_file(f, path);
}

static bool arm_watches(struct jobfiles *f);

static void on_timer(uv_timer_t *timer);

static void scan(struct jobfiles *f)
{
        struct jobfile *file;
        bool again;

        f->unreadable = false;
        f->sign_msec = 0;
        DL_FOREACH (f->files, file)
                file->seen = false;
        again = !arm_watches(f);
        for (size_t i = 0; i < f->len; i++)
                scan_given(f, &f->given[i]);
        drop_gone(f);
        if (!f->unreadable)
                remove_strangers(f);
        apply_changed(f);
        DL_FOREACH (f->files, file)
                again = again || !file->known;
        if (again)
                uv_timer_start(&f->timer, on_timer, AGAIN_MSEC, 0);
}

static void on_timer(uv_timer_t *timer)
{
        scan(timer->data);
}

/* ---- Watching */

static void on_inotify(uv_poll_t *poll, int status, int events)
{
        struct jobfiles *f = poll->data;
        uint64_t now = uv_now(f->server->loop);
        char names[4096];

        (void) status;
        (void) events;
        while (read(f->inotify, names, sizeof names) > 0) /* what changed is found by looking */
                continue;
        if (f->sign_msec == 0)
                f->sign_msec = now;
        if (now + DEBOUNCE_MSEC <= f->sign_msec + LATEST_MSEC) /* else it is set already */
                uv_timer_start(&f->timer, on_timer, DEBOUNCE_MSEC, 0);
}

static char *directory_of(const char *path)
{
        const char *slash = strrchr(path, '/');
        struct stat st;

        if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
                return mem_strdup(path);
        return slash == path ? mem_strdup("/") : mem_strndup(path, (size_t) (slash - path));
}

/* Before each look: what was not there before, or was replaced, is to be watched, too. Doing it
 * again is harmless, the kernel knows the directory by its inode. */
static bool arm_watches(struct jobfiles *f)
{
        bool all = true;

        for (size_t i = 0; i < f->len; i++) {
                AUTO(mem_freep) char *directory = directory_of(f->given[i].path);

                all = inotify_add_watch(f->inotify, directory, WATCHED) >= 0 && all;
        }
        return all;
}

/* ---- Life */

/* Absolute, so that a source means the same for whoever reads it; a file that is not there yet has
 * at least its directory. */
static char *absolute(const char *path)
{
        char *real = realpath(path, NULL);
        char *cwd, *joined;

        if (real != NULL || *path == '/')
                return real != NULL ? real : mem_strdup(path);
        cwd = realpath(".", NULL);
        joined = mem_printf("%s/%s", cwd == NULL ? "" : cwd, path);
        free(cwd);
        return joined;
}

static void watch_open(struct jobfiles *f)
{
        f->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
        if (f->inotify < 0) {
                log_warning(
                        "job files are not watched but looked at every two seconds: inotify: %s",
                        strerror(errno));
                return;
        }
        f->poll.data = f;
        uv_poll_init(f->server->loop, &f->poll, f->inotify);
        uv_poll_start(&f->poll, UV_READABLE, on_inotify);
        f->handles++;
}

struct jobfiles *jobfiles_new(struct server *server)
{
        struct jobfiles *f = mem_alloc(sizeof *f);
        size_t len = 0;

        while (server->options.jobs[len] != NULL)
                len++;
        f->server = server;
        f->len = len;
        f->given = mem_alloc((len + 1) * sizeof *f->given);
        f->timer.data = f;
        uv_timer_init(server->loop, &f->timer);
        f->handles = 1;
        watch_open(f);
        for (size_t i = 0; i < len; i++)
                f->given[i].path = absolute(server->options.jobs[i]);
        scan(f);
        return f;
}

void jobfiles_reset(struct jobfiles *f)
{
        struct jobfile *file;

        if (f == NULL)
                return;
        f->dirty = true;
        DL_FOREACH (f->files, file)
                buffer_done(&file->told);
}

void jobfiles_recovered(struct jobfiles *f)
{
        struct jobfile *file;

        if (f == NULL || !f->dirty)
                return;
        f->dirty = false;
        DL_FOREACH (f->files, file)
                file->known = false;
        uv_timer_start(&f->timer, on_timer, 0, 0);
}

static void on_closed(uv_handle_t *handle)
{
        struct jobfiles *f = handle->data;

        if (--f->handles > 0)
                return;
        fd_closep(&f->inotify);
        for (size_t i = 0; i < f->len; i++)
                free(f->given[i].path);
        free(f->given);
        free(f);
}

void jobfiles_free(struct jobfiles *f)
{
        struct jobfile *file, *next;

        if (f == NULL)
                return;
        DL_FOREACH_SAFE (f->files, file, next)
                file_free(f, file);
        if (f->inotify >= 0)
                uv_close((uv_handle_t *) &f->poll, on_closed);
        uv_close((uv_handle_t *) &f->timer, on_closed);
}
