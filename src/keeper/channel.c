/* SPDX-License-Identifier: BSD-3-Clause */

/* Channels: packets to and from programs (protocol.h).
 *
 * There is no queue of packets. What is due is known from state that exists anyway: a cursor into
 * the deposits, one into the records, three flags, and a small ring of failures. channel_flush()
 * sends in that order until the socket is full and goes on when epoll says that there is room. So a
 * new agent is answered simply by setting the cursors back, and a slow one costs nothing.
 *
 * A channel is closed in two steps. When a send fails because the other side is gone, the channel
 * is only deaf: what that side said last (a deposit, an acknowledgement) is still to be read. It is
 * closed when a read finds the end, or when its program was reaped.
 *
 * The keeper trusts its agent not to be hostile, but nothing it says may harm the keeper: names are
 * checked, descriptors are counted and closed unless somebody took them, and only the agent and a
 * handover channel are obeyed at all. */
#include "keeper/keeper.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "keeper/deposits.h"
#include "keeper/heapless.h"

#define RETRY_USEC (20 * USEC_PER_MSEC)

/* Kept free of deposits, so that programs can be started and children be looked at. */
#define DESCRIPTORS_RESERVED 64

/* Descriptors that came with a message. One more than a deposit may have, to tell when there are
 * too many. */
struct bundle {
        int fds[KEEPER_FDS_MAX + 1];
        unsigned count;
        bool cut; /* there were more than the buffer, or our limit, had room for */
};

union control {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * (KEEPER_FDS_MAX + 1))];
};

void channel_init(struct channel *ch, enum channel_role role, uint64_t watch)
{
        ch->fd = -1;
        ch->role = role;
        ch->watch = watch;
}

int channel_resume(struct keeper *k, struct channel *ch)
{
        return keeper_watch(k, ch->fd, ch->watch, false, true);
}

int channel_open(struct keeper *k, struct channel *ch, int fd)
{
        enum channel_role role = ch->role;
        uint64_t watch = ch->watch;
        channel_close(ch);
        memset(ch, 0, offsetof(struct channel, failure)); /* the failures would touch 26 KB */
        channel_init(ch, role, watch);
        ch->fd = fd;
        int status = channel_resume(k, ch);
        if (status < 0)
                channel_close(ch);
        return status;
}

void channel_close(struct channel *ch)
{
        if (ch->fd >= 0)
                close(ch->fd); /* which also takes it out of the epoll set */
        ch->fd = -1;
        ch->retry_at = 0;
}

/* ---- to the other side ---- */

static int send_message(
        const struct channel *ch, const struct keeper_message *m, const int *fds, unsigned count)
{
        union control control = { 0 };
        struct iovec iov = { .iov_base = (void *) (uintptr_t) m, .iov_len = sizeof *m };
        struct msghdr header = { .msg_iov = &iov, .msg_iovlen = 1 };
        if (count > 0) {
                header.msg_control = control.bytes;
                header.msg_controllen = CMSG_SPACE(sizeof(int) * count);
                struct cmsghdr *c = CMSG_FIRSTHDR(&header);
                c->cmsg_level = SOL_SOCKET;
                c->cmsg_type = SCM_RIGHTS;
                c->cmsg_len = CMSG_LEN(sizeof(int) * count);
                memcpy(CMSG_DATA(c), fds, sizeof(int) * count);
        }
        return sendmsg(ch->fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* Sends one message. False: not now, or never; then there is no point in trying the next. */
static bool post(struct keeper *k, struct channel *ch, const struct keeper_message *m,
        const int *fds, unsigned count)
{
        int status = send_message(ch, m, fds, count);
        switch (status) {
        case 0:
                return true;
        case -EAGAIN:
                keeper_watch(k, ch->fd, ch->watch, true, false);
                ch->wants_out = true;
                return false;
        case -ETOOMANYREFS: /* too many descriptors are in flight, which epoll cannot wait for */
        case -ENOBUFS:
        case -ENOMEM:
                ch->retry_at = keeper_now() + RETRY_USEC;
                return false;
        default:
                ch->deaf = true;
                return false;
        }
}

static bool flush_failures(struct keeper *k, struct channel *ch)
{
        while (ch->failures > 0) {
                const struct failure *f = &ch->failure[ch->first_failure];
                struct keeper_message m = { .type = KEEPER_FAILED, .status = f->status };
                memcpy(m.name, f->name, sizeof m.name);
                if (!post(k, ch, &m, NULL, 0))
                        return false;
                ch->first_failure = (ch->first_failure + 1) % FAILURES_MAX;
                ch->failures--;
        }
        return true;
}

static bool flush_deposits(struct keeper *k, struct channel *ch)
{
        for (; ch->next_deposit < deposits_end(); ch->next_deposit++) {
                const struct deposit *d = deposits_at(ch->next_deposit);
                if (d == NULL)
                        continue;
                struct keeper_message m = { .type = KEEPER_DEPOSIT };
                memcpy(m.name, d->name, sizeof m.name);
                if (!post(k, ch, &m, d->fds, d->count))
                        return false;
        }
        return true;
}

static bool flush_records(struct keeper *k, struct channel *ch, uint64_t before)
{
        if (ch->next_record < k->first_record)
                ch->next_record = k->first_record;
        for (; ch->next_record < before; ch->next_record++) {
                const struct keeper_record *r = &k->record[ch->next_record % RECORDS_MAX];
                struct keeper_message m = { .type = KEEPER_RECORD, .seq = r->seq, .record = *r };
                if (!post(k, ch, &m, NULL, 0))
                        return false;
        }
        return true;
}

static bool flush_ready(struct keeper *k, struct channel *ch)
{
        struct keeper_message m = { .type = KEEPER_READY, .value = (uint64_t) getpid() };
        if (ch->ready_due && !post(k, ch, &m, NULL, 0))
                return false;
        ch->ready_due = false;
        return true;
}

static void flush_down(struct keeper *k, struct channel *ch)
{
        struct keeper_message m = { .type = KEEPER_DOWN };
        if (k->down_pending && !ch->down_sent && post(k, ch, &m, NULL, 0))
                ch->down_sent = true;
}

void channel_flush(struct keeper *k, struct channel *ch)
{
        if (ch->fd < 0 || ch->deaf || ch->wants_out)
                return;
        if (ch->retry_at != 0 && ch->retry_at > keeper_now())
                return;
        ch->retry_at = 0;
        if (!flush_failures(k, ch))
                return;
        if (ch->role == CHANNEL_HANDOVER)
                flush_ready(k, ch);
        /* deposits put while they are walked are no news to the agent, but also no harm; once the
         * walk is over there is none until the next HELLO */
        else if (ch->hello && (!ch->ready_due || flush_deposits(k, ch)) &&
                 flush_records(k, ch, ch->ready_due ? ch->ready_before : k->next_record) &&
                 flush_ready(k, ch) && flush_records(k, ch, k->next_record))
                flush_down(k, ch);
}

void channel_writable(struct keeper *k, struct channel *ch)
{
        if (ch->fd < 0 || !ch->wants_out)
                return;
        ch->wants_out = false;
        keeper_watch(k, ch->fd, ch->watch, false, false);
}

void channel_fail(struct channel *ch, int status, const char *name)
{
        if (ch->fd < 0)
                return;
        if (ch->failures == FAILURES_MAX) {
                keeper_log("cannot report that %s failed (%s): nothing is read", name,
                        strerror(status));
                return;
        }
        struct failure *f = &ch->failure[(ch->first_failure + ch->failures++) % FAILURES_MAX];
        f->status = status;
        size_t length = strnlen(name, sizeof f->name - 1);
        memcpy(f->name, name, length);
        f->name[length] = '\0';
}

/* ---- from the other side ---- */

static bool name_valid(const struct keeper_message *m)
{
        return m->name[0] != '\0' && memchr(m->name, '\0', sizeof m->name) != NULL;
}

static void obey_hello(struct keeper *k, struct channel *ch)
{
        ch->hello = true;
        ch->ready_due = true;
        ch->down_sent = false;
        ch->next_deposit = 0;
        ch->next_record = k->first_record;
        ch->ready_before = k->next_record;
}

static int put(const struct keeper *k, const struct keeper_message *m, struct bundle *b)
{
        if (b->cut || (rlim_t) deposits_descriptors() + b->count + DESCRIPTORS_RESERVED > k->nofile)
                return -EMFILE;
        if (b->count == 0 || b->count > KEEPER_FDS_MAX || !name_valid(m))
                return -EINVAL;
        int status = deposits_put(m->name, b->fds, b->count);
        if (status == 0)
                b->count = 0;
        return status;
}

static int adopt(struct keeper *k, const struct keeper_message *m, struct bundle *b)
{
        struct program *p = name_valid(m) ? program_by_name(k, m->name) : NULL;
        if (k->phase != KEEPER_HANDOVER || p == NULL || p->pid != 0 || b->count != 1 ||
                m->value == 0 || m->value > INT32_MAX)
                return -EINVAL;
        int status = program_adopt(k, p, (pid_t) m->value, b->fds[0]);
        if (status == 0)
                b->count = 0;
        return status;
}

static int upgrade(struct keeper *k, const struct keeper_message *m)
{
        if (m->name[0] != '\0' && (!name_valid(m) || m->name[0] != '/'))
                return -EINVAL;
        memcpy(k->upgrade_path, m->name, sizeof k->upgrade_path);
        k->upgrade_due = true;
        return 0;
}

static void go(struct keeper *k)
{
        if (k->phase != KEEPER_HANDOVER)
                return;
        k->phase = KEEPER_RUNNING;
        k->handover.ready_due = true;
        programs_start_all(k);
}

static void complain(struct channel *ch, uint32_t type)
{
        if (!ch->complained)
                keeper_log("ignoring message %u on a channel that is not for it", type);
        ch->complained = true;
}

static int obey_agent(struct keeper *k, struct channel *ch, const struct keeper_message *m)
{
        switch (m->type) {
        case KEEPER_HELLO:
                obey_hello(k, ch);
                return 0;
        case KEEPER_ACK:
                records_acknowledge(k, m->seq, ch->next_record);
                return 0;
        case KEEPER_END:
                keeper_stop(k, "the agent asked for it");
                return 0;
        case KEEPER_UPGRADE:
                return upgrade(k, m);
        default:
                complain(ch, m->type);
                return 0;
        }
}

static int obey_handover(
        struct keeper *k, struct channel *ch, const struct keeper_message *m, struct bundle *b)
{
        switch (m->type) {
        case KEEPER_ADOPT:
                return adopt(k, m, b);
        case KEEPER_GO:
                go(k);
                return 0;
        default:
                complain(ch, m->type);
                return 0;
        }
}

static int obey(
        struct keeper *k, struct channel *ch, const struct keeper_message *m, struct bundle *b)
{
        if (ch->role == CHANNEL_LIFELINE) {
                complain(ch, m->type);
                return 0;
        }
        switch (m->type) {
        case KEEPER_PUT:
                return put(k, m, b);
        case KEEPER_DROP:
                if (name_valid(m))
                        deposits_drop(m->name);
                return 0;
        default:
                return ch->role == CHANNEL_AGENT ? obey_agent(k, ch, m)
                                                 : obey_handover(k, ch, m, b);
        }
}

static void unpack_descriptors(struct msghdr *header, struct bundle *b)
{
        struct cmsghdr *c = CMSG_FIRSTHDR(header);
        if (c != NULL && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
                size_t bytes = c->cmsg_len - CMSG_LEN(0);
                if (bytes > sizeof b->fds) /* alignment gave the buffer room for one more */
                        close(((int *) (void *) CMSG_DATA(c))[KEEPER_FDS_MAX + 1]);
                bytes = bytes > sizeof b->fds ? sizeof b->fds : bytes;
                memcpy(b->fds, CMSG_DATA(c), bytes);
                b->count = (unsigned) (bytes / sizeof b->fds[0]);
        }
        b->cut = (header->msg_flags & MSG_CTRUNC) != 0;
}

/* Returns the length of the packet, 0 at the end, or -errno. */
static ssize_t receive_message(
        const struct channel *ch, struct keeper_message *ret, struct bundle *ret_bundle)
{
        union control control;
        struct iovec iov = { .iov_base = ret, .iov_len = sizeof *ret };
        struct msghdr header = { .msg_iov = &iov,
                .msg_iovlen = 1,
                .msg_control = control.bytes,
                .msg_controllen = sizeof control.bytes };
        memset(ret, 0, sizeof *ret);
        ret_bundle->count = 0;
        ret_bundle->cut = false;
        ssize_t length = recvmsg(ch->fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (length < 0)
                return -errno;
        unpack_descriptors(&header, ret_bundle);
        return length;
}

/* Closes what nobody took. */
static void bundle_done(const struct bundle *b)
{
        for (unsigned i = 0; i < b->count; i++)
                close(b->fds[i]);
}

void channel_receive(struct keeper *k, struct channel *ch, unsigned limit)
{
        for (; limit > 0 && ch->fd >= 0; limit--) {
                struct keeper_message m;
                struct bundle b;
                ssize_t length = receive_message(ch, &m, &b);
                if (length == -EAGAIN)
                        return;
                if (length == -ECONNRESET) /* said once, before the packets that still lie there */
                        continue;
                if (length <= 0) {
                        bundle_done(&b); /* of an empty packet, which looks like the end */
                        channel_close(ch);
                        if (ch->role == CHANNEL_HANDOVER)
                                go(k);
                        return;
                }
                int status = obey(k, ch, &m, &b);
                if (status < 0)
                        channel_fail(ch, -status, m.name);
                bundle_done(&b);
        }
}
