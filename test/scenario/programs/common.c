/* SPDX-License-Identifier: BSD-3-Clause */
/* Notes of the task programs; see common.h. */
#include "common.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

static const char *directory;

void fail(const char *what)
{
        perror(what);
        _exit(99);
}

const char *task(void)
{
        const char *id = getenv("REEVE_TASK");

        return id != NULL ? id : "none";
}

unsigned long run(void)
{
        const char *number = getenv("REEVE_RUN");

        return number != NULL ? strtoul(number, NULL, 10) : 0;
}

const char *note_path(const char *name)
{
        static char path[4096];

        snprintf(path, sizeof path, "%s/%s.%lu.%s", directory, task(), run(), name);
        return path;
}

__attribute__((format(printf, 2, 0))) static int write_note(
        const char *name, const char *format, va_list ap)
{
        int fd = open(note_path(name), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

        if (fd < 0 && errno == EEXIST)
                return -1;
        if (fd < 0 || vdprintf(fd, format, ap) < 0)
                fail(note_path(name));
        close(fd);
        return 0;
}

int note(const char *name, const char *format, ...)
{
        sigset_t all, before;
        va_list ap;
        int r;

        sigfillset(&all);
        sigprocmask(SIG_BLOCK, &all, &before); /* a note is whole or not there */
        va_start(ap, format);
        r = write_note(name, format, ap);
        va_end(ap);
        sigprocmask(SIG_SETMASK, &before, NULL);
        return r;
}

/* The lock is never let go of: it ends with the process. */
static void prove_alone(void)
{
        char path[4096], name[32];
        int fd;

        snprintf(path, sizeof path, "%s/%s.lock", directory, task());
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        if (fd < 0)
                fail(path);
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
                return;
        snprintf(name, sizeof name, "overlap.%d", getpid());
        note(name, "another process of this task lives\n");
}

void begin(const char *dir)
{
        char name[32];

        directory = dir;
        if (note("start", "%d\n", getpid()) < 0) {
                snprintf(name, sizeof name, "double.%d", getpid());
                note(name, "this run had begun before\n");
        }
        prove_alone();
}

uint64_t mix(const char *name, unsigned long number, uint64_t salt)
{
        uint64_t h = salt + 0x9e3779b97f4a7c15u;

        for (; *name != '\0'; name++)
                h = (h ^ (unsigned char) *name) * 0x100000001b3u;
        h ^= number * 0x9e3779b97f4a7c15u;
        h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9u;
        h = (h ^ (h >> 27)) * 0x94d049bb133111ebu;
        return h ^ (h >> 31);
}

void sleep_usec(uint64_t usec)
{
        struct timespec ts = { .tv_sec = (time_t) (usec / 1000000),
                .tv_nsec = (long) (usec % 1000000) * 1000 };

        nanosleep(&ts, NULL);
}
