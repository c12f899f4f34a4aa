/* SPDX-License-Identifier: BSD-3-Clause */
/* Connections: the one layer between sockets and protocols, the same for servers and clients.
 *
 * Who owns what. A conn owns its descriptor, its poll handle, the blocks in its queue and the input
 * that its owner has not taken yet (at most one read of the hub's buffer). The owner (an HTTP
 * connection, a call, a WebSocket) holds the only outside pointer. When that is given up, the
 * descriptor and the poll handle are closed at once, and the memory goes when the loop has closed
 * the handle: no frame of ours can be on the stack then.
 *
 * Input. One read per readiness, into the hub's buffer, straight to the owner. Nothing is read
 * while the owner does not want it or while more than CONN_READ_MARK is queued for the peer. This
 * one rule bounds pipelining, echoes and slow readers.
 *
 * Output. A list of counted blocks, written once per turn (net/hub's jobs) with as few calls as it
 * takes; small pieces are gathered in the last block as long as nobody shares it.
 *
 * Interest. Asking the kernel for other events costs two system calls, so interest in reading is
 * kept when it goes out of use and only withdrawn when an unwanted event does come: a request that
 * is answered in the same turn changes nothing. Unwanted reading is replaced by interest in the
 * peer's end (EPOLLRDHUP), and that, as it stays, by none once it was reported.
 *
 * The end. conn_finish() writes what is queued, says so to the peer (FIN) and then reads and drops
 * what still comes until the peer ends too or LINGER passes: closing with unread input would make
 * the kernel send a reset, and that takes the answer away from the peer that was about to read it.
 * The same on the other side: when a client's writing fails, what the server has said before is
 * still read.
 *
 * TLS. transport_read() and transport_write() are the only places where bytes cross; below them a
 * connection is plain or has a struct tls. Its beginning is a state of its own (CONN_SECURING), in
 * which the owner may queue output and hears nothing. What TLS has received and not yet handed out
 * is unknown to the kernel's poll; conn_service() asks for it. */
#include "net/conn.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/macros.h"
#include "base/mem.h"
#include "net/conn-internal.h"

#define LINGER        (2 * USEC_SEC)
#define LINGER_BYTES  ((size_t) 64 * 1024 * 1024)
#define STALL_DEFAULT (60 * USEC_SEC)
#define BLOCK_SIZE    ((size_t) 4096 - sizeof(struct block))
#define SHARE_FROM    ((size_t) 2048) /* less is copied: what follows would need a new block */
#define IOV_COUNT     64

static_assert(HUB_READ_SIZE >= TLS_RECORD_MAX, "records are put together in the read buffer");

static void conn_touch(struct conn *c);
static void conn_on_stall(struct hub_deadline *d);
static void conn_on_deadline(struct hub_deadline *d);

/* Transport */

static ssize_t socket_read(struct conn *c, char *to, size_t len)
{
        ssize_t n;

        do
                n = recv(c->fd, to, len, 0);
        while (n < 0 && errno == EINTR);
        return n;
}

static ssize_t transport_read(struct conn *c, char *to, size_t len)
{
        return c->tls != NULL ? tls_read(c->tls, to, len) : socket_read(c, to, len);
}

/* Runs at the end of a turn, when nobody uses the read buffer. */
static ssize_t transport_write(struct conn *c, struct iovec *iov, size_t count)
{
        struct msghdr msg = { .msg_iov = iov, .msg_iovlen = count };
        ssize_t n;

        if (c->tls != NULL)
                return tls_write(c->tls, iov, count, hub_read_buffer(c->hub));
        do
                n = sendmsg(c->fd, &msg, MSG_NOSIGNAL);
        while (n < 0 && errno == EINTR);
        return n;
}

/* The end of a connection */

static void conn_drop_queue(struct conn *c)
{
        struct conn_piece *p;

        while ((p = c->first) != NULL) {
                c->first = p->next;
                block_unref(p->block);
                free(p);
        }
        c->last = NULL;
        c->queued = 0;
        c->stalled = false;
        hub_set_deadline(c->hub, &c->stall, USEC_NEVER, conn_on_stall);
}

static void conn_free(struct conn *c)
{
        struct hub *hub = c->hub;

        buffer_done(&c->stash);
        free(c);
        hub_unref(hub);
}

static void on_poll_closed(uv_handle_t *handle)
{
        conn_free(handle->data);
}

static void on_free_job(struct hub_job *job)
{
        conn_free(container_of(job, struct conn, job));
}

void conn_close(struct conn *c)
{
        if (c == NULL || c->state == CONN_CLOSED)
                return;

        c->state = CONN_CLOSED;
        c->handlers = NULL;
        hub_job_cancel(c->hub, &c->job);
        conn_drop_queue(c);
        hub_set_deadline(c->hub, &c->deadline, USEC_NEVER, conn_on_deadline);
        conn_stop_connecting(c);
        tls_free(take_ptr(c->tls));
        if (c->polled)
                uv_close((uv_handle_t *) &c->poll, on_poll_closed);
        if (c->fd >= 0)
                close(take_fd(c->fd));
        if (!c->polled)
                hub_defer(c->hub, &c->job, on_free_job);
}

void conn_break(struct conn *c, const struct error *err)
{
        const struct conn_handlers *handlers = c->handlers;
        void *data = c->data;

        conn_close(c);
        if (handlers != NULL)
                handlers->on_broken(data, err);
}

static void conn_break_errno(struct conn *c, int sys_errno)
{
        struct error err;

        if (c->tls != NULL && c->tls->failure != NULL) {
                err = *c->tls->failure;
                conn_break(c, &err);
                return;
        }
        error_sys(&err, sys_errno, "connection");
        if (err.code == ERR_SYSTEM)
                err.code = ERR_UNAVAILABLE;
        conn_break(c, &err);
}

void conn_finish(struct conn *c)
{
        if (c == NULL || c->state == CONN_CLOSED)
                return;
        if (c->state != CONN_OPEN) {
                conn_close(c);
                return;
        }
        c->state = CONN_FINISHING;
        c->handlers = NULL;
        buffer_done(&c->stash);
        hub_set_deadline(c->hub, &c->deadline, USEC_NEVER, conn_on_deadline);
        conn_touch(c);
}

static void conn_linger(struct conn *c)
{
        if (c->tls != NULL && tls_shutdown(c->tls) < 0) {
                c->stalled = true;
                if (!c->stall.set)
                        hub_set_deadline(c->hub, &c->stall, hub_deadline_after(c->stall_timeout),
                                conn_on_stall);
                return;
        }
        c->stalled = false;
        hub_set_deadline(c->hub, &c->stall, USEC_NEVER, conn_on_stall);
        if (c->eof || c->fd < 0 || shutdown(c->fd, SHUT_WR) < 0) {
                conn_close(c);
                return;
        }
        c->state = CONN_LINGERING;
        hub_set_deadline(c->hub, &c->deadline, hub_deadline_after(LINGER), conn_on_deadline);
}

/* Reads and drops one buffer; what is in it, under TLS, does not matter. */
static void conn_discard(struct conn *c)
{
        ssize_t n = socket_read(c, hub_read_buffer(c->hub), HUB_READ_SIZE);

        if (n < 0 && errno == EAGAIN)
                return;
        if (n > 0)
                c->discarded += (size_t) n;
        if (n <= 0 || c->discarded > LINGER_BYTES)
                conn_close(c);
}

/* Input */

static size_t conn_stashed(const struct conn *c)
{
        return c->stash.len - c->stash_taken;
}

bool conn_wants_input(const struct conn *c)
{
        return c->state == CONN_OPEN && c->reading && c->queued <= CONN_READ_MARK;
}

/* There may be input that the kernel's poll does not know of, and the owner wants it. */
static bool conn_has_more(const struct conn *c)
{
        return c->tls != NULL && c->tls->more && conn_wants_input(c) && conn_stashed(c) == 0 &&
               !c->eof;
}

/* Shows the owner what it left; one look per turn, so that one peer cannot keep the loop. */
static void conn_deliver_stash(struct conn *c)
{
        size_t len = conn_stashed(c), taken;

        taken = c->handlers->on_input(c->data, c->stash.data + c->stash_taken, len);
        assert(taken <= len);
        if (c->state != CONN_OPEN)
                return;
        c->stash_taken += taken;
        if (taken == len) {
                buffer_done(&c->stash);
                c->stash_taken = 0;
        }
        conn_touch(c);
}

static void conn_deliver(struct conn *c, const char *bytes, size_t len)
{
        size_t taken = c->handlers->on_input(c->data, bytes, len);

        assert(taken <= len);
        if (c->state != CONN_OPEN || taken == len)
                return;
        buffer_put(&c->stash, bytes + taken, len - taken);
        conn_touch(c);
}

static void conn_read(struct conn *c)
{
        char *to = hub_read_buffer(c->hub);
        ssize_t n = transport_read(c, to, HUB_READ_SIZE);

        if (n > 0) {
                conn_deliver(c, to, (size_t) n);
        } else if (n == 0) {
                c->eof = true;
                conn_touch(c);
                c->handlers->on_eof(c->data);
        } else if (errno != EAGAIN) {
                conn_break_errno(c, errno);
        }
        if (c->tls != NULL && (c->tls->more || c->tls->read_wants_write))
                conn_touch(c);
}

/* Output */

static struct conn_piece *conn_add_piece(struct conn *c, struct block *block)
{
        struct conn_piece *p = mem_alloc(sizeof *p);

        p->block = block;
        if (c->last == NULL)
                c->first = p;
        else
                c->last->next = p;
        c->last = p;
        return p;
}

static void conn_count_queued(struct conn *c, size_t more)
{
        c->queued += more;
        if (c->queued > CONN_DRAIN_MARK)
                c->above_mark = true;
        conn_touch(c);
}

/* Puts what fits behind the last piece. Returns how much that was. */
static size_t conn_append(struct conn *c, const char *data, size_t len)
{
        struct conn_piece *p = c->last;
        size_t room;

        if (p == NULL || p->block->refs > 1 || p->end != p->block->len)
                return 0;
        room = MIN(len, p->block->size - p->block->len);
        memcpy(p->block->data + p->block->len, data, room);
        p->block->len += room;
        p->end += room;
        return room;
}

static bool conn_takes_output(const struct conn *c)
{
        return (c->state == CONN_OPEN || c->state == CONN_CONNECTING ||
                       c->state == CONN_SECURING) &&
               !c->write_failed;
}

void conn_send(struct conn *c, const void *data, size_t len)
{
        const char *from = data;
        size_t done;

        if (len == 0 || !conn_takes_output(c))
                return;
        done = conn_append(c, from, len);
        if (done < len) {
                struct block *b = block_new(MAX(len - done, BLOCK_SIZE));

                memcpy(b->data, from + done, len - done);
                b->len = len - done;
                conn_add_piece(c, b)->end = b->len;
        }
        conn_count_queued(c, len);
}

void conn_send_block(struct conn *c, struct block *block)
{
        if (block->len < SHARE_FROM) {
                conn_send(c, block->data, block->len);
                return;
        }
        if (!conn_takes_output(c))
                return;
        conn_add_piece(c, block_ref(block))->end = block->len;
        conn_count_queued(c, block->len);
}

static void conn_queue_sent(struct conn *c, size_t n)
{
        struct conn_piece *p;

        c->queued -= n;
        while ((p = c->first) != NULL && n >= p->end - p->begin) {
                n -= p->end - p->begin;
                c->first = p->next;
                if (c->first == NULL)
                        c->last = NULL;
                block_unref(p->block);
                free(p);
        }
        if (n > 0)
                p->begin += n;
}

static size_t conn_gather(const struct conn *c, struct iovec iov[IOV_COUNT])
{
        size_t n = 0;

        for (struct conn_piece *p = c->first; p != NULL && n < IOV_COUNT; p = p->next)
                iov[n++] = (struct iovec){ .iov_base = p->block->data + p->begin,
                        .iov_len = p->end - p->begin };
        return n;
}

/* A client still reads what the server said before it stopped listening. */
static void conn_write_failed(struct conn *c, int sys_errno)
{
        conn_drop_queue(c);
        if (!c->is_client || c->state != CONN_OPEN || c->eof) {
                conn_break_errno(c, sys_errno);
                return;
        }
        c->write_failed = true;
        c->reading = true;
}

static void conn_flush(struct conn *c)
{
        struct iovec iov[IOV_COUNT];
        bool was_stalled = c->stalled;
        size_t before = c->queued;

        c->stalled = false;
        while (c->first != NULL && !c->stalled) {
                ssize_t n = transport_write(c, iov, conn_gather(c, iov));

                if (n >= 0) {
                        conn_queue_sent(c, (size_t) n);
                } else if (errno == EAGAIN || errno == ENOBUFS) {
                        c->stalled = true;
                } else {
                        conn_write_failed(c, errno);
                        return;
                }
        }
        if (was_stalled && c->queued < before)
                c->last_progress_mono = time_mono();
        if (!c->stalled)
                hub_set_deadline(c->hub, &c->stall, USEC_NEVER, conn_on_stall);
        else if (!was_stalled || c->queued < before)
                hub_set_deadline(
                        c->hub, &c->stall, hub_deadline_after(c->stall_timeout), conn_on_stall);
}

/* The beginning of TLS */

/* The first byte of a server's peer tells what it speaks. */
enum peer_speaks { PEER_SAYS_NOTHING, PEER_SPEAKS_TLS, PEER_SPEAKS_PLAINLY };

static enum peer_speaks conn_look_at_peer(const struct conn *c)
{
        unsigned char first;
        ssize_t n = recv(c->fd, &first, 1, MSG_PEEK);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return PEER_SAYS_NOTHING;
        return n == 1 && first >= 'A' && first <= 'Z' ? PEER_SPEAKS_PLAINLY : PEER_SPEAKS_TLS;
}

static void conn_secured(struct conn *c)
{
        conn_stop_connecting(c);
        c->state = CONN_OPEN;
        conn_touch(c);
        if (c->handlers->on_open != NULL)
                c->handlers->on_open(c->data);
}

static void conn_secure(struct conn *c)
{
        enum peer_speaks speaks = PEER_SPEAKS_TLS;
        struct error err;
        int r;

        if (!c->is_client && SSL_in_before(c->tls->ssl))
                speaks = conn_look_at_peer(c);
        if (speaks == PEER_SAYS_NOTHING)
                return;
        if (speaks == PEER_SPEAKS_PLAINLY) {
                tls_free(take_ptr(c->tls));
                c->missed_tls = true;
                c->state = CONN_OPEN;
                return;
        }
        r = tls_handshake(c->tls, &err);
        if (r > 0)
                conn_secured(c);
        else if (r < 0)
                conn_break_connecting(c, &err);
}

/* The end of the turn */

/* TLS may have to hear something before it can go on with writing, and the reverse. */
static int conn_write_interest(const struct conn *c)
{
        return c->tls != NULL && c->tls->write_wants_read ? UV_READABLE : UV_WRITABLE;
}

static int conn_read_interest(const struct conn *c)
{
        return c->tls != NULL && c->tls->read_wants_write ? UV_WRITABLE : UV_READABLE;
}

static int conn_needed_interest(const struct conn *c)
{
        int needed = c->stalled ? conn_write_interest(c) : 0;

        switch (c->state) {
        case CONN_SECURING:
                return conn_read_interest(c);
        case CONN_OPEN:
                if (c->eof)
                        return needed;
                if (conn_wants_input(c) && conn_stashed(c) == 0)
                        return needed | conn_read_interest(c);
                return c->hangup_told ? needed : needed | UV_DISCONNECT;
        case CONN_LINGERING:
                return UV_READABLE;
        case CONN_CONNECTING:
        case CONN_FINISHING:
        case CONN_CLOSED:
                break;
        }
        return needed;
}

static void conn_on_poll(uv_poll_t *poll, int status, int events);

/* @strict: an unwanted event has come, so nothing unneeded may stay. */
static void conn_update_interest(struct conn *c, bool strict)
{
        int needed = conn_needed_interest(c), have = c->interest;

        if (!strict && (have & UV_READABLE)) /* reports the peer's end, too */
                have = (have & ~UV_READABLE) | (needed & (UV_READABLE | UV_DISCONNECT));
        if (needed == have)
                return;
        c->interest = needed;
        if (needed == 0)
                uv_poll_stop(&c->poll);
        else
                uv_poll_start(&c->poll, needed, conn_on_poll);
}

static void conn_tell_drained(struct conn *c)
{
        c->above_mark = false;
        if (c->handlers->on_drain != NULL)
                c->handlers->on_drain(c->data);
}

static void conn_service(struct hub_job *job)
{
        struct conn *c = container_of(job, struct conn, job);

        if (c->state == CONN_SECURING)
                conn_secure(c);
        if (c->state == CONN_OPEN && conn_stashed(c) > 0 && conn_wants_input(c))
                conn_deliver_stash(c);
        else if (c->state == CONN_OPEN && conn_has_more(c))
                conn_read(c);
        if ((c->state == CONN_OPEN || c->state == CONN_FINISHING) && c->first != NULL)
                conn_flush(c);
        if (c->state == CONN_FINISHING && c->first == NULL)
                conn_linger(c);
        if (c->state == CONN_OPEN && c->above_mark && c->queued <= CONN_DRAIN_MARK)
                conn_tell_drained(c);
        if (c->state == CONN_OPEN &&
                (conn_has_more(c) || (conn_stashed(c) > 0 && conn_wants_input(c))))
                conn_touch(c);
        if (c->state != CONN_CLOSED)
                conn_update_interest(c, false);
}

static void conn_touch(struct conn *c)
{
        if (c->polled && c->state != CONN_CLOSED)
                hub_defer(c->hub, &c->job, conn_service);
}

/* Events */

static void conn_hangup(struct conn *c)
{
        struct pollfd p = { .fd = c->fd };
        bool complete = poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLERR)) != 0;

        c->hangup_told = true;
        conn_touch(c);
        if (c->handlers->on_hangup != NULL)
                c->handlers->on_hangup(c->data, complete);
}

/* epoll reported an error, and libuv has stopped watching. What was received before it is still
 * there to be read. */
static void conn_socket_error(struct conn *c)
{
        int sys_errno = 0;
        socklen_t len = sizeof sys_errno;

        c->interest = 0;
        conn_touch(c);
        if (c->state == CONN_SECURING)
                conn_secure(c); /* the peer may have said what it does not like */
        if (c->state == CONN_CLOSED)
                return;
        if (c->state == CONN_OPEN && conn_wants_input(c) && conn_stashed(c) == 0 && !c->eof) {
                conn_read(c);
                return;
        }
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &sys_errno, &len);
        conn_break_errno(c, sys_errno != 0 ? sys_errno : ECONNRESET);
}

static void conn_on_poll(uv_poll_t *poll, int status, int events)
{
        struct conn *c = container_of(poll, struct conn, poll);

        if (status < 0) {
                conn_socket_error(c);
                return;
        }
        if (c->state == CONN_LINGERING) {
                conn_discard(c);
                return;
        }
        if ((events & UV_WRITABLE) || c->stalled || c->state == CONN_SECURING)
                conn_touch(c);
        if (c->state == CONN_SECURING)
                return;
        if (c->tls != NULL && c->tls->read_wants_write)
                events |= UV_READABLE;
        if (events & UV_READABLE) {
                if (conn_wants_input(c) && conn_stashed(c) == 0 && !c->eof)
                        conn_read(c);
                else
                        conn_update_interest(c, true);
        } else if ((events & UV_DISCONNECT) && c->state == CONN_OPEN && !c->hangup_told) {
                conn_hangup(c);
        }
}

static void conn_on_stall(struct hub_deadline *d)
{
        struct conn *c = container_of(d, struct conn, stall);
        struct error err;

        error_set(&err, ERR_TIMEOUT, "the peer took nothing for too long");
        conn_break(c, &err);
}

static void conn_on_deadline(struct hub_deadline *d)
{
        struct conn *c = container_of(d, struct conn, deadline);

        if (c->state == CONN_LINGERING)
                conn_close(c);
        else if (c->handlers != NULL && c->handlers->on_deadline != NULL)
                c->handlers->on_deadline(c->data);
}

/* Making one */

struct conn *conn_new(struct hub *hub, const struct conn_handlers *handlers, void *data)
{
        struct conn *c = mem_alloc(sizeof *c);

        c->hub = hub_ref(hub);
        c->fd = -1;
        c->handlers = handlers;
        c->data = data;
        c->reading = true;
        c->stall_timeout = STALL_DEFAULT;
        return c;
}

int conn_attach(struct conn *c, int fd, struct error *err)
{
        int r;

        c->fd = fd;
        r = uv_poll_init_socket(hub_loop(c->hub), &c->poll, fd);
        if (r < 0)
                return error_sys(err, -r, "watch a connection");
        c->poll.data = c;
        c->polled = true;
        c->state = c->tls != NULL ? CONN_SECURING : CONN_OPEN;
        conn_touch(c);
        return 0;
}

int conn_new_accepted(struct hub *hub, int fd, bool is_unix, struct tls_context *tls,
        const struct conn_handlers *handlers, void *data, struct conn **ret, struct error *err)
{
        struct conn *c = conn_new(hub, handlers, data);

        c->is_unix = is_unix;
        if (tls != NULL)
                c->tls = tls_new(tls, fd, NULL, err);
        if (tls != NULL && c->tls == NULL) {
                close(fd);
                conn_close(c);
                return -1;
        }
        if (conn_attach(c, fd, err) < 0) {
                conn_close(c);
                return -1;
        }
        *ret = c;
        return 0;
}

/* Small things */

void conn_set_owner(struct conn *c, const struct conn_handlers *handlers, void *data)
{
        c->handlers = handlers;
        c->data = data;
}

void conn_set_stall_timeout(struct conn *c, usec_t timeout)
{
        c->stall_timeout = timeout;
}

void conn_set_deadline(struct conn *c, usec_t at_mono)
{
        hub_set_deadline(c->hub, &c->deadline, at_mono, conn_on_deadline);
}

void conn_set_reading(struct conn *c, bool reading)
{
        if (c->reading == reading)
                return;
        c->reading = reading;
        if (reading)
                conn_touch(c);
}

size_t conn_queued(const struct conn *c)
{
        return c->queued;
}

usec_t conn_last_progress(const struct conn *c)
{
        return c->last_progress_mono;
}

bool conn_missed_tls(const struct conn *c)
{
        return c->missed_tls;
}

bool conn_is_unix(const struct conn *c)
{
        return c->is_unix;
}

bool conn_peer_uid(const struct conn *c, uid_t *ret)
{
        struct ucred peer;
        socklen_t size = sizeof peer;

        if (!c->is_unix || c->fd < 0 ||
                getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
                return false;
        *ret = peer.uid;
        return true;
}
