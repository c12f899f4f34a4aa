/* SPDX-License-Identifier: BSD-3-Clause */
/* Log sweep: what became too old is removed, now and then, on the agent's loop.
 *
 * The agent knows the spec of a task only as long as it has the task. What the spec said of the
 * logs is therefore left in the task's folder when it is forgotten, in the file `keep`: a number of
 * seconds, counted from when that file was written. A folder without it was left by an earlier
 * version, or by an agent that was killed in that moment, and stays for a day from its last change.
 * If the task comes back nobody looks at the file.
 *
 * The limit of the node is kept by looking at all files, and by being told when to look again: not
 * before so much was written as there was room. Removed are only files that are complete: the
 * rotated ones, and those of tasks that are gone. So the logs can be more than the limit by what
 * the tasks write at present: two files of `logs.size` each. */
#include "node/logsweep.h"

#include <dirent.h>
#include <errno.h>
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
#include "node/logfile.h"

#define KEEP_UNTOLD USEC_DAY
#define KEEP_BYTES  32
#define KEEP_MODE   0640

/* Above the limit with nothing left to remove: look again after this part of it. */
#define LOOK_AGAIN_PART 16

static const char *const streams[] = { "stdout", "stderr" };

void logsweep_keep(const char *folder, usec_t keep)
{
        AUTO(mem_freep) char *path = mem_printf("%s/keep", folder);
        struct error err = ERROR_INIT;
        char text[KEEP_BYTES];
        int len = snprintf(text, sizeof text, "%" PRIu64 "\n", keep / USEC_SEC);

        if (access(folder, F_OK) < 0)
                return;
        if (file_replace(path, text, (size_t) len, KEEP_MODE, false, &err) < 0)
                log_warning("logs in %s stay for a day: %s", folder, err.message);
}

/* When the logs in @folder, of a task that is gone, become too old. */
static usec_t expires(const char *folder)
{
        AUTO(mem_freep) char *path = mem_printf("%s/keep", folder);
        AUTO(buffer_done) struct buffer text = { 0 };
        struct error ignored = ERROR_INIT;
        struct stat st;
        int64_t keep;

        if (stat(path, &st) == 0 && file_read(path, KEEP_BYTES, &text, &ignored) == 0 &&
                text.len > 0 && text.data[text.len - 1] == '\n') {
                text.data[text.len - 1] = '\0';
                if (text_parse_int(text.data, 0, INT64_MAX / (int64_t) USEC_SEC, &keep))
                        return ((usec_t) st.st_mtim.tv_sec + (usec_t) keep) * USEC_SEC;
        }
        if (stat(folder, &st) < 0)
                return USEC_NEVER;
        return (usec_t) st.st_mtim.tv_sec * USEC_SEC + KEEP_UNTOLD;
}

static void sweep_task(const char *folder, const struct task *t, usec_t now_wall)
{
        usec_t age = t->spec == NULL ? 0 : t->spec->job->logs.age;
        uint64_t bytes = 0;
        unsigned files = 0;

        if (age == 0 || age > now_wall)
                return;
        for (size_t i = 0; i < ARRAY_SIZE(streams); i++) {
                AUTO(mem_freep) char *path = mem_printf("%s/%s", folder, streams[i]);

                files += logfile_remove_older(path, now_wall - age, &bytes);
        }
        if (files > 0)
                log_debug("logs of task %s: %u files with %" PRIu64 " bytes were too old", t->id,
                        files, bytes);
}

/* ---- the limit of the node */

/* A file that may be removed. */
struct complete {
        char *path;
        uint64_t bytes;
        struct timespec written;
};

struct census {
        uint64_t bytes; /* of all files */
        struct complete *files;
        size_t len, room;
};

static void census_done(struct census *c)
{
        for (size_t i = 0; i < c->len; i++)
                free(c->files[i].path);
        free(c->files);
}

/* True for what holds a task's bytes and is written no more: "stdout.3", and "stdout" of a task
 * that is @gone. */
static bool is_complete(const char *name, bool gone)
{
        for (size_t i = 0; i < ARRAY_SIZE(streams); i++) {
                size_t len = strlen(streams[i]);
                int64_t number;

                if (strncmp(name, streams[i], len) != 0)
                        continue;
                if (name[len] == '\0')
                        return gone;
                return name[len] == '.' && text_parse_int(name + len + 1, 1, INT32_MAX, &number);
        }
        return false;
}

static void count_file(struct census *c, const char *folder, const char *name, bool gone)
{
        AUTO(mem_freep) char *path = mem_printf("%s/%s", folder, name);
        struct stat st;

        if (lstat(path, &st) < 0 || !S_ISREG(st.st_mode))
                return;
        c->bytes += (uint64_t) st.st_size;
        if (!is_complete(name, gone))
                return;
        if (c->len == c->room) {
                c->room = MAX((size_t) 64, 2 * c->room);
                c->files = mem_resize(c->files, c->room, sizeof *c->files);
        }
        c->files[c->len++] = (struct complete){
                .path = take_ptr(path), .bytes = (uint64_t) st.st_size, .written = st.st_mtim
        };
}

static void count_folder(struct census *c, const char *folder, bool gone)
{
        DIR *dir = opendir(folder);

        if (dir == NULL)
                return;
        for (const struct dirent *e; (e = readdir(dir)) != NULL;)
                count_file(c, folder, e->d_name, gone);
        closedir(dir);
}

static int compare_written(const void *a, const void *b)
{
        const struct timespec *x = &((const struct complete *) a)->written,
                              *y = &((const struct complete *) b)->written;

        if (x->tv_sec != y->tv_sec)
                return x->tv_sec < y->tv_sec ? -1 : 1;
        return x->tv_nsec < y->tv_nsec ? -1 : x->tv_nsec > y->tv_nsec;
}

/* Removes the oldest complete files until @max is kept, or none is left. */
static void cut(struct census *c, uint64_t max)
{
        uint64_t before = c->bytes;
        size_t i = 0;

        if (c->len > 1)
                qsort(c->files, c->len, sizeof *c->files, compare_written);
        for (; i < c->len && c->bytes > max; i++)
                if (unlink(c->files[i].path) == 0)
                        c->bytes -= c->files[i].bytes;
        if (i > 0)
                log_info("logs of this node: %zu old files with %" PRIu64
                         " bytes were removed (--logs-max)",
                        i, before - c->bytes);
}

static uint64_t keep_limit(struct census *c, uint64_t max)
{
        if (c->bytes > max)
                cut(c, max);
        return MAX(max - MIN(c->bytes, max), max / LOOK_AGAIN_PART);
}

/* ---- */

uint64_t logsweep_run(const char *directory, struct tasks *tasks, usec_t now_wall, uint64_t max)
{
        AUTO(census_done) struct census census = { 0 };
        DIR *dir = opendir(directory);

        if (dir == NULL)
                return max > 0 ? max : UINT64_MAX;
        for (const struct dirent *e; (e = readdir(dir)) != NULL;) {
                AUTO(mem_freep) char *folder = mem_printf("%s/%s", directory, e->d_name);
                const struct task *t = tasks_find(tasks, e->d_name);
                struct error err = ERROR_INIT;

                if (e->d_name[0] == '.')
                        continue;
                if (t != NULL)
                        sweep_task(folder, t, now_wall);
                else if (expires(folder) <= now_wall && file_remove_tree(folder, &err) < 0)
                        log_warning("old logs: %s", err.message);
                if (max > 0)
                        count_folder(&census, folder, t == NULL);
        }
        closedir(dir);
        return max > 0 ? keep_limit(&census, max) : UINT64_MAX;
}
