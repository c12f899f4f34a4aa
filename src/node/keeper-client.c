/* SPDX-License-Identifier: BSD-3-Clause */
/* Keeper client: reads packets from the keeper as the loop says, writes them directly. The keeper
 * never blocks on this channel, so we may: it always comes back to reading. Descriptors that arrive
 * are made close-on-exec by the kernel (MSG_CMSG_CLOEXEC). */
#include "node/keeper-client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"

struct keeper_client {
        int fd;
        uv_poll_t poll;
        const struct keeper_client_handlers *handlers;
        void *data;
        bool lost;
};

union control { /* aligned room for the descriptors of one packet */
        struct cmsghdr header;
        char room[CMSG_SPACE(KEEPER_FDS_MAX * sizeof(int))];
};

static void send_message(
        struct keeper_client *k, struct keeper_message *m, const int *fds, size_t fds_len)
{
        union control control = { 0 };
        struct iovec iov = { m, sizeof *m };
        struct msghdr packet = { .msg_iov = &iov, .msg_iovlen = 1 };

        if (k->lost)
                return;
        if (fds_len > 0) {
                packet.msg_control = &control;
                packet.msg_controllen = CMSG_SPACE(fds_len * sizeof(int));
                control.header.cmsg_level = SOL_SOCKET;
                control.header.cmsg_type = SCM_RIGHTS;
                control.header.cmsg_len = CMSG_LEN(fds_len * sizeof(int));
                memcpy(CMSG_DATA(&control.header), fds, fds_len * sizeof(int));
        }
        while (sendmsg(k->fd, &packet, MSG_NOSIGNAL) < 0) {
                struct pollfd wait = { .fd = k->fd, .events = POLLOUT };

                if (errno == EINTR)
                        continue;
                if (errno == EAGAIN && poll(&wait, 1, -1) >= 0)
                        continue;
                if (errno != EPIPE && errno != ECONNRESET)
                        log_error("message to the keeper: %s", strerror(errno));
                return; /* the loop will see the end of the channel */
        }
}

static size_t take_fds(struct msghdr *packet, int fds[KEEPER_FDS_MAX])
{
        size_t n = 0;

        for (struct cmsghdr *c = CMSG_FIRSTHDR(packet); c != NULL; c = CMSG_NXTHDR(packet, c)) {
                if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
                        continue;
                n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
                memcpy(fds, CMSG_DATA(c), n * sizeof(int));
        }
        return n;
}

static void dispatch(
        struct keeper_client *k, const struct keeper_message *m, const int *fds, size_t fds_len)
{
        switch ((enum keeper_message_type) m->type) {
        case KEEPER_DEPOSIT:
                k->handlers->on_deposit(k->data, m->name, fds, fds_len);
                return;
        case KEEPER_RECORD:
                k->handlers->on_record(k->data, &m->record);
                break;
        case KEEPER_READY:
                k->handlers->on_ready(k->data, (pid_t) m->value);
                break;
        case KEEPER_DOWN:
                k->handlers->on_down(k->data);
                break;
        case KEEPER_FAILED:
                k->handlers->on_failed(k->data, m->name, m->status);
                break;
        case KEEPER_HELLO:
        case KEEPER_ACK:
        case KEEPER_PUT:
        case KEEPER_DROP:
        case KEEPER_END:
        case KEEPER_UPGRADE:
        case KEEPER_ADOPT:
        case KEEPER_GO:
                log_warning(
                        "the keeper sent a message of type %u, which only an agent sends", m->type);
                break;
        }
        for (size_t i = 0; i < fds_len; i++)
                close(fds[i]);
}

static void lose(struct keeper_client *k)
{
        k->lost = true;
        uv_poll_stop(&k->poll);
        k->handlers->on_lost(k->data);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
        struct keeper_client *k = poll->data;

        (void) events;
        (void) status; /* an error shows again in recvmsg() */
        for (int turn = 0; turn < 64 && !k->lost;
                turn++) { /* the rest next turn: others wait too */
                struct keeper_message m = { 0 };
                struct iovec iov = { &m, sizeof m };
                union control control;
                struct msghdr packet = { .msg_iov = &iov,
                        .msg_iovlen = 1,
                        .msg_control = &control,
                        .msg_controllen = sizeof control };
                int fds[KEEPER_FDS_MAX];
                ssize_t n = recvmsg(k->fd, &packet, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno == EAGAIN)
                        return;
                if (n <= 0) {
                        lose(k);
                        return;
                }
                m.name[KEEPER_NAME_MAX - 1] = '\0';
                dispatch(k, &m, fds, take_fds(&packet, fds));
        }
}

int keeper_client_new(uv_loop_t *loop, const struct keeper_client_handlers *handlers, void *data,
        struct keeper_client **ret, struct error *err)
{
        const char *text = getenv(KEEPER_FD_VARIABLE);
        struct keeper_client *k;
        int64_t fd;
        int r;

        if (text == NULL || !text_parse_int(text, 3, 1 << 20, &fd) || fcntl((int) fd, F_GETFD) < 0)
                return error_set(err, ERR_INVALID,
                        "no keeper: this program is started by reeve-keeper (use `reeve up`)");
        k = mem_alloc(sizeof *k);
        k->fd = (int) fd;
        k->handlers = handlers;
        k->data = data;
        fcntl(k->fd, F_SETFD, FD_CLOEXEC);
        r = uv_poll_init(loop, &k->poll, k->fd);
        if (r < 0) {
                free(k);
                return error_sys(err, -r, "watch the channel to the keeper");
        }
        k->poll.data = k;
        uv_poll_start(&k->poll, UV_READABLE | UV_DISCONNECT, on_readable);
        send_message(k, &(struct keeper_message){ .type = KEEPER_HELLO, .value = KEEPER_PROTOCOL },
                NULL, 0);
        *ret = k;
        return 0;
}

static void on_closed(uv_handle_t *handle)
{
        struct keeper_client *k = handle->data;

        close(k->fd);
        free(k);
}

void keeper_client_free(struct keeper_client *k)
{
        if (k == NULL)
                return;
        k->lost = true;
        uv_close((uv_handle_t *) &k->poll, on_closed);
}

void keeper_client_ack(struct keeper_client *k, uint64_t seq)
{
        send_message(k, &(struct keeper_message){ .type = KEEPER_ACK, .seq = seq }, NULL, 0);
}

static void send_named(struct keeper_client *k, enum keeper_message_type type, const char *name,
        const int *fds, size_t fds_len)
{
        struct keeper_message m = { .type = type };

        if (name != NULL)
                strncpy(m.name, name, sizeof m.name - 1);
        send_message(k, &m, fds, fds_len);
}

void keeper_client_put(struct keeper_client *k, const char *name, const int *fds, size_t fds_len)
{
        send_named(k, KEEPER_PUT, name, fds, fds_len);
}

void keeper_client_drop(struct keeper_client *k, const char *name)
{
        send_named(k, KEEPER_DROP, name, NULL, 0);
}

void keeper_client_end(struct keeper_client *k)
{
        send_named(k, KEEPER_END, NULL, NULL, 0);
}

void keeper_client_upgrade(struct keeper_client *k, const char *path)
{
        send_named(k, KEEPER_UPGRADE, path, NULL, 0);
}
