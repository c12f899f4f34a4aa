/* SPDX-License-Identifier: BSD-3-Clause */
/* The dossier of a run that has failed: a file `dossier.RUN` beside the task's logs.
 *
 * What only this moment knows is put into DIR/node/dossiers (node/pending.h) after the end of the
 * run is decided and before that is committed; the file is written, and the last lines of the logs
 * are read, when the run that follows is on its way. So nobody waits for it, and whoever is killed
 * in between leaves it to the next agent: none is lost, and none is there twice, since the same end
 * handled again gives the same file again. A start that failed and was not committed is tried anew
 * and may succeed: that dossier is withdrawn first. What cannot be written (a full disk) is done
 * without; the event tells the most of it.
 *
 * The newest DOSSIERS_KEPT stay, in the order in which they were written: a task that comes back to
 * its node counts its runs from 1 again. With the task's logs they go. */
#include "node/dossiers.h"
#include "node/task-internal.h"

#include <dirent.h>
#include <glob.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "core/restart.h"
#include "model/dossier.h"
#include "node/logread.h"
#include "node/pending.h"

#define DOSSIERS_KEPT 5
#define DOSSIER_BYTES ((size_t) 256 * 1024)
#define DOSSIER_MODE  0640
#define TAIL_BYTES    4096
#define TAIL_LINES    20
#define PREFIX        "dossier."
#define PATTERN_FILE  "/proc/sys/kernel/core_pattern"
#define PATTERN_BYTES 4096

/* ---- what it tells */

/* Where a stream ends at this moment. */
static int64_t stream_end(const struct task *t, enum task_stream stream)
{
        struct error ignored = ERROR_INIT;
        uint64_t end;

        if (t->streams[stream] == NULL ||
                capture_stream_size(t->streams[stream], &end, &ignored) < 0)
                return RECORD_NULL;
        return (int64_t) end;
}

/* The last lines that run @run has written to a stream before byte @end; *@ret_from becomes the
 * number of the first one. */
static char *read_tail(
        const char *directory, const char *name, int64_t run, int64_t end, int64_t *ret_from)
{
        struct logread_from from = { .start = LOGREAD_BYTE, .run = (uint32_t) run };
        char text[TAIL_BYTES];
        struct logread *reader;
        struct logread_chunk chunk;
        struct error ignored = ERROR_INIT;
        uint64_t first = 0;
        size_t len = 0, out;

        *ret_from = RECORD_NULL;
        if (end <= 0)
                return NULL;
        from.value = (uint64_t) end > sizeof text ? (uint64_t) end - sizeof text : 0;
        if (logread_open(directory, name, from, &reader, &ignored) < 0)
                return NULL;
        while (len < sizeof text &&
                logread_next(reader, text + len, sizeof text - len, &chunk, &ignored) == 1) {
                if (len == 0)
                        first = chunk.byte;
                len += chunk.len;
        }
        logread_free(reader);
        out = dossier_cut(text, len, first > 0 && first == from.value, TAIL_LINES);
        if (out == len)
                return NULL;
        for (size_t i = out; i < len; i++)
                text[i] = text[i] == '\0' ? '?' : text[i];
        *ret_from = (int64_t) (first + out);
        return mem_strndup(text + out, len - out);
}

/* The newest file that @pattern stands for and that is of the run; NULL if there is none. */
static char *find_core(const char *pattern, usec_t started_wall)
{
        char *found = NULL;
        time_t newest = (time_t) (started_wall / USEC_SEC);
        glob_t names = { 0 };

        if (glob(pattern, GLOB_NOSORT, NULL, &names) == 0)
                for (size_t i = 0; i < names.gl_pathc; i++) {
                        struct stat st;

                        if (lstat(names.gl_pathv[i], &st) < 0 || !S_ISREG(st.st_mode) ||
                                st.st_mtime < newest)
                                continue;
                        newest = st.st_mtime;
                        free(found);
                        found = mem_strdup(names.gl_pathv[i]);
                }
        globfree(&names);
        return found;
}

static bool core_uses_pid(void)
{
        AUTO(buffer_done) struct buffer text = { 0 };
        struct error ignored = ERROR_INIT;

        return file_read("/proc/sys/kernel/core_uses_pid", 16, &text, &ignored) == 0 &&
               buffer_str(&text)[0] == '1';
}

static void tell_core(
        const struct task *t, const struct task_machine *m, int signal, struct dossier *d)
{
        const struct spawn_plan *plan = t->spec->planned ? &t->spec->plan : NULL;
        AUTO(buffer_done) struct buffer pattern = { 0 }, path = { 0 };
        struct error ignored = ERROR_INIT;
        char hostname[256] = "";
        struct dossier_core core = { .pid = m->pid,
                .signal = signal,
                .uid = plan != NULL && plan->change_user ? plan->uid : getuid(),
                .gid = plan != NULL && plan->change_user ? plan->gid : getgid(),
                .program = plan != NULL ? plan->program : NULL,
                .directory = plan != NULL ? plan->directory : NULL,
                .uses_pid = core_uses_pid() };

        if (file_read(PATTERN_FILE, PATTERN_BYTES, &pattern, &ignored) < 0)
                return;
        if (gethostname(hostname, sizeof hostname - 1) == 0)
                core.hostname = hostname;
        if (!dossier_core_pattern(buffer_str(&pattern), &core, &path)) {
                d->core_handler = mem_printf("the kernel gave it to %s", buffer_str(&path));
                return;
        }
        d->core = find_core(buffer_str(&path), m->started_wall);
        if (d->core == NULL)
                d->core_handler = mem_printf("there is no file %s now; its directory may have "
                                             "been another, or one that it may not write to",
                        buffer_str(&path));
}

static char *tell_how(const struct task_machine *before, const struct task_event *event)
{
        char how[RESTART_REASON_MAX];
        struct restart_end end = { .known = event->known,
                .exit_code = event->exit_code,
                .signal = event->signal,
                .message = event->type == TASK_EV_SPAWN_FAILED ? event->message : NULL,
                .failed = before->failing ? before->reason : NULL };

        return mem_strdup(restart_format_end(how, &end));
}

static void tell_end(
        const struct task_machine *before, const struct task_event *event, struct dossier *d)
{
        usec_t now = time_mono(),
               ended = event->ended_mono != 0 ? MIN(event->ended_mono, now) : now;
        char text[DOSSIER_MEANING_MAX];
        const char *meaning;

        d->ended = time_wall() - (now - ended);
        d->how = tell_how(before, event);
        d->exit_code = RECORD_NULL;
        d->lasted = RECORD_NULL;
        d->memory_peak = event->memory_peak > 0 ? (int64_t) event->memory_peak : RECORD_NULL;
        d->cpu = event->cpu > 0 ? (int64_t) event->cpu : RECORD_NULL;
        if (event->type == TASK_EV_SPAWN_FAILED)
                return;
        d->lasted = ended > before->started_mono ? (int64_t) (ended - before->started_mono) : 0;
        d->detail = mem_strdup(event->detail);
        if (!event->known)
                return;
        if (event->exit_code >= 0)
                d->exit_code = event->exit_code;
        else
                d->signal = event->signal;
        meaning = before->failing || event->out_of_memory
                          ? NULL
                          : dossier_meaning(text, event->exit_code, event->signal);
        d->meaning = mem_strdup(meaning);
}

static void tell_good(const struct task_machine *before, struct dossier *d)
{
        bool any = before->good_run != 0;

        d->good_run = any ? (int64_t) before->good_run : RECORD_NULL;
        d->good_version = any ? (int64_t) before->good_version : RECORD_NULL;
        d->good_ended = before->good_wall;
        d->booted = time_wall() - time_mono();
}

/* ---- the files */

static bool is_dossier(const char *name)
{
        return strncmp(name, PREFIX, strlen(PREFIX)) == 0 &&
               strspn(name + strlen(PREFIX), "0123456789") == strlen(name + strlen(PREFIX)) &&
               name[strlen(PREFIX)] != '\0';
}

struct file {
        char *path;
        struct timespec written;
};

struct files {
        struct file *items;
        size_t len;
};

static int compare_files(const void *a, const void *b)
{
        const struct file *x = a, *y = b;

        if (x->written.tv_sec != y->written.tv_sec)
                return x->written.tv_sec < y->written.tv_sec ? 1 : -1;
        if (x->written.tv_nsec != y->written.tv_nsec)
                return x->written.tv_nsec < y->written.tv_nsec ? 1 : -1;
        return -strverscmp(x->path, y->path);
}

/* The newest first. */
static struct files list_files(const char *directory)
{
        struct files files = { 0 };
        DIR *dir = opendir(directory);

        if (dir == NULL)
                return files;
        for (const struct dirent *e; (e = readdir(dir)) != NULL;) {
                struct file f;
                struct stat st;

                if (!is_dossier(e->d_name))
                        continue;
                f.path = mem_printf("%s/%s", directory, e->d_name);
                if (lstat(f.path, &st) < 0) {
                        free(f.path);
                        continue;
                }
                f.written = st.st_mtim;
                files.items = mem_resize(files.items, files.len + 1, sizeof *files.items);
                files.items[files.len++] = f;
        }
        closedir(dir);
        if (files.len > 1)
                qsort(files.items, files.len, sizeof *files.items, compare_files);
        return files;
}

static void files_done(struct files *files)
{
        for (size_t i = 0; i < files->len; i++)
                free(files->items[i].path);
        free(files->items);
}

static char *dossier_path(const char *directory, uint64_t run)
{
        return mem_printf("%s/" PREFIX "%" PRIu64, directory, run);
}

static int store(const char *directory, uint64_t run, const struct buffer *text, struct error *err)
{
        AUTO(mem_freep) char *path = dossier_path(directory, run);
        AUTO(files_done) struct files files = { 0 };

        if (file_mkdirs(directory, 0755, err) < 0 ||
                file_replace(path, text->data, text->len, DOSSIER_MODE, false, err) < 0)
                return -1;
        files = list_files(directory);
        for (size_t i = DOSSIERS_KEPT; i < files.len; i++)
                unlink(files.items[i].path);
        return 0;
}

/* Writes the file: of a dossier whose out_from and errors_from are where the streams ended. */
static void write_file(const struct tasks *ts, struct dossier *d)
{
        AUTO(mem_freep) char *directory = task_directory(ts, d->task);
        AUTO(buffer_done) struct buffer text = { 0 };
        struct error err = ERROR_INIT;

        d->out = read_tail(directory, "stdout", d->run, d->out_from, &d->out_from);
        d->errors = read_tail(directory, "stderr", d->run, d->errors_from, &d->errors_from);
        record_write(&dossier_table, d, &text);
        if (store(directory, (uint64_t) d->run, &text, &err) < 0)
                log_warning(
                        "task %s: no dossier of run %" PRId64 ": %s", d->task, d->run, err.message);
}

static void write_pending(const struct tasks *ts, const char *text, size_t len)
{
        json_t *json = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
        struct dossier d = { 0 };
        struct error err = ERROR_INIT;

        if (record_read(&dossier_table, json, &d, &err) < 0)
                log_warning("a dossier that was not written yet is damaged: %s", err.message);
        else if (d.task != NULL && strchr(d.task, '/') == NULL && d.run > 0)
                write_file(ts, &d);
        record_done(&dossier_table, &d);
        json_decref(json);
}

void tasks_write_dossiers(struct tasks *ts)
{
        const char *text;
        size_t len;

        while (ts->dossiers != NULL && (text = pending_oldest(ts->dossiers, &len)) != NULL) {
                write_pending(ts, text, len);
                pending_drop_oldest(ts->dossiers);
        }
}

/* Keeps it until tasks_write_dossiers(); false if that cannot be. */
static bool put_pending(struct tasks *ts, const struct dossier *d)
{
        AUTO(buffer_done) struct buffer text = { 0 };

        if (ts->dossiers == NULL)
                return false;
        record_write_short(&dossier_table, d, &text);
        if (pending_put(ts->dossiers, text.data, text.len))
                return true;
        tasks_write_dossiers(ts); /* many fail at the same time */
        return pending_put(ts->dossiers, text.data, text.len);
}

void task_dossier_make(
        struct task *t, const struct task_machine *after, const struct task_event *event)
{
        const struct task_machine *before = table_machine(t->slot);
        struct dossier d = { .task = mem_strdup(t->id),
                .job = mem_strdup(table_slot_job(t->slot)),
                .node = mem_strdup(t->owner->config.node),
                .run = (int64_t) before->runs,
                .version = before->run_version,
                .started = before->started_wall,
                .core_dumped = event->core_dumped,
                .next = mem_strdup(after->reason),
                .out_from = stream_end(t, TASK_STDOUT),
                .errors_from = stream_end(t, TASK_STDERR) };

        tell_end(before, event, &d);
        tell_good(before, &d);
        if (d.core_dumped)
                tell_core(t, before, event->signal, &d);
        if (!put_pending(t->owner, &d))
                write_file(t->owner, &d);
        record_done(&dossier_table, &d);
}

void task_dossier_withdraw(const struct task *t)
{
        AUTO(mem_freep) char *directory = task_directory(t->owner, t->id);
        AUTO(mem_freep) char *path = dossier_path(directory, table_machine(t->slot)->runs);

        unlink(path);
}

/* ---- for those who ask */

static bool put_file(const char *path, bool first, struct buffer *out)
{
        AUTO(buffer_done) struct buffer text = { 0 };
        struct error ignored = ERROR_INIT;
        json_t *json;
        bool good;

        if (file_read(path, DOSSIER_BYTES, &text, &ignored) < 0)
                return false;
        json = json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES, NULL);
        good = json_is_object(json); /* and not what a broken disk has left of one */
        json_decref(json);
        if (good && !first)
                buffer_putc(out, ',');
        if (good)
                buffer_put(out, text.data, text.len);
        return good;
}

void dossiers_read(const char *directory, struct buffer *out)
{
        AUTO(files_done) struct files files = list_files(directory);
        bool first = true;

        buffer_putc(out, '[');
        for (size_t i = 0; i < files.len; i++)
                first &= !put_file(files.items[i].path, first, out);
        buffer_putc(out, ']');
}
