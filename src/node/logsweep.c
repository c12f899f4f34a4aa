/* SPDX-License-Identifier: BSD-3-Clause */
/* Log sweep: what became too old is removed, now and then, on the agent's loop.
 *
 * The agent knows the spec of a task only as long as it has the task. What the spec said of the
 * logs is therefore left in the task's folder when it is forgotten, in the file `keep`: a number of
 * seconds, counted from when that file was written. A folder without it was left by an earlier
 * version, or by an agent that was killed in that moment, and stays for a day from its last change.
 * If the task comes back nobody looks at the file. */
#include "node/logsweep.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
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
        static const char *const streams[] = { "stdout", "stderr" };
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

void logsweep_run(const char *directory, struct tasks *tasks, usec_t now_wall)
{
        DIR *dir = opendir(directory);

        if (dir == NULL)
                return;
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
        }
        closedir(dir);
}
