/* SPDX-License-Identifier: BSD-3-Clause */
/* What a task writes: two FIFOs, captured into log files.
 *
 * The keeper holds the FIFOs as well (deposit `task/ID`), so that what is in them outlives
 * everybody who could read it. A task that has ended needs none: they are closed everywhere and
 * opened again for its next run. */
#include "node/task-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "node/logforward.h"

/* Left for the link, log files that are begun anew, /proc, a new keeper. */
#define DESCRIPTORS_RESERVED 64

static const char *const stream_names[TASK_STREAMS] = { "stdout", "stderr" };

char *task_fifo_path(const struct task *t, enum task_stream stream)
{
        return mem_printf(
                "%s/fifos/%s.%s", t->owner->config.directory, t->id, stream_names[stream]);
}

void task_deposit_name(char name[KEEPER_NAME_MAX], const char *id)
{
        snprintf(name, KEEPER_NAME_MAX, "task/%s", id);
}

/* The lowest number that is free is the one that is given, so it tells what is left. */
static int check_spare(int fd, struct error *err)
{
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0 ||
                (rlim_t) fd + DESCRIPTORS_RESERVED < limit.rlim_cur)
                return 0;
        return error_set(err, ERR_SYSTEM,
                "too few descriptors are left of the %llu that this node's agent may have (ulimit "
                "-Hn)",
                (unsigned long long) limit.rlim_cur);
}

static int open_fifo(const char *path, struct error *err)
{
        int fd;

        if (mkfifo(path, 0600) < 0 && errno != EEXIST)
                return error_sys(err, errno, "make %s", path);
        /* read-write: there is always a writer, so never an end of file */
        fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
        return fd < 0 ? error_sys(err, errno, "open %s", path) : fd;
}

static enum capture_when_full when_full_of(const struct job_spec *spec)
{
        return spec->logs.when_full == LOGS_DROP ? CAPTURE_FULL_DROP : CAPTURE_FULL_BLOCK;
}

static int open_stream(struct task *t, enum task_stream stream, struct error *err)
{
        AUTO(mem_freep) char *directory = task_directory(t->owner, t->id);
        AUTO(mem_freep) char *path = task_fifo_path(t, stream);
        AUTO(fd_closep) int fifo = open_fifo(path, err);
        struct capture_stream_config config = {
                .directory = directory,
                .name = stream_names[stream],
                .fifo = fifo,
                .run = (uint32_t) table_machine(t->slot)->runs,
                .owner = t,
        };

        /* what runs already is read from whatever is left */
        if (fifo < 0 || (t->pid == 0 && check_spare(fifo, err) < 0))
                return -1;
        if (t->spec != NULL) {
                config.size = t->spec->job->logs.size;
                config.files = t->spec->job->logs.files;
                config.when_full = when_full_of(t->spec->job);
        }
        if (capture_stream_open(t->owner->config.capture, &config, &t->streams[stream], err) < 0)
                return -1;
        take_fd(fifo); /* the stream owns it now */
        return 0;
}

int task_open_streams(struct task *t, struct error *err)
{
        char name[KEEPER_NAME_MAX];
        int fds[TASK_STREAMS];

        for (int i = 0; i < TASK_STREAMS; i++) {
                if (t->streams[i] == NULL && open_stream(t, (enum task_stream) i, err) < 0)
                        return -1;
                fds[i] = capture_stream_get_fifo(t->streams[i]);
        }
        if (!t->deposited) {
                task_deposit_name(name, t->id);
                keeper_client_put(t->owner->config.keeper, name, fds, TASK_STREAMS);
                t->deposited = true;
        }
        return 0;
}

int task_check_spare(const struct task *t, struct error *err)
{
        AUTO(fd_closep)
        int fd = fcntl(capture_stream_get_fifo(t->streams[TASK_STDOUT]), F_DUPFD_CLOEXEC, 0);

        return fd < 0 ? error_sys(err, errno, "one more descriptor") : check_spare(fd, err);
}

void task_close_streams(struct task *t)
{
        char name[KEEPER_NAME_MAX];

        for (int i = 0; i < TASK_STREAMS; i++) {
                if (t->streams[i] == NULL)
                        continue;
                if (capture_stream_drain(t->streams[i], NULL) < 0)
                        return;
                capture_stream_close(take_ptr(t->streams[i]));
        }
        task_deposit_name(name, t->id);
        keeper_client_drop(t->owner->config.keeper, name);
        t->deposited = false;
}

static void forward(const struct task *t, enum task_stream stream, bool over)
{
        enum logs_forward to = t->spec == NULL ? LOGS_FORWARD_NONE : t->spec->job->logs.forward;

        if (to != LOGS_FORWARD_NONE)
                logforward_look(t->owner->config.forward, t->id, stream_names[stream],
                        to == LOGS_FORWARD_SYSLOG ? LOGFORWARD_SYSLOG : LOGFORWARD_JOURNAL, over);
}

void task_forward_grown(const struct task *t, enum task_stream stream)
{
        forward(t, stream, false);
}

void task_forward(const struct task *t, bool over)
{
        for (int i = 0; i < TASK_STREAMS; i++)
                forward(t, (enum task_stream) i, over);
}

void task_drain_streams(struct task *t)
{
        for (int i = 0; i < TASK_STREAMS; i++)
                if (t->streams[i] != NULL)
                        capture_stream_drain(
                                t->streams[i], NULL); /* what a full disk keeps back is tried on */
}

void task_configure_streams(struct task *t)
{
        const struct job_spec *spec = t->spec->job;

        for (int i = 0; i < TASK_STREAMS; i++)
                if (t->streams[i] != NULL)
                        capture_stream_set_config(t->streams[i], spec->logs.size, spec->logs.files,
                                when_full_of(spec));
}

void task_remove_fifos(struct task *t)
{
        for (int i = 0; i < TASK_STREAMS; i++) {
                AUTO(mem_freep) char *path = task_fifo_path(t, (enum task_stream) i);

                unlink(path);
        }
}
