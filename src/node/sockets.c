/* SPDX-License-Identifier: BSD-3-Clause */
/* Sockets: what listens for jobs on this node, whoever of their processes comes and goes.
 *
 * A socket belongs to a job and an address (with the type), not to a version or a task: all tasks
 * of the job on the node share it, and an update that keeps the address keeps the socket. Tasks
 * have references; with the last one the socket is closed and the file of a UNIX socket removed.
 *
 * The keeper holds each one as `socket/JOB/KEY`, KEY being a hash of type and address: that is how
 * the next agent knows what it is for. So it is never closed while somebody lives who wants it, and
 * a connection waits in its backlog, at worst for the whole of us to be begun again. The server of
 * this machine is told as well (server/witness.c), for the case that keeper and agent die together.
 * When all three did, a process that runs still has it, and it is fetched from there (find()).
 *
 * Nothing here accepts anything. Sockets are blocking, as systemd passes them, and libuv would make
 * them non-blocking for everybody who has them; so those that are watched are in an epoll set of
 * our own, and that is what the loop watches. */
#include "node/sockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "model/listen.h"

#define DEFAULT_MODE 0666
#define EVENTS_MAX   16 /* a turn; the rest comes with the next */

struct held_socket {
        int fd;
        unsigned refs;     /* 0: of an agent before us, and nobody has asked for it yet */
        unsigned watchers; /* tasks that wait for somebody to want them */
        UT_hash_handle hh;
        char name[KEEPER_NAME_MAX]; /* of its deposit */
};

struct sockets {
        struct sockets_config config;
        struct held_socket *by_name;
        int witness;
        int epoll; /* of those that are watched; -1: none was yet */
        uv_poll_t poll;
};

struct sockets *sockets_new(const struct sockets_config *config)
{
        struct sockets *s = mem_alloc(sizeof *s);

        s->config = *config;
        s->witness = s->epoll = -1;
        return s;
}

static void on_closed(uv_handle_t *handle)
{
        free(handle->data);
}

void sockets_free(struct sockets *s)
{
        struct held_socket *h, *next;

        if (s == NULL)
                return;
        HASH_ITER (hh, s->by_name, h, next) {
                HASH_DEL(s->by_name, h);
                close(h->fd);
                free(h);
        }
        if (s->epoll < 0) {
                free(s);
                return;
        }
        uv_poll_stop(&s->poll);
        close(s->epoll);
        uv_close((uv_handle_t *) &s->poll, on_closed);
}

/* FNV-1a. Whoever makes two addresses of a job collide harms nobody but that job. */
static void format_name(
        char name[KEEPER_NAME_MAX], const char *job, const struct job_socket *socket)
{
        uint64_t hash = 14695981039346656037u;

        for (const char *p = socket->listen; *p != '\0'; p++)
                hash = (hash ^ (unsigned char) *p) * 1099511628211u;
        hash = (hash ^ (unsigned) socket->type) * 1099511628211u;
        snprintf(name, KEEPER_NAME_MAX, SOCKET_DEPOSIT "%s/%016" PRIx64, job, hash);
}

/* ---- The witness */

/* It is enough if it mostly arrives: the keeper holds them. @fd: -1: it is held no more. */
static void tell_witness(const struct sockets *s, const char *name, int fd)
{
        struct witness_message message = { 0 };
        struct iovec iov = { &message, sizeof message };
        union {
                struct cmsghdr header;
                char room[CMSG_SPACE(sizeof(int))];
        } control = { .header = { CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS } };
        struct msghdr packet = { .msg_iov = &iov, .msg_iovlen = 1 };

        if (s->witness < 0)
                return;
        snprintf(message.task, sizeof message.task, "%s", name);
        if (fd >= 0) {
                memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
                packet.msg_control = &control;
                packet.msg_controllen = sizeof control;
        }
        if (sendmsg(s->witness, &packet, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
                log_debug("%s: the witness is not told: %s", name, strerror(errno));
}

void sockets_set_witness(struct sockets *s, int witness)
{
        s->witness = witness;
        /* whatever it holds of an agent before us, or of one that was killed while it handed over
         * to a new keeper: that address would be taken for ever */
        tell_witness(s, SOCKET_DEPOSIT, -1);
        for (const struct held_socket *h = s->by_name; h != NULL; h = h->hh.next)
                tell_witness(s, h->name, h->fd);
}

/* ---- Holding */

static struct held_socket *add(struct sockets *s, const char *name, int fd)
{
        struct held_socket *h = mem_alloc(sizeof *h);

        snprintf(h->name, sizeof h->name, "%s", name);
        h->fd = fd;
        HASH_ADD_STR(s->by_name, name, h);
        return h;
}

void sockets_take(struct sockets *s, const char *name, int fd)
{
        struct held_socket *h;

        HASH_FIND_STR(s->by_name, name, h);
        if (h != NULL)
                close(fd);
        else
                add(s, name, fd);
}

static void remove_file(int fd)
{
        struct sockaddr_un address = { 0 };
        socklen_t len = sizeof address;
        struct stat st;

        if (getsockname(fd, (struct sockaddr *) &address, &len) == 0 &&
                address.sun_family == AF_UNIX && address.sun_path[0] == '/' &&
                lstat(address.sun_path, &st) == 0 && S_ISSOCK(st.st_mode))
                unlink(address.sun_path);
}

static void set_watched(struct sockets *s, struct held_socket *h, bool watched)
{
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = h };

        if (epoll_ctl(s->epoll, watched ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, h->fd, &event) < 0)
                log_error("%s: cannot be watched: %s", h->name, strerror(errno));
}

static void drop(struct sockets *s, struct held_socket *h)
{
        if (h->watchers > 0)
                set_watched(s, h, false);
        keeper_client_drop(s->config.keeper, h->name);
        tell_witness(s, h->name, -1);
        remove_file(h->fd);
        close(h->fd);
        HASH_DEL(s->by_name, h);
        free(h);
}

void sockets_sweep(struct sockets *s)
{
        struct held_socket *h, *next;

        HASH_ITER (hh, s->by_name, h, next)
                if (h->refs == 0)
                        drop(s, h);
}

void sockets_put(struct sockets *s, struct held_socket *h, bool keep)
{
        if (--h->refs == 0 && !keep)
                drop(s, h);
}

int held_socket_fd(const struct held_socket *h)
{
        return h->fd;
}

size_t sockets_count(const struct sockets *s)
{
        return HASH_COUNT(s->by_name);
}

size_t sockets_hand_over(const struct sockets *s, struct keeper_handover *items)
{
        size_t n = 0;

        for (const struct held_socket *h = s->by_name; h != NULL; h = h->hh.next)
                items[n++] = (struct keeper_handover){ KEEPER_PUT, h->name, &h->fd, 1, 0 };
        return n;
}

/* ---- Opening */

static int make_address(
        const char *text, struct sockaddr_storage *ret, socklen_t *ret_len, struct error *err)
{
        struct sockaddr_un local = { .sun_family = AF_UNIX };
        struct sockaddr_in v4 = { .sin_family = AF_INET };
        struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
        struct listen_target t;
        int r = 1;

        memset(ret, 0, sizeof *ret);
        if (listen_parse(text, &t, err) < 0)
                return -1;
        v4.sin_port = v6.sin6_port = htons(t.address.port);
        if (t.path != NULL) {
                *ret_len = (socklen_t) (offsetof(struct sockaddr_un, sun_path) +
                                        strlen(memcpy(local.sun_path, t.path, strlen(t.path))) + 1);
                memcpy(ret, &local, *ret_len);
        } else if (t.v6) {
                r = inet_pton(AF_INET6, t.address.host, &v6.sin6_addr);
                memcpy(ret, &v6, *ret_len = sizeof v6);
        } else {
                r = inet_pton(AF_INET, t.address.host, &v4.sin_addr);
                memcpy(ret, &v4, *ret_len = sizeof v4);
        }
        return r == 1 ? 0 : error_set(err, ERR_INVALID, "\"%s\" is no address", t.address.host);
}

static bool is_bound_to(int fd, const struct sockaddr_storage *address, socklen_t len)
{
        struct sockaddr_storage own = { 0 };
        socklen_t own_len = sizeof own;

        return getsockname(fd, (struct sockaddr *) &own, &own_len) == 0 && own_len == len &&
               memcmp(&own, address, len) == 0;
}

/* Somebody has the address: one of our jobs, or another program. */
static int refuse(const struct sockets *s, const struct job_socket *want,
        const struct sockaddr_storage *address, socklen_t len, struct error *err)
{
        for (const struct held_socket *h = s->by_name; h != NULL; h = h->hh.next) {
                const char *job = h->name + sizeof SOCKET_DEPOSIT - 1;

                if (is_bound_to(h->fd, address, len))
                        return error_set(err, ERR_CONFLICT,
                                "%s is in use: it is held for job \"%.*s\" on this node",
                                want->listen, (int) strcspn(job, "/"), job);
        }
        return error_set(err, ERR_CONFLICT,
                "%s is in use by another program (`ss -l%sp` tells which)", want->listen,
                address->ss_family == AF_UNIX   ? "x"
                : want->type == SOCKET_DATAGRAM ? "un"
                                                : "tn");
}

/* The file of a socket that nobody listens on any more. */
static bool is_stale(const struct sockaddr_storage *address, socklen_t len, int type)
{
        AUTO(fd_closep) int fd = -1;

        if (address->ss_family != AF_UNIX)
                return false;
        fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        return fd >= 0 && connect(fd, (const struct sockaddr *) address, len) < 0 &&
               errno == ECONNREFUSED;
}

static int bind_to(int fd, const struct sockaddr_storage *address, socklen_t len, int type)
{
        int r = bind(fd, (const struct sockaddr *) address, len);

        if (r == 0 || errno != EADDRINUSE)
                return r;
        if (is_stale(address, len, type)) {
                unlink(((const struct sockaddr_un *) address)->sun_path);
                return bind(fd, (const struct sockaddr *) address, len);
        }
        errno = EADDRINUSE;
        return -1;
}

/* Returns a descriptor. */
static int open_socket(
        struct sockets *s, const char *job, const struct job_socket *want, struct error *err)
{
        int type = want->type == SOCKET_DATAGRAM ? SOCK_DGRAM : SOCK_STREAM, on = 1, found;
        AUTO(fd_closep) int fd = -1;
        struct sockaddr_storage address;
        socklen_t len;

        if (make_address(want->listen, &address, &len, err) < 0)
                return -1;
        fd = socket(address.ss_family, type | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return error_sys(err, errno, "make a socket");
        if (address.ss_family != AF_UNIX && type == SOCK_STREAM)
                setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (bind_to(fd, &address, len, type) == 0)
                return take_fd(fd);
        if (errno != EADDRINUSE)
                return error_sys(err, errno, "%s", want->listen);
        found = s->config.find(s->config.data, job, &address, len, type);
        return found >= 0 ? found : refuse(s, want, &address, len, err);
}

/* What can be changed of one that is open. */
static int set_up(
        int fd, const struct job_socket *want, const struct socket_owner *owner, struct error *err)
{
        struct listen_target target;
        const char *path = listen_parse(want->listen, &target, err) == 0 ? target.path : NULL;

        if (path != NULL &&
                (chmod(path, want->mode != JOB_UMASK_NONE ? want->mode : DEFAULT_MODE) < 0 ||
                        (owner->change && chown(path, owner->uid, owner->gid) < 0)))
                return error_sys(err, errno, "permissions of %s", path);
        if (want->type == SOCKET_STREAM && listen(fd, (int) want->backlog) < 0)
                return errno == EADDRINUSE
                               ? error_set(err, ERR_CONFLICT, "%s is in use by another program",
                                         want->listen)
                               : error_sys(err, errno, "%s", want->listen);
        return 0;
}

static int get(struct sockets *s, const char *job, const struct job_socket *want,
        const struct socket_owner *owner, struct held_socket **ret, struct error *err)
{
        char name[KEEPER_NAME_MAX];
        struct held_socket *h;
        int fd;

        format_name(name, job, want);
        HASH_FIND_STR(s->by_name, name, h);
        if (h == NULL) {
                fd = open_socket(s, job, want, err);
                if (fd < 0)
                        return -1;
                if (set_up(fd, want, owner, err) < 0) {
                        remove_file(fd);
                        close(fd);
                        return -1;
                }
                h = add(s, name, fd);
                keeper_client_put(s->config.keeper, name, &fd, 1);
                tell_witness(s, name, fd);
        } else if (set_up(h->fd, want, owner, err) < 0) {
                return -1;
        }
        h->refs++;
        *ret = h;
        return 0;
}

int sockets_get(struct sockets *s, const char *job, const struct job_socket *want,
        const struct socket_owner *owner, struct held_socket **ret, struct error *err)
{
        if (get(s, job, want, owner, ret, err) < 0)
                return error_wrap(err, "sockets.%s.listen", want->name);
        return 0;
}

/* ---- Watching */

static void on_readable(uv_poll_t *poll, int status, int events)
{
        struct sockets *s = poll->data;
        struct epoll_event ready[EVENTS_MAX];
        int n = epoll_wait(s->epoll, ready, EVENTS_MAX, 0);

        (void) status;
        (void) events;
        if (n > 0) /* the others may be gone after the first; the loop comes again */
                s->config.on_wanted(s->config.data, ready[0].data.ptr);
}

void sockets_watch(struct sockets *s, struct held_socket *h)
{
        if (s->epoll < 0) {
                s->epoll = epoll_create1(EPOLL_CLOEXEC);
                if (s->epoll < 0) {
                        log_error("sockets cannot be watched: %s", strerror(errno));
                        return;
                }
                uv_poll_init(s->config.loop, &s->poll, s->epoll);
                s->poll.data = s;
                uv_poll_start(&s->poll, UV_READABLE, on_readable);
        }
        if (h->watchers++ == 0)
                set_watched(s, h, true);
}

void sockets_unwatch(struct sockets *s, struct held_socket *h)
{
        if (h->watchers > 0 && --h->watchers == 0)
                set_watched(s, h, false);
}
