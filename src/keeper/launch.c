/* SPDX-License-Identifier: BSD-3-Clause */
/* Launch: a new keeper in place of one that was killed.
 *
 * It is made by forking twice, so that it is the child of init (or of a sub-reaper) and not of a
 * program that it shall keep, in a session of its own. Over a socket pair it is told what the
 * caller holds: descriptors (KEEPER_PUT) and programs that live (KEEPER_ADOPT). Its answer means
 * that all of that is safe; the end of the channel without an answer means that it found the lock
 * of another keeper and left. */
#include "keeper/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGUMENTS_BYTES_MAX 16384
#define ARGUMENTS_MAX       256

int keeper_save_arguments(const char *directory, char *const *arguments)
{
        char path[4096], temporary[4096];
        FILE *file;
        int r = 0;

        snprintf(path, sizeof path, "%s/" KEEPER_ARGUMENTS_FILE, directory);
        if (snprintf(temporary, sizeof temporary, "%s.new", path) >= (int) sizeof temporary)
                return -ENAMETOOLONG;
        file = fopen(temporary, "we");
        if (file == NULL)
                return -errno;
        for (; *arguments != NULL && r == 0; arguments++)
                if (fwrite(*arguments, strlen(*arguments) + 1, 1, file) != 1)
                        r = -EIO;
        if (fclose(file) != 0)
                r = -errno;
        if (r == 0 && rename(temporary, path) < 0)
                r = -errno;
        return r;
}

/* Reads the saved arguments into @room and points @arguments at them, with --handover-fd FD behind
 * the program. */
static int load_arguments(const char *directory, char *fd_text, char room[ARGUMENTS_BYTES_MAX],
        char *arguments[ARGUMENTS_MAX])
{
        static char option[] = "--handover-fd";
        char path[4096];
        size_t len, n = 0;
        FILE *file;

        snprintf(path, sizeof path, "%s/" KEEPER_ARGUMENTS_FILE, directory);
        file = fopen(path, "re");
        if (file == NULL)
                return -errno;
        len = fread(room, 1, ARGUMENTS_BYTES_MAX, file);
        fclose(file);
        if (len == 0 || len == ARGUMENTS_BYTES_MAX || room[len - 1] != '\0')
                return -EINVAL;
        for (size_t at = 0; at < len; at += strlen(room + at) + 1) {
                if (n + 4 > ARGUMENTS_MAX)
                        return -E2BIG;
                arguments[n++] = room + at;
                if (n == 1) {
                        arguments[n++] = option;
                        arguments[n++] = fd_text;
                }
        }
        arguments[n] = NULL;
        return 0;
}

/* In the first child: makes the second one and ends. */
static _Noreturn void become_keeper(char **arguments, int channel)
{
        sigset_t none;
        pid_t pid;

        setsid();
        pid = fork();
        if (pid != 0)
                _exit(pid < 0 ? 1 : 0);
        fcntl(channel, F_SETFD, 0); /* kept over exec */
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        execv(arguments[0], arguments);
        _exit(127);
}

static int start_keeper(char **arguments, int channel)
{
        int status;
        pid_t pid = fork();

        if (pid < 0)
                return -errno;
        if (pid == 0)
                become_keeper(arguments, channel);
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return errno == ECHILD ? 0 : -errno; /* somebody reaps for us */
        return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EAGAIN;
}

static int send_item(int channel, const struct keeper_handover *item)
{
        union {
                struct cmsghdr header;
                char room[CMSG_SPACE(KEEPER_FDS_MAX * sizeof(int))];
        } control = { 0 };
        struct keeper_message m = { .type = item->type, .value = item->value };
        struct iovec iov = { &m, sizeof m };
        struct msghdr packet = { .msg_iov = &iov, .msg_iovlen = 1 };

        if (item->name != NULL)
                strncpy(m.name, item->name, sizeof m.name - 1);
        if (item->fds_len > 0) {
                packet.msg_control = &control;
                packet.msg_controllen = CMSG_SPACE(item->fds_len * sizeof(int));
                control.header.cmsg_level = SOL_SOCKET;
                control.header.cmsg_type = SCM_RIGHTS;
                control.header.cmsg_len = CMSG_LEN(item->fds_len * sizeof(int));
                memcpy(CMSG_DATA(&control.header), item->fds, item->fds_len * sizeof(int));
        }
        while (sendmsg(channel, &packet, MSG_NOSIGNAL) < 0)
                if (errno != EINTR)
                        return -errno;
        return 0;
}

/* Waits for READY; the end of the channel is KEEPER_LAUNCH_TAKEN. */
static enum keeper_launched await_ready(int channel, char *text, size_t size)
{
        struct keeper_message m = { 0 };

        for (;;) {
                ssize_t n = recv(channel, &m, sizeof m, 0);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return KEEPER_LAUNCH_TAKEN;
                if (m.type == KEEPER_READY)
                        return KEEPER_LAUNCHED;
                if (m.type == KEEPER_FAILED)
                        snprintf(text, size, "the new keeper cannot hold \"%.*s\": %s",
                                KEEPER_NAME_MAX - 1, m.name, strerror(m.status));
        }
}

enum keeper_launched keeper_launch(const char *directory, const struct keeper_handover *items,
        size_t len, char *text, size_t size)
{
        static char room[ARGUMENTS_BYTES_MAX];
        struct keeper_handover go = { .type = KEEPER_GO };
        enum keeper_launched result;
        char *arguments[ARGUMENTS_MAX], fd_text[16];
        int channel[2], r;

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel) < 0) {
                snprintf(text, size, "channel to a new keeper: %s", strerror(errno));
                return KEEPER_LAUNCH_FAILED;
        }
        snprintf(fd_text, sizeof fd_text, "%d", channel[1]);
        r = load_arguments(directory, fd_text, room, arguments);
        if (r == 0)
                r = start_keeper(arguments, channel[1]);
        close(channel[1]);
        if (r < 0) {
                close(channel[0]);
                snprintf(text, size, "start a new keeper for %s: %s", directory, strerror(-r));
                return KEEPER_LAUNCH_FAILED;
        }
        for (size_t i = 0; i < len && r == 0; i++)
                r = send_item(channel[0], &items[i]);
        if (r == 0)
                r = send_item(channel[0], &go);
        result = await_ready(channel[0], text, size);
        close(channel[0]);
        return result;
}

static int open_lock(const char *directory, const char *name)
{
        char path[4096];
        int fd;

        snprintf(path, sizeof path, "%s/%s", directory, name);
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        return fd < 0 ? -errno : fd;
}

int64_t keeper_lock_owner(const char *directory, const char *name)
{
        char text[32] = "";
        int64_t pid = 0;
        int fd = open_lock(directory, name);

        if (fd < 0)
                return 0;
        if (flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK &&
                pread(fd, text, sizeof text - 1, 0) > 0)
                pid = strtoll(text, NULL, 10);
        close(fd);
        return pid;
}

int keeper_lock_take(const char *directory, const char *name, int wait)
{
        char text[32];
        int fd = open_lock(directory, name), len;

        if (fd < 0)
                return fd;
        while (flock(fd, LOCK_EX | (wait ? 0 : LOCK_NB)) < 0) {
                int e = errno;

                if (e == EINTR)
                        continue;
                close(fd);
                return -e;
        }
        len = snprintf(text, sizeof text, "%d\n", getpid());
        if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t) len, 0) != len) {
                int e = errno;

                close(fd);
                return -e;
        }
        return fd;
}
