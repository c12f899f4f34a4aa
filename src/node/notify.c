/* SPDX-License-Identifier: BSD-3-Clause */
/* Notify: what a program says of itself, as sd_notify(3) has it.
 *
 * A socket belongs to one run: what a process of an earlier run says late reaches nobody, and who a
 * message is from need not be found out. It is a datagram socket, so that a message is whole or not
 * there. What was sent while no agent lived waits in the socket, which the keeper holds; the next
 * agent reads it before it judges anything by the clock.
 *
 * The socket is a file that only the task's user may write to. Where its path does not fit into an
 * address (107 bytes) an abstract name takes its place, to which everybody may send: so the
 * sender's user is looked at in any case. systemd-notify(1) and whatever waits with BARRIER=1 are
 * answered by closing the descriptor that came with it, which happens to all that is not stored.
 *
 * The loop reads a few messages a turn: a program that never stops talking keeps nobody else from
 * being heard. */
#include "node/notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"

#define MESSAGE_MAX 4096
#define TURN_MAX    32 /* messages; then the loop looks after everybody else */

struct notify {
        int fd;
        uid_t owner;
        uv_poll_t poll;
        void (*handle)(void *data, const struct notify_message *message);
        void *data;
        bool *freed; /* set when it is freed while it reads */
};

/* ---- The socket */

static int set_address(const char *path, struct sockaddr_un *ret, socklen_t *ret_len)
{
        size_t len = strlen(path);

        *ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
        if (len < sizeof ret->sun_path) {
                memcpy(ret->sun_path, path, len + 1);
                *ret_len = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + len + 1);
                return 0;
        }
        /* the end of a path tells more runs apart than its beginning */
        snprintf(ret->sun_path + 1, sizeof ret->sun_path - 1, "reeve-notify%s",
                path + len - (sizeof ret->sun_path - 16));
        *ret_len = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + 1 +
                                strlen(ret->sun_path + 1));
        return 1;
}

int notify_bind(const char *path, uid_t owner, char **ret_address, struct error *err)
{
        AUTO(fd_closep) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        struct sockaddr_un address;
        socklen_t len;
        bool abstract = set_address(path, &address, &len) != 0;
        int on = 1;

        if (fd < 0)
                return error_sys(err, errno, "make a socket");
        if (!abstract)
                unlink(path); /* of a start that was not finished */
        if (bind(fd, (struct sockaddr *) &address, len) < 0)
                return error_sys(err, errno, "make the socket %s", path);
        if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0)
                return error_sys(err, errno, "prepare the socket %s", path);
        if (!abstract && (chmod(path, 0600) < 0 ||
                                 (owner != geteuid() && chown(path, owner, (gid_t) -1) < 0)))
                return error_sys(err, errno, "owner of the socket %s", path);
        *ret_address = abstract ? mem_printf("@%s", address.sun_path + 1) : mem_strdup(path);
        return take_fd(fd);
}

/* ---- Messages */

static usec_t parse_usec(const char *value)
{
        int64_t number;

        return text_parse_int(value, 1, INT64_MAX / 4, &number) ? (usec_t) number : 0;
}

/* What sd_pid_notify_with_fds(3) asks of a name: short, printable, without a colon. */
static const char *check_name(const char *value)
{
        size_t len = strlen(value);

        if (len == 0 || len >= NOTIFY_NAME_MAX)
                return NULL;
        for (const char *p = value; *p != '\0'; p++)
                if ((unsigned char) *p <= ' ' || (unsigned char) *p >= 0x7f || *p == ':' ||
                        *p == '/')
                        return NULL;
        return value;
}

static void parse_watchdog(const char *value, struct task_notice *n)
{
        n->alive |= strcmp(value, "1") == 0;
        n->hung |= strcmp(value, "trigger") == 0;
}

static void parse_line(char *line, struct notify_message *ret)
{
        struct task_notice *n = &ret->notice;
        char *value = strchr(line, '=');
        int64_t number;

        if (value == NULL)
                return;
        *value++ = '\0';
        if (strcmp(line, "READY") == 0)
                n->ready |= strcmp(value, "1") == 0;
        else if (strcmp(line, "STOPPING") == 0)
                n->stopping |= strcmp(value, "1") == 0;
        else if (strcmp(line, "STATUS") == 0)
                n->status = value;
        else if (strcmp(line, "WATCHDOG") == 0)
                parse_watchdog(value, n);
        else if (strcmp(line, "WATCHDOG_USEC") == 0)
                n->watchdog = parse_usec(value);
        else if (strcmp(line, "EXTEND_TIMEOUT_USEC") == 0)
                n->extend = parse_usec(value);
        else if (strcmp(line, "MAINPID") == 0)
                ret->main_pid = text_parse_int(value, 1, INT32_MAX, &number) ? (pid_t) number : 0;
        else if (strcmp(line, "FDSTORE") == 0)
                ret->store |= strcmp(value, "1") == 0;
        else if (strcmp(line, "FDSTOREREMOVE") == 0)
                ret->unstore |= strcmp(value, "1") == 0;
        else if (strcmp(line, "FDNAME") == 0)
                ret->name = check_name(value);
}

void notify_parse(char *text, struct notify_message *ret)
{
        char *rest = text, *line;

        while ((line = strsep(&rest, "\n")) != NULL)
                parse_line(line, ret);
}

/* Descriptors and sender of a message. */
static void read_control(
        struct msghdr *packet, int fds[NOTIFY_FDS_MAX], size_t *ret_len, struct ucred *ret_sender)
{
        for (struct cmsghdr *c = CMSG_FIRSTHDR(packet); c != NULL; c = CMSG_NXTHDR(packet, c)) {
                if (c->cmsg_level != SOL_SOCKET)
                        continue;
                if (c->cmsg_type == SCM_CREDENTIALS)
                        memcpy(ret_sender, CMSG_DATA(c), sizeof *ret_sender);
                if (c->cmsg_type == SCM_RIGHTS) {
                        *ret_len = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
                        memcpy(fds, CMSG_DATA(c), *ret_len * sizeof(int));
                }
        }
}

static bool may_send(const struct notify *n, const struct ucred *sender)
{
        return sender->pid > 0 &&
               (sender->uid == 0 || sender->uid == n->owner || sender->uid == geteuid());
}

/* One message. Returns false if there is none. */
static bool receive(struct notify *n)
{
        char text[MESSAGE_MAX + 1];
        union {
                struct cmsghdr header;
                char room[CMSG_SPACE(NOTIFY_FDS_MAX * sizeof(int)) +
                          CMSG_SPACE(sizeof(struct ucred))];
        } control;
        struct iovec iov = { text, MESSAGE_MAX };
        struct msghdr packet = { .msg_iov = &iov,
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = sizeof control };
        struct ucred sender = { 0 };
        int fds[NOTIFY_FDS_MAX];
        struct notify_message message = { .fds = fds };
        ssize_t len;

        do
                len = recvmsg(n->fd, &packet, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        while (len < 0 && errno == EINTR);
        if (len < 0)
                return false;
        read_control(&packet, fds, &message.fds_len, &sender);
        text[len] = '\0';
        if (may_send(n, &sender) && (packet.msg_flags & MSG_TRUNC) == 0) {
                notify_parse(text, &message);
                n->handle(n->data, &message);
        }
        for (size_t i = 0; i < message.fds_len; i++)
                fd_closep(&fds[i]);
        return true;
}

/* Returns false if it is no more. */
static bool receive_some(struct notify *n, int most)
{
        bool freed = false;

        n->freed = &freed;
        for (int i = 0; i < most && receive(n); i++)
                if (freed)
                        return false;
        n->freed = NULL;
        return true;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
        (void) status;
        (void) events;
        receive_some(poll->data, TURN_MAX);
}

bool notify_drain(struct notify *n)
{
        return receive_some(n, 1024); /* the kernel lets no more wait (net.unix.max_dgram_qlen) */
}

struct notify *notify_new(uv_loop_t *loop, int fd, uid_t owner,
        void (*handle)(void *data, const struct notify_message *message), void *data)
{
        struct notify *n = mem_alloc(sizeof *n);

        *n = (struct notify){ .fd = fd, .owner = owner, .handle = handle, .data = data };
        uv_poll_init(loop, &n->poll, fd);
        n->poll.data = n;
        uv_poll_start(&n->poll, UV_READABLE, on_readable);
        return n;
}

int notify_get_fd(const struct notify *n)
{
        return n->fd;
}

static void on_closed(uv_handle_t *handle)
{
        free(handle->data);
}

void notify_free(struct notify *n)
{
        if (n == NULL)
                return;
        if (n->freed != NULL)
                *n->freed = true;
        uv_poll_stop(&n->poll);
        uv_close((uv_handle_t *) &n->poll, on_closed);
        close(take_fd(n->fd));
}
