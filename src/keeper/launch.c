/* SPDX-License-Identifier: BSD-3-Clause */
/* Launch: a new keeper in place of one that was killed.
 *
 * It is made by forking twice, so that it is the child of init (or of a sub-reaper) and not of a
 * program that it shall keep, in a session of its own. Over a socket pair it is told what the
 * caller holds: descriptors (KEEPER_PUT) and programs that live (KEEPER_ADOPT). Its answer means
 * that all of that is safe. The channel may also end without an answer: the keeper found the lock
 * of another one and left, or it could not be executed or died; who holds the lock tells which.
 *
 * GO is sent whatever became of the items: the keeper waits for it, and we for the keeper. */
#include "keeper/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGUMENTS_BYTES_MAX 16384
#define ARGUMENTS_SAVED_MAX 252
#define ARGUMENTS_MAX       (ARGUMENTS_SAVED_MAX + 3) /* with --handover-fd FD and NULL */
#define SHORTAGE_PAUSE_MSEC 10
#define SHORTAGE_PAUSES     500 /* in one handover */
#define LOCK_PAUSE_MSEC     10
#define LOCK_LOOKS          10

/* What load_arguments() would refuse must not be saved: that would be noticed too late. */
static bool arguments_fit(char *const *arguments)
{
        size_t bytes = 0, count = 0;

        for (; arguments[count] != NULL; count++)
                bytes += strlen(arguments[count]) + 1;
        return count <= ARGUMENTS_SAVED_MAX && bytes < ARGUMENTS_BYTES_MAX;
}

int keeper_save_arguments(const char *directory, char *const *arguments)
{
        char path[4096], temporary[4096];
        FILE *file;
        int r = 0;

        if (!arguments_fit(arguments))
                return -E2BIG;
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
        if (r < 0)
                unlink(temporary);
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
                if (n == ARGUMENTS_MAX - 1)
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

static struct rlimit nofile; /* rlim_max 0: as ours */

void keeper_launch_set_nofile(const struct rlimit *limit)
{
        nofile = *limit;
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
        if (nofile.rlim_max != 0)
                setrlimit(RLIMIT_NOFILE, &nofile);
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

/* The kernel limits how many descriptors of a user are on their way at once (ETOOMANYREFS), and may
 * be short of memory: both pass when the keeper has read some. @pauses: how often to wait for that.
 */
static int send_item(int channel, const struct keeper_handover *item, unsigned *pauses)
{
        union {
                struct cmsghdr header;
                char room[CMSG_SPACE(KEEPER_FDS_MAX * sizeof(int))];
        } control = { 0 };
        struct keeper_message m = { .type = item->type, .value = item->value };
        struct iovec iov = { &m, sizeof m };
        struct msghdr packet = { .msg_iov = &iov, .msg_iovlen = 1 };

        if (item->fds_len > KEEPER_FDS_MAX)
                return -EINVAL;
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
        while (sendmsg(channel, &packet, MSG_NOSIGNAL) < 0) {
                if (errno == EINTR)
                        continue;
                if ((errno != ETOOMANYREFS && errno != ENOBUFS && errno != ENOMEM) || *pauses == 0)
                        return -errno;
                --*pauses;
                poll(NULL, 0, SHORTAGE_PAUSE_MSEC);
        }
        return 0;
}

static void send_items(
        int channel, const struct keeper_handover *items, size_t len, char *text, size_t size)
{
        const struct keeper_handover go = { .type = KEEPER_GO };
        unsigned pauses = SHORTAGE_PAUSES;
        int r;

        for (size_t i = 0; i < len; i++) {
                r = send_item(channel, &items[i], &pauses);
                if (r == -EPIPE)
                        return; /* it is gone: await_ready() finds out why */
                if (r < 0)
                        snprintf(text, size, "the new keeper was not given \"%s\": %s",
                                items[i].name, strerror(-r));
        }
        if (send_item(channel, &go, &pauses) < 0)
                shutdown(channel, SHUT_WR); /* says the same */
}

/* The channel ended without READY. A keeper that dies lets go of its lock a little after its
 * channel, so one look is not enough. */
static enum keeper_launched launch_ended(const char *directory, char *text, size_t size)
{
        for (int i = 0; i < LOCK_LOOKS; i++) {
                if (keeper_lock_owner(directory, "keeper.lock") == 0) {
                        snprintf(text, size, "the new keeper for %s ended at once", directory);
                        return KEEPER_LAUNCH_FAILED;
                }
                poll(NULL, 0, LOCK_PAUSE_MSEC);
        }
        return KEEPER_LAUNCH_TAKEN;
}

static enum keeper_launched await_ready(int channel, const char *directory, char *text, size_t size)
{
        struct keeper_message m = { 0 };

        for (;;) {
                ssize_t n = recv(channel, &m, sizeof m, 0);

                if (n < 0 && (errno == EINTR || errno == ECONNRESET)) /* see protocol.h */
                        continue;
                if (n <= 0)
                        return launch_ended(directory, text, size);
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
        send_items(channel[0], items, len, text, size);
        result = await_ready(channel[0], directory, text, size);
        close(channel[0]);
        return result;
}

static int open_lock(const char *directory, const char *name, int flags)
{
        char path[4096];
        int fd;

        if (snprintf(path, sizeof path, "%s/%s", directory, name) >= (int) sizeof path)
                return -ENAMETOOLONG;
        fd = open(path, flags | O_CLOEXEC, 0600);
        return fd < 0 ? -errno : fd;
}

int64_t keeper_lock_owner(const char *directory, const char *name)
{
        char text[32] = "";
        int64_t pid = 0;
        int fd = open_lock(directory, name, O_RDONLY);

        if (fd < 0)
                return 0;
        if (flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK &&
                pread(fd, text, sizeof text - 1, 0) > 0)
                pid = strtoll(text, NULL, 10);
        close(fd);
        return pid;
}

/* Over what is there, and cut only then: a full disk has no block for a file that was emptied. */
static int sign_lock(int fd)
{
        char text[32];
        int len = snprintf(text, sizeof text, "%d\n", getpid());

        errno = ENOSPC; /* of a short write */
        if (pwrite(fd, text, (size_t) len, 0) != len || ftruncate(fd, len) < 0)
                return -errno;
        return 0;
}

int keeper_lock_take(const char *directory, const char *name, bool wait)
{
        int fd = open_lock(directory, name, O_RDWR | O_CREAT), r;

        if (fd < 0)
                return fd;
        while (flock(fd, LOCK_EX | (wait ? 0 : LOCK_NB)) < 0) {
                r = -errno;
                if (r == -EINTR)
                        continue;
                close(fd);
                return r;
        }
        r = sign_lock(fd);
        if (r < 0)
                close(fd);
        return r < 0 ? r : fd;
}

/* The socket by the number of its directory: the name of a socket may have only 107 bytes. */
static int witness_socket(
        const char *directory, struct sockaddr_un *ret_address, int *ret_directory)
{
        int fd;

        *ret_directory = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (*ret_directory < 0)
                return -errno;
        *ret_address = (struct sockaddr_un){ .sun_family = AF_UNIX };
        snprintf(ret_address->sun_path, sizeof ret_address->sun_path,
                "/proc/self/fd/%d/" WITNESS_SOCKET, *ret_directory);
        fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd >= 0)
                return fd;
        fd = -errno;
        close(*ret_directory);
        return fd;
}

int keeper_witness_listen(const char *directory)
{
        struct sockaddr_un address;
        int directory_fd, fd = witness_socket(directory, &address, &directory_fd), r = 0;

        if (fd < 0)
                return fd;
        unlinkat(directory_fd, WITNESS_SOCKET,
                0); /* we hold the server's lock: it is a dead one's */
        if (bind(fd, (struct sockaddr *) &address, sizeof address) < 0 ||
                fchmodat(directory_fd, WITNESS_SOCKET, 0600, 0) < 0 || listen(fd, 8) < 0) {
                r = -errno;
                close(fd);
        }
        close(directory_fd);
        return r < 0 ? r : fd;
}

int keeper_witness_connect(const char *directory)
{
        struct sockaddr_un address;
        int directory_fd, fd = witness_socket(directory, &address, &directory_fd), r = 0;
        int room = 1 << 20; /* for a thousand starts at once; the kernel gives what it allows */

        if (fd < 0)
                return fd;
        if (connect(fd, (struct sockaddr *) &address, sizeof address) < 0) {
                r = -errno;
                close(fd);
        } else if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room) < 0) {
                setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
        }
        close(directory_fd);
        return r < 0 ? r : fd;
}
